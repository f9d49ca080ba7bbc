//! The bus from the guest's side. PCI Local Bus Specification 3.0, by section title.

use super::*;
use crate::driver::{Guest, Memory, lines};
use crate::saved::{decode, encode};

/// A function with every kind of BAR. A byte written to BAR 0 at 0 sets or clears INTA, at 4
/// signals that MSI-X vector; BAR 0 at 8 is storage.
struct Probe {
    name: &'static str,
    endpoint: Endpoint,
    word: u64,
    deadline: Option<Ticks>,
    advanced: Vec<Ticks>,
}

impl Probe {
    fn new(name: &'static str) -> Probe {
        let mut endpoint = Endpoint::new(&Identity {
            vendor: 0x1234,
            device: 0x5678,
            revision: 9,
            class: [0x0c, 0x03, 0x30],
            subsystem_vendor: 0xaaaa,
            subsystem: 0xbbbb,
            interrupt_pin: true,
        });
        endpoint.config_mut().add_bar(0, BarWidth::Bits32, 0x2000);
        endpoint.add_msix(1, 70);
        endpoint.config_mut().add_bar(2, BarWidth::Bits64, 0x10000);
        Probe {
            name,
            endpoint,
            word: 0,
            deadline: None,
            advanced: Vec::new(),
        }
    }
}

impl Function for Probe {
    fn name(&self) -> String {
        self.name.to_owned()
    }
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
    fn endpoint_mut(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }
    fn bar_read(&mut self, _: Ticks, bar: usize, offset: u64, size: u8, _: &mut Effects) -> u64 {
        match bar {
            0 => self.word,
            1 => self.endpoint.msix_read(offset, size),
            _ => 0x2222_0000 + offset,
        }
    }
    fn bar_write(
        &mut self,
        _: Ticks,
        bar: usize,
        offset: u64,
        size: u8,
        value: u64,
        _: &mut dyn Dma,
        effects: &mut Effects,
    ) {
        match (bar, offset) {
            (0, 0) => self.endpoint.set_intx(value & 1 != 0),
            (0, 4) => self.endpoint.signal(value as u16, effects),
            (0, _) => self.word = value,
            (1, _) => self.endpoint.msix_write(offset, size, value, effects),
            _ => {}
        }
    }
    fn deadline(&self) -> Option<Ticks> {
        self.deadline
    }
    fn advance(&mut self, now: Ticks, _: &mut dyn Dma, _: &mut Effects) {
        self.advanced.push(now);
        self.deadline = None;
    }
    fn reset(&mut self) {
        self.endpoint.reset();
        self.word = 0;
        self.deadline = None;
    }
    fn save(&self) -> Vec<u8> {
        encode(1, &(self.endpoint.save(), self.word))
    }
    fn load(&mut self, saved: &[u8]) -> Result<(), LoadError> {
        let (endpoint, word): (EndpointState, u64) = decode(self.name, 1, saved)?;
        self.endpoint.validate(self.name, &endpoint)?;
        self.endpoint.restore(endpoint);
        self.word = word;
        Ok(())
    }
}

fn guest() -> (Guest, Handle<Probe>) {
    let mut bus = PciBus::new(DEFAULT_WINDOW);
    let handle = bus.plug(3, 11, Probe::new("probe")).unwrap();
    bus.regions_changed();
    (Guest::new(bus), handle)
}

#[test]
fn config_address_is_reached_by_doublewords_only() {
    // "Configuration Mechanism #1"; this is how kernels find out that it exists.
    let (mut guest, _) = guest();
    guest.port_write(0xcfb, 1, 1);
    guest.port_write(0xcf8, 4, 0x8000_0000);
    assert_eq!(guest.port_read(0xcf8, 4), 0x8000_0000);
    guest.port_write(0xcf8, 2, 0x1234);
    assert_eq!(guest.port_read(0xcf8, 4), 0x8000_0000);
    guest.port_write(0xcf8, 4, 0xffff_ffff);
    assert_eq!(guest.port_read(0xcf8, 4), 0x80ff_fffc);
    assert_eq!(guest.port_read(0xcf8, 2), 0xffff);
}

