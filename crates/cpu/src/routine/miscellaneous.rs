//! Routines without a family: CPUID, RDRAND, double-width compare-exchange, frames, decimal
//! arithmetic. SDM Vol. 2, the pages of the mnemonics.

use crate::memory::{Memory, Stop};
use crate::state::Cpu;
use ring3_arch::{Exception, Fault, rflags};
use ring3_isa::{Op, Reg, Uop};

/// CPUID.
pub(crate) fn cpuid(cpu: &mut Cpu) {
    let (leaf, subleaf) = (cpu.reg(Reg::Rax) as u32, cpu.reg(Reg::Rcx) as u32);
    let model = cpu.model.clone();
    let answer = model.cpuid(cpu, leaf, subleaf);
    cpu.set_reg(Reg::Rax, answer.eax.into());
    cpu.set_reg(Reg::Rbx, answer.ebx.into());
    cpu.set_reg(Reg::Rcx, answer.ecx.into());
    cpu.set_reg(Reg::Rdx, answer.edx.into());
}

/// RDRAND, RDSEED: always successful (CF set), the other status flags cleared.
pub(crate) fn rdrand(cpu: &mut Cpu, u: &Uop) {
    let value = cpu.next_random();
    let old = cpu.reg(u.dst);
    cpu.set_reg(
        u.dst,
        match u.y & 0xf {
            2 => (old & !0xffff) | (value & 0xffff),
            4 => value & 0xffff_ffff,
            _ => value,
        },
    );
    cpu.flags.set_bits(rflags::CF);
}

/// CMPXCHG8B and CMPXCHG16B.
pub(crate) fn compare_exchange<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let address = cpu.reg(u.a);
    let half = if u.op == Op::Cmpxchg16b { 8 } else { 4 };
    if half == 8 && !address.is_multiple_of(16) {
        return Err(m.fault(Fault::GP0));
    }
    let checked = m.check_write(address, 2 * half);
    if checked.is_err() && u.x & Uop::STACK != 0 {
        return Err(super::stack_fault(m, Stop));
    }
    checked?;
    let second = address.wrapping_add(half);
    let (low, high) = if half == 8 {
        (m.load::<8>(address)?, m.load::<8>(second)?)
    } else {
        (m.load::<4>(address)?, m.load::<4>(second)?)
    };
    let mask = if half == 8 { u64::MAX } else { 0xffff_ffff };
    let equal = low == cpu.reg(Reg::Rax) & mask && high == cpu.reg(Reg::Rdx) & mask;
    let (new_low, new_high) = if equal {
        (cpu.reg(Reg::Rbx), cpu.reg(Reg::Rcx))
    } else {
        (low, high)
    };
    if half == 8 {
        m.store::<8>(address, new_low)?;
        m.store::<8>(second, new_high)?;
    } else {
        m.store::<4>(address, new_low)?;
        m.store::<4>(second, new_high)?;
    }
    if !equal {
        cpu.set_reg(Reg::Rax, low);
        cpu.set_reg(Reg::Rdx, high);
    }
    cpu.flags.set_zero(equal);
    Ok(())
}

fn stack_mask(cpu: &Cpu) -> u64 {
    if cpu.is_long_code() {
        u64::MAX
    } else if cpu.system.segments[2].is_big() {
        0xffff_ffff
    } else {
        0xffff
    }
}

fn stack_address<M: Memory>(
    cpu: &Cpu,
    m: &mut M,
    pointer: u64,
    size: u64,
    write: bool,
) -> Result<u64, Stop> {
    let pointer = pointer & stack_mask(cpu);
    if cpu.is_long_code() {
        Ok(pointer)
    } else {
        super::segment::linear(cpu, m, 2, pointer, size, write)
    }
}

fn store<M: Memory>(m: &mut M, size: u64, address: u64, value: u64) -> Result<(), Stop> {
    let stored = match size {
        2 => m.store::<2>(address, value),
        4 => m.store::<4>(address, value),
        _ => m.store::<8>(address, value),
    };
    stored.map_err(|stop| super::stack_fault(m, stop))
}

fn check_write<M: Memory>(m: &mut M, size: u64, address: u64) -> Result<(), Stop> {
    m.check_write(address, size)
        .map_err(|stop| super::stack_fault(m, stop))
}

fn load<M: Memory>(m: &mut M, size: u64, address: u64) -> Result<u64, Stop> {
    let loaded = match size {
        2 => m.load::<2>(address),
        4 => m.load::<4>(address),
        _ => m.load::<8>(address),
    };
    loaded.map_err(|stop| super::stack_fault(m, stop))
}

fn merge_register(cpu: &mut Cpu, reg: Reg, size: u64, value: u64) {
    let old = cpu.reg(reg);
    cpu.set_reg(
        reg,
        match size {
            2 => (old & !0xffff) | (value & 0xffff),
            4 => value & 0xffff_ffff,
            _ => value,
        },
    );
}

