//! Devices, local APICs and the wires between them: what processors see as [`ring3_bus::Platform`].

use crate::log::Warnings;
use crate::machine::Output;
use ring3_arch::{ApicId, CpuIndex, GuestPhys, Vector, msr};
use ring3_bus::{Device, Dma, Effect, Effects, Platform, Signals, Space};
use ring3_clock::Ticks;
use ring3_devices::hpet::{Hpet, LEGACY_LINES};
use ring3_devices::ioapic::IoApic;
use ring3_devices::local_apic::LocalApic;
use ring3_devices::local_apic::route::Message;
use ring3_devices::pic::Pic;
use ring3_devices::uart::Uart;
use ring3_virtio::pci::PciBus;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The devices: those that the machine talks to by name, and the rest.
pub(crate) struct Devices {
    pub ioapic: IoApic,
    pub pic: Pic,
    pub pci: PciBus,
    pub uart: Uart,
    pub hpet: Hpet,
    pub others: Vec<Box<dyn Device>>,
}

/// The HPET's place among the devices.
const HPET: usize = 4;
/// How many devices have a name.
const NAMED: usize = 5;

impl Devices {
    /// How many there are.
    pub fn len(&self) -> usize {
        NAMED + self.others.len()
    }

    /// Device number `n`.
    pub fn get(&self, n: usize) -> &dyn Device {
        match n {
            0 => &self.ioapic,
            1 => &self.pic,
            2 => &self.pci,
            3 => &self.uart,
            HPET => &self.hpet,
            n => self.others[n - NAMED].as_ref(),
        }
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, n: usize) -> &mut dyn Device {
        match n {
            0 => &mut self.ioapic,
            1 => &mut self.pic,
            2 => &mut self.pci,
            3 => &mut self.uart,
            HPET => &mut self.hpet,
            n => self.others[n - NAMED].as_mut(),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Device> {
        (0..self.len()).map(|n| self.get(n))
    }
}

/// Where a range of addresses leads.
#[derive(Clone, Copy, Debug)]
struct Route {
    first: u64,
    last: u64,
    device: usize,
    region: usize,
}

/// The interrupt lines that the HPET can take over from the PIT and from the real-time clock, as each side
/// drives them. Only one of the two is connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LegacyLines {
    /// What the PIT and the clock drive.
    original: [bool; 2],
    /// What the HPET drives.
    replacement: [bool; 2],
    /// What the interrupt controllers see.
    connected: [bool; 2],
}

/// Everything outside the processors and RAM.
pub(crate) struct Chipset {
    pub devices: Devices,
    pub apics: Vec<LocalApic>,
    /// Sorted by first address.
    ports: Vec<Route>,
    memory: Vec<Route>,
    /// The earliest deadline of anything, if it is known.
    next_deadline: Option<Ticks>,
    reschedule: bool,
    /// The level of the 8259 pair's output.
    pub lint0: bool,
    pub legacy_lines: LegacyLines,
    pub outputs: VecDeque<Output>,
    pub warnings: Warnings,
    pub power_off: Option<Option<u32>>,
    pub reset: bool,
}

impl Chipset {
    pub fn new(devices: Devices, apics: Vec<LocalApic>) -> Chipset {
        let mut chipset = Chipset {
            devices,
            apics,
            ports: Vec::new(),
            memory: Vec::new(),
            next_deadline: None,
            reschedule: false,
            lint0: false,
            legacy_lines: LegacyLines::default(),
            outputs: VecDeque::new(),
            warnings: Warnings::default(),
            power_off: None,
            reset: false,
        };
        chipset.refresh_routes();
        chipset
    }

    /// The devices have taken over saved state.
    pub fn restored(&mut self) {
        self.refresh_routes();
        self.deadline_changed();
    }

    pub fn refresh_routes(&mut self) {
        self.ports.clear();
        self.memory.clear();
        for (device, d) in self.devices.iter().enumerate() {
            for (region, r) in d.regions().into_iter().enumerate() {
                let route = Route {
                    first: r.base,
                    last: r.base + (r.size - 1),
                    device,
                    region,
                };
                let routes = match r.space {
                    Space::Port => &mut self.ports,
                    Space::Memory => &mut self.memory,
                };
                // The reset control register at 0xCF9 is offered both by the PCI bus, whose
                // configuration ports surround it, and by the power-management device: the first
                // device in the list answers. Guests can move PCI regions over others, too.
                let taken = |other: &Route| route.first <= other.last && other.first <= route.last;
                if !routes.iter().any(taken) {
                    routes.push(route);
                }
            }
        }
        self.ports.sort_by_key(|r| r.first);
        self.memory.sort_by_key(|r| r.first);
    }