#[test]
fn without_the_enable_bit_config_data_answers_nothing() {
    let (mut guest, _) = guest();
    guest.port_write(0xcf8, 4, 0x0000_0000);
    assert_eq!(guest.port_read(0xcfc, 4), 0xffff_ffff);
}

#[test]
fn a_host_bridge_stands_at_00_00_0() {
    let (mut guest, _) = guest();
    assert_eq!(guest.config_read(0, 0x00, 4), 0x1237_8086);
    // Base class 06h, sub-class 00h.
    assert_eq!(guest.config_read(0, 0x0a, 2), 0x0600);
    assert_eq!(guest.config_read(0, 0x0e, 1), 0);
    assert_eq!(guest.config_read(0, 0x3d, 1), 0);
}

#[test]
fn what_is_not_there_reads_as_ones() {
    let (mut guest, _) = guest();
    for address in [
        0x8000_0000 | 2 << 11,
        0x8000_0000 | 3 << 11 | 1 << 8,
        0x8000_0000 | 1 << 16,
        0x8000_0000 | 255 << 16 | 3 << 11,
    ] {
        guest.port_write(0xcf8, 4, address);
        assert_eq!(guest.port_read(0xcfc, 4), 0xffff_ffff);
        assert_eq!(guest.port_read(0xcfe, 2), 0xffff);
        assert_eq!(guest.port_read(0xcfd, 1), 0xff);
        guest.port_write(0xcfc, 4, 0);
    }
    assert_eq!(guest.config_read(3, 0, 4), 0x5678_1234);
}

#[test]
fn bytes_and_words_of_config_data_are_lanes() {
    let (mut guest, handle) = guest();
    assert_eq!(handle.device(), 3);
    assert_eq!(guest.config_read(3, 0x00, 2), 0x1234);
    assert_eq!(guest.config_read(3, 0x02, 2), 0x5678);
    assert_eq!(guest.config_read(3, 0x01, 2), 0x7812);
    assert_eq!(guest.config_read(3, 0x08, 4), 0x0c03_3009);
    assert_eq!(guest.config_read(3, 0x0b, 1), 0x0c);
    guest.config_write(3, 0x3c, 1, 0x55);
    assert_eq!(guest.config_read(3, 0x3c, 4), 0x0155);
    // Cache line size and latency timer are writable, header type is not.
    guest.config_write(3, 0x0c, 4, 0xffff_ffff);
    assert_eq!(guest.config_read(3, 0x0c, 4), 0x0000_ffff);
}

#[test]
fn read_only_fields_stay() {
    let (mut guest, _) = guest();
    for register in (0..=0xfcu8).step_by(4) {
        if !(0x10..0x28).contains(&register) && register != 0x04 {
            guest.config_write(3, register, 4, 0xffff_ffff);
        }
    }
    assert_eq!(guest.config_read(3, 0x00, 4), 0x5678_1234);
    assert_eq!(guest.config_read(3, 0x2c, 4), 0xbbbb_aaaa);
    assert_eq!(guest.config_read(3, 0x08, 4), 0x0c03_3009);
    assert_eq!(guest.config_read(3, 0x30, 4), 0, "no expansion ROM");
    // 70 vectors, encoded as N-1; enable and function mask are writable.
    let msix = guest.capabilities(3)[0].0;
    assert_eq!(guest.config_read(3, msix + 2, 2), 0xc000 | 69);
}

#[test]
fn firmware_has_placed_and_enabled_the_bars() {
    let (mut guest, _) = guest();
    assert_eq!(guest.config_read(3, 0x04, 2), 0x0002);
    assert_eq!(guest.config_read(3, 0x10, 4), 0xe000_0000);
    assert_eq!(guest.config_read(3, 0x14, 4), 0xe000_2000);
    // A 64-bit BAR says so, and is aligned to its size.
    assert_eq!(guest.config_read(3, 0x18, 4), 0xe001_0004);
    assert_eq!(guest.config_read(3, 0x1c, 4), 0);
    assert_eq!(guest.config_read(3, 0x3c, 2), 0x010b);
    guest.write(0xe000_0008, 4, 77);
    assert_eq!(guest.read(0xe000_0008, 4), 77);
    assert_eq!(guest.read(0xe001_0010, 4), 0x2222_0010);
    assert_eq!(guest.read(0xe000_3000, 4), 0xffff_ffff, "between the BARs");
}

