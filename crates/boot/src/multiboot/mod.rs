//! Booting a Multiboot 1 kernel: the information structure and the start in protected mode.
//!
//! Source: Multiboot Specification version 0.6.96, "Machine state" and "Boot information format".
//! Given: memory sizes and map, command line, modules, loader name. Not given: boot device, symbols
//! (section headers), drives, BIOS configuration table, APM, video. Which images are taken is in
//! [`crate::kernel::multiboot`].

pub mod spec;
#[cfg(test)]
mod tests;

use crate::boot::{self, BootError, BootParameters, find_low, put_low};
use crate::boot_image::{BootImage, Content};
use crate::firmware;
use crate::kernel::multiboot::MultibootImage;
use crate::memory::{CONVENTIONAL_END, EXTENDED_START, PhysRange};
use crate::placement::{Placement, PlacementError, Side};
use crate::start::{CodeSize, Protected32, StartState};
use ring3_arch::{GuestPhys, PAGE_SIZE};
use spec::{flag, info};

/// What the kernel is told about who loads it.
const LOADER_NAME: &[u8] = b"Ring3";

/// Boots a Multiboot kernel.
pub(crate) fn boot(
    image: &MultibootImage,
    parameters: &BootParameters,
) -> Result<BootImage, BootError> {
    let mut placement = Placement::new(parameters.memory.clone());
    firmware::install(&mut placement, parameters.acpi.as_ref())?;
    load(&mut placement, image)?;
    let stack = boot::find_stack(&mut placement)?;
    let gdt = put_low(&mut placement, CodeSize::Bits32.gdt(), 8, "GDT")?;

    let command_line = boot::zero_terminated(&parameters.command_line);
    let command_line = put_low(&mut placement, command_line, 1, "command line")?;
    let name = put_low(
        &mut placement,
        boot::zero_terminated(LOADER_NAME),
        1,
        "boot loader name",
    )?;
    let modules = put_modules(&mut placement, image, parameters)?;
    let (map, map_size) = put_memory_map(&mut placement)?;
    let info_address = find_low(
        &mut placement,
        spec::INFO_SIZE as u64,
        8,
        "the Multiboot information",
    )?;

    let mut information = vec![0; spec::INFO_SIZE];
    let mut put = |at: usize, value: u32| {
        information[at..at + 4].copy_from_slice(&value.to_le_bytes());
    };
    put(
        info::FLAGS,
        flag::MEMORY | flag::CMDLINE | flag::MODULES | flag::MEMORY_MAP | flag::LOADER_NAME,
    );
    put(info::MEM_LOWER, (CONVENTIONAL_END / 1024) as u32);
    put(info::MEM_UPPER, upper_memory_kib(&placement));
    put(info::CMDLINE, command_line.0 as u32);
    put(info::MODS_COUNT, parameters.modules.len() as u32);
    put(info::MODS_ADDR, modules.0 as u32);
    put(info::MMAP_LENGTH, map_size);
    put(info::MMAP_ADDR, map.0 as u32);
    put(info::BOOT_LOADER_NAME, name.0 as u32);
    placement.put_bytes(info_address, information, "Multiboot information");

    let start = Protected32::new(
        image.entry,
        spec::BOOT_MAGIC,
        info_address.0 as u32,
        stack.0 as u32,
        gdt,
    );
    let (writes, memory_map) = placement.finish();
    Ok(BootImage {
        writes,
        start: StartState::Protected32(start),
        memory_map,
    })
}

fn load(placement: &mut Placement, image: &MultibootImage) -> Result<(), PlacementError> {
    for (index, segment) in image.segments.iter().enumerate() {
        let what = format!("kernel segment {index}");
        let range = PhysRange::new(segment.address, segment.memory_size)
            .expect("checked to be below 4 GiB");
        placement.claim(range, &what)?;
        let filled = segment.bytes.len() as u64;
        placement.put(
            segment.address,
            Content::Bytes(segment.bytes.clone()),
            &what,
        );
        placement.put(
            GuestPhys(segment.address.0 + filled),
            Content::Zeros(segment.memory_size - filled),
            &format!("{what}, zeros"),
        );
    }
    Ok(())
}

/// Puts the modules behind the kernel, each on a page of its own (whether the header's flag asks for
/// it or not), and their list; returns where the list is.
fn put_modules(
    placement: &mut Placement,
    image: &MultibootImage,
    parameters: &BootParameters,
) -> Result<GuestPhys, BootError> {
    let kernel_end = image
        .segments
        .iter()
        .map(|s| s.address.0 + s.memory_size)
        .max()
        .unwrap_or(0);
    let low_end = placement.map().low_end();
    let start = GuestPhys(kernel_end.max(EXTENDED_START).min(low_end.0));
    let behind = PhysRange::between(start, low_end).expect("made in order");
    let mut list = Vec::with_capacity(parameters.modules.len() * spec::MODULE_SIZE);
    for (index, module) in parameters.modules.iter().enumerate() {
        if module.command_line.contains(&0) {
            return Err(BootError::ZeroByte {
                what: "a module's command line",
            });
        }
        let what = format!("module {index}");
        let size = module.bytes.len() as u64;
        // An empty module gets an address too.
        let address = placement.find(size.max(1), PAGE_SIZE, behind, Side::Low, &what)?;
        placement.put(address, Content::Bytes(module.bytes.clone()), &what);
        let command_line = put_low(
            placement,
            boot::zero_terminated(&module.command_line),
            1,
            &format!("command line of module {index}"),
        )?;
        // "mod_end": the first address behind the module. RAM below the hole is below 4 GiB.
        for value in [address.0, address.0 + size, command_line.0, 0] {
            list.extend((value as u32).to_le_bytes());
        }
    }
    if list.is_empty() {
        return Ok(GuestPhys(0));
    }
    Ok(put_low(placement, list, 8, "module list")?)
}

/// Puts the memory map; returns where it is and its size in bytes.
fn put_memory_map(placement: &mut Placement) -> Result<(GuestPhys, u32), PlacementError> {
    let mut map = Vec::new();
    for entry in placement.map().entries() {
        map.extend(spec::MMAP_ENTRY_SIZE.to_le_bytes());
        map.extend(entry.range.start().0.to_le_bytes());
        map.extend(entry.range.size().to_le_bytes());
        map.extend((entry.kind as u32).to_le_bytes());
    }
    let size = map.len() as u32;
    Ok((put_low(placement, map, 8, "memory map")?, size))
}

/// "the address of the first upper memory hole minus 1 megabyte", in KiB.
fn upper_memory_kib(placement: &Placement) -> u32 {
    let first = placement
        .map()
        .entries()
        .iter()
        .find(|e| e.range.start().0 == EXTENDED_START)
        .map_or(0, |e| e.range.size());
    // RAM below the hole ends below 4 GiB.
    (first / 1024) as u32
}
