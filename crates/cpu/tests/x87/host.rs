//! Executes x87 code natively, with the x87, two general registers, the flags and a few pages of
//! memory under control. A fault becomes a signal, whose handler notes it and goes to the way out.

use crate::world::{CODE, DATA, DATA_BYTES, READ_ONLY};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// What goes in and comes out. Layout known to the assembly below.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// FNSAVE, 32-bit protected-mode format.
    pub image: [u8; 108],
    padding: u32,
    pub rax: u64,
    pub rcx: u64,
    pub rflags: u64,
    /// 1 + vector of the fault, or 0.
    pub fault: u64,
    /// RIP at the fault.
    pub rip: u64,
    /// RSI: the memory operand, in most cases.
    pub rsi: u64,
    /// Error code and CR2 of the fault.
    pub error_code: u64,
    pub address: u64,
}

impl State {
    pub fn new(image: [u8; 108], rax: u64, rcx: u64, rsi: u64, rflags: u64) -> State {
        State {
            image,
            padding: 0,
            rax,
            rcx,
            rflags,
            fault: 0,
            rip: 0,
            rsi,
            error_code: 0,
            address: 0,
        }
    }
}

static LOCK: Mutex<()> = Mutex::new(());

/// The right to execute code at [`CODE`].
pub struct Host {
    _lock: MutexGuard<'static, ()>,
}

extern "C" fn note(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid ucontext; what faults in this process is the code that runs
    // at `CODE`, for which RDI points to its `State` and R15 to the way out. Anything else would
    // fault again there, which is as good an end as any.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        let state = &mut *(registers[libc::REG_RDI as usize] as *mut State);
        state.fault = 1 + registers[libc::REG_TRAPNO as usize] as u64;
        state.rip = registers[libc::REG_RIP as usize] as u64;
        state.error_code = registers[libc::REG_ERR as usize] as u64;
        state.address = registers[libc::REG_CR2 as usize] as u64;
        registers[libc::REG_RIP as usize] = registers[libc::REG_R15 as usize];
    }
}

fn map(address: u64, bytes: usize, protection: libc::c_int) {
    // SAFETY: MAP_FIXED_NOREPLACE takes nothing away from anyone.
    let got = unsafe {
        libc::mmap(
            address as *mut libc::c_void,
            bytes,
            protection,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
            -1,
            0,
        )
    };
    assert_eq!(got as u64, address, "the address is free in this process");
}

impl Host {
    pub fn new() -> Host {
        let lock = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let (read, write, execute) = (libc::PROT_READ, libc::PROT_WRITE, libc::PROT_EXEC);
            map(CODE, 0x1000, read | write | execute);
            map(DATA, DATA_BYTES, read | write);
            map(READ_ONLY, 0x1000, read);
            for signal in [libc::SIGFPE, libc::SIGILL, libc::SIGSEGV, libc::SIGBUS] {
                // SAFETY: a zeroed sigaction is valid, and the handler has the SA_SIGINFO signature.
                unsafe {
                    let mut action: libc::sigaction = std::mem::zeroed();
                    action.sa_sigaction = note as *const () as usize;
                    action.sa_flags = libc::SA_SIGINFO;
                    assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
                }
            }
        });
        Host { _lock: lock }
    }

    /// The pages at [`DATA`].
    pub fn data(&mut self) -> &mut [u8] {
        // SAFETY: mapped by `new` for the life of the process, and borrowed with `self`.
        unsafe { std::slice::from_raw_parts_mut(DATA as *mut u8, DATA_BYTES) }
    }

    /// Executes code that stands at [`CODE`].
    pub fn run(&mut self, code: &[u8], state: &mut State) {
        assert!(code.len() < 0x800);
        // SAFETY: the page at `CODE` is ours. The code consists of x87 instructions, whose memory
        // operands are in the pages of `new` or in no page at all; it ends by jumping to the way out.
        unsafe {
            let page = std::slice::from_raw_parts_mut(CODE as *mut u8, 0x1000);
            page[..code.len()].copy_from_slice(code);
            // jmp r15
            page[code.len()..code.len() + 3].copy_from_slice(&[0x41, 0xff, 0xe7]);
            core::arch::asm!(
                "frstor [rdi]",
                "mov rax, [rdi + 112]",
                "mov rcx, [rdi + 120]",
                "mov rsi, [rdi + 152]",
                "lea r15, [rip + 2f]",
                "push qword ptr [rdi + 128]",
                "popfq",
                "jmp r13",
                "2:",
                "pushfq",
                "pop qword ptr [rdi + 128]",
                "push 2",
                "popfq",
                "mov [rdi + 112], rax",
                "fnsave [rdi]",
                in("rdi") state as *mut State,
                in("r13") CODE,
                out("r15") _,
                // FXRSTOR changes the vector registers.
                clobber_abi("sysv64"),
            );
        }
    }
}
