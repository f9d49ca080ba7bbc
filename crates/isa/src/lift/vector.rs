//! MMX and SSE to SSE4.2, AES, PCLMULQDQ, SHA and GFNI in their legacy encodings; what the VEX
//! encodings make of them, and AVX to AVX2, FMA and F16C, is in [`vex`]. SDM Vol. 2, the pages of the
//! mnemonics.
//!
//! Operand rules: a 16-byte memory operand must be aligned, except for the unaligned moves and the
//! string comparisons (Vol. 1, "Memory Operands"; Vol. 2, "Exceptions Type 4"); exactly the
//! operand's bytes are loaded. An instruction with an MMX register reports a pending x87 exception
//! before it accesses memory, and sets TOP and the tags once nothing can fault any more (Vol. 3,
//! "Intel MMX Technology System Programming").
//!
//! Not here: CRC32, POPCNT and BMI ([`super::integer`]), FXSAVE and XSAVE ([`super::system`]).

mod vex;

use super::{Builder, Memory, Size};
use crate::uop::{Op, Uop, v};
use crate::{Reg, VReg};
use iced_x86::{EncodingKind, Instruction, Mnemonic, OpKind, Register};
use ring3_arithmetic::float::FloatOp;
use ring3_arithmetic::packed::{Packed3Op, PackedOp};

/// Temporaries: the first operand of MMX instructions, a loaded source, a count, a result.
const FIRST: VReg = VReg::V0;
const SOURCE: VReg = VReg::V1;
const COUNT: VReg = VReg::V2;
const RESULT: VReg = VReg::V3;

pub(super) fn lift(b: &mut Builder, i: &Instruction) -> bool {
    if is_vex(i) {
        vex::lift(b, i)
    } else {
        lift_legacy(b, i)
    }
}

fn lift_legacy(b: &mut Builder, i: &Instruction) -> bool {
    if let Some((op, sources)) = packed_operation(i.mnemonic()) {
        lift_packed(b, i, op, sources);
    } else if let Some((op, sources)) = float_operation(i.mnemonic()) {
        lift_float(b, i, op, sources);
    } else if let Some(op) = three_source_operation(i.mnemonic()) {
        lift_three_sources(b, i, op);
    } else if let Some(op) = insertion(i.mnemonic()) {
        lift_insertion(b, i, op);
    } else if let Some(op) = extraction(i.mnemonic()) {
        lift_extraction(b, i, op);
    } else {
        return lift_conversion(b, i) || lift_move(b, i) || lift_other(b, i);
    }
    true
}

// --- operands ----------------------------------------------------------------------------------

/// Which operands an operation depends on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sources {
    /// The destination's old value and the source.
    Both,
    /// The source alone.
    Second,
}
use Sources::{Both, Second};

fn xmm(register: Register) -> VReg {
    VReg::xmm(register.number() as u8)
}

/// Whether the instruction has a VEX encoding.
pub(super) fn is_vex(i: &Instruction) -> bool {
    i.encoding() == EncodingKind::VEX
}

fn is_mmx(i: &Instruction) -> bool {
    i.op0_register().is_mm() || i.op1_register().is_mm()
}

fn has_memory(i: &Instruction) -> bool {
    (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory)
}

/// The trailing immediate; zero for instructions without one.
fn immediate(i: &Instruction) -> u8 {
    let last = i.op_count().saturating_sub(1);
    match i.op_kind(last) {
        OpKind::Immediate8 => i.immediate8(),
        _ => 0,
    }
}

/// Whether an operand of a whole register's size must be aligned to it. Of VEX encodings, only that of
/// the moves that say so.
fn must_be_aligned(i: &Instruction) -> bool {
    use Mnemonic::*;
    if is_vex(i) {
        return matches!(
            i.mnemonic(),
            Vmovaps | Vmovapd | Vmovdqa | Vmovntps | Vmovntpd | Vmovntdq | Vmovntdqa
        );
    }
    !matches!(
        i.mnemonic(),
        Movups
            | Movupd
            | Movdqu
            | Lddqu
            | Pcmpestri
            | Pcmpestri64
            | Pcmpestrm
            | Pcmpestrm64
            | Pcmpistri
            | Pcmpistrm
    )
}

fn memory(b: &mut Builder, i: &Instruction, write: bool) -> Memory {
    let bytes = i.memory_size().size();
    let memory = b.memory(i, bytes as u32, write);
    let alignment = match bytes {
        16 if must_be_aligned(i) => Uop::ALIGNED,
        32 if must_be_aligned(i) => Uop::ALIGNED32,
        _ => 0,
    };
    Memory {
        x: memory.x | alignment,
        ..memory
    }
}

/// Loads the memory operand, zero-extended.
fn load(b: &mut Builder, i: &Instruction, dst: VReg) {
    let op = match i.memory_size().size() {
        2 => Op::VLoad16,
        4 => Op::VLoad32,
        8 => Op::VLoad64,
        32 => Op::VLoad256,
        _ => Op::VLoad128,
    };
    let memory = memory(b, i, false);
    b.push(memory.uop(op, v(dst)));
}

/// Stores a vector, or its low half or quarter, to the memory operand.
fn store(b: &mut Builder, i: &Instruction, value: VReg) {
    let op = match i.memory_size().size() {
        4 => Op::VStore32,
        8 => Op::VStore64,
        32 => Op::VStore256,
        _ => Op::VStore128,
    };
    let memory = memory(b, i, true);
    b.push(memory.uop(op, v(value)));
}

/// Operand `n` (an XMM register or memory).
fn source(b: &mut Builder, i: &Instruction, n: u32) -> VReg {
    if i.op_kind(n) == OpKind::Memory {
        load(b, i, SOURCE);
        SOURCE
    } else {
        xmm(i.op_register(n))
    }
}

fn vector(op: Op, dst: VReg, first: VReg, second: VReg, imm: i64) -> Uop {
    Uop {
        dst: v(dst),
        a: v(first),
        b: v(second),
        imm,
        ..Uop::new(op)
    }
}

fn constant(b: &mut Builder, dst: VReg, value: i64) {
    b.push(Uop {
        dst: v(dst),
        imm: value,
        ..Uop::new(Op::VImm)
    });
}

// --- MMX registers -------------------------------------------------------------------------------

/// Whether MMX registers can be used; if not, the exception is already raised.
fn mmx_usable(b: &mut Builder) -> bool {
    let usability = b.mode.mmx;
    b.usable(usability)
}

/// #MF if an x87 exception is pending.
fn mmx_check(b: &mut Builder) {
    b.push(Uop::new(Op::MmxEnter));
}

