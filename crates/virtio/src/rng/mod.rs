//! The virtio entropy device.
//!
//! Source: VIRTIO 1.2, "Entropy Device". The bytes come from ChaCha with eight rounds, started from
//! a seed that the machine hands in: the same machine gives the same bytes. This is not entropy
//! that anything outside the machine may rely on.

#[cfg(test)]
mod tests;

use crate::saved::{decode, encode};
use crate::transport::{Io, VirtioDevice};
use crate::virtqueue::RingError;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};
use ring3_bus::LoadError;

/// "Device ID".
pub const ID: u8 = 4;
/// Not one of the defined classes. PCI Local Bus Specification 3.0, "Class Codes".
const CLASS: [u8; 3] = [0xff, 0x00, 0x00];
/// The only queue.
const QUEUE: u16 = 0;
/// Its entries.
const QUEUE_SIZE: u16 = 8;
/// The most bytes for one request. "Device Requirements: Device Operation": fewer than asked are
/// allowed, none are not.
const FILL_MAX: u64 = 4096;

const VERSION: u8 = 1;

/// The device; behind a PCI function it is a `VirtioPci<Rng>`.
#[derive(Debug)]
pub struct Rng {
    // configuration
    name: String,
    seed: [u8; 32],
    // state
    generator: ChaCha8Rng,
}

impl Rng {
    /// A generator with this seed; `name` is the device's name, unique in the machine.
    pub fn new(name: &str, seed: [u8; 32]) -> Rng {
        Rng {
            name: name.to_owned(),
            seed,
            generator: ChaCha8Rng::from_seed(seed),
        }
    }
}

impl VirtioDevice for Rng {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn id(&self) -> u8 {
        ID
    }

    fn class(&self) -> [u8; 3] {
        CLASS
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![QUEUE_SIZE]
    }

    fn config(&self) -> Vec<u8> {
        Vec::new()
    }

    fn notified(&mut self, _queue: u16, io: &mut Io<'_>) -> Result<(), RingError> {
        while let Some(chain) = io.pop(QUEUE)? {
            let mut bytes = vec![0; chain.writable.length().min(FILL_MAX) as usize];
            self.generator.fill_bytes(&mut bytes);
            chain.writable.write(io.dma, 0, &bytes)?;
            io.complete(QUEUE, chain.head, bytes.len() as u32)?;
        }
        Ok(())
    }

    fn driver_reset(&mut self) {}

    fn reset(&mut self) {
        let Self {
            name: _,
            seed,
            generator,
        } = self;
        *generator = ChaCha8Rng::from_seed(*seed);
    }

    fn save(&self) -> Vec<u8> {
        let generator = &self.generator;
        encode(VERSION, &(generator.get_seed(), generator.get_word_pos()))
    }

    fn load(&mut self, saved: &[u8]) -> Result<(), LoadError> {
        let (seed, position): ([u8; 32], u128) = decode(&self.name, VERSION, saved)?;
        let mut generator = ChaCha8Rng::from_seed(seed);
        generator.set_word_pos(position);
        self.generator = generator;
        Ok(())
    }
}
