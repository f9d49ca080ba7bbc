//! Registers of the test device.
//!
//! Source: the behaviour of QEMU's `pc-testdev`, as the kernels written for it use it.

/// First of the scratch ports.
pub const SCRATCH_PORT: u64 = 0xe0;
/// How many bytes of scratch the ports hold.
pub const SCRATCH_SIZE: u64 = 4;
/// First of the ports that are interrupt lines: the port's number minus this is the line.
pub const LINES_PORT: u64 = 0x2000;
/// How many lines there are: as many as the IOAPIC has inputs.
pub const LINES: u64 = 24;
/// First address of the scratch memory, whose every access reaches the device.
pub const MEMORY: u64 = 0xff00_0000;
/// Its size in bytes.
pub const MEMORY_SIZE: u64 = 0x1_0000;
