//! x87 and MMX micro-ops.

use crate::memory::{Memory, Stop, StopReason};
use crate::state::Cpu;
use ring3_isa::{Op, Reg, Uop};

/// Executes an x87 or MMX micro-op.
///
/// # Errors
/// #MF.
pub(crate) fn execute<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    match (u.op, u.imm >> 16) {
        (Op::X87, 0) => cpu.x87 = Default::default(),
        (Op::X87, 1) => {
            let v = cpu.x87.control.into();
            cpu.set_reg(Reg::T0, v);
        }
        (Op::X87, 2) => {
            let v = cpu.x87.status.into();
            cpu.set_reg(Reg::T0, v);
        }
        (Op::X87, 3) => {}
        _ => return Err(m.stop(StopReason::Unimplemented)),
    }
    Ok(())
}
