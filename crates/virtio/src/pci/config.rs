//! The 256 bytes of one function's configuration space.
//!
//! PCI Local Bus Specification 3.0, "Configuration Space Decoding" and "Address Maps". Modelled:
//! the type 00h header, 32- and 64-bit memory BARs, a capability list. Not modelled: I/O BARs, the
//! expansion ROM, error reporting (no function here signals parity or system errors).

use super::spec::{bar, command, register, status};
use crate::saved::check;
use ring3_bus::LoadError;

/// Bytes in a function's configuration space.
pub const SIZE: usize = 256;

/// Who a function says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Vendor ID.
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
    /// Revision ID.
    pub revision: u8,
    /// Base class, sub-class, programming interface.
    pub class: [u8; 3],
    /// Subsystem vendor ID.
    pub subsystem_vendor: u16,
    /// Subsystem ID.
    pub subsystem: u16,
    /// Whether the function has an INTA pin.
    pub interrupt_pin: bool,
}

/// How wide a memory BAR is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarWidth {
    /// Anywhere below 4 GiB.
    Bits32,
    /// Anywhere; takes two registers.
    Bits64,
}

#[derive(Clone, Copy, Debug)]
struct Bar {
    width: BarWidth,
    size: u64,
}

/// One function's configuration space.
#[derive(Clone, Debug)]
pub struct ConfigSpace {
    // configuration
    writable: [u8; SIZE],
    reset: [u8; SIZE],
    bars: [Option<Bar>; bar::COUNT],
    last_capability: Option<u8>,
    capabilities_end: usize,
    // state
    bytes: [u8; SIZE],
}

impl ConfigSpace {
    /// A type 00h header without BARs and capabilities.
    pub fn new(identity: &Identity) -> ConfigSpace {
        let mut space = ConfigSpace {
            writable: [0; SIZE],
            reset: [0; SIZE],
            bars: [None; bar::COUNT],
            last_capability: None,
            capabilities_end: usize::from(register::HEADER_END),
            bytes: [0; SIZE],
        };
        space.fix(register::VENDOR, &identity.vendor.to_le_bytes());
        space.fix(register::DEVICE, &identity.device.to_le_bytes());
        space.fix(register::REVISION, &[identity.revision]);
        let [base, sub, interface] = identity.class;
        space.fix(register::CLASS, &[interface, sub, base]);
        space.fix(
            register::SUBSYSTEM_VENDOR,
            &identity.subsystem_vendor.to_le_bytes(),
        );
        space.fix(register::SUBSYSTEM, &identity.subsystem.to_le_bytes());
        space.fix(register::INTERRUPT_PIN, &[u8::from(identity.interrupt_pin)]);
        // What firmware would have left: the function answers at the BARs it was given, and may
        // not yet master the bus.
        space.fix(register::COMMAND, &command::MEMORY_SPACE.to_le_bytes());
        space.allow(register::COMMAND, &command::WRITABLE.to_le_bytes());
        space.allow(register::CACHE_LINE_SIZE, &[0xff]);
        space.allow(register::LATENCY_TIMER, &[0xff]);
        space.allow(register::INTERRUPT_LINE, &[0xff]);
        space
    }

