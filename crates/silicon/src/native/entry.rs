//! The way into a sequence and out of it again, in assembly.
//!
//! [`enter`] keeps what the calling convention wants kept, loads every register from [`CONTROL`], and
//! jumps. A sequence that reaches its end jumps to [`ring3_silicon_exit`], which stores every register
//! again and returns from `enter`. A signal arrives at [`ring3_silicon_signal`] on a stack of its own,
//! which puts right what the kernel leaves as the sequence had it (RFLAGS.AC, segment registers and
//! bases), has the saved registers copied, and returns from `enter` as well; the signal's frame is
//! simply abandoned.

use crate::state::{Area, State};
use std::cell::UnsafeCell;
use std::mem::offset_of;

/// What the assembly shares with Rust.
#[repr(C, align(64))]
pub struct Control {
    /// Registers before, and after.
    pub state: State,
    /// Where to go: offset, then selector if not 64-bit code.
    pub entry: u64,
    /// The selector of data segments, or 0 for none.
    pub data_selector: u64,
    /// The components of XSAVE that are used.
    pub components: u64,
    /// 1 while a sequence runs.
    pub active: u64,
    host_rsp: u64,
    host_bases: [u64; 2],
    host_mxcsr: u32,
}

/// A [`Control`] that assembly and signal handlers reach by name.
pub struct ControlCell(UnsafeCell<Control>);

// SAFETY: only the child process touches it, which has one thread; its signal handler runs while that
// thread is inside `enter`, where Rust holds no reference to it.
unsafe impl Sync for ControlCell {}

/// The one of this process.
pub static CONTROL: ControlCell = ControlCell(UnsafeCell::new(Control {
    state: State {
        area: Area([0; crate::state::AREA_BYTES]),
        general: [0; 16],
        rip: 0,
        rflags: 0,
        bases: [0; 2],
        selectors: [0; 6],
    },
    entry: 0,
    data_selector: 0,
    components: 0,
    active: 0,
    host_rsp: 0,
    host_bases: [0; 2],
    host_mxcsr: 0x1f80,
}));

impl ControlCell {
    /// Where it is.
    pub fn get(&self) -> *mut Control {
        self.0.get()
    }
}

unsafe extern "C" {
    /// Runs the sequence that [`CONTROL`] describes. `far`: it is not 64-bit code.
    pub fn ring3_silicon_enter(far: u64);
    /// Where sequences end.
    pub fn ring3_silicon_exit();
    /// The handler of every signal.
    pub fn ring3_silicon_signal();
}

