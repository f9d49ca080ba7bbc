//! Virtio over PCI: a virtio device as a PCI function.
//!
//! Source: VIRTIO 1.2, "Virtio Over PCI Bus", "Basic Facilities of a Virtio Device" and "General
//! Initialization And Device Operation". Modelled: devices without a legacy interface
//! (VIRTIO_F_VERSION_1 is required), the common, notification, ISR, device and PCI-access
//! capabilities, an MSI-X vector for each queue and one for configuration changes, INTA for
//! drivers without MSI-X, split virtqueues with VIRTIO_F_INDIRECT_DESC and VIRTIO_F_EVENT_IDX.
//! Not modelled: the legacy interface, packed virtqueues, queue reset, notification data, shared
//! memory regions, administration.
//!
//! A request is served when its queue is notified, completely, before the notifying store is over,
//! unless the device says otherwise (see [`crate::blk`]'s latency). If bus mastering is off at
//! that time, requests wait until it is allowed.

pub mod spec;
mod state;
#[cfg(test)]
mod tests;

use crate::pci::{BarWidth, Endpoint, Function, Identity};
use crate::virtqueue::{self, Chain, Queue, RingError};
use ring3_bus::{Dma, Effect, Effects, LoadError};
use ring3_clock::Ticks;
use serde::{Deserialize, Serialize};
use spec::{capability, common, feature, identity, isr, layout, status};

/// One kind of virtio device: what is behind the queues.
pub trait VirtioDevice: Send + 'static {
    /// A short name for logs and statistics, unique in a machine.
    fn name(&self) -> String;

    /// "Device Types": the virtio device ID.
    fn id(&self) -> u8;

    /// Base class, sub-class and interface of the PCI function.
    fn class(&self) -> [u8; 3];

    /// The device-specific feature bits that are offered.
    fn features(&self) -> u64;

    /// The most entries each queue can have; the number of queues follows.
    fn queue_sizes(&self) -> Vec<u16>;

    /// The device-specific configuration as it reads now; its length never changes.
    fn config(&self) -> Vec<u8>;

    /// The driver writes to the device-specific configuration; `offset + bytes.len()` does not
    /// leave it.
    fn config_write(&mut self, _offset: usize, _bytes: &[u8], effects: &mut Effects) {
        effects.push(Effect::Warning(format!(
            "{}: the driver writes to a configuration that is read-only",
            self.name()
        )));
    }

    /// The driver has set DRIVER_OK, having accepted `features`.
    fn driver_ready(&mut self, _features: u64) {}

    /// There may be work: the driver has notified `queue`, or it was not possible to serve it
    /// until now.
    ///
    /// # Errors
    /// If the driver broke the rules; the device stops until it is reset.
    fn notified(&mut self, queue: u16, io: &mut Io<'_>) -> Result<(), RingError>;

    /// See [`ring3_bus::Device::deadline`].
    fn deadline(&self) -> Option<Ticks> {
        None
    }

    /// See [`ring3_bus::Device::advance`].
    ///
    /// # Errors
    /// As [`VirtioDevice::notified`].
    fn advance(&mut self, _io: &mut Io<'_>) -> Result<(), RingError> {
        Ok(())
    }

    /// The driver resets the device: requests and negotiation are forgotten, what came from
    /// outside the guest is not.
    fn driver_reset(&mut self);

    /// Power-on.
    fn reset(&mut self);

    /// The device's own state.
    fn save(&self) -> Vec<u8>;

    /// Takes over what [`VirtioDevice::save`] gave.
    ///
    /// # Errors
    /// If the bytes are not a state of this device; it is unchanged then.
    fn load(&mut self, saved: &[u8]) -> Result<(), LoadError>;
}

/// What a device works with while it serves its queues.
pub struct Io<'a> {
    /// The time of the service.
    pub now: Ticks,
    /// Guest memory.
    pub dma: &'a mut dyn Dma,
    /// Where effects go.
    pub effects: &'a mut Effects,
    features: u64,
    queues: &'a mut [Queue],
    config_changed: bool,
}

