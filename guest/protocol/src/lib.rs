//! What the host and the agent inside the default guest say to each other.
//!
//! This one file is compiled into both sides: the agent (`guest/agent`) and the host's `ring3_guest` include it
//! as a module, so a layout cannot differ between them. Depends on `std` collections only.
//!
//! Four virtio-console ports carry a run, found by name:
//!
//! | port | direction | what it carries |
//! |---|---|---|
//! | `ring3.control` | both | messages of this file, each `u32` length, `u8` kind, body; little-endian |
//! | `ring3.stdin` | to the guest | the program's input, raw; its length is told by [`ToGuest::StdinEnd`] |
//! | `ring3.stdout` | to the host | the program's output, raw |
//! | `ring3.stderr` | to the host | the program's diagnostics, raw |
//!
//! A fifth channel is the first virtio block device (`/dev/vda`): from its first byte it holds a cpio archive in
//! "newc" format, whose length the job names. It is read after the job has arrived and past every cache, so a
//! machine may be snapshotted at [`ToHost::Ready`] and restored with another disk behind the same device.
//!
//! Order: the agent says [`ToHost::Ready`] once; the host answers with one [`ToGuest::Job`]; the agent ends with
//! one [`ToHost::Exited`] or [`ToHost::NotStarted`], sent after the last byte of output has been handed to its
//! port. A host that consumes the ports' transmit queues in the order of their notifications therefore has all
//! output, in order, when it sees the end.

/// Version of this file's layouts. The agent announces its own; a host refuses any other.
pub const VERSION: u16 = 1;

/// Name of the port for messages.
pub const CONTROL_PORT: &str = "ring3.control";
/// Name of the port for the program's standard input.
pub const STDIN_PORT: &str = "ring3.stdin";
/// Name of the port for the program's standard output.
pub const STDOUT_PORT: &str = "ring3.stdout";
/// Name of the port for the program's standard error.
pub const STDERR_PORT: &str = "ring3.stderr";

/// The block device that carries the archive of a job.
pub const ARCHIVE_DEVICE: &str = "/dev/vda";
/// The archive is padded to a multiple of this, so that it can be read in whole pages.
pub const ARCHIVE_ALIGN: usize = 4096;
/// Where [`Stdin::File`] finds its bytes in the archive. The agent unlinks it once it is open.
pub const STDIN_FILE: &str = "/ring3/stdin";

/// Longest message the guest accepts: room for any argument list and environment Linux would take.
pub const TO_GUEST_MAX: usize = 16 << 20;
/// Longest message the host accepts.
pub const TO_HOST_MAX: usize = 64 << 10;

/// Where the program's standard input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// A regular file in the archive, see [`STDIN_FILE`].
    File,
    /// A pipe, fed from the port as bytes arrive.
    Pipe,
    /// The terminal of the job.
    Terminal,
}

/// Where one of the program's outputs goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// `/dev/null`.
    Null,
    /// The stream's port itself is the file descriptor: one system call per write and exact order between streams.
    /// The device can be open only once, so `/dev/stdout` and `/dev/stderr` lead to a pipe beside it.
    Port,
    /// A pipe that the agent empties into the port: an ordinary pipe for the program.
    Pipe,
    /// The terminal of the job.
    Terminal,
    /// For standard error: whatever standard output is, the same open file.
    SameAsStdout,
}

/// The pseudo-terminal of a job. There is at most one. What it shows goes to the port of standard output if that is the
/// terminal, else to the port of standard error if that is, else nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    /// Rows of characters.
    pub rows: u16,
    /// Columns of characters.
    pub columns: u16,
    /// True: the host's own terminal is raw, so this one echoes, edits lines, turns keys into signals and line feeds
    /// into carriage return and line feed. False: the host's terminal does these things already.
    pub host_is_raw: bool,
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Bytes of archive at the start of the block device; 0 for none.
    pub archive_bytes: u64,
    /// Absolute path of the file to execute.
    pub program: Vec<u8>,
    /// Arguments, the name of the program first.
    pub arguments: Vec<Vec<u8>>,
    /// `NAME=value` each.
    pub environment: Vec<Vec<u8>>,
    /// Working folder, absolute.
    pub folder: Vec<u8>,
    /// True: addresses are randomised per process as Linux does. False: as under a debugger, always the same.
    pub randomize_addresses: bool,
    /// Standard input.
    pub stdin: Stdin,
    /// Standard output.
    pub stdout: Output,
    /// Standard error.
    pub stderr: Output,
    /// Needed if one of the three is a terminal.
    pub terminal: Option<Terminal>,
}

