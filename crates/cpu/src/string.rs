//! String instructions. SDM Vol. 2, "REP/REPE/REPZ/REPNE/REPNZ", "MOVS", "STOS", "LODS", "CMPS",
//! "SCAS", "INS", "OUTS".
//!
//! A repeated instruction executes in rounds. A round ends where either pointer leaves its page, at
//! the latest after 4096 bytes; after it, if iterations remain, RIP still points at the instruction,
//! and interrupts can be taken. Every round counts as one instruction. While RFLAGS.TF is set or a
//! data breakpoint is enabled a round is one iteration, as it is for INS and OUTS; and an iteration
//! that reached a device is the last one of its round, so that a device sees the time pass and a
//! guest cannot have much done in one instruction. The rule depends on nothing but registers and on
//! what is RAM, so that all engines agree on the count.

use crate::execute::Flow;
use crate::memory::{Memory, Stop};
use crate::routine;
use crate::state::Cpu;
use ring3_arch::rflags;
use ring3_isa::{Op, Reg, Uop};

/// Iterations of a round after which the engine looks at the boundary.
const LONG_ROUND: u64 = 512;

/// The decoded fields of a string micro-op.
struct StringUop {
    size: u64,
    repeat: Repeat,
    /// Mask of the address size.
    mask: u64,
    /// Number of the source's segment register outside 64-bit mode.
    legacy_segment: Option<u8>,
    source_base: u64,
    down: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Once,
    /// REP, or REPE for comparisons.
    WhileEqual,
    WhileNotEqual,
}

impl StringUop {
    fn new(cpu: &Cpu, u: &Uop) -> StringUop {
        StringUop {
            size: 1 << (u.y & 3),
            repeat: match u.y >> 2 & 3 {
                0 => Repeat::Once,
                1 => Repeat::WhileEqual,
                _ => Repeat::WhileNotEqual,
            },
            mask: match u.y >> 4 & 3 {
                0 => 0xffff,
                1 => 0xffff_ffff,
                _ => u64::MAX,
            },
            legacy_segment: (u.x & 0x80 != 0).then_some(u.x & 7),
            source_base: cpu.reg(u.a),
            down: cpu.has_flag(rflags::DF),
        }
    }

    fn pointer(&self, cpu: &Cpu, reg: Reg) -> u64 {
        cpu.reg(reg) & self.mask
    }

    fn set_pointer(&self, cpu: &mut Cpu, reg: Reg, value: u64) {
        let old = cpu.reg(reg);
        let value = match self.mask {
            0xffff => (old & !0xffff) | (value & 0xffff),
            mask => value & mask,
        };
        cpu.set_reg(reg, value);
    }

    fn advance(&self, cpu: &mut Cpu, reg: Reg, elements: u64) {
        let bytes = elements.wrapping_mul(self.size);
        let old = self.pointer(cpu, reg);
        let new = if self.down {
            old.wrapping_sub(bytes)
        } else {
            old.wrapping_add(bytes)
        };
        self.set_pointer(cpu, reg, new);
    }

    /// Linear address of the source element.
    fn source<M: Memory>(&self, cpu: &Cpu, m: &mut M) -> Result<u64, Stop> {
        let offset = self.pointer(cpu, Reg::Rsi);
        match self.legacy_segment {
            None => Ok(offset.wrapping_add(self.source_base)),
            Some(segment) => routine::segment::linear(cpu, m, segment, offset, self.size, false),
        }
    }

    /// Linear address of the destination element (always ES).
    fn destination<M: Memory>(&self, cpu: &Cpu, m: &mut M, write: bool) -> Result<u64, Stop> {
        let offset = self.pointer(cpu, Reg::Rdi);
        match self.legacy_segment {
            None => Ok(offset),
            Some(_) => routine::segment::linear(cpu, m, 0, offset, self.size, write),
        }
    }

    /// How many elements from `address` on lie in its page, going in the current direction; at
    /// least one.
    fn elements_in_page(&self, address: u64) -> u64 {
        let bytes = if self.down {
            (address & 0xfff) + self.size
        } else {
            0x1000 - (address & 0xfff)
        };
        (bytes / self.size).max(1)
    }
}

fn load<M: Memory>(m: &mut M, size: u64, address: u64) -> Result<u64, Stop> {
    match size {
        1 => m.load::<1>(address),
        2 => m.load::<2>(address),
        4 => m.load::<4>(address),
        _ => m.load::<8>(address),
    }
}

fn store<M: Memory>(m: &mut M, size: u64, address: u64, value: u64) -> Result<(), Stop> {
    match size {
        1 => m.store::<1>(address, value),
        2 => m.store::<2>(address, value),
        4 => m.store::<4>(address, value),
        _ => m.store::<8>(address, value),
    }
}

