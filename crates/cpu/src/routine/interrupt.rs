//! Delivery of interrupts and exceptions through the IDT. SDM Vol. 3, "Interrupt and Exception
//! Handling"; Vol. 2, "INT n/INTO/INT3/INT1".
//!
//! Modelled: real mode, protected mode with 16-bit and 32-bit gates, virtual-8086 mode as source,
//! 64-bit mode with IST. Not modelled: task gates.

use crate::memory::{Memory, Stop, StopReason};
use crate::routine::segment::{mark_accessed, read_descriptor};
use crate::state::Cpu;
use ring3_arch::exception::selector_error;
use ring3_arch::segment::{Segment, SegmentName, attribute, system_type};
use ring3_arch::{Exception, Fault, rflags};
use ring3_isa::{Reg, Uop};

/// What is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// An external interrupt or NMI.
    External,
    /// A fault, trap or abort, with its error code if it has one.
    Exception(Option<u32>),
    /// INT n, INT3, INTO: the gate's DPL counts.
    Software,
    /// INT1: a software interrupt whose gate's DPL does not count.
    PrivilegedSoftware,
}

/// An event on its way through the IDT.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub vector: u8,
    pub source: Source,
    /// RIP that the handler returns to.
    pub return_rip: u64,
    /// RF in the saved RFLAGS (faults restart the instruction).
    pub resume: bool,
}

impl Event {
    fn external(&self) -> u32 {
        match self.source {
            Source::Software | Source::PrivilegedSoftware => 0,
            Source::External | Source::Exception(_) => selector_error::EXT,
        }
    }

    fn idt_error(&self, exception: Exception) -> Fault {
        let code = u32::from(self.vector) << 3 | selector_error::IDT | self.external();
        Fault::new(exception, code)
    }

    fn selector_error(&self, exception: Exception, selector: u16) -> Fault {
        Fault::new(exception, u32::from(selector & !3) | self.external())
    }
}

/// INT n, INT3, INTO, INT1: RIP after the instruction is saved.
pub(crate) fn software<M: Memory>(
    cpu: &mut Cpu,
    m: &mut M,
    u: &Uop,
    vector: u8,
) -> Result<(), Stop> {
    if cpu.is_virtual_8086() && cpu.iopl() < 3 && u.op == ring3_isa::Op::Int {
        return Err(m.fault(Fault::GP0));
    }
    let source = if u.op == ring3_isa::Op::Int1 {
        Source::PrivilegedSoftware
    } else {
        Source::Software
    };
    let return_rip = cpu.rip().wrapping_add(u.imm as u64);
    // INT n and its kin clear TF, and are not stepped. SDM Vol. 3, "Single-Step Exception Condition".
    cpu.single_step_suppressed = true;
    deliver(
        cpu,
        m,
        &Event {
            vector,
            source,
            return_rip,
            resume: false,
        },
    )
}

/// Delivers an event through the IDT.
///
/// # Errors
/// The fault that stopped the delivery; nothing has changed then (but the accessed bit of a
/// descriptor, perhaps).
pub(crate) fn deliver<M: Memory>(cpu: &mut Cpu, m: &mut M, event: &Event) -> Result<(), Stop> {
    if !cpu.is_protected() {
        return deliver_real(cpu, m, event);
    }
    if cpu.is_long_mode() {
        deliver_long(cpu, m, event)
    } else {
        deliver_protected(cpu, m, event)
    }
}

fn saved_flags(cpu: &Cpu, event: &Event) -> u64 {
    cpu.rflags() | if event.resume { rflags::RF } else { 0 }
}

struct Gate {
    selector: u16,
    offset: u64,
    ist: u8,
    /// An interrupt gate clears IF.
    masks: bool,
    /// Operand size in bytes of what is pushed.
    size: u64,
}

