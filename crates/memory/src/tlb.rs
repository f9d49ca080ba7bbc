//! The translation cache of one processor.
//!
//! It models no particular hardware (the timing engine has its own TLBs): it makes translation
//! fast and is as lazy about changed page tables as the architecture allows. SDM Vol. 3, "Caching
//! Translation Information".

use crate::{CodeMap, FetchCache, Translation};
use ring3_arch::GuestVirt;

/// Entries per table.
const SIZE: usize = 512;
/// Translation contexts (PCIDs) held at once; Linux uses six per processor.
const CONTEXTS: usize = 8;
/// One table for each [`Privilege`].
const TABLES: usize = 4;
/// Set in a tag that must not match any page.
const NO_MATCH: u64 = 1;

/// With which privilege memory is accessed; each has its own table, because what is allowed
/// differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Privilege {
    /// CPL 3.
    User = 0,
    /// CPL 0 to 2, or an implicit access, while SMAP closes user pages.
    Supervisor = 1,
    /// CPL 0 to 2 while user pages are open: CR4.SMAP clear or RFLAGS.AC set.
    SupervisorOpen = 2,
    /// Accesses are watched one by one (data breakpoints, alignment checks): nothing is ever
    /// cached for this one.
    Watched = 3,
}

/// One translation of a 4 KiB page. A tag is the page's linear address if that kind of access may
/// take the fast path.
#[derive(Clone, Copy, Debug)]
pub struct TlbEntry {
    /// Tag for data reads.
    pub read: u64,
    /// Tag for data writes: the page is writable, dirty, RAM, and holds no code.
    pub write: u64,
    /// Tag for instruction fetches.
    pub fetch: u64,
    /// RAM offset minus linear address (wrapping).
    pub addend: u64,
}

const EMPTY: TlbEntry = TlbEntry {
    read: NO_MATCH,
    write: NO_MATCH,
    fetch: NO_MATCH,
    addend: 0,
};

struct Context {
    pcid: u16,
    /// A number that no other (context, flush) ever had: it tags the fetch cache.
    epoch: u64,
    last_used: u64,
    tables: Box<[[TlbEntry; SIZE]; TABLES]>,
    /// Whether anything was put into each table since it was last cleared.
    filled: [bool; TABLES],
    /// Linear ranges (first, last) that large pages may cover, in the lower and upper half of the
    /// address space.
    large: [Option<(u64, u64)>; 2],
}

/// What a TLB counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct TlbCounters {
    /// Lookups that went to the page walk.
    pub fills: u64,
    /// Whole contexts thrown away.
    pub flushes: u64,
    /// Single pages thrown away.
    pub page_flushes: u64,
}

/// The translations of one processor, for several PCIDs at once.
pub struct Tlb {
    contexts: Vec<Context>,
    current: usize,
    privilege: Privilege,
    next_epoch: u64,
    clock: u64,
    /// How much of the code map's protection log has been applied.
    protected: u64,
    /// Code locations, invalidated together with the translations.
    pub fetch_cache: FetchCache,
    /// Statistics.
    pub counters: TlbCounters,
}

impl Default for Tlb {
    fn default() -> Self {
        let mut tlb = Tlb {
            contexts: Vec::new(),
            current: 0,
            privilege: Privilege::SupervisorOpen,
            next_epoch: 1,
            clock: 0,
            protected: 0,
            fetch_cache: FetchCache::default(),
            counters: TlbCounters::default(),
        };
        tlb.select(0);
        tlb
    }
}

#[inline(always)]
fn index(address: u64) -> usize {
    (address >> 12) as usize & (SIZE - 1)
}

impl Tlb {
    fn new_epoch(&mut self) -> u64 {
        self.next_epoch += 1;
        self.next_epoch
    }

    /// The table entry that would hold the page of `address` for the current privilege.
    #[inline(always)]
    pub fn entry(&self, address: u64) -> &TlbEntry {
        &self.contexts[self.current].tables[self.privilege as usize][index(address)]
    }

    /// The same, for another privilege.
    #[inline]
    pub fn entry_for(&self, privilege: Privilege, address: u64) -> &TlbEntry {
        &self.contexts[self.current].tables[privilege as usize][index(address)]
    }

    /// The current privilege.
    #[inline]
    pub fn privilege(&self) -> Privilege {
        self.privilege
    }

