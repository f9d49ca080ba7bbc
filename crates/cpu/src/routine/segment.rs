//! Segments: checks outside 64-bit mode, loading of segment and system-table registers, and the
//! instructions that examine descriptors. SDM Vol. 3, "Protection"; Vol. 2, the mnemonics' pages.

use crate::memory::{Memory, Stop};
use crate::state::{Cpu, TableRegister};
use ring3_arch::cr::{cr0, cr4};
use ring3_arch::segment::{Segment, attribute, system_type};
use ring3_arch::{Exception, Fault};
use ring3_isa::{Op, Uop};

/// The segment micro-op: `dst` = linear address of offset `a`.
pub(crate) fn check_access<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let length = (u.imm & 0x7fff_ffff) as u64;
    let write = u.imm & 1 << 31 != 0;
    let value = linear(cpu, m, u.y, cpu.reg(u.a), length, write)?;
    cpu.set_reg(u.dst, value);
    Ok(())
}

/// Checks an access of `length` bytes at `offset` of segment `number` outside 64-bit mode and gives
/// its linear address. SDM Vol. 3, "Limit Checking" and "Type Checking".
pub(crate) fn linear<M: Memory>(
    cpu: &Cpu,
    m: &mut M,
    number: u8,
    offset: u64,
    length: u64,
    write: bool,
) -> Result<u64, Stop> {
    let segment = &cpu.system.segments[number as usize % 6];
    let address = segment.base.wrapping_add(offset) & 0xffff_ffff;
    if is_flat(segment) {
        return Ok(address);
    }
    let fault = if number == 2 { Fault::SS0 } else { Fault::GP0 };
    if cpu.is_protected() && !cpu.is_virtual_8086() {
        // A null selector leaves the register unusable.
        let allowed = segment.present()
            && if write {
                segment.is_writable()
            } else {
                segment.is_readable()
            };
        if !allowed {
            return Err(m.fault(if number == 2 { Fault::SS0 } else { Fault::GP0 }));
        }
    }
    let last = offset.wrapping_add(length - 1);
    let limit = u64::from(segment.limit);
    let inside = if segment.is_expand_down() {
        let top = if segment.is_big() {
            0xffff_ffff
        } else {
            0xffff
        };
        offset > limit && last <= top && last >= offset
    } else {
        last <= limit && last >= offset
    };
    if inside {
        Ok(address)
    } else {
        Err(m.fault(fault))
    }
}

fn is_flat(segment: &Segment) -> bool {
    segment.limit == u32::MAX
        && segment.present()
        && segment.is_writable()
        && !segment.is_expand_down()
}

/// Reads the descriptor that `selector` names. `Ok(None)` if it lies outside its table.
///
/// # Errors
/// Faults of the access.
pub(crate) fn read_descriptor<M: Memory>(
    cpu: &Cpu,
    m: &mut M,
    selector: u16,
) -> Result<Option<(u64, u64)>, Stop> {
    let (base, limit) = if selector & 4 != 0 {
        let ldtr = &cpu.system.ldtr;
        if !ldtr.present() || ldtr.selector & !3 == 0 {
            return Ok(None);
        }
        (ldtr.base, ldtr.limit)
    } else {
        (cpu.system.gdtr.base, cpu.system.gdtr.limit.into())
    };
    let offset = u32::from(selector & !7);
    if offset + 7 > limit {
        return Ok(None);
    }
    let address = base.wrapping_add(offset.into());
    let descriptor = m.load_system(address, 8)?;
    Ok(Some((address, descriptor)))
}

/// Sets the accessed bit of a code or data descriptor in memory, if it is clear.
pub(crate) fn mark_accessed<M: Memory>(
    m: &mut M,
    address: u64,
    descriptor: u64,
) -> Result<(), Stop> {
    let accessed = u64::from(attribute::ACCESSED) << 40;
    if descriptor & accessed == 0 {
        m.store_system(address, 8, descriptor | accessed)?;
    }
    Ok(())
}

fn real_mode_segment(cpu: &Cpu, number: u8, selector: u16) -> Segment {
    let old = cpu.system.segments[number as usize];
    let mut segment = Segment {
        selector,
        base: u64::from(selector) << 4,
        ..old
    };
    if cpu.is_virtual_8086() {
        segment.limit = 0xffff;
        segment.attributes = 0xf3;
    }
    segment
}

