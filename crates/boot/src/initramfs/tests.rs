use super::*;
use crate::compression::Format;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

/// One of everything.
fn sample() -> Vec<u8> {
    let mut archive = ArchiveWriter::new(Vec::new());
    archive.directory(b"/bin", 0o755).unwrap();
    archive.file(b"bin/prog", 0o755, b"contents").unwrap();
    archive.file(b"./etc/empty", 0o600, b"").unwrap();
    archive.symlink(b"sbin/init", b"../bin/prog").unwrap();
    let console = Device::Character { major: 5, minor: 1 };
    archive.device(b"dev/console", 0o600, console).unwrap();
    let disk = Device::Block { major: 8, minor: 0 };
    archive.device(b"dev/sda", 0o660, disk).unwrap();
    archive.directory(b"dev", 0o700).unwrap();
    archive.finish().unwrap()
}

fn entries(archive: &[u8]) -> Vec<(Entry, Vec<u8>)> {
    let mut reader = ArchiveReader::new(archive);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let contents = reader.contents().unwrap();
        entries.push((entry, contents));
    }
    assert_eq!(reader.next_entry().unwrap(), None);
    assert!(reader.into_inner().is_empty());
    entries
}

#[test]
fn what_was_written_is_read_in_order_with_its_kinds_and_numbers() {
    let read: Vec<_> = entries(&sample())
        .into_iter()
        .map(|(e, contents)| {
            assert_eq!((e.uid, e.gid, e.mtime), (0, 0, 0));
            let name = String::from_utf8(e.name).unwrap();
            let contents = String::from_utf8(contents).unwrap();
            (e.inode, name, e.mode, e.device, contents)
        })
        .collect();
    let expected = [
        (1, "bin", 0o040_755, (0, 0), ""),
        (2, "bin/prog", 0o100_755, (0, 0), "contents"),
        (3, "etc", 0o040_755, (0, 0), ""),
        (4, "etc/empty", 0o100_600, (0, 0), ""),
        (5, "sbin", 0o040_755, (0, 0), ""),
        (6, "sbin/init", 0o120_777, (0, 0), "../bin/prog"),
        (7, "dev", 0o040_755, (0, 0), ""),
        (8, "dev/console", 0o020_600, (5, 1), ""),
        (9, "dev/sda", 0o060_660, (8, 0), ""),
        (10, "dev", 0o040_700, (0, 0), ""),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(i, n, m, d, c)| (*i, (*n).to_owned(), *m, *d, (*c).to_owned()))
        .collect();
    assert_eq!(read, expected);
}

#[test]
fn the_same_calls_give_the_same_bytes() {
    assert_eq!(sample(), sample());
}

/// An outside reader: the `cpio` crate.
#[test]
fn another_reader_reads_the_same() {
    let archive = sample();
    let mut source = &archive[..];
    let mut theirs = Vec::new();
    loop {
        let mut reader = cpio::newc::Reader::new(source).unwrap();
        if reader.entry().is_trailer() {
            break;
        }
        let mut contents = Vec::new();
        reader.read_to_end(&mut contents).unwrap();
        let e = reader.entry();
        theirs.push((
            e.name().as_bytes().to_vec(),
            e.mode(),
            e.ino(),
            (e.rdev_major(), e.rdev_minor()),
            contents,
        ));
        source = reader.finish().unwrap();
    }
    let ours: Vec<_> = entries(&archive)
        .into_iter()
        .map(|(e, contents)| (e.name, e.mode, e.inode, e.device, contents))
        .collect();
    assert_eq!(ours, theirs);
}

/// Runs a tool of the system; `None`, with a message, where it isn't installed.
fn run(command: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let child = Command::new(command[0])
        .args(&command[1..])
        .env("TZ", "UTC")
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        println!("skipped: {} is not installed", command[0]);
        return None;
    };
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{command:?}");
    Some(output.stdout)
}

