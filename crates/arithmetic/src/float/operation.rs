//! The operations as values: [`FloatOp`] and [`float`].

use super::*;
use crate::lanes::{with_low_u32, with_low_u64};
use crate::mxcsr::{Mxcsr, SimdException};
use serde::{Deserialize, Serialize};

/// States every operation once: its name, which is the mnemonic, its effect, and its meaning.
macro_rules! operations {
    ($a:ident, $b:ident, $immediate:ident, $mxcsr:ident; $($(#[$doc:meta])* $name:ident => $meaning:expr;)*) => {
        /// An SSE floating-point operation, named by its mnemonic.
        ///
        /// Where a mnemonic covers two operand sizes of general registers, the size is appended.
        /// `a` is the first source, for legacy encodings also the destination, `b` the second or
        /// only source. In scalar operations the upper bits of the result are those of `a`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[repr(u16)]
        pub enum FloatOp {
            $($(#[$doc])* $name,)*
        }

        impl FloatOp {
            /// All of them, in the order of their discriminants.
            pub const ALL: &[FloatOp] = &[$(FloatOp::$name,)*];

            /// The operation with this discriminant, if there is one.
            #[inline]
            pub fn from_index(index: u16) -> Option<FloatOp> {
                FloatOp::ALL.get(usize::from(index)).copied()
            }
        }

        /// Computes `op` on two vectors.
        ///
        /// Operands and results that are not XMM registers (general and MMX registers, RFLAGS) occupy
        /// the low bits, zero-extended.
        ///
        /// # Errors
        /// An unmasked exception is due: the destination must be left alone.
        pub fn float(
            op: FloatOp,
            $a: u128,
            $b: u128,
            $immediate: u8,
            $mxcsr: &mut Mxcsr,
        ) -> Result<u128, SimdException> {
            Ok(match op {
                $(FloatOp::$name => $meaning,)*
            })
        }
    };
}

operations! {
    a, b, immediate, mxcsr;
    /// Adds.
    Addss => with_low_u32(a, add_ss(a as u32, b as u32, mxcsr)?);
    /// Adds.
    Addsd => with_low_u64(a, add_sd(a as u64, b as u64, mxcsr)?);
    /// Adds.
    Addps => add_ps(a, b, mxcsr)?;
    /// Adds.
    Addpd => add_pd(a, b, mxcsr)?;
    /// Subtracts `b` from `a`.
    Subss => with_low_u32(a, sub_ss(a as u32, b as u32, mxcsr)?);
    /// Subtracts `b` from `a`.
    Subsd => with_low_u64(a, sub_sd(a as u64, b as u64, mxcsr)?);
    /// Subtracts `b` from `a`.
    Subps => sub_ps(a, b, mxcsr)?;
    /// Subtracts `b` from `a`.
    Subpd => sub_pd(a, b, mxcsr)?;
    /// Multiplies.
    Mulss => with_low_u32(a, mul_ss(a as u32, b as u32, mxcsr)?);
    /// Multiplies.
    Mulsd => with_low_u64(a, mul_sd(a as u64, b as u64, mxcsr)?);
    /// Multiplies.
    Mulps => mul_ps(a, b, mxcsr)?;
    /// Multiplies.
    Mulpd => mul_pd(a, b, mxcsr)?;
    /// Divides `a` by `b`.
    Divss => with_low_u32(a, div_ss(a as u32, b as u32, mxcsr)?);
    /// Divides `a` by `b`.
    Divsd => with_low_u64(a, div_sd(a as u64, b as u64, mxcsr)?);
    /// Divides `a` by `b`.
    Divps => div_ps(a, b, mxcsr)?;
    /// Divides `a` by `b`.
    Divpd => div_pd(a, b, mxcsr)?;
    /// The smaller; `b` for NaNs and two zeros.
    Minss => with_low_u32(a, min_ss(a as u32, b as u32, mxcsr)?);
    /// The smaller; `b` for NaNs and two zeros.
    Minsd => with_low_u64(a, min_sd(a as u64, b as u64, mxcsr)?);
    /// The smaller; `b` for NaNs and two zeros.
    Minps => min_ps(a, b, mxcsr)?;
    /// The smaller; `b` for NaNs and two zeros.
    Minpd => min_pd(a, b, mxcsr)?;
    /// The greater; `b` for NaNs and two zeros.
    Maxss => with_low_u32(a, max_ss(a as u32, b as u32, mxcsr)?);
    /// The greater; `b` for NaNs and two zeros.
    Maxsd => with_low_u64(a, max_sd(a as u64, b as u64, mxcsr)?);
    /// The greater; `b` for NaNs and two zeros.
    Maxps => max_ps(a, b, mxcsr)?;
    /// The greater; `b` for NaNs and two zeros.
    Maxpd => max_pd(a, b, mxcsr)?;
    /// Square root of `b`.
    Sqrtss => with_low_u32(a, sqrt_ss(b as u32, mxcsr)?);
    /// Square root of `b`.
    Sqrtsd => with_low_u64(a, sqrt_sd(b as u64, mxcsr)?);
    /// Square roots of `b`.
    Sqrtps => sqrt_ps(b, mxcsr)?;
    /// Square roots of `b`.
    Sqrtpd => sqrt_pd(b, mxcsr)?;
    /// About the reciprocal of `b`.
    Rcpss => with_low_u32(a, rcp_ss(b as u32));
    /// About the reciprocals of `b`.
    Rcpps => rcp_ps(b);
    /// About the reciprocal of the square root of `b`.
    Rsqrtss => with_low_u32(a, rsqrt_ss(b as u32));
    /// About the reciprocals of the square roots of `b`.
    Rsqrtps => rsqrt_ps(b);
    /// Compares by the predicate in `immediate`, of which a legacy encoding passes the low three bits.
    Cmpss => with_low_u32(a, cmp_ss(a as u32, b as u32, Predicate::from_immediate(immediate), mxcsr)?);
    /// Compares by the predicate in `immediate`, of which a legacy encoding passes the low three bits.
    Cmpsd => with_low_u64(a, cmp_sd(a as u64, b as u64, Predicate::from_immediate(immediate), mxcsr)?);
    /// Compares by the predicate in `immediate`, of which a legacy encoding passes the low three bits.
    Cmpps => cmp_ps(a, b, Predicate::from_immediate(immediate), mxcsr)?;
    /// Compares by the predicate in `immediate`, of which a legacy encoding passes the low three bits.
    Cmppd => cmp_pd(a, b, Predicate::from_immediate(immediate), mxcsr)?;
    /// Compares into the status flags of RFLAGS, any NaN being invalid.
    Comiss => comi_ss(a as u32, b as u32, mxcsr)?.into();
    /// Compares into the status flags of RFLAGS, any NaN being invalid.
    Comisd => comi_sd(a as u64, b as u64, mxcsr)?.into();
    /// Compares into the status flags of RFLAGS.
    Ucomiss => ucomi_ss(a as u32, b as u32, mxcsr)?.into();
    /// Compares into the status flags of RFLAGS.
    Ucomisd => ucomi_sd(a as u64, b as u64, mxcsr)?.into();
    /// Converts a 32-bit integer to single precision.
    Cvtsi2ss32 => with_low_u32(a, cvt_i32_to_ss(b as u32, mxcsr)?);
    /// Converts a 64-bit integer to single precision.
    Cvtsi2ss64 => with_low_u32(a, cvt_i64_to_ss(b as u64, mxcsr)?);
    /// Converts a 32-bit integer to double precision.
    Cvtsi2sd32 => with_low_u64(a, cvt_i32_to_sd(b as u32));
    /// Converts a 64-bit integer to double precision.
    Cvtsi2sd64 => with_low_u64(a, cvt_i64_to_sd(b as u64, mxcsr)?);
    /// Converts single precision to a 32-bit integer.
    Cvtss2si32 => cvt_ss_to_i32(b as u32, mxcsr)?.into();
    /// Converts single precision to a 64-bit integer.
    Cvtss2si64 => cvt_ss_to_i64(b as u32, mxcsr)?.into();
    /// Converts double precision to a 32-bit integer.
    Cvtsd2si32 => cvt_sd_to_i32(b as u64, mxcsr)?.into();
    /// Converts double precision to a 64-bit integer.
    Cvtsd2si64 => cvt_sd_to_i64(b as u64, mxcsr)?.into();
    /// Truncates single precision to a 32-bit integer.
    Cvttss2si32 => cvtt_ss_to_i32(b as u32, mxcsr)?.into();
    /// Truncates single precision to a 64-bit integer.
    Cvttss2si64 => cvtt_ss_to_i64(b as u32, mxcsr)?.into();
    /// Truncates double precision to a 32-bit integer.
    Cvttsd2si32 => cvtt_sd_to_i32(b as u64, mxcsr)?.into();
    /// Truncates double precision to a 64-bit integer.
    Cvttsd2si64 => cvtt_sd_to_i64(b as u64, mxcsr)?.into();
    /// Converts single to double precision.
    Cvtss2sd => with_low_u64(a, cvt_ss_to_sd(b as u32, mxcsr)?);
    /// Converts double to single precision.
    Cvtsd2ss => with_low_u32(a, cvt_sd_to_ss(b as u64, mxcsr)?);
    /// Converts two singles to doubles.
    Cvtps2pd => cvt_ps_to_pd(b, mxcsr)?;
    /// Converts two doubles to singles, the upper half becoming zero.
    Cvtpd2ps => cvt_pd_to_ps(b, mxcsr)?;
    /// Converts four 32-bit integers to singles.
    Cvtdq2ps => cvt_dq_to_ps(b, mxcsr)?;
    /// Converts two 32-bit integers to doubles.
    Cvtdq2pd => cvt_dq_to_pd(b);
    /// Converts four singles to 32-bit integers.
    Cvtps2dq => cvt_ps_to_dq(b, false, mxcsr)?;
    /// Truncates four singles to 32-bit integers.
    Cvttps2dq => cvt_ps_to_dq(b, true, mxcsr)?;
    /// Converts two doubles to 32-bit integers, the upper half becoming zero.
    Cvtpd2dq => cvt_pd_to_dq(b, false, mxcsr)?.into();
    /// Truncates two doubles to 32-bit integers, the upper half becoming zero.
    Cvttpd2dq => cvt_pd_to_dq(b, true, mxcsr)?.into();
    /// Converts the two 32-bit integers of an MMX register to singles.
    Cvtpi2ps => with_low_u64(a, cvt_pi_to_ps(b as u64, mxcsr)?);
    /// Converts the two 32-bit integers of an MMX register to doubles.
    Cvtpi2pd => cvt_dq_to_pd(b);
    /// Converts two singles to the 32-bit integers of an MMX register.
    Cvtps2pi => cvt_ps_to_pi(b as u64, false, mxcsr)?.into();
    /// Truncates two singles to the 32-bit integers of an MMX register.
    Cvttps2pi => cvt_ps_to_pi(b as u64, true, mxcsr)?.into();
    /// Converts two doubles to the 32-bit integers of an MMX register.
    Cvtpd2pi => cvt_pd_to_dq(b, false, mxcsr)?.into();
    /// Truncates two doubles to the 32-bit integers of an MMX register.
    Cvttpd2pi => cvt_pd_to_dq(b, true, mxcsr)?.into();
    /// Rounds to an integral value; the rounding in `immediate`.
    Roundss => with_low_u32(a, round_ss(b as u32, immediate, mxcsr)?);
    /// Rounds to an integral value; the rounding in `immediate`.
    Roundsd => with_low_u64(a, round_sd(b as u64, immediate, mxcsr)?);
    /// Rounds to integral values; the rounding in `immediate`.
    Roundps => round_ps(b, immediate, mxcsr)?;
    /// Rounds to integral values; the rounding in `immediate`.
    Roundpd => round_pd(b, immediate, mxcsr)?;
    /// Dot product; the elements taken and written in `immediate`.
    Dpps => dp_ps(a, b, immediate, mxcsr)?;
    /// Dot product; the elements taken and written in `immediate`.
    Dppd => dp_pd(a, b, immediate, mxcsr)?;
    /// Adds neighbours.
    Haddps => hadd_ps(a, b, mxcsr)?;
    /// Adds neighbours.
    Haddpd => hadd_pd(a, b, mxcsr)?;
    /// Subtracts neighbours.
    Hsubps => hsub_ps(a, b, mxcsr)?;
    /// Subtracts neighbours.
    Hsubpd => hsub_pd(a, b, mxcsr)?;
    /// Subtracts in even elements, adds in odd ones.
    Addsubps => addsub_ps(a, b, mxcsr)?;
    /// Subtracts in the even element, adds in the odd one.
    Addsubpd => addsub_pd(a, b, mxcsr)?;
    /// Converts four half-precision numbers to singles.
    Vcvtph2ps => cvt_ph_to_ps(b as u64, mxcsr)?;
    /// Converts four singles to half precision, the upper half becoming zero; the rounding in
    /// `immediate`.
    Vcvtps2ph => cvt_ps_to_ph(b, immediate, mxcsr)?.into();
}

/// Computes `op` in both halves of 256-bit registers, of which each has its own immediate; the exceptions
/// are those of all elements together.
///
/// # Errors
/// An unmasked exception is due: the destination must be left alone.
pub fn float_256(
    op: FloatOp,
    a: [u128; 2],
    b: [u128; 2],
    immediates: [u8; 2],
    mxcsr: &mut Mxcsr,
) -> Result<[u128; 2], SimdException> {
    // It signals step by step.
    if op == FloatOp::Dpps {
        return dp_ps_256(a, b, immediates[0], mxcsr);
    }
    mxcsr.both_halves(|n, mxcsr| float(op, a[n], b[n], immediates[n], mxcsr))
}
