//! The instruction set: from bytes to micro-ops, each instruction defined once.
//!
//! Decoding is `iced-x86`'s; what an instruction means is written here, as a short list of
//! [`Uop`]s. [`lift_block`] turns the bytes at an address into a [`Block`]: the micro-ops of the
//! instructions up to the next branch, and where in them each instruction starts.
//!
//! Modelled: 16-bit, 32-bit and 64-bit code. Which extensions exist is the caller's choice
//! ([`CodeMode::features`]); what is not advertised is lifted to #UD. Rooms: [`uop`] (the table of
//! operations), [`lift`] (one file per instruction family); with the feature `forms`, `forms` (examples
//! of every instruction, for tests).
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod features;
#[cfg(any(test, feature = "forms"))]
pub mod forms;
pub mod lift;
mod register;
pub mod uop;

pub use features::FeatureSet;
pub use lift::{
    Block, CodeMode, CodeSize, Mark, NeedMoreBytes, Note, Usability, disassemble, lift_block,
};
pub use register::{Condition, REG_COUNT, Reg, VREG_COUNT, VReg};
pub use uop::{Class, Op, OpInfo, Uop, Upper};