/// Computes what loading segment register `number` (not CS) with `selector` gives. SDM Vol. 2,
/// "MOV-Move" (loading a segment register).
///
/// # Errors
/// #GP, #SS or #NP with the selector as error code.
pub(crate) fn load<M: Memory>(
    cpu: &Cpu,
    m: &mut M,
    number: u8,
    selector: u16,
) -> Result<Segment, Stop> {
    if !cpu.is_protected() || cpu.is_virtual_8086() {
        return Ok(real_mode_segment(cpu, number, selector));
    }
    let cpl = cpu.cpl();
    let rpl = (selector & 3) as u8;
    let error = u32::from(selector & !3);
    if selector & !3 == 0 {
        if number == 2 && !(cpu.is_long_code() && cpl < 3 && rpl == cpl) {
            return Err(m.fault(Fault::GP0));
        }
        return Ok(null_segment(cpu, number, selector));
    }
    let Some((address, descriptor)) = read_descriptor(cpu, m, selector)? else {
        return Err(m.fault(Fault::gp(error)));
    };
    let segment = Segment::from_descriptor(selector, descriptor);
    if number == 2 {
        if rpl != cpl || !segment.is_writable() || segment.dpl() != cpl {
            return Err(m.fault(Fault::gp(error)));
        }
        if !segment.present() {
            return Err(m.fault(Fault::new(Exception::Stack, error)));
        }
    } else {
        let privileged = segment.is_conforming() || (rpl <= segment.dpl() && cpl <= segment.dpl());
        if !segment.is_readable() || !privileged {
            return Err(m.fault(Fault::gp(error)));
        }
        if !segment.present() {
            return Err(m.fault(Fault::new(Exception::SegmentNotPresent, error)));
        }
    }
    mark_accessed(m, address, descriptor)?;
    Ok(Segment {
        attributes: segment.attributes | attribute::ACCESSED,
        ..segment
    })
}

/// A data segment register after loading a null selector: unusable outside 64-bit mode; Intel
/// processors clear the base.
pub(crate) fn null_segment(cpu: &Cpu, number: u8, selector: u16) -> Segment {
    // SS keeps a DPL that matches CPL.
    let dpl = if number == 2 {
        u16::from(cpu.cpl()) << attribute::DPL_SHIFT
    } else {
        0
    };
    Segment {
        selector,
        base: 0,
        limit: 0,
        attributes: dpl | if number == 2 { attribute::DB } else { 0 },
    }
}

/// LGDT, LIDT, SGDT, SIDT. `y` bytes of base (3: 24 bits).
pub(crate) fn table_register<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let address = cpu.reg(u.a);
    match u.op {
        Op::Lgdt | Op::Lidt => {
            super::require_cpl0(cpu, m)?;
            let limit = m.load::<2>(address)? as u16;
            let base = match u.y {
                8 => m.load::<8>(address.wrapping_add(2))?,
                4 => m.load::<4>(address.wrapping_add(2))?,
                _ => m.load::<4>(address.wrapping_add(2))? & 0xff_ffff,
            };
            if !cpu.is_canonical(base) {
                return Err(m.fault(Fault::GP0));
            }
            let register = TableRegister { base, limit };
            if u.op == Op::Lgdt {
                cpu.system.gdtr = register;
            } else {
                cpu.system.idtr = register;
            }
        }
        _ => {
            super::check_umip(cpu, m)?;
            let register = if u.op == Op::Sgdt {
                cpu.system.gdtr
            } else {
                cpu.system.idtr
            };
            let bytes = if u.y == 8 { 8 } else { 4 };
            m.check_write(address, 2 + bytes)?;
            m.store::<2>(address, register.limit.into())?;
            if bytes == 8 {
                m.store::<8>(address.wrapping_add(2), register.base)?;
            } else {
                m.store::<4>(address.wrapping_add(2), register.base)?;
            }
        }
    }
    Ok(())
}

/// Reads a system descriptor (LDT, TSS), which has sixteen bytes in long mode.
fn system_descriptor<M: Memory>(
    cpu: &Cpu,
    m: &mut M,
    selector: u16,
) -> Result<(u64, u64, Segment), Stop> {
    let error = Fault::gp(u32::from(selector & !3));
    if selector & 4 != 0 {
        return Err(m.fault(error));
    }
    let Some((address, descriptor)) = read_descriptor(cpu, m, selector)? else {
        return Err(m.fault(error));
    };
    let mut segment = Segment::from_descriptor(selector, descriptor);
    if cpu.is_long_mode() {
        if u32::from(selector & !7) + 15 > u32::from(cpu.system.gdtr.limit) {
            return Err(m.fault(error));
        }
        segment.base |= m.load_system(address + 8, 4)? << 32;
        if !cpu.is_canonical(segment.base) {
            return Err(m.fault(error));
        }
    }
    Ok((address, descriptor, segment))
}