/// Messages from the host to the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToGuest {
    /// Run this. Once.
    Job(Job),
    /// Send a signal to the program.
    Signal {
        /// Linux x86-64 signal number.
        number: u8,
        /// True: to the program's whole process group, as a key of a terminal does. False: to the program alone.
        group: bool,
    },
    /// Standard input ends after this many bytes, counted from its beginning.
    StdinEnd {
        /// All bytes ever sent on the port.
        total: u64,
    },
    /// The terminal has changed its size.
    WindowSize {
        /// Rows of characters.
        rows: u16,
        /// Columns of characters.
        columns: u16,
    },
    /// Switch the machine off.
    PowerOff,
}

/// How far a job came before it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Understanding the message.
    Message,
    /// Reading the archive from the block device.
    Read,
    /// Unpacking the archive into memory.
    Unpack,
    /// Making pipes, terminal, files for the three streams.
    Streams,
    /// Entering the working folder.
    Folder,
    /// Executing the program.
    Execute,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It exited with this status.
    Exit(u8),
    /// This signal killed it.
    Signal(u8),
}

/// Messages from the agent to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToHost {
    /// The guest is up and waits for its job. This is where a machine is worth a snapshot.
    Ready {
        /// [`VERSION`] of the agent.
        version: u16,
        /// Logical processors that are online.
        processors: u32,
        /// Memory the guest has, in bytes.
        memory_bytes: u64,
    },
    /// Words for the person at the host: something optional is missing, and the guest works without.
    Warning {
        /// One line.
        text: String,
    },
    /// The job could not be started.
    NotStarted {
        /// How far it came.
        stage: Stage,
        /// Linux error number, 0 if there is none.
        errno: u32,
        /// What it was about, usually a path.
        text: String,
    },
    /// The program has ended, and all its output is out.
    Exited {
        /// How.
        end: End,
        /// True if the kernel ran out of memory while the program ran.
        out_of_memory: bool,
        /// Microseconds spent in user mode, children included, as the guest accounts for them.
        user_micros: u64,
        /// Microseconds spent in the guest's kernel.
        system_micros: u64,
        /// Largest resident set, in bytes.
        resident_bytes: u64,
    },
}

/// A message that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl std::fmt::Display for Malformed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "malformed message: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// Cuts a stream of bytes into messages.
#[derive(Debug, Clone)]
pub struct Splitter {
    bytes: Vec<u8>,
    length_max: usize,
}

impl Splitter {
    /// One that refuses messages longer than `length_max`.
    pub fn new(length_max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            length_max,
        }
    }

    /// Takes bytes in, however they happen to be cut.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message (kind and body), or `None` until more bytes have come.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, Malformed> {
        let Some(prefix) = self.bytes.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*prefix) as usize;
        if length == 0 || length > self.length_max {
            return Err(Malformed("length out of range"));
        }
        if self.bytes.len() < 4 + length {
            return Ok(None);
        }
        let frame = self.bytes[4..4 + length].to_vec();
        self.bytes.drain(..4 + length);
        Ok(Some(frame))
    }
}

// Kinds. The two directions share one number space, so that a message sent the wrong way is noticed.
const JOB: u8 = 0x01;
const SIGNAL: u8 = 0x02;
const STDIN_END: u8 = 0x03;
const WINDOW_SIZE: u8 = 0x04;
const POWER_OFF: u8 = 0x05;
const READY: u8 = 0x81;
const WARNING: u8 = 0x82;
const NOT_STARTED: u8 = 0x83;
const EXITED: u8 = 0x84;

