//! What executes alone, at the head of the window: system instructions, locked ones, repeated strings,
//! accesses to devices, whatever faults; and everything between instructions.
//!
//! Such an instruction waits until all before it have retired (and, if it is a fence, until their
//! stores are visible). Its accesses go through the caches, each charged in its turn; named steps and
//! classes of routines cost what the machine description says.

use crate::decoded::{Instruction, instruction_flag};
use crate::event::{Event, InterruptStep, Probe};
use crate::parameters::Parameters;
use crate::speculative_memory::{Charge, SpeculativeMemory};
use crate::statistics::Stall;
use crate::store_queue::UNKNOWN;
use crate::thread::{Limit, Parts, Paused, Thread};
use crate::translation::{Side, Walker};
use ring3_arch::{Fault, msr};
use ring3_bus::Signals;
use ring3_cpu::{
    Activity, Boundary, Cpu, Flow, Memory, StopReason, adjust_stack_fault, after_one, at_boundary,
    before_one, deliver_fault, execute,
};
use ring3_isa::{Op, Reg, Uop};
use ring3_uintr::Step;

/// What a routine costs besides its accesses and named steps.
fn cost(p: &Parameters, cpu: &Cpu, uop: &Uop) -> u64 {
    match uop.op {
        Op::Syscall => p.cost_syscall,
        Op::Sysret => p.cost_sysret,
        Op::Iret => p.cost_iret,
        Op::Swapgs => p.cost_swapgs,
        Op::Cpuid => p.cost_cpuid,
        Op::Rdmsr => p.cost_rdmsr,
        Op::Wrmsr => {
            let number = cpu.reg(Reg::Rcx) as u32;
            if (0x800..0x900).contains(&number) || number == msr::IA32_TSC_DEADLINE {
                p.cost_apic_write
            } else {
                p.cost_wrmsr
            }
        }
        Op::MovToCr
        | Op::MovFromCr
        | Op::Clts
        | Op::Lmsw
        | Op::MovToDr
        | Op::MovFromDr
        | Op::Xsetbv => p.cost_control,
        Op::Invlpg | Op::Invpcid | Op::Wbinvd => p.cost_invalidate,
        Op::Lgdt
        | Op::Lidt
        | Op::Ltr
        | Op::Lldt
        | Op::LoadSegment
        | Op::JumpFar
        | Op::CallFar
        | Op::ReturnFar => p.cost_segment,
        Op::Sti | Op::Cli | Op::WriteFlags | Op::Stac | Op::Clac => p.cost_flag,
        Op::In | Op::Out | Op::Ins | Op::Outs => p.cost_port,
        Op::Fxsave | Op::Fxrstor | Op::Xsave | Op::Xrstor => p.cost_save,
        Op::Rdtsc | Op::Rdtscp => p.cost_timestamp,
        Op::Movs | Op::Stos | Op::Lods | Op::Cmps | Op::Scas => p.cost_string,
        Op::Int | Op::Int1 | Op::Int3 | Op::Into | Op::Raise => p.cost_exception + p.cost_deliver,
        Op::Stui => p.cost_stui,
        Op::Clui => p.cost_clui,
        Op::Senduipi | Op::Uiret | Op::Serialize => 0,
        _ if uop.op.info().routine => p.cost_other,
        _ => 0,
    }
}

/// What a named step costs besides its accesses.
fn step_cost(p: &Parameters, step: Step) -> u64 {
    match step {
        Step::ReadUittEntry => p.step_read_table,
        Step::SendIpi => p.step_send,
        Step::Identify => p.step_identify,
        Step::Recognise => p.step_recognise,
        Step::PushRsp | Step::PushRflags | Step::PushRip | Step::PushVector => p.step_push,
        Step::EnterHandler => p.step_enter,
        Step::PopFrame => p.step_uiret,
        _ => 0,
    }
}

/// What a locked step costs between its load and its store.
fn locked_cost(p: &Parameters, step: Step) -> u64 {
    match step {
        Step::WriteUpid => p.step_lock,
        Step::ClearOn => p.step_clear_on,
        Step::TakePir => p.step_take_pir,
        _ => 0,
    }
}

