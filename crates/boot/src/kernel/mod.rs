//! Kernel images: recognising and understanding the files that kernels come in.
//!
//! Understood: Linux's bzImage (boot protocol 2.08 or newer, 64-bit), executable ELF files for
//! x86-64 such as Linux's `vmlinux`, and Multiboot 1 images (ELF32, ELF64, or with address fields
//! in the Multiboot header). Recognised and refused with a reason: zImages, compressed files,
//! kernels of other architectures, Multiboot 2. Files are untrusted: whatever is in one ends in an
//! image or an [`ImageError`].

pub mod bzimage;
pub mod elf;
pub mod multiboot;

use crate::boot_image::Bytes;
use crate::compression::{DecompressError, Format};
use bzimage::BzImage;
use elf::{ElfClass, ElfImage};
use multiboot::MultibootImage;
use std::fmt;
use thiserror::Error;

/// The most that a compressed kernel may decompress to: 1 GiB.
pub const KERNEL_SIZE_MAX: u64 = 1 << 30;

/// What is wrong with a kernel image.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImageError {
    /// The file is none of the kinds that can be booted.
    #[error(
        "not a kernel that can be booted here: the file begins with {start}; give a Linux bzImage (often called vmlinuz), a 64-bit ELF kernel (vmlinux), or a Multiboot 1 image"
    )]
    Unrecognised {
        /// The first bytes, readable.
        start: String,
    },
    /// The file is a compressed file.
    #[error(
        "the file is {format} data, not a kernel image: decompress it first (`{}`)",
        format.tool()
    )]
    CompressedFile {
        /// Which form.
        format: Format,
    },
    /// The file ends too early.
    #[error(
        "the kernel image is truncated: {what} ends at byte {needed}, but there are only {actual} bytes; copy or download it again"
    )]
    Truncated {
        /// What is missing.
        what: String,
        /// Where it would end.
        needed: u64,
        /// How much there is.
        actual: u64,
    },
    /// The kernel is for another processor.
    #[error(
        "the kernel is for {machine}, and this machine is an x86-64 PC: use a kernel for amd64"
    )]
    OtherArchitecture {
        /// Which.
        machine: String,
    },
    /// A bzImage that can't be used.
    #[error("the bzImage can't be booted: {reason}")]
    BzImage {
        /// Why not.
        reason: String,
    },
    /// An ELF file that can't be used.
    #[error("the ELF file can't be booted: {reason}")]
    Elf {
        /// Why not.
        reason: String,
    },
    /// A Multiboot image that can't be used.
    #[error("the Multiboot image can't be booted: {reason}")]
    Multiboot {
        /// Why not.
        reason: String,
    },
    /// The compressed kernel inside a bzImage can't be had.
    #[error("the kernel inside the bzImage can't be extracted: {source}")]
    Payload {
        /// Why not.
        #[source]
        source: DecompressError,
    },
}

impl ImageError {
    pub(crate) fn elf(reason: impl Into<String>) -> ImageError {
        ImageError::Elf {
            reason: reason.into(),
        }
    }

    pub(crate) fn bzimage(reason: impl Into<String>) -> ImageError {
        ImageError::BzImage {
            reason: reason.into(),
        }
    }

    pub(crate) fn multiboot(reason: impl Into<String>) -> ImageError {
        ImageError::Multiboot {
            reason: reason.into(),
        }
    }
}

/// A kernel image, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelImage {
    /// Linux with its setup code and, usually, compressed.
    BzImage(BzImage),
    /// A 64-bit ELF kernel without a Multiboot header.
    Elf(ElfImage),
    /// A kernel with a Multiboot 1 header.
    Multiboot(MultibootImage),
}

