//! Makes a guest, keeps it, finds it again.
//!
//! A guest is named by the digest of everything it is made of, so it is made again exactly when something changes: the
//! kernel, a module, the agent, a library of the host it holds, the format. Because reading all that takes longer
//! than it should take to start a program, the wish itself (which files, with which sizes and times) is remembered
//! with the guest it led to.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cache::{self, Lock, default_cache_folder};
use crate::error::{Error, Problem, Result};
use crate::image::{self, FORMAT};
use crate::kernel::{self, Kernel, KernelChoice, ModulesChoice};
use crate::libraries::Finder;
use crate::module::{self, Module};
use crate::packages::Packages;
use crate::protocol;
use crate::tree::{Contents, Stamp};

const KERNEL: &str = "kernel";
const INITRAMFS: &str = "initramfs.cpio";
const CONTENTS: &str = "contents.json";
const MANIFEST: &str = "manifest.json";
const SYSTEM_MAP: &str = "System.map";
const MODULE_WITH_SYMBOLS: &str = "ring3_uintr.ko";

/// Where the guest's module for user interrupts comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum UintrModule {
    /// From the sources that came with this program.
    #[default]
    Embedded,
    /// From these sources: relative path and contents. One has to be a `Kbuild` that makes `ring3_uintr.o`.
    Sources(Vec<(String, Vec<u8>)>),
    /// This file, built by somebody else.
    File(PathBuf),
    /// There is none: the guest has no uintr system calls.
    None,
}

/// A wish for a guest.
#[derive(Debug, Clone)]
pub struct GuestBuilder {
    name: String,
    cache: Option<PathBuf>,
    kernel: KernelChoice,
    modules: ModulesChoice,
    uintr: UintrModule,
}

impl Default for GuestBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl GuestBuilder {
    /// The default guest in the default place.
    pub fn new() -> Self {
        Self {
            name: "default".into(),
            cache: None,
            kernel: KernelChoice::Default,
            modules: ModulesChoice::Search,
            uintr: UintrModule::Embedded,
        }
    }

