//! Far transfers: IRET, SYSCALL, SYSRET, far jumps, calls and returns. SDM Vol. 2, the pages of
//! the mnemonics. Not modelled: hardware task switches (they stop the machine).

use crate::memory::{Memory, Stop, StopReason};
use crate::routine::interrupt::{Event, Source, long_stack, protected_stack};
use crate::routine::segment::{mark_accessed, null_segment, read_descriptor};
use crate::state::Cpu;
use ring3_arch::cr::{dr, efer};
use ring3_arch::segment::{Segment, SegmentName, attribute, system_type};
use ring3_arch::{Exception, Fault, rflags};
use ring3_isa::{Op, Reg, Uop};

const CS: u8 = SegmentName::Cs as u8;
const SS: u8 = SegmentName::Ss as u8;

fn stack_mask(cpu: &Cpu) -> u64 {
    if cpu.is_long_code() {
        u64::MAX
    } else if cpu.segment(SegmentName::Ss).is_big() {
        0xffff_ffff
    } else {
        0xffff
    }
}

/// Reads element `n` (of `size` bytes) from the top of the stack.
fn peek<M: Memory>(cpu: &Cpu, m: &mut M, n: u64, size: u64) -> Result<u64, Stop> {
    peek_at(cpu, m, n * size, size)
}

fn peek_at<M: Memory>(cpu: &Cpu, m: &mut M, offset: u64, size: u64) -> Result<u64, Stop> {
    let pointer = cpu.reg(Reg::Rsp).wrapping_add(offset) & stack_mask(cpu);
    let address = if cpu.is_long_code() {
        pointer
    } else {
        super::segment::linear(cpu, m, SS, pointer, size, false)?
    };
    let loaded = match size {
        2 => m.load::<2>(address),
        4 => m.load::<4>(address),
        _ => m.load::<8>(address),
    };
    loaded.map_err(|stop| super::stack_fault(m, stop))
}

/// Stores `values` below the top of the stack, the first one highest, and gives the new stack
/// pointer.
fn push_all<M: Memory>(cpu: &Cpu, m: &mut M, size: u64, values: &[u64]) -> Result<u64, Stop> {
    let mask = stack_mask(cpu);
    let mut pointer = cpu.reg(Reg::Rsp) & mask;
    for &value in values {
        pointer = pointer.wrapping_sub(size) & mask;
        let address = if cpu.is_long_code() {
            pointer
        } else {
            super::segment::linear(cpu, m, SS, pointer, size, true)?
        };
        let stored = match size {
            2 => m.store::<2>(address, value),
            4 => m.store::<4>(address, value),
            _ => m.store::<8>(address, value),
        };
        stored.map_err(|stop| super::stack_fault(m, stop))?;
    }
    Ok((cpu.reg(Reg::Rsp) & !mask) | pointer)
}

fn set_stack_pointer(cpu: &mut Cpu, value: u64) {
    let mask = stack_mask(cpu);
    let old = cpu.reg(Reg::Rsp);
    cpu.set_reg(
        Reg::Rsp,
        if mask == 0xffff {
            (old & !mask) | (value & mask)
        } else {
            value & mask
        },
    );
}

/// A code segment descriptor for a far jump, call or return, read and checked for type.
fn code_descriptor<M: Memory>(
    cpu: &Cpu,
    m: &mut M,
    selector: u16,
) -> Result<(u64, u64, Segment), Stop> {
    let error = u32::from(selector & !3);
    if selector & !3 == 0 {
        return Err(m.fault(Fault::GP0));
    }
    let Some((address, descriptor)) = read_descriptor(cpu, m, selector)? else {
        return Err(m.fault(Fault::gp(error)));
    };
    Ok((
        address,
        descriptor,
        Segment::from_descriptor(selector, descriptor),
    ))
}

fn check_long_bits<M: Memory>(cpu: &Cpu, m: &mut M, segment: &Segment) -> Result<(), Stop> {
    if cpu.is_long_mode() && segment.is_long() && segment.is_big() {
        return Err(m.fault(Fault::gp(u32::from(segment.selector & !3))));
    }
    Ok(())
}

