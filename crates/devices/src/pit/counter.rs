//! One counter of the 8254, moved forward by any number of clocks at once.

use super::spec::{Access, status};
use serde::{Deserialize, Serialize};

/// What a counter does at the next clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Activity {
    /// It has no count yet, or (mode 0) only half a new one.
    Halted,
    /// It loads the count register into the counting element.
    Loading,
    /// It counts, if its gate lets it.
    Counting,
}

/// Which transitions the OUT pin made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Edges {
    pub(super) rose: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counter {
    /// The clock up to which all else is worked out.
    at: u64,
    /// The mode field as it was written; 6 and 7 are 2 and 3.
    mode_bits: u8,
    access: Access,
    bcd: bool,
    gate: bool,
    out: bool,
    /// CR, the count as it was written.
    register: u16,
    /// CE. In mode 3: how many clocks are left of this half of the square wave. It is 1 to 65536
    /// while it has yet to reach its end, 0 to 65535 when it has run past it.
    element: u32,
    /// The count that was loaded into CE last.
    loaded: u32,
    activity: Activity,
    /// CR holds a count.
    has_count: bool,
    /// CR holds something newer than CE.
    null_count: bool,
    /// Modes 0, 1, 4, 5: OUT still has to change when CE reaches zero.
    armed: bool,
    /// Modes 4, 5: OUT is low for this one clock.
    strobe: bool,
    /// The low byte of a count whose high byte has not been written yet.
    low_byte: Option<u8>,
    latched_count: Option<u16>,
    latched_status: Option<u8>,
    /// The next read gives the high byte.
    high_byte_next: bool,
}

impl Counter {
    /// A counter that was never programmed. The datasheet leaves that open.
    pub(super) fn at_power_on(gate: bool) -> Counter {
        Counter {
            at: 0,
            mode_bits: 0,
            access: Access::Both,
            bcd: false,
            gate,
            out: false,
            register: 0,
            element: 0,
            loaded: 0,
            activity: Activity::Halted,
            has_count: false,
            null_count: true,
            armed: false,
            strobe: false,
            low_byte: None,
            latched_count: None,
            latched_status: None,
            high_byte_next: false,
        }
    }

    pub(super) fn out(&self) -> bool {
        self.out
    }

    pub(super) fn gate(&self) -> bool {
        self.gate
    }

    fn mode(&self) -> u8 {
        match self.mode_bits {
            6 | 7 => self.mode_bits - 4,
            mode => mode,
        }
    }

    /// How many counts there are before the counting element wraps.
    fn modulus(&self) -> u32 {
        if self.bcd { 10_000 } else { 0x1_0000 }
    }

    /// The count in CR. Zero stands for the greatest; modes 2 and 3 have no count of 1
    /// (datasheet, table of minimum initial counts), which counts as 2 here; a BCD digit above 9 carries.
    fn count(&self) -> u32 {
        let count = if self.bcd {
            let digit = |place: u32| u32::from(self.register >> (4 * place) & 15);
            let digits = digit(0) + 10 * digit(1) + 100 * digit(2) + 1000 * digit(3);
            digits % self.modulus()
        } else {
            u32::from(self.register)
        };
        match (count, self.mode()) {
            (0, _) => self.modulus(),
            (1, 2 | 3) => 2,
            (count, _) => count,
        }
    }

    // ---- time ------------------------------------------------------------------------------

    /// Time has come to `clock`; what OUT did since the last call.
    pub(super) fn sync(&mut self, clock: u64) -> Edges {
        let clocks = clock.saturating_sub(self.at);
        self.at += clocks;
        let mut edges = Edges::default();
        if clocks > 0 {
            self.run(clocks, &mut edges);
        }
        edges
    }

    fn set_out(&mut self, out: bool, edges: &mut Edges) {
        edges.rose |= out && !self.out;
        self.out = out;
    }

    fn run(&mut self, mut clocks: u64, edges: &mut Edges) {
        if self.strobe {
            self.strobe = false;
            self.set_out(true, edges);
        }
        match self.activity {
            Activity::Halted => return,
            Activity::Loading => {
                self.load(edges);
                clocks -= 1;
            }
            Activity::Counting => {}
        }
        let mode = self.mode();
        // A low gate suspends the count in all modes but 1 and 5, where only its edge matters.
        if clocks == 0 || (!self.gate && !matches!(mode, 1 | 5)) {
            return;
        }
        match mode {
            2 => self.run_rate_generator(clocks, edges),
            3 => self.run_square_wave(clocks, edges),
            _ => self.run_down(clocks, edges),
        }
    }

