//! Moves, arithmetic, logic, shifts, bits, conditions. SDM Vol. 2, the pages of the mnemonics.

use super::{Builder, Memory, Size};
use crate::uop::{Op, Uop};
use crate::{Condition, Reg};
use iced_x86::{Instruction, Mnemonic, OpKind};
use ring3_arch::Exception;
use ring3_arch::cpuid::Feature;

macro_rules! family {
    ($a:ident $b:ident $c:ident $d:ident) => {
        [Op::$a, Op::$b, Op::$c, Op::$d]
    };
}

type Family = [Op; 4];

struct Alu {
    register: Family,
    immediate: Family,
    /// CMP and TEST only set flags.
    discards: bool,
}

fn alu(mnemonic: Mnemonic) -> Option<Alu> {
    use Mnemonic::*;
    let (register, immediate) = match mnemonic {
        Add => (
            family!(Add8 Add16 Add32 Add64),
            family!(AddImm8 AddImm16 AddImm32 AddImm64),
        ),
        Or => (
            family!(Or8 Or16 Or32 Or64),
            family!(OrImm8 OrImm16 OrImm32 OrImm64),
        ),
        Adc => (
            family!(Adc8 Adc16 Adc32 Adc64),
            family!(AdcImm8 AdcImm16 AdcImm32 AdcImm64),
        ),
        Sbb => (
            family!(Sbb8 Sbb16 Sbb32 Sbb64),
            family!(SbbImm8 SbbImm16 SbbImm32 SbbImm64),
        ),
        And => (
            family!(And8 And16 And32 And64),
            family!(AndImm8 AndImm16 AndImm32 AndImm64),
        ),
        Sub => (
            family!(Sub8 Sub16 Sub32 Sub64),
            family!(SubImm8 SubImm16 SubImm32 SubImm64),
        ),
        Xor => (
            family!(Xor8 Xor16 Xor32 Xor64),
            family!(XorImm8 XorImm16 XorImm32 XorImm64),
        ),
        Cmp => (
            family!(Cmp8 Cmp16 Cmp32 Cmp64),
            family!(CmpImm8 CmpImm16 CmpImm32 CmpImm64),
        ),
        Test => (
            family!(Test8 Test16 Test32 Test64),
            family!(TestImm8 TestImm16 TestImm32 TestImm64),
        ),
        _ => return None,
    };
    Some(Alu {
        register,
        immediate,
        discards: matches!(mnemonic, Cmp | Test),
    })
}

/// Operations with one operand that is read and written.
fn unary(mnemonic: Mnemonic) -> Option<Family> {
    Some(match mnemonic {
        Mnemonic::Inc => family!(Inc8 Inc16 Inc32 Inc64),
        Mnemonic::Dec => family!(Dec8 Dec16 Dec32 Dec64),
        Mnemonic::Neg => family!(Neg8 Neg16 Neg32 Neg64),
        Mnemonic::Not => family!(Not8 Not16 Not32 Not64),
        _ => return None,
    })
}

fn shift(mnemonic: Mnemonic) -> Option<(Family, Option<Family>)> {
    use Mnemonic::*;
    Some(match mnemonic {
        Shl | Sal => (
            family!(Shl8 Shl16 Shl32 Shl64),
            Some(family!(ShlImm8 ShlImm16 ShlImm32 ShlImm64)),
        ),
        Shr => (
            family!(Shr8 Shr16 Shr32 Shr64),
            Some(family!(ShrImm8 ShrImm16 ShrImm32 ShrImm64)),
        ),
        Sar => (
            family!(Sar8 Sar16 Sar32 Sar64),
            Some(family!(SarImm8 SarImm16 SarImm32 SarImm64)),
        ),
        Rol => (family!(Rol8 Rol16 Rol32 Rol64), None),
        Ror => (family!(Ror8 Ror16 Ror32 Ror64), None),
        Rcl => (family!(Rcl8 Rcl16 Rcl32 Rcl64), None),
        Rcr => (family!(Rcr8 Rcr16 Rcr32 Rcr64), None),
        _ => return None,
    })
}

fn accumulator(mnemonic: Mnemonic) -> Option<Family> {
    Some(match mnemonic {
        Mnemonic::Mul => family!(Mul8 Mul16 Mul32 Mul64),
        Mnemonic::Imul => family!(ImulWide8 ImulWide16 ImulWide32 ImulWide64),
        Mnemonic::Div => family!(Div8 Div16 Div32 Div64),
        Mnemonic::Idiv => family!(Idiv8 Idiv16 Idiv32 Idiv64),
        _ => return None,
    })
}

