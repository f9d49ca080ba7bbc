use super::*;
use crate::storm::{self, NoRam, Xorshift};

fn at(clocks: u64) -> Ticks {
    Ticks(clocks * TICKS_PER_CLOCK)
}

fn write_sized(hpet: &mut Hpet, clock: u64, offset: u64, size: u8, value: u64) -> Effects {
    let mut effects = vec![];
    hpet.write(at(clock), 0, offset, size, value, &mut NoRam, &mut effects);
    effects
}

fn write(hpet: &mut Hpet, clock: u64, offset: u64, value: u64) -> Effects {
    write_sized(hpet, clock, offset, 8, value)
}

fn read(hpet: &mut Hpet, clock: u64, offset: u64) -> u64 {
    hpet.read(at(clock), 0, offset, 8, &mut vec![])
}

fn configuration(index: u64) -> u64 {
    spec::TIMER_BASE + index * spec::TIMER_STRIDE
}

fn comparator(index: u64) -> u64 {
    configuration(index) + spec::TIMER_COMPARATOR
}

fn line(irq: u8, asserted: bool) -> Effect {
    Effect::Line { irq, asserted }
}

/// Lets time come to `clock` as a machine does; what happened, and at which clock.
fn run_until(hpet: &mut Hpet, clock: u64) -> Vec<(u64, Effects)> {
    let mut happened = vec![];
    while let Some(deadline) = hpet.deadline().filter(|&deadline| deadline <= at(clock)) {
        let mut effects = vec![];
        hpet.advance(deadline, &mut NoRam, &mut effects);
        happened.push((deadline.0 / TICKS_PER_CLOCK, effects));
    }
    happened
}

const ENABLE: u64 = timer::ENABLE as u64;
const LEVEL: u64 = timer::LEVEL as u64;
const PERIODIC: u64 = timer::PERIODIC as u64;
const SET_VALUE: u64 = timer::SET_VALUE as u64;
const USE_32_BITS: u64 = timer::USE_32_BITS as u64;

/// The configuration for a route.
fn route(pin: u64) -> u64 {
    pin << timer::ROUTE_SHIFT
}

#[test]
fn the_capabilities_say_three_64_bit_comparators_and_10_nanoseconds() {
    let mut hpet = Hpet::new();
    let capabilities = read(&mut hpet, 0, spec::CAPABILITIES);
    assert_eq!(capabilities, 0x0098_9680_8086_a201);
    assert_eq!(hpet.read(at(0), 0, 4, 4, &mut vec![]), 10_000_000);
    for index in 0..3 {
        assert_eq!(
            read(&mut hpet, 0, configuration(index)),
            0x00f0_0000_0000_0030
        );
        assert_eq!(read(&mut hpet, 0, comparator(index)), u64::MAX);
    }
    assert_eq!(read(&mut hpet, 0, configuration(3)), 0);
}

#[test]
fn the_counter_runs_while_enabled_and_can_be_set_while_halted() {
    let mut hpet = Hpet::new();
    assert_eq!(read(&mut hpet, 1000, spec::COUNTER), 0);
    write(&mut hpet, 1000, spec::CONFIGURATION, 1);
    assert_eq!(read(&mut hpet, 1500, spec::COUNTER), 500);
    write(&mut hpet, 1600, spec::CONFIGURATION, 0);
    assert_eq!(read(&mut hpet, 9000, spec::COUNTER), 600);
    write_sized(&mut hpet, 9000, spec::COUNTER + 4, 4, 0x12);
    write_sized(&mut hpet, 9000, spec::COUNTER, 4, 0x34);
    write(&mut hpet, 9000, spec::CONFIGURATION, 1);
    assert_eq!(read(&mut hpet, 9001, spec::COUNTER), 0x12_0000_0035);
    assert_eq!(
        hpet.read(at(9001), 0, spec::COUNTER + 4, 4, &mut vec![]),
        0x12
    );
}

#[test]
fn a_one_shot_comparator_matches_once() {
    let mut hpet = Hpet::new();
    write(&mut hpet, 0, configuration(2), ENABLE | route(21));
    write(&mut hpet, 0, comparator(2), 700);
    assert_eq!(hpet.deadline(), None);
    let enabled = write(&mut hpet, 0, spec::CONFIGURATION, 1);
    assert_eq!(enabled, [Effect::DeadlineChanged]);
    let happened = run_until(&mut hpet, 1 << 40);
    assert_eq!(happened, [(700, vec![line(21, true)])]);
    // The next one is an edge again.
    let next = read(&mut hpet, 1 << 40, spec::COUNTER) + 50;
    write(&mut hpet, 1 << 40, comparator(2), next);
    let happened = run_until(&mut hpet, (1 << 40) + 60);
    assert_eq!(happened, [(next, vec![line(21, false), line(21, true)])]);
    assert_eq!(
        read(&mut hpet, (1 << 40) + 60, spec::STATUS),
        0,
        "edges have no status"
    );
    // Turned off, its line falls.
    let off = write(&mut hpet, (1 << 40) + 60, configuration(2), route(21));
    assert_eq!(off, [line(21, false)]);
}

