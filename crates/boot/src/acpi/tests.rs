use super::*;
use std::path::{Path, PathBuf};
use std::process::Command;

const BASE: GuestPhys = GuestPhys(0x1ff_0000);

pub(crate) fn pc(processors: u32) -> AcpiParameters {
    AcpiParameters {
        processors: (0..processors).map(ApicId).collect(),
        local_apic_address: 0xfee0_0000,
        local_apic_nmi_pin: Some(1),
        io_apics: vec![IoApic {
            id: 0,
            address: 0xfec0_0000,
            gsi_base: 0,
        }],
        interrupt_overrides: AcpiParameters::pc_overrides(9),
        legacy_interrupt_controller: Some(LegacyInterruptController {
            master_port: 0x20,
            slave_port: 0xa0,
        }),
        power: PowerRegisters {
            event_port: 0x600,
            control_port: 0x604,
            timer_port: Some(0x608),
            timer_32_bit: true,
            sci_irq: 9,
            soft_off_type: 5,
            power_button: true,
        },
        reset: Some(ResetRegister {
            address: RegisterAddress::Port(0xcf9),
            value: 6,
        }),
        timer: Some(IsaDevice { port: 0x40, irq: 0 }),
        clock: Some(RealTimeClock {
            port: 0x70,
            irq: 8,
            century_index: Some(0x32),
        }),
        keyboard_controller: Some(KeyboardController {
            data_port: 0x60,
            command_port: 0x64,
            keyboard_irq: 1,
            mouse_irq: Some(12),
        }),
        vga: false,
        serial_ports: vec![
            IsaDevice {
                port: 0x3f8,
                irq: 4,
            },
            IsaDevice {
                port: 0x2f8,
                irq: 3,
            },
        ],
        hpet: Some(Hpet {
            address: 0xfed0_0000,
            capabilities: 0x8086_a201,
            minimum_tick: 0x80,
        }),
        pci: Some(PciRoot {
            last_bus: 0xff,
            memory_windows: vec![
                PhysRange::between(GuestPhys(0xc000_0000), GuestPhys(0xfec0_0000)).unwrap(),
                PhysRange::between(GuestPhys(0x80_0000_0000), GuestPhys(0x100_0000_0000)).unwrap(),
            ],
            port_windows: vec![(0, 0xcf7), (0xd00, 0xffff)],
            interrupts: (1..32)
                .flat_map(|device| {
                    (0..4).map(move |pin| PciInterrupt {
                        device,
                        pin,
                        gsi: 16 + u32::from(device + pin) % 4,
                    })
                })
                .collect(),
        }),
    }
}

/// A machine with as little as possible.
fn bare() -> AcpiParameters {
    AcpiParameters {
        local_apic_nmi_pin: None,
        legacy_interrupt_controller: None,
        reset: None,
        timer: None,
        clock: None,
        keyboard_controller: None,
        vga: true,
        serial_ports: Vec::new(),
        hpet: None,
        pci: None,
        ..pc(1)
    }
}

fn table<'a>(image: &'a AcpiImage, signature: &[u8; 4]) -> Option<&'a [u8]> {
    let (_, offset) = image.offsets.iter().find(|(s, _)| s == signature)?;
    let bytes = &image.tables[*offset..];
    let length = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    Some(&bytes[..length])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |s, b| s.wrapping_add(*b))
}

/// The structures of a MADT: type and body.
fn madt_structures(madt: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut rest = &madt[44..];
    let mut structures = Vec::new();
    while let [kind, length, ..] = *rest {
        structures.push((kind, rest[2..usize::from(length)].to_vec()));
        rest = &rest[usize::from(length)..];
    }
    assert!(rest.is_empty());
    structures
}

