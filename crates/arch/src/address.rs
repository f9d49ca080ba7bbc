//! Numbers that must not be mistaken for one another.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes in the smallest page.
pub const PAGE_SIZE: u64 = 4096;

/// A guest-physical address.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct GuestPhys(pub u64);

/// A guest-linear (virtual) address, after segmentation and before paging.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct GuestVirt(pub u64);

/// A local APIC identifier, in its 32-bit x2APIC form.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ApicId(pub u32);

/// Which logical processor of the machine, counted from 0 (the bootstrap processor).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct CpuIndex(pub u32);

/// An interrupt or exception vector: an index into the IDT.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Vector(pub u8);

impl GuestPhys {
    /// The start of the page that holds this address.
    pub fn page(self) -> GuestPhys {
        GuestPhys(self.0 & !(PAGE_SIZE - 1))
    }

    /// The offset in its page.
    pub fn page_offset(self) -> u64 {
        self.0 & (PAGE_SIZE - 1)
    }
}

impl GuestVirt {
    /// The start of the page that holds this address.
    pub fn page(self) -> GuestVirt {
        GuestVirt(self.0 & !(PAGE_SIZE - 1))
    }

    /// The offset in its page.
    pub fn page_offset(self) -> u64 {
        self.0 & (PAGE_SIZE - 1)
    }

    /// Whether bits 63 down to `width - 1` are all alike. SDM Vol. 1, "Canonical Addressing".
    /// `width` is 48 or 57.
    pub fn is_canonical(self, width: u32) -> bool {
        let shift = 64 - width;
        ((self.0 << shift) as i64 >> shift) as u64 == self.0
    }
}

impl fmt::LowerHex for GuestPhys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::LowerHex for GuestVirt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_addresses_are_sign_extended() {
        assert!(GuestVirt(0x0000_7fff_ffff_ffff).is_canonical(48));
        assert!(!GuestVirt(0x0000_8000_0000_0000).is_canonical(48));
        assert!(GuestVirt(0x0000_8000_0000_0000).is_canonical(57));
        assert!(GuestVirt(0xffff_8000_0000_0000).is_canonical(48));
        assert!(!GuestVirt(0xfeff_8000_0000_0000).is_canonical(57));
    }
}
