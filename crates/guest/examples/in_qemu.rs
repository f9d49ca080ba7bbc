//! Runs one program in the default guest under QEMU, for work on the guest itself:
//! `cargo run -p ring3-guest --example in_qemu -- [--copy HOST[:GUEST]]... PROGRAM [ARGUMENTS...]`.
//!
//! `RING3_QEMU_EXTRA` holds further options for QEMU, a plugin that counts instructions for instance;
//! `RING3_NO_MODULE=1` leaves the module for user interrupts out. The guest boots each time.

#[path = "../tests/machine/mod.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod machine;

use std::io::Write;
use std::process::ExitCode;

use ring3_guest::{Copy, Error, GuestBuilder, JobBuilder, UintrModule};

fn main() -> ExitCode {
    match run() {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(125)
        }
    }
}

fn run() -> Result<u8, Error> {
    let note = &mut |line: &str| eprintln!("{line}");
    let uintr = match std::env::var_os("RING3_NO_MODULE") {
        Some(_) => UintrModule::None,
        None => UintrModule::Embedded,
    };
    let guest = GuestBuilder::new().uintr(uintr).prepare(note)?;
    let mut words = std::env::args_os().skip(1).peekable();
    let mut copies = Vec::new();
    while words.next_if(|word| word == "--copy").is_some() {
        copies.push(Copy::parse(&words.next().unwrap_or_default())?);
    }
    let job = JobBuilder::new(words.next().unwrap_or_default())
        .arguments(words)
        .copies(copies)
        .prepare(&guest.contents(), note)?;
    let (snapshot, warnings, console) = machine::Snapshot::take(&guest, 256, 1);
    eprint!("{console}");
    warnings.iter().for_each(|line| eprintln!("{line}"));
    let run = snapshot.run(&guest, &job, |_, _| false);
    let _ = std::io::stdout().write_all(&run.stdout);
    let _ = std::io::stderr().write_all(&run.stderr);
    let outcome = run.outcome.as_ref().expect("the run has ended");
    eprintln!("{}", outcome.message().unwrap_or_default());
    Ok(run.status())
}
