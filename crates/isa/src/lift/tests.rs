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
