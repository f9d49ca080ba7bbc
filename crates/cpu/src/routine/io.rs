//! I/O ports and their permission. SDM Vol. 1, "I/O Permission Bit Map".

use crate::memory::{Memory, Stop};
use crate::state::Cpu;
use ring3_arch::Fault;
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

/// IN and OUT: `y` bytes.
pub(crate) fn execute<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let port = cpu.reg(u.a) as u16;
    check_permission(cpu, m, port, u.y.into())?;
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
