//! What each micro-op does: the reference semantics.
//!
//! One function, generic over memory, inlined into the engines' loops. Long operations live in
//! [`crate::routine`] and [`crate::string`].

use crate::memory::{Memory, Stop, StopReason};
use crate::state::Cpu;
use crate::{bits, routine, string, vex};
use ring3_arch::exception::{Exception, Fault};
use ring3_arch::rflags;
use ring3_arithmetic::float;
use ring3_arithmetic::packed::{PackedOp, packed};
use ring3_isa::{Op, Reg, Uop};

/// What follows a micro-op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Flow {
    /// The next micro-op.
    Continue,
    /// The block is over; RIP is set. The target is one of the block's two fixed ones (0: taken
    /// or only, 1: fall-through).
    Direct0,
    /// See [`Flow::Direct0`].
    Direct1,
    /// The block is over; RIP is set to a computed address.
    Indirect,
    /// The block is over, RIP is set, and modes or events may have changed.
    Sync,
}

#[inline(always)]
pub(crate) fn write<const BITS: u32>(cpu: &mut Cpu, dst: Reg, value: u64) {
    let register = &mut cpu.regs[dst as usize];
    *register = match BITS {
        8 => (*register & !0xff) | (value & 0xff),
        16 => (*register & !0xffff) | (value & 0xffff),
        32 => value & 0xffff_ffff,
        _ => value,
    };
}

#[inline(always)]
pub(crate) fn cut<const BITS: u32>(value: u64) -> u64 {
    if BITS == 64 {
        value
    } else {
        value & ((1 << BITS) - 1)
    }
}

#[inline(always)]
fn sign<const BITS: u32>(value: u64) -> i64 {
    (value << (64 - BITS)) as i64 >> (64 - BITS)
}

/// The address of a memory micro-op.
#[inline(always)]
pub fn address(cpu: &Cpu, u: &Uop) -> u64 {
    base_address(cpu, u).wrapping_add(u.imm as u64)
}

#[inline(always)]
fn base_address(cpu: &Cpu, u: &Uop) -> u64 {
    cpu.reg(u.a)
        .wrapping_add(cpu.reg(u.b) << (u.x & Uop::SCALE))
        .wrapping_add(cpu.reg(u.c))
}

/// The address of a masked access, whose `b` is a vector.
pub(crate) fn masked_address(cpu: &Cpu, u: &Uop) -> u64 {
    cpu.reg(u.a)
        .wrapping_add(cpu.reg(u.c))
        .wrapping_add(u.imm as u64)
}

#[inline(always)]
fn lea(cpu: &Cpu, u: &Uop) -> u64 {
    cpu.reg(u.a)
        .wrapping_add(cpu.reg(u.b) << (u.x & Uop::SCALE))
        .wrapping_add(u.imm as u64)
}

#[inline(always)]
fn add<const BITS: u32>(cpu: &mut Cpu, dst: Reg, a: u64, b: u64) {
    let result = a.wrapping_add(b);
    cpu.flags.set_add::<BITS>(a, b, result);
    write::<BITS>(cpu, dst, result);
}

#[inline(always)]
fn adc<const BITS: u32>(cpu: &mut Cpu, dst: Reg, a: u64, b: u64) {
    let result = a.wrapping_add(b).wrapping_add(cpu.flags.carry().into());
    cpu.flags.set_add::<BITS>(a, b, result);
    write::<BITS>(cpu, dst, result);
}

#[inline(always)]
fn sub<const BITS: u32>(cpu: &mut Cpu, dst: Reg, a: u64, b: u64) {
    let result = a.wrapping_sub(b);
    cpu.flags.set_sub::<BITS>(a, b, result);
    write::<BITS>(cpu, dst, result);
}

#[inline(always)]
fn sbb<const BITS: u32>(cpu: &mut Cpu, dst: Reg, a: u64, b: u64) {
    let result = a.wrapping_sub(b).wrapping_sub(cpu.flags.carry().into());
    cpu.flags.set_sub::<BITS>(a, b, result);
    write::<BITS>(cpu, dst, result);
}

#[inline(always)]
pub(crate) fn logic<const BITS: u32>(cpu: &mut Cpu, dst: Reg, result: u64) {
    cpu.flags.set_logic::<BITS>(result);
    write::<BITS>(cpu, dst, result);
}

#[inline(always)]
fn cmp<const BITS: u32>(cpu: &mut Cpu, a: u64, b: u64) {
    cpu.flags.set_sub::<BITS>(a, b, a.wrapping_sub(b));
}

#[inline(always)]
fn inc<const BITS: u32>(cpu: &mut Cpu, u: &Uop) {
    let a = cpu.reg(u.a);
    let result = a.wrapping_add(1);
    cpu.flags.set_inc::<BITS>(a, result);
    write::<BITS>(cpu, u.dst, result);
}

#[inline(always)]
fn dec<const BITS: u32>(cpu: &mut Cpu, u: &Uop) {
    let a = cpu.reg(u.a);
    let result = a.wrapping_sub(1);
    cpu.flags.set_dec::<BITS>(a, result);
    write::<BITS>(cpu, u.dst, result);
}

#[inline(always)]
fn count_of<const BITS: u32>(value: u64) -> u32 {
    (value & if BITS == 64 { 63 } else { 31 }) as u32
}

/// Shifts: `count` is masked; zero changes no flag but still writes (clearing the upper half of a
/// 32-bit destination). SDM Vol. 2, "SAL/SAR/SHL/SHR".
#[inline(always)]
fn shl<const BITS: u32>(cpu: &mut Cpu, dst: Reg, a: u64, count: u32) {
    let a = cut::<BITS>(a);
    if count != 0 {
        let wide = u128::from(a) << count;
        let result = wide as u64;
        let carry = wide >> BITS & 1 != 0;
        let top = result >> (BITS - 1) & 1 != 0;
        cpu.flags.set_shift::<BITS>(result, carry, top != carry);
        write::<BITS>(cpu, dst, result);
    } else {
        write::<BITS>(cpu, dst, a);
    }
}

#[inline(always)]
fn shr<const BITS: u32>(cpu: &mut Cpu, dst: Reg, a: u64, count: u32) {
    let a = cut::<BITS>(a);
    if count != 0 {
        let result = a >> count;
        let carry = a >> (count - 1) & 1 != 0;
        let top = a >> (BITS - 1) & 1 != 0;
        // OF is the operand's sign for a count of one and undefined otherwise; processors give the
        // difference of the result's two top bits.
        let overflow = (result >> (BITS - 1) ^ result >> (BITS - 2)) & 1 != 0;
        cpu.flags
            .set_shift::<BITS>(result, carry, if count == 1 { top } else { overflow });
        write::<BITS>(cpu, dst, result);
    } else {
        write::<BITS>(cpu, dst, a);
    }
}

#[inline(always)]
fn sar<const BITS: u32>(cpu: &mut Cpu, dst: Reg, a: u64, count: u32) {
    let a = sign::<BITS>(a);
    if count != 0 {
        let result = (a >> count) as u64;
        let carry = a >> (count - 1) & 1 != 0;
        cpu.flags.set_shift::<BITS>(result, carry, false);
        write::<BITS>(cpu, dst, result);
    } else {
        write::<BITS>(cpu, dst, a as u64);
    }
}

/// SDM Vol. 2, "RCL/RCR/ROL/ROR".
#[inline(always)]
fn rol<const BITS: u32>(cpu: &mut Cpu, u: &Uop) {
    let a = cut::<BITS>(cpu.reg(u.a));
    let masked = count_of::<BITS>(cpu.reg(u.b));
    let count = masked % BITS;
    let result = if count == 0 {
        a
    } else {
        cut::<BITS>(a << count | a >> (BITS - count))
    };
    if masked != 0 {
        let carry = result & 1 != 0;
        let top = result >> (BITS - 1) & 1 != 0;
        cpu.flags.set_carry_overflow(carry, top != carry);
    }
    write::<BITS>(cpu, u.dst, result);
}

