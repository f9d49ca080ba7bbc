//! The system calls the agent needs and the standard library lacks, each with a safe face.
//!
//! Declarations are for the GNU C library on x86-64 Linux, written from the man pages of sections 2 and 3; layouts and
//! constants from the x86-64 headers of the kernel. All `unsafe` of the agent is in this file.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_ulong, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::null;
use std::sync::atomic::{AtomicI32, Ordering};

pub const O_CLOEXEC: c_int = 0o2000000;
pub const O_DIRECT: c_int = 0o40000;
pub const O_NOCTTY: c_int = 0o400;
pub const O_NOFOLLOW: c_int = 0o400000;
pub const O_NONBLOCK: c_int = 0o4000;

pub const EIO: i32 = 5;
pub const EAGAIN: i32 = 11;
pub const EEXIST: i32 = 17;
pub const EINVAL: i32 = 22;
pub const EPIPE: i32 = 32;

pub const SIGKILL: u8 = 9;
const SIGPIPE: c_int = 13;
const SIGCHLD: c_int = 17;

/// One bit per signal; the C library's type has room for 1024.
#[repr(C)]
struct SignalSet([c_ulong; 16]);

#[repr(C)]
struct SignalAction {
    handler: usize,
    mask: SignalSet,
    flags: c_int,
    restorer: usize,
}

/// An entry of [`wait`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PollFd {
    fd: c_int,
    events: i16,
    results: i16,
}

const POLLIN: i16 = 0x1;
const POLLOUT: i16 = 0x4;
const POLLERR: i16 = 0x8;
const POLLHUP: i16 = 0x10;

#[repr(C)]
#[derive(Default)]
struct TimeSpec {
    seconds: i64,
    nanoseconds: i64,
}

#[repr(C)]
#[derive(Default)]
struct TimeVal {
    seconds: i64,
    micros: i64,
}

#[repr(C)]
#[derive(Default)]
struct ResourceUsage {
    user: TimeVal,
    system: TimeVal,
    resident_kib: c_long,
    rest: [c_long; 13],
}

#[repr(C)]
struct WindowSize {
    rows: u16,
    columns: u16,
    x_pixels: u16,
    y_pixels: u16,
}

#[repr(C)]
struct Termios {
    input: u32,
    output: u32,
    control: u32,
    local: u32,
    line: u8,
    characters: [u8; 32],
    input_speed: u32,
    output_speed: u32,
}

#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    flags: i16,
    rest: [u8; 22],
}

#[repr(C)]
#[derive(Default)]
struct SystemInfo {
    uptime: c_long,
    loads: [c_ulong; 3],
    total_ram: c_ulong,
    free_ram: c_ulong,
    shared_ram: c_ulong,
    buffer_ram: c_ulong,
    total_swap: c_ulong,
    free_swap: c_ulong,
    processes: u16,
    pad: u16,
    total_high: c_ulong,
    free_high: c_ulong,
    unit: u32,
    tail: [u8; 4],
}

unsafe extern "C" {
    fn chdir(path: *const c_char) -> c_int;
    fn clone(
        entry: extern "C" fn(*mut c_void) -> c_int,
        stack: *mut c_void,
        flags: c_int,
        arg: *mut c_void,
        ...
    ) -> c_int;
    fn dup2(old: c_int, new: c_int) -> c_int;
    fn execve(path: *const c_char, argv: *const *const c_char, envp: *const *const c_char)
    -> c_int;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    fn futimens(fd: c_int, times: *const TimeSpec) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn mkfifo(path: *const c_char, mode: u32) -> c_int;
    fn mount(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn personality(persona: c_ulong) -> c_int;
    fn pipe2(fds: *mut c_int, flags: c_int) -> c_int;
    fn ppoll(
        fds: *mut PollFd,
        count: c_ulong,
        timeout: *const TimeSpec,
        mask: *const SignalSet,
    ) -> c_int;
    fn reboot(command: c_int) -> c_int;
    fn sethostname(name: *const c_char, length: usize) -> c_int;
    fn setsid() -> c_int;
    fn sigaction(signal: c_int, new: *const SignalAction, old: *mut SignalAction) -> c_int;
    fn sigprocmask(how: c_int, new: *const SignalSet, old: *mut SignalSet) -> c_int;
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn sysinfo(info: *mut SystemInfo) -> c_int;
    fn tcgetattr(fd: c_int, termios: *mut Termios) -> c_int;
    fn tcsetattr(fd: c_int, when: c_int, termios: *const Termios) -> c_int;
    fn umask(mask: u32) -> u32;
    fn wait4(pid: c_int, status: *mut c_int, options: c_int, usage: *mut ResourceUsage) -> c_int;
    fn _exit(status: c_int) -> !;
}

/// Turns the C convention, -1 and `errno`, into a result.
fn check(value: c_int) -> io::Result<c_int> {
    if value == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(value)
    }
}

