//! The VEX encodings of vectors: AVX, AVX2, FMA, F16C, and AES, PCLMULQDQ and GFNI in their VEX forms.
//! SDM Vol. 2, "AVX and SSE Instruction Exception Classification" and the pages of the mnemonics.
//!
//! What differs from legacy encodings: there are two or three sources besides the destination; the
//! upper half of the destination becomes zero (VEX.128) or is part of the result (VEX.256); memory
//! operands may stand anywhere, except those of the aligned moves; and the registers can be used if
//! XCR0 says so. What is the same in both halves of a 256-bit register is lifted to micro-ops that name
//! the 128-bit operation; the table of operations is that of the legacy encodings.
//!
//! The decoder refuses what is #UD whatever the mode: prefixes 66, F2, F3, LOCK and REX before VEX, a
//! VEX.vvvv that names a register where there is none, a VEX.L or VEX.W without meaning, and gathers
//! whose registers are not three different ones.

use super::{
    RESULT, SOURCE, Sources, conversion, extraction, float_immediate, float_operation, float_uop,
    has_memory, immediate, insertion, lift_string_comparison, masked_store, memory,
    packed_immediate, packed_operation, source, store, three_source_operation, to_general, vector,
    xmm,
};
use crate::lift::builder::address_size;
use crate::lift::{Builder, Memory, Size};
use crate::uop::{Op, Uop, v};
use crate::{Reg, VReg};
use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use ring3_arithmetic::float::{FloatOp, FloatShape, FusedOp, FusedOrder};
use ring3_arithmetic::packed::{PackedOp, WideOp};

pub(super) fn lift(b: &mut Builder, i: &Instruction) -> bool {
    let family = if let Some((op, sources)) = packed_operation(i.mnemonic()) {
        Family::Packed(op, sources)
    } else if let Some((op, sources)) = float_operation(i.mnemonic()) {
        Family::Float(op, sources)
    } else if let Some(fused) = fused_operation(i.mnemonic()) {
        Family::Fused(fused)
    } else if let Some(op) = conversion(i) {
        Family::Conversion(op)
    } else if is_other(i.mnemonic()) {
        Family::Other
    } else {
        return false;
    };
    if !b.avx_usable() {
        return true;
    }
    match family {
        Family::Packed(op, sources) => lift_packed(b, i, op, sources),
        Family::Float(op, sources) => lift_float(b, i, op, sources),
        Family::Fused(fused) => lift_fused(b, i, fused),
        Family::Conversion(op) => lift_conversion(b, i, op),
        Family::Other => lift_other(b, i),
    }
    true
}

enum Family {
    Packed(PackedOp, Sources),
    Float(FloatOp, Sources),
    Fused((FusedOp, FusedOrder, FloatShape)),
    Conversion(FloatOp),
    Other,
}

// --- operands ----------------------------------------------------------------------------------

/// Whether the operation has 256 bits.
fn is_256(i: &Instruction) -> bool {
    i.op0_register().is_ymm() || i.op1_register().is_ymm()
}

/// Whether the destination is wider than the source.
fn widens(i: &Instruction) -> bool {
    let memory = i.memory_size().size();
    i.op0_register().is_ymm()
        && match i.op1_kind() {
            OpKind::Memory => memory < 32,
            _ => i.op1_register().is_xmm(),
        }
}

/// The operation of VEX.128 or VEX.256.
fn sized(i: &Instruction, narrow: Op, wide: Op) -> Op {
    if is_256(i) { wide } else { narrow }
}

/// Adds the immediate of the high half.
fn with_high(imm: i64, high: u8) -> i64 {
    imm | i64::from(high) << 8
}

/// Loads the memory operand into the destination, zero-extended to the whole register.
fn load_register(b: &mut Builder, i: &Instruction, dst: VReg) {
    let op = match i.memory_size().size() {
        4 => Op::VLoad32Z,
        8 => Op::VLoad64Z,
        32 => Op::VLoad256,
        _ => Op::VLoad128Z,
    };
    let memory = memory(b, i, false);
    b.push(memory.uop(op, v(dst)));
}

fn wide_uop(i: &Instruction, op: WideOp, dst: VReg, a: VReg, second: VReg, immediate: u8) -> Uop {
    let operation = sized(i, Op::VWideZ, Op::VWideY);
    let imm = i64::from(immediate) | (op as i64) << 16;
    vector(operation, dst, a, second, imm)
}

