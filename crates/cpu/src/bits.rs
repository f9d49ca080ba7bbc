//! The micro-ops of BMI1, BMI2 and ADX that are neither shifts nor products.
//!
//! Apart from [`mod@crate::execute`] for the same reason as [`crate::vex`].

use crate::execute::{cut, logic, write};
use crate::state::Cpu;
use ring3_arch::rflags;
use ring3_isa::{Op, Uop};

/// Executes one of them.
#[inline(never)]
pub(crate) fn execute(cpu: &mut Cpu, u: &Uop) {
    match u.op {
        Op::Andn32 => andn::<32>(cpu, u),
        Op::Andn64 => andn::<64>(cpu, u),
        Op::Bextr32 => bextr::<32>(cpu, u),
        Op::Bextr64 => bextr::<64>(cpu, u),
        Op::Blsi32 => lowest_bit::<32>(cpu, u, |a| a & a.wrapping_neg(), true),
        Op::Blsi64 => lowest_bit::<64>(cpu, u, |a| a & a.wrapping_neg(), true),
        Op::Blsmsk32 => lowest_bit::<32>(cpu, u, |a| a ^ a.wrapping_sub(1), false),
        Op::Blsmsk64 => lowest_bit::<64>(cpu, u, |a| a ^ a.wrapping_sub(1), false),
        Op::Blsr32 => lowest_bit::<32>(cpu, u, |a| a & a.wrapping_sub(1), false),
        Op::Blsr64 => lowest_bit::<64>(cpu, u, |a| a & a.wrapping_sub(1), false),
        Op::Bzhi32 => bzhi::<32>(cpu, u),
        Op::Bzhi64 => bzhi::<64>(cpu, u),
        Op::Pdep32 => {
            let value = deposit(cpu.reg(u.a), cut::<32>(cpu.reg(u.b)));
            cpu.set_reg(u.dst, value);
        }
        Op::Pdep64 => {
            let value = deposit(cpu.reg(u.a), cpu.reg(u.b));
            cpu.set_reg(u.dst, value);
        }
        Op::Pext32 => {
            let value = extract(cpu.reg(u.a), cut::<32>(cpu.reg(u.b)));
            cpu.set_reg(u.dst, value);
        }
        Op::Pext64 => {
            let value = extract(cpu.reg(u.a), cpu.reg(u.b));
            cpu.set_reg(u.dst, value);
        }
        Op::Adcx32 => add_with::<32>(cpu, u, rflags::CF),
        Op::Adcx64 => add_with::<64>(cpu, u, rflags::CF),
        Op::Adox32 => add_with::<32>(cpu, u, rflags::OF),
        Op::Adox64 => add_with::<64>(cpu, u, rflags::OF),
        _ => unreachable!("{:?} is executed elsewhere", u.op),
    }
}

/// SDM Vol. 2, "ANDN". AF and PF are undefined.
#[inline(always)]
fn andn<const BITS: u32>(cpu: &mut Cpu, u: &Uop) {
    let result = !cpu.reg(u.a) & cpu.reg(u.b);
    logic::<BITS>(cpu, u.dst, result);
}

/// SDM Vol. 2, "BEXTR". AF, SF and PF are undefined.
#[inline(always)]
fn bextr<const BITS: u32>(cpu: &mut Cpu, u: &Uop) {
    let (a, control) = (cut::<BITS>(cpu.reg(u.a)), cpu.reg(u.b));
    let (start, length) = (control as u8, (control >> 8) as u8);
    let shifted = a.checked_shr(start.into()).unwrap_or(0);
    let result = low_bits(shifted, length);
    cpu.flags.set_shift::<BITS>(result, false, false);
    write::<BITS>(cpu, u.dst, result);
}

/// The low `count` bits.
#[inline(always)]
fn low_bits(value: u64, count: u8) -> u64 {
    match count {
        0..64 => value & ((1 << count) - 1),
        _ => value,
    }
}

/// BLSI, BLSMSK and BLSR: CF says whether there is a lowest bit, or whether there is none. SDM Vol. 2,
/// the pages of the mnemonics. AF and PF are undefined.
#[inline(always)]
fn lowest_bit<const BITS: u32>(
    cpu: &mut Cpu,
    u: &Uop,
    change: impl FnOnce(u64) -> u64,
    carry_if_any: bool,
) {
    let a = cut::<BITS>(cpu.reg(u.a));
    let result = cut::<BITS>(change(a));
    cpu.flags
        .set_shift::<BITS>(result, (a != 0) == carry_if_any, false);
    write::<BITS>(cpu, u.dst, result);
}

/// SDM Vol. 2, "BZHI". AF and PF are undefined.
#[inline(always)]
fn bzhi<const BITS: u32>(cpu: &mut Cpu, u: &Uop) {
    let (a, count) = (cut::<BITS>(cpu.reg(u.a)), cpu.reg(u.b) as u8);
    let result = low_bits(a, count);
    cpu.flags
        .set_shift::<BITS>(result, u32::from(count) >= BITS, false);
    write::<BITS>(cpu, u.dst, result);
}

/// SDM Vol. 2, "PDEP".
fn deposit(mut value: u64, mut mask: u64) -> u64 {
    let mut result = 0;
    while mask != 0 {
        let place = mask & mask.wrapping_neg();
        result |= if value & 1 != 0 { place } else { 0 };
        value >>= 1;
        mask ^= place;
    }
    result
}

/// SDM Vol. 2, "PEXT".
fn extract(value: u64, mut mask: u64) -> u64 {
    let mut result = 0;
    let mut bit = 1u64;
    while mask != 0 {
        let place = mask & mask.wrapping_neg();
        result |= if value & place != 0 { bit } else { 0 };
        bit = bit.wrapping_shl(1);
        mask ^= place;
    }
    result
}

/// ADCX and ADOX: `flag` is both the carry in and the carry out; no other flag changes.
#[inline(always)]
fn add_with<const BITS: u32>(cpu: &mut Cpu, u: &Uop, flag: u64) {
    let old = cpu.flags.bits();
    let carry_in = u128::from(old & flag != 0);
    let sum =
        u128::from(cut::<BITS>(cpu.reg(u.a))) + u128::from(cut::<BITS>(cpu.reg(u.b))) + carry_in;
    let carry_out = if sum >> BITS != 0 { flag } else { 0 };
    cpu.flags.set_bits((old & !flag) | carry_out);
    write::<BITS>(cpu, u.dst, sum as u64);
}
