//! Every form of every instruction lifts.

use super::*;
use crate::forms::iced_x86::Register;
use crate::forms::{Address, Encoded, Form, Operands};
use ring3_arch::cpuid::Feature;

/// What x86-64-v3 consists of, and the extensions that have meanings here.
fn features() -> FeatureSet {
    use Feature::*;
    FeatureSet::of(&[
        Fpu, Tsc, Msr, Cx8, Cmov, Clflush, Mmx, Fxsr, Sse, Sse2, Sse3, Ssse3, Cmpxchg16b, Sse41,
        Sse42, Movbe, Popcnt, Xsave, Rdrand, Fsgsbase, Invpcid, Rdseed, Smap, Waitpkg, Rdpid,
        Uintr, Xsaveopt, Xsavec, Xsaves, Lahf, Prefetchw, Syscall, Rdtscp, Lm, Aes, Pclmulqdq, Sha,
        Gfni, Lzcnt, Bmi1, Movdiri, Avx, Avx2, Fma, F16c, Bmi2, Adx, Vaes, Vpclmulqdq, Clflushopt,
        Clwb, Serialize,
    ])
}

/// Picks the same each time.
struct Fixed {
    number: usize,
    drawn: usize,
    memory: bool,
    base: Register,
}

impl Operands for Fixed {
    fn below(&mut self, bound: usize) -> usize {
        // Not the same register each time: gathers want three.
        self.drawn += 1;
        (self.number + self.drawn) % bound
    }
    fn prefers_memory(&mut self) -> bool {
        self.memory
    }
    fn address(&mut self) -> Address {
        Address {
            displacement: 0x40,
            ..Address::at(self.base)
        }
    }
    fn immediate(&mut self, _bits: u32) -> u64 {
        0x05
    }
    fn target(&mut self) -> u64 {
        0x20
    }
}

fn base_of(size: CodeSize) -> Register {
    match size {
        CodeSize::Bits16 => Register::BX,
        CodeSize::Bits32 => Register::EBX,
        CodeSize::Bits64 => Register::RBX,
    }
}

fn mode_of(size: CodeSize) -> CodeMode {
    CodeMode {
        size,
        ..CodeMode::long(features())
    }
}

/// Both register and memory forms, each with several registers.
fn examples(form: Form, size: CodeSize) -> Vec<Encoded> {
    let mut examples = Vec::new();
    for memory in [false, true] {
        for number in 0..8 {
            let mut operands = Fixed {
                number,
                drawn: 0,
                memory,
                base: base_of(size),
            };
            examples.extend(form.encode(size, 0, &mut operands));
        }
    }
    examples
}

fn lift(encoded: &Encoded, mode: CodeMode) -> Block {
    let mut bytes = encoded.bytes.clone();
    bytes.resize(32, 0x90);
    lift_block(&bytes, mode, 1).expect("there are enough bytes")
}

/// Protected and real mode, with either width of the stack pointer.
fn modes(size: CodeSize) -> Vec<CodeMode> {
    let mode = mode_of(size);
    if size == CodeSize::Bits64 {
        return vec![mode];
    }
    let mut modes = Vec::new();
    for real in [false, true] {
        for stack32 in [false, true] {
            modes.push(CodeMode {
                real,
                stack32,
                ..mode
            });
        }
    }
    modes
}

#[test]
fn every_form_lifts() {
    let mut missing = Vec::new();
    let mut unmade = Vec::new();
    let mut count = 0;
    for size in [CodeSize::Bits16, CodeSize::Bits32, CodeSize::Bits64] {
        for form in Form::all(size, features()) {
            let examples = examples(form, size);
            if examples.is_empty() {
                unmade.push((size, form.code));
            }
            for (example, mode) in examples
                .iter()
                .flat_map(|example| modes(size).into_iter().map(move |mode| (example, mode)))
            {
                let block = lift(example, mode);
                assert_eq!(block.marks.len(), 1);
                assert_eq!(usize::from(block.length), example.bytes.len());
                count += 1;
                if block.uops.iter().any(|uop| uop.op == Op::Unimplemented) {
                    missing.push((size, form.code));
                    break;
                }
            }
        }
    }
    assert!(missing.is_empty(), "not lifted: {missing:#?}");
    assert!(unmade.is_empty(), "not made: {unmade:?}");
    assert!(count > 10_000, "{count}");
}

/// One instruction of 64-bit code.
fn lift64(bytes: &[u8]) -> Vec<Uop> {
    lift64_in(bytes, mode_of(CodeSize::Bits64))
}

fn lift64_in(bytes: &[u8], mode: CodeMode) -> Vec<Uop> {
    let mut bytes = bytes.to_vec();
    bytes.resize(32, 0x90);
    lift_block(&bytes, mode, 1)
        .expect("there are enough bytes")
        .uops
}

