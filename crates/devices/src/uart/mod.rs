//! The 16550A serial port.
//!
//! Modelled: every register of a PC16550D; the receiver's FIFO with trigger levels and character
//! timeout, interrupt priorities, the behaviour of the transmitter-empty interrupt that drivers probe
//! for, modem status with its changes, loopback, the divisor latch, and OUT 2 as the gate between
//! the interrupt and the bus.
//!
//! Sending takes no time: a byte leaves as [`Effect::Output`] with the write that sends it, and the
//! transmitter is empty again at once, whatever the divisor says. (A driver that fills a 16-byte FIFO
//! from its interrupt handler is thereby asked for more immediately.) Receiving takes no time either,
//! but the character timeout is one of four characters at the programmed speed, so that a driver sees
//! the sources of its interrupts as on hardware. Whoever gives bytes to [`Uart::receive`] is held back
//! by the FIFO, so that nothing is lost; an overrun happens in loopback only.
//!
//! Not modelled: parity, framing and break errors, the transmitter's FIFO (it would always be empty),
//! DMA mode. The modem lines say that a terminal is connected and ready.
//!
//! Source: National Semiconductor PC16550D (TL/C/8652).

pub mod spec;
#[cfg(test)]
mod tests;

use crate::lanes;
use crate::saved::{self, Plausible};
use ring3_bus::{Device, Dma, Effect, Effects, LoadError, Region, Space};
use ring3_clock::Ticks;
use serde::{Deserialize, Serialize};
use spec::{FIFO_SIZE, fcr, ier, iir, lcr, lsr, mcr, msr, offset};

/// The version of the saved form; counts up when that changes.
const SAVED_VERSION: u8 = 1;

/// The modem status of a terminal that is there and ready.
const CONNECTED: u8 = msr::CTS | msr::DSR | msr::DCD;

/// The places where a PC has serial ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Com {
    /// Port 0x3F8, IRQ 4.
    Com1,
    /// Port 0x2F8, IRQ 3.
    Com2,
    /// Port 0x3E8, IRQ 4.
    Com3,
    /// Port 0x2E8, IRQ 3.
    Com4,
}

impl Com {
    /// Its first port.
    pub fn base(self) -> u16 {
        match self {
            Com::Com1 => 0x3f8,
            Com::Com2 => 0x2f8,
            Com::Com3 => 0x3e8,
            Com::Com4 => 0x2e8,
        }
    }

    /// Its ISA line.
    pub fn irq(self) -> u8 {
        match self {
            Com::Com1 | Com::Com3 => 4,
            Com::Com2 | Com::Com4 => 3,
        }
    }
}

/// A serial port.
#[derive(Clone, Debug)]
pub struct Uart {
    // configuration
    com: Com,
    // counters (for the host; never read by behaviour)
    /// Reads of the line status with nothing else between them.
    polls: u32,
    // state
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    ier: u8,
    lcr: u8,
    mcr: u8,
    scratch: u8,
    divisor: u16,
    fifos: bool,
    /// Index into [`fcr::TRIGGERS`].
    trigger: u8,
    overrun: bool,
    /// The low half of the modem status.
    changes: u8,
    /// The transmitter became empty and nobody has been told.
    empty_pending: bool,
    received: Vec<u8>,
    /// When the character timeout comes, unless something happens before.
    timeout: Option<Ticks>,
    /// It came.
    timed_out: bool,
    /// The level of the interrupt line as the world knows it.
    irq: bool,
}

impl State {
    fn at_reset() -> State {
        State {
            ier: 0,
            lcr: 0,
            mcr: 0,
            scratch: 0,
            // The datasheet leaves it open; 9600 baud.
            divisor: 12,
            fifos: false,
            trigger: 0,
            overrun: false,
            changes: 0,
            empty_pending: false,
            received: Vec::new(),
            timeout: None,
            timed_out: false,
            irq: false,
        }
    }

    fn capacity(&self) -> usize {
        if self.fifos { FIFO_SIZE } else { 1 }
    }

    fn loopback(&self) -> bool {
        self.mcr & mcr::LOOPBACK != 0
    }

    /// The levels of the modem lines. In loopback they are the modem control outputs.
    fn modem_lines(&self) -> u8 {
        if !self.loopback() {
            return CONNECTED;
        }
        [
            (mcr::RTS, msr::CTS),
            (mcr::DTR, msr::DSR),
            (mcr::OUT_1, msr::RI),
            (mcr::OUT_2, msr::DCD),
        ]
        .iter()
        .filter(|(output, _)| self.mcr & output != 0)
        .fold(0, |lines, (_, input)| lines | input)
    }

