//! A conventional PCI bus: configuration mechanism #1 and the functions behind it.
//!
//! Source: PCI Local Bus Specification 3.0. Modelled: bus 0 with function 0 of up to 32 devices,
//! the ports 0xCF8 and 0xCFC, memory BARs inside the window that the host bridge forwards, MSI-X,
//! INTA of each function on an interrupt input fixed at construction (several functions may share
//! one: the line is a wired OR), and the PIIX3's reset control register at 0xCF9, because it
//! shares its doubleword with CONFIG_ADDRESS. Not modelled: bridges to further buses,
//! multi-function devices, I/O BARs, special cycles, memory-mapped configuration (PCI Express).
//!
//! The bus starts as firmware leaves it: every BAR has its address and is decoded, bus mastering
//! is off. BARs can be moved anywhere; what stands outside the window, or on top of the BAR of a
//! lower-numbered device, is not decoded.

mod bridge;
mod config;
mod endpoint;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;

pub use bridge::HostBridge;
pub use config::{BarWidth, ConfigSpace, Identity};
pub use endpoint::{Endpoint, EndpointState};

use ring3_bus::{Device, Dma, Effect, Effects, LoadError, Region, Space};
use ring3_clock::Ticks;
use spec::port;
use std::any::Any;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Range;

/// How many devices a bus has room for.
pub const DEVICES: u8 = 32;

/// The memory window that the host bridge forwards unless the machine says otherwise.
pub const DEFAULT_WINDOW: Range<u64> = 0xe000_0000..0xf000_0000;

/// One PCI function: what [`PciBus`] needs of it.
///
/// Offsets and sizes are as in [`Device`]: accesses do not leave the BAR. Interrupts are the
/// [`Endpoint`]'s business: MSI-X messages become effects at once, INTA is the level that
/// [`Endpoint::interrupt_line`] shows after the call.
pub trait Function: Any + Send {
    /// A short name for logs and statistics, unique in a machine.
    fn name(&self) -> String;

    /// Its configuration space and interrupts.
    fn endpoint(&self) -> &Endpoint;

    /// The same, to be changed.
    fn endpoint_mut(&mut self) -> &mut Endpoint;

    /// Reads configuration space; `size` is 1, 2 or 4.
    fn config_read(&mut self, _now: Ticks, offset: u8, size: u8, _effects: &mut Effects) -> u32 {
        self.endpoint().config().read(offset, size)
    }

    /// Writes configuration space.
    #[allow(clippy::too_many_arguments)]
    fn config_write(
        &mut self,
        _now: Ticks,
        offset: u8,
        size: u8,
        value: u32,
        _dma: &mut dyn Dma,
        effects: &mut Effects,
    ) {
        self.endpoint_mut()
            .config_write(offset, size, value, effects);
    }

    /// Reads from a BAR.
    fn bar_read(
        &mut self,
        now: Ticks,
        bar: usize,
        offset: u64,
        size: u8,
        effects: &mut Effects,
    ) -> u64;

    /// Writes to a BAR.
    #[allow(clippy::too_many_arguments)]
    fn bar_write(
        &mut self,
        now: Ticks,
        bar: usize,
        offset: u64,
        size: u8,
        value: u64,
        dma: &mut dyn Dma,
        effects: &mut Effects,
    );

    /// See [`Device::deadline`].
    fn deadline(&self) -> Option<Ticks> {
        None
    }

    /// See [`Device::advance`].
    fn advance(&mut self, _now: Ticks, _dma: &mut dyn Dma, _effects: &mut Effects) {}

    /// See [`Device::reset`].
    fn reset(&mut self);

    /// See [`Device::save`].
    fn save(&self) -> Vec<u8>;

    /// See [`Device::load`].
    ///
    /// # Errors
    /// If the bytes are not a state of this function; it is unchanged then.
    fn load(&mut self, saved: &[u8]) -> Result<(), LoadError>;
}

/// Where a function stands on its bus, and of which type it is.
pub struct Handle<T> {
    device: u8,
    function: PhantomData<fn() -> T>,
}

impl<T> Handle<T> {
    /// The device number.
    pub fn device(self) -> u8 {
        self.device
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Handle<T> {}

impl<T> std::fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "00:{:02x}.0", self.device)
    }
}

