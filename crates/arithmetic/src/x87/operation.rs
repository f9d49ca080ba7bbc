//! The instructions: [`X87Op`], and what each does to the state.

use super::arithmetic::{self, Control, Outcome, denormal_flag};
use super::f80::{EXPONENT_MAX, F80, INTEGER_BIT};
use super::status::{B, C0, C1, C2, C3, ES, SF};
use super::transcendental::{self, Trigonometric};
use super::{
    CONTROL_FIXED, EXCEPTIONS, IE, OE, PE, PRE_COMPUTATION, UE, X87, X87Pending, condition_of,
};
use crate::float::flags_of;
use crate::rounding::Rounding;
use ring3_arch::rflags;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// What an instruction leaves outside the x87.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum X87Output {
    /// Nothing: there is no result outside, or an unmasked exception suppressed it.
    None,
    /// The memory operand, or AX for FNSTSW AX; zero-extended, in the size that the operation says.
    Value(u128),
    /// The six status flags of RFLAGS.
    Flags(u64),
}

/// States every operation once.
macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// An x87 instruction with the kind of its operands.
        ///
        /// Mnemonics are as the manual spells them for the encoding (the reversed forms subtract
        /// from and divide the source). Suffixes: `M16` to `M80` a memory operand of that size,
        /// `Sti` the form whose destination is ST(i); otherwise the destination is ST(0).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[repr(u16)]
        pub enum X87Op {
            $($(#[$doc])* $name,)*
        }

        impl X87Op {
            /// All of them, in the order of their discriminants.
            pub const ALL: &[X87Op] = &[$(X87Op::$name,)*];

            /// The operation with this discriminant, if there is one.
            #[inline]
            pub fn from_index(index: u16) -> Option<X87Op> {
                X87Op::ALL.get(usize::from(index)).copied()
            }
        }
    };
}

