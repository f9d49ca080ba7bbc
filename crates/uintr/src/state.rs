//! The state, its MSRs, and its XSAVE component.

use ring3_arch::uintr::{
    MISC_RESERVED, MISC_UINV_SHIFT, PD_RESERVED, TT_ENABLE, TT_RESERVED, xsave,
};
use ring3_arch::{GuestVirt, msr};
use serde::{Deserialize, Serialize};

/// The largest linear-address width the processor enumerates; MSR writes check against it.
const MAX_LINEAR_WIDTH: u32 = 48;

/// The user-interrupt state of one logical processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// UIRR: one bit per requested user vector.
    pub uirr: u64,
    /// UIHANDLER: the handler's linear address.
    pub handler: u64,
    /// UISTACKADJUST: subtracted from RSP, or (bit 0 set) loaded into it.
    pub stack_adjust: u64,
    /// UITTSZ: the highest valid UITT index.
    pub uittsz: u32,
    /// UINV: the notification vector; 0 for none.
    pub uinv: u8,
    /// IA32_UINTR_PD: UPIDADDR.
    pub pd: u64,
    /// IA32_UINTR_TT: UITTADDR and, in bit 0, whether SENDUIPI is enabled.
    pub tt: u64,
    /// UIF: user interrupts can be delivered.
    pub uif: bool,
}

/// A WRMSR or XRSTORS that the architecture refuses with #GP(0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsrFault;

fn canonical(value: u64) -> Result<(), MsrFault> {
    if GuestVirt(value).is_canonical(MAX_LINEAR_WIDTH) {
        Ok(())
    } else {
        Err(MsrFault)
    }
}

fn clear(value: u64, reserved: u64) -> Result<(), MsrFault> {
    if value & reserved == 0 {
        Ok(())
    } else {
        Err(MsrFault)
    }
}

impl State {
    /// Whether a user interrupt is pending: exactly while UIRR is not zero.
    pub fn is_pending(&self) -> bool {
        self.uirr != 0
    }

    /// UITTADDR.
    pub fn uitt_address(&self) -> u64 {
        self.tt & !0xf
    }

    /// Whether SENDUIPI is enabled (IA32_UINTR_TT bit 0).
    pub fn senduipi_enabled(&self) -> bool {
        self.tt & TT_ENABLE != 0
    }

    fn misc(&self) -> u64 {
        u64::from(self.uittsz) | u64::from(self.uinv) << MISC_UINV_SHIFT
    }

    /// RDMSR; `None` if `index` is none of the six.
    pub fn read_msr(&self, index: u32) -> Option<u64> {
        Some(match index {
            msr::IA32_UINTR_RR => self.uirr,
            msr::IA32_UINTR_HANDLER => self.handler,
            msr::IA32_UINTR_STACKADJUST => self.stack_adjust,
            msr::IA32_UINTR_MISC => self.misc(),
            msr::IA32_UINTR_PD => self.pd,
            msr::IA32_UINTR_TT => self.tt,
            _ => return None,
        })
    }

    /// WRMSR; `None` if `index` is none of the six. A refused write changes nothing.
    pub fn write_msr(&mut self, index: u32, value: u64) -> Option<Result<(), MsrFault>> {
        let result = match index {
            msr::IA32_UINTR_RR => {
                self.uirr = value;
                Ok(())
            }
            msr::IA32_UINTR_HANDLER => canonical(value).map(|()| self.handler = value),
            msr::IA32_UINTR_STACKADJUST => canonical(value).map(|()| self.stack_adjust = value),
            msr::IA32_UINTR_MISC => clear(value, MISC_RESERVED).map(|()| {
                self.uittsz = value as u32;
                self.uinv = (value >> MISC_UINV_SHIFT) as u8;
            }),
            msr::IA32_UINTR_PD => clear(value, PD_RESERVED)
                .and(canonical(value))
                .map(|()| self.pd = value),
            msr::IA32_UINTR_TT => clear(value, TT_RESERVED)
                .and(canonical(value))
                .map(|()| self.tt = value),
            _ => return None,
        };
        Some(result)
    }

    /// Whether the component is in its initial state (XINUSE\[14\] is clear): every element,
    /// UIF included, is zero.
    pub fn is_initial(&self) -> bool {
        *self == State::default()
    }

    /// The component as XSAVES writes it. SDM Vol. 1, "User-Interrupt State". The caller then
    /// clears UINV with [`State::after_xsaves`].
    pub fn xsave_image(&self) -> [u64; 6] {
        let uif = if self.uif { xsave::MISC_UIF } else { 0 };
        [
            self.handler,
            self.stack_adjust,
            self.misc() | uif,
            self.pd,
            self.uirr,
            self.tt,
        ]
    }

    /// XSAVES has saved the component: UINV becomes 0, so that a notification from now on reaches
    /// the IDT.
    pub fn after_xsaves(&mut self) {
        self.uinv = 0;
    }

    /// XRSTORS loads the component. A refusal leaves UINV zero and the rest unchanged (other
    /// elements would be allowed to hold new values).
    ///
    /// # Errors
    /// #GP(0) if an element of the image is invalid. The check that UINV is zero beforehand is
    /// [`State::may_xrstors`], because it precedes the loading of any component.
    pub fn xrstors(&mut self, image: [u64; 6]) -> Result<(), MsrFault> {
        let [handler, stack_adjust, misc, pd, uirr, tt] = image;
        let mut new = State {
            uirr,
            uif: misc & xsave::MISC_UIF != 0,
            ..*self
        };
        self.uinv = 0;
        for (index, value) in [
            (msr::IA32_UINTR_HANDLER, handler),
            (msr::IA32_UINTR_STACKADJUST, stack_adjust),
            (msr::IA32_UINTR_MISC, misc & !xsave::MISC_UIF),
            (msr::IA32_UINTR_PD, pd),
            (msr::IA32_UINTR_TT, tt),
        ] {
            new.write_msr(index, value)
                .expect("all five are user-interrupt MSRs")?;
        }
        *self = new;
        Ok(())
    }

    /// Whether XRSTORS may load the component: only while UINV is zero.
    pub fn may_xrstors(&self) -> bool {
        self.uinv == 0
    }

    /// XRSTORS puts the component into its initial state.
    pub fn xrstors_initial(&mut self) {
        *self = State::default();
    }
}
