//! The processor: any code, at the highest privilege, in a machine with all its devices.

use ring3_boot::{BootParameters, KernelImage, MemoryMap};
use ring3_machine::{Machine, MachineConfig, Stop};

const MEMORY: u64 = 2 << 20;
/// Where images are loaded; the 64-bit one has pages for the prelude, handlers, code, and the IDT.
const BASE: u64 = 0x10_0000;
const CODE_MAX: usize = 2000;
/// Enough for a loop to be taken, few enough for many inputs a second.
const INSTRUCTIONS: u64 = 5_000;
/// Pauses and outputs.
const ROUNDS: u64 = 2_000;

/// The first byte chooses mode and processors, the rest is code.
pub(crate) fn enter(bytes: &[u8]) {
    let Some((&how, code)) = bytes.split_first() else {
        return;
    };
    let mut code = code[..code.len().min(CODE_MAX)].to_vec();
    // HLT.
    code.push(0xf4);
    let image = if how & 1 == 0 {
        long_mode(&code)
    } else {
        protected_mode(&code)
    };
    let config = MachineConfig {
        cpus: 1 + u32::from(how >> 1 & 1),
        memory_bytes: MEMORY,
        ..MachineConfig::default()
    };
    let parameters = BootParameters {
        memory: MemoryMap::pc(MEMORY).expect("it is enough for a PC"),
        command_line: Vec::new(),
        modules: Vec::new(),
        acpi: None,
        entry: None,
    };
    let boot = KernelImage::parse(image)
        .expect("the image is right")
        .boot(&parameters)
        .expect("it fits");
    let mut machine = Machine::new(config).expect("the host has two megabytes");
    machine.apply(&boot).expect("it was made for this memory");
    // A machine that waits for ever for one timer after the other executes nothing.
    for _ in 0..ROUNDS {
        let stop = machine.run_briefly(INSTRUCTIONS, INSTRUCTIONS);
        while machine.take_output().is_some() {}
        match stop {
            None | Some(Stop::Output) => {}
            Some(Stop::Unimplemented { .. }) => panic!("{stop:?}"),
            Some(_) => break,
        }
    }
    // Whatever state the guest left, it can be described.
    machine.digest();
}

/// An ELF file with one segment that does what the direct entry of a kernel does: 64-bit mode, all
/// memory mapped. An exception skips a byte, so that one bad instruction is not the end.
fn long_mode(code: &[u8]) -> Vec<u8> {
    const HANDLERS: usize = 0x1000;
    const CODE: usize = 0x2000;
    const TABLE: usize = 0x3000;
    /// Vectors whose frame has an error code. SDM Vol. 3, "Exception and Interrupt Reference".
    const ERROR_CODES: [u8; 8] = [8, 10, 11, 12, 13, 14, 17, 21];
    const EXCEPTIONS: u8 = 32;
    let mut segment = vec![0u8; TABLE];
    // lidt [rip + 9]; jmp code
    segment[..7].copy_from_slice(&[0x0f, 0x01, 0x1d, 0x09, 0, 0, 0]);
    segment[7] = 0xe9;
    segment[8..12].copy_from_slice(&(CODE as u32 - 12).to_le_bytes());
    segment[16..18].copy_from_slice(&(0x1000u16 - 1).to_le_bytes());
    segment[18..26].copy_from_slice(&(BASE + TABLE as u64).to_le_bytes());
    // add rsp, 8; inc qword [rsp]; iretq
    let with_code = [0x48, 0x83, 0xc4, 0x08, 0x48, 0xff, 0x04, 0x24, 0x48, 0xcf];
    segment[HANDLERS..HANDLERS + 10].copy_from_slice(&with_code);
    // iretq
    segment[HANDLERS + 16..HANDLERS + 18].copy_from_slice(&[0x48, 0xcf]);
    segment[CODE..].fill(0xf4);
    segment[CODE..CODE + code.len()].copy_from_slice(code);
    for vector in 0..=255 {
        let handler = HANDLERS
            + match vector {
                _ if ERROR_CODES.contains(&vector) => 0,
                _ if vector < EXCEPTIONS => 4,
                _ => 16,
            };
        let address = BASE + handler as u64;
        segment.extend((address as u16).to_le_bytes());
        segment.extend(0x10u16.to_le_bytes());
        segment.extend([0, 0x8e]);
        segment.extend(((address >> 16) as u16).to_le_bytes());
        segment.extend([0; 8]);
    }
    elf(&segment)
}

fn elf(segment: &[u8]) -> Vec<u8> {
    const HEADERS: u64 = 64 + 56;
    let size = segment.len() as u64;
    let mut file = Vec::with_capacity(HEADERS as usize + segment.len());
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend(2u16.to_le_bytes()); // ET_EXEC
    file.extend(62u16.to_le_bytes()); // EM_X86_64
    file.extend(1u32.to_le_bytes());
    file.extend(BASE.to_le_bytes()); // entry
    file.extend(64u64.to_le_bytes()); // program headers
    file.extend(0u64.to_le_bytes());
    file.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 64, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1u32.to_le_bytes()); // PT_LOAD
    file.extend(7u32.to_le_bytes());
    for quad in [HEADERS, BASE, BASE, size, size, 0x1000] {
        file.extend(quad.to_le_bytes());
    }
    file.extend(segment);
    file
}

/// A Multiboot image without an ELF header: 32-bit protected mode without paging.
fn protected_mode(code: &[u8]) -> Vec<u8> {
    const FLAGS: u32 = 1 << 16;
    const MAGIC: u32 = 0x1bad_b002;
    let base = BASE as u32;
    let end = base + 32 + code.len() as u32;
    let checksum = 0u32.wrapping_sub(MAGIC).wrapping_sub(FLAGS);
    [MAGIC, FLAGS, checksum, base, base, end, end, base + 32]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .chain(code.iter().copied())
        .collect()
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let code: [&[u8]; 6] = [
        // mov cr4 with everything, wrmsr, syscall
        b"\x0f\x20\xe0\x0d\x00\x06\x00\x02\x0f\x22\xe0\xb9\x86\x09\x00\x00\x0f\x30\x0f\x05",
        // in, out, hlt, sti, int3, iret
        b"\xb0\x20\xe6\x20\xe4\x60\xfb\xf4\xcc\xcf",
        // a loop of rep movs
        b"\xb9\x00\x01\x00\x00\xbe\x00\x00\x10\x00\xbf\x00\x00\x18\x00\xf3\xa4\xeb\xef",
        // stores into its own code
        b"\xc6\x05\x05\x00\x00\x00\x90\xf4\xf4\xf4\xf4\xf4\xeb\xf0",
        // page tables: mov rax, cr3; mov qword [rax], 0; invlpg; mov cr3
        b"\x0f\x20\xd8\x48\xc7\x40\x08\x00\x00\x00\x00\x0f\x01\x38\x0f\x22\xd8\x48\x8b\x04\x25\x00\x00\x00\x40",
        // fxsave, fld, fsin, xsave
        b"\x0f\xae\x04\x24\xd9\xe8\xd9\xfe\x0f\xae\x24\x24\x0f\x01\xd0",
    ];
    (0..4)
        .flat_map(|how| code.iter().map(move |bytes| [&[how], *bytes].concat()))
        .collect()
}
