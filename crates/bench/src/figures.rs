//! What was measured, and how it is shown.

use crate::console::Sample;
use crate::memory::Resident;
use crate::processes::Whole;
use serde::Serialize;
use std::fmt::Write as _;

/// The middle of some numbers (the mean of the two in the middle of an even count).
pub fn median(numbers: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = numbers.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The number whose logarithm is the mean of the numbers' logarithms.
pub fn geometric_mean(numbers: &[f64]) -> Option<f64> {
    let sum: f64 = numbers.iter().map(|number| number.ln()).sum();
    (!numbers.is_empty()).then(|| (sum / numbers.len() as f64).exp())
}

/// A program's row.
#[derive(Clone, Debug, Serialize)]
pub struct ProgramRow {
    /// Its name.
    pub name: String,
    /// The line the guest was given.
    pub command: String,
    /// Whether it keeps two processors busy by turns.
    pub two_processors: bool,
    /// Ring3's samples.
    pub ring3: Vec<Sample>,
    /// QEMU's.
    pub qemu: Vec<Sample>,
}

/// A boot's row.
#[derive(Clone, Debug, Serialize)]
pub struct BootRow {
    /// What is booted how.
    pub name: String,
    /// Samples.
    pub runs: Vec<Whole>,
    /// Guest instructions, if they are counted.
    pub instructions: Option<u64>,
}

/// A row of whole processes.
#[derive(Clone, Debug, Serialize)]
pub struct StartRow {
    /// What is started.
    pub name: String,
    /// Samples.
    pub runs: Vec<Whole>,
}

/// A row about resident memory.
#[derive(Clone, Debug, Serialize)]
pub struct MemoryRow {
    /// During what.
    pub name: String,
    /// The highest values.
    pub resident: Resident,
}

/// Everything.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// This computer's processor.
    pub host: String,
    /// The guest's kernel.
    pub kernel: String,
    /// QEMU's version, if it was measured, and the processor it emulated.
    pub qemu: Option<String>,
    /// Programs.
    pub programs: Vec<ProgramRow>,
    /// Boots.
    pub boots: Vec<BootRow>,
    /// Starts of `ring3 run`.
    pub starts: Vec<StartRow>,
    /// Memory.
    pub memory: Vec<MemoryRow>,
}

fn seconds(samples: &[Sample]) -> Option<f64> {
    median(samples.iter().map(|sample| sample.cpu_seconds))
}

impl ProgramRow {
    /// Ring3's processor seconds over QEMU's.
    pub fn ratio(&self) -> Option<f64> {
        Some(seconds(&self.ring3)? / seconds(&self.qemu)?)
    }

    /// Ring3's million guest instructions per processor second.
    pub fn mips(&self) -> Option<f64> {
        median(
            self.ring3
                .iter()
                .filter_map(|sample| Some(sample.instructions? as f64 / sample.cpu_seconds / 1e6)),
        )
    }

    fn difference(&self) -> Option<String> {
        let all = || self.ring3.iter().chain(&self.qemu);
        let first = &all().next()?.checksum;
        let other = all().find(|sample| sample.checksum != *first)?;
        Some(format!("{}: {} and {}", self.name, first, other.checksum))
    }
}

fn cell(number: Option<f64>, digits: usize) -> String {
    number.map_or_else(|| "-".into(), |number| format!("{number:.digits$}"))
}

/// A number of bytes in MiB.
fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

impl Figures {
    /// The rows whose results differ between runs.
    pub fn differences(&self) -> Vec<String> {
        self.programs
            .iter()
            .filter_map(ProgramRow::difference)
            .collect()
    }

    /// The geometric mean of the ratios of those programs.
    fn mean_ratio(&self, which: impl Fn(&ProgramRow) -> bool) -> Option<f64> {
        let rows = self.programs.iter().filter(|row| which(row));
        let ratios: Vec<f64> = rows.filter_map(ProgramRow::ratio).collect();
        geometric_mean(&ratios)
    }

