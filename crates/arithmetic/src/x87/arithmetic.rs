//! The arithmetic of the x87, on values: every operation but the transcendental ones.
//!
//! Sources: SDM Vol. 1, "x87 FPU Floating-Point Exception Handling", "Rules for Handling NaNs",
//! "Operating on NaNs" and the exception sections of "x87 FPU Floating-Point Exception Conditions".

use super::f80::{BIAS, Class, EXPONENT_MAX, F80, INTEGER_BIT};
use super::{DE, IE, OE, PE, UE, ZE};
use crate::rounding::{Number, Range, Rounding, Traps, drop_bits, round};
use std::cmp::Ordering;

/// The part of the control word that results depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Control {
    pub rounding: Rounding,
    /// Significand bits, by precision control.
    pub precision: u32,
    pub traps: Traps,
}

impl Control {
    /// For the instructions that precision control does not concern.
    pub fn with_full_precision(self) -> Control {
        Control {
            precision: 64,
            ..self
        }
    }
}

/// A value, the exceptions on the way to it (as bits of the status word), and whether its magnitude
/// was rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome<T> {
    pub value: T,
    pub flags: u16,
    pub up: bool,
}

impl<T> Outcome<T> {
    pub const fn exact(value: T) -> Outcome<T> {
        Outcome::with(value, 0)
    }
    pub const fn with(value: T, flags: u16) -> Outcome<T> {
        Outcome {
            value,
            flags,
            up: false,
        }
    }
}

impl<T: Copy> Outcome<T> {
    pub fn and(self, flags: u16) -> Outcome<T> {
        Outcome {
            flags: self.flags | flags,
            ..self
        }
    }
}

const INVALID: Outcome<F80> = Outcome::with(F80::INDEFINITE, IE);

/// By how much the exponent of a result is changed that is delivered although out of range.
const WRAP: i32 = 24576;

/// DE if the operand is one. A subnormal single or double loses that property when it is widened,
/// so that the operations that take one from memory are told.
pub(crate) fn denormal_flag(a: F80) -> u16 {
    if a.is_denormal() { DE } else { 0 }
}

/// Rounds and encodes a nonzero finite result.
pub(crate) fn deliver(number: Number, control: Control) -> Outcome<F80> {
    let range = Range {
        precision: control.precision,
        exponent_min: 1 - BIAS,
        exponent_max: BIAS,
    };
    let rounded = round(number, range, control.rounding, control.traps);
    let mut flags = 0;
    if rounded.inexact {
        flags |= PE;
    }
    if rounded.underflow {
        flags |= UE;
    }
    if rounded.overflow {
        flags |= OE;
    }
    let significand = rounded.significand << (64 - control.precision);
    let value = if rounded.infinite {
        F80::infinity(number.negative)
    } else {
        let exponent = if rounded.overflow && control.traps.overflow {
            // Far out of range, as only FSCALE gets: infinity.
            let wrapped = rounded.exponent - WRAP;
            if wrapped > BIAS {
                return Outcome {
                    value: F80::infinity(number.negative),
                    flags: flags | PE,
                    up: true,
                };
            }
            wrapped
        } else if rounded.underflow && control.traps.underflow {
            let wrapped = rounded.exponent + WRAP;
            if wrapped < 1 - BIAS {
                return Outcome {
                    value: F80::zero(number.negative),
                    flags: flags | PE,
                    up: false,
                };
            }
            wrapped
        } else {
            rounded.exponent
        };
        let field = if significand & INTEGER_BIT == 0 {
            0
        } else {
            (exponent + BIAS) as u16
        };
        F80::new(number.negative, field, significand)
    };
    Outcome {
        value,
        flags,
        up: rounded.up,
    }
}

/// If an operand is unsupported or a NaN: what the operation gives.
///
/// Of two NaNs the one with the larger significand, but a quiet one before a signalling one; with
/// equal significands the positive one.
pub(crate) fn special(a: F80, b: F80) -> Option<Outcome<F80>> {
    use Class::*;
    let (x, y) = (a.class(), b.class());
    if x == Unsupported || y == Unsupported {
        return Some(INVALID);
    }
    let invalid = if x == SignallingNan || y == SignallingNan {
        IE
    } else {
        0
    };
    let nan = match (a.is_nan(), b.is_nan()) {
        (false, false) => return None,
        (true, false) => a,
        (false, true) => b,
        (true, true) => match (x, y) {
            (QuietNan, SignallingNan) => a,
            (SignallingNan, QuietNan) => b,
            _ => match a.significand.cmp(&b.significand) {
                Ordering::Greater => a,
                Ordering::Less => b,
                Ordering::Equal if a.is_negative() => b,
                Ordering::Equal => a,
            },
        },
    };
    Some(Outcome::with(nan.quieted(), invalid))
}

