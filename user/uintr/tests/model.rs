//! The protocol of `uintr::upid`, under a model checker: all interleavings (up to a bound on preemptions) of a few
//! senders and a receiver, with the weak memory that C11 allows.
//!
//! ```sh
//! RUSTFLAGS="--cfg uintr_model" cargo test -p uintr --no-default-features --release --test model
//! ```
//!
//! Signals: a sender raises a flag; the receiver runs "the handler" at the next of the points that the model gives it,
//! which are wherever its own next step could be affected. When the receiver has nothing to do but be interrupted, it
//! waits for the flag; a lost notification is a deadlock, which the checker reports. Sleep: a futex, as the kernel defines
//! it: compares and queues under a lock.
#![cfg(uintr_model)]

use loom::sync::atomic::Ordering::{AcqRel, SeqCst};
use loom::sync::atomic::{AtomicBool, AtomicUsize};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use uintr::upid::{AtomicWord, Mode, Notify, Upid};
use uintr::{Vector, VectorSet};

/// The kernel, as far as it matters.
struct Kernel {
    /// The signal is pending.
    signal: AtomicBool,
    /// The queue of the futex, which has room for one.
    bucket: Mutex<Queue>,
    wake: Condvar,
    signals: AtomicUsize,
}

#[derive(Clone, Copy, PartialEq)]
enum Queue {
    Empty,
    Asleep,
    Woken,
}

impl Kernel {
    fn new() -> Kernel {
        Kernel {
            signal: AtomicBool::new(false),
            bucket: Mutex::new(Queue::Empty),
            wake: Condvar::new(),
            signals: AtomicUsize::new(0),
        }
    }

    /// FUTEX_WAIT, which a signal ends too.
    fn futex_wait(&self, word: &AtomicWord, expected: u32) {
        let mut queue = self.bucket.lock().unwrap();
        if word.load(SeqCst) != expected {
            return;
        }
        *queue = Queue::Asleep;
        while *queue == Queue::Asleep && !self.signal.load(SeqCst) {
            queue = self.wake.wait(queue).unwrap();
        }
        *queue = Queue::Empty;
    }

    /// pause(2): until a signal is pending.
    fn pause(&self) {
        let mut queue = self.bucket.lock().unwrap();
        while !self.signal.load(SeqCst) {
            queue = self.wake.wait(queue).unwrap();
        }
    }
}

impl Notify for Kernel {
    fn interrupt(&self) {
        let _queue = self.bucket.lock().unwrap();
        self.signals.fetch_add(1, SeqCst);
        self.signal.swap(true, AcqRel);
        self.wake.notify_all();
    }

    fn wake(&self, _: &AtomicWord) {
        let mut queue = self.bucket.lock().unwrap();
        // Who does not sleep is not woken, nor kept from sleeping.
        if *queue == Queue::Asleep {
            *queue = Queue::Woken;
            self.wake.notify_all();
        }
    }
}

struct World {
    upid: Upid,
    kernel: Kernel,
}

/// The receiver: what `uintr::thread` does, in the terms of the model.
struct Receiver {
    world: Arc<World>,
    /// Which were delivered, and how many deliveries there were.
    delivered: u64,
    deliveries: usize,
}

impl Receiver {
    fn new(world: &Arc<World>) -> Receiver {
        Receiver {
            world: world.clone(),
            delivered: 0,
            deliveries: 0,
        }
    }

    fn deliver_all(&mut self) {
        loop {
            let set: VectorSet = self.world.upid.take();
            if set.is_empty() {
                break;
            }
            self.delivered |= set.bits();
            self.deliveries += set.len();
        }
    }

    /// From masked to interruptible.
    fn unmask(&mut self) {
        while self.world.upid.enter_and_look(Mode::Interruptible) {
            self.point();
            self.world.upid.enter(Mode::Masked);
            self.deliver_all();
        }
        self.point();
    }

    /// A point at which the signal may come.
    fn point(&mut self) {
        if self.world.kernel.signal.swap(false, AcqRel) && self.world.upid.interrupted() {
            self.world.upid.enter(Mode::Masked);
            self.deliver_all();
            self.unmask();
        }
    }

    fn safepoint(&mut self, rest: Mode) {
        if self.world.upid.is_pending() {
            self.world.upid.enter(Mode::Masked);
            self.deliver_all();
            match rest {
                Mode::Polling => self.world.upid.enter(Mode::Polling),
                _ => self.unmask(),
            }
        }
        self.point();
    }

    /// One sleep, as in `Receiver::wait`; interrupts are masked before and after.
    fn wait(&mut self) {
        let world = self.world.clone();
        world.upid.block(|word, expected| {
            // The signal between the look and the sleep:
            if world.kernel.signal.swap(false, AcqRel) {
                assert!(!world.upid.interrupted());
            }
            world.kernel.futex_wait(word, expected);
            if world.kernel.signal.swap(false, AcqRel) {
                assert!(!world.upid.interrupted());
            }
            true
        });
        self.deliver_all();
    }

    /// Runs, without ever looking by itself, until these are delivered.
    fn runs_until(&mut self, bits: u64) {
        while self.delivered & bits != bits {
            self.world.kernel.pause();
            self.point();
        }
    }
}