#[inline(always)]
fn ror<const BITS: u32>(cpu: &mut Cpu, u: &Uop) {
    let a = cut::<BITS>(cpu.reg(u.a));
    let masked = count_of::<BITS>(cpu.reg(u.b));
    let count = masked % BITS;
    let result = if count == 0 {
        a
    } else {
        cut::<BITS>(a >> count | a << (BITS - count))
    };
    if masked != 0 {
        let top = result >> (BITS - 1) & 1 != 0;
        let next = result >> (BITS - 2) & 1 != 0;
        cpu.flags.set_carry_overflow(top, top != next);
    }
    write::<BITS>(cpu, u.dst, result);
}

#[inline(always)]
fn rcl<const BITS: u32>(cpu: &mut Cpu, u: &Uop) {
    let a = cut::<BITS>(cpu.reg(u.a));
    let count = count_of::<BITS>(cpu.reg(u.b)) % (BITS + 1);
    let mut result = a;
    if count != 0 {
        let wide = u128::from(cpu.flags.carry()) << BITS | u128::from(a);
        let rotated = wide << count | wide >> (BITS + 1 - count);
        result = cut::<BITS>(rotated as u64);
        let carry = rotated >> BITS & 1 != 0;
        let top = result >> (BITS - 1) & 1 != 0;
        cpu.flags.set_carry_overflow(carry, top != carry);
    }
    write::<BITS>(cpu, u.dst, result);
}

#[inline(always)]
fn rcr<const BITS: u32>(cpu: &mut Cpu, u: &Uop) {
    let a = cut::<BITS>(cpu.reg(u.a));
    let count = count_of::<BITS>(cpu.reg(u.b)) % (BITS + 1);
    let mut result = a;
    if count != 0 {
        let wide = u128::from(cpu.flags.carry()) << BITS | u128::from(a);
        let rotated = wide >> count | wide << (BITS + 1 - count);
        result = cut::<BITS>(rotated as u64);
        let carry = rotated >> BITS & 1 != 0;
        let top = result >> (BITS - 1) & 1 != 0;
        let next = result >> (BITS - 2) & 1 != 0;
        cpu.flags.set_carry_overflow(carry, top != next);
    }
    write::<BITS>(cpu, u.dst, result);
}

/// SDM Vol. 2, "SHLD". With a 16-bit operand and a count above 16 the result is undefined;
/// processors shift a 48-bit string of destination, source, destination.
#[inline(always)]
fn shld<const BITS: u32>(cpu: &mut Cpu, u: &Uop) {
    let a = cut::<BITS>(cpu.reg(u.a));
    let filler = cut::<BITS>(cpu.reg(u.b));
    let count = count_of::<BITS>(cpu.reg(u.c));
    if count == 0 {
        return write::<BITS>(cpu, u.dst, a);
    }
    let (wide, bits) = if BITS == 16 {
        (
            u128::from(a) << 32 | u128::from(filler) << 16 | u128::from(a),
            48,
        )
    } else {
        (u128::from(a) << BITS | u128::from(filler), 2 * BITS)
    };
    let result = cut::<BITS>((wide << count >> (bits - BITS)) as u64);
    let carry = wide >> (bits - count) & 1 != 0;
    let overflow = (result ^ a) >> (BITS - 1) & 1 != 0;
    cpu.flags.set_shift::<BITS>(result, carry, overflow);
    write::<BITS>(cpu, u.dst, result);
}

#[inline(always)]
fn shrd<const BITS: u32>(cpu: &mut Cpu, u: &Uop) {
    let a = cut::<BITS>(cpu.reg(u.a));
    let filler = cut::<BITS>(cpu.reg(u.b));
    let count = count_of::<BITS>(cpu.reg(u.c));
    if count == 0 {
        return write::<BITS>(cpu, u.dst, a);
    }
    let wide = if BITS == 16 {
        u128::from(a) << 32 | u128::from(filler) << 16 | u128::from(a)
    } else {
        u128::from(filler) << BITS | u128::from(a)
    };
    let result = cut::<BITS>((wide >> count) as u64);
    let carry = wide >> (count - 1) & 1 != 0;
    let overflow = (result ^ a) >> (BITS - 1) & 1 != 0;
    cpu.flags.set_shift::<BITS>(result, carry, overflow);
    write::<BITS>(cpu, u.dst, result);
}

#[inline(always)]
fn imul<const BITS: u32>(cpu: &mut Cpu, u: &Uop) {
    let product = i128::from(sign::<BITS>(cpu.reg(u.a))) * i128::from(sign::<BITS>(cpu.reg(u.b)));
    let result = product as u64;
    let lost = i128::from(sign::<BITS>(result)) != product;
    // SF, ZF, AF and PF are undefined.
    cpu.flags.set_shift::<BITS>(result, lost, lost);
    write::<BITS>(cpu, u.dst, result);
}

/// MUL and one-operand IMUL; `product` is the full product.
#[inline(always)]
fn wide_product<const BITS: u32>(cpu: &mut Cpu, product: u128, lost: bool) {
    if BITS == 8 {
        write::<16>(cpu, Reg::Rax, product as u64);
    } else {
        write::<BITS>(cpu, Reg::Rax, product as u64);
        write::<BITS>(cpu, Reg::Rdx, (product >> BITS) as u64);
    }
    cpu.flags.set_shift::<BITS>(product as u64, lost, lost);
}

#[inline(always)]
fn mul<const BITS: u32>(cpu: &mut Cpu, u: &Uop) {
    let product =
        u128::from(cut::<BITS>(cpu.reg(Reg::Rax))) * u128::from(cut::<BITS>(cpu.reg(u.a)));
    wide_product::<BITS>(cpu, product, product >> BITS != 0);
}

#[inline(always)]
fn imul_wide<const BITS: u32>(cpu: &mut Cpu, u: &Uop) {
    let product =
        i128::from(sign::<BITS>(cpu.reg(Reg::Rax))) * i128::from(sign::<BITS>(cpu.reg(u.a)));
    let lost = i128::from(sign::<BITS>(product as u64)) != product;
    wide_product::<BITS>(cpu, product as u128, lost);
}

#[inline(always)]
fn dividend<const BITS: u32>(cpu: &Cpu) -> u128 {
    if BITS == 8 {
        return u128::from(cut::<16>(cpu.reg(Reg::Rax)));
    }
    u128::from(cut::<BITS>(cpu.reg(Reg::Rdx))) << BITS | u128::from(cut::<BITS>(cpu.reg(Reg::Rax)))
}

#[inline(always)]
fn quotient<const BITS: u32>(cpu: &mut Cpu, quotient: u64, remainder: u64) {
    if BITS == 8 {
        write::<16>(cpu, Reg::Rax, (quotient & 0xff) | (remainder & 0xff) << 8);
    } else {
        write::<BITS>(cpu, Reg::Rax, quotient);
        write::<BITS>(cpu, Reg::Rdx, remainder);
    }
}

#[inline(always)]
fn div<const BITS: u32, M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let divisor = cut::<BITS>(cpu.reg(u.a));
    let dividend = dividend::<BITS>(cpu);
    if divisor == 0 {
        return Err(m.fault(Fault::DE));
    }
    // 128-bit division is a library call; almost all dividends fit into 64 bits.
    let (q, r) = match u64::try_from(dividend) {
        Ok(small) => (u128::from(small / divisor), small % divisor),
        Err(_) => (
            dividend / u128::from(divisor),
            (dividend % u128::from(divisor)) as u64,
        ),
    };
    if q >> BITS != 0 {
        return Err(m.fault(Fault::DE));
    }
    quotient::<BITS>(cpu, q as u64, r);
    Ok(())
}