fn read_gate<M: Memory>(cpu: &Cpu, m: &mut M, event: &Event) -> Result<Gate, Stop> {
    let long = cpu.is_long_mode();
    let entry_size = if long { 16 } else { 8 };
    let offset = u64::from(event.vector) * entry_size;
    if offset + entry_size - 1 > cpu.system.idtr.limit.into() {
        return Err(m.fault(event.idt_error(Exception::GeneralProtection)));
    }
    let address = cpu.system.idtr.base.wrapping_add(offset);
    let low = m.load_system(address, 8)?;
    let high = if long {
        m.load_system(address.wrapping_add(8), 8)?
    } else {
        0
    };
    let attributes = (low >> 40) as u16;
    let kind = attributes & 0x1f;
    let known = match kind {
        system_type::INTERRUPT_GATE | system_type::TRAP_GATE => true,
        system_type::INTERRUPT_GATE16 | system_type::TRAP_GATE16 => !long,
        _ => false,
    };
    if kind == system_type::TASK_GATE && !long {
        return Err(m.stop(StopReason::Unimplemented));
    }
    if !known {
        return Err(m.fault(event.idt_error(Exception::GeneralProtection)));
    }
    let dpl = (attributes >> 5 & 3) as u8;
    if event.source == Source::Software && dpl < cpu.cpl() {
        return Err(m.fault(event.idt_error(Exception::GeneralProtection)));
    }
    if attributes & attribute::P == 0 {
        return Err(m.fault(event.idt_error(Exception::SegmentNotPresent)));
    }
    let wide = kind & 8 != 0;
    let mut target = (low & 0xffff) | (low >> 32 & 0xffff_0000);
    if long {
        target |= high << 32;
    } else if !wide {
        target &= 0xffff;
    }
    Ok(Gate {
        selector: (low >> 16) as u16,
        offset: target,
        ist: (low >> 32 & 7) as u8,
        masks: matches!(
            kind,
            system_type::INTERRUPT_GATE | system_type::INTERRUPT_GATE16
        ),
        size: if long {
            8
        } else if wide {
            4
        } else {
            2
        },
    })
}

/// The handler's code segment, checked, and the privilege level it will run at.
fn code_segment<M: Memory>(
    cpu: &Cpu,
    m: &mut M,
    event: &Event,
    selector: u16,
) -> Result<(Segment, u8), Stop> {
    if selector & !3 == 0 {
        return Err(m.fault(Fault::gp(event.external())));
    }
    let general = event.selector_error(Exception::GeneralProtection, selector);
    let Some((address, descriptor)) = read_descriptor(cpu, m, selector)? else {
        return Err(m.fault(general));
    };
    let mut segment = Segment::from_descriptor(selector, descriptor);
    if !segment.is_code() || segment.dpl() > cpu.cpl() {
        return Err(m.fault(general));
    }
    if cpu.is_long_mode() && (!segment.is_long() || segment.is_big()) {
        return Err(m.fault(general));
    }
    if !segment.present() {
        let fault = event.selector_error(Exception::SegmentNotPresent, selector);
        return Err(m.fault(fault));
    }
    mark_accessed(m, address, descriptor)?;
    let cpl = if segment.is_conforming() {
        cpu.cpl()
    } else {
        segment.dpl()
    };
    segment.selector = (selector & !3) | u16::from(cpl);
    segment.attributes |= attribute::ACCESSED;
    Ok((segment, cpl))
}

/// Reads a stack pointer from the 64-bit TSS.
pub(crate) fn long_stack<M: Memory>(
    cpu: &Cpu,
    m: &mut M,
    offset: u64,
    ext: u32,
) -> Result<u64, Stop> {
    let tr = cpu.system.tr;
    if offset + 7 > tr.limit.into() {
        let error = u32::from(tr.selector & !3) | ext;
        return Err(m.fault(Fault::new(Exception::InvalidTss, error)));
    }
    let rsp = m.load_system(tr.base.wrapping_add(offset), 8)?;
    if !cpu.is_canonical(rsp) {
        return Err(m.fault(Fault::new(Exception::Stack, ext)));
    }
    Ok(rsp)
}

fn push_frame<M: Memory>(m: &mut M, rsp: u64, values: &[u64], user: bool) -> Result<(), Stop> {
    // values[0] is pushed first, so it stands highest.
    for (n, &value) in values.iter().enumerate() {
        let address = rsp.wrapping_sub(8 * (n as u64 + 1));
        let pushed = if user {
            m.store::<8>(address, value)
        } else {
            m.store_system(address, 8, value)
        };
        pushed.map_err(|stop| super::stack_fault(m, stop))?;
    }
    Ok(())
}

