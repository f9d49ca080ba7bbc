//! Virtual time, the only time the machine knows.
//!
//! One [`Ticks`] is one period of the time-stamp counter. In the functional engines a processor
//! advances by one tick for every retired instruction; the timing engine advances by cycles. No
//! host clock is read here or anywhere below the command line.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};
use std::ops::{Add, AddAssign, Sub};

/// A point in virtual time, or a span of it: periods of the time-stamp counter since reset.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Ticks(pub u64);

/// The frequency of the time-stamp counter, in Hz.
///
/// 2.0 GHz is the fixed frequency at which the published measurements of user interrupts on
/// Sapphire Rapids were taken, so that cycle counts and guest time can be compared directly.
pub const TSC_HZ: u64 = 2_000_000_000;

impl Ticks {
    /// The end of time; a deadline that never comes.
    pub const NEVER: Ticks = Ticks(u64::MAX);

    /// The span that `count` periods of a clock of `hz` Hz take, rounded up to whole ticks.
    ///
    /// Rounding up means that a device which asks to be woken after `count` of its own periods
    /// finds that all of them have passed.
    ///
    /// # Panics
    /// If `hz` is zero.
    pub fn from_periods(count: u64, hz: u64) -> Ticks {
        assert!(hz > 0, "a clock of 0 Hz never ticks");
        let ticks = (u128::from(count) * u128::from(TSC_HZ)).div_ceil(u128::from(hz));
        Ticks(u64::try_from(ticks).unwrap_or(u64::MAX))
    }

    /// How many whole periods of a clock of `hz` Hz fit into this span (rounded down).
    pub fn to_periods(self, hz: u64) -> u64 {
        let periods = u128::from(self.0) * u128::from(hz) / u128::from(TSC_HZ);
        u64::try_from(periods).unwrap_or(u64::MAX)
    }

    /// `self + span`, stopping at [`Ticks::NEVER`].
    pub fn saturating_add(self, span: Ticks) -> Ticks {
        Ticks(self.0.saturating_add(span.0))
    }

    /// `self - earlier`, or zero where `earlier` is later.
    pub fn saturating_sub(self, earlier: Ticks) -> Ticks {
        Ticks(self.0.saturating_sub(earlier.0))
    }

    /// This span in nanoseconds, rounded down.
    pub fn as_nanos(self) -> u64 {
        self.to_periods(1_000_000_000)
    }
}

impl Add for Ticks {
    type Output = Ticks;
    fn add(self, span: Ticks) -> Ticks {
        Ticks(self.0 + span.0)
    }
}

impl AddAssign for Ticks {
    fn add_assign(&mut self, span: Ticks) {
        self.0 += span.0;
    }
}

impl Sub for Ticks {
    type Output = Ticks;
    fn sub(self, earlier: Ticks) -> Ticks {
        Ticks(self.0 - earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_period_has_passed_when_its_deadline_comes() {
        // The ACPI PM timer's frequency does not divide that of the TSC.
        for count in [1, 2, 3, 3_579_545, 1 << 24] {
            assert_eq!(
                Ticks::from_periods(count, 3_579_545).to_periods(3_579_545),
                count
            );
        }
    }

    #[test]
    fn far_deadlines_saturate() {
        assert_eq!(Ticks::from_periods(u64::MAX, 1), Ticks::NEVER);
        assert_eq!(Ticks::NEVER.saturating_add(Ticks(1)), Ticks::NEVER);
    }
}
