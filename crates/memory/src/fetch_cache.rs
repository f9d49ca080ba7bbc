//! From the linear address of an instruction to the block that was translated from it.

/// The number of a translated block in its engine's block store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u32);

/// Bits of an engine's own encoding of code size and other modes that change the meaning of bytes.
pub(crate) const KEY_BITS: u32 = 14;

/// What entries must have been made for to be valid now; see [`crate::Tlb::fetch_tags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchTags {
    /// Pages that belong to the current translation context alone.
    pub own: u32,
    /// Global pages, which all contexts share.
    pub global: u32,
    /// Spreads the contexts' lower halves over the cache: processes like to use the same addresses.
    pub(crate) salt: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    address: u64,
    tag: u32,
    block: BlockId,
}

const EMPTY: Entry = Entry {
    address: u64::MAX,
    tag: u32::MAX,
    block: BlockId(u32::MAX),
};

const PAGE_BITS: u32 = 7;
const OFFSET_BITS: u32 = 7;
const SIZE: usize = 1 << (PAGE_BITS + OFFSET_BITS);
const PAGE_ENTRIES: usize = 1 << OFFSET_BITS;

/// A direct-mapped cache from (linear address, translation context, key) to block.
///
/// It holds what is also in the TLB, namely that the linear address maps to the physical page the
/// block came from; so it is invalidated together with the TLB. The entries of one page stand
/// together, so that INVLPG has few of them to look at.
pub struct FetchCache {
    entries: Box<[Entry]>,
    /// Which page sets may hold anything.
    used: [bool; 1 << PAGE_BITS],
    generation: u64,
}

impl Default for FetchCache {
    fn default() -> Self {
        FetchCache {
            entries: vec![EMPTY; SIZE].into_boxed_slice(),
            used: [false; 1 << PAGE_BITS],
            generation: 0,
        }
    }
}

#[inline(always)]
fn page_set(address: u64, salt: usize) -> usize {
    let page = address >> 12;
    // Only the lower half is salted: the upper one is where global pages are.
    let salt = salt & !(address as i64 >> 63) as usize;
    ((page ^ (page >> PAGE_BITS) ^ (page >> (2 * PAGE_BITS + 3))) as usize ^ salt)
        & ((1 << PAGE_BITS) - 1)
}

#[inline(always)]
fn index(address: u64, salt: usize) -> usize {
    page_set(address, salt) << OFFSET_BITS
        | ((address ^ (address >> 6)) as usize & (PAGE_ENTRIES - 1))
}

impl FetchCache {
    /// The block at `address` for these tags, if known.
    #[inline(always)]
    pub fn get(&self, address: u64, tags: &FetchTags) -> Option<BlockId> {
        let entry = self.entries.get(index(address, tags.salt))?;
        (entry.address == address && (entry.tag == tags.own || entry.tag == tags.global))
            .then_some(entry.block)
    }

    /// Remembers a block; `global`: its page is one that all contexts share.
    pub fn insert(&mut self, address: u64, tags: &FetchTags, global: bool, block: BlockId) {
        self.used[page_set(address, tags.salt)] = true;
        self.entries[index(address, tags.salt)] = Entry {
            address,
            tag: if global { tags.global } else { tags.own },
            block,
        };
    }

    /// Forgets everything that starts in the page of `address`, in a context with this salt.
    pub(crate) fn invalidate_page(&mut self, address: u64, salt: usize) {
        self.clear_set(page_set(address, salt));
    }

    /// Forgets everything. Guests can have this done as often as they like, so it costs little where
    /// there is little to forget.
    pub fn clear(&mut self) {
        for set in 0..self.used.len() {
            self.clear_set(set);
        }
    }

    fn clear_set(&mut self, set: usize) {
        if std::mem::take(&mut self.used[set]) {
            let start = set << OFFSET_BITS;
            self.entries[start..start + PAGE_ENTRIES].fill(EMPTY);
        }
    }

    /// Forgets everything if the block store whose blocks it names has a new generation.
    #[inline]
    pub fn follow(&mut self, generation: u64) {
        if self.generation != generation {
            self.generation = generation;
            self.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAGS: FetchTags = FetchTags {
        own: 3,
        global: 4,
        salt: 0,
    };

    #[test]
    fn a_page_is_forgotten_whole() {
        let mut cache = FetchCache::default();
        for salt in [0, 0x35] {
            let tags = FetchTags { salt, ..TAGS };
            for offset in 0..4096 {
                cache.insert(0x1234_5000 + offset, &tags, false, BlockId(offset as u32));
            }
            cache.insert(0x5000, &tags, false, BlockId(1));
            cache.invalidate_page(0x1234_5fff, salt);
            for offset in 0..4096 {
                assert_eq!(cache.get(0x1234_5000 + offset, &tags), None);
            }
        }
    }

    #[test]
    fn another_context_sees_only_global_pages() {
        let mut cache = FetchCache::default();
        let other = FetchTags { own: 5, ..TAGS };
        cache.insert(0xffff_8000_0040_1000, &TAGS, false, BlockId(9));
        cache.insert(0xffff_8000_0080_1000, &TAGS, true, BlockId(8));
        assert_eq!(cache.get(0xffff_8000_0040_1000, &TAGS), Some(BlockId(9)));
        assert_eq!(cache.get(0xffff_8000_0040_1000, &other), None);
        assert_eq!(cache.get(0xffff_8000_0080_1000, &other), Some(BlockId(8)));
    }

    #[test]
    fn blocks_of_another_generation_are_forgotten() {
        let mut cache = FetchCache::default();
        cache.insert(0x40_1000, &TAGS, false, BlockId(9));
        cache.follow(0);
        assert_eq!(cache.get(0x40_1000, &TAGS), Some(BlockId(9)));
        cache.follow(1);
        assert_eq!(cache.get(0x40_1000, &TAGS), None);
    }
}
