//! Integer vector operations, on XMM and on MMX registers.

use crate::host::{Instruction, State, run};
use crate::random::{self, Random};
use crate::{mmx, xmm};
use ring3_arithmetic::crc32;
use ring3_arithmetic::packed::{
    Packed3Op, PackedOp, compare_explicit, compare_implicit, packed, packed_mmx, packed3,
};
use std::collections::HashSet;

/// Where operand and result are.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Vectors,
    /// The second operand is RCX.
    FromRcx,
    /// The result is RAX.
    ToRax,
    /// The result is the status flags.
    ToFlags,
    /// The second operand is the immediate.
    Count,
    /// Like `Vectors`, with a second operand that is often a small number.
    Shift,
    MmVectors,
    MmFromRcx,
    MmToRax,
    MmCount,
    MmShift,
}

struct Case {
    op: PackedOp,
    form: Form,
    immediate: u8,
    instruction: Instruction,
}

const ROUNDS: u64 = 4_000;

/// A vector of random elements, or of elements around the limits of their type.
fn vector(random: &mut Random) -> u128 {
    let width = random.pick(&[8, 16, 32, 64]);
    let mask = u64::MAX >> (64 - width);
    (0..128 / width).fold(0, |v, _| {
        let element = match random.below(4) {
            0 => random.rough(),
            1 => (1 << (width - 1)) - 1 + random.below(3),
            2 => random.below(5).wrapping_sub(2),
            _ => random.u64(),
        };
        v << width | u128::from(element & mask)
    })
}

/// Two vectors, which often have elements in common.
fn vectors(random: &mut Random) -> (u128, u128) {
    let (a, b) = (vector(random), vector(random));
    if random.chance(3) {
        let keep = vector(random);
        (a, a & keep | b & !keep)
    } else {
        (a, b)
    }
}

fn check(cases: Vec<Case>) {
    for Case {
        op,
        form,
        immediate,
        instruction,
    } in cases
    {
        use Form::*;
        let seed = 0x9acced ^ (op as u64) << 24 ^ u64::from(immediate);
        let mut random = Random::new(seed);
        for round in 0..random::rounds(ROUNDS) {
            let (a, mut b) = vectors(&mut random);
            match form {
                Count | MmCount => b = immediate.into(),
                Shift | MmShift if !random.chance(4) => {
                    b = vector(&mut random) << 64 | u128::from(random.below(70));
                }
                FromRcx => b &= u128::from(u64::MAX),
                _ => {}
            }
            let before = State {
                a,
                b,
                rcx: b as u64,
                mxcsr: 0x1f80,
                ..State::default()
            };
            let after = run(instruction, before);
            let (expected, ours) = match form {
                Vectors | FromRcx | Count | Shift => (after.a, packed(op, a, b, immediate)),
                ToRax => (after.rax.into(), packed(op, a, b, immediate)),
                ToFlags => (after.rflags.into(), packed(op, a, b, immediate)),
                MmVectors | MmFromRcx | MmCount | MmShift => (
                    u128::from(after.a as u64),
                    packed_mmx(op, a as u64, b as u64, immediate).into(),
                ),
                MmToRax => (
                    after.rax.into(),
                    packed_mmx(op, a as u64, b as u64, immediate).into(),
                ),
            };
            assert_eq!(
                ours, expected,
                "{op:?} imm {immediate:#x} seed {seed:#x} round {round}\n a {a:032x} b {b:032x}\n \
                 host {expected:032x}\n ours {ours:032x}",
            );
        }
    }
}

/// Cases whose text is `mnemonic xmm0, xmm1`.
macro_rules! plain {
    ($form:ident: $($op:ident)*) => {
        vec![$(Case {
            op: PackedOp::$op,
            form: Form::$form,
            immediate: 0,
            instruction: xmm!(concat!(stringify!($op), " xmm0, xmm1")),
        },)*]
    };
}

/// Cases whose text is `mnemonic mm0, mm1`.
macro_rules! plain_mm {
    ($form:ident: $($op:ident)*) => {
        vec![$(Case {
            op: PackedOp::$op,
            form: Form::$form,
            immediate: 0,
            instruction: mmx!(mm concat!(stringify!($op), " mm0, mm1")),
        },)*]
    };
}

