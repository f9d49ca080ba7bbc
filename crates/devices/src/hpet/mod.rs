//! The high-precision event timer: one 64-bit counter of 100 MHz and three comparators.
//!
//! Modelled: one-shot and periodic comparators, each in 32 or 64 bits, level- and edge-triggered
//! interrupts, routing to inputs 20 to 23 of the IOAPIC, legacy replacement. Not modelled: delivery as
//! front-side-bus messages.
//!
//! An edge-triggered interrupt raises its line and leaves it up until the next one (which lowers it
//! first) or until the comparator is turned off. Hardware pulses the line; the edge is the same, and
//! an 8259 that wants the line to stay up until it is acknowledged is content.
//!
//! In legacy replacement mode comparator 0 is reported at line 0 and comparator 1 at line 8, as the
//! PIT and the clock would be; the machine must then disconnect those two, see
//! [`Hpet::legacy_replacement`] and [`LEGACY_LINES`].
//!
//! A 32-bit one-shot comparator matches again each time the low half of the counter comes around to
//! it, which is how this reads the specification's "another interrupt when the main counter wraps
//! around".
//!
//! A periodic comparator whose period is below a microsecond is not called for every period: the
//! edges of several become one, which is what an interrupt controller would make of them.
//!
//! Source: IA-PC HPET (High Precision Event Timers) Specification, revision 1.0a.

pub mod spec;
#[cfg(test)]
mod tests;

use crate::saved::{self, Plausible};
use ring3_bus::{Device, Dma, Effect, Effects, LoadError, Region, Space};
use ring3_clock::{TSC_HZ, Ticks};
use serde::{Deserialize, Serialize};
use spec::{TIMERS, configuration, timer};

/// How many ticks one period of the counter's clock is.
const TICKS_PER_CLOCK: u64 = TSC_HZ / spec::CLOCK_HZ;

const _: () = assert!(TSC_HZ.is_multiple_of(spec::CLOCK_HZ));

/// The shortest time, in clocks, after which a periodic comparator is called for again.
const CLOCKS_BETWEEN_CALLS_MIN: u64 = spec::CLOCK_HZ / 1_000_000;

/// The lines that comparators 0 and 1 drive in legacy replacement mode.
pub const LEGACY_LINES: [u8; 2] = [0, 8];

/// The version of the saved form; counts up when that changes.
const SAVED_VERSION: u8 = 1;

/// A high-precision event timer block.
#[derive(Clone, Debug)]
pub struct Hpet {
    // configuration
    base: u64,
    // state
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// General configuration.
    configuration: u64,
    /// General interrupt status: which level-triggered comparators have matched.
    status: u32,
    /// The counter at `since`; every match up to there has been dealt with.
    counter: u64,
    since: Ticks,
    timers: [Timer; TIMERS],
    /// Which lines the world knows to be asserted.
    lines: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Timer {
    configuration: u32,
    comparator: u64,
    /// What a periodic comparator advances by.
    period: u64,
    /// Edge-triggered: its line has been raised.
    raised: bool,
}

impl Timer {
    const fn at_reset() -> Timer {
        Timer {
            // Routed to input 0, which is no route that exists.
            configuration: 0,
            comparator: u64::MAX,
            period: 0,
            raised: false,
        }
    }

    fn has(&self, bit: u32) -> bool {
        self.configuration & bit != 0
    }

    fn route(&self) -> u8 {
        ((self.configuration & timer::ROUTE) >> timer::ROUTE_SHIFT) as u8
    }

    /// The bits of the counter that it looks at.
    fn mask(&self) -> u64 {
        if self.has(timer::USE_32_BITS) {
            u64::from(u32::MAX)
        } else {
            u64::MAX
        }
    }

    /// After how many clocks from `counter` on the comparator matches; `None` if that is 2^64.
    fn clocks_to_match(&self, counter: u64) -> Option<u64> {
        match self.comparator.wrapping_sub(counter) & self.mask() {
            0 => self.mask().checked_add(1),
            clocks => Some(clocks),
        }
    }

