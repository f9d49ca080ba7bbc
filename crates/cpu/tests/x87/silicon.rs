//! Against the host's own silicon, in 64-bit mode.
//!
//! Left out: the results of transcendental instructions, which differ between processors (they are
//! measured in the arithmetic crate); C1 after FCOMI and its siblings, which one vendor's processors
//! keep; instruction and data pointers unless an exception is pending, and selectors, which another
//! kind of processor records.

use crate::host::{Host, State};
use crate::random::{self, Random};
use crate::world::{CODE, DATA, DATA_BYTES, End, READ_ONLY, World};
use ring3_arch::rflags;
use ring3_arithmetic::x87::ImageFormat;

const STATUS: u64 = rflags::STATUS;

/// An FSAVE image; now and then an exception is pending.
fn image(random: &mut Random) -> [u8; 108] {
    let masks = match random.below(4) {
        0 => 0x3f,
        1 => random.u64() as u16 & 0x3f,
        _ => 0x3f & !(1 << random.below(6)),
    };
    let control = masks | 0x40 | random.u64() as u16 & 0x1f00;
    let flags = match random.below(16) {
        0 => random.u64() as u16 & 0x3f,
        1..6 => random.u64() as u16 & masks,
        _ => 0,
    };
    let top = random.below(8) as u16;
    let status = random.u64() as u16 & 0x4740 | flags | top << 11;
    let crowded = random.chance(3);
    let tags = (0..8).fold(0u16, |tags, i| {
        let from_top = (i + 8 - top) & 7;
        let empty = match (crowded, from_top) {
            (true, _) | (false, 0 | 1) => random.chance(12),
            (false, 7) => !random.chance(12),
            _ => random.chance(2),
        };
        tags | if empty { 3 << (2 * i) } else { 0 }
    });
    let mut image = [0; 108];
    image[0..2].copy_from_slice(&control.to_le_bytes());
    image[4..6].copy_from_slice(&status.to_le_bytes());
    image[8..10].copy_from_slice(&tags.to_le_bytes());
    let mut last = 0;
    for slot in image[28..].chunks_exact_mut(10) {
        last = if random.chance(3) {
            random.f80_near(last)
        } else {
            random.f80()
        };
        slot.copy_from_slice(&last.to_le_bytes()[..10]);
    }
    image
}

/// Operands worth loading, packed without gaps, so that every alignment occurs.
fn data(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(DATA_BYTES);
    while bytes.len() < DATA_BYTES {
        match random.below(5) {
            0 => bytes.extend(random.f32().to_le_bytes()),
            1 => bytes.extend(random.f64().to_le_bytes()),
            2 => bytes.extend(&random.f80().to_le_bytes()[..10]),
            3 => bytes.extend(random.rough().to_le_bytes()),
            _ => bytes
                .extend((0..10).map(|_| random.below(10) as u8 | (random.below(10) as u8) << 4)),
        }
    }
    bytes.truncate(DATA_BYTES);
    bytes
}

/// An instruction: first opcode byte, second byte, the rest.
#[derive(Clone, Debug)]
struct Encoding {
    bytes: Vec<u8>,
    /// Where the opcode is.
    opcode: usize,
    /// It has a memory operand.
    memory: bool,
}

impl Encoding {
    /// D8 to DF and the bits of ModRM that are part of the opcode.
    fn group(&self) -> (u8, u8) {
        if !matches!(self.bytes[self.opcode], 0xd8..=0xdf) {
            return (self.bytes[self.opcode], 0);
        }
        let modrm = self.bytes[self.opcode + 1];
        let bits = if self.memory { modrm & 0x38 } else { modrm };
        (self.bytes[self.opcode], bits)
    }

    fn is_transcendental(&self) -> bool {
        matches!(
            self.group(),
            (0xd9, 0xf0..=0xf3 | 0xf9 | 0xfb | 0xfe | 0xff)
        )
    }

    fn is_comparison_to_flags(&self) -> bool {
        matches!(self.group(), (0xdb | 0xdf, 0xe8..=0xf7))
    }

    /// FLDENV and FNSTENV, FRSTOR and FNSAVE.
    fn is_image(&self) -> bool {
        self.memory && matches!(self.group(), (0xd9 | 0xdd, 0x20 | 0x30))
    }