fn first_load(bytes: &[u8]) -> (Op, bool) {
    let uops = lift64(bytes);
    let load = uops
        .iter()
        .find(|uop| uop.op.info().loads)
        .expect("the operand is in memory");
    (load.op, load.x & Uop::ALIGNED != 0)
}

/// SDM Vol. 2: the operand columns of the mnemonics' pages.
#[test]
fn a_load_has_the_operands_size_and_alignment() {
    // ADDPS xmm0, [rax]
    assert_eq!(first_load(&[0x0f, 0x58, 0x00]), (Op::VLoad128, true));
    // MOVUPS xmm0, [rax]
    assert_eq!(first_load(&[0x0f, 0x10, 0x00]), (Op::VLoad128, false));
    // LDDQU xmm0, [rax]
    assert_eq!(first_load(&[0xf2, 0x0f, 0xf0, 0x00]), (Op::VLoad128, false));
    // PCMPISTRI xmm0, [rax], 0
    let pcmpistri = [0x66, 0x0f, 0x3a, 0x63, 0x00, 0x00];
    assert_eq!(first_load(&pcmpistri), (Op::VLoad128, false));
    // ADDSD xmm0, [rax]
    assert_eq!(first_load(&[0xf2, 0x0f, 0x58, 0x00]), (Op::VLoad64, false));
    // CVTPS2PD xmm0, [rax]
    assert_eq!(first_load(&[0x0f, 0x5a, 0x00]), (Op::VLoad64, false));
    // PMOVZXBQ xmm0, [rax]
    let pmovzxbq = [0x66, 0x0f, 0x38, 0x32, 0x00];
    assert_eq!(first_load(&pmovzxbq), (Op::VLoad16, false));
    // PINSRB xmm0, [rax], 0
    let pinsrb = [0x66, 0x0f, 0x3a, 0x20, 0x00, 0x00];
    assert_eq!(first_load(&pinsrb), (Op::Load8, false));
    // CVTPD2PI mm0, [rax]
    assert_eq!(first_load(&[0x66, 0x0f, 0x2d, 0x00]), (Op::VLoad128, true));
    // VADDPS xmm0, xmm0, [rax]
    assert_eq!(first_load(&[0xc5, 0xf8, 0x58, 0x00]), (Op::VLoad128, false));
    // VMOVAPS xmm0, [rax]
    assert_eq!(first_load(&[0xc5, 0xf8, 0x28, 0x00]), (Op::VLoad128Z, true));
    // VMOVUPS xmm0, [rax]
    assert_eq!(
        first_load(&[0xc5, 0xf8, 0x10, 0x00]),
        (Op::VLoad128Z, false)
    );
    let aligned_256 = |bytes: &[u8]| {
        let load = lift64(bytes)[0];
        (load.op, load.x & Uop::ALIGNED32 != 0)
    };
    // VMOVAPS ymm0, [rax]; VMOVUPS ymm0, [rax]; VADDPS ymm0, ymm0, [rax]; VMOVNTDQA ymm0, [rax]
    assert_eq!(aligned_256(&[0xc5, 0xfc, 0x28, 0x00]), (Op::VLoad256, true));
    assert_eq!(
        aligned_256(&[0xc5, 0xfc, 0x10, 0x00]),
        (Op::VLoad256, false)
    );
    assert_eq!(
        aligned_256(&[0xc5, 0xfc, 0x58, 0x00]),
        (Op::VLoad256, false)
    );
    let vmovntdqa = [0xc4, 0xe2, 0x7d, 0x2a, 0x00];
    assert_eq!(aligned_256(&vmovntdqa), (Op::VLoad256, true));
    // VPMOVZXBQ ymm0, [rax]
    let vpmovzxbq = [0xc4, 0xe2, 0x7d, 0x32, 0x00];
    assert_eq!(first_load(&vpmovzxbq), (Op::VLoad32, false));
}

