//! Reading an archive entry by entry.

use super::{
    FIELD_SIZE, FIELDS, HEADER_SIZE, InitramfsError, MAGIC, MAGIC_WITH_CHECKSUM, NAME_SIZE_MAX,
    TRAILER, file_type, padding, printable,
};
use std::io::{self, Read};

/// What an archive says about one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path, as it stands in the archive.
    pub name: Vec<u8>,
    /// Kind and permissions; see [`file_type`].
    pub mode: u32,
    /// Its inode number.
    pub inode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// How many names it has.
    pub links: u32,
    /// When it was last modified, in seconds since 1970.
    pub mtime: u32,
    /// The size of its contents (of a symbolic link: its target).
    pub size: u32,
    /// For device nodes: major and minor number.
    pub device: (u32, u32),
}

impl Entry {
    /// The bits of [`file_type`].
    pub fn kind(&self) -> u32 {
        self.mode & file_type::MASK
    }
}

/// Where in an entry the reader is.
#[derive(Clone, Copy, Debug)]
enum Inside {
    Header,
    Name,
    Contents,
}

/// Reads one archive from `R`, up to and with its trailer.
#[derive(Debug)]
pub struct ArchiveReader<R: Read> {
    inner: R,
    position: u64,
    current: Option<Current>,
    ended: bool,
}

/// The entry whose contents are being read.
#[derive(Debug)]
struct Current {
    name: Vec<u8>,
    left: u32,
    sum: u32,
    checksum: Option<u32>,
}

impl<R: Read> ArchiveReader<R> {
    /// An archive that comes from `inner`.
    pub fn new(inner: R) -> ArchiveReader<R> {
        ArchiveReader {
            inner,
            position: 0,
            current: None,
            ended: false,
        }
    }

    /// How many bytes of the archive have been read.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Skips what was not read of the current entry's contents and reads the next entry's header;
    /// `None` at the trailer.
    ///
    /// # Errors
    /// If the archive ends before its trailer or holds a header that can't be true.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, InitramfsError> {
        self.skip_contents()?;
        if self.ended {
            return Ok(None);
        }
        let start = self.position;
        let bad = |what| InitramfsError::BadHeader {
            position: start,
            what,
        };
        let mut header = [0; HEADER_SIZE];
        self.fill(&mut header, Inside::Header)?;
        let (magic, fields) = header.split_at(MAGIC.len());
        let with_checksum = match magic {
            m if m == MAGIC => false,
            m if m == MAGIC_WITH_CHECKSUM => true,
            _ => {
                return Err(InitramfsError::NotAnArchive {
                    position: start,
                    found: printable(&header[..16]),
                });
            }
        };
        let mut values = [0; FIELDS];
        for (value, digits) in values.iter_mut().zip(fields.chunks(FIELD_SIZE)) {
            *value = hexadecimal(digits)
                .ok_or_else(|| bad("a field that is not eight hexadecimal digits"))?;
        }
        let [
            inode,
            mode,
            uid,
            gid,
            links,
            mtime,
            size,
            _,
            _,
            major,
            minor,
            name_size,
            checksum,
        ] = values;

        let name_size = name_size as usize;
        if name_size == 0 || name_size > NAME_SIZE_MAX {
            return Err(bad("a name that is empty or longer than 4095 bytes"));
        }
        let mut name = vec![0; name_size];
        self.fill(&mut name, Inside::Name)?;
        // The name ends at the first zero, as it does for Linux; there must be one.
        let length = name
            .iter()
            .position(|b| *b == 0)
            .ok_or_else(|| bad("a name without an end"))?;
        name.truncate(length);
        if name == TRAILER {
            self.ended = true;
            // Nobody misses padding that is missing at the very end.
            return match self.skip_padding(Inside::Header) {
                Ok(()) | Err(InitramfsError::Truncated { .. }) => Ok(None),
                Err(e) => Err(e),
            };
        }
        self.skip_padding(Inside::Header)?;
        self.current = Some(Current {
            name: name.clone(),
            left: size,
            sum: 0,
            checksum: with_checksum.then_some(checksum),
        });
        Ok(Some(Entry {
            name,
            mode,
            inode,
            uid,
            gid,
            links,
            mtime,
            size,
            device: (major, minor),
        }))
    }

    /// Reads a part of the current entry's contents; 0 bytes at their end.
    ///
    /// # Errors
    /// If the archive ends inside, or the contents don't match their checksum.
    pub fn read_contents(&mut self, into: &mut [u8]) -> Result<usize, InitramfsError> {
        let Some(left) = self.current.as_ref().map(|c| c.left) else {
            return Ok(0);
        };
        let into_size = into.len();
        let piece = &mut into[..into_size.min(left as usize)];
        self.fill(piece, Inside::Contents)?;
        let current = self.current.as_mut().expect("it was there above");
        current.left -= piece.len() as u32;
        if current.checksum.is_some() {
            current.sum = piece
                .iter()
                .fold(current.sum, |sum, b| sum.wrapping_add(u32::from(*b)));
        }
        if current.left == 0 {
            self.skip_padding(Inside::Contents)?;
            let current = self.current.take().expect("it was there above");
            if current.checksum.is_some_and(|c| c != current.sum) {
                return Err(InitramfsError::WrongChecksum {
                    name: printable(&current.name),
                });
            }
        }
        Ok(piece.len())
    }

    /// Reads all of the current entry's contents.
    ///
    /// # Errors
    /// As [`ArchiveReader::read_contents`].
    pub fn contents(&mut self) -> Result<Vec<u8>, InitramfsError> {
        let mut all = Vec::new();
        let mut piece = vec![0; 64 << 10];
        loop {
            match self.read_contents(&mut piece)? {
                0 => return Ok(all),
                size => all.extend_from_slice(&piece[..size]),
            }
        }
    }

    /// Gives back the source. It stands behind the trailer once [`ArchiveReader::next_entry`] has
    /// returned `None`.
    pub fn into_inner(self) -> R {
        self.inner
    }

    fn skip_contents(&mut self) -> Result<(), InitramfsError> {
        let mut piece = [0; 4096];
        while self.current.is_some() {
            self.read_contents(&mut piece)?;
        }
        Ok(())
    }

    fn skip_padding(&mut self, inside: Inside) -> Result<(), InitramfsError> {
        let mut zeros = [0; 3];
        let size = padding(self.position);
        self.fill(&mut zeros[..size], inside)
    }

    fn fill(&mut self, into: &mut [u8], inside: Inside) -> Result<(), InitramfsError> {
        let mut filled = 0;
        while filled < into.len() {
            match self.inner.read(&mut into[filled..]) {
                Ok(0) => {
                    return Err(InitramfsError::Truncated {
                        position: self.position + filled as u64,
                        inside: self.describe(inside),
                    });
                }
                Ok(size) => filled += size,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.position += filled as u64;
        Ok(())
    }

    fn describe(&self, inside: Inside) -> String {
        match (inside, &self.current) {
            (Inside::Contents, Some(current)) => {
                format!("the contents of {}", printable(&current.name))
            }
            (Inside::Name, _) => "the name of an entry".to_owned(),
            _ => "the header of an entry".to_owned(),
        }
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value: u32, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(value << 4 | digit)
    })
}
