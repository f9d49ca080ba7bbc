//! x87. SDM Vol. 1, "Programming with the x87 FPU"; Vol. 2, the pages of the mnemonics.
//!
//! An instruction is one micro-op, which accesses its memory operand itself: whether a store
//! happens at all is known only when the operation is done. The exceptions are FNSTSW AX, which is
//! followed by a move, and segments that need checking.
//!
//! Encodings that the manual leaves out but processors execute (DC D0 and its like) mean what the
//! documented encoding means. FENI, FDISI and FSETPM do nothing, as on every processor since the
//! 387; FRSTPM is undefined.

use super::Builder;
use crate::Reg;
use crate::uop::{Op, Uop};
use iced_x86::{Code, Instruction, OpKind, Register};
use ring3_arithmetic::x87::{ImageFormat, X87Op};

pub(super) fn lift(b: &mut Builder, i: &Instruction) -> bool {
    if i.code() == Code::Wait {
        let usability = b.mode.wait;
        if b.usable(usability) {
            plain(b, i, X87Op::Fwait);
        }
        return true;
    }
    if is_obsolete(i.code()) {
        b.x87_usable();
        return true;
    }
    if let Some((store, format)) = image(b, i.code()) {
        if b.x87_usable() {
            let bytes = i.memory_size().size() as u32;
            if !store {
                check_pending(b);
            }
            let memory = b.memory(i, bytes, store);
            let op = if store {
                Op::X87StoreImage
            } else {
                Op::X87LoadImage
            };
            b.push(Uop {
                y: format as u8
                    | if has_registers(i.code()) {
                        Uop::X87_REGISTERS
                    } else {
                        0
                    },
                ..memory.uop(op, Reg::Zero)
            });
        }
        return true;
    }
    let Some(op) = operation(i.code()) else {
        return false;
    };
    if b.x87_usable() {
        if i.op_count() > 0 && i.op0_kind() == OpKind::Memory {
            with_memory(b, i, op);
        } else {
            plain(b, i, op);
        }
        if i.op0_register() == Register::AX {
            b.write_register(Register::AX, Reg::T0);
        }
    }
    true
}

/// The first opcode byte's low three bits and the second byte, as FOP records them, of the
/// instruction that starts `bytes`; 0 if it is not an x87 instruction.
pub(super) fn opcode(bytes: &[u8]) -> u16 {
    let is_prefix = |byte: &u8| {
        matches!(
            byte,
            0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3
        )
    };
    let start = bytes
        .iter()
        .take(15)
        .take_while(|byte| is_prefix(byte))
        .count();
    match bytes.get(start..start + 2) {
        Some(&[first @ 0xd8..=0xdf, second]) => u16::from(first & 7) << 8 | u16::from(second),
        _ => 0,
    }
}

/// The high half of the immediate: where the instruction is, and its opcode.
fn place(b: &Builder) -> i32 {
    b.this_offset() as i32 | i32::from(b.x87_opcode()) << 16
}

fn plain(b: &mut Builder, i: &Instruction, op: X87Op) {
    use X87Op::*;
    let micro_op = match op {
        Fcomi | Fcomip | Fucomi | Fucomip => Op::X87Flags,
        Fcmovb | Fcmove | Fcmovbe | Fcmovu | Fcmovnb | Fcmovne | Fcmovnbe | Fcmovnu => Op::X87Move,
        _ => Op::X87,
    };
    b.push(Uop {
        y: op as u8,
        imm: Uop::pack(stack_register(i), place(b)),
        ..Uop::new(micro_op)
    });
}

/// The number of the stack register operand; of two, the one that is not ST(0).
fn stack_register(i: &Instruction) -> i32 {
    (0..i.op_count())
        .map(|n| i.op_register(n))
        .filter(|register| register.is_st())
        .map(|register| register.number() as i32)
        .max()
        .unwrap_or(0)
}

/// An exception that is pending comes before whatever the operand's segment raises, as it comes before
/// a page fault. In 64-bit mode nothing is checked before the micro-op of the instruction itself, which
/// looks for pending exceptions first.
fn check_pending(b: &mut Builder) {
    if !b.is64() {
        b.push(Uop::new(Op::MmxEnter));
    }
}

