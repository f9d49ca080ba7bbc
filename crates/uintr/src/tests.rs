//! The rules against the manual's statements, on a processor made of two arrays.
//!
//! Statements that involve the APIC, paging or privilege are tested on the whole machine by the
//! golden programs in `filetests/uintr`.

use crate::*;
use ring3_arch::msr;
use ring3_arch::uintr::{UPID_ON, UPID_SN};
use std::collections::BTreeMap;

#[derive(Default)]
struct Model {
    state: State,
    memory: BTreeMap<u64, u64>,
    frame: Option<Frame>,
    ipis: Vec<(u8, u32)>,
    steps: Vec<Step>,
    faults_at: Option<u64>,
    flexible: bool,
    fault: Option<Fault>,
    eois: usize,
}

impl Model {
    fn access(&mut self, address: GuestVirt) -> Result<(), ()> {
        if self.faults_at == Some(address.0) {
            self.fault = Some(Fault::page(address, 0));
            return Err(());
        }
        Ok(())
    }
}

impl Processor for Model {
    type Stop = ();
    fn uintr(&mut self) -> &mut State {
        &mut self.state
    }
    fn at(&mut self, step: Step) {
        self.steps.push(step);
    }
    fn fault(&mut self, fault: Fault) {
        self.fault = Some(fault);
    }
    fn read_supervisor(&mut self, address: GuestVirt) -> Result<u64, ()> {
        self.access(address)?;
        Ok(self.memory.get(&address.0).copied().unwrap_or(0))
    }
    fn lock_upid(&mut self, address: GuestVirt) -> Result<[u64; 2], ()> {
        Ok([
            self.read_supervisor(address)?,
            self.read_supervisor(GuestVirt(address.0 + 8))?,
        ])
    }
    fn unlock_upid(&mut self, address: GuestVirt, upid: [u64; 2]) {
        self.memory.insert(address.0, upid[0]);
        self.memory.insert(address.0 + 8, upid[1]);
    }
    fn push_user(&mut self, address: GuestVirt, value: u64) -> Result<(), ()> {
        self.access(address)?;
        self.memory.insert(address.0, value);
        Ok(())
    }
    fn pop_user(&mut self, address: GuestVirt) -> Result<u64, ()> {
        self.read_supervisor(address)
    }
    fn send_ipi(&mut self, vector: Vector, ndst: u32) {
        self.ipis.push((vector.0, ndst));
    }
    fn end_of_interrupt(&mut self) {
        self.eois += 1;
    }
    fn frame(&self) -> Frame {
        self.frame.unwrap()
    }
    fn set_frame(&mut self, frame: Frame) {
        self.frame = Some(frame);
    }
    fn is_canonical(&self, address: GuestVirt) -> bool {
        address.is_canonical(48)
    }
    fn has_flexible_uiret(&self) -> bool {
        self.flexible
    }
}

const UITT: u64 = 0x1000;
const UPID: u64 = 0x2000;

/// A sender whose UITT entry 0 posts vector 5 to a UPID with NV 0xf2 and NDST 0x300.
fn sender() -> Model {
    let mut model = Model::default();
    model.state.tt = UITT | 1;
    model.memory.insert(UITT, 1 | 5 << 8);
    model.memory.insert(UITT + 8, UPID);
    model.memory.insert(UPID, 0xf2 << 16 | 0x300 << 32);
    model
}

fn receiver(uirr: u64) -> Model {
    Model {
        state: State {
            uirr,
            uif: true,
            handler: 0x40_0000,
            stack_adjust: 128,
            ..State::default()
        },
        frame: Some(Frame {
            rip: 0x1234,
            rsp: 0x7ffe_0000_1005,
            rflags: 0x1_0746,
        }),
        ..Model::default()
    }
}

