//! Where a PC has RAM, and what else stands in its physical address space.
//!
//! Modelled: the layout that PC firmware reports through INT 15h, AX=E820h: conventional memory
//! below 640 KiB, the legacy BIOS area, extended memory up to the hole for devices, and the rest
//! from 4 GiB on. Source: ACPI Specification 6.5, "System Address Map Interfaces". Not modelled:
//! NUMA, hot-plugged memory, persistent memory, more than one hole.

use ring3_arch::{GuestPhys, PAGE_SIZE, paging};
use std::fmt;
use thiserror::Error;

/// Where the hole for devices below 4 GiB starts, unless a machine says otherwise.
pub const DEVICE_HOLE_START: u64 = 0xc000_0000;

/// Where the RAM that does not fit below the hole goes on.
pub const HIGH_RAM_START: u64 = 1 << 32;

/// The end of conventional memory that an operating system may use: the last KiB below 640 KiB
/// belongs to the extended BIOS data area.
pub const CONVENTIONAL_END: u64 = 0x9_fc00;

/// The end of the extended BIOS data area, where video memory would begin.
pub const EBDA_END: u64 = 0xa_0000;

/// The legacy BIOS area in which an operating system looks for the ACPI root pointer. ACPI
/// Specification 6.5, "Finding the RSDP on IA-PC Systems".
pub const BIOS_AREA: PhysRange = PhysRange {
    start: 0xe_0000,
    end: 0x10_0000,
};

/// Where extended memory begins.
pub const EXTENDED_START: u64 = 0x10_0000;

/// A range of guest-physical addresses: `start` belongs to it, `end` doesn't, `start <= end`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhysRange {
    start: u64,
    end: u64,
}

impl PhysRange {
    /// The range of `size` bytes from `start`, or `None` if it would leave the 64-bit space.
    pub fn new(start: GuestPhys, size: u64) -> Option<PhysRange> {
        let end = start.0.checked_add(size)?;
        Some(PhysRange {
            start: start.0,
            end,
        })
    }

    /// The range from `start` up to and without `end`, or `None` if `end` lies below `start`.
    pub fn between(start: GuestPhys, end: GuestPhys) -> Option<PhysRange> {
        (start <= end).then_some(PhysRange {
            start: start.0,
            end: end.0,
        })
    }

    /// The first address.
    pub fn start(self) -> GuestPhys {
        GuestPhys(self.start)
    }

    /// The first address behind the range.
    pub fn end(self) -> GuestPhys {
        GuestPhys(self.end)
    }

    /// Its length in bytes.
    pub fn size(self) -> u64 {
        self.end - self.start
    }

    /// Whether it holds no address at all.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether both hold some address.
    pub fn overlaps(self, other: PhysRange) -> bool {
        self.start.max(other.start) < self.end.min(other.end)
    }

    /// Whether every address of `other` is in this range.
    pub fn contains(self, other: PhysRange) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// The smallest range of whole pages around it.
    pub fn page_aligned(self) -> PhysRange {
        PhysRange {
            start: self.start & !(PAGE_SIZE - 1),
            end: self
                .end
                .checked_next_multiple_of(PAGE_SIZE)
                .unwrap_or(u64::MAX),
        }
    }
}

impl fmt::Display for PhysRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start, self.end)
    }
}

impl fmt::Debug for PhysRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a range of the memory map is. The numbers are those of ACPI Specification 6.5, "Address
/// Range Types"; Linux, Multiboot and PVH use them too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum MemoryKind {
    /// RAM that the operating system may use.
    Ram = 1,
    /// Not for the operating system: firmware or a device.
    Reserved = 2,
    /// RAM with ACPI tables: free for use when they have been read.
    AcpiTables = 3,
    /// RAM that ACPI keeps for itself.
    AcpiNvs = 4,
}

/// One line of the memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryMapEntry {
    /// The addresses.
    pub range: PhysRange,
    /// What they are.
    pub kind: MemoryKind,
}

/// The amount of RAM can't be laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MemoryMapError {
    /// Too little for any kernel.
    #[error(
        "{bytes} bytes of memory are too few for a PC: give the machine at least {MINIMUM_RAM} bytes (2 MiB)"
    )]
    TooSmall {
        /// What was asked for.
        bytes: u64,
    },
    /// More than physical addresses can name.
    #[error(
        "{bytes} bytes of memory are more than {} physical address bits can name: give the machine less",
        paging::PHYSICAL_BITS
    )]
    TooLarge {
        /// What was asked for.
        bytes: u64,
    },
    /// Not a whole number of pages.
    #[error("{bytes} bytes of memory are not a multiple of the page size, {PAGE_SIZE} bytes")]
    NotPages {
        /// What was asked for.
        bytes: u64,
    },
    /// The hole for devices can't start there.
    #[error(
        "the hole for devices can't start at {start:#x}: it must start on a page between 2 MiB and 4 GiB"
    )]
    HoleStart {
        /// What was asked for.
        start: u64,
    },
}

