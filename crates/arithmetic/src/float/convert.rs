//! Conversions between integers and floating-point formats, and rounding to integral values.
//!
//! Names: `cvt_<from>_to_<to>`, with `i32` and `i64` for signed integers, `ss`/`ps` single and
//! `sd`/`pd` double precision, `dq` packed 32-bit integers; `cvtt` truncates.

use super::element::{self, DOUBLE, Element, Format, HALF, SINGLE};
use super::quick::Float;
use crate::lanes::{from_u16s, from_u32s, from_u64s, u16s, u32s, u64s};
use crate::mxcsr::{Environment, Mxcsr, SimdException};
use crate::rounding::Rounding;

/// Converts the elements and records the exceptions of all of them.
#[inline]
fn each<const N: usize>(
    mxcsr: &mut Mxcsr,
    source: [u64; N],
    convert: impl Fn(u64, Environment) -> Element,
) -> Result<[u64; N], SimdException> {
    let mut flags = 0;
    let environment = mxcsr.environment();
    let result = source.map(|bits| {
        let element = convert(bits, environment);
        flags |= element.flags;
        element.bits
    });
    mxcsr.signal(flags)?;
    Ok(result)
}

/// `CVTSI2SD` from a 32-bit integer: always exact.
#[inline]
pub fn cvt_i32_to_sd(source: u32) -> u64 {
    f64::from(source as i32).to_bits()
}

/// `CVTSI2SD` from a 64-bit integer.
///
/// # Errors
/// An unmasked exception is due.
#[inline]
pub fn cvt_i64_to_sd(source: u64, mxcsr: &mut Mxcsr) -> Result<u64, SimdException> {
    let value = source as i64;
    if value.unsigned_abs() <= 1 << 53 {
        return Ok((value as f64).to_bits());
    }
    let [result] = each(mxcsr, [source], |bits, environment| {
        element::from_integer(DOUBLE, bits as i64, environment)
    })?;
    Ok(result)
}

/// `CVTSI2SS` from a 32-bit integer.
///
/// # Errors
/// An unmasked exception is due.
#[inline]
pub fn cvt_i32_to_ss(source: u32, mxcsr: &mut Mxcsr) -> Result<u32, SimdException> {
    cvt_i64_to_ss(i64::from(source as i32) as u64, mxcsr)
}

/// `CVTSI2SS` from a 64-bit integer.
///
/// # Errors
/// An unmasked exception is due.
#[inline]
pub fn cvt_i64_to_ss(source: u64, mxcsr: &mut Mxcsr) -> Result<u32, SimdException> {
    let value = source as i64;
    if value.unsigned_abs() <= 1 << 24 {
        return Ok((value as f32).to_bits());
    }
    let [result] = each(mxcsr, [source], |bits, environment| {
        element::from_integer(SINGLE, bits as i64, environment)
    })?;
    Ok(result as u32)
}

#[inline(always)]
fn to_integer<F: Float>(
    source: u64,
    width: u32,
    truncate: bool,
    mxcsr: &mut Mxcsr,
) -> Result<u64, SimdException> {
    let rounding = if truncate {
        Rounding::Zero
    } else {
        mxcsr.rounding()
    };
    let [result] = each(mxcsr, [source], |bits, environment| {
        element::to_integer(F::FORMAT, bits, width, rounding, environment)
    })?;
    Ok(result)
}

/// A truncation of a plain number that fits in 52 bits; `None` if the exact path has to decide.
#[inline(always)]
fn truncate_quickly(value: f64, limit: f64, mxcsr: &mut Mxcsr) -> Option<i64> {
    if value.abs() < limit && mxcsr.is_ordinary() {
        let integer = value as i64;
        if integer as f64 != value {
            mxcsr.set_flags(Mxcsr::PE);
        }
        Some(integer)
    } else {
        None
    }
}

/// A rounding to nearest of a plain number that fits in 51 bits; `None` if the exact path has to decide.
#[inline(always)]
fn round_quickly(value: f64, limit: f64, mxcsr: &mut Mxcsr) -> Option<i64> {
    // Adding 1.5 × 2^52 leaves no room for a fraction: the addition rounds to nearest even.
    const SHIFTER: f64 = 6_755_399_441_055_744.0;
    if value.abs() < limit && mxcsr.is_ordinary() {
        let rounded = (value + SHIFTER) - SHIFTER;
        if rounded != value {
            mxcsr.set_flags(Mxcsr::PE);
        }
        Some(rounded as i64)
    } else {
        None
    }
}

