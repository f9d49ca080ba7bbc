//! Values worth trying, from a seed.

/// How many operands to try where a test says `base`: times `SILICON_FACTOR`, if that is set.
pub fn rounds(base: u64) -> u64 {
    let factor =
        std::env::var("SILICON_FACTOR").map_or(1, |factor| factor.parse().expect("a number"));
    base * factor
}

/// SplitMix64.
pub struct Random(u64);

impl Random {
    /// With this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Any number.
    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Any number.
    pub fn u128(&mut self) -> u128 {
        u128::from(self.u64()) << 64 | u128::from(self.u64())
    }

    /// Any number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.u64() % limit
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// `true` once in so many times.
    pub fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }

    /// An integer with long runs of equal bits, or a plain random one.
    pub fn rough(&mut self) -> u64 {
        match self.below(4) {
            0 => self.u64(),
            1 => {
                let (from, to) = (self.below(64), self.below(64));
                let run = (u64::MAX >> from) & (u64::MAX << to);
                if self.chance(2) { run } else { !run }
            }
            2 => 1u64
                .wrapping_shl(self.u64() as u32)
                .wrapping_add(self.below(5).wrapping_sub(2)),
            _ => self.u64() >> self.below(64),
        }
    }

    /// A number of the format with this many exponent and fraction bits.
    fn float(&mut self, exponent_bits: u32, fraction_bits: u32) -> u64 {
        let exponent_max = (1u64 << exponent_bits) - 1;
        let bias = exponent_max / 2;
        let fraction_mask = (1u64 << fraction_bits) - 1;
        let sign = self.below(2) << (exponent_bits + fraction_bits);
        let exponent = match self.below(8) {
            0 => 0,
            1 => exponent_max,
            2 => self.below(4),
            3 => exponent_max - self.below(4),
            4 | 5 => bias - 4 + self.below(8),
            6 => bias.wrapping_sub(70).wrapping_add(self.below(140)) & exponent_max,
            _ => self.u64() & exponent_max,
        };
        let fraction = match self.below(6) {
            0 => 0,
            1 => fraction_mask,
            2 => self.rough(),
            3 => self.u64() << self.below(u64::from(fraction_bits)),
            4 => 1 << (fraction_bits - 1),
            _ => self.u64(),
        } & fraction_mask;
        sign | exponent << fraction_bits | fraction
    }

    /// A half, edge cases often.
    pub fn f16(&mut self) -> u16 {
        self.float(5, 10) as u16
    }

    /// A single, edge cases often.
    pub fn f32(&mut self) -> u32 {
        self.float(8, 23) as u32
    }

    /// A double, edge cases often.
    pub fn f64(&mut self) -> u64 {
        if self.chance(8) {
            // Around the limits of integers, and exact singles.
            return match self.below(4) {
                0 => (f64::from_bits(0x41e0_0000_0000_0000) + (self.below(9) as f64 - 4.0) / 4.0)
                    .to_bits(),
                1 => (-f64::from_bits(0x41e0_0000_0000_0000) + (self.below(9) as f64 - 4.0) / 4.0)
                    .to_bits(),
                2 => {
                    0x43e0_0000_0000_0000u64.wrapping_add(self.below(5).wrapping_sub(2))
                        | self.below(2) << 63
                }
                _ => f64::from(f32::from_bits(self.f32() & 0xbfff_ffff)).to_bits(),
            };
        }
        self.float(11, 52)
    }

    /// A double close to another one, so that sums cancel and comparisons are close.
    pub fn f64_near(&mut self, other: u64) -> u64 {
        let near = other.wrapping_add(self.below(9)).wrapping_sub(4);
        near ^ self.below(2) << 63
    }

    /// A single close to another one.
    pub fn f32_near(&mut self, other: u32) -> u32 {
        let near = other.wrapping_add(self.below(9) as u32).wrapping_sub(4);
        near ^ (self.below(2) as u32) << 31
    }

    /// Four singles and the four to combine them with.
    pub fn singles(&mut self) -> (u128, u128) {
        let (mut a, mut b) = (0, 0);
        for i in 0..4 {
            let x = self.f32();
            let y = if self.chance(4) {
                self.f32_near(x)
            } else {
                self.f32()
            };
            a |= u128::from(x) << (32 * i);
            b |= u128::from(y) << (32 * i);
        }
        (a, b)
    }

    /// Two doubles and the two to combine them with.
    pub fn doubles(&mut self) -> (u128, u128) {
        let (mut a, mut b) = (0, 0);
        for i in 0..2 {
            let x = self.f64();
            let y = if self.chance(4) {
                self.f64_near(x)
            } else {
                self.f64()
            };
            a |= u128::from(x) << (64 * i);
            b |= u128::from(y) << (64 * i);
        }
        (a, b)
    }

    /// Mostly ordinary states of MXCSR, then any.
    pub fn mxcsr(&mut self) -> u32 {
        match self.below(8) {
            0 => 0x1f80,
            1 => 0x1fa0,
            2 => 0x1f80 | (self.u64() as u32 & 0xe07f),
            3 => self.u64() as u32 & 0xffff,
            4 => 0x1f80 & !(1 << (7 + self.below(6))) | (self.u64() as u32 & 0xe07f),
            _ => 0x1f80 | (self.u64() as u32 & 0x603f),
        }
    }

    /// An 80-bit number, now and then one without meaning.
    pub fn f80(&mut self) -> u128 {
        let sign = (self.below(2) as u128) << 79;
        let exponent = match self.below(16) {
            0 => 0,
            1 => 0x7fff,
            2 => self.below(4),
            3 => 0x7fff - self.below(4),
            4..8 => 16383 - 4 + self.below(8),
            8..11 => 16383 - 70 + self.below(140),
            11 => 16383 - 1024 - 60 + self.below(70),
            12 => 16383 - 128 - 30 + self.below(40),
            13 => 16383 + self.pick(&[1024, 128]) - 3 + self.below(6),
            _ => self.u64() & 0x7fff,
        };
        let fraction = match self.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => self.rough(),
            3 => self.u64() << self.below(64),
            4 => 1 << 62,
            5 => u64::MAX << self.below(64),
            _ => self.u64(),
        };
        let integer = if exponent == 0 {
            self.chance(8)
        } else {
            !self.chance(24)
        };
        let significand = fraction & !(1 << 63) | u64::from(integer) << 63;
        sign | u128::from(exponent) << 64 | u128::from(significand)
    }

    /// An 80-bit number close to another.
    pub fn f80_near(&mut self, other: u128) -> u128 {
        match self.below(4) {
            0 => other,
            1 => other ^ 1 << 79,
            2 => other & !0xffff | u128::from(self.below(0x10000)),
            _ => {
                let exponent = (other >> 64) as u16;
                let near = exponent.wrapping_add(self.below(7) as u16).wrapping_sub(3);
                u128::from(near) << 64 | u128::from(self.u64() | 1 << 63)
            }
        }
    }
}
