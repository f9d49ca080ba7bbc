//! The software descriptor: how interrupts are posted to a receiver, and how it learns of them.
//!
//! A [`Upid`] plays the part of the processor's user posted-interrupt descriptor (Intel SDM, "User Interrupts", "User
//! Posted-Interrupt Descriptor"): a word with one request bit per vector, and what a sender needs to know in order to
//! notify. Its layout is ours, because a software receiver has more states than the ON and SN bits can tell. It lives
//! in memory that all senders share. Nothing in this module needs an operating system or allocates; what a notification
//! *is* (a signal, a futex) is the caller's business, through [`Notify`].
//!
//! # The protocol
//!
//! A sender **posts**: one locked OR into PIR, then a look at the receiver's *mode*. If the mode says that somebody must
//! tell the receiver (it is running anywhere, or asleep), the sender does so, unless another sender has done that since
//! PIR was last emptied.
//!
//! A receiver that changes its mode to one in which it relies on being told (or on looking itself at the next
//! safepoint) **stores the mode, then looks at PIR**. The sender's order is the mirror image, and all four accesses are
//! sequentially consistent: either the sender sees the new mode, or the receiver sees the bit. So nothing is lost.
//!
//! A receiver **takes** all bits with one exchange against zero. A bit is set or it is not: what is posted again before
//! it is taken is delivered once, as by the hardware.
//!
//! # Who notifies
//!
//! The obvious rule, "whoever found PIR empty notifies", has a hole: that sender may be preempted, or killed, between
//! its OR and its notification, and all others rely on it. The hardware has no such gap; its ON bit says that a
//! notification *is* under way. So here: a sender marks a notification only *after* sending it, and until then every
//! other sender sends one as well (a second signal finds the first pending; a second futex wake finds nobody).
//!
//! The mark is the number of the *epoch* that the sender read before. The receiver begins a new epoch whenever it
//! consumes a notification: when the signal comes, and when it ends a sleep. A mark that comes late names an epoch that
//! is over, and counts for nothing.
//!
//! Why a sender may rely on a mark: B posts, then reads epoch *e*, then the mark *e* of A. A sent a notification after
//! reading *e*; it was not consumed when B read *e*, which was after B's post. So it will be consumed later, and the
//! receiver begins the new epoch *before* it looks at PIR. (The same four-access argument as above: B's OR and its load
//! of the epoch, the receiver's store of the epoch and its load of PIR.) If the receiver is masked when it consumes,
//! it looks when it switches interrupts on; if it is about to sleep, it does not.
//!
//! `tests/model.rs` has all this checked by a model checker.

use crate::vector::{Vector, VectorSet};
use core::fmt;

#[cfg(uintr_model)]
use loom::sync::atomic::{AtomicU32, AtomicU64, fence};

#[cfg(not(uintr_model))]
use core::sync::atomic::{AtomicU32, AtomicU64};

use core::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};

/// What a sender has to do beyond posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Mode {
    /// Runs, and may be interrupted anywhere: send it a signal.
    Interruptible = 0,
    /// Runs, and has interrupts switched off: nothing, it looks when it switches them on.
    Masked = 1,
    /// Runs, and looks at every safepoint: nothing.
    Polling = 2,
    /// Asleep on the mode word, or about to be: wake it.
    Blocked = 3,
    /// Was [`Blocked`](Mode::Blocked); a sender is waking it.
    Woken = 4,
    /// There is no receiver any more: nothing.
    Gone = 5,
}

impl Mode {
    /// The mode word's meaning. A word that no receiver of this library would write counts as [`Gone`](Mode::Gone).
    fn from_word(word: u32) -> Mode {
        match word {
            0 => Mode::Interruptible,
            1 => Mode::Masked,
            2 => Mode::Polling,
            3 => Mode::Blocked,
            4 => Mode::Woken,
            _ => Mode::Gone,
        }
    }
}

/// How a sender reaches the receiver. Both may be called more often than necessary.
pub trait Notify {
    /// Makes the receiver's thread call [`Upid::interrupted`] soon, wherever it is.
    fn interrupt(&self);
    /// Wakes the receiver's thread if it sleeps on this word, which is the one that [`Upid::block`] gave to its
    /// `sleep`.
    fn wake(&self, word: &AtomicWord);
}

