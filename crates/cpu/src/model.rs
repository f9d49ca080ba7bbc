//! What the processor says it is: CPUID, and which control bits exist.

use crate::state::Cpu;
use ring3_arch::cpuid::{CpuidLeaf, Feature};
use ring3_arch::cr::{cr4, xcr0};
use ring3_arch::paging::PHYSICAL_BITS;
use ring3_clock::TSC_HZ;
use ring3_isa::FeatureSet;
use serde::{Deserialize, Serialize};

/// Frequency of the core crystal clock, in Hz, as CPUID leaf 0x15 reports it: the clock of the local
/// APIC timers, one count per nanosecond.
pub const CRYSTAL_HZ: u64 = 1_000_000_000;

/// Which processor: what it has beyond what all of them have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CpuKind {
    /// The level x86-64-v2 of the System V ABI: SSE to SSE4.2.
    V2,
    /// The level x86-64-v3: AVX, AVX2, BMI1, BMI2, F16C, FMA, LZCNT.
    #[default]
    V3,
    /// The level x86-64-v3 with those unprivileged extensions of Sapphire Rapids that are modelled: AES,
    /// VAES, PCLMULQDQ, VPCLMULQDQ, SHA, GFNI, ADX, CLFLUSHOPT, CLWB, SERIALIZE. Not AVX-512, AMX and
    /// AVX-VNNI, and no 57-bit linear addresses.
    Spr,
}

impl CpuKind {
    /// All of them.
    pub const ALL: [CpuKind; 3] = [CpuKind::V2, CpuKind::V3, CpuKind::Spr];

    /// Its name, as a user writes it.
    pub const fn name(self) -> &'static str {
        match self {
            CpuKind::V2 => "x86-64-v2",
            CpuKind::V3 => "x86-64-v3",
            CpuKind::Spr => "spr",
        }
    }

    /// The features that make the difference.
    fn features(self) -> &'static [Feature] {
        use Feature::*;
        static SPR: [Feature; 17] = [
            Avx, Avx2, Bmi1, Bmi2, F16c, Fma, Lzcnt, Aes, Vaes, Pclmulqdq, Vpclmulqdq, Sha, Gfni,
            Adx, Clflushopt, Clwb, Serialize,
        ];
        match self {
            CpuKind::V2 => &[],
            CpuKind::V3 => &SPR[..7],
            CpuKind::Spr => &SPR,
        }
    }
}

/// The identity of the processors of one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuModel {
    features: FeatureSet,
    /// Logical processors in the package.
    processors: u32,
}

impl Default for CpuModel {
    fn default() -> Self {
        CpuModel::new(1)
    }
}

impl CpuModel {
    /// The default processor, in a package of `processors`.
    pub fn new(processors: u32) -> CpuModel {
        CpuModel::of(CpuKind::default(), processors)
    }

    /// A processor of this kind with user interrupts, in a package of `processors`.
    pub fn of(kind: CpuKind, processors: u32) -> CpuModel {
        use Feature::*;
        let mut features = FeatureSet::of(&[
            Fpu,
            De,
            Pse,
            Tsc,
            Msr,
            Pae,
            Mce,
            Cx8,
            Apic,
            Mtrr,
            Pge,
            Mca,
            Cmov,
            Pat,
            Pse36,
            Clflush,
            Mmx,
            Fxsr,
            Sse,
            Sse2,
            Sse3,
            Ssse3,
            Cmpxchg16b,
            Pcid,
            Sse41,
            Sse42,
            X2apic,
            Movbe,
            Popcnt,
            TscDeadline,
            Xsave,
            Rdrand,
            Arat,
            Fsgsbase,
            TscAdjust,
            FdpExceptionOnly,
            Smep,
            Erms,
            Invpcid,
            NoFpuSelectors,
            Rdseed,
            Smap,
            Umip,
            Waitpkg,
            Rdpid,
            Movdiri,
            Fsrm,
            Uintr,
            ArchCapabilities,
            BhiCtrl,
            Xsaveopt,
            Xsavec,
            Xgetbv1,
            Xsaves,
            Lahf,
            Prefetchw,
            Syscall,
            Nx,
            Pdpe1gb,
            Rdtscp,
            Lm,
            InvariantTsc,
        ]);
        features = kind
            .features()
            .iter()
            .fold(features, |set, &feature| set.with(feature));
        if processors > 1 {
            features = features.with(Htt);
        }
        CpuModel {
            features,
            processors,
        }
    }

    /// The same processor with other features.
    pub fn with_features(self, features: FeatureSet) -> CpuModel {
        CpuModel { features, ..self }
    }

