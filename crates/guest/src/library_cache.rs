//! The dynamic linker's cache, `/etc/ld.so.cache`: read on the host to find libraries, written for the guest.
//!
//! Format "glibc-ld.so.cache1.1", as `ldconfig` of the GNU C library has written it alone since 2.32: a header of 48
//! bytes, entries of 24 bytes sorted by falling name, strings. Entries for special processors (hwcap fields) are
//! passed over: the plain library is always right. There is no specification; checked against `ldconfig -p`.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// An older table may come first in the file; it is as long as its header says.
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0\0";
const HEADER_BYTES: usize = 48;
const ENTRY_BYTES: usize = 24;
/// A library for x86-64 (0x0300) of the GNU C library's second generation (0x0003).
const X86_64: u32 = 0x0303;
const LITTLE_ENDIAN: u8 = 2;

/// Name and path of every plain x86-64 library. A cache of another kind counts as empty.
pub fn read(bytes: &[u8]) -> Vec<(String, PathBuf)> {
    let Some(table) = new_table(bytes) else {
        return Vec::new();
    };
    let word = |at: usize| -> Option<u32> {
        table
            .get(at..at + 4)?
            .try_into()
            .ok()
            .map(u32::from_le_bytes)
    };
    let text = |at: u32| -> Option<String> {
        let rest = table.get(at as usize..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        String::from_utf8(rest[..end].to_vec()).ok()
    };
    let count = word(MAGIC.len()).unwrap_or(0) as usize;
    let mut found = Vec::new();
    for at in (0..count).map(|index| HEADER_BYTES + index * ENTRY_BYTES) {
        let Some(flags) = word(at) else {
            break;
        };
        let is_plain = word(at + 16) == Some(0) && word(at + 20) == Some(0);
        if let (X86_64, true, Some(name), Some(path)) = (
            flags,
            is_plain,
            word(at + 4).and_then(text),
            word(at + 8).and_then(text),
        ) {
            found.push((name, PathBuf::from(path)));
        }
    }
    found
}

/// The table in the new format.
fn new_table(bytes: &[u8]) -> Option<&[u8]> {
    if bytes.starts_with(MAGIC) {
        return Some(bytes);
    }
    let rest = bytes.strip_prefix(OLD_MAGIC)?;
    let count = u32::from_le_bytes(*rest.first_chunk()?) as usize;
    let end = (OLD_MAGIC.len() + 4)
        .checked_add(count.checked_mul(12)?)?
        .next_multiple_of(8);
    bytes.get(end..).filter(|table| table.starts_with(MAGIC))
}

/// A cache with these libraries.
pub fn write(libraries: &[(String, PathBuf)]) -> Vec<u8> {
    let mut sorted: Vec<_> = libraries.iter().collect();
    sorted.sort_by(|one, other| compare(&other.0, &one.0).then(one.1.cmp(&other.1)));
    sorted.dedup_by(|one, other| one.0 == other.0);
    let strings_at = HEADER_BYTES + sorted.len() * ENTRY_BYTES;
    let mut entries = Vec::new();
    let mut strings = Vec::new();
    for (name, path) in sorted {
        let mut place = |text: &[u8]| {
            let at = (strings_at + strings.len()) as u32;
            strings.extend_from_slice(text);
            strings.push(0);
            at
        };
        use std::os::unix::ffi::OsStrExt;
        let (key, value) = (place(name.as_bytes()), place(path.as_os_str().as_bytes()));
        for word in [X86_64, key, value, 0, 0, 0] {
            entries.extend_from_slice(&word.to_le_bytes());
        }
    }
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&((entries.len() / ENTRY_BYTES) as u32).to_le_bytes());
    bytes.extend_from_slice(&(strings.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&[LITTLE_ENDIAN, 0, 0, 0]);
    bytes.resize(HEADER_BYTES, 0);
    bytes.extend(entries);
    bytes.extend(strings);
    bytes
}

/// The order of names: digit runs by value, digits after other characters, the rest byte by byte.
fn compare(one: &str, other: &str) -> Ordering {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let (mut i, mut j) = (0, 0);
    let number = |bytes: &[u8], at: &mut usize| {
        let mut value = 0_u64;
        while let Some(digit) = bytes.get(*at).filter(|byte| byte.is_ascii_digit()) {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            *at += 1;
        }
        value
    };
    loop {
        let (a, b) = (
            one.get(i).copied().unwrap_or(0),
            other.get(j).copied().unwrap_or(0),
        );
        let order = match (a.is_ascii_digit(), b.is_ascii_digit()) {
            (true, true) => number(one, &mut i).cmp(&number(other, &mut j)),
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                i += 1;
                j += 1;
                a.cmp(&b)
            }
        };
        if order != Ordering::Equal || (a == 0 && b == 0) {
            return order;
        }
    }
}

