//! Executable ELF files as kernels: what to load where, and where to enter.
//!
//! Read: ELF32 and ELF64, little-endian, for x86: program headers of type PT_LOAD at their physical
//! addresses, and the PVH entry point from the notes. Source: System V ABI, "Program Header"; the
//! note of `XEN_ELFNOTE_PHYS32_ENTRY` in Xen's "x86/HVM direct boot ABI". Not read: sections,
//! symbols, relocations (so the file must be linked to a fixed address), 16-bit segments.

use super::ImageError;
use crate::boot_image::Bytes;
use crate::memory::PhysRange;
use object::Endianness;
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};
use ring3_arch::GuestPhys;
use std::ops::Range;

/// A part of an ELF file that is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElfSegment {
    /// Where it goes: `p_paddr`.
    pub physical: GuestPhys,
    /// Where the program believes it is: `p_vaddr`.
    pub virtual_address: u64,
    /// Its bytes in the file; the rest up to `memory_size` is zero.
    pub file: Range<usize>,
    /// How much memory it fills: at least the length of `file`, and the range is an address range.
    pub memory_size: u64,
}

impl ElfSegment {
    /// The addresses it fills.
    pub fn range(&self) -> PhysRange {
        PhysRange::new(self.physical, self.memory_size).expect("checked when it was read")
    }
}

/// Which of the two ELF classes a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElfClass {
    /// 32-bit, for i386.
    Elf32,
    /// 64-bit, for x86-64.
    Elf64,
}

/// An executable ELF file for x86, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElfImage {
    bytes: Bytes,
    /// Its class.
    pub class: ElfClass,
    /// The entry point as a physical address: `e_entry`, translated by the segment it is in if it
    /// is a virtual address.
    pub entry: GuestPhys,
    /// What to load: in ascending order of physical address, without overlaps, not empty.
    pub segments: Vec<ElfSegment>,
    /// The 32-bit entry point of the PVH boot protocol, if a note names one.
    pub pvh_entry: Option<u32>,
}

/// The name and type of the note that holds the PVH entry point.
const PVH_NOTE: (&[u8], u32) = (b"Xen", 18);

/// Whether these bytes begin like an ELF file.
pub(crate) fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(&elf::ELFMAG)
}

impl ElfImage {
    /// Takes `bytes` apart.
    ///
    /// # Errors
    /// If it isn't an executable ELF file for x86, or its program headers can't be true.
    pub fn parse(bytes: Bytes) -> Result<ElfImage, ImageError> {
        const CLASS: usize = 4;
        if !is_elf(&bytes) {
            return Err(ImageError::elf(
                "it doesn't begin with the ELF magic number",
            ));
        }
        match bytes.get(CLASS) {
            Some(&c) if c == elf::ELFCLASS32.0 => {
                parse::<elf::FileHeader32<Endianness>>(bytes, ElfClass::Elf32)
            }
            Some(&c) if c == elf::ELFCLASS64.0 => {
                parse::<elf::FileHeader64<Endianness>>(bytes, ElfClass::Elf64)
            }
            _ => Err(ImageError::elf("its class is neither 32-bit nor 64-bit")),
        }
    }

    /// The whole file.
    pub fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The bytes of a segment, without the zeros behind them.
    pub fn segment_bytes(&self, segment: &ElfSegment) -> Bytes {
        self.bytes
            .slice(segment.file.clone())
            .expect("checked when the segment was read")
    }

    /// The smallest range that holds every segment.
    pub fn range(&self) -> PhysRange {
        let start = self.segments[0].physical;
        let end = self.segments[self.segments.len() - 1].range().end();
        PhysRange::between(start, end).expect("segments are in ascending order")
    }
}

