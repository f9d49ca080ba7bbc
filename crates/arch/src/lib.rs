//! Names and bit layouts of the x86-64 architecture: facts without behaviour.
//!
//! Sources: Intel 64 and IA-32 Architectures Software Developer's Manual (SDM), volumes 1 to 4,
//! cited by chapter or section title because numbers move between editions. What is not here:
//! registers of devices (each device's `spec.rs`), instruction encodings (`iced-x86`).
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod address;
pub mod cpuid;
pub mod cr;
pub mod exception;
pub mod msr;
pub mod paging;
pub mod rflags;
pub mod segment;
pub mod uintr;

pub use address::{ApicId, CpuIndex, GuestPhys, GuestVirt, PAGE_SIZE, Vector};
pub use exception::{Exception, Fault};
