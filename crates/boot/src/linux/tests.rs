use super::*;
use crate::boot_image::Bytes;
use crate::kernel::KernelImage;
use crate::kernel::bzimage::testing::{bzimage, lz4};
use crate::kernel::elf::ElfClass;
use crate::kernel::elf::testing::{Load, elf, pvh_note};
use crate::memory::{MemoryKind, MemoryMap};
use crate::{Entry, MemoryWrite, Module};
use ring3_arch::cr;
use std::collections::BTreeMap;

const MIB: u64 = 1 << 20;

/// A kernel with a segment of text and one of data with zeros behind it.
fn vmlinux() -> Vec<u8> {
    let text = vec![0x90; 0x2345];
    let loads = [
        Load {
            virtual_address: 0xffff_ffff_8100_0000,
            physical: 0x100_0000,
            bytes: &text,
            memory_size: text.len() as u64,
        },
        Load {
            virtual_address: 0xffff_ffff_8120_0000,
            physical: 0x120_0000,
            bytes: b"data",
            memory_size: 0x8000,
        },
    ];
    elf(ElfClass::Elf64, 0x100_0010, &loads, &pvh_note(0x100_0020))
}

fn packed() -> Vec<u8> {
    let kernel = vmlinux();
    bzimage(&lz4(&kernel), Some(kernel.len() as u32))
}

fn module(bytes: Vec<u8>) -> Module {
    Module {
        bytes: bytes.into(),
        command_line: Vec::new(),
    }
}

fn parameters(ram: u64, entry: Entry) -> BootParameters {
    BootParameters {
        memory: MemoryMap::pc(ram).unwrap(),
        command_line: b"console=ttyS0 quiet".to_vec(),
        modules: vec![module(b"first".to_vec()), module(vec![7; 5001])],
        acpi: Some(crate::acpi::tests::pc(2)),
        entry: Some(entry),
    }
}

fn boot(file: Vec<u8>, parameters: &BootParameters) -> Result<BootImage, BootError> {
    KernelImage::parse(file).unwrap().boot(parameters)
}

/// Guest memory, page by page.
#[derive(Default)]
struct Memory(BTreeMap<u64, u8>);

impl Memory {
    fn of(image: &BootImage) -> Memory {
        let mut memory = Memory::default();
        for write in &image.writes {
            if let Content::Bytes(bytes) = &write.content {
                for (index, byte) in bytes.iter().enumerate() {
                    memory.0.insert(write.address.0 + index as u64, *byte);
                }
            }
        }
        memory
    }

    fn bytes(&self, at: u64, size: u64) -> Vec<u8> {
        (at..at + size)
            .map(|a| self.0.get(&a).copied().unwrap_or(0))
            .collect()
    }

    fn u64(&self, at: u64) -> u64 {
        u64::from_le_bytes(self.bytes(at, 8).try_into().unwrap())
    }

    fn u32(&self, at: u64) -> u32 {
        self.u64(at) as u32
    }

    fn text(&self, at: u64) -> Vec<u8> {
        (at..)
            .map(|a| self.bytes(a, 1)[0])
            .take_while(|b| *b != 0)
            .collect()
    }
}

fn long64(image: &BootImage) -> Long64 {
    match image.start {
        StartState::Long64(s) => s,
        StartState::Protected32(s) => panic!("starts in protected mode: {s:?}"),
    }
}

fn write<'a>(image: &'a BootImage, what: &str) -> &'a MemoryWrite {
    image
        .writes
        .iter()
        .find(|w| w.what == what)
        .unwrap_or_else(|| panic!("no {what} in {:#?}", image.writes))
}

#[test]
fn the_direct_entry_loads_segments_where_they_belong() {
    for file in [packed(), vmlinux()] {
        let image = boot(file, &parameters(64 * MIB, Entry::Direct)).unwrap();
        let text = write(&image, "kernel segment 0");
        assert_eq!(text.range().to_string(), "0x1000000..0x1002345");
        let data = write(&image, "kernel segment 1");
        assert_eq!(data.content, Content::Bytes(Bytes::from(b"data".to_vec())));
        let zeros = write(&image, "kernel segment 1, zeros");
        assert_eq!(zeros.address, GuestPhys(0x120_0004));
        assert_eq!(zeros.content, Content::Zeros(0x7ffc));
        assert_eq!(long64(&image).rip, 0x100_0010);
    }
}

