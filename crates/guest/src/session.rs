//! The host's end of a run, as a state machine between bytes and events.
//!
//! It knows no machine and does no input or output: whoever has a machine gives it the bytes that come out of the
//! guest's ports, takes from it the bytes that go in, and does what the events say. Bytes are to be given in the
//! order in which the device handed them out, across ports too: that is what keeps standard output and standard
//! error in the order in which the program wrote them.

use std::fmt;
use std::io;

use crate::job::Job;
use crate::protocol::{self, End, Splitter, Stage, Stdin, ToGuest, ToHost};

/// A virtio-console port of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// Messages, both ways.
    Control,
    /// To the guest.
    Stdin,
    /// From the guest.
    Stdout,
    /// From the guest.
    Stderr,
}

impl Port {
    /// All of them, in the order in which a machine may number them.
    pub const ALL: [Self; 4] = [Self::Control, Self::Stdin, Self::Stdout, Self::Stderr];

    /// The name by which the guest finds it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Control => protocol::CONTROL_PORT,
            Self::Stdin => protocol::STDIN_PORT,
            Self::Stdout => protocol::STDOUT_PORT,
            Self::Stderr => protocol::STDERR_PORT,
        }
    }
}

/// One of the program's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The guest is up and waits for a job: the moment for a snapshot.
    Ready {
        /// Logical processors it has.
        processors: u32,
        /// Memory it has.
        memory_bytes: u64,
    },
    /// The program has written.
    Output(Stream, Vec<u8>),
    /// Something the person may want to know, one line.
    Warning(String),
    /// The run is over, and all output has been given.
    Ended(Outcome),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The program ran.
    Ran {
        /// How it ended.
        end: End,
        /// True if the guest's memory did not suffice.
        out_of_memory: bool,
        /// Microseconds of guest time in user mode.
        user_micros: u64,
        /// Microseconds of guest time in the kernel.
        system_micros: u64,
        /// Most memory it had at once.
        resident_bytes: u64,
    },
    /// It did not come to that.
    NotStarted {
        /// How far it came.
        stage: Stage,
        /// Linux error number, 0 if there is none.
        errno: u32,
        /// What it was about.
        text: String,
    },
}

impl Outcome {
    /// What a shell would report: the program's status, 128 and the number of the signal that killed it, 127 for a
    /// program that does not exist, 126 for one that cannot be executed.
    pub fn exit_status(&self) -> u8 {
        const ENOENT: u32 = 2;
        match self {
            Self::Ran {
                end: End::Exit(status),
                ..
            } => *status,
            Self::Ran {
                end: End::Signal(number),
                ..
            } => 128_u8.saturating_add(*number),
            Self::NotStarted {
                stage: Stage::Execute,
                errno: ENOENT,
                ..
            } => 127,
            Self::NotStarted { .. } => 126,
        }
    }

    /// What a person at a shell would be told, or `None` after an ordinary exit.
    pub fn message(&self) -> Option<String> {
        const ENOSPC: u32 = 28;
        const ENOMEM: u32 = 12;
        match self {
            Self::Ran { end: End::Exit(_), .. } => None,
            Self::Ran { end: End::Signal(_), out_of_memory: true, .. } => Some(
                "the guest ran out of memory and killed the program\n  give it more with --mem, for instance --mem 2G"
                    .into(),
            ),
            Self::Ran { end: End::Signal(number), .. } => Some(format!("killed by {}", signal_name(*number))),
            Self::NotStarted { stage, errno, text } => {
                let doing = match stage {
                    Stage::Message => "the guest did not understand the job",
                    Stage::Read => "the guest could not read the job's files",
                    Stage::Unpack => "the guest could not store the job's files",
                    Stage::Streams => "the guest could not set up the program's streams",
                    Stage::Folder => "the guest could not enter the working folder",
                    Stage::Execute => "the guest could not execute the program",
                };
                let why = match errno {
                    0 => String::new(),
                    number => format!(": {}", io::Error::from_raw_os_error(*number as i32)),
                };
                let remedy = match *errno {
                    ENOSPC | ENOMEM => "\n  files and program share the guest's memory; give it more with --mem",
                    _ => "",
                };
                Some(format!("{doing}: {text}{why}{remedy}"))
            }
        }
    }
}

/// `SIGSEGV (signal 11)`; numbers of signal(7) on x86-64.
fn signal_name(number: u8) -> String {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    match NAMES.get(usize::from(number).wrapping_sub(1)) {
        Some(name) => format!("SIG{name} (signal {number})"),
        None => format!("signal {number}"),
    }
}