/// ENTER: frame size and operand size in the immediate, nesting level in `y`.
pub(crate) fn enter<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let size = u.imm_high() as u64;
    let frame_size = u.imm_low() as u64;
    let level = u64::from(u.y & 31);
    let mask = stack_mask(cpu);
    let rsp = cpu.reg(Reg::Rsp);
    let rbp = cpu.reg(Reg::Rbp);
    let frame = rsp.wrapping_sub(size);
    let pushes = level.max(1) + u64::from(level > 0);
    let top = rsp.wrapping_sub(pushes * size).wrapping_sub(frame_size);
    // First everything that can fault, in the order of the accesses, then the accesses: pushed
    // pointers may lie where later ones are read.
    for really in [false, true] {
        for n in 0..pushes {
            let value = if n == 0 {
                rbp
            } else if n == level {
                frame
            } else {
                let pointer = rbp.wrapping_sub(n * size);
                let address = stack_address(cpu, m, pointer, size, false)?;
                load(m, size, address)?
            };
            let pointer = rsp.wrapping_sub((n + 1) * size);
            let address = stack_address(cpu, m, pointer, size, true)?;
            if really {
                store(m, size, address, value)?;
            } else {
                check_write(m, size, address)?;
            }
        }
        // The new top of the stack must be writable.
        let address = stack_address(cpu, m, top, size, true)?;
        check_write(m, size, address)?;
    }
    merge_register(cpu, Reg::Rbp, size, frame);
    cpu.set_reg(Reg::Rsp, (rsp & !mask) | (top & mask));
    Ok(())
}

/// PUSHA and POPA: `y` bytes each.
pub(crate) fn all_registers<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    const ORDER: [Reg; 8] = [
        Reg::Rax,
        Reg::Rcx,
        Reg::Rdx,
        Reg::Rbx,
        Reg::Rsp,
        Reg::Rbp,
        Reg::Rsi,
        Reg::Rdi,
    ];
    let size = u64::from(u.y);
    let mask = stack_mask(cpu);
    let rsp = cpu.reg(Reg::Rsp);
    if u.op == Op::Pusha {
        for (n, reg) in ORDER.into_iter().enumerate() {
            let pointer = rsp.wrapping_sub(size * (n as u64 + 1));
            let address = stack_address(cpu, m, pointer, size, true)?;
            store(m, size, address, cpu.reg(reg))?;
        }
        let new = rsp.wrapping_sub(8 * size);
        cpu.set_reg(Reg::Rsp, (rsp & !mask) | (new & mask));
        return Ok(());
    }
    let mut values = [0; 8];
    for (n, value) in values.iter_mut().enumerate() {
        let address = stack_address(cpu, m, rsp.wrapping_add(size * n as u64), size, false)?;
        *value = load(m, size, address)?;
    }
    for (reg, value) in ORDER.into_iter().rev().zip(values) {
        if reg != Reg::Rsp {
            merge_register(cpu, reg, size, value);
        }
    }
    let new = rsp.wrapping_add(8 * size);
    cpu.set_reg(Reg::Rsp, (rsp & !mask) | (new & mask));
    Ok(())
}

/// BOUND: signed comparison of `dst` with the two bounds at `a`.
pub(crate) fn bound<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let address = cpu.reg(u.a);
    let (index, low, high) = if u.y == 2 {
        let low = m.load::<2>(address)? as i16;
        let high = m.load::<2>(address.wrapping_add(2))? as i16;
        (
            i32::from(cpu.reg(u.dst) as i16),
            i32::from(low),
            i32::from(high),
        )
    } else {
        let low = m.load::<4>(address)? as i32;
        let high = m.load::<4>(address.wrapping_add(4))? as i32;
        (cpu.reg(u.dst) as i32, low, high)
    };
    if index < low || index > high {
        return Err(m.fault(Fault::new(Exception::BoundRange, 0)));
    }
    Ok(())
}

/// DAA, DAS, AAA, AAS, AAM, AAD.
pub(crate) fn decimal<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let ax = cpu.reg(Reg::Rax) as u16;
    let [al, ah] = ax.to_le_bytes();
    let (carry, adjust) = (cpu.flags.carry(), cpu.flags.adjust());
    let low_digit = al & 15 > 9 || adjust;
    let mut flags = 0;
    let mut set = |bit: u64, value: bool| {
        if value {
            flags |= bit;
        }
    };
    let result = match u.y {
        0 | 1 => {
            let high_digit = al > 0x99 || carry;
            let mut new = al;
            let mut new_carry = carry;
            if low_digit {
                let (sum, overflow) = if u.y == 0 {
                    al.overflowing_add(6)
                } else {
                    al.overflowing_sub(6)
                };
                new = sum;
                new_carry |= overflow;
            }
            if high_digit {
                new = if u.y == 0 {
                    new.wrapping_add(0x60)
                } else {
                    new.wrapping_sub(0x60)
                };
                new_carry = true;
            } else if u.y == 0 {
                new_carry = low_digit && (carry || al > 0xf9);
            }
            set(rflags::CF, new_carry);
            set(rflags::AF, low_digit);
            u16::from_le_bytes([new, ah])
        }
        2 | 3 => {
            set(rflags::CF | rflags::AF, low_digit);
            let adjusted = match (low_digit, u.y) {
                (true, 2) => ax.wrapping_add(0x106),
                (true, _) => ax.wrapping_sub(0x106),
                _ => ax,
            };
            adjusted & 0xff0f
        }
        4 => {
            let base = u.imm as u8;
            if base == 0 {
                return Err(m.fault(Fault::DE));
            }
            u16::from_le_bytes([al % base, al / base])
        }
        _ => u16::from(ah.wrapping_mul(u.imm as u8).wrapping_add(al)),
    };
    let low = result as u8;
    set(rflags::SF, low & 0x80 != 0);
    set(rflags::ZF, low == 0);
    set(rflags::PF, low.count_ones().is_multiple_of(2));
    merge_register(cpu, Reg::Rax, 2, result.into());
    cpu.flags.set_bits(flags);
    Ok(())
}
