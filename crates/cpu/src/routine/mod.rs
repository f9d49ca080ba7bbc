//! Long instructions: routines in Rust over [`Memory`].
//!
//! A routine keeps the rule of all instructions: nothing architectural changes before its last
//! possible fault, so that a fault or a restart finds the state of the instruction's start.

pub(crate) mod control;
pub(crate) mod floating;
pub(crate) mod interrupt;
pub(crate) mod io;
pub(crate) mod miscellaneous;
pub(crate) mod save;
pub(crate) mod segment;
pub(crate) mod transfer;
pub(crate) mod user_interrupt;
pub(crate) mod wait;
pub(crate) mod x87;

use crate::execute::Flow;
use crate::memory::{Memory, Stop, StopReason};
use crate::state::Cpu;
use ring3_arch::{Exception, Fault};
use ring3_isa::{Op, Uop};

/// # Errors
/// #GP(0) unless CPL is 0.
pub(crate) fn require_cpl0<M: Memory>(cpu: &Cpu, m: &mut M) -> Result<(), Stop> {
    if cpu.cpl() == 0 {
        Ok(())
    } else {
        Err(m.fault(Fault::GP0))
    }
}

/// # Errors
/// #GP(0) if CR4.UMIP keeps the system registers from user mode.
pub(crate) fn check_umip<M: Memory>(cpu: &Cpu, m: &mut M) -> Result<(), Stop> {
    if segment::umip_refuses(cpu) {
        Err(m.fault(Fault::GP0))
    } else {
        Ok(())
    }
}

/// Turns the #GP(0) of a non-canonical address into #SS(0).
pub(crate) fn stack_fault<M: Memory>(m: &mut M, stop: Stop) -> Stop {
    if m.stop_reason() == StopReason::Fault(Fault::GP0) {
        m.fault(Fault::SS0)
    } else {
        stop
    }
}

fn finish(cpu: &mut Cpu, u: &Uop) -> Flow {
    let next = cpu.rip().wrapping_add(u.imm as u64);
    cpu.set_rip(if cpu.is_long_code() {
        next
    } else {
        next & 0xffff_ffff
    });
    Flow::Sync
}

