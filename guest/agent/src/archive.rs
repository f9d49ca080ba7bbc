//! Unpacks a job's archive from the block device into the root file system.
//!
//! Format: cpio "newc" (magic 070701), the format of Linux's initramfs, see the kernel document "initramfs buffer
//! format". Folders, regular files and symbolic links; hard links and devices are refused, because the host does not
//! send them. The device is read with `O_DIRECT`: nothing stale can be seen after a restore, and nothing is cached
//! that is read once.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::protocol::{ARCHIVE_ALIGN, ARCHIVE_DEVICE};
use crate::sys;

/// How much one read takes from the device.
const CHUNK: usize = 1 << 20;
/// Room in front of a chunk for what is left of the one before: at most a header and a path.
const CARRY: usize = 2 * ARCHIVE_ALIGN;
const HEADER: usize = 110;

/// Memory for reading.
pub struct Buffer {
    bytes: Vec<u8>,
    /// Where the bytes start to be aligned as `O_DIRECT` wants them.
    origin: usize,
}

impl Buffer {
    pub fn new() -> Self {
        // Not zeros, for which the kernel would lend the same page again and again.
        let bytes = std::hint::black_box(vec![1; ARCHIVE_ALIGN + CARRY + CHUNK]);
        let origin = bytes.as_ptr().align_offset(ARCHIVE_ALIGN);
        Self { bytes, origin }
    }

    fn aligned(&mut self) -> &mut [u8] {
        &mut self.bytes[self.origin..][..CARRY + CHUNK]
    }
}

/// What stopped unpacking.
pub enum Failure {
    Read(io::Error),
    Unpack(PathBuf, io::Error),
}

/// Reads `length` bytes of the archive device and makes the files in them.
pub fn unpack(length: u64, buffer: &mut Buffer) -> Result<(), Failure> {
    let device = File::options()
        .read(true)
        .custom_flags(sys::O_DIRECT | sys::O_CLOEXEC)
        .open(ARCHIVE_DEVICE)
        .map_err(Failure::Read)?;
    unpack_from(device, length, buffer.aligned(), Path::new("/"))
}

/// The archive as a stream: a window on the buffer, refilled from the device.
struct Stream<'a, R> {
    device: R,
    unread: u64,
    buffer: &'a mut [u8],
    start: usize,
    end: usize,
}

impl<R: Read> Stream<'_, R> {
    /// Reads on, keeping what has not been consumed in front of the new bytes.
    fn refill(&mut self) -> Result<(), Failure> {
        let kept = self.end - self.start;
        if kept > CARRY || self.unread == 0 {
            return Err(Failure::Read(io::Error::from(io::ErrorKind::UnexpectedEof)));
        }
        self.buffer.copy_within(self.start..self.end, CARRY - kept);
        let whole_pages = self
            .unread
            .next_multiple_of(ARCHIVE_ALIGN as u64)
            .min(CHUNK as u64) as usize;
        let count = match self
            .device
            .read(&mut self.buffer[CARRY..CARRY + whole_pages])
        {
            Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            other => other,
        }
        .map_err(Failure::Read)?;
        // What follows the archive on the device is none of ours.
        let ours = (count as u64).min(self.unread);
        self.unread -= ours;
        self.start = CARRY - kept;
        self.end = CARRY + ours as usize;
        Ok(())
    }

    /// The next `length` bytes in one piece, not consumed.
    fn peek(&mut self, length: usize) -> Result<&[u8], Failure> {
        while self.end - self.start < length {
            self.refill()?;
        }
        Ok(&self.buffer[self.start..self.start + length])
    }

    fn skip(&mut self, length: usize) -> Result<(), Failure> {
        self.peek(length)?;
        self.start += length;
        Ok(())
    }

    /// Some of the next `most` bytes, consumed.
    fn some(&mut self, most: u64) -> Result<&[u8], Failure> {
        if self.start == self.end {
            self.refill()?;
        }
        let count = most.min((self.end - self.start) as u64) as usize;
        self.start += count;
        Ok(&self.buffer[self.start - count..self.start])
    }
}

