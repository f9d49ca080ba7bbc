//! The local APIC of one processor, in xAPIC and in x2APIC mode.
//!
//! Modelled: an integrated APIC of version 0x15 as Intel processors since the Pentium 4 have it,
//! with six local-vector-table entries (timer, thermal, performance, LINT0, LINT1, error), the
//! timer in one-shot, periodic and TSC-deadline mode, logical destinations in flat, cluster and
//! x2APIC form, and the transitions between disabled, xAPIC and x2APIC mode.
//!
//! Not modelled: CMCI, EOI-broadcast suppression, bus arbitration and focus processors, sending
//! that takes time (the delivery status always reads idle; a machine that wants the wires to take
//! time delays [`Effect::Ipi`]), a writable APIC ID, pin polarity (lines here are asserted or not,
//! however they are wired).
//!
//! Source: Intel SDM Vol. 3, chapter "Advanced Programmable Interrupt Controller (APIC)"; sections
//! are cited by title where they apply.
//!
//! A local APIC is no [`ring3_bus::Device`]: only its own processor reaches it, at an address that
//! the processor itself chooses. The machine asks it for [`LocalApic::signals`] at instruction
//! boundaries, calls [`LocalApic::advance`] when [`LocalApic::deadline`] has come, and carries
//! messages between APICs with [`route`].

pub mod route;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;
mod vectors;

use crate::saved;
use ring3_arch::{ApicId, GuestPhys, Vector, msr};
use ring3_bus::{Effect, Effects, LoadError, Signals};
use ring3_clock::{TSC_HZ, Ticks};
use route::{Delivery, Message};
use spec::{Lvt, Register, base, esr, icr, lvt, svr};
use state::{State, Timer};

/// The clock that the timer's divider divides, in Hz.
///
/// It is the "core crystal clock" of CPUID leaf 0x15, where a processor that enumerates it runs its
/// APIC timer on it ("APIC Timer"). 1 GHz makes one count one nanosecond at divide-by-1. The leaf
/// that goes with it: EAX = 1, EBX = [`TICKS_PER_TIMER_CLOCK`], ECX = this.
pub const TIMER_HZ: u64 = 1_000_000_000;

/// How many periods of the TSC one period of the timer's clock is.
pub const TICKS_PER_TIMER_CLOCK: u64 = TSC_HZ / TIMER_HZ;

const _: () = assert!(TSC_HZ.is_multiple_of(TIMER_HZ));

/// The version of the saved form; counts up when that changes.
const SAVED_VERSION: u8 = 1;

/// In which of its modes a local APIC is. "x2APIC Modes".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Globally disabled: the pins LINT0 and LINT1 are INTR and NMI.
    Disabled,
    /// Registers are memory-mapped, identifiers have 8 bits.
    Xapic,
    /// Registers are MSRs, identifiers have 32 bits.
    X2apic,
}

/// What a processor's CPUID says about its local APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// CPUID.01H:ECX.x2APIC.
    pub x2apic: bool,
    /// CPUID.01H:ECX.TSC_Deadline.
    pub tsc_deadline: bool,
    /// MAXPHYADDR, 36 to 52: how wide the base address is.
    pub physical_address_bits: u32,
}

impl Default for Features {
    fn default() -> Features {
        Features {
            x2apic: true,
            tsc_deadline: true,
            physical_address_bits: 46,
        }
    }
}

/// What happened at a local APIC since it was made; for reports, never for behaviour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Fixed interrupts accepted into IRR, including those that were there already.
    pub accepted: u64,
    /// Of these, those whose bit in IRR was set already, so that two became one.
    pub merged: u64,
    /// Interrupts handed to the processor.
    pub acknowledged: u64,
    /// Spurious vectors handed to the processor.
    pub spurious: u64,
    /// Ends of interrupt that found one in service.
    pub ends_of_interrupt: u64,
    /// Inter-processor interrupts sent.
    pub ipis_sent: u64,
    /// Timer expirations that raised an interrupt.
    pub timer_interrupts: u64,
}

/// The local APIC of one processor.
#[derive(Clone, Debug)]
pub struct LocalApic {
    // configuration
    apic_id: ApicId,
    is_bsp: bool,
    features: Features,
    // counters
    counters: Counters,
    // state
    state: State,
    /// The highest requested vector whose class exceeds that of the processor priority; follows
    /// from `state` and is asked for far more often than that changes.
    deliverable: Option<Vector>,
}

impl LocalApic {
    /// The local APIC with this identifier, as it is at power-on.
    pub fn new(apic_id: ApicId, is_bsp: bool) -> LocalApic {
        LocalApic::with_features(apic_id, is_bsp, Features::default())
    }

    /// The same for a processor whose CPUID says `features`.
    ///
    /// # Panics
    /// If `features.physical_address_bits` is outside 36..=52.
    pub fn with_features(apic_id: ApicId, is_bsp: bool, features: Features) -> LocalApic {
        assert!(
            (36..=52).contains(&features.physical_address_bits),
            "no x86-64 processor has {} physical-address bits",
            features.physical_address_bits
        );
        LocalApic {
            apic_id,
            is_bsp,
            features,
            counters: Counters::default(),
            state: State::at_power_on(is_bsp),
            deliverable: None,
        }
    }

