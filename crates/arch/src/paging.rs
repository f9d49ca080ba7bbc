//! Paging-structure entries. SDM Vol. 3, "Paging".

/// The page or table is present.
pub const P: u64 = 1 << 0;
/// Writes are allowed.
pub const RW: u64 = 1 << 1;
/// User-mode accesses are allowed.
pub const US: u64 = 1 << 2;
/// The entry was used for a translation.
pub const A: u64 = 1 << 5;
/// The page was written.
pub const D: u64 = 1 << 6;
/// The entry maps a large page (PDE, PDPTE).
pub const PS: u64 = 1 << 7;
/// The translation is global.
pub const G: u64 = 1 << 8;
/// No execution, when EFER.NXE is set.
pub const NX: u64 = 1 << 63;

/// Width of a guest-physical address that CPUID reports.
pub const PHYSICAL_BITS: u32 = 46;

/// The address bits of a paging-structure entry.
pub const ADDRESS: u64 = ((1 << PHYSICAL_BITS) - 1) & !0xfff;

/// Bits of an entry between the physical-address width and bit 51; they must be zero.
pub const RESERVED_HIGH: u64 = ((1 << 52) - 1) & !((1 << PHYSICAL_BITS) - 1);
