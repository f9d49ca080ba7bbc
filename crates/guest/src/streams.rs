//! What the host's three standard streams are, so that the guest's can be like them.

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Stat, fstat, major, minor};
use rustix::termios::{isatty, tcgetwinsize};

/// What kind of thing standard input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKind {
    /// Closed, or `/dev/null`.
    Null,
    /// A regular file: its contents can be taken along whole, and the program can seek in it.
    File,
    /// A pipe, a socket, a device: bytes come when they come.
    Stream,
    /// A terminal.
    Terminal,
}

/// What kind of thing standard output or standard error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    /// Closed, or `/dev/null`: nobody wants it, and the guest need not send it.
    Null,
    /// Anything but a terminal.
    Stream,
    /// A terminal.
    Terminal,
    /// For standard error: the same open thing as standard output.
    SameAsStdout,
}

/// The host's three standard streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostStreams {
    /// Standard input.
    pub stdin: InputKind,
    /// Standard output.
    pub stdout: OutputKind,
    /// Standard error.
    pub stderr: OutputKind,
    /// Rows and columns of the terminal, if one of them is one.
    pub terminal_size: Option<(u16, u16)>,
}

impl HostStreams {
    /// Those of this process.
    pub fn of_this_process() -> Self {
        Self::of([
            rustix::stdio::stdin(),
            rustix::stdio::stdout(),
            rustix::stdio::stderr(),
        ])
    }

    /// Those a process would have whose descriptors 0, 1 and 2 are these.
    pub fn of(fds: [BorrowedFd<'_>; 3]) -> Self {
        let [stdin, stdout, stderr] = fds;
        let about = fds.map(|fd| fstat(fd).ok());
        let output = |fd: BorrowedFd<'_>, stat: &Option<Stat>| match stat {
            None => OutputKind::Null,
            Some(stat) if is_null(stat) => OutputKind::Null,
            Some(_) if isatty(fd) => OutputKind::Terminal,
            Some(_) => OutputKind::Stream,
        };
        let kinds = [output(stdout, &about[1]), output(stderr, &about[2])];
        let same = matches!((&about[1], &about[2]), (Some(one), Some(other))
            if one.st_dev == other.st_dev && one.st_ino == other.st_ino && one.st_rdev == other.st_rdev);
        Self {
            stdin: match &about[0] {
                None => InputKind::Null,
                Some(stat) if is_null(stat) => InputKind::Null,
                Some(_) if isatty(stdin) => InputKind::Terminal,
                Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                    InputKind::File
                }
                Some(_) => InputKind::Stream,
            },
            stdout: kinds[0],
            stderr: if same && kinds == [OutputKind::Stream; 2] {
                OutputKind::SameAsStdout
            } else {
                kinds[1]
            },
            terminal_size: fds
                .into_iter()
                .filter(|fd| isatty(fd))
                .find_map(|fd| tcgetwinsize(fd).ok())
                .map(|size| (size.ws_row, size.ws_col)),
        }
    }
}

/// `/dev/null` is character device 1, 3.
fn is_null(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn kinds_of_streams() {
        let null = File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .unwrap();
        let file = tempfile::tempfile().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let (_, other) = std::io::pipe().unwrap();
        let found = HostStreams::of([null.as_fd(), writer.as_fd(), null.as_fd()]);
        assert_eq!(
            (found.stdin, found.stdout, found.stderr),
            (InputKind::Null, OutputKind::Stream, OutputKind::Null)
        );
        assert_eq!(found.terminal_size, None);
        let found = HostStreams::of([
            file.as_fd(),
            writer.as_fd(),
            writer.try_clone().unwrap().as_fd(),
        ]);
        assert_eq!(
            (found.stdin, found.stderr),
            (InputKind::File, OutputKind::SameAsStdout)
        );
        let found = HostStreams::of([reader.as_fd(), writer.as_fd(), other.as_fd()]);
        assert_eq!(
            (found.stdin, found.stderr),
            (InputKind::Stream, OutputKind::Stream)
        );
    }
}
