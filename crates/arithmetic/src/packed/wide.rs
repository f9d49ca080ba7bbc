//! What crosses the halves of a 256-bit register.
//!
//! Source: SDM Vol. 2, the pages of the mnemonics named at [`WideOp`].

use crate::lanes::{from_u32s, from_u64s, u32s, u64s};
use serde::{Deserialize, Serialize};

/// An operation on 256-bit registers that is not the same in both halves.
///
/// A register is a pair: bits 127:0, bits 255:128. `a` is the first source, `b` the second or only
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u16)]
pub enum WideOp {
    /// Each half of the result is the half of `a` or `b` that the immediate chooses, or zero:
    /// `VPERM2F128`, `VPERM2I128`.
    Permute2Halves,
    /// `a` with one half replaced by the low half of `b`: `VINSERTF128`, `VINSERTI128`.
    InsertHalf,
    /// One half of `b`, zero-extended: `VEXTRACTF128`, `VEXTRACTI128`.
    ExtractHalf,
    /// Doublewords of `b` as the selectors in `a` say: `VPERMD`, `VPERMPS`.
    PermuteDoublewords,
    /// Quadwords of `b` as the immediate says: `VPERMQ`, `VPERMPD`.
    PermuteQuadwords,
    /// The lowest byte of `b` everywhere: `VPBROADCASTB`.
    BroadcastByte,
    /// The lowest word of `b` everywhere: `VPBROADCASTW`.
    BroadcastWord,
    /// The lowest doubleword of `b` everywhere: `VPBROADCASTD`, `VBROADCASTSS`.
    BroadcastDoubleword,
    /// The lowest quadword of `b` everywhere: `VPBROADCASTQ`, `VBROADCASTSD`.
    BroadcastQuadword,
    /// The low half of `b` twice: `VBROADCASTF128`, `VBROADCASTI128`.
    BroadcastHalf,
}

impl WideOp {
    /// All of them, in the order of their discriminants.
    pub const ALL: &[WideOp] = &[
        WideOp::Permute2Halves,
        WideOp::InsertHalf,
        WideOp::ExtractHalf,
        WideOp::PermuteDoublewords,
        WideOp::PermuteQuadwords,
        WideOp::BroadcastByte,
        WideOp::BroadcastWord,
        WideOp::BroadcastDoubleword,
        WideOp::BroadcastQuadword,
        WideOp::BroadcastHalf,
    ];
}

/// Computes `op` on two 256-bit registers.
#[inline]
pub fn wide(op: WideOp, a: [u128; 2], b: [u128; 2], immediate: u8) -> [u128; 2] {
    match op {
        WideOp::Permute2Halves => {
            let choose = |control: u8| match control & 0b1011 {
                0 => a[0],
                1 => a[1],
                2 => b[0],
                3 => b[1],
                _ => 0,
            };
            [choose(immediate), choose(immediate >> 4)]
        }
        WideOp::InsertHalf if immediate & 1 == 0 => [b[0], a[1]],
        WideOp::InsertHalf => [a[0], b[0]],
        WideOp::ExtractHalf => [b[usize::from(immediate & 1)], 0],
        WideOp::PermuteDoublewords => {
            let source = [u32s(b[0]), u32s(b[1])];
            a.map(|half| {
                from_u32s(u32s(half).map(|selector| {
                    let index = selector as usize & 7;
                    source[index >> 2][index & 3]
                }))
            })
        }
        WideOp::PermuteQuadwords => {
            let source = [u64s(b[0]), u64s(b[1])];
            let choose = |n: u8| {
                let index = usize::from(immediate >> (2 * n) & 3);
                source[index >> 1][index & 1]
            };
            [
                from_u64s([choose(0), choose(1)]),
                from_u64s([choose(2), choose(3)]),
            ]
        }
        WideOp::BroadcastByte => [u128::from(b[0] as u8) * (u128::MAX / 0xff); 2],
        WideOp::BroadcastWord => [u128::from(b[0] as u16) * (u128::MAX / 0xffff); 2],
        WideOp::BroadcastDoubleword => [from_u32s([b[0] as u32; 4]); 2],
        WideOp::BroadcastQuadword => [from_u64s([b[0] as u64; 2]); 2],
        WideOp::BroadcastHalf => [b[0]; 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_the_order_of_discriminants() {
        for (n, op) in WideOp::ALL.iter().enumerate() {
            assert_eq!(*op as usize, n);
        }
    }

    /// SDM Vol. 2, "VPERM2F128".
    #[test]
    fn a_half_can_be_zeroed() {
        let got = wide(WideOp::Permute2Halves, [1, 2], [3, 4], 0x83);
        assert_eq!(got, [4, 0]);
    }
}
