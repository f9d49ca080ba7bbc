//! For tests: a guest that does anything at all to a device.

use crate::driver::{Descriptor, Dice, Driver, Guest, Interrupts, Memory, NEXT, WRITE};
use crate::pci::{DEFAULT_WINDOW, Handle, PciBus};
use crate::transport::{VirtioDevice, VirtioPci};
use ring3_bus::{Device, Effect};
use ring3_clock::Ticks;

/// Where the device stands.
pub(crate) const HOSTILE_DEVICE: u8 = 7;
const GSI: u8 = 10;

/// Accesses everywhere in a device's BARs and configuration space, rings that are right and rings
/// that are rubbish, interleaved with what `outside` does. Returns a guest in which the device
/// has been through all that, with fresh memory, to see whether it still works.
///
/// What could go wrong is a panic (also by overflow, in these builds), work without bound, or a
/// state that cannot be restored.
pub(crate) fn torment<T: VirtioDevice>(
    seed: u64,
    accesses: u64,
    make: impl Fn() -> VirtioPci<T>,
    mut outside: impl FnMut(&mut Guest, Handle<VirtioPci<T>>, &mut Dice),
) -> Guest {
    let bus = || {
        let mut bus = PciBus::new(DEFAULT_WINDOW);
        let handle = bus.plug(HOSTILE_DEVICE, GSI, make()).unwrap();
        (bus, handle)
    };
    let (first, handle) = bus();
    let mut dice = Dice(seed);
    let mut guest = Guest::new(first);
    let mut driver = revive(&mut guest, &mut dice);
    let interesting = [
        0u64,
        1,
        2,
        3,
        4,
        7,
        8,
        15,
        16,
        64,
        0xff,
        0xffff,
        0xffff_ffff,
        u64::MAX,
    ];
    let mut stopped = 0;
    let mut served = 0;
    for access in 0..accesses {
        let size = dice.pick(&[1, 2, 4, 8]);
        let value = match dice.below(4) {
            0 => dice.next(),
            1 => dice.below(1 << 20) & !15,
            _ => dice.pick(&interesting),
        };
        match dice.below(20) {
            0 | 1 => {
                let offset = dice.below(0x40);
                guest.write(driver.common + offset, size, value);
            }
            2 | 3 => {
                let offset = dice.below(0x6000);
                guest.write(driver.common + offset, size, value);
            }
            4 | 5 => {
                let offset = dice.below(0x6000);
                guest.read(driver.common + offset, size);
            }
            6 => {
                let register = dice.below(256) as u8;
                let size = size.min(4);
                if register % 4 + size <= 4 && !(0x10..0x28).contains(&register) {
                    guest.config_write(HOSTILE_DEVICE, register, size, value as u32);
                    guest.config_read(HOSTILE_DEVICE, register, size);
                }
            }
            7 => outside(&mut guest, handle, &mut dice),
            8 => {
                let later = guest.now.0 + dice.below(3000);
                guest.run_to(Ticks(later));
            }
            9..14 => scribble(&mut guest, &mut driver, &mut dice),
            _ => {
                let queue = dice.below(driver.rings.len() as u64 + 1);
                guest.write(driver.notify + 4 * queue, 2, queue);
            }
        }
        let effects = guest.take_effects();
        assert!(
            effects.len() < 2000,
            "{} effects of one access",
            effects.len()
        );
        served += effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Message { .. } | Effect::Line { .. }))
            .count();
        if dice.one_in(500) {
            let saved = guest.bus.save();
            let (mut other, _) = bus();
            other.load(&saved).expect("its own state");
            assert_eq!(other.save(), saved);
        }
        // Most of the time the device would be dead; bring it back.
        let broken = driver.status(&mut guest) & 64 != 0;
        if broken || access % 400 == 0 {
            stopped += u32::from(broken);
            driver = revive(&mut guest, &mut dice);
        }
    }
    assert!(stopped > 100, "the guest was too tame: {stopped} stops");
    assert!(served > 100, "the guest was too wild: {served} interrupts");
    guest.memory = Memory::new(1 << 20);
    guest
}

/// A driver that starts anew with fresh memory.
fn revive(guest: &mut Guest, dice: &mut Dice) -> Driver {
    guest.memory = Memory::new(1 << 20);
    guest.config_write(HOSTILE_DEVICE, 0x04, 2, 0x0006);
    let interrupts = dice.pick(&[Interrupts::Msix, Interrupts::Msix, Interrupts::Intx]);
    let features = match dice.below(3) {
        0 => dice.next(),
        _ => !0,
    };
    Driver::start(guest, HOSTILE_DEVICE, features, interrupts, 8)
}

/// Puts something into a ring, mostly plausible.
fn scribble(guest: &mut Guest, driver: &mut Driver, dice: &mut Dice) {
    let queue = dice.below(driver.rings.len() as u64) as usize;
    let ring = &mut driver.rings[queue];
    let memory = &mut guest.memory;
    for index in 0..dice.below(u64::from(ring.size)) as u16 {
        let address = match dice.below(16) {
            0 => dice.next(),
            1 => ring.available,
            2 => ring.used,
            3 => ring.descriptors,
            _ => 0x8_0000 + dice.below(1 << 18),
        };
        // What a request might begin with.
        if dice.one_in(2) && address < 0xf_0000 {
            for byte in 0..16 {
                let value = dice.pick(&[0, 0, 0, 0, 1, 2, 3, 4, 6, 8, 255]);
                memory.bytes[address as usize + byte] = value;
            }
        }
        let descriptor = Descriptor {
            address,
            length: match dice.below(8) {
                0 => dice.next() as u32,
                1 | 2 => 16 * dice.below(64) as u32,
                3 => 512 * dice.below(300) as u32,
                _ => dice.pick(&[1, 8, 16, 20, 512, 513]),
            },
            flags: match dice.below(8) {
                0 => dice.next() as u16,
                1 => 4,
                2 | 3 => WRITE,
                4 | 5 => NEXT | WRITE,
                _ => NEXT,
            },
            next: match dice.below(20) {
                0 => dice.next() as u16,
                _ => (index + 1) % ring.size,
            },
        };
        ring.put_descriptor(memory, index, descriptor);
    }
    for _ in 0..dice.below(4) {
        let head = dice.below(8) as u16;
        ring.offer(memory, head);
    }
    if dice.one_in(50) {
        memory.put16(ring.available + 2, dice.next() as u16);
    }
}