/// Whether the stores of a step must be done before the next step.
fn is_locked(step: Option<Step>) -> bool {
    matches!(
        step,
        Some(Step::LockUpid | Step::WriteUpid | Step::ClearOn | Step::TakePir)
    )
}

/// Operations after which fetch starts over at a new place.
fn jumps(op: Op) -> bool {
    matches!(
        op,
        Op::Syscall
            | Op::Sysret
            | Op::Iret
            | Op::JumpFar
            | Op::CallFar
            | Op::ReturnFar
            | Op::Int
            | Op::Int1
            | Op::Int3
            | Op::Into
            | Op::Uiret
            | Op::MovToCr
            | Op::Cpuid
            | Op::Serialize
            | Op::Invlpg
            | Op::Invpcid
    )
}

/// Executes an instruction at the head: what follows it, what it costs, and whether fetch starts over.
/// An error is the micro-op that stopped.
fn run_uops<P: Probe>(
    cpu: &mut Cpu,
    m: &mut SpeculativeMemory<'_, '_>,
    parts: &Parts<'_, P>,
    instruction: &Instruction,
) -> Result<(Flow, u64, bool), Uop> {
    let mut fixed = 0;
    for n in 0..instruction.uops as usize {
        let uop = parts.blocks.uops[instruction.first as usize + n];
        fixed += cost(parts.parameters, cpu, &uop);
        match execute(cpu, m, &uop) {
            Ok(Flow::Continue) => {}
            Ok(flow) => {
                let jumped = jumps(uop.op) || (flow != Flow::Sync && uop.op != Op::Next);
                return Ok((flow, fixed, jumped));
            }
            Err(_) => return Err(uop),
        }
    }
    Ok((Flow::Continue, fixed, false))
}

impl Thread {
    /// Turns to what happens at the head, at the current cycle.
    fn begin_head<P: Probe>(
        &mut self,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
    ) {
        self.drain_all(m, parts);
        self.window.forget();
        m.lane.head = true;
        m.inner.solo = true;
        m.inner.now = self.now(self.clock);
        m.lane.charges.clear();
        m.lane.fetch_fault = None;
    }

    fn end_head(&mut self, m: &mut SpeculativeMemory<'_, '_>) {
        m.lane.head = false;
        m.inner.solo = false;
    }

    /// Asks what waits at the pins; what is new counts from `cycle` on.
    pub fn poll(&mut self, m: &mut SpeculativeMemory<'_, '_>, cycle: u64) {
        let now = self.now(self.clock);
        let signals = m.inner.platform().signals(self.index, now);
        self.take_signals(signals, cycle);
    }

    /// The pins show this; what is new counts from `cycle` on.
    pub fn take_signals(&mut self, signals: Signals, cycle: u64) {
        if !signals.any() {
            self.signal_cycle = UNKNOWN;
        } else if !self.signals.any() {
            self.signal_cycle = cycle;
        }
        self.signals = signals;
    }

    /// The code at RIP cannot be fetched in flight: page tables must be marked, or there is a fault.
    pub(crate) fn fetch_at_head<P: Probe>(
        &mut self,
        cpu: &mut Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
        limit: &Limit,
    ) -> Option<Paused> {
        let start = self.clock.max(self.fetch.cycle).max(self.window.retired());
        self.clock = start;
        if start >= limit.cycle {
            return Some(Paused::Limit);
        }
        self.begin_head(m, parts);
        if parts.blocks.find(cpu, m).is_err() {
            let fault = m.lane.fetch_fault.unwrap_or(Fault::GP0);
            self.fault(cpu, m, parts, start, fault);
        }
        self.end_head(m);
        None
    }

