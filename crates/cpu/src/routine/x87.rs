//! x87 and MMX micro-ops. SDM Vol. 1, "Programming with the x87 FPU" and "Programming with Intel
//! MMX Technology".
//!
//! As on Sapphire Rapids, what the last instruction was is recorded in part only: its address
//! always, its opcode and the address of its memory operand if it raises an unmasked exception, the
//! selectors of both never (CPUID leaf 7, EBX bits 6 and 13; "x87 FPU Opcode", "x87 FPU Instruction
//! and Data (Operand) Pointers").
//!
//! With CR0.NE clear an unmasked exception is #MF just as with CR0.NE set: the pins that would tell
//! an external interrupt controller instead (FERR#, IGNNE#) are not modelled.

use crate::execute::address;
use crate::memory::{Memory, Stop, StopReason};
use crate::state::Cpu;
use ring3_arch::{Exception, Fault};
use ring3_arithmetic::x87::{ImageFormat, X87, X87Op, X87Output, X87Pending, X87Pointers};
use ring3_isa::{Op, Reg, Uop};

/// Executes an x87 or MMX micro-op.
///
/// # Errors
/// #MF; what the memory operand's access raises.
pub(crate) fn execute<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    match u.op {
        Op::X87 | Op::X87Flags | Op::X87Move => register_operation(cpu, m, u),
        Op::X87Load => load(cpu, m, u),
        Op::X87Store => store(cpu, m, u),
        Op::X87LoadImage => load_image(cpu, m, u),
        Op::X87StoreImage => store_image(cpu, m, u),
        Op::MmxEnter | Op::MmxEmpty => {
            if cpu.x87.is_pending() {
                return Err(pending(m));
            }
            if u.op == Op::MmxEmpty {
                cpu.x87.empty_mmx();
            } else if u.y == 1 {
                cpu.x87.enter_mmx();
            }
            Ok(())
        }
        Op::MmxRead => {
            cpu.vectors[u.vdst()] = cpu.x87.mm(u.y).into();
            Ok(())
        }
        Op::MmxWrite => {
            let value = cpu.vectors[u.va()] as u64;
            cpu.x87.set_mm(u.y, value);
            Ok(())
        }
        _ => Err(m.stop(StopReason::Unimplemented)),
    }
}

/// FCS and FDS do not exist here: what an image brings in is not kept.
pub(crate) fn forget_selectors(x87: &mut X87) {
    x87.record(X87Pointers {
        code_selector: 0,
        data_selector: 0,
        ..x87.pointers()
    });
}

#[cold]
fn pending<M: Memory>(m: &mut M) -> Stop {
    m.fault(Fault::new(Exception::X87, 0))
}

fn operation<M: Memory>(m: &mut M, u: &Uop) -> Result<X87Op, Stop> {
    X87Op::from_index(u.y.into()).ok_or_else(|| m.stop(StopReason::Unimplemented))
}

/// Where the instruction is.
fn instruction_address(cpu: &Cpu, u: &Uop) -> u64 {
    let address = cpu.rip().wrapping_add((u.imm_high() & 0xffff) as u64);
    if cpu.is_long_code() {
        address
    } else {
        address & 0xffff_ffff
    }
}

/// The offset of the memory operand in its segment.
fn operand_offset(cpu: &Cpu, u: &Uop) -> u64 {
    let offset = cpu
        .reg(u.a)
        .wrapping_add(cpu.reg(u.b) << (u.x & Uop::SCALE))
        .wrapping_add(u.imm_low() as u64);
    if cpu.is_long_code() {
        offset
    } else {
        offset.wrapping_sub(cpu.reg(u.dst)) & 0xffff_ffff
    }
}

/// The linear address of the memory operand.
fn operand_address(cpu: &Cpu, u: &Uop) -> u64 {
    address(
        cpu,
        &Uop {
            imm: u.imm_low(),
            ..*u
        },
    )
}

/// Performs the operation, and records where it was. Inlined, because copying an output takes
/// longer than most operations.
#[inline(always)]
fn perform<M: Memory>(
    cpu: &mut Cpu,
    m: &mut M,
    u: &Uop,
    op: X87Op,
    operand: u128,
) -> Result<X87Output, Stop> {
    let (register, flags) = match u.op {
        Op::X87Load | Op::X87Store => (0, 0),
        Op::X87Move => (u.imm_low() as u8, cpu.flags.bits()),
        _ => (u.imm_low() as u8, 0),
    };
    let output = cpu
        .x87
        .execute(op, register, operand, flags)
        .map_err(|X87Pending| pending(m))?;
    if !op.is_control() {
        let instruction = instruction_address(cpu, u);
        cpu.x87.record_instruction(instruction);
        // It would not have been executed with an exception pending, so this one is its own.
        if cpu.x87.is_pending() {
            record_exception(cpu, u);
        }
    }
    Ok(output)
}

