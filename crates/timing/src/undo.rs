//! What instructions in flight have overwritten, so that a squash can bring it back.

use crate::decoded::{CARRY, FLAGS, PLACES, Timed, flag, undo};
use ring3_arithmetic::Mxcsr;
use ring3_arithmetic::x87::X87;
use ring3_cpu::Cpu;
use ring3_cpu::flags::StatusFlags;
use ring3_isa::{Reg, Uop};

/// Entries; a power of two, more than the largest window can need.
const CAPACITY: usize = 1 << 14;
/// x87 states; one per x87 micro-op in flight.
const X87_CAPACITY: usize = 1 << 12;

#[derive(Clone, Copy, Debug)]
enum Old {
    Integer(Reg, u64),
    Vector(u8, u128),
    Upper(u8, u128),
    Flags(StatusFlags),
    Mxcsr(Mxcsr),
    System(u64, bool),
    X87,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    old: Old,
    /// When the old value was ready.
    ready: u64,
}

/// The log of a thread.
pub(crate) struct UndoLog {
    entries: Vec<Entry>,
    position: u64,
    x87: Vec<X87>,
    x87_position: u64,
}

impl UndoLog {
    pub fn new() -> UndoLog {
        let empty = Entry {
            old: Old::X87,
            ready: 0,
        };
        UndoLog {
            entries: vec![empty; CAPACITY],
            position: 0,
            x87: Vec::new(),
            x87_position: 0,
        }
    }

    #[inline(always)]
    pub fn position(&self) -> u64 {
        self.position
    }

    #[inline(always)]
    fn push(&mut self, old: Old, ready: u64) {
        self.entries[self.position as usize & (CAPACITY - 1)] = Entry { old, ready };
        self.position += 1;
    }

    /// `uop` is about to execute.
    #[inline(always)]
    pub fn before(&mut self, cpu: &Cpu, uop: &Uop, timed: &Timed, ready: &[u64; PLACES]) {
        let what = timed.undo;
        if what & undo::DST != 0 {
            let at = ready[uop.dst as usize];
            self.push(Old::Integer(uop.dst, cpu.reg(uop.dst)), at);
        }
        if what & undo::FLAGS != 0 {
            // One time stands for both groups of flags; the later is the safe one.
            let at = ready[CARRY as usize].max(ready[FLAGS as usize]);
            self.push(Old::Flags(cpu.flags), at);
        }
        if what & undo::VECTOR != 0 {
            let at = ready[32 + uop.vdst()];
            self.push(Old::Vector(uop.vdst() as u8, cpu.vectors[uop.vdst()]), at);
        }
        if what & undo::UPPER != 0 {
            self.push(Old::Upper(uop.vdst() as u8, cpu.uppers[uop.vdst()]), 0);
        }
        if what & !(undo::DST | undo::FLAGS | undo::VECTOR | undo::UPPER) != 0 {
            self.before_rare(cpu, what, ready);
        }
    }

    fn before_rare(&mut self, cpu: &Cpu, what: u16, ready: &[u64; PLACES]) {
        if what & undo::UPPERS != 0 {
            for number in 0..16 {
                if cpu.uppers[number] != 0 {
                    self.push(Old::Upper(number as u8, cpu.uppers[number]), 0);
                }
            }
        }
        if what & undo::MXCSR != 0 {
            self.push(Old::Mxcsr(cpu.mxcsr), 0);
        }
        for (bit, reg) in [
            (undo::RAX, Reg::Rax),
            (undo::RCX, Reg::Rcx),
            (undo::RDX, Reg::Rdx),
            (undo::RSI, Reg::Rsi),
            (undo::RDI, Reg::Rdi),
        ] {
            if what & bit != 0 {
                self.push(Old::Integer(reg, cpu.reg(reg)), ready[reg as usize]);
            }
        }
        if what & undo::X0 != 0 {
            self.push(Old::Vector(0, cpu.vectors[0]), ready[32]);
        }
        if what & undo::SYSTEM != 0 {
            self.push(Old::System(cpu.system_flags, cpu.uintr.uif), 0);
        }
        if what & undo::X87 != 0 {
            if self.x87.is_empty() {
                self.x87 = vec![X87::RESET; X87_CAPACITY];
            }
            self.x87[self.x87_position as usize & (X87_CAPACITY - 1)] = cpu.x87;
            self.x87_position += 1;
            self.push(Old::X87, 0);
        }
    }

    /// Brings back the state at `position`.
    pub fn back_to(&mut self, cpu: &mut Cpu, ready: &mut [u64; PLACES], position: u64) {
        while self.position > position {
            self.position -= 1;
            let Entry { old, ready: at } = self.entries[self.position as usize & (CAPACITY - 1)];
            match old {
                Old::Integer(reg, value) => {
                    cpu.set_reg(reg, value);
                    ready[reg as usize] = at;
                }
                Old::Vector(number, value) => {
                    cpu.vectors[number as usize] = value;
                    ready[32 + number as usize] = at;
                }
                Old::Upper(number, value) => cpu.uppers[number as usize] = value,
                Old::Flags(flags) => {
                    cpu.flags = flags;
                    ready[CARRY as usize] = at;
                    ready[FLAGS as usize] = at;
                }
                Old::Mxcsr(mxcsr) => cpu.mxcsr = mxcsr,
                Old::System(flags, uif) => {
                    cpu.system_flags = flags;
                    cpu.uintr.uif = uif;
                }
                Old::X87 => {
                    self.x87_position -= 1;
                    cpu.x87 = self.x87[self.x87_position as usize & (X87_CAPACITY - 1)];
                }
            }
        }
    }
}

/// Results become ready at `at` (flags at `flags_at`).
#[inline(always)]
pub(crate) fn set_ready(ready: &mut [u64; PLACES], timed: &Timed, at: u64, flags_at: u64) {
    ready[timed.dst as usize] = at;
    // The place of "no destination" is the constant zero, which is always ready.
    ready[Reg::Zero as usize] = 0;
    if timed.flags & flag::CARRY != 0 {
        ready[CARRY as usize] = flags_at;
    }
    if timed.flags & flag::FLAGS != 0 {
        ready[FLAGS as usize] = flags_at;
    }
    if timed.undo & (undo::RDX | undo::RSI | undo::RDI | undo::X0 | undo::RCX) != 0 {
        for (bit, place) in [
            (undo::RDX, 2),
            (undo::RSI, 6),
            (undo::RDI, 7),
            (undo::X0, 32),
            (undo::RCX, 1),
        ] {
            if timed.undo & bit != 0 {
                ready[place] = at;
            }
        }
    }
}
