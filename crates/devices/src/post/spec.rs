//! Where the power-on self test's ports are.
//!
//! Source: IBM PC AT Technical Reference, "I/O Address Map": 0x80, manufacturing test port; 0xED is
//! a port at which nothing is, and which kernels therefore write to when they want to wait.

/// The port that takes progress codes.
pub const CODE_PORT: u64 = 0x80;
/// The port that takes nothing.
pub const DELAY_PORT: u64 = 0xed;
