//! `ring3 run`: a program of the host in the default guest, as if it were local.

use crate::boot::{OUTPUT_DELAY, boot_failure};
use crate::ending::{self, ConsoleTail};
use crate::failure::{Failure, Result, status};
use crate::inbox::Inbox;
use crate::keys::{Impatience, is_reaction};
use crate::machine_options::MachineOptions;
use crate::pace::Pace;
use crate::report::{Meter, ProgramReport};
use crate::sink::Sink;
use crate::snapshot::{BootFacts, Place};
use crate::terminal::RawMode;
use crate::{console, internal_error, size, terminal};
use clap::Args;
use ring3_boot::{BootParameters, Bytes, KernelImage, MemoryMap, Module};
use ring3_guest::protocol::Terminal;
use ring3_guest::{
    Contents, Copy, Event, Guest, GuestBuilder, HostStreams, Input, InputKind, Job, JobBuilder,
    KernelChoice, Outcome, OutputKind, Port, Session, Stream,
};
use ring3_machine::{Machine, Stop};
use rustix::io::Errno;
use signal_hook::consts::signal::{SIGCONT, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGWINCH};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Runs a Linux program in the default guest as if it were local
///
/// Runs an executable, a script or a single C file of this computer in a guest: a stock Linux kernel
/// with user interrupts, in a machine of its own. The program finds its arguments, its standard streams,
/// the working folder's path, its libraries and the files given with --copy; everything else of this
/// computer is out of its reach. It runs as root of the guest, in a fresh machine each time.
///
/// A C file is compiled with gcc -O2 -g -muintr -pthread -lm and the project's headers, unless --cflags says
/// otherwise; also with -mgeneral-regs-only if that is what an interrupt handler in it needs.
///
/// The first run makes the guest (a minute or two, with network access unless the kernel's package
/// is installed) and boots it (some seconds); later runs start from a snapshot.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The program, a path or a name in PATH, and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true,
          value_names = ["PROGRAM", "ARGS"])]
    pub command: Vec<OsString>,

    /// Set an environment variable; without =VALUE, to what it is here. Can be given several times
    ///
    /// The program's environment is otherwise PATH, HOME, USER, LOGNAME, SHELL, LANG and PWD, with the same
    /// values on every computer, and TERM on a terminal.
    #[arg(long, short, value_name = "NAME[=VALUE]", help_heading = "Program")]
    pub env: Vec<OsString>,

    /// Take a file or folder along, in place or to GUEST. Can be given several times
    ///
    /// Executables and libraries among the files bring their libraries. A GUEST that ends in a slash is a
    /// folder. Relative paths are relative to the working folder, which has the same path in the guest.
    #[arg(long, value_name = "HOST[:GUEST]", help_heading = "Program")]
    pub copy: Vec<OsString>,

    /// Flags for compiling a C file, instead of the default ones
    ///
    /// Words are split as a shell would. [default: -O2 -g -muintr -pthread -lm]
    #[arg(
        long,
        value_name = "FLAGS",
        allow_hyphen_values = true,
        help_heading = "Program"
    )]
    pub cflags: Option<String>,

    /// Use the guest of that name, see `ring3 guest list`
    ///
    /// [default: the default guest, made if needed]
    #[arg(
        long,
        value_name = "NAME",
        help_heading = "Guest",
        conflicts_with = "kernel"
    )]
    pub guest: Option<String>,

    /// Make the guest with this kernel: a bzImage, a vmlinux or a Debian package with a kernel
    ///
    /// Its modules have to be beside it or in /lib/modules. [default: the distribution's cloud kernel 6.1]
    #[arg(long, value_name = "FILE", help_heading = "Guest")]
    pub kernel: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) machine: MachineOptions,
}

/// Instructions between two looks at the outside.
const BUDGET: u64 = 1 << 20;
/// As much input as waits for the guest at most.
const INPUT_MAX: usize = 64 << 10;
const OUTPUT_MAX: usize = 64 << 10;

