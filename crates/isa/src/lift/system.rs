//! System instructions: each is a routine of the `cpu` crate, called with its operands in
//! registers. SDM Vol. 2 and Vol. 3, the pages of the mnemonics.

use super::{Builder, Size};
use crate::Reg;
use crate::uop::{Op, Uop};
use iced_x86::{Instruction, Mnemonic, OpKind};
use ring3_arch::Exception;

pub(super) fn lift(b: &mut Builder, i: &Instruction) -> bool {
    if user_interrupts(b, i) || control_registers(b, i) || segments(b, i) || state(b, i) {
        return true;
    }
    use Mnemonic::*;
    match i.mnemonic() {
        Cpuid => b.push(Uop::new(Op::Cpuid)),
        Rdtsc => b.end_routine(Uop::new(Op::Rdtsc)),
        Rdtscp => b.end_routine(Uop::new(Op::Rdtscp)),
        Rdpid => b.push(Uop {
            dst: Builder::gpr(i.op0_register()),
            ..Uop::new(Op::Rdpid)
        }),
        Rdpmc => b.end_routine(Uop::new(Op::Rdpmc)),
        Rdmsr => b.end_routine(Uop::new(Op::Rdmsr)),
        Wrmsr => b.end_routine(Uop::new(Op::Wrmsr)),
        In => {
            let port = b.read(i, 1, Reg::T0);
            b.end_routine(Uop {
                a: port,
                y: i.op0_register().size() as u8,
                ..Uop::new(Op::In)
            });
        }
        Out => {
            let port = b.read(i, 0, Reg::T0);
            b.end_routine(Uop {
                a: port,
                y: i.op1_register().size() as u8,
                ..Uop::new(Op::Out)
            });
        }
        Hlt => b.end_routine(Uop::new(Op::Hlt)),
        Pause => b.end_routine(Uop::new(Op::Pause)),
        Cli => b.end_routine(Uop::new(Op::Cli)),
        Sti => b.end_routine(Uop::new(Op::Sti)),
        Stac => b.end_routine(Uop::new(Op::Stac)),
        Clac => b.end_routine(Uop::new(Op::Clac)),
        Invlpg => {
            b.linear_address_unchecked(i, Reg::T0);
            b.end_routine(Uop {
                a: Reg::T0,
                ..Uop::new(Op::Invlpg)
            });
        }
        Invpcid => {
            b.push(Uop::new(Op::Privileged));
            b.linear_address(i, Reg::T0, 16, false);
            let kind = Builder::gpr(i.op0_register());
            b.end_routine(Uop {
                a: Reg::T0,
                b: kind,
                ..Uop::new(Op::Invpcid)
            });
        }
        Wbinvd | Invd | Wbnoinvd => b.end_routine(Uop::new(Op::Wbinvd)),
        Clflush | Clflushopt | Clwb => {
            b.linear_address(i, Reg::T0, 1, false);
            let x = if b.is64() && super::builder::is_stack_operand(i) {
                Uop::STACK
            } else {
                0
            };
            b.push(Uop {
                a: Reg::T0,
                x,
                ..Uop::new(Op::Clflush)
            });
        }
        Rdrand | Rdseed => {
            let y = Builder::size(i, 0).bytes() | if i.mnemonic() == Rdseed { 0x10 } else { 0 };
            b.push(Uop {
                dst: Builder::gpr(i.op0_register()),
                y,
                ..Uop::new(Op::Rdrand)
            });
        }
        Umonitor => {
            let segment = i.memory_segment().number() as u8;
            let register = Builder::gpr(i.op0_register());
            let op = if i.op0_register().size() == 8 {
                Op::Lea64
            } else {
                Op::Lea32
            };
            let base = if segment >= 4 {
                Reg::segment_base(segment)
            } else {
                Reg::Zero
            };
            b.op3(op, Reg::T0, register, Reg::Zero);
            b.op3(Op::Lea64, Reg::T0, Reg::T0, base);
            b.push(Uop {
                a: Reg::T0,
                ..Uop::new(Op::Umonitor)
            });
        }
        Umwait | Tpause => {
            let op = if i.mnemonic() == Umwait {
                Op::Umwait
            } else {
                Op::Tpause
            };
            b.end_routine(Uop {
                a: Builder::gpr(i.op0_register()),
                ..Uop::new(op)
            });
        }
        Cmpxchg8b | Cmpxchg16b => {
            let (op, bytes) = if i.mnemonic() == Cmpxchg8b {
                (Op::Cmpxchg8b, 8)
            } else {
                (Op::Cmpxchg16b, 16)
            };
            b.linear_address(i, Reg::T0, bytes, true);
            let x = if b.is64() && super::builder::is_stack_operand(i) {
                Uop::STACK
            } else {
                0
            };
            b.push(Uop {
                a: Reg::T0,
                x,
                ..Uop::new(op)
            });
        }
        Int => b.end_routine(Uop {
            y: i.immediate8(),
            ..Uop::new(Op::Int)
        }),
        Int3 => b.end_routine(Uop::new(Op::Int3)),
        Int1 => b.end_routine(Uop::new(Op::Int1)),
        Into => b.end_routine(Uop::new(Op::Into)),
        Ud0 | Ud1 | Ud2 => b.raise(Exception::InvalidOpcode),
        Iret | Iretd | Iretq => {
            let y = match i.mnemonic() {
                Iret => 2,
                Iretd => 4,
                _ => 8,
            };
            b.end_routine(Uop {
                y,
                ..Uop::new(Op::Iret)
            });
        }
        Syscall => b.end_routine(Uop::new(Op::Syscall)),
        Sysret | Sysretq => {
            let y = if i.mnemonic() == Sysretq { 8 } else { 4 };
            b.end_routine(Uop {
                y,
                ..Uop::new(Op::Sysret)
            });
        }
        Serialize => b.end_routine(Uop::new(Op::Serialize)),
        Bound => {
            let size = Builder::size(i, 0);
            b.linear_address(i, Reg::T0, 2 * u32::from(size.bytes()), false);
            let dst = Builder::gpr(i.op0_register());
            b.push(Uop {
                dst,
                a: Reg::T0,
                y: size.bytes(),
                ..Uop::new(Op::Bound)
            });
        }
        _ => return false,
    }
    true
}