/// The least amount of RAM that [`MemoryMap`] lays out: 2 MiB.
pub const MINIMUM_RAM: u64 = 2 << 20;

/// The memory map of a machine: sorted, without overlaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryMap {
    ram_bytes: u64,
    low_end: u64,
    entries: Vec<MemoryMapEntry>,
}

impl MemoryMap {
    /// The map of a PC with `ram_bytes` of RAM in total and the hole at [`DEVICE_HOLE_START`].
    ///
    /// The RAM "behind" 640 KiB to 1 MiB counts, as it does on a PC: with 512 MiB, RAM ends at
    /// address 0x2000_0000.
    ///
    /// # Errors
    /// If there is too little, too much, or a fraction of a page.
    pub fn pc(ram_bytes: u64) -> Result<MemoryMap, MemoryMapError> {
        MemoryMap::pc_with_hole(ram_bytes, DEVICE_HOLE_START)
    }

    /// Like [`MemoryMap::pc`], with the hole from `hole_start` to 4 GiB.
    ///
    /// # Errors
    /// As [`MemoryMap::pc`], and if the hole's start is out of question.
    pub fn pc_with_hole(ram_bytes: u64, hole_start: u64) -> Result<MemoryMap, MemoryMapError> {
        if ram_bytes < MINIMUM_RAM {
            return Err(MemoryMapError::TooSmall { bytes: ram_bytes });
        }
        if !ram_bytes.is_multiple_of(PAGE_SIZE) {
            return Err(MemoryMapError::NotPages { bytes: ram_bytes });
        }
        if !(MINIMUM_RAM..=HIGH_RAM_START).contains(&hole_start)
            || !hole_start.is_multiple_of(PAGE_SIZE)
        {
            return Err(MemoryMapError::HoleStart { start: hole_start });
        }
        let low_end = ram_bytes.min(hole_start);
        let high_bytes = ram_bytes - low_end;
        let high_end = HIGH_RAM_START
            .checked_add(high_bytes)
            .filter(|end| *end <= 1 << paging::PHYSICAL_BITS)
            .ok_or(MemoryMapError::TooLarge { bytes: ram_bytes })?;

        let ram = MemoryKind::Ram;
        let reserved = MemoryKind::Reserved;
        let mut entries = Vec::new();
        for (start, end, kind) in [
            (0, CONVENTIONAL_END, ram),
            (CONVENTIONAL_END, EBDA_END, reserved),
            (BIOS_AREA.start, BIOS_AREA.end, reserved),
            (EXTENDED_START, low_end, ram),
            (HIGH_RAM_START, high_end, ram),
        ] {
            if start < end {
                entries.push(MemoryMapEntry {
                    range: PhysRange { start, end },
                    kind,
                });
            }
        }
        Ok(MemoryMap {
            ram_bytes,
            low_end,
            entries,
        })
    }

    /// How many bytes of RAM the machine has.
    pub fn ram_bytes(&self) -> u64 {
        self.ram_bytes
    }

    /// Where the RAM below the hole ends.
    pub fn low_end(&self) -> GuestPhys {
        GuestPhys(self.low_end)
    }

    /// The lines of the map, sorted by address.
    pub fn entries(&self) -> &[MemoryMapEntry] {
        &self.entries
    }

    /// Whether the machine answers every address of `range` with RAM, whatever the map calls it.
    ///
    /// The map's owner promises RAM from 0 to 640 KiB, in the BIOS area, and from 1 MiB on.
    pub fn is_backed(&self, range: PhysRange) -> bool {
        let high_end = HIGH_RAM_START + (self.ram_bytes - self.low_end);
        [
            (0, EBDA_END),
            (BIOS_AREA.start, self.low_end),
            (HIGH_RAM_START, high_end),
        ]
        .into_iter()
        .any(|(start, end)| PhysRange { start, end }.contains(range))
    }

    /// Whether the operating system may use every address of `range` as RAM.
    pub fn is_ram(&self, range: PhysRange) -> bool {
        self.entries
            .iter()
            .any(|e| e.kind == MemoryKind::Ram && e.range.contains(range))
    }

