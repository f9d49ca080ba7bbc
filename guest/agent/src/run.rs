//! One job: its files, its streams, its process, its end.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, symlink};

use crate::boot::{STDERR_FIFO, STDOUT_FIFO};
use crate::protocol::{End, Job, Output, STDIN_FILE, Stage, Stdin, Terminal, ToGuest, ToHost};
use crate::sys::{self, PollFd, SpawnStep};
use crate::{Ports, archive};

/// As much as one read or write moves; the port driver takes no more at a time.
const PIECE: usize = 32 << 10;

/// Memory a job needs, with pages behind it before the guest is ready, so that no job pays for their making.
pub struct Reserve {
    archive: archive::Buffer,
    stack: sys::SpawnStack,
    input: Vec<u8>,
    piece: Vec<u8>,
}

impl Reserve {
    pub fn new() -> Self {
        let filled = || std::hint::black_box(vec![1; PIECE]);
        Self {
            archive: archive::Buffer::new(),
            stack: sys::SpawnStack::new(),
            input: filled(),
            piece: filled(),
        }
    }
}

/// Runs the job to its end. Both results are the last message to the host.
pub fn run(job: &Job, ports: &mut Ports, reserve: &mut Reserve) -> Result<ToHost, ToHost> {
    if job.archive_bytes > 0 {
        archive::unpack(job.archive_bytes, &mut reserve.archive).map_err(
            |failure| match failure {
                archive::Failure::Read(error) => {
                    not_started(Stage::Read, Some(&error), "the archive")
                }
                archive::Failure::Unpack(path, error) => {
                    not_started(Stage::Unpack, Some(&error), &path.display().to_string())
                }
            },
        )?;
    }
    let streams_failed =
        |error: io::Error| not_started(Stage::Streams, Some(&error), "the program's streams");
    let Streams {
        given,
        terminal,
        mut input,
        mut relays,
        screen,
    } = Streams::new(job, ports, &mut reserve.input).map_err(streams_failed)?;
    let words = |words: &[Vec<u8>]| {
        words
            .iter()
            .map(|word| sys::c_string(&word[..]))
            .collect::<io::Result<Vec<_>>>()
    };
    let order = || {
        Ok((
            sys::c_string(&job.program[..])?,
            words(&job.arguments)?,
            words(&job.environment)?,
            sys::c_string(&job.folder[..])?,
        ))
    };
    let (program, arguments, environment, folder) = order().map_err(|error: io::Error| {
        not_started(Stage::Message, Some(&error), "a NUL inside a word")
    })?;
    let process = sys::spawn(
        &sys::Spawn {
            program: &program,
            arguments: &arguments,
            environment: &environment,
            folder: &folder,
            randomize_addresses: job.randomize_addresses,
            streams: given.each_ref().map(|given| given.as_fd()),
            terminal,
        },
        &mut reserve.stack,
    )
    .map_err(|(step, error)| {
        let (stage, text) = match step {
            SpawnStep::Clone => (Stage::Execute, "making a process".into()),
            SpawnStep::Streams => (Stage::Streams, "handing the streams over".into()),
            SpawnStep::Folder => (
                Stage::Folder,
                String::from_utf8_lossy(&job.folder).into_owned(),
            ),
            SpawnStep::Execute => (
                Stage::Execute,
                String::from_utf8_lossy(&job.program).into_owned(),
            ),
        };
        not_started(stage, Some(&error), &text)
    })?;
    // The agent's copies would keep pipes open after the program is gone.
    drop(given);

    // What came in one piece with the job is not announced again.
    obey(process, ports, &mut input, screen.as_ref());
    move_input(ports, &mut input, false);
    let ended = loop {
        if let Some(ended) = reap(process) {
            break ended;
        }
        attend(
            process,
            ports,
            &mut input,
            &mut relays,
            screen.as_ref(),
            &mut reserve.piece,
        );
    };
    for relay in &mut relays {
        relay.drain(ports, &mut reserve.piece);
    }
    Ok(ToHost::Exited {
        end: ended.end,
        out_of_memory: ended.end == End::Signal(sys::SIGKILL) && memory_ran_out(),
        user_micros: ended.user_micros,
        system_micros: ended.system_micros,
        resident_bytes: ended.resident_bytes,
    })
}

