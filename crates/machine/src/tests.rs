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

/// Kernels that cannot switch a machine off end like this, and the PIT goes on all the same.
#[test]
fn a_machine_that_has_halted_for_good_is_idle_although_a_timer_runs() {
    const HALT: &[u8] = &[
        0xb0, 0x34, 0xe6, 0x43, // mov al, 0x34 ; out 0x43, al
        0xb0, 0x10, 0xe6, 0x40, // mov al, 0x10 ; out 0x40, al
        0xb0, 0x00, 0xe6, 0x40, // mov al, 0 ; out 0x40, al
        0xfa, 0xf4, // cli ; hlt
        0x90, 0xeb, 0xfd, // nop ; jmp to the nop
    ];
    let mut machine = machine_with(HALT);
    assert_eq!(machine.run(1000), Stop::Idle);
    assert_eq!(machine.run(1000), Stop::Idle, "and stays so");
    assert_eq!(machine.instructions(), 8);

    // Unless the timer comes as an NMI: then it is not the end. The IOAPIC's input 2, edge, to APIC 0.
    let mut machine = machine_with(HALT);
    machine
        .ram
        .write(GuestPhys(8), &[0x12, 0x10, 0, 0])
        .unwrap(); // vector 2: the nop, 0000:1012
    for (register, value) in [(0x15, 0u64), (0x14, 4 << 8)] {
        use ring3_arch::CpuIndex;
        use ring3_bus::Platform;
        let (ram, code) = (&mut machine.ram, &mut machine.code);
        let mut dma = ring3_cpu::RamDma { ram, code };
        let (bsp, now) = (CpuIndex(0), machine.now);
        let chipset = &mut machine.chipset;
        chipset.memory_write(bsp, now, GuestPhys(0xfec0_0000), 4, register, &mut dma);
        chipset.memory_write(bsp, now, GuestPhys(0xfec0_0010), 4, value, &mut dma);
    }
    assert_eq!(machine.run(1000), Stop::InstructionLimit);
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

/// The 8259's interrupt request register; of a level-triggered input that is the line's level.
fn pic_requests(machine: &mut Machine) -> u8 {
    use ring3_arch::CpuIndex;
    use ring3_bus::Platform;
    use ring3_cpu::RamDma;
    let now = machine.now;
    let (ram, code) = (&mut machine.ram, &mut machine.code);
    let mut dma = RamDma { ram, code };
    // OCW3: the next read gives the interrupt request register.
    let bsp = CpuIndex(0);
    machine
        .chipset
        .port_write(bsp, now, 0x20, 1, 0x0a, &mut dma);
    machine.chipset.port_read(bsp, now, 0x20, 1) as u8
}

/// The PIT's line and the HPET's comparator 0, one after the other, at IRQ 0.
#[test]
fn the_hpet_takes_irq0_over_from_the_pit() {
    use ring3_arch::CpuIndex;
    use ring3_bus::Platform;
    use ring3_clock::{TSC_HZ, Ticks};
    use ring3_cpu::RamDma;

    const HPET: u64 = 0xfed0_0000;
    const CONFIGURATION: u64 = HPET + 0x10;
    const COUNTER: u64 = HPET + 0xf0;
    const TIMER0: u64 = HPET + 0x100;
    const COMPARATOR0: u64 = HPET + 0x108;
    fn ports(machine: &mut Machine, writes: &[(u16, u32)]) {
        let now = machine.now;
        for &(port, value) in writes {
            let (ram, code) = (&mut machine.ram, &mut machine.code);
            let mut dma = RamDma { ram, code };
            let bsp = CpuIndex(0);
            machine
                .chipset
                .port_write(bsp, now, port, 1, value, &mut dma);
        }
    }
    fn hpet(machine: &mut Machine, writes: &[(u64, u64)]) {
        let now = machine.now;
        for &(address, value) in writes {
            let (ram, code) = (&mut machine.ram, &mut machine.code);
            let mut dma = RamDma { ram, code };
            let bsp = CpuIndex(0);
            let address = GuestPhys(address);
            machine
                .chipset
                .memory_write(bsp, now, address, 8, value, &mut dma);
        }
    }
    fn later(machine: &mut Machine, ticks: u64) {
        machine.now = machine.now.saturating_add(Ticks(ticks));
        let now = machine.now;
        let (ram, code) = (&mut machine.ram, &mut machine.code);
        machine.chipset.advance(now, &mut RamDma { ram, code });
    }
    let mut machine = machine_with(PROGRAM);
    // The 8259 as a PC's firmware leaves it, level-triggered so that its request register shows the line.
    ports(
        &mut machine,
        &[(0x20, 0x19), (0x21, 0x08), (0x21, 0x04), (0x21, 0x01)],
    );
    // Channel 0 in mode 0: the output goes low, and high for good after the count.
    let one_shot = [(0x43, 0x30), (0x40, 100), (0x40, 0)];
    ports(&mut machine, &one_shot);
    assert_eq!(pic_requests(&mut machine) & 1, 0);
    later(&mut machine, TSC_HZ / 1000);
    assert_eq!(pic_requests(&mut machine) & 1, 1, "the PIT's line");
    // In replacement mode it is cut off, high as it is, and what it does makes no difference.
    hpet(
        &mut machine,
        &[(COUNTER, 0), (TIMER0, 0b110), (COMPARATOR0, 1000)],
    );
    hpet(&mut machine, &[(CONFIGURATION, 3)]);
    assert_eq!(pic_requests(&mut machine) & 1, 0, "the HPET's line is low");
    ports(&mut machine, &one_shot);
    later(&mut machine, 1000);
    assert_eq!(pic_requests(&mut machine) & 1, 0);
    // A saved machine knows who is connected.
    let mut file = saved(&mut machine);
    let mut machine = Machine::restore(&mut file).unwrap();
    later(&mut machine, TSC_HZ / 1000);
    assert_eq!(pic_requests(&mut machine) & 1, 1, "the HPET's line");
    // Its status bit lowers it again; without replacement the PIT is back.
    hpet(&mut machine, &[(HPET + 0x20, 1)]);
    assert_eq!(pic_requests(&mut machine) & 1, 0);
    hpet(&mut machine, &[(CONFIGURATION, 1)]);
    assert_eq!(pic_requests(&mut machine) & 1, 1, "the PIT's line");
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

/// A kernel that executes `rounds` privileged instructions which make no sense: accesses to every model-specific,
/// control and debug register, every port, every page of device memory and the PCI configuration space, in
/// 64-bit mode, through the processor, so that what follows from them (faults, interrupts, DMA, resets) follows too.
fn nonsense_from_a_kernel(seed: u64, rounds: u64) {
    const CODE: u64 = 0x8000;
    const HANDLER: u64 = 0x9000;
    const STACK: u64 = 0xa000;
    const IDT: u64 = 0xb000;
    const GDT: u64 = 0xc000;
    const DATA: u64 = 0x20_0000;
    /// The registers that exist, each with its neighbours.
    const MSRS: [u64; 22] = [
        0x10,
        0x1b,
        0x3a,
        0x48,
        0x79,
        0x8b,
        0xe1,
        0xfe,
        0x10a,
        0x174,
        0x179,
        0x1a0,
        0x1d9,
        0x200,
        0x250,
        0x268,
        0x277,
        0x2ff,
        0x6e0,
        0x985,
        0xda0,
        0xc000_0080,
    ];
    const INSTRUCTIONS: [&[u8]; 30] = [
        &[0x0f, 0x30],                               // wrmsr
        &[0x0f, 0x30],                               // wrmsr, more often
        &[0x0f, 0x32],                               // rdmsr
        &[0xee],                                     // out dx, al
        &[0x66, 0xef],                               // out dx, ax
        &[0xef],                                     // out dx, eax
        &[0xec],                                     // in al, dx
        &[0x66, 0xed],                               // in ax, dx
        &[0xed],                                     // in eax, dx
        &[0xf3, 0x6e],                               // rep outsb
        &[0xf3, 0x6d],                               // rep insd
        &[0x88, 0x07],                               // mov [rdi], al
        &[0x66, 0x89, 0x07],                         // mov [rdi], ax
        &[0x89, 0x07],                               // mov [rdi], eax
        &[0x48, 0x89, 0x07],                         // mov [rdi], rax
        &[0x0f, 0x11, 0x07],                         // movups [rdi], xmm0
        &[0x48, 0x8b, 0x07],                         // mov rax, [rdi]
        &[0xf0, 0x48, 0x0f, 0xc1, 0x07],             // lock xadd [rdi], rax
        &[0xf3, 0x48, 0xab],                         // rep stosq
        &[0x0f, 0x22, 0xc0],                         // mov cr0, rax
        &[0x0f, 0x22, 0xd8],                         // mov cr3, rax
        &[0x0f, 0x22, 0xe0],                         // mov cr4, rax
        &[0x44, 0x0f, 0x22, 0xc0],                   // mov cr8, rax
        &[0x0f, 0x23, 0xf8],                         // mov dr7, rax
        &[0x0f, 0x23, 0xc0],                         // mov dr0, rax
        &[0x0f, 0x01, 0xd1],                         // xsetbv
        &[0x48, 0x0f, 0xc7, 0x2f],                   // xsaves [rdi]
        &[0x48, 0x0f, 0xc7, 0x1f],                   // xrstors [rdi]
        &[0x0f, 0x01, 0x1f],                         // lidt [rdi]
        &[0xfb, 0xf3, 0x0f, 0xc7, 0xf0, 0x90, 0xf4], // sti; senduipi rax; nop; hlt
    ];
    fn prepared(seed: u64) -> Machine {
        let config = MachineConfig {
            memory_bytes: 8 << 20,
            cpus: 2,
            seed,
            console_ports: vec!["one".into(), "two".into()],
            disk_bytes: Some(1 << 20),
            ..MachineConfig::default()
        };
        let mut machine = Machine::new(config).unwrap();
        let ram = &mut machine.ram;
        // Page tables: the first 512 GiB as they are, in pages of 1 GiB.
        ram.write(GuestPhys(0x1000), &0x2007u64.to_le_bytes())
            .unwrap();
        for n in 0..512u64 {
            let entry = (n << 30) | 0x87;
            ram.write(GuestPhys(0x2000 + 8 * n), &entry.to_le_bytes())
                .unwrap();
        }
        for vector in 0..256 {
            let gate = HANDLER & 0xffff | 8 << 16 | 0x8e00 << 32;
            ram.write(GuestPhys(IDT + 16 * vector), &gate.to_le_bytes())
                .unwrap();
        }
        let gdt: [u64; 3] = [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
        for (n, entry) in gdt.into_iter().enumerate() {
            ram.write(GuestPhys(GDT + 8 * n as u64), &entry.to_le_bytes())
                .unwrap();
        }
        ram.write(GuestPhys(HANDLER), &[0xf4, 0xeb, 0xfd]).unwrap(); // hlt; jmp to it
        machine
    }

    let mut noise = Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut machine = prepared(seed);
    for round in 0..rounds {
        let cpu = &mut machine.cpus[0];
        // Whatever the last round did to what is needed to go on is put right; all else stays.
        cpu.activity = ring3_cpu::state::Activity::Running;
        cpu.system.cr0 = 0x8001_0033;
        cpu.system.cr3 = 0x1000;
        cpu.system.cr4 = 0x0204_0620 | noise.next() & 0x0200_0000;
        cpu.system.efer = 0xd01;
        cpu.system.gdtr.base = GDT;
        cpu.system.gdtr.limit = 0x17;
        cpu.system.idtr.base = IDT;
        cpu.system.idtr.limit = 0xfff;
        let segment = |selector, attributes| Segment {
            selector,
            base: 0,
            limit: u32::MAX,
            attributes,
        };
        cpu.set_segment(1, segment(8, 0xa09b));
        cpu.set_cpl(0);
        for number in [0, 2, 3, 4, 5] {
            cpu.set_segment(number, segment(16, 0xc093));
        }
        cpu.refresh_bases();
        for reg in &mut cpu.regs[..16] {
            *reg = noise.next() >> (noise.next() % 64);
        }
        let value = noise.next() >> (noise.next() % 64);
        let near = noise.next() % 16;
        let msr = match noise.next() % 4 {
            0 => noise.next() >> 40,
            1 => 0x800 + noise.next() % 0x100,
            _ => MSRS[(noise.next() % 22) as usize] + near,
        };
        let port = match noise.next() % 5 {
            0 => noise.next() & 0xffff,
            1 => 0xcf8 + noise.next() % 8,
            2 => noise.next() % 0x100,
            3 => 0x3f8 + noise.next() % 8,
            _ => 0x600 + noise.next() % 0x40,
        };
        let address = match noise.next() % 6 {
            0 => 0xfec0_0000 + (noise.next() % 0x40) * 4,
            1 => 0xfed0_0000 + (noise.next() % 0x80) * 8,
            2 => 0xfee0_0000 + (noise.next() % 0x40) * 16,
            3 => 0xe000_0000 + noise.next() % 0x2_0000,
            4 => DATA + (noise.next() % 0x1000) * 64,
            _ => noise.next() >> 25,
        };
        let instruction = INSTRUCTIONS[(noise.next() % 30) as usize];
        // Unless it is about a port, RCX names an MSR or a count.
        let count = if instruction[0] == 0xf3 { near } else { msr };
        let configuration = 0x8000_0000 | (noise.next() % 5) << 11 | noise.next() & 0x7fc;
        let rax = match port {
            0xcf8 => configuration,
            _ => value,
        };
        let [rax, rcx, rdx] = [rax, count, if instruction.len() > 2 { value } else { port }];
        cpu.set_reg(ring3_isa::Reg::Rax, rax);
        cpu.set_reg(ring3_isa::Reg::Rcx, rcx);
        cpu.set_reg(ring3_isa::Reg::Rdx, rdx);
        cpu.set_reg(ring3_isa::Reg::Rdi, address);
        cpu.set_reg(ring3_isa::Reg::Rsi, DATA);
        cpu.set_reg(ring3_isa::Reg::Rsp, STACK);
        if matches!(instruction, [0x0f, 0x30 | 0x32]) {
            cpu.set_reg(ring3_isa::Reg::Rdx, value >> 32);
        }
        cpu.set_rip(CODE);
        cpu.set_rflags(2);
        let mut code = instruction.to_vec();
        code.extend([0xf4, 0xeb, 0xfd]);
        machine.ram.write(GuestPhys(CODE), &code).unwrap();
        machine.code.written(CODE, code.len() as u64);
        let limit = machine.instructions() + 40;
        let goes_on = loop {
            match machine.run_briefly(limit, 40) {
                Some(Stop::Output) => while machine.take_output().is_some() {},
                // It waits, perhaps for a timer that is far away.
                None | Some(Stop::InstructionLimit | Stop::Idle) => break true,
                Some(Stop::PowerOff(_) | Stop::Reset | Stop::TripleFault(_)) => break false,
                Some(Stop::Unimplemented { text, bytes, .. }) => panic!("{text} {bytes:x?}"),
            }
        };
        if !goes_on || round % 4096 == 4095 {
            machine = prepared(noise.next());
        }
    }
}

#[test]
fn nonsense_from_a_kernel_is_survived() {
    nonsense_from_a_kernel(1, 100_000);
}

/// Millions of accesses; for `cargo xtask soak`.
#[test]
#[ignore = "minutes; cargo xtask soak runs it"]
fn nonsense_from_many_kernels_is_survived() {
    for seed in 2..42 {
        nonsense_from_a_kernel(seed, 100_000);
    }
}