/// Zeros that bring a length to a multiple of four.
fn padding(length: u64) -> usize {
    (length.wrapping_neg() & 3) as usize
}

fn unpack_from(
    device: impl Read,
    length: u64,
    buffer: &mut [u8],
    root: &Path,
) -> Result<(), Failure> {
    let mut stream = Stream {
        device,
        unread: length,
        buffer,
        start: CARRY,
        end: CARRY,
    };
    loop {
        let malformed =
            |what: &str| Failure::Unpack(PathBuf::new(), io::Error::other(what.to_owned()));
        let header = stream.peek(HEADER)?;
        if &header[..6] != b"070701" {
            return Err(malformed("the archive is not in newc format"));
        }
        let field = |index: usize| {
            std::str::from_utf8(&header[6 + 8 * index..14 + 8 * index])
                .ok()
                .and_then(|digits| u32::from_str_radix(digits, 16).ok())
                .ok_or_else(|| malformed("a header of the archive is damaged"))
        };
        let (mode, mtime, size, name_size) = (
            field(1)?,
            field(5)?,
            u64::from(field(6)?),
            field(11)? as usize,
        );
        if !(1..=ARCHIVE_ALIGN).contains(&name_size) {
            return Err(malformed("a path in the archive is too long"));
        }
        let name = &stream.peek(HEADER + name_size)?[HEADER..HEADER + name_size - 1];
        if name == b"TRAILER!!!" {
            return Ok(());
        }
        let path = root.join(std::ffi::OsStr::from_bytes(name));
        stream.skip(HEADER + name_size + padding((HEADER + name_size) as u64))?;
        let at = |error| Failure::Unpack(path.clone(), error);
        let permissions = mode & 0o7777;
        match mode & 0o170000 {
            0o040000 => make_folder(&path, permissions).map_err(at)?,
            0o100000 => {
                let mut file = create(&path, permissions).map_err(at)?;
                let mut left = size;
                while left > 0 {
                    let bytes = stream.some(left)?;
                    left -= bytes.len() as u64;
                    file.write_all(bytes).map_err(at)?;
                }
                sys::set_times(&file, mtime).map_err(at)?;
                stream.skip(padding(size))?;
            }
            0o120000 => {
                if size >= ARCHIVE_ALIGN as u64 {
                    return Err(at(io::Error::other("the link's target is too long")));
                }
                let target =
                    PathBuf::from(std::ffi::OsStr::from_bytes(stream.peek(size as usize)?));
                stream.skip(size as usize + padding(size))?;
                link(&target, &path).map_err(at)?;
            }
            _ => {
                return Err(at(io::Error::other(
                    "neither folder, file nor symbolic link",
                )));
            }
        }
    }
}

/// A folder that exists already, or a link to one, stays as it is.
fn make_folder(path: &Path, permissions: u32) -> io::Result<()> {
    match fs::DirBuilder::new().mode(permissions).create(path) {
        Err(error) if error.raw_os_error() == Some(sys::EEXIST) => match fs::metadata(path) {
            Ok(found) if found.is_dir() => Ok(()),
            _ => Err(error),
        },
        other => other,
    }
}

/// A file or link that exists already is replaced, never written through.
fn create(path: &Path, permissions: u32) -> io::Result<File> {
    let open = || {
        File::options()
            .write(true)
            .create_new(true)
            .mode(permissions & 0o777)
            .custom_flags(sys::O_NOFOLLOW | sys::O_CLOEXEC)
            .open(path)
    };
    let file = match open() {
        Err(error) if error.raw_os_error() == Some(sys::EEXIST) => {
            fs::remove_file(path)?;
            open()?
        }
        other => other?,
    };
    if permissions & !0o777 != 0 {
        file.set_permissions(fs::Permissions::from_mode(permissions))?;
    }
    Ok(file)
}

