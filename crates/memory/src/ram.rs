//! The machine's RAM.

use memmap2::{Advice, MmapMut, MmapOptions};
use ring3_arch::{GuestPhys, PAGE_SIZE};
use std::fs::File;

/// Where the hole for devices starts when there is more RAM than fits below it.
const HOLE_START: u64 = 3 << 30;
/// Where RAM goes on after the hole.
const HIGH_START: u64 = 4 << 30;

/// How much RAM there is and where it stands in guest-physical space: up to 3 GiB from address 0,
/// the rest from 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RamLayout {
    low_size: u64,
    high_size: u64,
}

impl RamLayout {
    /// The layout for `size` bytes, rounded up to whole pages.
    pub fn new(size: u64) -> RamLayout {
        let size = size.next_multiple_of(PAGE_SIZE);
        let low_size = size.min(HOLE_START);
        RamLayout {
            low_size,
            high_size: size - low_size,
        }
    }

    /// Bytes of RAM.
    pub fn size(&self) -> u64 {
        self.low_size + self.high_size
    }

    /// The guest-physical ranges (start, length) that are RAM.
    pub fn ranges(&self) -> Vec<(GuestPhys, u64)> {
        let mut ranges = vec![(GuestPhys(0), self.low_size)];
        if self.high_size > 0 {
            ranges.push((GuestPhys(HIGH_START), self.high_size));
        }
        ranges
    }

    /// The offset into the flat backing of a guest-physical address, if it is RAM.
    #[inline]
    pub fn offset(&self, address: GuestPhys) -> Option<u64> {
        if address.0 < self.low_size {
            Some(address.0)
        } else if address.0.wrapping_sub(HIGH_START) < self.high_size {
            Some(address.0 - HIGH_START + self.low_size)
        } else {
            None
        }
    }

    /// The guest-physical address of an offset into the backing.
    pub fn address(&self, offset: u64) -> GuestPhys {
        if offset < self.low_size {
            GuestPhys(offset)
        } else {
            GuestPhys(offset - self.low_size + HIGH_START)
        }
    }
}

/// A guest-physical range is not (wholly) RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutsideRam(pub GuestPhys);

/// RAM: a flat, lazily allocated host mapping.
pub struct Ram {
    layout: RamLayout,
    backing: MmapMut,
}

impl Ram {
    /// Zeroed RAM. Host memory is taken only for the pages that are touched.
    ///
    /// # Errors
    /// If the host refuses the mapping.
    pub fn new(layout: RamLayout) -> std::io::Result<Ram> {
        let backing = MmapOptions::new()
            .len(layout.size() as usize)
            .no_reserve_swap()
            .map_anon()?;
        // No child needs the guest's memory. This also keeps the host from joining the mapping with its
        // neighbours, so that it can be told how much of it has been touched. Nothing depends on it.
        let _ = backing.advise(Advice::DontFork);
        Ok(Ram { layout, backing })
    }

    /// RAM whose initial content is `layout.size()` bytes of `file` from `offset`, copied page by
    /// page when written: restoring costs nothing up front and never changes the file.
    ///
    /// # Errors
    /// If the file is shorter than that or the host refuses the mapping.
    pub fn from_file(layout: RamLayout, file: &File, offset: u64) -> std::io::Result<Ram> {
        let end = offset.checked_add(layout.size());
        if end.is_none_or(|end| file.metadata().map(|m| m.len()).unwrap_or(0) < end) {
            return Err(std::io::Error::new(
                std::io::ErrorKind::UnexpectedEof,
                "the file is shorter than the memory it should hold",
            ));
        }
        let mut options = MmapOptions::new();
        options
            .offset(offset)
            .len(layout.size() as usize)
            .no_reserve_swap();
        // SAFETY: the mapping is private, so the guest cannot change the file. The remaining
        // hazard of file mappings is that another process truncates or rewrites the file: the
        // snapshot store never modifies a file in place (it renames complete ones), and a changed
        // byte would be a changed byte of guest memory, which is untrusted anyway.
        #[allow(unsafe_code)]
        let backing = unsafe { options.map_copy(file)? };
        Ok(Ram { layout, backing })
    }

    /// Where it stands.
    pub fn layout(&self) -> RamLayout {
        self.layout
    }

    /// All bytes, by offset (see [`RamLayout::offset`]).
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        &self.backing
    }

    /// All bytes, writable. The caller keeps the [`CodeMap`](crate::CodeMap) informed.
    #[inline(always)]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.backing
    }

    fn range(
        &self,
        address: GuestPhys,
        length: usize,
    ) -> Result<std::ops::Range<usize>, OutsideRam> {
        let outside = OutsideRam(address);
        if length == 0 {
            return Ok(0..0);
        }
        let first = self.layout.offset(address).ok_or(outside)?;
        let last_address = address.0.checked_add(length as u64 - 1).ok_or(outside)?;
        let last = self.layout.offset(GuestPhys(last_address)).ok_or(outside)?;
        if last - first != length as u64 - 1 {
            return Err(outside);
        }
        Ok(first as usize..last as usize + 1)
    }

    /// Copies out of RAM.
    ///
    /// # Errors
    /// If the range is not wholly RAM.
    pub fn read(&self, address: GuestPhys, into: &mut [u8]) -> Result<(), OutsideRam> {
        let range = self.range(address, into.len())?;
        into.copy_from_slice(&self.backing[range]);
        Ok(())
    }

    /// Copies into RAM.
    ///
    /// # Errors
    /// If the range is not wholly RAM; nothing is written then.
    pub fn write(&mut self, address: GuestPhys, from: &[u8]) -> Result<(), OutsideRam> {
        let range = self.range(address, from.len())?;
        self.backing[range].copy_from_slice(from);
        Ok(())
    }

    /// Reads a little-endian quadword.
    #[inline]
    pub fn read_u64(&self, address: GuestPhys) -> Option<u64> {
        let offset = self.layout.offset(address)? as usize;
        let bytes = self.backing.get(offset..offset + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
    }

    /// Writes a little-endian quadword; does nothing outside RAM.
    #[inline]
    pub fn write_u64(&mut self, address: GuestPhys, value: u64) {
        if let Some(offset) = self.layout.offset(address)
            && let Some(bytes) = self.backing.get_mut(offset as usize..offset as usize + 8)
        {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_beyond_three_gigabytes_continues_at_four() {
        let layout = RamLayout::new(5 << 30);
        assert_eq!(
            layout.ranges(),
            [(GuestPhys(0), 3 << 30), (GuestPhys(4 << 30), 2 << 30)]
        );
        assert_eq!(layout.offset(GuestPhys(3 << 30)), None);
        assert_eq!(layout.offset(GuestPhys(4 << 30)), Some(3 << 30));
        assert_eq!(layout.address(3 << 30), GuestPhys(4 << 30));
        assert_eq!(layout.offset(GuestPhys(6 << 30)), None);
    }

    #[test]
    fn a_range_that_leaves_ram_is_refused_whole() {
        let mut ram = Ram::new(RamLayout::new(8192)).unwrap();
        assert_eq!(
            ram.write(GuestPhys(8190), &[1, 2, 3]),
            Err(OutsideRam(GuestPhys(8190)))
        );
        assert_eq!(ram.bytes()[8190], 0);
        assert_eq!(ram.write(GuestPhys(8190), &[1, 2]), Ok(()));
        assert_eq!(
            ram.read(GuestPhys(u64::MAX), &mut [0; 2]),
            Err(OutsideRam(GuestPhys(u64::MAX)))
        );
    }
}