/// Something is wrong with the guest itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionError {
    /// The guest speaks another version of the protocol.
    Version {
        /// The version it speaks.
        guest: u16,
    },
    /// The guest sent what makes no sense.
    Malformed(&'static str),
}

impl fmt::Display for SessionError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { guest } => write!(
                out,
                "the guest speaks version {guest} of the run protocol, this program version {}\n  \
                 make the guest again: ring3 guest clean",
                protocol::VERSION
            ),
            Self::Malformed(what) => write!(
                out,
                "the guest's agent sent nonsense on its control port ({what})"
            ),
        }
    }
}

impl std::error::Error for SessionError {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Booting,
    Ready,
    Running,
    Ended,
}

/// One run, from a guest that boots or has been restored, to the program's end.
#[derive(Debug, Clone)]
pub struct Session {
    state: State,
    incoming: Splitter,
    to_control: Vec<u8>,
    to_stdin: Vec<u8>,
    /// The job's message, until the guest is ready for it.
    waiting_job: Option<Vec<u8>>,
    takes_stdin: bool,
    stdin_ended: bool,
    stdin_total: u64,
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// For a guest that is going to boot.
    pub fn new() -> Self {
        Self {
            state: State::Booting,
            incoming: Splitter::new(protocol::TO_HOST_MAX),
            to_control: Vec::new(),
            to_stdin: Vec::new(),
            waiting_job: None,
            takes_stdin: false,
            stdin_ended: false,
            stdin_total: 0,
        }
    }

    /// For a guest that said it is ready before it was put away and taken out again.
    pub fn resumed() -> Self {
        Self {
            state: State::Ready,
            ..Self::new()
        }
    }

    /// Runs this job, as soon as the guest is ready. Once.
    pub fn start(&mut self, job: &Job) {
        let stdin = job.message().stdin;
        self.takes_stdin = matches!(stdin, Stdin::Pipe | Stdin::Terminal);
        let message = ToGuest::Job(job.message().clone()).encode();
        match self.state {
            State::Booting => self.waiting_job = Some(message),
            State::Ready => self.send_job(message),
            State::Running | State::Ended => {}
        }
    }

    fn send_job(&mut self, message: Vec<u8>) {
        self.to_control.extend(message);
        self.state = State::Running;
        // What was said before the job could be sent.
        if self.stdin_ended {
            self.send_stdin_end();
        }
    }

    /// Takes bytes that came out of a port.
    pub fn receive(&mut self, port: Port, bytes: &[u8]) -> Result<Vec<Event>, SessionError> {
        match port {
            Port::Control => self.receive_messages(bytes),
            Port::Stdin => Ok(Vec::new()),
            Port::Stdout | Port::Stderr if bytes.is_empty() => Ok(Vec::new()),
            Port::Stdout => Ok(vec![Event::Output(Stream::Stdout, bytes.to_vec())]),
            Port::Stderr => Ok(vec![Event::Output(Stream::Stderr, bytes.to_vec())]),
        }
    }

    fn receive_messages(&mut self, bytes: &[u8]) -> Result<Vec<Event>, SessionError> {
        let mut events = Vec::new();
        if self.state == State::Ended {
            // Nothing the guest says after its last word counts, and nothing of it is kept.
            return Ok(events);
        }
        let malformed = |error: protocol::Malformed| SessionError::Malformed(error.0);
        self.incoming.push(bytes);
        while let Some(frame) = self.incoming.next_frame().map_err(malformed)? {
            match ToHost::decode(&frame).map_err(malformed)? {
                ToHost::Ready { version, .. } if version != protocol::VERSION => {
                    return Err(SessionError::Version { guest: version });
                }
                ToHost::Ready {
                    processors,
                    memory_bytes,
                    ..
                } => {
                    if self.state != State::Booting {
                        return Err(SessionError::Malformed("ready twice"));
                    }
                    self.state = State::Ready;
                    events.push(Event::Ready {
                        processors,
                        memory_bytes,
                    });
                    if let Some(message) = self.waiting_job.take() {
                        self.send_job(message);
                    }
                }
                ToHost::Warning { text } => events.push(Event::Warning(text)),
                ToHost::NotStarted { stage, errno, text } => {
                    self.state = State::Ended;
                    events.push(Event::Ended(Outcome::NotStarted { stage, errno, text }));
                    break;
                }
                ToHost::Exited {
                    end,
                    out_of_memory,
                    user_micros,
                    system_micros,
                    resident_bytes,
                } => {
                    if self.state != State::Running {
                        return Err(SessionError::Malformed("an end without a beginning"));
                    }
                    self.state = State::Ended;
                    events.push(Event::Ended(Outcome::Ran {
                        end,
                        out_of_memory,
                        user_micros,
                        system_micros,
                        resident_bytes,
                    }));
                    break;
                }
            }
        }
        Ok(events)
    }

