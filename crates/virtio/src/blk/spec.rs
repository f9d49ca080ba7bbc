//! Layouts of the block device. VIRTIO 1.2, "Block Device".

/// "Device ID".
pub const ID: u8 = 2;

/// Mass storage controller, other. PCI Local Bus Specification 3.0, "Class Codes".
pub const CLASS: [u8; 3] = [0x01, 0x80, 0x00];

/// Bytes of a sector, the unit of `capacity` and `sector`, whatever the block size.
pub const SECTOR_SIZE: u64 = 512;

/// "Feature bits".
pub mod feature {
    /// VIRTIO_BLK_F_SIZE_MAX: `size_max` bounds a segment.
    pub const SIZE_MAX: u64 = 1 << 1;
    /// VIRTIO_BLK_F_SEG_MAX: `seg_max` bounds the segments of a request.
    pub const SEG_MAX: u64 = 1 << 2;
    /// VIRTIO_BLK_F_RO: the device is read-only.
    pub const RO: u64 = 1 << 5;
    /// VIRTIO_BLK_F_BLK_SIZE: `blk_size` is the optimal block size.
    pub const BLK_SIZE: u64 = 1 << 6;
    /// VIRTIO_BLK_F_FLUSH: the flush command exists.
    pub const FLUSH: u64 = 1 << 9;
}

/// `struct virtio_blk_config`. "Device configuration layout".
pub mod config {
    /// Bytes of it as far as the offered features reach: capacity (8), size_max (4), seg_max (4),
    /// geometry (4), blk_size (4).
    pub const SIZE: usize = 24;
}

/// `struct virtio_blk_req`. "Device Operation".
pub mod request {
    /// Bytes of the header: type (4), reserved (4), sector (8).
    pub const HEADER_SIZE: usize = 16;
    /// VIRTIO_BLK_T_IN.
    pub const IN: u32 = 0;
    /// VIRTIO_BLK_T_OUT.
    pub const OUT: u32 = 1;
    /// VIRTIO_BLK_T_FLUSH.
    pub const FLUSH: u32 = 4;
    /// VIRTIO_BLK_T_GET_ID.
    pub const GET_ID: u32 = 8;
    /// Bytes that GET_ID returns.
    pub const ID_SIZE: usize = 20;
}

/// The status byte that ends a request. "Device Operation".
pub mod status {
    /// VIRTIO_BLK_S_OK.
    pub const OK: u8 = 0;
    /// VIRTIO_BLK_S_IOERR.
    pub const IOERR: u8 = 1;
    /// VIRTIO_BLK_S_UNSUPP.
    pub const UNSUPP: u8 = 2;
}
