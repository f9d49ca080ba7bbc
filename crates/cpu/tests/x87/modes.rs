//! What cannot be compared with a program in 64-bit mode: other modes, control registers, pointers,
//! and results that differ between processors. The expectations are the manual's: SDM Vol. 1,
//! "Programming with the x87 FPU"; Vol. 3, "System Programming for Intel MMX Technology" and
//! "Control Registers".

use crate::random::Random;
use crate::world::{CODE, DATA, End, READ_ONLY, World};
use ring3_arch::cpuid::Feature;
use ring3_arch::cr::cr0;
use ring3_arch::{Exception, Fault};
use ring3_arithmetic::x87::{F80, X87, X87Op, X87Output, X87Pointers};
use ring3_isa::{CodeMode, CodeSize, Op, lift_block};

fn faults(end: End, exception: Exception, rip: u64) {
    let fault = Fault::new(exception, 0);
    assert_eq!(end, End::Faulted { fault, rip });
}

fn words(world: &World, at: u64, bytes: usize) -> Vec<u16> {
    let mut image = vec![0; bytes];
    world.read(at, &mut image);
    image
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect()
}

fn longs(world: &World, at: u64, bytes: usize) -> Vec<u32> {
    words(world, at, bytes)
        .chunks_exact(2)
        .map(|pair| u32::from(pair[0]) | u32::from(pair[1]) << 16)
        .collect()
}

/// How many of the 64 register encodings, and of the eight with memory, of each opcode from D8 to
/// DF are defined. SDM Vol. 2, "Escape Opcode Instruction Set"; added are the encodings that it
/// leaves out but processors have: D9 D8 (8), DB E0, E1 and E4, DC D0 and D8, DD C8, DE D0, DF C0,
/// C8, D0 and D8 (8 each).
const DEFINED: [(u32, u32); 8] = [
    (64, 8),
    (44 + 8, 7),
    (33, 8),
    (50 + 3, 6),
    (48 + 16, 8),
    (40 + 8, 7),
    (49 + 8, 8),
    (17 + 32, 8),
];

#[test]
fn everything_from_d8_to_df_lifts_in_every_mode() {
    let features = World::long().cpu.model.features();
    for size in [CodeSize::Bits16, CodeSize::Bits32, CodeSize::Bits64] {
        for prefixes in [&[][..], &[0x66], &[0x67], &[0x66, 0x67]] {
            for (n, expected) in DEFINED.iter().enumerate() {
                let (mut registers, mut memory) = (0, 0);
                for modrm in 0..=0xff {
                    let mut bytes = prefixes.to_vec();
                    bytes.extend([0xd8 + n as u8, modrm]);
                    bytes.resize(16, 0);
                    let mode = CodeMode {
                        size,
                        ..CodeMode::long(features)
                    };
                    let block = lift_block(&bytes, mode, 1).expect("there are enough bytes");
                    let is = |op| block.uops.iter().any(|uop| uop.op == op);
                    assert!(!is(Op::Unimplemented), "{size:?} {bytes:02x?}");
                    let defined = u32::from(!is(Op::Raise));
                    if modrm >= 0xc0 {
                        registers += defined;
                    } else {
                        memory += defined;
                    }
                }
                assert_eq!((registers, memory / 24), *expected, "{size:?} D8 + {n}");
                assert_eq!(memory % 24, 0);
            }
        }
    }
}

#[test]
fn processor_says_what_it_records() {
    let features = World::long().cpu.model.features();
    assert!(features.has(Feature::NoFpuSelectors));
    assert!(features.has(Feature::FdpExceptionOnly));
}

#[test]
fn control_register_0_decides_who_may_use_it() {
    use Exception::{DeviceNotAvailable, InvalidOpcode};
    const FLD1: &[u8] = &[0xd9, 0xe8];
    const WAIT: &[u8] = &[0x9b];
    const PADDB: &[u8] = &[0x0f, 0xfc, 0xc1];
    const FNSTSW_AX: &[u8] = &[0xdf, 0xe0];
    let table: &[(u64, &[u8], Option<Exception>)] = &[
        (0, FLD1, None),
        (0, WAIT, None),
        (0, PADDB, None),
        (cr0::TS, FLD1, Some(DeviceNotAvailable)),
        (cr0::TS, FNSTSW_AX, Some(DeviceNotAvailable)),
        (cr0::TS, WAIT, None),
        (cr0::TS, PADDB, Some(DeviceNotAvailable)),
        (cr0::MP, FLD1, None),
        (cr0::MP, WAIT, None),
        (cr0::MP | cr0::TS, FLD1, Some(DeviceNotAvailable)),
        (cr0::MP | cr0::TS, WAIT, Some(DeviceNotAvailable)),
        (cr0::EM, FLD1, Some(DeviceNotAvailable)),
        (cr0::EM, FNSTSW_AX, Some(DeviceNotAvailable)),
        (cr0::EM, WAIT, None),
        (cr0::EM, PADDB, Some(InvalidOpcode)),
        (cr0::EM | cr0::TS, PADDB, Some(InvalidOpcode)),
    ];
    for &(bits, code, expected) in table {
        let mut world = World::long();
        world.cpu.system.cr0 &= !(cr0::MP | cr0::EM | cr0::TS);
        world.cpu.system.cr0 |= bits;
        let end = world.run(CODE, code);
        match expected {
            None => assert_eq!(end, End::Finished, "CR0 {bits:x} {code:02x?}"),
            Some(exception) => faults(end, exception, CODE),
        }
    }
}

