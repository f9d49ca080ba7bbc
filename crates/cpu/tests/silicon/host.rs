//! Executes one instruction natively, with all registers and a piece of memory under control.
//!
//! The instruction stands in a page of its own, followed by a jump out; a second jump out stands at
//! [`TARGET`] for instructions that jump. A fault reaches the process as a signal, whose handler
//! notes the state that the kernel saved and continues at the way out.

use crate::model::host_has_avx;
use crate::registers::{End, Registers, X87};
use ring3_arch::exception::page_fault;
use ring3_isa::CodeSize;
use std::cell::UnsafeCell;
use std::mem::offset_of;
use std::sync::{Mutex, MutexGuard};

/// Where the instruction stands.
pub const INSTRUCTION: u64 = CODE + 0x800;
/// Where instructions that jump should jump to.
pub const TARGET: u64 = INSTRUCTION + 0x40;
/// First byte of the memory that instructions may use; around it nothing is mapped.
pub const SCRATCH: u64 = 0x1000_0000;
/// Its size.
pub const SCRATCH_BYTES: usize = 0x2000;
/// Base of GS while instructions run.
pub const GS_BASE: u64 = 0x12_3450;
/// Below 2 GiB, so that 32-bit addresses reach it, and near enough to [`SCRATCH`] for RIP-relative
/// ones.
const CODE: u64 = 0x2000_0000;

/// Whether the page of the instruction is at `address`.
pub fn is_code(address: u64) -> bool {
    address & !0xfff == CODE
}

/// The image of FXSAVE. SDM Vol. 1, "Layout of the 64-bit Mode FXSAVE64 Map".
const FXSAVE_BYTES: usize = 512;
const FXSAVE_MXCSR: usize = 24;
const FXSAVE_XMM: usize = 160;
/// The image of XSAVE with x87, SSE and AVX state. SDM Vol. 1, "Extended Region of an XSAVE Area".
const XSAVE_BYTES: usize = 1024;
const XSAVE_BV: usize = 512;
const XSAVE_UPPERS: usize = 576;
/// The state components that are saved and restored, if there is AVX.
const COMPONENTS: u64 = 7;

/// Linux' selectors for code.
const USER_CODE64: u16 = 0x33;
const USER_CODE32: u16 = 0x23;
/// The first entry of the process' LDT: 16-bit code, like the others from 0 to 4 GiB.
pub const USER_CODE16: u16 = 0x07;

/// What the assembly below and the signal handler share with Rust.
#[repr(C, align(64))]
struct Shared {
    fx: [u8; XSAVE_BYTES],
    host_fx: [u8; FXSAVE_BYTES],
    general: [u64; 16],
    rflags: u64,
    entry: u64,
    /// Offset (32 bits) and selector of 32-bit code.
    entry_far: u64,
    host_rsp: u64,
    /// 1 if the way out led over [`TARGET`].
    jumped: u64,
    /// 1 if there is AVX state.
    avx: u64,
    /// 1 while the instruction may fault.
    active: u64,
    /// 1 + vector after a fault.
    fault: u64,
    error_code: u64,
    address: u64,
    rip: u64,
}

struct SharedCell(UnsafeCell<Shared>);

// SAFETY: whoever touches it holds the lock of `Host`, or is the handler of a signal that the holder
// itself raised.
unsafe impl Sync for SharedCell {}

static SHARED: SharedCell = SharedCell(UnsafeCell::new(Shared {
    fx: [0; XSAVE_BYTES],
    host_fx: [0; FXSAVE_BYTES],
    general: [0; 16],
    rflags: 0,
    entry: 0,
    entry_far: 0,
    host_rsp: 0,
    jumped: 0,
    avx: 0,
    active: 0,
    fault: 0,
    error_code: 0,
    address: 0,
    rip: 0,
}));

unsafe extern "C" {
    fn ring3_silicon_run();
    fn ring3_silicon_run32();
    fn ring3_silicon_exit();
    fn ring3_silicon_exit_at_target();
    fn ring3_silicon_leave();
}

