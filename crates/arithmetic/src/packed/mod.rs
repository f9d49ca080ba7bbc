//! Integer vector operations of MMX, SSE to SSE4.2, and what else moves bits between vector
//! elements: shuffles of floating-point elements, AES, SHA, carry-less and Galois-field
//! multiplication.
//!
//! [`packed`] takes two XMM registers, [`packed_mmx`] two MMX registers, [`packed3`] has a third
//! operand, which legacy encodings read from XMM0. Nothing here raises an exception or depends on
//! any state. A 256-bit instruction applies the 128-bit operation to each half, except for those
//! that cross halves, which are [`wide()`]'s.

mod aes;
mod arrange;
mod galois;
mod horizontal;
mod integer;
mod operation;
mod sha;
mod simd;
mod strings;
mod wide;

pub use operation::{Packed3Op, PackedOp, packed, packed_mmx, packed3};
pub use strings::{StringComparison, compare_explicit, compare_implicit};
pub use wide::{WideOp, wide};
