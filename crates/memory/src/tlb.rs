//! The translation cache of one processor.
//!
//! It models no particular hardware (the timing engine has its own TLBs): it makes translation
//! fast and is as lazy about changed page tables as the architecture allows. SDM Vol. 3, "Caching
//! Translation Information".

use crate::fetch_cache::KEY_BITS;
use crate::{CodeMap, FetchCache, FetchTags, Translation};
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
    /// A number that no other (context, flush) has in the fetch cache, which it tags.
    epoch: u32,
    last_used: u64,
    tables: Box<[[TlbEntry; SIZE]; TABLES]>,
    /// Whether anything was put into each table since it was last cleared.
    filled: [bool; TABLES],
    /// Linear ranges (first, last) that large pages may cover, in the lower and upper half of the
    /// address space.
    large: [Option<(u64, u64)>; 2],
}

impl Context {
    fn new(pcid: u16) -> Context {
        Context {
            pcid,
            epoch: 0,
            last_used: 0,
            tables: Box::new([[EMPTY; SIZE]; TABLES]),
            filled: [false; TABLES],
            large: [None; 2],
        }
    }

    fn clear(&mut self) {
        self.large = [None; 2];
        for (table, filled) in self.tables.iter_mut().zip(&mut self.filled) {
            if std::mem::take(filled) {
                table.fill(EMPTY);
            }
        }
    }

    /// Whether the page of `address` may be one of many that a large page filled.
    fn is_large(&self, address: u64) -> bool {
        self.large[(address >> 63) as usize]
            .is_some_and(|(first, last)| (first..=last).contains(&address))
    }

    fn drop_page(&mut self, page: u64) {
        for table in self.tables.iter_mut() {
            let entry = &mut table[index(page)];
            if entry.read == page || entry.write == page || entry.fetch == page {
                *entry = EMPTY;
            }
        }
    }

    fn protect(&mut self, ram_pages: &[u64]) {
        for (table, _) in self
            .tables
            .iter_mut()
            .zip(self.filled)
            .filter(|(_, filled)| *filled)
        {
            for entry in table.iter_mut().filter(|e| e.write != NO_MATCH) {
                if ram_pages.contains(&entry.write.wrapping_add(entry.addend)) {
                    entry.write = NO_MATCH;
                }
            }
        }
    }

    fn fill(
        &mut self,
        privilege: Privilege,
        page: u64,
        page_size: u64,
        ram_offset: u64,
        allowed: Allowed,
    ) {
        if page_size > 4096 {
            let first = page & !(page_size - 1);
            let last = first | (page_size - 1);
            let range = &mut self.large[(page >> 63) as usize];
            let (low, high) = range.unwrap_or((first, last));
            *range = Some((low.min(first), high.max(last)));
        }
        let entry = &mut self.tables[privilege as usize][index(page)];
        self.filled[privilege as usize] = true;
        let addend = (ram_offset & !0xfff).wrapping_sub(page);
        let same = entry.addend == addend
            && (entry.read == page || entry.write == page || entry.fetch == page);
        if !same {
            *entry = TlbEntry { addend, ..EMPTY };
        }
        for (tag, allowed) in [
            (&mut entry.read, allowed.read),
            (&mut entry.write, allowed.write),
            (&mut entry.fetch, allowed.fetch),
        ] {
            if allowed {
                *tag = page;
            }
        }
    }
}

/// Which accesses to a page may take the fast path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Data reads.
    pub read: bool,
    /// Data writes.
    pub write: bool,
    /// Instruction fetches.
    pub fetch: bool,
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
    /// Global translations, which outlive the switch to another context. Only consulted when the
    /// current context has nothing, so that the fast path looks in one place.
    globals: Context,
    privilege: Privilege,
    last_epoch: u32,
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
            globals: Context::new(0),
            privilege: Privilege::SupervisorOpen,
            last_epoch: 0,
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

/// Different for each context, and for the pages next to each other within one.
fn salt(context: usize) -> usize {
    context * 0x25
}

