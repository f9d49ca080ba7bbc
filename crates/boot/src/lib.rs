//! wip
#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod acpi;
pub mod boot_image;
pub mod compression;
pub mod kernel;
pub mod linux;
pub mod memory;
mod placement;
pub mod start;
