//! A thread: the state of one logical processor in flight, and the loop that takes its instructions
//! through the pipeline, one after the other in fetch order.
//!
//! Each instruction is fetched ([`crate::fetch`]), renamed and dispatched when the window has room
//! ([`crate::window`]), executed on the speculative state at once, and given the cycles at which
//! it issues ([`crate::issue`]), completes and retires. When execution shows that fetch goes the wrong
//! way, a *squash* is noted for the cycle at which the pipeline finds out; until fetch has come to that
//! cycle it goes on the wrong way, and what it did there is undone. As long as a squash is pending
//! everything that is dispatched is known to be in vain, but only to us.
//!
//! What has effects beyond registers and RAM executes alone, at the head of the window: see
//! [`crate::head`]. How interrupts meet the window is in [`crate::interrupt`].

use crate::block_store::{BlockStore, NoBlock};
use crate::decoded::{
    CARRY, FLAGS, Instruction, KINDS, Kind, PLACES, Timed, Unit, flag, instruction_flag,
};
use crate::event::{Event, InstructionTimes, Probe};
use crate::fetch::{Fetch, UopCache};
use crate::hierarchy::{Hierarchy, Level};
use crate::issue::{Booking, Issue, Pool};
use crate::parameters::Parameters;
use crate::predictor::{History, Path, Predictor};
use crate::speculative_memory::{Lane, SpeculativeMemory};
use crate::statistics::{Stall, StallCounters, ThreadCounters};
use crate::store_queue::UNKNOWN;
use crate::translation::{Side, Translations, Walker};
use crate::undo::{UndoLog, set_ready};
use crate::window::{Point, Record, Window};
use ring3_arch::CpuIndex;
use ring3_bus::Signals;
use ring3_clock::Ticks;
use ring3_cpu::{Cpu, execute};
use ring3_isa::{Note, Op, Reg, Uop};
use ring3_memory::BlockId;

/// What the threads of a core share.
pub(crate) struct Core {
    pub issue: Issue,
    pub predictor: Predictor,
    pub uop_cache: UopCache,
    pub translations: Translations,
    /// Which loads have been found to depend on stores before them, by address of the instruction.
    pub dependent: Vec<u8>,
}

/// What a thread needs besides itself.
pub(crate) struct Parts<'a, P: Probe> {
    pub parameters: &'a Parameters,
    pub units: &'a [Unit; KINDS],
    pub blocks: &'a mut BlockStore,
    pub core: &'a mut Core,
    pub hierarchy: &'a mut Hierarchy,
    pub probe: &'a mut P,
    /// Threads of this core that are not idle.
    pub active: u64,
}

/// How far a thread may go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// Not beyond this cycle.
    pub cycle: u64,
    /// Not more instructions than this, in total.
    pub instructions: u64,
}

/// Why a thread stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paused {
    Limit,
    Idle(Ticks),
    Reschedule,
    Shutdown,
    Unimplemented,
}

/// Fetch turns out to have gone the wrong way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Squash {
    /// The pipeline finds out.
    pub cycle: u64,
    /// From here on everything is undone.
    pub point: Point,
    /// Fetch goes on here.
    pub rip: u64,
    /// What fetch waits for, besides.
    pub penalty: u64,
    /// Number of the first record that is undone.
    pub record: u64,
}

/// Where in the translated code the thread is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    pub block: BlockId,
    pub index: u32,
    pub count: u32,
    pub valid: bool,
    /// Linear address of the block's start.
    linear: u64,
    /// The current instruction has been through fetch already: the cycle at which it is available.
    pub fetched: Option<(u64, u64)>,
}

/// How virtual time relates to what the thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeBase {
    /// A tick is a cycle.
    Cycles,
    /// A tick is an instruction, as in the functional engines.
    Instructions,
}

/// See the module.
pub(crate) struct Thread {
    pub index: CpuIndex,
    pub core: usize,
    /// The cycle of the latest dispatch.
    pub clock: u64,
    /// Instructions executed, without those known to be undone.
    pub executed: u64,
    pub time_base: TimeBase,
    /// Virtual time minus clock (or instructions executed).
    pub time_offset: u64,
    pub cursor: Cursor,
    pub fetch: Fetch,
    pub path: Path,
    pub window: Window,
    pub undo: UndoLog,
    pub ready: [u64; PLACES],
    pub squashes: Vec<Squash>,
    /// The earliest of them.
    pub squash_cycle: u64,
    /// The last store became or becomes visible.
    pub last_drain: u64,
    /// What waits at the pins, as last asked, and from which cycle on that counts.
    pub signals: Signals,
    pub signal_cycle: u64,
    /// The window is empty or settled, and everything that can happen between instructions must be
    /// looked at.
    pub at_boundary: bool,
    /// When that last was so.
    pub boundary_cycle: u64,
    /// Cycles that the interrupt about to be taken costs at its start, if one is.
    pub entry: Option<u64>,
    /// Why rename waits for fetch.
    pub starved: Stall,
    /// How many rename slots have passed, used or not.
    slot_position: u64,
    width: u64,
    pub counters: ThreadCounters,
    pub stalls: StallCounters,
    pub privilege: u8,
    /// The next instruction executes at the head, because in flight it cannot.
    pub force_head: bool,
    /// The micro-op that is being executed has issued already.
    booked: Option<Booking>,
    /// An event for when the next instruction is dispatched.
    pub announce: Option<Event>,
}

