//! The registers of the MC146818 real-time clock and the bytes of CMOS memory that have a meaning.
//!
//! Sources: Motorola MC146818A Real-Time Clock Plus RAM (ADI1185), "Registers" and "Address Map";
//! meanings of the general bytes: IBM PC AT Technical Reference, "CMOS RAM Address Map".

/// First port: the index; the second is the data.
pub const BASE: u64 = 0x70;

/// In the index port: non-maskable interrupts are off.
pub const NMI_MASKED: u8 = 1 << 7;

/// How many bytes there are, clock registers included.
pub const SIZE: usize = 128;

/// Indices of the clock's bytes.
pub mod index {
    /// Seconds, 0 to 59.
    pub const SECONDS: u8 = 0x00;
    /// Seconds of the alarm.
    pub const SECONDS_ALARM: u8 = 0x01;
    /// Minutes, 0 to 59.
    pub const MINUTES: u8 = 0x02;
    /// Minutes of the alarm.
    pub const MINUTES_ALARM: u8 = 0x03;
    /// Hours, 0 to 23 or 1 to 12 with bit 7 for the afternoon.
    pub const HOURS: u8 = 0x04;
    /// Hours of the alarm.
    pub const HOURS_ALARM: u8 = 0x05;
    /// Day of the week, 1 (Sunday) to 7.
    pub const WEEKDAY: u8 = 0x06;
    /// Day of the month, 1 to 31.
    pub const DAY: u8 = 0x07;
    /// Month, 1 to 12.
    pub const MONTH: u8 = 0x08;
    /// Year of the century, 0 to 99.
    pub const YEAR: u8 = 0x09;
    /// Register A.
    pub const A: u8 = 0x0a;
    /// Register B.
    pub const B: u8 = 0x0b;
    /// Register C.
    pub const C: u8 = 0x0c;
    /// Register D.
    pub const D: u8 = 0x0d;
    /// Why the processor was reset; kept for the firmware.
    pub const SHUTDOWN_STATUS: u8 = 0x0f;
    /// Base memory in KiB, low byte; the high byte follows.
    pub const BASE_MEMORY: u8 = 0x15;
    /// Memory from 1 MiB on in KiB, at most 0xFC00 or so; low byte, the high byte follows.
    pub const EXTENDED_MEMORY: u8 = 0x17;
    /// The same once more, as found by the power-on self test.
    pub const EXTENDED_MEMORY_FOUND: u8 = 0x30;
    /// Century; the FADT's CENTURY field names this byte.
    pub const CENTURY: u8 = 0x32;
    /// Memory from 16 MiB to 4 GiB in units of 64 KiB; low byte, the high byte follows.
    pub const MEMORY_ABOVE_16M: u8 = 0x34;
    /// Memory from 4 GiB on in units of 64 KiB; three bytes, lowest first.
    pub const MEMORY_ABOVE_4G: u8 = 0x5b;
}

/// Register A.
pub mod a {
    /// UIP: an update is about to happen or is happening.
    pub const UPDATE_IN_PROGRESS: u8 = 1 << 7;
    /// DV: the divider.
    pub const DIVIDER: u8 = 7 << 4;
    /// The value of [`DIVIDER`] for the 32.768 kHz crystal of a PC; with any other the clock stands.
    pub const DIVIDER_RUNS: u8 = 2 << 4;
    /// RS: the rate of the periodic interrupt.
    pub const RATE: u8 = 0x0f;
}

/// Register B.
pub mod b {
    /// SET: updates are inhibited while software sets the time.
    pub const SET: u8 = 1 << 7;
    /// PIE, AIE, UIE: enables of the interrupts whose flags stand at the same places in register C.
    pub const ENABLES: u8 = super::c::FLAGS;
    /// SQWE: square wave at a pin that nothing is wired to.
    pub const SQUARE_WAVE: u8 = 1 << 3;
    /// DM: binary rather than BCD.
    pub const BINARY: u8 = 1 << 2;
    /// 24/12: 24 hours.
    pub const HOURS_24: u8 = 1 << 1;
}

/// Register C.
pub mod c {
    /// IRQF: one of the flags is set and enabled.
    pub const INTERRUPT: u8 = 1 << 7;
    /// PF: periodic.
    pub const PERIODIC: u8 = 1 << 6;
    /// AF: alarm.
    pub const ALARM: u8 = 1 << 5;
    /// UF: update ended.
    pub const UPDATE: u8 = 1 << 4;
    /// The three flags.
    pub const FLAGS: u8 = PERIODIC | ALARM | UPDATE;
}

/// Register D, VRT: the battery is good.
pub const VALID: u8 = 1 << 7;

/// An alarm byte with both of these bits matches everything.
pub const ALARM_DO_NOT_CARE: u8 = 0xc0;

/// How long before the end of an update UIP is set, in microseconds: 244 before the update cycle
/// begins, and 1984 that the cycle takes with a 32.768 kHz time base. "Update Cycle".
pub const UPDATE_MICROS: u64 = 244 + 1984;