/// TOP = 0, all tags valid; comes after [`mmx_check`] and whatever can fault.
fn mmx_enter(b: &mut Builder) {
    b.push(Uop {
        y: 1,
        x: Uop::PROVEN,
        ..Uop::new(Op::MmxEnter)
    });
}

/// Both, for instructions that cannot fault in another way.
fn mmx_check_and_enter(b: &mut Builder) {
    b.push(Uop {
        y: 1,
        ..Uop::new(Op::MmxEnter)
    });
}

fn mmx_read(b: &mut Builder, dst: VReg, register: Register) -> VReg {
    b.push(Uop {
        dst: v(dst),
        y: register.number() as u8 & 7,
        ..Uop::new(Op::MmxRead)
    });
    dst
}

fn mmx_write(b: &mut Builder, register: Register, value: VReg) {
    b.push(Uop {
        a: v(value),
        y: register.number() as u8 & 7,
        ..Uop::new(Op::MmxWrite)
    });
}

/// The source of an MMX instruction, operand `n`: an MMX register or memory. Enters MMX state.
fn mmx_source(b: &mut Builder, i: &Instruction, n: u32) -> VReg {
    if i.op_kind(n) == OpKind::Memory {
        mmx_check(b);
        load(b, i, SOURCE);
        mmx_enter(b);
        SOURCE
    } else {
        mmx_check_and_enter(b);
        mmx_read(b, SOURCE, i.op_register(n))
    }
}

// --- packed operations -----------------------------------------------------------------------------

