//! The x87 floating-point unit: its registers, and every instruction as a change of them.
//!
//! [`X87`] is the whole state, small enough to be copied: an engine that must be able to undo an
//! instruction (because the store of its result faults, say) keeps a copy. [`X87::execute`] performs
//! an instruction, given as an [`X87Op`]; memory operands come and go as values. Saved images are
//! byte arrays (`image`).
//!
//! Exceptions are recorded in the status word. An unmasked one sets ES; the fault (#MF) is due at
//! the next *waiting* instruction, which then reports [`X87Pending`] instead of executing.
//!
//! Results agree with the processor bit for bit, flags included, except for the transcendental
//! instructions, whose results are within one unit in the last place of the true value (see
//! `transcendental`). Condition codes that the manual leaves undefined, and the few places where it
//! contradicts processors (what FLD does with an unmasked denormal, what comparisons deliver with an
//! unmasked invalid operation), are as observed on a processor. The exception is C1 after FCOMI and
//! its siblings, which is cleared as the manual says, while another vendor's processors keep it.
//!
//! Not here: CR0.NE clear (FERR#), and when exactly instruction and data pointers are recorded, which
//! is the engine's business ([`X87::record`]).

mod arithmetic;
mod f80;
mod image;
mod operation;
mod transcendental;
mod wide;

pub use f80::F80;
pub use image::ImageFormat;
pub use operation::{X87Op, X87Output};

use crate::rounding::{Rounding, Traps};
use arithmetic::{Control, Outcome};
use serde::{Deserialize, Serialize};

pub(crate) const IE: u16 = 1 << 0;
pub(crate) const DE: u16 = 1 << 1;
pub(crate) const ZE: u16 = 1 << 2;
pub(crate) const OE: u16 = 1 << 3;
pub(crate) const UE: u16 = 1 << 4;
pub(crate) const PE: u16 = 1 << 5;
const PRE_COMPUTATION: u16 = IE | DE | ZE;
const EXCEPTIONS: u16 = 0x3f;

/// Bits of the status word. SDM Vol. 1, "x87 FPU Status Register".
pub mod status {
    /// Stack fault: an invalid operation was one of the register stack.
    pub const SF: u16 = 1 << 6;
    /// Exception summary: an unmasked exception is pending.
    pub const ES: u16 = 1 << 7;
    /// Condition code 0.
    pub const C0: u16 = 1 << 8;
    /// Condition code 1: rounded up, or direction of a stack fault.
    pub const C1: u16 = 1 << 9;
    /// Condition code 2.
    pub const C2: u16 = 1 << 10;
    /// Where the number of the register at the top of the stack starts, three bits.
    pub const TOP_SHIFT: u32 = 11;
    /// Condition code 3.
    pub const C3: u16 = 1 << 14;
    /// Busy: a copy of ES.
    pub const B: u16 = 1 << 15;
}
use status::{B, C0, C1, C2, C3, ES, SF};

/// An unmasked x87 exception from an earlier instruction is pending, and this one waits for it:
/// #MF is due, nothing has been executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct X87Pending;

/// The state of the x87, which the MMX registers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct X87 {
    /// R0 to R7; ST(i) is R[(TOP + i) mod 8]. MM0 to MM7 are the significands.
    registers: [F80; 8],
    /// One bit per physical register: it holds a value.
    valid: u8,
    control: u16,
    /// Without TOP, which is apart.
    status: u16,
    top: u8,
    instruction_pointer: u64,
    data_pointer: u64,
    code_selector: u16,
    data_selector: u16,
    opcode: u16,
}

/// Where the last non-control instruction was, and its memory operand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct X87Pointers {
    /// FIP: the offset of the instruction.
    pub instruction: u64,
    /// FCS: its code segment; 0 if the processor does not record it.
    pub code_selector: u16,
    /// FDP: the offset of the memory operand.
    pub data: u64,
    /// FDS: its segment; 0 if the processor does not record it.
    pub data_selector: u16,
    /// FOP: the low three bits of the first opcode byte, then the second byte.
    pub opcode: u16,
}

