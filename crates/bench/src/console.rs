//! A guest that runs programs one after the other, and waits between preparation, work and end of each, so that the
//! emulator's processor time can be read while nothing happens.
//!
//! What is measured is the emulator's processor time (user and system, all threads) between the two pauses; the guest's
//! boot, loading the program, and its preparations are outside.

use crate::Result;
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use serde::Serialize;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// Silence for so long means that the guest hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// One run of a program.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// Processor time of the emulator for the work.
    pub cpu_seconds: f64,
    /// Guest instructions of the work, if the emulator counts them.
    pub instructions: Option<u64>,
    /// What the program computed.
    pub checksum: String,
}

/// An emulator with a guest whose first process is `bench/init.c`.
pub struct Console {
    child: Child,
    input: ChildStdin,
    output: Receiver<String>,
    /// Standard error: Ring3's statistics.
    errors: Receiver<String>,
    clock: ClockId,
    /// Whether it is Ring3, which counts instructions, and which virtual time keeps busy while its guest waits.
    is_ring3: bool,
    last_lines: Vec<String>,
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(count) if count > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if sender.send(text).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Console {
    /// Starts `command` and waits until its guest is ready.
    ///
    /// # Errors
    /// If it cannot be started or its guest does not come up.
    pub fn start(mut command: Command, is_ring3: bool) -> Result<Console> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{command:?} cannot be started: {error}"))?;
        let clock = clock_getcpuclockid(Pid::from_raw(child.id() as i32))
            .map_err(|error| format!("the emulator's processor time cannot be read: {error}"))?;
        let mut console = Console {
            input: child.stdin.take().expect("it is piped"),
            output: lines(child.stdout.take().expect("it is piped")),
            errors: lines(child.stderr.take().expect("it is piped")),
            child,
            clock,
            is_ring3,
            last_lines: Vec::new(),
        };
        console.await_line("@ready")?;
        console.signal(Signal::SIGSTOP)?;
        Ok(console)
    }

    /// The emulator's process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Ring3's guest, left alone, lives through hours of virtual time while it waits: it is stopped in the meantime. QEMU
    /// waits by itself, and its guest would notice.
    fn signal(&self, signal: Signal) -> Result<()> {
        if self.is_ring3 {
            kill(Pid::from_raw(self.child.id() as i32), signal)
                .map_err(|error| format!("the emulator is gone: {error}"))?;
        }
        Ok(())
    }

    /// Waits for a line that contains `marker`, and returns what follows it there.
    fn await_line(&mut self, marker: &str) -> Result<String> {
        self.last_lines.clear();
        loop {
            match self.output.recv_timeout(PATIENCE) {
                Ok(line) => {
                    if let Some((_, rest)) = line.split_once(marker) {
                        return Ok(rest.trim().to_owned());
                    }
                    if let Some((_, rest)) = line.split_once("@exit") {
                        return Err(self.failure(&format!("the program ended: status{rest}")));
                    }
                    self.last_lines.push(line);
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.failure(&format!("no {marker} for ten minutes")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.failure("the emulator ended"));
                }
            }
        }
    }

    fn failure(&mut self, what: &str) -> String {
        let mut said = self.last_lines.clone();
        while let Ok(line) = self.errors.try_recv() {
            said.push(line);
        }
        let start = said.len().saturating_sub(8);
        let name = if self.is_ring3 { "Ring3" } else { "QEMU" };
        format!("{name}: {what}\n{}", said[start..].join("\n"))
    }

    fn send(&mut self, text: &str) -> Result<()> {
        self.input
            .write_all(text.as_bytes())
            .and_then(|()| self.input.flush())
            .map_err(|error| self.failure(&format!("it takes no input: {error}")))
    }

    fn cpu_seconds(&self) -> Result<f64> {
        clock_gettime(self.clock)
            .map(|time| time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
            .map_err(|error| format!("the emulator is gone: {error}"))
    }

    /// Instructions so far.
    fn instructions(&mut self) -> Result<Option<u64>> {
        if !self.is_ring3 {
            return Ok(None);
        }
        self.signal(Signal::SIGUSR1)?;
        loop {
            let line = self
                .errors
                .recv_timeout(PATIENCE)
                .map_err(|_| self.failure("it does not say what it has counted"))?;
            if let Ok(report) = serde_json::from_str::<serde_json::Value>(&line) {
                return Ok(report["run"]["instructions"].as_u64());
            }
            self.last_lines.push(line);
        }
    }

    /// Runs a program.
    ///
    /// # Errors
    /// If it fails, or the emulator does.
    pub fn measure(&mut self, command: &str) -> Result<Sample> {
        self.signal(Signal::SIGCONT)?;
        self.send(&format!("{command}\n"))?;
        self.await_line("@begin")?;
        let instructions_before = self.instructions()?;
        let seconds_before = self.cpu_seconds()?;
        self.send("\n")?;
        self.await_line("@end")?;
        let seconds_after = self.cpu_seconds()?;
        let instructions_after = self.instructions()?;
        self.send("\n")?;
        let checksum = self.await_line("checksum")?;
        let status = self.await_line("@exit")?;
        if status != "0" {
            return Err(self.failure(&format!("{command}: exit status {status}")));
        }
        self.signal(Signal::SIGSTOP)?;
        Ok(Sample {
            cpu_seconds: seconds_after - seconds_before,
            instructions: instructions_after
                .zip(instructions_before)
                .map(|(after, before)| after - before),
            checksum,
        })
    }

    /// Switches the guest off.
    ///
    /// # Errors
    /// If the emulator does not end by that.
    pub fn end(mut self) -> Result<()> {
        self.signal(Signal::SIGCONT)?;
        self.send("off\n")?;
        while self.output.recv_timeout(PATIENCE).is_ok() {}
        match self.child.try_wait() {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("waiting for the emulator failed: {error}")),
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
