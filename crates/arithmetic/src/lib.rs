//! The meaning of x86 floating-point and vector operations, as pure functions over values.
//!
//! No memory, no registers but those that the operations themselves define ([`Mxcsr`]), no machine:
//! an engine fetches operands, calls a function here, and stores what comes back. The results
//! depend on the arguments alone; the host's rounding mode, its NaN conventions and its
//! approximations never show.
//!
//! Sources: Intel 64 and IA-32 Architectures Software Developer's Manual (SDM), volumes 1 and 2,
//! cited by section title. Where the manual leaves bits undefined, the choice is stated at the
//! function. The tests run each instruction on the host processor and compare result and flags.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod crc;
pub mod float;
mod lanes;
mod mxcsr;
pub mod packed;
mod rounding;

pub mod x87;

pub use crc::crc32;
pub use mxcsr::{Mxcsr, SimdException};
pub use rounding::Rounding;
