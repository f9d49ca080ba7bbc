use super::*;
use crate::storm::{self, NoRam, Xorshift};

const MASTER: usize = 0;
const SLAVE: usize = 1;

fn out(pic: &mut Pic, region: usize, offset: u64, value: u8) {
    pic.write(
        Ticks(0),
        region,
        offset,
        1,
        value.into(),
        &mut NoRam,
        &mut vec![],
    );
}

fn inb(pic: &mut Pic, region: usize, offset: u64) -> u8 {
    pic.read(Ticks(0), region, offset, 1, &mut vec![]) as u8
}

/// Initialised as PC kernels do it: vectors 0x30 and 0x38, nothing masked, this ICW4 for both.
fn initialised_with(icw4: u8) -> Pic {
    let mut pic = Pic::new();
    for (region, base, wiring) in [(MASTER, 0x30, 0x04), (SLAVE, 0x38, 0x02)] {
        out(&mut pic, region, 0, 0x11);
        out(&mut pic, region, 1, base);
        out(&mut pic, region, 1, wiring);
        out(&mut pic, region, 1, icw4);
    }
    pic
}

fn initialised() -> Pic {
    initialised_with(0x01)
}

fn pulse(pic: &mut Pic, irq: u8) {
    pic.set_line(irq, false);
    pic.set_line(irq, true);
}

fn in_service(pic: &mut Pic, region: usize) -> u8 {
    out(pic, region, 0, 0x0b);
    let isr = inb(pic, region, 0);
    out(pic, region, 0, 0x0a);
    isr
}

const EOI: u8 = 0x20;

#[test]
fn before_its_initialisation_nothing_comes_through() {
    let mut pic = Pic::new();
    for irq in 0..16 {
        pic.set_line(irq, true);
    }
    assert!(!pic.intr());
}

#[test]
fn the_mask_register_reads_back_what_kernels_probe_it_with() {
    let mut pic = initialised();
    out(&mut pic, MASTER, 1, 0xfb);
    out(&mut pic, SLAVE, 1, 0xff);
    assert_eq!(inb(&mut pic, MASTER, 1), 0xfb);
    assert_eq!(inb(&mut pic, SLAVE, 1), 0xff);
}

#[test]
fn icw2_gives_the_upper_five_bits_of_the_vector() {
    let mut pic = initialised();
    for irq in [0, 1, 3, 7] {
        pulse(&mut pic, irq);
        assert!(pic.intr());
        assert_eq!(pic.acknowledge(), Vector(0x30 + irq));
        assert!(!pic.intr());
        out(&mut pic, MASTER, 0, EOI);
    }
    for irq in 8..16 {
        pulse(&mut pic, irq);
        assert_eq!(pic.acknowledge(), Vector(0x30 + irq));
        assert_eq!(in_service(&mut pic, MASTER), 0x04);
        out(&mut pic, SLAVE, 0, EOI);
        out(&mut pic, MASTER, 0, EOI);
    }
}

#[test]
fn fully_nested_mode_holds_back_equal_and_lower_priorities() {
    let mut pic = initialised();
    pulse(&mut pic, 3);
    assert_eq!(pic.acknowledge(), Vector(0x33));
    pulse(&mut pic, 3);
    pulse(&mut pic, 4);
    assert!(!pic.intr());
    // The slave hangs on input 2, above 3.
    pulse(&mut pic, 15);
    assert_eq!(pic.acknowledge(), Vector(0x3f));
    pulse(&mut pic, 0);
    assert_eq!(pic.acknowledge(), Vector(0x30));
    assert_eq!(in_service(&mut pic, MASTER), 0b1101);
    out(&mut pic, MASTER, 0, EOI);
    assert_eq!(in_service(&mut pic, MASTER), 0b1100);
    out(&mut pic, SLAVE, 0, EOI);
    out(&mut pic, MASTER, 0, EOI);
    out(&mut pic, MASTER, 0, EOI);
    assert_eq!(pic.acknowledge(), Vector(0x33));
    out(&mut pic, MASTER, 0, 0x63);
    assert_eq!(pic.acknowledge(), Vector(0x34));
}

#[test]
fn a_further_slave_request_reaches_the_master_after_its_eoi() {
    let mut pic = initialised();
    pulse(&mut pic, 12);
    pulse(&mut pic, 14);
    assert_eq!(pic.acknowledge(), Vector(0x3c));
    out(&mut pic, SLAVE, 0, EOI);
    assert!(!pic.intr(), "the master's own in-service bit holds it");
    out(&mut pic, MASTER, 0, EOI);
    assert!(pic.intr());
    assert_eq!(pic.acknowledge(), Vector(0x3e));
}

