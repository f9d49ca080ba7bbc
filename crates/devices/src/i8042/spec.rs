//! The registers and commands of the 8042 keyboard controller, and of system control port A.
//!
//! Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device
//! Controller" and "System Control Port A".

/// The data port.
pub const DATA_PORT: u64 = 0x60;
/// The status (read) and command (write) port.
pub const COMMAND_PORT: u64 = 0x64;
/// System control port A.
pub const PORT_A: u64 = 0x92;

/// Bits of the status port.
pub mod status {
    /// OBF: a byte can be read.
    pub const OUTPUT_FULL: u8 = 1 << 0;
    /// SYS: the self test has passed.
    pub const SYSTEM: u8 = 1 << 2;
    /// A2: what was written last was a command.
    pub const COMMAND: u8 = 1 << 3;
    /// The keyboard is not locked.
    pub const UNLOCKED: u8 = 1 << 4;
    /// The keyboard did not answer in time.
    pub const TIMEOUT: u8 = 1 << 6;
}

/// Bits of the command byte, which is byte 0 of the controller's memory.
pub mod command_byte {
    /// IRQ 1 when a byte can be read.
    pub const INTERRUPT: u8 = 1 << 0;
    /// Shown as [`super::status::SYSTEM`].
    pub const SYSTEM: u8 = 1 << 2;
    /// The keyboard's clock is held.
    pub const KEYBOARD_OFF: u8 = 1 << 4;
    /// The auxiliary device's clock is held.
    pub const AUXILIARY_OFF: u8 = 1 << 5;
}

/// Commands.
pub mod command {
    /// Read byte 0..=31 of the controller's memory: 0x20 to 0x3F.
    pub const READ_MEMORY: u8 = 0x20;
    /// Write the next data byte to byte 0..=31 of the controller's memory: 0x60 to 0x7F.
    pub const WRITE_MEMORY: u8 = 0x60;
    /// Hold the auxiliary device.
    pub const AUXILIARY_OFF: u8 = 0xa7;
    /// Release it.
    pub const AUXILIARY_ON: u8 = 0xa8;
    /// Test the auxiliary device's lines.
    pub const AUXILIARY_TEST: u8 = 0xa9;
    /// Test the controller.
    pub const SELF_TEST: u8 = 0xaa;
    /// Test the keyboard's lines.
    pub const KEYBOARD_TEST: u8 = 0xab;
    /// Hold the keyboard.
    pub const KEYBOARD_OFF: u8 = 0xad;
    /// Release it.
    pub const KEYBOARD_ON: u8 = 0xae;
    /// Read the input port.
    pub const READ_INPUT: u8 = 0xc0;
    /// Read the output port.
    pub const READ_OUTPUT: u8 = 0xd0;
    /// Write the next data byte to the output port.
    pub const WRITE_OUTPUT: u8 = 0xd1;
    /// The next data byte comes back as if from the keyboard.
    pub const KEYBOARD_LOOP: u8 = 0xd2;
    /// The next data byte comes back as if from the auxiliary device.
    pub const AUXILIARY_LOOP: u8 = 0xd3;
    /// The next data byte goes to the auxiliary device.
    pub const AUXILIARY_WRITE: u8 = 0xd4;
    /// Read the test inputs.
    pub const READ_TEST: u8 = 0xe0;
    /// 0xF0 to 0xFF: pulse those of the output port's bits 3:0 low that are clear in the command.
    pub const PULSE: u8 = 0xf0;
}

/// Bits of the output port.
pub mod output_port {
    /// Low: the processor is held in reset.
    pub const NO_RESET: u8 = 1 << 0;
    /// Address line 20 is not forced to zero.
    pub const A20: u8 = 1 << 1;
}

/// Bits of system control port A.
pub mod port_a {
    /// A rising edge resets the processor.
    pub const RESET: u8 = 1 << 0;
    /// Address line 20, the same as in the output port.
    pub const A20: u8 = 1 << 1;
}

/// Answer of a self test that passed.
pub const SELF_TEST_PASSED: u8 = 0x55;
/// Answer of a line test that passed.
pub const LINES_GOOD: u8 = 0x00;
/// Answer of a line test where the clock line is stuck low, as where there is no connector.
pub const CLOCK_STUCK_LOW: u8 = 0x01;
/// What the controller makes of a device that does not answer: "resend", with the timeout bit.
pub const RESEND: u8 = 0xfe;
