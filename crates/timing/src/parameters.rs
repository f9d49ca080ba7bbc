//! The numbers that make a core: one table, read by the engine, by the parser of machine
//! descriptions, and by whoever lists or compares machines.

/// What kind of value a parameter has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A whole number.
    Number,
    /// `true` or `false`.
    Switch,
    /// A list of port numbers, kept as a bit mask.
    Ports,
    /// One of these words, kept as its position.
    Choice(&'static [&'static str]),
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Section and key in a machine description, with a dot between.
    pub path: &'static str,
    /// What kind of value.
    pub form: Form,
    /// Its unit, as a description must state it; empty for switches, ports and choices.
    pub unit: &'static str,
    /// What it is, in a sentence.
    pub sentence: &'static str,
}

/// How an interrupt meets what is in flight.
pub const POLICIES: &[&str] = &["flush", "drain", "tracked"];

macro_rules! parameters {
    ($($section:literal { $($key:literal $field:ident: $form:expr, $unit:literal, $sentence:literal;)* })*) => {
        /// Every number of a core and its memory.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Parameters {
            $($(#[doc = $sentence] pub $field: u64,)*)*
        }

        /// The table.
        pub const SPECS: &[Spec] = &[$($(Spec {
            path: concat!($section, ".", $key),
            form: $form,
            unit: $unit,
            sentence: $sentence,
        },)*)*];

        impl Parameters {
            /// From values in the order of [`SPECS`].
            ///
            /// # Panics
            /// If there are fewer.
            pub fn from_values(values: &[u64]) -> Parameters {
                let mut next = values.iter();
                let mut take = || *next.next().expect("one value for each row");
                Parameters { $($($field: take(),)*)* }
            }

            /// In the order of [`SPECS`].
            pub fn values(&self) -> Vec<u64> {
                vec![$($(self.$field,)*)*]
            }
        }
    };
}

use Form::{Choice, Number, Ports, Switch};

parameters! {
    "machine" {
        "clock" clock_mhz: Number, "MHz", "Frequency of the core and of the time-stamp counter.";
        "threads" threads: Number, "threads", "Logical processors that share a core.";
    }
    "fetch" {
        "line_bytes" fetch_bytes: Number, "bytes", "Bytes of code that the legacy decoders take per cycle.";
        "decode_width" decode_width: Number, "instructions", "Instructions that the legacy decoders decode per cycle.";
        "uop_cache_uops" uop_cache_uops: Number, "micro-ops", "Capacity of the micro-op cache; 0 for none.";
        "uop_cache_ways" uop_cache_ways: Number, "ways", "Associativity of the micro-op cache.";
        "uop_cache_width" uop_cache_width: Number, "micro-ops", "Micro-ops that the micro-op cache delivers per cycle.";
        "queue" queue: Number, "micro-ops", "Entries of the queue between decode and rename.";
        "depth" front_depth: Number, "cycles", "From fetch out of the micro-op cache to rename.";
        "legacy_depth" legacy_depth: Number, "cycles", "What the legacy decoders add to that.";
        "redirect" redirect: Number, "cycles", "From a branch's resolution to fetch at its target.";
        "decode_redirect" decode_redirect: Number, "cycles", "Bubble when the decoders find a taken branch that the branch target buffer did not know.";
        "taken_branches" taken_branches: Number, "branches", "Taken branches that fetch can follow per cycle.";
    }
    "predictor" {
        "base_entries" base_entries: Number, "entries", "Two-bit counters of the base predictor.";
        "tagged_entries" tagged_entries: Number, "entries", "Entries of each of the five tagged tables.";
        "target_entries" target_entries: Number, "entries", "Entries of the branch target buffer.";
        "target_ways" target_ways: Number, "ways", "Its associativity.";
        "indirect_entries" indirect_entries: Number, "entries", "Entries of the history-indexed predictor of indirect targets.";
        "return_stack" return_stack: Number, "entries", "Depth of the return stack.";
    }
    "rename" {
        "width" rename_width: Number, "micro-ops", "Fused micro-ops renamed and dispatched per cycle.";
        "move_elimination" move_elimination: Switch, "", "Register moves execute at rename.";
        "macro_fusion" macro_fusion: Switch, "", "A comparison and the conditional branch after it are one micro-op.";
        "micro_fusion" micro_fusion: Switch, "", "A load or store and the operation of the same instruction share a slot.";
        "stack_engine" stack_engine: Switch, "", "Stack-pointer updates of pushes, pops, calls and returns execute at rename.";
        "integer_registers" integer_registers: Number, "registers", "Physical integer registers.";
        "vector_registers" vector_registers: Number, "registers", "Physical vector registers.";
    }
    "window" {
        "reorder_buffer" reorder_buffer: Number, "micro-ops", "Entries of the reorder buffer.";
        "scheduler" scheduler: Number, "micro-ops", "Entries of the scheduler for operations, and for loads and stores where those have none of their own.";
        "load_scheduler" load_scheduler: Number, "micro-ops", "Entries of the scheduler for loads; 0: they share the first.";
        "store_scheduler" store_scheduler: Number, "micro-ops", "Entries of the scheduler for stores; 0: they share the first.";
        "load_queue" load_queue: Number, "loads", "Entries of the load queue.";
        "store_queue" store_queue: Number, "stores", "Entries of the store queue.";
        "retire_width" retire_width: Number, "micro-ops", "Micro-ops retired per cycle.";
        "squash_width" squash_width: Number, "micro-ops", "Micro-ops undone per cycle when an interrupt flushes the window; 0: all at once.";
        "machine_clear" machine_clear: Number, "cycles", "From a memory-order violation to fetch of the load that is repeated.";
        "in_order" in_order: Switch, "", "Micro-ops issue in program order.";
    }
    "execute" {
        "integer_ports" integer_ports: Ports, "", "Ports for single-cycle integer operations.";
        "integer_latency" integer_latency: Number, "cycles", "Their latency.";
        "shift_ports" shift_ports: Ports, "", "Ports for shifts and rotates.";
        "shift_latency" shift_latency: Number, "cycles", "Their latency.";
        "address_ports" address_ports: Ports, "", "Ports for LEA.";
        "address_latency" address_latency: Number, "cycles", "Its latency.";
        "multiply_ports" multiply_ports: Ports, "", "Ports for integer multiplication, population count, CRC.";
        "multiply_latency" multiply_latency: Number, "cycles", "Their latency.";
        "divide_ports" divide_ports: Ports, "", "Ports of the integer divider.";
        "divide_latency" divide_latency: Number, "cycles", "Latency of division up to 32 bits.";
        "divide_busy" divide_busy: Number, "cycles", "Cycles for which such a division holds the divider.";
        "divide64_latency" divide64_latency: Number, "cycles", "Latency of 64-bit division.";
        "divide64_busy" divide64_busy: Number, "cycles", "Cycles for which it holds the divider.";
        "branch_ports" branch_ports: Ports, "", "Ports for branches.";
        "branch_latency" branch_latency: Number, "cycles", "From issue of a branch to its resolution.";
        "load_ports" load_ports: Ports, "", "Ports for loads.";
        "store_address_ports" store_address_ports: Ports, "", "Ports for store addresses.";
        "store_data_ports" store_data_ports: Ports, "", "Ports for store data.";
        "vector_ports" vector_ports: Ports, "", "Ports for vector logic and integer arithmetic.";
        "vector_latency" vector_latency: Number, "cycles", "Their latency.";
        "shuffle_ports" shuffle_ports: Ports, "", "Ports for shuffles.";
        "shuffle_latency" shuffle_latency: Number, "cycles", "Their latency.";
        "vector_multiply_ports" vector_multiply_ports: Ports, "", "Ports for vector integer multiplication and shifts.";
        "vector_multiply_latency" vector_multiply_latency: Number, "cycles", "Latency of vector integer multiplication.";
        "float_add_ports" float_add_ports: Ports, "", "Ports for floating-point addition and comparison.";
        "float_add_latency" float_add_latency: Number, "cycles", "Their latency.";
        "float_multiply_ports" float_multiply_ports: Ports, "", "Ports for floating-point multiplication and conversion.";
        "float_multiply_latency" float_multiply_latency: Number, "cycles", "Their latency.";
        "float_divide_ports" float_divide_ports: Ports, "", "Port of the floating-point divider.";
        "float_divide_latency" float_divide_latency: Number, "cycles", "Latency of single-precision division and square root.";
        "float_divide_busy" float_divide_busy: Number, "cycles", "Cycles for which they hold the divider.";
        "float_divide64_latency" float_divide64_latency: Number, "cycles", "Latency of double-precision division and square root.";
        "float_divide64_busy" float_divide64_busy: Number, "cycles", "Cycles for which they hold the divider.";
        "transfer_ports" transfer_ports: Ports, "", "Ports for moves between general and vector registers.";
        "transfer_latency" transfer_latency: Number, "cycles", "Their latency.";
        "x87_ports" x87_ports: Ports, "", "Ports for x87 operations.";
        "x87_latency" x87_latency: Number, "cycles", "Their latency.";
    }
    "l1i" {
        "size" l1i_bytes: Number, "bytes", "Size of the first-level instruction cache.";
        "ways" l1i_ways: Number, "ways", "Its associativity.";
    }
    "l1d" {
        "size" l1d_bytes: Number, "bytes", "Size of the first-level data cache.";
        "ways" l1d_ways: Number, "ways", "Its associativity.";
        "latency" l1d_latency: Number, "cycles", "From issue of a load that hits to its value.";
        "misses" l1d_misses: Number, "misses", "Misses outstanding at once.";
        "prefetch_entries" stride_entries: Number, "entries", "Entries of the stride prefetcher; 0 for none.";
        "forward_latency" forward_latency: Number, "cycles", "From issue of a load to its value when a store is forwarded to it.";
    }
    "l2" {
        "size" l2_bytes: Number, "bytes", "Size of the second-level cache.";
        "ways" l2_ways: Number, "ways", "Its associativity.";
        "latency" l2_latency: Number, "cycles", "From issue of a load to its value out of this cache.";
        "misses" l2_misses: Number, "misses", "Misses outstanding at once.";
        "prefetch_lines" l2_prefetch_lines: Number, "lines", "How far the next-line prefetcher runs ahead; 0 for none.";
    }
    "l3" {
        "size" l3_bytes: Number, "bytes", "Size of the shared cache; 0 for none.";
        "ways" l3_ways: Number, "ways", "Its associativity.";
        "latency" l3_latency: Number, "cycles", "From issue of a load to its value out of this cache.";
        "transfer" transfer: Number, "cycles", "From issue of a load to its value out of another core's cache, modified there.";
        "upgrade" upgrade: Number, "cycles", "From a store to a shared line to ownership of it.";
    }
    "dram" {
        "latency" dram_latency: Number, "cycles", "From issue of a load to its value out of idle memory.";
        "channels" dram_channels: Number, "channels", "Memory channels.";
        "line_cycles" dram_line_cycles: Number, "cycles", "Cycles for which one line occupies its channel.";
    }
    "tlb" {
        "instruction_entries" itlb_entries: Number, "entries", "First-level instruction TLB.";
        "instruction_ways" itlb_ways: Number, "ways", "Its associativity.";
        "data_entries" dtlb_entries: Number, "entries", "First-level data TLB.";
        "data_ways" dtlb_ways: Number, "ways", "Its associativity.";
        "large_entries" large_tlb_entries: Number, "entries", "First-level entries for large pages, of either kind.";
        "second_entries" stlb_entries: Number, "entries", "Second-level TLB.";
        "second_ways" stlb_ways: Number, "ways", "Its associativity.";
        "second_latency" stlb_latency: Number, "cycles", "What a first-level miss costs that hits the second level.";
        "walk" walk_overhead: Number, "cycles", "What a page walk costs besides its accesses.";
        "directory_entries" directory_entries: Number, "entries", "Cached entries of upper paging structures.";
    }
    "routine" {
        "syscall" cost_syscall: Number, "cycles", "SYSCALL, besides its serialisation.";
        "sysret" cost_sysret: Number, "cycles", "SYSRET, besides its serialisation.";
        "iret" cost_iret: Number, "cycles", "IRET, besides its accesses.";
        "swapgs" cost_swapgs: Number, "cycles", "SWAPGS.";
        "cpuid" cost_cpuid: Number, "cycles", "CPUID.";
        "read_msr" cost_rdmsr: Number, "cycles", "RDMSR.";
        "write_msr" cost_wrmsr: Number, "cycles", "WRMSR.";
        "apic_write" cost_apic_write: Number, "cycles", "WRMSR to the interrupt command or end-of-interrupt register, in place of the above.";
        "control_register" cost_control: Number, "cycles", "MOV to a control register.";
        "invalidate" cost_invalidate: Number, "cycles", "INVLPG and INVPCID.";
        "descriptor" cost_segment: Number, "cycles", "Loading a segment register, descriptor-table register or far transfer.";
        "interrupt_flag" cost_flag: Number, "cycles", "STI, POPF, STAC, CLAC.";
        "port" cost_port: Number, "cycles", "IN and OUT, and accesses to devices in memory.";
        "save" cost_save: Number, "cycles", "XSAVE and XRSTOR families, besides their accesses.";
        "timestamp" cost_timestamp: Number, "cycles", "RDTSC.";
        "string" cost_string: Number, "cycles", "Start of a repeated string instruction.";
        "string_bytes" string_bytes: Number, "bytes", "Bytes that a repeated string instruction moves per cycle.";
        "locked" cost_locked: Number, "cycles", "A locked operation, besides the drain of the store queue and the line.";
        "other" cost_other: Number, "cycles", "Any other system routine.";
        "exception" cost_exception: Number, "cycles", "Entry to microcode for a fault or a software interrupt.";
        "deliver" cost_deliver: Number, "cycles", "Delivery through the IDT, besides its accesses.";
    }
    "uintr" {
        "policy" policy: Choice(POLICIES), "", "How an interrupt meets the window.";
        "entry" interrupt_entry: Number, "cycles", "From recognition of an interrupt, the window flushed or drained, to its first microcode step.";
        "tracked_entry" tracked_entry: Number, "cycles", "The same when it is injected at the fetch point.";
        "interconnect" interconnect: Number, "cycles", "From the write of an interrupt command to the receiver's recognition.";
        "timer" timer_latency: Number, "cycles", "From expiry of a timer or a device's message to recognition.";
        "read_table" step_read_table: Number, "cycles", "SENDUIPI: start and reading of the UITT entry, besides its accesses.";
        "lock_upid" step_lock: Number, "cycles", "SENDUIPI: from the UPID's line to its change, locked.";
        "send" step_send: Number, "cycles", "SENDUIPI: the write of the interrupt command.";
        "identify" step_identify: Number, "cycles", "Notification: identification and end of interrupt, until the UPID's line is asked for.";
        "clear_on" step_clear_on: Number, "cycles", "Notification: from the UPID's line to the change that clears ON, locked.";
        "take_pir" step_take_pir: Number, "cycles", "Notification: the second locked change, which takes PIR.";
        "recognise" step_recognise: Number, "cycles", "Delivery: from the requests in UIRR to the first store of the frame.";
        "push" step_push: Number, "cycles", "Delivery: each store of the frame.";
        "enter" step_enter: Number, "cycles", "Delivery: from the last store of the frame to fetch at the handler.";
        "uiret" step_uiret: Number, "cycles", "UIRET, besides its accesses.";
        "uiret_predicted" uiret_predicted: Switch, "", "Fetch goes on at the address that UIRET will return to while it executes.";
        "clui" cost_clui: Number, "cycles", "CLUI.";
        "stui" cost_stui: Number, "cycles", "STUI.";
    }
}
