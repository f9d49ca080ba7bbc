//! The default guest: how it is made, kept, and told to run a program.
//!
//! Three parts, each usable without the others:
//!
//! - **A guest** ([`GuestBuilder`], [`Guest`]): a stock kernel from the distribution's package, the modules it needs
//!   for the machine's devices, the project's module for user interrupts, and the agent (`guest/agent`) as init, put
//!   together as an initramfs and kept in the user's cache folder until one of them changes.
//! - **A job** ([`JobBuilder`], [`Job`]): a program of the host with everything it needs inside the guest: its
//!   interpreter and libraries, the files the person asked for, arguments, environment, streams.
//! - **A session** ([`Session`]): the host's end of the run protocol as a state machine that takes and gives bytes. It
//!   knows no machine; whoever has one pumps its ports.
//!
//! ```no_run
//! use ring3_guest::{GuestBuilder, JobBuilder, Session};
//!
//! # fn main() -> Result<(), ring3_guest::Error> {
//! let guest = GuestBuilder::new().prepare(&mut |line| eprintln!("{line}"))?;
//! let job = JobBuilder::new("/bin/ls").arguments(["-l", "/"]).prepare(&guest.contents(), &mut |_| {})?;
//! let mut session = Session::new();
//! session.start(&job);
//! // Boot `guest.kernel()?` with `guest.initramfs()?` and `guest.command_line()`, put `job.archive()` behind the
//! // first virtio block device, and carry bytes between the machine's ports and the session.
//! # Ok(())
//! # }
//! ```
//!
//! This crate looks at the host (files, tools, packages) and never at a clock. It runs before and beside a machine,
//! never inside one.

#[path = "../../../guest/protocol/src/lib.rs"]
pub mod protocol;

mod cache;
mod compile;
mod elf;
mod error;
mod guest;
mod image;
mod job;
mod kernel;
mod libraries;
mod library_cache;
mod module;
mod newc;
mod packages;
mod session;
mod streams;
mod tools;
mod tree;

pub use cache::{CacheEntry, Selection, clean, default_cache_folder, list};
pub use compile::{DEFAULT_FLAGS, include_folder};
pub use error::{Error, Problem};
pub use guest::{Guest, GuestBuilder, Manifest, UintrModule};
pub use image::command_line;
pub use job::{Copy, Input, Job, JobBuilder};
pub use kernel::{KernelChoice, ModulesChoice};
pub use session::{Event, Outcome, Port, Session, SessionError, Stream};
pub use streams::{HostStreams, InputKind, OutputKind};
pub use tree::Contents;
