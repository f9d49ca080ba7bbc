//! What is done when a user interrupt is delivered.
//!
//! A handler runs in the middle of whatever its thread was doing: in the middle of `malloc`, with a lock held, half way
//! through an update. So it may do what a signal handler may do, and nothing else. The type system cannot check that:
//! [`Handler`] is an unsafe trait, and [`from_fn`], which makes a handler of any closure, is an unsafe function with
//! the contract written out. The handlers in this module fulfil it, and cover what most programs want:
//!
//! | | what it does | who looks |
//! |---|---|---|
//! | [`Counts`] | counts, per vector | anybody, any time |
//! | [`Flags`] | remembers which | anybody, any time |
//! | [`Event`] | remembers, and wakes a thread that sleeps on it | [`Event::wait`], any thread |
//! | [`EventFd`] | remembers, and makes a file descriptor readable | `poll`, `epoll`, mio, tokio |
//!
//! A handler is shared by reference: `Arc<Counts>` and `&'static Counts` are handlers too, and so is a pair of
//! handlers.

use crate::error::Error;
use crate::vector::{Vector, VectorSet};
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

/// What is done when a user interrupt is delivered.
///
/// `Sync` is not for other threads (a handler runs in its receiver's thread), but for that thread itself, which a handler
/// interrupts like another thread would.
///
/// # Safety
///
/// [`interrupt`](Handler::interrupt) fulfils the contract of [`from_fn`]'s closure.
pub unsafe trait Handler: Sync + 'static {
    /// A user interrupt on this vector. Interrupts are off; those that come are delivered afterwards.
    fn interrupt(&self, vector: Vector);
}

/// A handler made of a closure. See [`from_fn`].
pub struct FromFn<F>(F);

/// Makes a handler of any closure.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use uintr::{Receiver, Vector, handler};
///
/// static LAST: AtomicU64 = AtomicU64::new(0);
///
/// // SAFETY: one store to an atomic.
/// let handler = unsafe {
///     handler::from_fn(|vector| LAST.store(vector.get().into(), Ordering::Relaxed))
/// };
/// let receiver = Receiver::new(handler)?;
/// receiver.sender(Vector::new(20).unwrap())?.send();
/// # while LAST.load(Ordering::Relaxed) == 0 {}
/// assert_eq!(LAST.load(Ordering::Relaxed), 20);
/// # Ok::<(), uintr::Error>(())
/// ```
///
/// # Safety
///
/// The closure may be called between any two instructions of its thread outside of
/// [`critical_section`](crate::critical_section). So, like a signal handler, it
///
/// * **does not allocate, free, or take locks**, not even for `println!`, and does not wait for anybody. It calls nothing
///   that does, C functions other than those that signal-safety(7) lists included. (With the software backend it *is* a
///   signal handler.) [`Sender::send`](crate::Sender::send) may be called;
/// * **shares data with the rest of the program through atomics only**, or through cells that the rest of the program
///   touches in critical sections only. Rust's `Sync` says so for what is captured, and cannot for what is reached in other
///   ways, like thread-locals: those with a destructor or a lazy initial value must not be touched; a
///   `const`-initialized `Cell` is shared with the code that was interrupted in the middle of using it;
/// * **does not panic**: that ends the process, since nothing can unwind into the interrupted instruction. It does not
///   unwind or jump out in other ways either;
/// * **keeps what it does not save**: registers and errno are saved around it (which registers, for the hardware:
///   [`SavedRegisters`](crate::SavedRegisters)); signal masks, floating-point modes, and the like are not.
///
/// Its stack is the interrupted one, so a deep recursion or a large array meets whatever room was left.
pub unsafe fn from_fn<F: Fn(Vector) + Sync + 'static>(f: F) -> FromFn<F> {
    FromFn(f)
}

// SAFETY: who made it has promised.
unsafe impl<F: Fn(Vector) + Sync + 'static> Handler for FromFn<F> {
    fn interrupt(&self, vector: Vector) {
        (self.0)(vector);
    }
}

