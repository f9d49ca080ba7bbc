//! Comparisons: `CMPccSS` and its siblings, `COMISD` and `UCOMISD`.

use super::element::{self, DOUBLE, Format, SINGLE};
use super::quick::Float;
use crate::lanes::{from_u32s, from_u64s, u32s, u64s};
use crate::mxcsr::{Mxcsr, SimdException};
use ring3_arch::rflags;
use std::cmp::Ordering;

/// One of the 32 comparison predicates of the VEX-encoded comparisons; the first eight are those of
/// the legacy encodings. SDM Vol. 2, "CMPPD-Compare Packed Double-Precision Floating-Point Values",
/// table "Comparison Predicate for CMPPD and CMPPS Instructions".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Predicate(u8);

impl Predicate {
    /// The predicate of an immediate; bits 7:5 are ignored. The caller of a legacy encoding clears
    /// bits 7:3 first.
    pub const fn from_immediate(immediate: u8) -> Predicate {
        Predicate(immediate & 31)
    }

    /// Whether a quiet NaN raises the invalid exception.
    pub const fn signals_quiet_nans(self) -> bool {
        // In the first eight the ordering relations do; in each further group of eight relations
        // that say the same, the other half does.
        let ordering = matches!(self.0 & 7, 1 | 2 | 5 | 6);
        ordering != (self.0 & 16 != 0)
    }

    /// The outcome for operands in this order; `None` for unordered ones.
    pub const fn holds(self, order: Option<Ordering>) -> bool {
        // Bits: less, equal, greater, unordered.
        let satisfied_by = match self.0 & 15 {
            0x0 => 0b0010, // EQ
            0x1 => 0b0001, // LT
            0x2 => 0b0011, // LE
            0x3 => 0b1000, // UNORD
            0x4 => 0b1101, // NEQ
            0x5 => 0b1110, // NLT
            0x6 => 0b1100, // NLE
            0x7 => 0b0111, // ORD
            0x8 => 0b1010, // EQ or unordered
            0x9 => 0b1001, // NGE
            0xa => 0b1011, // NGT
            0xb => 0b0000, // FALSE
            0xc => 0b0101, // NEQ and ordered
            0xd => 0b0110, // GE
            0xe => 0b0100, // GT
            _ => 0b1111,   // TRUE
        };
        let bit = match order {
            Some(Ordering::Less) => 0,
            Some(Ordering::Equal) => 1,
            Some(Ordering::Greater) => 2,
            None => 3,
        };
        satisfied_by >> bit & 1 != 0
    }
}

#[inline(always)]
fn compare_one<F: Float>(a: u64, b: u64, predicate: Predicate, mxcsr: Mxcsr) -> (bool, u32) {
    let (x, y) = (F::from_raw(a), F::from_raw(b));
    if x.is_plain() & y.is_plain() {
        (predicate.holds(x.partial_cmp(&y)), 0)
    } else {
        let signals = predicate.signals_quiet_nans();
        let (order, flags) = element::compare(F::FORMAT, a, b, signals, mxcsr.environment());
        (predicate.holds(order), flags)
    }
}

#[inline(always)]
fn compare_all<F: Float, const N: usize>(
    a: [u64; N],
    b: [u64; N],
    predicate: Predicate,
    mxcsr: &mut Mxcsr,
) -> Result<[bool; N], SimdException> {
    let mut flags = 0;
    let result = std::array::from_fn(|i| {
        let (holds, raised) = compare_one::<F>(a[i], b[i], predicate, *mxcsr);
        flags |= raised;
        holds
    });
    if flags != 0 {
        mxcsr.signal(flags)?;
    }
    Ok(result)
}

/// `CMPSS`: all ones or zero.
///
/// # Errors
/// An unmasked exception is due.
#[inline]
pub fn cmp_ss(
    a: u32,
    b: u32,
    predicate: Predicate,
    mxcsr: &mut Mxcsr,
) -> Result<u32, SimdException> {
    let [holds] = compare_all::<f32, 1>([a.into()], [b.into()], predicate, mxcsr)?;
    Ok(u32::from(holds).wrapping_neg())
}

