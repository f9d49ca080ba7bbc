//! What every device looks like from outside.

use ring3_arch::{ApicId, GuestPhys, Vector};
use ring3_clock::Ticks;

/// The two address spaces in which a register can stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// I/O ports 0 to 0xFFFF, reached by IN and OUT.
    Port,
    /// Guest-physical memory.
    Memory,
}

/// A range of addresses that a device answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// The space the addresses are in.
    pub space: Space,
    /// The first address.
    pub base: u64,
    /// How many bytes; never zero.
    pub size: u64,
}

/// What a device wants done to the world outside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The device's interrupt line `irq` (a global system interrupt number, which for 0..16 is
    /// also the ISA line at the 8259 pair) now stands at this level.
    Line {
        /// Global system interrupt.
        irq: u8,
        /// True: asserted.
        asserted: bool,
    },
    /// A message-signalled interrupt: a 32-bit write of `data` to `address`.
    Message {
        /// 0xFEEx_xxxx, Intel SDM Vol. 3, "Message Address Register Format".
        address: u64,
        /// Intel SDM Vol. 3, "Message Data Register Format".
        data: u32,
    },
    /// The local APIC of `source` sends an inter-processor interrupt.
    Ipi {
        /// Who sends.
        source: ApicId,
        /// The command as it stands in the ICR: low half, Intel SDM Vol. 3, "Interrupt Command
        /// Register".
        command: u32,
        /// Destination: an 8-bit xAPIC identifier or a 32-bit x2APIC one, see `x2apic`.
        destination: u32,
        /// Whether `destination` is in x2APIC form.
        x2apic: bool,
    },
    /// A local APIC finished a level-triggered interrupt and tells the IOAPICs.
    EoiBroadcast {
        /// The vector that was in service.
        vector: Vector,
    },
    /// Bytes for the outside: a serial port's or a console port's output.
    Output {
        /// Which stream of the device.
        stream: u32,
        /// What it wrote.
        bytes: Vec<u8>,
    },
    /// The guest asked the machine to power off, with this status where it gave one.
    PowerOff {
        /// The value written to a debug-exit port, else `None`.
        status: Option<u32>,
    },
    /// The guest asked for a reset of the whole machine.
    Reset,
    /// The guest did something that a driver for this device would not do; goes to the log.
    Warning(String),
    /// The device's [`Device::deadline`] may have changed.
    DeadlineChanged,
}

/// The effects of one access, in the order in which they happened.
pub type Effects = Vec<Effect>;

/// A guest-physical range that is not (wholly) RAM was used for DMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaError {
    /// Where the range starts.
    pub address: GuestPhys,
    /// Its length in bytes.
    pub length: usize,
}

/// Guest memory as a bus master sees it.
pub trait Dma {
    /// Reads `into.len()` bytes.
    ///
    /// # Errors
    /// If the range is not RAM; `into` is then unspecified.
    fn read(&mut self, address: GuestPhys, into: &mut [u8]) -> Result<(), DmaError>;

    /// Writes `from`.
    ///
    /// # Errors
    /// If the range is not RAM; nothing is written then.
    fn write(&mut self, address: GuestPhys, from: &[u8]) -> Result<(), DmaError>;
}

/// Saved state could not be taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError(pub String);

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LoadError {}

/// A device: registers, state, and effects.
///
/// `region` is the index into [`Device::regions`], `offset` counts from the region's base and is
/// always inside it; `size` is 1, 2, 4 or 8 and `offset + size` does not leave the region. What
/// a guest does can never make a device panic: nonsense reads as a value, writes as nothing, and is
/// reported as [`Effect::Warning`] where a person would want to know.
pub trait Device {
    /// A short name for logs and statistics, unique in a machine: `pit`, `ioapic`, `virtio-blk0`.
    fn name(&self) -> String;

    /// The addresses it answers now. Asked again after every [`Device::write`] that reported
    /// `true` from [`Device::regions_changed`].
    fn regions(&self) -> Vec<Region>;

    /// Whether [`Device::regions`] has changed since this was last asked (PCI BARs do).
    fn regions_changed(&mut self) -> bool {
        false
    }

    /// Answers a read. Bits above `size` are zero.
    fn read(
        &mut self,
        now: Ticks,
        region: usize,
        offset: u64,
        size: u8,
        effects: &mut Effects,
    ) -> u64;

    /// Takes a write.
    #[allow(clippy::too_many_arguments)]
    fn write(
        &mut self,
        now: Ticks,
        region: usize,
        offset: u64,
        size: u8,
        value: u64,
        dma: &mut dyn Dma,
        effects: &mut Effects,
    );

    /// When [`Device::advance`] wants to be called next, if ever.
    fn deadline(&self) -> Option<Ticks> {
        None
    }

    /// Time has come to `now` (at or after the deadline).
    fn advance(&mut self, _now: Ticks, _dma: &mut dyn Dma, _effects: &mut Effects) {}

    /// Back to the state at power-on.
    fn reset(&mut self);

    /// The state that behaviour depends on, for snapshots and digests.
    fn save(&self) -> Vec<u8>;

    /// Takes over what [`Device::save`] gave.
    ///
    /// # Errors
    /// If the bytes are not a state of this device; the device is unchanged then.
    fn load(&mut self, saved: &[u8]) -> Result<(), LoadError>;
}
