//! Runs one instruction on the host, with every input and output of interest under control.
//!
//! An unmasked SIMD exception reaches the process as SIGFPE; the handler resumes after the
//! instruction and tells that it happened.

use std::sync::Once;

/// What an instruction reads and writes. Layout known to the assembly below.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// XMM0, or MM0 in the low half: first operand and destination.
    pub a: u128,
    /// XMM1, or MM1.
    pub b: u128,
    /// XMM2.
    pub c: u128,
    /// RAX.
    pub rax: u64,
    /// RCX.
    pub rcx: u64,
    /// RDX.
    pub rdx: u64,
    /// The status flags after the instruction; before it, all are set.
    pub rflags: u64,
    pub mxcsr: u32,
    pub saved_mxcsr: u32,
    /// 1 if an exception was raised.
    pub faulted: u64,
}

/// An instruction: changes the state as the host does.
pub type Instruction = fn(&mut State);

/// The status flags of RFLAGS.
pub const STATUS: u64 = 0x8d5;

extern "C" fn resume(
    _signal: libc::c_int,
    _info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel passes a valid ucontext; the only faulting instructions of this process
    // are those below, which keep their resume address in R15 and expect the mark in R14.
    unsafe {
        let context = &mut *context.cast::<libc::ucontext_t>();
        let registers = &mut context.uc_mcontext.gregs;
        registers[libc::REG_RIP as usize] = registers[libc::REG_R15 as usize];
        registers[libc::REG_R14 as usize] = 1;
    }
}

/// Installs the handler; called before the first instruction runs.
pub fn catch_exceptions() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: a zeroed sigaction is valid, and the handler has the SA_SIGINFO signature.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = resume as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
            assert_eq!(
                libc::sigaction(libc::SIGFPE, &action, std::ptr::null_mut()),
                0
            );
        }
    });
}

/// The instruction written as assembly text on xmm0, xmm1, xmm2, rax, rcx, rdx.
#[macro_export]
macro_rules! xmm {
    ($($text:expr),+) => {{
        fn run(state: &mut $crate::host::State) {
            // SAFETY: only the registers named here are touched, and MXCSR is put back.
            unsafe {
                core::arch::asm!(
                    "stmxcsr [rdi + 84]",
                    "ldmxcsr [rdi + 80]",
                    "movdqa xmm0, [rdi]",
                    "movdqa xmm1, [rdi + 16]",
                    "movdqa xmm2, [rdi + 32]",
                    "mov rax, [rdi + 48]",
                    "mov rcx, [rdi + 56]",
                    "mov rdx, [rdi + 64]",
                    "lea r15, [rip + 2f]",
                    "xor r14d, r14d",
                    "push 0xad7",
                    "popfq",
                    $($text,)+
                    "2:",
                    "pushfq",
                    "pop r13",
                    "stmxcsr [rdi + 80]",
                    "ldmxcsr [rdi + 84]",
                    "movdqa [rdi], xmm0",
                    "mov [rdi + 48], rax",
                    "mov [rdi + 56], rcx",
                    "mov [rdi + 64], rdx",
                    "mov [rdi + 72], r13",
                    "mov [rdi + 88], r14",
                    "cld",
                    in("rdi") state as *mut $crate::host::State,
                    out("rax") _, out("rcx") _, out("rdx") _,
                    out("r13") _, out("r14") _, out("r15") _,
                    out("xmm0") _, out("xmm1") _, out("xmm2") _,
                );
            }
        }
        run as $crate::host::Instruction
    }};
}

/// The instruction written as assembly text on mm0, mm1, xmm0, xmm1, rax, rcx; both MM and XMM
/// registers are loaded from `a` and `b`; the result is `mm0` if `$result` is `mm`, else `xmm0`.
#[macro_export]
macro_rules! mmx {
    (mm $($text:expr),+) => { $crate::mmx!(@ "movq xmm0, [rdi]", "movq [rdi], mm0", $($text),+) };
    (xmm $($text:expr),+) => { $crate::mmx!(@ "movdqa xmm0, [rdi]", "movdqa [rdi], xmm0", $($text),+) };
    (@ $load:expr, $store:expr, $($text:expr),+) => {{
        fn run(state: &mut $crate::host::State) {
            // SAFETY: only the registers named here are touched; MXCSR and the x87 state are put back.
            unsafe {
                core::arch::asm!(
                    "stmxcsr [rdi + 84]",
                    "ldmxcsr [rdi + 80]",
                    $load,
                    "movdqa xmm1, [rdi + 16]",
                    "movq mm0, [rdi]",
                    "movq mm1, [rdi + 16]",
                    "mov rax, [rdi + 48]",
                    "mov rcx, [rdi + 56]",
                    "lea r15, [rip + 2f]",
                    "xor r14d, r14d",
                    $($text,)+
                    "2:",
                    "stmxcsr [rdi + 80]",
                    "ldmxcsr [rdi + 84]",
                    $store,
                    "mov [rdi + 48], rax",
                    "mov [rdi + 88], r14",
                    "emms",
                    in("rdi") state as *mut $crate::host::State,
                    out("rax") _, out("rcx") _,
                    out("r14") _, out("r15") _,
                    out("xmm0") _, out("xmm1") _,
                    out("mm0") _, out("mm1") _,
                    out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                    out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                );
            }
        }
        run as $crate::host::Instruction
    }};
}

/// What an x87 instruction reads and writes. Layout known to the assembly below.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct X87State {
    /// An FSAVE image, 32-bit protected-mode format.
    pub image: [u8; 108],
    pub padding: [u8; 4],
    /// The memory operand.
    pub memory: [u8; 16],
    pub rax: u64,
    /// The status flags.
    pub rflags: u64,
}

/// An x87 instruction: changes the state as the host does.
pub type X87Instruction = fn(&mut X87State);

/// The x87 instruction written as assembly text; its memory operand is at rsi.
#[macro_export]
macro_rules! x87 {
    ($($text:expr),+) => {{
        fn run(state: &mut $crate::host::X87State) {
            // SAFETY: only the registers named here are touched; the x87 is initialised at the end.
            unsafe {
                core::arch::asm!(
                    "frstor [rdi]",
                    "lea rsi, [rdi + 112]",
                    "mov rax, [rdi + 128]",
                    "push [rdi + 136]",
                    "popfq",
                    $($text,)+
                    "pushfq",
                    "pop [rdi + 136]",
                    "mov [rdi + 128], rax",
                    "fnsave [rdi]",
                    "cld",
                    in("rdi") state as *mut $crate::host::X87State,
                    out("rax") _, out("rsi") _,
                    out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                    out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                );
            }
        }
        run as $crate::host::X87Instruction
    }};
}

/// Runs an instruction from a state and returns the state after it, status flags alone in `rflags`.
pub fn run(instruction: Instruction, mut state: State) -> State {
    catch_exceptions();
    state.faulted = 0;
    instruction(&mut state);
    state.rflags &= STATUS;
    state
}
