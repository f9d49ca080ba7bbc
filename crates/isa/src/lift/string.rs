//! String instructions. SDM Vol. 2, "MOVS", "STOS", "LODS", "CMPS", "SCAS", "INS", "OUTS", "REP".
//!
//! A string instruction is one micro-op, which ends its block: with a repeat prefix it executes
//! some of the iterations and, if there are more, leaves RIP at itself. What "some" means is the
//! same in every engine (see the executing routine), because each round counts as an instruction.

use super::Builder;
use crate::Reg;
use crate::uop::{Op, Uop};
use iced_x86::{Instruction, Mnemonic, OpKind};

pub(super) fn lift(b: &mut Builder, i: &Instruction) -> bool {
    use Mnemonic::*;
    let (op, log2_size) = match i.mnemonic() {
        Movsb => (Op::Movs, 0),
        Movsw => (Op::Movs, 1),
        Movsd if is_string(i) => (Op::Movs, 2),
        Movsq => (Op::Movs, 3),
        Stosb => (Op::Stos, 0),
        Stosw => (Op::Stos, 1),
        Stosd => (Op::Stos, 2),
        Stosq => (Op::Stos, 3),
        Lodsb => (Op::Lods, 0),
        Lodsw => (Op::Lods, 1),
        Lodsd => (Op::Lods, 2),
        Lodsq => (Op::Lods, 3),
        Cmpsb => (Op::Cmps, 0),
        Cmpsw => (Op::Cmps, 1),
        Cmpsd if is_string(i) => (Op::Cmps, 2),
        Cmpsq => (Op::Cmps, 3),
        Scasb => (Op::Scas, 0),
        Scasw => (Op::Scas, 1),
        Scasd => (Op::Scas, 2),
        Scasq => (Op::Scas, 3),
        Insb => (Op::Ins, 0),
        Insw => (Op::Ins, 1),
        Insd => (Op::Ins, 2),
        Outsb => (Op::Outs, 0),
        Outsw => (Op::Outs, 1),
        Outsd => (Op::Outs, 2),
        _ => return false,
    };
    let prefix = if i.has_repne_prefix() && matches!(op, Op::Cmps | Op::Scas) {
        2
    } else if i.has_rep_prefix() || i.has_repne_prefix() {
        1
    } else {
        0
    };
    let address = (0..2)
        .map(|n| match i.op_kind(n) {
            OpKind::MemorySegSI | OpKind::MemorySegDI | OpKind::MemoryESDI => 1,
            OpKind::MemorySegESI | OpKind::MemorySegEDI | OpKind::MemoryESEDI => 2,
            OpKind::MemorySegRSI | OpKind::MemorySegRDI | OpKind::MemoryESRDI => 3,
            _ => 0,
        })
        .max()
        .unwrap_or(3);
    let segment = i.memory_segment().number() as u8 & 7;
    let source = if !b.is64() || segment >= 4 {
        Reg::segment_base(segment)
    } else {
        Reg::Zero
    };
    let y = log2_size | prefix << 2 | (address - 1) << 4;
    let x = if b.is64() { 0 } else { 0x80 | segment };
    // imm: this instruction's offset, and the next one's.
    let imm = Uop::pack(b.this_offset() as i32, b.next_offset() as i32);
    b.end(Uop {
        a: source,
        x,
        y,
        imm,
        ..Uop::new(op)
    });
    true
}

fn is_string(i: &Instruction) -> bool {
    !matches!(i.op0_kind(), OpKind::Register)
        && i.op1_kind() != OpKind::Register
        && i.op_count() == 2
}
