//! The loop.

use crate::block_store::{BlockStore, NO_LINK};
use ring3_arch::Fault;
use ring3_clock::Ticks;
use ring3_cpu::{
    Boundary, Cpu, Flow, FunctionalMemory, Memory, StopReason, adjust_stack_fault, after_one,
    at_boundary, before_one, deliver_fault, execute,
};
use ring3_memory::BlockId;

/// Why [`run`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The slice is over.
    SliceEnd,
    /// The processor has nothing to do until this time, or something happens.
    Idle(Ticks),
    /// Something outside changed that the caller must look at before the next instruction.
    Reschedule,
    /// The processor shut down after a triple fault.
    Shutdown,
    /// The instruction at RIP is advertised but not implemented.
    Unimplemented,
    /// Enough for now: the slice is not over, but what it did was costly. Going on later makes no
    /// difference to the guest.
    Breath,
}

/// Boundaries looked at before [`Exit::Breath`]. What can cost much (flushing translations, executing
/// an instruction alone, translating code that was overwritten) comes with one; a guest that does
/// nothing else must not keep its host from looking up.
const BOUNDARIES_MAX: u32 = 1 << 14;

/// What a slice did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Why it ended.
    pub exit: Exit,
    /// Instructions executed.
    pub instructions: u64,
}

/// Executes instructions on `cpu` until `m.now` reaches `end` or something stops it. Each
/// instruction takes one tick.
pub fn run(
    store: &mut BlockStore,
    cpu: &mut Cpu,
    m: &mut FunctionalMemory<'_>,
    end: Ticks,
) -> Outcome {
    let mut engine = Engine {
        store,
        instructions: 0,
    };
    let exit = engine.run(cpu, m, end);
    Outcome {
        exit,
        instructions: engine.instructions,
    }
}

struct Engine<'a> {
    store: &'a mut BlockStore,
    instructions: u64,
}

/// How a stretch of micro-ops ended.
enum Ended {
    Flowed(Flow),
    /// Micro-op number (from the block's start) that stopped.
    Stopped(usize),
}

#[inline(always)]
fn run_uops(
    store: &BlockStore,
    cpu: &mut Cpu,
    m: &mut FunctionalMemory<'_>,
    first: usize,
    count: Option<usize>,
) -> Ended {
    let uops = match count {
        Some(count) => &store.uops[first..first + count],
        None => &store.uops[first..],
    };
    for (n, uop) in uops.iter().enumerate() {
        match execute(cpu, m, uop) {
            Ok(Flow::Continue) => {}
            Ok(flow) => return Ended::Flowed(flow),
            Err(_) => return Ended::Stopped(n),
        }
    }
    Ended::Flowed(Flow::Continue)
}

