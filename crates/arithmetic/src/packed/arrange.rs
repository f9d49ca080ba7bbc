//! Moving elements: packing, interleaving, shuffling, blending, inserting, extracting, extending.

use super::simd::BYTES;
use crate::lanes::{
    from_u8s, from_u16s, from_u32s, from_u64s, u8s, u16s, u32s, u64s, with_low_u64,
};

/// `a` in the low half of the result, `b` in the high one, each word saturated to a signed byte.
#[inline(always)]
pub(super) fn packsswb(a: u128, b: u128) -> u128 {
    let (a, b) = (u16s(a), u16s(b));
    from_u8s(std::array::from_fn(|i| {
        let word = if i < 8 { a[i] } else { b[i - 8] } as i16;
        word.clamp(i8::MIN.into(), i8::MAX.into()) as u8
    }))
}

/// As [`packsswb`], to an unsigned byte.
#[inline(always)]
pub(super) fn packuswb(a: u128, b: u128) -> u128 {
    let (a, b) = (u16s(a), u16s(b));
    from_u8s(std::array::from_fn(|i| {
        let word = if i < 8 { a[i] } else { b[i - 8] } as i16;
        word.clamp(0, u8::MAX.into()) as u8
    }))
}

/// `a` in the low half of the result, `b` in the high one, each doubleword saturated to a signed
/// word.
#[inline(always)]
pub(super) fn packssdw(a: u128, b: u128) -> u128 {
    let (a, b) = (u32s(a), u32s(b));
    from_u16s(std::array::from_fn(|i| {
        let doubleword = if i < 4 { a[i] } else { b[i - 4] } as i32;
        doubleword.clamp(i16::MIN.into(), i16::MAX.into()) as u16
    }))
}

/// As [`packssdw`], to an unsigned word.
#[inline(always)]
pub(super) fn packusdw(a: u128, b: u128) -> u128 {
    let (a, b) = (u32s(a), u32s(b));
    from_u16s(std::array::from_fn(|i| {
        let doubleword = if i < 4 { a[i] } else { b[i - 4] } as i32;
        doubleword.clamp(0, u16::MAX.into()) as u16
    }))
}

/// Interleaves the bytes of the low halves, `a`'s first.
#[inline(always)]
pub(super) fn punpcklbw(a: u128, b: u128) -> u128 {
    BYTES.interleave_low(a, b)
}

/// Interleaves the words of the low halves, `a`'s first.
#[inline(always)]
pub(super) fn punpcklwd(a: u128, b: u128) -> u128 {
    let (a, b) = (u16s(a), u16s(b));
    from_u16s(std::array::from_fn(|i| {
        if i % 2 == 0 { a[i / 2] } else { b[i / 2] }
    }))
}

/// Interleaves the doublewords of the low halves, `a`'s first.
#[inline(always)]
pub(super) fn punpckldq(a: u128, b: u128) -> u128 {
    let ([a0, a1, ..], [b0, b1, ..]) = (u32s(a), u32s(b));
    from_u32s([a0, b0, a1, b1])
}

/// The low halves, `a`'s first.
#[inline(always)]
pub(super) fn punpcklqdq(a: u128, b: u128) -> u128 {
    with_low_u64(b << 64, a as u64)
}

/// Interleaves the bytes of the high halves, `a`'s first.
#[inline(always)]
pub(super) fn punpckhbw(a: u128, b: u128) -> u128 {
    BYTES.interleave_high(a, b)
}

/// Interleaves the words of the high halves, `a`'s first.
#[inline(always)]
pub(super) fn punpckhwd(a: u128, b: u128) -> u128 {
    punpcklwd(a >> 64, b >> 64)
}

/// Interleaves the doublewords of the high halves, `a`'s first.
#[inline(always)]
pub(super) fn punpckhdq(a: u128, b: u128) -> u128 {
    punpckldq(a >> 64, b >> 64)
}

/// The high halves, `a`'s first.
#[inline(always)]
pub(super) fn punpckhqdq(a: u128, b: u128) -> u128 {
    punpcklqdq(a >> 64, b >> 64)
}

/// Field `index` of an immediate with four fields of two bits.
#[inline(always)]
const fn field(control: u8, index: usize) -> usize {
    (control >> (2 * index) & 3) as usize
}

#[inline(always)]
pub(super) fn pshufd(source: u128, control: u8) -> u128 {
    let source = u32s(source);
    from_u32s(std::array::from_fn(|i| source[field(control, i)]))
}

/// Shuffles the four low words.
#[inline(always)]
pub(super) fn pshuflw(source: u128, control: u8) -> u128 {
    let words = u16s(source);
    from_u16s(std::array::from_fn(|i| {
        if i < 4 {
            words[field(control, i)]
        } else {
            words[i]
        }
    }))
}

