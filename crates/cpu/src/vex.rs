//! The micro-ops of VEX-encoded vector instructions: results of 128 bits that clear the upper half of
//! their register, and results of 256 bits.
//!
//! Apart from [`mod@crate::execute`] so that the loop of an engine, into which that is inlined, stays
//! small.

use crate::execute::{address, is_aligned, is_aligned_256, with_low};
use crate::memory::{Memory, Stop, StopReason};
use crate::routine::floating::{float_op, packed_op, simd_exception};
use crate::routine::segment;
use crate::state::Cpu;
use ring3_arch::Fault;
use ring3_arithmetic::float::{self, FloatShape, FusedOp, FusedOrder, float, float_256, float3};
use ring3_arithmetic::packed::{Packed3Op, PackedOp, WideOp, packed, packed3, wide};
use ring3_isa::{Op, Reg, Uop};

#[inline(always)]
fn whole(cpu: &Cpu, register: usize) -> [u128; 2] {
    [cpu.vectors[register], cpu.uppers[register]]
}

/// A result of 256 bits.
#[inline(always)]
fn set(cpu: &mut Cpu, u: &Uop, [low, high]: [u128; 2]) {
    cpu.vectors[u.vdst()] = low;
    cpu.uppers[u.vdst()] = high;
}

/// A result of 128 bits.
#[inline(always)]
fn set_low(cpu: &mut Cpu, u: &Uop, low: u128) {
    set(cpu, u, [low, 0]);
}

/// Executes a micro-op for which [`Op::is_vex_vector`] holds.
///
/// # Errors
/// [`Stop`]; the architectural state is that of the instruction's start, except after a gather, which
/// keeps the elements that it has.
#[inline(never)]
pub(crate) fn execute<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    macro_rules! completed {
        ($result:expr) => {
            match $result {
                Ok(result) => result,
                Err(_) => return Err(simd_exception(cpu, m)),
            }
        };
    }
    macro_rules! low {
        ($a:ident, $b:ident => $result:expr) => {{
            let ($a, $b) = (cpu.vectors[u.va()], cpu.vectors[u.vb()]);
            set_low(cpu, u, $result);
        }};
    }
    macro_rules! both {
        ($a:ident, $b:ident => $result:expr) => {{
            let (a, b) = (whole(cpu, u.va()), whole(cpu, u.vb()));
            let half = |$a: u128, $b: u128| $result;
            set(cpu, u, [half(a[0], b[0]), half(a[1], b[1])]);
        }};
    }
    macro_rules! scalar {
        ($element:ty, $f:ident) => {{
            let (a, b) = (cpu.vectors[u.va()], cpu.vectors[u.vb()]);
            let result = completed!(float::$f(a as $element, b as $element, &mut cpu.mxcsr));
            set_low(cpu, u, with_low(a, result.into(), <$element>::BITS));
        }};
    }

    match u.op {
        Op::VMovZ => {
            let low = cpu.vectors[u.va()];
            set_low(cpu, u, low);
        }
        Op::VMovY => {
            let value = whole(cpu, u.va());
            set(cpu, u, value);
        }
        Op::VLoad128Z => {
            let at = address(cpu, u);
            if !is_aligned(u, at) {
                return Err(m.fault(Fault::GP0));
            }
            let low = m.load128(at)?;
            set_low(cpu, u, low);
        }
        Op::VLoad64Z => {
            let low = m.load::<8>(address(cpu, u))?;
            set_low(cpu, u, low.into());
        }
        Op::VLoad32Z => {
            let low = m.load::<4>(address(cpu, u))?;
            set_low(cpu, u, low.into());
        }
        Op::VLoad256 => {
            let at = address(cpu, u);
            if !is_aligned_256(u, at) {
                return Err(m.fault(Fault::GP0));
            }
            let value = m.load256(at)?;
            set(cpu, u, value);
        }
        Op::VStore256 => {
            let at = address(cpu, u);
            if !is_aligned_256(u, at) {
                return Err(m.fault(Fault::GP0));
            }
            m.store256(at, whole(cpu, u.vdst()))?;
        }
        Op::VImmZ => set_low(cpu, u, (u.imm as u64).into()),
        Op::VAndZ => low!(a, b => a & b),
        Op::VAndNotZ => low!(a, b => !a & b),
        Op::VOrZ => low!(a, b => a | b),
        Op::VXorZ => low!(a, b => a ^ b),
        Op::VAndY => both!(a, b => a & b),
        Op::VAndNotY => both!(a, b => !a & b),
        Op::VOrY => both!(a, b => a | b),
        Op::VXorY => both!(a, b => a ^ b),
        Op::VAddssZ => scalar!(u32, add_ss),
        Op::VAddsdZ => scalar!(u64, add_sd),
        Op::VSubssZ => scalar!(u32, sub_ss),
        Op::VSubsdZ => scalar!(u64, sub_sd),
        Op::VMulssZ => scalar!(u32, mul_ss),
        Op::VMulsdZ => scalar!(u64, mul_sd),
        Op::VDivssZ => scalar!(u32, div_ss),
        Op::VDivsdZ => scalar!(u64, div_sd),
        _ => return execute_other(cpu, m, u),
    }
    Ok(())
}

