//! Instructions against the host's own silicon: the same instruction is executed natively and by
//! the micro-ops it is lifted to, from the same registers and memory; registers, flags, MXCSR,
//! memory and faults are compared.
//!
//! Needs an x86-64 Linux host; forms that the host lacks are left out and counted. What the manual
//! leaves undefined is not compared ([`undefined`]).
//!
//! 64-bit code, and 32-bit and 16-bit code in compatibility mode. Every form of every instruction is
//! visited with the same number of random cases. `FORM=Name` restricts a run to forms whose name
//! contains `Name`, `CASES=n` sets the cases per form.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(unsafe_code)]

mod cases;
mod compare;
mod decoding;
mod flat;
mod host;
mod model;
#[allow(dead_code)]
#[path = "../../../silicon/src/random.rs"]
mod random;
mod registers;
mod undefined;

use ring3_isa::CodeSize;

#[test]
fn every_form_of_64_bit_code_does_what_the_silicon_does() {
    compare::every_form(CodeSize::Bits64);
}

#[test]
fn every_form_of_32_bit_code_does_what_the_silicon_does() {
    compare::every_form(CodeSize::Bits32);
}

#[test]
fn every_form_of_16_bit_code_does_what_the_silicon_does() {
    compare::every_form(CodeSize::Bits16);
}

#[test]
fn every_vex_encoding_exists_where_it_does_on_the_silicon() {
    if model::host_has_avx() {
        decoding::every_vex_encoding();
    }
}
