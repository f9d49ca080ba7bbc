//! Finding places in RAM for everything that a boot puts there.
//!
//! Addresses come out the same whenever the same things are asked for in the same order.

use crate::boot_image::{Content, MemoryWrite};
use crate::memory::{MemoryKind, MemoryMap, PhysRange};
use ring3_arch::GuestPhys;
use thiserror::Error;

/// Something doesn't fit into the machine's memory.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlacementError {
    /// It must stand where there is no RAM.
    #[error(
        "{what} must stand at {range}, but the machine has no RAM for it there (RAM ends at {:#x}): give the machine more memory",
        low_end.0
    )]
    NotRam {
        /// What doesn't fit.
        what: String,
        /// Where it must stand.
        range: PhysRange,
        /// Where RAM below the device hole ends.
        low_end: GuestPhys,
    },
    /// It must stand where something else stands.
    #[error("{what} must stand at {range}, where {other} stands ({other_range})")]
    Taken {
        /// What doesn't fit.
        what: String,
        /// Where it must stand.
        range: PhysRange,
        /// What is there already.
        other: String,
        /// Where that is.
        other_range: PhysRange,
    },
    /// No free place is large enough.
    #[error(
        "no room for {what}: {size} bytes are needed in one piece within {within}; give the machine more memory or make it smaller"
    )]
    NoRoom {
        /// What doesn't fit.
        what: String,
        /// How large it is.
        size: u64,
        /// Where it would have to stand.
        within: PhysRange,
    },
}

/// From which end a free place is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Low,
    High,
}

/// The memory of a machine while it is being filled.
pub(crate) struct Placement {
    map: MemoryMap,
    taken: Vec<(PhysRange, String)>,
    writes: Vec<MemoryWrite>,
}

impl Placement {
    pub(crate) fn new(map: MemoryMap) -> Placement {
        Placement {
            map,
            taken: Vec::new(),
            writes: Vec::new(),
        }
    }

    pub(crate) fn map(&self) -> &MemoryMap {
        &self.map
    }

    /// Takes `range`, which must be free RAM.
    pub(crate) fn claim(&mut self, range: PhysRange, what: &str) -> Result<(), PlacementError> {
        if !self.map.is_ram(range) {
            return Err(PlacementError::NotRam {
                what: what.to_owned(),
                range,
                low_end: self.map.low_end(),
            });
        }
        if let Some((other_range, other)) = self.taken.iter().find(|(t, _)| t.overlaps(range)) {
            return Err(PlacementError::Taken {
                what: what.to_owned(),
                range,
                other: other.clone(),
                other_range: *other_range,
            });
        }
        self.taken.push((range, what.to_owned()));
        Ok(())
    }

    /// Takes a free place of `size` bytes in RAM within `within`, whose start is a multiple of
    /// `alignment` (a power of two).
    pub(crate) fn find(
        &mut self,
        size: u64,
        alignment: u64,
        within: PhysRange,
        side: Side,
        what: &str,
    ) -> Result<GuestPhys, PlacementError> {
        let mut best: Option<u64> = None;
        for gap in self.gaps(within) {
            let (low, high) = (gap.start().0, gap.end().0);
            let start = match side {
                Side::Low => low.checked_next_multiple_of(alignment),
                Side::High => high.checked_sub(size).map(|s| s & !(alignment - 1)),
            };
            let Some(start) = start else { continue };
            let fits = start >= low && start.checked_add(size).is_some_and(|end| end <= high);
            if fits {
                best = Some(match (best, side) {
                    (None, _) => start,
                    (Some(b), Side::Low) => b.min(start),
                    (Some(b), Side::High) => b.max(start),
                });
            }
        }
        let start = best.ok_or_else(|| PlacementError::NoRoom {
            what: what.to_owned(),
            size,
            within,
        })?;
        let range = PhysRange::new(GuestPhys(start), size).expect("found inside a gap");
        self.taken.push((range, what.to_owned()));
        Ok(GuestPhys(start))
    }

    /// The free RAM within `within`.
    fn gaps(&self, within: PhysRange) -> Vec<PhysRange> {
        let mut taken: Vec<PhysRange> = self.taken.iter().map(|(r, _)| *r).collect();
        taken.sort();
        let mut gaps = Vec::new();
        for entry in self.map.entries() {
            if entry.kind != MemoryKind::Ram {
                continue;
            }
            let mut start = entry.range.start().max(within.start());
            let end = entry.range.end().min(within.end());
            for t in &taken {
                if let Some(gap) = PhysRange::between(start, t.start().min(end))
                    && !gap.is_empty()
                {
                    gaps.push(gap);
                }
                start = start.max(t.end());
            }
            if let Some(gap) = PhysRange::between(start, end)
                && !gap.is_empty()
            {
                gaps.push(gap);
            }
        }
        gaps
    }

