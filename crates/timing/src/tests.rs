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
    fn memory_write(&mut self, _: CpuIndex, _: Ticks, _: GuestPhys, _: u8, _: u64, _: &mut dyn Dma) {}
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
        let mut cpu = Cpu::new(CpuIndex(n as u32), Arc::new(CpuModel::new(programs.len() as u32)), 1);
        cpu.activity = ring3_cpu::Activity::Running;
        cpu.system.cr4 = cr4::PAE | cr4::OSFXSR;
        cpu.system.efer = efer::LME | efer::LMA | efer::SCE;
        cpu.system.cr3 = 0x1000;
        cpu.system.cr0 = cr0::PE | cr0::PG | cr0::ET | cr0::WP;
        for (number, attributes) in [(1, 0xa09b), (2, 0xc093)] {
            let segment = Segment { selector: 8 * number as u16, base: 0, limit: u32::MAX, attributes };
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
        let outcome = self.engine.run(&mut world, Ticks(0), Ticks(until), u64::MAX);
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
        0x48, 0x01, 0xd8, 0x48, 0x31, 0xc7, 0x48, 0xc1, 0xe2, 0x03, 0x48, 0x01, 0xfa, 0x48, 0x89, 0x16, 0x4c, 0x8b,
        0x1e, 0x4d, 0x8d, 0x44, 0x83, 0x05, 0x4d, 0x39, 0xc8, 0xff, 0xc9, 0x75, 0xe1,
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
