//! PUSH, POP, frames, flags on the stack. SDM Vol. 2, "PUSH", "POP", "ENTER", "LEAVE", "PUSHF".

use super::{Builder, Memory, Size};
use crate::Reg;
use crate::uop::{Op, Uop};
use iced_x86::{Instruction, Mnemonic, OpKind};

impl Builder {
    /// Width of the stack pointer: 64-bit mode, SS.B set, SS.B clear.
    fn stack_lea(&self) -> Op {
        if self.is64() {
            Op::Lea64
        } else if self.mode.stack32 {
            Op::Lea32
        } else {
            Op::Lea16
        }
    }

    /// The operand at `offset` from the stack pointer, ready to be accessed.
    fn stack_operand(&mut self, offset: i64, size: Size, write: bool) -> Memory {
        if self.is64() {
            let memory = Memory::at(Reg::Rsp).plus(offset);
            return Memory {
                x: Uop::STACK,
                ..memory
            };
        }
        self.op_imm(self.stack_lea(), Reg::T6, Reg::Rsp, offset);
        self.check_segment(Reg::T6, 2, size.bytes().into(), write);
        Memory::at(Reg::T6)
    }

    /// RSP += `bytes`, flags untouched.
    pub(crate) fn adjust_stack(&mut self, bytes: i64) {
        if self.stack_lea() == Op::Lea16 {
            self.op_imm(Op::Lea16, Reg::T6, Reg::Rsp, bytes);
            self.op2(Op::Mov16, Reg::Rsp, Reg::T6);
        } else {
            self.op_imm(self.stack_lea(), Reg::Rsp, Reg::Rsp, bytes);
        }
    }

    /// Pushes the low part of a register.
    pub(crate) fn push_value(&mut self, size: Size, value: Reg) {
        let bytes = i64::from(size.bytes());
        let memory = self.stack_operand(-bytes, size, true);
        self.store(size, value, memory);
        self.adjust_stack(-bytes);
    }

    /// Reads the top of the stack without moving the stack pointer.
    pub(crate) fn pop_into(&mut self, size: Size, dst: Reg) {
        let memory = self.stack_operand(0, size, false);
        self.load(size, dst, memory);
    }
}

/// The size of what PUSH, POP and their kin move, from the instruction's code.
fn operand_size(b: &Builder, i: &Instruction) -> Size {
    match i.stack_pointer_increment().unsigned_abs() {
        2 => Size::B2,
        4 if !b.is64() => Size::B4,
        _ if b.is64() => Size::B8,
        _ => Size::B4,
    }
}

pub(super) fn lift(b: &mut Builder, i: &Instruction) -> bool {
    use Mnemonic::*;
    match i.mnemonic() {
        Push => {
            let size = operand_size(b, i);
            let value =
                if i.op0_kind() == OpKind::Register && i.op0_register().is_segment_register() {
                    let number = i.op0_register().number() as u8;
                    b.push(Uop {
                        dst: Reg::T0,
                        y: number,
                        ..Uop::new(Op::ReadSegment)
                    });
                    Reg::T0
                } else {
                    b.read(i, 0, Reg::T0)
                };
            b.push_value(size, value);
        }
        Pop => lift_pop(b, i),
        Pushf | Pushfd | Pushfq => {
            let size = operand_size(b, i);
            b.push(Uop {
                dst: Reg::T0,
                ..Uop::new(Op::ReadFlags)
            });
            b.push_value(size, Reg::T0);
        }
        Popf | Popfd | Popfq => {
            let size = operand_size(b, i);
            b.pop_into(size, Reg::T0);
            let bytes = i64::from(size.bytes());
            b.stack_pointer_after(bytes, Reg::T1);
            b.end_routine(Uop {
                a: Reg::T0,
                b: Reg::T1,
                y: size.bytes(),
                ..Uop::new(Op::WriteFlags)
            });
        }
        Leave => {
            let size = operand_size_of_leave(b, i);
            // RSP := RBP, then pop RBP; the load can fault, so it comes first.
            let memory = if b.is64() {
                Memory {
                    x: Uop::STACK,
                    ..Memory::at(Reg::Rbp)
                }
            } else {
                b.op_imm(b.stack_lea(), Reg::T6, Reg::Rbp, 0);
                b.check_segment(Reg::T6, 2, size.bytes().into(), false);
                Memory::at(Reg::T6)
            };
            b.load(size, Reg::T0, memory);
            let bytes = i64::from(size.bytes());
            if b.stack_lea() == Op::Lea16 {
                b.op_imm(Op::Lea16, Reg::T6, Reg::Rbp, bytes);
                b.op2(Op::Mov16, Reg::Rsp, Reg::T6);
            } else {
                b.op_imm(b.stack_lea(), Reg::Rsp, Reg::Rbp, bytes);
            }
            b.move_sized(size, Reg::Rbp, Reg::T0);
        }
        Enter => {
            let y = i.immediate8_2nd();
            let size = if b.is64() {
                if i.code() == iced_x86::Code::Enterw_imm16_imm8 {
                    2
                } else {
                    8
                }
            } else if i.code() == iced_x86::Code::Enterw_imm16_imm8 {
                2
            } else {
                4
            };
            let imm = Uop::pack(i.immediate16() as i32, size);
            b.push(Uop {
                y,
                imm,
                ..Uop::new(Op::Enter)
            });
        }
        Pusha | Pushad => {
            let y = if i.mnemonic() == Pusha { 2 } else { 4 };
            b.push(Uop {
                y,
                ..Uop::new(Op::Pusha)
            });
        }
        Popa | Popad => {
            let y = if i.mnemonic() == Popa { 2 } else { 4 };
            b.push(Uop {
                y,
                ..Uop::new(Op::Popa)
            });
        }
        _ => return false,
    }
    true
}

fn operand_size_of_leave(b: &Builder, i: &Instruction) -> Size {
    if i.code() == iced_x86::Code::Leavew {
        Size::B2
    } else if b.is64() {
        Size::B8
    } else {
        Size::B4
    }
}

impl Builder {
    /// `dst` = what RSP will be after moving by `bytes` (merged where the stack is 16 bits wide).
    fn stack_pointer_after(&mut self, bytes: i64, dst: Reg) {
        if self.stack_lea() == Op::Lea16 {
            self.op_imm(Op::Lea16, Reg::T6, Reg::Rsp, bytes);
            self.op2(Op::Mov64, dst, Reg::Rsp);
            self.op2(Op::Mov16, dst, Reg::T6);
        } else {
            self.op_imm(self.stack_lea(), dst, Reg::Rsp, bytes);
        }
    }
}

fn lift_pop(b: &mut Builder, i: &Instruction) {
    let size = operand_size(b, i);
    let bytes = i64::from(size.bytes());
    b.pop_into(size, Reg::T0);
    if i.op0_kind() == OpKind::Memory {
        // The address is computed with the stack pointer already moved.
        b.stack_moved = bytes;
        let memory = b.memory(i, size.bytes().into(), true);
        b.stack_moved = 0;
        b.store(size, Reg::T0, memory);
        b.adjust_stack(bytes);
    } else if i.op0_register().is_segment_register() {
        let number = i.op0_register().number() as u8;
        b.stack_pointer_after(bytes, Reg::T1);
        b.end_routine(Uop {
            a: Reg::T0,
            b: Reg::T1,
            y: number,
            ..Uop::new(Op::LoadSegment)
        });
    } else {
        b.adjust_stack(bytes);
        b.write_register(i.op0_register(), Reg::T0);
    }
}
