//! Which parts of RAM hold translated code.

use crate::BlockId;
use std::collections::BTreeMap;

/// Entries of the protection log that are kept; a TLB that lags further behind is flushed.
const PROTECTION_LOG_MAX: usize = 4096;

/// Bytes in one tracked line.
const LINE_SIZE: u64 = 64;

/// For every page of RAM: which of its 64-byte lines hold instructions that some engine has
/// translated, and into which blocks.
///
/// A page with at least one such line is never writable through a TLB's fast path, so that every
/// store into it comes here; data that share the page with code but not the line cost a detour,
/// not a retranslation.
#[derive(Default)]
pub struct CodeMap {
    /// One bit per line, one word per page; indexed by RAM offset / 4096.
    lines: Vec<u64>,
    /// Pages that a TLB may hold as writable since they were last asked about.
    write_mapped: Vec<bool>,
    /// The blocks of each page that has code.
    blocks: BTreeMap<u64, Vec<BlockId>>,
    /// Pages (RAM offsets) that became code while a TLB could hold them as writable, oldest first.
    protection_log: Vec<u64>,
    /// How many entries of the log have been dropped.
    protection_log_start: u64,
    /// Blocks that were invalidated and not yet collected by the engine.
    stale: Vec<BlockId>,
    /// Counts invalidations of blocks by stores.
    invalidations: u64,
}

fn line_mask(page_offset: u64, length: u64) -> u64 {
    debug_assert!(length > 0 && page_offset + length <= 4096);
    let first = page_offset / LINE_SIZE;
    let last = (page_offset + length - 1) / LINE_SIZE;
    (u64::MAX >> (63 - last)) & (u64::MAX << first)
}

impl CodeMap {
    /// For RAM of `size` bytes.
    pub fn new(size: u64) -> CodeMap {
        let pages = size.div_ceil(4096) as usize;
        CodeMap {
            lines: vec![0; pages],
            write_mapped: vec![false; pages],
            ..CodeMap::default()
        }
    }

    /// Whether the page at RAM offset `offset` holds code.
    #[inline]
    pub fn is_code_page(&self, offset: u64) -> bool {
        self.lines
            .get((offset / 4096) as usize)
            .is_some_and(|&lines| lines != 0)
    }

    /// A TLB is about to hold the page as writable.
    pub fn note_write_mapping(&mut self, offset: u64) {
        if let Some(mapped) = self.write_mapped.get_mut((offset / 4096) as usize) {
            *mapped = true;
        }
    }

    /// Code of `length` bytes at RAM offset `offset` (within one page) was translated into
    /// `block`.
    pub fn add(&mut self, offset: u64, length: u64, block: BlockId) {
        let page = offset / 4096;
        let Some(lines) = self.lines.get_mut(page as usize) else {
            return;
        };
        if *lines == 0 && std::mem::take(&mut self.write_mapped[page as usize]) {
            if self.protection_log.len() >= PROTECTION_LOG_MAX {
                self.protection_log_start += self.protection_log.len() as u64;
                self.protection_log.clear();
            }
            self.protection_log.push(page * 4096);
        }
        *lines |= line_mask(offset % 4096, length);
        self.blocks.entry(page).or_default().push(block);
    }

    /// How many pages have ever been logged as newly code; see [`crate::Tlb::apply_protection`].
    #[inline]
    pub fn protection_log_end(&self) -> u64 {
        self.protection_log_start + self.protection_log.len() as u64
    }

    /// The log from entry `from` on, or `None` if that part has been dropped.
    pub fn protection_log_from(&self, from: u64) -> Option<&[u64]> {
        let start = from.checked_sub(self.protection_log_start)?;
        self.protection_log.get(start as usize..)
    }

    /// Whether a store of `length` bytes at `offset` (within one page) would hit code.
    #[inline]
    pub fn hits(&self, offset: u64, length: u64) -> bool {
        let lines = self
            .lines
            .get((offset / 4096) as usize)
            .copied()
            .unwrap_or(0);
        lines != 0 && lines & line_mask(offset % 4096, length) != 0
    }

    /// A store to `length` bytes at `offset` (any number of pages) happens: all blocks in the
    /// pages whose lines it hits become stale.
    pub fn written(&mut self, offset: u64, length: u64) {
        let mut at = offset;
        let end = offset.saturating_add(length);
        while at < end {
            let next = ((at / 4096 + 1) * 4096).min(end);
            if self.hits(at, next - at) {
                let page = at / 4096;
                self.lines[page as usize] = 0;
                if let Some(blocks) = self.blocks.remove(&page) {
                    self.invalidations += blocks.len() as u64;
                    self.stale.extend(blocks);
                }
            }
            at = next;
        }
    }

    /// The blocks that became stale since this was last asked.
    pub fn take_stale(&mut self) -> Vec<BlockId> {
        std::mem::take(&mut self.stale)
    }

    /// Whether any block waits in [`CodeMap::take_stale`].
    #[inline]
    pub fn has_stale(&self) -> bool {
        !self.stale.is_empty()
    }

    /// How many blocks stores have invalidated.
    pub fn invalidations(&self) -> u64 {
        self.invalidations
    }

    /// Forgets all code (the engine dropped every block).
    pub fn clear(&mut self) {
        for &page in self.blocks.keys() {
            self.lines[page as usize] = 0;
        }
        self.blocks.clear();
        self.stale.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_hold_code_are_hit() {
        let mut map = CodeMap::new(8192);
        map.add(4096 + 60, 8, BlockId(7));
        assert!(map.hits(4096, 1) && map.hits(4096 + 127, 1));
        assert!(!map.hits(4096 + 128, 8) && !map.hits(0, 4096));
        map.written(4096 + 128, 8);
        assert!(!map.has_stale());
        map.written(4000, 200);
        assert_eq!(map.take_stale(), [BlockId(7)]);
        assert!(!map.is_code_page(4096));
    }

    #[test]
    fn masks_cover_first_to_last_line() {
        assert_eq!(line_mask(0, 4096), u64::MAX);
        assert_eq!(line_mask(0, 64), 1);
        assert_eq!(line_mask(63, 2), 3);
        assert_eq!(line_mask(4095, 1), 1 << 63);
    }
}