fn with_memory(b: &mut Builder, i: &Instruction, op: X87Op) {
    let bytes = i.memory_size().size() as u32;
    let store = op.is_store();
    if !matches!(op, X87Op::Fnstcw | X87Op::Fnstsw) {
        check_pending(b);
    }
    let mut memory = b.memory(i, bytes, store);
    if i32::try_from(memory.displacement).is_err() {
        // Relative to RIP, and the block's start counts.
        b.push(memory.uop(Op::Lea64, Reg::T7));
        memory.base = Reg::T7;
        memory.index = Reg::Zero;
        memory.x &= !Uop::SCALE;
        memory.displacement = 0;
    }
    let size = match bytes {
        2 => 1,
        4 => 2,
        8 => 3,
        _ => 0,
    };
    // What to take off the address for the data pointer: `b.memory` has added it outside 64-bit mode.
    let added = if b.is64() {
        Reg::Zero
    } else {
        Reg::segment_base(i.memory_segment().number() as u8)
    };
    b.push(Uop {
        y: op as u8,
        x: memory.x | size << Uop::X87_SIZE_SHIFT,
        imm: Uop::pack(memory.displacement as i32, place(b)),
        ..memory.uop(if store { Op::X87Store } else { Op::X87Load }, added)
    });
}

/// Instructions of the first coprocessors that do nothing since the 387. SDM Vol. 3, "x87 FPU"
/// under "Architecture Compatibility".
fn is_obsolete(code: Code) -> bool {
    matches!(code, Code::Fneni | Code::Fndisi | Code::Fnsetpm)
}

fn has_registers(code: Code) -> bool {
    use Code::*;
    matches!(
        code,
        Fnsave_m94byte | Fnsave_m108byte | Frstor_m94byte | Frstor_m108byte
    )
}

/// Whether an environment or state is stored (or loaded), and in which format.
fn image(b: &Builder, code: Code) -> Option<(bool, ImageFormat)> {
    use Code::*;
    let (store, wide) = match code {
        Fnstenv_m14byte | Fnsave_m94byte => (true, false),
        Fnstenv_m28byte | Fnsave_m108byte => (true, true),
        Fldenv_m14byte | Frstor_m94byte => (false, false),
        Fldenv_m28byte | Frstor_m108byte => (false, true),
        _ => return None,
    };
    let format = match (b.mode.real, wide) {
        (true, false) => ImageFormat::Real16,
        (true, true) => ImageFormat::Real32,
        (false, false) => ImageFormat::Protected16,
        (false, true) => ImageFormat::Protected32,
    };
    Some((store, format))
}

