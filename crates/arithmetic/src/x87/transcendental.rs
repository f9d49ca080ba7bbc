//! The transcendental instructions.
//!
//! Results are computed with about 120 bits and then rounded once, as the rounding control says:
//! they are the correctly rounded true value except when that lies within 2^-50 units in the last
//! place of a rounding boundary, hence well inside the one unit that the manual promises. Inexact
//! results set PE, and C1 if rounded up. Precision control has no effect.
//!
//! The trigonometric instructions reduce their operand with the processor's π of 66 significant bits
//! rather than with the true π, as the manual describes ("Approximation of Pi"); what is then computed
//! is accurate for the reduced operand. Operands outside the domain that the manual states (F2XM1,
//! FYL2XP1) give the true value where there is one.
//!
//! Sources: SDM Vol. 1, "x87 FPU Transcendental Instruction Accuracy", "Approximation of Pi"; Vol. 2,
//! the instructions' tables of results for zeros, infinities and NaNs.

use super::arithmetic::{Control, Outcome, deliver, denormal_flag, special, special_of_one};
use super::f80::{BIAS, Class, F80, INTEGER_BIT};
use super::wide::{Fixed, ONE, fixed_multiply};
use super::{IE, ZE};
use crate::rounding::Number;

const INVALID: Outcome<F80> = Outcome::with(F80::INDEFINITE, IE);

const fn constant(exponent: i32, significand: u128) -> Number {
    Number {
        negative: false,
        exponent,
        significand,
    }
}

const PI: Number = constant(1, 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1);
const LN_2: Number = constant(-1, 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af);
const LOG2_E: Number = constant(0, 0xb8aa_3b29_5c17_f0bb_be87_fed0_691d_3e89);
const UNIT: Number = constant(0, 1 << 127);

/// Arc tangents of 1/8 to 8/8.
const ARC_TANGENTS: [Number; 8] = [
    constant(-4, 0xfead_d4d5_617b_6e32_c897_989f_3e88_8ef8),
    constant(-3, 0xfadb_afc9_6406_eb15_6dc7_9ef5_f7a2_17e6),
    constant(-2, 0xb7b0_ca0f_26f7_8473_8aa3_2122_dcfe_4483),
    constant(-2, 0xed63_382b_0dda_7b45_6fe4_45ec_bc3a_8d03),
    constant(-1, 0x8f00_5d5e_f7f5_9f9b_5c83_5e16_65c4_3748),
    constant(-1, 0xa4bc_7d19_34f7_0924_19a8_7f2a_457d_ac9f),
    constant(-1, 0xb805_3e2b_c231_9e73_cb2d_a552_10a4_443d),
    constant(-1, 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1),
];

/// Below this exponent, a function that starts with its argument differs from it by less than the
/// last bit of a [`Number`].
const TINY: i32 = -66;

/// π with 66 significant bits, in units of 2^−64; π/2 in units of 2^−65.
const PI_66: u128 = 0x3_243f_6a88_85a3_08d3;

/// An operand of a trigonometric function after subtraction of multiples of π/2.
struct Reduced {
    /// Between −π/4 and π/4. Never zero: [`PI_66`] is odd and has more bits than an operand.
    rest: Number,
    /// How many quarter turns were subtracted, modulo 4.
    quarter_turns: u8,
}

/// Reduces a number with an exponent below 63.
fn reduce(x: Number) -> Reduced {
    if x.exponent < -2 {
        return Reduced {
            rest: x,
            quarter_turns: 0,
        };
    }
    // In units of 2^−65, all bits of the operand are integer bits, and there are at most 128.
    let magnitude = (x.significand >> 64) << (x.exponent + 2);
    let mut turns = (magnitude / PI_66) as u8 & 3;
    let rest = magnitude % PI_66;
    let (rest, away) = if rest > PI_66 / 2 {
        turns += 1;
        (PI_66 - rest, true)
    } else {
        (rest, false)
    };
    let shift = rest.leading_zeros().min(127);
    Reduced {
        rest: Number {
            negative: x.negative != away,
            exponent: 62 - shift as i32,
            significand: rest << shift,
        },
        quarter_turns: if x.negative {
            turns.wrapping_neg() & 3
        } else {
            turns & 3
        },
    }
}

