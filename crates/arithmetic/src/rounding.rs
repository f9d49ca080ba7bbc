//! Exact arithmetic on binary floating-point magnitudes, and the one place where a result is
//! rounded to a format.
//!
//! A [`Number`] is a nonzero finite value with 128 significand bits, twice what any x86 format
//! holds, so that sums, products, quotients and roots of format values are represented exactly or
//! with a *sticky* lowest bit that records that something was left over. [`round`] then turns a
//! number into what a format can hold, and reports what happened on the way: inexact, tiny, too
//! large, rounded away from zero.
//!
//! Tininess is detected after rounding, as x86 does for both x87 and SSE: a result is tiny when,
//! rounded as if the exponent range were unbounded, it lies below the smallest normal number.
//! Sources: SDM Vol. 1, "Numeric Underflow Exception (#U)", "Numeric Overflow Exception (#O)" and
//! "Rounding"; IEEE 754-2008.
//!
//! Not here: NaNs, infinities and zeros, whose rules differ between SSE and x87, and which therefore
//! live with their instructions.

use serde::{Deserialize, Serialize};

/// The rounding-control field of MXCSR, the x87 control word and the immediate of `ROUNDSD` and its
/// siblings. SDM Vol. 1, "Rounding Control Fields".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Rounding {
    /// To the nearest value, ties to the one with an even significand.
    Nearest = 0,
    /// Towards minus infinity.
    Down = 1,
    /// Towards plus infinity.
    Up = 2,
    /// Towards zero.
    Zero = 3,
}

impl Rounding {
    /// Decodes a rounding-control field; only the low two bits of `field` are looked at.
    pub const fn from_field(field: u8) -> Rounding {
        match field & 3 {
            0 => Rounding::Nearest,
            1 => Rounding::Down,
            2 => Rounding::Up,
            _ => Rounding::Zero,
        }
    }
}

/// A nonzero finite value: `significand × 2^(exponent − 127)`, negated if `negative`.
///
/// Bit 127 of the significand is set. Bit 0 may stand for any nonzero amount below it (sticky).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    pub negative: bool,
    pub exponent: i32,
    pub significand: u128,
}

/// Shifts right, keeping in bit 0 whether a one was shifted out.
pub(crate) const fn shift_right_sticky(value: u128, count: u32) -> u128 {
    if count == 0 {
        value
    } else if count >= 128 {
        (value != 0) as u128
    } else {
        (value >> count) | ((value << (128 - count) != 0) as u128)
    }
}

impl Number {
    /// The value `significand × 2^exponent_of_bit_0`, or `None` if it is zero.
    pub fn new(negative: bool, exponent_of_bit_0: i32, significand: u128) -> Option<Number> {
        if significand == 0 {
            return None;
        }
        let shift = significand.leading_zeros();
        Some(Number {
            negative,
            exponent: exponent_of_bit_0 + 127 - shift as i32,
            significand: significand << shift,
        })
    }

    /// The same magnitude, positive or negative.
    pub fn with_sign(self, negative: bool) -> Number {
        Number { negative, ..self }
    }

    /// The value with the opposite sign.
    pub fn negated(self) -> Number {
        self.with_sign(!self.negative)
    }

    /// `self + other`; `None` when the sum is exactly zero.
    ///
    /// Operands carry at most 126 significant bits, so that a sticky bit can never be mistaken for
    /// a rounding bit after cancellation.
    pub fn add(self, other: Number) -> Option<Number> {
        let (large, small) =
            if (self.exponent, self.significand) >= (other.exponent, other.significand) {
                (self, other)
            } else {
                (other, self)
            };
        let distance = large.exponent.abs_diff(small.exponent);
        let aligned = shift_right_sticky(small.significand, distance);
        if large.negative == small.negative {
            let (sum, carry) = large.significand.overflowing_add(aligned);
            let (significand, exponent) = if carry {
                (shift_right_sticky(sum, 1) | 1 << 127, large.exponent + 1)
            } else {
                (sum, large.exponent)
            };
            Some(Number {
                negative: large.negative,
                exponent,
                significand,
            })
        } else {
            Number::new(
                large.negative,
                large.exponent - 127,
                large.significand - aligned,
            )
        }
    }

    /// `self × other`, exact: both operands have at most 64 significant bits.
    pub fn multiply(self, other: Number) -> Number {
        debug_assert!(self.significand << 64 == 0 && other.significand << 64 == 0);
        let product = (self.significand >> 64) * (other.significand >> 64);
        let shift = product.leading_zeros();
        Number {
            negative: self.negative != other.negative,
            exponent: self.exponent + other.exponent + 1 - shift as i32,
            significand: product << shift,
        }
    }

    /// `self ÷ other`, with at least 126 exact quotient bits and a sticky bit; both operands have at
    /// most 64 significant bits.
    pub fn divide(self, other: Number) -> Number {
        debug_assert!(self.significand << 64 == 0 && other.significand << 64 == 0);
        let dividend = self.significand >> 1;
        let divisor = other.significand >> 64;
        let high = dividend / divisor;
        let remainder = (dividend % divisor) << 64;
        let low = remainder / divisor;
        let sticky = !remainder.is_multiple_of(divisor);
        let quotient = (high << 64 | low) | u128::from(sticky);
        let shift = quotient.leading_zeros();
        Number {
            negative: self.negative != other.negative,
            exponent: self.exponent - other.exponent - shift as i32,
            significand: quotient << shift,
        }
    }

