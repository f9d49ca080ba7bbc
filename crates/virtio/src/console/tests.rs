//! The console from both sides. VIRTIO 1.2, "Console Device".

use super::*;
use crate::driver::{Dice, Driver, Guest, Interrupts, vectors};
use crate::hostile::{HOSTILE_DEVICE, torment};
use crate::pci::{DEFAULT_WINDOW, Handle, PciBus};
use ring3_bus::Device;

const DEVICE: u8 = 4;
/// Everything but VIRTIO_F_EVENT_IDX, which would suppress interrupts.
const FEATURES: u64 = !(1 << 29);
const STREAM: u32 = 100;

fn config() -> ConsoleConfig {
    ConsoleConfig {
        name: "console0".to_owned(),
        ports: vec![
            PortConfig::stream("ring3.control"),
            PortConfig::stream("ring3.stdin"),
            PortConfig::console("tty"),
        ],
        first_stream: STREAM,
        input_limit_bytes: 1000,
        resize_order: ResizeOrder::ColumnsFirst,
    }
}

/// A guest whose driver does what the specification says, and notes what it was told.
struct Bench {
    guest: Guest,
    handle: Handle<VirtioPci<Console>>,
    driver: Driver,
    /// Where the receive buffers are, by queue and head.
    buffers: std::collections::BTreeMap<(u16, u32), u64>,
}

const BUFFER: usize = 32;

impl Bench {
    /// Up to DRIVER_OK, with four receive buffers in every receive queue.
    fn with(config: ConsoleConfig, wanted: u64) -> Bench {
        let mut bus = PciBus::new(DEFAULT_WINDOW);
        let handle = bus
            .plug(DEVICE, 10, VirtioPci::new(Console::new(config).unwrap()))
            .unwrap();
        let mut guest = Guest::new(bus);
        let driver = Driver::start(&mut guest, DEVICE, wanted, Interrupts::Msix, 64);
        let mut bench = Bench {
            guest,
            handle,
            driver,
            buffers: Default::default(),
        };
        for queue in (0..8).step_by(2) {
            bench.give_buffers(queue, 4);
        }
        bench.guest.take_quiet_effects();
        bench
    }

    /// With all ports ready, but none open in the guest.
    fn ready() -> Bench {
        let mut bench = Bench::with(config(), FEATURES);
        bench.send_control(0, 0, 1);
        for port in 0..3 {
            bench.send_control(port, 3, 1);
        }
        bench.messages();
        bench.guest.take_quiet_effects();
        bench
    }

    fn give_buffers(&mut self, queue: u16, count: usize) {
        for _ in 0..count {
            let (head, addresses) = self.driver.submit(&mut self.guest, queue, &[], &[BUFFER]);
            self.buffers.insert((queue, head.into()), addresses[0]);
        }
        self.driver.kick(&mut self.guest, queue);
    }