fn scan(b: &Builder, mnemonic: Mnemonic) -> Option<[Op; 3]> {
    let features = b.mode.features;
    Some(match mnemonic {
        Mnemonic::Tzcnt if features.has(Feature::Bmi1) => [Op::Tzcnt16, Op::Tzcnt32, Op::Tzcnt64],
        Mnemonic::Lzcnt if features.has(Feature::Lzcnt) => [Op::Lzcnt16, Op::Lzcnt32, Op::Lzcnt64],
        Mnemonic::Bsf | Mnemonic::Tzcnt => [Op::Bsf16, Op::Bsf32, Op::Bsf64],
        Mnemonic::Bsr | Mnemonic::Lzcnt => [Op::Bsr16, Op::Bsr32, Op::Bsr64],
        Mnemonic::Popcnt => [Op::Popcnt16, Op::Popcnt32, Op::Popcnt64],
        _ => return None,
    })
}

fn bit_test(mnemonic: Mnemonic) -> Option<([Op; 3], bool)> {
    Some(match mnemonic {
        Mnemonic::Bt => ([Op::Bt16, Op::Bt32, Op::Bt64], false),
        Mnemonic::Bts => ([Op::Bts16, Op::Bts32, Op::Bts64], true),
        Mnemonic::Btr => ([Op::Btr16, Op::Btr32, Op::Btr64], true),
        Mnemonic::Btc => ([Op::Btc16, Op::Btc32, Op::Btc64], true),
        _ => return None,
    })
}

pub(super) fn lift(b: &mut Builder, i: &Instruction) -> bool {
    let mnemonic = i.mnemonic();
    if let Some(ops) = alu(mnemonic) {
        lift_alu(b, i, &ops);
    } else if let Some(family) = unary(mnemonic) {
        let size = Builder::size(i, 0);
        modify(b, i, size, |b, dst, value| {
            b.op2(size.pick(family), dst, value)
        });
    } else if let Some((by_register, by_immediate)) = shift(mnemonic) {
        lift_shift(b, i, by_register, by_immediate);
    } else if let Some(family) = accumulator(mnemonic)
        && i.op_count() == 1
    {
        let size = Builder::size(i, 0);
        let value = b.read(i, 0, Reg::T0);
        b.push(Uop {
            a: value,
            ..Uop::new(size.pick(family))
        });
    } else if let Some(family) = scan(b, mnemonic) {
        let size = Builder::size(i, 0);
        let value = b.read(i, 1, Reg::T0);
        b.op2(size.pick3(family), Builder::gpr(i.op0_register()), value);
    } else if let Some((family, writes)) = bit_test(mnemonic) {
        lift_bit_test(b, i, family, writes);
    } else if is_set(mnemonic) {
        lift_set(b, i, condition_of(i));
    } else if is_cmov(mnemonic) {
        let size = Builder::size(i, 0);
        let value = b.read(i, 1, Reg::T0);
        let op = size.pick3([Op::Cmov16, Op::Cmov32, Op::Cmov64]);
        b.conditional(op, Builder::gpr(i.op0_register()), value, condition_of(i));
    } else {
        return lift_bit_manipulation(b, i) || lift_other(b, i);
    }
    true
}

/// The operation of the size of operand 0, which is 32 or 64 bits.
fn by_width(i: &Instruction, [narrow, wide]: [Op; 2]) -> Op {
    if Builder::size(i, 0) == Size::B8 {
        wide
    } else {
        narrow
    }
}