operations! {
    /// Pushes ST(i).
    FldSti,
    /// Pushes a single.
    FldM32,
    /// Pushes a double.
    FldM64,
    /// Pushes ten bytes as they are.
    FldM80,
    /// Pushes a 16-bit integer.
    FildM16,
    /// Pushes a 32-bit integer.
    FildM32,
    /// Pushes a 64-bit integer.
    FildM64,
    /// Pushes 18 packed decimal digits.
    Fbld,
    /// Pushes 1.
    Fld1,
    /// Pushes log2 10.
    Fldl2t,
    /// Pushes log2 e.
    Fldl2e,
    /// Pushes π.
    Fldpi,
    /// Pushes log10 2.
    Fldlg2,
    /// Pushes ln 2.
    Fldln2,
    /// Pushes 0.
    Fldz,
    /// Copies ST(0) to ST(i).
    FstSti,
    /// Copies ST(0) to ST(i) and pops.
    FstpSti,
    /// Copies ST(0) to ST(i), unless it is empty, and pops: D9 D8, which the manual leaves out.
    FstpnceSti,
    /// Stores a single.
    FstM32,
    /// Stores a double.
    FstM64,
    /// Stores a single and pops.
    FstpM32,
    /// Stores a double and pops.
    FstpM64,
    /// Stores ten bytes and pops.
    FstpM80,
    /// Stores a 16-bit integer.
    FistM16,
    /// Stores a 32-bit integer.
    FistM32,
    /// Stores a 16-bit integer and pops.
    FistpM16,
    /// Stores a 32-bit integer and pops.
    FistpM32,
    /// Stores a 64-bit integer and pops.
    FistpM64,
    /// Stores a truncated 16-bit integer and pops.
    FisttpM16,
    /// Stores a truncated 32-bit integer and pops.
    FisttpM32,
    /// Stores a truncated 64-bit integer and pops.
    FisttpM64,
    /// Stores 18 packed decimal digits and pops.
    Fbstp,
    /// Exchanges ST(0) and ST(i).
    Fxch,
    /// Copies ST(i) if CF.
    Fcmovb,
    /// Copies ST(i) if ZF.
    Fcmove,
    /// Copies ST(i) if CF or ZF.
    Fcmovbe,
    /// Copies ST(i) if PF.
    Fcmovu,
    /// Copies ST(i) if not CF.
    Fcmovnb,
    /// Copies ST(i) if not ZF.
    Fcmovne,
    /// Copies ST(i) if neither CF nor ZF.
    Fcmovnbe,
    /// Copies ST(i) if not PF.
    Fcmovnu,
    /// ST(0) + ST(i).
    Fadd,
    /// To ST(i).
    FaddSti,
    /// To ST(i), and pops.
    Faddp,
    /// ST(0) + single.
    FaddM32,
    /// ST(0) + double.
    FaddM64,
    /// ST(0) + 16-bit integer.
    FiaddM16,
    /// ST(0) + 32-bit integer.
    FiaddM32,
    /// ST(0) × ST(i).
    Fmul,
    /// To ST(i).
    FmulSti,
    /// To ST(i), and pops.
    Fmulp,
    /// ST(0) × single.
    FmulM32,
    /// ST(0) × double.
    FmulM64,
    /// ST(0) × 16-bit integer.
    FimulM16,
    /// ST(0) × 32-bit integer.
    FimulM32,
    /// ST(0) − ST(i).
    Fsub,
    /// ST(i) − ST(0), to ST(i).
    FsubSti,
    /// ST(i) − ST(0), to ST(i), and pops.
    Fsubp,
    /// ST(0) − single.
    FsubM32,
    /// ST(0) − double.
    FsubM64,
    /// ST(0) − 16-bit integer.
    FisubM16,
    /// ST(0) − 32-bit integer.
    FisubM32,
    /// ST(i) − ST(0).
    Fsubr,
    /// ST(0) − ST(i), to ST(i).
    FsubrSti,
    /// ST(0) − ST(i), to ST(i), and pops.
    Fsubrp,
    /// Single − ST(0).
    FsubrM32,
    /// Double − ST(0).
    FsubrM64,
    /// 16-bit integer − ST(0).
    FisubrM16,
    /// 32-bit integer − ST(0).
    FisubrM32,
    /// ST(0) ÷ ST(i).
    Fdiv,
    /// ST(i) ÷ ST(0), to ST(i).
    FdivSti,
    /// ST(i) ÷ ST(0), to ST(i), and pops.
    Fdivp,
    /// ST(0) ÷ single.
    FdivM32,
    /// ST(0) ÷ double.
    FdivM64,
    /// ST(0) ÷ 16-bit integer.
    FidivM16,
    /// ST(0) ÷ 32-bit integer.
    FidivM32,
    /// ST(i) ÷ ST(0).
    Fdivr,
    /// ST(0) ÷ ST(i), to ST(i).
    FdivrSti,
    /// ST(0) ÷ ST(i), to ST(i), and pops.
    Fdivrp,
    /// Single ÷ ST(0).
    FdivrM32,
    /// Double ÷ ST(0).
    FdivrM64,
    /// 16-bit integer ÷ ST(0).
    FidivrM16,
    /// 32-bit integer ÷ ST(0).
    FidivrM32,
    /// Compares with ST(i).
    Fcom,
    /// Compares with ST(i) and pops.
    Fcomp,
    /// Compares with ST(1) and pops both.
    Fcompp,
    /// Compares with a single.
    FcomM32,
    /// Compares with a double.
    FcomM64,
    /// Compares with a single and pops.
    FcompM32,
    /// Compares with a double and pops.
    FcompM64,
    /// Compares with a 16-bit integer.
    FicomM16,
    /// Compares with a 32-bit integer.
    FicomM32,
    /// Compares with a 16-bit integer and pops.
    FicompM16,
    /// Compares with a 32-bit integer and pops.
    FicompM32,
    /// Compares with ST(i), quiet NaNs being valid.
    Fucom,
    /// Compares with ST(i), quiet NaNs being valid, and pops.
    Fucomp,
    /// Compares with ST(1), quiet NaNs being valid, and pops both.
    Fucompp,
    /// Compares with ST(i) into RFLAGS.
    Fcomi,
    /// Compares with ST(i) into RFLAGS and pops.
    Fcomip,
    /// Compares with ST(i) into RFLAGS, quiet NaNs being valid.
    Fucomi,
    /// Compares with ST(i) into RFLAGS, quiet NaNs being valid, and pops.
    Fucomip,
    /// Compares with zero.
    Ftst,
    /// Classifies ST(0).
    Fxam,
    /// Clears the sign.
    Fabs,
    /// Inverts the sign.
    Fchs,
    /// Square root.
    Fsqrt,
    /// Rounds to an integral value.
    Frndint,
    /// ST(0) × 2^trunc ST(1).
    Fscale,
    /// Replaces ST(0) with its exponent and pushes its significand.
    Fxtract,
    /// Partial remainder of ST(0) ÷ ST(1), truncating.
    Fprem,
    /// Partial remainder of ST(0) ÷ ST(1), to nearest.
    Fprem1,
    /// 2^ST(0) − 1.
    F2xm1,
    /// ST(1) × log2 ST(0), popping one.
    Fyl2x,
    /// ST(1) × log2 (ST(0) + 1), popping one.
    Fyl2xp1,
    /// Sine.
    Fsin,
    /// Cosine.
    Fcos,
    /// Sine in place of ST(0), cosine pushed.
    Fsincos,
    /// Tangent in place of ST(0), 1 pushed.
    Fptan,
    /// Angle of the point (ST(0), ST(1)), popping one.
    Fpatan,
    /// Initialises. Does not wait.
    Fninit,
    /// Clears the exceptions. Does not wait.
    Fnclex,
    /// Loads the control word.
    Fldcw,
    /// Stores the control word, 16 bits. Does not wait.
    Fnstcw,
    /// Stores the status word, 16 bits, to memory or AX. Does not wait.
    Fnstsw,
    /// Empties ST(i).
    Ffree,
    /// Empties ST(i) and pops.
    Ffreep,
    /// Increments TOP.
    Fincstp,
    /// Decrements TOP.
    Fdecstp,
    /// Nothing but waiting.
    Fnop,
    /// Nothing but waiting.
    Fwait,
}