impl Default for X87 {
    fn default() -> X87 {
        X87::INITIAL
    }
}

/// The bits of the control word that can be written.
const CONTROL_WRITABLE: u16 = 0x1f3f;
/// The bit of the control word that always reads as one.
const CONTROL_FIXED: u16 = 0x0040;

impl X87 {
    /// After FNINIT, and the initial state of XRSTOR: everything masked, full precision, round to
    /// nearest, the stack empty. The registers' contents are zero, which FNINIT does not see to.
    pub const INITIAL: X87 = X87 {
        registers: [F80::ZERO; 8],
        valid: 0,
        control: 0x037f,
        status: 0,
        top: 0,
        instruction_pointer: 0,
        data_pointer: 0,
        code_selector: 0,
        data_selector: 0,
        opcode: 0,
    };

    /// After a processor reset, which differs from INIT and FNINIT: single precision, everything
    /// unmasked, the registers zero and valid.
    /// SDM Vol. 3, "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT".
    pub const RESET: X87 = X87 {
        control: 0x0040,
        valid: 0xff,
        ..X87::INITIAL
    };

    /// The control word.
    pub const fn control_word(&self) -> u16 {
        self.control
    }

    /// The status word, TOP included.
    pub const fn status_word(&self) -> u16 {
        self.status | (self.top as u16) << status::TOP_SHIFT
    }

    /// The number of the physical register that is ST(0).
    pub const fn top(&self) -> u8 {
        self.top
    }

    /// One bit per physical register, set if it holds a value: the tag word as FXSAVE stores it.
    pub const fn abridged_tags(&self) -> u8 {
        self.valid
    }

    /// The full tag word: two bits per physical register, 0 valid, 1 zero, 2 special (NaN, infinity,
    /// subnormal, unsupported), 3 empty. SDM Vol. 1, "x87 FPU Tag Word".
    pub fn tag_word(&self) -> u16 {
        (0..8).rev().fold(0, |tags, i| {
            let register = self.registers[i];
            let tag = if self.valid >> i & 1 == 0 {
                3
            } else if register.exponent() == 0 && register.significand == 0 {
                1
            } else if register.exponent() == 0
                || register.exponent() == f80::EXPONENT_MAX
                || register.significand & f80::INTEGER_BIT == 0
            {
                2
            } else {
                0
            };
            tags << 2 | tag
        })
    }

    /// The content of physical register `index`, whether or not it is empty.
    pub fn register(&self, index: u8) -> F80 {
        self.registers[usize::from(index & 7)]
    }

    /// Changes the content of physical register `index`, not its tag.
    pub fn set_register(&mut self, index: u8, value: F80) {
        self.registers[usize::from(index & 7)] = value;
    }

    /// ST(`index`), or `None` if it is empty.
    pub fn st(&self, index: u8) -> Option<F80> {
        let at = self.physical(index);
        (self.valid >> at & 1 != 0).then(|| self.registers[at])
    }

    /// Whether an unmasked exception is pending: the next waiting instruction raises #MF.
    pub const fn is_pending(&self) -> bool {
        self.status & ES != 0
    }

    /// Whether this is the initial configuration of XSAVE's x87 component.
    pub fn is_initial(&self) -> bool {
        *self == X87::INITIAL
    }

    /// The last non-control instruction, as far as recorded.
    pub const fn pointers(&self) -> X87Pointers {
        X87Pointers {
            instruction: self.instruction_pointer,
            code_selector: self.code_selector,
            data: self.data_pointer,
            data_selector: self.data_selector,
            opcode: self.opcode,
        }
    }

    /// Records the last non-control instruction. Processors differ in when they do: always, or only
    /// when an unmasked exception arises (which then is [`X87::is_pending`] after the instruction).
    pub const fn record(&mut self, pointers: X87Pointers) {
        self.instruction_pointer = pointers.instruction;
        self.code_selector = pointers.code_selector;
        self.data_pointer = pointers.data;
        self.data_selector = pointers.data_selector;
        self.opcode = pointers.opcode & 0x7ff;
    }

    /// Records the address of the last non-control instruction alone.
    #[inline]
    pub const fn record_instruction(&mut self, instruction: u64) {
        self.instruction_pointer = instruction;
    }

