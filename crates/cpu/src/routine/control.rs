//! Control, debug and model-specific registers, flags with privilege, segment bases, TLB
//! management. SDM Vol. 2, the pages of the mnemonics; Vol. 3, "Control Registers"; Vol. 4.

use crate::memory::{Memory, Stop};
use crate::state::{Cpu, Shadow};
use ring3_arch::cpuid::Feature;
use ring3_arch::cr::{cr0, cr3, cr4, dr, efer, xcr0};
use ring3_arch::segment::attribute;
use ring3_arch::{Fault, GuestPhys, GuestVirt, msr, rflags};
use ring3_clock::Ticks;
use ring3_isa::{Op, Reg, Uop};

// --- flags ------------------------------------------------------------------------------------

/// CLI, STI, POPF, STAC, CLAC.
pub(crate) fn flags<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    match u.op {
        Op::Cli | Op::Sti => {
            // In real mode IOPL does not count.
            if cpu.is_protected() && cpu.cpl() > cpu.iopl() {
                return Err(m.fault(Fault::GP0));
            }
            if u.op == Op::Cli {
                cpu.system_flags &= !rflags::IF;
            } else if !cpu.has_flag(rflags::IF) {
                cpu.system_flags |= rflags::IF;
                cpu.shadow = Shadow::Sti;
            }
        }
        Op::Stac | Op::Clac => {
            if cpu.cpl() > 0 {
                return Err(m.fault(Fault::UD));
            }
            if u.op == Op::Stac {
                cpu.system_flags |= rflags::AC;
            } else {
                cpu.system_flags &= !rflags::AC;
            }
            m.configure(cpu);
        }
        _ => pop_flags(cpu, m, u)?,
    }
    Ok(())
}

/// SDM Vol. 2, "POPF/POPFD/POPFQ".
fn pop_flags<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    use rflags::*;
    if cpu.is_virtual_8086() && cpu.iopl() < 3 {
        return Err(m.fault(Fault::GP0));
    }
    let mut mask = STATUS | TF | DF | NT;
    if u.y > 2 {
        mask |= AC | ID;
    }
    if !cpu.is_protected() || cpu.cpl() <= cpu.iopl() {
        mask |= IF;
    }
    if cpu.cpl() == 0 {
        mask |= IOPL;
    }
    let value = cpu.reg(u.a);
    let rsp = cpu.reg(u.b);
    let kept = cpu.rflags() & !mask & !RF;
    cpu.set_reg(Reg::Rsp, rsp);
    cpu.set_rflags(kept | (value & mask));
    m.configure(cpu);
    Ok(())
}

// --- segment bases ----------------------------------------------------------------------------

/// RDFSBASE and its siblings.
pub(crate) fn base<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    if !cpu.is_long_code() || cpu.system.cr4 & cr4::FSGSBASE == 0 {
        return Err(m.fault(Fault::UD));
    }
    let value = cpu.reg(u.a);
    if u.op == Op::ReadBase {
        cpu.set_reg(u.dst, value);
        return Ok(());
    }
    if !cpu.is_canonical(value) {
        return Err(m.fault(Fault::GP0));
    }
    let number = if u.dst == Reg::FsBase { 4 } else { 5 };
    set_base(cpu, number, value);
    Ok(())
}

fn set_base(cpu: &mut Cpu, number: usize, value: u64) {
    cpu.system.segments[number].base = value;
    cpu.set_reg(Reg::segment_base(number as u8), value);
}

/// SWAPGS.
pub(crate) fn swapgs<M: Memory>(cpu: &mut Cpu, m: &mut M) -> Result<(), Stop> {
    if !cpu.is_long_code() {
        return Err(m.fault(Fault::UD));
    }
    super::require_cpl0(cpu, m)?;
    let user = cpu.system.segments[5].base;
    let kernel = std::mem::replace(&mut cpu.system.kernel_gs_base, user);
    set_base(cpu, 5, kernel);
    Ok(())
}

// --- XCR0 -------------------------------------------------------------------------------------

