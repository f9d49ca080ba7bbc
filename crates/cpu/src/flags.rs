//! The status flags, kept as the result that determines them.

use ring3_arch::rflags::{AF, CF, OF, PF, SF, STATUS, ZF};
use ring3_isa::Condition;
use serde::{Deserialize, Serialize};

/// CF, in [`StatusFlags::carries`].
const CARRY: u32 = 1 << 31;
/// The carry into the result's top bit; OF is its difference from CF.
const CARRY_IN: u32 = 1 << 30;
/// AF: the carry out of bit 3.
const HALF_CARRY: u32 = 1 << 3;
/// Where bits start that are XORed into the result's low byte before its parity is taken.
const PARITY_SHIFT: u32 = 8;
/// XORed into the sign.
const SIGN_FLIP: u32 = 1 << 0;

/// CF, PF, AF, ZF, SF and OF in a form that costs little to produce: the last result, sign-extended
/// to 64 bits, and the carries that arose. Most results are overwritten before anybody asks.
///
/// ZF, SF and PF are properties of `result` (the last two with a correction, so that any combination
/// of flags can be represented); CF, OF and AF come from `carries`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct StatusFlags {
    result: u64,
    carries: u32,
}

/// Sign-extends the low `BITS` bits.
#[inline(always)]
fn extend<const BITS: u32>(value: u64) -> u64 {
    ((value << (64 - BITS)) as i64 >> (64 - BITS)) as u64
}

/// Puts the carries out of the top bit, into it, and out of bit 3 where they belong.
#[inline(always)]
fn collect<const BITS: u32>(carries: u64) -> u32 {
    let top = if BITS >= 32 {
        (carries >> (BITS - 32)) as u32
    } else {
        (carries << (32 - BITS)) as u32
    };
    (top & (CARRY | CARRY_IN)) | (carries as u32 & HALF_CARRY)
}

impl StatusFlags {
    /// After `result = a + b` (or with a carry in).
    #[inline(always)]
    pub fn set_add<const BITS: u32>(&mut self, a: u64, b: u64, result: u64) {
        self.carries = collect::<BITS>((a & b) | ((a | b) & !result));
        self.result = extend::<BITS>(result);
    }

    /// After `result = a - b` (or with a borrow in).
    #[inline(always)]
    pub fn set_sub<const BITS: u32>(&mut self, a: u64, b: u64, result: u64) {
        self.carries = collect::<BITS>((!a & b) | ((!a | b) & result));
        self.result = extend::<BITS>(result);
    }

    /// After a logical operation: CF = OF = AF = 0.
    #[inline(always)]
    pub fn set_logic<const BITS: u32>(&mut self, result: u64) {
        self.carries = 0;
        self.result = extend::<BITS>(result);
    }

    /// After `result = a + 1` or `a - 1`: as for addition and subtraction, but CF stays.
    #[inline(always)]
    pub fn set_inc<const BITS: u32>(&mut self, a: u64, result: u64) {
        let carry = self.carry();
        self.set_add::<BITS>(a, 1, result);
        self.replace_carry_keep_overflow(carry);
    }

    /// See [`StatusFlags::set_inc`].
    #[inline(always)]
    pub fn set_dec<const BITS: u32>(&mut self, a: u64, result: u64) {
        let carry = self.carry();
        self.set_sub::<BITS>(a, 1, result);
        self.replace_carry_keep_overflow(carry);
    }

    /// After a shift: SF, ZF, PF from the result, CF and OF as given, AF = 0.
    #[inline(always)]
    pub fn set_shift<const BITS: u32>(&mut self, result: u64, carry: bool, overflow: bool) {
        self.result = extend::<BITS>(result);
        self.carries = carry_bits(carry, overflow);
    }

    /// Replaces CF and OF (rotates, multiplications).
    #[inline(always)]
    pub fn set_carry_overflow(&mut self, carry: bool, overflow: bool) {
        self.carries = (self.carries & !(CARRY | CARRY_IN)) | carry_bits(carry, overflow);
    }

    #[inline(always)]
    fn replace_carry_keep_overflow(&mut self, carry: bool) {
        let overflow = self.overflow();
        self.set_carry_overflow(carry, overflow);
    }

    /// Replaces CF alone.
    #[inline(always)]
    pub fn set_carry(&mut self, carry: bool) {
        self.replace_carry_keep_overflow(carry);
    }

    /// Replaces ZF alone.
    pub fn set_zero(&mut self, zero: bool) {
        let bits = self.bits();
        self.set_bits(if zero { bits | ZF } else { bits & !ZF });
    }

    /// CF.
    #[inline(always)]
    pub fn carry(&self) -> bool {
        self.carries & CARRY != 0
    }

    /// OF.
    #[inline(always)]
    pub fn overflow(&self) -> bool {
        (self.carries ^ self.carries << 1) & CARRY != 0
    }

    /// ZF.
    #[inline(always)]
    pub fn zero(&self) -> bool {
        self.result == 0
    }

    /// SF.
    #[inline(always)]
    pub fn sign(&self) -> bool {
        ((self.result >> 63) as u32 ^ self.carries) & SIGN_FLIP != 0
    }

