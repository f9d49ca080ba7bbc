//! The firmware configuration interface of QEMU's machines: a selector and a data port through which a
//! guest without firmware learns how much memory and how many processors there are, and its command
//! line.
//!
//! Kernels for tests look here. Linux does not, as the ACPI tables do not mention it.
//!
//! Not modelled: access by DMA (the revision says so), named files (the directory is empty), writing.

pub mod spec;
#[cfg(test)]
mod tests;

use crate::lanes;
use crate::saved::{self, Plausible};
use ring3_bus::{Device, Dma, Effects, LoadError, Region, Space};
use ring3_clock::Ticks;
use serde::{Deserialize, Serialize};

/// The version of the saved form; counts up when that changes.
const SAVED_VERSION: u8 = 1;

/// What a guest can learn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Bytes of RAM.
    pub memory_bytes: u64,
    /// Logical processors.
    pub processors: u16,
    /// The kernel's command line, without a zero at its end.
    pub command_line: Vec<u8>,
}

/// The interface.
#[derive(Clone, Debug)]
pub struct FwCfg {
    // configuration
    facts: Facts,
    // state
    state: State,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// The item that is read.
    selector: u16,
    /// How many of its bytes have been read.
    position: u32,
}

impl Plausible for State {
    fn implausible(&self) -> Option<&'static str> {
        None
    }
}

impl FwCfg {
    /// An interface that tells `facts`.
    pub fn new(facts: Facts) -> FwCfg {
        FwCfg {
            facts,
            state: State::default(),
        }
    }

    /// Byte `position` of the selected item; zero behind its end, and for items that do not exist.
    fn byte(&self, position: u32) -> u8 {
        let at = |bytes: &[u8]| bytes.get(position as usize).copied().unwrap_or(0);
        let facts = &self.facts;
        let selector = self.state.selector & !spec::WRITE;
        match selector {
            spec::key::SIGNATURE => at(spec::SIGNATURE),
            spec::key::REVISION => at(&spec::REVISION.to_le_bytes()),
            spec::key::MEMORY_SIZE => at(&facts.memory_bytes.to_le_bytes()),
            spec::key::NO_GRAPHICS => at(&1u16.to_le_bytes()),
            spec::key::PROCESSORS | spec::key::PROCESSORS_MAX => {
                at(&facts.processors.to_le_bytes())
            }
            spec::key::COMMAND_LINE_SIZE => {
                at(&(facts.command_line.len() as u32 + 1).to_le_bytes())
            }
            spec::key::COMMAND_LINE => at(&facts.command_line),
            _ => 0,
        }
    }
}

impl Device for FwCfg {
    fn name(&self) -> String {
        "fw-cfg".into()
    }

    fn regions(&self) -> Vec<Region> {
        vec![Region {
            space: Space::Port,
            base: spec::BASE,
            size: spec::SIZE,
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
        lanes::read(offset, size, |at| {
            if at != spec::DATA {
                return 0;
            }
            let byte = self.byte(self.state.position);
            self.state.position = self.state.position.saturating_add(1);
            byte
        })
    }

    fn write(
        &mut self,
        _now: Ticks,
        _region: usize,
        offset: u64,
        size: u8,
        value: u64,
        _dma: &mut dyn Dma,
        _effects: &mut Effects,
    ) {
        // The selector is a word, although its upper half shares its port with the data register.
        if offset == 0 && size == 2 {
            self.state = State {
                selector: value as u16,
                position: 0,
            };
        }
    }

    fn reset(&mut self) {
        let Self { facts: _, state } = self;
        *state = State::default();
    }

    fn save(&self) -> Vec<u8> {
        saved::save(SAVED_VERSION, &self.state)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.state = saved::load("fw-cfg", SAVED_VERSION, bytes)?;
        Ok(())
    }
}