/// Operations with the operands (destination, source) or (destination, source, immediate).
fn packed_operation(mnemonic: Mnemonic) -> Option<(PackedOp, Sources)> {
    use Mnemonic as M;
    use PackedOp::*;
    Some(match mnemonic {
        M::Paddb | M::Vpaddb => (Paddb, Both),
        M::Paddw | M::Vpaddw => (Paddw, Both),
        M::Paddd | M::Vpaddd => (Paddd, Both),
        M::Paddq | M::Vpaddq => (Paddq, Both),
        M::Paddsb | M::Vpaddsb => (Paddsb, Both),
        M::Paddsw | M::Vpaddsw => (Paddsw, Both),
        M::Paddusb | M::Vpaddusb => (Paddusb, Both),
        M::Paddusw | M::Vpaddusw => (Paddusw, Both),
        M::Psubb | M::Vpsubb => (Psubb, Both),
        M::Psubw | M::Vpsubw => (Psubw, Both),
        M::Psubd | M::Vpsubd => (Psubd, Both),
        M::Psubq | M::Vpsubq => (Psubq, Both),
        M::Psubsb | M::Vpsubsb => (Psubsb, Both),
        M::Psubsw | M::Vpsubsw => (Psubsw, Both),
        M::Psubusb | M::Vpsubusb => (Psubusb, Both),
        M::Psubusw | M::Vpsubusw => (Psubusw, Both),
        M::Pmullw | M::Vpmullw => (Pmullw, Both),
        M::Pmulhw | M::Vpmulhw => (Pmulhw, Both),
        M::Pmulhuw | M::Vpmulhuw => (Pmulhuw, Both),
        M::Pmulhrsw | M::Vpmulhrsw => (Pmulhrsw, Both),
        M::Pmulld | M::Vpmulld => (Pmulld, Both),
        M::Pmuludq | M::Vpmuludq => (Pmuludq, Both),
        M::Pmuldq | M::Vpmuldq => (Pmuldq, Both),
        M::Pmaddwd | M::Vpmaddwd => (Pmaddwd, Both),
        M::Pmaddubsw | M::Vpmaddubsw => (Pmaddubsw, Both),
        M::Pavgb | M::Vpavgb => (Pavgb, Both),
        M::Pavgw | M::Vpavgw => (Pavgw, Both),
        M::Psadbw | M::Vpsadbw => (Psadbw, Both),
        M::Mpsadbw | M::Vmpsadbw => (Mpsadbw, Both),
        M::Phminposuw | M::Vphminposuw => (Phminposuw, Second),
        M::Pminsb | M::Vpminsb => (Pminsb, Both),
        M::Pminsw | M::Vpminsw => (Pminsw, Both),
        M::Pminsd | M::Vpminsd => (Pminsd, Both),
        M::Pminub | M::Vpminub => (Pminub, Both),
        M::Pminuw | M::Vpminuw => (Pminuw, Both),
        M::Pminud | M::Vpminud => (Pminud, Both),
        M::Pmaxsb | M::Vpmaxsb => (Pmaxsb, Both),
        M::Pmaxsw | M::Vpmaxsw => (Pmaxsw, Both),
        M::Pmaxsd | M::Vpmaxsd => (Pmaxsd, Both),
        M::Pmaxub | M::Vpmaxub => (Pmaxub, Both),
        M::Pmaxuw | M::Vpmaxuw => (Pmaxuw, Both),
        M::Pmaxud | M::Vpmaxud => (Pmaxud, Both),
        M::Pcmpeqb | M::Vpcmpeqb => (Pcmpeqb, Both),
        M::Pcmpeqw | M::Vpcmpeqw => (Pcmpeqw, Both),
        M::Pcmpeqd | M::Vpcmpeqd => (Pcmpeqd, Both),
        M::Pcmpeqq | M::Vpcmpeqq => (Pcmpeqq, Both),
        M::Pcmpgtb | M::Vpcmpgtb => (Pcmpgtb, Both),
        M::Pcmpgtw | M::Vpcmpgtw => (Pcmpgtw, Both),
        M::Pcmpgtd | M::Vpcmpgtd => (Pcmpgtd, Both),
        M::Pcmpgtq | M::Vpcmpgtq => (Pcmpgtq, Both),
        M::Pabsb | M::Vpabsb => (Pabsb, Second),
        M::Pabsw | M::Vpabsw => (Pabsw, Second),
        M::Pabsd | M::Vpabsd => (Pabsd, Second),
        M::Psignb | M::Vpsignb => (Psignb, Both),
        M::Psignw | M::Vpsignw => (Psignw, Both),
        M::Psignd | M::Vpsignd => (Psignd, Both),
        M::Phaddw | M::Vphaddw => (Phaddw, Both),
        M::Phaddd | M::Vphaddd => (Phaddd, Both),
        M::Phaddsw | M::Vphaddsw => (Phaddsw, Both),
        M::Phsubw | M::Vphsubw => (Phsubw, Both),
        M::Phsubd | M::Vphsubd => (Phsubd, Both),
        M::Phsubsw | M::Vphsubsw => (Phsubsw, Both),
        M::Pand | M::Vpand | M::Andps | M::Vandps | M::Andpd | M::Vandpd => (Pand, Both),
        M::Pandn | M::Vpandn | M::Andnps | M::Vandnps | M::Andnpd | M::Vandnpd => (Pandn, Both),
        M::Por | M::Vpor | M::Orps | M::Vorps | M::Orpd | M::Vorpd => (Por, Both),
        M::Pxor | M::Vpxor | M::Xorps | M::Vxorps | M::Xorpd | M::Vxorpd => (Pxor, Both),
        M::Psllw | M::Vpsllw => (Psllw, Both),
        M::Pslld | M::Vpslld => (Pslld, Both),
        M::Psllq | M::Vpsllq => (Psllq, Both),
        M::Psrlw | M::Vpsrlw => (Psrlw, Both),
        M::Psrld | M::Vpsrld => (Psrld, Both),
        M::Psrlq | M::Vpsrlq => (Psrlq, Both),
        M::Psraw | M::Vpsraw => (Psraw, Both),
        M::Psrad | M::Vpsrad => (Psrad, Both),
        M::Pslldq | M::Vpslldq => (Pslldq, Both),
        M::Psrldq | M::Vpsrldq => (Psrldq, Both),
        M::Palignr | M::Vpalignr => (Palignr, Both),
        M::Packsswb | M::Vpacksswb => (Packsswb, Both),
        M::Packssdw | M::Vpackssdw => (Packssdw, Both),
        M::Packuswb | M::Vpackuswb => (Packuswb, Both),
        M::Packusdw | M::Vpackusdw => (Packusdw, Both),
        M::Punpcklbw | M::Vpunpcklbw => (Punpcklbw, Both),
        M::Punpcklwd | M::Vpunpcklwd => (Punpcklwd, Both),
        M::Punpckldq | M::Vpunpckldq | M::Unpcklps | M::Vunpcklps => (Punpckldq, Both),
        M::Punpcklqdq | M::Vpunpcklqdq | M::Unpcklpd | M::Vunpcklpd => (Punpcklqdq, Both),
        M::Punpckhbw | M::Vpunpckhbw => (Punpckhbw, Both),
        M::Punpckhwd | M::Vpunpckhwd => (Punpckhwd, Both),
        M::Punpckhdq | M::Vpunpckhdq | M::Unpckhps | M::Vunpckhps => (Punpckhdq, Both),
        M::Punpckhqdq | M::Vpunpckhqdq | M::Unpckhpd | M::Vunpckhpd => (Punpckhqdq, Both),
        M::Pshufd | M::Vpshufd => (Pshufd, Second),
        M::Pshufhw | M::Vpshufhw => (Pshufhw, Second),
        M::Pshuflw | M::Vpshuflw | M::Pshufw => (Pshuflw, Second),
        M::Pshufb | M::Vpshufb => (Pshufb, Both),
        M::Shufps | M::Vshufps => (Shufps, Both),
        M::Shufpd | M::Vshufpd => (Shufpd, Both),
        M::Movddup | M::Vmovddup => (Movddup, Second),
        M::Movsldup | M::Vmovsldup => (Movsldup, Second),
        M::Movshdup | M::Vmovshdup => (Movshdup, Second),
        M::Pblendw | M::Vpblendw => (Pblendw, Both),
        M::Blendps | M::Vblendps | M::Vpblendd => (Blendps, Both),
        M::Blendpd | M::Vblendpd => (Blendpd, Both),
        M::Pmovsxbw | M::Vpmovsxbw => (Pmovsxbw, Second),
        M::Pmovsxbd | M::Vpmovsxbd => (Pmovsxbd, Second),
        M::Pmovsxbq | M::Vpmovsxbq => (Pmovsxbq, Second),
        M::Pmovsxwd | M::Vpmovsxwd => (Pmovsxwd, Second),
        M::Pmovsxwq | M::Vpmovsxwq => (Pmovsxwq, Second),
        M::Pmovsxdq | M::Vpmovsxdq => (Pmovsxdq, Second),
        M::Pmovzxbw | M::Vpmovzxbw => (Pmovzxbw, Second),
        M::Pmovzxbd | M::Vpmovzxbd => (Pmovzxbd, Second),
        M::Pmovzxbq | M::Vpmovzxbq => (Pmovzxbq, Second),
        M::Pmovzxwd | M::Vpmovzxwd => (Pmovzxwd, Second),
        M::Pmovzxwq | M::Vpmovzxwq => (Pmovzxwq, Second),
        M::Pmovzxdq | M::Vpmovzxdq => (Pmovzxdq, Second),
        M::Pclmulqdq | M::Vpclmulqdq => (Pclmulqdq, Both),
        M::Aesenc | M::Vaesenc => (Aesenc, Both),
        M::Aesenclast | M::Vaesenclast => (Aesenclast, Both),
        M::Aesdec | M::Vaesdec => (Aesdec, Both),
        M::Aesdeclast | M::Vaesdeclast => (Aesdeclast, Both),
        M::Aesimc | M::Vaesimc => (Aesimc, Second),
        M::Aeskeygenassist | M::Vaeskeygenassist => (Aeskeygenassist, Second),
        M::Sha1rnds4 => (Sha1rnds4, Both),
        M::Sha1nexte => (Sha1nexte, Both),
        M::Sha1msg1 => (Sha1msg1, Both),
        M::Sha1msg2 => (Sha1msg2, Both),
        M::Sha256msg1 => (Sha256msg1, Both),
        M::Sha256msg2 => (Sha256msg2, Both),
        M::Gf2p8mulb | M::Vgf2p8mulb => (Gf2p8mulb, Both),
        M::Gf2p8affineqb | M::Vgf2p8affineqb => (Gf2p8affineqb, Both),
        M::Gf2p8affineinvqb | M::Vgf2p8affineinvqb => (Gf2p8affineinvqb, Both),
        M::Vpsllvd => (Psllvd, Both),
        M::Vpsllvq => (Psllvq, Both),
        M::Vpsrlvd => (Psrlvd, Both),
        M::Vpsrlvq => (Psrlvq, Both),
        M::Vpsravd => (Psravd, Both),
        _ => return None,
    })
}

