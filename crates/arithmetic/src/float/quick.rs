//! The common case at host speed: ordinary operands, everything masked, round to nearest.
//!
//! The host's own IEEE arithmetic gives the result. What has to be shown is that no exception but
//! inexact can arise ([`Operation::is_quiet`]), and, only while PE is not yet sticky, whether the
//! result is exact ([`Operation::is_exact`]). Whatever cannot be shown quickly goes to `element`.

use super::element::{self, DOUBLE, Element, Format, SINGLE};
use crate::mxcsr::{Environment, Mxcsr, SimdException};
use std::ops::{Add as HostAdd, Div as HostDiv, Mul as HostMul, Sub as HostSub};

/// A floating-point type of the host.
pub(crate) trait Float:
    Copy
    + PartialOrd
    + HostAdd<Output = Self>
    + HostSub<Output = Self>
    + HostMul<Output = Self>
    + HostDiv<Output = Self>
{
    const FORMAT: Format;
    const ZERO: Self;
    fn from_raw(bits: u64) -> Self;
    fn raw(self) -> u64;
    fn root(self) -> Self;
    /// With the opposite sign.
    fn negated(self) -> Self;
    /// `self × b + c`, rounded once.
    fn times_plus(self, b: Self, c: Self) -> Self;
    /// Normal or zero.
    fn is_plain(self) -> bool;
    /// Normal, and not the smallest normal binade, which a tiny result may have been rounded into.
    fn is_well_above_tiny(self) -> bool;
    /// Small enough that the intermediate values of an error computation cannot overflow.
    fn is_far_from_overflow(self) -> bool;
    /// `self × b = r` exactly, given that `r` or `self` is the correctly rounded result of an
    /// operation on the others, that all are normal or zero, and that no underflow happened.
    fn product_is(self, b: Self, r: Self) -> bool;
}

impl Float for f32 {
    const FORMAT: Format = SINGLE;
    const ZERO: f32 = 0.0;
    #[inline(always)]
    fn from_raw(bits: u64) -> f32 {
        f32::from_bits(bits as u32)
    }
    #[inline(always)]
    fn raw(self) -> u64 {
        u64::from(self.to_bits())
    }
    #[inline(always)]
    fn root(self) -> f32 {
        self.sqrt()
    }
    #[inline(always)]
    fn negated(self) -> Self {
        -self
    }
    #[inline(always)]
    fn times_plus(self, b: Self, c: Self) -> Self {
        self.mul_add(b, c)
    }
    #[inline(always)]
    fn is_plain(self) -> bool {
        let exponent = self.to_bits() >> 23 & 0xff;
        (exponent.wrapping_sub(1) < 0xfe) | (self.to_bits() << 1 == 0)
    }
    #[inline(always)]
    fn is_well_above_tiny(self) -> bool {
        let exponent = self.to_bits() >> 23 & 0xff;
        exponent.wrapping_sub(2) < 0xfd
    }
    #[inline(always)]
    fn is_far_from_overflow(self) -> bool {
        self.to_bits() >> 23 & 0xff < 0xf0
    }
    #[inline(always)]
    fn product_is(self, b: f32, r: f32) -> bool {
        f64::from(self) * f64::from(b) == f64::from(r)
    }
}

/// The significand of a normal number without trailing zeros.
#[inline(always)]
fn odd_significand(value: f64) -> u64 {
    let significand = value.to_bits() & 0x000f_ffff_ffff_ffff | 1 << 52;
    significand >> significand.trailing_zeros()
}

impl Float for f64 {
    const FORMAT: Format = DOUBLE;
    const ZERO: f64 = 0.0;
    #[inline(always)]
    fn from_raw(bits: u64) -> f64 {
        f64::from_bits(bits)
    }
    #[inline(always)]
    fn raw(self) -> u64 {
        self.to_bits()
    }
    #[inline(always)]
    fn root(self) -> f64 {
        self.sqrt()
    }
    #[inline(always)]
    fn negated(self) -> Self {
        -self
    }
    #[inline(always)]
    fn times_plus(self, b: Self, c: Self) -> Self {
        self.mul_add(b, c)
    }
    #[inline(always)]
    fn is_plain(self) -> bool {
        let exponent = self.to_bits() >> 52 & 0x7ff;
        (exponent.wrapping_sub(1) < 0x7fe) | (self.to_bits() << 1 == 0)
    }
    #[inline(always)]
    fn is_well_above_tiny(self) -> bool {
        let exponent = self.to_bits() >> 52 & 0x7ff;
        exponent.wrapping_sub(2) < 0x7fd
    }
    #[inline(always)]
    fn is_far_from_overflow(self) -> bool {
        self.to_bits() >> 52 & 0x7ff < 0x7f0
    }
    #[inline(always)]
    fn product_is(self, b: f64, r: f64) -> bool {
        if self == 0.0 || b == 0.0 {
            return r == 0.0;
        }
        // The three values are within a rounding error of fulfilling the equation, so that a power
        // of two cannot hide between equal odd significands. An odd product is odd.
        u128::from(odd_significand(self)) * u128::from(odd_significand(b))
            == u128::from(odd_significand(r))
    }
}

