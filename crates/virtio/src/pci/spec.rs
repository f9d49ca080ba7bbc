//! Layouts of configuration space and of the MSI-X structures.
//!
//! PCI Local Bus Specification 3.0, "Configuration Space Organization", "Configuration Mechanism
//! #1" and "MSI-X Capability and Table Structures".

/// The I/O ports of configuration mechanism #1. "Configuration Mechanism #1".
pub mod port {
    /// CONFIG_ADDRESS, a doubleword; CONFIG_DATA follows it.
    pub const CONFIG_ADDRESS: u64 = 0xcf8;
    /// Both registers.
    pub const SIZE: u64 = 8;
    /// Where CONFIG_DATA starts in the region.
    pub const CONFIG_DATA_OFFSET: u64 = 4;
    /// Where the reset control register stands in the region: 0xCF9, a byte. Intel 82371SB
    /// (PIIX3) data sheet, "RC - Reset Control Register".
    pub const RESET_CONTROL_OFFSET: u64 = 1;

    /// CONFIG_ADDRESS: accesses to CONFIG_DATA are configuration cycles.
    pub const ENABLE: u32 = 1 << 31;
    /// CONFIG_ADDRESS: the bits that exist (enable, bus, device, function, register).
    pub const ADDRESS_BITS: u32 = 0x80ff_fffc;

    /// Reset control: a hard rather than a soft reset.
    pub const RESET_SYSTEM: u8 = 1 << 1;
    /// Reset control: a 0 to 1 transition starts the reset.
    pub const RESET_CPU: u8 = 1 << 2;
}

/// Offsets in the type 00h header. "Type 00h Configuration Space Header".
pub mod register {
    /// Vendor ID, 16 bits.
    pub const VENDOR: u8 = 0x00;
    /// Device ID, 16 bits.
    pub const DEVICE: u8 = 0x02;
    /// Command, 16 bits.
    pub const COMMAND: u8 = 0x04;
    /// Status, 16 bits.
    pub const STATUS: u8 = 0x06;
    /// Revision ID, 8 bits.
    pub const REVISION: u8 = 0x08;
    /// Programming interface, sub-class and base class, 8 bits each.
    pub const CLASS: u8 = 0x09;
    /// Cache line size, 8 bits.
    pub const CACHE_LINE_SIZE: u8 = 0x0c;
    /// Latency timer, 8 bits.
    pub const LATENCY_TIMER: u8 = 0x0d;
    /// The first of six base address registers, 32 bits each.
    pub const BAR0: u8 = 0x10;
    /// Subsystem vendor ID, 16 bits.
    pub const SUBSYSTEM_VENDOR: u8 = 0x2c;
    /// Subsystem ID, 16 bits.
    pub const SUBSYSTEM: u8 = 0x2e;
    /// Offset of the first capability, 8 bits.
    pub const CAPABILITIES: u8 = 0x34;
    /// Which interrupt controller input the firmware says INTx is routed to, 8 bits, storage.
    pub const INTERRUPT_LINE: u8 = 0x3c;
    /// Which INTx pin is used: 0 none, 1 INTA.
    pub const INTERRUPT_PIN: u8 = 0x3d;
    /// Where capabilities may start.
    pub const HEADER_END: u8 = 0x40;
}

/// Bits of the command register. "Device Control".
pub mod command {
    /// The function answers memory space accesses.
    pub const MEMORY_SPACE: u16 = 1 << 1;
    /// The function may act as a master: DMA and message-signalled interrupts.
    pub const BUS_MASTER: u16 = 1 << 2;
    /// Parity error response (storage here).
    pub const PARITY_ERROR_RESPONSE: u16 = 1 << 6;
    /// SERR# enable (storage here).
    pub const SERR_ENABLE: u16 = 1 << 8;
    /// INTx is not asserted.
    pub const INTERRUPT_DISABLE: u16 = 1 << 10;
    /// The bits that software can write.
    pub const WRITABLE: u16 =
        MEMORY_SPACE | BUS_MASTER | PARITY_ERROR_RESPONSE | SERR_ENABLE | INTERRUPT_DISABLE;
}

/// Bits of the status register. "Device Status".
pub mod status {
    /// The function has an INTx interrupt pending, whatever INTERRUPT_DISABLE says.
    pub const INTERRUPT: u16 = 1 << 3;
    /// There is a capability list.
    pub const CAPABILITIES_LIST: u16 = 1 << 4;
}

/// Bits of a base address register for memory space. "Address Maps".
pub mod bar {
    /// How many there are.
    pub const COUNT: usize = 6;
    /// The 64-bit type: the next register holds the upper half.
    pub const MEMORY_64: u32 = 0b100;
    /// The smallest region that is given out, so that no two functions share a guest page.
    pub const SIZE_MIN: u64 = 4096;
}

/// Capability identifiers. "Capability IDs".
pub mod capability {
    /// Vendor-specific.
    pub const VENDOR: u8 = 0x09;
    /// MSI-X.
    pub const MSIX: u8 = 0x11;
}

/// MSI-X. "MSI-X Capability and Table Structures".
pub mod msix {
    /// Bytes of the capability after its identifier and next pointer.
    pub const BODY_SIZE: usize = 10;
    /// Offset of message control in the capability.
    pub const CONTROL: u8 = 2;
    /// Message control: MSI-X is enabled, INTx is not used.
    pub const ENABLE: u16 = 1 << 15;
    /// Message control: all vectors are masked.
    pub const FUNCTION_MASK: u16 = 1 << 14;
    /// Message control: the bits that software can write.
    pub const CONTROL_WRITABLE: u16 = ENABLE | FUNCTION_MASK;
    /// Bytes of a table entry.
    pub const ENTRY_SIZE: u64 = 16;
    /// Vector control: this vector is masked.
    pub const MASKED: u32 = 1 << 0;
    /// Where the pending bit array starts in the BAR that also holds the table.
    pub const PENDING_OFFSET: u64 = 0x800;
    /// The size of the BAR that holds both.
    pub const BAR_SIZE: u64 = 0x1000;
    /// How many vectors fit before the pending bits.
    pub const VECTORS_MAX: u16 = (PENDING_OFFSET / ENTRY_SIZE) as u16;
}

/// The host bridge: Intel 82441FX (440FX) PMC, the one every PC guest has met. Only its identity
/// is modelled, not its memory and shadow registers.
pub mod host_bridge {
    /// Intel.
    pub const VENDOR: u16 = 0x8086;
    /// 82441FX.
    pub const DEVICE: u16 = 0x1237;
    /// Revision.
    pub const REVISION: u8 = 0x02;
    /// Bridge device, host bridge. "Class Codes".
    pub const CLASS: [u8; 3] = [0x06, 0x00, 0x00];
}
