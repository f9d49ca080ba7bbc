//! Why a machine stopped, in words that help: what happened, where, what to do about it.

use crate::failure::{Failure, status};
use crate::size::count;
use ring3_arch::CpuIndex;
use ring3_machine::{Machine, Stop};
use std::collections::VecDeque;

/// What the guest's kernel said last on its console. Bounded, whatever the guest writes.
#[derive(Debug, Default)]
pub struct ConsoleTail {
    lines: VecDeque<String>,
    current: Vec<u8>,
    /// The reason a Linux kernel gave for its panic.
    panic: Option<String>,
    /// Lines since then.
    since_panic: usize,
    /// The person has seen it all.
    shown: bool,
}

const LINES_MAX: usize = 200;
const LINE_BYTES_MAX: usize = 1000;
/// What Linux says when it gives up. Source: Linux, `panic()`; the words have not changed in decades.
const PANIC: &str = "Kernel panic - not syncing: ";

impl ConsoleTail {
    /// For a console that is shown anyway, so that nothing of it need be repeated.
    pub fn shown() -> ConsoleTail {
        ConsoleTail {
            shown: true,
            ..ConsoleTail::default()
        }
    }

    /// Takes what came out of the serial port; returns the lines that are complete now.
    pub fn add(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut complete = Vec::new();
        for &byte in bytes {
            match byte {
                b'\n' => complete.push(self.end_line()),
                b'\r' => {}
                _ if self.current.len() >= LINE_BYTES_MAX => {}
                _ => self.current.push(byte),
            }
        }
        complete
    }

    fn end_line(&mut self) -> String {
        let bytes = std::mem::take(&mut self.current);
        // Escape sequences of a guest have no business on the host's terminal.
        let line: String = String::from_utf8_lossy(&bytes)
            .chars()
            .filter(|letter| !letter.is_control() || *letter == '\t')
            .collect();
        if let Some((_, reason)) = line.split_once(PANIC) {
            self.panic.get_or_insert_with(|| {
                // Some reasons are repeated at the end of the report: "---[ end Kernel panic - ...".
                reason.trim_end_matches(" ]---").trim().to_owned()
            });
        }
        self.lines.push_back(line.clone());
        self.since_panic += usize::from(self.panic.is_some());
        if self.lines.len() > LINES_MAX {
            self.lines.pop_front();
        }
        line
    }

    /// Why the kernel panicked, if it did.
    pub fn panic(&self) -> Option<&str> {
        self.panic.as_deref()
    }

    /// The lines that explain an end, as a paragraph, if there are any and they were not shown: those
    /// around a panic, otherwise the last ones.
    pub fn quoted(&self) -> String {
        const LINES: usize = 10;
        /// What led to a panic is often said just before it.
        const BEFORE: usize = 4;
        if self.shown {
            return String::new();
        }
        let current = String::from_utf8_lossy(&self.current).into_owned();
        let all = self.lines.iter().cloned().chain([current]);
        let before_panic = self.lines.len().saturating_sub(self.since_panic);
        let lines: Vec<String> = match self.panic {
            Some(_) => all
                .skip(before_panic.saturating_sub(BEFORE))
                .filter(|line| !line.trim().is_empty())
                .take(LINES)
                .collect(),
            None => {
                let all: Vec<String> = all.filter(|line| !line.trim().is_empty()).collect();
                all[all.len().saturating_sub(LINES)..].to_vec()
            }
        };
        match lines[..] {
            [] => String::new(),
            _ => format!("\nThe guest's console said:\n  {}", lines.join("\n  ")),
        }
    }
}

/// The failure that a kernel panic is.
fn kernel_panic(reason: &str, console: &ConsoleTail) -> Failure {
    let lowered = reason.to_ascii_lowercase();
    let hint = if lowered.contains("memory") {
        "The guest's memory does not suffice: give it more with --mem, for instance --mem 2G."
    } else if lowered.contains("unable to mount root") || lowered.contains("no working init") {
        "The kernel found no file system to start from: give one with --initrd, and name its init with \
         --append 'rdinit=/path' if it is not /init."
    } else if lowered.contains("attempted to kill init") {
        "The first program of the guest has ended: see what it said above, or start another one with \
         --append 'rdinit=/path'."
    } else {
        "If the same kernel works elsewhere, this may be a mistake of ring3: please report it with the \
         command and the messages."
    };
    let said = console.quoted();
    Failure::new(format!("the guest's kernel panicked: {reason}")).remedy(format!("{hint}{said}"))
}

