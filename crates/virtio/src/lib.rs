//! PCI and the virtio devices behind it: how a guest kernel reaches consoles, disks, entropy and a
//! network.
//!
//! * [`pci`]: configuration mechanism #1, a host bridge, type-0 functions with BARs, MSI-X and a
//!   level-triggered INTA. [`pci::PciBus`] is the one [`ring3_bus::Device`] of this crate; it owns
//!   the functions.
//! * [`virtqueue`]: the split virtqueue, the device's side of it.
//! * [`transport`]: "Virtio Over PCI Bus" without the legacy interface; [`transport::VirtioPci`]
//!   makes a [`transport::VirtioDevice`] a PCI function.
//! * [`console`], [`blk`], [`rng`], [`net`]: the devices.
//!
//! Sources: "Virtual I/O Device (VIRTIO) Version 1.2" (OASIS Committee Specification 01, 1 July
//! 2022) and "PCI Local Bus Specification, Revision 3.0", cited by section title.
//!
//! What a driver may ask of a device is bounded everywhere: a request that is longer, deeper or
//! more numerous than a driver has reason to make sets DEVICE_NEEDS_RESET and a warning, and
//! the device does nothing more until the driver resets it.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod blk;
pub mod console;
pub mod net;
pub mod pci;
pub mod rng;
mod saved;
pub mod transport;
pub mod virtqueue;

#[cfg(test)]
mod driver;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod layouts;