/// The message that says why there is no program.
pub fn not_started(stage: Stage, error: Option<&io::Error>, text: &str) -> ToHost {
    let errno = error.and_then(io::Error::raw_os_error).unwrap_or(0) as u32;
    let text = match error {
        Some(error) if errno == 0 => format!("{text}: {error}"),
        _ => text.to_owned(),
    };
    ToHost::NotStarted { stage, errno, text }
}

/// Buries every process that has ended; the program's own end is what is returned.
fn reap(program: i32) -> Option<sys::Ended> {
    while let Some(ended) = sys::reap() {
        if ended.process == program {
            return Some(ended);
        }
    }
    None
}

/// True if the kernel has killed for memory since it started. Nothing but the program can have been the cause.
fn memory_ran_out() -> bool {
    fs::read_to_string("/proc/vmstat").is_ok_and(|counters| {
        counters
            .lines()
            .filter_map(|line| line.strip_prefix("oom_kill "))
            .any(|count| count.trim() != "0")
    })
}

/// Sleeps until a message, input, output or the end of a child, and does what it asks.
fn attend(
    process: i32,
    ports: &mut Ports,
    input: &mut Option<Input>,
    relays: &mut [Relay],
    screen: Option<&File>,
    piece: &mut [u8],
) {
    let mut entries = vec![
        ports.control.poll_entry(),
        input
            .as_ref()
            .map_or(PollFd::nothing(), |i| i.poll_entry(ports)),
    ];
    entries.extend(relays.iter().map(Relay::poll_entry));
    if sys::wait(&mut entries, None).is_err() {
        return;
    }
    if entries[0].is_only_hung_up() {
        // The host has let go of the control port; without this pause the wait above would not wait.
        let _ = sys::wait(&mut entries[1..], Some(50));
    } else if entries[0].is_due() && ports.control.receive().is_ok() {
        obey(process, ports, input, screen);
    }
    move_input(ports, input, entries[1].is_due());
    for (relay, entry) in relays.iter_mut().zip(&entries[2..]) {
        if entry.is_due() {
            relay.attend(ports, piece);
        }
    }
}

/// Does what the messages say that have come in.
fn obey(process: i32, ports: &mut Ports, input: &mut Option<Input>, screen: Option<&File>) {
    while let Ok(Some(message)) = ports.control.next_message() {
        match message {
            ToGuest::Signal { number, group } => sys::send_signal(process, group, number),
            ToGuest::StdinEnd { total } => {
                if let Some(input) = input {
                    input.end = Some(total);
                }
            }
            ToGuest::WindowSize { rows, columns } => {
                if let Some(screen) = screen {
                    let _ = sys::set_window_size(screen, rows, columns);
                }
            }
            ToGuest::PowerOff => {
                let _ = sys::power_off();
            }
            ToGuest::Job(_) => ports
                .control
                .warn("a second job; this guest runs one".into()),
        }
    }
}

/// Moves input on. When it has ended, or the program has closed its side, there is none any more.
fn move_input(ports: &Ports, input: &mut Option<Input>, is_due: bool) {
    if let Some(source) = input
        && source.attend(ports, is_due).is_err()
    {
        *input = None;
    }
}

/// A port that output goes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OutputPort {
    Stdout,
    Stderr,
}

impl OutputPort {
    fn of(self, ports: &Ports) -> &File {
        match self {
            Self::Stdout => &ports.stdout,
            Self::Stderr => &ports.stderr,
        }
    }
}

/// All that a program's three descriptors need.
struct Streams {
    /// What becomes descriptors 0, 1, 2.
    given: [OwnedFd; 3],
    /// Which of them is the controlling terminal.
    terminal: Option<usize>,
    input: Option<Input>,
    relays: Vec<Relay>,
    screen: Option<File>,
}

