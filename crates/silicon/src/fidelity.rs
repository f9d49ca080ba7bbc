//! Figures of a run, and their place in `docs/fidelity.md`.

use crate::catalogue::{Catalogue, SIZES};
use crate::coverage::Coverage;
use crate::left_out::LEFT_OUT;
use crate::state::End;
use crate::tester::{Counts, Tester};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

/// What one or several seeds came to.
#[derive(Default)]
pub struct Summary {
    /// Sums.
    pub counts: Counts,
    seeds: Option<(u64, u64)>,
    seen: Option<Seen>,
}

struct Seen {
    catalogue: Catalogue,
    coverage: Coverage,
    sixteen_bits: bool,
    vendor: String,
}

/// Where the figures stand in the page.
const BEGIN: &str = "<!-- figures: cargo xtask soak silicon --bless -->";
const END_OF_FIGURES: &str = "<!-- end of figures -->";

impl Summary {
    /// Adds what a tester has counted.
    pub fn add(&mut self, seed: u64, tester: &Tester) {
        let (first, _) = self.seeds.unwrap_or((seed, seed));
        self.seeds = Some((first, seed));
        let (sum, more) = (&mut self.counts, &tester.counts);
        sum.drawn += more.drawn;
        sum.compared += more.compared;
        sum.faulted += more.faulted;
        sum.open += more.open;
        sum.unbounded += more.unbounded;
        sum.instructions += more.instructions;
        sum.mismatches += more.mismatches;
        for (vector, count) in &more.vectors {
            *sum.vectors.entry(*vector).or_default() += count;
        }
        for (reason, count) in &more.set_aside {
            *sum.set_aside.entry(reason).or_default() += count;
        }
        match &mut self.seen {
            Some(seen) => seen.coverage.add(&tester.coverage),
            None => {
                let catalogue = tester.catalogue.clone();
                let mut coverage = Coverage::new(&catalogue);
                coverage.add(&tester.coverage);
                self.seen = Some(Seen {
                    catalogue,
                    coverage,
                    sixteen_bits: tester.has_16_bit_code(),
                    vendor: crate::catalogue::host_vendor(),
                });
            }
        }
    }

    /// Encodings that were never executed.
    pub fn missing(&self) -> Vec<String> {
        self.seen
            .as_ref()
            .map(|seen| seen.coverage.missing(&seen.catalogue))
            .unwrap_or_default()
    }

    /// The figures.
    pub fn text(&self) -> String {
        let counts = &self.counts;
        let mut text = String::new();
        let Some(seen) = &self.seen else {
            return text;
        };
        let (first, last) = self.seeds.unwrap_or_default();
        let _ = writeln!(text, "seeds {first} to {last}, host {}", seen.vendor);
        let _ = writeln!(
            text,
            "{} sequences compared, {} mismatches; {} of them ended with an exception, in {} something was left open",
            counts.compared, counts.mismatches, counts.faulted, counts.open
        );
        let vectors: Vec<String> = counts
            .vectors
            .iter()
            .map(|(vector, count)| {
                let end = End {
                    exception: u32::from(*vector) + 1,
                    ..End::default()
                };
                format!("{} {count}", end.name())
            })
            .collect();
        let _ = writeln!(text, "exceptions: {}", vectors.join(", "));
        let aside: u64 = counts.set_aside.values().sum();
        let _ = writeln!(
            text,
            "{} drawn, of which {} were too long to compare and {aside} set aside because something open was read:",
            counts.drawn, counts.unbounded
        );
        for (source, count) in &counts.set_aside {
            let _ = writeln!(text, "  {count} {source}");
        }
        let _ = writeln!(text, "{} instructions executed", counts.instructions);
        if !seen.sixteen_bits {
            let _ = writeln!(text, "no 16-bit code: the host's kernel does not allow it");
        }
        for size in SIZES {
            let count = seen.catalogue.of(size).entries.len();
            let _ = writeln!(text, "{count} encodings of {}-bit code", size.bits());
        }
        let _ = writeln!(
            text,
            "{} encodings skipped that the host lacks: {}",
            seen.catalogue.skipped.len(),
            names(
                seen.catalogue
                    .skipped
                    .iter()
                    .map(|(_, code)| format!("{:?}", code.mnemonic()))
            )
        );
        let mut reasons: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (_, code, reason) in &seen.catalogue.left_out {
            let name = format!("{:?}", code.mnemonic());
            reasons.entry(reason).or_default().insert(name);
        }
        let _ = writeln!(text, "{} encodings left out", seen.catalogue.left_out.len());
        for (reason, mnemonics) in reasons {
            let source = LEFT_OUT
                .iter()
                .find(|row| row.reason == reason)
                .map_or("", |row| row.source);
            let _ = writeln!(text, "  {reason} ({source}): {}", names(mnemonics));
        }
        let missing = self.missing();
        let _ = writeln!(
            text,
            "{} encodings never executed: {}",
            missing.len(),
            names(missing.iter().cloned())
        );
        let never = seen.coverage.never_completed(&seen.catalogue);
        let _ = writeln!(
            text,
            "{} unprivileged encodings that only raised exceptions: {}",
            never.len(),
            names(never.iter().cloned())
        );
        text
    }

    /// The coverage table.
    pub fn table(&self) -> String {
        self.seen
            .as_ref()
            .map(|seen| seen.coverage.table(&seen.catalogue))
            .unwrap_or_default()
    }

    /// Replaces the figures in the page.
    ///
    /// # Errors
    /// Reading or writing fails, or the page has no place for them.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let page = std::fs::read_to_string(path)?;
        let place = page
            .split_once(BEGIN)
            .and_then(|(before, rest)| Some((before, rest.split_once(END_OF_FIGURES)?.1)));
        let Some((before, after)) = place else {
            return Err(std::io::Error::other("the page has no place for figures"));
        };
        let text = format!(
            "{before}{BEGIN}\n```text\n{}```\n\nExecutions of each encoding: without, and (after the plus) with an exception.\n\n```text\n{}```\n{END_OF_FIGURES}{after}",
            self.text(),
            self.table()
        );
        std::fs::write(path, text)
    }
}

fn names(names: impl IntoIterator<Item = String>) -> String {
    let names: BTreeSet<String> = names.into_iter().collect();
    if names.is_empty() {
        return "none".into();
    }
    const SHOWN: usize = 40;
    let mut text = names
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(" ");
    if names.len() > SHOWN {
        let _ = write!(text, " and {} more", names.len() - SHOWN);
    }
    text
}