#[test]
fn s02_misc_refuses_bits_40_and_63() {
    let mut state = State::default();
    state
        .write_msr(msr::IA32_UINTR_MISC, 0xec_0000_00ff)
        .unwrap()
        .unwrap();
    for bit in [40, 63] {
        let result = state.write_msr(msr::IA32_UINTR_MISC, 1 << bit).unwrap();
        assert_eq!(result, Err(MsrFault));
    }
    assert_eq!((state.uinv, state.uittsz), (0xec, 255));
}

#[test]
fn s03_pd_and_tt_refuse_their_reserved_bits() {
    let mut state = State::default();
    assert_eq!(
        state.write_msr(msr::IA32_UINTR_PD, 1 << 5),
        Some(Err(MsrFault))
    );
    assert_eq!(
        state.write_msr(msr::IA32_UINTR_TT, 1 << 1),
        Some(Err(MsrFault))
    );
    assert_eq!(state.write_msr(msr::IA32_UINTR_TT, 1), Some(Ok(())));
}

#[test]
fn s05_rdmsr_does_not_show_uif() {
    let state = State {
        uif: true,
        ..State::default()
    };
    assert_eq!(state.read_msr(msr::IA32_UINTR_MISC), Some(0));
}

#[test]
fn s06_uittsz_is_the_highest_valid_index_compared_in_64_bits() {
    let mut model = sender();
    assert_eq!(senduipi(&mut model, 0), Ok(()));
    assert_eq!(senduipi(&mut model, 1), Err(()));
    assert_eq!(model.fault, Some(Fault::GP0));
    model.state.uittsz = u32::MAX;
    assert_eq!(senduipi(&mut model, 1 << 32), Err(()));
}

#[test]
fn s07_without_tt_enable_senduipi_is_undefined_even_with_a_bad_index() {
    let mut model = sender();
    model.state.tt = UITT;
    assert_eq!(senduipi(&mut model, 99), Err(()));
    assert_eq!(model.fault, Some(Fault::UD));
}

#[test]
fn s08_bad_uitt_entries_fault_and_leave_the_upid_alone() {
    let entries = [
        (0, UPID),
        (1 | 64 << 8, UPID),
        (1 | 1 << 16, UPID),
        (1, UPID | 1),
        (1 | 2, UPID),
    ];
    for (low, high) in entries {
        let mut model = sender();
        let before = model.memory[&UPID];
        model.memory.insert(UITT, low);
        model.memory.insert(UITT + 8, high);
        assert_eq!(senduipi(&mut model, 0), Err(()));
        assert_eq!(model.fault, Some(Fault::GP0), "{low:#x} {high:#x}");
        assert_eq!(
            (model.memory[&UPID], model.memory.get(&(UPID + 8))),
            (before, None)
        );
    }
}

#[test]
fn s09_reserved_upid_bits_fault_and_leave_pir_alone() {
    for bit in [7, 24] {
        let mut model = sender();
        *model.memory.get_mut(&UPID).unwrap() |= 1 << bit;
        assert_eq!(senduipi(&mut model, 0), Err(()));
        assert_eq!(model.fault, Some(Fault::GP0));
        assert_eq!(model.memory[&(UPID + 8)], 0);
        assert!(model.ipis.is_empty());
    }
}

#[test]
fn s10_on_or_sn_set_posts_without_notifying() {
    for (status, after) in [(UPID_ON, UPID_ON), (UPID_SN, UPID_SN)] {
        let mut model = sender();
        *model.memory.get_mut(&UPID).unwrap() |= status;
        senduipi(&mut model, 0).unwrap();
        assert_eq!(model.memory[&(UPID + 8)], 1 << 5);
        assert_eq!(model.memory[&UPID] & 3, after);
        assert!(model.ipis.is_empty());
    }
}

#[test]
fn s11_on_and_sn_clear_sets_on_and_sends_one_ipi() {
    let mut model = sender();
    senduipi(&mut model, 0).unwrap();
    senduipi(&mut model, 0).unwrap();
    assert_eq!(model.memory[&UPID] & 3, UPID_ON);
    assert_eq!(model.ipis, [(0xf2, 0x300)]);
}

