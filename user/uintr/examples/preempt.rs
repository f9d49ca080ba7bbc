//! A preemptive timer: a computation that never looks at the clock is given a time limit.
//!
//! ```sh
//! cargo run --release -p uintr --example preempt
//! # stopped after 20 ticks of 1 ms
//! ```

use std::sync::Arc;
use std::time::Duration;
use uintr::handler::Counts;
use uintr::{Receiver, Timer, Vector};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ticks = Arc::new(Counts::new());
    let receiver = Receiver::new(ticks.clone())?;
    let timer = Timer::start(receiver.sender(Vector::MAX)?, Duration::from_millis(1))?;
    // Collatz sequences, without an end to them.
    let (mut steps, mut start) = (0u64, 1u64);
    let limit = 20;
    while ticks.get(Vector::MAX) < limit {
        let mut n = start;
        while n != 1 {
            n = if n.is_multiple_of(2) {
                n / 2
            } else {
                3 * n + 1
            };
            steps += 1;
        }
        start += 1;
    }
    drop(timer);
    eprintln!("{steps} steps");
    println!("stopped after {limit} ticks of 1 ms");
    Ok(())
}