/// How an instruction went.
enum Stepped {
    Done,
    /// The window is empty and a boundary must be looked at.
    Boundary,
    Paused(Paused),
}

const DEPENDENT_ENTRIES: usize = 4096;

impl Core {
    pub fn new(p: &Parameters, units: &[Unit; KINDS]) -> Core {
        Core {
            issue: Issue::new(p, units),
            predictor: Predictor::new(p),
            uop_cache: UopCache::new(p),
            translations: Translations::new(p),
            dependent: vec![0; DEPENDENT_ENTRIES],
        }
    }
}

fn dependent_index(pc: u64) -> usize {
    (pc ^ pc >> 12) as usize & (DEPENDENT_ENTRIES - 1)
}

impl Thread {
    pub fn new(index: CpuIndex, core: usize, p: &Parameters) -> Thread {
        Thread {
            index,
            core,
            clock: 0,
            executed: 0,
            time_base: TimeBase::Cycles,
            time_offset: 0,
            cursor: Cursor {
                block: BlockId(u32::MAX),
                index: 0,
                count: 0,
                valid: false,
                linear: 0,
                fetched: None,
            },
            fetch: Fetch::new(p),
            path: Path::new(p),
            window: Window::new(p),
            undo: UndoLog::new(),
            ready: [0; PLACES],
            squashes: Vec::with_capacity(64),
            squash_cycle: UNKNOWN,
            last_drain: 0,
            signals: Signals::default(),
            signal_cycle: UNKNOWN,
            at_boundary: true,
            boundary_cycle: 0,
            entry: None,
            starved: Stall::Fetch,
            slot_position: 0,
            width: p.rename_width,
            counters: ThreadCounters::default(),
            stalls: StallCounters::default(),
            privilege: 0,
            force_head: false,
            announce: None,
            booked: None,
        }
    }

    /// Virtual time at `cycle`.
    pub fn now(&self, cycle: u64) -> Ticks {
        match self.time_base {
            TimeBase::Cycles => Ticks(self.time_offset.wrapping_add(cycle)),
            TimeBase::Instructions => Ticks(self.time_offset.wrapping_add(self.executed)),
        }
    }

    #[inline(always)]
    pub fn on_wrong_path(&self) -> bool {
        !self.squashes.is_empty()
    }

    /// Goes on until something must be decided elsewhere.
    pub fn run<P: Probe>(
        &mut self,
        cpu: &mut Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
        limit: &Limit,
    ) -> Paused {
        let key = m.inner.fetch_key();
        m.inner.tlb().fetch_cache.follow(parts.blocks.generation());
        m.lane.fetch_tags = m.inner.tlb().fetch_tags(key);
        m.lane.pcid = cpu.pcid();
        loop {
            if self.at_boundary {
                if let Some(paused) = self.boundary(cpu, m, parts, limit) {
                    return paused;
                }
                let key = m.inner.fetch_key();
                m.inner.tlb().fetch_cache.follow(parts.blocks.generation());
                m.lane.fetch_tags = m.inner.tlb().fetch_tags(key);
            }
            m.lane.head = false;
            m.inner.solo = false;
            loop {
                if self.clock >= self.signal_cycle && self.is_wanted(cpu) {
                    self.meet_interrupt(cpu, m, parts);
                    break;
                }
                if self.clock >= limit.cycle {
                    return Paused::Limit;
                }
                if self.executed >= limit.instructions && !self.on_wrong_path() {
                    return Paused::Limit;
                }
                match self.step(cpu, m, parts, limit) {
                    Stepped::Done => {}
                    Stepped::Boundary => {
                        self.at_boundary = true;
                        break;
                    }
                    Stepped::Paused(paused) => return paused,
                }
            }
        }
    }

    /// Everything in flight completes, stores become visible, RIP is exact.
    pub fn settle<P: Probe>(
        &mut self,
        cpu: &mut Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
    ) {
        while self.on_wrong_path() {
            self.squash(cpu, m, parts);
        }
        self.leave_block(cpu, parts);
        self.drain_all(m, parts);
        self.window.forget();
        self.clock = self.clock.max(self.window.retired());
        self.at_boundary = true;
    }

