//! The 8259A pair of a PC: fifteen interrupt lines, one INTR.
//!
//! Modelled: both controllers with their four initialisation and three operation command words,
//! fully nested and special fully nested mode, rotation, automatic end of interrupt, special mask
//! mode, polling, spurious interrupts, and the edge/level registers of PC chipsets.
//!
//! Not modelled: the MCS-80/85 mode (the call address; vectors come as in 8086 mode), buffered mode,
//! LTIM (chipsets have ELCR instead), another cascade than the one on the board. A request whose line
//! falls before it is acknowledged is forgotten, INTR with it: processors here see INTR as a level,
//! so nothing is left that could become a spurious interrupt but what the datasheet's timing allows
//! between the two, and that happens here only if the machine acknowledges an interrupt that is not
//! there.
//!
//! Source: Intel 8259A Programmable Interrupt Controller (231468), sections cited by title.

pub mod spec;
#[cfg(test)]
mod tests;

use crate::lanes;
use crate::saved::{self, Plausible};
use ring3_arch::Vector;
use ring3_bus::{Device, Dma, Effects, LoadError, Region, Space};
use ring3_clock::Ticks;
use serde::{Deserialize, Serialize};
use spec::{CASCADE, icw1, icw4, ocw3};

/// The version of the saved form; counts up when that changes.
const SAVED_VERSION: u8 = 1;

/// Which level an interrupt gets that is no longer there when it is acknowledged.
const SPURIOUS_LEVEL: u8 = 7;

/// The 8259A pair.
///
/// After every call that may change it, ask [`Pic::intr`] for the level of the INTR output.
#[derive(Clone, Debug, Default)]
pub struct Pic {
    // state
    state: State,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    master: Chip,
    slave: Chip,
}

impl Plausible for State {
    fn implausible(&self) -> Option<&'static str> {
        [&self.master, &self.slave].into_iter().find_map(|chip| {
            (chip.lowest > 7 || chip.base & 7 != 0).then_some("a level above 7 is the lowest")
        })
    }
}

/// What the second port expects next. "Initialization Command Words".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Expects {
    /// The interrupt mask (OCW1).
    Ocw1,
    Icw2,
    Icw3,
    Icw4,
}

/// One 8259A.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Chip {
    /// The levels of the inputs.
    lines: u8,
    irr: u8,
    isr: u8,
    imr: u8,
    /// Which inputs are level-triggered.
    elcr: u8,
    /// The vector of input 0.
    base: u8,
    /// The input that has the lowest priority; the one after it has the highest.
    lowest: u8,
    expects: Expects,
    single: bool,
    wants_icw4: bool,
    auto_eoi: bool,
    rotate_on_auto_eoi: bool,
    special_nested: bool,
    special_mask: bool,
    read_in_service: bool,
    poll: bool,
}

impl Default for Chip {
    /// What a 8259A is before its initialisation the datasheet leaves open. Here it is masked.
    fn default() -> Chip {
        Chip {
            lines: 0,
            irr: 0,
            isr: 0,
            imr: 0xff,
            elcr: 0,
            base: 0,
            lowest: 7,
            expects: Expects::Ocw1,
            single: false,
            wants_icw4: false,
            auto_eoi: false,
            rotate_on_auto_eoi: false,
            special_nested: false,
            special_mask: false,
            read_in_service: false,
            poll: false,
        }
    }
}

impl Chip {
    fn set_line(&mut self, level: u8, asserted: bool) {
        let bit = 1 << level;
        let was = self.lines & bit != 0;
        if asserted {
            self.lines |= bit;
            if !was || self.elcr & bit != 0 {
                self.irr |= bit;
            }
        } else {
            // In either mode an input has to stay high until the first INTA ("Edge and Level
            // Triggered Modes").
            self.lines &= !bit;
            self.irr &= !bit;
        }
    }

    /// The set's member of highest priority, counted from the input after the lowest.
    fn highest(&self, set: u8) -> Option<u8> {
        let first = (self.lowest + 1) & 7;
        let rotated = set.rotate_right(u32::from(first));
        (rotated != 0).then(|| (rotated.trailing_zeros() as u8 + first) & 7)
    }

    /// How far an input is from the highest priority.
    fn rank(&self, level: u8) -> u8 {
        level.wrapping_sub(self.lowest + 1) & 7
    }

