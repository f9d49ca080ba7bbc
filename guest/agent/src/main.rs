//! The init of the default guest: sets the guest up, tells the host that it is ready, runs one program.
//!
//! It is the first and only process of an initramfs. It mounts what programs expect, loads the modules its
//! configuration names, finds the ports of the run protocol (`guest/protocol`), and says it is ready; the machine is
//! snapshotted there. From then on every instruction counts, because the machine is an emulator and this agent
//! runs beside the program that is measured: the program's output goes straight from its own `write` to the device,
//! the agent sleeps until something concerns it, and starting a program copies no page table.
//!
//! Not here: a shell, a login, services, networking beyond the loopback interface, a second job.

#[path = "../../protocol/src/lib.rs"]
#[allow(
    dead_code,
    reason = "the agent uses one direction's encoders, the host the other's"
)]
mod protocol;

mod archive;
mod boot;
mod run;
mod sys;

use std::fs::File;
use std::io::{self, Read, Write};

use protocol::{Splitter, ToGuest, ToHost};

/// The open ports. Each can be open only once, so they stay open.
pub struct Ports {
    pub control: Control,
    pub stdin: File,
    pub stdout: File,
    pub stderr: File,
}

/// The control port and what has come in on it so far.
pub struct Control {
    port: File,
    splitter: Splitter,
    buffer: Vec<u8>,
}

impl Control {
    pub fn new(port: File) -> Self {
        Self {
            port,
            splitter: Splitter::new(protocol::TO_GUEST_MAX),
            buffer: vec![0; 4096],
        }
    }

    /// Tells the host something. There is nobody to complain to if that fails.
    pub fn send(&mut self, message: &ToHost) {
        let _ = self.port.write_all(&message.encode());
    }

    pub fn warn(&mut self, text: String) {
        self.send(&ToHost::Warning { text });
    }

    pub fn poll_entry(&self) -> sys::PollFd {
        sys::PollFd::readable(&self.port)
    }

    /// Reads what the port holds. Call when the port is readable.
    pub fn receive(&mut self) -> io::Result<()> {
        let count = self.port.read(&mut self.buffer)?;
        self.splitter.push(&self.buffer[..count]);
        Ok(())
    }

    /// The next whole message.
    pub fn next_message(&mut self) -> Result<Option<ToGuest>, protocol::Malformed> {
        self.splitter
            .next_frame()?
            .map(|frame| ToGuest::decode(&frame))
            .transpose()
    }
}

fn main() {
    let mut reserve = run::Reserve::new();
    let mut ports = match boot::set_up() {
        Ok(ports) => ports,
        Err(problem) => {
            eprintln!("ring3 guest: {problem}");
            power_off();
        }
    };
    ports.control.send(&ToHost::Ready {
        version: protocol::VERSION,
        processors: std::thread::available_parallelism().map_or(1, |count| count.get() as u32),
        memory_bytes: sys::memory_bytes(),
    });
    let job = loop {
        match wait_for_message(&mut ports.control) {
            Ok(ToGuest::Job(job)) => break job,
            Ok(ToGuest::PowerOff) => power_off(),
            Ok(_) => {}
            Err(malformed) => {
                ports.control.send(&run::not_started(
                    protocol::Stage::Message,
                    None,
                    malformed.0,
                ));
                power_off();
            }
        }
    };
    let last_word =
        run::run(&job, &mut ports, &mut reserve).unwrap_or_else(|not_started| not_started);
    ports.control.send(&last_word);
    // The host usually stops the machine now. Whatever the program left running keeps running until it does.
    loop {
        if matches!(
            wait_for_message(&mut ports.control),
            Ok(ToGuest::PowerOff) | Err(_)
        ) {
            power_off();
        }
    }
}

/// Sleeps until the host says something, and buries the dead meanwhile.
fn wait_for_message(control: &mut Control) -> Result<ToGuest, protocol::Malformed> {
    loop {
        if let Some(message) = control.next_message()? {
            return Ok(message);
        }
        let mut entries = [control.poll_entry()];
        if sys::wait(&mut entries, None).is_err() || entries[0].is_only_hung_up() {
            // The host has let go of the port. It may come back.
            let _ = sys::wait(&mut [], Some(50));
        } else if entries[0].is_due() {
            let _ = control.receive();
        }
        while sys::reap().is_some() {}
    }
}

fn power_off() -> ! {
    let _ = sys::power_off();
    // An init that ends is a kernel panic; sleeping is quieter.
    loop {
        let _ = sys::wait(&mut [], None);
    }
}