#[test]
fn bars_tell_their_size() {
    // "Address Maps": write all ones, read back, restore.
    let (mut guest, _) = guest();
    guest.config_write(3, 0x04, 2, 0);
    for (register, size) in [(0x10, 0x2000u32), (0x14, 0x1000)] {
        let before = guest.config_read(3, register, 4);
        guest.config_write(3, register, 4, 0xffff_ffff);
        let sizing = guest.config_read(3, register, 4);
        assert_eq!((!(sizing & !0xf)).wrapping_add(1), size);
        guest.config_write(3, register, 4, before);
        assert_eq!(guest.config_read(3, register, 4), before);
    }
    guest.config_write(3, 0x18, 4, 0xffff_ffff);
    guest.config_write(3, 0x1c, 4, 0xffff_ffff);
    assert_eq!(guest.config_read(3, 0x18, 4), 0xffff_0004);
    assert_eq!(guest.config_read(3, 0x1c, 4), 0xffff_ffff);
    for register in [0x20, 0x24] {
        guest.config_write(3, register, 4, 0xffff_ffff);
        assert_eq!(guest.config_read(3, register, 4), 0, "no such BAR");
    }
}

#[test]
fn bars_can_be_moved() {
    let (mut guest, _) = guest();
    guest.write(0xe000_0008, 4, 5);
    assert!(!guest.bus.regions_changed());
    guest.config_write(3, 0x10, 4, 0xefff_e000);
    assert!(guest.bus.regions_changed());
    assert!(!guest.bus.regions_changed());
    assert_eq!(guest.read(0xe000_0008, 4), 0xffff_ffff);
    assert_eq!(guest.read(0xefff_e008, 4), 5);
    // The bits below the size do not exist.
    guest.config_write(3, 0x10, 4, 0xe800_1fff);
    assert_eq!(guest.config_read(3, 0x10, 4), 0xe800_0000);
    assert_eq!(guest.read(0xe800_0008, 4), 5);
}

#[test]
fn memory_space_enable_gates_all_bars() {
    let (mut guest, _) = guest();
    guest.config_write(3, 0x04, 2, 0);
    assert!(guest.bus.regions_changed());
    assert_eq!(guest.bus.regions().len(), 1);
    guest.config_write(3, 0x04, 2, 2);
    assert!(guest.bus.regions_changed());
    assert_eq!(guest.bus.regions().len(), 4);
}

#[test]
fn nothing_is_decoded_outside_the_window() {
    let (mut guest, _) = guest();
    for base in [
        0u64,
        0x0010_0000,
        0xfee0_0000,
        0xfec0_0000,
        0xf000_0000,
        0xffff_e000,
    ] {
        guest.config_write(3, 0x10, 4, base as u32);
        assert_eq!(guest.bar(3, 0), base);
        let regions = guest.bus.regions();
        assert!(
            regions.iter().all(|region| region.base != base),
            "{base:#x}"
        );
    }
    // Nor above 4 GiB.
    guest.config_write(3, 0x1c, 4, 1);
    assert!(
        guest
            .bus
            .regions()
            .iter()
            .all(|region| region.base < 1 << 32)
    );
    guest.take_quiet_effects();
}

#[test]
fn a_bar_on_top_of_another_devices_is_not_decoded() {
    let (mut guest, _) = guest();
    guest.bus.plug(4, 11, Probe::new("other")).unwrap();
    let other = guest.bar(4, 0);
    guest.config_write(4, 0x10, 4, 0xe000_0000);
    let warnings = guest.take_warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("BAR0 of other"), "{warnings:?}");
    guest.write(0xe000_0008, 4, 1);
    assert_eq!(guest.config_read(4, 0x10, 4), 0xe000_0000);
    let regions = guest.bus.regions();
    let clash = regions.iter().filter(|region| region.base == 0xe000_0000);
    assert_eq!(clash.count(), 1);
    // Moving it back makes it answer again, untouched.
    guest.config_write(4, 0x10, 4, other as u32);
    assert_eq!(guest.read(other + 8, 4), 0);
}