    /// Calls the guest this: letters, digits, dashes.
    pub fn name(self, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..self
        }
    }

    /// Keeps things in this folder instead of [`default_cache_folder`].
    pub fn cache(self, folder: impl Into<PathBuf>) -> Self {
        Self {
            cache: Some(folder.into()),
            ..self
        }
    }

    /// Boots this kernel.
    pub fn kernel(self, kernel: KernelChoice) -> Self {
        Self { kernel, ..self }
    }

    /// Takes the kernel's modules from here.
    pub fn modules(self, modules: ModulesChoice) -> Self {
        Self { modules, ..self }
    }

    /// Takes the module for user interrupts from here.
    pub fn uintr(self, uintr: UintrModule) -> Self {
        Self { uintr, ..self }
    }

    /// Finds the guest in the cache or makes it. What takes long is announced to `progress`, one line each.
    pub fn prepare(&self, progress: &mut dyn FnMut(&str)) -> Result<Guest> {
        let valid = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        if self.name.is_empty() || !self.name.chars().all(valid) {
            return Err(Error::new(
                Problem::Usage,
                format!("'{}' is no name for a guest", self.name),
            )
            .remedy("use letters, digits and dashes"));
        }
        let cache = match &self.cache {
            Some(folder) => folder.clone(),
            None => default_cache_folder()?,
        };
        let finder = Finder::of_host();
        let host_files = image::host_files(&finder)?;
        let mut packages = Packages::new(&cache);
        let at_hand = kernel::at_hand(&self.kernel, &self.modules, &packages)?;
        if let Some(kernel) = &at_hand {
            let wish = self.wish(kernel, &host_files.fingerprint())?;
            if let Some(guest) = remembered(&cache, &wish, progress) {
                return Ok(guest);
            }
        }

        let _lock = Lock::take(&cache, progress)?;
        // Whoever held the lock may have done what is needed.
        let kernel = match kernel::at_hand(&self.kernel, &self.modules, &packages)? {
            Some(kernel) => kernel,
            None => kernel::download(&mut packages, progress)?,
        };
        let wish = self.wish(&kernel, &host_files.fingerprint())?;
        if let Some(guest) = remembered(&cache, &wish, progress) {
            return Ok(guest);
        }
        let folder = self.make(&cache, &kernel, host_files, &mut packages, progress)?;
        let index = cache::index(&cache);
        fs::create_dir_all(&index).map_err(|error| Error::file("make", &index, &error))?;
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        write_atomically(&index.join(&wish), name.as_bytes())?;
        Guest::open(&folder)
    }

    /// A digest of what is wished for and of what identifies the files it is made of, read from none of them.
    fn wish(&self, kernel: &Kernel, host_files: &str) -> Result<String> {
        let stamp = |path: &Path| -> Result<Stamp> {
            fs::metadata(path)
                .map(|found| Stamp::of(&found))
                .map_err(|error| Error::file("find", path, &error))
        };
        let mut text = format!(
            "{FORMAT} {} {}\n{host_files}\n{kernel:?}\n",
            self.name,
            protocol::VERSION
        );
        for path in [Some(&kernel.image), kernel.modules.as_ref()]
            .into_iter()
            .flatten()
        {
            writeln!(text, "{:?}", stamp(path)?).expect("a string takes everything");
        }
        text.push_str(&image::command_line());
        let mut digest = Sha256::new();
        digest.update(text);
        digest.update(image::AGENT);
        match &self.uintr {
            UintrModule::Embedded => digest_sources(&mut digest, &module::embedded_sources()),
            UintrModule::Sources(sources) => digest_sources(&mut digest, sources),
            UintrModule::File(path) => digest.update(format!("{path:?} {:?}", stamp(path)?)),
            UintrModule::None => digest.update("none"),
        }
        Ok(hexadecimal(&digest.finalize()))
    }

    /// Makes the guest, or finds that one with the same digest exists; returns its folder.
    fn make(
        &self,
        cache: &Path,
        kernel: &Kernel,
        host_files: crate::tree::Tree,
        packages: &mut Packages,
        progress: &mut dyn FnMut(&str),
    ) -> Result<PathBuf> {
        progress(&format!(
            "making the guest '{}' with Linux {}",
            self.name, kernel.release
        ));
        let mut modules: Vec<(Module, bool)> = module::drivers(kernel)?
            .into_iter()
            .map(|module| (module, true))
            .collect();
        let mut with_symbols = None;
        let sources = match &self.uintr {
            UintrModule::None => None,
            UintrModule::Embedded => Some(module::embedded_sources()),
            UintrModule::Sources(sources) => Some(sources.clone()),
            UintrModule::File(path) => {
                let bytes =
                    fs::read(path).map_err(|error| Error::file("read the module", path, &error))?;
                with_symbols = Some(bytes.clone());
                modules.push((
                    Module {
                        name: module::UINTR_MODULE.into(),
                        bytes,
                    },
                    false,
                ));
                None
            }
        };
        if let Some(sources) = sources {
            if sources.is_empty() {
                return Err(Error::new(
                    Problem::ModuleBuild,
                    "this ring3 was built without the sources of the module for user interrupts",
                )
                .remedy(
                    "build it from a complete source tree, or make the guest without the module",
                ));
            }
            let (module, whole) = module::build_uintr(kernel, &sources, packages, progress)?;
            with_symbols = Some(whole);
            // Optional: on a machine whose processors have no user interrupts the module refuses, and the guest is
            // of use all the same. The agent says so.
            modules.push((module, false));
        }
        let kernel_bytes = fs::read(&kernel.image)
            .map_err(|error| Error::file("read the kernel", &kernel.image, &error))?;
        let (initramfs, contents) = image::initramfs(host_files, &modules)?;
        let contents =
            serde_json::to_vec(&contents).expect("a map of paths is always writable as JSON");

        let mut files = vec![
            (KERNEL, kernel_bytes),
            (INITRAMFS, initramfs),
            (CONTENTS, contents),
        ];
        // Debian's package has a stub in its place that names the package with the real one.
        let is_real = |bytes: &Vec<u8>| bytes.len() > 4096;
        if let Some(bytes) = kernel
            .system_map
            .as_ref()
            .and_then(|map| fs::read(map).ok())
            .filter(is_real)
        {
            files.push((SYSTEM_MAP, bytes));
        }
        if let Some(bytes) = with_symbols {
            files.push((MODULE_WITH_SYMBOLS, bytes));
        }
        let manifest = Manifest {
            format: FORMAT,
            protocol: protocol::VERSION,
            name: self.name.clone(),
            kernel_release: kernel.release.clone(),
            command_line: image::command_line(),
            modules: modules
                .iter()
                .map(|(module, _)| module.name.clone())
                .collect(),
            files: files
                .iter()
                .map(|(name, bytes)| ManifestFile {
                    name: (*name).to_owned(),
                    bytes: bytes.len() as u64,
                    sha256: hexadecimal(&Sha256::digest(bytes)),
                })
                .collect(),
        };
        let manifest =
            serde_json::to_vec_pretty(&manifest).expect("a manifest is always writable as JSON");
        let digest = hexadecimal(&Sha256::digest(&manifest));
        let folder = cache::guests(cache).join(format!("{}-{}", self.name, &digest[..16]));
        if folder.exists() {
            match Manifest::open(&folder) {
                Ok(_) => return Ok(folder),
                Err(_) => cache::remove_folder(&folder)?,
            }
        }
        let parent = cache::guests(cache);
        fs::create_dir_all(&parent).map_err(|error| Error::file("make", &parent, &error))?;
        let temporary = tempfile::Builder::new()
            .prefix(".making-")
            .tempdir_in(&parent)
            .map_err(|error| Error::file("make a folder in", &parent, &error))?;
        files.push((MANIFEST, manifest));
        for (name, bytes) in files {
            let path = temporary.path().join(name);
            fs::write(&path, bytes).map_err(|error| Error::file("write", &path, &error))?;
        }
        let temporary = temporary.keep();
        fs::rename(&temporary, &folder)
            .map_err(|error| Error::file("rename to", &folder, &error))?;
        Ok(folder)
    }
}

