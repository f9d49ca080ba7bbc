//! The IOAPIC: turns the levels of interrupt lines into interrupt messages.
//!
//! Modelled: an 82093AA with 24 inputs, as version 0x20, that is with the EOI register of its
//! successors, because kernels then need no tricks to clear a remote IRR. Its output is one
//! [`Effect::Message`] for each interrupt: the redirection entry written as an MSI.
//!
//! Not modelled: the APIC bus (arbitration; the delivery status always reads idle) and pin polarity:
//! lines in this machine are asserted or not, however they are wired. That ISA IRQ 0 arrives at input
//! 2 is no business of the IOAPIC but of the board, which says so in the ACPI tables; the machine
//! maps it.
//!
//! Source: Intel 82093AA I/O Advanced Programmable Interrupt Controller (290566).

pub mod spec;
#[cfg(test)]
mod tests;

use crate::saved::{self, Plausible};
use ring3_arch::Vector;
use ring3_bus::{Device, Dma, Effect, Effects, LoadError, Region, Space};
use ring3_clock::Ticks;
use serde::{Deserialize, Serialize};
use spec::{PINS, entry};

/// The version of the saved form; counts up when that changes.
const SAVED_VERSION: u8 = 1;

/// An IOAPIC.
#[derive(Clone, Debug)]
pub struct IoApic {
    // configuration
    base: u64,
    // state
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// IOREGSEL.
    selected: u8,
    /// IOAPICID, in place.
    id: u32,
    /// The levels of the inputs.
    lines: u32,
    redirection: [u64; PINS],
}

impl State {
    fn at_reset() -> State {
        State {
            selected: 0,
            id: 0,
            lines: 0,
            redirection: [entry::MASKED; PINS],
        }
    }
}

impl Plausible for State {
    fn implausible(&self) -> Option<&'static str> {
        let bits = entry::WRITABLE | entry::REMOTE_IRR;
        let remote_at_edge = entry::REMOTE_IRR | entry::LEVEL;
        if self.id & !spec::ID_BITS != 0 || self.lines >> PINS != 0 {
            return Some("a reserved bit is set");
        }
        self.redirection.iter().find_map(|redirection| {
            (redirection & !bits != 0 || redirection & remote_at_edge == entry::REMOTE_IRR)
                .then_some("a redirection entry cannot have this value")
        })
    }
}

impl Default for IoApic {
    fn default() -> IoApic {
        IoApic::new()
    }
}

impl IoApic {
    /// An IOAPIC at the address where a PC has it.
    pub fn new() -> IoApic {
        IoApic {
            base: spec::DEFAULT_BASE,
            state: State::at_reset(),
        }
    }

    /// The line at `pin` now stands at this level. A pin that does not exist is ignored.
    pub fn set_line(&mut self, pin: u8, asserted: bool, effects: &mut Effects) {
        if usize::from(pin) >= PINS {
            return;
        }
        let bit = 1 << pin;
        let rising = asserted && self.state.lines & bit == 0;
        if asserted {
            self.state.lines |= bit;
        } else {
            self.state.lines &= !bit;
        }
        self.sense(usize::from(pin), rising, effects);
    }

    /// Whether the line at `pin` is asserted.
    pub fn line(&self, pin: u8) -> bool {
        usize::from(pin) < PINS && self.state.lines >> pin & 1 != 0
    }

    /// Whether an input can interrupt a processor that accepts no maskable interrupts: an entry in use that
    /// delivers SMI, NMI or INIT.
    pub fn has_unmaskable_entry(&self) -> bool {
        let fixed_or_extint = [0, 1, 7];
        self.state.redirection.iter().any(|redirection| {
            let mode = (redirection & entry::DELIVERY_MODE) >> entry::DELIVERY_MODE_SHIFT;
            redirection & entry::MASKED == 0 && !fixed_or_extint.contains(&mode)
        })
    }

    /// A local APIC broadcast the end of the interrupt `vector`: the remote IRR of every
    /// level-triggered entry with that vector is cleared, and one whose line is still asserted
    /// interrupts again.
    pub fn end_of_interrupt(&mut self, vector: Vector, effects: &mut Effects) {
        for pin in 0..PINS {
            let redirection = &mut self.state.redirection[pin];
            let same = *redirection & entry::VECTOR == u64::from(vector.0);
            if same && *redirection & entry::REMOTE_IRR != 0 {
                *redirection &= !entry::REMOTE_IRR;
                self.sense(pin, false, effects);
            }
        }
    }

