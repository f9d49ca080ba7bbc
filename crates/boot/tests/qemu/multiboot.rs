//! A Multiboot kernel that tells what it finds, under our boot images and under QEMU's own loader.

use crate::machine::{self, EXIT_PORT, RAM_BYTES};
use ring3_boot::{BootParameters, KernelImage, MemoryMap, Module};

const LOAD: u32 = 0x10_0000;
/// Where the kernel keeps the registers it started with, in its bss.
const REGISTERS: u32 = LOAD + 0x1000;
const REGISTERS_SIZE: u32 = 32;
const BSS_END: u32 = LOAD + 0x3000;
/// What the kernel sends after the registers: conventional memory, and this much from 1 MiB on.
const LOW_SIZE: u32 = 0xa_0000;
const HIGH_SIZE: u32 = 0x2_0000;
const EXIT_VALUE: u8 = 0x15;

/// The kernel's code and where it is entered: saves EAX, EBX, CR0, EFLAGS, CS, DS and SS, sends them
/// and memory to COM1, and exits.
fn code(header: &[u8]) -> (Vec<u8>, u32) {
    let mut code = header.to_vec();
    let entry = LOAD + code.len() as u32;
    let mut emit = |bytes: &[u8]| code.extend_from_slice(bytes);
    let slot = |index: u32| (REGISTERS + 4 * index).to_le_bytes();
    // mov [slot 0], eax; mov [slot 1], ebx
    emit(&[0xa3]);
    emit(&slot(0));
    emit(&[0x89, 0x1d]);
    emit(&slot(1));
    // mov eax, cr0; mov [slot 2], eax
    emit(&[0x0f, 0x20, 0xc0, 0xa3]);
    emit(&slot(2));
    // mov esp, BSS_END; pushfd; pop eax; mov [slot 3], eax
    emit(&[0xbc]);
    emit(&BSS_END.to_le_bytes());
    emit(&[0x9c, 0x58, 0xa3]);
    emit(&slot(3));
    // mov eax, cs / ds / ss; mov [slot 4 / 5 / 6], eax
    for (index, operand) in [(4, 0xc8), (5, 0xd8), (6, 0xd0)] {
        emit(&[0x8c, operand, 0xa3]);
        emit(&slot(index));
    }
    // mov edx, 3f8; cld
    emit(&[0xba, 0xf8, 3, 0, 0, 0xfc]);
    for (start, size) in [
        (REGISTERS, REGISTERS_SIZE),
        (0, LOW_SIZE),
        (LOAD, HIGH_SIZE),
    ] {
        // mov esi, start; mov ecx, size; rep outsb
        emit(&[0xbe]);
        emit(&start.to_le_bytes());
        emit(&[0xb9]);
        emit(&size.to_le_bytes());
        emit(&[0xf3, 0x6e]);
    }
    // mov al, EXIT_VALUE; out EXIT_PORT, al; hlt
    emit(&[0xb0, EXIT_VALUE, 0xe6, EXIT_PORT as u8, 0xf4]);
    (code, entry)
}

fn header(flags: u32, addresses: &[u32]) -> Vec<u8> {
    const MAGIC: u32 = 0x1bad_b002;
    let checksum = 0u32.wrapping_sub(MAGIC.wrapping_add(flags));
    [MAGIC, flags, checksum]
        .iter()
        .chain(addresses)
        .flat_map(|w| w.to_le_bytes())
        .collect()
}

/// The kernel as an ELF32 file.
fn elf_kernel() -> Vec<u8> {
    const HEADERS: u32 = 52 + 32;
    let (code, entry) = code(&header(3, &[]));
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let mut words = |words: &[u32]| file.extend(words.iter().flat_map(|w| w.to_le_bytes()));
    // ET_EXEC and EM_386, version, entry, program headers, no sections, no flags.
    words(&[3 << 16 | 2, 1, entry, 52, 0, 0]);
    // Sizes and numbers of headers.
    words(&[32 << 16 | 52, 40 << 16 | 1, 0]);
    let size = code.len() as u32;
    words(&[1, HEADERS, LOAD, LOAD, size, BSS_END - LOAD, 7, 1]);
    assert_eq!(file.len() as u32, HEADERS);
    file.extend(code);
    file
}

/// The kernel as a flat file with address fields.
fn flat_kernel() -> Vec<u8> {
    let with_entry = |entry| header(0x1_0003, &[LOAD, LOAD, 0, BSS_END, entry]);
    let (_, entry) = code(&with_entry(0));
    code(&with_entry(entry)).0
}

/// What the kernel sent.
struct Report {
    registers: Vec<u32>,
    low: Vec<u8>,
    high: Vec<u8>,
}

impl Report {
    fn of(outcome: machine::Outcome) -> Report {
        assert_eq!(outcome.status, Some(i32::from(EXIT_VALUE) << 1 | 1));
        let sent = outcome.serial;
        // QEMU's own firmware may have said something before.
        let size = (REGISTERS_SIZE + LOW_SIZE + HIGH_SIZE) as usize;
        let sent = &sent[sent.len().checked_sub(size).expect("it sent everything")..];
        let (registers, memory) = sent.split_at(REGISTERS_SIZE as usize);
        let (low, high) = memory.split_at(LOW_SIZE as usize);
        Report {
            registers: registers
                .chunks(4)
                .map(|c| u32::from_le_bytes(c.try_into().unwrap()))
                .collect(),
            low: low.to_vec(),
            high: high.to_vec(),
        }
    }

