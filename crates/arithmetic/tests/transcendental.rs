//! The transcendental instructions against results of an arbitrary-precision library: see
//! `transcendental.py`, which wrote the file that is read here.

use ring3_arithmetic::x87::{F80, X87, X87Op};

#[test]
fn results_are_correctly_rounded() {
    let mut compared = 0;
    for line in include_str!("transcendental.txt").lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [mnemonic, rounding, st0, st1, expected] = fields[..] else {
            panic!("{line}");
        };
        let op = match mnemonic {
            "fsin" => X87Op::Fsin,
            "fcos" => X87Op::Fcos,
            "fptan" => X87Op::Fptan,
            "fpatan" => X87Op::Fpatan,
            "f2xm1" => X87Op::F2xm1,
            "fyl2x" => X87Op::Fyl2x,
            "fyl2xp1" => X87Op::Fyl2xp1,
            _ => panic!("{line}"),
        };
        let hexadecimal = |text: &str| u128::from_str_radix(text, 16).unwrap();
        let control = 0x37f | rounding.parse::<u128>().unwrap() << 10;
        let mut x87 = X87::INITIAL;
        x87.execute(X87Op::Fldcw, 0, control, 0).unwrap();
        x87.execute(X87Op::FldM80, 0, hexadecimal(st1), 0).unwrap();
        x87.execute(X87Op::FldM80, 0, hexadecimal(st0), 0).unwrap();
        x87.execute(op, 0, 0, 0).unwrap();
        let at = u8::from(op == X87Op::Fptan);
        assert_eq!(
            x87.st(at),
            Some(F80::from_bits(hexadecimal(expected))),
            "{line}"
        );
        // Inexact, and nothing else but perhaps a stack that holds one more.
        assert_eq!(x87.status_word() & 0x7f, 0x20, "{line}");
        compared += 1;
    }
    assert!(compared > 350);
}