impl Streams {
    fn new(job: &Job, ports: &Ports, buffer: &mut Vec<u8>) -> io::Result<Self> {
        let null = || {
            File::options()
                .read(true)
                .write(true)
                .custom_flags(sys::O_CLOEXEC)
                .open("/dev/null")
        };
        let mut relays = Vec::new();
        let terminal = match &job.terminal {
            Some(terminal) => Some(open_terminal(terminal)?),
            None => None,
        };
        let program_side = || match &terminal {
            Some((_, program_side)) => program_side.try_clone(),
            None => Err(io::Error::from_raw_os_error(sys::EINVAL)),
        };
        let mut input = None;
        let stdin: OwnedFd = match job.stdin {
            Stdin::Null => null()?.into(),
            Stdin::File => {
                let file = File::open(STDIN_FILE)?;
                fs::remove_file(STDIN_FILE)?;
                file.into()
            }
            Stdin::Pipe => {
                let (program_side, ours) = sys::pipe()?;
                input = Some(Input::new(ours.into(), false, std::mem::take(buffer))?);
                program_side
            }
            Stdin::Terminal => {
                if let Some((screen, _)) = &terminal {
                    input = Some(Input::new(
                        screen.try_clone()?,
                        true,
                        std::mem::take(buffer),
                    )?);
                }
                program_side()?
            }
        };
        let mut output = |kind: Output, to: OutputPort| -> io::Result<Option<OwnedFd>> {
            Ok(Some(match kind {
                Output::Null => null()?.into(),
                Output::Port => {
                    let fifo = if to == OutputPort::Stdout {
                        STDOUT_FIFO
                    } else {
                        STDERR_FIFO
                    };
                    // Open for writing too, so that it never reports an end when a writer comes and goes.
                    let source = File::options()
                        .read(true)
                        .write(true)
                        .custom_flags(sys::O_NONBLOCK | sys::O_CLOEXEC)
                        .open(fifo)?;
                    relays.push(Relay::new(source, to)?);
                    to.of(ports).try_clone()?.into()
                }
                Output::Pipe => {
                    let (ours, program_side) = sys::pipe()?;
                    relays.push(Relay::new(ours.into(), to)?);
                    program_side
                }
                Output::Terminal => program_side()?,
                Output::SameAsStdout => return Ok(None),
            }))
        };
        let stdout = output(job.stdout, OutputPort::Stdout)?
            .ok_or(io::Error::from_raw_os_error(sys::EINVAL))?;
        let stderr = match output(job.stderr, OutputPort::Stderr)? {
            Some(stderr) => stderr,
            None => stdout.try_clone()?,
        };
        if job.stdout != Output::Port {
            relink("/proc/self/fd/1", "/dev/stdout")?;
        }
        match job.stderr {
            Output::Port => {}
            Output::SameAsStdout if job.stdout == Output::Port => {
                relink(STDOUT_FIFO, "/dev/stderr")?
            }
            _ => relink("/proc/self/fd/2", "/dev/stderr")?,
        }
        let terminal_stream = [
            job.stdin == Stdin::Terminal,
            job.stdout == Output::Terminal,
            job.stderr == Output::Terminal,
        ]
        .into_iter()
        .position(|is_terminal| is_terminal);
        let mut kept_screen = None;
        if let Some((screen, _)) = terminal {
            let to = match (job.stdout, job.stderr) {
                (Output::Terminal, _) => Some(OutputPort::Stdout),
                (_, Output::Terminal) => Some(OutputPort::Stderr),
                _ => None,
            };
            relays.push(Relay {
                to,
                is_terminal: true,
                ..Relay::new(screen.try_clone()?, OutputPort::Stdout)?
            });
            kept_screen = Some(screen);
        }
        Ok(Self {
            given: [stdin, stdout, stderr],
            terminal: terminal_stream,
            input,
            relays,
            screen: kept_screen,
        })
    }
}

fn open_terminal(terminal: &Terminal) -> io::Result<(File, OwnedFd)> {
    let (screen, program_side) = sys::pseudo_terminal()?;
    sys::set_window_size(&screen, terminal.rows, terminal.columns)?;
    if !terminal.host_is_raw {
        sys::make_plain(&program_side)?;
    }
    Ok((screen, program_side))
}

