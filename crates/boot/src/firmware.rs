//! What firmware leaves in memory before any kernel runs: the BIOS data area and the ACPI tables.
//!
//! Source: ACPI Specification 6.5, "Finding the RSDP on IA-PC Systems", "System Address Map
//! Interfaces"; the BIOS data area as every PC since the AT has it. There is no firmware code: BIOS
//! interrupt vectors are zero, and nothing may call them.

use crate::acpi::{AcpiError, AcpiImage, AcpiParameters};
use crate::boot::BootError;
use crate::memory::{
    BIOS_AREA, CONVENTIONAL_END, EBDA_END, EXTENDED_START, MemoryKind, MemoryMapEntry, PhysRange,
};
use crate::placement::{Placement, Side};
use ring3_arch::{GuestPhys, PAGE_SIZE};

/// Fields of the BIOS data area, as offsets from its start.
mod bda {
    pub const START: u64 = 0x400;
    pub const SIZE: usize = 0x100;
    /// u16 each: the ports of COM1 to COM4.
    pub const SERIAL_PORTS: usize = 0x00;
    pub const SERIAL_PORTS_MAX: usize = 4;
    /// u16: the segment of the extended BIOS data area.
    pub const EBDA_SEGMENT: usize = 0x0e;
    /// u16: conventional memory in KiB.
    pub const MEMORY_KIB: usize = 0x13;
}

/// The pages that nothing else is put into: interrupt vectors and the BIOS data area.
const FIRST_PAGE: u64 = PAGE_SIZE;

/// Puts it all there; returns where the ACPI root pointer is.
pub(crate) fn install(
    placement: &mut Placement,
    acpi: Option<&AcpiParameters>,
) -> Result<Option<GuestPhys>, BootError> {
    let first_page = PhysRange::new(GuestPhys(0), FIRST_PAGE).expect("a page is a range");
    placement.claim(first_page, "the BIOS data area")?;
    let serial_ports: Vec<u16> = acpi
        .into_iter()
        .flat_map(|a| a.serial_ports.iter().map(|s| s.port))
        .collect();
    placement.put_bytes(
        GuestPhys(bda::START),
        bios_data_area(&serial_ports),
        "BIOS data area",
    );
    // The first byte of the extended BIOS data area is its size in KiB.
    let ebda_kib = (EBDA_END - CONVENTIONAL_END).div_ceil(1024) as u8;
    placement.put_bytes(
        GuestPhys(CONVENTIONAL_END),
        vec![ebda_kib],
        "extended BIOS data area",
    );
    match acpi {
        Some(parameters) => install_acpi(placement, parameters).map(Some),
        None => Ok(None),
    }
}

fn bios_data_area(serial_ports: &[u16]) -> Vec<u8> {
    let mut area = vec![0; bda::SIZE];
    let mut put = |at: usize, value: u16| area[at..at + 2].copy_from_slice(&value.to_le_bytes());
    for (index, port) in serial_ports.iter().take(bda::SERIAL_PORTS_MAX).enumerate() {
        put(bda::SERIAL_PORTS + 2 * index, *port);
    }
    put(bda::EBDA_SEGMENT, (CONVENTIONAL_END >> 4) as u16);
    put(bda::MEMORY_KIB, (CONVENTIONAL_END / 1024) as u16);
    area
}

fn install_acpi(
    placement: &mut Placement,
    parameters: &AcpiParameters,
) -> Result<GuestPhys, BootError> {
    let low_end = placement.map().low_end();
    // A device that stands in RAM would never be reached.
    let outside_ram = |placement: &Placement, range: PhysRange, what: &str| {
        let overlaps = |e: &MemoryMapEntry| e.kind == MemoryKind::Ram && e.range.overlaps(range);
        if placement.map().entries().iter().any(overlaps) {
            return Err(AcpiError {
                reason: format!("{what} at {range} is in the midst of RAM"),
            });
        }
        Ok(())
    };
    for range in parameters.reserved_ranges() {
        outside_ram(placement, range, "a device")?;
        placement.set_kind(range, MemoryKind::Reserved);
    }
    for window in parameters.pci.iter().flat_map(|pci| &pci.memory_windows) {
        outside_ram(placement, *window, "a PCI memory window")?;
    }
    let size = AcpiImage::build(parameters, GuestPhys(0))?.tables.len() as u64;
    let extended =
        PhysRange::between(GuestPhys(EXTENDED_START), low_end).expect("2 MiB are the minimum");
    let address = placement.find(
        size.next_multiple_of(PAGE_SIZE),
        PAGE_SIZE,
        extended,
        Side::High,
        "the ACPI tables",
    )?;
    let image = AcpiImage::build(parameters, address)?;
    let nvs = PhysRange::new(address, PAGE_SIZE).expect("found in RAM");
    let tables = PhysRange::between(
        nvs.end(),
        GuestPhys(address.0 + size.next_multiple_of(PAGE_SIZE)),
    )
    .expect("there is more than the FACS");
    placement.set_kind(nvs, MemoryKind::AcpiNvs);
    placement.set_kind(tables, MemoryKind::AcpiTables);
    placement.put_bytes(address, image.tables, "ACPI tables");
    let rsdp = BIOS_AREA.start();
    placement.put_bytes(rsdp, image.rsdp, "ACPI root pointer");
    Ok(rsdp)
}
