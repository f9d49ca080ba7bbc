//! The lifter: any bytes, in any mode.

use crate::input::Input;
use ring3_cpu::{CpuKind, CpuModel};
use ring3_isa::{CodeMode, CodeSize, FeatureSet, Usability, lift_block};

const SIZES: [CodeSize; 3] = [CodeSize::Bits16, CodeSize::Bits32, CodeSize::Bits64];
const USABILITIES: [Usability; 3] = [
    Usability::Usable,
    Usability::NotAvailable,
    Usability::Undefined,
];

/// The first two bytes choose the mode, the rest is code.
pub(crate) fn enter(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (a, b) = (usize::from(input.byte()), usize::from(input.byte()));
    let mode = CodeMode {
        size: SIZES[a % 3],
        stack32: a & 4 != 0,
        real: a & 8 != 0 && a % 3 != 2,
        x87: USABILITIES[b % 3],
        mmx: USABILITIES[b / 3 % 3],
        wait: USABILITIES[b / 9 % 2],
        sse: USABILITIES[b / 27 % 3],
        avx: USABILITIES[b / 81 % 3],
        uintr: a & 16 != 0,
        features: if a & 32 != 0 {
            FeatureSet::default()
        } else {
            CpuModel::of(CpuKind::Spr, 1).features()
        },
    };
    let code = input.0;
    let limit = if a & 64 != 0 { 1 } else { usize::MAX };
    let Ok(block) = lift_block(code, mode, limit) else {
        assert!(code.len() < 15, "fifteen bytes hold an instruction");
        return;
    };
    assert!(!block.uops.is_empty() && !block.marks.is_empty());
    assert!(block.marks.len() <= limit);
    assert_eq!((block.marks[0].uop, block.marks[0].offset), (0, 0));
    for pair in block.marks.windows(2) {
        // NOP and fences have no micro-op.
        assert!(pair[0].uop <= pair[1].uop, "in order");
        assert!(
            pair[0].offset < pair[1].offset,
            "an instruction has a length"
        );
        assert!(pair[1].offset - pair[0].offset <= 15);
    }
    let last = block.uops.last().expect("it is not empty");
    assert!(last.op.info().ends_block, "{last:?} does not end a block");
    // The disassembler has its say in error messages.
    ring3_isa::disassemble(code, mode.size, 0x1000);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let code: [&[u8]; 5] = [
        b"\x48\x89\xe5\x48\x83\xec\x10\xf3\x48\xab\xc3",
        b"\xf0\x0f\xb1\x0f\xf2\x0f\x58\xc1\x66\x0f\x38\x00\xc1\x74\xfe",
        b"\xd9\xc0\xdf\x2d\x00\x00\x00\x00\x0f\xae\x07\x0f\xc7\x27",
        b"\xc5\xfd\x6f\x06\xc4\xe2\x7d\x58\xc1\x62\xf1\x7c\x48\x58\xc0",
        b"\x0f\x01\xf8\x0f\x22\xd8\x0f\x30\xcf\xea\x00\x00\x00\x00\x08\x00",
    ];
    (0..5)
        .flat_map(|size| {
            code.iter()
                .map(move |bytes| [&[size * 9, 0], *bytes].concat())
        })
        .collect()
}