/// FNINIT; FLDCW [rsi], unmasking everything; FLDZ; FLD1; FDIV st0, st1, which divides by zero.
const DIVIDE: &[u8] = &[0xdb, 0xe3, 0xd9, 0x2e, 0xd9, 0xee, 0xd9, 0xe8, 0xd8, 0xf1];

fn with_pending_exception() -> World {
    let mut world = World::long();
    world.write(DATA, &[0x40, 0x03]);
    world.cpu.regs[6] = DATA;
    assert_eq!(world.run(CODE, DIVIDE), End::Finished);
    assert!(world.cpu.x87.is_pending());
    world
}

#[test]
fn a_pending_exception_waits_for_a_waiting_instruction() {
    // FNSTSW AX, FNSTCW [rsi], FNINIT; FNCLEX; FNSTENV [rsi]; FNSAVE [rsi]
    for code in [
        &[0xdf, 0xe0][..],
        &[0xd9, 0x3e],
        &[0xdb, 0xe3],
        &[0xdb, 0xe2],
        &[0xd9, 0x36],
        &[0xdd, 0x36],
    ] {
        let mut world = with_pending_exception();
        assert_eq!(world.run(CODE + 0x100, code), End::Finished, "{code:02x?}");
    }
    // FLD1, FSTP [rsi], FLD [rsi], FLDCW, FLDENV, FRSTOR, FNOP, WAIT, PADDB mm0 mm1, EMMS
    for code in [
        &[0xd9, 0xe8][..],
        &[0xd9, 0x1e],
        &[0xd9, 0x06],
        &[0xd9, 0x2e],
        &[0xd9, 0x26],
        &[0xdd, 0x26],
        &[0xd9, 0xd0],
        &[0x9b],
        &[0x0f, 0xfc, 0xc1],
        &[0x0f, 0x77],
    ] {
        let mut world = with_pending_exception();
        // A fault of the operand would come later.
        world.cpu.regs[6] = 0x1000;
        let before = world.cpu.x87;
        let end = world.run(CODE + 0x100, code);
        faults(end, Exception::X87, CODE + 0x100);
        assert_eq!(world.cpu.x87, before, "{code:02x?}");
    }
}

/// Without CR0.NE as well: FERR# is not modelled.
#[test]
fn a_pending_exception_is_a_fault_without_ne_too() {
    let mut world = with_pending_exception();
    world.cpu.system.cr0 &= !cr0::NE;
    faults(world.run(CODE, &[0x9b]), Exception::X87, CODE);
}

#[test]
fn pointers_are_those_of_the_last_instruction() {
    let mut world = World::long();
    world.cpu.regs[6] = DATA;
    // FLD1; FSTP dword [rsi + 0x20]; FNSTCW [rsi]; FNCLEX
    let code = [0xd9, 0xe8, 0xd9, 0x5e, 0x20, 0xd9, 0x3e, 0xdb, 0xe2];
    assert_eq!(world.run(CODE + 0x30, &code), End::Finished);
    let expected = X87Pointers {
        instruction: CODE + 0x32,
        ..X87Pointers::default()
    };
    assert_eq!(world.cpu.x87.pointers(), expected);

    // With an exception the others are recorded: FLDZ; FDIVR dword [rsi + rcx * 2 - 0x10]
    let mut world = with_pending_exception();
    world.cpu.regs[1] = 0x20;
    let code = [0xdb, 0xe2, 0xd9, 0xee, 0xd8, 0x7c, 0x4e, 0xf0];
    world.write(DATA + 0x30, &1f32.to_le_bytes());
    assert_eq!(world.run(CODE, &code), End::Finished);
    let expected = X87Pointers {
        instruction: CODE + 4,
        data: DATA + 0x30,
        opcode: 0x07c,
        ..X87Pointers::default()
    };
    assert_eq!(world.cpu.x87.pointers(), expected);
}

