use super::*;
use crate::boot_image::MemoryWrite;
use crate::kernel::KernelImage;
use crate::kernel::elf::ElfClass;
use crate::kernel::elf::testing::{Load, elf};
use crate::kernel::multiboot::testing::header;
use crate::memory::{MemoryKind, MemoryMap};
use crate::{Entry, Module};
use ring3_arch::cr;

const MIB: u64 = 1 << 20;

fn kernel(class: ElfClass, physical: u64, memory_size: u64) -> Vec<u8> {
    let text = header(3, [0; 5]);
    let load = Load {
        virtual_address: physical,
        physical,
        bytes: &text,
        memory_size,
    };
    elf(class, physical + 12, &[load], &[])
}

fn parameters() -> BootParameters {
    BootParameters {
        memory: MemoryMap::pc(64 * MIB).unwrap(),
        command_line: b"kernel argument".to_vec(),
        modules: [(&b"abc"[..], "one"), (&[0x5a; 5000], "two"), (b"", "")]
            .map(|(bytes, text)| Module {
                bytes: bytes.to_vec().into(),
                command_line: text.into(),
            })
            .to_vec(),
        acpi: None,
        entry: None,
    }
}

fn boot(file: Vec<u8>, parameters: &BootParameters) -> Result<BootImage, BootError> {
    KernelImage::parse(file).unwrap().boot(parameters)
}

fn find<'a>(image: &'a BootImage, what: &str) -> Option<&'a MemoryWrite> {
    image.writes.iter().find(|w| w.what == what)
}

/// A word of what was written.
fn u32_at(image: &BootImage, at: u32) -> u32 {
    let at = u64::from(at);
    let word = PhysRange::new(GuestPhys(at), 4).unwrap();
    let write = image
        .writes
        .iter()
        .find(|w| w.range().contains(word))
        .unwrap_or_else(|| panic!("nothing at {at:#x}"));
    let Content::Bytes(bytes) = &write.content else {
        return 0;
    };
    let offset = (at - write.address.0) as usize;
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

#[test]
fn the_processor_starts_in_protected_mode_with_the_magic_number() {
    for class in [ElfClass::Elf32, ElfClass::Elf64] {
        let image = boot(kernel(class, 0x10_0000, 0x4000), &parameters()).unwrap();
        let StartState::Protected32(start) = image.start else {
            panic!("{:?}", image.start)
        };
        assert_eq!((start.eip, start.eax), (0x10_000c, 0x2bad_b002));
        assert_eq!(start.cr0 & (cr::cr0::PE | cr::cr0::PG), cr::cr0::PE);
        assert_eq!(start.rflags, 2);
        let information = find(&image, "Multiboot information").unwrap();
        assert_eq!(u64::from(start.ebx), information.address.0);
    }
}

/// Offsets from "Boot information format".
#[test]
fn the_information_names_what_was_put_into_memory() {
    let image = boot(kernel(ElfClass::Elf32, 0x10_0000, 0x4321), &parameters()).unwrap();
    let StartState::Protected32(start) = image.start else {
        panic!("{:?}", image.start)
    };
    let info = |offset| u32_at(&image, start.ebx + offset);
    assert_eq!(info(0), 0b10_0100_1101);
    assert_eq!((info(4), info(8)), (639, 63 * 1024));
    let address = |what| find(&image, what).unwrap().address.0 as u32;
    assert_eq!(info(16), address("command line"));
    assert_eq!(info(64), address("boot loader name"));
    assert_eq!((info(20), info(24)), (3, address("module list")));
    let module = |index: u32| {
        let at = info(24) + 16 * index;
        (u32_at(&image, at), u32_at(&image, at + 4))
    };
    // Behind the kernel, each on a page, each with its end; the last one is empty.
    assert_eq!(module(0), (0x10_5000, 0x10_5003));
    assert_eq!(module(1), (0x10_6000, 0x10_6000 + 5000));
    assert_eq!(module(2), (0x10_8000, 0x10_8000));
    assert_eq!(address("module 1"), 0x10_6000);
    let (map, size) = (info(48), info(44));
    assert_eq!(size as usize, image.memory_map.entries().len() * 24);
    for (index, entry) in image.memory_map.entries().iter().enumerate() {
        let at = map + 24 * index as u32;
        assert_eq!(u32_at(&image, at), 20);
        assert_eq!(u64::from(u32_at(&image, at + 4)), entry.range.start().0);
        assert_eq!(u64::from(u32_at(&image, at + 12)), entry.range.size());
        assert_eq!(u32_at(&image, at + 20), entry.kind as u32);
    }
}

#[test]
fn upper_memory_ends_at_the_first_hole() {
    let mut p = parameters();
    p.memory = MemoryMap::pc(8192 * MIB).unwrap();
    p.acpi = Some(crate::acpi::tests::pc(1));
    let image = boot(kernel(ElfClass::Elf32, 0x10_0000, 0x4000), &p).unwrap();
    let StartState::Protected32(start) = image.start else {
        panic!("{:?}", image.start)
    };
    let tables = image
        .memory_map
        .entries()
        .iter()
        .find(|e| e.kind == MemoryKind::AcpiNvs)
        .unwrap();
    let upper = u64::from(u32_at(&image, start.ebx + 8));
    assert_eq!(upper * 1024 + MIB, tables.range.start().0);
}

/// A kernel may want the very place where small structures usually go.
#[test]
fn structures_give_way_to_a_kernel_in_conventional_memory() {
    let image = boot(kernel(ElfClass::Elf32, 0x1000, 0x7000), &parameters()).unwrap();
    assert_eq!(find(&image, "GDT").unwrap().address, GuestPhys(0x9000));
    let error = boot(kernel(ElfClass::Elf32, 0x1000, 0x7_f000), &parameters()).unwrap_err();
    assert!(error.to_string().contains("no room for"), "{error}");
    for (start, size) in [(0, 0x1000), (0x9_f000, 0x2000), (64 * MIB - 0x1000, 0x2000)] {
        let error = boot(kernel(ElfClass::Elf32, start, size), &parameters()).unwrap_err();
        assert!(error.to_string().contains("kernel segment 0"), "{error}");
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let refusal = |change: &dyn Fn(&mut BootParameters)| {
        let mut p = parameters();
        change(&mut p);
        boot(kernel(ElfClass::Elf32, 0x10_0000, 0x4000), &p)
            .unwrap_err()
            .to_string()
    };
    assert!(refusal(&|p| p.entry = Some(Entry::Direct)).contains("through: Multiboot"));
    assert!(refusal(&|p| p.modules[1].command_line = b"a\0".to_vec()).contains("zero byte"));
    assert!(refusal(&|p| p.modules[1].bytes = vec![0; 64 << 20].into()).contains("module 1"));
    assert!(refusal(&|p| p.command_line = vec![b'x'; 1 << 20]).contains("command line"));
}

#[test]
fn without_modules_the_list_is_empty() {
    let mut p = parameters();
    p.modules.clear();
    let image = boot(kernel(ElfClass::Elf32, 0x10_0000, 0x4000), &p).unwrap();
    let StartState::Protected32(start) = image.start else {
        panic!("{:?}", image.start)
    };
    assert_eq!(u32_at(&image, start.ebx + 20), 0);
    assert!(find(&image, "module list").is_none());
}
