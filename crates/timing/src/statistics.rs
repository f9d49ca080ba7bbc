//! What is counted, each with a name, a unit and a sentence. Nothing here influences behaviour.

/// One line of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistic {
    /// Hierarchical name, parts separated by dots.
    pub name: String,
    /// The value.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What it means, in a sentence.
    pub sentence: &'static str,
}

macro_rules! counters {
    ($(#[$doc:meta])* $name:ident, $group:literal { $($field:ident: $unit:literal, $sentence:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $(#[doc = $sentence] pub $field: u64,)*
        }

        impl $name {
            /// Appends every counter, its name below `prefix`.
            pub fn list(&self, prefix: &str, into: &mut Vec<Statistic>) {
                $(into.push(Statistic {
                    name: format!("{prefix}{}.{}", $group, stringify!($field)),
                    value: self.$field as f64,
                    unit: $unit,
                    sentence: $sentence,
                });)*
            }

            /// Both together.
            pub fn plus(&self, more: &$name) -> $name {
                $name { $($field: self.$field.wrapping_add(more.$field),)* }
            }

            /// What was counted since `earlier`.
            pub fn since(&self, earlier: &$name) -> $name {
                $name { $($field: self.$field.wrapping_sub(earlier.$field),)* }
            }
        }
    };
}

counters! {
    /// A core's traffic with its caches.
    MemoryCounters, "cache" {
        loads: "accesses", "Loads that looked into the first-level data cache, those of page walks included.";
        stores: "accesses", "Stores that asked for ownership of their line.";
        fetches: "accesses", "Lines of code asked for by the legacy decoders.";
        l1d_misses: "misses", "Loads and stores that missed the first-level data cache.";
        l1d_late: "accesses", "Loads that found their line still on its way.";
        l1i_misses: "misses", "Fetches that missed the first-level instruction cache.";
        l2_misses: "misses", "Accesses that missed the second-level cache.";
        l3_misses: "misses", "Accesses that went to memory.";
        upgrades: "accesses", "Stores to a line that other cores had, too.";
        transfers: "lines", "Lines that came from another core.";
        invalidated: "lines", "Lines that another core took away.";
        write_backs: "lines", "Modified lines that the second level gave back.";
        prefetches: "lines", "Lines that a prefetcher asked for.";
        prefetches_used: "lines", "Prefetched lines that were then used.";
    }
}

/// Misses of TLBs, code first, then data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlbCounters {
    /// First-level misses.
    pub first_misses: [u64; 2],
    /// Page walks.
    pub walks: [u64; 2],
    /// Cycles that page walks took, together.
    pub walk_cycles: u64,
}

impl TlbCounters {
    /// Both together.
    pub fn plus(&self, more: &TlbCounters) -> TlbCounters {
        let add = |a: [u64; 2], b: [u64; 2]| [a[0] + b[0], a[1] + b[1]];
        TlbCounters {
            first_misses: add(self.first_misses, more.first_misses),
            walks: add(self.walks, more.walks),
            walk_cycles: self.walk_cycles + more.walk_cycles,
        }
    }

    /// Appends every counter.
    pub fn list(&self, prefix: &str, into: &mut Vec<Statistic>) {
        let mut add = |name: &str, value: u64, unit, sentence| {
            into.push(Statistic {
                name: format!("{prefix}tlb.{name}"),
                value: value as f64,
                unit,
                sentence,
            });
        };
        add(
            "code.misses",
            self.first_misses[0],
            "misses",
            "First-level TLB misses of instruction fetch.",
        );
        add(
            "data.misses",
            self.first_misses[1],
            "misses",
            "First-level TLB misses of loads and stores.",
        );
        add(
            "code.walks",
            self.walks[0],
            "walks",
            "Page walks for instruction fetch.",
        );
        add(
            "data.walks",
            self.walks[1],
            "walks",
            "Page walks for loads and stores.",
        );
        add(
            "walk_cycles",
            self.walk_cycles,
            "cycles",
            "Cycles that page walks took, together.",
        );
    }