    /// The input that requests an interrupt and is not held back by one in service. `cascade` is
    /// the set of inputs that have a slave. "Fully Nested Mode", "Special Mask Mode", "The Special
    /// Fully Nest Mode".
    fn request(&self, cascade: u8) -> Option<u8> {
        let level = self.highest(self.irr & !self.imr)?;
        let mut holding = self.isr;
        if self.special_mask {
            // A level that is masked holds back nothing but itself, neither higher nor lower ones.
            holding &= !self.imr;
        }
        if self.special_nested {
            // A slave in service may request for a higher one of its own inputs.
            holding &= !(cascade & 1 << level);
        }
        match self.highest(holding) {
            Some(in_service) if self.rank(in_service) <= self.rank(level) => None,
            _ => Some(level),
        }
    }

    /// The interrupt-acknowledge sequence for an input that requests.
    fn acknowledge(&mut self, level: u8) {
        let bit = 1 << level;
        if self.elcr & bit == 0 {
            self.irr &= !bit;
        }
        if !self.auto_eoi {
            self.isr |= bit;
        } else if self.rotate_on_auto_eoi {
            self.lowest = level;
        }
    }

    /// "End of Interrupt (EOI)": without a level, the one in service with the highest priority.
    fn non_specific(&self) -> Option<u8> {
        // In special mask mode this does not end a level that is masked.
        let eligible = if self.special_mask {
            self.isr & !self.imr
        } else {
            self.isr
        };
        self.highest(eligible)
    }

    fn write_command(&mut self, value: u8) {
        if value & icw1::IS_ICW1 != 0 {
            self.write_icw1(value);
        } else if value & ocw3::IS_OCW3 != 0 {
            if value & ocw3::ENABLE_SPECIAL_MASK != 0 {
                self.special_mask = value & ocw3::SPECIAL_MASK != 0;
            }
            if value & ocw3::POLL != 0 {
                self.poll = true;
            } else if value & ocw3::READ_REGISTER != 0 {
                self.read_in_service = value & ocw3::READ_IN_SERVICE != 0;
            }
        } else {
            self.write_ocw2(value);
        }
    }

    /// "Initialization Command Words 1 and 2", a. to f.
    fn write_icw1(&mut self, value: u8) {
        *self = Chip {
            lines: self.lines,
            // Edges seen before are forgotten: an input must rise again.
            irr: self.lines & self.elcr,
            elcr: self.elcr,
            base: self.base,
            expects: Expects::Icw2,
            single: value & icw1::SINGLE != 0,
            wants_icw4: value & icw1::IC4 != 0,
            imr: 0,
            ..Chip::default()
        };
    }

    /// "Operation Control Word 2".
    fn write_ocw2(&mut self, value: u8) {
        let level = value & 7;
        match value >> 5 {
            0b001 | 0b101 => {
                if let Some(level) = self.non_specific() {
                    self.isr &= !(1 << level);
                    if value >> 5 == 0b101 {
                        self.lowest = level;
                    }
                }
            }
            0b011 => self.isr &= !(1 << level),
            0b111 => {
                self.isr &= !(1 << level);
                self.lowest = level;
            }
            0b110 => self.lowest = level,
            0b100 => self.rotate_on_auto_eoi = true,
            0b000 => self.rotate_on_auto_eoi = false,
            _ => {}
        }
    }

    fn write_data(&mut self, value: u8) {
        let after_icw3 = if self.wants_icw4 {
            Expects::Icw4
        } else {
            Expects::Ocw1
        };
        match self.expects {
            Expects::Ocw1 => self.imr = value,
            Expects::Icw2 => {
                self.base = value & 0xf8;
                self.expects = if self.single {
                    after_icw3
                } else {
                    Expects::Icw3
                };
            }
            // How the two are wired is a matter of the board.
            Expects::Icw3 => self.expects = after_icw3,
            Expects::Icw4 => {
                self.auto_eoi = value & icw4::AUTO_EOI != 0;
                self.special_nested = value & icw4::SPECIAL_NESTED != 0;
                self.expects = Expects::Ocw1;
            }
        }
    }

    fn read_command(&mut self, cascade: u8) -> u8 {
        if std::mem::take(&mut self.poll) {
            // The read is an interrupt acknowledge, and shows the level ("Poll Command").
            return match self.request(cascade) {
                Some(level) => {
                    self.acknowledge(level);
                    0x80 | level
                }
                None => 0,
            };
        }
        if self.read_in_service {
            self.isr
        } else {
            self.irr
        }
    }
}

