//! Writing an archive that is the same whenever the same things are put into it.

use super::{
    FIELDS, HEADER_SIZE, InitramfsError, MAGIC, NAME_SIZE_MAX, TRAILER, file_type, padding,
    printable,
};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};

/// A device node's kind and numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// A character device.
    Character {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
}

/// Writes an archive, entry by entry.
///
/// Names are paths from the root of the file system; a `/` in front doesn't matter. Directories on
/// the way are made when they are missing (mode 755), since Linux silently leaves out what it has
/// no directory for. Everything belongs to root and has modification time 0; inode numbers count
/// from 1 in the order of the calls.
///
/// # Example
/// ```
/// use ring3_boot::initramfs::{ArchiveWriter, Device};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut archive = ArchiveWriter::new(Vec::new());
/// archive.file(b"init", 0o755, b"#!/bin/sh\n")?;
/// archive.device(b"dev/console", 0o600, Device::Character { major: 5, minor: 1 })?;
/// archive.symlink(b"sbin/init", b"../init")?;
/// let bytes: Vec<u8> = archive.finish()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ArchiveWriter<W: Write> {
    inner: W,
    position: u64,
    next_inode: u32,
    /// Every name so far, and whether it is a directory.
    names: BTreeMap<Vec<u8>, bool>,
}

impl<W: Write> ArchiveWriter<W> {
    /// An archive that goes into `inner`.
    pub fn new(inner: W) -> ArchiveWriter<W> {
        ArchiveWriter {
            inner,
            position: 0,
            next_inode: 1,
            names: BTreeMap::new(),
        }
    }

    /// A directory with these permission bits. One that is there already gets them.
    ///
    /// # Errors
    /// If the name can't be used, or the destination fails.
    pub fn directory(&mut self, path: &[u8], mode: u32) -> Result<(), InitramfsError> {
        let name = self.enter(path, true)?;
        self.entry(&name, file_type::DIRECTORY, mode, 0, None)
    }

    /// A file with these contents.
    ///
    /// # Errors
    /// If the name can't be used, the contents are too large, or the destination fails.
    pub fn file(&mut self, path: &[u8], mode: u32, contents: &[u8]) -> Result<(), InitramfsError> {
        let mut source = contents;
        self.file_from(path, mode, contents.len() as u64, &mut source)
    }

    /// A file whose `size` bytes of contents are copied from `source` piece by piece.
    ///
    /// # Errors
    /// If the name can't be used, the file is too large, `source` gives another number of bytes, or
    /// source or destination fails. The archive can't be used then.
    pub fn file_from(
        &mut self,
        path: &[u8],
        mode: u32,
        size: u64,
        source: &mut dyn Read,
    ) -> Result<(), InitramfsError> {
        let name = self.enter(path, false)?;
        let Ok(size32) = u32::try_from(size) else {
            return Err(InitramfsError::TooLarge {
                name: printable(&name),
                size,
            });
        };
        self.entry(&name, file_type::REGULAR, mode, size32, None)?;
        let copied = io::copy(&mut (&mut *source).take(size), &mut self.inner)?;
        let beyond = if copied == size {
            io::copy(&mut source.take(1), &mut io::sink())?
        } else {
            0
        };
        if copied + beyond != size {
            return Err(InitramfsError::SizeChanged {
                name: printable(&name),
                promised: size,
                actual: copied + beyond,
            });
        }
        self.position += size;
        self.pad()
    }

    /// A symbolic link to `target`.
    ///
    /// # Errors
    /// If a name can't be used, or the destination fails.
    pub fn symlink(&mut self, path: &[u8], target: &[u8]) -> Result<(), InitramfsError> {
        // Linux copies the target into a buffer of the size of a name.
        if target.is_empty() || target.len() >= NAME_SIZE_MAX || target.contains(&0) {
            return Err(InitramfsError::BadName {
                name: printable(target),
                reason: "a link's target has 1 to 4095 bytes, none of them zero",
            });
        }
        let name = self.enter(path, false)?;
        let size = target.len() as u32;
        self.entry(&name, file_type::SYMLINK, 0o777, size, None)?;
        self.put(target)?;
        self.pad()
    }