/// LTR and LLDT.
pub(crate) fn system_register<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    if !cpu.is_protected() || cpu.is_virtual_8086() {
        return Err(m.fault(Fault::UD));
    }
    super::require_cpl0(cpu, m)?;
    let selector = cpu.reg(u.a) as u16;
    if selector & !3 == 0 {
        if u.op == Op::Ltr {
            return Err(m.fault(Fault::GP0));
        }
        cpu.system.ldtr = Segment {
            selector,
            ..Segment::default()
        };
        return Ok(());
    }
    let (address, descriptor, segment) = system_descriptor(cpu, m, selector)?;
    let error = u32::from(selector & !3);
    let kinds: &[u16] = if u.op == Op::Lldt {
        &[system_type::LDT]
    } else if cpu.is_long_mode() {
        &[system_type::TSS_AVAILABLE]
    } else {
        &[system_type::TSS_AVAILABLE, system_type::TSS16_AVAILABLE]
    };
    if segment.is_code_or_data() || !kinds.contains(&segment.kind()) {
        return Err(m.fault(Fault::gp(error)));
    }
    if !segment.present() {
        return Err(m.fault(Fault::new(Exception::SegmentNotPresent, error)));
    }
    if u.op == Op::Lldt {
        cpu.system.ldtr = segment;
    } else {
        const BUSY: u64 = 2 << 40;
        m.store_system(address, 8, descriptor | BUSY)?;
        cpu.system.tr = Segment {
            attributes: segment.attributes | 2,
            ..segment
        };
    }
    Ok(())
}

/// LAR, LSL, VERR, VERW: ZF says whether the descriptor is visible; LAR and LSL then give its
/// rights or limit.
pub(crate) fn examine<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    if !cpu.is_protected() || cpu.is_virtual_8086() {
        return Err(m.fault(Fault::UD));
    }
    let selector = cpu.reg(u.a) as u16;
    let found = if selector & !3 == 0 {
        None
    } else {
        read_descriptor(cpu, m, selector)?
    };
    let seen = found.and_then(|(_, descriptor)| {
        let segment = Segment::from_descriptor(selector, descriptor);
        let rpl = (selector & 3) as u8;
        let privileged =
            segment.is_conforming() || (cpu.cpl() <= segment.dpl() && rpl <= segment.dpl());
        let valid = match u.op {
            Op::Verr => segment.is_readable(),
            Op::Verw => segment.is_writable(),
            _ if segment.is_code_or_data() => true,
            _ => system_visible(cpu, u.op, segment.kind()),
        };
        (privileged && valid).then_some((descriptor, segment))
    });
    cpu.flags.set_zero(seen.is_some());
    if let Some((descriptor, segment)) = seen {
        let value = match u.op {
            Op::Lar => descriptor >> 32 & 0x00ff_ff00,
            Op::Lsl => segment.limit.into(),
            _ => return Ok(()),
        };
        let old = cpu.reg(u.dst);
        cpu.set_reg(
            u.dst,
            if u.y == 2 {
                (old & !0xffff) | (value & 0xffff)
            } else {
                value
            },
        );
    }
    Ok(())
}

/// Which system descriptors LAR and LSL show. SDM Vol. 2, "LAR" and "LSL", the tables of types.
fn system_visible(cpu: &Cpu, op: Op, kind: u16) -> bool {
    use system_type::*;
    let has_limit = matches!(kind, LDT | TSS_AVAILABLE | TSS_BUSY)
        || (!cpu.is_long_mode() && matches!(kind, TSS16_AVAILABLE | TSS16_BUSY));
    let is_gate =
        kind == CALL_GATE || (!cpu.is_long_mode() && matches!(kind, CALL_GATE16 | TASK_GATE));
    has_limit || (op == Op::Lar && is_gate)
}

/// ARPL: raises `dst`'s RPL to that of `a`.
pub(crate) fn adjust_rpl<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    if !cpu.is_protected() || cpu.is_virtual_8086() {
        return Err(m.fault(Fault::UD));
    }
    let (old, rpl) = (cpu.reg(u.dst), cpu.reg(u.a) & 3);
    let raise = old & 3 < rpl;
    if raise {
        cpu.set_reg(u.dst, (old & !3) | rpl);
    }
    cpu.flags.set_zero(raise);
    Ok(())
}

/// Loads a segment register other than CS, then RSP, then (LDS and its kin) a general register.
pub(crate) fn load_register<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let selector = cpu.reg(u.a) as u16;
    let segment = load(cpu, m, u.y, selector)?;
    let rsp = cpu.reg(u.b);
    let offset = cpu.reg(u.c);
    cpu.set_reg(ring3_isa::Reg::Rsp, rsp);
    match u.x {
        2 => {
            let old = cpu.reg(u.dst);
            cpu.set_reg(u.dst, (old & !0xffff) | (offset & 0xffff));
        }
        4 | 8 => cpu.set_reg(u.dst, offset),
        _ => {}
    }
    cpu.set_segment(u.y, segment);
    // SS.B is part of the code's mode.
    m.configure(cpu);
    Ok(())
}

/// Whether reading the system-table registers is refused at the current privilege.
pub(crate) fn umip_refuses(cpu: &Cpu) -> bool {
    cpu.system.cr4 & cr4::UMIP != 0 && cpu.system.cr0 & cr0::PE != 0 && cpu.cpl() > 0
}
