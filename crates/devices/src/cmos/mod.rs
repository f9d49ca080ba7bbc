//! The real-time clock and its battery-backed memory, at ports 0x70 and 0x71.
//!
//! Modelled: an MC146818A with 128 bytes, as PC chipsets have it: time of day and date in BCD or
//! binary, in 12 or 24 hours; the update cycle with UIP; alarm, periodic and update-ended interrupts
//! on ISA IRQ 8; the NMI mask that shares the index port. The date is one given at construction plus
//! virtual time; the host's clock is never asked.
//!
//! Deviations: the clock's bytes change at the end of an update at once rather than during it. The
//! century byte counts along, as if it belonged to the clock. A date that does not exist is put into
//! range when the clock takes it over. Changing the format while the clock runs converts the time,
//! which the chip leaves to software. Edges of the periodic interrupt are counted from the beginning
//! of time, not from the last divider reset. Daylight saving and the second bank (0x72) are absent.
//!
//! Source: Motorola MC146818A Real-Time Clock Plus RAM (ADI1185).

mod calendar;
pub mod spec;
#[cfg(test)]
mod tests;

pub use calendar::DateTime;

use crate::lanes;
use crate::saved::{self, Plausible};
use calendar::{Fields, Format};
use ring3_bus::{Device, Dma, Effect, Effects, LoadError, Region, Space};
use ring3_clock::{TSC_HZ, Ticks};
use serde::{Deserialize, Serialize};
use spec::{a, b, c, index};

/// The ISA line of the clock.
pub const IRQ: u8 = 8;

/// The version of the saved form; counts up when that changes.
const SAVED_VERSION: u8 = 1;

/// One second.
const SECOND: Ticks = Ticks(TSC_HZ);

/// How long before the end of an update UIP is set.
const UPDATE: Ticks = Ticks(TSC_HZ / 1_000_000 * spec::UPDATE_MICROS);

/// The real-time clock and CMOS memory of a PC.
#[derive(Clone, Debug)]
pub struct Cmos {
    // state
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// The byte that the data port shows.
    index: u8,
    nmi_masked: bool,
    a: u8,
    b: u8,
    /// PF, AF and UF as of `seen`.
    flags: u8,
    /// What happened up to here is in the flags.
    seen: Ticks,
    /// The level of IRQ 8 as the world knows it.
    irq: bool,
    /// The date until `boundary`, in seconds since the year 0.
    seconds: u64,
    /// When a second ends; others do whole seconds later.
    boundary: Ticks,
    /// What the day of the week is ahead of the calendar's, 0 to 6; software can set it freely.
    weekday_shift: u8,
    /// While the clock stands: its bytes, in the order of [`TIME_INDICES`].
    held: Option<[u8; 8]>,
    /// Alarm seconds, minutes, hours.
    alarm: [u8; 3],
    /// Every byte that is none of the clock's.
    memory: Vec<u8>,
}

/// The bytes that hold the time.
const TIME_INDICES: [u8; 8] = [
    index::SECONDS,
    index::MINUTES,
    index::HOURS,
    index::WEEKDAY,
    index::DAY,
    index::MONTH,
    index::YEAR,
    index::CENTURY,
];

impl Plausible for State {
    fn implausible(&self) -> Option<&'static str> {
        if usize::from(self.index) >= spec::SIZE || self.memory.len() != spec::SIZE {
            return Some("the memory has another size");
        }
        if self.a & a::UPDATE_IN_PROGRESS != 0 || self.flags & !c::FLAGS != 0 {
            return Some("a read-only bit is stored");
        }
        if self.seconds >= calendar::END || self.weekday_shift > 6 {
            return Some("the date is out of range");
        }
        (self.held.is_none() != self.runs()).then_some("the clock both stands and runs")
    }
}

impl State {
    fn format(&self) -> Format {
        Format::of(self.b)
    }

    /// Whether the divider chain counts.
    fn divides(&self) -> bool {
        self.a & a::DIVIDER == a::DIVIDER_RUNS
    }

    /// Whether the time advances.
    fn runs(&self) -> bool {
        self.divides() && self.b & b::SET == 0
    }

    /// The first end of a second after `now`.
    fn next_boundary(&self, now: Ticks) -> Ticks {
        if now < self.boundary {
            return self.boundary;
        }
        let into = (now.0 - self.boundary.0) % SECOND.0;
        now.saturating_add(Ticks(SECOND.0 - into))
    }