impl ToGuest {
    /// The message as it goes over the port.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Body::default();
        match self {
            Self::Job(job) => {
                body.u8(JOB);
                job.encode(&mut body);
            }
            Self::Signal { number, group } => {
                body.u8(SIGNAL);
                body.u8(*number);
                body.flag(*group);
            }
            Self::StdinEnd { total } => {
                body.u8(STDIN_END);
                body.u64(*total);
            }
            Self::WindowSize { rows, columns } => {
                body.u8(WINDOW_SIZE);
                body.u16(*rows);
                body.u16(*columns);
            }
            Self::PowerOff => body.u8(POWER_OFF),
        }
        body.framed()
    }

    /// Reads a frame of a [`Splitter`].
    pub fn decode(frame: &[u8]) -> Result<Self, Malformed> {
        let mut body = Cursor(frame);
        let message = match body.u8()? {
            JOB => Self::Job(Job::decode(&mut body)?),
            SIGNAL => Self::Signal {
                number: body.u8()?,
                group: body.flag()?,
            },
            STDIN_END => Self::StdinEnd { total: body.u64()? },
            WINDOW_SIZE => Self::WindowSize {
                rows: body.u16()?,
                columns: body.u16()?,
            },
            POWER_OFF => Self::PowerOff,
            _ => return Err(Malformed("unknown kind")),
        };
        body.end()?;
        Ok(message)
    }
}

impl Job {
    fn encode(&self, body: &mut Body) {
        // The version leads, so that a host and an agent that never spoke before notice before anything else.
        body.u16(VERSION);
        body.u64(self.archive_bytes);
        body.bytes(&self.program);
        body.list(&self.arguments);
        body.list(&self.environment);
        body.bytes(&self.folder);
        body.flag(self.randomize_addresses);
        body.u8(match self.stdin {
            Stdin::Null => 0,
            Stdin::File => 1,
            Stdin::Pipe => 2,
            Stdin::Terminal => 3,
        });
        body.u8(self.stdout.code());
        body.u8(self.stderr.code());
        body.flag(self.terminal.is_some());
        if let Some(terminal) = &self.terminal {
            body.u16(terminal.rows);
            body.u16(terminal.columns);
            body.flag(terminal.host_is_raw);
        }
    }

    fn decode(body: &mut Cursor<'_>) -> Result<Self, Malformed> {
        if body.u16()? != VERSION {
            return Err(Malformed("a job of another version"));
        }
        let job = Self {
            archive_bytes: body.u64()?,
            program: body.bytes()?,
            arguments: body.list()?,
            environment: body.list()?,
            folder: body.bytes()?,
            randomize_addresses: body.flag()?,
            stdin: match body.u8()? {
                0 => Stdin::Null,
                1 => Stdin::File,
                2 => Stdin::Pipe,
                3 => Stdin::Terminal,
                _ => return Err(Malformed("unknown standard input")),
            },
            stdout: Output::from_code(body.u8()?)?,
            stderr: Output::from_code(body.u8()?)?,
            terminal: match body.flag()? {
                true => Some(Terminal {
                    rows: body.u16()?,
                    columns: body.u16()?,
                    host_is_raw: body.flag()?,
                }),
                false => None,
            },
        };
        let wants_terminal = job.stdin == Stdin::Terminal
            || job.stdout == Output::Terminal
            || job.stderr == Output::Terminal;
        if wants_terminal && job.terminal.is_none() {
            return Err(Malformed("a stream on a terminal, but no terminal"));
        }
        if job.stdout == Output::SameAsStdout {
            return Err(Malformed("standard output is itself"));
        }
        if job.arguments.is_empty() {
            return Err(Malformed("no arguments"));
        }
        Ok(job)
    }
}

impl Output {
    fn code(self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Port => 1,
            Self::Pipe => 2,
            Self::Terminal => 3,
            Self::SameAsStdout => 4,
        }
    }

    fn from_code(code: u8) -> Result<Self, Malformed> {
        Ok(match code {
            0 => Self::Null,
            1 => Self::Port,
            2 => Self::Pipe,
            3 => Self::Terminal,
            4 => Self::SameAsStdout,
            _ => return Err(Malformed("unknown output")),
        })
    }
}

