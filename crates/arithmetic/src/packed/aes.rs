//! The AES instructions.
//!
//! Byte `i` of a vector is row `i mod 4`, column `i div 4` of the cipher's state.
//! Sources: FIPS 197; SDM Vol. 2, "AESENC-Perform One Round of an AES Encryption Flow" and its
//! siblings. Not constant-time: a simulated machine has no secrets from its own host.

use super::galois::{INVERSE, multiply};
use crate::lanes::{from_u8s, from_u32s, u8s, u32s};

const SUBSTITUTION: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let x = INVERSE[i];
        table[i] =
            x ^ x.rotate_left(1) ^ x.rotate_left(2) ^ x.rotate_left(3) ^ x.rotate_left(4) ^ 0x63;
        i += 1;
    }
    table
};

const INVERSE_SUBSTITUTION: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[SUBSTITUTION[i] as usize] = i as u8;
        i += 1;
    }
    table
};

/// One column of a product with a circulant matrix: entry `k` of each table column belongs to a byte
/// in row 0, and is rotated for the others.
const fn column_table(coefficients: [u8; 4]) -> [u32; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let byte = i as u8;
        table[i] = u32::from_le_bytes([
            multiply(byte, coefficients[0]),
            multiply(byte, coefficients[1]),
            multiply(byte, coefficients[2]),
            multiply(byte, coefficients[3]),
        ]);
        i += 1;
    }
    table
}

static MIX: [u32; 256] = column_table([2, 1, 1, 3]);
static INVERSE_MIX: [u32; 256] = column_table([14, 9, 13, 11]);

fn mix_columns(state: u128, table: &[u32; 256]) -> u128 {
    from_u32s(u32s(state).map(|column| {
        let [a, b, c, d] = column.to_le_bytes().map(|byte| table[usize::from(byte)]);
        a ^ b.rotate_left(8) ^ c.rotate_left(16) ^ d.rotate_left(24)
    }))
}

/// Row `r` rotated by `r` columns, and every byte substituted.
fn shift_and_substitute(state: u128) -> u128 {
    let state = u8s(state);
    from_u8s(std::array::from_fn(|i| {
        SUBSTITUTION[usize::from(state[(i + 4 * (i % 4)) % 16])]
    }))
}

fn inverse_shift_and_substitute(state: u128) -> u128 {
    let state = u8s(state);
    from_u8s(std::array::from_fn(|i| {
        INVERSE_SUBSTITUTION[usize::from(state[(i + 12 * (i % 4)) % 16])]
    }))
}

pub(super) fn aesenc(state: u128, key: u128) -> u128 {
    mix_columns(shift_and_substitute(state), &MIX) ^ key
}

pub(super) fn aesenclast(state: u128, key: u128) -> u128 {
    shift_and_substitute(state) ^ key
}

pub(super) fn aesdec(state: u128, key: u128) -> u128 {
    mix_columns(inverse_shift_and_substitute(state), &INVERSE_MIX) ^ key
}

pub(super) fn aesdeclast(state: u128, key: u128) -> u128 {
    inverse_shift_and_substitute(state) ^ key
}

/// A round key of the equivalent inverse cipher.
pub(super) fn aesimc(key: u128) -> u128 {
    mix_columns(key, &INVERSE_MIX)
}

pub(super) fn aeskeygenassist(source: u128, round_constant: u8) -> u128 {
    let [_, x1, _, x3] = u32s(source);
    let substitute = |word: u32| {
        u32::from_le_bytes(
            word.to_le_bytes()
                .map(|byte| SUBSTITUTION[usize::from(byte)]),
        )
    };
    let rotated = |word: u32| word.rotate_right(8) ^ u32::from(round_constant);
    let (x1, x3) = (substitute(x1), substitute(x3));
    from_u32s([x1, rotated(x1), x3, rotated(x3)])
}