core::arch::global_asm!(
    ".globl ring3_silicon_run",
    "ring3_silicon_run:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "pushfq",
    "fxsave64 [rip + {s} + {host_fx}]",
    "mov [rip + {s} + {host_rsp}], rsp",
    "cmp qword ptr [rip + {s} + {avx}], 0",
    "je 2f",
    "mov eax, 7",
    "xor edx, edx",
    "xrstor64 [rip + {s} + {fx}]",
    "2:",
    "fxrstor64 [rip + {s} + {fx}]",
    "push qword ptr [rip + {s} + {rflags}]",
    "mov qword ptr [rip + {s} + {active}], 1",
    "popfq",
    "mov rax, [rip + {s} + {general}]",
    "mov rcx, [rip + {s} + {general} + 8]",
    "mov rdx, [rip + {s} + {general} + 16]",
    "mov rbx, [rip + {s} + {general} + 24]",
    "mov rsp, [rip + {s} + {general} + 32]",
    "mov rbp, [rip + {s} + {general} + 40]",
    "mov rsi, [rip + {s} + {general} + 48]",
    "mov rdi, [rip + {s} + {general} + 56]",
    "mov r8, [rip + {s} + {general} + 64]",
    "mov r9, [rip + {s} + {general} + 72]",
    "mov r10, [rip + {s} + {general} + 80]",
    "mov r11, [rip + {s} + {general} + 88]",
    "mov r12, [rip + {s} + {general} + 96]",
    "mov r13, [rip + {s} + {general} + 104]",
    "mov r14, [rip + {s} + {general} + 112]",
    "mov r15, [rip + {s} + {general} + 120]",
    "jmp qword ptr [rip + {s} + {entry}]",
    // The same for 32-bit code, which needs data segments.
    ".globl ring3_silicon_run32",
    "ring3_silicon_run32:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "pushfq",
    "fxsave64 [rip + {s} + {host_fx}]",
    "mov [rip + {s} + {host_rsp}], rsp",
    "cmp qword ptr [rip + {s} + {avx}], 0",
    "je 2f",
    "mov eax, 7",
    "xor edx, edx",
    "xrstor64 [rip + {s} + {fx}]",
    "2:",
    "fxrstor64 [rip + {s} + {fx}]",
    "push qword ptr [rip + {s} + {rflags}]",
    "mov qword ptr [rip + {s} + {active}], 1",
    "mov eax, 0x2b",
    "mov ds, eax",
    "mov es, eax",
    "popfq",
    "mov rax, [rip + {s} + {general}]",
    "mov rcx, [rip + {s} + {general} + 8]",
    "mov rdx, [rip + {s} + {general} + 16]",
    "mov rbx, [rip + {s} + {general} + 24]",
    "mov rsp, [rip + {s} + {general} + 32]",
    "mov rbp, [rip + {s} + {general} + 40]",
    "mov rsi, [rip + {s} + {general} + 48]",
    "mov rdi, [rip + {s} + {general} + 56]",
    "mov r8, [rip + {s} + {general} + 64]",
    "mov r9, [rip + {s} + {general} + 72]",
    "mov r10, [rip + {s} + {general} + 80]",
    "mov r11, [rip + {s} + {general} + 88]",
    "mov r12, [rip + {s} + {general} + 96]",
    "mov r13, [rip + {s} + {general} + 104]",
    "mov r14, [rip + {s} + {general} + 112]",
    "mov r15, [rip + {s} + {general} + 120]",
    "jmp fword ptr [rip + {s} + {entry_far}]",
    ".globl ring3_silicon_exit_at_target",
    "ring3_silicon_exit_at_target:",
    "mov qword ptr [rip + {s} + {jumped}], 1",
    ".globl ring3_silicon_exit",
    "ring3_silicon_exit:",
    "mov [rip + {s} + {general}], rax",
    "mov [rip + {s} + {general} + 8], rcx",
    "mov [rip + {s} + {general} + 16], rdx",
    "mov [rip + {s} + {general} + 24], rbx",
    "mov [rip + {s} + {general} + 32], rsp",
    "mov [rip + {s} + {general} + 40], rbp",
    "mov [rip + {s} + {general} + 48], rsi",
    "mov [rip + {s} + {general} + 56], rdi",
    "mov [rip + {s} + {general} + 64], r8",
    "mov [rip + {s} + {general} + 72], r9",
    "mov [rip + {s} + {general} + 80], r10",
    "mov [rip + {s} + {general} + 88], r11",
    "mov [rip + {s} + {general} + 96], r12",
    "mov [rip + {s} + {general} + 104], r13",
    "mov [rip + {s} + {general} + 112], r14",
    "mov [rip + {s} + {general} + 120], r15",
    "mov rsp, [rip + {s} + {host_rsp}]",
    "pushfq",
    "pop qword ptr [rip + {s} + {rflags}]",
    "fxsave64 [rip + {s} + {fx}]",
    "cmp qword ptr [rip + {s} + {avx}], 0",
    "je 2f",
    "mov eax, 7",
    "xor edx, edx",
    "xsave64 [rip + {s} + {fx}]",
    "2:",
    ".globl ring3_silicon_leave",
    "ring3_silicon_leave:",
    "mov rsp, [rip + {s} + {host_rsp}]",
    "mov qword ptr [rip + {s} + {active}], 0",
    "fxrstor64 [rip + {s} + {host_fx}]",
    "xor eax, eax",
    "mov ds, eax",
    "mov es, eax",
    "popfq",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    s = sym SHARED,
    fx = const offset_of!(Shared, fx),
    host_fx = const offset_of!(Shared, host_fx),
    host_rsp = const offset_of!(Shared, host_rsp),
    rflags = const offset_of!(Shared, rflags),
    general = const offset_of!(Shared, general),
    entry = const offset_of!(Shared, entry),
    entry_far = const offset_of!(Shared, entry_far),
    active = const offset_of!(Shared, active),
    avx = const offset_of!(Shared, avx),
    jumped = const offset_of!(Shared, jumped),
);