impl X87Op {
    /// Whether a pending exception is reported instead of executing.
    pub const fn is_waiting(self) -> bool {
        use X87Op::*;
        !matches!(self, Fninit | Fnclex | Fnstcw | Fnstsw)
    }

    /// Whether the memory operand, if there is one, is written.
    pub const fn is_store(self) -> bool {
        use X87Op::*;
        matches!(
            self,
            FstM32
                | FstM64
                | FstpM32
                | FstpM64
                | FstpM80
                | FistM16
                | FistM32
                | FistpM16
                | FistpM32
                | FistpM64
                | FisttpM16
                | FisttpM32
                | FisttpM64
                | Fbstp
                | Fnstcw
                | Fnstsw
        )
    }

    /// Whether the instruction and data pointers are left alone: the control instructions of SDM
    /// Vol. 1, "x87 FPU Instruction and Data (Operand) Pointers".
    pub const fn is_control(self) -> bool {
        use X87Op::*;
        matches!(self, Fninit | Fnclex | Fldcw | Fnstcw | Fnstsw | Fwait)
    }
}

#[derive(Clone, Copy)]
enum Arithmetic {
    Add,
    Multiply,
    Subtract,
    SubtractReversed,
    Divide,
    DivideReversed,
}

impl Arithmetic {
    fn compute(
        self,
        destination: F80,
        source: F80,
        denormal: u16,
        control: Control,
    ) -> Outcome<F80> {
        match self {
            Arithmetic::Add => arithmetic::add(destination, source, false, denormal, control),
            Arithmetic::Multiply => arithmetic::multiply(destination, source, denormal, control),
            Arithmetic::Subtract => arithmetic::add(destination, source, true, denormal, control),
            Arithmetic::SubtractReversed => {
                arithmetic::add(source, destination, true, denormal, control)
            }
            Arithmetic::Divide => arithmetic::divide(destination, source, denormal, control),
            Arithmetic::DivideReversed => {
                arithmetic::divide(source, destination, denormal, control)
            }
        }
    }
}

/// Where the second operand of an arithmetic or comparison comes from.
#[derive(Clone, Copy)]
enum Source {
    /// ST(i).
    Register(u8),
    /// Memory, widened, with DE if it is subnormal there.
    Memory(Outcome<F80>),
}

fn single(operand: u128) -> Source {
    Source::Memory(arithmetic::from_single(operand as u32))
}

fn double(operand: u128) -> Source {
    Source::Memory(arithmetic::from_double(operand as u64))
}

fn word(operand: u128) -> Source {
    Source::Memory(Outcome::exact(F80::from_integer((operand as i16).into())))
}

fn doubleword(operand: u128) -> Source {
    Source::Memory(Outcome::exact(F80::from_integer((operand as i32).into())))
}

