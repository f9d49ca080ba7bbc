//! Saving and restoring the whole machine.
//!
//! A snapshot is one file: a fixed prologue, the state of processors and devices (postcard), and
//! RAM as a sparse image at a page boundary, so that restoring maps the file copy-on-write instead
//! of reading it. Everything is covered by a hash, because files get damaged and a machine built
//! from damaged state would fail in ways nobody could explain.

use crate::config::{CPUS_MAX, MachineConfig};
use crate::machine::{Machine, Round};
use crate::platform::LegacyLines;
use ring3_arch::PAGE_SIZE;
use ring3_clock::Ticks;
use ring3_cpu::{Cpu, CpuModel};
use ring3_memory::{Ram, RamLayout};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use thiserror::Error;
use xxhash_rust::xxh3::Xxh3Default;

const MAGIC: [u8; 16] = *b"RING3 SNAPSHOT\r\n";
/// Raised whenever the meaning of a snapshot changes.
const VERSION: u32 = 2;
/// Magic, version, padding, state length, state hash.
const PROLOGUE: u64 = 40;
/// A state larger than this is not one.
const STATE_MAX: u64 = 256 << 20;

/// A snapshot could not be written or read.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// The host's file system.
    #[error("reading or writing the snapshot failed: {0}")]
    Io(#[from] std::io::Error),
    /// Some other file.
    #[error("this is not a Ring3 snapshot; give the file that a snapshot was saved to")]
    Foreign,
    /// Written by another version of the program.
    #[error(
        "the snapshot has format {found}, this program reads format {VERSION}; make it again with \
         this version"
    )]
    Version {
        /// What the file says.
        found: u32,
    },
    /// The content does not match its hash, or makes no sense.
    #[error("the snapshot is damaged ({0}); delete it and make it again")]
    Damaged(String),
}

#[derive(Serialize, Deserialize)]
struct State {
    config: MachineConfig,
    cpus: Vec<Cpu>,
    times: Vec<Ticks>,
    now: Ticks,
    instructions: u64,
    round: Option<Round>,
    apics: Vec<Vec<u8>>,
    devices: Vec<Vec<u8>>,
    lint0: bool,
    legacy_lines: LegacyLines,
    /// Where RAM starts in the file.
    ram_offset: u64,
    /// Pages that are not zero: first page and count.
    ram_pages: Vec<(u64, u64)>,
    ram_hash: u64,
}

fn damaged(what: impl ToString) -> SnapshotError {
    SnapshotError::Damaged(what.to_string())
}

/// Runs of pages that are not zero.
fn used_pages(ram: &Ram) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for (number, page) in ram.bytes().chunks_exact(PAGE_SIZE as usize).enumerate() {
        if page.iter().all(|&byte| byte == 0) {
            continue;
        }
        let number = number as u64;
        match runs.last_mut() {
            Some((first, count)) if *first + *count == number => *count += 1,
            _ => runs.push((number, 1)),
        }
    }
    runs
}

fn range(run: (u64, u64)) -> std::ops::Range<usize> {
    (run.0 * PAGE_SIZE) as usize..((run.0 + run.1) * PAGE_SIZE) as usize
}

fn hash_ram(ram: &Ram, runs: &[(u64, u64)]) -> u64 {
    let mut hash = Xxh3Default::new();
    for &run in runs {
        hash.update(&run.0.to_le_bytes());
        hash.update(&ram.bytes()[range(run)]);
    }
    hash.digest()
}

impl Machine {
    fn state(&self, ram_offset: u64) -> State {
        let ram_pages = used_pages(&self.ram);
        State {
            config: self.config.clone(),
            cpus: self.cpus.iter().map(Cpu::canonical).collect(),
            // The time of a processor that waits stands still until its next turn; that is no
            // difference.
            times: self.times.iter().map(|&time| time.max(self.now)).collect(),
            now: self.now,
            instructions: self.instructions,
            round: self.round,
            apics: self.chipset.apics.iter().map(|apic| apic.save()).collect(),
            devices: self
                .chipset
                .devices
                .iter()
                .map(|device| device.save())
                .collect(),
            lint0: self.chipset.lint0,
            legacy_lines: self.chipset.legacy_lines,
            ram_offset,
            ram_hash: hash_ram(&self.ram, &ram_pages),
            ram_pages,
        }
    }

    /// A number that two machines share exactly when the guest could not tell them apart: a hash
    /// of processors, devices, time and memory.
    pub fn digest(&self) -> u64 {
        let bytes = postcard::to_stdvec(&self.state(0)).expect("state can be serialised");
        xxhash_rust::xxh3::xxh3_64(&bytes)
    }