    /// What was counted since `earlier`.
    pub fn since(&self, earlier: &TlbCounters) -> TlbCounters {
        let minus = |a: [u64; 2], b: [u64; 2]| [a[0] - b[0], a[1] - b[1]];
        TlbCounters {
            first_misses: minus(self.first_misses, earlier.first_misses),
            walks: minus(self.walks, earlier.walks),
            walk_cycles: self.walk_cycles - earlier.walk_cycles,
        }
    }
}

/// Why a rename slot stayed empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Stall {
    /// Fetch had nothing: cache misses, decode, taken branches.
    Fetch,
    /// Fetch was starting over after a squash.
    Recovery,
    /// The reorder buffer was full.
    ReorderBuffer,
    /// A scheduler was full.
    Scheduler,
    /// The load queue was full.
    LoadQueue,
    /// The store queue was full.
    StoreQueue,
    /// No physical register was free.
    Registers,
    /// An instruction waited until it was the oldest, or for such a one to end.
    Serialise,
    /// The processor was waiting for an event.
    Idle,
}

/// How many reasons there are.
pub const STALLS: usize = Stall::Idle as usize + 1;

const STALL_NAMES: [(&str, &str); STALLS] = [
    (
        "fetch",
        "Rename slots left empty because fetch and decode delivered nothing.",
    ),
    (
        "recovery",
        "Rename slots left empty while fetch started over after a squash.",
    ),
    (
        "reorder_buffer",
        "Rename slots left empty because the reorder buffer was full.",
    ),
    (
        "scheduler",
        "Rename slots left empty because a scheduler was full.",
    ),
    (
        "load_queue",
        "Rename slots left empty because the load queue was full.",
    ),
    (
        "store_queue",
        "Rename slots left empty because the store queue was full.",
    ),
    (
        "registers",
        "Rename slots left empty because no physical register was free.",
    ),
    (
        "serialise",
        "Rename slots left empty around instructions that execute alone.",
    ),
    (
        "idle",
        "Rename slots left empty while the processor waited for an event.",
    ),
];

counters! {
    /// What a thread did.
    ThreadCounters, "core" {
        instructions: "instructions", "Instructions retired.";
        slots_retired: "slots", "Rename slots whose micro-op retired.";
        slots_squashed: "slots", "Rename slots whose micro-op was squashed.";
        branches: "branches", "Branches retired.";
        mispredictions: "branches", "Branches that went elsewhere than predicted.";
        decode_redirects: "branches", "Taken branches that only the decoders found.";
        forwarded: "loads", "Loads that got their value from the store queue.";
        blocked_loads: "loads", "Loads that had to wait until a store that overlaps them was visible.";
        order_violations: "loads", "Loads that were repeated because an earlier store turned out to concern them.";
        head: "instructions", "Instructions that executed alone at the head of the window.";
        locked: "instructions", "Locked instructions.";
        uop_cache_hits: "lookups", "Pieces of code found in the micro-op cache.";
        uop_cache_misses: "lookups", "Pieces of code that had to be decoded.";
        interrupts: "interrupts", "Interrupts, of any kind, that met the window.";
        interrupt_squashed: "slots", "Rename slots that interrupts squashed.";
        interrupt_wait: "cycles", "Cycles that interrupts waited for the window to drain.";
        reinjected: "interrupts", "Tracked interrupts that a squash of older work took along, and that were injected again.";
        faults: "faults", "Faults delivered.";
        wrong_path: "instructions", "Instructions executed on paths that were then squashed.";
    }
}

/// Slots lost, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StallCounters(pub [u64; STALLS]);

impl StallCounters {
    /// Both together.
    pub fn plus(&self, more: &StallCounters) -> StallCounters {
        StallCounters(std::array::from_fn(|n| self.0[n] + more.0[n]))
    }

    /// Appends every counter.
    pub fn list(&self, prefix: &str, into: &mut Vec<Statistic>) {
        for (n, (name, sentence)) in STALL_NAMES.iter().enumerate() {
            into.push(Statistic {
                name: format!("{prefix}stall.{name}"),
                value: self.0[n] as f64,
                unit: "slots",
                sentence,
            });
        }
    }

    /// What was counted since `earlier`.
    pub fn since(&self, earlier: &StallCounters) -> StallCounters {
        StallCounters(std::array::from_fn(|n| {
            self.0[n].wrapping_sub(earlier.0[n])
        }))
    }
}

