//! What can go wrong, in sentences with a remedy.

use std::{fmt, io};

/// Why a receiver or sender could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The backend that was asked for does not work here; the text says why.
    Unsupported(&'static str),
    /// This thread is a receiver already: there is one per thread.
    AlreadyReceiver,
    /// The receiver's thread has ended, or dropped its [`Receiver`](crate::Receiver).
    Gone,
    /// The file descriptor is no [`UintrFd`](crate::UintrFd).
    NotUintrFd,
    /// The receiver lives in another PID namespace, where the software backend cannot signal it.
    OtherNamespace,
    /// `UINTR_BACKEND` names no backend.
    UnknownBackend(String),
    /// A system call failed otherwise.
    Os {
        /// Which one.
        call: &'static str,
        /// How.
        source: io::Error,
    },
}

impl Error {
    /// The current errno as an error of this system call.
    pub(crate) fn last(call: &'static str) -> Error {
        Error::Os {
            call,
            source: io::Error::last_os_error(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unsupported(why) => {
                write!(f, "this backend of user interrupts does not work here: {why}")
            }
            Error::AlreadyReceiver => {
                f.write_str("this thread is a receiver already; drop that one first, or use its vectors")
            }
            Error::Gone => f.write_str("the receiver is gone: its thread has ended or given it up"),
            Error::NotUintrFd => f.write_str("this file descriptor does not stand for a user interrupt"),
            Error::OtherNamespace => f.write_str(
                "the receiver lives in another PID namespace; the software backend needs sender and receiver in one",
            ),
            Error::UnknownBackend(name) => write!(
                f,
                "UINTR_BACKEND is {name:?}; it can be \"auto\", \"hardware\" or \"software\""
            ),
            Error::Os { call, source } => write!(f, "{call}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Os { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match &error {
            Error::Os { source, .. } => source.kind(),
            Error::Unsupported(_) => io::ErrorKind::Unsupported,
            Error::AlreadyReceiver => io::ErrorKind::AlreadyExists,
            Error::Gone => io::ErrorKind::BrokenPipe,
            _ => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}
