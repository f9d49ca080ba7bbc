//! Exceptions: SDM Vol. 3, "Exception and Interrupt Vectors".

use crate::{GuestVirt, Vector};
use serde::{Deserialize, Serialize};

/// The architected exceptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Exception {
    /// #DE, divide error.
    Divide = 0,
    /// #DB, debug.
    Debug = 1,
    /// The non-maskable interrupt (not an exception, but it owns a vector here).
    Nmi = 2,
    /// #BP, INT3.
    Breakpoint = 3,
    /// #OF, INTO.
    Overflow = 4,
    /// #BR, BOUND.
    BoundRange = 5,
    /// #UD, invalid opcode.
    InvalidOpcode = 6,
    /// #NM, device not available.
    DeviceNotAvailable = 7,
    /// #DF, double fault.
    DoubleFault = 8,
    /// #TS, invalid TSS.
    InvalidTss = 10,
    /// #NP, segment not present.
    SegmentNotPresent = 11,
    /// #SS, stack fault.
    Stack = 12,
    /// #GP, general protection.
    GeneralProtection = 13,
    /// #PF, page fault.
    Page = 14,
    /// #MF, x87 floating-point error.
    X87 = 16,
    /// #AC, alignment check.
    AlignmentCheck = 17,
    /// #MC, machine check.
    MachineCheck = 18,
    /// #XM, SIMD floating-point exception.
    Simd = 19,
    /// #CP, control protection.
    ControlProtection = 21,
}

impl Exception {
    /// Its vector.
    pub const fn vector(self) -> Vector {
        Vector(self as u8)
    }

    /// Whether delivery pushes an error code.
    pub const fn has_error_code(self) -> bool {
        use Exception::*;
        matches!(
            self,
            DoubleFault
                | InvalidTss
                | SegmentNotPresent
                | Stack
                | GeneralProtection
                | Page
                | AlignmentCheck
                | ControlProtection
        )
    }

    /// Whether it takes part in double-fault formation as a contributory exception.
    /// SDM Vol. 3, "Interrupt 8 - Double Fault Exception (#DF)".
    pub const fn is_contributory(self) -> bool {
        use Exception::*;
        matches!(
            self,
            Divide | InvalidTss | SegmentNotPresent | Stack | GeneralProtection | ControlProtection
        )
    }
}

/// An exception as the guest will see it: the guest did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Which one.
    pub exception: Exception,
    /// The error code pushed, 0 where the exception has none.
    pub error_code: u32,
    /// What CR2 becomes; only for #PF.
    pub cr2: Option<GuestVirt>,
    /// What is OR-ed into DR6; only for #DB.
    pub dr6: u64,
}

impl Fault {
    /// An exception without address; `error_code` is ignored where it has none.
    pub const fn new(exception: Exception, error_code: u32) -> Fault {
        Fault {
            exception,
            error_code,
            cr2: None,
            dr6: 0,
        }
    }

    /// #UD.
    pub const UD: Fault = Fault::new(Exception::InvalidOpcode, 0);
    /// #NM.
    pub const NM: Fault = Fault::new(Exception::DeviceNotAvailable, 0);
    /// #DE.
    pub const DE: Fault = Fault::new(Exception::Divide, 0);
    /// #GP(0).
    pub const GP0: Fault = Fault::new(Exception::GeneralProtection, 0);
    /// #SS(0).
    pub const SS0: Fault = Fault::new(Exception::Stack, 0);

    /// #GP with an error code (a selector, or an IDT index).
    pub const fn gp(error_code: u32) -> Fault {
        Fault::new(Exception::GeneralProtection, error_code)
    }

    /// #PF at `address`; error code bits as in [`page_fault`].
    pub const fn page(address: GuestVirt, error_code: u32) -> Fault {
        Fault {
            exception: Exception::Page,
            error_code,
            cr2: Some(address),
            dr6: 0,
        }
    }

    /// #DB; `dr6` holds the condition bits.
    pub const fn debug(dr6: u64) -> Fault {
        Fault {
            exception: Exception::Debug,
            error_code: 0,
            cr2: None,
            dr6,
        }
    }
}

/// Bits of the page-fault error code. SDM Vol. 3, "Page-Fault Exceptions".
pub mod page_fault {
    /// The fault was a protection violation, not a missing page.
    pub const PRESENT: u32 = 1 << 0;
    /// The access was a write.
    pub const WRITE: u32 = 1 << 1;
    /// The access was made in user mode (and was not an implicit supervisor access).
    pub const USER: u32 = 1 << 2;
    /// A reserved bit was set in a paging-structure entry.
    pub const RESERVED: u32 = 1 << 3;
    /// The access was an instruction fetch.
    pub const FETCH: u32 = 1 << 4;
    /// A protection key forbade the access.
    pub const PROTECTION_KEY: u32 = 1 << 5;
}

/// The bits of a selector error code. SDM Vol. 3, "Error Code".
pub mod selector_error {
    /// The event was external to the program.
    pub const EXT: u32 = 1 << 0;
    /// The index refers to the IDT.
    pub const IDT: u32 = 1 << 1;
    /// The index refers to the LDT (when `IDT` is clear).
    pub const TI: u32 = 1 << 2;
}