// --- packed operations -----------------------------------------------------------------------------

/// The micro-op of its own that a 256-bit operation has, if it is frequent.
fn direct_256(op: PackedOp) -> Option<Op> {
    Some(match op {
        PackedOp::Pand => Op::VAndY,
        PackedOp::Pandn => Op::VAndNotY,
        PackedOp::Por => Op::VOrY,
        PackedOp::Pxor => Op::VXorY,
        PackedOp::Paddb => Op::VPaddbY,
        PackedOp::Paddd => Op::VPadddY,
        PackedOp::Paddq => Op::VPaddqY,
        PackedOp::Psubb => Op::VPsubbY,
        PackedOp::Pcmpeqb => Op::VPcmpeqbY,
        PackedOp::Pminub => Op::VPminubY,
        PackedOp::Pshufb => Op::VPshufbY,
        _ => return None,
    })
}

/// The same of a 128-bit one.
fn direct_128(op: PackedOp) -> Option<Op> {
    Some(match op {
        PackedOp::Pand => Op::VAndZ,
        PackedOp::Pandn => Op::VAndNotZ,
        PackedOp::Por => Op::VOrZ,
        PackedOp::Pxor => Op::VXorZ,
        _ => return None,
    })
}

/// The immediate for the high half of a 256-bit operation.
fn high_immediate(i: &Instruction, op: PackedOp) -> u8 {
    let immediate = immediate(i);
    match op {
        PackedOp::Shufpd | PackedOp::Blendpd => immediate >> 2,
        PackedOp::Blendps => immediate >> 4,
        PackedOp::Mpsadbw => immediate >> 3,
        _ => immediate,
    }
}

fn packed_uop(
    i: &Instruction,
    op: PackedOp,
    dst: VReg,
    first: VReg,
    second: VReg,
    (low, high): (u8, u8),
) -> Uop {
    let direct = if is_256(i) {
        direct_256(op)
    } else {
        direct_128(op)
    };
    if let Some(direct) = direct {
        return vector(direct, dst, first, second, 0);
    }
    let imm = with_high(packed_immediate(op, low), high);
    vector(
        sized(i, Op::VPackedZ, Op::VPackedY),
        dst,
        first,
        second,
        imm,
    )
}

fn is_shift_by_count(op: PackedOp) -> bool {
    use PackedOp::*;
    matches!(
        op,
        Psllw | Pslld | Psllq | Psrlw | Psrld | Psrlq | Psraw | Psrad
    )
}

/// By how many bits the source of the high half lies above that of the low one.
fn widening(op: PackedOp) -> Option<u8> {
    use PackedOp::*;
    Some(match op {
        Pmovsxbw | Pmovsxwd | Pmovsxdq | Pmovzxbw | Pmovzxwd | Pmovzxdq => 64,
        Pmovsxbd | Pmovsxwq | Pmovzxbd | Pmovzxwq => 32,
        Pmovsxbq | Pmovzxbq => 16,
        _ => return None,
    })
}

fn lift_packed(b: &mut Builder, i: &Instruction, op: PackedOp, sources: Sources) {
    let dst = xmm(i.op0_register());
    if let Some(shift) = widening(op)
        && widens(i)
    {
        let second = source(b, i, 1);
        let imm = with_high(packed_immediate(op, 0), shift);
        return b.push(vector(Op::VPackedWidenY, dst, second, second, imm));
    }
    if sources == Sources::Second {
        let second = source(b, i, 1);
        let immediates = (immediate(i), high_immediate(i, op));
        return b.push(packed_uop(i, op, dst, second, second, immediates));
    }
    let first = xmm(i.op1_register());
    if op == PackedOp::Pxor && i.op1_register() == i.op2_register() {
        return b.push(vector(Op::VImmZ, dst, dst, dst, 0));
    }
    if is_shift_by_count(op) {
        let count = if i.op2_kind() == OpKind::Immediate8 {
            super::constant(b, super::COUNT, i.immediate8().into());
            super::COUNT
        } else {
            source(b, i, 2)
        };
        let imm = packed_immediate(op, 0);
        let operation = sized(i, Op::VPackedZ, Op::VPackedCountY);
        return b.push(vector(operation, dst, first, count, imm));
    }
    let second = if i.op2_kind() == OpKind::Immediate8 {
        first
    } else {
        source(b, i, 2)
    };
    let immediates = (immediate(i), high_immediate(i, op));
    b.push(packed_uop(i, op, dst, first, second, immediates));
}