    /// Bytes that wait to go into a port.
    pub fn outgoing(&self, port: Port) -> &[u8] {
        match port {
            Port::Control => &self.to_control,
            // Input goes after the job: before, nobody would know whose it is.
            Port::Stdin if self.state == State::Running => &self.to_stdin,
            _ => &[],
        }
    }

    /// The first `count` of them have gone.
    pub fn sent(&mut self, port: Port, count: usize) {
        match port {
            Port::Control => drop(self.to_control.drain(..count)),
            Port::Stdin => drop(self.to_stdin.drain(..count)),
            Port::Stdout | Port::Stderr => {}
        }
    }

    /// True if the program reads what [`Session::give_stdin`] is given; if not, there is no point in reading the
    /// host's standard input at all. Known once the job has been given.
    pub fn wants_stdin(&self) -> bool {
        self.takes_stdin && !self.stdin_ended && self.state != State::Ended
    }

    /// Gives the program input. To keep memory bounded, read more from the host only while little is waiting in
    /// [`Session::outgoing`].
    pub fn give_stdin(&mut self, bytes: &[u8]) {
        if self.wants_stdin() {
            self.to_stdin.extend_from_slice(bytes);
            self.stdin_total += bytes.len() as u64;
        }
    }

    /// There is no more input.
    pub fn end_stdin(&mut self) {
        if self.wants_stdin() {
            self.stdin_ended = true;
            if self.state == State::Running {
                self.send_stdin_end();
            }
        }
    }

    fn send_stdin_end(&mut self) {
        let total = self.stdin_total;
        self.tell(&ToGuest::StdinEnd { total });
    }

    /// Sends the program a signal; with `group` its whole process group, as Ctrl-C in a terminal would.
    pub fn signal(&mut self, number: u8, group: bool) {
        self.tell(&ToGuest::Signal { number, group });
    }

    /// The terminal has another size now.
    pub fn resize(&mut self, rows: u16, columns: u16) {
        self.tell(&ToGuest::WindowSize { rows, columns });
    }

    /// Has the guest switch its machine off, at any time. Stopping the machine from outside is as good.
    pub fn power_off(&mut self) {
        self.to_control.extend(ToGuest::PowerOff.encode());
    }

