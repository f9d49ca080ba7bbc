//! Element-wise integer arithmetic, comparison, logic and shifts.
//!
//! One element at a time; `simd` has what is worth doing all at once.

use crate::lanes::{from_u8s, from_u16s, from_u32s, from_u64s, u8s, u16s, u32s, u64s};

#[inline(always)]
pub(super) fn bytes(a: u128, b: u128, f: impl Fn(u8, u8) -> u8) -> u128 {
    let (mut a, b) = (u8s(a), u8s(b));
    for (x, y) in a.iter_mut().zip(b) {
        *x = f(*x, y);
    }
    from_u8s(a)
}

#[inline(always)]
pub(super) fn words(a: u128, b: u128, f: impl Fn(u16, u16) -> u16) -> u128 {
    let (a, b) = (u16s(a), u16s(b));
    from_u16s(std::array::from_fn(|i| f(a[i], b[i])))
}

#[inline(always)]
pub(super) fn doublewords(a: u128, b: u128, f: impl Fn(u32, u32) -> u32) -> u128 {
    let (a, b) = (u32s(a), u32s(b));
    from_u32s(std::array::from_fn(|i| f(a[i], b[i])))
}

#[inline(always)]
pub(super) fn quadwords(a: u128, b: u128, f: impl Fn(u64, u64) -> u64) -> u128 {
    let (a, b) = (u64s(a), u64s(b));
    from_u64s(std::array::from_fn(|i| f(a[i], b[i])))
}

#[inline(always)]
pub(super) fn signed_bytes(a: u128, b: u128, f: impl Fn(i8, i8) -> i8) -> u128 {
    bytes(a, b, |x, y| f(x as i8, y as i8) as u8)
}

#[inline(always)]
pub(super) fn signed_words(a: u128, b: u128, f: impl Fn(i16, i16) -> i16) -> u128 {
    words(a, b, |x, y| f(x as i16, y as i16) as u16)
}

#[inline(always)]
pub(super) fn signed_doublewords(a: u128, b: u128, f: impl Fn(i32, i32) -> i32) -> u128 {
    doublewords(a, b, |x, y| f(x as i32, y as i32) as u32)
}

/// The products of signed words scaled by 2^−15 and rounded.
#[inline(always)]
pub(super) fn pmulhrsw(a: u128, b: u128) -> u128 {
    signed_words(a, b, |x, y| {
        ((((i32::from(x) * i32::from(y)) >> 14) + 1) >> 1) as i16
    })
}

/// The products of the unsigned doublewords in even positions.
#[inline(always)]
pub(super) fn pmuludq(a: u128, b: u128) -> u128 {
    quadwords(a, b, |x, y| u64::from(x as u32) * u64::from(y as u32))
}

/// The products of the signed doublewords in even positions.
#[inline(always)]
pub(super) fn pmuldq(a: u128, b: u128) -> u128 {
    quadwords(a, b, |x, y| {
        (i64::from(x as i32) * i64::from(y as i32)) as u64
    })
}

/// `a` negated, zeroed or kept as the sign of `b` says.
#[inline(always)]
pub(super) fn psignb(a: u128, b: u128) -> u128 {
    signed_bytes(a, b, |x, y| x.wrapping_mul(y.signum()))
}

#[inline(always)]
pub(super) fn psignw(a: u128, b: u128) -> u128 {
    signed_words(a, b, |x, y| x.wrapping_mul(y.signum()))
}

#[inline(always)]
pub(super) fn psignd(a: u128, b: u128) -> u128 {
    signed_doublewords(a, b, |x, y| x.wrapping_mul(y.signum()))
}

/// The shift count of a whole vector: the low 64 bits of `b`, where all counts beyond the element
/// are alike.
#[inline(always)]
fn count(b: u128) -> u32 {
    (b as u64).min(255) as u32
}

#[inline(always)]
pub(super) fn psllw(a: u128, b: u128) -> u128 {
    let count = count(b);
    if count > 15 {
        return 0;
    }
    words(a, 0, |x, _| x << count)
}

#[inline(always)]
pub(super) fn pslld(a: u128, b: u128) -> u128 {
    let count = count(b);
    if count > 31 {
        return 0;
    }
    doublewords(a, 0, |x, _| x << count)
}

#[inline(always)]
pub(super) fn psllq(a: u128, b: u128) -> u128 {
    let count = count(b);
    if count > 63 {
        return 0;
    }
    quadwords(a, 0, |x, _| x << count)
}

#[inline(always)]
pub(super) fn psrlw(a: u128, b: u128) -> u128 {
    let count = count(b);
    if count > 15 {
        return 0;
    }
    words(a, 0, |x, _| x >> count)
}

#[inline(always)]
pub(super) fn psrld(a: u128, b: u128) -> u128 {
    let count = count(b);
    if count > 31 {
        return 0;
    }
    doublewords(a, 0, |x, _| x >> count)
}

#[inline(always)]
pub(super) fn psrlq(a: u128, b: u128) -> u128 {
    let count = count(b);
    if count > 63 {
        return 0;
    }
    quadwords(a, 0, |x, _| x >> count)
}

#[inline(always)]
pub(super) fn psraw(a: u128, b: u128) -> u128 {
    let count = count(b).min(15);
    signed_words(a, 0, |x, _| x >> count)
}

#[inline(always)]
pub(super) fn psrad(a: u128, b: u128) -> u128 {
    let count = count(b).min(31);
    signed_doublewords(a, 0, |x, _| x >> count)
}
