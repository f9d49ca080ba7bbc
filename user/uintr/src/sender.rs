//! The sending side.

use crate::backend::Backend;
use crate::error::Error;
use crate::vector::Vector;
use crate::{hardware, software};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::{fmt, io};

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
            Err(Error::NotUintrFd) => {
                hardware::Target::connect(self.0.as_fd()).map(Sender::hardware)
            }
            Err(error) => Err(error),
        }
    }

    /// Another file descriptor for the same.
    ///
    /// # Errors
    ///
    /// If there are too many files.
    pub fn try_clone(&self) -> Result<UintrFd, Error> {
        self.0.try_clone().map(UintrFd).map_err(|source| Error::Os {
            call: "dup",
            source,
        })
    }
}

impl UintrFd {
    /// Sends the file descriptor over a socket, with one byte of data as its carrier. The other side has one of its own
    /// afterwards: [`receive_over`](UintrFd::receive_over).
    ///
    /// ```
    /// use std::os::unix::net::UnixStream;
    /// use std::sync::Arc;
    /// use uintr::{Receiver, UintrFd, Vector, handler::Counts};
    ///
    /// let counts = Arc::new(Counts::new());
    /// let receiver = Receiver::new(counts.clone())?;
    /// let (ours, theirs) = UnixStream::pair()?;
    /// receiver.fd(Vector::MIN)?.send_over(&ours)?;
    ///
    /// // Perhaps in another process:
    /// UintrFd::receive_over(&theirs)?.connect()?.send();
    /// # while counts.total() == 0 {}
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As sendmsg(2).
    pub fn send_over(&self, socket: &UnixStream) -> io::Result<()> {
        let mut byte = *b"U";
        let mut control = Control([0; 4]);
        let mut data = libc::iovec {
            iov_base: byte.as_mut_ptr().cast(),
            iov_len: 1,
        };
        loop {
            // SAFETY: the pointers are to live locals with room for what the lengths say; zeros are valid for the rest.
            let sent = unsafe {
                let mut message = message(&mut data, &mut control);
                let header = libc::CMSG_FIRSTHDR(&message);
                (*header).cmsg_level = libc::SOL_SOCKET;
                (*header).cmsg_type = libc::SCM_RIGHTS;
                (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
                libc::CMSG_DATA(header)
                    .cast::<RawFd>()
                    .write_unaligned(self.0.as_raw_fd());
                libc::sendmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_NOSIGNAL)
            };
            match sent {
                1 => return Ok(()),
                _ => interrupted()?,
            }
        }
    }

    /// Receives what [`send_over`](UintrFd::send_over) sent.
    ///
    /// # Errors
    ///
    /// As recvmsg(2); [`io::ErrorKind::UnexpectedEof`] if the other side has closed the socket;
    /// [`io::ErrorKind::InvalidData`] if the next byte comes without a file descriptor.
    pub fn receive_over(socket: &UnixStream) -> io::Result<UintrFd> {
        let mut byte = [0];
        let mut control = Control([0; 4]);
        let mut data = libc::iovec {
            iov_base: byte.as_mut_ptr().cast(),
            iov_len: 1,
        };
        loop {
            // SAFETY: as above; a descriptor that comes is new, and there is room for one only.
            let (received, file) = unsafe {
                let mut message = message(&mut data, &mut control);
                let received =
                    libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC);
                let header = libc::CMSG_FIRSTHDR(&message);
                let file = if received == 1
                    && !header.is_null()
                    && (*header).cmsg_level == libc::SOL_SOCKET
                    && (*header).cmsg_type == libc::SCM_RIGHTS
                {
                    let fd = libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned();
                    Some(OwnedFd::from_raw_fd(fd))
                } else {
                    None
                };
                (received, file)
            };
            match (received, file) {
                (1, Some(file)) => return Ok(UintrFd(file)),
                (1, None) => return Err(io::ErrorKind::InvalidData.into()),
                (0, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => interrupted()?,
            }
        }
    }
}

/// Room for one control message with one file descriptor, aligned for its header.
struct Control([u64; 4]);

/// A message with this data, and room for a file descriptor.
fn message(data: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: takes a number; all zeros is a valid message.
    let (space, mut message) = unsafe {
        (
            libc::CMSG_SPACE(size_of::<RawFd>() as u32),
            std::mem::zeroed::<libc::msghdr>(),
        )
    };
    debug_assert!(space as usize <= size_of_val(&control.0));
    message.msg_iov = data;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = space as _;
    message
}

/// The current errno as an error, unless it is EINTR: an interrupt, try again.
fn interrupted() -> io::Result<()> {
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        error => Err(error),
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