#[test]
fn in_32_bits_a_one_shot_comparator_matches_again_when_the_counter_wraps() {
    let mut hpet = Hpet::new();
    write(
        &mut hpet,
        0,
        configuration(0),
        ENABLE | USE_32_BITS | route(20),
    );
    write_sized(&mut hpet, 0, comparator(0), 4, 700);
    write(&mut hpet, 0, spec::CONFIGURATION, 1);
    let clocks: Vec<u64> = run_until(&mut hpet, 3 << 32)
        .iter()
        .map(|(clock, _)| *clock)
        .collect();
    assert_eq!(clocks, [700, (1 << 32) + 700, (2 << 32) + 700]);
    assert_eq!(read(&mut hpet, 3 << 32, comparator(0)), 700);
}

#[test]
fn a_periodic_comparator_is_set_up_with_val_set_and_two_writes() {
    let mut hpet = Hpet::new();
    write(&mut hpet, 0, spec::CONFIGURATION, 1);
    let periodic = ENABLE | PERIODIC | SET_VALUE | USE_32_BITS | route(20);
    write(&mut hpet, 0, configuration(0), periodic);
    write_sized(&mut hpet, 0, comparator(0), 4, 5000);
    assert_eq!(
        read(&mut hpet, 0, configuration(0)) & SET_VALUE,
        0,
        "it clears itself"
    );
    write_sized(&mut hpet, 0, comparator(0), 4, 1000);
    let clocks: Vec<u64> = run_until(&mut hpet, 9500)
        .iter()
        .map(|(clock, _)| *clock)
        .collect();
    assert_eq!(clocks, [5000, 6000, 7000, 8000, 9000]);
    assert_eq!(read(&mut hpet, 9500, comparator(0)), 10_000);
    // Without VAL_SET only the period changes.
    write_sized(&mut hpet, 9500, comparator(0), 4, 300);
    let clocks: Vec<u64> = run_until(&mut hpet, 10_700)
        .iter()
        .map(|(clock, _)| *clock)
        .collect();
    assert_eq!(clocks, [10_000, 10_300, 10_600]);
}

#[test]
fn in_64_bits_val_set_lasts_for_both_halves() {
    let mut hpet = Hpet::new();
    write(&mut hpet, 0, configuration(1), PERIODIC | SET_VALUE);
    write_sized(&mut hpet, 0, comparator(1), 4, 0x1111);
    write_sized(&mut hpet, 0, comparator(1) + 4, 4, 0x22);
    assert_eq!(read(&mut hpet, 0, comparator(1)), 0x22_0000_1111);
    write_sized(&mut hpet, 0, comparator(1), 4, 0x3333);
    assert_eq!(read(&mut hpet, 0, comparator(1)), 0x22_0000_1111);
}

#[test]
fn periods_that_passed_unseen_are_one_interrupt_without_drift() {
    let mut hpet = Hpet::new();
    write(&mut hpet, 0, spec::CONFIGURATION, 1);
    write(
        &mut hpet,
        0,
        configuration(0),
        ENABLE | PERIODIC | SET_VALUE | route(20),
    );
    write(&mut hpet, 0, comparator(0), 1000);
    let mut effects = vec![];
    hpet.advance(at(5500), &mut NoRam, &mut effects);
    assert_eq!(effects, [line(20, true)]);
    assert_eq!(hpet.deadline(), Some(at(6000)));
}

#[test]
fn a_level_stays_until_its_status_is_cleared() {
    let mut hpet = Hpet::new();
    write(&mut hpet, 0, spec::CONFIGURATION, 1);
    let periodic = ENABLE | LEVEL | PERIODIC | SET_VALUE | route(22);
    write(&mut hpet, 0, configuration(1), periodic);
    write(&mut hpet, 0, comparator(1), 1000);
    assert_eq!(run_until(&mut hpet, 5500), [(1000, vec![line(22, true)])]);
    assert_eq!(read(&mut hpet, 5500, spec::STATUS), 2);
    assert_eq!(hpet.deadline(), None, "no further call while it stands");
    assert_eq!(write(&mut hpet, 5500, spec::STATUS, 1), []);
    let cleared = write(&mut hpet, 5500, spec::STATUS, 2);
    assert_eq!(cleared, [line(22, false), Effect::DeadlineChanged]);
    assert_eq!(hpet.deadline(), Some(at(6000)));
}

#[test]
fn a_level_without_enable_sets_its_status_only() {
    let mut hpet = Hpet::new();
    write(&mut hpet, 0, spec::CONFIGURATION, 1);
    write(&mut hpet, 0, configuration(1), LEVEL | route(22));
    write(&mut hpet, 0, comparator(1), 1000);
    assert_eq!(hpet.deadline(), None);
    assert_eq!(read(&mut hpet, 1000, spec::STATUS), 2);
    let enabled = write(
        &mut hpet,
        1000,
        configuration(1),
        ENABLE | LEVEL | route(22),
    );
    assert_eq!(enabled, [line(22, true)]);
    // Disabling the block disables its interrupts and keeps the status.
    assert_eq!(
        write(&mut hpet, 1001, spec::CONFIGURATION, 0),
        [line(22, false)]
    );
    assert_eq!(read(&mut hpet, 1001, spec::STATUS), 2);
    assert_eq!(
        write(&mut hpet, 1002, spec::CONFIGURATION, 1),
        [line(22, true)]
    );
}