/// The same for operations on one operand.
pub(crate) fn special_of_one(a: F80) -> Option<Outcome<F80>> {
    special(a, a)
}

/// `a + b`, or `a − b` if `subtract`.
pub(crate) fn add(a: F80, b: F80, subtract: bool, denormal: u16, control: Control) -> Outcome<F80> {
    if let Some(outcome) = special(a, b) {
        return outcome;
    }
    let flags = denormal;
    let b = b.with_sign(b.is_negative() != subtract);
    let sum = match (a.class(), b.class()) {
        (Class::Infinity, Class::Infinity) if a.is_negative() != b.is_negative() => return INVALID,
        (Class::Infinity, _) => return Outcome::with(F80::infinity(a.is_negative()), flags),
        (_, Class::Infinity) => return Outcome::with(F80::infinity(b.is_negative()), flags),
        (Class::Finite(x), Class::Finite(y)) => x.add(y),
        (Class::Finite(x), _) => Some(x),
        (_, Class::Finite(y)) => Some(y),
        _ => None,
    };
    match sum {
        Some(number) => deliver(number, control).and(flags),
        None => {
            let both_zero = a.class() == Class::Zero;
            let negative = if both_zero && a.is_negative() == b.is_negative() {
                a.is_negative()
            } else {
                control.rounding == Rounding::Down
            };
            Outcome::with(F80::zero(negative), flags)
        }
    }
}

/// `a × b`.
pub(crate) fn multiply(a: F80, b: F80, denormal: u16, control: Control) -> Outcome<F80> {
    if let Some(outcome) = special(a, b) {
        return outcome;
    }
    let flags = denormal;
    let negative = a.is_negative() != b.is_negative();
    match (a.class(), b.class()) {
        (Class::Infinity, Class::Zero) | (Class::Zero, Class::Infinity) => INVALID,
        (Class::Infinity, _) | (_, Class::Infinity) => {
            Outcome::with(F80::infinity(negative), flags)
        }
        (Class::Finite(x), Class::Finite(y)) => deliver(x.multiply(y), control).and(flags),
        _ => Outcome::with(F80::zero(negative), flags),
    }
}

/// `a ÷ b`.
pub(crate) fn divide(a: F80, b: F80, denormal: u16, control: Control) -> Outcome<F80> {
    if let Some(outcome) = special(a, b) {
        return outcome;
    }
    let flags = denormal;
    let negative = a.is_negative() != b.is_negative();
    match (a.class(), b.class()) {
        (Class::Infinity, Class::Infinity) | (Class::Zero, Class::Zero) => INVALID,
        (Class::Infinity, _) => Outcome::with(F80::infinity(negative), flags),
        (Class::Finite(_), Class::Zero) => Outcome::with(F80::infinity(negative), ZE),
        (Class::Finite(x), Class::Finite(y)) => deliver(x.divide(y), control).and(flags),
        _ => Outcome::with(F80::zero(negative), flags),
    }
}

/// The square root.
pub(crate) fn square_root(a: F80, control: Control) -> Outcome<F80> {
    if let Some(outcome) = special_of_one(a) {
        return outcome;
    }
    match a.class() {
        Class::Zero => Outcome::exact(a),
        _ if a.is_negative() => INVALID,
        Class::Finite(x) => deliver(x.square_root(), control).and(denormal_flag(a)),
        _ => Outcome::exact(a),
    }
}

/// Rounds to an integral value.
pub(crate) fn round_to_integral(a: F80, control: Control) -> Outcome<F80> {
    if let Some(outcome) = special_of_one(a) {
        return outcome;
    }
    let number = match a.class() {
        Class::Finite(number) if number.exponent < 63 => number,
        _ => return Outcome::exact(a),
    };
    let kept = drop_bits(
        number.significand,
        127u32.saturating_add_signed(-number.exponent),
        number.negative,
        control.rounding,
    );
    Outcome {
        value: F80::from_magnitude(number.negative, kept.value as u64),
        flags: denormal_flag(a) | if kept.inexact { PE } else { 0 },
        up: kept.up,
    }
}

