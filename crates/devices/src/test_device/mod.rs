//! A device for testing interrupt controllers and instruction emulation: ports that are interrupt
//! lines, and registers that hold what was written to them.
//!
//! A byte written to a line's port sets the line's level: zero lowers it, anything else raises it.
//! There is no such hardware; bare-metal test suites expect it.

pub mod spec;
#[cfg(test)]
mod tests;

use crate::lanes;
use crate::saved::{self, Plausible};
use ring3_bus::{Device, Dma, Effect, Effects, LoadError, Region, Space};
use ring3_clock::Ticks;
use serde::{Deserialize, Serialize};

/// The version of the saved form; counts up when that changes.
const SAVED_VERSION: u8 = 1;

const SCRATCH: usize = 0;
const LINES: usize = 1;
const MEMORY: usize = 2;

/// The test device.
#[derive(Clone, Debug, Default)]
pub struct TestDevice {
    // state
    state: State,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    scratch: [u8; spec::SCRATCH_SIZE as usize],
    /// The level of each line, one bit each.
    lines: u32,
    /// Empty until the first write.
    memory: Vec<u8>,
}

impl Plausible for State {
    fn implausible(&self) -> Option<&'static str> {
        if self.lines >> spec::LINES != 0 {
            return Some("it has lines that do not exist");
        }
        (!self.memory.is_empty() && self.memory.len() as u64 != spec::MEMORY_SIZE)
            .then_some("its memory has the wrong size")
    }
}

impl TestDevice {
    /// A device with all lines low and all scratch zero.
    pub fn new() -> TestDevice {
        TestDevice::default()
    }

    fn set_line(&mut self, line: u64, asserted: bool, effects: &mut Effects) {
        self.state.lines = self.state.lines & !(1 << line) | u32::from(asserted) << line;
        effects.push(Effect::Line {
            irq: line as u8,
            asserted,
        });
    }
}

impl Device for TestDevice {
    fn name(&self) -> String {
        "test-device".into()
    }

    fn regions(&self) -> Vec<Region> {
        [
            (Space::Port, spec::SCRATCH_PORT, spec::SCRATCH_SIZE),
            (Space::Port, spec::LINES_PORT, spec::LINES),
            (Space::Memory, spec::MEMORY, spec::MEMORY_SIZE),
        ]
        .map(|(space, base, size)| Region { space, base, size })
        .to_vec()
    }

    fn read(
        &mut self,
        _now: Ticks,
        region: usize,
        offset: u64,
        size: u8,
        _effects: &mut Effects,
    ) -> u64 {
        lanes::read(offset, size, |at| match region {
            SCRATCH => self.state.scratch[at as usize],
            LINES => (self.state.lines >> at & 1) as u8,
            _ => self.state.memory.get(at as usize).copied().unwrap_or(0),
        })
    }

    fn write(
        &mut self,
        _now: Ticks,
        region: usize,
        offset: u64,
        size: u8,
        value: u64,
        _dma: &mut dyn Dma,
        effects: &mut Effects,
    ) {
        if region == MEMORY && self.state.memory.is_empty() {
            self.state.memory = vec![0; spec::MEMORY_SIZE as usize];
        }
        match region {
            // A wider write than a byte still means one line.
            LINES => self.set_line(offset, value != 0, effects),
            SCRATCH => lanes::write(offset, size, value, |at, byte| {
                self.state.scratch[at as usize] = byte;
            }),
            _ => lanes::write(offset, size, value, |at, byte| {
                self.state.memory[at as usize] = byte;
            }),
        }
    }

    fn reset(&mut self) {
        let Self { state } = self;
        *state = State::default();
    }

    fn save(&self) -> Vec<u8> {
        saved::save(SAVED_VERSION, &self.state)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.state = saved::load("test-device", SAVED_VERSION, bytes)?;
        Ok(())
    }
}
