//! The software backend: a page of shared memory, a signal, a futex.
//!
//! A receiver's page is a sealed memfd. A [`UintrFd`](crate::UintrFd) of this backend is a description of that file whose
//! *file offset* is the vector, which is how one file can stand for 64 things that travel over sockets separately.
//!
//! The notification is **SIGURG**, directed at the receiver's thread. Not a real-time signal: SIGURG is ignored by
//! default, so that one which goes astray (the receiver has just executed another program; its thread ID is reused) hurts
//! nobody, where a real-time signal kills; it coalesces like the hardware's notification; and unlike a queued signal it
//! cannot fail for want of memory. SIGURG as the announcement of out-of-band data on sockets is so rare that the Go
//! runtime has made the same choice. A handler that was there before is called as well.
//!
//! Who has the file descriptor can write to the page. So the page is not trusted beyond the receiver's own
//! deliveries: senders signal the thread that they verified when they connected, with this signal and no other.

use crate::error::Error;
use crate::upid::{AtomicWord, Mode, Notify, Upid};
use crate::vector::Vector;
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
use std::sync::{Arc, Once, OnceLock};
use std::time::{Duration, Instant};

const SIGNAL: libc::c_int = libc::SIGURG;

/// `UINTRSW` and the version of the layout.
const MAGIC: u64 = u64::from_le_bytes(*b"UINTRSW\x01");

/// What is in the page.
#[repr(C)]
struct Shared {
    magic: AtomicU64,
    pid: AtomicU64,
    tid: AtomicU64,
    /// When the thread was started, in the unit of `/proc/PID/stat`.
    start_time: AtomicU64,
    /// The inode of the PID namespace in which the numbers mean something.
    namespace: AtomicU64,
    upid: Upid,
}

const SIZE: usize = 4096;
const _: () = assert!(size_of::<Shared>() <= SIZE && align_of::<Shared>() <= SIZE);

/// A receiver's page, mapped; and its file.
pub(crate) struct Page {
    shared: NonNull<Shared>,
    file: OwnedFd,
    /// Somebody may have it mapped elsewhere, so that the futex is a shared one. Until then it is private to the process,
    /// which the kernel finds faster. Set by the receiver's thread, before it next stores a mode.
    exported: AtomicBool,
    /// [`FORKS`] when it was mapped.
    forks: u32,
}

/// How many forks lie between this process and the one in which the program started: a child cannot reach its parent's
/// private futexes.
static FORKS: AtomicU32 = AtomicU32::new(0);

