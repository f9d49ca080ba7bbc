use super::*;
use crate::local_apic::route::{Audience, Delivery, Message};
use crate::storm::{self, NoRam, Xorshift};

fn write(ioapic: &mut IoApic, index: u8, value: u32) -> Effects {
    let mut effects = vec![];
    let select = u64::from(index);
    ioapic.write(
        Ticks(0),
        0,
        spec::SELECT,
        4,
        select,
        &mut NoRam,
        &mut effects,
    );
    let value = u64::from(value);
    ioapic.write(
        Ticks(0),
        0,
        spec::WINDOW,
        4,
        value,
        &mut NoRam,
        &mut effects,
    );
    effects
}

fn read(ioapic: &mut IoApic, index: u8) -> u32 {
    let mut effects = vec![];
    let select = u64::from(index);
    ioapic.write(
        Ticks(0),
        0,
        spec::SELECT,
        4,
        select,
        &mut NoRam,
        &mut effects,
    );
    ioapic.read(Ticks(0), 0, spec::WINDOW, 4, &mut effects) as u32
}

fn set_line(ioapic: &mut IoApic, pin: u8, asserted: bool) -> Effects {
    let mut effects = vec![];
    ioapic.set_line(pin, asserted, &mut effects);
    effects
}

fn eoi(ioapic: &mut IoApic, vector: u8) -> Effects {
    let mut effects = vec![];
    ioapic.end_of_interrupt(Vector(vector), &mut effects);
    effects
}

/// An IOAPIC whose entry for `pin` has this low half.
fn programmed(pin: u8, low: u32) -> IoApic {
    let mut ioapic = IoApic::new();
    write(&mut ioapic, spec::REDIRECTION + 2 * pin, low);
    ioapic
}

const LEVEL: u32 = entry::LEVEL as u32;
const MASKED: u32 = entry::MASKED as u32;
const REMOTE_IRR: u32 = entry::REMOTE_IRR as u32;

#[test]
fn at_reset_every_entry_is_masked() {
    let mut ioapic = IoApic::new();
    assert_eq!(read(&mut ioapic, 0), 0);
    assert_eq!(read(&mut ioapic, 1), 0x0017_0020);
    for pin in 0..24 {
        assert_eq!(read(&mut ioapic, 0x10 + 2 * pin), 0x1_0000);
        assert_eq!(read(&mut ioapic, 0x11 + 2 * pin), 0);
    }
    assert_eq!(read(&mut ioapic, 0x40), 0);
}

#[test]
fn read_only_bits_of_an_entry_stay() {
    let mut ioapic = IoApic::new();
    write(&mut ioapic, 0x10, !0);
    write(&mut ioapic, 0x11, !0);
    assert_eq!(read(&mut ioapic, 0x10), 0x1_afff);
    assert_eq!(read(&mut ioapic, 0x11), 0xff00_0000);
    write(&mut ioapic, 0, !0);
    assert_eq!(read(&mut ioapic, 0), 0x0f00_0000);
    assert_eq!(
        read(&mut ioapic, 2),
        0x0f00_0000,
        "IOAPICARB is loaded with the identifier"
    );
    write(&mut ioapic, 1, 0);
    assert_eq!(read(&mut ioapic, 1), 0x0017_0020);
}

#[test]
fn an_entry_becomes_a_message_with_the_same_fields() {
    let mut ioapic = IoApic::new();
    write(&mut ioapic, 0x11 + 2 * 5, 0xa500_0000);
    write(&mut ioapic, 0x10 + 2 * 5, 0x0000_8931);
    let effects = set_line(&mut ioapic, 5, true);
    let [Effect::Message { address, data }] = effects[..] else {
        panic!("{effects:?}");
    };
    let message = Message::from_msi(address, data).unwrap();
    assert_eq!(
        message,
        Message {
            source: None,
            audience: Audience::Matching {
                destination: 0xa5,
                logical: true,
                x2apic: false
            },
            delivery: Delivery::LowestPriority,
            vector: Vector(0x31),
            level_triggered: true,
        }
    );
}

#[test]
fn an_edge_interrupts_once_and_a_masked_edge_is_not_held_pending() {
    let mut ioapic = programmed(4, 0x31);
    assert_eq!(set_line(&mut ioapic, 4, true).len(), 1);
    assert!(set_line(&mut ioapic, 4, true).is_empty());
    assert!(set_line(&mut ioapic, 4, false).is_empty());
    assert_eq!(set_line(&mut ioapic, 4, true).len(), 1);
    assert!(eoi(&mut ioapic, 0x31).is_empty());

    let mut ioapic = programmed(4, MASKED | 0x31);
    assert!(set_line(&mut ioapic, 4, true).is_empty());
    assert!(
        write(&mut ioapic, 0x18, 0x31).is_empty(),
        "unmasked too late"
    );
}

