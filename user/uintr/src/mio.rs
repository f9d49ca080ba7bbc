//! [`EventFd`] as a source of mio events.

use crate::handler::EventFd;
use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// Readable when interrupts were delivered; [`EventFd::take`] says which, and makes it wait for the next.
impl Source for EventFd {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).register(registry, token, interest)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).deregister(registry)
    }
}

/// The usual form, because the receiver's handler shares it. (An `Arc<EventFd>` cannot be a source itself, as neither trait
/// nor type is of this crate.)
///
/// ```
/// use std::sync::Arc;
/// use mio::{Events, Interest, Poll, Token};
/// use uintr::{Receiver, Vector, VectorSet, handler::EventFd, mio::SharedEventFd};
///
/// let mut poll = Poll::new()?;
/// let mut events = Events::with_capacity(8);
/// let interrupts = Arc::new(EventFd::new()?);
/// poll.registry().register(&mut SharedEventFd(interrupts.clone()), Token(7), Interest::READABLE)?;
///
/// let receiver = Receiver::new(interrupts.clone())?;
/// let sender = receiver.sender(Vector::new(30).unwrap())?;
/// let other = std::thread::spawn(move || sender.send());
///
/// while events.is_empty() {
///     match poll.poll(&mut events, None) {
///         // The interrupt itself may end the call; the next one finds the event.
///         Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
///         result => result?,
///     }
/// }
/// assert_eq!(events.iter().next().unwrap().token(), Token(7));
/// assert_eq!(interrupts.take(), VectorSet::from_bits(1 << 30));
/// # other.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SharedEventFd(
    /// What the handler has, too.
    pub Arc<EventFd>,
);

impl Source for SharedEventFd {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).register(registry, token, interest)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).deregister(registry)
    }
}