/// An operation on two operands that the host can compute. Operations on one operand ignore the
/// first.
pub(crate) trait Operation<F: Float> {
    fn compute(a: F, b: F) -> F;
    /// Whether, with `r` computed, no exception but inexact is possible, and neither DAZ nor FTZ
    /// would have changed anything.
    fn is_quiet(a: F, b: F, r: F) -> bool;
    /// Whether `r` is exact, given that it is quiet; may say no only when it is not.
    fn is_exact(a: F, b: F, r: F) -> bool;
    fn element(a: u64, b: u64, environment: Environment) -> Element;
}

/// Knuth's two-sum: the rounding error of an addition is itself a floating-point number.
#[inline(always)]
fn sum_is_exact<F: Float>(a: F, b: F, sum: F) -> bool {
    let b_part = sum - a;
    let a_part = sum - b_part;
    (a - a_part) + (b - b_part) == F::ZERO
}

pub(crate) struct Add;
pub(crate) struct Subtract;
pub(crate) struct Multiply;
pub(crate) struct Divide;
pub(crate) struct SquareRoot;
pub(crate) struct Minimum;
pub(crate) struct Maximum;

impl<F: Float> Operation<F> for Add {
    #[inline(always)]
    fn compute(a: F, b: F) -> F {
        a + b
    }
    #[inline(always)]
    fn is_quiet(a: F, b: F, r: F) -> bool {
        a.is_plain() & b.is_plain() & r.is_plain()
    }
    #[inline(always)]
    fn is_exact(a: F, b: F, r: F) -> bool {
        if a.is_far_from_overflow() & b.is_far_from_overflow() {
            sum_is_exact(a, b, r)
        } else {
            let element = element::add(
                F::FORMAT,
                a.raw(),
                b.raw(),
                false,
                Mxcsr::RESET.environment(),
            );
            element.flags == 0
        }
    }
    fn element(a: u64, b: u64, environment: Environment) -> Element {
        element::add(F::FORMAT, a, b, false, environment)
    }
}

impl<F: Float> Operation<F> for Subtract {
    #[inline(always)]
    fn compute(a: F, b: F) -> F {
        a - b
    }
    #[inline(always)]
    fn is_quiet(a: F, b: F, r: F) -> bool {
        a.is_plain() & b.is_plain() & r.is_plain()
    }
    #[inline(always)]
    fn is_exact(a: F, b: F, r: F) -> bool {
        <Add as Operation<F>>::is_exact(a, F::ZERO - b, r)
    }
    fn element(a: u64, b: u64, environment: Environment) -> Element {
        element::add(F::FORMAT, a, b, true, environment)
    }
}

impl<F: Float> Operation<F> for Multiply {
    #[inline(always)]
    fn compute(a: F, b: F) -> F {
        a * b
    }
    #[inline(always)]
    fn is_quiet(a: F, b: F, r: F) -> bool {
        let zero = (a == F::ZERO) | (b == F::ZERO);
        a.is_plain() & b.is_plain() & (r.is_well_above_tiny() | zero)
    }
    #[inline(always)]
    fn is_exact(a: F, b: F, r: F) -> bool {
        a.product_is(b, r)
    }
    fn element(a: u64, b: u64, environment: Environment) -> Element {
        element::multiply(F::FORMAT, a, b, environment)
    }
}

impl<F: Float> Operation<F> for Divide {
    #[inline(always)]
    fn compute(a: F, b: F) -> F {
        a / b
    }
    #[inline(always)]
    fn is_quiet(a: F, b: F, r: F) -> bool {
        a.is_plain() & b.is_plain() & (b != F::ZERO) & (r.is_well_above_tiny() | (a == F::ZERO))
    }
    #[inline(always)]
    fn is_exact(a: F, b: F, r: F) -> bool {
        r.product_is(b, a)
    }
    fn element(a: u64, b: u64, environment: Environment) -> Element {
        element::divide(F::FORMAT, a, b, environment)
    }
}