    /// What has arrived in a receive queue; the buffers are given back.
    fn received(&mut self, queue: u16) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let used = self.driver.reap(&self.guest, queue);
            if used.is_empty() {
                return all;
            }
            for &(head, length) in &used {
                let address = self.buffers[&(queue, head)];
                all.push(self.guest.memory.bytes(address, length as usize).to_vec());
            }
            self.give_buffers(queue, used.len());
        }
    }

    fn read(&mut self, port: u16) -> String {
        let queue = if port == 0 { 0 } else { 2 + 2 * port };
        String::from_utf8(self.received(queue).concat()).unwrap()
    }

    /// Control messages: port, event, value, and what follows.
    fn messages(&mut self) -> Vec<(u32, u16, u16, Vec<u8>)> {
        let messages = self.received(2);
        messages
            .into_iter()
            .map(|bytes| {
                let field = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
                assert_eq!(field(2), 0);
                (field(0).into(), field(4), field(6), bytes[8..].to_vec())
            })
            .collect()
    }

    fn send_control(&mut self, port: u32, event: u16, value: u16) {
        let message = control_message(port, event, value, &[]);
        self.driver.transact(&mut self.guest, 3, &[&message], &[]);
    }

    fn open_in_guest(&mut self, port: u32) {
        self.send_control(port, 6, 1);
    }

    fn write(&mut self, port: u16, bytes: &[&[u8]]) {
        let queue = if port == 0 { 1 } else { 3 + 2 * port };
        let (length, _) = self.driver.transact(&mut self.guest, queue, bytes, &[]);
        assert_eq!(length, 0);
    }

    fn input(&mut self, port: u32, bytes: &[u8]) -> usize {
        self.guest.enter(self.handle, |console, now, dma, effects| {
            console.input(now, port, bytes, dma, effects)
        })
    }

    fn close(&mut self, port: u32) {
        self.guest.enter(self.handle, |console, now, dma, effects| {
            console.close(now, port, dma, effects)
        })
    }

    fn open(&mut self, port: u32) {
        self.guest.enter(self.handle, |console, now, dma, effects| {
            console.open(now, port, dma, effects)
        })
    }

    fn status(&self, port: u32) -> PortStatus {
        self.guest.bus.get(self.handle).device().status(port)
    }

    fn outputs(&mut self) -> Vec<(u32, Vec<u8>)> {
        let effects = self.guest.take_quiet_effects();
        effects
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Output { stream, bytes } => Some((stream, bytes)),
                _ => None,
            })
            .collect()
    }
}

fn plain(port: u32, event: u16, value: u16) -> (u32, u16, u16, Vec<u8>) {
    (port, event, value, Vec::new())
}

#[test]
fn the_configuration_tells_size_and_ports() {
    let mut bench = Bench::with(config(), FEATURES);
    let at = bench.driver.config.unwrap();
    let guest = &mut bench.guest;
    assert_eq!(guest.config_read(DEVICE, 0x00, 4), 0x1043_1af4);
    assert_eq!(guest.read(at, 2), 80);
    assert_eq!(guest.read(at + 2, 2), 25);
    assert_eq!(guest.read(at + 4, 4), 3);
    assert_eq!(bench.driver.offered(guest) & 0xff_ffff, 7);
    // "Virtqueues": two for each port and two for control.
    assert_eq!(guest.read(bench.driver.common + 0x12, 2), 8);
}

#[test]
fn ports_are_announced_named_and_opened() {
    // "Multiport Device Operation".
    let mut bench = Bench::with(config(), FEATURES);
    assert_eq!(bench.messages(), []);
    bench.send_control(0, 0, 1);
    assert_eq!(
        bench.messages(),
        [plain(0, 1, 1), plain(1, 1, 1), plain(2, 1, 1)]
    );
    assert_eq!(bench.messages(), []);
    bench.send_control(1, 3, 1);
    assert_eq!(
        bench.messages(),
        [(1, 7, 1, b"ring3.stdin".to_vec()), plain(1, 6, 1)]
    );
    bench.send_control(2, 3, 1);
    assert_eq!(
        bench.messages(),
        [
            plain(2, 4, 1),
            (2, 7, 1, b"tty".to_vec()),
            (2, 5, 1, vec![80, 0, 25, 0]),
            plain(2, 6, 1)
        ]
    );
    assert!(!bench.status(0).ready && bench.status(1).ready && bench.status(2).ready);
    bench.guest.take_quiet_effects();
}