    /// RIP moves from the block's start to the current instruction.
    pub fn leave_block<P: Probe>(&mut self, cpu: &mut Cpu, parts: &Parts<'_, P>) {
        if self.cursor.valid {
            let block = &parts.blocks.blocks[self.cursor.block.0 as usize];
            let at = (block.first + self.cursor.index) as usize;
            let offset = parts.blocks.instructions[at].offset;
            move_rip(cpu, offset);
            self.cursor.valid = false;
            self.cursor.fetched = None;
        }
    }

    pub fn enter_block<P: Probe>(&mut self, cpu: &Cpu, parts: &Parts<'_, P>, id: BlockId) {
        self.cursor = Cursor {
            block: id,
            index: 0,
            count: parts.blocks.blocks[id.0 as usize].count,
            valid: true,
            linear: cpu.linear_rip(),
            fetched: None,
        };
    }

    /// Stores whose time has come become visible.
    #[inline]
    pub fn drain(
        &mut self,
        m: &mut SpeculativeMemory<'_, '_>,
        hierarchy: &mut Hierarchy,
        now: u64,
    ) {
        if m.lane.stores.is_empty() {
            return;
        }
        self.own_stores(m, hierarchy, now);
        while !m.lane.stores.is_empty() {
            let head = m.lane.stores.head();
            if m.lane.stores.get(head).drains > now {
                break;
            }
            let store = m.lane.stores.pop();
            m.inner
                .store_in_ram(store.offset, &store.data[..store.size as usize]);
        }
    }

    /// Asks for the lines of stores that have retired by `now`.
    #[inline]
    pub fn own_stores(
        &mut self,
        m: &mut SpeculativeMemory<'_, '_>,
        hierarchy: &mut Hierarchy,
        now: u64,
    ) {
        self.own_stores_of(m.lane, hierarchy, now);
    }

    /// The same, given only the lane.
    pub fn own_stores_of(&mut self, lane: &mut Lane, hierarchy: &mut Hierarchy, now: u64) {
        let stores = &mut lane.stores;
        while stores.to_own < stores.tail() {
            let store = *stores.get(stores.to_own);
            if store.retires > now {
                break;
            }
            let (ready, _) = hierarchy.own(self.core, store.offset, store.retires);
            self.last_drain = (self.last_drain + 1).max(ready).max(store.retires);
            let number = stores.to_own;
            stores.get(number).drains = self.last_drain;
            stores.to_own += 1;
        }
    }

    /// All stores become visible, whenever that is.
    pub fn drain_all<P: Probe>(
        &mut self,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
    ) {
        self.drain(m, parts.hierarchy, UNKNOWN - 1);
        debug_assert!(m.lane.stores.is_empty());
    }

    /// Undoes everything from `point` on, which is where record `record` begins.
    pub fn roll_back<P: Probe>(
        &mut self,
        cpu: &mut Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
        point: &Point,
        record: u64,
        cycle: u64,
    ) -> u64 {
        self.undo.back_to(cpu, &mut self.ready, point.undo);
        m.lane.stores.squash(point.stores);
        let squashed = self
            .window
            .roll_back(point, record, cycle, &mut parts.core.issue);
        parts.core.issue.squashed(cycle);
        self.path.restore(point.history);
        self.counters.slots_squashed += squashed;
        self.counters.wrong_path += self.executed.saturating_sub(point.executed);
        self.executed = point.executed;
        if P::INSTRUCTIONS {
            parts.probe.squash(self.index, cycle, record);
        }
        self.cursor.valid = false;
        self.cursor.fetched = None;
        self.force_head = false;
        squashed
    }

    /// The earliest pending squash happens.
    pub fn squash<P: Probe>(
        &mut self,
        cpu: &mut Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
    ) {
        let Some(squash) = self.squashes.pop() else {
            return;
        };
        self.roll_back(cpu, m, parts, &squash.point, squash.record, squash.cycle);
        cpu.set_rip(squash.rip);
        self.fetch.redirect(squash.cycle + squash.penalty);
        self.clock = squash.cycle;
        self.starved = Stall::Recovery;
        self.find_next_squash(m);
    }

    pub fn find_next_squash(&mut self, m: &mut SpeculativeMemory<'_, '_>) {
        // They are in program order, and a younger one is only noted if it is earlier.
        self.squash_cycle = self.squashes.last().map_or(UNKNOWN, |s| s.cycle);
        m.lane.wrong_path = self.on_wrong_path();
    }