    /// The date at `now`, while the clock runs.
    fn date(&self, now: Ticks) -> u64 {
        if now < self.boundary {
            self.seconds
        } else {
            let passed = (now.0 - self.boundary.0) / SECOND.0;
            self.seconds
                .saturating_add(passed + 1)
                .min(calendar::END - 1)
        }
    }

    /// The bytes of the time at `now`.
    fn time_bytes(&self, now: Ticks) -> [u8; 8] {
        if let Some(held) = self.held {
            return held;
        }
        let date = self.date(now);
        let fields = Fields::from_seconds(date);
        let weekday = (calendar::weekday(date) + self.weekday_shift) % 7 + 1;
        let format = self.format();
        [
            format.encode(fields.second),
            format.encode(fields.minute),
            format.encode_hour(fields.hour),
            format.encode(weekday),
            format.encode(fields.day),
            format.encode(fields.month),
            format.encode((fields.year % 100) as u8),
            format.encode((fields.year / 100) as u8),
        ]
    }

    /// Lets the clock run on from these bytes.
    fn set_time(&mut self, now: Ticks, bytes: [u8; 8]) {
        let format = self.format();
        let number = |place: usize| format.decode(bytes[place]);
        let year = u16::from(number(7).min(99)) * 100 + u16::from(number(6).min(99));
        let month = number(5).clamp(1, 12);
        let last_day = calendar::days_in_month(year.into(), month);
        let fields = Fields {
            year,
            month,
            day: number(4).clamp(1, last_day),
            hour: format.decode_hour(bytes[2]).min(23),
            minute: number(1).min(59),
            second: number(0).min(59),
        };
        self.boundary = self.next_boundary(now);
        self.seconds = fields.to_seconds();
        let weekday = number(3).clamp(1, 7) - 1;
        self.weekday_shift = (weekday + 7 - calendar::weekday(self.seconds)) % 7;
    }

    /// After how many seconds from `date` on the alarm matches, 1 to 86400; `None` if it never can.
    fn seconds_to_alarm(&self, date: u64) -> Option<u64> {
        let format = self.format();
        let cares = |alarm: u8| alarm & spec::ALARM_DO_NOT_CARE != spec::ALARM_DO_NOT_CARE;
        let [second, minute, hour] = self.alarm;
        let second_matches = |value| !cares(second) || format.encode(value) == second;
        let minute_matches = |value| !cares(minute) || format.encode(value) == minute;
        let hour_matches = |value| !cares(hour) || format.encode_hour(value) == hour;

        let first = calendar::second_of_day(date) + 1;
        let (mut at_hour, mut at_minute, mut at_second) =
            (first / 3600, first / 60 % 60, first % 60);
        // The hour in which it starts is visited again at the end, from its beginning.
        for _ in 0..=24 {
            if hour_matches((at_hour % 24) as u8) {
                while at_minute < 60 {
                    if minute_matches(at_minute as u8) {
                        while at_second < 60 {
                            if second_matches(at_second as u8) {
                                let found = at_hour * 3600 + at_minute * 60 + at_second;
                                return Some(u64::from(found - first + 1));
                            }
                            at_second += 1;
                        }
                    }
                    at_minute += 1;
                    at_second = 0;
                }
            }
            at_hour += 1;
            (at_minute, at_second) = (0, 0);
        }
        None
    }

    /// The rate of the periodic interrupt in Hz, if it has one. "Periodic Interrupt Rate and Square
    /// Wave Output Frequency", 32.768 kHz time base.
    fn periodic_hz(&self) -> Option<u64> {
        match u32::from(self.a & a::RATE) {
            0 => None,
            // These two repeat the rates of 8 and 9.
            rate @ (1 | 2) => Some(32768 >> (rate + 6)),
            rate => Some(32768 >> (rate - 1)),
        }
    }

    /// Sets the flags of what happened since `seen`.
    fn catch_up(&mut self, now: Ticks) {
        let seen = self.seen;
        if now <= seen {
            return;
        }
        self.seen = now;
        if !self.divides() {
            return;
        }
        let edges = |time: Ticks| self.periodic_hz().map(|hz| time.to_periods(hz));
        if edges(now) > edges(seen) {
            self.flags |= c::PERIODIC;
        }
        if !self.runs() {
            return;
        }
        let (before, after) = (self.date(seen), self.date(now));
        if after > before {
            self.flags |= c::UPDATE;
            let to_alarm = self.seconds_to_alarm(before);
            if to_alarm.is_some_and(|seconds| seconds <= after - before) {
                self.flags |= c::ALARM;
            }
        }
    }

