//! Random sequences of instructions on the host's processor and in the machine, compared.
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
