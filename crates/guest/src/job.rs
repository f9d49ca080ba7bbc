//! A program of the host, made ready to run in the guest: what it is, what it needs, how it is started.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cache::default_cache_folder;
use crate::compile::{Compiled, compile};
use crate::elf::{MAGIC, Object};
use crate::error::{Error, Problem, Result};
use crate::libraries::{Finder, Needs};
use crate::library_cache;
use crate::protocol::{self, ARCHIVE_ALIGN, Output, STDIN_FILE, Stdin, Terminal};
use crate::streams::OutputKind;
use crate::tree::{Contents, Tree};

/// Where programs are looked for in the guest.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Programs that open `/dev/stdout` and `/dev/stderr` as a matter of course.
const SHELLS: [&str; 8] = ["ash", "bash", "busybox", "dash", "ksh", "mksh", "sh", "zsh"];
/// As many `#!` as Linux follows.
const SCRIPTS_MAX: usize = 4;
/// What a running guest has of its own, whatever the host has there.
const OF_THE_GUEST: [&str; 3] = ["/dev", "/proc", "/sys"];
/// What the guest's kernel and agent keep for themselves.
const RESERVED_BYTES: u64 = 96 << 20;

/// A file or folder to take along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Where it is on the host.
    pub host: PathBuf,
    /// Where it goes in the guest; `None` for the same place.
    pub guest: Option<PathBuf>,
}

impl Copy {
    /// Reads `HOST` or `HOST:GUEST`. A host path with a colon in it wins if it exists.
    pub fn parse(text: &OsStr) -> Result<Self> {
        let whole = Self {
            host: PathBuf::from(text),
            guest: None,
        };
        let bytes = text.as_bytes();
        let Some(colon) = bytes.iter().rposition(|&byte| byte == b':') else {
            return Ok(whole);
        };
        if whole.host.exists() {
            return Ok(whole);
        }
        let [host, guest] = [&bytes[..colon], &bytes[colon + 1..]]
            .map(|part| PathBuf::from(OsStr::from_bytes(part)));
        if host.as_os_str().is_empty() || guest.as_os_str().is_empty() {
            return Err(Error::new(
                Problem::Usage,
                format!("--copy {} lacks a path", text.display()),
            )
            .remedy("write --copy HOST, or --copy HOST:GUEST"));
        }
        Ok(Self {
            host,
            guest: Some(guest),
        })
    }
}

/// The program's standard input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Input {
    /// There is none.
    #[default]
    Null,
    /// These bytes, as a file: known beforehand, and the program can seek in them.
    Bytes(Vec<u8>),
    /// Bytes that come during the run.
    Stream,
    /// The terminal, see [`JobBuilder::terminal`].
    Terminal,
}

/// A wish to run a program.
#[derive(Debug, Clone)]
pub struct JobBuilder {
    program: OsString,
    arguments: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    folder: Option<PathBuf>,
    copies: Vec<Copy>,
    c_flags: Option<Vec<String>>,
    cache: Option<PathBuf>,
    memory_bytes: Option<u64>,
    input: Input,
    stdout: OutputKind,
    stderr: OutputKind,
    terminal: Option<Terminal>,
    randomize_addresses: bool,
}

