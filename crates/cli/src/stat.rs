//! `ring3 stat`: a program on the timing engine, and what was counted.

use crate::failure::{Failure, Result};
use crate::machine_options::Engine;
use crate::timing::Report;
use crate::{console, run};
use clap::{Args, ValueEnum};
use ring3_timing::{Counters, Statistic};
use ring3_uintr::Step;
use std::path::PathBuf;
use std::time::Instant;

/// Runs a program on a modelled processor and shows where its cycles went
///
/// The program runs as with `ring3 run`, on the timing engine. At its end, on standard error or in a
/// file: cycles, instructions, the top-down breakdown of the rename slots, and every counter with its
/// unit and what it means, for each logical processor and for all together.
#[derive(Args, Clone, Debug)]
#[group(id = "stat")]
pub struct Options {
    /// How to show it
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text, help_heading = "Reports")]
    pub format: Format,

    /// Write it to FILE instead of standard error
    #[arg(long, short, value_name = "FILE", help_heading = "Reports")]
    pub output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) run: run::Options,
}

/// How to show statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people
    Text,
    /// One object, by name
    Json,
    /// One line per counter: name, value, unit, sentence
    Csv,
}

/// Does it; the exit status is the program's.
///
/// # Errors
/// What the exit status table calls a failure.
pub fn execute(options: &Options, began: Instant) -> Result<u8> {
    let mut run_options = options.run.clone();
    run_options.machine.engine = Engine::Timing;
    run::execute_and_report(&run_options, began, &mut |report| {
        let text = render(report, options.format);
        match &options.output {
            Some(path) => std::fs::write(path, text)
                .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display()))),
            None => {
                console::plain(&text);
                Ok(())
            }
        }
    })
}

fn all_lines(counters: &[Counters]) -> Vec<Statistic> {
    let mut lines = Vec::new();
    if let Some((first, rest)) = counters.split_first()
        && !rest.is_empty()
    {
        let mut all = rest.iter().fold(*first, |sum, part| sum.plus(part));
        // Time passes for all of them at once; slots are everybody's.
        all.cycles = counters.iter().map(|c| c.cycles).sum();
        lines.extend(all.list("all."));
    }
    for (n, counters) in counters.iter().enumerate() {
        lines.extend(counters.list(&format!("cpu{n}.")));
    }
    lines
}

/// How long each step of a user interrupt took on average: from the end of the step before it on the
/// same processor.
fn step_lines(steps: &[(u32, u64, Step)]) -> Vec<Statistic> {
    let mut lines = Vec::new();
    for step in Step::ALL {
        let mut spans = Vec::new();
        for (n, &(cpu, cycle, this)) in steps.iter().enumerate() {
            let before = steps[..n].iter().rev().find(|(other, ..)| *other == cpu);
            if this == step
                && let Some(&(_, earlier, previous)) = before
                && previous < step
            {
                spans.push(cycle - earlier);
            }
        }
        if !spans.is_empty() {
            lines.push(Statistic {
                name: format!("uintr.{}", step.name().replace(' ', "_").to_lowercase()),
                value: spans.iter().sum::<u64>() as f64 / spans.len() as f64,
                unit: "cycles",
                sentence: "Mean time of this step of a user interrupt, from the end of the step before it.",
            });
        }
    }
    lines
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

fn render(report: &Report, format: Format) -> String {
    let mut lines = all_lines(&report.counters);
    lines.extend(step_lines(&report.steps));
    match format {
        Format::Text => {
            let mut text = format!("machine {}\n", report.machine);
            if lines.is_empty() {
                text.push_str("the region of interest was never entered\n");
            }
            for line in lines {
                let value = number(line.value);
                let (name, unit, sentence) = (line.name, line.unit, line.sentence);
                text.push_str(&format!("{name:32} {value:>14} {unit:26} {sentence}\n"));
            }
            text
        }
        Format::Csv => {
            let mut text = String::from("name,value,unit,sentence\n");
            for line in lines {
                let (name, unit, sentence) = (line.name, line.unit, line.sentence);
                text.push_str(&format!("{name},{},{unit},\"{sentence}\"\n", line.value));
            }
            text
        }
        Format::Json => {
            let statistics: serde_json::Map<String, serde_json::Value> = lines
                .into_iter()
                .map(|line| {
                    let value = serde_json::json!({
                        "value": line.value,
                        "unit": line.unit,
                        "sentence": line.sentence,
                    });
                    (line.name, value)
                })
                .collect();
            let all = serde_json::json!({ "machine": report.machine, "statistics": statistics });
            format!("{all:#}\n")
        }
    }
}