/// BMI1 and BMI2 in VEX encodings.
fn lift_bit_manipulation(b: &mut Builder, i: &Instruction) -> bool {
    use Mnemonic::*;
    // Destination, first source, second source, of which one may be memory.
    let ops = match i.mnemonic() {
        Andn => [Op::Andn32, Op::Andn64],
        Bextr => [Op::Bextr32, Op::Bextr64],
        Bzhi => [Op::Bzhi32, Op::Bzhi64],
        Pdep => [Op::Pdep32, Op::Pdep64],
        Pext => [Op::Pext32, Op::Pext64],
        Shlx => [Op::Shlx32, Op::Shlx64],
        Shrx => [Op::Shrx32, Op::Shrx64],
        Sarx => [Op::Sarx32, Op::Sarx64],
        Blsi => [Op::Blsi32, Op::Blsi64],
        Blsmsk => [Op::Blsmsk32, Op::Blsmsk64],
        Blsr => [Op::Blsr32, Op::Blsr64],
        Rorx => [Op::Rorx32, Op::Rorx64],
        Mulx => {
            lift_mulx(b, i);
            return true;
        }
        _ => return false,
    };
    let op = by_width(i, ops);
    let dst = Builder::gpr(i.op0_register());
    let first = b.read(i, 1, Reg::T0);
    if i.mnemonic() == Rorx {
        let mask = if op == Op::Rorx64 { 63 } else { 31 };
        b.op_imm(op, dst, first, (i.immediate8() & mask).into());
    } else if i.op_count() == 2 {
        b.op2(op, dst, first);
    } else {
        let second = b.read(i, 2, Reg::T1);
        b.op3(op, dst, first, second);
    }
    true
}

/// MULX: the high half goes to operand 0, the low one to operand 1; if both are the same register it
/// keeps the high one.
fn lift_mulx(b: &mut Builder, i: &Instruction) {
    let (high, low) = (i.op0_register(), i.op1_register());
    let value = b.read(i, 2, Reg::T0);
    let (high, low) = (Builder::gpr(high), Builder::gpr(low));
    let multiply_high = by_width(i, [Op::MulHigh32, Op::MulHigh64]);
    let multiply_low = by_width(i, [Op::MulLow32, Op::MulLow64]);
    if high == low {
        return b.op3(multiply_high, high, Reg::Rdx, value);
    }
    let is_source = |register: Reg| register == Reg::Rdx || register == value;
    if !is_source(low) {
        b.op3(multiply_low, low, Reg::Rdx, value);
        b.op3(multiply_high, high, Reg::Rdx, value);
    } else {
        b.op3(multiply_low, Reg::T1, Reg::Rdx, value);
        b.op3(multiply_high, high, Reg::Rdx, value);
        b.op2(Op::Mov64, low, Reg::T1);
    }
}

/// Reads operand 0, lets `body` compute into the given destination, and writes operand 0 back.
fn modify(b: &mut Builder, i: &Instruction, size: Size, body: impl FnOnce(&mut Builder, Reg, Reg)) {
    if i.op0_kind() == OpKind::Memory {
        let memory = b.memory(i, size.bytes().into(), true);
        b.load_modify(size, Reg::T0, memory);
        body(b, Reg::T0, Reg::T0);
        b.store_modified(size, Reg::T0, memory);
    } else if Builder::is_high8(i.op0_register()) {
        let value = b.read_register(i.op0_register(), Reg::T0);
        body(b, Reg::T0, value);
        b.write_register(i.op0_register(), Reg::T0);
    } else {
        let register = Builder::gpr(i.op0_register());
        body(b, register, register);
    }
}

fn lift_alu(b: &mut Builder, i: &Instruction, ops: &Alu) {
    let size = Builder::size(i, 0);
    let immediate = i.op1_kind() != OpKind::Register && i.op1_kind() != OpKind::Memory;
    // XOR and SUB of a register with itself do not depend on it.
    if matches!(i.mnemonic(), Mnemonic::Xor | Mnemonic::Sub)
        && i.op0_kind() == OpKind::Register
        && i.op1_kind() == OpKind::Register
        && i.op0_register() == i.op1_register()
        && matches!(size, Size::B4 | Size::B8)
    {
        let register = Builder::gpr(i.op0_register());
        return b.op3(size.pick(ops.register), register, Reg::Zero, Reg::Zero);
    }
    if ops.discards {
        let first = b.read(i, 0, Reg::T0);
        if immediate {
            b.op_imm(
                size.pick(ops.immediate),
                Reg::Zero,
                first,
                i.immediate(1) as i64,
            );
        } else {
            let second = b.read(i, 1, Reg::T1);
            b.op3(size.pick(ops.register), Reg::Zero, first, second);
        }
        return;
    }
    if immediate {
        let value = i.immediate(1) as i64;
        return modify(b, i, size, |b, dst, a| {
            b.op_imm(size.pick(ops.immediate), dst, a, value)
        });
    }
    let second = if i.op1_kind() == OpKind::Memory || Builder::is_high8(i.op1_register()) {
        b.read(i, 1, Reg::T1)
    } else {
        Builder::gpr(i.op1_register())
    };
    modify(b, i, size, |b, dst, a| {
        b.op3(size.pick(ops.register), dst, a, second)
    });
}

