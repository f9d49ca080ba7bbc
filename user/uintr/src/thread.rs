//! What every thread knows: its receiver if it has one, and whether interrupts are switched off.
//!
//! Everything here is read and written by the thread itself, but also by the handler that interrupts it. So the fields
//! are atomics, accessed relaxed, with compiler fences where the order matters; no other thread ever sees them.
//! The thread-local has a constant initial value and no destructor, so that reaching it is an address computation, also
//! in a signal handler, also while the thread ends.

use crate::handler::Handler;
use crate::software::Page;
use crate::upid::{Mode, Upid};
use crate::vector::{Vector, VectorSet};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, compiler_fence};

/// The descriptor of threads that have none of their own: nobody posts to it.
static NOBODY: Upid = Upid::new();

thread_local! {
    static THREAD: Thread = const {
        Thread {
            context: AtomicPtr::new(ptr::null_mut()),
            upid: AtomicPtr::new((&raw const NOBODY).cast_mut()),
            depth: AtomicU32::new(0),
            handling: AtomicBool::new(false),
            polling: AtomicBool::new(false),
        }
    };
}

/// A thread's state.
pub(crate) struct Thread {
    /// The receiver's, or null.
    context: AtomicPtr<Context>,
    /// The software receiver's, or [`NOBODY`].
    upid: AtomicPtr<Upid>,
    /// Critical sections and handlers that the thread is in. Interrupts are off unless it is 0.
    depth: AtomicU32,
    /// A handler runs.
    handling: AtomicBool,
    /// Interrupts wait for safepoints.
    polling: AtomicBool,
}

/// A receiver's state that its handler needs.
pub(crate) struct Context {
    pub(crate) handler: Box<dyn Handler>,
    /// Deliveries so far.
    pub(crate) delivered: AtomicU64,
    pub(crate) carrier: Carrier,
}

/// What carries the interrupts of a receiver.
pub(crate) enum Carrier {
    Hardware(crate::hardware::Registration),
    Software(Arc<Page>),
}

/// This thread's state, for as long as `f` runs.
pub(crate) fn with<R>(f: impl FnOnce(&Thread) -> R) -> R {
    THREAD.with(f)
}

impl Thread {
    /// The receiver's state. The reference must not outlive the receiver, which only this thread can drop, and not in a
    /// handler.
    fn context(&self) -> Option<&Context> {
        // SAFETY: null, or set by `begin` to a context that is alive until after `end`.
        unsafe { self.context.load(Relaxed).as_ref() }
    }

    pub(crate) fn is_receiver(&self) -> bool {
        !self.context.load(Relaxed).is_null()
    }

    /// Whether this is the context of this thread, and not of a parent process.
    pub(crate) fn is_current(&self, context: *const Context) -> bool {
        ptr::eq(self.context.load(Relaxed), context)
    }

    pub(crate) fn is_handling(&self) -> bool {
        self.handling.load(Relaxed)
    }

    /// From here on interrupts may be delivered through this context, once they are switched on.
    ///
    /// # Safety
    ///
    /// The context stays where it is, and alive, until [`end`](Thread::end).
    pub(crate) unsafe fn begin(&self, context: *mut Context) {
        // SAFETY: alive, says the caller.
        if let Carrier::Software(page) = unsafe { &(*context).carrier } {
            self.upid
                .store(ptr::from_ref(page.upid()).cast_mut(), Relaxed);
        }
        self.context.store(context, Relaxed);
        compiler_fence(SeqCst);
    }

    /// No interrupts are delivered through the context any more.
    pub(crate) fn end(&self) {
        compiler_fence(SeqCst);
        self.context.store(ptr::null_mut(), Relaxed);
        self.upid.store((&raw const NOBODY).cast_mut(), Relaxed);
    }

