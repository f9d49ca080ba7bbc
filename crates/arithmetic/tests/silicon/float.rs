//! SSE floating point.

use crate::host::{Instruction, State, run};
use crate::random::{self, Random};
use crate::{mmx, xmm};
use ring3_arithmetic::Mxcsr;
use ring3_arithmetic::float::{FloatOp, FloatShape, FusedOp, FusedOrder, float, float3};
use std::collections::HashSet;

/// What an operation's operands look like, and where its result is.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Singles,
    Doubles,
    IntegersFromRcx,
    Integers,
    Halves,
    SinglesToRax,
    DoublesToRax,
    SinglesToMm,
    DoublesToMm,
    SinglesToFlags,
    DoublesToFlags,
}

const ROUNDS: u64 = 30_000;

/// An operation, and the instruction that it is the meaning of.
struct Case {
    op: FloatOp,
    form: Form,
    immediate: u8,
    instruction: Instruction,
}

fn check(cases: Vec<Case>) {
    for case in cases {
        check_case(case);
    }
}

fn check_case(case: Case) {
    let Case {
        op,
        form,
        immediate,
        instruction,
    } = case;
    let seed = 0x5eed ^ (op as u64) << 16 ^ u64::from(immediate);
    let mut random = Random::new(seed);
    for round in 0..random::rounds(ROUNDS) {
        let (mut a, mut b) = match form {
            Form::Doubles | Form::DoublesToRax | Form::DoublesToMm | Form::DoublesToFlags => {
                random.doubles()
            }
            Form::IntegersFromRcx => (random.u128(), random.rough().into()),
            Form::Integers => {
                let integers = (0..4).fold(0, |v, _| v << 32 | u128::from(random.rough() as u32));
                (random.u128(), integers)
            }
            Form::Halves => {
                let halves = (0..8).fold(0, |v, _| v << 16 | u128::from(random.f16()));
                (random.u128(), halves)
            }
            _ => random.singles(),
        };
        if random.chance(16) {
            std::mem::swap(&mut a, &mut b);
        }
        let mxcsr = random.mxcsr();
        let before = State {
            a,
            b,
            rcx: b as u64,
            mxcsr,
            ..State::default()
        };
        let after = run(instruction, before);
        let mut ours = Mxcsr::from_bits(mxcsr).unwrap();
        let result = float(op, a, b, immediate, &mut ours);
        let expected = match form {
            _ if after.faulted != 0 => None,
            Form::SinglesToRax | Form::DoublesToRax => Some(after.rax.into()),
            Form::SinglesToFlags | Form::DoublesToFlags => Some(after.rflags.into()),
            Form::SinglesToMm | Form::DoublesToMm => Some(u128::from(after.a as u64)),
            _ => Some(after.a),
        };
        assert!(
            result.ok() == expected && ours.bits() == after.mxcsr,
            "{op:?} imm {immediate:#x} seed {seed:#x} round {round}\n a {a:032x} b {b:032x} mxcsr {mxcsr:04x}\n \
             host {expected:x?} mxcsr {:04x}\n ours {result:x?} mxcsr {:04x}",
            after.mxcsr,
            ours.bits(),
        );
    }
}

/// The cases of operations with one instruction text each.
macro_rules! cases {
    ($($op:ident $form:ident $text:literal;)*) => {
        vec![$(Case { op: FloatOp::$op, form: Form::$form, immediate: 0, instruction: xmm!($text) },)*]
    };
}

/// The cases of one operation with several immediates, which are appended to its text.
macro_rules! immediates {
    ($op:ident $form:ident $text:literal: $($immediate:literal)*) => {
        vec![$(Case {
            op: FloatOp::$op,
            form: Form::$form,
            immediate: $immediate,
            instruction: xmm!(concat!($text, ", ", $immediate)),
        },)*]
    };
}

