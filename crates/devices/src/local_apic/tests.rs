use super::route::{Audience, Delivery, Message, Unroutable};
use super::spec::{Lvt, Register, base, esr, icr, lvt};
use super::*;
use crate::storm::{self, Xorshift};
use ring3_bus::{Device, Dma, Region, Space};

const NOW: Ticks = Ticks(1000);

/// The offset of a register in xAPIC mode.
mod at {
    pub const ID: u64 = 0x20;
    pub const TPR: u64 = 0x80;
    pub const PPR: u64 = 0xa0;
    pub const EOI: u64 = 0xb0;
    pub const LDR: u64 = 0xd0;
    pub const DFR: u64 = 0xe0;
    pub const SVR: u64 = 0xf0;
    pub const ISR: u64 = 0x100;
    pub const TMR: u64 = 0x180;
    pub const IRR: u64 = 0x200;
    pub const ESR: u64 = 0x280;
    pub const ICR: u64 = 0x300;
    pub const ICR_HIGH: u64 = 0x310;
    pub const TIMER: u64 = 0x320;
    pub const LINT0: u64 = 0x350;
    pub const LINT1: u64 = 0x360;
    pub const ERROR: u64 = 0x370;
    pub const INITIAL: u64 = 0x380;
    pub const CURRENT: u64 = 0x390;
    pub const DIVIDE: u64 = 0x3e0;
}

fn enabled() -> LocalApic {
    let mut apic = LocalApic::new(ApicId(3), true);
    write(&mut apic, NOW, at::SVR, 0x1ff);
    apic
}

fn x2apic(id: u32) -> LocalApic {
    let mut apic = LocalApic::new(ApicId(id), false);
    let base = apic.base_msr() | base::X2APIC;
    apic.write_msr(NOW, msr::IA32_APIC_BASE, base, &mut vec![])
        .unwrap();
    apic.write_msr(NOW, 0x80f, 0x1ff, &mut vec![]).unwrap();
    apic
}

fn write(apic: &mut LocalApic, now: Ticks, offset: u64, value: u32) -> Effects {
    let mut effects = vec![];
    apic.write_mmio(now, offset, 4, u64::from(value), &mut effects);
    effects
}

fn read(apic: &mut LocalApic, now: Ticks, offset: u64) -> u32 {
    apic.read_mmio(now, offset, 4, &mut vec![]) as u32
}

/// Where time comes to `now` the way a machine lets it.
fn run_until(apic: &mut LocalApic, now: Ticks) -> u32 {
    let mut interrupts = 0;
    while let Some(deadline) = apic.deadline().filter(|&deadline| deadline <= now) {
        apic.advance(deadline);
        if apic.pending().is_some() {
            interrupts += 1;
            apic.acknowledge();
            apic.end_of_interrupt(&mut vec![]);
        }
    }
    interrupts
}

// ---- state after reset, modes ---------------------------------------------------------------

#[test]
fn after_power_up_lvt_is_masked_svr_is_ff_dfr_is_all_ones() {
    let mut apic = LocalApic::new(ApicId(0x12), false);
    assert_eq!(apic.base_msr(), 0xfee0_0800);
    assert_eq!(LocalApic::new(ApicId(0), true).base_msr(), 0xfee0_0900);
    assert_eq!(apic.base_address(), Some(GuestPhys(0xfee0_0000)));
    for (offset, value) in [
        (at::ID, 0x1200_0000),
        (0x30, spec::VERSION),
        (at::TPR, 0),
        (at::LDR, 0),
        (at::DFR, 0xffff_ffff),
        (at::SVR, 0xff),
        (at::TIMER, 0x1_0000),
        (0x330, 0x1_0000),
        (0x340, 0x1_0000),
        (at::LINT0, 0x1_0000),
        (at::LINT1, 0x1_0000),
        (at::ERROR, 0x1_0000),
        (at::INITIAL, 0),
        (at::DIVIDE, 0),
    ] {
        assert_eq!(read(&mut apic, NOW, offset), value, "offset {offset:#x}");
    }
    for part in 0..8 {
        assert_eq!(read(&mut apic, NOW, at::ISR + 16 * part), 0);
        assert_eq!(read(&mut apic, NOW, at::TMR + 16 * part), 0);
        assert_eq!(read(&mut apic, NOW, at::IRR + 16 * part), 0);
    }
}

#[test]
fn mode_transitions_are_those_of_the_state_diagram() {
    const DISABLED: u64 = 0;
    const XAPIC: u64 = base::ENABLE;
    const X2APIC: u64 = base::ENABLE | base::X2APIC;
    const INVALID: u64 = base::X2APIC;
    let reach = |mode: u64| {
        let mut apic = LocalApic::new(ApicId(1), false);
        let address = base::DEFAULT_ADDRESS;
        apic.write_base_msr(NOW, address | mode, &mut vec![])
            .unwrap();
        apic
    };
    // SDM, figure "Local x2APIC State Transitions with IA32_APIC_BASE, INIT, and RESET".
    for (from, to, allowed) in [
        (DISABLED, DISABLED, true),
        (DISABLED, XAPIC, true),
        (DISABLED, X2APIC, false),
        (DISABLED, INVALID, false),
        (XAPIC, DISABLED, true),
        (XAPIC, XAPIC, true),
        (XAPIC, X2APIC, true),
        (XAPIC, INVALID, false),
        (X2APIC, DISABLED, true),
        (X2APIC, XAPIC, false),
        (X2APIC, X2APIC, true),
        (X2APIC, INVALID, false),
    ] {
        let mut apic = reach(from);
        let before = apic.base_msr();
        let done = apic.write_base_msr(NOW, base::DEFAULT_ADDRESS | to, &mut vec![]);
        assert_eq!(done.is_some(), allowed, "{from:#x} to {to:#x}");
        let expected = if allowed {
            base::DEFAULT_ADDRESS | to
        } else {
            before
        };
        assert_eq!(apic.base_msr(), expected);
        let mapped = apic.base_msr() & (base::ENABLE | base::X2APIC) == XAPIC;
        assert_eq!(apic.base_address().is_some(), mapped);
    }
}

#[test]
fn reserved_bits_of_apic_base_fault() {
    for bit in 0..64 {
        let mut apic = LocalApic::new(ApicId(1), false);
        let value = apic.base_msr() ^ 1 << bit;
        let reserved = bit < 8 || bit == 9 || bit >= 46;
        let done = apic.write_base_msr(NOW, value, &mut vec![]);
        assert_eq!(done.is_none(), reserved, "bit {bit}");
    }
}

