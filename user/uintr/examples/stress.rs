//! Four senders, one receiver, nothing lost: each post is followed by a delivery that sees what was written before it.
//!
//! ```sh
//! cargo run --release -p uintr --example stress [POSTS]
//! # 100000 posts by 4 senders, nothing lost
//! ```

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::thread;
use uintr::handler::Handler;
use uintr::{Receiver, Vector, critical_section, safepoint, with_safepoints};

const SENDERS: usize = 4;

#[derive(Default)]
struct Lanes {
    sent: [AtomicU64; SENDERS],
    seen: [AtomicU64; SENDERS],
}

// SAFETY: atomics.
unsafe impl Handler for Lanes {
    fn interrupt(&self, vector: Vector) {
        let lane = vector.index();
        self.seen[lane].store(self.sent[lane].load(Acquire), Release);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let posts: u64 = std::env::args()
        .nth(1)
        .map_or(100_000, |argument| argument.parse().expect("a number"));
    let each = posts / SENDERS as u64;
    let lanes = Arc::new(Lanes::default());
    let receiver = Receiver::new(lanes.clone())?;
    let senders: Vec<_> = (0..SENDERS)
        .map(|lane| {
            let lanes = lanes.clone();
            let sender = receiver.sender(Vector::new(lane as u8).expect("below 64"));
            thread::spawn(move || {
                let sender = sender.expect("there are few senders");
                for post in 1..=each {
                    lanes.sent[lane].store(post, Release);
                    sender.send();
                    // A lost one would stop us here.
                    if post % 64 == 0 {
                        while lanes.seen[lane].load(Acquire) < post {
                            thread::yield_now();
                        }
                    }
                }
            })
        })
        .collect();
    let mut turn = 0u32;
    while lanes.seen.iter().any(|seen| seen.load(Acquire) < each) {
        turn += 1;
        match turn % 4 {
            0 => (0..500).for_each(|_| std::hint::spin_loop()),
            1 => with_safepoints(|| (0..500).for_each(|_| safepoint())),
            2 => critical_section(|| (0..100).for_each(|_| std::hint::spin_loop())),
            _ => {
                receiver.wait(None);
            }
        }
    }
    for sender in senders {
        sender.join().expect("senders do not panic");
    }
    eprintln!("{} deliveries", receiver.delivered());
    assert!(lanes.seen.iter().all(|seen| seen.load(Relaxed) == each));
    println!(
        "{} posts by {SENDERS} senders, nothing lost",
        each * SENDERS as u64
    );
    Ok(())
}
