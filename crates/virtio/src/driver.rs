//! For tests: a guest with a memory, and a small driver in it.
//!
//! The driver knows nothing of the implementation: it reaches the bus as a processor does, by port
//! and address, and finds everything else in configuration space. It is written from VIRTIO 1.2,
//! "General Initialization And Device Operation", "Virtio Over PCI Bus" and "Split Virtqueues".

use crate::pci::{Function, Handle, PciBus};
use ring3_arch::GuestPhys;
use ring3_bus::{Device, Dma, DmaError, Effect, Effects, Space};
use ring3_clock::Ticks;

/// RAM from address zero.
pub(crate) struct Memory {
    pub bytes: Vec<u8>,
    free: u64,
}

impl Memory {
    pub fn new(size: usize) -> Memory {
        Memory {
            bytes: vec![0; size],
            // Nothing stands at address zero, so that a forgotten address is noticed.
            free: 0x1000,
        }
    }

    /// Fresh zeroed memory.
    pub fn allocate(&mut self, size: u64, alignment: u64) -> u64 {
        let address = self.free.next_multiple_of(alignment);
        self.free = address + size;
        assert!(
            self.free <= self.bytes.len() as u64,
            "the test needs more memory"
        );
        address
    }

    pub fn bytes(&self, address: u64, size: usize) -> &[u8] {
        &self.bytes[address as usize..address as usize + size]
    }

    pub fn put(&mut self, address: u64, bytes: &[u8]) {
        self.bytes[address as usize..address as usize + bytes.len()].copy_from_slice(bytes);
    }

    pub fn get16(&self, address: u64) -> u16 {
        u16::from_le_bytes(self.bytes(address, 2).try_into().unwrap())
    }

    pub fn put16(&mut self, address: u64, value: u16) {
        self.put(address, &value.to_le_bytes());
    }
}

impl Dma for Memory {
    fn read(&mut self, address: GuestPhys, into: &mut [u8]) -> Result<(), DmaError> {
        let range = self.range(address, into.len())?;
        into.copy_from_slice(&self.bytes[range]);
        Ok(())
    }

    fn write(&mut self, address: GuestPhys, from: &[u8]) -> Result<(), DmaError> {
        let range = self.range(address, from.len())?;
        self.bytes[range].copy_from_slice(from);
        Ok(())
    }
}

impl Memory {
    fn range(&self, address: GuestPhys, length: usize) -> Result<std::ops::Range<usize>, DmaError> {
        let error = DmaError { address, length };
        let end = address.0.checked_add(length as u64).ok_or(error)?;
        if end > self.bytes.len() as u64 {
            return Err(error);
        }
        Ok(address.0 as usize..end as usize)
    }
}

/// A bus, memory, and what the devices have caused.
pub(crate) struct Guest {
    pub bus: PciBus,
    pub memory: Memory,
    pub now: Ticks,
    pub effects: Effects,
}

impl Guest {
    pub fn new(bus: PciBus) -> Guest {
        Guest {
            bus,
            memory: Memory::new(1 << 20),
            now: Ticks(1000),
            effects: Effects::new(),
        }
    }

    /// The effects since the last time.
    pub fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    /// The effects since the last time, of which none may be a warning.
    pub fn take_quiet_effects(&mut self) -> Effects {
        let effects = self.take_effects();
        let warning = effects
            .iter()
            .find(|effect| matches!(effect, Effect::Warning(_)));
        assert_eq!(warning, None);
        effects
    }

