//! Elements handled all at once, by the host's vector instructions where it has them (crate `wide`,
//! which computes the same without).
//!
//! Only operations that are exact on integers: nothing here depends on the host.

use bytemuck::Pod;
use wide::{CmpEq, CmpGt, i8x16, i16x8, i32x4, u8x16, u16x8, u32x4};

// Elements keep their order in memory.
const _: () = assert!(cfg!(target_endian = "little"));

/// A vector as elements, or back.
#[inline(always)]
fn cast<T: Pod, U: Pod>(v: T) -> U {
    bytemuck::cast(v)
}

/// Applies an operation on elements of type `T`.
#[inline(always)]
fn apply<T: Pod>(a: u128, b: u128, f: impl FnOnce(T, T) -> T) -> u128 {
    cast(f(cast(a), cast(b)))
}

/// Operations on elements of one size.
macro_rules! elements {
    ($(#[$doc:meta])* $type:ident, $name:ident, $unsigned:ty, $signed:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(super) struct $type;

        $(#[$doc])*
        pub(super) const $name: $type = $type;

        impl $type {
            #[inline(always)]
            pub fn add(self, a: u128, b: u128) -> u128 {
                apply(a, b, |a: $unsigned, b| a + b)
            }

            #[inline(always)]
            pub fn subtract(self, a: u128, b: u128) -> u128 {
                apply(a, b, |a: $unsigned, b| a - b)
            }

            /// Ones where the elements are equal.
            #[inline(always)]
            pub fn equal(self, a: u128, b: u128) -> u128 {
                apply(a, b, |a: $signed, b| a.cmp_eq(b))
            }

            /// Ones where the signed element of `a` is greater.
            #[inline(always)]
            pub fn greater_signed(self, a: u128, b: u128) -> u128 {
                apply(a, b, |a: $signed, b| a.cmp_gt(b))
            }

            #[inline(always)]
            pub fn minimum(self, a: u128, b: u128) -> u128 {
                apply(a, b, |a: $unsigned, b| a.min(b))
            }

            #[inline(always)]
            pub fn maximum(self, a: u128, b: u128) -> u128 {
                apply(a, b, |a: $unsigned, b| a.max(b))
            }

            /// The smaller as signed numbers.
            #[inline(always)]
            pub fn minimum_signed(self, a: u128, b: u128) -> u128 {
                apply(a, b, |a: $signed, b| a.min(b))
            }

            /// The greater as signed numbers.
            #[inline(always)]
            pub fn maximum_signed(self, a: u128, b: u128) -> u128 {
                apply(a, b, |a: $signed, b| a.max(b))
            }
        }
    };
}

elements! {
    /// Sixteen bytes.
    Bytes, BYTES, u8x16, i8x16
}
elements! {
    /// Eight words.
    Words, WORDS, u16x8, i16x8
}
elements! {
    /// Four doublewords.
    Doublewords, DOUBLEWORDS, u32x4, i32x4
}

/// Operations with saturation, and averages, which bytes and words have.
macro_rules! saturating {
    ($type:ident, $unsigned:ty, $signed:ty, $top:expr) => {
        impl $type {
            #[inline(always)]
            pub fn add_saturating(self, a: u128, b: u128) -> u128 {
                apply(a, b, |a: $unsigned, b| a.saturating_add(b))
            }

            #[inline(always)]
            pub fn subtract_saturating(self, a: u128, b: u128) -> u128 {
                apply(a, b, |a: $unsigned, b| a.saturating_sub(b))
            }

            #[inline(always)]
            pub fn add_saturating_signed(self, a: u128, b: u128) -> u128 {
                apply(a, b, |a: $signed, b| a.saturating_add(b))
            }

            #[inline(always)]
            pub fn subtract_saturating_signed(self, a: u128, b: u128) -> u128 {
                apply(a, b, |a: $signed, b| a.saturating_sub(b))
            }

            /// The average, rounded up.
            #[inline(always)]
            pub fn average(self, a: u128, b: u128) -> u128 {
                // No element is less than what is subtracted, so no borrow leaves it.
                (a | b) - (((a ^ b) >> 1) & !$top)
            }
        }
    };
}

saturating!(
    Bytes,
    u8x16,
    i8x16,
    0x8080_8080_8080_8080_8080_8080_8080_8080
);
saturating!(
    Words,
    u16x8,
    i16x8,
    0x8000_8000_8000_8000_8000_8000_8000_8000
);

impl Bytes {
    /// The low bytes of `a` and `b` in turn.
    #[inline(always)]
    pub fn interleave_low(self, a: u128, b: u128) -> u128 {
        apply(a, b, u8x16::unpack_low)
    }

    /// The high bytes of `a` and `b` in turn.
    #[inline(always)]
    pub fn interleave_high(self, a: u128, b: u128) -> u128 {
        apply(a, b, u8x16::unpack_high)
    }

    /// The top bit of each byte.
    #[inline(always)]
    pub fn top_bits(self, a: u128) -> u128 {
        cast::<_, i8x16>(a).move_mask() as u16 as u128
    }
}

impl Words {
    /// Low halves of the products.
    #[inline(always)]
    pub fn multiply(self, a: u128, b: u128) -> u128 {
        apply(a, b, |a: i16x8, b| a * b)
    }

    /// High halves of the unsigned products.
    #[inline(always)]
    pub fn multiply_high(self, a: u128, b: u128) -> u128 {
        apply(a, b, u16x8::mul_keep_high)
    }

    /// High halves of the signed products.
    #[inline(always)]
    pub fn multiply_high_signed(self, a: u128, b: u128) -> u128 {
        apply(a, b, i16x8::mul_keep_high)
    }
}
