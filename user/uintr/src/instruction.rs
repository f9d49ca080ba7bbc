//! The five instructions, as functions.
//!
//! They are written as bytes (Intel SDM Vol. 2, the instructions' pages), so that any assembler will do. All of them
//! raise #UD, which is SIGILL, on a processor or kernel without user interrupts.

use core::arch::asm;

/// SENDUIPI: posts through entry `index` of the process's target table.
///
/// # Safety
///
/// `index` must be an entry that the kernel gave this process and that is still valid; otherwise the process gets
/// SIGSEGV, or interrupts somebody else.
#[inline]
pub unsafe fn senduipi(index: u64) {
    // SAFETY: the caller vouches for the index. SENDUIPI changes no register and no flag; it orders earlier stores, so
    // memory is not declared untouched.
    unsafe {
        // senduipi rax
        asm!(".byte 0xf3, 0x0f, 0xc7, 0xf0", in("rax") index, options(nostack, preserves_flags));
    }
}

/// CLUI: no user interrupt is delivered to this thread from here on.
///
/// # Safety
///
/// User interrupts must be available. Whoever relies on interrupts being delivered must not mind.
#[inline]
pub unsafe fn clui() {
    // SAFETY: available, says the caller; it changes UIF only. Memory accesses do not move across it.
    unsafe {
        asm!(
            ".byte 0xf3, 0x0f, 0x01, 0xee",
            options(nostack, preserves_flags)
        )
    }
}

/// STUI: user interrupts are delivered to this thread from here on.
///
/// # Safety
///
/// User interrupts must be available, and this thread's handler must be ready to be entered at any instruction.
#[inline]
pub unsafe fn stui() {
    // SAFETY: available, says the caller. The handler preserves all registers and flags, and skips the red zone. Memory
    // accesses do not move across it.
    unsafe {
        asm!(
            ".byte 0xf3, 0x0f, 0x01, 0xef",
            options(nostack, preserves_flags)
        )
    }
}

/// TESTUI: whether user interrupts are delivered to this thread, UIF.
///
/// # Safety
///
/// User interrupts must be available.
#[inline]
pub unsafe fn testui() -> bool {
    let uif: u8;
    // SAFETY: available, says the caller; it changes flags only.
    unsafe {
        asm!(".byte 0xf3, 0x0f, 0x01, 0xed", "setc {}", out(reg_byte) uif, options(nostack));
    }
    uif != 0
}

/// Whether the processor enumerates user interrupts: CPUID.(7,0):EDX\[5\]. The kernel must have switched them on as well.
pub fn enumerated() -> bool {
    use core::arch::x86_64::{__cpuid, __cpuid_count};
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & 1 << 5 != 0
}