/// Compares; `None` when unordered. Quiet NaNs are invalid if `quiet_is_invalid`, signalling ones
/// and unsupported encodings always.
pub(crate) fn compare(
    a: F80,
    b: F80,
    quiet_is_invalid: bool,
    denormal: u16,
) -> Outcome<Option<Ordering>> {
    let (x, y) = (a.class(), b.class());
    if let Some(outcome) = special(a, b) {
        let flags = if quiet_is_invalid { IE } else { outcome.flags };
        return Outcome::with(None, flags);
    }
    let rank = |class: Class| match class {
        Class::Zero => (0, 0, 0),
        Class::Finite(number) => (1, number.exponent, number.significand),
        _ => (2, 0, 0),
    };
    let negative = |value: F80, class: Class| value.is_negative() && class != Class::Zero;
    let order = match (negative(a, x), negative(b, y)) {
        (false, false) => rank(x).cmp(&rank(y)),
        (true, true) => rank(y).cmp(&rank(x)),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    };
    Outcome::with(Some(order), denormal)
}

/// A step of the remainder, and what of the quotient is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remainder {
    pub value: F80,
    /// The reduction is complete; if not, `quotient` means nothing.
    pub complete: bool,
    /// The low bits of the quotient's magnitude.
    pub quotient: u64,
}

/// `FPREM`, or `FPREM1` if `nearest`: subtracts a multiple of `b` from `a`, exactly.
///
/// One step reduces the exponent by at most 63. How much an incomplete step does is the
/// processor's choice; here, as on known processors, the number of quotient bits is between 32 and
/// 63 and leaves a multiple of 32.
pub(crate) fn remainder(a: F80, b: F80, nearest: bool, control: Control) -> Outcome<Remainder> {
    let done = |outcome: Outcome<F80>, quotient: u64| Outcome {
        value: Remainder {
            value: outcome.value,
            complete: true,
            quotient,
        },
        flags: outcome.flags,
        up: false,
    };
    if let Some(outcome) = special(a, b) {
        return done(outcome, 0);
    }
    let flags = denormal_flag(a) | denormal_flag(b);
    let (x, y) = match (a.class(), b.class()) {
        (Class::Infinity, _) | (_, Class::Zero) => return done(INVALID, 0),
        (Class::Zero, _) => return done(Outcome::with(a, flags), 0),
        (Class::Finite(x), Class::Finite(y)) => (x, y),
        // A finite number and infinity: nothing to subtract.
        (Class::Finite(x), _) => {
            return done(deliver(x, control.with_full_precision()).and(flags), 0);
        }
        _ => return done(INVALID, 0),
    };
    let (mut rest, divisor) = (x.significand >> 64, y.significand >> 64);
    let distance = x.exponent - y.exponent;
    let exponent_of_bit_0 = y.exponent - 63;
    if distance >= 64 {
        let step = (distance & 31 | 32) as u32;
        rest = long_remainder(rest, divisor, step).1;
        let number = Number::new(
            x.negative,
            exponent_of_bit_0 + (distance - step as i32),
            rest,
        );
        let outcome = match number {
            Some(number) => deliver(number, control.with_full_precision()),
            None => Outcome::exact(F80::zero(x.negative)),
        };
        return Outcome {
            value: Remainder {
                value: outcome.value,
                complete: false,
                quotient: 0,
            },
            flags: outcome.flags | flags,
            up: false,
        };
    }
    if distance < -1 || (distance == -1 && !nearest) {
        // Smaller than half the divisor, or than the divisor: nothing to subtract.
        return done(deliver(x, control.with_full_precision()).and(flags), 0);
    }
    let (mut quotient, mut rest, unit) = if distance < 0 {
        // a lies between a quarter of b and b; count in units half as large.
        (0, rest, exponent_of_bit_0 - 1)
    } else {
        let (quotient, rest) = long_remainder(rest, divisor, distance as u32);
        (quotient, rest, exponent_of_bit_0)
    };
    let divisor = if distance < 0 { divisor << 1 } else { divisor };
    let mut negative = x.negative;
    if nearest {
        let twice = rest << 1;
        if twice > divisor || (twice == divisor && quotient & 1 == 1) {
            rest = divisor - rest;
            negative = !negative;
            quotient = quotient.wrapping_add(1);
        }
    }
    match Number::new(negative, unit, rest) {
        Some(number) => done(
            deliver(number, control.with_full_precision()).and(flags),
            quotient,
        ),
        None => done(Outcome::with(F80::zero(x.negative), flags), quotient),
    }
}

