//! The chipset: the devices of a PC that are not behind PCI, each a state machine that returns its
//! effects.
//!
//! Each device is a folder with its register layout in `spec.rs`, its behaviour in `mod.rs` and its
//! tests in `tests.rs`. All but the local APIC implement [`ring3_bus::Device`]. They know neither
//! one another nor the machine: what one wants of another goes through [`ring3_bus::Effect`] or
//! through a method that the machine calls.
//!
//! Time that is passed in may stand still, and where several processors run in turns it may even
//! step back a little between two calls; a device then behaves as if no time had passed.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod acpi_pm;
pub mod cmos;
pub mod debug_exit;
pub mod fw_cfg;
pub mod hpet;
pub mod i8042;
pub mod ioapic;
mod lanes;
pub mod local_apic;
pub mod pic;
pub mod pit;
pub mod post;
mod saved;
#[cfg(test)]
mod storm;
pub mod test_device;
pub mod uart;