    fn tell(&mut self, message: &ToGuest) {
        if self.state == State::Running {
            self.to_control.extend(message.encode());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobBuilder;

    fn job() -> Job {
        JobBuilder::new("/bin/sh")
            .input(crate::Input::Stream)
            .prepare(&Default::default(), &mut |_| {})
            .unwrap()
    }

    fn ready() -> Vec<u8> {
        ToHost::Ready {
            version: protocol::VERSION,
            processors: 2,
            memory_bytes: 1 << 29,
        }
        .encode()
    }

    fn exited(status: u8) -> Vec<u8> {
        ToHost::Exited {
            end: End::Exit(status),
            out_of_memory: false,
            user_micros: 1,
            system_micros: 2,
            resident_bytes: 3,
        }
        .encode()
    }

    /// All messages in what goes to the control port.
    fn messages(session: &mut Session) -> Vec<ToGuest> {
        let mut splitter = Splitter::new(protocol::TO_GUEST_MAX);
        splitter.push(session.outgoing(Port::Control));
        let count = session.outgoing(Port::Control).len();
        session.sent(Port::Control, count);
        std::iter::from_fn(|| splitter.next_frame().unwrap())
            .map(|frame| ToGuest::decode(&frame).unwrap())
            .collect()
    }

    #[test]
    fn a_run_however_the_bytes_are_cut() {
        for piece in 1..40 {
            let mut session = Session::new();
            session.start(&job());
            session.give_stdin(b"early");
            assert!(session.outgoing(Port::Control).is_empty());
            assert!(session.outgoing(Port::Stdin).is_empty());
            let mut events = Vec::new();
            for bytes in ready().chunks(piece) {
                events.extend(session.receive(Port::Control, bytes).unwrap());
            }
            assert_eq!(
                events,
                [Event::Ready {
                    processors: 2,
                    memory_bytes: 1 << 29
                }]
            );
            assert!(matches!(messages(&mut session)[..], [ToGuest::Job(_)]));
            assert_eq!(session.outgoing(Port::Stdin), b"early");
            session.give_stdin(b"late");
            session.end_stdin();
            session.give_stdin(b"too late");
            session.signal(2, true);
            assert_eq!(session.outgoing(Port::Stdin), b"earlylate");
            assert_eq!(
                messages(&mut session),
                [
                    ToGuest::StdinEnd { total: 9 },
                    ToGuest::Signal {
                        number: 2,
                        group: true
                    }
                ]
            );
            let mut events = session.receive(Port::Stderr, b"e").unwrap();
            for bytes in exited(3).chunks(piece) {
                events.extend(session.receive(Port::Control, bytes).unwrap());
            }
            assert_eq!(events[0], Event::Output(Stream::Stderr, b"e".to_vec()));
            let Event::Ended(outcome) = &events[1] else {
                panic!("{events:?}")
            };
            assert_eq!(outcome.exit_status(), 3);
            assert_eq!(session.receive(Port::Control, &ready()).unwrap(), []);
        }
    }

    #[test]
    fn input_that_ended_before_the_guest_was_ready() {
        let mut session = Session::new();
        session.start(&job());
        session.end_stdin();
        session.receive(Port::Control, &ready()).unwrap();
        assert!(matches!(
            messages(&mut session)[..],
            [ToGuest::Job(_), ToGuest::StdinEnd { total: 0 }]
        ));
    }

    #[test]
    fn a_guest_that_talks_nonsense() {
        let try_bytes = |bytes: &[u8]| Session::new().receive(Port::Control, bytes);
        assert!(matches!(
            try_bytes(&[0; 4]),
            Err(SessionError::Malformed(_))
        ));
        assert!(matches!(
            try_bytes(&[0xff; 4]),
            Err(SessionError::Malformed(_))
        ));
        assert!(matches!(
            try_bytes(&exited(0)),
            Err(SessionError::Malformed(_))
        ));
        assert!(matches!(
            try_bytes(&[ready(), ready()].concat()),
            Err(SessionError::Malformed(_))
        ));
        assert!(matches!(
            try_bytes(&ToGuest::PowerOff.encode()),
            Err(SessionError::Malformed(_))
        ));
        let mut other = ready();
        other[5] = 99;
        assert_eq!(try_bytes(&other), Err(SessionError::Version { guest: 99 }));
        // Every damaged byte and every cut ends in a value or an error.
        for whole in [
            ready(),
            exited(7),
            ToHost::NotStarted {
                stage: Stage::Read,
                errno: 5,
                text: "x".into(),
            }
            .encode(),
        ] {
            for at in 0..whole.len() {
                for value in [0, 1, 0x7f, 0xff] {
                    let mut damaged = whole.clone();
                    damaged[at] = value;
                    let _ = try_bytes(&damaged);
                }
                let mut cut = whole[..at].to_vec();
                if at > 4 {
                    cut[..4].copy_from_slice(&(at as u32 - 4).to_le_bytes());
                    assert!(try_bytes(&cut).is_err(), "{whole:?} cut to {at}");
                }
            }
        }
    }

    #[test]
    fn statuses_are_those_of_a_shell() {
        let ran = |end| Outcome::Ran {
            end,
            out_of_memory: false,
            user_micros: 0,
            system_micros: 0,
            resident_bytes: 0,
        };
        assert_eq!(ran(End::Exit(255)).exit_status(), 255);
        assert_eq!(ran(End::Signal(11)).exit_status(), 139);
        assert_eq!(
            ran(End::Signal(11)).message().unwrap(),
            "killed by SIGSEGV (signal 11)"
        );
        assert_eq!(
            ran(End::Signal(34)).message().unwrap(),
            "killed by signal 34"
        );
        let not = |stage, errno| Outcome::NotStarted {
            stage,
            errno,
            text: "x".into(),
        };
        assert_eq!(not(Stage::Execute, 2).exit_status(), 127);
        assert_eq!(not(Stage::Execute, 8).exit_status(), 126);
        assert!(not(Stage::Unpack, 28).message().unwrap().contains("--mem"));
    }

    #[test]
    fn messages_to_the_guest_survive_the_way() {
        let job = job();
        for message in [
            ToGuest::Job(job.message().clone()),
            ToGuest::Signal {
                number: 15,
                group: false,
            },
            ToGuest::StdinEnd { total: u64::MAX },
            ToGuest::WindowSize {
                rows: 24,
                columns: 80,
            },
            ToGuest::PowerOff,
        ] {
            let bytes = message.encode();
            assert_eq!(ToGuest::decode(&bytes[4..]).unwrap(), message);
            for end in 4..bytes.len() {
                assert!(ToGuest::decode(&bytes[4..end]).is_err());
            }
        }
    }
}