/// The outside oracle: GNU cpio lists what was written.
#[test]
fn gnu_cpio_lists_what_was_written() {
    let Some(listing) = run(&["cpio", "-itv", "--numeric-uid-gid"], &sample()) else {
        return;
    };
    let listing = String::from_utf8(listing).unwrap();
    let lines: Vec<String> = listing
        .lines()
        .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let has = |start: &str, end: &str| {
        assert!(
            lines
                .iter()
                .any(|l| l.starts_with(start) && l.ends_with(end)),
            "{start} ... {end} is not in\n{listing}"
        );
    };
    assert_eq!(lines.len(), 10);
    has("drwxr-xr-x 2 0 0 0 Jan 1 1970", " bin");
    has("-rwxr-xr-x 1 0 0 8 Jan 1 1970", " bin/prog");
    has("-rw------- 1 0 0 0 Jan 1 1970", " etc/empty");
    has(
        "lrwxrwxrwx 1 0 0 11 Jan 1 1970",
        " sbin/init -> ../bin/prog",
    );
    has("crw------- 1 0 0 5, 1 Jan 1 1970", " dev/console");
    has("brw-rw---- 1 0 0 8, 0 Jan 1 1970", " dev/sda");
    has("drwx------ 2 0 0 0 Jan 1 1970", " dev");
}

/// The other direction: what GNU cpio writes, with and without checksums, is read.
#[test]
fn what_gnu_cpio_writes_is_read() {
    for form in ["newc", "crc"] {
        let format = format!("--format={form}");
        let names = b"/etc/hostname\n/etc/passwd\n/dev/null\n";
        let Some(archive) = run(&["cpio", "-o", &format], names) else {
            return;
        };
        let mut reader = ArchiveReader::new(&archive[..]);
        let mut found = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            if entry.kind() == file_type::REGULAR {
                let path = String::from_utf8(entry.name.clone()).unwrap();
                assert_eq!(reader.contents().unwrap(), std::fs::read(&path).unwrap());
            }
            found.push(entry);
        }
        let null = found.last().unwrap();
        assert_eq!(null.kind(), file_type::CHARACTER_DEVICE);
        assert_eq!(null.device, (1, 3));
        assert_eq!(
            check(&archive).unwrap().parts[0].entries,
            found.len() as u64
        );
        if form == "crc" {
            let mut damaged = archive.clone();
            let text = damaged.windows(5).position(|w| w == b"root:").unwrap();
            damaged[text] ^= 1;
            let error = check(&damaged).unwrap_err();
            assert!(
                error.to_string().contains("checksum of /etc/passwd"),
                "{error}"
            );
        }
    }
}

#[test]
fn names_that_cannot_be_are_refused() {
    let refused = |path: &[u8]| {
        let mut archive = ArchiveWriter::new(Vec::new());
        archive.file(b"file", 0o644, b"").unwrap();
        archive.directory(b"directory", 0o755).unwrap();
        archive.file(path, 0o644, b"").unwrap_err().to_string()
    };
    assert!(refused(b"").contains("below the root"));
    assert!(refused(b"/./").contains("below the root"));
    assert!(refused(b"a/../b").contains(".."));
    assert!(refused(b"a\0b").contains("zero byte"));
    assert!(refused(b"TRAILER!!!").contains("ends an archive"));
    assert!(refused(b"file/below").contains("not a directory"));
    assert!(refused(b"file").contains("already"));
    assert!(refused(b"directory").contains("already"));
    assert!(refused(&[b'x'; 4096]).contains("4095"));
    let mut archive = ArchiveWriter::new(Vec::new());
    archive.file(&[b'x'; 4095], 0o644, b"").unwrap();
    assert!(archive.symlink(b"link", b"").is_err());
    assert!(archive.symlink(b"link", &[b'x'; 4096]).is_err());
    assert!(archive.symlink(b"\xff\xfe not UTF-8", b"target").is_ok());
    assert_eq!(
        check(&archive.finish().unwrap()).unwrap().parts[0].entries,
        2
    );
}

#[test]
fn a_source_that_changes_is_an_error() {
    let write = |promised: u64, actual: usize| {
        let bytes = vec![7; actual];
        ArchiveWriter::new(std::io::sink()).file_from(b"f", 0o644, promised, &mut &bytes[..])
    };
    assert!(write(100_000, 100_000).is_ok());
    for (promised, actual) in [(100, 99), (100, 101), (0, 1)] {
        assert!(matches!(
            write(promised, actual),
            Err(InitramfsError::SizeChanged { .. })
        ));
    }
    assert!(matches!(
        write(1 << 32, 0),
        Err(InitramfsError::TooLarge { .. })
    ));
}

