//! The string comparisons of SSE4.2: `PCMPESTRI`, `PCMPESTRM`, `PCMPISTRI`, `PCMPISTRM`.
//!
//! Source: SDM Vol. 1, "SSE4.2 Instruction Set", with the tables of the string instructions; Vol. 2,
//! "Imm8 Control Byte Operation for PCMPESTRI / PCMPESTRM / PCMPISTRI / PCMPISTRM".

use crate::lanes::{from_u8s, from_u16s, u8s, u16s};
use ring3_arch::rflags;

/// The outcome of a string comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StringComparison {
    /// One bit per element of `b`: what the manual calls IntRes2.
    pub matches: u16,
    /// The six status flags of RFLAGS.
    pub flags: u64,
    control: u8,
}

impl StringComparison {
    fn elements(self) -> u32 {
        if self.control & 1 == 0 { 16 } else { 8 }
    }

    /// What `PCMPESTRI` and `PCMPISTRI` put into ECX: the first match, or the last if bit 6 of the
    /// control byte is set; the number of elements if there is none.
    pub fn index(self) -> u32 {
        if self.matches == 0 {
            self.elements()
        } else if self.control & 0x40 == 0 {
            self.matches.trailing_zeros()
        } else {
            15 - self.matches.leading_zeros()
        }
    }

    /// What `PCMPESTRM` and `PCMPISTRM` put into XMM0: the matches as bits, or as elements of ones
    /// if bit 6 of the control byte is set.
    pub fn mask(self) -> u128 {
        if self.control & 0x40 == 0 {
            u128::from(self.matches)
        } else if self.elements() == 16 {
            from_u8s(std::array::from_fn(|i| {
                (self.matches >> i as u16 & 1).wrapping_neg() as u8
            }))
        } else {
            from_u16s(std::array::from_fn(|i| {
                (self.matches >> i as u16 & 1).wrapping_neg()
            }))
        }
    }
}

/// The elements of a vector as integers, by bits 1:0 of the control byte.
fn elements(v: u128, control: u8) -> ([i32; 16], usize) {
    let mut result = [0; 16];
    let count = if control & 1 == 0 {
        for (element, byte) in result.iter_mut().zip(u8s(v)) {
            *element = if control & 2 == 0 {
                byte.into()
            } else {
                (byte as i8).into()
            };
        }
        16
    } else {
        for (element, word) in result.iter_mut().zip(u16s(v)) {
            *element = if control & 2 == 0 {
                word.into()
            } else {
                (word as i16).into()
            };
        }
        8
    };
    (result, count)
}

fn compare(
    a: &[i32],
    length_a: usize,
    b: &[i32],
    length_b: usize,
    control: u8,
) -> StringComparison {
    let count = a.len();
    let matches_at = |j: usize| -> bool {
        match control >> 2 & 3 {
            // Equal any: b[j] is one of the characters of a.
            0 => j < length_b && a[..length_a].contains(&b[j]),
            // Ranges: b[j] lies within one of the pairs of a.
            1 => {
                j < length_b
                    && a[..length_a]
                        .chunks_exact(2)
                        .any(|range| range[0] <= b[j] && b[j] <= range[1])
            }
            // Equal each: the strings agree at j, or both have ended.
            2 => match (j < length_a, j < length_b) {
                (true, true) => a[j] == b[j],
                (a_valid, b_valid) => a_valid == b_valid,
            },
            // Equal ordered: a is found in b from j on, as far as the vector reaches.
            _ => (0..count - j)
                .take_while(|i| *i < length_a)
                .all(|i| i + j < length_b && a[i] == b[i + j]),
        }
    };
    let raw = (0..count).fold(0u16, |bits, j| bits | u16::from(matches_at(j)) << j);
    let all = (u32::MAX >> (32 - count)) as u16;
    let valid_b = ((1u32 << length_b) - 1) as u16;
    let matches = match control >> 4 & 3 {
        1 => raw ^ all,
        3 => raw ^ valid_b,
        _ => raw,
    };
    let mut flags = 0;
    if matches != 0 {
        flags |= rflags::CF;
    }
    if length_b < count {
        flags |= rflags::ZF;
    }
    if length_a < count {
        flags |= rflags::SF;
    }
    if matches & 1 != 0 {
        flags |= rflags::OF;
    }
    StringComparison {
        matches,
        flags,
        control,
    }
}

/// `PCMPISTRI` and `PCMPISTRM`: strings end before the first zero element.
pub fn compare_implicit(a: u128, b: u128, control: u8) -> StringComparison {
    let (a, count) = elements(a, control);
    let (b, _) = elements(b, control);
    let length = |v: &[i32; 16]| v[..count].iter().position(|x| *x == 0).unwrap_or(count);
    compare(&a[..count], length(&a), &b[..count], length(&b), control)
}

/// `PCMPESTRI` and `PCMPESTRM`: the lengths come from EAX (`a`) and EDX (`b`), or RAX and RDX with
/// REX.W, sign-extended here to 64 bits. Their absolute values count, up to the size of the vector.
pub fn compare_explicit(
    a: u128,
    length_a: i64,
    b: u128,
    length_b: i64,
    control: u8,
) -> StringComparison {
    let (a, count) = elements(a, control);
    let (b, _) = elements(b, control);
    let length = |register: i64| register.unsigned_abs().min(count as u64) as usize;
    compare(
        &a[..count],
        length(length_a),
        &b[..count],
        length(length_b),
        control,
    )
}