    /// What every MMX instruction but EMMS does besides its operation: TOP becomes 0, all registers
    /// valid. SDM Vol. 1, "Effect of MMX, x87 FPU, FXSAVE, and FXRSTOR Instructions on the x87 FPU
    /// Tag Word". The caller has checked [`X87::is_pending`].
    pub const fn enter_mmx(&mut self) {
        self.top = 0;
        self.valid = 0xff;
    }

    /// EMMS: all registers empty. TOP becomes 0 as with every MMX instruction.
    pub const fn empty_mmx(&mut self) {
        self.top = 0;
        self.valid = 0;
    }

    /// MM`index`.
    pub fn mm(&self, index: u8) -> u64 {
        self.registers[usize::from(index & 7)].significand
    }

    /// Writes MM`index`; sign and exponent become all ones.
    pub fn set_mm(&mut self, index: u8, value: u64) {
        self.registers[usize::from(index & 7)] = F80 {
            sign_exponent: 0xffff,
            significand: value,
        };
    }

    const fn physical(&self, index: u8) -> usize {
        (self.top.wrapping_add(index) & 7) as usize
    }

    fn set_st(&mut self, index: u8, value: F80) {
        let at = self.physical(index);
        self.registers[at] = value;
        self.valid |= 1 << at;
    }

    fn pop(&mut self) {
        self.valid &= !(1 << self.top);
        self.top = (self.top + 1) & 7;
    }

    fn push(&mut self, value: F80) {
        self.top = self.top.wrapping_sub(1) & 7;
        self.set_st(0, value);
    }

    fn rounding(&self) -> Rounding {
        Rounding::from_field((self.control >> 10) as u8)
    }

    fn control(&self) -> Control {
        Control {
            rounding: self.rounding(),
            precision: match self.control >> 8 & 3 {
                0 => 24,
                2 => 53,
                // 1 is reserved.
                _ => 64,
            },
            traps: Traps {
                underflow: self.control & UE == 0,
                overflow: self.control & OE == 0,
            },
        }
    }

    fn set_control(&mut self, word: u16) {
        self.control = word & CONTROL_WRITABLE | CONTROL_FIXED;
        self.summarise();
    }

    /// Sets ES and B by what is flagged and unmasked.
    fn summarise(&mut self) {
        if self.status & !self.control & EXCEPTIONS != 0 {
            self.status |= ES | B;
        } else {
            self.status &= !(ES | B);
        }
    }

    fn set_conditions(&mut self, mask: u16, values: u16) {
        self.status = self.status & !mask | values & mask;
    }

    /// Records the exceptions of an instruction; C1 says whether the result was rounded up. Returns
    /// those that are unmasked.
    ///
    /// Unmasked pre-computation exceptions (invalid, denormal, divide by zero) prevent the others.
    fn raise<T>(&mut self, outcome: &Outcome<T>) -> u16 {
        let unmasked = outcome.flags & !self.control & EXCEPTIONS;
        if unmasked & PRE_COMPUTATION != 0 {
            self.status |= outcome.flags & PRE_COMPUTATION;
            self.set_conditions(C1, 0);
            self.status |= ES | B;
            return unmasked & PRE_COMPUTATION;
        }
        self.status |= outcome.flags;
        self.set_conditions(C1, if outcome.up { C1 } else { 0 });
        if unmasked != 0 {
            self.status |= ES | B;
        }
        unmasked
    }

    /// Records a stack fault; true if the masked response is due.
    fn raise_stack_fault(&mut self, overflow: bool) -> bool {
        self.status |= IE | SF;
        self.set_conditions(C1, if overflow { C1 } else { 0 });
        if self.control & IE == 0 {
            self.status |= ES | B;
            return false;
        }
        true
    }
}

/// The condition codes of a comparison.
const fn condition_of(order: Option<std::cmp::Ordering>) -> u16 {
    use std::cmp::Ordering::*;
    match order {
        Some(Greater) => 0,
        Some(Less) => C0,
        Some(Equal) => C3,
        None => C0 | C2 | C3,
    }
}
