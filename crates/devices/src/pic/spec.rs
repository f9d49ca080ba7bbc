//! The registers of the 8259A pair.
//!
//! Source: Intel 8259A Programmable Interrupt Controller (231468), "Programming the 8259A"; the edge
//! and level registers are those of PC chipsets, Intel 82371SB (PIIX3), "ELCR: Edge/Level Control
//! Register".

/// First port of the master.
pub const MASTER_BASE: u64 = 0x20;
/// First port of the slave.
pub const SLAVE_BASE: u64 = 0xa0;
/// First port of the edge/level registers: the master's, then the slave's.
pub const ELCR_BASE: u64 = 0x4d0;

/// The input of the master to which the slave is wired.
pub const CASCADE: u8 = 2;

/// Which inputs of the master and of the slave can be made level-triggered: not the timer, the
/// keyboard and the cascade; not the clock and the coprocessor.
pub const ELCR_WRITABLE: [u8; 2] = [0xf8, 0xde];

/// The first initialisation command word, at the first port.
pub mod icw1 {
    /// What makes a write to the first port an ICW1.
    pub const IS_ICW1: u8 = 1 << 4;
    /// LTIM: every input is level-triggered. PC chipsets ignore it in favour of ELCR, as does this.
    pub const LTIM: u8 = 1 << 3;
    /// SNGL: there is no slave, and no ICW3.
    pub const SINGLE: u8 = 1 << 1;
    /// IC4: there will be an ICW4.
    pub const IC4: u8 = 1 << 0;
}

/// The fourth initialisation command word, at the second port.
pub mod icw4 {
    /// SFNM: special fully nested mode.
    pub const SPECIAL_NESTED: u8 = 1 << 4;
    /// AEOI: automatic end of interrupt.
    pub const AUTO_EOI: u8 = 1 << 1;
    /// µPM: 8086 mode.
    pub const MODE_8086: u8 = 1 << 0;
}

/// The third operation command word, at the first port.
pub mod ocw3 {
    /// What makes a write to the first port an OCW3 (and not an OCW2), bit 4 being clear.
    pub const IS_OCW3: u8 = 1 << 3;
    /// ESMM: [`SPECIAL_MASK`] means something.
    pub const ENABLE_SPECIAL_MASK: u8 = 1 << 6;
    /// SMM: special mask mode.
    pub const SPECIAL_MASK: u8 = 1 << 5;
    /// P: the next read is a poll.
    pub const POLL: u8 = 1 << 2;
    /// RR: [`READ_IN_SERVICE`] means something.
    pub const READ_REGISTER: u8 = 1 << 1;
    /// RIS: reads show ISR rather than IRR.
    pub const READ_IN_SERVICE: u8 = 1 << 0;
}