/// The sine of a reduced operand.
fn sine(x: Number) -> Number {
    if x.exponent < TINY {
        return x.just_below();
    }
    let square = x.squared_to_fixed();
    let factor = (1..=16).rev().fold(ONE, |factor, n: u128| {
        ONE - fixed_multiply(square, factor) / (2 * n * (2 * n + 1))
    });
    x.times(Number::from_fixed(factor))
}

/// The cosine of a reduced operand.
fn cosine(x: Number) -> Number {
    if x.exponent < TINY {
        return UNIT.just_below();
    }
    let square = x.squared_to_fixed();
    let factor = (1..=16).rev().fold(ONE, |factor, n: u128| {
        ONE - fixed_multiply(square, factor) / ((2 * n - 1) * (2 * n))
    });
    Number::from_fixed(factor)
}

/// What a trigonometric instruction does with its operand.
pub(crate) enum Trigonometric<T> {
    /// The result.
    Done(Outcome<T>),
    /// The operand is 2^63 or more: C2 is set, nothing else happens.
    OutOfRange,
}

fn trigonometric<T: Copy>(
    x: F80,
    special: impl Fn(Outcome<F80>) -> Outcome<T>,
    at_zero: impl Fn(F80) -> T,
    compute: impl Fn(Number) -> Outcome<T>,
) -> Trigonometric<T> {
    if let Some(outcome) = special_of_one(x) {
        return Trigonometric::Done(special(outcome));
    }
    Trigonometric::Done(match x.class() {
        Class::Zero => Outcome::exact(at_zero(x)),
        Class::Finite(number) if number.exponent >= 63 => return Trigonometric::OutOfRange,
        Class::Finite(number) => compute(number).and(denormal_flag(x)),
        _ => special(INVALID),
    })
}

/// Sine or cosine, the latter being one quarter turn ahead.
fn circular(x: Number, ahead: u8, control: Control) -> Outcome<F80> {
    let Reduced {
        rest,
        quarter_turns,
    } = reduce(x);
    let turns = (quarter_turns + ahead) & 3;
    let value = if turns & 1 == 0 {
        sine(rest)
    } else {
        cosine(rest)
    };
    let value = if turns & 2 != 0 {
        value.negated()
    } else {
        value
    };
    deliver(value, control)
}

/// FSIN.
pub(crate) fn sin(x: F80, control: Control) -> Trigonometric<F80> {
    trigonometric(x, |s| s, |zero| zero, |x| circular(x, 0, control))
}

/// FCOS.
pub(crate) fn cos(x: F80, control: Control) -> Trigonometric<F80> {
    trigonometric(x, |s| s, |_| F80::ONE, |x| circular(x, 1, control))
}

/// FSINCOS: sine and cosine.
pub(crate) fn sin_cos(x: F80, control: Control) -> Trigonometric<(F80, F80)> {
    trigonometric(
        x,
        |s| Outcome::with((s.value, s.value), s.flags),
        |zero| (zero, F80::ONE),
        |x| {
            let (sin, cos) = (circular(x, 0, control), circular(x, 1, control));
            Outcome {
                value: (sin.value, cos.value),
                flags: sin.flags | cos.flags,
                up: sin.up,
            }
        },
    )
}

/// FPTAN, without the one that it pushes.
pub(crate) fn tan(x: F80, control: Control) -> Trigonometric<F80> {
    trigonometric(
        x,
        |s| s,
        |zero| zero,
        |x| {
            let Reduced {
                rest,
                quarter_turns,
            } = reduce(x);
            let value = match quarter_turns & 1 {
                0 if rest.exponent < TINY => rest.just_above(),
                0 => sine(rest).over(cosine(rest)).just_above(),
                _ => cosine(rest).over(sine(rest)).just_above().negated(),
            };
            deliver(value, control)
        },
    )
}