#[test]
fn two_comparators_can_share_a_line() {
    let mut hpet = Hpet::new();
    write(&mut hpet, 0, spec::CONFIGURATION, 1);
    for index in [0, 1] {
        write(
            &mut hpet,
            0,
            configuration(index),
            ENABLE | LEVEL | route(23),
        );
        write(&mut hpet, 0, comparator(index), 100 * (index + 1));
    }
    assert_eq!(
        run_until(&mut hpet, 300),
        [(100, vec![line(23, true)]), (200, vec![])]
    );
    assert_eq!(write(&mut hpet, 300, spec::STATUS, 1), []);
    assert_eq!(write(&mut hpet, 300, spec::STATUS, 2), [line(23, false)]);
}

#[test]
fn legacy_replacement_takes_the_places_of_the_pit_and_the_clock() {
    let mut hpet = Hpet::new();
    for index in 0..3 {
        write(&mut hpet, 0, configuration(index), ENABLE | route(20));
        write(&mut hpet, 0, comparator(index), 10 * (index + 1));
    }
    write(&mut hpet, 0, spec::CONFIGURATION, 2);
    assert!(!hpet.legacy_replacement(), "not while it is off");
    write(&mut hpet, 0, spec::CONFIGURATION, 3);
    assert!(hpet.legacy_replacement());
    assert_eq!(
        run_until(&mut hpet, 100),
        [
            (10, vec![line(0, true)]),
            (20, vec![line(8, true)]),
            (30, vec![line(20, true)])
        ]
    );
}

#[test]
fn a_route_that_does_not_exist_does_not_read_back() {
    let mut hpet = Hpet::new();
    write(&mut hpet, 0, configuration(0), route(22));
    for pin in (0..32).filter(|pin| !(20..24).contains(pin)) {
        write(&mut hpet, 0, configuration(0), route(pin));
        assert_eq!(
            read(&mut hpet, 0, configuration(0)) & u64::from(timer::ROUTE),
            route(22)
        );
    }
}

#[test]
fn a_comparator_set_to_the_present_count_matches_at_once() {
    let mut hpet = Hpet::new();
    write(&mut hpet, 0, spec::CONFIGURATION, 1);
    write(&mut hpet, 0, configuration(0), ENABLE | route(20));
    assert_eq!(write(&mut hpet, 500, comparator(0), 500), [line(20, true)]);
    // And one set to the past waits for the counter to come around.
    write(&mut hpet, 600, comparator(0), 599);
    assert_eq!(run_until(&mut hpet, 1 << 50), []);
}

#[test]
fn a_period_below_a_microsecond_does_not_ask_for_every_call() {
    let mut hpet = Hpet::new();
    write(&mut hpet, 0, spec::CONFIGURATION, 1);
    write(
        &mut hpet,
        0,
        configuration(0),
        ENABLE | PERIODIC | SET_VALUE | route(20),
    );
    write(&mut hpet, 0, comparator(0), 1);
    let calls = run_until(&mut hpet, 10_000).len();
    assert_eq!(calls, 10_000 / 100);
}

#[test]
fn a_narrow_or_unaligned_write_is_dropped() {
    let mut hpet = Hpet::new();
    for (offset, size) in [(0x10, 1), (0x10, 2), (0x12, 4), (0x14, 8)] {
        let effects = write_sized(&mut hpet, 0, offset, size, 1);
        assert!(
            matches!(effects[..], [Effect::Warning(_)]),
            "{offset:#x}, {size}"
        );
    }
    assert_eq!(read(&mut hpet, 0, spec::CONFIGURATION), 0);
}

/// Storms of anything seldom enable the block or set a comparator near the counter.
fn poke(hpet: &mut Hpet, rng: &mut Xorshift, now: Ticks, effects: &mut Effects) -> u64 {
    let index = rng.below(3);
    let (offset, value) = match rng.below(5) {
        0 => (spec::CONFIGURATION, 1 | rng.below(4)),
        1 => (
            configuration(index),
            rng.next() & 0x1ff | route(20 + rng.below(4)),
        ),
        2 => (spec::STATUS, rng.below(8)),
        _ => (
            comparator(index),
            hpet.state.counter.wrapping_add(rng.value() & 0xffff),
        ),
    };
    hpet.write(now, 0, offset, 8, value, &mut NoRam, effects);
    hpet.state.lines.into()
}

#[test]
fn weathers_a_storm_of_accesses() {
    for seed in [1, 2] {
        storm::weather(Hpet::new, seed, 200_000, poke);
    }
}