/// The word that a blocked receiver sleeps on.
pub type AtomicWord = AtomicU32;

/// The software descriptor of one receiver. See the [module's page](self) for the protocol.
///
/// All methods that change the mode or take belong to the receiver's thread; [`post`](Upid::post) is for everybody.
/// Confusing that costs deliveries, but is not undefined behaviour: there is nothing in here but integers.
///
/// ```
/// use uintr::Vector;
/// use uintr::upid::{AtomicWord, Mode, Notify, Upid};
///
/// struct Print;
/// impl Notify for Print {
///     fn interrupt(&self) { println!("a signal would be sent"); }
///     fn wake(&self, _: &AtomicWord) { println!("a futex would be woken"); }
/// }
///
/// let upid = Upid::new();
/// upid.enter(Mode::Polling);
/// upid.post(Vector::new(3).unwrap(), &Print); // says nothing: the receiver looks by itself
/// upid.post(Vector::new(5).unwrap(), &Print);
/// upid.post(Vector::new(3).unwrap(), &Print);
/// assert!(upid.is_pending());
/// let order: Vec<u8> = upid.take().into_iter().map(Vector::get).collect();
/// assert_eq!(order, [5, 3]);
/// ```
#[repr(C, align(64))]
pub struct Upid {
    /// The requests: bit *n* is vector *n*.
    pir: AtomicU64,
    /// Counts consumed notifications; written by the receiver only.
    epoch: AtomicU64,
    /// An epoch in which a notification was sent: the hardware's ON, if it is the current one.
    notified: AtomicU64,
    /// A [`Mode`].
    mode: AtomicU32,
}

impl Upid {
    /// No requests, and interrupts switched off.
    #[cfg(not(uintr_model))]
    pub const fn new() -> Upid {
        Upid {
            pir: AtomicU64::new(0),
            epoch: AtomicU64::new(1),
            notified: AtomicU64::new(0),
            mode: AtomicU32::new(Mode::Masked as u32),
        }
    }

    /// No requests, and interrupts switched off.
    #[cfg(uintr_model)]
    pub fn new() -> Upid {
        Upid {
            pir: AtomicU64::new(0),
            epoch: AtomicU64::new(1),
            notified: AtomicU64::new(0),
            mode: AtomicU32::new(Mode::Masked as u32),
        }
    }

    /// The model checker treats sequentially consistent accesses as acquire and release, and only fences as more. Real
    /// code needs none: the accesses on both sides are sequentially consistent.
    fn model_fence() {
        #[cfg(uintr_model)]
        fence(SeqCst);
    }

    fn store_mode(&self, mode: Mode, order: Ordering) {
        #[cfg(not(uintr_model))]
        self.mode.store(mode as u32, order);
        // The model checker does not conclude that a store comes after the compare-exchange that read what it replaced.
        #[cfg(uintr_model)]
        self.mode
            .swap(mode as u32, if order == SeqCst { SeqCst } else { AcqRel });
    }

    /// Posts a vector and sees to it that the receiver will take it. Never blocks.
    ///
    /// What the sender wrote before is visible to the handler.
    pub fn post(&self, vector: Vector, notify: &impl Notify) {
        self.pir.fetch_or(vector.bit(), SeqCst);
        Self::model_fence();
        // The epoch before the mode: a receiver that ends a sleep changes the mode first and the epoch after it, so that
        // nobody who sees it asleep can mark the epoch in which it is not.
        let epoch = self.epoch.load(SeqCst);
        let mode = Mode::from_word(self.mode.load(SeqCst));
        if matches!(mode, Mode::Masked | Mode::Polling | Mode::Gone)
            || self.notified.load(Acquire) == epoch
        {
            return;
        }
        if mode == Mode::Interruptible {
            notify.interrupt();
        } else {
            // A receiver that is not asleep yet will not fall asleep: the word is not what it expects.
            let _ = self.mode.compare_exchange(
                Mode::Blocked as u32,
                Mode::Woken as u32,
                SeqCst,
                Relaxed,
            );
            notify.wake(&self.mode);
        }
        self.notified.store(epoch, Release);
    }