    /// Notes that at `squash.cycle` everything from its point on will be undone.
    fn note_squash(&mut self, m: &mut SpeculativeMemory<'_, '_>, squash: Squash) {
        if squash.cycle < self.squash_cycle {
            self.squash_cycle = squash.cycle;
            self.squashes.push(squash);
            m.lane.wrong_path = true;
        }
    }

    /// Nothing can be fetched until the pending squash.
    fn wait_for_squash(&mut self) -> Stepped {
        debug_assert!(self.on_wrong_path());
        self.fetch.wait(self.squash_cycle);
        Stepped::Done
    }

    /// The state right before the next instruction.
    pub fn point(&self, m: &SpeculativeMemory<'_, '_>) -> Point {
        let mut point = self.window.point();
        point.undo = self.undo.position();
        point.stores = m.lane.stores.tail();
        point.executed = self.executed;
        point.history = self.path.save();
        point
    }

    /// Takes one instruction through.
    fn step<P: Probe>(
        &mut self,
        cpu: &mut Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
        limit: &Limit,
    ) -> Stepped {
        if self.squash_cycle <= self.fetch.cycle {
            self.squash(cpu, m, parts);
            return Stepped::Done;
        }
        self.drain(m, parts.hierarchy, self.clock);
        if m.inner.code().has_stale() {
            self.refresh(cpu, m, parts);
        }
        if !self.cursor.valid {
            match parts.blocks.find(cpu, m) {
                Ok(id) => self.enter_block(cpu, parts, id),
                Err(_) if self.on_wrong_path() => return self.wait_for_squash(),
                Err(NoBlock::StoresFirst) => {
                    let retired = self.window.retired();
                    self.own_stores(m, parts.hierarchy, UNKNOWN - 1);
                    self.fetch.wait(self.last_drain.max(retired));
                    self.drain(m, parts.hierarchy, UNKNOWN - 1);
                    return Stepped::Done;
                }
                Err(NoBlock::AtHead) => {
                    return match self.fetch_at_head(cpu, m, parts, limit) {
                        Some(paused) => Stepped::Paused(paused),
                        None if self.at_boundary => Stepped::Boundary,
                        None => Stepped::Done,
                    };
                }
            }
        }
        let block = &parts.blocks.blocks[self.cursor.block.0 as usize];
        let at = (block.first + self.cursor.index) as usize;
        let instruction = parts.blocks.instructions[at];
        let (fetched, available) = match self.cursor.fetched {
            Some(known) => known,
            None => {
                let known = self.fetch_instruction(m, parts, &instruction);
                self.cursor.fetched = Some(known);
                known
            }
        };
        if self.squash_cycle <= available {
            // It has been fetched, but never gets as far as rename.
            self.squash(cpu, m, parts);
            return Stepped::Done;
        }
        if available >= limit.cycle {
            self.clock = self.clock.max(available);
            return Stepped::Paused(Paused::Limit);
        }
        if instruction.flags & instruction_flag::HEAD != 0 || self.force_head {
            if self.on_wrong_path() {
                return self.wait_for_squash();
            }
            return self.step_at_head(cpu, m, parts, limit, &instruction, available);
        }
        self.cursor.fetched = None;
        self.dispatch(cpu, m, parts, &instruction, fetched, available)
    }

    fn step_at_head<P: Probe>(
        &mut self,
        cpu: &mut Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
        limit: &Limit,
        instruction: &Instruction,
        available: u64,
    ) -> Stepped {
        match self.execute_at_head(cpu, m, parts, limit, instruction, available) {
            Some(paused) => Stepped::Paused(paused),
            None if self.at_boundary => Stepped::Boundary,
            None => Stepped::Done,
        }
    }

    /// Code was overwritten.
    #[cold]
    fn refresh<P: Probe>(
        &mut self,
        cpu: &mut Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
    ) {
        parts.blocks.drop_stale(m.inner.code());
        if self.cursor.valid && parts.blocks.blocks[self.cursor.block.0 as usize].is_stale {
            let linear = self.cursor.linear;
            self.leave_block(cpu, parts);
            m.inner.tlb().forget_code(linear);
        }
    }

