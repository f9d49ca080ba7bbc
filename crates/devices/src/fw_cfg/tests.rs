use super::*;
use crate::storm::{self, NoRam};

fn device() -> FwCfg {
    FwCfg::new(Facts {
        memory_bytes: 0x1_2345_6789,
        processors: 3,
        command_line: b"smp 3".to_vec(),
    })
}

fn item(device: &mut FwCfg, key: u16, length: usize) -> Vec<u8> {
    let mut effects = vec![];
    device.write(Ticks(0), 0, 0, 2, key.into(), &mut NoRam, &mut effects);
    let bytes = (0..length)
        .map(|_| device.read(Ticks(0), 0, 1, 1, &mut effects) as u8)
        .collect();
    assert!(effects.is_empty());
    bytes
}

#[test]
fn items_are_read_byte_by_byte_and_end_in_zeros() {
    let mut device = device();
    assert_eq!(item(&mut device, 0, 6), *b"QEMU\0\0");
    assert_eq!(item(&mut device, 1, 4), [1, 0, 0, 0]);
    assert_eq!(item(&mut device, 3, 8), 0x1_2345_6789u64.to_le_bytes());
    assert_eq!(item(&mut device, 5, 2), [3, 0]);
    assert_eq!(item(&mut device, 0xf, 2), [3, 0]);
    assert_eq!(item(&mut device, 0x14, 4), [6, 0, 0, 0]);
    assert_eq!(item(&mut device, 0x15, 7), *b"smp 3\0\0");
    assert_eq!(item(&mut device, 0x19, 4), [0; 4]);
    assert_eq!(item(&mut device, 0x8003, 4), [0; 4]);
}

#[test]
fn selecting_starts_from_the_first_byte_again() {
    let mut device = device();
    assert_eq!(item(&mut device, 0, 2), *b"QE");
    assert_eq!(item(&mut device, 0x4000, 4), *b"QEMU");
    // A byte to the selector's port selects nothing.
    let mut effects = vec![];
    device.write(Ticks(0), 0, 0, 1, 3, &mut NoRam, &mut effects);
    assert_eq!(device.read(Ticks(0), 0, 1, 1, &mut effects), 0);
    device.reset();
    assert_eq!(
        device.read(Ticks(0), 0, 1, 1, &mut effects),
        u64::from(b'Q')
    );
}

#[test]
fn weathers_a_storm_of_accesses() {
    storm::weather(device, 1, 100_000, |_, _, _, _| 0);
}