#[test]
fn every_truncation_is_called_truncated() {
    let archive = sample();
    let trailer = archive.len() - 3;
    for keep in 0..archive.len() {
        match check(&archive[..keep]) {
            Ok(_) => assert!(keep >= trailer, "{keep} bytes were enough"),
            Err(InitramfsError::Truncated { position, .. }) => {
                assert_eq!(position, keep as u64);
                assert!(keep < trailer);
            }
            Err(e) => panic!("{keep}: {e}"),
        }
    }
    let cut = archive
        .windows(8)
        .position(|w| w == b"contents")
        .expect("it is stored as it is");
    let error = check(&archive[..cut + 3]).unwrap_err().to_string();
    assert!(
        error.starts_with("the initrd is truncated") && error.contains("bin/prog"),
        "{error}"
    );
}

#[test]
fn archives_follow_one_another_compressed_or_not() {
    let archive = sample();
    for (tool, format, continues) in [
        (&["gzip", "-9"][..], Format::Gzip, true),
        (&["bzip2"], Format::Bzip2, true),
        (&["xz", "--check=crc32"], Format::Xz, true),
        (&["zstd", "-c"], Format::Zstd, true),
        (&["xz", "--format=lzma"], Format::Lzma, false),
        (&["lz4", "-l", "-c"], Format::Lz4Legacy, false),
    ] {
        let twice = [&archive[..], &[0; 512], &archive].concat();
        let Some(packed) = run(tool, &twice) else {
            continue;
        };
        // As Debian does it: microcode in front, uncompressed, then the rest.
        let mut initrd = archive.clone();
        initrd.extend([0; 512]);
        let position = initrd.len() as u64;
        initrd.extend(&packed);
        let part = |position, format, entries| Part {
            position,
            format,
            entries,
        };
        let first = part(0, None, 10);
        let second = part(position, Some(format), 20);
        let checked = check(&initrd).unwrap_or_else(|e| panic!("{format}: {e}"));
        assert_eq!(checked.parts, [first.clone(), second.clone()]);
        assert_eq!(checked.unchecked_bytes, 0);

        if continues {
            let mut three = initrd.clone();
            three.resize(three.len().next_multiple_of(4), 0);
            let third = part(three.len() as u64, None, 10);
            three.extend(&archive);
            assert_eq!(check(&three).unwrap().parts, [first, second, third]);
        }
        for cut in [1, packed.len() / 2] {
            let error = check(&initrd[..initrd.len() - cut])
                .unwrap_err()
                .to_string();
            assert!(error.contains("truncated"), "{format}, {cut}: {error}");
        }
    }
}

#[test]
fn what_is_no_archive_is_named() {
    let error = |bytes: &[u8]| check(bytes).unwrap_err().to_string();
    assert!(error(b"").contains("no archive"));
    assert!(error(&[0; 1024]).contains("no archive"));
    assert!(error(b"hello world, I am no cpio").contains("hello world, I a"));
    let mut old = sample();
    old[5] = b'7';
    assert!(error(&old).contains("070707"));
    let mut letters = sample();
    letters[20] = b'x';
    assert!(error(&letters).contains("hexadecimal"));
    let mut name = sample();
    name[94..102].copy_from_slice(b"FFFFFFFF");
    assert!(error(&name).contains("4095"));
    name[94..102].copy_from_slice(b"00000001");
    name[110] = b'x';
    assert!(error(&name).contains("without an end"));
    let mut unaligned = sample();
    unaligned.push(0);
    unaligned.extend(sample());
    assert!(error(&unaligned).contains("multiple of four"));
}

#[test]
fn any_damage_is_survived() {
    let archive = sample();
    for at in 0..archive.len() {
        for value in [0, b'0', b'F', 0xff] {
            let mut damaged = archive.clone();
            damaged[at] = value;
            let _ = check(&damaged);
        }
    }
}

/// The writer holds one piece of a file at a time, however large the file is.
#[test]
fn a_large_file_streams_through() {
    struct Pattern(u64);
    impl Read for Pattern {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            assert!(into.len() <= 1 << 20);
            into.fill(self.0 as u8);
            self.0 += 1;
            Ok(into.len())
        }
    }
    struct Counter(u64);
    impl Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            assert!(bytes.len() <= 1 << 20);
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let size = (300 << 20) + 1;
    let mut archive = ArchiveWriter::new(Counter(0));
    archive
        .file_from(b"large", 0o644, size, &mut Pattern(0).take(size))
        .unwrap();
    let written = archive.finish().unwrap().0;
    assert_eq!(written, (110 + 6) + (size + 3) + (110 + 11 + 3));
}