/// The less frequent ones: apart, for the sake of those that need few registers.
#[inline(never)]
fn execute_other<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    macro_rules! completed {
        ($result:expr) => {
            match $result {
                Ok(result) => result,
                Err(_) => return Err(simd_exception(cpu, m)),
            }
        };
    }
    macro_rules! both {
        ($a:ident, $b:ident => $result:expr) => {{
            let (a, b) = (whole(cpu, u.va()), whole(cpu, u.vb()));
            let half = |$a: u128, $b: u128| $result;
            let result = [half(a[0], b[0]), half(a[1], b[1])];
            set(cpu, u, result);
        }};
    }
    macro_rules! low {
        ($a:ident, $b:ident => $result:expr) => {{
            let ($a, $b) = (cpu.vectors[u.va()], cpu.vectors[u.vb()]);
            set_low(cpu, u, $result);
        }};
    }
    macro_rules! packed_both {
        ($op:ident) => {
            both!(a, b => packed(PackedOp::$op, a, b, 0))
        };
    }
    macro_rules! float_both {
        ($f:ident) => {{
            let (a, b) = (whole(cpu, u.va()), whole(cpu, u.vb()));
            let result = cpu
                .mxcsr
                .both_halves(|n, mxcsr| float::$f(a[n], b[n], mxcsr));
            let result = completed!(result);
            set(cpu, u, result);
        }};
    }
    match u.op {
        Op::VZx64Z => {
            let low = cpu.vectors[u.va()] as u64;
            set_low(cpu, u, low.into());
        }
        Op::VFromGpr32Z => {
            let low = cpu.reg(u.a) as u32;
            set_low(cpu, u, low.into());
        }
        Op::VFromGpr64Z => {
            let low = cpu.reg(u.a);
            set_low(cpu, u, low.into());
        }
        Op::VZeroUpper => {
            let count = register_count(cpu);
            cpu.uppers[..count].fill(0);
        }
        Op::VZeroAll => {
            let count = register_count(cpu);
            cpu.vectors[..count].fill(0);
            cpu.uppers[..count].fill(0);
        }
        Op::VPackedZ => low!(a, b => packed(packed_op(u), a, b, u.imm as u8)),
        Op::VPackedY => {
            let (a, b) = (whole(cpu, u.va()), whole(cpu, u.vb()));
            let result = [
                packed(packed_op(u), a[0], b[0], u.imm as u8),
                packed(packed_op(u), a[1], b[1], (u.imm >> 8) as u8),
            ];
            set(cpu, u, result);
        }
        Op::VPackedCountY => {
            let (a, count) = (whole(cpu, u.va()), cpu.vectors[u.vb()]);
            let result = a.map(|half| packed(packed_op(u), half, count, 0));
            set(cpu, u, result);
        }
        Op::VPackedWidenY => {
            let b = cpu.vectors[u.vb()];
            let result = [b, b >> widening(u)].map(|b| packed(packed_op(u), b, b, 0));
            set(cpu, u, result);
        }
        Op::VPaddbY => packed_both!(Paddb),
        Op::VPadddY => packed_both!(Paddd),
        Op::VPaddqY => packed_both!(Paddq),
        Op::VPsubbY => packed_both!(Psubb),
        Op::VPcmpeqbY => packed_both!(Pcmpeqb),
        Op::VPminubY => packed_both!(Pminub),
        Op::VPshufbY => packed_both!(Pshufb),
        Op::VPmovmskbY => {
            let [low, high] =
                whole(cpu, u.vb()).map(|half| packed(PackedOp::Pmovmskb, 0, half, 0) as u64);
            cpu.set_reg(u.dst, low | high << 16);
        }
        Op::VPacked3Z => {
            let (a, b) = (cpu.vectors[u.va()], cpu.vectors[u.vb()]);
            let result = packed3(packed3_op(u), a, b, cpu.vectors[u.vc()]);
            set_low(cpu, u, result);
        }
        Op::VPacked3Y => {
            let (a, b, c) = (whole(cpu, u.va()), whole(cpu, u.vb()), whole(cpu, u.vc()));
            let result = [0, 1].map(|n| packed3(packed3_op(u), a[n], b[n], c[n]));
            set(cpu, u, result);
        }
        Op::VPackedToGprY => {
            let [low, high] =
                whole(cpu, u.vb()).map(|half| packed(packed_op(u), 0, half, 0) as u64);
            cpu.set_reg(u.dst, low | high << widening(u));
        }
        Op::VPackedFlagsY => {
            let (a, b) = (whole(cpu, u.va()), whole(cpu, u.vb()));
            let [low, high] = [0, 1].map(|n| packed(packed_op(u), a[n], b[n], 0) as u64);
            cpu.flags.set_bits(low & high);
        }
        Op::VInsertZ => {
            let (a, b) = (cpu.vectors[u.va()], cpu.reg(u.b));
            set_low(cpu, u, packed(packed_op(u), a, b.into(), u.imm as u8));
        }
        Op::VWideZ => {
            let [low, _] = wide(
                wide_op(u),
                whole(cpu, u.va()),
                whole(cpu, u.vb()),
                u.imm as u8,
            );
            set_low(cpu, u, low);
        }
        Op::VWideY => {
            let result = wide(
                wide_op(u),
                whole(cpu, u.va()),
                whole(cpu, u.vb()),
                u.imm as u8,
            );
            set(cpu, u, result);
        }
        Op::VFloatZ => {
            let (a, b) = (cpu.vectors[u.va()], cpu.vectors[u.vb()]);
            let result = completed!(float(float_op(u), a, b, u.imm as u8, &mut cpu.mxcsr));
            set_low(cpu, u, result);
        }
        Op::VFloatY => {
            let (a, b) = (whole(cpu, u.va()), whole(cpu, u.vb()));
            let result = completed!(float_halves(cpu, u, a, b));
            set(cpu, u, result);
        }
        Op::VFloatWidenY => {
            let b = cpu.vectors[u.vb()];
            let b = [b, b >> widening(u)];
            let result = completed!(float_halves(cpu, u, b, b));
            set(cpu, u, result);
        }
        Op::VFloatNarrowY => {
            let b = whole(cpu, u.vb());
            let [low, high] = completed!(float_halves(cpu, u, b, b));
            set_low(cpu, u, u128::from(low as u64) | high << 64);
        }
        Op::VAddpsY => float_both!(add_ps),
        Op::VAddpdY => float_both!(add_pd),
        Op::VSubpsY => float_both!(sub_ps),
        Op::VSubpdY => float_both!(sub_pd),
        Op::VMulpsY => float_both!(mul_ps),
        Op::VMulpdY => float_both!(mul_pd),
        Op::VDivpsY => float_both!(div_ps),
        Op::VDivpdY => float_both!(div_pd),
        Op::VFloatFromGprZ => {
            let (a, b) = (cpu.vectors[u.va()], cpu.reg(u.b));
            let result = float(float_op(u), a, b.into(), u.imm as u8, &mut cpu.mxcsr);
            let result = completed!(result);
            set_low(cpu, u, result);
        }
        Op::VFusedZ => {
            let operands = [
                cpu.vectors[u.va()],
                cpu.vectors[u.vb()],
                cpu.vectors[u.vc()],
            ];
            let (op, order, shape) = fused(u);
            let result = completed!(float3(op, order, shape, operands, &mut cpu.mxcsr));
            set_low(cpu, u, result);
        }
        Op::VFusedY => {
            let operands = [u.va(), u.vb(), u.vc()].map(|register| whole(cpu, register));
            let (op, order, shape) = fused(u);
            let result = cpu.mxcsr.both_halves(|n, mxcsr| {
                float3(op, order, shape, operands.map(|operand| operand[n]), mxcsr)
            });
            let result = completed!(result);
            set(cpu, u, result);
        }
        Op::VMaskedLoadZ => masked_load::<M, 16>(cpu, m, u)?,
        Op::VMaskedLoadY => masked_load::<M, 32>(cpu, m, u)?,
        Op::VMaskedStore128 => masked_store(cpu, m, u, 16)?,
        Op::VMaskedStore256 => masked_store(cpu, m, u, 32)?,
        Op::VGatherZ => gather(cpu, m, u, 16)?,
        Op::VGatherY => gather(cpu, m, u, 32)?,
        _ => return Err(m.stop(StopReason::Unimplemented)),
    }
    Ok(())
}

