//! A mistake in ring3 must look like one: a sentence, what is needed to repeat it, no backtrace. A
//! developer gets the backtrace with `RUST_BACKTRACE=1`.

use crate::failure::status;
use crate::{console, terminal};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};

static SEED: AtomicU64 = AtomicU64::new(0);
static INSTRUCTIONS: AtomicU64 = AtomicU64::new(0);
static MACHINE_RUNS: AtomicU64 = AtomicU64::new(0);

/// From now on there is a machine with this seed.
pub fn machine_runs(seed: u64) {
    SEED.store(seed, Ordering::Relaxed);
    MACHINE_RUNS.store(1, Ordering::Relaxed);
}

/// The machine has come so far.
pub fn machine_at(instructions: u64) {
    INSTRUCTIONS.store(instructions, Ordering::Relaxed);
}

/// Makes every panic end the process with [`status::INTERNAL`] and an explanation.
pub fn install() {
    std::panic::set_hook(Box::new(|info| {
        terminal::restore();
        console::say(&report(info));
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            eprintln!("{backtrace}");
        }
        // Whichever thread it was, a run that has gone wrong must not go on.
        std::process::exit(status::INTERNAL.into());
    }));
}

fn report(info: &PanicHookInfo<'_>) -> String {
    let message = info
        .payload_as_str()
        .unwrap_or("a panic without a message")
        .replace('\n', " ");
    let place = info
        .location()
        .map(|place| format!(" ({}:{})", place.file(), place.line()))
        .unwrap_or_default();
    let command: Vec<String> = std::env::args_os()
        .map(|word| {
            let word = word.to_string_lossy().into_owned();
            shlex::try_quote(&word)
                .map(|quoted| quoted.into_owned())
                .unwrap_or(word)
        })
        .collect();
    let mut text = format!(
        "internal error: {message}{place}\n  \
         This is a mistake in ring3, not in what it runs. Please report it with these lines and the\n  \
         files that the command names:\n    \
         version: {}\n    \
         command: {}",
        crate::VERSION,
        command.join(" ")
    );
    if MACHINE_RUNS.load(Ordering::Relaxed) == 1 {
        text += &format!(
            "\n    seed: {}, after about {} instructions",
            SEED.load(Ordering::Relaxed),
            INSTRUCTIONS.load(Ordering::Relaxed)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "ends the process; the next test runs it in one of its own"]
    fn a_panic() {
        if std::env::var_os("RING3_TEST_PANIC").is_some() {
            install();
            machine_runs(42);
            machine_at(1000);
            let thread = std::thread::spawn(|| panic!("two halves\ndo not fit"));
            let _ = thread.join();
        }
    }

    #[test]
    fn a_mistake_looks_like_one_whichever_thread_makes_it() {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "internal_error::tests::a_panic",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env("RING3_TEST_PANIC", "1")
            .env_remove("RUST_BACKTRACE")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            output.status.code(),
            Some(status::INTERNAL.into()),
            "{said}"
        );
        for words in [
            "ring3: internal error: two halves do not fit (",
            "internal_error.rs:",
            "report it",
            "version: 0.",
            "command: ",
            "seed: 42, after about 1000 instructions",
        ] {
            assert!(said.contains(words), "{words:?} is missing from {said}");
        }
        for rust in ["panicked at", "stack backtrace", "RUST_BACKTRACE"] {
            assert!(!said.contains(rust), "{said}");
        }
    }
}