#[test]
fn the_compressed_entry_is_200h_behind_the_code() {
    let file = packed();
    let image = boot(file.clone(), &parameters(64 * MIB, Entry::Compressed)).unwrap();
    let code = write(&image, "compressed kernel");
    assert_eq!(code.address, GuestPhys(0x100_0000));
    assert_eq!(code.content, Content::Bytes(file[1024..].to_vec().into()));
    assert_eq!(long64(&image).rip, 0x100_0200);
    // Nothing else is in the memory that it needs to unpack itself (init_size is 4 MiB).
    let needed = PhysRange::new(GuestPhys(0x100_0000), 4 * MIB).unwrap();
    let inside = image.writes.iter().filter(|w| w.range().overlaps(needed));
    assert_eq!(inside.count(), 1);
}

/// "64-bit Boot Protocol": the last paragraph.
#[test]
fn the_processor_starts_as_the_64_bit_protocol_says() {
    for entry in [Entry::Direct, Entry::Compressed] {
        let image = boot(packed(), &parameters(64 * MIB, entry)).unwrap();
        let start = long64(&image);
        assert_eq!((start.code.selector, start.data.selector), (0x10, 0x18));
        assert_eq!(start.rflags, 2);
        assert_eq!(
            start.cr0 & (cr::cr0::PE | cr::cr0::PG),
            cr::cr0::PE | cr::cr0::PG
        );
        assert_eq!(start.cr0 & (cr::cr0::CD | cr::cr0::NW), 0);
        assert_eq!(start.cr4, cr::cr4::PAE);
        assert_eq!(start.efer, cr::efer::LME | cr::efer::LMA);
        assert_eq!(start.rsi, write(&image, "zero page").address.0);
        let memory = Memory::of(&image);
        let gdt = start.gdt;
        assert_eq!(gdt.limit, 31);
        assert_eq!(memory.u64(gdt.base.0 + 0x10), 0x00af_9b00_0000_ffff);
        assert_eq!(memory.u64(gdt.base.0 + 0x18), 0x00cf_9300_0000_ffff);
        // The stack is RAM where nothing was put.
        let stack = PhysRange::new(GuestPhys(start.rsp - 2048), 2048).unwrap();
        assert!(image.memory_map.is_ram(stack));
        assert!(image.writes.iter().all(|w| !w.range().overlaps(stack)));
    }
}

/// A page walk, as SDM Vol. 3, "4-Level Paging" has it.
fn translate(memory: &Memory, cr3: u64, address: u64) -> Option<u64> {
    let mut table = cr3;
    for shift in [39, 30, 21] {
        let entry = memory.u64(table + (address >> shift & 511) * 8);
        if entry & 3 != 3 {
            return None;
        }
        let base = entry & 0x000f_ffff_ffff_f000;
        if shift == 21 {
            assert_ne!(entry & 1 << 7, 0);
            return Some(base | address & 0x1f_ffff);
        }
        assert_eq!(entry & 1 << 7, 0);
        table = base;
    }
    None
}

#[test]
fn the_first_4_gib_are_mapped_to_themselves_and_nothing_else_is() {
    let image = boot(packed(), &parameters(64 * MIB, Entry::Direct)).unwrap();
    let memory = Memory::of(&image);
    let cr3 = long64(&image).cr3.0;
    assert_eq!(cr3 % 4096, 0);
    for page in 0..2048 {
        let address = page * 2 * MIB + 0x12345;
        assert_eq!(translate(&memory, cr3, address), Some(address));
    }
    for address in [1 << 32, 1 << 39, 0xffff_ffff_8100_0000] {
        assert_eq!(translate(&memory, cr3, address), None);
    }
}

#[test]
fn the_zero_page_names_what_was_put_into_memory() {
    for entry in [Entry::Direct, Entry::Compressed] {
        let image = boot(packed(), &parameters(64 * MIB, entry)).unwrap();
        let memory = Memory::of(&image);
        let page = write(&image, "zero page").address.0;
        let field = |at: usize| memory.u32(page + at as u64);
        assert_eq!(
            memory.text(field(header::CMD_LINE_PTR).into()),
            b"console=ttyS0 quiet"
        );
        assert_eq!(field(header::CODE32_START), 0x100_0000);
        // Two archives: five bytes, padding to a multiple of four, and the rest.
        let initrd = u64::from(field(header::RAMDISK_IMAGE));
        assert_eq!(field(header::RAMDISK_SIZE), 8 + 5001);
        assert_eq!(memory.bytes(initrd, 9), b"first\0\0\0\x07");
        assert_eq!(memory.bytes(initrd + 8, 5001), vec![7; 5001]);
        // The sentinel stays zero: the rest of the page is meant as it is.
        assert_eq!(memory.bytes(page + 0x1ef, 1), [0]);
        assert_eq!(
            memory.bytes(page + header::TYPE_OF_LOADER as u64, 1),
            [0xff]
        );
        let rsdp = memory.u64(page + zero_page::ACPI_RSDP_ADDR as u64);
        assert_eq!(memory.bytes(rsdp, 8), b"RSD PTR ");
        // The setup header is the kernel's own, up to its end and not further.
        assert_eq!(field(header::INIT_SIZE), 0x40_0000);
        assert_eq!(memory.bytes(page + 0x202 + 0x6a, 4), [0; 4]);
    }
}

