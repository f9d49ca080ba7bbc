//! The local APIC's registers: names, places and bits.
//!
//! Source: Intel SDM Vol. 3, chapter "Advanced Programmable Interrupt Controller (APIC)", sections
//! "Local APIC", "Handling Local Interrupts", "Issuing Interprocessor Interrupts" and "Extended
//! xAPIC (x2APIC)".

/// Bits of IA32_APIC_BASE. "Enabling or Disabling the Local APIC".
pub mod base {
    /// This processor is the bootstrap processor.
    pub const BSP: u64 = 1 << 8;
    /// EXTD: x2APIC mode.
    pub const X2APIC: u64 = 1 << 10;
    /// EN: the local APIC exists for software.
    pub const ENABLE: u64 = 1 << 11;
    /// Where the registers stand after reset.
    pub const DEFAULT_ADDRESS: u64 = 0xfee0_0000;
    /// Below this bit there is no address.
    pub const ADDRESS_SHIFT: u32 = 12;
}

/// Bytes that the registers of xAPIC mode take.
pub const MMIO_SIZE: u64 = 0x1000;

/// The local APIC version register: an integrated APIC (0x15) whose last local-vector-table entry
/// is number 5, without EOI-broadcast suppression. "Local APIC Version Register".
pub const VERSION: u32 = 0x0005_0015;

/// Vectors below this are illegal. "Interrupt and Exception Vectors: Valid Interrupt Vectors".
pub const FIRST_LEGAL_VECTOR: u8 = 16;

/// An entry of the local vector table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lvt {
    /// The APIC timer.
    Timer,
    /// Thermal sensor.
    Thermal,
    /// Performance-monitoring counters.
    Performance,
    /// The LINT0 pin: INTR where the 8259 is wired through it.
    Lint0,
    /// The LINT1 pin: NMI by convention.
    Lint1,
    /// Errors that the APIC detects itself.
    Error,
}

impl Lvt {
    /// How many entries there are.
    pub const COUNT: usize = 6;

    /// Every entry, in the order of their registers.
    pub const ALL: [Lvt; Lvt::COUNT] = [
        Lvt::Timer,
        Lvt::Thermal,
        Lvt::Performance,
        Lvt::Lint0,
        Lvt::Lint1,
        Lvt::Error,
    ];

    /// Its place among the entries.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The bits that software can write. "Local Vector Table".
    pub const fn writable(self) -> u32 {
        match self {
            Lvt::Timer => lvt::VECTOR | lvt::MASKED | lvt::TIMER_MODE,
            Lvt::Thermal | Lvt::Performance => lvt::VECTOR | lvt::MASKED | lvt::DELIVERY_MODE,
            Lvt::Lint0 | Lvt::Lint1 => {
                lvt::VECTOR | lvt::MASKED | lvt::DELIVERY_MODE | lvt::ACTIVE_LOW | lvt::LEVEL
            }
            Lvt::Error => lvt::VECTOR | lvt::MASKED,
        }
    }

    /// The bits that software can read but whose written value is ignored.
    pub const fn read_only(self) -> u32 {
        match self {
            Lvt::Lint0 | Lvt::Lint1 => lvt::DELIVERY_PENDING | lvt::REMOTE_IRR,
            _ => lvt::DELIVERY_PENDING,
        }
    }
}

/// Fields of a local-vector-table entry. "Local Vector Table".
pub mod lvt {
    /// Vector.
    pub const VECTOR: u32 = 0xff;
    /// Delivery mode.
    pub const DELIVERY_MODE: u32 = 7 << 8;
    /// The value of [`DELIVERY_MODE`] for NMI.
    pub const NMI: u32 = 4 << 8;
    /// The value of [`DELIVERY_MODE`] for ExtINT.
    pub const EXTINT: u32 = 7 << 8;
    /// Delivery status; always idle here, because delivery takes no time.
    pub const DELIVERY_PENDING: u32 = 1 << 12;
    /// Interrupt input pin polarity.
    pub const ACTIVE_LOW: u32 = 1 << 13;
    /// Remote IRR.
    pub const REMOTE_IRR: u32 = 1 << 14;
    /// Trigger mode.
    pub const LEVEL: u32 = 1 << 15;
    /// Mask.
    pub const MASKED: u32 = 1 << 16;
    /// Timer mode.
    pub const TIMER_MODE: u32 = 3 << 17;
    /// The value of [`TIMER_MODE`] for one-shot.
    pub const ONE_SHOT: u32 = 0 << 17;
    /// The value of [`TIMER_MODE`] for periodic.
    pub const PERIODIC: u32 = 1 << 17;
    /// The value of [`TIMER_MODE`] for TSC-deadline.
    pub const TSC_DEADLINE: u32 = 2 << 17;
}

/// Bits of the spurious-interrupt vector register. "Spurious Interrupt".
pub mod svr {
    /// APIC software enable.
    pub const ENABLE: u32 = 1 << 8;
    /// Focus processor checking; stored, without meaning since the Pentium 4.
    pub const FOCUS_OFF: u32 = 1 << 9;
    /// What software can write.
    pub const WRITABLE: u32 = 0xff | ENABLE | FOCUS_OFF;
}