    fn is_fnstsw(&self) -> bool {
        let group = self.group();
        self.memory && group == (0xdd, 0x38) || group == (0xdf, 0xe0)
    }

    fn is_fldcw(&self) -> bool {
        self.memory && self.group() == (0xd9, 0x28)
    }

    /// FNSTENV and FNSAVE.
    fn is_image_store(&self) -> bool {
        self.is_image() && self.group().1 == 0x30
    }

    fn register(first: u8, modrm: u8) -> Encoding {
        Encoding {
            bytes: vec![first, modrm],
            opcode: 0,
            memory: false,
        }
    }

    /// An MMX instruction of MMX registers, memory and RAX.
    fn mmx(opcode: u8, random: &mut Random) -> Encoding {
        // MOVD to a general register: RAX. MOVNTQ has a memory form only, PMOVMSKB and the shifts
        // by an immediate a register form only.
        let memory = opcode == 0xe7 || opcode != 0xd7 && random.chance(2);
        let reg = if opcode == 0xd7 {
            0
        } else {
            random.below(8) as u8
        };
        if memory {
            let mut encoding = Encoding::memory(0x0f, reg, random);
            // REX.W and an operand-size prefix would make other instructions of some of them.
            encoding.bytes.drain(..encoding.opcode);
            encoding.bytes.insert(1, opcode);
            encoding.opcode = 0;
            return encoding;
        }
        let rm = match opcode {
            0x6e | 0x7e => 0,
            _ => random.below(8) as u8,
        };
        Encoding {
            bytes: vec![0x0f, opcode, 0xc0 | reg << 3 | rm],
            opcode: 0,
            memory: false,
        }
    }

    /// With an address that is RSI's, in one of many ways; RCX is -4.
    fn memory(first: u8, reg: u8, random: &mut Random) -> Encoding {
        let mut bytes = Vec::new();
        if random.chance(8) {
            // Segments without meaning, or a base of zero.
            bytes.push(random.pick(&[0x26, 0x2e, 0x36, 0x3e]));
        }
        if random.chance(8) {
            bytes.push(0x66);
        }
        if random.chance(8) {
            // REX.W.
            bytes.push(0x48);
        }
        let opcode = bytes.len();
        bytes.push(first);
        let reg = reg << 3;
        match random.below(5) {
            // [rsi]
            0 | 1 => bytes.push(reg | 6),
            // [rsi + rcx * 4 + 16]
            2 => bytes.extend([0x44 | reg, 0x8e, 16]),
            // [rsi + rcx + 4]
            3 => {
                bytes.extend([0x84 | reg, 0x0e]);
                bytes.extend(4i32.to_le_bytes());
            }
            // [rsi + 0]
            _ => {
                bytes.push(0x86 | reg);
                bytes.extend(0i32.to_le_bytes());
            }
        }
        Encoding {
            bytes,
            opcode,
            memory: true,
        }
    }
}

fn word(image: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([image[at], image[at + 1]])
}

fn long(image: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([image[at], image[at + 1], image[at + 2], image[at + 3]])
}

fn describe(image: &[u8; 108]) -> String {
    let mut text = format!(
        "cw {:04x} sw {:04x} tw {:04x} ip {:x} op {:03x} dp {:x}\n           ",
        word(image, 0),
        word(image, 4),
        word(image, 8),
        long(image, 12),
        word(image, 18) & 0x7ff,
        long(image, 20),
    );
    for slot in image[28..].chunks_exact(10) {
        let mut bytes = [0; 16];
        bytes[..10].copy_from_slice(slot);
        text += &format!(" {:020x}", u128::from_le_bytes(bytes));
    }
    text
}

