//! The sending side.

use crate::backend::Backend;
use crate::error::Error;
use crate::vector::Vector;
use crate::{hardware, software};
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::Arc;

/// A file descriptor that stands for one vector of one receiver: the right to interrupt it.
///
/// Made by [`Receiver::fd`](crate::Receiver::fd). It is a file descriptor like any other: it can be inherited by child
/// processes, and passed over UNIX sockets (SCM_RIGHTS). It is close-on-exec.
///
/// ```
/// use std::os::fd::OwnedFd;
/// use std::sync::Arc;
/// use uintr::{Receiver, UintrFd, Vector, handler::Counts};
///
/// let counts = Arc::new(Counts::new());
/// let receiver = Receiver::new(counts.clone())?;
/// let fd: OwnedFd = receiver.fd(Vector::MIN)?.into();
///
/// // Perhaps in another process:
/// UintrFd::from(fd).connect()?.send();
/// # while counts.total() == 0 {}
/// # Ok::<(), uintr::Error>(())
/// ```
#[derive(Debug)]
pub struct UintrFd(OwnedFd);

impl UintrFd {
    pub(crate) fn new(file: OwnedFd) -> UintrFd {
        UintrFd(file)
    }

    /// Becomes a sender. The file descriptor is not needed any more afterwards, but may be used again.
    ///
    /// Which backend it is depends on the receiver alone: a process may have senders of both.
    ///
    /// # Errors
    ///
    /// [`Error::NotUintrFd`] for other files, and those of the hardware where there is none; [`Error::Gone`] if the receiver
    /// is no more; [`Error::OtherNamespace`] and [`Error::Os`] if the receiver cannot be signalled from here (software), or
    /// the process has 256 senders already (hardware).
    pub fn connect(&self) -> Result<Sender, Error> {
        match software::Target::connect(self.try_clone()?.0) {
            Ok(target) => Ok(Sender::software(target)),
            Err(Error::NotUintrFd) => hardware::Target::connect(self.0.as_fd()).map(Sender::hardware),
            Err(error) => Err(error),
        }
    }

    /// Another file descriptor for the same.
    ///
    /// # Errors
    ///
    /// If there are too many files.
    pub fn try_clone(&self) -> Result<UintrFd, Error> {
        self.0
            .try_clone()
            .map(UintrFd)
            .map_err(|source| Error::Os { call: "dup", source })
    }
}

impl From<OwnedFd> for UintrFd {
    /// Takes a file descriptor that came from elsewhere; [`connect`](UintrFd::connect) checks it.
    fn from(file: OwnedFd) -> UintrFd {
        UintrFd(file)
    }
}

impl From<UintrFd> for OwnedFd {
    fn from(fd: UintrFd) -> OwnedFd {
        fd.0
    }
}

impl AsFd for UintrFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for UintrFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl IntoRawFd for UintrFd {
    fn into_raw_fd(self) -> RawFd {
        self.0.into_raw_fd()
    }
}

impl FromRawFd for UintrFd {
    unsafe fn from_raw_fd(fd: RawFd) -> UintrFd {
        // SAFETY: the caller owns it.
        UintrFd(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// Sends user interrupts: one vector of one receiver.
///
/// Made by [`UintrFd::connect`] or [`Receiver::sender`](crate::Receiver::sender). Clones are the same sender.
#[derive(Clone)]
pub struct Sender(Arc<Target>);

enum Target {
    Hardware(hardware::Target),
    Software(software::Target),
}

impl Sender {
    pub(crate) fn hardware(target: hardware::Target) -> Sender {
        Sender(Arc::new(Target::Hardware(target)))
    }

    pub(crate) fn software(target: software::Target) -> Sender {
        Sender(Arc::new(Target::Software(target)))
    }

    /// Interrupts the receiver.
    ///
    /// Returns at once. What was written before is visible to the handler. What is sent several times before it is
    /// delivered is delivered once. To a receiver that is gone, nothing happens, and nobody tells.
    ///
    /// May be called in handlers, and in signal handlers.
    #[inline]
    pub fn send(&self) {
        match &*self.0 {
            Target::Hardware(target) => target.post(),
            Target::Software(target) => target.post(),
        }
    }

    /// Which machinery carries the interrupts.
    pub fn backend(&self) -> Backend {
        match &*self.0 {
            Target::Hardware(_) => Backend::Hardware,
            Target::Software(_) => Backend::Software,
        }
    }

    /// The vector, where that is known: the hardware's file descriptors do not tell.
    pub fn vector(&self) -> Option<Vector> {
        match &*self.0 {
            Target::Hardware(_) => None,
            Target::Software(target) => Some(target.vector()),
        }
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("backend", &self.backend())
            .field("vector", &self.vector())
            .finish()
    }
}
