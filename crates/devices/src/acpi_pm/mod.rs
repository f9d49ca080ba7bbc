//! ACPI fixed hardware: events, sleep control, the power management timer, and the reset register.
//!
//! Modelled: PM1a event and control registers, the timer with 24 or 32 bits and its carry event, the
//! power and the sleep button, soft off (S5), the SCI as a level, the reset control register at port
//! 0xCF9.
//!
//! Not modelled: SMI and the legacy mode (SCI_EN is always set), the sleeping states S1 to S4,
//! general-purpose events, the PM1b and PM2 blocks, wake-up.
//!
//! Port 0xCF9 lies inside the four bytes of PCI's configuration address register at 0xCF8. Chipsets
//! tell them apart by width: a byte at 0xCF9 is the reset register, a double word at 0xCF8 is PCI's.
//! The region here has that one byte.
//!
//! Source: ACPI Specification 6.5, "ACPI Hardware Specification".

pub mod spec;
#[cfg(test)]
mod tests;

use crate::lanes;
use crate::saved::{self, Plausible};
use ring3_bus::{Device, Dma, Effect, Effects, LoadError, Region, Space};
use ring3_clock::Ticks;
use serde::{Deserialize, Serialize};
use spec::{control, event, reset};

/// The version of the saved form; counts up when that changes.
const SAVED_VERSION: u8 = 1;

/// How wide the power management timer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerWidth {
    /// 24 bits; the FADT's TMR_VAL_EXT flag is clear.
    Bits24,
    /// 32 bits; the FADT's TMR_VAL_EXT flag is set.
    Bits32,
}

impl TimerWidth {
    fn bits(self) -> u32 {
        match self {
            TimerWidth::Bits24 => 24,
            TimerWidth::Bits32 => 32,
        }
    }
}

/// ACPI's fixed hardware.
#[derive(Clone, Debug)]
pub struct AcpiPm {
    // configuration
    timer_width: TimerWidth,
    // state
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// PM1_STS without the timer's bit.
    status: u16,
    /// PM1_EN.
    enable: u16,
    /// PM1_CNT, as far as it is stored.
    control: u16,
    /// The reset control register.
    reset: u8,
    /// How many times the timer's most significant bit had changed when its status was cleared.
    carries_cleared: u64,
    /// The level of the SCI as the world knows it.
    sci: bool,
}

impl State {
    fn at_reset() -> State {
        State {
            status: 0,
            enable: 0,
            control: 0,
            reset: 0,
            carries_cleared: 0,
            sci: false,
        }
    }
}

impl Plausible for State {
    fn implausible(&self) -> Option<&'static str> {
        let is_fine = self.status & !(event::STATUSES & !event::TIMER) == 0
            && self.enable & !event::ENABLES == 0
            && self.control & !control::STORED == 0
            && self.reset & !reset::STORED == 0;
        (!is_fine).then_some("a reserved bit is set")
    }
}

impl AcpiPm {
    /// Fixed hardware whose timer has this width.
    pub fn new(timer_width: TimerWidth) -> AcpiPm {
        AcpiPm {
            timer_width,
            state: State::at_reset(),
        }
    }

    /// How wide the timer is, for the FADT.
    pub fn timer_width(&self) -> TimerWidth {
        self.timer_width
    }

    /// Somebody presses the power button: the operating system is asked to shut down.
    pub fn press_power_button(&mut self, now: Ticks, effects: &mut Effects) {
        self.state.status |= event::POWER_BUTTON;
        self.update_sci(now, effects);
    }

    /// Somebody presses the sleep button.
    pub fn press_sleep_button(&mut self, now: Ticks, effects: &mut Effects) {
        self.state.status |= event::SLEEP_BUTTON;
        self.update_sci(now, effects);
    }

    /// The timer: a free-running counter.
    fn timer(&self, now: Ticks) -> u32 {
        let count = now.to_periods(spec::TIMER_HZ);
        (count & (!0 >> (64 - self.timer_width.bits()))) as u32
    }

    /// How many times the most significant bit of the timer has changed since the beginning.
    fn carries(&self, now: Ticks) -> u64 {
        now.to_periods(spec::TIMER_HZ) >> (self.timer_width.bits() - 1)
    }

    /// PM1_STS.
    fn status(&self, now: Ticks) -> u16 {
        let carried = self.carries(now) > self.state.carries_cleared;
        self.state.status | if carried { event::TIMER } else { 0 }
    }