fn parse<E: FileHeader<Endian = Endianness>>(
    bytes: Bytes,
    class: ElfClass,
) -> Result<ElfImage, ImageError> {
    let data: &[u8] = &bytes;
    let damaged = |e: object::read::Error| ImageError::elf(e.to_string());
    let header = E::parse(data).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;

    let machine = header.e_machine(endian);
    let expected = match class {
        ElfClass::Elf32 => elf::EM_386,
        ElfClass::Elf64 => elf::EM_X86_64,
    };
    if endian != Endianness::Little || machine != expected {
        return Err(ImageError::OtherArchitecture {
            machine: machine_name(machine),
        });
    }
    match header.e_type(endian) {
        elf::ET_EXEC => {}
        elf::ET_DYN => {
            return Err(ImageError::elf(
                "it is position-independent (ET_DYN), and nothing here applies relocations: link it with -no-pie to a fixed address",
            ));
        }
        elf::ET_REL => {
            return Err(ImageError::elf(
                "it is an object file or kernel module (ET_REL), not a linked program",
            ));
        }
        other => {
            return Err(ImageError::elf(format!(
                "its type {} is not an executable's (ET_EXEC)",
                other.0
            )));
        }
    }

    let mut segments = Vec::new();
    let mut pvh_entry = None;
    for (index, program_header) in header
        .program_headers(endian, data)
        .map_err(damaged)?
        .iter()
        .enumerate()
    {
        match program_header.p_type(endian) {
            elf::PT_LOAD => {
                if let Some(segment) = load_segment(endian, data, index, program_header)? {
                    segments.push(segment);
                }
            }
            elf::PT_NOTE if pvh_entry.is_none() => {
                pvh_entry = find_pvh_entry::<E>(endian, data, program_header);
            }
            _ => {}
        }
    }
    segments.sort_by_key(|s| s.physical);
    for pair in segments.windows(2) {
        if pair[0].range().overlaps(pair[1].range()) {
            return Err(ImageError::elf(format!(
                "its segments at {} and {} overlap in physical memory",
                pair[0].range(),
                pair[1].range()
            )));
        }
    }
    if segments.is_empty() {
        return Err(ImageError::elf(
            "it has nothing to load (no PT_LOAD program header with a size)",
        ));
    }
    let entry = physical_entry(&segments, header.e_entry(endian).into())?;
    Ok(ElfImage {
        class,
        entry,
        segments,
        pvh_entry,
        bytes,
    })
}

fn load_segment<P: ProgramHeader<Endian = Endianness>>(
    endian: Endianness,
    data: &[u8],
    index: usize,
    header: &P,
) -> Result<Option<ElfSegment>, ImageError> {
    let physical: u64 = header.p_paddr(endian).into();
    let memory_size: u64 = header.p_memsz(endian).into();
    let offset: u64 = header.p_offset(endian).into();
    let file_size: u64 = header.p_filesz(endian).into();
    if memory_size == 0 {
        return Ok(None);
    }
    if file_size > memory_size {
        return Err(ImageError::elf(format!(
            "program header {index} has more bytes in the file ({file_size}) than in memory ({memory_size})"
        )));
    }
    let end = offset.checked_add(file_size);
    let Some(end) = end.filter(|end| *end <= data.len() as u64) else {
        return Err(ImageError::Truncated {
            what: format!("segment {index} of the ELF file"),
            needed: end.unwrap_or(u64::MAX),
            actual: data.len() as u64,
        });
    };
    if PhysRange::new(GuestPhys(physical), memory_size).is_none() {
        return Err(ImageError::elf(format!(
            "program header {index} reaches beyond the end of the address space ({memory_size:#x} bytes at {physical:#x})"
        )));
    }
    Ok(Some(ElfSegment {
        physical: GuestPhys(physical),
        virtual_address: header.p_vaddr(endian).into(),
        file: offset as usize..end as usize,
        memory_size,
    }))
}

/// A damaged note segment is no reason to refuse a kernel that is not entered through it.
fn find_pvh_entry<E: FileHeader<Endian = Endianness>>(
    endian: Endianness,
    data: &[u8],
    header: &E::ProgramHeader,
) -> Option<u32> {
    let mut notes = header.notes(endian, data).ok()??;
    while let Ok(Some(note)) = notes.next() {
        if (note.name(), note.n_type(endian).0) == PVH_NOTE {
            let address: [u8; 4] = note.desc().get(..4)?.try_into().ok()?;
            return Some(u32::from_le_bytes(address));
        }
    }
    None
}

