//! The order of things: which rows there are, and how each is measured.

use crate::console::Console;
use crate::figures::{BootRow, Figures, MemoryRow, ProgramRow, StartRow};
use crate::material::{MEMORY_BYTES, Material, in_path};
use crate::memory::{self, Resident};
use crate::processes::{self, Whole};
use crate::programs::PROGRAMS;
use crate::{Options, Result, progress};
use std::path::Path;
use std::process::Command;

/// Processors of the machines that run programs, as `ring3 run` has by default.
const CPUS: &str = "2";
const QEMU: &str = "qemu-system-x86_64";
/// How often a start from the snapshot is measured: it is short.
const STARTS: usize = 10;

/// What `--only` can name besides programs.
const OTHER_ROWS: &[(&str, &str)] = &[
    (
        "boot",
        "the kernel with a busybox initramfs, until it switches off",
    ),
    (
        "first-run",
        "the default guest made and booted for the first time",
    ),
    ("run", "`ring3 run` of a hello world from the snapshot"),
    ("memory-use", "resident memory beside the guest's"),
];

/// Name and meaning of each row.
pub fn rows() -> Vec<(&'static str, &'static str)> {
    PROGRAMS
        .iter()
        .map(|program| (program.name, program.about))
        .chain(OTHER_ROWS.iter().copied())
        .collect()
}

/// Everything that is wanted.
///
/// # Errors
/// If something cannot be measured at all.
pub fn all(options: &Options) -> Result<Figures> {
    let qemu = qemu_version(options);
    let material = Material::make()?;
    let mut bench = Bench {
        figures: Figures {
            host: host(),
            kernel: material.release.clone(),
            qemu: qemu
                .as_ref()
                .map(|version| format!("{version}, -M pc -accel tcg -cpu {}", options.qemu_cpu)),
            ..Figures::default()
        },
        options,
        with_qemu: qemu.is_some(),
        material,
    };
    // While nothing has been measured that a noisy neighbour could spoil.
    bench.starts()?;
    bench.boots()?;
    bench.programs()?;
    bench.memory()?;
    Ok(bench.figures)
}

/// The processor of this computer and how many of them.
fn host() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        text.lines()
            .find(|line| line.starts_with(name))
            .and_then(|line| line.split_once(':'))
            .map_or("?", |(_, value)| value.trim())
            .to_owned()
    };
    let count = std::thread::available_parallelism().map_or(1, |count| count.get());
    format!(
        "{} (family {}, model {}), {count} processors",
        field("model name"),
        field("cpu family"),
        field("model\t")
    )
}

fn qemu_version(options: &Options) -> Option<String> {
    if options.no_qemu {
        return None;
    }
    if in_path(QEMU).is_none() {
        progress::remark(
            "QEMU is not installed, so there is nothing to compare with; on Debian: \
             apt-get install qemu-system-x86 busybox-static",
        );
        return None;
    }
    let output = Command::new(QEMU).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Some(text.lines().next()?.split(" (").next()?.to_owned())
}

struct Bench<'a> {
    options: &'a Options,
    material: Material,
    with_qemu: bool,
    figures: Figures,
}

