//! The virtio block device: a disk.
//!
//! Source: VIRTIO 1.2, "Block Device". Modelled: reads, writes, flush, the device ID; one request
//! queue; limits on segments. Not modelled: discard, write zeroes, secure erase, topology, several
//! queues, cache mode switching.
//!
//! The capacity is fixed when the device is built and may be larger than the content, so that a
//! snapshot taken with one image can be continued with another ([`Blk::replace_backend`]): the
//! guest has learnt the capacity only. What lies past the content reads as zeros.
//!
//! A request completes during its notification, or, where the device has a latency, that many
//! ticks later, in the order of requests; its effects on guest memory and on the disk happen then.

mod backend;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;

pub use backend::{Backend, BackendError, ReadOnly, ReadWrite};

use crate::transport::{Io, VirtioDevice, VirtioPci};
use crate::virtqueue::{Chain, RingError};
use ring3_bus::{Effect, LoadError};
use ring3_clock::Ticks;
use serde::{Deserialize, Serialize};
use spec::{SECTOR_SIZE, config, feature, request, status};
use std::collections::VecDeque;

/// The only queue.
const QUEUE: u16 = 0;
/// Its entries.
const QUEUE_SIZE: u16 = 128;
/// `size_max`: bytes in a segment.
const SEGMENT_SIZE_MAX: u32 = 1 << 16;
/// `seg_max`: segments in a request, besides header and status.
const SEGMENTS_MAX: u32 = QUEUE_SIZE as u32 - 2;
/// The most data in a request: what those two allow.
const DATA_MAX: u64 = SEGMENT_SIZE_MAX as u64 * SEGMENTS_MAX as u64;
/// How much is moved between disk and guest memory at once.
const STEP: usize = 1 << 16;

/// A disk as the machine's description wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlkConfig {
    /// The device's name, unique in the machine.
    pub name: String,
    /// What GET_ID answers (the guest's `/sys/block/vda/serial`): at most 20 bytes.
    pub serial: String,
    /// Bytes that the guest sees, a multiple of 512, at least as much as the content.
    pub capacity_bytes: u64,
    /// How long every request takes; zero completes it during its notification.
    pub latency: Ticks,
}

/// Why a disk cannot be built or its content not be replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlkError {
    /// The serial number is too long.
    #[error("the serial number {0:?} has more than 20 bytes")]
    Serial(String),
    /// The capacity is not a whole number of sectors.
    #[error("a capacity of {0} bytes is no multiple of 512")]
    Capacity(u64),
    /// The content is larger than the capacity.
    #[error("{content_bytes} bytes do not fit on a disk of {capacity_bytes}; build it larger")]
    TooLarge {
        /// Bytes of content.
        content_bytes: u64,
        /// Bytes of capacity.
        capacity_bytes: u64,
    },
    /// A read-only disk cannot become writable or the reverse: the guest knows which it is.
    #[error("a read-only disk cannot become writable while it is in use, nor the reverse")]
    ReadOnly,
}

/// A request that waits for its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    due: Ticks,
    head: u16,
}

/// The device; behind a PCI function it is a `VirtioPci<Blk>`.
pub struct Blk {
    // configuration
    config: BlkConfig,
    // ports
    backend: Box<dyn Backend>,
    // state
    pending: VecDeque<Pending>,
}

impl Blk {
    /// A disk with `backend`'s content.
    ///
    /// # Errors
    /// If the configuration contradicts itself or the content.
    pub fn new(config: BlkConfig, backend: Box<dyn Backend>) -> Result<Blk, BlkError> {
        if config.serial.len() > request::ID_SIZE {
            return Err(BlkError::Serial(config.serial));
        }
        if !config.capacity_bytes.is_multiple_of(SECTOR_SIZE) {
            return Err(BlkError::Capacity(config.capacity_bytes));
        }
        check_fits(&config, backend.as_ref())?;
        Ok(Blk {
            config,
            backend,
            pending: VecDeque::new(),
        })
    }

    /// Puts other content on the disk, as when a restored snapshot is to see a new image. The
    /// capacity stays; what the guest has cached of the old content it keeps.
    ///
    /// # Errors
    /// If the content does not fit, or is writable where the old one is not.
    pub fn replace_backend(&mut self, backend: Box<dyn Backend>) -> Result<(), BlkError> {
        check_fits(&self.config, backend.as_ref())?;
        if backend.read_only() != self.backend.read_only() {
            return Err(BlkError::ReadOnly);
        }
        self.backend = backend;
        Ok(())
    }