impl X87 {
    /// Executes an instruction.
    ///
    /// `i` is the number of the other stack register, `operand` the memory operand (zero-extended),
    /// `rflags` the flags that FCMOVcc tests; each is ignored by the operations that have none.
    ///
    /// ```
    /// use ring3_arithmetic::x87::{X87, X87Op, X87Output};
    /// let mut x87 = X87::INITIAL;
    /// x87.execute(X87Op::Fldpi, 0, 0, 0).unwrap();
    /// let stored = x87.execute(X87Op::FstpM64, 0, 0, 0).unwrap();
    /// assert_eq!(stored, X87Output::Value(std::f64::consts::PI.to_bits().into()));
    /// ```
    ///
    /// # Errors
    /// An earlier unmasked exception is pending: #MF is due and nothing was done.
    pub fn execute(
        &mut self,
        op: X87Op,
        i: u8,
        operand: u128,
        rflags: u64,
    ) -> Result<X87Output, X87Pending> {
        use Arithmetic::*;
        use X87Op::*;
        if op.is_waiting() && self.is_pending() {
            return Err(X87Pending);
        }
        match op {
            FldSti => self.load_register(i),
            FldM32 => self.load_float(arithmetic::from_single(operand as u32)),
            FldM64 => self.load_float(arithmetic::from_double(operand as u64)),
            FldM80 => self.load(Outcome::exact(F80::from_bits(operand))),
            FildM16 => self.load_integer((operand as i16).into()),
            FildM32 => self.load_integer((operand as i32).into()),
            FildM64 => self.load_integer(operand as i64),
            Fbld => self.load(Outcome::exact(arithmetic::from_decimal(operand))),
            Fld1 => self.load(Outcome::exact(F80::ONE)),
            Fldz => self.load(Outcome::exact(F80::ZERO)),
            Fldl2t => self.load_constant(0x4000, 0xd49a_784b_cd1b_8afe, false),
            Fldl2e => self.load_constant(0x3fff, 0xb8aa_3b29_5c17_f0bc, true),
            Fldpi => self.load_constant(0x4000, 0xc90f_daa2_2168_c235, true),
            Fldlg2 => self.load_constant(0x3ffd, 0x9a20_9a84_fbcf_f799, true),
            Fldln2 => self.load_constant(0x3ffe, 0xb172_17f7_d1cf_79ac, true),

            FstSti => self.copy_to_register(i, false),
            FstpSti => self.copy_to_register(i, true),
            FstpnceSti => {
                if self.st(0).is_some() {
                    self.copy_to_register(i, true);
                } else {
                    self.set_conditions(C1, 0);
                    self.pop();
                }
            }
            FstM32 => return Ok(self.store_single(false)),
            FstpM32 => return Ok(self.store_single(true)),
            FstM64 => return Ok(self.store_double(false)),
            FstpM64 => return Ok(self.store_double(true)),
            FstpM80 => {
                return Ok(self.store(F80::INDEFINITE.to_bits(), true, |value, _| {
                    Outcome::exact(value.to_bits())
                }));
            }
            FistM16 => return Ok(self.store_integer(16, false, false)),
            FistM32 => return Ok(self.store_integer(32, false, false)),
            FistpM16 => return Ok(self.store_integer(16, true, false)),
            FistpM32 => return Ok(self.store_integer(32, true, false)),
            FistpM64 => return Ok(self.store_integer(64, true, false)),
            FisttpM16 => return Ok(self.store_integer(16, true, true)),
            FisttpM32 => return Ok(self.store_integer(32, true, true)),
            FisttpM64 => return Ok(self.store_integer(64, true, true)),
            Fbstp => {
                let indefinite = arithmetic::to_decimal(F80::INDEFINITE, Rounding::Zero).value;
                return Ok(self.store(indefinite, true, |value, control| {
                    arithmetic::to_decimal(value, control.rounding)
                }));
            }
            Fxch => self.exchange(i),
            Fcmovb => self.conditional_move(i, rflags & rflags::CF != 0),
            Fcmove => self.conditional_move(i, rflags & rflags::ZF != 0),
            Fcmovbe => self.conditional_move(i, rflags & (rflags::CF | rflags::ZF) != 0),
            Fcmovu => self.conditional_move(i, rflags & rflags::PF != 0),
            Fcmovnb => self.conditional_move(i, rflags & rflags::CF == 0),
            Fcmovne => self.conditional_move(i, rflags & rflags::ZF == 0),
            Fcmovnbe => self.conditional_move(i, rflags & (rflags::CF | rflags::ZF) == 0),
            Fcmovnu => self.conditional_move(i, rflags & rflags::PF == 0),

            Fadd => self.arithmetic(Add, 0, Source::Register(i), false),
            FaddSti => self.arithmetic(Add, i, Source::Register(0), false),
            Faddp => self.arithmetic(Add, i, Source::Register(0), true),
            FaddM32 => self.arithmetic(Add, 0, single(operand), false),
            FaddM64 => self.arithmetic(Add, 0, double(operand), false),
            FiaddM16 => self.arithmetic(Add, 0, word(operand), false),
            FiaddM32 => self.arithmetic(Add, 0, doubleword(operand), false),
            Fmul => self.arithmetic(Multiply, 0, Source::Register(i), false),
            FmulSti => self.arithmetic(Multiply, i, Source::Register(0), false),
            Fmulp => self.arithmetic(Multiply, i, Source::Register(0), true),
            FmulM32 => self.arithmetic(Multiply, 0, single(operand), false),
            FmulM64 => self.arithmetic(Multiply, 0, double(operand), false),
            FimulM16 => self.arithmetic(Multiply, 0, word(operand), false),
            FimulM32 => self.arithmetic(Multiply, 0, doubleword(operand), false),
            Fsub => self.arithmetic(Subtract, 0, Source::Register(i), false),
            FsubSti => self.arithmetic(Subtract, i, Source::Register(0), false),
            Fsubp => self.arithmetic(Subtract, i, Source::Register(0), true),
            FsubM32 => self.arithmetic(Subtract, 0, single(operand), false),
            FsubM64 => self.arithmetic(Subtract, 0, double(operand), false),
            FisubM16 => self.arithmetic(Subtract, 0, word(operand), false),
            FisubM32 => self.arithmetic(Subtract, 0, doubleword(operand), false),
            Fsubr => self.arithmetic(SubtractReversed, 0, Source::Register(i), false),
            FsubrSti => self.arithmetic(SubtractReversed, i, Source::Register(0), false),
            Fsubrp => self.arithmetic(SubtractReversed, i, Source::Register(0), true),
            FsubrM32 => self.arithmetic(SubtractReversed, 0, single(operand), false),
            FsubrM64 => self.arithmetic(SubtractReversed, 0, double(operand), false),
            FisubrM16 => self.arithmetic(SubtractReversed, 0, word(operand), false),
            FisubrM32 => self.arithmetic(SubtractReversed, 0, doubleword(operand), false),
            Fdiv => self.arithmetic(Divide, 0, Source::Register(i), false),
            FdivSti => self.arithmetic(Divide, i, Source::Register(0), false),
            Fdivp => self.arithmetic(Divide, i, Source::Register(0), true),
            FdivM32 => self.arithmetic(Divide, 0, single(operand), false),
            FdivM64 => self.arithmetic(Divide, 0, double(operand), false),
            FidivM16 => self.arithmetic(Divide, 0, word(operand), false),
            FidivM32 => self.arithmetic(Divide, 0, doubleword(operand), false),
            Fdivr => self.arithmetic(DivideReversed, 0, Source::Register(i), false),
            FdivrSti => self.arithmetic(DivideReversed, i, Source::Register(0), false),
            Fdivrp => self.arithmetic(DivideReversed, i, Source::Register(0), true),
            FdivrM32 => self.arithmetic(DivideReversed, 0, single(operand), false),
            FdivrM64 => self.arithmetic(DivideReversed, 0, double(operand), false),
            FidivrM16 => self.arithmetic(DivideReversed, 0, word(operand), false),
            FidivrM32 => self.arithmetic(DivideReversed, 0, doubleword(operand), false),

            Fcom => self.compare_to_conditions(Source::Register(i), true, 0),
            Fcomp => self.compare_to_conditions(Source::Register(i), true, 1),
            Fcompp => self.compare_to_conditions(Source::Register(1), true, 2),
            FcomM32 => self.compare_to_conditions(single(operand), true, 0),
            FcomM64 => self.compare_to_conditions(double(operand), true, 0),
            FcompM32 => self.compare_to_conditions(single(operand), true, 1),
            FcompM64 => self.compare_to_conditions(double(operand), true, 1),
            FicomM16 => self.compare_to_conditions(word(operand), true, 0),
            FicomM32 => self.compare_to_conditions(doubleword(operand), true, 0),
            FicompM16 => self.compare_to_conditions(word(operand), true, 1),
            FicompM32 => self.compare_to_conditions(doubleword(operand), true, 1),
            Fucom => self.compare_to_conditions(Source::Register(i), false, 0),
            Fucomp => self.compare_to_conditions(Source::Register(i), false, 1),
            Fucompp => self.compare_to_conditions(Source::Register(1), false, 2),
            Ftst => {
                self.compare_to_conditions(Source::Memory(Outcome::exact(F80::ZERO)), true, 0);
            }
            Fcomi => return Ok(self.compare_to_flags(i, true, false)),
            Fcomip => return Ok(self.compare_to_flags(i, true, true)),
            Fucomi => return Ok(self.compare_to_flags(i, false, false)),
            Fucomip => return Ok(self.compare_to_flags(i, false, true)),
            Fxam => self.examine(),

            Fabs => self.unary(|value, _| Outcome::exact(value.with_sign(false))),
            Fchs => self.unary(|value, _| Outcome::exact(value.with_sign(!value.is_negative()))),
            Fsqrt => self.unary(arithmetic::square_root),
            Frndint => self.unary(arithmetic::round_to_integral),
            F2xm1 => self.unary(|value, control| {
                transcendental::power_of_two_minus_one(value, control.with_full_precision())
            }),
            Fscale => self.binary(false, arithmetic::scale),
            Fyl2x => self.binary(true, transcendental::y_log2_x),
            Fyl2xp1 => self.binary(true, transcendental::y_log2_x_plus_one),
            Fpatan => self.binary(true, |x, y, control| {
                transcendental::arc_tangent_of(y, x, control)
            }),
            Fxtract => self.extract(),
            Fprem => self.remainder(false),
            Fprem1 => self.remainder(true),
            Fsin => self.trigonometric(transcendental::sin),
            Fcos => self.trigonometric(transcendental::cos),
            Fsincos => self.trigonometric_pushing(transcendental::sin_cos),
            Fptan => self.trigonometric_pushing(|value, control| {
                match transcendental::tan(value, control) {
                    Trigonometric::OutOfRange => Trigonometric::OutOfRange,
                    Trigonometric::Done(tan) => {
                        let nan = tan.value.is_nan();
                        let pushed = if nan { tan.value } else { F80::ONE };
                        Trigonometric::Done(Outcome {
                            value: (tan.value, pushed),
                            flags: tan.flags,
                            up: tan.up,
                        })
                    }
                }
            }),

            Fninit => self.initialise(),
            Fnclex => self.status &= !(EXCEPTIONS | SF | ES | B),
            Fldcw => self.set_control(operand as u16 | CONTROL_FIXED),
            Fnstcw => return Ok(X87Output::Value(self.control_word().into())),
            Fnstsw => return Ok(X87Output::Value(self.status_word().into())),
            Ffree => self.free(i),
            Ffreep => {
                self.free(i);
                self.pop();
            }
            Fincstp => {
                self.top = self.top.wrapping_add(1) & 7;
                self.set_conditions(C1, 0);
            }
            Fdecstp => {
                self.top = self.top.wrapping_sub(1) & 7;
                self.set_conditions(C1, 0);
            }
            Fnop | Fwait => {}
        }
        Ok(X87Output::None)
    }

