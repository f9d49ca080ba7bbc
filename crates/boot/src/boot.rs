//! The one question this crate answers: given a kernel and a machine, what goes into memory, and
//! where does the bootstrap processor start?

use crate::acpi::{AcpiError, AcpiParameters};
use crate::boot_image::{BootImage, Bytes};
use crate::kernel::{ImageError, KernelImage};
use crate::memory::{MemoryMap, PhysRange};
use crate::placement::{Placement, PlacementError, Side};
use crate::{linux, multiboot};
use ring3_arch::{GuestPhys, PAGE_SIZE};
use std::fmt;
use thiserror::Error;

/// Where a kernel is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// Linux: the kernel proper, decompressed here, in 64-bit mode. Nothing is decompressed in the
    /// guest, and the address is not randomised. The default for bzImages and ELF kernels.
    Direct,
    /// Linux: the 64-bit entry point of the compressed image, which then decompresses itself.
    Compressed,
    /// Linux and others: the PVH entry point, in 32-bit protected mode.
    Pvh,
    /// Multiboot 1, in 32-bit protected mode. The default for images with a Multiboot header.
    Multiboot,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Entry::Direct => "direct",
            Entry::Compressed => "compressed",
            Entry::Pvh => "PVH",
            Entry::Multiboot => "Multiboot",
        })
    }
}

/// Something that is loaded beside the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its contents.
    pub bytes: Bytes,
    /// What a Multiboot kernel is told about it, usually its name and arguments. Linux isn't told.
    pub command_line: Vec<u8>,
}

/// What a kernel is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootParameters {
    /// The machine's memory.
    pub memory: MemoryMap,
    /// The kernel's command line, without a terminating zero.
    pub command_line: Vec<u8>,
    /// For Linux: archives of the initial file system, which it unpacks one after the other, so
    /// that a later one adds to an earlier one. For Multiboot: the modules.
    pub modules: Vec<Module>,
    /// The machine's devices, or `None` for a machine without ACPI.
    pub acpi: Option<AcpiParameters>,
    /// Where to enter, or `None` for what is natural for the image.
    pub entry: Option<Entry>,
}

/// A kernel can't be booted with these parameters.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BootError {
    /// The kernel image is at fault.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Something doesn't fit into memory.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The ACPI parameters are at fault.
    #[error(transparent)]
    Acpi(#[from] AcpiError),
    /// The image has no such entry.
    #[error(
        "the {kind} has no {entry} entry; it can be entered through: {}",
        List(offered)
    )]
    EntryNotOffered {
        /// What was asked for.
        entry: Entry,
        /// What kind of image it is.
        kind: &'static str,
        /// What can be asked for.
        offered: Vec<Entry>,
    },
    /// The command line is too long.
    #[error(
        "the kernel's command line has {length} bytes, and this kernel takes at most {maximum}: shorten it"
    )]
    CommandLineTooLong {
        /// Its length.
        length: usize,
        /// The longest that the kernel takes.
        maximum: u32,
    },
    /// A text would end early.
    #[error("{what} holds a zero byte, at which it would end")]
    ZeroByte {
        /// Which text.
        what: &'static str,
    },
    /// The initial file system is too large for the protocol.
    #[error("the initial file system has {size} bytes, and the boot protocol counts to 4 GiB")]
    InitrdTooLarge {
        /// Its size.
        size: u64,
    },
}

struct List<'a>(&'a [Entry]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{entry}")?;
        }
        Ok(())
    }
}

impl KernelImage {
    /// The entries that this image has, the default first.
    pub fn entries(&self) -> Vec<Entry> {
        match self {
            // Whether there is a PVH entry is known only after decompression.
            KernelImage::BzImage(_) => vec![Entry::Direct, Entry::Compressed, Entry::Pvh],
            KernelImage::Elf(elf) if elf.pvh_entry.is_some() => vec![Entry::Direct, Entry::Pvh],
            KernelImage::Elf(_) => vec![Entry::Direct],
            KernelImage::Multiboot(_) => vec![Entry::Multiboot],
        }
    }

    /// Prepares to boot this kernel.
    ///
    /// # Errors
    /// If the image hasn't the entry that was asked for, or something doesn't fit.
    ///
    /// # Example
    /// ```
    /// use ring3_boot::{BootParameters, KernelImage, MemoryMap};
    ///
    /// # fn try_it(file: Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
    /// let kernel = KernelImage::parse(file)?;
    /// let image = kernel.boot(&BootParameters {
    ///     memory: MemoryMap::pc(512 << 20)?,
    ///     command_line: b"console=ttyS0".to_vec(),
    ///     modules: Vec::new(),
    ///     acpi: None,
    ///     entry: None,
    /// })?;
    /// for write in &image.writes {
    ///     println!("{:#x} {}", write.address, write.what);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn boot(&self, parameters: &BootParameters) -> Result<BootImage, BootError> {
        if parameters.command_line.contains(&0) {
            return Err(BootError::ZeroByte {
                what: "the kernel's command line",
            });
        }
        let offered = self.entries();
        let entry = parameters.entry.unwrap_or(offered[0]);
        match (self, entry) {
            (KernelImage::BzImage(image), Entry::Direct) => {
                linux::boot_direct(&image.extract()?, Some(image), parameters)
            }
            (KernelImage::Elf(image), Entry::Direct) => linux::boot_direct(image, None, parameters),
            (KernelImage::BzImage(image), Entry::Compressed) => {
                linux::boot_compressed(image, parameters)
            }
            (KernelImage::BzImage(image), Entry::Pvh) => {
                linux::boot_pvh(&image.extract()?, parameters)
            }
            (KernelImage::Elf(image), Entry::Pvh) if image.pvh_entry.is_some() => {
                linux::boot_pvh(image, parameters)
            }
            (KernelImage::Multiboot(image), Entry::Multiboot) => multiboot::boot(image, parameters),
            _ => Err(BootError::EntryNotOffered {
                entry,
                kind: self.kind(),
                offered,
            }),
        }
    }
}

/// Where small structures for the kernel go: conventional memory, behind the BIOS data area and
/// well below the end, where Linux's decompressor puts a trampoline of its own.
const LOW_START: u64 = PAGE_SIZE;
const LOW_END: u64 = 0x8_0000;

/// Takes room for a small structure in conventional memory.
pub(crate) fn find_low(
    placement: &mut Placement,
    size: u64,
    alignment: u64,
    what: &str,
) -> Result<GuestPhys, PlacementError> {
    let low = PhysRange::between(GuestPhys(LOW_START), GuestPhys(LOW_END)).expect("in order");
    placement.find(size, alignment, low, Side::Low, what)
}

/// Puts a small structure into conventional memory.
pub(crate) fn put_low(
    placement: &mut Placement,
    bytes: Vec<u8>,
    alignment: u64,
    what: &str,
) -> Result<GuestPhys, PlacementError> {
    let address = find_low(placement, bytes.len() as u64, alignment, what)?;
    placement.put_bytes(address, bytes, what);
    Ok(address)
}

/// Takes room for a stack; returns its upper end.
pub(crate) fn find_stack(placement: &mut Placement) -> Result<GuestPhys, PlacementError> {
    let bottom = find_low(placement, PAGE_SIZE, PAGE_SIZE, "the first stack")?;
    Ok(GuestPhys(bottom.0 + PAGE_SIZE))
}

/// The text with a zero behind it.
pub(crate) fn zero_terminated(text: &[u8]) -> Vec<u8> {
    let mut bytes = text.to_vec();
    bytes.push(0);
    bytes
}
