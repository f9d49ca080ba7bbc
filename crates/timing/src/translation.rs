//! TLBs as hardware has them. They hold no translations (those are found elsewhere); they say how
//! long finding them takes.
//!
//! Modelled: first-level TLBs for code and data with separate entries for large pages, a second level
//! for both, cached upper paging structures, page walks through the caches, PCIDs. Not modelled:
//! global pages that outlive a flush of their PCID are flushed with it.

use crate::hierarchy::Hierarchy;
use crate::parameters::Parameters;
use crate::statistics::TlbCounters;
use ring3_arch::GuestVirt;
use ring3_memory::{Access, PagingState, Ram, probe};

const EMPTY: u64 = u64::MAX;
/// In a tag: the page is 2 MiB or larger.
const LARGE: u64 = 1 << 63;
const PCID_SHIFT: u32 = 48;

/// A set-associative table of tags.
#[derive(Clone, Debug)]
struct Tags {
    tags: Vec<u64>,
    used: Vec<u32>,
    ways: usize,
    sets: usize,
    clock: u32,
}

impl Tags {
    fn new(entries: u64, ways: u64) -> Tags {
        Tags {
            tags: vec![EMPTY; entries as usize],
            used: vec![0; entries as usize],
            ways: ways as usize,
            sets: (entries / ways) as usize,
            clock: 0,
        }
    }

    #[inline]
    fn first(&self, tag: u64) -> usize {
        let page = (tag & ((1 << PCID_SHIFT) - 1)) as usize;
        (page % self.sets) * self.ways
    }

    #[inline]
    fn find(&mut self, tag: u64) -> bool {
        let first = self.first(tag);
        for n in first..first + self.ways {
            if self.tags[n] == tag {
                self.clock = self.clock.wrapping_add(1);
                self.used[n] = self.clock;
                return true;
            }
        }
        false
    }

    fn fill(&mut self, tag: u64) {
        let first = self.first(tag);
        self.clock = self.clock.wrapping_add(1);
        let mut victim = first;
        for n in first..first + self.ways {
            if self.tags[n] == EMPTY || self.tags[n] == tag {
                victim = n;
                break;
            }
            if self.clock.wrapping_sub(self.used[n]) > self.clock.wrapping_sub(self.used[victim]) {
                victim = n;
            }
        }
        self.tags[victim] = tag;
        self.used[victim] = self.clock;
    }

    fn drop_if(&mut self, condition: impl Fn(u64) -> bool) {
        for tag in &mut self.tags {
            if *tag != EMPTY && condition(*tag) {
                *tag = EMPTY;
            }
        }
    }
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Code,
    Data,
}

/// What must be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    All,
    Pcid(u16),
    Page(u64),
}

/// A core's TLBs.
#[derive(Clone, Debug)]
pub(crate) struct Translations {
    first: [Tags; 2],
    first_large: [Tags; 2],
    second: Tags,
    /// Page-directory entries, by linear address >> 21.
    directory: Tags,
    second_latency: u64,
    walk_overhead: u64,
    pub counters: TlbCounters,
}

impl Translations {
    pub fn new(p: &Parameters) -> Translations {
        let large = || Tags::new(p.large_tlb_entries, p.large_tlb_entries);
        Translations {
            first: [
                Tags::new(p.itlb_entries, p.itlb_ways),
                Tags::new(p.dtlb_entries, p.dtlb_ways),
            ],
            first_large: [large(), large()],
            second: Tags::new(p.stlb_entries, p.stlb_ways),
            directory: Tags::new(p.directory_entries, p.directory_entries),
            second_latency: p.stlb_latency,
            walk_overhead: p.walk_overhead,
            counters: TlbCounters::default(),
        }
    }

    /// When an access to `linear` at cycle `at` knows its physical address.
    #[inline]
    pub fn translate(
        &mut self,
        side: Side,
        linear: u64,
        pcid: u16,
        at: u64,
        walker: &mut Walker<'_>,
    ) -> u64 {
        let context = u64::from(pcid) << PCID_SHIFT;
        let page = linear >> 12 & ((1 << 36) - 1);
        let small = context | page;
        let n = side as usize;
        if self.first[n].find(small) {
            return at;
        }
        let large = context | LARGE | page >> 9;
        if self.first_large[n].find(large) {
            return at;
        }
        self.miss(side, linear, small, large, at, walker)
    }

    #[cold]
    #[inline(never)]
    fn miss(
        &mut self,
        side: Side,
        linear: u64,
        small: u64,
        large: u64,
        at: u64,
        walker: &mut Walker<'_>,
    ) -> u64 {
        let n = side as usize;
        self.counters.first_misses[n] += 1;
        if self.second.find(small) {
            self.first[n].fill(small);
            return at + self.second_latency;
        }
        if self.second.find(large) {
            self.first_large[n].fill(large);
            return at + self.second_latency;
        }
        if !walker.paging.enabled {
            self.first[n].fill(small);
            return at;
        }
        self.counters.walks[n] += 1;
        let access = Access {
            write: false,
            fetch: side == Side::Code,
            user: false,
            smap_lifted: true,
        };
        // With supervisor rights: whether the access is allowed is decided elsewhere.
        let found = probe(walker.ram, walker.paging, GuestVirt(linear), access);
        let directory = large & !LARGE;
        let cached = self.directory.find(directory);
        let skipped = if cached {
            found.levels.saturating_sub(1).min(3)
        } else {
            0
        };
        let mut now = at + self.second_latency + self.walk_overhead;
        for entry in &found.entries[skipped..found.levels] {
            let (ready, _) = walker.hierarchy.load(walker.core, entry.0, 0, now);
            now = ready;
        }
        self.counters.walk_cycles += now - at;
        let is_large = found.result.is_ok_and(|t| t.page_size > 4096);
        if is_large {
            self.first_large[n].fill(large);
            self.second.fill(large);
        } else {
            if !cached {
                self.directory.fill(directory);
            }
            self.first[n].fill(small);
            self.second.fill(small);
        }
        now
    }

    pub fn flush(&mut self, flush: Flush) {
        let [a, b] = &mut self.first;
        let [c, d] = &mut self.first_large;
        for tags in [a, b, c, d, &mut self.second, &mut self.directory] {
            match flush {
                Flush::All => tags.drop_if(|_| true),
                Flush::Pcid(pcid) => {
                    tags.drop_if(|tag| (tag & !LARGE) >> PCID_SHIFT == pcid.into());
                }
                Flush::Page(linear) => {
                    let page = linear >> 12 & ((1 << 36) - 1);
                    let number = |tag: u64| tag & ((1 << PCID_SHIFT) - 1);
                    tags.drop_if(|tag| number(tag) == page || number(tag) == page >> 9);
                }
            }
        }
    }
}

/// What a page walk needs.
pub(crate) struct Walker<'a> {
    pub ram: &'a Ram,
    pub paging: &'a PagingState,
    pub hierarchy: &'a mut Hierarchy,
    pub core: usize,
}