impl JobBuilder {
    /// A program: an executable, a script, or a single C file; a path, or a name that is looked for in the working
    /// folder and then like a shell does.
    pub fn new(program: impl Into<OsString>) -> Self {
        let environment = [
            ("PATH", PATH),
            ("HOME", "/root"),
            ("USER", "root"),
            ("LOGNAME", "root"),
            ("SHELL", "/bin/sh"),
            ("LANG", "C.UTF-8"),
        ];
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: environment
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            folder: None,
            copies: Vec::new(),
            c_flags: None,
            cache: None,
            memory_bytes: None,
            input: Input::Null,
            stdout: OutputKind::Stream,
            stderr: OutputKind::Stream,
            terminal: None,
            randomize_addresses: false,
        }
    }

    /// Arguments after the program's name.
    pub fn arguments<T: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable. The guest's environment does not depend on the host's: there are `PATH`, `HOME`,
    /// `USER`, `LOGNAME`, `SHELL`, `LANG`, and what is set here.
    pub fn environment(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Sets an environment variable from `NAME=VALUE`.
    pub fn environment_setting(self, setting: &OsStr) -> Result<Self> {
        let bytes = setting.as_bytes();
        match bytes.iter().position(|&byte| byte == b'=') {
            Some(at @ 1..) => Ok(self.environment(
                OsStr::from_bytes(&bytes[..at]),
                OsStr::from_bytes(&bytes[at + 1..]),
            )),
            _ => Err(Error::new(
                Problem::Usage,
                format!("--env {} is not NAME=VALUE", setting.display()),
            )),
        }
    }

    /// The working folder, in the guest as on the host; otherwise that of this process. The guest's is empty but for
    /// what the job brings.
    pub fn folder(self, folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: Some(folder.into()),
            ..self
        }
    }

    /// Takes files along. Executables and libraries among them bring their libraries.
    pub fn copies(mut self, copies: impl IntoIterator<Item = Copy>) -> Self {
        self.copies.extend(copies);
        self
    }

    /// Flags for compiling C instead of [`crate::DEFAULT_FLAGS`].
    pub fn c_flags(self, flags: Vec<String>) -> Self {
        Self {
            c_flags: Some(flags),
            ..self
        }
    }

    /// Where to keep what is compiled, instead of [`crate::default_cache_folder`].
    pub fn cache(self, folder: impl Into<PathBuf>) -> Self {
        Self {
            cache: Some(folder.into()),
            ..self
        }
    }

    /// The memory the guest will have, so that files that cannot fit are noticed here.
    pub fn memory_bytes(self, bytes: u64) -> Self {
        Self {
            memory_bytes: Some(bytes),
            ..self
        }
    }

    /// Standard input; none unless given.
    pub fn input(self, input: Input) -> Self {
        Self { input, ..self }
    }

    /// What standard output and standard error are like.
    pub fn outputs(self, stdout: OutputKind, stderr: OutputKind) -> Self {
        Self {
            stdout,
            stderr,
            ..self
        }
    }

    /// The terminal, needed if one of the streams is one. `TERM` comes with [`JobBuilder::environment`].
    pub fn terminal(self, terminal: Terminal) -> Self {
        Self {
            terminal: Some(terminal),
            ..self
        }
    }

    /// Whether Linux places the program at random addresses. Unless asked for it does not, as under a debugger.
    pub fn randomize_addresses(self, randomize: bool) -> Self {
        Self {
            randomize_addresses: randomize,
            ..self
        }
    }

    /// Finds, checks, compiles and gathers everything. `contents` is what the guest holds already; `note` gets lines
    /// a person may want to read.
    pub fn prepare(self, contents: &Contents, note: &mut dyn FnMut(&str)) -> Result<Job> {
        let folder = match &self.folder {
            Some(folder) => absolute(folder)?,
            None => env::current_dir()
                .map_err(|error| Error::file("find the working folder", Path::new("."), &error))?,
        };
        let found = self.find_program(&folder)?;
        let mut gathering = Gathering {
            tree: Tree::default(),
            finder: Finder::of_host(),
            library_path: self
                .environment
                .get(OsStr::new("LD_LIBRARY_PATH"))
                .map(|path| from_folder(&path.to_string_lossy(), &folder)),
            libraries: Vec::new(),
            beyond_default_folders: false,
        };

        let is_source = found.extension().is_some_and(|extension| extension == "c");
        let mut details = Vec::new();
        let (program, executable, name) = if is_source {
            let cache = match &self.cache {
                Some(cache) => cache.clone(),
                None => default_cache_folder()?,
            };
            let Compiled {
                program: built,
                detail,
            } = compile(&found, self.c_flags.as_deref(), &cache, note)?;
            details.extend(detail);
            // In the guest the program stands beside where its source is on the host.
            let program = found.with_extension("");
            let bytes = fs::read(&built).map_err(|error| Error::file("read", &built, &error))?;
            let parent = program.parent().unwrap_or(Path::new("/"));
            gathering.tree.in_place(parent)?;
            gathering.tree.bytes(&program, 0o755, bytes.clone());
            gathering.elf(&built, &Object::program(&built, &bytes)?, None)?;
            let typed = Path::new(&self.program).with_extension("");
            let name = match typed.components().count() {
                1 if !self.program.as_bytes().contains(&b'/') => Path::new("./").join(typed),
                _ => typed,
            };
            (program, built, name.into_os_string())
        } else {
            gathering.program(&found, &self.path_in_guest(), 0)?;
            (found.clone(), found.clone(), self.program.clone())
        };

        // A folder that exists on the host keeps its links; one that does not is made.
        match folder.is_dir() {
            true => drop(gathering.tree.in_place(&folder)?),
            false => gathering.tree.folder(&folder, 0o755),
        }
        for copy in &self.copies {
            gathering.copy(copy, &folder, note)?;
        }
        let Gathering {
            mut tree,
            libraries,
            beyond_default_folders,
            ..
        } = gathering;
        if beyond_default_folders {
            tree.bytes(
                Path::new("/etc/ld.so.cache"),
                0o644,
                library_cache::write(&libraries),
            );
        }
        let stdin = match &self.input {
            Input::Null => Stdin::Null,
            Input::Bytes(bytes) => {
                tree.bytes(Path::new(STDIN_FILE), 0o600, bytes.clone());
                Stdin::File
            }
            Input::Stream => Stdin::Pipe,
            Input::Terminal => Stdin::Terminal,
        };
        let left_behind = self
            .arguments
            .iter()
            .filter(|argument| {
                let path = lexically_clean(&folder.join(argument));
                let is_the_guests = OF_THE_GUEST.iter().any(|own| path.starts_with(own));
                !is_the_guests && path.is_file() && !tree.has(&path) && !contents.has(&path)
            })
            .cloned()
            .collect();
        tree.subtract(contents);
        let room = self
            .memory_bytes
            .map(|bytes| bytes.saturating_sub(RESERVED_BYTES) / 5 * 4);
        if room.is_some_and(|room| tree.file_bytes() > room) {
            return Err(Error::new(
                Problem::Copy,
                format!(
                    "the files for the guest ({} MiB) do not fit into its memory ({} MiB)",
                    tree.file_bytes() >> 20,
                    self.memory_bytes.unwrap_or(0) >> 20
                ),
            )
            .remedy("give it more memory with --mem, or copy less"));
        }

        let uses_pipes = found_is_shell(&found) || starts_with(&found, b"#!");
        let output = |kind| match kind {
            OutputKind::Null => Output::Null,
            OutputKind::Terminal => Output::Terminal,
            OutputKind::Stream if uses_pipes => Output::Pipe,
            OutputKind::Stream => Output::Port,
            OutputKind::SameAsStdout => Output::SameAsStdout,
        };
        let wants_terminal = self.input == Input::Terminal
            || [self.stdout, self.stderr].contains(&OutputKind::Terminal);
        if wants_terminal && self.terminal.is_none() {
            return Err(Error::new(
                Problem::Usage,
                "a stream is to be a terminal, but no terminal is described",
            ));
        }
        let archive = if tree.is_empty() {
            Vec::new()
        } else {
            tree.archive(ARCHIVE_ALIGN)?
        };
        let bytes = |text: OsString| text.into_vec();
        let mut environment = self.environment;
        environment
            .entry("PWD".into())
            .or_insert_with(|| folder.clone().into());
        let message = protocol::Job {
            archive_bytes: archive.len() as u64,
            program: bytes(program.clone().into()),
            arguments: [name]
                .into_iter()
                .chain(self.arguments)
                .map(bytes)
                .collect(),
            environment: environment
                .into_iter()
                .map(|(name, value)| [bytes(name), b"=".to_vec(), bytes(value)].concat())
                .collect(),
            folder: bytes(folder.into()),
            randomize_addresses: self.randomize_addresses,
            stdin,
            stdout: output(self.stdout),
            stderr: output(self.stderr),
            terminal: self.terminal.filter(|_| wants_terminal),
        };
        let nul = |words: &[Vec<u8>]| words.iter().any(|word| word.contains(&0));
        if nul(&message.arguments) || nul(&message.environment) {
            return Err(Error::new(
                Problem::Usage,
                "an argument or variable has a zero byte in it",
            ));
        }
        let size = protocol::ToGuest::Job(message.clone()).encode().len();
        if size > protocol::TO_GUEST_MAX {
            return Err(Error::new(
                Problem::Usage,
                format!("arguments and environment are too long ({size} bytes)"),
            ));
        }
        Ok(Job {
            message,
            archive,
            executable,
            program,
            left_behind,
            details,
        })
    }

    /// `PATH` as the program will see it.
    fn path_in_guest(&self) -> OsString {
        self.environment
            .get(OsStr::new("PATH"))
            .cloned()
            .unwrap_or_else(|| PATH.into())
    }

    /// The file the person means, as an absolute path.
    fn find_program(&self, folder: &Path) -> Result<PathBuf> {
        let shown = self.program.display();
        let typed = Path::new(&self.program);
        let here = folder.join(typed);
        let is_path = self.program.as_bytes().contains(&b'/');
        let found = if is_path || here.is_file() {
            here
        } else {
            let host_path = env::var_os("PATH").unwrap_or_else(|| PATH.into());
            in_path(&host_path, &self.program).unwrap_or(here)
        };
        let metadata = fs::metadata(&found).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::new(
                Problem::ProgramNotFound,
                format!("there is no program {shown}"),
            )
            .remedy(if is_path {
                "check the path".to_owned()
            } else {
                format!("it is neither in {} nor in PATH", folder.display())
            }),
            _ => Error::file("find", &found, &error),
        })?;
        if metadata.is_dir() {
            return Err(Error::new(
                Problem::NotAProgram,
                format!("{shown} is a folder"),
            ));
        }
        if !metadata.is_file() {
            return Err(Error::new(
                Problem::NotAProgram,
                format!("{shown} is not a regular file"),
            ));
        }
        let is_source = found.extension().is_some_and(|extension| extension == "c");
        if !is_source && metadata.mode() & 0o111 == 0 {
            // What it is matters more than its permissions.
            Gathering::check_kind(&found)?;
            return Err(
                Error::new(Problem::NoPermission, format!("{shown} is not executable"))
                    .remedy(format!("chmod +x {shown}")),
            );
        }
        absolute(&found)
    }
}