    /// A device node.
    ///
    /// # Errors
    /// If the name can't be used, or the destination fails.
    pub fn device(&mut self, path: &[u8], mode: u32, device: Device) -> Result<(), InitramfsError> {
        let name = self.enter(path, false)?;
        let (kind, major, minor) = match device {
            Device::Character { major, minor } => (file_type::CHARACTER_DEVICE, major, minor),
            Device::Block { major, minor } => (file_type::BLOCK_DEVICE, major, minor),
        };
        self.entry(&name, kind, mode, 0, Some((major, minor)))
    }

    /// Ends the archive and gives back the destination. Another archive may follow.
    ///
    /// # Errors
    /// If the destination fails.
    pub fn finish(mut self) -> Result<W, InitramfsError> {
        self.header(TRAILER, [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
        self.inner.flush()?;
        Ok(self.inner)
    }

    /// Checks a path, makes the directories on the way, and notes the name.
    fn enter(&mut self, path: &[u8], directory: bool) -> Result<Vec<u8>, InitramfsError> {
        let bad = |reason| {
            Err(InitramfsError::BadName {
                name: printable(path),
                reason,
            })
        };
        let parts: Vec<&[u8]> = path
            .split(|b| *b == b'/')
            .filter(|part| !part.is_empty() && *part != b".")
            .collect();
        let name = parts.join(&b'/');
        if name.is_empty() {
            return bad("it names nothing below the root");
        }
        if name.contains(&0) {
            return bad("it holds a zero byte");
        }
        if parts.contains(&&b".."[..]) {
            return bad("it leads out of a directory (..)");
        }
        if name == TRAILER {
            return bad("this name ends an archive");
        }
        if name.len() >= NAME_SIZE_MAX {
            return bad("it is longer than 4095 bytes");
        }
        for length in 1..parts.len() {
            let parent = parts[..length].join(&b'/');
            match self.names.get(&parent) {
                Some(true) => {}
                Some(false) => return bad("a part of it is not a directory"),
                None => {
                    self.names.insert(parent.clone(), true);
                    self.entry(&parent, file_type::DIRECTORY, 0o755, 0, None)?;
                }
            }
        }
        match self.names.insert(name.clone(), directory) {
            None => Ok(name),
            Some(true) if directory => Ok(name),
            Some(_) => bad("it is in the archive already"),
        }
    }

    fn entry(
        &mut self,
        name: &[u8],
        kind: u32,
        mode: u32,
        size: u32,
        device: Option<(u32, u32)>,
    ) -> Result<(), InitramfsError> {
        let inode = self.next_inode;
        self.next_inode = self.next_inode.wrapping_add(1);
        let links = if kind == file_type::DIRECTORY { 2 } else { 1 };
        let mode = kind | mode & !file_type::MASK;
        let (major, minor) = device.unwrap_or((0, 0));
        let (uid, gid, mtime) = (0, 0, 0);
        self.header(
            name,
            [
                inode, mode, uid, gid, links, mtime, size, 0, 0, major, minor,
            ],
        )
    }

    /// A header, the name, and padding. The last two fields are the name's size with its zero, and
    /// a checksum that this form doesn't use.
    fn header(&mut self, name: &[u8], fields: [u32; FIELDS - 2]) -> Result<(), InitramfsError> {
        let mut header = Vec::with_capacity(HEADER_SIZE + name.len() + 1);
        header.extend_from_slice(MAGIC);
        for field in fields.into_iter().chain([name.len() as u32 + 1, 0]) {
            write!(header, "{field:08X}")?;
        }
        header.extend_from_slice(name);
        header.push(0);
        self.put(&header)?;
        self.pad()
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), InitramfsError> {
        self.inner.write_all(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn pad(&mut self) -> Result<(), InitramfsError> {
        let zeros = [0; 3];
        self.put(&zeros[..padding(self.position)])
    }
}