/// Cases with several immediates, which are appended to the text.
macro_rules! xmm_immediates {
    ($op:ident $form:ident $text:literal: $($immediate:literal)*) => {
        vec![$(Case {
            op: PackedOp::$op,
            form: Form::$form,
            immediate: $immediate,
            instruction: xmm!(concat!($text, ", ", $immediate)),
        },)*]
    };
}

/// The same on MMX registers.
macro_rules! mm_immediates {
    ($op:ident $form:ident $text:literal: $($immediate:literal)*) => {
        vec![$(Case {
            op: PackedOp::$op,
            form: Form::$form,
            immediate: $immediate,
            instruction: mmx!(mm concat!($text, ", ", $immediate)),
        },)*]
    };
}

/// One case with a text of its own.
macro_rules! special {
    ($op:ident $form:ident $immediate:literal $text:literal) => {
        Case {
            op: PackedOp::$op,
            form: Form::$form,
            immediate: $immediate,
            instruction: xmm!($text),
        }
    };
}

fn element_wise() -> Vec<Case> {
    plain!(Vectors:
        Paddb Paddw Paddd Paddq Paddsb Paddsw Paddusb Paddusw
        Psubb Psubw Psubd Psubq Psubsb Psubsw Psubusb Psubusw
        Pmullw Pmulhw Pmulhuw Pmulhrsw Pmulld Pmuludq Pmuldq Pmaddwd Pmaddubsw
        Pavgb Pavgw Psadbw Phminposuw
        Pminsb Pminsw Pminsd Pminub Pminuw Pminud Pmaxsb Pmaxsw Pmaxsd Pmaxub Pmaxuw Pmaxud
        Pcmpeqb Pcmpeqw Pcmpeqd Pcmpeqq Pcmpgtb Pcmpgtw Pcmpgtd Pcmpgtq
        Pabsb Pabsw Pabsd Psignb Psignw Psignd
        Phaddw Phaddd Phaddsw Phsubw Phsubd Phsubsw
        Pand Pandn Por Pxor)
}

fn shifts() -> Vec<Case> {
    let mut cases = plain!(Shift: Psllw Pslld Psllq Psrlw Psrld Psrlq Psraw Psrad);
    cases.extend(xmm_immediates!(Psllw Count "psllw xmm0": 0 1 15 16 255));
    cases.extend(xmm_immediates!(Pslld Count "pslld xmm0": 0 1 31 32 255));
    cases.extend(xmm_immediates!(Psllq Count "psllq xmm0": 0 1 63 64 255));
    cases.extend(xmm_immediates!(Psrlw Count "psrlw xmm0": 0 1 15 16 255));
    cases.extend(xmm_immediates!(Psrld Count "psrld xmm0": 0 1 31 32 255));
    cases.extend(xmm_immediates!(Psrlq Count "psrlq xmm0": 0 1 63 64 255));
    cases.extend(xmm_immediates!(Psraw Count "psraw xmm0": 0 1 15 16 255));
    cases.extend(xmm_immediates!(Psrad Count "psrad xmm0": 0 1 31 32 255));
    cases.extend(xmm_immediates!(Pslldq Vectors "pslldq xmm0": 0 1 7 8 15 16 17 255));
    cases.extend(xmm_immediates!(Psrldq Vectors "psrldq xmm0": 0 1 7 8 15 16 17 255));
    cases
        .extend(xmm_immediates!(Palignr Vectors "palignr xmm0, xmm1": 0 1 8 15 16 17 31 32 33 255));
    cases
}

