//! Data that a handler shares with the thread that it interrupts, kept whole by critical sections.
//!
//! Two words must always be equal. Thread and handler both change them, one after the other, so that an interrupt in
//! between finds them different.
//!
//! ```sh
//! cargo run --release -p uintr --example critical_sections
//! # never found half changed
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread;
use uintr::{Receiver, Vector, critical_section, handler};

#[derive(Default)]
struct Pair {
    first: AtomicU64,
    second: AtomicU64,
    torn: AtomicU64,
}

impl Pair {
    /// Not atomic at all.
    fn increment(&self) {
        let first = self.first.load(Relaxed);
        if first != self.second.load(Relaxed) {
            self.torn.fetch_add(1, Relaxed);
        }
        self.first.store(first + 1, Relaxed);
        std::hint::black_box(self);
        self.second.store(first + 1, Relaxed);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pair = Arc::new(Pair::default());
    // SAFETY: atomics; and what belongs together is touched in critical sections only, by everybody else.
    let handler = unsafe {
        let pair = pair.clone();
        handler::from_fn(move |_| pair.increment())
    };
    let receiver = Receiver::new(handler)?;
    let sender = receiver.sender(Vector::MIN)?;
    let stop = Arc::new(AtomicBool::new(false));
    let other = thread::spawn({
        let stop = stop.clone();
        move || {
            while !stop.load(Relaxed) {
                sender.send();
            }
        }
    });
    let mut own = 0;
    while receiver.delivered() < 1000 {
        critical_section(|| pair.increment());
        own += 1;
    }
    stop.store(true, Relaxed);
    other.join().expect("the other thread does not panic");
    // What was sent last has been delivered by the end of this.
    let (delivered, sum) = critical_section(|| (receiver.delivered(), pair.first.load(Relaxed)));
    assert_eq!(sum, own + delivered, "an increment was lost");
    assert_eq!(pair.torn.load(Relaxed), 0);
    println!("never found half changed");
    Ok(())
}