#[test]
fn regions_never_overlap_whatever_the_guest_writes() {
    let mut dice = crate::driver::Dice(0x5eed_0001);
    let (mut guest, _) = guest();
    guest.bus.plug(4, 11, Probe::new("other")).unwrap();
    guest.bus.plug(5, 12, Probe::new("third")).unwrap();
    for _ in 0..20_000 {
        let device = 3 + dice.below(3) as u8;
        let register = 4 * dice.below(10) as u8;
        let value = match dice.below(3) {
            0 => dice.next() as u32,
            1 => 0xe000_0000 + 0x1000 * dice.below(40) as u32,
            _ => dice.pick(&[0, 2, 6, 0xffff_ffff, 0xf000_0000, 0xefff_f000]),
        };
        guest.config_write(device, register, dice.pick(&[1, 2, 4]), value);
        guest.take_effects();
        let mut memory: Vec<_> = guest.bus.regions().split_off(1);
        memory.sort_by_key(|region| region.base);
        for region in &memory {
            assert!(region.base >= DEFAULT_WINDOW.start);
            assert!(region.base + region.size <= DEFAULT_WINDOW.end);
        }
        for pair in memory.windows(2) {
            assert!(pair[0].base + pair[0].size <= pair[1].base);
        }
    }
}

#[test]
fn the_machine_is_told_what_does_not_fit() {
    let mut bus = PciBus::new(0xe000_0000..0xe001_0000);
    assert_eq!(
        bus.plug(1, 5, Probe::new("probe")).unwrap_err(),
        PlugError::WindowFull {
            device: 1,
            size: 0x10000
        }
    );
    let mut bus = PciBus::new(DEFAULT_WINDOW);
    assert_eq!(
        bus.plug(0, 5, Probe::new("probe")).unwrap_err(),
        PlugError::Device(0)
    );
    assert_eq!(
        bus.plug(32, 5, Probe::new("probe")).unwrap_err(),
        PlugError::Device(32)
    );
    bus.plug(1, 5, Probe::new("probe")).unwrap();
    bus.plug(31, 6, Probe::new("last")).unwrap();
    let routes: Vec<_> = bus
        .interrupt_routes()
        .iter()
        .map(|route| (route.device, route.pin, route.gsi))
        .collect();
    assert_eq!(routes, [(1, 0, 5), (31, 0, 6)]);
}

#[test]
fn inta_is_a_level_that_the_command_register_can_disable() {
    let (mut guest, _) = guest();
    guest.write(0xe000_0000, 1, 1);
    assert_eq!(lines(&guest.take_quiet_effects()), [(11, true)]);
    // "Device Status": the interrupt status bit.
    assert_eq!(guest.config_read(3, 0x06, 2) & 8, 8);
    guest.write(0xe000_0000, 1, 1);
    assert_eq!(lines(&guest.take_quiet_effects()), []);
    guest.config_write(3, 0x04, 2, 0x0402);
    assert_eq!(lines(&guest.take_quiet_effects()), [(11, false)]);
    assert_eq!(
        guest.config_read(3, 0x06, 2) & 8,
        8,
        "INTERRUPT_DISABLE does not hide it"
    );
    guest.config_write(3, 0x04, 2, 0x0002);
    assert_eq!(lines(&guest.take_quiet_effects()), [(11, true)]);
    guest.write(0xe000_0000, 1, 0);
    assert_eq!(lines(&guest.take_quiet_effects()), [(11, false)]);
    assert_eq!(guest.config_read(3, 0x06, 2) & 8, 0);
}

