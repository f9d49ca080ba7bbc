//! x87 and MMX. SDM Vol. 1, "Programming with the x87 FPU".
use super::{Builder, Size};
use crate::Reg;
use crate::uop::{Op, Uop};
use iced_x86::{Instruction, Mnemonic, OpKind};

pub(super) fn lift(b: &mut Builder, i: &Instruction) -> bool {
    use Mnemonic::*;
    let op = match i.mnemonic() {
        Fninit => 0,
        Fnstcw => 1,
        Fnstsw => 2,
        Wait | Fnclex => 3,
        _ => return false,
    };
    if !b.x87_usable() {
        return true;
    }
    b.push(Uop {
        imm: op << 16,
        ..Uop::new(Op::X87)
    });
    if matches!(i.mnemonic(), Fnstcw | Fnstsw) {
        if i.op0_kind() == OpKind::Memory {
            let memory = b.memory(i, 2, true);
            b.store(Size::B2, Reg::T0, memory);
        } else {
            b.write_register(i.op0_register(), Reg::T0);
        }
    }
    true
}
