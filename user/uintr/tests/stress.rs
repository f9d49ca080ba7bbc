//! Nothing is lost: every post is followed by a delivery that sees what was written before it.
//!
//! Each sender has a vector and a counter. It increments the counter, then sends. The handler reads the counter of the
//! vector that it is called for. When all senders are done, the handler must have seen the last value of each; and it
//! must never be called for a vector without anything sent since its last look began, beyond what coalescing allows
//! (deliveries never outnumber posts).

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;
use uintr::handler::Handler;
use uintr::{Receiver, Vector, critical_section, safepoint, with_safepoints};

const SENDERS: usize = 4;

/// A counter that shares its cache line with nobody.
#[repr(align(64))]
struct Lane {
    sent: AtomicU64,
    seen: AtomicU64,
    delivered: AtomicU64,
}

struct Lanes([Lane; SENDERS]);

impl Lanes {
    fn new() -> Arc<Lanes> {
        Arc::new(Lanes(
            [const {
                Lane {
                    sent: AtomicU64::new(0),
                    seen: AtomicU64::new(0),
                    delivered: AtomicU64::new(0),
                }
            }; SENDERS],
        ))
    }

    fn vector(lane: usize) -> Vector {
        Vector::new((lane * 21) as u8).unwrap()
    }

    fn all_seen(&self, posts: u64) -> bool {
        self.0.iter().all(|lane| lane.seen.load(Acquire) == posts)
    }
}

// SAFETY: atomics only.
unsafe impl Handler for Lanes {
    fn interrupt(&self, vector: Vector) {
        let lane = &self.0[vector.index() / 21];
        lane.seen.store(lane.sent.load(Acquire), Release);
        lane.delivered.fetch_add(1, Relaxed);
    }
}

/// How the receiver spends its time.
#[derive(Clone, Copy, Debug)]
enum Life {
    /// Computes, and never looks.
    Runs,
    /// Computes, with safepoints.
    Polls,
    /// Sleeps for interrupts.
    Waits,
    /// Sleeps in other system calls.
    Blocks,
    /// All of these and critical sections, in turns.
    Changes,
}

fn every_post_is_delivered(life: Life, posts: u64) {
    let lanes = Lanes::new();
    let receiver = Receiver::new(lanes.clone()).unwrap();
    let start = Barrier::new(SENDERS);
    thread::scope(|scope| {
        for lane in 0..SENDERS {
            let sender = receiver.sender(Lanes::vector(lane)).unwrap();
            let (lane, start) = (&lanes.0[lane], &start);
            scope.spawn(move || {
                start.wait();
                let mut random = 0x2545_f491_4f6c_dd1d_u64;
                for post in 1..=posts {
                    lane.sent.store(post, Release);
                    sender.send();
                    // Irregular gaps, or all posts of a scheduling quantum fall into one delivery.
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    match random % 1024 {
                        0 => thread::yield_now(),
                        1..64 => (0..random >> 32 & 255).for_each(|_| std::hint::spin_loop()),
                        _ => {}
                    }
                    // The next post waits for this one now and then: a lost one stops the test here.
                    if random % 4096 < 8 {
                        while lane.seen.load(Acquire) < post {
                            thread::yield_now();
                        }
                    }
                }
                while lane.seen.load(Acquire) < posts {
                    thread::yield_now();
                }
            });
        }
        let mut turn = 0u64;
        while !lanes.all_seen(posts) {
            turn += 1;
            match life {
                Life::Runs => std::hint::spin_loop(),
                Life::Polls => with_safepoints(|| (0..1000).for_each(|_| safepoint())),
                Life::Waits => {
                    receiver.wait(None);
                }
                Life::Blocks => thread::sleep(Duration::from_micros(50)),
                Life::Changes => match turn % 5 {
                    0 => (0..200).for_each(|_| std::hint::spin_loop()),
                    1 => with_safepoints(|| {
                        (0..100).for_each(|_| safepoint());
                        receiver.wait(Duration::from_micros(20));
                    }),
                    2 => critical_section(|| (0..50).for_each(|_| std::hint::spin_loop())),
                    3 => {
                        receiver.wait(Duration::from_micros(30));
                    }
                    _ => thread::yield_now(),
                },
            }
        }
    });
    for lane in &lanes.0 {
        let delivered = lane.delivered.load(Relaxed);
        assert_eq!(lane.seen.load(Relaxed), posts);
        assert!((1..=posts).contains(&delivered), "{delivered} of {posts}");
    }
}

#[test]
fn nothing_is_lost_by_a_receiver_that_runs() {
    every_post_is_delivered(Life::Runs, 20_000);
}

#[test]
fn nothing_is_lost_by_a_receiver_that_polls() {
    every_post_is_delivered(Life::Polls, 20_000);
}

#[test]
fn nothing_is_lost_by_a_receiver_that_waits() {
    every_post_is_delivered(Life::Waits, 20_000);
}

#[test]
fn nothing_is_lost_by_a_receiver_that_blocks_elsewhere() {
    every_post_is_delivered(Life::Blocks, 5_000);
}

#[test]
fn nothing_is_lost_by_a_receiver_that_changes_its_life_all_the_time() {
    every_post_is_delivered(Life::Changes, 20_000);
}

/// Ten million posts by four senders.
#[test]
#[ignore = "takes a while: cargo test -p uintr --release --test stress -- --ignored"]
fn soak() {
    for life in [
        Life::Runs,
        Life::Polls,
        Life::Waits,
        Life::Blocks,
        Life::Changes,
    ] {
        every_post_is_delivered(life, 500_000);
        println!("{life:?}: 2 million posts, nothing lost");
    }
}
