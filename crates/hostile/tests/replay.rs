//! Replays what fuzzers found interesting, and small variations of it.

use ring3_hostile::{DOORS, Door};
use std::path::Path;

/// Variations of each input.
const VARIATIONS: u64 = 8;

fn inputs(door: &Door) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(door.name);
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default();
    paths.sort();
    let kept = paths.iter().map(|path| std::fs::read(path).unwrap());
    (door.seeds)().into_iter().chain(kept).collect()
}

fn replay(name: &str) {
    let door = ring3_hostile::door(name);
    let mut dice = 0x9e37_79b9_7f4a_7c15u64;
    let mut roll = move |bound: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice >> 11) % bound
    };
    let inputs = inputs(&door);
    assert!(!inputs.is_empty());
    for (number, input) in inputs.iter().enumerate() {
        (door.enter)(input);
        for variation in 0..VARIATIONS {
            let mut bytes = input.clone();
            for _ in 0..=roll(3) {
                let at = roll(bytes.len() as u64 + 1) as usize;
                match roll(3) {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at, roll(256) as u8),
                    _ => {
                        if let Some(byte) = bytes.get_mut(at) {
                            *byte = roll(256) as u8;
                        }
                    }
                }
            }
            let result = std::panic::catch_unwind(|| (door.enter)(&bytes));
            if let Err(panic) = result {
                eprintln!("door {name}, input {number}, variation {variation}: {bytes:02x?}");
                std::panic::resume_unwind(panic);
            }
        }
    }
}

#[test]
fn chipset() {
    replay("chipset");
}

#[test]
fn initramfs() {
    replay("initramfs");
}

#[test]
fn kernel() {
    replay("kernel");
}

#[test]
fn lifter() {
    replay("lifter");
}

#[test]
fn processor() {
    replay("processor");
}

#[test]
fn snapshot() {
    replay("snapshot");
}

#[test]
fn virtqueues() {
    replay("virtqueues");
}

#[test]
fn every_door_is_replayed() {
    let replayed = [
        "chipset",
        "initramfs",
        "kernel",
        "lifter",
        "processor",
        "snapshot",
        "virtqueues",
    ];
    let doors: Vec<_> = DOORS.iter().map(|door| door.name).collect();
    assert_eq!(doors, replayed);
}
