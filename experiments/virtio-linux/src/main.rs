//! Serves one device of `ring3-virtio` over the vfio-user protocol, so that a Linux kernel in
//! another emulator drives it, and plays the outside's part in the test; see README.md.
//!
//! usage: virtio-linux DEVICE SOCKET, where DEVICE is console, disk, scratch, slow, rng or
//! net.
//!
//! The device stands on a `PciBus`. Configuration accesses go through ports 0xCF8 and 0xCFC, BAR
//! accesses to wherever the guest has put the BARs. QEMU keeps the MSI-X table to itself and
//! hands over an eventfd for each vector instead; the table here is filled so that the message's
//! data is the vector.
#![forbid(unsafe_code)]

use ring3_arch::GuestPhys;
use ring3_bus::{Device, Dma, DmaError, Effect, Effects, Space};
use ring3_clock::Ticks;
use ring3_virtio::blk::{Blk, BlkConfig, ReadOnly, ReadWrite};
use ring3_virtio::console::{Console, ConsoleConfig, PortConfig, ResizeOrder};
use ring3_virtio::net::{Net, NetConfig};
use ring3_virtio::pci::{Handle, PciBus};
use ring3_virtio::rng::Rng;
use ring3_virtio::transport::VirtioPci;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use vfio_bindings::bindings::vfio::*;
use vfio_user::{DmaMapFlags, DmaUnmapFlags, IrqInfo, Server, ServerBackend, ServerRegion};

const DEVICE: u8 = 1;
const GSI: u8 = 11;
/// Where PC firmware puts BARs.
const WINDOW: std::ops::Range<u64> = 0x8000_0000..0xfec0_0000;

/// Guest memory, as far as the client has told of it.
#[derive(Default)]
struct Memory {
    mappings: BTreeMap<u64, (u64, File, u64)>,
}

impl Memory {
    fn find(&self, address: GuestPhys, length: usize) -> Result<(&File, u64), DmaError> {
        let error = DmaError { address, length };
        let (base, (size, file, offset)) =
            self.mappings.range(..=address.0).next_back().ok_or(error)?;
        let within = address.0 - base;
        match within.checked_add(length as u64) {
            Some(end) if end <= *size => Ok((file, offset + within)),
            _ => Err(error),
        }
    }
}

impl Dma for Memory {
    fn read(&mut self, address: GuestPhys, into: &mut [u8]) -> Result<(), DmaError> {
        let (file, offset) = self.find(address, into.len())?;
        file.read_exact_at(into, offset).expect("guest memory");
        Ok(())
    }

    fn write(&mut self, address: GuestPhys, from: &[u8]) -> Result<(), DmaError> {
        let (file, offset) = self.find(address, from.len())?;
        file.write_all_at(from, offset).expect("guest memory");
        Ok(())
    }
}

/// What the outside does with the console: the guest asks for it over the control port.
struct Outside {
    handle: Handle<VirtioPci<Console>>,
    /// Bytes that are to go to a port, and how far they have gone.
    sending: Option<(u32, Vec<u8>, usize)>,
    close_after: bool,
    sum: u64,
    received: u64,
}

/// Bytes that both sides can compute: the low byte of n * n + n / 7.
fn pattern(length: u64) -> Vec<u8> {
    (0..length)
        .map(|n| (n.wrapping_mul(n).wrapping_add(n / 7)) as u8)
        .collect()
}

struct Backend {
    bus: PciBus,
    memory: Memory,
    now: Ticks,
    events: BTreeMap<u32, File>,
    intx: Option<File>,
    line: bool,
    outside: Option<Outside>,
    net: Option<Handle<VirtioPci<Net>>>,
}

/// The other end of the network cable.
const NEIGHBOUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const NEIGHBOUR_IP: [u8; 4] = [10, 0, 0, 1];
/// Whoever asks for this address has the cable pulled out.
const SCISSORS_IP: [u8; 4] = [10, 0, 0, 99];