/// A path or word for the kernel. One with a NUL inside cannot exist there.
pub fn c_string(bytes: impl Into<Vec<u8>>) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::from_raw_os_error(EINVAL))
}

/// mount(2) of a file system that has no device.
pub fn mount_virtual(kind: &CStr, target: &CStr, options: &CStr, remount: bool) -> io::Result<()> {
    const MS_REMOUNT: c_ulong = 32;
    let flags = if remount { MS_REMOUNT } else { 0 };
    // SAFETY: three strings that end in NUL; the kernel copies them.
    check(unsafe {
        mount(
            kind.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            options.as_ptr().cast(),
        )
    })
    .map(drop)
}

/// finit_module(2).
pub fn load_module(file: &File, parameters: &CStr) -> io::Result<()> {
    const FINIT_MODULE: c_long = 313;
    // SAFETY: an open file and a string that ends in NUL.
    let result = unsafe {
        syscall(
            FINIT_MODULE,
            file.as_raw_fd(),
            parameters.as_ptr(),
            0 as c_int,
        )
    };
    check(result as c_int).map(drop)
}

/// Makes a named pipe.
pub fn make_fifo(path: &CStr, mode: u32) -> io::Result<()> {
    // SAFETY: a string that ends in NUL.
    check(unsafe { mkfifo(path.as_ptr(), mode) }).map(drop)
}

/// Files get exactly the mode asked for.
pub fn clear_umask() {
    // SAFETY: no memory is involved.
    unsafe { umask(0) };
}

