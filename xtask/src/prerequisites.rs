//! What must be installed, and how to get it on Debian.

use std::path::Path;
use std::process::{Command, Stdio};

/// Something that a step needs.
pub struct Need {
    /// The Debian package that has it.
    package: &'static str,
    /// How to tell that it is there.
    present: fn() -> bool,
}

/// To build and to run guests: a C compiler, make, and what the kernel's build system wants.
pub const GUEST: &[Need] = &[
    Need {
        package: "gcc",
        present: || in_path("gcc"),
    },
    Need {
        package: "libc6-dev",
        present: || Path::new("/usr/include/stdio.h").exists(),
    },
    Need {
        package: "make",
        present: || in_path("make"),
    },
    Need {
        package: "binutils",
        present: || in_path("ld"),
    },
    Need {
        package: "xz-utils",
        present: || in_path("xz"),
    },
];

/// What the tests compare with; a test whose tool is missing says so and is skipped, so they are
/// all wanted.
pub const ORACLES: &[Need] = &[
    Need {
        package: "qemu-system-x86",
        present: || in_path("qemu-system-x86_64"),
    },
    Need {
        package: "busybox-static",
        present: || in_path("busybox"),
    },
    Need {
        package: "acpica-tools",
        present: || in_path("iasl"),
    },
    Need {
        package: "cpio",
        present: || in_path("cpio"),
    },
    Need {
        package: "nasm",
        present: || in_path("nasm"),
    },
];

fn in_path(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else {
        return false;
    };
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.starts_with(b"0\n"))
}

/// Makes sure that everything needed is there: installs it as root, otherwise names it.
///
/// # Errors
/// The sentence to show when something is missing and cannot be installed.
pub fn ensure(needs: &[&[Need]]) -> Result<(), String> {
    let missing = || -> Vec<&'static str> {
        needs
            .iter()
            .flat_map(|list| list.iter())
            .filter(|n| !(n.present)())
            .map(|n| n.package)
            .collect()
    };
    let wanted = missing();
    if wanted.is_empty() {
        return Ok(());
    }
    let line = format!(
        "apt-get install -y --no-install-recommends {}",
        wanted.join(" ")
    );
    if !is_root() || !in_path("apt-get") {
        return Err(format!(
            "some packages are missing; install them with: sudo {line}"
        ));
    }
    eprintln!("xtask: installing {}", wanted.join(", "));
    for command in ["apt-get update -qq", &line] {
        let words: Vec<&str> = command.split(' ').collect();
        let status = Command::new(words[0])
            .args(&words[1..])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null())
            .status();
        if !status.is_ok_and(|status| status.success()) {
            return Err(format!(
                "`{command}` failed; install the packages by hand: {line}"
            ));
        }
    }
    match missing() {
        still if still.is_empty() => Ok(()),
        still => Err(format!(
            "{} could not be found after installing",
            still.join(", ")
        )),
    }
}
