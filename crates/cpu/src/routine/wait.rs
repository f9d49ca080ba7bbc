//! Instructions that wait. SDM Vol. 2, "HLT", "PAUSE", "TPAUSE", "UMONITOR", "UMWAIT".

use crate::memory::{Memory, Stop};
use crate::routine::control::edx_eax;
use crate::state::{Activity, Cpu};
use ring3_arch::cr::cr4;
use ring3_arch::{Fault, GuestVirt};
use ring3_clock::Ticks;
use ring3_isa::{Op, Uop};

/// How long PAUSE waits, in ticks. Skylake and later processors hold the thread for about 140
/// cycles (Intel Optimization Reference Manual, "Pause Latency in Skylake Client
/// Microarchitecture"). In the functional engines this is what lets a spinning processor make way
/// for the one it waits for.
pub(crate) const PAUSE_TICKS: u64 = 140;

/// Bytes of the range that UMONITOR watches, as CPUID leaf 5 would say.
pub(crate) const MONITOR_LINE: u64 = 64;

/// UMONITOR of linear address `a`: arms the monitor.
pub(crate) fn umonitor<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let address = cpu.reg(u.a);
    m.load::<1>(address)?;
    cpu.monitor = m
        .physical(GuestVirt(address))
        .map(|at| at.0 & !(MONITOR_LINE - 1));
    Ok(())
}

/// HLT, PAUSE, UMWAIT, TPAUSE.
pub(crate) fn execute<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    match u.op {
        Op::Hlt => {
            super::require_cpl0(cpu, m)?;
            cpu.activity = Activity::Halted;
        }
        Op::Pause => {
            let until = m.now().saturating_add(Ticks(PAUSE_TICKS));
            cpu.activity = Activity::Pausing { until };
        }
        _ => {
            // Bit 0 chooses C0.1 or C0.2; the rest is reserved.
            if cpu.reg(u.a) & 0xffff_ffff & !1 != 0 {
                return Err(m.fault(Fault::GP0));
            }
            if cpu.system.cr4 & cr4::TSD != 0 && cpu.cpl() > 0 {
                return Err(m.fault(Fault::GP0));
            }
            let deadline = edx_eax(cpu).wrapping_sub(cpu.system.tsc_adjust);
            // IA32_UMWAIT_CONTROL[31:2] limits the wait (in units of 4 TSC periods).
            let limit = cpu.system.umwait_control & !3;
            let limited = limit != 0 && m.now().0.saturating_add(limit) < deadline;
            let until = if limited {
                m.now().saturating_add(Ticks(limit))
            } else {
                Ticks(deadline)
            };
            let monitor = if u.op == Op::Umwait {
                cpu.monitor.take()
            } else {
                None
            };
            let waits = until > m.now() && (u.op == Op::Tpause || monitor.is_some());
            // CF: the wait was ended by the limit of the operating system.
            cpu.flags.set_bits(u64::from(waits && limited));
            if waits {
                cpu.activity = Activity::Waiting { until, monitor };
            }
        }
    }
    Ok(())
}
