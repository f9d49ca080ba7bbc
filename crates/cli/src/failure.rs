//! How ring3 ends when it is ring3 that fails: a sentence, a remedy, an exit status.
//!
//! The numbers are those that `env`, `timeout`, `nohup` and container runtimes use, so that a script
//! that wraps a program can tell the wrapper's failures from the program's. A program can of course
//! return the same numbers; then standard error is silent, and for a failure of ring3 it never is.

use std::fmt;
use std::io;
use std::path::Path;

/// Exit statuses of ring3 itself.
pub mod status {
    /// A mistake in ring3.
    pub const INTERNAL: u8 = 70;
    /// Every processor of the machine has halted, and nothing can wake one.
    pub const STUCK: u8 = 123;
    /// The limit of instructions was reached.
    pub const LIMIT: u8 = 124;
    /// ring3 could not do what it was asked to: usage, guest, machine.
    pub const FAILED: u8 = 125;
    /// The program was found but cannot be executed.
    pub const NOT_EXECUTABLE: u8 = 126;
    /// The program was not found.
    pub const NOT_FOUND: u8 = 127;
    /// Added to the number of a signal that ended the program or ring3.
    pub const SIGNAL: u8 = 128;
}

/// Why ring3 could not go on.
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub status: u8,
    sentence: String,
    remedy: Option<String>,
}

/// What a step of ring3 gives.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// With status [`status::FAILED`].
    pub fn new(sentence: impl Into<String>) -> Failure {
        Failure {
            status: status::FAILED,
            sentence: sentence.into(),
            remedy: None,
        }
    }

    /// Something failed on a file.
    pub fn file(doing: &str, path: &Path, error: &io::Error) -> Failure {
        Failure::new(format!("cannot {doing} {}: {error}", path.display()))
    }

    /// The same with what to do about it.
    pub fn remedy(self, remedy: impl Into<String>) -> Failure {
        Failure {
            remedy: Some(remedy.into()),
            ..self
        }
    }

    /// The same with another exit status.
    pub fn status(self, status: u8) -> Failure {
        Failure { status, ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.sentence)?;
        if let Some(remedy) = &self.remedy {
            write!(out, "\n  {}", remedy.replace('\n', "\n  "))?;
        }
        Ok(())
    }
}

impl From<ring3_guest::Error> for Failure {
    fn from(error: ring3_guest::Error) -> Failure {
        use ring3_guest::Problem;
        let status = match error.problem() {
            Problem::ProgramNotFound => status::NOT_FOUND,
            Problem::NoPermission
            | Problem::NotAProgram
            | Problem::WrongMachine
            | Problem::NotExecutableElf
            | Problem::DamagedElf
            | Problem::InterpreterMissing
            | Problem::LibraryMissing
            | Problem::CompileFailed => status::NOT_EXECUTABLE,
            _ => status::FAILED,
        };
        Failure {
            status,
            sentence: error.sentence().to_owned(),
            remedy: error.what_to_do().map(str::to_owned),
        }
    }
}