/// The outside oracle for offsets: the structure that bindgen made of the kernel's header.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_zero_page_reads_the_same_through_linux_loader() {
    use linux_loader::loader::bootparam::boot_params;
    use vm_memory::ByteValued;

    for file in [packed(), vmlinux()] {
        let image = boot(file, &parameters(6144 * MIB, Entry::Direct)).unwrap();
        let memory = Memory::of(&image);
        let page = memory.bytes(write(&image, "zero page").address.0, 4096);
        let params = *boot_params::from_slice(&page).expect("it has the size of a zero page");
        let entries: Vec<(u64, u64, u32)> = params.e820_table[..usize::from(params.e820_entries)]
            .iter()
            .map(|e| (e.addr, e.size, e.r#type))
            .collect();
        let expected: Vec<(u64, u64, u32)> = image
            .memory_map
            .entries()
            .iter()
            .map(|e| (e.range.start().0, e.range.size(), e.kind as u32))
            .collect();
        assert_eq!(entries, expected);
        let hdr = params.hdr;
        assert_eq!({ hdr.header }, 0x5372_6448);
        assert_eq!({ hdr.boot_flag }, 0xaa55);
        assert_eq!({ hdr.version }, 0x020f);
        assert_eq!(hdr.type_of_loader, 0xff);
        assert_eq!(hdr.loadflags, 1);
        assert_eq!({ hdr.cmdline_size }, 2047);
        assert_eq!({ hdr.initrd_addr_max }, 0x7fff_ffff);
        assert_eq!({ hdr.kernel_alignment }, 0x20_0000);
        assert_eq!({ hdr.ramdisk_size }, 8 + 5001);
        assert_eq!({ hdr.setup_data }, 0);
        assert_eq!({ hdr.code32_start }, 0x100_0000);
        assert_eq!(
            memory.text({ hdr.cmd_line_ptr }.into()),
            b"console=ttyS0 quiet"
        );
        assert_eq!(memory.bytes(params.acpi_rsdp_addr, 8), b"RSD PTR ");
        assert_eq!({ params.ext_ramdisk_image }, 0);
        assert_eq!({ params.ext_cmd_line_ptr }, 0);
        assert_eq!(params.sentinel, 0);
        assert_eq!(params.screen_info, Default::default());
    }
}

/// The outside oracle for what of a bzImage is loaded.
#[cfg(target_arch = "x86_64")]
#[test]
fn linux_loader_loads_the_same_code() {
    use linux_loader::loader::KernelLoader;
    use linux_loader::loader::bzimage::BzImage as Theirs;
    use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

    let file = packed();
    let image = boot(file.clone(), &parameters(64 * MIB, Entry::Compressed)).unwrap();
    let code = write(&image, "compressed kernel");
    let theirs: GuestMemoryMmap =
        GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 64 << 20)]).unwrap();
    let at = GuestAddress(code.address.0);
    let mut source = std::io::Cursor::new(&file);
    let loaded = Theirs::load(&theirs, Some(at), &mut source, None).unwrap();
    assert_eq!(loaded.kernel_end, code.range().end().0);
    let mut bytes = vec![0; code.content.size() as usize];
    theirs.read_slice(&mut bytes, at).unwrap();
    assert_eq!(code.content, Content::Bytes(bytes.into()));
}

