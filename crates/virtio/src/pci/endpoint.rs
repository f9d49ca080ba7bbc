//! What every function has in common: configuration space, MSI-X, and the INTA fallback.
//!
//! PCI Local Bus Specification 3.0, "MSI-X Capability and Table Structures" and "Interrupt
//! Disable/Status" bits of "Device Control"/"Device Status". A pending bit is cleared when its
//! message is sent; functions here never retract an interrupt that waits behind a mask.

use super::config::{BarWidth, ConfigSpace, Identity};
use super::spec::{capability, command, msix, register};
use crate::saved::check;
use ring3_bus::{Effect, Effects, LoadError};
use serde::{Deserialize, Serialize};

/// One entry of the MSI-X table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    address: u64,
    data: u32,
    /// Vector control; only bit 0 is kept.
    masked: bool,
    pending: bool,
}

impl Entry {
    /// "Vector Control": the mask bit is set after reset.
    const AT_RESET: Entry = Entry {
        address: 0,
        data: 0,
        masked: true,
        pending: false,
    };
}

/// Where the MSI-X structures are.
#[derive(Clone, Copy, Debug)]
struct Msix {
    capability: u8,
    bar: usize,
}

/// Configuration space and interrupts of one function.
#[derive(Clone, Debug)]
pub struct Endpoint {
    // configuration
    msix: Option<Msix>,
    // state
    config: ConfigSpace,
    entries: Vec<Entry>,
    intx_pending: bool,
}

/// The saved form of an [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointState {
    config: Vec<u8>,
    entries: Vec<Entry>,
    intx_pending: bool,
}

impl Endpoint {
    /// An endpoint without BARs and capabilities.
    pub fn new(identity: &Identity) -> Endpoint {
        Endpoint {
            msix: None,
            config: ConfigSpace::new(identity),
            entries: Vec::new(),
            intx_pending: false,
        }
    }

    /// Adds MSI-X with `vectors` vectors; the table and the pending bits get the BAR `index` for
    /// themselves.
    ///
    /// # Panics
    /// If there are no or more than [`msix::VECTORS_MAX`] vectors, or MSI-X is there already.
    pub fn add_msix(&mut self, index: usize, vectors: u16) {
        assert!(
            (1..=msix::VECTORS_MAX).contains(&vectors) && self.msix.is_none(),
            "{vectors} MSI-X vectors"
        );
        self.config.add_bar(index, BarWidth::Bits32, msix::BAR_SIZE);
        // "Message Control": the table size is encoded as N-1. "Table Offset/Table BIR", "PBA
        // Offset/PBA BIR": the low three bits name the BAR.
        let mut body = [0; msix::BODY_SIZE];
        body[0..2].copy_from_slice(&(vectors - 1).to_le_bytes());
        body[2..6].copy_from_slice(&(index as u32).to_le_bytes());
        body[6..10].copy_from_slice(&(msix::PENDING_OFFSET as u32 | index as u32).to_le_bytes());
        let mut writable = [0; msix::BODY_SIZE];
        writable[0..2].copy_from_slice(&msix::CONTROL_WRITABLE.to_le_bytes());
        let capability = self
            .config
            .add_capability(capability::MSIX, &body, &writable);
        self.msix = Some(Msix {
            capability,
            bar: index,
        });
        self.entries = vec![Entry::AT_RESET; usize::from(vectors)];
    }

    /// The configuration space.
    pub fn config(&self) -> &ConfigSpace {
        &self.config
    }

    /// The configuration space, to be laid out.
    pub fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    /// How many MSI-X vectors there are.
    pub fn vectors(&self) -> u16 {
        self.entries.len() as u16
    }

    /// The BAR that holds the MSI-X structures.
    pub fn msix_bar(&self) -> Option<usize> {
        Some(self.msix?.bar)
    }

    /// Whether the function may master the bus.
    pub fn bus_master(&self) -> bool {
        self.config.command() & command::BUS_MASTER != 0
    }

    fn msix_control(&self) -> u16 {
        self.msix.map_or(0, |msix| {
            self.config.read16(msix.capability + msix::CONTROL)
        })
    }

    /// Whether the driver chose MSI-X; INTA is not used then.
    pub fn msix_enabled(&self) -> bool {
        self.msix_control() & msix::ENABLE != 0
    }

    /// A write to configuration space. Returns whether bus mastering has just been allowed.
    pub fn config_write(
        &mut self,
        offset: u8,
        size: u8,
        value: u32,
        effects: &mut Effects,
    ) -> bool {
        let master_before = self.bus_master();
        self.config.write(offset, size, value);
        self.show_interrupt_status();
        self.send_pending(effects);
        self.bus_master() && !master_before
    }

    /// The function wants `vector` sent. A vector that does not exist is nothing: the driver chose
    /// to do without.
    pub fn signal(&mut self, vector: u16, effects: &mut Effects) {
        if !self.msix_enabled() {
            return;
        }
        if let Some(entry) = self.entries.get_mut(usize::from(vector)) {
            entry.pending = true;
            self.send_pending(effects);
        }
    }

    /// Sends what no mask holds back. "Per-vector Masking and Function Masking": a masked vector
    /// sets its pending bit; when it is unmasked, the message is sent and the bit cleared.
    fn send_pending(&mut self, effects: &mut Effects) {
        let control = self.msix_control();
        if control & msix::ENABLE == 0 || control & msix::FUNCTION_MASK != 0 || !self.bus_master() {
            return;
        }
        for entry in &mut self.entries {
            if entry.pending && !entry.masked {
                entry.pending = false;
                effects.push(Effect::Message {
                    address: entry.address,
                    data: entry.data,
                });
            }
        }
    }

