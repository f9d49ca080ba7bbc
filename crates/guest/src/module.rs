//! The kernel modules of the guest: the stock drivers for the machine's devices, and the project's own, built here.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::elf;
use crate::error::{Error, Problem, Result};
use crate::kernel::Kernel;
use crate::packages::Packages;
use crate::tools;

include!(concat!(env!("OUT_DIR"), "/module_sources.rs"));

/// Name of the project's module.
pub const UINTR_MODULE: &str = "ring3_uintr";
/// Drivers the guest cannot work without: the transport, the ports, the disk.
const DRIVERS: [&str; 3] = ["virtio_pci", "virtio_console", "virtio_blk"];

/// A module as it goes into the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Name, with underscores.
    pub name: String,
    /// The relocatable object the kernel loads.
    pub bytes: Vec<u8>,
}

/// The stock drivers with all they depend on, each after what it depends on. Drivers the kernel has built in are
/// left out.
pub fn drivers(kernel: &Kernel) -> Result<Vec<Module>> {
    let Some(folder) = &kernel.modules else {
        return Ok(Vec::new());
    };
    let files = ModuleFiles::in_folder(folder)?;
    let mut loaded = Vec::new();
    for driver in DRIVERS {
        files.add(driver, &mut loaded, 0)?;
    }
    Ok(loaded)
}

/// A kernel's module files by name.
struct ModuleFiles {
    folder: PathBuf,
    files: BTreeMap<String, PathBuf>,
    built_in: Vec<String>,
}

impl ModuleFiles {
    fn in_folder(folder: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        collect(&folder.join("kernel"), &mut files)?;
        let built_in = fs::read_to_string(folder.join("modules.builtin")).unwrap_or_default();
        Ok(Self {
            folder: folder.to_owned(),
            files,
            built_in: built_in
                .lines()
                .filter_map(|line| module_name(Path::new(line)))
                .collect(),
        })
    }

    /// Adds a module after those it depends on.
    fn add(&self, name: &str, loaded: &mut Vec<Module>, depth: usize) -> Result<()> {
        const DEPTH_MAX: usize = 32;
        let name = name.replace('-', "_");
        if loaded.iter().any(|module| module.name == name) || self.built_in.contains(&name) {
            return Ok(());
        }
        let path = self.files.get(&name).filter(|_| depth < DEPTH_MAX).ok_or_else(|| {
            Error::new(Problem::ModulesNotFound, format!("{} has no module {name}", self.folder.display())).remedy(
                "the guest needs a kernel with virtio over PCI, virtio-console and virtio-blk, as modules or built in",
            )
        })?;
        let bytes = read_module(path)?;
        for dependency in elf::module_information(path, &bytes, "depends")?
            .iter()
            .flat_map(|names| names.split(','))
        {
            if !dependency.is_empty() {
                self.add(dependency, loaded, depth + 1)?;
            }
        }
        loaded.push(Module { name, bytes });
        Ok(())
    }
}

/// The module's name in a path like `drivers/virtio/virtio-rng.ko.xz`.
fn module_name(path: &Path) -> Option<String> {
    let (name, _) = path.file_name()?.to_str()?.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

fn collect(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)
        .map_err(|error| Error::file("list", folder, &error))?
        .flatten()
    {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&path, files)?;
        } else if let Some(name) = module_name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// A module's bytes; distributions compress them in different ways.
fn read_module(path: &Path) -> Result<Vec<u8>> {
    let tool = match path.extension().and_then(OsStr::to_str) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs::read(path).map_err(|error| Error::file("read", path, &error)),
    };
    Ok(tools::run(
        tools::command(tool, Path::new("/"))
            .args(["-d", "-c"])
            .arg(path),
    )?
    .stdout)
}

/// The project's module, built for a kernel from these sources. The second result is the same with its debugging
/// information, for tools on the host.
pub fn build_uintr(
    kernel: &Kernel,
    sources: &[(String, Vec<u8>)],
    packages: &mut Packages,
    progress: &mut dyn FnMut(&str),
) -> Result<(Module, Vec<u8>)> {
    let headers = match installed_headers(&kernel.release) {
        Some(headers) => headers,
        None => downloaded_headers(kernel, packages, progress)?,
    };
    build_against(&headers, sources, progress)
}

/// Headers that are installed on this system.
fn installed_headers(release: &str) -> Option<PathBuf> {
    [
        format!("/usr/src/linux-headers-{release}"),
        format!("/lib/modules/{release}/build"),
    ]
    .into_iter()
    .map(PathBuf::from)
    .find(|folder| folder.join("Makefile").is_file() && folder.join("Module.symvers").is_file())
}

