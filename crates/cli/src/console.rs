//! What ring3 itself says, all of it on standard error: lines, and on a terminal one status line that
//! is gone again before anything else is written.

use crate::terminal;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// True while a status line stands on the terminal.
static SHOWN: AtomicBool = AtomicBool::new(false);
static LAST: Mutex<Option<Instant>> = Mutex::new(None);

/// A status line changes at most this often, so that it can be read and costs nothing.
const PERIOD: Duration = Duration::from_millis(100);

fn has_status_line() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let dumb = std::env::var_os("TERM").is_none_or(|kind| kind == "dumb");
        std::io::stderr().is_terminal() && !dumb
    })
}

fn write(text: &str) {
    // If standard error is closed there is nobody to tell.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Shows what is going on, on a terminal.
pub fn status(text: &str) {
    if !has_status_line() {
        return;
    }
    let columns = terminal::size().map_or(80, |(_, columns)| usize::from(columns));
    // One column stays free: some terminals wrap as soon as the last one is written.
    let fitting: String = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(columns.saturating_sub(1))
        .collect();
    write(&format!("\r\x1b[K{fitting}"));
    SHOWN.store(true, Ordering::SeqCst);
    *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
}

/// The same, made and shown only if the last change was a while ago.
pub fn status_now_and_then(text: impl FnOnce() -> String) {
    if !has_status_line() {
        return;
    }
    let due = LAST
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_none_or(|last| last.elapsed() >= PERIOD);
    if due {
        status(&text());
    }
}

/// Takes the status line away.
pub fn clear() {
    if SHOWN.swap(false, Ordering::SeqCst) {
        write("\r\x1b[K");
    }
}

/// Says something, beginning with ring3's name. Lines end so that a raw terminal shows them right.
pub fn say(text: &str) {
    clear();
    let end = if terminal::is_raw() { "\r\n" } else { "\n" };
    let mut out = String::from("ring3: ");
    for (index, line) in text.trim_end().lines().enumerate() {
        if index > 0 {
            out.push_str(end);
        }
        out.push_str(line);
    }
    out.push_str(end);
    write(&out);
}

/// Writes lines as they are.
pub fn plain(text: &str) {
    clear();
    match terminal::is_raw() {
        true => write(&text.replace('\n', "\r\n")),
        false => write(text),
    }
}