// --- floating point --------------------------------------------------------------------------------

fn direct_float(op: FloatOp, wide: bool) -> Option<Op> {
    use FloatOp::*;
    Some(match (op, wide) {
        (Addss, false) => Op::VAddssZ,
        (Addsd, false) => Op::VAddsdZ,
        (Subss, false) => Op::VSubssZ,
        (Subsd, false) => Op::VSubsdZ,
        (Mulss, false) => Op::VMulssZ,
        (Mulsd, false) => Op::VMulsdZ,
        (Divss, false) => Op::VDivssZ,
        (Divsd, false) => Op::VDivsdZ,
        (Addps, true) => Op::VAddpsY,
        (Addpd, true) => Op::VAddpdY,
        (Subps, true) => Op::VSubpsY,
        (Subpd, true) => Op::VSubpdY,
        (Mulps, true) => Op::VMulpsY,
        (Mulpd, true) => Op::VMulpdY,
        (Divps, true) => Op::VDivpsY,
        (Divpd, true) => Op::VDivpdY,
        _ => return None,
    })
}

fn lift_float(b: &mut Builder, i: &Instruction, op: FloatOp, sources: Sources) {
    use FloatOp::*;
    let control = match op {
        // Thirty-two predicates.
        Cmpss | Cmpsd | Cmpps | Cmppd => immediate(i) & 0x1f,
        _ => immediate(i),
    };
    let imm = with_high(float_immediate(op, control), control);
    if op == Vcvtps2ph {
        return lift_to_half_precision(b, i, imm);
    }
    let dst = xmm(i.op0_register());
    if sources == Sources::Second {
        let second = source(b, i, 1);
        let narrows = matches!(op, Cvtpd2ps | Cvtpd2dq | Cvttpd2dq);
        let wide_source = match i.op1_kind() {
            OpKind::Memory => i.memory_size().size() == 32,
            _ => i.op1_register().is_ymm(),
        };
        let (operation, imm) = if narrows && wide_source {
            (Op::VFloatNarrowY, imm)
        } else if widens(i) {
            (Op::VFloatWidenY, with_high(float_immediate(op, 0), 64))
        } else if i.op0_register().is_ymm() {
            (Op::VFloatY, imm)
        } else {
            (Op::VFloatZ, imm)
        };
        return b.push(vector(operation, dst, second, second, imm));
    }
    let first = xmm(i.op1_register());
    let second = source(b, i, 2);
    b.push(match direct_float(op, is_256(i)) {
        Some(direct) => vector(direct, dst, first, second, 0),
        None => vector(sized(i, Op::VFloatZ, Op::VFloatY), dst, first, second, imm),
    });
}

/// VCVTPS2PH, whose destination may be memory.
fn lift_to_half_precision(b: &mut Builder, i: &Instruction, imm: i64) {
    let value = xmm(i.op1_register());
    let operation = sized(i, Op::VFloatZ, Op::VFloatNarrowY);
    if i.op0_kind() != OpKind::Memory {
        let dst = xmm(i.op0_register());
        return b.push(vector(operation, dst, value, value, imm));
    }
    // MXCSR changes only if the store does not fault.
    let memory = memory(b, i, true);
    b.push(Uop {
        y: i.memory_size().size() as u8,
        ..memory.uop(Op::CheckWrite, Reg::Zero)
    });
    b.push(vector(operation, RESULT, value, value, imm));
    let proven = Memory {
        x: memory.x | Uop::PROVEN,
        ..memory
    };
    let op = if is_256(i) {
        Op::VStore128
    } else {
        Op::VStore64
    };
    b.push(proven.uop(op, v(RESULT)));
}