/// Low 64 bits of the quotient, and the remainder, of `dividend × 2^shift ÷ divisor`. Both numbers
/// are below 2^64, `shift` below 64.
fn long_remainder(dividend: u128, divisor: u128, shift: u32) -> (u64, u128) {
    let shifted = dividend << shift;
    ((shifted / divisor) as u64, shifted % divisor)
}

/// `a × 2^trunc(b)`.
pub(crate) fn scale(a: F80, b: F80, control: Control) -> Outcome<F80> {
    if let Some(outcome) = special(a, b) {
        return outcome;
    }
    let flags = denormal_flag(a) | denormal_flag(b);
    let negative = a.is_negative();
    match (a.class(), b.class()) {
        (Class::Zero, Class::Infinity) if !b.is_negative() => INVALID,
        (Class::Infinity, Class::Infinity) if b.is_negative() => INVALID,
        (_, Class::Infinity) if b.is_negative() => Outcome::with(F80::zero(negative), flags),
        (_, Class::Infinity) => Outcome::with(F80::infinity(negative), flags),
        (Class::Finite(x), Class::Finite(y)) => {
            let by = if y.exponent < 0 {
                0
            } else if y.exponent > 16 {
                1 << 17
            } else {
                (y.significand >> (127 - y.exponent)) as i32
            };
            let by = if y.negative { -by } else { by };
            let number = Number {
                exponent: x.exponent + by,
                ..x
            };
            deliver(number, control.with_full_precision()).and(flags)
        }
        (Class::Finite(x), _) => deliver(x, control.with_full_precision()).and(flags),
        _ => Outcome::with(a, flags),
    }
}

/// Exponent and significand of `a`: `FXTRACT`.
pub(crate) fn extract(a: F80) -> Outcome<(F80, F80)> {
    if let Some(outcome) = special_of_one(a) {
        return Outcome::with((outcome.value, outcome.value), outcome.flags);
    }
    match a.class() {
        Class::Finite(x) => {
            let significand = F80::new(x.negative, BIAS as u16, (x.significand >> 64) as u64);
            Outcome::with(
                (F80::from_integer(x.exponent.into()), significand),
                denormal_flag(a),
            )
        }
        Class::Zero => Outcome::with((F80::infinity(true), a), ZE),
        _ => Outcome::exact((F80::infinity(false), a)),
    }
}

/// A single- or double-precision operand as the stack holds it, with DE if it is subnormal. A
/// signalling NaN stays one.
fn widen(bits: u64, exponent_bits: u32, fraction_bits: u32) -> Outcome<F80> {
    let exponent_max = (1u64 << exponent_bits) - 1;
    let fraction = bits & ((1 << fraction_bits) - 1);
    let exponent = bits >> fraction_bits & exponent_max;
    let negative = bits >> (fraction_bits + exponent_bits) & 1 != 0;
    let aligned = fraction << (63 - fraction_bits);
    if exponent == exponent_max {
        return Outcome::exact(F80::new(negative, EXPONENT_MAX, INTEGER_BIT | aligned));
    }
    let rebias = BIAS - (exponent_max >> 1) as i32;
    if exponent != 0 {
        return Outcome::exact(F80::new(
            negative,
            (exponent as i32 + rebias) as u16,
            INTEGER_BIT | aligned,
        ));
    }
    if aligned == 0 {
        return Outcome::exact(F80::zero(negative));
    }
    let shift = aligned.leading_zeros();
    Outcome::with(
        F80::new(
            negative,
            (rebias + 1 - shift as i32) as u16,
            aligned << shift,
        ),
        DE,
    )
}

/// A single-precision operand as the stack holds it.
pub(crate) fn from_single(bits: u32) -> Outcome<F80> {
    widen(bits.into(), 8, 23)
}

/// A double-precision operand as the stack holds it.
pub(crate) fn from_double(bits: u64) -> Outcome<F80> {
    widen(bits, 11, 52)
}

