use super::*;
use crate::storm::{self, NoRam, Xorshift};

const MS: u64 = TSC_HZ / 1000;

fn ms(count: u64) -> Ticks {
    Ticks(count * MS)
}

/// 2001-09-09 01:46:40, a Sunday: the billionth second of Unix time.
fn clock() -> Cmos {
    Cmos::new(DateTime::from_unix_seconds(1_000_000_000).unwrap())
}

fn out(cmos: &mut Cmos, now: Ticks, index: u8, value: u8) -> Effects {
    let mut effects = vec![];
    cmos.write(now, 0, 0, 1, index.into(), &mut NoRam, &mut effects);
    cmos.write(now, 0, 1, 1, value.into(), &mut NoRam, &mut effects);
    effects
}

fn inb(cmos: &mut Cmos, now: Ticks, index: u8) -> u8 {
    let mut effects = vec![];
    cmos.write(now, 0, 0, 1, index.into(), &mut NoRam, &mut effects);
    cmos.read(now, 0, 1, 1, &mut effects) as u8
}

/// Century, year, month, day, weekday, hours, minutes, seconds.
fn time(cmos: &mut Cmos, now: Ticks) -> [u8; 8] {
    [0x32, 9, 8, 7, 6, 4, 2, 0].map(|index| inb(cmos, now, index))
}

fn line(asserted: bool) -> Effect {
    Effect::Line { irq: 8, asserted }
}

/// Lets time come to `until` as a machine does; the times at which IRQ 8 rose, each of which is
/// served by a read of register C.
fn serve(cmos: &mut Cmos, until: Ticks) -> Vec<(Ticks, u8)> {
    let mut served = vec![];
    while let Some(deadline) = cmos.deadline().filter(|&deadline| deadline <= until) {
        let mut effects = vec![];
        cmos.advance(deadline, &mut NoRam, &mut effects);
        assert_eq!(effects, [line(true)]);
        served.push((deadline, inb(cmos, deadline, 0x0c)));
    }
    served
}

// ---- the calendar -----------------------------------------------------------------------------

#[test]
fn dates_of_unix_time() {
    for (unix, date) in [
        (0, (1970, 1, 1, 0, 0, 0)),
        (951_782_400, (2000, 2, 29, 0, 0, 0)),
        (1_000_000_000, (2001, 9, 9, 1, 46, 40)),
        (2_147_483_648, (2038, 1, 19, 3, 14, 8)),
        (4_107_542_400, (2100, 3, 1, 0, 0, 0)),
        (253_402_300_799, (9999, 12, 31, 23, 59, 59)),
    ] {
        let (year, month, day, hour, minute, second) = date;
        let expected = DateTime::new(year, month, day, hour, minute, second).unwrap();
        assert_eq!(DateTime::from_unix_seconds(unix), Some(expected), "{unix}");
    }
    assert_eq!(DateTime::from_unix_seconds(253_402_300_800), None);
    assert_eq!(DateTime::from_unix_seconds(u64::MAX), None);
    assert_eq!(DateTime::new(2100, 2, 29, 0, 0, 0), None);
    assert_eq!(DateTime::new(2000, 13, 1, 0, 0, 0), None);
    assert_eq!(DateTime::new(2000, 1, 0, 0, 0, 0), None);
    assert_eq!(DateTime::new(2000, 1, 1, 24, 0, 0), None);
}

#[test]
fn every_day_of_ten_thousand_years_is_one_after_the_day_before() {
    let mut seconds = 0;
    let mut expected_weekday = 6;
    for year in 0..10_000 {
        for month in 1..=12 {
            for day in 1..=calendar::days_in_month(year, month) {
                let fields = Fields {
                    year: year as u16,
                    month,
                    day,
                    hour: 0,
                    minute: 0,
                    second: 0,
                };
                assert_eq!(Fields::from_seconds(seconds), fields);
                assert_eq!(fields.to_seconds(), seconds);
                assert_eq!(calendar::weekday(seconds), expected_weekday);
                seconds += 86_400;
                expected_weekday = (expected_weekday + 1) % 7;
            }
        }
    }
    assert_eq!(seconds, calendar::END);
}

