//! The tables themselves, and where they stand in memory.
//!
//! Source: ACPI Specification 6.5, "ACPI Software Programming Model", sections on each table.

use super::{
    AcpiError, AcpiParameters, Hpet, InterruptOverride, Polarity, RegisterAddress, Trigger, dsdt,
};
use acpi_tables::Aml;
use acpi_tables::facs::FACS;
use acpi_tables::fadt::{FADTBuilder, Flags, PmProfile};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use ring3_arch::{GuestPhys, PAGE_SIZE};

/// Who made the tables.
pub const OEM_ID: [u8; 6] = *b"RING3 ";
/// Which machine they describe.
pub const OEM_TABLE_ID: [u8; 8] = *b"RING3PC ";
const OEM_REVISION: u32 = 1;

/// Tables start at multiples of this; the FACS demands it, the others gain by it.
const TABLE_ALIGNMENT: u64 = 64;

/// IA-PC boot architecture flags. "IA-PC Boot Architecture Flags".
mod boot_architecture {
    pub const LEGACY_DEVICES: u16 = 1 << 0;
    pub const KEYBOARD_8042: u16 = 1 << 1;
    pub const VGA_NOT_PRESENT: u16 = 1 << 2;
    pub const CMOS_RTC_NOT_PRESENT: u16 = 1 << 5;
}

/// Interrupt controller structures of the MADT. "Interrupt Controller Structure Types".
mod madt {
    pub const LOCAL_APIC: u8 = 0;
    pub const IO_APIC: u8 = 1;
    pub const INTERRUPT_SOURCE_OVERRIDE: u8 = 2;
    pub const LOCAL_APIC_NMI: u8 = 4;
    pub const LOCAL_X2APIC: u8 = 9;
    pub const LOCAL_X2APIC_NMI: u8 = 10;
    /// "Multiple APIC Flags": there is a pair of 8259s too.
    pub const PCAT_COMPAT: u32 = 1 << 0;
    /// "Local APIC Flags".
    pub const ENABLED: u32 = 1 << 0;
    /// A UID that means every processor, in the two sizes it comes in.
    pub const ALL_PROCESSORS: u8 = 0xff;
    pub const ALL_PROCESSORS_X2APIC: u32 = u32::MAX;
    pub const REVISION: u8 = 5;
}

/// The tables at their addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcpiImage {
    /// The RSDP: it belongs at the address that was asked for, on a 16-byte boundary in the BIOS
    /// area.
    pub rsdp: Vec<u8>,
    /// All other tables, one behind the other; they belong at the address that was asked for. The
    /// first page holds the FACS alone, which must stay where it is (ACPI NVS memory); what follows
    /// may be thrown away once read (ACPI table memory).
    pub tables: Vec<u8>,
    /// The tables one by one, by signature, with their offsets in `tables`, for tools and tests.
    pub offsets: Vec<([u8; 4], usize)>,
}

impl AcpiImage {
    /// Makes the tables for a machine, to stand at `tables_address` (a multiple of 64, below
    /// 4 GiB). Their size doesn't depend on the address.
    ///
    /// # Errors
    /// If the parameters contradict the specification or one another.
    pub fn build(
        parameters: &AcpiParameters,
        tables_address: GuestPhys,
    ) -> Result<AcpiImage, AcpiError> {
        parameters.check()?;
        if !tables_address.0.is_multiple_of(TABLE_ALIGNMENT) || tables_address.0 >= 1 << 32 {
            return Err(AcpiError {
                reason: format!(
                    "its tables can't stand at {tables_address:#x}, which is not a multiple of {TABLE_ALIGNMENT} below 4 GiB"
                ),
            });
        }
        let mut image = AcpiImage {
            rsdp: Vec::new(),
            tables: Vec::new(),
            offsets: Vec::new(),
        };
        let base = tables_address.0;
        let facs = image.add(base, &FACS::new());
        image.tables.resize(PAGE_SIZE as usize, 0);
        let dsdt = image.add_sdt(base, dsdt(parameters));
        let fadt = image.add(base, &fadt(parameters, facs, dsdt));
        let madt = image.add_sdt(base, madt(parameters));
        let hpet = parameters.hpet.map(|h| image.add_sdt(base, hpet(h)));
        let mut xsdt = XSDT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
        for table in [fadt, madt].into_iter().chain(hpet) {
            xsdt.add_entry(table.into());
        }
        let xsdt = image.add(base, &xsdt);
        Rsdp::new(OEM_ID, xsdt.into()).to_aml_bytes(&mut image.rsdp);
        Ok(image)
    }

