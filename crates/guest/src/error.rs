//! What can go wrong on the host's side, each with a sentence and what to do about it.

use std::fmt;
use std::io;
use std::path::Path;

/// The kind of a problem, for a caller that wants to treat one specially.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Problem {
    /// There is no such program.
    ProgramNotFound,
    /// The file may not be executed.
    NoPermission,
    /// The file is neither an executable nor a script nor C source.
    NotAProgram,
    /// An executable for another processor or word size.
    WrongMachine,
    /// A shared library, object file or core dump instead of an executable.
    NotExecutableElf,
    /// The executable is damaged.
    DamagedElf,
    /// The dynamic linker the program names is not on this host.
    InterpreterMissing,
    /// A library the program needs is not on this host.
    LibraryMissing,
    /// The compiler is missing or too old.
    Compiler,
    /// The compiler refused the source.
    CompileFailed,
    /// A file or folder that was to be copied cannot be.
    Copy,
    /// A value given by the person makes no sense.
    Usage,
    /// A tool of the host is missing.
    ToolMissing,
    /// A tool of the host failed.
    ToolFailed,
    /// No kernel for the guest can be found.
    KernelNotFound,
    /// The kernel's modules cannot be found.
    ModulesNotFound,
    /// The headers of the kernel cannot be found.
    HeadersNotFound,
    /// The project's kernel module does not build.
    ModuleBuild,
    /// What the cache holds is not what was put there.
    CacheDamaged,
    /// Reading or writing a file of the host failed.
    File,
}

/// What to do about a file system that is full.
pub(crate) const NO_SPACE: &str = "the file system is full: make room (ring3 guest clean --snapshots removes what is made \
    again when needed), or set XDG_CACHE_HOME to a folder on another one";

/// A problem, in words.
#[derive(Debug, Clone)]
pub struct Error {
    problem: Problem,
    sentence: String,
    remedy: Option<String>,
}

impl Error {
    /// A problem and the sentence that says it.
    pub(crate) fn new(problem: Problem, sentence: impl Into<String>) -> Self {
        Self {
            problem,
            sentence: sentence.into(),
            remedy: None,
        }
    }

    /// The same with what to do about it.
    pub(crate) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self {
            remedy: Some(remedy.into()),
            ..self
        }
    }

    /// Something failed on a file.
    pub(crate) fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(
            Problem::File,
            format!("cannot {doing} {}: {error}", path.display()),
        )
    }

    /// Something failed on a file of the cache.
    pub(crate) fn cache(doing: &str, path: &Path, error: &io::Error) -> Self {
        let remedy = match error.kind() {
            io::ErrorKind::StorageFull => NO_SPACE,
            _ => "set XDG_CACHE_HOME to a folder you may write to",
        };
        Self::file(doing, path, error).remedy(remedy)
    }

    /// The kind of problem.
    pub fn problem(&self) -> Problem {
        self.problem
    }

    /// What is wrong.
    pub fn sentence(&self) -> &str {
        &self.sentence
    }

    /// What to do about it, if there is something.
    pub fn what_to_do(&self) -> Option<&str> {
        self.remedy.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.sentence)?;
        if let Some(remedy) = &self.remedy {
            write!(out, "\n  {}", remedy.replace('\n', "\n  "))?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

pub(crate) type Result<T> = std::result::Result<T, Error>;