#[test]
fn messages_wait_for_buffers() {
    let mut bus = PciBus::new(DEFAULT_WINDOW);
    bus.plug(DEVICE, 10, VirtioPci::new(Console::new(config()).unwrap()))
        .unwrap();
    let mut guest = Guest::new(bus);
    let mut driver = Driver::start(&mut guest, DEVICE, FEATURES, Interrupts::Msix, 64);
    let ready = control_message(0, 0, 1, &[]);
    // However often the driver asks, nothing accumulates.
    for _ in 0..1000 {
        driver.transact(&mut guest, 3, &[&ready], &[]);
    }
    for port in 0..3 {
        let (_, addresses) = driver.submit(&mut guest, 2, &[], &[BUFFER]);
        driver.kick(&mut guest, 2);
        assert_eq!(driver.reap(&guest, 2), [(port, 8)]);
        let expected = control_message(port, 1, 1, &[]);
        assert_eq!(guest.memory.bytes(addresses[0], 8), expected);
    }
    driver.submit(&mut guest, 2, &[], &[BUFFER]);
    driver.kick(&mut guest, 2);
    assert_eq!(driver.reap(&guest, 2), []);
}

#[test]
fn what_the_guest_writes_comes_out_in_order_at_once() {
    let mut bench = Bench::ready();
    bench.write(0, &[b"one ", b"two "]);
    bench.write(2, &[b"three"]);
    bench.write(0, &[b"four"]);
    assert_eq!(
        bench.outputs(),
        [
            (STREAM, b"one two ".to_vec()),
            (STREAM + 2, b"three".to_vec()),
            (STREAM, b"four".to_vec())
        ]
    );
    // Several chains with one notification.
    for text in [&b"a"[..], b"b", b"c"] {
        bench.driver.submit(&mut bench.guest, 5, &[text], &[]);
    }
    bench.driver.kick(&mut bench.guest, 5);
    let expected: Vec<_> = [b"a", b"b", b"c"]
        .iter()
        .map(|text| (STREAM + 1, text.to_vec()))
        .collect();
    assert_eq!(bench.outputs(), expected);
    let console = bench.guest.bus.get(bench.handle).device();
    assert_eq!(console.port("tty"), Some(2));
    assert_eq!(console.port("nothing"), None);
    assert_eq!(console.stream(2), STREAM + 2);
}

#[test]
fn input_waits_until_the_guest_has_the_port_open() {
    let mut bench = Bench::ready();
    assert_eq!(bench.input(1, b"hello"), 5);
    assert_eq!(bench.read(1), "");
    assert_eq!(bench.status(1).input_pending_bytes, 5);
    bench.open_in_guest(1);
    let status = bench.status(1);
    assert!(status.guest_open && status.opened_count == 1);
    assert_eq!(bench.read(1), "hello");
    bench.guest.take_quiet_effects();
    assert_eq!(bench.input(1, b" world"), 6);
    // Port 1 has queues 4 and 5; vector 0 is the configuration's.
    assert_eq!(vectors(&bench.guest.take_quiet_effects()), [5]);
    assert_eq!(bench.read(1), " world");
    bench.send_control(1, 6, 0);
    assert!(!bench.status(1).guest_open);
    bench.input(1, b"later");
    assert_eq!(bench.read(1), "");
    bench.open_in_guest(1);
    assert_eq!(bench.read(1), "later");
    assert_eq!(bench.status(1).opened_count, 2);
}

#[test]
fn input_meets_back_pressure() {
    let mut bench = Bench::ready();
    bench.open_in_guest(1);
    // Four buffers of 32 bytes take 128; 1000 more are held.
    let text: Vec<u8> = (0..2000u32).map(|at| b'a' + (at % 26) as u8).collect();
    let mut accepted = bench.input(1, &text);
    assert_eq!(accepted, 1000);
    accepted += bench.input(1, &text[accepted..]);
    assert_eq!(accepted, 1128);
    assert_eq!(bench.input(1, &text[accepted..]), 0);
    let console = bench.guest.bus.get(bench.handle).device();
    assert_eq!(console.input_space(1), 0);
    assert_eq!(console.input_space(0), 1000);
    let mut arrived = bench.read(1);
    assert_eq!(arrived.len(), 1128);
    while accepted < text.len() {
        accepted += bench.input(1, &text[accepted..]);
        arrived += &bench.read(1);
    }
    assert_eq!(arrived.as_bytes(), text);
}