fn user_interrupts(b: &mut Builder, i: &Instruction) -> bool {
    use Mnemonic::*;
    let op = match i.mnemonic() {
        Senduipi => Op::Senduipi,
        Uiret => Op::Uiret,
        Clui => Op::Clui,
        Stui => Op::Stui,
        Testui => Op::Testui,
        _ => return false,
    };
    if !b.is64() || !b.mode.uintr {
        b.raise(Exception::InvalidOpcode);
        return true;
    }
    match op {
        Op::Testui => b.push(Uop::new(op)),
        Op::Senduipi => {
            let index = Builder::gpr(i.op0_register());
            b.end_routine(Uop {
                a: index,
                ..Uop::new(op)
            });
        }
        _ => b.end_routine(Uop::new(op)),
    }
    true
}

fn control_registers(b: &mut Builder, i: &Instruction) -> bool {
    use Mnemonic::*;
    match i.mnemonic() {
        Mov if i.op0_register().is_cr() => {
            let y = i.op0_register().number() as u8;
            b.end_routine(Uop {
                a: Builder::gpr(i.op1_register()),
                y,
                ..Uop::new(Op::MovToCr)
            });
        }
        Mov if i.op1_register().is_cr() => {
            let y = i.op1_register().number() as u8;
            b.end_routine(Uop {
                dst: Builder::gpr(i.op0_register()),
                y,
                ..Uop::new(Op::MovFromCr)
            });
        }
        Mov if i.op0_register().is_dr() => {
            let y = i.op0_register().number() as u8;
            b.end_routine(Uop {
                a: Builder::gpr(i.op1_register()),
                y,
                ..Uop::new(Op::MovToDr)
            });
        }
        Mov if i.op1_register().is_dr() => {
            let y = i.op1_register().number() as u8;
            b.end_routine(Uop {
                dst: Builder::gpr(i.op0_register()),
                y,
                ..Uop::new(Op::MovFromDr)
            });
        }
        Clts => b.end_routine(Uop::new(Op::Clts)),
        Lmsw => {
            b.push(Uop::new(Op::Privileged));
            let value = b.read(i, 0, Reg::T0);
            b.end_routine(Uop {
                a: value,
                ..Uop::new(Op::Lmsw)
            });
        }
        Smsw => {
            b.push(Uop {
                dst: Reg::T0,
                ..Uop::new(Op::Smsw)
            });
            write_selector(b, i, Reg::T0);
        }
        Xgetbv => b.push(Uop::new(Op::Xgetbv)),
        Xsetbv => b.end_routine(Uop::new(Op::Xsetbv)),
        Swapgs => b.end_routine(Uop::new(Op::Swapgs)),
        Rdfsbase | Rdgsbase => {
            let base = if i.mnemonic() == Rdfsbase {
                Reg::FsBase
            } else {
                Reg::GsBase
            };
            b.push(Uop {
                dst: Reg::T0,
                a: base,
                ..Uop::new(Op::ReadBase)
            });
            b.write_register(i.op0_register(), Reg::T0);
        }
        Wrfsbase | Wrgsbase => {
            let base = if i.mnemonic() == Wrfsbase {
                Reg::FsBase
            } else {
                Reg::GsBase
            };
            let value = if i.op0_register().size() == 4 {
                b.op2(Op::Mov32, Reg::T0, Builder::gpr(i.op0_register()));
                Reg::T0
            } else {
                Builder::gpr(i.op0_register())
            };
            b.push(Uop {
                dst: base,
                a: value,
                ..Uop::new(Op::WriteBase)
            });
        }
        _ => return false,
    }
    true
}