/// Shuffles the four high words.
#[inline(always)]
pub(super) fn pshufhw(source: u128, control: u8) -> u128 {
    let words = u16s(source);
    from_u16s(std::array::from_fn(|i| {
        if i < 4 {
            words[i]
        } else {
            words[4 + field(control, i - 4)]
        }
    }))
}

/// Byte `i` of the result is byte `b[i] mod 16` of `a`, or zero if `b[i]` has its top bit set.
#[inline(always)]
pub(super) fn pshufb(a: u128, b: u128) -> u128 {
    let (a, b) = (u8s(a), u8s(b));
    from_u8s(b.map(|selector| {
        let byte = a[usize::from(selector & 15)];
        if selector & 0x80 == 0 { byte } else { 0 }
    }))
}

#[inline(always)]
pub(super) fn shufps(a: u128, b: u128, control: u8) -> u128 {
    let (a, b) = (u32s(a), u32s(b));
    from_u32s([
        a[field(control, 0)],
        a[field(control, 1)],
        b[field(control, 2)],
        b[field(control, 3)],
    ])
}

#[inline(always)]
pub(super) fn shufpd(a: u128, b: u128, control: u8) -> u128 {
    let (a, b) = (u64s(a), u64s(b));
    from_u64s([
        a[usize::from(control & 1)],
        b[usize::from(control >> 1 & 1)],
    ])
}

/// The doublewords of `a` that bits 1:0 of those of `b` choose.
#[inline(always)]
pub(super) fn permilps(a: u128, b: u128) -> u128 {
    let (a, b) = (u32s(a), u32s(b));
    from_u32s(b.map(|selector| a[(selector & 3) as usize]))
}

/// The quadwords of `a` that bit 1 of those of `b` chooses.
#[inline(always)]
pub(super) fn permilpd(a: u128, b: u128) -> u128 {
    let (a, b) = (u64s(a), u64s(b));
    from_u64s(b.map(|selector| a[(selector >> 1 & 1) as usize]))
}

/// The even doublewords, each twice.
#[inline(always)]
pub(super) fn movsldup(source: u128) -> u128 {
    let [a, _, c, _] = u32s(source);
    from_u32s([a, a, c, c])
}

/// The odd doublewords, each twice.
#[inline(always)]
pub(super) fn movshdup(source: u128) -> u128 {
    let [_, b, _, d] = u32s(source);
    from_u32s([b, b, d, d])
}

/// The concatenation of `a` (high) and `b`, shifted right by whole bytes.
#[inline(always)]
pub(super) fn palignr(a: u128, b: u128, count: u8) -> u128 {
    let bits = u32::from(count) * 8;
    match count {
        0 => b,
        1..=15 => b >> bits | a << (128 - bits),
        16..=31 => a >> (bits - 128),
        _ => 0,
    }
}

/// Shifts left by whole bytes.
#[inline(always)]
pub(super) fn pslldq(a: u128, count: u8) -> u128 {
    a.checked_shl(u32::from(count) * 8).unwrap_or(0)
}

/// Shifts right by whole bytes.
#[inline(always)]
pub(super) fn psrldq(a: u128, count: u8) -> u128 {
    a.checked_shr(u32::from(count) * 8).unwrap_or(0)
}

/// For every set bit of `control` the word of `b`, else that of `a`.
#[inline(always)]
pub(super) fn pblendw(a: u128, b: u128, control: u8) -> u128 {
    let (a, b) = (u16s(a), u16s(b));
    from_u16s(std::array::from_fn(|i| {
        if control >> i & 1 == 0 { a[i] } else { b[i] }
    }))
}

/// For every set bit of `control` the doubleword of `b`, else that of `a`.
#[inline(always)]
pub(super) fn blendps(a: u128, b: u128, control: u8) -> u128 {
    let (a, b) = (u32s(a), u32s(b));
    from_u32s(std::array::from_fn(|i| {
        if control >> i & 1 == 0 { a[i] } else { b[i] }
    }))
}

/// For every set bit of `control` the quadword of `b`, else that of `a`.
#[inline(always)]
pub(super) fn blendpd(a: u128, b: u128, control: u8) -> u128 {
    let (a, b) = (u64s(a), u64s(b));
    from_u64s(std::array::from_fn(|i| {
        if control >> i & 1 == 0 { a[i] } else { b[i] }
    }))
}

/// Where the top bit of a mask byte is set the byte of `b`, else that of `a`.
#[inline(always)]
pub(super) fn pblendvb(a: u128, b: u128, mask: u128) -> u128 {
    let (a, b, mask) = (u8s(a), u8s(b), u8s(mask));
    from_u8s(std::array::from_fn(|i| {
        if mask[i] & 0x80 == 0 { a[i] } else { b[i] }
    }))
}

