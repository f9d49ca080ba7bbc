//! The virtio network device: an Ethernet card on a cable whose other end is outside.
//!
//! Source: VIRTIO 1.2, "Network Device". Modelled: one receive and one transmit queue, the address,
//! the link state. Not modelled: offloads (checksum, segmentation, merged receive buffers), several
//! queues, the control queue; drivers do without them.
//!
//! A frame that the guest sends comes out as one [`Effect::Output`] during the notification, from
//! destination address to payload, without frame check sequence. What is at the other end is not
//! this device's business.

pub mod spec;
mod state;
#[cfg(test)]
mod tests;

use crate::transport::{Io, VirtioDevice, VirtioPci};
use crate::virtqueue::RingError;
use ring3_bus::{Dma, Effect, Effects, LoadError};
use ring3_clock::Ticks;
use spec::{FRAME_MAX, config, feature, header, queue};
use std::collections::VecDeque;

/// Entries of each queue.
const QUEUE_SIZE: u16 = 256;
/// How many frames wait for the guest to give buffers for them.
pub const RECEIVE_FRAMES_MAX: usize = 256;

/// A network device as the machine's description wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetConfig {
    /// The device's name, unique in the machine.
    pub name: String,
    /// Its address.
    pub mac: [u8; 6],
    /// [`Effect::Output`] of a frame has this as its stream.
    pub stream: u32,
}

/// The device; behind a PCI function it is a `VirtioPci<Net>`, which has the calls that reach into
/// the guest.
#[derive(Debug)]
pub struct Net {
    // configuration
    config: NetConfig,
    // state
    link_up: bool,
    waiting: VecDeque<Vec<u8>>,
}

impl Net {
    /// A card with its cable plugged in.
    pub fn new(config: NetConfig) -> Net {
        Net {
            config,
            link_up: true,
            waiting: VecDeque::new(),
        }
    }

    /// Whether the link is up.
    pub fn link_up(&self) -> bool {
        self.link_up
    }

    /// How many frames wait for the guest.
    pub fn waiting_frames(&self) -> usize {
        self.waiting.len()
    }

    /// Hands waiting frames to the guest.
    fn pump(&mut self, io: &mut Io<'_>) -> Result<(), RingError> {
        while !self.waiting.is_empty() {
            let Some(chain) = io.pop(queue::RECEIVE)? else {
                break;
            };
            let Some(frame) = self.waiting.pop_front() else {
                break;
            };
            // "Device Requirements: Processing of Incoming Packets": num_buffers is 1 without
            // merged buffers, everything else is zero without offloads.
            let mut packet = vec![0; header::SIZE];
            packet[header::NUM_BUFFERS] = 1;
            packet.extend(frame);
            if chain.writable.length() < packet.len() as u64 {
                // "Driver Requirements: Setting Up Receive Buffers": at least 1526 bytes.
                return Err(RingError::Protocol(format!(
                    "a frame of {} bytes with its header meets a buffer of {}",
                    packet.len(),
                    chain.writable.length()
                )));
            }
            chain.writable.write(io.dma, 0, &packet)?;
            io.complete(queue::RECEIVE, chain.head, packet.len() as u32)?;
        }
        Ok(())
    }

    fn transmit(&mut self, io: &mut Io<'_>) -> Result<(), RingError> {
        while let Some(chain) = io.pop(queue::TRANSMIT)? {
            let length = chain.readable.length();
            let fits = length <= (header::SIZE + FRAME_MAX) as u64;
            let mut packet = vec![0; if fits { length as usize } else { 0 }];
            chain.readable.read(io.dma, 0, &mut packet)?;
            io.complete(queue::TRANSMIT, chain.head, 0)?;
            // "Device Operation": flags and gso_type ask for offloads, which were not offered.
            let plain = packet.len() > header::SIZE
                && packet[header::FLAGS] == 0
                && packet[header::GSO_TYPE] == 0;
            if !plain {
                io.effects.push(Effect::Warning(format!(
                    "{}: {length} bytes are no frame that can be sent, or want an offload",
                    self.config.name
                )));
            } else if self.link_up {
                io.effects.push(Effect::Output {
                    stream: self.config.stream,
                    bytes: packet.split_off(header::SIZE),
                });
            }
        }
        Ok(())
    }
}

/// The calls by which the outside reaches the guest. `now` is the virtual time at which they
/// happen; use them through [`crate::pci::PciBus::enter`], so that interrupt lines follow.
impl VirtioPci<Net> {
    /// A frame arrives, from destination address to payload. Returns whether it was taken; it is
    /// dropped, as on any Ethernet, if nobody drives the device, the link is down, too many frames
    /// wait already, or it is longer than 1514 bytes.
    pub fn receive(
        &mut self,
        now: Ticks,
        frame: &[u8],
        dma: &mut dyn Dma,
        effects: &mut Effects,
    ) -> bool {
        let net = self.device();
        let taken = self.driver_ready()
            && net.link_up
            && net.waiting.len() < RECEIVE_FRAMES_MAX
            && frame.len() <= FRAME_MAX;
        if taken {
            self.device_mut().waiting.push_back(frame.to_vec());
            self.serve(now, dma, effects, Net::pump);
        }
        taken
    }

    /// Plugs the cable in or out.
    pub fn set_link(&mut self, now: Ticks, up: bool, dma: &mut dyn Dma, effects: &mut Effects) {
        if self.device().link_up == up {
            return;
        }
        self.device_mut().link_up = up;
        self.serve(now, dma, effects, |_, io| {
            if io.negotiated(feature::STATUS) {
                io.config_changed();
            }
            Ok(())
        });
    }
}

impl VirtioDevice for Net {
    fn name(&self) -> String {
        self.config.name.clone()
    }

    fn id(&self) -> u8 {
        spec::ID
    }

    fn class(&self) -> [u8; 3] {
        spec::CLASS
    }

    fn features(&self) -> u64 {
        feature::MAC | feature::STATUS
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; 2]
    }

    fn config(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(config::SIZE);
        bytes.extend(self.config.mac);
        let status = if self.link_up { config::LINK_UP } else { 0 };
        bytes.extend(status.to_le_bytes());
        bytes
    }

    fn notified(&mut self, notified: u16, io: &mut Io<'_>) -> Result<(), RingError> {
        if notified == queue::TRANSMIT {
            self.transmit(io)?;
        }
        self.pump(io)
    }

    fn driver_reset(&mut self) {
        let Self {
            config: _,
            link_up: _,
            waiting,
        } = self;
        waiting.clear();
    }

    fn reset(&mut self) {
        let Self {
            config: _,
            link_up,
            waiting,
        } = self;
        *link_up = true;
        waiting.clear();
    }

    fn save(&self) -> Vec<u8> {
        self.save_state()
    }

    fn load(&mut self, saved: &[u8]) -> Result<(), LoadError> {
        self.load_state(saved)
    }
}