    /// The counter went from `counter` on by `clocks`. Returns whether the comparator matched.
    fn run(&mut self, counter: u64, clocks: u64) -> bool {
        let Some(first) = self
            .clocks_to_match(counter)
            .filter(|&first| first <= clocks)
        else {
            return false;
        };
        let period = self.period & self.mask();
        if self.has(timer::PERIODIC) && period > 0 {
            let matches = 1 + (clocks - first) / period;
            let advance = matches.wrapping_mul(period);
            self.comparator = self.comparator.wrapping_add(advance) & self.mask();
        }
        true
    }
}

impl State {
    const fn at_reset() -> State {
        State {
            configuration: 0,
            status: 0,
            counter: 0,
            since: Ticks(0),
            timers: [Timer::at_reset(); TIMERS],
            lines: 0,
        }
    }

    fn enabled(&self) -> bool {
        self.configuration & configuration::ENABLE != 0
    }

    /// The line of a comparator, if it is routed to one.
    fn line_of(&self, index: usize) -> Option<u8> {
        if self.configuration & configuration::LEGACY != 0
            && let Some(&line) = LEGACY_LINES.get(index)
        {
            return Some(line);
        }
        let route = self.timers[index].route();
        (spec::ROUTES >> route & 1 != 0).then_some(route)
    }

    /// Whether a comparator asserts its line.
    fn asserts(&self, index: usize) -> bool {
        let timer = &self.timers[index];
        let requests = if timer.has(timer::LEVEL) {
            self.status & 1 << index != 0
        } else {
            timer.raised
        };
        self.enabled() && timer.has(timer::ENABLE) && requests
    }
}

impl Plausible for State {
    fn implausible(&self) -> Option<&'static str> {
        if self.configuration & !configuration::WRITABLE != 0 || self.status >> TIMERS != 0 {
            return Some("a reserved bit is set");
        }
        self.timers.iter().find_map(|timer| {
            let route = timer.route();
            let is_fine = timer.configuration & !timer::WRITABLE == 0
                && (route == 0 || spec::ROUTES >> route & 1 != 0)
                && timer.comparator & !timer.mask() == 0;
            (!is_fine).then_some("a comparator cannot be configured so")
        })
    }
}

impl Default for Hpet {
    fn default() -> Hpet {
        Hpet::new()
    }
}

impl Hpet {
    /// The timer block at the address where a PC has it.
    pub fn new() -> Hpet {
        Hpet {
            base: spec::DEFAULT_BASE,
            state: State::at_reset(),
        }
    }

    /// Whether comparators 0 and 1 have taken the places of the PIT and of the real-time clock: the
    /// machine then carries this device's lines 0 and 8 there and ignores those of the other two. It takes
    /// both bits, that for replacement and that which enables the timers.
    pub fn legacy_replacement(&self) -> bool {
        self.state.enabled() && self.state.configuration & configuration::LEGACY != 0
    }

    /// Lets the counter run to `now` and deals with the comparators that matched.
    fn sync(&mut self, now: Ticks, effects: &mut Effects) {
        let clocks = now.saturating_sub(self.state.since).0 / TICKS_PER_CLOCK;
        self.state.since += Ticks(clocks * TICKS_PER_CLOCK);
        if !self.state.enabled() || clocks == 0 {
            return;
        }
        let counter = self.state.counter;
        self.state.counter = counter.wrapping_add(clocks);
        for index in 0..TIMERS {
            if self.state.timers[index].run(counter, clocks) {
                self.fire(index, effects);
            }
        }
        self.update_lines(effects);
    }

    /// A comparator matched.
    fn fire(&mut self, index: usize, effects: &mut Effects) {
        let line = self.state.line_of(index);
        let timer = &mut self.state.timers[index];
        if timer.has(timer::LEVEL) {
            self.state.status |= 1 << index;
        } else if timer.has(timer::ENABLE) {
            // A new edge needs a low line.
            timer.raised = true;
            if let Some(irq) = line.filter(|line| self.state.lines >> line & 1 != 0) {
                self.state.lines &= !(1 << irq);
                effects.push(Effect::Line {
                    irq,
                    asserted: false,
                });
            }
        }
    }