    /// When the next interrupt flag will be set that is enabled.
    fn next_interrupt(&self) -> Option<Ticks> {
        if !self.divides() || self.irq {
            return None;
        }
        let wanted = self.b & !self.flags;
        let periodic = self
            .periodic_hz()
            .filter(|_| wanted & c::PERIODIC != 0)
            .map(|hz| Ticks::from_periods(self.seen.to_periods(hz).saturating_add(1), hz));
        let boundary = self.next_boundary(self.seen);
        let update = (self.runs() && wanted & c::UPDATE != 0).then_some(boundary);
        let alarm = (self.runs() && wanted & c::ALARM != 0)
            .then(|| self.seconds_to_alarm(self.date(self.seen)))
            .flatten()
            .map(|seconds| boundary.saturating_add(Ticks((seconds - 1) * SECOND.0)));
        [periodic, update, alarm].into_iter().flatten().min()
    }
}

impl Cmos {
    /// A clock that shows `start` when virtual time begins, with empty memory.
    pub fn new(start: DateTime) -> Cmos {
        Cmos {
            state: State {
                index: 0,
                nmi_masked: false,
                // The crystal of a PC, and 1024 Hz, as firmware leaves it.
                a: a::DIVIDER_RUNS | 6,
                b: b::HOURS_24,
                flags: 0,
                seen: Ticks(0),
                irq: false,
                seconds: start.seconds,
                boundary: SECOND,
                weekday_shift: 0,
                held: None,
                alarm: [0; 3],
                memory: vec![0; spec::SIZE],
            },
        }
    }

    /// Stores `value` at `index` of the memory, as firmware would. The clock's own bytes cannot be
    /// stored that way; an index that is one of them or out of range does nothing.
    pub fn set_memory(&mut self, index: u8, value: u8) {
        if index > index::D && usize::from(index) < spec::SIZE && index != index::CENTURY {
            self.state.memory[usize::from(index)] = value;
        }
    }

    /// Stores how much RAM there is below and above 4 GiB, in bytes, in the places where firmware
    /// looks for it.
    pub fn set_memory_size(&mut self, below_4g: u64, above_4g: u64) {
        let mut store = |index: u8, count: usize, value: u64| {
            let limit = (1 << (8 * count)) - 1;
            let bytes = value.min(limit).to_le_bytes();
            for (place, byte) in (index..).zip(&bytes[..count]) {
                self.set_memory(place, *byte);
            }
        };
        let kib = below_4g >> 10;
        store(index::BASE_MEMORY, 2, kib.min(640));
        let extended = kib.saturating_sub(1 << 10).min(63 << 10);
        store(index::EXTENDED_MEMORY, 2, extended);
        store(index::EXTENDED_MEMORY_FOUND, 2, extended);
        store(
            index::MEMORY_ABOVE_16M,
            2,
            below_4g.saturating_sub(16 << 20) >> 16,
        );
        store(index::MEMORY_ABOVE_4G, 3, above_4g >> 16);
    }

    /// Whether software has turned NMIs off at the index port.
    pub fn nmi_masked(&self) -> bool {
        self.state.nmi_masked
    }

    fn read_data(&mut self, now: Ticks) -> u8 {
        let state = &mut self.state;
        if let Some(place) = TIME_INDICES.iter().position(|&index| index == state.index) {
            return state.time_bytes(now)[place];
        }
        match state.index {
            index::SECONDS_ALARM | index::MINUTES_ALARM | index::HOURS_ALARM => {
                state.alarm[usize::from(state.index / 2)]
            }
            index::A => {
                let updates =
                    state.runs() && state.next_boundary(now).saturating_sub(now) <= UPDATE;
                state.a | if updates { a::UPDATE_IN_PROGRESS } else { 0 }
            }
            index::B => state.b,
            // Reading clears the flags.
            index::C => {
                let flags = std::mem::take(&mut state.flags);
                let requests = flags & state.b & b::ENABLES != 0;
                flags | if requests { c::INTERRUPT } else { 0 }
            }
            index::D => spec::VALID,
            index => state.memory[usize::from(index)],
        }
    }