fn arrangements() -> Vec<Case> {
    let mut cases = plain!(Vectors:
        Packsswb Packssdw Packuswb Packusdw
        Punpcklbw Punpcklwd Punpckldq Punpcklqdq Punpckhbw Punpckhwd Punpckhdq Punpckhqdq
        Pshufb Movddup Movsldup Movshdup Movss Movsd Movhlps
        Pmovsxbw Pmovsxbd Pmovsxbq Pmovsxwd Pmovsxwq Pmovsxdq
        Pmovzxbw Pmovzxbd Pmovzxbq Pmovzxwd Pmovzxwq Pmovzxdq);
    cases.extend(plain!(ToFlags: Ptest));
    cases.extend([
        special!(Pmovmskb ToRax 0 "pmovmskb eax, xmm1"),
        special!(Movmskps ToRax 0 "movmskps eax, xmm1"),
        special!(Movmskpd ToRax 0 "movmskpd eax, xmm1"),
        special!(Punpckldq Vectors 0 "unpcklps xmm0, xmm1"),
        special!(Punpckhdq Vectors 0 "unpckhps xmm0, xmm1"),
        special!(Punpcklqdq Vectors 0 "unpcklpd xmm0, xmm1"),
        special!(Punpckhqdq Vectors 0 "unpckhpd xmm0, xmm1"),
        special!(Punpcklqdq Vectors 0 "movlhps xmm0, xmm1"),
        special!(Pandn Vectors 0 "andnps xmm0, xmm1"),
        special!(Insertps Vectors 0x24 "insertps xmm0, [rdi + 16], 0x24"),
        special!(Pextrd ToRax 2 "extractps eax, xmm1, 2"),
    ]);
    cases.extend(xmm_immediates!(Pshufd Vectors "pshufd xmm0, xmm1": 0 0x1b 0xe4 0x93 0xff 0x2d));
    cases.extend(xmm_immediates!(Pshufhw Vectors "pshufhw xmm0, xmm1": 0 0x1b 0xe4 0x93 0xff 0x2d));
    cases.extend(xmm_immediates!(Pshuflw Vectors "pshuflw xmm0, xmm1": 0 0x1b 0xe4 0x93 0xff 0x2d));
    cases.extend(xmm_immediates!(Shufps Vectors "shufps xmm0, xmm1": 0 0x1b 0xe4 0x93 0xff 0x2d));
    cases.extend(xmm_immediates!(Shufpd Vectors "shufpd xmm0, xmm1": 0 1 2 3 0xfd));
    cases.extend(xmm_immediates!(Pblendw Vectors "pblendw xmm0, xmm1": 0 0x5a 0xff 0x81));
    cases.extend(xmm_immediates!(Blendps Vectors "blendps xmm0, xmm1": 0 5 0xa 0xff));
    cases.extend(xmm_immediates!(Blendpd Vectors "blendpd xmm0, xmm1": 0 1 2 0xff));
    cases.extend(xmm_immediates!(Mpsadbw Vectors "mpsadbw xmm0, xmm1": 0 1 2 3 4 5 6 7 0xff));
    cases.extend(xmm_immediates!(Insertps Vectors "insertps xmm0, xmm1": 0 0x4a 0x9d 0xf3 0xff));
    cases.extend(xmm_immediates!(Pinsrb FromRcx "pinsrb xmm0, ecx": 0 7 15 16 0xff));
    cases.extend(xmm_immediates!(Pinsrw FromRcx "pinsrw xmm0, ecx": 0 3 7 8 0xff));
    cases.extend(xmm_immediates!(Pinsrd FromRcx "pinsrd xmm0, ecx": 0 2 3 4 0xff));
    cases.extend(xmm_immediates!(Pinsrq FromRcx "pinsrq xmm0, rcx": 0 1 2 0xff));
    cases.extend(xmm_immediates!(Pextrb ToRax "pextrb eax, xmm1": 0 7 15 16 0xff));
    cases.extend(xmm_immediates!(Pextrw ToRax "pextrw eax, xmm1": 0 3 7 8 0xff));
    cases.extend(xmm_immediates!(Pextrd ToRax "pextrd eax, xmm1": 0 2 3 4 0xff));
    cases.extend(xmm_immediates!(Pextrq ToRax "pextrq rax, xmm1": 0 1 2 0xff));
    cases
}

/// Whether the host has what a group of cases needs; says so if not.
fn host_has(present: bool, what: &str) -> bool {
    if !present {
        eprintln!("no {what}: its operations are not compared");
    }
    present
}

