//! x87 and MMX in the processor: instructions are decoded, lifted and executed with paging, and
//! compared with the host's own silicon where there is one to compare with.
#![allow(unsafe_code)]

mod modes;
#[allow(dead_code)]
#[path = "../../../silicon/src/random.rs"]
mod random;
mod world;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod host;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod silicon;