/// `CMPSD`: all ones or zero.
///
/// # Errors
/// An unmasked exception is due.
#[inline]
pub fn cmp_sd(
    a: u64,
    b: u64,
    predicate: Predicate,
    mxcsr: &mut Mxcsr,
) -> Result<u64, SimdException> {
    let [holds] = compare_all::<f64, 1>([a], [b], predicate, mxcsr)?;
    Ok(u64::from(holds).wrapping_neg())
}

/// `CMPPS`: all ones or zero in each of four elements.
///
/// # Errors
/// An unmasked exception is due.
#[inline]
pub fn cmp_ps(
    a: u128,
    b: u128,
    predicate: Predicate,
    mxcsr: &mut Mxcsr,
) -> Result<u128, SimdException> {
    let holds = compare_all::<f32, 4>(
        u32s(a).map(u64::from),
        u32s(b).map(u64::from),
        predicate,
        mxcsr,
    )?;
    Ok(from_u32s(
        holds.map(|holds| u32::from(holds).wrapping_neg()),
    ))
}

/// `CMPPD`: all ones or zero in each of two elements.
///
/// # Errors
/// An unmasked exception is due.
#[inline]
pub fn cmp_pd(
    a: u128,
    b: u128,
    predicate: Predicate,
    mxcsr: &mut Mxcsr,
) -> Result<u128, SimdException> {
    let holds = compare_all::<f64, 2>(u64s(a), u64s(b), predicate, mxcsr)?;
    Ok(from_u64s(
        holds.map(|holds| u64::from(holds).wrapping_neg()),
    ))
}

/// ZF, PF and CF as `COMISD`, `FCOMI` and their siblings set them. OF, AF and SF become 0.
pub(crate) const fn flags_of(order: Option<Ordering>) -> u64 {
    match order {
        Some(Ordering::Greater) => 0,
        Some(Ordering::Less) => rflags::CF,
        Some(Ordering::Equal) => rflags::ZF,
        None => rflags::ZF | rflags::PF | rflags::CF,
    }
}

#[inline(always)]
fn compare_to_flags<F: Float>(
    format: Format,
    a: u64,
    b: u64,
    quiet_is_invalid: bool,
    mxcsr: &mut Mxcsr,
) -> Result<u64, SimdException> {
    let (x, y) = (F::from_raw(a), F::from_raw(b));
    if x.is_plain() & y.is_plain() {
        return Ok(flags_of(x.partial_cmp(&y)));
    }
    let (order, flags) = element::compare(format, a, b, quiet_is_invalid, mxcsr.environment());
    mxcsr.signal(flags)?;
    Ok(flags_of(order))
}

/// `COMISS`: the six status flags of RFLAGS. Any NaN is invalid.
///
/// # Errors
/// An unmasked exception is due; RFLAGS stays as it is.
#[inline]
pub fn comi_ss(a: u32, b: u32, mxcsr: &mut Mxcsr) -> Result<u64, SimdException> {
    compare_to_flags::<f32>(SINGLE, a.into(), b.into(), true, mxcsr)
}

/// `COMISD`: the six status flags of RFLAGS. Any NaN is invalid.
///
/// # Errors
/// An unmasked exception is due; RFLAGS stays as it is.
#[inline]
pub fn comi_sd(a: u64, b: u64, mxcsr: &mut Mxcsr) -> Result<u64, SimdException> {
    compare_to_flags::<f64>(DOUBLE, a, b, true, mxcsr)
}

/// `UCOMISS`: the six status flags of RFLAGS. Only a signalling NaN is invalid.
///
/// # Errors
/// An unmasked exception is due; RFLAGS stays as it is.
#[inline]
pub fn ucomi_ss(a: u32, b: u32, mxcsr: &mut Mxcsr) -> Result<u64, SimdException> {
    compare_to_flags::<f32>(SINGLE, a.into(), b.into(), false, mxcsr)
}

/// `UCOMISD`: the six status flags of RFLAGS. Only a signalling NaN is invalid.
///
/// # Errors
/// An unmasked exception is due; RFLAGS stays as it is.
#[inline]
pub fn ucomi_sd(a: u64, b: u64, mxcsr: &mut Mxcsr) -> Result<u64, SimdException> {
    compare_to_flags::<f64>(DOUBLE, a, b, false, mxcsr)
}
