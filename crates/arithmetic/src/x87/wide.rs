//! Approximate arithmetic with about 126 good bits, for the transcendental functions.
//!
//! A result is off by a few units in the 127th bit, so that rounding it to 64 bits is almost always
//! rounding the true value; its bit 0 is set to say that it is not exact.

use crate::rounding::Number;

/// A fixed-point number between 0 and 2: one integer bit, 127 fraction bits.
pub(super) type Fixed = u128;

/// One.
pub(super) const ONE: Fixed = 1 << 127;

/// The upper and the lower half of a product.
fn multiply_full(a: u128, b: u128) -> (u128, u128) {
    const MASK: u128 = (1 << 64) - 1;
    let (a1, a0, b1, b0) = (a >> 64, a & MASK, b >> 64, b & MASK);
    let low = a0 * b0;
    let middle = a1 * b0 + (low >> 64);
    let middle_low = (middle & MASK) + a0 * b1;
    let high = a1 * b1 + (middle >> 64) + (middle_low >> 64);
    (high, middle_low << 64 | low & MASK)
}

/// The product of two fixed-point numbers, which must be below 2.
pub(super) fn fixed_multiply(a: Fixed, b: Fixed) -> Fixed {
    let (high, low) = multiply_full(a, b);
    high << 1 | low >> 127
}

impl Number {
    /// A fixed-point number, which must not be zero; bit 0 marks it as inexact.
    pub(super) fn from_fixed(value: Fixed) -> Number {
        let shift = value.leading_zeros().min(127);
        Number {
            negative: false,
            exponent: -(shift as i32),
            significand: (value << shift | 1) | 1 << 127,
        }
    }

    /// The magnitude, which must be below 2, as a fixed-point number; small ones lose bits.
    pub(super) fn to_fixed(self) -> Fixed {
        debug_assert!(self.exponent <= 0);
        self.significand
            .checked_shr(self.exponent.unsigned_abs())
            .unwrap_or(0)
    }

    /// The square of the magnitude, which must be below 1, as a fixed-point number.
    pub(super) fn squared_to_fixed(self) -> Fixed {
        debug_assert!(self.exponent < 0);
        let (high, _) = multiply_full(self.significand, self.significand);
        // high has two integer bits.
        high.checked_shr(2 * self.exponent.unsigned_abs() - 1)
            .unwrap_or(0)
    }

    /// About `self × other`.
    pub(super) fn times(self, other: Number) -> Number {
        let (high, low) = multiply_full(self.significand, other.significand);
        let shift = high.leading_zeros();
        let significand = if shift == 0 {
            high
        } else {
            high << 1 | low >> 127
        };
        Number {
            negative: self.negative != other.negative,
            exponent: self.exponent + other.exponent + 1 - shift as i32,
            significand: significand | 1,
        }
    }

    /// `self ÷ other` to 128 bits; bit 0 is set if there is a remainder.
    pub(super) fn over(self, other: Number) -> Number {
        let divisor = other.significand;
        let mut exponent = self.exponent - other.exponent;
        let mut rest = self.significand;
        let mut quotient = 0u128;
        // The first bit decides the exponent; then one bit of the quotient at a time.
        let mut carry = false;
        if rest < divisor {
            exponent -= 1;
            carry = rest >> 127 != 0;
            rest <<= 1;
        }
        for _ in 0..128 {
            quotient <<= 1;
            if carry || rest >= divisor {
                rest = rest.wrapping_sub(divisor);
                quotient |= 1;
            }
            carry = rest >> 127 != 0;
            rest <<= 1;
        }
        Number {
            negative: self.negative != other.negative,
            exponent,
            significand: quotient | u128::from(carry || rest != 0),
        }
    }

    /// The next representable number towards zero: a value just below an exact one.
    pub(super) fn just_below(self) -> Number {
        if self.significand == 1 << 127 {
            Number {
                exponent: self.exponent - 1,
                significand: u128::MAX,
                ..self
            }
        } else {
            Number {
                significand: self.significand - 1,
                ..self
            }
        }
    }

    /// The next representable number away from zero, for a value just above an exact one.
    pub(super) fn just_above(self) -> Number {
        Number {
            significand: self.significand | 1,
            ..self
        }
    }

    /// Multiplied by a power of two.
    pub(super) fn scaled(self, by: i32) -> Number {
        Number {
            exponent: self.exponent + by,
            ..self
        }
    }
}
