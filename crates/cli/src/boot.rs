//! `ring3 boot`: a kernel with its serial console on the terminal.

use crate::ending::{self, ConsoleTail};
use crate::failure::{Failure, Result, status};
use crate::inbox::Inbox;
use crate::keys::{ConsoleKeys, Key};
use crate::machine_options::MachineOptions;
use crate::pace::Pace;
use crate::report::Meter;
use crate::sink::Sink;
use crate::terminal::RawMode;
use crate::{console, internal_error, size, terminal};
use clap::{Args, ValueEnum};
use ring3_arch::CpuIndex;
use ring3_boot::{BootError, BootParameters, Bytes, Entry, KernelImage, MemoryMap, Module};
use ring3_guest::{GuestBuilder, HostStreams, InputKind, OutputKind};
use ring3_machine::{Machine, MachineConfig, Stop};
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Boots a kernel with its serial console on this terminal
///
/// Boots a Linux kernel (bzImage or vmlinux) or any Multiboot 1 image in a machine of its own. The first
/// serial port (0x3f8) is on standard input and output. On a terminal every key goes to the guest,
/// Ctrl-C included; Ctrl-A X leaves and Ctrl-A H helps. Input that is no terminal is fed to the serial
/// port; when it ends, the guest runs on.
///
/// SIGUSR1 makes ring3 show on standard error what it has counted so far, as --stats does at the end.
///
/// Files are read and never written; what the guest does to its memory is gone when it ends.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Kernel: a bzImage (vmlinuz), an ELF kernel (vmlinux) or a Multiboot 1 image
    ///
    /// Without this option it is the kernel of the default guest.
    #[arg(long, short, value_name = "FILE")]
    pub kernel: Option<PathBuf>,

    /// Initial file system for Linux, or module for a Multiboot image; can be given several times
    ///
    /// Linux unpacks several archives one after the other, so that a later one adds to an earlier one.
    /// Archives are checked before the kernel starts. A Multiboot image finds each file's path as
    /// the module's command line. Without this option and without --kernel it is the initial file system
    /// of the default guest.
    #[arg(long, short, value_name = "FILE")]
    pub initrd: Vec<PathBuf>,

    /// Command line of the kernel
    ///
    /// [default for Linux: console=ttyS0 panic=-1; also rdinit=/bin/sh if neither --kernel nor --initrd
    /// is given. A Multiboot image finds the kernel's name in front of it, and has no default]
    #[arg(long, short, value_name = "CMDLINE")]
    pub append: Option<String>,

    /// Where to enter the kernel
    ///
    /// [default: direct for Linux, multiboot for images with a Multiboot header]
    #[arg(long, value_name = "ENTRY", value_enum)]
    pub entry: Option<EntryOption>,

    #[command(flatten)]
    pub(crate) machine: MachineOptions,
}

/// Where a kernel is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EntryOption {
    /// The kernel proper in 64-bit mode, decompressed beforehand
    Direct,
    /// The 64-bit entry of a bzImage, which decompresses itself
    Compressed,
    /// The PVH entry in 32-bit protected mode
    Pvh,
    /// The Multiboot 1 entry in 32-bit protected mode
    Multiboot,
}

impl From<EntryOption> for Entry {
    fn from(option: EntryOption) -> Entry {
        match option {
            EntryOption::Direct => Entry::Direct,
            EntryOption::Compressed => Entry::Compressed,
            EntryOption::Pvh => Entry::Pvh,
            EntryOption::Multiboot => Entry::Multiboot,
        }
    }
}

/// Instructions between two looks at the outside. Constant, so that input from a file reaches the guest
/// at the same instruction in every run.
const BUDGET: u64 = 1 << 20;
/// The same while there is input that the serial port has no room for yet.
const BUDGET_FEEDING: u64 = 1 << 14;
/// Output is written when the guest pauses, when so much of it has come together …
const OUTPUT_MAX: usize = 64 << 10;
/// … or when it is so old.
pub(crate) const OUTPUT_DELAY: Duration = Duration::from_millis(20);

struct Loaded {
    image: KernelImage,
    modules: Vec<Module>,
    command_line: Vec<u8>,
}

