//! A storm of register accesses, for every device's tests: whatever a guest does, the device must
//! neither panic nor answer without bound, and what it saves must be all that it is.

use ring3_arch::GuestPhys;
use ring3_bus::{Device, Dma, DmaError, Effect, Effects};
use ring3_clock::Ticks;

/// Marsaglia's xorshift64; the same numbers on every host.
pub(crate) struct Xorshift(u64);

impl Xorshift {
    pub(crate) fn new(seed: u64) -> Xorshift {
        Xorshift(seed | 1 << 63)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    /// A number as guests write them: anything, few bits, a small one, all ones.
    pub(crate) fn value(&mut self) -> u64 {
        match self.below(6) {
            0 => self.next(),
            1 => 1 << self.below(64),
            2 => self.next() & self.next() & self.next(),
            3 => self.next() & 0xff,
            4 => self.below(0x20),
            _ => !0 >> self.below(64),
        }
    }
}

/// A machine without RAM.
pub(crate) struct NoRam;

impl Dma for NoRam {
    fn read(&mut self, address: GuestPhys, into: &mut [u8]) -> Result<(), DmaError> {
        Err(DmaError {
            address,
            length: into.len(),
        })
    }

    fn write(&mut self, address: GuestPhys, from: &[u8]) -> Result<(), DmaError> {
        Err(DmaError {
            address,
            length: from.len(),
        })
    }
}

/// What the world does to a device other than through its registers: raise lines, type, acknowledge.
/// It must do the same to equal devices for equal random numbers, and answers with whatever of the
/// device should be compared.
pub(crate) type Poke<D> = fn(&mut D, &mut Xorshift, Ticks, &mut Effects) -> u64;

/// One thing that happens to a device.
#[derive(Clone, Copy, Debug)]
enum Step {
    Read {
        region: usize,
        offset: u64,
        size: u8,
    },
    Write {
        region: usize,
        offset: u64,
        size: u8,
        value: u64,
    },
    Advance,
    Poke {
        seed: u64,
    },
}

fn step<D: Device>(rng: &mut Xorshift, device: &D) -> Step {
    let regions = device.regions();
    let region = rng.below(regions.len() as u64) as usize;
    let space = regions[region].size;
    let size = loop {
        let size = 1u64 << rng.below(4);
        if size <= space {
            break size;
        }
    };
    // Most guests align; some do not.
    let mut offset = rng.below(space - size + 1);
    if rng.below(4) != 0 {
        offset &= !(size - 1);
    }
    let size = size as u8;
    match rng.below(16) {
        0..5 => Step::Read {
            region,
            offset,
            size,
        },
        5..12 => Step::Write {
            region,
            offset,
            size,
            value: rng.value(),
        },
        12..14 => Step::Advance,
        _ => Step::Poke { seed: rng.next() },
    }
}

fn apply<D: Device>(device: &mut D, step: Step, now: Ticks, poke: Poke<D>) -> (u64, Effects) {
    let mut effects = Effects::new();
    let answer = match step {
        Step::Read {
            region,
            offset,
            size,
        } => {
            let value = device.read(now, region, offset, size, &mut effects);
            assert!(
                size == 8 || value >> (8 * size) == 0,
                "{step:?} read {value:#x}"
            );
            value
        }
        Step::Write {
            region,
            offset,
            size,
            value,
        } => {
            let value = if size == 8 {
                value
            } else {
                value & ((1 << (8 * size)) - 1)
            };
            device.write(now, region, offset, size, value, &mut NoRam, &mut effects);
            0
        }
        Step::Advance => {
            device.advance(now, &mut NoRam, &mut effects);
            assert!(
                device.deadline().is_none_or(|deadline| deadline > now),
                "a machine would call advance({now:?}) for ever"
            );
            0
        }
        Step::Poke { seed } => poke(device, &mut Xorshift::new(seed), now, &mut effects),
    };
    assert!(
        effects.len() <= 64,
        "{step:?} had {} effects",
        effects.len()
    );
    for effect in &effects {
        match effect {
            Effect::Output { bytes, .. } => assert!(bytes.len() <= 64),
            Effect::Warning(text) => assert!(text.len() < 300, "{text}"),
            _ => {}
        }
    }
    (answer, effects)
}

/// Lets `accesses` random things happen to a device, and the same to a twin that is time and again
/// made anew from what the device saves: they must not be told apart. Damaged saved states must be
/// refused, or else be harmless.
pub(crate) fn weather<D: Device>(make: impl Fn() -> D, seed: u64, accesses: u32, poke: Poke<D>) {
    let mut rng = Xorshift::new(seed);
    let mut now = Ticks(0);
    let (mut device, mut twin) = (make(), make());
    for round in 0..accesses {
        if rng.below(8) == 0 {
            let size = rng.below(36);
            now = now.saturating_add(Ticks(rng.below(1 << size)));
        }
        // A machine calls a device at its deadline, most of the time in time.
        let due = device.deadline().is_some_and(|deadline| deadline <= now);
        let next = if due && rng.below(8) != 0 {
            Step::Advance
        } else {
            step(&mut rng, &device)
        };
        // Another processor's clock may be a little behind.
        let at = if rng.below(32) == 0 {
            now.saturating_sub(Ticks(rng.below(5000)))
        } else {
            now
        };
        let first = apply(&mut device, next, at, poke);
        let second = apply(&mut twin, next, at, poke);
        assert_eq!(
            first, second,
            "seed {seed}, round {round}: {next:?} at {at:?}"
        );
        assert_eq!(
            device.deadline(),
            twin.deadline(),
            "seed {seed}, round {round}: {next:?}"
        );

        if rng.below(64) == 0 {
            let saved = device.save();
            twin = make();
            twin.load(&saved).expect("a device loads what it saved");
            assert_eq!(twin.save(), saved, "seed {seed}, round {round}");
        }
        if rng.below(64) == 0 {
            damage(&make, device.save(), &mut rng, now, poke);
        }
        if rng.below(4096) == 0 {
            device.reset();
            twin.reset();
            assert_eq!(device.save(), twin.save());
        }
    }
}

fn damage<D: Device>(
    make: &impl Fn() -> D,
    mut saved: Vec<u8>,
    rng: &mut Xorshift,
    now: Ticks,
    poke: Poke<D>,
) {
    for _ in 0..1 + rng.below(4) {
        let place = rng.below(saved.len() as u64) as usize;
        match rng.below(4) {
            0 => saved[place] = rng.next() as u8,
            1 => saved[place] ^= 1 << rng.below(8),
            2 => saved.truncate(place.max(1)),
            _ => saved.insert(place, rng.next() as u8),
        }
    }
    let mut device = make();
    let before = device.save();
    match device.load(&saved) {
        Err(_) => assert_eq!(device.save(), before, "refused, yet changed"),
        Ok(()) => {
            for _ in 0..40 {
                let next = step(rng, &device);
                let later = Ticks(rng.below(1 << 33));
                apply(&mut device, next, now.saturating_add(later), poke);
            }
        }
    }
}
