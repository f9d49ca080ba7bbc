//! Foreign oracles: what other emulators of the chipset answered to the same register accesses.
//!
//! `experiments/chipset-oracles` records them, and says what is compared and what is not, and why.
//! A recording has one access in a line, which this file carries out on the device:
//!
//! ```text
//! [time in ns] port|port32|mem ADDRESS <- VALUE
//! [time in ns] port|port32|mem ADDRESS = VALUE [& MASK]      what was read
//! msr NUMBER <- VALUE ok|gp                                  whether it was a fault
//! msr NUMBER = VALUE|any|gp
//! take VECTOR|none                                           what the processor acknowledged
//! line NUMBER LEVEL
//! ```

use ring3_arch::{ApicId, GuestPhys};
use ring3_bus::{Device, Dma, DmaError, Effect, Effects, Space};
use ring3_clock::{TSC_HZ, Ticks};
use ring3_devices::acpi_pm::{AcpiPm, TimerWidth};
use ring3_devices::cmos::{Cmos, DateTime};
use ring3_devices::hpet::Hpet;
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

fn number(word: &str) -> u64 {
    match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
        None => word.parse().unwrap(),
    }
}

/// A device that a recording can be replayed on.
trait Replay {
    /// Carries out one line; what it answered, in the words in which the recording has it.
    fn step(&mut self, now: Ticks, words: &[&str]) -> Option<String>;

    /// Whether the answer `ours` is wrong where the other emulator gave `theirs`.
    fn differs(&self, _words: &[&str], ours: &str, theirs: &str) -> bool {
        ours != theirs
    }
}