fn fused_operation(mnemonic: Mnemonic) -> Option<(FusedOp, FusedOrder, FloatShape)> {
    use FloatShape::{Pd, Ps, Sd, Ss};
    use FusedOp::{Fmadd, Fmaddsub, Fmsub, Fmsubadd, Fnmadd, Fnmsub};
    use FusedOrder::{Order132, Order213, Order231};
    use Mnemonic as M;
    Some(match mnemonic {
        M::Vfmadd132ss => (Fmadd, Order132, Ss),
        M::Vfmadd213ss => (Fmadd, Order213, Ss),
        M::Vfmadd231ss => (Fmadd, Order231, Ss),
        M::Vfmadd132sd => (Fmadd, Order132, Sd),
        M::Vfmadd213sd => (Fmadd, Order213, Sd),
        M::Vfmadd231sd => (Fmadd, Order231, Sd),
        M::Vfmadd132ps => (Fmadd, Order132, Ps),
        M::Vfmadd213ps => (Fmadd, Order213, Ps),
        M::Vfmadd231ps => (Fmadd, Order231, Ps),
        M::Vfmadd132pd => (Fmadd, Order132, Pd),
        M::Vfmadd213pd => (Fmadd, Order213, Pd),
        M::Vfmadd231pd => (Fmadd, Order231, Pd),
        M::Vfmsub132ss => (Fmsub, Order132, Ss),
        M::Vfmsub213ss => (Fmsub, Order213, Ss),
        M::Vfmsub231ss => (Fmsub, Order231, Ss),
        M::Vfmsub132sd => (Fmsub, Order132, Sd),
        M::Vfmsub213sd => (Fmsub, Order213, Sd),
        M::Vfmsub231sd => (Fmsub, Order231, Sd),
        M::Vfmsub132ps => (Fmsub, Order132, Ps),
        M::Vfmsub213ps => (Fmsub, Order213, Ps),
        M::Vfmsub231ps => (Fmsub, Order231, Ps),
        M::Vfmsub132pd => (Fmsub, Order132, Pd),
        M::Vfmsub213pd => (Fmsub, Order213, Pd),
        M::Vfmsub231pd => (Fmsub, Order231, Pd),
        M::Vfnmadd132ss => (Fnmadd, Order132, Ss),
        M::Vfnmadd213ss => (Fnmadd, Order213, Ss),
        M::Vfnmadd231ss => (Fnmadd, Order231, Ss),
        M::Vfnmadd132sd => (Fnmadd, Order132, Sd),
        M::Vfnmadd213sd => (Fnmadd, Order213, Sd),
        M::Vfnmadd231sd => (Fnmadd, Order231, Sd),
        M::Vfnmadd132ps => (Fnmadd, Order132, Ps),
        M::Vfnmadd213ps => (Fnmadd, Order213, Ps),
        M::Vfnmadd231ps => (Fnmadd, Order231, Ps),
        M::Vfnmadd132pd => (Fnmadd, Order132, Pd),
        M::Vfnmadd213pd => (Fnmadd, Order213, Pd),
        M::Vfnmadd231pd => (Fnmadd, Order231, Pd),
        M::Vfnmsub132ss => (Fnmsub, Order132, Ss),
        M::Vfnmsub213ss => (Fnmsub, Order213, Ss),
        M::Vfnmsub231ss => (Fnmsub, Order231, Ss),
        M::Vfnmsub132sd => (Fnmsub, Order132, Sd),
        M::Vfnmsub213sd => (Fnmsub, Order213, Sd),
        M::Vfnmsub231sd => (Fnmsub, Order231, Sd),
        M::Vfnmsub132ps => (Fnmsub, Order132, Ps),
        M::Vfnmsub213ps => (Fnmsub, Order213, Ps),
        M::Vfnmsub231ps => (Fnmsub, Order231, Ps),
        M::Vfnmsub132pd => (Fnmsub, Order132, Pd),
        M::Vfnmsub213pd => (Fnmsub, Order213, Pd),
        M::Vfnmsub231pd => (Fnmsub, Order231, Pd),
        M::Vfmaddsub132ps => (Fmaddsub, Order132, Ps),
        M::Vfmaddsub213ps => (Fmaddsub, Order213, Ps),
        M::Vfmaddsub231ps => (Fmaddsub, Order231, Ps),
        M::Vfmaddsub132pd => (Fmaddsub, Order132, Pd),
        M::Vfmaddsub213pd => (Fmaddsub, Order213, Pd),
        M::Vfmaddsub231pd => (Fmaddsub, Order231, Pd),
        M::Vfmsubadd132ps => (Fmsubadd, Order132, Ps),
        M::Vfmsubadd213ps => (Fmsubadd, Order213, Ps),
        M::Vfmsubadd231ps => (Fmsubadd, Order231, Ps),
        M::Vfmsubadd132pd => (Fmsubadd, Order132, Pd),
        M::Vfmsubadd213pd => (Fmsubadd, Order213, Pd),
        M::Vfmsubadd231pd => (Fmsubadd, Order231, Pd),
        _ => return None,
    })
}

