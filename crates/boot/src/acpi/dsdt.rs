//! The DSDT: devices that can't be discovered, and the soft-off state.
//!
//! Source: ACPI Specification 6.5, "Device Configuration", "ACPI-Defined Devices and
//! Device-Specific Objects", "Resource Data Types for ACPI"; device identifiers of legacy devices
//! from Microsoft's "Plug and Play ID" list as the specification refers to it.

use super::{AcpiParameters, Hpet, IsaDevice, KeyboardController, PciRoot};
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Memory32Fixed, Name, Package,
    PackageBuilder, ResourceTemplate, Scope,
};
use acpi_tables::{Aml, AmlSink};

/// The ports of PCI configuration mechanism #1, which the root bridge itself decodes. PCI Local Bus
/// Specification 3.0, "Configuration Mechanism #1".
pub(super) const PCI_CONFIG_PORT_FIRST: u16 = 0xcf8;
/// See [`PCI_CONFIG_PORT_FIRST`].
pub(super) const PCI_CONFIG_PORT_LAST: u16 = 0xcff;

/// The registers of an HPET. IA-PC HPET Specification 1.0a, "Register Overview".
const HPET_SIZE: u32 = 0x400;

/// An ISA interrupt: edge-triggered, active high, not shared. ACPI Specification, "IRQ Descriptor",
/// in its form of two bytes.
struct IsaIrq(u8);

impl Aml for IsaIrq {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.byte(0x22);
        sink.word(1 << self.0);
    }
}

/// So many ports from the first on.
fn ports(first: u16, count: u8) -> IO {
    IO::new(first, first, 1, count)
}

/// A device with a Plug and Play identifier, a number among its kind, and fixed resources.
fn device(sink: &mut dyn AmlSink, name: &str, id: &str, uid: u8, resources: Vec<&dyn Aml>) {
    Device::new(
        name.into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new(id)),
            &Name::new("_UID".into(), &uid),
            &Name::new("_CRS".into(), &ResourceTemplate::new(resources)),
        ],
    )
    .to_aml_bytes(sink);
}

/// The definition block behind the DSDT's header.
pub(super) fn definition_block(parameters: &AcpiParameters) -> Vec<u8> {
    let mut devices = Vec::new();
    processors(&mut devices, parameters);
    system_board(&mut devices, parameters);
    if let Some(pic) = parameters.legacy_interrupt_controller {
        device(
            &mut devices,
            "PIC_",
            "PNP0000",
            0,
            vec![
                &ports(pic.master_port, 2),
                &ports(pic.slave_port, 2),
                &IsaIrq(2),
            ],
        );
    }
    if let Some(IsaDevice { port, irq }) = parameters.timer {
        device(
            &mut devices,
            "TMR_",
            "PNP0100",
            0,
            vec![&ports(port, 4), &IsaIrq(irq)],
        );
    }
    if let Some(clock) = parameters.clock {
        device(
            &mut devices,
            "RTC_",
            "PNP0B00",
            0,
            vec![&ports(clock.port, 2), &IsaIrq(clock.irq)],
        );
    }
    if let Some(controller) = parameters.keyboard_controller {
        keyboard(&mut devices, controller);
    }
    for (index, IsaDevice { port, irq }) in parameters.serial_ports.iter().enumerate() {
        device(
            &mut devices,
            &format!("COM{:X}", (index + 1) % 16),
            "PNP0501",
            index as u8 + 1,
            vec![&ports(*port, 8), &IsaIrq(*irq)],
        );
    }
    if let Some(Hpet { address, .. }) = parameters.hpet {
        device(
            &mut devices,
            "HPET",
            "PNP0103",
            0,
            vec![&Memory32Fixed::new(false, address, HPET_SIZE)],
        );
    }
    if let Some(pci) = &parameters.pci {
        pci_root(&mut devices, pci);
    }

    let mut block = Scope::raw("_SB_".into(), devices);
    // SLP_TYPa, SLP_TYPb, and two reserved elements. "\_Sx (System States)".
    let sleep_type = parameters.power.soft_off_type;
    Name::new(
        "_S5_".into(),
        &Package::new(vec![&sleep_type, &sleep_type, &0u8, &0u8]),
    )
    .to_aml_bytes(&mut block);
    block
}