fn check_target<M: Memory>(cpu: &Cpu, m: &mut M, segment: &Segment, rip: u64) -> Result<(), Stop> {
    let valid = if cpu.is_long_mode() && segment.is_long() {
        cpu.is_canonical(rip)
    } else {
        rip <= segment.limit.into()
    };
    if valid {
        Ok(())
    } else {
        Err(m.fault(Fault::GP0))
    }
}

// --- IRET -------------------------------------------------------------------------------------

/// IRET with an operand size of `y` bytes.
pub(crate) fn iret<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let size = u64::from(u.y);
    if !cpu.is_protected() {
        return iret_real(cpu, m, size);
    }
    if cpu.is_virtual_8086() {
        if cpu.iopl() < 3 {
            return Err(m.fault(Fault::GP0));
        }
        return iret_real(cpu, m, size);
    }
    if cpu.has_flag(rflags::NT) {
        if cpu.is_long_mode() {
            return Err(m.fault(Fault::GP0));
        }
        return Err(m.stop(StopReason::Unimplemented));
    }
    let rip = peek(cpu, m, 0, size)?;
    let selector = peek(cpu, m, 1, size)? as u16;
    let flags = peek(cpu, m, 2, size)?;
    if flags & rflags::VM != 0 && size == 4 && cpu.cpl() == 0 && !cpu.is_long_mode() {
        return iret_to_v86(cpu, m, rip, selector, flags);
    }
    let (address, descriptor, mut code) = code_descriptor(cpu, m, selector)?;
    let error = u32::from(selector & !3);
    let rpl = (selector & 3) as u8;
    let matches = if code.is_conforming() {
        code.dpl() <= rpl
    } else {
        code.dpl() == rpl
    };
    if !code.is_code() || rpl < cpu.cpl() || !matches {
        return Err(m.fault(Fault::gp(error)));
    }
    check_long_bits(cpu, m, &code)?;
    if !code.present() {
        return Err(m.fault(Fault::new(Exception::SegmentNotPresent, error)));
    }
    let outward = rpl > cpu.cpl();
    let from_long = cpu.is_long_code();
    let mut stack = None;
    if outward || from_long {
        let rsp = peek(cpu, m, 3, size)?;
        let ss_selector = peek(cpu, m, 4, size)? as u16;
        let ss = return_stack(cpu, m, ss_selector, rpl, &code)?;
        stack = Some((ss, rsp));
    }
    check_target(cpu, m, &code, rip)?;
    mark_accessed(m, address, descriptor)?;
    code.attributes |= attribute::ACCESSED;

    // Nothing can fault any more.
    let flags = merge_flags(cpu, flags, size);
    let old_cpl = cpu.cpl();
    if stack.is_none() {
        let pointer = cpu.reg(Reg::Rsp).wrapping_add(3 * size);
        set_stack_pointer(cpu, pointer);
    }
    cpu.set_rflags(flags);
    cpu.set_segment(CS, code);
    cpu.set_rip(rip);
    if let Some((ss, rsp)) = stack {
        cpu.set_segment(SS, ss);
        let old = cpu.reg(Reg::Rsp);
        let big = cpu.is_long_code() || size == 8 || ss.is_big();
        cpu.set_reg(
            Reg::Rsp,
            if big {
                rsp
            } else {
                (old & !0xffff) | (rsp & 0xffff)
            },
        );
    }
    if cpu.cpl() > old_cpl {
        drop_privileged_segments(cpu);
    }
    cpu.nmi_blocked = false;
    cpu.monitor = None;
    m.configure(cpu);
    Ok(())
}

