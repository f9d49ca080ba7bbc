//! Whole processes: processor time and wall time from start to end.

use crate::{Result, memory};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::Serialize;
use std::process::{Command, Stdio};
use std::time::Instant;

/// One process.
#[derive(Clone, Debug, Serialize)]
pub struct Whole {
    /// Processor time, user and system, of it and of those it waited for.
    pub cpu_seconds: f64,
    /// From start to end.
    pub wall_seconds: f64,
    /// What it wrote to standard output.
    #[serde(skip)]
    pub output: String,
}

fn children_seconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)
        .map_err(|error| format!("processor times cannot be read: {error}"))?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(micros as f64 / 1e6)
}

/// Runs `command` to its end. No other process may be waited for at the same time.
///
/// # Errors
/// If it cannot be started or fails.
pub fn run(command: &mut Command) -> Result<Whole> {
    let before = children_seconds()?;
    let began = Instant::now();
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| format!("{command:?} cannot be started: {error}"))?;
    let wall_seconds = began.elapsed().as_secs_f64();
    if !output.status.success() {
        return Err(format!(
            "{command:?} failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Ok(Whole {
        cpu_seconds: children_seconds()? - before,
        wall_seconds,
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
    })
}

/// Runs `command` to its end while its resident set is watched.
///
/// # Errors
/// If it cannot be started or fails.
pub fn watch_memory(command: &mut Command, guest_bytes: u64) -> Result<memory::Resident> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{command:?} cannot be started: {error}"))?;
    let mut resident = memory::Resident::default();
    loop {
        if let Some(now) = memory::of(child.id(), guest_bytes) {
            resident.add(now);
        }
        match child.try_wait() {
            Ok(None) => std::thread::sleep(std::time::Duration::from_millis(5)),
            Ok(Some(status)) if status.success() => return Ok(resident),
            Ok(Some(status)) => return Err(format!("{command:?} failed ({status})")),
            Err(error) => return Err(format!("waiting for {command:?} failed: {error}")),
        }
    }
}
