//! The registers of the 8254 and of system control port B.
//!
//! Sources: Intel 8254 Programmable Interval Timer (231164), "Programming the 8254"; port B: Intel
//! 82371SB (PIIX3), "NMI Status and Control Register".

/// First port: counters 0 to 2, then the control word.
pub const BASE: u64 = 0x40;
/// System control port B.
pub const PORT_B: u64 = 0x61;

/// The clock of all three counters, in Hz: 14.31818 MHz divided by 12, rounded.
pub const CLOCK_HZ: u64 = 1_193_182;

/// What a read or a write of a counter transfers: the RW field of the control word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Access {
    /// The least significant byte only.
    Low,
    /// The most significant byte only.
    High,
    /// Least significant byte first, then most significant.
    Both,
}

impl Access {
    /// From the RW field; `None` for 0, which is the counter latch command.
    pub fn from_bits(bits: u8) -> Option<Access> {
        match bits & 3 {
            0 => None,
            1 => Some(Access::Low),
            2 => Some(Access::High),
            _ => Some(Access::Both),
        }
    }

    /// As the RW field has it.
    pub fn bits(self) -> u8 {
        match self {
            Access::Low => 1,
            Access::High => 2,
            Access::Both => 3,
        }
    }
}

/// The read-back command, in the control word.
pub mod read_back {
    /// Clear: latch the counts of the selected counters.
    pub const NO_COUNT: u8 = 1 << 5;
    /// Clear: latch the status of the selected counters.
    pub const NO_STATUS: u8 = 1 << 4;
}

/// Bits of a status byte.
pub mod status {
    /// The OUT pin is high.
    pub const OUT: u8 = 1 << 7;
    /// NULL COUNT: what was written last has not been loaded into the counting element.
    pub const NULL_COUNT: u8 = 1 << 6;
}

/// Bits of system control port B.
pub mod port_b {
    /// The gate of counter 2.
    pub const GATE_2: u8 = 1 << 0;
    /// What software can write; besides the gate: speaker data, parity check and I/O check disable.
    pub const WRITABLE: u8 = 0x0f;
    /// Toggles with every refresh request.
    pub const REFRESH: u8 = 1 << 4;
    /// OUT of counter 2.
    pub const OUT_2: u8 = 1 << 5;
}

/// How many clocks there are between two refresh requests: 15 µs, from counter 1 on old boards.
pub const REFRESH_CLOCKS: u64 = 18;
