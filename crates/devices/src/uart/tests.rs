use super::*;
use crate::storm::{self, NoRam, Xorshift};

const DATA: u64 = offset::DATA;
const IER: u64 = offset::INTERRUPT_ENABLE;
const IIR: u64 = offset::INTERRUPT_ID;
const FCR: u64 = offset::INTERRUPT_ID;
const LCR: u64 = offset::LINE_CONTROL;
const MCR: u64 = offset::MODEM_CONTROL;
const LSR: u64 = offset::LINE_STATUS;
const MSR: u64 = offset::MODEM_STATUS;
const SCR: u64 = offset::SCRATCH;

const NOW: Ticks = Ticks(1_000_000);

fn out_at(uart: &mut Uart, now: Ticks, register: u64, value: u8) -> Effects {
    let mut effects = vec![];
    uart.write(now, 0, register, 1, value.into(), &mut NoRam, &mut effects);
    effects
}

fn out(uart: &mut Uart, register: u64, value: u8) -> Effects {
    out_at(uart, NOW, register, value)
}

fn inb(uart: &mut Uart, register: u64) -> u8 {
    uart.read(NOW, 0, register, 1, &mut vec![]) as u8
}

fn receive(uart: &mut Uart, now: Ticks, bytes: &[u8]) -> (usize, Effects) {
    let mut effects = vec![];
    (uart.receive(now, bytes, &mut effects), effects)
}

/// COM1 with OUT 2 on, 115200 baud, 8n1.
fn uart() -> Uart {
    let mut uart = Uart::new(Com::Com1);
    out(&mut uart, LCR, 0x83);
    out(&mut uart, DATA, 1);
    out(&mut uart, IER, 0);
    out(&mut uart, LCR, 0x03);
    out(&mut uart, MCR, 0x0b);
    uart
}

fn line(asserted: bool) -> Effect {
    Effect::Line { irq: 4, asserted }
}

fn output(byte: u8) -> Effect {
    Effect::Output {
        stream: 0,
        bytes: vec![byte],
    }
}

#[test]
fn at_reset_registers_are_those_of_the_reset_table() {
    let mut uart = Uart::new(Com::Com1);
    let expected = [
        (IER, 0),
        (IIR, 1),
        (LCR, 0),
        (MCR, 0),
        (LSR, 0x60),
        (MSR, 0xb0),
    ];
    for (register, value) in expected {
        assert_eq!(inb(&mut uart, register), value, "register {register}");
    }
}

#[test]
fn bytes_leave_at_once_and_the_transmitter_is_empty_again() {
    let mut uart = uart();
    assert_eq!(out(&mut uart, DATA, b'x'), [output(b'x')]);
    assert_eq!(inb(&mut uart, LSR), 0x60);
}

#[test]
fn the_divisor_latch_hides_the_first_two_registers() {
    let mut uart = uart();
    out(&mut uart, IER, 0x05);
    out(&mut uart, LCR, 0x83);
    assert_eq!(out(&mut uart, DATA, 0x34), []);
    out(&mut uart, IER, 0x12);
    assert_eq!((inb(&mut uart, DATA), inb(&mut uart, IER)), (0x34, 0x12));
    out(&mut uart, LCR, 0x03);
    assert_eq!(inb(&mut uart, IER), 0x05);
}

#[test]
fn registers_that_are_narrower_than_a_byte_say_so_to_a_probe() {
    let mut uart = uart();
    for register in [IER, MCR, SCR, LCR] {
        out(&mut uart, register, 0xff);
    }
    assert_eq!(inb(&mut uart, SCR), 0xff);
    assert_eq!(inb(&mut uart, MCR), 0x1f);
    out(&mut uart, LCR, 0);
    assert_eq!(inb(&mut uart, IER), 0x0f);
}

// ---- what the Linux 8250 driver probes for ----------------------------------------------------

#[test]
fn loopback_connects_the_modem_outputs_to_the_inputs() {
    let mut uart = uart();
    out(&mut uart, MCR, 0x1a);
    assert_eq!(inb(&mut uart, MSR) & 0xf0, 0x90);
    for outputs in 0..16 {
        out(&mut uart, MCR, 0x10 | outputs);
        let bit = |from: u8, to: u8| (outputs >> from & 1) << to;
        let expected = bit(1, 4) | bit(0, 5) | bit(2, 6) | bit(3, 7);
        assert_eq!(inb(&mut uart, MSR) & 0xf0, expected, "outputs {outputs:#x}");
    }
}

#[test]
fn fcr_enables_fifos_that_iir_shows() {
    let mut uart = uart();
    assert_eq!(inb(&mut uart, IIR), 0x01);
    out(&mut uart, FCR, 0x01);
    assert_eq!(inb(&mut uart, IIR), 0xc1);
    out(&mut uart, FCR, 0xc0);
    assert_eq!(inb(&mut uart, IIR), 0x01, "bit 0 is needed");
}