#[test]
fn special_fully_nested_mode_lets_a_higher_slave_request_through() {
    let mut pic = initialised_with(0x11);
    pulse(&mut pic, 12);
    assert_eq!(pic.acknowledge(), Vector(0x3c));
    pulse(&mut pic, 14);
    assert!(!pic.intr());
    pulse(&mut pic, 9);
    assert!(pic.intr());
    assert_eq!(pic.acknowledge(), Vector(0x39));
    // The same without the mode.
    let mut pic = initialised();
    pulse(&mut pic, 12);
    pic.acknowledge();
    pulse(&mut pic, 9);
    assert!(!pic.intr());
}

#[test]
fn the_mask_inhibits_a_request_without_forgetting_it() {
    let mut pic = initialised();
    out(&mut pic, MASTER, 1, 0x08);
    pulse(&mut pic, 3);
    assert!(!pic.intr());
    assert_eq!(inb(&mut pic, MASTER, 0), 0x08, "IRR is not affected by IMR");
    out(&mut pic, MASTER, 1, 0);
    assert_eq!(pic.acknowledge(), Vector(0x33));
}

#[test]
fn edge_triggered_inputs_request_once_per_edge_and_level_triggered_while_high() {
    let mut pic = initialised();
    pic.set_line(5, true);
    pic.acknowledge();
    out(&mut pic, MASTER, 0, EOI);
    assert!(!pic.intr());
    out(&mut pic, 2, 0, 0x20);
    pic.set_line(5, true);
    for _ in 0..3 {
        assert_eq!(pic.acknowledge(), Vector(0x35));
        out(&mut pic, MASTER, 0, EOI);
    }
    pic.set_line(5, false);
    assert!(!pic.intr());
}

#[test]
fn the_timer_keyboard_cascade_clock_and_coprocessor_stay_edge_triggered() {
    let mut pic = initialised();
    pic.write(Ticks(0), 2, 0, 2, 0xffff, &mut NoRam, &mut vec![]);
    assert_eq!(pic.read(Ticks(0), 2, 0, 2, &mut vec![]), 0xdef8);
}

#[test]
fn a_request_that_went_away_is_acknowledged_as_level_7() {
    let mut pic = initialised();
    pic.set_line(3, true);
    pic.set_line(3, false);
    assert_eq!(pic.acknowledge(), Vector(0x37));
    assert_eq!(
        in_service(&mut pic, MASTER),
        0,
        "a default IR7 sets no in-service bit"
    );
    // A slave's request that is polled away is no request at the master either.
    let mut pic = initialised();
    pic.set_line(12, true);
    out(&mut pic, SLAVE, 0, 0x0c);
    assert_eq!(
        inb(&mut pic, SLAVE, 0),
        0x84,
        "polled away behind the master's back"
    );
    assert!(!pic.intr());
}

#[test]
fn poll_acknowledges_and_returns_the_level() {
    let mut pic = initialised();
    pulse(&mut pic, 6);
    pulse(&mut pic, 4);
    out(&mut pic, MASTER, 0, 0x0c);
    assert_eq!(inb(&mut pic, MASTER, 0), 0x84);
    assert_eq!(in_service(&mut pic, MASTER), 0x10);
    out(&mut pic, MASTER, 0, 0x0c);
    assert_eq!(
        inb(&mut pic, MASTER, 0),
        0,
        "held back, so nothing requests"
    );
    // The poll lasts for one read.
    assert_eq!(inb(&mut pic, MASTER, 0), 0x40);
}

#[test]
fn automatic_end_of_interrupt_leaves_nothing_in_service() {
    let mut pic = initialised_with(0x03);
    pulse(&mut pic, 12);
    assert_eq!(pic.acknowledge(), Vector(0x3c));
    assert_eq!(in_service(&mut pic, MASTER), 0);
    assert_eq!(in_service(&mut pic, SLAVE), 0);
}

