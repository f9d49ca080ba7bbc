//! How long does it take to get another thread's attention?
//!
//! ```sh
//! cargo run --release -p uintr --example latency [ROUNDS]
//! ```
//!
//! Measures one-way latency (from just before the send to the receiver's noticing) and round trips, by the time-stamp
//! counter, between two threads on two processors: user interrupts on the backend that `UINTR_BACKEND` says, against a
//! plain signal, an eventfd, a pipe, a futex, and a flag in shared memory that the receiver does nothing but look at. The
//! receiver either runs (computes; with user interrupts also with safepoints) or is blocked.

use std::os::fd::RawFd;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use std::{ptr, thread};
use uintr::handler::Handler;
use uintr::{Receiver, Sender, Vector, safepoint, with_safepoints};

// ---- time ----

#[cfg(target_arch = "x86_64")]
fn now() -> u64 {
    // Waits for what comes before it, so that a time is not earlier than what it is the time of.
    let mut aux = 0;
    // SAFETY: every processor with user interrupts has RDTSCP, and every other one of the last fifteen years.
    unsafe { std::arch::x86_64::__rdtscp(&mut aux) }
}

#[cfg(not(target_arch = "x86_64"))]
fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a live local.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Ticks of `now` in a microsecond.
fn ticks_per_microsecond() -> f64 {
    let (start, clock) = (now(), Instant::now());
    while clock.elapsed() < Duration::from_millis(20) {}
    (now() - start) as f64 / clock.elapsed().as_secs_f64() / 1e6
}

// ---- what both sides share ----

/// One direction: when it was sent, when it was noticed, and how many were.
#[repr(align(128))]
#[derive(Default)]
struct Lane {
    sent: AtomicU64,
    noticed_at: AtomicU64,
    noticed: AtomicU64,
}

impl Lane {
    fn notice(&self) {
        self.noticed_at.store(now(), Relaxed);
        self.noticed.store(self.noticed.load(Relaxed) + 1, Release);
    }
}