    fn route(routes: &[Route], address: u64, size: u8) -> Option<Route> {
        let after = routes.partition_point(|r| r.first <= address);
        let found = routes[..after].last().copied()?;
        (address + u64::from(size) - 1 <= found.last).then_some(found)
    }

    fn read(&mut self, space: Space, now: Ticks, address: u64, size: u8) -> u64 {
        let routes = if space == Space::Port {
            &self.ports
        } else {
            &self.memory
        };
        let Some(route) = Self::route(routes, address, size) else {
            return self.read_pieces(space, now, address, size);
        };
        let mut effects = Effects::new();
        let value = self.devices.get_mut(route.device).read(
            now,
            route.region,
            address - route.first,
            size,
            &mut effects,
        );
        self.carry_out_of(Some(route.device), effects);
        value
    }

    /// No device answers the whole access: byte by byte, all ones where nobody answers.
    fn read_pieces(&mut self, space: Space, now: Ticks, address: u64, size: u8) -> u64 {
        if size == 1 {
            return 0xff;
        }
        let half = size / 2;
        let low = self.read(space, now, address, half);
        let high = self.read(space, now, address.wrapping_add(half.into()), half);
        low | high << (8 * half)
    }

    fn write(
        &mut self,
        space: Space,
        now: Ticks,
        address: u64,
        size: u8,
        value: u64,
        dma: &mut dyn Dma,
    ) {
        let routes = if space == Space::Port {
            &self.ports
        } else {
            &self.memory
        };
        let Some(route) = Self::route(routes, address, size) else {
            if size > 1 {
                let half = size / 2;
                let mask = (1u64 << (8 * half)) - 1;
                self.write(space, now, address, half, value & mask, dma);
                let second = address.wrapping_add(half.into());
                self.write(space, now, second, half, value >> (8 * half) & mask, dma);
            }
            return;
        };
        let mut effects = Effects::new();
        let device = self.devices.get_mut(route.device);
        device.write(
            now,
            route.region,
            address - route.first,
            size,
            value,
            dma,
            &mut effects,
        );
        if device.regions_changed() {
            self.refresh_routes();
        }
        self.carry_out_of(Some(route.device), effects);
    }

    /// Does what devices other than the HPET want done, and what follows from that.
    pub fn carry_out(&mut self, effects: Effects) {
        self.carry_out_of(None, effects);
    }

    /// The same for the effects of a certain device.
    fn carry_out_of(&mut self, device: Option<usize>, effects: Effects) {
        let of_hpet = device == Some(HPET);
        let mut queue: VecDeque<Effect> = effects.into();
        while let Some(effect) = queue.pop_front() {
            let mut more = Effects::new();
            match effect {
                Effect::Line { irq, asserted } => {
                    match LEGACY_LINES.iter().position(|&line| line == irq) {
                        Some(n) if of_hpet => self.legacy_lines.replacement[n] = asserted,
                        Some(n) => self.legacy_lines.original[n] = asserted,
                        None => self.set_line(irq, asserted, &mut more),
                    }
                    self.connect_legacy_lines(&mut more);
                }
                Effect::Message { address, data } => match Message::from_msi(address, data) {
                    Ok(message) => {
                        message.deliver(&mut self.apics, &mut more);
                        self.reschedule = true;
                    }
                    Err(error) => self.warnings.add(format!("interrupt message: {error:?}")),
                },
                Effect::Ipi {
                    source,
                    command,
                    destination,
                    x2apic,
                } => match Message::from_ipi(source, command, destination, x2apic) {
                    Ok(message) => {
                        message.deliver(&mut self.apics, &mut more);
                        self.reschedule = true;
                    }
                    Err(error) => self.warnings.add(format!("IPI: {error:?}")),
                },
                Effect::EoiBroadcast { vector } => {
                    self.devices.ioapic.end_of_interrupt(vector, &mut more);
                }
                Effect::Output { stream, bytes } => {
                    self.outputs.push_back(Output { stream, bytes });
                    self.reschedule = true;
                }
                Effect::PowerOff { status } => {
                    self.power_off = Some(status);
                    self.reschedule = true;
                }
                Effect::Reset => {
                    self.reset = true;
                    self.reschedule = true;
                }
                Effect::Warning(text) => self.warnings.add(text),
                Effect::DeadlineChanged => self.deadline_changed(),
            }
            queue.extend(more);
        }
        if of_hpet {
            // It may have taken the lines over or given them back.
            let mut more = Effects::new();
            self.connect_legacy_lines(&mut more);
            if !more.is_empty() {
                self.carry_out(more);
            }
        }
        self.update_lint0();
    }