fn relink(target: &str, link: &str) -> io::Result<()> {
    fs::remove_file(link)?;
    symlink(target, link)
}

/// Standard input on its way from the port to the program.
struct Input {
    sink: File,
    is_terminal: bool,
    buffer: Vec<u8>,
    start: usize,
    /// Bytes taken from the port so far.
    taken: u64,
    /// How many there will be in all, once that is known.
    end: Option<u64>,
}

impl Input {
    fn new(sink: File, is_terminal: bool, mut buffer: Vec<u8>) -> io::Result<Self> {
        sys::set_nonblocking(&sink)?;
        buffer.clear();
        Ok(Self {
            sink,
            is_terminal,
            buffer,
            start: 0,
            taken: 0,
            end: None,
        })
    }

    fn has_pending(&self) -> bool {
        self.start < self.buffer.len()
    }

    fn poll_entry(&self, ports: &Ports) -> PollFd {
        match self.has_pending() {
            true => PollFd::writable(&self.sink),
            false => PollFd::readable(&ports.stdin),
        }
    }

    /// Moves bytes. An error is the end, be it of the input or of the program's interest in it.
    fn attend(&mut self, ports: &Ports, is_due: bool) -> io::Result<()> {
        if is_due && !self.has_pending() {
            self.buffer.resize(PIECE, 0);
            let count = (&ports.stdin).read(&mut self.buffer).unwrap_or(0);
            self.buffer.truncate(count);
            self.start = 0;
            self.taken += count as u64;
            if count == 0 {
                // The host has closed the port, which ends the input too.
                self.end = Some(self.taken);
            }
        }
        if self.has_pending() {
            match (&self.sink).write(&self.buffer[self.start..]) {
                Ok(count) => self.start += count,
                Err(error) if error.raw_os_error() == Some(sys::EAGAIN) => {}
                Err(error) => return Err(error),
            }
        }
        if self.end.is_some_and(|end| self.taken >= end) && !self.has_pending() {
            if self.is_terminal {
                // Ends a line that was not ended, then the input.
                let end = sys::end_of_input_character(&self.sink);
                let last_was_line_feed = self.buffer.last().is_none_or(|&byte| byte == b'\n');
                let keys = [end, end];
                (&self.sink).write_all(if last_was_line_feed {
                    &keys[..1]
                } else {
                    &keys
                })?;
            }
            return Err(io::Error::from_raw_os_error(sys::EPIPE));
        }
        Ok(())
    }
}

/// Output on its way from a pipe or terminal to a port.
struct Relay {
    source: Option<File>,
    to: Option<OutputPort>,
    is_terminal: bool,
}

impl Relay {
    fn new(source: File, to: OutputPort) -> io::Result<Self> {
        sys::set_nonblocking(&source)?;
        Ok(Self {
            source: Some(source),
            to: Some(to),
            is_terminal: false,
        })
    }

    fn poll_entry(&self) -> PollFd {
        self.source
            .as_ref()
            .map_or(PollFd::nothing(), PollFd::readable)
    }

    /// Moves what is there. False when nothing was.
    fn attend(&mut self, ports: &Ports, piece: &mut [u8]) -> bool {
        let Some(source) = &mut self.source else {
            return false;
        };
        match source.read(piece) {
            Ok(count) if count > 0 => {
                if let Some(to) = self.to {
                    let _ = to.of(ports).write_all(&piece[..count]);
                }
                true
            }
            Err(error) if error.raw_os_error() == Some(sys::EAGAIN) => false,
            // No writer is left, or the terminal has no program any more.
            _ => {
                self.source = None;
                false
            }
        }
    }

    /// Moves all that the program has written before its end.
    fn drain(&mut self, ports: &Ports, piece: &mut [u8]) {
        while self.attend(ports, piece) {}
        // A terminal hands its output on from a worker of the kernel, and says that all is out only when no process
        // holds it open. One pause for what processes the program left behind.
        if self.is_terminal && self.source.is_some() {
            let _ = sys::wait(&mut [self.poll_entry()], Some(20));
            while self.attend(ports, piece) {}
        }
    }
}
