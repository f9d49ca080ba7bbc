//! The transport from the driver's side. VIRTIO 1.2, "Virtio Over PCI Bus" and "Basic Facilities
//! of a Virtio Device", by section title.

use super::*;
use crate::driver::{Descriptor, Driver, Guest, Interrupts, NEXT, lines, vectors};
use crate::hostile::{HOSTILE_DEVICE, torment};
use crate::pci::{Handle, PciBus};
use crate::saved::{decode, encode};
use ring3_bus::Device;

/// A device that answers what it is sent in capitals (queue 0), and swallows (queue 1). Its
/// configuration is eight bytes, the first four of them writable.
struct Shouter {
    config: [u8; 8],
    ready_with: Option<u64>,
    resets: u32,
    hold: bool,
}

const FEATURE: u64 = 1 << 3;
const EVENT_IDX: u64 = 1 << 29;
const VERSION_1: u64 = 1 << 32;

impl Shouter {
    fn new() -> Shouter {
        Shouter {
            config: *b"abcdefgh",
            ready_with: None,
            resets: 0,
            hold: false,
        }
    }
}

impl VirtioDevice for Shouter {
    fn name(&self) -> String {
        "shouter".to_owned()
    }
    fn id(&self) -> u8 {
        0x2a
    }
    fn class(&self) -> [u8; 3] {
        [1, 2, 3]
    }
    fn features(&self) -> u64 {
        FEATURE
    }
    fn queue_sizes(&self) -> Vec<u16> {
        vec![8, 256]
    }
    fn config(&self) -> Vec<u8> {
        self.config.to_vec()
    }
    fn config_write(&mut self, offset: usize, bytes: &[u8], _: &mut Effects) {
        if offset + bytes.len() <= 4 {
            self.config[offset..offset + bytes.len()].copy_from_slice(bytes);
        }
    }
    fn driver_ready(&mut self, features: u64) {
        self.ready_with = Some(features);
    }
    fn notified(&mut self, queue: u16, io: &mut Io<'_>) -> Result<(), RingError> {
        while !self.hold
            && let Some(chain) = io.pop(queue)?
        {
            let mut bytes = vec![0; chain.readable.length().min(100) as usize];
            chain.readable.read(io.dma, 0, &mut bytes)?;
            bytes.make_ascii_uppercase();
            let written = match queue {
                0 => chain.writable.write(io.dma, 0, &bytes)?,
                _ => 0,
            };
            io.complete(queue, chain.head, written as u32)?;
        }
        Ok(())
    }
    fn driver_reset(&mut self) {
        self.resets += 1;
        self.ready_with = None;
    }
    fn reset(&mut self) {
        *self = Shouter::new();
    }
    fn save(&self) -> Vec<u8> {
        encode(1, &(self.config, self.hold))
    }
    fn load(&mut self, saved: &[u8]) -> Result<(), LoadError> {
        (self.config, self.hold) = decode("shouter", 1, saved)?;
        Ok(())
    }
}

const DEVICE: u8 = 7;
const GSI: u8 = 10;

fn guest() -> (Guest, Handle<VirtioPci<Shouter>>) {
    let mut bus = PciBus::new(crate::pci::DEFAULT_WINDOW);
    let handle = bus
        .plug(DEVICE, GSI, VirtioPci::new(Shouter::new()))
        .unwrap();
    (Guest::new(bus), handle)
}

fn started(wanted: u64, interrupts: Interrupts) -> (Guest, Driver, Handle<VirtioPci<Shouter>>) {
    let (mut guest, handle) = guest();
    let driver = Driver::start(&mut guest, DEVICE, wanted, interrupts, 8);
    guest.take_quiet_effects();
    (guest, driver, handle)
}

#[test]
fn it_is_found_as_a_device_without_a_legacy_interface() {
    // "PCI Device Discovery".
    let (mut guest, _) = guest();
    assert_eq!(guest.config_read(DEVICE, 0x00, 4), 0x106a_1af4);
    assert!(guest.config_read(DEVICE, 0x08, 1) >= 1);
    assert!(guest.config_read(DEVICE, 0x2e, 2) >= 0x40);
    assert_eq!(guest.config_read(DEVICE, 0x09, 1), 3);
    assert_eq!(guest.config_read(DEVICE, 0x0a, 2), 0x0102);
    assert_eq!(guest.config_read(DEVICE, 0x3d, 1), 1);
}

