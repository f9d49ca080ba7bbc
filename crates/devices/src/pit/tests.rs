use super::*;
use crate::storm::{self, NoRam, Xorshift};

/// The time of a clock's falling edge, where the counters count.
fn at(clock: u64) -> Ticks {
    Ticks::from_periods(clock, CLOCK_HZ)
}

fn out(pit: &mut Pit, clock: u64, port: u64, value: u8) -> Effects {
    let mut effects = vec![];
    let (region, offset) = if port == 0x61 {
        (1, 0)
    } else {
        (0, port - 0x40)
    };
    pit.write(
        at(clock),
        region,
        offset,
        1,
        value.into(),
        &mut NoRam,
        &mut effects,
    );
    effects
}

fn inb(pit: &mut Pit, clock: u64, port: u64) -> u8 {
    let (region, offset) = if port == 0x61 {
        (1, 0)
    } else {
        (0, port - 0x40)
    };
    pit.read(at(clock), region, offset, 1, &mut vec![]) as u8
}

/// Programs counter 2 with an open gate at clock 0, count in both bytes.
fn counter_2(mode: u8, bcd: bool, count: u16) -> Pit {
    let mut pit = Pit::new();
    out(&mut pit, 0, 0x61, 1);
    out(&mut pit, 0, 0x43, 0xb0 | mode << 1 | u8::from(bcd));
    out(&mut pit, 0, 0x42, count as u8);
    out(&mut pit, 0, 0x42, (count >> 8) as u8);
    pit
}

fn count_of_2(pit: &mut Pit, clock: u64) -> u16 {
    out(pit, clock, 0x43, 0x80);
    u16::from_le_bytes([inb(pit, clock, 0x42), inb(pit, clock, 0x42)])
}

/// The level of OUT 2 at each of the clocks, as a string of `_` and `-`.
fn wave(pit: &mut Pit, clocks: std::ops::Range<u64>) -> String {
    clocks
        .map(|clock| {
            if inb(pit, clock, 0x61) & 0x20 != 0 {
                '-'
            } else {
                '_'
            }
        })
        .collect()
}

fn line(asserted: bool) -> Effect {
    Effect::Line { irq: 0, asserted }
}

// ---- the six modes, as the datasheet draws them ------------------------------------------------

#[test]
fn mode_0_out_goes_high_n_plus_1_clocks_after_the_count_is_written() {
    let mut pit = counter_2(0, false, 4);
    assert_eq!(wave(&mut pit, 0..8), "_____---");
    let mut pit = counter_2(0, false, 4);
    let counts: Vec<u16> = (1..8).map(|clock| count_of_2(&mut pit, clock)).collect();
    assert_eq!(counts, [4, 3, 2, 1, 0, 0xffff, 0xfffe]);
}

#[test]
fn mode_0_gate_low_suspends_the_count_but_not_the_loading() {
    let mut pit = counter_2(0, false, 3);
    out(&mut pit, 0, 0x61, 0);
    assert_eq!(count_of_2(&mut pit, 5), 3);
    out(&mut pit, 5, 0x61, 1);
    assert_eq!(wave(&mut pit, 5..10), "___--");
}

#[test]
fn mode_0_the_first_byte_of_a_new_count_stops_counting_and_lowers_out() {
    let mut pit = counter_2(0, false, 2);
    assert_eq!(wave(&mut pit, 3..5), "--");
    out(&mut pit, 5, 0x42, 3);
    assert_eq!(wave(&mut pit, 5..9), "____");
    out(&mut pit, 9, 0x42, 0);
    assert_eq!(wave(&mut pit, 9..15), "____--");
}

#[test]
fn mode_1_a_gate_edge_starts_a_pulse_of_n_clocks_and_restarts_it() {
    let mut pit = counter_2(1, false, 3);
    assert_eq!(wave(&mut pit, 0..4), "----");
    out(&mut pit, 4, 0x61, 0);
    out(&mut pit, 4, 0x61, 1);
    assert_eq!(wave(&mut pit, 4..10), "-___--");
    out(&mut pit, 10, 0x61, 0);
    out(&mut pit, 10, 0x61, 1);
    assert_eq!(wave(&mut pit, 10..13), "-__");
    out(&mut pit, 12, 0x61, 0);
    out(&mut pit, 12, 0x61, 1);
    assert_eq!(wave(&mut pit, 13..18), "___--");
    // A new count does not affect the pulse until it is triggered again.
    out(&mut pit, 18, 0x61, 0);
    out(&mut pit, 18, 0x61, 1);
    out(&mut pit, 19, 0x42, 1);
    out(&mut pit, 19, 0x42, 0);
    assert_eq!(wave(&mut pit, 19..24), "___--");
}