const LIMIT_32: f64 = 2_147_483_647.0;
const LIMIT_64: f64 = 1_125_899_906_842_624.0; // 2^50

macro_rules! to_integer_entry_points {
    ($($name:ident: $mnemonic:literal, $source:ty as $float:ty => $width:literal $result:ty, $limit:ident, $quickly:ident, $truncate:literal;)*) => {$(
        #[doc = concat!("`", $mnemonic, "` to a ", stringify!($width), "-bit integer; the integer \
            indefinite (only the sign bit set) if it does not fit.\n\n# Errors\nAn unmasked exception is due.")]
        #[inline]
        pub fn $name(source: $source, mxcsr: &mut Mxcsr) -> Result<$result, SimdException> {
            let value = <$float>::from_bits(source);
            if value.is_plain() && let Some(integer) = $quickly(value.into(), $limit, mxcsr) {
                return Ok(integer as $result);
            }
            to_integer::<$float>(source.into(), $width, $truncate, mxcsr).map(|bits| bits as $result)
        }
    )*};
}

to_integer_entry_points! {
    cvt_ss_to_i32: "CVTSS2SI", u32 as f32 => 32 u32, LIMIT_32, round_quickly, false;
    cvt_ss_to_i64: "CVTSS2SI", u32 as f32 => 64 u64, LIMIT_64, round_quickly, false;
    cvt_sd_to_i32: "CVTSD2SI", u64 as f64 => 32 u32, LIMIT_32, round_quickly, false;
    cvt_sd_to_i64: "CVTSD2SI", u64 as f64 => 64 u64, LIMIT_64, round_quickly, false;
    cvtt_ss_to_i32: "CVTTSS2SI", u32 as f32 => 32 u32, LIMIT_32, truncate_quickly, true;
    cvtt_ss_to_i64: "CVTTSS2SI", u32 as f32 => 64 u64, LIMIT_64, truncate_quickly, true;
    cvtt_sd_to_i32: "CVTTSD2SI", u64 as f64 => 32 u32, LIMIT_32, truncate_quickly, true;
    cvtt_sd_to_i64: "CVTTSD2SI", u64 as f64 => 64 u64, LIMIT_64, truncate_quickly, true;
}

fn change_format<const N: usize>(
    from: Format,
    to: Format,
    source: [u64; N],
    mxcsr: &mut Mxcsr,
) -> Result<[u64; N], SimdException> {
    each(mxcsr, source, |bits, environment| {
        element::convert(from, to, bits, environment)
    })
}

/// `CVTSS2SD`.
///
/// # Errors
/// An unmasked exception is due.
#[inline]
pub fn cvt_ss_to_sd(source: u32, mxcsr: &mut Mxcsr) -> Result<u64, SimdException> {
    let value = f32::from_bits(source);
    if value.is_plain() {
        return Ok(f64::from(value).to_bits());
    }
    let [result] = change_format(SINGLE, DOUBLE, [source.into()], mxcsr)?;
    Ok(result)
}

/// `CVTSD2SS`.
///
/// # Errors
/// An unmasked exception is due.
#[inline]
pub fn cvt_sd_to_ss(source: u64, mxcsr: &mut Mxcsr) -> Result<u32, SimdException> {
    let value = f64::from_bits(source);
    let rounded = value as f32;
    if mxcsr.is_ordinary() & value.is_plain() & (rounded.is_well_above_tiny() | (value == 0.0)) {
        if f64::from(rounded) != value {
            mxcsr.set_flags(Mxcsr::PE);
        }
        return Ok(rounded.to_bits());
    }
    let [result] = change_format(DOUBLE, SINGLE, [source], mxcsr)?;
    Ok(result as u32)
}

/// `CVTPS2PD`: the low two elements.
///
/// # Errors
/// An unmasked exception is due.
pub fn cvt_ps_to_pd(source: u128, mxcsr: &mut Mxcsr) -> Result<u128, SimdException> {
    let [a, b, _, _] = u32s(source).map(u64::from);
    change_format(SINGLE, DOUBLE, [a, b], mxcsr).map(from_u64s)
}

