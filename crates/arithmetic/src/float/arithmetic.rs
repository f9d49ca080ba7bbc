//! Addition to square root, scalar and packed: the entry points that an engine calls directly.

use super::quick::{
    self, Add, Divide, Maximum, Minimum, Multiply, Operation, SquareRoot, Subtract,
};
use crate::lanes::{from_u32s, from_u64s, u32s, u64s};
use crate::mxcsr::{Mxcsr, SimdException};

#[inline(always)]
pub(super) fn packed_single<O: Operation<f32>>(
    a: u128,
    b: u128,
    mxcsr: &mut Mxcsr,
) -> Result<u128, SimdException> {
    let result = quick::packed::<f32, O, 4>(u32s(a).map(u64::from), u32s(b).map(u64::from), mxcsr)?;
    Ok(from_u32s(result.map(|element| element as u32)))
}

#[inline(always)]
pub(super) fn packed_double<O: Operation<f64>>(
    a: u128,
    b: u128,
    mxcsr: &mut Mxcsr,
) -> Result<u128, SimdException> {
    quick::packed::<f64, O, 2>(u64s(a), u64s(b), mxcsr).map(from_u64s)
}

/// States, for each operation, its four entry points and what they compute.
macro_rules! entry_points {
    ($($operation:ident: $ss:ident $sd:ident $ps:ident $pd:ident = $formula:literal;)*) => {$(
        #[doc = concat!($formula, " on a single-precision number.\n\n# Errors\nAn unmasked exception is due.")]
        #[inline]
        pub fn $ss(a: u32, b: u32, mxcsr: &mut Mxcsr) -> Result<u32, SimdException> {
            quick::scalar::<f32, $operation>(a.into(), b.into(), mxcsr).map(|bits| bits as u32)
        }
        #[doc = concat!($formula, " on a double-precision number.\n\n# Errors\nAn unmasked exception is due.")]
        #[inline]
        pub fn $sd(a: u64, b: u64, mxcsr: &mut Mxcsr) -> Result<u64, SimdException> {
            quick::scalar::<f64, $operation>(a, b, mxcsr)
        }
        #[doc = concat!($formula, " on four single-precision numbers.\n\n# Errors\nAn unmasked exception is due.")]
        #[inline]
        pub fn $ps(a: u128, b: u128, mxcsr: &mut Mxcsr) -> Result<u128, SimdException> {
            packed_single::<$operation>(a, b, mxcsr)
        }
        #[doc = concat!($formula, " on two double-precision numbers.\n\n# Errors\nAn unmasked exception is due.")]
        #[inline]
        pub fn $pd(a: u128, b: u128, mxcsr: &mut Mxcsr) -> Result<u128, SimdException> {
            packed_double::<$operation>(a, b, mxcsr)
        }
    )*};
}

entry_points! {
    Add: add_ss add_sd add_ps add_pd = "`a + b`";
    Subtract: sub_ss sub_sd sub_ps sub_pd = "`a − b`";
    Multiply: mul_ss mul_sd mul_ps mul_pd = "`a × b`";
    Divide: div_ss div_sd div_ps div_pd = "`a ÷ b`";
    Minimum: min_ss min_sd min_ps min_pd = "`a` if it is less than `b`, else `b`,";
    Maximum: max_ss max_sd max_ps max_pd = "`a` if it is greater than `b`, else `b`,";
}

/// The square root of a single-precision number.
///
/// # Errors
/// An unmasked exception is due.
#[inline]
pub fn sqrt_ss(source: u32, mxcsr: &mut Mxcsr) -> Result<u32, SimdException> {
    quick::scalar::<f32, SquareRoot>(0, source.into(), mxcsr).map(|bits| bits as u32)
}

/// The square root of a double-precision number.
///
/// # Errors
/// An unmasked exception is due.
#[inline]
pub fn sqrt_sd(source: u64, mxcsr: &mut Mxcsr) -> Result<u64, SimdException> {
    quick::scalar::<f64, SquareRoot>(0, source, mxcsr)
}

/// The square roots of four single-precision numbers.
///
/// # Errors
/// An unmasked exception is due.
#[inline]
pub fn sqrt_ps(source: u128, mxcsr: &mut Mxcsr) -> Result<u128, SimdException> {
    packed_single::<SquareRoot>(0, source, mxcsr)
}

/// The square roots of two double-precision numbers.
///
/// # Errors
/// An unmasked exception is due.
#[inline]
pub fn sqrt_pd(source: u128, mxcsr: &mut Mxcsr) -> Result<u128, SimdException> {
    packed_double::<SquareRoot>(0, source, mxcsr)
}
