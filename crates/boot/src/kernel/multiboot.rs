//! Multiboot 1 images: the header, and what to load where.
//!
//! Source: Multiboot Specification version 0.6.96, "OS image format". Read: the header in the first
//! 8192 bytes, the address fields (the "a.out kludge"), and ELF32 or ELF64 program headers where
//! the address fields are absent. Refused, as the specification demands: requirements that can't be
//! met, which are a video mode (there is no display) and undefined bits. What the kernel finds when
//! it runs is in [`crate::multiboot`].

use super::ImageError;
use super::elf::{self, ElfImage};
use crate::boot_image::Bytes;
use crate::memory::PhysRange;
use ring3_arch::GuestPhys;
use std::ops::Range;

/// How far into the file the header may reach.
const SEARCH_SIZE: usize = 8192;

const MAGIC: u32 = 0x1bad_b002;
const MULTIBOOT2_MAGIC: u32 = 0xe852_50d6;

/// Bits of the header's flags.
mod flag {
    /// Modules must be aligned to pages.
    pub const PAGE_ALIGN: u32 = 1 << 0;
    /// Information about memory must be there.
    pub const MEMORY_INFO: u32 = 1 << 1;
    /// Information about the video mode must be there.
    pub const VIDEO_MODE: u32 = 1 << 2;
    /// The address fields are valid.
    pub const ADDRESS_FIELDS: u32 = 1 << 16;
    /// The bits that demand something of the loader.
    pub const REQUIREMENTS: u32 = 0xffff;
}

/// A part of a Multiboot image that is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultibootSegment {
    /// Where it goes; wholly below 4 GiB.
    pub address: GuestPhys,
    /// Its bytes.
    pub bytes: Bytes,
    /// How much memory it fills; what `bytes` doesn't fill is zero.
    pub memory_size: u64,
}

/// A Multiboot 1 image, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultibootImage {
    /// The header's flags.
    pub flags: u32,
    /// What to load: in ascending order, without overlaps.
    pub segments: Vec<MultibootSegment>,
    /// The entry point.
    pub entry: u32,
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().expect("four bytes")))
}

/// The offset of a header with this magic number whose `words` first words add up to zero.
fn find(bytes: &[u8], magic: u32, words: usize) -> Option<usize> {
    let searched = &bytes[..bytes.len().min(SEARCH_SIZE)];
    (0..searched.len()).step_by(4).find(|&at| {
        word(searched, at) == Some(magic)
            && (0..words)
                .map(|i| word(searched, at + 4 * i))
                .try_fold(0u32, |sum, w| Some(sum.wrapping_add(w?)))
                == Some(0)
    })
}

/// Whether there is a Multiboot 1 header.
pub(crate) fn has_header(bytes: &[u8]) -> bool {
    find(bytes, MAGIC, 3).is_some()
}

/// Whether there is a Multiboot 2 header (which may reach further into the file).
pub(crate) fn has_multiboot2_header(bytes: &[u8]) -> bool {
    find(bytes, MULTIBOOT2_MAGIC, 4).is_some()
}

impl MultibootImage {
    /// Takes `bytes` apart.
    ///
    /// # Errors
    /// If there is no header, if it demands what isn't offered, or if what it says can't be true.
    pub fn parse(bytes: Bytes) -> Result<MultibootImage, ImageError> {
        let at = find(&bytes, MAGIC, 3).ok_or_else(|| {
            ImageError::multiboot("there is no Multiboot 1 header in its first 8192 bytes")
        })?;
        let flags = word(&bytes, at + 4).expect("the header was found there");
        if flags & flag::VIDEO_MODE != 0 {
            return Err(ImageError::multiboot(
                "its header demands a video mode (flag bit 2), and this machine has no display: build it without",
            ));
        }
        let unknown =
            flags & flag::REQUIREMENTS & !(flag::PAGE_ALIGN | flag::MEMORY_INFO | flag::VIDEO_MODE);
        if unknown != 0 {
            return Err(ImageError::multiboot(format!(
                "its header demands what Multiboot 0.6.96 doesn't define (flag bits {unknown:#x})"
            )));
        }
        let (segments, entry) = if flags & flag::ADDRESS_FIELDS != 0 {
            by_address_fields(&bytes, at)?
        } else {
            by_program_headers(bytes)?
        };
        Ok(MultibootImage {
            flags,
            segments,
            entry,
        })
    }
}

