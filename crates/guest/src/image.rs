//! The guest's initramfs and kernel command line.

use std::path::Path;

use crate::error::Result;
use crate::libraries::Finder;
use crate::module::Module;
use crate::protocol::ARCHIVE_ALIGN;
use crate::tree::{Contents, Tree};
use crate::{elf, library_cache};

/// The agent, built with this crate.
pub const AGENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/agent"));

/// Changes when what this file makes changes without its inputs changing.
pub const FORMAT: u32 = 1;

/// What the kernel is told, each word with its reason. The aim is a stock kernel that starts fast: nothing here changes
/// how it executes a program, a system call or an interrupt, and mitigations and hardening stay as they are.
const COMMAND_LINE: [(&str, &str); 10] = [
    (
        "console=ttyS0",
        "messages go to the serial port, where the host can see why a guest does not start",
    ),
    (
        "quiet",
        "but only what is wrong: each character costs the guest a wait for the port",
    ),
    (
        "panic=-1",
        "a kernel that has panicked restarts at once, which stops the machine instead of hanging it",
    ),
    (
        "oops=panic",
        "a kernel that has gone wrong does not run on as if it had not",
    ),
    (
        "nokaslr",
        "kernel addresses are the linked ones in every guest, so that host tools can name them",
    ),
    (
        "tsc=reliable",
        "the machine's time-stamp counter is exact; no time is spent watching it",
    ),
    (
        "no_timer_check",
        "the machine's timer interrupt arrives; no time is spent trying",
    ),
    (
        "cryptomgr.notests",
        "no self-tests of ciphers nobody uses here",
    ),
    (
        "nowatchdog",
        "no watchdog that wakes every processor every few seconds beside a measured program",
    ),
    (
        "8250.nr_uarts=1",
        "the machine has one serial port; the others are not searched for",
    ),
];

/// The kernel command line of every default guest.
pub fn command_line() -> String {
    COMMAND_LINE.map(|(word, _reason)| word).join(" ")
}

/// Libraries that most programs need and a guest therefore holds from the start, so that a dynamically linked
/// program brings only itself: those of the shell, and these.
const COMMON_LIBRARIES: [&str; 7] = [
    "libc.so.6",
    "libm.so.6",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "libgcc_s.so.1",
    "libstdc++.so.6",
];

/// Files of this host that the guest holds from the start: the shell (for `system` and `popen`), the dynamic linker,
/// common libraries. On a host that lacks some of them the guest does without.
pub fn host_files(finder: &Finder) -> Result<Tree> {
    let mut tree = Tree::default();
    let mut libraries = Vec::new();
    let shell = Path::new("/bin/sh");
    if let Ok(bytes) = std::fs::read(shell)
        && let Ok(object) = elf::Object::program(shell, &bytes)
    {
        tree.in_place(shell)?;
        let needs = finder.needs(shell, &object, None, &mut |_| {})?;
        if let Some(linker) = &needs.interpreter {
            tree.in_place(linker)?;
        }
        libraries.extend(needs.libraries);
    }
    for name in COMMON_LIBRARIES {
        if let Some(path) = finder.by_name(name) {
            let object = finder.object(&path)?;
            libraries.extend(finder.needs(&path, &object, None, &mut |_| {})?.libraries);
            libraries.push((name.to_owned(), path));
        }
    }
    for (_, path) in &libraries {
        tree.in_place(path)?;
    }
    tree.bytes(
        Path::new("/etc/ld.so.cache"),
        0o644,
        library_cache::write(&libraries),
    );
    Ok(tree)
}

/// The initramfs, and what a job need not bring because it is in there.
pub fn initramfs(host_files: Tree, modules: &[(Module, bool)]) -> Result<(Vec<u8>, Contents)> {
    let mut tree = host_files;
    for (path, permissions) in [
        ("/dev", 0o755),
        ("/etc", 0o755),
        ("/proc", 0o555),
        ("/ring3/modules", 0o755),
        ("/root", 0o700),
        ("/run", 0o755),
        ("/sys", 0o555),
        ("/tmp", 0o1777),
        ("/var/tmp", 0o1777),
    ] {
        tree.folder(Path::new(path), permissions);
    }
    tree.bytes(
        Path::new("/etc/passwd"),
        0o644,
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    );
    tree.bytes(
        Path::new("/etc/group"),
        0o644,
        "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
    );
    tree.bytes(
        Path::new("/etc/hosts"),
        0o644,
        "127.0.0.1 localhost ring3\n::1 localhost ring3\n",
    );
    tree.bytes(Path::new("/etc/hostname"), 0o644, "ring3\n");
    tree.bytes(
        Path::new("/etc/nsswitch.conf"),
        0o644,
        "passwd: files\ngroup: files\nhosts: files\n",
    );
    let mut configuration = String::from("hostname ring3\n");
    let contents = tree.contents();
    for (module, required) in modules {
        let path = format!("/ring3/modules/{}.ko", module.name);
        let need = if *required { "required" } else { "optional" };
        configuration.push_str(&format!("module {need} {path}\n"));
        tree.bytes(Path::new(&path), 0o644, module.bytes.clone());
    }
    tree.bytes(Path::new("/ring3/guest.conf"), 0o644, configuration);
    tree.bytes(Path::new("/init"), 0o755, AGENT);
    Ok((tree.archive(ARCHIVE_ALIGN)?, contents))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_static_and_runs_on_any_x86_64() {
        let agent = elf::Object::program(Path::new("agent"), AGENT).unwrap();
        assert_eq!(agent.interpreter, None);
        assert!(agent.needed.is_empty());
    }

    #[test]
    fn host_files_hold_the_shell_and_its_linker() {
        let tree = host_files(&Finder::of_host()).unwrap();
        let paths: Vec<_> = tree
            .paths()
            .map(|path| path.to_string_lossy().into_owned())
            .collect();
        assert!(
            paths
                .iter()
                .any(|path| path == "/bin/sh" || path == "/usr/bin/sh"),
            "{paths:?}"
        );
        assert!(
            paths.iter().any(|path| path.contains("libc.so")),
            "{paths:?}"
        );
    }
}