#[test]
fn without_the_cpuid_bits_there_is_no_x2apic_mode_and_no_deadline_msr() {
    let features = Features {
        x2apic: false,
        tsc_deadline: false,
        ..Features::default()
    };
    let mut apic = LocalApic::with_features(ApicId(0), true, features);
    let value = apic.base_msr() | base::X2APIC;
    assert_eq!(apic.write_base_msr(NOW, value, &mut vec![]), None);
    assert_eq!(
        apic.read_msr(NOW, msr::IA32_TSC_DEADLINE, &mut vec![]),
        None
    );
    assert_eq!(
        apic.write_msr(NOW, msr::IA32_TSC_DEADLINE, 1, &mut vec![]),
        None
    );
    write(&mut apic, NOW, at::SVR, 0x1ff);
    write(&mut apic, NOW, at::TIMER, lvt::TSC_DEADLINE | 0x40);
    assert_eq!(read(&mut apic, NOW, at::TIMER), 0x40);
}

#[test]
fn x2apic_msrs_are_those_of_the_register_address_space_table() {
    // MSR, readable, writable with zero.
    let table = |number: u32| match number {
        0x802 | 0x803 | 0x80a | 0x80d | 0x839 => (true, false),
        0x808 | 0x80f | 0x828 | 0x830 | 0x832..=0x838 | 0x83e => (true, true),
        0x80b | 0x83f => (false, true),
        0x810..=0x827 => (true, false),
        _ => (false, false),
    };
    for number in 0x800..=0x8ff {
        let mut apic = x2apic(5);
        let readable = apic.read_msr(NOW, number, &mut vec![]).is_some();
        let writable = apic.write_msr(NOW, number, 0, &mut vec![]).is_some();
        assert_eq!((readable, writable), table(number), "MSR {number:#x}");
        let mut xapic = enabled();
        assert_eq!(xapic.read_msr(NOW, number, &mut vec![]), None);
        assert_eq!(xapic.write_msr(NOW, number, 0, &mut vec![]), None);
    }
}

#[test]
fn x2apic_reserved_bit_checking() {
    let permitted = |number: u32| -> u64 {
        match number {
            0x808 | 0x83f => 0xff,
            0x80b | 0x828 => 0,
            0x80f => 0x3ff,
            // Bit 12 is ignored.
            0x830 => 0xffff_ffff_000c_dfff,
            // Delivery status and remote IRR are read-only, not reserved.
            0x832 => 0x7_10ff,
            0x833 | 0x834 => 0x1_17ff,
            0x835 | 0x836 => 0x1_f7ff,
            0x837 => 0x1_10ff,
            0x838 => 0xffff_ffff,
            0x83e => 0xb,
            _ => unreachable!(),
        }
    };
    for number in [
        0x808, 0x80b, 0x80f, 0x828, 0x830, 0x832, 0x833, 0x834, 0x835, 0x836, 0x837, 0x838, 0x83e,
        0x83f,
    ] {
        for bit in 0..64 {
            let mut apic = x2apic(5);
            let before = apic.save();
            let done = apic.write_msr(NOW, number, 1 << bit, &mut vec![]);
            assert_eq!(
                done.is_some(),
                permitted(number) & 1 << bit != 0,
                "MSR {number:#x} bit {bit}"
            );
            if done.is_none() {
                assert_eq!(apic.save(), before);
            }
        }
    }
}

#[test]
fn entering_x2apic_mode_keeps_all_but_ldr_and_the_high_half_of_icr() {
    let mut apic = LocalApic::new(ApicId(0x25), false);
    write(&mut apic, NOW, at::SVR, 0x1fe);
    write(&mut apic, NOW, at::TPR, 0x20);
    write(&mut apic, NOW, at::LDR, 0x0400_0000);
    write(&mut apic, NOW, at::ICR_HIGH, 0x0700_0000);
    write(&mut apic, NOW, at::TIMER, 0x30);
    apic.accept(Vector(0x41), false);
    let value = apic.base_msr() | base::X2APIC;
    apic.write_base_msr(NOW, value, &mut vec![]).unwrap();
    let mut get = |number| apic.read_msr(NOW, number, &mut vec![]).unwrap();
    assert_eq!(get(0x802), 0x25);
    // Cluster 2 (bits 19:4 of the identifier), member 5 (bits 3:0).
    assert_eq!(get(0x80d), 0x2_0020);
    assert_eq!(get(0x80f), 0x1fe);
    assert_eq!(get(0x808), 0x20);
    assert_eq!(get(0x832), 0x30);
    assert_eq!(get(0x830), 0);
    assert_eq!(get(0x822), 0x2);
    assert_eq!(apic.pending(), Some(Vector(0x41)));
}

#[test]
fn disabling_loses_the_registers_but_not_the_identifier() {
    let mut apic = x2apic(0x123);
    apic.write_msr(NOW, 0x808, 0x20, &mut vec![]).unwrap();
    apic.accept(Vector(0x41), false);
    let address = base::DEFAULT_ADDRESS;
    apic.write_base_msr(NOW, address, &mut vec![]).unwrap();
    assert_eq!(apic.mode(), Mode::Disabled);
    assert_eq!(apic.read_msr(NOW, 0x802, &mut vec![]), None);
    assert!(!apic.accept(Vector(0x41), false));
    apic.write_base_msr(NOW, address | base::ENABLE, &mut vec![])
        .unwrap();
    assert_eq!(read(&mut apic, NOW, at::ID), 0x2300_0000);
    assert_eq!(read(&mut apic, NOW, at::TPR), 0);
    assert_eq!(read(&mut apic, NOW, at::SVR), 0xff);
    assert_eq!(read(&mut apic, NOW, at::IRR + 0x20), 0);
}

#[test]
fn init_keeps_identifier_base_and_mode_and_a_later_start_up_ipi() {
    let mut apic = x2apic(9);
    apic.write_msr(NOW, 0x808, 0x20, &mut vec![]).unwrap();
    apic.accept(Vector(0x41), false);
    apic.latch_nmi();
    apic.latch_sipi(7);
    apic.latch_init();
    assert_eq!(
        apic.signals().sipi,
        None,
        "INIT supersedes an earlier start-up IPI"
    );
    apic.latch_sipi(0x9a);
    assert!(apic.take_init() && !apic.take_init());
    apic.init_reset(&mut vec![]);
    assert_eq!(apic.mode(), Mode::X2apic);
    assert_eq!(apic.read_msr(NOW, 0x802, &mut vec![]), Some(9));
    assert_eq!(apic.read_msr(NOW, 0x808, &mut vec![]), Some(0));
    assert_eq!(apic.read_msr(NOW, 0x80f, &mut vec![]), Some(0xff));
    assert_eq!(apic.read_msr(NOW, 0x822, &mut vec![]), Some(0));
    let signals = apic.signals();
    assert_eq!(
        (signals.nmi, signals.init, signals.sipi),
        (false, false, Some(0x9a))
    );
    assert_eq!(apic.take_sipi(), Some(0x9a));
    assert!(!apic.signals().any());
}