/// XGETBV.
pub(crate) fn xgetbv<M: Memory>(cpu: &mut Cpu, m: &mut M) -> Result<(), Stop> {
    if cpu.system.cr4 & cr4::OSXSAVE == 0 {
        return Err(m.fault(Fault::UD));
    }
    let value = match cpu.reg(Reg::Rcx) as u32 {
        0 => cpu.system.xcr0,
        1 => cpu.system.xcr0 & super::save::in_use(cpu),
        _ => return Err(m.fault(Fault::GP0)),
    };
    cpu.set_reg(Reg::Rax, value & 0xffff_ffff);
    cpu.set_reg(Reg::Rdx, value >> 32);
    Ok(())
}

/// XSETBV.
pub(crate) fn xsetbv<M: Memory>(cpu: &mut Cpu, m: &mut M) -> Result<(), Stop> {
    if cpu.system.cr4 & cr4::OSXSAVE == 0 {
        return Err(m.fault(Fault::UD));
    }
    super::require_cpl0(cpu, m)?;
    let value = edx_eax(cpu);
    let supported = cpu.model.xcr0();
    let valid = cpu.reg(Reg::Rcx) as u32 == 0
        && value & !supported == 0
        && value & xcr0::X87 != 0
        && (value & xcr0::AVX == 0 || value & xcr0::SSE != 0);
    if !valid {
        return Err(m.fault(Fault::GP0));
    }
    cpu.system.xcr0 = value;
    // Whether AVX can be used may have changed.
    m.configure(cpu);
    Ok(())
}

pub(crate) fn edx_eax(cpu: &Cpu) -> u64 {
    cpu.reg(Reg::Rdx) << 32 | (cpu.reg(Reg::Rax) & 0xffff_ffff)
}

// --- control registers ------------------------------------------------------------------------

const CR0_DEFINED: u64 = cr0::PE
    | cr0::MP
    | cr0::EM
    | cr0::TS
    | cr0::ET
    | cr0::NE
    | cr0::WP
    | cr0::AM
    | cr0::NW
    | cr0::CD
    | cr0::PG;

/// MOV to and from control registers, CLTS, LMSW.
pub(crate) fn control_register<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    super::require_cpl0(cpu, m)?;
    match u.op {
        Op::Clts => {
            cpu.system.cr0 &= !cr0::TS;
            m.configure(cpu);
        }
        Op::Lmsw => {
            // LMSW can set PE but not clear it.
            let value = cpu.reg(u.a) & 0xf;
            let kept = cpu.system.cr0 & !0xe;
            return set_cr0(cpu, m, kept | value);
        }
        Op::MovFromCr => {
            let value = match u.y {
                0 => cpu.system.cr0,
                2 => cpu.system.cr2,
                3 => cpu.system.cr3,
                4 => cpu.system.cr4,
                8 => {
                    let index = cpu.index;
                    m.platform().cr8_read(index)
                }
                _ => return Err(m.fault(Fault::UD)),
            };
            cpu.set_reg(
                u.dst,
                if cpu.is_long_code() {
                    value
                } else {
                    value & 0xffff_ffff
                },
            );
        }
        _ => {
            let value = cpu.reg(u.a);
            let value = if cpu.is_long_code() {
                value
            } else {
                value & 0xffff_ffff
            };
            match u.y {
                0 => set_cr0(cpu, m, value)?,
                2 => cpu.system.cr2 = value,
                3 => set_cr3(cpu, m, value)?,
                4 => set_cr4(cpu, m, value)?,
                8 => {
                    if value > 15 {
                        return Err(m.fault(Fault::GP0));
                    }
                    let (index, now) = (cpu.index, m.now());
                    m.platform().cr8_write(index, now, value);
                }
                _ => return Err(m.fault(Fault::UD)),
            }
        }
    }
    Ok(())
}

