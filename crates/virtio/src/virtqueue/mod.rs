//! The device's side of a split virtqueue.
//!
//! Source: VIRTIO 1.2, "Split Virtqueues". Modelled: chains, indirect tables, notification
//! suppression by flag and by event index. Not modelled: packed virtqueues, in-order use.
//!
//! Everything in the rings comes from the guest and is believed only within bounds: a queue hands
//! out at most as many chains per service as it has entries (the guest stands still meanwhile,
//! so it cannot have made more available), a chain has at most [`CHAIN_DESCRIPTORS_MAX`]
//! descriptors, and what is malformed is a [`RingError`], after which the device stops until it
//! is reset.

pub mod spec;
#[cfg(test)]
mod tests;

use crate::saved::check;
use ring3_arch::GuestPhys;
use ring3_bus::{Dma, DmaError, LoadError};
use serde::{Deserialize, Serialize};
use spec::{available, descriptor, feature, used};

/// The most descriptors that a chain may have.
///
/// "Indirect Descriptors" forbids chains longer than the queue size; drivers that chain more in an
/// indirect table exist, so the bound is a little more generous than the largest queue here.
pub const CHAIN_DESCRIPTORS_MAX: u16 = 1024;

/// What a driver did wrong with a ring.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// More is available than the queue has entries.
    #[error("{available} chains are available in a queue of {size}")]
    AvailableIndex {
        /// How many the index claims.
        available: u16,
        /// The queue size.
        size: u16,
    },
    /// More was taken and not yet handed back than the queue has entries.
    #[error("more chains are in flight than the queue's {size} entries")]
    InFlight {
        /// The queue size.
        size: u16,
    },
    /// A descriptor index is outside its table.
    #[error("descriptor {index} of a table of {size}")]
    DescriptorIndex {
        /// The index.
        index: u16,
        /// Entries of the table.
        size: u64,
    },
    /// The chain is a loop, or longer than any driver needs.
    #[error("a chain of more than {CHAIN_DESCRIPTORS_MAX} descriptors")]
    ChainTooLong,
    /// A device-readable descriptor follows a device-writable one.
    #[error("a device-readable descriptor follows a device-writable one")]
    Order,
    /// An indirect table is malformed, nested, or was not negotiated.
    #[error("{0}")]
    Indirect(&'static str),
    /// A buffer wraps around the address space.
    #[error("a buffer of {length:#x} bytes at {address:#x}")]
    Buffer {
        /// Where it starts.
        address: u64,
        /// Its length.
        length: u32,
    },
    /// A ring or buffer is not in RAM.
    #[error("DMA to {:#x}, {} bytes, is not to RAM", .0.address, .0.length)]
    Dma(DmaError),
    /// The device's own rules were broken.
    #[error("{0}")]
    Protocol(String),
}

impl From<DmaError> for RingError {
    fn from(error: DmaError) -> Self {
        RingError::Dma(error)
    }
}

/// A contiguous buffer of a chain; never empty, never wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Buffer {
    address: u64,
    length: u32,
}

/// A sequence of buffers, addressed as one stretch of bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buffers {
    parts: Vec<Buffer>,
    length: u64,
}

impl Buffers {
    fn push(&mut self, buffer: Buffer) {
        // At most 1024 lengths of 32 bits are added up.
        self.length += u64::from(buffer.length);
        self.parts.push(buffer);
    }

    /// Bytes in all.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The contiguous pieces of `length` bytes from `offset` on: address, and the range of the
    /// caller's buffer.
    fn pieces(
        &self,
        offset: u64,
        length: usize,
    ) -> impl Iterator<Item = (GuestPhys, std::ops::Range<usize>)> {
        let mut skip = offset;
        let mut done = 0;
        self.parts.iter().filter_map(move |part| {
            let part_length = u64::from(part.length);
            if skip >= part_length || done == length {
                skip = skip.saturating_sub(part_length);
                return None;
            }
            let take = (part_length - skip).min((length - done) as u64) as usize;
            let piece = (GuestPhys(part.address + skip), done..done + take);
            skip = 0;
            done += take;
            Some(piece)
        })
    }