/// Does it.
///
/// # Errors
/// What the exit status table calls a failure.
pub fn execute(options: &Options, began: Instant) -> Result<u8> {
    let inbox = Inbox::with_signals()
        .map_err(|error| Failure::new(format!("cannot receive signals: {error}")))?;
    let machine = prepare(options)?;
    let meter = Meter::start(&machine, began);
    let mut session = Session::new(machine, options, inbox, meter)?;
    let outcome = session.run();
    let Session {
        mut machine, meter, ..
    } = session.close();
    let exit_status = match &outcome {
        Ok(status) => *status,
        Err(failure) => failure.status,
    };
    meter.report(&options.machine, &mut machine, exit_status, None)?;
    outcome
}

/// The machine with everything in its memory.
fn prepare(options: &Options) -> Result<Machine> {
    let loaded = load(options)?;
    let memory =
        MemoryMap::pc(options.machine.mem).map_err(|error| Failure::new(error.to_string()))?;
    let config = MachineConfig {
        command_line: loaded.command_line.clone(),
        ..options.machine.config()
    };
    internal_error::machine_runs(config.seed);
    let mut machine = Machine::new(config).map_err(|error| {
        Failure::new(format!(
            "the host has no {} for the machine: {error}",
            size::memory(options.machine.mem)
        ))
        .remedy("ask for less with --mem")
    })?;
    let parameters = BootParameters {
        memory,
        command_line: loaded.command_line,
        modules: loaded.modules,
        acpi: Some(machine.acpi()),
        entry: options.entry.map(Entry::from),
    };
    let name = match &options.kernel {
        Some(path) => path.display().to_string(),
        None => "the default guest's kernel".into(),
    };
    let boot = loaded
        .image
        .boot(&parameters)
        .map_err(|error| boot_failure(&name, &error))?;
    if options.machine.verbose {
        console::say(&format!(
            "{name}: {} in a machine with {}",
            loaded.image.kind(),
            options.machine.summary()
        ));
        for write in &boot.writes {
            console::say(&format!("  {} {}", write.range(), write.what));
        }
    }
    machine
        .apply(&boot)
        .map_err(|error| Failure::new(error.to_string()))?;
    Ok(machine)
}

/// What is wrong with booting a kernel, and what to do about it.
pub(crate) fn boot_failure(kernel: &str, error: &BootError) -> Failure {
    let failure = Failure::new(format!("{kernel} cannot be booted: {error}"));
    match error {
        BootError::Placement(_) => {
            failure.remedy("raise --mem, for instance --mem 1G, or boot something smaller")
        }
        BootError::EntryNotOffered { .. } => failure.remedy("choose another --entry, or none"),
        BootError::CommandLineTooLong { .. } => failure.remedy("shorten --append"),
        _ => failure,
    }
}

fn load(options: &Options) -> Result<Loaded> {
    let mut initrds = Vec::new();
    let mut words = "console=ttyS0 panic=-1".to_owned();
    let (name, kernel) = match &options.kernel {
        Some(path) => (path.display().to_string(), read("the kernel", path)?),
        None => {
            console::status("preparing the default guest");
            let guest = GuestBuilder::new().prepare(&mut |line| console::status(line))?;
            console::clear();
            if options.initrd.is_empty() {
                initrds.push(("the default guest".into(), guest.initramfs()?));
                words += " rdinit=/bin/sh";
            }
            ("the default guest's kernel".into(), guest.kernel()?)
        }
    };
    let image = KernelImage::parse(kernel).map_err(|error| {
        Failure::new(format!("{name}: {error}")).remedy(
            "give --kernel a Linux kernel or a Multiboot 1 image; a program is run with ring3 run",
        )
    })?;
    for path in &options.initrd {
        initrds.push((path.display().to_string(), read("the initrd", path)?));
    }
    let multiboot = matches!(image, KernelImage::Multiboot(_));
    let mut modules = Vec::new();
    for (name, bytes) in initrds {
        if !multiboot {
            ring3_boot::initramfs::check(&bytes)
                .map_err(|error| Failure::new(format!("{name}: {error}")))?;
        }
        modules.push(Module {
            bytes: Bytes::from(bytes),
            command_line: name.into_bytes(),
        });
    }
    let command_line = match &options.append {
        // As loaders do it: the first word is the program.
        Some(given) if multiboot => format!("{name} {given}"),
        None if multiboot => name,
        Some(given) => given.clone(),
        None => words,
    };
    Ok(Loaded {
        image,
        modules,
        command_line: command_line.into_bytes(),
    })
}

