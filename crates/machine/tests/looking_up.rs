//! How a run is cut: a host that looks up from the machine now and then must not change what the guest does.

use ring3_boot::{BootParameters, KernelImage, MemoryMap};
use ring3_machine::{Machine, MachineConfig, Stop};

/// Two processors that write to the same memory, so that every other order of their turns leaves other
/// values behind: a Multiboot image of 32-bit code, which starts the second processor with INIT and a
/// startup IPI.
fn machine() -> Machine {
    machine_with(&[
        // The second processor's loop at 0x8000, in real mode: inc word [0x600]; jmp to it.
        &[0xc7, 0x05, 0x00, 0x80, 0, 0, 0xff, 0x06, 0x00, 0x06], // mov dword [0x8000], ...
        &[0x66, 0xc7, 0x05, 0x04, 0x80, 0, 0, 0xeb, 0xfa],       // mov word [0x8004], ...
        // The local APIC: spurious vector with software enable, destination 1, INIT, startup at page 8.
        &[0xc7, 0x05, 0xf0, 0x00, 0xe0, 0xfe, 0xff, 0x01, 0, 0],
        &[0xc7, 0x05, 0x10, 0x03, 0xe0, 0xfe, 0, 0, 0, 0x01],
        &[0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe, 0x00, 0x45, 0, 0],
        &[0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe, 0x08, 0x46, 0, 0],
        // xor [0x604], what the other one counted, and shift.
        &[0xa1, 0x00, 0x06, 0, 0],          // mov eax, [0x600]
        &[0x31, 0x05, 0x04, 0x06, 0, 0],    // xor [0x604], eax
        &[0xc1, 0x05, 0x04, 0x06, 0, 0, 5], // rol dword [0x604], 5
        &[0xeb, 0xec],                      // jmp to mov eax
    ])
}

/// A machine that executes this 32-bit code, which starts at 0x100020.
fn machine_with(code: &[&[u8]]) -> Machine {
    let code = code.concat();
    let load = 0x10_0000_u32;
    let end = load + 32 + code.len() as u32;
    let (magic, flags) = (0x1bad_b002_u32, 1 << 16);
    let header = [
        magic,
        flags,
        0u32.wrapping_sub(magic).wrapping_sub(flags),
        load,
        load,
        end,
        end,
        load + 32,
    ];
    let mut image: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    image.extend(code);
    let config = MachineConfig {
        memory_bytes: 16 << 20,
        ..MachineConfig::default()
    };
    let parameters = BootParameters {
        memory: MemoryMap::pc(config.memory_bytes).unwrap(),
        command_line: Vec::new(),
        modules: Vec::new(),
        acpi: None,
        entry: None,
    };
    let boot = KernelImage::parse(image)
        .unwrap()
        .boot(&parameters)
        .unwrap();
    let mut machine = Machine::new(config).unwrap();
    machine.apply(&boot).unwrap();
    machine
}

const LIMIT: u64 = 300_000;

#[test]
fn looking_up_changes_nothing() {
    let mut expected = machine();
    assert_eq!(expected.run(LIMIT), Stop::InstructionLimit);
    let counted = expected.ram().bytes()[0x600] | expected.ram().bytes()[0x601];
    assert_ne!(counted, 0, "the second processor runs");
    for budget in [0, 1, 333, 7777, u64::MAX] {
        let mut machine = machine();
        let mut times = 0;
        let stop = loop {
            times += 1;
            if let Some(stop) = machine.run_briefly(LIMIT, budget) {
                break stop;
            }
        };
        assert_eq!(stop, Stop::InstructionLimit);
        assert!(times > 10 || budget > LIMIT / 10);
        assert_eq!(machine.digest(), expected.digest(), "budget {budget}");
    }
    // Nor does cutting the run with limits.
    let mut other = machine();
    for limit in (0..=LIMIT).step_by(333) {
        assert_eq!(other.run(limit), Stop::InstructionLimit);
    }
    assert_eq!(other.run(LIMIT), Stop::InstructionLimit);
    assert_eq!(other.digest(), expected.digest());
}

#[test]
fn statistics_count() {
    let mut machine = machine();
    assert_eq!(machine.statistics(), Default::default());
    machine.run(LIMIT);
    let counted = machine.statistics();
    assert!(counted.blocks_translated >= 3 && counted.block_lookups > 0);
    assert!(counted.tlb_fills > 0);
}

#[test]
fn costly_instructions_do_not_keep_the_host_from_looking_up() {
    const BUDGET: u64 = 1 << 20;
    let guests: [(&str, &[u8]); 3] = [
        (
            "flushes all translations: mov eax, cr4; xor eax, PGE; mov cr4, eax; jmp",
            &[
                0x0f, 0x20, 0xe0, 0x35, 0x80, 0, 0, 0, 0x0f, 0x22, 0xe0, 0xeb, 0xf3,
            ],
        ),
        (
            "changes its own code: mov eax, 0; inc dword [0x100021]; jmp",
            &[
                0xb8, 0, 0, 0, 0, 0xff, 0x05, 0x21, 0x00, 0x10, 0x00, 0xeb, 0xf3,
            ],
        ),
        (
            "string instructions downwards: std; mov ecx, -1; mov esi, 0xffff00; rep lodsb; jmp",
            &[
                0xfd, 0xb9, 0xff, 0xff, 0xff, 0xff, 0xbe, 0x00, 0xff, 0xff, 0x00, 0xf3, 0xac, 0xeb,
                0xf2,
            ],
        ),
    ];
    for (what, code) in guests {
        let mut machine = machine_with(&[code]);
        assert_eq!(machine.run_briefly(u64::MAX, BUDGET), None, "{what}");
        let done = machine.instructions();
        assert!(
            (1..BUDGET / 8).contains(&done),
            "{what}: {done} instructions"
        );
        assert!(!machine.takes_input(), "{what}: in the middle of a turn");
        // Where breath was taken makes no difference.
        let limit = 3 * done;
        while machine.run_briefly(limit, done / 2) != Some(Stop::InstructionLimit) {}
        let mut other = machine_with(&[code]);
        assert_eq!(other.run(limit), Stop::InstructionLimit);
        assert_eq!(machine.digest(), other.digest(), "{what}");
    }
}