/// Does it; the exit status.
///
/// # Errors
/// What the exit status table calls a failure.
pub fn execute(options: &Options, began: Instant) -> Result<u8> {
    let inbox = Inbox::with_signals()
        .map_err(|error| Failure::new(format!("cannot receive signals: {error}")))?;
    let streams = HostStreams::of_this_process();
    // Keys go to the program as they are typed only if it also draws on the terminal.
    let raw_wanted = streams.stdin == InputKind::Terminal
        && streams.stdout == OutputKind::Terminal
        && terminal::in_foreground();
    let job = job(options, &streams, raw_wanted)?;

    console::status("preparing the guest");
    let guest = guest(options, &job)?;
    // Standard error is the program's: remarks are for people.
    let remarks = options.machine.verbose || streams.stderr == OutputKind::Terminal;
    let job = job.prepare(&guest.contents(), &mut |line| {
        if remarks {
            console::say(line);
        }
    })?;
    if options.machine.verbose {
        for detail in job.details() {
            console::say(detail);
        }
    }
    let (machine, from_snapshot) = booted(options, &guest, remarks)?;
    let mut meter = Meter::start(&machine, began);
    meter.from_snapshot = Some(from_snapshot);
    let mut run = Run::start(options, machine, inbox, &streams, &job, meter)?;
    console::clear();
    let raw =
        match raw_wanted {
            true => Some(RawMode::enter().map_err(|error| {
                Failure::new(format!("cannot set the terminal's mode: {error}"))
            })?),
            false => None,
        };
    run.host_is_raw = raw.is_some();
    let outcome = run.run_to_the_end();
    drop(raw);
    let (exit_status, program) = match &outcome {
        Ok(End::Stopped(status)) => (*status, None),
        Ok(End::Program(outcome)) => (outcome.exit_status(), program_report(outcome)),
        Err(failure) => (failure.status, None),
    };
    let reported = run.meter.report(
        &options.machine,
        &mut run.link.machine,
        exit_status,
        program,
    );
    if let Ok(End::Program(outcome)) = &outcome
        && let Some(message) = outcome.message()
        && is_worth_saying(outcome, streams.stderr)
    {
        console::say(&message);
    }
    if remarks && exit_status != 0 && matches!(outcome, Ok(End::Program(_))) {
        for name in job.left_behind() {
            let name = name.display();
            console::say(&format!(
                "{name} is on this computer but not in the guest; --copy {name} takes it along"
            ));
        }
    }
    outcome?;
    reported?;
    Ok(exit_status)
}

fn program_report(outcome: &Outcome) -> Option<ProgramReport> {
    match *outcome {
        Outcome::Ran {
            user_micros,
            system_micros,
            resident_bytes,
            ..
        } => Some(ProgramReport {
            user_micros,
            system_micros,
            resident_bytes,
        }),
        Outcome::NotStarted { .. } => None,
    }
}

/// Standard error is the program's. What ring3 must say is said always; that a signal killed the
/// program is what a shell would say, and only to a person.
fn is_worth_saying(outcome: &Outcome, stderr: OutputKind) -> bool {
    use ring3_guest::protocol::End::Signal;
    match outcome {
        Outcome::NotStarted { .. }
        | Outcome::Ran {
            out_of_memory: true,
            ..
        } => true,
        Outcome::Ran {
            end: Signal(number),
            ..
        } => {
            let by_hand = [SIGINT, SIGPIPE, SIGTERM].contains(&i32::from(*number));
            stderr == OutputKind::Terminal && !by_hand
        }
        Outcome::Ran { .. } => false,
    }
}