#[test]
fn every_table_is_reached_from_the_root_and_sums_to_zero() {
    for parameters in [pc(4), bare()] {
        let image = AcpiImage::build(&parameters, BASE).unwrap();
        assert_eq!(&image.rsdp[..8], b"RSD PTR ");
        assert_eq!((sum(&image.rsdp[..20]), sum(&image.rsdp)), (0, 0));
        assert_eq!((image.rsdp.len(), image.rsdp[15]), (36, 2));
        let at = |address: u64| {
            assert!(address.is_multiple_of(64));
            let offset = (address - BASE.0) as usize;
            let length = u32_at(&image.tables, offset + 4) as usize;
            &image.tables[offset..offset + length]
        };
        let xsdt = at(u64_at(&image.rsdp, 24));
        assert_eq!((&xsdt[..4], sum(xsdt)), (&b"XSDT"[..], 0));
        let listed: Vec<&[u8]> = xsdt[36..].chunks(8).map(|e| at(u64_at(e, 0))).collect();
        let mut names: Vec<&[u8]> = listed.iter().map(|t| &t[..4]).collect();
        names.sort();
        let expected: &[&[u8]] = if parameters.hpet.is_some() {
            &[b"APIC", b"FACP", b"HPET"]
        } else {
            &[b"APIC", b"FACP"]
        };
        assert_eq!(names, expected);
        for table in &listed {
            assert_eq!(sum(table), 0);
        }
        let fadt = listed.iter().find(|t| &t[..4] == b"FACP").unwrap();
        let dsdt = at(u32_at(fadt, 40).into());
        assert_eq!((&dsdt[..4], sum(dsdt)), (&b"DSDT"[..], 0));
        assert_eq!(u64_at(fadt, 140), u64::from(u32_at(fadt, 40)));
        assert_eq!(&at(u32_at(fadt, 36).into())[..4], b"FACS");
        // "If the X_FIRMWARE_CTRL field contains a non-zero value ... FIRMWARE_CTRL must be zero".
        assert_eq!(u64_at(fadt, 132), 0);
    }
}

/// Offsets from ACPI Specification, "Fixed ACPI Description Table (FADT)".
#[test]
fn the_fadt_says_what_the_machine_has() {
    let flags = |p: &AcpiParameters| {
        let image = AcpiImage::build(p, BASE).unwrap();
        let fadt = table(&image, b"FACP").unwrap().to_vec();
        let boot = u16::from_le_bytes([fadt[109], fadt[110]]);
        (fadt.clone(), u32_at(&fadt, 112), boot)
    };
    let (fadt, feature, boot) = flags(&pc(1));
    assert_eq!(fadt.len(), 276);
    assert_eq!(fadt[46], 9, "SCI_INT");
    assert_eq!(u32_at(&fadt, 48), 0, "SMI_CMD");
    assert_eq!(u32_at(&fadt, 56), 0x600);
    assert_eq!(u32_at(&fadt, 64), 0x604);
    assert_eq!(u32_at(&fadt, 76), 0x608);
    assert_eq!((fadt[88], fadt[89], fadt[91]), (4, 2, 4));
    assert_eq!(fadt[108], 0x32, "CENTURY");
    // RESET_REG: system I/O, 8 bits, byte access, then RESET_VALUE.
    assert_eq!(
        &fadt[116..129],
        &[1, 8, 0, 1, 0xf9, 0xc, 0, 0, 0, 0, 0, 0, 6]
    );
    // X_PM_TMR_BLK: system I/O, 32 bits, dword access.
    assert_eq!(&fadt[208..214], &[1, 32, 0, 3, 0x08, 0x06]);
    assert_eq!(feature & (1 << 20), 0, "HW_REDUCED_ACPI");
    assert_eq!(feature & (1 << 4), 0, "PWR_BUTTON: fixed feature");
    assert_ne!(feature & (1 << 8), 0, "TMR_VAL_EXT");
    assert_ne!(feature & (1 << 10), 0, "RESET_REG_SUP");
    assert_eq!(boot, 0b00_0111, "legacy, 8042, no VGA");

    let (_, feature, boot) = flags(&bare());
    assert_eq!(feature & (1 << 4), 0, "PWR_BUTTON");
    assert_eq!(feature & (1 << 10), 0, "RESET_REG_SUP");
    assert_eq!(boot, 0b10_0000, "VGA, no RTC, nothing else");

    let mut p = pc(1);
    p.power.timer_port = None;
    p.power.power_button = false;
    p.keyboard_controller = None;
    p.reset = Some(ResetRegister {
        address: RegisterAddress::Memory(GuestPhys(0xfed8_0000)),
        value: 1,
    });
    let (fadt, feature, boot) = flags(&p);
    assert_eq!((u32_at(&fadt, 76), fadt[91]), (0, 0));
    assert_eq!(feature & (1 << 8), 0);
    assert_ne!(feature & (1 << 4), 0);
    assert_eq!(&fadt[116..124], &[0, 8, 0, 1, 0, 0, 0xd8, 0xfe]);
    assert_eq!(boot, 0b00_0101);
}

