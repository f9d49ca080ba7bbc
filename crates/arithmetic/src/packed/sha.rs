//! The SHA-1 and SHA-256 instructions.
//!
//! Words are named as in FIPS 180-4; the SHA-1 instructions keep the first of four in the highest
//! element. Sources: FIPS 180-4; SDM Vol. 2, "SHA1RNDS4-Perform Four Rounds of SHA1 Operation" and
//! its siblings.

use crate::lanes::{from_u32s, u32s};

/// Four rounds on A, B, C, D (`state`, A highest) with the words in `schedule`, to whose highest E has
/// been added. `function` chooses function and constant by bits 1:0.
pub(super) fn sha1rnds4(state: u128, schedule: u128, function: u8) -> u128 {
    let [mut d, mut c, mut b, mut a] = u32s(state);
    let mut words = u32s(schedule);
    words.reverse();
    let mut e = 0;
    for word in words {
        let (mixed, constant) = match function & 3 {
            0 => ((b & c) ^ (!b & d), 0x5a82_7999),
            1 => (b ^ c ^ d, 0x6ed9_eba1),
            2 => ((b & c) ^ (b & d) ^ (c & d), 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6u32),
        };
        let next = mixed
            .wrapping_add(a.rotate_left(5))
            .wrapping_add(word)
            .wrapping_add(e)
            .wrapping_add(constant);
        (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
    }
    from_u32s([d, c, b, a])
}

/// `words` with E, derived from A in the highest element of `state`, added to the highest.
pub(super) fn sha1nexte(state: u128, words: u128) -> u128 {
    let [.., a] = u32s(state);
    let [w3, w2, w1, w0] = u32s(words);
    from_u32s([w3, w2, w1, w0.wrapping_add(a.rotate_left(30))])
}

pub(super) fn sha1msg1(a: u128, b: u128) -> u128 {
    let [w3, w2, w1, w0] = u32s(a);
    let [_, _, w5, w4] = u32s(b);
    from_u32s([w5 ^ w3, w4 ^ w2, w3 ^ w1, w2 ^ w0])
}

pub(super) fn sha1msg2(a: u128, b: u128) -> u128 {
    let [x3, x2, x1, x0] = u32s(a);
    let [w15, w14, w13, _] = u32s(b);
    let w16 = (x0 ^ w13).rotate_left(1);
    let w17 = (x1 ^ w14).rotate_left(1);
    let w18 = (x2 ^ w15).rotate_left(1);
    let w19 = (x3 ^ w16).rotate_left(1);
    from_u32s([w19, w18, w17, w16])
}

/// Two rounds: C, D, G, H in `cdgh`, A, B, E, F in `abef` (the first highest), the two words with their
/// constants added in the low half of `words`. Returns the new A, B, E, F.
pub(super) fn sha256rnds2(cdgh: u128, abef: u128, words: u128) -> u128 {
    let [mut h, mut g, mut d, mut c] = u32s(cdgh);
    let [mut f, mut e, mut b, mut a] = u32s(abef);
    let [w0, w1, ..] = u32s(words);
    for word in [w0, w1] {
        let choice = (e & f) ^ (!e & g);
        let majority = (a & b) ^ (a & c) ^ (b & c);
        let sum_0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let sum_1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let first = h
            .wrapping_add(sum_1)
            .wrapping_add(choice)
            .wrapping_add(word);
        let second = sum_0.wrapping_add(majority);
        (h, g, f, e) = (g, f, e, d.wrapping_add(first));
        (d, c, b, a) = (c, b, a, first.wrapping_add(second));
    }
    from_u32s([f, e, b, a])
}

fn sigma_0(x: u32) -> u32 {
    x.rotate_right(7) ^ x.rotate_right(18) ^ x >> 3
}

fn sigma_1(x: u32) -> u32 {
    x.rotate_right(17) ^ x.rotate_right(19) ^ x >> 10
}

pub(super) fn sha256msg1(a: u128, b: u128) -> u128 {
    let [w0, w1, w2, w3] = u32s(a);
    let [w4, ..] = u32s(b);
    from_u32s([
        w0.wrapping_add(sigma_0(w1)),
        w1.wrapping_add(sigma_0(w2)),
        w2.wrapping_add(sigma_0(w3)),
        w3.wrapping_add(sigma_0(w4)),
    ])
}

pub(super) fn sha256msg2(a: u128, b: u128) -> u128 {
    let [x0, x1, x2, x3] = u32s(a);
    let [_, _, w14, w15] = u32s(b);
    let w16 = x0.wrapping_add(sigma_1(w14));
    let w17 = x1.wrapping_add(sigma_1(w15));
    let w18 = x2.wrapping_add(sigma_1(w16));
    let w19 = x3.wrapping_add(sigma_1(w17));
    from_u32s([w16, w17, w18, w19])
}