/// Executes a micro-op that [`crate::execute()`] leaves to routines.
///
/// # Errors
/// [`Stop`].
#[inline(never)]
pub(crate) fn execute<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<Flow, Stop> {
    match u.op {
        // Routines within a block.
        Op::Privileged => require_cpl0(cpu, m)?,
        Op::Cpuid => miscellaneous::cpuid(cpu),
        Op::Rdpid => {
            let value = cpu.system.tsc_aux;
            cpu.set_reg(u.dst, value);
        }
        Op::Smsw | Op::Str | Op::Sldt => {
            check_umip(cpu, m)?;
            let value = match u.op {
                Op::Smsw => cpu.system.cr0,
                Op::Str | Op::Sldt if !cpu.is_protected() || cpu.is_virtual_8086() => {
                    return Err(m.fault(Fault::UD));
                }
                Op::Str => cpu.system.tr.selector.into(),
                _ => cpu.system.ldtr.selector.into(),
            };
            cpu.set_reg(u.dst, value);
        }
        Op::ReadSegment => {
            let value = cpu.system.segments[u.y as usize % 6].selector.into();
            cpu.set_reg(u.dst, value);
        }
        Op::Sgdt | Op::Sidt => segment::table_register(cpu, m, u)?,
        Op::Lar | Op::Lsl | Op::Verr | Op::Verw => segment::examine(cpu, m, u)?,
        Op::Arpl => segment::adjust_rpl(cpu, m, u)?,
        Op::Clflush => {
            let loaded = m.load::<1>(cpu.reg(u.a));
            if loaded.is_err() && u.x & Uop::STACK != 0 {
                return Err(stack_fault(m, Stop));
            }
            loaded?;
        }
        Op::ReadBase | Op::WriteBase => control::base(cpu, m, u)?,
        Op::Xgetbv => control::xgetbv(cpu, m)?,
        Op::Rdrand => miscellaneous::rdrand(cpu, u),
        Op::Umonitor => wait::umonitor(cpu, m, u)?,
        Op::Cmpxchg8b | Op::Cmpxchg16b => miscellaneous::compare_exchange(cpu, m, u)?,
        Op::Enter => miscellaneous::enter(cpu, m, u)?,
        Op::Pusha | Op::Popa => miscellaneous::all_registers(cpu, m, u)?,
        Op::Bound => miscellaneous::bound(cpu, m, u)?,
        Op::Decimal => miscellaneous::decimal(cpu, m, u)?,
        Op::Testui => {
            user_interrupt::execute(cpu, m, u)?;
        }
        Op::Fxsave => save::fxsave(cpu, m, u)?,
        Op::Ldmxcsr
        | Op::Stmxcsr
        | Op::VPacked
        | Op::VPackedMmx
        | Op::VPacked3
        | Op::VPackedToGpr
        | Op::VPackedFlags
        | Op::VInsert
        | Op::VStringCompare
        | Op::VMaskedStore
        | Op::VFloat
        | Op::VFloatFlags
        | Op::VFloatToGpr
        | Op::VFloatFromGpr => floating::execute(cpu, m, u)?,
        Op::MmxEnter
        | Op::MmxEmpty
        | Op::MmxRead
        | Op::MmxWrite
        | Op::X87
        | Op::X87Flags
        | Op::X87Move
        | Op::X87Load
        | Op::X87Store
        | Op::X87LoadImage
        | Op::X87StoreImage => x87::execute(cpu, m, u)?,

        // Routines that end the block.
        Op::Rdtsc | Op::Rdtscp => {
            control::rdtsc(cpu, m, u)?;
            return Ok(finish(cpu, u));
        }
        Op::Rdpmc => return Err(m.fault(Fault::GP0)),
        Op::Rdmsr | Op::Wrmsr => {
            control::msr(cpu, m, u)?;
            return Ok(finish(cpu, u));
        }
        Op::In | Op::Out => {
            io::execute(cpu, m, u)?;
            return Ok(finish(cpu, u));
        }
        Op::MovFromCr | Op::MovToCr | Op::Clts | Op::Lmsw => {
            control::control_register(cpu, m, u)?;
            return Ok(finish(cpu, u));
        }
        Op::MovFromDr | Op::MovToDr => {
            control::debug_register(cpu, m, u)?;
            return Ok(finish(cpu, u));
        }
        Op::Lgdt | Op::Lidt => {
            segment::table_register(cpu, m, u)?;
            return Ok(finish(cpu, u));
        }
        Op::Ltr | Op::Lldt => {
            segment::system_register(cpu, m, u)?;
            return Ok(finish(cpu, u));
        }
        Op::LoadSegment => {
            segment::load_register(cpu, m, u)?;
            if u.y == 2 {
                cpu.shadow = crate::state::Shadow::MovSs;
            }
            return Ok(finish(cpu, u));
        }
        Op::Invlpg | Op::Invpcid => {
            control::invalidate(cpu, m, u)?;
            return Ok(finish(cpu, u));
        }
        Op::Wbinvd => {
            require_cpl0(cpu, m)?;
            return Ok(finish(cpu, u));
        }
        Op::Hlt | Op::Pause | Op::Umwait | Op::Tpause => {
            wait::execute(cpu, m, u)?;
            return Ok(finish(cpu, u));
        }
        Op::Cli | Op::Sti | Op::WriteFlags | Op::Stac | Op::Clac => {
            control::flags(cpu, m, u)?;
            return Ok(finish(cpu, u));
        }
        Op::Swapgs => {
            control::swapgs(cpu, m)?;
            return Ok(finish(cpu, u));
        }
        Op::Xsetbv => {
            control::xsetbv(cpu, m)?;
            return Ok(finish(cpu, u));
        }
        Op::Serialize => return Ok(finish(cpu, u)),
        Op::Fxrstor => {
            save::fxrstor(cpu, m, u)?;
            return Ok(finish(cpu, u));
        }
        Op::Xsave => {
            save::xsave(cpu, m, u)?;
            return Ok(finish(cpu, u));
        }
        Op::Xrstor => {
            save::xrstor(cpu, m, u)?;
            return Ok(finish(cpu, u));
        }
        Op::Senduipi | Op::Uiret | Op::Clui | Op::Stui => {
            let jumped = user_interrupt::execute(cpu, m, u)?;
            return Ok(if jumped { Flow::Sync } else { finish(cpu, u) });
        }

        // Transfers set RIP themselves.
        Op::Iret => transfer::iret(cpu, m, u)?,
        Op::Syscall => transfer::syscall(cpu, m, u)?,
        Op::Sysret => transfer::sysret(cpu, m, u)?,
        Op::JumpFar => transfer::jump_far(cpu, m, u)?,
        Op::CallFar => transfer::call_far(cpu, m, u)?,
        Op::ReturnFar => transfer::return_far(cpu, m, u)?,
        Op::Int => interrupt::software(cpu, m, u, u.y)?,
        Op::Int1 => interrupt::software(cpu, m, u, Exception::Debug as u8)?,
        Op::Int3 => interrupt::software(cpu, m, u, Exception::Breakpoint as u8)?,
        Op::Into => {
            if cpu.flags.overflow() {
                interrupt::software(cpu, m, u, Exception::Overflow as u8)?;
            } else {
                return Ok(finish(cpu, u));
            }
        }
        _ => return Err(m.stop(StopReason::Unimplemented)),
    }
    Ok(if u.op.info().ends_block {
        Flow::Sync
    } else {
        Flow::Continue
    })
}
