//! CPUID feature bits by name. SDM Vol. 2, "CPUID-CPU Identification".

use serde::{Deserialize, Serialize};

/// One answer of the CPUID instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct CpuidLeaf {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

macro_rules! features {
    ($($(#[$meta:meta])* $variant:ident = $leaf:expr, $subleaf:expr, $register:ident, $bit:expr;)*) => {
        /// A feature that one CPUID bit announces.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Feature { $($(#[$meta])* $variant,)* }

        impl Feature {
            /// Every feature with a name here.
            pub const ALL: &'static [Feature] = &[$(Feature::$variant,)*];

            /// Where its bit stands: leaf, sub-leaf, register, bit.
            pub const fn position(self) -> (u32, u32, Register, u32) {
                match self { $(Feature::$variant => ($leaf, $subleaf, Register::$register, $bit),)* }
            }
        }
    };
}

/// A register of [`CpuidLeaf`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Register {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

features! {
    /// SSE3.
    Sse3 = 1, 0, Ecx, 0;
    /// PCLMULQDQ.
    Pclmulqdq = 1, 0, Ecx, 1;
    /// SSSE3.
    Ssse3 = 1, 0, Ecx, 9;
    /// Fused multiply-add.
    Fma = 1, 0, Ecx, 12;
    /// CMPXCHG16B.
    Cmpxchg16b = 1, 0, Ecx, 13;
    /// Process-context identifiers.
    Pcid = 1, 0, Ecx, 17;
    /// SSE4.1.
    Sse41 = 1, 0, Ecx, 19;
    /// SSE4.2.
    Sse42 = 1, 0, Ecx, 20;
    /// x2APIC mode.
    X2apic = 1, 0, Ecx, 21;
    /// MOVBE.
    Movbe = 1, 0, Ecx, 22;
    /// POPCNT.
    Popcnt = 1, 0, Ecx, 23;
    /// The local APIC timer has TSC-deadline mode.
    TscDeadline = 1, 0, Ecx, 24;
    /// AES-NI.
    Aes = 1, 0, Ecx, 25;
    /// XSAVE and XCR0.
    Xsave = 1, 0, Ecx, 26;
    /// AVX.
    Avx = 1, 0, Ecx, 28;
    /// Half-precision conversion.
    F16c = 1, 0, Ecx, 29;
    /// RDRAND.
    Rdrand = 1, 0, Ecx, 30;
    /// A hypervisor is present.
    Hypervisor = 1, 0, Ecx, 31;
    /// x87.
    Fpu = 1, 0, Edx, 0;
    /// Virtual-8086 mode enhancements.
    Vme = 1, 0, Edx, 1;
    /// Debugging extensions.
    De = 1, 0, Edx, 2;
    /// Page-size extensions.
    Pse = 1, 0, Edx, 3;
    /// Time-stamp counter.
    Tsc = 1, 0, Edx, 4;
    /// RDMSR and WRMSR.
    Msr = 1, 0, Edx, 5;
    /// Physical-address extension.
    Pae = 1, 0, Edx, 6;
    /// Machine-check exception.
    Mce = 1, 0, Edx, 7;
    /// CMPXCHG8B.
    Cx8 = 1, 0, Edx, 8;
    /// Local APIC.
    Apic = 1, 0, Edx, 9;
    /// SYSENTER and SYSEXIT.
    Sep = 1, 0, Edx, 11;
    /// Memory-type range registers.
    Mtrr = 1, 0, Edx, 12;
    /// Global pages.
    Pge = 1, 0, Edx, 13;
    /// Machine-check architecture.
    Mca = 1, 0, Edx, 14;
    /// CMOVcc.
    Cmov = 1, 0, Edx, 15;
    /// Page-attribute table.
    Pat = 1, 0, Edx, 16;
    /// 36-bit page-size extension.
    Pse36 = 1, 0, Edx, 17;
    /// CLFLUSH.
    Clflush = 1, 0, Edx, 19;
    /// MMX.
    Mmx = 1, 0, Edx, 23;
    /// FXSAVE and FXRSTOR.
    Fxsr = 1, 0, Edx, 24;
    /// SSE.
    Sse = 1, 0, Edx, 25;
    /// SSE2.
    Sse2 = 1, 0, Edx, 26;
    /// More than one logical processor per package is possible.
    Htt = 1, 0, Edx, 28;
    /// The local APIC timer keeps running in deep sleep.
    Arat = 6, 0, Eax, 2;
    /// RDFSBASE and its siblings.
    Fsgsbase = 7, 0, Ebx, 0;
    /// IA32_TSC_ADJUST.
    TscAdjust = 7, 0, Ebx, 1;
    /// BMI1.
    Bmi1 = 7, 0, Ebx, 3;
    /// AVX2.
    Avx2 = 7, 0, Ebx, 5;
    /// The x87 data pointer is updated only by instructions with an unmasked exception.
    FdpExceptionOnly = 7, 0, Ebx, 6;
    /// Supervisor-mode execution prevention.
    Smep = 7, 0, Ebx, 7;
    /// BMI2.
    Bmi2 = 7, 0, Ebx, 8;
    /// Fast REP MOVSB and STOSB.
    Erms = 7, 0, Ebx, 9;
    /// INVPCID.
    Invpcid = 7, 0, Ebx, 10;
    /// The x87 instruction and data pointers have no selectors.
    NoFpuSelectors = 7, 0, Ebx, 13;
    /// RDSEED.
    Rdseed = 7, 0, Ebx, 18;
    /// ADCX and ADOX.
    Adx = 7, 0, Ebx, 19;
    /// Supervisor-mode access prevention.
    Smap = 7, 0, Ebx, 20;
    /// CLFLUSHOPT.
    Clflushopt = 7, 0, Ebx, 23;
    /// CLWB.
    Clwb = 7, 0, Ebx, 24;
    /// SHA-NI.
    Sha = 7, 0, Ebx, 29;
    /// User-mode instruction prevention.
    Umip = 7, 0, Ecx, 2;
    /// Protection keys for user pages.
    Pku = 7, 0, Ecx, 3;
    /// UMONITOR, UMWAIT, TPAUSE.
    Waitpkg = 7, 0, Ecx, 5;
    /// GFNI.
    Gfni = 7, 0, Ecx, 8;
    /// VAES.
    Vaes = 7, 0, Ecx, 9;
    /// VPCLMULQDQ.
    Vpclmulqdq = 7, 0, Ecx, 10;
    /// RDPID.
    Rdpid = 7, 0, Ecx, 22;
    /// MOVDIRI.
    Movdiri = 7, 0, Ecx, 27;
    /// Fast short REP MOVSB.
    Fsrm = 7, 0, Edx, 4;
    /// User interrupts.
    Uintr = 7, 0, Edx, 5;
    /// SERIALIZE.
    Serialize = 7, 0, Edx, 14;
    /// IA32_ARCH_CAPABILITIES.
    ArchCapabilities = 7, 0, Edx, 29;
    /// UIRET takes the new UIF from bit 1 of the popped RFLAGS image.
    UiretUif = 7, 1, Edx, 17;
    /// IA32_SPEC_CTRL.BHI_DIS_S: indirect branches in supervisor mode are not predicted from the branch
    /// history of user mode.
    BhiCtrl = 7, 2, Edx, 4;
    /// XSAVEOPT.
    Xsaveopt = 0xd, 1, Eax, 0;
    /// XSAVEC.
    Xsavec = 0xd, 1, Eax, 1;
    /// XGETBV with ECX = 1.
    Xgetbv1 = 0xd, 1, Eax, 2;
    /// XSAVES, XRSTORS and IA32_XSS.
    Xsaves = 0xd, 1, Eax, 3;
    /// LAHF and SAHF in 64-bit mode.
    Lahf = 0x8000_0001, 0, Ecx, 0;
    /// LZCNT.
    Lzcnt = 0x8000_0001, 0, Ecx, 5;
    /// PREFETCHW.
    Prefetchw = 0x8000_0001, 0, Ecx, 8;
    /// SYSCALL and SYSRET in 64-bit mode.
    Syscall = 0x8000_0001, 0, Edx, 11;
    /// No-execute pages.
    Nx = 0x8000_0001, 0, Edx, 20;
    /// 1 GiB pages.
    Pdpe1gb = 0x8000_0001, 0, Edx, 26;
    /// RDTSCP.
    Rdtscp = 0x8000_0001, 0, Edx, 27;
    /// Long mode.
    Lm = 0x8000_0001, 0, Edx, 29;
    /// The TSC runs at a constant rate.
    InvariantTsc = 0x8000_0007, 0, Edx, 8;
}

impl Register {
    /// The register's value in an answer.
    pub fn of(self, leaf: &mut CpuidLeaf) -> &mut u32 {
        match self {
            Register::Eax => &mut leaf.eax,
            Register::Ebx => &mut leaf.ebx,
            Register::Ecx => &mut leaf.ecx,
            Register::Edx => &mut leaf.edx,
        }
    }
}