    /// Tells the world what has changed of the lines.
    fn update_lines(&mut self, effects: &mut Effects) {
        let lines = (0..TIMERS)
            .filter(|&index| self.state.asserts(index))
            .filter_map(|index| self.state.line_of(index))
            .fold(0, |lines, line| lines | 1 << line);
        let changed = lines ^ self.state.lines;
        self.state.lines = lines;
        for irq in (0..32).filter(|irq| changed >> irq & 1 != 0) {
            effects.push(Effect::Line {
                irq,
                asserted: lines >> irq & 1 != 0,
            });
        }
    }

    /// The 64-bit register that begins at `offset`. The counter has been brought to the present.
    fn read_register(&self, offset: u64) -> u64 {
        match offset {
            spec::CAPABILITIES => {
                u64::from(spec::CAPABILITIES_LOW) | spec::PERIOD_FEMTOSECONDS << 32
            }
            spec::CONFIGURATION => self.state.configuration,
            spec::STATUS => self.state.status.into(),
            spec::COUNTER => self.state.counter,
            _ => match timer_register(offset) {
                Some((index, spec::TIMER_CONFIGURATION)) => {
                    let fixed = timer::CAN_BE_PERIODIC | timer::HAS_64_BITS;
                    let configuration = self.state.timers[index].configuration | fixed;
                    u64::from(configuration) | u64::from(spec::ROUTES) << 32
                }
                Some((index, spec::TIMER_COMPARATOR)) => self.state.timers[index].comparator,
                _ => 0,
            },
        }
    }

    /// Writes those bits of the 64-bit register that begins at `offset` which `lanes` selects.
    fn write_register(&mut self, offset: u64, value: u64, lanes: u64, effects: &mut Effects) {
        let merge = |old: u64| old & !lanes | value & lanes;
        let state = &mut self.state;
        match offset {
            spec::CONFIGURATION => {
                state.configuration = merge(state.configuration) & configuration::WRITABLE;
            }
            // A one clears.
            spec::STATUS => state.status &= !((value & lanes) as u32),
            spec::COUNTER => state.counter = merge(state.counter),
            _ => match timer_register(offset) {
                Some((index, spec::TIMER_CONFIGURATION)) => {
                    let old = state.timers[index].configuration;
                    let new = merge(old.into()) as u32;
                    self.write_timer_configuration(index, new & timer::WRITABLE);
                }
                Some((index, spec::TIMER_COMPARATOR)) => {
                    self.write_comparator(index, value, lanes, effects);
                }
                _ => {}
            },
        }
        for timer in &mut self.state.timers {
            let may_be_raised = self.state.configuration & configuration::ENABLE != 0
                && timer.has(timer::ENABLE)
                && !timer.has(timer::LEVEL);
            timer.raised &= may_be_raised;
        }
        self.update_lines(effects);
    }

    fn write_timer_configuration(&mut self, index: usize, mut new: u32) {
        let timer = &mut self.state.timers[index];
        let old = timer.configuration;
        let route = (new & timer::ROUTE) >> timer::ROUTE_SHIFT;
        // A route that does not exist does not read back.
        if spec::ROUTES >> route & 1 == 0 {
            new = new & !timer::ROUTE | old & timer::ROUTE;
        }
        // VAL_SET means nothing to a comparator that is not periodic.
        if new & timer::PERIODIC == 0 {
            new &= !timer::SET_VALUE;
        }
        timer.configuration = new;
        timer.comparator &= timer.mask();
        // A level that becomes an edge has no status.
        if new & timer::LEVEL == 0 {
            self.state.status &= !(1 << index);
        }
    }

