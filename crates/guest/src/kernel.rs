//! The kernel of the guest: a stock one, from the distribution's package.
//!
//! Debian's cloud kernel 6.1 is the default: small, with virtio drivers as modules, and the one the project's module
//! for user interrupts is made for. It is taken from the cache, from the running system, or from the distribution's
//! package archive, in that order.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, Problem, Result};
use crate::packages::{self, Packages};

/// Which kernel a guest is made with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum KernelChoice {
    /// Debian's cloud kernel, wherever it can be had.
    #[default]
    Default,
    /// This file: a bzImage, an uncompressed vmlinux, or a Debian package (`.deb`) with a kernel in it.
    File(PathBuf),
}

/// Where the kernel's modules are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum ModulesChoice {
    /// Beside the kernel or in `/lib/modules`.
    #[default]
    Search,
    /// In this folder, laid out like `/lib/modules/RELEASE`.
    Folder(PathBuf),
    /// Nowhere: the kernel has the drivers built in.
    BuiltIn,
}

/// A kernel that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The file to boot.
    pub image: PathBuf,
    /// As `uname -r` says in the guest.
    pub release: String,
    /// The folder with its modules.
    pub modules: Option<PathBuf>,
    /// The kernel's symbols with their addresses.
    pub system_map: Option<PathBuf>,
    /// Version of the package it is from.
    pub package_version: Option<String>,
}

/// Finds the kernel without the network; `None` if it has to be downloaded.
pub fn at_hand(
    choice: &KernelChoice,
    modules: &ModulesChoice,
    packages: &Packages,
) -> Result<Option<Kernel>> {
    match choice {
        KernelChoice::File(path) => from_file(path, modules, packages).map(Some),
        KernelChoice::Default => {
            if let Some(kernel) = from_store(packages)? {
                return Ok(Some(kernel));
            }
            Ok(installed(Path::new("/boot"), Path::new("/lib/modules")))
        }
    }
}

/// Downloads the default kernel.
pub fn download(packages: &mut Packages, progress: &mut dyn FnMut(&str)) -> Result<Kernel> {
    let offered = packages
        .offered(r"^linux-image-6\.1\.0-[0-9]+-cloud-amd64$", progress)
        .map_err(|error| match error.problem() {
            Problem::ToolMissing => no_kernel("this system has no apt-get to get a kernel with"),
            _ => error,
        })?;
    // If headers are installed, the kernel they belong to spares a download; otherwise the newest.
    let rank = |name: &str| {
        let release = name.trim_start_matches("linux-image-");
        let has_headers = Path::new("/usr/src")
            .join(format!("linux-headers-{release}"))
            .is_dir();
        let number = name
            .split('-')
            .nth(3)
            .and_then(|number| number.parse::<u32>().ok());
        (has_headers, number)
    };
    let (name, version) = offered
        .into_iter()
        .max_by_key(|(name, _)| rank(name))
        .ok_or_else(|| no_kernel("the distribution offers no cloud kernel 6.1"))?;
    let folder = packages.fetch(
        &format!("{name}_{version}"),
        &[format!("{name}={version}")],
        progress,
    )?;
    in_tree(&folder, Some(version))
}

fn no_kernel(why: &str) -> Error {
    Error::new(Problem::KernelNotFound, why).remedy(
        "give one with --kernel FILE: Debian's package linux-image-6.1.0-*-cloud-amd64 (a .deb will do), \
         or a bzImage whose modules are in /lib/modules",
    )
}

/// The newest cloud kernel in the store.
fn from_store(packages: &Packages) -> Result<Option<Kernel>> {
    let mut best: Option<(u32, String)> = None;
    for key in packages.keys() {
        let number = key
            .strip_prefix("linux-image-6.1.0-")
            .and_then(|rest| rest.split_once("-cloud-amd64_"))
            .and_then(|(number, _)| number.parse().ok());
        if let Some(number) = number
            && best.as_ref().is_none_or(|(known, _)| *known <= number)
        {
            best = Some((number, key));
        }
    }
    let Some((_, key)) = best else {
        return Ok(None);
    };
    let version = key.split_once('_').map(|(_, version)| version.to_owned());
    match packages.find(&key) {
        Some(folder) => in_tree(&folder, version).map(Some),
        None => Ok(None),
    }
}