impl Pic {
    /// The pair as it is at power-on: masked until it is initialised.
    pub fn new() -> Pic {
        Pic::default()
    }

    /// The ISA line `irq` (0..16) now stands at this level. Line 2 is the cascade and no line at
    /// all; it and what is out of range are ignored.
    pub fn set_line(&mut self, irq: u8, asserted: bool) {
        match irq {
            CASCADE => return,
            0..8 => self.state.master.set_line(irq, asserted),
            8..16 => self.state.slave.set_line(irq - 8, asserted),
            _ => return,
        }
        self.cascade();
    }

    /// The level of the INTR output.
    pub fn intr(&self) -> bool {
        self.state.master.request(1 << CASCADE).is_some()
    }

    /// The interrupt-acknowledge cycle. "Interrupt Sequence".
    ///
    /// Where nothing requests (any more), the answer is level 7, which does not enter ISR.
    pub fn acknowledge(&mut self) -> Vector {
        let State { master, slave } = &mut self.state;
        let vector = match master.request(1 << CASCADE) {
            Some(CASCADE) => {
                master.acknowledge(CASCADE);
                let level = slave.request(0);
                if let Some(level) = level {
                    slave.acknowledge(level);
                }
                let vector = slave.base | level.unwrap_or(SPURIOUS_LEVEL);
                self.cascade_anew();
                vector
            }
            Some(level) => {
                master.acknowledge(level);
                master.base | level
            }
            None => master.base | SPURIOUS_LEVEL,
        };
        Vector(vector)
    }

    /// Carries the slave's INT to the master.
    fn cascade(&mut self) {
        let State { master, slave } = &mut self.state;
        master.set_line(CASCADE, slave.request(0).is_some());
    }

    /// The same after the slave was acknowledged, during which it lowers INT: the master sees a
    /// further request as a new edge.
    fn cascade_anew(&mut self) {
        self.state.master.set_line(CASCADE, false);
        self.cascade();
    }

    fn chip(&mut self, region: usize) -> (&mut Chip, u8) {
        match region {
            0 => (&mut self.state.master, 1 << CASCADE),
            _ => (&mut self.state.slave, 0),
        }
    }

    fn read_byte(&mut self, region: usize, offset: u64) -> u8 {
        if region == ELCR_REGION {
            return match offset {
                0 => self.state.master.elcr,
                _ => self.state.slave.elcr,
            };
        }
        let (chip, cascade) = self.chip(region);
        if offset != 0 {
            return chip.imr;
        }
        let polled = chip.poll;
        let value = chip.read_command(cascade);
        if polled && region != 0 {
            self.cascade_anew();
        }
        value
    }

    fn write_byte(&mut self, region: usize, offset: u64, value: u8) {
        if region == ELCR_REGION {
            let State { master, slave } = &mut self.state;
            let (chip, writable) = match offset {
                0 => (master, spec::ELCR_WRITABLE[0]),
                _ => (slave, spec::ELCR_WRITABLE[1]),
            };
            chip.elcr = value & writable;
            // An input that has become level-triggered requests while its line is high.
            chip.irr |= chip.lines & chip.elcr;
            return;
        }
        let (chip, _) = self.chip(region);
        match offset {
            0 => chip.write_command(value),
            _ => chip.write_data(value),
        }
    }
}

/// The index of the edge/level registers among the regions, after the master's and the slave's.
const ELCR_REGION: usize = 2;

impl Device for Pic {
    fn name(&self) -> String {
        "pic".into()
    }

    fn regions(&self) -> Vec<Region> {
        [spec::MASTER_BASE, spec::SLAVE_BASE, spec::ELCR_BASE]
            .map(|base| Region {
                space: Space::Port,
                base,
                size: 2,
            })
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
        let value = lanes::read(offset, size, |offset| self.read_byte(region, offset));
        self.cascade();
        value
    }

    fn write(
        &mut self,
        _now: Ticks,
        region: usize,
        offset: u64,
        size: u8,
        value: u64,
        _dma: &mut dyn Dma,
        _effects: &mut Effects,
    ) {
        lanes::write(offset, size, value, |offset, byte| {
            self.write_byte(region, offset, byte);
        });
        self.cascade();
    }

    fn reset(&mut self) {
        let Self { state } = self;
        *state = State::default();
    }

    fn save(&self) -> Vec<u8> {
        saved::save(SAVED_VERSION, &self.state)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.state = saved::load("pic", SAVED_VERSION, bytes)?;
        Ok(())
    }
}