#[test]
fn its_structures_are_where_the_capabilities_say() {
    // "Virtio Structure PCI Capabilities".
    let (mut guest, _) = guest();
    let mut found = Vec::new();
    for (at, id) in guest.capabilities(DEVICE) {
        if id != 9 {
            continue;
        }
        let kind = guest.config_read(DEVICE, at + 3, 1);
        let length_of_capability = guest.config_read(DEVICE, at + 2, 1);
        let bar = guest.config_read(DEVICE, at + 4, 1);
        let offset = guest.config_read(DEVICE, at + 8, 4);
        let length = guest.config_read(DEVICE, at + 12, 4);
        assert_eq!(
            length_of_capability,
            if kind == 2 || kind == 5 { 20 } else { 16 }
        );
        assert_eq!(bar, 0);
        // "Common configuration structure layout": offset 4-byte aligned; the notification
        // structure 2-byte aligned.
        assert_eq!(offset % 4, 0);
        found.push((kind, offset, length));
    }
    found.sort_unstable();
    let kinds: Vec<u32> = found.iter().map(|found| found.0).collect();
    assert_eq!(kinds, [1, 2, 3, 4, 5]);
    let length = |kind: u32| found[kind as usize - 1].2;
    assert!(length(1) >= 56, "the common configuration");
    assert_eq!((length(3), length(4)), (1, 8));
    // "Notification structure layout": room for two bytes at queue_notify_off * multiplier.
    let driver = Driver::probe(&mut guest, DEVICE);
    assert!(driver.multiplier.is_power_of_two());
    assert!(u64::from(length(2)) >= driver.multiplier + 2);
    for pair in found[..4].windows(2) {
        let (_, offset, length) = pair[0];
        assert!(found.iter().all(|other| {
            std::ptr::eq(other, &pair[0])
                || other.0 == 5
                || other.1 >= offset + length
                || other.1 + other.2 <= offset
        }));
    }
}

#[test]
fn features_are_shown_32_at_a_time() {
    let (mut guest, _) = guest();
    let driver = Driver::probe(&mut guest, DEVICE);
    assert_eq!(
        driver.offered(&mut guest),
        FEATURE | 1 << 28 | EVENT_IDX | VERSION_1
    );
    guest.write(driver.common, 4, 2);
    assert_eq!(guest.read(driver.common + 4, 4), 0);
    assert_eq!(guest.read(driver.common, 4), 2);
    guest.write(driver.common + 8, 4, 2);
    guest.write(driver.common + 0xc, 4, 0);
    guest.take_quiet_effects();
    guest.write(driver.common + 0xc, 4, 1);
    assert_eq!(guest.take_warnings().len(), 1);
    driver.accept(&mut guest, 0x1234_5678_9abc_def0);
    assert_eq!(guest.read(driver.common + 0xc, 4), 0x1234_5678);
    guest.write(driver.common + 8, 4, 0);
    assert_eq!(guest.read(driver.common + 0xc, 4), 0x9abc_def0);
}

#[test]
fn features_ok_stays_clear_for_what_is_not_offered() {
    // "Device Requirements: Feature Bits", "Reserved Feature Bits".
    for (features, accepted) in [
        (VERSION_1, true),
        (VERSION_1 | FEATURE, true),
        (FEATURE, false),
        (VERSION_1 | 1 << 4, false),
        (VERSION_1 | 1 << 34, false),
    ] {
        let (mut guest, _) = guest();
        let driver = Driver::probe(&mut guest, DEVICE);
        driver.set_status(&mut guest, 1 | 2);
        driver.accept(&mut guest, features);
        driver.set_status(&mut guest, 1 | 2 | 8);
        let expected = if accepted { 1 | 2 | 8 } else { 1 | 2 };
        assert_eq!(driver.status(&mut guest), expected, "{features:#x}");
        assert_eq!(guest.take_warnings().is_empty(), accepted);
    }
}

