//! FXSAVE, XSAVE and their kin. SDM Vol. 1, "Managing State Using the XSAVE Feature Set".
//!
//! Components: x87 (0), SSE (1), AVX (2), user interrupts (14, supervisor).

use crate::memory::{Memory, Stop};
use crate::routine::control::edx_eax;
use crate::routine::x87::forget_selectors;
use crate::state::Cpu;
use ring3_arch::Fault;
use ring3_arch::cr::{cr4, xcr0};
use ring3_arithmetic::Mxcsr;
use ring3_isa::Uop;

/// Offset of the XSAVE header.
const HEADER: u64 = 512;
/// Where the extended region starts.
const EXTENDED: u64 = 576;
/// XCOMP_BV bit 63: the compacted format.
const COMPACTED: u64 = 1 << 63;
/// Value of MXCSR after reset.
const MXCSR_INITIAL: u32 = 0x1f80;
/// The bits of MXCSR that exist, as FXSAVE reports them.
const MXCSR_MASK: u32 = 0xffff;

/// The size of an extended component, and whether compaction aligns it to 64 bytes.
pub(crate) const fn component(number: u32) -> (u64, bool) {
    match number {
        2 => (256, false),
        14 => (48, false),
        _ => (0, false),
    }
}

/// Offset of an extended component in the standard format.
const fn standard_offset(_number: u32) -> u64 {
    EXTENDED
}

/// Offset of component `number` in an area of the given format.
fn offset(format: u64, number: u32) -> u64 {
    if format & COMPACTED == 0 {
        return standard_offset(number);
    }
    let mut at = EXTENDED;
    for earlier in 2..number {
        if format >> earlier & 1 != 0 {
            let (size, aligned) = component(earlier);
            if aligned {
                at = at.next_multiple_of(64);
            }
            at += size;
        }
    }
    if component(number).1 {
        at.next_multiple_of(64)
    } else {
        at
    }
}

/// The components that are not in their initial state (XINUSE).
pub(crate) fn in_use(cpu: &Cpu) -> u64 {
    let mut bits = 0;
    if !cpu.x87.is_initial() {
        bits |= xcr0::X87;
    }
    // "XSAVE-Managed State": outside 64-bit mode only the first eight registers count.
    let count = xmm_count(cpu);
    if cpu.vectors[..count].iter().any(|&v| v != 0) {
        bits |= xcr0::SSE;
    }
    if cpu.uppers[..count].iter().any(|&v| v != 0) {
        bits |= xcr0::AVX;
    }
    if !cpu.uintr.is_initial() {
        bits |= xcr0::UINTR;
    }
    bits
}

fn check_alignment<M: Memory>(m: &mut M, address: u64, to: u64) -> Result<(), Stop> {
    if address.is_multiple_of(to) {
        Ok(())
    } else {
        Err(m.fault(Fault::GP0))
    }
}

fn store_bytes<M: Memory>(m: &mut M, address: u64, bytes: &[u8]) -> Result<(), Stop> {
    for (n, chunk) in bytes.chunks_exact(8).enumerate() {
        let value = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
        m.store::<8>(address.wrapping_add(8 * n as u64), value)?;
    }
    Ok(())
}

fn load_bytes<M: Memory, const N: usize>(m: &mut M, address: u64) -> Result<[u8; N], Stop> {
    let mut bytes = [0; N];
    for (n, chunk) in bytes.chunks_exact_mut(8).enumerate() {
        chunk.copy_from_slice(
            &m.load::<8>(address.wrapping_add(8 * n as u64))?
                .to_le_bytes(),
        );
    }
    Ok(bytes)
}

/// How many XMM registers are saved.
fn xmm_count(cpu: &Cpu) -> usize {
    if cpu.is_long_code() { 16 } else { 8 }
}

fn store_xmm<M: Memory>(cpu: &Cpu, m: &mut M, address: u64) -> Result<(), Stop> {
    for n in 0..xmm_count(cpu) {
        m.store128(address.wrapping_add(160 + 16 * n as u64), cpu.vectors[n])?;
    }
    Ok(())
}

fn load_xmm<M: Memory>(cpu: &Cpu, m: &mut M, address: u64) -> Result<[u128; 16], Stop> {
    let mut registers = [0; 16];
    registers.copy_from_slice(&cpu.vectors[..16]);
    for (n, register) in registers.iter_mut().enumerate().take(xmm_count(cpu)) {
        *register = m.load128(address.wrapping_add(160 + 16 * n as u64))?;
    }
    Ok(registers)
}

/// Component 2: the upper halves of the YMM registers.
fn store_uppers<M: Memory>(cpu: &Cpu, m: &mut M, address: u64) -> Result<(), Stop> {
    for n in 0..xmm_count(cpu) {
        m.store128(address.wrapping_add(16 * n as u64), cpu.uppers[n])?;
    }
    Ok(())
}