/// The order of the kernel's saved registers that matches [`Registers::general`].
const SAVED: [libc::c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

const SIGNALS: [libc::c_int; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
];

extern "C" fn note_fault(
    signal: libc::c_int,
    _info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel passes a valid ucontext whose floating-point state begins with an FXSAVE
    // image. `SHARED` is in use by the interrupted thread alone, which waits for this handler; if it
    // was not executing a test instruction, the default action takes over.
    unsafe {
        let shared = &mut *SHARED.0.get();
        if shared.active == 0 {
            libc::signal(signal, libc::SIG_DFL);
            return;
        }
        let context = &mut *context.cast::<libc::ucontext_t>();
        let saved = &mut context.uc_mcontext.gregs;
        for (to, from) in shared.general.iter_mut().zip(SAVED) {
            *to = saved[from as usize] as u64;
        }
        shared.rip = saved[libc::REG_RIP as usize] as u64;
        shared.rflags = saved[libc::REG_EFL as usize] as u64;
        shared.fault = 1 + saved[libc::REG_TRAPNO as usize] as u64;
        shared.error_code = saved[libc::REG_ERR as usize] as u64;
        shared.address = saved[libc::REG_CR2 as usize] as u64;
        // Where there is AVX state, an XSAVE area in the standard format stands there.
        let length = if shared.avx != 0 {
            XSAVE_BYTES
        } else {
            FXSAVE_BYTES
        };
        let image = context.uc_mcontext.fpregs.cast::<u8>();
        std::ptr::copy_nonoverlapping(image, shared.fx.as_mut_ptr(), length);
        saved[libc::REG_RIP as usize] = ring3_silicon_leave as *const () as i64;
        saved[libc::REG_EFL as usize] = 0x202;
        // CS is in the low 16 bits.
        let selectors = &mut saved[libc::REG_CSGSFS as usize];
        *selectors = (*selectors & !0xffff) | i64::from(USER_CODE64);
    }
}

/// The right to execute instructions, and the pages that they use.
pub struct Host {
    _lock: MutexGuard<'static, ()>,
}

static LOCK: Mutex<()> = Mutex::new(());

/// Maps `bytes` bytes at `address`, where nothing may be yet.
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
    assert_eq!(
        got as u64, address,
        "the test's addresses are free in this process"
    );
}

