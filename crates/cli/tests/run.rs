//! `ring3 run` from the outside: programs of this computer in the default guest.
//!
//! These tests need a guest, and say so where there can be none.

mod support;

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use support::*;

fn in_guest(options: &[&str], program: &[&str]) -> Output {
    run([&["run"], options, program].concat())
}

fn shell(script: &str) -> Output {
    in_guest(&[], &["/bin/sh", "-c", script])
}

#[test]
fn what_cannot_be_run_is_said_before_a_guest_is_made() {
    // An empty cache: a guest would take a minute.
    let (folder, _) = file("unused", b"");
    let run = |words: &[&str]| {
        ring3()
            .env("XDG_CACHE_HOME", folder.path())
            .env("PATH", "/usr/bin:/bin")
            .arg("run")
            .args(words)
            .output()
            .unwrap()
    };
    assert_failure(
        &run(&["./nosuchprogram"]),
        127,
        &["no program ./nosuchprogram"],
    );
    assert_failure(&run(&["nosuchprogram"]), 127, &["PATH"]);
    assert_failure(&run(&["/"]), 126, &["folder"]);
    let (_text_folder, text) = file("text", b"just words\n");
    assert_failure(
        &run(&[text.to_str().unwrap()]),
        126,
        &["not a program", "ELF"],
    );
    let (_elf_folder, elf) = file("elf", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    assert_failure(&run(&[elf.to_str().unwrap()]), 126, &["elf"]);
    let (_script_folder, script) = file("script", b"#!/bin/sh\n");
    assert_failure(
        &run(&[script.to_str().unwrap()]),
        126,
        &["not executable", "chmod +x"],
    );
    let (_c_folder, broken) = file("broken.c", b"int main(void) { return undeclared; }\n");
    assert_failure(
        &run(&[broken.to_str().unwrap()]),
        126,
        &["does not compile", "undeclared"],
    );
    assert_failure(
        &run(&["--copy", "/nonexistent", "/bin/true"]),
        125,
        &["--copy", "/nonexistent"],
    );
    assert_failure(
        &run(&["--env", "=x", "/bin/true"]),
        125,
        &["--env", "NAME=VALUE"],
    );
    assert_failure(
        &run(&["--env", "RING3_UNSET_HERE", "/bin/true"]),
        125,
        &["no such variable"],
    );
    assert_failure(
        &run(&["--cflags", "'-O2", "/bin/true"]),
        125,
        &["quotation"],
    );
    assert_failure(&run(&["--mem", "64", "/bin/true"]), 125, &["--mem"]);
    assert!(!folder.path().join("ring3/guests").exists());
}

#[test]
fn streams_and_exit_status_are_the_programs() {
    if !has_guest() {
        return;
    }
    let output = shell("echo to output; echo to error >&2; exit 7");
    assert_eq!(stdout(&output), "to output\n");
    assert_eq!(stderr(&output), "to error\n");
    assert_eq!(status(&output), 7);
    let output = in_guest(
        &[],
        &["/bin/echo", "--help-me", "-v", "--", "two  words", ""],
    );
    assert_eq!(stdout(&output), "--help-me -v -- two  words \n");
    assert_eq!((stderr(&output).as_str(), status(&output)), ("", 0));
    // Killed by a signal, with silence on standard error: nobody is there to be told.
    let output = shell("kill -SEGV $$");
    assert_eq!((stderr(&output).as_str(), status(&output)), ("", 139));
    let output = in_guest(
        &["--max-instructions", "20M"],
        &["/bin/sh", "-c", "while :; do :; done"],
    );
    assert_failure(&output, 124, &["20.0 million", "--max-instructions"]);
    // Environment, from here and given, and nothing else.
    let output = ring3()
        .env("RING3_FROM_HERE", "one")
        .env("RING3_NOT_ASKED_FOR", "two")
        .args([
            "run",
            "-e",
            "RING3_FROM_HERE",
            "--env",
            "GIVEN=three=3",
            "/usr/bin/env",
        ])
        .output()
        .unwrap();
    let text = stdout(&output);
    assert!(
        text.contains("RING3_FROM_HERE=one\n") && text.contains("GIVEN=three=3\n"),
        "{text}"
    );
    assert!(!text.contains("NOT_ASKED_FOR"), "{text}");
}

#[test]
fn a_program_ends_as_it_would_when_nobody_reads() {
    if !has_guest() {
        return;
    }
    let mut child = ring3()
        .args(["run", "yes"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut some = [0; 4];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    assert_eq!(&some, b"y\ny\n");
    assert_eq!(child.wait().unwrap().code(), Some(141));
    // Even if it does not care.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = ring3()
        .args([
            "run",
            "/bin/sh",
            "-c",
            "trap '' PIPE; while :; do echo 0123456789012345678901234567890123456789; done",
        ])
        .stdout(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(141));
}

#[test]
fn input_comes_from_files_and_pipes() {
    if !has_guest() {
        return;
    }
    let text: String = (0..30_000).map(|n| format!("line {n}\n")).collect();
    let (_folder, path) = file("input", text.as_bytes());
    let output = ring3()
        .args(["run", "cat"])
        .stdin(std::fs::File::open(&path).unwrap())
        .output()
        .unwrap();
    assert!(stdout(&output) == text, "{}", stderr(&output));
    let output = run_with_pipe(["run", "cat"], text.as_bytes());
    assert!(stdout(&output) == text, "{}", stderr(&output));
    // The end of input is seen, and a program need not wait for it.
    assert_eq!(stdout(&run_with_pipe(["run", "wc", "-c"], b"")), "0\n");
    assert_eq!(status(&run_with_pipe(["run", "true"], text.as_bytes())), 0);
}

#[test]
fn a_c_file_is_compiled_and_run() {
    if !has_guest() {
        return;
    }
    let (folder, path) = file(
        "sample.c",
        b"#include <stdio.h>\n#include <unistd.h>\n#ifndef VALUE\n#define VALUE 3\n#endif\n\
          int main(int c, char **v) { printf(\"%d %s %ld\\n\", c, v[1], sysconf(_SC_NPROCESSORS_ONLN)); return VALUE; }\n",
    );
    let sample = path.to_str().unwrap();
    let output = in_guest(&[], &[sample, "argument"]);
    assert_eq!(
        (stdout(&output).as_str(), status(&output)),
        ("2 argument 2\n", 3)
    );
    let output = in_guest(
        &["--cflags", "-O1 '-DVALUE=40 + 2'", "--cpus", "1"],
        &[sample, "x"],
    );
    assert_eq!((stdout(&output).as_str(), status(&output)), ("2 x 1\n", 42));
    // Files that are taken along.
    std::fs::write(folder.path().join("data"), "contents").unwrap();
    let output = ring3()
        .current_dir(folder.path())
        .args([
            "run",
            "--copy",
            "data",
            "--copy",
            "data:/elsewhere/",
            "cat",
            "data",
            "/elsewhere/data",
        ])
        .output()
        .unwrap();
    assert_eq!(stdout(&output), "contentscontents", "{}", stderr(&output));
}

/// The sums, sorts, hashes and products of the example, compiled for AVX2, are those of this computer.
#[test]
fn a_program_for_a_newer_processor_does_what_it_does_here() {
    let here = ["avx2", "fma", "bmi1", "bmi2", "f16c", "sse4.2"];
    let missing = [
        is_x86_feature_detected!("avx2"),
        is_x86_feature_detected!("fma"),
        is_x86_feature_detected!("bmi1"),
        is_x86_feature_detected!("bmi2"),
        is_x86_feature_detected!("f16c"),
        is_x86_feature_detected!("sse4.2"),
    ];
    if !has_guest() {
        return;
    }
    if let Some(n) = missing.iter().position(|has| !has) {
        println!("left out: this computer has no {}", here[n]);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("vectors");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/vectors.c");
    let compiled = std::process::Command::new("gcc")
        .args(["-O3", "-march=x86-64-v3", source, "-lm", "-o"])
        .arg(&program)
        .status()
        .unwrap();
    assert!(compiled.success());
    let natively = std::process::Command::new(&program).output().unwrap();
    assert!(natively.stdout.len() > 500);
    let program = program.to_str().unwrap();
    for cpu in ["x86-64-v3", "spr"] {
        let output = in_guest(&["--cpu", cpu], &[program]);
        assert_eq!(stdout(&output), stdout(&natively), "{}", stderr(&output));
    }
    // Where these instructions do not exist it says so.
    let output = in_guest(&["--cpu", "x86-64-v2"], &[program]);
    assert_eq!(status(&output), 77, "{}", stderr(&output));
}

#[test]
fn runs_are_the_same_with_and_without_a_snapshot() {
    if !has_guest() {
        return;
    }
    // A seed of its own has a snapshot of its own.
    let seed = seed_without_a_snapshot(1_000_000);
    let report = || {
        let output = in_guest(
            &["--json", "--seed", &seed],
            &[
                "/bin/sh",
                "-c",
                "for i in 1 2 3; do (echo $i) & done; wait; read id < /proc/sys/kernel/random/uuid; echo $id",
            ],
        );
        assert_eq!(status(&output), 0, "{}", stderr(&output));
        let said = stderr(&output);
        let value: serde_json::Value = serde_json::from_str(&said).expect(&said);
        (
            stdout(&output),
            value["run"].clone(),
            value["host"]["from_snapshot"].clone(),
        )
    };
    let (first, second, third) = (report(), report(), report());
    assert_eq!((&first.2, &second.2), (&false.into(), &true.into()));
    assert_eq!((&first.0, &first.1), (&second.0, &second.1));
    assert_eq!((&third.0, &third.1), (&second.0, &second.1));
    // A snapshot that was damaged is not used, and not an error.
    let snapshot = snapshots()
        .into_iter()
        .find(|path| path.to_string_lossy().contains(&format!("seed{seed}-")))
        .expect("it was kept");
    let mut bytes = std::fs::read(&snapshot).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&snapshot, bytes).unwrap();
    let (output, run, from_snapshot) = report();
    assert_eq!((output, run), (second.0, second.1));
    assert_eq!(from_snapshot, false);
    for path in snapshots() {
        if path.to_string_lossy().contains(&format!("seed{seed}-")) {
            std::fs::remove_file(path).unwrap();
        }
    }
}

/// A seed with which no guest has been booted yet. Process numbers come again, so others' leavings may be there.
fn seed_without_a_snapshot(from: u32) -> String {
    let seed = format!("{}", from + std::process::id());
    for path in snapshots() {
        if path.to_string_lossy().contains(&format!("seed{seed}-")) {
            std::fs::remove_file(path).unwrap();
        }
    }
    seed
}

fn snapshots() -> Vec<std::path::PathBuf> {
    let guests = std::fs::read_dir(cache().join("ring3/guests")).unwrap();
    guests
        .flat_map(|guest| std::fs::read_dir(guest.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("snapshot-") && !name.ends_with(".json")
        })
        .collect()
}

#[test]
fn a_wait_makes_no_one_wait() {
    if !has_guest() {
        return;
    }
    // Almost three hours of the guest's time; if they were the host's, this would be noticed.
    assert_eq!(status(&in_guest(&[], &["sleep", "10000"])), 0);
}

#[test]
fn memory_that_does_not_suffice_is_said() {
    if !has_guest() {
        return;
    }
    let output = in_guest(
        &["--mem", "192M"],
        &[
            "/bin/sh",
            "-c",
            "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done",
        ],
    );
    assert_failure(&output, 137, &["out of memory", "--mem"]);
    // Too little even for the kernel.
    let output = in_guest(&["--mem", "16M"], &["/bin/true"]);
    assert_failure(&output, 125, &["memory"]);
}

#[test]
fn signals_are_passed_on() {
    if !has_guest() {
        return;
    }
    let start = |script: &str| {
        let mut child = ring3()
            .args(["run", "/bin/sh", "-c", script])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut word = [0; 6];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut word)
            .unwrap();
        assert_eq!(&word, b"ready\n");
        child
    };
    let send = |name: &str, child: &Child| {
        let done = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(child.id().to_string())
            .status()
            .unwrap();
        assert!(done.success());
    };
    // A program without a handler dies of it; one with a handler does what it does.
    let mut child = start("echo ready; while :; do :; done");
    send("TERM", &child);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let mut child = start("trap 'echo caught; exit 5' INT; echo ready; while :; do :; done");
    send("INT", &child);
    assert_eq!(child.wait().unwrap().code(), Some(5));
    let mut rest = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut rest)
        .unwrap();
    assert_eq!(rest, "caught\n");
    // One that ignores it is stopped by a second one soon after, however long this test takes to send two.
    let mut child = start("trap '' INT; echo ready; while :; do :; done");
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert_eq!(status.code(), Some(130));
            break;
        }
        send("INT", &child);
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A terminal with a person at it.
struct Person {
    child: Child,
    screen: std::fs::File,
    seen: Vec<u8>,
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Person {
    /// Types a command line of ring3 into a terminal.
    fn starts(words: &[&str]) -> Person {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&screen).unwrap();
        unlockpt(&screen).unwrap();
        let name = ptsname(&screen, Vec::new()).unwrap();
        let size = rustix::termios::Winsize {
            ws_row: 33,
            ws_col: 101,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&screen, size).unwrap();
        let side = || -> OwnedFd {
            let path = Path::new(name.to_str().unwrap());
            let file = std::fs::File::options().read(true).write(true).open(path);
            file.unwrap().into()
        };
        // setsid(1) makes the terminal the one that controls ring3.
        let child = Command::new("setsid")
            .args(["--ctty", "env", "--default-signal"])
            .arg(env!("CARGO_BIN_EXE_ring3"))
            .args(words)
            .env("XDG_CACHE_HOME", cache())
            .env("TERM", "xterm")
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .unwrap();
        Person {
            child,
            screen: std::fs::File::from(screen),
            seen: Vec::new(),
        }
    }

    fn types(&mut self, text: &str) {
        self.screen.write_all(text.as_bytes()).unwrap();
    }

    /// Looks at the terminal until the text stands there, behind what was waited for before.
    fn waits_for(&mut self, text: &str) {
        loop {
            let seen = String::from_utf8_lossy(&self.seen).into_owned();
            if let Some(at) = seen.find(text) {
                self.seen = seen.as_bytes()[at + text.len()..].to_vec();
                return;
            }
            let mut buffer = [0; 4096];
            match self.screen.read(&mut buffer) {
                Ok(count) => self.seen.extend(&buffer[..count]),
                Err(error) => panic!("{text:?} has not come: {seen:?}, {error}"),
            }
        }
    }

    /// Waits for the end; the exit status and whether the terminal has its old modes again.
    fn ends(mut self) -> (Option<i32>, String) {
        let mut buffer = [0; 4096];
        // The terminal fails with EIO once nobody has it open.
        while let Ok(count @ 1..) = self.screen.read(&mut buffer) {
            self.seen.extend(&buffer[..count]);
        }
        let status = self.child.wait().unwrap().code();
        use rustix::termios::{LocalModes, tcgetattr};
        let modes = tcgetattr(&self.screen).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
        (status, String::from_utf8_lossy(&self.seen).into_owned())
    }
}

#[test]
fn a_person_has_a_terminal() {
    if !has_guest() {
        return;
    }
    let mut person = Person::starts(&["run", "/bin/sh", "-i"]);
    person.waits_for("# ");
    person.types("echo $((6 * 7)) $TERM\r");
    person.waits_for("42 xterm\r\n");
    person.waits_for("# ");
    // Ctrl-C is a key.
    person.types("while :; do :; done\r");
    person.types("\x03");
    person.waits_for("^C");
    person.waits_for("# ");
    person.types("exit 9\r");
    let (status, rest) = person.ends();
    assert_eq!(status, Some(9), "{rest}");
    // Ctrl-C twice.
    let mut person = Person::starts(&[
        "run",
        "/bin/sh",
        "-c",
        "trap '' INT; echo ready; while :; do :; done",
    ]);
    person.waits_for("ready\r\n");
    // Both within a second, however busy this computer is: they arrive together.
    person.types("\x03\x03");
    assert_eq!(person.ends().0, Some(130));
    // What a program may have missed.
    let (folder, path) = file("forgotten", b"");
    let name = path.to_str().unwrap();
    let person = Person::starts(&["run", "/bin/cat", name]);
    let (status, rest) = person.ends();
    assert_eq!(status, Some(1));
    assert!(
        rest.contains(&format!("--copy {name} takes it along")),
        "{rest:?}"
    );
    drop(folder);
    // What a shell would say of a signal.
    let person = Person::starts(&["run", "/bin/sh", "-c", "kill -SEGV $$"]);
    let (status, rest) = person.ends();
    assert_eq!(status, Some(139));
    assert!(
        rest.contains("ring3: killed by SIGSEGV (signal 11)\r\n"),
        "{rest:?}"
    );
}

#[test]
fn a_person_can_wait_for_a_guest() {
    if !has_guest() {
        return;
    }
    // A seed nobody has a snapshot of: the guest boots, and a line tells how far it is.
    let seed = seed_without_a_snapshot(2_000_000);
    let mut person = Person::starts(&["run", "--seed", &seed, "/bin/echo", "words"]);
    person.waits_for("booting Linux ");
    person.waits_for("instructions");
    // The line is gone before the program's first word.
    person.waits_for("\r\x1b[Kwords\r\n");
    assert_eq!(person.ends().0, Some(0));
    // And whoever cannot wait need not.
    let seed = seed_without_a_snapshot(3_000_000);
    let forever = ["/bin/sh", "-c", "while :; do :; done"];
    let mut person = Person::starts(&[&["run", "--seed", &seed], &forever[..]].concat());
    person.waits_for("booting Linux ");
    person.types("\x03");
    assert_eq!(person.ends().0, Some(130));
}

#[test]
fn a_person_has_a_console() {
    let kernel = Code::default()
        .print("ready\r\n")
        .echo_until(b'!')
        .exit(3)
        .image();
    let (_folder, kernel) = file("kernel", &kernel);
    let words = ["boot", "--kernel", kernel.to_str().unwrap()];
    let mut person = Person::starts(&words);
    person.waits_for("ready\r\n");
    // Every key is the guest's, but for one.
    person.types("ab\x03c\x01\x01d");
    person.waits_for("ab\x03c\x01d");
    person.types("\x01h");
    person.waits_for("Ctrl-A X  leave");
    person.types("\x01i");
    person.waits_for("processor 0: rip 0x1000");
    person.types("!");
    let (status, rest) = person.ends();
    assert_eq!(status, Some(3));
    assert!(rest.contains("debug-exit"), "{rest}");
    let mut person = Person::starts(&words);
    person.waits_for("ready\r\n");
    person.types("\x01x");
    assert_eq!(person.ends().0, Some(0));
}

#[test]
fn guests_are_listed_with_what_they_are() {
    if !has_guest() {
        return;
    }
    let identity = stdout(&run(["guest", "build"])).trim().to_owned();
    let listed = stdout(&run(["guest", "list", "--json"]));
    let line = listed
        .lines()
        .find(|line| line.contains(&format!("\"{identity}\"")))
        .expect("it is listed");
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(value["kind"], "guest");
    assert!(value["kernel"].as_str().unwrap().contains("6.1"));
    assert_eq!(value["damage"], serde_json::Value::Null);
    // Snapshots are mostly holes; what they take is what counts.
    assert!(value["bytes"].as_u64().unwrap() < 2 << 30, "{line}");
    assert!(stdout(&run(["guest", "list"])).contains(&identity));
    // By its whole name, it can be run in.
    let output = in_guest(&["--guest", &identity], &["/bin/echo", "here"]);
    assert_eq!(stdout(&output), "here\n", "{}", stderr(&output));
}