fn ciphers() -> Vec<Case> {
    let mut cases = Vec::new();
    if host_has(is_x86_feature_detected!("pclmulqdq"), "PCLMULQDQ") {
        cases.extend(xmm_immediates!(Pclmulqdq Vectors "pclmulqdq xmm0, xmm1": 0 1 0x10 0x11 0xee));
    }
    if host_has(is_x86_feature_detected!("aes"), "AES") {
        cases.extend(plain!(Vectors: Aesenc Aesenclast Aesdec Aesdeclast Aesimc));
        cases.extend(
            xmm_immediates!(Aeskeygenassist Vectors "aeskeygenassist xmm0, xmm1": 0 1 0x36 0xff),
        );
    }
    if host_has(is_x86_feature_detected!("sha"), "SHA") {
        cases.extend(plain!(Vectors: Sha1nexte Sha1msg1 Sha1msg2 Sha256msg1 Sha256msg2));
        cases.extend(xmm_immediates!(Sha1rnds4 Vectors "sha1rnds4 xmm0, xmm1": 0 1 2 3 0xff));
    }
    if host_has(is_x86_feature_detected!("gfni"), "GFNI") {
        cases.extend(plain!(Vectors: Gf2p8mulb));
        cases
            .extend(xmm_immediates!(Gf2p8affineqb Vectors "gf2p8affineqb xmm0, xmm1": 0 0x5a 0xff));
        cases.extend(
            xmm_immediates!(Gf2p8affineinvqb Vectors "gf2p8affineinvqb xmm0, xmm1": 0 0x63 0xff),
        );
    }
    cases
}

/// Operations that only VEX encodings have.
fn of_vex_encodings() -> Vec<Case> {
    if !host_has(is_x86_feature_detected!("avx2"), "AVX2") {
        return Vec::new();
    }
    vec![
        special!(Psllvd Vectors 0 "vpsllvd xmm0, xmm0, xmm1"),
        special!(Psllvq Vectors 0 "vpsllvq xmm0, xmm0, xmm1"),
        special!(Psrlvd Vectors 0 "vpsrlvd xmm0, xmm0, xmm1"),
        special!(Psrlvq Vectors 0 "vpsrlvq xmm0, xmm0, xmm1"),
        special!(Psravd Vectors 0 "vpsravd xmm0, xmm0, xmm1"),
        special!(Psllvd Shift 0 "vpsllvd xmm0, xmm0, xmm1"),
        special!(Psllvq Shift 0 "vpsllvq xmm0, xmm0, xmm1"),
        special!(Psrlvd Shift 0 "vpsrlvd xmm0, xmm0, xmm1"),
        special!(Psrlvq Shift 0 "vpsrlvq xmm0, xmm0, xmm1"),
        special!(Psravd Shift 0 "vpsravd xmm0, xmm0, xmm1"),
        special!(Permilps Vectors 0 "vpermilps xmm0, xmm0, xmm1"),
        special!(Permilpd Vectors 0 "vpermilpd xmm0, xmm0, xmm1"),
        special!(Testps ToFlags 0 "vtestps xmm0, xmm1"),
        special!(Testpd ToFlags 0 "vtestpd xmm0, xmm1"),
    ]
}

fn mmx_forms() -> Vec<Case> {
    let mut cases = plain_mm!(MmVectors:
        Paddb Paddw Paddd Paddq Paddsb Paddsw Paddusb Paddusw
        Psubb Psubw Psubd Psubq Psubsb Psubsw Psubusb Psubusw
        Pmullw Pmulhw Pmulhuw Pmulhrsw Pmuludq Pmaddwd Pmaddubsw Pavgb Pavgw Psadbw
        Pminsw Pminub Pmaxsw Pmaxub
        Pcmpeqb Pcmpeqw Pcmpeqd Pcmpgtb Pcmpgtw Pcmpgtd
        Pabsb Pabsw Pabsd Psignb Psignw Psignd
        Phaddw Phaddd Phaddsw Phsubw Phsubd Phsubsw
        Pand Pandn Por Pxor Pshufb
        Packsswb Packssdw Packuswb
        Punpcklbw Punpcklwd Punpckldq Punpckhbw Punpckhwd Punpckhdq);
    cases.extend(plain_mm!(MmShift: Psllw Pslld Psllq Psrlw Psrld Psrlq Psraw Psrad));
    cases.extend(mm_immediates!(Psllw MmCount "psllw mm0": 0 1 15 16 255));
    cases.extend(mm_immediates!(Psrlq MmCount "psrlq mm0": 0 1 63 64 255));
    cases.extend(mm_immediates!(Psrad MmCount "psrad mm0": 0 1 31 32 255));
    cases.extend(mm_immediates!(Palignr MmVectors "palignr mm0, mm1": 0 1 7 8 9 15 16 17 255));
    cases.extend(mm_immediates!(Pshuflw MmVectors "pshufw mm0, mm1": 0 0x1b 0xe4 0x93 0xff));
    cases.extend(mm_immediates!(Pinsrw MmFromRcx "pinsrw mm0, ecx": 0 3 4 0xff));
    cases.extend(mm_immediates!(Pextrw MmToRax "pextrw eax, mm1": 0 3 4 0xff));
    cases.push(Case {
        op: PackedOp::Pmovmskb,
        form: Form::MmToRax,
        immediate: 0,
        instruction: mmx!(mm "pmovmskb eax, mm1"),
    });
    cases
}