fn vector(number: u8) -> Vector {
    Vector::new(number).unwrap()
}

/// Runs a receiver among senders, each of which posts its vectors in turn.
fn model(
    preemptions: usize,
    senders: &'static [&'static [u8]],
    receiver: impl Fn(&mut Receiver, u64) + Send + Sync + 'static,
) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(move || {
        let world = Arc::new(World {
            upid: Upid::new(),
            kernel: Kernel::new(),
        });
        let posters: Vec<_> = senders
            .iter()
            .map(|vectors| {
                let world = world.clone();
                thread::spawn(move || {
                    for number in *vectors {
                        world.upid.post(vector(*number), &world.kernel);
                    }
                })
            })
            .collect();
        let all = senders
            .iter()
            .flat_map(|vectors| vectors.iter())
            .fold(0, |bits, number| bits | 1 << number);
        let posts = senders.iter().map(|vectors| vectors.len()).sum();
        let mut me = Receiver::new(&world);
        receiver(&mut me, all);
        assert_eq!(me.delivered, all);
        assert!(me.deliveries <= posts);
        for poster in posters {
            poster.join().unwrap();
        }
    });
}

#[test]
fn a_receiver_that_runs_is_told() {
    model(3, &[&[1], &[2]], |receiver, all| {
        receiver.unmask();
        receiver.runs_until(all);
    });
}

#[test]
fn a_receiver_that_runs_is_told_of_what_is_posted_again() {
    model(3, &[&[1, 2]], |receiver, all| {
        receiver.unmask();
        receiver.runs_until(all);
    });
}

#[test]
fn a_critical_section_loses_nothing() {
    model(2, &[&[1], &[2]], |receiver, all| {
        receiver.unmask();
        receiver.world.upid.enter(Mode::Masked);
        receiver.point();
        receiver.unmask();
        receiver.runs_until(all);
    });
}

#[test]
fn a_safepoint_that_takes_what_a_signal_is_under_way_for_loses_nothing() {
    model(2, &[&[1], &[2]], |receiver, all| {
        receiver.unmask();
        receiver.safepoint(Mode::Interruptible);
        receiver.runs_until(all);
    });
}

#[test]
fn the_end_of_polling_loses_nothing() {
    model(2, &[&[1], &[2]], |receiver, all| {
        receiver.world.upid.enter(Mode::Polling);
        receiver.safepoint(Mode::Polling);
        receiver.world.upid.enter(Mode::Masked);
        receiver.unmask();
        receiver.runs_until(all);
    });
}

#[test]
fn a_receiver_that_sleeps_is_woken() {
    model(3, &[&[1], &[2]], |receiver, all| {
        while receiver.delivered != all {
            receiver.wait();
        }
    });
}

#[test]
fn a_receiver_that_falls_asleep_while_a_signal_comes_is_woken() {
    model(2, &[&[1], &[2]], |receiver, all| {
        receiver.unmask();
        receiver.world.upid.enter(Mode::Masked);
        while receiver.delivered != all {
            receiver.wait();
        }
    });
}

#[test]
fn a_receiver_that_wakes_up_is_told() {
    model(2, &[&[1], &[2, 3]], |receiver, all| {
        receiver.wait();
        receiver.unmask();
        receiver.runs_until(all);
    });
}

/// The signal of what the safepoint took comes between the last look and the sleep, and what is posted meanwhile relies on it.
#[test]
fn a_safepoint_and_a_sleep_lose_nothing() {
    a_safepoint_and_a_sleep(4, &[&[1, 2]]);
    a_safepoint_and_a_sleep(2, &[&[1], &[2, 3]]);
}

fn a_safepoint_and_a_sleep(preemptions: usize, senders: &'static [&'static [u8]]) {
    model(preemptions, senders, |receiver, all| {
        receiver.unmask();
        receiver.safepoint(Mode::Interruptible);
        receiver.world.upid.enter(Mode::Masked);
        while receiver.delivered != all {
            receiver.wait();
        }
    });
}

/// The reason for marking a notification after it is sent: a sender that is killed between its post and its notification
/// does not keep the others from notifying.
#[test]
fn a_sender_that_dies_before_it_notifies_takes_nobody_along() {
    /// Never gets as far as sending a signal, nor further.
    struct Killed;
    impl Notify for Killed {
        fn interrupt(&self) {
            std::panic::resume_unwind(Box::new(()));
        }
        fn wake(&self, _: &AtomicWord) {
            std::panic::resume_unwind(Box::new(()));
        }
    }
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let world = Arc::new(World {
            upid: Upid::new(),
            kernel: Kernel::new(),
        });
        let mut me = Receiver::new(&world);
        me.unmask();
        let others = [1, 2].map(|number| {
            let world = world.clone();
            thread::spawn(move || {
                if number == 1 {
                    let post = std::panic::AssertUnwindSafe(|| world.upid.post(vector(1), &Killed));
                    let _ = std::panic::catch_unwind(post);
                } else {
                    world.upid.post(vector(2), &world.kernel);
                }
            })
        });
        me.runs_until(1 << 2);
        for other in others {
            other.join().unwrap();
        }
    });
}
