//! The reference engine: executes cached blocks of micro-ops, one instruction after the other.
//!
//! Rooms: [`BlockStore`] (translated code, shared by all processors of a machine), [`run`] (the
//! loop). Time advances by one tick for every instruction.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod block_store;
mod run;
#[cfg(test)]
mod tests;

pub use block_store::{BlockStore, StoreCounters};
pub use run::{Exit, Outcome, run};