impl Io<'_> {
    /// Whether the driver accepted all feature bits in `mask`.
    pub fn negotiated(&self, mask: u64) -> bool {
        self.features & mask == mask
    }

    /// Takes the next available chain of a queue; `None` if there is none, or the queue is not
    /// enabled.
    ///
    /// # Errors
    /// If the ring is malformed.
    pub fn pop(&mut self, queue: u16) -> Result<Option<Chain>, RingError> {
        self.queues[usize::from(queue)].pop(self.dma, self.features)
    }

    /// Reads again a chain that was taken before.
    ///
    /// # Errors
    /// If it has become malformed.
    pub fn chain(&mut self, queue: u16, head: u16) -> Result<Chain, RingError> {
        self.queues[usize::from(queue)].chain(self.dma, head, self.features)
    }

    /// Hands a chain back with `written` bytes filled.
    ///
    /// # Errors
    /// If the used ring is not in RAM.
    pub fn complete(&mut self, queue: u16, head: u16, written: u32) -> Result<(), RingError> {
        self.queues[usize::from(queue)].complete(self.dma, head, written)
    }

    /// The device-specific configuration has changed: the driver will be told.
    pub fn config_changed(&mut self) {
        self.config_changed = true;
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Registers {
    device_feature_select: u32,
    driver_feature_select: u32,
    driver_features: u64,
    config_vector: u16,
    status: u8,
    config_generation: u8,
    queue_select: u16,
    isr: u8,
}

impl Registers {
    const AT_RESET: Registers = Registers {
        device_feature_select: 0,
        driver_feature_select: 0,
        driver_features: 0,
        config_vector: common::NO_VECTOR,
        status: 0,
        config_generation: 0,
        queue_select: 0,
        isr: 0,
    };
}

/// A virtio device as a PCI function.
pub struct VirtioPci<D> {
    // configuration
    offered: u64,
    pci_access: u8,
    // state
    endpoint: Endpoint,
    registers: Registers,
    queues: Vec<Queue>,
    device: D,
}

impl<D: VirtioDevice> VirtioPci<D> {
    /// Puts `device` behind a PCI function.
    ///
    /// # Panics
    /// If the device has more queues or configuration than there is room for.
    pub fn new(device: D) -> VirtioPci<D> {
        let sizes = device.queue_sizes();
        assert!(
            sizes.len() <= layout::QUEUES_MAX
                && device.config().len() as u64 <= layout::PAGE
                && device.features() >> 24 == 0,
            "{}: more than a function has room for",
            device.name()
        );
        let id = u16::from(device.id());
        let mut endpoint = Endpoint::new(&Identity {
            vendor: identity::VENDOR,
            device: identity::DEVICE_BASE + id,
            revision: identity::REVISION,
            class: device.class(),
            // "Device Requirements: PCI Device Discovery": 0x40 or higher without a legacy
            // interface; the same as the device ID is what drivers expect to see.
            subsystem_vendor: identity::VENDOR,
            subsystem: identity::DEVICE_BASE + id,
            interrupt_pin: true,
        });
        endpoint
            .config_mut()
            .add_bar(layout::BAR, BarWidth::Bits32, layout::BAR_SIZE);
        let queue_count = sizes.len() as u32;
        add_structure(
            &mut endpoint,
            capability::COMMON,
            layout::COMMON,
            common::SIZE as u32,
            None,
        );
        add_structure(
            &mut endpoint,
            capability::NOTIFY,
            layout::NOTIFY,
            queue_count * layout::NOTIFY_MULTIPLIER,
            Some(layout::NOTIFY_MULTIPLIER),
        );
        add_structure(&mut endpoint, capability::ISR, layout::ISR, 1, None);
        let config_size = device.config().len() as u32;
        if config_size > 0 {
            add_structure(
                &mut endpoint,
                capability::DEVICE,
                layout::DEVICE,
                config_size,
                None,
            );
        }
        let pci_access = add_pci_access(&mut endpoint);
        // A vector for each queue and one for configuration changes.
        endpoint.add_msix(layout::MSIX_BAR, sizes.len() as u16 + 1);
        VirtioPci {
            offered: device.features()
                | feature::VERSION_1
                | virtqueue::spec::feature::INDIRECT_DESC
                | virtqueue::spec::feature::EVENT_IDX,
            pci_access,
            endpoint,
            registers: Registers::AT_RESET,
            queues: sizes.into_iter().map(Queue::new).collect(),
            device,
        }
    }

    /// The device behind the function.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The device behind the function, for what needs neither queues nor interrupts.
    pub fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// Whether a driver has set the device up and it works.
    pub fn driver_ready(&self) -> bool {
        self.registers.status & (status::DRIVER_OK | status::DEVICE_NEEDS_RESET)
            == status::DRIVER_OK
    }

    /// Whether the driver broke a rule, and the device waits to be reset.
    pub fn needs_reset(&self) -> bool {
        self.registers.status & status::DEVICE_NEEDS_RESET != 0
    }

    /// The feature bits that the driver accepted.
    pub fn negotiated(&self) -> u64 {
        self.registers.driver_features
    }

    /// Lets the device work on its queues, then interrupts the driver where it wants that. Nothing
    /// happens unless there is a driver and it lets the function master the bus.
    pub fn serve(
        &mut self,
        now: Ticks,
        dma: &mut dyn Dma,
        effects: &mut Effects,
        work: impl FnOnce(&mut D, &mut Io<'_>) -> Result<(), RingError>,
    ) {
        if !self.driver_ready() || !self.endpoint.bus_master() {
            return;
        }
        self.queues.iter_mut().for_each(Queue::begin_service);
        let mut io = Io {
            now,
            dma,
            effects,
            features: self.registers.driver_features,
            queues: &mut self.queues,
            config_changed: false,
        };
        let outcome = work(&mut self.device, &mut io);
        let config_changed = io.config_changed;
        if let Err(error) = outcome.and_then(|()| self.interrupt_for_queues(dma, effects)) {
            self.stop(&error, effects);
        } else if config_changed {
            self.registers.config_generation = self.registers.config_generation.wrapping_add(1);
            self.interrupt_for_config(effects);
        }
    }

    fn interrupt_for_queues(
        &mut self,
        dma: &mut dyn Dma,
        effects: &mut Effects,
    ) -> Result<(), RingError> {
        for queue in &mut self.queues {
            if queue.end_service(dma, self.registers.driver_features)? {
                // "ISR status capability": with MSI-X, the queue bit is not used.
                if self.endpoint.msix_enabled() {
                    self.endpoint.signal(queue.state().vector, effects);
                } else {
                    self.registers.isr |= isr::QUEUE;
                    self.endpoint.set_intx(true);
                }
            }
        }
        Ok(())
    }

    /// "Notification of Device Configuration Changes".
    fn interrupt_for_config(&mut self, effects: &mut Effects) {
        self.registers.isr |= isr::CONFIG;
        self.endpoint.set_intx(true);
        self.endpoint.signal(self.registers.config_vector, effects);
    }

    /// "Device Status Field": the driver broke a rule; nothing more happens until it resets the
    /// device. It is told if it has come as far as DRIVER_OK.
    fn stop(&mut self, error: &dyn std::fmt::Display, effects: &mut Effects) {
        effects.push(Effect::Warning(format!(
            "{}: {error}; the device stops until it is reset",
            self.device.name()
        )));
        self.registers.status |= status::DEVICE_NEEDS_RESET;
        if self.registers.status & status::DRIVER_OK != 0 {
            self.interrupt_for_config(effects);
        }
    }

    /// Serves every queue, for what could not be served before.
    fn serve_all(&mut self, now: Ticks, dma: &mut dyn Dma, effects: &mut Effects) {
        let count = self.queues.len() as u16;
        self.serve(now, dma, effects, |device, io| {
            (0..count).try_for_each(|queue| device.notified(queue, io))
        });
    }

    /// The driver writes 0 to the device status.
    fn driver_reset(&mut self) {
        self.registers = Registers::AT_RESET;
        self.endpoint.drop_interrupts();
        self.queues.iter_mut().for_each(Queue::reset);
        self.device.driver_reset();
    }

    fn warn(&self, effects: &mut Effects, what: impl std::fmt::Display) {
        effects.push(Effect::Warning(format!("{}: {what}", self.device.name())));
    }

    /// A write to the device status. "Device Initialization".
    fn write_status(&mut self, now: Ticks, value: u8, dma: &mut dyn Dma, effects: &mut Effects) {
        if value == 0 {
            self.driver_reset();
            return;
        }
        let before = self.registers.status;
        // "Driver Requirements: Device Status Field": the driver must not clear a bit, except
        // all by writing 0; DEVICE_NEEDS_RESET is the device's.
        let mut set = value & !before & status::DRIVER_BITS;
        if set & status::FEATURES_OK != 0 {
            // "Device Requirements: Feature Bits": FEATURES_OK stays clear if the driver wants
            // what was not offered, or works without VIRTIO_F_VERSION_1.
            let accepted = self.registers.driver_features;
            if accepted & !self.offered != 0 || accepted & feature::VERSION_1 == 0 {
                self.warn(
                    effects,
                    format_args!(
                        "the driver accepts features {accepted:#x} of {:#x}; they must be offered \
                         and include VIRTIO_F_VERSION_1",
                        self.offered
                    ),
                );
                set &= !status::FEATURES_OK;
            }
        }
        if set & status::DRIVER_OK != 0 && (before | set) & status::FEATURES_OK == 0 {
            self.warn(effects, "DRIVER_OK without FEATURES_OK is ignored");
            set &= !status::DRIVER_OK;
        }
        self.registers.status |= set;
        if set & status::DRIVER_OK != 0 {
            self.device.driver_ready(self.registers.driver_features);
            self.serve_all(now, dma, effects);
        }
    }

    fn common_read(&self, offset: u64, size: u8) -> u64 {
        let registers = &self.registers;
        let queue = self.queues.get(usize::from(registers.queue_select));
        let state = queue.map(Queue::state);
        let word = |select: u32, features: u64| match select {
            0 => features & 0xffff_ffff,
            1 => features >> 32,
            _ => 0,
        };
        let half = |address: Option<u64>, upper: bool| {
            let address = address.unwrap_or(0);
            if upper {
                address >> 32
            } else if size == 8 {
                address
            } else {
                address & 0xffff_ffff
            }
        };
        let descriptors = state.map(|state| state.descriptors);
        let driver = state.map(|state| state.driver);
        let device = state.map(|state| state.device);
        match (offset, size) {
            (common::DEVICE_FEATURE_SELECT, 4) => registers.device_feature_select.into(),
            (common::DEVICE_FEATURE, 4) => word(registers.device_feature_select, self.offered),
            (common::DRIVER_FEATURE_SELECT, 4) => registers.driver_feature_select.into(),
            (common::DRIVER_FEATURE, 4) => {
                word(registers.driver_feature_select, registers.driver_features)
            }
            (common::CONFIG_MSIX_VECTOR, 2) => registers.config_vector.into(),
            (common::NUM_QUEUES, 2) => self.queues.len() as u64,
            (common::DEVICE_STATUS, 1) => registers.status.into(),
            (common::CONFIG_GENERATION, 1) => registers.config_generation.into(),
            (common::QUEUE_SELECT, 2) => registers.queue_select.into(),
            // "Common configuration structure layout": 0 means that the queue does not exist.
            (common::QUEUE_SIZE, 2) => state.map_or(0, |state| state.size.into()),
            (common::QUEUE_MSIX_VECTOR, 2) => {
                state.map_or(common::NO_VECTOR, |state| state.vector).into()
            }
            (common::QUEUE_ENABLE, 2) => state.is_some_and(|state| state.enabled).into(),
            (common::QUEUE_NOTIFY_OFF, 2) => match queue {
                Some(_) => registers.queue_select.into(),
                None => 0,
            },
            (common::QUEUE_DESC, 4 | 8) => half(descriptors, false),
            (common::QUEUE_DRIVER, 4 | 8) => half(driver, false),
            (common::QUEUE_DEVICE, 4 | 8) => half(device, false),
            (UPPER_DESC, 4) => half(descriptors, true),
            (UPPER_DRIVER, 4) => half(driver, true),
            (UPPER_DEVICE, 4) => half(device, true),
            _ => 0,
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn common_write(
        &mut self,
        now: Ticks,
        offset: u64,
        size: u8,
        value: u64,
        dma: &mut dyn Dma,
        effects: &mut Effects,
    ) {
        match (offset, size) {
            (common::DEVICE_FEATURE_SELECT, 4) => {
                self.registers.device_feature_select = value as u32;
            }
            (common::DRIVER_FEATURE_SELECT, 4) => {
                self.registers.driver_feature_select = value as u32;
            }
            (common::DRIVER_FEATURE, 4) => self.write_driver_features(value as u32, effects),
            (common::CONFIG_MSIX_VECTOR, 2) => {
                self.registers.config_vector = self.existing_vector(value as u16);
            }
            (common::DEVICE_STATUS, 1) => self.write_status(now, value as u8, dma, effects),
            (common::QUEUE_SELECT, 2) => self.registers.queue_select = value as u16,
            _ => self.queue_write(offset, size, value, effects),
        }
    }

    fn write_driver_features(&mut self, value: u32, effects: &mut Effects) {
        // "Device Initialization": no more changes once FEATURES_OK is set.
        if self.registers.status & status::FEATURES_OK != 0 {
            self.warn(effects, "features change after FEATURES_OK; ignored");
            return;
        }
        let features = &mut self.registers.driver_features;
        match self.registers.driver_feature_select {
            0 => *features = (*features & !0xffff_ffff) | u64::from(value),
            1 => *features = (*features & 0xffff_ffff) | u64::from(value) << 32,
            _ if value != 0 => self.warn(effects, "feature bits above 63 do not exist"),
            _ => {}
        }
    }

    /// "MSI-X Vector Configuration": a vector that cannot be had reads back as NO_VECTOR.
    fn existing_vector(&self, vector: u16) -> u16 {
        if vector < self.endpoint.vectors() {
            vector
        } else {
            common::NO_VECTOR
        }
    }

    /// A write to one of the fields that belong to the selected queue.
    fn queue_write(&mut self, offset: u64, size: u8, value: u64, effects: &mut Effects) {
        let select = self.registers.queue_select;
        let vector = self.existing_vector(value as u16);
        let features_ok = self.registers.status & status::FEATURES_OK != 0;
        let Some(queue) = self.queues.get_mut(usize::from(select)) else {
            return self.warn(effects, format_args!("queue {select} does not exist"));
        };
        // The vector may change at any time; the rest belongs to a queue that is being set up.
        if (offset, size) == (common::QUEUE_MSIX_VECTOR, 2) {
            queue.state_mut().vector = vector;
            return;
        }
        if queue.state().enabled {
            return self.warn(
                effects,
                format_args!("queue {select} changes while it is enabled; ignored"),
            );
        }
        let size_max = queue.size_max();
        let state = queue.state_mut();
        match (offset, size) {
            (common::QUEUE_SIZE, 2) => {
                let value = value as u16;
                if value.is_power_of_two() && value <= size_max {
                    state.size = value;
                } else {
                    self.warn(
                        effects,
                        format_args!(
                            "a size of {value} for queue {select}; it takes powers of two up to \
                             {size_max}"
                        ),
                    );
                }
            }
            (common::QUEUE_ENABLE, 2) => {
                if value as u16 != 1 || !features_ok {
                    self.warn(
                        effects,
                        format_args!("queue {select} cannot be enabled now, or not by {value:#x}"),
                    );
                } else if let Some(fault) = queue.set_up_fault() {
                    let error = format!("queue {select} cannot be enabled: {fault}");
                    self.stop(&error, effects);
                } else {
                    queue.enable();
                }
            }
            (common::QUEUE_DESC, 4 | 8) => set_address(&mut state.descriptors, size, value),
            (common::QUEUE_DRIVER, 4 | 8) => set_address(&mut state.driver, size, value),
            (common::QUEUE_DEVICE, 4 | 8) => set_address(&mut state.device, size, value),
            (UPPER_DESC, 4) => set_upper(&mut state.descriptors, value),
            (UPPER_DRIVER, 4) => set_upper(&mut state.driver, value),
            (UPPER_DEVICE, 4) => set_upper(&mut state.device, value),
            _ => self.warn(
                effects,
                format_args!("{size}-byte write at {offset:#x} of the common configuration"),
            ),
        }
    }

    /// Reads from BAR 0.
    fn structure_read(&mut self, offset: u64, size: u8) -> u64 {
        let within = offset % layout::PAGE;
        match offset - within {
            layout::COMMON => self.common_read(within, size),
            layout::ISR if within == 0 => {
                // "ISR status capability": reading clears it and takes INTA back.
                let value = std::mem::take(&mut self.registers.isr);
                self.endpoint.set_intx(false);
                value.into()
            }
            layout::DEVICE => {
                let config = self.device.config();
                let mut bytes = [0; 8];
                for (index, byte) in bytes.iter_mut().take(usize::from(size)).enumerate() {
                    *byte = *config.get(within as usize + index).unwrap_or(&0);
                }
                u64::from_le_bytes(bytes)
            }
            _ => 0,
        }
    }

    /// Writes to BAR 0.
    #[allow(clippy::too_many_arguments)]
    fn structure_write(
        &mut self,
        now: Ticks,
        offset: u64,
        size: u8,
        value: u64,
        dma: &mut dyn Dma,
        effects: &mut Effects,
    ) {
        let within = offset % layout::PAGE;
        match offset - within {
            layout::COMMON if within < common::SIZE => {
                self.common_write(now, within, size, value, dma, effects);
            }
            layout::DEVICE => {
                let at = within as usize;
                let bytes = value.to_le_bytes();
                let bytes = &bytes[..usize::from(size)];
                if at + bytes.len() <= self.device.config().len() {
                    self.device.config_write(at, bytes, effects);
                } else {
                    self.warn(effects, "a write past the end of the device configuration");
                }
            }
            layout::NOTIFY => {
                let queue = within / u64::from(layout::NOTIFY_MULTIPLIER);
                self.notify(now, queue as u16, dma, effects);
            }
            _ => self.warn(effects, format_args!("a write at {offset:#x} of BAR 0")),
        }
    }

    /// "Available Buffer Notifications". Which queue is meant follows from the address alone.
    fn notify(&mut self, now: Ticks, queue: u16, dma: &mut dyn Dma, effects: &mut Effects) {
        let enabled = self
            .queues
            .get(usize::from(queue))
            .is_some_and(|queue| queue.state().enabled);
        if !enabled {
            return self.warn(
                effects,
                format_args!("notification of queue {queue}, which is not enabled"),
            );
        }
        self.serve(now, dma, effects, |device, io| device.notified(queue, io));
    }

    /// What the PCI-access capability points at, if that is somewhere: offset in BAR 0 and size.
    /// "PCI configuration access capability": the length is 1, 2 or 4, and the offset a
    /// multiple of it.
    fn pci_access_target(&self) -> Option<(u64, u8)> {
        let config = self.endpoint.config();
        let bar = config.read(self.pci_access + capability::BAR, 1) as usize;
        let offset = config.read32(self.pci_access + capability::OFFSET);
        let length = config.read32(self.pci_access + capability::LENGTH);
        let inside = u64::from(offset) + 4 <= layout::BAR_SIZE;
        (bar == layout::BAR
            && inside
            && matches!(length, 1 | 2 | 4)
            && offset.is_multiple_of(length))
        .then_some((offset.into(), length as u8))
    }

    /// Whether a configuration access touches `pci_cfg_data`.
    fn is_pci_access_data(&self, offset: u8, size: u8) -> bool {
        let data = u16::from(self.pci_access + capability::EXTRA);
        let offset = u16::from(offset);
        offset < data + 4 && offset + u16::from(size) > data
    }
}

/// The upper halves of the queue addresses.
const UPPER_DESC: u64 = common::QUEUE_DESC + 4;
const UPPER_DRIVER: u64 = common::QUEUE_DRIVER + 4;
const UPPER_DEVICE: u64 = common::QUEUE_DEVICE + 4;

/// A write to the lower half or the whole of an address.
fn set_address(address: &mut u64, size: u8, value: u64) {
    *address = match size {
        8 => value,
        _ => (*address & !0xffff_ffff) | (value & 0xffff_ffff),
    };
}

/// A write to the upper half of an address.
fn set_upper(address: &mut u64, value: u64) {
    *address = (*address & 0xffff_ffff) | value << 32;
}

/// Adds the capability of one structure in BAR 0.
fn add_structure(endpoint: &mut Endpoint, kind: u8, offset: u64, length: u32, extra: Option<u32>) {
    let mut body = structure_body(kind, offset as u32, length);
    if let Some(extra) = extra {
        body.extend(extra.to_le_bytes());
        body[0] += 4;
    }
    let writable = vec![0; body.len()];
    endpoint
        .config_mut()
        .add_capability(crate::pci::spec::capability::VENDOR, &body, &writable);
}

/// Adds the capability by which a driver without access to memory space reaches BAR 0.
fn add_pci_access(endpoint: &mut Endpoint) -> u8 {
    let mut body = structure_body(capability::PCI, 0, 0);
    body.extend([0; 4]);
    body[0] += 4;
    // "PCI configuration access capability": bar, offset, length and data can be written.
    let mut writable = vec![0; body.len()];
    for (index, byte) in writable.iter_mut().enumerate() {
        let at = index as u8 + 2;
        if at == capability::BAR || at >= capability::OFFSET {
            *byte = 0xff;
        }
    }
    endpoint
        .config_mut()
        .add_capability(crate::pci::spec::capability::VENDOR, &body, &writable)
}

/// `struct virtio_pci_cap` after its first two bytes.
fn structure_body(kind: u8, offset: u32, length: u32) -> Vec<u8> {
    let mut body = vec![capability::SIZE, kind, layout::BAR as u8, 0, 0, 0];
    body.extend(offset.to_le_bytes());
    body.extend(length.to_le_bytes());
    body
}

impl<D: VirtioDevice> Function for VirtioPci<D> {
    fn name(&self) -> String {
        self.device.name()
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn endpoint_mut(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    fn config_read(&mut self, _: Ticks, offset: u8, size: u8, _: &mut Effects) -> u32 {
        if self.is_pci_access_data(offset, size)
            && let Some((target, length)) = self.pci_access_target()
        {
            let value = self.structure_read(target, length);
            let data = self.pci_access + capability::EXTRA;
            self.endpoint.config_mut().write(data, length, value as u32);
        }
        self.endpoint.config().read(offset, size)
    }

    fn config_write(
        &mut self,
        now: Ticks,
        offset: u8,
        size: u8,
        value: u32,
        dma: &mut dyn Dma,
        effects: &mut Effects,
    ) {
        let may_master = self.endpoint.config_write(offset, size, value, effects);
        if may_master {
            self.serve_all(now, dma, effects);
        }
        if self.is_pci_access_data(offset, size)
            && let Some((target, length)) = self.pci_access_target()
        {
            let data = self.pci_access + capability::EXTRA;
            let value = self.endpoint.config().read(data, length);
            self.structure_write(now, target, length, value.into(), dma, effects);
        }
    }

    fn bar_read(
        &mut self,
        _now: Ticks,
        bar: usize,
        offset: u64,
        size: u8,
        _effects: &mut Effects,
    ) -> u64 {
        match bar {
            layout::BAR => self.structure_read(offset, size),
            _ => self.endpoint.msix_read(offset, size),
        }
    }

    fn bar_write(
        &mut self,
        now: Ticks,
        bar: usize,
        offset: u64,
        size: u8,
        value: u64,
        dma: &mut dyn Dma,
        effects: &mut Effects,
    ) {
        match bar {
            layout::BAR => self.structure_write(now, offset, size, value, dma, effects),
            _ => self.endpoint.msix_write(offset, size, value, effects),
        }
    }

    fn deadline(&self) -> Option<Ticks> {
        if self.driver_ready() && self.endpoint.bus_master() {
            self.device.deadline()
        } else {
            None
        }
    }

    fn advance(&mut self, now: Ticks, dma: &mut dyn Dma, effects: &mut Effects) {
        self.serve(now, dma, effects, |device, io| device.advance(io));
    }

    fn reset(&mut self) {
        let Self {
            offered: _,
            pci_access: _,
            endpoint,
            registers,
            queues,
            device,
        } = self;
        endpoint.reset();
        *registers = Registers::AT_RESET;
        queues.iter_mut().for_each(Queue::reset);
        device.reset();
    }

    fn save(&self) -> Vec<u8> {
        self.save_state()
    }

    fn load(&mut self, saved: &[u8]) -> Result<(), LoadError> {
        self.load_state(saved)
    }
}
