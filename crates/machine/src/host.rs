//! What a host program needs besides [`Machine::run`]: to look up now and then, also when the guest
//! has nothing to do, and numbers to show.

use crate::machine::{Machine, Stop};

/// Counts of the machine's work. They never influence the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Statistics {
    /// Lookups that the software TLBs could not answer: page walks.
    pub tlb_fills: u64,
    /// Whole address spaces thrown out of the TLBs.
    pub tlb_flushes: u64,
    /// Single pages thrown out of the TLBs.
    pub tlb_page_flushes: u64,
    /// Blocks of guest code translated to micro-ops.
    pub blocks_translated: u64,
    /// Blocks dropped because their code was overwritten.
    pub blocks_invalidated: u64,
    /// Lookups of blocks that went past the fetch caches.
    pub block_lookups: u64,
}

impl Machine {
    /// Runs for about `budget` instructions (fewer if they are costly ones), or until something must be
    /// looked at, or until virtual time has skipped over a pause in which every processor waited. `None` means that there is no
    /// reason not to go on at once.
    ///
    /// `limit` is as for [`Machine::run`]; `budget` ends nothing early and changes nothing.
    pub fn run_briefly(&mut self, limit: u64, budget: u64) -> Option<Stop> {
        let until = match self.breath() {
            Some(until) => until,
            None => self.instructions.saturating_add(budget),
        };
        loop {
            if let Some(stop) = self.pending_stop(limit) {
                return Some(stop);
            }
            let before = self.instructions;
            if let Some(stop) = self.round(limit) {
                return Some(stop);
            }
            let (idle, done) = (self.instructions == before, self.instructions >= until);
            if let Some(round) = &mut self.round
                && round.breath.is_some()
            {
                round.breath = Some(until);
                return self.pending_stop(limit);
            }
            if idle || done {
                // Output of this round counts before the pause does.
                return self.pending_stop(limit);
            }
        }
    }

    /// Whether this is a moment for input. In the middle of a turn it is not: where a turn is
    /// interrupted depends on what is cached, which the guest must not see.
    pub fn takes_input(&self) -> bool {
        self.breath().is_none()
    }

    fn breath(&self) -> Option<u64> {
        self.round.as_ref().and_then(|round| round.breath)
    }

    /// Whether the guest expects input on the serial port. What arrives earlier is lost with most
    /// drivers.
    pub fn serial_is_listening(&self) -> bool {
        self.chipset.devices.uart.is_listening()
    }

    /// Counts of the machine's work so far.
    pub fn statistics(&self) -> Statistics {
        let store = self.store.counters;
        let mut statistics = Statistics {
            blocks_translated: store.translated,
            blocks_invalidated: store.invalidated,
            block_lookups: store.lookups,
            ..Statistics::default()
        };
        for tlb in &self.tlbs {
            statistics.tlb_fills += tlb.counters.fills;
            statistics.tlb_flushes += tlb.counters.flushes;
            statistics.tlb_page_flushes += tlb.counters.page_flushes;
        }
        statistics
    }
}
