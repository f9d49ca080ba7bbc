//! Between instructions: interrupts, traps, user interrupts, waiting. SDM Vol. 3, "Priority Among
//! Concurrent Events".

use crate::memory::{Memory, Stop, StopReason};
use crate::routine::interrupt::{Event, Source, deliver};
use crate::routine::user_interrupt;
use crate::state::{Activity, Cpu, Shadow};
use ring3_arch::cr::{cr4, dr};
use ring3_arch::{Exception, Fault, rflags};
use ring3_bus::Signals;
use ring3_clock::Ticks;

/// What to do at an instruction boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// Execute.
    Run,
    /// Execute exactly one instruction, then come back: the processor is single-stepped, in an
    /// interrupt shadow, or has instruction breakpoints.
    RunOne,
    /// An event was delivered or a mode changed: ask again.
    Again,
    /// Nothing to execute until something happens, at the latest at this time.
    Idle(Ticks),
    /// Shut down after a triple fault.
    Shutdown,
    /// Delivery needs something that nobody has written.
    Unimplemented,
}

/// Looks at everything that can happen between two instructions and does the most important of it.
/// `signals` is what waits at the processor's pins now.
pub fn at_boundary<M: Memory>(cpu: &mut Cpu, m: &mut M, signals: Signals) -> Boundary {
    debug_assert!(m.is_solo(), "boundaries may touch devices");
    if signals.init && cpu.activity != Activity::Shutdown {
        let index = cpu.index;
        m.platform().take_init(index);
        m.platform().reset_local_apic(index);
        cpu.init();
        m.flush_all();
        m.configure(cpu);
        return Boundary::Again;
    }
    match cpu.activity {
        Activity::Running => {}
        Activity::Shutdown => return Boundary::Shutdown,
        Activity::WaitForSipi => {
            let Some(page) = signals.sipi else {
                return Boundary::Idle(Ticks::NEVER);
            };
            let index = cpu.index;
            m.platform().take_sipi(index);
            cpu.start_up(page);
            m.configure(cpu);
            return Boundary::Again;
        }
        Activity::Halted | Activity::Waiting { .. } | Activity::Pausing { .. } => {
            if let Some(boundary) = keep_waiting(cpu, m, signals) {
                return boundary;
            }
        }
    }
    if signals.sipi.is_some() {
        // Outside wait-for-SIPI a start-up IPI is ignored.
        let index = cpu.index;
        m.platform().take_sipi(index);
    }
    let shadow = std::mem::take(&mut cpu.shadow);
    if shadow == Shadow::MovSs {
        return Boundary::RunOne;
    }
    if cpu.pending_debug != 0 {
        let dr6 = std::mem::take(&mut cpu.pending_debug);
        return deliver_trap(cpu, m, Fault::debug(dr6));
    }
    if signals.nmi && !cpu.nmi_blocked {
        let index = cpu.index;
        m.platform().take_nmi(index);
        cpu.nmi_blocked = true;
        return deliver_external(cpu, m, Exception::Nmi as u8);
    }
    if signals.interrupt && cpu.has_flag(rflags::IF) && shadow == Shadow::None {
        let (index, now) = (cpu.index, m.now());
        let vector = m.platform().acknowledge(index, now).0;
        m.user_interrupt_step(ring3_uintr::Step::Accept);
        let uintr_enabled = cpu.system.cr4 & cr4::UINTR != 0 && cpu.is_long_mode();
        if uintr_enabled && vector == cpu.uintr.uinv {
            return match user_interrupt::notify(cpu, m) {
                Ok(()) => Boundary::Again,
                Err(stop) => stopped(cpu, m, stop, true),
            };
        }
        return deliver_external(cpu, m, vector);
    }
    if ring3_uintr::is_deliverable(&cpu.uintr)
        && cpu.cpl() == 3
        && cpu.is_long_code()
        && cpu.system.cr4 & cr4::UINTR != 0
    {
        // A user interrupt delivered in the STI shadow ends the shadow.
        return match user_interrupt::deliver(cpu, m) {
            Ok(()) => Boundary::Again,
            Err(stop) => stopped(cpu, m, stop, false),
        };
    }
    let watching = cpu.system.dr7 & 0xff != 0;
    if watching && !cpu.has_flag(rflags::RF) {
        let hit = hit_breakpoints(cpu);
        if hit != 0 {
            // The one fault that does not set RF in the saved flags: its handler does that.
            return deliver_trap(cpu, m, Fault::debug(hit));
        }
    }
    if shadow != Shadow::None || watching || cpu.has_flag(rflags::TF | rflags::RF) {
        return Boundary::RunOne;
    }
    Boundary::Run
}

/// The bookkeeping around an instruction that is executed because of [`Boundary::RunOne`]: call
/// before it, and [`after_one`] after it.
pub fn before_one(cpu: &mut Cpu) -> SingleStep {
    cpu.single_step_suppressed = false;
    let step = SingleStep {
        trap: cpu.has_flag(rflags::TF),
    };
    // RF holds for one instruction; IRET, POPF and an interrupted string instruction set it anew.
    cpu.system_flags &= !rflags::RF;
    step
}

/// See [`before_one`].
#[derive(Clone, Copy, Debug)]
pub struct SingleStep {
    trap: bool,
}