#[test]
fn a_hang_up_comes_after_the_input_before_it() {
    let mut bench = Bench::ready();
    bench.open_in_guest(1);
    let text = [b'x'; 300];
    assert_eq!(bench.input(1, &text), 300);
    bench.close(1);
    assert_eq!(bench.messages(), [], "172 bytes have no buffer yet");
    assert_eq!(bench.input(1, b"more"), 0);
    assert!(!bench.status(1).host_open);
    assert_eq!(bench.read(1).len(), 300);
    assert_eq!(bench.messages(), [plain(1, 6, 0)]);
    assert_eq!(bench.input(1, b"more"), 0);
    // Output still comes out.
    bench.write(1, &[b"bye"]);
    assert_eq!(bench.outputs(), [(STREAM + 1, b"bye".to_vec())]);
    bench.open(1);
    assert_eq!(bench.messages(), [plain(1, 6, 1)]);
    assert_eq!(bench.input(1, b"again"), 5);
    assert_eq!(bench.read(1), "again");
}

#[test]
fn a_hang_up_before_the_guest_has_the_port_is_not_lost() {
    let mut bench = Bench::with(config(), FEATURES);
    bench.input(1, b"abc");
    bench.close(1);
    bench.send_control(0, 0, 1);
    bench.messages();
    bench.send_control(1, 3, 1);
    // It is open as long as there is input.
    assert_eq!(
        bench.messages(),
        [(1, 7, 1, b"ring3.stdin".to_vec()), plain(1, 6, 1)]
    );
    bench.open_in_guest(1);
    assert_eq!(bench.read(1), "abc");
    assert_eq!(bench.messages(), [plain(1, 6, 0)]);
}

#[test]
fn opening_and_closing_quickly_ends_as_the_last_call_says() {
    let mut bench = Bench::ready();
    bench.close(1);
    bench.open(1);
    assert_eq!(bench.messages(), [plain(1, 6, 0), plain(1, 6, 1)]);
    bench.open(1);
    assert_eq!(bench.messages(), []);
    // With input in the way the calls pile up and come out as one hang-up.
    bench.input(1, b"x");
    bench.close(1);
    bench.open(1);
    assert_eq!(bench.input(1, b"y"), 0, "only after the hang-up was told");
    bench.close(1);
    bench.open_in_guest(1);
    assert_eq!(bench.read(1), "x");
    assert_eq!(bench.messages(), [plain(1, 6, 0)]);
    assert!(!bench.status(1).host_open);
}

#[test]
fn a_console_learns_its_size() {
    let resize = |bench: &mut Bench, port| {
        bench
            .guest
            .enter(bench.handle, |console, now, dma, effects| {
                console.resize(now, port, 200, 50, dma, effects)
            });
    };
    let mut bench = Bench::ready();
    resize(&mut bench, 2);
    assert_eq!(bench.messages(), [(2, 5, 1, vec![200, 0, 50, 0])]);
    resize(&mut bench, 1);
    assert_eq!(bench.messages(), [], "a stream has no size");
    let mut swapped = config();
    swapped.resize_order = ResizeOrder::RowsFirst;
    let mut bench = Bench::with(swapped, FEATURES);
    bench.send_control(2, 3, 1);
    bench.messages();
    resize(&mut bench, 2);
    assert_eq!(bench.messages(), [(2, 5, 1, vec![50, 0, 200, 0])]);
    // Without MULTIPORT the configuration says it, for port 0.
    let mut bench = Bench::with(config(), 1);
    let at = bench.driver.config.unwrap();
    resize(&mut bench, 0);
    assert_eq!(vectors(&bench.guest.take_quiet_effects()), [0]);
    assert_eq!(bench.guest.read(at, 4), 50 << 16 | 200);
}