#[test]
fn mode_2_out_is_low_for_one_clock_of_every_n() {
    let mut pit = counter_2(2, false, 3);
    assert_eq!(wave(&mut pit, 0..11), "---_--_--_-");
    let mut pit = counter_2(2, false, 3);
    let counts: Vec<u16> = (1..8).map(|clock| count_of_2(&mut pit, clock)).collect();
    assert_eq!(counts, [3, 2, 1, 3, 2, 1, 3]);
}

#[test]
fn mode_2_a_new_count_takes_effect_at_the_end_of_the_cycle() {
    let mut pit = counter_2(2, false, 4);
    out(&mut pit, 2, 0x42, 2);
    out(&mut pit, 2, 0x42, 0);
    assert_eq!(wave(&mut pit, 0..11), "----_-_-_-_");
}

#[test]
fn modes_2_and_3_gate_low_raises_out_and_its_edge_starts_anew() {
    let mut pit = counter_2(2, false, 3);
    assert_eq!(wave(&mut pit, 0..4), "---_");
    out(&mut pit, 3, 0x61, 0);
    assert_eq!(wave(&mut pit, 3..7), "----");
    out(&mut pit, 7, 0x61, 1);
    assert_eq!(wave(&mut pit, 7..13), "---_--");

    let mut pit = counter_2(3, false, 4);
    assert_eq!(wave(&mut pit, 0..4), "---_");
    out(&mut pit, 3, 0x61, 0);
    assert_eq!(wave(&mut pit, 3..7), "----");
    out(&mut pit, 7, 0x61, 1);
    assert_eq!(wave(&mut pit, 7..13), "---__-");
}

#[test]
fn mode_3_is_a_square_wave_and_counts_by_two() {
    let mut pit = counter_2(3, false, 4);
    assert_eq!(wave(&mut pit, 0..10), "---__--__-");
    let mut pit = counter_2(3, false, 4);
    let counts: Vec<u16> = (1..8).map(|clock| count_of_2(&mut pit, clock)).collect();
    assert_eq!(counts, [4, 2, 4, 2, 4, 2, 4]);
}

#[test]
fn mode_3_an_odd_count_is_high_for_one_clock_more() {
    let mut pit = counter_2(3, false, 5);
    assert_eq!(wave(&mut pit, 0..12), "----__---__-");
    let mut pit = counter_2(3, false, 5);
    let counts: Vec<u16> = (1..9).map(|clock| count_of_2(&mut pit, clock)).collect();
    assert_eq!(counts, [4, 2, 0, 4, 2, 4, 2, 0]);
}

#[test]
fn mode_3_a_new_count_takes_effect_at_the_end_of_the_half_cycle() {
    let mut pit = counter_2(3, false, 8);
    out(&mut pit, 2, 0x42, 4);
    out(&mut pit, 2, 0x42, 0);
    assert_eq!(wave(&mut pit, 0..12), "-----__--__-");
}

#[test]
fn mode_4_strobes_once_n_plus_1_clocks_after_the_count_is_written() {
    let mut pit = counter_2(4, false, 3);
    assert_eq!(wave(&mut pit, 0..8), "----_---");
    assert_eq!(count_of_2(&mut pit, 8), 0xfffc);
    assert_eq!(wave(&mut pit, 8..40), "-".repeat(32));
}

#[test]
fn mode_5_strobes_n_plus_1_clocks_after_the_trigger() {
    let mut pit = counter_2(5, false, 3);
    assert_eq!(wave(&mut pit, 0..8), "--------");
    out(&mut pit, 8, 0x61, 0);
    out(&mut pit, 8, 0x61, 1);
    assert_eq!(wave(&mut pit, 8..15), "----_--");
}

#[test]
fn a_count_of_zero_is_the_greatest() {
    let mut pit = counter_2(0, false, 0);
    assert_eq!(wave(&mut pit, 65535..65539), "__--");
    let mut pit = counter_2(0, true, 0);
    assert_eq!(wave(&mut pit, 9999..10003), "__--");
}

#[test]
fn bcd_counts_in_decimal_digits() {
    let mut pit = counter_2(0, true, 0x1000);
    assert_eq!(count_of_2(&mut pit, 1), 0x1000);
    assert_eq!(count_of_2(&mut pit, 2), 0x0999);
    assert_eq!(count_of_2(&mut pit, 12), 0x0989);
    assert_eq!(count_of_2(&mut pit, 1001), 0x0000);
    assert_eq!(count_of_2(&mut pit, 1002), 0x9999);
}

