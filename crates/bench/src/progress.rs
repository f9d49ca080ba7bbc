//! Where the measurement is: one line on standard error, on a terminal only.

use std::io::{IsTerminal, Write};

/// Shows it.
pub fn say(text: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[Kbench: {text}");
        let _ = stderr.flush();
    }
}

/// Removes it.
pub fn clear() {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[K");
        let _ = stderr.flush();
    }
}

/// A remark that stays.
pub fn remark(text: &str) {
    clear();
    eprintln!("bench: {text}");
}