    fn add(&mut self, base: u64, table: &dyn Aml) -> u32 {
        let mut bytes = Vec::new();
        table.to_aml_bytes(&mut bytes);
        self.add_bytes(base, &bytes)
    }

    fn add_sdt(&mut self, base: u64, table: Sdt) -> u32 {
        self.add_bytes(base, table.as_slice())
    }

    fn add_bytes(&mut self, base: u64, table: &[u8]) -> u32 {
        let offset = self.tables.len().next_multiple_of(TABLE_ALIGNMENT as usize);
        self.tables.resize(offset, 0);
        self.tables.extend_from_slice(table);
        let signature = table[..4].try_into().expect("every table has a signature");
        self.offsets.push((signature, offset));
        // At most 4096 processors of less than 64 bytes each in two tables: far from 4 GiB. Should
        // the base be that high, placing the tables in RAM fails before anybody reads them.
        (base + offset as u64) as u32
    }
}

fn table(signature: [u8; 4], revision: u8) -> Sdt {
    const HEADER_SIZE: u32 = 36;
    Sdt::new(
        signature,
        HEADER_SIZE,
        revision,
        OEM_ID,
        OEM_TABLE_ID,
        OEM_REVISION,
    )
}

fn dsdt(parameters: &AcpiParameters) -> Sdt {
    // From revision 2 on integers have 64 bits. "Differentiated System Description Table".
    let mut sdt = table(*b"DSDT", 2);
    sdt.append_slice(&dsdt::definition_block(parameters));
    sdt
}

fn port_register(port: u16, size_bytes: u8, access: AccessSize) -> GAS {
    GAS::new(
        AddressSpace::SystemIo,
        size_bytes * 8,
        0,
        access,
        port.into(),
    )
}

/// "Fixed ACPI Description Table (FADT)".
fn fadt(parameters: &AcpiParameters, facs: u32, dsdt: u32) -> impl Aml + use<> {
    let power = parameters.power;
    let mut fadt = FADTBuilder::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION)
        .firmware_ctrl_32(facs)
        .preferred_pm_profile(PmProfile::Unspecified)
        .flag(Flags::Wbinvd)
        .flag(Flags::ProcC1)
        .flag(Flags::SlpButton)
        .flag(Flags::FixRtc);
    // The crate writes the minor version of ACPI 6.5; nothing here needs more than 6.3, which is
    // what the disassembler that checks the tables knows.
    fadt.fadt_minor_version = 3;
    fadt.dsdt = dsdt.into();
    fadt.x_dsdt = u64::from(dsdt).into();
    fadt.sci_int = u16::from(power.sci_irq).into();

    fadt.pm1a_evt_blk = u32::from(power.event_port).into();
    fadt.pm1_evt_len = 4;
    fadt.x_pm1a_evt_blk = port_register(power.event_port, 4, AccessSize::WordAccess);
    fadt.pm1a_cnt_blk = u32::from(power.control_port).into();
    fadt.pm1_cnt_len = 2;
    fadt.x_pm1a_cnt_blk = port_register(power.control_port, 2, AccessSize::WordAccess);
    if let Some(port) = power.timer_port {
        fadt.pm_tmr_blk = u32::from(port).into();
        fadt.pm_tmr_len = 4;
        fadt.x_pm_tmr_blk = port_register(port, 4, AccessSize::DwordAccess);
        if power.timer_32_bit {
            fadt = fadt.flag(Flags::TmrValExt);
        }
    }
    // "PWR_BUTTON: a zero indicates the power button is handled as a fixed feature".
    if !power.power_button {
        fadt = fadt.flag(Flags::PwrButton);
    }
    // C2 and C3 aren't offered: "a value > 100 / > 1000 indicates the system does not support".
    fadt.p_lvl2_lat = 0xfff_u16.into();
    fadt.p_lvl3_lat = 0xfff_u16.into();

    if let Some(reset) = parameters.reset {
        fadt.reset_reg = match reset.address {
            RegisterAddress::Port(port) => port_register(port, 1, AccessSize::ByteAccess),
            RegisterAddress::Memory(address) => GAS::new(
                AddressSpace::SystemMemory,
                8,
                0,
                AccessSize::ByteAccess,
                address.0,
            ),
        };
        fadt.reset_value = reset.value;
        fadt = fadt.flag(Flags::ResetRegSup);
    }
    if let Some(century) = parameters.clock.and_then(|c| c.century_index) {
        fadt.century = century;
    }
    fadt.iapc_boot_arch = boot_architecture_flags(parameters).into();
    fadt.finalize()
}

