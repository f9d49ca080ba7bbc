//! wip
pub mod spec;