#[test]
fn xapic_registers_are_aligned_32_bit_words() {
    let mut apic = enabled();
    write(&mut apic, NOW, at::TPR, 0x5a);
    assert_eq!(apic.read_mmio(NOW, at::SVR, 1, &mut vec![]), 0xff);
    assert_eq!(apic.read_mmio(NOW, at::SVR + 1, 1, &mut vec![]), 0x01);
    assert_eq!(apic.read_mmio(NOW, at::SVR, 8, &mut vec![]), 0x1ff);
    assert_eq!(apic.read_mmio(NOW, at::SVR + 4, 4, &mut vec![]), 0);
    for (offset, size) in [
        (at::TPR, 1),
        (at::TPR, 8),
        (at::TPR + 4, 4),
        (at::TPR + 1, 4),
    ] {
        let mut effects = vec![];
        apic.write_mmio(NOW, offset, size, 0, &mut effects);
        assert!(
            matches!(effects[..], [Effect::Warning(_)]),
            "{offset:#x}, {size}"
        );
        assert_eq!(read(&mut apic, NOW, at::TPR), 0x5a);
    }
}

// ---- priorities -----------------------------------------------------------------------------

#[test]
fn interrupts_are_dispensed_by_priority_class_and_resumed_by_eoi() {
    let mut apic = enabled();
    for vector in [0x31, 0x52, 0x51] {
        assert!(apic.accept(Vector(vector), false));
    }
    assert_eq!(apic.pending(), Some(Vector(0x52)));
    assert_eq!(apic.acknowledge(), Vector(0x52));
    assert_eq!(apic.processor_priority(), 0x50);
    // 0x51 is of the class in service, not of a higher one.
    assert_eq!(apic.pending(), None);
    assert_eq!(read(&mut apic, NOW, at::ISR + 0x20), 1 << 18);
    assert_eq!(read(&mut apic, NOW, at::IRR + 0x20), 1 << 17);
    apic.accept(Vector(0x60), false);
    assert_eq!(apic.acknowledge(), Vector(0x60));
    write(&mut apic, NOW, at::EOI, 0);
    assert_eq!(apic.pending(), None);
    write(&mut apic, NOW, at::EOI, 0);
    assert_eq!(apic.acknowledge(), Vector(0x51));
    write(&mut apic, NOW, at::EOI, 0);
    assert_eq!(apic.acknowledge(), Vector(0x31));
    write(&mut apic, NOW, at::EOI, 0);
    assert_eq!(apic.processor_priority(), 0);
    assert_eq!(apic.counters().ends_of_interrupt, 4);
    assert!(
        write(&mut apic, NOW, at::EOI, 0).is_empty(),
        "nothing in service"
    );
}

#[test]
fn processor_priority_is_the_greater_class_of_task_and_in_service() {
    for (tpr, in_service, ppr) in [
        (0x00, None, 0x00),
        (0x35, None, 0x35),
        (0x35, Some(0x2f), 0x35),
        (0x35, Some(0x3f), 0x35),
        (0x35, Some(0x4f), 0x40),
        (0xff, Some(0xef), 0xff),
    ] {
        let mut apic = enabled();
        if let Some(vector) = in_service {
            apic.accept(Vector(vector), false);
            apic.acknowledge();
        }
        write(&mut apic, NOW, at::TPR, tpr);
        assert_eq!(
            read(&mut apic, NOW, at::PPR),
            ppr,
            "TPR {tpr:#x}, {in_service:x?}"
        );
    }
}

#[test]
fn cr8_is_the_class_of_the_task_priority() {
    let mut apic = enabled();
    write(&mut apic, NOW, at::TPR, 0x7c);
    assert_eq!(apic.cr8(), 7);
    apic.set_cr8(0xa);
    // The sub-class is cleared ("Interaction of Task Priorities between CR8 and APIC").
    assert_eq!(read(&mut apic, NOW, at::TPR), 0xa0);
    apic.accept(Vector(0xaf), false);
    assert_eq!(apic.pending(), None);
    apic.set_cr8(9);
    assert_eq!(apic.pending(), Some(Vector(0xaf)));
}

#[test]
fn an_interrupt_masked_before_its_acknowledge_becomes_the_spurious_vector() {
    let mut apic = enabled();
    write(&mut apic, NOW, at::SVR, 0x1cd);
    apic.accept(Vector(0x41), false);
    apic.set_cr8(15);
    assert_eq!(apic.acknowledge(), Vector(0xcd));
    // The spurious interrupt does not enter ISR.
    for part in 0..8 {
        assert_eq!(read(&mut apic, NOW, at::ISR + 16 * part), 0);
    }
    apic.set_cr8(0);
    assert_eq!(apic.acknowledge(), Vector(0x41));
}

#[test]
fn one_request_waits_behind_the_same_vector_in_service_and_no_more() {
    let mut apic = enabled();
    apic.accept(Vector(0x41), false);
    apic.acknowledge();
    for _ in 0..3 {
        apic.accept(Vector(0x41), false);
    }
    assert_eq!(apic.counters().merged, 2);
    write(&mut apic, NOW, at::EOI, 0);
    assert_eq!(apic.acknowledge(), Vector(0x41));
    write(&mut apic, NOW, at::EOI, 0);
    assert_eq!(apic.pending(), None);
}

#[test]
fn eoi_of_a_level_triggered_interrupt_is_broadcast_and_tmr_follows_acceptance() {
    let mut apic = enabled();
    apic.accept(Vector(0x41), true);
    assert_eq!(read(&mut apic, NOW, at::TMR + 0x20), 2);
    apic.acknowledge();
    assert_eq!(
        write(&mut apic, NOW, at::EOI, 0),
        [Effect::EoiBroadcast {
            vector: Vector(0x41)
        }]
    );
    apic.accept(Vector(0x41), false);
    assert_eq!(read(&mut apic, NOW, at::TMR + 0x20), 0);
    apic.acknowledge();
    let mut effects = vec![];
    apic.end_of_interrupt(&mut effects);
    assert!(effects.is_empty());
}

#[test]
fn software_disabled_it_takes_no_fixed_interrupts_but_nmi_init_and_start_up() {
    let mut apic = enabled();
    write(&mut apic, NOW, at::TIMER, 0x40);
    apic.accept(Vector(0x41), false);
    write(&mut apic, NOW, at::SVR, 0x0ff);
    assert!(!apic.accept(Vector(0x51), false));
    // What is in IRR and ISR is held.
    assert_eq!(apic.pending(), None);
    assert_eq!(read(&mut apic, NOW, at::IRR + 0x20), 2);
    // Every LVT entry is masked, and cannot be unmasked.
    assert_eq!(read(&mut apic, NOW, at::TIMER), 0x1_0040);
    write(&mut apic, NOW, at::LINT0, 0x700);
    assert_eq!(read(&mut apic, NOW, at::LINT0), 0x1_0700);
    apic.latch_nmi();
    apic.latch_init();
    apic.latch_sipi(1);
    let signals = apic.signals();
    assert!(signals.nmi && signals.init && signals.sipi == Some(1) && !signals.interrupt);
    // It can still send.
    assert!(matches!(
        write(&mut apic, NOW, at::ICR, 0x4040)[..],
        [Effect::Ipi { .. }]
    ));
    write(&mut apic, NOW, at::SVR, 0x1ff);
    assert_eq!(apic.pending(), Some(Vector(0x41)));
}

