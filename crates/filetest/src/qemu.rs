//! Runs an image on QEMU, as a foreign oracle.
//!
//! Used: machine `pc` with TCG, every CPU feature that TCG has, the serial port, isa-debug-exit,
//! pc-testdev.
//! QEMU has no user interrupts, no virtual time that counts instructions by default, and differs
//! from processors in places; the tests that it runs name it in their header, and those that it
//! can't pass say why in a comment.

use crate::header::Header;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A program that has not ended after this has hung.
const TIME_MAX: Duration = Duration::from_secs(20);

/// Boots `image` and gives what it printed and, in brackets, how it ended.
///
/// # Errors
/// If QEMU is not there or does not start.
pub fn run(image: &Path, header: &Header) -> Result<String, String> {
    let mut child = Command::new("qemu-system-x86_64")
        .args([
            "-machine",
            "pc",
            "-accel",
            "tcg",
            "-cpu",
            "max",
            "-nodefaults",
        ])
        .args(["-display", "none", "-serial", "stdio", "-no-reboot"])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
        .args(["-device", "pc-testdev"])
        .args(["-smp", &header.cpus.to_string()])
        .args(["-m", &format!("{}M", header.memory_bytes >> 20)])
        .arg("-kernel")
        .arg(image)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| {
            format!("qemu-system-x86_64: {e} (Debian: apt-get install qemu-system-x86)")
        })?;
    let start = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|e| e.to_string())? {
            Some(status) => break Some(status),
            None if start.elapsed() > TIME_MAX => {
                child.kill().map_err(|e| e.to_string())?;
                child.wait().map_err(|e| e.to_string())?;
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let mut text = String::new();
    let mut complaint = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut text).map_err(|e| e.to_string())?;
    }
    if let Some(mut pipe) = child.stderr.take() {
        pipe.read_to_string(&mut complaint)
            .map_err(|e| e.to_string())?;
    }
    let mut text = text.replace("\r\n", "\n");
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    match status.map(|status| status.code()) {
        None => text.push_str("[it did not end]\n"),
        // isa-debug-exit gives twice the written value, plus one.
        Some(Some(code)) if code & 1 != 0 && complaint.is_empty() => {
            text.push_str(&format!("[exit {}]\n", code >> 1));
        }
        // Without reboot, a reset and a triple fault alike end QEMU.
        Some(Some(0)) => text.push_str("[triple fault on processor 0]\n"),
        Some(code) => return Err(format!("QEMU ended with {code:?}: {complaint}")),
    }
    Ok(text)
}