    /// Fetch: TLB, micro-op cache, instruction cache, width.
    #[inline]
    fn fetch_instruction<P: Probe>(
        &mut self,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
        instruction: &Instruction,
    ) -> (u64, u64) {
        // The queue before rename is full until its oldest entry is dispatched.
        let room = self.window.queue_room();
        self.fetch.wait(room);
        let place = parts.blocks.place(self.cursor.block);
        let offset = place + u64::from(instruction.offset);
        let lookup = self.fetch.lookup(&mut parts.core.uop_cache, offset);
        if let Some(hit) = lookup.hit {
            if hit {
                self.counters.uop_cache_hits += 1;
            } else {
                self.counters.uop_cache_misses += 1;
            }
            if lookup.page {
                let linear = self.cursor.linear.wrapping_add(instruction.offset.into());
                let mut walker = Walker {
                    ram: m.inner.whole_ram(),
                    paging: m.inner.paging(),
                    hierarchy: parts.hierarchy,
                    core: self.core,
                };
                let translated = parts.core.translations.translate(
                    Side::Code,
                    linear,
                    m.lane.pcid,
                    self.fetch.cycle,
                    &mut walker,
                );
                self.fetch.wait(translated);
            }
            if lookup.line {
                let (ready, level) = parts.hierarchy.fetch(self.core, offset, self.fetch.cycle);
                if level != Level::L1 {
                    self.fetch.wait(ready);
                }
            }
        }
        self.fetch.deliver(
            instruction.slots.into(),
            instruction.length.into(),
            parts.active,
        )
    }

    /// When rename has a slot and the window room for one more micro-op, from `available` on.
    #[inline]
    fn slot<P: Probe>(
        &mut self,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
        timed: &Timed,
        available: u64,
    ) -> u64 {
        let mut at = self.clock;
        let mut why = None;
        let mut wait = |cycle: u64, reason: Stall, at: &mut u64| {
            if cycle > *at {
                *at = cycle;
                why = Some(reason);
            }
        };
        wait(available, self.starved, &mut at);
        wait(
            self.window.reorder_room(parts.active),
            Stall::ReorderBuffer,
            &mut at,
        );
        if timed.flags & flag::LOADS != 0 {
            wait(
                self.window.load_room(parts.active),
                Stall::LoadQueue,
                &mut at,
            );
        }
        if timed.flags & flag::STORES != 0 {
            let size = parts.parameters.store_queue / parts.active;
            let tail = m.lane.stores.tail();
            if tail - m.lane.stores.head() >= size {
                let number = tail - size;
                if number >= m.lane.stores.to_own {
                    let retires = m.lane.stores.get(number).retires;
                    self.own_stores(m, parts.hierarchy, retires);
                }
                wait(m.lane.stores.get(number).drains, Stall::StoreQueue, &mut at);
            }
        }
        if timed.flags & flag::TAKES_INTEGER != 0 {
            wait(self.window.integer_room(), Stall::Registers, &mut at);
        }
        if timed.flags & flag::TAKES_VECTOR != 0 {
            wait(self.window.vector_room(), Stall::Registers, &mut at);
        }
        let pool = pool_of(timed);
        if timed.flags & flag::EXECUTES != 0 {
            if parts.active == 1 {
                parts.core.issue.advance(self.clock);
            }
            wait(parts.core.issue.room(pool, at), Stall::Scheduler, &mut at);
        }
        let at = parts.core.issue.slot(at);
        if at < self.squash_cycle {
            self.account(at, why);
        }
        at
    }

    /// The next slot is used at cycle `at`: those skipped are lost, because of `why`.
    #[inline]
    pub fn account(&mut self, at: u64, why: Option<Stall>) {
        let first = at * self.width;
        if first > self.slot_position {
            let lost = first - self.slot_position;
            self.stalls.0[why.unwrap_or(Stall::Fetch) as usize] += lost;
            self.slot_position = first;
        }
        self.slot_position += 1;
        self.clock = at;
    }

