//! All threads of a machine, and whose turn it is: that of the one whose clock is behind the others'.

use crate::block_store::BlockStore;
use crate::decoded::{KINDS, Unit, units};
use crate::event::{NoProbe, Probe};
use crate::hierarchy::Hierarchy;
use crate::parameters::Parameters;
use crate::speculative_memory::{Lane, SpeculativeMemory};
use crate::statistics::Counters;
use crate::store_queue::UNKNOWN;
use crate::thread::{Core, Limit, Parts, Paused, Thread, TimeBase};
use ring3_arch::CpuIndex;
use ring3_bus::Platform;
use ring3_clock::Ticks;
use ring3_cpu::{Cpu, FunctionalMemory};
use ring3_memory::{CodeMap, Ram, Tlb};

/// What an engine works on: the machine, without its engine.
pub struct World<'w> {
    /// The processors. While an engine has work in flight their state is speculative, see
    /// [`Engine::settle`].
    pub cpus: &'w mut [Cpu],
    /// One for each processor.
    pub tlbs: &'w mut [Tlb],
    /// RAM.
    pub ram: &'w mut Ram,
    /// What is translated in it.
    pub code: &'w mut CodeMap,
    /// Everything else.
    pub platform: &'w mut dyn Platform,
}

/// Why an engine stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It came as far as it should.
    SliceEnd,
    /// Every processor waits, at the latest until this time.
    Idle(Ticks),
    /// Something outside changed that the caller must look at.
    Reschedule,
    /// A processor shut down after a triple fault.
    Shutdown(CpuIndex),
    /// An instruction at a processor's RIP is advertised but not implemented.
    Unimplemented(CpuIndex),
}

/// What a slice did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Why it ended.
    pub exit: Exit,
    /// Instructions executed.
    pub instructions: u64,
    /// Virtual time.
    pub now: Ticks,
}

/// The engine.
pub struct Engine<P: Probe = NoProbe> {
    parameters: Parameters,
    units: [Unit; KINDS],
    blocks: BlockStore,
    hierarchy: Hierarchy,
    cores: Vec<Core>,
    threads: Vec<Thread>,
    lanes: Vec<Lane>,
    /// Until when each thread sleeps, if it does.
    asleep: Vec<Option<u64>>,
    /// When each fell asleep, for the accounts.
    slept_at: Vec<u64>,
    probe: P,
}

macro_rules! with_thread {
    ($self:ident, $world:ident, $n:expr, |$thread:ident, $cpu:ident, $m:ident, $parts:ident| $body:expr) => {{
        let n: usize = $n;
        let active = $self.active_on_core($self.threads[n].core);
        let $thread = &mut $self.threads[n];
        let $cpu = &mut $world.cpus[n];
        let now = $thread.now($thread.clock);
        let inner = FunctionalMemory::new(
            $cpu,
            &mut $world.tlbs[n],
            $world.ram,
            $world.code,
            $world.platform,
            now,
        );
        let mut memory = SpeculativeMemory {
            inner,
            lane: &mut $self.lanes[n],
        };
        let $m = &mut memory;
        let mut parts = Parts {
            parameters: &$self.parameters,
            units: &$self.units,
            blocks: &mut $self.blocks,
            core: &mut $self.cores[$thread.core],
            hierarchy: &mut $self.hierarchy,
            probe: &mut $self.probe,
            active,
        };
        let $parts = &mut parts;
        $body
    }};
}

impl<P: Probe> Engine<P> {
    /// For a machine of so many processors, cold, at virtual time `now`.
    pub fn new(parameters: &Parameters, cpus: usize, now: Ticks, probe: P) -> Engine<P> {
        let units = units(parameters);
        let share = parameters.threads.max(1) as usize;
        let cores = cpus.div_ceil(share);
        let mut engine = Engine {
            units,
            blocks: BlockStore::new(parameters),
            hierarchy: Hierarchy::new(parameters, cores),
            cores: (0..cores).map(|_| Core::new(parameters, &units)).collect(),
            threads: (0..cpus)
                .map(|n| Thread::new(CpuIndex(n as u32), n / share, parameters))
                .collect(),
            lanes: (0..cpus).map(|_| Lane::new()).collect(),
            asleep: vec![None; cpus],
            slept_at: vec![0; cpus],
            parameters: parameters.clone(),
            probe,
        };
        engine.take_over(now);
        engine
    }