    /// Sends what the level or the rising edge of an input asks for.
    fn sense(&mut self, pin: usize, rising: bool, effects: &mut Effects) {
        let redirection = self.state.redirection[pin];
        // An edge at a masked pin is neither delivered nor held pending. A level that still stands
        // when the mask goes is delivered.
        if redirection & entry::MASKED != 0 {
            return;
        }
        let level_triggered = redirection & entry::LEVEL != 0;
        // SMI, NMI, INIT and ExtINT are edges whatever the trigger mode says.
        let is_edge_mode = redirection & entry::DELIVERY_MODE > 1 << entry::DELIVERY_MODE_SHIFT;
        if level_triggered && !is_edge_mode {
            let waits = redirection & entry::REMOTE_IRR != 0;
            if self.state.lines >> pin & 1 == 0 || waits {
                return;
            }
            self.state.redirection[pin] |= entry::REMOTE_IRR;
        } else if !rising {
            return;
        }
        effects.push(message(redirection));
    }

    fn read_register(&self) -> u32 {
        match self.state.selected {
            spec::ID | spec::ARBITRATION => self.state.id,
            spec::VERSION => spec::VERSION_VALUE,
            index => match redirection_half(index) {
                Some((pin, high)) => {
                    let shift = if high { 32 } else { 0 };
                    (self.state.redirection[pin] >> shift) as u32
                }
                None => 0,
            },
        }
    }

    fn write_register(&mut self, value: u32, effects: &mut Effects) {
        match self.state.selected {
            spec::ID => self.state.id = value & spec::ID_BITS,
            index => {
                if let Some((pin, high)) = redirection_half(index) {
                    self.write_redirection(pin, high, value, effects);
                }
            }
        }
    }

    fn write_redirection(&mut self, pin: usize, high: bool, value: u32, effects: &mut Effects) {
        let old = self.state.redirection[pin];
        let low_half = u64::from(u32::MAX);
        let written = if high {
            old & low_half | u64::from(value) << 32
        } else {
            old & !low_half | u64::from(value)
        };
        let mut new = written & entry::WRITABLE | old & entry::REMOTE_IRR;
        // For an edge the datasheet leaves remote IRR open. Here it goes, which is what kernels
        // rely on that know of no EOI register.
        if new & entry::LEVEL == 0 {
            new &= !entry::REMOTE_IRR;
        }
        self.state.redirection[pin] = new;
        self.sense(pin, false, effects);
    }
}

/// Which redirection entry has the register `index`, and whether that is its high half.
fn redirection_half(index: u8) -> Option<(usize, bool)> {
    let half = usize::from(index.checked_sub(spec::REDIRECTION)?);
    (half / 2 < PINS).then_some((half / 2, half % 2 == 1))
}

/// A redirection entry as an MSI. Intel SDM Vol. 3, "Message Signalled Interrupts".
fn message(redirection: u64) -> Effect {
    let destination = redirection >> entry::DESTINATION_SHIFT;
    let logical = u64::from(redirection & entry::LOGICAL != 0);
    let level_triggered = u32::from(redirection & entry::LEVEL != 0);
    let vector_and_mode = redirection & (entry::VECTOR | entry::DELIVERY_MODE);
    Effect::Message {
        address: 0xfee0_0000 | destination << 12 | logical << 2,
        // Bit 14 asserts the level, bit 15 says that it is one.
        data: vector_and_mode as u32 | 1 << 14 | level_triggered << 15,
    }
}

impl Device for IoApic {
    fn name(&self) -> String {
        "ioapic".into()
    }

    fn regions(&self) -> Vec<Region> {
        vec![Region {
            space: Space::Memory,
            base: self.base,
            size: spec::MMIO_SIZE,
        }]
    }

    fn read(
        &mut self,
        _now: Ticks,
        _region: usize,
        offset: u64,
        size: u8,
        _effects: &mut Effects,
    ) -> u64 {
        let register = match offset & !3 {
            spec::SELECT => u32::from(self.state.selected),
            spec::WINDOW => self.read_register(),
            _ => 0,
        };
        let value = u64::from(register) >> (8 * (offset & 3));
        match size {
            0..8 => value & ((1 << (8 * size)) - 1),
            _ => value,
        }
    }

    fn write(
        &mut self,
        _now: Ticks,
        _region: usize,
        offset: u64,
        size: u8,
        value: u64,
        _dma: &mut dyn Dma,
        effects: &mut Effects,
    ) {
        match offset {
            spec::SELECT => self.state.selected = value as u8,
            // The window takes whole registers only.
            spec::WINDOW if size == 4 => self.write_register(value as u32, effects),
            spec::EOI => self.end_of_interrupt(Vector(value as u8), effects),
            _ => effects.push(Effect::Warning(format!(
                "IOAPIC: a write of {size} bytes at offset {offset:#x} was dropped"
            ))),
        }
    }

    fn reset(&mut self) {
        let Self { base: _, state } = self;
        *state = State::at_reset();
    }

    fn save(&self) -> Vec<u8> {
        saved::save(SAVED_VERSION, &self.state)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.state = saved::load("ioapic", SAVED_VERSION, bytes)?;
        Ok(())
    }
}