    /// Switches privilege (CPL, RFLAGS.AC or CR4.SMAP changed).
    #[inline]
    pub fn set_privilege(&mut self, privilege: Privilege) {
        self.privilege = privilege;
    }

    /// Identifies the current set of translations; never used again after a flush.
    #[inline(always)]
    pub fn epoch(&self) -> u64 {
        self.contexts[self.current].epoch
    }

    /// Makes `pcid` the current context, keeping what is cached for it.
    pub fn select(&mut self, pcid: u16) {
        if self
            .contexts
            .get(self.current)
            .is_some_and(|c| c.pcid == pcid)
        {
            return;
        }
        self.clock += 1;
        let clock = self.clock;
        if let Some(found) = self.contexts.iter().position(|c| c.pcid == pcid) {
            self.current = found;
        } else if self.contexts.len() < CONTEXTS {
            let epoch = self.new_epoch();
            self.contexts.push(Context {
                pcid,
                epoch,
                last_used: clock,
                tables: Box::new([[EMPTY; SIZE]; TABLES]),
                filled: [false; TABLES],
                large: [None; 2],
            });
            self.current = self.contexts.len() - 1;
        } else {
            let (oldest, _) = self
                .contexts
                .iter()
                .enumerate()
                .min_by_key(|(_, c)| c.last_used)
                .expect("there are contexts");
            self.current = oldest;
            self.flush_current();
            self.contexts[oldest].pcid = pcid;
        }
        self.contexts[self.current].last_used = clock;
    }

    fn flush_context(&mut self, which: usize) {
        self.counters.flushes += 1;
        let epoch = self.new_epoch();
        let context = &mut self.contexts[which];
        context.epoch = epoch;
        context.large = [None; 2];
        for (table, filled) in context.tables.iter_mut().zip(&mut context.filled) {
            if std::mem::take(filled) {
                table.fill(EMPTY);
            }
        }
    }

    /// Forgets the current context, global translations included.
    pub fn flush_current(&mut self) {
        self.flush_context(self.current);
    }

    /// Forgets the context of `pcid`, global translations included.
    pub fn flush_pcid(&mut self, pcid: u16) {
        if let Some(found) = self.contexts.iter().position(|c| c.pcid == pcid) {
            self.flush_context(found);
        }
    }

    /// Forgets everything.
    pub fn flush_all(&mut self) {
        for which in 0..self.contexts.len() {
            self.flush_context(which);
        }
        self.fetch_cache.clear();
    }

    /// INVLPG: forgets the page of `address` in every context (more than the architecture asks,
    /// which it allows).
    pub fn flush_page(&mut self, address: GuestVirt) {
        self.counters.page_flushes += 1;
        let half = (address.0 >> 63) as usize;
        for which in 0..self.contexts.len() {
            let context = &mut self.contexts[which];
            if context.large[half].is_some_and(|(first, last)| (first..=last).contains(&address.0))
            {
                self.flush_context(which);
                continue;
            }
            for table in context.tables.iter_mut() {
                let entry = &mut table[index(address.0)];
                let page = address.page().0;
                if entry.read == page || entry.write == page || entry.fetch == page {
                    *entry = EMPTY;
                }
            }
        }
        self.fetch_cache.invalidate_page(address.0);
    }

    /// Applies what has been added to the log of pages that became code since the last call:
    /// stores may no longer take the fast path to them. To be called before the processor
    /// executes anything after the log has grown.
    #[inline]
    pub fn apply_protection(&mut self, code: &CodeMap) {
        if self.protected != code.protection_log_end() {
            match code.protection_log_from(self.protected) {
                Some(pages) => self.protect(pages),
                None => self.flush_all(),
            }
            self.protected = code.protection_log_end();
        }
    }

    fn protect(&mut self, ram_pages: &[u64]) {
        for context in &mut self.contexts {
            for (table, _) in context
                .tables
                .iter_mut()
                .zip(context.filled)
                .filter(|(_, filled)| *filled)
            {
                for entry in table.iter_mut().filter(|e| e.write != NO_MATCH) {
                    if ram_pages.contains(&entry.write.wrapping_add(entry.addend)) {
                        entry.write = NO_MATCH;
                    }
                }
            }
        }
    }

