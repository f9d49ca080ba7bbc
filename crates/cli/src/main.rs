//! The command `ring3`: the one layer that opens files, spawns threads and reads clocks.
//!
//! Each command has a file with its options and what it does: [`run`], [`boot`], [`stat`], [`machine`], [`guest`], [`pages`] for
//! the texts of help and manual. They share the terminal ([`terminal`], [`keys`]), ring3's own words
//! ([`console`]), what comes from outside while a machine runs ([`inbox`]) and the ways to fail ([`failure`],
//! [`ending`], [`internal_error`]).
#![forbid(unsafe_code)]

mod boot;
mod console;
mod ending;
mod failure;
mod guest;
mod inbox;
mod internal_error;
mod keys;
mod machine;
mod machine_options;
mod manual;
mod pace;
mod pages;
mod report;
mod run;
mod sink;
mod size;
mod snapshot;
mod stat;
mod terminal;
mod timing;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use failure::{Failure, Result, status};
use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::time::Instant;

/// The version of ring3.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A machine for user interrupts
///
/// Ring3 is a deterministic x86-64 machine for software that uses user interrupts: interrupts that are
/// delivered straight to a handler in user mode. It runs Linux programs in a stock kernel as if they were
/// local, and boots kernels of your own, on any computer with Linux.
#[derive(Parser, Clone, Debug)]
#[command(
    name = "ring3",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    Run(run::Options),
    Boot(boot::Options),
    Stat(stat::Options),
    Machine(machine::Options),
    Guest(guest::Options),
    Completions(manual::Completions),
    Man(manual::Manual),
}

/// The command line that ring3 understands, with all its texts.
fn command_line() -> clap::Command {
    pages::add_to_help(Cli::command())
}

/// Writes to standard output.
///
/// # Errors
/// If that fails, except that nobody reads it.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::new(format!(
            "cannot write to standard output: {error}"
        ))),
        _ => Ok(()),
    }
}

fn main() -> ExitCode {
    let began = Instant::now();
    internal_error::install();
    let parsed = command_line()
        .try_get_matches()
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are a success.
            let wanted = !error.use_stderr();
            let _ = error.print();
            return ExitCode::from(if wanted { 0 } else { status::FAILED });
        }
    };
    let result = match &cli.command {
        Command::Run(options) => run::execute(options, began),
        Command::Boot(options) => boot::execute(options, began),
        Command::Stat(options) => stat::execute(options, began),
        Command::Machine(options) => machine::execute(options),
        Command::Guest(options) => guest::execute(options),
        Command::Completions(options) => manual::completions(options),
        Command::Man(options) => manual::manual(options),
    };
    terminal::restore();
    console::clear();
    match result {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            console::say(&failure.to_string());
            ExitCode::from(failure.status)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        command_line().debug_assert();
    }
}