/// Which flags IRET may change. SDM Vol. 2, "IRET/IRETD/IRETQ".
fn merge_flags(cpu: &Cpu, popped: u64, size: u64) -> u64 {
    use rflags::*;
    let mut mask = STATUS | TF | DF | NT;
    if size > 2 {
        mask |= RF | AC | ID;
    }
    if cpu.cpl() <= cpu.iopl() {
        mask |= IF;
    }
    if cpu.cpl() == 0 {
        mask |= IOPL;
        if size > 2 {
            mask |= VIF | VIP;
        }
    }
    (cpu.rflags() & !mask) | (popped & mask)
}

/// The stack segment of an outward return.
fn return_stack<M: Memory>(
    cpu: &Cpu,
    m: &mut M,
    selector: u16,
    rpl: u8,
    code: &Segment,
) -> Result<Segment, Stop> {
    let error = u32::from(selector & !3);
    if selector & !3 == 0 {
        // 64-bit code below CPL 3 may have a null SS.
        if !(cpu.is_long_mode() && code.is_long() && rpl < 3 && (selector & 3) as u8 == rpl) {
            return Err(m.fault(Fault::GP0));
        }
        return Ok(Segment {
            selector,
            attributes: attribute::DB | u16::from(rpl) << attribute::DPL_SHIFT,
            ..Segment::default()
        });
    }
    let Some((address, descriptor)) = read_descriptor(cpu, m, selector)? else {
        return Err(m.fault(Fault::gp(error)));
    };
    let mut ss = Segment::from_descriptor(selector, descriptor);
    if (selector & 3) as u8 != rpl || !ss.is_writable() || ss.dpl() != rpl {
        return Err(m.fault(Fault::gp(error)));
    }
    if !ss.present() {
        return Err(m.fault(Fault::new(Exception::Stack, error)));
    }
    mark_accessed(m, address, descriptor)?;
    ss.attributes |= attribute::ACCESSED;
    Ok(ss)
}

/// After a return to less privilege, data segments that the new level may not use become null.
fn drop_privileged_segments(cpu: &mut Cpu) {
    for number in [0, 3, 4, 5] {
        let segment = cpu.system.segments[number as usize];
        let usable = segment.is_conforming() || segment.dpl() >= cpu.cpl();
        let is_null = segment.selector & !3 == 0;
        if !usable && !is_null {
            let mut null = null_segment(cpu, number, 0);
            null.base = 0;
            cpu.set_segment(number, null);
        }
    }
}

fn iret_real<M: Memory>(cpu: &mut Cpu, m: &mut M, size: u64) -> Result<(), Stop> {
    let rip = peek(cpu, m, 0, size)?;
    let selector = peek(cpu, m, 1, size)? as u16;
    let flags = peek(cpu, m, 2, size)?;
    if rip > 0xffff {
        return Err(m.fault(Fault::GP0));
    }
    let pointer = cpu.reg(Reg::Rsp).wrapping_add(3 * size);
    set_stack_pointer(cpu, pointer);
    use rflags::*;
    let mut mask = STATUS | TF | IF | DF | NT;
    if !cpu.is_virtual_8086() {
        mask |= IOPL;
    }
    if size > 2 {
        mask |= RF | AC | ID;
    }
    cpu.set_rflags((cpu.rflags() & !mask) | (flags & mask));
    let old = *cpu.segment(SegmentName::Cs);
    cpu.set_segment(
        CS,
        Segment {
            selector,
            base: u64::from(selector) << 4,
            ..old
        },
    );
    cpu.set_rip(rip);
    cpu.nmi_blocked = false;
    m.configure(cpu);
    Ok(())
}

fn iret_to_v86<M: Memory>(
    cpu: &mut Cpu,
    m: &mut M,
    rip: u64,
    selector: u16,
    flags: u64,
) -> Result<(), Stop> {
    let mut values = [0; 6];
    for (n, value) in values.iter_mut().enumerate() {
        *value = peek(cpu, m, 3 + n as u64, 4)?;
    }
    let [rsp, ss, es, ds, fs, gs] = values;
    cpu.set_rflags(flags);
    let segment = |selector: u64| Segment {
        selector: selector as u16,
        base: (selector & 0xffff) << 4,
        limit: 0xffff,
        attributes: 0xf3,
    };
    cpu.set_segment(CS, segment(selector.into()));
    for (number, selector) in [(SS, ss), (0, es), (3, ds), (4, fs), (5, gs)] {
        cpu.set_segment(number, segment(selector));
    }
    cpu.set_cpl(3);
    cpu.set_rip(rip & 0xffff);
    cpu.set_reg(Reg::Rsp, rsp);
    cpu.nmi_blocked = false;
    m.configure(cpu);
    Ok(())
}