    /// Reads from `offset` on until `into` is full or the buffers end; returns how much that was.
    ///
    /// # Errors
    /// If a buffer is not in RAM.
    pub fn read(
        &self,
        dma: &mut dyn Dma,
        offset: u64,
        into: &mut [u8],
    ) -> Result<usize, RingError> {
        let mut done = 0;
        for (address, range) in self.pieces(offset, into.len()) {
            done = range.end;
            dma.read(address, &mut into[range])?;
        }
        Ok(done)
    }

    /// Writes `from` at `offset` until all is written or the buffers end; returns how much that
    /// was.
    ///
    /// # Errors
    /// If a buffer is not in RAM.
    pub fn write(&self, dma: &mut dyn Dma, offset: u64, from: &[u8]) -> Result<usize, RingError> {
        let mut done = 0;
        for (address, range) in self.pieces(offset, from.len()) {
            done = range.end;
            dma.write(address, &from[range])?;
        }
        Ok(done)
    }
}

/// A request: a descriptor chain that the driver made available.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The index of its first descriptor, by which it is handed back.
    pub head: u16,
    /// What the device may read.
    pub readable: Buffers,
    /// What the device may write.
    pub writable: Buffers,
}

/// What the driver set up, and how far the device has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueState {
    /// Entries: a power of two, at most the device's maximum.
    pub size: u16,
    /// Whether the driver has enabled it.
    pub enabled: bool,
    /// The MSI-X vector, or NO_VECTOR.
    pub vector: u16,
    /// Guest-physical address of the descriptor table ("Descriptor Area").
    pub descriptors: u64,
    /// Guest-physical address of the available ring ("Driver Area").
    pub driver: u64,
    /// Guest-physical address of the used ring ("Device Area").
    pub device: u64,
    next_available: u16,
    next_used: u16,
    /// `next_used` when it was last decided whether to interrupt.
    interrupted_at: u16,
}

/// One virtqueue.
#[derive(Clone, Debug)]
pub struct Queue {
    // configuration
    size_max: u16,
    // state
    state: QueueState,
    /// How many more chains may be taken in this service; not saved, because nothing is saved in
    /// the middle of one.
    budget: u16,
    /// Whether a chain was taken or handed back in this service.
    touched: bool,
}

impl Queue {
    /// A disabled queue of at most `size_max` entries.
    ///
    /// # Panics
    /// If `size_max` is not a power of two of at most 32768.
    pub fn new(size_max: u16) -> Queue {
        assert!(
            size_max.is_power_of_two() && size_max <= spec::SIZE_LIMIT,
            "a queue of {size_max}"
        );
        Queue {
            size_max,
            state: QueueState {
                size: size_max,
                enabled: false,
                vector: u16::MAX,
                descriptors: 0,
                driver: 0,
                device: 0,
                next_available: 0,
                next_used: 0,
                interrupted_at: 0,
            },
            budget: 0,
            touched: false,
        }
    }

    /// What the driver set up.
    pub fn state(&self) -> &QueueState {
        &self.state
    }

    /// What the driver is setting up.
    pub(crate) fn state_mut(&mut self) -> &mut QueueState {
        &mut self.state
    }

    /// The most entries it can have.
    pub fn size_max(&self) -> u16 {
        self.size_max
    }

    /// Back to disabled.
    pub fn reset(&mut self) {
        *self = Queue::new(self.size_max);
    }

