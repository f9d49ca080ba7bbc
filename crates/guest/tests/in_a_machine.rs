//! Programs in the default guest, for real: every test restores a booted machine and runs a job in it.

mod machine;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use machine::{Machine, Run, Snapshot};
use ring3_guest::protocol::Terminal;
use ring3_guest::*;

/// A module that loads anywhere, in the place of the project's, which wants user interrupts.
const STAND_IN: &str = "#include <linux/module.h>\nMODULE_LICENSE(\"GPL\");\n\
    static int __init start(void) { return 0; }\nmodule_init(start);\n";

struct Bench {
    guest: Guest,
    snapshot: Snapshot,
    warnings: Vec<String>,
    console: String,
    programs: PathBuf,
}

fn module(text: &str) -> UintrModule {
    UintrModule::Sources(vec![
        ("Kbuild".into(), b"obj-m := ring3_uintr.o\n".to_vec()),
        ("ring3_uintr.c".into(), text.into()),
    ])
}

fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest-cache")
}

fn prepare(uintr: UintrModule) -> Result<Guest, Error> {
    GuestBuilder::new()
        .cache(cache())
        .uintr(uintr)
        .prepare(&mut |line| eprintln!("{line}"))
}

/// The guest, booted once for all tests; `None` where it cannot be had.
fn bench() -> Option<&'static Bench> {
    static BENCH: OnceLock<Option<Bench>> = OnceLock::new();
    let bench = BENCH
        .get_or_init(|| {
            if !machine::is_there() {
                eprintln!("no qemu-system-x86_64 on this host");
                return None;
            }
            let guest = match prepare(module(STAND_IN)) {
                Ok(guest) => guest,
                Err(error)
                    if matches!(
                        error.problem(),
                        Problem::KernelNotFound | Problem::HeadersNotFound | Problem::ToolMissing
                    ) =>
                {
                    eprintln!("no kernel to be had: {error}");
                    return None;
                }
                Err(error) => panic!("{error}"),
            };
            let (snapshot, warnings, console) = Snapshot::take(&guest, 256, 1);
            let programs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs");
            fs::create_dir_all(&programs).unwrap();
            Some(Bench {
                guest,
                snapshot,
                warnings,
                console,
                programs,
            })
        })
        .as_ref();
    if bench.is_none() {
        eprintln!("skipped");
    }
    bench
}

impl Bench {
    fn job(&self, builder: JobBuilder) -> Job {
        builder
            .cache(cache())
            .prepare(&self.guest.contents(), &mut |line| eprintln!("{line}"))
            .unwrap()
    }

    fn run(&self, builder: JobBuilder) -> Run {
        self.snapshot
            .run(&self.guest, &self.job(builder), |_, _| false)
    }

    fn c(&self, name: &str, text: &str) -> PathBuf {
        let path = self.programs.join(format!("{name}.c"));
        fs::write(&path, text).unwrap();
        path
    }

    fn shell(&self, script: &str) -> Run {
        self.run(JobBuilder::new("/bin/sh").arguments(["-c", script]))
    }
}

#[test]
fn boots_without_a_word() {
    let Some(bench) = bench() else { return };
    assert_eq!(bench.warnings, Vec::<String>::new());
    // The stand-in is not signed, which the kernel says; nothing else may be said.
    let said: Vec<&str> = bench
        .console
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let expected = |line: &&str| {
        line.contains("loading out-of-tree module") || line.contains("module verification failed")
    };
    assert!(said.iter().all(expected), "{said:?}");
}

#[test]
fn static_and_dynamic_programs() {
    let Some(bench) = bench() else { return };
    let source = bench.c(
        "hello",
        "#include <stdio.h>\nint main(void) { printf(\"hello\\n\"); return 42; }",
    );
    let run = bench.run(JobBuilder::new(&source));
    assert_eq!((run.text().as_str(), run.status()), ("hello\n", 42));
    let flags = ["-O2", "-static"].map(str::to_owned).to_vec();
    let run = bench.run(JobBuilder::new(&source).c_flags(flags));
    assert_eq!(
        (run.text().as_str(), run.errors().as_str(), run.status()),
        ("hello\n", "", 42)
    );
}
