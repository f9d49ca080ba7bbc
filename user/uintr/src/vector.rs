//! Vectors: which of the 64 interrupts of a receiver it is.

use core::fmt;

/// One of the 64 user-interrupt vectors of a receiver.
///
/// A higher vector is delivered before a lower one when both are pending.
///
/// ```
/// use uintr::Vector;
///
/// let vector = Vector::new(9).expect("vectors are 0 to 63");
/// assert_eq!(vector.get(), 9);
/// assert!(Vector::new(64).is_none());
/// assert!(Vector::MAX > vector);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vector(u8);

impl Vector {
    /// How many there are.
    pub const COUNT: usize = 64;
    /// Vector 0, the lowest priority.
    pub const MIN: Vector = Vector(0);
    /// Vector 63, the highest priority.
    pub const MAX: Vector = Vector(63);

    /// The vector with this number, if there is one: 0 to 63.
    pub const fn new(number: u8) -> Option<Vector> {
        if (number as usize) < Self::COUNT {
            Some(Vector(number))
        } else {
            None
        }
    }

    /// Its number, 0 to 63.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Its number, for indexing arrays of [`Vector::COUNT`] elements.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The word with only this vector's bit set, as in a UPID.
    pub const fn bit(self) -> u64 {
        1 << self.0
    }

    /// All vectors, lowest first.
    ///
    /// ```
    /// # use uintr::Vector;
    /// assert_eq!(Vector::all().count(), 64);
    /// ```
    pub fn all() -> impl DoubleEndedIterator<Item = Vector> {
        (0..Self::COUNT as u8).map(Vector)
    }
}

impl fmt::Display for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Vector> for u8 {
    fn from(vector: Vector) -> u8 {
        vector.0
    }
}

impl TryFrom<u8> for Vector {
    type Error = InvalidVector;

    fn try_from(number: u8) -> Result<Vector, InvalidVector> {
        Vector::new(number).ok_or(InvalidVector(number))
    }
}

/// There is no vector with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidVector(
    /// The number that was asked for.
    pub u8,
);

impl fmt::Display for InvalidVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no user vector {}: they are 0 to 63", self.0)
    }
}

impl core::error::Error for InvalidVector {}

/// A set of vectors, as one word: bit *n* stands for vector *n*.
///
/// Iteration is in the order of delivery, highest first.
///
/// ```
/// use uintr::{Vector, VectorSet};
///
/// let set: VectorSet = [1, 40, 7].into_iter().filter_map(Vector::new).collect();
/// let order: Vec<u8> = set.into_iter().map(Vector::get).collect();
/// assert_eq!(order, [40, 7, 1]);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct VectorSet(u64);

impl VectorSet {
    /// No vector.
    pub const EMPTY: VectorSet = VectorSet(0);

    /// The set whose vectors are the set bits of `bits`.
    pub const fn from_bits(bits: u64) -> VectorSet {
        VectorSet(bits)
    }

    /// The set as a word.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether no vector is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many vectors are in it.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether this vector is in it.
    pub const fn contains(self, vector: Vector) -> bool {
        self.0 & vector.bit() != 0
    }

    /// Puts a vector in.
    pub const fn insert(&mut self, vector: Vector) {
        self.0 |= vector.bit();
    }

    /// Takes a vector out.
    pub const fn remove(&mut self, vector: Vector) {
        self.0 &= !vector.bit();
    }

    /// The one that is delivered first.
    pub const fn highest(self) -> Option<Vector> {
        match self.0 {
            0 => None,
            bits => Some(Vector(63 - bits.leading_zeros() as u8)),
        }
    }
}

impl IntoIterator for VectorSet {
    type Item = Vector;
    type IntoIter = Vectors;

    fn into_iter(self) -> Vectors {
        Vectors(self)
    }
}

/// The vectors of a [`VectorSet`], highest first.
#[derive(Clone, Debug)]
pub struct Vectors(VectorSet);

impl Iterator for Vectors {
    type Item = Vector;

    fn next(&mut self) -> Option<Vector> {
        let highest = self.0.highest()?;
        self.0.remove(highest);
        Some(highest)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }
}

impl ExactSizeIterator for Vectors {}

impl FromIterator<Vector> for VectorSet {
    fn from_iter<I: IntoIterator<Item = Vector>>(vectors: I) -> VectorSet {
        vectors.into_iter().fold(VectorSet::EMPTY, |set, vector| {
            VectorSet(set.0 | vector.bit())
        })
    }
}

impl From<Vector> for VectorSet {
    fn from(vector: Vector) -> VectorSet {
        VectorSet(vector.bit())
    }
}

impl core::ops::BitOr for VectorSet {
    type Output = VectorSet;

    fn bitor(self, other: VectorSet) -> VectorSet {
        VectorSet(self.0 | other.0)
    }
}

impl core::ops::BitOrAssign for VectorSet {
    fn bitor_assign(&mut self, other: VectorSet) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for VectorSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.into_iter().map(Vector::get))
            .finish()
    }
}

#[cfg(all(test, not(uintr_model)))]
mod tests {
    use super::*;

    #[test]
    fn a_set_yields_every_member_once_highest_first() {
        let bits = 0x8000_0100_0000_4003;
        let members: std::vec::Vec<u8> = VectorSet::from_bits(bits)
            .into_iter()
            .map(Vector::get)
            .collect();
        assert_eq!(members, [63, 40, 14, 1, 0]);
        let again: VectorSet = members.into_iter().filter_map(Vector::new).collect();
        assert_eq!(again.bits(), bits);
    }

    #[test]
    fn numbers_above_63_are_no_vectors() {
        for number in 0..=u8::MAX {
            assert_eq!(Vector::new(number).is_some(), number < 64);
            assert_eq!(Vector::try_from(number).is_ok(), number < 64);
        }
        assert_eq!(Vector::MAX.bit(), 1 << 63);
    }
}