    fn memory(&self, start: u32, size: u32) -> &[u8] {
        let (start, size) = (start as usize, size as usize);
        match start.checked_sub(LOAD as usize) {
            Some(offset) => &self.high[offset..offset + size],
            None => &self.low[start..start + size],
        }
    }

    fn u32(&self, at: u32) -> u32 {
        u32::from_le_bytes(self.memory(at, 4).try_into().unwrap())
    }

    fn u64(&self, at: u32) -> u64 {
        u64::from_le_bytes(self.memory(at, 8).try_into().unwrap())
    }

    fn text(&self, at: u32) -> String {
        let text: Vec<u8> = (at..)
            .map(|a| self.memory(a, 1)[0])
            .take_while(|b| *b != 0)
            .collect();
        String::from_utf8(text).unwrap()
    }

    fn info(&self, offset: u32) -> u32 {
        self.u32(self.registers[1] + offset)
    }

    /// Contents and command lines of the modules. "Boot information format", `mods_*`.
    fn modules(&self) -> Vec<(Vec<u8>, String)> {
        assert!(self.info(0) & 1 << 3 != 0);
        (0..self.info(20))
            .map(|i| {
                let entry = self.info(24) + 16 * i;
                let (start, end) = (self.u32(entry), self.u32(entry + 4));
                assert_eq!(start % 4096, 0);
                assert!(start >= BSS_END);
                let contents = self.memory(start, end - start).to_vec();
                (contents, self.text(self.u32(entry + 8)))
            })
            .collect()
    }

    /// The memory map: start, size, kind. `mmap_*`.
    fn memory_map(&self) -> Vec<(u64, u64, u32)> {
        assert!(self.info(0) & 1 << 6 != 0);
        let mut map = Vec::new();
        let mut at = self.info(48);
        let end = at + self.info(44);
        while at < end {
            map.push((self.u64(at + 4), self.u64(at + 12), self.u32(at + 20)));
            at += self.u32(at) + 4;
        }
        assert_eq!(at, end);
        map
    }
}

const MODULES: [(&[u8], &str); 2] = [(b"the first module", "one"), (&[0x5a; 5000], "two")];

/// What holds for any loader. "Machine state".
fn check_machine_state(report: &Report) {
    let registers = &report.registers;
    assert_eq!(registers[0], 0x2bad_b002, "EAX");
    assert_eq!(registers[2] & 0x8000_0001, 1, "CR0: PE without PG");
    assert_eq!(
        registers[3] & (1 << 17 | 1 << 9),
        0,
        "EFLAGS: neither VM nor IF"
    );
    assert!(registers[4..7].iter().all(|s| s & 0xfff8 != 0), "selectors");
    // The bss is zero: all but the registers and the one word that was pushed.
    let bss = report.memory(REGISTERS + REGISTERS_SIZE, 0x1000);
    assert!(bss.iter().all(|b| *b == 0), "bss");
    let contents: Vec<Vec<u8>> = report.modules().into_iter().map(|(c, _)| c).collect();
    assert_eq!(contents, MODULES.map(|(c, _)| c.to_vec()));
    // RAM ends where it ends, as the map and as the sizes in KiB say it.
    let ram_end = report
        .memory_map()
        .iter()
        .filter(|(_, _, kind)| *kind == 1)
        .map(|(start, size, _)| start + size)
        .max()
        .unwrap();
    assert!((RAM_BYTES - (1 << 20)..=RAM_BYTES).contains(&ram_end));
    assert!(report.info(0) & 1 != 0);
    assert!((600..=640).contains(&report.info(4)), "mem_lower");
    assert_eq!(u64::from(report.info(8)) * 1024 + (1 << 20), ram_end);
}

#[test]
fn a_multiboot_kernel_finds_what_the_specification_promises() {
    let Some(qemu) = machine::qemu() else {
        return;
    };
    for (name, kernel) in [("elf", elf_kernel()), ("flat", flat_kernel())] {
        let theirs = machine::run_with_its_own_loader(
            qemu,
            &format!("multiboot-theirs-{name}"),
            &kernel,
            "some arguments",
            &MODULES,
        );
        let theirs = Report::of(theirs);
        check_machine_state(&theirs);

        let modules = MODULES.map(|(bytes, arguments)| Module {
            bytes: bytes.to_vec().into(),
            command_line: arguments.into(),
        });
        let image = KernelImage::parse(kernel)
            .unwrap()
            .boot(&BootParameters {
                memory: MemoryMap::pc(RAM_BYTES).unwrap(),
                command_line: b"some arguments".to_vec(),
                modules: modules.to_vec(),
                acpi: Some(machine::acpi(1)),
                entry: None,
            })
            .unwrap();
        let ours = machine::run(qemu, &format!("multiboot-ours-{name}"), &image, &[]);
        let ours = Report::of(ours);
        check_machine_state(&ours);

        assert_eq!(ours.text(ours.info(16)), "some arguments");
        assert!(theirs.text(theirs.info(16)).ends_with("some arguments"));
        let texts: Vec<String> = ours.modules().into_iter().map(|(_, t)| t).collect();
        assert_eq!(texts, ["one", "two"]);
        assert!(ours.info(0) & 1 << 9 != 0);
        assert_eq!(ours.text(ours.info(64)), "Ring3");
        let expected: Vec<(u64, u64, u32)> = image
            .memory_map
            .entries()
            .iter()
            .map(|e| (e.range.start().0, e.range.size(), e.kind as u32))
            .collect();
        assert_eq!(ours.memory_map(), expected);
        // Conventional memory is the same in both maps.
        assert_eq!(ours.memory_map()[..2], theirs.memory_map()[..2]);
    }
}