    /// The identifier, in its 32-bit form.
    pub fn apic_id(&self) -> ApicId {
        self.apic_id
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    // ---- modes -----------------------------------------------------------------------------

    /// The mode it is in.
    pub fn mode(&self) -> Mode {
        match self.state.base & (base::ENABLE | base::X2APIC) {
            base::ENABLE => Mode::Xapic,
            0 => Mode::Disabled,
            _ => Mode::X2apic,
        }
    }

    /// Whether it is in x2APIC mode.
    pub fn is_x2apic(&self) -> bool {
        self.mode() == Mode::X2apic
    }

    /// Whether it is globally enabled, in either mode.
    pub fn is_enabled(&self) -> bool {
        self.mode() != Mode::Disabled
    }

    /// Whether the software enable bit of the spurious-interrupt vector register is set.
    pub fn is_software_enabled(&self) -> bool {
        self.is_enabled() && self.state.svr & svr::ENABLE != 0
    }

    /// Where [`spec::MMIO_SIZE`] bytes of registers stand in physical memory; `None` unless in
    /// xAPIC mode.
    pub fn base_address(&self) -> Option<GuestPhys> {
        (self.mode() == Mode::Xapic).then_some(GuestPhys(
            self.state.base >> base::ADDRESS_SHIFT << base::ADDRESS_SHIFT,
        ))
    }

    /// IA32_APIC_BASE.
    pub fn base_msr(&self) -> u64 {
        self.state.base
    }

    /// Writes IA32_APIC_BASE; `None` is #GP(0). "x2APIC State Transitions".
    pub fn write_base_msr(&mut self, now: Ticks, value: u64, effects: &mut Effects) -> Option<()> {
        let mut writable = (1 << self.features.physical_address_bits) - (1 << base::ADDRESS_SHIFT)
            + (base::BSP | base::ENABLE);
        if self.features.x2apic {
            writable |= base::X2APIC;
        }
        if value & !writable != 0 {
            return None;
        }
        let enable = value & base::ENABLE != 0;
        let extended = value & base::X2APIC != 0;
        match (self.mode(), enable, extended) {
            // There is no such state.
            (_, false, true) => return None,
            // x2APIC mode can only be left for the disabled state, and that one for xAPIC mode.
            (Mode::X2apic, true, false) | (Mode::Disabled, true, true) => return None,
            _ => {}
        }
        let deadline = self.deadline();
        self.catch_up(now);
        let before = self.mode();
        self.state.base = value;
        match (before, self.mode()) {
            // LDR and the high half of ICR are not preserved, all else is ("State Changes From
            // xAPIC Mode to x2APIC Mode"). The LDR of x2APIC mode follows from the identifier.
            (Mode::Xapic, Mode::X2apic) => {
                self.state.logical_id = 0;
                self.state.icr &= u64::from(u32::MAX);
            }
            // The APIC may return to its state at reset ("Enabling or Disabling the Local APIC").
            // Here it does.
            (Mode::Xapic | Mode::X2apic, Mode::Disabled) => {
                self.state = self.state.with_registers_at_reset();
            }
            _ => {}
        }
        self.refresh();
        self.announce(deadline, effects);
        Some(())
    }

    // ---- reset -----------------------------------------------------------------------------

    /// Back to the state at power-on.
    pub fn reset(&mut self) {
        let Self {
            apic_id: _,
            is_bsp,
            features: _,
            counters: _,
            state,
            deliverable,
        } = self;
        *state = State::at_power_on(*is_bsp);
        *deliverable = None;
    }

    /// What INIT does: every register but the identifier and IA32_APIC_BASE returns to its state at
    /// reset, a latched NMI is forgotten. A start-up IPI that arrived after the INIT stays latched,
    /// and the pins keep their levels. "Local APIC State After an INIT Reset".
    pub fn init_reset(&mut self, effects: &mut Effects) {
        let deadline = self.deadline();
        self.state = self.state.with_registers_at_reset();
        self.state.nmi = false;
        self.refresh();
        self.announce(deadline, effects);
    }

    /// What firmware leaves behind on the bootstrap processor of a PC: the APIC is enabled by
    /// software, the 8259's INTR comes through LINT0 as ExtINT, NMI through LINT1. MultiProcessor
    /// Specification 1.4, "Virtual Wire Mode".
    ///
    /// Does nothing while the APIC is globally disabled.
    pub fn enter_virtual_wire_mode(&mut self) {
        if self.is_enabled() {
            self.state.svr |= svr::ENABLE;
            self.state.lvt[Lvt::Lint0.index()] = lvt::EXTINT;
            self.state.lvt[Lvt::Lint1.index()] = lvt::NMI;
            self.refresh();
        }
    }

    // ---- register access -------------------------------------------------------------------

    /// Answers a read of the page at [`LocalApic::base_address`].
    ///
    /// A register is 32 bits wide at a multiple of 16; any part of one can be read, and the bytes
    /// between registers read as zero.
    pub fn read_mmio(&mut self, now: Ticks, offset: u64, size: u8, effects: &mut Effects) -> u64 {
        let deadline = self.deadline();
        self.catch_up(now);
        let value = match Register::from_index(offset >> 4) {
            Some(register) if offset < spec::MMIO_SIZE && register.in_xapic() => {
                // Whoever reads eight bytes gets the gap behind the register too.
                let shift = 8 * (offset & 15) as u32;
                u64::from(
                    self.read_register(now, register)
                        .checked_shr(shift)
                        .unwrap_or(0),
                )
            }
            _ => {
                self.raise_error(esr::ILLEGAL_REGISTER);
                0
            }
        };
        self.announce(deadline, effects);
        match size {
            0..8 => value & ((1 << (8 * size)) - 1),
            _ => value,
        }
    }

    /// Takes a write to the page at [`LocalApic::base_address`].
    ///
    /// Only an aligned write of four bytes is defined; another is dropped with a warning.
    pub fn write_mmio(
        &mut self,
        now: Ticks,
        offset: u64,
        size: u8,
        value: u64,
        effects: &mut Effects,
    ) {
        if size != 4 || offset & 15 != 0 {
            effects.push(Effect::Warning(format!(
                "local APIC {}: a write of {size} bytes at offset {offset:#x} was dropped; \
                 registers are written as aligned 32-bit words",
                self.apic_id.0
            )));
            return;
        }
        let deadline = self.deadline();
        self.catch_up(now);
        match Register::from_index(offset >> 4) {
            Some(register) if offset < spec::MMIO_SIZE && register.in_xapic() => {
                self.write_register(now, register, value as u32, effects);
            }
            _ => self.raise_error(esr::ILLEGAL_REGISTER),
        }
        self.announce(deadline, effects);
    }

    /// RDMSR of IA32_APIC_BASE, IA32_TSC_DEADLINE or 0x800..=0x8FF; `None` is #GP(0).
    pub fn read_msr(&mut self, now: Ticks, number: u32, effects: &mut Effects) -> Option<u64> {
        match number {
            msr::IA32_APIC_BASE => Some(self.state.base),
            msr::IA32_TSC_DEADLINE if self.features.tsc_deadline => {
                let deadline = self.deadline();
                self.catch_up(now);
                self.announce(deadline, effects);
                // Zero in other timer modes, and once the deadline has passed.
                Some(match self.state.timer {
                    Timer::Deadline { tsc, .. } => tsc,
                    _ => 0,
                })
            }
            msr::X2APIC_FIRST..=msr::X2APIC_LAST if self.is_x2apic() => {
                let register = Register::from_index(u64::from(number - msr::X2APIC_FIRST))?;
                let readable = register.in_x2apic()
                    && !matches!(register, Register::EndOfInterrupt | Register::SelfIpi);
                if !readable {
                    return None;
                }
                let deadline = self.deadline();
                self.catch_up(now);
                self.announce(deadline, effects);
                Some(match register {
                    Register::Command => self.state.icr,
                    _ => u64::from(self.read_register(now, register)),
                })
            }
            _ => None,
        }
    }

    /// WRMSR of the same; `None` is #GP(0), and nothing has changed then.
    pub fn write_msr(
        &mut self,
        now: Ticks,
        number: u32,
        value: u64,
        effects: &mut Effects,
    ) -> Option<()> {
        match number {
            msr::IA32_APIC_BASE => self.write_base_msr(now, value, effects),
            msr::IA32_TSC_DEADLINE if self.features.tsc_deadline => {
                let deadline = self.deadline();
                self.catch_up(now);
                self.write_tsc_deadline(now, value);
                self.announce(deadline, effects);
                Some(())
            }
            msr::X2APIC_FIRST..=msr::X2APIC_LAST if self.is_x2apic() => {
                let register = Register::from_index(u64::from(number - msr::X2APIC_FIRST))?;
                if value & !self.x2apic_writable(register)? != 0 {
                    return None;
                }
                let deadline = self.deadline();
                self.catch_up(now);
                if register == Register::Command {
                    self.state.icr = value & !u64::from(icr::SEND_PENDING);
                    self.send((value >> 32) as u32, true, effects);
                } else {
                    self.write_register(now, register, value as u32, effects);
                }
                self.announce(deadline, effects);
                Some(())
            }
            _ => None,
        }
    }

    /// Which bits of `register` a WRMSR may set without #GP; `None` where any WRMSR is a #GP.
    /// "x2APIC Register Address Space", "Reserved Bit Checking".
    fn x2apic_writable(&self, register: Register) -> Option<u64> {
        Some(match register {
            Register::TaskPriority => 0xff,
            // Only zero can be written.
            Register::EndOfInterrupt | Register::ErrorStatus => 0,
            Register::SpuriousVector => u64::from(svr::WRITABLE),
            // Bit 12 was the delivery status. It is undefined in this mode, and processors ignore
            // what is written to it.
            Register::Command => !0 << 32 | u64::from(icr::WRITABLE | icr::SEND_PENDING),
            Register::Local(entry) => {
                let mut bits = entry.writable() | entry.read_only();
                if entry == Lvt::Timer && !self.features.tsc_deadline {
                    bits &= !lvt::TSC_DEADLINE;
                }
                u64::from(bits)
            }
            Register::InitialCount => 0xffff_ffff,
            Register::DivideConfiguration => u64::from(spec::DIVIDE_WRITABLE),
            Register::SelfIpi => 0xff,
            _ => return None,
        })
    }

    /// The value of a register that the current mode has.
    fn read_register(&self, now: Ticks, register: Register) -> u32 {
        let state = &self.state;
        match register {
            Register::Id if self.is_x2apic() => self.apic_id.0,
            Register::Id => u32::from(self.xapic_id()) << 24,
            Register::Version => spec::VERSION,
            Register::TaskPriority => u32::from(state.tpr),
            Register::ProcessorPriority => u32::from(self.processor_priority()),
            Register::LogicalDestination if self.is_x2apic() => self.x2apic_logical_id(),
            Register::LogicalDestination => u32::from(state.logical_id) << 24,
            Register::DestinationFormat => u32::from(state.destination_model) << 28 | 0x0fff_ffff,
            Register::SpuriousVector => state.svr,
            Register::InService(part) => state.isr.register(part),
            Register::TriggerMode(part) => state.tmr.register(part),
            Register::Request(part) => state.irr.register(part),
            Register::ErrorStatus => state.errors_shown,
            Register::Command => state.icr as u32,
            Register::CommandHigh => (state.icr >> 32) as u32,
            Register::Local(entry) => state.lvt[entry.index()],
            Register::InitialCount => state.initial_count,
            Register::CurrentCount => self.current_count(now),
            Register::DivideConfiguration => state.divide,
            // The first two are not there since the Pentium 4, the last two are write-only.
            Register::ArbitrationPriority
            | Register::RemoteRead
            | Register::EndOfInterrupt
            | Register::SelfIpi => 0,
        }
    }

    /// Takes over what software may write of `value`. The timer has been caught up with `now`.
    fn write_register(
        &mut self,
        now: Ticks,
        register: Register,
        value: u32,
        effects: &mut Effects,
    ) {
        match register {
            Register::TaskPriority => {
                self.state.tpr = value as u8;
                self.refresh();
            }
            Register::EndOfInterrupt => self.finish_interrupt(effects),
            Register::LogicalDestination => self.state.logical_id = (value >> 24) as u8,
            Register::DestinationFormat => self.state.destination_model = (value >> 28) as u8,
            Register::SpuriousVector => {
                self.state.svr = value & svr::WRITABLE;
                // Every LVT entry is masked and stays so ("Local APIC State After It Has Been
                // Software Disabled").
                if value & svr::ENABLE == 0 {
                    for entry in &mut self.state.lvt {
                        *entry |= lvt::MASKED;
                    }
                }
                self.refresh();
            }
            Register::ErrorStatus => {
                self.state.errors_shown = self.state.errors_pending;
                self.state.errors_pending = 0;
                self.state.error_armed = true;
            }
            Register::Command => {
                let high = self.state.icr >> 32 << 32;
                self.state.icr = high | u64::from(value & icr::WRITABLE);
                self.send((high >> 56) as u32, false, effects);
            }
            Register::CommandHigh => {
                let low = self.state.icr & u64::from(u32::MAX);
                self.state.icr = low | u64::from(value & icr::XAPIC_DESTINATION) << 32;
            }
            Register::Local(entry) => self.write_lvt(entry, value),
            Register::InitialCount => self.write_initial_count(now, value),
            Register::DivideConfiguration => self.write_divide(now, value),
            Register::SelfIpi => {
                let command = value & icr::VECTOR | 1 << icr::SHORTHAND_SHIFT;
                self.send_command(command, 0, true, effects);
            }
            // Whether the identifier can be written depends on the model; here it cannot. The
            // rest is read-only.
            Register::Id
            | Register::Version
            | Register::ArbitrationPriority
            | Register::ProcessorPriority
            | Register::RemoteRead
            | Register::InService(_)
            | Register::TriggerMode(_)
            | Register::Request(_)
            | Register::CurrentCount => {}
        }
    }

    fn write_lvt(&mut self, entry: Lvt, value: u32) {
        let old = self.state.lvt[entry.index()];
        let mut new = value & entry.writable() | old & entry.read_only();
        if self.state.svr & svr::ENABLE == 0 {
            new |= lvt::MASKED;
        }
        if entry == Lvt::Timer {
            if !self.features.tsc_deadline {
                new &= !lvt::TSC_DEADLINE;
            }
            // A change of the mode disarms the timer ("APIC Timer").
            if (old ^ new) & lvt::TIMER_MODE != 0 {
                self.state.timer = Timer::Idle;
            }
        }
        if new & lvt::LEVEL == 0 {
            new &= !lvt::REMOTE_IRR;
        }
        self.state.lvt[entry.index()] = new;
        // A level that stands already is seen as soon as it is no longer masked; an edge is not.
        match entry {
            Lvt::Lint0 => self.sense_pin(Lvt::Lint0, false),
            Lvt::Lint1 => self.sense_pin(Lvt::Lint1, false),
            _ => {}
        }
    }

    // ---- priorities ------------------------------------------------------------------------

    /// MOV from CR8: the class of the task priority, 0..=15.
    pub fn cr8(&self) -> u64 {
        u64::from(self.state.tpr >> 4)
    }

    /// MOV to CR8: sets the class of the task priority, clears its sub-class. Bits above 3 are
    /// ignored.
    pub fn set_cr8(&mut self, class: u64) {
        self.state.tpr = ((class & 15) as u8) << 4;
        self.refresh();
    }

    /// PPR. "Task and Processor Priorities".
    pub fn processor_priority(&self) -> u8 {
        let in_service = self.state.isr.highest().unwrap_or(0) & 0xf0;
        if self.state.tpr & 0xf0 >= in_service {
            self.state.tpr
        } else {
            in_service
        }
    }

    /// Recomputes what follows from IRR, ISR, TPR and the enables; called after each change of one.
    fn refresh(&mut self) {
        self.deliverable = match self.state.irr.highest() {
            // The class must exceed that of the processor priority; an equal one waits.
            Some(vector)
                if self.is_software_enabled() && vector >> 4 > self.processor_priority() >> 4 =>
            {
                Some(Vector(vector))
            }
            _ => None,
        };
    }

    // ---- accepting -------------------------------------------------------------------------

    /// Takes a fixed interrupt into IRR. "Interrupt Acceptance for Fixed Interrupts".
    ///
    /// Returns whether it was taken: not while disabled by software or globally, and not if the
    /// vector is below 16, which is an error that the APIC reports itself.
    pub fn accept(&mut self, vector: Vector, level_triggered: bool) -> bool {
        if !self.is_software_enabled() {
            return false;
        }
        if vector.0 < spec::FIRST_LEGAL_VECTOR {
            self.raise_error(esr::RECEIVE_ILLEGAL_VECTOR);
            return false;
        }
        self.counters.accepted += 1;
        self.counters.merged += u64::from(self.state.irr.contains(vector.0));
        self.state.irr.insert(vector.0);
        if level_triggered {
            self.state.tmr.insert(vector.0);
        } else {
            self.state.tmr.remove(vector.0);
        }
        self.refresh();
        true
    }

    /// Latches an NMI. A second one while the first is latched is lost.
    pub fn latch_nmi(&mut self) {
        self.state.nmi = true;
    }

    /// Latches INIT; a start-up IPI that was latched before it is lost.
    pub fn latch_init(&mut self) {
        self.state.init = true;
        self.state.sipi = None;
    }

    /// Latches a start-up IPI for the page `vector`. Whether it means anything is for the processor
    /// to decide: only one that waits for it reacts.
    pub fn latch_sipi(&mut self, vector: u8) {
        self.state.sipi = Some(vector);
    }

    /// Latches a request of delivery mode ExtINT that came as a message.
    pub fn latch_extint(&mut self) {
        self.state.extint = true;
    }

    /// Takes the latched NMI off the pins; returns whether there was one.
    pub fn take_nmi(&mut self) -> bool {
        std::mem::take(&mut self.state.nmi)
    }

    /// Takes the latched INIT off the pins; returns whether there was one.
    pub fn take_init(&mut self) -> bool {
        std::mem::take(&mut self.state.init)
    }

    /// Takes the latched start-up IPI off the pins.
    pub fn take_sipi(&mut self) -> Option<u8> {
        self.state.sipi.take()
    }

    /// The LINT0 pin, to which the INTR output of the 8259 pair is wired, now stands at this level.
    pub fn set_lint0(&mut self, asserted: bool) {
        self.set_pin(Lvt::Lint0, 0, asserted);
    }

    /// Whether the LINT0 pin can interrupt a processor that accepts no maskable interrupts.
    pub fn lint0_is_unmaskable(&self) -> bool {
        let register = self.state.lvt[Lvt::Lint0.index()];
        let delivery = Delivery::from_bits(register >> 8);
        self.is_enabled()
            && register & lvt::MASKED == 0
            && matches!(delivery, Some(Delivery::Nmi | Delivery::Init))
    }

    /// The LINT1 pin, the NMI line of a PC, now stands at this level.
    pub fn set_lint1(&mut self, asserted: bool) {
        self.set_pin(Lvt::Lint1, 1, asserted);
    }

    fn set_pin(&mut self, entry: Lvt, pin: usize, asserted: bool) {
        let rising = asserted && !self.state.pins[pin];
        self.state.pins[pin] = asserted;
        self.sense_pin(entry, rising);
    }

    /// Does what the entry of a pin says about its level and its rising edge. "Local Vector Table".
    fn sense_pin(&mut self, entry: Lvt, rising: bool) {
        let level = self.state.pins[usize::from(entry == Lvt::Lint1)];
        if !self.is_enabled() {
            // LINT1 is the processor's NMI pin then, and LINT0 its INTR, see `extint_pending`.
            if entry == Lvt::Lint1 && rising {
                self.latch_nmi();
            }
            return;
        }
        let register = self.state.lvt[entry.index()];
        if register & lvt::MASKED != 0 {
            return;
        }
        let vector = Vector((register & lvt::VECTOR) as u8);
        let level_triggered = register & lvt::LEVEL != 0;
        let requested = if level_triggered {
            level && register & lvt::REMOTE_IRR == 0
        } else {
            rising
        };
        match Delivery::from_bits(register >> 8) {
            Some(Delivery::Fixed) if requested => {
                let accepted = self.accept(vector, level_triggered);
                if accepted && level_triggered {
                    self.state.lvt[entry.index()] |= lvt::REMOTE_IRR;
                }
            }
            // NMI and INIT are edges whatever the trigger mode says.
            Some(Delivery::Nmi) if rising => self.latch_nmi(),
            Some(Delivery::Init) if rising => self.latch_init(),
            // ExtINT is a level that `extint_pending` looks at; SMI does not exist here; the other
            // modes are reserved for pins.
            _ => {}
        }
    }

    /// A performance counter overflowed. The entry's mask is set by that, as it is on processors
    /// since the Pentium 4 ("Local Vector Table", performance-monitoring counters).
    pub fn raise_performance(&mut self) {
        if self.raise_local(Lvt::Performance) {
            self.state.lvt[Lvt::Performance.index()] |= lvt::MASKED;
        }
    }

    /// The thermal sensor tripped.
    pub fn raise_thermal(&mut self) {
        self.raise_local(Lvt::Thermal);
    }

    /// Raises the interrupt of an entry that has a delivery mode but no pin; returns whether it was
    /// not masked.
    fn raise_local(&mut self, entry: Lvt) -> bool {
        let register = self.state.lvt[entry.index()];
        if register & lvt::MASKED != 0 || !self.is_enabled() {
            return false;
        }
        match Delivery::from_bits(register >> 8) {
            Some(Delivery::Fixed) => {
                self.accept(Vector((register & lvt::VECTOR) as u8), false);
            }
            Some(Delivery::Nmi) => self.latch_nmi(),
            Some(Delivery::Init) => self.latch_init(),
            _ => {}
        }
        true
    }

    // ---- what the processor asks -----------------------------------------------------------

    /// The vector that [`LocalApic::acknowledge`] would hand out now, if any: requested, of a higher
    /// class than the processor priority, and enabled by software.
    #[inline]
    pub fn pending(&self) -> Option<Vector> {
        self.deliverable
    }

    /// Whether the processor should ask the 8259 pair for a vector: INTR comes through LINT0 as
    /// ExtINT and is not masked, or the APIC is globally disabled and LINT0 is INTR, or a message
    /// of mode ExtINT came.
    ///
    /// The task priority does not hold it back. Where this is true it goes before
    /// [`LocalApic::pending`]; the machine then takes the vector from the 8259 and calls
    /// [`LocalApic::acknowledge_extint`].
    #[inline]
    pub fn extint_pending(&self) -> bool {
        if self.state.extint {
            return true;
        }
        if !self.state.pins[0] {
            return false;
        }
        let register = self.state.lvt[Lvt::Lint0.index()];
        !self.is_enabled() || register & (lvt::MASKED | lvt::DELIVERY_MODE) == lvt::EXTINT
    }

    /// The processor took a vector from the 8259 pair.
    pub fn acknowledge_extint(&mut self) {
        self.state.extint = false;
    }

    /// What waits at the processor's pins.
    #[inline]
    pub fn signals(&self) -> Signals {
        Signals {
            interrupt: self.deliverable.is_some() || self.extint_pending(),
            nmi: self.state.nmi,
            init: self.state.init,
            sipi: self.state.sipi,
        }
    }

    /// The interrupt-acknowledge cycle: moves the highest request from IRR to ISR and returns it;
    /// where there is none (any more), the spurious vector, which does not enter ISR. "Spurious
    /// Interrupt".
    pub fn acknowledge(&mut self) -> Vector {
        match self.deliverable {
            Some(vector) => {
                self.counters.acknowledged += 1;
                self.state.irr.remove(vector.0);
                self.state.isr.insert(vector.0);
                self.refresh();
                vector
            }
            None => {
                self.counters.spurious += 1;
                Vector((self.state.svr & 0xff) as u8)
            }
        }
    }

    /// Writes zero to the EOI register, in whichever mode it is. Does nothing while globally
    /// disabled.
    pub fn end_of_interrupt(&mut self, effects: &mut Effects) {
        if self.is_enabled() {
            self.finish_interrupt(effects);
        }
    }

    /// "Signaling Interrupt Servicing Completion".
    fn finish_interrupt(&mut self, effects: &mut Effects) {
        let Some(vector) = self.state.isr.highest() else {
            return;
        };
        self.counters.ends_of_interrupt += 1;
        self.state.isr.remove(vector);
        self.refresh();
        if !self.state.tmr.contains(vector) {
            return;
        }
        for entry in [Lvt::Lint0, Lvt::Lint1] {
            let register = &mut self.state.lvt[entry.index()];
            if *register & lvt::REMOTE_IRR != 0 && *register & lvt::VECTOR == u32::from(vector) {
                *register &= !lvt::REMOTE_IRR;
                self.sense_pin(entry, false);
            }
        }
        effects.push(Effect::EoiBroadcast {
            vector: Vector(vector),
        });
    }

    // ---- sending ---------------------------------------------------------------------------

    /// Sends the IPI of SENDUIPI: writes the ICR with `vector` and every other field zero (fixed,
    /// physical, edge), to the identifier in `ndst` read in the current mode (x2APIC: 32 bits,
    /// xAPIC: bits 15:8). SDM Vol. 2, "SENDUIPI". Nothing is sent while globally disabled.
    pub fn send_user_ipi(&mut self, vector: Vector, ndst: u32, effects: &mut Effects) {
        let (high, destination, x2apic) = match self.mode() {
            Mode::Disabled => return,
            Mode::Xapic => ((ndst >> 8 & 0xff) << 24, ndst >> 8 & 0xff, false),
            Mode::X2apic => (ndst, ndst, true),
        };
        self.state.icr = u64::from(high) << 32 | u64::from(vector.0);
        self.send(destination, x2apic, effects);
    }

    /// Sends what stands in the ICR.
    fn send(&mut self, destination: u32, x2apic: bool, effects: &mut Effects) {
        self.send_command(self.state.icr as u32, destination, x2apic, effects);
    }

    fn send_command(
        &mut self,
        command: u32,
        destination: u32,
        x2apic: bool,
        effects: &mut Effects,
    ) {
        match Message::from_ipi(self.apic_id, command, destination, x2apic) {
            Ok(message) if message.has_illegal_vector() => {
                self.raise_error(esr::SEND_ILLEGAL_VECTOR);
            }
            Ok(_) => {
                self.counters.ipis_sent += 1;
                effects.push(Effect::Ipi {
                    source: self.apic_id,
                    command,
                    destination,
                    x2apic,
                });
            }
            // Every kernel does this once for each processor that it starts.
            Err(route::Unroutable::Deassertion) => {}
            Err(why) => effects.push(Effect::Warning(format!(
                "local APIC {}: the interrupt command {command:#010x} was not sent: {why}",
                self.apic_id.0
            ))),
        }
    }

    // ---- destinations ----------------------------------------------------------------------

    /// The identifier that answers in xAPIC mode: the low 8 bits.
    fn xapic_id(&self) -> u8 {
        self.apic_id.0 as u8
    }

    /// LDR in x2APIC mode. "Logical Destination Mode in x2APIC Mode".
    fn x2apic_logical_id(&self) -> u32 {
        (self.apic_id.0 >> 4) << 16 | 1 << (self.apic_id.0 & 15)
    }

    /// Whether this APIC is among those that a destination names. "Determining IPI Destination",
    /// "Physical Destination Mode", "Logical Destination Mode", "x2APIC: Destination modes".
    ///
    /// `logical` selects the logical destination mode. `x2apic_form` says that `destination` has 32
    /// bits; else it has 8, as in a message-signalled interrupt and in xAPIC mode. An APIC in x2APIC
    /// mode reads an 8-bit destination as a 32-bit one of the same value, save that all ones still
    /// means everyone; thereby 8 bits reach the identifiers below 255, and of the logical ones the
    /// first eight members of cluster 0.
    pub fn matches(&self, destination: u32, logical: bool, x2apic_form: bool) -> bool {
        let everyone = if x2apic_form { u32::MAX } else { 0xff };
        match (self.mode(), logical) {
            (Mode::Disabled, _) => false,
            _ if destination == everyone => true,
            (Mode::X2apic, false) => destination == self.apic_id.0,
            (Mode::Xapic, false) => destination == u32::from(self.xapic_id()),
            (Mode::X2apic, true) => {
                let own = self.x2apic_logical_id();
                destination >> 16 == own >> 16 && destination & own & 0xffff != 0
            }
            (Mode::Xapic, true) => {
                let own = u32::from(self.state.logical_id);
                match self.state.destination_model {
                    0b1111 => destination <= 0xff && destination & own != 0,
                    0b0000 => destination >> 4 == own >> 4 && destination & own & 15 != 0,
                    // Other models are reserved.
                    _ => false,
                }
            }
        }
    }

    // ---- errors ----------------------------------------------------------------------------

    /// Records an error; the first one since the ESR was written raises the error interrupt.
    /// "Error Handling".
    fn raise_error(&mut self, error: u32) {
        self.state.errors_pending |= error;
        if !std::mem::take(&mut self.state.error_armed) {
            return;
        }
        let register = self.state.lvt[Lvt::Error.index()];
        if register & lvt::MASKED == 0 {
            // Should this vector be illegal too, then that is an error that is no longer armed.
            self.accept(Vector((register & lvt::VECTOR) as u8), false);
        }
    }

    // ---- timer -----------------------------------------------------------------------------

    /// The TSC of this processor is now `now + offset` (modulo 2^64), as after a write to IA32_TSC
    /// or IA32_TSC_ADJUST. TSC-deadline mode compares with the TSC.
    pub fn set_tsc_offset(&mut self, now: Ticks, offset: u64, effects: &mut Effects) {
        let deadline = self.deadline();
        self.catch_up(now);
        self.state.tsc_offset = offset;
        if let Timer::Deadline { tsc, .. } = self.state.timer {
            self.arm_deadline(now, tsc);
        }
        self.announce(deadline, effects);
    }

    /// When [`LocalApic::advance`] wants to be called, if ever. A timer whose interrupt is masked
    /// needs no call: what became of it is worked out when somebody looks.
    pub fn deadline(&self) -> Option<Ticks> {
        if self.state.lvt[Lvt::Timer.index()] & lvt::MASKED != 0 {
            return None;
        }
        match self.state.timer {
            Timer::Idle => None,
            Timer::Counting { since, from } => {
                let span = u64::from(from).saturating_mul(self.count_ticks());
                Some(since.saturating_add(Ticks(span)))
            }
            Timer::Deadline { at, .. } => Some(at),
        }
    }

    /// Time has come to `now`.
    pub fn advance(&mut self, now: Ticks) {
        self.catch_up(now);
    }

    /// Says so if the deadline is no longer `before`.
    fn announce(&self, before: Option<Ticks>, effects: &mut Effects) {
        if self.deadline() != before {
            effects.push(Effect::DeadlineChanged);
        }
    }

    /// How many ticks one count of the timer is, from the divide configuration register.
    fn count_ticks(&self) -> u64 {
        let bits = (self.state.divide >> 1 & 0b100) | self.state.divide & 0b11;
        // 000 is divide by 2, 001 by 4, ... 110 by 128, 111 by 1.
        TICKS_PER_TIMER_CLOCK << ((bits + 1) & 0b111)
    }

    fn timer_mode(&self) -> u32 {
        self.state.lvt[Lvt::Timer.index()] & lvt::TIMER_MODE
    }

    /// The current-count register; the timer has been caught up with `now`.
    fn current_count(&self, now: Ticks) -> u32 {
        match self.state.timer {
            Timer::Counting { since, from } => {
                let counted = now.saturating_sub(since).0 / self.count_ticks();
                u32::try_from(counted).map_or(0, |counted| from.saturating_sub(counted))
            }
            // In TSC-deadline mode it reads zero.
            _ => 0,
        }
    }

    fn write_initial_count(&mut self, now: Ticks, count: u32) {
        // In TSC-deadline mode there is no initial count.
        if self.timer_mode() == lvt::TSC_DEADLINE {
            return;
        }
        self.state.initial_count = count;
        // Zero stops the timer.
        self.state.timer = match count {
            0 => Timer::Idle,
            from => Timer::Counting { since: now, from },
        };
    }

    /// The divider applies from now on to what is left of the count.
    fn write_divide(&mut self, now: Ticks, value: u32) {
        if let Timer::Counting { .. } = self.state.timer {
            let from = self.current_count(now);
            self.state.timer = Timer::Counting { since: now, from };
        }
        self.state.divide = value & spec::DIVIDE_WRITABLE;
    }

    /// "TSC-Deadline Mode".
    fn write_tsc_deadline(&mut self, now: Ticks, tsc: u64) {
        // In other timer modes the MSR takes nothing.
        if self.timer_mode() != lvt::TSC_DEADLINE {
            return;
        }
        if tsc == 0 {
            self.state.timer = Timer::Idle;
        } else {
            self.arm_deadline(now, tsc);
        }
    }

    /// Arms the timer for the time when the TSC is `tsc`; where it is already, the timer expires.
    fn arm_deadline(&mut self, now: Ticks, tsc: u64) {
        let current = now.0.wrapping_add(self.state.tsc_offset);
        let at = now.saturating_add(Ticks(tsc.saturating_sub(current)));
        self.state.timer = Timer::Deadline { tsc, at };
        self.catch_up(now);
    }

    /// Lets expire what has expired by `now`. Several periods that passed unseen raise one
    /// interrupt, as they would in IRR.
    fn catch_up(&mut self, now: Ticks) {
        match self.state.timer {
            Timer::Idle => return,
            Timer::Deadline { at, .. } => {
                if now < at {
                    return;
                }
                // It disarms itself and clears the MSR.
                self.state.timer = Timer::Idle;
            }
            Timer::Counting { since, from } => {
                let count_ticks = self.count_ticks();
                let first = u64::from(from) * count_ticks;
                let passed = now.saturating_sub(since).0;
                if passed < first {
                    return;
                }
                let reload = self.state.initial_count;
                self.state.timer = if self.timer_mode() == lvt::PERIODIC && reload > 0 {
                    let period = u64::from(reload) * count_ticks;
                    let into = (passed - first) % period;
                    Timer::Counting {
                        since: Ticks(now.0 - into),
                        from: reload,
                    }
                } else {
                    Timer::Idle
                };
            }
        }
        let register = self.state.lvt[Lvt::Timer.index()];
        if register & lvt::MASKED == 0 {
            self.counters.timer_interrupts += 1;
            self.accept(Vector((register & lvt::VECTOR) as u8), false);
        }
    }

    // ---- snapshots -------------------------------------------------------------------------

    /// The state that behaviour depends on, for snapshots and digests.
    pub fn save(&self) -> Vec<u8> {
        saved::save(SAVED_VERSION, &self.state)
    }

    /// Takes over what [`LocalApic::save`] gave.
    ///
    /// # Errors
    /// If the bytes are not a state of this APIC; it is unchanged then.
    pub fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        let device = format!("local APIC {}", self.apic_id.0);
        let state: State = saved::load(&device, SAVED_VERSION, bytes)?;
        if state.base & base::X2APIC != 0 && !self.features.x2apic {
            return Err(LoadError(format!(
                "saved state of {device}: it is in x2APIC mode, which this processor lacks"
            )));
        }
        self.state = state;
        self.refresh();
        Ok(())
    }
}
