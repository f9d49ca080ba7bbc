//! Fused multiply-add (FMA3): one rounding for `±(a × b) ± c`.
//!
//! Source: SDM Vol. 2, "VFMADD132PD/VFMADD213PD/VFMADD231PD" and its siblings.

use super::element;
use super::quick::Float;
use crate::lanes::{from_u32s, from_u64s, u32s, u64s, with_low_u32, with_low_u64};
use crate::mxcsr::{Mxcsr, SimdException};
use serde::{Deserialize, Serialize};

/// What is computed of product and addend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum FusedOp {
    /// product + addend
    Fmadd,
    /// product − addend
    Fmsub,
    /// −product + addend
    Fnmadd,
    /// −product − addend
    Fnmsub,
    /// product − addend in even elements, product + addend in odd ones
    Fmaddsub,
    /// product + addend in even elements, product − addend in odd ones
    Fmsubadd,
}

impl FusedOp {
    /// All of them.
    pub const ALL: [FusedOp; 6] = [
        FusedOp::Fmadd,
        FusedOp::Fmsub,
        FusedOp::Fnmadd,
        FusedOp::Fnmsub,
        FusedOp::Fmaddsub,
        FusedOp::Fmsubadd,
    ];

    /// Whether product and addend are negated in element `index`.
    const fn signs(self, index: usize) -> (bool, bool) {
        match self {
            FusedOp::Fmadd => (false, false),
            FusedOp::Fmsub => (false, true),
            FusedOp::Fnmadd => (true, false),
            FusedOp::Fnmsub => (true, true),
            FusedOp::Fmaddsub => (false, index.is_multiple_of(2)),
            FusedOp::Fmsubadd => (false, !index.is_multiple_of(2)),
        }
    }
}

/// Which operands are multiplied, by their position in the instruction: the number in its mnemonic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum FusedOrder {
    /// first × third + second
    Order132,
    /// second × first + third
    Order213,
    /// second × third + first
    Order231,
}

/// Shape of the operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum FloatShape {
    /// One single-precision element; the rest of the first operand stays.
    Ss,
    /// One double-precision element; the rest of the first operand stays.
    Sd,
    /// Four single-precision elements.
    Ps,
    /// Two double-precision elements.
    Pd,
}

/// Factor, factor, addend of element `i`.
#[inline(always)]
fn roles<const N: usize>(order: FusedOrder, operands: &[[u64; N]; 3], i: usize) -> [u64; 3] {
    let [x, y, z] = operands.each_ref().map(|operand| operand[i]);
    match order {
        FusedOrder::Order132 => [x, z, y],
        FusedOrder::Order213 => [y, x, z],
        FusedOrder::Order231 => [y, z, x],
    }
}

/// The common case with the host's fused multiply-add, which IEEE 754 defines to the last bit: normal
/// operands and a result that nobody could call tiny, everything masked, and PE set already, so that
/// nobody asks whether the result is exact.
#[inline(always)]
fn quickly<F: Float, const N: usize>(
    op: FusedOp,
    order: FusedOrder,
    operands: &[[u64; N]; 3],
    mxcsr: &Mxcsr,
) -> Option<[u64; N]> {
    if !(mxcsr.is_ordinary() && mxcsr.is_inexact()) {
        return None;
    }
    let mut quiet = true;
    let result = std::array::from_fn(|i| {
        let [a, b, c] = roles(order, operands, i).map(F::from_raw);
        quiet &= a.is_plain() & b.is_plain() & c.is_plain();
        let (negate_product, negate_addend) = op.signs(i);
        let a = if negate_product { a.negated() } else { a };
        let c = if negate_addend { c.negated() } else { c };
        let result = a.times_plus(b, c);
        quiet &= result.is_well_above_tiny();
        result.raw()
    });
    quiet.then_some(result)
}

#[inline]
fn elements<F: Float, const N: usize>(
    op: FusedOp,
    order: FusedOrder,
    operands: [[u64; N]; 3],
    mxcsr: &mut Mxcsr,
) -> Result<[u64; N], SimdException> {
    if let Some(result) = quickly::<F, N>(op, order, &operands, mxcsr) {
        return Ok(result);
    }
    let environment = mxcsr.environment();
    let mut flags = 0;
    let result = std::array::from_fn(|i| {
        let roles = roles(order, &operands, i);
        let (negate_product, negate_addend) = op.signs(i);
        let element = element::fused_multiply_add(
            F::FORMAT,
            roles,
            negate_product,
            negate_addend,
            environment,
        );
        flags |= element.flags;
        element.bits
    });
    mxcsr.signal(flags)?;
    Ok(result)
}

/// A fused multiply-add; the operands in the order of the instruction, the first being the
/// destination.
///
/// # Errors
/// An unmasked exception is due.
pub fn float3(
    op: FusedOp,
    order: FusedOrder,
    shape: FloatShape,
    operands: [u128; 3],
    mxcsr: &mut Mxcsr,
) -> Result<u128, SimdException> {
    match shape {
        FloatShape::Ss => {
            let low = operands.map(|v| [u64::from(v as u32)]);
            let [result] = elements::<f32, _>(op, order, low, mxcsr)?;
            Ok(with_low_u32(operands[0], result as u32))
        }
        FloatShape::Sd => {
            let low = operands.map(|v| [v as u64]);
            let [result] = elements::<f64, _>(op, order, low, mxcsr)?;
            Ok(with_low_u64(operands[0], result))
        }
        FloatShape::Ps => {
            let all = operands.map(|v| u32s(v).map(u64::from));
            let result = elements::<f32, _>(op, order, all, mxcsr)?;
            Ok(from_u32s(result.map(|bits| bits as u32)))
        }
        FloatShape::Pd => elements::<f64, _>(op, order, operands.map(u64s), mxcsr).map(from_u64s),
    }
}