fn arithmetic() -> Vec<Case> {
    cases! {
        Addss Singles "addss xmm0, xmm1";
        Addsd Doubles "addsd xmm0, xmm1";
        Addps Singles "addps xmm0, xmm1";
        Addpd Doubles "addpd xmm0, xmm1";
        Subss Singles "subss xmm0, xmm1";
        Subsd Doubles "subsd xmm0, xmm1";
        Subps Singles "subps xmm0, xmm1";
        Subpd Doubles "subpd xmm0, xmm1";
        Mulss Singles "mulss xmm0, xmm1";
        Mulsd Doubles "mulsd xmm0, xmm1";
        Mulps Singles "mulps xmm0, xmm1";
        Mulpd Doubles "mulpd xmm0, xmm1";
        Divss Singles "divss xmm0, xmm1";
        Divsd Doubles "divsd xmm0, xmm1";
        Divps Singles "divps xmm0, xmm1";
        Divpd Doubles "divpd xmm0, xmm1";
        Minss Singles "minss xmm0, xmm1";
        Minsd Doubles "minsd xmm0, xmm1";
        Minps Singles "minps xmm0, xmm1";
        Minpd Doubles "minpd xmm0, xmm1";
        Maxss Singles "maxss xmm0, xmm1";
        Maxsd Doubles "maxsd xmm0, xmm1";
        Maxps Singles "maxps xmm0, xmm1";
        Maxpd Doubles "maxpd xmm0, xmm1";
        Sqrtss Singles "sqrtss xmm0, xmm1";
        Sqrtsd Doubles "sqrtsd xmm0, xmm1";
        Sqrtps Singles "sqrtps xmm0, xmm1";
        Sqrtpd Doubles "sqrtpd xmm0, xmm1";
    }
}

fn neighbours() -> Vec<Case> {
    cases! {
        Haddps Singles "haddps xmm0, xmm1";
        Haddpd Doubles "haddpd xmm0, xmm1";
        Hsubps Singles "hsubps xmm0, xmm1";
        Hsubpd Doubles "hsubpd xmm0, xmm1";
        Addsubps Singles "addsubps xmm0, xmm1";
        Addsubpd Doubles "addsubpd xmm0, xmm1";
    }
}

fn dot_products() -> Vec<Case> {
    let mut cases = immediates!(Dpps Singles "dpps xmm0, xmm1": 0xff 0x75 0x1a 0x0f 0xc3);
    cases.extend(immediates!(Dppd Doubles "dppd xmm0, xmm1": 0xff 0x12 0x21 0x33));
    cases
}

fn comparisons() -> Vec<Case> {
    let mut cases = cases! {
        Comiss SinglesToFlags "comiss xmm0, xmm1";
        Comisd DoublesToFlags "comisd xmm0, xmm1";
        Ucomiss SinglesToFlags "ucomiss xmm0, xmm1";
        Ucomisd DoublesToFlags "ucomisd xmm0, xmm1";
    };
    cases.extend(immediates!(Cmpss Singles "cmpss xmm0, xmm1": 0 1 2 3 4 5 6 7));
    cases.extend(immediates!(Cmpsd Doubles "cmpsd xmm0, xmm1": 0 1 2 3 4 5 6 7));
    cases.extend(immediates!(Cmpps Singles "cmpps xmm0, xmm1": 0 1 2 3 4 5 6 7));
    cases.extend(immediates!(Cmppd Doubles "cmppd xmm0, xmm1": 0 1 2 3 4 5 6 7));
    cases
}

