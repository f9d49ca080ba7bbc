//! The registers of the high-precision event timer.
//!
//! Source: IA-PC HPET (High Precision Event Timers) Specification, revision 1.0a, "Register Overview"
//! and "Register Descriptions".

/// Where the registers stand on a PC.
pub const DEFAULT_BASE: u64 = 0xfed0_0000;
/// How many bytes they take.
pub const MMIO_SIZE: u64 = 0x400;

/// The clock of the main counter, in Hz.
pub const CLOCK_HZ: u64 = 100_000_000;
/// The same as a period in femtoseconds, as the capabilities have it.
pub const PERIOD_FEMTOSECONDS: u64 = 1_000_000_000_000_000 / CLOCK_HZ;
/// How many comparators there are.
pub const TIMERS: usize = 3;
/// The comparators' interrupts can be routed to these inputs of the IOAPIC, one bit for each.
pub const ROUTES: u32 = 0x00f0_0000;

/// General capabilities and identification.
pub const CAPABILITIES: u64 = 0x000;
/// Its low half: revision 1, the number of the last comparator, a 64-bit counter, legacy
/// replacement, and the vendor. The ACPI HPET table repeats it.
pub const CAPABILITIES_LOW: u32 =
    0x01 | (TIMERS as u32 - 1) << 8 | 1 << 13 | 1 << 15 | 0x8086 << 16;
/// General configuration.
pub const CONFIGURATION: u64 = 0x010;
/// General interrupt status.
pub const STATUS: u64 = 0x020;
/// Main counter.
pub const COUNTER: u64 = 0x0f0;
/// The first comparator's registers.
pub const TIMER_BASE: u64 = 0x100;
/// How far apart the comparators' registers are.
pub const TIMER_STRIDE: u64 = 0x20;
/// Configuration and capabilities, among a comparator's registers.
pub const TIMER_CONFIGURATION: u64 = 0x00;
/// Comparator value, among a comparator's registers.
pub const TIMER_COMPARATOR: u64 = 0x08;

/// Bits of the general configuration.
pub mod configuration {
    /// ENABLE_CNF: the counter runs and interrupts are let through.
    pub const ENABLE: u64 = 1 << 0;
    /// LEG_RT_CNF: comparators 0 and 1 take the places of the PIT and the real-time clock.
    pub const LEGACY: u64 = 1 << 1;
    /// What software can write.
    pub const WRITABLE: u64 = ENABLE | LEGACY;
}

/// Bits of a comparator's configuration.
pub mod timer {
    /// Tn_INT_TYPE_CNF: level-triggered.
    pub const LEVEL: u32 = 1 << 1;
    /// Tn_INT_ENB_CNF: it may interrupt.
    pub const ENABLE: u32 = 1 << 2;
    /// Tn_TYPE_CNF: periodic.
    pub const PERIODIC: u32 = 1 << 3;
    /// Tn_PER_INT_CAP: it can be periodic.
    pub const CAN_BE_PERIODIC: u32 = 1 << 4;
    /// Tn_SIZE_CAP: it has 64 bits.
    pub const HAS_64_BITS: u32 = 1 << 5;
    /// Tn_VAL_SET_CNF: the next write to the comparator of a periodic timer sets the comparator too.
    pub const SET_VALUE: u32 = 1 << 6;
    /// Tn_32MODE_CNF: it uses 32 bits only.
    pub const USE_32_BITS: u32 = 1 << 8;
    /// Position of Tn_INT_ROUTE_CNF.
    pub const ROUTE_SHIFT: u32 = 9;
    /// Tn_INT_ROUTE_CNF: the input of the IOAPIC.
    pub const ROUTE: u32 = 31 << ROUTE_SHIFT;
    /// What software can write.
    pub const WRITABLE: u32 = LEVEL | ENABLE | PERIODIC | SET_VALUE | USE_32_BITS | ROUTE;
}
