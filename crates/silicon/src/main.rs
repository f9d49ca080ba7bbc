//! `cargo xtask soak silicon`: random sequences on the host's processor and in the machine.

use clap::Parser;
use ring3_cpu::{CpuKind, CpuModel};
use ring3_isa::FeatureSet;
use ring3_silicon::engine::{ENGINES, Engine};
use ring3_silicon::report::{describe, shrink};
use ring3_silicon::tester::{Mismatch, Options, Tester};
use ring3_silicon::{fidelity, layout::SLOTS};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Executes random sequences of instructions on the host's own processor and in the machine, and
/// compares everything that they leave behind.
///
/// The same seed gives the same sequences on hosts with the same features. Exit status: 0 if nothing
/// differs, 1 if something does, 2 if the host cannot execute sequences.
#[derive(Parser)]
#[command(name = "silicon")]
struct Arguments {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds, one after the other
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// How many sequences of each seed
    #[arg(long, default_value_t = 1_000_000)]
    sequences: u64,
    /// The kind of processor whose instructions are drawn
    #[arg(long, default_value = "spr")]
    cpu: String,
    /// The engine to test; all of them if not given
    #[arg(long)]
    engine: Vec<String>,
    /// Stop after so many minutes
    #[arg(long)]
    minutes: Option<f64>,
    /// Stop after so many mismatches
    #[arg(long, default_value_t = 10)]
    mismatches: u64,
    /// Only this sequence of the seed
    #[arg(long)]
    only: Option<u64>,
    /// Print mismatches as they are, without making them small
    #[arg(long)]
    whole: bool,
    /// Print the whole coverage table
    #[arg(long)]
    table: bool,
    /// Write figures and coverage into docs/fidelity.md
    #[arg(long)]
    bless: bool,
}

fn engines(names: &[String]) -> Result<Vec<Box<dyn Engine>>, String> {
    for name in names {
        if !ENGINES.iter().any(|(known, _)| known == name) {
            let known: Vec<&str> = ENGINES.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "there is no engine '{name}'; there are: {}",
                known.join(", ")
            ));
        }
    }
    Ok(ENGINES
        .iter()
        .filter(|(name, _)| names.is_empty() || names.iter().any(|wanted| wanted == name))
        .map(|(_, make)| make())
        .collect())
}

fn features(name: &str) -> Result<FeatureSet, String> {
    let kind = CpuKind::ALL.into_iter().find(|kind| kind.name() == name);
    kind.map(|kind| CpuModel::of(kind, 1).features())
        .ok_or_else(|| {
            let known = CpuKind::ALL.map(CpuKind::name);
            format!(
                "there is no processor '{name}'; there are: {}",
                known.join(", ")
            )
        })
}

fn run(arguments: &Arguments) -> Result<bool, String> {
    let started = Instant::now();
    let limit = arguments.minutes.map(|m| Duration::from_secs_f64(m * 60.0));
    let mut summary = fidelity::Summary::default();
    let mut stop = false;
    for seed in arguments.seed..arguments.seed + arguments.seeds {
        let mut tester = Tester::new(Options {
            seed,
            features: features(&arguments.cpu)?,
            engines: engines(&arguments.engine)?,
        })?;
        println!("seed {seed}");
        let report = |tester: &mut Tester, mismatch: Mismatch| {
            let command = format!(
                "cargo xtask soak silicon --seed {seed} --only {} --engine {}",
                mismatch.index, mismatch.engine
            );
            eprintln!("shrinking: {command}");
            if arguments.whole {
                let Mismatch {
                    sequence, lines, ..
                } = &mismatch;
                println!("{}", describe(sequence, lines, mismatch.engine, &command));
                return;
            }
            match shrink(tester, &mismatch) {
                Ok((sequence, lines)) => {
                    println!("{}", describe(&sequence, &lines, mismatch.engine, &command));
                }
                Err(error) => println!("{command}\n  {error}"),
            }
        };
        let slots = SLOTS as u64;
        let (mut at, to) = match arguments.only {
            Some(index) => (index / slots * slots, index + 1),
            None => (0, arguments.sequences),
        };
        while at < to && !stop {
            let count = slots.min(to - at) as usize;
            let only = arguments.only;
            tester.batch(at, count, &mut |tester, mismatch| {
                if only.is_none_or(|only| only == mismatch.index) {
                    report(tester, mismatch);
                }
            })?;
            at += slots;
            stop = limit.is_some_and(|limit| started.elapsed() > limit)
                || summary.counts.mismatches + tester.counts.mismatches >= arguments.mismatches;
        }
        summary.add(seed, &tester);
        if stop {
            break;
        }
    }
    print!("{}", summary.text());
    if arguments.table {
        print!("\n{}", summary.table());
    }
    if arguments.bless {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/fidelity.md");
        summary
            .write(&path)
            .map_err(|error| format!("docs/fidelity.md cannot be written: {error}"))?;
    }
    let seconds = started.elapsed().as_secs_f64();
    eprintln!(
        "{seconds:.1} s, {:.0} sequences per second",
        summary.counts.drawn as f64 / seconds
    );
    Ok(summary.counts.mismatches == 0)
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("silicon: {error}");
            ExitCode::from(2)
        }
    }
}
