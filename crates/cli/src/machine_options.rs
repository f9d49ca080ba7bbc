//! Options that every command with a machine has.

use crate::size::{memory, parse_count, parse_memory};
use clap::{Args, ValueEnum};
use ring3_machine::MachineConfig;
use ring3_machine::config::{CPUS_MAX, CpuKind};
use std::path::PathBuf;

/// How the machine executes instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// Interprets cached blocks of micro-operations: the reference
    Interp,
}

impl Engine {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Interp => "interp",
        }
    }
}

/// What the processors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Processor {
    /// SSE to SSE4.2
    #[value(name = CpuKind::V2.name())]
    V2,
    /// With AVX, AVX2, BMI1, BMI2, F16C, FMA and LZCNT
    #[value(name = CpuKind::V3.name(), alias = "v3")]
    V3,
    /// x86-64-v3 with what Sapphire Rapids adds for AES, SHA, GF(2^8), carry-less products, long
    /// integers and caches; without AVX-512 and AMX
    #[value(name = CpuKind::Spr.name())]
    Spr,
}

impl Processor {
    /// As the machine names it.
    pub fn kind(self) -> CpuKind {
        match self {
            Processor::V2 => CpuKind::V2,
            Processor::V3 => CpuKind::V3,
            Processor::Spr => CpuKind::Spr,
        }
    }
}

/// See the module.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Machine")]
pub struct MachineOptions {
    /// Logical processors, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 2,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(CPUS_MAX)))]
    pub cpus: u32,

    /// What the processors are, and thereby which instructions there are
    #[arg(long, value_name = "MODEL", value_enum, default_value_t = Processor::V3)]
    pub cpu: Processor,

    /// Memory with a unit: 512M, 2G (powers of 1024); 2M to 1T
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = parse_memory)]
    pub mem: u64,

    /// What executes the instructions
    #[arg(long, value_name = "ENGINE", value_enum, default_value_t = Engine::Interp)]
    pub engine: Engine,

    /// Seed of everything random in the machine: RDRAND, RDSEED, the entropy device
    ///
    /// The same seed and the same input give the same run.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,

    /// Stop after N instructions of all processors together: 500000, 20M, 2G (powers of 1000)
    ///
    /// The exit status is then 124. Without this option there is no limit. For `ring3 run` the count
    /// begins with the program, not with the guest's start.
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub max_instructions: Option<u64>,

    /// At the end, show on standard error what was counted: instructions, time, translations
    #[arg(long, help_heading = "Reports")]
    pub stats: bool,

    /// Show it as one line of JSON (implies --stats)
    ///
    /// What stands under "run" depends only on what was run and with which options; what stands
    /// under "host" depends on this computer.
    #[arg(long, help_heading = "Reports")]
    pub json: bool,

    /// Write it to FILE instead (implies --stats)
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub stats_file: Option<PathBuf>,

    /// Show on standard error what ring3 does, what the guest's kernel says, and every oddity
    #[arg(long, short, help_heading = "Reports")]
    pub verbose: bool,
}

impl MachineOptions {
    /// The machine that is wanted, without ports and disk.
    pub fn config(&self) -> MachineConfig {
        MachineConfig {
            cpus: self.cpus,
            cpu: self.cpu.kind(),
            memory_bytes: self.mem,
            seed: self.seed,
            ..MachineConfig::default()
        }
    }

    /// Whether anybody wants to know what was counted.
    pub fn wants_statistics(&self) -> bool {
        self.stats || self.json || self.stats_file.is_some()
    }

    /// The machine in a few words.
    pub fn summary(&self) -> String {
        let plural = if self.cpus == 1 { "" } else { "s" };
        format!(
            "{} {} processor{plural}, {}",
            self.cpus,
            self.cpu.kind().name(),
            memory(self.mem)
        )
    }
}
