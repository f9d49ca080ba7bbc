//! Receivers and senders, on whatever backend `UINTR_BACKEND` says. None of these tests has a time limit: what must
//! happen is waited for, and what must not happen is made impossible to miss.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread;
use std::time::Duration;
use uintr::handler::{self, Counts, Event, EventFd, Flags, Handler};
use uintr::{
    Backend, Error, Receiver, Sender, UintrFd, Vector, VectorSet, critical_section, safepoint,
    with_safepoints,
};

fn vector(number: u8) -> Vector {
    Vector::new(number).unwrap()
}

/// Remembers the order of deliveries.
struct Order {
    next: AtomicU64,
    vectors: [AtomicU64; 256],
}

impl Order {
    fn new() -> Arc<Order> {
        Arc::new(Order {
            next: AtomicU64::new(0),
            vectors: [const { AtomicU64::new(0) }; 256],
        })
    }

    fn vectors(&self) -> Vec<u64> {
        let many = self.next.load(Acquire) as usize;
        self.vectors[..many]
            .iter()
            .map(|vector| vector.load(Relaxed))
            .collect()
    }
}

// SAFETY: atomics only.
unsafe impl Handler for Order {
    fn interrupt(&self, vector: Vector) {
        let place = self.next.load(Relaxed);
        self.vectors[place as usize].store(vector.get().into(), Relaxed);
        self.next.store(place + 1, Release);
    }
}

#[test]
fn a_send_to_oneself_is_delivered() {
    let counts = Arc::new(Counts::new());
    let receiver = Receiver::new(counts.clone()).unwrap();
    let sender = receiver.sender(vector(7)).unwrap();
    for round in 1..=100 {
        sender.send();
        while counts.get(vector(7)) < round {
            std::hint::spin_loop();
        }
    }
    assert_eq!(counts.total(), 100);
    assert_eq!(receiver.delivered(), 100);
}

#[test]
fn a_thread_is_one_receiver_at_a_time() {
    let receiver = Receiver::new(Flags::new()).unwrap();
    assert!(matches!(
        Receiver::new(Flags::new()),
        Err(Error::AlreadyReceiver)
    ));
    drop(receiver);
    let flags = Arc::new(Flags::new());
    let receiver = Receiver::new(flags.clone()).unwrap();
    receiver.sender(vector(1)).unwrap().send();
    while flags.take().is_empty() {}
}

#[test]
fn another_thread_interrupts_a_loop_that_never_looks() {
    let counts = Arc::new(Counts::new());
    let receiver = Receiver::new(counts.clone()).unwrap();
    let sender = receiver.sender(vector(63)).unwrap();
    let other = thread::spawn(move || sender.send());
    // The loop makes no call and has no safepoint.
    while counts.get(Vector::MAX) == 0 {}
    other.join().unwrap();
}

#[test]
fn every_vector_arrives_as_itself() {
    let counts = Arc::new(Counts::new());
    let receiver = Receiver::new(counts.clone()).unwrap();
    let senders: Vec<Sender> = Vector::all()
        .map(|vector| receiver.sender(vector).unwrap())
        .collect();
    let other = thread::spawn(move || senders.iter().for_each(Sender::send));
    while counts.total() < 64 {
        receiver.wait(None);
    }
    other.join().unwrap();
    for vector in Vector::all() {
        assert_eq!(counts.get(vector), 1, "vector {vector}");
    }
}

#[test]
fn in_a_critical_section_nothing_is_delivered_and_afterwards_all_highest_first() {
    let order = Order::new();
    let receiver = Receiver::new(order.clone()).unwrap();
    let senders = [3, 60, 0, 41].map(|number| receiver.sender(vector(number)).unwrap());
    critical_section(|| {
        senders.iter().for_each(Sender::send);
        critical_section(|| senders.iter().for_each(Sender::send));
        // The end of the inner one must not have switched them on.
        safepoint();
        thread::yield_now();
        assert_eq!(order.vectors(), []);
    });
    while order.next.load(Acquire) < 4 {}
    assert_eq!(order.vectors(), [60, 41, 3, 0]);
}