    fn write_comparator(&mut self, index: usize, value: u64, lanes: u64, effects: &mut Effects) {
        let enabled = self.state.enabled();
        let counter = self.state.counter;
        let timer = &mut self.state.timers[index];
        let merge = |old: u64| (old & !lanes | value & lanes) & timer.mask();
        let period = merge(timer.period);
        let comparator = merge(timer.comparator);
        let periodic = timer.has(timer::PERIODIC);
        if periodic {
            timer.period = period;
        }
        if periodic && !timer.has(timer::SET_VALUE) {
            return;
        }
        timer.comparator = comparator;
        // VAL_SET clears itself with the write that completes the comparator.
        if lanes & timer.mask() & !(timer.mask() >> 1) != 0 {
            timer.configuration &= !timer::SET_VALUE;
        }
        // Set to what the counter shows, it matches now.
        if enabled && (comparator ^ counter) & timer.mask() == 0 {
            if periodic {
                timer.comparator = comparator.wrapping_add(period) & timer.mask();
            }
            self.fire(index, effects);
        }
    }

    /// Says so if the deadline is no longer `before`.
    fn announce(&self, before: Option<Ticks>, effects: &mut Effects) {
        if self.deadline() != before {
            effects.push(Effect::DeadlineChanged);
        }
    }
}

/// Which comparator a register belongs to, and which of its registers that is.
fn timer_register(offset: u64) -> Option<(usize, u64)> {
    let offset = offset.checked_sub(spec::TIMER_BASE)?;
    let index = (offset / spec::TIMER_STRIDE) as usize;
    (index < TIMERS).then_some((index, offset % spec::TIMER_STRIDE))
}

impl Device for Hpet {
    fn name(&self) -> String {
        "hpet".into()
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
        now: Ticks,
        _region: usize,
        offset: u64,
        size: u8,
        effects: &mut Effects,
    ) -> u64 {
        let before = self.deadline();
        self.sync(now, effects);
        self.announce(before, effects);
        // What would reach into the next register reads as zero there.
        let value = self.read_register(offset & !7) >> (8 * (offset & 7));
        match size {
            0..8 => value & ((1 << (8 * size)) - 1),
            _ => value,
        }
    }

    fn write(
        &mut self,
        now: Ticks,
        _region: usize,
        offset: u64,
        size: u8,
        value: u64,
        _dma: &mut dyn Dma,
        effects: &mut Effects,
    ) {
        if size < 4 || !offset.is_multiple_of(size.into()) {
            effects.push(Effect::Warning(format!(
                "HPET: a write of {size} bytes at offset {offset:#x} was dropped; registers are \
                 written as aligned 32- or 64-bit words"
            )));
            return;
        }
        let before = self.deadline();
        self.sync(now, effects);
        let (shift, lanes) = match (size, offset & 7) {
            (8, _) => (0, u64::MAX),
            (_, 0) => (0, u64::from(u32::MAX)),
            _ => (32, u64::from(u32::MAX) << 32),
        };
        self.write_register(offset & !7, value << shift, lanes, effects);
        self.announce(before, effects);
    }

    fn deadline(&self) -> Option<Ticks> {
        if !self.state.enabled() {
            return None;
        }
        let next = |index: usize| {
            let timer = &self.state.timers[index];
            let waits = timer.has(timer::LEVEL) && self.state.status & 1 << index != 0;
            if !timer.has(timer::ENABLE) || waits {
                return None;
            }
            let clocks = timer.clocks_to_match(self.state.counter)?;
            let is_fast =
                timer.has(timer::PERIODIC) && (1..CLOCKS_BETWEEN_CALLS_MIN).contains(&timer.period);
            let least = if is_fast { CLOCKS_BETWEEN_CALLS_MIN } else { 1 };
            let span = clocks.max(least).saturating_mul(TICKS_PER_CLOCK);
            let at = self.state.since.saturating_add(Ticks(span));
            (at < Ticks::NEVER).then_some(at)
        };
        (0..TIMERS).filter_map(next).min()
    }

    fn advance(&mut self, now: Ticks, _dma: &mut dyn Dma, effects: &mut Effects) {
        self.sync(now, effects);
    }

    fn reset(&mut self) {
        let Self { base: _, state } = self;
        *state = State::at_reset();
    }

    fn save(&self) -> Vec<u8> {
        saved::save(SAVED_VERSION, &self.state)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.state = saved::load("hpet", SAVED_VERSION, bytes)?;
        Ok(())
    }
}