// --- SYSCALL, SYSRET --------------------------------------------------------------------------

fn flat(selector: u16, attributes: u16) -> Segment {
    Segment {
        selector,
        base: 0,
        limit: u32::MAX,
        attributes,
    }
}

/// SYSCALL. SDM Vol. 2, "SYSCALL-Fast System Call".
pub(crate) fn syscall<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    if !cpu.is_long_code() || cpu.system.efer & efer::SCE == 0 {
        return Err(m.fault(Fault::UD));
    }
    let next = cpu.rip().wrapping_add(u.imm as u64);
    let flags = cpu.rflags();
    cpu.set_reg(Reg::Rcx, next);
    cpu.set_reg(Reg::R11, flags & !rflags::RF);
    cpu.set_rflags(flags & !(cpu.system.fmask | rflags::RF | rflags::VM));
    let selector = (cpu.system.star >> 32) as u16;
    cpu.set_segment(CS, flat(selector & !3, 0xa09b));
    cpu.set_cpl(0);
    cpu.set_segment(SS, flat(selector.wrapping_add(8) & !3, 0xc093));
    cpu.set_rip(cpu.system.lstar);
    step_by_new_flags(cpu);
    m.configure(cpu);
    Ok(())
}

/// SYSCALL and SYSRET trap if TF is set when they have completed, not when they begin: a kernel that
/// masks TF is not stepped, and its return to a stepped program traps before that goes on.
fn step_by_new_flags(cpu: &mut Cpu) {
    cpu.single_step_suppressed = true;
    if cpu.has_flag(rflags::TF) {
        cpu.pending_debug |= dr::DR6_BS;
    }
}

/// SYSRET with operand size `y`. SDM Vol. 2, "SYSRET-Return From Fast System Call".
pub(crate) fn sysret<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    if !cpu.is_long_code() || cpu.system.efer & efer::SCE == 0 {
        return Err(m.fault(Fault::UD));
    }
    super::require_cpl0(cpu, m)?;
    let target = cpu.reg(Reg::Rcx);
    let base = (cpu.system.star >> 48) as u16;
    let code = if u.y == 8 {
        if !cpu.is_canonical(target) {
            return Err(m.fault(Fault::GP0));
        }
        flat(base.wrapping_add(16) | 3, 0xa0fb)
    } else {
        flat(base | 3, 0xc0fb)
    };
    // R11 & 3C7FD7h, with bit 1 set: everything but RF, VM and the reserved bits.
    cpu.set_rflags(cpu.reg(Reg::R11) & 0x3c_7fd7);
    cpu.set_segment(CS, code);
    cpu.set_cpl(3);
    cpu.set_segment(SS, flat(base.wrapping_add(8) | 3, 0xc0f3));
    cpu.set_rip(if u.y == 8 {
        target
    } else {
        target & 0xffff_ffff
    });
    step_by_new_flags(cpu);
    m.configure(cpu);
    Ok(())
}

// --- far jumps, calls, returns ----------------------------------------------------------------

