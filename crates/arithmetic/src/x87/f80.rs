//! The double extended-precision format, as bits and as numbers.
//!
//! Its integer bit is explicit, so that there are encodings without meaning: *unnormal* numbers,
//! pseudo-infinities and pseudo-NaNs are invalid operands everywhere; pseudo-denormals are accepted.
//! Source: SDM Vol. 1, "Unsupported Double Extended-Precision Floating-Point Encodings and
//! Pseudo-Denormals".

use crate::rounding::Number;
use serde::{Deserialize, Serialize};

/// An 80-bit floating-point register or memory operand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct F80 {
    /// Bit 15 the sign, bits 14:0 the exponent biased by 16383.
    pub sign_exponent: u16,
    /// The significand, bit 63 being the integer bit.
    pub significand: u64,
}

pub(crate) const BIAS: i32 = 16383;
pub(crate) const EXPONENT_MAX: u16 = 0x7fff;
pub(crate) const INTEGER_BIT: u64 = 1 << 63;
pub(crate) const QUIET_BIT: u64 = 1 << 62;

/// What an encoding stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Zero,
    Finite(Number),
    Infinity,
    QuietNan,
    SignallingNan,
    /// An encoding without meaning.
    Unsupported,
}

impl F80 {
    /// Plus zero.
    pub const ZERO: F80 = F80::new(false, 0, 0);
    /// Plus one.
    pub const ONE: F80 = F80::new(false, BIAS as u16, INTEGER_BIT);
    /// The QNaN floating-point indefinite: the response to a masked invalid operation.
    pub const INDEFINITE: F80 = F80::new(true, EXPONENT_MAX, INTEGER_BIT | QUIET_BIT);

    /// Puts a number together from sign, biased exponent and significand.
    pub const fn new(negative: bool, exponent: u16, significand: u64) -> F80 {
        F80 {
            sign_exponent: (negative as u16) << 15 | exponent & EXPONENT_MAX,
            significand,
        }
    }

    /// From the low 80 bits.
    pub const fn from_bits(bits: u128) -> F80 {
        F80 {
            sign_exponent: (bits >> 64) as u16,
            significand: bits as u64,
        }
    }

    /// The 80 bits, zero-extended.
    pub const fn to_bits(self) -> u128 {
        (self.sign_exponent as u128) << 64 | self.significand as u128
    }

    /// Infinity.
    pub const fn infinity(negative: bool) -> F80 {
        F80::new(negative, EXPONENT_MAX, INTEGER_BIT)
    }

    /// Zero.
    pub const fn zero(negative: bool) -> F80 {
        F80::new(negative, 0, 0)
    }

    /// Whether the sign bit is set.
    pub const fn is_negative(self) -> bool {
        self.sign_exponent >> 15 != 0
    }

    /// The biased exponent.
    pub const fn exponent(self) -> u16 {
        self.sign_exponent & EXPONENT_MAX
    }

    /// A subnormal number or a pseudo-denormal.
    pub(crate) const fn is_denormal(self) -> bool {
        self.exponent() == 0 && self.significand != 0
    }

    /// With the sign bit as given.
    pub(crate) const fn with_sign(self, negative: bool) -> F80 {
        F80::new(negative, self.exponent(), self.significand)
    }

    /// A NaN made quiet.
    pub(crate) const fn quieted(self) -> F80 {
        F80 {
            significand: self.significand | QUIET_BIT,
            ..self
        }
    }

    pub(crate) fn class(self) -> Class {
        let integer = self.significand & INTEGER_BIT != 0;
        match self.exponent() {
            0 => self.number().map_or(Class::Zero, Class::Finite),
            _ if !integer => Class::Unsupported,
            EXPONENT_MAX => {
                if self.significand == INTEGER_BIT {
                    Class::Infinity
                } else if self.significand & QUIET_BIT != 0 {
                    Class::QuietNan
                } else {
                    Class::SignallingNan
                }
            }
            _ => self.number().map_or(Class::Zero, Class::Finite),
        }
    }

    fn number(self) -> Option<Number> {
        let exponent = i32::from(self.exponent()).max(1);
        Number::new(
            self.is_negative(),
            exponent - BIAS - 63,
            self.significand.into(),
        )
    }

    pub(crate) fn is_nan(self) -> bool {
        matches!(self.class(), Class::QuietNan | Class::SignallingNan)
    }

    /// The integer as a number: always exact.
    pub(crate) fn from_integer(value: i64) -> F80 {
        F80::from_magnitude(value < 0, value.unsigned_abs())
    }

    /// An integer given as sign and magnitude; minus zero exists.
    pub(crate) fn from_magnitude(negative: bool, magnitude: u64) -> F80 {
        if magnitude == 0 {
            return F80::zero(negative);
        }
        let shift = magnitude.leading_zeros();
        F80::new(
            negative,
            (BIAS + 63 - shift as i32) as u16,
            magnitude << shift,
        )
    }
}
