//! Where code and memory stand, alike on the host and in the machine.
//!
//! All of it below 2 GiB, so that 32-bit addresses and absolute ones reach it, and each part within
//! reach of RIP-relative operands. Around each part nothing is mapped.

/// Bytes in a page.
pub const PAGE: u64 = 0x1000;

/// A page that can only be read; behind it stands [`MEMORY`].
pub const READ_ONLY: u64 = 0x1000_0000;
/// The memory that sequences may write: one page, seen twice, so that accesses can cross from one page
/// into another and there is little to fill and to compare.
pub const MEMORY: u64 = READ_ONLY + PAGE;
/// Its size in the linear address space.
pub const MEMORY_SPAN: u64 = 2 * PAGE;
/// Its bytes.
pub const MEMORY_BYTES: usize = PAGE as usize;

/// The first slot of code.
pub const CODE: u64 = 0x2000_0000;
/// How many sequences stand in memory at the same time.
pub const SLOTS: usize = 64;
/// Bytes of a slot. A sequence starts somewhere in it, and may end in the first bytes of the next.
pub const SLOT_BYTES: u64 = PAGE;
/// Bytes that a sequence may take.
pub const CODE_BYTES_MAX: usize = 0x200;
/// Bytes of all slots and what the last may run into.
pub const CODE_BYTES: usize = (SLOTS + 1) * SLOT_BYTES as usize;

/// Where sequences jump at their end. On the host the way back into the harness stands here; in the
/// machine nothing, so that the fetch faults. Not a number that random operands are likely to make, since the
/// host can read there and the machine cannot.
pub const EXIT: u64 = 0x35ca_9000;

/// An address where nothing is mapped.
pub const NOWHERE: u64 = 0x3c00_0000;

/// FS.base and GS.base at the start.
pub const FS_BASE: u64 = MEMORY + 0x1230;
/// See [`FS_BASE`]; not aligned, so that aligned operands tell whether it was added.
pub const GS_BASE: u64 = 0x12_3450;

/// Linux' selectors. `arch/x86/include/asm/segment.h` names them.
pub mod selector {
    /// 64-bit code.
    pub const CODE64: u16 = 0x33;
    /// 32-bit code.
    pub const CODE32: u16 = 0x23;
    /// Data and stack.
    pub const DATA: u16 = 0x2b;
    /// 16-bit code: the first entry of the LDT.
    pub const CODE16: u16 = 0x07;
    /// Data of 16-bit code: the second entry of the LDT.
    pub const DATA16: u16 = 0x0f;
    /// A data segment whose limit is the number of the host's processor.
    pub const CPU_NUMBER: u16 = 0x7b;
}

/// 16-bit code is in a segment that begins at [`CODE`] and reaches this far.
pub const SLOTS_OF_16_BITS: usize = 0x1_0000 / SLOT_BYTES as usize - 1;

/// Data of 16-bit code are in a segment that begins here, so that 16-bit addresses reach [`MEMORY`].
/// (The stack is not: a kernel has trouble returning to code with a 16-bit stack.)
pub const DATA16_BASE: u64 = READ_ONLY;
/// Its limit.
pub const DATA16_LIMIT: u32 = 0xffff;

/// The base of the segment that a selector names, where it matters; FS and GS have bases of their own
/// in 64-bit mode.
pub const fn segment_base(selector: u16) -> u64 {
    match selector {
        selector::CODE16 => CODE,
        selector::DATA16 => DATA16_BASE,
        _ => 0,
    }
}

/// The linear address of the first byte of slot `slot`.
pub const fn slot(slot: usize) -> u64 {
    CODE + slot as u64 * SLOT_BYTES
}