    /// The content.
    pub fn backend(&self) -> &dyn Backend {
        self.backend.as_ref()
    }

    /// Carries a request out and hands it back.
    fn execute(&mut self, chain: &Chain, io: &mut Io<'_>) -> Result<(), RingError> {
        // "Device Operation": the status is the last byte that the device can write; how the
        // request is cut into buffers means nothing ("Message Framing").
        let Some(data_length) = chain.writable.length().checked_sub(1) else {
            return Err(RingError::Protocol(
                "a request without room for its status".to_owned(),
            ));
        };
        let mut header = [0; request::HEADER_SIZE];
        if chain.readable.read(io.dma, 0, &mut header)? < header.len() {
            return Err(RingError::Protocol(
                "a request shorter than its header".to_owned(),
            ));
        }
        let (kind, rest) = header.split_at(4);
        let kind = u32::from_le_bytes(kind.try_into().expect("four bytes"));
        let sector = u64::from_le_bytes(rest[4..].try_into().expect("eight bytes"));
        let (status, written) = match kind {
            request::IN => self.read(chain, sector, data_length, io)?,
            request::OUT => (self.write(chain, sector, io)?, 0),
            request::FLUSH => match self.backend.flush() {
                Ok(()) => (status::OK, 0),
                Err(error) => (self.failed(&error, io), 0),
            },
            request::GET_ID => self.identify(chain, data_length, io)?,
            _ => (status::UNSUPP, 0),
        };
        chain.writable.write(io.dma, data_length, &[status])?;
        // "The Virtqueue Used Ring": len counts from the start of the writable buffers, so the
        // status counts only if everything before it was written.
        let written = match u64::from(written) == data_length {
            true => written + 1,
            false => written,
        };
        io.complete(QUEUE, chain.head, written)
    }

    /// Where on the disk a request of `length` bytes goes, unless it is one that must fail: not
    /// whole sectors, past the end, or more than the announced limits allow.
    fn place(&self, sector: u64, length: u64) -> Option<u64> {
        let offset = sector.checked_mul(SECTOR_SIZE)?;
        let end = offset.checked_add(length)?;
        (length.is_multiple_of(SECTOR_SIZE)
            && length <= DATA_MAX
            && end <= self.config.capacity_bytes)
            .then_some(offset)
    }

    fn read(
        &mut self,
        chain: &Chain,
        sector: u64,
        length: u64,
        io: &mut Io<'_>,
    ) -> Result<(u8, u32), RingError> {
        let Some(offset) = self.place(sector, length) else {
            return Ok((self.refused("read", sector, length, io), 0));
        };
        let mut buffer = vec![0; STEP.min(length as usize)];
        let mut done = 0;
        while done < length {
            let step = (length - done).min(STEP as u64) as usize;
            let bytes = &mut buffer[..step];
            if let Err(error) = self.read_content(offset + done, bytes) {
                return Ok((self.failed(&error, io), done as u32));
            }
            chain.writable.write(io.dma, done, bytes)?;
            done += step as u64;
        }
        // DATA_MAX is well below 32 bits.
        Ok((status::OK, done as u32))
    }

    /// Reads inside the capacity, zeros past the content.
    fn read_content(&mut self, offset: u64, into: &mut [u8]) -> Result<(), BackendError> {
        let content = self.backend.len().saturating_sub(offset);
        let inside = content.min(into.len() as u64) as usize;
        let (content, beyond) = into.split_at_mut(inside);
        beyond.fill(0);
        if content.is_empty() {
            return Ok(());
        }
        self.backend.read_at(offset, content)
    }

    fn write(&mut self, chain: &Chain, sector: u64, io: &mut Io<'_>) -> Result<u8, RingError> {
        let length = chain.readable.length() - request::HEADER_SIZE as u64;
        let Some(offset) = self.place(sector, length) else {
            return Ok(self.refused("write", sector, length, io));
        };
        // "Device Requirements: Device Operation": with VIRTIO_BLK_F_RO writes fail.
        if self.backend.read_only() {
            return Ok(status::IOERR);
        }
        let mut buffer = vec![0; STEP.min(length as usize)];
        let mut done = 0;
        while done < length {
            let step = (length - done).min(STEP as u64) as usize;
            let bytes = &mut buffer[..step];
            chain
                .readable
                .read(io.dma, request::HEADER_SIZE as u64 + done, bytes)?;
            if let Err(error) = self.backend.write_at(offset + done, bytes) {
                return Ok(self.failed(&error, io));
            }
            done += step as u64;
        }
        Ok(status::OK)
    }

