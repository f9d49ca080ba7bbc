//! The PVH entry of Linux and other kernels.
//!
//! Source: Xen documentation, "x86/HVM direct boot ABI", and the layout of `hvm_start_info` version
//! 1 in Xen's public headers. The name is Xen's; nothing of Xen is needed or offered.

use super::{load_elf, put_command_line, put_initrd, spec};
use crate::boot::{self, BootError, BootParameters, put_low};
use crate::boot_image::BootImage;
use crate::firmware;
use crate::kernel::ImageError;
use crate::kernel::elf::ElfImage;
use crate::placement::Placement;
use crate::start::{CodeSize, Protected32, StartState};

/// `XEN_HVM_START_MAGIC_VALUE`: "xEn3" with the high bit of the first byte set.
const START_INFO_MAGIC: u32 = 0x336e_c578;
const START_INFO_VERSION: u32 = 1;

fn words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Two 32-bit fields, the first in the low half.
fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// Boots an ELF kernel through its PVH entry.
pub(crate) fn boot_pvh(
    image: &ElfImage,
    parameters: &BootParameters,
) -> Result<BootImage, BootError> {
    let entry = image.pvh_entry.ok_or_else(|| {
        ImageError::elf(
            "it names no PVH entry point (it was built without CONFIG_PVH): use the direct entry",
        )
    })?;
    let mut placement = Placement::new(parameters.memory.clone());
    let rsdp = firmware::install(&mut placement, parameters.acpi.as_ref())?;
    load_elf(&mut placement, image)?;
    let stack = boot::find_stack(&mut placement)?;
    let gdt = put_low(&mut placement, CodeSize::Bits32.gdt(), 8, "GDT")?;
    let command_line = put_command_line(&mut placement, parameters, spec::default::CMDLINE_SIZE)?;
    let initrd = put_initrd(&mut placement, parameters, spec::default::INITRD_ADDR_MAX)?;

    // struct hvm_modlist_entry: address, size, command line, reserved.
    let modules = match initrd {
        Some(initrd) => {
            let entry = words(&[initrd.start().0, initrd.size(), 0, 0]);
            put_low(&mut placement, entry, 8, "PVH module list")?.0
        }
        None => 0,
    };
    // struct hvm_memmap_table_entry: address, size, kind and a reserved word.
    let memory_map: Vec<u8> = placement
        .map()
        .entries()
        .iter()
        .flat_map(|e| words(&[e.range.start().0, e.range.size(), pair(e.kind as u32, 0)]))
        .collect();
    let lines = placement.map().entries().len() as u32;
    let memory_map = put_low(&mut placement, memory_map, 8, "PVH memory map")?.0;
    let start_info = words(&[
        pair(START_INFO_MAGIC, START_INFO_VERSION),
        pair(0, u32::from(initrd.is_some())),
        modules,
        command_line.0,
        rsdp.map_or(0, |r| r.0),
        memory_map,
        pair(lines, 0),
    ]);
    let start_info = put_low(&mut placement, start_info, 8, "PVH start info")?;

    // Conventional memory and what is below 4 GiB: all addresses fit.
    let start = Protected32::new(entry, 0, start_info.0 as u32, stack.0 as u32, gdt);
    let (writes, memory_map) = placement.finish();
    Ok(BootImage {
        writes,
        start: StartState::Protected32(start),
        memory_map,
    })
}