/// Why a function could not be put on the bus: the machine's description is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlugError {
    /// The number is out of range or taken.
    #[error("PCI device {0} is taken or does not exist; use a free number below 32")]
    Device(u8),
    /// The BARs do not fit.
    #[error(
        "PCI device {device} needs {size:#x} bytes of memory space and the window has no room \
         left; enlarge it"
    )]
    WindowFull {
        /// The device.
        device: u8,
        /// The size of the BAR that found no place.
        size: u64,
    },
}

/// How a function's INTA is wired; the firmware tables (`_PRT`) tell the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptRoute {
    /// The device number on bus 0.
    pub device: u8,
    /// The pin, 0 for INTA (as `_PRT` counts).
    pub pin: u8,
    /// The global system interrupt.
    pub gsi: u8,
}

struct Slot {
    function: Box<dyn Function>,
    gsi: u8,
}

/// A stretch of memory space that a function answers now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Decoded {
    device: u8,
    bar: usize,
    base: u64,
    size: u64,
}

/// The bus, its host bridge at 00:00.0, and its functions.
///
/// Region 0 is the configuration ports; the others are BARs.
pub struct PciBus {
    // configuration
    window: Range<u64>,
    free: u64,
    slots: BTreeMap<u8, Slot>,
    // derived from the functions' state
    decoded: Vec<Decoded>,
    decoded_changed: bool,
    lines: BTreeMap<u8, bool>,
    // state
    config_address: u32,
    reset_control: u8,
}

impl PciBus {
    /// A bus with a host bridge that forwards `window` of memory space.
    pub fn new(window: Range<u64>) -> PciBus {
        let mut bus = PciBus {
            free: window.start,
            window,
            slots: BTreeMap::new(),
            decoded: Vec::new(),
            decoded_changed: false,
            config_address: 0,
            reset_control: 0,
            lines: BTreeMap::new(),
        };
        bus.slots.insert(
            0,
            Slot {
                function: Box::new(HostBridge::new()),
                gsi: 0,
            },
        );
        bus
    }

    /// The memory window that the host bridge forwards, for `_CRS`.
    pub fn window(&self) -> Range<u64> {
        self.window.clone()
    }

    /// How every function's INTA is wired, for `_PRT`.
    pub fn interrupt_routes(&self) -> Vec<InterruptRoute> {
        self.slots
            .iter()
            .filter(|(_, slot)| has_interrupt_pin(slot))
            .map(|(&device, slot)| InterruptRoute {
                device,
                pin: 0,
                gsi: slot.gsi,
            })
            .collect()
    }

    /// Puts `function` at 00:`device`.0, gives its BARs addresses, and wires its INTA to the
    /// global system interrupt `gsi`.
    ///
    /// # Errors
    /// If the device number is taken or the window is full.
    pub fn plug<T: Function>(
        &mut self,
        device: u8,
        gsi: u8,
        mut function: T,
    ) -> Result<Handle<T>, PlugError> {
        if device >= DEVICES || self.slots.contains_key(&device) {
            return Err(PlugError::Device(device));
        }
        let bars: Vec<_> = function.endpoint().config().bars().collect();
        let mut free = self.free;
        for (bar, size) in bars {
            let full = PlugError::WindowFull { device, size };
            let Some(base) = free.checked_next_multiple_of(size) else {
                return Err(full);
            };
            match base.checked_add(size) {
                Some(end) if end <= self.window.end => free = end,
                _ => return Err(full),
            }
            function.endpoint_mut().config_mut().place_bar(bar, base);
        }
        self.free = free;
        function.endpoint_mut().config_mut().set_interrupt_line(gsi);
        let slot = Slot {
            function: Box::new(function),
            gsi,
        };
        if has_interrupt_pin(&slot) {
            self.lines.insert(gsi, false);
        }
        self.slots.insert(device, slot);
        self.decode(&mut Effects::new());
        Ok(Handle {
            device,
            function: PhantomData,
        })
    }

    /// The function that `handle` stands for.
    ///
    /// # Panics
    /// If the handle is another bus's.
    pub fn get<T: Function>(&self, handle: Handle<T>) -> &T {
        let function: &dyn Any = self.slots[&handle.device].function.as_ref();
        function.downcast_ref().expect("a handle of this bus")
    }