    fn update_sci(&mut self, now: Ticks, effects: &mut Effects) {
        let sci = self.status(now) & self.state.enable != 0;
        if sci != self.state.sci {
            self.state.sci = sci;
            effects.push(Effect::Line {
                irq: spec::SCI_IRQ,
                asserted: sci,
            });
        }
    }

    fn read_byte(&self, now: Ticks, offset: u64) -> u8 {
        let byte_of = |word: u16| word.to_le_bytes()[(offset & 1) as usize];
        match offset {
            0..2 => byte_of(self.status(now)),
            2..4 => byte_of(self.state.enable),
            4..6 => byte_of(self.state.control | control::SCI_ENABLE),
            8..12 => self.timer(now).to_le_bytes()[(offset - spec::TIMER_OFFSET) as usize],
            _ => 0,
        }
    }

    fn write_byte(&mut self, now: Ticks, offset: u64, value: u8, effects: &mut Effects) {
        let shift = 8 * (offset & 1);
        let bits = u16::from(value) << shift;
        let lane = 0xff << shift;
        match offset {
            // A status bit is cleared by writing a one to it.
            0..2 => {
                self.state.status &= !bits;
                if bits & event::TIMER != 0 {
                    self.state.carries_cleared = self.carries(now);
                }
            }
            2..4 => {
                self.state.enable = self.state.enable & !lane | bits & event::ENABLES;
            }
            4..6 => {
                self.state.control = self.state.control & !lane | bits & control::STORED;
                if bits & control::SLEEP_ENABLE != 0 {
                    self.sleep(effects);
                }
            }
            // The timer is read-only, and two bytes are nothing.
            _ => {}
        }
    }

    /// SLP_EN was written.
    fn sleep(&mut self, effects: &mut Effects) {
        let sleep_type = self.state.control >> control::SLEEP_TYPE_SHIFT;
        effects.push(if sleep_type == u16::from(spec::SLEEP_TYPE_S5) {
            Effect::PowerOff { status: None }
        } else {
            Effect::Warning(format!(
                "ACPI: a sleeping state of type {sleep_type} was asked for; this machine has only \
                 soft off, type {}",
                spec::SLEEP_TYPE_S5
            ))
        });
    }

    fn write_reset(&mut self, value: u8, effects: &mut Effects) {
        let rises = value & reset::RESET != 0 && self.state.reset & reset::RESET == 0;
        self.state.reset = value & reset::STORED;
        if rises {
            effects.push(Effect::Reset);
        }
    }
}

/// The index of the fixed-hardware block among the regions; the reset register is the other.
const BLOCK_REGION: usize = 0;

impl Device for AcpiPm {
    fn name(&self) -> String {
        "acpi-pm".into()
    }

    fn regions(&self) -> Vec<Region> {
        [(spec::BASE, spec::SIZE), (u64::from(spec::RESET_PORT), 1)]
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
        if region != BLOCK_REGION {
            return u64::from(self.state.reset);
        }
        let value = lanes::read(offset, size, |offset| self.read_byte(now, offset));
        self.update_sci(now, effects);
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
        if region != BLOCK_REGION {
            self.write_reset(value as u8, effects);
            return;
        }
        let before = self.deadline();
        lanes::write(offset, size, value, |offset, byte| {
            self.write_byte(now, offset, byte, effects);
        });
        self.update_sci(now, effects);
        if self.deadline() != before {
            effects.push(Effect::DeadlineChanged);
        }
    }

    /// The next carry of the timer, if anybody wants to hear of it and has not been told already.
    fn deadline(&self) -> Option<Ticks> {
        if self.state.enable & event::TIMER == 0 || self.state.sci {
            return None;
        }
        let carry = self.state.carries_cleared.checked_add(1)?;
        let count = u128::from(carry) << (self.timer_width.bits() - 1);
        let count = u64::try_from(count).ok()?;
        Some(Ticks::from_periods(count, spec::TIMER_HZ))
    }

    fn advance(&mut self, now: Ticks, _dma: &mut dyn Dma, effects: &mut Effects) {
        self.update_sci(now, effects);
    }

    /// The timer runs on: it counts from the beginning of time, not from reset.
    fn reset(&mut self) {
        let Self {
            timer_width: _,
            state,
        } = self;
        *state = State::at_reset();
    }

    fn save(&self) -> Vec<u8> {
        saved::save(SAVED_VERSION, &self.state)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.state = saved::load("acpi-pm", SAVED_VERSION, bytes)?;
        Ok(())
    }
}
