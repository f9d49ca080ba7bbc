//! A machine for trying a guest: QEMU with the devices the guest expects. It stands in for the project's own machine
//! and is a second opinion on the agent: if both run a job alike, neither bends to the other.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ring3_guest::{Event, Guest, Job, Outcome, Port, Session, Stream};

const PATIENCE: Duration = Duration::from_secs(400);

/// A QEMU that runs.
pub struct Machine {
    qemu: Child,
    folder: tempfile::TempDir,
    ports: Vec<(Port, UnixStream)>,
    monitor: UnixStream,
}

/// What came of a job.
#[derive(Debug, Default)]
pub struct Run {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub warnings: Vec<String>,
    pub outcome: Option<Outcome>,
}

impl Run {
    pub fn status(&self) -> u8 {
        self.outcome
            .as_ref()
            .expect("the run has ended")
            .exit_status()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

pub fn is_there() -> bool {
    Command::new("qemu-system-x86_64")
        .arg("--version")
        .output()
        .is_ok()
}

/// A machine that has booted a guest and was put away when the guest was ready.
pub struct Snapshot {
    folder: tempfile::TempDir,
    memory_mib: u32,
    processors: u32,
}

impl Machine {
    pub fn start(
        guest: &Guest,
        memory_mib: u32,
        processors: u32,
        snapshot: Option<&Path>,
        archive: &[u8],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::write(at("disk"), archive).unwrap();
        // The device keeps its size whatever the archive's is: the guest looks at it once.
        fs::File::options()
            .write(true)
            .open(at("disk"))
            .unwrap()
            .set_len(1 << 30)
            .unwrap();
        fs::write(at("kernel"), guest.kernel().unwrap()).unwrap();
        fs::write(at("initramfs"), guest.initramfs().unwrap()).unwrap();
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args([
                "-M",
                "pc",
                "-accel",
                "tcg",
                "-cpu",
                "max",
                "-nodefaults",
                "-display",
                "none",
                "-no-reboot",
            ])
            .args([
                "-m",
                &format!("{memory_mib}M"),
                "-smp",
                &processors.to_string(),
            ])
            .args(["-kernel", &at("kernel"), "-initrd", &at("initramfs")])
            .args(["-append", guest.command_line()])
            .args(["-serial", &format!("file:{}", at("serial"))])
            .args([
                "-qmp",
                &format!("unix:{},server=on,wait=off", at("monitor")),
            ])
            .args([
                "-drive",
                &format!("if=virtio,format=raw,file={}", at("disk")),
            ])
            .args(["-device", "virtio-serial-pci"]);
        for port in Port::ALL {
            let name = port.name();
            command
                .args([
                    "-chardev",
                    &format!("socket,id={name},path={},server=on,wait=off", at(name)),
                ])
                .args([
                    "-device",
                    &format!("virtserialport,chardev={name},name={name}"),
                ]);
        }
        if let Some(snapshot) = snapshot {
            command.args(["-incoming", &format!("exec:cat {}", snapshot.display())]);
        }
        if let Some(extra) = std::env::var_os("RING3_QEMU_EXTRA") {
            command.args(extra.to_string_lossy().split_whitespace());
        }
        let qemu = command.stdin(Stdio::null()).spawn().unwrap();
        let connect = |name: &str| {
            let deadline = Instant::now() + PATIENCE;
            loop {
                match UnixStream::connect(folder.path().join(name)) {
                    Ok(stream) => return stream,
                    Err(error) if Instant::now() > deadline => {
                        panic!("QEMU does not open {name}: {error}")
                    }
                    Err(_) => thread::sleep(Duration::from_millis(5)),
                }
            }
        };
        let ports = Port::ALL
            .into_iter()
            .map(|port| {
                let stream = connect(port.name());
                stream.set_nonblocking(true).unwrap();
                (port, stream)
            })
            .collect();
        let mut machine = Self {
            monitor: connect("monitor"),
            qemu,
            ports,
            folder,
        };
        machine.ask("qmp_capabilities", "{}");
        machine
    }

    /// A command to QEMU's monitor; waits for its return.
    fn ask(&mut self, command: &str, arguments: &str) -> String {
        let line = format!("{{\"execute\": \"{command}\", \"arguments\": {arguments}}}\n");
        self.monitor.write_all(line.as_bytes()).unwrap();
        let mut answer = Vec::new();
        loop {
            let mut byte = [0];
            self.monitor.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
            if byte[0] == b'\n' {
                let line = String::from_utf8_lossy(&answer).into_owned();
                if line.contains("\"return\"") || line.contains("\"error\"") {
                    return line;
                }
                answer.clear();
            }
        }
    }

    pub fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join("serial")).unwrap_or_default())
            .into_owned()
    }

    /// Carries bytes both ways until `done` says so or all is quiet for a moment after it did.
    pub fn pump(
        &mut self,
        session: &mut Session,
        run: &mut Run,
        mut each: impl FnMut(&mut Session, &Run) -> bool,
    ) {
        let deadline = Instant::now() + PATIENCE;
        let mut quiet_since = Instant::now();
        let mut done = false;
        loop {
            let mut moved = false;
            for (port, stream) in &mut self.ports {
                let mut buffer = [0; 65536];
                match stream.read(&mut buffer) {
                    Ok(0) => panic!("QEMU has gone. Console:\n{}", console(&self.folder)),
                    Ok(count) => {
                        moved = true;
                        for event in session.receive(*port, &buffer[..count]).unwrap() {
                            match event {
                                Event::Output(Stream::Stdout, bytes) => run.stdout.extend(bytes),
                                Event::Output(Stream::Stderr, bytes) => run.stderr.extend(bytes),
                                Event::Warning(text) => run.warnings.push(text),
                                Event::Ended(outcome) => run.outcome = Some(outcome),
                                Event::Ready { .. } => {}
                            }
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => panic!("{port:?}: {error}. Console:\n{}", console(&self.folder)),
                }
                match stream.write(session.outgoing(*port)) {
                    Ok(count) if count > 0 => {
                        moved = true;
                        session.sent(*port, count);
                    }
                    _ => {}
                }
            }
            done = done || each(session, run) || run.outcome.is_some();
            if moved {
                quiet_since = Instant::now();
            } else if done && quiet_since.elapsed() > Duration::from_millis(50) {
                // QEMU's sockets are not ordered among one another: what was written last may arrive after the end.
                return;
            } else {
                thread::sleep(Duration::from_micros(200));
            }
            assert!(
                Instant::now() < deadline,
                "nothing happens. {run:?} Console:\n{}",
                console(&self.folder)
            );
        }
    }
}

fn console(folder: &tempfile::TempDir) -> String {
    String::from_utf8_lossy(&fs::read(folder.path().join("serial")).unwrap_or_default())
        .into_owned()
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Asked to, it ends in good order, and tools inside it can write what they have found.
        let _ = self.monitor.write_all(b"{\"execute\": \"quit\"}\n");
        let deadline = Instant::now() + Duration::from_secs(2);
        while matches!(self.qemu.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

impl Snapshot {
    /// Boots the guest and puts the machine away when it is ready. Returns what the guest warned of, and its console.
    pub fn take(guest: &Guest, memory_mib: u32, processors: u32) -> (Self, Vec<String>, String) {
        let mut machine = Machine::start(
            guest,
            memory_mib,
            processors,
            None,
            b"a disk that will have been another",
        );
        let mut session = Session::new();
        let mut run = Run::default();
        let mut ready = false;
        machine.pump_until_ready(&mut session, &mut run, &mut ready);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("snapshot");
        machine.ask("stop", "{}");
        let answer = machine.ask(
            "migrate",
            &format!("{{\"uri\": \"exec:cat > {}\"}}", file.display()),
        );
        assert!(answer.contains("return"), "{answer}");
        let deadline = Instant::now() + PATIENCE;
        while !machine.ask("query-migrate", "{}").contains("\"completed\"") {
            assert!(Instant::now() < deadline, "the snapshot is not completed");
            thread::sleep(Duration::from_millis(20));
        }
        let console = machine.console();
        (
            Self {
                folder,
                memory_mib,
                processors,
            },
            run.warnings,
            console,
        )
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("snapshot")
    }

    /// The machine again, with a job's archive on its disk.
    pub fn restore(&self, guest: &Guest, archive: &[u8]) -> Machine {
        let mut machine = Machine::start(
            guest,
            self.memory_mib,
            self.processors,
            Some(&self.path()),
            archive,
        );
        let deadline = Instant::now() + PATIENCE;
        while machine.ask("query-status", "{}").contains("inmigrate") {
            assert!(Instant::now() < deadline, "the snapshot does not come back");
            thread::sleep(Duration::from_millis(5));
        }
        machine.ask("cont", "{}");
        machine
    }

    /// Runs a job from its beginning to its end.
    pub fn run(
        &self,
        guest: &Guest,
        job: &Job,
        each: impl FnMut(&mut Session, &Run) -> bool,
    ) -> Run {
        let mut machine = self.restore(guest, job.archive());
        let mut session = Session::resumed();
        session.start(job);
        let mut run = Run::default();
        machine.pump(&mut session, &mut run, each);
        run
    }
}

impl Machine {
    fn pump_until_ready(&mut self, session: &mut Session, run: &mut Run, ready: &mut bool) {
        let deadline = Instant::now() + PATIENCE;
        while !*ready {
            let (port, stream) = &mut self.ports[0];
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer) {
                Ok(count) => {
                    for event in session.receive(*port, &buffer[..count]).unwrap() {
                        match event {
                            Event::Ready { .. } => *ready = true,
                            Event::Warning(text) => run.warnings.push(text),
                            other => panic!("{other:?} from a guest that boots"),
                        }
                    }
                }
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
            assert!(
                Instant::now() < deadline,
                "the guest does not boot. Console:\n{}",
                self.console()
            );
        }
        // The agent goes to sleep after its message; a snapshot of a sleeping guest is the one that is wanted.
        thread::sleep(Duration::from_millis(300));
    }
}