fn set_cr0<M: Memory>(cpu: &mut Cpu, m: &mut M, value: u64) -> Result<(), Stop> {
    let old = cpu.system.cr0;
    let value = (value & (CR0_DEFINED | !0xffff_ffff)) | cr0::ET;
    let is = |bit: u64| value & bit != 0;
    let paging_on = is(cr0::PG) && old & cr0::PG == 0;
    let paging_off = !is(cr0::PG) && old & cr0::PG != 0;
    let long_enable = cpu.system.efer & efer::LME != 0;
    let cs = cpu.system.segments[1];
    let invalid = value >> 32 != 0
        || (is(cr0::PG) && !is(cr0::PE))
        || (is(cr0::NW) && !is(cr0::CD))
        || (paging_on
            && long_enable
            && (cpu.system.cr4 & cr4::PAE == 0 || cs.attributes & attribute::L != 0))
        || (paging_off && (cpu.is_long_code() || cpu.system.cr4 & cr4::PCIDE != 0));
    if invalid {
        return Err(m.fault(Fault::GP0));
    }
    if paging_on && !long_enable && cpu.system.cr4 & cr4::PAE != 0 {
        load_pdptes(cpu, m, cpu.system.cr3)?;
    }
    cpu.system.cr0 = value;
    if paging_on && long_enable {
        cpu.system.efer |= efer::LMA;
    }
    if paging_off {
        cpu.system.efer &= !efer::LMA;
    }
    if (old ^ value) & (cr0::PG | cr0::WP | cr0::PE) != 0 {
        m.flush_all();
    }
    if old & cr0::PE != 0 && !is(cr0::PE) {
        cpu.set_cpl(0);
    }
    cpu.refresh_bases();
    m.configure(cpu);
    Ok(())
}

/// The four PDPTEs of PAE paging are loaded with CR3. SDM Vol. 3, "PAE Paging".
fn load_pdptes<M: Memory>(cpu: &mut Cpu, m: &mut M, cr3: u64) -> Result<(), Stop> {
    const RESERVED: u64 = ring3_arch::paging::RESERVED_HIGH | 0xfff0_0000_0000_01e6;
    let mut pdpte = [0; 4];
    for (n, entry) in pdpte.iter_mut().enumerate() {
        *entry = m.read_physical(GuestPhys((cr3 & 0xffff_ffe0) + 8 * n as u64));
        if *entry & 1 != 0 && *entry & RESERVED != 0 {
            return Err(m.fault(Fault::GP0));
        }
    }
    cpu.system.pdpte = pdpte;
    Ok(())
}

fn uses_pae(cpu: &Cpu) -> bool {
    cpu.system.cr0 & cr0::PG != 0 && cpu.system.cr4 & cr4::PAE != 0 && !cpu.is_long_mode()
}

fn set_cr3<M: Memory>(cpu: &mut Cpu, m: &mut M, value: u64) -> Result<(), Stop> {
    let pcid_enabled = cpu.system.cr4 & cr4::PCIDE != 0;
    let keep = pcid_enabled && value & cr3::NO_FLUSH != 0;
    let value = if pcid_enabled {
        value & !cr3::NO_FLUSH
    } else {
        value
    };
    if cpu.is_long_mode() && value & !((1 << ring3_arch::paging::PHYSICAL_BITS) - 1) != 0 {
        return Err(m.fault(Fault::GP0));
    }
    if uses_pae(cpu) {
        load_pdptes(cpu, m, value)?;
    }
    cpu.system.cr3 = value;
    m.configure(cpu);
    if !keep {
        m.flush_pcid(cpu.pcid());
    }
    Ok(())
}

fn set_cr4<M: Memory>(cpu: &mut Cpu, m: &mut M, value: u64) -> Result<(), Stop> {
    let old = cpu.system.cr4;
    let is = |bit: u64| value & bit != 0;
    let long = cpu.is_long_mode();
    let invalid = value & !cpu.model.cr4() != 0
        || (long && !is(cr4::PAE))
        || (is(cr4::PCIDE) && old & cr4::PCIDE == 0 && (!long || cpu.system.cr3 & cr3::PCID != 0));
    if invalid {
        return Err(m.fault(Fault::GP0));
    }
    if !long
        && cpu.system.cr0 & cr0::PG != 0
        && is(cr4::PAE)
        && (old ^ value) & (cr4::PAE | cr4::PGE | cr4::PSE | cr4::SMEP) != 0
    {
        load_pdptes(cpu, m, cpu.system.cr3)?;
    }
    cpu.system.cr4 = value;
    let translation =
        cr4::PSE | cr4::PAE | cr4::PGE | cr4::PCIDE | cr4::SMEP | cr4::SMAP | cr4::PKE | cr4::LA57;
    if (old ^ value) & translation != 0 {
        m.flush_all();
    }
    m.configure(cpu);
    Ok(())
}