    /// What is advertised.
    pub fn features(&self) -> FeatureSet {
        self.features
    }

    /// Family, model and stepping: Sapphire Rapids (06_8FH).
    pub fn signature(&self) -> u32 {
        0x0008_06f8
    }

    /// Components that XCR0 can enable.
    pub fn xcr0(&self) -> u64 {
        let avx = if self.features.has(Feature::Avx) {
            xcr0::AVX
        } else {
            0
        };
        xcr0::X87 | xcr0::SSE | avx
    }

    /// Components that IA32_XSS can enable.
    pub fn xss(&self) -> u64 {
        if self.features.has(Feature::Uintr) {
            xcr0::UINTR
        } else {
            0
        }
    }

    /// Bits of CR4 that can be set.
    pub fn cr4(&self) -> u64 {
        use cr4::*;
        let always = TSD | DE | PSE | PAE | MCE | PGE | PCE | OSFXSR | OSXMMEXCPT;
        [
            (Feature::Umip, UMIP),
            (Feature::Fsgsbase, FSGSBASE),
            (Feature::Pcid, PCIDE),
            (Feature::Xsave, OSXSAVE),
            (Feature::Smep, SMEP),
            (Feature::Smap, SMAP),
            (Feature::Uintr, UINTR),
        ]
        .into_iter()
        .filter(|(feature, _)| self.features.has(*feature))
        .fold(always, |bits, (_, bit)| bits | bit)
    }

    /// IA32_ARCH_CAPABILITIES: none of the known transient-execution flaws exists here. RDCL_NO is
    /// what lets Linux do without page-table isolation.
    pub fn arch_capabilities(&self) -> u64 {
        // RDCL_NO, IBRS_ALL, SKIP_L1DFL, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO,
        // FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO.
        [0, 1, 3, 4, 5, 6, 8, 13, 14, 15, 20, 24, 26, 27, 62]
            .iter()
            .fold(0, |bits, bit| bits | 1u64 << bit)
    }

    /// Bits of IA32_SPEC_CTRL that can be set: IBRS, STIBP, SSBD, BHI_DIS_S. Nothing here speculates, so
    /// that each of them is satisfied by nature. Linux makes up for a processor without the last one by
    /// hundreds of branches in every system call, whatever IA32_ARCH_CAPABILITIES says.
    pub fn spec_ctrl(&self) -> u64 {
        7 | u64::from(self.features.has(Feature::BhiCtrl)) << 10
    }

    /// CPUID. SDM Vol. 2, "CPUID-CPU Identification".
    pub fn cpuid(&self, cpu: &Cpu, leaf: u32, subleaf: u32) -> CpuidLeaf {
        const MAX_BASIC: u32 = 0x16;
        const MAX_EXTENDED: u32 = 0x8000_0008;
        // A leaf beyond the last answers like the last basic leaf.
        let leaf = match leaf {
            0x8000_0000..=MAX_EXTENDED => leaf,
            _ => leaf.min(MAX_BASIC),
        };
        let mut answer = self.fixed(leaf, subleaf);
        for feature in self.features.iter() {
            let (at_leaf, at_subleaf, register, bit) = feature.position();
            let subleaves = matches!(leaf, 7 | 0xd);
            if at_leaf == leaf && (!subleaves || at_subleaf == subleaf) {
                *register.of(&mut answer) |= 1 << bit;
            }
        }
        self.dynamic(cpu, leaf, subleaf, &mut answer);
        answer
    }

    /// Leaves that say the same on every processor, without feature bits.
    fn fixed(&self, leaf: u32, subleaf: u32) -> CpuidLeaf {
        let text = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
        let leaf_of = |eax, ebx, ecx, edx| CpuidLeaf { eax, ebx, ecx, edx };
        match leaf {
            0 => leaf_of(0x16, text(b"Genu"), text(b"ntel"), text(b"ineI")),
            // CLFLUSH works on 64-byte lines.
            1 => leaf_of(self.signature(), 8 << 8, 0, 0),
            2 => leaf_of(0x00fe_ff01, 0, 0, 0),
            4 => self.cache(subleaf),
            7 if subleaf == 0 => leaf_of(2, 0, 0, 1 << 26 | 1 << 27 | 1 << 31),
            0xd => self.xsave_leaf(subleaf),
            0x15 => leaf_of(1, (TSC_HZ / CRYSTAL_HZ) as u32, CRYSTAL_HZ as u32, 0),
            0x16 => {
                let mhz = (TSC_HZ / 1_000_000) as u32;
                leaf_of(mhz, mhz, 100, 0)
            }
            0x8000_0000 => leaf_of(0x8000_0008, 0, 0, 0),
            0x8000_0002..=0x8000_0004 => {
                const NAME: &[u8; 48] = b"Ring3 x86-64 processor with user interrupts\0\0\0\0\0";
                let at = 16 * (leaf - 0x8000_0002) as usize;
                let word = |n: usize| text(&NAME[at + 4 * n..at + 4 * n + 4]);
                leaf_of(word(0), word(1), word(2), word(3))
            }
            // 2 MiB of L2, 16 ways, 64-byte lines.
            0x8000_0006 => leaf_of(0, 0, 2048 << 16 | 8 << 12 | 64, 0),
            0x8000_0008 => leaf_of(PHYSICAL_BITS | 48 << 8, 0, 0, 0),
            _ => CpuidLeaf::default(),
        }
    }