#[test]
fn features_do_not_change_after_features_ok() {
    let (mut guest, driver, handle) = started(FEATURE, Interrupts::Msix);
    driver.accept(&mut guest, VERSION_1);
    assert_eq!(guest.bus.get(handle).negotiated(), VERSION_1 | FEATURE);
    assert_eq!(
        guest.bus.get(handle).device().ready_with,
        Some(VERSION_1 | FEATURE)
    );
    assert_eq!(guest.take_warnings().len(), 2);
}

#[test]
fn driver_ok_needs_features_ok() {
    let (mut guest, handle) = guest();
    let driver = Driver::probe(&mut guest, DEVICE);
    driver.set_status(&mut guest, 1 | 2 | 4);
    assert_eq!(driver.status(&mut guest), 1 | 2);
    assert!(!guest.bus.get(handle).driver_ready());
}

#[test]
fn status_bits_fall_by_reset_alone() {
    let (mut guest, driver, handle) = started(0, Interrupts::Msix);
    driver.set_status(&mut guest, 1);
    assert_eq!(driver.status(&mut guest), 15);
    driver.set_status(&mut guest, 64);
    assert_eq!(
        driver.status(&mut guest),
        15,
        "DEVICE_NEEDS_RESET is the device's"
    );
    let resets = guest.bus.get(handle).device().resets;
    driver.set_status(&mut guest, 0);
    assert_eq!(driver.status(&mut guest), 0);
    assert_eq!(guest.bus.get(handle).device().resets, resets + 1);
    // "Device Requirements: Device Reset": everything at initial values.
    assert_eq!(guest.read(driver.common + 0x10, 2), 0xffff);
    for queue in 0..2 {
        guest.write(driver.common + 0x16, 2, queue);
        assert_eq!(
            guest.read(driver.common + 0x18, 2),
            [8, 256][queue as usize]
        );
        assert_eq!(guest.read(driver.common + 0x1a, 2), 0xffff);
        assert_eq!(guest.read(driver.common + 0x1c, 2), 0);
        assert_eq!(guest.read(driver.common + 0x20, 8), 0);
    }
}

#[test]
fn requests_are_answered_within_their_notification() {
    let (mut guest, mut driver, handle) = started(0, Interrupts::Msix);
    assert!(!guest.bus.get(handle).needs_reset());
    let (length, buffers) = driver.transact(&mut guest, 0, &[b"hel", b"lo"], &[2, 100]);
    assert_eq!(length, 5);
    assert_eq!(buffers[0], b"HE");
    assert_eq!(&buffers[1][..4], b"LLO\0");
    assert_eq!(vectors(&guest.take_quiet_effects()), [1]);
    driver.submit(&mut guest, 1, &[b"x"], &[]);
    driver.submit(&mut guest, 1, &[b"y"], &[]);
    driver.kick(&mut guest, 1);
    assert_eq!(driver.reap(&guest, 1), [(0, 0), (1, 0)]);
    assert_eq!(
        vectors(&guest.take_quiet_effects()),
        [2],
        "one interrupt for two chains"
    );
}

#[test]
fn nothing_is_consumed_before_driver_ok() {
    // "Device Requirements: Device Status Field".
    let (mut guest, _) = guest();
    let mut driver = Driver::probe(&mut guest, DEVICE);
    driver.negotiate(&mut guest, 0);
    driver.set_interrupts_up(&mut guest, Interrupts::Msix);
    driver.set_queues_up(&mut guest, Interrupts::Msix, 8);
    driver.submit(&mut guest, 0, &[b"early"], &[5]);
    driver.kick(&mut guest, 0);
    assert_eq!(driver.reap(&guest, 0), []);
    assert_eq!(vectors(&guest.take_effects()), []);
    driver.set_status(&mut guest, 15);
    assert_eq!(driver.reap(&guest, 0), [(0, 5)]);
    assert_eq!(vectors(&guest.take_quiet_effects()), [1]);
}

#[test]
fn without_bus_mastering_requests_wait() {
    let (mut guest, mut driver, _) = started(0, Interrupts::Msix);
    guest.config_write(DEVICE, 0x04, 2, 0x0002);
    driver.submit(&mut guest, 0, &[b"a"], &[1]);
    driver.kick(&mut guest, 0);
    assert_eq!(driver.reap(&guest, 0), []);
    guest.config_write(DEVICE, 0x04, 2, 0x0006);
    assert_eq!(driver.reap(&guest, 0), [(0, 1)]);
    assert_eq!(vectors(&guest.take_quiet_effects()), [1]);
}