/// MOV to and from debug registers. SDM Vol. 3, "Debug Registers".
pub(crate) fn debug_register<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    let number = match u.y {
        4 | 5 if cpu.system.cr4 & cr4::DE != 0 => return Err(m.fault(Fault::UD)),
        4 | 5 => u.y + 2,
        0..=7 => u.y,
        _ => return Err(m.fault(Fault::UD)),
    };
    super::require_cpl0(cpu, m)?;
    if cpu.system.dr7 & dr::DR7_GD != 0 {
        cpu.system.dr7 &= !dr::DR7_GD;
        return Err(m.fault(Fault::debug(dr::DR6_BD)));
    }
    if u.op == Op::MovFromDr {
        let value = match number {
            6 => cpu.system.dr6,
            7 => cpu.system.dr7,
            n => cpu.system.dr[n as usize],
        };
        cpu.set_reg(
            u.dst,
            if cpu.is_long_code() {
                value
            } else {
                value & 0xffff_ffff
            },
        );
        return Ok(());
    }
    let value = cpu.reg(u.a);
    let value = if cpu.is_long_code() {
        value
    } else {
        value & 0xffff_ffff
    };
    match number {
        6 | 7 if value >> 32 != 0 => return Err(m.fault(Fault::GP0)),
        6 => cpu.system.dr6 = (value & 0xe00f) | dr::DR6_FIXED,
        7 => cpu.system.dr7 = (value & 0xffff_23ff) | dr::DR7_FIXED,
        // "MOV DRn instructions do not check that addresses [...] are in the linear-address limits."
        n => cpu.system.dr[n as usize] = value,
    }
    m.configure(cpu);
    Ok(())
}

/// INVLPG and INVPCID.
pub(crate) fn invalidate<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    super::require_cpl0(cpu, m)?;
    let address = cpu.reg(u.a);
    if u.op == Op::Invlpg {
        m.flush_page(GuestVirt(address));
        return Ok(());
    }
    let low = m.load::<8>(address)?;
    let linear = m.load::<8>(address.wrapping_add(8))?;
    let kind = if cpu.is_long_code() {
        cpu.reg(u.b)
    } else {
        cpu.reg(u.b) & 0xffff_ffff
    };
    let pcid_valid = cpu.system.cr4 & cr4::PCIDE != 0 || low & 0xfff == 0;
    match kind {
        0 | 1 if low & !0xfff != 0 || !pcid_valid => return Err(m.fault(Fault::GP0)),
        0 if !cpu.is_canonical(linear) => return Err(m.fault(Fault::GP0)),
        0 => m.flush_page(GuestVirt(linear)),
        1 => m.flush_pcid((low & 0xfff) as u16),
        2 | 3 => m.flush_all(),
        _ => return Err(m.fault(Fault::GP0)),
    }
    Ok(())
}

// --- time -------------------------------------------------------------------------------------

fn tsc(cpu: &Cpu, now: Ticks) -> u64 {
    now.0.wrapping_add(cpu.system.tsc_adjust)
}

/// RDTSC and RDTSCP.
pub(crate) fn rdtsc<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    if cpu.system.cr4 & cr4::TSD != 0 && cpu.cpl() > 0 {
        return Err(m.fault(Fault::GP0));
    }
    let value = tsc(cpu, m.now());
    cpu.set_reg(Reg::Rax, value & 0xffff_ffff);
    cpu.set_reg(Reg::Rdx, value >> 32);
    if u.op == Op::Rdtscp {
        let aux = cpu.system.tsc_aux;
        cpu.set_reg(Reg::Rcx, aux);
    }
    Ok(())
}

// --- model-specific registers -----------------------------------------------------------------

/// RDMSR and WRMSR.
pub(crate) fn msr<M: Memory>(cpu: &mut Cpu, m: &mut M, u: &Uop) -> Result<(), Stop> {
    super::require_cpl0(cpu, m)?;
    let index = cpu.reg(Reg::Rcx) as u32;
    if u.op == Op::Rdmsr {
        let Some(value) = read_msr(cpu, m, index) else {
            return Err(m.fault(Fault::GP0));
        };
        cpu.set_reg(Reg::Rax, value & 0xffff_ffff);
        cpu.set_reg(Reg::Rdx, value >> 32);
        return Ok(());
    }
    let value = edx_eax(cpu);
    if write_msr(cpu, m, index, value).is_none() {
        return Err(m.fault(Fault::GP0));
    }
    Ok(())
}