/// A far jump to selector `a`, offset `b`.
pub(crate) fn jump_far<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let selector = cpu.reg(u.a) as u16;
    let offset = cpu.reg(u.b);
    if !cpu.is_protected() || cpu.is_virtual_8086() {
        return far_real(cpu, m, selector, offset, None, u.y);
    }
    let (address, descriptor, segment) = code_descriptor(cpu, m, selector)?;
    if !segment.is_code_or_data() {
        let gate = call_gate(cpu, m, u, selector, address, descriptor, &segment)?;
        let (address, descriptor, code) = code_descriptor(cpu, m, gate.selector)?;
        let error = u32::from(gate.selector & !3);
        let allowed = if code.is_conforming() {
            code.dpl() <= cpu.cpl()
        } else {
            code.dpl() == cpu.cpl()
        };
        if !code.is_code() || !allowed {
            return Err(m.fault(Fault::gp(error)));
        }
        return enter_code(cpu, m, address, descriptor, code, gate.offset, cpu.cpl());
    }
    check_direct(cpu, m, selector, &segment)?;
    let cpl = cpu.cpl();
    enter_code(cpu, m, address, descriptor, segment, offset, cpl)
}

/// Privilege and type rules of a direct far jump or call.
fn check_direct<M: Memory>(
    cpu: &Cpu,
    m: &mut M,
    selector: u16,
    segment: &Segment,
) -> Result<(), Stop> {
    let error = u32::from(selector & !3);
    let rpl = (selector & 3) as u8;
    let allowed = if segment.is_conforming() {
        segment.dpl() <= cpu.cpl()
    } else {
        rpl <= cpu.cpl() && segment.dpl() == cpu.cpl()
    };
    if !segment.is_code() || !allowed {
        return Err(m.fault(Fault::gp(error)));
    }
    check_long_bits(cpu, m, segment)
}

fn enter_code<M: Memory>(
    cpu: &mut Cpu,
    m: &mut M,
    address: u64,
    descriptor: u64,
    mut segment: Segment,
    rip: u64,
    cpl: u8,
) -> Result<(), Stop> {
    if !segment.present() {
        let error = u32::from(segment.selector & !3);
        return Err(m.fault(Fault::new(Exception::SegmentNotPresent, error)));
    }
    check_target(cpu, m, &segment, rip)?;
    mark_accessed(m, address, descriptor)?;
    segment.selector = (segment.selector & !3) | u16::from(cpl);
    segment.attributes |= attribute::ACCESSED;
    cpu.set_segment(CS, segment);
    cpu.set_rip(rip);
    m.configure(cpu);
    Ok(())
}

struct CallGate {
    selector: u16,
    offset: u64,
    parameters: u64,
    size: u64,
}

fn call_gate<M: Memory>(
    cpu: &Cpu,
    m: &mut M,
    u: &Uop,
    selector: u16,
    address: u64,
    descriptor: u64,
    segment: &Segment,
) -> Result<CallGate, Stop> {
    let error = u32::from(selector & !3);
    let kind = segment.kind();
    let long = cpu.is_long_mode();
    if !long
        && matches!(
            kind,
            system_type::TASK_GATE | system_type::TSS_AVAILABLE | system_type::TSS16_AVAILABLE
        )
    {
        return Err(m.stop(StopReason::Unimplemented));
    }
    let known = kind == system_type::CALL_GATE || (!long && kind == system_type::CALL_GATE16);
    let rpl = (selector & 3) as u8;
    if !known || segment.dpl() < cpu.cpl() || segment.dpl() < rpl {
        return Err(m.fault(Fault::gp(error)));
    }
    if !segment.present() {
        return Err(m.fault(Fault::new(Exception::SegmentNotPresent, error)));
    }
    let mut offset = (descriptor & 0xffff) | (descriptor >> 32 & 0xffff_0000);
    let mut parameters = descriptor >> 32 & 0x1f;
    let size = if long {
        let high = m.load_system(address.wrapping_add(8), 8)?;
        if high >> 40 & 0x1f != 0 {
            return Err(m.fault(Fault::gp(error)));
        }
        offset |= high << 32;
        parameters = 0;
        8
    } else if kind == system_type::CALL_GATE16 {
        offset &= 0xffff;
        2
    } else {
        4
    };
    let _ = u;
    Ok(CallGate {
        selector: (descriptor >> 16) as u16,
        offset,
        parameters,
        size,
    })
}

