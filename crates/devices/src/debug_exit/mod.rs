//! A port that ends the run with a status: for guests without ACPI.
//!
//! Writing a value to port 0xF4 powers the machine off; the value is the status. There is no such
//! hardware; machine emulators have had it for as long as there have been kernels to test. Unlike in
//! some of them the status is passed on as it is written.

pub mod spec;
#[cfg(test)]
mod tests;

use crate::saved::{self, Plausible};
use ring3_bus::{Device, Dma, Effect, Effects, LoadError, Region, Space};
use ring3_clock::Ticks;
use serde::{Deserialize, Serialize};

/// The version of the saved form; counts up when that changes.
const SAVED_VERSION: u8 = 1;

/// The debug-exit port.
#[derive(Clone, Debug, Default)]
pub struct DebugExit {
    // state
    state: State,
}

/// Nothing: the machine is gone after the first write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {}

impl Plausible for State {
    fn implausible(&self) -> Option<&'static str> {
        None
    }
}

impl DebugExit {
    /// The port at its usual place.
    pub fn new() -> DebugExit {
        DebugExit::default()
    }
}

impl Device for DebugExit {
    fn name(&self) -> String {
        "debug-exit".into()
    }

    fn regions(&self) -> Vec<Region> {
        vec![Region {
            space: Space::Port,
            base: spec::BASE,
            size: spec::SIZE,
        }]
    }

    /// Reads as zero.
    fn read(
        &mut self,
        _now: Ticks,
        _region: usize,
        _offset: u64,
        _size: u8,
        _effects: &mut Effects,
    ) -> u64 {
        0
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
        effects.push(match offset {
            0 => Effect::PowerOff {
                status: Some(value as u32),
            },
            _ => Effect::Warning(format!(
                "debug-exit: a write of {size} bytes at offset {offset} was dropped; the status \
                 goes to port {:#x}",
                spec::BASE
            )),
        });
    }

    fn reset(&mut self) {
        let Self { state } = self;
        *state = State::default();
    }

    fn save(&self) -> Vec<u8> {
        saved::save(SAVED_VERSION, &self.state)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.state = saved::load("debug-exit", SAVED_VERSION, bytes)?;
        Ok(())
    }
}
