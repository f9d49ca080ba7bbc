//! A set of the 256 vectors, as IRR, ISR and TMR hold one.

use serde::{Deserialize, Serialize};

/// 256 bits, one for each vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Vectors([u64; 4]);

impl Vectors {
    pub(super) const NONE: Vectors = Vectors([0; 4]);

    pub(super) fn insert(&mut self, vector: u8) {
        self.0[usize::from(vector >> 6)] |= 1 << (vector & 63);
    }

    pub(super) fn remove(&mut self, vector: u8) {
        self.0[usize::from(vector >> 6)] &= !(1 << (vector & 63));
    }

    pub(super) fn contains(&self, vector: u8) -> bool {
        self.0[usize::from(vector >> 6)] & 1 << (vector & 63) != 0
    }

    /// The vector of the highest priority, which is the greatest.
    pub(super) fn highest(&self) -> Option<u8> {
        (0..4usize).rev().find_map(|word| {
            let bits = self.0[word];
            (bits != 0).then(|| (word as u8) << 6 | (63 - bits.leading_zeros() as u8))
        })
    }

    /// The 32 vectors from `32 * part` on, as a register shows them; `part` is 0..8.
    pub(super) fn register(&self, part: usize) -> u32 {
        (self.0[part / 2] >> (32 * (part % 2))) as u32
    }
}