    /// As text that can be pasted into a page.
    pub fn table(&self) -> String {
        let mut text = String::from("```text\n");
        let _ = writeln!(text, "host    {}", self.host);
        let _ = writeln!(text, "guest   Linux {}", self.kernel);
        if let Some(qemu) = &self.qemu {
            let _ = writeln!(text, "beside  {qemu}");
        }
        if !self.programs.is_empty() {
            let _ = writeln!(
                text,
                "\n{:<12}{:>10}{:>10}{:>9}{:>13}",
                "program", "Ring3 s", "QEMU s", "ratio", "Ring3 MIPS"
            );
            for row in &self.programs {
                let _ = writeln!(
                    text,
                    "{:<12}{:>10}{:>10}{:>9}{:>13}",
                    row.name,
                    cell(seconds(&row.ring3), 3),
                    cell(seconds(&row.qemu), 3),
                    cell(row.ratio(), 2),
                    cell(row.mips(), 1)
                );
            }
            let means = [
                (
                    "geometric mean, one processor",
                    self.mean_ratio(|row| !row.two_processors),
                ),
                (
                    "geometric mean, two processors",
                    self.mean_ratio(|row| row.two_processors),
                ),
                ("geometric mean of all", self.mean_ratio(|_| true)),
            ];
            for (name, mean) in means {
                if let Some(mean) = mean {
                    let _ = writeln!(text, "{name:<32}{mean:>9.2}");
                }
            }
        }
        if !self.boots.is_empty() {
            let _ = writeln!(
                text,
                "\n{:<44}{:>9}{:>15}{:>9}",
                "boot", "CPU s", "million instr.", "MIPS"
            );
            for row in &self.boots {
                let cpu = median(row.runs.iter().map(|run| run.cpu_seconds));
                let count = row.instructions.map(|count| count as f64 / 1e6);
                let mips = count.zip(cpu).map(|(count, cpu)| count / cpu);
                let _ = writeln!(
                    text,
                    "{:<44}{:>9}{:>15}{:>9}",
                    row.name,
                    cell(cpu, 3),
                    cell(count, 1),
                    cell(mips, 1)
                );
            }
        }
        if !self.starts.is_empty() {
            let _ = writeln!(text, "\n{:<44}{:>9}{:>9}", "start", "wall s", "CPU s");
            for row in &self.starts {
                let _ = writeln!(
                    text,
                    "{:<44}{:>9}{:>9}",
                    row.name,
                    cell(median(row.runs.iter().map(|run| run.wall_seconds)), 3),
                    cell(median(row.runs.iter().map(|run| run.cpu_seconds)), 3)
                );
            }
        }
        if !self.memory.is_empty() {
            let _ = writeln!(
                text,
                "\n{:<44}{:>14}{:>12}",
                "memory, MiB", "guest touched", "beside it"
            );
            for row in &self.memory {
                let _ = writeln!(
                    text,
                    "{:<44}{:>14}{:>12}",
                    row.name,
                    mebibytes(row.resident.guest_bytes),
                    mebibytes(row.resident.own_bytes)
                );
            }
        }
        text += "```\n";
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cpu_seconds: f64, instructions: Option<u64>, checksum: &str) -> Sample {
        Sample {
            cpu_seconds,
            instructions,
            checksum: checksum.into(),
        }
    }

    fn row(name: &str, ours: f64, theirs: f64, checksum: &str) -> ProgramRow {
        ProgramRow {
            name: name.into(),
            command: name.into(),
            two_processors: name == "b",
            ring3: vec![sample(ours, Some(100_000_000), "1")],
            qemu: vec![sample(theirs, None, checksum)],
        }
    }

    #[test]
    fn medians() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 100.0]), Some(3.0));
    }

    #[test]
    fn the_mean_of_ratios_is_geometric() {
        let figures = Figures {
            programs: vec![row("a", 2.0, 1.0, "1"), row("b", 1.0, 8.0, "1")],
            ..Figures::default()
        };
        let is = |mean: Option<f64>, wanted: f64| (mean.unwrap() - wanted).abs() < 1e-12;
        assert!(is(figures.mean_ratio(|_| true), 0.5));
        assert!(is(figures.mean_ratio(|row| row.two_processors), 0.125));
        assert_eq!(figures.programs[0].mips(), Some(50.0));
        assert_eq!(geometric_mean(&[]), None);
    }

    #[test]
    fn different_results_are_named() {
        let figures = Figures {
            programs: vec![row("a", 2.0, 1.0, "1"), row("b", 1.0, 8.0, "2")],
            ..Figures::default()
        };
        assert_eq!(figures.differences(), ["b: 1 and 2"]);
    }

    #[test]
    fn what_was_not_measured_is_a_dash() {
        let mut alone = row("alone", 2.0, 1.0, "1");
        alone.qemu.clear();
        let figures = Figures {
            programs: vec![alone],
            ..Figures::default()
        };
        let table = figures.table();
        let line = table
            .lines()
            .find(|line| line.starts_with("alone"))
            .unwrap();
        let cells: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(cells, ["alone", "2.000", "-", "-", "50.0"]);
        assert!(!table.contains("mean"));
    }
}