/// `CVTPD2PS`: into the low two elements, the others become zero.
///
/// # Errors
/// An unmasked exception is due.
pub fn cvt_pd_to_ps(source: u128, mxcsr: &mut Mxcsr) -> Result<u128, SimdException> {
    let [a, b] = change_format(DOUBLE, SINGLE, u64s(source), mxcsr)?;
    Ok(u128::from(a | b << 32))
}

/// `CVTDQ2PD` and `CVTPI2PD`: the low two 32-bit integers. Always exact.
pub fn cvt_dq_to_pd(source: u128) -> u128 {
    let [a, b, _, _] = u32s(source).map(cvt_i32_to_sd);
    from_u64s([a, b])
}

/// `CVTDQ2PS`.
///
/// # Errors
/// An unmasked exception is due.
pub fn cvt_dq_to_ps(source: u128, mxcsr: &mut Mxcsr) -> Result<u128, SimdException> {
    let integers = u32s(source).map(|bits| bits as i32);
    let rounded = integers.map(|integer| integer as f32);
    let exact = integers
        .iter()
        .zip(rounded)
        .all(|(integer, rounded)| f64::from(*integer) == f64::from(rounded));
    if exact || mxcsr.is_ordinary() {
        if !exact {
            mxcsr.set_flags(Mxcsr::PE);
        }
        return Ok(from_u32s(rounded.map(f32::to_bits)));
    }
    let result = each(mxcsr, u32s(source).map(u64::from), |bits, environment| {
        element::from_integer(SINGLE, i64::from(bits as i32), environment)
    })?;
    Ok(from_u32s(result.map(|bits| bits as u32)))
}

/// `CVTPI2PS`: the two 32-bit integers of an MMX register.
///
/// # Errors
/// An unmasked exception is due.
pub fn cvt_pi_to_ps(source: u64, mxcsr: &mut Mxcsr) -> Result<u64, SimdException> {
    let halves = [source as u32, (source >> 32) as u32];
    let [a, b] = each(mxcsr, halves.map(u64::from), |bits, environment| {
        element::from_integer(SINGLE, i64::from(bits as i32), environment)
    })?;
    Ok(a | b << 32)
}

fn rounding_or_zero(truncate: bool, mxcsr: &Mxcsr) -> Rounding {
    if truncate {
        Rounding::Zero
    } else {
        mxcsr.rounding()
    }
}

/// `CVTPS2DQ`, or `CVTTPS2DQ` if `truncate`.
///
/// # Errors
/// An unmasked exception is due.
pub fn cvt_ps_to_dq(
    source: u128,
    truncate: bool,
    mxcsr: &mut Mxcsr,
) -> Result<u128, SimdException> {
    let rounding = rounding_or_zero(truncate, mxcsr);
    let result = each(mxcsr, u32s(source).map(u64::from), |bits, environment| {
        element::to_integer(SINGLE, bits, 32, rounding, environment)
    })?;
    Ok(from_u32s(result.map(|bits| bits as u32)))
}

/// `CVTPS2PI`, or `CVTTPS2PI` if `truncate`: the low two elements.
///
/// # Errors
/// An unmasked exception is due.
pub fn cvt_ps_to_pi(source: u64, truncate: bool, mxcsr: &mut Mxcsr) -> Result<u64, SimdException> {
    let rounding = rounding_or_zero(truncate, mxcsr);
    let halves = [source as u32, (source >> 32) as u32];
    let [a, b] = each(mxcsr, halves.map(u64::from), |bits, environment| {
        element::to_integer(SINGLE, bits, 32, rounding, environment)
    })?;
    Ok(a | b << 32)
}

/// `CVTPD2DQ` and `CVTPD2PI`, or `CVTTPD2DQ` and `CVTTPD2PI` if `truncate`: the low two 32-bit
/// elements of the destination, the others zero.
///
/// # Errors
/// An unmasked exception is due.
pub fn cvt_pd_to_dq(source: u128, truncate: bool, mxcsr: &mut Mxcsr) -> Result<u64, SimdException> {
    let rounding = rounding_or_zero(truncate, mxcsr);
    let [a, b] = each(mxcsr, u64s(source), |bits, environment| {
        element::to_integer(DOUBLE, bits, 32, rounding, environment)
    })?;
    Ok(a | b << 32)
}