    /// Writes the machine to `file` (which should be empty) and forgets cached translations, so
    /// that this machine and a restored one go on identically.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&mut self, file: &mut File) -> Result<(), SnapshotError> {
        self.forget_translations();
        // The state's length depends on where RAM starts only through a number's encoding, so
        // leave room for the longest.
        let probe = postcard::to_stdvec(&self.state(u64::MAX)).map_err(damaged)?;
        let ram_offset = (PROLOGUE + probe.len() as u64).next_multiple_of(PAGE_SIZE);
        let state = self.state(ram_offset);
        let bytes = postcard::to_stdvec(&state).map_err(damaged)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&MAGIC)?;
        file.write_all(&VERSION.to_le_bytes())?;
        file.write_all(&[0; 4])?;
        file.write_all(&(bytes.len() as u64).to_le_bytes())?;
        file.write_all(&xxhash_rust::xxh3::xxh3_64(&bytes).to_le_bytes())?;
        file.write_all(&bytes)?;
        for &run in &state.ram_pages {
            file.seek(SeekFrom::Start(ram_offset + run.0 * PAGE_SIZE))?;
            file.write_all(&self.ram.bytes()[range(run)])?;
        }
        file.set_len(ram_offset + self.ram.layout().size())?;
        file.flush()?;
        Ok(())
    }

    fn forget_translations(&mut self) {
        self.store.clear(&mut self.code);
        for tlb in &mut self.tlbs {
            *tlb = Default::default();
        }
    }

    /// Builds the machine that was saved in `file`. Memory is mapped copy-on-write: the file must
    /// not be changed while the machine exists, and never is by it.
    ///
    /// # Errors
    /// If the file is no snapshot, of another version, or damaged.
    pub fn restore(file: &mut File) -> Result<Machine, SnapshotError> {
        let state = read_state(file)?;
        check(&state)?;
        let layout = RamLayout::new(state.config.memory_bytes);
        let ram = Ram::from_file(layout, file, state.ram_offset)?;
        let pages = layout.size() / PAGE_SIZE;
        let mut next = 0;
        for &(first, count) in &state.ram_pages {
            let end = first
                .checked_add(count)
                .filter(|&end| end <= pages && first >= next);
            next = end.ok_or_else(|| damaged("its list of memory pages makes no sense"))?;
        }
        if hash_ram(&ram, &state.ram_pages) != state.ram_hash {
            return Err(damaged("its memory does not match its hash"));
        }
        let mut machine = Machine::with_ram(state.config, ram);
        let model = Arc::new(CpuModel::of(machine.config.cpu, machine.config.cpus));
        machine.cpus = state.cpus;
        for cpu in &mut machine.cpus {
            cpu.model = model.clone();
        }
        machine.times = state.times;
        machine.now = state.now;
        machine.instructions = state.instructions;
        machine.round = state.round;
        let chipset = &mut machine.chipset;
        for (apic, saved) in chipset.apics.iter_mut().zip(&state.apics) {
            apic.load(saved).map_err(damaged)?;
        }
        if state.devices.len() != chipset.devices.len() {
            return Err(damaged("it lists other devices than this machine has"));
        }
        for (n, saved) in state.devices.iter().enumerate() {
            chipset.devices.get_mut(n).load(saved).map_err(damaged)?;
        }
        chipset.lint0 = state.lint0;
        chipset.legacy_lines = state.legacy_lines;
        chipset.restored();
        Ok(machine)
    }
}

fn read_state(file: &mut File) -> Result<State, SnapshotError> {
    let foreign = |_| SnapshotError::Foreign;
    let mut prologue = [0; PROLOGUE as usize];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut prologue).map_err(foreign)?;
    if prologue[..16] != MAGIC {
        return Err(SnapshotError::Foreign);
    }
    let word =
        |at: usize| u64::from_le_bytes(prologue[at..at + 8].try_into().expect("eight bytes"));
    let found = word(16) as u32;
    if found != VERSION {
        return Err(SnapshotError::Version { found });
    }
    let (length, hash) = (word(24), word(32));
    if length > STATE_MAX {
        return Err(damaged("its state has an impossible size"));
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact(&mut bytes)
        .map_err(|_| damaged("it ends in the middle of its state"))?;
    if xxhash_rust::xxh3::xxh3_64(&bytes) != hash {
        return Err(damaged("its state does not match its hash"));
    }
    postcard::from_bytes(&bytes).map_err(damaged)
}

/// What a well-hashed but hostile file could still get wrong.
fn check(state: &State) -> Result<(), SnapshotError> {
    let cpus = state.config.cpus as usize;
    let consistent = (1..=CPUS_MAX).contains(&state.config.cpus)
        && state.cpus.len() == cpus
        && state.times.len() == cpus
        && state.apics.len() == cpus
        && state
            .cpus
            .iter()
            .enumerate()
            .all(|(n, cpu)| cpu.index.0 as usize == n)
        && state.ram_offset.is_multiple_of(PAGE_SIZE);
    if consistent {
        Ok(())
    } else {
        Err(damaged("its parts do not fit together"))
    }
}