/// A cloud kernel 6.1 that is installed with its modules and may be read.
fn installed(boot: &Path, modules: &Path) -> Option<Kernel> {
    let mut releases: Vec<(u32, String)> = fs::read_dir(boot)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let release = name.strip_prefix("vmlinuz-")?.to_owned();
            let number = release
                .strip_prefix("6.1.0-")?
                .strip_suffix("-cloud-amd64")?
                .parse()
                .ok()?;
            Some((number, release))
        })
        .collect();
    releases.sort();
    releases.into_iter().rev().find_map(|(_, release)| {
        let image = boot.join(format!("vmlinuz-{release}"));
        let modules = modules.join(&release);
        let is_usable =
            fs::File::open(&image).is_ok() && modules.join("kernel/drivers/virtio").is_dir();
        is_usable.then(|| Kernel {
            image,
            modules: Some(modules),
            system_map: Some(boot.join(format!("System.map-{release}")))
                .filter(|map| fs::File::open(map).is_ok()),
            package_version: None,
            release,
        })
    })
}

/// The kernel in an unpacked package.
fn in_tree(folder: &Path, version: Option<String>) -> Result<Kernel> {
    let damaged = |what: &str| {
        Error::new(
            Problem::CacheDamaged,
            format!("{} holds {what}", folder.display()),
        )
        .remedy("remove that folder; it is made again")
    };
    let image = fs::read_dir(folder.join("boot"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"))
        })
        .ok_or_else(|| damaged("no boot/vmlinuz-*"))?;
    let release = release_of(&image)?;
    let modules = ["lib/modules", "usr/lib/modules"]
        .into_iter()
        .map(|base| folder.join(base).join(&release))
        .find(|modules| modules.is_dir())
        .ok_or_else(|| damaged("no modules of its kernel"))?;
    Ok(Kernel {
        system_map: Some(folder.join("boot").join(format!("System.map-{release}")))
            .filter(|map| map.is_file()),
        image,
        modules: Some(modules),
        package_version: version,
        release,
    })
}

/// A kernel the person names.
fn from_file(path: &Path, modules: &ModulesChoice, packages: &Packages) -> Result<Kernel> {
    let mut magic = [0; 8];
    let _ = fs::File::open(path)
        .map_err(|error| Error::file("read the kernel", path, &error))?
        .read_exact(&mut magic);
    if &magic == b"!<arch>\n" {
        let path = fs::canonicalize(path).map_err(|error| Error::file("find", path, &error))?;
        let (name, version) = (
            packages::field(&path, "Package")?,
            packages::field(&path, "Version")?,
        );
        let folder = packages.unpack_files(&format!("{name}_{version}"), &[path])?;
        return in_tree(&folder, Some(version));
    }
    let release = release_of(path)?;
    let modules = match modules {
        ModulesChoice::BuiltIn => None,
        ModulesChoice::Folder(folder) if folder.is_dir() => Some(folder.clone()),
        ModulesChoice::Folder(folder) => {
            return Err(Error::new(
                Problem::ModulesNotFound,
                format!("{} is not a folder", folder.display()),
            ));
        }
        ModulesChoice::Search => {
            let beside = path
                .parent()
                .and_then(Path::parent)
                .map(|root| root.join("lib/modules").join(&release));
            let system = Path::new("/lib/modules").join(&release);
            let found = beside
                .into_iter()
                .chain([system])
                .find(|folder| folder.join("kernel").is_dir());
            Some(found.ok_or_else(|| {
                Error::new(
                    Problem::ModulesNotFound,
                    format!("the modules of {} (Linux {release}) are neither beside it nor in /lib/modules", path.display()),
                )
                .remedy("name their folder: ring3 guest build --kernel FILE --modules FOLDER, or --modules builtin if it needs none; \
                     a Debian package with a kernel brings its modules")
            })?)
        }
    };
    let map = path.with_file_name(format!("System.map-{release}"));
    Ok(Kernel {
        image: path.to_owned(),
        release,
        modules,
        system_map: Some(map).filter(|map| map.is_file()),
        package_version: None,
    })
}

