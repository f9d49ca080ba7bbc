//! From a core's first-level caches to DRAM, for all cores: latencies, misses under way, prefetch,
//! coherence.
//!
//! Modelled: private L1I, L1D and L2 (L2 includes both), a shared L3 or none, MESI among the L2s,
//! a limited number of misses per level, a stride prefetcher per load instruction, a next-line
//! prefetcher into L2, DRAM channels with a latency and an occupancy per line. Not modelled: the
//! topology between cores (every transfer takes the same time), bank conflicts, DRAM pages, write-back
//! traffic beyond the channel it occupies.
//!
//! Accesses come in program order of a core, with the cycle at which each of them happens; a later
//! one may happen earlier. Lines carry the cycle at which they arrive.

use crate::cache::{Cache, LINE_SHIFT, Outstanding, Ownership};
use crate::parameters::Parameters;
use crate::statistics::MemoryCounters;

/// Where data came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The first level.
    L1,
    /// The second level.
    L2,
    /// The shared cache.
    L3,
    /// Another core.
    Core,
    /// Memory.
    Dram,
}

/// One instruction's loads, as the stride prefetcher sees them.
#[derive(Clone, Copy, Debug, Default)]
struct Stride {
    pc: u64,
    last: u64,
    stride: i64,
    confidence: u8,
}

/// A core's own caches.
#[derive(Clone, Debug)]
struct Private {
    l1i: Cache,
    l1d: Cache,
    l2: Cache,
    l1_misses: Outstanding,
    l2_misses: Outstanding,
    strides: Vec<Stride>,
    last_miss: u64,
}

/// All caches and DRAM.
#[derive(Clone, Debug)]
pub(crate) struct Hierarchy {
    cores: Vec<Private>,
    l3: Option<Cache>,
    channels: Vec<u64>,
    l1d_latency: u64,
    l2_latency: u64,
    l3_latency: u64,
    dram_latency: u64,
    line_cycles: u64,
    transfer: u64,
    upgrade: u64,
    prefetch_lines: u64,
    /// Per core.
    pub counters: Vec<MemoryCounters>,
}

impl Hierarchy {
    pub fn new(p: &Parameters, cores: usize) -> Hierarchy {
        let private = Private {
            l1i: Cache::new(p.l1i_bytes, p.l1i_ways),
            l1d: Cache::new(p.l1d_bytes, p.l1d_ways),
            l2: Cache::new(p.l2_bytes, p.l2_ways),
            l1_misses: Outstanding::new(p.l1d_misses),
            l2_misses: Outstanding::new(p.l2_misses),
            strides: vec![Stride::default(); p.stride_entries as usize],
            last_miss: 0,
        };
        Hierarchy {
            cores: vec![private; cores],
            l3: (p.l3_bytes > 0).then(|| Cache::new(p.l3_bytes, p.l3_ways)),
            channels: vec![0; p.dram_channels as usize],
            l1d_latency: p.l1d_latency,
            l2_latency: p.l2_latency,
            l3_latency: p.l3_latency,
            dram_latency: p.dram_latency,
            line_cycles: p.dram_line_cycles,
            transfer: p.transfer,
            upgrade: p.upgrade,
            prefetch_lines: p.l2_prefetch_lines,
            counters: vec![MemoryCounters::default(); cores],
        }
    }

    /// A load at cycle `at` by the instruction at `pc`: when its value is there, and from where.
    #[inline]
    pub fn load(&mut self, core: usize, address: u64, pc: u64, at: u64) -> (u64, Level) {
        let line = address >> LINE_SHIFT;
        let private = &mut self.cores[core];
        self.counters[core].loads += 1;
        let result = if let Some(place) = private.l1d.find(line) {
            let found = private.l1d.line(place);
            if found.prefetched {
                found.prefetched = false;
                self.counters[core].prefetches_used += 1;
            }
            let ready = found.ready;
            if ready > at {
                self.counters[core].l1d_late += 1;
                (ready.max(at + self.l1d_latency), Level::L2)
            } else {
                (at + self.l1d_latency, Level::L1)
            }
        } else {
            self.counters[core].l1d_misses += 1;
            let (slot, start) = private.l1_misses.start(at);
            let (ready, level, ownership) = self.second(core, line, start, false);
            let private = &mut self.cores[core];
            private.l1_misses.hold(slot, ready);
            self.fill_first(core, line, ready, ownership, false);
            (ready, level)
        };
        if !self.cores[core].strides.is_empty() {
            self.stride(core, address, pc, at);
        }
        result
    }