#[test]
fn rotation_on_non_specific_eoi_gives_the_served_input_the_lowest_priority() {
    let mut pic = initialised();
    pulse(&mut pic, 4);
    pulse(&mut pic, 6);
    assert_eq!(pic.acknowledge(), Vector(0x34));
    out(&mut pic, MASTER, 0, 0xa0);
    // Now 5, 6, 7, 0, ... 4.
    pulse(&mut pic, 0);
    pulse(&mut pic, 4);
    assert_eq!(pic.acknowledge(), Vector(0x36));
    out(&mut pic, MASTER, 0, EOI);
    assert_eq!(pic.acknowledge(), Vector(0x30));
    out(&mut pic, MASTER, 0, EOI);
    assert_eq!(pic.acknowledge(), Vector(0x34));
}

#[test]
fn rotation_in_automatic_eoi_mode_can_be_set_and_cleared() {
    let mut pic = initialised_with(0x03);
    out(&mut pic, MASTER, 0, 0x80);
    pulse(&mut pic, 1);
    pulse(&mut pic, 5);
    assert_eq!(pic.acknowledge(), Vector(0x31));
    pulse(&mut pic, 1);
    assert_eq!(pic.acknowledge(), Vector(0x35));
    out(&mut pic, MASTER, 0, 0x00);
    assert_eq!(pic.acknowledge(), Vector(0x31));
    pulse(&mut pic, 5);
    pulse(&mut pic, 6);
    assert_eq!(
        pic.acknowledge(),
        Vector(0x36),
        "5 still has the lowest priority"
    );
}

#[test]
fn specific_rotation_and_set_priority_command() {
    let mut pic = initialised();
    out(&mut pic, MASTER, 0, 0xc5);
    pulse(&mut pic, 5);
    pulse(&mut pic, 6);
    assert_eq!(pic.acknowledge(), Vector(0x36));
    // Rotate on specific EOI: ends 6 and makes it the lowest.
    out(&mut pic, MASTER, 0, 0xe6);
    pulse(&mut pic, 6);
    pulse(&mut pic, 7);
    assert_eq!(pic.acknowledge(), Vector(0x37));
}

#[test]
fn special_mask_mode_enables_all_other_levels() {
    let mut pic = initialised();
    pulse(&mut pic, 3);
    pic.acknowledge();
    out(&mut pic, MASTER, 1, 0x08);
    pulse(&mut pic, 5);
    assert!(!pic.intr());
    out(&mut pic, MASTER, 0, 0x68);
    assert_eq!(pic.acknowledge(), Vector(0x35));
    // A non-specific EOI does not clear the bit that is masked.
    out(&mut pic, MASTER, 0, EOI);
    assert_eq!(in_service(&mut pic, MASTER), 0x08);
    out(&mut pic, MASTER, 0, EOI);
    assert_eq!(in_service(&mut pic, MASTER), 0x08);
    out(&mut pic, MASTER, 0, 0x63);
    assert_eq!(in_service(&mut pic, MASTER), 0);
}

#[test]
fn icw1_clears_the_mask_and_wants_a_new_edge() {
    let mut pic = initialised();
    pic.set_line(3, true);
    out(&mut pic, MASTER, 1, 0xff);
    out(&mut pic, MASTER, 0, 0x11);
    for byte in [0x40, 0x04, 0x01] {
        out(&mut pic, MASTER, 1, byte);
    }
    assert_eq!(inb(&mut pic, MASTER, 1), 0);
    assert!(!pic.intr());
    pulse(&mut pic, 3);
    assert_eq!(pic.acknowledge(), Vector(0x43));
}

#[test]
fn icw3_and_icw4_come_only_if_icw1_says_so() {
    for (icw1, words) in [(0x10, 2), (0x11, 3), (0x12, 1), (0x13, 2)] {
        let mut pic = Pic::new();
        out(&mut pic, MASTER, 0, icw1);
        for _ in 0..words {
            out(&mut pic, MASTER, 1, 0x00);
        }
        out(&mut pic, MASTER, 1, 0xa5);
        assert_eq!(inb(&mut pic, MASTER, 1), 0xa5, "ICW1 {icw1:#x}");
    }
}

fn poke(pic: &mut Pic, rng: &mut Xorshift, _now: Ticks, _effects: &mut Effects) -> u64 {
    match rng.below(3) {
        0 => u64::from(pic.acknowledge().0),
        _ => {
            pic.set_line(rng.below(18) as u8, rng.below(2) == 0);
            u64::from(pic.intr())
        }
    }
}

#[test]
fn weathers_a_storm_of_accesses() {
    storm::weather(Pic::new, 1, 300_000, poke);
}