/// "Declaring Processors": devices with _HID ACPI0007, found in the MADT by their _UID.
fn processors(sink: &mut dyn AmlSink, parameters: &AcpiParameters) {
    for index in 0..parameters.processors.len() {
        Device::new(
            format!("C{index:03X}").as_str().into(),
            vec![
                &Name::new("_HID".into(), &"ACPI0007"),
                &Name::new("_UID".into(), &(index as u32)),
            ],
        )
        .to_aml_bytes(sink);
    }
}

/// Ports that no other device claims: those of the fixed power-management registers.
fn system_board(sink: &mut dyn AmlSink, parameters: &AcpiParameters) {
    let power = parameters.power;
    let event = ports(power.event_port, 4);
    let control = ports(power.control_port, 2);
    let timer = power.timer_port.map(|port| ports(port, 4));
    let mut resources: Vec<&dyn Aml> = vec![&event, &control];
    resources.extend(timer.as_ref().map(|t| t as &dyn Aml));
    device(sink, "MBRD", "PNP0C02", 0, resources);
}

fn keyboard(sink: &mut dyn AmlSink, controller: KeyboardController) {
    device(
        sink,
        "KBD_",
        "PNP0303",
        0,
        vec![
            &ports(controller.data_port, 1),
            &ports(controller.command_port, 1),
            &IsaIrq(controller.keyboard_irq),
        ],
    );
    if let Some(irq) = controller.mouse_irq {
        device(sink, "MOU_", "PNP0F13", 0, vec![&IsaIrq(irq)]);
    }
}

/// "PCI Bus Number", "_CRS", "_PRT (PCI Routing Table)".
fn pci_root(sink: &mut dyn AmlSink, pci: &PciRoot) {
    let buses = AddressSpace::<u16>::new_bus_number(0, pci.last_bus.into());
    let config = ports(
        PCI_CONFIG_PORT_FIRST,
        (PCI_CONFIG_PORT_LAST - PCI_CONFIG_PORT_FIRST + 1) as u8,
    );
    let port_windows: Vec<AddressSpace<u16>> = pci
        .port_windows
        .iter()
        .map(|(first, last)| AddressSpace::<u16>::new_io(*first, *last, None))
        .collect();
    let memory_windows: Vec<Box<dyn Aml>> = pci
        .memory_windows
        .iter()
        .map(|window| {
            let first = window.start().0;
            let last = window.end().0 - 1;
            let kind = AddressSpaceCacheable::NotCacheable;
            let aml: Box<dyn Aml> = match (u32::try_from(first), u32::try_from(last)) {
                (Ok(first), Ok(last)) => Box::new(AddressSpace::<u32>::new_memory(
                    kind, true, first, last, None,
                )),
                _ => Box::new(AddressSpace::<u64>::new_memory(
                    kind, true, first, last, None,
                )),
            };
            aml
        })
        .collect();
    let mut resources: Vec<&dyn Aml> = vec![&buses, &config];
    resources.extend(port_windows.iter().map(|w| w as &dyn Aml));
    resources.extend(memory_windows.iter().map(|w| &**w));

    // Each entry: the device in the high word and all functions (FFFFh) in the low one, the pin,
    // no link device but a global system interrupt, and that interrupt.
    let mut routing = PackageBuilder::new();
    for interrupt in &pci.interrupts {
        let address = u32::from(interrupt.device) << 16 | 0xffff;
        routing.add_element(&Package::new(vec![
            &address,
            &interrupt.pin,
            &0u8,
            &interrupt.gsi,
        ]));
    }

    Device::new(
        "PCI0".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0A03")),
            &Name::new("_UID".into(), &0u8),
            &Name::new("_BBN".into(), &0u8),
            &Name::new("_CRS".into(), &ResourceTemplate::new(resources)),
            &Name::new("_PRT".into(), &routing),
        ],
    )
    .to_aml_bytes(sink);
}
