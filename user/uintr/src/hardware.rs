//! The hardware backend: system calls, and how the processor enters a handler.
//!
//! The calls are those of Intel's later branch of Linux ("uintr-next"), numbers 471 to 479; a kernel has them built in or by
//! a module. The frame that delivery pushes, the red zone that it skips, and UIF are as in the Intel SDM, "User
//! Interrupts", "User-Interrupt Delivery", with UISTACKADJUST = 128 as the kernel sets it.

use crate::error::Error;
use std::os::fd::{BorrowedFd, OwnedFd};

/// What of the interrupted thread's registers the hardware backend saves around a handler, besides the general ones and
/// the flags, which are always saved. (The software backend's handlers run in a signal frame: the kernel saves all.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SavedRegisters {
    /// All that compiled code may use: x87, SSE, AVX, AVX-512 as the processor and system have them, by XSAVEC or XSAVE;
    /// by FXSAVE where those are missing. Not AMX tiles and protection keys, which no compiler uses by itself.
    #[default]
    Extended,
    /// x87 and SSE, by FXSAVE. Enough if neither the handler nor what it calls uses AVX: the program is not built for
    /// such processors, and the C library's `memcpy`, which chooses at run time, is not called.
    Legacy,
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use super::{BorrowedFd, Error, OwnedFd, SavedRegisters};
    use crate::instruction;
    use crate::vector::Vector;
    use std::arch::naked_asm;
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
    use std::io;
    use std::os::fd::{AsRawFd, FromRawFd, RawFd};
    use std::sync::OnceLock;
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering::Relaxed;
    use std::time::{Duration, Instant};

    const REGISTER_HANDLER: libc::c_long = 471;
    const UNREGISTER_HANDLER: libc::c_long = 472;
    const VECTOR_FD: libc::c_long = 473;
    const REGISTER_SENDER: libc::c_long = 474;
    const UNREGISTER_SENDER: libc::c_long = 475;
    const WAIT: libc::c_long = 476;
    const REGISTER_SELF: libc::c_long = 477;

    /// UINTR_HANDLER_FLAG_WAITING_RECEIVER: a user interrupt ends system calls that block.
    const WAITING_RECEIVER: libc::c_uint = 0x1000;

    /// Whether processor and kernel have user interrupts; if not, why.
    pub(crate) fn supported() -> Result<(), &'static str> {
        static SUPPORTED: OnceLock<Result<(), &str>> = OnceLock::new();
        *SUPPORTED.get_or_init(|| {
            if !instruction::enumerated() {
                return Err("the processor has no user interrupts, CPUID.(7,0):EDX[5]");
            }
            // Flags are looked at first, so this changes nothing.
            // SAFETY: takes a number.
            match unsafe { libc::syscall(UNREGISTER_HANDLER, !0 as libc::c_uint) } {
                -1 if errno() == libc::EINVAL => Ok(()),
                _ => Err("the kernel does not have the system calls; is the module loaded?"),
            }
        })
    }

    /// A registration of the calling thread. Interrupts are off until the first `unmask`.
    pub(crate) struct Registration {
        /// Whether the kernel wakes a blocked thread for a user interrupt.
        wakes: bool,
    }

    pub(crate) fn register(registers: SavedRegisters) -> Result<Registration, Error> {
        let entry = match registers {
            SavedRegisters::Legacy => enter_fxsave as *const (),
            SavedRegisters::Extended => match xsave() {
                Save::Xsavec => enter_xsavec as *const (),
                Save::Xsave => enter_xsave as *const (),
                Save::Fxsave => enter_fxsave as *const (),
            },
        };
        mask();
        for (flags, wakes) in [(WAITING_RECEIVER, true), (0, false)] {
            // SAFETY: the entry is a handler in the sense of the kernel: it preserves everything and ends with UIRET.
            let result = unsafe { libc::syscall(REGISTER_HANDLER, entry, flags) };
            match result {
                0 => return Ok(Registration { wakes }),
                // The kernel may be unable to wake receivers, at the moment or for good.
                _ if errno() == libc::EINVAL && wakes => {}
                _ if errno() == libc::EBUSY => return Err(Error::AlreadyReceiver),
                _ => break,
            }
        }
        Err(Error::last("uintr_register_handler"))
    }

    pub(crate) fn unregister() {
        // SAFETY: takes a number. In a forked child it fails, which is right.
        unsafe {
            libc::syscall(UNREGISTER_HANDLER, 0);
        }
    }

    pub(crate) fn mask() {
        // SAFETY: only called where the backend is supported.
        unsafe { instruction::clui() }
    }

    pub(crate) fn unmask() {
        // SAFETY: only called where the backend is supported, and with a handler registered that is one.
        unsafe { instruction::stui() }
    }

    pub(crate) fn descriptor(vector: Vector) -> Result<OwnedFd, Error> {
        // SAFETY: takes numbers; a new descriptor or -1.
        unsafe {
            let fd = libc::syscall(VECTOR_FD, u64::from(vector.get()), 0);
            match fd {
                ..0 => Err(Error::last("uintr_vector_fd")),
                _ => Ok(OwnedFd::from_raw_fd(fd as RawFd)),
            }
        }
    }

    /// An entry of the process's target table.
    pub(crate) struct Target {
        index: u64,
        /// Which process made it: a child that shares the table must not take it away.
        process: u32,
    }

    impl Target {
        pub(crate) fn connect(file: BorrowedFd<'_>) -> Result<Target, Error> {
            supported().map_err(|_| Error::NotUintrFd)?;
            // SAFETY: takes numbers.
            let index = unsafe { libc::syscall(REGISTER_SENDER, file.as_raw_fd(), 0) };
            Target::new(index, "uintr_register_sender")
        }

        pub(crate) fn here(vector: Vector) -> Result<Target, Error> {
            // SAFETY: takes numbers.
            let index = unsafe { libc::syscall(REGISTER_SELF, u64::from(vector.get()), 0) };
            Target::new(index, "uintr_register_self")
        }

        fn new(index: libc::c_long, call: &'static str) -> Result<Target, Error> {
            match u64::try_from(index) {
                Ok(index) => Ok(Target {
                    index,
                    process: std::process::id(),
                }),
                Err(_) => Err(match errno() {
                    libc::EOPNOTSUPP => Error::NotUintrFd,
                    libc::ESHUTDOWN => Error::Gone,
                    _ => Error::last(call),
                }),
            }
        }

        #[inline]
        pub(crate) fn post(&self) {
            // SAFETY: the entry is valid until we are dropped.
            unsafe { instruction::senduipi(self.index) }
        }
    }

    impl Drop for Target {
        fn drop(&mut self) {
            if self.process == std::process::id() {
                // SAFETY: takes numbers; nobody sends through the entry any more.
                unsafe {
                    libc::syscall(UNREGISTER_SENDER, self.index, 0);
                }
            }
        }
    }

    fn errno() -> i32 {
        io::Error::last_os_error().raw_os_error().unwrap_or(0)
    }

    // ---- entering the handler ----

    /// What delivery has pushed above the vector.
    #[repr(C)]
    struct Frame {
        rip: u64,
        rflags: u64,
        rsp: u64,
    }

    /// Calls this thread's handler. A panic in it aborts: this function cannot unwind.
    extern "C" fn dispatch(vector: u64, frame: &mut Frame) {
        // Between STUI and SYSCALL of the window: the sleep must not begin any more.
        if frame.rip == window_call() {
            frame.rip = window_interrupted();
        }
        if let Some(vector) = u8::try_from(vector).ok().and_then(Vector::new) {
            crate::thread::with(|thread| thread.interrupted_by_hardware(vector));
        }
    }

    /// The state components that XSAVE saves: of those that are on, x87, SSE, AVX, the three of AVX-512, and the general
    /// registers of APX. (Intel SDM Vol. 1, "XSAVE-Supported Features and State-Component Bitmaps".)
    static XSAVE_MASK: AtomicU64 = AtomicU64::new(0);
    const XSAVE_WANTED: u64 = 1 << 19 | 0b1110_0111;

    /// The size of the area for them.
    static XSAVE_SIZE: AtomicU64 = AtomicU64::new(0);

    /// MXCSR as a C function may expect it: all exceptions masked, round to nearest.
    static MXCSR: u32 = 0x1f80;

    #[derive(Clone, Copy)]
    enum Save {
        Xsavec,
        Xsave,
        Fxsave,
    }

    /// How to save all that compiled code may use; sets what the entry points need for it.
    fn xsave() -> Save {
        static SAVE: OnceLock<Save> = OnceLock::new();
        const OSXSAVE: u32 = 1 << 27;
        *SAVE.get_or_init(|| {
            if __cpuid(1).ecx & OSXSAVE == 0 {
                return Save::Fxsave;
            }
            let mask = enabled_components() & XSAVE_WANTED;
            // The standard format has the components at fixed offsets, the compacted one has them no later.
            let legacy_and_header = 512 + 64;
            let size = (2..63)
                .filter(|component| mask & 1 << component != 0)
                .map(|component| __cpuid_count(0xd, component))
                .map(|leaf| leaf.eax + leaf.ebx)
                .fold(legacy_and_header, u32::max);
            XSAVE_MASK.store(mask, Relaxed);
            // The compacted format may round each component up to 64 bytes.
            XSAVE_SIZE.store(u64::from(size.next_multiple_of(64)) + 7 * 64, Relaxed);
            let xsavec = __cpuid_count(0xd, 1).eax & 1 << 1 != 0;
            if xsavec { Save::Xsavec } else { Save::Xsave }
        })
    }

    /// XCR0.
    fn enabled_components() -> u64 {
        #[target_feature(enable = "xsave")]
        fn xcr0() -> u64 {
            // SAFETY: OSXSAVE is set, so XGETBV exists.
            unsafe { _xgetbv(0) }
        }
        // SAFETY: only called where OSXSAVE is set.
        unsafe { xcr0() }
    }

    /// An entry point, as the processor jumps to it: RSP is a multiple of 16 and points at the vector. All general registers
    /// that a function may change are saved; RBP keeps the stack pointer meanwhile; RDI and RSI are `dispatch`'s
    /// arguments. The direction flag is whatever it was; UIRET brings it back.
    macro_rules! entry {
        (save: [$($save:literal),*], restore: [$($restore:literal),*], $($operands:tt)*) => {
            naked_asm!(
                ".byte 0xf3, 0x0f, 0x1e, 0xfa", // endbr64: delivery counts as an indirect branch
                "push rax",
                "push rcx",
                "push rdx",
                "push rsi",
                "push rdi",
                "push r8",
                "push r9",
                "push r10",
                "push r11",
                "push rbp",
                "mov rbp, rsp",
                "cld",
                "mov rdi, [rbp + 80]",
                "lea rsi, [rbp + 88]",
                $($save,)*
                "ldmxcsr [rip + {mxcsr}]",
                "call {dispatch}",
                $($restore,)*
                "mov rsp, rbp",
                "pop rbp",
                "pop r11",
                "pop r10",
                "pop r9",
                "pop r8",
                "pop rdi",
                "pop rsi",
                "pop rdx",
                "pop rcx",
                "pop rax",
                "add rsp, 8", // the vector
                ".byte 0xf3, 0x0f, 0x01, 0xec", // uiret
                dispatch = sym dispatch,
                mxcsr = sym MXCSR,
                $($operands)*
            )
        };
    }

    /// The same with XSAVE or XSAVEC, which write little of the header where XRSTOR wants zeros.
    macro_rules! entry_xsave {
        ($xsave:literal) => {
            entry!(
                save: [
                    "sub rsp, [rip + {size}]",
                    "and rsp, -64",
                    "xor eax, eax",
                    "mov [rsp + 512], rax",
                    "mov [rsp + 520], rax",
                    "mov [rsp + 528], rax",
                    "mov [rsp + 536], rax",
                    "mov [rsp + 544], rax",
                    "mov [rsp + 552], rax",
                    "mov [rsp + 560], rax",
                    "mov [rsp + 568], rax",
                    "mov eax, [rip + {mask}]",
                    "mov edx, [rip + {mask} + 4]",
                    $xsave,
                    // A function may expect an empty x87 stack. XSTATE_BV[0] is clear if it was.
                    "test byte ptr [rsp + 512], 1",
                    "jz 2f",
                    "fninit",
                    "2:"
                ],
                restore: [
                    "mov eax, [rip + {mask}]",
                    "mov edx, [rip + {mask} + 4]",
                    "xrstor64 [rsp]"
                ],
                mask = sym XSAVE_MASK,
                size = sym XSAVE_SIZE,
            )
        };
    }

    #[unsafe(naked)]
    extern "C" fn enter_xsavec() {
        entry_xsave!("xsavec64 [rsp]")
    }

    #[unsafe(naked)]
    extern "C" fn enter_xsave() {
        entry_xsave!("xsave64 [rsp]")
    }

    #[unsafe(naked)]
    extern "C" fn enter_fxsave() {
        entry!(
            save: ["sub rsp, 512", "and rsp, -16", "fxsave64 [rsp]", "fninit"],
            restore: ["fxrstor64 [rsp]"],
        )
    }

    // ---- sleeping ----

    /// Switches interrupts on and sleeps in the kernel, at most so many microseconds; interrupts are off before and
    /// after. Returns what the system call does, or -EINTR.
    ///
    /// An interrupt that is delivered between STUI and SYSCALL must not be slept over: `dispatch` sees where it is and
    /// continues behind the call. So the places are fixed, byte by byte.
    #[unsafe(naked)]
    extern "C" fn sleep_window(microseconds: u64) -> i64 {
        naked_asm!(
            ".byte 0x31, 0xf6",                               // +0  xor esi, esi: no flags
            ".byte 0xb8, 0xdc, 0x01, 0x00, 0x00",             // +2  mov eax, 476
            ".byte 0xf3, 0x0f, 0x01, 0xef",                   // +7  stui
            ".byte 0x0f, 0x05",                               // +11 syscall
            ".byte 0xf3, 0x0f, 0x01, 0xee",                   // +13 clui
            ".byte 0xc3",                                     // +17 ret
            ".byte 0x48, 0xc7, 0xc0, 0xfc, 0xff, 0xff, 0xff", // +18 mov rax, -EINTR
            ".byte 0xf3, 0x0f, 0x01, 0xee",                   // +25 clui
            ".byte 0xc3",                                     // +29 ret
        )
    }

    const _: () = assert!(WAIT == 0x1dc && libc::EINTR == 4);

    /// The address of `syscall` in the window.
    fn window_call() -> u64 {
        sleep_window as *const () as u64 + 11
    }

    /// Where to go on instead.
    fn window_interrupted() -> u64 {
        sleep_window as *const () as u64 + 18
    }

    /// Sleeps until an interrupt has been delivered, or for some time; `false` when the deadline is over. Interrupts are
    /// off before and after.
    pub(crate) fn sleep(registration: &Registration, deadline: Option<Instant>) -> bool {
        // The kernel sleeps no longer than 1000 s. Kernels that are said to lose a wake-up now and then (interrupts
        // recognized while the thread is about to sleep) cost no more than a second so. Where the kernel wakes nobody,
        // interrupts are delivered between naps.
        let most = match registration.wakes {
            true => Duration::from_secs(1),
            false => Duration::from_millis(1),
        };
        let time = match deadline.map(|deadline| deadline.checked_duration_since(Instant::now())) {
            None => most,
            Some(None | Some(Duration::ZERO)) => return false,
            Some(Some(rest)) => rest.min(most),
        };
        let microseconds = (time.as_nanos() as u64).div_ceil(1000);
        let result = sleep_window(microseconds);
        debug_assert!(
            result == 0 || result == -i64::from(libc::EINTR),
            "uintr_wait failed with {result}, on a thread that is a receiver"
        );
        true
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use elsewhere::*;

#[cfg(not(target_arch = "x86_64"))]
mod elsewhere {
    //! Other processors have no user interrupts; nothing in here can be reached.
    use super::{BorrowedFd, Error, OwnedFd, SavedRegisters};
    use crate::vector::Vector;
    use std::time::Instant;

    pub(crate) enum Registration {}

    pub(crate) enum Target {}

    pub(crate) fn supported() -> Result<(), &'static str> {
        Err("only x86-64 processors have user interrupts")
    }

    pub(crate) fn register(_: SavedRegisters) -> Result<Registration, Error> {
        supported()
            .map_err(Error::Unsupported)
            .map(|()| unreachable!())
    }

    pub(crate) fn unregister() {}

    pub(crate) fn mask() {}

    pub(crate) fn unmask() {}

    pub(crate) fn descriptor(_: Vector) -> Result<OwnedFd, Error> {
        supported()
            .map_err(Error::Unsupported)
            .map(|()| unreachable!())
    }

    pub(crate) fn sleep(registration: &Registration, _: Option<Instant>) -> bool {
        match *registration {}
    }

    impl Target {
        pub(crate) fn connect(_: BorrowedFd<'_>) -> Result<Target, Error> {
            Err(Error::NotUintrFd)
        }

        pub(crate) fn here(_: Vector) -> Result<Target, Error> {
            supported()
                .map_err(Error::Unsupported)
                .map(|()| unreachable!())
        }

        pub(crate) fn post(&self) {
            match *self {}
        }
    }
}