fn lift_shift(b: &mut Builder, i: &Instruction, by_register: Family, by_immediate: Option<Family>) {
    let size = Builder::size(i, 0);
    if i.op1_kind() == OpKind::Register {
        return modify(b, i, size, |b, dst, a| {
            b.op3(size.pick(by_register), dst, a, Reg::Rcx)
        });
    }
    let mask = if size == Size::B8 { 63 } else { 31 };
    let count = (i.immediate(1) & mask) as i64;
    if count == 0 {
        // Nothing changes but the upper half of a 32-bit register; memory is still written.
        return modify(b, i, size, |b, dst, a| {
            if size == Size::B4 || dst != a {
                b.move_sized(size, dst, a);
            }
        });
    }
    match by_immediate {
        Some(family) => modify(b, i, size, |b, dst, a| {
            b.op_imm(size.pick(family), dst, a, count)
        }),
        None => {
            b.constant(Reg::T1, count);
            modify(b, i, size, |b, dst, a| {
                b.op3(size.pick(by_register), dst, a, Reg::T1)
            });
        }
    }
}

fn lift_bit_test(b: &mut Builder, i: &Instruction, family: [Op; 3], writes: bool) {
    let size = Builder::size(i, 0);
    let op = size.pick3(family);
    let index = if i.op1_kind() == OpKind::Register {
        Builder::gpr(i.op1_register())
    } else {
        b.constant(Reg::T1, i.immediate(1) as i64);
        Reg::T1
    };
    if i.op0_kind() == OpKind::Register {
        let register = Builder::gpr(i.op0_register());
        return b.op3(
            op,
            if writes { register } else { Reg::Zero },
            register,
            index,
        );
    }
    let memory = if i.op1_kind() == OpKind::Register {
        bit_string_address(b, i, size, index, writes)
    } else {
        b.memory(i, size.bytes().into(), writes)
    };
    if writes {
        b.load_modify(size, Reg::T0, memory);
        b.op3(op, Reg::T0, Reg::T0, index);
        b.store_modified(size, Reg::T0, memory);
    } else {
        b.load(size, Reg::T0, memory);
        b.op3(op, Reg::Zero, Reg::T0, index);
    }
}

/// A register index reaches any bit around the operand's address, not only within it.
fn bit_string_address(
    b: &mut Builder,
    i: &Instruction,
    size: Size,
    index: Reg,
    write: bool,
) -> Memory {
    let word = size.pick3([Op::BitWord16, Op::BitWord32, Op::BitWord64]);
    b.effective_address(i, Reg::T7);
    b.op3(word, Reg::T7, Reg::T7, index);
    let lock = if i.has_lock_prefix() { Uop::LOCK } else { 0 };
    let segment = i.memory_segment().number() as u8;
    match super::builder::address_size(i, b.mode.size) {
        2 => b.push(Memory::at(Reg::T7).uop(Op::Lea16, Reg::T7)),
        4 => b.push(Memory::at(Reg::T7).uop(Op::Lea32, Reg::T7)),
        _ => {}
    }
    if b.is64() {
        let base = if segment >= 4 {
            Reg::segment_base(segment)
        } else {
            Reg::Zero
        };
        let stack = if super::builder::is_stack_operand(i) {
            Uop::STACK
        } else {
            0
        };
        return Memory {
            segment: base,
            x: lock | stack,
            ..Memory::at(Reg::T7)
        };
    }
    b.check_segment(Reg::T7, segment, size.bytes().into(), write);
    Memory {
        x: lock,
        ..Memory::at(Reg::T7)
    }
}

pub(super) fn condition_of(i: &Instruction) -> Condition {
    use iced_x86::ConditionCode as C;
    match i.condition_code() {
        C::o => Condition::O,
        C::no => Condition::No,
        C::b => Condition::B,
        C::ae => Condition::Ae,
        C::e => Condition::E,
        C::ne => Condition::Ne,
        C::be => Condition::Be,
        C::a => Condition::A,
        C::s => Condition::S,
        C::ns => Condition::Ns,
        C::p => Condition::P,
        C::np => Condition::Np,
        C::l => Condition::L,
        C::ge => Condition::Ge,
        C::le => Condition::Le,
        _ => Condition::G,
    }
}