    /// Only the warnings.
    pub fn take_warnings(&mut self) -> Vec<String> {
        let effects = self.take_effects();
        effects
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Warning(text) => Some(text),
                _ => None,
            })
            .collect()
    }

    fn find(&self, space: Space, address: u64, size: u8) -> Option<(usize, u64)> {
        let regions = self.bus.regions();
        let index = regions.iter().position(|region| {
            region.space == space
                && address >= region.base
                && address + u64::from(size) <= region.base + region.size
        })?;
        Some((index, address - regions[index].base))
    }

    pub fn port_read(&mut self, port: u16, size: u8) -> u32 {
        let (region, offset) = self.find(Space::Port, port.into(), size).expect("a port");
        self.bus
            .read(self.now, region, offset, size, &mut self.effects) as u32
    }

    pub fn port_write(&mut self, port: u16, size: u8, value: u32) {
        let (region, offset) = self.find(Space::Port, port.into(), size).expect("a port");
        self.bus.write(
            self.now,
            region,
            offset,
            size,
            value.into(),
            &mut self.memory,
            &mut self.effects,
        );
    }

    /// Reads what a processor would: all ones where nobody answers.
    pub fn read(&mut self, address: u64, size: u8) -> u64 {
        match self.find(Space::Memory, address, size) {
            Some((region, offset)) => {
                self.bus
                    .read(self.now, region, offset, size, &mut self.effects)
            }
            None => u64::MAX >> (64 - 8 * u32::from(size)),
        }
    }

    pub fn write(&mut self, address: u64, size: u8, value: u64) {
        if let Some((region, offset)) = self.find(Space::Memory, address, size) {
            self.bus.write(
                self.now,
                region,
                offset,
                size,
                value,
                &mut self.memory,
                &mut self.effects,
            );
        }
    }

    fn select(&mut self, device: u8, register: u8) {
        let address = 1 << 31 | u32::from(device) << 11 | u32::from(register & 0xfc);
        self.port_write(0xcf8, 4, address);
    }

    pub fn config_read(&mut self, device: u8, register: u8, size: u8) -> u32 {
        self.select(device, register);
        self.port_read(0xcfc + u16::from(register & 3), size)
    }

    pub fn config_write(&mut self, device: u8, register: u8, size: u8, value: u32) {
        self.select(device, register);
        self.port_write(0xcfc + u16::from(register & 3), size, value);
    }

    /// Offsets and identifiers of the capabilities. "Capabilities List".
    pub fn capabilities(&mut self, device: u8) -> Vec<(u8, u8)> {
        let mut list = Vec::new();
        assert_ne!(
            self.config_read(device, 0x06, 2) & 0x10,
            0,
            "no capabilities"
        );
        let mut at = self.config_read(device, 0x34, 1) as u8;
        while at != 0 {
            assert!(
                at >= 0x40 && at.is_multiple_of(4) && list.len() < 48,
                "a bad capability list"
            );
            list.push((at, self.config_read(device, at, 1) as u8));
            at = self.config_read(device, at + 1, 1) as u8;
        }
        list
    }

    pub fn bar(&mut self, device: u8, index: u8) -> u64 {
        u64::from(self.config_read(device, 0x10 + 4 * index, 4) & !0xf)
    }

    /// Lets time pass until nothing is due.
    pub fn run_to(&mut self, now: Ticks) {
        while let Some(deadline) = self.bus.deadline()
            && deadline <= now
        {
            self.now = self.now.max(deadline);
            self.bus
                .advance(self.now, &mut self.memory, &mut self.effects);
        }
        self.now = now;
    }

    /// The machine acts on a function.
    pub fn enter<T: Function, R>(
        &mut self,
        handle: Handle<T>,
        act: impl FnOnce(&mut T, Ticks, &mut dyn Dma, &mut Effects) -> R,
    ) -> R {
        let now = self.now;
        let memory = &mut self.memory;
        self.bus
            .enter(handle, &mut self.effects, |function, effects| {
                act(function, now, memory, effects)
            })
    }
}

/// What each MSI-X message of the driver carries, plus the vector.
pub(crate) const MESSAGE_DATA: u32 = 0x4000;

/// The driver's side of a queue.
#[derive(Clone, Debug)]
pub(crate) struct Ring {
    pub size: u16,
    pub descriptors: u64,
    pub available: u64,
    pub used: u64,
    pub next_descriptor: u16,
    pub next_available: u16,
    pub next_used: u16,
}

/// A descriptor as the driver writes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptor {
    pub address: u64,
    pub length: u32,
    pub flags: u16,
    pub next: u16,
}

pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;
pub(crate) const INDIRECT: u16 = 4;

impl Descriptor {
    pub fn put(self, memory: &mut Memory, address: u64) {
        memory.put(address, &self.address.to_le_bytes());
        memory.put(address + 8, &self.length.to_le_bytes());
        memory.put16(address + 12, self.flags);
        memory.put16(address + 14, self.next);
    }
}

impl Ring {
    /// Rings in fresh memory.
    pub fn allocate(memory: &mut Memory, size: u16) -> Ring {
        let entries = u64::from(size);
        Ring {
            size,
            descriptors: memory.allocate(16 * entries, 16),
            available: memory.allocate(6 + 2 * entries, 2),
            used: memory.allocate(6 + 8 * entries, 4),
            next_descriptor: 0,
            next_available: 0,
            next_used: 0,
        }
    }

    pub fn put_descriptor(&self, memory: &mut Memory, index: u16, descriptor: Descriptor) {
        descriptor.put(memory, self.descriptors + 16 * u64::from(index));
    }

    /// Makes a chain available that starts at `head`.
    pub fn offer(&mut self, memory: &mut Memory, head: u16) {
        let slot = u64::from(self.next_available % self.size);
        memory.put16(self.available + 4 + 2 * slot, head);
        self.next_available = self.next_available.wrapping_add(1);
        memory.put16(self.available + 2, self.next_available);
    }

    /// Makes a chain available: buffers to be read hold the given bytes, buffers to be written
    /// have the given sizes. Returns the head and where the writable buffers are.
    ///
    /// Descriptors are used in turn; the caller does not have more in flight than there are.
    pub fn submit(
        &mut self,
        memory: &mut Memory,
        readable: &[&[u8]],
        writable: &[usize],
    ) -> (u16, Vec<u64>) {
        let mut buffers = Vec::new();
        let mut written = Vec::new();
        for bytes in readable {
            let address = memory.allocate(bytes.len() as u64, 1);
            memory.put(address, bytes);
            buffers.push((address, bytes.len(), 0));
        }
        for &size in writable {
            let address = memory.allocate(size as u64, 1);
            written.push(address);
            buffers.push((address, size, WRITE));
        }
        let head = self.next_descriptor;
        for (index, &(address, size, flags)) in buffers.iter().enumerate() {
            let at = self.next_descriptor;
            self.next_descriptor = (at + 1) % self.size;
            let last = index + 1 == buffers.len();
            let descriptor = Descriptor {
                address,
                length: size as u32,
                flags: flags | if last { 0 } else { NEXT },
                next: if last { 0 } else { self.next_descriptor },
            };
            self.put_descriptor(memory, at, descriptor);
        }
        self.offer(memory, head);
        (head, written)
    }

    /// What the device has handed back since the last time: heads and lengths.
    pub fn reap(&mut self, memory: &Memory) -> Vec<(u32, u32)> {
        let mut reaped = Vec::new();
        while memory.get16(self.used + 2) != self.next_used {
            let slot = u64::from(self.next_used % self.size);
            let element = memory.bytes(self.used + 4 + 8 * slot, 8);
            let id = u32::from_le_bytes(element[..4].try_into().unwrap());
            let length = u32::from_le_bytes(element[4..].try_into().unwrap());
            reaped.push((id, length));
            self.next_used = self.next_used.wrapping_add(1);
        }
        reaped
    }
}

/// Which interrupts the driver uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupts {
    /// A vector for each queue; the configuration has vector 0, queue `n` has `n + 1`.
    Msix,
    Intx,
}

/// A driver of one device.
pub(crate) struct Driver {
    pub device: u8,
    pub common: u64,
    pub notify: u64,
    pub multiplier: u64,
    pub isr: u64,
    pub config: Option<u64>,
    pub pci_access: u8,
    pub msix: u8,
    pub msix_table: u64,
    pub rings: Vec<Ring>,
}