#[test]
fn everything_is_in_ram_and_the_map_tells_what_is_not_free() {
    for ram in [
        34 * MIB,
        64 * MIB,
        2048 * MIB,
        3072 * MIB,
        4096 * MIB,
        16384 * MIB,
    ] {
        for entry in [Entry::Direct, Entry::Compressed, Entry::Pvh] {
            let image = boot(packed(), &parameters(ram, entry)).unwrap();
            let map = &image.memory_map;
            let lines = map.entries();
            assert!(
                lines
                    .windows(2)
                    .all(|w| w[0].range.end() <= w[1].range.start())
            );
            for write in &image.writes {
                let kind = lines
                    .iter()
                    .find(|l| l.range.contains(write.range()))
                    .map(|l| l.kind);
                let expected = match write.what.as_str() {
                    // FACS and tables: two lines.
                    "ACPI tables" => None,
                    "ACPI root pointer" | "extended BIOS data area" => Some(MemoryKind::Reserved),
                    _ => Some(MemoryKind::Ram),
                };
                assert_eq!(kind, expected, "{write:?}");
            }
            let acpi = write(&image, "ACPI tables").range();
            let of = |kind: MemoryKind| lines.iter().find(|l| l.kind == kind).unwrap().range;
            let (nvs, tables) = (of(MemoryKind::AcpiNvs), of(MemoryKind::AcpiTables));
            assert_eq!(nvs.start(), acpi.start());
            assert_eq!(nvs.end(), tables.start());
            assert_eq!(nvs.size(), 4096);
            assert!(tables.end() >= acpi.end());
            assert_eq!(tables.end(), map.low_end());
            for device in [0xfec0_0000, 0xfed0_0000, 0xfee0_0000] {
                let line = lines.iter().find(|l| l.range.start().0 == device).unwrap();
                assert_eq!((line.kind, line.range.size()), (MemoryKind::Reserved, 4096));
            }
            for i in 0..2 {
                let initrd = write(&image, &format!("initial file system {i}")).range();
                assert!(initrd.end().0 <= 0x8000_0000);
            }
            // What the machine would do with it.
            assert!(image.writes.iter().all(|w| map.is_backed(w.range())));
        }
    }
}

#[test]
fn the_initrd_stays_below_what_the_kernel_takes() {
    let mut file = packed();
    file[header::INITRD_ADDR_MAX..header::INITRD_ADDR_MAX + 4]
        .copy_from_slice(&0x37f_ffff_u32.to_le_bytes());
    let image = boot(file.clone(), &parameters(512 * MIB, Entry::Direct)).unwrap();
    let last = write(&image, "initial file system 1").range().end().0;
    assert!((0x37f_e000..=0x380_0000).contains(&last), "{last:#x}");
    file[header::INITRD_ADDR_MAX..header::INITRD_ADDR_MAX + 4].copy_from_slice(&[0; 4]);
    assert!(matches!(
        boot(file, &parameters(512 * MIB, Entry::Direct)),
        Err(BootError::Placement(PlacementError::NoRoom { .. }))
    ));
}

#[test]
fn without_modules_there_is_no_initrd_and_without_acpi_no_root_pointer() {
    let mut p = parameters(64 * MIB, Entry::Direct);
    p.modules.clear();
    p.acpi = None;
    let mut file = packed();
    // A stale value in the file must not survive.
    file[header::RAMDISK_IMAGE..header::RAMDISK_IMAGE + 8].fill(0xff);
    file[header::SETUP_DATA..header::SETUP_DATA + 8].fill(0xff);
    let image = boot(file, &p).unwrap();
    let memory = Memory::of(&image);
    let page = write(&image, "zero page").address.0;
    let at = |offset: usize| memory.u64(page + offset as u64);
    assert_eq!(at(header::RAMDISK_IMAGE), 0);
    assert_eq!(at(header::SETUP_DATA), 0);
    assert_eq!(at(zero_page::ACPI_RSDP_ADDR), 0);
    assert!(
        image
            .memory_map
            .entries()
            .iter()
            .all(|e| matches!(e.kind, MemoryKind::Ram | MemoryKind::Reserved))
    );
}

#[test]
fn pvh_passes_its_start_info_in_ebx() {
    let image = boot(packed(), &parameters(64 * MIB, Entry::Pvh)).unwrap();
    let StartState::Protected32(start) = image.start else {
        panic!("{:?}", image.start)
    };
    assert_eq!(start.eip, 0x100_0020);
    assert_eq!(start.cr0 & (cr::cr0::PE | cr::cr0::PG), cr::cr0::PE);
    assert_eq!((start.cr4, start.rflags), (0, 2));
    let memory = Memory::of(&image);
    let info = u64::from(start.ebx);
    assert_eq!(memory.u32(info), 0x336e_c578);
    assert_eq!(memory.u32(info + 4), 1, "version");
    assert_eq!(memory.u32(info + 12), 1, "modules");
    let module = memory.u64(info + 16);
    assert_eq!(memory.u64(module + 8), 8 + 5001);
    assert_eq!(memory.bytes(memory.u64(module), 5), b"first");
    assert_eq!(memory.text(memory.u64(info + 24)), b"console=ttyS0 quiet");
    assert_eq!(memory.bytes(memory.u64(info + 32), 8), b"RSD PTR ");
    let (map, lines) = (memory.u64(info + 40), memory.u32(info + 48));
    let expected = image.memory_map.entries();
    assert_eq!(lines as usize, expected.len());
    for (index, line) in expected.iter().enumerate() {
        let at = map + 24 * index as u64;
        assert_eq!(memory.u64(at), line.range.start().0);
        assert_eq!(memory.u64(at + 8), line.range.size());
        assert_eq!(memory.u64(at + 16), line.kind as u64);
    }
}