    /// Whether something is posted: one load, cheap enough for a safepoint in a loop.
    #[inline(always)]
    pub fn is_pending(&self) -> bool {
        self.pir.load(Relaxed) != 0
    }

    /// The requests, without taking them.
    pub fn pending(&self) -> VectorSet {
        VectorSet::from_bits(self.pir.load(Relaxed))
    }

    /// Takes all requests. Costs a load if there are none.
    #[inline]
    pub fn take(&self) -> VectorSet {
        match self.is_pending() {
            true => VectorSet::from_bits(self.pir.swap(0, AcqRel)),
            false => VectorSet::EMPTY,
        }
    }

    /// Consumes a notification by signal: to be called first thing in its handler. Says whether to
    /// [`take`](Upid::take) now; if not, the receiver will by itself.
    #[must_use = "nobody else will deliver what is posted"]
    pub fn interrupted(&self) -> bool {
        self.next_epoch();
        match self.mode() {
            Mode::Interruptible => true,
            // Between the look and the sleep; do not sleep.
            Mode::Blocked => {
                self.store_mode(Mode::Woken, Release);
                false
            }
            Mode::Masked | Mode::Polling | Mode::Woken | Mode::Gone => false,
        }
    }

    /// A notification is consumed; whoever posts from here on has to notify anew.
    fn next_epoch(&self) {
        // A read-modify-write, because the signal may come in the middle of it.
        self.epoch.fetch_add(1, SeqCst);
        Self::model_fence();
    }

    /// The receiver's mode.
    pub fn mode(&self) -> Mode {
        Mode::from_word(self.mode.load(Relaxed))
    }

    /// Changes the mode without looking at PIR: for modes that owe nobody a look, which are
    /// [`Masked`](Mode::Masked) and [`Gone`](Mode::Gone), and [`Polling`](Mode::Polling), which looks at the next
    /// safepoint. A notification may still be under way, and must then be ignored.
    pub fn enter(&self, mode: Mode) {
        debug_assert!(matches!(mode, Mode::Masked | Mode::Polling | Mode::Gone));
        self.store_mode(mode, Release);
    }

    /// Changes the mode and then looks: whether something is posted that no sender will tell of.
    #[must_use = "nobody else will deliver what was found"]
    pub fn enter_and_look(&self, mode: Mode) -> bool {
        self.store_mode(mode, SeqCst);
        Self::model_fence();
        self.pir.load(SeqCst) != 0
    }

    /// Sleeps until something is posted, or `sleep` gives up; says whether something is posted.
    ///
    /// `sleep(word, expected)` sleeps while `*word == expected`, if [`Notify::wake`] does not wake it; it may also return
    /// at any time for no reason. It returns `false` to give up. Afterwards the mode is
    /// [`Masked`](Mode::Masked).
    pub fn block(&self, mut sleep: impl FnMut(&AtomicWord, u32) -> bool) -> bool {
        let mut patient = true;
        loop {
            let pending = self.enter_and_look(Mode::Blocked);
            let slept = !pending && patient;
            if slept {
                patient = sleep(&self.mode, Mode::Blocked as u32);
            }
            // Whether or not it was a notification that ended the sleep, there may have been one. The mode first: who reads
            // the new epoch must not believe that it can wake this sleep, and mark the epoch for having done so.
            self.store_mode(Mode::Masked, Release);
            self.next_epoch();
            let pending = self.is_pending();
            if pending || !slept {
                return pending;
            }
        }
    }
}

impl Default for Upid {
    fn default() -> Upid {
        Upid::new()
    }
}

impl fmt::Debug for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upid")
            .field("pending", &self.pending())
            .field("mode", &self.mode())
            .finish()
    }
}