    /// PF.
    #[inline(always)]
    pub fn parity(&self) -> bool {
        (self.result as u8 ^ (self.carries >> PARITY_SHIFT) as u8)
            .count_ones()
            .is_multiple_of(2)
    }

    /// AF.
    #[inline(always)]
    pub fn adjust(&self) -> bool {
        self.carries & HALF_CARRY != 0
    }

    /// All six in their RFLAGS positions.
    pub fn bits(&self) -> u64 {
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        flag(self.carry(), CF)
            | flag(self.parity(), PF)
            | flag(self.adjust(), AF)
            | flag(self.zero(), ZF)
            | flag(self.sign(), SF)
            | flag(self.overflow(), OF)
    }

    /// Sets all six from RFLAGS positions; other bits are ignored.
    pub fn set_bits(&mut self, bits: u64) {
        let is = |bit: u64| bits & bit != 0;
        // A result of zero or one has sign 0 and even or odd parity; the corrections do the rest.
        self.result = u64::from(!is(ZF));
        let parity_of_result = is(ZF);
        self.carries = carry_bits(is(CF), is(OF))
            | if is(AF) { HALF_CARRY } else { 0 }
            | if is(SF) { SIGN_FLIP } else { 0 }
            | if is(PF) != parity_of_result {
                1 << PARITY_SHIFT
            } else {
                0
            };
    }

    /// The same flags in the one representation that [`StatusFlags::set_bits`] gives, so that
    /// equal flags compare equal.
    pub fn canonical(&self) -> StatusFlags {
        let mut flags = StatusFlags::default();
        flags.set_bits(self.bits());
        flags
    }

    /// Whether a condition holds.
    #[inline(always)]
    pub fn holds(&self, condition: Condition) -> bool {
        match condition {
            Condition::O => self.overflow(),
            Condition::No => !self.overflow(),
            Condition::B => self.carry(),
            Condition::Ae => !self.carry(),
            Condition::E => self.zero(),
            Condition::Ne => !self.zero(),
            Condition::Be => self.carry() || self.zero(),
            Condition::A => !(self.carry() || self.zero()),
            Condition::S => self.sign(),
            Condition::Ns => !self.sign(),
            Condition::P => self.parity(),
            Condition::Np => !self.parity(),
            Condition::L => self.sign() != self.overflow(),
            Condition::Ge => self.sign() == self.overflow(),
            Condition::Le => self.zero() || self.sign() != self.overflow(),
            Condition::G => !self.zero() && self.sign() == self.overflow(),
        }
    }
}

#[inline(always)]
fn carry_bits(carry: bool, overflow: bool) -> u32 {
    (u32::from(carry) << 31) | (u32::from(carry != overflow) << 30)
}

impl PartialEq for StatusFlags {
    fn eq(&self, other: &Self) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for StatusFlags {}

const _: () = assert!(STATUS == CF | PF | AF | ZF | SF | OF);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_can_be_represented() {
        for n in 0..64u64 {
            let bits = [CF, PF, AF, ZF, SF, OF]
                .iter()
                .enumerate()
                .filter(|(i, _)| n >> i & 1 != 0)
                .fold(0, |all, (_, bit)| all | bit);
            let mut flags = StatusFlags::default();
            flags.set_bits(bits);
            assert_eq!(flags.bits(), bits);
            assert_eq!(flags.canonical().bits(), bits);
        }
    }

    /// The flags of 8-bit addition and subtraction from their definitions. SDM Vol. 1, "Status
    /// Flags".
    #[test]
    fn eight_bit_sums_and_differences_are_right_for_all_operands() {
        for a in 0..=255u8 {
            for b in 0..=255u8 {
                for carry in [false, true] {
                    let sum = u32::from(a) + u32::from(b) + u32::from(carry);
                    let mut flags = StatusFlags::default();
                    flags.set_add::<8>(a.into(), b.into(), sum.into());
                    assert_eq!(flags.carry(), sum > 255);
                    assert_eq!(flags.adjust(), (a & 15) + (b & 15) + u8::from(carry) > 15);
                    let signed = i32::from(a as i8) + i32::from(b as i8) + i32::from(carry);
                    assert_eq!(flags.overflow(), i8::try_from(signed).is_err());
                    assert_eq!(flags.sign(), (sum as u8 as i8) < 0);
                    assert_eq!(flags.zero(), sum as u8 == 0);
                    assert_eq!(flags.parity(), (sum as u8).count_ones().is_multiple_of(2));

                    let difference = i32::from(a) - i32::from(b) - i32::from(carry);
                    flags.set_sub::<8>(a.into(), b.into(), difference as i64 as u64);
                    assert_eq!(flags.carry(), difference < 0, "{a} - {b} - {carry}");
                    assert_eq!(
                        flags.adjust(),
                        i32::from(a & 15) - i32::from(b & 15) - i32::from(carry) < 0
                    );
                    let signed = i32::from(a as i8) - i32::from(b as i8) - i32::from(carry);
                    assert_eq!(flags.overflow(), i8::try_from(signed).is_err());
                }
            }
        }
    }
}
