//! How the bootstrap processor starts.
//!
//! Two states cover every boot protocol offered: 64-bit mode with identity paging (Linux's 64-bit
//! boot protocol) and 32-bit protected mode without paging (Multiboot, PVH). Registers that are not
//! named here keep the value they have after a reset; general-purpose registers not named are zero.
//! The IDT is empty (limit 0): an exception before the kernel has set its own is a triple fault.

use ring3_arch::segment::Segment;
use ring3_arch::{GuestPhys, cr, rflags};

/// Where the GDT stands and how far it reaches: what LGDT would load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorTable {
    /// The address of its first descriptor.
    pub base: GuestPhys,
    /// The offset of its last byte.
    pub limit: u16,
}

/// 64-bit mode with paging: IA32_EFER.LME and LMA are set, CPL is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Long64 {
    /// The first instruction.
    pub rip: u64,
    /// A stack of at least 2 KiB below this address.
    pub rsp: u64,
    /// What the protocol passes in RSI.
    pub rsi: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// CR0.
    pub cr0: u64,
    /// The root of the page tables, which map the first 4 GiB to themselves.
    pub cr3: GuestPhys,
    /// CR4.
    pub cr4: u64,
    /// IA32_EFER.
    pub efer: u64,
    /// GDTR.
    pub gdt: DescriptorTable,
    /// CS.
    pub code: Segment,
    /// SS, DS, ES, FS and GS.
    pub data: Segment,
}

/// 32-bit protected mode without paging, CPL 0, the A20 gate open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protected32 {
    /// The first instruction.
    pub eip: u32,
    /// What the protocol passes in EAX.
    pub eax: u32,
    /// What the protocol passes in EBX.
    pub ebx: u32,
    /// A stack of at least 2 KiB below this address. No protocol promises it.
    pub esp: u32,
    /// EFLAGS.
    pub rflags: u64,
    /// CR0.
    pub cr0: u64,
    /// CR4.
    pub cr4: u64,
    /// GDTR.
    pub gdt: DescriptorTable,
    /// CS.
    pub code: Segment,
    /// SS, DS, ES, FS and GS.
    pub data: Segment,
}

/// The state in which the bootstrap processor executes its first instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartState {
    /// 64-bit mode.
    Long64(Long64),
    /// 32-bit protected mode.
    Protected32(Protected32),
}

/// `__BOOT_CS` of the Linux boot protocol; the other protocols leave the selector open.
pub(crate) const CODE_SELECTOR: u16 = 0x10;
/// `__BOOT_DS` of the Linux boot protocol.
pub(crate) const DATA_SELECTOR: u16 = 0x18;

/// Flat, 64-bit, execute and read, accessed.
const CODE64: u64 = 0x00af_9b00_0000_ffff;
/// Flat, 32-bit, execute and read, accessed.
const CODE32: u64 = 0x00cf_9b00_0000_ffff;
/// Flat, read and write, accessed.
const DATA: u64 = 0x00cf_9300_0000_ffff;

/// Which code segment a GDT offers.
#[derive(Clone, Copy)]
pub(crate) enum CodeSize {
    Bits32,
    Bits64,
}

impl CodeSize {
    fn descriptor(self) -> u64 {
        match self {
            CodeSize::Bits32 => CODE32,
            CodeSize::Bits64 => CODE64,
        }
    }

    fn code(self) -> Segment {
        Segment::from_descriptor(CODE_SELECTOR, self.descriptor())
    }

    /// The GDT as it stands in memory: null, unused, code, data.
    pub(crate) fn gdt(self) -> Vec<u8> {
        [0, 0, self.descriptor(), DATA]
            .into_iter()
            .flat_map(u64::to_le_bytes)
            .collect()
    }
}

/// The size of what [`CodeSize::gdt`] gives.
pub(crate) const GDT_SIZE: u64 = 32;

fn table(base: GuestPhys) -> DescriptorTable {
    DescriptorTable {
        base,
        limit: GDT_SIZE as u16 - 1,
    }
}

fn data() -> Segment {
    Segment::from_descriptor(DATA_SELECTOR, DATA)
}

impl Long64 {
    /// 64-bit mode with the GDT of [`CodeSize::Bits64`].
    pub(crate) fn new(
        rip: GuestPhys,
        rsp: GuestPhys,
        rsi: GuestPhys,
        cr3: GuestPhys,
        gdt: GuestPhys,
    ) -> Long64 {
        Long64 {
            rip: rip.0,
            rsp: rsp.0,
            rsi: rsi.0,
            rflags: rflags::ALWAYS,
            cr0: cr::cr0::PE | cr::cr0::ET | cr::cr0::NE | cr::cr0::PG,
            cr3,
            cr4: cr::cr4::PAE,
            efer: cr::efer::LME | cr::efer::LMA,
            gdt: table(gdt),
            code: CodeSize::Bits64.code(),
            data: data(),
        }
    }
}

impl Protected32 {
    /// Protected mode with the GDT of [`CodeSize::Bits32`].
    pub(crate) fn new(eip: u32, eax: u32, ebx: u32, esp: u32, gdt: GuestPhys) -> Protected32 {
        Protected32 {
            eip,
            eax,
            ebx,
            esp,
            rflags: rflags::ALWAYS,
            cr0: cr::cr0::PE | cr::cr0::ET,
            cr4: 0,
            gdt: table(gdt),
            code: CodeSize::Bits32.code(),
            data: data(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring3_arch::segment::attribute;

    /// The Linux/x86 Boot Protocol, "64-bit Boot Protocol": both descriptors are flat, the code
    /// segment can be executed and read, the data segment read and written.
    #[test]
    fn segments_are_flat_and_have_the_rights_that_the_protocols_ask_for() {
        for size in [CodeSize::Bits32, CodeSize::Bits64] {
            let code = size.code();
            assert_eq!((code.base, code.limit, code.dpl()), (0, u32::MAX, 0));
            assert!(code.is_code() && code.is_readable() && code.present());
            assert_eq!(code.is_long(), matches!(size, CodeSize::Bits64));
            // L and D must not both be set.
            assert_eq!(code.is_big(), matches!(size, CodeSize::Bits32));
            assert!(code.attributes & attribute::ACCESSED != 0);
        }
        let data = data();
        assert_eq!((data.base, data.limit, data.dpl()), (0, u32::MAX, 0));
        assert!(data.is_writable() && data.is_big() && data.present());
    }

    #[test]
    fn the_gdt_in_memory_holds_what_the_hidden_parts_hold() {
        for size in [CodeSize::Bits32, CodeSize::Bits64] {
            let gdt = size.gdt();
            assert_eq!(gdt.len() as u64, GDT_SIZE);
            let descriptor = |selector: u16| {
                let at = usize::from(selector);
                u64::from_le_bytes(gdt[at..at + 8].try_into().unwrap())
            };
            assert_eq!(
                Segment::from_descriptor(CODE_SELECTOR, descriptor(CODE_SELECTOR)),
                size.code()
            );
            assert_eq!(
                Segment::from_descriptor(DATA_SELECTOR, descriptor(DATA_SELECTOR)),
                data()
            );
        }
    }
}
