//! The agent is no member of the workspace, because it is built for itself; its own tests and style are checked here.

use std::path::{Path, PathBuf};
use std::process::Command;

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest/agent/src/main.rs")
}

#[test]
fn the_agents_own_tests_pass() {
    let tests = Path::new(env!("CARGO_TARGET_TMPDIR")).join("agent-tests");
    let compiled = Command::new("rustc")
        .args(["--test", "--edition", "2024", "-D", "warnings", "-o"])
        .arg(&tests)
        .arg(sources())
        .status()
        .unwrap();
    assert!(compiled.success());
    let run = Command::new(&tests).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}");
    assert!(!said.contains(" 0 passed"), "{said}");
}

#[test]
fn the_agent_is_formatted() {
    let protocol = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest/protocol/src/lib.rs");
    match Command::new("rustfmt")
        .args(["--check", "--edition", "2024"])
        .arg(sources())
        .arg(protocol)
        .output()
    {
        Ok(output) => assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        ),
        Err(_) => eprintln!("skipped: no rustfmt on this host"),
    }
}