    /// Rename, dispatch, execution and retirement of an instruction in flight.
    #[allow(clippy::too_many_arguments)]
    #[inline]
    fn dispatch<P: Probe>(
        &mut self,
        cpu: &mut Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
        instruction: &Instruction,
        fetched: u64,
        available: u64,
    ) -> Stepped {
        let mut point = self.point(m);
        point.rip = rip_at(cpu, instruction.offset);
        let record = self.window.next_record();
        let wrong_path = self.on_wrong_path();
        let pc = self.cursor.linear.wrapping_add(instruction.offset.into());
        let first_store = m.lane.stores.tail();
        let mut completed = available;
        let mut dispatched = self.clock;
        let mut slots = 0;
        let mut resolved = 0;
        let mut violation = UNKNOWN;
        if instruction.uops == 0 {
            // NOP and its kin take room, and nothing else.
            if instruction.slots > 0 {
                dispatched = self.slot(m, parts, &NOTHING, available);
                if dispatched >= self.squash_cycle {
                    self.squash(cpu, m, parts);
                    return Stepped::Done;
                }
                self.window.enter(dispatched);
                slots = 1;
                completed = dispatched;
            }
        }
        for n in 0..instruction.uops as usize {
            let at = instruction.first as usize + n;
            let uop = parts.blocks.uops[at];
            let timed = parts.blocks.timed[at];
            if timed.flags & flag::SLOT != 0 {
                dispatched = self.slot(m, parts, &timed, available);
                self.starved = Stall::Fetch;
                if dispatched >= self.squash_cycle {
                    self.squash(cpu, m, parts);
                    return Stepped::Done;
                }
                self.window.enter(dispatched);
                slots += 1;
            }
            if timed.flags & flag::TIME != 0 {
                // It reads the time when it issues, which is why that comes first here.
                let unit = &parts.units[timed.kind as usize];
                let booking =
                    parts
                        .core
                        .issue
                        .book(timed.kind, unit, dispatched + 1, Pool::Operations);
                m.inner.now = self.now(booking.cycle);
                self.booked = Some(booking);
            }
            self.undo.before(cpu, &uop, &timed, &self.ready);
            m.lane.access.forward = None;
            let stores_before = m.lane.stores.tail();
            if execute(cpu, m, &uop).is_err() {
                // It has a fault or an effect beyond: again, alone.
                self.booked = None;
                self.roll_back(cpu, m, parts, &point, record, dispatched);
                cpu.set_rip(point.rip);
                if self.on_wrong_path() {
                    return self.wait_for_squash();
                }
                self.force_head = true;
                return Stepped::Done;
            }
            let done = self.schedule(
                m,
                parts,
                &timed,
                pc,
                dispatched,
                stores_before,
                &mut violation,
            );
            completed = completed.max(done);
            resolved = done;
        }
        self.executed += 1;
        let retires = self.window.retire(completed, slots);
        for number in first_store..m.lane.stores.tail() {
            m.lane.stores.get(number).retires = retires;
        }
        self.window.push(Record {
            point,
            dispatched,
            retires,
        });
        if P::INSTRUCTIONS {
            parts.probe.instruction(
                self.index,
                &InstructionTimes {
                    number: record,
                    address: pc,
                    fetched,
                    dispatched,
                    completed,
                    retires,
                },
            );
        }
        if violation < UNKNOWN {
            let squash = Squash {
                cycle: violation,
                point,
                rip: point.rip,
                penalty: parts.parameters.machine_clear,
                record,
            };
            if violation < self.squash_cycle {
                self.counters.order_violations += u64::from(!wrong_path);
            }
            self.note_squash(m, squash);
        }
        if instruction.flags & instruction_flag::MARK != 0 && !wrong_path {
            let begins = instruction.note == Note::RegionBegin;
            parts
                .probe
                .event(self.index, retires, Event::Region(begins));
        }
        if let Some(event) = self.announce.take() {
            parts.probe.event(self.index, dispatched, event);
        }
        self.cursor.index += 1;
        if self.cursor.index == self.cursor.count {
            let uop =
                parts.blocks.uops[(instruction.first + u32::from(instruction.uops)) as usize - 1];
            self.end_block(cpu, m, parts, instruction, &uop, pc, resolved, wrong_path);
        }
        Stepped::Done
    }

    /// The cycles of one micro-op that has just been executed: returns when it completes.
    #[allow(clippy::too_many_arguments)]
    #[inline]
    fn schedule<P: Probe>(
        &mut self,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
        timed: &Timed,
        pc: u64,
        dispatched: u64,
        stores_before: u64,
        violation: &mut u64,
    ) -> u64 {
        let sources: [u64; 6] =
            std::array::from_fn(|n| self.ready[timed.sources[n] as usize & (PLACES - 1)]);
        let r = |n: usize| sources[n];
        if timed.flags & flag::TAKES_INTEGER != 0 {
            self.window.take_integer();
        }
        if timed.flags & flag::TAKES_VECTOR != 0 {
            self.window.take_vector();
        }
        if timed.flags & flag::EXECUTES == 0 {
            let sources = r(0).max(r(1)).max(r(2)).max(r(3)).max(r(4)).max(r(5));
            let at = if timed.flags & flag::INDEPENDENT != 0 {
                dispatched
            } else {
                sources
            };
            // The arithmetic half of a fused pair: its register is a cycle later than its flags count.
            let fused = timed.kind == Kind::Integer
                && timed.flags & flag::FLAGS != 0
                && timed.flags & flag::INDEPENDENT == 0;
            set_ready(&mut self.ready, timed, at + u64::from(fused), at);
            return at.max(dispatched);
        }
        let address_ready = r(0).max(r(1)).max(r(2));
        if timed.flags & flag::LOADS != 0 && timed.kind == Kind::Load {
            let start = address_ready.max(dispatched + 1);
            let booking = parts.core.issue.book(
                Kind::Load,
                &parts.units[Kind::Load as usize],
                start,
                Pool::Loads,
            );
            let issued = booking.cycle;
            self.window.note_booking(booking);
            self.window.take_load();
            let done = self.load(m, parts, pc, issued, violation).max(r(3));
            set_ready(&mut self.ready, timed, done, done);
            return done;
        }
        if timed.flags & flag::STORES != 0 && timed.kind == Kind::Store {
            let start = address_ready.max(dispatched + 1);
            let unit = &parts.units[Kind::Store as usize];
            let booking = parts
                .core
                .issue
                .book(Kind::Store, unit, start, Pool::Stores);
            self.window.note_booking(booking);
            let value_at = r(3).max(r(4)).max(r(5)).max(dispatched + 1);
            let ports = parts.parameters.store_data_ports as u16;
            let data = parts.core.issue.book_port(ports, value_at) + 1;
            let linear = m.lane.access.linear;
            let address = self.translate(m, parts, linear, booking.cycle) + 1;
            for number in stores_before..m.lane.stores.tail() {
                let store = m.lane.stores.get(number);
                store.address_ready = address;
                store.data_ready = data;
            }
            return address.max(data);
        }
        let sources = address_ready.max(r(3)).max(r(4)).max(r(5));
        let unit = &parts.units[timed.kind as usize];
        let booking = match self.booked.take() {
            Some(booking) => booking,
            None => {
                let start = sources.max(dispatched + 1);
                parts
                    .core
                    .issue
                    .book(timed.kind, unit, start, Pool::Operations)
            }
        };
        self.window.note_booking(booking);
        let mut done = booking.cycle + u64::from(unit.latency);
        if timed.flags & (flag::LOADS | flag::STORES) != 0 {
            // Strings and x87: a load before, a store after.
            if timed.flags & flag::LOADS != 0 {
                self.window.take_load();
                done = self.load(m, parts, pc, booking.cycle, violation) + u64::from(unit.latency);
            }
            for number in stores_before..m.lane.stores.tail() {
                let store = m.lane.stores.get(number);
                store.address_ready = booking.cycle + 1;
                store.data_ready = done;
            }
        }
        set_ready(&mut self.ready, timed, done, done);
        done
    }