#[cfg(all(test, not(uintr_model)))]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::sync::atomic::AtomicUsize;
    use std::vec::Vec;

    /// Counts what it is asked to do.
    #[derive(Default)]
    struct Asked {
        interrupt: Cell<u32>,
        wake: Cell<u32>,
    }

    impl Notify for Asked {
        fn interrupt(&self) {
            self.interrupt.set(self.interrupt.get() + 1);
        }

        fn wake(&self, _: &AtomicWord) {
            self.wake.set(self.wake.get() + 1);
        }
    }

    fn vector(number: u8) -> Vector {
        Vector::new(number).unwrap()
    }

    /// What senders share has to be where they expect it, whatever program they are.
    #[test]
    fn the_layout_is_fixed() {
        assert_eq!(size_of::<Upid>(), 64);
        assert_eq!(align_of::<Upid>(), 64);
        assert_eq!(core::mem::offset_of!(Upid, pir), 0);
        assert_eq!(core::mem::offset_of!(Upid, epoch), 8);
        assert_eq!(core::mem::offset_of!(Upid, notified), 16);
        assert_eq!(core::mem::offset_of!(Upid, mode), 24);
    }

    #[test]
    fn one_signal_is_sent_until_it_is_consumed() {
        let (upid, asked) = (Upid::new(), Asked::default());
        assert!(!upid.enter_and_look(Mode::Interruptible));
        for number in 0..10 {
            upid.post(vector(number), &asked);
        }
        assert_eq!(asked.interrupt.get(), 1);
        // Taken without the signal, at a safepoint: the signal still stands for what comes.
        assert_eq!(upid.take().len(), 10);
        upid.post(vector(1), &asked);
        assert_eq!(asked.interrupt.get(), 1);
        assert!(upid.interrupted());
        assert_eq!(upid.take().len(), 1);
        upid.post(vector(2), &asked);
        assert_eq!((asked.interrupt.get(), asked.wake.get()), (2, 0));
    }

    #[test]
    fn nobody_is_told_who_looks_by_himself_or_is_gone() {
        for mode in [Mode::Masked, Mode::Polling, Mode::Gone] {
            let (upid, asked) = (Upid::new(), Asked::default());
            upid.enter(mode);
            upid.post(Vector::MAX, &asked);
            assert_eq!((asked.interrupt.get(), asked.wake.get()), (0, 0));
            assert_eq!(upid.pending(), VectorSet::from(Vector::MAX));
            assert!(upid.enter_and_look(Mode::Interruptible));
        }
    }

    #[test]
    fn a_sleeper_is_woken_and_a_signal_keeps_it_awake() {
        let (upid, asked) = (Upid::new(), Asked::default());
        let mut sleeps = 0;
        let pending = upid.block(|word, expected| {
            sleeps += 1;
            match sleeps {
                // A signal before the sleep: the word must have changed.
                1 => assert!(!upid.interrupted()),
                2 => upid.post(vector(8), &asked),
                _ => unreachable!("something is posted"),
            }
            assert_ne!(word.load(Relaxed), expected);
            true
        });
        assert!(pending);
        assert_eq!((asked.interrupt.get(), asked.wake.get()), (0, 1));
        assert_eq!(upid.mode(), Mode::Masked);
        upid.take();
        assert!(!upid.block(|_, _| false), "gave up, and nothing is posted");
    }

    #[test]
    fn posts_of_many_threads_are_all_taken() {
        struct Nobody;
        impl Notify for Nobody {
            fn interrupt(&self) {}
            fn wake(&self, _: &AtomicWord) {}
        }
        let (upid, running) = (Upid::new(), AtomicUsize::new(3));
        let counts = std::thread::scope(|scope| {
            for lane in 0..3u8 {
                let (upid, running) = (&upid, &running);
                scope.spawn(move || {
                    for number in (lane..64).step_by(3) {
                        upid.post(vector(number), &Nobody);
                    }
                    running.fetch_sub(1, Release);
                });
            }
            let mut counts: Vec<u32> = std::vec![0; 64];
            loop {
                let last = running.load(Acquire) == 0;
                for vector in upid.take() {
                    counts[vector.index()] += 1;
                }
                if last {
                    break counts;
                }
                std::thread::yield_now();
            }
        });
        assert_eq!(counts, [1; 64]);
    }
}
