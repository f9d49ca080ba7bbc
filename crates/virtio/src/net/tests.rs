//! The network device from both sides. VIRTIO 1.2, "Network Device".

use super::*;
use crate::driver::{Dice, Driver, Guest, Interrupts, vectors};
use crate::hostile::{HOSTILE_DEVICE, torment};
use crate::pci::{DEFAULT_WINDOW, Handle, PciBus};
use ring3_bus::Device;

const DEVICE: u8 = 6;
/// Everything but VIRTIO_F_EVENT_IDX, which would suppress interrupts.
const FEATURES: u64 = !(1 << 29);
const STREAM: u32 = 9;
const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];

fn net() -> VirtioPci<Net> {
    VirtioPci::new(Net::new(NetConfig {
        name: "net0".to_owned(),
        mac: MAC,
        stream: STREAM,
    }))
}

fn plugged() -> (Guest, Handle<VirtioPci<Net>>) {
    let mut bus = PciBus::new(DEFAULT_WINDOW);
    let handle = bus.plug(DEVICE, 10, net()).unwrap();
    (Guest::new(bus), handle)
}

fn started() -> (Guest, Handle<VirtioPci<Net>>, Driver) {
    let (mut guest, handle) = plugged();
    let driver = Driver::start(&mut guest, DEVICE, FEATURES, Interrupts::Msix, 64);
    guest.take_quiet_effects();
    (guest, handle, driver)
}

fn receive(guest: &mut Guest, handle: Handle<VirtioPci<Net>>, frame: &[u8]) -> bool {
    guest.enter(handle, |net, now, dma, effects| {
        net.receive(now, frame, dma, effects)
    })
}

fn set_link(guest: &mut Guest, handle: Handle<VirtioPci<Net>>, up: bool) {
    guest.enter(handle, |net, now, dma, effects| {
        net.set_link(now, up, dma, effects)
    });
}

fn outputs(effects: Effects) -> Vec<Vec<u8>> {
    effects
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Output { stream, bytes } => {
                assert_eq!(stream, STREAM);
                Some(bytes)
            }
            _ => None,
        })
        .collect()
}

#[test]
fn the_configuration_tells_address_and_link() {
    let (mut guest, handle, driver) = started();
    let at = driver.config.unwrap();
    assert_eq!(guest.config_read(DEVICE, 0x00, 4), 0x1041_1af4);
    assert_eq!(driver.offered(&mut guest) & 0xff_ffff, 1 << 5 | 1 << 16);
    let mac: Vec<u8> = (0..6).map(|byte| guest.read(at + byte, 1) as u8).collect();
    assert_eq!(mac, MAC);
    assert_eq!(guest.read(at + 6, 2), 1);
    set_link(&mut guest, handle, false);
    assert_eq!(vectors(&guest.take_quiet_effects()), [0]);
    assert_eq!(guest.read(at + 6, 2), 0);
    set_link(&mut guest, handle, false);
    assert_eq!(guest.take_quiet_effects(), []);
    assert!(!guest.bus.get(handle).device().link_up());
}

#[test]
fn frames_leave_in_order_without_their_header() {
    let (mut guest, _, mut driver) = started();
    let long = [7; 1514];
    // However they are cut up.
    driver.submit(&mut guest, 1, &[&[0; 12], b"first frame"], &[]);
    driver.submit(&mut guest, 1, &[&[0; 5], &[0; 7], b"sec", b"ond"], &[]);
    driver.submit(&mut guest, 1, &[&[[0; 12].as_slice(), &long].concat()], &[]);
    driver.kick(&mut guest, 1);
    assert_eq!(driver.reap(&guest, 1), [(0, 0), (2, 0), (6, 0)]);
    let effects = guest.take_quiet_effects();
    assert_eq!(vectors(&effects), [2]);
    let expected = [b"first frame".to_vec(), b"second".to_vec(), long.to_vec()];
    assert_eq!(outputs(effects), expected);
}

#[test]
fn what_is_no_frame_is_not_sent() {
    let (mut guest, _, mut driver) = started();
    let mut checksum = [0; 40];
    checksum[0] = 1;
    let mut segmented = [0; 40];
    segmented[1] = 1;
    for packet in [
        &[][..],
        &[0; 11],
        &[0; 12],
        &[0; 1527],
        &checksum,
        &segmented,
    ] {
        driver.submit(&mut guest, 1, &[packet], &[]);
        driver.kick(&mut guest, 1);
        assert_eq!(driver.reap(&guest, 1).len(), 1);
        let effects = guest.take_effects();
        assert!(matches!(&effects[0], Effect::Warning(_)));
        assert!(outputs(effects).is_empty());
    }
    assert_eq!(driver.status(&mut guest) & 64, 0);
}