/// The micro-op of its own that an operation has, if it is frequent.
fn direct_packed(op: PackedOp) -> Option<Op> {
    Some(match op {
        PackedOp::Pand => Op::VAnd,
        PackedOp::Pandn => Op::VAndNot,
        PackedOp::Por => Op::VOr,
        PackedOp::Pxor => Op::VXor,
        PackedOp::Paddb => Op::VPaddb,
        PackedOp::Paddw => Op::VPaddw,
        PackedOp::Paddd => Op::VPaddd,
        PackedOp::Paddq => Op::VPaddq,
        PackedOp::Psubb => Op::VPsubb,
        PackedOp::Psubw => Op::VPsubw,
        PackedOp::Psubd => Op::VPsubd,
        PackedOp::Psubq => Op::VPsubq,
        PackedOp::Pcmpeqb => Op::VPcmpeqb,
        PackedOp::Pcmpeqw => Op::VPcmpeqw,
        PackedOp::Pcmpeqd => Op::VPcmpeqd,
        PackedOp::Pcmpgtb => Op::VPcmpgtb,
        PackedOp::Pcmpgtd => Op::VPcmpgtd,
        PackedOp::Pminub => Op::VPminub,
        PackedOp::Pmaxub => Op::VPmaxub,
        PackedOp::Pmuludq => Op::VPmuludq,
        PackedOp::Punpcklbw => Op::VPunpcklbw,
        PackedOp::Punpcklwd => Op::VPunpcklwd,
        PackedOp::Punpckldq => Op::VPunpckldq,
        PackedOp::Punpcklqdq => Op::VPunpcklqdq,
        PackedOp::Punpckhbw => Op::VPunpckhbw,
        PackedOp::Punpckhwd => Op::VPunpckhwd,
        PackedOp::Punpckhdq => Op::VPunpckhdq,
        PackedOp::Punpckhqdq => Op::VPunpckhqdq,
        PackedOp::Pshufb => Op::VPshufb,
        PackedOp::Palignr => Op::VPalignr,
        PackedOp::Shufps => Op::VShufps,
        PackedOp::Shufpd => Op::VShufpd,
        PackedOp::Psllw => Op::VPsllw,
        PackedOp::Pslld => Op::VPslld,
        PackedOp::Psllq => Op::VPsllq,
        PackedOp::Psrlw => Op::VPsrlw,
        PackedOp::Psrld => Op::VPsrld,
        PackedOp::Psrlq => Op::VPsrlq,
        PackedOp::Psrad => Op::VPsrad,
        PackedOp::Pshufd => Op::VPshufd,
        PackedOp::Pshuflw => Op::VPshuflw,
        PackedOp::Pshufhw => Op::VPshufhw,
        PackedOp::Movddup => Op::VMovddup,
        PackedOp::Pslldq => Op::VPslldq,
        PackedOp::Psrldq => Op::VPsrldq,
        PackedOp::Pmovmskb => Op::VPmovmskb,
        PackedOp::Movmskpd => Op::VMovmskpd,
        _ => return None,
    })
}

/// The immediate of a micro-op that names its operation there.
fn packed_immediate(op: PackedOp, immediate: u8) -> i64 {
    i64::from(immediate) | (op as i64) << 16
}

fn packed_uop(op: PackedOp, dst: VReg, first: VReg, second: VReg, immediate: u8) -> Uop {
    match direct_packed(op) {
        Some(direct) => vector(direct, dst, first, second, immediate.into()),
        None => {
            let imm = packed_immediate(op, immediate);
            vector(Op::VPacked, dst, first, second, imm)
        }
    }
}

fn lift_packed(b: &mut Builder, i: &Instruction, op: PackedOp, sources: Sources) {
    if is_mmx(i) {
        return lift_packed_mmx(b, i, op, sources);
    }
    if !b.sse_usable() {
        return;
    }
    let dst = xmm(i.op0_register());
    // The exclusive or of a register with itself does not depend on it.
    if op == PackedOp::Pxor && i.op0_register() == i.op1_register() {
        return constant(b, dst, 0);
    }
    let second = match i.op1_kind() {
        OpKind::Immediate8 if matches!(op, PackedOp::Pslldq | PackedOp::Psrldq) => dst,
        OpKind::Immediate8 => {
            constant(b, COUNT, i.immediate8().into());
            COUNT
        }
        _ => source(b, i, 1),
    };
    let first = if sources == Both { dst } else { second };
    b.push(packed_uop(op, dst, first, second, immediate(i)));
}

fn lift_packed_mmx(b: &mut Builder, i: &Instruction, op: PackedOp, sources: Sources) {
    if !mmx_usable(b) {
        return;
    }
    let second = if i.op1_kind() == OpKind::Immediate8 {
        mmx_check_and_enter(b);
        constant(b, COUNT, i.immediate8().into());
        COUNT
    } else {
        mmx_source(b, i, 1)
    };
    let first = if sources == Both {
        mmx_read(b, FIRST, i.op0_register())
    } else {
        second
    };
    let imm = packed_immediate(op, immediate(i));
    b.push(vector(Op::VPackedMmx, RESULT, first, second, imm));
    mmx_write(b, i.op0_register(), RESULT);
}

/// Operations that read XMM0 too.
fn three_source_operation(mnemonic: Mnemonic) -> Option<Packed3Op> {
    Some(match mnemonic {
        Mnemonic::Pblendvb | Mnemonic::Vpblendvb => Packed3Op::Pblendvb,
        Mnemonic::Blendvps | Mnemonic::Vblendvps => Packed3Op::Blendvps,
        Mnemonic::Blendvpd | Mnemonic::Vblendvpd => Packed3Op::Blendvpd,
        Mnemonic::Sha256rnds2 => Packed3Op::Sha256rnds2,
        _ => return None,
    })
}

fn lift_three_sources(b: &mut Builder, i: &Instruction, op: Packed3Op) {
    if !b.sse_usable() {
        return;
    }
    let dst = xmm(i.op0_register());
    let second = source(b, i, 1);
    b.push(Uop {
        c: v(VReg::X0),
        ..vector(Op::VPacked3, dst, dst, second, (op as i64) << 16)
    });
}

// --- floating point --------------------------------------------------------------------------------