fn is_set(mnemonic: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(
        mnemonic,
        Seto | Setno
            | Setb
            | Setae
            | Sete
            | Setne
            | Setbe
            | Seta
            | Sets
            | Setns
            | Setp
            | Setnp
            | Setl
            | Setge
            | Setle
            | Setg
    )
}

fn is_cmov(mnemonic: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(
        mnemonic,
        Cmovo
            | Cmovno
            | Cmovb
            | Cmovae
            | Cmove
            | Cmovne
            | Cmovbe
            | Cmova
            | Cmovs
            | Cmovns
            | Cmovp
            | Cmovnp
            | Cmovl
            | Cmovge
            | Cmovle
            | Cmovg
    )
}

fn lift_set(b: &mut Builder, i: &Instruction, condition: Condition) {
    match i.op0_kind() {
        OpKind::Register if !Builder::is_high8(i.op0_register()) => {
            b.conditional(
                Op::Set,
                Builder::gpr(i.op0_register()),
                Reg::Zero,
                condition,
            );
        }
        OpKind::Register => {
            b.conditional(Op::Set, Reg::T0, Reg::Zero, condition);
            b.write_register(i.op0_register(), Reg::T0);
        }
        _ => {
            let memory = b.memory(i, 1, true);
            b.conditional(Op::Set, Reg::T0, Reg::Zero, condition);
            b.store(Size::B1, Reg::T0, memory);
        }
    }
}

