//! What `--stats` shows.

use crate::failure::{Failure, Result};
use crate::machine_options::MachineOptions;
use crate::{console, size};
use ring3_machine::{Machine, Statistics};
use serde::Serialize;
use std::time::{Duration, Instant};

/// The program in the guest, as the guest accounts for it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ProgramReport {
    /// Microseconds of guest time in user mode.
    pub user_micros: u64,
    /// Microseconds of guest time in the kernel.
    pub system_micros: u64,
    /// Most memory it had at once.
    pub resident_bytes: u64,
}

/// What depends only on what was run and how.
#[derive(Debug, Serialize)]
struct RunReport {
    /// `None` while it still runs.
    exit_status: Option<u8>,
    engine: &'static str,
    cpus: u32,
    /// Which processor.
    cpu: &'static str,
    memory_bytes: u64,
    seed: u64,
    /// Instructions of all processors.
    instructions: u64,
    /// Virtual time that passed, pauses included.
    simulated_nanos: u64,
    /// Instructions before the counting began: the guest's start.
    instructions_before: u64,
    #[serde(flatten)]
    statistics: Statistics,
    /// Different oddities that the machine noticed.
    warnings: u64,
    program: Option<ProgramReport>,
}

/// What depends on this computer.
#[derive(Debug, Serialize)]
struct HostReport {
    /// Seconds in which the machine ran or waited.
    seconds: f64,
    /// Seconds from the beginning of ring3.
    seconds_in_all: f64,
    /// Million guest instructions per second.
    mips: f64,
    /// Whether the guest's start was skipped.
    from_snapshot: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Report {
    run: RunReport,
    host: HostReport,
}

/// Counts from a certain moment on.
pub struct Meter {
    began: Instant,
    started: Instant,
    waited: Duration,
    instructions: u64,
    ticks: ring3_clock::Ticks,
    statistics: Statistics,
    /// Whether the guest's start was skipped; `None` where there is no choice.
    pub from_snapshot: Option<bool>,
}

impl Meter {
    /// Counts from now on; ring3 itself `began` earlier.
    pub fn start(machine: &Machine, began: Instant) -> Meter {
        Meter {
            began,
            started: Instant::now(),
            waited: Duration::ZERO,
            instructions: machine.instructions(),
            ticks: machine.now(),
            statistics: machine.statistics(),
            from_snapshot: None,
        }
    }

    /// The machine had to wait for a person.
    pub fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// Shows what was counted, if that is wanted.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn report(
        &self,
        options: &MachineOptions,
        machine: &mut Machine,
        exit_status: u8,
        program: Option<ProgramReport>,
    ) -> Result<()> {
        if !options.wants_statistics() {
            return Ok(());
        }
        self.show(options, machine, Some(exit_status), program)
    }

    /// Shows what was counted so far, because somebody asked.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn report_so_far(&self, options: &MachineOptions, machine: &mut Machine) -> Result<()> {
        self.show(options, machine, None, None)
    }

    fn show(
        &self,
        options: &MachineOptions,
        machine: &mut Machine,
        exit_status: Option<u8>,
        program: Option<ProgramReport>,
    ) -> Result<()> {
        let seconds = self.started.elapsed().as_secs_f64();
        let instructions = machine.instructions() - self.instructions;
        let working = seconds - self.waited.as_secs_f64();
        let report = Report {
            run: RunReport {
                exit_status,
                engine: options.engine.name(),
                cpus: machine.config().cpus,
                cpu: machine.config().cpu.name(),
                memory_bytes: machine.config().memory_bytes,
                seed: machine.config().seed,
                instructions,
                simulated_nanos: machine.now().saturating_sub(self.ticks).as_nanos(),
                instructions_before: self.instructions,
                statistics: since(machine.statistics(), self.statistics),
                warnings: machine.warnings().all().len() as u64,
                program,
            },
            host: HostReport {
                seconds,
                seconds_in_all: self.began.elapsed().as_secs_f64(),
                mips: if working > 0.0 {
                    instructions as f64 / working / 1e6
                } else {
                    0.0
                },
                from_snapshot: self.from_snapshot,
            },
        };
        let text = match options.json {
            true => {
                let mut line =
                    serde_json::to_string(&report).expect("numbers and words are always JSON");
                line.push('\n');
                line
            }
            false => report.text(),
        };
        match &options.stats_file {
            Some(path) => std::fs::write(path, text)
                .map_err(|error| Failure::file("write the statistics to", path, &error)),
            None => {
                console::plain(&text);
                Ok(())
            }
        }
    }
}

/// The difference of two counts.
fn since(now: Statistics, then: Statistics) -> Statistics {
    Statistics {
        tlb_fills: now.tlb_fills - then.tlb_fills,
        tlb_flushes: now.tlb_flushes - then.tlb_flushes,
        tlb_page_flushes: now.tlb_page_flushes - then.tlb_page_flushes,
        blocks_translated: now.blocks_translated - then.blocks_translated,
        blocks_invalidated: now.blocks_invalidated - then.blocks_invalidated,
        block_lookups: now.block_lookups - then.block_lookups,
    }
}

impl Report {
    fn text(&self) -> String {
        let Report { run, host } = self;
        let counted = &run.statistics;
        let row = |name: &str, value: String| format!("  {name:<22}{value}\n");
        let mut text = String::from("ring3 statistics\n");
        text += &row(
            "machine",
            format!(
                "{} {} processor{}, {}, engine {}, seed {}",
                run.cpus,
                run.cpu,
                if run.cpus == 1 { "" } else { "s" },
                size::memory(run.memory_bytes),
                run.engine,
                run.seed
            ),
        );
        text += &row(
            "exit status",
            match run.exit_status {
                Some(status) => status.to_string(),
                None => "none yet".into(),
            },
        );
        let before = match (run.instructions_before, host.from_snapshot) {
            (0, _) => String::new(),
            (count, Some(true)) => format!(" (and {} kept in a snapshot)", grouped(count)),
            (count, _) => format!(" (and {} for the guest's start)", grouped(count)),
        };
        text += &row(
            "instructions",
            format!("{}{before}", grouped(run.instructions)),
        );
        text += &row(
            "simulated time",
            format!("{:.6} s", run.simulated_nanos as f64 / 1e9),
        );
        text += &row(
            "host time",
            format!("{:.3} s, {:.1} MIPS", host.seconds, host.mips),
        );
        text += &row(
            "TLB",
            format!(
                "{} fills, {} flushes, {} page flushes",
                grouped(counted.tlb_fills),
                grouped(counted.tlb_flushes),
                grouped(counted.tlb_page_flushes)
            ),
        );
        text += &row(
            "blocks",
            format!(
                "{} translated, {} invalidated, {} lookups",
                grouped(counted.blocks_translated),
                grouped(counted.blocks_invalidated),
                grouped(counted.block_lookups)
            ),
        );
        if let Some(program) = run.program {
            text += &row(
                "program",
                format!(
                    "{:.6} s user, {:.6} s system (guest time), {} resident",
                    program.user_micros as f64 / 1e6,
                    program.system_micros as f64 / 1e6,
                    size::memory(program.resident_bytes)
                ),
            );
        }
        if run.warnings > 0 {
            text += &row(
                "oddities",
                format!("{} (shown with --verbose)", run.warnings),
            );
        }
        text
    }
}

/// A number with its thousands apart: `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
