//! What the guest did that a person would want to know.

use std::collections::BTreeMap;

/// Warnings, each kept once with how often it came.
#[derive(Clone, Debug, Default)]
pub struct Warnings {
    seen: BTreeMap<String, u64>,
    fresh: Vec<String>,
}

/// Different warnings kept; a hostile guest cannot grow the list further.
const WARNINGS_MAX: usize = 1000;

impl Warnings {
    /// Takes note of a warning.
    pub fn add(&mut self, text: String) {
        if let Some(count) = self.seen.get_mut(&text) {
            *count += 1;
        } else if self.seen.len() < WARNINGS_MAX {
            self.fresh.push(text.clone());
            self.seen.insert(text, 1);
        }
    }

    /// The warnings that came for the first time since this was last asked.
    pub fn take_fresh(&mut self) -> Vec<String> {
        std::mem::take(&mut self.fresh)
    }

    /// Every warning and how often it came.
    pub fn all(&self) -> &BTreeMap<String, u64> {
        &self.seen
    }
}
