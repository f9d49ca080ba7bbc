//! MMX and SSE to SSE4.2, AES, PCLMULQDQ, SHA and GFNI in their legacy encodings. SDM Vol. 2, the
//! pages of the mnemonics.
//!
//! Operand rules: a 16-byte memory operand must be aligned, except for the unaligned moves and the
//! string comparisons (Vol. 1, "Memory Operands"; Vol. 2, "Exceptions Type 4"); exactly the
//! operand's bytes are loaded. An instruction with an MMX register reports a pending x87 exception
//! before it accesses memory, and sets TOP and the tags once nothing can fault any more (Vol. 3,
//! "Intel MMX Technology System Programming").
//!
//! Not here: CRC32 and POPCNT ([`super::integer`]), FXSAVE and XSAVE ([`super::system`]), the VEX
//! encodings.

use super::{Builder, Memory, Size};
use crate::uop::{Op, Uop, v};
use crate::{Reg, VReg};
use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use ring3_arithmetic::float::FloatOp;
use ring3_arithmetic::packed::{Packed3Op, PackedOp};

/// Temporaries: the first operand of MMX instructions, a loaded source, a count, a result.
const FIRST: VReg = VReg::V0;
const SOURCE: VReg = VReg::V1;
const COUNT: VReg = VReg::V2;
const RESULT: VReg = VReg::V3;