#[test]
fn a_driver_without_msix_gets_a_line_and_reads_why() {
    // "ISR status capability".
    let (mut guest, mut driver, handle) = started(0, Interrupts::Intx);
    driver.transact(&mut guest, 0, &[b"a"], &[1]);
    assert_eq!(lines(&guest.take_quiet_effects()), [(GSI, true)]);
    assert_eq!(guest.config_read(DEVICE, 0x06, 2) & 8, 8);
    driver.transact(&mut guest, 1, &[b"a"], &[]);
    assert_eq!(lines(&guest.take_quiet_effects()), [], "it is high already");
    assert_eq!(guest.read(driver.isr, 1), 1);
    assert_eq!(lines(&guest.take_quiet_effects()), [(GSI, false)]);
    assert_eq!(guest.read(driver.isr, 1), 0);
    assert_eq!(guest.config_read(DEVICE, 0x06, 2) & 8, 0);
    change_config(&mut guest, handle);
    assert_eq!(lines(&guest.take_quiet_effects()), [(GSI, true)]);
    driver.transact(&mut guest, 0, &[b"a"], &[1]);
    assert_eq!(guest.read(driver.isr, 1), 3);
    assert_eq!(lines(&guest.take_quiet_effects()), [(GSI, false)]);
}

fn change_config(guest: &mut Guest, handle: Handle<VirtioPci<Shouter>>) {
    guest.enter(handle, |function, now, dma, effects| {
        function.serve(now, dma, effects, |device, io| {
            device.config[7] += 1;
            io.config_changed();
            Ok(())
        });
    });
}

#[test]
fn configuration_changes_are_told_by_vector_and_generation() {
    // "Notification of Device Configuration Changes", "Device Configuration Space".
    let (mut guest, driver, handle) = started(0, Interrupts::Msix);
    let config = driver.config.unwrap();
    assert_eq!(guest.read(config, 8), u64::from_le_bytes(*b"abcdefgh"));
    assert_eq!(
        guest.read(config + 3, 2),
        u64::from(u16::from_le_bytes(*b"de"))
    );
    let generation = guest.read(driver.common + 0x15, 1);
    change_config(&mut guest, handle);
    assert_eq!(vectors(&guest.take_quiet_effects()), [0]);
    assert_eq!(guest.read(driver.common + 0x15, 1), generation + 1);
    assert_eq!(guest.read(config + 7, 1), u64::from(b'i'));
    guest.write(config + 1, 2, 0x5958);
    assert_eq!(
        guest.read(config, 4),
        u64::from(u32::from_le_bytes(*b"aXYd"))
    );
    guest.write(config + 6, 4, 0);
    assert_eq!(guest.take_warnings().len(), 1);
    assert_eq!(
        guest.read(config + 6, 4),
        u64::from(u16::from_le_bytes(*b"gi"))
    );
}

#[test]
fn a_vector_that_does_not_exist_reads_back_as_none() {
    // "MSI-X Vector Configuration": three vectors here, for two queues and the configuration.
    let (mut guest, mut driver, handle) = started(0, Interrupts::Msix);
    let control = guest.config_read(DEVICE, driver.msix + 2, 2);
    assert_eq!(control & 0x7ff, 2);
    for (written, read) in [
        (2, 2),
        (3, 0xffff),
        (0, 0),
        (0x8000, 0xffff),
        (0xffff, 0xffff),
    ] {
        guest.write(driver.common + 0x10, 2, written);
        assert_eq!(guest.read(driver.common + 0x10, 2), read);
        guest.write(driver.common + 0x16, 2, 0);
        guest.write(driver.common + 0x1a, 2, written);
        assert_eq!(guest.read(driver.common + 0x1a, 2), read);
    }
    // Without vectors there are no interrupts, and no line either.
    driver.transact(&mut guest, 0, &[b"a"], &[1]);
    change_config(&mut guest, handle);
    assert_eq!(guest.take_quiet_effects(), []);
}

