//! What reaches ring3 from outside while a machine runs: bytes on standard input, and signals. Two
//! threads put it in, the thread with the machine takes it out when it is convenient.
//!
//! Before a machine runs there is nobody who could attend to a signal, so it ends ring3 at once. The
//! same happens to a second signal if nobody has attended to the first one for a second.

use crate::failure::status;
use crate::{console, terminal};
use signal_hook::consts::signal::{
    SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
};
use signal_hook::iterator::Signals;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// More input than this is not taken before some is used.
const INPUT_MAX: usize = 64 << 10;
/// After this time a signal counts as unattended.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a job in the background looks whether it has come to the foreground.
const FOREGROUND_PERIOD: Duration = Duration::from_millis(200);

#[derive(Default)]
struct Content {
    input: VecDeque<u8>,
    input_ended: bool,
    signals: Vec<i32>,
    unattended_since: Option<Instant>,
}

/// See the module.
#[derive(Default)]
pub struct Inbox {
    content: Mutex<Content>,
    arrived: Condvar,
    taken: Condvar,
    /// Something may be inside: looking here is all that a slice without news costs.
    news: AtomicBool,
    /// Somebody attends to signals.
    attended: AtomicBool,
}

impl Inbox {
    /// An inbox that receives signals.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn with_signals() -> std::io::Result<Arc<Inbox>> {
        let inbox = Arc::new(Inbox::default());
        let ignored = ignored_signals();
        let wanted = [
            SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT,
        ];
        // What was ignored on purpose, by nohup for instance, stays ignored.
        let wanted = wanted
            .into_iter()
            .filter(|number| ignored >> (number - 1) & 1 == 0);
        let mut signals = Signals::new(wanted)?;
        let receiver = inbox.clone();
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for number in signals.forever() {
                    receiver.signal(number);
                }
            })?;
        Ok(inbox)
    }

    /// From now on somebody takes the signals.
    pub fn attend(&self) {
        self.attended.store(true, Ordering::SeqCst);
    }

    /// Starts reading standard input.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn read_stdin(self: &Arc<Self>, terminal: bool) -> std::io::Result<()> {
        let inbox = self.clone();
        thread::Builder::new().name("input".into()).spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                // Reading from the background would stop the whole process, and a program that does
                // not read its input would not have been stopped.
                while terminal && !terminal::in_foreground() {
                    thread::sleep(FOREGROUND_PERIOD);
                }
                let count = match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
                    Ok(count) => count,
                    Err(rustix::io::Errno::INTR) => continue,
                    Err(rustix::io::Errno::AGAIN) => {
                        thread::sleep(Duration::from_millis(5));
                        continue;
                    }
                    Err(_) => 0,
                };
                if !inbox.input(&buffer[..count]) {
                    return;
                }
            }
        })?;
        Ok(())
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts input in; nothing is the end. Returns whether there can be more.
    fn input(&self, bytes: &[u8]) -> bool {
        let mut content = self.content();
        while content.input.len() >= INPUT_MAX {
            content = self
                .taken
                .wait(content)
                .unwrap_or_else(PoisonError::into_inner);
        }
        content.input.extend(bytes);
        content.input_ended |= bytes.is_empty();
        self.announce();
        !bytes.is_empty()
    }

    fn signal(&self, number: i32) {
        if number == SIGCONT {
            terminal::renew();
        }
        let ends = ![SIGCONT, SIGWINCH, SIGUSR1, SIGUSR2].contains(&number);
        let mut content = self.content();
        let ignored_too_long = content
            .unattended_since
            .is_some_and(|since| since.elapsed() >= PATIENCE);
        if ends && (ignored_too_long || !self.attended.load(Ordering::SeqCst)) {
            end_by(number);
        }
        content.signals.push(number);
        content.unattended_since.get_or_insert_with(Instant::now);
        self.announce();
    }

    fn announce(&self) {
        self.news.store(true, Ordering::SeqCst);
        self.arrived.notify_all();
    }

    /// Whether there may be something to take.
    pub fn has_news(&self) -> bool {
        self.news.load(Ordering::Relaxed)
    }

    /// Takes all signals.
    pub fn take_signals(&self) -> Vec<i32> {
        let mut content = self.content();
        content.unattended_since = None;
        std::mem::take(&mut content.signals)
    }

    /// Takes up to `most` bytes of input.
    pub fn take_input(&self, most: usize) -> Vec<u8> {
        let mut content = self.content();
        let count = most.min(content.input.len());
        let bytes = content.input.drain(..count).collect();
        if content.input.is_empty() && content.signals.is_empty() {
            self.news.store(false, Ordering::SeqCst);
        }
        self.taken.notify_all();
        bytes
    }

    /// Whether all input has been taken and there will be no more.
    pub fn input_is_over(&self) -> bool {
        let content = self.content();
        content.input_ended && content.input.is_empty()
    }

    /// Waits until something arrives, but no longer than `most`. Input and its end count only if the
    /// caller would take them, which it should not say again after it has seen the end.
    pub fn wait(&self, most: Option<Duration>, takes_input: bool) {
        let deadline = most.map(|most| Instant::now() + most);
        let mut content = self.content();
        loop {
            let input = takes_input && (!content.input.is_empty() || content.input_ended);
            if input || !content.signals.is_empty() {
                return;
            }
            content = match deadline {
                None => self
                    .arrived
                    .wait(content)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let now = Instant::now();
                    if now >= deadline {
                        return;
                    }
                    self.arrived
                        .wait_timeout(content, deadline - now)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }
}

/// Ends ring3 because of a signal, wherever it is.
fn end_by(number: i32) -> ! {
    terminal::restore();
    console::clear();
    let status = i32::from(status::SIGNAL) + number;
    std::process::exit(status)
}

/// The signals that this process was told to ignore, as a mask. Source: proc(5), "SigIgn".
fn ignored_signals() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|text| {
            let mask = text.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
            u64::from_str_radix(mask.trim(), 16).ok()
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_taken_in_order_and_its_end_comes_last() {
        let inbox = Inbox::default();
        assert!(!inbox.has_news());
        assert!(inbox.input(b"hello"));
        assert!(!inbox.input(b""));
        assert!(inbox.has_news());
        assert_eq!(inbox.take_input(2), b"he");
        assert!(!inbox.input_is_over());
        assert_eq!(inbox.take_input(100), b"llo");
        assert!(inbox.input_is_over());
    }

    #[test]
    fn a_reader_waits_for_room() {
        let inbox = Arc::new(Inbox::default());
        let writer = inbox.clone();
        let thread = thread::spawn(move || {
            for _ in 0..64 {
                writer.input(&[7; 4096]);
            }
            writer.input(b"");
        });
        let mut total = 0;
        while !inbox.input_is_over() {
            inbox.wait(Some(Duration::from_secs(60)), true);
            assert!(inbox.content().input.len() <= INPUT_MAX + 4096);
            total += inbox.take_input(1000).len();
        }
        thread.join().unwrap();
        assert_eq!(total, 64 * 4096);
    }

    #[test]
    fn waiting_ends_with_a_signal_or_with_time() {
        let inbox = Arc::new(Inbox::default());
        inbox.attend();
        inbox.wait(Some(Duration::from_millis(1)), true);
        let sender = inbox.clone();
        let thread = thread::spawn(move || sender.signal(SIGUSR1));
        inbox.wait(None, false);
        thread.join().unwrap();
        assert_eq!(inbox.take_signals(), [SIGUSR1]);
        assert_eq!(inbox.take_signals(), [0; 0]);
    }
}
