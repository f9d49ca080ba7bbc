//! The host's terminal: raw mode that is undone however ring3 ends.
//!
//! The original settings are kept in one place for the whole process, because those who have to
//! restore them (the end of a scope, a panic, a thread that was told to end) do not know each other.

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

struct Modes {
    original: Termios,
    raw: Termios,
}

static MODES: Mutex<Option<Modes>> = Mutex::new(None);

fn modes() -> MutexGuard<'static, Option<Modes>> {
    MODES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the terminal on standard input in raw mode while it lives: every key is a byte, nothing is
/// echoed, no key sends a signal.
pub struct RawMode(());

impl RawMode {
    /// Enters raw mode.
    ///
    /// # Errors
    /// If standard input is no terminal.
    pub fn enter() -> io::Result<RawMode> {
        let stdin = rustix::stdio::stdin();
        let original = tcgetattr(stdin)?;
        let mut raw = original.clone();
        raw.make_raw();
        // What was typed ahead stays.
        tcsetattr(stdin, OptionalActions::Drain, &raw)?;
        *modes() = Some(Modes { original, raw });
        Ok(RawMode(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Undoes raw mode, if it was entered.
pub fn restore() {
    if let Some(modes) = modes().take() {
        // There is nobody left to tell.
        let _ = tcsetattr(
            rustix::stdio::stdin(),
            OptionalActions::Drain,
            &modes.original,
        );
    }
}

/// Whether the terminal is in raw mode.
pub fn is_raw() -> bool {
    modes().is_some()
}

/// Enters raw mode again after somebody else had the terminal: a shell, while ring3 was stopped.
pub fn renew() {
    if let Some(modes) = modes().as_ref()
        && in_foreground()
    {
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &modes.raw);
    }
}

/// Whether ring3 may read from and change the terminal on standard input: true for a job in the
/// foreground.
pub fn in_foreground() -> bool {
    let stdin = rustix::stdio::stdin();
    match rustix::termios::tcgetpgrp(stdin) {
        Ok(foreground) => foreground == rustix::process::getpgrp(),
        // A terminal that controls nobody has no jobs.
        Err(_) => isatty(stdin),
    }
}

/// Rows and columns of the terminal that is one of the standard streams.
pub fn size() -> Option<(u16, u16)> {
    let streams = [
        rustix::stdio::stdout(),
        rustix::stdio::stdin(),
        rustix::stdio::stderr(),
    ];
    streams
        .into_iter()
        .find_map(|stream| rustix::termios::tcgetwinsize(stream).ok())
        .map(|size| (size.ws_row, size.ws_col))
        .filter(|&(rows, columns)| rows > 0 && columns > 0)
}