fn is_apic(index: u32) -> bool {
    matches!(
        index,
        msr::IA32_APIC_BASE | msr::IA32_TSC_DEADLINE | msr::X2APIC_FIRST..=msr::X2APIC_LAST
    )
}

fn mtrr_fixed(index: u32) -> Option<usize> {
    Some(match index {
        msr::IA32_MTRR_FIX64K_00000 => 0,
        msr::IA32_MTRR_FIX16K_80000 => 1,
        0x259 => 2,
        msr::IA32_MTRR_FIX4K_C0000..=0x26f => 3 + (index - msr::IA32_MTRR_FIX4K_C0000) as usize,
        _ => return None,
    })
}

fn read_msr<M: Memory>(cpu: &mut Cpu, m: &mut M, index: u32) -> Option<u64> {
    let features = cpu.model.features();
    if features.has(Feature::Uintr)
        && let Some(value) = cpu.uintr.read_msr(index)
    {
        return Some(value);
    }
    if is_apic(index) {
        let (number, now) = (cpu.index, m.now());
        return m.platform().apic_msr_read(number, now, index);
    }
    if let Some(n) = mtrr_fixed(index) {
        return Some(cpu.system.mtrr_fixed[n]);
    }
    let s = &cpu.system;
    Some(match index {
        msr::IA32_TSC => tsc(cpu, m.now()),
        msr::IA32_PLATFORM_ID => 0,
        // Locked, with nothing enabled: no VMX, no SGX.
        msr::IA32_FEATURE_CONTROL => 1,
        msr::IA32_TSC_ADJUST => s.tsc_adjust,
        msr::IA32_SPEC_CTRL => s.spec_ctrl,
        msr::IA32_BIOS_SIGN_ID => 0,
        msr::IA32_MTRRCAP => 0x508,
        msr::IA32_ARCH_CAPABILITIES => cpu.model.arch_capabilities(),
        msr::IA32_SYSENTER_CS..=msr::IA32_SYSENTER_EIP => {
            s.sysenter[(index - msr::IA32_SYSENTER_CS) as usize]
        }
        msr::IA32_MCG_CAP => 0,
        msr::IA32_MCG_STATUS => s.mcg_status,
        msr::IA32_MISC_ENABLE => s.misc_enable,
        msr::IA32_DEBUGCTL => s.debugctl,
        msr::IA32_MTRR_PHYSBASE0..=0x20f => {
            s.mtrr_variable[(index - msr::IA32_MTRR_PHYSBASE0) as usize]
        }
        msr::IA32_PAT => s.pat,
        msr::IA32_MTRR_DEF_TYPE => s.mtrr_def_type,
        msr::IA32_XSS if features.has(Feature::Xsaves) => s.xss,
        msr::IA32_UMWAIT_CONTROL if features.has(Feature::Waitpkg) => s.umwait_control,
        msr::IA32_EFER => s.efer,
        msr::IA32_STAR => s.star,
        msr::IA32_LSTAR => s.lstar,
        msr::IA32_CSTAR => s.cstar,
        msr::IA32_FMASK => s.fmask,
        msr::IA32_FS_BASE => s.segments[4].base,
        msr::IA32_GS_BASE => s.segments[5].base,
        msr::IA32_KERNEL_GS_BASE => s.kernel_gs_base,
        msr::IA32_TSC_AUX => s.tsc_aux,
        _ => return None,
    })
}

