//! ACPI tables: what the guest is told about the machine's devices.
//!
//! Source: Advanced Configuration and Power Interface Specification 6.5; HPET table: IA-PC HPET
//! Specification 1.0a. Built: RSDP, XSDT, FADT (not hardware-reduced), FACS, MADT, DSDT, and the
//! HPET table where there is an HPET. Not built: MCFG (configuration mechanism #1 only), MP tables,
//! SSDTs, sleep states other than S5, general-purpose events, power resources, thermal zones, NUMA.
//!
//! No address, port or interrupt number is decided here: all are in [`AcpiParameters`], which the
//! machine fills in from the devices that it has.

mod dsdt;
mod tables;
#[cfg(test)]
pub(crate) mod tests;

pub use tables::{AcpiImage, OEM_ID, OEM_TABLE_ID};

use crate::memory::PhysRange;
use ring3_arch::{ApicId, GuestPhys};
use thiserror::Error;

/// Everything that the tables say about a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcpiParameters {
    /// The local APICs of all processors, in the order of their [`ring3_arch::CpuIndex`], which
    /// also is their ACPI processor UID. Identifiers are unique.
    pub processors: Vec<ApicId>,
    /// Where every processor finds its local APIC.
    pub local_apic_address: u32,
    /// The local APIC pin that NMIs come in through (0 or 1), if they do.
    pub local_apic_nmi_pin: Option<u8>,
    /// The I/O APICs.
    pub io_apics: Vec<IoApic>,
    /// ISA interrupts that are not edge-triggered, active high, on the global system interrupt of
    /// the same number.
    pub interrupt_overrides: Vec<InterruptOverride>,
    /// Whether there is a pair of 8259s.
    pub legacy_interrupt_controller: Option<LegacyInterruptController>,
    /// The fixed power-management registers.
    pub power: PowerRegisters,
    /// How the operating system resets the machine, if it can.
    pub reset: Option<ResetRegister>,
    /// The 8254, if there is one.
    pub timer: Option<IsaDevice>,
    /// The CMOS real-time clock, if there is one.
    pub clock: Option<RealTimeClock>,
    /// The 8042, if there is one.
    pub keyboard_controller: Option<KeyboardController>,
    /// Whether the guest may touch VGA registers and memory.
    pub vga: bool,
    /// The serial ports, COM1 first.
    pub serial_ports: Vec<IsaDevice>,
    /// The HPET, if there is one.
    pub hpet: Option<Hpet>,
    /// The PCI root bridge, if there is one.
    pub pci: Option<PciRoot>,
}

/// An I/O APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Its identifier.
    pub id: u8,
    /// Where its registers are.
    pub address: u32,
    /// The global system interrupt of its first pin.
    pub gsi_base: u32,
}

/// When an interrupt input counts as asserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polarity {
    /// When it is high.
    ActiveHigh,
    /// When it is low.
    ActiveLow,
}

/// What an interrupt input reacts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Becoming asserted.
    Edge,
    /// Being asserted.
    Level,
}

/// An ISA interrupt that isn't what ISA interrupts are by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptOverride {
    /// The ISA interrupt, 0 to 15.
    pub isa_irq: u8,
    /// Where it arrives.
    pub gsi: u32,
    /// Its polarity there.
    pub polarity: Polarity,
    /// Its trigger mode there.
    pub trigger: Trigger,
}

/// The pair of 8259s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegacyInterruptController {
    /// The first of two ports of the master.
    pub master_port: u16,
    /// The first of two ports of the slave.
    pub slave_port: u16,
}

/// The fixed power-management registers: PM1a event block (4 bytes), PM1a control block (2 bytes)
/// and timer (4 bytes, counting 32 bits at 3.579545 MHz). ACPI Specification, "ACPI Register
/// Model". The machine is always in ACPI mode: there is no SMI command port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerRegisters {
    /// Where PM1a_STS and PM1a_EN are.
    pub event_port: u16,
    /// Where PM1a_CNT is.
    pub control_port: u16,
    /// Where the timer is, if there is one.
    pub timer_port: Option<u16>,
    /// Whether the timer counts 32 bits (or 24).
    pub timer_32_bit: bool,
    /// The system control interrupt: an ISA interrupt number.
    pub sci_irq: u8,
    /// What goes into SLP_TYP for the soft-off state S5: 0 to 7.
    pub soft_off_type: u8,
    /// Whether there is a power button behind PM1_STS.PWRBTN_STS.
    pub power_button: bool,
}

/// Where a register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterAddress {
    /// An I/O port.
    Port(u16),
    /// A guest-physical address.
    Memory(GuestPhys),
}

/// The 8-bit reset register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetRegister {
    /// Where it is.
    pub address: RegisterAddress,
    /// What resets the machine when written there.
    pub value: u8,
}

/// A device with one block of ports and one interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsaDevice {
    /// Its first port.
    pub port: u16,
    /// Its ISA interrupt, 0 to 15.
    pub irq: u8,
}

/// The CMOS real-time clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RealTimeClock {
    /// Its index port; the data port follows.
    pub port: u16,
    /// Its ISA interrupt.
    pub irq: u8,
    /// The index of the century in CMOS memory, if it is kept there.
    pub century_index: Option<u8>,
}

/// The 8042 keyboard controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyboardController {
    /// Its data port.
    pub data_port: u16,
    /// Its command and status port.
    pub command_port: u16,
    /// The keyboard's ISA interrupt.
    pub keyboard_irq: u8,
    /// The mouse's, if there is a mouse port.
    pub mouse_irq: Option<u8>,
}