fn link(target: &Path, path: &Path) -> io::Result<()> {
    match symlink(target, path) {
        Err(error) if error.raw_os_error() == Some(sys::EEXIST) => {
            if fs::read_link(path).is_ok_and(|found| found == target) {
                return Ok(());
            }
            match fs::symlink_metadata(path)?.is_dir() {
                true => fs::remove_dir(path)?,
                false => fs::remove_file(path)?,
            }
            symlink(target, path)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// A device that gives at most `most` bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = self.1.min(buffer.len());
            self.0.read(&mut buffer[..most])
        }
    }

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("ring3-agent-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// An archive by cpio(1), of a tree whose files end at odd places.
    fn archive(source: &Path) -> Option<Vec<u8>> {
        fs::create_dir(source.join("sub")).unwrap();
        for size in [0, 1, 2, 3, 4, 4095, 70_000] {
            let bytes: Vec<u8> = (0..size).map(|i: usize| (i * 7 + size) as u8).collect();
            fs::write(
                source.join(format!("sub/{}{size}", "n".repeat(size % 5))),
                bytes,
            )
            .unwrap();
        }
        symlink("sub/n1", source.join("link")).unwrap();
        let mut find = Command::new("find")
            .arg(".")
            .current_dir(source)
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let output = Command::new("cpio")
            .args(["-o", "-H", "newc", "--quiet"])
            .current_dir(source)
            .stdin(find.stdout.take()?)
            .output()
            .ok()?;
        find.wait().ok()?;
        output.status.success().then_some(output.stdout)
    }

    fn same(one: &Path, other: &Path) -> bool {
        Command::new("diff")
            .args(["-r", "--no-dereference"])
            .arg(one)
            .arg(other)
            .status()
            .unwrap()
            .success()
    }

    #[test]
    fn archives_of_cpio_however_they_are_read() {
        let source = folder("source");
        let Some(whole) = archive(&source) else {
            eprintln!("skipped: no cpio on this host");
            return;
        };
        for piece in [4096, 12_288, CHUNK] {
            let target = folder(&format!("target-{piece}"));
            let mut buffer = Buffer::new();
            // What follows on the device is ignored, though it is read.
            let device = [&whole[..], &[0xff; 5000]].concat();
            let result = unpack_from(
                Slow(&device, piece),
                whole.len() as u64,
                buffer.aligned(),
                &target,
            );
            assert!(result.is_ok());
            assert!(same(&source, &target));
            // Once more onto itself: everything is replaced or kept.
            assert!(unpack_from(&whole[..], whole.len() as u64, buffer.aligned(), &target).is_ok());
            assert!(same(&source, &target));
            fs::remove_dir_all(target).unwrap();
        }
        // Cut anywhere, it ends in an error.
        let target = folder("cut");
        for length in (0..whole.len() - 600).step_by(97) {
            let cut = unpack_from(
                &whole[..length],
                whole.len() as u64,
                Buffer::new().aligned(),
                &target,
            );
            assert!(cut.is_err(), "cut to {length}");
        }
        for folder in [source, target] {
            fs::remove_dir_all(folder).unwrap();
        }
    }

    #[test]
    fn links_and_folders_in_each_others_way() {
        let root = folder("ways");
        fs::create_dir(root.join("real")).unwrap();
        symlink("real", root.join("alias")).unwrap();
        // A link to a folder will do as a folder, a file will not.
        assert!(make_folder(&root.join("alias"), 0o755).is_ok());
        fs::write(root.join("file"), b"old").unwrap();
        assert!(make_folder(&root.join("file"), 0o755).is_err());
        // Files and links are replaced, not followed.
        symlink("file", root.join("to-file")).unwrap();
        create(&root.join("to-file"), 0o600)
            .unwrap()
            .write_all(b"new")
            .unwrap();
        assert_eq!(fs::read(root.join("file")).unwrap(), b"old");
        link(Path::new("elsewhere"), &root.join("to-file")).unwrap();
        assert_eq!(
            fs::read_link(root.join("to-file")).unwrap(),
            Path::new("elsewhere")
        );
        fs::create_dir(root.join("empty")).unwrap();
        link(Path::new("real"), &root.join("empty")).unwrap();
        assert_eq!(
            create(&root.join("set"), 0o4755)
                .unwrap()
                .metadata()
                .unwrap()
                .permissions()
                .mode()
                & 0o7777,
            0o4755
        );
        fs::remove_dir_all(root).unwrap();
    }
}
