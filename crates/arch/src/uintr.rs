//! Layouts of the user-interrupt structures. SDM Vol. 3, "User Interrupts".
//!
//! Behaviour (posting, notification, delivery) is in the crate `ring3-uintr`, and only there.

/// Bytes of a UPID that the processor accesses.
pub const UPID_SIZE: u64 = 16;
/// A UPID's alignment.
pub const UPID_ALIGNMENT: u64 = 64;
/// Bytes of a UITT entry.
pub const UITTE_SIZE: u64 = 16;

/// ON: a notification is outstanding (bit 0 of the UPID).
pub const UPID_ON: u64 = 1 << 0;
/// SN: notifications are suppressed (bit 1 of the UPID).
pub const UPID_SN: u64 = 1 << 1;
/// Bits 15:2 and 31:24 of the UPID's low quadword; SENDUIPI faults if one is set.
pub const UPID_RESERVED: u64 = 0xff00_fffc;
/// Where the notification vector (NV) starts in the low quadword.
pub const UPID_NV_SHIFT: u32 = 16;
/// Where the notification destination (NDST) starts in the low quadword.
pub const UPID_NDST_SHIFT: u32 = 32;

/// V: the UITT entry is valid.
pub const UITTE_V: u64 = 1 << 0;
/// Bits 7:1, 15:14 and 63:16 of a UITTE's low quadword must be zero (15:14 because the user
/// vector must be below 64).
pub const UITTE_RESERVED_LOW: u64 = 0xffff_ffff_ffff_c0fe;
/// Bits 5:0 of a UITTE's high quadword must be zero (the UPID is 64-byte aligned).
pub const UITTE_RESERVED_HIGH: u64 = 0x3f;
/// Where the user vector (UV) starts in the low quadword.
pub const UITTE_UV_SHIFT: u32 = 8;

/// IA32_UINTR_MISC: reserved bits 63:40.
pub const MISC_RESERVED: u64 = !0xff_ffff_ffff;
/// IA32_UINTR_MISC: where the notification vector (UINV) starts.
pub const MISC_UINV_SHIFT: u32 = 32;
/// IA32_UINTR_PD: reserved bits 5:0.
pub const PD_RESERVED: u64 = 0x3f;
/// IA32_UINTR_TT: reserved bits 3:1.
pub const TT_RESERVED: u64 = 0xe;
/// IA32_UINTR_TT: SENDUIPI is enabled.
pub const TT_ENABLE: u64 = 1;

/// RFLAGS bits that UIRET restores: CF PF AF ZF SF TF DF OF NT RF AC ID.
/// SDM Vol. 2, "UIRET-User-Interrupt Return".
pub const UIRET_RFLAGS: u64 = 0x25_4dd5;

/// The XSAVE state component of user interrupts (component 14, supervisor).
pub mod xsave {
    /// Its number.
    pub const COMPONENT: u32 = 14;
    /// Its size in bytes.
    pub const SIZE: u32 = 48;
    /// In the third quadword (UITTSZ, UINV): bit 63 is UIF.
    pub const MISC_UIF: u64 = 1 << 63;
}