    /// Sets bytes as they are now and after every reset.
    fn fix(&mut self, offset: u8, bytes: &[u8]) {
        let at = usize::from(offset);
        self.reset[at..at + bytes.len()].copy_from_slice(bytes);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Lets software write the bits set in `mask`.
    fn allow(&mut self, offset: u8, mask: &[u8]) {
        let at = usize::from(offset);
        self.writable[at..at + mask.len()].copy_from_slice(mask);
    }

    /// Adds a memory BAR of `size` bytes; it stands at address zero until
    /// [`ConfigSpace::place_bar`].
    ///
    /// # Panics
    /// If the register is taken or `size` is not a power of two of at least 4096.
    pub fn add_bar(&mut self, index: usize, width: BarWidth, size: u64) {
        assert!(
            size.is_power_of_two() && size >= bar::SIZE_MIN,
            "BAR{index}: {size} bytes is no size for a BAR"
        );
        assert!(
            self.bars[index].is_none() && (index == 0 || !self.is_lower_half(index - 1)),
            "BAR{index} exists already"
        );
        self.bars[index] = Some(Bar { width, size });
        let offset = bar_register(index);
        // "Address Maps": the bits below the size are hardwired to zero, except for the type.
        let address_bits = !(size - 1);
        match width {
            BarWidth::Bits32 => {
                assert!(size <= 1 << 31, "BAR{index}: too large for 32 bits");
                self.allow(offset, &(address_bits as u32).to_le_bytes());
            }
            BarWidth::Bits64 => {
                assert!(
                    index + 1 < bar::COUNT && self.bars[index + 1].is_none(),
                    "BAR{index}: no register for the upper half"
                );
                self.fix(offset, &bar::MEMORY_64.to_le_bytes());
                self.allow(offset, &address_bits.to_le_bytes());
            }
        }
    }

    fn is_lower_half(&self, index: usize) -> bool {
        matches!(
            self.bars[index],
            Some(Bar {
                width: BarWidth::Bits64,
                ..
            })
        )
    }

    /// Gives a BAR its address, now and after every reset, as firmware would.
    ///
    /// # Panics
    /// If there is no such BAR, or the address is not a multiple of its size or too high for it.
    pub fn place_bar(&mut self, index: usize, address: u64) {
        let bar = self.bars[index].expect("a BAR that exists");
        assert!(
            address & (bar.size - 1) == 0,
            "BAR{index}: {address:#x} is not aligned"
        );
        let offset = bar_register(index);
        match bar.width {
            BarWidth::Bits32 => {
                let address = u32::try_from(address).expect("a 32-bit BAR below 4 GiB");
                self.fix(offset, &address.to_le_bytes());
            }
            BarWidth::Bits64 => {
                let value = address | u64::from(bar::MEMORY_64);
                self.fix(offset, &value.to_le_bytes());
            }
        }
    }

    /// Sets the interrupt line register as firmware would.
    pub fn set_interrupt_line(&mut self, line: u8) {
        self.fix(register::INTERRUPT_LINE, &[line]);
    }

    /// Appends a capability: `body` is what follows the identifier and the next pointer, and
    /// `writable` which of its bits software can write. Returns its offset.
    ///
    /// # Panics
    /// If the space is full.
    pub fn add_capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> u8 {
        assert_eq!(body.len(), writable.len());
        // "Capabilities List": capabilities are doubleword aligned.
        let offset = self.capabilities_end;
        let end = (offset + 2 + body.len()).next_multiple_of(4);
        assert!(end <= SIZE, "no room for capability {id:#x}");
        self.capabilities_end = end;
        let offset = offset as u8;
        self.fix(offset, &[id, 0]);
        self.fix(offset + 2, body);
        self.allow(offset + 2, writable);
        match self.last_capability {
            Some(last) => self.fix(last + 1, &[offset]),
            None => {
                self.fix(register::CAPABILITIES, &[offset]);
                let status = self.read16(register::STATUS) | status::CAPABILITIES_LIST;
                self.fix(register::STATUS, &status.to_le_bytes());
            }
        }
        self.last_capability = Some(offset);
        offset
    }

    /// Reads `size` (1, 2 or 4) bytes; past the end reads as ones.
    pub fn read(&self, offset: u8, size: u8) -> u32 {
        let mut value = [0; 4];
        for (index, byte) in value.iter_mut().take(usize::from(size)).enumerate() {
            *byte = *self.bytes.get(usize::from(offset) + index).unwrap_or(&0xff);
        }
        u32::from_le_bytes(value)
    }

    /// Writes the writable ones of the bits of `size` (1, 2 or 4) bytes.
    pub fn write(&mut self, offset: u8, size: u8, value: u32) {
        for (index, byte) in value
            .to_le_bytes()
            .into_iter()
            .take(usize::from(size))
            .enumerate()
        {
            let at = usize::from(offset) + index;
            if at < SIZE {
                let mask = self.writable[at];
                self.bytes[at] = (self.bytes[at] & !mask) | (byte & mask);
            }
        }
    }

    /// Reads a 16-bit field.
    pub fn read16(&self, offset: u8) -> u16 {
        self.read(offset, 2) as u16
    }

    /// Reads a 32-bit field.
    pub fn read32(&self, offset: u8) -> u32 {
        self.read(offset, 4)
    }

    /// The command register.
    pub fn command(&self) -> u16 {
        self.read16(register::COMMAND)
    }

    /// Shows or clears the interrupt status bit.
    pub fn set_interrupt_status(&mut self, pending: bool) {
        let at = usize::from(register::STATUS);
        let bit = status::INTERRUPT as u8;
        self.bytes[at] = (self.bytes[at] & !bit) | if pending { bit } else { 0 };
    }

    /// Index and size of every BAR.
    pub fn bars(&self) -> impl Iterator<Item = (usize, u64)> {
        self.bars
            .iter()
            .enumerate()
            .filter_map(|(index, bar)| Some((index, bar.as_ref()?.size)))
    }

    /// Where a BAR stands, whether it is decoded or not.
    pub fn bar_address(&self, index: usize) -> Option<u64> {
        let bar = self.bars.get(index)?.as_ref()?;
        let low = u64::from(self.read32(bar_register(index)));
        let address = match bar.width {
            BarWidth::Bits32 => low,
            BarWidth::Bits64 => low | u64::from(self.read32(bar_register(index + 1))) << 32,
        };
        Some(address & !(bar.size - 1))
    }

    /// Back to what firmware left.
    pub fn reset(&mut self) {
        self.bytes = self.reset;
    }

    /// The bytes as they stand.
    pub fn save(&self) -> Vec<u8> {
        self.bytes.to_vec()
    }

    /// Whether [`ConfigSpace::restore`] can take `bytes`: they may differ from those at reset only
    /// in what software can write, and in the interrupt status bit.
    ///
    /// # Errors
    /// If they cannot be this function's.
    pub fn validate(&self, what: &str, bytes: &[u8]) -> Result<(), LoadError> {
        check(
            what,
            bytes.len() == SIZE,
            "configuration space of a wrong size",
        )?;
        let fixed_alike = bytes.iter().enumerate().all(|(at, byte)| {
            let mut free = self.writable[at];
            if at == usize::from(register::STATUS) {
                free |= status::INTERRUPT as u8;
            }
            (byte ^ self.reset[at]) & !free == 0
        });
        check(
            what,
            fixed_alike,
            "the saved configuration space is that of another function",
        )
    }

    /// Takes over bytes that [`ConfigSpace::validate`] accepted.
    ///
    /// # Panics
    /// If there are not 256 of them.
    pub fn restore(&mut self, bytes: &[u8]) {
        self.bytes.copy_from_slice(bytes);
    }
}

/// The offset of a BAR's register.
fn bar_register(index: usize) -> u8 {
    register::BAR0 + 4 * index as u8
}