/// What an interrupted thread does: notices.
struct Noticing(&'static Lane);

// SAFETY: atomics and RDTSCP.
unsafe impl Handler for Noticing {
    fn interrupt(&self, _: Vector) {
        self.0.notice();
    }
}

// ---- the ways ----

/// A way to get a thread's attention, made in the thread whose attention it gets.
trait Way: Sync + Send {
    /// In the receiving thread, before anything else.
    fn prepare(&self, lane: &'static Lane);
    /// In the receiving thread: until `lane.noticed` is `count`.
    fn receive(&self, lane: &'static Lane, count: u64);
    /// In the sending thread.
    fn send(&self);
    /// In the receiving thread, after everything else.
    fn finish(&self) {}
}

/// How the receiver spends its time.
#[derive(Clone, Copy, PartialEq)]
enum Receiving {
    Running,
    Safepoints,
    Blocked,
}

/// Computes for a few instructions.
fn compute() {
    std::hint::black_box(1u64);
}

struct UserInterrupt {
    receiving: Receiving,
    sender: std::sync::OnceLock<Sender>,
}

thread_local! {
    static RECEIVER: std::cell::RefCell<Option<Receiver>> = const { std::cell::RefCell::new(None) };
}

impl Way for UserInterrupt {
    fn prepare(&self, lane: &'static Lane) {
        let receiver = Receiver::new(Noticing(lane)).unwrap();
        let sender = receiver.sender(Vector::MAX).unwrap();
        assert!(self.sender.set(sender).is_ok());
        RECEIVER.set(Some(receiver));
    }

    fn receive(&self, lane: &'static Lane, count: u64) {
        match self.receiving {
            Receiving::Running => {
                while lane.noticed.load(Acquire) < count {
                    compute();
                }
            }
            Receiving::Safepoints => with_safepoints(|| {
                while lane.noticed.load(Acquire) < count {
                    compute();
                    safepoint();
                }
            }),
            Receiving::Blocked => RECEIVER.with_borrow(|receiver| {
                while lane.noticed.load(Acquire) < count {
                    receiver.as_ref().unwrap().wait(None);
                }
            }),
        }
    }

    fn send(&self) {
        self.sender.get().unwrap().send();
    }

    fn finish(&self) {
        RECEIVER.set(None);
    }
}

/// SIGUSR1 or SIGUSR2, with tgkill.
struct Signal {
    receiving: Receiving,
    signal: AtomicI32,
    thread: AtomicI32,
}

static SIGNAL_LANES: [std::sync::atomic::AtomicPtr<Lane>; 2] =
    [const { std::sync::atomic::AtomicPtr::new(ptr::null_mut()) }; 2];
static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn on_signal(signal: i32) {
    let lane = SIGNAL_LANES[usize::from(signal == libc::SIGUSR2)].load(Relaxed);
    // SAFETY: set before the signal's handler was installed, to a lane that lives for ever.
    unsafe { &*lane }.notice();
}

impl Way for Signal {
    fn prepare(&self, lane: &'static Lane) {
        let which = SIGNALS.fetch_add(1, SeqCst) % 2;
        let signal = [libc::SIGUSR1, libc::SIGUSR2][which as usize];
        SIGNAL_LANES[which as usize].store(ptr::from_ref(lane).cast_mut(), SeqCst);
        self.signal.store(signal, SeqCst);
        // SAFETY: the handler touches atomics only; plain calls otherwise.
        unsafe {
            libc::signal(signal, on_signal as *const () as usize);
            // Blocked receivers take it with sigsuspend.
            let how = match self.receiving {
                Receiving::Blocked => libc::SIG_BLOCK,
                _ => libc::SIG_UNBLOCK,
            };
            let mut set = std::mem::zeroed();
            libc::sigaddset(&mut set, signal);
            libc::pthread_sigmask(how, &set, ptr::null_mut());
            self.thread.store(libc::gettid(), SeqCst);
        }
    }

    fn receive(&self, lane: &'static Lane, count: u64) {
        while lane.noticed.load(Acquire) < count {
            match self.receiving {
                Receiving::Blocked => {
                    // SAFETY: an empty set is valid.
                    unsafe { libc::sigsuspend(&std::mem::zeroed()) };
                }
                _ => compute(),
            }
        }
    }

    fn send(&self) {
        // SAFETY: takes numbers.
        unsafe {
            libc::syscall(
                libc::SYS_tgkill,
                libc::getpid(),
                self.thread.load(Relaxed),
                self.signal.load(Relaxed),
            );
        }
    }
}

/// An eventfd or a pipe: read by a blocked receiver, or polled by reads that do not block.
struct File {
    receiving: Receiving,
    read: RawFd,
    write: RawFd,
}

impl File {
    fn flags(receiving: Receiving) -> i32 {
        match receiving {
            Receiving::Blocked => 0,
            _ => libc::O_NONBLOCK,
        }
    }

    fn eventfd(receiving: Receiving) -> File {
        // SAFETY: takes numbers.
        let fd = unsafe { libc::eventfd(0, File::flags(receiving)) };
        assert!(fd >= 0);
        File {
            receiving,
            read: fd,
            write: fd,
        }
    }

    fn pipe(receiving: Receiving) -> File {
        let mut fds = [0; 2];
        // SAFETY: room for two.
        let result = unsafe { libc::pipe2(fds.as_mut_ptr(), File::flags(receiving)) };
        assert_eq!(result, 0);
        File {
            receiving,
            read: fds[0],
            write: fds[1],
        }
    }
}

impl Way for File {
    fn prepare(&self, _: &'static Lane) {}

    fn receive(&self, lane: &'static Lane, count: u64) {
        while lane.noticed.load(Relaxed) < count {
            let mut value = 0u64;
            // SAFETY: room for eight bytes.
            if unsafe { libc::read(self.read, ptr::from_mut(&mut value).cast(), 8) } == 8 {
                lane.notice();
            } else if self.receiving != Receiving::Blocked {
                compute();
            }
        }
    }

    fn send(&self) {
        let value = 1u64;
        // SAFETY: eight bytes.
        unsafe { libc::write(self.write, ptr::from_ref(&value).cast(), 8) };
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: ours. An eventfd is closed once and fails once.
        unsafe {
            libc::close(self.read);
            if self.write != self.read {
                libc::close(self.write);
            }
        }
    }
}

/// A word in memory: slept on as a futex, or looked at all the time.
struct Word {
    receiving: Receiving,
    word: AtomicU32,
}

impl Way for Word {
    fn prepare(&self, _: &'static Lane) {}

    fn receive(&self, lane: &'static Lane, count: u64) {
        while lane.noticed.load(Relaxed) < count {
            if self.word.swap(0, Acquire) != 0 {
                lane.notice();
                continue;
            }
            match self.receiving {
                // SAFETY: the word lives; no timeout.
                Receiving::Blocked => unsafe {
                    libc::syscall(
                        libc::SYS_futex,
                        self.word.as_ptr(),
                        libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                        0,
                        ptr::null::<libc::timespec>(),
                    );
                },
                _ => {
                    while self.word.load(Relaxed) == 0 {
                        compute();
                    }
                }
            }
        }
    }

    fn send(&self) {
        self.word.store(1, Release);
        if self.receiving == Receiving::Blocked {
            // SAFETY: FUTEX_WAKE reads nothing.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    self.word.as_ptr(),
                    libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                    1,
                )
            };
        }
    }
}

// ---- measuring ----

/// The rounds of each way are spread over so many passes.
const PASSES: usize = 10;

/// Keeps a thread on one processor, if there are two.
fn pin(cpu: usize) {
    // SAFETY: an empty set is valid; the processor's number is small.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set);
    }
}

#[derive(Default)]
struct Result {
    one_way: Vec<u64>,
    round_trip: Vec<u64>,
}

/// Ping-pong between two threads: both receive in the same way.
fn measure(rounds: usize, settle: Duration, make: &dyn Fn() -> Box<dyn Way>) -> Result {
    let ways: &'static [Box<dyn Way>; 2] = Box::leak(Box::new([make(), make()]));
    let lanes: &'static [Lane; 2] = Box::leak(Box::default());
    let barrier = Arc::new(Barrier::new(2));
    let echo = thread::spawn({
        let barrier = barrier.clone();
        move || {
            pin(1);
            ways[1].prepare(&lanes[1]);
            barrier.wait();
            for round in 1..=rounds as u64 {
                ways[1].receive(&lanes[1], round);
                ways[0].send();
            }
            barrier.wait();
            ways[1].finish();
        }
    });
    pin(0);
    ways[0].prepare(&lanes[0]);
    barrier.wait();
    let mut result = Result {
        one_way: Vec::with_capacity(rounds),
        round_trip: Vec::with_capacity(rounds),
    };
    for round in 1..=rounds as u64 {
        // Let the other one get to where it receives; if it is to be blocked, asleep.
        let start = Instant::now();
        while start.elapsed() < settle {}
        let start = now();
        lanes[1].sent.store(start, Relaxed);
        ways[1].send();
        ways[0].receive(&lanes[0], round);
        let end = lanes[0].noticed_at.load(Relaxed);
        result
            .one_way
            .push(lanes[1].noticed_at.load(Acquire).saturating_sub(start));
        result.round_trip.push(end.saturating_sub(start));
    }
    barrier.wait();
    echo.join().unwrap();
    ways[0].finish();
    result
}

fn percentile(sorted: &[u64], percent: usize) -> u64 {
    sorted[(sorted.len() - 1) * percent / 100]
}

fn main() {
    let rounds: usize = std::env::args().nth(1).map_or(20_000, |argument| {
        argument.parse().expect("a number of rounds")
    });
    let scale = ticks_per_microsecond();
    let backend = uintr::Backend::Auto.resolve().unwrap();
    let user_interrupt = |receiving| -> Box<dyn Fn() -> Box<dyn Way>> {
        Box::new(move || {
            Box::new(UserInterrupt {
                receiving,
                sender: std::sync::OnceLock::new(),
            })
        })
    };
    let signal = |receiving| -> Box<dyn Fn() -> Box<dyn Way>> {
        Box::new(move || {
            Box::new(Signal {
                receiving,
                signal: AtomicI32::new(0),
                thread: AtomicI32::new(0),
            })
        })
    };
    let word = |receiving| -> Box<dyn Fn() -> Box<dyn Way>> {
        Box::new(move || {
            Box::new(Word {
                receiving,
                word: AtomicU32::new(0),
            })
        })
    };
    use Receiving::{Blocked, Running, Safepoints};
    type Make = Box<dyn Fn() -> Box<dyn Way>>;
    let ways: Vec<(&str, &str, Receiving, Make)> = vec![
        (
            "running",
            "user interrupt",
            Running,
            user_interrupt(Running),
        ),
        ("running", "signal", Running, signal(Running)),
        (
            "running, at safepoints",
            "user interrupt",
            Safepoints,
            user_interrupt(Safepoints),
        ),
        (
            "running, looks at a flag",
            "shared memory",
            Running,
            word(Running),
        ),
        (
            "running, reads all the time",
            "eventfd",
            Running,
            Box::new(|| Box::new(File::eventfd(Running))),
        ),
        (
            "running, reads all the time",
            "pipe",
            Running,
            Box::new(|| Box::new(File::pipe(Running))),
        ),
        (
            "blocked",
            "user interrupt",
            Blocked,
            user_interrupt(Blocked),
        ),
        ("blocked", "signal", Blocked, signal(Blocked)),
        (
            "blocked",
            "eventfd",
            Blocked,
            Box::new(|| Box::new(File::eventfd(Blocked))),
        ),
        (
            "blocked",
            "pipe",
            Blocked,
            Box::new(|| Box::new(File::pipe(Blocked))),
        ),
        ("blocked", "futex", Blocked, word(Blocked)),
    ];
    // In turns, so that a restless computer is so for all of them.
    let mut results: Vec<Result> = ways.iter().map(|_| Result::default()).collect();
    for _ in 0..PASSES {
        for ((_, _, receiving, make), result) in ways.iter().zip(&mut results) {
            let settle = match receiving {
                Blocked => Duration::from_micros(30),
                _ => Duration::from_micros(2),
            };
            let pass = measure(rounds.div_ceil(PASSES), settle, &**make);
            result.one_way.extend(pass.one_way);
            result.round_trip.extend(pass.round_trip);
        }
    }
    println!("backend {backend:?}, {rounds} rounds, microseconds");
    println!();
    println!("| receiver | way | one way, median | p99 | round trip, median | p99 |");
    println!("|---|---|---|---|---|---|");
    for ((receiver, way, ..), result) in ways.iter().zip(&mut results) {
        result.one_way.sort_unstable();
        result.round_trip.sort_unstable();
        let column = |sorted: &[u64], percent| percentile(sorted, percent) as f64 / scale;
        println!(
            "| {receiver} | {way} | {:.2} | {:.2} | {:.2} | {:.2} |",
            column(&result.one_way, 50),
            column(&result.one_way, 99),
            column(&result.round_trip, 50),
            column(&result.round_trip, 99),
        );
    }
}
