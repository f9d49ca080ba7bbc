//! The registers of ACPI's fixed hardware, and what the FADT says about them.
//!
//! Source: ACPI Specification 6.5, chapter "ACPI Hardware Specification", sections "PM1 Event
//! Grouping", "PM1 Control Registers", "Power Management Timer (PM_TMR)", "Reset Register". The ports
//! are this machine's choice; what writes the FADT and the DSDT takes them from here.

/// First port of the block.
pub const BASE: u64 = 0x600;
/// How many ports the block takes.
pub const SIZE: u64 = 12;

/// Offset of PM1a_EVT_BLK in the block: PM1_STS, then PM1_EN.
pub const EVENT_OFFSET: u64 = 0;
/// FADT PM1a_EVT_BLK.
pub const EVENT_PORT: u16 = (BASE + EVENT_OFFSET) as u16;
/// FADT PM1_EVT_LEN.
pub const EVENT_LENGTH: u8 = 4;
/// Offset of PM1a_CNT_BLK in the block.
pub const CONTROL_OFFSET: u64 = 4;
/// FADT PM1a_CNT_BLK.
pub const CONTROL_PORT: u16 = (BASE + CONTROL_OFFSET) as u16;
/// FADT PM1_CNT_LEN.
pub const CONTROL_LENGTH: u8 = 2;
/// Offset of PM_TMR_BLK in the block.
pub const TIMER_OFFSET: u64 = 8;
/// FADT PM_TMR_BLK.
pub const TIMER_PORT: u16 = (BASE + TIMER_OFFSET) as u16;
/// FADT PM_TMR_LEN.
pub const TIMER_LENGTH: u8 = 4;
/// FADT RESET_REG: a byte in I/O space.
pub const RESET_PORT: u16 = 0xcf9;
/// FADT RESET_VALUE.
pub const RESET_VALUE: u8 = 0x06;
/// FADT SCI_INT: the line that carries the system control interrupt, level-triggered and shared.
pub const SCI_IRQ: u8 = 9;
/// FADT SMI_CMD: zero, there is no legacy mode to leave. SCI_EN is always set.
pub const SMI_COMMAND: u32 = 0;

/// The clock of the power management timer, in Hz.
pub const TIMER_HZ: u64 = 3_579_545;

/// SLP_TYP for S5, soft off: the first element of the DSDT's `\_S5` package. No other sleeping
/// state exists here.
pub const SLEEP_TYPE_S5: u8 = 5;

/// Bits of PM1_STS and, at the same places, of PM1_EN.
pub mod event {
    /// TMR: the most significant bit of the timer changed.
    pub const TIMER: u16 = 1 << 0;
    /// GBL: the firmware wants the operating system. It never does here.
    pub const GLOBAL: u16 = 1 << 5;
    /// PWRBTN: the power button was pressed.
    pub const POWER_BUTTON: u16 = 1 << 8;
    /// SLPBTN: the sleep button was pressed.
    pub const SLEEP_BUTTON: u16 = 1 << 9;
    /// RTC: the alarm of the real-time clock. It wakes nothing here.
    pub const RTC: u16 = 1 << 10;
    /// What can be enabled.
    pub const ENABLES: u16 = TIMER | GLOBAL | POWER_BUTTON | SLEEP_BUTTON | RTC;
    /// What can be set in the status.
    pub const STATUSES: u16 = TIMER | POWER_BUTTON | SLEEP_BUTTON;
}

/// Bits of PM1_CNT.
pub mod control {
    /// SCI_EN: events raise an SCI rather than an SMI. Read-only here, and set.
    pub const SCI_ENABLE: u16 = 1 << 0;
    /// BM_RLD: bus-master requests wake from C3; stored.
    pub const BUS_MASTER_RELOAD: u16 = 1 << 1;
    /// Position of SLP_TYP.
    pub const SLEEP_TYPE_SHIFT: u32 = 10;
    /// SLP_TYP.
    pub const SLEEP_TYPE: u16 = 7 << SLEEP_TYPE_SHIFT;
    /// SLP_EN: enter the state of SLP_TYP; reads as zero.
    pub const SLEEP_ENABLE: u16 = 1 << 13;
    /// What software can write and read again.
    pub const STORED: u16 = BUS_MASTER_RELOAD | SLEEP_TYPE;
}

/// Bits of the reset control register of Intel chipsets (Intel ICH family, "RST_CNT: Reset Control
/// Register").
pub mod reset {
    /// RST_CPU: a rising edge resets.
    pub const RESET: u8 = 1 << 2;
    /// SYS_RST and FULL_RST say how thoroughly; every reset here is one of the whole machine.
    pub const STORED: u8 = 1 << 1 | 1 << 3 | RESET;
}
