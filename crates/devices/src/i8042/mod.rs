//! The 8042 keyboard controller, with nothing plugged into it, and system control port A (0x92).
//!
//! It is there for its side jobs: resetting the machine and the A20 gate; and so that a driver that
//! probes it gets every answer at once: the controller passes its tests, the auxiliary port does not
//! exist, and the keyboard does not answer, which the controller reports with its timeout bit instead
//! of letting the driver wait.
//!
//! Not modelled: a keyboard or a mouse; address line 20 itself. Its state is kept and shown, and a
//! warning says so when software closes it.
//!
//! Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller".

pub mod spec;
#[cfg(test)]
mod tests;

use crate::saved::{self, Plausible};
use ring3_bus::{Device, Dma, Effect, Effects, LoadError, Region, Space};
use ring3_clock::Ticks;
use serde::{Deserialize, Serialize};
use spec::{command, command_byte, output_port, port_a, status};

/// The ISA line of the keyboard.
pub const IRQ: u8 = 1;

/// The version of the saved form; counts up when that changes.
const SAVED_VERSION: u8 = 1;

/// A keyboard controller without a keyboard.
#[derive(Clone, Debug)]
pub struct I8042 {
    // state
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// The controller's memory; the first byte is the command byte.
    memory: [u8; 32],
    output_port: u8,
    /// A command that waits for its data byte.
    waiting: Option<u8>,
    /// The byte at the data port; it stays there after it was read.
    data: u8,
    /// It has not been read.
    full: bool,
    /// It came with a timeout.
    timeout: bool,
    /// What was written last was a command.
    command_last: bool,
    /// The reset bit of port A.
    port_a_reset: bool,
    /// The level of the interrupt line as the world knows it.
    irq: bool,
}

impl State {
    fn at_reset() -> State {
        State {
            memory: [0; 32],
            output_port: output_port::NO_RESET | output_port::A20,
            waiting: None,
            data: 0,
            full: false,
            timeout: false,
            command_last: false,
            port_a_reset: false,
            irq: false,
        }
    }

    fn answer(&mut self, byte: u8) {
        self.data = byte;
        self.full = true;
        self.timeout = false;
    }

    /// A byte went to a device that is not there.
    fn time_out(&mut self) {
        self.answer(spec::RESEND);
        self.timeout = true;
    }
}

impl Plausible for State {
    fn implausible(&self) -> Option<&'static str> {
        None
    }
}

impl Default for I8042 {
    fn default() -> I8042 {
        I8042::new()
    }
}

impl I8042 {
    /// The controller as it is at power-on, with A20 open.
    pub fn new() -> I8042 {
        I8042 {
            state: State::at_reset(),
        }
    }

    /// Whether address line 20 is let through.
    pub fn a20(&self) -> bool {
        self.state.output_port & output_port::A20 != 0
    }

    fn status(&self) -> u8 {
        let State {
            memory,
            full,
            timeout,
            command_last,
            ..
        } = &self.state;
        let flag = |is_set: bool, bit| if is_set { bit } else { 0 };
        status::UNLOCKED
            | flag(*full, status::OUTPUT_FULL)
            | flag(memory[0] & command_byte::SYSTEM != 0, status::SYSTEM)
            | flag(*command_last, status::COMMAND)
            | flag(*full && *timeout, status::TIMEOUT)
    }

    fn write_command(&mut self, value: u8, effects: &mut Effects) {
        let state = &mut self.state;
        state.command_last = true;
        state.waiting = None;
        match value {
            0x20..0x40 => state.answer(state.memory[usize::from(value - command::READ_MEMORY)]),
            0x60..0x80
            | command::WRITE_OUTPUT
            | command::KEYBOARD_LOOP
            | command::AUXILIARY_LOOP
            | command::AUXILIARY_WRITE => state.waiting = Some(value),
            command::AUXILIARY_OFF => state.memory[0] |= command_byte::AUXILIARY_OFF,
            command::AUXILIARY_ON => state.memory[0] &= !command_byte::AUXILIARY_OFF,
            command::AUXILIARY_TEST => state.answer(spec::CLOCK_STUCK_LOW),
            command::SELF_TEST => {
                state.memory[0] |= command_byte::SYSTEM;
                state.answer(spec::SELF_TEST_PASSED);
            }
            command::KEYBOARD_TEST => state.answer(spec::LINES_GOOD),
            command::KEYBOARD_OFF => state.memory[0] |= command_byte::KEYBOARD_OFF,
            command::KEYBOARD_ON => state.memory[0] &= !command_byte::KEYBOARD_OFF,
            // The keyboard is not inhibited.
            command::READ_INPUT => state.answer(0x80),
            command::READ_OUTPUT => state.answer(state.output_port),
            command::READ_TEST => state.answer(0),
            command::PULSE.. => {
                if value & output_port::NO_RESET == 0 {
                    effects.push(Effect::Reset);
                }
            }
            _ => effects.push(Effect::Warning(format!(
                "keyboard controller: the command {value:#04x} is unknown"
            ))),
        }
    }

