use super::*;
use crate::storm::{self, NoRam, Xorshift};

const STATUS: u64 = 0;
const ENABLE: u64 = 2;
const CONTROL: u64 = 4;
const TIMER: u64 = 8;

fn write(pm: &mut AcpiPm, now: Ticks, offset: u64, size: u8, value: u64) -> Effects {
    let mut effects = vec![];
    pm.write(now, 0, offset, size, value, &mut NoRam, &mut effects);
    effects
}

fn read(pm: &mut AcpiPm, now: Ticks, offset: u64, size: u8) -> u64 {
    pm.read(now, 0, offset, size, &mut vec![])
}

fn at(count: u64) -> Ticks {
    Ticks::from_periods(count, spec::TIMER_HZ)
}

fn sci(asserted: bool) -> Effect {
    Effect::Line { irq: 9, asserted }
}

#[test]
fn the_timer_runs_at_3_579545_mhz_and_wraps_at_its_width() {
    let second = Ticks(ring3_clock::TSC_HZ);
    for (width, mask) in [
        (TimerWidth::Bits24, 0xff_ffff),
        (TimerWidth::Bits32, 0xffff_ffff),
    ] {
        let mut pm = AcpiPm::new(width);
        assert_eq!(read(&mut pm, Ticks(0), TIMER, 4), 0);
        assert_eq!(read(&mut pm, second, TIMER, 4), 3_579_545);
        for count in [0xff_fffe, 0x100_0005, 0xffff_ffff, 0x1_0000_0007] {
            assert_eq!(read(&mut pm, at(count), TIMER, 4), count & mask);
        }
        assert_eq!(read(&mut pm, at(0x0012_3456), TIMER + 1, 2), 0x1234);
        write(&mut pm, second, TIMER, 4, 0);
        assert_eq!(read(&mut pm, second, TIMER, 4), 3_579_545, "read-only");
    }
}

#[test]
fn tmr_sts_is_set_when_the_most_significant_bit_changes() {
    for (width, half) in [(TimerWidth::Bits24, 1 << 23), (TimerWidth::Bits32, 1 << 31)] {
        let mut pm = AcpiPm::new(width);
        assert_eq!(read(&mut pm, at(half - 1), STATUS, 2), 0);
        assert_eq!(read(&mut pm, at(half), STATUS, 2), 1);
        write(&mut pm, at(half), STATUS, 2, 0);
        assert_eq!(
            read(&mut pm, at(half), STATUS, 2),
            1,
            "cleared by a one only"
        );
        write(&mut pm, at(half + 1), STATUS, 2, 1);
        assert_eq!(read(&mut pm, at(2 * half - 1), STATUS, 2), 0);
        assert_eq!(
            read(&mut pm, at(2 * half), STATUS, 2),
            1,
            "high to low as well"
        );
    }
}

#[test]
fn the_carry_raises_one_sci_that_falls_when_its_status_is_cleared() {
    let mut pm = AcpiPm::new(TimerWidth::Bits24);
    let half = 1 << 23;
    assert_eq!(pm.deadline(), None);
    assert_eq!(
        write(&mut pm, Ticks(0), ENABLE, 2, 1),
        [Effect::DeadlineChanged]
    );
    for carry in 1..5 {
        let deadline = pm.deadline().unwrap();
        assert_eq!(deadline, at(carry * half));
        let mut effects = vec![];
        pm.advance(deadline, &mut NoRam, &mut effects);
        assert_eq!(effects, [sci(true)]);
        assert_eq!(pm.deadline(), None, "no storm while it is not served");
        let cleared = write(&mut pm, at(carry * half + 99), STATUS, 2, 1);
        assert_eq!(cleared, [sci(false), Effect::DeadlineChanged]);
    }
    // Several carries that nobody cleared are one status.
    write(&mut pm, at(9 * half), ENABLE, 2, 0);
    assert_eq!(write(&mut pm, at(9 * half), ENABLE, 2, 1), [sci(true)]);
    write(&mut pm, at(9 * half + 1), STATUS, 2, 1);
    assert_eq!(pm.deadline(), Some(at(10 * half)));
}