#[test]
fn the_bios_data_area_agrees_with_the_memory_map() {
    let image = boot(packed(), &parameters(64 * MIB, Entry::Direct)).unwrap();
    let memory = Memory::of(&image);
    let u16 = |at| u16::from_le_bytes(memory.bytes(at, 2).try_into().unwrap());
    assert_eq!(u64::from(u16(0x40e)) << 4, 0x9_fc00);
    assert_eq!(u64::from(u16(0x413)) << 10, 0x9_fc00);
    assert_eq!((u16(0x400), u16(0x402), u16(0x404)), (0x3f8, 0x2f8, 0));
    assert_eq!(memory.bytes(0x9_fc00, 1), [1]);
}

#[test]
fn the_same_input_gives_the_same_image() {
    for entry in [Entry::Direct, Entry::Compressed, Entry::Pvh] {
        let once = boot(packed(), &parameters(64 * MIB, entry)).unwrap();
        assert_eq!(once, boot(packed(), &parameters(64 * MIB, entry)).unwrap());
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let refusal = |change: &dyn Fn(&mut BootParameters)| {
        let mut p = parameters(64 * MIB, Entry::Direct);
        change(&mut p);
        boot(packed(), &p).unwrap_err().to_string()
    };
    let message = refusal(&|p| p.memory = MemoryMap::pc(16 * MIB).unwrap());
    assert!(message.contains("kernel segment 0") && message.contains("more memory"));
    assert!(refusal(&|p| p.command_line = vec![b'x'; 2048]).contains("at most 2047"));
    assert!(refusal(&|p| p.command_line = b"a\0b".to_vec()).contains("zero byte"));
    let message = refusal(&|p| p.modules = vec![module(vec![0; 64 << 20])]);
    assert!(message.contains("initial file system"), "{message}");
    assert!(refusal(&|p| p.acpi.as_mut().unwrap().processors.clear()).contains("no processor"));
    let message = refusal(&|p| p.acpi.as_mut().unwrap().local_apic_address = 0x200_0000);
    assert!(message.contains("midst of RAM"), "{message}");
    let message = refusal(&|p| {
        let window = PhysRange::new(GuestPhys(63 * MIB), 2 * MIB).unwrap();
        p.acpi
            .as_mut()
            .unwrap()
            .pci
            .as_mut()
            .unwrap()
            .memory_windows = vec![window];
    });
    assert!(message.contains("PCI memory window"), "{message}");
    let message = refusal(&|p| p.entry = Some(Entry::Multiboot));
    assert!(message.contains("direct, compressed, PVH"), "{message}");
    let mut p = parameters(64 * MIB, Entry::Direct);
    p.command_line = vec![b'x'; 2047];
    assert!(boot(packed(), &p).is_ok());

    let mut fixed = packed();
    fixed[header::RELOCATABLE_KERNEL] = 0;
    let error = boot(fixed, &parameters(64 * MIB, Entry::Compressed)).unwrap_err();
    assert!(error.to_string().contains("direct entry"), "{error}");
    let plain = elf(
        ElfClass::Elf64,
        0x100_0000,
        &[Load {
            virtual_address: 0,
            physical: 0x100_0000,
            bytes: b"text",
            memory_size: 4,
        }],
        &[],
    );
    let error = boot(plain, &parameters(64 * MIB, Entry::Pvh)).unwrap_err();
    assert!(error.to_string().contains("no PVH entry"), "{error}");
}

#[test]
fn any_damage_to_the_setup_header_is_survived_by_every_entry() {
    let file = packed();
    for at in (0x1f1..0x26c).chain(0x200..0x202) {
        for value in [0, 1, 0x7f, 0xff] {
            let mut damaged = file.clone();
            damaged[at] = value;
            let Ok(kernel) = KernelImage::parse(damaged) else {
                continue;
            };
            for entry in [Entry::Direct, Entry::Compressed, Entry::Pvh] {
                let _ = kernel.boot(&parameters(64 * MIB, entry));
            }
        }
    }
}
