//! One element of an SSE operation, computed exactly for every operand and every MXCSR.
//!
//! The slow, complete path: all others are shortcuts to it.
//! Sources: SDM Vol. 1, "SIMD Floating-Point Exception Conditions", "Rules for Handling NaNs";
//! Vol. 2, the instructions' own pages.

use crate::mxcsr::{Environment, Mxcsr};
use crate::rounding::{Number, Range, Rounding, Traps, drop_bits, round};
use std::cmp::Ordering;

/// An IEEE interchange format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// Significand bits including the implied one.
    precision: u32,
    exponent_bits: u32,
}

/// Half precision, binary16.
pub(crate) const HALF: Format = Format {
    precision: 11,
    exponent_bits: 5,
};
/// Single precision, binary32.
pub(crate) const SINGLE: Format = Format {
    precision: 24,
    exponent_bits: 8,
};
/// Double precision, binary64.
pub(crate) const DOUBLE: Format = Format {
    precision: 53,
    exponent_bits: 11,
};

impl Format {
    const fn fraction_bits(self) -> u32 {
        self.precision - 1
    }
    const fn bias(self) -> i32 {
        (1 << (self.exponent_bits - 1)) - 1
    }
    const fn exponent_field_max(self) -> u64 {
        (1 << self.exponent_bits) - 1
    }
    const fn fraction_mask(self) -> u64 {
        (1 << self.fraction_bits()) - 1
    }
    const fn quiet_bit(self) -> u64 {
        1 << (self.fraction_bits() - 1)
    }
    const fn sign(self, negative: bool) -> u64 {
        (negative as u64) << (self.fraction_bits() + self.exponent_bits)
    }
    const fn range(self) -> Range {
        Range {
            precision: self.precision,
            exponent_min: 1 - self.bias(),
            exponent_max: self.bias(),
        }
    }
    pub const fn zero(self, negative: bool) -> u64 {
        self.sign(negative)
    }
    pub const fn infinity(self, negative: bool) -> u64 {
        self.sign(negative) | self.exponent_field_max() << self.fraction_bits()
    }
    /// The QNaN floating-point indefinite: the response to a masked invalid operation.
    pub const fn indefinite(self) -> u64 {
        self.infinity(true) | self.quiet_bit()
    }
}

/// A result and the exceptions it raises, as MXCSR flag bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub bits: u64,
    pub flags: u32,
}

