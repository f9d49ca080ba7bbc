//! The 8254 interval timer of a PC, with system control port B (0x61).
//!
//! Modelled: three counters with all six modes, binary and BCD, the counter latch and read-back
//! commands; each clock of 1.193182 MHz is accounted for, though none is ever stepped through: a
//! counter is moved forward when somebody looks at it, and [`Device::deadline`] names the next change
//! of counter 0's output, which is ISA IRQ 0. The gates of counters 0 and 1 are tied high, that of
//! counter 2 is bit 0 of port B.
//!
//! Not modelled: sound; NMI sources at port B (no parity or I/O check ever happens). Open in the
//! datasheet and decided here: an unprogrammed counter stands still with OUT low; a count of 1 in
//! modes 2 and 3 counts as 2.
//!
//! Source: Intel 8254 Programmable Interval Timer (231164), "Mode Definitions".

mod counter;
pub mod spec;
#[cfg(test)]
mod tests;

use crate::lanes;
use crate::saved::{self, Plausible};
use counter::{Counter, Edges};
use ring3_bus::{Device, Dma, Effect, Effects, LoadError, Region, Space};
use ring3_clock::Ticks;
use serde::{Deserialize, Serialize};
use spec::{Access, CLOCK_HZ, port_b, read_back};

/// The ISA line that counter 0 drives.
pub const IRQ: u8 = 0;

/// The version of the saved form; counts up when that changes.
const SAVED_VERSION: u8 = 1;

/// An 8254 and the port that gates its speaker counter.
#[derive(Clone, Debug)]
pub struct Pit {
    // state
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    counters: [Counter; 3],
    /// What was written to port B.
    port_b: u8,
    /// The level of IRQ 0 as the world knows it.
    irq: bool,
}

impl State {
    fn at_power_on() -> State {
        State {
            counters: [true, true, false].map(Counter::at_power_on),
            port_b: 0,
            irq: false,
        }
    }
}

impl Plausible for State {
    fn implausible(&self) -> Option<&'static str> {
        if self.port_b & !port_b::WRITABLE != 0 {
            return Some("a read-only bit of port B is stored");
        }
        let gates = self.counters.each_ref().map(Counter::gate);
        if gates != [true, true, self.port_b & port_b::GATE_2 != 0] {
            return Some("a gate is not what the board makes it");
        }
        self.counters.iter().find_map(Counter::implausible)
    }
}

impl Default for Pit {
    fn default() -> Pit {
        Pit::new()
    }
}

impl Pit {
    /// A timer that was never programmed.
    pub fn new() -> Pit {
        Pit {
            state: State::at_power_on(),
        }
    }

    /// Brings every counter to `now` and reports what counter 0 did.
    fn sync(&mut self, now: Ticks, effects: &mut Effects) {
        let clock = now.to_periods(CLOCK_HZ);
        for index in 0..3 {
            let edges = self.state.counters[index].sync(clock);
            self.report(index, edges, effects);
        }
    }

    /// Passes on what happened to counter 0's output. Of several edges that passed unseen one is
    /// reported, as that is what an interrupt controller would have remembered.
    fn report(&mut self, index: usize, edges: Edges, effects: &mut Effects) {
        if index != 0 {
            return;
        }
        let mut tell = |asserted| {
            effects.push(Effect::Line { irq: IRQ, asserted });
            asserted
        };
        let State { counters, irq, .. } = &mut self.state;
        if edges.rose {
            if *irq {
                tell(false);
            }
            *irq = tell(true);
        }
        if *irq != counters[0].out() {
            *irq = tell(!*irq);
        }
    }

    fn read_byte(&mut self, now: Ticks, region: usize, offset: u64) -> u8 {
        match (region, offset) {
            (0, 0..3) => self.state.counters[offset as usize].read(),
            // The control word cannot be read.
            (0, _) => 0,
            _ => {
                let mut value = self.state.port_b;
                if now.to_periods(CLOCK_HZ) / spec::REFRESH_CLOCKS % 2 == 1 {
                    value |= port_b::REFRESH;
                }
                if self.state.counters[2].out() {
                    value |= port_b::OUT_2;
                }
                value
            }
        }
    }

    fn write_byte(&mut self, region: usize, offset: u64, value: u8, effects: &mut Effects) {
        match (region, offset) {
            (0, 0..3) => {
                let index = offset as usize;
                let edges = self.state.counters[index].write_count(value);
                self.report(index, edges, effects);
            }
            (0, _) => self.write_control(value, effects),
            _ => {
                self.state.port_b = value & port_b::WRITABLE;
                self.state.counters[2].set_gate(value & port_b::GATE_2 != 0);
            }
        }
    }

    /// "Control Word Format", "Counter Latch Command", "Read-Back Command".
    fn write_control(&mut self, value: u8, effects: &mut Effects) {
        let index = usize::from(value >> 6);
        if index == 3 {
            for (index, counter) in self.state.counters.iter_mut().enumerate() {
                if value & 2 << index == 0 {
                    continue;
                }
                if value & read_back::NO_COUNT == 0 {
                    counter.latch_count();
                }
                if value & read_back::NO_STATUS == 0 {
                    counter.latch_status();
                }
            }
            return;
        }
        let counter = &mut self.state.counters[index];
        match Access::from_bits(value >> 4) {
            None => counter.latch_count(),
            Some(access) => {
                let edges = counter.write_control(access, value >> 1 & 7, value & 1 != 0);
                self.report(index, edges, effects);
            }
        }
    }

    /// Says so if the deadline is no longer `before`.
    fn announce(&self, before: Option<Ticks>, effects: &mut Effects) {
        if self.deadline() != before {
            effects.push(Effect::DeadlineChanged);
        }
    }
}

impl Device for Pit {
    fn name(&self) -> String {
        "pit".into()
    }

    fn regions(&self) -> Vec<Region> {
        [(spec::BASE, 4), (spec::PORT_B, 1)]
            .map(|(base, size)| Region {
                space: Space::Port,
                base,
                size,
            })
            .to_vec()
    }

    fn read(
        &mut self,
        now: Ticks,
        region: usize,
        offset: u64,
        size: u8,
        effects: &mut Effects,
    ) -> u64 {
        let before = self.deadline();
        self.sync(now, effects);
        let value = lanes::read(offset, size, |offset| self.read_byte(now, region, offset));
        self.announce(before, effects);
        value
    }

    fn write(
        &mut self,
        now: Ticks,
        region: usize,
        offset: u64,
        size: u8,
        value: u64,
        _dma: &mut dyn Dma,
        effects: &mut Effects,
    ) {
        let before = self.deadline();
        self.sync(now, effects);
        lanes::write(offset, size, value, |offset, byte| {
            self.write_byte(region, offset, byte, effects);
        });
        self.announce(before, effects);
    }

    fn deadline(&self) -> Option<Ticks> {
        let clock = self.state.counters[0].next_change()?;
        Some(Ticks::from_periods(clock, CLOCK_HZ))
    }

    fn advance(&mut self, now: Ticks, _dma: &mut dyn Dma, effects: &mut Effects) {
        self.sync(now, effects);
    }

    fn reset(&mut self) {
        let Self { state } = self;
        *state = State::at_power_on();
    }

    fn save(&self) -> Vec<u8> {
        saved::save(SAVED_VERSION, &self.state)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.state = saved::load("pit", SAVED_VERSION, bytes)?;
        Ok(())
    }
}
