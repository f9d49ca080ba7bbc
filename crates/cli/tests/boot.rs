//! `ring3 boot` from the outside: images that end in every way, and files that are none.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use support::*;

fn boot_with(code: Code, options: &[&str]) -> std::process::Output {
    let (_folder, path) = file("kernel", &code.image());
    ring3()
        .arg("boot")
        .arg("--kernel")
        .arg(path)
        .args(options)
        .output()
        .unwrap()
}

#[test]
fn prints_and_ends_with_the_status_of_the_debug_exit_port() {
    for value in [0, 1, 7, 200] {
        let output = boot_with(Code::default().print("Hello\r\n").exit(value), &[]);
        assert_eq!(stdout(&output), "Hello\r\n");
        assert_eq!(stderr(&output), "");
        assert_eq!(status(&output), i32::from(value));
    }
}

#[test]
fn power_off_and_reset_are_successes() {
    let output = boot_with(Code::default().print("off").power_off().spin(), &[]);
    assert_eq!((stdout(&output).as_str(), status(&output)), ("off", 0));
    let output = boot_with(Code::default().print("reset").reset().spin(), &["-v"]);
    assert_eq!((stdout(&output).as_str(), status(&output)), ("reset", 0));
    assert!(stderr(&output).contains("restart"));
}

#[test]
fn every_other_end_is_explained() {
    let output = boot_with(Code::default().print("before").halt(), &[]);
    assert_eq!(stdout(&output), "before");
    assert_failure(&output, 123, &["stuck", "interrupts disabled"]);
    let output = boot_with(Code::default().spin(), &["--max-instructions", "10k"]);
    assert_failure(&output, 124, &["limit", "--max-instructions"]);
    let output = boot_with(Code::default().stack().triple_fault(), &[]);
    assert_failure(
        &output,
        125,
        &["triple fault", "rip 0x10002d", "idt 0x0 limit 0x0"],
    );
}

#[test]
fn input_reaches_the_guest_from_a_file_and_from_a_pipe() {
    // Longer than the port's FIFO.
    let text = "The quick brown fox jumps over the lazy dog, several times in a row.!";
    let (_folder, kernel) = file("kernel", &Code::default().echo_until(b'!').exit(3).image());
    let (_input_folder, input) = file("input", text.as_bytes());
    let arguments = ["boot".as_ref(), "--kernel".as_ref(), kernel.as_os_str()];
    let from_file = ring3()
        .args(arguments)
        .args(["--json", "--stats"])
        .stdin(std::fs::File::open(&input).unwrap())
        .output()
        .unwrap();
    assert_eq!((stdout(&from_file).as_str(), status(&from_file)), (text, 3));
    let from_pipe = run_with_pipe(arguments, text.as_bytes());
    assert_eq!((stdout(&from_pipe).as_str(), status(&from_pipe)), (text, 3));
    // The run with a file is the same every time, bit for bit.
    let again = ring3()
        .args(arguments)
        .args(["--json", "--stats"])
        .stdin(std::fs::File::open(&input).unwrap())
        .output()
        .unwrap();
    let run = |output: &std::process::Output| {
        let said = stderr(output);
        said.split("\"host\"").next().unwrap().to_owned()
    };
    assert!(run(&again).contains("\"instructions\":"));
    assert_eq!(run(&from_file), run(&again));
    // A script's Ctrl-A is data.
    let output = run_with_pipe(arguments, b"\x01x!");
    assert_eq!((stdout(&output).as_str(), status(&output)), ("\x01x!", 3));
}

#[test]
fn a_guest_that_waits_for_input_that_ended_runs_on() {
    let (_folder, kernel) = file("kernel", &Code::default().echo_until(b'!').exit(3).image());
    let output = ring3()
        .arg("boot")
        .arg("--kernel")
        .arg(kernel)
        .args(["--max-instructions", "3M"])
        .output()
        .unwrap();
    assert_failure(&output, 124, &["limit"]);
}