/// Headers from the distribution's packages: those of the kernel, those common to its variants, and the build tools.
pub fn downloaded_headers(
    kernel: &Kernel,
    packages: &mut Packages,
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf> {
    let release = &kernel.release;
    let explain = |error: Error| {
        Error::new(
            Problem::HeadersNotFound,
            format!(
                "no headers of Linux {release} to build the module with: {}",
                error.sentence()
            ),
        )
        .remedy(format!(
            "install them: apt-get install linux-headers-{release}"
        ))
    };
    let name = format!("linux-headers-{release}");
    let offered = packages
        .offered(
            &format!("^{}$", name.replace('.', r"\.").replace('+', r"\+")),
            progress,
        )
        .map_err(explain)?;
    let Some((_, newest)) = offered.into_iter().next() else {
        let sentence = format!("the distribution does not offer {name}");
        return Err(explain(Error::new(Problem::HeadersNotFound, sentence)));
    };
    // The same version as the kernel, where that is known: module versions depend on it.
    let version = kernel.package_version.clone().unwrap_or(newest);
    let key = format!("{name}_{version}");
    let folder = match packages.find(&key) {
        Some(folder) => folder,
        None => {
            let common = format!(
                "linux-headers-{}-common",
                release.split("-cloud").next().unwrap_or(release)
            );
            let (major, minor) = release_number(release);
            let kbuild = format!("linux-kbuild-{major}.{minor}");
            let names = [name.clone(), common, kbuild].map(|name| format!("{name}={version}"));
            packages.fetch(&key, &names, progress).map_err(explain)?
        }
    };
    relocated(&folder, release)
}

fn release_number(release: &str) -> (&str, &str) {
    let mut parts = release.split(['.', '-']);
    (parts.next().unwrap_or(""), parts.next().unwrap_or(""))
}

/// Makes unpacked headers usable where they are: the Makefile of a variant includes the common one by the absolute path
/// it has when installed.
fn relocated(root: &Path, release: &str) -> Result<PathBuf> {
    let folder = root
        .join("usr/src")
        .join(format!("linux-headers-{release}"));
    let makefile = folder.join("Makefile");
    let text =
        fs::read_to_string(&makefile).map_err(|error| Error::file("read", &makefile, &error))?;
    let source = format!("{}/usr/src/", root.display());
    let fixed = text
        .replace(&source, "/usr/src/")
        .replace("/usr/src/", &source);
    if fixed != text {
        fs::write(&makefile, fixed).map_err(|error| Error::file("write", &makefile, &error))?;
    }
    Ok(folder)
}

fn build_against(
    headers: &Path,
    sources: &[(String, Vec<u8>)],
    progress: &mut dyn FnMut(&str),
) -> Result<(Module, Vec<u8>)> {
    let folder = tempfile::Builder::new()
        .prefix("ring3-module-")
        .tempdir()
        .map_err(|error| Error::file("make a folder in", &std::env::temp_dir(), &error))?;
    for (name, contents) in sources {
        let path = folder.path().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| Error::file("make", parent, &error))?;
        }
        fs::write(&path, contents).map_err(|error| Error::file("write", &path, &error))?;
    }
    progress(&format!("building {UINTR_MODULE}.ko"));
    let mut make = tools::command("make", folder.path());
    make.arg("-C")
        .arg(headers)
        .arg(format!("M={}", folder.path().display()))
        .arg("modules");
    // The same sources give the same module, wherever they and the headers were unpacked.
    let mut flags = format!("-ffile-prefix-map={}=ring3_uintr", folder.path().display());
    if let Some(root) = headers.ancestors().find(|above| above.ends_with("usr/src")) {
        flags += &format!(" -ffile-prefix-map={}=/usr/src", root.display());
    }
    make.env("KAFLAGS", &flags).env("KCFLAGS", flags);
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
    make.arg(format!("-j{processors}"));
    for inherited in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS", "CC"] {
        make.env_remove(inherited);
    }
    let compiler = kernel_compiler(headers);
    if let Some(wanted) = &compiler
        && Command::new(wanted).arg("--version").output().is_err()
    {
        progress(&format!(
            "{wanted}, which built the kernel, is not installed; building the module with gcc"
        ));
        make.arg("CC=gcc");
    }
    let output = tools::output(&mut make)?;
    let built = folder.path().join(format!("{UINTR_MODULE}.ko"));
    let whole = match fs::read(&built) {
        Ok(bytes) if output.status.success() => bytes,
        _ => {
            let printed = tools::last_lines(&output, 30);
            let remedy = match (&compiler, printed.contains("libelf")) {
                (_, true) => {
                    "\ninstall the library the kernel's build tools need: apt-get install libelf1"
                        .to_owned()
                }
                (Some(compiler), _) if printed.contains(&format!("{compiler}: ")) => {
                    format!(
                        "\ninstall the compiler the kernel was built with: apt-get install {compiler}"
                    )
                }
                _ => String::new(),
            };
            return Err(Error::new(
                Problem::ModuleBuild,
                format!(
                    "{UINTR_MODULE}.ko does not build against {}",
                    headers.display()
                ),
            )
            .remedy(printed + &remedy));
        }
    };
    // Debugging information is many times the module, and the guest has no use for it.
    let stripped = folder.path().join("stripped.ko");
    let bytes = match tools::run(
        tools::command("strip", folder.path())
            .arg("--strip-debug")
            .arg("-o")
            .arg(&stripped)
            .arg(&built),
    ) {
        Ok(_) => fs::read(&stripped).map_err(|error| Error::file("read", &stripped, &error))?,
        Err(_) => whole.clone(),
    };
    Ok((
        Module {
            name: UINTR_MODULE.into(),
            bytes,
        },
        whole,
    ))
}