#[test]
fn s22_notification_moves_pir_whatever_on_and_sn_say() {
    for (status, pir) in [(UPID_ON, 0), (0, 8), (UPID_SN, 8), (UPID_ON | UPID_SN, 8)] {
        let mut model = Model::default();
        model.state.pd = UPID;
        model.state.uirr = 1;
        model.memory.insert(UPID, status | 0xff00_fffc);
        model.memory.insert(UPID + 8, pir);
        process_notification(&mut model).unwrap();
        assert_eq!(model.state.uirr, 1 | pir);
        assert_eq!(model.memory[&(UPID + 8)], 0);
        assert_eq!(model.memory[&UPID], (status & UPID_SN) | 0xff00_fffc);
        assert_eq!(model.eois, 1);
    }
}

#[test]
fn s24_equal_vectors_coalesce_and_the_highest_goes_first() {
    let mut model = receiver(0b10_1000);
    deliver(&mut model).unwrap();
    let vector_at = model.frame().rsp;
    assert_eq!(model.memory[&vector_at], 5);
    assert_eq!(model.state.uirr, 0b1000);
}

#[test]
fn s30_a_fault_in_notification_comes_after_the_eoi() {
    let mut model = Model {
        faults_at: Some(UPID),
        ..Model::default()
    };
    model.state.pd = UPID;
    assert_eq!(process_notification(&mut model), Err(()));
    assert_eq!(model.eois, 1);
}

#[test]
fn s31_s33_s34_s35_the_frame_lies_below_the_red_zone_on_an_aligned_stack() {
    let mut model = receiver(1 << 63 | 1);
    let old = model.frame();
    deliver(&mut model).unwrap();
    let new = model.frame();
    assert_eq!(new.rsp, ((old.rsp - 128) & !15) - 32);
    assert_eq!(new.rsp % 16, 0);
    assert_eq!(model.memory[&new.rsp], 63);
    assert_eq!(model.memory[&(new.rsp + 8)], old.rip);
    assert_eq!(model.memory[&(new.rsp + 16)], old.rflags);
    assert_eq!(model.memory[&(new.rsp + 24)], old.rsp);
    assert_eq!(new.rflags, old.rflags & !(rflags_tf() | 1 << 16));
    assert_eq!(new.rip, 0x40_0000);
    assert!(!model.state.uif);
    assert_eq!(model.state.uirr, 1);
}

fn rflags_tf() -> u64 {
    ring3_arch::rflags::TF
}

#[test]
fn s32_an_alternate_stack_is_used_whatever_rsp_was() {
    let mut model = receiver(1);
    model.state.stack_adjust = 0x5_0008 | 1;
    deliver(&mut model).unwrap();
    assert_eq!(model.frame().rsp, 0x5_0000 - 32);
}

#[test]
fn s42_a_fault_in_a_push_changes_nothing() {
    for push in 1..=4 {
        let mut model = receiver(1 << 9);
        let before = (model.state, model.frame());
        let top = (before.1.rsp - 128) & !15;
        model.faults_at = Some(top - 8 * push);
        assert_eq!(deliver(&mut model), Err(()));
        assert_eq!((model.state, model.frame()), before);
    }
}

#[test]
fn s04_a_handler_outside_the_current_width_faults_at_delivery() {
    let mut model = receiver(1);
    model.state.handler = 0x8000_0000_0000;
    let before = model.frame();
    assert_eq!(deliver(&mut model), Err(()));
    assert_eq!(model.fault, Some(Fault::GP0));
    assert_eq!(model.frame(), before);
}

fn returning(popped_rflags: u64) -> Model {
    let mut model = Model {
        frame: Some(Frame {
            rip: 0x40_0010,
            rsp: 0x9000,
            rflags: 0x3202,
        }),
        ..Model::default()
    };
    model.memory.insert(0x9000, 0x1234);
    model.memory.insert(0x9008, popped_rflags);
    model.memory.insert(0x9010, 0x7ffe_0000_1005);
    model
}