#[test]
fn a_driver_without_multiport_has_port_0() {
    let mut bench = Bench::with(config(), 0);
    bench.write(0, &[b"hello"]);
    assert_eq!(bench.outputs(), [(STREAM, b"hello".to_vec())]);
    bench.input(0, b"answer");
    assert_eq!(bench.read(0), "answer");
    bench.input(1, b"nobody");
    assert_eq!(bench.read(1), "");
    // The other queues do nothing, whatever is in them.
    let ready = control_message(0, 0, 1, &[]);
    bench.driver.submit(&mut bench.guest, 3, &[&ready], &[]);
    bench.driver.kick(&mut bench.guest, 3);
    bench.driver.submit(&mut bench.guest, 5, &[b"x"], &[]);
    bench.driver.kick(&mut bench.guest, 5);
    assert_eq!(bench.outputs(), []);
    assert_eq!(bench.messages(), []);
}

#[test]
fn emergency_writes_need_no_queues() {
    // "Device Initialization".
    let mut bus = PciBus::new(DEFAULT_WINDOW);
    bus.plug(DEVICE, 10, VirtioPci::new(Console::new(config()).unwrap()))
        .unwrap();
    let mut guest = Guest::new(bus);
    let driver = Driver::probe(&mut guest, DEVICE);
    let at = driver.config.unwrap();
    guest.write(at + 8, 4, u64::from(b'!'));
    assert_eq!(
        guest.take_effects(),
        [Effect::Output {
            stream: STREAM,
            bytes: b"!".to_vec()
        }]
    );
    guest.write(at, 2, 1);
    assert_eq!(guest.take_warnings().len(), 1);
}

#[test]
fn nonsense_from_the_driver_is_warned_of() {
    let mut bench = Bench::ready();
    for (port, event, value) in [(3, 3, 1), (0, 9, 1), (0, 6, 2), (0, 0, 0), (1, 3, 0)] {
        bench.send_control(port, event, value);
        assert_eq!(bench.guest.take_warnings().len(), 1);
    }
    bench.driver.transact(&mut bench.guest, 3, &[b"short"], &[]);
    assert_eq!(bench.guest.take_warnings().len(), 1);
    assert!(!bench.status(1).ready);
    // Worse is not survived: more than a megabyte at once.
    let address = bench.guest.memory.allocate(0x1000, 16);
    let ring = &mut bench.driver.rings[1];
    for index in 0..64 {
        let descriptor = crate::driver::Descriptor {
            address: address & 0xf_0000,
            length: 0x8000,
            flags: u16::from(index < 63),
            next: index + 1,
        };
        ring.put_descriptor(&mut bench.guest.memory, index, descriptor);
    }
    ring.offer(&mut bench.guest.memory, 0);
    bench.driver.kick(&mut bench.guest, 1);
    assert_eq!(bench.driver.status(&mut bench.guest) & 64, 64);
}

#[test]
fn a_control_message_needs_a_buffer_that_holds_it() {
    let mut bus = PciBus::new(DEFAULT_WINDOW);
    bus.plug(DEVICE, 10, VirtioPci::new(Console::new(config()).unwrap()))
        .unwrap();
    let mut guest = Guest::new(bus);
    let mut driver = Driver::start(&mut guest, DEVICE, FEATURES, Interrupts::Msix, 64);
    driver.submit(&mut guest, 2, &[], &[7]);
    let ready = control_message(0, 0, 1, &[]);
    driver.submit(&mut guest, 3, &[&ready], &[]);
    driver.kick(&mut guest, 3);
    assert_eq!(driver.status(&mut guest) & 64, 64);
}

#[test]
fn input_survives_a_driver_reset_and_not_power_on() {
    let mut bench = Bench::ready();
    bench.input(1, b"kept");
    bench.driver.set_status(&mut bench.guest, 0);
    let status = bench.status(1);
    assert!(!status.ready && status.input_pending_bytes == 4);
    bench.guest.bus.reset();
    assert_eq!(bench.status(1).input_pending_bytes, 0);
    assert!(bench.status(1).host_open);
}

