//! From assembly text to a Multiboot image, with the host's GNU binutils.

use std::path::{Path, PathBuf};
use std::process::Command;
use thiserror::Error;

/// The program could not be built.
#[derive(Debug, Error)]
pub enum ToolchainError {
    /// The host has no assembler or no linker.
    #[error(
        "`{tool}` was not found. Filetests are assembled with GNU binutils 2.36 or newer; install \
         them (Debian and Ubuntu: apt-get install binutils; Fedora: dnf install binutils; on a \
         host that is not x86-64: binutils-x86-64-linux-gnu)"
    )]
    Missing {
        /// Which.
        tool: &'static str,
    },
    /// The tool ran and refused.
    #[error("{tool} failed:\n{message}{hint}")]
    Refused {
        /// Which.
        tool: String,
        /// What it said.
        message: String,
        /// What may help.
        hint: &'static str,
    },
    /// The host's file system.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What happened.
        error: std::io::Error,
    },
}

/// An assembler, a linker, and the runtime assembled once.
#[derive(Debug)]
pub struct Toolchain {
    assembler: &'static str,
    linker: &'static str,
    runtime: PathBuf,
    objects: Vec<PathBuf>,
    output: PathBuf,
}

fn answers(tool: &str) -> bool {
    Command::new(tool)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// The tool that makes x86-64 code: under its full name where there is one, else the native one.
fn locate(full: &'static str, short: &'static str) -> Result<&'static str, ToolchainError> {
    [full, short]
        .into_iter()
        .find(|tool| answers(tool))
        .ok_or(ToolchainError::Missing { tool: short })
}

fn io<T>(path: &Path, result: std::io::Result<T>) -> Result<T, ToolchainError> {
    result.map_err(|error| ToolchainError::Io {
        path: path.to_owned(),
        error,
    })
}

fn execute(command: &mut Command, hint: &'static str) -> Result<(), ToolchainError> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let output = io(Path::new(&tool), command.output())?;
    if output.status.success() {
        return Ok(());
    }
    Err(ToolchainError::Refused {
        tool,
        message: String::from_utf8_lossy(&output.stderr).into_owned(),
        hint,
    })
}

const OLD_BINUTILS: &str =
    "(if `senduipi` or `uiret` is unknown: the assembler is older than 2.36)";

impl Toolchain {
    /// Finds the tools and assembles the runtime in `runtime`; `output` takes what is built.
    ///
    /// # Errors
    /// Missing tools, or a runtime that does not assemble.
    pub fn new(runtime: &Path, output: &Path) -> Result<Toolchain, ToolchainError> {
        let mut toolchain = Toolchain {
            assembler: locate("x86_64-linux-gnu-as", "as")?,
            linker: locate("x86_64-linux-gnu-ld", "ld")?,
            runtime: runtime.to_owned(),
            objects: Vec::new(),
            output: output.to_owned(),
        };
        let mut sources = Vec::new();
        for entry in io(runtime, std::fs::read_dir(runtime))? {
            let path = io(runtime, entry)?.path();
            if path.extension().is_some_and(|e| e == "s") {
                sources.push(path);
            }
        }
        sources.sort();
        for source in sources {
            let name = source.file_stem().expect("it has an extension");
            let object = output.join("runtime").join(name).with_extension("o");
            toolchain.assemble(&source, &object)?;
            toolchain.objects.push(object);
        }
        Ok(toolchain)
    }

    fn assemble(&self, source: &Path, object: &Path) -> Result<(), ToolchainError> {
        let folder = object.parent().expect("it is in the output folder");
        io(folder, std::fs::create_dir_all(folder))?;
        execute(
            Command::new(self.assembler)
                .args(["--64", "--fatal-warnings", "-I"])
                .arg(&self.runtime)
                .arg("-o")
                .arg(object)
                .arg(source),
            OLD_BINUTILS,
        )
    }

    /// Builds the program in `source` and returns where its Multiboot image is; the ELF file with
    /// its symbols lies beside it.
    ///
    /// # Errors
    /// What the assembler or the linker has to say.
    pub fn build(&self, name: &str, source: &Path) -> Result<PathBuf, ToolchainError> {
        let stem = self.output.join(name);
        let object = stem.with_extension("o");
        let elf = stem.with_extension("elf");
        let image = stem.with_extension("img");
        self.assemble(source, &object)?;
        // Once with symbols for people, once flat for loaders: QEMU takes no 64-bit ELF files.
        for (output, format) in [(&elf, "elf64-x86-64"), (&image, "binary")] {
            execute(
                Command::new(self.linker)
                    .args([
                        "-m",
                        "elf_x86_64",
                        "--no-warn-rwx-segments",
                        "--oformat",
                        format,
                        "-T",
                    ])
                    .arg(self.runtime.join("link.ld"))
                    .arg("-o")
                    .arg(output)
                    .arg(&object)
                    .args(&self.objects),
                "",
            )?;
        }
        Ok(image)
    }
}