    /// A store wants to own its line from cycle `at` on: when it does.
    #[inline]
    pub fn own(&mut self, core: usize, address: u64, at: u64) -> (u64, Level) {
        let line = address >> LINE_SHIFT;
        let private = &mut self.cores[core];
        self.counters[core].stores += 1;
        if let Some(place) = private.l1d.find(line) {
            let found = private.l1d.line(place);
            found.prefetched = false;
            let ready = found.ready.max(at);
            if found.ownership >= Ownership::Exclusive {
                found.ownership = Ownership::Modified;
                return (ready, Level::L1);
            }
        }
        let (slot, start) = private.l1_misses.start(at);
        let (ready, level, _) = self.second(core, line, start, true);
        let private = &mut self.cores[core];
        private.l1_misses.hold(slot, ready);
        match private.l1d.find(line) {
            Some(place) => {
                let found = private.l1d.line(place);
                found.ownership = Ownership::Modified;
                found.ready = found.ready.max(ready);
            }
            None => {
                self.counters[core].l1d_misses += 1;
                self.fill_first(core, line, ready, Ownership::Modified, false);
            }
        }
        (ready, level)
    }

    /// An instruction fetch at cycle `at`: when the line is there.
    #[inline]
    pub fn fetch(&mut self, core: usize, address: u64, at: u64) -> (u64, Level) {
        let line = address >> LINE_SHIFT;
        let private = &mut self.cores[core];
        self.counters[core].fetches += 1;
        if let Some(place) = private.l1i.find(line) {
            return (private.l1i.line(place).ready.max(at), Level::L1);
        }
        self.counters[core].l1i_misses += 1;
        let (ready, level, _) = self.second(core, line, at, false);
        self.cores[core]
            .l1i
            .fill(line, ready, Ownership::Shared, false);
        // The next line comes along, as in every instruction fetch unit of the last decades.
        let next = line + 1;
        if self.cores[core].l1i.peek(next).is_none() && self.cores[core].l2.peek(next).is_some() {
            let (ready, _, _) = self.second(core, next, at, false);
            self.cores[core]
                .l1i
                .fill(next, ready, Ownership::Shared, true);
        }
        (ready, level)
    }

    fn fill_first(
        &mut self,
        core: usize,
        line: u64,
        ready: u64,
        ownership: Ownership,
        prefetched: bool,
    ) {
        let private = &mut self.cores[core];
        if let Some((victim, true)) = private.l1d.fill(line, ready, ownership, prefetched)
            && let Some(place) = private.l2.peek(victim)
        {
            private.l2.line(place).ownership = Ownership::Modified;
        }
    }

    /// Asks the second level, and what is behind it.
    fn second(&mut self, core: usize, line: u64, at: u64, own: bool) -> (u64, Level, Ownership) {
        let private = &mut self.cores[core];
        if let Some(place) = private.l2.find(line) {
            let found = private.l2.line(place);
            if found.prefetched {
                found.prefetched = false;
                self.counters[core].prefetches_used += 1;
            }
            let ready = (at + self.l2_latency).max(found.ready);
            if !own || found.ownership >= Ownership::Exclusive {
                if own {
                    found.ownership = Ownership::Modified;
                }
                let ownership = found.ownership;
                self.next_lines(core, line, at);
                return (ready, Level::L2, ownership);
            }
            // Shared, and wanted alone.
            found.ownership = Ownership::Modified;
            self.counters[core].upgrades += 1;
            let others = self.take_from_others(core, line, true);
            let cost = if others.is_some() {
                self.upgrade
            } else {
                self.l2_latency
            };
            return (at + cost, Level::L2, Ownership::Modified);
        }
        self.counters[core].l2_misses += 1;
        let (slot, start) = private.l2_misses.start(at);
        let (ready, level, ownership) = self.beyond(core, line, start, own);
        self.cores[core].l2_misses.hold(slot, ready);
        self.fill_second(core, line, ready, ownership, false);
        self.next_lines(core, line, at);
        (ready, level, ownership)
    }