#[test]
fn the_power_button_raises_the_sci_if_enabled() {
    let mut pm = AcpiPm::new(TimerWidth::Bits32);
    let mut effects = vec![];
    pm.press_power_button(Ticks(5), &mut effects);
    assert!(effects.is_empty());
    assert_eq!(read(&mut pm, Ticks(5), STATUS, 2), 0x100);
    assert_eq!(write(&mut pm, Ticks(5), ENABLE, 2, 0x100), [sci(true)]);
    assert_eq!(write(&mut pm, Ticks(5), STATUS + 1, 1, 0x01), [sci(false)]);
    pm.press_power_button(Ticks(6), &mut effects);
    assert_eq!(effects, [sci(true)]);
}

#[test]
fn sci_en_is_always_set_and_slp_en_reads_as_zero() {
    let mut pm = AcpiPm::new(TimerWidth::Bits32);
    assert_eq!(read(&mut pm, Ticks(0), CONTROL, 2), 1);
    write(&mut pm, Ticks(0), CONTROL, 2, 0);
    assert_eq!(read(&mut pm, Ticks(0), CONTROL, 2), 1);
    write(&mut pm, Ticks(0), CONTROL, 2, 0x3c02);
    assert_eq!(read(&mut pm, Ticks(0), CONTROL, 2), 0x1c03);
}

#[test]
fn slp_en_with_the_type_of_s5_powers_off() {
    let mut pm = AcpiPm::new(TimerWidth::Bits32);
    // As kernels do: first the type, then the type with SLP_EN.
    let typed = u64::from(spec::SLEEP_TYPE_S5) << 10 | 1;
    assert_eq!(write(&mut pm, Ticks(0), CONTROL, 2, typed), []);
    let off = Effect::PowerOff { status: None };
    assert_eq!(write(&mut pm, Ticks(0), CONTROL, 2, typed | 1 << 13), [off]);
    for other in [0, 1, 2, 3, 4, 6, 7] {
        let effects = write(&mut pm, Ticks(0), CONTROL, 2, other << 10 | 1 << 13);
        assert!(matches!(effects[..], [Effect::Warning(_)]), "type {other}");
    }
}

#[test]
fn the_event_registers_can_be_written_as_one_double_word() {
    let mut pm = AcpiPm::new(TimerWidth::Bits32);
    pm.press_sleep_button(Ticks(0), &mut vec![]);
    assert_eq!(
        write(&mut pm, Ticks(0), STATUS, 4, 0xffff_0000),
        [sci(true)]
    );
    assert_eq!(read(&mut pm, Ticks(0), STATUS, 4), 0x0721_0200);
    assert_eq!(
        write(&mut pm, Ticks(0), STATUS, 4, 0xffff_ffff)[0],
        sci(false)
    );
}

#[test]
fn rst_cpu_resets_at_its_rising_edge() {
    let mut pm = AcpiPm::new(TimerWidth::Bits32);
    let mut reset = |value| {
        let mut effects = vec![];
        pm.write(Ticks(0), 1, 0, 1, value, &mut NoRam, &mut effects);
        (effects, pm.read(Ticks(0), 1, 0, 1, &mut vec![]))
    };
    assert_eq!(reset(0x02), (vec![], 0x02));
    assert_eq!(reset(0x06), (vec![Effect::Reset], 0x06));
    assert_eq!(reset(0x06), (vec![], 0x06));
    assert_eq!(reset(0xf1), (vec![], 0x00));
    assert_eq!(reset(u64::from(spec::RESET_VALUE)).0, [Effect::Reset]);
}

fn poke(pm: &mut AcpiPm, rng: &mut Xorshift, now: Ticks, effects: &mut Effects) -> u64 {
    match rng.below(2) {
        0 => pm.press_power_button(now, effects),
        _ => pm.press_sleep_button(now, effects),
    }
    0
}

#[test]
fn weathers_a_storm_of_accesses() {
    for width in [TimerWidth::Bits24, TimerWidth::Bits32] {
        storm::weather(|| AcpiPm::new(width), 1, 200_000, poke);
    }
}
