//! The devices of the chipset: any accesses to their registers, at any times, with saving in between.

use crate::input::{Input, SmallRam};
use ring3_arch::ApicId;
use ring3_bus::{Device, Effects};
use ring3_clock::Ticks;
use ring3_devices::acpi_pm::{AcpiPm, TimerWidth};
use ring3_devices::cmos::{Cmos, DateTime};
use ring3_devices::debug_exit::DebugExit;
use ring3_devices::fw_cfg::{Facts, FwCfg};
use ring3_devices::hpet::Hpet;
use ring3_devices::i8042::I8042;
use ring3_devices::ioapic::IoApic;
use ring3_devices::local_apic::LocalApic;
use ring3_devices::pic::Pic;
use ring3_devices::pit::Pit;
use ring3_devices::post::Post;
use ring3_devices::test_device::TestDevice;
use ring3_devices::uart::{Com, Uart};

fn devices() -> Vec<Box<dyn Device>> {
    let date = DateTime::new(2025, 1, 1, 0, 0, 0).expect("a valid date");
    vec![
        Box::new(AcpiPm::new(TimerWidth::Bits24)),
        Box::new(Cmos::new(date)),
        Box::new(DebugExit::new()),
        Box::new(FwCfg::new(Facts::default())),
        Box::new(Hpet::new()),
        Box::new(I8042::new()),
        Box::new(IoApic::new()),
        Box::new(Pic::new()),
        Box::new(Pit::new()),
        Box::new(Post::new()),
        Box::new(TestDevice::new()),
        Box::new(Uart::new(Com::Com1)),
    ]
}

/// More effects than this of one access are without bound.
const EFFECTS_MAX: usize = 1000;

/// The first byte chooses the device (the local APIC is the last one), each step is a few bytes.
pub(crate) fn enter(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut devices = devices();
    let which = usize::from(input.byte()) % (devices.len() + 1);
    if which == devices.len() {
        return local_apic(&mut input);
    }
    let mut device = devices.swap_remove(which);
    let mut ram = SmallRam(vec![0; 4096]);
    let mut now = Ticks(0);
    let mut effects = Effects::new();
    while !input.is_empty() {
        let regions = device.regions();
        let step = input.byte();
        let region = usize::from(step >> 3) % regions.len();
        let place = regions[region];
        let size = input.size().min(place.size.next_power_of_two() as u8 | 1);
        let size = u64::from(size).min(place.size);
        let size = 1 << size.ilog2();
        let offset = u64::from(input.word()) % (place.size - (size - 1));
        match step & 7 {
            0..3 => {
                let value = device.read(now, region, offset, size as u8, &mut effects);
                assert!(
                    size == 8 || value >> (8 * size) == 0,
                    "bits above the access"
                );
            }
            3..6 => {
                let value = input.value() & (u64::MAX >> (64 - 8 * size));
                device.write(
                    now,
                    region,
                    offset,
                    size as u8,
                    value,
                    &mut ram,
                    &mut effects,
                );
            }
            6 => {
                // Now and then time stands still, or a deadline passes long ago.
                now = Ticks(now.0.saturating_add(input.value()).min(1 << 60));
                if device.deadline().is_some_and(|due| due <= now) {
                    device.advance(now, &mut ram, &mut effects);
                }
            }
            _ => {
                let saved = device.save();
                device.reset();
                device.load(&saved).expect("its own state is right");
                assert_eq!(device.save(), saved, "what is loaded is what was saved");
                let mut damaged = saved.clone();
                let at = usize::from(input.word()) % saved.len();
                damaged[at] ^= input.byte();
                if device.load(&damaged).is_err() {
                    device.load(&saved).expect("its own state is right");
                }
            }
        }
        assert!(
            effects.len() <= EFFECTS_MAX,
            "{} effects of one step",
            effects.len()
        );
        effects.clear();
    }
}

fn local_apic(input: &mut Input<'_>) {
    let mut apic = LocalApic::new(ApicId(0), true);
    let mut now = Ticks(0);
    let mut effects = Effects::new();
    while !input.is_empty() {
        let step = input.byte();
        let offset = u64::from(input.word()) % 0x1000;
        let number = 0x800 + u32::from(input.byte());
        match step & 7 {
            0 => drop(apic.read_mmio(now, offset & !3, 4, &mut effects)),
            1 | 2 => {
                let value = input.value() & 0xffff_ffff;
                apic.write_mmio(now, offset & !3, 4, value, &mut effects);
            }
            3 => drop(apic.read_msr(now, number, &mut effects)),
            4 => {
                // The base register and the deadline, too.
                let number = match step >> 3 {
                    0 => 0x1b,
                    1 => 0x6e0,
                    _ => number,
                };
                let value = input.value();
                let _ = apic.write_msr(now, number, value, &mut effects);
            }
            5 => {
                now = Ticks(now.0.saturating_add(input.value()).min(1 << 60));
                if apic.deadline().is_some_and(|due| due <= now) {
                    apic.advance(now);
                }
            }
            6 => {
                apic.set_lint0(step & 8 != 0);
                if apic.signals().interrupt {
                    apic.acknowledge();
                }
            }
            _ => {
                let saved = apic.save();
                apic.load(&saved).expect("its own state is right");
                let mut damaged = saved.clone();
                let at = usize::from(input.word()) % saved.len();
                damaged[at] ^= input.byte();
                if apic.load(&damaged).is_err() {
                    apic.load(&saved).expect("its own state is right");
                }
            }
        }
        assert!(effects.len() <= EFFECTS_MAX);
        effects.clear();
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    (0..13)
        .map(|which| {
            let mut bytes = vec![which];
            // Reads and writes of every register at first, then some time, then saving.
            for offset in 0..32u8 {
                bytes.extend([3, 0, offset, 0, 0xff - offset, 0, 0, offset, 0]);
            }
            bytes.extend([6, 0, 0, 0, 0x60, 7, 0, 0, 0, 1, 0, 1]);
            bytes
        })
        .collect()
}