// ---- reading ----------------------------------------------------------------------------------

#[test]
fn a_latched_count_stays_until_it_is_read_and_later_latches_are_ignored() {
    let mut pit = counter_2(2, false, 0x1234);
    out(&mut pit, 1, 0x43, 0x80);
    out(&mut pit, 50, 0x43, 0x80);
    assert_eq!(inb(&mut pit, 60, 0x42), 0x34);
    assert_eq!(inb(&mut pit, 70, 0x42), 0x12);
    let live = 0x1234 - 79;
    assert_eq!(inb(&mut pit, 80, 0x42), live as u8);
}

#[test]
fn one_byte_access_reads_and_writes_that_byte() {
    let mut pit = Pit::new();
    out(&mut pit, 0, 0x43, 0x10);
    out(&mut pit, 0, 0x40, 0x80);
    assert_eq!(inb(&mut pit, 1, 0x40), 0x80);
    assert_eq!(inb(&mut pit, 2, 0x40), 0x7f);
    out(&mut pit, 2, 0x43, 0x20);
    out(&mut pit, 2, 0x40, 0x80);
    assert_eq!(inb(&mut pit, 3, 0x40), 0x80);
    assert_eq!(inb(&mut pit, 4, 0x40), 0x7f);
}

#[test]
fn the_read_back_command_latches_status_before_count() {
    let mut pit = counter_2(3, false, 0x100);
    // Before the next clock the count has not been loaded: NULL COUNT.
    out(&mut pit, 0, 0x43, 0xe8);
    assert_eq!(inb(&mut pit, 0, 0x42), 0b1111_0110);
    out(&mut pit, 1, 0x43, 0xc8);
    assert_eq!(inb(&mut pit, 9, 0x42), 0b1011_0110);
    assert_eq!(inb(&mut pit, 9, 0x42), 0x00);
    assert_eq!(inb(&mut pit, 9, 0x42), 0x01);
    // Low half of the wave.
    out(&mut pit, 0x90, 0x43, 0xe8);
    assert_eq!(inb(&mut pit, 0x90, 0x42), 0b0011_0110);
}

#[test]
fn the_read_back_command_reaches_several_counters() {
    let mut pit = counter_2(0, false, 50);
    out(&mut pit, 0, 0x43, 0x34);
    out(&mut pit, 0, 0x40, 100);
    out(&mut pit, 0, 0x40, 0);
    out(&mut pit, 11, 0x43, 0xda);
    assert_eq!(inb(&mut pit, 20, 0x40), 90);
    assert_eq!(inb(&mut pit, 20, 0x42), 40);
    // The datasheet's own control word read back: counter 0, both bytes, mode 2, binary.
    out(&mut pit, 20, 0x43, 0xe2);
    assert_eq!(inb(&mut pit, 20, 0x40), 0b1011_0100);
}

#[test]
fn the_control_word_register_reads_nothing() {
    assert_eq!(inb(&mut Pit::new(), 0, 0x43), 0);
}

// ---- port B -----------------------------------------------------------------------------------

#[test]
fn port_b_shows_the_gate_out_2_and_the_refresh_toggle() {
    let mut pit = counter_2(0, false, 100);
    assert_eq!(inb(&mut pit, 0, 0x61), 0x01);
    assert_eq!(inb(&mut pit, 18, 0x61), 0x11);
    assert_eq!(inb(&mut pit, 36, 0x61), 0x01);
    assert_eq!(inb(&mut pit, 101, 0x61) & 0x20, 0x20);
    out(&mut pit, 110, 0x61, 0xff);
    assert_eq!(
        inb(&mut pit, 110, 0x61) & 0xcf,
        0x0f,
        "error bits never show"
    );
}

// ---- counter 0 --------------------------------------------------------------------------------

/// Lets time come to `clock` as a machine does, and returns the rising edges of IRQ 0.
fn rising_edges(pit: &mut Pit, clock: u64) -> Vec<u64> {
    let mut edges = vec![];
    while let Some(deadline) = pit.deadline().filter(|&deadline| deadline <= at(clock)) {
        let mut effects = vec![];
        pit.advance(deadline, &mut NoRam, &mut effects);
        let rose = effects.contains(&line(true));
        edges.extend(rose.then_some(deadline.to_periods(CLOCK_HZ)));
    }
    edges
}