    /// Fills the entry for the page of `address`. `ram_offset` is where the page stands in RAM;
    /// the flags say which accesses may take the fast path.
    #[allow(clippy::too_many_arguments)]
    pub fn fill(
        &mut self,
        privilege: Privilege,
        address: GuestVirt,
        translation: &Translation,
        ram_offset: u64,
        read: bool,
        write: bool,
        fetch: bool,
    ) {
        self.counters.fills += 1;
        if privilege == Privilege::Watched {
            return;
        }
        let page = address.page().0;
        let context = &mut self.contexts[self.current];
        if translation.page_size > 4096 {
            let first = address.0 & !(translation.page_size - 1);
            let last = first | (translation.page_size - 1);
            let range = &mut context.large[(address.0 >> 63) as usize];
            let (low, high) = range.unwrap_or((first, last));
            *range = Some((low.min(first), high.max(last)));
        }
        let entry = &mut context.tables[privilege as usize][index(page)];
        context.filled[privilege as usize] = true;
        let addend = (ram_offset & !0xfff).wrapping_sub(page);
        let same = entry.addend == addend
            && (entry.read == page || entry.write == page || entry.fetch == page);
        if !same {
            *entry = TlbEntry { addend, ..EMPTY };
        }
        for (tag, allowed) in [
            (&mut entry.read, read),
            (&mut entry.write, write),
            (&mut entry.fetch, fetch),
        ] {
            if allowed {
                *tag = page;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring3_arch::GuestPhys;

    fn page(size: u64) -> Translation {
        Translation {
            address: GuestPhys(0x9000),
            page_size: size,
            user: false,
            writable: true,
            no_execute: false,
            global: false,
            dirty: true,
        }
    }

    fn fill(tlb: &mut Tlb, address: u64, size: u64) {
        let privilege = tlb.privilege();
        tlb.fill(
            privilege,
            GuestVirt(address),
            &page(size),
            0x9000,
            true,
            true,
            false,
        );
    }

    #[test]
    fn each_pcid_keeps_its_translations() {
        let mut tlb = Tlb::default();
        tlb.select(1);
        fill(&mut tlb, 0x40_0000, 4096);
        let epoch = tlb.epoch();
        tlb.select(2);
        assert_ne!(tlb.entry(0x40_0000).read, 0x40_0000);
        tlb.select(1);
        assert_eq!(tlb.entry(0x40_0000).read, 0x40_0000);
        assert_eq!(tlb.epoch(), epoch);
        tlb.flush_pcid(1);
        assert_ne!(tlb.entry(0x40_0000).read, 0x40_0000);
        assert_ne!(tlb.epoch(), epoch);
    }

    #[test]
    fn one_page_of_a_large_mapping_takes_the_rest_with_it() {
        let mut tlb = Tlb::default();
        fill(&mut tlb, 0x20_0000, 2 << 20);
        fill(&mut tlb, 0x20_1000, 2 << 20);
        fill(&mut tlb, 0x80_0000, 4096);
        tlb.flush_page(GuestVirt(0x80_0000));
        assert_eq!(tlb.entry(0x20_1000).read, 0x20_1000);
        tlb.flush_page(GuestVirt(0x20_0000));
        assert_ne!(tlb.entry(0x20_1000).read, 0x20_1000);
    }

    #[test]
    fn code_pages_lose_only_the_fast_path_for_stores() {
        let mut tlb = Tlb::default();
        fill(&mut tlb, 0x20_0000, 4096);
        let mut code = CodeMap::new(1 << 20);
        code.note_write_mapping(0x9000);
        code.add(0x9000, 4, crate::BlockId(0));
        tlb.apply_protection(&code);
        assert_eq!(tlb.entry(0x20_0000).read, 0x20_0000);
        assert_ne!(tlb.entry(0x20_0000).write, 0x20_0000);
    }

    #[test]
    fn more_pcids_than_contexts_evict_the_oldest() {
        let mut tlb = Tlb::default();
        for pcid in 0..20 {
            tlb.select(pcid);
            fill(&mut tlb, 0x40_0000, 4096);
        }
        tlb.select(19);
        assert_eq!(tlb.entry(0x40_0000).read, 0x40_0000);
        tlb.select(0);
        assert_ne!(tlb.entry(0x40_0000).read, 0x40_0000);
    }
}