    /// The processors' state comes from elsewhere, at time `now`; caches and predictors stay as they
    /// are. Whoever held translated code before must have thrown it away.
    pub fn take_over(&mut self, now: Ticks) {
        for thread in &mut self.threads {
            let at = now.0.max(thread.clock);
            thread.at_boundary = true;
            thread.cursor.valid = false;
            thread.clock = at;
            thread.time_offset = now.0.wrapping_sub(at);
            thread.signals = Default::default();
            thread.signal_cycle = UNKNOWN;
            thread.fetch.redirect(at);
            thread.account(at, None);
            thread.stalls = Default::default();
            thread.window.retire_not_before(at);
        }
        self.asleep.fill(None);
    }

    /// The probe.
    pub fn probe(&mut self) -> &mut P {
        &mut self.probe
    }

    /// The numbers it works with.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn active_on_core(&self, core: usize) -> u64 {
        if self.parameters.threads == 1 {
            return 1;
        }
        let active = self
            .threads
            .iter()
            .zip(&self.asleep)
            .filter(|(thread, asleep)| thread.core == core && asleep.is_none());
        (active.count() as u64).max(1)
    }

    /// What a processor has done so far.
    pub fn counters(&self, cpu: CpuIndex) -> Counters {
        let n = cpu.0 as usize;
        let thread = &self.threads[n];
        let mut counters = Counters {
            cycles: thread.clock,
            thread: thread.counters,
            stalls: thread.stalls,
            memory: self.hierarchy.counters[thread.core],
            tlb: self.cores[thread.core].translations.counters,
            width: self.parameters.rename_width,
        };
        counters.thread.instructions = thread.executed;
        counters.thread.slots_retired = thread.window.slots();
        counters
    }

    /// Executes instructions of processor `n` alone, each of which takes one tick of virtual time,
    /// from `now` until `end`, exactly as the functional engines do. Afterwards the processor's state
    /// is settled.
    pub fn slice(&mut self, world: &mut World<'_>, n: usize, now: Ticks, end: Ticks) -> Outcome {
        self.clear_if_full(world);
        let before = self.threads[n].executed;
        let paused = with_thread!(self, world, n, |thread, cpu, m, parts| {
            thread.time_base = TimeBase::Instructions;
            thread.time_offset = now.0.wrapping_sub(thread.executed);
            thread.at_boundary = true;
            thread.signals = Default::default();
            let limit = Limit {
                cycle: UNKNOWN - 1,
                instructions: thread.executed + (end.0 - now.0),
            };
            let paused = thread.run(cpu, m, parts, &limit);
            thread.settle(cpu, m, parts);
            paused
        });
        let instructions = self.threads[n].executed - before;
        let cpu = CpuIndex(n as u32);
        let exit = match paused {
            Paused::Limit => Exit::SliceEnd,
            Paused::Idle(until) => Exit::Idle(until),
            Paused::Reschedule => Exit::Reschedule,
            Paused::Shutdown => Exit::Shutdown(cpu),
            Paused::Unimplemented => Exit::Unimplemented(cpu),
        };
        Outcome {
            exit,
            instructions,
            now: Ticks(now.0 + instructions),
        }
    }

    /// Nobody is in any block: the state of every processor is exact.
    pub fn settle(&mut self, world: &mut World<'_>) {
        for n in 0..self.threads.len() {
            with_thread!(self, world, n, |thread, cpu, m, parts| {
                thread.settle(cpu, m, parts);
            });
        }
    }

    /// Throws away translated code, for a world that changed otherwise.
    pub fn forget_code(&mut self, code: &mut CodeMap) {
        for thread in &mut self.threads {
            debug_assert!(!thread.cursor.valid, "a processor has not been settled");
            thread.cursor.valid = false;
        }
        self.blocks.clear(code);
    }

    fn clear_if_full(&mut self, world: &mut World<'_>) {
        if self.blocks.is_full() {
            self.settle(world);
            self.blocks.clear(world.code);
        }
    }

    /// Looks at the pins of every thread but `except`; what is new there counts from `cycle` on.
    fn poll(&mut self, world: &mut World<'_>, except: Option<usize>, cycle: u64) {
        for n in 0..self.threads.len() {
            if Some(n) == except {
                continue;
            }
            let thread = &mut self.threads[n];
            let now = thread.now(thread.clock);
            let signals = world.platform.signals(CpuIndex(n as u32), now);
            thread.take_signals(signals, cycle);
            if signals.any() && self.asleep[n].is_some() {
                self.wake(n, cycle);
            }
        }
    }

    fn wake(&mut self, n: usize, cycle: u64) {
        self.asleep[n] = None;
        let thread = &mut self.threads[n];
        thread.clock = thread.clock.max(cycle);
        let at = thread.clock;
        thread.account(at, Some(crate::Stall::Idle));
        thread.fetch.redirect(at);
        thread.window.retire_not_before(at);
    }

    /// Stores of all threads but `except` that are visible by `cycle` are.
    fn drain_others(&mut self, world: &mut World<'_>, except: usize, cycle: u64) {
        for n in 0..self.threads.len() {
            if n == except || self.lanes[n].stores.is_empty() {
                continue;
            }
            let lane = &mut self.lanes[n];
            self.threads[n].own_stores_of(lane, &mut self.hierarchy, cycle);
            while !lane.stores.is_empty() {
                let head = lane.stores.head();
                if lane.stores.get(head).drains > cycle {
                    break;
                }
                let store = lane.stores.pop();
                let bytes = &store.data[..store.size as usize];
                world.code.written(store.offset, bytes.len() as u64);
                let at = store.offset as usize;
                if let Some(place) = world.ram.bytes_mut().get_mut(at..at + bytes.len()) {
                    place.copy_from_slice(bytes);
                }
            }
        }
    }

    /// Goes on with all processors, cycle by cycle, until virtual time `end` or `instructions` more
    /// have been executed. Work stays in flight: see [`Engine::settle`].
    pub fn run(
        &mut self,
        world: &mut World<'_>,
        now: Ticks,
        end: Ticks,
        instructions: u64,
    ) -> Outcome {
        self.clear_if_full(world);
        let count = self.threads.len();
        for thread in &mut self.threads {
            thread.time_base = TimeBase::Cycles;
        }
        self.poll(world, None, now.0 + self.parameters.timer_latency);
        let executed = |threads: &[Thread]| threads.iter().map(|t| t.executed).sum::<u64>();
        let before = executed(&self.threads);
        let exit = loop {
            // Who is behind, and how far may it go?
            let mut first: Option<(u64, usize)> = None;
            let mut second = UNKNOWN - 1;
            for n in 0..count {
                let at = match self.asleep[n] {
                    Some(until) => until.max(self.threads[n].clock),
                    None => self.threads[n].clock,
                };
                if at == UNKNOWN {
                    continue;
                }
                match first {
                    Some((best, _)) if at >= best => second = second.min(at),
                    Some((best, _)) => {
                        second = second.min(best);
                        first = Some((at, n));
                    }
                    None => first = Some((at, n)),
                }
            }
            let Some((at, n)) = first else {
                break Exit::Idle(Ticks::NEVER);
            };
            if at >= end.0 {
                let everybody_sleeps = self.asleep.iter().all(Option::is_some);
                break if everybody_sleeps {
                    Exit::Idle(Ticks(at))
                } else {
                    Exit::SliceEnd
                };
            }
            if self.asleep[n].is_some() {
                self.wake(n, at);
            }
            let left = instructions.saturating_sub(executed(&self.threads).saturating_sub(before));
            if left == 0 {
                break Exit::SliceEnd;
            }
            if count > 1 {
                self.drain_others(world, n, at);
                if self.parameters.threads > 1 {
                    let core = self.threads[n].core;
                    self.cores[core].issue.advance(at);
                }
            }
            let limit = Limit {
                cycle: end.0.min(second + 1),
                instructions: self.threads[n].executed + left,
            };
            let paused = with_thread!(self, world, n, |thread, cpu, m, parts| {
                m.inner.take_touched();
                thread.run(cpu, m, parts, &limit)
            });
            let clock = self.threads[n].clock;
            let cpu = CpuIndex(n as u32);
            match paused {
                Paused::Limit => {}
                Paused::Idle(until) => {
                    self.asleep[n] = Some(if until == Ticks::NEVER {
                        UNKNOWN
                    } else {
                        until.0
                    });
                    self.slept_at[n] = clock;
                    self.probe.event(cpu, clock, crate::Event::Idle(true));
                }
                Paused::Reschedule => {
                    self.poll(world, Some(n), clock + self.parameters.interconnect);
                    break Exit::Reschedule;
                }
                Paused::Shutdown => break Exit::Shutdown(cpu),
                Paused::Unimplemented => break Exit::Unimplemented(cpu),
            }
        };
        let awake = (0..count).filter(|&n| self.asleep[n].is_none());
        let reached = awake.map(|n| self.threads[n].clock).min().unwrap_or(now.0);
        let now = match exit {
            Exit::SliceEnd => end.0.min(reached.max(now.0)),
            _ => reached.max(now.0).min(end.0),
        };
        Outcome {
            exit,
            instructions: executed(&self.threads).saturating_sub(before),
            now: Ticks(now),
        }
    }
}