/// Stores a selector-like value: 16 bits to memory, the operand size to a register.
fn write_selector(b: &mut Builder, i: &Instruction, value: Reg) {
    if i.op0_kind() == OpKind::Memory {
        let memory = b.memory(i, 2, true);
        b.store(Size::B2, value, memory);
    } else {
        b.write_register(i.op0_register(), value);
    }
}

fn read_selector(b: &mut Builder, i: &Instruction, n: u32) -> Reg {
    if i.op_kind(n) == OpKind::Memory {
        let memory = b.memory(i, 2, false);
        b.load(Size::B2, Reg::T0, memory);
        Reg::T0
    } else {
        b.op2(Op::Zx16, Reg::T0, Builder::gpr(i.op_register(n)));
        Reg::T0
    }
}

fn segments(b: &mut Builder, i: &Instruction) -> bool {
    use Mnemonic::*;
    match i.mnemonic() {
        // What there are no descriptors for is undefined, whatever its operand.
        Ltr | Lldt | Str | Sldt | Lar | Lsl | Verr | Verw | Arpl if b.mode.real => {
            b.raise(Exception::InvalidOpcode);
        }
        Mov if i.op0_register().is_segment_register() => {
            let y = i.op0_register().number() as u8;
            if y == 1 {
                b.raise(Exception::InvalidOpcode);
                return true;
            }
            let value = read_selector(b, i, 1);
            b.end_routine(Uop {
                a: value,
                b: Reg::Rsp,
                y,
                ..Uop::new(Op::LoadSegment)
            });
        }
        Mov if i.op1_register().is_segment_register() => {
            let y = i.op1_register().number() as u8;
            b.push(Uop {
                dst: Reg::T0,
                y,
                ..Uop::new(Op::ReadSegment)
            });
            write_selector(b, i, Reg::T0);
        }
        Lgdt | Lidt | Sgdt | Sidt => {
            let op = match i.mnemonic() {
                Lgdt => Op::Lgdt,
                Lidt => Op::Lidt,
                Sgdt => Op::Sgdt,
                _ => Op::Sidt,
            };
            let base_bytes = if b.is64() { 8 } else { 4 };
            let write = matches!(op, Op::Sgdt | Op::Sidt);
            if !write {
                b.push(Uop::new(Op::Privileged));
            }
            b.linear_address(i, Reg::T0, 2 + base_bytes, write);
            // With a 16-bit operand size LGDT and LIDT load 24 bits of base.
            use iced_x86::Code::{Lgdt_m1632_16, Lidt_m1632_16};
            let narrow = matches!(i.code(), Lgdt_m1632_16 | Lidt_m1632_16);
            let uop = Uop {
                a: Reg::T0,
                y: if narrow { 3 } else { base_bytes as u8 },
                ..Uop::new(op)
            };
            if write {
                b.push(uop)
            } else {
                b.end_routine(uop)
            }
        }
        Ltr | Lldt => {
            b.push(Uop::new(Op::Privileged));
            let value = read_selector(b, i, 0);
            let op = if i.mnemonic() == Ltr {
                Op::Ltr
            } else {
                Op::Lldt
            };
            b.end_routine(Uop {
                a: value,
                ..Uop::new(op)
            });
        }
        Str | Sldt => {
            let op = if i.mnemonic() == Str {
                Op::Str
            } else {
                Op::Sldt
            };
            b.push(Uop {
                dst: Reg::T0,
                ..Uop::new(op)
            });
            write_selector(b, i, Reg::T0);
        }
        Lar | Lsl => {
            let value = read_selector(b, i, 1);
            let op = if i.mnemonic() == Lar {
                Op::Lar
            } else {
                Op::Lsl
            };
            let y = i.op0_register().size() as u8;
            b.push(Uop {
                dst: Builder::gpr(i.op0_register()),
                a: value,
                y,
                ..Uop::new(op)
            });
        }
        Verr | Verw => {
            let value = read_selector(b, i, 0);
            let op = if i.mnemonic() == Verr {
                Op::Verr
            } else {
                Op::Verw
            };
            b.push(Uop {
                a: value,
                ..Uop::new(op)
            });
        }
        Arpl => {
            let source = Builder::gpr(i.op1_register());
            if i.op0_kind() == OpKind::Memory {
                let memory = b.memory(i, 2, true);
                b.load_modify(Size::B2, Reg::T0, memory);
                b.push(Uop {
                    dst: Reg::T0,
                    a: source,
                    ..Uop::new(Op::Arpl)
                });
                b.store_modified(Size::B2, Reg::T0, memory);
            } else {
                let dst = Builder::gpr(i.op0_register());
                b.push(Uop {
                    dst,
                    a: source,
                    ..Uop::new(Op::Arpl)
                });
            }
        }
        Lds | Les | Lfs | Lgs | Lss => {
            let y = match i.mnemonic() {
                Lds => 3,
                Les => 0,
                Lfs => 4,
                Lgs => 5,
                _ => 2,
            };
            let size = Builder::size(i, 0);
            far_pointer(b, i, size);
            // The offset goes to operand 0 once the segment is loaded.
            let dst = Builder::gpr(i.op0_register());
            let x = size.bytes();
            b.end_routine(Uop {
                dst,
                a: Reg::T1,
                b: Reg::Rsp,
                c: Reg::T0,
                x,
                y,
                ..Uop::new(Op::LoadSegment)
            });
        }
        Jmp | Call if is_far(i) => {
            let op = if i.mnemonic() == Jmp {
                Op::JumpFar
            } else {
                Op::CallFar
            };
            let y = far_size(b, i);
            match i.op0_kind() {
                OpKind::FarBranch16 | OpKind::FarBranch32 => {
                    let offset = if i.op0_kind() == OpKind::FarBranch16 {
                        i.far_branch16().into()
                    } else {
                        i64::from(i.far_branch32())
                    };
                    b.constant(Reg::T0, offset);
                    b.constant(Reg::T1, i.far_branch_selector().into());
                }
                _ => far_pointer(b, i, Size::from_bytes(y as usize)),
            }
            b.end_routine(Uop {
                a: Reg::T1,
                b: Reg::T0,
                y,
                ..Uop::new(op)
            });
        }
        Retf => {
            use iced_x86::Code::*;
            let y = match i.code() {
                Retfw | Retfw_imm16 => 2,
                Retfd | Retfd_imm16 => 4,
                _ => 8,
            };
            let release = if i.op_count() > 0 { i.immediate16() } else { 0 };
            b.constant(Reg::T0, release.into());
            b.end_routine(Uop {
                a: Reg::T0,
                y,
                ..Uop::new(Op::ReturnFar)
            });
        }
        _ => return false,
    }
    true
}

