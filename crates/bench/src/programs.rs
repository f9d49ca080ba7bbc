//! The guest programs of the folder `bench`, and how much work each is given.
//!
//! The amounts are such that one sample takes Ring3 about two seconds on a processor of 2020; they are the same for both
//! emulators.

/// A row of the table: a program with its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The row's name.
    pub name: &'static str,
    /// The C file in `bench`, without its ending.
    pub source: &'static str,
    /// Its amount of work.
    pub amount: u64,
    /// The argument after that.
    pub variant: &'static str,
    /// What the row is about.
    pub about: &'static str,
}

const fn program(
    name: &'static str,
    source: &'static str,
    amount: u64,
    variant: &'static str,
    about: &'static str,
) -> Program {
    Program {
        name,
        source,
        amount,
        variant,
        about,
    }
}

/// All of them, in the order of the table.
pub const PROGRAMS: &[Program] = &[
    program(
        "loop",
        "loop",
        100,
        "",
        "a loop of eight integer instructions",
    ),
    program(
        "integer",
        "integer",
        250,
        "",
        "integer mix: interpreter, sorting, division",
    ),
    program(
        "code",
        "code",
        20,
        "",
        "a thousand functions one after the other",
    ),
    program("chase", "chase", 40, "", "pointer chase over 4 MB"),
    program("sha256", "sha256", 150, "", "SHA-256 in C"),
    program(
        "memory",
        "memory",
        800,
        "",
        "the C library's memcpy and strlen",
    ),
    program("rep", "rep", 500, "", "REP MOVSB and REP STOSQ"),
    program("nbody", "nbody", 300, "", "doubles with SSE2"),
    program("getppid", "getppid", 1000, "", "a system call"),
    program(
        "pipe",
        "pipe",
        60,
        "1",
        "pipe ping-pong, two processes on one processor",
    ),
    program("pipe-2", "pipe", 40, "2", "pipe ping-pong, two processors"),
    program(
        "signal",
        "signal",
        40,
        "1",
        "signal ping-pong, two processes on one processor",
    ),
    program(
        "signal-2",
        "signal",
        30,
        "2",
        "signal ping-pong, two processors",
    ),
    program(
        "futex",
        "futex",
        80,
        "1",
        "futex ping-pong, two threads on one processor",
    ),
    program(
        "futex-2",
        "futex",
        50,
        "2",
        "futex ping-pong, two processors",
    ),
    program(
        "spin",
        "spin",
        1000,
        "2",
        "spinning ping-pong over shared memory",
    ),
    program("spawn", "spawn", 1500, "", "fork, exec and wait"),
    program("faults", "faults", 600, "", "page faults"),
];

impl Program {
    /// Whether it keeps two processors busy by turns. What QEMU takes for these depends on how the host's scheduler
    /// treats its threads, so they have a mean of their own.
    pub fn uses_two_processors(&self) -> bool {
        self.variant == "2"
    }

    /// The line that makes the guest run it, with this part of the work.
    pub fn command(&self, divisor: u64) -> String {
        let amount = (self.amount / divisor).max(1);
        let line = format!("{} {amount} {}", self.source, self.variant);
        line.trim_end().to_owned()
    }
}