/// The compiler the kernel's build asks for by name, `gcc-12` for instance.
fn kernel_compiler(headers: &Path) -> Option<String> {
    let text = fs::read_to_string(headers.join(".kernelvariables")).ok()?;
    let line = text.lines().find(|line| {
        line.trim_start().starts_with("CC ") || line.trim_start().starts_with("CC=")
    })?;
    let name = line
        .split(|end: char| end.is_whitespace() || end == ')')
        .rfind(|word| word.starts_with("gcc"))?;
    Some(name.to_owned())
}

/// The sources that came with this build of the project; empty if it was built without.
pub fn embedded_sources() -> Vec<(String, Vec<u8>)> {
    MODULE_SOURCES
        .iter()
        .map(|(name, contents)| ((*name).to_owned(), contents.to_vec()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cloud_headers() -> Option<PathBuf> {
        let mut found: Vec<PathBuf> = fs::read_dir("/usr/src")
            .ok()?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.join(".kernelvariables").is_file())
            .collect();
        found.sort();
        found.pop()
    }

    fn sources(body: &str) -> Vec<(String, Vec<u8>)> {
        vec![
            (
                "Kbuild".into(),
                format!("obj-m := {UINTR_MODULE}.o\n").into_bytes(),
            ),
            (
                format!("{UINTR_MODULE}.c"),
                format!("#include <linux/module.h>\nMODULE_LICENSE(\"GPL\");\n{body}").into_bytes(),
            ),
        ]
    }

    #[test]
    fn modules_build_the_same_twice() {
        let Some(headers) = cloud_headers() else {
            eprintln!("skipped: no kernel headers on this host");
            return;
        };
        // Assembly too: its debugging information comes from another tool.
        let files = [
            (
                "Kbuild",
                "obj-m := ring3_uintr.o\nring3_uintr-y := main.o stub.o\n",
            ),
            (
                "main.c",
                "#include <linux/module.h>\nMODULE_LICENSE(\"GPL\");\nvoid stub(void);\n\
                        static int __init start(void) { stub(); return 0; }\nmodule_init(start);\n",
            ),
            (
                "stub.S",
                "#include <linux/linkage.h>\nSYM_FUNC_START(stub)\n\tRET\nSYM_FUNC_END(stub)\n",
            ),
        ];
        let sources = files.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
        let (module, whole) = build_against(&headers, &sources, &mut |_| {}).unwrap();
        assert!(module.bytes.len() < whole.len());
        let release = headers
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .trim_start_matches("linux-headers-");
        let magic = elf::module_information(Path::new("x"), &module.bytes, "vermagic").unwrap();
        assert!(magic[0].starts_with(release), "{magic:?}");
        assert_eq!(
            build_against(&headers, &sources, &mut |_| {}).unwrap().0,
            module
        );
        assert_eq!(kernel_compiler(&headers).as_deref(), Some("gcc-12"));
    }

    #[test]
    fn a_module_that_does_not_build_shows_why() {
        let Some(headers) = cloud_headers() else {
            eprintln!("skipped: no kernel headers on this host");
            return;
        };
        let error =
            build_against(&headers, &sources("int x = undeclared;\n"), &mut |_| {}).unwrap_err();
        assert_eq!(error.problem(), Problem::ModuleBuild);
        assert!(
            error.what_to_do().unwrap().contains("undeclared"),
            "{error}"
        );
    }

    #[test]
    fn compressed_modules_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("x.ko");
        fs::write(&plain, b"a module").unwrap();
        assert_eq!(read_module(&plain).unwrap(), b"a module");
        let mut tried = 0;
        for (tool, ending) in [("xz", "xz"), ("zstd", "zst"), ("gzip", "gz")] {
            let packed = Command::new(tool).arg("-k").arg("-q").arg(&plain).status();
            if packed.is_ok_and(|status| status.success()) {
                let path = folder.path().join(format!("x.ko.{ending}"));
                assert_eq!(read_module(&path).unwrap(), b"a module");
                fs::write(&path, b"damaged").unwrap();
                assert_eq!(
                    read_module(&path).unwrap_err().problem(),
                    Problem::ToolFailed
                );
                tried += 1;
            }
        }
        assert!(tried > 0, "every Linux has gzip");
    }

    #[test]
    fn names_in_paths() {
        let name = |path: &str| module_name(Path::new(path));
        assert_eq!(
            name("kernel/drivers/char/hw_random/virtio-rng.ko.xz").as_deref(),
            Some("virtio_rng")
        );
        assert_eq!(name("virtio.ko").as_deref(), Some("virtio"));
        assert_eq!(name("modules.order"), None);
        assert_eq!(release_number("6.1.0-56-cloud-amd64"), ("6", "1"));
    }
}