    /// Switches interrupts off, if they are not. Returns how many switched them off before: for [`unmask`](Thread::unmask).
    pub(crate) fn mask(&self) -> u32 {
        let depth = self.depth.load(Relaxed);
        self.depth.store(depth + 1, Relaxed);
        if depth == 0 {
            match self.context().map(|context| &context.carrier) {
                None => {}
                Some(Carrier::Hardware(_)) => crate::hardware::mask(),
                Some(Carrier::Software(page)) => page.upid().enter(Mode::Masked),
            }
        }
        compiler_fence(SeqCst);
        depth
    }

    /// Undoes [`mask`](Thread::mask); what has come in the meantime is delivered.
    pub(crate) fn unmask(&self, depth: u32) {
        compiler_fence(SeqCst);
        self.depth.store(depth, Relaxed);
        if depth == 0 {
            match self.context().map(|context| (&context.carrier, context)) {
                None => {}
                Some((Carrier::Hardware(_), _)) => crate::hardware::unmask(),
                Some((Carrier::Software(page), context)) => self.rest(context, page.upid()),
            }
        }
    }

    /// Leaves the masked mode of the software backend for the one in which the thread runs normally.
    fn rest(&self, context: &Context, upid: &Upid) {
        loop {
            let pending = if self.polling.load(Relaxed) {
                upid.enter(Mode::Polling);
                upid.is_pending()
            } else {
                upid.enter_and_look(Mode::Interruptible)
            };
            if !pending {
                break;
            }
            upid.enter(Mode::Masked);
            self.deliver_all(context, upid);
        }
    }

    /// Delivers what is posted, highest first, and what is posted meanwhile, until nothing is. Interrupts are masked.
    pub(crate) fn deliver_all(&self, context: &Context, upid: &Upid) {
        let errno = Errno::save();
        let mut requests = VectorSet::EMPTY;
        loop {
            // As the hardware does between two deliveries: a high vector that comes late still goes first.
            requests |= upid.take();
            let Some(vector) = requests.highest() else {
                break;
            };
            requests.remove(vector);
            self.deliver(context, vector);
        }
        errno.restore();
    }

    /// Calls the handler.
    fn deliver(&self, context: &Context, vector: Vector) {
        let depth = self.depth.load(Relaxed);
        let handling = self.handling.load(Relaxed);
        self.depth.store(depth + 1, Relaxed);
        self.handling.store(true, Relaxed);
        compiler_fence(SeqCst);
        call(context, vector.get());
        compiler_fence(SeqCst);
        self.handling.store(handling, Relaxed);
        self.depth.store(depth, Relaxed);
        let delivered = context.delivered.load(Relaxed);
        context.delivered.store(delivered.wrapping_add(1), Relaxed);
    }

    /// A user interrupt of the hardware: called by the trampoline, interrupts are off.
    pub(crate) fn interrupted_by_hardware(&self, vector: Vector) {
        if let Some(context) = self.context() {
            let errno = Errno::save();
            self.deliver(context, vector);
            errno.restore();
        }
    }

    /// The notification signal of the software backend.
    pub(crate) fn interrupted_by_signal(&self) {
        let Some(context) = self.context() else {
            return;
        };
        let Carrier::Software(page) = &context.carrier else {
            return;
        };
        let upid = page.upid();
        if upid.interrupted() {
            upid.enter(Mode::Masked);
            self.deliver_all(context, upid);
            self.rest(context, upid);
        }
    }

    /// Delivers what is posted, unless interrupts are off.
    #[cold]
    fn deliver_at_safepoint(&self) {
        let Some(context) = self.context() else {
            return;
        };
        let Carrier::Software(page) = &context.carrier else {
            return;
        };
        if self.depth.load(Relaxed) == 0 {
            let upid = page.upid();
            upid.enter(Mode::Masked);
            self.deliver_all(context, upid);
            self.rest(context, upid);
        }
    }
}

/// A panic in a handler must not unwind into whatever was interrupted: leaving an `extern "C"` function by a panic aborts.
extern "C" fn call(context: &Context, vector: u8) {
    if let Some(vector) = Vector::new(vector) {
        context.handler.interrupt(vector);
    }
}