/// Rounds to single (23 fraction bits) or double precision (52).
fn narrow(a: F80, exponent_bits: u32, fraction_bits: u32, control: Control) -> Outcome<u64> {
    let exponent_max = (1u64 << exponent_bits) - 1;
    let bias = (exponent_max >> 1) as i32;
    let sign = u64::from(a.is_negative()) << (exponent_bits + fraction_bits);
    let infinity = exponent_max << fraction_bits;
    let indefinite = 1 << (exponent_bits + fraction_bits) | infinity | 1 << (fraction_bits - 1);
    match a.class() {
        Class::Unsupported => Outcome::with(indefinite, IE),
        Class::Zero => Outcome::exact(sign),
        Class::Infinity => Outcome::exact(sign | infinity),
        Class::QuietNan | Class::SignallingNan => {
            let nan = a.quieted();
            let fraction = (nan.significand & !INTEGER_BIT) >> (63 - fraction_bits);
            let flags = if nan == a { 0 } else { IE };
            Outcome::with(sign | infinity | fraction, flags)
        }
        Class::Finite(number) => {
            let range = Range {
                precision: fraction_bits + 1,
                exponent_min: 1 - bias,
                exponent_max: bias,
            };
            let rounded = round(number, range, control.rounding, control.traps);
            let mut flags = 0;
            if rounded.inexact {
                flags |= PE;
            }
            if rounded.underflow {
                flags |= UE;
            }
            if rounded.overflow {
                flags |= OE;
            }
            let trapped = (rounded.overflow && control.traps.overflow)
                || (rounded.underflow && control.traps.underflow);
            let value = if rounded.infinite {
                sign | infinity
            } else if trapped {
                // Not stored.
                0
            } else {
                let field = (rounded.exponent + bias - 1) as u64;
                sign | ((field << fraction_bits) + rounded.significand)
            };
            Outcome {
                value,
                flags,
                up: rounded.up,
            }
        }
    }
}

/// Rounds to single precision.
pub(crate) fn to_single(a: F80, control: Control) -> Outcome<u64> {
    narrow(a, 8, 23, control)
}

/// Rounds to double precision.
pub(crate) fn to_double(a: F80, control: Control) -> Outcome<u64> {
    narrow(a, 11, 52, control)
}

/// The magnitude of `a` rounded to an integer of at most `limit` (one more for negative numbers if
/// `lopsided`); `None` if it is not a number or does not fit.
fn to_magnitude(a: F80, limit: u64, lopsided: bool, rounding: Rounding) -> Option<Outcome<u64>> {
    let number = match a.class() {
        Class::Zero => return Some(Outcome::exact(0)),
        Class::Finite(number) if number.exponent <= 64 => number,
        _ => return None,
    };
    let kept = drop_bits(
        number.significand,
        127u32.saturating_add_signed(-number.exponent),
        number.negative,
        rounding,
    );
    let limit = u128::from(limit) + u128::from(lopsided && number.negative);
    (kept.value <= limit).then_some(Outcome {
        value: kept.value as u64,
        flags: if kept.inexact { PE } else { 0 },
        up: kept.up,
    })
}

/// Rounds to a signed integer of `width` bits, zero-extended; the integer indefinite if it does not
/// fit.
pub(crate) fn to_integer(a: F80, width: u32, rounding: Rounding) -> Outcome<u64> {
    match to_magnitude(a, (1 << (width - 1)) - 1, true, rounding) {
        None => Outcome::with(1 << (width - 1), IE),
        Some(outcome) => {
            let value = if a.is_negative() {
                outcome.value.wrapping_neg()
            } else {
                outcome.value
            };
            Outcome {
                value: value & (u64::MAX >> (64 - width)),
                ..outcome
            }
        }
    }
}

/// Rounds to 18 packed decimal digits with a sign in bit 79.
pub(crate) fn to_decimal(a: F80, rounding: Rounding) -> Outcome<u128> {
    const INDEFINITE: u128 = 0xffff_c000_0000_0000_0000;
    match to_magnitude(a, 999_999_999_999_999_999, false, rounding) {
        None => Outcome::with(INDEFINITE, IE),
        Some(outcome) => {
            let mut rest = outcome.value;
            let mut digits = 0;
            for i in 0..18 {
                digits |= u128::from(rest % 10) << (4 * i);
                rest /= 10;
            }
            Outcome {
                value: digits | u128::from(a.is_negative()) << 79,
                flags: outcome.flags,
                up: outcome.up,
            }
        }
    }
}

/// The value of 18 packed decimal digits; digits above nine, which the manual leaves undefined,
/// count as what their bits say. Bits 78:72 are ignored.
pub(crate) fn from_decimal(bits: u128) -> F80 {
    let magnitude = (0..18)
        .rev()
        .fold(0u64, |value, i| value * 10 + (bits >> (4 * i) & 15) as u64);
    F80::from_magnitude(bits >> 79 & 1 != 0, magnitude)
}
