//! VIRTIO 1.2, "Entropy Device".

use super::*;
use crate::driver::{Driver, Guest, Interrupts};
use crate::hostile::torment;
use crate::pci::{DEFAULT_WINDOW, PciBus};
use crate::transport::VirtioPci;
use ring3_bus::Device;

fn guest(seed: u8) -> Guest {
    let mut bus = PciBus::new(DEFAULT_WINDOW);
    bus.plug(2, 10, VirtioPci::new(Rng::new("rng", [seed; 32])))
        .unwrap();
    Guest::new(bus)
}

fn draw(guest: &mut Guest, sizes: &[usize]) -> Vec<u8> {
    let mut driver = Driver::start(guest, 2, 0, Interrupts::Msix, 8);
    let mut all = Vec::new();
    for &size in sizes {
        let (length, buffers) = driver.transact(guest, 0, &[], &[size]);
        assert!(length >= 1 && length as usize <= size);
        all.extend(&buffers[0][..length as usize]);
        assert!(buffers[0][length as usize..].iter().all(|&byte| byte == 0));
    }
    all
}

#[test]
fn it_has_one_queue_and_no_configuration() {
    let mut guest = guest(1);
    assert_eq!(guest.config_read(2, 0x00, 4), 0x1044_1af4);
    let driver = Driver::probe(&mut guest, 2);
    assert_eq!(driver.config, None);
    assert_eq!(guest.read(driver.common + 0x12, 2), 1);
}

#[test]
fn the_seed_decides_the_bytes() {
    let one = draw(&mut guest(1), &[64, 1, 100]);
    assert_eq!(one.len(), 165);
    assert_eq!(one, draw(&mut guest(1), &[64, 1, 100]));
    assert_ne!(one, draw(&mut guest(2), &[64, 1, 100]));
    // They look like noise: no byte value is frequent.
    let many = draw(&mut guest(3), &[4096, 4096]);
    let mut counts = [0; 256];
    for &byte in &many {
        counts[usize::from(byte)] += 1;
    }
    assert!(
        counts.iter().all(|&count| (5..80).contains(&count)),
        "{counts:?}"
    );
    assert_ne!(many[..4096], many[4096..]);
}

#[test]
fn the_bytes_are_those_of_chacha8() {
    // The key stream of ChaCha8 for an all-zero key and nonce: draft-strombergson-chacha-test-
    // vectors-01, "Test vectors", TC1, 8 rounds, 256-bit key.
    let bytes = draw(&mut guest(0), &[16]);
    assert_eq!(
        bytes,
        [
            0x3e, 0x00, 0xef, 0x2f, 0x89, 0x5f, 0x40, 0xd6, 0x7f, 0x5b, 0xb8, 0xe8, 0x1f, 0x09,
            0xa5, 0xa1
        ]
    );
}

#[test]
fn more_than_a_page_comes_in_parts() {
    let mut guest = guest(1);
    let mut driver = Driver::start(&mut guest, 2, 0, Interrupts::Msix, 8);
    let (length, _) = driver.transact(&mut guest, 0, &[], &[3000, 3000]);
    assert_eq!(length, 4096);
}

#[test]
fn a_driver_reset_does_not_rewind_but_power_on_does() {
    let mut guest = guest(1);
    let first = draw(&mut guest, &[32]);
    let second = draw(&mut guest, &[32]);
    assert_ne!(first, second);
    guest.bus.reset();
    assert_eq!(draw(&mut guest, &[32]), first);
}

#[test]
fn saved_and_restored_it_goes_on_where_it_was() {
    let mut first = guest(1);
    draw(&mut first, &[7]);
    let mut second = guest(9);
    second.bus.load(&first.bus.save()).unwrap();
    assert_eq!(draw(&mut first, &[50]), draw(&mut second, &[50]));
}

#[test]
fn a_hostile_guest_harms_nobody() {
    for seed in 1..=2 {
        let mut guest = torment(
            0x5eed_2000 + seed,
            100_000,
            || VirtioPci::new(Rng::new("rng", [7; 32])),
            |_, _, _| {},
        );
        let mut driver = Driver::start(
            &mut guest,
            crate::hostile::HOSTILE_DEVICE,
            0,
            Interrupts::Msix,
            8,
        );
        assert_eq!(driver.transact(&mut guest, 0, &[], &[10]).0, 10);
    }
}