    /// Marks RAM as something else for the guest. What was placed there stays.
    pub(crate) fn set_kind(&mut self, range: PhysRange, kind: MemoryKind) {
        self.map.set(range, kind);
    }

    /// Writes `content` at a place that was taken before (or that is not the guest's RAM).
    pub(crate) fn put(&mut self, address: GuestPhys, content: Content, what: &str) {
        if content.size() > 0 {
            self.writes.push(MemoryWrite {
                what: what.to_owned(),
                address,
                content,
            });
        }
    }

    /// Writes `bytes` at a place that was taken before.
    pub(crate) fn put_bytes(&mut self, address: GuestPhys, bytes: Vec<u8>, what: &str) {
        self.put(address, Content::Bytes(bytes.into()), what);
    }

    /// All writes in order, and the map as it is now.
    pub(crate) fn finish(self) -> (Vec<MemoryWrite>, MemoryMap) {
        let mut writes = self.writes;
        writes.sort_by_key(|w| w.address);
        assert!(
            writes
                .windows(2)
                .all(|w| !w[0].range().overlaps(w[1].range())),
            "two parts of the boot image overlap: {writes:?}"
        );
        assert!(
            writes.iter().all(|w| self.map.is_backed(w.range())),
            "a part of the boot image is not in RAM: {writes:?}"
        );
        (writes, self.map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> PhysRange {
        PhysRange::between(GuestPhys(start), GuestPhys(end)).unwrap()
    }

    fn placement() -> Placement {
        Placement::new(MemoryMap::pc(16 << 20).unwrap())
    }

    const ALL: (u64, u64) = (0, u64::MAX);

    #[test]
    fn what_is_taken_stays_taken() {
        let mut p = placement();
        p.claim(range(0x10_0000, 0x20_0000), "a kernel").unwrap();
        let error = p.claim(range(0x1f_ffff, 0x20_0001), "x").unwrap_err();
        assert!(error.to_string().contains("a kernel"), "{error}");
        p.claim(range(0x20_0000, 0x20_0001), "y").unwrap();
        assert!(matches!(
            p.claim(range(0xff_f000, 0x100_1000), "z"),
            Err(PlacementError::NotRam { .. })
        ));
        assert!(matches!(
            p.claim(range(0xa_0000, 0xa_1000), "video"),
            Err(PlacementError::NotRam { .. })
        ));
    }

    #[test]
    fn places_are_found_from_both_ends_around_what_is_taken() {
        let mut p = placement();
        p.claim(range(0x10_0000, 0x18_0000), "kernel").unwrap();
        p.claim(range(0xf0_0000, 0x100_0000), "tables").unwrap();
        let all = range(ALL.0, ALL.1);
        let above = p.find(0x1234, 0x1000, all, Side::High, "a").unwrap();
        assert_eq!(above, GuestPhys(0xef_e000 - 0x1000 + 0x1000));
        let again = p.find(0x1000, 0x1000, all, Side::High, "b").unwrap();
        assert_eq!(again, GuestPhys(0xef_d000));
        let from_1m = range(0x10_0000, ALL.1);
        let below = p.find(1, 0x10_0000, from_1m, Side::Low, "c").unwrap();
        assert_eq!(below, GuestPhys(0x20_0000));
        let next = p.find(1, 1, from_1m, Side::Low, "d").unwrap();
        assert_eq!(next, GuestPhys(0x18_0000));
    }

    #[test]
    fn too_large_is_an_error_with_the_size() {
        let mut p = placement();
        let error = p
            .find(16 << 20, 1, range(ALL.0, ALL.1), Side::Low, "initrd")
            .unwrap_err();
        assert!(error.to_string().contains("16777216"), "{error}");
        // 640 KiB to 1 MiB is not RAM, so nothing spans it.
        assert!(
            p.find(0x9_fc00, 1, range(0, 0x10_0000), Side::Low, "x")
                .is_ok()
        );
        assert!(p.find(1, 1, range(0, 0x10_0000), Side::Low, "x").is_err());
        assert!(
            p.find(u64::MAX, 1 << 63, range(0, ALL.1), Side::High, "x")
                .is_err()
        );
    }

    #[test]
    #[should_panic(expected = "overlap")]
    fn overlapping_writes_are_our_mistake() {
        let mut p = placement();
        p.put_bytes(GuestPhys(0x1000), vec![1; 16], "a");
        p.put_bytes(GuestPhys(0x100f), vec![1; 16], "b");
        p.finish();
    }
}