impl<F: Float> Operation<F> for SquareRoot {
    #[inline(always)]
    fn compute(_: F, b: F) -> F {
        b.root()
    }
    #[inline(always)]
    fn is_quiet(_: F, b: F, _: F) -> bool {
        b.is_plain() & (b >= F::ZERO)
    }
    #[inline(always)]
    fn is_exact(_: F, b: F, r: F) -> bool {
        r.product_is(r, b)
    }
    fn element(_: u64, b: u64, environment: Environment) -> Element {
        element::square_root(F::FORMAT, b, environment)
    }
}

impl<F: Float> Operation<F> for Minimum {
    #[inline(always)]
    fn compute(a: F, b: F) -> F {
        if a < b { a } else { b }
    }
    #[inline(always)]
    fn is_quiet(a: F, b: F, _: F) -> bool {
        a.is_plain() & b.is_plain()
    }
    #[inline(always)]
    fn is_exact(_: F, _: F, _: F) -> bool {
        true
    }
    fn element(a: u64, b: u64, environment: Environment) -> Element {
        element::extreme(F::FORMAT, a, b, false, environment)
    }
}

impl<F: Float> Operation<F> for Maximum {
    #[inline(always)]
    fn compute(a: F, b: F) -> F {
        if a > b { a } else { b }
    }
    #[inline(always)]
    fn is_quiet(a: F, b: F, _: F) -> bool {
        a.is_plain() & b.is_plain()
    }
    #[inline(always)]
    fn is_exact(_: F, _: F, _: F) -> bool {
        true
    }
    fn element(a: u64, b: u64, environment: Environment) -> Element {
        element::extreme(F::FORMAT, a, b, true, environment)
    }
}

/// Applies an operation to `N` elements; `None` when the exact path has to decide.
#[inline(always)]
fn quickly<F: Float, O: Operation<F>, const N: usize>(
    a: [F; N],
    b: [F; N],
    mxcsr: &mut Mxcsr,
) -> Option<[F; N]> {
    let result: [F; N] = std::array::from_fn(|i| O::compute(a[i], b[i]));
    let mut quiet = mxcsr.is_ordinary();
    for i in 0..N {
        quiet &= O::is_quiet(a[i], b[i], result[i]);
    }
    if !quiet {
        return None;
    }
    if !mxcsr.is_inexact() && !(0..N).all(|i| O::is_exact(a[i], b[i], result[i])) {
        mxcsr.set_flags(Mxcsr::PE);
    }
    Some(result)
}

#[cold]
#[inline(never)]
fn scalar_exactly<F: Float, O: Operation<F>>(
    a: u64,
    b: u64,
    mxcsr: &mut Mxcsr,
) -> Result<u64, SimdException> {
    let element = O::element(a, b, mxcsr.environment());
    mxcsr.signal(element.flags)?;
    Ok(element.bits)
}

/// A scalar operation.
#[inline(always)]
pub(crate) fn scalar<F: Float, O: Operation<F>>(
    a: u64,
    b: u64,
    mxcsr: &mut Mxcsr,
) -> Result<u64, SimdException> {
    match quickly::<F, O, 1>([F::from_raw(a)], [F::from_raw(b)], mxcsr) {
        Some([result]) => Ok(result.raw()),
        None => scalar_exactly::<F, O>(a, b, mxcsr),
    }
}

#[cold]
#[inline(never)]
fn packed_exactly<F: Float, O: Operation<F>, const N: usize>(
    a: [u64; N],
    b: [u64; N],
    mxcsr: &mut Mxcsr,
) -> Result<[u64; N], SimdException> {
    let mut flags = 0;
    let environment = mxcsr.environment();
    let result = std::array::from_fn(|i| {
        let element = O::element(a[i], b[i], environment);
        flags |= element.flags;
        element.bits
    });
    mxcsr.signal(flags)?;
    Ok(result)
}

/// A packed operation.
#[inline(always)]
pub(crate) fn packed<F: Float, O: Operation<F>, const N: usize>(
    a: [u64; N],
    b: [u64; N],
    mxcsr: &mut Mxcsr,
) -> Result<[u64; N], SimdException> {
    match quickly::<F, O, N>(a.map(F::from_raw), b.map(F::from_raw), mxcsr) {
        Some(result) => Ok(result.map(F::raw)),
        None => packed_exactly::<F, O, N>(a, b, mxcsr),
    }
}