/// What is to be run, before it is known what the guest has already.
fn job(options: &Options, streams: &HostStreams, host_is_raw: bool) -> Result<JobBuilder> {
    let (program, arguments) = options
        .command
        .split_first()
        .expect("the parser requires a program");
    let mut job = JobBuilder::new(program)
        .arguments(arguments)
        .memory_bytes(options.machine.mem)
        .outputs(streams.stdout, streams.stderr);
    let terminals = [streams.stdout, streams.stderr];
    if streams.stdin == InputKind::Terminal || terminals.contains(&OutputKind::Terminal) {
        let (rows, columns) = streams
            .terminal_size
            .filter(|&(rows, columns)| rows > 0 && columns > 0)
            .unwrap_or((24, 80));
        job = job.terminal(Terminal {
            rows,
            columns,
            host_is_raw,
        });
        if let Some(kind) = std::env::var_os("TERM") {
            job = job.environment("TERM", kind);
        }
    }
    for setting in &options.env {
        use std::os::unix::ffi::OsStrExt;
        job = if setting.as_bytes().contains(&b'=') {
            job.environment_setting(setting)?
        } else {
            match std::env::var_os(setting) {
                Some(value) => job.environment(setting, value),
                None => {
                    return Err(Failure::new(format!(
                        "--env {}: there is no such variable here",
                        setting.display()
                    ))
                    .remedy("give it a value: --env NAME=VALUE"));
                }
            }
        };
    }
    let copies: std::result::Result<Vec<Copy>, _> =
        options.copy.iter().map(|text| Copy::parse(text)).collect();
    job = job.copies(copies?);
    if let Some(flags) = &options.cflags {
        let words = shlex::split(flags).ok_or_else(|| {
            Failure::new(format!("--cflags {flags}: a quotation mark has no partner"))
        })?;
        job = job.c_flags(words);
    }
    Ok(job.input(match streams.stdin {
        InputKind::Null => Input::Null,
        InputKind::Stream => Input::Stream,
        InputKind::Terminal => Input::Terminal,
        InputKind::File => {
            use std::io::Read;
            let mut bytes = Vec::new();
            std::io::stdin()
                .read_to_end(&mut bytes)
                .map_err(|error| Failure::new(format!("cannot read standard input: {error}")))?;
            Input::Bytes(bytes)
        }
    }))
}

/// The guest to run in.
fn guest(options: &Options, job: &JobBuilder) -> Result<Guest> {
    if let Some(name) = &options.guest
        && name != "default"
    {
        return crate::guest::named(name);
    }
    let cache = ring3_guest::default_cache_folder()?;
    if !ring3_guest::list(&cache)?
        .iter()
        .any(|entry| entry.guest.is_some())
    {
        // Nobody should wait for a guest only to learn of a typing error.
        job.clone().prepare(&Contents::default(), &mut |_| {})?;
    }
    let mut builder = GuestBuilder::new();
    if let Some(kernel) = &options.kernel {
        builder = builder.kernel(KernelChoice::File(kernel.clone()));
    }
    let verbose = options.machine.verbose;
    let guest = builder.prepare(&mut |line| tell(verbose, line))?;
    console::clear();
    Ok(guest)
}

fn tell(verbose: bool, line: &str) {
    match verbose {
        true => console::say(line),
        false => console::status(line),
    }
}

/// A machine in which the guest waits for a job, and whether it came from a snapshot.
fn booted(options: &Options, guest: &Guest, remarks: bool) -> Result<(Machine, bool)> {
    let verbose = options.machine.verbose;
    internal_error::machine_runs(options.machine.seed);
    let place = Place::new(guest, &options.machine);
    let restore = || {
        let found = place.restore(&mut |line| tell(verbose, line))?;
        if verbose {
            warn_of(&found.1);
        }
        Some(found.0)
    };
    if let Some(machine) = restore() {
        return Ok((machine, true));
    }
    let lock = place.lock(&mut || console::status("another ring3 is booting the same guest"));
    if let Some(machine) = restore() {
        return Ok((machine, true));
    }
    let (mut machine, facts) = boot(options, guest)?;
    if remarks {
        warn_of(&facts);
    }
    if lock.is_some() {
        console::status("keeping a snapshot for the next run");
        if let Err(failure) = place.save(&mut machine, &facts)
            && remarks
        {
            console::say(&format!("the next run has to boot again: {failure}"));
        }
    } else if remarks {
        console::say(&format!(
            "the next run has to boot again: {} cannot be written to",
            guest.folder().display()
        ));
    }
    Ok((machine, false))
}

