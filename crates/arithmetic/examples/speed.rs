//! Prints how long operations take, in nanoseconds: `cargo run --release --example speed`.
//!
//! Each figure is the shortest of several runs over operands that the compiler cannot see, one
//! operation depending on the one before.

use ring3_arithmetic::Mxcsr;
use ring3_arithmetic::float::{self, FloatOp};
use ring3_arithmetic::packed::{PackedOp, packed};
use ring3_arithmetic::x87::{X87, X87Op};
use std::hint::black_box;
use std::time::Instant;

const OPERATIONS: u32 = 200_000;

fn measure(name: &str, mut operation: impl FnMut()) {
    let best = (0..7)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..OPERATIONS {
                operation();
            }
            start.elapsed()
        })
        .min()
        .unwrap_or_default();
    println!(
        "{name:32} {:7.2} ns",
        best.as_secs_f64() * 1e9 / f64::from(OPERATIONS)
    );
}

/// An operation on doubles whose result stays in a comfortable range.
fn scalar(
    name: &str,
    mxcsr: u32,
    operation: fn(u64, u64, &mut Mxcsr) -> Result<u64, ring3_arithmetic::SimdException>,
    by: f64,
) {
    let mut mxcsr = Mxcsr::from_bits(mxcsr).unwrap_or_default();
    let initial = mxcsr;
    let by = black_box(by.to_bits());
    let mut value = 1.37f64.to_bits();
    let mut left = 0;
    measure(name, || {
        if left == 0 {
            (value, left) = (black_box(1.37f64.to_bits()), 64);
        }
        left -= 1;
        mxcsr = initial;
        value = operation(value, by, &mut mxcsr).unwrap_or(0);
    });
    black_box(value);
}

fn main() {
    println!("scalar, PE already set");
    scalar("add_sd", 0x1fa0, float::add_sd, 0.001);
    scalar("mul_sd", 0x1fa0, float::mul_sd, 1.01);
    scalar("div_sd", 0x1fa0, float::div_sd, 1.01);
    scalar("sqrt_sd", 0x1fa0, |a, _, m| float::sqrt_sd(a, m), 0.0);
    println!("scalar, PE clear, results inexact");
    scalar("add_sd", 0x1f80, float::add_sd, 0.001);
    scalar("mul_sd", 0x1f80, float::mul_sd, 1.01);
    scalar("div_sd", 0x1f80, float::div_sd, 1.01);
    scalar("sqrt_sd", 0x1f80, |a, _, m| float::sqrt_sd(a, m), 0.0);
    println!("scalar, round down (exact path)");
    scalar("add_sd", 0x3fa0, float::add_sd, 0.001);
    scalar("mul_sd", 0x3fa0, float::mul_sd, 1.01);
    scalar("div_sd", 0x3fa0, float::div_sd, 1.01);
    scalar("sqrt_sd", 0x3fa0, |a, _, m| float::sqrt_sd(a, m), 0.0);

    println!("through float()");
    let mut mxcsr = Mxcsr::from_bits(0x1fa0).unwrap_or_default();
    let b = black_box(u128::from(1.001f64.to_bits()) << 64 | u128::from(0.999f64.to_bits()));
    let singles = black_box(0x3f80_1234_3f81_4321_3f7f_1111_3f7e_2222_u128);
    for (op, b) in [
        (FloatOp::Addsd, b),
        (FloatOp::Mulpd, b),
        (FloatOp::Addps, singles),
        (FloatOp::Mulps, singles),
        (FloatOp::Maxps, singles),
        (FloatOp::Cmpps, singles),
        (FloatOp::Ucomisd, b),
        (FloatOp::Cvtsi2sd64, 12345),
        (FloatOp::Cvttsd2si64, b),
        (FloatOp::Cvtss2sd, singles),
        (FloatOp::Cvtsd2ss, b),
        (FloatOp::Cvtdq2ps, 0x1_0000_0002_0000_0003_0000_0004),
        (FloatOp::Roundsd, b),
    ] {
        let op = black_box(op);
        let mut last = 0;
        measure(&format!("{op:?}"), || {
            last = float::float(op, black_box(b), b, 1, &mut mxcsr).unwrap_or(last);
        });
        black_box(last);
    }

    println!("through packed()");
    for op in [
        PackedOp::Pxor,
        PackedOp::Paddb,
        PackedOp::Paddd,
        PackedOp::Pcmpeqb,
        PackedOp::Pmovmskb,
        PackedOp::Pminub,
        PackedOp::Pshufd,
        PackedOp::Pshufb,
        PackedOp::Punpcklbw,
        PackedOp::Packuswb,
        PackedOp::Psrldq,
        PackedOp::Psllq,
        PackedOp::Pmaddwd,
        PackedOp::Pmulld,
        PackedOp::Psadbw,
        PackedOp::Palignr,
        PackedOp::Pclmulqdq,
        PackedOp::Aesenc,
        PackedOp::Sha1rnds4,
    ] {
        let op = black_box(op);
        let (mut a, b) = (
            black_box(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
            black_box(5),
        );
        measure(&format!("{op:?}"), || a = packed(op, a, b, 4));
        black_box(a);
    }

    println!("x87");
    for (op, control) in [
        (X87Op::Fadd, 0x37f),
        (X87Op::Fmul, 0x37f),
        (X87Op::Fdiv, 0x37f),
        (X87Op::FaddM64, 0x37f),
        (X87Op::FistM32, 0x37f),
        (X87Op::FstM64, 0x37f),
        (X87Op::Fxch, 0x37f),
        (X87Op::Fcomi, 0x37f),
        (X87Op::Fsqrt, 0x37f),
        (X87Op::Fsin, 0x37f),
        (X87Op::Fptan, 0x37f),
        (X87Op::Fpatan, 0x37f),
        (X87Op::Fyl2x, 0x37f),
        (X87Op::F2xm1, 0x37f),
    ] {
        let mut x87 = X87::INITIAL;
        let number = u128::from(0.7f64.to_bits());
        for (op, operand) in [
            (X87Op::Fldcw, control),
            (X87Op::FldM64, number),
            (X87Op::FldM64, number + 12345),
        ] {
            if x87.execute(op, 0, operand, 0).is_err() {
                return;
            }
        }
        let op = black_box(op);
        measure(&format!("{op:?}"), || {
            let mut x87 = black_box(x87);
            black_box(x87.execute(op, 1, number, 0).is_ok());
            black_box(&x87);
        });
    }
}
