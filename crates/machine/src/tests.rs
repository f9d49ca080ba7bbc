//! The machine as a whole: determinism, snapshots, guests that write nonsense everywhere.

use crate::{Machine, MachineConfig, SnapshotError, Stop};
use ring3_arch::GuestPhys;
use ring3_arch::segment::Segment;
use std::io::{Seek, SeekFrom, Write};

/// Real-mode code: counts in memory, prints a byte to the serial port every 256 rounds, and sets
/// the 8254 to work so that virtual time matters.
const PROGRAM: &[u8] = &[
    0xb0, 0x34, 0xe6, 0x43, // mov al, 0x34 ; out 0x43, al
    0xb0, 0x10, 0xe6, 0x40, // mov al, 0x10 ; out 0x40, al
    0xb0, 0x00, 0xe6, 0x40, // mov al, 0 ; out 0x40, al
    0x40, // inc ax
    0xa3, 0x00, 0x20, // mov [0x2000], ax
    0x0f, 0x31, // rdtsc
    0x01, 0x06, 0x02, 0x20, // add [0x2002], ax
    0xff, 0x06, 0x04, 0x20, // inc word [0x2004]
    0x80, 0x3e, 0x04, 0x20, 0x00, // cmp byte [0x2004], 0
    0x75, 0xec, // jne to inc ax
    0xba, 0xf8, 0x03, // mov dx, 0x3f8
    0xee, // out dx, al
    0xeb, 0xe6, // jmp to inc ax
];

fn machine_with(code: &[u8]) -> Machine {
    let config = MachineConfig {
        memory_bytes: 8 << 20,
        seed: 7,
        ..MachineConfig::default()
    };
    let mut machine = Machine::new(config).unwrap();
    machine.ram.write(GuestPhys(0x1000), code).unwrap();
    let cpu = &mut machine.cpus[0];
    let code = Segment {
        selector: 0,
        base: 0,
        limit: 0xffff,
        attributes: 0x9b,
    };
    cpu.set_segment(1, code);
    cpu.set_rip(0x1000);
    machine
}