impl Driver {
    /// Finds the structures of a device. "PCI Device Layout".
    pub fn probe(guest: &mut Guest, device: u8) -> Driver {
        assert_eq!(guest.config_read(device, 0x00, 2), 0x1af4);
        let mut driver = Driver {
            device,
            common: 0,
            notify: 0,
            multiplier: 0,
            isr: 0,
            config: None,
            pci_access: 0,
            msix: 0,
            msix_table: 0,
            rings: Vec::new(),
        };
        for (at, id) in guest.capabilities(device) {
            if id == 0x11 {
                driver.msix = at;
                let table = guest.config_read(device, at + 4, 4);
                let bar = guest.bar(device, (table & 7) as u8);
                driver.msix_table = bar + u64::from(table & !7);
                continue;
            }
            assert_eq!(id, 0x09);
            let kind = guest.config_read(device, at + 3, 1);
            // The PCI-access capability points wherever software last made it point.
            if kind == 5 {
                driver.pci_access = at;
                continue;
            }
            let bar = guest.config_read(device, at + 4, 1) as u8;
            let offset = guest.config_read(device, at + 8, 4);
            let address = guest.bar(device, bar) + u64::from(offset);
            match kind {
                1 => driver.common = address,
                2 => {
                    driver.notify = address;
                    driver.multiplier = guest.config_read(device, at + 16, 4).into();
                }
                3 => driver.isr = address,
                4 => driver.config = Some(address),
                other => panic!("structure {other}"),
            }
        }
        driver
    }

    pub fn status(&self, guest: &mut Guest) -> u8 {
        guest.read(self.common + 0x14, 1) as u8
    }

    pub fn set_status(&self, guest: &mut Guest, status: u8) {
        guest.write(self.common + 0x14, 1, status.into());
    }

    pub fn offered(&self, guest: &mut Guest) -> u64 {
        guest.write(self.common, 4, 0);
        let low = guest.read(self.common + 4, 4);
        guest.write(self.common, 4, 1);
        low | guest.read(self.common + 4, 4) << 32
    }

    pub fn accept(&self, guest: &mut Guest, features: u64) {
        guest.write(self.common + 8, 4, 0);
        guest.write(self.common + 0xc, 4, features & 0xffff_ffff);
        guest.write(self.common + 8, 4, 1);
        guest.write(self.common + 0xc, 4, features >> 32);
    }

    /// Everything up to DRIVER_OK, with every queue at `queue_size` or its maximum.
    pub fn start(
        guest: &mut Guest,
        device: u8,
        wanted: u64,
        interrupts: Interrupts,
        queue_size: u16,
    ) -> Driver {
        let mut driver = Driver::probe(guest, device);
        driver.negotiate(guest, wanted);
        driver.set_interrupts_up(guest, interrupts);
        driver.set_queues_up(guest, interrupts, queue_size);
        driver.set_status(guest, 1 | 2 | 8 | 4);
        assert_eq!(driver.status(guest), 1 | 2 | 8 | 4);
        driver
    }

    /// "Device Initialization", steps 1 to 6; takes VIRTIO_F_VERSION_1 and what is wanted of what
    /// is offered.
    pub fn negotiate(&mut self, guest: &mut Guest, wanted: u64) -> u64 {
        self.set_status(guest, 0);
        assert_eq!(self.status(guest), 0);
        self.set_status(guest, 1);
        self.set_status(guest, 1 | 2);
        let offered = self.offered(guest);
        assert_ne!(offered & 1 << 32, 0, "VIRTIO_F_VERSION_1 is not offered");
        let features = offered & (wanted | 1 << 32);
        self.accept(guest, features);
        self.set_status(guest, 1 | 2 | 8);
        assert_eq!(
            self.status(guest),
            1 | 2 | 8,
            "the device does not accept {features:#x}"
        );
        features
    }

