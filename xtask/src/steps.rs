//! The commands.

use crate::prerequisites::{GUEST, ORACLES, ensure};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a command ended: with a sentence if it failed.
pub type Outcome = Result<(), String>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask stands in the workspace")
        .into()
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

fn run(command: &mut Command) -> Outcome {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| {
            Path::new(word)
                .file_name()
                .unwrap_or(word)
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let line = words.join(" ");
    eprintln!("xtask: {line}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{line}` failed ({status})")),
        Err(error) => Err(format!("`{line}` could not be started: {error}")),
    }
}

fn cargo_run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Outcome {
    run(cargo().args(arguments))
}

fn lints() -> Outcome {
    cargo_run(["fmt", "--all", "--check"])?;
    cargo_run([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ])
}

/// `cargo xtask demo`.
pub fn demo() -> Outcome {
    ensure(&[GUEST])?;
    cargo_run(["build", "--release", "--package", "ring3-cli"])?;
    let ring3 = target_folder().join("release/ring3");
    let words = ["run", "examples/uipi_sample.c"];
    eprintln!("xtask: ring3 {}", words.join(" "));
    let status = Command::new(ring3)
        .args(words)
        .current_dir(root())
        .status()
        .map_err(|error| format!("ring3 could not be started: {error}"))?;
    match status.code() {
        Some(0) => {
            eprintln!("xtask: the program's exit status is 0");
            Ok(())
        }
        Some(other) => Err(format!("the program's exit status is {other}")),
        None => Err(format!("ring3 was killed ({status})")),
    }
}

/// `cargo xtask bench`: everything after that word is for the program that measures.
pub fn bench(arguments: &[String]) -> Outcome {
    ensure(&[GUEST])?;
    cargo_run([
        "build",
        "--release",
        "--package",
        "ring3-cli",
        "--package",
        "ring3-bench",
    ])?;
    let built = target_folder().join("release");
    run(Command::new(built.join("ring3-bench"))
        .args(arguments)
        .arg("--ring3")
        .arg(built.join("ring3")))
}

fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// `cargo xtask test`.
pub fn test() -> Outcome {
    ensure(&[GUEST, ORACLES])?;
    lints()?;
    let cli = "ring3-cli";
    cargo_run(["test", "--workspace", "--no-fail-fast", "--exclude", cli])?;
    // These boot guests, each of which keeps a host processor busy: one after the other.
    cargo_run([
        "test",
        "--package",
        cli,
        "--no-fail-fast",
        "--",
        "--test-threads=1",
    ])?;
    // Its adapters for other crates are features.
    cargo_run(["test", "--package", "uintr", "--all-features"])?;
    let mut doc = cargo();
    doc.args(["doc", "--workspace", "--no-deps"]).env(
        "RUSTDOCFLAGS",
        "-D warnings -A rustdoc::private-intra-doc-links",
    );
    run(&mut doc)
}

/// `cargo xtask check`.
pub fn check() -> Outcome {
    ensure(&[GUEST])?;
    lints()?;
    cargo_run([
        "test",
        "--workspace",
        "--exclude",
        "ring3-guest",
        "--exclude",
        "ring3-cli",
    ])
}

/// `cargo xtask bless`.
pub fn bless() -> Outcome {
    run(cargo()
        .args(["test", "--package", "ring3-filetest"])
        .env("BLESS", "1"))
}

/// `cargo xtask soak`.
pub fn soak() -> Outcome {
    ensure(&[GUEST, ORACLES])?;
    run(cargo()
        .args([
            "test",
            "--release",
            "--workspace",
            "--",
            "--include-ignored",
        ])
        .env("SILICON_FACTOR", "20"))?;
    // The Rust library's protocol, with every interleaving of small cases.
    run(cargo()
        .args([
            "test",
            "--release",
            "--package",
            "uintr",
            "--no-default-features",
        ])
        .args(["--test", "model"])
        .env("RUSTFLAGS", "--cfg uintr_model"))
}

/// `cargo xtask soak silicon [OPTIONS]`.
pub fn soak_silicon(options: &[String]) -> Outcome {
    let mut command = cargo();
    command.args([
        "run",
        "--quiet",
        "--release",
        "--package",
        "ring3-silicon",
        "--",
    ]);
    run(command.args(options))
}

/// `cargo xtask soak fuzz [MINUTES [DOOR]]`: new inputs that reach something new go to `fuzz/corpus`.
pub fn soak_fuzz(arguments: &[String]) -> Outcome {
    const DEFAULT_MINUTES: u64 = 10;
    let minutes: u64 = match arguments.first() {
        None => DEFAULT_MINUTES,
        Some(given) => given
            .parse()
            .map_err(|_| format!("`{given}` is not a number of minutes"))?,
    };
    let folder = root().join("fuzz");
    let mut doors: Vec<String> = std::fs::read_dir(folder.join("fuzz_targets"))
        .and_then(|entries| {
            entries
                .map(|entry| {
                    let name = entry?.file_name().to_string_lossy().into_owned();
                    Ok(name.trim_end_matches(".rs").to_owned())
                })
                .collect()
        })
        .map_err(|error| format!("the fuzzers cannot be listed: {error}"))?;
    doors.sort();
    if let Some(wanted) = arguments.get(1) {
        if !doors.contains(wanted) {
            let known = doors.join(", ");
            return Err(format!("there is no fuzzer `{wanted}`; there are {known}"));
        }
        doors = vec![wanted.clone()];
    }
    let corpus = folder.join("corpus");
    cargo_run([
        "run".as_ref(),
        "--release".as_ref(),
        "--package".as_ref(),
        "ring3-hostile".as_ref(),
        "--example".as_ref(),
        "seeds".as_ref(),
        corpus.as_os_str(),
    ])?;
    for door in doors {
        let time = format!("-max_total_time={}", 60 * minutes);
        let mut fuzz = Command::new("cargo");
        fuzz.args(["+nightly", "fuzz", "run", &door, "--", &time])
            .args(["-max_len=8192", "-timeout=60", "-rss_limit_mb=4096"])
            .current_dir(root());
        run(&mut fuzz).map_err(|failure| {
            format!("{failure}\nIf cargo-fuzz is missing: cargo install cargo-fuzz; rustup toolchain install nightly")
        })?;
    }
    Ok(())
}