/// What 10.0.0.1 answers to an Ethernet frame: RFC 826 requests and RFC 792 echoes.
fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    let sender = frame.get(6..12)?;
    let mut reply = [sender, &NEIGHBOUR_MAC, frame.get(12..14)?].concat();
    let payload = &frame[14..];
    match frame[12..14] {
        [0x08, 0x06] if payload.get(6..8)? == [0, 1] && payload.get(24..28)? == NEIGHBOUR_IP => {
            reply.extend(&payload[..6]);
            reply.extend([0, 2]);
            reply.extend(NEIGHBOUR_MAC);
            reply.extend(NEIGHBOUR_IP);
            reply.extend(&payload[8..18]);
        }
        [0x08, 0x00] if payload.get(9) == Some(&1) && payload.get(16..20)? == NEIGHBOUR_IP => {
            let mut packet = payload.to_vec();
            let (from, to) = (payload[12..16].to_vec(), payload[16..20].to_vec());
            packet[12..16].copy_from_slice(&to);
            packet[16..20].copy_from_slice(&from);
            let icmp = usize::from(packet[0] & 15) * 4;
            if packet.get(icmp)? != &8 {
                return None;
            }
            // From request to reply: the type falls by 8, so the checksum rises by as much.
            packet[icmp] = 0;
            let sum = u16::from_be_bytes([packet[icmp + 2], packet[icmp + 3]]);
            let (sum, carry) = sum.overflowing_add(0x0800);
            let sum = sum + u16::from(carry);
            packet[icmp + 2..icmp + 4].copy_from_slice(&sum.to_be_bytes());
            reply.extend(packet);
        }
        _ => return None,
    }
    Some(reply)
}

impl Backend {
    fn find(&self, address: u64, size: u8) -> Option<(usize, u64)> {
        let regions = self.bus.regions();
        let index = regions.iter().position(|region| {
            region.space == Space::Memory
                && address >= region.base
                && address + u64::from(size) <= region.base + region.size
        })?;
        Some((index, address - regions[index].base))
    }

    fn port_read(&mut self, port: u64, size: u8, effects: &mut Effects) -> u32 {
        self.bus.read(self.now, 0, port - 0xcf8, size, effects) as u32
    }

    fn port_write(&mut self, port: u64, size: u8, value: u32, effects: &mut Effects) {
        let (now, memory) = (self.now, &mut self.memory);
        self.bus
            .write(now, 0, port - 0xcf8, size, value.into(), memory, effects);
    }

    fn select(&mut self, register: u64, effects: &mut Effects) {
        let address = 1 << 31 | u32::from(DEVICE) << 11 | register as u32 & 0xfc;
        self.port_write(0xcf8, 4, address, effects);
    }

    fn config_read(&mut self, register: u64, size: u8, effects: &mut Effects) -> u32 {
        // The extended configuration space of PCI Express is not there.
        if register >= 256 {
            return 0xffff_ffff;
        }
        self.select(register, effects);
        self.port_read(0xcfc + register % 4, size, effects)
    }

    fn config_write(&mut self, register: u64, size: u8, value: u32, effects: &mut Effects) {
        if register < 256 {
            self.select(register, effects);
            self.port_write(0xcfc + register % 4, size, value, effects);
        }
    }

    fn bar(&mut self, index: u32, effects: &mut Effects) -> u64 {
        u64::from(self.config_read(0x10 + 4 * u64::from(index), 4, effects) & !0xf)
    }

    fn memory_read(&mut self, address: u64, size: u8, effects: &mut Effects) -> u64 {
        match self.find(address, size) {
            Some((region, offset)) => self.bus.read(self.now, region, offset, size, effects),
            None => {
                println!("read of {size} at {address:#x}: nobody");
                u64::MAX
            }
        }
    }

    fn memory_write(&mut self, address: u64, size: u8, value: u64, effects: &mut Effects) {
        let Some((region, offset)) = self.find(address, size) else {
            println!("write of {size} at {address:#x}: nobody");
            return;
        };
        let (now, memory) = (self.now, &mut self.memory);
        self.bus
            .write(now, region, offset, size, value, memory, effects);
    }

    /// Carries effects out until there are none.
    fn settle(&mut self, mut effects: Effects) {
        loop {
            self.bus.regions_changed();
            for effect in std::mem::take(&mut effects) {
                match effect {
                    Effect::Message { data, .. } => match self.events.get(&data) {
                        Some(event) => trigger(event),
                        None => println!("vector {data} has no event"),
                    },
                    Effect::Line { irq, asserted } => {
                        assert_eq!(irq, GSI);
                        self.line = asserted;
                        if asserted && let Some(event) = &self.intx {
                            trigger(event);
                        }
                    }
                    Effect::Output { stream, bytes } => self.output(stream, &bytes, &mut effects),
                    Effect::DeadlineChanged => {}
                    other => println!("{other:?}"),
                }
            }
            // Time passes only here, and only as far as something is due.
            if let Some(deadline) = self.bus.deadline() {
                self.now = self.now.max(deadline);
                self.bus.advance(self.now, &mut self.memory, &mut effects);
            }
            // An interrupt may be suppressed: effects alone do not tell of progress.
            if !self.send(&mut effects) && effects.is_empty() {
                return;
            }
        }
    }