// SAFETY: as the shared one. The reference count is not touched.
unsafe impl<H: Handler + Send> Handler for Arc<H> {
    fn interrupt(&self, vector: Vector) {
        (**self).interrupt(vector);
    }
}

// SAFETY: as the shared one.
unsafe impl<H: Handler> Handler for &'static H {
    fn interrupt(&self, vector: Vector) {
        (**self).interrupt(vector);
    }
}

// SAFETY: as both.
unsafe impl<A: Handler, B: Handler> Handler for (A, B) {
    fn interrupt(&self, vector: Vector) {
        self.0.interrupt(vector);
        self.1.interrupt(vector);
    }
}

/// Counts deliveries, per vector.
///
/// ```
/// use std::sync::Arc;
/// use uintr::{Receiver, Vector, handler::Counts};
///
/// let counts = Arc::new(Counts::new());
/// let receiver = Receiver::new(counts.clone())?;
/// receiver.sender(Vector::MAX)?.send();
/// # while counts.total() == 0 {}
/// assert_eq!(counts.get(Vector::MAX), 1);
/// # Ok::<(), uintr::Error>(())
/// ```
pub struct Counts([AtomicU64; Vector::COUNT]);

impl Counts {
    /// All zero.
    pub const fn new() -> Counts {
        Counts([const { AtomicU64::new(0) }; Vector::COUNT])
    }

    /// How often this vector was delivered.
    pub fn get(&self, vector: Vector) -> u64 {
        self.0[vector.index()].load(Acquire)
    }

    /// How many deliveries there were.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|count| count.load(Acquire)).sum()
    }
}

impl Default for Counts {
    fn default() -> Counts {
        Counts::new()
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = Vector::all().map(|vector| (vector.get(), self.get(vector)));
        f.debug_map()
            .entries(counts.filter(|(_, count)| *count != 0))
            .finish()
    }
}

// SAFETY: one atomic addition.
unsafe impl Handler for Counts {
    fn interrupt(&self, vector: Vector) {
        self.0[vector.index()].fetch_add(1, Release);
    }
}

/// Remembers which vectors were delivered.
///
/// ```
/// use std::sync::Arc;
/// use uintr::{Receiver, Vector, VectorSet, handler::Flags};
///
/// let flags = Arc::new(Flags::new());
/// let receiver = Receiver::new(flags.clone())?;
/// receiver.sender(Vector::new(6).unwrap())?.send();
/// # while flags.peek().is_empty() {}
/// assert_eq!(flags.take(), VectorSet::from_bits(1 << 6));
/// assert_eq!(flags.take(), VectorSet::EMPTY);
/// # Ok::<(), uintr::Error>(())
/// ```
#[derive(Default)]
pub struct Flags(AtomicU64);

impl Flags {
    /// None.
    pub const fn new() -> Flags {
        Flags(AtomicU64::new(0))
    }

    /// Those that were delivered since the last time.
    pub fn take(&self) -> VectorSet {
        VectorSet::from_bits(self.0.swap(0, SeqCst))
    }

    /// The same, without forgetting them.
    pub fn peek(&self) -> VectorSet {
        VectorSet::from_bits(self.0.load(Acquire))
    }

    /// Adds one; says whether it is the first.
    fn add(&self, vector: Vector) -> bool {
        self.0.fetch_or(vector.bit(), SeqCst) == 0
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Flags").field(&self.peek()).finish()
    }
}

// SAFETY: one atomic OR.
unsafe impl Handler for Flags {
    fn interrupt(&self, vector: Vector) {
        self.add(vector);
    }
}

/// Remembers which vectors were delivered, and wakes threads that wait for that.
///
/// ```
/// use std::sync::Arc;
/// use uintr::{Receiver, Vector, VectorSet, handler::Event};
///
/// let event = Arc::new(Event::new());
/// let receiver = Receiver::new(event.clone())?;
/// let waiter = std::thread::spawn(move || event.wait(None));
/// receiver.sender(Vector::new(2).unwrap())?.send();
/// assert_eq!(waiter.join().unwrap(), Some(VectorSet::from_bits(1 << 2)));
/// # Ok::<(), uintr::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Event {
    flags: Flags,
    /// What waiters sleep on: changes with every delivery that is the first since the last look.
    changes: AtomicU32,
}