fn write_msr<M: Memory>(cpu: &mut Cpu, m: &mut M, index: u32, value: u64) -> Option<()> {
    let features = cpu.model.features();
    if features.has(Feature::Uintr)
        && let Some(result) = cpu.uintr.write_msr(index, value)
    {
        return result.ok();
    }
    if is_apic(index) {
        let (number, now) = (cpu.index, m.now());
        return m.platform().apic_msr_write(number, now, index, value);
    }
    if let Some(n) = mtrr_fixed(index) {
        let valid = value
            .to_le_bytes()
            .iter()
            .all(|&kind| valid_memory_type(kind));
        cpu.system.mtrr_fixed[n] = valid.then_some(value)?;
        return Some(());
    }
    let canonical = cpu.is_canonical(value);
    let small = value >> 32 == 0;
    let now = m.now();
    let s = &mut cpu.system;
    if matches!(index, msr::IA32_TSC | msr::IA32_TSC_ADJUST) {
        // Writing the TSC moves TSC_ADJUST along. SDM Vol. 3, "Time-Stamp Counter Adjustment".
        let offset = if index == msr::IA32_TSC {
            value.wrapping_sub(now.0)
        } else {
            value
        };
        s.tsc_adjust = offset;
        let number = cpu.index;
        m.platform().set_tsc_offset(number, now, offset);
        return Some(());
    }
    match index {
        msr::IA32_SPEC_CTRL if value & !cpu.model.spec_ctrl() == 0 => s.spec_ctrl = value,
        msr::IA32_PRED_CMD if value & !1 == 0 => {}
        msr::IA32_FLUSH_CMD if value & !1 == 0 => {}
        msr::IA32_BIOS_SIGN_ID => {}
        msr::IA32_BIOS_UPDT_TRIG => {}
        msr::IA32_SYSENTER_CS => s.sysenter[0] = value,
        msr::IA32_SYSENTER_ESP | msr::IA32_SYSENTER_EIP if canonical => {
            s.sysenter[(index - msr::IA32_SYSENTER_CS) as usize] = value;
        }
        msr::IA32_MCG_STATUS if value == 0 => s.mcg_status = value,
        msr::IA32_MISC_ENABLE => s.misc_enable = value,
        msr::IA32_DEBUGCTL if value & !0xffc3 == 0 => s.debugctl = value,
        msr::IA32_MTRR_PHYSBASE0..=0x20f => {
            let high = !((1 << ring3_arch::paging::PHYSICAL_BITS) - 1);
            let reserved = if index & 1 == 0 {
                high | 0xf00
            } else {
                high | 0x7ff
            };
            let kind_valid = index & 1 != 0 || valid_memory_type(value as u8);
            if value & reserved != 0 || !kind_valid {
                return None;
            }
            s.mtrr_variable[(index - msr::IA32_MTRR_PHYSBASE0) as usize] = value;
        }
        msr::IA32_PAT => {
            let valid = value
                .to_le_bytes()
                .iter()
                .all(|&k| valid_memory_type(k) || k == 7);
            s.pat = valid.then_some(value)?;
        }
        msr::IA32_MTRR_DEF_TYPE if value & !0xcff == 0 && valid_memory_type(value as u8) => {
            s.mtrr_def_type = value;
        }
        msr::IA32_XSS if features.has(Feature::Xsaves) => {
            if value & !cpu.model.xss() != 0 {
                return None;
            }
            cpu.system.xss = value;
        }
        msr::IA32_UMWAIT_CONTROL if features.has(Feature::Waitpkg) && small && value & 2 == 0 => {
            s.umwait_control = value;
        }
        msr::IA32_EFER => return set_efer(cpu, m, value),
        msr::IA32_STAR => s.star = value,
        msr::IA32_LSTAR if canonical => s.lstar = value,
        msr::IA32_CSTAR if canonical => s.cstar = value,
        msr::IA32_FMASK if small => s.fmask = value,
        msr::IA32_FS_BASE if canonical => set_base(cpu, 4, value),
        msr::IA32_GS_BASE if canonical => set_base(cpu, 5, value),
        msr::IA32_KERNEL_GS_BASE if canonical => s.kernel_gs_base = value,
        msr::IA32_TSC_AUX if small => s.tsc_aux = value,
        _ => return None,
    }
    Some(())
}

/// SDM Vol. 3, "Memory Type Range Registers": UC, WC, WT, WP, WB.
fn valid_memory_type(kind: u8) -> bool {
    matches!(kind, 0 | 1 | 4 | 5 | 6)
}

fn set_efer<M: Memory>(cpu: &mut Cpu, m: &mut M, value: u64) -> Option<()> {
    let old = cpu.system.efer;
    let defined = efer::SCE | efer::LME | efer::LMA | efer::NXE;
    if value & !defined != 0 {
        return None;
    }
    let paging = cpu.system.cr0 & cr0::PG != 0;
    if paging && (old ^ value) & efer::LME != 0 {
        return None;
    }
    // LMA is not written by software.
    let new = (value & !efer::LMA) | (old & efer::LMA);
    cpu.system.efer = new;
    if (old ^ new) & efer::NXE != 0 {
        m.flush_all();
    }
    m.configure(cpu);
    Some(())
}
