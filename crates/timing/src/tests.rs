//! The engine on processors without devices, against the reference and against its own description.

use super::*;
use ring3_arch::cr::{cr0, cr4, efer};
use ring3_arch::segment::Segment;
use ring3_arch::{CpuIndex, GuestPhys, Vector};
use ring3_bus::{Dma, Platform, Signals};
use ring3_clock::Ticks;
use ring3_cpu::{Cpu, CpuModel};
use ring3_isa::Reg;
use ring3_memory::{CodeMap, Ram, RamLayout, Tlb};
use std::sync::Arc;

struct Nothing;

impl Platform for Nothing {
    fn memory_read(&mut self, _: CpuIndex, _: Ticks, _: GuestPhys, _: u8) -> u64 {
        0x55
    }
    fn memory_write(
        &mut self,
        _: CpuIndex,
        _: Ticks,
        _: GuestPhys,
        _: u8,
        _: u64,
        _: &mut dyn Dma,
    ) {
    }
    fn port_read(&mut self, _: CpuIndex, _: Ticks, _: u16, _: u8) -> u32 {
        0
    }
    fn port_write(&mut self, _: CpuIndex, _: Ticks, _: u16, _: u8, _: u32, _: &mut dyn Dma) {}
    fn apic_msr_read(&mut self, _: CpuIndex, _: Ticks, _: u32) -> Option<u64> {
        None
    }
    fn apic_msr_write(&mut self, _: CpuIndex, _: Ticks, _: u32, _: u64) -> Option<()> {
        None
    }
    fn cr8_read(&mut self, _: CpuIndex) -> u64 {
        0
    }
    fn cr8_write(&mut self, _: CpuIndex, _: Ticks, _: u64) {}
    fn signals(&mut self, _: CpuIndex, _: Ticks) -> Signals {
        Signals::default()
    }
    fn acknowledge(&mut self, _: CpuIndex, _: Ticks) -> Vector {
        Vector(0xff)
    }
    fn end_of_interrupt(&mut self, _: CpuIndex, _: Ticks) {}
    fn send_user_ipi(&mut self, _: CpuIndex, _: Ticks, _: Vector, _: u32) {}
    fn take_nmi(&mut self, _: CpuIndex) {}
    fn take_init(&mut self, _: CpuIndex) {}
    fn take_sipi(&mut self, _: CpuIndex) {}
    fn reset_local_apic(&mut self, _: CpuIndex) {}
    fn set_tsc_offset(&mut self, _: CpuIndex, _: Ticks, _: u64) {}
    fn take_reschedule(&mut self) -> bool {
        false
    }
}

const CODE: u64 = 0x10_0000;

struct Machine {
    cpus: Vec<Cpu>,
    tlbs: Vec<Tlb>,
    ram: Ram,
    code: CodeMap,
    engine: Engine,
}

/// Processors in 64-bit mode at CPL 0, identity-mapped, each with its program; at the end of a program
/// the processor halts.
fn machine(name: &str, programs: &[&[u8]]) -> Machine {
    let layout = RamLayout::new(64 << 20);
    let mut ram = Ram::new(layout).unwrap();
    ram.write_u64(GuestPhys(0x1000), 0x2000 | 0x23);
    ram.write_u64(GuestPhys(0x2000), 0x3000 | 0x23);
    for n in 0..32 {
        ram.write_u64(GuestPhys(0x3000 + 8 * n), (n << 21) | 0xe3);
    }
    let mut cpus = Vec::new();
    for (n, program) in programs.iter().enumerate() {
        let at = CODE + 0x1_0000 * n as u64;
        let mut code = program.to_vec();
        code.push(0xf4);
        ram.write(GuestPhys(at), &code).unwrap();
        let mut cpu = Cpu::new(
            CpuIndex(n as u32),
            Arc::new(CpuModel::new(programs.len() as u32)),
            1,
        );
        cpu.activity = ring3_cpu::Activity::Running;
        cpu.system.cr4 = cr4::PAE | cr4::OSFXSR;
        cpu.system.efer = efer::LME | efer::LMA | efer::SCE;
        cpu.system.cr3 = 0x1000;
        cpu.system.cr0 = cr0::PE | cr0::PG | cr0::ET | cr0::WP;
        for (number, attributes) in [(1, 0xa09b), (2, 0xc093)] {
            let segment = Segment {
                selector: 8 * number as u16,
                base: 0,
                limit: u32::MAX,
                attributes,
            };
            cpu.set_segment(number, segment);
        }
        cpu.set_rip(at);
        cpu.set_reg(Reg::Rsp, 0x8_0000 - 0x1_0000 * n as u64);
        cpus.push(cpu);
    }
    let parameters = Description::shipped(name).unwrap().parameters();
    Machine {
        tlbs: cpus.iter().map(|_| Tlb::default()).collect(),
        engine: Engine::new(&parameters, cpus.len(), Ticks(0), NoProbe),
        cpus,
        ram,
        code: CodeMap::new(layout.size()),
    }
}