    fn deadline_changed(&mut self) {
        self.next_deadline = None;
        self.reschedule = true;
    }

    /// In legacy replacement mode the HPET stands where the PIT and the clock are otherwise, whose
    /// interrupts then reach nobody. Source: IA-PC HPET Specification 1.0a, "General Configuration
    /// Register" and "Interrupt Mapping".
    fn connect_legacy_lines(&mut self, effects: &mut Effects) {
        let lines = self.legacy_lines;
        let levels = match self.devices.hpet.legacy_replacement() {
            true => lines.replacement,
            false => lines.original,
        };
        for (n, irq) in LEGACY_LINES.into_iter().enumerate() {
            if levels[n] != lines.connected[n] {
                self.legacy_lines.connected[n] = levels[n];
                self.set_line(irq, levels[n], effects);
            }
        }
    }

    /// Lines 0 to 15 reach both interrupt controllers; at the IOAPIC the timer's line 0 stands at
    /// pin 2, as the ACPI tables say.
    fn set_line(&mut self, irq: u8, asserted: bool, effects: &mut Effects) {
        let pin = if irq == 0 { 2 } else { irq };
        self.devices.ioapic.set_line(pin, asserted, effects);
        if irq < 16 {
            self.devices.pic.set_line(irq, asserted);
        }
    }

    /// The 8259 pair's output is wired to LINT0 of the bootstrap processor.
    fn update_lint0(&mut self) {
        let level = self.devices.pic.intr();
        if level != self.lint0 {
            self.lint0 = level;
            self.apics[0].set_lint0(level);
            self.reschedule = true;
        }
    }

    /// When the next timer of any device is due.
    pub fn next_deadline(&mut self) -> Ticks {
        if let Some(known) = self.next_deadline {
            return known;
        }
        let devices = self.devices.iter().filter_map(|d| d.deadline());
        let apics = self.apics.iter().filter_map(|a| a.deadline());
        let earliest = devices.chain(apics).min().unwrap_or(Ticks::NEVER);
        self.next_deadline = Some(earliest);
        earliest
    }

    /// Lets everything that is due happen.
    pub fn advance(&mut self, now: Ticks, dma: &mut dyn Dma) {
        for n in 0..self.devices.len() {
            let device = self.devices.get_mut(n);
            if device.deadline().is_some_and(|due| due <= now) {
                let mut effects = Effects::new();
                device.advance(now, dma, &mut effects);
                self.carry_out_of(Some(n), effects);
            }
        }
        for apic in &mut self.apics {
            if apic.deadline().is_some_and(|due| due <= now) {
                apic.advance(now);
            }
        }
        self.next_deadline = None;
    }

    /// Whether a device can interrupt a processor that accepts no maskable interrupts.
    pub fn may_interrupt_the_unwilling(&self) -> bool {
        self.devices.ioapic.has_unmaskable_entry() || self.apics[0].lint0_is_unmaskable()
    }

    fn apic(&mut self, cpu: CpuIndex) -> &mut LocalApic {
        &mut self.apics[cpu.0 as usize]
    }

    /// The offset into the local APIC's page, if `address` is in it.
    fn local_apic_offset(&self, cpu: CpuIndex, address: GuestPhys) -> Option<u64> {
        let base = self.apics[cpu.0 as usize].base_address()?;
        let offset = address.0.wrapping_sub(base.0);
        (offset < 0x1000).then_some(offset)
    }
}

impl Platform for Chipset {
    fn memory_read(&mut self, cpu: CpuIndex, now: Ticks, address: GuestPhys, size: u8) -> u64 {
        if let Some(offset) = self.local_apic_offset(cpu, address) {
            let mut effects = Effects::new();
            let value = self.apic(cpu).read_mmio(now, offset, size, &mut effects);
            self.carry_out(effects);
            return value;
        }
        self.read(Space::Memory, now, address.0, size)
    }

