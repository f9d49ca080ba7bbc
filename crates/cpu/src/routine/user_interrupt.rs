//! User interrupts: the processor that `ring3-uintr`'s rules run on.

use crate::memory::{Memory, Stop};
use crate::state::Cpu;
use ring3_arch::cpuid::Feature;
use ring3_arch::{Fault, GuestVirt, Vector};
use ring3_isa::{Op, Reg, Uop};
use ring3_uintr::{Frame, Processor, State, Step};

struct Context<'a, M: Memory> {
    cpu: &'a mut Cpu,
    m: &'a mut M,
}

impl<M: Memory> Processor for Context<'_, M> {
    type Stop = Stop;

    fn uintr(&mut self) -> &mut State {
        &mut self.cpu.uintr
    }

    fn at(&mut self, step: Step) {
        self.m.user_interrupt_step(step);
    }

    fn fault(&mut self, fault: Fault) -> Stop {
        self.m.fault(fault)
    }

    fn read_supervisor(&mut self, address: GuestVirt) -> Result<u64, Stop> {
        self.m.load_system(address.0, 8)
    }

    fn lock_upid(&mut self, address: GuestVirt) -> Result<[u64; 2], Stop> {
        self.m.check_write_system(address.0, 16)?;
        Ok([
            self.m.load_system(address.0, 8)?,
            self.m.load_system(address.0.wrapping_add(8), 8)?,
        ])
    }

    fn unlock_upid(&mut self, address: GuestVirt, upid: [u64; 2]) {
        for (offset, value) in [(0, upid[0]), (8, upid[1])] {
            let stored = self
                .m
                .store_system(address.0.wrapping_add(offset), 8, value);
            assert!(
                stored.is_ok(),
                "a UPID that was checked for writing can be written"
            );
        }
    }

    fn push_user(&mut self, address: GuestVirt, value: u64) -> Result<(), Stop> {
        let pushed = self.m.store::<8>(address.0, value);
        self.as_stack_access(pushed)
    }

    fn pop_user(&mut self, address: GuestVirt) -> Result<u64, Stop> {
        let popped = self.m.load::<8>(address.0);
        self.as_stack_access(popped)
    }

    fn send_ipi(&mut self, vector: Vector, ndst: u32) {
        let (index, now) = (self.cpu.index, self.m.now());
        self.m.platform().send_user_ipi(index, now, vector, ndst);
    }

    fn end_of_interrupt(&mut self) {
        let (index, now) = (self.cpu.index, self.m.now());
        self.m.platform().end_of_interrupt(index, now);
    }

    fn frame(&self) -> Frame {
        Frame {
            rip: self.cpu.rip(),
            rsp: self.cpu.reg(Reg::Rsp),
            rflags: self.cpu.rflags(),
        }
    }

    fn set_frame(&mut self, frame: Frame) {
        self.cpu.set_rip(frame.rip);
        self.cpu.set_reg(Reg::Rsp, frame.rsp);
        self.cpu.set_rflags(frame.rflags);
    }

    fn is_canonical(&self, address: GuestVirt) -> bool {
        self.cpu.is_canonical(address.0)
    }

    fn has_flexible_uiret(&self) -> bool {
        self.cpu.model.features().has(Feature::UiretUif)
    }
}

impl<M: Memory> Context<'_, M> {
    /// A non-canonical address in a stack access is #SS(0).
    fn as_stack_access<T>(&mut self, result: Result<T, Stop>) -> Result<T, Stop> {
        result.map_err(|stop| super::stack_fault(self.m, stop))
    }
}

/// SENDUIPI, UIRET, CLUI, STUI, TESTUI. Mode and CR4.UINTR were checked by the lifter. `true` if
/// RIP was set.
pub(crate) fn execute<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<bool, Stop> {
    match u.op {
        Op::Senduipi => {
            let index = cpu.reg(u.a);
            ring3_uintr::senduipi(&mut Context { cpu, m }, index)?;
        }
        Op::Uiret => {
            ring3_uintr::uiret(&mut Context { cpu, m })?;
            cpu.monitor = None;
            return Ok(true);
        }
        Op::Clui => cpu.uintr.uif = false,
        Op::Stui => cpu.uintr.uif = true,
        _ => {
            let uif = cpu.uintr.uif;
            cpu.flags.set_bits(u64::from(uif));
        }
    }
    Ok(false)
}

/// The acknowledged interrupt is the notification: moves the posted requests to UIRR.
///
/// # Errors
/// Faults of the accesses to the UPID.
pub(crate) fn notify<M: Memory>(cpu: &mut Cpu, m: &mut M) -> Result<(), Stop> {
    ring3_uintr::process_notification(&mut Context { cpu, m })
}

/// Delivers the highest pending user interrupt.
///
/// # Errors
/// See [`ring3_uintr::deliver`].
pub(crate) fn deliver<M: Memory>(cpu: &mut Cpu, m: &mut M) -> Result<(), Stop> {
    ring3_uintr::deliver(&mut Context { cpu, m })
}