#[test]
fn queues_share_a_vector_where_the_driver_wants_it() {
    let (mut guest, mut driver, _) = started(0, Interrupts::Msix);
    for queue in 0..2 {
        guest.write(driver.common + 0x16, 2, queue);
        guest.write(driver.common + 0x1a, 2, 2);
    }
    driver.transact(&mut guest, 0, &[b"a"], &[1]);
    driver.transact(&mut guest, 1, &[b"a"], &[]);
    assert_eq!(vectors(&guest.take_quiet_effects()), [2, 2]);
}

#[test]
fn a_reset_forgets_interrupts_that_waited() {
    let (mut guest, mut driver, _) = started(0, Interrupts::Msix);
    guest.write(driver.msix_table + 16 + 12, 4, 1);
    driver.transact(&mut guest, 0, &[b"a"], &[1]);
    assert_eq!(guest.read(driver.msix_table + 0x800, 4), 2);
    driver.set_status(&mut guest, 0);
    guest.write(driver.msix_table + 16 + 12, 4, 0);
    assert_eq!(vectors(&guest.take_quiet_effects()), []);
}

#[test]
fn interrupts_follow_the_event_index() {
    let (mut guest, mut driver, _) = started(EVENT_IDX, Interrupts::Msix);
    let ring = &driver.rings[0];
    let used_event = ring.available + 4 + 2 * 8;
    let avail_event = ring.used + 4 + 8 * 8;
    guest.memory.put16(used_event, 2);
    for (round, interrupt) in [false, false, true, false].into_iter().enumerate() {
        driver.transact(&mut guest, 0, &[b"a"], &[1]);
        assert_eq!(
            vectors(&guest.take_quiet_effects()).len(),
            usize::from(interrupt)
        );
        assert_eq!(guest.memory.get16(avail_event), round as u16 + 1);
    }
}

#[test]
fn queue_fields_are_checked() {
    let (mut guest, handle) = guest();
    let mut driver = Driver::probe(&mut guest, DEVICE);
    guest.write(driver.common + 0x16, 2, 1);
    guest.write(driver.common + 0x1c, 2, 1);
    assert_eq!(
        guest.read(driver.common + 0x1c, 2),
        0,
        "not before FEATURES_OK"
    );
    driver.negotiate(&mut guest, 0);
    guest.take_effects();
    guest.write(driver.common + 0x16, 2, 1);
    for size in [0, 3, 512, 0xffff] {
        guest.write(driver.common + 0x18, 2, size);
        assert_eq!(guest.read(driver.common + 0x18, 2), 256);
        assert_eq!(guest.take_warnings().len(), 1);
    }
    guest.write(driver.common + 0x18, 2, 16);
    assert_eq!(guest.read(driver.common + 0x18, 2), 16);
    guest.write(driver.common + 0x20, 8, 0x1_2345_6780);
    assert_eq!(guest.read(driver.common + 0x20, 4), 0x2345_6780);
    assert_eq!(guest.read(driver.common + 0x24, 4), 1);
    assert_eq!(guest.read(driver.common + 0x20, 8), 0x1_2345_6780);
    for offset in [0x28, 0x30] {
        guest.write(driver.common + offset, 4, 0x7654_3210);
        guest.write(driver.common + offset + 4, 4, 0xfed);
        assert_eq!(guest.read(driver.common + offset, 4), 0x7654_3210);
        assert_eq!(guest.read(driver.common + offset + 4, 4), 0xfed);
        assert_eq!(guest.read(driver.common + offset, 8), 0xfed_7654_3210);
    }
    guest.write(driver.common + 0x1c, 2, 0);
    assert_eq!(guest.take_warnings().len(), 1, "0 must not be written");
    // A queue that does not exist.
    guest.write(driver.common + 0x16, 2, 2);
    assert_eq!(guest.read(driver.common + 0x18, 2), 0);
    guest.write(driver.common + 0x1c, 2, 1);
    assert_eq!(guest.read(driver.common + 0x1c, 2), 0);
    guest.take_effects();
    // Misaligned rings cannot be enabled; the device needs a reset.
    guest.write(driver.common + 0x16, 2, 1);
    guest.write(driver.common + 0x28, 4, 1);
    guest.write(driver.common + 0x1c, 2, 1);
    assert_eq!(guest.read(driver.common + 0x1c, 2), 0);
    assert_eq!(driver.status(&mut guest) & 64, 64);
    assert!(guest.bus.get(handle).needs_reset());
    assert_eq!(guest.take_warnings().len(), 1);
}

