//! Where the debug-exit port is.

/// First port. It is the usual place of such a port in other machines too.
pub const BASE: u64 = 0xf4;
/// How many ports it takes, so that a status can be a byte, a word or a double word.
pub const SIZE: u64 = 4;