#[test]
fn enabling_the_empty_interrupt_raises_it_every_time() {
    let mut uart = uart();
    for _ in 0..3 {
        assert_eq!(out(&mut uart, IER, 0x02), [line(true)]);
        assert_eq!(inb(&mut uart, IIR), 0x02);
        assert_eq!(inb(&mut uart, IIR), 0x01, "reading it resets it");
        assert_eq!(out(&mut uart, IER, 0x02), [], "it was enabled already");
        out(&mut uart, IER, 0x00);
    }
}

#[test]
fn each_byte_sent_raises_the_empty_interrupt_with_an_edge() {
    let mut uart = uart();
    out(&mut uart, IER, 0x02);
    inb(&mut uart, IIR);
    assert_eq!(out(&mut uart, DATA, b'a'), [output(b'a'), line(true)]);
    // Not served by reading IIR but by sending more.
    assert_eq!(
        out(&mut uart, DATA, b'b'),
        [line(false), output(b'b'), line(true)]
    );
}

// ---- receiving --------------------------------------------------------------------------------

#[test]
fn without_fifos_one_byte_fits() {
    let mut uart = uart();
    out(&mut uart, IER, 0x01);
    assert_eq!(receive(&mut uart, NOW, b"ab"), (1, vec![line(true)]));
    assert_eq!((uart.room(), inb(&mut uart, IIR)), (0, 0x04));
    assert_eq!(inb(&mut uart, LSR), 0x61);
    assert_eq!(inb(&mut uart, DATA), b'a');
    assert_eq!((uart.room(), inb(&mut uart, IIR)), (1, 0x01));
    assert_eq!(inb(&mut uart, LSR), 0x60);
    assert_eq!(uart.deadline(), None, "no character timeout without FIFOs");
}

#[test]
fn the_fifo_interrupts_at_its_trigger_level() {
    for (fcr, level) in [(0x01, 1), (0x41, 4), (0x81, 8), (0xc1, 14)] {
        let mut uart = uart();
        out(&mut uart, FCR, fcr);
        out(&mut uart, IER, 0x01);
        for count in 1..level {
            receive(&mut uart, NOW, b"x");
            assert_eq!(inb(&mut uart, IIR), 0xc1, "{count} of {level}");
        }
        receive(&mut uart, NOW, b"x");
        assert_eq!(inb(&mut uart, IIR), 0xc4);
        inb(&mut uart, DATA);
        assert_eq!(inb(&mut uart, IIR), 0xc1, "below it again");
    }
}

#[test]
fn sixteen_bytes_fit_and_the_rest_has_to_wait() {
    let mut uart = uart();
    out(&mut uart, FCR, 0x01);
    let bytes: Vec<u8> = (0..20).collect();
    assert_eq!(receive(&mut uart, NOW, &bytes).0, 16);
    assert_eq!(receive(&mut uart, NOW, &bytes[16..]).0, 0);
    assert_eq!([inb(&mut uart, DATA), inb(&mut uart, DATA)], [0, 1]);
    assert_eq!(receive(&mut uart, NOW, &bytes[16..]).0, 2);
    let rest: Vec<u8> = (0..16).map(|_| inb(&mut uart, DATA)).collect();
    assert_eq!(rest, (2..18).collect::<Vec<u8>>());
    assert_eq!(inb(&mut uart, LSR) & 2, 0, "no overrun");
}

#[test]
fn a_character_timeout_comes_four_characters_after_the_last_one() {
    let mut uart = uart();
    out(&mut uart, FCR, 0xc1);
    out(&mut uart, IER, 0x01);
    // 8n1 at 115200 baud: 10 bits each.
    let four = Ticks::from_periods(40, 115_200);
    assert_eq!(
        receive(&mut uart, NOW, b"ab"),
        (2, vec![Effect::DeadlineChanged])
    );
    assert_eq!(uart.deadline(), Some(NOW + four));
    let later = NOW + Ticks(1000);
    receive(&mut uart, later, b"c");
    let deadline = later + four;
    assert_eq!(uart.deadline(), Some(deadline));
    let mut effects = vec![];
    uart.advance(deadline, &mut NoRam, &mut effects);
    assert_eq!(effects, [line(true)]);
    assert_eq!(inb(&mut uart, IIR), 0xcc);
    // Reading one character resets the timeout and starts it anew for the others.
    effects.clear();
    assert_eq!(
        uart.read(deadline, 0, DATA, 1, &mut effects),
        u64::from(b'a')
    );
    assert_eq!(effects, [line(false), Effect::DeadlineChanged]);
    assert_eq!(uart.deadline(), Some(deadline + four));
    inb(&mut uart, DATA);
    inb(&mut uart, DATA);
    assert_eq!(uart.deadline(), None);
}