#[test]
fn functions_share_an_interrupt_input_as_a_wired_or() {
    let (mut guest, _) = guest();
    guest.bus.plug(4, 11, Probe::new("other")).unwrap();
    let other = guest.bar(4, 0);
    guest.write(0xe000_0000, 1, 1);
    assert_eq!(lines(&guest.take_effects()), [(11, true)]);
    guest.write(other, 1, 1);
    guest.write(0xe000_0000, 1, 0);
    assert_eq!(lines(&guest.take_effects()), []);
    guest.write(other, 1, 0);
    assert_eq!(lines(&guest.take_effects()), [(11, false)]);
}

#[test]
fn msix_replaces_inta() {
    let (mut guest, _) = guest();
    let msix = guest.capabilities(3)[0].0;
    guest.write(0xe000_0000, 1, 1);
    guest.take_effects();
    guest.config_write(3, msix + 2, 2, 0x8000);
    assert_eq!(lines(&guest.take_effects()), [(11, false)]);
    assert_eq!(guest.config_read(3, 0x06, 2) & 8, 0);
    guest.config_write(3, msix + 2, 2, 0);
    assert_eq!(lines(&guest.take_effects()), [(11, true)]);
}

const TABLE: u64 = 0xe000_2000;
const PENDING: u64 = TABLE + 0x800;

/// A guest whose probe has MSI-X and bus mastering enabled.
fn msix_guest() -> (Guest, u8) {
    let (mut guest, _) = guest();
    let msix = guest.capabilities(3)[0].0;
    assert_eq!(guest.config_read(3, msix + 4, 4), 1, "table in BAR 1 at 0");
    assert_eq!(
        guest.config_read(3, msix + 8, 4),
        0x801,
        "pending bits in BAR 1 at 0x800"
    );
    guest.config_write(3, 0x04, 2, 0x0006);
    guest.config_write(3, msix + 2, 2, 0x8000);
    guest.take_effects();
    (guest, msix)
}

fn signal(guest: &mut Guest, vector: u16) -> Effects {
    guest.write(0xe000_0004, 2, vector.into());
    guest.take_quiet_effects()
}

fn message(data: u32) -> Effects {
    vec![Effect::Message {
        address: 0xfee0_1000,
        data,
    }]
}

fn set_entry(guest: &mut Guest, vector: u64, data: u32, control: u32) -> Effects {
    let entry = TABLE + 16 * vector;
    guest.write(entry, 4, 0xfee0_1000);
    guest.write(entry + 4, 4, 0);
    guest.write(entry + 8, 4, data.into());
    guest.write(entry + 12, 4, control.into());
    guest.take_quiet_effects()
}

#[test]
fn a_vector_is_masked_until_software_unmasks_it() {
    let (mut guest, _) = msix_guest();
    assert_eq!(guest.read(TABLE + 12, 4), 1, "masked at reset");
    assert_eq!(signal(&mut guest, 0), []);
    assert_eq!(guest.read(PENDING, 8), 1);
    assert_eq!(set_entry(&mut guest, 0, 0x41, 0), message(0x41));
    assert_eq!(guest.read(PENDING, 8), 0);
    assert_eq!(signal(&mut guest, 0), message(0x41));
    // Masked again, several signals are one message.
    guest.write(TABLE + 12, 4, 1);
    assert_eq!(signal(&mut guest, 0), []);
    assert_eq!(signal(&mut guest, 0), []);
    guest.write(TABLE + 12, 4, 0);
    assert_eq!(guest.take_effects(), message(0x41));
    guest.write(TABLE + 12, 4, 1);
    guest.write(TABLE + 12, 4, 0);
    assert_eq!(guest.take_effects(), []);
}

#[test]
fn the_message_is_the_one_that_stands_there_when_it_is_sent() {
    let (mut guest, _) = msix_guest();
    set_entry(&mut guest, 5, 0x41, 1);
    assert_eq!(signal(&mut guest, 5), []);
    // A quadword write changes data and vector control together.
    guest.write(TABLE + 5 * 16 + 8, 8, 0x42);
    assert_eq!(guest.take_effects(), message(0x42));
    guest.write(TABLE + 5 * 16, 8, 0x0000_0001_fee0_2003);
    assert_eq!(
        signal(&mut guest, 5),
        vec![Effect::Message {
            address: 0x0000_0001_fee0_2000,
            data: 0x42
        }]
    );
    assert_eq!(guest.read(TABLE + 5 * 16, 8), 0x0000_0001_fee0_2000);
    assert_eq!(guest.read(TABLE + 5 * 16 + 4, 4), 1);
}