fn lift_fused(
    b: &mut Builder,
    i: &Instruction,
    (op, order, shape): (FusedOp, FusedOrder, FloatShape),
) {
    let dst = xmm(i.op0_register());
    let third = source(b, i, 2);
    let imm = op as i64 | (order as i64) << 8 | (shape as i64) << 16;
    b.push(Uop {
        c: v(third),
        ..vector(
            sized(i, Op::VFusedZ, Op::VFusedY),
            dst,
            dst,
            xmm(i.op1_register()),
            imm,
        )
    });
}

/// Comparisons into flags, and conversions from and to general registers.
fn lift_conversion(b: &mut Builder, i: &Instruction, op: FloatOp) {
    use Mnemonic::*;
    match i.mnemonic() {
        Vcvtsi2ss | Vcvtsi2sd => {
            let value = b.read(i, 2, Reg::T0);
            b.push(Uop {
                dst: v(xmm(i.op0_register())),
                a: v(xmm(i.op1_register())),
                b: value,
                imm: float_immediate(op, 0),
                ..Uop::new(Op::VFloatFromGprZ)
            });
        }
        Vcomiss | Vcomisd | Vucomiss | Vucomisd => {
            let second = source(b, i, 1);
            b.push(Uop {
                a: v(xmm(i.op0_register())),
                b: v(second),
                ..float_uop(Op::VFloatFlags, op, 0)
            });
        }
        _ => {
            let value = source(b, i, 1);
            b.push(Uop {
                dst: Builder::gpr(i.op0_register()),
                a: v(value),
                ..float_uop(Op::VFloatToGpr, op, 0)
            });
        }
    }
}

// --- the rest --------------------------------------------------------------------------------------

fn is_other(mnemonic: Mnemonic) -> bool {
    use Mnemonic::*;
    three_source_operation(mnemonic).is_some()
        || insertion(mnemonic).is_some()
        || extraction(mnemonic).is_some()
        || broadcast(mnemonic).is_some()
        || gather(mnemonic).is_some()
        || is_whole_move(mnemonic)
        || matches!(
            mnemonic,
            Vmovss
                | Vmovsd
                | Vmovd
                | Vmovq
                | Vmovlps
                | Vmovlpd
                | Vmovhps
                | Vmovhpd
                | Vmovlhps
                | Vmovhlps
                | Vinsertps
                | Vptest
                | Vtestps
                | Vtestpd
                | Vpermilps
                | Vpermilpd
                | Vinsertf128
                | Vinserti128
                | Vextractf128
                | Vextracti128
                | Vperm2f128
                | Vperm2i128
                | Vpermd
                | Vpermps
                | Vpermq
                | Vpermpd
                | Vmaskmovps
                | Vmaskmovpd
                | Vpmaskmovd
                | Vpmaskmovq
                | Vmaskmovdqu
                | Vpcmpestri
                | Vpcmpestri64
                | Vpcmpestrm
                | Vpcmpestrm64
                | Vpcmpistri
                | Vpcmpistrm
                | Vldmxcsr
                | Vstmxcsr
                | Vzeroupper
                | Vzeroall
        )
}

fn is_whole_move(mnemonic: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(
        mnemonic,
        Vmovaps
            | Vmovapd
            | Vmovups
            | Vmovupd
            | Vmovdqa
            | Vmovdqu
            | Vlddqu
            | Vmovntps
            | Vmovntpd
            | Vmovntdq
            | Vmovntdqa
    )
}

