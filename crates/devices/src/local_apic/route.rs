//! Who gets an interrupt message: the rules between a sender and the local APICs.
//!
//! A message is what an inter-processor interrupt and a message-signalled interrupt have in common.
//! Everything here is a pure function of the message and of the APICs' registers, so that a machine
//! can decide at one time who will receive a message and hand it over at another.
//!
//! Sources: Intel SDM Vol. 3, "Determining IPI Destination", "Interrupt Command Register (ICR)",
//! "Message Address Register Format", "Message Data Register Format". Not modelled: bus arbitration
//! (nobody loses time to it), interrupt remapping, the extended destination field in bits 11:4 of an
//! MSI's address.

use super::LocalApic;
use super::spec::{FIRST_LEGAL_VECTOR, icr};
use ring3_arch::{ApicId, Vector};
use ring3_bus::{Effect, Effects};

/// What a message asks of those who receive it. The numbers are the encodings of the delivery mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The vector, at every destination.
    Fixed = 0,
    /// The vector, at that destination which runs at the lowest priority.
    LowestPriority = 1,
    /// A system-management interrupt. This machine has none: dropped with a warning.
    Smi = 2,
    /// A non-maskable interrupt; the vector is ignored.
    Nmi = 4,
    /// INIT.
    Init = 5,
    /// A start-up IPI; the vector is the page where to start.
    Startup = 6,
    /// As if from an 8259: the processor asks that one for the vector.
    ExtInt = 7,
}

impl Delivery {
    /// Decodes the delivery mode as the LVT, the ICR, redirection entries and message data have it.
    /// `None` for the one encoding (3) that is reserved everywhere.
    pub fn from_bits(bits: u32) -> Option<Delivery> {
        Some(match bits & 7 {
            0 => Delivery::Fixed,
            1 => Delivery::LowestPriority,
            2 => Delivery::Smi,
            4 => Delivery::Nmi,
            5 => Delivery::Init,
            6 => Delivery::Startup,
            7 => Delivery::ExtInt,
            _ => return None,
        })
    }
}

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The sender alone.
    Itself,
    /// Every local APIC.
    Everyone,
    /// Every local APIC but the sender's.
    EveryoneElse,
    /// Those that answer to a destination, see [`LocalApic::matches`].
    Matching {
        /// The identifier or the set.
        destination: u32,
        /// Whether it is a logical destination.
        logical: bool,
        /// Whether it is 32 bits wide (x2APIC form) or 8.
        x2apic: bool,
    },
}

/// An interrupt message on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// The local APIC that sent it; `None` for an MSI.
    pub source: Option<ApicId>,
    /// Whom it is for.
    pub audience: Audience,
    /// What it asks.
    pub delivery: Delivery,
    /// The vector; without meaning for NMI, INIT, SMI and ExtINT.
    pub vector: Vector,
    /// Whether the receiver must broadcast the end of this interrupt.
    pub level_triggered: bool,
}

/// Why something that looks like a message is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unroutable {
    /// The address is not 0xFEEx_xxxx.
    NotAnInterruptAddress,
    /// A delivery mode that is reserved in this place.
    ReservedDeliveryMode,
    /// A shorthand together with a delivery mode that it does not allow. SDM, "Valid Combinations
    /// for the Pentium 4 and Intel Xeon Processors' Local xAPIC Interrupt Command Register".
    ShorthandForbidsMode,
    /// The de-assertion of a level, to which processors since the Pentium 4 do not react.
    Deassertion,
}

impl std::fmt::Display for Unroutable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Unroutable::NotAnInterruptAddress => "the address is not 0xFEEx_xxxx",
            Unroutable::ReservedDeliveryMode => "the delivery mode is reserved",
            Unroutable::ShorthandForbidsMode => "the shorthand does not go with the delivery mode",
            Unroutable::Deassertion => "the de-assertion of a level means nothing",
        })
    }
}

impl Message {
    /// The message that the ICR command `command` of the local APIC `source` sends; the arguments
    /// are those of [`Effect::Ipi`].
    ///
    /// # Errors
    /// If a processor would send nothing.
    pub fn from_ipi(
        source: ApicId,
        command: u32,
        destination: u32,
        x2apic: bool,
    ) -> Result<Message, Unroutable> {
        let delivery = match Delivery::from_bits(command >> icr::DELIVERY_MODE_SHIFT) {
            None | Some(Delivery::ExtInt) => return Err(Unroutable::ReservedDeliveryMode),
            Some(delivery) => delivery,
        };
        // Processors since the Pentium 4 do not react to the de-assertion of INIT. For every other
        // delivery mode the level and the trigger mode are ignored.
        let deassert = command & icr::LEVEL != 0 && command & icr::ASSERT == 0;
        if delivery == Delivery::Init && deassert {
            return Err(Unroutable::Deassertion);
        }
        let audience = match (command & icr::SHORTHAND) >> icr::SHORTHAND_SHIFT {
            0 => Audience::Matching {
                destination,
                logical: command & icr::LOGICAL != 0,
                x2apic,
            },
            1 => Audience::Itself,
            2 => Audience::Everyone,
            _ => Audience::EveryoneElse,
        };
        if matches!(audience, Audience::Itself | Audience::Everyone) && delivery != Delivery::Fixed
        {
            return Err(Unroutable::ShorthandForbidsMode);
        }
        Ok(Message {
            source: Some(source),
            audience,
            delivery,
            vector: Vector((command & icr::VECTOR) as u8),
            level_triggered: false,
        })
    }