fn load_uppers<M: Memory>(cpu: &Cpu, m: &mut M, address: u64) -> Result<[u128; 16], Stop> {
    let mut registers = [0; 16];
    registers.copy_from_slice(&cpu.uppers[..16]);
    for (n, register) in registers.iter_mut().enumerate().take(xmm_count(cpu)) {
        *register = m.load128(address.wrapping_add(16 * n as u64))?;
    }
    Ok(registers)
}

/// The x87 part of the legacy region.
fn legacy_area(cpu: &Cpu, wide: bool) -> [u8; 160] {
    let mut area = [0; 512];
    cpu.x87.store_legacy_area(wide, &mut area);
    let mut image = [0; 160];
    image.copy_from_slice(&area[..160]);
    image
}

/// The counterpart of [`legacy_area`].
fn load_legacy_area(cpu: &mut Cpu, wide: bool, image: &[u8; 160]) {
    let mut area = [0; 512];
    area[..160].copy_from_slice(image);
    cpu.x87.load_legacy_area(wide, &area);
    forget_selectors(&mut cpu.x87);
}

/// The x87 part of the legacy region with MXCSR and its mask put in.
fn legacy_header(cpu: &Cpu, wide: bool) -> [u8; 160] {
    let mut image = legacy_area(cpu, wide);
    image[24..28].copy_from_slice(&cpu.mxcsr.bits().to_le_bytes());
    image[28..32].copy_from_slice(&MXCSR_MASK.to_le_bytes());
    image
}

/// FXSAVE to linear address `a`.
pub(crate) fn fxsave<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let address = cpu.reg(u.a);
    check_alignment(m, address, 16)?;
    m.check_write(address, 512)?;
    let image = legacy_header(cpu, u.y & 1 != 0);
    store_bytes(m, address, &image)?;
    if cpu.system.cr4 & cr4::OSFXSR != 0 {
        store_xmm(cpu, m, address)?;
    }
    Ok(())
}

fn valid_mxcsr<M: Memory>(m: &mut M, bits: u32) -> Result<Mxcsr, Stop> {
    Mxcsr::from_bits(bits)
        .ok_or(())
        .map_err(|()| m.fault(Fault::GP0))
}

/// FXRSTOR from linear address `a`.
pub(crate) fn fxrstor<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let address = cpu.reg(u.a);
    check_alignment(m, address, 16)?;
    let image: [u8; 160] = load_bytes(m, address)?;
    let bits = u32::from_le_bytes(image[24..28].try_into().expect("four bytes"));
    let with_sse = cpu.system.cr4 & cr4::OSFXSR != 0;
    let mxcsr = if with_sse {
        valid_mxcsr(m, bits)?
    } else {
        cpu.mxcsr
    };
    let registers = load_xmm(cpu, m, address)?;
    load_legacy_area(cpu, u.y & 1 != 0, &image);
    cpu.mxcsr = mxcsr;
    if with_sse {
        cpu.vectors[..16].copy_from_slice(&registers);
    }
    Ok(())
}

/// The checks that all of the XSAVE family begin with; gives the requested-feature bitmap.
fn requested<M: Memory>(cpu: &Cpu, m: &mut M, u: &Uop, supervisor: bool) -> Result<u64, Stop> {
    use ring3_arch::cr::cr0;
    if cpu.system.cr4 & cr4::OSXSAVE == 0 {
        return Err(m.fault(Fault::UD));
    }
    if cpu.system.cr0 & cr0::TS != 0 {
        return Err(m.fault(Fault::NM));
    }
    if supervisor {
        super::require_cpl0(cpu, m)?;
    }
    check_alignment(m, cpu.reg(u.a), 64)?;
    let enabled = cpu.system.xcr0 | if supervisor { cpu.system.xss } else { 0 };
    Ok(edx_eax(cpu) & enabled)
}

/// XSAVE, XSAVEOPT, XSAVEC, XSAVES. XSAVEOPT and XSAVES use the init optimisation; the modified
/// optimisation is allowed but never required, and is not used.
pub(crate) fn xsave<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let kind = u.y >> 4;
    let supervisor = kind == 3;
    let compact = kind >= 2;
    let rfbm = requested(cpu, m, u, supervisor)?;
    let address = cpu.reg(u.a);
    let wide = u.y & 1 != 0;

    let mut xinuse = in_use(cpu);
    // MXCSR counts as part of SSE for the compacted formats and XSAVEOPT's optimisation.
    if cpu.mxcsr.bits() != MXCSR_INITIAL && compact {
        xinuse |= xcr0::SSE;
    }
    let format = if compact { COMPACTED | rfbm } else { 0 };
    let saved = if kind == 0 { rfbm } else { rfbm & xinuse };
    let old_bv = if compact {
        0
    } else {
        m.load::<8>(address.wrapping_add(HEADER))?
    };

    // All checks before all stores.
    m.check_write(address, EXTENDED)?;
    if saved & xcr0::AVX != 0 {
        m.check_write(address.wrapping_add(offset(format, 2)), component(2).0)?;
    }
    if rfbm & xcr0::UINTR != 0 {
        m.check_write(address.wrapping_add(offset(format, 14)), component(14).0)?;
    }

    if saved & xcr0::X87 != 0 {
        let image = legacy_area(cpu, wide);
        store_bytes(m, address, &image[..24])?;
        store_bytes(m, address.wrapping_add(32), &image[32..160])?;
    }
    if saved & xcr0::SSE != 0 || (kind == 0 || kind == 1) && rfbm & (xcr0::SSE | xcr0::AVX) != 0 {
        m.store::<4>(address.wrapping_add(24), cpu.mxcsr.bits().into())?;
        m.store::<4>(address.wrapping_add(28), MXCSR_MASK.into())?;
    }
    if saved & xcr0::SSE != 0 {
        store_xmm(cpu, m, address)?;
    }
    if saved & xcr0::AVX != 0 {
        store_uppers(cpu, m, address.wrapping_add(offset(format, 2)))?;
    }
    if saved & xcr0::UINTR != 0 {
        let at = address.wrapping_add(offset(format, 14));
        for (n, word) in cpu.uintr.xsave_image().into_iter().enumerate() {
            m.store::<8>(at.wrapping_add(8 * n as u64), word)?;
        }
    }
    let bv = (old_bv & !rfbm) | (xinuse & rfbm);
    m.store::<8>(address.wrapping_add(HEADER), bv)?;
    if compact {
        m.store::<8>(address.wrapping_add(HEADER + 8), format)?;
    }
    if rfbm & xcr0::UINTR != 0 && supervisor {
        cpu.uintr.after_xsaves();
    }
    Ok(())
}