/// What errno was, because handlers make system calls in the middle of somebody's own.
struct Errno(i32);

impl Errno {
    fn save() -> Errno {
        // SAFETY: the thread's own errno.
        Errno(unsafe { *libc::__errno_location() })
    }

    fn restore(self) {
        // SAFETY: the thread's own errno.
        unsafe { *libc::__errno_location() = self.0 }
    }
}

/// Runs `f` with user interrupts of this thread switched off. They may be nested; what comes in the meantime is
/// delivered at the end of the outermost one, before this function returns.
///
/// Data that a handler also touches is accessed in here. On a thread that is no receiver, `f` just runs.
///
/// ```
/// use std::sync::Arc;
/// use uintr::{Receiver, Vector, critical_section, handler::Counts};
///
/// let counts = Arc::new(Counts::new());
/// let receiver = Receiver::new(counts.clone())?;
/// let vector = Vector::new(1).unwrap();
/// let sender = receiver.sender(vector)?;
/// critical_section(|| {
///     sender.send();
///     sender.send();
///     assert_eq!(counts.get(vector), 0);
/// });
/// # while counts.get(vector) == 0 {}
/// assert_eq!(counts.get(vector), 1); // the two have become one
/// # Ok::<(), uintr::Error>(())
/// ```
///
/// # Panics
///
/// Not by itself; if `f` panics, interrupts are switched on again.
pub fn critical_section<R>(f: impl FnOnce() -> R) -> R {
    struct Section(u32);
    impl Drop for Section {
        fn drop(&mut self) {
            with(|thread| thread.unmask(self.0));
        }
    }
    let _section = Section(with(Thread::mask));
    f()
}

/// A place where this thread may be interrupted. With the software backend, delivers what is posted (one load if nothing
/// is); with the hardware there is nothing to do. No interrupt is delivered in a critical section or in a handler.
///
/// See [`with_safepoints`].
#[inline]
pub fn safepoint() {
    with(|thread| {
        // SAFETY: the descriptor of this thread's receiver, which is alive, or the static one.
        if unsafe { &*thread.upid.load(Relaxed) }.is_pending() {
            thread.deliver_at_safepoint();
        }
    });
}

/// Runs `f`, which promises to call [`safepoint`] often. With the software backend senders need not send signals
/// meanwhile, and so interrupts become much cheaper: they are delivered at the safepoints only. With the hardware,
/// interrupts are delivered anywhere, as always.
///
/// A system call that blocks in `f` is not interrupted by the software backend. [`Receiver::wait`](crate::Receiver::wait)
/// is: it is a safepoint itself.
///
/// ```
/// use std::sync::Arc;
/// use uintr::{Receiver, Vector, handler::Counts, safepoint, with_safepoints};
///
/// let counts = Arc::new(Counts::new());
/// let receiver = Receiver::new(counts.clone())?;
/// let sender = receiver.sender(Vector::MAX)?;
/// let worker = std::thread::spawn(move || sender.send());
/// with_safepoints(|| {
///     while counts.total() == 0 {
///         safepoint(); // one load
///     }
/// });
/// # worker.join().unwrap();
/// # Ok::<(), uintr::Error>(())
/// ```
pub fn with_safepoints<R>(f: impl FnOnce() -> R) -> R {
    struct Polling(bool);
    impl Drop for Polling {
        fn drop(&mut self) {
            with(|thread| {
                let depth = thread.mask();
                thread.polling.store(self.0, Relaxed);
                thread.unmask(depth);
            });
        }
    }
    let _polling = with(|thread| {
        let depth = thread.mask();
        let before = Polling(thread.polling.swap(true, Relaxed));
        thread.unmask(depth);
        before
    });
    f()
}

/// Forgets the receiver: it belongs to the parent process, of which this is a copy. Called by fork in the child.
pub(crate) extern "C" fn forked() {
    with(Thread::end);
}
