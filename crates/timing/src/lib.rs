//! The timing engine: a cycle-level out-of-order core that executes the same micro-ops as the
//! reference, speculatively, and says when everything happens.
//!
//! One room per stage and structure: [`mod@fetch`], [`predictor`], [`window`] (reorder buffer, queues,
//! retirement), [`issue`] (schedulers and ports), [`store_queue`], [`speculative_memory`], [`undo`];
//! [`hierarchy`], [`cache`] and [`translation`] behind them; [`thread`] takes instructions through, [`head`]
//! executes what must be alone, [`interrupt`] has the delivery policies, and [`Engine`] gives the
//! threads their turns in the order of cycles. [`Description`] reads machine descriptions.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod block_store;
mod cache;
mod decoded;
mod description;
mod engine;
mod event;
mod fetch;
mod head;
mod hierarchy;
mod interrupt;
mod issue;
mod parameters;
mod predictor;
mod speculative_memory;
mod statistics;
mod store_queue;
#[cfg(test)]
mod tests;
mod thread;
mod translation;
mod undo;
mod window;

pub use description::{Description, DescriptionError, Entry, SHIPPED, show_value};
pub use engine::{Engine, Exit, Outcome, World};
pub use event::{Event, InstructionTimes, InterruptStep, NoProbe, Probe, Recorder};
pub use hierarchy::Level;
pub use parameters::{Form, POLICIES, Parameters, SPECS, Spec};
pub use statistics::{
    Counters, MemoryCounters, Stall, StallCounters, Statistic, ThreadCounters, TlbCounters,
};
pub use thread::TimeBase;
