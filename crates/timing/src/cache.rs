//! One cache: tags, who owns a line, when it arrives. No data: values live in RAM and store queues.

/// Bytes of a line, as a shift.
pub(crate) const LINE_SHIFT: u32 = 6;

const EMPTY: u64 = u64::MAX;

/// What a cache may do with a line: MESI, with Invalid being absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Ownership {
    /// Others may have it too.
    Shared,
    /// Nobody else has it, and it equals memory.
    Exclusive,
    /// Nobody else has it, and it was written.
    Modified,
}

/// A line that is there, or on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// When it arrives; in the past if it is there.
    pub ready: u64,
    pub ownership: Ownership,
    /// A prefetcher asked for it, and nobody has used it yet.
    pub prefetched: bool,
    used: u32,
}

/// A set-associative cache with the least recently used line as its victim.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    tags: Vec<u64>,
    lines: Vec<Line>,
    ways: usize,
    sets: u64,
    /// `sets - 1` if that is a mask, else 0.
    mask: u64,
    clock: u32,
}

/// Where a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(usize);

impl Cache {
    pub fn new(bytes: u64, ways: u64) -> Cache {
        let sets = (bytes >> LINE_SHIFT) / ways;
        let count = (sets * ways) as usize;
        Cache {
            tags: vec![EMPTY; count],
            lines: vec![
                Line {
                    ready: 0,
                    ownership: Ownership::Shared,
                    prefetched: false,
                    used: 0,
                };
                count
            ],
            ways: ways as usize,
            sets,
            mask: if sets.is_power_of_two() { sets - 1 } else { 0 },
            clock: 0,
        }
    }

    #[inline(always)]
    fn first(&self, line: u64) -> usize {
        let set = if self.mask != 0 || self.sets == 1 {
            line & self.mask
        } else {
            line % self.sets
        };
        set as usize * self.ways
    }

    /// Where the line is, if it is here or coming; counts as use.
    #[inline]
    pub fn find(&mut self, line: u64) -> Option<Place> {
        let first = self.first(line);
        let way = self.tags[first..first + self.ways]
            .iter()
            .position(|&tag| tag == line)?;
        self.clock = self.clock.wrapping_add(1);
        self.lines[first + way].used = self.clock;
        Some(Place(first + way))
    }

    /// The same without counting as use.
    #[inline]
    pub fn peek(&self, line: u64) -> Option<Place> {
        let first = self.first(line);
        let way = self.tags[first..first + self.ways]
            .iter()
            .position(|&tag| tag == line)?;
        Some(Place(first + way))
    }

    #[inline]
    pub fn line(&mut self, place: Place) -> &mut Line {
        &mut self.lines[place.0]
    }

    /// Takes in a line, and returns which one had to go for it, if one had to, and whether it was
    /// modified.
    pub fn fill(
        &mut self,
        line: u64,
        ready: u64,
        ownership: Ownership,
        prefetched: bool,
    ) -> Option<(u64, bool)> {
        let first = self.first(line);
        let tags = &self.tags[first..first + self.ways];
        let way = tags
            .iter()
            .position(|&tag| tag == EMPTY)
            .unwrap_or_else(|| {
                let lines = &self.lines[first..first + self.ways];
                let age = |l: &Line| self.clock.wrapping_sub(l.used);
                let mut oldest = 0;
                for (n, l) in lines.iter().enumerate() {
                    if age(l) > age(&lines[oldest]) {
                        oldest = n;
                    }
                }
                oldest
            });
        let at = first + way;
        let old = (self.tags[at] != EMPTY).then(|| {
            (
                self.tags[at],
                self.lines[at].ownership == Ownership::Modified,
            )
        });
        self.clock = self.clock.wrapping_add(1);
        self.tags[at] = line;
        self.lines[at] = Line {
            ready,
            ownership,
            prefetched,
            used: self.clock,
        };
        old
    }

    /// Forgets a line; whether it was here, and modified.
    pub fn drop_line(&mut self, line: u64) -> Option<bool> {
        let place = self.peek(line)?;
        self.tags[place.0] = EMPTY;
        Some(self.lines[place.0].ownership == Ownership::Modified)
    }
}

/// Misses under way: a fixed number of them.
#[derive(Clone, Debug)]
pub(crate) struct Outstanding {
    until: Vec<u64>,
}

impl Outstanding {
    pub fn new(count: u64) -> Outstanding {
        Outstanding {
            until: vec![0; count as usize],
        }
    }

    /// The slot that is free first.
    #[inline]
    fn earliest(&self) -> usize {
        let mut best = 0;
        for (n, &until) in self.until.iter().enumerate() {
            if until < self.until[best] {
                best = n;
            }
        }
        best
    }

    /// When a miss that wants to start at `at` can; tell with [`Outstanding::hold`] until when.
    #[inline]
    pub fn start(&self, at: u64) -> (usize, u64) {
        let slot = self.earliest();
        (slot, at.max(self.until[slot]))
    }

    #[inline]
    pub fn hold(&mut self, slot: usize, until: u64) {
        self.until[slot] = until;
    }

    /// Whether a slot is free at `at` (prefetches do not wait).
    #[inline]
    pub fn has_room(&self, at: u64) -> bool {
        self.until[self.earliest()] <= at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_line_goes() {
        let mut cache = Cache::new(4 * 64, 2);
        assert_eq!(cache.fill(0, 5, Ownership::Shared, false), None);
        assert_eq!(cache.fill(2, 5, Ownership::Modified, false), None);
        assert!(cache.find(0).is_some());
        assert_eq!(cache.fill(4, 5, Ownership::Shared, false), Some((2, true)));
        assert!(cache.peek(0).is_some() && cache.peek(2).is_none());
        assert!(cache.fill(1, 5, Ownership::Shared, false).is_none());
    }

    #[test]
    fn a_miss_waits_for_a_free_slot() {
        let mut misses = Outstanding::new(2);
        for until in [100, 50] {
            let (slot, start) = misses.start(10);
            assert_eq!(start, 10);
            misses.hold(slot, until);
        }
        assert_eq!(misses.start(10).1, 50);
        assert!(!misses.has_room(49) && misses.has_room(50));
    }
}
