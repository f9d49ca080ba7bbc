//! The kernel module's own tests, inside the machine: the stock kernel, the module, user interrupts.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::*;

/// The tests' programs, built in a folder of their own.
fn built() -> (tempfile::TempDir, PathBuf) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = tempfile::tempdir().unwrap();
    // The programs include ../../include/uintr.h.
    std::fs::create_dir(folder.path().join("guest")).unwrap();
    for (from, to) in [
        ("guest/selftests", "guest/selftests"),
        ("include", "include"),
    ] {
        let done = Command::new("cp")
            .arg("-r")
            .arg(root.join(from))
            .arg(folder.path().join(to))
            .status()
            .unwrap();
        assert!(done.success());
    }
    let tests = folder.path().join("guest/selftests");
    let made = Command::new("make")
        .args(["-s", "-B"])
        .current_dir(&tests)
        .status()
        .unwrap();
    assert!(made.success(), "the programs do not compile");
    (folder, tests)
}

fn in_guest(folder: &Path, words: &[&str]) -> Output {
    ring3()
        .current_dir(folder)
        .args(["run", "--copy", "."])
        .args(words)
        .output()
        .unwrap()
}

/// Asserts that the plan was carried out and everything in it passed.
#[track_caller]
fn assert_passed(output: &Output) {
    let text = stdout(output);
    let plans = text.lines().filter_map(|line| line.strip_prefix("1.."));
    let planned: usize = plans.map(|count| count.parse::<usize>().unwrap()).sum();
    let passed = text.lines().filter(|line| line.starts_with("ok ")).count();
    let all = planned > 0 && passed == planned && status(output) == 0;
    assert!(
        all,
        "{planned} planned, {passed} passed: {text}{}",
        stderr(output)
    );
}

#[test]
fn the_modules_tests_pass_on_one_processor_and_on_several() {
    if !has_guest() {
        return;
    }
    let (_keep, tests) = built();
    for cpus in ["1", "2", "4"] {
        for program in ["./calls", "./delivery", "./process", "./waiting", "./hooks"] {
            let output = in_guest(&tests, &["--cpus", cpus, program]);
            assert_passed(&output);
        }
    }
    let stress = ["--cpus", "4", "--env", "STRESS_ROUNDS=3", "./stress"];
    assert_passed(&in_guest(&tests, &stress));
    // All of them by their own script, which says so at the end.
    let script = ["--env", "TESTS=calls process", "./run.sh"];
    let output = in_guest(&tests, &script);
    assert!(
        stdout(&output).ends_with("# all passed\n"),
        "{}",
        stdout(&output)
    );
}
