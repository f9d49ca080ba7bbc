//! Which byte strings with a VEX prefix are instructions: every prefix, opcode and register extension,
//! natively and here.

use crate::cases::Case;
use crate::host::{Host, INSTRUCTION, SCRATCH};
use crate::model;
use crate::random::Random;
use crate::registers::End;
use crate::undefined::left_out;
use ring3_isa::forms::Form;
use ring3_isa::forms::iced_x86::{Code, Decoder, DecoderOptions};
use ring3_isa::{CodeMode, CodeSize, Op, lift_block};

const UNDEFINED: u8 = 6;

/// All of them, as bytes: three-byte prefixes with and without a register in VEX.vvvv, every ModRM.reg
/// with a register (1), and memory at RAX.
fn encodings() -> impl Iterator<Item = [u8; 6]> {
    (1..=3u8).flat_map(|map| {
        (0..=255u8).flat_map(move |second| {
            let vvvv = second >> 3 & 15;
            // No register (ones), and register 2.
            let kept = [0b1111, 0b1101].contains(&vvvv);
            (0..=255u8).filter(move |_| kept).flat_map(move |opcode| {
                (0..9u8).map(move |n| {
                    let modrm = if n < 8 { n << 3 | 0xc1 } else { 0x08 };
                    [0xc4, 0xe0 | map, second, opcode, modrm, 0x01]
                })
            })
        })
    })
}

/// VPERMQ and VPERMPD have VEX.W = 1 in Intel's manual; AMD's processors ignore it.
fn is_another_with_amd(bytes: &[u8; 6]) -> bool {
    let (map, w, opcode) = (bytes[1] & 0x1f, bytes[2] >> 7, bytes[3]);
    map == 3 && w == 0 && opcode <= 1
}

pub fn every_vex_encoding() {
    let mut host = Host::new();
    let features = model::features();
    let mode = CodeMode::long(features);
    // Registers and memory of any case: RAX points to memory.
    let mut random = Random::new(1);
    let mut case = Form::all(CodeSize::Bits64, features)
        .filter(|form| form.code == Code::Add_rm64_r64)
        .find_map(|form| Case::draw(form, CodeSize::Bits64, &mut random))
        .expect("ADD can be drawn");
    case.before.general[0] = SCRATCH + 0x1000;
    case.before.mxcsr = 0x1f80;
    let (mut defined, mut undefined, mut skipped) = (0, 0, 0);
    let mut wrong = Vec::new();
    for bytes in encodings() {
        let mut decoder = Decoder::with_ip(64, &bytes, INSTRUCTION, DecoderOptions::NONE);
        let instruction = decoder.decode();
        let exists = !instruction.is_invalid();
        if exists && (!features.allows(&instruction) || left_out(&instruction).is_some()) {
            // The host may have what is not advertised here.
            skipped += 1;
            continue;
        }
        let mut padded = [0x90; 32];
        padded[..6].copy_from_slice(&bytes);
        let block = lift_block(&padded, mode, 1).expect("there are enough bytes");
        let here = block.uops[0].op != Op::Raise || block.uops[0].y != UNDEFINED;
        let mut registers = case.before.clone();
        let end = host.run(&padded[..8], CodeSize::Bits64, &mut registers);
        let native = !matches!(end, End::Fault { vector, .. } if vector == UNDEFINED);
        if here != native && !is_another_with_amd(&bytes) {
            wrong.push(format!("{bytes:02x?}: {instruction}, natively {end:x?}"));
        }
        if here {
            defined += 1;
        } else {
            undefined += 1;
        }
    }
    println!("{defined} encodings exist, {undefined} do not, {skipped} not looked at");
    let shown = wrong.len().min(80);
    assert!(
        wrong.is_empty(),
        "{}\n{}",
        wrong.len(),
        wrong[..shown].join("\n")
    );
}
