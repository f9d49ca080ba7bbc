//! Notification: from the ordinary interrupt to UIRR. SDM Vol. 3, "User-Interrupt Notification
//! Identification" and "User-Interrupt Notification Processing".

use crate::{Processor, Step};
use ring3_arch::GuestVirt;
use ring3_arch::uintr::UPID_ON;

/// The interrupt just acknowledged carries the vector UINV (with CR4.UINTR and EFER.LMA set): it
/// is dismissed at the local APIC and the posted requests move to UIRR. CPL, UIF, SN and the
/// UPID's reserved bits play no part.
///
/// # Errors
/// #PF or #GP(0) of the accesses to the UPID. The interrupt has been dismissed already and is not
/// repeated.
pub fn process_notification<P: Processor>(processor: &mut P) -> Result<(), P::Stop> {
    processor.at(Step::Identify);
    processor.at(Step::EndOfInterrupt);
    processor.end_of_interrupt();

    let upid_address = GuestVirt(processor.uintr().pd);
    processor.at(Step::ClearOn);
    let [descriptor, pir] = processor.lock_upid(upid_address)?;
    processor.unlock_upid(upid_address, [descriptor & !UPID_ON, pir]);

    // A sender between these two steps finds ON clear and sends another notification, which finds
    // PIR empty if this one takes its request along: harmless. The other order would lose it.
    processor.at(Step::TakePir);
    let [descriptor, pir] = processor.lock_upid(upid_address)?;
    processor.unlock_upid(upid_address, [descriptor, 0]);

    processor.at(Step::FillUirr);
    processor.uintr().uirr |= pir;
    Ok(())
}