#[test]
fn a_fault_of_the_operand_changes_nothing() {
    let mut random = Random::new(1);
    // FST, FSTP (32, 64, 80 bits), FISTP, FBSTP, FNSTENV, FNSAVE [rsi]
    for code in [
        [0xd9, 0x16],
        [0xd9, 0x1e],
        [0xdd, 0x1e],
        [0xdb, 0x3e],
        [0xdf, 0x3e],
        [0xdf, 0x36],
        [0xd9, 0x36],
        [0xdd, 0x36],
    ] {
        // Across the border of a page that cannot be written.
        for before_border in [0, 1, 8, 9] {
            let mut world = World::long();
            world.cpu.regs[6] = READ_ONLY - before_border;
            if before_border > 0 && code == [0xd9, 0x16] {
                world.cpu.regs[6] = READ_ONLY - 1;
            }
            for n in 0..8 {
                world.cpu.x87.set_register(n, F80::from_bits(random.f80()));
            }
            // FLD1; FLDPI; a filler; then the store.
            assert_eq!(world.run(CODE, &[0xd9, 0xe8, 0xd9, 0xeb]), End::Finished);
            let x87 = world.cpu.x87;
            let mut memory = [0; 32];
            world.read(READ_ONLY - 16, &mut memory);
            let end = world.run(CODE, &code);
            let mut after = [0; 32];
            world.read(READ_ONLY - 16, &mut after);
            let crosses = matches!(end, End::Faulted { .. });
            let short = code[0] != 0xdb && code[1] == 0x1e || code == [0xdf, 0x3e];
            assert!(crosses || before_border >= 8 && short, "{code:02x?}");
            if crosses {
                assert_eq!(world.cpu.x87, x87, "{code:02x?}");
                assert_eq!(memory, after, "{code:02x?}");
            }
        }
    }
}

/// Protected mode, segments with a base: the environment in both formats, the pointers without the
/// base, the limit respected.
#[test]
fn protected_mode_has_its_own_formats() {
    const BASE: u64 = 0x50_0000;
    for wide in [false, true] {
        let mut world = World::protected(wide, BASE, 0xffff);
        world.write(BASE + 0x200, &[0x40, 0x03]);
        world.write(BASE + 0x210, &2f32.to_le_bytes());
        // The address is a plain displacement in both: [0x200] and [0x210].
        let at = |opcode: u8, reg: u8, address: u16| {
            let [low, high] = address.to_le_bytes();
            if wide {
                vec![opcode, reg << 3 | 5, low, high, 0, 0]
            } else {
                vec![opcode, reg << 3 | 6, low, high]
            }
        };
        // FNINIT; FLDCW; FLDZ; FDIVR dword [0x210]; FNSTENV [0x300]
        let mut code = vec![0xdb, 0xe3];
        code.extend(at(0xd9, 5, 0x200));
        code.extend([0xd9, 0xee]);
        let divide = code.len();
        code.extend(at(0xd8, 7, 0x210));
        code.extend(at(0xd9, 6, 0x300));
        assert_eq!(world.run(0x1234, &code), End::Finished);
        let ip = 0x1234 + divide as u32;
        let opcode = u32::from(code[divide + 1]);
        // Divided by zero, in R7, the only register in use, which holds zero.
        let (status, tags) = (0x3800 | 0x8084, 0x7fff);
        if wide {
            let ones = 0xffff_0000;
            let expected = [
                0x340 | ones,
                status | ones,
                tags | ones,
                ip,
                opcode << 16,
                0x210,
                ones,
            ];
            assert_eq!(longs(&world, BASE + 0x300, 28), expected);
        } else {
            let expected = [0x340, status as u16, tags as u16, ip as u16, 0, 0x210, 0];
            assert_eq!(words(&world, BASE + 0x300, 14), expected);
        }
        assert_eq!(world.cpu.x87.control_word(), 0x37f);

        // An operand that ends beyond the limit.
        let store = at(0xdd, 3, 0xfff9);
        faults(
            world.run(0x1234, &store),
            Exception::GeneralProtection,
            0x1234,
        );
    }
}