/// How many vector registers the mode has.
fn register_count(cpu: &Cpu) -> usize {
    if cpu.is_long_code() { 16 } else { 8 }
}

#[inline(always)]
fn widening(u: &Uop) -> u32 {
    (u.imm >> 8) as u8 as u32
}

fn packed3_op(u: &Uop) -> Packed3Op {
    Packed3Op::ALL[(u.imm >> 16) as usize]
}

fn wide_op(u: &Uop) -> WideOp {
    WideOp::ALL[(u.imm >> 16) as usize]
}

#[inline(always)]
fn fused(u: &Uop) -> (FusedOp, FusedOrder, FloatShape) {
    const ORDERS: [FusedOrder; 3] = [
        FusedOrder::Order132,
        FusedOrder::Order213,
        FusedOrder::Order231,
    ];
    const SHAPES: [FloatShape; 4] = [
        FloatShape::Ss,
        FloatShape::Sd,
        FloatShape::Ps,
        FloatShape::Pd,
    ];
    (
        FusedOp::ALL[usize::from(u.imm as u8)],
        ORDERS[usize::from((u.imm >> 8) as u8)],
        SHAPES[usize::from((u.imm >> 16) as u8)],
    )
}

/// Computes the floating-point operation in both halves.
fn float_halves(
    cpu: &mut Cpu,
    u: &Uop,
    a: [u128; 2],
    b: [u128; 2],
) -> Result<[u128; 2], ring3_arithmetic::SimdException> {
    let immediates = [u.imm as u8, (u.imm >> 8) as u8];
    float_256(float_op(u), a, b, immediates, &mut cpu.mxcsr)
}