/// Layouts from ACPI Specification, "Multiple APIC Description Table (MADT)".
#[test]
fn the_madt_names_every_processor_in_the_structure_its_identifier_needs() {
    let mut parameters = pc(0);
    parameters.processors = (0..300).chain([0x1000]).map(ApicId).collect();
    let image = AcpiImage::build(&parameters, BASE).unwrap();
    let madt = table(&image, b"APIC").unwrap();
    assert_eq!((u32_at(madt, 36), u32_at(madt, 40)), (0xfee0_0000, 1));
    let structures = madt_structures(madt);
    let mut seen = Vec::new();
    for (kind, body) in &structures {
        match kind {
            0 => {
                assert_eq!(u32_at(body, 2), 1);
                seen.push((u32::from(body[0]), u32::from(body[1])));
            }
            9 => {
                assert_eq!(u32_at(body, 6), 1);
                assert!(u32_at(body, 2) >= 255);
                seen.push((u32_at(body, 10), u32_at(body, 2)));
            }
            _ => {}
        }
    }
    let expected: Vec<(u32, u32)> = (0..300).map(|i| (i, i)).chain([(300, 0x1000)]).collect();
    assert_eq!(seen, expected);
    let of = |kind: u8| -> Vec<&Vec<u8>> {
        structures
            .iter()
            .filter(|(k, _)| *k == kind)
            .map(|(_, body)| body)
            .collect()
    };
    assert_eq!(of(1), [&vec![0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]]);
    assert_eq!(
        of(2),
        [
            &vec![0, 0, 2, 0, 0, 0, 0b0101, 0],
            &vec![0, 9, 9, 0, 0, 0, 0b1101, 0]
        ]
    );
    assert_eq!(of(4), [&vec![0xff, 0, 0, 1]]);
    assert_eq!(of(10), [&vec![0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0]]);

    let image = AcpiImage::build(&pc(64), BASE).unwrap();
    let structures = madt_structures(table(&image, b"APIC").unwrap());
    assert_eq!(structures.iter().filter(|(k, _)| *k == 0).count(), 64);
    assert!(structures.iter().all(|(k, _)| *k != 9 && *k != 10));
}

#[test]
fn the_size_does_not_depend_on_the_address() {
    let low = AcpiImage::build(&pc(8), GuestPhys(0)).unwrap();
    let high = AcpiImage::build(&pc(8), GuestPhys(0xbfff_0000)).unwrap();
    assert_eq!(low.tables.len(), high.tables.len());
    assert_eq!(low.offsets, high.offsets);
    assert!(AcpiImage::build(&pc(1), GuestPhys(0x1020)).is_err());
    assert!(AcpiImage::build(&pc(1), GuestPhys(1 << 32)).is_err());
}

#[test]
fn parameters_that_make_no_machine_are_refused() {
    let refused = |change: &dyn Fn(&mut AcpiParameters)| {
        let mut parameters = pc(2);
        change(&mut parameters);
        AcpiImage::build(&parameters, BASE)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&|p| p.processors.clear()).contains("no processor"));
    assert!(refused(&|p| p.processors[1] = ApicId(0)).contains("same local APIC"));
    assert!(refused(&|p| p.processors[1] = ApicId(u32::MAX)).contains("all of them"));
    assert!(refused(&|p| p.processors = (0..4097).map(ApicId).collect()).contains("4096"));
    assert!(refused(&|p| p.local_apic_nmi_pin = Some(2)).contains("LINT1"));
    assert!(refused(&|p| p.power.soft_off_type = 8).contains("SLP_TYP"));
    assert!(refused(&|p| p.power.sci_irq = 16).contains("higher than 15"));
    assert!(refused(&|p| p.serial_ports[0].irq = 16).contains("higher than 15"));
    let pci = |change: &dyn Fn(&mut PciRoot)| refused(&|p| change(p.pci.as_mut().unwrap()));
    assert!(pci(&|r| r.interrupts[0].pin = 4).contains("INTD#"));
    assert!(pci(&|r| r.port_windows = vec![(0, 0xffff)]).contains("mechanism #1"));
    assert!(pci(&|r| r.port_windows = vec![(1, 0)]).contains("empty"));
    for (start, end) in [(0xffff_f000, 0x1_0000_1000), (0x1000, 0x1000), (0, 1 << 32)] {
        let window = PhysRange::between(GuestPhys(start), GuestPhys(end)).unwrap();
        assert!(pci(&|r| r.memory_windows = vec![window]).contains("4 GiB"));
    }
}

#[test]
fn the_system_boards_pages_are_reserved() {
    let ranges: Vec<String> = pc(1)
        .reserved_ranges()
        .iter()
        .map(PhysRange::to_string)
        .collect();
    assert_eq!(
        ranges,
        [
            "0xfec00000..0xfec01000",
            "0xfed00000..0xfed01000",
            "0xfee00000..0xfee01000"
        ]
    );
}

