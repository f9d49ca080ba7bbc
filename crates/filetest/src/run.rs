//! Runs an image on a machine in this process.

use crate::header::Header;
use ring3_arch::CpuIndex;
use ring3_boot::{BootParameters, KernelImage, MemoryMap};
use ring3_machine::{Machine, MachineConfig, Stop};
use std::path::Path;

/// A program that prints more than this is broken.
const OUTPUT_MAX: usize = 1 << 20;

/// How a run went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What the program printed, and in brackets how it ended.
    pub text: String,
    /// Instructions executed by all processors.
    pub instructions: u64,
    /// A hash of everything that the guest could see afterwards; `None` if the machine stopped
    /// because nothing was left to happen, since nobody can say at what time that was.
    pub digest: Option<u64>,
    /// The processors and the time as text, to see in what two runs differ.
    pub state: String,
}

/// How the machine is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// At one go.
    Whole,
    /// Saved and restored after so many instructions, then in many small pieces. For one
    /// processor: with more, where a run is cut decides whose turn is next.
    Broken {
        /// Instructions before the machine is saved.
        save_at: u64,
    },
}

/// Instructions of a small piece; prime, so that cuts fall everywhere.
const PIECE: u64 = 997;

/// Boots `image` and runs it to its end.
///
/// # Errors
/// An image that cannot be booted, or a host that refuses what the machine needs.
pub fn run(image: &Path, header: &Header, manner: Manner) -> Result<Run, String> {
    let config = MachineConfig {
        cpus: header.cpus,
        cpu: header.cpu,
        memory_bytes: header.memory_bytes,
        seed: header.seed,
        ..MachineConfig::default()
    };
    let bytes = std::fs::read(image).map_err(|e| format!("{}: {e}", image.display()))?;
    let parameters = BootParameters {
        memory: MemoryMap::pc(config.memory_bytes).map_err(|e| e.to_string())?,
        command_line: Vec::new(),
        modules: Vec::new(),
        acpi: None,
        entry: None,
    };
    let boot = KernelImage::parse(bytes)
        .map_err(|e| e.to_string())?
        .boot(&parameters)
        .map_err(|e| e.to_string())?;
    let mut machine = Machine::new(config).map_err(|e| e.to_string())?;
    machine.apply(&boot).map_err(|e| e.to_string())?;

    let mut output = Vec::new();
    let limit = header.instructions_max;
    let stop = match manner {
        Manner::Whole => run_until(&mut machine, limit, limit, &mut output),
        Manner::Broken { save_at } => {
            run_until(&mut machine, save_at, save_at, &mut output);
            machine = through_a_file(machine, image)?;
            run_until(&mut machine, limit, PIECE, &mut output)
        }
    };
    let mut text = String::from_utf8_lossy(&output).replace("\r\n", "\n");
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&ending(&stop));
    for warning in machine.warnings().all().keys() {
        text.push_str(&format!("[warning: {warning}]\n"));
    }
    Ok(Run {
        text,
        instructions: machine.instructions(),
        state: state(&machine),
        digest: (stop != Stop::Idle).then(|| machine.digest()),
    })
}

fn run_until(machine: &mut Machine, limit: u64, piece: u64, output: &mut Vec<u8>) -> Stop {
    loop {
        let end = machine.instructions().saturating_add(piece).min(limit);
        let stop = machine.run(end);
        while let Some(given) = machine.take_output() {
            output.extend(given.bytes);
        }
        match stop {
            Stop::Output if output.len() <= OUTPUT_MAX => {}
            Stop::InstructionLimit if machine.instructions() < limit => {}
            stop => return stop,
        }
    }
}

fn through_a_file(mut machine: Machine, image: &Path) -> Result<Machine, String> {
    let path = image.with_extension("snapshot");
    let restored = (|| {
        let mut file = std::fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(|e| e.to_string())?;
        machine.save(&mut file).map_err(|e| e.to_string())?;
        Machine::restore(&mut file).map_err(|e| e.to_string())
    })();
    // The machine keeps the file open; nobody else needs its name.
    let _ = std::fs::remove_file(&path);
    restored
}

fn state(machine: &Machine) -> String {
    let mut text = format!("time: {}\n", machine.now().0);
    for n in 0..machine.config().cpus {
        let cpu = machine.cpu(CpuIndex(n)).canonical();
        text.push_str(&format!("{cpu:#x?}\n"));
    }
    text
}

fn ending(stop: &Stop) -> String {
    match stop {
        Stop::PowerOff(None) => "[power off]\n".into(),
        Stop::PowerOff(Some(status)) => format!("[exit {status}]\n"),
        Stop::Idle => "[every processor waits, and nothing will wake one]\n".into(),
        Stop::Reset => "[reset]\n".into(),
        Stop::TripleFault(cpu) => format!("[triple fault on processor {}]\n", cpu.0),
        Stop::InstructionLimit => "[the instruction limit was reached]\n".into(),
        Stop::Output => "[the program prints too much]\n".into(),
        Stop::Unimplemented { cpu, text, .. } => format!(
            "[processor {} met an instruction that nobody has written: {text}]\n",
            cpu.0
        ),
    }
}
