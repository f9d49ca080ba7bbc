//! Sequences on the host's own processor, in a child process that may come to any end.
//!
//! Parent and child share memory: the code (which the child cannot write), a pool of bytes that memory
//! is filled from, and [`SLOTS`] slots with registers before and after. A round trip runs a batch of
//! sequences; what a sequence does to its stack pointer, flags, control words, segment registers or
//! bases is undone by `entry`, exceptions arrive as signals on a stack of their own, and a child that
//! died or hangs is replaced. SYSCALL and its like never stand in a sequence; should one be met in the
//! middle of another instruction, seccomp ends the child.
//!
//! x86-64 Linux with FSGSBASE and XSAVE.
#![allow(unsafe_code)]

mod child;
mod entry;
mod sandbox;

use crate::layout::{CODE_BYTES, MEMORY_BYTES, PAGE, SLOTS};
use crate::state::{End, State};
use ring3_isa::CodeSize;
use std::io;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};

/// How much processor time the child may take for what it was given until it counts as hanging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// A hundred times what a batch needs. Nothing follows from it but that a sequence is looked at
    /// again.
    Short,
    /// So much that the sequence does not end.
    Long,
}

impl Patience {
    fn nanoseconds(self) -> u64 {
        match self {
            Patience::Short => 20_000_000,
            Patience::Long => 1_000_000_000,
        }
    }
}

/// How often that is looked at.
const INTERVAL_MS: libc::c_int = 10;

/// What parent and child exchange about one sequence.
#[repr(C)]
struct Slot {
    before: State,
    /// A [`CodeSize`].
    size: u32,
    /// Where in the pool its memory comes from.
    memory_at: u32,
    /// Not 0: it is not to be run.
    skip: u32,
    end: End,
    after: State,
    memory: [u8; MEMORY_BYTES],
}

#[repr(C)]
struct Shared {
    slots: [Slot; SLOTS],
    /// The slot that the child is at.
    running: AtomicU32,
    /// Whether 16-bit code can be run.
    sixteen_bits: AtomicU32,
}

/// What the child is given.
struct Wires {
    shared: *mut Shared,
    pool: *const u8,
    pool_bytes: usize,
    read_only: *const [u8; PAGE as usize],
    code_file: libc::c_int,
    memory_file: libc::c_int,
    go: libc::c_int,
    done: libc::c_int,
}

/// A mapping that the child inherits.
struct Mapping {
    address: *mut u8,
    bytes: usize,
}