/// Multiboot Specification, "The address fields of Multiboot header".
fn by_address_fields(bytes: &Bytes, at: usize) -> Result<(Vec<MultibootSegment>, u32), ImageError> {
    let mut fields = [0; 5];
    for (i, field) in fields.iter_mut().enumerate() {
        let offset = at + 12 + 4 * i;
        *field = word(bytes, offset).ok_or(ImageError::Truncated {
            what: "the Multiboot header".to_owned(),
            needed: offset as u64 + 4,
            actual: bytes.len() as u64,
        })?;
    }
    let [header_addr, load_addr, load_end, bss_end, entry] = fields;
    // The header stands at `header_addr` in memory and at `at` in the file; so the text segment,
    // which starts at `load_addr`, starts this far before it in the file too.
    let start = header_addr
        .checked_sub(load_addr)
        .and_then(|before| (at as u64).checked_sub(u64::from(before)))
        .ok_or_else(|| {
            ImageError::multiboot(format!(
                "its header says that it is loaded from {load_addr:#x} on and that the header is at {header_addr:#x}, but the header is at byte {at} of the file"
            ))
        })?;
    let available = bytes.len() as u64 - start;
    let size = match load_end {
        0 => available,
        end => end
            .checked_sub(load_addr)
            .map(u64::from)
            .ok_or_else(|| ImageError::multiboot("its load address is behind its end"))?,
    };
    if size > available {
        return Err(ImageError::Truncated {
            what: "what its Multiboot header says is loaded".to_owned(),
            needed: start + size,
            actual: bytes.len() as u64,
        });
    }
    let memory_size = match bss_end {
        0 => size,
        end => u64::from(end)
            .checked_sub(u64::from(load_addr))
            .filter(|memory_size| *memory_size >= size)
            .ok_or_else(|| ImageError::multiboot("its bss ends before its loaded part"))?,
    };
    let file: Range<usize> = start as usize..(start + size) as usize;
    let segment = MultibootSegment {
        address: GuestPhys(load_addr.into()),
        bytes: bytes.slice(file).expect("checked against the file's size"),
        memory_size,
    };
    below_4_gib(&segment, "what it loads")?;
    if memory_size == 0
        || !(u64::from(load_addr)..u64::from(load_addr) + memory_size).contains(&entry.into())
    {
        return Err(ImageError::multiboot(format!(
            "its entry point {entry:#x} is not in what it loads"
        )));
    }
    Ok((vec![segment], entry))
}

fn by_program_headers(bytes: Bytes) -> Result<(Vec<MultibootSegment>, u32), ImageError> {
    if !elf::is_elf(&bytes) {
        return Err(ImageError::multiboot(
            "it is not an ELF file, and its header has no address fields (flag bit 16)",
        ));
    }
    let image = ElfImage::parse(bytes)?;
    let mut segments = Vec::new();
    for segment in &image.segments {
        let segment = MultibootSegment {
            address: segment.physical,
            bytes: image.segment_bytes(segment),
            memory_size: segment.memory_size,
        };
        below_4_gib(&segment, "a segment")?;
        segments.push(segment);
    }
    let entry = u32::try_from(image.entry.0).expect("in a segment, and these are below 4 GiB");
    Ok((segments, entry))
}