// ---- the clock --------------------------------------------------------------------------------

#[test]
fn it_starts_as_firmware_leaves_it_in_bcd_and_24_hours() {
    let mut cmos = clock();
    assert_eq!(
        time(&mut cmos, ms(0)),
        [0x20, 0x01, 0x09, 0x09, 1, 0x01, 0x46, 0x40]
    );
    assert_eq!(inb(&mut cmos, ms(0), 0x0a), 0x26);
    assert_eq!(inb(&mut cmos, ms(0), 0x0b), 0x02);
    assert_eq!(inb(&mut cmos, ms(0), 0x0d), 0x80);
}

#[test]
fn seconds_pass_with_virtual_time_and_carry() {
    let mut cmos = clock();
    assert_eq!(time(&mut cmos, ms(999))[7], 0x40);
    assert_eq!(time(&mut cmos, ms(1000))[7], 0x41);
    let later = ms(1000 * (20 + 13 * 60 + 22 * 3600));
    assert_eq!(time(&mut cmos, later), [0x20, 0x01, 0x09, 0x10, 2, 0, 0, 0]);
    let mut cmos = Cmos::new(DateTime::new(1999, 12, 31, 23, 59, 59).unwrap());
    assert_eq!(
        time(&mut cmos, ms(1000)),
        [0x20, 0x00, 0x01, 0x01, 7, 0, 0, 0]
    );
}

#[test]
fn uip_announces_the_update_244_microseconds_before_the_cycle_of_1984() {
    let mut cmos = clock();
    let micros = |count: u64| Ticks(count * (TSC_HZ / 1_000_000));
    assert_eq!(inb(&mut cmos, micros(1_000_000 - 2229), 0x0a) & 0x80, 0);
    assert_eq!(inb(&mut cmos, micros(1_000_000 - 2228), 0x0a) & 0x80, 0x80);
    assert_eq!(inb(&mut cmos, micros(999_999), 0x0a) & 0x80, 0x80);
    assert_eq!(inb(&mut cmos, micros(1_000_000), 0x0a) & 0x80, 0);
    out(&mut cmos, micros(1_000_000), 0x0b, 0x82);
    assert_eq!(
        inb(&mut cmos, micros(1_999_999), 0x0a) & 0x80,
        0,
        "SET inhibits updates"
    );
}

#[test]
fn binary_and_12_hour_formats() {
    for (b, hour, bytes) in [
        (0x02, 0, 0x00),
        (0x02, 23, 0x23),
        (0x06, 23, 23),
        (0x00, 0, 0x12),
        (0x00, 1, 0x01),
        (0x00, 12, 0x92),
        (0x00, 23, 0x91),
        (0x04, 0, 12),
        (0x04, 13, 0x81),
        (0x04, 22, 0x8a),
    ] {
        let mut cmos = Cmos::new(DateTime::new(2026, 11, 20, hour, 34, 56).unwrap());
        out(&mut cmos, ms(1), 0x0b, b);
        assert_eq!(
            inb(&mut cmos, ms(2), 4),
            bytes,
            "hour {hour}, register B {b:#x}"
        );
        let expected = if b & 4 != 0 {
            [20, 11, 26, 34, 56]
        } else {
            [0x20, 0x11, 0x26, 0x34, 0x56]
        };
        assert_eq!(
            [7, 8, 9, 2, 0].map(|index| inb(&mut cmos, ms(2), index)),
            expected
        );
        // And taken over again from these bytes.
        out(&mut cmos, ms(3), 0x0b, b | 0x80);
        out(&mut cmos, ms(3), 0x0b, b);
        assert_eq!(inb(&mut cmos, ms(4), 4), bytes);
        assert_eq!(Fields::from_seconds(cmos.state.date(ms(4))).hour, hour);
    }
}