core::arch::global_asm!(
    ".globl ring3_silicon_enter",
    "ring3_silicon_enter:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "pushfq",
    "mov [rip + {c} + {host_rsp}], rsp",
    "rdfsbase rax",
    "mov [rip + {c} + {host_bases}], rax",
    "rdgsbase rax",
    "mov [rip + {c} + {host_bases} + 8], rax",
    "mov eax, [rip + {c} + {components}]",
    "xor edx, edx",
    "xrstor64 [rip + {c} + {area}]",
    "mov eax, [rip + {c} + {data_selector}]",
    "test eax, eax",
    "jz 8f",
    "mov ds, eax",
    "mov es, eax",
    "8:",
    "mov rax, [rip + {c} + {bases}]",
    "wrfsbase rax",
    "mov rax, [rip + {c} + {bases} + 8]",
    "wrgsbase rax",
    "mov qword ptr [rip + {c} + {active}], 1",
    "test edi, edi",
    "jnz 2f",
    // The flags come before the registers, since POPFQ needs the stack.
    "push qword ptr [rip + {c} + {rflags}]",
    "popfq",
    "call 3f",
    "jmp qword ptr [rip + {c} + {entry}]",
    "2:",
    "push qword ptr [rip + {c} + {rflags}]",
    "popfq",
    "call 3f",
    "jmp fword ptr [rip + {c} + {entry}]",
    // Loads the general registers but RSP, last of all RSP itself.
    "3:",
    "pop rax",
    "mov [rip + {c} + {rip}], rax",
    "mov rax, [rip + {c} + {general}]",
    "mov rcx, [rip + {c} + {general} + 8]",
    "mov rdx, [rip + {c} + {general} + 16]",
    "mov rbx, [rip + {c} + {general} + 24]",
    "mov rsp, [rip + {c} + {general} + 32]",
    "mov rbp, [rip + {c} + {general} + 40]",
    "mov rsi, [rip + {c} + {general} + 48]",
    "mov rdi, [rip + {c} + {general} + 56]",
    "mov r8, [rip + {c} + {general} + 64]",
    "mov r9, [rip + {c} + {general} + 72]",
    "mov r10, [rip + {c} + {general} + 80]",
    "mov r11, [rip + {c} + {general} + 88]",
    "mov r12, [rip + {c} + {general} + 96]",
    "mov r13, [rip + {c} + {general} + 104]",
    "mov r14, [rip + {c} + {general} + 112]",
    "mov r15, [rip + {c} + {general} + 120]",
    "jmp qword ptr [rip + {c} + {rip}]",
    ".globl ring3_silicon_exit",
    "ring3_silicon_exit:",
    "mov [rip + {c} + {general}], rax",
    "mov [rip + {c} + {general} + 8], rcx",
    "mov [rip + {c} + {general} + 16], rdx",
    "mov [rip + {c} + {general} + 24], rbx",
    "mov [rip + {c} + {general} + 32], rsp",
    "mov [rip + {c} + {general} + 40], rbp",
    "mov [rip + {c} + {general} + 48], rsi",
    "mov [rip + {c} + {general} + 56], rdi",
    "mov [rip + {c} + {general} + 64], r8",
    "mov [rip + {c} + {general} + 72], r9",
    "mov [rip + {c} + {general} + 80], r10",
    "mov [rip + {c} + {general} + 88], r11",
    "mov [rip + {c} + {general} + 96], r12",
    "mov [rip + {c} + {general} + 104], r13",
    "mov [rip + {c} + {general} + 112], r14",
    "mov [rip + {c} + {general} + 120], r15",
    "mov rsp, [rip + {c} + {host_rsp}]",
    "pushfq",
    "pop qword ptr [rip + {c} + {rflags}]",
    "mov eax, [rip + {c} + {components}]",
    "xor edx, edx",
    "xsave64 [rip + {c} + {area}]",
    "call 4f",
    "5:",
    "mov rsp, [rip + {c} + {host_rsp}]",
    "mov qword ptr [rip + {c} + {active}], 0",
    "ldmxcsr [rip + {c} + {host_mxcsr}]",
    "popfq",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    // Stores the segment registers and bases, and brings back the host's.
    "4:",
    "rdfsbase rax",
    "mov [rip + {c} + {bases}], rax",
    "rdgsbase rax",
    "mov [rip + {c} + {bases} + 8], rax",
    "xor ecx, ecx",
    "mov eax, ds",
    "mov [rip + {c} + {selectors}], ax",
    "or ecx, eax",
    "mov eax, es",
    "mov [rip + {c} + {selectors} + 2], ax",
    "or ecx, eax",
    "mov eax, fs",
    "mov [rip + {c} + {selectors} + 4], ax",
    "or ecx, eax",
    "mov eax, gs",
    "mov [rip + {c} + {selectors} + 6], ax",
    "or ecx, eax",
    "mov eax, ss",
    "mov [rip + {c} + {selectors} + 10], ax",
    "cmp eax, {data}",
    "je 9f",
    "mov eax, {data}",
    "mov ss, eax",
    "9:",
    "test ecx, ecx",
    "jz 6f",
    "xor eax, eax",
    "mov ds, eax",
    "mov es, eax",
    "mov fs, eax",
    "mov gs, eax",
    "6:",
    "mov rax, [rip + {c} + {host_bases}]",
    "wrfsbase rax",
    "mov rax, [rip + {c} + {host_bases} + 8]",
    "wrgsbase rax",
    "ret",
    // RDI, RSI, RDX: number, siginfo, ucontext. The kernel has cleared DF and TF; the stack is the
    // handler's own and aligned.
    ".globl ring3_silicon_signal",
    "ring3_silicon_signal:",
    "pushfq",
    "and dword ptr [rsp], 0xfffbbeff",
    "popfq",
    "cmp qword ptr [rip + {c} + {active}], 0",
    "je 7f",
    "call 4b",
    "and rsp, -16",
    "call {note}",
    "jmp 5b",
    "7:",
    "and rsp, -16",
    "call {unexpected}",
    "ud2",
    c = sym CONTROL,
    data = const crate::layout::selector::DATA,
    note = sym super::child::note_fault,
    unexpected = sym super::child::unexpected_signal,
    host_rsp = const offset_of!(Control, host_rsp),
    host_bases = const offset_of!(Control, host_bases),
    host_mxcsr = const offset_of!(Control, host_mxcsr),
    components = const offset_of!(Control, components),
    data_selector = const offset_of!(Control, data_selector),
    active = const offset_of!(Control, active),
    entry = const offset_of!(Control, entry),
    area = const offset_of!(Control, state) + offset_of!(State, area),
    general = const offset_of!(Control, state) + offset_of!(State, general),
    rip = const offset_of!(Control, state) + offset_of!(State, rip),
    rflags = const offset_of!(Control, state) + offset_of!(State, rflags),
    bases = const offset_of!(Control, state) + offset_of!(State, bases),
    selectors = const offset_of!(Control, state) + offset_of!(State, selectors),
);