    /// Leaf 4: Sapphire Rapids' caches.
    fn cache(&self, subleaf: u32) -> CpuidLeaf {
        // (type, level, ways, sets, shared by)
        let (kind, level, ways, sets, sharers) = match subleaf {
            0 => (1, 1, 12, 64, 1),
            1 => (2, 1, 8, 64, 1),
            2 => (3, 2, 16, 2048, 1),
            3 => (3, 3, 15, 32768, self.processors.next_power_of_two()),
            _ => return CpuidLeaf::default(),
        };
        let cores = self.processors.next_power_of_two().min(64);
        CpuidLeaf {
            eax: kind | level << 5 | 1 << 8 | (sharers - 1) << 14 | (cores - 1) << 26,
            ebx: 63 | (ways - 1) << 22,
            ecx: sets - 1,
            edx: 0,
        }
    }

    fn xsave_leaf(&self, subleaf: u32) -> CpuidLeaf {
        const LEGACY: u32 = 576;
        let (avx, uintr) = (
            self.features.has(Feature::Avx),
            self.features.has(Feature::Uintr),
        );
        match subleaf {
            0 => CpuidLeaf {
                eax: self.xcr0() as u32,
                ebx: LEGACY,
                ecx: LEGACY + if avx { 256 } else { 0 },
                edx: 0,
            },
            1 => CpuidLeaf {
                ecx: self.xss() as u32,
                ..CpuidLeaf::default()
            },
            2 if avx => CpuidLeaf {
                eax: 256,
                ebx: LEGACY,
                ..CpuidLeaf::default()
            },
            14 if uintr => CpuidLeaf {
                eax: 48,
                ebx: 0,
                ecx: 1,
                edx: 0,
            },
            _ => CpuidLeaf::default(),
        }
    }

