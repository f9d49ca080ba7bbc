//! `RCPSS` and `RSQRTSS`: approximations that raise no exception and ignore MXCSR.
//!
//! The manual allows a relative error of 1.5 × 2^−12, and processors use that freedom differently:
//! the results of two vendors' processors differ. Here the exact quotient is rounded to 13
//! significant bits, so that the relative error is at most 2^−13 (plus one part in 2^52) and the
//! result is the same everywhere. Powers of two come out exact.
//! Source: SDM Vol. 2, "RCPPS-Compute Reciprocals of Packed Single-Precision Floating-Point Values",
//! "RSQRTPS-Compute Reciprocals of Square Roots of Packed Single-Precision Floating-Point Values".

use crate::lanes::{from_u32s, u32s};

const QUIET: u32 = 1 << 22;
const SIGN: u32 = 1 << 31;
const INFINITY: u32 = 0x7f80_0000;
const INDEFINITE: u32 = 0xffc0_0000;

/// The nearest number with 13 significant bits, as a single; tiny ones become zero.
fn shorten(value: f64) -> u32 {
    const DROPPED: u32 = 52 - 12;
    let bits = value.to_bits();
    let even = bits >> DROPPED & 1;
    let rounded = (bits + (1 << (DROPPED - 1)) - 1 + even) >> DROPPED << DROPPED;
    let short = f64::from_bits(rounded) as f32;
    if short.abs() < f32::MIN_POSITIVE {
        short.to_bits() & SIGN
    } else {
        short.to_bits()
    }
}

/// `RCPSS`: about `1 ÷ source`. Subnormal operands count as zero, tiny results become zero.
pub fn rcp_ss(source: u32) -> u32 {
    let value = f32::from_bits(source);
    if value.is_nan() {
        source | QUIET
    } else if value == 0.0 || value.is_subnormal() {
        source & SIGN | INFINITY
    } else if value.is_infinite() {
        source & SIGN
    } else {
        shorten(1.0 / f64::from(value))
    }
}

/// `RSQRTSS`: about `1 ÷ √source`. Subnormal operands count as zero.
pub fn rsqrt_ss(source: u32) -> u32 {
    let value = f32::from_bits(source);
    if value.is_nan() {
        source | QUIET
    } else if value == 0.0 || value.is_subnormal() {
        source & SIGN | INFINITY
    } else if value < 0.0 {
        INDEFINITE
    } else if value.is_infinite() {
        0
    } else {
        shorten(1.0 / f64::from(value).sqrt())
    }
}

/// `RCPPS`.
pub fn rcp_ps(source: u128) -> u128 {
    from_u32s(u32s(source).map(rcp_ss))
}

/// `RSQRTPS`.
pub fn rsqrt_ps(source: u128) -> u128 {
    from_u32s(u32s(source).map(rsqrt_ss))
}