/// The arc tangent of a positive quotient of at most 1. Both numbers have 64 significant bits.
fn arc_tangent(numerator: Number, denominator: Number) -> Number {
    let ratio = numerator.over(denominator);
    if ratio.exponent < TINY {
        return ratio.just_below();
    }
    // arctan a = arctan c + arctan (a − c) / (1 + a c), c being the nearest multiple of 1/8.
    let eighths = (ratio.to_fixed() >> 123).div_ceil(2) as usize;
    let (rest, offset) = if eighths == 0 {
        (Some(ratio), None)
    } else {
        // Everything eightfold: (8 y − c x) / (8 x + c y).
        let c = |number: Number, negative: bool| {
            let product = (number.significand >> 64) * eighths as u128;
            Number::new(negative, number.exponent - 63, product)
        };
        let above = c(denominator, true).and_then(|c| numerator.scaled(3).add(c));
        let below = c(numerator, false).and_then(|c| denominator.scaled(3).add(c));
        let rest = above.and_then(|above| Some(above.over(below?)));
        (rest, Some(ARC_TANGENTS[eighths - 1]))
    };
    let series = rest.map(|z| {
        let square = z.squared_to_fixed();
        // 1 − z²/3 + z⁴/5 − ...
        let factor: Fixed = (0..18).rev().fold(0, |factor, n: u128| {
            ONE / (2 * n + 1) - fixed_multiply(square, factor)
        });
        z.times(Number::from_fixed(factor))
    });
    match (series, offset) {
        (Some(series), Some(offset)) => series.add(offset).unwrap_or(offset),
        (Some(series), None) => series,
        (None, Some(offset)) => offset,
        (None, None) => ratio,
    }
}

/// FPATAN: the angle of the point (`x`, `y`).
pub(crate) fn arc_tangent_of(y: F80, x: F80, control: Control) -> Outcome<F80> {
    if let Some(outcome) = special(y, x) {
        return outcome;
    }
    let flags = denormal_flag(y) | denormal_flag(x);
    let negative = y.is_negative();
    let left = x.is_negative();
    let angle = match (y.class(), x.class()) {
        (Class::Infinity, Class::Infinity) => {
            let quarter = PI.scaled(-2);
            if left {
                quarter.times(constant(1, 3 << 126))
            } else {
                quarter
            }
        }
        (Class::Infinity, _) | (Class::Finite(_), Class::Zero) => PI.scaled(-1),
        (Class::Zero, _) | (Class::Finite(_), Class::Infinity) => {
            if !left {
                return Outcome::with(F80::zero(negative), flags);
            }
            PI
        }
        (Class::Finite(y), Class::Finite(x)) => {
            let (y, x) = (y.with_sign(false), x.with_sign(false));
            let steep = (y.exponent, y.significand) > (x.exponent, x.significand);
            let angle = if steep {
                arc_tangent(x, y)
            } else {
                arc_tangent(y, x)
            };
            // From the nearer axis, the angle grows or shrinks.
            let from = |axis: Number, add: bool| {
                axis.add(angle.with_sign(!add)).unwrap_or(axis).just_above()
            };
            match (steep, left) {
                (false, false) => angle,
                (true, false) => from(PI.scaled(-1), false),
                (true, true) => from(PI.scaled(-1), true),
                (false, true) => from(PI, false),
            }
        }
        _ => return INVALID,
    };
    deliver(angle.with_sign(negative), control).and(flags)
}

/// F2XM1: 2^x − 1.
pub(crate) fn power_of_two_minus_one(x: F80, control: Control) -> Outcome<F80> {
    if let Some(outcome) = special_of_one(x) {
        return outcome;
    }
    let number = match x.class() {
        Class::Finite(number) => number,
        Class::Infinity if x.is_negative() => return Outcome::exact(F80::ONE.with_sign(true)),
        _ => return Outcome::exact(x),
    };
    let flags = denormal_flag(x);
    if number.exponent >= 0 {
        return match number.significand {
            // ±1 is exact.
            0x8000_0000_0000_0000_0000_0000_0000_0000 if number.exponent == 0 => {
                let half = F80::new(true, BIAS as u16 - 1, INTEGER_BIT);
                Outcome::exact(if number.negative { half } else { F80::ONE })
            }
            // Outside the domain, the operand stays.
            _ => Outcome::with(x, flags),
        };
    }
    let z = number.times(LN_2);
    let terms = 2..=34u128;
    // e^z − 1 = z (1 + z/2 (1 + z/3 (1 + ...))), where the factor lies between 0.7 and 1.5.
    let magnitude = z.to_fixed();
    let factor = terms.rev().fold(ONE, |factor, n| {
        let term = fixed_multiply(magnitude, factor) / n;
        if z.negative { ONE - term } else { ONE + term }
    });
    deliver(z.times(Number::from_fixed(factor)), control).and(flags)
}

/// The binary logarithm of `1 + 2 w / (1 − w)`, `w` being a quotient of magnitude below 0.2: the
/// inverse hyperbolic tangent, scaled.
fn logarithm(numerator: Number, denominator: Number) -> Number {
    let w = numerator.over(denominator);
    let square = w.squared_to_fixed();
    let factor = (0..28).rev().fold(0, |factor, n: u128| {
        ONE / (2 * n + 1) + fixed_multiply(square, factor)
    });
    w.times(Number::from_fixed(factor)).times(LOG2_E.scaled(1))
}