/// An HPET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hpet {
    /// Where its registers (1 KiB) are.
    pub address: u32,
    /// Bits 31 to 0 of its capability register: vendor, legacy route, counter size, number of
    /// comparators, revision.
    pub capabilities: u32,
    /// The shortest period that loses no tick in periodic mode, in units of the main counter.
    pub minimum_tick: u16,
}

/// A PCI root bridge with configuration mechanism #1, bus 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciRoot {
    /// The highest bus number behind it.
    pub last_bus: u8,
    /// Memory windows for devices. A window lies wholly below or wholly above 4 GiB.
    pub memory_windows: Vec<PhysRange>,
    /// Port windows for devices: first and last port. They must not hold CF8h to CFFh.
    pub port_windows: Vec<(u16, u16)>,
    /// Where the interrupt pins of the devices on bus 0 go; at most 255.
    pub interrupts: Vec<PciInterrupt>,
}

/// One interrupt pin of a PCI device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciInterrupt {
    /// The device number, 0 to 31.
    pub device: u8,
    /// 0 for INTA# to 3 for INTD#.
    pub pin: u8,
    /// The global system interrupt that it raises (active low, level-triggered).
    pub gsi: u32,
}

/// Parameters that no tables can be made from.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no ACPI tables can describe this machine: {reason}")]
pub struct AcpiError {
    /// What is wrong.
    pub reason: String,
}

/// The most processors that the tables can describe: the names of the processor devices have three
/// hexadecimal digits.
pub const PROCESSORS_MAX: usize = 4096;

impl AcpiParameters {
    /// The interrupt overrides of a PC with an I/O APIC: the timer arrives at pin 2, and the system
    /// control interrupt is level-triggered, active high.
    pub fn pc_overrides(sci_irq: u8) -> Vec<InterruptOverride> {
        vec![
            InterruptOverride {
                isa_irq: 0,
                gsi: 2,
                polarity: Polarity::ActiveHigh,
                trigger: Trigger::Edge,
            },
            InterruptOverride {
                isa_irq: sci_irq,
                gsi: sci_irq.into(),
                polarity: Polarity::ActiveHigh,
                trigger: Trigger::Level,
            },
        ]
    }

    /// Addresses outside RAM that belong to the system board, so that the memory map can keep them
    /// from the operating system: local APIC, I/O APICs, HPET, in whole pages.
    pub fn reserved_ranges(&self) -> Vec<PhysRange> {
        let page = |address: u32| {
            PhysRange::new(GuestPhys(address.into()), 1)
                .expect("a 32-bit address has a next one")
                .page_aligned()
        };
        let mut ranges: Vec<PhysRange> = self
            .io_apics
            .iter()
            .map(|io_apic| io_apic.address)
            .chain([self.local_apic_address])
            .chain(self.hpet.iter().map(|hpet| hpet.address))
            .map(page)
            .collect();
        ranges.sort();
        ranges.dedup();
        ranges
    }

    /// Checks what the types leave open.
    fn check(&self) -> Result<(), AcpiError> {
        let require = |holds: bool, reason: &str| {
            if holds {
                Ok(())
            } else {
                Err(AcpiError {
                    reason: reason.to_owned(),
                })
            }
        };
        require(!self.processors.is_empty(), "it has no processor")?;
        require(
            self.processors.len() <= PROCESSORS_MAX,
            "it has more than 4096 processors",
        )?;
        let mut ids = self.processors.clone();
        ids.sort();
        ids.dedup();
        require(
            ids.len() == self.processors.len(),
            "two processors have the same local APIC identifier",
        )?;
        require(
            !self.processors.contains(&ApicId(u32::MAX)),
            "a local APIC has the identifier FFFFFFFFh, which means all of them",
        )?;
        require(
            self.local_apic_nmi_pin.is_none_or(|pin| pin <= 1),
            "a local APIC has the pins LINT0 and LINT1 only",
        )?;
        require(
            self.power.soft_off_type <= 7,
            "SLP_TYP has three bits, so the soft-off type is at most 7",
        )?;
        let irqs = self
            .serial_ports
            .iter()
            .chain(&self.timer)
            .map(|d| d.irq)
            .chain(self.clock.map(|c| c.irq))
            .chain(self.keyboard_controller.map(|k| k.keyboard_irq))
            .chain(self.keyboard_controller.and_then(|k| k.mouse_irq))
            .chain(self.interrupt_overrides.iter().map(|o| o.isa_irq))
            .chain([self.power.sci_irq]);
        for irq in irqs {
            require(irq <= 15, "an ISA interrupt is higher than 15")?;
        }
        require(
            self.serial_ports.len() <= 16,
            "it has more than 16 serial ports",
        )?;
        let Some(pci) = &self.pci else {
            return Ok(());
        };
        require(
            pci.interrupts.len() <= 255,
            "more than 255 PCI interrupt pins are routed",
        )?;
        for interrupt in &pci.interrupts {
            require(
                interrupt.device <= 31 && interrupt.pin <= 3,
                "a PCI interrupt names a device above 31 or a pin above INTD#",
            )?;
        }
        for window in &pci.memory_windows {
            let (start, end) = (window.start().0, window.end().0);
            require(
                0 < start && start < end && (end <= 1 << 32 || start >= 1 << 32),
                "a PCI memory window is empty, starts at zero, or crosses 4 GiB",
            )?;
        }
        for (first, last) in &pci.port_windows {
            require(
                first <= last
                    && (*last < dsdt::PCI_CONFIG_PORT_FIRST || *first > dsdt::PCI_CONFIG_PORT_LAST),
                "a PCI port window is empty or holds the ports of configuration mechanism #1",
            )?;
        }
        Ok(())
    }
}