fn lift_other(b: &mut Builder, i: &Instruction) {
    use Mnemonic::*;
    let mnemonic = i.mnemonic();
    if is_whole_move(mnemonic) {
        return lift_whole_move(b, i);
    }
    if let Some(op) = three_source_operation(mnemonic) {
        let second = source(b, i, 2);
        let first = xmm(i.op1_register());
        let operation = sized(i, Op::VPacked3Z, Op::VPacked3Y);
        return b.push(Uop {
            c: v(xmm(i.op3_register())),
            ..vector(
                operation,
                xmm(i.op0_register()),
                first,
                second,
                (op as i64) << 16,
            )
        });
    }
    if let Some(op) = insertion(mnemonic) {
        let value = b.read(i, 2, Reg::T0);
        return b.push(Uop {
            dst: v(xmm(i.op0_register())),
            a: v(xmm(i.op1_register())),
            b: value,
            imm: packed_immediate(op, immediate(i)),
            ..Uop::new(Op::VInsertZ)
        });
    }
    if let Some(op) = extraction(mnemonic) {
        return lift_extraction(b, i, op);
    }
    if let Some(op) = broadcast(mnemonic) {
        return lift_broadcast(b, i, op);
    }
    if let Some((wide_index, wide_element)) = gather(mnemonic) {
        return lift_gather(b, i, wide_index, wide_element);
    }
    match mnemonic {
        Vptest => lift_test(b, i, PackedOp::Ptest),
        Vtestps => lift_test(b, i, PackedOp::Testps),
        Vtestpd => lift_test(b, i, PackedOp::Testpd),
        Vpermilps => lift_permute_in_half(b, i, PackedOp::Shufps, PackedOp::Permilps, 0),
        Vpermilpd => lift_permute_in_half(b, i, PackedOp::Shufpd, PackedOp::Permilpd, 2),
        Vinsertf128 | Vinserti128 => lift_wide(b, i, WideOp::InsertHalf),
        Vperm2f128 | Vperm2i128 => lift_wide(b, i, WideOp::Permute2Halves),
        Vpermd | Vpermps => lift_wide(b, i, WideOp::PermuteDoublewords),
        Vpermq | Vpermpd => {
            let second = source(b, i, 1);
            let dst = xmm(i.op0_register());
            let op = WideOp::PermuteQuadwords;
            b.push(wide_uop(i, op, dst, second, second, immediate(i)));
        }
        Vextractf128 | Vextracti128 => lift_extract_half(b, i),
        Vmaskmovps | Vpmaskmovd => lift_masked_move(b, i, 4),
        Vmaskmovpd | Vpmaskmovq => lift_masked_move(b, i, 8),
        Vmaskmovdqu => {
            let (value, mask) = (xmm(i.op1_register()), xmm(i.op2_register()));
            masked_store(b, i, value, mask, 16);
        }
        Vpcmpestri | Vpcmpestri64 | Vpcmpistri => lift_string_comparison(b, i),
        Vpcmpestrm | Vpcmpestrm64 | Vpcmpistrm => {
            lift_string_comparison(b, i);
            b.push(vector(Op::VMovZ, VReg::X0, VReg::X0, VReg::X0, 0));
        }
        Vldmxcsr | Vstmxcsr => super::lift_mxcsr(b, i),
        Vzeroupper => b.push(Uop::new(Op::VZeroUpper)),
        Vzeroall => b.push(Uop::new(Op::VZeroAll)),
        _ => lift_part_move(b, i),
    }
}

/// Moves of a whole XMM or YMM register.
fn lift_whole_move(b: &mut Builder, i: &Instruction) {
    if i.op0_kind() == OpKind::Memory {
        store(b, i, xmm(i.op1_register()));
    } else if i.op1_kind() == OpKind::Memory {
        load_register(b, i, xmm(i.op0_register()));
    } else {
        let (dst, value) = (xmm(i.op0_register()), xmm(i.op1_register()));
        b.push(vector(sized(i, Op::VMovZ, Op::VMovY), dst, value, value, 0));
    }
}

/// Moves of a part of an XMM register.
fn lift_part_move(b: &mut Builder, i: &Instruction) {
    use Mnemonic::*;
    let (to, from) = (i.op0_register(), i.op1_register());
    let two_sources = |op: PackedOp, second: VReg| {
        let imm = packed_immediate(op, immediate(i));
        vector(Op::VPackedZ, xmm(to), xmm(from), second, imm)
    };
    match i.mnemonic() {
        Vmovss | Vmovsd | Vmovd | Vmovq if i.op1_kind() == OpKind::Memory => {
            load_register(b, i, xmm(to));
        }
        Vmovss | Vmovsd | Vmovd | Vmovq | Vmovlps | Vmovlpd if i.op0_kind() == OpKind::Memory => {
            store(b, i, xmm(from));
        }
        Vmovhps | Vmovhpd if i.op0_kind() == OpKind::Memory => {
            let memory = memory(b, i, true);
            b.push(memory.uop(Op::VStoreHigh, v(xmm(from))));
        }
        Vmovd | Vmovq => {
            if to.is_xmm() && from.is_xmm() {
                b.push(vector(Op::VZx64Z, xmm(to), xmm(from), xmm(from), 0));
            } else if to.is_xmm() {
                let op = if from.size() == 8 {
                    Op::VFromGpr64Z
                } else {
                    Op::VFromGpr32Z
                };
                b.push(Uop {
                    dst: v(xmm(to)),
                    a: Builder::gpr(from),
                    ..Uop::new(op)
                });
            } else {
                b.push(to_general(to, xmm(from)));
            }
        }
        Vmovss => b.push(two_sources(PackedOp::Movss, xmm(i.op2_register()))),
        Vmovsd | Vmovlps | Vmovlpd => {
            let second = source(b, i, 2);
            b.push(two_sources(PackedOp::Movsd, second));
        }
        Vmovhps | Vmovhpd | Vmovlhps => {
            let second = source(b, i, 2);
            b.push(two_sources(PackedOp::Punpcklqdq, second));
        }
        Vmovhlps => b.push(two_sources(PackedOp::Movhlps, xmm(i.op2_register()))),
        _ => {
            // VINSERTPS: a doubleword from memory is the only one there is to choose from.
            let control = immediate(i) & if has_memory(i) { 0x3f } else { 0xff };
            let second = source(b, i, 2);
            let imm = packed_immediate(PackedOp::Insertps, control);
            b.push(vector(Op::VPackedZ, xmm(to), xmm(from), second, imm));
        }
    }
}