fn read(what: &str, path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        let failure = Failure::new(format!("cannot read {what} {}: {error}", path.display()));
        match error.kind() {
            std::io::ErrorKind::NotFound => failure.remedy("check the path"),
            std::io::ErrorKind::PermissionDenied => failure.remedy(format!(
                "make it readable for yourself: sudo chmod a+r {}",
                path.display()
            )),
            _ => failure,
        }
    })
}

/// One boot, from the first instruction to the end.
struct Session {
    machine: Machine,
    limit: u64,
    verbose: bool,
    options: MachineOptions,
    inbox: Arc<Inbox>,
    meter: Meter,
    raw: Option<RawMode>,
    /// Bytes for the serial port.
    input: VecDeque<u8>,
    /// Whether more of them can come.
    input_open: bool,
    keys: ConsoleKeys,
    pace: Option<Pace>,
    tail: ConsoleTail,
    output: Vec<u8>,
    flushed: Instant,
    last_byte: u8,
    stdout: Sink,
    stdout_is_terminal: bool,
}

impl Session {
    fn new(
        machine: Machine,
        options: &Options,
        inbox: Arc<Inbox>,
        meter: Meter,
    ) -> Result<Session> {
        let streams = HostStreams::of_this_process();
        let mut input = VecDeque::new();
        let mut raw = None;
        match streams.stdin {
            InputKind::Null => {}
            InputKind::File => {
                use std::io::Read;
                let mut bytes = Vec::new();
                std::io::stdin().read_to_end(&mut bytes).map_err(|error| {
                    Failure::new(format!("cannot read standard input: {error}"))
                })?;
                input = bytes.into();
            }
            InputKind::Stream => start_reading(&inbox, false)?,
            InputKind::Terminal => {
                if terminal::in_foreground() {
                    raw = RawMode::enter().ok();
                }
                start_reading(&inbox, true)?;
            }
        }
        inbox.attend();
        let limit = options.machine.max_instructions;
        Ok(Session {
            limit: limit.map_or(u64::MAX, |more| machine.instructions().saturating_add(more)),
            verbose: options.machine.verbose,
            options: options.machine.clone(),
            input_open: matches!(streams.stdin, InputKind::Stream | InputKind::Terminal),
            pace: (streams.stdin == InputKind::Terminal).then(|| Pace::new(machine.now())),
            keys: ConsoleKeys::new(raw.is_some()),
            stdout_is_terminal: streams.stdout == OutputKind::Terminal,
            machine,
            inbox,
            meter,
            raw,
            input,
            tail: ConsoleTail::shown(),
            output: Vec::new(),
            flushed: Instant::now(),
            last_byte: b'\n',
            stdout: Sink::stdout(),
        })
    }

    /// Runs to the end; the exit status.
    fn run(&mut self) -> Result<u8> {
        loop {
            if self.inbox.has_news()
                && let Some(status) = self.look_outside()?
            {
                return Ok(status);
            }
            let budget = match self.feed() {
                true => BUDGET,
                false => BUDGET_FEEDING,
            };
            let stop = self.machine.run_briefly(self.limit, budget);
            internal_error::machine_at(self.machine.instructions());
            self.collect();
            match stop {
                Some(Stop::Output) => {
                    if self.output.len() >= OUTPUT_MAX || self.flushed.elapsed() >= OUTPUT_DELAY {
                        self.flush()?;
                    }
                }
                None => {
                    self.flush()?;
                    self.keep_pace();
                }
                Some(Stop::Idle) if self.input_open || !self.input.is_empty() => {
                    self.flush()?;
                    if self.input.is_empty() {
                        let since = Instant::now();
                        self.inbox.wait(None, true);
                        self.meter.waited(since.elapsed());
                    } else if self.feed_one_more() {
                        // The guest halts with room for input: it will be woken by it.
                    } else {
                        return self.end(&Stop::Idle);
                    }
                }
                Some(stop) => {
                    self.flush()?;
                    return self.end(&stop);
                }
            }
        }
    }

    fn end(&mut self, stop: &Stop) -> Result<u8> {
        if self.tail.panic().is_some() {
            return Err(ending::failure(stop, &self.machine, &self.tail));
        }
        let (status, said) = match stop {
            Stop::PowerOff(None) => (0, "the guest switched its machine off"),
            Stop::PowerOff(Some(value)) => {
                (*value as u8, "the guest ended through its debug-exit port")
            }
            Stop::Reset => (0, "the guest asked for a restart, and ends here"),
            other => return Err(ending::failure(other, &self.machine, &self.tail)),
        };
        if self.verbose || self.raw.is_some() {
            self.fresh_line();
            console::say(said);
        }
        Ok(status)
    }

