//! Layouts of the Multiboot information structure.
//!
//! Source: Multiboot Specification version 0.6.96, "Boot information format".

/// What EAX holds when the kernel starts.
pub const BOOT_MAGIC: u32 = 0x2bad_b002;

/// The size of the structure, up to and with the fields for VBE (which are zero).
pub const INFO_SIZE: usize = 88;

/// Fields of the structure, all u32.
pub mod info {
    /// See [`super::flag`].
    pub const FLAGS: usize = 0;
    /// Memory from address 0 on, in KiB.
    pub const MEM_LOWER: usize = 4;
    /// Memory from 1 MiB to the first hole, in KiB.
    pub const MEM_UPPER: usize = 8;
    /// Where the command line is.
    pub const CMDLINE: usize = 16;
    /// How many modules there are.
    pub const MODS_COUNT: usize = 20;
    /// Where their list is.
    pub const MODS_ADDR: usize = 24;
    /// The size of the memory map in bytes.
    pub const MMAP_LENGTH: usize = 44;
    /// Where it is.
    pub const MMAP_ADDR: usize = 48;
    /// Where the loader's name is.
    pub const BOOT_LOADER_NAME: usize = 64;
}

/// Bits of [`info::FLAGS`]: which fields are valid.
pub mod flag {
    /// `mem_lower`, `mem_upper`.
    pub const MEMORY: u32 = 1 << 0;
    /// `cmdline`.
    pub const CMDLINE: u32 = 1 << 2;
    /// `mods_count`, `mods_addr`.
    pub const MODULES: u32 = 1 << 3;
    /// `mmap_length`, `mmap_addr`.
    pub const MEMORY_MAP: u32 = 1 << 6;
    /// `boot_loader_name`.
    pub const LOADER_NAME: u32 = 1 << 9;
}

/// The size of an entry of the module list: start, end, command line, reserved; all u32.
pub const MODULE_SIZE: usize = 16;

/// The value of the size field of a memory map entry, which doesn't count itself: u64 address, u64
/// size, u32 kind.
pub const MMAP_ENTRY_SIZE: u32 = 20;
