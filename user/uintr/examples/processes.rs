//! One process interrupts another. The right to do so travels over a socket.
//!
//! ```sh
//! cargo run -p uintr --example processes
//! # child: may interrupt the parent now
//! # parent: interrupted 5 times on vector 9
//! ```
//!
//! The program is both: the parent starts itself again, with a socket as the child's standard input.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use uintr::handler::Counts;
use uintr::{Receiver, UintrFd, Vector};

const ROUNDS: u64 = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::args().nth(1).as_deref() == Some("child") {
        child()
    } else {
        parent()
    }
}

fn parent() -> Result<(), Box<dyn std::error::Error>> {
    let vector = Vector::new(9).expect("below 64");
    let counts = Arc::new(Counts::new());
    let receiver = Receiver::new(counts.clone())?;
    let (mut socket, theirs) = UnixStream::pair()?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg("child")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()?;
    receiver.fd(vector)?.send_over(&socket)?;
    for round in 1..=ROUNDS {
        while counts.get(vector) < round {
            receiver.wait(None);
        }
        // The same vector sent again before it is delivered would be delivered once. So the child waits.
        socket.write_all(b"a")?;
    }
    assert!(child.wait()?.success());
    println!(
        "parent: interrupted {} times on vector {vector}",
        counts.total()
    );
    Ok(())
}

fn child() -> Result<(), Box<dyn std::error::Error>> {
    let mut socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let sender = UintrFd::receive_over(&socket)?.connect()?;
    println!("child: may interrupt the parent now");
    for _ in 0..ROUNDS {
        sender.send();
        socket.read_exact(&mut [0])?;
    }
    Ok(())
}