    /// Moves on with what is being sent; returns whether there was progress.
    fn send(&mut self, effects: &mut Effects) -> bool {
        let Some(outside) = &mut self.outside else {
            return false;
        };
        let Some((port, bytes, at)) = &mut outside.sending else {
            return false;
        };
        let (now, memory) = (self.now, &mut self.memory);
        let accepted = self.bus.enter(outside.handle, effects, |console, effects| {
            console.input(now, *port, &bytes[*at..], memory, effects)
        });
        *at += accepted;
        if *at == bytes.len() {
            if outside.close_after {
                let port = *port;
                self.bus.enter(outside.handle, effects, |console, effects| {
                    console.close(now, port, memory, effects);
                });
            }
            outside.sending = None;
        }
        accepted > 0
    }

    /// The guest sent a frame.
    fn frame(&mut self, handle: Handle<VirtioPci<Net>>, frame: &[u8], effects: &mut Effects) {
        println!("frame of {} bytes", frame.len());
        let (now, memory) = (self.now, &mut self.memory);
        if frame.get(12..14) == Some(&[0x08, 0x06]) && frame.get(38..42) == Some(&SCISSORS_IP) {
            self.bus.enter(handle, effects, |net, effects| {
                net.set_link(now, false, memory, effects);
            });
        } else if let Some(reply) = answer(frame) {
            let taken = self.bus.enter(handle, effects, |net, effects| {
                net.receive(now, &reply, memory, effects)
            });
            println!("reply of {} bytes, taken: {taken}", reply.len());
        }
    }

    /// The guest wrote. On port 0 these are requests, one to a line.
    fn output(&mut self, stream: u32, bytes: &[u8], effects: &mut Effects) {
        if let Some(handle) = self.net {
            return self.frame(handle, bytes, effects);
        }
        let outside = self.outside.as_mut().expect("only consoles write");
        if stream != 0 {
            for &byte in bytes {
                outside.sum = outside.sum.wrapping_mul(31).wrapping_add(byte.into());
            }
            outside.received += bytes.len() as u64;
            println!("port {stream}: {} bytes", bytes.len());
            return;
        }
        let text = String::from_utf8_lossy(bytes).into_owned();
        println!("request: {}", text.trim_end());
        let words: Vec<&str> = text.split_whitespace().collect();
        let number = |at: usize| words[at].parse::<u64>().expect("a number");
        let (now, memory) = (self.now, &mut self.memory);
        match words[0] {
            // send PORT COUNT: the pattern, then hang up.
            "send" => {
                outside.sending = Some((number(1) as u32, pattern(number(2)), 0));
                outside.close_after = true;
            }
            // talk PORT COUNT: the pattern, without hanging up.
            "talk" => {
                outside.sending = Some((number(1) as u32, pattern(number(2)), 0));
                outside.close_after = false;
            }
            "open" => self.bus.enter(outside.handle, effects, |console, effects| {
                console.open(now, number(1) as u32, memory, effects);
            }),
            "resize" => self.bus.enter(outside.handle, effects, |console, effects| {
                let (columns, rows) = (number(2) as u16, number(3) as u16);
                console.resize(now, number(1) as u32, columns, rows, memory, effects);
            }),
            // sum COUNT SUM: what the guest has sent since the last time.
            "sum" => {
                let expected = pattern(number(1)).iter().fold(0u64, |sum, &byte| {
                    sum.wrapping_mul(31).wrapping_add(byte.into())
                });
                let right = outside.received == number(1) && outside.sum == expected;
                let answer = if right { "right\n" } else { "wrong\n" };
                println!("received {}: {answer}", outside.received);
                (outside.sum, outside.received) = (0, 0);
                outside.sending = Some((0, answer.as_bytes().to_vec(), 0));
                outside.close_after = false;
            }
            "status" => {
                let console = self.bus.get(outside.handle).device();
                for port in 0..4 {
                    println!("port {port}: {:?}", console.status(port));
                }
            }
            // The whole device is saved, rebuilt and restored under the running guest.
            "snapshot" => {
                let saved = self.bus.save();
                let (mut bus, handle) = console();
                bus.load(&saved).expect("its own state");
                assert_eq!(bus.save(), saved);
                println!("snapshot of {} bytes", saved.len());
                self.bus = bus;
                self.outside.as_mut().expect("a console").handle = handle;
            }
            other => println!("unknown request {other}"),
        }
    }

