//! Layouts of the network device. VIRTIO 1.2, "Network Device".

/// "Device ID".
pub const ID: u8 = 1;

/// Network controller, Ethernet. PCI Local Bus Specification 3.0, "Class Codes".
pub const CLASS: [u8; 3] = [0x02, 0x00, 0x00];

/// "Feature bits".
pub mod feature {
    /// VIRTIO_NET_F_MAC: the configuration holds the device's address.
    pub const MAC: u64 = 1 << 5;
    /// VIRTIO_NET_F_STATUS: the configuration says whether the link is up.
    pub const STATUS: u64 = 1 << 16;
}

/// `struct virtio_net_config` as far as the offered features reach. "Device configuration layout".
pub mod config {
    /// Bytes of it: mac (6), status (2).
    pub const SIZE: usize = 8;
    /// VIRTIO_NET_S_LINK_UP in `status`.
    pub const LINK_UP: u16 = 1;
}

/// "Virtqueues", without VIRTIO_NET_F_MQ and VIRTIO_NET_F_CTRL_VQ.
pub mod queue {
    /// Frames to the guest.
    pub const RECEIVE: u16 = 0;
    /// Frames from the guest.
    pub const TRANSMIT: u16 = 1;
}

/// `struct virtio_net_hdr`, before every frame: flags (1), gso_type (1), hdr_len (2), gso_size (2),
/// csum_start (2), csum_offset (2), num_buffers (2). "Device Operation".
pub mod header {
    /// Bytes of it.
    pub const SIZE: usize = 12;
    /// Offset of `flags`.
    pub const FLAGS: usize = 0;
    /// Offset of `gso_type`.
    pub const GSO_TYPE: usize = 1;
    /// Offset of `num_buffers`.
    pub const NUM_BUFFERS: usize = 10;
}

/// Bytes of the longest frame without offloads: 1500 of payload, 14 of Ethernet header.
pub const FRAME_MAX: usize = 1514;