/// XRSTOR and XRSTORS.
pub(crate) fn xrstor<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let supervisor = u.y >> 4 == 3;
    let rfbm = requested(cpu, m, u, supervisor)?;
    let address = cpu.reg(u.a);
    let wide = u.y & 1 != 0;

    let mut header = [0; 8];
    for (n, word) in header.iter_mut().enumerate() {
        *word = m.load::<8>(address.wrapping_add(HEADER + 8 * n as u64))?;
    }
    let [xstate_bv, xcomp_bv, rest @ ..] = header;
    let compact = xcomp_bv & COMPACTED != 0;
    let allowed = cpu.system.xcr0 | if supervisor { cpu.system.xss } else { 0 };
    let valid = if compact {
        let format = xcomp_bv & !COMPACTED;
        format & !allowed == 0 && xstate_bv & !format == 0 && rest == [0; 6]
    } else {
        // The standard form checks bytes 23:8 of the header.
        !supervisor && xstate_bv & !cpu.system.xcr0 == 0 && xcomp_bv == 0 && rest[0] == 0
    };
    if !valid {
        return Err(m.fault(Fault::GP0));
    }
    let load = rfbm & xstate_bv;
    if load & xcr0::UINTR != 0 && !cpu.uintr.may_xrstors() {
        return Err(m.fault(Fault::GP0));
    }

    // Everything is read before anything changes.
    let image: [u8; 160] = load_bytes(m, address)?;
    let bits = u32::from_le_bytes(image[24..28].try_into().expect("four bytes"));
    let mxcsr_loaded = if compact {
        load & xcr0::SSE != 0
    } else {
        rfbm & (xcr0::SSE | xcr0::AVX) != 0
    };
    let mxcsr = if mxcsr_loaded {
        valid_mxcsr(m, bits)?
    } else {
        cpu.mxcsr
    };
    let registers = load_xmm(cpu, m, address)?;
    let uppers = if load & xcr0::AVX != 0 {
        load_uppers(cpu, m, address.wrapping_add(offset(xcomp_bv, 2)))?
    } else {
        [0; 16]
    };
    if load & xcr0::UINTR != 0 {
        let at = address.wrapping_add(offset(xcomp_bv, 14));
        let mut words = [0; 6];
        for (n, word) in words.iter_mut().enumerate() {
            *word = m.load::<8>(at.wrapping_add(8 * n as u64))?;
        }
        // A refusal has cleared UINV already, as the architecture says.
        if cpu.uintr.xrstors(words).is_err() {
            return Err(m.fault(Fault::GP0));
        }
    } else if rfbm & xcr0::UINTR != 0 {
        cpu.uintr.xrstors_initial();
    }

    if load & xcr0::X87 != 0 {
        load_legacy_area(cpu, wide, &image);
    } else if rfbm & xcr0::X87 != 0 {
        cpu.x87 = Default::default();
    }
    if load & xcr0::SSE != 0 {
        cpu.vectors[..16].copy_from_slice(&registers);
    } else if rfbm & xcr0::SSE != 0 {
        let count = xmm_count(cpu);
        cpu.vectors[..count].fill(0);
    }
    if load & xcr0::AVX != 0 {
        cpu.uppers[..16].copy_from_slice(&uppers);
    } else if rfbm & xcr0::AVX != 0 {
        let count = xmm_count(cpu);
        cpu.uppers[..count].fill(0);
    }
    cpu.mxcsr = if mxcsr_loaded {
        mxcsr
    } else if rfbm & xcr0::SSE != 0 && compact {
        valid_mxcsr(m, MXCSR_INITIAL)?
    } else {
        cpu.mxcsr
    };
    Ok(())
}
