//! Runs tools of the host, and says what to do when one is missing or fails.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::error::{Error, NO_SPACE, Problem, Result};

/// The package that brings a tool on Debian and its relatives.
fn package_of(tool: &str) -> &str {
    match tool {
        "dpkg-deb" => "dpkg",
        "apt-get" | "apt-cache" => "apt",
        "ar" | "strip" => "binutils",
        "xz" => "xz-utils",
        other => other,
    }
}

/// A command in a folder, with messages in English and nothing to read from.
pub fn command(tool: &str, folder: &Path) -> Command {
    let mut command = Command::new(tool);
    command
        .current_dir(folder)
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    command
}

/// Runs a command and returns what it printed, whatever its exit status.
pub fn output(command: &mut Command) -> Result<Output> {
    let tool = command.get_program().to_string_lossy().into_owned();
    command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Error::new(Problem::ToolMissing, format!("{tool} is not installed"))
                .remedy(format!("install it: apt-get install {}", package_of(&tool)))
        }
        _ => Error::new(Problem::ToolFailed, format!("cannot run {tool}: {error}")),
    })
}

/// Runs a command that has to succeed.
pub fn run(command: &mut Command) -> Result<Output> {
    let shown = shown(command);
    let output = output(command)?;
    match output.status.success() {
        true => Ok(output),
        false => Err(Error::new(
            Problem::ToolFailed,
            format!("{shown} failed ({})", output.status),
        )
        .remedy(advice(&output))),
    }
}

/// What a tool that failed said, or what to do about it if that is plain.
fn advice(output: &Output) -> String {
    let said = last_lines(output, 20);
    match said.contains("No space left on device") {
        true => NO_SPACE.to_owned(),
        false => said,
    }
}

/// The command as a person would type it.
pub fn shown(command: &Command) -> String {
    [command.get_program()]
        .into_iter()
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The end of what a tool printed, its complaints last.
pub fn last_lines(output: &Output, most: usize) -> String {
    let text = [&output.stdout[..], &output.stderr[..]]
        .map(String::from_utf8_lossy)
        .concat();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(most)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_fails_is_quoted_unless_the_reason_is_plain() {
        let failure = |script: &str| {
            let mut command = command("sh", Path::new("/"));
            run(command.args(["-c", script])).unwrap_err().to_string()
        };
        let said = failure("echo first; echo second >&2; exit 3");
        assert!(
            said.contains("exit status: 3") && said.contains("first\n  second"),
            "{said}"
        );
        let said = failure("echo 'No space left on device' >&2; exit 2");
        assert!(said.ends_with(&format!("\n  {NO_SPACE}")), "{said}");
    }
}