#[test]
fn s48_s52_uiret_keeps_if_and_iopl_and_takes_any_rsp() {
    let mut model = returning(0x25_4dd5);
    uiret(&mut model).unwrap();
    let frame = model.frame();
    assert_eq!((frame.rip, frame.rsp), (0x1234, 0x7ffe_0000_1005));
    assert_eq!(frame.rflags, 0x3202 | 0x25_4dd5);
    let mut model = returning(0);
    uiret(&mut model).unwrap();
    assert_eq!(model.frame().rflags, 0x3202);
}

#[test]
fn s49_a_frame_with_a_bad_rip_changes_nothing() {
    let mut model = returning(0);
    model.memory.insert(0x9000, 0x8000_0000_0000);
    let before = (model.state, model.frame());
    assert_eq!(uiret(&mut model), Err(()));
    assert_eq!(model.fault, Some(Fault::GP0));
    assert_eq!((model.state, model.frame()), before);
}

#[test]
fn s51_flexible_uiret_takes_uif_from_bit_1() {
    for (flexible, bit, uif) in [(true, 0, false), (true, 2, true), (false, 0, true)] {
        let mut model = returning(bit);
        model.flexible = flexible;
        uiret(&mut model).unwrap();
        assert_eq!(model.state.uif, uif);
    }
}

#[test]
fn s53_uiret_does_not_care_what_uif_was() {
    let mut model = returning(2);
    model.state.uif = true;
    uiret(&mut model).unwrap();
    assert!(model.state.uif);
}

#[test]
fn s54_xrstors_needs_uinv_zero() {
    assert!(
        !State {
            uinv: 1,
            ..State::default()
        }
        .may_xrstors()
    );
    assert!(State::default().may_xrstors());
}

#[test]
fn s55_a_bad_image_leaves_uinv_zero_and_bit_63_is_uif() {
    let mut state = State {
        uinv: 0xf2,
        handler: 7,
        ..State::default()
    };
    assert_eq!(state.xrstors([0, 0, 1 << 40, 0, 0, 0]), Err(MsrFault));
    assert_eq!(state.uinv, 0);
    assert_eq!(state.xrstors([1, 0, 1 << 63 | 0xf2 << 32, 0, 3, 1]), Ok(()));
    assert!(state.uif && state.is_pending());
    assert_eq!((state.uinv, state.handler, state.tt), (0xf2, 1, 1));
}

#[test]
fn s28_s57_the_xsaves_image_has_uif_in_bit_63_and_saving_clears_only_uinv() {
    let mut state = State {
        uirr: 4,
        handler: 0x1000,
        stack_adjust: 128,
        uittsz: 255,
        uinv: 0xf2,
        pd: 0x4000,
        tt: 0x5001,
        uif: true,
    };
    let image = state.xsave_image();
    assert_eq!(
        image,
        [0x1000, 128, 255 | 0xf2 << 32 | 1 << 63, 0x4000, 4, 0x5001]
    );
    let before = state;
    state.after_xsaves();
    assert_eq!(state, State { uinv: 0, ..before });
    let mut restored = State::default();
    restored.xrstors(image).unwrap();
    assert_eq!(restored, before);
}

#[test]
fn the_steps_of_one_interrupt_come_in_the_order_of_the_enumeration() {
    let mut model = sender();
    senduipi(&mut model, 0).unwrap();
    model.state.pd = UPID;
    process_notification(&mut model).unwrap();
    model.state.uif = true;
    model.frame = Some(Frame {
        rip: 1,
        rsp: 0x9000,
        rflags: 2,
    });
    deliver(&mut model).unwrap();
    model.frame = Some(Frame {
        rsp: model.frame().rsp + 8,
        ..model.frame()
    });
    uiret(&mut model).unwrap();
    let expected: Vec<Step> = Step::ALL
        .into_iter()
        .filter(|&s| s != Step::Accept)
        .collect();
    assert_eq!(model.steps, expected);
}