#[test]
fn set_stops_the_clock_for_setting_and_keeps_the_phase_of_the_second() {
    let mut cmos = clock();
    out(&mut cmos, ms(300), 0x0b, 0x82);
    assert_eq!(time(&mut cmos, ms(5000))[7], 0x40);
    for (index, byte) in [
        (0x32, 0x20),
        (9, 0x24),
        (8, 2),
        (7, 0x29),
        (6, 5),
        (4, 0x23),
        (2, 0x59),
        (0, 0x58),
    ] {
        out(&mut cmos, ms(5400), index, byte);
    }
    out(&mut cmos, ms(5700), 0x0b, 0x02);
    assert_eq!(
        time(&mut cmos, ms(5999)),
        [0x20, 0x24, 0x02, 0x29, 5, 0x23, 0x59, 0x58]
    );
    assert_eq!(time(&mut cmos, ms(6000))[7], 0x59);
    assert_eq!(
        time(&mut cmos, ms(7000)),
        [0x20, 0x24, 0x03, 0x01, 6, 0, 0, 0]
    );
}

#[test]
fn the_first_update_comes_half_a_second_after_the_divider_is_started() {
    let mut cmos = clock();
    out(&mut cmos, ms(300), 0x0a, 0x76);
    assert_eq!(time(&mut cmos, ms(9000))[7], 0x40);
    out(&mut cmos, ms(9000), 0, 0x10);
    out(&mut cmos, ms(9123), 0x0a, 0x26);
    assert_eq!(time(&mut cmos, ms(9622))[7], 0x10);
    assert_eq!(time(&mut cmos, ms(9623))[7], 0x11);
    assert_eq!(time(&mut cmos, ms(10623))[7], 0x12);
}

#[test]
fn a_byte_written_while_the_clock_runs_is_taken_over() {
    let mut cmos = clock();
    out(&mut cmos, ms(100), 4, 0x17);
    assert_eq!(
        time(&mut cmos, ms(1000)),
        [0x20, 0x01, 0x09, 0x09, 1, 0x17, 0x46, 0x41]
    );
    // The day of the week is what software says, whatever the date.
    out(&mut cmos, ms(1000), 6, 4);
    assert_eq!(time(&mut cmos, ms(1000 + 86_400_000))[4], 5);
}

#[test]
fn nonsense_dates_are_put_into_range() {
    let mut cmos = clock();
    out(&mut cmos, ms(0), 0x0b, 0x82);
    for index in [0, 2, 4, 6, 7, 8, 9, 0x32] {
        out(&mut cmos, ms(0), index, 0xff);
        assert_eq!(
            inb(&mut cmos, ms(0), index),
            0xff,
            "as written while the clock stands"
        );
    }
    out(&mut cmos, ms(0), 0x0b, 0x02);
    assert_eq!(
        time(&mut cmos, ms(1)),
        [0x99, 0x99, 0x12, 0x31, 7, 0x23, 0x59, 0x59]
    );
    // The end of its time.
    assert_eq!(
        time(&mut cmos, ms(100_000)),
        [0x99, 0x99, 0x12, 0x31, 7, 0x23, 0x59, 0x59]
    );
}

// ---- interrupts -------------------------------------------------------------------------------

#[test]
fn the_update_ended_interrupt_comes_every_second() {
    let mut cmos = clock();
    assert_eq!(cmos.deadline(), None);
    assert_eq!(
        out(&mut cmos, ms(500), 0x0b, 0x12),
        [Effect::DeadlineChanged]
    );
    let served = serve(&mut cmos, ms(4500));
    assert_eq!(served, [1, 2, 3, 4].map(|second| (ms(1000 * second), 0xd0)));
}