/// Operations between XMM registers and memory.
fn float_operation(mnemonic: Mnemonic) -> Option<(FloatOp, Sources)> {
    use FloatOp::*;
    use Mnemonic as M;
    Some(match mnemonic {
        M::Addss | M::Vaddss => (Addss, Both),
        M::Addsd | M::Vaddsd => (Addsd, Both),
        M::Addps | M::Vaddps => (Addps, Both),
        M::Addpd | M::Vaddpd => (Addpd, Both),
        M::Subss | M::Vsubss => (Subss, Both),
        M::Subsd | M::Vsubsd => (Subsd, Both),
        M::Subps | M::Vsubps => (Subps, Both),
        M::Subpd | M::Vsubpd => (Subpd, Both),
        M::Mulss | M::Vmulss => (Mulss, Both),
        M::Mulsd | M::Vmulsd => (Mulsd, Both),
        M::Mulps | M::Vmulps => (Mulps, Both),
        M::Mulpd | M::Vmulpd => (Mulpd, Both),
        M::Divss | M::Vdivss => (Divss, Both),
        M::Divsd | M::Vdivsd => (Divsd, Both),
        M::Divps | M::Vdivps => (Divps, Both),
        M::Divpd | M::Vdivpd => (Divpd, Both),
        M::Minss | M::Vminss => (Minss, Both),
        M::Minsd | M::Vminsd => (Minsd, Both),
        M::Minps | M::Vminps => (Minps, Both),
        M::Minpd | M::Vminpd => (Minpd, Both),
        M::Maxss | M::Vmaxss => (Maxss, Both),
        M::Maxsd | M::Vmaxsd => (Maxsd, Both),
        M::Maxps | M::Vmaxps => (Maxps, Both),
        M::Maxpd | M::Vmaxpd => (Maxpd, Both),
        M::Sqrtss | M::Vsqrtss => (Sqrtss, Both),
        M::Sqrtsd | M::Vsqrtsd => (Sqrtsd, Both),
        M::Sqrtps | M::Vsqrtps => (Sqrtps, Second),
        M::Sqrtpd | M::Vsqrtpd => (Sqrtpd, Second),
        M::Rcpss | M::Vrcpss => (Rcpss, Both),
        M::Rcpps | M::Vrcpps => (Rcpps, Second),
        M::Rsqrtss | M::Vrsqrtss => (Rsqrtss, Both),
        M::Rsqrtps | M::Vrsqrtps => (Rsqrtps, Second),
        M::Cmpss | M::Vcmpss => (Cmpss, Both),
        M::Cmpsd | M::Vcmpsd => (Cmpsd, Both),
        M::Cmpps | M::Vcmpps => (Cmpps, Both),
        M::Cmppd | M::Vcmppd => (Cmppd, Both),
        M::Cvtss2sd | M::Vcvtss2sd => (Cvtss2sd, Both),
        M::Cvtsd2ss | M::Vcvtsd2ss => (Cvtsd2ss, Both),
        M::Cvtps2pd | M::Vcvtps2pd => (Cvtps2pd, Second),
        M::Cvtpd2ps | M::Vcvtpd2ps => (Cvtpd2ps, Second),
        M::Cvtdq2ps | M::Vcvtdq2ps => (Cvtdq2ps, Second),
        M::Cvtdq2pd | M::Vcvtdq2pd => (Cvtdq2pd, Second),
        M::Cvtps2dq | M::Vcvtps2dq => (Cvtps2dq, Second),
        M::Cvttps2dq | M::Vcvttps2dq => (Cvttps2dq, Second),
        M::Cvtpd2dq | M::Vcvtpd2dq => (Cvtpd2dq, Second),
        M::Cvttpd2dq | M::Vcvttpd2dq => (Cvttpd2dq, Second),
        M::Roundss | M::Vroundss => (Roundss, Both),
        M::Roundsd | M::Vroundsd => (Roundsd, Both),
        M::Roundps | M::Vroundps => (Roundps, Second),
        M::Roundpd | M::Vroundpd => (Roundpd, Second),
        M::Dpps | M::Vdpps => (Dpps, Both),
        M::Dppd | M::Vdppd => (Dppd, Both),
        M::Haddps | M::Vhaddps => (Haddps, Both),
        M::Haddpd | M::Vhaddpd => (Haddpd, Both),
        M::Hsubps | M::Vhsubps => (Hsubps, Both),
        M::Hsubpd | M::Vhsubpd => (Hsubpd, Both),
        M::Addsubps | M::Vaddsubps => (Addsubps, Both),
        M::Addsubpd | M::Vaddsubpd => (Addsubpd, Both),
        M::Vcvtph2ps => (Vcvtph2ps, Second),
        M::Vcvtps2ph => (Vcvtps2ph, Second),
        _ => return None,
    })
}

/// The micro-op of its own that an operation has, if it is frequent.
fn direct_float(op: FloatOp) -> Option<Op> {
    Some(match op {
        FloatOp::Addss => Op::VAddss,
        FloatOp::Addsd => Op::VAddsd,
        FloatOp::Addps => Op::VAddps,
        FloatOp::Addpd => Op::VAddpd,
        FloatOp::Subss => Op::VSubss,
        FloatOp::Subsd => Op::VSubsd,
        FloatOp::Subps => Op::VSubps,
        FloatOp::Subpd => Op::VSubpd,
        FloatOp::Mulss => Op::VMulss,
        FloatOp::Mulsd => Op::VMulsd,
        FloatOp::Mulps => Op::VMulps,
        FloatOp::Mulpd => Op::VMulpd,
        FloatOp::Divss => Op::VDivss,
        FloatOp::Divsd => Op::VDivsd,
        FloatOp::Divps => Op::VDivps,
        FloatOp::Divpd => Op::VDivpd,
        FloatOp::Minss => Op::VMinss,
        FloatOp::Minsd => Op::VMinsd,
        FloatOp::Maxss => Op::VMaxss,
        FloatOp::Maxsd => Op::VMaxsd,
        FloatOp::Sqrtss => Op::VSqrtss,
        FloatOp::Sqrtsd => Op::VSqrtsd,
        FloatOp::Cvtss2sd => Op::VCvtss2sd,
        FloatOp::Cvtsd2ss => Op::VCvtsd2ss,
        FloatOp::Comiss => Op::VComiss,
        FloatOp::Comisd => Op::VComisd,
        FloatOp::Ucomiss => Op::VUcomiss,
        FloatOp::Ucomisd => Op::VUcomisd,
        FloatOp::Cvtsi2ss32 => Op::VCvtsi2ss32,
        FloatOp::Cvtsi2ss64 => Op::VCvtsi2ss64,
        FloatOp::Cvtsi2sd32 => Op::VCvtsi2sd32,
        FloatOp::Cvtsi2sd64 => Op::VCvtsi2sd64,
        FloatOp::Cvttss2si32 => Op::VCvttss2si32,
        FloatOp::Cvttss2si64 => Op::VCvttss2si64,
        FloatOp::Cvttsd2si32 => Op::VCvttsd2si32,
        FloatOp::Cvttsd2si64 => Op::VCvttsd2si64,
        _ => return None,
    })
}

