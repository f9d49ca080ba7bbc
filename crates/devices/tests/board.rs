//! The parts wired together as a board does it: what no device can test alone, and what a machine has
//! to do between them.

use ring3_arch::{ApicId, GuestPhys, Vector};
use ring3_bus::{Device, Dma, DmaError, Effect, Effects};
use ring3_clock::{TSC_HZ, Ticks};
use ring3_devices::ioapic::IoApic;
use ring3_devices::local_apic::LocalApic;
use ring3_devices::local_apic::route::Message;
use ring3_devices::pic::Pic;
use ring3_devices::pit::Pit;
use ring3_devices::uart::{Com, Uart};

struct NoRam;

impl Dma for NoRam {
    fn read(&mut self, address: GuestPhys, into: &mut [u8]) -> Result<(), DmaError> {
        let length = into.len();
        Err(DmaError { address, length })
    }

    fn write(&mut self, address: GuestPhys, from: &[u8]) -> Result<(), DmaError> {
        let length = from.len();
        Err(DmaError { address, length })
    }
}

struct Board {
    now: Ticks,
    apics: Vec<LocalApic>,
    ioapic: IoApic,
    pic: Pic,
    pit: Pit,
    uart: Uart,
    output: Vec<u8>,
}

impl Board {
    fn new() -> Board {
        let mut apics: Vec<LocalApic> = (0..2)
            .map(|id| LocalApic::new(ApicId(id), id == 0))
            .collect();
        apics[0].enter_virtual_wire_mode();
        Board {
            now: Ticks(0),
            apics,
            ioapic: IoApic::new(),
            pic: Pic::new(),
            pit: Pit::new(),
            uart: Uart::new(Com::Com1),
            output: vec![],
        }
    }

    /// Carries out effects, and the effects of that.
    fn apply(&mut self, effects: Effects) {
        for effect in effects {
            let mut further = vec![];
            match effect {
                Effect::Line { irq, asserted } => {
                    if irq < 16 {
                        self.pic.set_line(irq, asserted);
                    }
                    // The override that a PC's ACPI tables announce: ISA IRQ 0 is at input 2.
                    let pin = if irq == 0 { 2 } else { irq };
                    self.ioapic.set_line(pin, asserted, &mut further);
                }
                Effect::Message { address, data } => {
                    let message = Message::from_msi(address, data).unwrap();
                    message.deliver(&mut self.apics, &mut further);
                }
                Effect::Ipi {
                    source,
                    command,
                    destination,
                    x2apic,
                } => {
                    let message = Message::from_ipi(source, command, destination, x2apic).unwrap();
                    message.deliver(&mut self.apics, &mut further);
                }
                Effect::EoiBroadcast { vector } => {
                    self.ioapic.end_of_interrupt(vector, &mut further);
                }
                Effect::Output { bytes, .. } => self.output.extend(bytes),
                Effect::DeadlineChanged => {}
                unexpected => panic!("{unexpected:?}"),
            }
            self.apics[0].set_lint0(self.pic.intr());
            self.apply(further);
        }
        self.apics[0].set_lint0(self.pic.intr());
    }

    fn out(&mut self, port: u16, value: u8) {
        let mut effects = vec![];
        let devices: [&mut dyn Device; 3] = [&mut self.pic, &mut self.pit, &mut self.uart];
        for device in devices {
            for (index, region) in device.regions().into_iter().enumerate() {
                if let Some(offset) = u64::from(port)
                    .checked_sub(region.base)
                    .filter(|&offset| offset < region.size)
                {
                    let value = value.into();
                    device.write(self.now, index, offset, 1, value, &mut NoRam, &mut effects);
                }
            }
        }
        self.apply(effects);
    }

    fn route(&mut self, pin: u64, entry: u64) {
        let mut effects = vec![];
        for (index, half) in [(0x11, entry >> 32), (0x10, entry & 0xffff_ffff)] {
            for (offset, value) in [(0x00, index + 2 * pin), (0x10, half)] {
                let ioapic = &mut self.ioapic;
                ioapic.write(self.now, 0, offset, 4, value, &mut NoRam, &mut effects);
            }
        }
        self.apply(effects);
    }

    fn apic_write(&mut self, cpu: usize, offset: u64, value: u64) {
        let mut effects = vec![];
        self.apics[cpu].write_mmio(self.now, offset, 4, value, &mut effects);
        self.apply(effects);
    }

    /// What processor `cpu` gets from its interrupt-acknowledge cycle, if anything waits.
    fn acknowledge(&mut self, cpu: usize) -> Option<Vector> {
        let apic = &mut self.apics[cpu];
        if !apic.signals().interrupt {
            return None;
        }
        let vector = if apic.extint_pending() {
            apic.acknowledge_extint();
            self.pic.acknowledge()
        } else {
            apic.acknowledge()
        };
        self.apply(vec![]);
        Some(vector)
    }