    fn write_data(&mut self, now: Ticks, value: u8) {
        let state = &mut self.state;
        if let Some(place) = TIME_INDICES.iter().position(|&index| index == state.index) {
            match &mut state.held {
                Some(held) => held[place] = value,
                None => {
                    let mut bytes = state.time_bytes(now);
                    bytes[place] = value;
                    state.set_time(now, bytes);
                }
            }
            return;
        }
        match state.index {
            index::SECONDS_ALARM | index::MINUTES_ALARM | index::HOURS_ALARM => {
                state.alarm[usize::from(state.index / 2)] = value;
            }
            index::A => self.configure(now, value & !a::UPDATE_IN_PROGRESS, self.state.b),
            index::B => {
                // SET going high clears UIE.
                let sets = value & b::SET != 0 && state.b & b::SET == 0;
                let value = if sets { value & !c::UPDATE } else { value };
                self.configure(now, self.state.a, value);
            }
            index::C | index::D => {}
            index => state.memory[usize::from(index)] = value,
        }
    }

    /// Takes over new values of registers A and B, and stops or starts the clock as they say.
    fn configure(&mut self, now: Ticks, new_a: u8, new_b: u8) {
        let state = &mut self.state;
        let ran = state.runs();
        let divided = state.divides();
        let bytes = state.time_bytes(now);
        if ran {
            // The format may change: take the time out of the old one.
            state.seconds = state.date(now);
            state.boundary = state.next_boundary(now);
        }
        state.a = new_a;
        state.b = new_b;
        // The first update after the divider starts comes half a second later ("Divider Control").
        if state.divides() && !divided {
            state.boundary = now.saturating_add(Ticks(SECOND.0 / 2));
        }
        match (ran, state.runs()) {
            (true, false) => state.held = Some(bytes),
            (false, true) => {
                state.held = None;
                state.set_time(now, bytes);
            }
            _ => {}
        }
    }

    fn update_irq(&mut self, effects: &mut Effects) {
        let irq = self.state.flags & self.state.b & b::ENABLES != 0;
        if irq != self.state.irq {
            self.state.irq = irq;
            effects.push(Effect::Line {
                irq: IRQ,
                asserted: irq,
            });
        }
    }

    /// Says so if the deadline is no longer `before`.
    fn announce(&self, before: Option<Ticks>, effects: &mut Effects) {
        if self.deadline() != before {
            effects.push(Effect::DeadlineChanged);
        }
    }
}

impl Device for Cmos {
    fn name(&self) -> String {
        "cmos".into()
    }

    fn regions(&self) -> Vec<Region> {
        vec![Region {
            space: Space::Port,
            base: spec::BASE,
            size: 2,
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
        self.state.catch_up(now);
        let value = lanes::read(offset, size, |offset| match offset {
            // The index port is write-only.
            0 => 0xff,
            _ => self.read_data(now),
        });
        self.update_irq(effects);
        self.announce(before, effects);
        value
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
        let before = self.deadline();
        self.state.catch_up(now);
        lanes::write(offset, size, value, |offset, byte| match offset {
            0 => {
                self.state.nmi_masked = byte & spec::NMI_MASKED != 0;
                self.state.index = byte & !spec::NMI_MASKED;
            }
            _ => self.write_data(now, byte),
        });
        self.update_irq(effects);
        self.announce(before, effects);
    }

    fn deadline(&self) -> Option<Ticks> {
        self.state.next_interrupt()
    }

    fn advance(&mut self, now: Ticks, _dma: &mut dyn Dma, effects: &mut Effects) {
        self.state.catch_up(now);
        self.update_irq(effects);
    }

    /// What the RESET pin does: no interrupt is enabled or pending. The battery keeps the rest.
    fn reset(&mut self) {
        let Self { state } = self;
        let State {
            index,
            nmi_masked,
            a: _,
            b,
            flags,
            seen: _,
            irq,
            seconds: _,
            boundary: _,
            weekday_shift: _,
            held: _,
            alarm: _,
            memory: _,
        } = state;
        *index = 0;
        *nmi_masked = false;
        *b &= !(b::ENABLES | b::SQUARE_WAVE);
        *flags = 0;
        *irq = false;
    }

    fn save(&self) -> Vec<u8> {
        saved::save(SAVED_VERSION, &self.state)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.state = saved::load("cmos", SAVED_VERSION, bytes)?;
        Ok(())
    }
}
