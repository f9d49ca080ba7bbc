//! Linux, through each of its entries.

use crate::machine::{self, RAM_BYTES};
use ring3_arch::GuestPhys;
use ring3_boot::initramfs::{ArchiveWriter, Device};
use ring3_boot::{BootParameters, Entry, KernelImage, MemoryMap, Module, PhysRange};
use std::path::PathBuf;

/// The kernel to test with, or `None` with a message.
fn kernel() -> Option<Vec<u8>> {
    let named = std::env::var_os("RING3_TEST_KERNEL").map(PathBuf::from);
    let installed = || {
        let mut kernels: Vec<PathBuf> = std::fs::read_dir("/boot")
            .ok()?
            .filter_map(|e| Some(e.ok()?.path()))
            .filter(|p| {
                p.file_name()
                    .is_some_and(|n| n.as_encoded_bytes().starts_with(b"vmlinuz-"))
            })
            .collect();
        kernels.sort();
        kernels.pop()
    };
    let Some(path) = named.or_else(installed) else {
        println!("skipped: no kernel; name one in RING3_TEST_KERNEL");
        return None;
    };
    Some(std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

/// An ELF program of its own header and these instructions.
fn program(code: &[u8]) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let size = HEADERS + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend(2u16.to_le_bytes());
    file.extend(62u16.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    for value in [BASE + HEADERS, 64, 0] {
        file.extend(value.to_le_bytes());
    }
    file.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 64, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1u32.to_le_bytes());
    file.extend(5u32.to_le_bytes());
    for value in [0, BASE, BASE, size, size, 0x1000] {
        file.extend(value.to_le_bytes());
    }
    file.extend(code);
    file
}

/// The first program: writes the contents of /message to the console and turns the machine off.
fn init() -> Vec<u8> {
    let mut code = Vec::new();
    // lea rdi, [rip + path]; xor esi, esi; mov eax, 2; syscall: open
    let lea = code.len();
    code.extend([0x48, 0x8d, 0x3d, 0, 0, 0, 0, 0x31, 0xf6]);
    code.extend([0xb8, 2, 0, 0, 0, 0x0f, 0x05]);
    // mov edi, eax; lea rsi, [rsp-256]; mov edx, 128; xor eax, eax; syscall: read
    code.extend([0x89, 0xc7, 0x48, 0x8d, 0xb4, 0x24]);
    code.extend((-256i32).to_le_bytes());
    code.extend([0xba, 128, 0, 0, 0, 0x31, 0xc0, 0x0f, 0x05]);
    // mov edx, eax; mov edi, 1; mov eax, 1; syscall: write
    code.extend([0x89, 0xc2, 0xbf, 1, 0, 0, 0, 0xb8, 1, 0, 0, 0, 0x0f, 0x05]);
    // mov edi, fee1dead; mov esi, 28121969; mov edx, 4321fedc; mov eax, 169; syscall: reboot,
    // power off
    for (opcode, value) in [
        (0xbf, 0xfee1_dead_u32),
        (0xbe, 672_274_793),
        (0xba, 0x4321_fedc),
        (0xb8, 169),
    ] {
        code.push(opcode);
        code.extend(value.to_le_bytes());
    }
    // syscall; jmp to itself
    code.extend([0x0f, 0x05, 0xeb, 0xfe]);
    let path = (code.len() - (lea + 7)) as u32;
    code[lea + 3..lea + 7].copy_from_slice(&path.to_le_bytes());
    code.extend(b"/message\0");
    program(&code)
}

const MESSAGE: &str = "two archives, one file system";

/// The first program and the console, and in a second archive what the program reads.
fn initrd() -> Vec<Module> {
    let mut first = ArchiveWriter::new(Vec::new());
    let console = Device::Character { major: 5, minor: 1 };
    first.device(b"dev/console", 0o600, console).unwrap();
    first.file(b"sbin/first", 0o755, &init()).unwrap();
    first.symlink(b"init", b"sbin/first").unwrap();
    let mut first = first.finish().unwrap();
    // An odd size, as a compressed archive would have.
    first.push(0);
    let mut second = ArchiveWriter::new(Vec::new());
    second
        .file(b"message", 0o644, format!("{MESSAGE}\n").as_bytes())
        .unwrap();
    [first, second.finish().unwrap()]
        .map(|bytes| Module {
            bytes: bytes.into(),
            command_line: Vec::new(),
        })
        .to_vec()
}

fn boots(entry: Entry) {
    let (Some(qemu), Some(kernel)) = (machine::qemu(), kernel()) else {
        return;
    };
    const PROCESSORS: u32 = 4;
    let kernel = KernelImage::parse(kernel).unwrap();
    let command_line = "console=ttyS0 earlyprintk=serial,ttyS0 panic=-1 ring3.test=1";
    let image = kernel
        .boot(&BootParameters {
            memory: MemoryMap::pc(RAM_BYTES).unwrap(),
            command_line: command_line.into(),
            modules: initrd(),
            acpi: Some(machine::acpi(PROCESSORS)),
            entry: Some(entry),
        })
        .unwrap();
    let outcome = machine::run(
        qemu,
        &format!("linux-{entry}"),
        &image,
        &[
            "-smp",
            "4",
            "-chardev",
            "null,id=nowhere",
            "-chardev",
            "null,id=elsewhere",
            "-device",
            "pci-serial,addr=5,chardev=nowhere",
            "-device",
            "pci-serial,addr=7,chardev=elsewhere",
        ],
    );
    let log = String::from_utf8_lossy(&outcome.serial);
    println!("{log}");
    assert_eq!(
        outcome.status,
        Some(0),
        "it did not turn itself off:\n{log}"
    );
    for expected in [
        MESSAGE,
        command_line,
        // The memory map, as we made it.
        "[mem 0x0000000000000000-0x000000000009fbff] usable",
        "[mem 0x00000000fec00000-0x00000000fec00fff] reserved",
        "[mem 0x00000000fee00000-0x00000000fee00fff] reserved",
        "ACPI data",
        "ACPI NVS",
        // The tables.
        "ACPI: RSDP 0x00000000000E0000",
        "ACPI: FACP 0x",
        "ACPI: DSDT 0x",
        "ACPI: FACS 0x",
        "ACPI: APIC 0x",
        "ACPI: HPET 0x",
        "ACPI: PM-Timer IO Port: 0x608",
        "IOAPIC[0]: apic_id 0",
        "ACPI: INT_SRC_OVR (bus 0 bus_irq 0 global_irq 2 high edge)",
        "ACPI: INT_SRC_OVR (bus 0 bus_irq 9 global_irq 9 high level)",
        "ACPI: LAPIC_NMI (acpi_id[0xff] dfl dfl lint[0x1])",
        "ACPI: HPET id: 0x8086a201 base: 0xfed00000",
        "smp: Brought up 1 node, 4 CPUs",
        "ACPI: Interpreter enabled",
        "ACPI: Using IOAPIC for interrupt routing",
        "ACPI: PCI Root Bridge [PCI0] (domain 0000 [bus 00-ff])",
        "pci_bus 0000:00: root bus resource [io  0x0000-0x0cf7 window]",
        "pci_bus 0000:00: root bus resource [mem 0xc0000000-0xfebfffff window]",
        "ttyS0 at I/O 0x3f8 (irq = 4",
        "hpet0: at MMIO 0xfed00000, IRQs 2, 8, 0",
        "clocksource: acpi_pm: mask: 0xffffff ",
        "rtc_cmos 00:01: registered as rtc0",
        "i8042: PNP: PS/2 Controller [PNP0303:KBD",
        "reboot: Power down",
    ] {
        assert!(log.contains(expected), "\"{expected}\" is not in:\n{log}");
    }
    // Through PVH Linux reserves 640 KiB to 1 MiB itself.
    if entry != Entry::Pvh {
        for line in [
            "[mem 0x000000000009fc00-0x000000000009ffff] reserved",
            "[mem 0x00000000000e0000-0x00000000000fffff] reserved",
        ] {
            assert!(log.contains(line), "\"{line}\" is not in:\n{log}");
        }
    }
    // The routing table: devices 5 and 7 raise PIRQA and PIRQC.
    for (device, irq) in [("0000:00:05.0: ttyS1", 10), ("0000:00:07.0: ttyS2", 11)] {
        let line = log
            .lines()
            .find(|l| l.contains(device))
            .unwrap_or("nothing");
        assert!(
            line.contains(&format!("(irq = {irq},")),
            "{device} should have interrupt {irq}: {line}"
        );
    }
    for unexpected in [
        "ACPI Error",
        "ACPI BIOS Error",
        "ACPI BIOS Warning",
        "ACPI Warning",
        "ACPI: Unable",
        "Firmware Bug",
        "Kernel panic",
        "Call Trace",
        "Initramfs unpacking failed",
        "can't derive routing",
        "no GSI",
    ] {
        assert!(!log.contains(unexpected), "\"{unexpected}\" is in:\n{log}");
    }
}

/// The kernel proper comes out of a distribution's kernel, and looks like Linux.
#[test]
fn a_distribution_kernel_is_understood() {
    let Some(file) = kernel() else {
        return;
    };
    let KernelImage::BzImage(image) = KernelImage::parse(file).unwrap() else {
        panic!("not a bzImage")
    };
    let version = image.version().expect("Linux says its version");
    println!("{version}, {}", image.payload_format().unwrap());
    let inside = image.extract().unwrap();
    // CONFIG_PHYSICAL_START of every distribution; the first instruction is at the entry.
    assert_eq!(inside.entry.0, 0x100_0000);
    assert_eq!(inside.segments[0].physical, inside.entry);
    // Text, data, per-processor data (linked to address 0), and what is freed after the start.
    assert_eq!(inside.segments.len(), 4);
    assert_eq!(inside.segments[0].virtual_address, 0xffff_ffff_8100_0000);
    assert_eq!(inside.segments[2].virtual_address, 0);
    assert!(inside.pvh_entry.is_some_and(|e| {
        inside.segments[0]
            .range()
            .contains(PhysRange::new(GuestPhys(e.into()), 1).unwrap())
    }));
    let banner = format!("Linux version {} ", version.split(' ').next().unwrap());
    let text = inside.segment_bytes(&inside.segments[0]);
    assert!(
        text.windows(banner.len()).any(|w| w == banner.as_bytes()),
        "\"{banner}\" is not in the kernel"
    );
}

#[test]
fn linux_boots_through_the_direct_entry() {
    boots(Entry::Direct);
}

#[test]
fn linux_boots_through_the_compressed_entry() {
    boots(Entry::Compressed);
}

#[test]
fn linux_boots_through_the_pvh_entry() {
    boots(Entry::Pvh);
}
