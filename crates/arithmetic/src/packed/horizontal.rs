//! Integer operations between neighbouring elements, and sums of differences.

use super::integer::doublewords;
use super::simd::BYTES;
use crate::lanes::{from_u16s, from_u32s, from_u64s, u8s, u16s, u32s, u64s};

/// Even and odd words of the concatenation of `a` (low) and `b`.
#[inline(always)]
fn word_pairs(a: u128, b: u128, f: impl Fn(i16, i16) -> i16) -> u128 {
    let (a, b) = (u16s(a), u16s(b));
    from_u16s(std::array::from_fn(|i| {
        let source = if i < 4 { &a } else { &b };
        let at = 2 * (i % 4);
        f(source[at] as i16, source[at + 1] as i16) as u16
    }))
}

#[inline(always)]
fn doubleword_pairs(a: u128, b: u128, f: impl Fn(u32, u32) -> u32) -> u128 {
    let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (u32s(a), u32s(b));
    from_u32s([f(a0, a1), f(a2, a3), f(b0, b1), f(b2, b3)])
}

pub(super) fn phaddw(a: u128, b: u128) -> u128 {
    word_pairs(a, b, i16::wrapping_add)
}

pub(super) fn phaddsw(a: u128, b: u128) -> u128 {
    word_pairs(a, b, i16::saturating_add)
}

pub(super) fn phaddd(a: u128, b: u128) -> u128 {
    doubleword_pairs(a, b, u32::wrapping_add)
}

pub(super) fn phsubw(a: u128, b: u128) -> u128 {
    word_pairs(a, b, i16::wrapping_sub)
}

pub(super) fn phsubsw(a: u128, b: u128) -> u128 {
    word_pairs(a, b, i16::saturating_sub)
}

pub(super) fn phsubd(a: u128, b: u128) -> u128 {
    doubleword_pairs(a, b, u32::wrapping_sub)
}

/// Sums of two neighbouring products of signed words.
#[inline(always)]
pub(super) fn pmaddwd(a: u128, b: u128) -> u128 {
    doublewords(a, b, |x, y| {
        let low = i32::from(x as i16) * i32::from(y as i16);
        let high = (x as i32 >> 16) * (y as i32 >> 16);
        low.wrapping_add(high) as u32
    })
}

/// Saturated sums of two neighbouring products of an unsigned byte (of `a`) and a signed one.
#[inline(always)]
pub(super) fn pmaddubsw(a: u128, b: u128) -> u128 {
    super::integer::words(a, b, |x, y| {
        let low = i32::from(x & 0xff) * i32::from(y as i8);
        let high = i32::from(x >> 8) * i32::from((y >> 8) as i8);
        (low + high).clamp(i16::MIN.into(), i16::MAX.into()) as u16
    })
}

/// For each half, the sum of the absolute differences of the eight unsigned bytes.
#[inline(always)]
pub(super) fn psadbw(a: u128, b: u128) -> u128 {
    let differences = BYTES.subtract(BYTES.maximum(a, b), BYTES.minimum(a, b));
    from_u64s(u64s(differences).map(|half| {
        const EVEN: u64 = 0x00ff_00ff_00ff_00ff;
        let words = (half & EVEN) + (half >> 8 & EVEN);
        words.wrapping_mul(0x0001_0001_0001_0001) >> 48
    }))
}

/// Eight sums of four absolute differences: a block of four bytes of `b` against eight positions of
/// `a`. Bits 1:0 of `control` choose the block, bit 2 the start in `a`.
pub(super) fn mpsadbw(a: u128, b: u128, control: u8) -> u128 {
    let (a, b) = (u8s(a), u8s(b));
    let start = usize::from(control >> 2 & 1) * 4;
    let block = usize::from(control & 3) * 4;
    from_u16s(std::array::from_fn(|i| {
        (0..4)
            .map(|j| u16::from(a[start + i + j].abs_diff(b[block + j])))
            .sum()
    }))
}

/// The smallest unsigned word in bits 15:0, its position in bits 18:16.
pub(super) fn phminposuw(source: u128) -> u128 {
    let words = u16s(source);
    let mut at = 0;
    for i in 1..8 {
        if words[i] < words[at] {
            at = i;
        }
    }
    u128::from(words[at]) | (at as u128) << 16
}
