//! The receiving side.

use crate::backend::Backend;
use crate::error::Error;
use crate::handler::Handler;
use crate::hardware::{self, SavedRegisters};
use crate::sender::{Sender, UintrFd};
use crate::software;
use crate::thread::{self, Carrier, Context};
use crate::upid::Mode;
use crate::vector::Vector;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use std::{fmt, thread as std_thread};

/// The calling thread, as a receiver of user interrupts.
///
/// From its making to its end, the handler is called in this thread, between any two instructions, whenever somebody
/// sends; except in [`critical_section`](crate::critical_section)s and while the handler runs. A thread can be one
/// receiver at a time. It cannot leave the thread.
///
/// A system call that blocks the thread may end with EINTR after an interrupt, as after a signal. (The standard library's
/// retry where that makes sense.) To block *for* an interrupt, use [`wait`](Receiver::wait), which cannot miss one.
///
/// When it is dropped, the thread is no receiver any more. What was sent and not delivered by then is not delivered; what
/// is sent later does nothing. (With the hardware, the kernel keeps the thread's descriptor: if the thread becomes a
/// receiver again, its old senders work again, and what they sent meanwhile is delivered then.)
///
/// A child process made by fork has copies of the parent's receivers, which receive nothing.
///
/// ```
/// use std::sync::Arc;
/// use uintr::{Receiver, Vector, handler::Counts};
///
/// let counts = Arc::new(Counts::new());
/// let receiver = Receiver::new(counts.clone())?;
/// let sender = receiver.sender(Vector::new(5).unwrap())?;
///
/// std::thread::spawn(move || sender.send());
/// while counts.total() == 0 {
///     receiver.wait(None);
/// }
/// # Ok::<(), uintr::Error>(())
/// ```
pub struct Receiver {
    context: NonNull<Context>,
    backend: Backend,
    /// Deliveries that `wait` has told of.
    seen: Cell<u64>,
    /// It belongs to this thread.
    _thread: PhantomData<*const ()>,
}

/// How a [`Receiver`] shall be.
///
/// ```
/// use uintr::{Backend, Receiver, handler::Flags};
///
/// let receiver = Receiver::builder().backend(Backend::Software).build(Flags::new())?;
/// assert_eq!(receiver.backend(), Backend::Software);
/// # Ok::<(), uintr::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Builder {
    backend: Backend,
    registers: SavedRegisters,
}

impl Builder {
    /// Which machinery carries the interrupts; [`Backend::Auto`] if not said.
    pub fn backend(mut self, backend: Backend) -> Builder {
        self.backend = backend;
        self
    }

    /// What the hardware backend saves around the handler; [`SavedRegisters::Extended`] if not said.
    ///
    /// # Safety
    ///
    /// For less than [`SavedRegisters::Extended`], the handler must not change what is not saved; see there.
    pub unsafe fn saved_registers(mut self, registers: SavedRegisters) -> Builder {
        self.registers = registers;
        self
    }

    /// Makes the calling thread a receiver.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyReceiver`]; [`Error::Unsupported`] and [`Error::UnknownBackend`] as
    /// [`Backend::resolve`]; [`Error::Os`] if the system has no memory or files left.
    pub fn build(self, handler: impl Handler) -> Result<Receiver, Error> {
        if thread::with(|thread| thread.is_receiver()) {
            return Err(Error::AlreadyReceiver);
        }
        let backend = self.backend.resolve()?;
        software::watch_forks();
        let carrier = match backend {
            Backend::Hardware => Carrier::Hardware(hardware::register(self.registers)?),
            _ => Carrier::Software(software::register()?),
        };
        let context = Box::into_raw(Box::new(Context {
            handler: Box::new(handler),
            delivered: AtomicU64::new(0),
            carrier,
        }));
        thread::with(|thread| {
            // Interrupts are off as yet. On from here, unless we are in a critical section.
            let depth = thread.mask();
            // SAFETY: it is dropped by `Drop` only, after `end`.
            unsafe { thread.begin(context) };
            thread.unmask(depth);
        });
        Ok(Receiver {
            // SAFETY: a box's pointer.
            context: unsafe { NonNull::new_unchecked(context) },
            backend,
            seen: Cell::new(0),
            _thread: PhantomData,
        })
    }
}

impl Receiver {
    /// Makes the calling thread a receiver, with what [`Backend::Auto`] comes to.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`].
    pub fn new(handler: impl Handler) -> Result<Receiver, Error> {
        Receiver::builder().build(handler)
    }

    /// Makes a receiver with other than the usual properties.
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn context(&self) -> &Context {
        // SAFETY: lives until we are dropped.
        unsafe { self.context.as_ref() }
    }

