//! MXCSR: what SSE floating-point instructions read and leave behind besides their result.
//!
//! Source: SDM Vol. 1, "MXCSR Control and Status Register", "SIMD Floating-Point Exceptions".
//! Not modelled: AMD's misaligned exception mask (bit 17).

use crate::rounding::Rounding;
use serde::{Deserialize, Serialize};

/// An unmasked SIMD floating-point exception is due.
///
/// The sticky flags in MXCSR have been set, and the destination must stay as it was. The fault is
/// #XM, or #UD while `CR4.OSXMMEXCPT` is clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimdException;

/// The value of MXCSR.
///
/// Operations take it as `&mut`: they read rounding, denormal handling and masks, and set the
/// sticky exception flags.
///
/// ```
/// use ring3_arithmetic::{Mxcsr, float::div_sd};
/// let mut mxcsr = Mxcsr::RESET;
/// let third = div_sd(1f64.to_bits(), 3f64.to_bits(), &mut mxcsr).unwrap();
/// assert_eq!(f64::from_bits(third), 1.0 / 3.0);
/// assert_eq!(mxcsr.flags(), Mxcsr::PE);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mxcsr(u32);

impl Mxcsr {
    /// Invalid operation (flag).
    pub const IE: u32 = 1 << 0;
    /// Denormal operand (flag).
    pub const DE: u32 = 1 << 1;
    /// Divide by zero (flag).
    pub const ZE: u32 = 1 << 2;
    /// Overflow (flag).
    pub const OE: u32 = 1 << 3;
    /// Underflow (flag).
    pub const UE: u32 = 1 << 4;
    /// Precision, that is inexact (flag).
    pub const PE: u32 = 1 << 5;
    /// All six exception flags.
    pub const FLAGS: u32 = 0x3f;
    /// Denormal operands are taken as zeros.
    pub const DAZ: u32 = 1 << 6;
    /// By how much a mask bit lies above its flag.
    pub const MASK_SHIFT: u32 = 7;
    /// All six exception masks.
    pub const MASKS: u32 = Mxcsr::FLAGS << Mxcsr::MASK_SHIFT;
    /// Where the rounding-control field starts.
    pub const ROUNDING_SHIFT: u32 = 13;
    /// The rounding-control field.
    pub const ROUNDING: u32 = 3 << Mxcsr::ROUNDING_SHIFT;
    /// Tiny results are flushed to zero (while underflow is masked).
    pub const FTZ: u32 = 1 << 15;
    /// The bits that can be written, as reported in `MXCSR_MASK` of the FXSAVE image.
    pub const WRITABLE: u32 = 0xffff;
    /// The value after reset and in the initial state of XRSTOR: everything masked, round to
    /// nearest, no flags.
    pub const RESET: Mxcsr = Mxcsr(Mxcsr::MASKS);

    const PRE_COMPUTATION: u32 = Mxcsr::IE | Mxcsr::DE | Mxcsr::ZE;

    /// The register with this value; `None` if a reserved bit is set, for which `LDMXCSR`,
    /// `FXRSTOR` and `XRSTOR` raise #GP(0).
    pub const fn from_bits(bits: u32) -> Option<Mxcsr> {
        if bits & !Mxcsr::WRITABLE == 0 {
            Some(Mxcsr(bits))
        } else {
            None
        }
    }

    /// The register's value.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The sticky exception flags.
    pub const fn flags(self) -> u32 {
        self.0 & Mxcsr::FLAGS
    }

    /// The rounding direction.
    pub const fn rounding(self) -> Rounding {
        Rounding::from_field((self.0 >> Mxcsr::ROUNDING_SHIFT) as u8)
    }

    /// Those of `flags` whose exception is unmasked.
    pub const fn unmasked(self, flags: u32) -> u32 {
        flags & !(self.0 >> Mxcsr::MASK_SHIFT) & Mxcsr::FLAGS
    }

    /// Whether results on ordinary operands depend on nothing but IEEE round-to-nearest: all
    /// exceptions masked, and RC = nearest. (DAZ and FTZ concern only subnormal numbers.)
    #[inline(always)]
    pub(crate) const fn is_ordinary(self) -> bool {
        self.0 & (Mxcsr::MASKS | Mxcsr::ROUNDING) == Mxcsr::MASKS
    }

    /// Whether PE is already set, so that exactness no longer matters.
    #[inline(always)]
    pub(crate) const fn is_inexact(self) -> bool {
        self.0 & Mxcsr::PE != 0
    }

    #[inline(always)]
    pub(crate) fn set_flags(&mut self, flags: u32) {
        self.0 |= flags & Mxcsr::FLAGS;
    }

    /// Records the exceptions of one instruction, `flags` being the union over its elements.
    ///
    /// An unmasked pre-computation exception (invalid, denormal, divide by zero) keeps the
    /// instruction from computing at all, so that no element reports a post-computation exception.
    /// SDM Vol. 1, "SIMD Floating-Point Exception Conditions".
    pub(crate) fn signal(&mut self, flags: u32) -> Result<(), SimdException> {
        let before = flags & Mxcsr::PRE_COMPUTATION;
        if self.unmasked(before) != 0 {
            self.set_flags(before);
            return Err(SimdException);
        }
        self.set_flags(flags);
        if self.unmasked(flags) != 0 {
            return Err(SimdException);
        }
        Ok(())
    }

    /// Applies an operation to both halves of a 256-bit register (0: low, 1: high). Its exceptions are
    /// those of all elements together: an unmasked pre-computation exception in one half suppresses
    /// the post-computation exceptions of the other.
    ///
    /// # Errors
    /// An unmasked exception is due.
    #[inline]
    pub fn both_halves(
        &mut self,
        mut half: impl FnMut(usize, &mut Mxcsr) -> Result<u128, SimdException>,
    ) -> Result<[u128; 2], SimdException> {
        if self.0 & Mxcsr::MASKS == Mxcsr::MASKS {
            return Ok([half(0, self)?, half(1, self)?]);
        }
        let quiet = Mxcsr(self.0 & !Mxcsr::FLAGS);
        let (mut low, mut high) = (quiet, quiet);
        let results = [half(0, &mut low), half(1, &mut high)];
        self.signal(low.flags() | high.flags())?;
        let [low, high] = results;
        Ok([low?, high?])
    }

    /// How results are computed.
    pub(crate) const fn environment(self) -> Environment {
        Environment {
            rounding: self.rounding(),
            denormals_are_zeros: self.0 & Mxcsr::DAZ != 0,
            flush_to_zero: self.0 & Mxcsr::FTZ != 0 && self.unmasked(Mxcsr::UE) == 0,
            underflow_unmasked: self.unmasked(Mxcsr::UE) != 0,
            overflow_unmasked: self.unmasked(Mxcsr::OE) != 0,
        }
    }
}

impl Default for Mxcsr {
    fn default() -> Mxcsr {
        Mxcsr::RESET
    }
}

/// The part of MXCSR that a single element's computation depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Environment {
    pub rounding: Rounding,
    pub denormals_are_zeros: bool,
    pub flush_to_zero: bool,
    pub underflow_unmasked: bool,
    pub overflow_unmasked: bool,
}