// --- memory element by element ---------------------------------------------------------------------

/// The linear address of an element of `bytes` bytes at `offset` of the segment whose base is `c`.
fn element_address<M: Memory>(
    cpu: &Cpu,
    m: &mut M,
    u: &Uop,
    offset: u64,
    bytes: u64,
    write: bool,
) -> Result<u64, Stop> {
    if cpu.is_long_code() {
        return Ok(offset.wrapping_add(cpu.reg(u.c)));
    }
    let number = u.c as u8 - Reg::EsBase as u8;
    segment::linear(cpu, m, number, offset & 0xffff_ffff, bytes, write)
}

fn bytes_of([low, high]: [u128; 2]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&low.to_le_bytes());
    bytes[16..].copy_from_slice(&high.to_le_bytes());
    bytes
}

fn from_bytes(bytes: [u8; 32]) -> [u128; 2] {
    let half = |n: usize| u128::from_le_bytes(std::array::from_fn(|i| bytes[16 * n + i]));
    [half(0), half(1)]
}

/// Loads an element. Its alignment is never checked (SDM Vol. 2, "VMASKMOV": no #AC is reported; gathers
/// behave alike on processors), which the bytes one by one make sure of.
fn load_element<M: Memory>(cpu: &Cpu, m: &mut M, address: u64, bytes: usize) -> Result<u64, Stop> {
    if cpu.checks_alignment() && !address.is_multiple_of(bytes as u64) {
        let mut value = [0; 8];
        for (n, byte) in value[..bytes].iter_mut().enumerate() {
            *byte = m.load::<1>(address.wrapping_add(n as u64))? as u8;
        }
        return Ok(u64::from_le_bytes(value));
    }
    if bytes == 4 {
        m.load::<4>(address)
    } else {
        m.load::<8>(address)
    }
}

/// Stores an element for which [`Memory::check_write`] has been asked.
fn store_element<M: Memory>(
    cpu: &Cpu,
    m: &mut M,
    address: u64,
    element: &[u8],
) -> Result<(), Stop> {
    if cpu.checks_alignment() && !address.is_multiple_of(element.len() as u64) {
        for (n, &byte) in element.iter().enumerate() {
            m.store::<1>(address.wrapping_add(n as u64), byte.into())?;
        }
        return Ok(());
    }
    let mut value = [0; 8];
    value[..element.len()].copy_from_slice(element);
    let value = u64::from_le_bytes(value);
    if element.len() == 4 {
        m.store::<4>(address, value)
    } else {
        m.store::<8>(address, value)
    }
}

/// Offsets of the elements whose mask has its top bit set.
fn selected(mask: [u8; 32], width: usize, size: usize) -> impl Iterator<Item = usize> {
    (0..width)
        .step_by(size)
        .filter(move |at| mask[at + size - 1] & 0x80 != 0)
}