pub(super) fn lift(b: &mut Builder, i: &Instruction) -> bool {
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

/// Sixteen-byte operands that may stand anywhere.
fn may_be_unaligned(mnemonic: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(
        mnemonic,
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
    let alignment = if bytes == 16 && !may_be_unaligned(i.mnemonic()) {
        Uop::ALIGNED
    } else {
        0
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
        M::Paddb => (Paddb, Both),
        M::Paddw => (Paddw, Both),
        M::Paddd => (Paddd, Both),
        M::Paddq => (Paddq, Both),
        M::Paddsb => (Paddsb, Both),
        M::Paddsw => (Paddsw, Both),
        M::Paddusb => (Paddusb, Both),
        M::Paddusw => (Paddusw, Both),
        M::Psubb => (Psubb, Both),
        M::Psubw => (Psubw, Both),
        M::Psubd => (Psubd, Both),
        M::Psubq => (Psubq, Both),
        M::Psubsb => (Psubsb, Both),
        M::Psubsw => (Psubsw, Both),
        M::Psubusb => (Psubusb, Both),
        M::Psubusw => (Psubusw, Both),
        M::Pmullw => (Pmullw, Both),
        M::Pmulhw => (Pmulhw, Both),
        M::Pmulhuw => (Pmulhuw, Both),
        M::Pmulhrsw => (Pmulhrsw, Both),
        M::Pmulld => (Pmulld, Both),
        M::Pmuludq => (Pmuludq, Both),
        M::Pmuldq => (Pmuldq, Both),
        M::Pmaddwd => (Pmaddwd, Both),
        M::Pmaddubsw => (Pmaddubsw, Both),
        M::Pavgb => (Pavgb, Both),
        M::Pavgw => (Pavgw, Both),
        M::Psadbw => (Psadbw, Both),
        M::Mpsadbw => (Mpsadbw, Both),
        M::Phminposuw => (Phminposuw, Second),
        M::Pminsb => (Pminsb, Both),
        M::Pminsw => (Pminsw, Both),
        M::Pminsd => (Pminsd, Both),
        M::Pminub => (Pminub, Both),
        M::Pminuw => (Pminuw, Both),
        M::Pminud => (Pminud, Both),
        M::Pmaxsb => (Pmaxsb, Both),
        M::Pmaxsw => (Pmaxsw, Both),
        M::Pmaxsd => (Pmaxsd, Both),
        M::Pmaxub => (Pmaxub, Both),
        M::Pmaxuw => (Pmaxuw, Both),
        M::Pmaxud => (Pmaxud, Both),
        M::Pcmpeqb => (Pcmpeqb, Both),
        M::Pcmpeqw => (Pcmpeqw, Both),
        M::Pcmpeqd => (Pcmpeqd, Both),
        M::Pcmpeqq => (Pcmpeqq, Both),
        M::Pcmpgtb => (Pcmpgtb, Both),
        M::Pcmpgtw => (Pcmpgtw, Both),
        M::Pcmpgtd => (Pcmpgtd, Both),
        M::Pcmpgtq => (Pcmpgtq, Both),
        M::Pabsb => (Pabsb, Second),
        M::Pabsw => (Pabsw, Second),
        M::Pabsd => (Pabsd, Second),
        M::Psignb => (Psignb, Both),
        M::Psignw => (Psignw, Both),
        M::Psignd => (Psignd, Both),
        M::Phaddw => (Phaddw, Both),
        M::Phaddd => (Phaddd, Both),
        M::Phaddsw => (Phaddsw, Both),
        M::Phsubw => (Phsubw, Both),
        M::Phsubd => (Phsubd, Both),
        M::Phsubsw => (Phsubsw, Both),
        M::Pand | M::Andps | M::Andpd => (Pand, Both),
        M::Pandn | M::Andnps | M::Andnpd => (Pandn, Both),
        M::Por | M::Orps | M::Orpd => (Por, Both),
        M::Pxor | M::Xorps | M::Xorpd => (Pxor, Both),
        M::Psllw => (Psllw, Both),
        M::Pslld => (Pslld, Both),
        M::Psllq => (Psllq, Both),
        M::Psrlw => (Psrlw, Both),
        M::Psrld => (Psrld, Both),
        M::Psrlq => (Psrlq, Both),
        M::Psraw => (Psraw, Both),
        M::Psrad => (Psrad, Both),
        M::Pslldq => (Pslldq, Both),
        M::Psrldq => (Psrldq, Both),
        M::Palignr => (Palignr, Both),
        M::Packsswb => (Packsswb, Both),
        M::Packssdw => (Packssdw, Both),
        M::Packuswb => (Packuswb, Both),
        M::Packusdw => (Packusdw, Both),
        M::Punpcklbw => (Punpcklbw, Both),
        M::Punpcklwd => (Punpcklwd, Both),
        M::Punpckldq | M::Unpcklps => (Punpckldq, Both),
        M::Punpcklqdq | M::Unpcklpd => (Punpcklqdq, Both),
        M::Punpckhbw => (Punpckhbw, Both),
        M::Punpckhwd => (Punpckhwd, Both),
        M::Punpckhdq | M::Unpckhps => (Punpckhdq, Both),
        M::Punpckhqdq | M::Unpckhpd => (Punpckhqdq, Both),
        M::Pshufd => (Pshufd, Second),
        M::Pshufhw => (Pshufhw, Second),
        M::Pshuflw | M::Pshufw => (Pshuflw, Second),
        M::Pshufb => (Pshufb, Both),
        M::Shufps => (Shufps, Both),
        M::Shufpd => (Shufpd, Both),
        M::Movddup => (Movddup, Second),
        M::Movsldup => (Movsldup, Second),
        M::Movshdup => (Movshdup, Second),
        M::Pblendw => (Pblendw, Both),
        M::Blendps => (Blendps, Both),
        M::Blendpd => (Blendpd, Both),
        M::Pmovsxbw => (Pmovsxbw, Second),
        M::Pmovsxbd => (Pmovsxbd, Second),
        M::Pmovsxbq => (Pmovsxbq, Second),
        M::Pmovsxwd => (Pmovsxwd, Second),
        M::Pmovsxwq => (Pmovsxwq, Second),
        M::Pmovsxdq => (Pmovsxdq, Second),
        M::Pmovzxbw => (Pmovzxbw, Second),
        M::Pmovzxbd => (Pmovzxbd, Second),
        M::Pmovzxbq => (Pmovzxbq, Second),
        M::Pmovzxwd => (Pmovzxwd, Second),
        M::Pmovzxwq => (Pmovzxwq, Second),
        M::Pmovzxdq => (Pmovzxdq, Second),
        M::Pclmulqdq => (Pclmulqdq, Both),
        M::Aesenc => (Aesenc, Both),
        M::Aesenclast => (Aesenclast, Both),
        M::Aesdec => (Aesdec, Both),
        M::Aesdeclast => (Aesdeclast, Both),
        M::Aesimc => (Aesimc, Second),
        M::Aeskeygenassist => (Aeskeygenassist, Second),
        M::Sha1rnds4 => (Sha1rnds4, Both),
        M::Sha1nexte => (Sha1nexte, Both),
        M::Sha1msg1 => (Sha1msg1, Both),
        M::Sha1msg2 => (Sha1msg2, Both),
        M::Sha256msg1 => (Sha256msg1, Both),
        M::Sha256msg2 => (Sha256msg2, Both),
        M::Gf2p8mulb => (Gf2p8mulb, Both),
        M::Gf2p8affineqb => (Gf2p8affineqb, Both),
        M::Gf2p8affineinvqb => (Gf2p8affineinvqb, Both),
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
        Mnemonic::Pblendvb => Packed3Op::Pblendvb,
        Mnemonic::Blendvps => Packed3Op::Blendvps,
        Mnemonic::Blendvpd => Packed3Op::Blendvpd,
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
        M::Addss => (Addss, Both),
        M::Addsd => (Addsd, Both),
        M::Addps => (Addps, Both),
        M::Addpd => (Addpd, Both),
        M::Subss => (Subss, Both),
        M::Subsd => (Subsd, Both),
        M::Subps => (Subps, Both),
        M::Subpd => (Subpd, Both),
        M::Mulss => (Mulss, Both),
        M::Mulsd => (Mulsd, Both),
        M::Mulps => (Mulps, Both),
        M::Mulpd => (Mulpd, Both),
        M::Divss => (Divss, Both),
        M::Divsd => (Divsd, Both),
        M::Divps => (Divps, Both),
        M::Divpd => (Divpd, Both),
        M::Minss => (Minss, Both),
        M::Minsd => (Minsd, Both),
        M::Minps => (Minps, Both),
        M::Minpd => (Minpd, Both),
        M::Maxss => (Maxss, Both),
        M::Maxsd => (Maxsd, Both),
        M::Maxps => (Maxps, Both),
        M::Maxpd => (Maxpd, Both),
        M::Sqrtss => (Sqrtss, Both),
        M::Sqrtsd => (Sqrtsd, Both),
        M::Sqrtps => (Sqrtps, Second),
        M::Sqrtpd => (Sqrtpd, Second),
        M::Rcpss => (Rcpss, Both),
        M::Rcpps => (Rcpps, Second),
        M::Rsqrtss => (Rsqrtss, Both),
        M::Rsqrtps => (Rsqrtps, Second),
        M::Cmpss => (Cmpss, Both),
        M::Cmpsd => (Cmpsd, Both),
        M::Cmpps => (Cmpps, Both),
        M::Cmppd => (Cmppd, Both),
        M::Cvtss2sd => (Cvtss2sd, Both),
        M::Cvtsd2ss => (Cvtsd2ss, Both),
        M::Cvtps2pd => (Cvtps2pd, Second),
        M::Cvtpd2ps => (Cvtpd2ps, Second),
        M::Cvtdq2ps => (Cvtdq2ps, Second),
        M::Cvtdq2pd => (Cvtdq2pd, Second),
        M::Cvtps2dq => (Cvtps2dq, Second),
        M::Cvttps2dq => (Cvttps2dq, Second),
        M::Cvtpd2dq => (Cvtpd2dq, Second),
        M::Cvttpd2dq => (Cvttpd2dq, Second),
        M::Roundss => (Roundss, Both),
        M::Roundsd => (Roundsd, Both),
        M::Roundps => (Roundps, Second),
        M::Roundpd => (Roundpd, Second),
        M::Dpps => (Dpps, Both),
        M::Dppd => (Dppd, Both),
        M::Haddps => (Haddps, Both),
        M::Haddpd => (Haddpd, Both),
        M::Hsubps => (Hsubps, Both),
        M::Hsubpd => (Hsubpd, Both),
        M::Addsubps => (Addsubps, Both),
        M::Addsubpd => (Addsubpd, Both),
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

/// Comparisons into flags, and conversions from and to general and MMX registers.
fn lift_conversion(b: &mut Builder, i: &Instruction) -> bool {
    use Mnemonic as M;
    // The wide operation where a general register or its replacement in memory has 64 bits.
    let wide =
        |narrow: FloatOp, wide: FloatOp, bytes: usize| if bytes == 8 { wide } else { narrow };
    let bytes_of_op1 = match i.op1_kind() {
        OpKind::Memory => i.memory_size().size(),
        _ => i.op1_register().size(),
    };
    let bytes_of_op0 = i.op0_register().size();
    let op = match i.mnemonic() {
        M::Comiss => FloatOp::Comiss,
        M::Comisd => FloatOp::Comisd,
        M::Ucomiss => FloatOp::Ucomiss,
        M::Ucomisd => FloatOp::Ucomisd,
        M::Cvtsi2ss => wide(FloatOp::Cvtsi2ss32, FloatOp::Cvtsi2ss64, bytes_of_op1),
        M::Cvtsi2sd => wide(FloatOp::Cvtsi2sd32, FloatOp::Cvtsi2sd64, bytes_of_op1),
        M::Cvtss2si => wide(FloatOp::Cvtss2si32, FloatOp::Cvtss2si64, bytes_of_op0),
        M::Cvtsd2si => wide(FloatOp::Cvtsd2si32, FloatOp::Cvtsd2si64, bytes_of_op0),
        M::Cvttss2si => wide(FloatOp::Cvttss2si32, FloatOp::Cvttss2si64, bytes_of_op0),
        M::Cvttsd2si => wide(FloatOp::Cvttsd2si32, FloatOp::Cvttsd2si64, bytes_of_op0),
        M::Cvtpi2ps => FloatOp::Cvtpi2ps,
        M::Cvtpi2pd => FloatOp::Cvtpi2pd,
        M::Cvtps2pi => FloatOp::Cvtps2pi,
        M::Cvttps2pi => FloatOp::Cvttps2pi,
        M::Cvtpd2pi => FloatOp::Cvtpd2pi,
        M::Cvttpd2pi => FloatOp::Cvttpd2pi,
        _ => return false,
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
        Mnemonic::Pinsrb => PackedOp::Pinsrb,
        Mnemonic::Pinsrw => PackedOp::Pinsrw,
        Mnemonic::Pinsrd => PackedOp::Pinsrd,
        Mnemonic::Pinsrq => PackedOp::Pinsrq,
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
        Mnemonic::Pextrb => (PackedOp::Pextrb, Size::B1),
        Mnemonic::Pextrw => (PackedOp::Pextrw, Size::B2),
        Mnemonic::Pextrd | Mnemonic::Extractps => (PackedOp::Pextrd, Size::B4),
        Mnemonic::Pextrq => (PackedOp::Pextrq, Size::B8),
        Mnemonic::Pmovmskb => (PackedOp::Pmovmskb, Size::B4),
        Mnemonic::Movmskps => (PackedOp::Movmskps, Size::B4),
        Mnemonic::Movmskpd => (PackedOp::Movmskpd, Size::B4),
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
        Ldmxcsr => {
            if b.sse_usable() {
                let memory = b.memory(i, 4, false);
                b.load(Size::B4, Reg::T0, memory);
                b.push(Uop {
                    a: Reg::T0,
                    ..Uop::new(Op::Ldmxcsr)
                });
            }
        }
        Stmxcsr => {
            if b.sse_usable() {
                b.push(Uop {
                    dst: Reg::T0,
                    ..Uop::new(Op::Stmxcsr)
                });
                let memory = b.memory(i, 4, true);
                b.store(Size::B4, Reg::T0, memory);
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

fn lift_string_comparison(b: &mut Builder, i: &Instruction) {
    use Mnemonic::*;
    let second = source(b, i, 1);
    let explicit = !matches!(i.mnemonic(), Pcmpistri | Pcmpistrm);
    let mask = matches!(i.mnemonic(), Pcmpestrm | Pcmpestrm64 | Pcmpistrm);
    let wide = matches!(i.mnemonic(), Pcmpestri64 | Pcmpestrm64);
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
