//! Golden programs: small bare-metal assembly files, each with the text that it must print.
//!
//! A filetest is one `.s` file in `filetests/`. Its first comment block says what it shows and is
//! its header: which engines run it, on which machine, and the expected text. This crate reads the
//! header ([`header`]), assembles and links the program with the runtime in `filetests/runtime`
//! ([`toolchain`]), boots it on a machine in this process ([`run`]) or on a foreign emulator that
//! serves as an oracle ([`qemu`]), and compares ([`check()`]). How to write one is told in
//! `filetests/README.md`.
//!
//! Needed on the host: GNU `as` and `ld` (binutils 2.36 or newer, for the mnemonics of user
//! interrupts).
#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod check;
pub mod header;
pub mod qemu;
pub mod run;
pub mod toolchain;

pub use check::{Failure, bless, check};
pub use header::{Engine, Filetest, Header, HeaderError};
pub use toolchain::{Toolchain, ToolchainError};

use std::path::{Path, PathBuf};

/// All filetests below `root`, by name, in alphabetical order. The folder `runtime` has none.
///
/// # Errors
/// If a folder or file cannot be read.
pub fn find(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                if path != root.join("runtime") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "s") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
