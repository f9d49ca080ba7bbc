//! Which devices a PC has and where they stand: the only place with addresses.

use crate::config::MachineConfig;
use crate::platform::Devices;
use ring3_arch::{ApicId, GuestPhys};
use ring3_boot::PhysRange;
use ring3_boot::acpi::{
    AcpiParameters, Hpet as AcpiHpet, IoApic as AcpiIoApic, IsaDevice, LegacyInterruptController,
    PciInterrupt, PciRoot, PowerRegisters, RealTimeClock, RegisterAddress, ResetRegister,
};
use ring3_clock::Ticks;
use ring3_devices::acpi_pm::{AcpiPm, TimerWidth, spec as acpi_pm};
use ring3_devices::cmos::{Cmos, DateTime, spec as cmos};
use ring3_devices::debug_exit::DebugExit;
use ring3_devices::fw_cfg::{Facts, FwCfg};
use ring3_devices::hpet::{Hpet, spec as hpet};
use ring3_devices::i8042::I8042;
use ring3_devices::ioapic::IoApic;
use ring3_devices::pic::Pic;
use ring3_devices::pit::{Pit, spec as pit};
use ring3_devices::post::Post;
use ring3_devices::test_device::TestDevice;
use ring3_devices::uart::{Com, Uart};
use ring3_virtio::blk::{Blk, BlkConfig, ReadOnly};
use ring3_virtio::console::{Console, ConsoleConfig, PortConfig, ResizeOrder};
use ring3_virtio::pci::{Handle, PciBus};
use ring3_virtio::rng::Rng;
use ring3_virtio::transport::VirtioPci;
use std::sync::Arc;

/// Where PCI devices' registers stand.
const PCI_WINDOW: std::ops::Range<u64> = 0xe000_0000..0xf000_0000;
/// RAM beyond this stands above 4 GiB.
const LOW_MEMORY_MAX: u64 = 3 << 30;
const IOAPIC: u32 = 0xfec0_0000;
const LOCAL_APIC: u32 = 0xfee0_0000;
/// Global system interrupts of the PCI slots, for drivers without MSI-X.
const CONSOLE_GSI: u8 = 16;
const DISK_GSI: u8 = 17;
const ENTROPY_GSI: u8 = 18;

/// Ways to the PCI devices that the machine talks to.
#[derive(Clone, Copy, Default)]
pub(crate) struct PciHandles {
    pub console: Option<Handle<VirtioPci<Console>>>,
    pub disk: Option<Handle<VirtioPci<Blk>>>,
}

/// Builds all devices.
pub(crate) fn devices(config: &MachineConfig) -> (Devices, PciHandles) {
    let mut pci = PciBus::new(PCI_WINDOW);
    let mut handles = PciHandles::default();
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&config.seed.to_le_bytes());
    let entropy = VirtioPci::new(Rng::new("virtio-rng0", seed));
    pci.plug(3, ENTROPY_GSI, entropy).expect("slot 3 is free");
    if !config.console_ports.is_empty() {
        let console = Console::new(ConsoleConfig {
            name: "virtio-console0".into(),
            ports: config
                .console_ports
                .iter()
                .map(|name| PortConfig::stream(name))
                .collect(),
            first_stream: 1,
            input_limit_bytes: 64 << 10,
            resize_order: ResizeOrder::ColumnsFirst,
        })
        .expect("the port names were checked");
        handles.console = Some(
            pci.plug(1, CONSOLE_GSI, VirtioPci::new(console))
                .expect("slot 1 is free"),
        );
    }
    if let Some(capacity_bytes) = config.disk_bytes {
        let config = BlkConfig {
            name: "virtio-blk0".into(),
            serial: "ring3".into(),
            capacity_bytes,
            latency: Ticks(0),
        };
        let empty: Arc<[u8]> = Arc::from(&[][..]);
        let disk = Blk::new(config, Box::new(ReadOnly::new(empty))).expect("the size was checked");
        handles.disk = Some(
            pci.plug(2, DISK_GSI, VirtioPci::new(disk))
                .expect("slot 2 is free"),
        );
    }
    let mut clock = Cmos::new(DateTime::new(2025, 1, 1, 0, 0, 0).expect("a valid date"));
    let low = config.memory_bytes.min(LOW_MEMORY_MAX);
    clock.set_memory_size(low, config.memory_bytes - low);
    let devices = Devices {
        ioapic: IoApic::new(),
        pic: Pic::new(),
        pci,
        uart: Uart::new(Com::Com1),
        hpet: Hpet::new(),
        others: vec![
            Box::new(Pit::new()),
            Box::new(AcpiPm::new(TimerWidth::Bits24)),
            Box::new(clock),
            Box::new(I8042::new()),
            Box::new(Post::new()),
            Box::new(DebugExit::new()),
            Box::new(FwCfg::new(Facts {
                memory_bytes: config.memory_bytes,
                processors: config.cpus as u16,
                command_line: config.command_line.clone(),
            })),
            Box::new(TestDevice::new()),
        ],
    };
    (devices, handles)
}

/// What the ACPI tables say about the machine.
pub(crate) fn acpi(config: &MachineConfig, devices: &Devices) -> AcpiParameters {
    let window = PhysRange::between(GuestPhys(PCI_WINDOW.start), GuestPhys(PCI_WINDOW.end));
    AcpiParameters {
        processors: (0..config.cpus).map(ApicId).collect(),
        local_apic_address: LOCAL_APIC,
        local_apic_nmi_pin: Some(1),
        io_apics: vec![AcpiIoApic {
            id: 0,
            address: IOAPIC,
            gsi_base: 0,
        }],
        interrupt_overrides: AcpiParameters::pc_overrides(acpi_pm::SCI_IRQ),
        legacy_interrupt_controller: Some(LegacyInterruptController {
            master_port: 0x20,
            slave_port: 0xa0,
        }),
        power: PowerRegisters {
            event_port: acpi_pm::EVENT_PORT,
            control_port: acpi_pm::CONTROL_PORT,
            timer_port: Some(acpi_pm::TIMER_PORT),
            timer_32_bit: false,
            sci_irq: acpi_pm::SCI_IRQ,
            soft_off_type: acpi_pm::SLEEP_TYPE_S5,
            power_button: true,
        },
        reset: Some(ResetRegister {
            address: RegisterAddress::Port(acpi_pm::RESET_PORT),
            value: acpi_pm::RESET_VALUE,
        }),
        timer: Some(IsaDevice {
            port: pit::BASE as u16,
            irq: ring3_devices::pit::IRQ,
        }),
        clock: Some(RealTimeClock {
            port: cmos::BASE as u16,
            irq: ring3_devices::cmos::IRQ,
            century_index: Some(cmos::index::CENTURY),
        }),
        keyboard_controller: None,
        vga: false,
        serial_ports: vec![IsaDevice {
            port: Com::Com1.base(),
            irq: Com::Com1.irq(),
        }],
        hpet: Some(AcpiHpet {
            address: hpet::DEFAULT_BASE as u32,
            capabilities: hpet::CAPABILITIES_LOW,
            minimum_tick: 128,
        }),
        pci: Some(PciRoot {
            last_bus: 0,
            memory_windows: window.into_iter().collect(),
            port_windows: vec![],
            interrupts: devices
                .pci
                .interrupt_routes()
                .into_iter()
                .map(|route| PciInterrupt {
                    device: route.device,
                    pin: route.pin,
                    gsi: route.gsi.into(),
                })
                .collect(),
        }),
    }
}