// SAFETY: the mapping belongs to the process, lives as long as the `Page`, and consists of atomics.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Page {
    /// A page for the calling thread, interrupts masked.
    fn create() -> Result<Page, Error> {
        // SAFETY: a valid name; a new descriptor or -1.
        let file = unsafe {
            owned(
                "memfd_create",
                libc::memfd_create(
                    c"uintr".as_ptr(),
                    libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING,
                ),
            )
        }?;
        // SAFETY: plain calls on a descriptor that we own.
        unsafe {
            check(
                "ftruncate",
                libc::ftruncate(file.as_raw_fd(), SIZE as libc::off_t),
            )?;
            let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
            check(
                "fcntl",
                libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals),
            )?;
        }
        let page = Page::map(file)?;
        // SAFETY: mapped for writing, and nobody else has it yet.
        unsafe { (&raw mut (*page.shared.as_ptr()).upid).write(Upid::new()) };
        let shared = page.shared();
        let (pid, tid) = (process(), thread());
        shared.pid.store(pid as u64, Relaxed);
        shared.tid.store(tid as u64, Relaxed);
        shared
            .start_time
            .store(start_time(pid, tid).unwrap_or(0), Relaxed);
        shared.namespace.store(namespace(), Relaxed);
        shared.magic.store(MAGIC, Release);
        Ok(page)
    }

    /// The page in this file, which is one if it is sealed, long enough, and says so.
    fn open(file: OwnedFd) -> Result<Page, Error> {
        // SAFETY: plain calls on a descriptor that we own; `stat` is written by the kernel before it is read.
        unsafe {
            let seals = libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS);
            if seals < 0 || seals & libc::F_SEAL_SHRINK == 0 {
                return Err(Error::NotUintrFd);
            }
            let mut stat = MaybeUninit::<libc::stat>::uninit();
            check("fstat", libc::fstat(file.as_raw_fd(), stat.as_mut_ptr()))?;
            if stat.assume_init().st_size != SIZE as libc::off_t {
                return Err(Error::NotUintrFd);
            }
        }
        let page = Page::map(file)?;
        page.exported.store(true, Relaxed);
        match page.shared().magic.load(Relaxed) {
            MAGIC => Ok(page),
            _ => Err(Error::NotUintrFd),
        }
    }

    fn map(file: OwnedFd) -> Result<Page, Error> {
        // SAFETY: a new mapping, wherever the kernel likes; the file is sealed against shrinking, so it stays backed.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        match NonNull::new(address.cast()) {
            Some(shared) if address != libc::MAP_FAILED => Ok(Page {
                shared,
                file,
                exported: AtomicBool::new(false),
                forks: FORKS.load(Relaxed),
            }),
            _ => Err(Error::last("mmap")),
        }
    }

    fn shared(&self) -> &Shared {
        // SAFETY: mapped, aligned and long enough for as long as we live; any content is valid for atomics.
        unsafe { self.shared.as_ref() }
    }

    pub(crate) fn upid(&self) -> &Upid {
        &self.shared().upid
    }

    /// For the futex in the page: whether it is a private one.
    fn futex_flag(&self) -> libc::c_int {
        match self.exported.load(Relaxed) {
            true => 0,
            false => libc::FUTEX_PRIVATE_FLAG,
        }
    }

    /// Sleeps on a word of the page, as [`sleep`].
    pub(crate) fn sleep(
        &self,
        word: &AtomicWord,
        expected: u32,
        deadline: Option<Instant>,
    ) -> bool {
        sleep(word, expected, self.futex_flag(), deadline)
    }

    /// A descriptor that stands for this vector.
    pub(crate) fn descriptor(&self, vector: Vector) -> Result<OwnedFd, Error> {
        self.exported.store(true, Release);
        // A description of its own, because the vector is its offset.
        let path = format!("/proc/self/fd/{}\0", self.file.as_raw_fd());
        // SAFETY: the path ends with a NUL; a new descriptor or -1.
        let file = unsafe {
            owned(
                "open",
                libc::open(path.as_ptr().cast(), libc::O_RDWR | libc::O_CLOEXEC),
            )
        }?;
        // SAFETY: a plain call on a descriptor that we own.
        let offset = unsafe {
            libc::lseek(
                file.as_raw_fd(),
                libc::off_t::from(vector.get()),
                libc::SEEK_SET,
            )
        };
        match offset {
            -1 => Err(Error::last("lseek")),
            _ => Ok(file),
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: our mapping; nobody has a reference any more.
        unsafe {
            libc::munmap(self.shared.as_ptr().cast(), SIZE);
        }
    }
}

/// Makes the calling thread ready to receive: its page, the signal's handler, the signal unblocked.
pub(crate) fn register() -> Result<Arc<Page>, Error> {
    let page = Page::create()?;
    install()?;
    // SAFETY: the set is initialized by sigemptyset; plain calls.
    unsafe {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), SIGNAL);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut());
    }
    Ok(Arc::new(page))
}

/// The vector of a descriptor of this backend.
fn vector_of(file: BorrowedFd<'_>) -> Result<Vector, Error> {
    // SAFETY: a plain call on a valid descriptor.
    let offset = unsafe { libc::lseek(file.as_raw_fd(), 0, libc::SEEK_CUR) };
    u8::try_from(offset)
        .ok()
        .and_then(Vector::new)
        .ok_or(Error::NotUintrFd)
}

/// The right to post one vector, and the means to notify.
pub(crate) struct Target {
    page: Arc<Page>,
    vector: Vector,
    peer: Peer,
}

impl Target {
    /// Of a receiver in this process.
    pub(crate) fn here(page: &Arc<Page>, vector: Vector) -> Target {
        let shared = page.shared();
        Target {
            page: page.clone(),
            vector,
            peer: Peer {
                pid: shared.pid.load(Relaxed) as libc::pid_t,
                tid: shared.tid.load(Relaxed) as libc::pid_t,
                pidfd: None,
            },
        }
    }