fn lift_extraction(b: &mut Builder, i: &Instruction, (op, size): (PackedOp, Size)) {
    let value = xmm(i.op1_register());
    let dst = if i.op0_kind() == OpKind::Memory {
        Reg::T0
    } else {
        Builder::gpr(i.op0_register())
    };
    let imm = packed_immediate(op, immediate(i));
    let (operation, imm) = match op {
        PackedOp::Pmovmskb if is_256(i) => (Op::VPmovmskbY, 0),
        PackedOp::Movmskps if is_256(i) => (Op::VPackedToGprY, with_high(imm, 4)),
        PackedOp::Movmskpd if is_256(i) => (Op::VPackedToGprY, with_high(imm, 2)),
        PackedOp::Pmovmskb => (Op::VPmovmskb, 0),
        _ => (Op::VPackedToGpr, imm),
    };
    b.push(Uop {
        dst,
        a: v(value),
        b: v(value),
        imm,
        ..Uop::new(operation)
    });
    if i.op0_kind() == OpKind::Memory {
        let memory = b.memory(i, size.bytes().into(), true);
        b.store(size, Reg::T0, memory);
    }
}

fn lift_test(b: &mut Builder, i: &Instruction, op: PackedOp) {
    let second = source(b, i, 1);
    let first = xmm(i.op0_register());
    let operation = sized(i, Op::VPackedFlags, Op::VPackedFlagsY);
    b.push(Uop {
        dst: Reg::Zero,
        ..vector(operation, first, first, second, packed_immediate(op, 0))
    });
}

/// VPERMILPS and VPERMILPD, by an immediate (whose bits from `high_shift` on are the high half's) or by
/// a register.
fn lift_permute_in_half(
    b: &mut Builder,
    i: &Instruction,
    by_immediate: PackedOp,
    by_register: PackedOp,
    high_shift: u32,
) {
    let dst = xmm(i.op0_register());
    if i.op2_kind() == OpKind::Immediate8 {
        let value = source(b, i, 1);
        let immediates = (immediate(i), immediate(i) >> high_shift);
        b.push(packed_uop(i, by_immediate, dst, value, value, immediates));
    } else {
        let second = source(b, i, 2);
        let first = xmm(i.op1_register());
        b.push(packed_uop(i, by_register, dst, first, second, (0, 0)));
    }
}

fn lift_wide(b: &mut Builder, i: &Instruction, op: WideOp) {
    let second = source(b, i, 2);
    let (dst, first) = (xmm(i.op0_register()), xmm(i.op1_register()));
    b.push(wide_uop(i, op, dst, first, second, immediate(i)));
}

fn lift_extract_half(b: &mut Builder, i: &Instruction) {
    let value = xmm(i.op1_register());
    let imm = i64::from(immediate(i)) | (WideOp::ExtractHalf as i64) << 16;
    let extract = |dst: VReg| vector(Op::VWideZ, dst, value, value, imm);
    if i.op0_kind() != OpKind::Memory {
        return b.push(extract(xmm(i.op0_register())));
    }
    let stored = if immediate(i) & 1 == 0 {
        value
    } else {
        b.push(extract(RESULT));
        RESULT
    };
    store(b, i, stored);
}

