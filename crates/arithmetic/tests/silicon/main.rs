//! Every operation against the host's own silicon: the instruction is executed natively, and result
//! and flags are compared.
//!
//! Needs an x86-64 host; a test of an instruction that the host lacks says so and passes. The host's
//! floating-point state is put back after every instruction.
#![cfg(target_arch = "x86_64")]
#![allow(unsafe_code)]

mod float;
mod host;
mod packed;
#[path = "../../../silicon/src/random.rs"]
mod random;
mod x87;
