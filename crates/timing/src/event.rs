//! What the engine tells a probe. Probes are chosen when the engine is compiled: what nobody watches
//! costs nothing.

use ring3_arch::CpuIndex;
use ring3_uintr::Step;

/// The steps of a conventional interrupt, in the order in which they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum InterruptStep {
    /// A device, a timer or another processor asked for it, and the request reached this processor.
    Raised,
    /// The processor turned to it: what was in flight has been flushed, or has drained.
    Recognised,
    /// The gate, the segment and the stack were read, the frame was pushed.
    Delivered,
    /// The handler's first instruction was fetched.
    HandlerEntered,
    /// IRET returned to the interrupted code.
    Returned,
}

/// Something that happened, at a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A step of a user interrupt.
    User(Step),
    /// A step of a conventional interrupt.
    Conventional(InterruptStep),
    /// An interrupt squashed so many micro-ops.
    Squashed(u32),
    /// The processor changed its privilege level.
    Privilege(u8),
    /// A mark of a region of interest retired: begin (`true`) or end.
    Region(bool),
    /// The processor sleeps, or (`false`) wakes.
    Idle(bool),
}

/// An instruction on its way through the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstructionTimes {
    /// Its number in fetch order.
    pub number: u64,
    /// Linear address.
    pub address: u64,
    /// Fetched at.
    pub fetched: u64,
    /// Renamed and dispatched at.
    pub dispatched: u64,
    /// Completed at.
    pub completed: u64,
    /// Retires at, unless it is squashed before.
    pub retires: u64,
}

/// Watches an engine.
pub trait Probe {
    /// Whether [`Probe::instruction`] is called.
    const INSTRUCTIONS: bool = false;

    /// Something happened.
    fn event(&mut self, _cpu: CpuIndex, _cycle: u64, _event: Event) {}

    /// An instruction was dispatched.
    fn instruction(&mut self, _cpu: CpuIndex, _times: &InstructionTimes) {}

    /// The instructions from number `first` on were squashed at `cycle`.
    fn squash(&mut self, _cpu: CpuIndex, _cycle: u64, _first: u64) {}
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProbe;

impl Probe for NoProbe {}

/// Keeps the events of which there are few.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    /// Who, when, what.
    pub events: Vec<(CpuIndex, u64, Event)>,
    /// Whether it listens.
    pub is_on: bool,
}

impl Probe for Recorder {
    fn event(&mut self, cpu: CpuIndex, cycle: u64, event: Event) {
        if self.is_on {
            self.events.push((cpu, cycle, event));
        }
    }
}