    fn memory_write(
        &mut self,
        cpu: CpuIndex,
        now: Ticks,
        address: GuestPhys,
        size: u8,
        value: u64,
        dma: &mut dyn Dma,
    ) {
        if let Some(offset) = self.local_apic_offset(cpu, address) {
            let mut effects = Effects::new();
            self.apic(cpu)
                .write_mmio(now, offset, size, value, &mut effects);
            self.carry_out(effects);
            return;
        }
        self.write(Space::Memory, now, address.0, size, value, dma);
    }

    fn port_read(&mut self, _cpu: CpuIndex, now: Ticks, port: u16, size: u8) -> u32 {
        self.read(Space::Port, now, port.into(), size) as u32
    }

    fn port_write(
        &mut self,
        _cpu: CpuIndex,
        now: Ticks,
        port: u16,
        size: u8,
        value: u32,
        dma: &mut dyn Dma,
    ) {
        self.write(Space::Port, now, port.into(), size, value.into(), dma);
    }

    fn apic_msr_read(&mut self, cpu: CpuIndex, now: Ticks, number: u32) -> Option<u64> {
        let mut effects = Effects::new();
        let value = self.apic(cpu).read_msr(now, number, &mut effects);
        self.carry_out(effects);
        value
    }

    fn apic_msr_write(&mut self, cpu: CpuIndex, now: Ticks, number: u32, value: u64) -> Option<()> {
        let mut effects = Effects::new();
        let done = self.apic(cpu).write_msr(now, number, value, &mut effects);
        if number == msr::IA32_TSC_DEADLINE {
            self.deadline_changed();
        }
        self.carry_out(effects);
        done
    }

    fn cr8_read(&mut self, cpu: CpuIndex) -> u64 {
        self.apic(cpu).cr8()
    }

    fn cr8_write(&mut self, cpu: CpuIndex, _now: Ticks, class: u64) {
        self.apic(cpu).set_cr8(class);
    }

    fn signals(&mut self, cpu: CpuIndex, _now: Ticks) -> Signals {
        self.apic(cpu).signals()
    }

    fn acknowledge(&mut self, cpu: CpuIndex, _now: Ticks) -> Vector {
        if self.apic(cpu).extint_pending() {
            let vector = self.devices.pic.acknowledge();
            self.apic(cpu).acknowledge_extint();
            self.update_lint0();
            return vector;
        }
        self.apic(cpu).acknowledge()
    }

    fn end_of_interrupt(&mut self, cpu: CpuIndex, _now: Ticks) {
        let mut effects = Effects::new();
        self.apic(cpu).end_of_interrupt(&mut effects);
        self.carry_out(effects);
    }

    fn send_user_ipi(&mut self, cpu: CpuIndex, _now: Ticks, vector: Vector, ndst: u32) {
        let mut effects = Effects::new();
        self.apic(cpu).send_user_ipi(vector, ndst, &mut effects);
        self.carry_out(effects);
    }

    fn take_nmi(&mut self, cpu: CpuIndex) {
        self.apic(cpu).take_nmi();
    }

    fn take_init(&mut self, cpu: CpuIndex) {
        self.apic(cpu).take_init();
    }

    fn take_sipi(&mut self, cpu: CpuIndex) {
        self.apic(cpu).take_sipi();
    }

    fn reset_local_apic(&mut self, cpu: CpuIndex) {
        let mut effects = Effects::new();
        self.apic(cpu).init_reset(&mut effects);
        self.carry_out(effects);
    }

    fn set_tsc_offset(&mut self, cpu: CpuIndex, now: Ticks, offset: u64) {
        let mut effects = Effects::new();
        self.apic(cpu).set_tsc_offset(now, offset, &mut effects);
        self.carry_out(effects);
    }

    fn take_reschedule(&mut self) -> bool {
        std::mem::take(&mut self.reschedule)
    }
}

/// The local APICs of `count` processors; their identifiers are the processors' numbers.
pub(crate) fn local_apics(count: u32) -> Vec<LocalApic> {
    (0..count)
        .map(|n| LocalApic::new(ApicId(n), n == 0))
        .collect()
}
