//! Resident memory of an emulator, the guest's own and the rest.
//!
//! The guest's memory is one mapping of exactly its size, which the emulators fill in page by page as the guest touches
//! it; how much of it is resident is the guest memory touched. (Where the host puts huge pages behind every mapping,
//! `transparent_hugepage=always`, that is more than the guest touched.) Everything else that is resident, at any time, is
//! the emulator's own: code, translations, tables. Source: proc(5), `/proc/PID/smaps`.

use serde::Serialize;

/// Resident bytes at one moment, or the highest of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Resident {
    /// Guest memory touched.
    pub guest_bytes: u64,
    /// The emulator's own.
    pub own_bytes: u64,
}

impl Resident {
    /// The higher of each.
    pub fn add(&mut self, other: Resident) {
        self.guest_bytes = self.guest_bytes.max(other.guest_bytes);
        self.own_bytes = self.own_bytes.max(other.own_bytes);
    }
}

/// Of that process, whose guest has `guest_bytes` of memory.
pub fn of(process: u32, guest_bytes: u64) -> Option<Resident> {
    let text = std::fs::read_to_string(format!("/proc/{process}/smaps")).ok()?;
    parse(&text, guest_bytes)
}

fn parse(smaps: &str, guest_bytes: u64) -> Option<Resident> {
    let mut sum = Resident::default();
    let mut is_guest = false;
    let mut found = false;
    for line in smaps.lines() {
        let bytes = |rest: &str| -> Option<u64> {
            let kilobytes: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
            Some(kilobytes << 10)
        };
        if let Some(rest) = line.strip_prefix("Size:") {
            is_guest = bytes(rest)? == guest_bytes;
            found |= is_guest;
        } else if let Some(rest) = line.strip_prefix("Rss:") {
            match is_guest {
                true => sum.guest_bytes += bytes(rest)?,
                false => sum.own_bytes += bytes(rest)?,
            }
        }
    }
    // Before the guest's memory exists, all is the emulator's own.
    (found || sum.own_bytes > 0).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mapping_of_the_guests_size_is_the_guests() {
        let smaps = "00400000-00500000 r-xp 00000000 fd:00 1 /bin/x\n\
                     Size:               1024 kB\nKernelPageSize: 4 kB\nRss:    512 kB\nPss: 1 kB\n\
                     7f0000000000-7f0020000000 rw-p 00000000 00:00 0\n\
                     Size:             524288 kB\nRss:            70000 kB\n\
                     7fff00000000-7fff00021000 rw-p 00000000 00:00 0 [stack]\n\
                     Size:                132 kB\nRss:    12 kB\n";
        assert_eq!(
            parse(smaps, 512 << 20),
            Some(Resident {
                guest_bytes: 70000 << 10,
                own_bytes: 524 << 10
            })
        );
        assert_eq!(parse("", 512 << 20), None);
    }
}