/// The binary logarithm; `None` if it is zero. Exact for powers of two.
fn binary_logarithm(x: Number) -> Option<Number> {
    const ROOT_2: u128 = 0xb504_f333_f9de_6484 << 64;
    let exponent = if x.significand > ROOT_2 {
        x.exponent + 1
    } else {
        x.exponent
    };
    let mantissa = x.scaled(-exponent).with_sign(false);
    let whole = Number::new(exponent < 0, 0, exponent.unsigned_abs().into());
    let fraction = mantissa
        .add(UNIT.negated())
        .and_then(|above| Some(logarithm(above, mantissa.add(UNIT)?)));
    match (whole, fraction) {
        (Some(whole), Some(fraction)) => whole.add(fraction).map(Number::just_above),
        (whole, None) => whole,
        (None, fraction) => fraction,
    }
}

/// `y` times a logarithm.
fn scaled_logarithm(y: Number, logarithm: Number, control: Control) -> Outcome<F80> {
    let product = if logarithm.significand << 64 == 0 {
        y.multiply(logarithm)
    } else {
        y.times(logarithm)
    };
    deliver(product, control)
}

/// FYL2X: `y` log2 `x`.
pub(crate) fn y_log2_x(x: F80, y: F80, control: Control) -> Outcome<F80> {
    if let Some(outcome) = special(x, y) {
        return outcome;
    }
    let flags = denormal_flag(x) | denormal_flag(y);
    let negative = y.is_negative();
    let number = match (x.class(), y.class()) {
        (Class::Zero, Class::Zero) => return INVALID,
        (Class::Zero, Class::Infinity) => return Outcome::exact(F80::infinity(!negative)),
        (Class::Zero, _) => return Outcome::with(F80::infinity(!negative), ZE),
        _ if x.is_negative() => return INVALID,
        (Class::Infinity, Class::Zero) => return INVALID,
        (Class::Infinity, _) => return Outcome::with(F80::infinity(negative), flags),
        (Class::Finite(number), _) => number,
        _ => return INVALID,
    };
    let logarithm = binary_logarithm(number);
    let below_one = logarithm.is_some_and(|logarithm| logarithm.negative);
    match (logarithm, y.class()) {
        (None, Class::Infinity) => INVALID,
        (Some(_), Class::Infinity) => Outcome::with(F80::infinity(negative != below_one), flags),
        (Some(logarithm), Class::Finite(y)) => scaled_logarithm(y, logarithm, control).and(flags),
        _ => Outcome::with(F80::zero(negative != below_one), flags),
    }
}

/// FYL2XP1: `y` log2 (`x` + 1).
pub(crate) fn y_log2_x_plus_one(x: F80, y: F80, control: Control) -> Outcome<F80> {
    if let Some(outcome) = special(x, y) {
        return outcome;
    }
    let flags = denormal_flag(x) | denormal_flag(y);
    let negative = x.is_negative() != y.is_negative();
    let number = match (x.class(), y.class()) {
        (Class::Zero, Class::Infinity) => return INVALID,
        (Class::Zero, _) => return Outcome::with(F80::zero(negative), flags),
        (Class::Infinity, Class::Zero) => return INVALID,
        (Class::Infinity, _) if x.is_negative() => return INVALID,
        (Class::Infinity, _) => return Outcome::with(F80::infinity(negative), flags),
        (Class::Finite(number), _) => number,
        _ => return INVALID,
    };
    let logarithm = if number.exponent < -2 {
        // x / (2 + x), which keeps the precision of a small operand.
        number
            .add(UNIT.scaled(1))
            .map(|denominator| logarithm(number, denominator))
    } else {
        match number.add(UNIT) {
            Some(sum) if !sum.negative => binary_logarithm(sum),
            // The logarithm of nothing positive.
            _ => return INVALID,
        }
    };
    match (logarithm, y.class()) {
        (_, Class::Infinity) => Outcome::with(F80::infinity(negative), flags),
        (Some(logarithm), Class::Finite(y)) => scaled_logarithm(y, logarithm, control).and(flags),
        _ => Outcome::with(F80::zero(negative), flags),
    }
}