#[test]
fn a_panic_ends_a_critical_section() {
    let counts = Arc::new(Counts::new());
    let receiver = Receiver::new(counts.clone()).unwrap();
    let sender = receiver.sender(vector(1)).unwrap();
    std::panic::catch_unwind(|| critical_section(|| std::panic::resume_unwind(Box::new(()))))
        .unwrap_err();
    sender.send();
    while counts.total() == 0 {}
}

#[test]
fn a_receiver_made_in_a_critical_section_waits_for_its_end() {
    let counts = Arc::new(Counts::new());
    let receiver = critical_section(|| {
        let receiver = Receiver::new(counts.clone()).unwrap();
        receiver.sender(vector(1)).unwrap().send();
        assert_eq!(counts.total(), 0);
        receiver
    });
    while counts.total() == 0 {}
    drop(receiver);
}

#[test]
fn handlers_are_not_interrupted_and_may_send_and_have_critical_sections() {
    static INSIDE: AtomicBool = AtomicBool::new(false);
    struct Chain {
        sender: OnceLock<Sender>,
        order: Arc<Order>,
    }
    // SAFETY: atomics, and a cell that is filled before the first interrupt.
    unsafe impl Handler for Chain {
        fn interrupt(&self, vector: Vector) {
            assert!(!INSIDE.swap(true, SeqCst), "a handler was interrupted");
            if vector.get() < 5 {
                self.sender.get().unwrap().send();
            }
            critical_section(safepoint);
            self.order.interrupt(vector);
            INSIDE.store(false, SeqCst);
        }
    }
    let order = Order::new();
    let chain = Arc::new(Chain {
        sender: OnceLock::new(),
        order: order.clone(),
    });
    let receiver = Receiver::new(chain.clone()).unwrap();
    chain
        .sender
        .set(receiver.sender(vector(9)).unwrap())
        .unwrap();
    let first = receiver.sender(vector(2)).unwrap();
    for round in 1..=100 {
        first.send();
        while order.next.load(Acquire) < 2 * round {}
    }
    assert_eq!(order.vectors(), [2, 9].repeat(100));
}

#[test]
fn with_safepoints_delivery_is_at_safepoints_with_the_software_only() {
    let counts = Arc::new(Counts::new());
    let receiver = Receiver::builder()
        .backend(Backend::Software)
        .build(counts.clone())
        .unwrap();
    let sender = receiver.sender(vector(1)).unwrap();
    with_safepoints(|| {
        sender.send();
        thread::yield_now();
        assert_eq!(counts.total(), 0);
        safepoint();
        assert_eq!(counts.total(), 1);
        with_safepoints(|| sender.send());
        // The end of a nested one, like of a critical section, is a safepoint.
        assert_eq!(counts.total(), 2);
        critical_section(|| {
            sender.send();
            safepoint();
            assert_eq!(counts.total(), 2);
        });
        assert_eq!(counts.total(), 3);
        sender.send();
    });
    assert_eq!(counts.total(), 4);
    // Interruptible again:
    let other = thread::spawn(move || sender.send());
    while counts.total() < 5 {}
    other.join().unwrap();
}

#[test]
fn wait_returns_for_every_interrupt_whenever_it_comes() {
    let counts = Arc::new(Counts::new());
    let receiver = Receiver::new(counts.clone()).unwrap();
    let sender = receiver.sender(vector(1)).unwrap();
    let go = AtomicU64::new(0);
    let rounds = 2000;
    thread::scope(|scope| {
        let go = &go;
        scope.spawn(move || {
            for round in 1..=rounds {
                while go.load(Acquire) < round {
                    thread::yield_now();
                }
                // Sometimes before the receiver waits, sometimes after.
                for _ in 0..round % 97 * 20 {
                    std::hint::spin_loop();
                }
                sender.send();
            }
        });
        for round in 1..=rounds {
            go.store(round, Release);
            while counts.total() < round {
                assert!(receiver.wait(None));
            }
        }
    });
    assert_eq!(counts.total(), rounds);
    receiver.wait(Duration::ZERO);
    assert!(!receiver.wait(Duration::from_millis(1)));
}

