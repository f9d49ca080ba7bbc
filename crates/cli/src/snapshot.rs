//! Machines that have booted a guest, kept beside the guest's files so that a program starts at once.
//!
//! A snapshot belongs to one guest, one set of machine options and one build of ring3: the name says
//! which. Whoever writes one holds a lock, so that two runs that start together boot only once.

use crate::failure::{Failure, Result};
use crate::machine_options::MachineOptions;
use ring3_guest::Guest;
use ring3_machine::Machine;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Snapshots kept per guest; each takes about as much room as the guest uses memory.
const KEPT_MAX: usize = 6;
const PREFIX: &str = "snapshot-";
const FACTS: &str = "json";
const LOCK: &str = ".snapshot-lock";

/// What is worth knowing about a boot besides the machine it led to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BootFacts {
    /// What the guest warned of.
    pub warnings: Vec<String>,
}

/// Where the snapshot of a guest for certain options is or will be.
pub struct Place {
    folder: PathBuf,
    name: String,
    build: String,
}

impl Place {
    /// For this guest and these options.
    pub fn new(guest: &Guest, options: &MachineOptions) -> Place {
        let build = build();
        let name = format!(
            "{PREFIX}{build}-{}cpu-{}k-seed{}-{}",
            options.cpus,
            options.mem >> 10,
            options.seed,
            options.engine.name()
        );
        Place {
            folder: guest.folder().to_owned(),
            name,
            build,
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
    pub fn lock(&self, waiting: &mut dyn FnMut()) -> Option<File> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join(LOCK))
            .ok()?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            waiting();
            flock(&file, FlockOperation::LockExclusive).ok()?;
        }
        Some(file)
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

    /// Removes snapshots of other builds, which nobody can use, and the longest unused ones.
    fn make_room(&self) {
        let usable = format!("{PREFIX}{}-", self.build);
        let mut found = of_guest(&self.folder);
        found.sort_by_key(|(path, _)| {
            let used = fs::metadata(path).and_then(|about| about.modified()).ok();
            std::cmp::Reverse(used)
        });
        let mut kept = 0;
        for (path, name) in found {
            if name.starts_with(&usable) && kept + 1 < KEPT_MAX {
                kept += 1;
            } else {
                remove(&path);
            }
        }
    }
}

fn remove(path: &Path) {
    let _ = fs::remove_file(path);
    let _ = fs::remove_file(path.with_extension(FACTS));
}

/// The snapshots in a guest's folder: path and name.
pub fn of_guest(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found: Vec<(PathBuf, String)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| {
            (
                entry.path(),
                entry.file_name().to_string_lossy().into_owned(),
            )
        })
        .filter(|(_, name)| name.starts_with(PREFIX) && !name.ends_with(".json"))
        .collect();
    found.sort();
    found
}

/// Removes all snapshots in a guest's folder; returns how many there were.
pub fn remove_all(folder: &Path) -> usize {
    let found = of_guest(folder);
    for (path, _) in &found {
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