impl Bench<'_> {
    fn ring3(&self, kernel: &Path, initrd: &Path, cpus: &str, command_line: &str) -> Command {
        let mut command = Command::new(&self.options.ring3);
        command
            .args(["boot", "--cpus", cpus])
            .args(["--mem", &format!("{}M", MEMORY_BYTES >> 20)])
            .arg("--kernel")
            .arg(kernel)
            .arg("--initrd")
            .arg(initrd)
            .args(["--append", command_line]);
        command
    }

    fn qemu(&self, kernel: &Path, initrd: &Path, cpus: &str, command_line: &str) -> Command {
        let mut command = Command::new(QEMU);
        command
            .args(["-M", "pc", "-accel", "tcg", "-cpu", &self.options.qemu_cpu])
            .args(["-smp", cpus, "-m", &format!("{}M", MEMORY_BYTES >> 20)])
            .args(["-nodefaults", "-no-user-config", "-display", "none"])
            .args(["-serial", "stdio", "-no-reboot"])
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(initrd)
            .args(["-append", command_line]);
        command
    }

    /// Both emulators boot once; then each program runs by turns in one and the other.
    fn programs(&mut self) -> Result<()> {
        let wanted: Vec<_> = PROGRAMS
            .iter()
            .filter(|program| self.options.wants(program.name))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let (kernel, programs) = (&self.material.kernel, &self.material.programs);
        let line = &self.material.command_line;
        progress::say("booting the machines for the programs");
        let mut command = self.ring3(kernel, programs, CPUS, line);
        command.arg("--json");
        let mut ring3 = Console::start(command, true)?;
        let mut qemu = match self.with_qemu {
            true => Some(Console::start(
                self.qemu(kernel, programs, CPUS, line),
                false,
            )?),
            false => None,
        };
        let mut resident = [Resident::default(); 2];
        let divisor = if self.options.quick { 10 } else { 1 };
        for program in wanted {
            let mut row = ProgramRow {
                name: program.name.into(),
                command: program.command(divisor),
                two_processors: program.uses_two_processors(),
                ring3: Vec::new(),
                qemu: Vec::new(),
            };
            for sample in 1..=self.options.samples() {
                progress::say(&format!("{} ({sample})", program.name));
                row.ring3.push(ring3.measure(&row.command)?);
                if let Some(qemu) = &mut qemu {
                    row.qemu.push(qemu.measure(&row.command)?);
                }
            }
            let processes = [Some(ring3.process()), qemu.as_ref().map(Console::process)];
            for (resident, process) in resident.iter_mut().zip(processes) {
                if let Some(now) = process.and_then(|id| memory::of(id, MEMORY_BYTES)) {
                    resident.add(now);
                }
            }
            self.figures.programs.push(row);
        }
        ring3.end()?;
        if let Some(qemu) = qemu {
            qemu.end()?;
        }
        if self.options.wants("memory-use") {
            self.memory_row("Ring3, the programs above", resident[0]);
            if self.with_qemu {
                self.memory_row("QEMU, the programs above", resident[1]);
            }
        }
        Ok(())
    }

    fn memory_row(&mut self, name: &str, resident: Resident) {
        self.figures.memory.push(MemoryRow {
            name: name.into(),
            resident,
        });
    }

    fn boots(&mut self) -> Result<()> {
        if !self.options.wants("boot") {
            return Ok(());
        }
        let Some(busybox) = self.material.busybox.clone() else {
            progress::remark("busybox-static is not installed: no row for booting");
            return Ok(());
        };
        let kernel = self.material.kernel.clone();
        // Short: as default guests boot. Full: as the kernel boots by itself.
        let short = self.material.command_line.clone();
        let full = short.replace("cryptomgr.notests", "");
        let statistics = self.material.folder.path().join("statistics");
        let ring3 = |entry: &str, line: &str| {
            let mut command = self.ring3(&kernel, &busybox, "1", line);
            command
                .args(["--entry", entry, "--json", "--stats-file"])
                .arg(&statistics);
            command
        };
        let mut commands = vec![
            (
                "Ring3, decompressed, without self-tests",
                ring3("direct", &short),
            ),
            (
                "Ring3, compressed, with self-tests",
                ring3("compressed", &full),
            ),
        ];
        if self.with_qemu {
            if let Some(vmlinux) = &self.material.vmlinux {
                commands.push((
                    "QEMU, decompressed, without self-tests",
                    self.qemu(vmlinux, &busybox, "1", &short),
                ));
            }
            commands.push((
                "QEMU, compressed, with self-tests",
                self.qemu(&kernel, &busybox, "1", &full),
            ));
        }
        let mut rows: Vec<BootRow> = commands
            .iter()
            .map(|(name, _)| BootRow {
                name: (*name).into(),
                runs: Vec::new(),
                instructions: None,
            })
            .collect();
        for sample in 1..=self.options.samples() {
            for (row, (name, command)) in rows.iter_mut().zip(&mut commands) {
                progress::say(&format!("boot: {name} ({sample})"));
                let run = processes::run(command)?;
                if !run.output.lines().any(|line| line.trim() == "up") {
                    return Err(format!(
                        "{name}: the guest did not come up:\n{}",
                        run.output
                    ));
                }
                row.runs.push(run);
                if name.starts_with("Ring3") {
                    row.instructions = instructions_in(&statistics)?;
                }
            }
        }
        self.figures.boots = rows;
        Ok(())
    }

    fn run_hello(&self, cache: Option<&Path>) -> Command {
        let mut command = Command::new(&self.options.ring3);
        command.arg("run").arg(&self.material.hello);
        if let Some(cache) = cache {
            command.env("XDG_CACHE_HOME", cache);
        }
        command
    }

    fn starts(&mut self) -> Result<()> {
        if self.options.wants("first-run") {
            self.first_run()?;
        }
        if self.options.wants("run") {
            // The first of them may have to make the snapshot.
            processes::run(&mut self.run_hello(None))?;
            let mut runs = Vec::new();
            for sample in 1..=if self.options.quick { 3 } else { STARTS } {
                progress::say(&format!("ring3 run of a hello world ({sample})"));
                runs.push(self.checked_hello(None)?);
            }
            self.start_row("ring3 run hello, from the snapshot", runs);
        }
        Ok(())
    }

    fn checked_hello(&self, cache: Option<&Path>) -> Result<Whole> {
        let run = processes::run(&mut self.run_hello(cache))?;
        match run.output.as_str() {
            "hello\n" => Ok(run),
            other => Err(format!("hello said {other:?}")),
        }
    }

    /// In an empty cache, except that downloaded packages are at hand: the network is not what is measured.
    fn first_run(&mut self) -> Result<()> {
        progress::say("the default guest is made and booted for the first time");
        let cache = self.material.folder.path().join("cache");
        let ours = cache.join("ring3");
        let failed = |error: std::io::Error| format!("no temporary cache: {error}");
        std::fs::create_dir_all(&ours).map_err(failed)?;
        let packages = ring3_guest::default_cache_folder()
            .map_err(|error| error.to_string())?
            .join("packages");
        if packages.is_dir() {
            std::os::unix::fs::symlink(packages, ours.join("packages")).map_err(failed)?;
        }
        let mut build = Command::new(&self.options.ring3);
        build.args(["guest", "build"]).env("XDG_CACHE_HOME", &cache);
        let built = processes::run(&mut build)?;
        self.start_row("making the default guest", vec![built]);
        let first = self.checked_hello(Some(&cache))?;
        self.start_row("ring3 run hello, the guest's first boot", vec![first]);
        Ok(())
    }

    fn start_row(&mut self, name: &str, runs: Vec<Whole>) {
        self.figures.starts.push(StartRow {
            name: name.into(),
            runs,
        });
    }

    fn memory(&mut self) -> Result<()> {
        if !self.options.wants("memory-use") {
            return Ok(());
        }
        progress::say("memory");
        let resident = processes::watch_memory(&mut self.run_hello(None), MEMORY_BYTES)?;
        self.memory_row("Ring3, ring3 run hello", resident);
        let Some(busybox) = self.material.busybox.clone() else {
            return Ok(());
        };
        let (kernel, line) = (&self.material.kernel, &self.material.command_line);
        let mut command = self.ring3(kernel, &busybox, "1", line);
        let ring3 = processes::watch_memory(&mut command, MEMORY_BYTES)?;
        let qemu = match self.with_qemu {
            true => Some(processes::watch_memory(
                &mut self.qemu(kernel, &busybox, "1", line),
                MEMORY_BYTES,
            )?),
            false => None,
        };
        self.memory_row("Ring3, boot to busybox", ring3);
        if let Some(qemu) = qemu {
            self.memory_row("QEMU, boot to busybox", qemu);
        }
        Ok(())
    }
}

fn instructions_in(statistics: &Path) -> Result<Option<u64>> {
    let text = std::fs::read_to_string(statistics)
        .map_err(|error| format!("Ring3 wrote no statistics: {error}"))?;
    let report: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| format!("Ring3's statistics are no JSON: {error}"))?;
    Ok(report["run"]["instructions"].as_u64())
}