/// SDM Vol. 2, "VMASKMOV", "VPMASKMOV".
fn masked_load<M: Memory, const WIDTH: usize>(
    cpu: &mut Cpu,
    m: &mut M,
    u: &Uop,
) -> Result<(), Stop> {
    let size = usize::from(u.y);
    let mask = bytes_of(whole(cpu, u.vb()));
    let offset = cpu.reg(u.a).wrapping_add(u.imm as u64);
    let mut result = [0; 32];
    for at in selected(mask, WIDTH, size) {
        let offset = offset.wrapping_add(at as u64);
        let address = element_address(cpu, m, u, offset, size as u64, false)?;
        let value = load_element(cpu, m, address, size)?.to_le_bytes();
        result[at..at + size].copy_from_slice(&value[..size]);
    }
    set(cpu, u, from_bytes(result));
    Ok(())
}

fn masked_store<M: Memory>(cpu: &Cpu, m: &mut M, u: &Uop, width: usize) -> Result<(), Stop> {
    let size = usize::from(u.y);
    let mask = bytes_of(whole(cpu, u.vb()));
    let value = bytes_of(whole(cpu, u.vdst()));
    let offset = cpu.reg(u.a).wrapping_add(u.imm as u64);
    let mut addresses = [0; 8];
    // All checks before all stores.
    for at in selected(mask, width, size) {
        let offset = offset.wrapping_add(at as u64);
        let address = element_address(cpu, m, u, offset, size as u64, true)?;
        if cpu.checks_alignment() {
            // Byte by byte, since elements need not be aligned: the first, and the first on the last page.
            let last = address.wrapping_add(size as u64 - 1);
            m.check_write(address, 1)?;
            m.check_write((last & !0xfff).max(address), 1)?;
        } else {
            m.check_write(address, size as u64)?;
        }
        addresses[at / size] = address;
    }
    for at in selected(mask, width, size) {
        store_element(cpu, m, addresses[at / size], &value[at..at + size])?;
    }
    Ok(())
}

/// SDM Vol. 2, "VGATHERDPS/VGATHERQPS" and its siblings: elements in order from the lowest. A fault finds
/// those before it in place and their mask elements cleared, and everything else as it was: whether the
/// other mask elements are already reduced to their top bits is left open, and on AMD's processors they
/// are not.
fn gather<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop, width: usize) -> Result<(), Stop> {
    let flag = |bit: u8| u.y & bit != 0;
    let size = if flag(Uop::GATHER_WIDE_ELEMENT) { 8 } else { 4 };
    let index_size = if flag(Uop::GATHER_WIDE_INDEX) { 8 } else { 4 };
    let index_width = if flag(Uop::GATHER_INDEX_256) { 32 } else { 16 };
    let count = (width / size).min(index_width / index_size);
    let mask_register = usize::from(u.y & 0xf);

    let indices = bytes_of(whole(cpu, u.vb()));
    let mut result = bytes_of(whole(cpu, u.vdst()));
    let mut mask = bytes_of(whole(cpu, mask_register));
    let mut stopped = None;
    for at in selected(mask, count * size, size) {
        let n = at / size;
        let mut index = [0; 8];
        index[..index_size].copy_from_slice(&indices[n * index_size..][..index_size]);
        let index = u64::from_le_bytes(index);
        let index = if index_size == 4 {
            index as i32 as u64
        } else {
            index
        };
        let offset = cpu
            .reg(u.a)
            .wrapping_add(index << (u.x & Uop::SCALE))
            .wrapping_add(u.imm as u64);
        let offset = if flag(Uop::GATHER_NARROW_ADDRESS) {
            offset & 0xffff_ffff
        } else {
            offset
        };
        let loaded = element_address(cpu, m, u, offset, size as u64, false)
            .and_then(|address| load_element(cpu, m, address, size));
        match loaded {
            Ok(value) => {
                result[at..][..size].copy_from_slice(&value.to_le_bytes()[..size]);
            }
            Err(stop) => {
                mask[..at].fill(0);
                stopped = Some(stop);
                break;
            }
        }
    }
    match stopped {
        // An instruction that is only started again must find everything as it was.
        Some(stop) if !matches!(m.stop_reason(), StopReason::Fault(_)) => return Err(stop),
        Some(_) => {}
        None => {
            mask.fill(0);
            result[count * size..].fill(0);
        }
    }
    set(cpu, u, from_bytes(result));
    let [low, high] = from_bytes(mask);
    cpu.vectors[mask_register] = low;
    cpu.uppers[mask_register] = high;
    stopped.map_or(Ok(()), Err)
}
