//! The single door: `cargo xtask COMMAND` does everything that is done with this repository.
//!
//! Nothing but the standard library, so that the door opens quickly.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod prerequisites;
mod steps;

use std::process::ExitCode;
use steps::Outcome;

const HELP: &str = "\
cargo xtask COMMAND: everything that is done with this repository

Commands:
  demo    builds ring3, makes the default guest if needed, and runs the user-interrupt sample in it
  test    everything continuous integration runs: formatting, lints, all tests, documentation
  check   formatting, lints and the tests that need no guest; before each commit
  bless   rewrites the expectations of the filetests; look at the diff afterwards
  bench   measures the optimised build, beside QEMU if that is installed; `bench --help` for options
  soak    the slow tests: more rounds of what `test` runs briefly; `soak fuzz [MINUTES [DOOR]]` runs the
          fuzzers (cargo-fuzz, nightly compiler) on every door for untrusted input, or on one;
          `soak silicon [OPTIONS]` executes random sequences on the host's processor and in the machine
          (`soak silicon --help` lists the options)
  help    this text

Missing Debian packages are installed when run as root; otherwise the line that installs them is
printed. Exit status: 0 if everything succeeded, 1 if a step failed, 2 for an unknown command.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let command = arguments.first().map_or("help", String::as_str);
    let outcome = match command {
        "demo" => steps::demo(),
        "test" => steps::test(),
        "check" => steps::check(),
        "bless" => steps::bless(),
        "bench" => steps::bench(&arguments[1..]),
        "soak" if arguments.get(1).is_some_and(|what| what == "silicon") => {
            steps::soak_silicon(&arguments[2..])
        }
        "soak" if arguments.get(1).is_some_and(|what| what == "fuzz") => {
            steps::soak_fuzz(&arguments[2..])
        }
        "soak" => steps::soak(),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        unknown => {
            eprintln!("xtask: there is no command '{unknown}'; `cargo xtask help` lists them");
            return ExitCode::from(2);
        }
    };
    report(outcome)
}

fn report(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod house_rules;