    /// Attends to signals and takes input.
    fn look_outside(&mut self) -> Result<Option<u8>> {
        for number in self.inbox.take_signals() {
            if number == SIGUSR1 {
                self.fresh_line();
                self.meter.report_so_far(&self.options, &mut self.machine)?;
            }
            if [SIGHUP, SIGINT, SIGQUIT, SIGTERM].contains(&number) {
                return Ok(Some(status::SIGNAL + number as u8));
            }
        }
        if self.input.is_empty() {
            for key in self.keys.take(&self.inbox.take_input(4096)) {
                match key {
                    Key::Byte(byte) => self.input.push_back(byte),
                    Key::Leave => {
                        self.fresh_line();
                        return Ok(Some(0));
                    }
                    Key::Help => {
                        self.fresh_line();
                        console::plain(
                            "Ctrl-A X  leave      Ctrl-A I  where the machine is\n\
                             Ctrl-A H  this help  Ctrl-A Ctrl-A  send Ctrl-A\n",
                        );
                    }
                    Key::Information => self.show_information(),
                }
            }
            self.input_open &= !self.inbox.input_is_over();
        }
        Ok(None)
    }

    /// Gives the serial port what it has room for; whether nothing is left.
    ///
    /// A person sees when the guest is ready. What is not typed by a person waits for that.
    fn feed(&mut self) -> bool {
        let ready = self.raw.is_some() || self.machine.serial_is_listening();
        if ready && self.machine.takes_input() && !self.input.is_empty() {
            let taken = self.machine.serial_input(self.input.make_contiguous());
            self.input.drain(..taken);
        }
        self.input.is_empty()
    }

    fn feed_one_more(&mut self) -> bool {
        let before = self.input.len();
        self.feed();
        self.input.len() < before
    }

    fn collect(&mut self) {
        while let Some(output) = self.machine.take_output() {
            if output.stream == 0 {
                self.tail.add(&output.bytes);
                self.output.extend(output.bytes);
            }
        }
        if self.verbose {
            for warning in self.machine.warnings().take_fresh() {
                self.fresh_line();
                console::say(&format!("machine: {warning}"));
            }
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.flushed = Instant::now();
        if let Some(&last) = self.output.last() {
            self.last_byte = last;
            let written = self.stdout.write(&self.output);
            self.output.clear();
            written.map_err(|error| match error {
                // The reader has what it wanted; a kernel cannot be told.
                rustix::io::Errno::PIPE => {
                    Failure::new("standard output was closed while the guest was running")
                        .status(status::SIGNAL + signal_hook::consts::signal::SIGPIPE as u8)
                }
                error => Failure::new(format!("cannot write to standard output: {error}")),
            })?;
        }
        Ok(())
    }

    /// So that ring3's words do not end up behind the guest's.
    fn fresh_line(&mut self) {
        let _ = self.flush();
        if self.stdout_is_terminal && self.last_byte != b'\n' {
            let _ = self.stdout.write(b"\r\n");
            self.last_byte = b'\n';
        }
    }

    fn keep_pace(&mut self) {
        let now = self.machine.now();
        if let Some(ahead) = self.pace.as_mut().and_then(|pace| pace.ahead(now)) {
            let since = Instant::now();
            self.inbox.wait(Some(ahead), self.input_open);
            self.meter.waited(since.elapsed());
        }
    }

    fn show_information(&mut self) {
        self.fresh_line();
        let seconds = self.machine.now().as_nanos() as f64 / 1e9;
        let mut text = format!(
            "{} instructions, {seconds:.3} s of virtual time\n",
            size::count(self.machine.instructions())
        );
        for index in 0..self.machine.config().cpus {
            let cpu = self.machine.cpu(CpuIndex(index));
            text += &format!(
                "processor {index}: rip {:#x} cpl {} cr3 {:#x} {:?}\n",
                cpu.rip(),
                cpu.cpl(),
                cpu.system.cr3,
                cpu.activity
            );
        }
        console::plain(&text);
    }

    /// Gives the terminal back.
    fn close(mut self) -> Session {
        let _ = self.flush();
        if self.raw.is_some() {
            self.fresh_line();
        }
        self.raw = None;
        self
    }
}

fn start_reading(inbox: &Arc<Inbox>, terminal: bool) -> Result<()> {
    inbox
        .read_stdin(terminal)
        .map_err(|error| Failure::new(format!("cannot read standard input: {error}")))
}