/// The guest this wish led to before, if it is still there and whole.
fn remembered(cache: &Path, wish: &str, progress: &mut dyn FnMut(&str)) -> Option<Guest> {
    let name = fs::read_to_string(cache::index(cache).join(wish)).ok()?;
    let folder = cache::guests(cache).join(name.trim());
    if !folder.is_dir() {
        return None;
    }
    match Guest::open(&folder) {
        Ok(guest) => Some(guest),
        Err(error) => {
            progress(&format!("{}; making the guest again", error.sentence()));
            None
        }
    }
}

fn digest_sources(digest: &mut Sha256, sources: &[(String, Vec<u8>)]) {
    for (name, contents) in sources {
        digest.update(format!("{name:?} {}\n", contents.len()));
        digest.update(contents);
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let failed = |error: &std::io::Error| Error::file("write", path, error);
    let file = tempfile::NamedTempFile::new_in(parent).map_err(|error| failed(&error))?;
    fs::write(file.path(), bytes).map_err(|error| failed(&error))?;
    file.persist(path).map_err(|error| failed(&error.error))?;
    Ok(())
}

/// What a guest is made of, as its folder says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of the folder.
    format: u32,
    /// Version of the run protocol its agent speaks.
    pub protocol: u16,
    /// The guest's name.
    pub name: String,
    /// As `uname -r` says in it.
    pub kernel_release: String,
    /// What its kernel is told.
    pub command_line: String,
    /// Modules its agent loads, in order.
    pub modules: Vec<String>,
    files: Vec<ManifestFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ManifestFile {
    name: String,
    bytes: u64,
    sha256: String,
}

impl Manifest {
    /// Reads the manifest of a folder and compares names and sizes with what is there.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let bytes =
            fs::read(&path).map_err(|error| damaged(folder, &format!("{MANIFEST}: {error}")))?;
        let manifest: Self = serde_json::from_slice(&bytes)
            .map_err(|error| damaged(folder, &format!("{MANIFEST}: {error}")))?;
        if manifest.format != FORMAT {
            return Err(damaged(
                folder,
                &format!(
                    "it has format {}, this ring3 makes {FORMAT}",
                    manifest.format
                ),
            ));
        }
        for file in &manifest.files {
            match fs::metadata(folder.join(&file.name)) {
                Ok(found) if found.len() == file.bytes => {}
                Ok(found) => {
                    let why = format!(
                        "{} has {} bytes instead of {}",
                        file.name,
                        found.len(),
                        file.bytes
                    );
                    return Err(damaged(folder, &why));
                }
                Err(error) => return Err(damaged(folder, &format!("{}: {error}", file.name))),
            }
        }
        Ok(manifest)
    }
}

