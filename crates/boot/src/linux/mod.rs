//! Booting Linux: the zero page, page tables, and the entries.
//!
//! Source: Linux kernel documentation, "The Linux/x86 Boot Protocol", "64-bit Boot Protocol" and
//! "Zero Page"; for PVH, Xen's "x86/HVM direct boot ABI". Not offered: 16-bit and 32-bit entries,
//! EFI, `setup_data`, screens.

mod pvh;
pub mod spec;
#[cfg(test)]
mod tests;

pub(crate) use pvh::boot_pvh;

use crate::boot::{self, BootError, BootParameters, find_low, put_low};
use crate::boot_image::{BootImage, Content};
use crate::firmware;
use crate::kernel::ImageError;
use crate::kernel::bzimage::BzImage;
use crate::kernel::elf::ElfImage;
use crate::memory::{EXTENDED_START, PhysRange};
use crate::placement::{Placement, PlacementError, Side};
use crate::start::{CodeSize, Long64, StartState};
use ring3_arch::{GuestPhys, PAGE_SIZE, paging};
use spec::{header, load_flag, zero_page};

/// Boots the kernel proper: `vmlinux`, which came out of `packed` if it came out of a bzImage.
pub(crate) fn boot_direct(
    vmlinux: &ElfImage,
    packed: Option<&BzImage>,
    parameters: &BootParameters,
) -> Result<BootImage, BootError> {
    let mut placement = Placement::new(parameters.memory.clone());
    let rsdp = firmware::install(&mut placement, parameters.acpi.as_ref())?;
    load_elf(&mut placement, vmlinux)?;
    let header = match packed {
        Some(image) => header_of(image),
        None => header_of_nothing(),
    };
    boot_64bit(
        placement,
        header,
        vmlinux.range().start(),
        vmlinux.entry,
        rsdp,
        parameters,
    )
}

/// Boots the compressed image as it is.
pub(crate) fn boot_compressed(
    image: &BzImage,
    parameters: &BootParameters,
) -> Result<BootImage, BootError> {
    let mut placement = Placement::new(parameters.memory.clone());
    let rsdp = firmware::install(&mut placement, parameters.acpi.as_ref())?;
    if image.u8_field(header::RELOCATABLE_KERNEL) == 0 {
        return Err(ImageError::bzimage(
            "it is not relocatable, so it can't be loaded where it will run: enter the kernel proper instead (the direct entry)",
        )
        .into());
    }
    let code = image.code();
    let address = GuestPhys(image.u64_field(header::PREF_ADDRESS));
    // "the kernel needs init_size bytes of linear contiguous memory starting at the kernel runtime
    // start address"; it unpacks itself there.
    let size = u64::from(image.u32_field(header::INIT_SIZE)).max(code.len() as u64);
    let Some(range) = PhysRange::new(address, size) else {
        return Err(ImageError::bzimage(format!(
            "its preferred address {address:#x} is at the end of the address space"
        ))
        .into());
    };
    placement.claim(range, "the compressed kernel")?;
    placement.put(address, Content::Bytes(code), "compressed kernel");
    let entry = GuestPhys(address.0 + spec::ENTRY64_OFFSET);
    boot_64bit(
        placement,
        header_of(image),
        address,
        entry,
        rsdp,
        parameters,
    )
}

/// Loads the segments of an ELF kernel at their physical addresses.
fn load_elf(placement: &mut Placement, image: &ElfImage) -> Result<(), PlacementError> {
    for (index, segment) in image.segments.iter().enumerate() {
        let what = format!("kernel segment {index}");
        placement.claim(segment.range(), &what)?;
        let bytes = image.segment_bytes(segment);
        let filled = bytes.len() as u64;
        placement.put(segment.physical, Content::Bytes(bytes), &what);
        placement.put(
            GuestPhys(segment.physical.0 + filled),
            Content::Zeros(segment.memory_size - filled),
            &format!("{what}, zeros"),
        );
    }
    Ok(())
}

/// A zero page in the making.
struct ZeroPage(Vec<u8>);

impl ZeroPage {
    fn new() -> ZeroPage {
        ZeroPage(vec![0; spec::ZERO_PAGE_SIZE])
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().expect("four bytes"))
    }
}