impl Mapping {
    /// Of `file`, or of memory that child processes share.
    fn new(bytes: usize, file: libc::c_int) -> io::Result<Mapping> {
        let flags = if file < 0 {
            libc::MAP_SHARED | libc::MAP_ANONYMOUS
        } else {
            libc::MAP_SHARED
        };
        // SAFETY: a new mapping where the kernel likes it.
        let address = unsafe {
            libc::mmap(
                null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                file,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapping {
            address: address.cast(),
            bytes,
        })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and everything that pointed into it borrowed `self`.
        unsafe {
            libc::munmap(self.address.cast(), self.bytes);
        }
    }
}

struct Child {
    process: libc::pid_t,
    go: libc::c_int,
    done: libc::c_int,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// Every sequence ran.
    Ran,
    /// The process ended in this sequence; those before it ran.
    Died(usize),
    /// This sequence did not end.
    Hung(usize),
}

/// The host's processor.
pub struct Host {
    shared: Mapping,
    pool: Mapping,
    code: Mapping,
    code_file: libc::c_int,
    memory_file: libc::c_int,
    read_only: Box<[u8; PAGE as usize]>,
    child: Option<Child>,
}

/// The XSAVE components that are used here and exist.
fn components() -> u64 {
    enabled_components() & 7
}

/// The XSAVE components that the host's kernel has enabled, if any.
pub fn enabled_components() -> u64 {
    if !is_x86_feature_detected!("xsave") {
        return 0;
    }
    // SAFETY: there is XSAVE.
    unsafe { xcr0() }
}

#[target_feature(enable = "xsave")]
fn xcr0() -> u64 {
    // SAFETY: XCR0 exists on every processor with XSAVE that Linux has enabled.
    unsafe { std::arch::x86_64::_xgetbv(0) }
}

/// Whether programs may use RDFSBASE and its siblings. Linux' HWCAP2_FSGSBASE.
fn has_fsgsbase() -> bool {
    // SAFETY: reads the auxiliary vector.
    unsafe { libc::getauxval(libc::AT_HWCAP2) & 2 != 0 }
}

/// Processor time that a process has used, in nanoseconds.
fn processor_time(process: libc::pid_t) -> Option<u64> {
    // SAFETY: both calls write what they are given room for.
    unsafe {
        let mut clock = 0;
        let mut time: libc::timespec = std::mem::zeroed();
        let found = libc::clock_getcpuclockid(process, &mut clock) == 0
            && libc::clock_gettime(clock, &mut time) == 0;
        found.then(|| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }
}

impl Host {
    /// The host with a pool of `pool_bytes` and this read-only page; `Err` with a sentence if it cannot
    /// run sequences.
    ///
    /// # Errors
    /// A sentence.
    pub fn new(pool_bytes: usize, read_only: Box<[u8; PAGE as usize]>) -> Result<Host, String> {
        if !is_x86_feature_detected!("xsave") || !has_fsgsbase() {
            return Err("the host's processor or kernel lacks XSAVE or FSGSBASE".into());
        }
        let because = |error: io::Error| format!("the host gave no memory: {error}");
        let file = |bytes: usize| {
            // SAFETY: the name is a C string; nothing is mapped yet.
            unsafe {
                let file = libc::memfd_create(c"sequences".as_ptr(), libc::MFD_CLOEXEC);
                if file < 0 || libc::ftruncate(file, bytes as libc::off_t) != 0 {
                    return Err(because(io::Error::last_os_error()));
                }
                Ok(file)
            }
        };
        let (code_file, memory_file) = (file(CODE_BYTES)?, file(MEMORY_BYTES)?);
        let mut host = Host {
            shared: Mapping::new(size_of::<Shared>(), -1).map_err(because)?,
            pool: Mapping::new(pool_bytes, -1).map_err(because)?,
            code: Mapping::new(CODE_BYTES, code_file).map_err(because)?,
            code_file,
            memory_file,
            read_only,
            child: None,
        };
        host.code_mut().fill(0xcc);
        Ok(host)
    }

    fn shared(&self) -> &Shared {
        // SAFETY: the mapping has the size of `Shared`, of which every pattern of bits is a value; the
        // child writes only during `run`, which borrows `self` mutably.
        unsafe { &*self.shared.address.cast() }
    }

    fn slot_mut(&mut self, n: usize) -> &mut Slot {
        // SAFETY: as in `shared`.
        let shared: &mut Shared = unsafe { &mut *self.shared.address.cast() };
        &mut shared.slots[n]
    }

    /// The slots of code.
    pub fn code_mut(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is this long; the child only reads, and only during `run`.
        unsafe { std::slice::from_raw_parts_mut(self.code.address, self.code.bytes) }
    }

    /// The slots of code.
    pub fn code(&self) -> &[u8] {
        // SAFETY: as in `code_mut`.
        unsafe { std::slice::from_raw_parts(self.code.address, self.code.bytes) }
    }

    /// The bytes that memory is filled from.
    pub fn pool_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `code_mut`.
        unsafe { std::slice::from_raw_parts_mut(self.pool.address, self.pool.bytes) }
    }

    /// The bytes that memory is filled from.
    pub fn pool(&self) -> &[u8] {
        // SAFETY: as in `code_mut`.
        unsafe { std::slice::from_raw_parts(self.pool.address, self.pool.bytes) }
    }

    /// Says what sequence `n` of the next batch begins with.
    pub fn prepare(&mut self, n: usize, size: CodeSize, before: &State, memory_at: usize) {
        let slot = self.slot_mut(n);
        slot.before = *before;
        slot.size = size as u32;
        slot.memory_at = memory_at as u32;
        slot.skip = 0;
        slot.end = End::default();
    }

    /// Leaves out sequence `n` of the next batch.
    pub fn skip(&mut self, n: usize) {
        self.slot_mut(n).skip = 1;
    }

    /// What sequence `n` of the last batch left behind: registers, memory, and how it ended.
    pub fn result(&self, n: usize) -> (&State, &[u8; MEMORY_BYTES], End) {
        let slot = &self.shared().slots[n];
        (&slot.after, &slot.memory, slot.end)
    }

    /// Whether 16-bit code can be run.
    ///
    /// # Errors
    /// A sentence, if nothing can be run at all.
    pub fn has_16_bit_code(&mut self) -> Result<bool, String> {
        self.run(0, Patience::Long)?;
        Ok(self.shared().sixteen_bits.load(Ordering::Acquire) != 0)
    }

    fn start(&mut self) -> io::Result<Child> {
        let pipe = || {
            let mut ends = [0; 2];
            // SAFETY: two descriptors are written.
            match unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } {
                0 => Ok(ends),
                _ => Err(io::Error::last_os_error()),
            }
        };
        let (go, done) = (pipe()?, pipe()?);
        let wires = Wires {
            shared: self.shared.address.cast(),
            pool: self.pool.address,
            pool_bytes: self.pool.bytes,
            read_only: &raw const *self.read_only,
            code_file: self.code_file,
            memory_file: self.memory_file,
            go: go[0],
            done: done[1],
        };
        // SAFETY: the child calls nothing but system calls and its own code until it ends.
        match unsafe { libc::fork() } {
            0 => {
                // SAFETY: the descriptors are open.
                unsafe {
                    libc::close(go[1]);
                    libc::close(done[0]);
                }
                child::live(&wires)
            }
            process => {
                // SAFETY: the descriptors are open and used by nobody here.
                unsafe {
                    libc::close(go[0]);
                    libc::close(done[1]);
                }
                let child = Child {
                    process,
                    go: go[1],
                    done: done[0],
                };
                if process < 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(child)
            }
        }
    }