/// SDM Vol. 2, "Exceptions"; Vol. 3, "Emulation of the MMX Instruction Set".
#[test]
fn unusable_registers_raise_before_anything_else() {
    let mode = mode_of(CodeSize::Bits64);
    let raised = |bytes: &[u8], mode: CodeMode| {
        let uops = lift64_in(bytes, mode);
        assert_eq!((uops.len(), uops[0].op), (1, Op::Raise), "{bytes:x?}");
        uops[0].y
    };
    let (undefined, not_available) = (6, 7);
    let addps = [0x0f, 0x58, 0x00];
    let paddb_mm = [0x0f, 0xfc, 0x00];
    let movq2dq = [0xf3, 0x0f, 0xd6, 0xc1];
    let stmxcsr = [0x0f, 0xae, 0x18];
    for bytes in [&addps[..], &movq2dq, &stmxcsr] {
        let without_sse = CodeMode {
            sse: Usability::Undefined,
            ..mode
        };
        assert_eq!(raised(bytes, without_sse), undefined);
        let switched = CodeMode {
            sse: Usability::NotAvailable,
            ..mode
        };
        assert_eq!(raised(bytes, switched), not_available);
    }
    let emulated = CodeMode {
        mmx: Usability::Undefined,
        ..mode
    };
    assert_eq!(raised(&paddb_mm, emulated), undefined);
    let switched = CodeMode {
        mmx: Usability::NotAvailable,
        ..mode
    };
    assert_eq!(raised(&paddb_mm, switched), not_available);
    // MMX registers do not need CR4.OSFXSR; MOVNTI needs nothing.
    let without_sse = CodeMode {
        sse: Usability::Undefined,
        ..mode
    };
    let movnti = [0x0f, 0xc3, 0x00];
    for bytes in [&paddb_mm[..], &movnti] {
        let uops = lift64_in(bytes, without_sse);
        assert!(uops.iter().all(|uop| uop.op != Op::Raise), "{bytes:x?}");
    }
}

/// Every instruction that names an XMM or MMX register is #NM after a task switch.
#[test]
fn every_form_with_vector_registers_asks_whether_they_can_be_used() {
    use crate::forms::iced_x86::OpCodeOperandKind as K;
    let is_vector = |kind: &K| {
        matches!(
            kind,
            K::xmm_reg
                | K::xmm_rm
                | K::xmm_or_mem
                | K::ymm_reg
                | K::ymm_rm
                | K::ymm_or_mem
                | K::mm_reg
                | K::mm_rm
                | K::mm_or_mem
        )
    };
    let switched = CodeMode {
        x87: Usability::NotAvailable,
        mmx: Usability::NotAvailable,
        sse: Usability::NotAvailable,
        avx: Usability::NotAvailable,
        ..mode_of(CodeSize::Bits64)
    };
    let mut count = 0;
    for form in Form::all(CodeSize::Bits64, features()) {
        if !form.operand_kinds().iter().any(is_vector) {
            continue;
        }
        for example in examples(form, CodeSize::Bits64) {
            let uops = lift(&example, switched).uops;
            assert_eq!((uops.len(), uops[0].op), (1, Op::Raise), "{:?}", form.code);
            count += 1;
        }
    }
    assert!(count > 3000, "{count}");
}

/// The order of SDM Vol. 3, "Priority Among Simultaneous Exceptions and Interrupts": a pending x87
/// exception comes before those of the operand, and the tags change after both.
#[test]
fn an_mmx_instruction_changes_the_tags_last() {
    // PADDB mm1, [rax]
    let ops: Vec<(Op, u8)> = lift64(&[0x0f, 0xfc, 0x08])
        .iter()
        .map(|uop| (uop.op, uop.y))
        .collect();
    assert_eq!(
        ops,
        [
            (Op::MmxEnter, 0),
            (Op::VLoad64, 0),
            (Op::MmxEnter, 1),
            (Op::MmxRead, 1),
            (Op::VPackedMmx, 0),
            (Op::MmxWrite, 1),
            (Op::Next, 0),
        ]
    );
}

/// A legacy encoding keeps the upper half of the registers that it writes, a VEX encoding never does.
/// SDM Vol. 1, "Legacy SSE Instruction Encodings and the YMM Registers".
#[test]
fn upper_halves_are_kept_by_legacy_encodings_alone() {
    use crate::Upper;
    let mut written = [0; 2];
    for form in Form::all(CodeSize::Bits64, features()) {
        for example in examples(form, CodeSize::Bits64) {
            let is_vex = vector::is_vex(&example.instruction);
            for uop in lift(&example, mode_of(CodeSize::Bits64)).uops {
                let info = uop.op.info();
                let architectural = info.writes_vector && (uop.dst as u8) < 16;
                if architectural {
                    assert_eq!(info.upper == Upper::Kept, !is_vex, "{:?}", form.code);
                    written[usize::from(is_vex)] += 1;
                }
            }
        }
    }
    assert!(written[0] > 3000 && written[1] > 3000, "{written:?}");
}