/// Where the top bit of a mask doubleword is set the doubleword of `b`, else that of `a`.
#[inline(always)]
pub(super) fn blendvps(a: u128, b: u128, mask: u128) -> u128 {
    let (a, b, mask) = (u32s(a), u32s(b), u32s(mask));
    from_u32s(std::array::from_fn(|i| {
        if mask[i] >> 31 == 0 { a[i] } else { b[i] }
    }))
}

/// Where the top bit of a mask quadword is set the quadword of `b`, else that of `a`.
#[inline(always)]
pub(super) fn blendvpd(a: u128, b: u128, mask: u128) -> u128 {
    let (a, b, mask) = (u64s(a), u64s(b), u64s(mask));
    from_u64s(std::array::from_fn(|i| {
        if mask[i] >> 63 == 0 { a[i] } else { b[i] }
    }))
}

/// Replaces the byte at `index` (mod 16).
#[inline(always)]
pub(super) fn pinsrb(a: u128, value: u128, index: u8) -> u128 {
    insert(a, value, 8, index & 15)
}

/// Replaces the word at `index` (mod 8).
#[inline(always)]
pub(super) fn pinsrw(a: u128, value: u128, index: u8) -> u128 {
    insert(a, value, 16, index & 7)
}

/// Replaces the doubleword at `index` (mod 4).
#[inline(always)]
pub(super) fn pinsrd(a: u128, value: u128, index: u8) -> u128 {
    insert(a, value, 32, index & 3)
}

/// Replaces the quadword at `index` (mod 2).
#[inline(always)]
pub(super) fn pinsrq(a: u128, value: u128, index: u8) -> u128 {
    insert(a, value, 64, index & 1)
}

#[inline(always)]
fn insert(a: u128, value: u128, width: u32, index: u8) -> u128 {
    let at = width * u32::from(index);
    let mask = ((1 << width) - 1) << at;
    a & !mask | value << at & mask
}

/// The element at `index`, zero-extended. The caller has reduced the index.
#[inline(always)]
pub(super) fn extract(source: u128, width: u32, index: u8) -> u128 {
    source >> (width * u32::from(index)) & ((1 << width) - 1)
}

/// Inserts the doubleword of `b` that bits 7:6 of `control` choose where bits 5:4 say, then zeroes
/// the elements whose bit is set in bits 3:0. With a memory source the caller passes the doubleword
/// in the low bits and clears bits 7:6.
#[inline(always)]
pub(super) fn insertps(a: u128, b: u128, control: u8) -> u128 {
    let mut result = u32s(a);
    result[field(control, 2)] = u32s(b)[field(control, 3)];
    for (i, element) in result.iter_mut().enumerate() {
        if control >> i & 1 != 0 {
            *element = 0;
        }
    }
    from_u32s(result)
}

/// The top bits of the bytes.
#[inline(always)]
pub(super) fn pmovmskb(source: u128) -> u128 {
    BYTES.top_bits(source)
}

/// The top bits of the doublewords.
#[inline(always)]
pub(super) fn movmskps(source: u128) -> u128 {
    (source >> 31 & 1) | (source >> 62 & 2) | (source >> 93 & 4) | (source >> 124 & 8)
}

/// The top bits of the quadwords.
#[inline(always)]
pub(super) fn movmskpd(source: u128) -> u128 {
    (source >> 63 & 1) | (source >> 126 & 2)
}

/// `PMOVSXBW` and its siblings: the low elements widened.
macro_rules! extensions {
    ($($sign:ident $zero:ident: $from_elements:ident -> $to_elements:ident, $unsigned:ty as $signed:ty => $wide:ty as $wide_signed:ty;)*) => {$(
        #[inline(always)]
        pub(super) fn $sign(source: u128) -> u128 {
            let source = $from_elements(source);
            $to_elements(std::array::from_fn(|i| <$wide_signed>::from(source[i] as $signed) as $wide))
        }
        #[inline(always)]
        pub(super) fn $zero(source: u128) -> u128 {
            let source = $from_elements(source);
            $to_elements(std::array::from_fn(|i| <$wide>::from(source[i])))
        }
    )*};
}

extensions! {
    pmovsxbw pmovzxbw: u8s -> from_u16s, u8 as i8 => u16 as i16;
    pmovsxbd pmovzxbd: u8s -> from_u32s, u8 as i8 => u32 as i32;
    pmovsxbq pmovzxbq: u8s -> from_u64s, u8 as i8 => u64 as i64;
    pmovsxwd pmovzxwd: u16s -> from_u32s, u16 as i16 => u32 as i32;
    pmovsxwq pmovzxwq: u16s -> from_u64s, u16 as i16 => u64 as i64;
    pmovsxdq pmovzxdq: u32s -> from_u64s, u32 as i32 => u64 as i64;
}
