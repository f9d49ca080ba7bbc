//! Segment descriptors and registers. SDM Vol. 3, "Segment Descriptors".

use serde::{Deserialize, Serialize};

/// The segment registers, in encoding order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum SegmentName {
    Es = 0,
    Cs = 1,
    Ss = 2,
    Ds = 3,
    Fs = 4,
    Gs = 5,
}

/// What a segment register holds: the visible selector and the hidden descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The selector.
    pub selector: u16,
    /// Base address (linear).
    pub base: u64,
    /// Limit in bytes, granularity applied: the last valid offset.
    pub limit: u32,
    /// Access rights as in descriptor bits 55:40 (type, S, DPL, P, then AVL, L, D/B, G in
    /// bits 15:12; limit bits are zero).
    pub attributes: u16,
}

/// Attribute bits of [`Segment::attributes`].
pub mod attribute {
    /// The type field.
    pub const TYPE: u16 = 0xf;
    /// Accessed (code and data).
    pub const ACCESSED: u16 = 1 << 0;
    /// Writable (data) or readable (code).
    pub const WRITABLE_READABLE: u16 = 1 << 1;
    /// Expand-down (data) or conforming (code).
    pub const EXPAND_DOWN_CONFORMING: u16 = 1 << 2;
    /// Code rather than data.
    pub const CODE: u16 = 1 << 3;
    /// Code or data rather than system.
    pub const S: u16 = 1 << 4;
    /// Where DPL starts (two bits).
    pub const DPL_SHIFT: u32 = 5;
    /// Present.
    pub const P: u16 = 1 << 7;
    /// 64-bit code.
    pub const L: u16 = 1 << 13;
    /// 32-bit default size.
    pub const DB: u16 = 1 << 14;
    /// The limit is in 4 KiB units.
    pub const G: u16 = 1 << 15;
}

/// System descriptor types. SDM Vol. 3, "System Descriptor Types".
pub mod system_type {
    /// Available 16-bit TSS.
    pub const TSS16_AVAILABLE: u16 = 0x1;
    /// LDT.
    pub const LDT: u16 = 0x2;
    /// Busy 16-bit TSS.
    pub const TSS16_BUSY: u16 = 0x3;
    /// 16-bit call gate.
    pub const CALL_GATE16: u16 = 0x4;
    /// Task gate.
    pub const TASK_GATE: u16 = 0x5;
    /// 16-bit interrupt gate.
    pub const INTERRUPT_GATE16: u16 = 0x6;
    /// 16-bit trap gate.
    pub const TRAP_GATE16: u16 = 0x7;
    /// Available 32-bit (or, in long mode, 64-bit) TSS.
    pub const TSS_AVAILABLE: u16 = 0x9;
    /// Busy 32-bit or 64-bit TSS.
    pub const TSS_BUSY: u16 = 0xb;
    /// 32-bit or 64-bit call gate.
    pub const CALL_GATE: u16 = 0xc;
    /// 32-bit or 64-bit interrupt gate.
    pub const INTERRUPT_GATE: u16 = 0xe;
    /// 32-bit or 64-bit trap gate.
    pub const TRAP_GATE: u16 = 0xf;
}

impl Segment {
    /// Decodes the first eight bytes of a descriptor; `selector` becomes the visible part.
    pub fn from_descriptor(selector: u16, descriptor: u64) -> Segment {
        let base = ((descriptor >> 16) & 0xff_ffff) | ((descriptor >> 56) << 24);
        let mut limit = ((descriptor & 0xffff) | ((descriptor >> 32) & 0xf_0000)) as u32;
        let attributes = ((descriptor >> 40) & 0xf0ff) as u16;
        if attributes & attribute::G != 0 {
            limit = (limit << 12) | 0xfff;
        }
        Segment {
            selector,
            base,
            limit,
            attributes,
        }
    }

    /// Descriptor privilege level.
    pub fn dpl(&self) -> u8 {
        ((self.attributes >> attribute::DPL_SHIFT) & 3) as u8
    }

    /// Present.
    pub fn present(&self) -> bool {
        self.attributes & attribute::P != 0
    }

    /// Code or data (not system).
    pub fn is_code_or_data(&self) -> bool {
        self.attributes & attribute::S != 0
    }

    /// Code segment.
    pub fn is_code(&self) -> bool {
        self.is_code_or_data() && self.attributes & attribute::CODE != 0
    }

    /// Conforming code segment.
    pub fn is_conforming(&self) -> bool {
        self.is_code() && self.attributes & attribute::EXPAND_DOWN_CONFORMING != 0
    }

    /// Expand-down data segment.
    pub fn is_expand_down(&self) -> bool {
        self.is_code_or_data()
            && !self.is_code()
            && self.attributes & attribute::EXPAND_DOWN_CONFORMING != 0
    }

    /// Data segment that may be written.
    pub fn is_writable(&self) -> bool {
        self.is_code_or_data()
            && !self.is_code()
            && self.attributes & attribute::WRITABLE_READABLE != 0
    }

    /// Data segment, or code segment that may be read.
    pub fn is_readable(&self) -> bool {
        self.is_code_or_data()
            && (!self.is_code() || self.attributes & attribute::WRITABLE_READABLE != 0)
    }

    /// The type field, which for system descriptors is one of [`system_type`].
    pub fn kind(&self) -> u16 {
        self.attributes & attribute::TYPE
    }

    /// The L bit.
    pub fn is_long(&self) -> bool {
        self.attributes & attribute::L != 0
    }

    /// The D/B bit.
    pub fn is_big(&self) -> bool {
        self.attributes & attribute::DB != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_the_flat_descriptors_of_every_kernel() {
        let code = Segment::from_descriptor(0x10, 0x00af_9b00_0000_ffff);
        assert_eq!((code.base, code.limit), (0, 0xffff_ffff));
        assert!(code.is_code() && code.is_long() && code.is_readable() && !code.is_conforming());
        assert_eq!((code.dpl(), code.present()), (0, true));
        let data = Segment::from_descriptor(0x2b, 0x00cf_f300_0000_ffff);
        assert!(data.is_writable() && data.is_big() && !data.is_code() && !data.is_expand_down());
        assert_eq!(data.dpl(), 3);
    }
}