/// Executes one round of a string micro-op.
pub(crate) fn execute<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<Flow, Stop> {
    let s = StringUop::new(cpu, u);
    let repeated = s.repeat != Repeat::Once;
    let count = match repeated {
        // A single-stepped repetition traps after each iteration, a watched one after the iteration
        // that hit.
        true if cpu.has_flag(rflags::TF) || cpu.watches_data() => s.pointer(cpu, Reg::Rcx).min(1),
        true => s.pointer(cpu, Reg::Rcx),
        false => 1,
    };
    // Before the count is looked at: even if nothing is to be transferred.
    if matches!(u.op, Op::Ins | Op::Outs) {
        let port = cpu.reg(Reg::Rdx) as u16;
        routine::io::check_permission(cpu, m, port, s.size)?;
    }
    let before = s.pointer(cpu, Reg::Rcx);
    let mut again = false;
    m.take_device_access();
    if count != 0 {
        again = match u.op {
            Op::Movs => movs(cpu, m, &s, count)?,
            Op::Stos => stos(cpu, m, &s, count)?,
            Op::Lods => lods(cpu, m, &s, count)?,
            Op::Cmps => compare(cpu, m, &s, count, true)?,
            Op::Scas => compare(cpu, m, &s, count, false)?,
            Op::Ins => ins(cpu, m, &s)?,
            _ => outs(cpu, m, &s)?,
        } && repeated
            && s.pointer(cpu, Reg::Rcx) != 0;
    }
    // RF is set in what an event between iterations saves, but not after the last one. SDM Vol. 3,
    // "Instruction-Breakpoint Exception Condition".
    cpu.system_flags &= !rflags::RF;
    if again {
        cpu.system_flags |= rflags::RF;
    }
    let offset = if again { u.imm_low() } else { u.imm_high() };
    let target = cpu.rip().wrapping_add(offset as u64);
    cpu.set_rip(if cpu.is_long_code() {
        target
    } else {
        target & 0xffff_ffff
    });
    // A device access may have changed what is pending; and an engine wants to look up after a round
    // of many iterations.
    let iterations = before.wrapping_sub(s.pointer(cpu, Reg::Rcx));
    Ok(
        if matches!(u.op, Op::Ins | Op::Outs) || iterations > LONG_ROUND {
            Flow::Sync
        } else {
            Flow::Indirect
        },
    )
}

/// Books `elements` finished iterations.
fn count_down(cpu: &mut Cpu, s: &StringUop, elements: u64) {
    if s.repeat != Repeat::Once {
        let count = s.pointer(cpu, Reg::Rcx);
        s.set_pointer(cpu, Reg::Rcx, count.wrapping_sub(elements));
    }
}

/// The destination of an instruction that loads from `from` first: what that load raises comes before
/// what the destination's segment does.
fn destination_after_source<M: Memory>(
    cpu: &mut Cpu,
    m: &mut M,
    s: &StringUop,
    from: u64,
    write: bool,
) -> Result<u64, Stop> {
    let to = s.destination(cpu, m, write);
    if to.is_err() {
        let reason = m.stop_reason();
        load(m, s.size, from)?;
        return Err(m.stop(reason));
    }
    to
}

fn movs<M: Memory>(cpu: &mut Cpu, m: &mut M, s: &StringUop, count: u64) -> Result<bool, Stop> {
    let from = s.source(cpu, m)?;
    let to = destination_after_source(cpu, m, s, from, true)?;
    let round = count
        .min(s.elements_in_page(from))
        .min(s.elements_in_page(to));
    let bytes = round * s.size;
    if !s.down && round > 1 && s.legacy_segment.is_none() {
        // Copying forwards by elements equals copying at once unless the destination starts inside
        // the source.
        let overlaps = to.wrapping_sub(from).wrapping_sub(1) < bytes - 1;
        if !overlaps
            && let Some(target) = m.span(to, bytes, true)
            && let Some(source) = m.span(from, bytes, false)
            // Filling one entry may have evicted the other; only what still holds counts.
            && m.span(to, bytes, true) == Some(target.clone())
            && !(target.start > source.start && target.start < source.end)
        {
            m.ram().copy_within(source, target.start);
            s.advance(cpu, Reg::Rsi, round);
            s.advance(cpu, Reg::Rdi, round);
            count_down(cpu, s, round);
            return Ok(true);
        }
    }
    for _ in 0..round {
        let from = s.source(cpu, m)?;
        let value = load(m, s.size, from)?;
        let to = s.destination(cpu, m, true)?;
        store(m, s.size, to, value)?;
        s.advance(cpu, Reg::Rsi, 1);
        s.advance(cpu, Reg::Rdi, 1);
        count_down(cpu, s, 1);
        if m.take_device_access() {
            break;
        }
    }
    Ok(true)
}

/// Repeats `element`; the place has room for whole ones.
fn fill<const N: usize>(place: &mut [u8], element: [u8; N]) {
    let (elements, rest) = place.as_chunks_mut();
    debug_assert!(rest.is_empty());
    elements.fill(element);
}

