//! Layout of the virtio structures in a PCI function.
//!
//! VIRTIO 1.2, "Virtio Over PCI Bus".

/// "PCI Device Discovery".
pub mod identity {
    /// The PCI vendor ID of virtio devices.
    pub const VENDOR: u16 = 0x1af4;
    /// The PCI device ID is this plus the virtio device ID.
    pub const DEVICE_BASE: u16 = 0x1040;
    /// The revision of devices without a legacy interface is 1 or higher.
    pub const REVISION: u8 = 1;
}

/// "Virtio Structure PCI Capabilities".
pub mod capability {
    /// Bytes of `struct virtio_pci_cap`.
    pub const SIZE: u8 = 16;
    /// Offset of `cfg_type` in the capability.
    pub const TYPE: u8 = 3;
    /// Offset of `bar`.
    pub const BAR: u8 = 4;
    /// Offset of `offset`.
    pub const OFFSET: u8 = 8;
    /// Offset of `length`.
    pub const LENGTH: u8 = 12;
    /// Offset of what follows: `notify_off_multiplier` or `pci_cfg_data`.
    pub const EXTRA: u8 = 16;

    /// VIRTIO_PCI_CAP_COMMON_CFG.
    pub const COMMON: u8 = 1;
    /// VIRTIO_PCI_CAP_NOTIFY_CFG.
    pub const NOTIFY: u8 = 2;
    /// VIRTIO_PCI_CAP_ISR_CFG.
    pub const ISR: u8 = 3;
    /// VIRTIO_PCI_CAP_DEVICE_CFG.
    pub const DEVICE: u8 = 4;
    /// VIRTIO_PCI_CAP_PCI_CFG.
    pub const PCI: u8 = 5;
}

/// Where this implementation puts the structures in BAR 0; a page each.
pub mod layout {
    /// The BAR with the virtio structures.
    pub const BAR: usize = 0;
    /// The BAR with the MSI-X structures.
    pub const MSIX_BAR: usize = 1;
    /// Bytes of BAR 0.
    pub const BAR_SIZE: u64 = 0x4000;
    /// Bytes of room for each structure.
    pub const PAGE: u64 = 0x1000;
    /// The common configuration structure.
    pub const COMMON: u64 = 0x0000;
    /// The ISR status byte.
    pub const ISR: u64 = 0x1000;
    /// The device-specific configuration.
    pub const DEVICE: u64 = 0x2000;
    /// The notification addresses.
    pub const NOTIFY: u64 = 0x3000;
    /// Every queue has a notification address of its own, this far apart.
    pub const NOTIFY_MULTIPLIER: u32 = 4;
    /// How many queues have room for their notification addresses.
    pub const QUEUES_MAX: usize = (PAGE / NOTIFY_MULTIPLIER as u64) as usize;
}

/// Offsets in `struct virtio_pci_common_cfg`. "Common configuration structure layout".
pub mod common {
    /// Selects which 32 of the offered feature bits are shown; 32 bits.
    pub const DEVICE_FEATURE_SELECT: u64 = 0x00;
    /// The offered feature bits; 32 bits, read-only.
    pub const DEVICE_FEATURE: u64 = 0x04;
    /// Selects which 32 of the accepted feature bits are shown; 32 bits.
    pub const DRIVER_FEATURE_SELECT: u64 = 0x08;
    /// The accepted feature bits; 32 bits.
    pub const DRIVER_FEATURE: u64 = 0x0c;
    /// The MSI-X vector for configuration changes; 16 bits.
    pub const CONFIG_MSIX_VECTOR: u64 = 0x10;
    /// How many queues there are; 16 bits, read-only.
    pub const NUM_QUEUES: u64 = 0x12;
    /// The device status; 8 bits.
    pub const DEVICE_STATUS: u64 = 0x14;
    /// Changes with the device configuration; 8 bits, read-only.
    pub const CONFIG_GENERATION: u64 = 0x15;
    /// Selects the queue of the following fields; 16 bits.
    pub const QUEUE_SELECT: u64 = 0x16;
    /// Entries of the queue, at reset the most that it can have; 16 bits.
    pub const QUEUE_SIZE: u64 = 0x18;
    /// The MSI-X vector of the queue; 16 bits.
    pub const QUEUE_MSIX_VECTOR: u64 = 0x1a;
    /// Whether the queue is used; 16 bits.
    pub const QUEUE_ENABLE: u64 = 0x1c;
    /// The queue's place among the notification addresses; 16 bits, read-only.
    pub const QUEUE_NOTIFY_OFF: u64 = 0x1e;
    /// Descriptor area; 64 bits.
    pub const QUEUE_DESC: u64 = 0x20;
    /// Driver area; 64 bits.
    pub const QUEUE_DRIVER: u64 = 0x28;
    /// Device area; 64 bits.
    pub const QUEUE_DEVICE: u64 = 0x30;
    /// Bytes of the structure. The fields that follow in the specification come with
    /// VIRTIO_F_NOTIFICATION_DATA and VIRTIO_F_RING_RESET, which are not offered.
    pub const SIZE: u64 = 0x38;

    /// The vector that means none.
    pub const NO_VECTOR: u16 = 0xffff;
}

/// "Device Status Field".
pub mod status {
    /// The driver has noticed the device.
    pub const ACKNOWLEDGE: u8 = 1;
    /// The driver knows how to drive it.
    pub const DRIVER: u8 = 2;
    /// The driver is set up.
    pub const DRIVER_OK: u8 = 4;
    /// Features are negotiated.
    pub const FEATURES_OK: u8 = 8;
    /// The device has met an error that it cannot recover from.
    pub const DEVICE_NEEDS_RESET: u8 = 64;
    /// The driver has given up.
    pub const FAILED: u8 = 128;
    /// The bits that are the driver's to set.
    pub const DRIVER_BITS: u8 = ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK | FAILED;
}

/// "ISR status capability".
pub mod isr {
    /// A queue has used buffers.
    pub const QUEUE: u8 = 1;
    /// The device configuration has changed.
    pub const CONFIG: u8 = 2;
}

/// "Reserved Feature Bits".
pub mod feature {
    /// VIRTIO_F_VERSION_1.
    pub const VERSION_1: u64 = 1 << 32;
}