/// A directory for files of one test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("ring3-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs Intel's compiler and disassembler; gives its output, which must report success.
fn iasl(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("iasl")
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "iasl {arguments:?}:\n{text}");
    text
}

/// The outside oracle: ACPICA takes each table apart, finds nothing wrong in what it says, and
/// makes the same bytes of it again.
#[test]
fn iasl_disassembles_every_table_and_compiles_it_to_the_same_bytes() {
    if Command::new("iasl").arg("-v").output().is_err() {
        println!("skipped: iasl is not installed (Debian package acpica-tools)");
        return;
    }
    let scratch = Scratch::new("iasl");
    let machines = [("pc", pc(2)), ("large", pc(300)), ("bare", bare())];
    for (machine, parameters) in machines {
        let image = AcpiImage::build(&parameters, BASE).unwrap();
        for signature in [b"DSDT", b"FACP", b"APIC", b"HPET", b"XSDT", b"FACS"] {
            let Some(original) = table(&image, signature) else {
                continue;
            };
            let name = format!("{machine}-{}", String::from_utf8_lossy(signature));
            let aml = scratch.0.join(format!("{name}.aml"));
            std::fs::write(&aml, original).unwrap();
            let said = iasl(&scratch.0, &["-d", &format!("{name}.aml")]);
            assert!(!said.contains("rror") && !said.contains("nvalid"), "{said}");
            std::fs::remove_file(&aml).unwrap();

            let said = iasl(&scratch.0, &[&format!("{name}.dsl")]);
            assert!(
                said.contains("Compilation successful. 0 Errors, 0 Warnings"),
                "{said}"
            );
            let compiled = std::fs::read(&aml).unwrap();
            let neutral = |table: &[u8]| {
                let mut table = table.to_vec();
                if signature != b"FACS" {
                    // The compiler signs its work: creator ID and revision, hence the checksum.
                    table[28..36].fill(0);
                    table[9] = 0;
                }
                table
            };
            assert_eq!(neutral(&compiled), neutral(original), "{name}");
        }
    }
}

/// What the disassembler reads in the DSDT is what the parameters say.
#[test]
fn the_dsdt_reads_as_intended() {
    if Command::new("iasl").arg("-v").output().is_err() {
        println!("skipped: iasl is not installed (Debian package acpica-tools)");
        return;
    }
    let scratch = Scratch::new("dsdt");
    let image = AcpiImage::build(&pc(2), BASE).unwrap();
    std::fs::write(scratch.0.join("dsdt.aml"), table(&image, b"DSDT").unwrap()).unwrap();
    iasl(&scratch.0, &["-d", "dsdt.aml"]);
    let text = std::fs::read_to_string(scratch.0.join("dsdt.dsl")).unwrap();
    let words = text
        .lines()
        .map(|line| line.split("//").next().unwrap())
        .flat_map(str::split_whitespace)
        .collect::<Vec<_>>()
        .join(" ");
    for expected in [
        "Device (C000) { Name (_HID, \"ACPI0007\"",
        "Device (C001)",
        "EisaId (\"PNP0A03\")",
        "EisaId (\"PNP0501\")",
        "IO (Decode16, 0x03F8, 0x03F8, 0x01, 0x08, ) IRQNoFlags () {4}",
        "EisaId (\"PNP0B00\")",
        "IO (Decode16, 0x0070, 0x0070, 0x01, 0x02, ) IRQNoFlags () {8}",
        "EisaId (\"PNP0100\")",
        "IO (Decode16, 0x0040, 0x0040, 0x01, 0x04, ) IRQNoFlags () {0}",
        "Memory32Fixed (ReadOnly, 0xFED00000, 0x00000400, )",
        "DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite, 0x00000000, 0xC0000000, 0xFEBFFFFF, 0x00000000, 0x3EC00000,",
        "QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite, 0x0000000000000000, 0x0000008000000000, 0x000000FFFFFFFFFF,",
        "WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0x0000, 0x0D00, 0xFFFF, 0x0000, 0xF300,",
        "WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0x0000, 0x0000, 0x00FF, 0x0000, 0x0100,",
        "Package (0x04) { 0x0001FFFF, Zero, Zero, 0x11 }",
        "Name (_S5, Package (0x04) { 0x05, 0x05, Zero, Zero })",
    ] {
        assert!(words.contains(expected), "{expected} is not in:\n{words}");
    }
}