fn stos<M: Memory>(cpu: &mut Cpu, m: &mut M, s: &StringUop, count: u64) -> Result<bool, Stop> {
    let to = s.destination(cpu, m, true)?;
    let value = cpu.reg(Reg::Rax);
    let round = count.min(s.elements_in_page(to));
    let bytes = round * s.size;
    if !s.down
        && round > 1
        && s.legacy_segment.is_none()
        && let Some(target) = m.span(to, bytes, true)
    {
        let place = &mut m.ram()[target];
        match s.size {
            1 => place.fill(value as u8),
            2 => fill(place, (value as u16).to_le_bytes()),
            4 => fill(place, (value as u32).to_le_bytes()),
            _ => fill(place, value.to_le_bytes()),
        }
        s.advance(cpu, Reg::Rdi, round);
        count_down(cpu, s, round);
        return Ok(true);
    }
    for _ in 0..round {
        let to = s.destination(cpu, m, true)?;
        store(m, s.size, to, value)?;
        s.advance(cpu, Reg::Rdi, 1);
        count_down(cpu, s, 1);
        if m.take_device_access() {
            break;
        }
    }
    Ok(true)
}

fn lods<M: Memory>(cpu: &mut Cpu, m: &mut M, s: &StringUop, count: u64) -> Result<bool, Stop> {
    let round = count.min(s.elements_in_page(s.source(cpu, m)?));
    for _ in 0..round {
        let from = s.source(cpu, m)?;
        let value = load(m, s.size, from)?;
        let old = cpu.reg(Reg::Rax);
        cpu.set_reg(
            Reg::Rax,
            match s.size {
                1 => (old & !0xff) | value,
                2 => (old & !0xffff) | value,
                _ => value,
            },
        );
        s.advance(cpu, Reg::Rsi, 1);
        count_down(cpu, s, 1);
        if m.take_device_access() {
            break;
        }
    }
    Ok(true)
}

/// CMPS (`with_source`) and SCAS; `false` when the repetition ends by its condition.
fn compare<M: Memory>(
    cpu: &mut Cpu,
    m: &mut M,
    s: &StringUop,
    count: u64,
    with_source: bool,
) -> Result<bool, Stop> {
    let round = if with_source {
        let from = s.source(cpu, m)?;
        let to = destination_after_source(cpu, m, s, from, false)?;
        count
            .min(s.elements_in_page(from))
            .min(s.elements_in_page(to))
    } else {
        count.min(s.elements_in_page(s.destination(cpu, m, false)?))
    };
    for _ in 0..round {
        let a = if with_source {
            let from = s.source(cpu, m)?;
            load(m, s.size, from)?
        } else {
            cpu.reg(Reg::Rax)
        };
        let at = s.destination(cpu, m, false)?;
        let b = load(m, s.size, at)?;
        let result = a.wrapping_sub(b);
        match s.size {
            1 => cpu.flags.set_sub::<8>(a, b, result),
            2 => cpu.flags.set_sub::<16>(a, b, result),
            4 => cpu.flags.set_sub::<32>(a, b, result),
            _ => cpu.flags.set_sub::<64>(a, b, result),
        }
        if with_source {
            s.advance(cpu, Reg::Rsi, 1);
        }
        s.advance(cpu, Reg::Rdi, 1);
        count_down(cpu, s, 1);
        match s.repeat {
            Repeat::WhileEqual if !cpu.flags.zero() => return Ok(false),
            Repeat::WhileNotEqual if cpu.flags.zero() => return Ok(false),
            _ => {}
        }
        if m.take_device_access() {
            break;
        }
    }
    Ok(true)
}

fn ins<M: Memory>(cpu: &mut Cpu, m: &mut M, s: &StringUop) -> Result<bool, Stop> {
    let port = cpu.reg(Reg::Rdx) as u16;
    let to = s.destination(cpu, m, true)?;
    m.check_write(to, s.size)?;
    let (index, now) = (cpu.index, m.now());
    let value = m.platform().port_read(index, now, port, s.size as u8);
    store(m, s.size, to, value.into())?;
    routine::io::note_breakpoints(cpu, port, s.size);
    s.advance(cpu, Reg::Rdi, 1);
    count_down(cpu, s, 1);
    Ok(true)
}

fn outs<M: Memory>(cpu: &mut Cpu, m: &mut M, s: &StringUop) -> Result<bool, Stop> {
    let port = cpu.reg(Reg::Rdx) as u16;
    let from = s.source(cpu, m)?;
    let value = load(m, s.size, from)?;
    m.port_write(port, s.size as u8, value as u32);
    routine::io::note_breakpoints(cpu, port, s.size);
    s.advance(cpu, Reg::Rsi, 1);
    count_down(cpu, s, 1);
    Ok(true)
}
