//! Instructions against the host's own silicon: the same instruction is executed natively and by
//! the micro-ops it is lifted to, from the same registers and memory; registers, flags, MXCSR,
//! memory and faults are compared.
//!
//! Needs an x86-64 Linux host; forms that the host lacks are left out and counted. What the manual
//! leaves undefined is not compared ([`undefined`]).
//!
//! Every form of every instruction is visited with the same number of random cases. `FORM=Name`
//! restricts a run to forms whose name contains `Name`, `CASES=n` sets the cases per form.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(unsafe_code)]

mod cases;
mod flat;
mod host;
mod model;
#[allow(dead_code)]
#[path = "../../../arithmetic/tests/silicon/random.rs"]
mod random;
mod registers;
mod undefined;

mod long;