impl Machine {
    /// Until all have halted, or the time has come.
    fn run(&mut self, until: u64) -> Outcome {
        let mut platform = Nothing;
        let mut world = World {
            cpus: &mut self.cpus,
            tlbs: &mut self.tlbs,
            ram: &mut self.ram,
            code: &mut self.code,
            platform: &mut platform,
        };
        let outcome = self
            .engine
            .run(&mut world, Ticks(0), Ticks(until), u64::MAX);
        self.engine.settle(&mut world);
        outcome
    }

    fn counters(&self) -> Counters {
        self.engine.counters(CpuIndex(0))
    }
}

#[test]
fn a_loop_of_dependent_additions_takes_a_cycle_each() {
    // mov ecx, 1000; l: add rax, rbx (x8); dec ecx; jnz l
    let mut code = vec![0xb9, 0xe8, 0x03, 0, 0];
    for _ in 0..8 {
        code.extend([0x48, 0x01, 0xd8]);
    }
    code.extend([0xff, 0xc9, 0x75, 0xe4]);
    let mut machine = machine("spr", &[&code]);
    machine.cpus[0].set_reg(Reg::Rbx, 3);
    let outcome = machine.run(1 << 20);
    assert!(matches!(outcome.exit, Exit::Idle(_)), "{outcome:?}");
    assert_eq!(machine.cpus[0].reg(Reg::Rax), 24_000);
    let cycles = machine.counters().cycles;
    assert!((8000..9100).contains(&cycles), "{cycles} cycles");
}

/// Not a test of correctness: prints the speed of an integer loop. `cargo test --release -p
/// ring3-timing speed -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, run by hand"]
fn speed() {
    // mov ecx, N; l: add rax, rbx; xor rdi, rax; shl rdx, 3; add rdx, rdi; mov [rsi], rdx;
    // mov r11, [rsi]; lea r8, [r11+rax*4+5]; cmp r8, r9; dec ecx; jnz l
    let mut code = vec![0xb9, 0x40, 0x42, 0x0f, 0x00];
    code.extend([
        0x48, 0x01, 0xd8, 0x48, 0x31, 0xc7, 0x48, 0xc1, 0xe2, 0x03, 0x48, 0x01, 0xfa, 0x48, 0x89,
        0x16, 0x4c, 0x8b, 0x1e, 0x4d, 0x8d, 0x44, 0x83, 0x05, 0x4d, 0x39, 0xc8, 0xff, 0xc9, 0x75,
        0xe1,
    ]);
    let mut machine = machine("spr", &[&code]);
    machine.cpus[0].set_reg(Reg::Rsi, 0x5000);
    machine.cpus[0].set_reg(Reg::Rbx, 3);
    let start = std::time::Instant::now();
    let outcome = machine.run(u64::MAX >> 1);
    let seconds = start.elapsed().as_secs_f64();
    let counters = machine.counters();
    println!(
        "{:.2} million instructions per second, {:.2} instructions per cycle, {outcome:?}",
        outcome.instructions as f64 / seconds / 1e6,
        outcome.instructions as f64 / counters.cycles as f64,
    );
    for line in counters.list("") {
        println!("{:30} {:14.2} {}", line.name, line.value, line.unit);
    }
}

