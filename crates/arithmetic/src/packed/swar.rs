//! Bytes and words handled eight and four at a time in a 64-bit integer, which is several times
//! faster than one by one.
//!
//! Every step keeps a carry from leaving its element: the top bit of each element is cleared before
//! an addition and restored by exclusive or, as one does by hand.

use crate::lanes::{from_u64s, u64s};

/// The width of the elements.
#[derive(Clone, Copy)]
pub(super) struct Elements {
    /// The top bit of every element.
    top: u64,
    /// Bits below the top one.
    below_top: u32,
}

pub(super) const BYTES: Elements = Elements {
    top: 0x8080_8080_8080_8080,
    below_top: 7,
};
pub(super) const WORDS: Elements = Elements {
    top: 0x8000_8000_8000_8000,
    below_top: 15,
};

#[inline(always)]
fn halves(a: u128, b: u128, f: impl Fn(u64, u64) -> u64) -> u128 {
    let ([a0, a1], [b0, b1]) = (u64s(a), u64s(b));
    from_u64s([f(a0, b0), f(a1, b1)])
}

impl Elements {
    #[inline(always)]
    fn add_half(self, a: u64, b: u64) -> u64 {
        ((a & !self.top) + (b & !self.top)) ^ ((a ^ b) & self.top)
    }

    #[inline(always)]
    fn subtract_half(self, a: u64, b: u64) -> u64 {
        ((a | self.top) - (b & !self.top)) ^ ((a ^ !b) & self.top)
    }

    /// All ones in the elements whose top bit is set.
    #[inline(always)]
    fn spread(self, bits: u64) -> u64 {
        let tops = bits & self.top;
        (tops << 1).wrapping_sub(tops >> self.below_top)
    }

    /// All ones in the elements in which `a` is less than `b`, unsigned.
    #[inline(always)]
    fn below_half(self, a: u64, b: u64) -> u64 {
        let difference = self.subtract_half(a, b);
        self.spread((!a & b) | (!(a ^ b) & difference))
    }

    #[inline(always)]
    pub fn add(self, a: u128, b: u128) -> u128 {
        halves(a, b, |a, b| self.add_half(a, b))
    }

    #[inline(always)]
    pub fn subtract(self, a: u128, b: u128) -> u128 {
        halves(a, b, |a, b| self.subtract_half(a, b))
    }

    #[inline(always)]
    pub fn add_saturating(self, a: u128, b: u128) -> u128 {
        halves(a, b, |a, b| {
            let sum = self.add_half(a, b);
            sum | self.spread((a & b) | ((a | b) & !sum))
        })
    }

    #[inline(always)]
    pub fn subtract_saturating(self, a: u128, b: u128) -> u128 {
        halves(a, b, |a, b| {
            self.subtract_half(a, b) & !self.below_half(a, b)
        })
    }

    /// Ones where the elements are equal.
    #[inline(always)]
    pub fn equal(self, a: u128, b: u128) -> u128 {
        halves(a, b, |a, b| {
            let difference = a ^ b;
            self.spread(!(((difference & !self.top) + !self.top) | difference))
        })
    }

    /// Ones where the signed element of `a` is greater.
    #[inline(always)]
    pub fn greater_signed(self, a: u128, b: u128) -> u128 {
        halves(a, b, |a, b| self.below_half(b ^ self.top, a ^ self.top))
    }

    #[inline(always)]
    pub fn minimum(self, a: u128, b: u128) -> u128 {
        halves(a, b, |a, b| b ^ ((a ^ b) & self.below_half(a, b)))
    }

    #[inline(always)]
    pub fn maximum(self, a: u128, b: u128) -> u128 {
        halves(a, b, |a, b| a ^ ((a ^ b) & self.below_half(a, b)))
    }

    /// The smaller as signed numbers.
    #[inline(always)]
    pub fn minimum_signed(self, a: u128, b: u128) -> u128 {
        halves(a, b, |a, b| {
            b ^ ((a ^ b) & self.below_half(a ^ self.top, b ^ self.top))
        })
    }

    /// The greater as signed numbers.
    #[inline(always)]
    pub fn maximum_signed(self, a: u128, b: u128) -> u128 {
        halves(a, b, |a, b| {
            a ^ ((a ^ b) & self.below_half(a ^ self.top, b ^ self.top))
        })
    }

    /// The average, rounded up.
    #[inline(always)]
    pub fn average(self, a: u128, b: u128) -> u128 {
        halves(a, b, |a, b| (a | b) - (((a ^ b) >> 1) & !self.top))
    }
}