#[test]
fn element_wise_operations_as_on_the_host() {
    check(element_wise());
}

#[test]
fn shifts_as_on_the_host() {
    check(shifts());
}

#[test]
fn arrangements_as_on_the_host() {
    check(arrangements());
}

#[test]
fn ciphers_as_on_the_host() {
    check(ciphers());
}

#[test]
fn vex_encodings_as_on_the_host() {
    check(of_vex_encodings());
}

#[test]
fn checksums_as_on_the_host() {
    let cases = [
        (1, xmm!("crc32 eax, cl")),
        (2, xmm!("crc32 eax, cx")),
        (4, xmm!("crc32 eax, ecx")),
        (8, xmm!("crc32 rax, rcx")),
    ];
    let mut random = Random::new(32);
    for (size, instruction) in cases {
        for _ in 0..random::rounds(ROUNDS) {
            let (rax, rcx) = (random.rough(), random.rough());
            let before = State {
                rax,
                rcx,
                mxcsr: 0x1f80,
                ..State::default()
            };
            let ours = crc32(rax as u32, rcx, size);
            assert_eq!(u64::from(ours), run(instruction, before).rax);
        }
    }
}

#[test]
fn mmx_forms_as_on_the_host() {
    check(mmx_forms());
}

#[test]
fn operations_with_three_operands_as_on_the_host() {
    // The third operand is XMM0, so that the destination is XMM1 here and is copied afterwards.
    let mut cases = vec![
        (
            Packed3Op::Pblendvb,
            xmm!("pblendvb xmm1, xmm2, xmm0", "movdqa xmm0, xmm1"),
        ),
        (
            Packed3Op::Blendvps,
            xmm!("blendvps xmm1, xmm2, xmm0", "movdqa xmm0, xmm1"),
        ),
        (
            Packed3Op::Blendvpd,
            xmm!("blendvpd xmm1, xmm2, xmm0", "movdqa xmm0, xmm1"),
        ),
    ];
    if host_has(is_x86_feature_detected!("sha"), "SHA") {
        cases.push((
            Packed3Op::Sha256rnds2,
            xmm!("sha256rnds2 xmm1, xmm2, xmm0", "movdqa xmm0, xmm1"),
        ));
        assert_eq!(cases.len(), Packed3Op::ALL.len());
    }
    for (op, instruction) in cases {
        let mut random = Random::new(op as u64);
        for _ in 0..random::rounds(ROUNDS) {
            let (a, b) = vectors(&mut random);
            let c = vector(&mut random);
            let before = State {
                a: c,
                b: a,
                c: b,
                mxcsr: 0x1f80,
                ..State::default()
            };
            assert_eq!(packed3(op, a, b, c), run(instruction, before).a, "{op:?}");
        }
    }
}

/// A string of few different characters, with a zero now and then.
fn text(random: &mut Random) -> u128 {
    let width = random.pick(&[8, 16]);
    (0..128 / width).fold(0, |v, _| {
        let character = match random.below(8) {
            0 if random.chance(3) => 0,
            1 => (1 << (width - 1)) | random.below(3),
            _ => 0x41 + random.below(4),
        };
        v << width | u128::from(character)
    })
}

fn length(random: &mut Random) -> u64 {
    match random.below(6) {
        0 => random.rough(),
        1 => random.below(20).wrapping_neg(),
        _ => random.below(20),
    }
}

macro_rules! all_controls {
    ($check:ident: $($control:literal)*) => {$($check!($control);)*};
}