/// A jump of 16-bit or 32-bit code to 64-bit code at `address`.
fn far_jump_to(address: u64, size: CodeSize) -> Vec<u8> {
    let mut code = Vec::new();
    if size == CodeSize::Bits16 {
        code.push(0x66);
    }
    code.push(0xea);
    code.extend_from_slice(&(address as u32).to_le_bytes());
    code.extend_from_slice(&USER_CODE64.to_le_bytes());
    code
}

/// A jump to `address`.
fn jump_to(address: u64) -> [u8; 14] {
    let mut code = [0xff, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    code[6..].copy_from_slice(&address.to_le_bytes());
    code
}

impl Host {
    /// Takes the host; there is one.
    pub fn new() -> Host {
        // A test that failed left nothing that the next one would trip over.
        let lock = LOCK.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            map(SCRATCH, SCRATCH_BYTES, libc::PROT_READ | libc::PROT_WRITE);
            map(
                CODE,
                0x1000,
                libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
            );
        });
        let stack = Box::leak(vec![0u8; 1 << 17].into_boxed_slice());
        // SAFETY: the stack lives forever; a zeroed sigaction is valid, and the handler has the
        // SA_SIGINFO signature; nothing in this process uses GS.
        unsafe {
            let alternative = libc::stack_t {
                ss_sp: stack.as_mut_ptr().cast(),
                ss_flags: 0,
                ss_size: stack.len(),
            };
            assert_eq!(libc::sigaltstack(&alternative, std::ptr::null_mut()), 0);
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = note_fault as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            for signal in SIGNALS {
                assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
            }
            const ARCH_SET_GS: libc::c_int = 0x1001;
            assert_eq!(libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, GS_BASE), 0);
        }
        Host { _lock: lock }
    }

    /// Makes 16-bit code possible; `false` if the kernel does not (CONFIG_MODIFY_LDT_SYSCALL).
    pub fn enable_16_bit_code(&mut self) -> bool {
        // Linux' struct user_desc: entry 0, base 0, limit 4 GiB; of the flags, contents = code (2)
        // and limit_in_pages.
        let descriptor = [0u32, 0, 0xf_ffff, 2 << 1 | 1 << 4];
        const WRITE: libc::c_int = 1;
        // SAFETY: the kernel reads sixteen bytes; nothing else in this process uses the LDT.
        let result = unsafe {
            libc::syscall(
                libc::SYS_modify_ldt,
                WRITE,
                descriptor.as_ptr(),
                size_of_val(&descriptor),
            )
        };
        result == 0
    }

    /// The memory that instructions may use.
    pub fn scratch(&mut self) -> &mut [u8] {
        // SAFETY: mapped by `new` for the life of the process, and borrowed with `self`.
        unsafe { std::slice::from_raw_parts_mut(SCRATCH as *mut u8, SCRATCH_BYTES) }
    }

    /// Executes `code`, an instruction of code of the given size with NOPs before it, which stands at
    /// [`INSTRUCTION`].
    pub fn run(&mut self, code: &[u8], size: CodeSize, registers: &mut Registers) -> End {
        assert!(code.len() <= 20);
        let long = size == CodeSize::Bits64;
        let mut page = [0x90; 0x80];
        let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
        let exit = jump_to(ring3_silicon_exit as *const () as u64);
        let exit_at_target = jump_to(ring3_silicon_exit_at_target as *const () as u64);
        put(0, code);
        if long {
            put(code.len(), &exit);
            put(0x40, &exit_at_target);
        } else {
            // The ways out of 64-bit code, which lie beyond the reach of 32-bit code, once more.
            put(0x60, &exit);
            put(0x70, &exit_at_target);
            put(code.len(), &far_jump_to(INSTRUCTION + 0x60, size));
            put(0x40, &far_jump_to(INSTRUCTION + 0x70, size));
        }
        // SAFETY: the code page is mapped and ours. The code that runs can reach `SHARED`, the
        // scratch memory and whatever random addresses hit, which is nothing that is mapped: the
        // callers leave out instructions that enter the kernel or load segment registers.
        unsafe {
            std::ptr::copy_nonoverlapping(page.as_ptr(), INSTRUCTION as *mut u8, page.len());
            let shared = &mut *SHARED.0.get();
            shared.avx = host_has_avx().into();
            shared.fx = [0; XSAVE_BYTES];
            registers.x87.store(&mut shared.fx);
            shared.fx[XSAVE_BV..][..8].copy_from_slice(&COMPONENTS.to_le_bytes());
            for (n, value) in registers.uppers.iter().enumerate() {
                shared.fx[XSAVE_UPPERS + 16 * n..][..16].copy_from_slice(&value.to_le_bytes());
            }
            shared.fx[FXSAVE_MXCSR..][..4].copy_from_slice(&registers.mxcsr.to_le_bytes());
            for (n, value) in registers.xmm.iter().enumerate() {
                shared.fx[FXSAVE_XMM + 16 * n..][..16].copy_from_slice(&value.to_le_bytes());
            }
            shared.general = registers.general;
            shared.rflags = registers.rflags;
            shared.entry = INSTRUCTION;
            let selector = if size == CodeSize::Bits16 {
                USER_CODE16
            } else {
                USER_CODE32
            };
            shared.entry_far = INSTRUCTION | u64::from(selector) << 32;
            shared.jumped = 0;
            shared.fault = 0;
            if long {
                ring3_silicon_run();
            } else {
                ring3_silicon_run32();
            }
            let shared = &*SHARED.0.get();
            registers.general = shared.general;
            registers.rflags = shared.rflags;
            registers.x87 = X87::load(&shared.fx);
            let mxcsr = &shared.fx[FXSAVE_MXCSR..][..4];
            registers.mxcsr = u32::from_le_bytes(mxcsr.try_into().expect("four bytes"));
            for (n, value) in registers.xmm.iter_mut().enumerate() {
                let bytes = &shared.fx[FXSAVE_XMM + 16 * n..][..16];
                *value = u128::from_le_bytes(bytes.try_into().expect("sixteen bytes"));
            }
            // A component in its initial state may not have been written.
            let is_saved = shared.fx[XSAVE_BV] & 4 != 0;
            for (n, value) in registers.uppers.iter_mut().enumerate() {
                let bytes = &shared.fx[XSAVE_UPPERS + 16 * n..][..16];
                let saved = u128::from_le_bytes(bytes.try_into().expect("sixteen bytes"));
                *value = if is_saved { saved } else { 0 };
            }
            if shared.fault == 0 {
                registers.rip = if shared.jumped != 0 {
                    TARGET
                } else {
                    INSTRUCTION + code.len() as u64
                };
                return End::Finished;
            }
            registers.rip = shared.rip;
            let is_page_fault = shared.fault == 1 + 14;
            let is_fetch = shared.error_code as u32 & page_fault::FETCH != 0;
            if is_page_fault && is_fetch && shared.address == shared.rip {
                // The instruction jumped to where there is no code.
                return End::Finished;
            }
            End::Fault {
                vector: (shared.fault - 1) as u8,
                error_code: if is_page_fault {
                    shared.error_code as u32
                } else {
                    0
                },
                address: if is_page_fault { shared.address } else { 0 },
            }
        }
    }
}
