//! The ports of the power-on self test: 0x80, which shows a progress code, and 0xED, which swallows
//! what is written to pass the time.
//!
//! Not modelled: how long such an access takes on an ISA bus (about a microsecond).

pub mod spec;
#[cfg(test)]
mod tests;

use crate::saved::{self, Plausible};
use ring3_bus::{Device, Dma, Effects, LoadError, Region, Space};
use ring3_clock::Ticks;
use serde::{Deserialize, Serialize};

/// The version of the saved form; counts up when that changes.
const SAVED_VERSION: u8 = 1;

/// The ports of the power-on self test.
#[derive(Clone, Debug, Default)]
pub struct Post {
    // state
    state: State,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// What was written to port 0x80 last.
    code: u8,
}

impl Plausible for State {
    fn implausible(&self) -> Option<&'static str> {
        None
    }
}

impl Post {
    /// The ports, showing code 0.
    pub fn new() -> Post {
        Post::default()
    }

    /// The progress code that was written last.
    pub fn code(&self) -> u8 {
        self.state.code
    }
}

/// The index of port 0x80 among the regions.
const CODE_REGION: usize = 0;

impl Device for Post {
    fn name(&self) -> String {
        "post".into()
    }

    fn regions(&self) -> Vec<Region> {
        [spec::CODE_PORT, spec::DELAY_PORT]
            .map(|base| Region {
                space: Space::Port,
                base,
                size: 1,
            })
            .to_vec()
    }

    fn read(
        &mut self,
        _now: Ticks,
        region: usize,
        _offset: u64,
        _size: u8,
        _effects: &mut Effects,
    ) -> u64 {
        match region {
            CODE_REGION => self.state.code.into(),
            _ => 0xff,
        }
    }

    fn write(
        &mut self,
        _now: Ticks,
        region: usize,
        _offset: u64,
        _size: u8,
        value: u64,
        _dma: &mut dyn Dma,
        _effects: &mut Effects,
    ) {
        if region == CODE_REGION {
            self.state.code = value as u8;
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
        self.state = saved::load("post", SAVED_VERSION, bytes)?;
        Ok(())
    }
}