// ---- errors ---------------------------------------------------------------------------------

#[test]
fn a_received_illegal_vector_is_an_error_and_never_enters_irr() {
    for vector in 0..16 {
        let mut apic = enabled();
        assert!(!apic.accept(Vector(vector), false));
        assert_eq!(read(&mut apic, NOW, at::IRR), 0);
        // ESR shows errors only after a write to it.
        assert_eq!(read(&mut apic, NOW, at::ESR), 0);
        write(&mut apic, NOW, at::ESR, 0);
        assert_eq!(read(&mut apic, NOW, at::ESR), esr::RECEIVE_ILLEGAL_VECTOR);
        write(&mut apic, NOW, at::ESR, 0);
        assert_eq!(read(&mut apic, NOW, at::ESR), 0);
    }
    assert!(enabled().accept(Vector(16), false));
}

#[test]
fn a_sent_illegal_vector_is_an_error_and_is_not_sent() {
    let mut apic = x2apic(1);
    let mut effects = vec![];
    apic.write_msr(NOW, 0x830, 15, &mut effects).unwrap();
    apic.write_msr(NOW, 0x83f, 0, &mut effects).unwrap();
    assert!(effects.is_empty());
    apic.write_msr(NOW, 0x828, 0, &mut effects).unwrap();
    let shown = apic.read_msr(NOW, 0x828, &mut effects);
    assert_eq!(shown, Some(u64::from(esr::SEND_ILLEGAL_VECTOR)));
    // The vector of an NMI is ignored.
    apic.write_msr(NOW, 0x830, 0x400, &mut effects).unwrap();
    assert!(matches!(effects[..], [Effect::Ipi { .. }]));
}

#[test]
fn a_reserved_register_in_xapic_mode_is_an_error() {
    for offset in [0x00, 0x10, 0x40, 0x290, 0x2f0, 0x3a0, 0x3f0, 0x400, 0xff0] {
        for writes in [false, true] {
            let mut apic = enabled();
            if writes {
                write(&mut apic, NOW, offset, 0);
            } else {
                assert_eq!(read(&mut apic, NOW, offset), 0);
            }
            write(&mut apic, NOW, at::ESR, 0);
            assert_eq!(
                read(&mut apic, NOW, at::ESR),
                esr::ILLEGAL_REGISTER,
                "{offset:#x}"
            );
        }
    }
}

#[test]
fn the_error_interrupt_is_rearmed_by_a_write_to_esr() {
    let mut apic = enabled();
    write(&mut apic, NOW, at::ERROR, 0xfe);
    apic.accept(Vector(3), false);
    assert_eq!(apic.acknowledge(), Vector(0xfe));
    write(&mut apic, NOW, at::EOI, 0);
    apic.accept(Vector(3), false);
    assert_eq!(apic.pending(), None);
    write(&mut apic, NOW, at::ESR, 0);
    apic.accept(Vector(3), false);
    assert_eq!(apic.pending(), Some(Vector(0xfe)));
}

#[test]
fn an_illegal_error_vector_does_not_recurse() {
    let mut apic = enabled();
    write(&mut apic, NOW, at::ERROR, 0x05);
    write(&mut apic, NOW, at::ICR, 0x01);
    write(&mut apic, NOW, at::ESR, 0);
    let both = esr::SEND_ILLEGAL_VECTOR | esr::RECEIVE_ILLEGAL_VECTOR;
    assert_eq!(read(&mut apic, NOW, at::ESR), both);
}

// ---- timer ----------------------------------------------------------------------------------

#[test]
fn the_divide_configuration_scales_the_count() {
    for (divide, by) in [
        (0b0000, 2),
        (0b0001, 4),
        (0b0010, 8),
        (0b0011, 16),
        (0b1000, 32),
        (0b1001, 64),
        (0b1010, 128),
        (0b1011, 1),
    ] {
        let mut apic = enabled();
        write(&mut apic, NOW, at::DIVIDE, divide);
        write(&mut apic, NOW, at::TIMER, 0x40);
        let effects = write(&mut apic, NOW, at::INITIAL, 1000);
        assert_eq!(effects, [Effect::DeadlineChanged]);
        let count = by * TICKS_PER_TIMER_CLOCK;
        assert_eq!(apic.deadline(), Some(Ticks(NOW.0 + 1000 * count)));
        assert_eq!(read(&mut apic, Ticks(NOW.0 + 10 * count), at::CURRENT), 990);
        assert_eq!(
            read(&mut apic, Ticks(NOW.0 + 11 * count - 1), at::CURRENT),
            990
        );
    }
}

#[test]
fn one_shot_expires_once_and_stays_at_zero() {
    let mut apic = enabled();
    write(&mut apic, NOW, at::DIVIDE, 0b1011);
    write(&mut apic, NOW, at::TIMER, 0x40);
    write(&mut apic, NOW, at::INITIAL, 500);
    let end = apic.deadline().unwrap();
    apic.advance(Ticks(end.0 - 1));
    assert_eq!(apic.pending(), None);
    assert_eq!(read(&mut apic, Ticks(end.0 - 1), at::CURRENT), 1);
    apic.advance(end);
    assert_eq!(apic.acknowledge(), Vector(0x40));
    assert_eq!(apic.deadline(), None);
    assert_eq!(read(&mut apic, end, at::CURRENT), 0);
    assert_eq!(read(&mut apic, end, at::INITIAL), 500);
}

#[test]
fn periodic_reloads_without_drift_even_when_served_late() {
    let mut apic = enabled();
    write(&mut apic, Ticks(0), at::DIVIDE, 0b1011);
    write(&mut apic, Ticks(0), at::TIMER, lvt::PERIODIC | 0x40);
    write(&mut apic, Ticks(0), at::INITIAL, 1000);
    let period = 1000 * TICKS_PER_TIMER_CLOCK;
    assert_eq!(run_until(&mut apic, Ticks(10 * period)), 10);
    // Three and a half periods pass unseen: one interrupt, and the phase is kept.
    apic.advance(Ticks(13 * period + period / 2));
    assert_eq!(apic.acknowledge(), Vector(0x40));
    assert_eq!(apic.deadline(), Some(Ticks(14 * period)));
    assert_eq!(
        read(&mut apic, Ticks(13 * period + period / 2), at::CURRENT),
        500
    );
    assert_eq!(apic.counters().timer_interrupts, 11);
}

#[test]
fn a_masked_timer_counts_and_asks_for_no_call() {
    let mut apic = enabled();
    write(&mut apic, Ticks(0), at::DIVIDE, 0b1011);
    write(&mut apic, Ticks(0), at::INITIAL, 1000);
    assert_eq!(apic.deadline(), None);
    assert_eq!(
        read(&mut apic, Ticks(400 * TICKS_PER_TIMER_CLOCK), at::CURRENT),
        600
    );
    // It expires while masked; unmasking it later raises nothing.
    let later = Ticks(2000 * TICKS_PER_TIMER_CLOCK);
    write(&mut apic, later, at::TIMER, 0x40);
    assert_eq!((apic.pending(), apic.deadline()), (None, None));
}

