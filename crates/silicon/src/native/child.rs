//! What the child process does: waits for sequences, runs them one after the other, and stores what
//! they left behind.
//!
//! Nothing here allocates or panics: the child is a copy of a process that may have had other threads.

use super::entry::{CONTROL, ring3_silicon_enter, ring3_silicon_exit, ring3_silicon_signal};
use super::{Slot, Wires};
use crate::layout::{
    self, CODE, CODE_BYTES, DATA16_BASE, DATA16_LIMIT, EXIT, MEMORY, MEMORY_BYTES, MEMORY_SPAN,
    PAGE, READ_ONLY, selector,
};
use crate::state::{AREA_BYTES, End};
use ring3_isa::CodeSize;
use std::ptr::null_mut;
use std::sync::atomic::Ordering;

/// The order of the kernel's saved registers that matches [`crate::state::State::general`].
const SAVED: [libc::c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

/// The signals that exceptions become.
const SIGNALS: [libc::c_int; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
];

/// The exit status that says which step of setting up failed.
const SET_UP_FAILED: libc::c_int = 100;

/// How the last sequence ended, as the signal handler saw it.
static mut END: End = End {
    exception: 0,
    error_code: 0,
    address: 0,
};

/// Takes over what the kernel saved.
pub(super) unsafe extern "C" fn note_fault(
    _signal: libc::c_int,
    _info: *mut libc::siginfo_t,
    context: *mut libc::ucontext_t,
) {
    const PAGE_FAULT: u32 = 14;
    // SAFETY: the kernel passes a valid ucontext whose floating-point state is an XSAVE area, as the
    // host has XSAVE. The interrupted thread is this one, inside `enter`; nothing else refers to
    // `CONTROL` and `END` now.
    unsafe {
        let state = &mut (*CONTROL.get()).state;
        let saved = &(*context).uc_mcontext.gregs;
        for (to, from) in state.general.iter_mut().zip(SAVED) {
            *to = saved[from as usize] as u64;
        }
        state.rip = saved[libc::REG_RIP as usize] as u64;
        state.rflags = saved[libc::REG_EFL as usize] as u64;
        // CS, GS, FS, SS.
        let selectors = saved[libc::REG_CSGSFS as usize] as u64;
        state.selectors[4] = selectors as u16;
        state.selectors[5] = (selectors >> 48) as u16;
        let area = (*context).uc_mcontext.fpregs.cast::<[u8; AREA_BYTES]>();
        state.area.0 = *area;
        let vector = saved[libc::REG_TRAPNO as usize] as u32;
        END = End {
            exception: vector + 1,
            error_code: saved[libc::REG_ERR as usize] as u32,
            address: if vector == PAGE_FAULT {
                saved[libc::REG_CR2 as usize] as u64
            } else {
                0
            },
        };
    }
}

/// A signal that no sequence caused.
pub(super) unsafe extern "C" fn unexpected_signal() -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(SET_UP_FAILED + 20) }
}

fn need(condition: bool, step: libc::c_int) {
    if !condition {
        // SAFETY: ends the process.
        unsafe { libc::_exit(SET_UP_FAILED + step) }
    }
}

fn map(address: u64, bytes: usize, protection: libc::c_int, file: libc::c_int, step: libc::c_int) {
    let shared = if file < 0 {
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS
    } else {
        libc::MAP_SHARED
    };
    // SAFETY: MAP_FIXED_NOREPLACE takes nothing away from anyone.
    let got = unsafe {
        libc::mmap(
            address as *mut libc::c_void,
            bytes,
            protection,
            shared | libc::MAP_FIXED_NOREPLACE,
            file,
            0,
        )
    };
    need(got as u64 == address, step);
}