    fn identify(
        &mut self,
        chain: &Chain,
        length: u64,
        io: &mut Io<'_>,
    ) -> Result<(u8, u32), RingError> {
        let mut id = [0; request::ID_SIZE];
        let serial = self.config.serial.as_bytes();
        id[..serial.len()].copy_from_slice(serial);
        let taken = length.min(request::ID_SIZE as u64) as usize;
        chain.writable.write(io.dma, 0, &id[..taken])?;
        Ok((status::OK, taken as u32))
    }

    fn refused(&self, what: &str, sector: u64, length: u64, io: &mut Io<'_>) -> u8 {
        io.effects.push(Effect::Warning(format!(
            "{}: a {what} of {length} bytes at sector {sector} is not on the disk or too long",
            self.config.name
        )));
        status::IOERR
    }

    fn failed(&self, error: &BackendError, io: &mut Io<'_>) -> u8 {
        io.effects
            .push(Effect::Warning(format!("{}: {error}", self.config.name)));
        status::IOERR
    }
}

fn check_fits(config: &BlkConfig, backend: &dyn Backend) -> Result<(), BlkError> {
    if backend.len() > config.capacity_bytes {
        return Err(BlkError::TooLarge {
            content_bytes: backend.len(),
            capacity_bytes: config.capacity_bytes,
        });
    }
    Ok(())
}

impl VirtioPci<Blk> {
    /// See [`Blk::replace_backend`].
    ///
    /// # Errors
    /// As there.
    pub fn replace_backend(&mut self, backend: Box<dyn Backend>) -> Result<(), BlkError> {
        self.device_mut().replace_backend(backend)
    }
}

impl VirtioDevice for Blk {
    fn name(&self) -> String {
        self.config.name.clone()
    }

    fn id(&self) -> u8 {
        spec::ID
    }

    fn class(&self) -> [u8; 3] {
        spec::CLASS
    }

    fn features(&self) -> u64 {
        let read_only = if self.backend.read_only() {
            feature::RO
        } else {
            0
        };
        feature::SIZE_MAX | feature::SEG_MAX | feature::BLK_SIZE | feature::FLUSH | read_only
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![QUEUE_SIZE]
    }

    fn config(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(config::SIZE);
        bytes.extend((self.config.capacity_bytes / SECTOR_SIZE).to_le_bytes());
        bytes.extend(SEGMENT_SIZE_MAX.to_le_bytes());
        bytes.extend(SEGMENTS_MAX.to_le_bytes());
        // The geometry comes with a feature that is not offered.
        bytes.extend([0; 4]);
        bytes.extend((SECTOR_SIZE as u32).to_le_bytes());
        bytes
    }

    fn notified(&mut self, _queue: u16, io: &mut Io<'_>) -> Result<(), RingError> {
        while let Some(chain) = io.pop(QUEUE)? {
            if self.config.latency == Ticks(0) {
                self.execute(&chain, io)?;
            } else {
                // The queue refuses to have more in flight than it has entries.
                self.pending.push_back(Pending {
                    due: io.now.saturating_add(self.config.latency),
                    head: chain.head,
                });
            }
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Ticks> {
        Some(self.pending.front()?.due)
    }

    fn advance(&mut self, io: &mut Io<'_>) -> Result<(), RingError> {
        while let Some(request) = self.pending.front().copied()
            && request.due <= io.now
        {
            self.pending.pop_front();
            let chain = io.chain(QUEUE, request.head)?;
            self.execute(&chain, io)?;
        }
        Ok(())
    }

    fn driver_reset(&mut self) {
        let Self {
            config: _,
            backend: _,
            pending,
        } = self;
        pending.clear();
    }

    fn reset(&mut self) {
        let Self {
            config: _,
            backend,
            pending,
        } = self;
        backend.reset();
        pending.clear();
    }

    fn save(&self) -> Vec<u8> {
        self.save_state()
    }

    fn load(&mut self, saved: &[u8]) -> Result<(), LoadError> {
        self.load_state(saved)
    }
}
