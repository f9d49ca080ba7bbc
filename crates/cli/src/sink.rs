//! Standard output and standard error as the guest's output reaches them.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// After so much that nobody read, a program that will not stop is stopped.
const DISCARDED_MAX: u64 = 1 << 20;

/// One of the two.
pub struct Sink {
    fd: BorrowedFd<'static>,
    broken: Option<Errno>,
    discarded: u64,
}

impl Sink {
    /// Standard output.
    pub fn stdout() -> Sink {
        Sink {
            fd: rustix::stdio::stdout(),
            broken: None,
            discarded: 0,
        }
    }

    /// Standard error.
    pub fn stderr() -> Sink {
        Sink {
            fd: rustix::stdio::stderr(),
            broken: None,
            discarded: 0,
        }
    }

    /// Writes everything, and waits where the reader is slow. Once writing has failed, what comes is
    /// counted and dropped.
    ///
    /// # Errors
    /// When writing fails, the first time.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() && self.broken.is_none() {
            match rustix::io::write(self.fd, bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let mut entries = [PollFd::new(&self.fd, PollFlags::OUT)];
                    let _ = poll(&mut entries, None);
                }
                Err(error) => {
                    self.broken = Some(error);
                    self.discarded += bytes.len() as u64;
                    return Err(error);
                }
            }
        }
        self.discarded += bytes.len() as u64;
        Ok(())
    }

    /// Whether a program goes on writing although nobody can read it.
    pub fn is_hopeless(&self) -> bool {
        self.discarded > DISCARDED_MAX
    }
}