#[inline(always)]
fn idiv<const BITS: u32, M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let divisor = i128::from(sign::<BITS>(cpu.reg(u.a)));
    let shift = 128 - if BITS == 8 { 16 } else { 2 * BITS };
    let dividend = (dividend::<BITS>(cpu) << shift) as i128 >> shift;
    if divisor == 0 {
        return Err(m.fault(Fault::DE));
    }
    let q = dividend.wrapping_div(divisor);
    let overflow = dividend == i128::MIN && divisor == -1;
    if overflow || i128::from(sign::<BITS>(q as u64)) != q {
        return Err(m.fault(Fault::DE));
    }
    quotient::<BITS>(cpu, q as u64, dividend.wrapping_rem(divisor) as u64);
    Ok(())
}

#[inline(always)]
fn bit<const BITS: u32>(cpu: &mut Cpu, u: &Uop, change: impl FnOnce(u64, u64) -> u64) {
    let a = cpu.reg(u.a);
    let mask = 1u64 << (cpu.reg(u.b) & u64::from(BITS - 1));
    cpu.flags.set_carry(a & mask != 0);
    write::<BITS>(cpu, u.dst, change(a, mask));
}

#[inline(always)]
fn bit_test<const BITS: u32>(cpu: &mut Cpu, u: &Uop) {
    let mask = 1u64 << (cpu.reg(u.b) & u64::from(BITS - 1));
    let set = cpu.reg(u.a) & mask != 0;
    cpu.flags.set_carry(set);
}

/// BSF and BSR: a source of zero sets ZF and leaves the destination (even its upper half).
#[inline(always)]
fn scan<const BITS: u32>(cpu: &mut Cpu, u: &Uop, find: impl FnOnce(u64) -> u32) {
    let a = cut::<BITS>(cpu.reg(u.a));
    cpu.flags.set_logic::<BITS>(a);
    if a != 0 {
        write::<BITS>(cpu, u.dst, find(a).into());
    }
}

/// TZCNT and LZCNT: ZF from the result, CF if the source is zero.
#[inline(always)]
fn count_zeros<const BITS: u32>(cpu: &mut Cpu, u: &Uop, count: impl FnOnce(u64) -> u32) {
    let a = cut::<BITS>(cpu.reg(u.a));
    let result = u64::from(count(a));
    cpu.flags.set_shift::<BITS>(result, a == 0, false);
    write::<BITS>(cpu, u.dst, result);
}

#[inline(always)]
fn popcnt<const BITS: u32>(cpu: &mut Cpu, u: &Uop) {
    let a = cut::<BITS>(cpu.reg(u.a));
    let result = u64::from(a.count_ones());
    // Only ZF can be set, and a result of zero would set PF too.
    cpu.flags.set_bits(if a == 0 { rflags::ZF } else { 0 });
    write::<BITS>(cpu, u.dst, result);
}

#[inline(always)]
fn bit_word<const BITS: u32>(cpu: &Cpu, u: &Uop) -> u64 {
    let index = sign::<BITS>(cpu.reg(u.b));
    let bytes = (index >> BITS.trailing_zeros()) * i64::from(BITS / 8);
    cpu.reg(u.a).wrapping_add(bytes as u64)
}

#[inline(always)]
fn set_target(cpu: &mut Cpu, u: &Uop, target: u64) {
    let target = match u.x {
        0 => target,
        16 => target & 0xffff,
        _ => target & 0xffff_ffff,
    };
    cpu.set_rip(target);
}

#[inline(always)]
fn branch(cpu: &mut Cpu, u: &Uop, taken: bool) -> Flow {
    let base = cpu.rip();
    if taken {
        set_target(cpu, u, base.wrapping_add(u.imm_low() as u64));
        Flow::Direct0
    } else {
        // A branch that is not taken does not cut EIP to 16 bits. SDM Vol. 2, "Jcc".
        let next = base.wrapping_add(u.imm_high() as u64);
        cpu.set_rip(if u.x == 0 { next } else { next & 0xffff_ffff });
        Flow::Direct1
    }
}

/// The value that a stack segment's fault turns a plain one into: #SS instead of #GP for a
/// non-canonical address.
///
/// A misaligned address is #GP in every segment. SDM Vol. 2, "MOVAPS", "Exceptions Type 1".
pub fn adjust_stack_fault(cpu: &Cpu, u: &Uop, fault: Fault) -> Fault {
    let info = u.op.info();
    let accesses = info.loads || info.stores || u.op == Op::CheckWrite;
    let on_stack = u.x & Uop::STACK != 0 && accesses;
    let at = address(cpu, u);
    let is_aligned = match u.op {
        Op::VLoad256 | Op::VStore256 => is_aligned_256(u, at),
        _ => is_aligned(u, at),
    };
    let is_misaligned = cpu.is_canonical(at) && !is_aligned;
    if on_stack && fault == Fault::GP0 && !is_misaligned {
        Fault::SS0
    } else {
        fault
    }
}

#[inline(always)]
pub(crate) fn is_aligned(u: &Uop, address: u64) -> bool {
    u.x & Uop::ALIGNED == 0 || address.is_multiple_of(16)
}

/// The same for 256-bit accesses.
#[inline(always)]
pub(crate) fn is_aligned_256(u: &Uop, address: u64) -> bool {
    u.x & Uop::ALIGNED32 == 0 || address.is_multiple_of(32)
}