#[test]
fn loopback_receives_what_is_sent_and_nothing_from_outside() {
    let mut uart = uart();
    out(&mut uart, FCR, 0x01);
    out(&mut uart, MCR, 0x1b);
    assert!(!out(&mut uart, DATA, 0x55).contains(&output(0x55)));
    assert_eq!((uart.room(), receive(&mut uart, NOW, b"z").0), (0, 0));
    assert_eq!(inb(&mut uart, LSR), 0x61);
    assert_eq!(inb(&mut uart, DATA), 0x55);
}

#[test]
fn an_overrun_is_a_line_status_interrupt_of_the_highest_priority() {
    let mut uart = uart();
    out(&mut uart, MCR, 0x13);
    out(&mut uart, IER, 0x0f);
    for byte in [1, 2] {
        out(&mut uart, DATA, byte);
    }
    assert_eq!(inb(&mut uart, IIR), 0x06);
    assert_eq!(inb(&mut uart, LSR), 0x63);
    assert_eq!(inb(&mut uart, LSR), 0x61, "reading clears it");
    // Then received data, then the empty transmitter, then the modem status.
    assert_eq!(inb(&mut uart, IIR), 0x04);
    assert_eq!(inb(&mut uart, DATA), 2, "the old character was overwritten");
    assert_eq!(inb(&mut uart, IIR), 0x02);
    assert_eq!(inb(&mut uart, IIR), 0x00);
    inb(&mut uart, MSR);
    assert_eq!(inb(&mut uart, IIR), 0x01);
}

#[test]
fn modem_status_changes_are_kept_until_they_are_read() {
    let mut uart = uart();
    out(&mut uart, IER, 0x08);
    // Into loopback with everything off: CTS, DSR and DCD change; RI was off.
    out(&mut uart, MCR, 0x10);
    assert_eq!(inb(&mut uart, MSR), 0x0b);
    out(&mut uart, MCR, 0x14);
    assert_eq!(
        inb(&mut uart, MSR),
        0x40,
        "the leading edge of RI does not count"
    );
    out(&mut uart, MCR, 0x10);
    assert_eq!(inb(&mut uart, MSR), 0x04);
    assert_eq!(out(&mut uart, MCR, 0x0b), [line(true)]);
    assert_eq!(inb(&mut uart, IIR), 0x00);
    assert_eq!(inb(&mut uart, MSR), 0xbb);
    assert_eq!(inb(&mut uart, IIR), 0x01);
}

#[test]
fn out_2_connects_the_interrupt_to_the_bus_except_in_loopback() {
    let mut uart = uart();
    out(&mut uart, IER, 0x01);
    receive(&mut uart, NOW, b"x");
    assert_eq!(out(&mut uart, MCR, 0x03), [line(false)]);
    assert_eq!(inb(&mut uart, IIR), 0x04);
    assert_eq!(out(&mut uart, MCR, 0x0b), [line(true)]);
    assert_eq!(out(&mut uart, MCR, 0x1b), [line(false)]);
}

#[test]
fn clearing_or_toggling_the_fifos_empties_them() {
    let mut uart = uart();
    for fcr in [0x03, 0x00] {
        out(&mut uart, FCR, 0x01);
        receive(&mut uart, NOW, b"abc");
        assert_eq!(inb(&mut uart, LSR) & 1, 1);
        out(&mut uart, FCR, fcr);
        assert_eq!(inb(&mut uart, LSR) & 1, 0);
    }
}

fn poke(uart: &mut Uart, rng: &mut Xorshift, now: Ticks, effects: &mut Effects) -> u64 {
    let bytes = rng.next().to_le_bytes();
    let count = rng.below(9) as usize;
    uart.receive(now, &bytes[..count], effects) as u64 | (uart.room() as u64) << 8
}

#[test]
fn weathers_a_storm_of_accesses() {
    storm::weather(|| Uart::new(Com::Com2), 1, 300_000, poke);
}

#[test]
fn a_guest_listens_with_its_interrupt_or_by_asking() {
    let mut uart = uart();
    assert!(!uart.is_listening());
    out(&mut uart, IER, ier::RECEIVED);
    assert!(uart.is_listening());
    out(&mut uart, MCR, 0x1b);
    assert!(!uart.is_listening(), "nothing arrives in loopback");
    out(&mut uart, MCR, 0x0b);
    out(&mut uart, IER, 0);
    // A sender waits before and after each character.
    for _ in 0..100 {
        inb(&mut uart, LSR);
        out(&mut uart, DATA, b'x');
        inb(&mut uart, LSR);
        assert!(!uart.is_listening());
    }
    for _ in 0..16 {
        inb(&mut uart, LSR);
    }
    assert!(uart.is_listening());
    inb(&mut uart, DATA);
    assert!(!uart.is_listening());
}