fn damaged(folder: &Path, why: &str) -> Error {
    Error::new(
        Problem::CacheDamaged,
        format!("the guest in {} is damaged ({why})", folder.display()),
    )
    .remedy("remove it with: ring3 guest clean --damaged (it is made again when it is needed)")
}

/// A guest that is ready to be booted.
#[derive(Debug, Clone)]
pub struct Guest {
    folder: PathBuf,
    manifest: Manifest,
}

impl Guest {
    /// The guest in a folder of the cache.
    pub fn open(folder: &Path) -> Result<Self> {
        Ok(Self {
            folder: folder.to_owned(),
            manifest: Manifest::open(folder)?,
        })
    }

    /// What identifies it: the name and a digest of all it is made of. A snapshot of a machine that booted it is good
    /// as long as this stays the same.
    pub fn identity(&self) -> String {
        self.folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// Its folder. A caller may keep what belongs to this guest beside its files, in names that begin with a dot
    /// or `snapshot`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it is made of.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The kernel: a bzImage as a rule, otherwise what the person gave. Its digest is checked.
    pub fn kernel(&self) -> Result<Vec<u8>> {
        self.checked(KERNEL)
    }

    /// The initial file system, an uncompressed cpio archive. Its digest is checked.
    pub fn initramfs(&self) -> Result<Vec<u8>> {
        self.checked(INITRAMFS)
    }

    /// What the kernel is to be told.
    pub fn command_line(&self) -> &str {
        &self.manifest.command_line
    }

    /// What a job need not bring.
    pub fn contents(&self) -> Contents {
        self.checked(CONTENTS)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// The kernel's symbols and their addresses, where the kernel came with them.
    pub fn system_map(&self) -> Option<PathBuf> {
        Some(self.folder.join(SYSTEM_MAP)).filter(|path| path.is_file())
    }

    /// The module for user interrupts with its debugging information.
    pub fn uintr_module_with_symbols(&self) -> Option<PathBuf> {
        Some(self.folder.join(MODULE_WITH_SYMBOLS)).filter(|path| path.is_file())
    }

    fn checked(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.folder.join(name);
        let bytes =
            fs::read(&path).map_err(|error| damaged(&self.folder, &format!("{name}: {error}")))?;
        let known = self.manifest.files.iter().find(|file| file.name == name);
        match known.is_some_and(|file| file.sha256 == hexadecimal(&Sha256::digest(&bytes))) {
            true => Ok(bytes),
            false => Err(damaged(
                &self.folder,
                &format!("{name} is not what was put there"),
            )),
        }
    }
}
