//! Archives of Linux's initial file system: writing, reading and checking them.
//!
//! Source: Linux kernel documentation, "initramfs buffer format": cpio archives in the "newc" form,
//! one behind another, some of them compressed. Written: directories, files, symbolic links, device
//! nodes, uncompressed. Read: any newc archive, with or without checksums. Not offered: hard links
//! (each name is a file of its own), the older cpio forms, owners other than root.

mod check;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use check::{Checked, Part, check};
pub use reader::{ArchiveReader, Entry};
pub use writer::{ArchiveWriter, Device};

use crate::compression::DecompressError;
use std::io;
use thiserror::Error;

/// Every header's first six characters: without and with a checksum of the contents.
const MAGIC: &[u8; 6] = b"070701";
const MAGIC_WITH_CHECKSUM: &[u8; 6] = b"070702";

/// A header's size: the magic number and thirteen fields of eight hexadecimal digits.
const HEADER_SIZE: usize = 6 + FIELDS * FIELD_SIZE;
const FIELDS: usize = 13;
const FIELD_SIZE: usize = 8;

/// Headers and contents start at multiples of this.
const ALIGNMENT: u64 = 4;

/// The name that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";

/// The longest name that Linux unpacks (`PATH_MAX`, with the terminating zero).
pub const NAME_SIZE_MAX: usize = 4096;

/// The kind of an entry: the high bits of its mode, as in `st_mode`.
pub mod file_type {
    /// The bits.
    pub const MASK: u32 = 0o170_000;
    /// A character device.
    pub const CHARACTER_DEVICE: u32 = 0o020_000;
    /// A directory.
    pub const DIRECTORY: u32 = 0o040_000;
    /// A block device.
    pub const BLOCK_DEVICE: u32 = 0o060_000;
    /// A regular file.
    pub const REGULAR: u32 = 0o100_000;
    /// A symbolic link.
    pub const SYMLINK: u32 = 0o120_000;
}

/// How many bytes of padding follow `position`.
fn padding(position: u64) -> usize {
    ((ALIGNMENT - position % ALIGNMENT) % ALIGNMENT) as usize
}

/// What is wrong with an archive, or with making one.
#[derive(Debug, Error)]
pub enum InitramfsError {
    /// An archive ends before its trailer.
    #[error(
        "the initrd is truncated: it ends at byte {position}, in {inside}; copy or build it again"
    )]
    Truncated {
        /// Where it ends, in the uncompressed archive.
        position: u64,
        /// What is cut off.
        inside: String,
    },
    /// Something other than an archive.
    #[error(
        "the initrd is damaged: at byte {position} there should be a cpio archive (newc) or compressed data, but there is \"{found}\""
    )]
    NotAnArchive {
        /// Where.
        position: u64,
        /// What is there, readable.
        found: String,
    },
    /// A header that can't be true.
    #[error("the initrd is damaged: the cpio header at byte {position} has {what}")]
    BadHeader {
        /// Where it starts.
        position: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Contents that don't match their checksum.
    #[error("the initrd is damaged: the checksum of {name} is wrong")]
    WrongChecksum {
        /// Which entry.
        name: String,
    },
    /// Compressed data that can't be decompressed.
    #[error("the initrd is damaged: {0}")]
    Compressed(#[from] DecompressError),
    /// A name that can't be in an archive.
    #[error("{name:?} can't be put into an archive: {reason}")]
    BadName {
        /// The name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// Contents that can't be in an archive.
    #[error("{name} has {size} bytes, and a file in an archive has less than 4 GiB")]
    TooLarge {
        /// The name.
        name: String,
        /// The size.
        size: u64,
    },
    /// A source that gave another number of bytes than was promised.
    #[error(
        "{name} changed while it was read: it should have {promised} bytes, and {actual} were read"
    )]
    SizeChanged {
        /// The name.
        name: String,
        /// How many bytes were promised.
        promised: u64,
        /// How many were read; one more than promised stands for any larger number.
        actual: u64,
    },
    /// The source or the destination failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A name for a message.
fn printable(name: &[u8]) -> String {
    name.escape_ascii().to_string()
}
