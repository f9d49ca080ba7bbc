//! Fetch and decode: when an instruction is available to rename.

use crate::parameters::Parameters;

/// Bytes of code that one entry of the micro-op cache stands for.
const PIECE_SHIFT: u32 = 5;
/// Micro-ops that an entry holds.
const PIECE_UOPS: u64 = 8;

/// The micro-op cache of a core: which pieces of code it holds.
#[derive(Clone, Debug)]
pub(crate) struct UopCache {
    tags: Vec<u64>,
    ways: usize,
    sets: usize,
}

impl UopCache {
    pub fn new(p: &Parameters) -> UopCache {
        let entries = (p.uop_cache_uops / PIECE_UOPS) as usize;
        let ways = (p.uop_cache_ways as usize).clamp(1, entries.max(1));
        UopCache {
            tags: vec![u64::MAX; entries],
            ways,
            sets: entries / ways,
        }
    }

    /// Whether the piece is here; afterwards it is.
    #[inline]
    fn touch(&mut self, piece: u64) -> bool {
        if self.sets == 0 {
            return false;
        }
        let first = (piece as usize % self.sets) * self.ways;
        let set = &mut self.tags[first..first + self.ways];
        let found = set.iter().position(|&tag| tag == piece);
        set[..=found.unwrap_or(self.ways - 1)].rotate_right(1);
        set[0] = piece;
        found.is_some()
    }
}

/// A thread's fetch.
#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    /// The cycle in which the next instruction is fetched, unless there is no room for it.
    pub cycle: u64,
    /// Micro-ops (or, decoding, instructions) delivered in this cycle.
    delivered: u64,
    bytes: u64,
    piece: u64,
    line: u64,
    page: u64,
    decoding: bool,
    taken: u64,
    decode_width: u64,
    fetch_bytes: u64,
    width: u64,
    depth: u64,
    legacy_depth: u64,
    taken_max: u64,
}

/// What fetch needs to know next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lookup {
    /// The code is on a page that was not fetched from just now: translate.
    pub page: bool,
    /// It must come out of the instruction cache.
    pub line: bool,
    /// The micro-op cache was asked, and had it.
    pub hit: Option<bool>,
}

impl Fetch {
    pub fn new(p: &Parameters) -> Fetch {
        Fetch {
            cycle: 0,
            delivered: 0,
            bytes: 0,
            piece: u64::MAX,
            line: u64::MAX,
            page: u64::MAX,
            decoding: false,
            taken: 0,
            decode_width: p.decode_width,
            fetch_bytes: p.fetch_bytes,
            width: p.uop_cache_width.max(1),
            depth: p.front_depth,
            legacy_depth: p.legacy_depth,
            taken_max: p.taken_branches,
        }
    }

    /// Where the code at RAM offset `offset` comes from.
    #[inline]
    pub fn lookup(&mut self, cache: &mut UopCache, offset: u64) -> Lookup {
        let mut lookup = Lookup {
            page: false,
            line: false,
            hit: None,
        };
        let piece = offset >> PIECE_SHIFT;
        if piece == self.piece {
            return lookup;
        }
        self.piece = piece;
        if offset >> 12 != self.page {
            self.page = offset >> 12;
            lookup.page = true;
        }
        let hit = cache.touch(piece);
        lookup.hit = Some(hit);
        self.decoding = !hit;
        if !hit && offset >> 6 != self.line {
            self.line = offset >> 6;
            lookup.line = true;
        }
        lookup
    }

    /// Nothing is fetched before `cycle`.
    #[inline]
    pub fn wait(&mut self, cycle: u64) {
        if cycle > self.cycle {
            self.cycle = cycle;
            self.delivered = 0;
            self.bytes = 0;
            self.taken = 0;
        }
    }

    /// Fetches an instruction: the cycle, and when it is available to rename.
    #[inline]
    pub fn deliver(&mut self, slots: u64, length: u64, pause: u64) -> (u64, u64) {
        let full = if self.decoding {
            self.delivered >= self.decode_width
                || (self.bytes + length > self.fetch_bytes && self.delivered > 0)
        } else {
            self.delivered + slots > self.width && self.delivered > 0
        };
        if full {
            self.wait(self.cycle + pause);
        }
        self.delivered += if self.decoding { 1 } else { slots };
        self.bytes += length;
        let depth = if self.decoding {
            self.depth + self.legacy_depth
        } else {
            self.depth
        };
        (self.cycle, self.cycle + depth)
    }

    /// The instruction was a taken branch.
    #[inline]
    pub fn branch_taken(&mut self, pause: u64) {
        self.taken += 1;
        self.piece = u64::MAX;
        if self.taken >= self.taken_max {
            self.wait(self.cycle + pause);
        }
    }

    /// Starts over at `cycle`.
    #[inline]
    pub fn redirect(&mut self, cycle: u64) {
        self.cycle = cycle;
        self.delivered = 0;
        self.bytes = 0;
        self.taken = 0;
        self.piece = u64::MAX;
        self.line = u64::MAX;
        self.page = u64::MAX;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Description;

    #[test]
    fn the_micro_op_cache_delivers_more_than_the_decoders() {
        let p = Description::shipped("spr").unwrap().parameters();
        let mut cache = UopCache::new(&p);
        let mut fetch = Fetch::new(&p);
        assert_eq!(
            fetch.lookup(&mut cache, 0x100),
            Lookup {
                page: true,
                line: true,
                hit: Some(false)
            }
        );
        let times: Vec<(u64, u64)> = (0..12).map(|_| fetch.deliver(1, 2, 1)).collect();
        assert_eq!(times[11], (1, 1 + p.front_depth + p.legacy_depth));
        fetch.redirect(100);
        assert_eq!(
            fetch.lookup(&mut cache, 0x100),
            Lookup {
                page: true,
                line: false,
                hit: Some(true)
            }
        );
        let cycles: Vec<u64> = (0..17).map(|_| fetch.deliver(1, 2, 1).0).collect();
        assert_eq!((cycles[7], cycles[8], cycles[16]), (100, 101, 102));
    }
}