/// The host's cache.
pub fn of_host() -> Vec<(String, PathBuf)> {
    std::fs::read(Path::new("/etc/ld.so.cache"))
        .map(|bytes| read(&bytes))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// What `ldconfig -p` prints of a cache, as pairs; `None` without ldconfig or cache.
    fn printed(cache: &Path) -> Option<Vec<(String, String, PathBuf)>> {
        let output = ["/sbin/ldconfig", "ldconfig"].iter().find_map(|tool| {
            Command::new(tool)
                .arg("-p")
                .arg("-C")
                .arg(cache)
                .output()
                .ok()
        })?;
        let text = String::from_utf8(output.stdout).ok()?;
        let rows = text.lines().filter_map(|line| {
            let (name, rest) = line.trim().split_once(" (")?;
            let (kind, path) = rest.split_once(") => ")?;
            Some((name.to_owned(), kind.to_owned(), PathBuf::from(path)))
        });
        Some(rows.collect())
    }

    #[test]
    fn reads_what_ldconfig_prints() {
        let Some(rows) = printed(Path::new("/etc/ld.so.cache")).filter(|rows| !rows.is_empty())
        else {
            eprintln!("skipped: no ldconfig or no cache on this host");
            return;
        };
        let plain: Vec<_> = rows
            .into_iter()
            .filter(|(_, kind, _)| kind == "libc6,x86-64")
            .map(|(name, _, path)| (name, path))
            .collect();
        assert_eq!(of_host(), plain);
    }

    #[test]
    fn ldconfig_reads_what_we_write() {
        let libraries: Vec<(String, PathBuf)> = [
            "libz.so.1",
            "libabc.so.10",
            "libabc.so.9",
            "libabc-1.so",
            "a.so",
            "A.so",
        ]
        .map(|name| (name.to_owned(), Path::new("/opt/x").join(name)))
        .into();
        let bytes = write(&libraries);
        let mut back = read(&bytes);
        let order: Vec<_> = back.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            order,
            [
                "libz.so.1",
                "libabc.so.10",
                "libabc.so.9",
                "libabc-1.so",
                "a.so",
                "A.so"
            ]
        );
        back.sort();
        let mut sorted = libraries.clone();
        sorted.sort();
        assert_eq!(back, sorted);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        match printed(file.path()) {
            Some(rows) => assert_eq!(rows.len(), libraries.len(), "{rows:?}"),
            None => eprintln!("skipped: no ldconfig on this host"),
        }
    }

    #[test]
    fn the_hosts_order_is_ours() {
        let host = of_host();
        assert!(
            host.windows(2)
                .all(|pair| compare(&pair[0].0, &pair[1].0) != Ordering::Less)
        );
    }

    #[test]
    fn damage_is_survived() {
        let bytes = write(&[
            ("liba.so".into(), "/x/liba.so".into()),
            ("libb.so".into(), "/x/libb.so".into()),
        ]);
        for length in 0..bytes.len() {
            read(&bytes[..length]);
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] = 0xff;
            read(&damaged);
        }
    }
}