/// Runs a litmus test of several processors over and over, with different delays before each, and
/// counts the outcomes. Each program begins with RSI = X and RDI = Y (two lines), and leaves its
/// observations in RAX and RBX.
fn litmus(programs: &[&[u8]], rounds: u64) -> std::collections::BTreeMap<Vec<u64>, u64> {
    let mut outcomes = std::collections::BTreeMap::new();
    for round in 0..rounds {
        // mov ecx, N; l: dec ecx; jnz l; then the program
        let delayed: Vec<Vec<u8>> = programs
            .iter()
            .enumerate()
            .map(|(n, program)| {
                // Warm lines in some rounds, cold or foreign ones in others.
                let mut code = Vec::new();
                if round >> n & 1 != 0 {
                    code.extend([0x48, 0x8b, 0x06]);
                }
                if round >> (n + 1) & 1 != 0 {
                    code.extend([0x48, 0x8b, 0x1f]);
                }
                let delay = 200 + (round * (7 + 4 * n as u64) + 13 * n as u64) % 61;
                code.push(0xb9);
                code.extend((delay as u32).to_le_bytes());
                code.extend([0xff, 0xc9, 0x75, 0xfc, 0x31, 0xc0, 0x31, 0xdb]);
                code.extend_from_slice(program);
                code
            })
            .collect();
        let programs: Vec<&[u8]> = delayed.iter().map(Vec::as_slice).collect();
        let mut machine = machine("xui-gem5", &programs);
        for cpu in &mut machine.cpus {
            cpu.set_reg(Reg::Rsi, 0x20_0000);
            cpu.set_reg(Reg::Rdi, 0x20_0040);
        }
        let outcome = machine.run(1 << 20);
        assert!(matches!(outcome.exit, Exit::Idle(_)), "{outcome:?}");
        let mut seen = Vec::new();
        for cpu in &machine.cpus {
            seen.push(cpu.reg(Reg::Rax));
            seen.push(cpu.reg(Reg::Rbx));
        }
        seen.push(machine.ram.read_u64(GuestPhys(0x20_0000)).unwrap());
        seen.push(machine.ram.read_u64(GuestPhys(0x20_0040)).unwrap());
        *outcomes.entry(seen).or_insert(0) += 1;
    }
    outcomes
}

// mov qword [rsi], n and mov qword [rdi], n
const X_1: [u8; 7] = [0x48, 0xc7, 0x06, 1, 0, 0, 0];
const X_2: [u8; 7] = [0x48, 0xc7, 0x06, 2, 0, 0, 0];
const Y_1: [u8; 7] = [0x48, 0xc7, 0x07, 1, 0, 0, 0];
const Y_2: [u8; 7] = [0x48, 0xc7, 0x07, 2, 0, 0, 0];
// mov rax, [rsi]; mov rax, [rdi]; mov rbx, [rsi]; mov rbx, [rdi]
const RAX_X: [u8; 3] = [0x48, 0x8b, 0x06];
const RAX_Y: [u8; 3] = [0x48, 0x8b, 0x07];
const RBX_X: [u8; 3] = [0x48, 0x8b, 0x1e];
const RBX_Y: [u8; 3] = [0x48, 0x8b, 0x1f];
const MFENCE: [u8; 3] = [0x0f, 0xae, 0xf0];