    fn done(&mut self, effects: Effects) -> Result<(), io::Error> {
        self.now = Ticks(self.now.0 + 1);
        self.settle(effects);
        Ok(())
    }
}

fn trigger(mut event: &File) {
    event.write_all(&1u64.to_ne_bytes()).expect("an eventfd");
}

impl ServerBackend for Backend {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> Result<(), io::Error> {
        let mut effects = Effects::new();
        if region == VFIO_PCI_CONFIG_REGION_INDEX {
            for (at, chunk) in data.chunks_mut(4).enumerate() {
                let register = offset + 4 * at as u64;
                let size = chunk.len() as u8;
                let value = self.config_read(register, size, &mut effects).to_le_bytes();
                chunk.copy_from_slice(&value[..chunk.len()]);
            }
        } else {
            let address = self.bar(region, &mut effects) + offset;
            let value = self.memory_read(address, data.len() as u8, &mut effects);
            data.copy_from_slice(&value.to_le_bytes()[..data.len()]);
        }
        self.done(effects)
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut effects = Effects::new();
        let mut bytes = [0; 8];
        bytes[..data.len()].copy_from_slice(data);
        let value = u64::from_le_bytes(bytes);
        let size = data.len() as u8;
        if region == VFIO_PCI_CONFIG_REGION_INDEX {
            self.config_write(offset, size, value as u32, &mut effects);
        } else {
            let address = self.bar(region, &mut effects) + offset;
            self.memory_write(address, size, value, &mut effects);
        }
        self.done(effects)
    }

    fn dma_map(
        &mut self,
        _flags: DmaMapFlags,
        offset: u64,
        address: u64,
        size: u64,
        fd: Option<File>,
    ) -> Result<(), io::Error> {
        if let Some(file) = fd {
            self.memory.mappings.insert(address, (size, file, offset));
        }
        Ok(())
    }

    fn dma_unmap(&mut self, _: DmaUnmapFlags, address: u64, _: u64) -> Result<(), io::Error> {
        self.memory.mappings.remove(&address);
        Ok(())
    }

    fn reset(&mut self) -> Result<(), io::Error> {
        println!("reset");
        self.bus.reset();
        Ok(())
    }

    fn set_irqs(
        &mut self,
        index: u32,
        flags: u32,
        start: u32,
        count: u32,
        fds: Vec<File>,
    ) -> Result<(), io::Error> {
        let mut effects = Effects::new();
        if index == VFIO_PCI_INTX_IRQ_INDEX {
            if flags & VFIO_IRQ_SET_ACTION_TRIGGER != 0 {
                self.intx = fds.into_iter().next();
            }
            // INTx is masked when it fires; unmasking it while the line is up fires it again.
            if self.line
                && let Some(event) = &self.intx
            {
                trigger(event);
            }
        } else if index == VFIO_PCI_MSIX_IRQ_INDEX && flags & VFIO_IRQ_SET_ACTION_TRIGGER != 0 {
            if count == 0 {
                self.events.clear();
            }
            let table = self.bar(1, &mut effects);
            for (vector, event) in (start..).zip(fds) {
                let entry = table + 16 * u64::from(vector);
                self.memory_write(entry, 4, 0xfee0_0000, &mut effects);
                self.memory_write(entry + 4, 4, 0, &mut effects);
                self.memory_write(entry + 8, 4, vector.into(), &mut effects);
                self.memory_write(entry + 12, 4, 0, &mut effects);
                self.events.insert(vector, event);
            }
        }
        self.done(effects)
    }
}

