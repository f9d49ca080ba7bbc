//! The IOAPIC's registers.
//!
//! Source: Intel 82093AA I/O Advanced Programmable Interrupt Controller (290566), "Register
//! Description"; the EOI register is that of later I/O controllers, for instance Intel ICH family
//! datasheets, "EOIR: EOI Register".

/// Where the registers stand on a PC.
pub const DEFAULT_BASE: u64 = 0xfec0_0000;
/// How many bytes they take.
pub const MMIO_SIZE: u64 = 0x1000;
/// How many interrupt inputs there are.
pub const PINS: usize = 24;

/// IOREGSEL: which register IOWIN shows.
pub const SELECT: u64 = 0x00;
/// IOWIN: the selected register.
pub const WINDOW: u64 = 0x10;
/// EOIR: takes the vector of an interrupt that has ended.
pub const EOI: u64 = 0x40;

/// Index of IOAPICID.
pub const ID: u8 = 0x00;
/// Index of IOAPICVER.
pub const VERSION: u8 = 0x01;
/// Index of IOAPICARB.
pub const ARBITRATION: u8 = 0x02;
/// Index of the low half of the first redirection entry; halves alternate.
pub const REDIRECTION: u8 = 0x10;

/// IOAPICVER: the version with an EOI register, and the number of the last redirection entry.
pub const VERSION_VALUE: u32 = 0x20 | (PINS as u32 - 1) << 16;
/// The bits of IOAPICID that hold the identifier.
pub const ID_BITS: u32 = 0x0f00_0000;

/// Fields of a redirection entry. "I/O Redirection Table Registers".
pub mod entry {
    /// Vector.
    pub const VECTOR: u64 = 0xff;
    /// Position of the delivery mode.
    pub const DELIVERY_MODE_SHIFT: u32 = 8;
    /// Delivery mode.
    pub const DELIVERY_MODE: u64 = 7 << DELIVERY_MODE_SHIFT;
    /// Destination mode: logical.
    pub const LOGICAL: u64 = 1 << 11;
    /// Delivery status; always idle here.
    pub const DELIVERY_PENDING: u64 = 1 << 12;
    /// Interrupt input pin polarity: low active.
    pub const ACTIVE_LOW: u64 = 1 << 13;
    /// Remote IRR.
    pub const REMOTE_IRR: u64 = 1 << 14;
    /// Trigger mode: level.
    pub const LEVEL: u64 = 1 << 15;
    /// Mask.
    pub const MASKED: u64 = 1 << 16;
    /// Position of the destination.
    pub const DESTINATION_SHIFT: u32 = 56;
    /// Destination.
    pub const DESTINATION: u64 = 0xff << DESTINATION_SHIFT;
    /// What software can write.
    pub const WRITABLE: u64 =
        VECTOR | DELIVERY_MODE | LOGICAL | ACTIVE_LOW | LEVEL | MASKED | DESTINATION;
}