    fn fill_second(
        &mut self,
        core: usize,
        line: u64,
        ready: u64,
        ownership: Ownership,
        prefetched: bool,
    ) {
        let private = &mut self.cores[core];
        if let Some((victim, modified)) = private.l2.fill(line, ready, ownership, prefetched) {
            let first = private.l1d.drop_line(victim);
            private.l1i.drop_line(victim);
            if modified || first == Some(true) {
                self.counters[core].write_backs += 1;
                match &mut self.l3 {
                    Some(l3) if l3.peek(victim).is_some() => {}
                    Some(l3) => {
                        if let Some((gone, true)) =
                            l3.fill(victim, ready, Ownership::Modified, false)
                        {
                            self.occupy_channel(gone, ready);
                        }
                    }
                    None => {
                        self.occupy_channel(victim, ready);
                    }
                }
            } else if let Some(l3) = &mut self.l3
                && l3.peek(victim).is_none()
            {
                l3.fill(victim, ready, Ownership::Shared, false);
            }
        }
    }

    fn occupy_channel(&mut self, line: u64, at: u64) -> u64 {
        let count = self.channels.len() as u64;
        let hash = line ^ line >> 7 ^ line >> 15;
        let free = &mut self.channels[(hash % count) as usize];
        let start = at.max(*free);
        *free = start + self.line_cycles;
        start
    }

    /// Other cores give up a line, or share it. `Some(true)` if one had modified it.
    fn take_from_others(&mut self, core: usize, line: u64, own: bool) -> Option<bool> {
        let mut found = None;
        for (n, other) in self.cores.iter_mut().enumerate() {
            if n == core {
                continue;
            }
            let Some(place) = other.l2.peek(line) else {
                continue;
            };
            let first = other.l1d.peek(line);
            let modified = other.l2.line(place).ownership == Ownership::Modified
                || first.is_some_and(|p| other.l1d.line(p).ownership == Ownership::Modified);
            found = Some(modified || found == Some(true));
            if own {
                other.l2.drop_line(line);
                other.l1d.drop_line(line);
                other.l1i.drop_line(line);
                self.counters[n].invalidated += 1;
            } else {
                other.l2.line(place).ownership = Ownership::Shared;
                if let Some(p) = first {
                    other.l1d.line(p).ownership = Ownership::Shared;
                }
            }
        }
        found
    }

    fn beyond(&mut self, core: usize, line: u64, at: u64, own: bool) -> (u64, Level, Ownership) {
        let others = if self.cores.len() > 1 {
            self.take_from_others(core, line, own)
        } else {
            None
        };
        let ownership = match (own, others) {
            (true, _) => Ownership::Modified,
            (false, Some(_)) => Ownership::Shared,
            (false, None) => Ownership::Exclusive,
        };
        if others == Some(true) {
            self.counters[core].transfers += 1;
            return (at + self.transfer, Level::Core, ownership);
        }
        if let Some(l3) = &mut self.l3
            && let Some(place) = l3.find(line)
        {
            let ready = l3.line(place).ready.max(at + self.l3_latency);
            return (ready, Level::L3, ownership);
        }
        if others.is_some() {
            self.counters[core].transfers += 1;
            return (at + self.transfer, Level::Core, ownership);
        }
        self.counters[core].l3_misses += 1;
        let start = self.occupy_channel(line, at);
        (start + self.dram_latency, Level::Dram, ownership)
    }