fn vex_comparisons() -> Vec<Case> {
    if !is_x86_feature_detected!("avx") {
        eprintln!("no AVX: comparison predicates 8 to 31 are not compared");
        return Vec::new();
    }
    let mut cases = immediates!(Cmpsd Doubles "vcmpsd xmm0, xmm0, xmm1":
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
    cases.extend(immediates!(Cmpps Singles "vcmpps xmm0, xmm0, xmm1":
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31));
    cases
}

fn conversions() -> Vec<Case> {
    let mut cases = cases! {
        Cvtsi2ss32 IntegersFromRcx "cvtsi2ss xmm0, ecx";
        Cvtsi2ss64 IntegersFromRcx "cvtsi2ss xmm0, rcx";
        Cvtsi2sd32 IntegersFromRcx "cvtsi2sd xmm0, ecx";
        Cvtsi2sd64 IntegersFromRcx "cvtsi2sd xmm0, rcx";
        Cvtss2si32 SinglesToRax "cvtss2si eax, xmm1";
        Cvtss2si64 SinglesToRax "cvtss2si rax, xmm1";
        Cvtsd2si32 DoublesToRax "cvtsd2si eax, xmm1";
        Cvtsd2si64 DoublesToRax "cvtsd2si rax, xmm1";
        Cvttss2si32 SinglesToRax "cvttss2si eax, xmm1";
        Cvttss2si64 SinglesToRax "cvttss2si rax, xmm1";
        Cvttsd2si32 DoublesToRax "cvttsd2si eax, xmm1";
        Cvttsd2si64 DoublesToRax "cvttsd2si rax, xmm1";
        Cvtss2sd Singles "cvtss2sd xmm0, xmm1";
        Cvtsd2ss Doubles "cvtsd2ss xmm0, xmm1";
        Cvtps2pd Singles "cvtps2pd xmm0, xmm1";
        Cvtpd2ps Doubles "cvtpd2ps xmm0, xmm1";
        Cvtdq2ps Integers "cvtdq2ps xmm0, xmm1";
        Cvtdq2pd Integers "cvtdq2pd xmm0, xmm1";
        Cvtps2dq Singles "cvtps2dq xmm0, xmm1";
        Cvttps2dq Singles "cvttps2dq xmm0, xmm1";
        Cvtpd2dq Doubles "cvtpd2dq xmm0, xmm1";
        Cvttpd2dq Doubles "cvttpd2dq xmm0, xmm1";
    };
    let mut with_mm = |op, form, instruction| {
        cases.push(Case {
            op,
            form,
            immediate: 0,
            instruction,
        });
    };
    with_mm(
        FloatOp::Cvtpi2ps,
        Form::Integers,
        mmx!(xmm "cvtpi2ps xmm0, mm1"),
    );
    with_mm(
        FloatOp::Cvtpi2pd,
        Form::Integers,
        mmx!(xmm "cvtpi2pd xmm0, mm1"),
    );
    with_mm(
        FloatOp::Cvtps2pi,
        Form::SinglesToMm,
        mmx!(mm "cvtps2pi mm0, xmm1"),
    );
    with_mm(
        FloatOp::Cvttps2pi,
        Form::SinglesToMm,
        mmx!(mm "cvttps2pi mm0, xmm1"),
    );
    with_mm(
        FloatOp::Cvtpd2pi,
        Form::DoublesToMm,
        mmx!(mm "cvtpd2pi mm0, xmm1"),
    );
    with_mm(
        FloatOp::Cvttpd2pi,
        Form::DoublesToMm,
        mmx!(mm "cvttpd2pi mm0, xmm1"),
    );
    cases
}

fn integral_values() -> Vec<Case> {
    let mut cases = immediates!(Roundss Singles "roundss xmm0, xmm1": 0 1 2 3 4 9 12 0xf6);
    cases.extend(immediates!(Roundsd Doubles "roundsd xmm0, xmm1": 0 1 2 3 4 9 12 0xf6));
    cases.extend(immediates!(Roundps Singles "roundps xmm0, xmm1": 0 1 2 3 4 9 12 0xf6));
    cases.extend(immediates!(Roundpd Doubles "roundpd xmm0, xmm1": 0 1 2 3 4 9 12 0xf6));
    cases
}

fn half_precision() -> Vec<Case> {
    if !is_x86_feature_detected!("f16c") {
        eprintln!("no F16C: half precision is not compared");
        return Vec::new();
    }
    let mut cases = cases! { Vcvtph2ps Halves "vcvtph2ps xmm0, xmm1"; };
    cases.extend(immediates!(Vcvtps2ph Singles "vcvtps2ph xmm0, xmm1": 0 1 2 3 4 0xfb));
    cases
}

#[test]
fn addition_to_square_root_as_on_the_host() {
    check(arithmetic());
}

#[test]
fn neighbours_and_dot_products_as_on_the_host() {
    check(neighbours());
    check(dot_products());
}

#[test]
fn comparisons_as_on_the_host() {
    check(comparisons());
    check(vex_comparisons());
}

#[test]
fn conversions_as_on_the_host() {
    check(conversions());
    check(half_precision());
}

#[test]
fn integral_values_as_on_the_host() {
    check(integral_values());
}

fn check_fused(op: FusedOp, order: FusedOrder, shape: FloatShape, instruction: Instruction) {
    let seed = 0xf3a ^ (op as u64) << 16 ^ (order as u64) << 24 ^ (shape as u64) << 32;
    let mut random = Random::new(seed);
    for round in 0..random::rounds(ROUNDS / 4) {
        let single = matches!(shape, FloatShape::Ss | FloatShape::Ps);
        let ((a, b), (mut c, _)) = if single {
            (random.singles(), random.singles())
        } else {
            (random.doubles(), random.doubles())
        };
        if random.chance(3) {
            // An addend that nearly cancels the product.
            let mut ignored = Mxcsr::RESET;
            let product = if single {
                FloatOp::Mulps
            } else {
                FloatOp::Mulpd
            };
            c = float(product, a, b, 0, &mut ignored).unwrap()
                ^ u128::from(random.below(4))
                ^ 1 << 127
                ^ 1 << 63;
        }
        let operands = match order {
            FusedOrder::Order132 => [a, c, b],
            FusedOrder::Order213 => [b, a, c],
            FusedOrder::Order231 => [c, a, b],
        };
        let mxcsr = random.mxcsr();
        let before = State {
            a: operands[0],
            b: operands[1],
            c: operands[2],
            mxcsr,
            ..State::default()
        };
        let after = run(instruction, before);
        let expected = (after.faulted == 0).then_some(after.a);
        let mut ours = Mxcsr::from_bits(mxcsr).unwrap();
        let result = float3(op, order, shape, operands, &mut ours);
        assert!(
            result.ok() == expected && ours.bits() == after.mxcsr,
            "{op:?} {order:?} {shape:?} seed {seed:#x} round {round}\n {operands:032x?} mxcsr {mxcsr:04x}\n \
             host {expected:x?} mxcsr {:04x}\n ours {result:x?} mxcsr {:04x}",
            after.mxcsr,
            ours.bits(),
        );
    }
}

#[test]
fn fused_multiply_add_as_on_the_host() {
    if !is_x86_feature_detected!("fma") {
        eprintln!("no FMA: fused multiply-add was not compared");
        return;
    }
    macro_rules! orders {
        ($op:ident $shape:ident $name:literal $suffix:literal) => {
            check_fused(
                FusedOp::$op,
                FusedOrder::Order132,
                FloatShape::$shape,
                xmm!(concat!($name, "132", $suffix, " xmm0, xmm1, xmm2")),
            );
            check_fused(
                FusedOp::$op,
                FusedOrder::Order213,
                FloatShape::$shape,
                xmm!(concat!($name, "213", $suffix, " xmm0, xmm1, xmm2")),
            );
            check_fused(
                FusedOp::$op,
                FusedOrder::Order231,
                FloatShape::$shape,
                xmm!(concat!($name, "231", $suffix, " xmm0, xmm1, xmm2")),
            );
        };
    }
    macro_rules! shapes {
        ($($op:ident $name:literal),*) => {$(
            orders!($op Ss $name "ss");
            orders!($op Sd $name "sd");
            orders!($op Ps $name "ps");
            orders!($op Pd $name "pd");
        )*};
    }
    shapes!(Fmadd "vfmadd", Fmsub "vfmsub", Fnmadd "vfnmadd", Fnmsub "vfnmsub");
    orders!(Fmaddsub Ps "vfmaddsub" "ps");
    orders!(Fmaddsub Pd "vfmaddsub" "pd");
    orders!(Fmsubadd Ps "vfmsubadd" "ps");
    orders!(Fmsubadd Pd "vfmsubadd" "pd");
}

/// The relative error of the approximations over all normal operands of one binade (two for the
/// root), and agreement with the host where the manual fixes the result.
#[test]
fn reciprocals() {
    use ring3_arithmetic::float::{rcp_ss, rsqrt_ss};
    let bound = 1.5 / 4096.0;
    let mut worst = (0f64, 0f64);
    for bits in 0x3f80_0000u32..0x4080_0000 {
        let exact = 1.0 / f64::from(f32::from_bits(bits));
        let error = (f64::from(f32::from_bits(rcp_ss(bits))) / exact - 1.0).abs();
        worst.0 = worst.0.max(error);
        let exact = 1.0 / f64::from(f32::from_bits(bits)).sqrt();
        let error = (f64::from(f32::from_bits(rsqrt_ss(bits))) / exact - 1.0).abs();
        worst.1 = worst.1.max(error);
    }
    println!(
        "worst relative error: RCPSS {:e}, RSQRTSS {:e}",
        worst.0, worst.1
    );
    assert!(worst.0 < bound / 2.0 && worst.1 < bound / 2.0);

    let mut ignored = Mxcsr::RESET;
    let packed = 0x3f80_0000_4000_0000_4080_0000_4100_0000;
    let mut of = |op| float(op, packed, packed, 0, &mut ignored).unwrap();
    assert_eq!(
        of(FloatOp::Rcpps),
        0x3f80_0000_3f00_0000_3e80_0000_3e00_0000
    );
    assert_eq!(
        of(FloatOp::Rcpss),
        0x3f80_0000_4000_0000_4080_0000_3e00_0000
    );
    assert_eq!(of(FloatOp::Rsqrtps) >> 32, 0x3f80_0000_3f35_0800_3f00_0000);
    assert_eq!(of(FloatOp::Rsqrtss) >> 32, packed >> 32);

    let mut random = Random::new(7);
    let (rcp, rsqrt) = (xmm!("rcpss xmm0, xmm1"), xmm!("rsqrtss xmm0, xmm1"));
    for _ in 0..100_000 {
        let source = random.f32();
        let before = State {
            b: source.into(),
            mxcsr: 0x1f80,
            ..State::default()
        };
        for (instruction, ours) in [(rcp, rcp_ss(source)), (rsqrt, rsqrt_ss(source))] {
            let host = run(instruction, before).a as u32;
            let (x, y) = (
                f64::from(f32::from_bits(host)),
                f64::from(f32::from_bits(ours)),
            );
            let close = ((x - y) / y).abs() < bound * 2.0;
            // Results near the smallest normal number may or may not be flushed.
            let tiny = x.abs().max(y.abs()) < 1.2e-38;
            assert!(
                host == ours || close || tiny,
                "{source:08x}: host {host:08x}, ours {ours:08x}"
            );
        }
    }
}

/// No operation is left out above.
#[test]
fn every_operation_is_compared() {
    let groups = [
        arithmetic(),
        neighbours(),
        dot_products(),
        comparisons(),
        conversions(),
        integral_values(),
        half_precision(),
    ];
    let compared: HashSet<FloatOp> = groups.iter().flatten().map(|case| case.op).collect();
    // Approximations have their own test; the host lacks half precision if its group is empty.
    let apart = |op: &FloatOp| {
        use FloatOp::*;
        matches!(op, Rcpss | Rcpps | Rsqrtss | Rsqrtps)
            || matches!(op, Vcvtph2ps | Vcvtps2ph) && half_precision().is_empty()
    };
    for op in FloatOp::ALL {
        assert!(compared.contains(op) != apart(op), "{op:?}");
    }
}

/// Every operand, immediate and MXCSR is accepted by every operation.
#[test]
fn arbitrary_operands_are_survived() {
    let mut random = Random::new(8);
    for op in FloatOp::ALL {
        for immediate in 0..=255 {
            for _ in 0..8 {
                let mxcsr = random.u64() as u32 & 0xffff;
                let mut after = Mxcsr::from_bits(mxcsr).unwrap();
                let _ = float(*op, random.u128(), random.u128(), immediate, &mut after);
                // Only flags change.
                assert_eq!((after.bits() ^ mxcsr) & !Mxcsr::FLAGS, 0);
                assert_eq!(mxcsr & !after.bits(), 0);
            }
        }
        assert_eq!(FloatOp::from_index(*op as u16), Some(*op));
    }
    assert_eq!(Mxcsr::from_bits(0x1_0000), None);
}
