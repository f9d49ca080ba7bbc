//! Ports and keys of the firmware configuration interface.
//!
//! Source: QEMU, "QEMU Firmware Configuration (fw_cfg) Device": the selector and data registers, the
//! signature and revision items, the file directory; the numbers of the traditional items stand in
//! `include/standard-headers/linux/qemu_fw_cfg.h` of the same project.

/// First port: the selector (16 bits, written), with the data register right after it.
pub const BASE: u64 = 0x510;
/// Two ports; the byte at the second is the data register.
pub const SIZE: u64 = 2;
/// Offset of the data register.
pub const DATA: u64 = 1;

/// Keys of items.
pub mod key {
    /// The four characters [`super::SIGNATURE`].
    pub const SIGNATURE: u16 = 0x00;
    /// Which interfaces there are: a little-endian double word, see [`super::REVISION`].
    pub const REVISION: u16 = 0x01;
    /// Bytes of RAM: a little-endian quad word.
    pub const MEMORY_SIZE: u16 = 0x03;
    /// Whether there is no display: a word.
    pub const NO_GRAPHICS: u16 = 0x04;
    /// Processors at the start: a word.
    pub const PROCESSORS: u16 = 0x05;
    /// Processors at most: a word.
    pub const PROCESSORS_MAX: u16 = 0x0f;
    /// Bytes of the command line with its final zero: a double word.
    pub const COMMAND_LINE_SIZE: u16 = 0x14;
    /// The command line, with a zero at its end.
    pub const COMMAND_LINE: u16 = 0x15;
    /// The directory of named items: their count as a big-endian double word, then the entries.
    pub const DIRECTORY: u16 = 0x19;
}

/// What is behind [`key::SIGNATURE`].
pub const SIGNATURE: &[u8; 4] = b"QEMU";
/// Bit 0: selector and data register. Bit 1, access by DMA, is clear.
pub const REVISION: u32 = 1;
/// In a selector: an item of the architecture's own rather than a general one.
pub const ARCHITECTURE_LOCAL: u16 = 0x8000;
/// In a selector: writing is wanted. Items cannot be written any more; the bit is ignored.
pub const WRITE: u16 = 0x4000;
