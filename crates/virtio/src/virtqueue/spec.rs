//! Layout of the split virtqueue.
//!
//! VIRTIO 1.2, "Split Virtqueues". All fields are little-endian.

/// The largest queue size that the specification allows.
pub const SIZE_LIMIT: u16 = 32768;

/// "The Virtqueue Descriptor Table".
pub mod descriptor {
    /// Bytes of a descriptor: address (8), length (4), flags (2), next (2).
    pub const SIZE: u64 = 16;
    /// Alignment of the table. "Split Virtqueues".
    pub const ALIGNMENT: u64 = 16;
    /// The chain goes on at `next`.
    pub const F_NEXT: u16 = 1;
    /// The buffer is for the device to write.
    pub const F_WRITE: u16 = 2;
    /// The buffer holds a table of descriptors.
    pub const F_INDIRECT: u16 = 4;
}

/// "The Virtqueue Available Ring": flags (2), idx (2), ring (2 each), used_event (2).
pub mod available {
    /// Its alignment. "Split Virtqueues".
    pub const ALIGNMENT: u64 = 2;
    /// Offset of `flags`.
    pub const FLAGS: u64 = 0;
    /// Offset of `idx`.
    pub const INDEX: u64 = 2;
    /// Offset of `ring`.
    pub const RING: u64 = 4;
    /// Bytes of an element of `ring`.
    pub const ELEMENT_SIZE: u64 = 2;
    /// The driver does not want to be interrupted.
    pub const F_NO_INTERRUPT: u16 = 1;

    /// Bytes in all, `used_event` included.
    pub const fn size(queue_size: u16) -> u64 {
        RING + ELEMENT_SIZE * queue_size as u64 + 2
    }

    /// Offset of `used_event`.
    pub const fn used_event(queue_size: u16) -> u64 {
        RING + ELEMENT_SIZE * queue_size as u64
    }
}

/// "The Virtqueue Used Ring": flags (2), idx (2), ring (id 4, len 4), avail_event (2).
pub mod used {
    /// Its alignment. "Split Virtqueues".
    pub const ALIGNMENT: u64 = 4;
    /// Offset of `idx`.
    pub const INDEX: u64 = 2;
    /// Offset of `ring`.
    pub const RING: u64 = 4;
    /// Bytes of an element of `ring`.
    pub const ELEMENT_SIZE: u64 = 8;

    /// Bytes in all, `avail_event` included.
    pub const fn size(queue_size: u16) -> u64 {
        RING + ELEMENT_SIZE * queue_size as u64 + 2
    }

    /// Offset of `avail_event`.
    pub const fn avail_event(queue_size: u16) -> u64 {
        RING + ELEMENT_SIZE * queue_size as u64
    }
}

/// Feature bits that concern virtqueues. "Reserved Feature Bits".
pub mod feature {
    /// VIRTIO_F_INDIRECT_DESC.
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// VIRTIO_F_EVENT_IDX.
    pub const EVENT_IDX: u64 = 1 << 29;
}
