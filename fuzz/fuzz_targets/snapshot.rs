//! See `ring3_hostile::DOORS`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (ring3_hostile::door("snapshot").enter)(data));
