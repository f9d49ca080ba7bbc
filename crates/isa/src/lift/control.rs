//! Branches, calls, returns. SDM Vol. 2, "Jcc", "JMP", "CALL", "RET", "LOOP".

use super::integer::condition_of;
use super::{Builder, Size};
use crate::uop::{Op, Uop};
use crate::{Condition, Reg};
use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind};

pub(super) fn lift(b: &mut Builder, i: &Instruction) -> bool {
    use Mnemonic::*;
    match i.mnemonic() {
        Jmp if is_near(i) => {
            let target = i.near_branch_target() as i64;
            let x = b.jump_width(Some(i.op0_kind() == OpKind::NearBranch16));
            b.end(Uop {
                imm: target,
                x,
                ..Uop::new(Op::Jump)
            });
        }
        Jmp if is_indirect_near(i) => {
            let size = Builder::size(i, 0);
            let target = read_target(b, i, size);
            let x = b.jump_width(Some(size == Size::B2));
            b.end(Uop {
                a: target,
                x,
                ..Uop::new(Op::JumpTo)
            });
        }
        Call if is_near(i) => {
            let size = operand_size(b, i.op0_kind() == OpKind::NearBranch16);
            push_return_address(b, size);
            let x = b.jump_width(Some(size == Size::B2));
            b.end(Uop {
                imm: i.near_branch_target() as i64,
                x,
                ..Uop::new(Op::CallJump)
            });
        }
        Call if is_indirect_near(i) => {
            let size = Builder::size(i, 0);
            let target = read_target(b, i, size);
            if target != Reg::T0 {
                b.op2(Op::Mov64, Reg::T0, target);
            }
            b.push(Uop {
                a: Reg::T0,
                x: b.jump_width(Some(size == Size::B2)),
                ..Uop::new(Op::CheckTarget)
            });
            push_return_address(b, size);
            let x = b.jump_width(Some(size == Size::B2));
            b.end(Uop {
                a: Reg::T0,
                x,
                ..Uop::new(Op::CallTo)
            });
        }
        Ret => {
            let size = operand_size(
                b,
                i.code() == iced_x86::Code::Retnw || i.code() == iced_x86::Code::Retnw_imm16,
            );
            b.pop_into(size, Reg::T0);
            let x = b.jump_width(Some(size == Size::B2));
            b.push(Uop {
                a: Reg::T0,
                x,
                ..Uop::new(Op::CheckTarget)
            });
            let release = if i.op_count() > 0 {
                i.immediate16() as i64
            } else {
                0
            };
            b.adjust_stack(i64::from(size.bytes()) + release);
            b.end(Uop {
                a: Reg::T0,
                x,
                ..Uop::new(Op::ReturnTo)
            });
        }
        Jcxz | Jecxz | Jrcxz => {
            let bits = match i.mnemonic() {
                Jcxz => 16,
                Jecxz => 32,
                _ => 64,
            };
            branch_on(b, i, Op::BranchZero, Reg::Rcx, bits);
        }
        Loop | Loope | Loopne => lift_loop(b, i),
        _ if i.flow_control() == FlowControl::ConditionalBranch && i.is_jcc_short_or_near() => {
            let x = b.jump_width(Some(i.op0_kind() == OpKind::NearBranch16));
            let imm = offsets(b, i);
            b.end(Uop {
                y: condition_of(i) as u8,
                x,
                imm,
                ..Uop::new(Op::Branch)
            });
        }
        _ => return false,
    }
    true
}

fn is_near(i: &Instruction) -> bool {
    matches!(
        i.op0_kind(),
        OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64
    )
}

fn is_indirect_near(i: &Instruction) -> bool {
    i.is_jmp_near_indirect() || i.is_call_near_indirect()
}

fn operand_size(b: &Builder, operand16: bool) -> Size {
    if b.is64() {
        Size::B8
    } else if operand16 {
        Size::B2
    } else {
        Size::B4
    }
}

fn read_target(b: &mut Builder, i: &Instruction, size: Size) -> Reg {
    let target = b.read(i, 0, Reg::T0);
    if size == Size::B8 {
        return target;
    }
    let op = if size == Size::B2 {
        Op::Zx16
    } else {
        Op::Mov32
    };
    b.op2(op, Reg::T0, target);
    Reg::T0
}

fn push_return_address(b: &mut Builder, size: Size) {
    let next = b.next_offset();
    b.op_imm(
        if b.is64() { Op::Lea64 } else { Op::Lea32 },
        Reg::T1,
        Reg::Rip,
        next,
    );
    b.push_value(size, Reg::T1);
}

/// Both offsets of a conditional branch.
fn offsets(b: &Builder, i: &Instruction) -> i64 {
    // Conditional branches reach 2 GiB from the next instruction and blocks are short, so the
    // offset from the block's start can leave 32 bits only for a branch of almost that length;
    // wrapping keeps the low 32 bits right, which is all that narrower code sizes need.
    Uop::pack(i.near_branch_target() as i32, b.next_offset() as i32)
}

fn branch_on(b: &mut Builder, i: &Instruction, op: Op, register: Reg, bits: u8) {
    let x = b.jump_width(Some(i.op0_kind() == OpKind::NearBranch16));
    let imm = offsets(b, i);
    b.end(Uop {
        a: register,
        y: bits,
        x,
        imm,
        ..Uop::new(op)
    });
}

/// LOOP decrements without touching flags; LOOPE and LOOPNE look at ZF too.
fn lift_loop(b: &mut Builder, i: &Instruction) {
    let bits = loop_counter_bits(b, i);
    let decrement = |b: &mut Builder, dst: Reg| match bits {
        16 => {
            b.op_imm(Op::Lea16, Reg::T1, Reg::Rcx, -1);
            b.op2(Op::Mov16, dst, Reg::T1);
        }
        32 => b.op_imm(Op::Lea32, dst, Reg::Rcx, -1),
        _ => b.op_imm(Op::Lea64, dst, Reg::Rcx, -1),
    };
    decrement(b, Reg::Rcx);
    if i.mnemonic() == Mnemonic::Loop {
        return branch_on(b, i, Op::BranchNotZero, Reg::Rcx, bits);
    }
    // T0 = the counter if ZF says "go on", else zero.
    let go_on = if i.mnemonic() == Mnemonic::Loope {
        Condition::E
    } else {
        Condition::Ne
    };
    b.constant(Reg::T0, 0);
    b.conditional(Op::CmovKeep64, Reg::T0, Reg::Rcx, go_on);
    branch_on(b, i, Op::BranchNotZero, Reg::T0, bits);
}

fn loop_counter_bits(b: &Builder, i: &Instruction) -> u8 {
    use iced_x86::Code::*;
    match i.code() {
        Loop_rel8_16_CX | Loop_rel8_32_CX | Loope_rel8_16_CX | Loope_rel8_32_CX
        | Loopne_rel8_16_CX | Loopne_rel8_32_CX => 16,
        Loop_rel8_16_ECX | Loop_rel8_32_ECX | Loop_rel8_64_ECX | Loope_rel8_16_ECX
        | Loope_rel8_32_ECX | Loope_rel8_64_ECX | Loopne_rel8_16_ECX | Loopne_rel8_32_ECX
        | Loopne_rel8_64_ECX => 32,
        _ if b.is64() => 64,
        _ => 32,
    }
}