/// SDM Vol. 2, "AVX and SSE Instruction Exception Classification", and "VEX.vvvv and Three-Operand
/// Syntax".
#[test]
fn vex_encodings_are_undefined_where_the_manual_says_so() {
    let mode = mode_of(CodeSize::Bits64);
    let outcome = |bytes: &[u8], mode: CodeMode| {
        let uops = lift64_in(bytes, mode);
        (uops[0].op == Op::Raise).then_some(uops[0].y)
    };
    let (undefined, not_available) = (Some(6), Some(7));
    // VADDPS ymm0, ymm1, [rax]; ANDN eax, ecx, [rdx]
    let (vaddps, andn) = (
        &[0xc5, 0xf4, 0x58, 0x00][..],
        &[0xc4, 0xe2, 0x70, 0xf2, 0x02][..],
    );
    assert_eq!(outcome(vaddps, mode), None);
    assert_eq!(outcome(andn, mode), None);
    for (avx, expected) in [
        (Usability::Undefined, undefined),
        (Usability::NotAvailable, not_available),
    ] {
        let mode = CodeMode { avx, ..mode };
        assert_eq!(outcome(vaddps, mode), expected);
        // General registers need no state to be enabled.
        assert_eq!(outcome(andn, mode), None);
    }
    // CR0.EM and CR4.OSFXSR do not concern VEX encodings.
    let without_sse = CodeMode {
        sse: Usability::Undefined,
        ..mode
    };
    assert_eq!(outcome(vaddps, without_sse), None);
    let real = CodeMode {
        size: CodeSize::Bits16,
        real: true,
        ..mode
    };
    assert_eq!(outcome(&[0xc5, 0xf4, 0x58, 0xc2], real), undefined);
    assert_eq!(outcome(&[0xc4, 0xe2, 0x70, 0xf2, 0xc2], real), undefined);
    for (what, bytes) in [
        ("66 before VEX", &[0x66, 0xc5, 0xf4, 0x58, 0x00][..]),
        ("F3 before VEX", &[0xf3, 0xc5, 0xf4, 0x58, 0x00]),
        ("LOCK before VEX", &[0xf0, 0xc5, 0xf4, 0x58, 0x00]),
        ("REX before VEX", &[0x48, 0xc5, 0xf4, 0x58, 0x00]),
        ("VMOVUPS with vvvv", &[0xc5, 0xf4, 0x10, 0x00]),
        ("VMOVD with L", &[0xc5, 0xfd, 0x6e, 0xc0]),
        ("VMASKMOVDQU with L", &[0xc5, 0xfd, 0xf7, 0xc1]),
        ("VPERMQ without W", &[0xc4, 0xe3, 0x7d, 0x00, 0xc1, 0x00]),
        (
            "VPERM2F128 without L",
            &[0xc4, 0xe3, 0x71, 0x06, 0xc2, 0x00],
        ),
        ("VBROADCASTSD without L", &[0xc4, 0xe2, 0x79, 0x19, 0x00]),
        ("ANDN with L", &[0xc4, 0xe2, 0x74, 0xf2, 0x02]),
        // VPGATHERDD xmm1, [rax+xmm1], xmm2
        (
            "index is destination",
            &[0xc4, 0xe2, 0x69, 0x90, 0x0c, 0x08],
        ),
        // VPGATHERDD xmm2, [rax+xmm1], xmm2
        ("mask is destination", &[0xc4, 0xe2, 0x69, 0x90, 0x14, 0x08]),
        // VPGATHERDD xmm2, [rax+xmm1], xmm1
        ("mask is index", &[0xc4, 0xe2, 0x71, 0x90, 0x14, 0x08]),
    ] {
        assert_eq!(outcome(bytes, mode), undefined, "{what}");
    }
}

/// What is not advertised is #UD, or what the bytes meant before. SDM Vol. 2, "LZCNT", "TZCNT".
#[test]
fn without_its_feature_an_instruction_is_another_or_none() {
    use Feature::*;
    let extensions = [
        Avx, Avx2, Fma, F16c, Bmi1, Bmi2, Lzcnt, Adx, Aes, Pclmulqdq, Vaes, Vpclmulqdq, Sha, Gfni,
        Clflushopt, Clwb, Serialize, Movbe, Popcnt,
    ];
    let mut count = 0;
    for feature in extensions {
        let less = features().without(feature);
        let mode = CodeMode::long(less);
        for form in Form::all(CodeSize::Bits64, features()) {
            if less.allows_code(form.code) {
                continue;
            }
            for example in examples(form, CodeSize::Bits64) {
                let uops = lift(&example, mode).uops;
                assert_eq!((uops[0].op, uops[0].y), (Op::Raise, 6), "{:?}", form.code);
                count += 1;
            }
        }
    }
    assert!(count > 5000, "{count}");
    let first =
        |bytes: &[u8], features: FeatureSet| lift64_in(bytes, CodeMode::long(features))[0].op;
    let (lzcnt, tzcnt) = ([0xf3, 0x0f, 0xbd, 0xc1], [0xf3, 0x0f, 0xbc, 0xc1]);
    assert_eq!(first(&lzcnt, features()), Op::Lzcnt32);
    assert_eq!(first(&tzcnt, features()), Op::Tzcnt32);
    assert_eq!(first(&lzcnt, features().without(Lzcnt)), Op::Bsr32);
    assert_eq!(first(&tzcnt, features().without(Bmi1)), Op::Bsf32);
}