    /// CR goes to CE.
    fn load(&mut self, edges: &mut Edges) {
        self.activity = Activity::Counting;
        self.null_count = false;
        self.armed = true;
        self.loaded = self.count();
        self.element = self.loaded;
        match self.mode() {
            1 => self.set_out(false, edges),
            3 => {
                self.set_out(true, edges);
                self.element = self.half();
            }
            2 => self.set_out(true, edges),
            _ => {}
        }
    }

    /// Modes 0, 1, 4 and 5: down to zero, where OUT changes once, and on around.
    fn run_down(&mut self, clocks: u64, edges: &mut Edges) {
        if self.armed && clocks >= u64::from(self.element) {
            self.armed = false;
            let strobes = matches!(self.mode(), 4 | 5);
            self.set_out(!strobes, edges);
            if strobes {
                self.strobe = clocks == u64::from(self.element);
                self.set_out(!self.strobe, edges);
            }
        }
        let modulus = self.modulus();
        let clocks = (clocks % u64::from(modulus)) as u32;
        self.element = (self.element + modulus - clocks) % modulus;
    }

    /// Mode 2: from the count down to 1, during which OUT is low, and over again.
    fn run_rate_generator(&mut self, clocks: u64, edges: &mut Edges) {
        match u64::from(self.element).checked_sub(clocks) {
            Some(left @ 1..) => self.element = left as u32,
            _ => {
                let beyond = clocks - u64::from(self.element);
                self.reload();
                self.set_out(false, edges);
                self.set_out(true, edges);
                self.element = self.loaded - (beyond % u64::from(self.loaded)) as u32;
            }
        }
        self.set_out(self.element != 1, edges);
    }

    /// Mode 3: high for one half of the count (the greater one of an odd count), low for the other.
    fn run_square_wave(&mut self, clocks: u64, edges: &mut Edges) {
        if clocks < u64::from(self.element) {
            self.element -= clocks as u32;
            return;
        }
        let beyond = clocks - u64::from(self.element);
        self.reload();
        self.set_out(!self.out, edges);
        if beyond >= u64::from(self.loaded) {
            // At least one whole wave went by.
            self.set_out(!self.out, edges);
            self.set_out(!self.out, edges);
        }
        let mut left = (beyond % u64::from(self.loaded)) as u32;
        while left >= self.half() {
            left -= self.half();
            self.set_out(!self.out, edges);
        }
        self.element = self.half() - left;
    }

    /// Modes 2 and 3: a new count takes effect where the current (half) cycle ends.
    fn reload(&mut self) {
        self.loaded = self.count();
        self.null_count = false;
    }

    /// Mode 3: how long OUT stays at its present level.
    fn half(&self) -> u32 {
        if self.out {
            self.loaded.div_ceil(2)
        } else {
            self.loaded / 2
        }
    }

    /// At which clock OUT changes next, if nothing else happens.
    pub(super) fn next_change(&self) -> Option<u64> {
        if self.strobe {
            return Some(self.at.saturating_add(1));
        }
        let mode = self.mode();
        let counts = self.gate || matches!(mode, 1 | 5);
        let clocks = match (self.activity, mode) {
            (Activity::Halted, _) => return None,
            // A one-shot begins with the clock that loads it.
            (Activity::Loading, 1) if self.out => 1,
            (Activity::Loading, 2 | 3) if !self.out => 1,
            (Activity::Loading, _) if !counts => return None,
            (Activity::Loading, 2) => self.count(),
            (Activity::Loading, 3) => 1 + self.count().div_ceil(2),
            (Activity::Loading, _) => 1 + self.count(),
            (Activity::Counting, _) if !counts => return None,
            (Activity::Counting, 2) => (self.element - 1).max(1),
            (Activity::Counting, 3) => self.element,
            (Activity::Counting, _) if self.armed => self.element,
            (Activity::Counting, _) => return None,
        };
        Some(self.at.saturating_add(u64::from(clocks)))
    }

    // ---- what software and the board do; each after `sync` ---------------------------------

    pub(super) fn set_gate(&mut self, gate: bool) -> Edges {
        let mut edges = Edges::default();
        let mode = self.mode();
        if gate && !self.gate {
            let triggers = matches!(mode, 1 | 2 | 3 | 5);
            if triggers && self.has_count {
                self.activity = Activity::Loading;
            }
        } else if !gate && self.gate && matches!(mode, 2 | 3) {
            // A gate that goes low raises OUT without waiting for a clock.
            self.set_out(true, &mut edges);
        }
        self.gate = gate;
        edges
    }