    /// Whether a push would overflow the stack.
    fn is_full(&self) -> bool {
        self.st(7).is_some()
    }

    fn load(&mut self, outcome: Outcome<F80>) {
        if self.is_full() {
            if self.raise_stack_fault(true) {
                self.push(F80::INDEFINITE);
            }
        } else if self.raise(&outcome) & IE == 0 {
            // An unmasked denormal exception does not prevent the push.
            self.push(outcome.value);
        }
    }

    /// Loads a single or double: a signalling NaN becomes quiet here.
    fn load_float(&mut self, widened: Outcome<F80>) {
        let outcome = arithmetic::special_of_one(widened.value).unwrap_or(widened);
        self.load(outcome);
    }

    fn load_integer(&mut self, value: i64) {
        self.load(Outcome::exact(F80::from_integer(value)));
    }

    /// Loads a positive constant whose bits are given as rounded to nearest, which for most means
    /// up: rounding control applies.
    fn load_constant(&mut self, exponent: u16, nearest: u64, rounded_up: bool) {
        let significand = match self.rounding() {
            Rounding::Nearest => nearest,
            Rounding::Up => nearest + u64::from(!rounded_up),
            Rounding::Down | Rounding::Zero => nearest - u64::from(rounded_up),
        };
        self.load(Outcome::exact(F80::new(false, exponent, significand)));
    }