impl ToHost {
    /// The message as it goes over the port.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Body::default();
        match self {
            Self::Ready {
                version,
                processors,
                memory_bytes,
            } => {
                body.u8(READY);
                body.u16(*version);
                body.u32(*processors);
                body.u64(*memory_bytes);
            }
            Self::Warning { text } => {
                body.u8(WARNING);
                body.bytes(text.as_bytes());
            }
            Self::NotStarted { stage, errno, text } => {
                body.u8(NOT_STARTED);
                body.u8(match stage {
                    Stage::Message => 0,
                    Stage::Read => 1,
                    Stage::Unpack => 2,
                    Stage::Streams => 3,
                    Stage::Folder => 4,
                    Stage::Execute => 5,
                });
                body.u32(*errno);
                body.bytes(text.as_bytes());
            }
            Self::Exited {
                end,
                out_of_memory,
                user_micros,
                system_micros,
                resident_bytes,
            } => {
                body.u8(EXITED);
                match end {
                    End::Exit(status) => {
                        body.u8(0);
                        body.u8(*status);
                    }
                    End::Signal(number) => {
                        body.u8(1);
                        body.u8(*number);
                    }
                }
                body.flag(*out_of_memory);
                body.u64(*user_micros);
                body.u64(*system_micros);
                body.u64(*resident_bytes);
            }
        }
        body.framed()
    }

    /// Reads a frame of a [`Splitter`]. Whatever a broken guest sends ends in a value or in [`Malformed`].
    pub fn decode(frame: &[u8]) -> Result<Self, Malformed> {
        let mut body = Cursor(frame);
        let message = match body.u8()? {
            READY => {
                // A foreign version may go on differently: what is known of it is its number.
                let version = body.u16()?;
                if version != VERSION {
                    return Ok(Self::Ready {
                        version,
                        processors: 0,
                        memory_bytes: 0,
                    });
                }
                Self::Ready {
                    version,
                    processors: body.u32()?,
                    memory_bytes: body.u64()?,
                }
            }
            WARNING => Self::Warning { text: body.text()? },
            NOT_STARTED => Self::NotStarted {
                stage: match body.u8()? {
                    0 => Stage::Message,
                    1 => Stage::Read,
                    2 => Stage::Unpack,
                    3 => Stage::Streams,
                    4 => Stage::Folder,
                    5 => Stage::Execute,
                    _ => return Err(Malformed("unknown stage")),
                },
                errno: body.u32()?,
                text: body.text()?,
            },
            EXITED => Self::Exited {
                end: match (body.u8()?, body.u8()?) {
                    (0, status) => End::Exit(status),
                    (1, number) => End::Signal(number),
                    _ => return Err(Malformed("unknown end")),
                },
                out_of_memory: body.flag()?,
                user_micros: body.u64()?,
                system_micros: body.u64()?,
                resident_bytes: body.u64()?,
            },
            _ => return Err(Malformed("unknown kind")),
        };
        body.end()?;
        Ok(message)
    }
}

/// A message under construction.
#[derive(Default)]
struct Body(Vec<u8>);

impl Body {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }
    fn flag(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }
    fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn bytes(&mut self, value: &[u8]) {
        self.u32(value.len() as u32);
        self.0.extend_from_slice(value);
    }
    fn list(&mut self, values: &[Vec<u8>]) {
        self.u32(values.len() as u32);
        for value in values {
            self.bytes(value);
        }
    }
    fn framed(self) -> Vec<u8> {
        let mut frame = (self.0.len() as u32).to_le_bytes().to_vec();
        frame.extend_from_slice(&self.0);
        frame
    }
}

/// A message being read.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(Malformed("too short"))?;
        self.0 = rest;
        Ok(*head)
    }
    fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }
    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("neither true nor false")),
        }
    }
    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }
    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }
    fn bytes(&mut self) -> Result<Vec<u8>, Malformed> {
        let length = self.u32()? as usize;
        let (head, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(Malformed("too short"))?;
        self.0 = rest;
        Ok(head.to_vec())
    }
    fn text(&mut self) -> Result<String, Malformed> {
        Ok(String::from_utf8_lossy(&self.bytes()?).into_owned())
    }
    fn list(&mut self) -> Result<Vec<Vec<u8>>, Malformed> {
        let count = self.u32()?;
        // No reservation: the count is only believed as far as bytes follow it.
        (0..count).map(|_| self.bytes()).collect()
    }
    fn end(&self) -> Result<(), Malformed> {
        match self.0 {
            [] => Ok(()),
            _ => Err(Malformed("too long")),
        }
    }
}
