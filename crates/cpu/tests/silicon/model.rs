//! Executes one instruction by its micro-ops.

use crate::flat::{Flat, describe};
use crate::host::GS_BASE;
use crate::registers::{End, Registers};
use ring3_arch::cr::{cr0, cr4, efer};
use ring3_arch::segment::{Segment, SegmentName, attribute};
use ring3_arch::{CpuIndex, cpuid::Feature};
use ring3_arithmetic::Mxcsr;
use ring3_cpu::flags::StatusFlags;
use ring3_cpu::{Cpu, CpuModel, Flow, StopReason, adjust_stack_fault, execute};
use ring3_isa::{FeatureSet, lift_block};
use std::sync::Arc;

/// A processor in the state in which a 64-bit Linux program runs.
pub fn user_processor(features: FeatureSet) -> Cpu {
    let model = Arc::new(CpuModel::default().with_features(features));
    let mut cpu = Cpu::new(CpuIndex(0), model, 1);
    let system = &mut cpu.system;
    system.cr0 = cr0::PG | cr0::PE | cr0::NE | cr0::MP | cr0::WP | cr0::AM | cr0::ET;
    system.cr4 = cr4::PAE | cr4::PGE | cr4::OSFXSR | cr4::OSXMMEXCPT | cr4::FSGSBASE;
    system.efer = efer::SCE | efer::LME | efer::LMA | efer::NXE;
    let flat = attribute::P | attribute::S | 3 << attribute::DPL_SHIFT | attribute::G;
    let data = attribute::WRITABLE_READABLE | attribute::ACCESSED;
    // Linux' selectors: user code 0x33, user stack 0x2b, the others null.
    let segments = [
        (
            SegmentName::Cs,
            0x33,
            flat | data | attribute::CODE | attribute::L,
        ),
        (SegmentName::Ss, 0x2b, flat | data | attribute::DB),
        (SegmentName::Ds, 0, 0),
        (SegmentName::Es, 0, 0),
        (SegmentName::Fs, 0, 0),
        (SegmentName::Gs, 0, 0),
    ];
    for (name, selector, attributes) in segments {
        let base = if name == SegmentName::Gs { GS_BASE } else { 0 };
        let segment = Segment {
            selector,
            base,
            limit: u32::MAX,
            attributes,
        };
        cpu.set_segment(name as u8, segment);
    }
    cpu
}

/// Executes `code` at the RIP in `registers`, whose status flags are `flags`; `None` if a micro-op is not implemented.
pub fn run(
    cpu: &mut Cpu,
    memory: &mut Flat,
    code: &[u8],
    flags: StatusFlags,
    registers: &mut Registers,
) -> Option<End> {
    let mut bytes = code.to_vec();
    bytes.resize(16, 0x90);
    let block = lift_block(&bytes, cpu.code_mode(), 1).expect("there are enough bytes");
    assert_eq!(usize::from(block.length), code.len(), "one instruction");
    let start = registers.rip;
    cpu.regs[..16].copy_from_slice(&registers.general);
    cpu.vectors[..16].copy_from_slice(&registers.xmm);
    cpu.set_rip(start);
    cpu.set_rflags(registers.rflags);
    cpu.flags = flags;
    assert_eq!(cpu.rflags(), registers.rflags);
    cpu.mxcsr = Mxcsr::from_bits(registers.mxcsr).expect("no reserved bits");
    let mut end = End::Finished;
    // A repeated string instruction may stop at itself and go on.
    'rounds: for round in 0.. {
        assert!(round < 1000, "the instruction never ends");
        let mut finished = false;
        for uop in &block.uops {
            match execute(cpu, memory, uop) {
                Ok(Flow::Continue) => {}
                Ok(_) => {
                    finished = true;
                    break;
                }
                Err(_) => {
                    let StopReason::Fault(fault) = ring3_cpu::Memory::stop_reason(memory) else {
                        return None;
                    };
                    end = describe(adjust_stack_fault(cpu, uop, fault));
                    break 'rounds;
                }
            }
        }
        assert!(finished, "a block ends");
        if cpu.rip() != start {
            break;
        }
    }
    registers.general.copy_from_slice(&cpu.regs[..16]);
    registers.xmm.copy_from_slice(&cpu.vectors[..16]);
    registers.rip = cpu.rip();
    registers.rflags = cpu.rflags();
    registers.mxcsr = cpu.mxcsr.bits();
    Some(end)
}

/// What the processor under test has and the host has too.
pub fn features() -> FeatureSet {
    use Feature::*;
    let always = [
        Fpu, Cx8, Cmov, Clflush, Mmx, Fxsr, Sse, Sse2, Tsc, Msr, Syscall, Lm, Nx,
    ];
    let mut set = FeatureSet::of(&always);
    macro_rules! if_host_has {
        ($($name:tt $feature:ident,)*) => {
            $(if is_x86_feature_detected!($name) { set = set.with($feature); })*
        };
    }
    if_host_has! {
        "sse3" Sse3, "ssse3" Ssse3, "sse4.1" Sse41, "sse4.2" Sse42, "popcnt" Popcnt, "lzcnt" Lzcnt,
        "bmi1" Bmi1, "movbe" Movbe, "aes" Aes, "pclmulqdq" Pclmulqdq, "sha" Sha,
        "gfni" Gfni, "cmpxchg16b" Cmpxchg16b,
    }
    // LAHF and CLFLUSHOPT have no name here; every x86-64 processor since 2015 has them.
    set.with(Lahf).with(Prefetchw)
}
