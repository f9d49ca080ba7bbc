//! Random sequences of instructions on the host's own processor and in the machine, compared.
//!
//! A sequence is drawn from a seed ([`generate`], with values from [`values`]) out of every encoding that
//! the processor model advertises ([`catalogue`]; [`left_out`] says which are not, and why). It is executed in
//! the machine ([`machine`], by each of the [`engine`]s) and on the host ([`native`], in a child process), and
//! what the two leave behind is compared ([`mod@compare`]) but for what the manual leaves open ([`open`]).
//! [`tester`] is the loop around that, [`report`] makes mismatches small and prints them, [`coverage`]
//! and [`fidelity`] count.
//!
//! Modelled: programs at CPL 3 under Linux, in 64-bit code, and in 32-bit and 16-bit code in compatibility
//! mode. Not here: anything privileged beyond the exception that it raises, other addressing of 16-bit
//! stacks, self-modifying code (code cannot be written), several processors.
//!
//! x86-64 Linux hosts with XSAVE and FSGSBASE. `unsafe` stands in [`native`] alone.
#![deny(missing_docs)]

pub mod catalogue;
pub mod compare;
pub mod coverage;
pub mod engine;
pub mod fidelity;
pub mod generate;
pub mod layout;
pub mod left_out;
pub mod machine;
pub mod native;
pub mod open;
pub mod random;
pub mod report;
pub mod state;
pub mod tester;
pub mod values;
