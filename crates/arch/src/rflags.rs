//! RFLAGS. SDM Vol. 1, "EFLAGS Register".

/// Carry.
pub const CF: u64 = 1 << 0;
/// Bit 1 is always set.
pub const ALWAYS: u64 = 1 << 1;
/// Parity of the low result byte.
pub const PF: u64 = 1 << 2;
/// Carry out of bit 3.
pub const AF: u64 = 1 << 4;
/// Zero.
pub const ZF: u64 = 1 << 6;
/// Sign.
pub const SF: u64 = 1 << 7;
/// Trap: single-step.
pub const TF: u64 = 1 << 8;
/// Maskable interrupts enabled.
pub const IF: u64 = 1 << 9;
/// String direction: down.
pub const DF: u64 = 1 << 10;
/// Overflow.
pub const OF: u64 = 1 << 11;
/// I/O privilege level, two bits.
pub const IOPL: u64 = 3 << 12;
/// Where IOPL starts.
pub const IOPL_SHIFT: u32 = 12;
/// Nested task.
pub const NT: u64 = 1 << 14;
/// Resume: suppresses instruction breakpoints for one instruction.
pub const RF: u64 = 1 << 16;
/// Virtual-8086 mode.
pub const VM: u64 = 1 << 17;
/// Alignment check at CPL 3, or permission for explicit supervisor accesses to user pages (SMAP).
pub const AC: u64 = 1 << 18;
/// Virtual interrupt flag.
pub const VIF: u64 = 1 << 19;
/// Virtual interrupt pending.
pub const VIP: u64 = 1 << 20;
/// CPUID can be executed (toggles freely).
pub const ID: u64 = 1 << 21;

/// The six status flags.
pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;