    /// What is wrong with the set-up, if anything: alignment and range. "Split Virtqueues".
    pub fn set_up_fault(&self) -> Option<&'static str> {
        let state = &self.state;
        if !state.size.is_power_of_two() || state.size > self.size_max {
            return Some("its size is no power of two or too large");
        }
        let areas = [
            (
                state.descriptors,
                descriptor::ALIGNMENT,
                descriptor::SIZE * u64::from(state.size),
            ),
            (
                state.driver,
                available::ALIGNMENT,
                available::size(state.size),
            ),
            (state.device, used::ALIGNMENT, used::size(state.size)),
        ];
        for (address, alignment, size) in areas {
            if address % alignment != 0 {
                return Some("one of its areas is not aligned");
            }
            if address.checked_add(size).is_none() {
                return Some("one of its areas wraps around the address space");
            }
        }
        None
    }

    /// The driver enables the queue, once.
    pub(crate) fn enable(&mut self) {
        self.state.enabled = true;
        // The first service asks for notifications, whatever the ring held before.
        self.touched = true;
    }

    /// Starts a service: as many chains can be taken as there are entries.
    pub fn begin_service(&mut self) {
        self.budget = if self.state.enabled {
            self.state.size
        } else {
            0
        };
    }

    /// Takes the next available chain.
    ///
    /// # Errors
    /// If the driver's structures are malformed; the queue must not be used again before a reset.
    pub fn pop(&mut self, dma: &mut dyn Dma, features: u64) -> Result<Option<Chain>, RingError> {
        if self.budget == 0 {
            return Ok(None);
        }
        let state = &self.state;
        let index = read16(dma, state.driver + available::INDEX)?;
        let available = index.wrapping_sub(state.next_available);
        if available == 0 {
            return Ok(None);
        }
        if available > state.size {
            return Err(RingError::AvailableIndex {
                available,
                size: state.size,
            });
        }
        // Every chain has at least one descriptor of the table.
        if self.in_flight() >= state.size {
            return Err(RingError::InFlight { size: state.size });
        }
        let slot = u64::from(state.next_available % state.size);
        let head = read16(
            dma,
            state.driver + available::RING + available::ELEMENT_SIZE * slot,
        )?;
        let chain = self.chain(dma, head, features)?;
        self.budget -= 1;
        self.touched = true;
        self.state.next_available = self.state.next_available.wrapping_add(1);
        Ok(Some(chain))
    }

    /// Follows the chain that starts at `head`.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn chain(&self, dma: &mut dyn Dma, head: u16, features: u64) -> Result<Chain, RingError> {
        let mut chain = Chain {
            head,
            readable: Buffers::default(),
            writable: Buffers::default(),
        };
        let mut table = self.state.descriptors;
        let mut table_size = u64::from(self.state.size);
        let mut in_indirect = false;
        let mut index = head;
        for _ in 0..CHAIN_DESCRIPTORS_MAX {
            if u64::from(index) >= table_size {
                return Err(RingError::DescriptorIndex {
                    index,
                    size: table_size,
                });
            }
            let mut raw = [0; descriptor::SIZE as usize];
            dma.read(
                GuestPhys(table + descriptor::SIZE * u64::from(index)),
                &mut raw,
            )?;
            let (address, rest) = raw.split_at(8);
            let address = u64::from_le_bytes(address.try_into().expect("eight bytes"));
            let length = u32::from_le_bytes(rest[..4].try_into().expect("four bytes"));
            let flags = u16::from_le_bytes([rest[4], rest[5]]);
            let next = u16::from_le_bytes([rest[6], rest[7]]);
            if address.checked_add(u64::from(length)).is_none() {
                return Err(RingError::Buffer { address, length });
            }
            if flags & descriptor::F_INDIRECT != 0 {
                // "Indirect Descriptors": the write-only flag of this descriptor is ignored; it
                // may follow ordinary descriptors, and ends the chain.
                if features & feature::INDIRECT_DESC == 0 {
                    return Err(RingError::Indirect(
                        "an indirect descriptor, which was not negotiated",
                    ));
                }
                if in_indirect {
                    return Err(RingError::Indirect(
                        "an indirect descriptor in an indirect table",
                    ));
                }
                if flags & descriptor::F_NEXT != 0 {
                    return Err(RingError::Indirect(
                        "an indirect descriptor with a next descriptor",
                    ));
                }
                if length == 0 || u64::from(length) % descriptor::SIZE != 0 {
                    return Err(RingError::Indirect(
                        "an indirect table whose length is no multiple of 16",
                    ));
                }
                table = address;
                table_size = u64::from(length) / descriptor::SIZE;
                in_indirect = true;
                index = 0;
                continue;
            }
            if length > 0 {
                let buffer = Buffer { address, length };
                if flags & descriptor::F_WRITE != 0 {
                    chain.writable.push(buffer);
                } else if chain.writable.is_empty() {
                    chain.readable.push(buffer);
                } else {
                    // "Message Framing": readable buffers come before writable ones.
                    return Err(RingError::Order);
                }
            }
            if flags & descriptor::F_NEXT == 0 {
                return Ok(chain);
            }
            index = next;
        }
        Err(RingError::ChainTooLong)
    }

    /// Hands a chain back, with `written` bytes at the start of its writable buffers filled.
    ///
    /// # Errors
    /// If the used ring is not in RAM.
    pub fn complete(
        &mut self,
        dma: &mut dyn Dma,
        head: u16,
        written: u32,
    ) -> Result<(), RingError> {
        self.touched = true;
        let state = &mut self.state;
        let slot = u64::from(state.next_used % state.size);
        let mut element = [0; used::ELEMENT_SIZE as usize];
        element[..4].copy_from_slice(&u32::from(head).to_le_bytes());
        element[4..].copy_from_slice(&written.to_le_bytes());
        dma.write(
            GuestPhys(state.device + used::RING + used::ELEMENT_SIZE * slot),
            &element,
        )?;
        // "The Virtqueue Used Ring": the element is there before idx says so.
        state.next_used = state.next_used.wrapping_add(1);
        let next_used = state.next_used;
        write16(dma, state.device + used::INDEX, next_used)
    }

    /// Ends a service: asks to be told of the next available chain, and returns whether the driver
    /// wants an interrupt for what was handed back.
    ///
    /// # Errors
    /// If a ring is not in RAM.
    pub fn end_service(&mut self, dma: &mut dyn Dma, features: u64) -> Result<bool, RingError> {
        self.budget = 0;
        if !std::mem::take(&mut self.touched) {
            return Ok(false);
        }
        let state = &mut self.state;
        let by_index = features & feature::EVENT_IDX != 0;
        if by_index {
            // "Available Buffer Notification Suppression": without it every chain is announced,
            // because used.flags stays zero.
            write16(
                dma,
                state.device + used::avail_event(state.size),
                state.next_available,
            )?;
        }
        let old = std::mem::replace(&mut state.interrupted_at, state.next_used);
        let new = state.next_used;
        if old == new {
            return Ok(false);
        }
        if by_index {
            // "Used Buffer Notification Suppression": an interrupt is due if idx has just passed
            // used_event.
            let event = read16(dma, state.driver + available::used_event(state.size))?;
            Ok(new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old))
        } else {
            let flags = read16(dma, state.driver + available::FLAGS)?;
            Ok(flags & available::F_NO_INTERRUPT == 0)
        }
    }

    /// How many chains the driver has made available that were not handed back yet, as far as the
    /// device has taken them.
    pub fn in_flight(&self) -> u16 {
        self.state.next_available.wrapping_sub(self.state.next_used)
    }

    /// Whether [`Queue::restore`] can take `state`.
    ///
    /// # Errors
    /// If it is not a state of this queue.
    pub fn validate(&self, what: &str, state: &QueueState) -> Result<(), LoadError> {
        let candidate = Queue {
            size_max: self.size_max,
            state: state.clone(),
            budget: 0,
            touched: false,
        };
        check(
            what,
            state.size.is_power_of_two() && state.size <= self.size_max,
            "a queue of a wrong size",
        )?;
        if state.enabled {
            check(
                what,
                candidate.set_up_fault().is_none(),
                "an enabled queue with bad addresses",
            )?;
        }
        check(
            what,
            candidate.in_flight() <= state.size,
            "a queue with more chains in flight than entries",
        )
    }

    /// Takes over a state that [`Queue::validate`] accepted.
    pub fn restore(&mut self, state: QueueState) {
        self.state = state;
        self.budget = 0;
        self.touched = false;
    }
}

fn read16(dma: &mut dyn Dma, address: u64) -> Result<u16, RingError> {
    let mut bytes = [0; 2];
    dma.read(GuestPhys(address), &mut bytes)?;
    Ok(u16::from_le_bytes(bytes))
}

fn write16(dma: &mut dyn Dma, address: u64, value: u16) -> Result<(), RingError> {
    dma.write(GuestPhys(address), &value.to_le_bytes())?;
    Ok(())
}