    /// Executes the current instruction alone.
    pub(crate) fn execute_at_head<P: Probe>(
        &mut self,
        cpu: &mut Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
        limit: &Limit,
        instruction: &Instruction,
        available: u64,
    ) -> Option<Paused> {
        let mut start = self.clock.max(available).max(self.window.retired());
        if instruction.flags & instruction_flag::FENCE != 0 {
            self.own_stores(m, parts.hierarchy, UNKNOWN - 1);
            start = start.max(self.last_drain);
        }
        if start >= limit.cycle {
            self.clock = start;
            return Some(Paused::Limit);
        }
        self.account(start, Some(Stall::Serialise));
        let restarted = std::mem::take(&mut self.force_head);
        self.begin_head(m, parts);
        let paused = self.alone(cpu, m, parts, start, false);
        self.at_boundary |= restarted;
        if self.at_boundary {
            self.leave_block(cpu, parts);
        }
        self.end_head(m);
        paused
    }

    /// Executes the instruction at the cursor, at the head.
    fn alone<P: Probe>(
        &mut self,
        cpu: &mut Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
        start: u64,
        restarted: bool,
    ) -> Option<Paused> {
        let block = &parts.blocks.blocks[self.cursor.block.0 as usize];
        let at = (block.first + self.cursor.index) as usize;
        let instruction = parts.blocks.instructions[at];
        self.cursor.fetched = None;
        self.counters.head += 1;
        m.lane.reconfigured = false;
        // As in the functional engines: devices may be touched and code changed only the second time,
        // with what single-stepping needs around it.
        let mut step = restarted.then(|| before_one(cpu));
        m.inner.solo = restarted;
        let (flow, fixed, jumped) = loop {
            match run_uops(cpu, m, parts, &instruction) {
                Ok(done) => break done,
                Err(uop) => {
                    let reason = m.stop_reason();
                    if reason == StopReason::Restart {
                        assert!(
                            !m.inner.solo,
                            "an instruction that is alone needs no restart"
                        );
                        m.inner.solo = true;
                        m.lane.charges.clear();
                        step = Some(before_one(cpu));
                        continue;
                    }
                    m.inner.solo = true;
                    // RIP is that of the instruction, not of its block, from here on.
                    self.leave_block(cpu, parts);
                    return match reason {
                        StopReason::Fault(fault) => {
                            let fault = adjust_stack_fault(cpu, &uop, fault);
                            self.fault(cpu, m, parts, start, fault);
                            None
                        }
                        _ => {
                            self.at_boundary = true;
                            Some(Paused::Unimplemented)
                        }
                    };
                }
            }
        };
        m.inner.solo = true;
        let restarted = step.is_some();
        if let Some(step) = step {
            after_one(cpu, m, step);
        }
        let mut fixed = fixed;
        self.executed += 1;
        if instruction.flags & instruction_flag::LOCKED != 0 {
            self.counters.locked += 1;
            fixed += parts.parameters.cost_locked;
        }
        let end = self.charge(m, parts, start, fixed);
        self.finish_head(cpu, m, parts, end);
        let is_uiret = instruction.uops > 0
            && parts.blocks.uops[(instruction.first + u32::from(instruction.uops)) as usize - 1].op
                == Op::Uiret;
        if jumped {
            let predicted = is_uiret && parts.parameters.uiret_predicted != 0;
            self.fetch.redirect(if predicted { start } else { end });
            self.starved = Stall::Serialise;
        }
        let touched = m.inner.take_touched();
        if touched {
            self.poll(m, end);
            m.inner.take_touched();
        }
        match flow {
            Flow::Continue => {
                self.cursor.index += 1;
                debug_assert!(self.cursor.index < self.cursor.count);
                if touched || restarted || m.lane.reconfigured || m.inner.code().has_stale() {
                    self.leave_block(cpu, parts);
                    self.at_boundary = true;
                }
            }
            _ => {
                self.cursor.valid = false;
                self.at_boundary =
                    flow == Flow::Sync || touched || restarted || m.lane.reconfigured;
            }
        }
        if touched && m.inner.platform().take_reschedule() {
            m.inner.take_touched();
            self.leave_block(cpu, parts);
            self.at_boundary = true;
            return Some(Paused::Reschedule);
        }
        m.inner.take_touched();
        None
    }

