//! Which engine the machine runs on, and handing over from one to another.

use crate::machine::{Machine, Stop};
use ring3_arch::CpuIndex;
use ring3_clock::Ticks;
use ring3_cpu::RamDma;
use ring3_memory::Tlb;
use ring3_timing::{Counters, Engine, Exit, Parameters, Recorder, TimeBase, World};

/// The timing engine of a machine.
pub(crate) struct Timing {
    pub engine: Engine<Recorder>,
    pub time_base: TimeBase,
    /// It has work in flight or code of its own in the code map.
    pub is_on: bool,
}

/// Longest stretch of cycles without looking outside.
const CYCLES_MAX: u64 = 1 << 20;

macro_rules! world {
    ($machine:ident) => {
        World {
            cpus: &mut $machine.cpus,
            tlbs: &mut $machine.tlbs,
            ram: &mut $machine.ram,
            code: &mut $machine.code,
            platform: &mut $machine.chipset,
        }
    };
}

impl Machine {
    /// From the next instruction on, runs on the timing engine with these numbers. Caches and
    /// predictors are as the last use of the same numbers left them, else cold.
    ///
    /// With [`TimeBase::Cycles`] virtual time counts cycles; with [`TimeBase::Instructions`] the run is
    /// that of the functional engines, to the last bit.
    pub fn use_timing(&mut self, parameters: &Parameters, time_base: TimeBase) {
        self.use_interpreter();
        self.forget_translations();
        if time_base == TimeBase::Cycles {
            // Everybody goes on at the same time.
            self.round = None;
            self.now = self.times.iter().copied().fold(self.now, Ticks::max);
            self.times.fill(self.now);
        }
        let now = self.now;
        match &mut self.timing {
            Some(timing) if timing.engine.parameters() == parameters => {
                timing.engine.take_over(now);
                timing.time_base = time_base;
                timing.is_on = true;
            }
            place => {
                let probe = Recorder::default();
                *place = Some(Box::new(Timing {
                    engine: Engine::new(parameters, self.cpus.len(), now, probe),
                    time_base,
                    is_on: true,
                }));
            }
        }
    }

    /// From the next instruction on, runs on the reference engine.
    pub fn use_interpreter(&mut self) {
        if self.is_timed() {
            self.settle();
            if let Some(timing) = &mut self.timing {
                timing.is_on = false;
                timing.engine.forget_code(&mut self.code);
            }
            self.forget_translations();
        }
    }

    /// Whether marks of a region of interest (see `include/ring3.h`) end [`Machine::run`].
    pub fn stop_at_marks(&mut self, stop: bool) {
        self.chipset.stops_at_marks = stop;
    }

    /// Whether it runs on the timing engine.
    pub fn is_timed(&self) -> bool {
        self.timing.as_ref().is_some_and(|timing| timing.is_on)
    }

    /// Whether virtual time counts cycles now.
    pub fn counts_cycles(&self) -> bool {
        self.timing
            .as_ref()
            .is_some_and(|timing| timing.is_on && timing.time_base == TimeBase::Cycles)
    }

    /// What the timing engine has counted about a processor, if there is one.
    pub fn timing_counters(&self, cpu: CpuIndex) -> Option<Counters> {
        Some(self.timing.as_ref()?.engine.counters(cpu))
    }

    /// What the timing engine tells, if there is one.
    pub fn timing_recorder(&mut self) -> Option<&mut Recorder> {
        Some(self.timing.as_mut()?.engine.probe())
    }

    /// Completes what is in flight, so that the processors' state is exact. Functional engines have
    /// nothing in flight.
    pub fn settle(&mut self) {
        if let Some(timing) = &mut self.timing
            && timing.is_on
        {
            timing.engine.settle(&mut world!(self));
        }
    }

    /// The timing engine's part of [`Machine::run`]: until something must be looked at.
    pub(crate) fn timed_round(&mut self, limit: u64) -> Option<Stop> {
        let due = self.chipset.next_deadline();
        if due <= self.now {
            let mut dma = RamDma {
                ram: &mut self.ram,
                code: &mut self.code,
            };
            self.chipset.advance(self.now, &mut dma);
            return None;
        }
        let end = due.min(self.now.saturating_add(Ticks(CYCLES_MAX)));
        let left = limit - self.instructions;
        let now = self.now;
        let timing = self.timing.as_mut().expect("the machine is timed");
        let outcome = timing.engine.run(&mut world!(self), now, end, left);
        self.instructions += outcome.instructions;
        self.now = outcome.now;
        self.times.fill(self.now);
        match outcome.exit {
            Exit::SliceEnd | Exit::Reschedule => {
                let is_last = self.chipset.power_off.is_some() || self.chipset.reset;
                if is_last {
                    self.settle();
                }
                None
            }
            Exit::Idle(until) => {
                let next = until.min(self.chipset.next_deadline());
                if next == Ticks::NEVER {
                    self.settle();
                    return Some(Stop::Idle);
                }
                self.now = next.max(self.now);
                None
            }
            Exit::Shutdown(cpu) => {
                self.settle();
                Some(Stop::TripleFault(cpu))
            }
            Exit::Unimplemented(cpu) => {
                self.settle();
                Some(self.unimplemented(cpu.0 as usize))
            }
        }
    }

    /// A turn of one processor on the timing engine, in instructions.
    pub(crate) fn timed_slice(&mut self, n: usize, end: Ticks) -> ring3_interpreter::Outcome {
        let now = self.times[n];
        let timing = self.timing.as_mut().expect("the machine is timed");
        let outcome = timing.engine.slice(&mut world!(self), n, now, end);
        self.times[n] = outcome.now;
        let exit = match outcome.exit {
            Exit::SliceEnd => ring3_interpreter::Exit::SliceEnd,
            Exit::Idle(until) => ring3_interpreter::Exit::Idle(until),
            Exit::Reschedule => ring3_interpreter::Exit::Reschedule,
            Exit::Shutdown(_) => ring3_interpreter::Exit::Shutdown,
            Exit::Unimplemented(_) => ring3_interpreter::Exit::Unimplemented,
        };
        ring3_interpreter::Outcome {
            exit,
            instructions: outcome.instructions,
        }
    }

    /// Nothing that an engine has cached about the guest counts any more.
    pub(crate) fn forget_translations(&mut self) {
        self.store.clear(&mut self.code);
        if let Some(timing) = &mut self.timing {
            timing.engine.forget_code(&mut self.code);
        }
        for tlb in &mut self.tlbs {
            *tlb = Tlb::default();
        }
    }
}
