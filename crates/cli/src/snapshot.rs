//! Machines that have booted a guest, kept beside the guest's files so that a program starts at once.
//!
//! A snapshot belongs to one guest, one set of machine options and one build of ring3: the name says
//! which. Whoever writes one holds a lock, so that two like runs that start together boot only once.

use crate::failure::{Failure, Result};
use crate::machine_options::MachineOptions;
use ring3_guest::Guest;
use ring3_machine::Machine;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Snapshots kept, of all guests together; each takes about as much room as its guest uses memory, 70 MiB
/// and more.
const KEPT_MAX: usize = 8;
const PREFIX: &str = "snapshot-";
const FACTS: &str = "json";
const LOCK: &str = "lock";

/// What is worth knowing about a boot besides the machine it led to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BootFacts {
    /// What the guest warned of.
    pub warnings: Vec<String>,
}

/// The right to make a snapshot.
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Who waits for this file gets the lock all the same; who makes a new one finds the snapshot.
        let _ = fs::remove_file(&self.path);
    }
}

/// Where the snapshot of a guest for certain options is or will be.
pub struct Place {
    folder: PathBuf,
    name: String,
}

impl Place {
    /// For this guest and these options.
    pub fn new(guest: &Guest, options: &MachineOptions) -> Place {
        let name = format!(
            "{PREFIX}{}-{}cpu-{}-{}k-seed{}-{}",
            build(),
            options.cpus,
            options.cpu.kind().name(),
            options.mem >> 10,
            options.seed,
            options.engine.name()
        );
        Place {
            folder: guest.folder().to_owned(),
            name,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    fn facts(&self) -> PathBuf {
        self.path().with_extension(FACTS)
    }

    /// The machine and the facts, if they are there and good. What is damaged is removed and told of.
    pub fn restore(&self, tell: &mut dyn FnMut(&str)) -> Option<(Machine, BootFacts)> {
        let path = self.path();
        let mut file = File::open(&path).ok()?;
        let facts = fs::read(self.facts())
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let (Some(facts), Ok(machine)) = (facts, Machine::restore(&mut file)) else {
            tell(&format!(
                "the snapshot {} cannot be used; the guest is booted again",
                path.display()
            ));
            let _ = fs::remove_file(&path);
            return None;
        };
        // Only the time changes, never the content, which the machine has mapped.
        let _ = file.set_modified(SystemTime::now());
        Some((machine, facts))
    }

    /// Keeps others from making the same snapshot while the result lives. `None` where the folder
    /// cannot be written to: then nothing will be kept.
    pub fn lock(&self, waiting: &mut dyn FnMut()) -> Option<Lock> {
        let path = self.folder.join(format!(".{}.{LOCK}", self.name));
        let file = File::options().create(true).append(true).open(&path).ok()?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            waiting();
            flock(&file, FlockOperation::LockExclusive).ok()?;
        }
        Some(Lock { path, _file: file })
    }

    /// Keeps the machine.
    ///
    /// # Errors
    /// If the host's file system refuses.
    pub fn save(&self, machine: &mut Machine, facts: &BootFacts) -> Result<()> {
        self.make_room();
        let failed = |error: &std::io::Error| Failure::file("write", &self.path(), error);
        let mut file = tempfile::Builder::new()
            .prefix(".snapshot-")
            .tempfile_in(&self.folder)
            .map_err(|error| failed(&error))?;
        machine
            .save(file.as_file_mut())
            .map_err(|error| Failure::new(error.to_string()))?;
        let facts = serde_json::to_vec(facts).expect("sentences are always JSON");
        fs::write(self.facts(), facts).map_err(|error| failed(&error))?;
        file.persist(self.path())
            .map_err(|error| failed(&error.error))?;
        Ok(())
    }

    /// Removes the longest unused snapshots so that there is room for one more.
    fn make_room(&self) {
        let guests = self.folder.parent().map(fs::read_dir);
        let mut found: Vec<PathBuf> = guests
            .into_iter()
            .flatten()
            .flatten()
            .flatten()
            .flat_map(|guest| of_guest(&guest.path()))
            .collect();
        found.sort_by_key(|path| {
            let used = fs::metadata(path).and_then(|about| about.modified()).ok();
            std::cmp::Reverse(used)
        });
        for path in found.iter().skip(KEPT_MAX - 1) {
            remove(path);
        }
    }
}

fn remove(path: &Path) {
    let _ = fs::remove_file(path);
    let _ = fs::remove_file(path.with_extension(FACTS));
}

/// The snapshots in a guest's folder.
pub fn of_guest(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(PREFIX) && path.extension().is_none_or(|kind| kind != FACTS)
        })
        .collect();
    found.sort();
    found
}

/// Removes all snapshots in a guest's folder; returns how many there were.
pub fn remove_all(folder: &Path) -> usize {
    let found = of_guest(folder);
    for path in &found {
        remove(path);
    }
    found.len()
}

/// Names this build of ring3: a machine that another build saved may mean something else. Size and
/// time of the executable change with every build, and looking at them costs nothing.
fn build() -> String {
    let about = std::env::current_exe().and_then(fs::metadata);
    let stamp = match about {
        Ok(about) => format!("{} {:?}", about.len(), about.modified().ok()),
        Err(_) => String::new(),
    };
    format!(
        "{:08x}",
        xxhash_rust::xxh3::xxh3_64(format!("{} {stamp}", crate::VERSION).as_bytes()) as u32
    )
}
