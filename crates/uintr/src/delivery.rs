//! Recognition, delivery, return. SDM Vol. 3, "User-Interrupt Delivery"; Vol. 2, "UIRET-User-
//! Interrupt Return".

use crate::{Frame, Processor, State, Step};
use ring3_arch::uintr::UIRET_RFLAGS;
use ring3_arch::{Fault, GuestVirt, rflags};

/// Whether the state allows delivery. The rest of the conditions is the processor's mode: CR4.UINTR
/// set, 64-bit mode, CPL 3, no MOV SS shadow. RFLAGS.IF and the STI shadow play no part.
pub fn is_deliverable(state: &State) -> bool {
    state.uif && state.is_pending()
}

/// Delivers the highest pending user interrupt.
///
/// # Errors
/// #GP(0) if the handler's address is not canonical; #PF, #SS(0), #AC of the pushes. RSP, RIP,
/// RFLAGS, UIRR and UIF are unchanged then, so that delivery happens again when user mode resumes.
pub fn deliver<P: Processor>(processor: &mut P) -> Result<(), P::Stop> {
    let state = *processor.uintr();
    debug_assert!(
        is_deliverable(&state),
        "delivery without a deliverable user interrupt"
    );
    processor.at(Step::Recognise);
    if !processor.is_canonical(GuestVirt(state.handler)) {
        return Err(processor.fault(Fault::GP0));
    }
    let old = processor.frame();

    processor.at(Step::AdjustStack);
    let adjusted = if state.stack_adjust & 1 != 0 {
        state.stack_adjust
    } else {
        old.rsp.wrapping_sub(state.stack_adjust)
    };
    let top = adjusted & !0xf;
    let vector = u64::from(state.uirr.ilog2());

    processor.at(Step::PushRsp);
    processor.push_user(GuestVirt(top.wrapping_sub(8)), old.rsp)?;
    processor.at(Step::PushRflags);
    processor.push_user(GuestVirt(top.wrapping_sub(16)), old.rflags)?;
    processor.at(Step::PushRip);
    processor.push_user(GuestVirt(top.wrapping_sub(24)), old.rip)?;
    processor.at(Step::PushVector);
    processor.push_user(GuestVirt(top.wrapping_sub(32)), vector)?;

    processor.at(Step::ClearUirrBit);
    let uintr = processor.uintr();
    uintr.uirr &= !(1 << vector);
    uintr.uif = false;

    processor.at(Step::EnterHandler);
    processor.set_frame(Frame {
        rip: state.handler,
        rsp: top.wrapping_sub(32),
        rflags: old.rflags & !(rflags::TF | rflags::RF),
    });
    Ok(())
}

/// Executes UIRET.
///
/// # Errors
/// #PF, #SS(0), #AC of the loads; #GP(0) if the popped RIP is not canonical. Nothing has changed
/// then.
pub fn uiret<P: Processor>(processor: &mut P) -> Result<(), P::Stop> {
    processor.at(Step::PopFrame);
    let old = processor.frame();
    let rip = processor.pop_user(GuestVirt(old.rsp))?;
    let popped = processor.pop_user(GuestVirt(old.rsp.wrapping_add(8)))?;
    let rsp = processor.pop_user(GuestVirt(old.rsp.wrapping_add(16)))?;
    if !processor.is_canonical(GuestVirt(rip)) {
        return Err(processor.fault(Fault::GP0));
    }

    processor.at(Step::Resume);
    let restored = (old.rflags & !UIRET_RFLAGS) | (popped & UIRET_RFLAGS);
    processor.set_frame(Frame {
        rip,
        rsp,
        rflags: restored,
    });
    let flexible = processor.has_flexible_uiret();
    processor.uintr().uif = !flexible || popped & rflags::ALWAYS != 0;
    Ok(())
}