    /// Runs the first `count` sequences that were prepared.
    ///
    /// # Errors
    /// A sentence, if the child cannot be started.
    pub fn run(&mut self, count: usize, patience: Patience) -> Result<Batch, String> {
        if self.child.is_none() {
            let child = self
                .start()
                .map_err(|error| format!("no process can be started: {error}"))?;
            self.child = Some(child);
        }
        let child = self.child.as_ref().expect("it was started");
        let byte = count.min(SLOTS) as u8;
        self.shared().running.store(u32::MAX, Ordering::Release);
        let limit = patience.nanoseconds();
        let patience = processor_time(child.process).map(|time| time + limit);
        // SAFETY: one byte is written, one read; the descriptors are open.
        let (ready, got) = unsafe {
            let sent = libc::write(child.go, (&raw const byte).cast(), 1);
            let mut wait = libc::pollfd {
                fd: child.done,
                events: libc::POLLIN,
                revents: 0,
            };
            let ready = loop {
                if sent != 1 {
                    break 1;
                }
                let ready = libc::poll(&mut wait, 1, INTERVAL_MS);
                if ready > 0 || processor_time(child.process) > patience {
                    break ready;
                }
            };
            let mut answer = 0u8;
            let got = if ready > 0 {
                libc::read(child.done, (&raw mut answer).cast(), 1)
            } else {
                0
            };
            (ready, got)
        };
        if got == 1 {
            return Ok(Batch::Ran);
        }
        let status = self.end_child();
        let running = self.shared().running.load(Ordering::Acquire) as usize;
        if running >= SLOTS {
            return Err(format!(
                "the process for sequences could not be set up (status {status:#x})"
            ));
        }
        Ok(if ready == 0 {
            Batch::Hung(running)
        } else {
            Batch::Died(running)
        })
    }

    fn end_child(&mut self) -> libc::c_int {
        let mut status = 0;
        if let Some(child) = self.child.take() {
            // SAFETY: the child is ours and has not been waited for; the descriptors are open.
            unsafe {
                libc::kill(child.process, libc::SIGKILL);
                libc::waitpid(child.process, &mut status, 0);
                libc::close(child.go);
                libc::close(child.done);
            }
        }
        status
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.end_child();
        // SAFETY: opened by `new`.
        unsafe {
            libc::close(self.code_file);
            libc::close(self.memory_file);
        }
    }
}