/// The instruction completed (it did not fault).
pub fn after_one<M: Memory>(cpu: &mut Cpu, m: &mut M, step: SingleStep) {
    let hits = m.take_watch_hits();
    if hits != 0 {
        cpu.pending_debug |= hits;
    }
    if step.trap && cpu.shadow != Shadow::MovSs && !cpu.single_step_suppressed {
        cpu.pending_debug |= dr::DR6_BS;
    }
}

fn keep_waiting<M: Memory>(cpu: &mut Cpu, m: &mut M, signals: Signals) -> Option<Boundary> {
    let interrupt = signals.interrupt && cpu.has_flag(rflags::IF);
    let nmi = signals.nmi && !cpu.nmi_blocked;
    match cpu.activity {
        Activity::Halted if !interrupt && !nmi => return Some(Boundary::Idle(Ticks::NEVER)),
        Activity::Pausing { until } if until > m.now() && !interrupt && !nmi => {
            return Some(Boundary::Idle(until));
        }
        Activity::Waiting { until, .. } => {
            // UMWAIT and TPAUSE end at an external interrupt even if it is masked.
            let user = ring3_uintr::is_deliverable(&cpu.uintr) && cpu.cpl() == 3;
            let woken = signals.interrupt || nmi || user;
            if until > m.now() && !woken {
                return Some(Boundary::Idle(until));
            }
        }
        _ => {}
    }
    cpu.activity = Activity::Running;
    None
}

fn instruction_breakpoints(cpu: &Cpu) -> u64 {
    let dr7 = cpu.system.dr7;
    (0..4)
        .filter(|n| dr7 >> (2 * n) & 3 != 0 && dr7 >> (16 + 4 * n) & 3 == 0)
        .fold(0, |b, n| b | 1 << n)
}

/// Breakpoints at the next instruction: all that match are reported, enabled or not, as long as
/// one is enabled.
fn hit_breakpoints(cpu: &Cpu) -> u64 {
    let at = cpu.linear_rip();
    let enabled = instruction_breakpoints(cpu);
    (0..4)
        .filter(|&n| enabled >> n & 1 != 0 && cpu.system.dr[n] == at)
        .fold(0, |b, n| b | 1 << n)
}

fn deliver_external<M: Memory>(cpu: &mut Cpu, m: &mut M, vector: u8) -> Boundary {
    let event = Event {
        vector,
        source: Source::External,
        return_rip: cpu.rip(),
        resume: false,
    };
    match deliver(cpu, m, &event) {
        Ok(()) => Boundary::Again,
        Err(stop) => stopped(cpu, m, stop, true),
    }
}

/// A delivery was stopped by a fault; `external` events set EXT in its error code.
fn stopped<M: Memory>(cpu: &mut Cpu, m: &mut M, _stop: Stop, external: bool) -> Boundary {
    match m.stop_reason() {
        StopReason::Fault(mut fault) => {
            let has_selector = fault.exception.has_error_code()
                && !matches!(fault.exception, Exception::Page | Exception::AlignmentCheck);
            if external && has_selector {
                fault.error_code |= ring3_arch::exception::selector_error::EXT;
            }
            deliver_fault(cpu, m, fault);
            after_delivery(cpu)
        }
        StopReason::Unimplemented => Boundary::Unimplemented,
        StopReason::Restart => unreachable!("boundaries run with devices accessible"),
    }
}

fn after_delivery(cpu: &Cpu) -> Boundary {
    if cpu.activity == Activity::Shutdown {
        Boundary::Shutdown
    } else {
        Boundary::Again
    }
}

/// A trap reports the boundary after an instruction: RF in the saved flags is as it is.
fn deliver_trap<M: Memory>(cpu: &mut Cpu, m: &mut M, fault: Fault) -> Boundary {
    deliver_exception(cpu, m, fault, false);
    after_delivery(cpu)
}

/// Delivers a fault at RIP, with whatever follows from faults on the way: double fault, then
/// shutdown. SDM Vol. 3, "Interrupt 8-Double Fault Exception (#DF)".
pub fn deliver_fault<M: Memory>(cpu: &mut Cpu, m: &mut M, fault: Fault) {
    deliver_exception(cpu, m, fault, true);
}

fn deliver_exception<M: Memory>(cpu: &mut Cpu, m: &mut M, fault: Fault, resume: bool) {
    let mut current = fault;
    let mut resume = resume;
    loop {
        if let Some(address) = current.cr2 {
            cpu.system.cr2 = address.0;
        }
        if current.exception == Exception::Debug {
            cpu.system.dr6 |= current.dr6;
            cpu.system.dr7 &= !dr::DR7_GD;
        }
        let exception = current.exception;
        let event = Event {
            vector: exception as u8,
            source: Source::Exception(exception.has_error_code().then_some(current.error_code)),
            return_rip: cpu.rip(),
            resume: resume && exception != Exception::DoubleFault,
        };
        let Err(_) = deliver(cpu, m, &event) else {
            return;
        };
        let StopReason::Fault(next) = m.stop_reason() else {
            // A task gate in the IDT: nothing sensible can follow.
            cpu.activity = Activity::Shutdown;
            return;
        };
        let (first, second) = (current.exception, next.exception);
        if first == Exception::DoubleFault {
            cpu.activity = Activity::Shutdown;
            return;
        }
        let contributes = second.is_contributory() || second == Exception::Page;
        let double = (first == Exception::Page && contributes)
            || (first.is_contributory() && second.is_contributory());
        current = if double {
            Fault::new(Exception::DoubleFault, 0)
        } else {
            next
        };
        resume = true;
    }
}