/// Makes everything that sequences expect. `code` and `memory` are the files of the slots and of the
/// memory that can be written.
fn set_up(code: libc::c_int, memory: libc::c_int, read_only: &[u8; PAGE as usize]) {
    let both = libc::PROT_READ | libc::PROT_WRITE;
    map(READ_ONLY, PAGE as usize, both, -1, 1);
    for page in 0..MEMORY_SPAN / PAGE {
        map(MEMORY + page * PAGE, PAGE as usize, both, memory, 10);
    }
    map(CODE, CODE_BYTES, libc::PROT_READ | libc::PROT_EXEC, code, 2);
    map(EXIT, PAGE as usize, both, -1, 3);
    // SAFETY: the pages have just been mapped and are this function's; the stack is never used by
    // anything but signal handlers; a zeroed sigaction is valid, and the handler follows the
    // convention of SA_SIGINFO.
    unsafe {
        std::ptr::copy_nonoverlapping(read_only.as_ptr(), READ_ONLY as *mut u8, PAGE as usize);
        // An indirect jump, with its operand aligned, since RFLAGS.AC may be set.
        let mut jump = [0xff, 0x25, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let exit = ring3_silicon_exit as *const () as u64;
        jump[8..].copy_from_slice(&exit.to_le_bytes());
        std::ptr::copy_nonoverlapping(jump.as_ptr(), EXIT as *mut u8, jump.len());
        let page = PAGE as usize;
        let readable = libc::mprotect(READ_ONLY as *mut libc::c_void, page, libc::PROT_READ);
        need(readable == 0, 4);
        let run = libc::PROT_READ | libc::PROT_EXEC;
        need(libc::mprotect(EXIT as *mut libc::c_void, page, run) == 0, 5);
        const STACK_BYTES: usize = 1 << 17;
        let stack = libc::mmap(
            null_mut(),
            STACK_BYTES,
            both,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        need(stack != libc::MAP_FAILED, 6);
        let alternative = libc::stack_t {
            ss_sp: stack,
            ss_flags: 0,
            ss_size: STACK_BYTES,
        };
        need(libc::sigaltstack(&alternative, null_mut()) == 0, 7);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ring3_silicon_signal as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        for signal in SIGNALS {
            need(libc::sigaction(signal, &action, null_mut()) == 0, 8);
        }
        // Gone with the parent.
        need(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0, 9);
        (*CONTROL.get()).components = super::components();
    }
}

/// Makes 16-bit code possible; `false` if the kernel does not (CONFIG_MODIFY_LDT_SYSCALL).
pub(super) fn enable_16_bit_code() -> bool {
    // Linux' struct user_desc: entry, base, limit; of the flags, contents = code (2) and
    // limit_in_pages for the one, useable data for the other.
    let code = [0u32, CODE as u32, 0xf_ffff, 2 << 1 | 1 << 4];
    let data = [1u32, DATA16_BASE as u32, DATA16_LIMIT, 1 << 6];
    const WRITE: libc::c_int = 0x11;
    [code, data].iter().all(|descriptor| {
        // SAFETY: the kernel reads sixteen bytes; nothing else in this process uses the LDT.
        let result = unsafe {
            libc::syscall(
                libc::SYS_modify_ldt,
                WRITE,
                descriptor.as_ptr(),
                size_of_val(descriptor),
            )
        };
        result == 0
    })
}

/// Runs one sequence.
///
/// # Safety
/// [`set_up`] has been called.
unsafe fn run(slot: &mut Slot, pool: &[u8]) {
    // SAFETY: the memory is mapped and writable; the sequence that runs can reach `CONTROL`, the
    // memory, and whatever random addresses hit. If those happen to be something of this process
    // it may die, which the parent notices.
    unsafe {
        let memory = std::slice::from_raw_parts_mut(MEMORY as *mut u8, MEMORY_BYTES);
        let start = slot.memory_at as usize;
        let Some(source) = pool.get(start..start.wrapping_add(MEMORY_BYTES)) else {
            return;
        };
        memory.copy_from_slice(source);
        let control = CONTROL.get();
        (*control).state = slot.before;
        // XSTATE_BV: only what exists.
        (*control).state.area.0[512] = (*control).components as u8;
        let selector = match slot.size {
            size if size == CodeSize::Bits64 as u32 => 0,
            size if size == CodeSize::Bits32 as u32 => selector::CODE32,
            _ => selector::CODE16,
        };
        (*control).entry = slot.before.rip | u64::from(selector) << 32;
        let far = selector != 0;
        (*control).data_selector = match selector {
            selector::CODE32 => selector::DATA.into(),
            selector::CODE16 => selector::DATA16.into(),
            _ => 0,
        };
        END = End::default();
        ring3_silicon_enter(far.into());
        slot.after = (*control).state;
        slot.end = END;
        if slot.end.exception == 0 {
            slot.after.rip = EXIT;
            slot.after.selectors[4] = selector::CODE64;
        }
        slot.memory.copy_from_slice(memory);
    }
}

/// The child's life.
pub(super) fn live(wires: &Wires) -> ! {
    // SAFETY: the pointers in `wires` are to mappings that last as long as this process, and that the
    // parent leaves alone while the child works; the file descriptors are open.
    unsafe {
        set_up(wires.code_file, wires.memory_file, &*wires.read_only);
        let enabled = u32::from(enable_16_bit_code());
        (*wires.shared)
            .sixteen_bits
            .store(enabled, Ordering::Release);
        super::sandbox::enter();
        let pool = std::slice::from_raw_parts(wires.pool, wires.pool_bytes);
        loop {
            let mut count = 0u8;
            if libc::read(wires.go, (&raw mut count).cast(), 1) != 1 {
                libc::_exit(0);
            }
            let shared = wires.shared;
            for n in 0..usize::from(count).min(layout::SLOTS) {
                if (*shared).slots[n].skip != 0 {
                    continue;
                }
                (*shared).running.store(n as u32, Ordering::Release);
                run(&mut (*shared).slots[n], pool);
            }
            if libc::write(wires.done, (&raw const count).cast(), 1) != 1 {
                libc::_exit(0);
            }
        }
    }
}