    pub fn set_interrupts_up(&mut self, guest: &mut Guest, interrupts: Interrupts) {
        // Memory space, bus master.
        guest.config_write(self.device, 0x04, 2, 0x6);
        if interrupts == Interrupts::Intx {
            return;
        }
        let control = guest.config_read(self.device, self.msix + 2, 2);
        let vectors = u64::from(control & 0x7ff) + 1;
        guest.config_write(self.device, self.msix + 2, 2, 1 << 15);
        for vector in 0..vectors {
            let entry = self.msix_table + 16 * vector;
            guest.write(entry, 4, 0xfee0_0000);
            guest.write(entry + 4, 4, 0);
            guest.write(entry + 8, 4, u64::from(MESSAGE_DATA) + vector);
            guest.write(entry + 12, 4, 0);
        }
        guest.write(self.common + 0x10, 2, 0);
        assert_eq!(guest.read(self.common + 0x10, 2), 0);
    }

    pub fn set_queues_up(&mut self, guest: &mut Guest, interrupts: Interrupts, queue_size: u16) {
        let count = guest.read(self.common + 0x12, 2) as u16;
        for queue in 0..count {
            guest.write(self.common + 0x16, 2, queue.into());
            let size = (guest.read(self.common + 0x18, 2) as u16).min(queue_size);
            let ring = Ring::allocate(&mut guest.memory, size);
            guest.write(self.common + 0x18, 2, size.into());
            if interrupts == Interrupts::Msix {
                guest.write(self.common + 0x1a, 2, u64::from(queue) + 1);
                assert_eq!(guest.read(self.common + 0x1a, 2), u64::from(queue) + 1);
            }
            for (offset, address) in [
                (0x20, ring.descriptors),
                (0x28, ring.available),
                (0x30, ring.used),
            ] {
                guest.write(self.common + offset, 4, address & 0xffff_ffff);
                guest.write(self.common + offset + 4, 4, address >> 32);
            }
            guest.write(self.common + 0x1c, 2, 1);
            assert_eq!(guest.read(self.common + 0x1c, 2), 1);
            self.rings.push(ring);
        }
    }

    pub fn submit(
        &mut self,
        guest: &mut Guest,
        queue: u16,
        readable: &[&[u8]],
        writable: &[usize],
    ) -> (u16, Vec<u64>) {
        self.rings[usize::from(queue)].submit(&mut guest.memory, readable, writable)
    }

    pub fn kick(&self, guest: &mut Guest, queue: u16) {
        guest.write(self.common + 0x16, 2, queue.into());
        let offset = guest.read(self.common + 0x1e, 2);
        let address = self.notify + offset * self.multiplier;
        guest.write(address, 2, queue.into());
    }

    pub fn reap(&mut self, guest: &Guest, queue: u16) -> Vec<(u32, u32)> {
        self.rings[usize::from(queue)].reap(&guest.memory)
    }

    /// Submits, notifies, and expects the chain back at once. Returns the length of what was
    /// written and the buffers.
    pub fn transact(
        &mut self,
        guest: &mut Guest,
        queue: u16,
        readable: &[&[u8]],
        writable: &[usize],
    ) -> (u32, Vec<Vec<u8>>) {
        let (head, addresses) = self.submit(guest, queue, readable, writable);
        self.kick(guest, queue);
        let used = self.reap(guest, queue);
        assert_eq!(used.len(), 1, "the chain comes back at once");
        assert_eq!(used[0].0, u32::from(head));
        let buffers = addresses
            .iter()
            .zip(writable)
            .map(|(&address, &size)| guest.memory.bytes(address, size).to_vec())
            .collect();
        (used[0].1, buffers)
    }
}

/// The MSI-X vectors among `effects`, in order.
pub(crate) fn vectors(effects: &[Effect]) -> Vec<u32> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Message { address, data } => {
                assert_eq!(*address, 0xfee0_0000);
                Some(data - MESSAGE_DATA)
            }
            _ => None,
        })
        .collect()
}

/// The changes of interrupt lines among `effects`, in order.
pub(crate) fn lines(effects: &[Effect]) -> Vec<(u8, bool)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Line { irq, asserted } => Some((*irq, *asserted)),
            _ => None,
        })
        .collect()
}

/// Seeded numbers for tests (xorshift64*).
pub(crate) struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    pub fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}
