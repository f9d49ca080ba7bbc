//! How often each encoding was executed and compared.
//!
//! Counted is what was executed for certain: the instructions of a sequence up to and with its first
//! branch, or its exception. What follows a branch may have been skipped, and is not counted.

use crate::catalogue::{Catalogue, Kind, SIZES};
use crate::generate::Sequence;
use crate::state::End;
use ring3_isa::forms::iced_x86::FlowControl;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Executions of one encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// That ended with the next instruction.
    pub completed: u64,
    /// That ended with an exception.
    pub faulted: u64,
}

/// Executions of every encoding.
pub struct Coverage {
    counts: Vec<Count>,
}

impl Coverage {
    /// None so far.
    pub fn new(catalogue: &Catalogue) -> Coverage {
        Coverage {
            counts: vec![Count::default(); catalogue.count()],
        }
    }

    /// A sequence was compared, which ended `at` bytes behind its start.
    pub fn note(&mut self, catalogue: &Catalogue, sequence: &Sequence, end: End, at: u64) {
        for item in &sequence.items {
            let number = catalogue.number(sequence.size, item.instruction.code());
            let here = item.at as u64;
            let faulted = end.exception != 0 && here == at;
            if end.exception != 0 && here > at && at < sequence.code.len() as u64 {
                return;
            }
            if let Some(count) = number.and_then(|number| self.counts.get_mut(number as usize)) {
                if faulted {
                    count.faulted += 1;
                } else {
                    count.completed += 1;
                }
            }
            let branches = !matches!(item.instruction.flow_control(), FlowControl::Next);
            if faulted || branches {
                return;
            }
        }
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Coverage) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            count.completed += more.completed;
            count.faulted += more.faulted;
        }
    }

    /// Encodings that were never executed, by name.
    pub fn missing(&self, catalogue: &Catalogue) -> Vec<String> {
        self.names(catalogue, |count, _| count.completed + count.faulted == 0)
    }

    /// Encodings that programs may execute and that never completed.
    pub fn never_completed(&self, catalogue: &Catalogue) -> Vec<String> {
        self.names(catalogue, |count, kind| {
            count.completed == 0 && kind != Kind::Privileged
        })
    }

    fn names(&self, catalogue: &Catalogue, which: impl Fn(Count, Kind) -> bool) -> Vec<String> {
        let mut names = Vec::new();
        for size in SIZES {
            for entry in &catalogue.of(size).entries {
                if which(self.counts[entry.number as usize], entry.kind) {
                    names.push(format!("{:?} ({} bits)", entry.form.code, size.bits()));
                }
            }
        }
        names
    }

    /// The table: a line for each mnemonic, with its encodings and how often each was executed, and
    /// (after a plus) how often it raised an exception, in code of all sizes.
    pub fn table(&self, catalogue: &Catalogue) -> String {
        let mut lines: BTreeMap<String, BTreeMap<String, Count>> = BTreeMap::new();
        for size in SIZES {
            for entry in &catalogue.of(size).entries {
                let count = self.counts[entry.number as usize];
                let mnemonic = format!("{:?}", entry.form.code.mnemonic());
                let name = format!("{:?}", entry.form.code);
                let sum = lines.entry(mnemonic).or_default().entry(name).or_default();
                sum.completed += count.completed;
                sum.faulted += count.faulted;
            }
        }
        let mut text = String::new();
        for (mnemonic, encodings) in lines {
            let _ = write!(text, "{}:", mnemonic.to_uppercase());
            for (name, count) in encodings {
                let _ = write!(text, " {name} {}+{};", count.completed, count.faulted);
            }
            text.pop();
            text.push('\n');
        }
        text
    }
}