fn is_far(i: &Instruction) -> bool {
    i.is_jmp_far() || i.is_call_far() || i.is_jmp_far_indirect() || i.is_call_far_indirect()
}

fn far_size(b: &Builder, i: &Instruction) -> u8 {
    use iced_x86::Code::*;
    match i.code() {
        Jmp_m1616 | Call_m1616 | Jmp_ptr1616 | Call_ptr1616 => 2,
        Jmp_m1632 | Call_m1632 | Jmp_ptr1632 | Call_ptr1632 => 4,
        _ if b.is64() => 8,
        _ => 4,
    }
}

/// Loads offset (T0) and selector (T1) of a far pointer in memory.
fn far_pointer(b: &mut Builder, i: &Instruction, size: Size) {
    let memory = b.memory(i, u32::from(size.bytes()) + 2, false);
    b.load(Size::B2, Reg::T1, memory.plus(size.bytes().into()));
    b.load(size, Reg::T0, memory);
}

fn state(b: &mut Builder, i: &Instruction) -> bool {
    use Mnemonic::*;
    match i.mnemonic() {
        Fxsave | Fxsave64 | Fxrstor | Fxrstor64 => {
            let save = matches!(i.mnemonic(), Fxsave | Fxsave64);
            if !b.x87_usable() {
                return true;
            }
            b.linear_address(i, Reg::T0, 512, save);
            let wide = matches!(i.mnemonic(), Fxsave64 | Fxrstor64);
            let y = u8::from(wide);
            if save {
                b.push(Uop {
                    a: Reg::T0,
                    y,
                    ..Uop::new(Op::Fxsave)
                });
            } else {
                b.end_routine(Uop {
                    a: Reg::T0,
                    y,
                    ..Uop::new(Op::Fxrstor)
                });
            }
        }
        Xsave | Xsave64 | Xsaveopt | Xsaveopt64 | Xsavec | Xsavec64 | Xsaves | Xsaves64 => {
            let kind = match i.mnemonic() {
                Xsave | Xsave64 => 0,
                Xsaveopt | Xsaveopt64 => 1,
                Xsavec | Xsavec64 => 2,
                _ => 3,
            };
            let wide = matches!(i.mnemonic(), Xsave64 | Xsaveopt64 | Xsavec64 | Xsaves64);
            b.linear_address(i, Reg::T0, 576, true);
            b.end_routine(Uop {
                a: Reg::T0,
                y: u8::from(wide) | kind << 4,
                ..Uop::new(Op::Xsave)
            });
        }
        Xrstor | Xrstor64 | Xrstors | Xrstors64 => {
            let kind = if matches!(i.mnemonic(), Xrstors | Xrstors64) {
                3
            } else {
                0
            };
            let wide = matches!(i.mnemonic(), Xrstor64 | Xrstors64);
            b.linear_address(i, Reg::T0, 576, false);
            b.end_routine(Uop {
                a: Reg::T0,
                y: u8::from(wide) | kind << 4,
                ..Uop::new(Op::Xrstor)
            });
        }
        _ => return false,
    }
    true
}