#[test]
fn an_enabled_queue_does_not_change() {
    let (mut guest, mut driver, _) = started(0, Interrupts::Msix);
    guest.write(driver.common + 0x16, 2, 0);
    for (offset, size) in [(0x18, 2), (0x1c, 2), (0x20, 8), (0x28, 4), (0x34, 4)] {
        guest.write(driver.common + offset, size, 0);
        assert_eq!(guest.take_warnings().len(), 1);
    }
    driver.transact(&mut guest, 0, &[b"a"], &[1]);
}

#[test]
fn a_broken_ring_stops_the_device_until_it_is_reset() {
    let (mut guest, mut driver, handle) = started(0, Interrupts::Msix);
    let ring = &mut driver.rings[0];
    let looping = Descriptor {
        address: 0x1000,
        length: 1,
        flags: NEXT,
        next: 0,
    };
    ring.put_descriptor(&mut guest.memory, 0, looping);
    ring.offer(&mut guest.memory, 0);
    driver.kick(&mut guest, 0);
    let effects = guest.take_effects();
    // "Device Status Field": with DRIVER_OK the driver is told by a configuration change.
    assert_eq!(vectors(&effects), [0]);
    assert!(matches!(&effects[0], Effect::Warning(text) if text.starts_with("shouter: ")));
    assert_eq!(driver.status(&mut guest), 15 | 64);
    // The other queue is dead, too.
    driver.submit(&mut guest, 1, &[b"x"], &[]);
    driver.kick(&mut guest, 1);
    assert_eq!(driver.reap(&guest, 1), []);
    assert_eq!(guest.take_effects(), []);
    assert!(guest.bus.get(handle).needs_reset());
    let mut driver = Driver::start(&mut guest, DEVICE, 0, Interrupts::Msix, 8);
    driver.transact(&mut guest, 0, &[b"a"], &[1]);
    guest.take_quiet_effects();
}

#[test]
fn rings_outside_ram_stop_the_device() {
    let (mut guest, _) = guest();
    let mut driver = Driver::probe(&mut guest, DEVICE);
    driver.negotiate(&mut guest, 0);
    driver.set_interrupts_up(&mut guest, Interrupts::Msix);
    guest.write(driver.common + 0x16, 2, 0);
    for offset in [0x20, 0x28, 0x30] {
        guest.write(driver.common + offset, 8, 0xfee0_0000);
    }
    guest.write(driver.common + 0x1c, 2, 1);
    guest.take_quiet_effects();
    driver.set_status(&mut guest, 15);
    assert_eq!(driver.status(&mut guest), 15 | 64);
    assert_eq!(guest.take_warnings().len(), 1);
}

#[test]
fn bar_0_can_be_reached_through_configuration_space() {
    // "PCI configuration access capability".
    let (mut guest, mut driver, _) = started(0, Interrupts::Intx);
    guest.write(driver.common + 0x16, 2, 1);
    let at = driver.pci_access;
    let base = guest.bar(DEVICE, 0);
    let point = |guest: &mut Guest, address: u64, length: u32| {
        guest.config_write(DEVICE, at + 4, 1, 0);
        guest.config_write(DEVICE, at + 8, 4, (address - base) as u32);
        guest.config_write(DEVICE, at + 12, 4, length);
    };
    point(&mut guest, driver.common + 0x16, 2);
    assert_eq!(guest.config_read(DEVICE, at + 16, 2), 1);
    guest.config_write(DEVICE, at + 16, 2, 0);
    assert_eq!(guest.read(driver.common + 0x16, 2), 0);
    point(&mut guest, driver.config.unwrap() + 4, 4);
    assert_eq!(
        guest.config_read(DEVICE, at + 16, 4),
        u32::from_le_bytes(*b"efgh")
    );
    // Notification, and ISR with its side effect.
    driver.submit(&mut guest, 0, &[b"a"], &[1]);
    point(&mut guest, driver.notify, 2);
    guest.config_write(DEVICE, at + 16, 2, 0);
    assert_eq!(driver.reap(&guest, 0), [(0, 1)]);
    point(&mut guest, driver.isr, 1);
    assert_eq!(guest.config_read(DEVICE, at + 16, 1), 1);
    assert_eq!(guest.config_read(DEVICE, at + 16, 1), 0);
    assert_eq!(
        lines(&guest.take_quiet_effects()),
        [(GSI, true), (GSI, false)]
    );
    // Lengths, offsets and BARs that cannot be do nothing.
    guest.write(driver.common + 0x16, 2, 1);
    for (bar, offset, length) in [
        (0, 0x16, 0),
        (0, 0x16, 4),
        (0, 0x16, 8),
        (1, 0x16, 2),
        (0, 0xffff_fffe, 2),
        (0, 0x4000, 4),
    ] {
        guest.config_write(DEVICE, at + 4, 1, bar);
        guest.config_write(DEVICE, at + 8, 4, offset);
        guest.config_write(DEVICE, at + 12, 4, length);
        guest.config_write(DEVICE, at + 16, 4, 0);
        guest.config_read(DEVICE, at + 16, 4);
        assert_eq!(guest.read(driver.common + 0x16, 2), 1);
    }
    assert_eq!(guest.take_effects(), []);
}