#[test]
fn saved_and_restored_it_goes_on() {
    let mut first = Bench::ready();
    first.open_in_guest(0);
    first.input(0, &[b'a'; 200]);
    first.input(1, b"waiting");
    first.close(0);
    let saved = first.guest.bus.save();
    let mut second = Bench::with(config(), FEATURES);
    second.guest.bus.load(&saved).unwrap();
    assert_eq!(second.guest.bus.save(), saved);
    second.guest.memory.bytes = first.guest.memory.bytes.clone();
    second.driver.rings = first.driver.rings.clone();
    second.buffers = first.buffers.clone();
    for bench in [&mut first, &mut second] {
        // All test memory was handed out by the first bench.
        assert_eq!(bench.driver.reap(&bench.guest, 0).len(), 4);
        bench.give_buffers(0, 4);
        assert_eq!(bench.read(0).len(), 72);
        assert_eq!(bench.messages(), [plain(0, 6, 0)]);
        bench.open_in_guest(1);
        assert_eq!(bench.read(1), "waiting");
    }
    // Other names are another device.
    let mut other = config();
    other.ports[1].name = "stdin".to_owned();
    let mut third = Bench::with(other, FEATURES);
    let before = third.guest.bus.save();
    third.guest.bus.load(&saved).unwrap_err();
    assert_eq!(third.guest.bus.save(), before);
    // And so is less room.
    let mut small = config();
    small.input_limit_bytes = 6;
    let mut fourth = Bench::with(small, FEATURES);
    fourth.guest.bus.load(&saved).unwrap_err();
}

#[test]
fn bad_descriptions_are_refused() {
    let named = |name: &str| {
        let mut config = config();
        config.ports[2].name = name.to_owned();
        Console::new(config).err()
    };
    assert_eq!(named("fine"), None);
    for name in ["", "ring3.stdin", "a b", "a/\u{e9}", &"x".repeat(65)] {
        assert_eq!(named(name), Some(ConfigError::Name(name.to_owned())));
    }
    let count = |count: usize| {
        let mut config = config();
        config.ports = (0..count)
            .map(|index| PortConfig::stream(&format!("p{index}")))
            .collect();
        Console::new(config).err()
    };
    assert_eq!(count(0), Some(ConfigError::Ports(0)));
    assert_eq!(count(32), Some(ConfigError::Ports(32)));
    let mut most = config();
    most.ports = (0..31)
        .map(|index| PortConfig::stream(&format!("p{index}")))
        .collect();
    VirtioPci::new(Console::new(most).unwrap());
}

#[test]
fn a_hostile_guest_harms_nobody() {
    let outside = |guest: &mut Guest, handle, dice: &mut Dice| {
        let port = dice.below(3) as u32;
        let bytes = vec![b'i'; dice.below(400) as usize];
        let what = dice.below(8);
        guest.enter(
            handle,
            |console: &mut VirtioPci<Console>, now, dma, effects| match what {
                0 => console.close(now, port, dma, effects),
                1 => console.open(now, port, dma, effects),
                2 => console.resize(now, port, 1, 2, dma, effects),
                _ => {
                    let space = console.device().input_space(port);
                    let accepted = console.input(now, port, &bytes, dma, effects);
                    assert_eq!(accepted, space.min(bytes.len()));
                    let pending = console.device().status(port).input_pending_bytes;
                    assert!(pending <= 1000);
                }
            },
        );
    };
    for seed in 1..=3 {
        let make = || VirtioPci::new(Console::new(config()).unwrap());
        let mut guest = torment(0x5eed_4000 + seed, 100_000, make, outside);
        let mut driver = Driver::start(&mut guest, HOSTILE_DEVICE, 0, Interrupts::Msix, 8);
        guest.take_effects();
        driver.transact(&mut guest, 1, &[b"alive"], &[]);
        assert!(guest.take_quiet_effects().contains(&Effect::Output {
            stream: STREAM,
            bytes: b"alive".to_vec()
        }));
    }
}
