//! Taking a 128-bit vector apart and putting it together again.
//!
//! Element 0 is the least significant, as everywhere in the manuals.

/// The 16 bytes.
#[inline(always)]
pub(crate) const fn u8s(v: u128) -> [u8; 16] {
    v.to_le_bytes()
}

/// The vector of these bytes.
#[inline(always)]
pub(crate) const fn from_u8s(v: [u8; 16]) -> u128 {
    u128::from_le_bytes(v)
}

/// The 8 words.
#[inline(always)]
pub(crate) fn u16s(v: u128) -> [u16; 8] {
    std::array::from_fn(|i| (v >> (16 * i)) as u16)
}

/// The vector of these words.
#[inline(always)]
pub(crate) fn from_u16s(v: [u16; 8]) -> u128 {
    let mut bytes = [0; 16];
    for (chunk, element) in bytes.chunks_exact_mut(2).zip(v) {
        chunk.copy_from_slice(&element.to_le_bytes());
    }
    u128::from_le_bytes(bytes)
}

/// The 4 doublewords.
#[inline(always)]
pub(crate) fn u32s(v: u128) -> [u32; 4] {
    std::array::from_fn(|i| (v >> (32 * i)) as u32)
}

/// The vector of these doublewords.
#[inline(always)]
pub(crate) fn from_u32s(v: [u32; 4]) -> u128 {
    let mut bytes = [0; 16];
    for (chunk, element) in bytes.chunks_exact_mut(4).zip(v) {
        chunk.copy_from_slice(&element.to_le_bytes());
    }
    u128::from_le_bytes(bytes)
}

/// The 2 quadwords.
#[inline(always)]
pub(crate) const fn u64s(v: u128) -> [u64; 2] {
    [v as u64, (v >> 64) as u64]
}

/// The vector of these quadwords.
#[inline(always)]
pub(crate) const fn from_u64s([low, high]: [u64; 2]) -> u128 {
    low as u128 | (high as u128) << 64
}

/// `vector` with its low 32 bits replaced.
#[inline(always)]
pub(crate) const fn with_low_u32(vector: u128, low: u32) -> u128 {
    vector & !0xffff_ffff | low as u128
}

/// `vector` with its low 64 bits replaced.
#[inline(always)]
pub(crate) const fn with_low_u64(vector: u128, low: u64) -> u128 {
    vector >> 64 << 64 | low as u128
}