#[test]
fn a_new_initial_count_restarts_and_zero_stops() {
    let mut apic = enabled();
    write(&mut apic, Ticks(0), at::DIVIDE, 0b1011);
    write(&mut apic, Ticks(0), at::TIMER, lvt::PERIODIC | 0x40);
    write(&mut apic, Ticks(0), at::INITIAL, 1000);
    write(&mut apic, Ticks(100), at::INITIAL, 10);
    assert_eq!(
        apic.deadline(),
        Some(Ticks(100 + 10 * TICKS_PER_TIMER_CLOCK))
    );
    write(&mut apic, Ticks(101), at::INITIAL, 0);
    assert_eq!(apic.deadline(), None);
    assert_eq!(read(&mut apic, Ticks(5000), at::CURRENT), 0);
}

#[test]
fn a_new_divider_applies_to_what_is_left() {
    let mut apic = enabled();
    write(&mut apic, Ticks(0), at::DIVIDE, 0b1011);
    write(&mut apic, Ticks(0), at::TIMER, 0x40);
    write(&mut apic, Ticks(0), at::INITIAL, 1000);
    let half = Ticks(500 * TICKS_PER_TIMER_CLOCK);
    write(&mut apic, half, at::DIVIDE, 0b0001);
    assert_eq!(read(&mut apic, half, at::CURRENT), 500);
    let expected = half.0 + 4 * 500 * TICKS_PER_TIMER_CLOCK;
    assert_eq!(apic.deadline(), Some(Ticks(expected)));
}

#[test]
fn tsc_deadline_fires_when_the_tsc_reaches_it_and_disarms_itself() {
    let mut apic = x2apic(0);
    let mut effects = vec![];
    apic.write_msr(
        NOW,
        0x832,
        u64::from(lvt::TSC_DEADLINE) | 0x40,
        &mut effects,
    )
    .unwrap();
    apic.write_msr(NOW, msr::IA32_TSC_DEADLINE, 5000, &mut effects)
        .unwrap();
    assert_eq!(effects, [Effect::DeadlineChanged]);
    assert_eq!(apic.deadline(), Some(Ticks(5000)));
    assert_eq!(
        apic.read_msr(NOW, msr::IA32_TSC_DEADLINE, &mut effects),
        Some(5000)
    );
    assert_eq!(apic.read_msr(NOW, 0x839, &mut effects), Some(0));
    // The initial count takes nothing.
    apic.write_msr(NOW, 0x838, 7, &mut effects).unwrap();
    assert_eq!(apic.deadline(), Some(Ticks(5000)));
    apic.advance(Ticks(5000));
    assert_eq!(apic.acknowledge(), Vector(0x40));
    assert_eq!(
        apic.read_msr(Ticks(5001), msr::IA32_TSC_DEADLINE, &mut effects),
        Some(0)
    );
    assert_eq!(apic.deadline(), None);
}

#[test]
fn a_tsc_deadline_in_the_past_fires_at_once() {
    let mut apic = x2apic(0);
    let mut effects = vec![];
    apic.write_msr(
        NOW,
        0x832,
        u64::from(lvt::TSC_DEADLINE) | 0x40,
        &mut effects,
    )
    .unwrap();
    apic.write_msr(NOW, msr::IA32_TSC_DEADLINE, 1, &mut effects)
        .unwrap();
    assert_eq!(apic.pending(), Some(Vector(0x40)));
    assert_eq!(
        apic.read_msr(NOW, msr::IA32_TSC_DEADLINE, &mut effects),
        Some(0)
    );
}

#[test]
fn the_tsc_deadline_is_one_of_the_adjusted_tsc() {
    let mut apic = x2apic(0);
    let mut effects = vec![];
    apic.write_msr(
        NOW,
        0x832,
        u64::from(lvt::TSC_DEADLINE) | 0x40,
        &mut effects,
    )
    .unwrap();
    apic.set_tsc_offset(NOW, 1_000_000, &mut effects);
    apic.write_msr(NOW, msr::IA32_TSC_DEADLINE, 1_005_000, &mut effects)
        .unwrap();
    assert_eq!(apic.deadline(), Some(Ticks(5000)));
    apic.set_tsc_offset(NOW, 0, &mut effects);
    assert_eq!(apic.deadline(), Some(Ticks(1_005_000)));
    // A TSC behind virtual time.
    apic.set_tsc_offset(NOW, 0u64.wrapping_sub(500), &mut effects);
    assert_eq!(apic.deadline(), Some(Ticks(1_005_500)));
    // And one that jumps past the deadline.
    apic.set_tsc_offset(NOW, 2_000_000, &mut effects);
    assert_eq!(apic.pending(), Some(Vector(0x40)));
}

#[test]
fn changing_the_timer_mode_disarms() {
    let mut apic = x2apic(0);
    let mut effects = vec![];
    let modes = [lvt::ONE_SHOT, lvt::PERIODIC, lvt::TSC_DEADLINE].map(u64::from);
    for from in modes {
        for to in modes.into_iter().filter(|&to| to != from) {
            apic.write_msr(NOW, 0x832, from | 0x40, &mut effects)
                .unwrap();
            apic.write_msr(NOW, 0x838, 1 << 20, &mut effects).unwrap();
            apic.write_msr(NOW, msr::IA32_TSC_DEADLINE, 1 << 40, &mut effects)
                .unwrap();
            assert!(apic.deadline().is_some());
            apic.write_msr(NOW, 0x832, to | 0x40, &mut effects).unwrap();
            assert_eq!(apic.deadline(), None, "{from:#x} to {to:#x}");
            assert_eq!(
                apic.read_msr(NOW, msr::IA32_TSC_DEADLINE, &mut effects),
                Some(0)
            );
        }
    }
    // And outside the deadline mode its MSR cannot be written.
    apic.write_msr(NOW, 0x832, modes[0] | 0x40, &mut effects)
        .unwrap();
    apic.write_msr(NOW, msr::IA32_TSC_DEADLINE, 1, &mut effects)
        .unwrap();
    assert_eq!(apic.pending(), None);
}

#[test]
fn an_illegal_timer_vector_is_an_error_at_expiry() {
    let mut apic = enabled();
    write(&mut apic, Ticks(0), at::TIMER, 0x0f);
    write(&mut apic, Ticks(0), at::INITIAL, 1);
    let end = apic.deadline().unwrap();
    apic.advance(end);
    assert_eq!(apic.pending(), None);
    write(&mut apic, end, at::ESR, 0);
    assert_eq!(read(&mut apic, end, at::ESR), esr::RECEIVE_ILLEGAL_VECTOR);
}

