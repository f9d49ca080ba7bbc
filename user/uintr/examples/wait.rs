//! A thread that sleeps until it is interrupted, with and without a limit.
//!
//! ```sh
//! cargo run -p uintr --example wait
//! # nothing came in 10 ms
//! # woken 1000 times, whenever it came
//! ```

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::thread;
use std::time::Duration;
use uintr::handler::Counts;
use uintr::{Receiver, Vector};

const ROUNDS: u64 = 1000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let counts = Arc::new(Counts::new());
    let receiver = Receiver::new(counts.clone())?;
    if !receiver.wait(Duration::from_millis(10)) {
        println!("nothing came in 10 ms");
    }

    let sender = receiver.sender(Vector::MIN)?;
    let asked = Arc::new(AtomicU64::new(0));
    let other = thread::spawn({
        let asked = asked.clone();
        move || {
            for round in 1..=ROUNDS {
                while asked.load(Acquire) < round {
                    thread::yield_now();
                }
                // Before, while or after the other one falls asleep.
                for _ in 0..round % 50 * 40 {
                    std::hint::spin_loop();
                }
                sender.send();
            }
        }
    });
    for round in 1..=ROUNDS {
        asked.store(round, Release);
        while counts.total() < round {
            receiver.wait(None);
        }
    }
    other.join().expect("the other thread does not panic");
    println!("woken {} times, whenever it came", counts.total());
    Ok(())
}