fn operation(code: Code) -> Option<X87Op> {
    use Code::*;
    use X87Op as O;
    Some(match code {
        // D8
        Fadd_m32fp => O::FaddM32,
        Fmul_m32fp => O::FmulM32,
        Fcom_m32fp => O::FcomM32,
        Fcomp_m32fp => O::FcompM32,
        Fsub_m32fp => O::FsubM32,
        Fsubr_m32fp => O::FsubrM32,
        Fdiv_m32fp => O::FdivM32,
        Fdivr_m32fp => O::FdivrM32,
        Fadd_st0_sti => O::Fadd,
        Fmul_st0_sti => O::Fmul,
        Fcom_st0_sti | Fcom_st0_sti_DCD0 => O::Fcom,
        Fcomp_st0_sti | Fcomp_st0_sti_DCD8 | Fcomp_st0_sti_DED0 => O::Fcomp,
        Fsub_st0_sti => O::Fsub,
        Fsubr_st0_sti => O::Fsubr,
        Fdiv_st0_sti => O::Fdiv,
        Fdivr_st0_sti => O::Fdivr,
        // D9
        Fld_m32fp => O::FldM32,
        Fst_m32fp => O::FstM32,
        Fstp_m32fp => O::FstpM32,
        Fldcw_m2byte => O::Fldcw,
        Fnstcw_m2byte => O::Fnstcw,
        Fld_sti => O::FldSti,
        Fxch_st0_sti | Fxch_st0_sti_DDC8 | Fxch_st0_sti_DFC8 => O::Fxch,
        Fnop => O::Fnop,
        Fstpnce_sti => O::FstpnceSti,
        Fchs => O::Fchs,
        Fabs => O::Fabs,
        Ftst => O::Ftst,
        Fxam => O::Fxam,
        Fld1 => O::Fld1,
        Fldl2t => O::Fldl2t,
        Fldl2e => O::Fldl2e,
        Fldpi => O::Fldpi,
        Fldlg2 => O::Fldlg2,
        Fldln2 => O::Fldln2,
        Fldz => O::Fldz,
        F2xm1 => O::F2xm1,
        Fyl2x => O::Fyl2x,
        Fptan => O::Fptan,
        Fpatan => O::Fpatan,
        Fxtract => O::Fxtract,
        Fprem1 => O::Fprem1,
        Fdecstp => O::Fdecstp,
        Fincstp => O::Fincstp,
        Fprem => O::Fprem,
        Fyl2xp1 => O::Fyl2xp1,
        Fsqrt => O::Fsqrt,
        Fsincos => O::Fsincos,
        Frndint => O::Frndint,
        Fscale => O::Fscale,
        Fsin => O::Fsin,
        Fcos => O::Fcos,
        // DA
        Fiadd_m32int => O::FiaddM32,
        Fimul_m32int => O::FimulM32,
        Ficom_m32int => O::FicomM32,
        Ficomp_m32int => O::FicompM32,
        Fisub_m32int => O::FisubM32,
        Fisubr_m32int => O::FisubrM32,
        Fidiv_m32int => O::FidivM32,
        Fidivr_m32int => O::FidivrM32,
        Fcmovb_st0_sti => O::Fcmovb,
        Fcmove_st0_sti => O::Fcmove,
        Fcmovbe_st0_sti => O::Fcmovbe,
        Fcmovu_st0_sti => O::Fcmovu,
        Fucompp => O::Fucompp,
        // DB
        Fild_m32int => O::FildM32,
        Fisttp_m32int => O::FisttpM32,
        Fist_m32int => O::FistM32,
        Fistp_m32int => O::FistpM32,
        Fld_m80fp => O::FldM80,
        Fstp_m80fp => O::FstpM80,
        Fcmovnb_st0_sti => O::Fcmovnb,
        Fcmovne_st0_sti => O::Fcmovne,
        Fcmovnbe_st0_sti => O::Fcmovnbe,
        Fcmovnu_st0_sti => O::Fcmovnu,
        Fnclex => O::Fnclex,
        Fninit => O::Fninit,
        Fucomi_st0_sti => O::Fucomi,
        Fcomi_st0_sti => O::Fcomi,
        // DC
        Fadd_m64fp => O::FaddM64,
        Fmul_m64fp => O::FmulM64,
        Fcom_m64fp => O::FcomM64,
        Fcomp_m64fp => O::FcompM64,
        Fsub_m64fp => O::FsubM64,
        Fsubr_m64fp => O::FsubrM64,
        Fdiv_m64fp => O::FdivM64,
        Fdivr_m64fp => O::FdivrM64,
        Fadd_sti_st0 => O::FaddSti,
        Fmul_sti_st0 => O::FmulSti,
        Fsub_sti_st0 => O::FsubSti,
        Fsubr_sti_st0 => O::FsubrSti,
        Fdiv_sti_st0 => O::FdivSti,
        Fdivr_sti_st0 => O::FdivrSti,
        // DD
        Fld_m64fp => O::FldM64,
        Fisttp_m64int => O::FisttpM64,
        Fst_m64fp => O::FstM64,
        Fstp_m64fp => O::FstpM64,
        Fnstsw_m2byte | Fnstsw_AX => O::Fnstsw,
        Ffree_sti => O::Ffree,
        Fst_sti => O::FstSti,
        Fstp_sti | Fstp_sti_DFD0 | Fstp_sti_DFD8 => O::FstpSti,
        Fucom_st0_sti => O::Fucom,
        Fucomp_st0_sti => O::Fucomp,
        // DE
        Fiadd_m16int => O::FiaddM16,
        Fimul_m16int => O::FimulM16,
        Ficom_m16int => O::FicomM16,
        Ficomp_m16int => O::FicompM16,
        Fisub_m16int => O::FisubM16,
        Fisubr_m16int => O::FisubrM16,
        Fidiv_m16int => O::FidivM16,
        Fidivr_m16int => O::FidivrM16,
        Faddp_sti_st0 => O::Faddp,
        Fmulp_sti_st0 => O::Fmulp,
        Fcompp => O::Fcompp,
        Fsubp_sti_st0 => O::Fsubp,
        Fsubrp_sti_st0 => O::Fsubrp,
        Fdivp_sti_st0 => O::Fdivp,
        Fdivrp_sti_st0 => O::Fdivrp,
        // DF
        Fild_m16int => O::FildM16,
        Fisttp_m16int => O::FisttpM16,
        Fist_m16int => O::FistM16,
        Fistp_m16int => O::FistpM16,
        Fbld_m80bcd => O::Fbld,
        Fild_m64int => O::FildM64,
        Fbstp_m80bcd => O::Fbstp,
        Fistp_m64int => O::FistpM64,
        Ffreep_sti => O::Ffreep,
        Fucomip_st0_sti => O::Fucomip,
        Fcomip_st0_sti => O::Fcomip,
        _ => return None,
    })
}
