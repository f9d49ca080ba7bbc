//! What a block device stores its bytes in.

use crate::saved::{check, decode, encode};
use ring3_bus::LoadError;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A backend could not do what it was asked; the guest sees an I/O error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(pub String);

/// The content of a disk.
///
/// The device calls [`Backend::read_at`] only inside [`Backend::len`], and [`Backend::write_at`]
/// only inside its own capacity and never on a read-only backend. What lies between the content's
/// end and the device's capacity reads as zeros.
pub trait Backend: Send {
    /// Bytes of content.
    fn len(&self) -> u64;

    /// Whether there is no content.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether writes are refused.
    fn read_only(&self) -> bool;

    /// Fills `into` from `offset` on.
    ///
    /// # Errors
    /// If the content cannot be had.
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<(), BackendError>;

    /// Writes `from` at `offset`; content grows to hold it.
    ///
    /// # Errors
    /// If there is no room, or the backend is read-only.
    fn write_at(&mut self, offset: u64, from: &[u8]) -> Result<(), BackendError>;

    /// What was written is safe when this returns.
    ///
    /// # Errors
    /// If it is not.
    fn flush(&mut self) -> Result<(), BackendError>;

    /// What distinguishes the content from that at construction, for snapshots.
    fn save(&self) -> Vec<u8>;

    /// Takes over what [`Backend::save`] gave, on top of the content at construction.
    ///
    /// # Errors
    /// If the bytes are not a state of this backend; it is unchanged then.
    fn load(&mut self, saved: &[u8]) -> Result<(), LoadError>;

    /// Back to the content at construction.
    fn reset(&mut self);
}

const VERSION: u8 = 1;

/// Bytes in memory that the guest can read.
#[derive(Clone, Debug, Default)]
pub struct ReadOnly {
    content: Arc<[u8]>,
}

impl ReadOnly {
    /// A backend with this content; clones of the `Arc` are cheap, so that many machines can share
    /// one image.
    pub fn new(content: Arc<[u8]>) -> ReadOnly {
        ReadOnly { content }
    }
}

impl Backend for ReadOnly {
    fn len(&self) -> u64 {
        self.content.len() as u64
    }

    fn read_only(&self) -> bool {
        true
    }

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<(), BackendError> {
        read_bytes(&self.content, offset, into)
    }

    fn write_at(&mut self, _: u64, _: &[u8]) -> Result<(), BackendError> {
        Err(BackendError("the disk is read-only".to_owned()))
    }

    fn flush(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn save(&self) -> Vec<u8> {
        encode(VERSION, &())
    }

    fn load(&mut self, saved: &[u8]) -> Result<(), LoadError> {
        decode("read-only disk", VERSION, saved)
    }

    fn reset(&mut self) {}
}

/// Bytes of a piece of [`ReadWrite`] that is copied when it is first written.
const PIECE_SIZE: u64 = 4096;

/// Bytes in memory that the guest can read and write.
///
/// The initial content is shared and never changes; what the guest writes is kept beside it in
/// pieces of 4 KiB, up to a limit.
#[derive(Clone, Debug)]
pub struct ReadWrite {
    // configuration
    content: Arc<[u8]>,
    written_pieces_max: usize,
    // state
    written: BTreeMap<u64, Box<[u8]>>,
    length: u64,
}

impl ReadWrite {
    /// A backend with this initial content, of which the guest may change `written_bytes_max`
    /// bytes (rounded up to whole pieces) before its writes fail.
    pub fn new(content: Arc<[u8]>, written_bytes_max: u64) -> ReadWrite {
        ReadWrite {
            length: content.len() as u64,
            content,
            written_pieces_max: usize::try_from(written_bytes_max.div_ceil(PIECE_SIZE))
                .unwrap_or(usize::MAX),
            written: BTreeMap::new(),
        }
    }