/// Executes both ways and compares; true if a fault occurred.
fn compare(
    host: &mut Host,
    world: &mut World,
    code: &[Encoding],
    before: State,
    data: &[u8],
    label: &str,
) -> bool {
    let bytes: Vec<u8> = code.iter().flat_map(|e| e.bytes.iter().copied()).collect();

    host.data().copy_from_slice(data);
    let mut native = before;
    host.run(&bytes, &mut native);
    let mut native_data = host.data().to_vec();

    world.write(DATA, data);
    let cpu = &mut world.cpu;
    cpu.x87 = Default::default();
    cpu.x87.load_state(ImageFormat::Protected32, &before.image);
    cpu.regs[0] = before.rax;
    cpu.regs[1] = before.rcx;
    cpu.regs[6] = before.rsi;
    world.set_flags(before.rflags);
    let end = world.run(CODE, &bytes);
    let mut ours = before;
    ours.rax = world.cpu.regs[0];
    ours.rflags = world.cpu.rflags();
    ours.image = world.cpu.x87.store_state(ImageFormat::Protected32);
    if let End::Faulted { fault, rip } = end {
        ours.fault = 1 + fault.exception as u64;
        ours.rip = rip;
        ours.error_code = fault.error_code.into();
        ours.address = fault.cr2.map_or(0, |address| address.0);
    }
    let mut our_data = vec![0; DATA_BYTES];
    world.read(DATA, &mut our_data);

    // What is not compared.
    let pending = word(&native.image, 4) & 0x80 != 0 && word(&before.image, 4) & 0x80 == 0;
    let last = code.last().expect("there is code");
    // FLDCW can make an exception pending that an earlier instruction did not signal.
    let own_pointers = pending && !code.iter().any(|e| e.is_image() || e.is_fldcw());
    for state in [&mut native, &mut ours] {
        state.rcx = before.rcx;
        state.rflags &= STATUS;
        if state.fault != 1 + 14 {
            (state.error_code, state.address) = (0, 0);
        }
        if last.is_image() {
            // Microcode may begin at either end.
            state.address = 0;
        }
        if own_pointers {
            // Selectors.
            state.image[16..18].fill(0);
            state.image[24..28].fill(0);
            state.image[19] &= 7;
            // Not every instruction has a memory operand.
            if !code.iter().all(|e| e.memory) {
                state.image[20..24].fill(0);
            }
        } else {
            state.image[12..28].fill(0);
        }
        if code.iter().any(Encoding::is_comparison_to_flags) {
            state.image[5] &= !2;
        }
    }
    if last.is_image_store() {
        let at = before.rsi.wrapping_sub(DATA) as usize;
        let pointers = if last.bytes.contains(&0x66) {
            6..14
        } else {
            12..28
        };
        for data in [&mut native_data, &mut our_data] {
            for n in pointers.clone() {
                if let Some(byte) = data.get_mut(at.wrapping_add(n)) {
                    *byte = 0;
                }
            }
        }
    }
    let same = native == ours && native_data == our_data;
    let difference = native_data.iter().zip(&our_data).position(|(a, b)| a != b);
    assert!(
        same,
        "{label}: {bytes:02x?} rsi {:x} rcx {:x} flags {:x}\n before {}\n   host {}\n   ours {}\n \
         host: fault {} at {:x} code {:x} address {:x} rax {:x} flags {:03x}\n \
         ours: fault {} at {:x} code {:x} address {:x} rax {:x} flags {:03x}\n memory {}",
        before.rsi,
        before.rcx,
        before.rflags,
        describe(&before.image),
        describe(&native.image),
        describe(&ours.image),
        native.fault as i64 - 1,
        native.rip,
        native.error_code,
        native.address,
        native.rax,
        native.rflags,
        ours.fault as i64 - 1,
        ours.rip,
        ours.error_code,
        ours.address,
        ours.rax,
        ours.rflags,
        difference.map_or("equal".into(), |at| {
            let to = (at + 16).min(DATA_BYTES);
            format!(
                "at {:x}: host {:02x?} ours {:02x?}",
                DATA + at as u64,
                &native_data[at..to],
                &our_data[at..to]
            )
        }),
    );
    native.fault != 0
}

/// RCX as the addresses of [`Encoding::memory`] expect it.
const RCX: u64 = -4i64 as u64;

