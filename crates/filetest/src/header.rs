//! The header of a filetest: its first comment block.
//!
//! ```text
//! # What the program shows, in a sentence or several.
//! #
//! # engines: interpreter, qemu
//! # cpus: 2
//! # expect:
//! #   a line of output
//! #   [exit 0]
//! ```
//!
//! A line with a single lower-case word, a colon and a value is a key; everything else is prose for
//! the reader. `expect:` comes last: what follows it in the block is the expected text.

use ring3_machine::config::CpuKind;
use std::fmt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What runs a filetest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// The machine with its reference engine.
    Interpreter,
    /// QEMU's TCG, as a foreign oracle: for programs without user interrupts.
    Qemu,
}

impl Engine {
    /// All of them.
    pub const ALL: [Engine; 2] = [Engine::Interpreter, Engine::Qemu];

    /// Its name in headers.
    pub const fn name(self) -> &'static str {
        match self {
            Engine::Interpreter => "interpreter",
            Engine::Qemu => "qemu",
        }
    }

    /// Whether it is no part of Ring3: run only when asked for, and never believed when blessing.
    pub const fn is_oracle(self) -> bool {
        matches!(self, Engine::Qemu)
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// `engines`: what runs it. Required.
    pub engines: Vec<Engine>,
    /// `cpus`: logical processors. 1 if not given.
    pub cpus: u32,
    /// `cpu`: what the processors are. The default of the machine if not given.
    pub cpu: CpuKind,
    /// `memory`: bytes of RAM. 16 MiB if not given.
    pub memory_bytes: u64,
    /// `seed`: of the machine. 1 if not given.
    pub seed: u64,
    /// `limit`: instructions of all processors together before the test counts as hanging. Ten
    /// million if not given.
    pub instructions_max: u64,
}

/// A filetest, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filetest {
    /// The file.
    pub path: PathBuf,
    /// Its path below the folder of filetests, without extension.
    pub name: String,
    /// What runs it and on which machine.
    pub header: Header,
    /// The expected text, or `None` if the file has no `expect:` yet.
    pub expected: Option<String>,
    /// The whole file.
    pub text: String,
}

/// A header that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{path}:{line}: {message}")]
pub struct HeaderError {
    /// The file.
    pub path: String,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

/// The lines of the first comment block.
fn block(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| line.starts_with('#'))
}

/// `# key: value` with a key that is a single lower-case word.
fn key_and_value(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.strip_prefix("# ")?.split_once(':')?;
    let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase());
    is_key.then_some((key, value.trim()))
}

fn parse_number(value: &str) -> Result<u64, String> {
    let (digits, radix) = match value.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (value, 10),
    };
    u64::from_str_radix(&digits.replace('_', ""), radix)
        .map_err(|_| format!("`{value}` is not a number"))
}

fn parse_bytes(value: &str) -> Result<u64, String> {
    let (number, unit) = match value.as_bytes().last() {
        Some(b'K') => (&value[..value.len() - 1], 1 << 10),
        Some(b'M') => (&value[..value.len() - 1], 1 << 20),
        Some(b'G') => (&value[..value.len() - 1], 1 << 30),
        _ => (value, 1),
    };
    parse_number(number)?
        .checked_mul(unit)
        .ok_or_else(|| format!("`{value}` is more than any machine has"))
}

fn parse_engines(value: &str) -> Result<Vec<Engine>, String> {
    value
        .split(',')
        .map(|name| {
            let name = name.trim();
            let known = Engine::ALL.into_iter().find(|e| e.name() == name);
            known.ok_or_else(|| format!("there is no engine `{name}`; there are interpreter, qemu"))
        })
        .collect()
}

fn set(header: &mut Header, key: &str, value: &str) -> Result<(), String> {
    match key {
        "engines" => header.engines = parse_engines(value)?,
        "cpus" => {
            header.cpus = match parse_number(value)? {
                // The runtime has room for so many.
                n @ 1..=8 => n as u32,
                _ => return Err("a filetest has 1 to 8 processors".into()),
            }
        }
        "cpu" => {
            let known = CpuKind::ALL.into_iter().find(|kind| kind.name() == value);
            header.cpu = known.ok_or_else(|| {
                format!("there is no processor `{value}`; there are x86-64-v2, x86-64-v3, spr")
            })?;
        }
        "memory" => {
            header.memory_bytes = match parse_bytes(value)? {
                n @ 0x40_0000.. if n.is_multiple_of(0x10_0000) => n,
                _ => return Err("memory is at least 4M, in whole megabytes".into()),
            }
        }
        "seed" => header.seed = parse_number(value)?,
        "limit" => header.instructions_max = parse_number(value)?,
        "boot" if value == "multiboot" => {}
        "boot" => return Err(format!("`{value}`: filetests boot by `multiboot` only")),
        _ => {
            return Err(format!(
                "unknown key `{key}`; there are engines, cpus, cpu, memory, seed, limit, boot, expect \
                 (prose must not begin with a lower-case word and a colon)"
            ));
        }
    }
    Ok(())
}