    /// The message that a write of `data` to `address` is.
    ///
    /// # Errors
    /// If no interrupt comes of it.
    pub fn from_msi(address: u64, data: u32) -> Result<Message, Unroutable> {
        if address >> 20 != 0xfee {
            return Err(Unroutable::NotAnInterruptAddress);
        }
        let redirected = address & (1 << 3) != 0;
        let delivery = match Delivery::from_bits(data >> 8) {
            None | Some(Delivery::Startup) => return Err(Unroutable::ReservedDeliveryMode),
            // The redirection hint asks for the one with the lowest priority.
            Some(Delivery::Fixed) if redirected => Delivery::LowestPriority,
            Some(delivery) => delivery,
        };
        let level = data & (1 << 15) != 0;
        if level && data & (1 << 14) == 0 {
            return Err(Unroutable::Deassertion);
        }
        Ok(Message {
            source: None,
            audience: Audience::Matching {
                destination: (address >> 12) as u32 & 0xff,
                logical: address & (1 << 2) != 0,
                x2apic: false,
            },
            delivery,
            vector: Vector(data as u8),
            // Only these two modes can be level-triggered; the others are edges whatever is written.
            level_triggered: level
                && matches!(delivery, Delivery::Fixed | Delivery::LowestPriority),
        })
    }

    /// Whether `apic` is among those the message is for.
    pub fn reaches(&self, apic: &LocalApic) -> bool {
        match self.audience {
            Audience::Itself => Some(apic.apic_id()) == self.source,
            Audience::Everyone => apic.is_enabled(),
            Audience::EveryoneElse => apic.is_enabled() && Some(apic.apic_id()) != self.source,
            Audience::Matching {
                destination,
                logical,
                x2apic,
            } => apic.matches(destination, logical, x2apic),
        }
    }

    /// The indices in `apics` of those that receive the message now, in ascending order.
    ///
    /// Where one of several is to be chosen, it is the one with the lowest processor priority that
    /// is enabled by software, and of equals the one with the lowest identifier.
    pub fn recipients(&self, apics: &[LocalApic]) -> impl Iterator<Item = usize> {
        let chosen = (self.delivery == Delivery::LowestPriority).then(|| {
            let takers = apics
                .iter()
                .enumerate()
                .filter(|(_, apic)| self.reaches(apic));
            takers
                .min_by_key(|(_, apic)| {
                    (
                        !apic.is_software_enabled(),
                        apic.processor_priority(),
                        apic.apic_id(),
                    )
                })
                .map(|(index, _)| index)
        });
        apics.iter().enumerate().filter_map(move |(index, apic)| {
            let receives = match chosen {
                Some(chosen) => chosen == Some(index),
                None => self.reaches(apic),
            };
            receives.then_some(index)
        })
    }

    /// Hands the message to everyone in `apics` whom it is for, at once. Returns how many received
    /// it.
    pub fn deliver(&self, apics: &mut [LocalApic], effects: &mut Effects) -> usize {
        let recipients: Vec<usize> = self.recipients(apics).collect();
        for &index in &recipients {
            apics[index].receive(self, effects);
        }
        recipients.len()
    }

    /// Whether the vector is one that a local APIC refuses to send or to accept.
    pub fn has_illegal_vector(&self) -> bool {
        matches!(self.delivery, Delivery::Fixed | Delivery::LowestPriority)
            && self.vector.0 < FIRST_LEGAL_VECTOR
    }
}

impl LocalApic {
    /// Takes a message that is for this APIC.
    pub fn receive(&mut self, message: &Message, effects: &mut Effects) {
        match message.delivery {
            Delivery::Fixed | Delivery::LowestPriority => {
                self.accept(message.vector, message.level_triggered);
            }
            Delivery::Nmi => self.latch_nmi(),
            Delivery::Init => self.latch_init(),
            Delivery::Startup => self.latch_sipi(message.vector.0),
            Delivery::ExtInt => self.latch_extint(),
            Delivery::Smi => effects.push(Effect::Warning(format!(
                "local APIC {}: a system-management interrupt was sent; this machine has none",
                self.apic_id().0
            ))),
        }
    }
}
