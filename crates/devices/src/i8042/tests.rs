use super::*;
use crate::storm::{self, NoRam};

fn out(controller: &mut I8042, region: usize, value: u8) -> Effects {
    let mut effects = vec![];
    let value = value.into();
    controller.write(Ticks(0), region, 0, 1, value, &mut NoRam, &mut effects);
    effects
}

fn inb(controller: &mut I8042, region: usize) -> u8 {
    controller.read(Ticks(0), region, 0, 1, &mut vec![]) as u8
}

/// Sends a command and returns its answer, if there is one, with the status it came with.
fn ask(controller: &mut I8042, command: u8) -> Option<(u8, u8)> {
    out(controller, COMMAND_REGION, command);
    answer(controller)
}

fn answer(controller: &mut I8042) -> Option<(u8, u8)> {
    let status = inb(controller, COMMAND_REGION);
    (status & 1 != 0).then(|| (inb(controller, DATA_REGION), status))
}

fn line(asserted: bool) -> Effect {
    Effect::Line { irq: 1, asserted }
}

#[test]
fn a_driver_finds_a_controller_without_devices_and_never_waits() {
    // The order of the Linux driver: flush, command byte, self test, auxiliary port, keyboard.
    let mut i8042 = I8042::new();
    assert_eq!(answer(&mut i8042), None);
    let (command_byte, _) = ask(&mut i8042, 0x20).unwrap();
    assert_eq!(ask(&mut i8042, 0xaa).unwrap().0, 0x55);
    assert_eq!(inb(&mut i8042, COMMAND_REGION) & 0x04, 0x04, "SYS");
    out(&mut i8042, COMMAND_REGION, 0x60);
    out(&mut i8042, DATA_REGION, command_byte | 0x10);
    assert_eq!(ask(&mut i8042, 0x20).unwrap().0, command_byte | 0x10);
    // The loop answers, but not as an auxiliary device; the test says that there is none.
    out(&mut i8042, COMMAND_REGION, 0xd3);
    out(&mut i8042, DATA_REGION, 0x5a);
    let (echo, status) = answer(&mut i8042).unwrap();
    assert_eq!((echo, status & 0x20), (0x5a, 0));
    assert_eq!(ask(&mut i8042, 0xa9).unwrap().0, 0x01);
    assert_eq!(ask(&mut i8042, 0xab).unwrap().0, 0x00);
    // What is sent to the keyboard or the mouse times out at once.
    out(&mut i8042, DATA_REGION, 0xf2);
    let (byte, status) = answer(&mut i8042).unwrap();
    assert_eq!((byte, status & 0x40), (0xfe, 0x40));
    out(&mut i8042, COMMAND_REGION, 0xd4);
    out(&mut i8042, DATA_REGION, 0xf2);
    let (byte, status) = answer(&mut i8042).unwrap();
    assert_eq!((byte, status & 0x40), (0xfe, 0x40));
    assert_eq!(
        inb(&mut i8042, COMMAND_REGION) & 0x42,
        0,
        "nothing is left, input never full"
    );
}

#[test]
fn a_full_output_buffer_interrupts_if_enabled() {
    let mut i8042 = I8042::new();
    assert_eq!(out(&mut i8042, COMMAND_REGION, 0xab), []);
    inb(&mut i8042, DATA_REGION);
    out(&mut i8042, COMMAND_REGION, 0x60);
    out(&mut i8042, DATA_REGION, 0x01);
    assert_eq!(out(&mut i8042, COMMAND_REGION, 0xd2), []);
    assert_eq!(out(&mut i8042, DATA_REGION, 0x1c), [line(true)]);
    let mut effects = vec![];
    assert_eq!(i8042.read(Ticks(0), DATA_REGION, 0, 1, &mut effects), 0x1c);
    assert_eq!(effects, [line(false)]);
}

#[test]
fn the_command_byte_holds_and_releases_the_clocks() {
    let mut i8042 = I8042::new();
    for (command, command_byte) in [(0xad, 0x10), (0xa7, 0x30), (0xae, 0x20), (0xa8, 0x00)] {
        assert_eq!(ask(&mut i8042, command), None);
        assert_eq!(ask(&mut i8042, 0x20).unwrap().0, command_byte);
    }
}

#[test]
fn the_status_tells_commands_from_data() {
    let mut i8042 = I8042::new();
    out(&mut i8042, COMMAND_REGION, 0xae);
    assert_eq!(inb(&mut i8042, COMMAND_REGION) & 0x08, 0x08);
    out(&mut i8042, DATA_REGION, 0xf4);
    assert_eq!(inb(&mut i8042, COMMAND_REGION) & 0x08, 0);
}

#[test]
fn pulsing_bit_0_of_the_output_port_resets() {
    let mut i8042 = I8042::new();
    assert_eq!(out(&mut i8042, COMMAND_REGION, 0xfe), [Effect::Reset]);
    assert_eq!(out(&mut i8042, COMMAND_REGION, 0xff), []);
    assert_eq!(out(&mut i8042, COMMAND_REGION, 0xf0), [Effect::Reset]);
    out(&mut i8042, COMMAND_REGION, 0xd1);
    assert_eq!(out(&mut i8042, DATA_REGION, 0x02), [Effect::Reset]);
}

#[test]
fn port_a_resets_at_its_rising_edge_and_shares_a20() {
    let mut i8042 = I8042::new();
    assert_eq!(inb(&mut i8042, 2), 0x02);
    assert_eq!(out(&mut i8042, 2, 0x03), [Effect::Reset]);
    assert_eq!(out(&mut i8042, 2, 0x03), []);
    assert!(matches!(out(&mut i8042, 2, 0x00)[..], [Effect::Warning(_)]));
    assert!(!i8042.a20());
    assert_eq!(ask(&mut i8042, 0xd0).unwrap().0 & 2, 0);
    out(&mut i8042, COMMAND_REGION, 0xd1);
    assert_eq!(out(&mut i8042, DATA_REGION, 0xdf), []);
    assert!(i8042.a20());
    assert_eq!(inb(&mut i8042, 2), 0x02);
}

#[test]
fn weathers_a_storm_of_accesses() {
    storm::weather(I8042::new, 1, 300_000, |_, _, _, _| 0);
}