fn far_real<M: Memory>(
    cpu: &mut Cpu,
    m: &mut M,
    selector: u16,
    offset: u64,
    new_rsp: Option<u64>,
    size: u8,
) -> Result<(), Stop> {
    let offset = if size == 2 { offset & 0xffff } else { offset };
    // Leaving protected mode keeps the hidden limit until CS is loaded, so compare with it.
    if offset > cpu.segment(SegmentName::Cs).limit.into() {
        return Err(m.fault(Fault::GP0));
    }
    if let Some(rsp) = new_rsp {
        set_stack_pointer(cpu, rsp);
    }
    let old = *cpu.segment(SegmentName::Cs);
    let attributes = if cpu.is_virtual_8086() {
        0xfb
    } else {
        old.attributes
    };
    let segment = Segment {
        selector,
        base: u64::from(selector) << 4,
        attributes,
        ..old
    };
    cpu.set_segment(CS, segment);
    cpu.set_rip(offset);
    m.configure(cpu);
    Ok(())
}

/// A far call to selector `a`, offset `b`.
pub(crate) fn call_far<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    debug_assert_eq!(u.op, Op::CallFar);
    let selector = cpu.reg(u.a) as u16;
    let offset = cpu.reg(u.b);
    let next = cpu.rip().wrapping_add(u.imm as u64);
    let old_cs = u64::from(cpu.segment(SegmentName::Cs).selector);
    if !cpu.is_protected() || cpu.is_virtual_8086() {
        let rsp = push_all(cpu, m, u.y.into(), &[old_cs, next])?;
        return far_real(cpu, m, selector, offset, Some(rsp), u.y);
    }
    let (address, descriptor, segment) = code_descriptor(cpu, m, selector)?;
    if segment.is_code_or_data() {
        check_direct(cpu, m, selector, &segment)?;
        if !segment.present() {
            let error = u32::from(selector & !3);
            return Err(m.fault(Fault::new(Exception::SegmentNotPresent, error)));
        }
        check_target(cpu, m, &segment, offset)?;
        let rsp = push_all(cpu, m, u.y.into(), &[old_cs, next])?;
        let cpl = cpu.cpl();
        set_stack_pointer(cpu, rsp);
        return enter_code(cpu, m, address, descriptor, segment, offset, cpl);
    }
    let gate = call_gate(cpu, m, u, selector, address, descriptor, &segment)?;
    let (address, descriptor, code) = code_descriptor(cpu, m, gate.selector)?;
    let error = u32::from(gate.selector & !3);
    if !code.is_code() || code.dpl() > cpu.cpl() {
        return Err(m.fault(Fault::gp(error)));
    }
    if cpu.is_long_mode() && (!code.is_long() || code.is_big()) {
        return Err(m.fault(Fault::gp(error)));
    }
    if !code.present() {
        return Err(m.fault(Fault::new(Exception::SegmentNotPresent, error)));
    }
    check_target(cpu, m, &code, gate.offset)?;
    if code.is_conforming() || code.dpl() == cpu.cpl() {
        let rsp = push_all(cpu, m, gate.size, &[old_cs, next])?;
        let cpl = cpu.cpl();
        set_stack_pointer(cpu, rsp);
        return enter_code(cpu, m, address, descriptor, code, gate.offset, cpl);
    }
    call_inward(cpu, m, &gate, address, descriptor, code, next)
}