    /// The interrupt of the highest priority. "Interrupt Identification Register".
    fn interrupt(&self) -> u8 {
        let enabled = |source| self.ier & source != 0;
        let enough = if self.fifos {
            fcr::TRIGGERS[usize::from(self.trigger)]
        } else {
            1
        };
        if enabled(ier::LINE_STATUS) && self.overrun {
            iir::LINE_STATUS
        } else if enabled(ier::RECEIVED) && self.received.len() >= enough {
            iir::RECEIVED
        } else if enabled(ier::RECEIVED) && self.timed_out {
            iir::TIMEOUT
        } else if enabled(ier::EMPTY) && self.empty_pending {
            iir::EMPTY
        } else if enabled(ier::MODEM_STATUS) && self.changes != 0 {
            iir::MODEM_STATUS
        } else {
            iir::NONE
        }
    }

    /// How long four characters take.
    fn four_characters(&self) -> Ticks {
        let flag = |bit| u64::from(self.lcr & bit != 0);
        let word = 5 + u64::from(self.lcr & lcr::WORD_LENGTH);
        let bits = 1 + word + flag(lcr::PARITY) + 1 + flag(lcr::STOP);
        let divisor = u64::from(self.divisor).max(1);
        Ticks::from_periods(4 * bits * 16 * divisor, spec::CLOCK_HZ)
    }

    /// A character was received or read: the timeout starts anew while there are more.
    fn restart_timeout(&mut self, now: Ticks) {
        self.timed_out = false;
        self.timeout = (self.fifos && !self.received.is_empty())
            .then(|| now.saturating_add(self.four_characters()));
    }

    fn catch_up(&mut self, now: Ticks) {
        if self.timeout.is_some_and(|timeout| timeout <= now) {
            self.timeout = None;
            self.timed_out = true;
        }
    }

    fn clear_received(&mut self) {
        self.received.clear();
        self.timeout = None;
        self.timed_out = false;
    }
}

impl Plausible for State {
    fn implausible(&self) -> Option<&'static str> {
        if self.ier & !ier::ALL != 0 || self.mcr & !mcr::ALL != 0 {
            return Some("a reserved bit is set");
        }
        if self.changes & !msr::CHANGES != 0 || usize::from(self.trigger) >= fcr::TRIGGERS.len() {
            return Some("a field is out of range");
        }
        (self.received.len() > self.capacity()).then_some("the FIFO holds too much")
    }
}

impl Uart {
    /// The serial port at one of its usual places.
    pub fn new(com: Com) -> Uart {
        Uart {
            com,
            polls: 0,
            state: State::at_reset(),
        }
    }

    /// Where it is.
    pub fn com(&self) -> Com {
        self.com
    }

    /// Whether the guest expects input: its driver has the interrupt on, or it asks for the status
    /// again and again. What arrives earlier is thrown away by most drivers when they start, so
    /// input that can wait should.
    pub fn is_listening(&self) -> bool {
        // Senders look at the status too, once or twice per character.
        const POLLS: u32 = 16;
        !self.state.loopback() && (self.state.ier & ier::RECEIVED != 0 || self.polls >= POLLS)
    }

    /// How many bytes [`Uart::receive`] would take now. In loopback the line is disconnected and
    /// nothing is taken.
    pub fn room(&self) -> usize {
        if self.state.loopback() {
            0
        } else {
            self.state
                .capacity()
                .saturating_sub(self.state.received.len())
        }
    }

    /// Bytes arrive on the line. Returns how many were taken, from the beginning of `bytes`; offer
    /// the rest again when there is [`Uart::room`].
    pub fn receive(&mut self, now: Ticks, bytes: &[u8], effects: &mut Effects) -> usize {
        let before = self.deadline();
        self.state.catch_up(now);
        let taken = self.room().min(bytes.len());
        if taken > 0 {
            self.state.received.extend_from_slice(&bytes[..taken]);
            self.state.restart_timeout(now);
        }
        self.update_irq(effects);
        self.announce(before, effects);
        taken
    }

    fn transmit(&mut self, now: Ticks, byte: u8, effects: &mut Effects) {
        // The holding register is full for an instant: an edge-triggered line needs to see it.
        self.state.empty_pending = false;
        self.update_irq(effects);
        if !self.state.loopback() {
            effects.push(Effect::Output {
                stream: 0,
                bytes: vec![byte],
            });
        } else if self.state.received.len() < self.state.capacity() {
            self.state.received.push(byte);
            self.state.restart_timeout(now);
        } else {
            // Without FIFO the new character replaces the old one, with FIFO it is lost.
            if !self.state.fifos {
                self.state.received[0] = byte;
            }
            self.state.overrun = true;
        }
        self.state.empty_pending = true;
        self.update_irq(effects);
    }