fn warn_of(facts: &BootFacts) {
    for warning in &facts.warnings {
        console::say(&format!("guest: {warning}"));
    }
}

/// Boots the guest until it waits for a job.
fn boot(options: &Options, guest: &Guest) -> Result<(Machine, BootFacts)> {
    let release = &guest.manifest().kernel_release;
    console::status(&format!("loading Linux {release}"));
    let memory =
        MemoryMap::pc(options.machine.mem).map_err(|error| Failure::new(error.to_string()))?;
    let mut config = options.machine.config();
    config.console_ports = Port::ALL.map(|port| port.name().to_owned()).into();
    // Whatever fits into memory fits onto the disk it is read from.
    config.disk_bytes = Some(config.memory_bytes);
    let mut machine = Machine::new(config).map_err(|error| {
        Failure::new(format!(
            "the host has no {} for the machine: {error}",
            size::memory(options.machine.mem)
        ))
        .remedy("ask for less with --mem")
    })?;
    let kernel = KernelImage::parse(guest.kernel()?)
        .map_err(|error| Failure::new(format!("the guest's kernel: {error}")))?;
    let parameters = BootParameters {
        memory,
        command_line: guest.command_line().as_bytes().to_vec(),
        modules: vec![Module {
            bytes: Bytes::from(guest.initramfs()?),
            command_line: Vec::new(),
        }],
        acpi: Some(machine.acpi()),
        entry: None,
    };
    let image = kernel
        .boot(&parameters)
        .map_err(|error| boot_failure("the guest's kernel", &error))?;
    machine
        .apply(&image)
        .map_err(|error| Failure::new(error.to_string()))?;

    let mut link = Link::new(machine, Session::new(), options.machine.verbose);
    let mut facts = BootFacts::default();
    let since = Instant::now();
    loop {
        let (events, stop) = link.step(u64::MAX)?;
        for event in events {
            match event {
                Event::Ready { .. } => return Ok((link.machine, facts)),
                Event::Warning(text) => facts.warnings.push(text),
                Event::Output(..) | Event::Ended(_) => {}
            }
        }
        if let Some(stop) = stop {
            return Err(ending::failure(&stop, &link.machine, &link.tail));
        }
        console::status_now_and_then(|| {
            format!(
                "booting Linux {release} (once): {} s, {} instructions",
                since.elapsed().as_secs(),
                size::count(link.machine.instructions())
            )
        });
    }
}

/// A machine and the host's end of the run protocol, with the wires between them.
struct Link {
    machine: Machine,
    session: Session,
    verbose: bool,
    tail: ConsoleTail,
}

impl Link {
    fn new(machine: Machine, session: Session, verbose: bool) -> Link {
        Link {
            machine,
            session,
            verbose,
            tail: ConsoleTail::default(),
        }
    }