#[test]
fn a_level_sets_remote_irr_and_interrupts_again_after_eoi_while_it_stands() {
    let mut ioapic = programmed(9, LEVEL | 0x31);
    assert_eq!(set_line(&mut ioapic, 9, true).len(), 1);
    assert_eq!(read(&mut ioapic, 0x22), LEVEL | REMOTE_IRR | 0x31);
    // While remote IRR is set, nothing more is sent.
    assert!(set_line(&mut ioapic, 9, false).is_empty());
    assert!(set_line(&mut ioapic, 9, true).is_empty());
    assert!(eoi(&mut ioapic, 0x32).is_empty(), "another vector");
    assert_eq!(eoi(&mut ioapic, 0x31).len(), 1);
    assert_eq!(read(&mut ioapic, 0x22) & REMOTE_IRR, REMOTE_IRR);
    set_line(&mut ioapic, 9, false);
    assert!(eoi(&mut ioapic, 0x31).is_empty());
    assert_eq!(read(&mut ioapic, 0x22), LEVEL | 0x31);
}

#[test]
fn a_level_that_stands_is_delivered_when_unmasked() {
    let mut ioapic = programmed(9, MASKED | LEVEL | 0x31);
    assert!(set_line(&mut ioapic, 9, true).is_empty());
    assert_eq!(write(&mut ioapic, 0x22, LEVEL | 0x31).len(), 1);
    // Masking it while it is in service does not lose the remote IRR, nor does unmasking repeat it.
    assert!(write(&mut ioapic, 0x22, MASKED | LEVEL | 0x31).is_empty());
    assert!(write(&mut ioapic, 0x22, LEVEL | 0x31).is_empty());
    // Ended while masked: delivered again when unmasked.
    write(&mut ioapic, 0x22, MASKED | LEVEL | 0x31);
    assert!(eoi(&mut ioapic, 0x31).is_empty());
    assert_eq!(write(&mut ioapic, 0x22, LEVEL | 0x31).len(), 1);
}

#[test]
fn an_eoi_ends_every_entry_with_its_vector() {
    let mut ioapic = programmed(9, LEVEL | 0x31);
    write(&mut ioapic, 0x10 + 2 * 20, LEVEL | 0x31);
    set_line(&mut ioapic, 9, true);
    set_line(&mut ioapic, 20, true);
    assert_eq!(eoi(&mut ioapic, 0x31).len(), 2);
}

#[test]
fn the_eoi_register_does_what_the_broadcast_does() {
    let mut ioapic = programmed(9, LEVEL | 0x31);
    set_line(&mut ioapic, 9, true);
    set_line(&mut ioapic, 9, false);
    let mut effects = vec![];
    ioapic.write(Ticks(0), 0, spec::EOI, 4, 0x31, &mut NoRam, &mut effects);
    assert_eq!(read(&mut ioapic, 0x22), LEVEL | 0x31);
}

#[test]
fn turning_an_entry_to_edge_clears_its_remote_irr() {
    let mut ioapic = programmed(9, LEVEL | 0x31);
    set_line(&mut ioapic, 9, true);
    assert!(write(&mut ioapic, 0x22, MASKED | 0x31).is_empty());
    assert_eq!(write(&mut ioapic, 0x22, LEVEL | 0x31).len(), 1);
}

#[test]
fn nmi_is_an_edge_even_if_programmed_as_level() {
    let mut ioapic = programmed(3, LEVEL | 0x400);
    assert_eq!(set_line(&mut ioapic, 3, true).len(), 1);
    assert_eq!(read(&mut ioapic, 0x16) & REMOTE_IRR, 0);
    assert!(write(&mut ioapic, 0x16, LEVEL | 0x400).is_empty());
}

#[test]
fn the_window_is_written_as_32_bits() {
    let mut ioapic = IoApic::new();
    let mut effects = vec![];
    ioapic.write(Ticks(0), 0, spec::SELECT, 1, 0x10, &mut NoRam, &mut effects);
    ioapic.write(Ticks(0), 0, spec::WINDOW, 1, 0x31, &mut NoRam, &mut effects);
    ioapic.write(Ticks(0), 0, 0x20, 4, 0x31, &mut NoRam, &mut effects);
    assert!(matches!(
        effects[..],
        [Effect::Warning(_), Effect::Warning(_)]
    ));
    assert_eq!(
        ioapic.read(Ticks(0), 0, spec::WINDOW, 4, &mut effects),
        0x1_0000
    );
    assert_eq!(
        ioapic.read(Ticks(0), 0, spec::WINDOW + 2, 1, &mut effects),
        1
    );
}

fn poke(ioapic: &mut IoApic, rng: &mut Xorshift, _now: Ticks, effects: &mut Effects) -> u64 {
    match rng.below(3) {
        0 => ioapic.end_of_interrupt(Vector(rng.next() as u8), effects),
        _ => {
            for _ in 0..8 {
                ioapic.set_line(rng.below(26) as u8, rng.below(2) == 0, effects);
            }
        }
    }
    u64::from(ioapic.state.lines)
}

#[test]
fn weathers_a_storm_of_accesses() {
    storm::weather(IoApic::new, 1, 300_000, poke);
}
