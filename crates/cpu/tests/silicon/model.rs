//! Executes one instruction by its micro-ops.

use crate::cases::Case;
use crate::flat::{Flat, describe};
use crate::host::{GS_BASE, USER_CODE16};
use crate::registers::{End, Registers, X87};
use ring3_arch::CpuIndex;
use ring3_arch::cpuid::{CpuidLeaf, Feature, Feature::*};
use ring3_arch::cr::{cr0, cr4, efer, xcr0};
use ring3_arch::segment::{Segment, SegmentName, attribute};
use ring3_arithmetic::Mxcsr;
use ring3_cpu::{Cpu, CpuModel, Flow, Memory, StopReason, adjust_stack_fault, execute};
use ring3_isa::{Block, CodeSize, FeatureSet, Mark, lift_block};
use std::sync::Arc;

/// A processor in the state in which a Linux program runs.
pub fn user_processor(features: FeatureSet, size: CodeSize) -> Cpu {
    let model = Arc::new(CpuModel::default().with_features(features));
    let mut cpu = Cpu::new(CpuIndex(0), model, 1);
    let system = &mut cpu.system;
    system.cr0 = cr0::PG | cr0::PE | cr0::NE | cr0::MP | cr0::WP | cr0::AM | cr0::ET;
    system.cr4 = cr4::PAE | cr4::PGE | cr4::OSFXSR | cr4::OSXMMEXCPT | cr4::FSGSBASE | cr4::OSXSAVE;
    system.xcr0 = xcr0::X87 | xcr0::SSE | xcr0::AVX;
    system.efer = efer::SCE | efer::LME | efer::LMA | efer::NXE;
    let flat = attribute::P | attribute::S | 3 << attribute::DPL_SHIFT | attribute::G;
    let data = attribute::WRITABLE_READABLE | attribute::ACCESSED;
    // Linux' selectors.
    let long = size == CodeSize::Bits64;
    let code = flat | data | attribute::CODE;
    let code = match size {
        CodeSize::Bits64 => (0x33, code | attribute::L),
        CodeSize::Bits32 => (0x23, code | attribute::DB),
        CodeSize::Bits16 => (USER_CODE16, code),
    };
    let data = (0x2b, flat | data | attribute::DB);
    let null = (0, 0);
    let segments = [
        (SegmentName::Cs, code),
        (SegmentName::Ss, data),
        (SegmentName::Ds, if long { null } else { data }),
        (SegmentName::Es, if long { null } else { data }),
        (SegmentName::Fs, null),
        (SegmentName::Gs, null),
    ];
    for (name, (selector, attributes)) in segments {
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

/// Executes the case's code by its micro-ops, on `registers`; `None` if one is not implemented.
pub fn run(
    cpu: &mut Cpu,
    memory: &mut Flat,
    case: &Case,
    registers: &mut Registers,
) -> Option<End> {
    cpu.regs[..16].copy_from_slice(&registers.general);
    cpu.vectors[..16].copy_from_slice(&registers.xmm);
    cpu.uppers[..16].copy_from_slice(&registers.uppers);
    cpu.set_rip(registers.rip);
    cpu.set_rflags(registers.rflags);
    cpu.flags = case.flags;
    assert_eq!(cpu.rflags(), registers.rflags);
    cpu.mxcsr = Mxcsr::from_bits(registers.mxcsr).expect("no reserved bits");
    let mut image = [0; 512];
    registers.x87.store(&mut image);
    cpu.x87.load_legacy_area(true, &image);
    let mut end = Some(End::Finished);
    let code = case.code();
    // One block, or two if the instruction wants to be the first of its own; a repeated string
    // instruction may stop at itself and go on.
    for round in 0.. {
        assert!(round < 1000, "the instruction never ends");
        let offset = cpu.rip().wrapping_sub(registers.rip);
        if offset > case.nops as u64 {
            break;
        }
        let offset = offset as usize;
        let mut bytes = code[offset..].to_vec();
        bytes.resize(32, 0x90);
        let instructions = case.nops - offset + 1;
        let block =
            lift_block(&bytes, cpu.code_mode(), instructions).expect("there are enough bytes");
        if let Err(stopped) = run_block(cpu, memory, &block) {
            end = stopped;
            break;
        }
    }
    registers.general.copy_from_slice(&cpu.regs[..16]);
    registers.xmm.copy_from_slice(&cpu.vectors[..16]);
    registers.uppers.copy_from_slice(&cpu.uppers[..16]);
    registers.rip = cpu.rip();
    registers.rflags = cpu.rflags();
    registers.mxcsr = cpu.mxcsr.bits();
    cpu.x87.store_legacy_area(true, &mut image);
    registers.x87 = X87::load(&image);
    end
}

/// # Errors
/// How it ended, if not at the block's end; RIP is then at the instruction.
fn run_block(cpu: &mut Cpu, memory: &mut Flat, block: &Block) -> Result<(), Option<End>> {
    for (number, uop) in block.uops.iter().enumerate() {
        match execute(cpu, memory, uop) {
            Ok(Flow::Continue) => {}
            Ok(_) => return Ok(()),
            Err(_) => {
                let StopReason::Fault(fault) = memory.stop_reason() else {
                    return Err(None);
                };
                let end = describe(adjust_stack_fault(cpu, uop, fault));
                let started = |mark: &&Mark| usize::from(mark.uop) <= number;
                let mark = block.marks.iter().rev().find(started);
                let offset = mark.expect("the first instruction starts at 0").offset;
                cpu.set_rip(cpu.rip() + u64::from(offset));
                return Err(Some(end));
            }
        }
    }
    panic!("a block ends");
}

/// What the processor under test has.
const TESTED: [Feature; 40] = [
    Fpu, Cx8, Cmov, Clflush, Mmx, Fxsr, Sse, Sse2, Tsc, Msr, Syscall, Lm, Nx, Sse3, Ssse3, Sse41,
    Sse42, Popcnt, Lzcnt, Bmi1, Bmi2, Movbe, Aes, Pclmulqdq, Sha, Gfni, Cmpxchg16b, Movdiri, Lahf,
    Prefetchw, Adx, Avx, Avx2, Fma, F16c, Vaes, Vpclmulqdq, Clflushopt, Clwb, Serialize,
];

/// The host's answer to CPUID about a feature.
fn host_has(feature: Feature) -> bool {
    let (leaf, subleaf, register, bit) = feature.position();
    if std::arch::x86_64::__cpuid(leaf & 0x8000_0000).eax < leaf {
        return false;
    }
    let answer = std::arch::x86_64::__cpuid_count(leaf, subleaf);
    let mut answer = CpuidLeaf {
        eax: answer.eax,
        ebx: answer.ebx,
        ecx: answer.ecx,
        edx: answer.edx,
    };
    *register.of(&mut answer) >> bit & 1 != 0
}

/// Whether the host has AVX and its operating system saves its state.
pub fn host_has_avx() -> bool {
    is_x86_feature_detected!("avx")
}

/// What the processor under test has and the host has too.
pub fn features() -> FeatureSet {
    let needs_avx = [Avx, Avx2, Fma, F16c, Vaes, Vpclmulqdq];
    TESTED
        .into_iter()
        .filter(|&feature| host_has(feature) && (host_has_avx() || !needs_avx.contains(&feature)))
        .fold(FeatureSet::EMPTY, FeatureSet::with)
}

/// What the processor under test has, whatever the host has.
pub fn tested() -> FeatureSet {
    FeatureSet::of(&TESTED)
}
