//! The whole machine: processors, memory and devices from a configuration, and the one loop that
//! gives each of them its turn.
//!
//! Rooms: [`config`] (what to build), `platform` (devices joined with local APICs), [`machine`] (the
//! loop), `host` (what a host program needs besides),
//! `engine` (which engine runs it), `pc` (which devices stand where), `boot` (applies a boot image), `snapshot` (saves and
//! restores the whole machine).
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod boot;
pub mod config;
mod engine;
mod host;
mod log;
pub mod machine;
mod pc;
mod platform;
mod snapshot;
#[cfg(test)]
mod tests;

pub use boot::BootFailure;
pub use config::MachineConfig;
pub use host::Statistics;
pub use log::Warnings;
pub use machine::{DiskError, Machine, Output, Stop};
pub use snapshot::SnapshotError;