#[test]
fn a_rate_generator_interrupts_every_n_clocks_without_drift() {
    let mut pit = Pit::new();
    assert_eq!(out(&mut pit, 0, 0x43, 0x34), [line(true)]);
    out(&mut pit, 0, 0x40, 0xa9);
    assert_eq!(out(&mut pit, 0, 0x40, 0x04), [Effect::DeadlineChanged]);
    let edges = rising_edges(&mut pit, 100 * 1193 + 1);
    let expected: Vec<u64> = (1..=100).map(|period| 1 + period * 1193).collect();
    assert_eq!(edges, expected);
}

#[test]
fn a_one_shot_interrupts_once() {
    let mut pit = Pit::new();
    assert_eq!(out(&mut pit, 10, 0x43, 0x30), []);
    out(&mut pit, 10, 0x40, 0xe8);
    out(&mut pit, 10, 0x40, 0x03);
    assert_eq!(rising_edges(&mut pit, 1 << 20), [1011]);
    assert_eq!(pit.deadline(), None);
    out(&mut pit, 1 << 20, 0x40, 1);
    assert_eq!(pit.deadline(), None, "half a count");
}

#[test]
fn periods_that_passed_unseen_are_one_edge() {
    let mut pit = Pit::new();
    out(&mut pit, 0, 0x43, 0x36);
    out(&mut pit, 0, 0x40, 100);
    out(&mut pit, 0, 0x40, 0);
    let mut effects = vec![];
    pit.advance(at(1 + 10 * 100 + 60), &mut NoRam, &mut effects);
    assert_eq!(effects, [line(false), line(true), line(false)]);
    assert_eq!(pit.deadline(), Some(at(1 + 11 * 100)));
}

#[test]
fn a_gated_or_unprogrammed_counter_asks_for_no_call() {
    let mut pit = Pit::new();
    assert_eq!(pit.deadline(), None);
    // Counter 0 can never be triggered.
    for mode in [1, 5] {
        out(&mut pit, 0, 0x43, 0x30 | mode << 1);
        out(&mut pit, 0, 0x40, 5);
        out(&mut pit, 0, 0x40, 0);
        assert_eq!(pit.deadline(), None, "mode {mode}");
    }
}

// ---- everything at once -------------------------------------------------------------------------

#[test]
fn a_jump_of_any_length_equals_as_many_single_clocks() {
    let mut rng = Xorshift::new(7);
    for _ in 0..3000 {
        let mut jumping = Counter::at_power_on(true);
        let mode = rng.below(8) as u8;
        let bcd = rng.below(4) == 0;
        jumping.write_control(Access::Both, mode, bcd);
        let mut stepping = jumping.clone();
        let mut clock = 0;
        for _ in 0..12 {
            let action = rng.below(6);
            let byte = if rng.below(4) == 0 {
                rng.next() as u8
            } else {
                rng.below(12) as u8
            };
            let count = [
                byte,
                if rng.below(8) == 0 {
                    rng.below(4) as u8
                } else {
                    0
                },
            ];
            for counter in [&mut jumping, &mut stepping] {
                match action {
                    0 => drop(count.map(|byte| counter.write_count(byte))),
                    1 => drop(counter.set_gate(false)),
                    2 | 3 => drop(counter.set_gate(true)),
                    4 => drop(counter.write_count(count[0])),
                    _ => {}
                }
            }
            let expected = jumping.next_change();
            let before = jumping.out();
            let span = rng.below(40)
                + if rng.below(8) == 0 {
                    rng.below(3000)
                } else {
                    0
                };
            let mut changed = None;
            let mut rose = false;
            for step in 1..=span {
                rose |= stepping.sync(clock + step).rose;
                if stepping.out() != before && changed.is_none() {
                    changed = Some(clock + step);
                }
            }
            clock += span;
            assert_eq!(jumping.sync(clock).rose, rose, "mode {mode}");
            assert_eq!(jumping, stepping, "mode {mode}, {span} clocks");
            assert_eq!(jumping.implausible(), None);
            match expected.filter(|&expected| expected <= clock) {
                None => assert_eq!(changed, None, "mode {mode}"),
                some => assert_eq!(changed, some, "mode {mode}"),
            }
        }
    }
}

fn poke(_: &mut Pit, _: &mut Xorshift, _: Ticks, _: &mut Effects) -> u64 {
    0
}

#[test]
fn weathers_a_storm_of_accesses() {
    for seed in [1, 2] {
        storm::weather(Pit::new, seed, 200_000, poke);
    }
}
