//! The user's cache folder: where it is, who may write, what is in it, how it is emptied.
//!
//! ```text
//! $XDG_CACHE_HOME/ring3/
//!     guests/NAME-DIGEST/      one guest: kernel, initramfs.cpio, manifest.json
//!     guests/index/FINGERPRINT which guest the same wish led to last time
//!     packages/NAME_VERSION/   unpacked packages of the distribution
//!     programs/                executables made from C sources
//!     lock                     held while something is being added
//! ```
//!
//! Nothing takes its name before it is complete, so a reader needs no lock. Source of the place: XDG Base Directory
//! Specification, "Environment variables".

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Problem, Result};
use crate::guest::Manifest;

/// The cache folder of this user.
pub fn default_cache_folder() -> Result<PathBuf> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|base| base.join("ring3"))
        .ok_or_else(|| {
            Error::new(
                Problem::Usage,
                "there is no folder to keep guests in: neither XDG_CACHE_HOME nor HOME is set",
            )
            .remedy("set XDG_CACHE_HOME to a folder you may write to")
        })
}

/// Where guests are.
pub(crate) fn guests(cache: &Path) -> PathBuf {
    cache.join("guests")
}

/// Where wishes are remembered.
pub(crate) fn index(cache: &Path) -> PathBuf {
    guests(cache).join("index")
}

/// Keeps others from adding to the cache while it lives.
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for its turn.
    pub(crate) fn take(cache: &Path, progress: &mut dyn FnMut(&str)) -> Result<Self> {
        use rustix::fs::{FlockOperation, flock};
        fs::create_dir_all(cache).map_err(|error| Error::cache("make", cache, &error))?;
        let path = cache.join("lock");
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|error| Error::cache("open", &path, &error))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            progress("waiting for another ring3 that is adding to the cache");
            flock(&file, FlockOperation::LockExclusive)
                .map_err(|error| Error::file("lock", &path, &error.into()))?;
        }
        Ok(Self { _file: file })
    }
}

/// One thing in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// The name of its folder.
    pub name: String,
    /// Where it is.
    pub folder: PathBuf,
    /// Bytes it takes.
    pub bytes: u64,
    /// For a guest: what it is made of.
    pub guest: Option<Manifest>,
    /// For a guest: what is wrong with it.
    pub damage: Option<String>,
}

/// What [`clean`] removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Guests, whole or damaged. Packages stay, so making them again needs no network.
    Guests,
    /// Guests that are damaged.
    Damaged,
    /// Guests and packages whose folder has this name or begins with it and a dash.
    Named(String),
    /// All there is.
    Everything,
}

/// What is in the cache: guests first, then packages.
pub fn list(cache: &Path) -> Result<Vec<CacheEntry>> {
    let mut entries = Vec::new();
    for folder in folders(&guests(cache))? {
        if folder == index(cache) {
            continue;
        }
        let opened = Manifest::open(&folder);
        entries.push(CacheEntry {
            name: name_of(&folder),
            bytes: bytes_below(&folder),
            damage: opened
                .as_ref()
                .err()
                .map(|error| error.sentence().to_owned()),
            guest: opened.ok(),
            folder,
        });
    }
    for kept in ["packages", "programs"] {
        for folder in folders(&cache.join(kept))? {
            let bytes = bytes_below(&folder);
            entries.push(CacheEntry {
                name: name_of(&folder),
                folder,
                bytes,
                guest: None,
                damage: None,
            });
        }
    }
    Ok(entries)
}

/// Removes from the cache; returns what was removed.
pub fn clean(
    cache: &Path,
    selection: &Selection,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<CacheEntry>> {
    if !cache.exists() {
        return Ok(Vec::new());
    }
    let _lock = Lock::take(cache, progress)?;
    let guests = guests(cache);
    let mut removed = list(cache)?;
    removed.retain(|entry| match selection {
        Selection::Guests => entry.folder.starts_with(&guests),
        Selection::Damaged => entry.damage.is_some(),
        Selection::Named(name) => {
            entry.name == *name || entry.name.starts_with(&format!("{name}-"))
        }
        Selection::Everything => true,
    });
    for entry in &removed {
        remove_folder(&entry.folder)?;
    }
    if *selection == Selection::Everything {
        for rest in ["apt", "guests", "packages", "programs"] {
            if cache.join(rest).exists() {
                remove_folder(&cache.join(rest))?;
            }
        }
    }
    Ok(removed)
}

/// Removes a folder so that nobody ever sees half of it.
pub(crate) fn remove_folder(folder: &Path) -> Result<()> {
    let removing = folder.with_file_name(format!(
        ".removing-{}-{}",
        std::process::id(),
        name_of(folder)
    ));
    fs::rename(folder, &removing).map_err(|error| Error::file("remove", folder, &error))?;
    fs::remove_dir_all(&removing).map_err(|error| Error::file("remove", &removing, &error))
}

fn name_of(folder: &Path) -> String {
    folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The folders in a folder, in order, without temporary ones.
fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("list", folder, &error)),
    };
    let mut found: Vec<PathBuf> = listing
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    Ok(found)
}

fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
            // What it takes on the disk: snapshots are mostly holes.
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}
