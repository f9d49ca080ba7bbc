//! Guest memory: RAM, address translation, and what is known about code in it.
//!
//! * [`Ram`] is the machine's memory, one flat host mapping.
//! * [`CodeMap`] remembers which lines of RAM hold instructions that an engine has translated, so
//!   that a store into them is noticed.
//! * [`Tlb`] caches translations of one processor; [`walk()`] is the page walk behind it.
//! * [`FetchCache`] answers "which translated block starts at this linear address?".
//!
//! Paging is that of a processor without LA57: 4-level, PAE and 32-bit. SDM Vol. 3, "Paging".
#![deny(missing_docs)]

mod code_map;
mod fetch_cache;
mod ram;
mod tlb;
mod walk;

pub use code_map::CodeMap;
pub use fetch_cache::{BlockId, FetchCache, FetchTags};
pub use ram::{OutsideRam, Ram, RamLayout};
pub use tlb::{Allowed, Privilege, Tlb, TlbCounters, TlbEntry};
pub use walk::{Access, PagingState, Probe, Translation, probe, walk};