    /// Of the receiver that the descriptor stands for, wherever it is.
    pub(crate) fn connect(file: OwnedFd) -> Result<Target, Error> {
        let vector = vector_of(file.as_fd());
        let page = Page::open(file)?;
        let vector = vector?;
        let shared = page.shared();
        if shared.upid.mode() == Mode::Gone {
            return Err(Error::Gone);
        }
        if shared.namespace.load(Relaxed) != namespace() {
            return Err(Error::OtherNamespace);
        }
        let (Ok(pid), Ok(tid)) = (
            libc::pid_t::try_from(shared.pid.load(Relaxed)),
            libc::pid_t::try_from(shared.tid.load(Relaxed)),
        ) else {
            return Err(Error::NotUintrFd);
        };
        if pid <= 0 || tid <= 0 {
            return Err(Error::NotUintrFd);
        }
        let pidfd = if pid == process() {
            None
        } else {
            open_thread(tid)
        };
        // Who is it now? If the pidfd is of this one, it cannot become another any more.
        if start_time(pid, tid) != Some(shared.start_time.load(Relaxed)) {
            return Err(Error::Gone);
        }
        let peer = Peer { pid, tid, pidfd };
        match peer.signal(0) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Err(Error::Gone),
            Err(source) => Err(Error::Os {
                call: "tgkill",
                source,
            }),
            Ok(()) => Ok(Target {
                page: Arc::new(page),
                vector,
                peer,
            }),
        }
    }

    pub(crate) fn vector(&self) -> Vector {
        self.vector
    }

    /// Posts.
    #[inline]
    pub(crate) fn post(&self) {
        self.page.upid().post(self.vector, self);
    }
}

impl Notify for Target {
    #[cold]
    fn interrupt(&self) {
        if let Err(error) = self.peer.signal(SIGNAL)
            && error.raw_os_error() == Some(libc::ESRCH)
        {
            // It was killed, and could not say so itself.
            self.page.upid().enter(Mode::Gone);
        }
    }

    #[cold]
    fn wake(&self, word: &AtomicWord) {
        // Whoever saw the receiver asleep sees what kind of futex it sleeps on.
        let operation = libc::FUTEX_WAKE | self.page.futex_flag();
        // SAFETY: FUTEX_WAKE reads nothing; the word is mapped.
        unsafe {
            libc::syscall(libc::SYS_futex, word.as_ptr(), operation, 1);
        }
        if self.page.forks != FORKS.load(Relaxed) {
            // We have inherited the sender, and perhaps the futex is private to our parent. A signal ends the sleep too.
            self.interrupt();
        }
    }
}

/// The receiver's thread.
struct Peer {
    pid: libc::pid_t,
    tid: libc::pid_t,
    /// Names the thread for good, where the kernel has such things (Linux 6.9) and it is of another process.
    pidfd: Option<OwnedFd>,
}

impl Peer {
    /// Sends a signal, errno preserved because a handler may be sending.
    fn signal(&self, signal: libc::c_int) -> Result<(), io::Error> {
        // SAFETY: the thread's own errno; system calls that take numbers only.
        unsafe {
            let errno = *libc::__errno_location();
            let result = match &self.pidfd {
                Some(pidfd) => libc::syscall(
                    libc::SYS_pidfd_send_signal,
                    pidfd.as_raw_fd(),
                    signal,
                    ptr::null::<libc::siginfo_t>(),
                    0,
                ),
                None => libc::syscall(libc::SYS_tgkill, self.pid, self.tid, signal),
            };
            if result == 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            *libc::__errno_location() = errno;
            Err(error)
        }
    }
}

/// A pidfd of a thread that need not be the first of its process: PIDFD_THREAD, which is O_EXCL.
fn open_thread(tid: libc::pid_t) -> Option<OwnedFd> {
    // SAFETY: takes numbers; a new descriptor or -1.
    unsafe {
        let pidfd = libc::syscall(libc::SYS_pidfd_open, tid, libc::O_EXCL);
        (pidfd >= 0).then(|| OwnedFd::from_raw_fd(pidfd as RawFd))
    }
}

fn process() -> libc::pid_t {
    // SAFETY: always works.
    unsafe { libc::getpid() }
}

fn thread() -> libc::pid_t {
    // SAFETY: always works.
    unsafe { libc::syscall(libc::SYS_gettid) as libc::pid_t }
}

/// When this thread was started: field 22 of `/proc/PID/task/TID/stat`, proc(5).
fn start_time(pid: libc::pid_t, tid: libc::pid_t) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).ok()?;
    // The second field is the name, in parentheses, with anything in it. The third follows.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

