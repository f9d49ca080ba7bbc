//! The engines that sequences are executed by.
//!
//! A new engine is an implementation of [`Engine`] and a line in [`ENGINES`].

use ring3_bus::Platform;
use ring3_clock::Ticks;
use ring3_cpu::{Cpu, FunctionalMemory};
use ring3_interpreter::{BlockStore, Exit};
use ring3_memory::{CodeMap, Ram, Tlb};

/// One processor and what belongs to it.
pub struct Parts<'a> {
    /// The processor.
    pub cpu: &'a mut Cpu,
    /// Its translations.
    pub tlb: &'a mut Tlb,
    /// Memory.
    pub ram: &'a mut Ram,
    /// What is translated in it.
    pub code: &'a mut CodeMap,
    /// What is outside: nothing.
    pub platform: &'a mut dyn Platform,
    /// The processor's time.
    pub now: &'a mut Ticks,
}

/// Why an engine stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The processor halted: an exception handler was entered.
    Halted,
    /// The limit was reached.
    Limit,
    /// The next instruction is advertised and not written.
    Unimplemented,
    /// The processor shut down.
    Shutdown,
}

/// Something that executes instructions.
pub trait Engine {
    /// Its name on command lines.
    fn name(&self) -> &'static str;

    /// Executes at most `limit` instructions; also says how many it executed.
    fn run(&mut self, parts: Parts<'_>, limit: u64) -> (Stopped, u64);

    /// All code may have changed.
    fn forget(&mut self, code: &mut CodeMap);
}

/// Makes an engine.
type Make = fn() -> Box<dyn Engine>;

/// Every engine that exists, by name.
pub const ENGINES: &[(&str, Make)] = &[("interpreter", || Box::new(Interpreter::default()))];

/// The reference engine.
#[derive(Default)]
struct Interpreter {
    store: BlockStore,
}

impl Engine for Interpreter {
    fn name(&self) -> &'static str {
        "interpreter"
    }

    fn run(&mut self, parts: Parts<'_>, limit: u64) -> (Stopped, u64) {
        let Parts {
            cpu,
            tlb,
            ram,
            code,
            platform,
            now,
        } = parts;
        let mut end = Ticks(now.0 + limit);
        let mut instructions = 0;
        let mut memory = FunctionalMemory::new(cpu, tlb, ram, code, platform, *now);
        let exit = loop {
            let outcome = ring3_interpreter::run(&mut self.store, cpu, &mut memory, end);
            instructions += outcome.instructions;
            match outcome.exit {
                // PAUSE and waits with a time limit: time passes without instructions.
                Exit::Idle(until) if until != Ticks::NEVER => {
                    end.0 += until.0 - memory.now.0;
                    memory.now = until;
                }
                Exit::Breath => {}
                exit => break exit,
            }
        };
        *now = memory.now;
        let stopped = match exit {
            Exit::Idle(_) => Stopped::Halted,
            Exit::SliceEnd | Exit::Reschedule | Exit::Breath => Stopped::Limit,
            Exit::Unimplemented => Stopped::Unimplemented,
            Exit::Shutdown => Stopped::Shutdown,
        };
        (stopped, instructions)
    }

    fn forget(&mut self, code: &mut CodeMap) {
        self.store.clear(code);
    }
}