    /// Lets the machine act on a function from outside (console input arrives, for instance) and
    /// carries what follows to the interrupt lines.
    ///
    /// # Panics
    /// If the handle is another bus's.
    pub fn enter<T: Function, R>(
        &mut self,
        handle: Handle<T>,
        effects: &mut Effects,
        act: impl FnOnce(&mut T, &mut Effects) -> R,
    ) -> R {
        self.visit(handle.device, effects, |function, effects| {
            let function: &mut dyn Any = function;
            act(
                function.downcast_mut().expect("a handle of this bus"),
                effects,
            )
        })
        .expect("a handle of this bus")
    }

    /// Calls into a function and afterwards brings lines and deadlines up to date. `None` if
    /// there is no such device.
    fn visit<R>(
        &mut self,
        device: u8,
        effects: &mut Effects,
        act: impl FnOnce(&mut dyn Function, &mut Effects) -> R,
    ) -> Option<R> {
        let slot = self.slots.get_mut(&device)?;
        let deadline = slot.function.deadline();
        let line = slot.function.endpoint().interrupt_line();
        let result = act(slot.function.as_mut(), effects);
        if slot.function.deadline() != deadline {
            effects.push(Effect::DeadlineChanged);
        }
        if slot.function.endpoint().interrupt_line() != line {
            let gsi = slot.gsi;
            self.drive_line(gsi, effects);
        }
        Some(result)
    }

    /// Reports the level of an interrupt input if it has changed: the wired OR of all INTA pins
    /// on it.
    fn drive_line(&mut self, gsi: u8, effects: &mut Effects) {
        let asserted = self
            .slots
            .values()
            .any(|slot| slot.gsi == gsi && slot.function.endpoint().interrupt_line());
        if self.lines.insert(gsi, asserted) != Some(asserted) {
            effects.push(Effect::Line { irq: gsi, asserted });
        }
    }

    /// Finds out anew which function answers where.
    fn decode(&mut self, effects: &mut Effects) {
        let mut decoded: Vec<Decoded> = Vec::new();
        for (&device, slot) in &self.slots {
            for (bar, base, size) in slot.function.endpoint().decoded() {
                let Some(end) = base.checked_add(size) else {
                    continue;
                };
                // Sizing puts a BAR at the top of the address space for a moment; being outside
                // the window is nothing to warn about.
                if base < self.window.start || end > self.window.end {
                    continue;
                }
                let overlap = decoded
                    .iter()
                    .find(|other| base < other.base + other.size && other.base < end);
                match overlap {
                    Some(other) => effects.push(Effect::Warning(format!(
                        "pci: BAR{bar} of {} stands on top of BAR{} of device {} at {:#x} and is \
                         not decoded",
                        slot.function.name(),
                        other.bar,
                        other.device,
                        other.base
                    ))),
                    None => decoded.push(Decoded {
                        device,
                        bar,
                        base,
                        size,
                    }),
                }
            }
        }
        if decoded != self.decoded {
            self.decoded = decoded;
            self.decoded_changed = true;
        }
    }

    /// Which device and register CONFIG_DATA stands for now. "Configuration Mechanism #1".
    fn config_target(&self) -> Option<(u8, u8)> {
        let address = self.config_address;
        let bus = (address >> 16) as u8;
        let device = (address >> 11) as u8 & 0x1f;
        let function = (address >> 8) as u8 & 0x7;
        (address & port::ENABLE != 0 && bus == 0 && function == 0)
            .then_some((device, address as u8 & 0xfc))
    }

    fn port_read(&mut self, now: Ticks, offset: u64, size: u8, effects: &mut Effects) -> u32 {
        let ones = ones(size);
        match (offset, size) {
            (0, 4) => self.config_address,
            (port::RESET_CONTROL_OFFSET, 1) => u32::from(self.reset_control),
            _ => {
                let Some(lane) = config_data_lane(offset, size) else {
                    return ones;
                };
                // "Master-Abort Termination" of configuration reads: all ones.
                let Some((device, register)) = self.config_target() else {
                    return ones;
                };
                self.visit(device, effects, |function, effects| {
                    function.config_read(now, register + lane, size, effects)
                })
                .unwrap_or(ones)
            }
        }
    }