fn lift_other(b: &mut Builder, i: &Instruction) -> bool {
    use Mnemonic::*;
    match i.mnemonic() {
        Mov => return lift_mov(b, i),
        Movzx | Movsx | Movsxd => lift_extend(b, i),
        Lea => {
            let size = Builder::size(i, 0);
            let dst = Builder::gpr(i.op0_register());
            if size == Size::B2 {
                b.effective_address(i, Reg::T7);
                b.move_sized(size, dst, Reg::T7);
            } else if size == Size::B4 {
                b.effective_address32(i, dst);
            } else {
                b.effective_address(i, dst);
            }
        }
        Imul => {
            let size = Builder::size(i, 0);
            let dst = Builder::gpr(i.op0_register());
            let op = size.pick3([Op::Imul16, Op::Imul32, Op::Imul64]);
            if i.op_count() == 2 {
                let value = b.read(i, 1, Reg::T0);
                b.op3(op, dst, dst, value);
            } else {
                let value = b.read(i, 1, Reg::T0);
                b.constant(Reg::T1, i.immediate(2) as i64);
                b.op3(op, dst, value, Reg::T1);
            }
        }
        Xchg => lift_exchange(b, i, None),
        Xadd => {
            let size = Builder::size(i, 0);
            lift_exchange(
                b,
                i,
                Some(size.pick([Op::Add8, Op::Add16, Op::Add32, Op::Add64])),
            );
        }
        Cmpxchg => lift_compare_exchange(b, i),
        Bswap => {
            let dst = Builder::gpr(i.op0_register());
            match Builder::size(i, 0) {
                // Undefined by the manual; processors give zero.
                Size::B2 => b.op2(Op::Mov16, dst, Reg::Zero),
                Size::B4 => b.op2(Op::Bswap32, dst, dst),
                _ => b.op2(Op::Bswap64, dst, dst),
            }
        }
        Movbe => {
            let size = Builder::size(i, 0);
            let op = size.pick3([Op::Bswap16, Op::Bswap32, Op::Bswap64]);
            if i.op0_kind() == OpKind::Register {
                let value = b.read(i, 1, Reg::T0);
                b.op2(op, Builder::gpr(i.op0_register()), value);
            } else {
                let memory = b.memory(i, size.bytes().into(), true);
                b.op2(op, Reg::T0, Builder::gpr(i.op1_register()));
                b.store(size, Reg::T0, memory);
            }
        }
        // A store that goes around the caches; here there are none. The decoder refuses registers,
        // LOCK and the prefixes that belong to other instructions.
        Movdiri => {
            let size = Builder::size(i, 0);
            let memory = b.memory(i, size.bytes().into(), true);
            b.store(size, Builder::gpr(i.op1_register()), memory);
        }
        Adcx | Adox => {
            let ops = if i.mnemonic() == Adcx {
                [Op::Adcx32, Op::Adcx64]
            } else {
                [Op::Adox32, Op::Adox64]
            };
            let value = b.read(i, 1, Reg::T0);
            let dst = Builder::gpr(i.op0_register());
            b.op3(by_width(i, ops), dst, dst, value);
        }
        Shld | Shrd => {
            let size = Builder::size(i, 0);
            let op = if i.mnemonic() == Shld {
                size.pick3([Op::Shld16, Op::Shld32, Op::Shld64])
            } else {
                size.pick3([Op::Shrd16, Op::Shrd32, Op::Shrd64])
            };
            let filler = Builder::gpr(i.op1_register());
            let count = if i.op2_kind() == OpKind::Register {
                Reg::Rcx
            } else {
                b.constant(Reg::T1, i.immediate(2) as i64);
                Reg::T1
            };
            modify(b, i, size, |b, dst, a| {
                b.push(Uop {
                    dst,
                    a,
                    b: filler,
                    c: count,
                    ..Uop::new(op)
                });
            });
        }
        Crc32 => {
            let op = match Builder::size(i, 1) {
                Size::B1 => Op::Crc8,
                Size::B2 => Op::Crc16,
                Size::B4 => Op::Crc32,
                Size::B8 => Op::Crc64,
            };
            let value = b.read(i, 1, Reg::T0);
            let dst = Builder::gpr(i.op0_register());
            b.op3(op, dst, dst, value);
        }
        Cbw => {
            b.op2(Op::Sx8To32, Reg::T0, Reg::Rax);
            b.op2(Op::Mov16, Reg::Rax, Reg::T0);
        }
        Cwde => b.op2(Op::Sx16To32, Reg::Rax, Reg::Rax),
        Cdqe => b.op2(Op::Sx32To64, Reg::Rax, Reg::Rax),
        Cwd => b.op2(Op::Sign16, Reg::Rdx, Reg::Rax),
        Cdq => b.op2(Op::Sign32, Reg::Rdx, Reg::Rax),
        Cqo => b.op2(Op::Sign64, Reg::Rdx, Reg::Rax),
        Clc => b.push(Uop::new(Op::Clc)),
        Stc => b.push(Uop::new(Op::Stc)),
        Cmc => b.push(Uop::new(Op::Cmc)),
        Cld => b.push(Uop::new(Op::Cld)),
        Std => b.push(Uop::new(Op::Std)),
        Lahf | Sahf if b.is64() && !b.mode.features.has(Feature::Lahf) => {
            b.raise(Exception::InvalidOpcode);
        }
        Lahf => b.push(Uop {
            dst: Reg::Rax,
            ..Uop::new(Op::Lahf)
        }),
        Sahf => b.push(Uop {
            a: Reg::Rax,
            ..Uop::new(Op::Sahf)
        }),
        Salc => {
            b.conditional(Op::Set, Reg::T0, Reg::Zero, Condition::B);
            b.op3(Op::Lea64, Reg::T1, Reg::Zero, Reg::Zero);
            b.op2(Op::Not64, Reg::T1, Reg::T1);
            b.conditional(Op::CmovKeep8, Reg::T0, Reg::T1, Condition::B);
            b.op2(Op::Mov8, Reg::Rax, Reg::T0);
        }
        Xlatb => {
            b.op2(Op::Zx8, Reg::T0, Reg::Rax);
            let op = match i.op0_kind() {
                OpKind::Memory => super::builder::address_size(i, b.mode.size),
                _ => (b.mode.size.bits() / 8) as usize,
            };
            let lea = [Op::Lea16, Op::Lea32, Op::Lea64][op.trailing_zeros() as usize - 1];
            b.op3(lea, Reg::T7, Reg::Rbx, Reg::T0);
            let segment = i.memory_segment().number() as u8;
            let mut memory = Memory::at(Reg::T7);
            if b.is64() {
                if segment >= 4 {
                    memory.segment = Reg::segment_base(segment);
                }
            } else {
                b.check_segment(Reg::T7, segment, 1, false);
            }
            b.load(Size::B1, Reg::T0, memory);
            b.op2(Op::Mov8, Reg::Rax, Reg::T0);
        }
        Daa | Das | Aaa | Aas => {
            let which = [Daa, Das, Aaa, Aas].iter().position(|&m| m == i.mnemonic());
            b.push(Uop {
                y: which.unwrap_or(0) as u8,
                ..Uop::new(Op::Decimal)
            });
        }
        Aam | Aad => {
            let which = if i.mnemonic() == Aam { 4 } else { 5 };
            b.push(Uop {
                y: which,
                imm: i.immediate(0) as i64,
                ..Uop::new(Op::Decimal)
            });
        }
        Nop | Reservednop => {}
        Prefetchnta | Prefetcht0 | Prefetcht1 | Prefetcht2 | Prefetchw => {}
        // Loads and stores are in program order and globally visible at once in the functional
        // engines; the timing engine reads the class.
        Lfence | Sfence | Mfence => {}
        _ => return false,
    }
    true
}

