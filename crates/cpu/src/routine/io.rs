//! I/O ports and their permission. SDM Vol. 1, "I/O Permission Bit Map".

use crate::memory::{Memory, Stop};
use crate::state::Cpu;
use ring3_arch::Fault;
use ring3_arch::cr::cr4;
use ring3_isa::{Op, Reg, Uop};

/// Checks that `size` ports from `port` may be accessed.
///
/// # Errors
/// #GP(0).
pub(crate) fn check_permission<M: Memory>(
    cpu: &Cpu,
    m: &mut M,
    port: u16,
    size: u64,
) -> Result<(), Stop> {
    if !cpu.is_protected() || (!cpu.is_virtual_8086() && cpu.cpl() <= cpu.iopl()) {
        return Ok(());
    }
    let tr = cpu.system.tr;
    const MAP_BASE: u64 = 0x66;
    if !tr.present() || tr.limit < MAP_BASE as u32 + 1 {
        return Err(m.fault(Fault::GP0));
    }
    let map = m.load_system(tr.base.wrapping_add(MAP_BASE), 2)?;
    let byte = map + u64::from(port / 8);
    // Two bytes are always read, so that any four ports can be checked; the map must hold both.
    if byte + 1 > u64::from(tr.limit) {
        return Err(m.fault(Fault::GP0));
    }
    let bits = m.load_system(tr.base.wrapping_add(byte), 2)? >> (port % 8);
    if bits & ((1 << size) - 1) != 0 {
        Err(m.fault(Fault::GP0))
    } else {
        Ok(())
    }
}

/// `size` ports from `port` were accessed: breakpoints on them trap after the instruction. SDM Vol. 3,
/// "Data Memory and I/O Breakpoint Exception Conditions".
pub(crate) fn note_breakpoints(cpu: &mut Cpu, port: u16, size: u64) {
    let dr7 = cpu.system.dr7;
    if dr7 & 0xff == 0 || cpu.system.cr4 & cr4::DE == 0 {
        return;
    }
    for n in 0..4 {
        let enabled = dr7 >> (2 * n) & 3 != 0 && dr7 >> (16 + 4 * n) & 3 == 2;
        let length = [1, 2, 8, 4][(dr7 >> (18 + 4 * n) & 3) as usize];
        let first = cpu.system.dr[n] & !(length - 1);
        let overlaps =
            u64::from(port) < first.saturating_add(length) && first < u64::from(port) + size;
        if enabled && overlaps {
            cpu.pending_debug |= 1 << n;
        }
    }
}

/// IN and OUT: `y` bytes.
pub(crate) fn execute<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let port = cpu.reg(u.a) as u16;
    check_permission(cpu, m, port, u.y.into())?;
    note_breakpoints(cpu, port, u.y.into());
    if u.op == Op::Out {
        let value = cpu.reg(Reg::Rax) as u32;
        let value = if u.y == 4 {
            value
        } else {
            value & ((1 << (8 * u.y)) - 1)
        };
        m.port_write(port, u.y, value);
        return Ok(());
    }
    let (index, now) = (cpu.index, m.now());
    let value = u64::from(m.platform().port_read(index, now, port, u.y));
    let old = cpu.reg(Reg::Rax);
    cpu.set_reg(
        Reg::Rax,
        match u.y {
            1 => (old & !0xff) | (value & 0xff),
            2 => (old & !0xffff) | (value & 0xffff),
            _ => value,
        },
    );
    Ok(())
}