    /// What was done at the head ends at `end`.
    fn finish_head<P: Probe>(
        &mut self,
        cpu: &Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
        end: u64,
    ) {
        self.clock = self.clock.max(end);
        self.window.retire_not_before(end);
        for flush in m.lane.flushes.drain(..) {
            parts.core.translations.flush(flush);
        }
        let key = m.inner.fetch_key();
        m.lane.fetch_tags = m.inner.tlb().fetch_tags(key);
        if cpu.cpl() != self.privilege {
            self.privilege = cpu.cpl();
            parts
                .probe
                .event(self.index, end, Event::Privilege(self.privilege));
        }
    }

    /// Delivers a fault at RIP.
    fn fault<P: Probe>(
        &mut self,
        cpu: &mut Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
        start: u64,
        fault: Fault,
    ) {
        self.counters.faults += 1;
        deliver_fault(cpu, m, fault);
        let fixed = parts.parameters.cost_exception + parts.parameters.cost_deliver;
        let end = self.charge(m, parts, start, fixed);
        self.finish_head(cpu, m, parts, end);
        self.fetch.redirect(end);
        self.starved = Stall::Serialise;
        self.cursor.valid = false;
        self.at_boundary = true;
    }

    /// Takes everything that was written down through the caches, from `start` on; when it is done.
    fn charge<P: Probe>(
        &mut self,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
        start: u64,
        fixed: u64,
    ) -> u64 {
        let mut now = start + fixed + 1;
        let mut done = now;
        let mut step: Option<Step> = None;
        let mut changes = 0;
        let charges = std::mem::take(&mut m.lane.charges);
        for charge in &charges {
            match *charge {
                Charge::Step(next) => {
                    now = now.max(done);
                    if let Some(step) = step {
                        parts.probe.event(self.index, now, Event::User(step));
                    }
                    if next == Step::PushRsp {
                        // Injected behind older work, the frame waits for the stack pointer.
                        now = now.max(self.ready[Reg::Rsp as usize]);
                    }
                    step = Some(next);
                    now += step_cost(parts.parameters, next);
                    done = now;
                    changes = 0;
                }
                Charge::Load(offset, linear) => {
                    let at = self.translate_at_head(m, parts, linear, now);
                    let ready = if is_locked(step) {
                        parts.hierarchy.own(self.core, offset, at).0 + parts.parameters.l1d_latency
                    } else {
                        parts.hierarchy.load(self.core, offset, 0, at).0
                    };
                    done = done.max(ready);
                    now += 1;
                }
                Charge::Store(offset, linear) => {
                    if let Some(step) = step.filter(|_| changes == 0)
                        && is_locked(Some(step))
                    {
                        now = now.max(done) + locked_cost(parts.parameters, step);
                    }
                    changes += 1;
                    let at = self.translate_at_head(m, parts, linear, now);
                    let (ready, _) = parts.hierarchy.own(self.core, offset, at);
                    if is_locked(step) {
                        done = done.max(ready + 1);
                    } else {
                        self.last_drain = (self.last_drain + 1).max(ready);
                    }
                    now += 1;
                }
                Charge::Span(offset, length, write) => {
                    let per_line = 64_u64.div_ceil(parts.parameters.string_bytes);
                    let mut line = offset & !63;
                    while line < offset + length {
                        if write {
                            let (ready, _) = parts.hierarchy.own(self.core, line, now);
                            self.last_drain = (self.last_drain + per_line).max(ready);
                            // Stores wait in their queue, but that has an end.
                            let room = parts.parameters.store_queue;
                            now = now.max(self.last_drain.saturating_sub(room));
                            done = done.max(now);
                        } else {
                            done = done.max(parts.hierarchy.load(self.core, line, 0, now).0);
                        }
                        now += per_line;
                        line += 64;
                    }
                }
                Charge::Device => {
                    now = now.max(done) + parts.parameters.cost_port;
                    done = now;
                }
            }
        }
        now = now.max(done);
        if let Some(step) = step {
            parts.probe.event(self.index, now, Event::User(step));
        }
        m.lane.charges = charges;
        now
    }