fn deliver_long<M: Memory>(cpu: &mut Cpu, m: &mut M, event: &Event) -> Result<(), Stop> {
    let gate = read_gate(cpu, m, event)?;
    let (code, cpl) = code_segment(cpu, m, event, gate.selector)?;
    let old_rsp = cpu.reg(Reg::Rsp);
    let top = if gate.ist != 0 {
        long_stack(
            cpu,
            m,
            0x24 + 8 * (u64::from(gate.ist) - 1),
            event.external(),
        )?
    } else if cpl < cpu.cpl() {
        long_stack(cpu, m, 4 + 8 * u64::from(cpl), event.external())?
    } else {
        old_rsp
    };
    if !cpu.is_canonical(gate.offset) {
        return Err(m.fault(Fault::gp(event.external())));
    }
    let top = top & !15;
    let mut frame = [
        cpu.segment(SegmentName::Ss).selector.into(),
        old_rsp,
        saved_flags(cpu, event),
        cpu.segment(SegmentName::Cs).selector.into(),
        event.return_rip,
        0,
    ];
    let mut length = 5;
    if let Source::Exception(Some(error)) = event.source {
        frame[5] = error.into();
        length = 6;
    }
    push_frame(m, top, &frame[..length], cpl == 3)?;

    let changed = cpl != cpu.cpl();
    enter(cpu, m, &gate, code, cpl);
    if changed {
        let null = Segment {
            selector: cpl.into(),
            attributes: attribute::DB | u16::from(cpl) << attribute::DPL_SHIFT,
            ..Segment::default()
        };
        cpu.set_segment(SegmentName::Ss as u8, null);
        // SS.B is part of the code's mode.
        m.configure(cpu);
    }
    cpu.set_reg(Reg::Rsp, top.wrapping_sub(8 * length as u64));
    Ok(())
}

/// The part common to all modes: flags, CS, RIP, privilege.
fn enter<M: Memory>(cpu: &mut Cpu, m: &mut M, gate: &Gate, code: Segment, cpl: u8) {
    let mut flags = cpu.rflags() & !(rflags::TF | rflags::NT | rflags::RF | rflags::VM);
    if gate.masks {
        flags &= !rflags::IF;
    }
    cpu.set_rflags(flags);
    cpu.set_segment(SegmentName::Cs as u8, code);
    cpu.set_cpl(cpl);
    cpu.set_rip(gate.offset);
    m.configure(cpu);
}

fn deliver_protected<M: Memory>(cpu: &mut Cpu, m: &mut M, event: &Event) -> Result<(), Stop> {
    let gate = read_gate(cpu, m, event)?;
    let (code, cpl) = code_segment(cpu, m, event, gate.selector)?;
    let from_v86 = cpu.has_flag(rflags::VM);
    if from_v86 && cpl != 0 {
        let fault = event.selector_error(Exception::GeneralProtection, gate.selector);
        return Err(m.fault(fault));
    }
    if gate.offset > code.limit.into() {
        return Err(m.fault(Fault::gp(event.external())));
    }
    let mut frame = Vec::with_capacity(10);
    let new_stack = if cpl < cpu.cpl() {
        let (ss, esp) = protected_stack(cpu, m, cpl, event)?;
        if from_v86 {
            for name in [5, 4, 3, 0] {
                frame.push(cpu.system.segments[name].selector.into());
            }
        }
        frame.push(cpu.segment(SegmentName::Ss).selector.into());
        frame.push(cpu.reg(Reg::Rsp));
        Some((ss, esp))
    } else {
        None
    };
    frame.push(saved_flags(cpu, event));
    frame.push(cpu.segment(SegmentName::Cs).selector.into());
    frame.push(event.return_rip);
    if let Source::Exception(Some(error)) = event.source {
        frame.push(error.into());
    }
    let ss = new_stack.map_or(*cpu.segment(SegmentName::Ss), |(ss, _)| ss);
    let mask = if ss.is_big() { 0xffff_ffff } else { 0xffff };
    let old = cpu.reg(Reg::Rsp);
    let mut esp = new_stack.map_or(old, |(_, esp)| esp) & mask;
    for value in frame {
        esp = esp.wrapping_sub(gate.size) & mask;
        push_legacy(m, &ss, esp, gate.size, value, event)?;
    }
    let new_rsp = (old & !mask & 0xffff_ffff) | esp;
    enter(cpu, m, &gate, code, cpl);
    if from_v86 {
        for number in [0, 3, 4, 5] {
            cpu.set_segment(number, Segment::default());
        }
    }
    if new_stack.is_some() {
        cpu.set_segment(SegmentName::Ss as u8, ss);
    }
    cpu.set_reg(Reg::Rsp, new_rsp);
    m.configure(cpu);
    Ok(())
}