#[test]
fn a_signal_asks_for_the_statistics_so_far() {
    use std::io::{BufRead, BufReader, Read, Write};
    let code = Code::default().print("x").echo_until(b'!').exit(3);
    let (_folder, kernel) = file("kernel", &code.image());
    let mut child = ring3()
        .args(["boot", "--json", "--kernel"])
        .arg(kernel)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    output.read_exact(&mut [0]).unwrap();
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::USR1).unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut report =
        || -> serde_json::Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let so_far = report();
    assert!(so_far["run"]["exit_status"].is_null());
    child.stdin.take().unwrap().write_all(b"!").unwrap();
    let last = report();
    assert_eq!(last["run"]["exit_status"], 3);
    let instructions = |report: &serde_json::Value| report["run"]["instructions"].as_u64().unwrap();
    assert!(instructions(&so_far) > 0);
    assert!(instructions(&so_far) < instructions(&last));
    child.wait().unwrap();
}

#[test]
fn statistics_go_where_they_should() {
    let (folder, _) = file("unused", b"");
    let path = folder.path().join("stats.json");
    let output = boot_with(
        Code::default().print("x").exit(5),
        &[
            "--json",
            "--stats-file",
            path.to_str().unwrap(),
            "--cpus",
            "3",
            "--seed",
            "9",
        ],
    );
    assert_eq!(stderr(&output), "");
    let text = std::fs::read_to_string(&path).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["run"]["exit_status"], 5);
    assert_eq!(value["run"]["cpus"], 3);
    assert_eq!(value["run"]["cpu"], "x86-64-v3");
    assert_eq!(value["run"]["seed"], 9);
    assert_eq!(value["run"]["memory_bytes"], 512 << 20);
    // mov dx; mov al; out, twice; the machine ends with the last one.
    assert_eq!(value["run"]["instructions"], 6);
    let output = boot_with(Code::default().print("x").exit(0), &["--stats"]);
    assert!(stderr(&output).contains("instructions"));
    assert!(stderr(&output).contains("MIPS"));
}

#[test]
fn files_that_are_no_kernel_are_refused() {
    let boot = |arguments: &[&str]| run([&["boot"], arguments].concat());
    let output = boot(&["--kernel", "/nonexistent/kernel"]);
    assert_failure(
        &output,
        125,
        &["/nonexistent/kernel", "No such file", "check the path"],
    );
    let (_folder, text) = file("kernel", b"#!/bin/sh\necho I am no kernel\n");
    let output = boot(&["--kernel", text.to_str().unwrap()]);
    assert_failure(&output, 125, &["bzImage", "Multiboot", "ring3 run"]);
    let (_folder, empty) = file("kernel", b"");
    assert_failure(
        &boot(&["--kernel", empty.to_str().unwrap()]),
        125,
        &["kernel"],
    );
    let output = boot(&["--kernel", "/"]);
    assert_failure(&output, 125, &["directory"]);
    // A program is an ELF file too, but no kernel.
    let output = boot(&["--kernel", "/bin/sh"]);
    assert_failure(&output, 125, &["/bin/sh"]);
    let (_folder, good) = file("kernel", &Code::default().exit(0).image());
    let output = boot(&["--kernel", good.to_str().unwrap(), "--entry", "pvh"]);
    assert_failure(&output, 125, &["PVH", "Multiboot", "--entry"]);
    let output = boot(&[
        "--kernel",
        good.to_str().unwrap(),
        "--initrd",
        "/nonexistent/initrd",
    ]);
    assert_failure(&output, 125, &["initrd", "/nonexistent/initrd"]);
    let mut truncated = Code::default()
        .print("long enough to be cut")
        .exit(0)
        .image();
    truncated.truncate(60);
    let (_folder, path) = file("kernel", &truncated);
    assert_failure(
        &boot(&["--kernel", path.to_str().unwrap()]),
        125,
        &["truncated"],
    );
}