impl Event {
    /// Nothing has happened yet.
    pub const fn new() -> Event {
        Event {
            flags: Flags::new(),
            changes: AtomicU32::new(0),
        }
    }

    /// What was delivered since the last time, without waiting.
    pub fn take(&self) -> VectorSet {
        self.flags.take()
    }

    /// Waits until something is delivered, and takes it; `None` if nothing is for that long.
    ///
    /// This thread sleeps. If it is the receiver itself, it is woken by its own handler; but
    /// [`Receiver::wait`](crate::Receiver::wait) is better at that, and the only one of the two that works in a critical
    /// section or [`with_safepoints`](crate::with_safepoints).
    pub fn wait(&self, timeout: Option<Duration>) -> Option<VectorSet> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let changes = self.changes.load(SeqCst);
            let vectors = self.flags.take();
            if !vectors.is_empty() {
                return Some(vectors);
            }
            if !crate::software::sleep(&self.changes, changes, libc::FUTEX_PRIVATE_FLAG, deadline) {
                return None;
            }
        }
    }
}

// SAFETY: two atomic operations and a futex wake; no locks.
unsafe impl Handler for Event {
    fn interrupt(&self, vector: Vector) {
        if self.flags.add(vector) {
            self.changes.fetch_add(1, SeqCst);
            // SAFETY: FUTEX_WAKE reads nothing.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    self.changes.as_ptr(),
                    libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                    libc::c_int::MAX,
                );
            }
        }
    }
}

/// Remembers which vectors were delivered, and makes a file descriptor readable: for event loops.
///
/// With the feature `mio` it is a `mio::event::Source`; `uintr::tokio::Interrupts` (feature `tokio`) is built on it.
///
/// ```
/// use std::os::fd::AsRawFd;
/// use std::sync::Arc;
/// use uintr::{Receiver, Vector, VectorSet, handler::EventFd};
///
/// let events = Arc::new(EventFd::new()?);
/// let receiver = Receiver::new(events.clone())?;
/// receiver.sender(Vector::new(2).unwrap())?.send();
///
/// let mut poll = libc::pollfd { fd: events.as_raw_fd(), events: libc::POLLIN, revents: 0 };
/// while unsafe { libc::poll(&mut poll, 1, -1) } != 1 {} // EINTR if we were interrupted in here
/// assert_eq!(events.take(), VectorSet::from_bits(1 << 2));
/// # Ok::<(), uintr::Error>(())
/// ```
#[derive(Debug)]
pub struct EventFd {
    flags: Flags,
    file: OwnedFd,
}

impl EventFd {
    /// A new one: nonblocking, close-on-exec.
    ///
    /// # Errors
    ///
    /// If there are too many files.
    pub fn new() -> Result<EventFd, Error> {
        // SAFETY: takes numbers; a new descriptor or -1.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(Error::last("eventfd"));
        }
        Ok(EventFd {
            flags: Flags::new(),
            // SAFETY: new.
            file: unsafe { OwnedFd::from_raw_fd(fd) },
        })
    }

    /// What was delivered since the last time. The file descriptor is readable again when something new is delivered.
    pub fn take(&self) -> VectorSet {
        // First the descriptor, then the flags: who sets a flag after that makes it readable again.
        let mut count = 0u64;
        // SAFETY: reads eight bytes into eight bytes.
        unsafe {
            libc::read(self.file.as_raw_fd(), ptr::from_mut(&mut count).cast(), 8);
        }
        self.flags.take()
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

// SAFETY: one atomic OR and write(2), which signal-safety(7) lists; it does not block.
unsafe impl Handler for EventFd {
    fn interrupt(&self, vector: Vector) {
        if self.flags.add(vector) {
            let one = 1u64;
            // SAFETY: writes eight bytes that are there.
            unsafe {
                libc::write(self.file.as_raw_fd(), ptr::from_ref(&one).cast(), 8);
            }
        }
    }
}