macro_rules! every_control {
    ($check:ident) => {
        all_controls!($check:
            0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15
            16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
            32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47
            48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63
            64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79
            80 81 82 83 84 85 86 87 88 89 90 91 92 93 94 95
            96 97 98 99 100 101 102 103 104 105 106 107 108 109 110 111
            112 113 114 115 116 117 118 119 120 121 122 123 124 125 126 127)
    };
}

#[test]
fn string_comparisons_as_on_the_host() {
    let mut random = Random::new(0x57c);
    macro_rules! check {
        ($control:literal) => {
            let implicit_index = xmm!(concat!("pcmpistri xmm0, xmm1, ", $control));
            let implicit_mask = xmm!(concat!("pcmpistrm xmm0, xmm1, ", $control));
            let explicit_index = xmm!(concat!("pcmpestri xmm0, xmm1, ", $control));
            let explicit_mask = xmm!(concat!("pcmpestrm xmm0, xmm1, ", $control));
            // PCMPESTRI xmm0, xmm1 with REX.W.
            let explicit_wide = xmm!(concat!(
                ".byte 0x66, 0x48, 0x0f, 0x3a, 0x61, 0xc1, ",
                $control
            ));
            for _ in 0..random::rounds(300) {
                let (a, b) = if random.chance(8) {
                    vectors(&mut random)
                } else {
                    (text(&mut random), text(&mut random))
                };
                let (rax, rdx) = (length(&mut random), length(&mut random));
                let before = State {
                    a,
                    b,
                    rax,
                    rdx,
                    mxcsr: 0x1f80,
                    ..State::default()
                };
                let what = format!("{a:032x} {b:032x} {rax:x} {rdx:x} control {:#x}", $control);

                let ours = compare_implicit(a, b, $control);
                let host = run(implicit_index, before);
                assert_eq!(
                    (u64::from(ours.index()), ours.flags),
                    (host.rcx, host.rflags),
                    "{what}"
                );
                let host = run(implicit_mask, before);
                assert_eq!((ours.mask(), ours.flags), (host.a, host.rflags), "{what}");

                let ours =
                    compare_explicit(a, (rax as i32).into(), b, (rdx as i32).into(), $control);
                let host = run(explicit_index, before);
                assert_eq!(
                    (u64::from(ours.index()), ours.flags),
                    (host.rcx, host.rflags),
                    "{what}"
                );
                let host = run(explicit_mask, before);
                assert_eq!((ours.mask(), ours.flags), (host.a, host.rflags), "{what}");

                let ours = compare_explicit(a, rax as i64, b, rdx as i64, $control);
                let host = run(explicit_wide, before);
                assert_eq!(
                    (u64::from(ours.index()), ours.flags),
                    (host.rcx, host.rflags),
                    "{what}"
                );
            }
        };
    }
    every_control!(check);
}

/// No operation is left out above, but those that the host lacks.
#[test]
fn every_operation_is_compared() {
    let groups = [
        element_wise(),
        shifts(),
        arrangements(),
        ciphers(),
        of_vex_encodings(),
    ];
    let compared: HashSet<PackedOp> = groups.iter().flatten().map(|case| case.op).collect();
    let complete = is_x86_feature_detected!("pclmulqdq")
        && is_x86_feature_detected!("aes")
        && is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("gfni")
        && is_x86_feature_detected!("avx2");
    for op in PackedOp::ALL {
        let optional = *op as u16 >= PackedOp::Pclmulqdq as u16;
        assert!(compared.contains(op) || optional && !complete, "{op:?}");
        assert_eq!(PackedOp::from_index(*op as u16), Some(*op));
    }
}

/// Every immediate is accepted by every operation.
#[test]
fn arbitrary_immediates_are_survived() {
    let mut random = Random::new(6);
    for op in PackedOp::ALL {
        for immediate in 0..=255 {
            let (a, b) = vectors(&mut random);
            let low = packed_mmx(*op, a as u64, b as u64, immediate);
            let whole = packed(*op, a, b, immediate);
            if matches!(op, PackedOp::Pand | PackedOp::Paddw | PackedOp::Pcmpgtd) {
                assert_eq!(low, whole as u64);
            }
        }
    }
}