#[test]
fn it_can_be_saved_and_go_on_elsewhere() {
    let (mut first, mut driver, handle) = started(EVENT_IDX, Interrupts::Msix);
    driver.transact(&mut first, 0, &[b"a"], &[1]);
    // A vector waits behind a mask, and a request in its queue.
    first.write(driver.msix_table + 16 + 12, 4, 1);
    let used_event = driver.rings[0].available + 4 + 2 * 8;
    first.memory.put16(used_event, 1);
    driver.transact(&mut first, 0, &[b"b"], &[1]);
    first.enter(handle, |function, _, _, _| {
        function.device_mut().hold = true
    });
    driver.submit(&mut first, 0, &[b"c"], &[1]);
    driver.kick(&mut first, 0);
    let (mut second, second_handle) = guest();
    second.memory.bytes = first.memory.bytes.clone();
    second.bus.load(&first.bus.save()).unwrap();
    assert_eq!(second.bus.save(), first.bus.save());
    let mut outcomes = Vec::new();
    for (mut guest, handle) in [(first, handle), (second, second_handle)] {
        guest.take_effects();
        guest.write(driver.msix_table + 16 + 12, 4, 0);
        guest.enter(handle, |function, _, _, _| {
            function.device_mut().hold = false
        });
        driver.kick(&mut guest, 0);
        let mut ring = driver.rings[0].clone();
        outcomes.push((ring.reap(&guest.memory), guest.take_quiet_effects()));
    }
    assert_eq!(outcomes[0].0.len(), 1);
    assert_eq!(vectors(&outcomes[0].1), [1]);
    assert_eq!(outcomes[0], outcomes[1]);
}

#[test]
fn states_of_another_device_are_refused() {
    let (first, _, _) = started(FEATURE, Interrupts::Msix);
    let saved = first.bus.save();
    let mut bus = PciBus::new(crate::pci::DEFAULT_WINDOW);
    let rng = VirtioPci::new(crate::rng::Rng::new("rng", [0; 32]));
    bus.plug(DEVICE, GSI, rng).unwrap();
    let before = bus.save();
    bus.load(&saved).unwrap_err();
    assert_eq!(bus.save(), before);
}

#[test]
fn reset_brings_power_on_back() {
    let (fresh, _) = guest();
    let (mut used, mut driver, _) = started(EVENT_IDX, Interrupts::Msix);
    driver.transact(&mut used, 0, &[b"a"], &[1]);
    used.bus.reset();
    assert_eq!(used.bus.save(), fresh.bus.save());
}

#[test]
fn a_hostile_guest_harms_nobody() {
    for seed in 1..=4 {
        let mut guest = torment(
            0x5eed_1000 + seed,
            100_000,
            || VirtioPci::new(Shouter::new()),
            |_, _, _| {},
        );
        let mut driver = Driver::start(&mut guest, HOSTILE_DEVICE, 0, Interrupts::Msix, 8);
        guest.take_effects();
        let (length, buffers) = driver.transact(&mut guest, 0, &[b"alive"], &[5]);
        assert_eq!((length, &buffers[0][..]), (5, &b"ALIVE"[..]));
        assert_eq!(vectors(&guest.take_quiet_effects()), [1]);
    }
}