#[test]
fn frames_arrive_with_a_header() {
    let (mut guest, handle, mut driver) = started();
    let (_, first) = driver.submit(&mut guest, 0, &[], &[1526]);
    let (_, second) = driver.submit(&mut guest, 0, &[], &[12, 1514]);
    driver.kick(&mut guest, 0);
    assert!(receive(&mut guest, handle, b"hello"));
    assert_eq!(vectors(&guest.take_quiet_effects()), [1]);
    assert!(receive(&mut guest, handle, &[9; 1514]));
    assert_eq!(driver.reap(&guest, 0), [(0, 17), (1, 1526)]);
    let header = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    assert_eq!(guest.memory.bytes(first[0], 12), header);
    assert_eq!(guest.memory.bytes(first[0] + 12, 5), b"hello");
    assert_eq!(guest.memory.bytes(second[0], 12), header);
    assert_eq!(guest.memory.bytes(second[1], 1514), [9; 1514]);
}

#[test]
fn frames_wait_for_buffers_and_are_dropped_when_too_many_do() {
    let (mut guest, handle, mut driver) = started();
    for number in 0..256u16 {
        assert!(receive(&mut guest, handle, &number.to_le_bytes()));
    }
    assert!(!receive(&mut guest, handle, b"too many"));
    assert_eq!(guest.bus.get(handle).device().waiting_frames(), 256);
    assert!(!receive(&mut guest, handle, &[0; 1515]));
    for number in 0..256u16 {
        let (_, buffers) = driver.transact(&mut guest, 0, &[], &[1526]);
        assert_eq!(buffers[0][12..14], number.to_le_bytes());
    }
    assert_eq!(guest.bus.get(handle).device().waiting_frames(), 0);
}

#[test]
fn without_link_or_driver_nothing_passes() {
    let (mut guest, handle) = plugged();
    assert!(!receive(&mut guest, handle, b"early"));
    let (mut guest, handle, mut driver) = started();
    set_link(&mut guest, handle, false);
    assert!(!receive(&mut guest, handle, b"down"));
    driver.transact(&mut guest, 1, &[&[0; 30]], &[]);
    assert!(outputs(guest.take_quiet_effects()).is_empty());
    set_link(&mut guest, handle, true);
    assert!(receive(&mut guest, handle, b"up"));
    driver.set_status(&mut guest, 0);
    assert_eq!(guest.bus.get(handle).device().waiting_frames(), 0);
}

#[test]
fn a_buffer_that_is_too_small_stops_the_device() {
    let (mut guest, handle, mut driver) = started();
    driver.submit(&mut guest, 0, &[], &[13]);
    driver.kick(&mut guest, 0);
    receive(&mut guest, handle, b"ab");
    assert_eq!(driver.status(&mut guest) & 64, 64);
}

#[test]
fn saved_and_restored_it_goes_on() {
    let (mut first, handle, mut driver) = started();
    receive(&mut first, handle, b"waiting");
    set_link(&mut first, handle, false);
    let (mut second, second_handle) = plugged();
    second.bus.load(&first.bus.save()).unwrap();
    assert_eq!(second.bus.save(), first.bus.save());
    second.memory.bytes = first.memory.bytes.clone();
    driver.submit(&mut second, 0, &[], &[1526]);
    driver.kick(&mut second, 0);
    assert_eq!(driver.reap(&second, 0), [(0, 19)]);
    assert!(!second.bus.get(second_handle).device().link_up());
    second.bus.reset();
    let (fresh, _) = plugged();
    assert_eq!(second.bus.save(), fresh.bus.save());
    // Another address is another device.
    let mut other = PciBus::new(DEFAULT_WINDOW);
    let config = NetConfig {
        name: "net0".to_owned(),
        mac: [2; 6],
        stream: STREAM,
    };
    other
        .plug(DEVICE, 10, VirtioPci::new(Net::new(config)))
        .unwrap();
    other.load(&first.bus.save()).unwrap_err();
}

#[test]
fn a_hostile_guest_harms_nobody() {
    let outside = |guest: &mut Guest, handle, dice: &mut Dice| {
        let frame = vec![1; dice.below(1600) as usize];
        match dice.below(10) {
            0 => set_link(guest, handle, false),
            1 => set_link(guest, handle, true),
            _ => {
                receive(guest, handle, &frame);
                assert!(guest.bus.get(handle).device().waiting_frames() <= 256);
            }
        }
    };
    for seed in 1..=2 {
        let mut guest = torment(0x5eed_5000 + seed, 100_000, net, outside);
        let mut driver = Driver::start(&mut guest, HOSTILE_DEVICE, 0, Interrupts::Msix, 8);
        driver.transact(&mut guest, 1, &[&[0; 60]], &[]);
    }
}