fn replay(recording: &str, mut device: impl Replay) {
    let mut wrong = vec![];
    let mut compared = 0;
    for (index, line) in recording.lines().enumerate() {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let now = match words[0].parse() {
            _ if words[0] == "#" => continue,
            Ok(nanoseconds) => {
                words.remove(0);
                Ticks(nanoseconds) + Ticks(nanoseconds * (TSC_HZ / 1_000_000_000 - 1))
            }
            Err(_) => Ticks(0),
        };
        let ours = device.step(now, &words);
        let (theirs, mask) = match words[..] {
            [.., theirs, "&", mask] => (theirs, number(mask)),
            _ => (words[words.len() - 1], u64::MAX),
        };
        let Some(ours) = ours else { continue };
        let masked = |answer: &str| match mask {
            u64::MAX => answer.to_string(),
            mask => format!("{:#x}", number(answer) & mask),
        };
        compared += 1;
        if device.differs(&words, &masked(&ours), &masked(theirs)) {
            wrong.push(format!("line {}: {line}, but here {ours}", index + 1));
        }
    }
    assert!(compared > 300, "only {compared} answers were compared");
    assert!(
        wrong.is_empty(),
        "{} of {compared} answers differ, first:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
}

/// A register access to a device at its own addresses.
fn access(device: &mut impl Device, now: Ticks, words: &[&str]) -> Option<String> {
    let mut effects = Effects::new();
    while let Some(deadline) = device.deadline().filter(|&deadline| deadline <= now) {
        device.advance(deadline, &mut NoRam, &mut effects);
    }
    let (space, size) = match words[0] {
        "port" => (Space::Port, 1),
        "port32" => (Space::Port, 4),
        "mem" => (Space::Memory, 4),
        _ => panic!("{words:?}"),
    };
    let address = number(words[1]);
    let regions = device.regions();
    let index = regions
        .iter()
        .position(|region| {
            region.space == space && (region.base..region.base + region.size).contains(&address)
        })
        .expect("the device answers there");
    let offset = address - regions[index].base;
    if words[2] == "<-" {
        let value = number(words[3]);
        device.write(now, index, offset, size, value, &mut NoRam, &mut effects);
        None
    } else {
        let value = device.read(now, index, offset, size, &mut effects);
        Some(format!("{value:#x}"))
    }
}

/// Devices of which nothing but registers is compared.
struct Registers<D>(D);

impl<D: Device> Replay for Registers<D> {
    fn step(&mut self, now: Ticks, words: &[&str]) -> Option<String> {
        access(&mut self.0, now, words)
    }
}

impl Replay for LocalApic {
    fn step(&mut self, now: Ticks, words: &[&str]) -> Option<String> {
        let mut effects = Effects::new();
        let answer = match *words {
            ["mem", address, "<-", value] => {
                let offset = number(address) - 0xfee0_0000;
                self.write_mmio(now, offset, 4, number(value), &mut effects);
                None
            }
            ["mem", address, "=", ..] => {
                let offset = number(address) - 0xfee0_0000;
                let value = self.read_mmio(now, offset, 4, &mut effects);
                Some(format!("{value:#x}"))
            }
            ["msr", register, "<-", value, _] => {
                let register = number(register) as u32;
                let done = self.write_msr(now, register, number(value), &mut effects);
                Some(done.map_or("gp", |()| "ok").into())
            }
            ["msr", register, "=", ..] => {
                let value = self.read_msr(now, number(register) as u32, &mut effects);
                Some(value.map_or("gp".into(), |value| format!("{value:#x}")))
            }
            ["take", _] => Some(match self.signals().interrupt {
                true => format!("{:#x}", self.acknowledge().0),
                false => "none".into(),
            }),
            _ => panic!("{words:?}"),
        };
        for effect in effects {
            if let Effect::Ipi {
                source,
                command,
                destination,
                x2apic,
            } = effect
            {
                let message = Message::from_ipi(source, command, destination, x2apic).unwrap();
                message.deliver(std::slice::from_mut(self), &mut vec![]);
            }
        }
        answer
    }

    fn differs(&self, _words: &[&str], ours: &str, theirs: &str) -> bool {
        match theirs {
            "any" => ours == "gp",
            _ => ours != theirs,
        }
    }
}

impl Replay for Pic {
    fn step(&mut self, now: Ticks, words: &[&str]) -> Option<String> {
        match *words {
            ["line", irq, level] => {
                self.set_line(number(irq) as u8, level == "1");
                None
            }
            _ => access(self, now, words),
        }
    }
}

impl Replay for IoApic {
    fn step(&mut self, now: Ticks, words: &[&str]) -> Option<String> {
        match *words {
            ["line", pin, level] => {
                self.set_line(number(pin) as u8, level == "1", &mut vec![]);
                None
            }
            _ => access(self, now, words),
        }
    }
}

/// The other counter starts with the access that enables it, this one keeps step with its clock.
struct HpetWithin(Hpet);

impl Replay for HpetWithin {
    fn step(&mut self, now: Ticks, words: &[&str]) -> Option<String> {
        access(&mut self.0, now, words)
    }

    fn differs(&self, words: &[&str], ours: &str, theirs: &str) -> bool {
        let ahead = (number(ours) as u32).wrapping_sub(number(theirs) as u32) as i32;
        let tolerance = if words[1] == "0xfed000f0" { 1 } else { 0 };
        ahead.abs() > tolerance
    }
}

/// The other timer's counts are compared as a whole, because they may be two apart: it loads a count
/// at once rather than with the next clock, and starts its clock anew with each count.
struct PitWithin {
    pit: Pit,
    /// The low bytes, ours and theirs, of a count of which the high byte comes next.
    low: Option<(u64, u64)>,
    reads_since_latch: u32,
    mode: u8,
    written: Vec<u8>,
}

impl Replay for PitWithin {
    fn step(&mut self, now: Ticks, words: &[&str]) -> Option<String> {
        let answer = access(&mut self.pit, now, words);
        if words[1] == "0x43" {
            let control = number(words[3]) as u8;
            self.reads_since_latch = 0;
            if control >> 6 == 2 {
                self.mode = control >> 1 & 7;
                self.written.clear();
            }
        }
        if words[1] == "0x42" && words[2] == "<-" {
            self.written.push(number(words[3]) as u8);
        }
        let ours = number(answer.as_ref()?);
        let theirs = number(words[3]);
        if words[1] == "0x61" {
            // OUT is compared where it is not about to change, and not in mode 2, see the README.
            return (self.mode == 0).then_some(answer?);
        }
        self.reads_since_latch += 1;
        match self.reads_since_latch {
            1 => (self.mode == 0).then_some(answer?),
            2 => {
                self.low = Some((ours, theirs));
                None
            }
            _ => {
                let (our_low, their_low) = self.low.take()?;
                let count = u64::from(u16::from_le_bytes([self.written[0], self.written[1]]));
                let modulus = if self.mode == 0 || count == 0 {
                    0x1_0000
                } else {
                    count
                };
                let ours = (ours << 8 | our_low) % modulus;
                let theirs = (theirs << 8 | their_low) % modulus;
                let ahead = (ours + modulus - theirs) % modulus;
                let close = ahead.min(modulus - ahead) <= 2;
                let shown = if close { number(words[3]) } else { u64::MAX };
                Some(format!("{shown:#x}"))
            }
        }
    }
}

#[test]
fn local_apic_takes_interrupts_in_the_order_of_qemu() {
    let apic = LocalApic::new(ApicId(0), true);
    replay(include_str!("oracles/local_apic.txt"), apic);
}

#[test]
fn local_apic_faults_where_kvm_does() {
    let apic = LocalApic::new(ApicId(0), true);
    replay(include_str!("oracles/local_apic_faults.txt"), apic);
}

#[test]
fn ioapic_answers_like_qemu() {
    replay(include_str!("oracles/ioapic.txt"), IoApic::new());
}

#[test]
fn pic_answers_like_qemu() {
    replay(include_str!("oracles/pic.txt"), Pic::new());
}

#[test]
fn pit_counts_like_qemu() {
    let pit = PitWithin {
        pit: Pit::new(),
        low: None,
        reads_since_latch: 0,
        mode: 0,
        written: vec![],
    };
    replay(include_str!("oracles/pit.txt"), pit);
}

#[test]
fn cmos_tells_the_time_like_qemu() {
    let start = DateTime::new(2001, 9, 9, 1, 46, 40).unwrap();
    replay(
        include_str!("oracles/cmos.txt"),
        Registers(Cmos::new(start)),
    );
}

#[test]
fn uart_answers_like_qemu() {
    let uart = Registers(Uart::new(Com::Com1));
    replay(include_str!("oracles/uart.txt"), uart);
}

#[test]
fn pm_timer_counts_like_qemu() {
    let pm = Registers(AcpiPm::new(TimerWidth::Bits24));
    replay(include_str!("oracles/pm_timer.txt"), pm);
}

#[test]
fn hpet_answers_like_qemu() {
    let hpet = HpetWithin(Hpet::new());
    replay(include_str!("oracles/hpet.txt"), hpet);
}