fn float_immediate(op: FloatOp, immediate: u8) -> i64 {
    i64::from(immediate) | (op as i64) << 16
}

/// The operation's own micro-op, else the general one that names it in its immediate.
fn float_uop(general: Op, op: FloatOp, immediate: u8) -> Uop {
    match direct_float(op) {
        Some(direct) => Uop::new(direct),
        None => Uop {
            imm: float_immediate(op, immediate),
            ..Uop::new(general)
        },
    }
}

fn lift_float(b: &mut Builder, i: &Instruction, op: FloatOp, sources: Sources) {
    if !b.sse_usable() {
        return;
    }
    let dst = xmm(i.op0_register());
    let second = source(b, i, 1);
    let first = if sources == Both { dst } else { second };
    let control = match op {
        // Only eight predicates can be encoded here.
        FloatOp::Cmpss | FloatOp::Cmpsd | FloatOp::Cmpps | FloatOp::Cmppd => immediate(i) & 7,
        _ => immediate(i),
    };
    b.push(Uop {
        dst: v(dst),
        a: v(first),
        b: v(second),
        ..float_uop(Op::VFloat, op, control)
    });
}

/// Comparisons into flags, and conversions from and to general and MMX registers. In VEX encodings the
/// source of a conversion from a general register is operand 2.
fn conversion(i: &Instruction) -> Option<FloatOp> {
    use Mnemonic as M;
    // The wide operation where a general register or its replacement in memory has 64 bits.
    let wide =
        |narrow: FloatOp, wide: FloatOp, bytes: usize| if bytes == 8 { wide } else { narrow };
    let last = i.op_count().saturating_sub(1);
    let bytes_of_source = match i.op_kind(last) {
        OpKind::Memory => i.memory_size().size(),
        _ => i.op_register(last).size(),
    };
    let bytes_of_op0 = i.op0_register().size();
    Some(match i.mnemonic() {
        M::Comiss | M::Vcomiss => FloatOp::Comiss,
        M::Comisd | M::Vcomisd => FloatOp::Comisd,
        M::Ucomiss | M::Vucomiss => FloatOp::Ucomiss,
        M::Ucomisd | M::Vucomisd => FloatOp::Ucomisd,
        M::Cvtsi2ss | M::Vcvtsi2ss => {
            wide(FloatOp::Cvtsi2ss32, FloatOp::Cvtsi2ss64, bytes_of_source)
        }
        M::Cvtsi2sd | M::Vcvtsi2sd => {
            wide(FloatOp::Cvtsi2sd32, FloatOp::Cvtsi2sd64, bytes_of_source)
        }
        M::Cvtss2si | M::Vcvtss2si => wide(FloatOp::Cvtss2si32, FloatOp::Cvtss2si64, bytes_of_op0),
        M::Cvtsd2si | M::Vcvtsd2si => wide(FloatOp::Cvtsd2si32, FloatOp::Cvtsd2si64, bytes_of_op0),
        M::Cvttss2si | M::Vcvttss2si => {
            wide(FloatOp::Cvttss2si32, FloatOp::Cvttss2si64, bytes_of_op0)
        }
        M::Cvttsd2si | M::Vcvttsd2si => {
            wide(FloatOp::Cvttsd2si32, FloatOp::Cvttsd2si64, bytes_of_op0)
        }
        M::Cvtpi2ps => FloatOp::Cvtpi2ps,
        M::Cvtpi2pd => FloatOp::Cvtpi2pd,
        M::Cvtps2pi => FloatOp::Cvtps2pi,
        M::Cvttps2pi => FloatOp::Cvttps2pi,
        M::Cvtpd2pi => FloatOp::Cvtpd2pi,
        M::Cvttpd2pi => FloatOp::Cvttpd2pi,
        _ => return None,
    })
}

