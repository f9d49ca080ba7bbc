//! Posting: SENDUIPI. SDM Vol. 2, "SENDUIPI-Send User Interprocessor Interrupt".

use crate::{Processor, Step};
use ring3_arch::uintr::{
    UITTE_RESERVED_HIGH, UITTE_RESERVED_LOW, UITTE_SIZE, UITTE_UV_SHIFT, UITTE_V, UPID_NDST_SHIFT,
    UPID_NV_SHIFT, UPID_ON, UPID_RESERVED, UPID_SN,
};
use ring3_arch::{Fault, GuestVirt, Vector};

/// Executes SENDUIPI with the value of its register operand. Whether the instruction exists and is
/// enabled by CR4.UINTR and the mode is checked before.
///
/// # Errors
/// #UD if IA32_UINTR_TT does not enable it; #GP(0) for an index beyond UITTSZ, an invalid UITT
/// entry or reserved bits in the UPID; #PF and #GP(0) of the accesses. Nothing has changed then.
pub fn senduipi<P: Processor>(processor: &mut P, index: u64) -> Result<(), P::Stop> {
    let state = *processor.uintr();
    if !state.senduipi_enabled() {
        return Err(processor.fault(Fault::UD));
    }
    if index > u64::from(state.uittsz) {
        return Err(processor.fault(Fault::GP0));
    }

    processor.at(Step::ReadUittEntry);
    let entry = state.uitt_address().wrapping_add(index * UITTE_SIZE);
    let low = processor.read_supervisor(GuestVirt(entry))?;
    let upid_address = processor.read_supervisor(GuestVirt(entry.wrapping_add(8)))?;
    if low & UITTE_V == 0
        || low & UITTE_RESERVED_LOW != 0
        || upid_address & UITTE_RESERVED_HIGH != 0
    {
        return Err(processor.fault(Fault::GP0));
    }
    let user_vector = low >> UITTE_UV_SHIFT & 0x3f;

    processor.at(Step::LockUpid);
    let upid_address = GuestVirt(upid_address);
    let [mut descriptor, mut pir] = processor.lock_upid(upid_address)?;
    if descriptor & UPID_RESERVED != 0 {
        processor.unlock_upid(upid_address, [descriptor, pir]);
        return Err(processor.fault(Fault::GP0));
    }

    processor.at(Step::SetPir);
    pir |= 1 << user_vector;

    processor.at(Step::TestOnSn);
    let notify = descriptor & (UPID_ON | UPID_SN) == 0;
    if notify {
        descriptor |= UPID_ON;
    }

    processor.at(Step::WriteUpid);
    processor.unlock_upid(upid_address, [descriptor, pir]);

    if notify {
        processor.at(Step::SendIpi);
        let vector = Vector((descriptor >> UPID_NV_SHIFT) as u8);
        processor.send_ipi(vector, (descriptor >> UPID_NDST_SHIFT) as u32);
    }
    Ok(())
}