#[test]
fn pending_bits_are_an_array_that_is_read_only() {
    let (mut guest, _) = msix_guest();
    for vector in [0, 31, 32, 63, 64, 69] {
        signal(&mut guest, vector);
    }
    assert_eq!(guest.read(PENDING, 8), 1 | 1 << 31 | 1 << 32 | 1 << 63);
    assert_eq!(guest.read(PENDING + 8, 8), 1 | 1 << 5);
    assert_eq!(guest.read(PENDING + 4, 4), 1 | 1 << 31);
    guest.write(PENDING, 8, 0);
    assert_eq!(guest.read(PENDING, 8), 1 | 1 << 31 | 1 << 32 | 1 << 63);
    assert_eq!(signal(&mut guest, 70), [], "no such vector");
    assert_eq!(guest.read(PENDING + 8, 8), 1 | 1 << 5);
}

#[test]
fn the_function_mask_holds_all_vectors_back() {
    let (mut guest, msix) = msix_guest();
    set_entry(&mut guest, 1, 0x51, 0);
    set_entry(&mut guest, 2, 0x52, 0);
    set_entry(&mut guest, 3, 0x53, 1);
    guest.config_write(3, msix + 2, 2, 0xc000);
    for vector in [2, 1, 3] {
        assert_eq!(signal(&mut guest, vector), []);
    }
    assert_eq!(guest.read(PENDING, 4), 0b1110);
    guest.config_write(3, msix + 2, 2, 0x8000);
    let sent = guest.take_effects();
    assert_eq!(sent, [message(0x51), message(0x52)].concat());
    assert_eq!(guest.read(PENDING, 4), 0b1000);
}

#[test]
fn messages_wait_for_bus_mastering() {
    let (mut guest, _) = msix_guest();
    set_entry(&mut guest, 1, 0x51, 0);
    guest.config_write(3, 0x04, 2, 0x0002);
    assert_eq!(signal(&mut guest, 1), []);
    guest.config_write(3, 0x04, 2, 0x0006);
    assert_eq!(guest.take_effects(), message(0x51));
}

#[test]
fn the_msix_table_takes_aligned_doublewords_and_quadwords() {
    let (mut guest, _) = msix_guest();
    set_entry(&mut guest, 1, 0x51, 1);
    for (offset, size) in [(12, 1), (12, 2), (14, 4), (4, 8), (13, 1)] {
        guest.write(TABLE + 16 + offset, size, 0);
        assert_eq!(guest.take_warnings().len(), 1);
    }
    assert_eq!(guest.read(TABLE + 16 + 12, 4), 1);
    assert_eq!(guest.read(TABLE + 16 + 8, 4), 0x51);
    // Past the last entry there is nothing.
    guest.write(TABLE + 70 * 16, 4, 0xffff_ffff);
    assert_eq!(guest.read(TABLE + 70 * 16, 4), 0);
    guest.take_quiet_effects();
}

#[test]
fn the_reset_port_resets_the_machine_on_a_rising_edge() {
    let (mut guest, _) = guest();
    guest.port_write(0xcf9, 1, 0x02);
    assert_eq!(guest.take_effects(), []);
    assert_eq!(guest.port_read(0xcf9, 1), 2);
    guest.port_write(0xcf9, 1, 0x06);
    assert_eq!(guest.take_effects(), [Effect::Reset]);
    guest.port_write(0xcf9, 1, 0x06);
    assert_eq!(guest.take_effects(), []);
}

#[test]
fn reset_brings_back_what_firmware_left() {
    let (mut guest, handle) = guest();
    let fresh = guest.bus.save();
    guest.config_write(3, 0x10, 4, 0xe800_0000);
    guest.config_write(3, 0x04, 2, 0x0406);
    guest.write(0xe000_2000, 4, 0xfee0_0000);
    guest.write(0xe800_0000, 1, 1);
    guest.port_write(0xcf9, 1, 2);
    assert_ne!(guest.bus.save(), fresh);
    guest.bus.reset();
    assert!(guest.bus.regions_changed());
    assert_eq!(guest.bus.save(), fresh);
    assert_eq!(guest.bar(3, 0), 0xe000_0000);
    assert!(!guest.bus.get(handle).endpoint().interrupt_line());
}