fn lift_mov(b: &mut Builder, i: &Instruction) -> bool {
    use iced_x86::Register;
    let special = |r: Register| r.is_segment_register() || r.is_cr() || r.is_dr() || r.is_tr();
    if special(i.op0_register()) || special(i.op1_register()) {
        return false;
    }
    let size = Builder::size(i, 0);
    match (i.op0_kind(), i.op1_kind()) {
        (OpKind::Register, OpKind::Memory) => {
            let memory = b.memory(i, size.bytes().into(), false);
            if matches!(size, Size::B4 | Size::B8) {
                b.load(size, Builder::gpr(i.op0_register()), memory);
            } else {
                b.load(size, Reg::T0, memory);
                b.write_register(i.op0_register(), Reg::T0);
            }
        }
        (OpKind::Memory, OpKind::Register) => {
            let memory = b.memory(i, size.bytes().into(), true);
            let value = b.read_register(i.op1_register(), Reg::T0);
            b.store(size, value, memory);
        }
        (OpKind::Memory, _) => {
            let memory = b.memory(i, size.bytes().into(), true);
            let value = i.immediate(1) as i64;
            if let (Ok(displacement), Ok(value)) = (
                i32::try_from(memory.displacement),
                i32::try_from(sign_extend(value, size)),
            ) {
                let op = size.pick([
                    Op::StoreImm8,
                    Op::StoreImm16,
                    Op::StoreImm32,
                    Op::StoreImm64,
                ]);
                let imm = Uop::pack(displacement, value);
                b.push(Uop {
                    imm,
                    ..memory.uop(op, Reg::Zero)
                });
            } else {
                b.constant(Reg::T0, value);
                b.store(size, Reg::T0, memory);
            }
        }
        (OpKind::Register, OpKind::Register) => {
            let value = b.read_register(i.op1_register(), Reg::T0);
            b.write_register(i.op0_register(), value);
        }
        (_, _) => {
            let value = i.immediate(1) as i64;
            match size {
                Size::B8 => b.constant(Builder::gpr(i.op0_register()), value),
                Size::B4 => b.constant(Builder::gpr(i.op0_register()), value & 0xffff_ffff),
                _ => {
                    b.constant(Reg::T0, value);
                    b.write_register(i.op0_register(), Reg::T0);
                }
            }
        }
    }
    true
}

fn sign_extend(value: i64, size: Size) -> i64 {
    let shift = 64 - 8 * u32::from(size.bytes());
    value << shift >> shift
}

fn lift_extend(b: &mut Builder, i: &Instruction) {
    let from = Builder::size(i, 1);
    let to = Builder::size(i, 0);
    let signed = i.mnemonic() != Mnemonic::Movzx;
    let dst = Builder::gpr(i.op0_register());
    if i.op1_kind() == OpKind::Memory {
        let memory = b.memory(i, from.bytes().into(), false);
        let op = match (signed, from, to) {
            (true, Size::B1, Size::B8) => Op::LoadSx8To64,
            (true, Size::B1, _) => Op::LoadSx8To32,
            (true, Size::B2, Size::B8) => Op::LoadSx16To64,
            (true, Size::B2, _) => Op::LoadSx16To32,
            (true, Size::B4, Size::B8) => Op::LoadSx32To64,
            (false, Size::B1, _) => Op::Load8,
            (false, Size::B2, _) => Op::Load16,
            // MOVSXD with a 32-bit or 16-bit destination only moves.
            _ => Op::Load32,
        };
        let target = if to == Size::B2 { Reg::T0 } else { dst };
        b.push(memory.uop(op, target));
        if to == Size::B2 {
            b.op2(Op::Mov16, dst, Reg::T0);
        }
        return;
    }
    let value = b.read_register(i.op1_register(), Reg::T0);
    let op = match (signed, from, to) {
        (true, Size::B1, Size::B8) => Op::Sx8To64,
        (true, Size::B1, _) => Op::Sx8To32,
        (true, Size::B2, Size::B8) => Op::Sx16To64,
        (true, Size::B2, Size::B4) => Op::Sx16To32,
        (true, Size::B4, Size::B8) => Op::Sx32To64,
        (false, Size::B1, _) => Op::Zx8,
        (false, Size::B2, Size::B4 | Size::B8) => Op::Zx16,
        _ => Op::Mov32,
    };
    if to == Size::B2 {
        b.op2(op, Reg::T0, value);
        b.op2(Op::Mov16, dst, Reg::T0);
    } else {
        b.op2(op, dst, value);
    }
}