/// The name the guest calls itself.
pub fn set_host_name(name: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length are of one slice.
    check(unsafe { sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// Brings the loopback interface up, so that programs can talk to themselves over TCP.
pub fn loopback_up() -> io::Result<()> {
    const AF_INET: c_int = 2;
    const SOCK_DGRAM: c_int = 2;
    const SIOCSIFFLAGS: c_ulong = 0x8914;
    const IFF_UP: i16 = 1;
    // SAFETY: no memory is involved.
    let fd = check(unsafe { socket(AF_INET, SOCK_DGRAM | O_CLOEXEC, 0) })?;
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut request = InterfaceRequest {
        name: [0; 16],
        flags: IFF_UP,
        rest: [0; 22],
    };
    request.name[..2].copy_from_slice(b"lo");
    // SAFETY: the request is a whole `struct ifreq` (40 bytes).
    check(unsafe { ioctl(socket.as_raw_fd(), SIOCSIFFLAGS, &raw const request) }).map(drop)
}

/// Memory the kernel manages, in bytes.
pub fn memory_bytes() -> u64 {
    let mut info = SystemInfo::default();
    // SAFETY: the structure is as large as the kernel's (112 bytes on x86-64).
    match unsafe { sysinfo(&raw mut info) } {
        0 => info.total_ram.saturating_mul(u64::from(info.unit)),
        _ => 0,
    }
}

/// Marks a descriptor non-blocking.
pub fn set_nonblocking(fd: &impl AsRawFd) -> io::Result<()> {
    const F_GETFL: c_int = 3;
    const F_SETFL: c_int = 4;
    // SAFETY: no memory is involved.
    let flags = check(unsafe { fcntl(fd.as_raw_fd(), F_GETFL) })?;
    // SAFETY: as above.
    check(unsafe { fcntl(fd.as_raw_fd(), F_SETFL, flags | O_NONBLOCK) }).map(drop)
}

/// Sets access and modification time of a file, in seconds since 1970.
pub fn set_times(file: &File, seconds: u32) -> io::Result<()> {
    let times = [
        TimeSpec {
            seconds: i64::from(seconds),
            nanoseconds: 0,
        },
        TimeSpec {
            seconds: i64::from(seconds),
            nanoseconds: 0,
        },
    ];
    // SAFETY: two entries, as the call wants.
    check(unsafe { futimens(file.as_raw_fd(), times.as_ptr()) }).map(drop)
}

/// A pipe: the end to read, the end to write. Neither survives an exec.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: room for two descriptors.
    check(unsafe { pipe2(fds.as_mut_ptr(), O_CLOEXEC) })?;
    // SAFETY: both were just made and belong to nobody else.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// A pseudo-terminal: the side of the screen and keyboard, the side of the program.
pub fn pseudo_terminal() -> io::Result<(File, OwnedFd)> {
    use std::os::unix::fs::OpenOptionsExt;
    const TIOCSPTLCK: c_ulong = 0x4004_5431;
    const TIOCGPTPEER: c_ulong = 0x5441;
    let screen = File::options()
        .read(true)
        .write(true)
        .custom_flags(O_NOCTTY | O_CLOEXEC)
        .open("/dev/ptmx")?;
    let unlocked: c_int = 0;
    // SAFETY: the request reads one int.
    check(unsafe { ioctl(screen.as_raw_fd(), TIOCSPTLCK, &raw const unlocked) })?;
    const O_RDWR: c_int = 2;
    // SAFETY: the argument is a number.
    let fd = check(unsafe {
        ioctl(
            screen.as_raw_fd(),
            TIOCGPTPEER,
            O_RDWR | O_NOCTTY | O_CLOEXEC,
        )
    })?;
    // SAFETY: the descriptor was just made and belongs to nobody else.
    Ok((screen, unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Tells a pseudo-terminal its size; its foreground processes get SIGWINCH.
pub fn set_window_size(screen: &File, rows: u16, columns: u16) -> io::Result<()> {
    const TIOCSWINSZ: c_ulong = 0x5414;
    let size = WindowSize {
        rows,
        columns,
        x_pixels: 0,
        y_pixels: 0,
    };
    // SAFETY: the request reads one `struct winsize`.
    check(unsafe { ioctl(screen.as_raw_fd(), TIOCSWINSZ, &raw const size) }).map(drop)
}

/// Leaves to the host's terminal what it does already: echo, signals from keys, translation of line ends. Lines stay
/// lines, so that an end of input can still be typed.
pub fn make_plain(program_side: &OwnedFd) -> io::Result<()> {
    const ICRNL: u32 = 0o400;
    const IXON: u32 = 0o2000;
    const OPOST: u32 = 0o1;
    const ISIG: u32 = 0o1;
    const ECHO_ALL: u32 = 0o10 | 0o20 | 0o40 | 0o100 | 0o1000 | 0o4000;
    const TCSANOW: c_int = 0;
    // SAFETY: all-zero is a valid value of this plain structure.
    let mut termios: Termios = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is the C library's (60 bytes).
    check(unsafe { tcgetattr(program_side.as_raw_fd(), &raw mut termios) })?;
    termios.input &= !(ICRNL | IXON);
    termios.output &= !OPOST;
    termios.local &= !(ISIG | ECHO_ALL);
    // SAFETY: as above.
    check(unsafe { tcsetattr(program_side.as_raw_fd(), TCSANOW, &raw const termios) }).map(drop)
}

/// The character that ends input on this terminal; the program may have changed it.
pub fn end_of_input_character(screen: &File) -> u8 {
    const VEOF: usize = 4;
    // SAFETY: all-zero is a valid value of this plain structure.
    let mut termios: Termios = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is the C library's.
    match unsafe { tcgetattr(screen.as_raw_fd(), &raw mut termios) } {
        0 => termios.characters[VEOF],
        _ => 4,
    }
}

impl PollFd {
    /// Waits for something to read.
    pub fn readable(fd: &impl AsRawFd) -> Self {
        Self {
            fd: fd.as_raw_fd(),
            events: POLLIN,
            results: 0,
        }
    }

    /// Waits for room to write.
    pub fn writable(fd: &impl AsRawFd) -> Self {
        Self {
            fd: fd.as_raw_fd(),
            events: POLLOUT,
            results: 0,
        }
    }

    /// An entry that never reports anything.
    pub fn nothing() -> Self {
        Self {
            fd: -1,
            events: 0,
            results: 0,
        }
    }

    /// True if a read or write would not block now, be it that it would fail.
    pub fn is_due(&self) -> bool {
        self.results != 0
    }

    /// True if the other side is gone and nothing is left to read.
    pub fn is_only_hung_up(&self) -> bool {
        self.results & (POLLHUP | POLLERR) != 0 && self.results & (POLLIN | POLLOUT) == 0
    }
}

/// Signals as they are held back: SIGCHLD can arrive only inside [`wait`].
pub fn hold_child_signal() -> io::Result<()> {
    extern "C" fn nothing(_: c_int) {}
    const SA_NOCLDSTOP: c_int = 1;
    let action = SignalAction {
        handler: nothing as *const () as usize,
        mask: SignalSet([0; 16]),
        flags: SA_NOCLDSTOP,
        restorer: 0,
    };
    // SAFETY: the handler does nothing, so it may interrupt anything.
    check(unsafe { sigaction(SIGCHLD, &raw const action, std::ptr::null_mut()) })?;
    let mut mask = SignalSet([0; 16]);
    mask.0[0] = 1 << (SIGCHLD - 1);
    set_signal_mask(&mask)
}

fn set_signal_mask(mask: &SignalSet) -> io::Result<()> {
    const SIG_SETMASK: c_int = 2;
    // SAFETY: a whole signal set.
    check(unsafe { sigprocmask(SIG_SETMASK, mask, std::ptr::null_mut()) }).map(drop)
}

/// Waits until an entry is due, a child has changed, or the time is over. An interruption is not an error.
pub fn wait(entries: &mut [PollFd], timeout_millis: Option<u32>) -> io::Result<()> {
    let timeout = timeout_millis.map(|millis| TimeSpec {
        seconds: i64::from(millis / 1000),
        nanoseconds: i64::from(millis % 1000) * 1_000_000,
    });
    let none_held = SignalSet([0; 16]);
    for entry in entries.iter_mut() {
        entry.results = 0;
    }
    // SAFETY: pointer and length are of one slice; the timeout is null or outlives the call.
    let result = check(unsafe {
        ppoll(
            entries.as_mut_ptr(),
            entries.len() as c_ulong,
            timeout
                .as_ref()
                .map_or(null(), |timeout| &raw const *timeout),
            &raw const none_held,
        )
    });
    match result {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            for entry in entries.iter_mut() {
                entry.results = 0;
            }
            Ok(())
        }
        other => other.map(drop),
    }
}

/// A child that has ended.
pub struct Ended {
    pub process: i32,
    pub end: crate::protocol::End,
    pub user_micros: u64,
    pub system_micros: u64,
    pub resident_bytes: u64,
}

/// Reaps one child that has ended, if there is one.
pub fn reap() -> Option<Ended> {
    const WNOHANG: c_int = 1;
    let mut status: c_int = 0;
    let mut usage = ResourceUsage::default();
    // SAFETY: both results have room; the usage is as large as the kernel's (144 bytes).
    let process = unsafe { wait4(-1, &raw mut status, WNOHANG, &raw mut usage) };
    if process <= 0 {
        return None;
    }
    let micros = |time: &TimeVal| (time.seconds * 1_000_000 + time.micros) as u64;
    let signal = (status & 0x7f) as u8;
    Some(Ended {
        process,
        end: match signal {
            0 => crate::protocol::End::Exit((status >> 8) as u8),
            _ => crate::protocol::End::Signal(signal),
        },
        user_micros: micros(&usage.user),
        system_micros: micros(&usage.system),
        resident_bytes: usage.resident_kib as u64 * 1024,
    })
}

/// Sends a signal to a process, or with `group` to the process group it leads.
pub fn send_signal(process: i32, group: bool, number: u8) {
    if process > 1 {
        // SAFETY: no memory is involved. A process that is gone already is no error here.
        unsafe { kill(if group { -process } else { process }, c_int::from(number)) };
    }
}

/// Switches the machine off. Returns only if the kernel refuses.
pub fn power_off() -> io::Result<()> {
    const RB_POWER_OFF: c_int = 0x4321_fedc;
    // SAFETY: no memory is involved, and nothing on a disk needs to be written back.
    check(unsafe { reboot(RB_POWER_OFF) }).map(drop)
}

/// What a new process is to become.
pub struct Spawn<'a> {
    pub program: &'a CStr,
    pub arguments: &'a [CString],
    pub environment: &'a [CString],
    pub folder: &'a CStr,
    pub randomize_addresses: bool,
    /// Become descriptors 0, 1, 2.
    pub streams: [BorrowedFd<'a>; 3],
    /// The stream that becomes the controlling terminal.
    pub terminal: Option<usize>,
}

/// Where a new process failed on its way to its program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SpawnStep {
    Clone,
    Streams,
    Folder,
    Execute,
}

/// What parent and child share while the parent is suspended.
struct Launch {
    program: *const c_char,
    arguments: *const *const c_char,
    environment: *const *const c_char,
    folder: *const c_char,
    randomize_addresses: bool,
    streams: [c_int; 3],
    terminal: c_int,
    failed_step: AtomicI32,
    failed_errno: AtomicI32,
}

/// Memory a child runs on until it executes its program.
pub struct SpawnStack(Vec<u128>);

impl SpawnStack {
    pub fn new() -> Self {
        Self(std::hint::black_box(vec![1; 1024]))
    }
}

/// Starts a program in a session of its own. The child shares the agent's memory until it has executed the program,
/// and the agent sleeps meanwhile, so no page table is copied and a failure is told through that memory.
pub fn spawn(spawn: &Spawn<'_>, stack: &mut SpawnStack) -> Result<i32, (SpawnStep, io::Error)> {
    const CLONE_VM: c_int = 0x100;
    const CLONE_VFORK: c_int = 0x4000;
    let pointers = |words: &[CString]| {
        words
            .iter()
            .map(|word| word.as_ptr())
            .chain([null()])
            .collect::<Vec<*const c_char>>()
    };
    let (arguments, environment) = (pointers(spawn.arguments), pointers(spawn.environment));
    let launch = Launch {
        program: spawn.program.as_ptr(),
        arguments: arguments.as_ptr(),
        environment: environment.as_ptr(),
        folder: spawn.folder.as_ptr(),
        randomize_addresses: spawn.randomize_addresses,
        streams: spawn.streams.each_ref().map(|fd| fd.as_raw_fd()),
        terminal: spawn.terminal.map_or(-1, |stream| stream as c_int),
        failed_step: AtomicI32::new(-1),
        failed_errno: AtomicI32::new(0),
    };
    // SAFETY: the end of the child's stack is 16-byte aligned and one past the allocation, as a downward stack wants.
    // The child runs `become_program` on it while this thread is suspended, and this thread is the only one; the
    // stack, the launch order and all it points to live until the child has executed or exited.
    let process = unsafe {
        clone(
            become_program,
            stack.0.as_mut_ptr_range().end.cast(),
            CLONE_VM | CLONE_VFORK | SIGCHLD,
            (&raw const launch).cast_mut().cast(),
        )
    };
    let process = check(process).map_err(|error| (SpawnStep::Clone, error))?;
    let step = match launch.failed_step.load(Ordering::Relaxed) {
        -1 => return Ok(process),
        0 => SpawnStep::Streams,
        1 => SpawnStep::Folder,
        _ => SpawnStep::Execute,
    };
    Err((
        step,
        io::Error::from_raw_os_error(launch.failed_errno.load(Ordering::Relaxed)),
    ))
}

/// The child of [`spawn`]. Allocates nothing and touches nothing of the parent's but the launch order.
extern "C" fn become_program(argument: *mut c_void) -> c_int {
    const ADDR_NO_RANDOMIZE: c_ulong = 0x0004_0000;
    const TIOCSCTTY: c_ulong = 0x540e;
    const SIG_DFL: usize = 0;
    const F_DUPFD: c_int = 0;
    // SAFETY: the parent passes its launch order and sleeps.
    let launch = unsafe { &*argument.cast::<Launch>() };
    let give_up = |step: i32| -> ! {
        launch.failed_errno.store(
            io::Error::last_os_error().raw_os_error().unwrap_or(EIO),
            Ordering::Relaxed,
        );
        launch.failed_step.store(step, Ordering::Relaxed);
        // SAFETY: leaves without running anything of the parent's.
        unsafe { _exit(127) }
    };
    // SAFETY (whole block): plain system calls on numbers and on strings the parent keeps alive.
    unsafe {
        setsid();
        // First out of the way of 0, 1, 2, then into place: a stream may be on a descriptor another one needs.
        let mut held = [0; 3];
        for (held, stream) in held.iter_mut().zip(launch.streams) {
            *held = fcntl(stream, F_DUPFD, 10 as c_int);
            if *held == -1 {
                give_up(0);
            }
        }
        for (place, stream) in held.into_iter().enumerate() {
            if dup2(stream, place as c_int) == -1 {
                give_up(0);
            }
        }
        if launch.terminal >= 0 && ioctl(launch.terminal, TIOCSCTTY, 0 as c_int) == -1 {
            give_up(0);
        }
        // Everything from here up is the agent's or a copy just made; close_range(2).
        const CLOSE_RANGE: c_long = 436;
        syscall(CLOSE_RANGE, 3 as c_int, u32::MAX, 0 as c_int);
        if chdir(launch.folder) == -1 {
            give_up(1);
        }
        if !launch.randomize_addresses {
            personality(ADDR_NO_RANDOMIZE);
        }
        let action = SignalAction {
            handler: SIG_DFL,
            mask: SignalSet([0; 16]),
            flags: 0,
            restorer: 0,
        };
        for signal in [SIGPIPE, SIGCHLD] {
            sigaction(signal, &raw const action, std::ptr::null_mut());
        }
        umask(0o022);
        let _ = set_signal_mask(&SignalSet([0; 16]));
        execve(launch.program, launch.arguments, launch.environment);
        give_up(2)
    }
}

const _: () = assert!(size_of::<InterfaceRequest>() == 40 && size_of::<SystemInfo>() == 112);
const _: () = assert!(size_of::<Termios>() == 60 && size_of::<ResourceUsage>() == 144);
