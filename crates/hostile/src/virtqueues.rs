//! Virtio devices behind PCI: rings and registers with anything in them.

use crate::input::{Input, SmallRam};
use ring3_bus::{Device, Effects, Space};
use ring3_clock::Ticks;
use ring3_virtio::blk::{Blk, BlkConfig, ReadOnly};
use ring3_virtio::console::{Console, ConsoleConfig, PortConfig, ResizeOrder};
use ring3_virtio::net::{Net, NetConfig};
use ring3_virtio::pci::PciBus;
use ring3_virtio::rng::Rng;
use ring3_virtio::transport::VirtioPci;
use std::sync::Arc;

const RAM: usize = 64 << 10;
const WINDOW: std::ops::Range<u64> = 0xe000_0000..0xf000_0000;
const EFFECTS_MAX: usize = 4096;
/// Registers of the common configuration, at the start of each device's first BAR. VIRTIO 1.2,
/// "Common configuration structure layout".
const STATUS: u64 = 0x14;
const QUEUE_SELECT: u64 = 0x16;
const QUEUE_SIZE: u64 = 0x18;
const QUEUE_ENABLE: u64 = 0x1c;
const QUEUE_AREAS: u64 = 0x20;
const NOTIFY: u64 = 0x3000;

struct World {
    bus: PciBus,
    ram: SmallRam,
    now: Ticks,
    effects: Effects,
}

impl World {
    fn regions(&self) -> Vec<ring3_bus::Region> {
        self.bus.regions()
    }

    /// A write to an address of either space, if anybody is there.
    fn write(&mut self, space: Space, address: u64, size: u8, value: u64) {
        let value = value & (u64::MAX >> (64 - 8 * u32::from(size)));
        if let Some((region, offset)) = self.find(space, address, size) {
            self.bus.write(
                self.now,
                region,
                offset,
                size,
                value,
                &mut self.ram,
                &mut self.effects,
            );
            self.bus.regions_changed();
        }
    }

    fn read(&mut self, space: Space, address: u64, size: u8) -> u64 {
        let Some((region, offset)) = self.find(space, address, size) else {
            return u64::MAX;
        };
        self.bus
            .read(self.now, region, offset, size, &mut self.effects)
    }

    fn find(&self, space: Space, address: u64, size: u8) -> Option<(usize, u64)> {
        let last = address.checked_add(u64::from(size) - 1)?;
        self.regions().iter().enumerate().find_map(|(n, region)| {
            let end = region.base + (region.size - 1);
            (region.space == space && region.base <= address && last <= end)
                .then(|| (n, address - region.base))
        })
    }

    fn config_write(&mut self, device: u8, register: u8, size: u8, value: u32) {
        let address = 1 << 31 | u32::from(device) << 11 | u32::from(register & !3);
        self.write(Space::Port, 0xcf8, 4, address.into());
        let port = 0xcfc + u64::from(register & 3);
        self.write(Space::Port, port, size, value.into());
    }

    fn config_read(&mut self, device: u8, register: u8) -> u32 {
        let address = 1 << 31 | u32::from(device) << 11 | u32::from(register);
        self.write(Space::Port, 0xcf8, 4, address.into());
        self.read(Space::Port, 0xcfc, 4) as u32
    }
}

fn bus() -> PciBus {
    let mut bus = PciBus::new(WINDOW);
    let console = Console::new(ConsoleConfig {
        name: "console".into(),
        ports: vec![PortConfig::stream("a"), PortConfig::stream("b")],
        first_stream: 1,
        input_limit_bytes: 4096,
        resize_order: ResizeOrder::ColumnsFirst,
    });
    let content: Arc<[u8]> = (0..=255u8).cycle().take(64 << 10).collect();
    let disk = Blk::new(
        BlkConfig {
            name: "disk".into(),
            serial: "hostile".into(),
            capacity_bytes: 64 << 10,
            latency: Ticks(100),
        },
        Box::new(ReadOnly::new(content)),
    );
    let net = Net::new(NetConfig {
        name: "net".into(),
        mac: [2, 0, 0, 0, 0, 1],
        stream: 9,
    });
    bus.plug(1, 16, VirtioPci::new(console.expect("right names")))
        .expect("free");
    bus.plug(2, 17, VirtioPci::new(disk.expect("a right size")))
        .expect("free");
    bus.plug(3, 18, VirtioPci::new(Rng::new("rng", [7; 32])))
        .expect("free");
    bus.plug(4, 19, VirtioPci::new(net)).expect("free");
    bus
}