/// `e_entry` should be a physical address, and is one in every Linux kernel; other kernels leave
/// their virtual one there, which the loader has to translate.
fn physical_entry(segments: &[ElfSegment], entry: u64) -> Result<GuestPhys, ImageError> {
    let within =
        |start: u64, s: &ElfSegment| entry.checked_sub(start).filter(|o| *o < s.memory_size);
    if segments.iter().any(|s| within(s.physical.0, s).is_some()) {
        return Ok(GuestPhys(entry));
    }
    segments
        .iter()
        .find_map(|s| within(s.virtual_address, s).map(|o| GuestPhys(s.physical.0 + o)))
        .ok_or_else(|| {
            ImageError::elf(format!(
                "its entry point {entry:#x} is in none of its segments"
            ))
        })
}

fn machine_name(machine: elf::Machine) -> String {
    match machine {
        elf::EM_386 => "32-bit x86".to_owned(),
        elf::EM_X86_64 => "x86-64".to_owned(),
        elf::EM_AARCH64 => "64-bit ARM".to_owned(),
        elf::EM_RISCV => "RISC-V".to_owned(),
        other => format!("ELF machine number {}", other.0),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! ELF files made to measure.

    use super::ElfClass;

    /// One program header and what it loads.
    pub(crate) struct Load<'a> {
        pub virtual_address: u64,
        pub physical: u64,
        pub bytes: &'a [u8],
        pub memory_size: u64,
    }

    /// An executable with these segments, and a note segment if `note` isn't empty. Layout: System
    /// V ABI, "ELF Header", "Program Header".
    pub(crate) fn elf(class: ElfClass, entry: u64, loads: &[Load<'_>], note: &[u8]) -> Vec<u8> {
        let (header_size, phent, machine) = match class {
            ElfClass::Elf32 => (52usize, 32usize, 3u16),
            ElfClass::Elf64 => (64, 56, 62),
        };
        let count = loads.len() + usize::from(!note.is_empty());
        let mut file = vec![0x7f, b'E', b'L', b'F'];
        file.push(if class == ElfClass::Elf32 { 1 } else { 2 });
        file.extend([1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        file.extend(2u16.to_le_bytes());
        file.extend(machine.to_le_bytes());
        file.extend(1u32.to_le_bytes());
        let word = |file: &mut Vec<u8>, value: u64| match class {
            ElfClass::Elf32 => file.extend((value as u32).to_le_bytes()),
            ElfClass::Elf64 => file.extend(value.to_le_bytes()),
        };
        word(&mut file, entry);
        word(&mut file, header_size as u64);
        word(&mut file, 0);
        file.extend(0u32.to_le_bytes());
        for half in [header_size, phent, count, 40, 0, 0] {
            file.extend((half as u16).to_le_bytes());
        }
        assert_eq!(file.len(), header_size);

        let mut offset = header_size + phent * count;
        let notes = (!note.is_empty()).then_some((4u32, 0, 0, note, note.len() as u64));
        let all: Vec<_> = loads
            .iter()
            .map(|l| (1u32, l.virtual_address, l.physical, l.bytes, l.memory_size))
            .chain(notes)
            .collect();
        for (kind, virtual_address, physical, bytes, memory_size) in &all {
            file.extend(kind.to_le_bytes());
            if class == ElfClass::Elf64 {
                file.extend(7u32.to_le_bytes());
            }
            for value in [
                offset as u64,
                *virtual_address,
                *physical,
                bytes.len() as u64,
                *memory_size,
            ] {
                word(&mut file, value);
            }
            if class == ElfClass::Elf32 {
                file.extend(7u32.to_le_bytes());
            }
            word(&mut file, 4);
            offset += bytes.len();
        }
        for (_, _, _, bytes, _) in all {
            file.extend(bytes);
        }
        file
    }

    /// The note that names a PVH entry point.
    pub(crate) fn pvh_note(entry: u32) -> Vec<u8> {
        let mut note = Vec::new();
        for word in [4u32, 4, 18] {
            note.extend(word.to_le_bytes());
        }
        note.extend(b"Xen\0");
        note.extend(entry.to_le_bytes());
        note
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Load, elf, pvh_note};
    use super::*;

    const BOTH: [ElfClass; 2] = [ElfClass::Elf32, ElfClass::Elf64];

    fn load(physical: u64, bytes: &[u8], memory_size: u64) -> Load<'_> {
        Load {
            virtual_address: physical + 0x8000_0000,
            physical,
            bytes,
            memory_size,
        }
    }

    #[test]
    fn segments_come_out_sorted_with_their_bytes_and_sizes() {
        for class in BOTH {
            let file = elf(
                class,
                0x10_0002,
                &[
                    load(0x20_0000, b"data", 0x1000),
                    load(0x10_0000, b"text", 4),
                ],
                &pvh_note(0x10_0001),
            );
            let image = ElfImage::parse(file.into()).unwrap();
            assert_eq!(image.class, class);
            assert_eq!(image.entry, GuestPhys(0x10_0002));
            assert_eq!(image.pvh_entry, Some(0x10_0001));
            let [text, data] = &image.segments[..] else {
                panic!("{:?}", image.segments)
            };
            assert_eq!(&*image.segment_bytes(text), b"text");
            assert_eq!(&*image.segment_bytes(data), b"data");
            assert_eq!(data.range().to_string(), "0x200000..0x201000");
            assert_eq!(image.range().to_string(), "0x100000..0x201000");
        }
    }

    #[test]
    fn a_virtual_entry_point_is_translated() {
        let file = elf(
            ElfClass::Elf32,
            0x8010_0003,
            &[load(0x10_0000, b"text", 4)],
            &[],
        );
        let image = ElfImage::parse(file.into()).unwrap();
        assert_eq!((image.entry, image.pvh_entry), (GuestPhys(0x10_0003), None));
        let file = elf(
            ElfClass::Elf32,
            0x8010_0004,
            &[load(0x10_0000, b"text", 4)],
            &[],
        );
        let error = ElfImage::parse(file.into()).unwrap_err();
        assert!(error.to_string().contains("0x80100004"), "{error}");
    }

    #[test]
    fn headers_that_cannot_be_true_are_refused() {
        for class in BOTH {
            let refused = |loads: &[Load<'_>]| {
                ElfImage::parse(elf(class, 0x10_0000, loads, &[]).into())
                    .unwrap_err()
                    .to_string()
            };
            assert!(refused(&[]).contains("nothing to load"));
            assert!(refused(&[load(0x10_0000, b"", 0)]).contains("nothing to load"));
            assert!(
                refused(&[load(0x10_0000, b"ab", 0x10), load(0x10_000f, b"cd", 2)])
                    .contains("overlap")
            );
            assert!(refused(&[load(0x10_0000, b"abc", 2)]).contains("more bytes in the file"));
        }
        let beyond = elf(
            ElfClass::Elf64,
            0x10_0000,
            &[load(u64::MAX - 0x9000_0000, b"a", u64::MAX)],
            &[],
        );
        assert!(ElfImage::parse(beyond.into()).is_err());
    }

    #[test]
    fn every_truncation_is_an_error() {
        for class in BOTH {
            let file = elf(class, 0x10_0000, &[load(0x10_0000, b"text", 4)], &[]);
            for keep in 0..file.len() {
                assert!(ElfImage::parse(file[..keep].to_vec().into()).is_err());
            }
            assert!(ElfImage::parse(file.into()).is_ok());
        }
    }

    #[test]
    fn other_machines_and_types_are_named() {
        let patched = |at: usize, value: u16| {
            let mut file = elf(ElfClass::Elf64, 0x10_0000, &[load(0x10_0000, b"t", 1)], &[]);
            file[at..at + 2].copy_from_slice(&value.to_le_bytes());
            ElfImage::parse(file.into()).unwrap_err().to_string()
        };
        assert!(patched(18, 183).contains("64-bit ARM"));
        assert!(patched(18, 4711).contains("4711"));
        assert!(patched(16, 3).contains("-no-pie"));
        assert!(patched(16, 1).contains("kernel module"));
        assert!(patched(16, 4).contains("ET_EXEC"));
    }

    #[test]
    fn any_damage_is_survived() {
        let file = elf(
            ElfClass::Elf64,
            0x10_0000,
            &[load(0x10_0000, b"text", 4), load(0x20_0000, b"data", 9)],
            &pvh_note(0x10_0000),
        );
        for at in 0..file.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = file.clone();
                damaged[at] = value;
                if let Ok(image) = ElfImage::parse(damaged.into()) {
                    for segment in &image.segments {
                        assert!(image.segment_bytes(segment).len() as u64 <= segment.memory_size);
                    }
                }
            }
        }
    }
}
