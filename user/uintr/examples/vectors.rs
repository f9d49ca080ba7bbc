//! All 64 vectors of a receiver, and the order in which they are delivered: highest first.
//!
//! ```sh
//! cargo run -p uintr --example vectors
//! # 64 vectors were delivered, in order: true
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use uintr::{Receiver, Sender, Vector, critical_section, handler};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let last = Arc::new(AtomicU64::new(64));
    let in_order = Arc::new(AtomicBool::new(true));
    let count = Arc::new(AtomicU64::new(0));
    // SAFETY: three atomics.
    let handler = unsafe {
        let (last, in_order, count) = (last.clone(), in_order.clone(), count.clone());
        handler::from_fn(move |vector: Vector| {
            let before = last.swap(vector.get().into(), Relaxed);
            if before != u64::from(vector.get()) + 1 {
                in_order.store(false, Relaxed);
            }
            count.fetch_add(1, Relaxed);
        })
    };
    let receiver = Receiver::new(handler)?;
    let senders: Vec<Sender> = Vector::all()
        .map(|vector| receiver.sender(vector))
        .collect::<Result<_, _>>()?;
    // All are pending before one is delivered.
    critical_section(|| senders.iter().for_each(Sender::send));
    while count.load(Relaxed) < 64 {}
    println!(
        "{} vectors were delivered, in order: {}",
        count.load(Relaxed),
        in_order.load(Relaxed)
    );
    Ok(())
}