/// The release a kernel file says of itself.
///
/// A bzImage has it where the field `kernel_version` points (The Linux/x86 Boot Protocol, "Details of Header Fields");
/// an uncompressed kernel in its banner.
pub fn release_of(path: &Path) -> Result<String> {
    // The pointer of a bzImage cannot reach further than this.
    const HEAD_BYTES: u64 = 0x200 + 0x10000 + 100;
    let unreadable = |error: std::io::Error| Error::file("read the kernel", path, &error);
    let mut file = fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    (&mut file)
        .take(HEAD_BYTES)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.starts_with(crate::elf::MAGIC) {
        file.read_to_end(&mut bytes).map_err(unreadable)?;
    }
    let word_at = |text: &[u8]| -> Option<String> {
        let end = text
            .iter()
            .take(100)
            .position(|&byte| byte == b' ' || byte == 0)?;
        let word = std::str::from_utf8(&text[..end]).ok()?;
        (word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.'))
            .then(|| word.to_owned())
    };
    let release = if bytes.get(0x202..0x206) == Some(b"HdrS") {
        bytes
            .get(0x20e..0x210)
            .map(|pointer| usize::from(u16::from_le_bytes([pointer[0], pointer[1]])))
            .and_then(|pointer| bytes.get(pointer + 0x200..))
            .and_then(word_at)
    } else if bytes.starts_with(crate::elf::MAGIC) {
        let banner = b"Linux version ";
        bytes
            .windows(banner.len())
            .enumerate()
            .filter(|(_, window)| window == banner)
            .find_map(|(at, _)| word_at(&bytes[at + banner.len()..]))
    } else {
        None
    };
    release.ok_or_else(|| {
        Error::new(
            Problem::KernelNotFound,
            format!("{} is not a Linux kernel for x86", path.display()),
        )
        .remedy(
            "a bzImage (vmlinuz), an uncompressed vmlinux or a Debian package with one is needed",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_in_a_boot_header() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut image = vec![0; 0x4000];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e..0x210].copy_from_slice(&0x3000_u16.to_le_bytes());
        image[0x3200..0x321d].copy_from_slice(b"6.1.0-56-cloud-amd64 (debian)");
        fs::write(file.path(), &image).unwrap();
        assert_eq!(release_of(file.path()).unwrap(), "6.1.0-56-cloud-amd64");
        for length in [0, 3, 0x206, 0x20f, 0x210, 0x3200, 0x3204] {
            fs::write(file.path(), &image[..length]).unwrap();
            assert_eq!(
                release_of(file.path()).unwrap_err().problem(),
                Problem::KernelNotFound,
                "{length}"
            );
        }
        fs::write(
            file.path(),
            b"\x7fELF....Linux version %s\0Linux version 6.12.3 (x)",
        )
        .unwrap();
        assert_eq!(release_of(file.path()).unwrap(), "6.12.3");
    }

    #[test]
    fn the_newest_installed_kernel_that_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (boot, modules) = (folder.path().join("boot"), folder.path().join("modules"));
        fs::create_dir(&boot).unwrap();
        assert_eq!(installed(&boot, &modules), None);
        for release in [
            "6.1.0-9-cloud-amd64",
            "6.1.0-10-cloud-amd64",
            "6.1.0-11-cloud-amd64",
            "6.1.0-12-amd64",
        ] {
            fs::write(boot.join(format!("vmlinuz-{release}")), b"").unwrap();
            if !release.contains("-11-") {
                fs::create_dir_all(modules.join(release).join("kernel/drivers/virtio")).unwrap();
            }
        }
        assert_eq!(
            installed(&boot, &modules).unwrap().release,
            "6.1.0-10-cloud-amd64"
        );
    }
}
