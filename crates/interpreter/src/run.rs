//! The loop.

use crate::block_store::{Block, BlockStore};
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
}

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
        loop {
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
        let tag = self.store.tag(m.tlb().epoch(), key);
        loop {
            let left = end.0 - m.now.0;
            if left == 0 {
                return Some(Exit::SliceEnd);
            }
            let id = match m.tlb().fetch_cache.get(cpu.linear_rip(), tag) {
                Some(id) => id,
                None => match self.store.find(cpu, m, tag) {
                    Ok(id) => id,
                    Err(fault) => {
                        self.fault(cpu, m, fault);
                        return None;
                    }
                },
            };
            let block = self.store.blocks[id.0 as usize];
            if u64::from(block.instructions) > left || m.code().has_stale() {
                if block.is_stale() || m.code().has_stale() {
                    self.refresh(cpu, m);
                    return None;
                }
                return self.run_part(cpu, m, &block, left as u32);
            }
            let uops = block.uops as usize;
            match run_uops(self.store, cpu, m, uops, None) {
                Ended::Flowed(flow) => {
                    m.now.0 += u64::from(block.instructions);
                    self.instructions += u64::from(block.instructions);
                    if flow == Flow::Sync {
                        return None;
                    }
                }
                Ended::Stopped(at) => return self.stopped(cpu, m, &block, at),
            }
        }
    }

    /// A block was stale: look it up anew.
    #[cold]
    fn refresh(&mut self, cpu: &mut Cpu, m: &mut FunctionalMemory<'_>) {
        self.store.drop_stale(m.code());
        let address = cpu.linear_rip();
        m.tlb().fetch_cache.invalidate_page(address);
    }

    /// Executes the first `count` instructions of a block that has more.
    #[cold]
    fn run_part(
        &mut self,
        cpu: &mut Cpu,
        m: &mut FunctionalMemory<'_>,
        block: &Block,
        count: u32,
    ) -> Option<Exit> {
        let mark = self
            .store
            .mark(block, count)
            .expect("the block has more instructions");
        let uops = block.uops as usize;
        match run_uops(self.store, cpu, m, uops, Some(mark.uop.into())) {
            Ended::Flowed(flow) => {
                debug_assert_eq!(flow, Flow::Continue);
                self.finish_inside(cpu, mark.offset);
                m.now.0 += u64::from(count);
                self.instructions += u64::from(count);
                None
            }
            Ended::Stopped(at) => self.stopped(cpu, m, block, at),
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
        let tag = self.store.tag(m.tlb().epoch(), key);
        let id: BlockId = match self.store.find(cpu, m, tag) {
            Ok(id) => id,
            Err(fault) => {
                self.fault(cpu, m, fault);
                return None;
            }
        };
        let step = before_one(cpu);
        let block = self.store.blocks[id.0 as usize];
        let second = self.store.mark(&block, 1);
        let uops = block.uops as usize;
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
            Ended::Stopped(at) => self.stopped(cpu, m, &block, at),
        }
    }

    /// Micro-op `at` of a block stopped: the instructions before its own have been executed.
    #[cold]
    fn stopped(
        &mut self,
        cpu: &mut Cpu,
        m: &mut FunctionalMemory<'_>,
        block: &Block,
        at: usize,
    ) -> Option<Exit> {
        let (done, mark) = self.store.instruction_of(block, at);
        self.finish_inside(cpu, mark.offset);
        m.now.0 += u64::from(done);
        self.instructions += u64::from(done);
        match m.stop_reason() {
            StopReason::Fault(fault) => {
                let uop = self.store.uops[block.uops as usize + at];
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