    /// What depends on the processor asked and on its control registers.
    fn dynamic(&self, cpu: &Cpu, leaf: u32, subleaf: u32, answer: &mut CpuidLeaf) {
        let apic_id = cpu.index.0;
        match leaf {
            1 => {
                answer.ebx |= apic_id << 24 | self.processors.next_power_of_two().min(255) << 16;
                if cpu.system.cr4 & cr4::OSXSAVE != 0 {
                    answer.ecx |= 1 << 27;
                }
            }
            0xb => {
                // Every core has one thread.
                let bits = self.processors.next_power_of_two().trailing_zeros();
                let (shift, count, kind) = match subleaf {
                    0 => (0, 1, 1),
                    1 => (bits, self.processors, 2),
                    _ => (0, 0, 0),
                };
                *answer = CpuidLeaf {
                    eax: shift,
                    ebx: count,
                    ecx: kind << 8 | (subleaf & 0xff),
                    edx: apic_id,
                };
            }
            0xd if subleaf == 0 && cpu.system.xcr0 & xcr0::AVX != 0 => answer.ebx += 256,
            0xd if subleaf == 1 => {
                // Size of the compacted area for what is enabled now.
                let enabled = cpu.system.xcr0 | cpu.system.xss;
                answer.ebx = 576
                    + if enabled & xcr0::AVX != 0 { 256 } else { 0 }
                    + if enabled & xcr0::UINTR != 0 { 48 } else { 0 };
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring3_arch::CpuIndex;
    use std::sync::Arc;

    fn cpu(kind: CpuKind) -> Cpu {
        Cpu::new(CpuIndex(0), Arc::new(CpuModel::of(kind, 1)), 1)
    }

    fn leaf(cpu: &Cpu, leaf: u32, subleaf: u32) -> CpuidLeaf {
        cpu.model.cpuid(cpu, leaf, subleaf)
    }

    /// System V ABI, AMD64 Architecture Processor Supplement, "Micro-Architecture Levels".
    #[test]
    fn a_level_has_what_the_abi_says() {
        use Feature::*;
        let v2 = [
            Cmov, Cx8, Fpu, Fxsr, Mmx, Syscall, Sse, Sse2, Cmpxchg16b, Lahf, Popcnt, Sse3, Sse41,
            Sse42, Ssse3,
        ];
        let v3 = [Avx, Avx2, Bmi1, Bmi2, F16c, Fma, Lzcnt, Movbe, Xsave];
        for kind in CpuKind::ALL {
            let features = CpuModel::of(kind, 1).features();
            assert!(v2.iter().all(|&feature| features.has(feature)));
            let is_v3 = v3.iter().all(|&feature| features.has(feature));
            assert_eq!(is_v3, kind != CpuKind::V2);
        }
        let (less, more) = (CpuKind::V3.features(), CpuKind::Spr.features());
        assert!(less.iter().all(|feature| more.contains(feature)));
    }

    /// Intel's document: SDM Vol. 2, "CPUID-CPU Identification"; the bits by their numbers.
    #[test]
    fn cpuid_says_what_there_is() {
        let bits = |kind: CpuKind| {
            let cpu = cpu(kind);
            let (one, seven) = (leaf(&cpu, 1, 0), leaf(&cpu, 7, 0));
            let lzcnt = leaf(&cpu, 0x8000_0001, 0).ecx >> 5 & 1;
            // FMA, AES, PCLMULQDQ, AVX, F16C
            let first = one.ecx & (1 << 12 | 1 << 25 | 1 << 1 | 1 << 28 | 1 << 29);
            // BMI1, AVX2, BMI2, ADX, CLFLUSHOPT, CLWB, SHA
            let ebx =
                seven.ebx & (1 << 3 | 1 << 5 | 1 << 8 | 1 << 19 | 1 << 23 | 1 << 24 | 1 << 29);
            // GFNI, VAES, VPCLMULQDQ, LA57
            let ecx = seven.ecx & (1 << 8 | 1 << 9 | 1 << 10 | 1 << 16);
            // SERIALIZE
            (first, ebx, ecx, seven.edx & 1 << 14, lzcnt)
        };
        assert_eq!(bits(CpuKind::V2), (0, 0, 0, 0, 0));
        let v3 = (
            1 << 12 | 1 << 28 | 1 << 29,
            1 << 3 | 1 << 5 | 1 << 8,
            0,
            0,
            1,
        );
        assert_eq!(bits(CpuKind::V3), v3);
        let spr = (
            1 << 12 | 1 << 25 | 1 << 1 | 1 << 28 | 1 << 29,
            1 << 3 | 1 << 5 | 1 << 8 | 1 << 19 | 1 << 23 | 1 << 24 | 1 << 29,
            1 << 8 | 1 << 9 | 1 << 10,
            1 << 14,
            1,
        );
        assert_eq!(bits(CpuKind::Spr), spr);
        // No AVX-512 and no AMX on any of them.
        for kind in CpuKind::ALL {
            let seven = leaf(&cpu(kind), 7, 0);
            assert_eq!(seven.ebx >> 16 & 1, 0);
            assert_eq!(seven.edx >> 24 & 3, 0);
        }
    }

    /// SDM Vol. 1, "Enumeration of CPU Support for XSAVE Instructions and XSAVE-Supported Features".
    #[test]
    fn saved_state_has_the_size_of_what_is_enabled() {
        let mut without = cpu(CpuKind::V2);
        assert_eq!(leaf(&without, 0xd, 0).eax, 3);
        assert_eq!(leaf(&without, 0xd, 0).ecx, 576);
        assert_eq!(leaf(&without, 0xd, 2), CpuidLeaf::default());
        without.system.xcr0 = 3;
        assert_eq!(leaf(&without, 0xd, 0).ebx, 576);
        let mut with = cpu(CpuKind::V3);
        let size = |cpu: &Cpu| (leaf(cpu, 0xd, 0).ebx, leaf(cpu, 0xd, 1).ebx);
        assert_eq!(leaf(&with, 0xd, 0).eax, 7);
        assert_eq!(leaf(&with, 0xd, 0).ecx, 832);
        let (avx, uintr) = (leaf(&with, 0xd, 2), leaf(&with, 0xd, 14));
        assert_eq!((avx.eax, avx.ebx, avx.ecx), (256, 576, 0));
        assert_eq!((uintr.eax, uintr.ebx, uintr.ecx), (48, 0, 1));
        assert_eq!(size(&with), (576, 576));
        with.system.xcr0 = 7;
        assert_eq!(size(&with), (832, 832));
        with.system.xss = xcr0::UINTR;
        assert_eq!(size(&with), (832, 880));
    }
}
