//! The disk from the driver's side. VIRTIO 1.2, "Block Device".

use super::*;
use crate::driver::{Driver, Guest, Interrupts, vectors};
use crate::hostile::{HOSTILE_DEVICE, torment};
use crate::pci::{DEFAULT_WINDOW, Handle, PciBus};
use ring3_bus::Device;
use std::sync::Arc;

const DEVICE: u8 = 5;
/// Everything but VIRTIO_F_EVENT_IDX, which would suppress interrupts.
const FEATURES: u64 = !(1 << 29);

/// Bytes that tell where they are from.
fn image(size: usize) -> Arc<[u8]> {
    (0..size).map(|at| (at / 512 * 7 + at) as u8).collect()
}

fn config(capacity_bytes: u64, latency: u64) -> BlkConfig {
    BlkConfig {
        name: "blk0".to_owned(),
        serial: "ring3-disk".to_owned(),
        capacity_bytes,
        latency: Ticks(latency),
    }
}

fn plugged(blk: Blk) -> (Guest, Handle<VirtioPci<Blk>>) {
    let mut bus = PciBus::new(DEFAULT_WINDOW);
    let handle = bus.plug(DEVICE, 10, VirtioPci::new(blk)).unwrap();
    (Guest::new(bus), handle)
}

fn read_only(size: usize, capacity: u64) -> (Guest, Driver) {
    let blk = Blk::new(config(capacity, 0), Box::new(ReadOnly::new(image(size)))).unwrap();
    start(blk)
}

fn start(blk: Blk) -> (Guest, Driver) {
    let (mut guest, _) = plugged(blk);
    let driver = Driver::start(&mut guest, DEVICE, FEATURES, Interrupts::Msix, 128);
    guest.take_quiet_effects();
    (guest, driver)
}

fn header(kind: u32, sector: u64) -> Vec<u8> {
    let mut header = kind.to_le_bytes().to_vec();
    header.extend([0xee; 4]);
    header.extend(sector.to_le_bytes());
    header
}

/// A read in the usual framing: the status, the length that was handed back, and the data.
fn read(guest: &mut Guest, driver: &mut Driver, sector: u64, size: usize) -> (u8, u32, Vec<u8>) {
    let (length, buffers) = driver.transact(guest, 0, &[&header(0, sector)], &[size, 1]);
    (buffers[1][0], length, buffers[0].clone())
}

fn write(guest: &mut Guest, driver: &mut Driver, sector: u64, data: &[u8]) -> u8 {
    let (length, buffers) = driver.transact(guest, 0, &[&header(1, sector), data], &[1]);
    assert_eq!(length, 1);
    buffers[0][0]
}

#[test]
fn the_configuration_tells_capacity_and_limits() {
    // "Device configuration layout".
    let (mut guest, driver) = read_only(4096, 1 << 30);
    let at = driver.config.unwrap();
    assert_eq!(guest.read(at, 8), (1 << 30) / 512);
    assert_eq!(guest.read(at + 8, 4), 0x10000);
    assert_eq!(guest.read(at + 12, 4), 126);
    assert_eq!(guest.read(at + 20, 4), 512);
    assert_eq!(guest.config_read(DEVICE, 0x00, 4), 0x1042_1af4);
    // SIZE_MAX, SEG_MAX, RO, BLK_SIZE, FLUSH.
    assert_eq!(driver.offered(&mut guest) & 0xff_ffff, 0x266);
    guest.write(at, 4, 0);
    assert_eq!(guest.take_warnings().len(), 1);
    assert_eq!(guest.read(at, 8), (1 << 30) / 512);
}

#[test]
fn sectors_are_read_where_they_are() {
    let content = image(64 * 512);
    let (mut guest, mut driver) = read_only(64 * 512, 64 * 512);
    for (sector, size) in [(0, 512), (63, 512), (10, 4096), (1, 63 * 512)] {
        let (status, length, data) = read(&mut guest, &mut driver, sector, size);
        assert_eq!((status, length), (0, size as u32 + 1));
        let from = sector as usize * 512;
        assert!(data == content[from..from + size], "sector {sector}");
    }
    assert_eq!(vectors(&guest.take_quiet_effects()), [1; 4]);
}

#[test]
fn framing_means_nothing() {
    // "Message Framing": header in pieces, data and status in one buffer, or the reverse.
    let content = image(8 * 512);
    let (mut guest, mut driver) = read_only(8 * 512, 8 * 512);
    let header = header(0, 2);
    let (length, buffers) = driver.transact(
        &mut guest,
        0,
        &[&header[..1], &header[1..9], &header[9..]],
        &[1, 1000, 24],
    );
    assert_eq!(length, 1025);
    let all = buffers.concat();
    assert!(all[..1024] == content[1024..2048]);
    assert_eq!(all[1024], 0);
    guest.take_quiet_effects();
}