    fn load_register(&mut self, i: u8) {
        match self.st(i) {
            Some(value) => self.load(Outcome::exact(value)),
            None => {
                if self.raise_stack_fault(false) {
                    self.push(F80::INDEFINITE);
                }
            }
        }
    }

    fn copy_to_register(&mut self, i: u8, pop: bool) {
        let value = match self.st(0) {
            Some(value) => {
                self.set_conditions(C1, 0);
                value
            }
            None => {
                if !self.raise_stack_fault(false) {
                    return;
                }
                F80::INDEFINITE
            }
        };
        self.set_st(i, value);
        if pop {
            self.pop();
        }
    }

    /// Stores ST(0) converted. Nothing is stored nor popped if an unmasked exception other than
    /// inexact arises.
    fn store<T: Into<u128> + Copy>(
        &mut self,
        indefinite: T,
        pop: bool,
        convert: impl Fn(F80, Control) -> Outcome<T>,
    ) -> X87Output {
        let value = match self.st(0) {
            Some(value) => {
                let mut outcome = convert(value, self.control());
                if outcome.flags & !self.control & (OE | UE) != 0 {
                    // Nothing will be stored, hence nothing is inexact.
                    outcome.flags &= !PE;
                    outcome.up = false;
                }
                if self.raise(&outcome) & (PRE_COMPUTATION | OE | UE) != 0 {
                    return X87Output::None;
                }
                outcome.value
            }
            None => {
                if !self.raise_stack_fault(false) {
                    return X87Output::None;
                }
                indefinite
            }
        };
        if pop {
            self.pop();
        }
        X87Output::Value(value.into())
    }