impl Filetest {
    /// Reads the file at `path`, named by where it stands below `root`.
    ///
    /// # Errors
    /// A file that cannot be read, or a header that makes no sense.
    pub fn read(root: &Path, path: &Path) -> Result<Filetest, HeaderError> {
        let text = std::fs::read_to_string(path).map_err(|error| HeaderError {
            path: path.display().to_string(),
            line: 0,
            message: error.to_string(),
        })?;
        Filetest::parse(root, path, text)
    }

    /// Takes `text` apart.
    ///
    /// # Errors
    /// A header that makes no sense.
    pub fn parse(root: &Path, path: &Path, text: String) -> Result<Filetest, HeaderError> {
        let below = path.strip_prefix(root).unwrap_or(path).with_extension("");
        let name = below.to_string_lossy().replace('\\', "/");
        let mut header = Header {
            engines: Vec::new(),
            cpus: 1,
            cpu: CpuKind::default(),
            memory_bytes: 16 << 20,
            seed: 1,
            instructions_max: 10_000_000,
        };
        let error = |line: usize, message: String| HeaderError {
            path: path.display().to_string(),
            line,
            message,
        };
        let mut expected: Option<String> = None;
        for (n, line) in block(&text).enumerate() {
            if let Some(expected) = &mut expected {
                let line = line.strip_prefix('#').unwrap_or(line);
                let line = line.strip_prefix("   ").unwrap_or(line.trim_start());
                expected.push_str(line.trim_end());
                expected.push('\n');
            } else if let Some((key, value)) = key_and_value(line) {
                if key == "expect" {
                    expected = Some(String::new());
                } else {
                    set(&mut header, key, value).map_err(|message| error(n + 1, message))?;
                }
            }
        }
        if header.engines.is_empty() {
            let message =
                "the header does not say which engines run it; add `# engines: interpreter`";
            return Err(error(1, message.into()));
        }
        Ok(Filetest {
            path: path.to_owned(),
            name,
            header,
            expected,
            text,
        })
    }

    /// The file with another expected text.
    pub fn with_expected(&self, expected: &str) -> String {
        let lines: Vec<&str> = block(&self.text).collect();
        let is_expect = |line: &&str| key_and_value(line).is_some_and(|(key, _)| key == "expect");
        let kept = lines.iter().position(is_expect).unwrap_or(lines.len());
        let rest = self.text.lines().skip(lines.len());
        let mut text = String::new();
        let mut add = |line: &str| {
            text.push_str(line.trim_end());
            text.push('\n');
        };
        lines[..kept].iter().for_each(|line| add(line));
        add("# expect:");
        for line in expected.lines() {
            add(&format!("#   {line}"));
        }
        rest.for_each(&mut add);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Filetest, HeaderError> {
        Filetest::parse(Path::new("/f"), Path::new("/f/cpu/x.s"), text.into())
    }

    const SMALL: &str = "# Shows: nothing.\n#\n# engines: interpreter, qemu\n# cpus: 2\n# memory: \
                         64M\n# expect:\n#   one\n#\n#     two\n\nmain:\n";

    #[test]
    fn a_header_is_read() {
        let test = parse(SMALL).unwrap();
        assert_eq!(test.name, "cpu/x");
        assert_eq!(test.header.engines, [Engine::Interpreter, Engine::Qemu]);
        assert_eq!((test.header.cpus, test.header.memory_bytes), (2, 64 << 20));
        assert_eq!(test.expected.as_deref(), Some("one\n\n  two\n"));
    }

    #[test]
    fn blessing_changes_the_expected_text_alone() {
        let test = parse(SMALL).unwrap();
        assert_eq!(test.with_expected("one\n\n  two\n"), SMALL);
        let blessed = parse(&test.with_expected("three\n")).unwrap();
        assert_eq!(blessed.expected.as_deref(), Some("three\n"));
        assert_eq!(blessed.header, test.header);
        assert!(blessed.text.ends_with("three\n\nmain:\n"));
    }

    #[test]
    fn blessing_adds_a_missing_expectation() {
        let test = parse("# engines: interpreter\n\nmain:\n").unwrap();
        assert_eq!(test.expected, None);
        let text = test.with_expected("out\n");
        assert_eq!(
            text,
            "# engines: interpreter\n# expect:\n#   out\n\nmain:\n"
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_line() {
        for (text, line) in [
            ("main:\n", 1),
            ("# A test.\n# engine: interpreter\n", 2),
            ("# engines: interpeter\n", 1),
            ("# engines: interpreter\n# cpus: 0\n", 2),
            ("# engines: interpreter\n# memory: 17\n", 2),
            ("# engines: interpreter\n# boot: linux\n", 2),
            ("# engines: interpreter\n# seed: x\n", 2),
        ] {
            assert_eq!(parse(text).unwrap_err().line, line, "{text}");
        }
    }
}