/// A call through a gate to more privilege: a new stack from the TSS.
fn call_inward<M: Memory>(
    cpu: &mut Cpu,
    m: &mut M,
    gate: &CallGate,
    address: u64,
    descriptor: u64,
    code: Segment,
    next: u64,
) -> Result<(), Stop> {
    let cpl = code.dpl();
    let event = Event {
        vector: 0,
        source: Source::Software,
        return_rip: next,
        resume: false,
    };
    let (ss, top) = if cpu.is_long_mode() {
        let rsp = long_stack(cpu, m, 4 + 8 * u64::from(cpl), 0)?;
        let attributes = attribute::DB | u16::from(cpl) << attribute::DPL_SHIFT;
        (
            Segment {
                selector: cpl.into(),
                attributes,
                ..Segment::default()
            },
            rsp,
        )
    } else {
        protected_stack(cpu, m, cpl, &event)?
    };
    let mut values = vec![
        cpu.segment(SegmentName::Ss).selector.into(),
        cpu.reg(Reg::Rsp),
    ];
    for n in (0..gate.parameters).rev() {
        values.push(peek(cpu, m, n, gate.size)?);
    }
    values.push(cpu.segment(SegmentName::Cs).selector.into());
    values.push(next);
    let mask = if gate.size == 8 {
        u64::MAX
    } else if ss.is_big() {
        0xffff_ffff
    } else {
        0xffff
    };
    let mut pointer = top & mask;
    for value in values {
        pointer = pointer.wrapping_sub(gate.size) & mask;
        if gate.size != 8 && pointer + gate.size - 1 > u64::from(ss.limit) && !ss.is_expand_down() {
            return Err(m.fault(Fault::SS0));
        }
        let linear = ss.base.wrapping_add(pointer);
        let linear = if gate.size == 8 {
            linear
        } else {
            linear & 0xffff_ffff
        };
        m.store_system(linear, gate.size, value)
            .map_err(|stop| super::stack_fault(m, stop))?;
    }
    enter_code(cpu, m, address, descriptor, code, gate.offset, cpl)?;
    cpu.set_cpl(cpl);
    cpu.set_segment(SS, ss);
    cpu.set_reg(Reg::Rsp, pointer);
    m.configure(cpu);
    Ok(())
}

/// A far return that releases `a` bytes of parameters.
pub(crate) fn return_far<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let size = u64::from(u.y);
    let release = cpu.reg(u.a);
    let rip = peek(cpu, m, 0, size)?;
    let selector = peek(cpu, m, 1, size)? as u16;
    if !cpu.is_protected() || cpu.is_virtual_8086() {
        let pointer = cpu.reg(Reg::Rsp).wrapping_add(2 * size + release);
        return far_real(cpu, m, selector, rip, Some(pointer), u.y);
    }
    let (address, descriptor, mut code) = code_descriptor(cpu, m, selector)?;
    let error = u32::from(selector & !3);
    let rpl = (selector & 3) as u8;
    let matches = if code.is_conforming() {
        code.dpl() <= rpl
    } else {
        code.dpl() == rpl
    };
    if !code.is_code() || rpl < cpu.cpl() || !matches {
        return Err(m.fault(Fault::gp(error)));
    }
    check_long_bits(cpu, m, &code)?;
    if !code.present() {
        return Err(m.fault(Fault::new(Exception::SegmentNotPresent, error)));
    }
    if rpl == cpu.cpl() {
        check_target(cpu, m, &code, rip)?;
        let pointer = cpu.reg(Reg::Rsp).wrapping_add(2 * size + release);
        set_stack_pointer(cpu, pointer);
        return enter_code(cpu, m, address, descriptor, code, rip, rpl);
    }
    let rsp = peek_at(cpu, m, 2 * size + release, size)?;
    let ss_selector = peek_at(cpu, m, 3 * size + release, size)? as u16;
    let ss = return_stack(cpu, m, ss_selector, rpl, &code)?;
    check_target(cpu, m, &code, rip)?;
    mark_accessed(m, address, descriptor)?;
    code.attributes |= attribute::ACCESSED;
    cpu.set_segment(CS, code);
    cpu.set_rip(rip);
    cpu.set_segment(SS, ss);
    let rsp = rsp.wrapping_add(release);
    let old = cpu.reg(Reg::Rsp);
    let big = cpu.is_long_code() || ss.is_big();
    cpu.set_reg(
        Reg::Rsp,
        if big {
            rsp
        } else {
            (old & !0xffff) | (rsp & 0xffff)
        },
    );
    drop_privileged_segments(cpu);
    m.configure(cpu);
    Ok(())
}