impl Engine<'_> {
    fn run(&mut self, cpu: &mut Cpu, m: &mut FunctionalMemory<'_>, end: Ticks) -> Exit {
        let mut signals = ring3_bus::Signals::default();
        for _ in 0..BOUNDARIES_MAX {
            m.solo = true;
            self.store.drop_stale(m.code());
            if m.take_touched() {
                let (index, now) = (cpu.index, m.now);
                let platform = m.platform();
                signals = platform.signals(index, now);
                let reschedule = platform.take_reschedule();
                // Asking does not count as touching.
                m.take_touched();
                if reschedule {
                    return Exit::Reschedule;
                }
            }
            if m.now >= end {
                return Exit::SliceEnd;
            }
            match at_boundary(cpu, m, signals) {
                Boundary::Run => {}
                Boundary::Again => continue,
                Boundary::RunOne => {
                    if let Some(exit) = self.run_one(cpu, m) {
                        return exit;
                    }
                    continue;
                }
                Boundary::Idle(until) => return Exit::Idle(until),
                Boundary::Shutdown => return Exit::Shutdown,
                Boundary::Unimplemented => return Exit::Unimplemented,
            }
            m.solo = false;
            if let Some(exit) = self.run_blocks(cpu, m, end) {
                return exit;
            }
        }
        Exit::Breath
    }

    /// Executes blocks until a boundary must be looked at.
    #[inline(always)]
    fn run_blocks(
        &mut self,
        cpu: &mut Cpu,
        m: &mut FunctionalMemory<'_>,
        end: Ticks,
    ) -> Option<Exit> {
        let key = m.fetch_key();
        debug_assert_eq!(key, cpu.fetch_key());
        m.tlb().fetch_cache.follow(self.store.generation());
        let tags = m.tlb().fetch_tags(key);
        // The block before, and by which of its fixed targets it was left.
        let mut from = (NO_LINK, 0);
        let mut link = NO_LINK;
        loop {
            let left = end.0 - m.now.0;
            if left == 0 {
                return Some(Exit::SliceEnd);
            }
            let id = if link != NO_LINK {
                link
            } else {
                let generation = self.store.generation();
                let found = match m.tlb().fetch_cache.get(cpu.linear_rip(), &tags) {
                    Some(id) => id,
                    None => match self.store.find(cpu, m) {
                        Ok(id) => id,
                        Err(fault) => {
                            self.fault(cpu, m, fault);
                            return None;
                        }
                    },
                };
                if from.0 != NO_LINK && generation == self.store.generation() {
                    self.store.link(from.0, from.1, found);
                }
                found
            };
            let block = self.store.blocks[id.0 as usize];
            if u64::from(block.instructions) > left || m.code().has_stale() {
                if block.is_stale() || m.code().has_stale() {
                    self.store.unlink(from.0, from.1);
                    self.refresh(cpu, m);
                    return None;
                }
                return self.run_part(cpu, m, id, left as u32);
            }
            match run_uops(self.store, cpu, m, block.uops as usize, None) {
                Ended::Flowed(flow) => {
                    m.now.0 += u64::from(block.instructions);
                    self.instructions += u64::from(block.instructions);
                    match flow {
                        Flow::Direct0 => {
                            from = (id, 0);
                            link = block.links[0];
                        }
                        Flow::Direct1 => {
                            from = (id, 1);
                            link = block.links[1];
                        }
                        Flow::Sync => return None,
                        Flow::Continue | Flow::Indirect => {
                            from = (NO_LINK, 0);
                            link = NO_LINK;
                        }
                    }
                }
                Ended::Stopped(at) => return self.stopped(cpu, m, id, at),
            }
        }
    }

    /// A block was stale: look it up anew.
    #[cold]
    fn refresh(&mut self, cpu: &mut Cpu, m: &mut FunctionalMemory<'_>) {
        self.store.drop_stale(m.code());
        m.tlb().forget_code(cpu.linear_rip());
    }

    /// Executes the first `count` instructions of a block that has more.
    #[cold]
    fn run_part(
        &mut self,
        cpu: &mut Cpu,
        m: &mut FunctionalMemory<'_>,
        id: BlockId,
        count: u32,
    ) -> Option<Exit> {
        let mark = self
            .store
            .mark(id, count)
            .expect("the block has more instructions");
        let uops = self.store.blocks[id.0 as usize].uops as usize;
        match run_uops(self.store, cpu, m, uops, Some(mark.uop.into())) {
            Ended::Flowed(flow) => {
                debug_assert_eq!(flow, Flow::Continue);
                self.finish_inside(cpu, mark.offset);
                m.now.0 += u64::from(count);
                self.instructions += u64::from(count);
                None
            }
            Ended::Stopped(at) => self.stopped(cpu, m, id, at),
        }
    }

    /// RIP moves to an instruction inside the block.
    fn finish_inside(&self, cpu: &mut Cpu, offset: u16) {
        let rip = cpu.rip().wrapping_add(offset.into());
        cpu.set_rip(if cpu.is_long_code() {
            rip
        } else {
            rip & 0xffff_ffff
        });
    }

    /// Executes exactly one instruction.
    #[cold]
    fn run_one(&mut self, cpu: &mut Cpu, m: &mut FunctionalMemory<'_>) -> Option<Exit> {
        let key = m.fetch_key();
        debug_assert_eq!(key, cpu.fetch_key());
        m.tlb().fetch_cache.follow(self.store.generation());
        let tags = m.tlb().fetch_tags(key);
        let known = m.tlb().fetch_cache.get(cpu.linear_rip(), &tags);
        let known = known.filter(|id| !self.store.blocks[id.0 as usize].is_stale());
        let id = match known.map_or_else(|| self.store.find(cpu, m), Ok) {
            Ok(id) => id,
            Err(fault) => {
                self.fault(cpu, m, fault);
                return None;
            }
        };
        let step = before_one(cpu);
        let second = self.store.mark(id, 1);
        let uops = self.store.blocks[id.0 as usize].uops as usize;
        match run_uops(self.store, cpu, m, uops, second.map(|mark| mark.uop.into())) {
            Ended::Flowed(flow) => {
                if flow == Flow::Continue
                    && let Some(mark) = second
                {
                    self.finish_inside(cpu, mark.offset);
                }
                m.now.0 += 1;
                self.instructions += 1;
                after_one(cpu, m, step);
                None
            }
            Ended::Stopped(at) => self.stopped(cpu, m, id, at),
        }
    }

    /// Micro-op `at` of a block stopped: the instructions before its own have been executed.
    #[cold]
    fn stopped(
        &mut self,
        cpu: &mut Cpu,
        m: &mut FunctionalMemory<'_>,
        id: BlockId,
        at: usize,
    ) -> Option<Exit> {
        let (done, mark) = self.store.instruction_of(id, at);
        self.finish_inside(cpu, mark.offset);
        m.now.0 += u64::from(done);
        self.instructions += u64::from(done);
        match m.stop_reason() {
            StopReason::Fault(fault) => {
                let uop = self.store.uops[self.store.blocks[id.0 as usize].uops as usize + at];
                self.fault(cpu, m, adjust_stack_fault(cpu, &uop, fault));
                None
            }
            StopReason::Restart => {
                debug_assert!(!m.solo, "an instruction that is alone needs no restart");
                m.solo = true;
                self.run_one(cpu, m)
            }
            StopReason::Unimplemented => Some(Exit::Unimplemented),
        }
    }

    fn fault(&mut self, cpu: &mut Cpu, m: &mut FunctionalMemory<'_>, fault: Fault) {
        m.solo = true;
        deliver_fault(cpu, m, fault);
    }
}
