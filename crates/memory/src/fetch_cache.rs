//! From the linear address of an instruction to the block that was translated from it.

/// The number of a translated block in its engine's block store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u32);

/// What a block must have been translated for, besides its address: an engine's own encoding of
/// code size and other modes that change the meaning of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FetchKey(pub u32);

#[derive(Clone, Copy)]
struct Entry {
    address: u64,
    /// Translation context (which must be current) and key, together.
    tag: u64,
    block: BlockId,
}

const EMPTY: Entry = Entry {
    address: u64::MAX,
    tag: u64::MAX,
    block: BlockId(u32::MAX),
};

const PAGE_BITS: u32 = 6;
const OFFSET_BITS: u32 = 6;
const SIZE: usize = 1 << (PAGE_BITS + OFFSET_BITS);

/// A direct-mapped cache from (linear address, translation context, key) to block.
///
/// It holds what is also in the TLB, namely that the linear address maps to the physical page the
/// block came from; so it is invalidated together with the TLB. The entries of one page stand
/// together, so that INVLPG has few of them to look at.
pub struct FetchCache {
    entries: Box<[Entry; SIZE]>,
}

impl Default for FetchCache {
    fn default() -> Self {
        FetchCache {
            entries: Box::new([EMPTY; SIZE]),
        }
    }
}

#[inline(always)]
fn page_index(address: u64) -> usize {
    let page = address >> 12;
    ((page ^ (page >> PAGE_BITS) ^ (page >> (2 * PAGE_BITS + 3))) as usize & ((1 << PAGE_BITS) - 1))
        << OFFSET_BITS
}

#[inline(always)]
fn index(address: u64) -> usize {
    page_index(address) | ((address ^ (address >> 6)) as usize & ((1 << OFFSET_BITS) - 1))
}

impl FetchCache {
    /// The block at `address` for this tag, if known.
    #[inline(always)]
    pub fn get(&self, address: u64, tag: u64) -> Option<BlockId> {
        let entry = &self.entries[index(address) & (SIZE - 1)];
        (entry.address == address && entry.tag == tag).then_some(entry.block)
    }

    /// Remembers a block.
    pub fn insert(&mut self, address: u64, tag: u64, block: BlockId) {
        self.entries[index(address)] = Entry {
            address,
            tag,
            block,
        };
    }

    /// Forgets everything that starts in the page of `address`.
    pub fn invalidate_page(&mut self, address: u64) {
        let start = page_index(address);
        self.entries[start..start + (1 << OFFSET_BITS)].fill(EMPTY);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.fill(EMPTY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_forgotten_whole() {
        let mut cache = FetchCache::default();
        for offset in 0..4096 {
            cache.insert(0xffff_8000_1234_5000 + offset, 3, BlockId(offset as u32));
        }
        cache.insert(0x5000, 3, BlockId(1));
        cache.invalidate_page(0xffff_8000_1234_5fff);
        for offset in 0..4096 {
            assert_eq!(cache.get(0xffff_8000_1234_5000 + offset, 3), None);
        }
    }

    #[test]
    fn another_context_does_not_see_it() {
        let mut cache = FetchCache::default();
        cache.insert(0x40_1000, 3, BlockId(9));
        assert_eq!(cache.get(0x40_1000, 3), Some(BlockId(9)));
        assert_eq!(cache.get(0x40_1000, 4), None);
    }
}
