//! One processor at instruction boundaries: its state, what each micro-op does to it, the routines
//! behind system instructions, and what happens between instructions.
//!
//! Rooms: [`state`] (registers and modes), [`memory`] (the interface to memory and the one for
//! functional engines), [`code`] (from code in RAM to blocks), [`mod@execute`] (micro-ops), [`vex`] and [`bits`] (those of VEX-encoded
//! vectors and of bit manipulation), [`string`] and [`routine`] (long instructions),
//! [`boundary`] (interrupts and traps), [`model`] (CPUID).
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod bits;
pub mod boundary;
pub mod code;
pub mod execute;
pub mod flags;
pub mod memory;
pub mod model;
pub mod routine;
pub mod state;
mod string;
mod vex;

pub use boundary::{Boundary, after_one, at_boundary, before_one, deliver_fault};
pub use code::{CROSSES, CodeIndex, CodeKey, forget_code};
pub use execute::{Flow, adjust_stack_fault, execute};
pub use memory::{FunctionalMemory, Memory, RamDma, Stop, StopReason};
pub use model::{CpuKind, CpuModel};
pub use state::{Activity, Cpu, Shadow};