#[test]
fn saved_state_moves_to_another_bus() {
    let (mut first, _) = msix_guest();
    first.config_write(3, 0x10, 4, 0xe800_0000);
    set_entry(&mut first, 1, 0x51, 1);
    first.write(0xe800_0004, 2, 1);
    let (mut second, _) = guest();
    second.bus.load(&first.bus.save()).unwrap();
    assert!(second.bus.regions_changed());
    assert_eq!(second.bus.save(), first.bus.save());
    for guest in [&mut first, &mut second] {
        guest.take_effects();
        guest.write(TABLE + 16 + 12, 4, 0);
        assert_eq!(guest.take_effects(), message(0x51));
        guest.write(0xe800_0008, 4, 99);
        assert_eq!(guest.read(0xe800_0008, 4), 99);
    }
}

#[test]
fn an_asserted_line_survives_a_restore_and_can_fall() {
    let (mut first, _) = guest();
    first.write(0xe000_0000, 1, 1);
    let (mut second, _) = guest();
    second.bus.load(&first.bus.save()).unwrap();
    second.write(0xe000_0000, 1, 0);
    assert_eq!(lines(&second.take_effects()), [(11, false)]);
}

#[test]
fn a_refused_state_changes_nothing() {
    let (mut first, _) = guest();
    first.config_write(0, 0x3c, 1, 0x77);
    first.write(0xe000_0008, 4, 99);
    let good = first.bus.save();
    let (mut second, _) = guest();
    second.write(0xe000_0008, 4, 1);
    let before = second.bus.save();
    // Every truncation, every version, extra bytes.
    for end in 0..good.len() {
        second.bus.load(&good[..end]).unwrap_err();
        assert_eq!(second.bus.save(), before);
    }
    let longer = [&good[..], &[0]].concat();
    second.bus.load(&longer).unwrap_err();
    let mut other_version = good.clone();
    other_version[0] = 2;
    let error = second.bus.load(&other_version).unwrap_err();
    assert!(error.0.contains("version 2"), "{error}");
    // Device 0 would load, device 3 is another function: device 0 is as it was, too.
    let mut stranger = PciBus::new(DEFAULT_WINDOW);
    let mut function = Probe::new("stranger");
    function.endpoint.config_mut().add_capability(9, &[4], &[0]);
    stranger.plug(3, 11, function).unwrap();
    let mut stranger = Guest::new(stranger);
    stranger.config_write(0, 0x3c, 1, 0x77);
    second.bus.load(&stranger.bus.save()).unwrap_err();
    assert_eq!(second.bus.save(), before);
    second.bus.load(&good).unwrap();
    assert_eq!(second.bus.save(), good);
}

#[test]
fn deadlines_are_the_earliest_of_all_functions() {
    let (mut guest, first) = guest();
    let second = guest.bus.plug(4, 11, Probe::new("other")).unwrap();
    assert_eq!(guest.bus.deadline(), None);
    guest.enter(first, |probe, _, _, _| probe.deadline = Some(Ticks(5000)));
    assert_eq!(guest.take_effects(), [Effect::DeadlineChanged]);
    guest.enter(second, |probe, _, _, _| probe.deadline = Some(Ticks(4000)));
    assert_eq!(guest.bus.deadline(), Some(Ticks(4000)));
    guest.take_effects();
    let mut memory = Memory::new(0x1000);
    let mut effects = Effects::new();
    guest.bus.advance(Ticks(4500), &mut memory, &mut effects);
    assert_eq!(effects, [Effect::DeadlineChanged]);
    assert_eq!(guest.bus.get(second).advanced, [Ticks(4500)]);
    assert!(guest.bus.get(first).advanced.is_empty());
    assert_eq!(guest.bus.deadline(), Some(Ticks(5000)));
}