    /// Prefetches the lines after `line` into L2 when accesses ascend.
    fn next_lines(&mut self, core: usize, line: u64, at: u64) {
        let count = self.prefetch_lines;
        let private = &mut self.cores[core];
        let ascending = line.wrapping_sub(private.last_miss) <= 4;
        private.last_miss = line;
        if count == 0 || !ascending {
            return;
        }
        let page = line >> (12 - LINE_SHIFT);
        for next in line + 1..=line + count {
            let private = &mut self.cores[core];
            if next >> (12 - LINE_SHIFT) != page || !private.l2_misses.has_room(at) {
                break;
            }
            if private.l2.peek(next).is_none() {
                let (slot, _) = private.l2_misses.start(at);
                let (ready, _, ownership) = self.beyond(core, next, at, false);
                self.cores[core].l2_misses.hold(slot, ready);
                self.counters[core].prefetches += 1;
                self.fill_second(core, next, ready, ownership, true);
            }
        }
    }

    /// Learns the stride of the loads at `pc`, and prefetches into L1D when it is steady.
    fn stride(&mut self, core: usize, address: u64, pc: u64, at: u64) {
        let private = &mut self.cores[core];
        let count = private.strides.len() as u64;
        let entry = &mut private.strides[((pc ^ pc >> 8) % count) as usize];
        if entry.pc != pc {
            *entry = Stride {
                pc,
                last: address,
                ..Stride::default()
            };
            return;
        }
        let stride = address.wrapping_sub(entry.last) as i64;
        entry.last = address;
        if stride == 0 {
            return;
        }
        if stride == entry.stride {
            entry.confidence = (entry.confidence + 1).min(3);
        } else {
            entry.stride = stride;
            entry.confidence = 0;
            return;
        }
        if entry.confidence < 2 || stride.unsigned_abs() > 2048 {
            return;
        }
        // Far enough ahead for one new line.
        let ahead = if stride.unsigned_abs() < 64 {
            64 * stride.signum()
        } else {
            stride
        };
        let target = address.wrapping_add((2 * ahead) as u64);
        let line = target >> LINE_SHIFT;
        if target >> 12 != address >> 12
            || private.l1d.peek(line).is_some()
            || !private.l1_misses.has_room(at)
        {
            return;
        }
        let (slot, _) = private.l1_misses.start(at);
        let (ready, _, ownership) = self.second(core, line, at, false);
        self.cores[core].l1_misses.hold(slot, ready);
        self.counters[core].prefetches += 1;
        self.fill_first(core, line, ready, ownership, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Description;

    fn spr(cores: usize) -> (Parameters, Hierarchy) {
        let p = Description::shipped("spr").unwrap().parameters();
        let h = Hierarchy::new(&p, cores);
        (p, h)
    }

    #[test]
    fn each_level_answers_with_its_latency() {
        let (p, mut h) = spr(1);
        assert_eq!(
            h.load(0, 0x4000, 1, 1000),
            (1000 + p.dram_latency, Level::Dram)
        );
        assert_eq!(
            h.load(0, 0x4008, 2, 5000),
            (5000 + p.l1d_latency, Level::L1)
        );
        // Out of L1D, by other lines of its set.
        for n in 1..=p.l1d_ways {
            h.load(
                0,
                0x4000 + n * p.l1d_bytes / p.l1d_ways,
                100 + n,
                10_000 * n,
            );
        }
        assert_eq!(
            h.load(0, 0x4000, 3, 900_000),
            (900_000 + p.l2_latency, Level::L2)
        );
    }

    #[test]
    fn a_line_under_way_is_not_asked_for_twice() {
        let (p, mut h) = spr(1);
        let (first, _) = h.load(0, 0x4000, 1, 1000);
        assert_eq!(h.load(0, 0x4010, 2, 1100).0, first);
        assert_eq!(first, 1000 + p.dram_latency);
    }

    #[test]
    fn a_modified_line_moves_and_a_shared_one_is_upgraded() {
        let (p, mut h) = spr(2);
        h.own(0, 0x4000, 0);
        assert_eq!(h.load(1, 0x4000, 1, 1000), (1000 + p.transfer, Level::Core));
        // Both share it now; either can read at once, neither write.
        assert_eq!(h.load(0, 0x4000, 1, 2000).0, 2000 + p.l1d_latency);
        assert_eq!(h.own(0, 0x4000, 3000).0, 3000 + p.upgrade);
        assert_eq!(h.counters[1].invalidated, 1);
        assert_eq!(h.load(1, 0x4000, 1, 4000), (4000 + p.transfer, Level::Core));
    }
}