// ---- sending --------------------------------------------------------------------------------

#[test]
fn writing_the_low_half_of_icr_sends_to_the_high_half() {
    let mut apic = enabled();
    assert!(write(&mut apic, NOW, at::ICR_HIGH, 0x12ff_ffff).is_empty());
    let sent = write(&mut apic, NOW, at::ICR, 0x0000_48fd);
    assert_eq!(
        sent,
        [Effect::Ipi {
            source: ApicId(3),
            command: 0x48fd,
            destination: 0x12,
            x2apic: false
        }]
    );
    assert_eq!(read(&mut apic, NOW, at::ICR_HIGH), 0x1200_0000);
    // The delivery status is never pending.
    write(&mut apic, NOW, at::ICR, 0xffff_fffd);
    assert_eq!(read(&mut apic, NOW, at::ICR) & icr::SEND_PENDING, 0);
}

#[test]
fn in_x2apic_mode_one_wrmsr_sends_to_32_bits() {
    let mut apic = x2apic(0x1_0001);
    let mut effects = vec![];
    apic.write_msr(NOW, 0x830, 0xdead_beef_0000_10f2, &mut effects)
        .unwrap();
    assert_eq!(
        effects,
        [Effect::Ipi {
            source: ApicId(0x1_0001),
            command: 0xf2,
            destination: 0xdead_beef,
            x2apic: true
        }]
    );
    assert_eq!(
        apic.read_msr(NOW, 0x830, &mut vec![]),
        Some(0xdead_beef_0000_00f2)
    );
}

#[test]
fn self_ipi_is_a_fixed_ipi_to_self() {
    let mut apic = x2apic(4);
    let mut effects = vec![];
    apic.write_msr(NOW, 0x83f, 0x55, &mut effects).unwrap();
    let [
        Effect::Ipi {
            source,
            command,
            destination,
            x2apic,
        },
    ] = effects[..]
    else {
        panic!("{effects:?}");
    };
    let message = Message::from_ipi(source, command, destination, x2apic).unwrap();
    assert_eq!(message.audience, Audience::Itself);
    assert!(message.reaches(&apic));
    apic.receive(&message, &mut vec![]);
    assert_eq!(apic.pending(), Some(Vector(0x55)));
}

#[test]
fn init_level_deassert_is_ignored() {
    let mut apic = enabled();
    assert!(write(&mut apic, NOW, at::ICR, 0x0000_8500).is_empty());
    assert_eq!(write(&mut apic, NOW, at::ICR, 0x0000_c500).len(), 1);
}

#[test]
fn reserved_delivery_modes_are_not_sent() {
    for mode in [3, 7] {
        let effects = write(&mut enabled(), NOW, at::ICR, mode << 8 | 0x4040);
        assert!(matches!(effects[..], [Effect::Warning(_)]), "mode {mode}");
    }
}

#[test]
fn shorthands_go_with_the_modes_of_the_table_of_valid_combinations() {
    for shorthand in 0..4 {
        for mode in [0, 1, 2, 4, 5, 6] {
            let command = shorthand << icr::SHORTHAND_SHIFT | mode << 8 | icr::ASSERT | 0x40;
            let decoded = Message::from_ipi(ApicId(0), command, 0, true);
            let valid = matches!(shorthand, 0 | 3) || mode == 0;
            assert_eq!(decoded.is_ok(), valid, "shorthand {shorthand}, mode {mode}");
        }
    }
}

#[test]
fn senduipi_writes_icr_and_reads_ndst_in_the_current_mode() {
    let mut effects = vec![];
    let mut apic = x2apic(1);
    apic.send_user_ipi(Vector(0xec), 0x0000_0300, &mut effects);
    let mut xapic = enabled();
    xapic.send_user_ipi(Vector(0xec), 0xffff_03ff, &mut effects);
    let mut disabled = LocalApic::new(ApicId(2), false);
    disabled
        .write_base_msr(NOW, base::DEFAULT_ADDRESS, &mut vec![])
        .unwrap();
    disabled.send_user_ipi(Vector(0xec), 0x300, &mut effects);
    let ipi = |source, destination, x2apic| Effect::Ipi {
        source: ApicId(source),
        command: 0xec,
        destination,
        x2apic,
    };
    assert_eq!(effects, [ipi(1, 0x300, true), ipi(3, 3, false)]);
    assert_eq!(
        apic.read_msr(NOW, 0x830, &mut vec![]),
        Some(0x300_0000_00ec)
    );
    assert_eq!(read(&mut xapic, NOW, at::ICR_HIGH), 0x0300_0000);
    assert_eq!(read(&mut xapic, NOW, at::ICR), 0xec);
    // A notification vector below 16 is the sender's error like any other.
    let mut effects = vec![];
    xapic.send_user_ipi(Vector(2), 0x300, &mut effects);
    assert!(effects.is_empty());
    write(&mut xapic, NOW, at::ESR, 0);
    assert_eq!(read(&mut xapic, NOW, at::ESR), esr::SEND_ILLEGAL_VECTOR);
}

// ---- destinations ---------------------------------------------------------------------------

#[test]
fn physical_destinations() {
    let xapic = enabled();
    assert!(xapic.matches(3, false, false) && xapic.matches(0xff, false, false));
    assert!(!xapic.matches(4, false, false));
    let x2 = x2apic(0xff);
    // In 32 bits 0xFF is an identifier like any other, in 8 bits it is everyone.
    assert!(x2.matches(0xff, false, true) && x2.matches(0xff, false, false));
    assert!(x2.matches(0xffff_ffff, false, true));
    let x2 = x2apic(0x103);
    assert!(!x2.matches(0xff, false, true) && x2.matches(0xff, false, false));
    assert!(!x2.matches(3, false, false) && !x2.matches(3, false, true));
    assert!(x2.matches(0x103, false, true));
}

#[test]
fn logical_destinations_in_the_flat_model() {
    let mut apic = enabled();
    write(&mut apic, NOW, at::LDR, 0x1200_0000);
    for destination in 0..=0xff {
        let expected = destination & 0x12 != 0;
        assert_eq!(
            apic.matches(destination, true, false),
            expected,
            "{destination:#x}"
        );
    }
    write(&mut apic, NOW, at::LDR, 0);
    assert!(apic.matches(0xff, true, false), "all ones are everyone");
}

#[test]
fn logical_destinations_in_the_cluster_model() {
    let mut apic = enabled();
    write(&mut apic, NOW, at::DFR, 0);
    assert_eq!(read(&mut apic, NOW, at::DFR), 0x0fff_ffff);
    write(&mut apic, NOW, at::LDR, 0x3600_0000);
    for destination in 0..=0xff {
        let member = destination >> 4 == 3 && destination & 6 != 0;
        let expected = member || destination == 0xff;
        assert_eq!(
            apic.matches(destination, true, false),
            expected,
            "{destination:#x}"
        );
    }
}