    /// Carries bytes in, lets the machine run for a while, carries bytes out. A stop that is only about
    /// output is not returned.
    fn step(&mut self, limit: u64) -> Result<(Vec<Event>, Option<Stop>)> {
        for (number, port) in Port::ALL.into_iter().enumerate() {
            let bytes = self.session.outgoing(port);
            if !bytes.is_empty() && self.machine.takes_input() {
                let taken = self.machine.port_input(number as u32, bytes);
                self.session.sent(port, taken);
            }
        }
        let stop = self.machine.run_briefly(limit, BUDGET);
        internal_error::machine_at(self.machine.instructions());
        let mut events = Vec::new();
        while let Some(output) = self.machine.take_output() {
            let port = (output.stream as usize)
                .checked_sub(1)
                .and_then(|number| Port::ALL.get(number));
            let Some(&port) = port else {
                for line in self.tail.add(&output.bytes) {
                    if self.verbose {
                        console::say(&format!("kernel: {line}"));
                    }
                }
                continue;
            };
            let received = self
                .session
                .receive(port, &output.bytes)
                .map_err(|error| Failure::new(format!("{error}{}", self.tail.quoted())))?;
            events.extend(received);
        }
        if self.verbose {
            for warning in self.machine.warnings().take_fresh() {
                console::say(&format!("machine: {warning}"));
            }
        }
        Ok((events, stop.filter(|stop| *stop != Stop::Output)))
    }
}

/// How a run came to its end.
enum End {
    /// The program ended.
    Program(Outcome),
    /// The person or the host wanted the machine to stop; the exit status.
    Stopped(u8),
}

/// A program that runs.
struct Run {
    link: Link,
    inbox: Arc<Inbox>,
    /// Whether input can still come.
    input_open: bool,
    host_is_raw: bool,
    /// Whether ring3 may say what is no failure.
    remarks: bool,
    pace: Option<Pace>,
    impatience: Impatience,
    /// What the program wrote and nobody has been given yet, in order.
    output: Vec<(Stream, Vec<u8>)>,
    flushed: Instant,
    stdout: Sink,
    stderr: Sink,
    limit: u64,
    limit_option: Option<u64>,
    meter: Meter,
}

impl Run {
    /// Gives the program to the guest that waits in `machine`.
    fn start(
        options: &Options,
        machine: Machine,
        inbox: Arc<Inbox>,
        streams: &HostStreams,
        job: &Job,
        meter: Meter,
    ) -> Result<Run> {
        let limit_option = options.machine.max_instructions;
        let limit =
            limit_option.map_or(u64::MAX, |more| machine.instructions().saturating_add(more));
        let mut link = Link::new(machine, Session::resumed(), options.machine.verbose);
        link.machine
            .set_disk(Arc::from(job.archive()))
            .map_err(|error| {
                Failure::new(format!("the guest cannot be given its files: {error}"))
            })?;
        link.session.start(job);
        let input_open = link.session.wants_stdin();
        if input_open {
            inbox
                .read_stdin(streams.stdin == InputKind::Terminal)
                .map_err(|error| Failure::new(format!("cannot read standard input: {error}")))?;
        }
        inbox.attend();
        Ok(Run {
            inbox,
            input_open,
            host_is_raw: false,
            remarks: options.machine.verbose || streams.stderr == OutputKind::Terminal,
            pace: (streams.stdin == InputKind::Terminal).then(|| Pace::new(link.machine.now())),
            impatience: Impatience::default(),
            output: Vec::new(),
            flushed: Instant::now(),
            stdout: Sink::stdout(),
            stderr: Sink::stderr(),
            limit,
            limit_option,
            meter,
            link,
        })
    }

    fn run_to_the_end(&mut self) -> Result<End> {
        loop {
            if self.inbox.has_news()
                && let Some(status) = self.look_outside()
            {
                self.flush()?;
                return Ok(End::Stopped(status));
            }
            let (events, stop) = self.link.step(self.limit)?;
            let mut quiet = events.is_empty();
            for event in events {
                match event {
                    Event::Output(stream, bytes) => self.take_output(stream, bytes),
                    Event::Warning(text) if self.remarks => console::say(&format!("guest: {text}")),
                    Event::Warning(_) => {}
                    Event::Ended(outcome) => {
                        self.flush()?;
                        return Ok(End::Program(outcome));
                    }
                    Event::Ready { .. } => {}
                }
            }
            let waiting: usize = self.output.iter().map(|(_, bytes)| bytes.len()).sum();
            quiet |= waiting >= OUTPUT_MAX || self.flushed.elapsed() >= OUTPUT_DELAY;
            if (quiet || stop.is_some())
                && let Some(status) = self.flush()?
            {
                return Ok(End::Stopped(status));
            }
            match stop {
                None if quiet => self.keep_pace(),
                None => {}
                Some(Stop::Idle) if self.input_open => {
                    let since = Instant::now();
                    self.inbox.wait(None, true);
                    self.meter.waited(since.elapsed());
                }
                Some(Stop::InstructionLimit) => {
                    let limit = self.limit_option.unwrap_or(self.limit);
                    return Err(Failure::new(format!(
                        "the program was stopped: it did not end within {} instructions",
                        size::count(limit)
                    ))
                    .remedy("raise the limit with --max-instructions, or leave that option out")
                    .status(status::LIMIT));
                }
                Some(stop) => {
                    return Err(ending::failure(&stop, &self.link.machine, &self.link.tail));
                }
            }
        }
    }