fn push_legacy<M: Memory>(
    m: &mut M,
    ss: &Segment,
    esp: u64,
    size: u64,
    value: u64,
    event: &Event,
) -> Result<(), Stop> {
    let last = esp + size - 1;
    let inside = if ss.is_expand_down() {
        esp > ss.limit.into()
    } else {
        last <= ss.limit.into()
    };
    if !inside {
        return Err(m.fault(Fault::new(Exception::Stack, event.external())));
    }
    m.store_system(ss.base.wrapping_add(esp) & 0xffff_ffff, size, value)
}

/// The stack for privilege level `cpl` from the 32-bit or 16-bit TSS.
pub(crate) fn protected_stack<M: Memory>(
    cpu: &Cpu,
    m: &mut M,
    cpl: u8,
    event: &Event,
) -> Result<(Segment, u64), Stop> {
    let tr = cpu.system.tr;
    let invalid = |selector: u16| event.selector_error(Exception::InvalidTss, selector);
    let wide = tr.kind() & 8 != 0;
    let (offset, bytes) = if wide {
        (4 + 8 * u64::from(cpl), 8)
    } else {
        (2 + 4 * u64::from(cpl), 4)
    };
    if offset + bytes - 1 > tr.limit.into() {
        return Err(m.fault(invalid(tr.selector)));
    }
    let address = tr.base.wrapping_add(offset);
    let (esp, selector) = if wide {
        (
            m.load_system(address, 4)?,
            m.load_system(address + 4, 2)? as u16,
        )
    } else {
        (
            m.load_system(address, 2)?,
            m.load_system(address + 2, 2)? as u16,
        )
    };
    if selector & !3 == 0 {
        return Err(m.fault(invalid(0)));
    }
    let Some((at, descriptor)) = read_descriptor(cpu, m, selector)? else {
        return Err(m.fault(invalid(selector)));
    };
    let ss = Segment::from_descriptor(selector, descriptor);
    if (selector & 3) as u8 != cpl || ss.dpl() != cpl || !ss.is_writable() {
        return Err(m.fault(invalid(selector)));
    }
    if !ss.present() {
        return Err(m.fault(event.selector_error(Exception::Stack, selector)));
    }
    mark_accessed(m, at, descriptor)?;
    Ok((ss, esp))
}

fn deliver_real<M: Memory>(cpu: &mut Cpu, m: &mut M, event: &Event) -> Result<(), Stop> {
    let offset = u64::from(event.vector) * 4;
    if offset + 3 > cpu.system.idtr.limit.into() {
        return Err(m.fault(event.idt_error(Exception::GeneralProtection)));
    }
    let entry = m.load_system(cpu.system.idtr.base.wrapping_add(offset), 4)?;
    let ss = *cpu.segment(SegmentName::Ss);
    let mut sp = cpu.reg(Reg::Rsp) & 0xffff;
    let frame = [
        saved_flags(cpu, event),
        cpu.segment(SegmentName::Cs).selector.into(),
        event.return_rip,
    ];
    for value in frame {
        sp = sp.wrapping_sub(2) & 0xffff;
        push_legacy(m, &ss, sp, 2, value, event)?;
    }
    let old = cpu.reg(Reg::Rsp);
    cpu.set_reg(Reg::Rsp, (old & !0xffff) | sp);
    cpu.set_rflags(cpu.rflags() & !(rflags::IF | rflags::TF | rflags::AC | rflags::RF));
    let selector = (entry >> 16) as u16;
    let base = u64::from(selector) << 4;
    let old_cs = *cpu.segment(SegmentName::Cs);
    cpu.set_segment(
        SegmentName::Cs as u8,
        Segment {
            selector,
            base,
            ..old_cs
        },
    );
    cpu.set_rip(entry & 0xffff);
    m.configure(cpu);
    Ok(())
}