impl KernelImage {
    /// Recognises and reads a kernel image.
    ///
    /// A Multiboot header counts more than the ELF file around it; a bzImage counts more than
    /// either.
    ///
    /// # Errors
    /// If the file isn't a kernel that can be booted, with the reason and, where there is one, the
    /// remedy.
    pub fn parse(file: Vec<u8>) -> Result<KernelImage, ImageError> {
        let bytes = Bytes::from(file);
        if bzimage::is_bzimage(&bytes) {
            return BzImage::parse(bytes).map(KernelImage::BzImage);
        }
        if multiboot::has_header(&bytes) {
            return MultibootImage::parse(bytes).map(KernelImage::Multiboot);
        }
        if elf::is_elf(&bytes) {
            let image = ElfImage::parse(bytes.clone())?;
            if image.class == ElfClass::Elf32 {
                return Err(if multiboot::has_multiboot2_header(&bytes) {
                    ImageError::multiboot(
                        "it has a Multiboot 2 header only, and only version 1 is offered: build it with a Multiboot 1 header",
                    )
                } else {
                    ImageError::elf(
                        "it is a 32-bit program without a Multiboot header in its first 8192 bytes: give a 64-bit kernel or a Multiboot 1 image",
                    )
                });
            }
            return Ok(KernelImage::Elf(image));
        }
        Err(unrecognised(&bytes))
    }

    /// A short name of the kind, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            KernelImage::BzImage(_) => "bzImage",
            KernelImage::Elf(_) => "ELF kernel",
            KernelImage::Multiboot(_) => "Multiboot image",
        }
    }
}

fn unrecognised(bytes: &[u8]) -> ImageError {
    /// "ARM\x64" at this offset marks an arm64 `Image`. Linux, "Booting AArch64 Linux".
    const ARM64_MAGIC: (usize, &[u8]) = (0x38, b"ARM\x64");
    /// "RSC\x05" at the same offset marks a RISC-V `Image`. Linux, "Boot image header in RISC-V
    /// Linux".
    const RISCV_MAGIC: (usize, &[u8]) = (0x38, b"RSC\x05");

    let at =
        |(offset, magic): (usize, &[u8])| bytes.get(offset..).is_some_and(|b| b.starts_with(magic));
    if at(ARM64_MAGIC) || at(RISCV_MAGIC) {
        let machine = if at(ARM64_MAGIC) {
            "64-bit ARM"
        } else {
            "RISC-V"
        };
        return ImageError::OtherArchitecture {
            machine: machine.to_owned(),
        };
    }
    if let Some(format) = Format::detect(bytes) {
        return ImageError::CompressedFile { format };
    }
    ImageError::Unrecognised {
        start: FirstBytes(bytes).to_string(),
    }
}

/// The first bytes of a file, as a person would want to see them.
struct FirstBytes<'a>(&'a [u8]);

impl fmt::Display for FirstBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = &self.0[..self.0.len().min(16)];
        if start.is_empty() {
            f.write_str("nothing (it is empty)")
        } else {
            write!(f, "\"{}\"", start.escape_ascii())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::elf::testing::{Load, elf};
    use super::*;

    fn refusal(file: &[u8]) -> String {
        KernelImage::parse(file.to_vec()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_kernel_is_refused_with_a_remedy() {
        assert!(refusal(b"").contains("it is empty"));
        assert!(refusal(b"#!/bin/sh\nexit\n").contains("#!/bin/sh\\nexit"));
        assert!(refusal(b"\x1f\x8b\x08rest").contains("gzip -d"));
        let mut arm = vec![0; 64];
        arm[0x38..0x3c].copy_from_slice(b"ARM\x64");
        assert!(refusal(&arm).contains("64-bit ARM"));
    }

    #[test]
    fn a_64_bit_elf_is_a_kernel_and_a_32_bit_one_needs_multiboot() {
        let loads = [Load {
            virtual_address: 0x10_0000,
            physical: 0x10_0000,
            bytes: b"text",
            memory_size: 4,
        }];
        let image = KernelImage::parse(elf(ElfClass::Elf64, 0x10_0000, &loads, &[])).unwrap();
        assert_eq!(image.kind(), "ELF kernel");
        assert!(refusal(&elf(ElfClass::Elf32, 0x10_0000, &loads, &[])).contains("Multiboot"));
        let mut two = Vec::new();
        for word in [0xe852_50d6u32, 0, 16, 0u32.wrapping_sub(0xe852_50d6 + 16)] {
            two.extend(word.to_le_bytes());
        }
        let loads = [Load {
            virtual_address: 0x10_0000,
            physical: 0x10_0000,
            bytes: &two,
            memory_size: 16,
        }];
        assert!(refusal(&elf(ElfClass::Elf32, 0x10_0000, &loads, &[])).contains("Multiboot 2"));
    }
}
