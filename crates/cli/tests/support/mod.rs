//! What the tests of the command share: running it, images to boot, a guest to run in.
#![allow(dead_code, reason = "each test program uses a part")]

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The command, with nothing on standard input and a cache that tests share and people do not see. Signals do what
/// they do by default, although whoever runs the tests may ignore some (a shell does that for its background jobs).
pub fn ring3() -> Command {
    let mut command = Command::new("env");
    command
        .args(["--default-signal", env!("CARGO_BIN_EXE_ring3")])
        .env("XDG_CACHE_HOME", cache())
        .env_remove("CC")
        .stdin(Stdio::null());
    command
}

pub fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

/// Runs `ring3` with these arguments.
pub fn run<T: AsRef<OsStr>>(arguments: impl IntoIterator<Item = T>) -> Output {
    ring3().args(arguments).output().unwrap()
}

/// The same with bytes in a pipe on standard input.
pub fn run_with_pipe<T: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = T>,
    input: &[u8],
) -> Output {
    let mut child = ring3()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        // The program need not read everything.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn status(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

/// Asserts that ring3 failed in its own way: this status, these words, nothing that looks like Rust.
#[track_caller]
pub fn assert_failure(output: &Output, expected: i32, words: &[&str]) {
    let said = stderr(output);
    assert_eq!(status(output), expected, "{said}");
    assert!(
        said.starts_with("ring3: ") || said.starts_with("error: "),
        "{said}"
    );
    for word in words {
        assert!(said.contains(word), "{word:?} is missing from: {said}");
    }
    for rust in ["panicked at", "RUST_BACKTRACE", "Err(", "unwrap"] {
        assert!(!said.contains(rust), "{said}");
    }
}

/// A file in a temporary folder that lives as long as the result.
pub fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// 32-bit machine code for a Multiboot image, one instruction per call.
#[derive(Default)]
pub struct Code(Vec<u8>);

impl Code {
    /// `out port, al` with this value.
    pub fn out(mut self, port: u16, value: u8) -> Code {
        let [low, high] = port.to_le_bytes();
        self.0.extend([0x66, 0xba, low, high, 0xb0, value, 0xee]);
        self
    }

    /// `out port, ax` with this value.
    pub fn out_word(mut self, port: u16, value: u16) -> Code {
        let ([a, b], [c, d]) = (port.to_le_bytes(), value.to_le_bytes());
        self.0
            .extend([0x66, 0xba, a, b, 0x66, 0xb8, c, d, 0x66, 0xef]);
        self
    }

    /// Sends the text over the serial port.
    pub fn print(self, text: &str) -> Code {
        text.bytes().fold(self, |code, byte| code.out(0x3f8, byte))
    }

    /// Sends what comes over the serial port back, up to and with `last`.
    pub fn echo_until(mut self, last: u8) -> Code {
        self.0.extend([
            0x66, 0xba, 0xfd, 0x03, // mov dx, 0x3fd
            0xec, // in al, dx
            0xa8, 0x01, // test al, 1
            0x74, 0xf7, // jz to the beginning
            0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
            0xec, // in al, dx
            0xee, // out dx, al
            0x3c, last, // cmp al, last
            0x75, 0xed, // jnz to the beginning
        ]);
        self
    }

    /// Ends with a status.
    pub fn exit(self, status: u8) -> Code {
        self.out(0xf4, status)
    }

    /// Switches the machine off by ACPI.
    pub fn power_off(self) -> Code {
        self.out_word(0x604, 5 << 10 | 1 << 13)
    }

    /// Asks for a reset.
    pub fn reset(self) -> Code {
        self.out(0xcf9, 6)
    }

    /// Halts for good.
    pub fn halt(mut self) -> Code {
        self.0.extend([0xfa, 0xf4, 0xeb, 0xfd]);
        self
    }

    /// Loops for good.
    pub fn spin(mut self) -> Code {
        self.0.extend([0xeb, 0xfe]);
        self
    }

    /// Loads an empty IDT and executes an undefined instruction.
    pub fn triple_fault(mut self) -> Code {
        // push 0; push 0; lidt [esp]; ud2
        self.0
            .extend([0x6a, 0, 0x6a, 0, 0x0f, 0x01, 0x1c, 0x24, 0x0f, 0x0b]);
        self
    }

    /// `mov esp, ...`: Multiboot gives no stack.
    pub fn stack(mut self) -> Code {
        self.0.extend([0xbc, 0x00, 0x00, 0x08, 0x00]);
        self
    }

    /// The image. Source: Multiboot Specification 0.6.96, "The layout of Multiboot header".
    pub fn image(self) -> Vec<u8> {
        const MAGIC: u32 = 0x1bad_b002;
        const ADDRESSES: u32 = 1 << 16;
        const LOAD: u32 = 0x10_0000;
        let end = LOAD + 32 + self.0.len() as u32;
        let checksum = 0u32.wrapping_sub(MAGIC).wrapping_sub(ADDRESSES);
        let header = [MAGIC, ADDRESSES, checksum, LOAD, LOAD, end, end, LOAD + 32];
        let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend(self.0);
        bytes
    }
}

/// Makes the default guest once. `None`, with a remark, where that is impossible (no kernel package and no
/// network), unless `RING3_REQUIRE_GUEST` is set.
pub fn has_guest() -> bool {
    let output = run(["guest", "build"]);
    if output.status.success() {
        return true;
    }
    let said = stderr(&output);
    assert!(
        std::env::var_os("RING3_REQUIRE_GUEST").is_none(),
        "there is no guest: {said}"
    );
    eprintln!("skipped, because there is no guest: {said}");
    false
}