    /// Which machinery carries the interrupts: never [`Backend::Auto`].
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// How many interrupts were delivered so far.
    pub fn delivered(&self) -> u64 {
        self.context().delivered.load(Relaxed)
    }

    /// A file descriptor that stands for this vector of this receiver: who has it may send. It can be inherited, and passed
    /// over UNIX sockets.
    ///
    /// With the software backend, who has it can reach all vectors of the receiver, if they want to break the rules.
    ///
    /// # Errors
    ///
    /// If there are too many files; with the software backend also if `/proc` is not mounted.
    pub fn fd(&self, vector: Vector) -> Result<UintrFd, Error> {
        let file = match &self.context().carrier {
            Carrier::Hardware(_) => hardware::descriptor(vector)?,
            Carrier::Software(page) => page.descriptor(vector)?,
        };
        Ok(UintrFd::new(file))
    }

    /// A sender to this vector of this receiver, for the threads of this process.
    ///
    /// # Errors
    ///
    /// With the hardware, if the process has 256 senders already.
    pub fn sender(&self, vector: Vector) -> Result<Sender, Error> {
        match &self.context().carrier {
            Carrier::Hardware(_) => hardware::Target::here(vector).map(Sender::hardware),
            Carrier::Software(page) => Ok(Sender::software(software::Target::here(page, vector))),
        }
    }

    /// As [`safepoint`](crate::safepoint()).
    #[inline]
    pub fn safepoint(&self) {
        thread::safepoint();
    }

    /// Blocks until an interrupt has been delivered since this function last returned `true` (or since the receiver was
    /// made), and returns `true`; or returns `false` after the timeout.
    ///
    /// So nothing is missed, whenever it comes: an interrupt that is delivered between the look at a condition and the
    /// call makes the call return at once. Look again after it returns, because it may return for an interrupt that
    /// was accounted for already:
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use std::time::Duration;
    /// # use uintr::{Receiver, Vector, handler::Flags};
    /// # let flags = Arc::new(Flags::new());
    /// # let receiver = Receiver::new(flags.clone())?;
    /// # let sender = receiver.sender(Vector::MIN)?;
    /// # let other = std::thread::spawn(move || sender.send());
    /// while !flags.peek().contains(Vector::MIN) {
    ///     receiver.wait(None);
    /// }
    /// // Nobody else sends:
    /// receiver.wait(Duration::ZERO);
    /// assert!(!receiver.wait(Duration::from_millis(1)));
    /// # other.join().unwrap();
    /// # Ok::<(), uintr::Error>(())
    /// ```
    ///
    /// Interrupts are delivered in here, also if the caller is in a [`critical_section`](crate::critical_section): it is
    /// open while the thread waits, like a mutex in the wait for a condition variable.
    ///
    /// # Panics
    ///
    /// In a handler, where nothing can be delivered; and in a child process, whose parent's receiver it is.
    pub fn wait(&self, timeout: impl Into<Option<Duration>>) -> bool {
        let deadline = timeout
            .into()
            .and_then(|timeout| Instant::now().checked_add(timeout));
        let context = self.context();
        thread::with(|thread| {
            assert!(
                !thread.is_handling(),
                "a handler cannot wait for interrupts"
            );
            assert!(
                thread.is_current(context),
                "this receiver belongs to the parent process"
            );
            let depth = thread.mask();
            let mut patient = true;
            let woken = loop {
                if let Carrier::Software(page) = &context.carrier {
                    thread.deliver_all(context, page.upid());
                }
                if self.delivered() != self.seen.get() {
                    self.seen.set(self.delivered());
                    break true;
                }
                if !patient {
                    break false;
                }
                match &context.carrier {
                    Carrier::Hardware(registration) => {
                        patient = hardware::sleep(registration, deadline);
                    }
                    Carrier::Software(page) => {
                        patient = page
                            .upid()
                            .block(|word, expected| page.sleep(word, expected, deadline));
                    }
                }
            };
            thread.unmask(depth);
            woken
        })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let context = self.context.as_ptr();
        thread::with(|thread| {
            if !thread.is_current(context) {
                return; // a copy, in a child process
            }
            assert!(
                !thread.is_handling(),
                "a handler cannot drop the receiver that called it"
            );
            let depth = thread.mask();
            match &self.context().carrier {
                Carrier::Hardware(_) => hardware::unregister(),
                Carrier::Software(page) => page.upid().enter(Mode::Gone),
            }
            thread.end();
            thread.unmask(depth);
        });
        // SAFETY: made by `Box::into_raw`; no handler refers to it any more.
        drop(unsafe { Box::from_raw(context) });
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("thread", &std_thread::current().id())
            .field("backend", &self.backend)
            .field("delivered", &self.delivered())
            .finish()
    }
}
