//! Floating-point and vector micro-ops whose meaning is in `ring3-arithmetic`.

use crate::memory::{Memory, Stop, StopReason};
use crate::state::Cpu;
use ring3_arch::cr::cr4;
use ring3_arch::{Exception, Fault};
use ring3_arithmetic::Mxcsr;
use ring3_arithmetic::float::{FloatOp, float};
use ring3_arithmetic::packed::{
    Packed3Op, PackedOp, compare_explicit, compare_implicit, packed, packed_mmx, packed3,
};
use ring3_isa::{Op, Reg, Uop};

#[inline(always)]
pub(crate) fn packed_op(u: &Uop) -> PackedOp {
    PackedOp::ALL[(u.imm >> 16) as usize]
}

#[inline(always)]
pub(crate) fn float_op(u: &Uop) -> FloatOp {
    FloatOp::ALL[(u.imm >> 16) as usize]
}

/// An unmasked SIMD exception is #XM if the operating system says it can take it, else #UD.
#[cold]
pub(crate) fn simd_exception<M: Memory>(cpu: &Cpu, m: &mut M) -> Stop {
    if cpu.system.cr4 & cr4::OSXMMEXCPT != 0 {
        m.fault(Fault::new(Exception::Simd, 0))
    } else {
        m.fault(Fault::UD)
    }
}

fn compute<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop, a: u128, b: u128) -> Result<u128, Stop> {
    let mut mxcsr = cpu.mxcsr;
    let result = float(float_op(u), a, b, u.imm as u8, &mut mxcsr);
    cpu.mxcsr = mxcsr;
    result.map_err(|_| simd_exception(cpu, m))
}

/// Executes a vector or floating-point micro-op.
///
/// # Errors
/// #XM; #GP(0) for an invalid MXCSR.
pub(crate) fn execute<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    match u.op {
        Op::Ldmxcsr => match Mxcsr::from_bits(cpu.reg(u.a) as u32) {
            Some(mxcsr) => cpu.mxcsr = mxcsr,
            None => return Err(m.fault(Fault::GP0)),
        },
        Op::Stmxcsr => {
            let value = cpu.mxcsr.bits().into();
            cpu.set_reg(u.dst, value);
        }
        Op::VPacked => {
            let (a, b) = (cpu.vectors[u.va()], cpu.vectors[u.vb()]);
            cpu.vectors[u.vdst()] = packed(packed_op(u), a, b, u.imm as u8);
        }
        Op::VPackedMmx => {
            let (a, b) = (cpu.vectors[u.va()] as u64, cpu.vectors[u.vb()] as u64);
            cpu.vectors[u.vdst()] = packed_mmx(packed_op(u), a, b, u.imm as u8).into();
        }
        Op::VPacked3 => {
            let (a, b, c) = (
                cpu.vectors[u.va()],
                cpu.vectors[u.vb()],
                cpu.vectors[u.vc()],
            );
            cpu.vectors[u.vdst()] = packed3(Packed3Op::ALL[(u.imm >> 16) as usize], a, b, c);
        }
        Op::VPackedToGpr => {
            let (a, b) = (cpu.vectors[u.va()], cpu.vectors[u.vb()]);
            let value = packed(packed_op(u), a, b, u.imm as u8) as u64;
            cpu.set_reg(u.dst, value);
        }
        Op::VPackedFlags => {
            let (a, b) = (cpu.vectors[u.va()], cpu.vectors[u.vb()]);
            cpu.flags
                .set_bits(packed(packed_op(u), a, b, u.imm as u8) as u64);
        }
        Op::VInsert => {
            let (a, b) = (cpu.vectors[u.va()], cpu.reg(u.b));
            cpu.vectors[u.vdst()] = packed(packed_op(u), a, b.into(), u.imm as u8);
        }
        Op::VStringCompare => string_compare(cpu, u),
        Op::VMaskedStore => masked_store(cpu, m, u)?,
        Op::VFloat => {
            let (a, b) = (cpu.vectors[u.va()], cpu.vectors[u.vb()]);
            cpu.vectors[u.vdst()] = compute(cpu, m, u, a, b)?;
        }
        Op::VFloatFlags => {
            let (a, b) = (cpu.vectors[u.va()], cpu.vectors[u.vb()]);
            let flags = compute(cpu, m, u, a, b)?;
            cpu.flags.set_bits(flags as u64);
        }
        Op::VFloatToGpr => {
            let b = cpu.vectors[u.va()];
            let value = compute(cpu, m, u, 0, b)? as u64;
            cpu.set_reg(u.dst, value);
        }
        Op::VFloatFromGpr => {
            let (a, b) = (cpu.vectors[u.va()], cpu.reg(u.b));
            cpu.vectors[u.vdst()] = compute(cpu, m, u, a, b.into())?;
        }
        _ => return Err(m.stop(StopReason::Unimplemented)),
    }
    Ok(())
}

/// MASKMOVDQU and MASKMOVQ. Whether bytes that are not stored to can fault is left open by SDM
/// Vol. 2, "MASKMOVDQU"; here, as in AMD's processors, they can.
fn masked_store<M: Memory>(cpu: &Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let at = crate::execute::masked_address(cpu, u);
    let mask = cpu.vectors[u.vb()].to_le_bytes();
    let data = cpu.vectors[u.vdst()].to_le_bytes();
    let count = usize::from(u.y).min(16);
    // MASKMOVDQU's operand need not be aligned; where alignment is checked, it is that of quadwords, as
    // AMD's processors do it.
    for part in (0..count as u64).step_by(8) {
        m.check_write(at.wrapping_add(part), 8)?;
    }
    for n in (0..count).filter(|n| mask[*n] & 0x80 != 0) {
        m.store::<1>(at.wrapping_add(n as u64), data[n].into())?;
    }
    Ok(())
}

/// PCMPxSTRx: see [`Op::VStringCompare`].
fn string_compare(cpu: &mut Cpu, u: &Uop) {
    let (a, b) = (cpu.vectors[u.va()], cpu.vectors[u.vb()]);
    let control = u.imm as u8;
    let outcome = if u.y & 1 != 0 {
        let wide = u.y & 4 != 0;
        let length = |reg: Reg| {
            let value = cpu.reg(reg);
            if wide {
                value as i64
            } else {
                i64::from(value as i32)
            }
        };
        compare_explicit(a, length(Reg::Rax), b, length(Reg::Rdx), control)
    } else {
        compare_implicit(a, b, control)
    };
    if u.y & 2 != 0 {
        cpu.vectors[0] = outcome.mask();
    } else {
        cpu.set_reg(Reg::Rcx, outcome.index().into());
    }
    cpu.flags.set_bits(outcome.flags);
}