fn boot_architecture_flags(parameters: &AcpiParameters) -> u16 {
    use boot_architecture as bit;
    let when = |holds: bool, bit: u16| if holds { bit } else { 0 };
    when(
        !parameters.serial_ports.is_empty() || parameters.keyboard_controller.is_some(),
        bit::LEGACY_DEVICES,
    ) | when(parameters.keyboard_controller.is_some(), bit::KEYBOARD_8042)
        | when(!parameters.vga, bit::VGA_NOT_PRESENT)
        | when(parameters.clock.is_none(), bit::CMOS_RTC_NOT_PRESENT)
}

/// "Multiple APIC Description Table (MADT)".
fn madt(parameters: &AcpiParameters) -> Sdt {
    let mut sdt = table(*b"APIC", madt::REVISION);
    let mut body = Vec::new();
    body.extend(parameters.local_apic_address.to_le_bytes());
    let flags = match parameters.legacy_interrupt_controller {
        Some(_) => madt::PCAT_COMPAT,
        None => 0,
    };
    body.extend(flags.to_le_bytes());

    let mut x2apic = false;
    for (uid, id) in parameters.processors.iter().enumerate() {
        // "Processor Local APIC Structure": identifiers below 255 must use it. 255 itself would
        // mean all processors, for the identifier as for the UID.
        match (u8::try_from(uid), u8::try_from(id.0)) {
            (Ok(uid @ 0..=254), Ok(id @ 0..=254)) => {
                body.extend([madt::LOCAL_APIC, 8, uid, id]);
                body.extend(madt::ENABLED.to_le_bytes());
            }
            _ => {
                x2apic = true;
                body.extend([madt::LOCAL_X2APIC, 16, 0, 0]);
                body.extend(id.0.to_le_bytes());
                body.extend(madt::ENABLED.to_le_bytes());
                body.extend((uid as u32).to_le_bytes());
            }
        }
    }
    for io_apic in &parameters.io_apics {
        body.extend([madt::IO_APIC, 12, io_apic.id, 0]);
        body.extend(io_apic.address.to_le_bytes());
        body.extend(io_apic.gsi_base.to_le_bytes());
    }
    for o in &parameters.interrupt_overrides {
        const BUS_ISA: u8 = 0;
        body.extend([madt::INTERRUPT_SOURCE_OVERRIDE, 10, BUS_ISA, o.isa_irq]);
        body.extend(o.gsi.to_le_bytes());
        body.extend(inti_flags(o).to_le_bytes());
    }
    if let Some(pin) = parameters.local_apic_nmi_pin {
        // Flags 0: as the bus has it, which for an NMI is edge-triggered, active high.
        body.extend([madt::LOCAL_APIC_NMI, 6, madt::ALL_PROCESSORS, 0, 0, pin]);
        if x2apic {
            body.extend([madt::LOCAL_X2APIC_NMI, 12, 0, 0]);
            body.extend(madt::ALL_PROCESSORS_X2APIC.to_le_bytes());
            body.extend([pin, 0, 0, 0]);
        }
    }
    sdt.append_slice(&body);
    sdt
}

/// "MPS INTI Flags".
fn inti_flags(o: &InterruptOverride) -> u16 {
    let polarity = match o.polarity {
        Polarity::ActiveHigh => 0b01,
        Polarity::ActiveLow => 0b11,
    };
    let trigger = match o.trigger {
        Trigger::Edge => 0b01,
        Trigger::Level => 0b11,
    };
    polarity | trigger << 2
}

/// IA-PC HPET Specification 1.0a, "The ACPI 2.0 HPET Description Table (HPET)".
fn hpet(hpet: Hpet) -> Sdt {
    let mut sdt = table(*b"HPET", 1);
    let mut body = Vec::new();
    body.extend(hpet.capabilities.to_le_bytes());
    GAS::new(
        AddressSpace::SystemMemory,
        64,
        0,
        AccessSize::Undefined,
        hpet.address.into(),
    )
    .to_aml_bytes(&mut body);
    // The HPET's number, its minimum tick, and no guarantee about what shares its page.
    body.push(0);
    body.extend(hpet.minimum_tick.to_le_bytes());
    body.push(0);
    sdt.append_slice(&body);
    sdt
}