    /// The control word for this counter, other than the counter latch command.
    pub(super) fn write_control(&mut self, access: Access, mode_bits: u8, bcd: bool) -> Edges {
        let mut edges = Edges::default();
        self.mode_bits = mode_bits;
        self.access = access;
        self.bcd = bcd;
        self.activity = Activity::Halted;
        // The element keeps its value, within what the new mode can count.
        self.element %= self.modulus();
        self.has_count = false;
        self.null_count = true;
        self.armed = false;
        self.strobe = false;
        self.low_byte = None;
        self.latched_count = None;
        self.latched_status = None;
        self.high_byte_next = false;
        self.set_out(self.mode() != 0, &mut edges);
        edges
    }

    pub(super) fn write_count(&mut self, byte: u8) -> Edges {
        let mut edges = Edges::default();
        let mode = self.mode();
        if mode == 0 {
            // Writing the first byte disables counting; OUT is set low immediately.
            self.activity = Activity::Halted;
            self.set_out(false, &mut edges);
        }
        self.register = match (self.access, self.low_byte.take()) {
            (Access::Low, _) => u16::from(byte),
            (Access::High, _) => u16::from(byte) << 8,
            (Access::Both, Some(low)) => u16::from_le_bytes([low, byte]),
            (Access::Both, None) => {
                self.low_byte = Some(byte);
                return edges;
            }
        };
        let had_count = self.has_count;
        self.has_count = true;
        self.null_count = true;
        match mode {
            0 | 4 => self.activity = Activity::Loading,
            2 | 3 if !had_count => self.activity = Activity::Loading,
            // Modes 1 and 5 wait for a trigger; 2 and 3 for the end of the cycle.
            _ => {}
        }
        edges
    }

    /// Latches the count; does nothing while a latched one has not been read.
    pub(super) fn latch_count(&mut self) {
        if self.latched_count.is_none() {
            self.latched_count = Some(self.shown());
            self.high_byte_next = false;
        }
    }

    /// Latches the status; does nothing while a latched one has not been read.
    pub(super) fn latch_status(&mut self) {
        let mut byte = self.access.bits() << 4 | self.mode_bits << 1 | u8::from(self.bcd);
        if self.out {
            byte |= status::OUT;
        }
        if self.null_count {
            byte |= status::NULL_COUNT;
        }
        self.latched_status.get_or_insert(byte);
    }

    pub(super) fn read(&mut self) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let [low, high] = self
            .latched_count
            .unwrap_or_else(|| self.shown())
            .to_le_bytes();
        let (byte, done) = match self.access {
            Access::Low => (low, true),
            Access::High => (high, true),
            Access::Both => {
                self.high_byte_next = !self.high_byte_next;
                if self.high_byte_next {
                    (low, false)
                } else {
                    (high, true)
                }
            }
        };
        if done {
            self.latched_count = None;
        }
        byte
    }

    /// CE as it reads.
    fn shown(&self) -> u16 {
        let count = match (self.mode(), self.activity) {
            // The square wave counts by two: an even count twice to zero, an odd one from one below
            // it, and with one clock more while OUT is high.
            (3, Activity::Counting) if self.loaded % 2 == 1 && self.out => 2 * self.element - 2,
            (3, Activity::Counting) => 2 * self.element,
            _ => self.element,
        };
        let count = count % self.modulus();
        if !self.bcd {
            return count as u16;
        }
        (0..4).fold(0, |shown, place| {
            let digit = count / 10u32.pow(place) % 10;
            shown | (digit as u16) << (4 * place)
        })
    }

    /// What is wrong with a counter that was loaded, if it cannot have come about.
    pub(super) fn implausible(&self) -> Option<&'static str> {
        let modulus = self.modulus();
        let mode = self.mode();
        if self.mode_bits > 7 || self.element > modulus {
            return Some("a counter is out of its range");
        }
        if self.activity == Activity::Counting {
            let cycle = match mode {
                2 => self.loaded,
                3 => self.half(),
                _ => modulus,
            };
            let least = u32::from(matches!(mode, 2 | 3) || self.armed);
            let cyclic = matches!(mode, 2 | 3);
            if (cyclic && !(2..=modulus).contains(&self.loaded))
                || !(least..=cycle).contains(&self.element)
            {
                return Some("a counter counts what was not loaded");
            }
        }
        (self.activity != Activity::Halted && !self.has_count && !matches!(mode, 0 | 4))
            .then_some("a counter counts without a count")
    }
}