fn console() -> (PciBus, Handle<VirtioPci<Console>>) {
    let ports = ["ring3.control", "ring3.stdin", "ring3.stdout"];
    let mut ports: Vec<PortConfig> = ports.into_iter().map(PortConfig::stream).collect();
    ports.push(PortConfig::console("ring3.tty"));
    let console = Console::new(ConsoleConfig {
        name: "console0".to_owned(),
        ports,
        first_stream: 0,
        input_limit_bytes: 10_000,
        resize_order: ResizeOrder::ColumnsFirst,
    });
    let mut bus = PciBus::new(WINDOW);
    let handle = bus
        .plug(DEVICE, GSI, VirtioPci::new(console.expect("good names")))
        .expect("a free place");
    (bus, handle)
}

fn disk(writable: bool, latency: u64) -> PciBus {
    let config = BlkConfig {
        name: "disk0".to_owned(),
        serial: "ring3-serial".to_owned(),
        capacity_bytes: 64 << 20,
        latency: Ticks(latency),
    };
    let content = pattern(5_000_000).into();
    let blk = if writable {
        Blk::new(config, Box::new(ReadWrite::new(content, 64 << 20)))
    } else {
        Blk::new(config, Box::new(ReadOnly::new(content)))
    };
    let mut bus = PciBus::new(WINDOW);
    bus.plug(DEVICE, GSI, VirtioPci::new(blk.expect("it fits")))
        .expect("a free place");
    bus
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, kind, socket] = &arguments[..] else {
        panic!("usage: virtio-linux console|disk|scratch|slow|rng|net SOCKET");
    };
    let (mut outside, mut net) = (None, None);
    let bus = match kind.as_str() {
        "console" => {
            let (bus, handle) = console();
            outside = Some(Outside {
                handle,
                sending: None,
                close_after: false,
                sum: 0,
                received: 0,
            });
            bus
        }
        "disk" => disk(false, 0),
        "scratch" => disk(true, 0),
        "slow" => disk(true, 1000),
        "rng" => {
            let mut bus = PciBus::new(WINDOW);
            bus.plug(DEVICE, GSI, VirtioPci::new(Rng::new("rng0", [3; 32])))
                .expect("a free place");
            bus
        }
        "net" => {
            let mut bus = PciBus::new(WINDOW);
            let card = Net::new(NetConfig {
                name: "net0".to_owned(),
                mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56],
                stream: 0,
            });
            let handle = bus.plug(DEVICE, GSI, VirtioPci::new(card));
            net = Some(handle.expect("a free place"));
            bus
        }
        other => panic!("no device {other}"),
    };
    let mut backend = Backend {
        bus,
        memory: Memory::default(),
        now: Ticks(1),
        events: BTreeMap::new(),
        intx: None,
        line: false,
        outside,
        net,
    };
    let mut effects = Effects::new();
    let mut vectors = 0;
    let mut capability = backend.config_read(0x34, 1, &mut effects);
    while capability != 0 {
        let at = u64::from(capability);
        if backend.config_read(at, 1, &mut effects) == 0x11 {
            vectors = (backend.config_read(at + 2, 2, &mut effects) & 0x7ff) + 1;
        }
        capability = backend.config_read(at + 1, 1, &mut effects);
    }
    let regions = (0..VFIO_PCI_NUM_REGIONS)
        .map(|index| ServerRegion {
            region_info: vfio_region_info {
                argsz: size_of::<vfio_region_info>() as u32,
                flags: match index {
                    0 | 1 | VFIO_PCI_CONFIG_REGION_INDEX => {
                        VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE
                    }
                    _ => 0,
                },
                index,
                cap_offset: 0,
                size: match index {
                    0 => 0x4000,
                    1 => 0x1000,
                    VFIO_PCI_CONFIG_REGION_INDEX => 256,
                    _ => 0,
                },
                offset: u64::from(index) << 40,
            },
            sparse_areas: Vec::new(),
            mmap_fd: None,
        })
        .collect();
    let irqs = (0..VFIO_PCI_NUM_IRQS)
        .map(|index| IrqInfo {
            index,
            flags: match index {
                VFIO_PCI_INTX_IRQ_INDEX => {
                    VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED
                }
                _ => VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE,
            },
            count: match index {
                VFIO_PCI_INTX_IRQ_INDEX => 1,
                VFIO_PCI_MSIX_IRQ_INDEX => vectors,
                _ => 0,
            },
        })
        .collect();
    let server = Server::new(Path::new(socket), true, irqs, regions).expect("a socket");
    println!("{kind} with {vectors} vectors");
    // It ends with an error when the client goes away.
    let end = server.run(&mut backend);
    println!("{end:?}");
}
