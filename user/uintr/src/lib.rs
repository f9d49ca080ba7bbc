#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(all(test, not(feature = "std")))]
extern crate std;

#[cfg(target_arch = "x86_64")]
pub mod instruction;
pub mod upid;
mod vector;

#[cfg(feature = "std")]
mod backend;
#[cfg(feature = "std")]
mod error;
#[cfg(feature = "std")]
pub mod handler;
#[cfg(feature = "std")]
mod hardware;
#[cfg(feature = "mio")]
pub mod mio;
#[cfg(feature = "std")]
mod receiver;
#[cfg(feature = "std")]
mod sender;
#[cfg(feature = "std")]
mod software;
#[cfg(feature = "std")]
mod thread;
#[cfg(feature = "std")]
mod timer;
#[cfg(feature = "tokio")]
pub mod tokio;

pub use vector::{InvalidVector, Vector, VectorSet, Vectors};

#[cfg(feature = "std")]
pub use {
    backend::Backend,
    error::Error,
    hardware::SavedRegisters,
    receiver::{Builder, Receiver},
    sender::{Sender, UintrFd},
    thread::{critical_section, safepoint, with_safepoints},
    timer::Timer,
};
