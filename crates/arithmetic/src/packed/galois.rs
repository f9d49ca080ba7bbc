//! Polynomials over GF(2): carry-less multiplication, the field of AES, and the affine maps of GFNI.
//!
//! Sources: SDM Vol. 2, "PCLMULQDQ-Carry-Less Multiplication Quadword",
//! "GF2P8AFFINEQB-Galois Field Affine Transformation" and its siblings.

use super::integer::bytes;
use crate::lanes::{from_u8s, u8s, u64s};

/// The product of two polynomials with 64 coefficients; `control` chooses the halves by bits 0 (`a`)
/// and 4 (`b`).
pub(super) fn pclmulqdq(a: u128, b: u128, control: u8) -> u128 {
    let a = u128::from(u64s(a)[usize::from(control & 1)]);
    let b = u64s(b)[usize::from(control >> 4 & 1)];
    // The products of a with all polynomials of four coefficients, then four bits of b at a time.
    let mut multiples = [0; 16];
    for i in 1..16 {
        multiples[i] = multiples[i / 2] << 1 ^ if i % 2 == 1 { a } else { 0 };
    }
    (0..16).rev().fold(0, |product, i| {
        product << 4 ^ multiples[(b >> (4 * i) & 15) as usize]
    })
}

/// The product in GF(2^8) modulo x⁸ + x⁴ + x³ + x + 1.
pub(super) const fn multiply(a: u8, b: u8) -> u8 {
    let mut product = 0;
    let mut a = a;
    let mut i = 0;
    while i < 8 {
        if b >> i & 1 != 0 {
            product ^= a;
        }
        a = a << 1 ^ if a & 0x80 != 0 { 0x1b } else { 0 };
        i += 1;
    }
    product
}

/// The inverse in GF(2^8), zero's being zero: the 254th power.
const fn invert(a: u8) -> u8 {
    let mut power = a;
    let mut result = 1;
    let mut i = 0;
    while i < 7 {
        power = multiply(power, power);
        result = multiply(result, power);
        i += 1;
    }
    result
}

/// The inverses of all bytes.
pub(super) const INVERSE: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = invert(i as u8);
        i += 1;
    }
    table
};

pub(super) fn gf2p8mulb(a: u128, b: u128) -> u128 {
    bytes(a, b, multiply)
}

/// Bit `i` of each result byte is the parity of the byte of `a` masked by row `7 − i` of the matrix in
/// the corresponding quadword of `b`, plus bit `i` of `constant`.
pub(super) fn gf2p8affineqb(a: u128, b: u128, constant: u8) -> u128 {
    let (vector, matrix) = (u8s(a), u8s(b));
    from_u8s(std::array::from_fn(|at| {
        let rows = &matrix[at / 8 * 8..at / 8 * 8 + 8];
        let image = rows.iter().rev().enumerate().fold(0, |image, (i, row)| {
            image | ((vector[at] & row).count_ones() as u8 & 1) << i
        });
        image ^ constant
    }))
}

/// The same of the inverses of the bytes of `a`.
pub(super) fn gf2p8affineinvqb(a: u128, b: u128, constant: u8) -> u128 {
    let inverses = from_u8s(u8s(a).map(|byte| INVERSE[usize::from(byte)]));
    gf2p8affineqb(inverses, b, constant)
}