fn below_4_gib(segment: &MultibootSegment, what: &str) -> Result<(), ImageError> {
    let range = PhysRange::new(segment.address, segment.memory_size);
    match range {
        Some(range) if range.end().0 <= 1 << 32 => Ok(()),
        _ => Err(ImageError::multiboot(format!(
            "{what} is to stand at {:#x} ({:#x} bytes), which is not below 4 GiB",
            segment.address.0, segment.memory_size
        ))),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Multiboot headers made to measure.

    /// A header with these flags and, if bit 16 is among them, these address fields.
    pub(crate) fn header(flags: u32, addresses: [u32; 5]) -> Vec<u8> {
        let checksum = 0u32.wrapping_sub(super::MAGIC.wrapping_add(flags));
        [super::MAGIC, flags, checksum]
            .into_iter()
            .chain(addresses.into_iter().filter(|_| flags & 0x1_0000 != 0))
            .flat_map(u32::to_le_bytes)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::header;
    use super::*;
    use crate::kernel::elf::ElfClass;
    use crate::kernel::elf::testing::{Load, elf};

    fn parse(file: Vec<u8>) -> Result<MultibootImage, ImageError> {
        MultibootImage::parse(file.into())
    }

    /// 16 bytes in front, the header, code, and bytes that aren't loaded.
    fn flat(addresses: [u32; 5]) -> Vec<u8> {
        let mut file = vec![0xaa; 16];
        file.extend(header(0x1_0003, addresses));
        file.extend(b"code");
        file.extend(b"not loaded");
        file
    }

    #[test]
    fn the_address_fields_say_what_is_loaded() {
        // The header is at byte 16 of the file; what is loaded starts 8 bytes before it.
        let image = parse(flat([
            0x10_0008, 0x10_0000, 0x10_002c, 0x10_1000, 0x10_0028,
        ]))
        .unwrap();
        let [segment] = &image.segments[..] else {
            panic!()
        };
        assert_eq!(segment.address, GuestPhys(0x10_0000));
        assert_eq!(&segment.bytes[..8], &[0xaa; 8]);
        assert!(segment.bytes.ends_with(b"code"));
        assert_eq!(segment.memory_size, 0x1000);
        assert_eq!((image.entry, image.flags), (0x10_0028, 0x1_0003));
    }

    #[test]
    fn a_zero_end_means_the_whole_file() {
        let image = parse(flat([0x10_0010, 0x10_0000, 0, 0, 0x10_0030])).unwrap();
        assert!(image.segments[0].bytes.ends_with(b"code\x6eot loaded"));
        assert_eq!(
            image.segments[0].memory_size,
            image.segments[0].bytes.len() as u64
        );
    }

    #[test]
    fn address_fields_that_cannot_be_true_are_refused() {
        for addresses in [
            [0x10_0011, 0x10_0000, 0, 0, 0x10_0010],
            [0x0f_ffff, 0x10_0000, 0, 0, 0x10_0010],
            [0x10_0000, 0x10_0000, 0x0f_0000, 0, 0x10_0010],
            [0x10_0000, 0x10_0000, 0x10_1000, 0, 0x10_0010],
            [0x10_0000, 0x10_0000, 0x10_0020, 0x10_0010, 0x10_0010],
            [0x10_0000, 0x10_0000, 0, 0, 0x20_0000],
            [0x10_0000, 0x10_0000, 0, 0, 0x0f_ffff],
            [0xffff_fff8, 0xffff_fff8, 0, 0, 0xffff_fff8],
            [0x10_0000, 0x10_0000, 0x10_0000, 0x10_0000, 0x10_0000],
        ] {
            let result = parse(flat(addresses));
            assert!(result.is_err(), "{addresses:x?} gave {result:?}");
        }
        let mut cut = flat([0x10_0010, 0x10_0000, 0, 0, 0x10_0030]);
        cut.truncate(16 + 30);
        assert!(matches!(parse(cut), Err(ImageError::Truncated { .. })));
    }

    #[test]
    fn elf_program_headers_are_used_otherwise() {
        for class in [ElfClass::Elf32, ElfClass::Elf64] {
            let mut text = header(3, [0; 5]);
            text.extend(b"code");
            let load = Load {
                virtual_address: 0xc010_0000,
                physical: 0x10_0000,
                bytes: &text,
                memory_size: 0x2000,
            };
            let image = parse(elf(class, 0xc010_000c, &[load], &[])).unwrap();
            assert_eq!(image.entry, 0x10_000c);
            assert_eq!(&*image.segments[0].bytes, &text[..]);
            assert_eq!(image.segments[0].memory_size, 0x2000);
        }
    }

    #[test]
    fn segments_above_4_gib_are_refused() {
        let text = header(3, [0; 5]);
        let load = Load {
            virtual_address: 0x10_0000,
            physical: 0xffff_fff8,
            bytes: &text,
            memory_size: 12,
        };
        let error = parse(elf(ElfClass::Elf64, 0x10_0000, &[load], &[])).unwrap_err();
        assert!(error.to_string().contains("4 GiB"), "{error}");
    }

    #[test]
    fn requirements_that_cannot_be_met_are_refused() {
        let refusal = |flags| parse(header(flags, [0; 5])).unwrap_err().to_string();
        assert!(refusal(4).contains("video mode"));
        assert!(refusal(8).contains("0x8"));
        // Bits 17 to 31 are optional: the image is refused only for not being ELF.
        assert!(refusal(0x8000_0003).contains("not an ELF file"));
    }

    #[test]
    fn the_header_counts_only_with_its_checksum_aligned_and_near_the_start() {
        let good = header(3, [0; 5]);
        assert!(has_header(&good));
        let mut wrong = good.clone();
        wrong[8] ^= 1;
        assert!(!has_header(&wrong));
        let shifted = |by: usize| [vec![0; by], good.clone()].concat();
        assert!(!has_header(&shifted(2)));
        assert!(has_header(&shifted(8192 - 12)));
        assert!(!has_header(&shifted(8192 - 8)));
        assert!(!has_header(&good[..11]));
    }
}