impl Tlb {
    /// A number for a set of translations that the fetch cache has not seen yet.
    fn new_epoch(&mut self) -> u32 {
        if self.last_epoch == u32::MAX >> KEY_BITS {
            // All numbers were used: start over, with every set of translations renamed.
            self.fetch_cache.clear();
            for (number, context) in self.contexts.iter_mut().enumerate() {
                context.epoch = number as u32 + 1;
            }
            self.last_epoch = self.contexts.len() as u32 + 1;
            self.globals.epoch = self.last_epoch;
        }
        self.last_epoch += 1;
        self.last_epoch
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

    /// Looks for the page of `address` among the global translations. If it is there, the current
    /// context knows it afterwards too, as far as `wanted` goes, and `true` is returned.
    pub fn refill(&mut self, privilege: Privilege, address: u64, wanted: Allowed) -> bool {
        let page = address & !0xfff;
        let found = self.globals.tables[privilege as usize][index(page)];
        let allowed = Allowed {
            read: found.read == page,
            write: found.write == page,
            fetch: found.fetch == page,
        };
        let enough = (!wanted.read || allowed.read)
            && (!wanted.write || allowed.write)
            && (!wanted.fetch || allowed.fetch);
        if !enough || privilege == Privilege::Watched {
            return false;
        }
        let offset = page.wrapping_add(found.addend);
        // If a large page is behind it, the global context knows (see `flush_page`).
        self.contexts[self.current].fill(privilege, page, 4096, offset, allowed);
        true
    }

    /// Whether instruction fetches from the page of `address` use a global translation.
    pub fn is_global_code(&self, privilege: Privilege, address: u64) -> bool {
        self.globals.tables[privilege as usize][index(address)].fetch == address & !0xfff
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

    /// What fetch-cache entries must carry to be valid now, for code with this key.
    #[inline]
    pub fn fetch_tags(&self, key: u32) -> FetchTags {
        debug_assert!(key >> KEY_BITS == 0);
        FetchTags {
            own: self.contexts[self.current].epoch << KEY_BITS | key,
            global: self.globals.epoch << KEY_BITS | key,
            salt: salt(self.current),
        }
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
            self.contexts.push(Context::new(pcid));
            self.current = self.contexts.len() - 1;
            self.contexts[self.current].epoch = self.new_epoch();
            if self.globals.epoch == 0 {
                self.globals.epoch = self.new_epoch();
            }
        } else {
            let (oldest, _) = self
                .contexts
                .iter()
                .enumerate()
                .min_by_key(|(_, c)| c.last_used)
                .expect("there are contexts");
            self.current = oldest;
            self.flush_context(oldest);
            self.contexts[oldest].pcid = pcid;
        }
        self.contexts[self.current].last_used = clock;
    }

    fn flush_context(&mut self, which: usize) {
        self.counters.flushes += 1;
        let epoch = self.new_epoch();
        let context = &mut self.contexts[which];
        context.epoch = epoch;
        context.clear();
    }

    /// Forgets the context of `pcid`; global translations stay.
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
        self.globals.epoch = self.new_epoch();
        self.globals.clear();
        self.fetch_cache.clear();
    }

    /// INVLPG: forgets the page of `address` in every context (more than the architecture asks,
    /// which it allows).
    pub fn flush_page(&mut self, address: GuestVirt) {
        self.counters.page_flushes += 1;
        let page = address.page().0;
        if self.globals.is_large(page) {
            return self.flush_all();
        }
        self.globals.drop_page(page);
        for which in 0..self.contexts.len() {
            if self.contexts[which].is_large(page) {
                self.flush_context(which);
            } else {
                self.contexts[which].drop_page(page);
            }
        }
        self.forget_code(page);
    }

    /// Drops what the fetch cache knows of the page of `address`, in every context.
    pub fn forget_code(&mut self, address: u64) {
        for which in 0..self.contexts.len() {
            self.fetch_cache.invalidate_page(address, salt(which));
        }
    }

