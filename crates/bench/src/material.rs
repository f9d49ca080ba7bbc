//! What is run: the programs of the folder `bench` as static executables, the initial file systems with them, and the
//! kernel of the default guest.

use crate::programs::PROGRAMS;
use crate::{Result, progress};
use ring3_boot::KernelImage;
use ring3_boot::initramfs::{ArchiveWriter, Device};
use ring3_guest::GuestBuilder;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of memory of every machine here, both emulators'.
pub const MEMORY_BYTES: u64 = 512 << 20;

/// So that both emulators execute the same instructions: nothing but x86-64's baseline.
const C_FLAGS: [&str; 7] = [
    "-O2",
    "-Wall",
    "-static",
    "-pthread",
    "-march=x86-64",
    "-mtune=generic",
    "-fno-math-errno",
];

/// Files in a temporary folder, which lives as long as this does.
pub struct Material {
    /// The folder.
    pub folder: tempfile::TempDir,
    /// The default guest's kernel, a bzImage.
    pub kernel: PathBuf,
    /// The same decompressed, if it is a bzImage.
    pub vmlinux: Option<PathBuf>,
    /// Its release.
    pub release: String,
    /// The default guest's command line.
    pub command_line: String,
    /// The initial file system whose first process runs the programs.
    pub programs: PathBuf,
    /// The initial file system with busybox, which switches off at once; without busybox there is none.
    pub busybox: Option<PathBuf>,
    /// A program that prints a line and ends.
    pub hello: PathBuf,
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench")
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn compile(name: &str, folder: &Path) -> Result<PathBuf> {
    let source = source_folder().join(format!("{name}.c"));
    let target = folder.join(name);
    let output = Command::new("gcc")
        .args(C_FLAGS)
        .arg(&source)
        .args(["-lm", "-o"])
        .arg(&target)
        .output()
        .map_err(|error| format!("gcc cannot be started: {error}; install the package gcc"))?;
    if !output.status.success() {
        return Err(format!(
            "{} does not compile:\n{}",
            source.display(),
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Ok(target)
}

/// A program in PATH.
pub fn in_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// The first process of the machine that only boots: its own mounts, as every distribution's, and off.
const BUSYBOX_INIT: &[u8] = b"#!/bin/sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
echo up
/bin/busybox ls -l / /sys /dev | /bin/busybox wc -l
/bin/busybox poweroff -f
";

fn archive(files: &[(&str, Vec<u8>)], links: &[(&str, &str)]) -> Result<Vec<u8>> {
    let failed = |error: ring3_boot::initramfs::InitramfsError| error.to_string();
    let mut archive = ArchiveWriter::new(Vec::new());
    for folder in ["proc", "sys", "dev", "bin"] {
        archive
            .directory(folder.as_bytes(), 0o755)
            .map_err(failed)?;
    }
    let console = Device::Character { major: 5, minor: 1 };
    archive
        .device(b"dev/console", 0o600, console)
        .map_err(failed)?;
    for (name, bytes) in files {
        archive
            .file(name.as_bytes(), 0o755, bytes)
            .map_err(failed)?;
    }
    for (name, target) in links {
        archive
            .symlink(name.as_bytes(), target.as_bytes())
            .map_err(failed)?;
    }
    archive.finish().map_err(failed)
}

/// A busybox that needs no libraries.
fn static_busybox() -> Option<Vec<u8>> {
    let bytes = std::fs::read(in_path("busybox")?).ok()?;
    let loader = b"/lib64/ld-linux";
    let dynamic = bytes.windows(loader.len()).any(|window| window == loader);
    (!dynamic).then_some(bytes)
}

impl Material {
    /// Makes everything.
    ///
    /// # Errors
    /// If a tool or the default guest is missing.
    pub fn make() -> Result<Material> {
        let folder =
            tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
        let place = |name: &str| folder.path().join(name);
        progress::say("compiling the programs");
        let sources: BTreeSet<&str> = PROGRAMS.iter().map(|program| program.source).collect();
        let mut files = vec![("init".to_owned(), read(&compile("init", folder.path())?)?)];
        for source in sources {
            let path = compile(source, folder.path())?;
            files.push((format!("bin/{source}"), read(&path)?));
        }
        let files: Vec<(&str, Vec<u8>)> = files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.clone()))
            .collect();
        let programs = place("programs.cpio");
        write(&programs, &archive(&files, &[])?)?;
        let busybox = match static_busybox() {
            None => None,
            Some(bytes) => {
                let path = place("busybox.cpio");
                let files = [("init", BUSYBOX_INIT.to_vec()), ("bin/busybox", bytes)];
                write(&path, &archive(&files, &[("bin/sh", "busybox")])?)?;
                Some(path)
            }
        };
        let hello = compile("hello", folder.path())?;

        progress::say("preparing the default guest");
        let guest = GuestBuilder::new()
            .prepare(&mut |line| progress::say(line))
            .map_err(|error| error.to_string())?;
        let image = guest.kernel().map_err(|error| error.to_string())?;
        let kernel = place("vmlinuz");
        write(&kernel, &image)?;
        let vmlinux = match KernelImage::parse(image) {
            Ok(KernelImage::BzImage(image)) => {
                let elf = image.extract().map_err(|error| error.to_string())?;
                let path = place("vmlinux");
                write(&path, &elf.bytes())?;
                Some(path)
            }
            _ => None,
        };
        Ok(Material {
            kernel,
            vmlinux,
            release: guest.manifest().kernel_release.clone(),
            command_line: guest.command_line().to_owned(),
            programs,
            busybox,
            hello,
            folder,
        })
    }
}