/// Real mode: pointers as linear addresses of 20 bits (the selectors being zero, offsets), with the
/// opcode.
#[test]
fn real_mode_has_its_own_formats() {
    for prefix in [false, true] {
        let mut world = World::real(0x2_0000);
        world.write(0x2_0200, &[0x40, 0x03]);
        // FNINIT; FLDCW [0x200]; FLDZ; FDIVR dword [0x210]; FNSAVE [0x300]
        world.write(0x2_0210, &2f32.to_le_bytes());
        let mut code = vec![
            0xdb, 0xe3, 0xd9, 0x2e, 0x00, 0x02, 0xd9, 0xee, 0xd8, 0x3e, 0x10, 0x02,
        ];
        if prefix {
            code.push(0x66);
        }
        code.extend([0xdd, 0x36, 0x00, 0x03]);
        assert_eq!(world.run(0x8000, &code), End::Finished);
        let (status, tags) = (0xb884, 0x7fff);
        if prefix {
            let ones = 0xffff_0000;
            let expected = [
                0x340 | ones,
                status | ones,
                tags | ones,
                0x8008,
                0x03e,
                0x210,
                0,
            ];
            assert_eq!(longs(&world, 0x2_0300, 28), expected);
        } else {
            let expected = [0x340, status as u16, tags as u16, 0x8008, 0x03e, 0x210, 0];
            assert_eq!(words(&world, 0x2_0300, 14), expected);
        }
        // ST(0) to ST(7) follow.
        let size = if prefix { 28 } else { 14 };
        let mut zero = [1; 10];
        world.read(0x2_0300 + size, &mut zero);
        assert_eq!(zero, [0; 10]);
        assert_eq!(world.cpu.x87.tag_word(), 0xffff);
        // FRSTOR brings it back, the exception pending.
        let at = code.len() - 4;
        code[at + 1] = 0x26;
        assert_eq!(
            world.run(0x8000, &code[at - usize::from(prefix)..]),
            End::Finished
        );
        assert_eq!(world.cpu.x87.status_word(), status as u16);
        assert_eq!(world.cpu.x87.tag_word(), tags as u16);
        assert!(world.cpu.x87.is_pending());
    }
}

/// Selectors that an image brings in are not kept.
#[test]
fn selectors_are_zero_after_loading_them() {
    let mut world = World::long();
    world.cpu.regs[6] = DATA;
    let mut image = [0u8; 512];
    image[..2].copy_from_slice(&0x37fu16.to_le_bytes());
    for (code, at) in [
        // FLDENV, FRSTOR, FXRSTOR [rsi]
        (&[0xd9, 0x26][..], [16, 24]),
        (&[0xdd, 0x26], [16, 24]),
        (&[0x0f, 0xae, 0x0e], [12, 20]),
    ] {
        let mut image = image;
        for at in at {
            image[at..at + 2].copy_from_slice(&0x1234u16.to_le_bytes());
        }
        world.write(DATA, &image);
        assert_eq!(world.run(CODE, code), End::Finished);
        let pointers = world.cpu.x87.pointers();
        assert_eq!((pointers.code_selector, pointers.data_selector), (0, 0));
    }
}

/// Results of these differ between processors; that the instruction is the operation does not.
#[test]
fn transcendental_instructions_are_their_operations() {
    use X87Op::*;
    let table = [
        (0xf0, F2xm1),
        (0xf1, Fyl2x),
        (0xf2, Fptan),
        (0xf3, Fpatan),
        (0xf9, Fyl2xp1),
        (0xfb, Fsincos),
        (0xfe, Fsin),
        (0xff, Fcos),
    ];
    for (modrm, op) in table {
        let mut random = Random::new(modrm.into());
        let mut world = World::long();
        for round in 0..200 {
            let mut expected = X87::INITIAL;
            expected.execute(X87Op::Fld1, 0, 0, 0).unwrap();
            for _ in 0..2 {
                expected
                    .execute(X87Op::FldM64, 0, random.f64().into(), 0)
                    .unwrap();
            }
            world.cpu.x87 = expected;
            let output = expected.execute(op, 0, 0, 0);
            assert_eq!(output, Ok(X87Output::None));
            expected.record_instruction(CODE);
            let end = world.run(CODE, &[0xd9, modrm]);
            assert_eq!(end, End::Finished);
            assert_eq!(world.cpu.x87, expected, "{op:?} round {round}");
        }
    }
}

/// After a reset, every register holds zero and every exception is unmasked; INIT changes nothing.
#[test]
fn reset_and_init_differ() {
    let mut cpu = ring3_cpu::Cpu::new(
        ring3_arch::CpuIndex(0),
        std::sync::Arc::new(ring3_cpu::CpuModel::new(1)),
        1,
    );
    assert_eq!(cpu.x87, X87::RESET);
    assert_eq!(cpu.x87.control_word(), 0x40);
    assert_eq!(cpu.x87.tag_word(), 0x5555);
    let mut world = World::long();
    assert_eq!(world.run(CODE, &[0xd9, 0xe8]), End::Finished);
    cpu.x87 = world.cpu.x87;
    cpu.init();
    assert_eq!(cpu.x87, world.cpu.x87);
}