    /// Applies what has been added to the log of pages that became code since the last call:
    /// stores may no longer take the fast path to them. To be called before the processor
    /// executes anything after the log has grown.
    #[inline]
    pub fn apply_protection(&mut self, code: &CodeMap) {
        if self.protected != code.protection_log_end() {
            match code.protection_log_from(self.protected) {
                Some(pages) => {
                    for context in self.contexts.iter_mut().chain([&mut self.globals]) {
                        context.protect(pages);
                    }
                }
                None => self.flush_all(),
            }
            self.protected = code.protection_log_end();
        }
    }

    /// Fills the entry for the page of `address`. `ram_offset` is where the page stands in RAM;
    /// `allowed` says which accesses may take the fast path.
    pub fn fill(
        &mut self,
        privilege: Privilege,
        address: GuestVirt,
        translation: &Translation,
        ram_offset: u64,
        allowed: Allowed,
    ) {
        self.counters.fills += 1;
        if privilege == Privilege::Watched {
            return;
        }
        let page = address.page().0;
        let size = translation.page_size;
        self.contexts[self.current].fill(privilege, page, size, ram_offset, allowed);
        if translation.global {
            self.globals
                .fill(privilege, page, size, ram_offset, allowed);
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
            Allowed {
                read: true,
                write: true,
                fetch: false,
            },
        );
    }

    #[test]
    fn each_pcid_keeps_its_translations() {
        let mut tlb = Tlb::default();
        tlb.select(1);
        fill(&mut tlb, 0x40_0000, 4096);
        let epoch = tlb.fetch_tags(0);
        tlb.select(2);
        assert_ne!(tlb.entry(0x40_0000).read, 0x40_0000);
        tlb.select(1);
        assert_eq!(tlb.entry(0x40_0000).read, 0x40_0000);
        assert_eq!(tlb.fetch_tags(0), epoch);
        tlb.flush_pcid(1);
        assert_ne!(tlb.entry(0x40_0000).read, 0x40_0000);
        assert_ne!(tlb.fetch_tags(0), epoch);
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

    const READ: Allowed = Allowed {
        read: true,
        write: false,
        fetch: false,
    };

    fn fill_global(tlb: &mut Tlb, address: u64, size: u64) {
        let translation = Translation {
            global: true,
            ..page(size)
        };
        let privilege = tlb.privilege();
        tlb.fill(privilege, GuestVirt(address), &translation, 0x9000, READ);
    }

    #[test]
    fn global_pages_are_found_from_every_context_until_flushed() {
        const AT: u64 = 0xffff_8000_0020_0000;
        let known = |tlb: &mut Tlb| tlb.refill(tlb.privilege(), AT, READ);
        for size in [4096, 2 << 20] {
            let mut tlb = Tlb::default();
            tlb.select(1);
            fill_global(&mut tlb, AT, size);
            tlb.select(2);
            assert_ne!(tlb.entry(AT).read, AT);
            let write = Allowed {
                write: true,
                ..READ
            };
            assert!(!tlb.refill(tlb.privilege(), AT, write));
            assert!(known(&mut tlb));
            assert_eq!(tlb.entry(AT).read, AT);
            tlb.flush_pcid(2);
            assert_ne!(tlb.entry(AT).read, AT);
            assert!(known(&mut tlb));
            // Any page of a large one takes it along, wherever it was copied to.
            tlb.flush_page(GuestVirt(AT + size - 4096));
            assert_ne!(tlb.entry(AT).read, AT);
            assert!(!known(&mut tlb));
        }
    }

    #[test]
    fn epochs_that_run_out_start_over() {
        let mut tlb = Tlb::default();
        tlb.select(1);
        tlb.select(2);
        tlb.last_epoch = (u32::MAX >> KEY_BITS) - 1;
        let mut seen = Vec::new();
        for _ in 0..3 {
            tlb.flush_pcid(2);
            tlb.select(1);
            let one = tlb.fetch_tags(0);
            tlb.select(2);
            let two = tlb.fetch_tags(0);
            assert!(one.own != two.own && one.own != one.global && two.own != one.global);
            seen.push(two.own);
        }
        assert!(seen[0] != seen[1] && seen[1] != seen[2]);
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
