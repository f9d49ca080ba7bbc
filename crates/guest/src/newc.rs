//! Writes archives in cpio "newc" format: for the guest's initramfs and for the archive of a job.
//!
//! Format: kernel document "initramfs buffer format" (field order, padding to four bytes, trailer). Only folders,
//! regular files and symbolic links are written, all owned by root. This is the single place of the crate that knows
//! the format.
//!
//! `ring3-boot` writes archives too, for whoever composes an initramfs by hand: it completes what is missing on the way to
//! a name and drops times. A job's archive must do neither: it holds what the guest lacks and nothing else, because every
//! entry costs the guest instructions, and interpreters compare the times of their files.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";
/// Sizes have eight hexadecimal digits.
pub const FILE_SIZE_MAX: u64 = u32::MAX as u64;

/// File types in `st_mode`.
const FOLDER: u32 = 0o040000;
const FILE: u32 = 0o100000;
const LINK: u32 = 0o120000;

/// An archive being written, in memory.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    entries: u32,
}

impl Writer {
    /// A folder. Its parents must have been written before.
    pub fn folder(&mut self, path: &Path, permissions: u32) {
        self.entry(path.as_os_str().as_bytes(), FOLDER | permissions, 0, &[]);
    }

    /// A regular file of at most [`FILE_SIZE_MAX`] bytes.
    pub fn file(&mut self, path: &Path, permissions: u32, mtime: u32, contents: &[u8]) {
        self.entry(
            path.as_os_str().as_bytes(),
            FILE | permissions,
            mtime,
            contents,
        );
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &Path, target: &Path) {
        self.entry(
            path.as_os_str().as_bytes(),
            LINK | 0o777,
            0,
            target.as_os_str().as_bytes(),
        );
    }

    /// The archive, padded with zeros to a multiple of `align`.
    pub fn finish(mut self, align: usize) -> Vec<u8> {
        self.entry(TRAILER, 0, 0, &[]);
        self.pad(align);
        self.bytes
    }

    fn entry(&mut self, name: &[u8], mode: u32, mtime: u32, contents: &[u8]) {
        let name = name.strip_prefix(b"/").unwrap_or(name);
        let size = u32::try_from(contents.len()).expect("the caller keeps to FILE_SIZE_MAX");
        self.entries += 1;
        let links = if mode & 0o170000 == FOLDER { 2 } else { 1 };
        // magic; then inode, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor,
        // namesize, check
        self.bytes.extend_from_slice(b"070701");
        for field in [
            self.entries,
            mode,
            0,
            0,
            links,
            mtime,
            size,
            0,
            0,
            0,
            0,
            name.len() as u32 + 1,
            0,
        ] {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
        self.pad(4);
        self.bytes.extend_from_slice(contents);
        self.pad(4);
    }

    fn pad(&mut self, align: usize) {
        self.bytes
            .resize(self.bytes.len().next_multiple_of(align), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    /// The oracle is cpio(1), where it is installed.
    #[test]
    fn cpio_reads_what_we_write() {
        let mut writer = Writer::default();
        writer.folder(Path::new("/a"), 0o750);
        writer.file(Path::new("/a/odd name"), 0o640, 1_000_000_000, b"12345");
        writer.file(Path::new("/empty"), 0o600, 7, b"");
        writer.link(Path::new("/a/link"), Path::new("odd name"));
        let archive = writer.finish(512);
        assert_eq!(archive.len() % 512, 0);

        let folder = tempfile::tempdir().unwrap();
        let Ok(mut cpio) = Command::new("cpio")
            .args([
                "--extract",
                "--quiet",
                "--preserve-modification-time",
                "--no-absolute-filenames",
            ])
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .spawn()
        else {
            eprintln!("skipped: no cpio on this host");
            return;
        };
        cpio.stdin.take().unwrap().write_all(&archive).unwrap();
        assert!(cpio.wait().unwrap().success());
        let file = folder.path().join("a/odd name");
        assert_eq!(std::fs::read(&file).unwrap(), b"12345");
        assert_eq!(
            std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777,
            0o640
        );
        let modified = std::fs::metadata(&file).unwrap().modified().unwrap();
        assert_eq!(
            modified
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_secs(),
            1_000_000_000
        );
        assert_eq!(
            std::fs::metadata(folder.path().join("a"))
                .unwrap()
                .permissions()
                .mode()
                & 0o7777,
            0o750
        );
        assert_eq!(
            std::fs::read_link(folder.path().join("a/link")).unwrap(),
            Path::new("odd name")
        );
        assert_eq!(std::fs::read(folder.path().join("empty")).unwrap(), b"");
    }
}
