//! Receivers and senders in different processes. One test, because fork and other tests' threads do not mix well.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use uintr::handler::Counts;
use uintr::{Error, Receiver, UintrFd, Vector};

const VECTOR: u8 = 42;
const ROUNDS: u64 = 500;

/// Runs `f` in a child process; what it returns is the exit status.
fn child(f: impl FnOnce() -> i32) -> libc::pid_t {
    // SAFETY: the other threads of this process, the test harness's, are asleep and hold no locks that `f` needs.
    match unsafe { libc::fork() } {
        0 => {
            let status = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).unwrap_or(101);
            // SAFETY: ends the child without running the parent's destructors.
            unsafe { libc::_exit(status) }
        }
        pid => {
            assert!(pid > 0);
            pid
        }
    }
}

fn status_of(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    loop {
        // SAFETY: a live local. An interrupt may end the call early.
        if unsafe { libc::waitpid(pid, &mut status, 0) } == pid {
            return status;
        }
    }
}

#[test]
fn processes_interrupt_each_other() {
    a_child_interrupts_its_parent(true);
    a_child_interrupts_its_parent(false);
    a_forked_child_is_no_receiver();
    a_forked_child_wakes_its_parent();
    a_receiver_that_was_killed_is_gone();
}

/// Over a socket; the parent waits, or runs.
fn a_child_interrupts_its_parent(waits: bool) {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    // Before there is a receiver: the child inherits nothing.
    let pid = child(|| {
        let sender = UintrFd::receive_over(&theirs).unwrap().connect().unwrap();
        let mut byte = [0];
        for _ in 0..ROUNDS {
            sender.send();
            theirs.read_exact(&mut byte).unwrap();
        }
        0
    });
    let counts = Arc::new(Counts::new());
    let receiver = Receiver::new(counts.clone()).unwrap();
    let fd = receiver.fd(Vector::new(VECTOR).unwrap()).unwrap();
    fd.send_over(&ours).unwrap();
    for round in 1..=ROUNDS {
        while counts.total() < round {
            if waits {
                receiver.wait(None);
            } else {
                std::hint::spin_loop();
            }
        }
        ours.write_all(b"a").unwrap();
    }
    assert_eq!(status_of(pid), 0);
    assert_eq!(counts.get(Vector::new(VECTOR).unwrap()), ROUNDS);
    theirs.flush().unwrap();
}

/// Neither safepoints nor the end of its copy of the receiver take anything from the parent.
fn a_forked_child_is_no_receiver() {
    let counts = Arc::new(Counts::new());
    let receiver = Receiver::new(counts.clone()).unwrap();
    let sender = receiver.sender(Vector::MAX).unwrap();
    let pid = uintr::critical_section(|| {
        sender.send();
        child(|| {
            uintr::safepoint();
            uintr::critical_section(|| {});
            let wait = std::panic::AssertUnwindSafe(|| receiver.wait(None));
            let refused = std::panic::catch_unwind(wait).is_err();
            // A receiver of its own is possible.
            let own = Arc::new(Counts::new());
            let inner = Receiver::new(own.clone()).unwrap();
            inner.sender(Vector::MIN).unwrap().send();
            while own.total() == 0 {
                inner.wait(None);
            }
            // And the sender that it has inherited interrupts the parent.
            sender.send();
            i32::from(!(refused && counts.total() == 0 && own.total() == 1))
        })
    });
    assert_eq!(status_of(pid), 0);
    while counts.total() == 0 {}
    assert!(counts.total() <= 2);
    let before = counts.total();
    sender.send();
    while counts.total() == before {}
}

/// A sender that was made before the fork finds the parent asleep, or falling asleep.
fn a_forked_child_wakes_its_parent() {
    let counts = Arc::new(Counts::new());
    let receiver = Receiver::new(counts.clone()).unwrap();
    let sender = receiver.sender(Vector::MAX).unwrap();
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let pid = child(|| {
        for round in 0..ROUNDS {
            theirs.read_exact(&mut [0]).unwrap();
            (0..round * 50).for_each(|_| std::hint::spin_loop());
            sender.send();
        }
        0
    });
    for round in 1..=ROUNDS {
        ours.write_all(b"a").unwrap();
        while counts.total() < round {
            receiver.wait(None);
        }
    }
    assert_eq!(status_of(pid), 0);
}

/// SIGKILL leaves the receiver no time to say goodbye.
fn a_receiver_that_was_killed_is_gone() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let pid = child(|| {
        let receiver = Receiver::new(Counts::new()).unwrap();
        receiver
            .fd(Vector::MIN)
            .unwrap()
            .send_over(&theirs)
            .unwrap();
        loop {
            receiver.wait(None);
        }
    });
    let fd = UintrFd::receive_over(&ours).unwrap();
    let sender = fd.connect().unwrap();
    sender.send();
    // SAFETY: our child.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    status_of(pid);
    // Nothing happens, however often.
    for _ in 0..10 {
        sender.send();
    }
    assert!(matches!(fd.connect(), Err(Error::Gone)));
}
