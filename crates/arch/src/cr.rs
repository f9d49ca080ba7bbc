//! Control registers, EFER, debug registers, XCR0. SDM Vol. 3, "Control Registers".

/// CR0 bits.
pub mod cr0 {
    /// Protection enable.
    pub const PE: u64 = 1 << 0;
    /// Monitor coprocessor.
    pub const MP: u64 = 1 << 1;
    /// Emulation.
    pub const EM: u64 = 1 << 2;
    /// Task switched.
    pub const TS: u64 = 1 << 3;
    /// Extension type, always 1.
    pub const ET: u64 = 1 << 4;
    /// Numeric error.
    pub const NE: u64 = 1 << 5;
    /// Write protect.
    pub const WP: u64 = 1 << 16;
    /// Alignment mask.
    pub const AM: u64 = 1 << 18;
    /// Not write-through.
    pub const NW: u64 = 1 << 29;
    /// Cache disable.
    pub const CD: u64 = 1 << 30;
    /// Paging.
    pub const PG: u64 = 1 << 31;
}

/// CR3 fields.
pub mod cr3 {
    /// The process-context identifier, when CR4.PCIDE is set.
    pub const PCID: u64 = 0xfff;
    /// In a MOV to CR3 with CR4.PCIDE set: keep the TLB entries of the new PCID.
    pub const NO_FLUSH: u64 = 1 << 63;
}

/// CR4 bits.
pub mod cr4 {
    /// Virtual-8086 mode extensions.
    pub const VME: u64 = 1 << 0;
    /// Protected-mode virtual interrupts.
    pub const PVI: u64 = 1 << 1;
    /// Time-stamp disable.
    pub const TSD: u64 = 1 << 2;
    /// Debugging extensions.
    pub const DE: u64 = 1 << 3;
    /// Page-size extensions.
    pub const PSE: u64 = 1 << 4;
    /// Physical-address extension.
    pub const PAE: u64 = 1 << 5;
    /// Machine-check enable.
    pub const MCE: u64 = 1 << 6;
    /// Global pages.
    pub const PGE: u64 = 1 << 7;
    /// RDPMC at any privilege level.
    pub const PCE: u64 = 1 << 8;
    /// FXSAVE/FXRSTOR and SSE.
    pub const OSFXSR: u64 = 1 << 9;
    /// #XM is handled.
    pub const OSXMMEXCPT: u64 = 1 << 10;
    /// User-mode instruction prevention.
    pub const UMIP: u64 = 1 << 11;
    /// Five-level paging.
    pub const LA57: u64 = 1 << 12;
    /// RDFSBASE and its siblings.
    pub const FSGSBASE: u64 = 1 << 16;
    /// Process-context identifiers.
    pub const PCIDE: u64 = 1 << 17;
    /// XSAVE and XCR0.
    pub const OSXSAVE: u64 = 1 << 18;
    /// Supervisor-mode execution prevention.
    pub const SMEP: u64 = 1 << 20;
    /// Supervisor-mode access prevention.
    pub const SMAP: u64 = 1 << 21;
    /// Protection keys for user pages.
    pub const PKE: u64 = 1 << 22;
    /// User interrupts.
    pub const UINTR: u64 = 1 << 25;
}

/// IA32_EFER bits.
pub mod efer {
    /// SYSCALL and SYSRET.
    pub const SCE: u64 = 1 << 0;
    /// Long mode enable.
    pub const LME: u64 = 1 << 8;
    /// Long mode active.
    pub const LMA: u64 = 1 << 10;
    /// No-execute enable.
    pub const NXE: u64 = 1 << 11;
}

/// DR6 and DR7. SDM Vol. 3, "Debug Registers".
pub mod dr {
    /// DR6 bits that always read as one (no RTM, no bus-lock detection).
    pub const DR6_FIXED: u64 = 0xffff_0ff0;
    /// DR6: a MOV to a debug register was attempted with DR7.GD set.
    pub const DR6_BD: u64 = 1 << 13;
    /// DR6: single-step.
    pub const DR6_BS: u64 = 1 << 14;
    /// DR6: task switch.
    pub const DR6_BT: u64 = 1 << 15;
    /// DR7 bit that always reads as one.
    pub const DR7_FIXED: u64 = 1 << 10;
    /// DR7: general detect.
    pub const DR7_GD: u64 = 1 << 13;
}

/// State components of XCR0 and IA32_XSS. SDM Vol. 1, "XSAVE-Supported Features".
pub mod xcr0 {
    /// x87.
    pub const X87: u64 = 1 << 0;
    /// XMM registers and MXCSR.
    pub const SSE: u64 = 1 << 1;
    /// Upper halves of YMM0 to YMM15.
    pub const AVX: u64 = 1 << 2;
    /// Protection-key rights (PKRU).
    pub const PKRU: u64 = 1 << 9;
    /// User interrupts (IA32_XSS only).
    pub const UINTR: u64 = 1 << 14;
}