fn place(random: &mut Random) -> u64 {
    match random.below(16) {
        // Around the start, the page boundary, the read-only page, and the end of everything.
        0 => DATA - 16 + random.below(20),
        1 => DATA + 0x1000 - random.below(30),
        2 => READ_ONLY - random.below(30),
        3 => READ_ONLY + 0x1000 - random.below(30),
        4 => 0x8000_0000_0000 + random.below(16),
        5..11 => DATA + random.below(0xe00),
        _ => DATA + 16 * random.below(0xe0),
    }
}

fn flags(random: &mut Random) -> u64 {
    let alignment = if random.chance(8) { rflags::AC } else { 0 };
    random.u64() & STATUS | 0x202 | alignment
}

fn single(encoding: impl Fn(&mut Random) -> Encoding, seed: u64, rounds: u64) -> (u64, u64) {
    let mut host = Host::new();
    let mut world = World::long();
    let mut random = Random::new(seed);
    let data = data(&mut random);
    let (mut cases, mut faults) = (0, 0);
    for round in 0..rounds {
        let encoding = encoding(&mut random);
        if encoding.is_transcendental() {
            return (0, 0);
        }
        let before = State::new(
            image(&mut random),
            random.u64(),
            RCX,
            place(&mut random),
            flags(&mut random),
        );
        let label = format!("seed {seed:x} round {round}");
        cases += 1;
        faults += u64::from(compare(
            &mut host,
            &mut world,
            &[encoding],
            before,
            &data,
            &label,
        ));
    }
    (cases, faults)
}

/// FXSAVE and FXRSTOR, with and without REX.W. Reserved bytes, the pointers and what belongs to SSE
/// are not compared.
#[test]
fn saved_state_is_what_the_processor_saves() {
    let compared = |at: usize| at < 5 || (32..160).contains(&at) && at % 16 < 10;
    let mut host = Host::new();
    let mut world = World::long();
    for seed in 0..random::rounds(2000) {
        let mut random = Random::new(seed);
        let save = random.chance(2);
        let mut code = vec![0x48, 0x0f, 0xae, if save { 0x06 } else { 0x0e }];
        if random.chance(2) {
            code.remove(0);
        }
        let mut data = data(&mut random);
        // A valid MXCSR, so that the rest matters.
        data[24..28].copy_from_slice(&0x1f80u32.to_le_bytes());
        let before = State::new(image(&mut random), 0, 0, DATA, 2);

        host.data().copy_from_slice(&data);
        let mut native = before;
        host.run(&code, &mut native);
        assert_eq!(native.fault, 0);

        world.write(DATA, &data);
        world.cpu.x87 = Default::default();
        world
            .cpu
            .x87
            .load_state(ImageFormat::Protected32, &before.image);
        world.cpu.regs[6] = DATA;
        world.set_flags(2);
        assert_eq!(world.run(CODE, &code), End::Finished);
        let ours = world.cpu.x87.store_state(ImageFormat::Protected32);
        let mut our_data = vec![0; DATA_BYTES];
        world.read(DATA, &mut our_data);
        for at in (0..512).filter(|&at| compared(at)) {
            let native = host.data()[at];
            assert_eq!(our_data[at], native, "seed {seed} save {save} byte {at}");
        }
        assert_eq!(ours[..12], native.image[..12], "seed {seed} save {save}");
        assert_eq!(ours[28..], native.image[28..], "seed {seed} save {save}");
    }
}

#[test]
fn every_register_encoding_does_what_the_processor_does() {
    let rounds = random::rounds(60);
    let (mut cases, mut faults) = (0, 0);
    for first in 0xd8..=0xdf {
        for modrm in 0xc0..=0xff {
            let seed = u64::from(first) << 8 | u64::from(modrm);
            let (c, f) = single(|_| Encoding::register(first, modrm), seed, rounds);
            cases += c;
            faults += f;
        }
    }
    println!("{cases} cases, {faults} faults");
    assert!(faults > cases / 100 && faults < cases / 3);
}

#[test]
fn every_memory_encoding_does_what_the_processor_does() {
    let rounds = random::rounds(500);
    let (mut cases, mut faults) = (0, 0);
    for first in 0xd8..=0xdf {
        for reg in 0..8 {
            let seed = u64::from(first) << 16 | u64::from(reg);
            let (c, f) = single(|random| Encoding::memory(first, reg, random), seed, rounds);
            cases += c;
            faults += f;
        }
    }
    println!("{cases} cases, {faults} faults");
    assert!(faults > cases / 20 && faults < cases / 2);
}

