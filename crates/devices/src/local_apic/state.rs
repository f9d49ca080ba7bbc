//! What a local APIC remembers, and what of it reset keeps.

use super::spec::{Lvt, base, esr, icr, lvt, svr};
use super::vectors::Vectors;
use crate::saved::Plausible;
use ring3_clock::Ticks;
use serde::{Deserialize, Serialize};

/// What the timer is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Timer {
    Idle,
    /// At `since` the current count was `from`, and it goes down from there.
    Counting {
        since: Ticks,
        from: u32,
    },
    /// IA32_TSC_DEADLINE holds `tsc`, which the TSC reaches at `at`.
    Deadline {
        tsc: u64,
        at: Ticks,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// IA32_APIC_BASE.
    pub(super) base: u64,
    pub(super) tpr: u8,
    /// Bits 31:24 of LDR in xAPIC mode.
    pub(super) logical_id: u8,
    /// Bits 31:28 of DFR.
    pub(super) destination_model: u8,
    pub(super) svr: u32,
    pub(super) isr: Vectors,
    pub(super) tmr: Vectors,
    pub(super) irr: Vectors,
    /// What ESR reads: the errors up to the last write of it.
    pub(super) errors_shown: u32,
    /// The errors since then.
    pub(super) errors_pending: u32,
    /// Whether the next error raises the error interrupt.
    pub(super) error_armed: bool,
    /// ICR. In xAPIC mode the destination is in bits 63:56.
    pub(super) icr: u64,
    pub(super) lvt: [u32; Lvt::COUNT],
    pub(super) initial_count: u32,
    pub(super) divide: u32,
    pub(super) timer: Timer,
    /// What the processor's TSC is ahead of virtual time, modulo 2^64.
    pub(super) tsc_offset: u64,
    /// Levels of LINT0 and LINT1.
    pub(super) pins: [bool; 2],
    pub(super) nmi: bool,
    pub(super) init: bool,
    pub(super) sipi: Option<u8>,
    /// An ExtINT message was received and not acknowledged.
    pub(super) extint: bool,
}

impl State {
    /// "Local APIC State After Power-Up or Reset".
    pub(super) fn at_power_on(is_bsp: bool) -> State {
        let bsp = if is_bsp { base::BSP } else { 0 };
        State {
            base: base::DEFAULT_ADDRESS | base::ENABLE | bsp,
            tpr: 0,
            logical_id: 0,
            destination_model: 0b1111,
            svr: 0xff,
            isr: Vectors::NONE,
            tmr: Vectors::NONE,
            irr: Vectors::NONE,
            errors_shown: 0,
            errors_pending: 0,
            error_armed: true,
            icr: 0,
            lvt: [lvt::MASKED; Lvt::COUNT],
            initial_count: 0,
            divide: 0,
            timer: Timer::Idle,
            tsc_offset: 0,
            pins: [false; 2],
            nmi: false,
            init: false,
            sipi: None,
            extint: false,
        }
    }

    /// This state with what software can program as it is at reset. What comes from outside (pins,
    /// latched signals, the TSC) and IA32_APIC_BASE stay.
    pub(super) fn with_registers_at_reset(&self) -> State {
        let State {
            base,
            tpr: _,
            logical_id: _,
            destination_model: _,
            svr: _,
            isr: _,
            tmr: _,
            irr: _,
            errors_shown: _,
            errors_pending: _,
            error_armed: _,
            icr: _,
            lvt: _,
            initial_count: _,
            divide: _,
            timer: _,
            tsc_offset,
            pins,
            nmi,
            init,
            sipi,
            extint: _,
        } = *self;
        State {
            base,
            tsc_offset,
            pins,
            nmi,
            init,
            sipi,
            ..State::at_power_on(false)
        }
    }
}

impl Plausible for State {
    fn implausible(&self) -> Option<&'static str> {
        let address_bits = (1 << 52) - (1 << base::ADDRESS_SHIFT);
        let base_bits = address_bits | base::BSP | base::ENABLE | base::X2APIC;
        let extended = self.base & base::X2APIC != 0;
        if self.base & !base_bits != 0 || (extended && self.base & base::ENABLE == 0) {
            return Some("IA32_APIC_BASE cannot have this value");
        }
        if self.destination_model > 15 || self.svr & !svr::WRITABLE != 0 {
            return Some("a reserved bit of DFR or SVR is set");
        }
        if (self.errors_shown | self.errors_pending) & !esr::ALL != 0 {
            return Some("a reserved bit of ESR is set");
        }
        if self.icr as u32 & !icr::WRITABLE != 0 {
            return Some("a reserved bit of ICR is set");
        }
        for (entry, &register) in Lvt::ALL.iter().zip(&self.lvt) {
            let bits = entry.writable() | entry.read_only() & lvt::REMOTE_IRR;
            if register & !bits != 0 {
                return Some("a reserved bit of an LVT entry is set");
            }
            if register & lvt::MASKED == 0 && self.svr & svr::ENABLE == 0 {
                return Some("an LVT entry is unmasked while disabled by software");
            }
        }
        if [self.isr, self.tmr, self.irr]
            .iter()
            .any(|set| set.register(0) & 0xffff != 0)
        {
            return Some("a vector below 16 is requested or in service");
        }
        if self.divide & !super::spec::DIVIDE_WRITABLE != 0 {
            return Some("a reserved bit of the divide configuration is set");
        }
        let deadline_mode = self.lvt[Lvt::Timer.index()] & lvt::TIMER_MODE == lvt::TSC_DEADLINE;
        match self.timer {
            Timer::Counting { from, .. } if deadline_mode || from == 0 => {
                Some("the timer counts what it cannot count")
            }
            Timer::Deadline { tsc, .. } if !deadline_mode || tsc == 0 => {
                Some("the timer has a deadline that it cannot have")
            }
            _ => None,
        }
    }
}