fn lift_conversion(b: &mut Builder, i: &Instruction) -> bool {
    use Mnemonic as M;
    let Some(op) = conversion(i) else {
        return false;
    };
    if !b.sse_usable() {
        return true;
    }
    match i.mnemonic() {
        M::Comiss | M::Comisd | M::Ucomiss | M::Ucomisd => {
            let second = source(b, i, 1);
            b.push(Uop {
                a: v(xmm(i.op0_register())),
                b: v(second),
                ..float_uop(Op::VFloatFlags, op, 0)
            });
        }
        M::Cvtsi2ss | M::Cvtsi2sd => {
            let value = b.read(i, 1, Reg::T0);
            let dst = xmm(i.op0_register());
            b.push(Uop {
                dst: v(dst),
                a: v(dst),
                b: value,
                ..float_uop(Op::VFloatFromGpr, op, 0)
            });
        }
        M::Cvtpi2ps => {
            mmx_check(b);
            let second = source_or_mmx(b, i);
            let dst = xmm(i.op0_register());
            let imm = float_immediate(op, 0);
            b.push(vector(Op::VFloat, RESULT, dst, second, imm));
            mmx_enter(b);
            b.push(vector(Op::VMov, dst, RESULT, RESULT, 0));
        }
        // Cannot raise an exception; with a memory operand it has nothing to do with MMX.
        M::Cvtpi2pd => {
            let second = if has_memory(i) {
                source(b, i, 1)
            } else {
                mmx_source(b, i, 1)
            };
            let imm = float_immediate(op, 0);
            b.push(vector(
                Op::VFloat,
                xmm(i.op0_register()),
                second,
                second,
                imm,
            ));
        }
        M::Cvtps2pi | M::Cvttps2pi | M::Cvtpd2pi | M::Cvttpd2pi => {
            mmx_check(b);
            let second = source(b, i, 1);
            let imm = float_immediate(op, 0);
            b.push(vector(Op::VFloat, RESULT, second, second, imm));
            mmx_enter(b);
            mmx_write(b, i.op0_register(), RESULT);
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
    true
}

/// Operand 1, an MMX register or memory, without entering MMX state.
fn source_or_mmx(b: &mut Builder, i: &Instruction) -> VReg {
    if has_memory(i) {
        source(b, i, 1)
    } else {
        mmx_read(b, SOURCE, i.op1_register())
    }
}

// --- insertion and extraction -----------------------------------------------------------------------

fn insertion(mnemonic: Mnemonic) -> Option<PackedOp> {
    Some(match mnemonic {
        Mnemonic::Pinsrb | Mnemonic::Vpinsrb => PackedOp::Pinsrb,
        Mnemonic::Pinsrw | Mnemonic::Vpinsrw => PackedOp::Pinsrw,
        Mnemonic::Pinsrd | Mnemonic::Vpinsrd => PackedOp::Pinsrd,
        Mnemonic::Pinsrq | Mnemonic::Vpinsrq => PackedOp::Pinsrq,
        _ => return None,
    })
}

fn lift_insertion(b: &mut Builder, i: &Instruction, op: PackedOp) {
    let mmx = is_mmx(i);
    let usable = if mmx { mmx_usable(b) } else { b.sse_usable() };
    if !usable {
        return;
    }
    if mmx {
        mmx_check(b);
    }
    let value = b.read(i, 1, Reg::T0);
    let (dst, first, selector) = if mmx {
        mmx_enter(b);
        let first = mmx_read(b, FIRST, i.op0_register());
        (RESULT, first, immediate(i) & 3)
    } else {
        let dst = xmm(i.op0_register());
        (dst, dst, immediate(i))
    };
    b.push(Uop {
        dst: v(dst),
        a: v(first),
        b: value,
        imm: packed_immediate(op, selector),
        ..Uop::new(Op::VInsert)
    });
    if mmx {
        mmx_write(b, i.op0_register(), RESULT);
    }
}

/// Operations whose result is an integer; the size is that of what goes to memory.
fn extraction(mnemonic: Mnemonic) -> Option<(PackedOp, Size)> {
    Some(match mnemonic {
        Mnemonic::Pextrb | Mnemonic::Vpextrb => (PackedOp::Pextrb, Size::B1),
        Mnemonic::Pextrw | Mnemonic::Vpextrw => (PackedOp::Pextrw, Size::B2),
        Mnemonic::Pextrd | Mnemonic::Vpextrd | Mnemonic::Extractps | Mnemonic::Vextractps => {
            (PackedOp::Pextrd, Size::B4)
        }
        Mnemonic::Pextrq | Mnemonic::Vpextrq => (PackedOp::Pextrq, Size::B8),
        Mnemonic::Pmovmskb | Mnemonic::Vpmovmskb => (PackedOp::Pmovmskb, Size::B4),
        Mnemonic::Movmskps | Mnemonic::Vmovmskps => (PackedOp::Movmskps, Size::B4),
        Mnemonic::Movmskpd | Mnemonic::Vmovmskpd => (PackedOp::Movmskpd, Size::B4),
        _ => return None,
    })
}

fn lift_extraction(b: &mut Builder, i: &Instruction, (op, size): (PackedOp, Size)) {
    let mmx = is_mmx(i);
    let usable = if mmx { mmx_usable(b) } else { b.sse_usable() };
    if !usable {
        return;
    }
    let (value, selector) = if mmx {
        let value = mmx_source(b, i, 1);
        (value, immediate(i) & 3)
    } else {
        (xmm(i.op1_register()), immediate(i))
    };
    let dst = if i.op0_kind() == OpKind::Memory {
        Reg::T0
    } else {
        Builder::gpr(i.op0_register())
    };
    let (operation, imm) = match direct_packed(op) {
        Some(direct) => (direct, 0),
        None => (Op::VPackedToGpr, packed_immediate(op, selector)),
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

// --- moves -----------------------------------------------------------------------------------------

fn lift_move(b: &mut Builder, i: &Instruction) -> bool {
    use Mnemonic::*;
    let usable = match i.mnemonic() {
        Movq2dq | Movdq2q => b.sse_usable(),
        Movd | Movq | Movntq if is_mmx(i) => mmx_usable(b),
        Movaps | Movapd | Movups | Movupd | Movdqa | Movdqu | Lddqu | Movntps | Movntpd
        | Movntdq | Movntdqa | Movss | Movsd | Movd | Movq | Movlps | Movlpd | Movhps | Movhpd
        | Movlhps | Movhlps | Insertps => b.sse_usable(),
        _ => return false,
    };
    if !usable {
        return true;
    }
    match i.mnemonic() {
        Movd | Movq | Movntq if is_mmx(i) => lift_mmx_move(b, i),
        Movd | Movq => lift_doubleword_move(b, i),
        Movss | Movsd => {
            let op = if i.mnemonic() == Movss {
                Op::VMov32
            } else {
                Op::VMov64
            };
            if i.op1_kind() == OpKind::Memory {
                load(b, i, xmm(i.op0_register()));
            } else if i.op0_kind() == OpKind::Memory {
                store(b, i, xmm(i.op1_register()));
            } else {
                let (dst, value) = (xmm(i.op0_register()), xmm(i.op1_register()));
                b.push(vector(op, dst, value, value, 0));
            }
        }
        Movlps | Movlpd | Movhps | Movhpd => {
            let high = matches!(i.mnemonic(), Movhps | Movhpd);
            let write = i.op0_kind() == OpKind::Memory;
            let op = match (high, write) {
                (false, false) => Op::VLoadLow,
                (false, true) => Op::VStore64,
                (true, false) => Op::VLoadHigh,
                (true, true) => Op::VStoreHigh,
            };
            let register = if write {
                i.op1_register()
            } else {
                i.op0_register()
            };
            let memory = memory(b, i, write);
            b.push(memory.uop(op, v(xmm(register))));
        }
        Movlhps | Movhlps => {
            let op = if i.mnemonic() == Movlhps {
                Op::VLowToHigh
            } else {
                Op::VHighToLow
            };
            let (dst, value) = (xmm(i.op0_register()), xmm(i.op1_register()));
            b.push(vector(op, dst, value, value, 0));
        }
        Movq2dq => {
            mmx_check_and_enter(b);
            mmx_read(b, xmm(i.op0_register()), i.op1_register());
        }
        Movdq2q => {
            mmx_check_and_enter(b);
            mmx_write(b, i.op0_register(), xmm(i.op1_register()));
        }
        Insertps => {
            let dst = xmm(i.op0_register());
            // A doubleword from memory is the only one there is to choose from.
            let from_memory = has_memory(i);
            let control = immediate(i) & if from_memory { 0x3f } else { 0xff };
            let second = source(b, i, 1);
            b.push(packed_uop(PackedOp::Insertps, dst, dst, second, control));
        }
        _ => {
            if i.op0_kind() == OpKind::Memory {
                store(b, i, xmm(i.op1_register()));
            } else if i.op1_kind() == OpKind::Memory {
                load(b, i, xmm(i.op0_register()));
            } else {
                let (dst, value) = (xmm(i.op0_register()), xmm(i.op1_register()));
                b.push(vector(Op::VMov, dst, value, value, 0));
            }
        }
    }
    true
}

/// MOVD and MOVQ between XMM registers and general registers, memory or XMM registers.
fn lift_doubleword_move(b: &mut Builder, i: &Instruction) {
    let (to, from) = (i.op0_register(), i.op1_register());
    if i.op1_kind() == OpKind::Memory {
        load(b, i, xmm(to));
    } else if i.op0_kind() == OpKind::Memory {
        store(b, i, xmm(from));
    } else if to.is_xmm() && from.is_xmm() {
        b.push(vector(Op::VZx64, xmm(to), xmm(from), xmm(from), 0));
    } else if to.is_xmm() {
        b.push(from_general(xmm(to), from));
    } else {
        b.push(to_general(to, xmm(from)));
    }
}

fn from_general(dst: VReg, register: Register) -> Uop {
    let op = if register.size() == 8 {
        Op::VFromGpr64
    } else {
        Op::VFromGpr32
    };
    Uop {
        dst: v(dst),
        a: Builder::gpr(register),
        ..Uop::new(op)
    }
}

fn to_general(register: Register, value: VReg) -> Uop {
    let op = if register.size() == 8 {
        Op::VToGpr64
    } else {
        Op::VToGpr32
    };
    Uop {
        dst: Builder::gpr(register),
        a: v(value),
        ..Uop::new(op)
    }
}

/// MOVD, MOVQ and MOVNTQ with an MMX register.
fn lift_mmx_move(b: &mut Builder, i: &Instruction) {
    let (to, from) = (i.op0_register(), i.op1_register());
    if i.op1_kind() == OpKind::Memory {
        mmx_check(b);
        load(b, i, SOURCE);
        mmx_enter(b);
        mmx_write(b, to, SOURCE);
    } else if i.op0_kind() == OpKind::Memory {
        mmx_check(b);
        mmx_read(b, SOURCE, from);
        store(b, i, SOURCE);
        mmx_enter(b);
    } else {
        mmx_check_and_enter(b);
        if !to.is_mm() {
            mmx_read(b, SOURCE, from);
            b.push(to_general(to, SOURCE));
        } else {
            if from.is_mm() {
                mmx_read(b, SOURCE, from);
            } else {
                b.push(from_general(SOURCE, from));
            }
            mmx_write(b, to, SOURCE);
        }
    }
}

// --- the rest --------------------------------------------------------------------------------------

fn lift_other(b: &mut Builder, i: &Instruction) -> bool {
    use Mnemonic::*;
    match i.mnemonic() {
        // A store of a general register: it does not need SSE to be usable.
        Movnti => {
            let size = Builder::size(i, 1);
            let memory = b.memory(i, size.bytes().into(), true);
            b.store(size, Builder::gpr(i.op1_register()), memory);
        }
        Ldmxcsr | Stmxcsr => {
            if b.sse_usable() {
                lift_mxcsr(b, i);
            }
        }
        Ptest => {
            if b.sse_usable() {
                let second = source(b, i, 1);
                let imm = packed_immediate(PackedOp::Ptest, 0);
                let first = xmm(i.op0_register());
                b.push(Uop {
                    dst: Reg::Zero,
                    ..vector(Op::VPackedFlags, first, first, second, imm)
                });
            }
        }
        Pcmpestri | Pcmpestri64 | Pcmpestrm | Pcmpestrm64 | Pcmpistri | Pcmpistrm => {
            if b.sse_usable() {
                lift_string_comparison(b, i);
            }
        }
        Maskmovdqu => {
            if b.sse_usable() {
                let (value, mask) = (xmm(i.op1_register()), xmm(i.op2_register()));
                masked_store(b, i, value, mask, 16);
            }
        }
        Maskmovq => {
            if mmx_usable(b) {
                mmx_check(b);
                mmx_read(b, FIRST, i.op1_register());
                mmx_read(b, SOURCE, i.op2_register());
                masked_store(b, i, FIRST, SOURCE, 8);
                mmx_enter(b);
            }
        }
        Emms => {
            if mmx_usable(b) {
                b.push(Uop::new(Op::MmxEmpty));
            }
        }
        _ => return false,
    }
    true
}

/// LDMXCSR and STMXCSR. Memory is the destination of the latter.
fn lift_mxcsr(b: &mut Builder, i: &Instruction) {
    if matches!(i.mnemonic(), Mnemonic::Ldmxcsr | Mnemonic::Vldmxcsr) {
        let memory = b.memory(i, 4, false);
        b.load(Size::B4, Reg::T0, memory);
        b.push(Uop {
            a: Reg::T0,
            ..Uop::new(Op::Ldmxcsr)
        });
    } else {
        b.push(Uop {
            dst: Reg::T0,
            ..Uop::new(Op::Stmxcsr)
        });
        let memory = b.memory(i, 4, true);
        b.store(Size::B4, Reg::T0, memory);
    }
}

fn lift_string_comparison(b: &mut Builder, i: &Instruction) {
    use Mnemonic::*;
    let second = source(b, i, 1);
    let explicit = !matches!(
        i.mnemonic(),
        Pcmpistri | Pcmpistrm | Vpcmpistri | Vpcmpistrm
    );
    let mask = matches!(
        i.mnemonic(),
        Pcmpestrm | Pcmpestrm64 | Pcmpistrm | Vpcmpestrm | Vpcmpestrm64 | Vpcmpistrm
    );
    let wide = matches!(
        i.mnemonic(),
        Pcmpestri64 | Pcmpestrm64 | Vpcmpestri64 | Vpcmpestrm64
    );
    let y = u8::from(explicit) | u8::from(mask) << 1 | u8::from(wide) << 2;
    b.push(Uop {
        a: v(xmm(i.op0_register())),
        b: v(second),
        y,
        imm: immediate(i).into(),
        ..Uop::new(Op::VStringCompare)
    });
}

/// MASKMOVDQU and MASKMOVQ store to DS:rDI (or another segment).
fn masked_store(b: &mut Builder, i: &Instruction, value: VReg, mask: VReg, bytes: u8) {
    let lea = match i.op0_kind() {
        OpKind::MemorySegDI => Op::Lea16,
        OpKind::MemorySegEDI => Op::Lea32,
        _ => Op::Lea64,
    };
    b.op_imm(lea, Reg::T7, Reg::Rdi, 0);
    let segment = i.memory_segment().number() as u8;
    let mut at = Memory::at(Reg::T7);
    if b.is64() {
        if segment >= 4 {
            at.segment = Reg::segment_base(segment);
        }
    } else {
        b.check_segment(Reg::T7, segment, bytes.into(), true);
    }
    b.push(Uop {
        b: v(mask),
        y: bytes,
        ..at.uop(Op::VMaskedStore, v(value))
    });
}
