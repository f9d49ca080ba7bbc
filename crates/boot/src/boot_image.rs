//! The result of preparing a boot: what to write into guest memory, and where to start.
//!
//! A [`BootImage`] is plain data. It can be listed, compared, and written as often as the machine
//! is reset; writing it is the only way in which this crate touches a machine.

use crate::memory::{MemoryMap, PhysRange};
use crate::start::StartState;
use ring3_arch::GuestPhys;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;
use thiserror::Error;

/// Guest memory as the boot sees it: something that bytes can be put into.
///
/// [`MemoryMap::is_backed`] says which addresses must answer with RAM.
pub trait PhysicalMemory {
    /// Writes `bytes` from `address` on.
    ///
    /// # Errors
    /// If some address of the range is not RAM.
    fn write(&mut self, address: GuestPhys, bytes: &[u8]) -> Result<(), WriteError>;

    /// How many bytes of RAM there are in total, as given to [`MemoryMap::pc`].
    fn size(&self) -> u64;

    /// Writes `length` zeros. Memory that is known to be zero can do nothing instead.
    ///
    /// # Errors
    /// If some address of the range is not RAM.
    fn write_zeros(&mut self, address: GuestPhys, length: u64) -> Result<(), WriteError> {
        const CHUNK: usize = 64 << 10;
        let zeros = [0; CHUNK];
        let mut done = 0;
        while done < length {
            let now = (length - done).min(CHUNK as u64);
            let at = GuestPhys(address.0.wrapping_add(done));
            self.write(at, &zeros[..now as usize])?;
            done += now;
        }
        Ok(())
    }
}

/// Guest memory did not take a write.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no RAM at {:#x} ({length} bytes)", address.0)]
pub struct WriteError {
    /// Where the write started.
    pub address: GuestPhys,
    /// How long it was.
    pub length: u64,
}

/// A boot image did not go into a memory.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ApplyError {
    /// The memory is not the one the image was made for.
    #[error(
        "the boot image was made for {expected} bytes of memory, but the machine has {actual}: prepare the boot again for this machine"
    )]
    OtherMemory {
        /// What the image was made for.
        expected: u64,
        /// What the memory has.
        actual: u64,
    },
    /// A write failed.
    #[error("{what} can't be written: {source}")]
    Write {
        /// What was being written.
        what: String,
        /// Why it failed.
        source: WriteError,
    },
}

/// Bytes that several owners share without copying: a part of a larger buffer.
#[derive(Clone)]
pub struct Bytes {
    buffer: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl Bytes {
    /// The part `range` of these bytes, or `None` if it isn't wholly inside.
    pub fn slice(&self, range: Range<usize>) -> Option<Bytes> {
        if range.start > range.end || range.end > self.range.len() {
            return None;
        }
        Some(Bytes {
            buffer: Arc::clone(&self.buffer),
            range: self.range.start + range.start..self.range.start + range.end,
        })
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(buffer: Vec<u8>) -> Bytes {
        let range = 0..buffer.len();
        Bytes {
            buffer: Arc::new(buffer),
            range,
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Bytes) -> bool {
        **self == **other
    }
}

impl Eq for Bytes {}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// What a write puts into memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Bytes),
    /// So many zeros.
    Zeros(u64),
}

impl Content {
    /// How many bytes of memory it fills.
    pub fn size(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Zeros(size) => *size,
        }
    }
}

/// One thing that is put into guest memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryWrite {
    /// What it is, for people: `command line`, `kernel segment 2`.
    pub what: String,
    /// Where it goes.
    pub address: GuestPhys,
    /// What goes there.
    pub content: Content,
}

impl MemoryWrite {
    /// The addresses it fills.
    pub fn range(&self) -> PhysRange {
        PhysRange::new(self.address, self.content.size())
            .expect("a write was placed inside RAM, so its end is an address")
    }
}

/// A kernel ready to run: the contents of memory and the state of the bootstrap processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootImage {
    /// What to put into memory: sorted by address, without overlaps.
    pub writes: Vec<MemoryWrite>,
    /// How the bootstrap processor starts.
    pub start: StartState,
    /// The memory map that the guest is told.
    pub memory_map: MemoryMap,
}

impl BootImage {
    /// Puts everything into `memory`.
    ///
    /// # Errors
    /// If the memory has another size than the map, or no RAM where the map promises it.
    pub fn write_to(&self, memory: &mut dyn PhysicalMemory) -> Result<(), ApplyError> {
        let expected = self.memory_map.ram_bytes();
        let actual = memory.size();
        if actual != expected {
            return Err(ApplyError::OtherMemory { expected, actual });
        }
        for write in &self.writes {
            match &write.content {
                Content::Bytes(bytes) => memory.write(write.address, bytes),
                Content::Zeros(length) => memory.write_zeros(write.address, *length),
            }
            .map_err(|source| ApplyError::Write {
                what: write.what.clone(),
                source,
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_of_a_slice_stays_inside() {
        let bytes = Bytes::from((0..100).collect::<Vec<u8>>());
        let part = bytes.slice(10..20).unwrap();
        assert_eq!(&*part.slice(2..4).unwrap(), &[12, 13]);
        assert_eq!(part.slice(5..11), None);
        #[allow(clippy::reversed_empty_ranges)]
        let reversed = 3..2;
        assert_eq!(part.slice(reversed), None);
        assert!(part.slice(10..10).unwrap().is_empty());
    }

    struct Recorder(Vec<(u64, usize)>);

    impl PhysicalMemory for Recorder {
        fn write(&mut self, address: GuestPhys, bytes: &[u8]) -> Result<(), WriteError> {
            assert!(bytes.iter().all(|b| *b == 0));
            self.0.push((address.0, bytes.len()));
            Ok(())
        }

        fn size(&self) -> u64 {
            0
        }
    }

    #[test]
    fn zeros_are_written_in_chunks() {
        let mut memory = Recorder(Vec::new());
        memory.write_zeros(GuestPhys(0x1000), 0x1_8001).unwrap();
        assert_eq!(memory.0, [(0x1000, 0x1_0000), (0x1_1000, 0x8001)]);
    }
}
