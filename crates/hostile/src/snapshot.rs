//! Snapshots: files with any contents, and files whose hashes are right but whose state is not.

use ring3_machine::{Machine, MachineConfig, Stop};
use std::io::{Seek, SeekFrom, Write};

/// Instructions of a machine that was restored from a hostile file.
const INSTRUCTIONS: u64 = 1000;
/// Magic, version, padding, length and hash: the layout of the prologue.
const PROLOGUE: usize = 40;

/// The first byte says whether the rest is the file, or changes to the state in a right one.
pub(crate) fn enter(bytes: &[u8]) {
    let Some((&how, rest)) = bytes.split_first() else {
        return;
    };
    let mut file = tempfile::tempfile().expect("a temporary file");
    if how & 1 == 0 {
        file.write_all(rest).expect("room for a small file");
    } else {
        file.write_all(&altered(rest))
            .expect("room for a small file");
        let size = PROLOGUE as u64 + (4 << 20);
        file.set_len(size).expect("room for a sparse file");
    }
    file.seek(SeekFrom::Start(0)).expect("it is a file");
    let Ok(mut machine) = Machine::restore(&mut file) else {
        return;
    };
    let limit = machine.instructions().saturating_add(INSTRUCTIONS);
    for _ in 0..INSTRUCTIONS {
        let stop = machine.run_briefly(limit, INSTRUCTIONS);
        while machine.take_output().is_some() {}
        if stop.is_some_and(|stop| stop != Stop::Output) {
            break;
        }
    }
}

/// A right snapshot with bytes of its state changed (each by three bytes of `changes`: where, what),
/// and its hash made right again.
fn altered(changes: &[u8]) -> Vec<u8> {
    let mut file = small_snapshot();
    let length = u64::from_le_bytes(file[24..32].try_into().expect("eight bytes")) as usize;
    let state = &mut file[PROLOGUE..PROLOGUE + length];
    for change in changes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
        state[at % length] = change[2];
    }
    let hash = xxhash_rust::xxh3::xxh3_64(state);
    file[32..40].copy_from_slice(&hash.to_le_bytes());
    file
}

/// A snapshot of a machine that has just been switched on, without its empty memory.
fn small_snapshot() -> Vec<u8> {
    let config = MachineConfig {
        cpus: 1,
        memory_bytes: 2 << 20,
        ..MachineConfig::default()
    };
    let mut machine = Machine::new(config).expect("the host has two megabytes");
    let mut file = tempfile::tempfile().expect("a temporary file");
    machine.save(&mut file).expect("room for a small file");
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).expect("it is a file");
    std::io::Read::read_to_end(&mut file, &mut bytes).expect("it was just written");
    let length = u64::from_le_bytes(bytes[24..32].try_into().expect("eight bytes")) as usize;
    bytes.truncate((PROLOGUE + length).next_multiple_of(4096));
    bytes
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let right = small_snapshot();
    let whole = [&[0], &right[..PROLOGUE + 64]].concat();
    let changed = (0..24u8)
        .map(|n| vec![1, n.wrapping_mul(37), n / 4, 0xff ^ n])
        .collect::<Vec<_>>();
    [vec![whole, vec![1], b"\0not a snapshot".to_vec()], changed].concat()
}