    fn write_data(&mut self, value: u8, effects: &mut Effects) {
        let state = &mut self.state;
        state.command_last = false;
        match state.waiting.take() {
            Some(waiting @ 0x60..0x80) => {
                state.memory[usize::from(waiting - command::WRITE_MEMORY)] = value;
            }
            Some(command::WRITE_OUTPUT) => self.write_output_port(value, effects),
            // With no auxiliary port the byte comes back without the auxiliary device's bit in the
            // status, by which a driver knows.
            Some(command::KEYBOARD_LOOP | command::AUXILIARY_LOOP) => state.answer(value),
            Some(_) => state.time_out(),
            None => {
                // Talking to the keyboard releases its clock.
                state.memory[0] &= !command_byte::KEYBOARD_OFF;
                state.time_out();
            }
        }
    }

    fn write_output_port(&mut self, value: u8, effects: &mut Effects) {
        self.set_a20(value & output_port::A20 != 0, effects);
        // The reset line is not held, so that the bit reads as set afterwards.
        self.state.output_port = value | output_port::NO_RESET;
        if value & output_port::NO_RESET == 0 {
            effects.push(Effect::Reset);
        }
    }

    fn read_port_a(&self) -> u8 {
        let a20 = if self.a20() { port_a::A20 } else { 0 };
        a20 | u8::from(self.state.port_a_reset)
    }

    fn write_port_a(&mut self, value: u8, effects: &mut Effects) {
        self.set_a20(value & port_a::A20 != 0, effects);
        let reset = value & port_a::RESET != 0;
        if reset && !self.state.port_a_reset {
            effects.push(Effect::Reset);
        }
        self.state.port_a_reset = reset;
    }

    fn set_a20(&mut self, open: bool, effects: &mut Effects) {
        if self.a20() && !open {
            effects.push(Effect::Warning(
                "keyboard controller: address line 20 was closed; this machine leaves it open"
                    .into(),
            ));
        }
        if open {
            self.state.output_port |= output_port::A20;
        } else {
            self.state.output_port &= !output_port::A20;
        }
    }

    fn update_irq(&mut self, effects: &mut Effects) {
        let enabled = self.state.memory[0] & command_byte::INTERRUPT != 0;
        let irq = enabled && self.state.full;
        if irq != self.state.irq {
            self.state.irq = irq;
            effects.push(Effect::Line {
                irq: IRQ,
                asserted: irq,
            });
        }
    }
}

/// Indices of the regions.
const DATA_REGION: usize = 0;
const COMMAND_REGION: usize = 1;

impl Device for I8042 {
    fn name(&self) -> String {
        "i8042".into()
    }

    fn regions(&self) -> Vec<Region> {
        [spec::DATA_PORT, spec::COMMAND_PORT, spec::PORT_A]
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
        effects: &mut Effects,
    ) -> u64 {
        let value = match region {
            DATA_REGION => {
                self.state.full = false;
                self.state.data
            }
            COMMAND_REGION => self.status(),
            _ => self.read_port_a(),
        };
        self.update_irq(effects);
        value.into()
    }

    fn write(
        &mut self,
        _now: Ticks,
        region: usize,
        _offset: u64,
        _size: u8,
        value: u64,
        _dma: &mut dyn Dma,
        effects: &mut Effects,
    ) {
        match region {
            DATA_REGION => self.write_data(value as u8, effects),
            COMMAND_REGION => self.write_command(value as u8, effects),
            _ => self.write_port_a(value as u8, effects),
        }
        self.update_irq(effects);
    }

    fn reset(&mut self) {
        let Self { state } = self;
        *state = State::at_reset();
    }

    fn save(&self) -> Vec<u8> {
        saved::save(SAVED_VERSION, &self.state)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.state = saved::load("i8042", SAVED_VERSION, bytes)?;
        Ok(())
    }
}