fn broadcast(mnemonic: Mnemonic) -> Option<WideOp> {
    use Mnemonic::*;
    Some(match mnemonic {
        Vpbroadcastb => WideOp::BroadcastByte,
        Vpbroadcastw => WideOp::BroadcastWord,
        Vpbroadcastd | Vbroadcastss => WideOp::BroadcastDoubleword,
        Vpbroadcastq | Vbroadcastsd => WideOp::BroadcastQuadword,
        Vbroadcastf128 | Vbroadcasti128 => WideOp::BroadcastHalf,
        _ => return None,
    })
}

fn lift_broadcast(b: &mut Builder, i: &Instruction, op: WideOp) {
    let value = if has_memory(i) && op == WideOp::BroadcastByte {
        let memory = b.memory(i, 1, false);
        b.load(Size::B1, Reg::T0, memory);
        b.push(Uop {
            dst: v(SOURCE),
            a: Reg::T0,
            ..Uop::new(Op::VFromGpr32)
        });
        SOURCE
    } else {
        source(b, i, 1)
    };
    b.push(wide_uop(i, op, xmm(i.op0_register()), value, value, 0));
}

/// The address of what a masked move or a gather accesses element by element: `a + c + imm`, where
/// `c` is a segment base. Outside 64-bit mode the micro-op checks each element's offset against the
/// segment.
fn segment_of(b: &Builder, i: &Instruction) -> (Reg, u8) {
    let segment = i.memory_segment().number() as u8;
    if !b.is64() || segment >= 4 {
        return (Reg::segment_base(segment), 0);
    }
    let stack = if crate::lift::builder::is_stack_operand(i) {
        Uop::STACK
    } else {
        0
    };
    (Reg::Zero, stack)
}

/// VMASKMOVPS and its kin; `bytes` is the size of an element.
fn lift_masked_move(b: &mut Builder, i: &Instruction, bytes: u8) {
    b.effective_address(i, Reg::T7);
    let (c, x) = segment_of(b, i);
    let is_store = i.op0_kind() == OpKind::Memory;
    let (op, register) = if is_store {
        let op = sized(i, Op::VMaskedStore128, Op::VMaskedStore256);
        (op, i.op2_register())
    } else {
        (
            sized(i, Op::VMaskedLoadZ, Op::VMaskedLoadY),
            i.op0_register(),
        )
    };
    b.push(Uop {
        dst: v(xmm(register)),
        a: Reg::T7,
        b: v(xmm(i.op1_register())),
        c,
        x,
        y: bytes,
        ..Uop::new(op)
    });
}

/// Whether indices and elements have 64 bits.
fn gather(mnemonic: Mnemonic) -> Option<(bool, bool)> {
    use Mnemonic::*;
    Some(match mnemonic {
        Vgatherdps | Vpgatherdd => (false, false),
        Vgatherdpd | Vpgatherdq => (false, true),
        Vgatherqps | Vpgatherqd => (true, false),
        Vgatherqpd | Vpgatherqq => (true, true),
        _ => return None,
    })
}

fn lift_gather(b: &mut Builder, i: &Instruction, wide_index: bool, wide_element: bool) {
    let (c, stack) = segment_of(b, i);
    let base = match i.memory_base() {
        Register::None => Reg::Zero,
        base => Builder::gpr(base),
    };
    let narrow = if vsib_address_size(i, b) == 4 {
        Uop::GATHER_NARROW_ADDRESS
    } else {
        0
    };
    let mut y = xmm(i.op2_register()) as u8 | narrow;
    if i.memory_index().is_ymm() {
        y |= Uop::GATHER_INDEX_256;
    }
    if wide_index {
        y |= Uop::GATHER_WIDE_INDEX;
    }
    if wide_element {
        y |= Uop::GATHER_WIDE_ELEMENT;
    }
    let op = if i.op0_register().is_ymm() {
        Op::VGatherY
    } else {
        Op::VGatherZ
    };
    b.push(Uop {
        dst: v(xmm(i.op0_register())),
        a: base,
        b: v(xmm(i.memory_index())),
        c,
        x: i.memory_index_scale().trailing_zeros() as u8 | stack,
        y,
        imm: i.memory_displacement64() as i64,
        ..Uop::new(op)
    });
}

/// Bytes of an address whose index is a vector.
fn vsib_address_size(i: &Instruction, b: &Builder) -> usize {
    match i.memory_base() {
        Register::None if i.memory_displ_size() == 8 => 8,
        Register::None => 4,
        _ => address_size(i, b.mode.size),
    }
}