#[test]
fn past_the_content_there_are_zeros_and_past_the_capacity_errors() {
    let (mut guest, mut driver) = read_only(1000, 1 << 40);
    let (status, _, data) = read(&mut guest, &mut driver, 1, 1024);
    assert_eq!(status, 0);
    assert!(data[..488] == image(1000)[512..] && data[488..].iter().all(|&byte| byte == 0));
    let last = (1u64 << 40) / 512 - 1;
    assert_eq!(read(&mut guest, &mut driver, last, 512).0, 0);
    guest.take_quiet_effects();
    for (sector, size) in [
        (last, 1024),
        (last + 1, 512),
        (u64::MAX, 512),
        (u64::MAX / 512, 512),
        (0, 511),
        (0, 513),
    ] {
        let (status, length, _) = read(&mut guest, &mut driver, sector, size);
        assert_eq!((status, length), (1, 0), "sector {sector}");
        assert_eq!(guest.take_warnings().len(), 1);
    }
}

#[test]
fn what_is_written_is_read_back_and_the_image_stays() {
    let content = image(20_000);
    let backend = ReadWrite::new(content.clone(), 1 << 20);
    let blk = Blk::new(config(1 << 20, 0), Box::new(backend)).unwrap();
    let (mut guest, mut driver) = start(blk);
    assert_eq!(
        driver.offered(&mut guest) & 1 << 5,
        0,
        "not VIRTIO_BLK_F_RO"
    );
    let data: Vec<u8> = (0..3 * 512u32).map(|at| (at * 3) as u8).collect();
    for sector in [0, 7, 38, 1000, 2045] {
        assert_eq!(write(&mut guest, &mut driver, sector, &data), 0);
        assert!(read(&mut guest, &mut driver, sector, data.len()).2 == data);
    }
    assert_eq!(write(&mut guest, &mut driver, 2046, &data), 1);
    assert_eq!(guest.take_warnings().len(), 1);
    // Around the writes everything is as it was: content, then zeros.
    let (_, _, before) = read(&mut guest, &mut driver, 3, 4 * 512);
    assert!(before == content[3 * 512..7 * 512]);
    let (_, _, between) = read(&mut guest, &mut driver, 41, 512);
    assert!(between.iter().all(|&byte| byte == 0));
    let (length, buffers) = driver.transact(&mut guest, 0, &[&header(4, 0)], &[1]);
    assert_eq!((length, buffers[0][0]), (1, 0), "flush");
    assert!(content == image(20_000));
}

#[test]
fn long_requests_are_moved_whole() {
    // More than is moved at once, and no multiple of that, in uneven buffers.
    let backend = ReadWrite::new(image(0), 1 << 20);
    let blk = Blk::new(config(1 << 20, 0), Box::new(backend)).unwrap();
    let (mut guest, mut driver) = start(blk);
    let data = image(300 * 512);
    let (first, rest) = data.split_at(70_001);
    let header = header(1, 100);
    let (_, buffers) = driver.transact(&mut guest, 0, &[&header, first, rest], &[1]);
    assert_eq!(buffers[0][0], 0);
    let (status, length, read) = read(&mut guest, &mut driver, 100, data.len());
    assert_eq!((status, length), (0, data.len() as u32 + 1));
    assert!(read == data[..]);
    guest.take_quiet_effects();
}

#[test]
fn a_read_only_disk_refuses_writes() {
    let (mut guest, mut driver) = read_only(4096, 4096);
    assert_eq!(write(&mut guest, &mut driver, 0, &[0; 512]), 1);
    assert!(read(&mut guest, &mut driver, 0, 512).2 == image(4096)[..512]);
}

#[test]
fn the_guest_cannot_make_the_host_run_out_of_memory() {
    // Three pieces of 4 KiB may change.
    let backend = ReadWrite::new(image(0), 10_000);
    let blk = Blk::new(config(1 << 40, 0), Box::new(backend)).unwrap();
    let (mut guest, mut driver) = start(blk);
    for piece in [0, 1 << 20, 1 << 25] {
        assert_eq!(write(&mut guest, &mut driver, piece * 8, &[1; 512]), 0);
    }
    assert_eq!(write(&mut guest, &mut driver, 8, &[1; 512]), 1);
    assert_eq!(guest.take_warnings().len(), 1);
    assert_eq!(
        write(&mut guest, &mut driver, 1, &[1; 512]),
        0,
        "changed already"
    );
}