/// The outcomes that x86-TSO forbids, SDM Vol. 3, "Examples Illustrating the Memory-Ordering
/// Principles", never; the one that only a store buffer explains, sometimes.
#[test]
fn stores_are_buffered_and_nothing_else_is_reordered() {
    const ROUNDS: u64 = 120;
    let join = |parts: &[&[u8]]| parts.concat();
    // Store buffering: both may miss the other's store.
    let seen = litmus(&[&join(&[&X_1, &RAX_Y]), &join(&[&Y_1, &RAX_X])], ROUNDS);
    assert!(seen.keys().any(|o| o[0] == 0 && o[2] == 0), "{seen:?}");
    // ... but not with fences.
    let seen = litmus(
        &[
            &join(&[&X_1, &MFENCE, &RAX_Y]),
            &join(&[&Y_1, &MFENCE, &RAX_X]),
        ],
        ROUNDS,
    );
    assert!(!seen.keys().any(|o| o[0] == 0 && o[2] == 0), "{seen:?}");
    // Message passing: who sees the second store sees the first.
    let seen = litmus(&[&join(&[&X_1, &Y_1]), &join(&[&RAX_Y, &RBX_X])], ROUNDS);
    assert!(!seen.keys().any(|o| o[2] == 1 && o[3] == 0), "{seen:?}");
    assert!(seen.len() > 1, "{seen:?}");
    // Load buffering: not both see the other's later store.
    let seen = litmus(&[&join(&[&RAX_X, &Y_1]), &join(&[&RAX_Y, &X_1])], ROUNDS);
    assert!(!seen.keys().any(|o| o[0] == 1 && o[2] == 1), "{seen:?}");
    // 2+2W: the first stores of both are not the last to be seen.
    let seen = litmus(&[&join(&[&X_1, &Y_2]), &join(&[&Y_1, &X_2])], ROUNDS);
    assert!(!seen.keys().any(|o| o[4] == 1 && o[5] == 1), "{seen:?}");
    // Independent reads of independent writes: readers agree on the order.
    let seen = litmus(
        &[
            &X_1,
            &Y_1,
            &join(&[&RAX_X, &RBX_Y]),
            &join(&[&RAX_Y, &RBX_X]),
        ],
        ROUNDS,
    );
    assert!(
        !seen
            .keys()
            .any(|o| o[4] == 1 && o[5] == 0 && o[6] == 1 && o[7] == 0),
        "{seen:?}"
    );
}

/// Two runs of two processors that share lines, atomics and all, are the same.
#[test]
fn the_same_run_twice() {
    // mov ecx, 2000; l: lock inc qword [rsi]; inc qword [rdi]; mov rax, [rdi+8]; dec ecx; jnz l
    let code = [
        0xb9, 0xd0, 0x07, 0, 0, 0xf0, 0x48, 0xff, 0x06, 0x48, 0xff, 0x07, 0x48, 0x8b, 0x47, 0x08,
        0xff, 0xc9, 0x75, 0xf1,
    ];
    let run = || {
        let mut machine = machine("spr", &[&code, &code]);
        for cpu in &mut machine.cpus {
            cpu.set_reg(Reg::Rsi, 0x20_0000);
            cpu.set_reg(Reg::Rdi, 0x20_0040);
        }
        machine.run(1 << 24);
        let locked = machine.ram.read_u64(GuestPhys(0x20_0000)).unwrap();
        let plain = machine.ram.read_u64(GuestPhys(0x20_0040)).unwrap();
        (
            locked,
            plain,
            machine.counters(),
            machine.engine.counters(CpuIndex(1)),
        )
    };
    let first = run();
    assert_eq!(first.0, 4000, "a locked increment was lost");
    assert!(first.1 <= 4000);
    assert!(first.2.memory.transfers > 100, "{:?}", first.2);
    assert_eq!(first, run());
}

/// Cycles of a program on a machine, with RSI at a page of zeros.
fn cycles(name: &str, code: &[u8]) -> u64 {
    let mut machine = machine(name, &[code]);
    machine.cpus[0].set_reg(Reg::Rsi, 0x20_0000);
    machine.cpus[0].set_reg(Reg::Rdx, 0);
    machine.run(1 << 26);
    machine.counters().cycles
}

/// mov ecx, `rounds`; l: `body`; dec ecx; jnz l
fn looped(body: &[u8], rounds: u32) -> Vec<u8> {
    let mut code = vec![0xb9];
    code.extend(rounds.to_le_bytes());
    let start = code.len();
    code.extend_from_slice(body);
    code.extend([0xff, 0xc9]);
    let back = -((code.len() + 6 - start) as i32);
    code.extend([0x0f, 0x85]);
    code.extend(back.to_le_bytes());
    code
}

/// Cycles per round of a loop.
fn per_round(name: &str, body: &[u8]) -> f64 {
    let few = cycles(name, &looped(body, 1000));
    let many = cycles(name, &looped(body, 3000));
    (many - few) as f64 / 2000.0
}

fn about(found: f64, expected: f64, tolerance: f64) {
    let within = (found - expected).abs() <= tolerance;
    assert!(within, "{found} instead of {expected}");
}

