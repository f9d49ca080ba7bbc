//! What `cargo xtask bench` runs: measures Ring3, and QEMU beside it if it is installed.
//!
//! Territory: the figures of docs/benchmarks.md, which says how each is defined. [`programs`] lists the guest programs,
//! [`material`] makes what is run from them, [`console`] talks with a guest that waits between two measurements,
//! [`processes`] measures whole processes, [`memory`] their resident sets, [`figures`] is what comes out.
//!
//! Edges: nothing here judges. A ratio is printed, never compared with a limit; only results that differ between the two
//! emulators are a failure.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod console;
mod figures;
mod material;
mod measure;
mod memory;
mod processes;
mod programs;
mod progress;

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// What goes wrong is told in a sentence.
pub type Result<T> = std::result::Result<T, String>;

/// Measures Ring3, and QEMU's TCG beside it if qemu-system-x86 is installed
#[derive(Parser, Clone, Debug)]
#[command(name = "cargo xtask bench", max_term_width = 100)]
pub struct Options {
    /// Write every sample to FILE as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Measure only these rows: names as in the table
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub only: Vec<String>,

    /// Leave QEMU out
    #[arg(long)]
    pub no_qemu: bool,

    /// The processor that QEMU emulates (its option -cpu)
    #[arg(long, value_name = "MODEL", default_value = "qemu64")]
    pub qemu_cpu: String,

    /// A tenth of the work, once: to see that it works, not to compare
    #[arg(long)]
    pub quick: bool,

    /// List the rows and end
    #[arg(long)]
    pub list: bool,

    /// The program to measure
    #[arg(long, value_name = "FILE", hide = true, default_value = "ring3")]
    pub ring3: PathBuf,
}

impl Options {
    /// Whether a row is wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == name)
    }

    /// How often each thing is measured.
    pub fn samples(&self) -> usize {
        if self.quick { 1 } else { 3 }
    }
}

fn execute(options: &Options) -> Result<()> {
    if options.list {
        for (name, about) in measure::rows() {
            println!("{name:<14}{about}");
        }
        return Ok(());
    }
    if let Some(unknown) = options
        .only
        .iter()
        .find(|name| !measure::rows().iter().any(|(row, _)| row == name))
    {
        return Err(format!("there is no row {unknown}; --list shows them"));
    }
    let figures = measure::all(options)?;
    print!("{}", figures.table());
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&figures).expect("numbers and words are JSON");
        std::fs::write(path, text + "\n")
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    match figures.differences() {
        differences if differences.is_empty() => Ok(()),
        differences => Err(format!(
            "Ring3 and QEMU computed different things: {}",
            differences.join("; ")
        )),
    }
}

fn main() -> ExitCode {
    let outcome = execute(&Options::parse());
    progress::clear();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}