/// The PID namespace that we are in; 0 if /proc does not tell.
fn namespace() -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |metadata| metadata.ino())
}

/// Sleeps while `*word == expected`, on a futex with this flag; `false` when the deadline is over.
pub(crate) fn sleep(
    word: &AtomicWord,
    expected: u32,
    flag: libc::c_int,
    deadline: Option<Instant>,
) -> bool {
    let timeout = match deadline.map(|deadline| deadline.checked_duration_since(Instant::now())) {
        None => None,
        Some(None | Some(Duration::ZERO)) => return false,
        Some(Some(rest)) => Some(libc::timespec {
            tv_sec: libc::time_t::try_from(rest.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: rest.subsec_nanos() as _,
        }),
    };
    // SAFETY: the word is mapped, the timeout lives through the call.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | flag,
            expected,
            timeout.as_ref().map_or(ptr::null(), ptr::from_ref),
        );
    }
    // Whatever it returned: the caller looks, and comes back if there is time left.
    true
}

/// The handler of the signal that was there before: a `sa_handler` or `sa_sigaction`, and its flags.
static PREVIOUS: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
static PREVIOUS_FLAGS: AtomicUsize = AtomicUsize::new(0);

/// Installs the signal's handler, once for the process, and for good: a signal may still be under way when the last
/// receiver is gone.
fn install() -> Result<(), Error> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    INSTALLED
        .get_or_init(|| {
            // SAFETY: both structures are valid (all zeros is); the handler is async-signal-safe, see there.
            unsafe {
                let mut action: libc::sigaction = mem::zeroed();
                let mut previous: libc::sigaction = mem::zeroed();
                // Who was there before must be known before the handler can run.
                if libc::sigaction(SIGNAL, ptr::null(), &mut previous) != 0 {
                    return Err(*libc::__errno_location());
                }
                PREVIOUS_FLAGS.store(previous.sa_flags as usize, Relaxed);
                PREVIOUS.store(previous.sa_sigaction, Release);
                // No SA_RESTART: as with the hardware, a system call that blocks ends with EINTR. No SA_ONSTACK: the
                // handler runs on the interrupted stack, below its red zone.
                action.sa_sigaction = on_signal as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO;
                libc::sigemptyset(&mut action.sa_mask);
                match libc::sigaction(SIGNAL, &action, ptr::null_mut()) {
                    0 => Ok(()),
                    _ => Err(*libc::__errno_location()),
                }
            }
        })
        .map_err(|errno| Error::Os {
            call: "sigaction",
            source: io::Error::from_raw_os_error(errno),
        })
}

/// The signal's handler. It touches the thread's state and the page, both atomics, and calls the receiver's handler,
/// which is async-signal-safe by its contract. Errno is kept by the delivery.
extern "C" fn on_signal(
    number: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    crate::thread::with(|thread| thread.interrupted_by_signal());
    let previous = PREVIOUS.load(Relaxed);
    if previous == libc::SIG_DFL || previous == libc::SIG_IGN {
        return;
    }
    // SAFETY: it was installed for this signal with these flags.
    unsafe {
        if PREVIOUS_FLAGS.load(Relaxed) & libc::SA_SIGINFO as usize != 0 {
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                mem::transmute(previous);
            handler(number, info, context);
        } else {
            let handler: extern "C" fn(libc::c_int) = mem::transmute(previous);
            handler(number);
        }
    }
}

/// Tells forked children, once for the process, that they are no receivers.
pub(crate) fn watch_forks() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        // SAFETY: the function only touches the thread's state.
        unsafe {
            libc::pthread_atfork(None, None, Some(forked));
        }
    });
}

unsafe extern "C" fn forked() {
    FORKS.fetch_add(1, Relaxed);
    crate::thread::forked();
}

/// Turns the result of a system call into ours.
fn check(call: &'static str, result: libc::c_int) -> Result<(), Error> {
    match result {
        -1 => Err(Error::last(call)),
        _ => Ok(()),
    }
}

/// # Safety
///
/// If not negative, `fd` is a new descriptor.
unsafe fn owned(call: &'static str, fd: RawFd) -> Result<OwnedFd, Error> {
    match fd {
        ..0 => Err(Error::last(call)),
        // SAFETY: new, says the caller.
        _ => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}