    /// The square root of the magnitude, with 65 exact bits and a sticky bit; the operand has at
    /// most 64 significant bits. The sign is kept.
    pub fn square_root(self) -> Number {
        debug_assert!(self.significand << 64 == 0);
        let odd = self.exponent & 1;
        let radicand = self.significand >> (1 - odd);
        let root = radicand.isqrt();
        let remainder = radicand - root * root;
        // (root + 1/2)² = root² + root + 1/4: the next bit is set when the remainder exceeds root.
        let half = u128::from(remainder > root);
        let sticky = u128::from(remainder != 0);
        Number {
            negative: self.negative,
            exponent: (self.exponent - odd) / 2,
            significand: root << 64 | half << 63 | sticky,
        }
    }
}

/// What of a rounded integer part is left over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The value in units of the last place.
    pub value: u128,
    /// Something nonzero was dropped.
    pub inexact: bool,
    /// The magnitude was increased.
    pub up: bool,
}

/// Drops the low `count` bits of a magnitude, rounding.
pub(crate) fn drop_bits(magnitude: u128, count: u32, negative: bool, rounding: Rounding) -> Kept {
    let (kept, dropped, half) = match count {
        0 => (magnitude, 0, 1),
        1..=127 => (
            magnitude >> count,
            magnitude & ((1 << count) - 1),
            1 << (count - 1),
        ),
        128 => (0, magnitude, 1 << 127),
        // Less than a quarter of the unit: nonzero, and below one half.
        _ => (0, u128::from(magnitude != 0), 2),
    };
    let up = dropped != 0
        && match rounding {
            Rounding::Nearest => dropped > half || (dropped == half && kept & 1 == 1),
            Rounding::Down => negative,
            Rounding::Up => !negative,
            Rounding::Zero => false,
        };
    Kept {
        value: kept + u128::from(up),
        inexact: dropped != 0,
        up,
    }
}

/// What a format can hold: significand bits including the integer bit, and the unbiased exponents
/// of its smallest and largest normal numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub precision: u32,
    pub exponent_min: i32,
    pub exponent_max: i32,
}

/// Which responses are not the default ones, because the exception is unmasked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traps {
    /// A tiny result is signalled even if exact, and kept with its exponent out of range.
    pub underflow: bool,
    /// A too large result is kept with its exponent out of range.
    pub overflow: bool,
}

/// A number after rounding: `significand × 2^(exponent − precision + 1)`, or infinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rounded {
    /// The exponent of a normal number; the smallest one for subnormal numbers. Out of range only
    /// when the responsible exception is unmasked.
    pub exponent: i32,
    /// At most `precision` bits; fewer, or zero, for subnormal results.
    pub significand: u64,
    /// The masked response to overflow was infinity; the fields above mean nothing.
    pub infinite: bool,
    /// The precision exception is due.
    pub inexact: bool,
    /// The underflow exception is due.
    pub underflow: bool,
    /// The result was tiny, whether or not that is signalled.
    pub tiny: bool,
    /// The overflow exception is due.
    pub overflow: bool,
    /// The magnitude was increased by rounding.
    pub up: bool,
}

/// Rounds `number` to `range`.
pub(crate) fn round(number: Number, range: Range, rounding: Rounding, traps: Traps) -> Rounded {
    let Number {
        negative,
        exponent,
        significand,
    } = number;
    let normalised = |kept: Kept, exponent: i32| {
        if kept.value >> range.precision != 0 {
            ((kept.value >> 1) as u64, exponent + 1)
        } else {
            (kept.value as u64, exponent)
        }
    };
    let kept = drop_bits(significand, 128 - range.precision, negative, rounding);
    let (kept_significand, kept_exponent) = normalised(kept, exponent);
    let unbounded = Rounded {
        exponent: kept_exponent,
        significand: kept_significand,
        infinite: false,
        inexact: kept.inexact,
        underflow: false,
        tiny: false,
        overflow: false,
        up: kept.up,
    };
    if kept_exponent > range.exponent_max {
        if traps.overflow {
            return Rounded {
                overflow: true,
                ..unbounded
            };
        }
        let infinite = match rounding {
            Rounding::Nearest => true,
            Rounding::Down => negative,
            Rounding::Up => !negative,
            Rounding::Zero => false,
        };
        return Rounded {
            exponent: range.exponent_max,
            significand: (u64::MAX) >> (64 - range.precision),
            infinite,
            inexact: true,
            overflow: true,
            up: infinite,
            ..unbounded
        };
    }
    if exponent >= range.exponent_min {
        return unbounded;
    }
    let tiny = kept_exponent < range.exponent_min;
    if tiny && traps.underflow {
        return Rounded {
            underflow: true,
            tiny,
            ..unbounded
        };
    }
    let excess = range.exponent_min.abs_diff(exponent);
    let kept = drop_bits(
        significand,
        (128 - range.precision).saturating_add(excess),
        negative,
        rounding,
    );
    Rounded {
        exponent: range.exponent_min,
        significand: kept.value as u64,
        infinite: false,
        inexact: kept.inexact,
        underflow: tiny && kept.inexact,
        tiny,
        overflow: false,
        up: kept.up,
    }
}
