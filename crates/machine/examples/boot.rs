//! Boots a kernel with the serial port on standard output (development aid).
use ring3_boot::{BootParameters, Bytes, KernelImage, MemoryMap, Module};
use ring3_machine::{Machine, MachineConfig, Stop};
use std::io::Write;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let kernel = std::fs::read(&arguments[1]).unwrap();
    let limit: u64 = arguments[2].parse().unwrap();
    let config = MachineConfig {
        cpus: std::env::var("CPUS").map_or(1, |n| n.parse().unwrap()),
        ..MachineConfig::default()
    };
    let mut machine = Machine::new(config.clone()).unwrap();
    let image = KernelImage::parse(kernel).unwrap();
    let mut modules = Vec::new();
    if let Some(initrd) = arguments.get(4) {
        modules.push(Module {
            bytes: Bytes::from(std::fs::read(initrd).unwrap()),
            command_line: vec![],
        });
    }
    let parameters = BootParameters {
        memory: MemoryMap::pc(config.memory_bytes).unwrap(),
        command_line: arguments[3].clone().into_bytes(),
        modules,
        acpi: Some(machine.acpi()),
        entry: None,
    };
    let boot = image.boot(&parameters).unwrap();
    machine.apply(&boot).unwrap();
    let start = std::time::Instant::now();
    loop {
        let stop = machine.run(limit);
        while let Some(output) = machine.take_output() {
            std::io::stdout().write_all(&output.bytes).unwrap();
        }
        if stop != Stop::Output {
            println!("\n{stop:x?}");
            break;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{} instructions, {:.1} MIPS",
        machine.instructions(),
        machine.instructions() as f64 / seconds / 1e6
    );
    for n in 0..machine.config().cpus {
        let cpu = machine.cpu(ring3_arch::CpuIndex(n));
        println!(
            "cpu {n}: rip {:x} cr2 {:x} cr3 {:x} {:?} regs {:x?}",
            cpu.rip(),
            cpu.system.cr2,
            cpu.system.cr3,
            cpu.activity,
            &cpu.regs[..16]
        );
    }
    println!("{:?}", machine.warnings().all());
}