#[test]
fn sizes_and_counts_that_make_no_sense_are_refused() {
    for (arguments, words) in [
        (["--mem", "lots"], ["--mem", "512M"]),
        (["--mem", "1M"], ["--mem", "too few"]),
        (["--mem", "512Q"], ["--mem", "no unit"]),
        (["--cpus", "0"], ["--cpus", "1..=64"]),
        (["--cpus", "65"], ["--cpus", "1..=64"]),
        (
            ["--max-instructions", "many"],
            ["--max-instructions", "20M"],
        ),
        (["--engine", "warp"], ["--engine", "interp"]),
        (["--entry", "back"], ["--entry", "direct"]),
    ] {
        let output = run([
            ["boot", "--kernel"],
            ["x", arguments[0]],
            [arguments[1], "-v"],
        ]
        .concat());
        assert_failure(&output, 125, &words);
    }
    let (_folder, kernel) = file("kernel", &Code::default().exit(0).image());
    let output = run(["boot", "--mem", "2T", "--kernel", kernel.to_str().unwrap()]);
    assert_failure(&output, 125, &["--mem", "1 TiB"]);
    // Memory that nobody uses costs nothing.
    let output = run(["boot", "--mem", "64G", "--kernel", kernel.to_str().unwrap()]);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let output = run(["boot", "--mem", "2M", "--kernel", kernel.to_str().unwrap()]);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
}

#[test]
fn a_signal_ends_it() {
    use std::io::Read;
    let (_folder, kernel) = file("kernel", &Code::default().print("ready\n").spin().image());
    for (name, expected) in [("INT", 130), ("TERM", 143)] {
        let mut child = ring3()
            .arg("boot")
            .arg("--kernel")
            .arg(&kernel)
            .stdout(Stdio::piped())
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
        kill(name, child.id());
        assert_eq!(child.wait().unwrap().code(), Some(expected));
    }
}

#[test]
fn a_closed_output_ends_it() {
    let (_folder, kernel) = file("kernel", &Code::default().print("ready\n").reset().image());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = ring3()
        .arg("boot")
        .arg("--kernel")
        .arg(&kernel)
        .stdout(writer)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(141));
}

fn kill(name: &str, process: u32) {
    let done = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(process.to_string())
        .status()
        .unwrap();
    assert!(done.success());
}

/// With a stock kernel, where there is one.
#[test]
fn linux_boots_to_a_shell_on_the_console() {
    if !has_guest() {
        return;
    }
    let script = "echo the shell is $$\nread word\nhello\necho got $word\nexit 4\n";
    let output = run_with_pipe(["boot"], script.as_bytes());
    let text = stdout(&output);
    assert!(text.contains("the shell is 1"), "{text}");
    assert!(text.contains("got hello"), "{text}");
    // Its end is the kernel's.
    assert_failure(
        &output,
        125,
        &[
            "kernel panicked: Attempted to kill init! exitcode=0x00000400",
            "rdinit",
        ],
    );
    // A truncated initrd is noticed before the kernel starts, with its name.
    let guests = cache().join("ring3/guests");
    let folder = std::fs::read_dir(guests)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.join("initramfs.cpio").is_file())
        .unwrap();
    let kernel = folder.join("kernel");
    let mut bytes = std::fs::read(folder.join("initramfs.cpio")).unwrap();
    bytes.truncate(bytes.len() / 2);
    let (_folder, initrd) = file("initrd", &bytes);
    let boot = |initrd: Option<&Path>, more: &[&str]| {
        let mut command = ring3();
        command.arg("boot").arg("--kernel").arg(&kernel);
        if let Some(initrd) = initrd {
            command.arg("--initrd").arg(initrd);
        }
        command.args(more).output().unwrap()
    };
    let output = boot(Some(&initrd), &[]);
    assert_failure(&output, 125, &["initrd", "truncated"]);
    assert_eq!(stdout(&output), "");
    // Without any, the kernel says so, and ring3 says what to do.
    let output = boot(None, &[]);
    assert_failure(&output, 125, &["Unable to mount root fs", "--initrd"]);
    // Through every entry.
    for entry in ["direct", "pvh", "compressed"] {
        let more = [
            "--entry",
            entry,
            "--append",
            "console=ttyS0 panic=-1 ring3=seen",
        ];
        let output = boot(None, &more);
        assert_failure(&output, 125, &["Unable to mount root fs"]);
        assert!(stdout(&output).contains("ring3=seen"), "{entry}");
    }
}