    fn store_single(&mut self, pop: bool) -> X87Output {
        self.store(0xffc0_0000u64, pop, arithmetic::to_single)
    }

    fn store_double(&mut self, pop: bool) -> X87Output {
        self.store(0xfff8_0000_0000_0000u64, pop, arithmetic::to_double)
    }

    fn store_integer(&mut self, width: u32, pop: bool, truncate: bool) -> X87Output {
        self.store(1u64 << (width - 1), pop, |value, control| {
            let rounding = if truncate {
                Rounding::Zero
            } else {
                control.rounding
            };
            arithmetic::to_integer(value, width, rounding)
        })
    }

    fn free(&mut self, i: u8) {
        self.valid &= !(1 << self.physical(i));
        self.set_conditions(C1, 0);
    }

    fn exchange(&mut self, i: u8) {
        let (a, b) = (self.st(0), self.st(i));
        if a.is_none() || b.is_none() {
            if !self.raise_stack_fault(false) {
                return;
            }
        } else {
            self.set_conditions(C1, 0);
        }
        self.set_st(0, b.unwrap_or(F80::INDEFINITE));
        self.set_st(i, a.unwrap_or(F80::INDEFINITE));
    }

    fn conditional_move(&mut self, i: u8, condition: bool) {
        match (self.st(0), self.st(i)) {
            (Some(_), Some(value)) => {
                if condition {
                    self.set_st(0, value);
                }
            }
            _ => {
                if self.raise_stack_fault(false) {
                    self.set_st(0, F80::INDEFINITE);
                }
            }
        }
    }

    /// The value of a source, with DE if it is a denormal operand; `None` if it is empty.
    fn source(&self, source: Source) -> Option<(F80, u16)> {
        match source {
            Source::Register(i) => self.st(i).map(|value| (value, denormal_flag(value))),
            Source::Memory(outcome) => Some((outcome.value, outcome.flags)),
        }
    }

    fn arithmetic(&mut self, operation: Arithmetic, destination: u8, source: Source, pop: bool) {
        let value = match (self.st(destination), self.source(source)) {
            (Some(a), Some((b, denormal))) => {
                let denormal = denormal | denormal_flag(a);
                let outcome = operation.compute(a, b, denormal, self.control());
                if self.raise(&outcome) & PRE_COMPUTATION != 0 {
                    return;
                }
                outcome.value
            }
            _ => {
                if !self.raise_stack_fault(false) {
                    return;
                }
                F80::INDEFINITE
            }
        };
        self.set_st(destination, value);
        if pop {
            self.pop();
        }
    }

    /// Compares ST(0) with a source, and pops unless an unmasked exception arises. The outcome is
    /// delivered even then: the manual says that it is not, processors do.
    fn compare(&mut self, source: Source, quiet_is_invalid: bool, pops: u8) -> Option<Ordering> {
        let (order, finished) = match (self.st(0), self.source(source)) {
            (Some(a), Some((b, denormal))) => {
                let denormal = denormal | denormal_flag(a);
                let outcome = arithmetic::compare(a, b, quiet_is_invalid, denormal);
                let finished = self.raise(&outcome) & PRE_COMPUTATION == 0;
                (outcome.value, finished)
            }
            _ => (None, self.raise_stack_fault(false)),
        };
        if finished {
            for _ in 0..pops {
                self.pop();
            }
        }
        order
    }

    fn compare_to_conditions(&mut self, source: Source, quiet_is_invalid: bool, pops: u8) {
        let order = self.compare(source, quiet_is_invalid, pops);
        self.set_conditions(C0 | C2 | C3, condition_of(order));
    }

    fn compare_to_flags(&mut self, i: u8, quiet_is_invalid: bool, pop: bool) -> X87Output {
        let order = self.compare(Source::Register(i), quiet_is_invalid, pop.into());
        X87Output::Flags(flags_of(order))
    }