/// Runs until `limit` instructions in total and gives the output.
fn run_to(machine: &mut Machine, limit: u64) -> Vec<u8> {
    let mut output = Vec::new();
    loop {
        let stop = machine.run(limit);
        while let Some(piece) = machine.take_output() {
            output.extend(piece.bytes);
        }
        match stop {
            Stop::Output => {}
            Stop::InstructionLimit => return output,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_same_inputs_give_the_same_run() {
    let runs: Vec<_> = (0..2)
        .map(|_| {
            let mut machine = machine_with(PROGRAM);
            let output = run_to(&mut machine, 100_000);
            (output, machine.digest(), machine.now())
        })
        .collect();
    assert_eq!(runs[0], runs[1]);
    assert!(!runs[0].0.is_empty());
    let mut shorter = machine_with(PROGRAM);
    run_to(&mut shorter, 99_999);
    assert_ne!(
        shorter.digest(),
        runs[0].1,
        "one instruction makes a difference"
    );
}

#[test]
fn how_a_run_is_cut_into_pieces_makes_no_difference() {
    let mut whole = machine_with(PROGRAM);
    let output = run_to(&mut whole, 50_000);
    let mut pieces = machine_with(PROGRAM);
    let mut collected = Vec::new();
    for limit in (0..=50_000).step_by(37).chain([50_000]) {
        collected.extend(run_to(&mut pieces, limit));
    }
    assert_eq!(collected, output);
    assert_eq!(pieces.digest(), whole.digest());
}

fn saved(machine: &mut Machine) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    machine.save(&mut file).unwrap();
    file
}

#[test]
fn a_restored_machine_goes_on_as_the_saved_one() {
    let mut machine = machine_with(PROGRAM);
    run_to(&mut machine, 30_000);
    let mut file = saved(&mut machine);
    let mut restored = Machine::restore(&mut file).unwrap();
    assert_eq!(restored.digest(), machine.digest());
    let expected = run_to(&mut machine, 60_000);
    assert_eq!(run_to(&mut restored, 60_000), expected);
    assert_eq!(restored.digest(), machine.digest());
    // The file has not changed, although both machines wrote to their memory.
    let again = Machine::restore(&mut file).unwrap();
    assert_eq!(again.instructions(), 30_000);
}

#[test]
fn damaged_and_foreign_snapshots_are_refused() {
    let mut machine = machine_with(PROGRAM);
    run_to(&mut machine, 1000);
    let mut file = saved(&mut machine);
    let length = file.metadata().unwrap().len();
    for offset in [40, 200, length - 8 * (1 << 20) + 0x2000] {
        file.seek(SeekFrom::Start(offset)).unwrap();
        let mut byte = [0];
        std::io::Read::read_exact(&mut file, &mut byte).unwrap();
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(&[byte[0] ^ 0x40]).unwrap();
        let refused = Machine::restore(&mut file).map(|_| ());
        assert!(
            matches!(refused, Err(SnapshotError::Damaged(_))),
            "{offset}: {refused:?}"
        );
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(&byte).unwrap();
    }
    assert!(Machine::restore(&mut file).is_ok());
    file.set_len(length - 4096).unwrap();
    assert!(Machine::restore(&mut file).is_err());

    let mut other = tempfile::tempfile().unwrap();
    other.write_all(&[b'x'; 4096]).unwrap();
    assert!(matches!(
        Machine::restore(&mut other).map(|_| ()),
        Err(SnapshotError::Foreign)
    ));
}

/// A small generator for guests that make no sense.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Code of random bytes, in the modes that random control-register values lead to, on random
/// register values: whatever happens must end in an architected fault, a stop with a reason, or the
/// limit.
#[test]
fn random_code_never_harms_the_machine() {
    for seed in 1..=200u64 {
        let mut noise = Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let code: Vec<u8> = (0..4096).map(|_| noise.next() as u8).collect();
        let mut machine = machine_with(&code);
        for reg in &mut machine.cpus[0].regs[..16] {
            *reg = noise.next() >> (noise.next() % 64);
        }
        for _ in 0..20 {
            match machine.run(20_000) {
                Stop::Output => while machine.take_output().is_some() {},
                _ => break,
            }
        }
    }
}

/// Every port and every page of device memory, read and written with random sizes and values.
#[test]
fn nonsense_at_every_device_register_is_survived() {
    use ring3_arch::CpuIndex;
    use ring3_bus::Platform;
    use ring3_cpu::RamDma;

    let mut machine = machine_with(PROGRAM);
    let mut noise = Noise(0x1234_5678_9abc_def1);
    let windows: [(u64, u64); 4] = [
        (0xe000_0000, 0x2_0000),
        (0xfec0_0000, 0x1000),
        (0xfed0_0000, 0x400),
        (0xfee0_0000, 0x1000),
    ];
    for step in 0..400_000u64 {
        let now = ring3_clock::Ticks(step * 100);
        let size = 1u8 << (noise.next() % 4);
        let value = noise.next() >> (noise.next() % 64);
        let (ram, code) = (&mut machine.ram, &mut machine.code);
        let mut dma = RamDma { ram, code };
        let chipset = &mut machine.chipset;
        let cpu = CpuIndex((noise.next() % 2) as u32);
        if noise.next().is_multiple_of(2) {
            let port = match noise.next() % 4 {
                0 => noise.next() as u16,
                1 => 0xcf8 + (noise.next() % 8) as u16,
                2 => (noise.next() % 0x100) as u16,
                _ => 0x3f8 + (noise.next() % 8) as u16,
            };
            let size = size.min(4);
            chipset.port_write(cpu, now, port, size, value as u32, &mut dma);
            chipset.port_read(cpu, now, port, size);
        } else {
            let (base, length) = windows[(noise.next() % 4) as usize];
            let address = GuestPhys(base + noise.next() % length);
            chipset.memory_write(cpu, now, address, size, value, &mut dma);
            chipset.memory_read(cpu, now, address, size);
        }
        let msr = 0x800 + (noise.next() % 0x100) as u32;
        let _ = chipset.apic_msr_write(cpu, now, msr, value);
        if step % 64 == 0 {
            chipset.advance(now, &mut dma);
        }
        chipset.outputs.clear();
    }
}
