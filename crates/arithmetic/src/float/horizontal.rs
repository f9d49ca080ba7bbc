//! Operations between the elements of a vector: `HADDPS`, `ADDSUBPS`, `DPPS` and their siblings.

use super::arithmetic::{packed_double, packed_single};
use super::element::{self, DOUBLE, Format, SINGLE};
use super::quick::{Add, Operation, Subtract};
use crate::lanes::{from_u32s, from_u64s, u32s, u64s};
use crate::mxcsr::{Mxcsr, SimdException};

fn pairwise_single<O: Operation<f32>>(
    a: u128,
    b: u128,
    mxcsr: &mut Mxcsr,
) -> Result<u128, SimdException> {
    let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (u32s(a), u32s(b));
    let even = from_u32s([a0, a2, b0, b2]);
    let odd = from_u32s([a1, a3, b1, b3]);
    packed_single::<O>(even, odd, mxcsr)
}

fn pairwise_double<O: Operation<f64>>(
    a: u128,
    b: u128,
    mxcsr: &mut Mxcsr,
) -> Result<u128, SimdException> {
    let ([a0, a1], [b0, b1]) = (u64s(a), u64s(b));
    packed_double::<O>(from_u64s([a0, b0]), from_u64s([a1, b1]), mxcsr)
}

/// `HADDPS`: the sums of neighbours, `a`'s in the low half.
///
/// # Errors
/// An unmasked exception is due.
pub fn hadd_ps(a: u128, b: u128, mxcsr: &mut Mxcsr) -> Result<u128, SimdException> {
    pairwise_single::<Add>(a, b, mxcsr)
}

/// `HADDPD`: the sums of neighbours, `a`'s in the low half.
///
/// # Errors
/// An unmasked exception is due.
pub fn hadd_pd(a: u128, b: u128, mxcsr: &mut Mxcsr) -> Result<u128, SimdException> {
    pairwise_double::<Add>(a, b, mxcsr)
}

/// `HSUBPS`: the lower neighbour minus the higher, `a`'s in the low half.
///
/// # Errors
/// An unmasked exception is due.
pub fn hsub_ps(a: u128, b: u128, mxcsr: &mut Mxcsr) -> Result<u128, SimdException> {
    pairwise_single::<Subtract>(a, b, mxcsr)
}

/// `HSUBPD`: the lower neighbour minus the higher, `a`'s in the low half.
///
/// # Errors
/// An unmasked exception is due.
pub fn hsub_pd(a: u128, b: u128, mxcsr: &mut Mxcsr) -> Result<u128, SimdException> {
    pairwise_double::<Subtract>(a, b, mxcsr)
}

/// Subtracts in even elements, adds in odd ones.
fn alternating<const N: usize>(
    format: Format,
    a: [u64; N],
    b: [u64; N],
    mxcsr: &mut Mxcsr,
) -> Result<[u64; N], SimdException> {
    let environment = mxcsr.environment();
    let mut flags = 0;
    let result = std::array::from_fn(|i| {
        let element = element::add(format, a[i], b[i], i % 2 == 0, environment);
        flags |= element.flags;
        element.bits
    });
    mxcsr.signal(flags)?;
    Ok(result)
}

/// `ADDSUBPS`: differences in even elements, sums in odd ones.
///
/// # Errors
/// An unmasked exception is due.
pub fn addsub_ps(a: u128, b: u128, mxcsr: &mut Mxcsr) -> Result<u128, SimdException> {
    let result = alternating(
        SINGLE,
        u32s(a).map(u64::from),
        u32s(b).map(u64::from),
        mxcsr,
    )?;
    Ok(from_u32s(result.map(|bits| bits as u32)))
}

/// `ADDSUBPD`: a difference in the low element, a sum in the high one.
///
/// # Errors
/// An unmasked exception is due.
pub fn addsub_pd(a: u128, b: u128, mxcsr: &mut Mxcsr) -> Result<u128, SimdException> {
    alternating(DOUBLE, u64s(a), u64s(b), mxcsr).map(from_u64s)
}

/// `DPPS`: the sum of the products selected by bits 7:4 of `control`, into the elements selected by
/// bits 3:0. Each multiplication and addition rounds and signals by itself; the sum is
/// (0 + 1) + (2 + 3).
///
/// # Errors
/// An unmasked exception is due.
pub fn dp_ps(a: u128, b: u128, control: u8, mxcsr: &mut Mxcsr) -> Result<u128, SimdException> {
    let [result] = dot_products([a], [b], control, mxcsr)?;
    Ok(result)
}

/// The same in both halves of 256-bit registers; every step signals for both together.
///
/// # Errors
/// An unmasked exception is due.
pub fn dp_ps_256(
    a: [u128; 2],
    b: [u128; 2],
    control: u8,
    mxcsr: &mut Mxcsr,
) -> Result<[u128; 2], SimdException> {
    dot_products(a, b, control, mxcsr)
}

fn dot_products<const N: usize>(
    a: [u128; N],
    b: [u128; N],
    control: u8,
    mxcsr: &mut Mxcsr,
) -> Result<[u128; N], SimdException> {
    let environment = mxcsr.environment();
    let mut flags = 0;
    let products: [[u64; 4]; N] = std::array::from_fn(|n| {
        let (x, y) = (u32s(a[n]), u32s(b[n]));
        std::array::from_fn(|i| {
            if control >> (4 + i) & 1 == 0 {
                return 0;
            }
            let product = element::multiply(SINGLE, x[i].into(), y[i].into(), environment);
            flags |= product.flags;
            product.bits
        })
    });
    mxcsr.signal(flags)?;
    let mut flags = 0;
    let mut add = |x: u64, y: u64| {
        let sum = element::add(SINGLE, x, y, false, environment);
        flags |= sum.flags;
        sum.bits
    };
    let pairs = products.map(|[p0, p1, p2, p3]| [add(p0, p1), add(p2, p3)]);
    mxcsr.signal(flags)?;
    let mut flags = 0;
    let sums = pairs.map(|[low, high]| {
        let sum = element::add(SINGLE, low, high, false, environment);
        flags |= sum.flags;
        sum.bits as u32
    });
    mxcsr.signal(flags)?;
    Ok(sums.map(|sum| {
        from_u32s(std::array::from_fn(|i| {
            if control >> i & 1 != 0 { sum } else { 0 }
        }))
    }))
}

/// `DPPD`: the sum of the products selected by bits 5:4 of `control`, into the elements selected by
/// bits 1:0. Each multiplication and the addition rounds and signals by itself.
///
/// # Errors
/// An unmasked exception is due.
pub fn dp_pd(a: u128, b: u128, control: u8, mxcsr: &mut Mxcsr) -> Result<u128, SimdException> {
    let environment = mxcsr.environment();
    let (x, y) = (u64s(a), u64s(b));
    let mut flags = 0;
    let products: [u64; 2] = std::array::from_fn(|i| {
        if control >> (4 + i) & 1 == 0 {
            return 0;
        }
        let product = element::multiply(DOUBLE, x[i], y[i], environment);
        flags |= product.flags;
        product.bits
    });
    mxcsr.signal(flags)?;
    let sum = element::add(DOUBLE, products[0], products[1], false, environment);
    mxcsr.signal(sum.flags)?;
    Ok(from_u64s(std::array::from_fn(|i| {
        if control >> i & 1 != 0 { sum.bits } else { 0 }
    })))
}