#[test]
fn wait_opens_the_critical_section_that_it_is_called_in() {
    let counts = Arc::new(Counts::new());
    let receiver = Receiver::new(counts.clone()).unwrap();
    let sender = receiver.sender(vector(1)).unwrap();
    let other = sender.clone();
    critical_section(|| {
        let thread = thread::spawn(move || other.send());
        while counts.total() == 0 {
            assert!(receiver.wait(Duration::MAX));
        }
        thread.join().unwrap();
        // And closes it again.
        sender.send();
        safepoint();
        assert_eq!(counts.total(), 1);
    });
    while counts.total() < 2 {}
}

#[test]
fn sending_to_a_receiver_that_is_gone_does_nothing() {
    let counts = Arc::new(Counts::new());
    let (sender, fd) = thread::scope(|scope| {
        let counts = counts.clone();
        scope
            .spawn(move || {
                let receiver = Receiver::new(counts).unwrap();
                let vector = vector(1);
                (
                    receiver.sender(vector).unwrap(),
                    receiver.fd(vector).unwrap(),
                )
            })
            .join()
            .unwrap()
    });
    sender.send();
    assert_eq!(counts.total(), 0);
    // The kernel may tell of the end of a thread a moment after it was joined.
    let error = loop {
        match fd.connect() {
            Ok(_) => thread::yield_now(),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Gone), "{error}");
}

#[test]
fn a_forgotten_receiver_of_a_thread_that_ended_is_gone_too() {
    let sender = thread::spawn(|| {
        let receiver = Receiver::new(Flags::new()).unwrap();
        let sender = receiver.sender(vector(1)).unwrap();
        std::mem::forget(receiver);
        sender
    })
    .join()
    .unwrap();
    sender.send();
    sender.send();
}

#[test]
fn other_files_are_no_uintr_fds() {
    let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
    assert!(matches!(
        UintrFd::from(file).connect(),
        Err(Error::NotUintrFd)
    ));
    let event: OwnedFd = EventFd::new()
        .unwrap()
        .as_fd()
        .try_clone_to_owned()
        .unwrap();
    assert!(matches!(
        UintrFd::from(event).connect(),
        Err(Error::NotUintrFd)
    ));
}

#[test]
fn descriptors_stand_for_their_vectors() {
    let counts = Arc::new(Counts::new());
    let receiver = Receiver::new(counts.clone()).unwrap();
    let fds: Vec<UintrFd> = [0, 31, 63]
        .map(|number| receiver.fd(vector(number)).unwrap())
        .into();
    for fd in &fds {
        fd.try_clone().unwrap().connect().unwrap().send();
    }
    while counts.total() < 3 {}
    for number in [0, 31, 63] {
        assert_eq!(counts.get(vector(number)), 1);
    }
}

#[test]
fn two_receivers_interrupt_each_other() {
    const ROUNDS: u64 = 1000;
    let barrier = Barrier::new(2);
    let fds: [Mutex<Option<UintrFd>>; 2] = [const { Mutex::new(None) }; 2];
    thread::scope(|scope| {
        for me in 0..2 {
            let (barrier, fds) = (&barrier, &fds);
            scope.spawn(move || {
                let counts = Arc::new(Counts::new());
                let receiver = Receiver::new(counts.clone()).unwrap();
                *fds[me].lock().unwrap() = Some(receiver.fd(vector(me as u8)).unwrap());
                barrier.wait();
                let other = fds[1 - me]
                    .lock()
                    .unwrap()
                    .take()
                    .unwrap()
                    .connect()
                    .unwrap();
                for round in 1..=ROUNDS {
                    if me == 0 {
                        other.send();
                    }
                    while counts.total() < round {
                        receiver.wait(None);
                    }
                    if me == 1 {
                        other.send();
                    }
                }
                assert_eq!(counts.get(vector(me as u8)), ROUNDS);
                barrier.wait();
            });
        }
    });
}

