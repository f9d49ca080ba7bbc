//! Every door through which something untrusted comes in, as a function of bytes.
//!
//! A door does with the bytes what the machine would do if somebody hostile had made them, and checks
//! what must hold whatever they are. What it must not do is panic, work without bound, or want memory
//! without bound. A fuzzer (`fuzz/`, `cargo xtask soak fuzz`) looks for bytes that break a door; the
//! interesting ones that it found are kept in `fuzz/corpus` and replayed by this crate's tests.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod chipset;
mod input;
mod kernel;
mod lifter;
mod processor;
mod snapshot;
mod virtqueues;

/// A door.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    /// Its name: that of the fuzzer's target and of the corpus's folder.
    pub name: &'static str,
    /// Lets bytes in.
    pub enter: fn(&[u8]),
    /// Inputs to begin with: each reaches a different part of what is behind the door.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const DOORS: &[Door] = &[
    Door {
        name: "chipset",
        enter: chipset::enter,
        seeds: chipset::seeds,
    },
    Door {
        name: "initramfs",
        enter: kernel::enter_initramfs,
        seeds: kernel::initramfs_seeds,
    },
    Door {
        name: "kernel",
        enter: kernel::enter,
        seeds: kernel::seeds,
    },
    Door {
        name: "lifter",
        enter: lifter::enter,
        seeds: lifter::seeds,
    },
    Door {
        name: "processor",
        enter: processor::enter,
        seeds: processor::seeds,
    },
    Door {
        name: "snapshot",
        enter: snapshot::enter,
        seeds: snapshot::seeds,
    },
    Door {
        name: "virtqueues",
        enter: virtqueues::enter,
        seeds: virtqueues::seeds,
    },
];

/// The door with this name.
///
/// # Panics
/// If there is none.
pub fn door(name: &str) -> Door {
    *DOORS
        .iter()
        .find(|door| door.name == name)
        .unwrap_or_else(|| panic!("there is no door `{name}`"))
}