/// A zero page with the setup header of a bzImage. "The end of setup header can be calculated as
/// follows: 0x0202 + byte value at offset 0x0201".
fn header_of(image: &BzImage) -> ZeroPage {
    let end =
        spec::SETUP_HEADER_END_BASE + usize::from(image.u8_field(spec::SETUP_HEADER_END_BYTE));
    let end = end.min(spec::SETUP_HEADER_END_MAX);
    let mut page = ZeroPage::new();
    page.put(
        spec::SETUP_HEADER_START,
        &image.bytes()[spec::SETUP_HEADER_START..end],
    );
    page
}

/// A zero page with the setup header that a bare ELF kernel would have had.
fn header_of_nothing() -> ZeroPage {
    let mut page = ZeroPage::new();
    page.put(header::BOOT_FLAG, &spec::BOOT_FLAG.to_le_bytes());
    page.put(header::HEADER, &spec::HEADER_MAGIC);
    page.put(header::VERSION, &spec::VERSION.to_le_bytes());
    page.put(
        header::INITRD_ADDR_MAX,
        &spec::default::INITRD_ADDR_MAX.to_le_bytes(),
    );
    page.put(
        header::CMDLINE_SIZE,
        &spec::default::CMDLINE_SIZE.to_le_bytes(),
    );
    page.put(
        header::KERNEL_ALIGNMENT,
        &spec::default::KERNEL_ALIGNMENT.to_le_bytes(),
    );
    page
}

/// Everything behind the kernel itself: the 64-bit boot protocol.
fn boot_64bit(
    mut placement: Placement,
    mut page: ZeroPage,
    kernel: GuestPhys,
    entry: GuestPhys,
    rsdp: Option<GuestPhys>,
    parameters: &BootParameters,
) -> Result<BootImage, BootError> {
    let page_address = find_low(
        &mut placement,
        spec::ZERO_PAGE_SIZE as u64,
        PAGE_SIZE,
        "the zero page",
    )?;
    let cr3 = identity_page_tables(&mut placement)?;
    let stack = boot::find_stack(&mut placement)?;
    let gdt = put_low(&mut placement, CodeSize::Bits64.gdt(), 8, "GDT")?;
    let command_line =
        put_command_line(&mut placement, parameters, page.u32(header::CMDLINE_SIZE))?;
    let initrd = put_initrd(
        &mut placement,
        parameters,
        page.u32(header::INITRD_ADDR_MAX),
    )?;

    let flags = page.0[header::LOADFLAGS];
    page.put(header::TYPE_OF_LOADER, &[spec::LOADER_UNDEFINED]);
    page.put(header::EXT_LOADER_VER, &[0]);
    page.put(header::EXT_LOADER_TYPE, &[0]);
    page.put(
        header::LOADFLAGS,
        &[(flags | load_flag::LOADED_HIGH)
            & !(load_flag::KASLR | load_flag::QUIET | load_flag::CAN_USE_HEAP)],
    );
    page.put(header::SETUP_DATA, &0u64.to_le_bytes());
    // All these were placed below 4 GiB.
    page.put(header::CODE32_START, &(kernel.0 as u32).to_le_bytes());
    page.put(header::CMD_LINE_PTR, &(command_line.0 as u32).to_le_bytes());
    if let Some(initrd) = initrd {
        page.put(
            header::RAMDISK_IMAGE,
            &(initrd.start().0 as u32).to_le_bytes(),
        );
        page.put(header::RAMDISK_SIZE, &(initrd.size() as u32).to_le_bytes());
    } else {
        page.put(header::RAMDISK_IMAGE, &[0; 4]);
        page.put(header::RAMDISK_SIZE, &[0; 4]);
    }
    if let Some(rsdp) = rsdp {
        page.put(zero_page::ACPI_RSDP_ADDR, &rsdp.0.to_le_bytes());
    }
    put_memory_map(&mut page, &placement);
    placement.put_bytes(page_address, page.0, "zero page");

    let start = Long64::new(entry, stack, page_address, cr3, gdt);
    let (writes, memory_map) = placement.finish();
    Ok(BootImage {
        writes,
        start: StartState::Long64(start),
        memory_map,
    })
}