    fn examine(&mut self) {
        let at = self.physical(0);
        let value = self.registers[at];
        let class = if self.valid >> at & 1 == 0 {
            C3 | C0
        } else if value.exponent() == 0 {
            if value.significand == 0 { C3 } else { C3 | C2 }
        } else if value.significand & INTEGER_BIT == 0 {
            // Unsupported.
            0
        } else if value.exponent() != EXPONENT_MAX {
            C2
        } else if value.significand == INTEGER_BIT {
            C2 | C0
        } else {
            C0
        };
        let sign = if value.is_negative() { C1 } else { 0 };
        self.set_conditions(C0 | C1 | C2 | C3, class | sign);
    }

    /// Replaces ST(0).
    fn unary(&mut self, compute: impl Fn(F80, Control) -> Outcome<F80>) {
        let value = match self.st(0) {
            Some(value) => {
                let outcome = compute(value, self.control());
                if self.raise(&outcome) & PRE_COMPUTATION != 0 {
                    return;
                }
                outcome.value
            }
            None => {
                if !self.raise_stack_fault(false) {
                    return;
                }
                F80::INDEFINITE
            }
        };
        self.set_st(0, value);
    }

    /// Combines ST(0) and ST(1), into ST(0), or popping into ST(1). Precision control does not
    /// matter.
    fn binary(&mut self, pop: bool, compute: impl Fn(F80, F80, Control) -> Outcome<F80>) {
        let value = match (self.st(0), self.st(1)) {
            (Some(a), Some(b)) => {
                let outcome = compute(a, b, self.control().with_full_precision());
                if self.raise(&outcome) & PRE_COMPUTATION != 0 {
                    return;
                }
                outcome.value
            }
            _ => {
                if !self.raise_stack_fault(false) {
                    return;
                }
                F80::INDEFINITE
            }
        };
        if pop {
            self.pop();
        }
        self.set_st(0, value);
    }

    /// The common part of the instructions that replace ST(0) and push.
    fn replace_and_push(&mut self, compute: impl Fn(F80, Control) -> Option<Outcome<(F80, F80)>>) {
        let (value, pushed) = match self.st(0) {
            Some(_) if self.is_full() => {
                if !self.raise_stack_fault(true) {
                    return;
                }
                (F80::INDEFINITE, F80::INDEFINITE)
            }
            Some(value) => {
                let Some(outcome) = compute(value, self.control().with_full_precision()) else {
                    self.set_conditions(C1 | C2, C2);
                    return;
                };
                if self.raise(&outcome) & PRE_COMPUTATION != 0 {
                    return;
                }
                outcome.value
            }
            None => {
                if !self.raise_stack_fault(false) {
                    return;
                }
                (F80::INDEFINITE, F80::INDEFINITE)
            }
        };
        self.set_st(0, value);
        self.push(pushed);
    }

    fn extract(&mut self) {
        self.replace_and_push(|value, _| Some(arithmetic::extract(value)));
    }

    fn trigonometric_pushing(
        &mut self,
        compute: impl Fn(F80, Control) -> Trigonometric<(F80, F80)>,
    ) {
        self.set_conditions(C2, 0);
        self.replace_and_push(|value, control| match compute(value, control) {
            Trigonometric::Done(outcome) => Some(outcome),
            Trigonometric::OutOfRange => None,
        });
    }

    fn trigonometric(&mut self, compute: impl Fn(F80, Control) -> Trigonometric<F80>) {
        self.set_conditions(C2, 0);
        let Some(value) = self.st(0) else {
            if self.raise_stack_fault(false) {
                self.set_st(0, F80::INDEFINITE);
            }
            return;
        };
        match compute(value, self.control().with_full_precision()) {
            Trigonometric::Done(outcome) => {
                if self.raise(&outcome) & PRE_COMPUTATION == 0 {
                    self.set_st(0, outcome.value);
                }
            }
            Trigonometric::OutOfRange => self.set_conditions(C1 | C2, C2),
        }
    }

    fn remainder(&mut self, nearest: bool) {
        self.set_conditions(C2, 0);
        let (Some(a), Some(b)) = (self.st(0), self.st(1)) else {
            if self.raise_stack_fault(false) {
                self.set_st(0, F80::INDEFINITE);
            }
            return;
        };
        let outcome = arithmetic::remainder(a, b, nearest, self.control());
        if self.raise(&outcome) & PRE_COMPUTATION != 0 {
            return;
        }
        let remainder = outcome.value;
        self.set_st(0, remainder.value);
        if remainder.value.is_nan() {
            return;
        }
        let conditions = if remainder.complete {
            let bit = |n: u32, condition| {
                if remainder.quotient >> n & 1 != 0 {
                    condition
                } else {
                    0
                }
            };
            bit(2, C0) | bit(1, C3) | bit(0, C1)
        } else {
            C2
        };
        self.set_conditions(C0 | C1 | C2 | C3, conditions);
    }
}