    /// The initial content of a piece, zeros past its end.
    fn initial(&self, piece: u64) -> Box<[u8]> {
        let mut bytes = vec![0; PIECE_SIZE as usize];
        let start = self.content.len().min((piece * PIECE_SIZE) as usize);
        let end = self.content.len().min(start + bytes.len());
        bytes[..end - start].copy_from_slice(&self.content[start..end]);
        bytes.into_boxed_slice()
    }
}

/// `offset..offset + length` by pieces: the piece, where in it, and which range of the whole.
fn pieces(
    offset: u64,
    length: usize,
) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let at = offset + done as u64;
        let within = (at % PIECE_SIZE) as usize;
        let take = (length - done).min(PIECE_SIZE as usize - within);
        let range = done..done + take;
        done += take;
        Some((at / PIECE_SIZE, within, range))
    })
}

impl Backend for ReadWrite {
    fn len(&self) -> u64 {
        self.length
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<(), BackendError> {
        check_range(self.length, offset, into.len())?;
        for (piece, within, range) in pieces(offset, into.len()) {
            let into = &mut into[range];
            match self.written.get(&piece) {
                Some(bytes) => into.copy_from_slice(&bytes[within..within + into.len()]),
                None => {
                    let bytes = self.initial(piece);
                    into.copy_from_slice(&bytes[within..within + into.len()]);
                }
            }
        }
        Ok(())
    }

    fn write_at(&mut self, offset: u64, from: &[u8]) -> Result<(), BackendError> {
        let end = offset
            .checked_add(from.len() as u64)
            .ok_or_else(|| BackendError("a write past the end of all disks".to_owned()))?;
        let new = pieces(offset, from.len())
            .filter(|(piece, _, _)| !self.written.contains_key(piece))
            .count();
        if self.written.len() + new > self.written_pieces_max {
            return Err(BackendError(format!(
                "the guest has changed {} KiB of the disk, which is all that it may",
                self.written_pieces_max as u64 * PIECE_SIZE / 1024
            )));
        }
        for (piece, within, range) in pieces(offset, from.len()) {
            let from = &from[range];
            if !self.written.contains_key(&piece) {
                let initial = self.initial(piece);
                self.written.insert(piece, initial);
            }
            let bytes = self.written.get_mut(&piece).expect("just inserted");
            bytes[within..within + from.len()].copy_from_slice(from);
        }
        self.length = self.length.max(end);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn save(&self) -> Vec<u8> {
        encode(VERSION, &(self.length, &self.written))
    }

    fn load(&mut self, saved: &[u8]) -> Result<(), LoadError> {
        let what = "read-write disk";
        let (length, written): (u64, BTreeMap<u64, Box<[u8]>>) = decode(what, VERSION, saved)?;
        check(
            what,
            written.len() <= self.written_pieces_max
                && written.iter().all(|(piece, bytes)| {
                    bytes.len() as u64 == PIECE_SIZE && *piece < u64::MAX / PIECE_SIZE
                }),
            "the saved state has more or other pieces than the disk",
        )?;
        check(
            what,
            length >= self.content.len() as u64,
            "the saved disk is shorter than its initial content",
        )?;
        self.length = length;
        self.written = written;
        Ok(())
    }

    fn reset(&mut self) {
        let Self {
            content,
            written_pieces_max: _,
            written,
            length,
        } = self;
        written.clear();
        *length = content.len() as u64;
    }
}

fn check_range(length: u64, offset: u64, wanted: usize) -> Result<(), BackendError> {
    match offset.checked_add(wanted as u64) {
        Some(end) if end <= length => Ok(()),
        _ => Err(BackendError(format!(
            "{wanted} bytes at {offset:#x} of a disk of {length:#x}"
        ))),
    }
}

fn read_bytes(content: &[u8], offset: u64, into: &mut [u8]) -> Result<(), BackendError> {
    check_range(content.len() as u64, offset, into.len())?;
    let start = offset as usize;
    into.copy_from_slice(&content[start..start + into.len()]);
    Ok(())
}