#[test]
fn the_periodic_rates_are_those_of_the_table() {
    let hz = [
        0, 256, 128, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2,
    ];
    for (rate, hz) in (0u8..).zip(hz) {
        let mut cmos = clock();
        out(&mut cmos, ms(0), 0x0a, 0x20 | rate);
        out(&mut cmos, ms(0), 0x0b, 0x42);
        let served = serve(&mut cmos, ms(1000));
        assert_eq!(served.len(), hz, "rate {rate}");
        // At whole seconds UF is set as well, though not enabled.
        assert!(served.iter().all(|&(_, c)| c & 0xe0 == 0xc0));
    }
}

#[test]
fn an_unserved_interrupt_asks_for_no_further_call() {
    let mut cmos = clock();
    out(&mut cmos, ms(0), 0x0a, 0x23);
    out(&mut cmos, ms(0), 0x0b, 0x52);
    let first = cmos.deadline().unwrap();
    let mut effects = vec![];
    cmos.advance(first, &mut NoRam, &mut effects);
    assert_eq!((effects, cmos.deadline()), (vec![line(true)], None));
    assert_eq!(
        inb(&mut cmos, ms(5000), 0x0c),
        0xd0,
        "everything that happened since"
    );
    assert_eq!(inb(&mut cmos, ms(5000), 0x0c), 0x00, "reading clears");
    assert!(cmos.deadline().is_some());
}

#[test]
fn flags_are_set_without_their_enables_and_raise_the_line_once_enabled() {
    let mut cmos = clock();
    assert_eq!(out(&mut cmos, ms(2500), 0x0b, 0x12), [line(true)]);
    assert_eq!(out(&mut cmos, ms(2500), 0x0b, 0x02), [line(false)]);
    assert_eq!(inb(&mut cmos, ms(2500), 0x0c) & 0x90, 0x10);
}

#[test]
fn set_going_high_clears_uie() {
    let mut cmos = clock();
    out(&mut cmos, ms(0), 0x0b, 0x12);
    out(&mut cmos, ms(0), 0x0b, 0x92);
    assert_eq!(inb(&mut cmos, ms(0), 0x0b), 0x82);
}

#[test]
fn the_alarm_matches_its_bytes_and_does_not_care_where_both_top_bits_are_set() {
    // From 01:46:40 on; seconds, minutes, hours of the alarm and after how many seconds it comes.
    for (alarm, expected) in [
        ([0x41, 0x46, 0x01], Some(1)),
        ([0x40, 0x46, 0x01], Some(86_400)),
        ([0x39, 0x46, 0x01], Some(86_399)),
        ([0x00, 0x47, 0x01], Some(20)),
        ([0x00, 0x00, 0x02], Some(800)),
        ([0x00, 0x00, 0x00], Some(80_000)),
        ([0xff, 0xff, 0xff], Some(1)),
        ([0x30, 0xff, 0xff], Some(50)),
        ([0xc0, 0x45, 0xff], Some(3500)),
        ([0xff, 0xff, 0x01], Some(1)),
        ([0xff, 0xff, 0x23], Some(76_400)),
        ([0x60, 0xff, 0xff], None),
        ([0x00, 0xff, 0x24], None),
        ([0x0a, 0xff, 0xff], None),
    ] {
        let mut cmos = clock();
        for (index, byte) in [1, 3, 5].into_iter().zip(alarm) {
            out(&mut cmos, ms(0), index, byte);
            assert_eq!(inb(&mut cmos, ms(0), index), byte);
        }
        out(&mut cmos, ms(0), 0x0b, 0x22);
        let deadline = expected.map(|seconds| ms(1000 * seconds));
        assert_eq!(cmos.deadline(), deadline, "alarm {alarm:x?}");
        if let Some(deadline) = deadline {
            assert_eq!(serve(&mut cmos, deadline), [(deadline, 0xf0)]);
            // And the same when nobody looks until much later.
            let mut cmos = clock();
            for (index, byte) in [1, 3, 5].into_iter().zip(alarm) {
                out(&mut cmos, ms(0), index, byte);
            }
            let just_before = Ticks(deadline.0 - 1);
            assert_eq!(inb(&mut cmos.clone(), just_before, 0x0c) & 0x20, 0);
            assert_eq!(inb(&mut cmos, deadline, 0x0c) & 0x20, 0x20);
        }
    }
}