#[test]
fn logical_destinations_in_x2apic_mode() {
    let apic = x2apic(0x25);
    assert!(apic.matches(0x0002_0020, true, true));
    assert!(apic.matches(0x0002_ffff, true, true));
    assert!(!apic.matches(0x0002_ffdf, true, true));
    assert!(!apic.matches(0x0003_0020, true, true));
    assert!(apic.matches(0xffff_ffff, true, true));
    // Eight bits reach cluster 0 only.
    assert!(x2apic(5).matches(0x20, true, false));
    assert!(!apic.matches(0x20, true, false));
}

#[test]
fn a_disabled_apic_answers_to_nobody() {
    let mut apic = enabled();
    apic.write_base_msr(NOW, base::DEFAULT_ADDRESS, &mut vec![])
        .unwrap();
    assert!(!apic.matches(3, false, false) && !apic.matches(0xff, false, false));
}

#[test]
fn the_lowest_priority_mode_chooses_the_lowest_priority_then_the_lowest_identifier() {
    let mut apics: Vec<LocalApic> = (0..4).map(x2apic).collect();
    let message = Message::from_msi(0xfee0_f00c, 0x4041).unwrap();
    assert_eq!(
        message.delivery,
        Delivery::LowestPriority,
        "by its redirection hint"
    );
    let mut chosen = |priorities: [u64; 4]| {
        for (apic, priority) in apics.iter_mut().zip(priorities) {
            apic.set_cr8(priority);
        }
        message.recipients(&apics).collect::<Vec<_>>()
    };
    assert_eq!(chosen([0, 0, 0, 0]), [0]);
    assert_eq!(chosen([3, 2, 1, 1]), [2]);
    assert_eq!(chosen([3, 2, 2, 3]), [1]);
    // One that would refuse it is not asked.
    apics[1].write_msr(NOW, 0x80f, 0xff, &mut vec![]).unwrap();
    assert_eq!(message.recipients(&apics).collect::<Vec<_>>(), [2]);
}

#[test]
fn shorthands_name_their_audience() {
    let mut apics: Vec<LocalApic> = (0..3).map(x2apic).collect();
    let mut reached = |shorthand: u32| {
        let command = shorthand << icr::SHORTHAND_SHIFT | 0x40;
        let message = Message::from_ipi(ApicId(1), command, 2, true).unwrap();
        let reached = message.recipients(&apics).collect::<Vec<_>>();
        assert_eq!(message.deliver(&mut apics, &mut vec![]), reached.len());
        reached
    };
    assert_eq!(reached(0), [2]);
    assert_eq!(reached(1), [1]);
    assert_eq!(reached(2), [0, 1, 2]);
    assert_eq!(reached(3), [0, 2]);
    assert_eq!(apics[0].counters().accepted, 2);
    assert_eq!(apics[1].counters().accepted, 2);
    assert_eq!(apics[2].counters().accepted, 3);
}

#[test]
fn messages_deliver_what_their_mode_says() {
    let mut apic = x2apic(0);
    let mut effects = vec![];
    for (mode, check) in [
        (2u32, Signals::default()),
        (
            4,
            Signals {
                nmi: true,
                ..Signals::default()
            },
        ),
        (
            5,
            Signals {
                init: true,
                ..Signals::default()
            },
        ),
        (
            7,
            Signals {
                interrupt: true,
                ..Signals::default()
            },
        ),
    ] {
        let message = Message::from_msi(0xfee0_0000, mode << 8 | 0x40).unwrap();
        apic.receive(&message, &mut effects);
        assert_eq!(apic.signals(), check, "mode {mode}");
        apic.take_nmi();
        apic.take_init();
        assert_eq!(apic.extint_pending(), mode == 7);
        apic.acknowledge_extint();
    }
    assert!(matches!(effects[..], [Effect::Warning(_)]), "SMI");
    let startup = Message::from_ipi(ApicId(1), 0x469a, 0, true).unwrap();
    apic.receive(&startup, &mut effects);
    assert_eq!(apic.signals().sipi, Some(0x9a));
}

#[test]
fn message_address_and_data_formats() {
    let message = Message::from_msi(0xfee1_2004, 0xc041).unwrap();
    assert_eq!(
        message,
        Message {
            source: None,
            audience: Audience::Matching {
                destination: 0x12,
                logical: true,
                x2apic: false
            },
            delivery: Delivery::Fixed,
            vector: Vector(0x41),
            level_triggered: true,
        }
    );
    assert_eq!(
        Message::from_msi(0xfed0_0000, 0x41),
        Err(Unroutable::NotAnInterruptAddress)
    );
    assert_eq!(
        Message::from_msi(0x1_fee0_0000, 0x41),
        Err(Unroutable::NotAnInterruptAddress)
    );
    assert_eq!(
        Message::from_msi(0xfee0_0000, 0x341),
        Err(Unroutable::ReservedDeliveryMode)
    );
    assert_eq!(
        Message::from_msi(0xfee0_0000, 0x641),
        Err(Unroutable::ReservedDeliveryMode)
    );
    assert_eq!(
        Message::from_msi(0xfee0_0000, 0x8041),
        Err(Unroutable::Deassertion)
    );
    assert!(
        !Message::from_msi(0xfee0_0000, 0xc441)
            .unwrap()
            .level_triggered,
        "NMI is an edge"
    );
}

// ---- pins -----------------------------------------------------------------------------------

#[test]
fn virtual_wire_mode_passes_intr_through_lint0() {
    let mut apic = LocalApic::new(ApicId(0), true);
    apic.set_lint0(true);
    assert!(!apic.extint_pending(), "masked at reset");
    apic.enter_virtual_wire_mode();
    assert!(apic.extint_pending() && apic.signals().interrupt);
    // ExtINT has no priority: the task priority does not hold it.
    apic.set_cr8(15);
    assert!(apic.extint_pending());
    apic.set_lint0(false);
    assert!(!apic.extint_pending());
    apic.set_lint0(true);
    write(&mut apic, NOW, at::LINT0, 0x1_0700);
    assert!(!apic.extint_pending());
    apic.set_lint1(true);
    assert!(apic.take_nmi());
}

#[test]
fn globally_disabled_lint0_is_intr_and_lint1_is_nmi() {
    let mut apic = LocalApic::new(ApicId(0), true);
    apic.write_base_msr(NOW, base::DEFAULT_ADDRESS, &mut vec![])
        .unwrap();
    apic.set_lint0(true);
    assert!(apic.extint_pending());
    apic.set_lint1(true);
    apic.set_lint1(true);
    assert!(apic.take_nmi());
    assert!(!apic.take_nmi(), "one edge, one NMI");
}