    fn port_write(
        &mut self,
        now: Ticks,
        offset: u64,
        size: u8,
        value: u32,
        dma: &mut dyn Dma,
        effects: &mut Effects,
    ) {
        match (offset, size) {
            // "Configuration Mechanism #1": only doubleword accesses reach CONFIG_ADDRESS.
            (0, 4) => self.config_address = value & port::ADDRESS_BITS,
            (port::RESET_CONTROL_OFFSET, 1) => {
                let before = self.reset_control;
                self.reset_control = value as u8 & (port::RESET_SYSTEM | port::RESET_CPU);
                if self.reset_control & !before & port::RESET_CPU != 0 {
                    effects.push(Effect::Reset);
                }
            }
            _ => {
                let Some(lane) = config_data_lane(offset, size) else {
                    return;
                };
                let Some((device, register)) = self.config_target() else {
                    return;
                };
                let done = self.visit(device, effects, |function, effects| {
                    function.config_write(now, register + lane, size, value, dma, effects);
                });
                if done.is_some() {
                    self.decode(effects);
                }
            }
        }
    }
}

/// Which byte of CONFIG_DATA an access starts at, if it is one.
fn config_data_lane(offset: u64, size: u8) -> Option<u8> {
    let lane = offset.checked_sub(port::CONFIG_DATA_OFFSET)?;
    (matches!(size, 1 | 2 | 4) && lane + u64::from(size) <= 4).then_some(lane as u8)
}

/// All ones in `size` bytes.
fn ones(size: u8) -> u32 {
    match size {
        1 => 0xff,
        2 => 0xffff,
        _ => 0xffff_ffff,
    }
}

fn has_interrupt_pin(slot: &Slot) -> bool {
    let pin = spec::register::INTERRUPT_PIN;
    slot.function.endpoint().config().read(pin, 1) != 0
}

impl Device for PciBus {
    fn name(&self) -> String {
        "pci".to_owned()
    }

    fn regions(&self) -> Vec<Region> {
        let ports = Region {
            space: Space::Port,
            base: port::CONFIG_ADDRESS,
            size: port::SIZE,
        };
        let bars = self.decoded.iter().map(|bar| Region {
            space: Space::Memory,
            base: bar.base,
            size: bar.size,
        });
        std::iter::once(ports).chain(bars).collect()
    }

    fn regions_changed(&mut self) -> bool {
        std::mem::take(&mut self.decoded_changed)
    }

    fn read(
        &mut self,
        now: Ticks,
        region: usize,
        offset: u64,
        size: u8,
        effects: &mut Effects,
    ) -> u64 {
        let Some(bar) = region.checked_sub(1) else {
            return u64::from(self.port_read(now, offset, size, effects));
        };
        let Some(&Decoded { device, bar, .. }) = self.decoded.get(bar) else {
            return u64::MAX;
        };
        self.visit(device, effects, |function, effects| {
            function.bar_read(now, bar, offset, size, effects)
        })
        .unwrap_or(u64::MAX)
    }

    fn write(
        &mut self,
        now: Ticks,
        region: usize,
        offset: u64,
        size: u8,
        value: u64,
        dma: &mut dyn Dma,
        effects: &mut Effects,
    ) {
        let Some(bar) = region.checked_sub(1) else {
            self.port_write(now, offset, size, value as u32, dma, effects);
            return;
        };
        let Some(&Decoded { device, bar, .. }) = self.decoded.get(bar) else {
            return;
        };
        self.visit(device, effects, |function, effects| {
            function.bar_write(now, bar, offset, size, value, dma, effects);
        });
    }

    fn deadline(&self) -> Option<Ticks> {
        self.slots
            .values()
            .filter_map(|slot| slot.function.deadline())
            .min()
    }

    fn advance(&mut self, now: Ticks, dma: &mut dyn Dma, effects: &mut Effects) {
        for device in 0..DEVICES {
            let due = self
                .slots
                .get(&device)
                .and_then(|slot| slot.function.deadline())
                .is_some_and(|deadline| deadline <= now);
            if due {
                self.visit(device, effects, |function, effects| {
                    function.advance(now, dma, effects);
                });
            }
        }
    }

    fn reset(&mut self) {
        let Self {
            window: _,
            free: _,
            slots,
            decoded: _,
            decoded_changed: _,
            config_address,
            reset_control,
            lines,
        } = self;
        for slot in slots.values_mut() {
            slot.function.reset();
        }
        *config_address = 0;
        *reset_control = 0;
        lines.values_mut().for_each(|line| *line = false);
        self.decode(&mut Effects::new());
    }

    fn save(&self) -> Vec<u8> {
        self.save_state()
    }

    fn load(&mut self, saved: &[u8]) -> Result<(), LoadError> {
        self.load_state(saved)
    }
}
