//! Two threads interrupt each other, a hundred thousand times: ping-pong.
//!
//! ```sh
//! cargo run --release -p uintr --example threads [ROUNDS]
//! # 100000 round trips, none lost
//! ```

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver as Inbox};
use std::thread;
use uintr::handler::Counts;
use uintr::{Receiver, Sender, Vector};

/// Receives on `vector`, answers on whatever it is given; the first to send is who `serves`.
fn player(
    vector: Vector,
    serves: bool,
    rounds: u64,
    mine: mpsc::Sender<Sender>,
    theirs: Inbox<Sender>,
) -> u64 {
    let counts = Arc::new(Counts::new());
    let receiver = Receiver::new(counts.clone()).expect("a new thread is no receiver yet");
    mine.send(receiver.sender(vector).expect("there are few senders"))
        .expect("the other one is there");
    let other = theirs.recv().expect("the other one is there");
    for round in 1..=rounds {
        if serves {
            other.send();
        }
        while counts.get(vector) < round {
            receiver.wait(None);
        }
        if !serves {
            other.send();
        }
    }
    counts.total()
}

fn main() {
    let rounds = std::env::args()
        .nth(1)
        .map_or(100_000, |argument| argument.parse().expect("a number"));
    let (to_first, from_second) = mpsc::channel();
    let (to_second, from_first) = mpsc::channel();
    let first = thread::spawn(move || player(Vector::MIN, true, rounds, to_second, from_second));
    let second = thread::spawn(move || player(Vector::MAX, false, rounds, to_first, from_first));
    let received = [first, second].map(|thread| thread.join().expect("players do not panic"));
    assert_eq!(received, [rounds, rounds]);
    println!("{rounds} round trips, none lost");
}
