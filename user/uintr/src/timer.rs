//! Interrupts at an interval.

use crate::error::Error;
use crate::sender::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

/// Sends user interrupts at an interval, until it is dropped: what a preemptive scheduler is woken by.
///
/// A thread of its own sleeps and sends, so intervals much below 100 µs are beyond it. Interrupts that the receiver has no
/// time for coalesce; they do not queue up. Times are multiples of the interval after the start, so late interrupts do
/// not make later ones late; what would be in the past by then is left out.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use uintr::{Receiver, Timer, Vector, handler::Counts};
///
/// let ticks = Arc::new(Counts::new());
/// let receiver = Receiver::new(ticks.clone())?;
/// let timer = Timer::start(receiver.sender(Vector::MAX)?, Duration::from_millis(1))?;
/// // This loop does not cooperate in any way:
/// while ticks.total() < 5 {}
/// drop(timer);
/// # Ok::<(), uintr::Error>(())
/// ```
pub struct Timer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    stopped: Mutex<bool>,
    stop: Condvar,
}

impl Timer {
    /// Starts sending, for the first time after one interval.
    ///
    /// # Errors
    ///
    /// If the interval is zero, or there are too many threads.
    pub fn start(sender: Sender, interval: Duration) -> Result<Timer, Error> {
        if interval.is_zero() {
            return Err(Error::Os {
                call: "Timer::start",
                source: io::Error::new(io::ErrorKind::InvalidInput, "the interval is zero"),
            });
        }
        let shared = Arc::new(Shared {
            stopped: Mutex::new(false),
            stop: Condvar::new(),
        });
        let thread = thread::Builder::new()
            .name("uintr-timer".into())
            .spawn({
                let shared = shared.clone();
                move || shared.run(&sender, interval)
            })
            .map_err(|source| Error::Os {
                call: "thread",
                source,
            })?;
        Ok(Timer {
            shared,
            thread: Some(thread),
        })
    }
}

impl Shared {
    fn run(&self, sender: &Sender, interval: Duration) {
        let start = Instant::now();
        let mut next = interval;
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        while !*stopped {
            let elapsed = start.elapsed();
            if elapsed < next {
                (stopped, _) = self
                    .stop
                    .wait_timeout(stopped, next - elapsed)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            sender.send();
            // Beyond the range of 64 bits lies the year 2554.
            let past = elapsed.as_nanos() % interval.as_nanos();
            next = elapsed - Duration::from_nanos(past as u64) + interval;
        }
    }
}

impl Drop for Timer {
    /// Nothing is sent any more when this returns.
    fn drop(&mut self) {
        *self
            .shared
            .stopped
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.stop.notify_all();
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").finish_non_exhaustive()
    }
}