    fn read_byte(&mut self, now: Ticks, register: u64) -> u8 {
        self.polls = match register {
            offset::LINE_STATUS => self.polls.saturating_add(1),
            _ => 0,
        };
        let state = &mut self.state;
        let latch = state.lcr & lcr::DIVISOR_LATCH != 0;
        match register {
            offset::DATA if latch => state.divisor as u8,
            offset::DATA => {
                if state.received.is_empty() {
                    return 0;
                }
                let byte = state.received.remove(0);
                state.restart_timeout(now);
                byte
            }
            offset::INTERRUPT_ENABLE if latch => (state.divisor >> 8) as u8,
            offset::INTERRUPT_ENABLE => state.ier,
            offset::INTERRUPT_ID => {
                let interrupt = state.interrupt();
                // Reading it, if it is the source, resets this interrupt.
                if interrupt == iir::EMPTY {
                    state.empty_pending = false;
                }
                interrupt | if state.fifos { iir::FIFOS } else { 0 }
            }
            offset::LINE_CONTROL => state.lcr,
            offset::MODEM_CONTROL => state.mcr,
            offset::LINE_STATUS => {
                let mut status = lsr::HOLDING_EMPTY | lsr::TRANSMITTER_EMPTY;
                if !state.received.is_empty() {
                    status |= lsr::DATA_READY;
                }
                if std::mem::take(&mut state.overrun) {
                    status |= lsr::OVERRUN;
                }
                status
            }
            offset::MODEM_STATUS => state.modem_lines() | std::mem::take(&mut state.changes),
            _ => state.scratch,
        }
    }

    fn write_byte(&mut self, now: Ticks, register: u64, value: u8, effects: &mut Effects) {
        self.polls = 0;
        let state = &mut self.state;
        let latch = state.lcr & lcr::DIVISOR_LATCH != 0;
        match register {
            offset::DATA if latch => state.divisor = state.divisor & 0xff00 | u16::from(value),
            offset::DATA => self.transmit(now, value, effects),
            offset::INTERRUPT_ENABLE if latch => {
                state.divisor = state.divisor & 0x00ff | u16::from(value) << 8;
            }
            offset::INTERRUPT_ENABLE => {
                let newly = value & !state.ier;
                state.ier = value & ier::ALL;
                // Enabling it with an empty transmitter, which is always, raises it.
                if newly & ier::EMPTY != 0 {
                    state.empty_pending = true;
                }
            }
            offset::INTERRUPT_ID => self.write_fifo_control(value),
            offset::LINE_CONTROL => state.lcr = value,
            offset::MODEM_CONTROL => {
                let before = state.modem_lines();
                state.mcr = value & mcr::ALL;
                let after = state.modem_lines();
                let ring_ended = before & !after & msr::RI;
                let changed = (before ^ after) & !msr::RI | ring_ended;
                state.changes |= changed >> 4;
            }
            // Writing the status registers is for factory testing.
            offset::LINE_STATUS | offset::MODEM_STATUS => {}
            _ => state.scratch = value,
        }
    }

    fn write_fifo_control(&mut self, value: u8) {
        let state = &mut self.state;
        let enable = value & fcr::ENABLE != 0;
        // Changing the mode empties the FIFOs.
        if enable != state.fifos || (enable && value & fcr::CLEAR_RECEIVER != 0) {
            state.clear_received();
        }
        state.fifos = enable;
        if enable {
            state.trigger = value >> fcr::TRIGGER_SHIFT;
        }
    }

    fn update_irq(&mut self, effects: &mut Effects) {
        let gate = self.state.mcr & (mcr::OUT_2 | mcr::LOOPBACK) == mcr::OUT_2;
        let irq = gate && self.state.interrupt() != iir::NONE;
        if irq != self.state.irq {
            self.state.irq = irq;
            effects.push(Effect::Line {
                irq: self.com.irq(),
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

impl Device for Uart {
    fn name(&self) -> String {
        format!("{:?}", self.com).to_lowercase()
    }

    fn regions(&self) -> Vec<Region> {
        vec![Region {
            space: Space::Port,
            base: self.com.base().into(),
            size: 8,
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
        let value = lanes::read(offset, size, |offset| self.read_byte(now, offset));
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
        lanes::write(offset, size, value, |offset, byte| {
            self.write_byte(now, offset, byte, effects);
        });
        self.update_irq(effects);
        self.announce(before, effects);
    }

    fn deadline(&self) -> Option<Ticks> {
        self.state
            .timeout
            .filter(|_| self.state.ier & ier::RECEIVED != 0)
    }

    fn advance(&mut self, now: Ticks, _dma: &mut dyn Dma, effects: &mut Effects) {
        self.state.catch_up(now);
        self.update_irq(effects);
    }

    fn reset(&mut self) {
        let Self {
            com: _,
            polls: _,
            state,
        } = self;
        *state = State::at_reset();
    }

    fn save(&self) -> Vec<u8> {
        saved::save(SAVED_VERSION, &self.state)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.state = saved::load(&self.name(), SAVED_VERSION, bytes)?;
        Ok(())
    }
}
