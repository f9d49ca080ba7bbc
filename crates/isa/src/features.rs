//! Which instructions exist, by CPUID feature.

use iced_x86::{Code, CpuidFeature, Instruction, Mnemonic};
use ring3_arch::cpuid::Feature;

/// A set of CPUID features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeatureSet(u128);

impl FeatureSet {
    /// No features.
    pub const EMPTY: FeatureSet = FeatureSet(0);

    /// The set of these features.
    pub fn of(features: &[Feature]) -> FeatureSet {
        features
            .iter()
            .fold(FeatureSet::EMPTY, |set, &f| set.with(f))
    }

    /// This set and one more.
    pub const fn with(self, feature: Feature) -> FeatureSet {
        FeatureSet(self.0 | 1 << feature as u32)
    }

    /// This set and one less.
    pub const fn without(self, feature: Feature) -> FeatureSet {
        FeatureSet(self.0 & !(1 << feature as u32))
    }

    /// Whether a feature is in it.
    pub const fn has(self, feature: Feature) -> bool {
        self.0 >> feature as u32 & 1 != 0
    }

    /// The features in it.
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.iter().copied().filter(move |&f| self.has(f))
    }

    /// Whether everything that this instruction needs is advertised.
    pub fn allows(self, instruction: &Instruction) -> bool {
        self.allows_code(instruction.code())
    }

    /// The same for one of the decoder's codes.
    pub(crate) fn allows_code(self, code: Code) -> bool {
        is_hint(code.mnemonic())
            || code
                .cpuid_features()
                .iter()
                .all(|&needed| match requirement(needed) {
                    Requirement::Always => true,
                    Requirement::Never => false,
                    Requirement::Feature(feature) => self.has(feature),
                })
    }
}

/// Encodings that processors without the extension execute as NOP (or as the instruction without
/// its prefix). SDM Vol. 2: the reserved NOPs, "TZCNT", "LZCNT", "PREFETCHW", "CLDEMOTE".
pub(crate) fn is_hint(mnemonic: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(
        mnemonic,
        Tzcnt
            | Lzcnt
            | Prefetchw
            | Prefetchwt1
            | Cldemote
            | Endbr32
            | Endbr64
            | Rdsspd
            | Rdsspq
            | Bndmk
            | Bndcl
            | Bndcu
            | Bndcn
            | Bndmov
            | Bndldx
            | Bndstx
            | Prefetchit0
            | Prefetchit1
            | Wbnoinvd
    )
}

enum Requirement {
    Always,
    Never,
    Feature(Feature),
}

/// What the decoder's name for a feature means here; what is not listed does not exist.
fn requirement(needed: CpuidFeature) -> Requirement {
    use CpuidFeature as C;
    use Requirement::{Always, Never};
    let feature = match needed {
        C::INTEL8086 | C::INTEL186 | C::INTEL286 | C::INTEL386 | C::INTEL486 | C::X64 => {
            return Always;
        }
        C::CPUID | C::MULTIBYTENOP | C::PAUSE | C::RDPMC => return Always,
        C::FPU | C::FPU287 | C::FPU387 => Feature::Fpu,
        C::MSR => Feature::Msr,
        C::TSC => Feature::Tsc,
        C::CMOV => Feature::Cmov,
        C::CX8 => Feature::Cx8,
        C::CMPXCHG16B => Feature::Cmpxchg16b,
        C::SYSCALL => Feature::Syscall,
        C::SEP => Feature::Sep,
        C::MMX => Feature::Mmx,
        C::FXSR => Feature::Fxsr,
        C::SSE => Feature::Sse,
        C::SSE2 => Feature::Sse2,
        C::SSE3 => Feature::Sse3,
        C::SSSE3 => Feature::Ssse3,
        C::SSE4_1 => Feature::Sse41,
        C::SSE4_2 => Feature::Sse42,
        C::POPCNT => Feature::Popcnt,
        C::LZCNT => Feature::Lzcnt,
        C::BMI1 => Feature::Bmi1,
        C::BMI2 => Feature::Bmi2,
        C::ADX => Feature::Adx,
        C::MOVBE => Feature::Movbe,
        C::AES => Feature::Aes,
        C::PCLMULQDQ => Feature::Pclmulqdq,
        C::SHA => Feature::Sha,
        C::GFNI => Feature::Gfni,
        C::VAES => Feature::Vaes,
        C::VPCLMULQDQ => Feature::Vpclmulqdq,
        C::AVX => Feature::Avx,
        C::AVX2 => Feature::Avx2,
        C::FMA => Feature::Fma,
        C::F16C => Feature::F16c,
        C::XSAVE => Feature::Xsave,
        C::XSAVEOPT => Feature::Xsaveopt,
        C::XSAVEC => Feature::Xsavec,
        C::XSAVES => Feature::Xsaves,
        C::FSGSBASE => Feature::Fsgsbase,
        C::RDTSCP => Feature::Rdtscp,
        C::RDPID => Feature::Rdpid,
        C::MOVDIRI => Feature::Movdiri,
        C::RDRAND => Feature::Rdrand,
        C::RDSEED => Feature::Rdseed,
        C::CLFSH => Feature::Clflush,
        C::CLFLUSHOPT => Feature::Clflushopt,
        C::CLWB => Feature::Clwb,
        C::INVPCID => Feature::Invpcid,
        C::SMAP => Feature::Smap,
        C::PKU => Feature::Pku,
        C::WAITPKG => Feature::Waitpkg,
        C::SERIALIZE => Feature::Serialize,
        C::UINTR => Feature::Uintr,
        _ => return Never,
    };
    Requirement::Feature(feature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{Decoder, DecoderOptions};

    fn allowed(bytes: &[u8], features: FeatureSet) -> bool {
        features.allows(&Decoder::new(64, bytes, DecoderOptions::NONE).decode())
    }

    #[test]
    fn an_instruction_exists_only_with_its_feature() {
        let senduipi_rax = [0xf3, 0x0f, 0xc7, 0xf0];
        assert!(!allowed(&senduipi_rax, FeatureSet::EMPTY));
        assert!(allowed(&senduipi_rax, FeatureSet::of(&[Feature::Uintr])));
        assert!(allowed(&[0x90], FeatureSet::EMPTY));
    }

    #[test]
    fn hints_exist_everywhere() {
        let endbr64 = [0xf3, 0x0f, 0x1e, 0xfa];
        assert!(allowed(&endbr64, FeatureSet::EMPTY));
    }
}
