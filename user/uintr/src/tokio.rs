//! User interrupts for asynchronous programs: [`Interrupts`].
//!
//! A handler must not call a [`Waker`](std::task::Waker), which may take locks and free memory in the middle of the
//! very functions that do so. So it writes to an eventfd, and the runtime's own event loop does the waking.

use crate::error::Error;
use crate::handler::EventFd;
use crate::vector::VectorSet;
use futures_core::Stream;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};

/// A stream of what was delivered.
///
/// The receiver may be any thread, of the runtime or not; a handler in each, so give it a clone of
/// [`handler`](Interrupts::handler).
///
/// ```
/// use uintr::{Receiver, Vector, VectorSet, tokio::Interrupts};
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() -> Result<(), uintr::Error> {
///     let mut interrupts = Interrupts::new()?;
///     let receiver = Receiver::new(interrupts.handler())?;
///     let sender = receiver.sender(Vector::new(17).unwrap())?;
///     let other = std::thread::spawn(move || sender.send());
///
///     assert_eq!(interrupts.recv().await?, VectorSet::from_bits(1 << 17));
///     other.join().unwrap();
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Interrupts {
    events: AsyncFd<Arc<EventFd>>,
}

impl Interrupts {
    /// Nothing has been delivered yet.
    ///
    /// # Errors
    ///
    /// If there are too many files, or the runtime cannot watch one.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    pub fn new() -> Result<Interrupts, Error> {
        let events = Arc::new(EventFd::new()?);
        // Its successor is unsafe, for the sake of types whose file changes; ours does not. This one exists in every
        // tokio 1.
        #[allow(deprecated)]
        let events = AsyncFd::with_interest(events, Interest::READABLE);
        let events = events.map_err(|source| Error::Os {
            call: "epoll_ctl",
            source,
        })?;
        Ok(Interrupts { events })
    }

    /// The handler for a [`Receiver`](crate::Receiver).
    pub fn handler(&self) -> Arc<EventFd> {
        self.events.get_ref().clone()
    }

    /// Waits until something is delivered, and takes it. Never empty.
    ///
    /// Cancel safe: if it is dropped before it is ready, nothing is taken.
    ///
    /// # Errors
    ///
    /// If the runtime is shutting down.
    pub async fn recv(&mut self) -> Result<VectorSet, Error> {
        std::future::poll_fn(|context| self.poll_recv(context))
            .await
            .map_err(|source| Error::Os {
                call: "epoll_wait",
                source,
            })
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<io::Result<VectorSet>> {
        loop {
            let mut guard = ready!(self.events.poll_read_ready(context))?;
            // First say that it is not readable any more, then take: what comes after is announced anew.
            guard.clear_ready_matching(Ready::READABLE);
            let vectors = guard.get_inner().take();
            if !vectors.is_empty() {
                return Poll::Ready(Ok(vectors));
            }
        }
    }
}

impl Stream for Interrupts {
    type Item = io::Result<VectorSet>;

    /// Never ends by itself.
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_recv(context).map(Some)
    }
}