/// What stopped a machine that should have gone on, as a failure. Not for [`Stop::Output`].
pub fn failure(stop: &Stop, machine: &Machine, console: &ConsoleTail) -> Failure {
    if let Some(reason) = console.panic() {
        return kernel_panic(reason, console);
    }
    let said = console.quoted();
    match stop {
        Stop::InstructionLimit | Stop::Output => Failure::new(format!(
            "the limit of instructions was reached; the machine has executed {} since it was switched on",
            count(machine.instructions())
        ))
        .remedy("raise it with --max-instructions, or leave that option out")
        .status(status::LIMIT),
        Stop::PowerOff(_) => Failure::new("the guest switched itself off before its work was done")
            .remedy(format!(
                "Did the program power the machine off? Then that worked.{said}"
            )),
        Stop::Mark { .. } => unreachable!("marks end no run"),
        Stop::Reset => Failure::new("the guest restarted its machine before its work was done")
            .remedy(format!(
                "A kernel that crashes without a word does this, and so does a program that calls reboot.{said}"
            )),
        Stop::TripleFault(cpu) => triple_fault(*cpu, machine, &said),
        Stop::Idle => Failure::new(
            "the guest is stuck: every processor waits, and neither a timer nor a device will wake one",
        )
        .remedy(format!(
            "A program that waits for itself does this (two threads with two locks, a pipe whose other \
             end it holds), and so does a kernel that halts with interrupts disabled.{said}"
        ))
        .status(status::STUCK),
        Stop::Unimplemented {
            cpu,
            rip,
            bytes,
            text,
        } => {
            let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            Failure::new(format!(
                "the guest executed an instruction that this machine announces but does not have yet: {text}"
            ))
            .remedy(format!(
                "This is a gap of ring3. Please report it with this line:\n\
                 processor {}, rip {rip:#x}, bytes {}, instruction {}",
                cpu.0,
                hex.join(" "),
                machine.instructions()
            ))
        }
    }
}

fn triple_fault(cpu: CpuIndex, machine: &Machine, said: &str) -> Failure {
    let state = machine.cpu(cpu);
    let registers = &state.system;
    Failure::new(format!(
        "processor {} shut down after a triple fault: an exception came up while it was delivering the \
         double fault for an earlier one",
        cpu.0
    ))
    .remedy(format!(
        "The guest's IDT, stack or page tables are not what the processor needs. State at the fault, \
         after {} instructions:\n\
         rip {:#x}  rsp {:#x}  rflags {:#x}  cpl {}\n\
         cr0 {:#x}  cr2 {:#x}  cr3 {:#x}  cr4 {:#x}  efer {:#x}\n\
         idt {:#x} limit {:#x}  gdt {:#x} limit {:#x}{said}",
        machine.instructions(),
        state.rip(),
        state.regs[4],
        state.rflags(),
        state.cpl(),
        registers.cr0,
        registers.cr2,
        registers.cr3,
        registers.cr4,
        registers.efer,
        registers.idtr.base,
        registers.idtr.limit,
        registers.gdtr.base,
        registers.gdtr.limit,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_found_wherever_the_bytes_are_cut() {
        let text = "[    1.0] VFS: Cannot open\r\n[    1.1] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n\
                    [    1.2] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs ]---\r\n";
        for piece in 1..40 {
            let mut tail = ConsoleTail::default();
            for bytes in text.as_bytes().chunks(piece) {
                tail.add(bytes);
            }
            assert_eq!(tail.panic(), Some("VFS: Unable to mount root fs"));
            assert_eq!(
                tail.quoted()
                    .lines()
                    .filter(|line| line.contains("[ "))
                    .count(),
                3
            );
        }
        let mut tail = ConsoleTail::default();
        tail.add(text.as_bytes());
        let said = kernel_panic(tail.panic().unwrap(), &tail).to_string();
        assert!(
            said.contains("--initrd") && said.contains("Cannot open"),
            "{said}"
        );
    }

    #[test]
    fn the_lines_around_a_panic_are_quoted() {
        let mut tail = ConsoleTail::default();
        let mut text = String::new();
        for n in 0..50 {
            text += &format!("before {n}\n");
        }
        text += &format!("{PANIC}out of ideas\n");
        for n in 0..50 {
            text += &format!("after {n}\n");
        }
        tail.add(text.as_bytes());
        let quoted = tail.quoted();
        assert!(
            quoted.contains("before 46\n") && !quoted.contains("before 45\n"),
            "{quoted}"
        );
        assert!(
            quoted.contains("after 4") && !quoted.contains("after 5"),
            "{quoted}"
        );
        let mut shown = ConsoleTail::shown();
        shown.add(text.as_bytes());
        assert_eq!(shown.quoted(), "");
        assert_eq!(shown.panic(), Some("out of ideas"));
    }

    #[test]
    fn a_guest_cannot_fill_memory_or_draw_on_the_terminal() {
        let mut tail = ConsoleTail::default();
        for _ in 0..10_000 {
            tail.add(b"\x1b[2J\x07noise\n");
        }
        tail.add(&[b'x'; 1 << 20]);
        assert_eq!(tail.lines.len(), LINES_MAX);
        assert!(tail.current.len() <= LINE_BYTES_MAX);
        assert!(tail.quoted().contains("noise") && !tail.quoted().contains('\x1b'));
        assert_eq!(tail.panic(), None);
    }
}