    #[inline]
    fn translate<P: Probe>(
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

    /// When the value of a load that issued at `issued` is there.
    #[inline]
    fn load<P: Probe>(
        &mut self,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
        pc: u64,
        issued: u64,
        violation: &mut u64,
    ) -> u64 {
        let access = m.lane.access;
        let at = self.translate(m, parts, access.linear, issued);
        if let Some((number, whole)) = access.forward {
            let store = *m.lane.stores.get(number);
            let forwarded = parts.parameters.forward_latency;
            if !whole {
                // In parts: it waits until the store is out of the way.
                self.counters.blocked_loads += 1;
                let visible = if store.drains < UNKNOWN {
                    store.drains
                } else if store.retires < UNKNOWN {
                    store.retires + 2
                } else {
                    store.address_ready.max(store.data_ready) + 4
                };
                return visible.max(at) + parts.parameters.l1d_latency;
            }
            let dependent = &mut parts.core.dependent[dependent_index(pc)];
            if store.address_ready > at && store.address_ready < UNKNOWN {
                if *dependent == 0 {
                    // It goes ahead with what is in the cache, and that is found to be wrong.
                    *dependent = 255;
                    *violation = store.address_ready + 1;
                    let (ready, _) = parts.hierarchy.load(self.core, access.offset, pc, at);
                    return ready;
                }
                *dependent = 255;
            }
            self.counters.forwarded += 1;
            return at.max(store.address_ready).max(store.data_ready) + forwarded;
        }
        let (mut ready, _) = parts.hierarchy.load(self.core, access.offset, pc, at);
        if access.split {
            let next = (access.offset | 63) + 1;
            ready = ready.max(parts.hierarchy.load(self.core, next, pc, at + 1).0);
        }
        ready
    }

    /// The block's last instruction has been executed and RIP is set: what did fetch think?
    #[allow(clippy::too_many_arguments)]
    fn end_block<P: Probe>(
        &mut self,
        cpu: &mut Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
        instruction: &Instruction,
        uop: &Uop,
        pc: u64,
        resolved: u64,
        wrong_path: bool,
    ) {
        let start = self.cursor.linear;
        self.cursor.valid = false;
        let actual = cpu.rip();
        let before = self.path.history;
        let base = actual.wrapping_sub(cpu.linear_rip());
        let next = start
            .wrapping_add(instruction.offset.into())
            .wrapping_add(instruction.length.into());
        let learns = !wrong_path;
        let predicted = match uop.op {
            Op::Branch | Op::BranchZero | Op::BranchNotZero => {
                let fall_through = start.wrapping_add(uop.imm_high() as u64);
                let target = start.wrapping_add(uop.imm_low() as u64);
                let guess = parts.core.predictor.predict(pc, &self.path);
                let taken = cpu.linear_rip() != wrap(cpu, fall_through);
                if learns {
                    parts.core.predictor.learn(&guess, taken);
                }
                if guess.taken {
                    self.known_target(parts, pc, target, learns);
                    self.fetch.branch_taken(parts.active);
                }
                self.path.direction(guess.taken);
                let predicted = if guess.taken { target } else { fall_through };
                if guess.taken != taken {
                    let history = before.with_direction(taken);
                    let wrong = wrap(cpu, predicted).wrapping_add(base);
                    return self
                        .mispredicted(cpu, m, parts, actual, wrong, resolved, history, learns);
                }
                self.counters.branches += u64::from(learns);
                return;
            }
            Op::Jump => {
                let target = cpu.linear_rip();
                self.known_target(parts, pc, target, learns);
                self.fetch.branch_taken(parts.active);
                self.counters.branches += u64::from(learns);
                return;
            }
            Op::CallJump => {
                let target = cpu.linear_rip();
                self.known_target(parts, pc, target, learns);
                self.fetch.branch_taken(parts.active);
                self.path.call(next);
                self.path.target(target);
                self.counters.branches += u64::from(learns);
                return;
            }
            Op::JumpTo | Op::CallTo => {
                let guess = parts.core.predictor.indirect(pc, &self.path);
                if learns {
                    parts
                        .core
                        .predictor
                        .learn_indirect(pc, &before, cpu.linear_rip());
                }
                if uop.op == Op::CallTo {
                    self.path.call(next);
                }
                guess
            }
            Op::ReturnTo => Some(self.path.pop()),
            // Everything else goes on with the next instruction.
            _ => return,
        };
        self.counters.branches += u64::from(learns);
        let after_stack = self.path.history;
        self.path.target(cpu.linear_rip());
        let right = self.path.history;
        match predicted {
            Some(target) if target == cpu.linear_rip() => {
                self.fetch.branch_taken(parts.active);
            }
            Some(target) => {
                self.path.history = after_stack;
                self.path.target(target);
                self.fetch.branch_taken(parts.active);
                let wrong = target.wrapping_add(base);
                self.mispredicted(cpu, m, parts, actual, wrong, resolved, right, learns);
            }
            None => {
                // Fetch has no idea, and waits.
                self.counters.mispredictions += u64::from(learns);
                self.fetch.redirect(resolved + parts.parameters.redirect);
                self.starved = Stall::Recovery;
            }
        }
    }

    /// Fetch follows a direct branch: at once if it knew the target, else when it has been decoded.
    #[inline]
    fn known_target<P: Probe>(
        &mut self,
        parts: &mut Parts<'_, P>,
        pc: u64,
        target: u64,
        learns: bool,
    ) {
        if parts.core.predictor.target(pc) != Some(target) {
            self.counters.decode_redirects += 1;
            self.fetch
                .wait(self.fetch.cycle + parts.parameters.decode_redirect);
            if learns {
                parts.core.predictor.learn_target(pc, target);
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn mispredicted<P: Probe>(
        &mut self,
        cpu: &mut Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
        parts: &mut Parts<'_, P>,
        actual: u64,
        wrong: u64,
        resolved: u64,
        history: History,
        learns: bool,
    ) {
        self.counters.branches += u64::from(learns);
        self.counters.mispredictions += u64::from(learns);
        let mut point = self.point(m);
        point.rip = actual;
        point.history = history;
        self.note_squash(
            m,
            Squash {
                cycle: resolved,
                point,
                rip: actual,
                penalty: parts.parameters.redirect,
                record: self.window.next_record(),
            },
        );
        cpu.set_rip(wrong);
    }
}

/// A micro-op that does nothing.
const NOTHING: Timed = Timed {
    sources: [Reg::Zero as u8; 6],
    dst: Reg::Zero as u8,
    kind: Kind::Integer,
    flags: flag::SLOT,
    undo: 0,
};

fn pool_of(timed: &Timed) -> Pool {
    match timed.kind {
        Kind::Load => Pool::Loads,
        Kind::Store => Pool::Stores,
        _ => Pool::Operations,
    }
}

/// A linear address as it wraps in the current mode.
fn wrap(cpu: &Cpu, linear: u64) -> u64 {
    if cpu.is_long_code() {
        linear
    } else {
        linear & 0xffff_ffff
    }
}

fn rip_at(cpu: &Cpu, offset: u16) -> u64 {
    let rip = cpu.rip().wrapping_add(offset.into());
    if cpu.is_long_code() {
        rip
    } else {
        rip & 0xffff_ffff
    }
}

pub(crate) fn move_rip(cpu: &mut Cpu, offset: u16) {
    let rip = rip_at(cpu, offset);
    cpu.set_rip(rip);
}

const _: () = assert!(CARRY < FLAGS);