/// The control byte of `ROUNDSD` and its siblings. SDM Vol. 2, "Rounding Control Fields for
/// Immediate Byte".
#[derive(Clone, Copy, Debug)]
struct RoundControl(u8);

impl RoundControl {
    fn rounding(self, mxcsr: &Mxcsr) -> Rounding {
        if self.0 & 4 != 0 {
            mxcsr.rounding()
        } else {
            Rounding::from_field(self.0)
        }
    }
    fn reported(self) -> u32 {
        if self.0 & 8 != 0 { !Mxcsr::PE } else { !0 }
    }
}

#[inline]
fn integral<const N: usize>(
    format: Format,
    source: [u64; N],
    control: u8,
    mxcsr: &mut Mxcsr,
) -> Result<[u64; N], SimdException> {
    let control = RoundControl(control);
    let rounding = control.rounding(mxcsr);
    each(mxcsr, source, |bits, environment| {
        let mut element = element::round_to_integral(format, bits, rounding, environment);
        element.flags &= control.reported();
        element
    })
}

/// `ROUNDSS`; `control` is the immediate.
///
/// # Errors
/// An unmasked exception is due.
pub fn round_ss(source: u32, control: u8, mxcsr: &mut Mxcsr) -> Result<u32, SimdException> {
    let [result] = integral(SINGLE, [source.into()], control, mxcsr)?;
    Ok(result as u32)
}

/// `ROUNDSD`; `control` is the immediate.
///
/// # Errors
/// An unmasked exception is due.
pub fn round_sd(source: u64, control: u8, mxcsr: &mut Mxcsr) -> Result<u64, SimdException> {
    let [result] = integral(DOUBLE, [source], control, mxcsr)?;
    Ok(result)
}

/// `ROUNDPS`; `control` is the immediate.
///
/// # Errors
/// An unmasked exception is due.
pub fn round_ps(source: u128, control: u8, mxcsr: &mut Mxcsr) -> Result<u128, SimdException> {
    let result = integral(SINGLE, u32s(source).map(u64::from), control, mxcsr)?;
    Ok(from_u32s(result.map(|bits| bits as u32)))
}

/// `ROUNDPD`; `control` is the immediate.
///
/// # Errors
/// An unmasked exception is due.
pub fn round_pd(source: u128, control: u8, mxcsr: &mut Mxcsr) -> Result<u128, SimdException> {
    integral(DOUBLE, u64s(source), control, mxcsr).map(from_u64s)
}

/// `VCVTPH2PS`: four half-precision numbers in the low 64 bits. Subnormal halves are converted
/// whatever DAZ says, and without the denormal exception.
///
/// # Errors
/// An unmasked exception is due.
pub fn cvt_ph_to_ps(source: u64, mxcsr: &mut Mxcsr) -> Result<u128, SimdException> {
    let [a, b, c, d, ..] = u16s(source.into()).map(u64::from);
    let result = each(mxcsr, [a, b, c, d], |bits, environment| {
        let environment = Environment {
            denormals_are_zeros: false,
            ..environment
        };
        let mut element = element::convert(HALF, SINGLE, bits, environment);
        element.flags &= !Mxcsr::DE;
        element
    })?;
    Ok(from_u32s(result.map(|bits| bits as u32)))
}

/// `VCVTPS2PH`: four half-precision numbers in the low 64 bits. `control` is the immediate: bits 1:0
/// the rounding, unless bit 2 asks for that of MXCSR. FTZ is ignored.
///
/// # Errors
/// An unmasked exception is due.
pub fn cvt_ps_to_ph(source: u128, control: u8, mxcsr: &mut Mxcsr) -> Result<u64, SimdException> {
    let rounding = RoundControl(control).rounding(mxcsr);
    let result = each(mxcsr, u32s(source).map(u64::from), |bits, environment| {
        let environment = Environment {
            rounding,
            flush_to_zero: false,
            ..environment
        };
        element::convert(SINGLE, HALF, bits, environment)
    })?;
    let [a, b, c, d] = result.map(|bits| bits as u16);
    Ok(from_u16s([a, b, c, d, 0, 0, 0, 0]) as u64)
}