/// Bits of the error status register. "Error Handling".
pub mod esr {
    /// A message with a vector of 0 to 15 was about to be sent.
    pub const SEND_ILLEGAL_VECTOR: u32 = 1 << 5;
    /// A message with a vector of 0 to 15 was received, or arose locally.
    pub const RECEIVE_ILLEGAL_VECTOR: u32 = 1 << 6;
    /// Software touched a reserved register in xAPIC mode.
    pub const ILLEGAL_REGISTER: u32 = 1 << 7;
    /// Every bit that can be set here.
    pub const ALL: u32 = SEND_ILLEGAL_VECTOR | RECEIVE_ILLEGAL_VECTOR | ILLEGAL_REGISTER;
}

/// Bits of the interrupt command register. "Interrupt Command Register (ICR)".
pub mod icr {
    /// Vector.
    pub const VECTOR: u32 = 0xff;
    /// Position of the delivery mode.
    pub const DELIVERY_MODE_SHIFT: u32 = 8;
    /// The delivery mode.
    pub const DELIVERY_MODE: u32 = 7 << DELIVERY_MODE_SHIFT;
    /// Destination mode: logical.
    pub const LOGICAL: u32 = 1 << 11;
    /// Delivery status; always idle here.
    pub const SEND_PENDING: u32 = 1 << 12;
    /// Level: assert.
    pub const ASSERT: u32 = 1 << 14;
    /// Trigger mode: level.
    pub const LEVEL: u32 = 1 << 15;
    /// Position of the destination shorthand.
    pub const SHORTHAND_SHIFT: u32 = 18;
    /// Destination shorthand: 0 none, 1 self, 2 all including self, 3 all excluding self.
    pub const SHORTHAND: u32 = 3 << SHORTHAND_SHIFT;
    /// What software can write to the low half.
    pub const WRITABLE: u32 = VECTOR | DELIVERY_MODE | LOGICAL | ASSERT | LEVEL | SHORTHAND;
    /// The destination in xAPIC mode, as a part of the high half.
    pub const XAPIC_DESTINATION: u32 = 0xff << 24;
}

/// The divide configuration register's writable bits: 0, 1 and 3. "APIC Timer".
pub const DIVIDE_WRITABLE: u32 = 0b1011;

/// A register, in whichever way it is reached: the index is bits 11:4 of the offset in xAPIC mode
/// and the MSR number less 0x800 in x2APIC mode. "Local APIC Register Address Map", "x2APIC
/// Register Address Space".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// Local APIC ID.
    Id,
    /// Local APIC version.
    Version,
    /// Task priority (TPR).
    TaskPriority,
    /// Arbitration priority (APR), xAPIC mode only.
    ArbitrationPriority,
    /// Processor priority (PPR).
    ProcessorPriority,
    /// End of interrupt (EOI).
    EndOfInterrupt,
    /// Remote read (RRD), xAPIC mode only.
    RemoteRead,
    /// Logical destination (LDR).
    LogicalDestination,
    /// Destination format (DFR), xAPIC mode only.
    DestinationFormat,
    /// Spurious-interrupt vector (SVR).
    SpuriousVector,
    /// In-service (ISR), 32 vectors each.
    InService(usize),
    /// Trigger mode (TMR), 32 vectors each.
    TriggerMode(usize),
    /// Interrupt request (IRR), 32 vectors each.
    Request(usize),
    /// Error status (ESR).
    ErrorStatus,
    /// Interrupt command (ICR): bits 31:0, in x2APIC mode all 64.
    Command,
    /// Interrupt command: bits 63:32, xAPIC mode only.
    CommandHigh,
    /// A local-vector-table entry.
    Local(Lvt),
    /// Initial count of the timer.
    InitialCount,
    /// Current count of the timer.
    CurrentCount,
    /// Divide configuration of the timer.
    DivideConfiguration,
    /// SELF IPI, x2APIC mode only.
    SelfIpi,
}

impl Register {
    /// The register with this index, if it is one in either mode.
    pub fn from_index(index: u64) -> Option<Register> {
        Some(match index {
            0x02 => Register::Id,
            0x03 => Register::Version,
            0x08 => Register::TaskPriority,
            0x09 => Register::ArbitrationPriority,
            0x0a => Register::ProcessorPriority,
            0x0b => Register::EndOfInterrupt,
            0x0c => Register::RemoteRead,
            0x0d => Register::LogicalDestination,
            0x0e => Register::DestinationFormat,
            0x0f => Register::SpuriousVector,
            0x10..=0x17 => Register::InService(index as usize - 0x10),
            0x18..=0x1f => Register::TriggerMode(index as usize - 0x18),
            0x20..=0x27 => Register::Request(index as usize - 0x20),
            0x28 => Register::ErrorStatus,
            0x30 => Register::Command,
            0x31 => Register::CommandHigh,
            0x32..=0x37 => Register::Local(Lvt::ALL[index as usize - 0x32]),
            0x38 => Register::InitialCount,
            0x39 => Register::CurrentCount,
            0x3e => Register::DivideConfiguration,
            0x3f => Register::SelfIpi,
            _ => return None,
        })
    }

    /// Whether it exists in xAPIC mode.
    pub fn in_xapic(self) -> bool {
        self != Register::SelfIpi
    }

    /// Whether it exists in x2APIC mode.
    pub fn in_x2apic(self) -> bool {
        !matches!(
            self,
            Register::ArbitrationPriority
                | Register::RemoteRead
                | Register::DestinationFormat
                | Register::CommandHigh
        )
    }
}
