//! The rules of user interrupts, and nothing else; nowhere else.
//!
//! Source: Intel SDM Vol. 3, chapter "User Interrupts", and the instruction pages of CLUI, SENDUIPI,
//! STUI, TESTUI and UIRET in Vol. 2. Modelled: posting, notification identification and processing,
//! recognition, delivery, return, the MSRs and the XSAVE component, with and without flexible
//! UIRET. Not modelled: VMX, SGX, TSX and shadow stacks (the machine has none of them), and the
//! withdrawn user timer (IA32_UINTR_TIMER).
//!
//! Every routine is generic over [`Processor`], the registers, memory and interrupt controller that
//! it needs, so that each engine executes the same rules. Each action is announced as a [`Step`]
//! just before it happens.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod delivery;
mod notification;
mod posting;
mod state;
mod step;
#[cfg(test)]
mod tests;

pub use delivery::{deliver, is_deliverable, uiret};
pub use notification::process_notification;
pub use posting::senduipi;
pub use state::{MsrFault, State};
pub use step::Step;

use ring3_arch::{Fault, GuestVirt, Vector};

/// What the rules need from a processor.
pub trait Processor {
    /// Why a routine cannot go on; the fault itself stays with the processor.
    type Stop;

    /// The user-interrupt state.
    fn uintr(&mut self) -> &mut State;

    /// A step is about to happen. Engines count time, traces record, exploration interrupts here.
    fn at(&mut self, step: Step);

    /// Turns a fault into a stop.
    fn fault(&mut self, fault: Fault) -> Self::Stop;

    /// Reads eight bytes with supervisor privilege at any CPL.
    ///
    /// # Errors
    /// #PF, or #GP(0) for an address that is not canonical.
    fn read_supervisor(&mut self, address: GuestVirt) -> Result<u64, Self::Stop>;

    /// Begins a locked read-modify-write of the 16-byte UPID at `address`, with supervisor
    /// privilege: checks that it can be written and returns it.
    ///
    /// # Errors
    /// As for [`Processor::read_supervisor`], with W set in a #PF's error code.
    fn lock_upid(&mut self, address: GuestVirt) -> Result<[u64; 2], Self::Stop>;

    /// Ends what [`Processor::lock_upid`] began: writes the UPID and releases it. Cannot fail.
    fn unlock_upid(&mut self, address: GuestVirt, upid: [u64; 2]);

    /// Stores eight bytes through SS with the current privilege.
    ///
    /// # Errors
    /// #PF, #SS(0), #AC.
    fn push_user(&mut self, address: GuestVirt, value: u64) -> Result<(), Self::Stop>;

    /// Loads eight bytes through SS with the current privilege.
    ///
    /// # Errors
    /// #PF, #SS(0), #AC.
    fn pop_user(&mut self, address: GuestVirt) -> Result<u64, Self::Stop>;

    /// Sends an ordinary interrupt: fixed, physical, edge-triggered, to the APIC identifier in
    /// `ndst` as the current APIC mode reads it.
    fn send_ipi(&mut self, vector: Vector, ndst: u32);

    /// Writes zero to the local APIC's EOI register.
    fn end_of_interrupt(&mut self);

    /// RIP, RSP and the whole of RFLAGS.
    fn frame(&self) -> Frame;

    /// Replaces RIP, RSP and RFLAGS.
    fn set_frame(&mut self, frame: Frame);

    /// Whether `address` is canonical in the current paging mode.
    fn is_canonical(&self, address: GuestVirt) -> bool;

    /// Whether UIRET takes UIF from bit 1 of the popped RFLAGS (CPUID.(7,1):EDX\[17\]).
    fn has_flexible_uiret(&self) -> bool;
}

/// The registers that delivery saves and UIRET restores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The next instruction to execute.
    pub rip: u64,
    /// The stack pointer.
    pub rsp: u64,
    /// The flags, all of them.
    pub rflags: u64,
}