    fn translate_at_head<P: Probe>(
        &mut self,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
        linear: u64,
        at: u64,
    ) -> u64 {
        let mut walker = Walker {
            ram: m.inner.whole_ram(),
            paging: m.inner.paging(),
            hierarchy: parts.hierarchy,
            core: self.core,
        };
        parts
            .core
            .translations
            .translate(Side::Data, linear, m.lane.pcid, at, &mut walker)
    }

    /// Looks at everything that can happen between two instructions, until there is one to execute.
    pub(crate) fn boundary<P: Probe>(
        &mut self,
        cpu: &mut Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
        limit: &Limit,
    ) -> Option<Paused> {
        debug_assert!(!self.cursor.valid && !self.on_wrong_path());
        loop {
            self.begin_head(m, parts);
            parts.blocks.drop_stale(m.inner.code());
            if m.inner.take_touched() {
                self.poll(m, self.clock);
                let reschedule = m.inner.platform().take_reschedule();
                m.inner.take_touched();
                if reschedule {
                    return Some(Paused::Reschedule);
                }
            }
            if self.clock >= limit.cycle || self.executed >= limit.instructions {
                return Some(Paused::Limit);
            }
            let signals = if self.clock >= self.signal_cycle {
                self.signals
            } else {
                Signals::default()
            };
            let asleep = cpu.activity != Activity::Running;
            match at_boundary(cpu, m, signals) {
                Boundary::Run => {
                    self.at_boundary = false;
                    self.boundary_cycle = self.clock;
                    self.end_head(m);
                    return None;
                }
                Boundary::Again => self.delivered(cpu, m, parts),
                Boundary::RunOne => {
                    if let Some(paused) = self.one(cpu, m, parts) {
                        return Some(paused);
                    }
                }
                Boundary::Idle(until) => return Some(Paused::Idle(until)),
                Boundary::Shutdown => return Some(Paused::Shutdown),
                Boundary::Unimplemented => return Some(Paused::Unimplemented),
            }
            if asleep && cpu.activity == Activity::Running {
                parts
                    .probe
                    .event(self.index, self.clock, Event::Idle(false));
            }
        }
    }

    /// An event was delivered at the boundary.
    fn delivered<P: Probe>(
        &mut self,
        cpu: &mut Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
    ) {
        let entry = self.entry.take();
        let is_user = m
            .lane
            .charges
            .iter()
            .any(|c| matches!(c, Charge::Step(step) if *step != Step::Accept));
        let did_something = !m.lane.charges.is_empty() || entry.is_some();
        let start = self.clock + entry.unwrap_or(0);
        if entry.is_some() && !is_user {
            parts.probe.event(
                self.index,
                start,
                Event::Conventional(InterruptStep::Recognised),
            );
        }
        let fixed = if is_user || !did_something {
            0
        } else {
            parts.parameters.cost_deliver
        };
        let end = self.charge(m, parts, start, fixed);
        self.finish_head(cpu, m, parts, end);
        if !is_user && entry.is_some() {
            parts.probe.event(
                self.index,
                end,
                Event::Conventional(InterruptStep::Delivered),
            );
            self.announce = Some(Event::Conventional(InterruptStep::HandlerEntered));
        }
        self.fetch.redirect(end);
        self.starved = Stall::Serialise;
        self.cursor.valid = false;
    }

    /// Executes exactly one instruction, which is single-stepped, in a shadow, or watched.
    fn one<P: Probe>(
        &mut self,
        cpu: &mut Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
    ) -> Option<Paused> {
        let start = self.clock;
        match parts.blocks.find(cpu, m) {
            Ok(id) => self.enter_block(cpu, parts, id),
            Err(_) => {
                let fault = m.lane.fetch_fault.unwrap_or(Fault::GP0);
                self.fault(cpu, m, parts, start, fault);
                return None;
            }
        }
        self.alone(cpu, m, parts, start, true)
    }
}