/// Microbenchmarks find what the description says.
#[test]
fn microbenchmarks_find_the_description() {
    let p = Description::shipped("spr").unwrap().parameters();
    // mov rsi, [rsi], where [rsi] = rsi: a chase that hits.
    let chase = |lines: u64, stride: u64| {
        let body = [0x48, 0x8b, 0x36];
        let run = |rounds: u32| {
            let mut machine = machine("spr", &[&looped(&body, rounds)]);
            for n in 0..lines {
                // A permutation that no stride prefetcher follows.
                let at = 0x40_0000 + (n * 7919 % lines) * stride;
                let next = 0x40_0000 + ((n + 1) * 7919 % lines) * stride;
                machine.ram.write_u64(GuestPhys(at), next);
            }
            machine.cpus[0].set_reg(Reg::Rsi, 0x40_0000);
            machine.run(1 << 28);
            machine.counters().cycles
        };
        (run(30_000) - run(20_000)) as f64 / 10_000.0
    };
    about(chase(16, 64), p.l1d_latency as f64, 0.2);
    // 512 KiB: out of L2, with some TLB misses of the first level.
    about(chase(8192, 64), p.l2_latency as f64, 8.0);
    // A chain of multiplications, divisions.
    about(
        per_round("spr", &[0x48, 0x0f, 0xaf, 0xc0]),
        p.multiply_latency as f64,
        0.1,
    );
    // mov [rsi], rax; mov rax, [rsi]: forwarding, and the store's data port.
    about(
        per_round("spr", &[0x48, 0x89, 0x06, 0x48, 0x8b, 0x06]),
        p.forward_latency as f64 + 1.0,
        1.0,
    );
    // Rename width: 24 independent NOPs and the fused loop end.
    about(per_round("spr", &[0x90; 23]), 4.0, 0.6);
    // A misprediction: a branch on a bit of a generator (xorshift), against the same without it.
    let generator = [
        0x48, 0x89, 0xc2, 0x48, 0xc1, 0xe2, 0x0d, 0x48, 0x31, 0xd0, 0x48, 0x89, 0xc2, 0x48, 0xc1,
        0xea, 0x07, 0x48, 0x31, 0xd0, 0x48, 0x89, 0xc2, 0x48, 0xc1, 0xe2, 0x11, 0x48, 0x31, 0xd0,
    ];
    let run = |with_branch: bool| {
        let mut body = generator.to_vec();
        if with_branch {
            // test al, 4; jz +1; nop
            body.extend([0xa8, 0x04, 0x74, 0x01, 0x90]);
        }
        let mut machine = machine("spr", &[&looped(&body, 20_000)]);
        machine.cpus[0].set_reg(Reg::Rax, 0x1234_5678_9abc_def1);
        machine.run(1 << 26);
        let counters = machine.counters();
        (counters.cycles, counters.thread.mispredictions)
    };
    let (plain, _) = run(false);
    let (branchy, misses) = run(true);
    assert!(misses > 7000, "{misses} of 20000 mispredicted");
    let penalty = (branchy - plain) as f64 / misses as f64;
    assert!(
        (10.0..24.0).contains(&penalty),
        "a misprediction costs {penalty} cycles"
    );
}

/// The reorder buffer by the two-misses method: two misses overlap as long as both fit into it.
#[test]
fn two_misses_overlap_within_the_reorder_buffer() {
    let p = Description::shipped("spr").unwrap().parameters();
    let run = |fillers: usize| {
        // mov rbx, [rsi]; nops; mov rdx, [rsi + 32 MiB]; add rsi, 4160; and the line is new each time.
        let mut body = vec![0x48, 0x8b, 0x1e];
        body.extend(std::iter::repeat_n(0x90, fillers));
        body.extend([
            0x48, 0x8b, 0x96, 0, 0, 0, 2, 0x48, 0x81, 0xc6, 0x40, 0x10, 0, 0,
        ]);
        let few = cycles("spr", &looped(&body, 200));
        let many = cycles("spr", &looped(&body, 1200));
        (many - few) as f64 / 1000.0
    };
    let inside = run(p.reorder_buffer as usize * 3 / 4);
    let outside = run(p.reorder_buffer as usize * 5 / 4);
    assert!(
        outside > inside * 1.5,
        "{inside} cycles inside, {outside} outside"
    );
}