// ---- memory -----------------------------------------------------------------------------------

#[test]
fn memory_keeps_what_is_written_and_the_index_port_holds_the_nmi_mask() {
    let mut cmos = clock();
    for index in (0x0e..0x80).filter(|&index| index != 0x32) {
        out(&mut cmos, ms(0), index, index ^ 0x5a);
    }
    for index in (0x0e..0x80).filter(|&index| index != 0x32) {
        assert_eq!(inb(&mut cmos, ms(0), 0x80 | index), index ^ 0x5a);
        assert!(cmos.nmi_masked());
    }
    inb(&mut cmos, ms(0), 0x0f);
    assert!(!cmos.nmi_masked());
    assert_eq!(cmos.read(ms(0), 0, 0, 1, &mut vec![]), 0xff);
}

#[test]
fn memory_size_is_where_firmware_looks_for_it() {
    let mut cmos = clock();
    cmos.set_memory_size(3 << 30, 5 << 30);
    let mut word = |index| {
        u16::from(inb(&mut cmos, ms(0), index)) | u16::from(inb(&mut cmos, ms(0), index + 1)) << 8
    };
    assert_eq!(word(0x15), 640);
    assert_eq!((word(0x17), word(0x30)), (63 << 10, 63 << 10));
    assert_eq!(word(0x34), (((3u64 << 30) - (16 << 20)) >> 16) as u16);
    assert_eq!(
        (word(0x5b), word(0x5d) & 0xff),
        (((5u64 << 30) >> 16) as u16, 1)
    );
    let mut small = clock();
    small.set_memory_size(8 << 20, 0);
    assert_eq!(inb(&mut small, ms(0), 0x18), 0x1c);
    assert_eq!(inb(&mut small, ms(0), 0x35), 0);
    // The clock's own bytes cannot be stored that way.
    small.set_memory(0x0b, 0xff);
    small.set_memory(0x32, 0xff);
    small.set_memory(0xff, 0xff);
    assert_eq!(inb(&mut small, ms(0), 0x0b), 0x02);
}

#[test]
fn reset_disables_interrupts_and_keeps_time_and_memory() {
    let mut cmos = clock();
    out(&mut cmos, ms(0), 0x0b, 0x72);
    out(&mut cmos, ms(0), 0x0f, 0x0a);
    cmos.advance(ms(1500), &mut NoRam, &mut vec![]);
    cmos.reset();
    assert_eq!(inb(&mut cmos, ms(1500), 0x0c), 0);
    assert_eq!(inb(&mut cmos, ms(1500), 0x0b), 0x02);
    assert_eq!(inb(&mut cmos, ms(1500), 0x0f), 0x0a);
    assert_eq!(time(&mut cmos, ms(2000))[7], 0x42);
    assert_eq!(cmos.deadline(), None);
}

fn poke(cmos: &mut Cmos, rng: &mut Xorshift, now: Ticks, effects: &mut Effects) -> u64 {
    // Storms seldom hit a register of their choice.
    let index = rng.below(0x10);
    cmos.write(now, 0, 0, 1, index, &mut NoRam, effects);
    let value = match index {
        0x0a => 0x20 | rng.below(16),
        0x0b => rng.next() & 0x7f,
        _ => rng.value() & 0xff,
    };
    cmos.write(now, 0, 1, 1, value, &mut NoRam, effects);
    0
}

#[test]
fn weathers_a_storm_of_accesses() {
    for seed in [1, 2] {
        storm::weather(clock, seed, 200_000, poke);
    }
}