#[test]
fn the_device_has_an_id() {
    // "Device Operation": 20 bytes, padded with zeros, not terminated.
    let (mut guest, mut driver) = read_only(512, 512);
    let (length, buffers) = driver.transact(&mut guest, 0, &[&header(8, 0)], &[20, 1]);
    assert_eq!(length, 21);
    assert_eq!(&buffers[0], b"ring3-disk\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(buffers[1][0], 0);
}

#[test]
fn unknown_requests_are_unsupported() {
    let (mut guest, mut driver) = read_only(512, 512);
    for kind in [2, 3, 11, 13, 0xffff_ffff] {
        let (_, buffers) = driver.transact(&mut guest, 0, &[&header(kind, 0), &[0; 16]], &[1]);
        assert_eq!(buffers[0][0], 2);
    }
    guest.take_quiet_effects();
}

#[test]
fn requests_that_are_none_stop_the_device() {
    for (readable, writable) in [
        (&b"short"[..], &[1][..]),
        (&[0u8; 16][..], &[][..]),
        (&[][..], &[513][..]),
    ] {
        let (mut guest, mut driver) = read_only(512, 512);
        let readable: Vec<&[u8]> = vec![readable];
        driver.submit(&mut guest, 0, &readable, writable);
        driver.kick(&mut guest, 0);
        assert_eq!(driver.reap(&guest, 0), []);
        assert_eq!(driver.status(&mut guest) & 64, 64);
        assert_eq!(guest.take_warnings().len(), 1);
    }
}

#[test]
fn longer_than_the_limits_is_an_error() {
    // seg_max * size_max bytes and no more; here one buffer many times over.
    let (mut guest, mut driver) = read_only(512, 1 << 40);
    let size = 0x10000u32;
    let buffer = guest.memory.allocate(size.into(), 16);
    let head = guest.memory.allocate(17, 16);
    let table = guest.memory.allocate(16 * 200, 16);
    guest.memory.put(head, &header(0, 0));
    let mut request = |segments: u64| {
        let entry = |address, length, flags, next| crate::driver::Descriptor {
            address,
            length,
            flags,
            next,
        };
        entry(head, 16, 1, 1).put(&mut guest.memory, table);
        for index in 1..=segments {
            entry(buffer, size, 3, index as u16 + 1).put(&mut guest.memory, table + 16 * index);
        }
        entry(head + 16, 1, 2, 0).put(&mut guest.memory, table + 16 * (segments + 1));
        let ring = &mut driver.rings[0];
        let indirect = entry(table, (segments as u32 + 2) * 16, 4, 0);
        ring.put_descriptor(&mut guest.memory, 0, indirect);
        ring.offer(&mut guest.memory, 0);
        driver.kick(&mut guest, 0);
        assert_eq!(driver.reap(&guest, 0).len(), 1);
        guest.memory.bytes(head + 16, 1)[0]
    };
    assert_eq!(request(126), 0);
    assert_eq!(request(127), 1);
}

#[test]
fn with_a_latency_requests_complete_in_order_when_their_time_comes() {
    let backend = ReadOnly::new(image(8192));
    let blk = Blk::new(config(8192, 500), Box::new(backend)).unwrap();
    let (mut guest, mut driver) = start(blk);
    let (first, buffers) = driver.submit(&mut guest, 0, &[&header(0, 1)], &[512, 1]);
    driver.kick(&mut guest, 0);
    assert_eq!(guest.take_quiet_effects(), [Effect::DeadlineChanged]);
    assert_eq!(guest.bus.deadline(), Some(Ticks(1500)));
    guest.run_to(Ticks(1200));
    let (second, _) = driver.submit(&mut guest, 0, &[&header(0, 2)], &[512, 1]);
    driver.kick(&mut guest, 0);
    assert_eq!(guest.take_quiet_effects(), []);
    guest.run_to(Ticks(1499));
    assert_eq!(driver.reap(&guest, 0), []);
    assert_eq!(guest.memory.bytes(buffers[0], 1), [0]);
    guest.run_to(Ticks(1500));
    assert_eq!(driver.reap(&guest, 0), [(first.into(), 513)]);
    assert!(guest.memory.bytes(buffers[0], 512) == &image(8192)[512..1024]);
    assert_eq!(vectors(&guest.take_quiet_effects()), [1]);
    assert_eq!(guest.bus.deadline(), Some(Ticks(1700)));
    guest.run_to(Ticks(5000));
    assert_eq!(driver.reap(&guest, 0), [(second.into(), 513)]);
    assert_eq!(guest.bus.deadline(), None);
}

#[test]
fn what_waits_survives_a_restore_and_not_a_reset() {
    let make = || {
        let backend = ReadOnly::new(image(8192));
        plugged(Blk::new(config(8192, 500), Box::new(backend)).unwrap()).0
    };
    let mut first = make();
    let mut driver = Driver::start(&mut first, DEVICE, FEATURES, Interrupts::Msix, 128);
    driver.submit(&mut first, 0, &[&header(0, 1)], &[512, 1]);
    driver.kick(&mut first, 0);
    let mut second = make();
    second.memory.bytes = first.memory.bytes.clone();
    second.bus.load(&first.bus.save()).unwrap();
    for guest in [&mut first, &mut second] {
        guest.take_effects();
        assert_eq!(guest.bus.deadline(), Some(Ticks(1500)));
        guest.run_to(Ticks(2000));
        assert_eq!(driver.rings[0].clone().reap(&guest.memory), [(0, 513)]);
        assert_eq!(vectors(&guest.take_quiet_effects()), [1]);
    }
    driver.submit(&mut first, 0, &[&header(0, 1)], &[512, 1]);
    driver.kick(&mut first, 0);
    driver.set_status(&mut first, 0);
    assert_eq!(first.bus.deadline(), None);
}

#[test]
fn more_requests_than_entries_stop_the_device() {
    // With a latency the guest could make the same chain available again and again.
    let backend = ReadOnly::new(image(512));
    let blk = Blk::new(config(512, 1_000_000), Box::new(backend)).unwrap();
    let (mut guest, mut driver) = start(blk);
    driver.submit(&mut guest, 0, &[&header(0, 0)], &[512, 1]);
    for _ in 0..127 {
        driver.rings[0].offer(&mut guest.memory, 0);
    }
    driver.kick(&mut guest, 0);
    assert_eq!(driver.status(&mut guest) & 64, 0);
    driver.rings[0].offer(&mut guest.memory, 0);
    driver.kick(&mut guest, 0);
    assert_eq!(driver.status(&mut guest) & 64, 64);
    assert_eq!(guest.bus.deadline(), None);
}

#[test]
fn a_restored_machine_can_have_another_image() {
    let make = |content: Arc<[u8]>| {
        let blk = Blk::new(config(1 << 30, 0), Box::new(ReadOnly::new(content))).unwrap();
        plugged(blk)
    };
    let (mut booted, _) = make(image(0));
    let mut driver = Driver::start(&mut booted, DEVICE, FEATURES, Interrupts::Msix, 128);
    assert!(
        read(&mut booted, &mut driver, 0, 512)
            .2
            .iter()
            .all(|&byte| byte == 0)
    );
    let snapshot = booted.bus.save();
    // One way: built with the new content, then restored.
    let (mut run, _) = make(image(5000));
    run.bus.load(&snapshot).unwrap();
    run.memory.bytes = booted.memory.bytes.clone();
    // Other way: restored, then replaced.
    let (mut swapped, handle) = make(image(0));
    swapped.bus.load(&snapshot).unwrap();
    swapped.memory.bytes = booted.memory.bytes.clone();
    swapped.enter(handle, |function, _, _, _| {
        let backend = Box::new(ReadOnly::new(image(5000)));
        function.replace_backend(backend).unwrap();
        let too_large = Box::new(ReadWrite::new(image(512), 0));
        assert_eq!(function.replace_backend(too_large), Err(BlkError::ReadOnly));
    });
    for guest in [&mut run, &mut swapped] {
        // The rings are in the restored memory; the driver goes on where it was.
        driver.rings[0].next_used = guest.memory.get16(driver.rings[0].used + 2);
        driver.rings[0].next_available = guest.memory.get16(driver.rings[0].available + 2);
        assert!(read(guest, &mut driver, 1, 512).2 == image(5000)[512..1024]);
        assert_eq!(guest.read(driver.config.unwrap(), 8), (1 << 30) / 512);
    }
}

#[test]
fn contradictions_are_told() {
    let backend = |size| Box::new(ReadOnly::new(image(size)));
    let blk = |config, size| Blk::new(config, backend(size)).err();
    assert_eq!(blk(config(1000, 0), 0), Some(BlkError::Capacity(1000)));
    assert_eq!(
        blk(config(512, 0), 513),
        Some(BlkError::TooLarge {
            content_bytes: 513,
            capacity_bytes: 512
        })
    );
    let mut long = config(512, 0);
    long.serial = "x".repeat(21);
    assert!(matches!(blk(long, 0), Some(BlkError::Serial(_))));
    let mut blk = Blk::new(config(512, 0), backend(0)).unwrap();
    assert!(blk.replace_backend(backend(513)).is_err());
    blk.replace_backend(backend(512)).unwrap();
    // A snapshot of a disk with another capacity.
    let other = Blk::new(config(1024, 0), backend(0)).unwrap();
    assert!(blk.load(&other.save()).is_err());
}

#[test]
fn written_pieces_are_part_of_the_state() {
    let make = || {
        let backend = ReadWrite::new(image(9000), 1 << 20);
        Blk::new(config(1 << 20, 0), Box::new(backend)).unwrap()
    };
    let (mut first, mut driver) = start(make());
    write(&mut first, &mut driver, 3, &[0xab; 1024]);
    write(&mut first, &mut driver, 100, &[0xcd; 512]);
    let saved = first.bus.save();
    let (mut second, mut other_driver) = start(make());
    write(&mut second, &mut other_driver, 9, &[0xff; 512]);
    second.bus.load(&saved).unwrap();
    assert_eq!(second.bus.save(), saved);
    second.memory.bytes = first.memory.bytes.clone();
    for sector in [2, 3, 4, 5, 9, 99, 100] {
        let mut driver = Driver {
            rings: driver.rings.clone(),
            ..Driver::probe(&mut second, DEVICE)
        };
        let (_, _, data) = read(&mut second, &mut driver, sector, 512);
        let expected = match sector {
            3 | 4 => vec![0xab; 512],
            100 => vec![0xcd; 512],
            99 => vec![0; 512],
            _ => image(9000)[sector as usize * 512..][..512].to_vec(),
        };
        assert!(data == expected, "sector {sector}");
        second.memory.bytes = first.memory.bytes.clone();
        second.bus.load(&saved).unwrap();
    }
    second.bus.reset();
    let (fresh, _) = plugged(make());
    assert_eq!(second.bus.save(), fresh.bus.save());
}

#[test]
fn a_backend_behaves_like_a_plain_array() {
    let mut dice = crate::driver::Dice(0x5eed_0003);
    const SIZE: u64 = 40_000;
    let content = image(23_456);
    let mut model = vec![0; SIZE as usize];
    model[..content.len()].copy_from_slice(&content);
    let mut backend = ReadWrite::new(content, 1 << 20);
    for _ in 0..20_000 {
        let offset = dice.below(SIZE);
        let length = dice.below(10_000).min(SIZE - offset) as usize;
        let range = offset as usize..offset as usize + length;
        if dice.one_in(2) {
            let byte = dice.next() as u8;
            backend.write_at(offset, &vec![byte; length]).unwrap();
            model[range].fill(byte);
        } else {
            let mut bytes = vec![0; length];
            let inside = offset + length as u64 <= backend.len();
            assert_eq!(backend.read_at(offset, &mut bytes).is_ok(), inside);
            assert!(!inside || bytes == model[range]);
        }
        if dice.one_in(1000) {
            let mut other = ReadWrite::new(image(23_456), 1 << 20);
            other.load(&backend.save()).unwrap();
            backend = other;
        }
    }
}

#[test]
fn a_hostile_guest_harms_nobody() {
    for (seed, latency, writable) in [(1, 0, false), (2, 0, true), (3, 700, true)] {
        let make = || {
            let backend: Box<dyn Backend> = if writable {
                Box::new(ReadWrite::new(image(30_000), 1 << 20))
            } else {
                Box::new(ReadOnly::new(image(30_000)))
            };
            VirtioPci::new(Blk::new(config(1 << 20, latency), backend).unwrap())
        };
        let mut guest = torment(0x5eed_3000 + seed, 100_000, make, |_, _, _| {});
        let mut driver = Driver::start(&mut guest, HOSTILE_DEVICE, 0, Interrupts::Msix, 8);
        guest.take_effects();
        let (_, buffers) = driver.submit(&mut guest, 0, &[&header(8, 0)], &[20, 1]);
        driver.kick(&mut guest, 0);
        let later = Ticks(guest.now.0 + 1000);
        guest.run_to(later);
        assert_eq!(driver.reap(&guest, 0), [(0, 21)]);
        assert_eq!(guest.memory.bytes(buffers[0], 10), b"ring3-disk");
    }
}
