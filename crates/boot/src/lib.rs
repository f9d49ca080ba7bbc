//! Puts a kernel into guest memory and says how the bootstrap processor starts.
//!
//! In three steps: [`KernelImage::parse`] understands a file, [`KernelImage::boot`] lays it out
//! for a machine's memory together with command line, initial file system and ACPI tables, and
//! [`BootImage::write_to`] writes the result into anything that is [`PhysicalMemory`]. The processor
//! then starts as [`StartState`] says. [`initramfs`] makes and reads the archives that Linux unpacks
//! as its first file system.
//!
//! Nothing here opens a file or knows a processor or a device: the machine gives bytes and
//! [`acpi::AcpiParameters`], and applies the result to its own processor. The same input gives the
//! same image, bit for bit.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod acpi;
mod boot;
mod boot_image;
pub mod compression;
mod firmware;
pub mod initramfs;
pub mod kernel;
pub mod linux;
mod memory;
pub mod multiboot;
mod placement;
mod start;

pub use boot::{BootError, BootParameters, Entry, Module};
pub use boot_image::{
    ApplyError, BootImage, Bytes, Content, MemoryWrite, PhysicalMemory, WriteError,
};
pub use kernel::{ImageError, KernelImage};
pub use memory::{
    BIOS_AREA, CONVENTIONAL_END, DEVICE_HOLE_START, EBDA_END, EXTENDED_START, HIGH_RAM_START,
    MINIMUM_RAM, MemoryKind, MemoryMap, MemoryMapEntry, MemoryMapError, PhysRange,
};
pub use placement::PlacementError;
pub use start::{DescriptorTable, Long64, Protected32, StartState};