/// The first byte chooses a device, which a proper driver sets up; then the guest turns bad.
pub(crate) fn enter(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut world = World {
        bus: bus(),
        ram: SmallRam(vec![0; RAM]),
        now: Ticks(0),
        effects: Effects::new(),
    };
    let device = 1 + input.byte() % 4;
    world.config_write(device, 4, 2, 6);
    let bar = u64::from(world.config_read(device, 0x10) & !15);
    for status in [0, 1, 3] {
        world.write(Space::Memory, bar + STATUS, 1, status);
    }
    // VIRTIO_F_VERSION_1 and, if the input likes, anything else.
    for (half, bits) in [(0, u64::from(input.word())), (1, 1)] {
        world.write(Space::Memory, bar + 8, 4, half);
        world.write(Space::Memory, bar + 12, 4, bits);
    }
    world.write(Space::Memory, bar + STATUS, 1, 11);
    for queue in 0..4 {
        let areas = 0x1000 + 0x3000 * queue;
        world.write(Space::Memory, bar + QUEUE_SELECT, 2, queue);
        world.write(Space::Memory, bar + QUEUE_SIZE, 2, 16);
        for (n, area) in [areas, areas + 0x1000, areas + 0x2000]
            .into_iter()
            .enumerate()
        {
            let register = bar + QUEUE_AREAS + 8 * n as u64;
            world.write(Space::Memory, register, 4, area);
            world.write(Space::Memory, register + 4, 4, 0);
        }
        world.write(Space::Memory, bar + QUEUE_ENABLE, 2, 1);
    }
    world.write(Space::Memory, bar + STATUS, 1, 15);
    world.effects.clear();
    while !input.is_empty() {
        step(&mut world, &mut input, device, bar);
        assert!(
            world.effects.len() <= EFFECTS_MAX,
            "{} effects of one step",
            world.effects.len()
        );
        world.effects.clear();
    }
    let saved = world.bus.save();
    let mut other = bus();
    other.load(&saved).expect("its own state is right");
    assert_eq!(other.save(), saved);
}

fn step(world: &mut World, input: &mut Input<'_>, device: u8, bar: u64) {
    match input.byte() % 8 {
        // A descriptor: where, how long, flags, next.
        0 => {
            let queue = usize::from(input.byte() % 4);
            let at = 0x1000 + 0x3000 * queue + 16 * usize::from(input.byte() % 16);
            let address = input.value();
            let length = input.value() as u32;
            let (flags, next) = (input.byte(), input.byte());
            let bytes = &mut world.ram.0[at..at + 16];
            bytes[..8].copy_from_slice(&address.to_le_bytes());
            bytes[8..12].copy_from_slice(&length.to_le_bytes());
            bytes[12..16].copy_from_slice(&[flags, 0, next, 0]);
        }
        // The next available head, and the index behind it.
        1 | 2 => {
            let queue = usize::from(input.byte() % 4);
            let at = 0x2000 + 0x3000 * queue;
            let index = u16::from_le_bytes([world.ram.0[at + 2], world.ram.0[at + 3]]);
            let slot = at + 4 + 2 * usize::from(index % 16);
            let head = input.byte();
            world.ram.0[slot] = head;
            let step = 1 + u16::from(head >> 6 == 3) * 100;
            let next = index.wrapping_add(step).to_le_bytes();
            world.ram.0[at + 2..at + 4].copy_from_slice(&next);
            world.write(
                Space::Memory,
                bar + NOTIFY + 4 * queue as u64,
                2,
                queue as u64,
            );
        }
        // Anything anywhere in memory.
        3 => {
            let at = usize::from(input.word());
            let value = input.value().to_le_bytes();
            let end = (at + 8).min(RAM);
            world.ram.0[at..end].copy_from_slice(&value[..end - at]);
        }
        4 => {
            let (offset, size) = (u64::from(input.word() % 0x5000), input.size());
            world.read(Space::Memory, bar + offset, size);
        }
        5 => {
            let (offset, size) = (u64::from(input.word() % 0x5000), input.size());
            let value = input.value();
            world.write(Space::Memory, bar + offset, size, value);
        }
        6 => {
            let register = input.byte();
            let size = input.size().min(4).min(4 - (register & 3)).max(1);
            let size = 1 << size.ilog2();
            let value = input.value() as u32;
            let target = if register & 1 == 0 {
                device
            } else {
                device % 4
            };
            world.config_write(target, register, size, value);
            world.config_read(target, register & !3);
        }
        _ => {
            world.now = Ticks((world.now.0 + (input.value() & 0xffff_ffff)).min(1 << 60));
            if world.bus.deadline().is_some_and(|due| due <= world.now) {
                world
                    .bus
                    .advance(world.now, &mut world.ram, &mut world.effects);
            }
        }
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for device in 0..4u8 {
        for queue in 0..3u8 {
            let mut bytes = vec![device, 0, 0];
            // A chain of two descriptors, one to read and one to write, then a loop of one.
            bytes.extend([0, queue, 0, 0xc0, 0, 0xe0, 0x10, 1, 1]);
            bytes.extend([0, queue, 1, 0xc0, 0, 0xe8, 0x50, 2, 0]);
            bytes.extend([0, queue, 2, 0xc0, 0, 0xf0, 0x80, 1, 2]);
            bytes.extend([1, queue, 0, 1, queue, 2, 7, 0x50, 4, 0x14, 0, 0]);
            seeds.push(bytes);
        }
    }
    seeds
}