#[test]
fn errno_survives_an_interrupt() {
    // SAFETY: errno is the thread's own, and system calls are allowed in handlers.
    let handler = unsafe {
        handler::from_fn(|_| {
            libc::close(-1);
        })
    };
    let receiver = Receiver::new(handler).unwrap();
    let sender = receiver.sender(vector(1)).unwrap();
    for round in 1..=10 {
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = 1234 };
        sender.send();
        while receiver.delivered() < round {
            safepoint();
        }
        // SAFETY: as above.
        assert_eq!(unsafe { *libc::__errno_location() }, 1234);
    }
}

#[test]
fn floating_point_and_vector_registers_survive_an_interrupt() {
    static SINK: AtomicU64 = AtomicU64::new(0);
    // Fills vector registers with other values and changes the rounding of conversions.
    // SAFETY: no allocation, no locks, atomics only.
    let handler = unsafe {
        handler::from_fn(|vector| {
            let mut x = [f64::from(vector.get()); 16];
            for _ in 0..4 {
                for (place, value) in x.iter_mut().enumerate() {
                    *value = std::hint::black_box(*value).sqrt() * 1.25 + place as f64;
                }
            }
            SINK.fetch_add(x.iter().sum::<f64>().to_bits() & 1, Relaxed);
        })
    };
    /// Keeps 16 sums in registers, as far as there are any.
    fn sums(start: f64) -> [f64; 16] {
        let mut x = [0.0; 16];
        for step in 0..20_000u32 {
            for (place, value) in x.iter_mut().enumerate() {
                *value = (*value + start + f64::from(step)) * (1.0 / (place + 2) as f64);
            }
        }
        x
    }
    let expected = sums(0.5);
    let receiver = Receiver::new(handler).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let sender = receiver.sender(vector(33)).unwrap();
    let other = thread::spawn({
        let stop = stop.clone();
        move || {
            while !stop.load(Relaxed) {
                sender.send();
                for _ in 0..200 {
                    std::hint::spin_loop();
                }
            }
        }
    });
    while receiver.delivered() < 200 {
        assert_eq!(sums(std::hint::black_box(0.5)), expected);
    }
    stop.store(true, Relaxed);
    other.join().unwrap();
}

#[test]
fn an_event_wakes_another_thread_and_the_receiver_itself() {
    let event = Arc::new(Event::new());
    let receiver = Receiver::new(event.clone()).unwrap();
    let sender = receiver.sender(vector(4)).unwrap();
    let waiter = thread::spawn({
        let event = event.clone();
        move || event.wait(None)
    });
    sender.send();
    assert_eq!(waiter.join().unwrap(), Some(VectorSet::from(vector(4))));

    let other = thread::spawn(move || sender.send());
    assert_eq!(event.wait(None), Some(VectorSet::from(vector(4))));
    other.join().unwrap();
    assert_eq!(event.wait(Some(Duration::from_millis(1))), None);
}

#[test]
fn a_pair_of_handlers_is_called_in_order() {
    let (counts, flags) = (Arc::new(Counts::new()), Arc::new(Flags::new()));
    let receiver = Receiver::new((counts.clone(), flags.clone())).unwrap();
    receiver.sender(vector(11)).unwrap().send();
    while flags.peek().is_empty() {}
    assert_eq!(counts.get(vector(11)), 1);
}

#[test]
fn the_stack_below_an_interrupted_leaf_function_survives() {
    // A leaf function may keep data in the 128 bytes below its stack pointer. Many small functions, interrupted often.
    #[inline(never)]
    fn leaf(a: u64) -> u64 {
        let values: [u64; 12] = std::array::from_fn(|place| a.rotate_left(place as u32));
        let values = std::hint::black_box(values);
        values.iter().fold(0, |sum, value| sum ^ value)
    }
    let receiver = Receiver::new(Counts::new()).unwrap();
    let sender = receiver.sender(vector(1)).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let other = thread::spawn({
        let stop = stop.clone();
        move || {
            while !stop.load(Relaxed) {
                sender.send();
            }
        }
    });
    let start = Cell::new(1u64);
    while receiver.delivered() < 500 {
        let a = start.get();
        let expected = (0..12).fold(0, |sum, place| sum ^ a.rotate_left(place));
        assert_eq!(leaf(a), expected);
        start.set(a.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
    stop.store(true, Relaxed);
    other.join().unwrap();
}
