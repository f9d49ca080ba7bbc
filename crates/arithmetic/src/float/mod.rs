//! SSE to SSE4.1 floating point: scalar and packed, single and double precision, plus the AVX
//! comparison predicates, half-precision conversions and fused multiply-add.
//!
//! Two ways in. Engines that know the instruction call its function ([`add_sd`], [`cvt_sd_to_ss`],
//! ...), which has a fast path for ordinary operands. [`float`] and [`float3`] take the operation as
//! a value. Either way the operands are bit patterns: `u32` and `u64` for scalars, `u128` for an XMM
//! register with element 0 lowest.
//!
//! Every operation that can raise an exception takes `&mut Mxcsr` and sets its sticky flags. If an
//! unmasked exception arises it returns [`SimdException`](crate::SimdException), and the destination must be left alone.
//! A NaN result is the first operand that is a NaN, quieted, else the default NaN with its sign set.
//!
//! A 256-bit instruction applies the 128-bit function to each half and joins the exceptions:
//! [`float_256`], [`Mxcsr::both_halves`](crate::Mxcsr::both_halves).

mod approximate;
mod arithmetic;
mod compare;
mod convert;
mod element;
mod fused;
mod horizontal;
mod operation;
mod quick;

pub use approximate::*;
pub use arithmetic::*;
pub(crate) use compare::flags_of;
pub use compare::*;
pub use convert::*;
pub use fused::*;
pub use horizontal::*;
pub use operation::{FloatOp, float, float_256};