/// XCHG (`add` is `None`) and XADD: the old operand 0 goes to operand 1's register.
fn lift_exchange(b: &mut Builder, i: &Instruction, add: Option<Op>) {
    let size = Builder::size(i, 0);
    // XCHG with memory may have the memory operand on either side.
    let (memory_operand, register) = if i.op1_kind() == OpKind::Memory {
        (Some(1), i.op0_register())
    } else if i.op0_kind() == OpKind::Memory {
        (Some(0), i.op1_register())
    } else {
        (None, i.op1_register())
    };
    if memory_operand.is_some() {
        let memory = b.memory(i, size.bytes().into(), true);
        // XCHG with memory is locked whether it has the prefix or not.
        let lock = if add.is_none() { Uop::LOCK } else { 0 };
        let memory = Memory {
            x: memory.x | lock,
            ..memory
        };
        b.load_modify(size, Reg::T0, memory);
        let value = b.read_register(register, Reg::T1);
        let stored = match add {
            Some(op) => {
                b.op3(op, Reg::T2, Reg::T0, value);
                Reg::T2
            }
            None => value,
        };
        b.store_modified(size, stored, memory);
        b.write_register(register, Reg::T0);
        return;
    }
    let first = i.op0_register();
    if first == register && add.is_none() {
        if size == Size::B4 {
            b.write_register(first, Builder::gpr(first));
        }
        return;
    }
    let old = b.read_register(first, Reg::T0);
    if old != Reg::T0 {
        b.op2(Op::Mov64, Reg::T0, old);
    }
    let value = b.read_register(register, Reg::T1);
    match add {
        Some(op) => {
            b.op3(op, Reg::T2, Reg::T0, value);
            // XADD with equal registers leaves the sum.
            b.write_register(register, Reg::T0);
            b.write_register(first, Reg::T2);
        }
        None => {
            b.write_register(first, value);
            b.write_register(register, Reg::T0);
        }
    }
}

fn lift_compare_exchange(b: &mut Builder, i: &Instruction) {
    let size = Builder::size(i, 0);
    let compare = size.pick([Op::Cmp8, Op::Cmp16, Op::Cmp32, Op::Cmp64]);
    let keep = size.pick([
        Op::CmovKeep8,
        Op::CmovKeep16,
        Op::CmovKeep32,
        Op::CmovKeep64,
    ]);
    let new = |b: &mut Builder| b.read_register(i.op1_register(), Reg::T1);
    if i.op0_kind() == OpKind::Memory {
        let memory = b.memory(i, size.bytes().into(), true);
        b.load_modify(size, Reg::T0, memory);
        let value = new(b);
        b.op3(compare, Reg::Zero, Reg::Rax, Reg::T0);
        b.op2(Op::Mov64, Reg::T2, Reg::T0);
        b.conditional(keep, Reg::T2, value, Condition::E);
        // The memory operand is written in either case.
        b.store_modified(size, Reg::T2, memory);
        b.conditional(keep, Reg::Rax, Reg::T0, Condition::Ne);
    } else {
        let old = b.read_register(i.op0_register(), Reg::T0);
        if old != Reg::T0 {
            b.op2(Op::Mov64, Reg::T0, old);
        }
        let value = new(b);
        b.op3(compare, Reg::Zero, Reg::Rax, Reg::T0);
        // A register that is not replaced keeps its upper half too.
        if Builder::is_high8(i.op0_register()) {
            b.op2(Op::Mov64, Reg::T2, Reg::T0);
            b.conditional(keep, Reg::T2, value, Condition::E);
            b.write_register(i.op0_register(), Reg::T2);
        } else {
            let dst = Builder::gpr(i.op0_register());
            b.conditional(keep, dst, value, Condition::E);
        }
        b.conditional(keep, Reg::Rax, Reg::T0, Condition::Ne);
    }
}