/// Everything counted about one logical processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Cycles since the engine started.
    pub cycles: u64,
    /// The thread.
    pub thread: ThreadCounters,
    /// Slots lost.
    pub stalls: StallCounters,
    /// Its core's caches.
    pub memory: MemoryCounters,
    /// Its core's TLBs.
    pub tlb: TlbCounters,
    /// Rename slots per cycle, to compute fractions.
    pub width: u64,
}

impl Counters {
    /// Both together.
    pub fn plus(&self, more: &Counters) -> Counters {
        Counters {
            cycles: self.cycles + more.cycles,
            thread: self.thread.plus(&more.thread),
            stalls: self.stalls.plus(&more.stalls),
            memory: self.memory.plus(&more.memory),
            tlb: self.tlb.plus(&more.tlb),
            width: self.width,
        }
    }

    /// What was counted since `earlier`.
    pub fn since(&self, earlier: &Counters) -> Counters {
        Counters {
            cycles: self.cycles - earlier.cycles,
            thread: self.thread.since(&earlier.thread),
            stalls: self.stalls.since(&earlier.stalls),
            memory: self.memory.since(&earlier.memory),
            tlb: self.tlb.since(&earlier.tlb),
            width: self.width,
        }
    }

    /// The report: counters, rates, and the top-down breakdown of rename slots. Names begin with
    /// `prefix`.
    pub fn list(&self, prefix: &str) -> Vec<Statistic> {
        let mut all = Vec::new();
        let mut add = |name: &str, value: f64, unit, sentence| {
            all.push(Statistic {
                name: format!("{prefix}{name}"),
                value,
                unit,
                sentence,
            });
        };
        let idle = self.stalls.0[Stall::Idle as usize] as f64;
        let slots = ((self.cycles * self.width) as f64 - idle).max(1.0);
        let stall = |which: Stall| self.stalls.0[which as usize] as f64;
        let per = |a: u64, b: u64| if b == 0 { 0.0 } else { a as f64 / b as f64 };
        let busy = (self.cycles as f64 - idle / self.width.max(1) as f64).max(0.0);
        let ipc = if busy > 0.0 {
            self.thread.instructions as f64 / busy
        } else {
            0.0
        };
        add(
            "cycles",
            self.cycles as f64,
            "cycles",
            "Cycles that passed.",
        );
        add(
            "ipc",
            ipc,
            "instructions/cycle",
            "Instructions retired per cycle in which the processor was not waiting.",
        );
        add(
            "mispredicted",
            100.0 * per(self.thread.mispredictions, self.thread.branches),
            "%",
            "Branches that were mispredicted.",
        );
        let kilo = |n: u64| 1000.0 * per(n, self.thread.instructions);
        add(
            "l1d_mpki",
            kilo(self.memory.l1d_misses),
            "misses/1000 instructions",
            "First-level data cache misses per thousand instructions.",
        );
        add(
            "l2_mpki",
            kilo(self.memory.l2_misses),
            "misses/1000 instructions",
            "Second-level cache misses per thousand instructions.",
        );
        add(
            "topdown.retiring",
            100.0 * self.thread.slots_retired as f64 / slots,
            "%",
            "Rename slots that did useful work.",
        );
        add(
            "topdown.bad_speculation",
            100.0 * (self.thread.slots_squashed as f64 + stall(Stall::Recovery)) / slots,
            "%",
            "Rename slots that were squashed, or lost in starting over.",
        );
        add(
            "topdown.frontend_bound",
            100.0 * stall(Stall::Fetch) / slots,
            "%",
            "Rename slots that fetch and decode left empty.",
        );
        let backend = [
            Stall::ReorderBuffer,
            Stall::Scheduler,
            Stall::LoadQueue,
            Stall::StoreQueue,
            Stall::Registers,
            Stall::Serialise,
        ];
        let backend: f64 = backend.into_iter().map(stall).sum();
        add(
            "topdown.backend_bound",
            100.0 * backend / slots,
            "%",
            "Rename slots left empty because the window had no room, or drained.",
        );
        self.thread.list(prefix, &mut all);
        self.stalls.list(prefix, &mut all);
        self.memory.list(prefix, &mut all);
        self.tlb.list(prefix, &mut all);
        all
    }
}