/// A path from the root, with `.` taken out and `..` left in.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Error::file("find", path, &error))
}

/// The first executable file of that name in a list of folders.
fn in_path(path: &OsStr, name: &OsStr) -> Option<PathBuf> {
    env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|file| {
            fs::metadata(file).is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0)
        })
}

fn found_is_shell(program: &Path) -> bool {
    let is_shell = |path: &Path| {
        path.file_name()
            .is_some_and(|name| SHELLS.iter().any(|shell| name == *shell))
    };
    is_shell(program) || fs::canonicalize(program).is_ok_and(|real| is_shell(&real))
}

fn starts_with(path: &Path, magic: &[u8]) -> bool {
    head(path).is_ok_and(|head| head.starts_with(magic))
}

/// The first bytes of a file, enough for a `#!` line.
fn head(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read;
    let mut head = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(256).read_to_end(&mut head))
        .map_err(|error| Error::file("read", path, &error))?;
    Ok(head)
}

/// Collects what a job brings.
struct Gathering {
    tree: Tree,
    finder: Finder,
    library_path: Option<String>,
    libraries: Vec<(String, PathBuf)>,
    beyond_default_folders: bool,
}

impl Gathering {
    /// An executable or script at its own path, with its interpreter and libraries.
    fn program(&mut self, path: &Path, path_in_guest: &OsStr, depth: usize) -> Result<()> {
        let head = head(path)?;
        let real = self.tree.in_place(path)?;
        if head.starts_with(MAGIC) {
            let bytes = fs::read(path).map_err(|error| Error::file("read", path, &error))?;
            let object = Object::program(path, &bytes)?;
            return self.elf(&real, &object, None);
        }
        let Some(line) = head.strip_prefix(b"#!") else {
            return Err(Self::check_kind(path)
                .err()
                .unwrap_or_else(|| not_a_program(path)));
        };
        let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let mut words = line
            .split(|byte| byte.is_ascii_whitespace())
            .filter(|word| !word.is_empty());
        let interpreter = words
            .next()
            .map(|word| PathBuf::from(OsStr::from_bytes(word)));
        let interpreter = interpreter
            .filter(|path| path.is_absolute() && path.is_file())
            .ok_or_else(|| {
                let named = String::from_utf8_lossy(line).trim().to_owned();
                Error::new(
                    Problem::InterpreterMissing,
                    format!(
                        "{} wants the interpreter '{named}', which is not there",
                        path.display()
                    ),
                )
                .remedy("install it, or correct the first line of the script")
            })?;
        if depth == SCRIPTS_MAX {
            return Err(Error::new(
                Problem::NotAProgram,
                format!("{}: scripts that interpret each other", path.display()),
            ));
        }
        self.program(&interpreter, path_in_guest, depth + 1)?;
        // "#!/usr/bin/env NAME" finds the real interpreter in PATH.
        if interpreter.file_name() == Some(OsStr::new("env")) {
            let name = words.find(|word| !word.starts_with(b"-") && !word.contains(&b'='));
            if let Some(name) = name.map(OsStr::from_bytes) {
                let found = in_path(path_in_guest, name).ok_or_else(|| {
                    Error::new(
                        Problem::InterpreterMissing,
                        format!(
                            "{} wants '{}', which is not in the guest's PATH",
                            path.display(),
                            name.display()
                        ),
                    )
                    .remedy("install it, or extend the path with --env PATH=...")
                })?;
                self.program(&found, path_in_guest, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Succeeds if the file is something that can be run, whatever its permissions.
    fn check_kind(path: &Path) -> Result<()> {
        let head = head(path)?;
        if head.starts_with(MAGIC) {
            let bytes = fs::read(path).map_err(|error| Error::file("read", path, &error))?;
            return Object::program(path, &bytes).map(drop);
        }
        match head.starts_with(b"#!") {
            true => Ok(()),
            false => Err(not_a_program(path)),
        }
    }

    /// The linker and libraries of an ELF file that is in the tree already. Without `tolerated` everything has to be
    /// there.
    fn elf(
        &mut self,
        path: &Path,
        object: &Object,
        tolerated: Option<&mut dyn FnMut(String)>,
    ) -> Result<()> {
        let mut missing = Vec::new();
        let library_path = self.library_path.clone();
        let needs: Needs =
            self.finder
                .needs(path, object, library_path.as_deref(), &mut |library| {
                    missing.push(library)
                })?;
        if let Some(linker) = &needs.interpreter {
            if !linker.is_file() {
                return Err(Error::new(
                    Problem::InterpreterMissing,
                    format!(
                        "{} needs the dynamic linker {}, which is not on this host",
                        path.display(),
                        linker.display()
                    ),
                )
                .remedy(
                    "it was linked for another system; link it here, or statically (gcc -static)",
                ));
            }
            self.tree.in_place(linker)?;
        }
        match (tolerated, missing.first()) {
            (None, Some(first)) => {
                let wanted = match first.wanted_by == path {
                    true => String::new(),
                    false => format!(" (wanted by {})", first.wanted_by.display()),
                };
                return Err(Error::new(
                    Problem::LibraryMissing,
                    format!("{} needs the library {}{wanted}, which is not on this host", path.display(), first.name),
                )
                .remedy("install it, or name its folder with --env LD_LIBRARY_PATH=FOLDER, or link statically"));
            }
            (Some(tolerate), Some(first)) => {
                tolerate(format!(
                    "{} wants {}, which is not on this host",
                    path.display(),
                    first.name
                ));
            }
            (_, None) => {}
        }
        for (name, library) in needs.libraries {
            self.tree.in_place(&library)?;
            if !self.libraries.iter().any(|(known, _)| *known == name) {
                self.libraries.push((name, library));
            }
        }
        self.beyond_default_folders |= needs.beyond_default_folders;
        Ok(())
    }

    /// What the person wants along.
    fn copy(&mut self, copy: &Copy, folder: &Path, note: &mut dyn FnMut(&str)) -> Result<()> {
        let host = absolute(&folder.join(&copy.host))?;
        if !host.exists() {
            return Err(Error::new(
                Problem::Copy,
                format!("--copy {}: there is no such file", copy.host.display()),
            ));
        }
        let own = OF_THE_GUEST.iter().find(|own| host.starts_with(own));
        if let (None, Some(own)) = (&copy.guest, own)
            && !host.starts_with("/dev/shm")
        {
            return Err(Error::new(
                Problem::Copy,
                format!(
                    "--copy {}: the guest has a {own} of its own",
                    copy.host.display()
                ),
            )
            .remedy("to take a file from there, give it another place: --copy HOST:GUEST"));
        }
        let files = match &copy.guest {
            None => self
                .tree
                .in_place_with_contents(&host, &mut |line| note(&line))?,
            Some(guest) => {
                // A file whose guest path ends in a slash goes into that folder, under its own name.
                let mut guest_path = folder.join(guest);
                if guest.as_os_str().as_bytes().ends_with(b"/")
                    && !host.is_dir()
                    && let Some(name) = host.file_name()
                {
                    guest_path.push(name);
                }
                let guest_path = lexically_clean(&guest_path);
                self.tree
                    .elsewhere_with_contents(&host, &guest_path, &mut |line| note(&line))?
            }
        };
        for file in files {
            if starts_with(&file, MAGIC) {
                let bytes = fs::read(&file).map_err(|error| Error::file("read", &file, &error))?;
                // A file for another machine, or an object file, is data.
                if let Ok(object) = Object::any(&file, &bytes) {
                    self.elf(&file, &object, Some(&mut |_| {}))?;
                }
            }
        }
        Ok(())
    }
}

/// A list of folders as ld.so takes it, with relative and empty ones completed: the guest's working folder has the
/// same path as the host's.
fn from_folder(folders: &str, folder: &Path) -> String {
    let complete = |entry: &str| match entry.starts_with(['/', '$']) {
        true => entry.to_owned(),
        false => folder.join(entry).to_string_lossy().into_owned(),
    };
    let folders: Vec<String> = folders.split([':', ';']).map(complete).collect();
    folders.join(":")
}

/// A guest path without `.` and `..`.
fn lexically_clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            std::path::Component::Normal(name) => clean.push(name),
            std::path::Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean
}

fn not_a_program(path: &Path) -> Error {
    let remedy = match path.extension().and_then(OsStr::to_str) {
        Some("cc" | "cpp" | "cxx" | "C") => {
            "compile it first: g++ -O2 -g -muintr -pthread -o program FILE"
        }
        Some("rs") => "compile it first: rustc -O FILE",
        Some("S" | "s" | "asm") => "assemble and link it first",
        Some("py" | "sh" | "pl") => {
            "begin it with a line like #!/usr/bin/python3, or run its interpreter and --copy it"
        }
        _ => "an ELF executable, a script that begins with #!, or one C file (NAME.c) can be run",
    };
    Error::new(
        Problem::NotAProgram,
        format!("{} is not a program", path.display()),
    )
    .remedy(remedy)
}

/// A program with everything it needs, ready for a [`crate::Session`].
#[derive(Debug, Clone)]
pub struct Job {
    message: protocol::Job,
    archive: Vec<u8>,
    executable: PathBuf,
    program: PathBuf,
    left_behind: Vec<OsString>,
    details: Vec<String>,
}

impl Job {
    /// What the agent is told.
    pub fn message(&self) -> &protocol::Job {
        &self.message
    }

    /// What has to be at the start of the first virtio block device: a multiple of [`ARCHIVE_ALIGN`] long, empty if
    /// nothing needs to be brought. What follows it on the device does not matter.
    pub fn archive(&self) -> &[u8] {
        &self.archive
    }

    /// The executable on the host, for its symbols: the file given, or what was compiled from it.
    pub fn executable(&self) -> &Path {
        &self.executable
    }

    /// Its path in the guest.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Arguments that name files of the host which the guest will not have: if the program fails, that may be why.
    pub fn left_behind(&self) -> &[OsString] {
        &self.left_behind
    }

    /// What was done that a person who wonders should know.
    pub fn details(&self) -> &[String] {
        &self.details
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    fn problem(builder: JobBuilder) -> Problem {
        let error = builder
            .prepare(&Contents::default(), &mut |_| {})
            .unwrap_err();
        assert!(!error.sentence().is_empty());
        error.problem()
    }

    fn write(path: &Path, contents: &[u8], mode: u32) {
        fs::write(path, contents).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_no_program_is_said_to_be_none() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert_eq!(
            problem(JobBuilder::new("/no/such/program")),
            Problem::ProgramNotFound
        );
        assert_eq!(
            problem(JobBuilder::new("no-such-program-anywhere")),
            Problem::ProgramNotFound
        );
        assert_eq!(
            problem(JobBuilder::new(folder.path())),
            Problem::NotAProgram
        );
        write(&at("text"), b"hello", 0o755);
        assert_eq!(problem(JobBuilder::new(at("text"))), Problem::NotAProgram);
        write(&at("empty"), b"", 0o755);
        assert_eq!(problem(JobBuilder::new(at("empty"))), Problem::NotAProgram);
        write(&at("plain.cpp"), b"int main(){}", 0o644);
        assert_eq!(
            problem(JobBuilder::new(at("plain.cpp"))),
            Problem::NotAProgram
        );
        write(&at("program"), &fs::read("/bin/sh").unwrap(), 0o644);
        assert_eq!(
            problem(JobBuilder::new(at("program"))),
            Problem::NoPermission
        );
        write(&at("script"), b"#!/no/such/interpreter -x\n", 0o755);
        assert_eq!(
            problem(JobBuilder::new(at("script"))),
            Problem::InterpreterMissing
        );
        write(
            &at("env"),
            b"#!/usr/bin/env -S no-such-interpreter\n",
            0o755,
        );
        assert_eq!(
            problem(JobBuilder::new(at("env"))),
            Problem::InterpreterMissing
        );
        write(
            &at("loop"),
            format!("#!{}\n", at("loop").display()).as_bytes(),
            0o755,
        );
        assert_eq!(problem(JobBuilder::new(at("loop"))), Problem::NotAProgram);
    }

    #[test]
    fn linkers_and_libraries_that_are_missing() {
        let folder = tempfile::tempdir().unwrap();
        let gcc = |arguments: &[&str]| {
            Command::new("gcc")
                .args(arguments)
                .current_dir(&folder)
                .status()
                .unwrap()
                .success()
        };
        fs::write(folder.path().join("lib.c"), "int f(void) { return 1; }").unwrap();
        fs::write(
            folder.path().join("main.c"),
            "int f(void); int main(void) { return f(); }",
        )
        .unwrap();
        assert!(gcc(&["-shared", "-fPIC", "-o", "libsomewhere.so", "lib.c"]));
        assert!(gcc(&["-o", "lost", "main.c", "-L.", "-lsomewhere"]));
        let lost = folder.path().join("lost");
        assert_eq!(problem(JobBuilder::new(&lost)), Problem::LibraryMissing);
        JobBuilder::new(&lost)
            .environment("LD_LIBRARY_PATH", folder.path())
            .prepare(&Contents::default(), &mut |_| {})
            .unwrap();
        // The guest's working folder is the host's, so a relative path means the same there.
        JobBuilder::new(&lost)
            .folder(folder.path())
            .environment("LD_LIBRARY_PATH", "/nowhere:.")
            .prepare(&Contents::default(), &mut |_| {})
            .unwrap();
        assert_eq!(
            problem(JobBuilder::new(folder.path().join("libsomewhere.so"))),
            Problem::NotExecutableElf
        );
        assert!(gcc(&[
            "-o",
            "foreign",
            "lib.c",
            "-x",
            "none",
            "main.c",
            "-Wl,--dynamic-linker=/lib/ld-other.so.1"
        ]));
        assert_eq!(
            problem(JobBuilder::new(folder.path().join("foreign"))),
            Problem::InterpreterMissing
        );
        assert!(gcc(&["-static", "-o", "alone", "lib.c", "main.c"]));
        let job = JobBuilder::new(folder.path().join("alone"))
            .prepare(&Contents::default(), &mut |_| {})
            .unwrap();
        let alone = fs::metadata(folder.path().join("alone")).unwrap().len() as usize;
        assert!(
            job.archive().len() < alone + 3 * ARCHIVE_ALIGN,
            "it brings nothing but itself"
        );
    }

    #[test]
    fn files_too_large_for_the_guest() {
        let builder = JobBuilder::new("/bin/sh").input(Input::Bytes(vec![0; 64 << 20]));
        assert_eq!(
            problem(builder.clone().memory_bytes(128 << 20)),
            Problem::Copy
        );
        builder
            .memory_bytes(512 << 20)
            .prepare(&Contents::default(), &mut |_| {})
            .unwrap();
    }

    #[test]
    fn what_the_guest_holds_is_not_brought() {
        let tree = crate::image::host_files(&Finder::of_host()).unwrap();
        let with = JobBuilder::new("/bin/sh")
            .folder("/")
            .prepare(&tree.contents(), &mut |_| {})
            .unwrap();
        assert_eq!(with.archive(), b"");
        let without = JobBuilder::new("/bin/sh")
            .folder("/")
            .prepare(&Contents::default(), &mut |_| {})
            .unwrap();
        assert!(without.archive().len() > 1 << 20);
        assert_eq!(without.archive().len() % ARCHIVE_ALIGN, 0);
    }

    #[test]
    fn files_that_stay_behind_are_known() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["taken", "forgotten"] {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        let job = JobBuilder::new("/bin/sh")
            .arguments([
                "-c",
                "./taken",
                "forgotten",
                "nowhere",
                "/proc/self/status",
                ".",
            ])
            .folder(folder.path())
            .copies([Copy {
                host: folder.path().join("taken"),
                guest: None,
            }])
            .prepare(&Contents::default(), &mut |_| {})
            .unwrap();
        assert_eq!(job.left_behind(), ["forgotten"]);
    }

    #[test]
    fn the_guests_own_file_systems_are_not_copied() {
        let copy = |host: &str, guest: Option<&str>| {
            JobBuilder::new("/bin/sh").copies([Copy {
                host: host.into(),
                guest: guest.map(Into::into),
            }])
        };
        assert_eq!(problem(copy("/proc/version", None)), Problem::Copy);
        assert_eq!(problem(copy("/sys", None)), Problem::Copy);
        // At another place they can be had, although the host's kernel says that they are empty.
        let job = copy("/proc/version", Some("/version"))
            .prepare(&Contents::default(), &mut |_| {})
            .unwrap();
        let version = fs::read("/proc/version").unwrap();
        assert!(
            job.archive()
                .windows(version.len())
                .any(|bytes| bytes == version)
        );
        // A folder with links into them keeps the links.
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/proc/self/fd", folder.path().join("fd")).unwrap();
        let job = copy(folder.path().to_str().unwrap(), None)
            .prepare(&Contents::default(), &mut |_| {})
            .unwrap();
        let archive = String::from_utf8_lossy(job.archive()).into_owned();
        assert!(archive.contains("/proc/self/fd"));
        assert!(!archive.contains(&format!("proc/{}", std::process::id())));
    }

    #[test]
    fn copies_as_they_are_written() {
        let parse = |text: &str| Copy::parse(OsStr::new(text));
        assert_eq!(
            parse("/bin/sh:/x/y").unwrap(),
            Copy {
                host: "/bin/sh".into(),
                guest: Some("/x/y".into())
            }
        );
        assert_eq!(
            parse("a").unwrap(),
            Copy {
                host: "a".into(),
                guest: None
            }
        );
        assert!(parse("a:").is_err() && parse(":b").is_err());
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("a:b");
        fs::write(&odd, b"").unwrap();
        assert_eq!(
            Copy::parse(odd.as_os_str()).unwrap(),
            Copy {
                host: odd,
                guest: None
            }
        );
        assert_eq!(
            lexically_clean(Path::new("/a/./b/../../c/d/..")),
            Path::new("/c")
        );
    }

    #[test]
    fn environment_settings() {
        let set = |text: &str| JobBuilder::new("/bin/sh").environment_setting(OsStr::new(text));
        let job = set("A=b=c")
            .unwrap()
            .prepare(&Contents::default(), &mut |_| {})
            .unwrap();
        assert!(job.message().environment.contains(&b"A=b=c".to_vec()));
        assert!(set("=x").is_err() && set("x").is_err());
    }

    #[test]
    fn shells_get_pipes_and_other_programs_ports() {
        let stdout = |program: &str| {
            JobBuilder::new(program)
                .prepare(&Contents::default(), &mut |_| {})
                .unwrap()
                .message()
                .stdout
        };
        assert_eq!(stdout("/bin/sh"), Output::Pipe);
        assert_eq!(stdout("/bin/ls"), Output::Port);
    }
}
