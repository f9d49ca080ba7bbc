//! Files that are booted: kernels and initial file systems.

use ring3_boot::{BootParameters, Bytes, KernelImage, MemoryMap, Module, initramfs};

const MEMORY: u64 = 64 << 20;

/// The bytes are a kernel.
pub(crate) fn enter(bytes: &[u8]) {
    let Ok(image) = KernelImage::parse(bytes.to_vec()) else {
        return;
    };
    let parameters = BootParameters {
        memory: MemoryMap::pc(MEMORY).expect("it is enough for a PC"),
        command_line: b"console=ttyS0".to_vec(),
        modules: vec![Module {
            bytes: Bytes::from(vec![1, 2, 3]),
            command_line: b"module".to_vec(),
        }],
        acpi: None,
        entry: None,
    };
    let Ok(boot) = image.boot(&parameters) else {
        return;
    };
    let mut end = 0;
    for write in &boot.writes {
        let range = write.range();
        assert!(range.start().0 >= end, "sorted, without overlaps");
        end = range.end().0;
    }
    assert!(end <= MEMORY, "inside RAM");
}

/// The bytes are an initial file system.
pub(crate) fn enter_initramfs(bytes: &[u8]) {
    let checked = initramfs::check(bytes);
    let mut reader = initramfs::ArchiveReader::new(bytes);
    // An entry takes more than a hundred bytes.
    for _ in 0..bytes.len() / 100 + 2 {
        match reader.next_entry() {
            Ok(Some(_)) => {
                if let Ok(contents) = reader.contents() {
                    assert!(contents.len() <= bytes.len());
                }
            }
            Ok(None) => return,
            Err(_) => {
                assert!(checked.is_err() || !bytes.starts_with(b"0707"));
                return;
            }
        }
    }
    panic!("more entries than there is room for");
}

pub(crate) fn initramfs_seeds() -> Vec<Vec<u8>> {
    let mut writer = initramfs::ArchiveWriter::new(Vec::new());
    let mut write = || -> Result<(), initramfs::InitramfsError> {
        writer.directory(b"bin", 0o755)?;
        writer.file(b"bin/init", 0o755, b"#!/bin/sh\n")?;
        writer.symlink(b"bin/sh", b"init")
    };
    write().expect("memory can be written to");
    let archive = writer.finish().expect("memory can be written to");
    let twice = [&archive[..], &[0; 64], &archive].concat();
    vec![archive, twice, Vec::new()]
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut multiboot = Vec::new();
    for word in [
        0x1bad_b002u32,
        1 << 16,
        0u32.wrapping_sub(0x1bad_b002 + (1 << 16)),
        0x10_0000,
        0x10_0000,
        0x10_0040,
        0x10_0080,
        0x10_0020,
    ] {
        multiboot.extend(word.to_le_bytes());
    }
    multiboot.resize(0x40, 0xf4);
    let mut bzimage = vec![0; 0x1000];
    bzimage[0x1f1] = 1;
    bzimage[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    bzimage[0x200..0x202].copy_from_slice(&[0xeb, 0x6a]);
    bzimage[0x202..0x206].copy_from_slice(b"HdrS");
    bzimage[0x206..0x208].copy_from_slice(&0x20fu16.to_le_bytes());
    bzimage[0x211] = 1;
    bzimage[0x236] = 3;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    elf.extend(0x10_0000u64.to_le_bytes());
    elf.extend(64u64.to_le_bytes());
    elf.extend([0; 12]);
    for half in [64u16, 56, 1, 64, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend([1, 0, 0, 0, 7, 0, 0, 0]);
    for quad in [120u64, 0x10_0000, 0x10_0000, 8, 0x1000, 0x1000] {
        elf.extend(quad.to_le_bytes());
    }
    elf.extend([0xf4; 8]);
    vec![multiboot, bzimage, elf]
}