/// The second opcode bytes of MMX instructions with two operands, extensions by SSE included.
const MMX: [u8; 58] = [
    0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6e, 0x6f, 0x74, 0x75,
    0x76, 0x7e, 0x7f, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd7, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde,
    0xdf, 0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe7, 0xe8, 0xe9, 0xea, 0xeb, 0xec, 0xed, 0xee, 0xef,
    0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf8, 0xf9, 0xfa, 0xfb,
];
const EMMS: [u8; 2] = [0x0f, 0x77];
const WAIT: [u8; 1] = [0x9b];

fn plain(bytes: &[u8]) -> Encoding {
    Encoding {
        bytes: bytes.to_vec(),
        opcode: 0,
        memory: false,
    }
}

#[test]
fn mmx_instructions_do_what_the_processor_does() {
    let rounds = random::rounds(300);
    let (mut cases, mut faults) = (0, 0);
    for opcode in MMX {
        let seed = 0x3316 << 8 | u64::from(opcode);
        let (c, f) = single(|random| Encoding::mmx(opcode, random), seed, rounds);
        cases += c;
        faults += f;
    }
    for (seed, bytes) in [(1, &EMMS[..]), (2, &WAIT[..])] {
        let (c, f) = single(|_| plain(bytes), seed, rounds);
        cases += c;
        faults += f;
    }
    println!("{cases} cases, {faults} faults");
    assert!(faults > cases / 20 && faults < cases / 2);
}

/// Any instruction that sequences may contain.
fn any(random: &mut Random) -> Encoding {
    match random.below(40) {
        0 => return plain(&WAIT),
        1 => return plain(&EMMS),
        2 => {
            let opcode = random.pick(&MMX);
            return Encoding::mmx(opcode, random);
        }
        _ => {}
    }
    loop {
        let first = 0xd8 + random.below(8) as u8;
        let encoding = if random.chance(2) {
            Encoding::register(first, 0xc0 | random.below(64) as u8)
        } else {
            Encoding::memory(first, random.below(8) as u8, random)
        };
        // An undefined instruction would end most sequences.
        let defined = encoding.memory || !is_undefined(encoding.group());
        if defined && !encoding.is_transcendental() && !encoding.is_image() {
            return encoding;
        }
    }
}

/// Register encodings that raise #UD.
fn is_undefined(group: (u8, u8)) -> bool {
    matches!(
        group,
        (0xd9, 0xd1..=0xd7 | 0xe2 | 0xe3 | 0xe6 | 0xe7 | 0xef)
            | (0xda, 0xe0..=0xe8 | 0xea..=0xff)
            | (0xdb, 0xe5..=0xe7 | 0xf8..=0xff)
            | (0xdd, 0xf0..=0xff)
            | (0xde, 0xd8 | 0xda..=0xdf)
            | (0xdf, 0xe1..=0xe7 | 0xf8..=0xff)
    )
}

#[test]
fn sequences_do_what_the_processor_does() {
    let mut host = Host::new();
    let mut world = World::long();
    let rounds = random::rounds(12_000);
    let mut faults = 0;
    for seed in 0..rounds {
        let mut random = Random::new(0x5e9 ^ seed << 20);
        let length = 2 + random.below(11);
        let mut code: Vec<Encoding> = (0..length).map(|_| any(&mut random)).collect();
        if code.iter().any(Encoding::is_comparison_to_flags) {
            // Would store C1.
            code.retain(|e| !e.is_fnstsw());
        }
        let data = data(&mut random);
        // Not so near to an unmapped page that most sequences end at once.
        let at = DATA + 0x100 + random.below(0x1000);
        let before = State::new(
            image(&mut random),
            random.u64(),
            RCX,
            at,
            random.u64() & STATUS | 0x202,
        );
        let label = format!("sequence {seed:x}");
        faults += u64::from(compare(&mut host, &mut world, &code, before, &data, &label));
    }
    println!("{rounds} sequences, {faults} faults");
    assert!(faults > rounds / 10 && faults < rounds - rounds / 10);
}