    /// Makes `range` a `kind`, whatever it was before; parts of other lines outside it stay.
    pub fn set(&mut self, range: PhysRange, kind: MemoryKind) {
        if range.is_empty() {
            return;
        }
        let mut entries = Vec::with_capacity(self.entries.len() + 2);
        for old in &self.entries {
            for (start, end) in [
                (old.range.start, old.range.end.min(range.start)),
                (old.range.start.max(range.end), old.range.end),
            ] {
                if start < end {
                    entries.push(MemoryMapEntry {
                        range: PhysRange { start, end },
                        kind: old.kind,
                    });
                }
            }
        }
        entries.push(MemoryMapEntry { range, kind });
        entries.sort_by_key(|e| e.range);
        self.entries = entries;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> PhysRange {
        PhysRange { start, end }
    }

    fn sorted_and_disjoint(map: &MemoryMap) -> bool {
        map.entries
            .windows(2)
            .all(|w| w[0].range.end <= w[1].range.start)
            && map.entries.iter().all(|e| !e.range.is_empty())
    }

    fn ram_sum(map: &MemoryMap) -> u64 {
        map.entries
            .iter()
            .filter(|e| e.kind == MemoryKind::Ram)
            .map(|e| e.range.size())
            .sum()
    }

    #[test]
    fn ram_is_split_around_the_hole() {
        let map = MemoryMap::pc(8 << 30).unwrap();
        assert!(sorted_and_disjoint(&map));
        assert_eq!(map.low_end(), GuestPhys(0xc000_0000));
        assert_eq!(
            map.entries.last().unwrap().range,
            range(1 << 32, (1 << 32) + (5 << 30))
        );
        // All RAM but the 385 KiB behind the EBDA, the video memory and the BIOS.
        assert_eq!(ram_sum(&map), (8 << 30) - (0x10_0000 - 0x9_fc00));
        for device in [0xfec0_0000, 0xfed0_0000, 0xfee0_0000, 0xffff_f000] {
            assert!(!map.is_ram(range(device, device + 0x1000)));
            assert!(!map.is_backed(range(device, device + 0x1000)));
        }
    }

    #[test]
    fn small_machines_end_where_their_ram_ends() {
        let map = MemoryMap::pc(512 << 20).unwrap();
        assert!(sorted_and_disjoint(&map));
        assert_eq!(map.entries.last().unwrap().range, range(1 << 20, 512 << 20));
        assert!(!map.is_backed(range(512 << 20, (512 << 20) + 1)));
        assert!(!map.is_ram(range(0xa_0000, 0xa_0001)));
        assert!(map.is_backed(BIOS_AREA) && !map.is_ram(BIOS_AREA));
        // A line that spans the end of conventional memory is not RAM, nor one into video memory.
        assert!(!map.is_ram(range(0x9_f000, 0xa_0000)));
        assert!(!map.is_backed(range(0x9_f000, 0xa_0001)));
    }

    #[test]
    fn exactly_the_hole_leaves_nothing_above_4_gib() {
        let map = MemoryMap::pc(0xc000_0000).unwrap();
        assert_eq!(map.entries.last().unwrap().range.end, 0xc000_0000);
        let map = MemoryMap::pc(0xc000_0000 + PAGE_SIZE).unwrap();
        assert_eq!(map.entries.last().unwrap().range.end, (1 << 32) + PAGE_SIZE);
    }

    #[test]
    fn impossible_amounts_are_refused() {
        assert!(matches!(
            MemoryMap::pc(0),
            Err(MemoryMapError::TooSmall { .. })
        ));
        assert!(matches!(
            MemoryMap::pc((4 << 20) + 1),
            Err(MemoryMapError::NotPages { .. })
        ));
        assert!(matches!(
            MemoryMap::pc(!0xfff),
            Err(MemoryMapError::TooLarge { .. })
        ));
        assert!(MemoryMap::pc((1 << 46) - (1 << 30)).is_ok());
        assert!(MemoryMap::pc((1 << 46) - (1 << 30) + PAGE_SIZE).is_err());
        assert!(MemoryMap::pc_with_hole(4 << 30, 0xc000_0001).is_err());
        assert!(MemoryMap::pc_with_hole(4 << 30, 0).is_err());
    }

    #[test]
    fn a_kind_is_carved_out_of_what_was_there() {
        let mut map = MemoryMap::pc(64 << 20).unwrap();
        map.set(range(0x20_0000, 0x30_0000), MemoryKind::AcpiTables);
        map.set(range(0xfec0_0000, 0xfec0_1000), MemoryKind::Reserved);
        map.set(range(0x28_0000, 0x28_0000), MemoryKind::Reserved);
        assert!(sorted_and_disjoint(&map));
        assert!(map.is_ram(range(0x10_0000, 0x20_0000)));
        assert!(!map.is_ram(range(0x1f_ffff, 0x20_0001)));
        assert!(map.is_backed(range(0x10_0000, 0x40_0000)));
        assert!(map.is_ram(range(0x30_0000, 64 << 20)));
        // Over the seam of two lines.
        map.set(range(0x1f_0000, 0x31_0000), MemoryKind::AcpiNvs);
        assert!(sorted_and_disjoint(&map));
        assert_eq!(
            map.entries
                .iter()
                .filter(|e| e.kind == MemoryKind::AcpiTables)
                .count(),
            0
        );
    }

    #[test]
    fn ranges_know_their_neighbours() {
        assert!(range(0, 2).overlaps(range(1, 3)));
        assert!(!range(0, 2).overlaps(range(2, 3)));
        assert!(!range(1, 1).overlaps(range(0, 3)));
        assert_eq!(PhysRange::new(GuestPhys(u64::MAX), 1), None);
        assert_eq!(PhysRange::new(GuestPhys(u64::MAX), 2), None);
        assert_eq!(PhysRange::between(GuestPhys(2), GuestPhys(1)), None);
        assert_eq!(range(0x1001, 0x1fff).page_aligned(), range(0x1000, 0x2000));
    }
}
