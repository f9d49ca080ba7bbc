//! A thread interrupts another one that does not cooperate in any way.
//!
//! ```sh
//! cargo run -p uintr --example basic
//! # interrupted 3 times on vector 5
//! ```

use std::sync::Arc;
use std::thread;
use uintr::handler::Counts;
use uintr::{Receiver, Vector};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let vector = Vector::new(5).expect("below 64");
    let counts = Arc::new(Counts::new());
    let receiver = Receiver::new(counts.clone())?;
    eprintln!("backend: {:?}", receiver.backend());

    let sender = receiver.sender(vector)?;
    let other = thread::spawn({
        let counts = counts.clone();
        move || {
            for round in 1..=3 {
                sender.send();
                while counts.get(vector) < round {
                    thread::yield_now();
                }
            }
        }
    });
    // No call, no check, no safepoint: the counter changes under our hands.
    while counts.get(vector) < 3 {}
    other.join().expect("the other thread does not panic");
    println!("interrupted {} times on vector {vector}", counts.total());
    Ok(())
}