/// Executes one micro-op.
///
/// # Errors
/// [`Stop`], with the reason in `m`; the architectural state is that of the instruction's start.
#[inline(always)]
pub fn execute<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<Flow, Stop> {
    macro_rules! rr {
        ($f:ident, $bits:literal) => {{
            let (a, b) = (cpu.reg(u.a), cpu.reg(u.b));
            $f::<$bits>(cpu, u.dst, a, b);
        }};
    }
    macro_rules! ri {
        ($f:ident, $bits:literal) => {{
            let a = cpu.reg(u.a);
            $f::<$bits>(cpu, u.dst, a, u.imm as u64);
        }};
    }
    macro_rules! logical {
        ($bits:literal, $operator:tt, reg) => {{
            let result = cpu.reg(u.a) $operator cpu.reg(u.b);
            logic::<$bits>(cpu, u.dst, result);
        }};
        ($bits:literal, $operator:tt, imm) => {{
            let result = cpu.reg(u.a) $operator u.imm as u64;
            logic::<$bits>(cpu, u.dst, result);
        }};
    }
    macro_rules! shift_reg {
        ($f:ident, $bits:literal) => {{
            let (a, count) = (cpu.reg(u.a), count_of::<$bits>(cpu.reg(u.b)));
            $f::<$bits>(cpu, u.dst, a, count);
        }};
    }
    macro_rules! shift_imm {
        ($f:ident, $bits:literal) => {{
            let a = cpu.reg(u.a);
            $f::<$bits>(cpu, u.dst, a, u.imm as u32);
        }};
    }
    macro_rules! load {
        ($bytes:literal) => {{
            let value = m.load::<$bytes>(address(cpu, u))?;
            cpu.set_reg(u.dst, value);
        }};
    }
    macro_rules! load_signed {
        ($bytes:literal, $from:ty, $to:ty) => {{
            let value = m.load::<$bytes>(address(cpu, u))?;
            cpu.set_reg(u.dst, value as $from as $to as u64);
        }};
    }
    macro_rules! store_imm {
        ($bytes:literal) => {{
            let at = base_address(cpu, u).wrapping_add(u.imm_low() as u64);
            m.store::<$bytes>(at, u.imm_high() as u64)?;
        }};
    }
    macro_rules! cmov {
        ($bits:literal) => {{
            let value = if cpu.flags.holds(u.condition()) {
                cpu.reg(u.a)
            } else {
                cpu.reg(u.dst)
            };
            write::<$bits>(cpu, u.dst, value);
        }};
    }
    macro_rules! cmov_keep {
        ($bits:literal) => {{
            if cpu.flags.holds(u.condition()) {
                let value = cpu.reg(u.a);
                write::<$bits>(cpu, u.dst, value);
            }
        }};
    }

    macro_rules! packed_inline {
        ($op:ident) => {{
            let (a, b) = (cpu.vectors[u.va()], cpu.vectors[u.vb()]);
            cpu.vectors[u.vdst()] = packed(PackedOp::$op, a, b, u.imm as u8);
        }};
    }
    macro_rules! packed_to_general {
        ($op:ident) => {{
            let value = packed(PackedOp::$op, 0, cpu.vectors[u.vb()], 0);
            cpu.set_reg(u.dst, value as u64);
        }};
    }
    macro_rules! completed {
        ($result:expr) => {
            match $result {
                Ok(result) => result,
                Err(_) => return Err(routine::floating::simd_exception(cpu, m)),
            }
        };
    }
    macro_rules! scalar {
        ($element:ty, $f:ident) => {{
            let (a, b) = (cpu.vectors[u.va()], cpu.vectors[u.vb()]);
            let result = completed!(float::$f(a as $element, b as $element, &mut cpu.mxcsr));
            cpu.vectors[u.vdst()] = with_low(a, result.into(), <$element>::BITS);
        }};
    }
    macro_rules! scalar_of {
        ($from:ty, $to:ty, $f:ident) => {{
            let (a, b) = (cpu.vectors[u.va()], cpu.vectors[u.vb()]);
            let result = completed!(float::$f(b as $from, &mut cpu.mxcsr));
            cpu.vectors[u.vdst()] = with_low(a, result.into(), <$to>::BITS);
        }};
    }
    macro_rules! whole {
        ($f:ident) => {{
            let (a, b) = (cpu.vectors[u.va()], cpu.vectors[u.vb()]);
            cpu.vectors[u.vdst()] = completed!(float::$f(a, b, &mut cpu.mxcsr));
        }};
    }
    macro_rules! compare {
        ($element:ty, $f:ident) => {{
            let (a, b) = (cpu.vectors[u.va()], cpu.vectors[u.vb()]);
            let flags = completed!(float::$f(a as $element, b as $element, &mut cpu.mxcsr));
            cpu.flags.set_bits(flags);
        }};
    }
    macro_rules! from_general {
        ($from:ty, $to:ty, $f:ident) => {{
            let (a, b) = (cpu.vectors[u.va()], cpu.reg(u.b));
            let result = completed!(float::$f(b as $from, &mut cpu.mxcsr));
            cpu.vectors[u.vdst()] = with_low(a, result.into(), <$to>::BITS);
        }};
    }
    macro_rules! to_general {
        ($from:ty, $f:ident) => {{
            let value = completed!(float::$f(cpu.vectors[u.va()] as $from, &mut cpu.mxcsr));
            cpu.set_reg(u.dst, value.into());
        }};
    }

    match u.op {
        Op::MovImm => cpu.set_reg(u.dst, u.imm as u64),
        Op::Mov64 => {
            let value = cpu.reg(u.a);
            cpu.set_reg(u.dst, value);
        }
        Op::Mov32 => {
            let value = cpu.reg(u.a);
            write::<32>(cpu, u.dst, value);
        }
        Op::Mov16 => {
            let value = cpu.reg(u.a);
            write::<16>(cpu, u.dst, value);
        }
        Op::Mov8 => {
            let value = cpu.reg(u.a);
            write::<8>(cpu, u.dst, value);
        }
        Op::GetHigh8 => {
            let value = cpu.reg(u.a) >> 8 & 0xff;
            cpu.set_reg(u.dst, value);
        }
        Op::PutHigh8 => {
            let value = (cpu.reg(u.dst) & !0xff00) | (cpu.reg(u.a) & 0xff) << 8;
            cpu.set_reg(u.dst, value);
        }
        Op::Zx8 => {
            let value = cpu.reg(u.a) & 0xff;
            cpu.set_reg(u.dst, value);
        }
        Op::Zx16 => {
            let value = cpu.reg(u.a) & 0xffff;
            cpu.set_reg(u.dst, value);
        }
        Op::Sx8To32 => {
            let value = cpu.reg(u.a) as i8 as u32;
            cpu.set_reg(u.dst, value.into());
        }
        Op::Sx8To64 => {
            let value = cpu.reg(u.a) as i8 as u64;
            cpu.set_reg(u.dst, value);
        }
        Op::Sx16To32 => {
            let value = cpu.reg(u.a) as i16 as u32;
            cpu.set_reg(u.dst, value.into());
        }
        Op::Sx16To64 => {
            let value = cpu.reg(u.a) as i16 as u64;
            cpu.set_reg(u.dst, value);
        }
        Op::Sx32To64 => {
            let value = cpu.reg(u.a) as i32 as u64;
            cpu.set_reg(u.dst, value);
        }
        Op::Sign16 => {
            let value = (cpu.reg(u.a) as i16 >> 15) as u64;
            write::<16>(cpu, u.dst, value);
        }
        Op::Sign32 => {
            let value = (cpu.reg(u.a) as i32 >> 31) as u64;
            write::<32>(cpu, u.dst, value);
        }
        Op::Sign64 => {
            let value = (cpu.reg(u.a) as i64 >> 63) as u64;
            cpu.set_reg(u.dst, value);
        }
        Op::Lea64 => {
            let value = lea(cpu, u);
            cpu.set_reg(u.dst, value);
        }
        Op::Lea32 => {
            let value = lea(cpu, u);
            write::<32>(cpu, u.dst, value);
        }
        Op::Lea16 => {
            let value = lea(cpu, u) & 0xffff;
            cpu.set_reg(u.dst, value);
        }
        Op::Segment => routine::segment::check_access(cpu, m, u)?,
        Op::Load8 => load!(1),
        Op::Load16 => load!(2),
        Op::Load32 => load!(4),
        Op::Load64 => load!(8),
        Op::LoadSx8To32 => load_signed!(1, i8, u32),
        Op::LoadSx8To64 => load_signed!(1, i8, i64),
        Op::LoadSx16To32 => load_signed!(2, i16, u32),
        Op::LoadSx16To64 => load_signed!(2, i16, i64),
        Op::LoadSx32To64 => load_signed!(4, i32, i64),
        Op::LoadModify8 => {
            let value = m.load_modify::<1>(address(cpu, u))?;
            cpu.set_reg(u.dst, value);
        }
        Op::LoadModify16 => {
            let value = m.load_modify::<2>(address(cpu, u))?;
            cpu.set_reg(u.dst, value);
        }
        Op::LoadModify32 => {
            let value = m.load_modify::<4>(address(cpu, u))?;
            cpu.set_reg(u.dst, value);
        }
        Op::LoadModify64 => {
            let value = m.load_modify::<8>(address(cpu, u))?;
            cpu.set_reg(u.dst, value);
        }
        Op::Store8 => m.store::<1>(address(cpu, u), cpu.reg(u.dst))?,
        Op::Store16 => m.store::<2>(address(cpu, u), cpu.reg(u.dst))?,
        Op::Store32 => m.store::<4>(address(cpu, u), cpu.reg(u.dst))?,
        Op::Store64 => m.store::<8>(address(cpu, u), cpu.reg(u.dst))?,
        Op::StoreImm8 => store_imm!(1),
        Op::StoreImm16 => store_imm!(2),
        Op::StoreImm32 => store_imm!(4),
        Op::StoreImm64 => store_imm!(8),
        Op::CheckWrite => m.check_write(address(cpu, u), u.y.into())?,

        Op::Add8 => rr!(add, 8),
        Op::Add16 => rr!(add, 16),
        Op::Add32 => rr!(add, 32),
        Op::Add64 => rr!(add, 64),
        Op::Or8 => logical!(8, |, reg),
        Op::Or16 => logical!(16, |, reg),
        Op::Or32 => logical!(32, |, reg),
        Op::Or64 => logical!(64, |, reg),
        Op::Adc8 => rr!(adc, 8),
        Op::Adc16 => rr!(adc, 16),
        Op::Adc32 => rr!(adc, 32),
        Op::Adc64 => rr!(adc, 64),
        Op::Sbb8 => rr!(sbb, 8),
        Op::Sbb16 => rr!(sbb, 16),
        Op::Sbb32 => rr!(sbb, 32),
        Op::Sbb64 => rr!(sbb, 64),
        Op::And8 => logical!(8, &, reg),
        Op::And16 => logical!(16, &, reg),
        Op::And32 => logical!(32, &, reg),
        Op::And64 => logical!(64, &, reg),
        Op::Sub8 => rr!(sub, 8),
        Op::Sub16 => rr!(sub, 16),
        Op::Sub32 => rr!(sub, 32),
        Op::Sub64 => rr!(sub, 64),
        Op::Xor8 => logical!(8, ^, reg),
        Op::Xor16 => logical!(16, ^, reg),
        Op::Xor32 => logical!(32, ^, reg),
        Op::Xor64 => logical!(64, ^, reg),
        Op::Cmp8 => cmp::<8>(cpu, cpu.reg(u.a), cpu.reg(u.b)),
        Op::Cmp16 => cmp::<16>(cpu, cpu.reg(u.a), cpu.reg(u.b)),
        Op::Cmp32 => cmp::<32>(cpu, cpu.reg(u.a), cpu.reg(u.b)),
        Op::Cmp64 => cmp::<64>(cpu, cpu.reg(u.a), cpu.reg(u.b)),
        Op::Test8 => cpu
            .flags
            .set_logic::<8>(cpu.regs[u.a as usize] & cpu.regs[u.b as usize]),
        Op::Test16 => cpu
            .flags
            .set_logic::<16>(cpu.regs[u.a as usize] & cpu.regs[u.b as usize]),
        Op::Test32 => cpu
            .flags
            .set_logic::<32>(cpu.regs[u.a as usize] & cpu.regs[u.b as usize]),
        Op::Test64 => cpu
            .flags
            .set_logic::<64>(cpu.regs[u.a as usize] & cpu.regs[u.b as usize]),
        Op::AddImm8 => ri!(add, 8),
        Op::AddImm16 => ri!(add, 16),
        Op::AddImm32 => ri!(add, 32),
        Op::AddImm64 => ri!(add, 64),
        Op::OrImm8 => logical!(8, |, imm),
        Op::OrImm16 => logical!(16, |, imm),
        Op::OrImm32 => logical!(32, |, imm),
        Op::OrImm64 => logical!(64, |, imm),
        Op::AdcImm8 => ri!(adc, 8),
        Op::AdcImm16 => ri!(adc, 16),
        Op::AdcImm32 => ri!(adc, 32),
        Op::AdcImm64 => ri!(adc, 64),
        Op::SbbImm8 => ri!(sbb, 8),
        Op::SbbImm16 => ri!(sbb, 16),
        Op::SbbImm32 => ri!(sbb, 32),
        Op::SbbImm64 => ri!(sbb, 64),
        Op::AndImm8 => logical!(8, &, imm),
        Op::AndImm16 => logical!(16, &, imm),
        Op::AndImm32 => logical!(32, &, imm),
        Op::AndImm64 => logical!(64, &, imm),
        Op::SubImm8 => ri!(sub, 8),
        Op::SubImm16 => ri!(sub, 16),
        Op::SubImm32 => ri!(sub, 32),
        Op::SubImm64 => ri!(sub, 64),
        Op::XorImm8 => logical!(8, ^, imm),
        Op::XorImm16 => logical!(16, ^, imm),
        Op::XorImm32 => logical!(32, ^, imm),
        Op::XorImm64 => logical!(64, ^, imm),
        Op::CmpImm8 => cmp::<8>(cpu, cpu.reg(u.a), u.imm as u64),
        Op::CmpImm16 => cmp::<16>(cpu, cpu.reg(u.a), u.imm as u64),
        Op::CmpImm32 => cmp::<32>(cpu, cpu.reg(u.a), u.imm as u64),
        Op::CmpImm64 => cmp::<64>(cpu, cpu.reg(u.a), u.imm as u64),
        Op::TestImm8 => cpu
            .flags
            .set_logic::<8>(cpu.regs[u.a as usize] & u.imm as u64),
        Op::TestImm16 => cpu
            .flags
            .set_logic::<16>(cpu.regs[u.a as usize] & u.imm as u64),
        Op::TestImm32 => cpu
            .flags
            .set_logic::<32>(cpu.regs[u.a as usize] & u.imm as u64),
        Op::TestImm64 => cpu
            .flags
            .set_logic::<64>(cpu.regs[u.a as usize] & u.imm as u64),
        Op::Inc8 => inc::<8>(cpu, u),
        Op::Inc16 => inc::<16>(cpu, u),
        Op::Inc32 => inc::<32>(cpu, u),
        Op::Inc64 => inc::<64>(cpu, u),
        Op::Dec8 => dec::<8>(cpu, u),
        Op::Dec16 => dec::<16>(cpu, u),
        Op::Dec32 => dec::<32>(cpu, u),
        Op::Dec64 => dec::<64>(cpu, u),
        Op::Neg8 => sub::<8>(cpu, u.dst, 0, cpu.reg(u.a)),
        Op::Neg16 => sub::<16>(cpu, u.dst, 0, cpu.reg(u.a)),
        Op::Neg32 => sub::<32>(cpu, u.dst, 0, cpu.reg(u.a)),
        Op::Neg64 => sub::<64>(cpu, u.dst, 0, cpu.reg(u.a)),
        Op::Not8 => write::<8>(cpu, u.dst, !cpu.reg(u.a)),
        Op::Not16 => write::<16>(cpu, u.dst, !cpu.reg(u.a)),
        Op::Not32 => write::<32>(cpu, u.dst, !cpu.reg(u.a)),
        Op::Not64 => write::<64>(cpu, u.dst, !cpu.reg(u.a)),

        Op::Shl8 => shift_reg!(shl, 8),
        Op::Shl16 => shift_reg!(shl, 16),
        Op::Shl32 => shift_reg!(shl, 32),
        Op::Shl64 => shift_reg!(shl, 64),
        Op::Shr8 => shift_reg!(shr, 8),
        Op::Shr16 => shift_reg!(shr, 16),
        Op::Shr32 => shift_reg!(shr, 32),
        Op::Shr64 => shift_reg!(shr, 64),
        Op::Sar8 => shift_reg!(sar, 8),
        Op::Sar16 => shift_reg!(sar, 16),
        Op::Sar32 => shift_reg!(sar, 32),
        Op::Sar64 => shift_reg!(sar, 64),
        Op::ShlImm8 => shift_imm!(shl, 8),
        Op::ShlImm16 => shift_imm!(shl, 16),
        Op::ShlImm32 => shift_imm!(shl, 32),
        Op::ShlImm64 => shift_imm!(shl, 64),
        Op::ShrImm8 => shift_imm!(shr, 8),
        Op::ShrImm16 => shift_imm!(shr, 16),
        Op::ShrImm32 => shift_imm!(shr, 32),
        Op::ShrImm64 => shift_imm!(shr, 64),
        Op::SarImm8 => shift_imm!(sar, 8),
        Op::SarImm16 => shift_imm!(sar, 16),
        Op::SarImm32 => shift_imm!(sar, 32),
        Op::SarImm64 => shift_imm!(sar, 64),
        Op::Rol8 => rol::<8>(cpu, u),
        Op::Rol16 => rol::<16>(cpu, u),
        Op::Rol32 => rol::<32>(cpu, u),
        Op::Rol64 => rol::<64>(cpu, u),
        Op::Ror8 => ror::<8>(cpu, u),
        Op::Ror16 => ror::<16>(cpu, u),
        Op::Ror32 => ror::<32>(cpu, u),
        Op::Ror64 => ror::<64>(cpu, u),
        Op::Rcl8 => rcl::<8>(cpu, u),
        Op::Rcl16 => rcl::<16>(cpu, u),
        Op::Rcl32 => rcl::<32>(cpu, u),
        Op::Rcl64 => rcl::<64>(cpu, u),
        Op::Rcr8 => rcr::<8>(cpu, u),
        Op::Rcr16 => rcr::<16>(cpu, u),
        Op::Rcr32 => rcr::<32>(cpu, u),
        Op::Rcr64 => rcr::<64>(cpu, u),
        Op::Shld16 => shld::<16>(cpu, u),
        Op::Shld32 => shld::<32>(cpu, u),
        Op::Shld64 => shld::<64>(cpu, u),
        Op::Shrd16 => shrd::<16>(cpu, u),
        Op::Shrd32 => shrd::<32>(cpu, u),
        Op::Shrd64 => shrd::<64>(cpu, u),

        Op::Imul16 => imul::<16>(cpu, u),
        Op::Imul32 => imul::<32>(cpu, u),
        Op::Imul64 => imul::<64>(cpu, u),
        Op::Mul8 => mul::<8>(cpu, u),
        Op::Mul16 => mul::<16>(cpu, u),
        Op::Mul32 => mul::<32>(cpu, u),
        Op::Mul64 => mul::<64>(cpu, u),
        Op::ImulWide8 => imul_wide::<8>(cpu, u),
        Op::ImulWide16 => imul_wide::<16>(cpu, u),
        Op::ImulWide32 => imul_wide::<32>(cpu, u),
        Op::ImulWide64 => imul_wide::<64>(cpu, u),
        Op::Div8 => div::<8, M>(cpu, m, u)?,
        Op::Div16 => div::<16, M>(cpu, m, u)?,
        Op::Div32 => div::<32, M>(cpu, m, u)?,
        Op::Div64 => div::<64, M>(cpu, m, u)?,
        Op::Idiv8 => idiv::<8, M>(cpu, m, u)?,
        Op::Idiv16 => idiv::<16, M>(cpu, m, u)?,
        Op::Idiv32 => idiv::<32, M>(cpu, m, u)?,
        Op::Idiv64 => idiv::<64, M>(cpu, m, u)?,

        Op::Bt16 => bit_test::<16>(cpu, u),
        Op::Bt32 => bit_test::<32>(cpu, u),
        Op::Bt64 => bit_test::<64>(cpu, u),
        Op::Bts16 => bit::<16>(cpu, u, |a, mask| a | mask),
        Op::Bts32 => bit::<32>(cpu, u, |a, mask| a | mask),
        Op::Bts64 => bit::<64>(cpu, u, |a, mask| a | mask),
        Op::Btr16 => bit::<16>(cpu, u, |a, mask| a & !mask),
        Op::Btr32 => bit::<32>(cpu, u, |a, mask| a & !mask),
        Op::Btr64 => bit::<64>(cpu, u, |a, mask| a & !mask),
        Op::Btc16 => bit::<16>(cpu, u, |a, mask| a ^ mask),
        Op::Btc32 => bit::<32>(cpu, u, |a, mask| a ^ mask),
        Op::Btc64 => bit::<64>(cpu, u, |a, mask| a ^ mask),
        Op::BitWord16 => {
            let value = bit_word::<16>(cpu, u);
            cpu.set_reg(u.dst, value);
        }
        Op::BitWord32 => {
            let value = bit_word::<32>(cpu, u);
            cpu.set_reg(u.dst, value);
        }
        Op::BitWord64 => {
            let value = bit_word::<64>(cpu, u);
            cpu.set_reg(u.dst, value);
        }
        Op::Bsf16 => scan::<16>(cpu, u, u64::trailing_zeros),
        Op::Bsf32 => scan::<32>(cpu, u, u64::trailing_zeros),
        Op::Bsf64 => scan::<64>(cpu, u, u64::trailing_zeros),
        Op::Bsr16 => scan::<16>(cpu, u, u64::ilog2),
        Op::Bsr32 => scan::<32>(cpu, u, u64::ilog2),
        Op::Bsr64 => scan::<64>(cpu, u, u64::ilog2),
        Op::Tzcnt16 => count_zeros::<16>(cpu, u, |a| a.trailing_zeros().min(16)),
        Op::Tzcnt32 => count_zeros::<32>(cpu, u, |a| a.trailing_zeros().min(32)),
        Op::Tzcnt64 => count_zeros::<64>(cpu, u, u64::trailing_zeros),
        Op::Lzcnt16 => count_zeros::<16>(cpu, u, |a| a.leading_zeros() - 48),
        Op::Lzcnt32 => count_zeros::<32>(cpu, u, |a| a.leading_zeros() - 32),
        Op::Lzcnt64 => count_zeros::<64>(cpu, u, u64::leading_zeros),
        Op::Popcnt16 => popcnt::<16>(cpu, u),
        Op::Popcnt32 => popcnt::<32>(cpu, u),
        Op::Popcnt64 => popcnt::<64>(cpu, u),
        Op::Bswap16 => write::<16>(cpu, u.dst, (cpu.reg(u.a) as u16).swap_bytes().into()),
        Op::Bswap32 => write::<32>(cpu, u.dst, (cpu.reg(u.a) as u32).swap_bytes().into()),
        Op::Bswap64 => write::<64>(cpu, u.dst, cpu.reg(u.a).swap_bytes()),
        Op::MulLow32 => {
            let product = cpu.reg(u.a).wrapping_mul(cpu.reg(u.b));
            write::<32>(cpu, u.dst, product);
        }
        Op::MulLow64 => {
            let product = cpu.reg(u.a).wrapping_mul(cpu.reg(u.b));
            cpu.set_reg(u.dst, product);
        }
        Op::MulHigh32 => {
            let product = cut::<32>(cpu.reg(u.a)) * cut::<32>(cpu.reg(u.b));
            cpu.set_reg(u.dst, product >> 32);
        }
        Op::MulHigh64 => {
            let product = u128::from(cpu.reg(u.a)) * u128::from(cpu.reg(u.b));
            cpu.set_reg(u.dst, (product >> 64) as u64);
        }
        Op::Rorx32 => {
            let value = (cpu.reg(u.a) as u32).rotate_right(u.imm as u32);
            cpu.set_reg(u.dst, value.into());
        }
        Op::Rorx64 => {
            let value = cpu.reg(u.a).rotate_right(u.imm as u32);
            cpu.set_reg(u.dst, value);
        }
        Op::Shlx32 => {
            let value = (cpu.reg(u.a) as u32) << count_of::<32>(cpu.reg(u.b));
            cpu.set_reg(u.dst, value.into());
        }
        Op::Shlx64 => {
            let value = cpu.reg(u.a) << count_of::<64>(cpu.reg(u.b));
            cpu.set_reg(u.dst, value);
        }
        Op::Shrx32 => {
            let value = cpu.reg(u.a) as u32 >> count_of::<32>(cpu.reg(u.b));
            cpu.set_reg(u.dst, value.into());
        }
        Op::Shrx64 => {
            let value = cpu.reg(u.a) >> count_of::<64>(cpu.reg(u.b));
            cpu.set_reg(u.dst, value);
        }
        Op::Sarx32 => {
            let value = (cpu.reg(u.a) as i32 >> count_of::<32>(cpu.reg(u.b))) as u32;
            cpu.set_reg(u.dst, value.into());
        }
        Op::Sarx64 => {
            let value = (cpu.reg(u.a) as i64 >> count_of::<64>(cpu.reg(u.b))) as u64;
            cpu.set_reg(u.dst, value);
        }
        Op::Andn32
        | Op::Andn64
        | Op::Bextr32
        | Op::Bextr64
        | Op::Blsi32
        | Op::Blsi64
        | Op::Blsmsk32
        | Op::Blsmsk64
        | Op::Blsr32
        | Op::Blsr64
        | Op::Bzhi32
        | Op::Bzhi64
        | Op::Pdep32
        | Op::Pdep64
        | Op::Pext32
        | Op::Pext64
        | Op::Adcx32
        | Op::Adcx64
        | Op::Adox32
        | Op::Adox64 => bits::execute(cpu, u),
        Op::Crc8 => crc(cpu, u, 1),
        Op::Crc16 => crc(cpu, u, 2),
        Op::Crc32 => crc(cpu, u, 4),
        Op::Crc64 => crc(cpu, u, 8),

        Op::Set => {
            let value = cpu.flags.holds(u.condition()).into();
            write::<8>(cpu, u.dst, value);
        }
        Op::Cmov16 => cmov!(16),
        Op::Cmov32 => cmov!(32),
        Op::Cmov64 => cmov!(64),
        Op::CmovKeep8 => cmov_keep!(8),
        Op::CmovKeep16 => cmov_keep!(16),
        Op::CmovKeep32 => cmov_keep!(32),
        Op::CmovKeep64 => cmov_keep!(64),
        Op::Clc => cpu.flags.set_carry(false),
        Op::Stc => cpu.flags.set_carry(true),
        Op::Cmc => {
            let carry = cpu.flags.carry();
            cpu.flags.set_carry(!carry);
        }
        Op::Cld => cpu.system_flags &= !rflags::DF,
        Op::Std => cpu.system_flags |= rflags::DF,
        Op::Lahf => {
            let low = cpu.rflags() & 0xff;
            let value = (cpu.reg(Reg::Rax) & !0xff00) | low << 8;
            cpu.set_reg(Reg::Rax, value);
        }
        Op::Sahf => {
            let overflow = cpu.flags.bits() & rflags::OF;
            let low = cpu.reg(Reg::Rax) >> 8 & (rflags::STATUS & !rflags::OF);
            cpu.flags.set_bits(low | overflow);
        }
        Op::ReadFlags => {
            if cpu.is_virtual_8086() && cpu.iopl() < 3 {
                return Err(m.fault(Fault::GP0));
            }
            let value = cpu.rflags() & !(rflags::VM | rflags::RF);
            cpu.set_reg(u.dst, value);
        }

        Op::Next | Op::Jump | Op::CallJump => {
            let target = cpu.rip().wrapping_add(u.imm as u64);
            set_target(cpu, u, target);
            return Ok(Flow::Direct0);
        }
        Op::JumpTo => {
            let target = cpu.reg(u.a);
            if u.x == 0 && !cpu.is_canonical(target) {
                return Err(m.fault(Fault::GP0));
            }
            set_target(cpu, u, target);
            return Ok(Flow::Indirect);
        }
        Op::CallTo | Op::ReturnTo => {
            let target = cpu.reg(u.a);
            set_target(cpu, u, target);
            return Ok(Flow::Indirect);
        }
        Op::CheckTarget => {
            if u.x == 0 && !cpu.is_canonical(cpu.reg(u.a)) {
                return Err(m.fault(Fault::GP0));
            }
        }
        Op::Branch => {
            let taken = cpu.flags.holds(u.condition());
            return Ok(branch(cpu, u, taken));
        }
        Op::BranchZero => {
            let taken = cpu.reg(u.a) << (64 - u32::from(u.y)) == 0;
            return Ok(branch(cpu, u, taken));
        }
        Op::BranchNotZero => {
            let taken = cpu.reg(u.a) << (64 - u32::from(u.y)) != 0;
            return Ok(branch(cpu, u, taken));
        }
        Op::Raise => return Err(raise(m, u)),
        Op::Unimplemented => return Err(m.stop(StopReason::Unimplemented)),

        Op::Movs | Op::Stos | Op::Lods | Op::Cmps | Op::Scas | Op::Ins | Op::Outs => {
            return string::execute(cpu, m, u);
        }

        Op::VMov => cpu.vectors[u.vdst()] = cpu.vectors[u.va()],
        Op::VMov32 => merge_low(cpu, u, 0xffff_ffff),
        Op::VMov64 => merge_low(cpu, u, u64::MAX.into()),
        Op::VZx64 => cpu.vectors[u.vdst()] = (cpu.vectors[u.va()] as u64).into(),
        Op::VLowToHigh => {
            let low = cpu.vectors[u.vdst()] as u64;
            cpu.vectors[u.vdst()] = cpu.vectors[u.va()] << 64 | u128::from(low);
        }
        Op::VHighToLow => {
            let high = cpu.vectors[u.vdst()] >> 64 << 64;
            cpu.vectors[u.vdst()] = high | cpu.vectors[u.va()] >> 64;
        }
        Op::VLoad128 => {
            let at = address(cpu, u);
            if !is_aligned(u, at) {
                return Err(m.fault(Fault::GP0));
            }
            cpu.vectors[u.vdst()] = m.load128(at)?;
        }
        Op::VLoad64 => cpu.vectors[u.vdst()] = m.load::<8>(address(cpu, u))?.into(),
        Op::VLoad32 => cpu.vectors[u.vdst()] = m.load::<4>(address(cpu, u))?.into(),
        Op::VLoad16 => cpu.vectors[u.vdst()] = m.load::<2>(address(cpu, u))?.into(),
        Op::VLoadLow => {
            let value = m.load::<8>(address(cpu, u))?;
            let old = &mut cpu.vectors[u.vdst()];
            *old = *old >> 64 << 64 | u128::from(value);
        }
        Op::VLoadHigh => {
            let value = m.load::<8>(address(cpu, u))?;
            let old = &mut cpu.vectors[u.vdst()];
            *old = u128::from(value) << 64 | u128::from(*old as u64);
        }
        Op::VStore128 => {
            let at = address(cpu, u);
            if !is_aligned(u, at) {
                return Err(m.fault(Fault::GP0));
            }
            m.store128(at, cpu.vectors[u.vdst()])?;
        }
        Op::VStore64 => m.store::<8>(address(cpu, u), cpu.vectors[u.vdst()] as u64)?,
        Op::VStore32 => m.store::<4>(address(cpu, u), cpu.vectors[u.vdst()] as u64)?,
        Op::VStoreHigh => m.store::<8>(address(cpu, u), (cpu.vectors[u.vdst()] >> 64) as u64)?,
        Op::VFromGpr32 => cpu.vectors[u.vdst()] = (cpu.reg(u.a) as u32).into(),
        Op::VFromGpr64 => cpu.vectors[u.vdst()] = cpu.reg(u.a).into(),
        Op::VToGpr32 => {
            let value = cpu.vectors[u.va()] as u32;
            cpu.set_reg(u.dst, value.into());
        }
        Op::VToGpr64 => {
            let value = cpu.vectors[u.va()] as u64;
            cpu.set_reg(u.dst, value);
        }
        Op::VAnd => cpu.vectors[u.vdst()] = cpu.vectors[u.va()] & cpu.vectors[u.vb()],
        Op::VAndNot => cpu.vectors[u.vdst()] = !cpu.vectors[u.va()] & cpu.vectors[u.vb()],
        Op::VOr => cpu.vectors[u.vdst()] = cpu.vectors[u.va()] | cpu.vectors[u.vb()],
        Op::VXor => cpu.vectors[u.vdst()] = cpu.vectors[u.va()] ^ cpu.vectors[u.vb()],
        Op::VImm => cpu.vectors[u.vdst()] = (u.imm as u64).into(),
        Op::VPaddb => packed_inline!(Paddb),
        Op::VPaddw => packed_inline!(Paddw),
        Op::VPaddd => packed_inline!(Paddd),
        Op::VPaddq => packed_inline!(Paddq),
        Op::VPsubb => packed_inline!(Psubb),
        Op::VPsubw => packed_inline!(Psubw),
        Op::VPsubd => packed_inline!(Psubd),
        Op::VPsubq => packed_inline!(Psubq),
        Op::VPcmpeqb => packed_inline!(Pcmpeqb),
        Op::VPcmpeqw => packed_inline!(Pcmpeqw),
        Op::VPcmpeqd => packed_inline!(Pcmpeqd),
        Op::VPcmpgtb => packed_inline!(Pcmpgtb),
        Op::VPcmpgtd => packed_inline!(Pcmpgtd),
        Op::VPminub => packed_inline!(Pminub),
        Op::VPmaxub => packed_inline!(Pmaxub),
        Op::VPmuludq => packed_inline!(Pmuludq),
        Op::VPunpcklbw => packed_inline!(Punpcklbw),
        Op::VPunpcklwd => packed_inline!(Punpcklwd),
        Op::VPunpckldq => packed_inline!(Punpckldq),
        Op::VPunpcklqdq => packed_inline!(Punpcklqdq),
        Op::VPunpckhbw => packed_inline!(Punpckhbw),
        Op::VPunpckhwd => packed_inline!(Punpckhwd),
        Op::VPunpckhdq => packed_inline!(Punpckhdq),
        Op::VPunpckhqdq => packed_inline!(Punpckhqdq),
        Op::VPshufb => packed_inline!(Pshufb),
        Op::VPalignr => packed_inline!(Palignr),
        Op::VShufps => packed_inline!(Shufps),
        Op::VShufpd => packed_inline!(Shufpd),
        Op::VPsllw => packed_inline!(Psllw),
        Op::VPslld => packed_inline!(Pslld),
        Op::VPsllq => packed_inline!(Psllq),
        Op::VPsrlw => packed_inline!(Psrlw),
        Op::VPsrld => packed_inline!(Psrld),
        Op::VPsrlq => packed_inline!(Psrlq),
        Op::VPsrad => packed_inline!(Psrad),
        Op::VPshufd => packed_inline!(Pshufd),
        Op::VPshuflw => packed_inline!(Pshuflw),
        Op::VPshufhw => packed_inline!(Pshufhw),
        Op::VMovddup => packed_inline!(Movddup),
        Op::VPslldq => packed_inline!(Pslldq),
        Op::VPsrldq => packed_inline!(Psrldq),
        Op::VPmovmskb => packed_to_general!(Pmovmskb),
        Op::VMovmskpd => packed_to_general!(Movmskpd),
        Op::VAddss => scalar!(u32, add_ss),
        Op::VSubss => scalar!(u32, sub_ss),
        Op::VMulss => scalar!(u32, mul_ss),
        Op::VDivss => scalar!(u32, div_ss),
        Op::VMinss => scalar!(u32, min_ss),
        Op::VMaxss => scalar!(u32, max_ss),
        Op::VAddsd => scalar!(u64, add_sd),
        Op::VSubsd => scalar!(u64, sub_sd),
        Op::VMulsd => scalar!(u64, mul_sd),
        Op::VDivsd => scalar!(u64, div_sd),
        Op::VMinsd => scalar!(u64, min_sd),
        Op::VMaxsd => scalar!(u64, max_sd),
        Op::VAddps => whole!(add_ps),
        Op::VAddpd => whole!(add_pd),
        Op::VSubps => whole!(sub_ps),
        Op::VSubpd => whole!(sub_pd),
        Op::VMulps => whole!(mul_ps),
        Op::VMulpd => whole!(mul_pd),
        Op::VDivps => whole!(div_ps),
        Op::VDivpd => whole!(div_pd),
        Op::VSqrtss => scalar_of!(u32, u32, sqrt_ss),
        Op::VSqrtsd => scalar_of!(u64, u64, sqrt_sd),
        Op::VCvtss2sd => scalar_of!(u32, u64, cvt_ss_to_sd),
        Op::VCvtsd2ss => scalar_of!(u64, u32, cvt_sd_to_ss),
        Op::VComiss => compare!(u32, comi_ss),
        Op::VComisd => compare!(u64, comi_sd),
        Op::VUcomiss => compare!(u32, ucomi_ss),
        Op::VUcomisd => compare!(u64, ucomi_sd),
        Op::VCvtsi2ss32 => from_general!(u32, u32, cvt_i32_to_ss),
        Op::VCvtsi2ss64 => from_general!(u64, u32, cvt_i64_to_ss),
        Op::VCvtsi2sd32 => {
            let value = float::cvt_i32_to_sd(cpu.reg(u.b) as u32);
            cpu.vectors[u.vdst()] = with_low(cpu.vectors[u.va()], value.into(), 64);
        }
        Op::VCvtsi2sd64 => from_general!(u64, u64, cvt_i64_to_sd),
        Op::VCvttss2si32 => to_general!(u32, cvtt_ss_to_i32),
        Op::VCvttss2si64 => to_general!(u32, cvtt_ss_to_i64),
        Op::VCvttsd2si32 => to_general!(u64, cvtt_sd_to_i32),
        Op::VCvttsd2si64 => to_general!(u64, cvtt_sd_to_i64),

        _ if u.op.is_vex_vector() => vex::execute(cpu, m, u)?,
        _ => return routine::execute(cpu, m, u),
    }
    Ok(Flow::Continue)
}

#[inline(always)]
pub(crate) fn with_low(vector: u128, low: u128, bits: u32) -> u128 {
    vector >> bits << bits | low
}

#[inline(always)]
fn merge_low(cpu: &mut Cpu, u: &Uop, mask: u128) {
    let old = cpu.vectors[u.vdst()];
    cpu.vectors[u.vdst()] = (old & !mask) | (cpu.vectors[u.va()] & mask);
}

#[cold]
fn raise<M: Memory>(m: &mut M, u: &Uop) -> Stop {
    let exception = match u.y {
        0 => Exception::Divide,
        7 => Exception::DeviceNotAvailable,
        13 => Exception::GeneralProtection,
        16 => Exception::X87,
        _ => Exception::InvalidOpcode,
    };
    m.fault(Fault::new(exception, u.imm as u32))
}

/// SDM Vol. 2, "CRC32".
fn crc(cpu: &mut Cpu, u: &Uop, bytes: usize) {
    let crc = ring3_arithmetic::crc32(cpu.reg(u.a) as u32, cpu.reg(u.b), bytes);
    cpu.set_reg(u.dst, crc.into());
}