    /// Whether an INTx interrupt waits; see [`Endpoint::interrupt_line`].
    pub fn set_intx(&mut self, pending: bool) {
        self.intx_pending = pending;
        self.show_interrupt_status();
    }

    /// The function was reset by its driver: whatever waits to interrupt is forgotten.
    pub fn drop_interrupts(&mut self) {
        self.set_intx(false);
        for entry in &mut self.entries {
            entry.pending = false;
        }
    }

    /// "Device Status": the bit reflects the INTx state before INTERRUPT_DISABLE.
    fn show_interrupt_status(&mut self) {
        let shown = self.intx_pending && !self.msix_enabled();
        self.config.set_interrupt_status(shown);
    }

    /// The level of INTA. "Device Control": INTERRUPT_DISABLE keeps it low; "MSI-X Capability":
    /// while MSI-X is enabled the function is prohibited from using INTx.
    pub fn interrupt_line(&self) -> bool {
        self.intx_pending
            && !self.msix_enabled()
            && self.config.command() & command::INTERRUPT_DISABLE == 0
            && self.config.read(register::INTERRUPT_PIN, 1) != 0
    }

    /// Base and size of every BAR that is decoded now.
    pub fn decoded(&self) -> Vec<(usize, u64, u64)> {
        if self.config.command() & command::MEMORY_SPACE == 0 {
            return Vec::new();
        }
        self.config
            .bars()
            .filter_map(|(index, size)| Some((index, self.config.bar_address(index)?, size)))
            .collect()
    }

    /// Reads the MSI-X structures.
    pub fn msix_read(&self, offset: u64, size: u8) -> u64 {
        // "MSI-X Table": software must use aligned doubleword or quadword accesses; for others
        // the result is undefined. Here they read zero.
        if !aligned(offset, size) {
            return 0;
        }
        let low = u64::from(self.msix_read32(offset));
        match size {
            8 => low | u64::from(self.msix_read32(offset + 4)) << 32,
            _ => low,
        }
    }

    fn msix_read32(&self, offset: u64) -> u32 {
        if offset >= msix::PENDING_OFFSET {
            let first = (offset - msix::PENDING_OFFSET) * 8;
            return (0..32).fold(0, |bits, bit| {
                let pending = self
                    .entries
                    .get((first + bit) as usize)
                    .is_some_and(|entry| entry.pending);
                bits | u32::from(pending) << bit
            });
        }
        let Some(entry) = self.entries.get((offset / msix::ENTRY_SIZE) as usize) else {
            return 0;
        };
        match offset % msix::ENTRY_SIZE {
            0 => entry.address as u32,
            4 => (entry.address >> 32) as u32,
            8 => entry.data,
            _ => u32::from(entry.masked),
        }
    }

    /// Writes the MSI-X table; the pending bits are read-only.
    pub fn msix_write(&mut self, offset: u64, size: u8, value: u64, effects: &mut Effects) {
        if !aligned(offset, size) {
            effects.push(Effect::Warning(format!(
                "pci: {size}-byte write at {offset:#x} of an MSI-X table, which takes aligned \
                 doublewords and quadwords"
            )));
            return;
        }
        self.msix_write32(offset, value as u32);
        if size == 8 {
            self.msix_write32(offset + 4, (value >> 32) as u32);
        }
        self.send_pending(effects);
    }

    fn msix_write32(&mut self, offset: u64, value: u32) {
        let index = (offset / msix::ENTRY_SIZE) as usize;
        if offset >= msix::PENDING_OFFSET {
            return;
        }
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        match offset % msix::ENTRY_SIZE {
            // "Message Address": the low two bits must be zero for DWORD alignment.
            0 => entry.address = (entry.address & !0xffff_ffff) | u64::from(value & !3),
            4 => entry.address = (entry.address & 0xffff_ffff) | u64::from(value) << 32,
            8 => entry.data = value,
            _ => entry.masked = value & msix::MASKED != 0,
        }
    }

    /// Back to power-on, as firmware leaves it.
    pub fn reset(&mut self) {
        let Self {
            msix: _,
            config,
            entries,
            intx_pending,
        } = self;
        config.reset();
        entries.fill(Entry::AT_RESET);
        *intx_pending = false;
    }

    /// The state, for a function's own saved form.
    pub fn save(&self) -> EndpointState {
        EndpointState {
            config: self.config.save(),
            entries: self.entries.clone(),
            intx_pending: self.intx_pending,
        }
    }

    /// Whether [`Endpoint::restore`] can take `state`.
    ///
    /// # Errors
    /// If it is not a state of this endpoint.
    pub fn validate(&self, what: &str, state: &EndpointState) -> Result<(), LoadError> {
        self.config.validate(what, &state.config)?;
        check(
            what,
            state.entries.len() == self.entries.len(),
            "the saved state has another number of MSI-X vectors",
        )?;
        check(
            what,
            state.entries.iter().all(|entry| entry.address & 3 == 0),
            "an MSI-X message address is not aligned",
        )
    }

    /// Takes over a state that [`Endpoint::validate`] accepted.
    pub fn restore(&mut self, state: EndpointState) {
        self.config.restore(&state.config);
        self.entries = state.entries;
        self.set_intx(state.intx_pending);
    }
}

/// Whether an access to the MSI-X structures is one that software may make.
fn aligned(offset: u64, size: u8) -> bool {
    matches!(size, 4 | 8) && offset.is_multiple_of(u64::from(size)) && offset < msix::BAR_SIZE
}
