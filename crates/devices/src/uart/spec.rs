//! The registers of the 16550A.
//!
//! Source: National Semiconductor PC16550D Universal Asynchronous Receiver/Transmitter with FIFOs
//! (TL/C/8652), "Registers".

/// The clock that the divisor divides, in Hz; sixteen periods of the result are one bit.
pub const CLOCK_HZ: u64 = 1_843_200;

/// How many bytes the receiver's FIFO holds.
pub const FIFO_SIZE: usize = 16;

/// Offsets of the registers.
pub mod offset {
    /// Receiver buffer (read), transmitter holding register (write); divisor latch, low byte.
    pub const DATA: u64 = 0;
    /// Interrupt enable; divisor latch, high byte.
    pub const INTERRUPT_ENABLE: u64 = 1;
    /// Interrupt identification (read), FIFO control (write).
    pub const INTERRUPT_ID: u64 = 2;
    /// Line control.
    pub const LINE_CONTROL: u64 = 3;
    /// Modem control.
    pub const MODEM_CONTROL: u64 = 4;
    /// Line status.
    pub const LINE_STATUS: u64 = 5;
    /// Modem status.
    pub const MODEM_STATUS: u64 = 6;
    /// Scratch.
    pub const SCRATCH: u64 = 7;
}

/// Interrupt enable register.
pub mod ier {
    /// ERBFI: received data available and character timeout.
    pub const RECEIVED: u8 = 1 << 0;
    /// ETBEI: transmitter holding register empty.
    pub const EMPTY: u8 = 1 << 1;
    /// ELSI: receiver line status.
    pub const LINE_STATUS: u8 = 1 << 2;
    /// EDSSI: modem status.
    pub const MODEM_STATUS: u8 = 1 << 3;
    /// All there are.
    pub const ALL: u8 = 0x0f;
}

/// Interrupt identification register, in falling priority.
pub mod iir {
    /// Receiver line status.
    pub const LINE_STATUS: u8 = 0x06;
    /// Received data available.
    pub const RECEIVED: u8 = 0x04;
    /// Character timeout.
    pub const TIMEOUT: u8 = 0x0c;
    /// Transmitter holding register empty.
    pub const EMPTY: u8 = 0x02;
    /// Modem status.
    pub const MODEM_STATUS: u8 = 0x00;
    /// None.
    pub const NONE: u8 = 0x01;
    /// The FIFOs are enabled.
    pub const FIFOS: u8 = 0xc0;
}

/// FIFO control register.
pub mod fcr {
    /// The FIFOs are enabled; needed for the other bits to mean something.
    pub const ENABLE: u8 = 1 << 0;
    /// Empty the receiver's.
    pub const CLEAR_RECEIVER: u8 = 1 << 1;
    /// Position of the receiver's trigger level.
    pub const TRIGGER_SHIFT: u32 = 6;
    /// The trigger levels, in bytes.
    pub const TRIGGERS: [usize; 4] = [1, 4, 8, 14];
}

/// Line control register.
pub mod lcr {
    /// Bits 1:0: the word length less five.
    pub const WORD_LENGTH: u8 = 3;
    /// A second stop bit.
    pub const STOP: u8 = 1 << 2;
    /// A parity bit.
    pub const PARITY: u8 = 1 << 3;
    /// DLAB: the first two registers are the divisor latch.
    pub const DIVISOR_LATCH: u8 = 1 << 7;
}

/// Modem control register.
pub mod mcr {
    /// Data terminal ready.
    pub const DTR: u8 = 1 << 0;
    /// Request to send.
    pub const RTS: u8 = 1 << 1;
    /// OUT 1.
    pub const OUT_1: u8 = 1 << 2;
    /// OUT 2; on a PC it connects the interrupt to the bus.
    pub const OUT_2: u8 = 1 << 3;
    /// Loopback.
    pub const LOOPBACK: u8 = 1 << 4;
    /// All there are.
    pub const ALL: u8 = 0x1f;
}

/// Line status register.
pub mod lsr {
    /// Data ready.
    pub const DATA_READY: u8 = 1 << 0;
    /// Overrun error.
    pub const OVERRUN: u8 = 1 << 1;
    /// Transmitter holding register empty.
    pub const HOLDING_EMPTY: u8 = 1 << 5;
    /// Transmitter empty.
    pub const TRANSMITTER_EMPTY: u8 = 1 << 6;
}

/// Modem status register; the low half says which of the high half has changed.
pub mod msr {
    /// Clear to send.
    pub const CTS: u8 = 1 << 4;
    /// Data set ready.
    pub const DSR: u8 = 1 << 5;
    /// Ring indicator. Its change counts only when it goes off.
    pub const RI: u8 = 1 << 6;
    /// Data carrier detect.
    pub const DCD: u8 = 1 << 7;
    /// The changes.
    pub const CHANGES: u8 = 0x0f;
}