    fn take_output(&mut self, stream: Stream, bytes: Vec<u8>) {
        if is_reaction(&bytes) {
            self.impatience.reaction();
        }
        match self.output.last_mut() {
            Some((last, waiting)) if *last == stream => waiting.extend(bytes),
            _ => self.output.push((stream, bytes)),
        }
    }

    /// Writes what the program wrote. The exit status, if that is useless.
    fn flush(&mut self) -> Result<Option<u8>> {
        self.flushed = Instant::now();
        for (stream, bytes) in std::mem::take(&mut self.output) {
            let (name, sink) = match stream {
                Stream::Stdout => ("output", &mut self.stdout),
                Stream::Stderr => ("error", &mut self.stderr),
            };
            match sink.write(&bytes) {
                Ok(()) => {}
                // As the kernel does with a local program.
                Err(Errno::PIPE) => self.link.session.signal(SIGPIPE as u8, false),
                Err(error) => {
                    return Err(Failure::new(format!(
                        "cannot write to standard {name}: {error}"
                    )));
                }
            }
            if sink.is_hopeless() {
                return Ok(Some(status::SIGNAL + SIGPIPE as u8));
            }
        }
        Ok(None)
    }

    /// Attends to signals and takes input; the exit status, if the machine is to stop.
    fn look_outside(&mut self) -> Option<u8> {
        let now = Instant::now();
        for number in self.inbox.take_signals() {
            match number {
                SIGWINCH => {
                    if let Some((rows, columns)) = terminal::size() {
                        self.link.session.resize(rows, columns);
                    }
                }
                SIGCONT => {}
                _ => {
                    let ends = [SIGHUP, SIGINT, SIGQUIT, SIGTERM].contains(&number);
                    // A guest that has not even taken the last message is not going to react.
                    let deaf = !self.link.session.outgoing(Port::Control).is_empty();
                    if ends && (self.impatience.request(now) || deaf) {
                        return Some(status::SIGNAL + number as u8);
                    }
                    // A key of the terminal means everybody in the foreground.
                    let group = [SIGINT, SIGQUIT].contains(&number);
                    self.link.session.signal(number as u8, group);
                }
            }
        }
        let room = INPUT_MAX.saturating_sub(self.link.session.outgoing(Port::Stdin).len());
        if self.input_open && room > 0 {
            let bytes = self.inbox.take_input(room);
            if self.host_is_raw && self.impatience.typed(&bytes, now) {
                return Some(status::SIGNAL + SIGINT as u8);
            }
            self.link.session.give_stdin(&bytes);
            if self.inbox.input_is_over() {
                self.link.session.end_stdin();
                self.input_open = false;
            }
        }
        None
    }

    fn keep_pace(&mut self) {
        let now = self.link.machine.now();
        if let Some(ahead) = self.pace.as_mut().and_then(|pace| pace.ahead(now)) {
            let since = Instant::now();
            self.inbox.wait(Some(ahead), self.input_open);
            self.meter.waited(since.elapsed());
        }
    }
}
