//! Checking that an initial file system is whole before a guest finds out that it isn't.

use super::{ALIGNMENT, ArchiveReader, InitramfsError, MAGIC, MAGIC_WITH_CHECKSUM, printable};
use crate::compression::{self, DecompressError, Format};
use std::io::{self, Read};

/// What [`check`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// The archives, in order.
    pub parts: Vec<Part>,
    /// How many bytes at the end were not looked at: what follows a part that is compressed in a
    /// form whose end can't be told (LZMA, LZ4) or that can't be decompressed here (LZO).
    pub unchecked_bytes: u64,
}

/// One archive of an initial file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it starts.
    pub position: u64,
    /// How it is compressed, if it is.
    pub format: Option<Format>,
    /// How many entries it has.
    pub entries: u64,
}

/// Reads an initial file system as Linux would: archives and compressed archives, one behind the
/// other, with zeros between them.
///
/// # Errors
/// If it is empty, truncated or damaged: exactly what makes a kernel stop with "initramfs unpacking
/// failed" or miss files.
pub fn check(bytes: &[u8]) -> Result<Checked, InitramfsError> {
    let mut checked = Checked::default();
    let mut rest = bytes;
    loop {
        let zeros = rest.iter().position(|b| *b != 0).unwrap_or(rest.len());
        rest = &rest[zeros..];
        let position = (bytes.len() - rest.len()) as u64;
        if rest.is_empty() {
            if checked.parts.is_empty() {
                return Err(InitramfsError::Truncated {
                    position,
                    inside: "nothing: there is no archive in it".to_owned(),
                });
            }
            return Ok(checked);
        }
        let is_prefix = |magic: &[u8]| rest.starts_with(magic) || magic.starts_with(rest);
        let (format, entries) = if is_prefix(MAGIC) || is_prefix(MAGIC_WITH_CHECKSUM) {
            if !position.is_multiple_of(ALIGNMENT) {
                return Err(InitramfsError::BadHeader {
                    position,
                    what: "a position that is not a multiple of four, where Linux doesn't look for it",
                });
            }
            (None, walk(&mut rest).map_err(|e| shift(e, position))?)
        } else if let Some(format) = Format::detect(rest) {
            if format == Format::Lzo {
                checked.unchecked_bytes = rest.len() as u64;
                return Ok(checked);
            }
            (Some(format), walk_compressed(format, &mut rest)?)
        } else {
            return Err(InitramfsError::NotAnArchive {
                position,
                found: printable(&rest[..rest.len().min(16)]),
            });
        };
        checked.parts.push(Part {
            position,
            format,
            entries,
        });
        if matches!(format, Some(Format::Lzma | Format::Lz4Legacy)) {
            checked.unchecked_bytes = rest.len() as u64;
            return Ok(checked);
        }
    }
}

/// Reads one archive to its trailer; returns how many entries it has.
fn walk<R: Read>(source: R) -> Result<u64, InitramfsError> {
    let mut archive = ArchiveReader::new(source);
    let mut entries = 0;
    while archive.next_entry()?.is_some() {
        entries += 1;
    }
    Ok(entries)
}

/// Reads the archives that come out of one piece of compressed data.
fn walk_compressed(format: Format, rest: &mut &[u8]) -> Result<u64, InitramfsError> {
    let mut source = Peeked::new(compression::decoder(format, rest)?);
    let in_stream = |e: InitramfsError| match e {
        InitramfsError::Io(e) => DecompressError::from_io(format, &e).into(),
        other => other,
    };
    let mut entries = 0;
    let mut position = 0;
    loop {
        // Archives may follow one another in the compressed data too, with zeros between.
        while let Some(0) = source.peek().map_err(|e| in_stream(e.into()))? {
            source.next = None;
            position += 1;
        }
        if source.peek().map_err(|e| in_stream(e.into()))?.is_none() {
            return Ok(entries);
        }
        let mut archive = ArchiveReader::new(&mut source);
        loop {
            match archive.next_entry() {
                Ok(Some(_)) => entries += 1,
                Ok(None) => break,
                Err(e) => return Err(shift(in_stream(e), position)),
            }
        }
        position += archive.position();
    }
}

/// A source with a byte of look-ahead.
struct Peeked<R> {
    inner: R,
    next: Option<u8>,
}

impl<R: Read> Peeked<R> {
    fn new(inner: R) -> Peeked<R> {
        Peeked { inner, next: None }
    }

    /// The next byte, which stays next until it is read or dropped; `None` at the end.
    fn peek(&mut self) -> io::Result<Option<u8>> {
        if self.next.is_none() {
            let mut byte = [0];
            if self.inner.read(&mut byte)? == 1 {
                self.next = Some(byte[0]);
            }
        }
        Ok(self.next)
    }
}

impl<R: Read> Read for Peeked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match (self.next, into) {
            (Some(byte), [first, ..]) => {
                *first = byte;
                self.next = None;
                Ok(1)
            }
            (_, into) => self.inner.read(into),
        }
    }
}

/// Makes positions in an archive positions in what holds it.
fn shift(error: InitramfsError, by: u64) -> InitramfsError {
    match error {
        InitramfsError::Truncated { position, inside } => InitramfsError::Truncated {
            position: position + by,
            inside,
        },
        InitramfsError::NotAnArchive { position, found } => InitramfsError::NotAnArchive {
            position: position + by,
            found,
        },
        InitramfsError::BadHeader { position, what } => InitramfsError::BadHeader {
            position: position + by,
            what,
        },
        other => other,
    }
}
