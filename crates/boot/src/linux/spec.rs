//! Layouts of the Linux/x86 boot protocol.
//!
//! Source: Linux kernel documentation, "The Linux/x86 Boot Protocol" (version 2.15) and "Zero
//! Page". The setup header stands at the same offsets in a bzImage and in the zero page, so one
//! table serves both. Not listed: what only real-mode or EFI entries read.

/// The size of the zero page (`struct boot_params`).
pub const ZERO_PAGE_SIZE: usize = 4096;

/// Where the setup header starts.
pub const SETUP_HEADER_START: usize = 0x1f1;
/// The byte that holds the distance from [`SETUP_HEADER_END_BASE`] to the end of the setup header:
/// the displacement of a jump instruction.
pub const SETUP_HEADER_END_BYTE: usize = 0x201;
/// See [`SETUP_HEADER_END_BYTE`].
pub const SETUP_HEADER_END_BASE: usize = 0x202;
/// Where the setup header must have ended: what follows in the zero page begins here.
pub const SETUP_HEADER_END_MAX: usize = 0x290;

/// Fields of the setup header.
pub mod header {
    /// u8: the size of the setup code in sectors of 512 bytes, without the first; 0 means 4.
    pub const SETUP_SECTS: usize = 0x1f1;
    /// u32: the size of the protected-mode code in units of 16 bytes.
    pub const SYSSIZE: usize = 0x1f4;
    /// u16: AA55h.
    pub const BOOT_FLAG: usize = 0x1fe;
    /// u32: [`super::HEADER_MAGIC`].
    pub const HEADER: usize = 0x202;
    /// u16: the protocol version, major in the high byte.
    pub const VERSION: usize = 0x206;
    /// u16: where the version string is, counted from 200h; 0 if there is none.
    pub const KERNEL_VERSION: usize = 0x20e;
    /// u8: who loads the kernel.
    pub const TYPE_OF_LOADER: usize = 0x210;
    /// u8: see [`super::load_flag`].
    pub const LOADFLAGS: usize = 0x211;
    /// u32: where the protected-mode code stands.
    pub const CODE32_START: usize = 0x214;
    /// u32: where the initial file system stands.
    pub const RAMDISK_IMAGE: usize = 0x218;
    /// u32: its size.
    pub const RAMDISK_SIZE: usize = 0x21c;
    /// u8.
    pub const EXT_LOADER_VER: usize = 0x226;
    /// u8.
    pub const EXT_LOADER_TYPE: usize = 0x227;
    /// u32: where the command line stands.
    pub const CMD_LINE_PTR: usize = 0x228;
    /// u32: the highest address that the initial file system may occupy.
    pub const INITRD_ADDR_MAX: usize = 0x22c;
    /// u32: what the kernel's address must be a multiple of.
    pub const KERNEL_ALIGNMENT: usize = 0x230;
    /// u8: non-zero if the protected-mode code runs anywhere.
    pub const RELOCATABLE_KERNEL: usize = 0x234;
    /// u16: see [`super::xload_flag`].
    pub const XLOADFLAGS: usize = 0x236;
    /// u32: the longest command line, without its terminating zero.
    pub const CMDLINE_SIZE: usize = 0x238;
    /// u32: where the compressed kernel is, counted from the protected-mode code.
    pub const PAYLOAD_OFFSET: usize = 0x248;
    /// u32: its size.
    pub const PAYLOAD_LENGTH: usize = 0x24c;
    /// u64: a list of further data for the kernel.
    pub const SETUP_DATA: usize = 0x250;
    /// u64: where the kernel would like to be loaded.
    pub const PREF_ADDRESS: usize = 0x258;
    /// u32: how much memory from its address on it needs until it has read the memory map.
    pub const INIT_SIZE: usize = 0x260;
}

/// Fields of the zero page outside the setup header.
pub mod zero_page {
    /// u64: where the ACPI root pointer is.
    pub const ACPI_RSDP_ADDR: usize = 0x070;
    /// u8: the number of entries of the memory map.
    pub const E820_ENTRIES: usize = 0x1e8;
    /// The memory map.
    pub const E820_TABLE: usize = 0x2d0;
    /// The size of its entries: u64 address, u64 size, u32 kind.
    pub const E820_ENTRY_SIZE: usize = 20;
    /// How many entries it has room for.
    pub const E820_ENTRIES_MAX: usize = 128;
}

/// `HdrS`.
pub const HEADER_MAGIC: [u8; 4] = *b"HdrS";
/// The value of [`header::BOOT_FLAG`].
pub const BOOT_FLAG: u16 = 0xaa55;

/// Bits of [`header::LOADFLAGS`].
pub mod load_flag {
    /// The protected-mode code belongs at 1 MiB or higher: a bzImage, not a zImage.
    pub const LOADED_HIGH: u8 = 1 << 0;
    /// The kernel's own: the address was chosen at random.
    pub const KASLR: u8 = 1 << 1;
    /// The kernel shall not print early messages.
    pub const QUIET: u8 = 1 << 5;
    /// `heap_end_ptr` is valid.
    pub const CAN_USE_HEAP: u8 = 1 << 7;
}

/// Bits of [`header::XLOADFLAGS`].
pub mod xload_flag {
    /// There is a 64-bit entry point 200h behind the protected-mode code.
    pub const KERNEL_64: u16 = 1 << 0;
}

/// A loader without a number of its own.
pub const LOADER_UNDEFINED: u8 = 0xff;

/// Where the 64-bit entry point is, counted from the protected-mode code.
pub const ENTRY64_OFFSET: u64 = 0x200;

/// The first protocol version with [`header::XLOADFLAGS`]: 2.12, Linux 3.8.
pub const VERSION_MIN: u16 = 0x020c;

/// The protocol version that this module knows.
pub const VERSION: u16 = 0x020f;

/// What a kernel without a setup header is told and asked: the values of Linux for x86-64 since
/// 3.8. "Details of Header Fields".
pub mod default {
    /// [`super::header::INITRD_ADDR_MAX`].
    pub const INITRD_ADDR_MAX: u32 = 0x7fff_ffff;
    /// [`super::header::CMDLINE_SIZE`]: `COMMAND_LINE_SIZE - 1`.
    pub const CMDLINE_SIZE: u32 = 2047;
    /// [`super::header::KERNEL_ALIGNMENT`].
    pub const KERNEL_ALIGNMENT: u32 = 2 << 20;
}