impl Element {
    pub const fn exact(bits: u64) -> Element {
        Element { bits, flags: 0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Zero,
    Finite(Number),
    Infinity,
    QuietNan,
    SignallingNan,
}

#[derive(Clone, Copy, Debug)]
struct Operand {
    negative: bool,
    class: Class,
    /// [`Mxcsr::DE`] if subnormal and not taken as zero, else 0.
    denormal: u32,
}

impl Operand {
    fn new(format: Format, bits: u64, environment: Environment) -> Operand {
        let fraction = bits & format.fraction_mask();
        let exponent = bits >> format.fraction_bits() & format.exponent_field_max();
        let negative = bits & format.sign(true) != 0;
        let mut denormal = 0;
        let class = if exponent == format.exponent_field_max() {
            if fraction == 0 {
                Class::Infinity
            } else if fraction & format.quiet_bit() != 0 {
                Class::QuietNan
            } else {
                Class::SignallingNan
            }
        } else {
            let (significand, exponent) = if exponent == 0 {
                if environment.denormals_are_zeros {
                    (0, 0)
                } else {
                    if fraction != 0 {
                        denormal = Mxcsr::DE;
                    }
                    (fraction, 1)
                }
            } else {
                (fraction | 1 << format.fraction_bits(), exponent as i32)
            };
            let unit = exponent - format.bias() - format.fraction_bits() as i32;
            match Number::new(negative, unit, u128::from(significand)) {
                None => Class::Zero,
                Some(number) => Class::Finite(number),
            }
        };
        Operand {
            negative,
            class,
            denormal,
        }
    }

    fn is_nan(self) -> bool {
        matches!(self.class, Class::QuietNan | Class::SignallingNan)
    }

    fn is_signalling(self) -> bool {
        self.class == Class::SignallingNan
    }
}

/// Rounds and encodes a nonzero finite result.
fn deliver(format: Format, number: Number, flags: u32, environment: Environment) -> Element {
    let rounded = round(
        number,
        format.range(),
        environment.rounding,
        Traps {
            underflow: environment.underflow_unmasked,
            overflow: environment.overflow_unmasked,
        },
    );
    let sign = format.sign(number.negative);
    if rounded.tiny && environment.flush_to_zero {
        return Element {
            bits: sign,
            flags: flags | Mxcsr::UE | Mxcsr::PE,
        };
    }
    let mut flags = flags;
    if rounded.inexact {
        flags |= Mxcsr::PE;
    }
    if rounded.underflow {
        flags |= Mxcsr::UE;
    }
    if rounded.overflow {
        flags |= Mxcsr::OE;
    }
    let out_of_range = (rounded.underflow && environment.underflow_unmasked)
        || (rounded.overflow && environment.overflow_unmasked);
    let bits = if out_of_range {
        // Never delivered: the exception is unmasked.
        0
    } else if rounded.infinite {
        format.infinity(number.negative)
    } else {
        // A subnormal significand lacks the integer bit, which takes one off the exponent field.
        let field = (rounded.exponent + format.bias() - 1) as u64;
        sign | ((field << format.fraction_bits()) + rounded.significand)
    };
    Element { bits, flags }
}

/// The response to a masked invalid operation that is not about a NaN operand.
fn invalid(format: Format) -> Element {
    Element {
        bits: format.indefinite(),
        flags: Mxcsr::IE,
    }
}

/// If one of the two is a NaN: the first that is, quieted. IE if either signals.
fn nan_of_two(format: Format, a: u64, x: Operand, b: u64, y: Operand) -> Option<Element> {
    let nan = if x.is_nan() {
        a
    } else if y.is_nan() {
        b
    } else {
        return None;
    };
    let signalling = x.is_signalling() || y.is_signalling();
    Some(Element {
        bits: nan | format.quiet_bit(),
        flags: if signalling { Mxcsr::IE } else { 0 },
    })
}

fn nan_of_one(format: Format, a: u64, x: Operand) -> Option<Element> {
    nan_of_two(format, a, x, a, x)
}

/// `a + b`, or `a − b` if `subtract`.
pub(crate) fn add(
    format: Format,
    a: u64,
    b: u64,
    subtract: bool,
    environment: Environment,
) -> Element {
    let x = Operand::new(format, a, environment);
    let mut y = Operand::new(format, b, environment);
    if let Some(nan) = nan_of_two(format, a, x, b, y) {
        return nan;
    }
    if subtract {
        y.negative = !y.negative;
        if let Class::Finite(number) = &mut y.class {
            *number = number.negated();
        }
    }
    let flags = x.denormal | y.denormal;
    let sum = match (x.class, y.class) {
        (Class::Infinity, Class::Infinity) if x.negative != y.negative => return invalid(format),
        (Class::Infinity, _) => {
            return Element {
                bits: format.infinity(x.negative),
                flags,
            };
        }
        (_, Class::Infinity) => {
            return Element {
                bits: format.infinity(y.negative),
                flags,
            };
        }
        (Class::Finite(x), Class::Finite(y)) => x.add(y),
        (Class::Finite(x), _) => Some(x),
        (_, Class::Finite(y)) => Some(y),
        _ => None,
    };
    match sum {
        Some(number) => deliver(format, number, flags, environment),
        None => {
            // x + x keeps the sign of zero; x − x is +0, or −0 when rounding down.
            let both_zero = x.class == Class::Zero;
            let negative = if both_zero && x.negative == y.negative {
                x.negative
            } else {
                environment.rounding == Rounding::Down
            };
            Element {
                bits: format.zero(negative),
                flags,
            }
        }
    }
}

/// `a × b`.
pub(crate) fn multiply(format: Format, a: u64, b: u64, environment: Environment) -> Element {
    let x = Operand::new(format, a, environment);
    let y = Operand::new(format, b, environment);
    if let Some(nan) = nan_of_two(format, a, x, b, y) {
        return nan;
    }
    let flags = x.denormal | y.denormal;
    let negative = x.negative != y.negative;
    let bits = match (x.class, y.class) {
        (Class::Infinity, Class::Zero) | (Class::Zero, Class::Infinity) => return invalid(format),
        (Class::Infinity, _) | (_, Class::Infinity) => format.infinity(negative),
        (Class::Finite(x), Class::Finite(y)) => {
            return deliver(format, x.multiply(y), flags, environment);
        }
        _ => format.zero(negative),
    };
    Element { bits, flags }
}

/// `a ÷ b`.
pub(crate) fn divide(format: Format, a: u64, b: u64, environment: Environment) -> Element {
    let x = Operand::new(format, a, environment);
    let y = Operand::new(format, b, environment);
    if let Some(nan) = nan_of_two(format, a, x, b, y) {
        return nan;
    }
    let flags = x.denormal | y.denormal;
    let negative = x.negative != y.negative;
    match (x.class, y.class) {
        (Class::Infinity, Class::Infinity) | (Class::Zero, Class::Zero) => invalid(format),
        (Class::Infinity, _) => Element {
            bits: format.infinity(negative),
            flags,
        },
        // Divide by zero comes before the denormal operand, and replaces it.
        (Class::Finite(_), Class::Zero) => Element {
            bits: format.infinity(negative),
            flags: Mxcsr::ZE,
        },
        (Class::Finite(x), Class::Finite(y)) => deliver(format, x.divide(y), flags, environment),
        _ => Element {
            bits: format.zero(negative),
            flags,
        },
    }
}

/// The square root of `a`.
pub(crate) fn square_root(format: Format, a: u64, environment: Environment) -> Element {
    let x = Operand::new(format, a, environment);
    if let Some(nan) = nan_of_one(format, a, x) {
        return nan;
    }
    match x.class {
        Class::Zero => Element::exact(format.zero(x.negative)),
        _ if x.negative => invalid(format),
        Class::Finite(number) => deliver(format, number.square_root(), x.denormal, environment),
        _ => Element::exact(format.infinity(false)),
    }
}

/// `a × b + c` with a single rounding; the product or the addend negated first if asked.
pub(crate) fn fused_multiply_add(
    format: Format,
    [a, b, c]: [u64; 3],
    negate_product: bool,
    negate_addend: bool,
    environment: Environment,
) -> Element {
    let x = Operand::new(format, a, environment);
    let y = Operand::new(format, b, environment);
    let z = Operand::new(format, c, environment);
    if x.is_nan() || y.is_nan() || z.is_nan() {
        let signalling = x.is_signalling() || y.is_signalling() || z.is_signalling();
        let nan = if x.is_nan() {
            a
        } else if y.is_nan() {
            b
        } else {
            c
        };
        return Element {
            bits: nan | format.quiet_bit(),
            flags: if signalling { Mxcsr::IE } else { 0 },
        };
    }
    let flags = x.denormal | y.denormal | z.denormal;
    let product_negative = x.negative ^ y.negative ^ negate_product;
    let addend_negative = z.negative ^ negate_addend;
    let product = match (x.class, y.class) {
        (Class::Infinity, Class::Zero) | (Class::Zero, Class::Infinity) => return invalid(format),
        (Class::Infinity, _) | (_, Class::Infinity) => {
            if z.class == Class::Infinity && addend_negative != product_negative {
                return invalid(format);
            }
            return Element {
                bits: format.infinity(product_negative),
                flags,
            };
        }
        (Class::Finite(x), Class::Finite(y)) => Some(x.multiply(y).with_sign(product_negative)),
        _ => None,
    };
    let sum = match (product, z.class) {
        (_, Class::Infinity) => {
            return Element {
                bits: format.infinity(addend_negative),
                flags,
            };
        }
        (Some(product), Class::Finite(addend)) => product.add(addend.with_sign(addend_negative)),
        (Some(product), _) => Some(product),
        (None, Class::Finite(addend)) => Some(addend.with_sign(addend_negative)),
        (None, _) => None,
    };
    match sum {
        Some(number) => deliver(format, number, flags, environment),
        None => {
            let both_zero = product.is_none();
            let negative = if both_zero && product_negative == addend_negative {
                product_negative
            } else {
                environment.rounding == Rounding::Down
            };
            Element {
                bits: format.zero(negative),
                flags,
            }
        }
    }
}

fn order(x: Operand, y: Operand) -> Ordering {
    // A position on the number line for everything but NaNs.
    let rank = |operand: Operand| {
        let (class, exponent, significand) = match operand.class {
            Class::Zero => (0, 0, 0),
            Class::Finite(number) => (1, number.exponent, number.significand),
            _ => (2, 0, 0),
        };
        (class, exponent, significand)
    };
    let negative = |operand: Operand| operand.negative && operand.class != Class::Zero;
    match (negative(x), negative(y)) {
        (false, false) => rank(x).cmp(&rank(y)),
        (true, true) => rank(y).cmp(&rank(x)),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    }
}

/// Compares; `None` when unordered. IE for a signalling NaN, and for any NaN if
/// `quiet_is_invalid`.
pub(crate) fn compare(
    format: Format,
    a: u64,
    b: u64,
    quiet_is_invalid: bool,
    environment: Environment,
) -> (Option<Ordering>, u32) {
    let x = Operand::new(format, a, environment);
    let y = Operand::new(format, b, environment);
    if x.is_nan() || y.is_nan() {
        let invalid = quiet_is_invalid || x.is_signalling() || y.is_signalling();
        return (None, if invalid { Mxcsr::IE } else { 0 });
    }
    (Some(order(x, y)), x.denormal | y.denormal)
}

/// `MIN` (or `MAX`): the second operand if either is a NaN or both are zeros.
pub(crate) fn extreme(
    format: Format,
    a: u64,
    b: u64,
    maximum: bool,
    environment: Environment,
) -> Element {
    let (ordering, flags) = compare(format, a, b, true, environment);
    let wanted = if maximum {
        Ordering::Greater
    } else {
        Ordering::Less
    };
    let chosen = if ordering == Some(wanted) { a } else { b };
    Element {
        bits: flush_operand(format, chosen, environment),
        flags,
    }
}

/// The operand as the operation sees it: a subnormal one is a zero under DAZ.
fn flush_operand(format: Format, bits: u64, environment: Environment) -> u64 {
    let exponent = bits >> format.fraction_bits() & format.exponent_field_max();
    if environment.denormals_are_zeros && exponent == 0 {
        bits & format.sign(true)
    } else {
        bits
    }
}

/// Converts between interchange formats.
pub(crate) fn convert(from: Format, to: Format, bits: u64, environment: Environment) -> Element {
    let x = Operand::new(from, bits, environment);
    match x.class {
        Class::Zero => Element::exact(to.zero(x.negative)),
        Class::Infinity => Element::exact(to.infinity(x.negative)),
        Class::Finite(number) => deliver(to, number, x.denormal, environment),
        Class::QuietNan | Class::SignallingNan => {
            let fraction = bits & from.fraction_mask();
            let fraction = if to.precision >= from.precision {
                fraction << (to.precision - from.precision)
            } else {
                fraction >> (from.precision - to.precision)
            };
            Element {
                bits: to.infinity(x.negative) | fraction | to.quiet_bit(),
                flags: if x.is_signalling() { Mxcsr::IE } else { 0 },
            }
        }
    }
}

/// Converts a signed integer.
pub(crate) fn from_integer(to: Format, value: i64, environment: Environment) -> Element {
    match Number::new(value < 0, 0, u128::from(value.unsigned_abs())) {
        None => Element::exact(to.zero(false)),
        Some(number) => deliver(to, number, 0, environment),
    }
}

/// Converts to a signed integer of `width` bits (32 or 64), zero-extended into the result. NaNs and
/// values out of range give the integer indefinite (only the sign bit set) and IE.
pub(crate) fn to_integer(
    from: Format,
    bits: u64,
    width: u32,
    rounding: Rounding,
    environment: Environment,
) -> Element {
    let indefinite = Element {
        bits: 1 << (width - 1),
        flags: Mxcsr::IE,
    };
    let number = match Operand::new(from, bits, environment).class {
        Class::Zero => return Element::exact(0),
        Class::Finite(number) => number,
        _ => return indefinite,
    };
    if number.exponent > 64 {
        return indefinite;
    }
    let kept = drop_bits(
        number.significand,
        127u32.saturating_add_signed(-number.exponent),
        number.negative,
        rounding,
    );
    let limit = (1u128 << (width - 1)) - u128::from(!number.negative);
    if kept.value > limit {
        return indefinite;
    }
    let magnitude = kept.value as u64;
    let value = if number.negative {
        magnitude.wrapping_neg()
    } else {
        magnitude
    };
    Element {
        bits: value & (u64::MAX >> (64 - width)),
        flags: if kept.inexact { Mxcsr::PE } else { 0 },
    }
}

/// Rounds to an integral value in the same format.
pub(crate) fn round_to_integral(
    format: Format,
    bits: u64,
    rounding: Rounding,
    environment: Environment,
) -> Element {
    let x = Operand::new(format, bits, environment);
    if let Some(nan) = nan_of_one(format, bits, x) {
        return nan;
    }
    let number = match x.class {
        Class::Finite(number) if number.exponent < format.fraction_bits() as i32 => number,
        Class::Zero => return Element::exact(format.zero(x.negative)),
        _ => return Element::exact(bits),
    };
    let kept = drop_bits(
        number.significand,
        127u32.saturating_add_signed(-number.exponent),
        number.negative,
        rounding,
    );
    let bits = match Number::new(number.negative, 0, kept.value) {
        None => format.zero(x.negative),
        Some(integral) => deliver(format, integral, 0, environment).bits,
    };
    Element {
        bits,
        flags: if kept.inexact { Mxcsr::PE } else { 0 },
    }
}