/// "struct boot_e820_entry": u64 address, u64 size, u32 kind.
fn put_memory_map(page: &mut ZeroPage, placement: &Placement) {
    let entries = placement.map().entries();
    assert!(
        entries.len() <= zero_page::E820_ENTRIES_MAX,
        "a memory map of {} lines doesn't fit into the zero page",
        entries.len()
    );
    page.put(zero_page::E820_ENTRIES, &[entries.len() as u8]);
    for (index, entry) in entries.iter().enumerate() {
        let at = zero_page::E820_TABLE + index * zero_page::E820_ENTRY_SIZE;
        page.put(at, &entry.range.start().0.to_le_bytes());
        page.put(at + 8, &entry.range.size().to_le_bytes());
        page.put(at + 16, &(entry.kind as u32).to_le_bytes());
    }
}

/// Page tables that map the first 4 GiB to themselves in pages of 2 MiB. Everything that is put
/// into memory for Linux is there. SDM Vol. 3, "4-Level Paging".
fn identity_page_tables(placement: &mut Placement) -> Result<GuestPhys, PlacementError> {
    const ENTRIES: u64 = 512;
    const LARGE_PAGE: u64 = 2 << 20;
    const DIRECTORIES: u64 = 4;
    const TABLES: u64 = 2 + DIRECTORIES;
    let size = TABLES * PAGE_SIZE;
    let root = find_low(placement, size, PAGE_SIZE, "the page tables")?;
    let table = |index: u64| root.0 + index * PAGE_SIZE;
    let mut entries = vec![0u64; (TABLES * ENTRIES) as usize];
    entries[0] = table(1) | paging::P | paging::RW;
    for directory in 0..DIRECTORIES {
        entries[(ENTRIES + directory) as usize] = table(2 + directory) | paging::P | paging::RW;
    }
    for page in 0..DIRECTORIES * ENTRIES {
        entries[(2 * ENTRIES + page) as usize] =
            (page * LARGE_PAGE) | paging::P | paging::RW | paging::PS;
    }
    let bytes = entries.into_iter().flat_map(u64::to_le_bytes).collect();
    placement.put_bytes(root, bytes, "page tables");
    Ok(root)
}

fn put_command_line(
    placement: &mut Placement,
    parameters: &BootParameters,
    maximum: u32,
) -> Result<GuestPhys, BootError> {
    let length = parameters.command_line.len();
    if length as u64 > u64::from(maximum) {
        return Err(BootError::CommandLineTooLong { length, maximum });
    }
    let text = boot::zero_terminated(&parameters.command_line);
    Ok(put_low(placement, text, 1, "command line")?)
}

/// Puts the archives one behind the other, each on a multiple of four bytes as the kernel's
/// unpacker wants them ("initramfs buffer format"), as high as the kernel takes them.
fn put_initrd(
    placement: &mut Placement,
    parameters: &BootParameters,
    last_address: u32,
) -> Result<Option<PhysRange>, BootError> {
    const ALIGNMENT: u64 = 4;
    let mut size = 0u64;
    let mut offsets = Vec::new();
    for module in &parameters.modules {
        size = size.next_multiple_of(ALIGNMENT);
        offsets.push(size);
        size += module.bytes.len() as u64;
    }
    if size == 0 {
        return Ok(None);
    }
    if u32::try_from(size).is_err() {
        return Err(BootError::InitrdTooLarge { size });
    }
    let end = (u64::from(last_address) + 1).max(EXTENDED_START);
    let within =
        PhysRange::between(GuestPhys(EXTENDED_START), GuestPhys(end)).expect("made in order");
    let address = placement.find(
        size,
        PAGE_SIZE,
        within,
        Side::High,
        "the initial file system",
    )?;
    for (index, (module, offset)) in parameters.modules.iter().zip(offsets).enumerate() {
        placement.put(
            GuestPhys(address.0 + offset),
            Content::Bytes(module.bytes.clone()),
            &format!("initial file system {index}"),
        );
    }
    Ok(PhysRange::new(address, size))
}
