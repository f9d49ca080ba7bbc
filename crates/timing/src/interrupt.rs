//! How an interrupt meets the window.
//!
//! * **flush**: what has not retired is squashed, to be fetched and executed again later.
//! * **drain**: what is in flight goes on to its end; fetch stops.
//! * **tracked**: the entry is injected at the fetch point; nothing is squashed and nothing waits,
//!   unless fetch is on a wrong path: then what was injected is squashed with it, and injected again
//!   where fetch goes on.
//!
//! What this costs follows from what is in the window. The description adds what entry to microcode
//! itself takes.

use crate::event::{Event, InterruptStep, Probe};
use crate::speculative_memory::SpeculativeMemory;
use crate::statistics::Stall;
use crate::store_queue::UNKNOWN;
use crate::thread::{Parts, Thread};
use ring3_arch::rflags;
use ring3_cpu::{Cpu, Shadow};

/// See [`crate::parameters::POLICIES`].
const FLUSH: u64 = 0;
const DRAIN: u64 = 1;

impl Thread {
    /// Whether what waits at the pins would be taken now.
    #[inline]
    pub(crate) fn is_wanted(&self, cpu: &Cpu) -> bool {
        let signals = &self.signals;
        (signals.interrupt && cpu.has_flag(rflags::IF) && cpu.shadow == Shadow::None)
            || (signals.nmi && !cpu.nmi_blocked)
            || signals.init
    }

    /// Makes a boundary out of the middle of everything, as the policy says; what happens there is
    /// looked at next.
    #[cold]
    pub(crate) fn meet_interrupt<P: Probe>(
        &mut self,
        cpu: &mut Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
    ) {
        let at = self.signal_cycle.max(self.boundary_cycle);
        self.counters.interrupts += 1;
        parts.probe.event(
            self.index,
            self.signal_cycle,
            Event::Conventional(InterruptStep::Raised),
        );
        let p = parts.parameters;
        self.leave_block(cpu, parts);
        let policy = p.policy;
        if policy == FLUSH {
            let oldest = self.window.find(|record| record.retires > at);
            let squashed = match oldest {
                Some((number, record)) => {
                    let squashed = self.roll_back(cpu, m, parts, &record.point, number, at);
                    cpu.set_rip(record.point.rip);
                    squashed
                }
                None => 0,
            };
            // Whatever was pending was younger than the oldest that had not retired.
            self.squashes.clear();
            self.find_next_squash(m);
            self.counters.interrupt_squashed += squashed;
            parts
                .probe
                .event(self.index, at, Event::Squashed(squashed as u32));
            let width = p.squash_width;
            let undoing = if width == 0 {
                0
            } else {
                squashed.div_ceil(width)
            };
            self.restart_clock(at.max(self.window.retired()) + undoing);
            self.entry = Some(p.interrupt_entry);
        } else {
            // What would have been dispatched later has not been yet.
            if let Some((number, record)) = self.window.find(|record| record.dispatched > at) {
                self.roll_back(cpu, m, parts, &record.point, number, at);
                cpu.set_rip(record.point.rip);
                self.squashes.retain(|squash| squash.record <= number);
                self.find_next_squash(m);
            }
            let mut start = at;
            let injected = self.on_wrong_path();
            while self.on_wrong_path() {
                start = start.max(self.squash_cycle);
                self.squash(cpu, m, parts);
            }
            if policy == DRAIN {
                let empty = self.window.retired().max(start);
                self.counters.interrupt_wait += empty - at;
                self.restart_clock(empty);
                self.entry = Some(p.interrupt_entry);
            } else {
                self.counters.reinjected += u64::from(injected);
                self.restart_clock(start);
                self.entry = Some(p.tracked_entry);
            }
        }
        if cfg!(debug_assertions) {
            self.check_precise(m, at, policy);
        }
        self.at_boundary = true;
    }

    /// The next thing happens at `cycle`.
    fn restart_clock(&mut self, cycle: u64) {
        self.clock = cycle;
        self.starved = Stall::Serialise;
        self.fetch.redirect(cycle);
    }

    /// An interrupt is precise if the saved RIP points between two instructions of which all before
    /// have been executed and none after has changed anything (Walker and Cragon, "Interrupt processing
    /// in concurrent processors", 1995, and Smith and Pleszkun before them).
    fn check_precise(&self, m: &SpeculativeMemory<'_, '_>, at: u64, policy: u64) {
        assert!(
            !self.on_wrong_path(),
            "an interrupt is taken on a wrong path"
        );
        assert!(!self.cursor.valid, "RIP points into a block");
        if policy == FLUSH {
            assert!(
                self.window.find(|record| record.retires > at).is_none(),
                "an instruction that has not retired survives the flush"
            );
        }
        let mut stores = m.lane.stores.clone();
        for number in stores.head()..stores.tail() {
            assert!(
                stores.get(number).retires < UNKNOWN,
                "a store of a squashed instruction survives it"
            );
        }
    }
}
