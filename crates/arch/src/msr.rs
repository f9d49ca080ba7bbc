//! Model-specific registers by name. SDM Vol. 4, "IA-32 Architectural MSRs".

macro_rules! msrs {
    ($($(#[$meta:meta])* $name:ident = $number:expr;)*) => {
        $($(#[$meta])* pub const $name: u32 = $number;)*
    };
}

msrs! {
    /// Time-stamp counter.
    IA32_TSC = 0x10;
    /// Platform ID.
    IA32_PLATFORM_ID = 0x17;
    /// Local APIC base, enable, x2APIC enable, BSP.
    IA32_APIC_BASE = 0x1b;
    /// Feature control (VMX, SGX lock).
    IA32_FEATURE_CONTROL = 0x3a;
    /// TSC offset.
    IA32_TSC_ADJUST = 0x3b;
    /// Speculation control.
    IA32_SPEC_CTRL = 0x48;
    /// Prediction command.
    IA32_PRED_CMD = 0x49;
    /// Microcode update trigger.
    IA32_BIOS_UPDT_TRIG = 0x79;
    /// Microcode revision.
    IA32_BIOS_SIGN_ID = 0x8b;
    /// MTRR capabilities.
    IA32_MTRRCAP = 0xfe;
    /// Which speculation vulnerabilities do not exist.
    IA32_ARCH_CAPABILITIES = 0x10a;
    /// Flush command.
    IA32_FLUSH_CMD = 0x10b;
    /// SYSENTER CS.
    IA32_SYSENTER_CS = 0x174;
    /// SYSENTER RSP.
    IA32_SYSENTER_ESP = 0x175;
    /// SYSENTER RIP.
    IA32_SYSENTER_EIP = 0x176;
    /// Machine-check capabilities.
    IA32_MCG_CAP = 0x179;
    /// Machine-check status.
    IA32_MCG_STATUS = 0x17a;
    /// Machine-check control.
    IA32_MCG_CTL = 0x17b;
    /// Miscellaneous features.
    IA32_MISC_ENABLE = 0x1a0;
    /// Debug control.
    IA32_DEBUGCTL = 0x1d9;
    /// First variable-range MTRR base; base and mask alternate.
    IA32_MTRR_PHYSBASE0 = 0x200;
    /// 64 KiB fixed-range MTRR.
    IA32_MTRR_FIX64K_00000 = 0x250;
    /// 16 KiB fixed-range MTRRs start.
    IA32_MTRR_FIX16K_80000 = 0x258;
    /// 4 KiB fixed-range MTRRs start.
    IA32_MTRR_FIX4K_C0000 = 0x268;
    /// Page-attribute table.
    IA32_PAT = 0x277;
    /// Default memory type and MTRR enables.
    IA32_MTRR_DEF_TYPE = 0x2ff;
    /// Deadline of the local APIC timer in TSC-deadline mode.
    IA32_TSC_DEADLINE = 0x6e0;
    /// First x2APIC register.
    X2APIC_FIRST = 0x800;
    /// Last x2APIC register.
    X2APIC_LAST = 0x8ff;
    /// User interrupts: requests (UIRR).
    IA32_UINTR_RR = 0x985;
    /// User interrupts: handler address.
    IA32_UINTR_HANDLER = 0x986;
    /// User interrupts: stack adjustment.
    IA32_UINTR_STACKADJUST = 0x987;
    /// User interrupts: UITT size and notification vector.
    IA32_UINTR_MISC = 0x988;
    /// User interrupts: address of the UPID.
    IA32_UINTR_PD = 0x989;
    /// User interrupts: address of the UITT and SENDUIPI enable.
    IA32_UINTR_TT = 0x98a;
    /// Supervisor state components enabled for XSAVES.
    IA32_XSS = 0xda0;
    /// UMWAIT/TPAUSE limits.
    IA32_UMWAIT_CONTROL = 0xe1;
    /// Extended features.
    IA32_EFER = 0xc000_0080;
    /// SYSCALL segments and 32-bit target.
    IA32_STAR = 0xc000_0081;
    /// SYSCALL 64-bit target.
    IA32_LSTAR = 0xc000_0082;
    /// SYSCALL target from compatibility mode (AMD; kept as storage on Intel).
    IA32_CSTAR = 0xc000_0083;
    /// SYSCALL flag mask.
    IA32_FMASK = 0xc000_0084;
    /// FS base.
    IA32_FS_BASE = 0xc000_0100;
    /// GS base.
    IA32_GS_BASE = 0xc000_0101;
    /// The GS base that SWAPGS swaps in.
    IA32_KERNEL_GS_BASE = 0xc000_0102;
    /// What RDTSCP and RDPID return.
    IA32_TSC_AUX = 0xc000_0103;
}