    /// Time comes to the timer's next deadline.
    fn wait_for_timer(&mut self) {
        self.now = self.pit.deadline().expect("the timer runs");
        let mut effects = vec![];
        self.pit.advance(self.now, &mut NoRam, &mut effects);
        self.apply(effects);
    }

    /// The timer at about 1 kHz, from the next period on.
    fn start_timer(&mut self) {
        for (port, value) in [(0x43, 0x34), (0x40, 0xa9), (0x40, 0x04)] {
            self.out(port, value);
        }
    }
}

const ENABLED: u64 = 0x1ff;

#[test]
fn the_timer_interrupts_through_the_8259_in_virtual_wire_mode() {
    let mut board = Board::new();
    for (port, value) in [
        (0x20, 0x11),
        (0x21, 0x20),
        (0x21, 4),
        (0x21, 1),
        (0x21, 0xfe),
    ] {
        board.out(port, value);
    }
    board.start_timer();
    // The output of a rate generator is high from the beginning, which is an edge.
    assert_eq!(board.acknowledge(0), Some(Vector(0x20)));
    board.out(0x20, 0x20);
    let mut ticks = 0;
    while board.now < Ticks(TSC_HZ / 10) {
        board.wait_for_timer();
        while let Some(vector) = board.acknowledge(0) {
            assert_eq!(vector, Vector(0x20));
            ticks += 1;
            board.out(0x20, 0x20);
        }
    }
    assert_eq!(ticks, 100);
    assert_eq!(board.acknowledge(1), None);
}

#[test]
fn the_timer_interrupts_through_input_2_of_the_ioapic() {
    let mut board = Board::new();
    board.apic_write(0, 0x350, 0x1_0700);
    board.apic_write(1, 0xf0, ENABLED);
    // Edge, fixed, to identifier 1.
    board.route(2, 1 << 56 | 0x30);
    board.start_timer();
    for _ in 0..10 {
        while board.acknowledge(1) != Some(Vector(0x30)) {
            board.wait_for_timer();
        }
        assert_eq!(board.acknowledge(1), None);
        board.apic_write(1, 0xb0, 0);
    }
    assert_eq!(board.acknowledge(0), None);
}

#[test]
fn a_level_is_interrupted_for_again_after_the_eoi_of_any_processor_until_it_is_served() {
    let mut board = Board::new();
    board.apic_write(0, 0x350, 0x1_0700);
    board.apic_write(1, 0xf0, ENABLED);
    // Level, fixed, logical flat, to processors 0 and 1.
    board.apic_write(0, 0xd0, 1 << 24);
    board.apic_write(1, 0xd0, 2 << 24);
    board.route(4, 3 << 56 | 0x8841);
    for (port, value) in [(0x3fc, 0x0b), (0x3f9, 0x01)] {
        board.out(port, value);
    }
    let mut effects = vec![];
    board.uart.receive(board.now, b"x", &mut effects);
    board.apply(effects);
    assert_eq!(board.acknowledge(0), Some(Vector(0x41)));
    assert_eq!(board.acknowledge(1), Some(Vector(0x41)));
    board.apic_write(1, 0xb0, 0);
    assert_eq!(board.acknowledge(1), Some(Vector(0x41)), "not served yet");
    let mut effects = vec![];
    let byte = board.uart.read(board.now, 0, 0, 1, &mut effects);
    board.apply(effects);
    assert_eq!(byte, u64::from(b'x'));
    board.apic_write(1, 0xb0, 0);
    board.apic_write(0, 0xb0, 0);
    // The second broadcast made one request more at processor 0.
    while board.acknowledge(0).is_some() {
        board.apic_write(0, 0xb0, 0);
    }
    assert_eq!((board.acknowledge(0), board.acknowledge(1)), (None, None));
    assert!(!board.ioapic.line(4));
}

#[test]
fn an_application_processor_is_started_with_init_and_two_start_up_ipis() {
    let mut board = Board::new();
    board.apic_write(0, 0x310, 1 << 24);
    board.apic_write(0, 0x300, 0xc500);
    board.apic_write(0, 0x300, 0x8500);
    let signals = board.apics[1].signals();
    assert!(signals.init && signals.sipi.is_none());
    assert!(board.apics[1].take_init());
    board.apics[1].init_reset(&mut vec![]);
    for _ in 0..2 {
        board.apic_write(0, 0x300, 0x0609);
    }
    assert_eq!(board.apics[1].take_sipi(), Some(9));
    assert!(!board.apics[1].signals().any());
}

#[test]
fn the_serial_console_prints() {
    let mut board = Board::new();
    for &byte in b"hello" {
        board.out(0x3f8, byte);
    }
    assert_eq!(board.output, b"hello");
}