#[test]
fn a_level_triggered_pin_interrupts_again_after_eoi_while_it_stands() {
    let mut apic = enabled();
    write(&mut apic, NOW, at::LINT0, lvt::LEVEL | 0x40);
    apic.set_lint0(true);
    assert_eq!(
        read(&mut apic, NOW, at::LINT0),
        lvt::LEVEL | lvt::REMOTE_IRR | 0x40
    );
    assert_eq!(apic.acknowledge(), Vector(0x40));
    apic.set_lint0(true);
    assert_eq!(apic.pending(), None);
    write(&mut apic, NOW, at::EOI, 0);
    assert_eq!(apic.acknowledge(), Vector(0x40));
    apic.set_lint0(false);
    write(&mut apic, NOW, at::EOI, 0);
    assert_eq!(apic.pending(), None);
    assert_eq!(read(&mut apic, NOW, at::LINT0), lvt::LEVEL | 0x40);
}

#[test]
fn an_edge_triggered_pin_interrupts_at_its_edge() {
    let mut apic = enabled();
    apic.set_lint0(true);
    write(&mut apic, NOW, at::LINT0, 0x40);
    assert_eq!(apic.pending(), None, "no edge since it was unmasked");
    apic.set_lint0(false);
    apic.set_lint0(true);
    assert_eq!(apic.acknowledge(), Vector(0x40));
}

#[test]
fn a_performance_interrupt_masks_itself() {
    let mut apic = enabled();
    write(&mut apic, NOW, 0x340, lvt::NMI);
    apic.raise_performance();
    assert!(apic.take_nmi());
    apic.raise_performance();
    assert!(!apic.take_nmi());
    write(&mut apic, NOW, 0x330, 0x44);
    apic.raise_thermal();
    assert_eq!(apic.pending(), Some(Vector(0x44)));
}

// ---- everything at once ---------------------------------------------------------------------

/// A local APIC dressed as a device, for the storm: region 0 is its page, region 1 its MSRs.
struct Dressed(LocalApic);

impl Device for Dressed {
    fn name(&self) -> String {
        "local APIC".into()
    }

    fn regions(&self) -> Vec<Region> {
        [spec::MMIO_SIZE, 0x110, 64]
            .map(|size| Region {
                space: Space::Memory,
                base: 0,
                size,
            })
            .to_vec()
    }

    fn read(&mut self, now: Ticks, region: usize, offset: u64, size: u8, out: &mut Effects) -> u64 {
        let value = match region {
            0 => return self.0.read_mmio(now, offset, size, out),
            1 => self.0.read_msr(now, msr_of(offset), out),
            _ => self.0.read_msr(now, 0x800 + offset as u32, out),
        };
        value.unwrap_or(0) & (!0 >> (64 - 8 * u32::from(size)))
    }

    fn write(
        &mut self,
        now: Ticks,
        region: usize,
        offset: u64,
        size: u8,
        value: u64,
        _dma: &mut dyn Dma,
        out: &mut Effects,
    ) {
        match region {
            0 => self.0.write_mmio(now, offset, size, value, out),
            1 => drop(self.0.write_msr(now, msr_of(offset), value, out)),
            _ => drop(self.0.write_msr(now, 0x800 + offset as u32, value, out)),
        }
    }

    fn deadline(&self) -> Option<Ticks> {
        self.0.deadline()
    }

    fn advance(&mut self, now: Ticks, _dma: &mut dyn Dma, _out: &mut Effects) {
        self.0.advance(now);
    }

    fn reset(&mut self) {
        self.0.reset();
    }

    fn save(&self) -> Vec<u8> {
        self.0.save()
    }

    fn load(&mut self, saved: &[u8]) -> Result<(), LoadError> {
        self.0.load(saved)
    }
}

fn msr_of(offset: u64) -> u32 {
    match offset {
        0..8 => msr::IA32_APIC_BASE,
        8..16 => msr::IA32_TSC_DEADLINE,
        _ => 0x800 + (offset as u32 - 16),
    }
}

/// What [`LocalApic::pending`] must say, worked out from the registers as software sees them.
fn pending_by_the_book(apic: &LocalApic) -> Option<Vector> {
    if !apic.is_software_enabled() {
        return None;
    }
    let highest = |register: fn(usize) -> Register| {
        (0..256u32).rev().find(|vector| {
            let word = apic.read_register(NOW, register((vector / 32) as usize));
            word >> (vector % 32) & 1 != 0
        })
    };
    let in_service = highest(Register::InService).unwrap_or(0) >> 4;
    let task = apic.read_register(NOW, Register::TaskPriority) >> 4;
    let requested = highest(Register::Request)?;
    (requested >> 4 > in_service.max(task)).then_some(Vector(requested as u8))
}

fn poke(device: &mut Dressed, rng: &mut Xorshift, now: Ticks, effects: &mut Effects) -> u64 {
    let apic = &mut device.0;
    match rng.below(16) {
        0..4 => {
            apic.accept(Vector(rng.next() as u8), rng.below(2) == 0);
        }
        4..6 => {
            apic.acknowledge();
        }
        6 => apic.end_of_interrupt(effects),
        7 => apic.set_lint0(rng.below(2) == 0),
        8 => apic.set_lint1(rng.below(2) == 0),
        9 => apic.send_user_ipi(Vector(rng.next() as u8), rng.next() as u32, effects),
        10 => apic.set_tsc_offset(now, rng.value(), effects),
        11 => {
            if let Ok(message) =
                Message::from_msi(0xfee0_0000 | rng.value() as u32 as u64, rng.value() as u32)
            {
                apic.receive(&message, effects);
            }
        }
        12 => {
            apic.take_nmi();
            apic.take_sipi();
            if apic.take_init() {
                apic.init_reset(effects);
            }
        }
        13 => apic.raise_performance(),
        // Storms disable it more often than they enable it.
        14 => {
            let address = base::DEFAULT_ADDRESS;
            apic.write_base_msr(now, address | base::ENABLE, effects);
            if rng.below(2) == 0 {
                apic.write_base_msr(now, address | base::ENABLE | base::X2APIC, effects);
            }
        }
        _ => apic.enter_virtual_wire_mode(),
    }
    assert_eq!(apic.pending(), pending_by_the_book(apic));
    assert_eq!(
        apic.signals().interrupt,
        apic.pending().is_some() || apic.extint_pending()
    );
    let told = (
        apic.pending(),
        apic.signals(),
        apic.cr8(),
        apic.processor_priority(),
    );
    format!("{told:?}").bytes().fold(0, |sum, byte| {
        u64::wrapping_add(u64::rotate_left(sum, 5), byte.into())
    })
}

#[test]
fn weathers_a_storm_of_accesses() {
    for seed in [1, 2, 3] {
        let make = || Dressed(LocalApic::new(ApicId(0x103), true));
        storm::weather(make, seed, 150_000, poke);
    }
}

#[test]
fn every_lvt_register_keeps_what_it_can_hold() {
    let mut apic = enabled();
    for (entry, offset) in Lvt::ALL.into_iter().zip((at::TIMER..).step_by(16)) {
        write(&mut apic, NOW, offset, !0);
        assert_eq!(read(&mut apic, NOW, offset), entry.writable(), "{entry:?}");
    }
}