#[cold]
fn record_exception(cpu: &mut Cpu, u: &Uop) {
    let old = cpu.x87.pointers();
    let has_operand = matches!(u.op, Op::X87Load | Op::X87Store);
    cpu.x87.record(X87Pointers {
        data: if has_operand {
            operand_offset(cpu, u)
        } else {
            old.data
        },
        opcode: (u.imm_high() >> 16) as u16,
        ..old
    });
}

fn register_operation<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let op = operation(m, u)?;
    match perform(cpu, m, u, op, 0)? {
        X87Output::None => {}
        X87Output::Value(value) => cpu.set_reg(Reg::T0, value as u64),
        X87Output::Flags(flags) => cpu.flags.set_bits(flags),
    }
    Ok(())
}

fn load<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let op = operation(m, u)?;
    if cpu.x87.is_pending() {
        return Err(pending(m));
    }
    let at = operand_address(cpu, u);
    let operand = match u.x >> Uop::X87_SIZE_SHIFT {
        1 => m.load::<2>(at)?.into(),
        2 => m.load::<4>(at)?.into(),
        3 => m.load::<8>(at)?.into(),
        _ => {
            let low = m.load::<8>(at)?;
            let high = m.load::<2>(at.wrapping_add(8))?;
            u128::from(high) << 64 | u128::from(low)
        }
    };
    perform(cpu, m, u, op, operand)?;
    Ok(())
}

/// The operation is taken back if the store fails. Where an unmasked exception prevents the store,
/// processors check the operand nevertheless.
fn store<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let op = operation(m, u)?;
    let before = cpu.x87;
    let output = perform(cpu, m, u, op, 0)?;
    let at = operand_address(cpu, u);
    let stored = match output {
        X87Output::Value(value) => store_operand(m, u, at, value),
        _ => check_operand(m, u, at),
    };
    if stored.is_err() {
        cpu.x87 = before;
    }
    stored
}

fn store_operand<M: Memory>(m: &mut M, u: &Uop, at: u64, value: u128) -> Result<(), Stop> {
    let low = value as u64;
    match u.x >> Uop::X87_SIZE_SHIFT {
        1 => m.store::<2>(at, low),
        2 => m.store::<4>(at, low),
        3 => m.store::<8>(at, low),
        _ => {
            check_operand(m, u, at)?;
            m.store::<8>(at, low)?;
            m.store::<2>(at.wrapping_add(8), (value >> 64) as u64)
        }
    }
}

fn check_operand<M: Memory>(m: &mut M, u: &Uop, at: u64) -> Result<(), Stop> {
    match u.x >> Uop::X87_SIZE_SHIFT {
        0 => {
            // Alignment is that of the first eight bytes.
            m.check_write(at, 8)?;
            m.check_write(at, 10)
        }
        size => m.check_write(at, 1 << size),
    }
}

fn format(u: &Uop) -> (ImageFormat, bool) {
    let format = ImageFormat::ALL[usize::from(u.y) % ImageFormat::ALL.len()];
    (format, u.y & Uop::X87_REGISTERS != 0)
}

fn image_size(format: ImageFormat, registers: bool) -> usize {
    if registers {
        format.state_size()
    } else {
        format.environment_size()
    }
}

/// FLDENV and FRSTOR.
fn load_image<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    if cpu.x87.is_pending() {
        return Err(pending(m));
    }
    let (format, registers) = format(u);
    let (at, size) = (address(cpu, u), image_size(format, registers));
    let mut image = [0; 108];
    let field = format.field_size();
    for (n, bytes) in image[..size].chunks_exact_mut(field).enumerate() {
        let at = at.wrapping_add((n * field) as u64);
        let value = if field == 2 {
            m.load::<2>(at)?
        } else {
            m.load::<4>(at)?
        };
        bytes.copy_from_slice(&value.to_le_bytes()[..field]);
    }
    if registers {
        cpu.x87.load_state(format, &image);
    } else {
        let mut environment = [0; 28];
        environment.copy_from_slice(&image[..28]);
        cpu.x87.load_environment(format, &environment);
    }
    forget_selectors(&mut cpu.x87);
    Ok(())
}

/// FNSTENV and FNSAVE.
fn store_image<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let (format, registers) = format(u);
    let (at, size) = (address(cpu, u), image_size(format, registers));
    let mut x87 = cpu.x87;
    let mut image = [0; 108];
    if registers {
        image = x87.store_state(format);
    } else {
        image[..28].copy_from_slice(&x87.store_environment(format));
    }
    let field = format.field_size();
    // Alignment is that of the fields.
    m.check_write(at, field as u64)?;
    m.check_write(at, size as u64)?;
    for (n, bytes) in image[..size].chunks_exact(field).enumerate() {
        let mut value = [0; 8];
        value[..field].copy_from_slice(bytes);
        let (at, value) = (
            at.wrapping_add((n * field) as u64),
            u64::from_le_bytes(value),
        );
        if field == 2 {
            m.store::<2>(at, value)?;
        } else {
            m.store::<4>(at, value)?;
        }
    }
    cpu.x87 = x87;
    Ok(())
}
