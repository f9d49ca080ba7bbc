//! What registers and memory hold at first.
//!
//! Drawing every byte anew would cost more than executing the sequence. So interesting values are
//! drawn into pools now and then, and a sequence takes windows of them.

use crate::layout::{DATA16_BASE, FS_BASE, GS_BASE, MEMORY, MEMORY_BYTES, MEMORY_SPAN, READ_ONLY};
use crate::random::Random;
use crate::state::{Area, State};
use ring3_arch::rflags;
use ring3_isa::CodeSize;

/// Bytes of the pool that memory is filled from.
pub const MEMORY_POOL_BYTES: usize = 1 << 17;
/// Vectors in the pool that registers are filled from.
const VECTORS: usize = 1 << 12;
/// 80-bit numbers.
const EXTENDED: usize = 1 << 11;

/// After how many sequences the pools are drawn anew.
pub const EPOCH: u64 = 1 << 14;

/// The pools of registers' values.
pub struct Pools {
    vectors: Vec<u128>,
    extended: Vec<u128>,
}

/// Draws the bytes that memory is filled from: numbers of all formats, packed without gaps, so that
/// every alignment occurs.
pub fn fill_memory_pool(pool: &mut [u8], random: &mut Random) {
    let mut at = 0;
    let mut last = 0;
    while at < pool.len() {
        let (value, length): (u128, usize) = match random.below(10) {
            0 => (random.f32().into(), 4),
            1 => (random.f64().into(), 8),
            2 => {
                last = if random.chance(3) {
                    random.f80_near(last)
                } else {
                    random.f80()
                };
                (last, 10)
            }
            3 => (random.rough().into(), 8),
            // Packed decimals.
            4 => {
                let digits = random.u128();
                let nines = (0..20).fold(0, |value: u128, n| {
                    value << 4 | (digits >> (4 * n) & 15) * 10 / 16
                });
                (nines, 10)
            }
            5 => (random.f16().into(), 2),
            6 => (pointer(random).into(), 8),
            7 => (random.below(300).into(), 1 << random.below(4)),
            8 => (random.singles().0, 16),
            _ => (random.u128(), 16),
        };
        let length = length.min(pool.len() - at);
        pool[at..at + length].copy_from_slice(&value.to_le_bytes()[..length]);
        at += length;
    }
}

impl Pools {
    /// Draws the pools.
    pub fn draw(random: &mut Random) -> Pools {
        let mut vectors = Vec::with_capacity(VECTORS);
        while vectors.len() < VECTORS {
            let (a, b) = pair(random);
            vectors.push(a);
            vectors.push(b);
        }
        let mut extended = Vec::with_capacity(EXTENDED);
        let mut last = 0;
        for _ in 0..EXTENDED {
            last = if random.chance(3) {
                random.f80_near(last)
            } else {
                random.f80()
            };
            extended.push(last);
        }
        Pools { vectors, extended }
    }
}

fn vector(random: &mut Random) -> u128 {
    match random.below(4) {
        0 => random.singles().0,
        1 => random.doubles().0,
        2 => u128::from(random.rough()) << 64 | u128::from(random.rough()),
        _ => random.u128() & random.u128(),
    }
}

/// Two vectors whose elements are of the same kind and often near each other.
fn pair(random: &mut Random) -> (u128, u128) {
    match random.below(5) {
        0 => random.singles(),
        1 => random.doubles(),
        2 => {
            let a = vector(random);
            (a, if random.chance(2) { a } else { vector(random) })
        }
        3 => {
            let halves =
                |random: &mut Random| (0..8).fold(0, |v, _| v << 16 | u128::from(random.f16()));
            (halves(random), halves(random))
        }
        _ => {
            let (a, b) = (vector(random), random.u128());
            let keep = vector(random);
            (a, (a & keep) | (b & !keep))
        }
    }
}

/// An address in memory.
fn pointer(random: &mut Random) -> u64 {
    match random.below(16) {
        0 => READ_ONLY + random.below(0x1000),
        1 => MEMORY + MEMORY_SPAN - random.below(64),
        2..8 => MEMORY + 64 * random.below(MEMORY_SPAN / 64),
        _ => MEMORY + random.below(MEMORY_SPAN),
    }
}

/// What an instruction could want to find in a general register.
fn value(random: &mut Random) -> u64 {
    match random.below(16) {
        0..7 => pointer(random),
        7 | 8 => random.below(70),
        9 => random.pick(&[
            0,
            1,
            u64::MAX,
            1 << 63,
            i64::MAX as u64,
            0x8000_0000,
            0x7fff_ffff,
        ]),
        // Just beyond what is canonical.
        10 if random.chance(4) => 0x8000_0000_0000u64.wrapping_sub(random.below(32)),
        11 => random.f64(),
        12 => random.u64(),
        _ => random.rough(),
    }
}

/// Any x87 state, rarely with a pending exception.
fn x87(area: &mut Area, pools: &Pools, random: &mut Random) {
    let bits = random.u64();
    let masks = match bits & 7 {
        0 => (bits >> 8) as u16 & 0x3f,
        1 => 0x3f & !(1 << random.below(6)),
        _ => 0x3f,
    };
    // Any precision, any rounding.
    let control = 0x40 | masks | (bits >> 16) as u16 & 0x1f00;
    let mut status = (bits >> 32) as u16 & 0x7f7f;
    let pending = status & !control & 0x3f;
    if pending != 0 && random.chance(16) {
        // ES and B say that an exception is pending.
        status |= 0x8080;
    } else {
        status &= !pending;
    }
    area.set_control(control);
    area.set_status(status);
    let top = usize::from(status >> 11 & 7);
    // Full at the top of the stack, or anyhow.
    let depth = random.below(9) as u32;
    let tags = match bits >> 60 {
        0 => (bits >> 48) as u8,
        _ => ((1u16 << depth) - 1) as u8,
    };
    area.set_tags(tags.rotate_left(top as u32));
    let start = random.below(EXTENDED as u64 - 8) as usize;
    for n in 0..8 {
        area.set_st(n, pools.extended[start + n]);
    }
    if bits >> 54 & 7 == 0 {
        // As MMX instructions leave it.
        for n in 0..8 {
            let mm = area.st(n) as u64;
            area.set_st(n, 0xffff << 64 | u128::from(mm));
        }
    }
}

/// Registers to begin with, and where in the pool the memory comes from.
pub fn draw_state(size: CodeSize, pools: &Pools, avx: bool, random: &mut Random) -> (State, usize) {
    let mut state = State::default();
    for register in &mut state.general {
        *register = value(random);
    }
    let general = &mut state.general;
    let align = random.pick(&[!0, !7, !7, !15, !15, !15, !15, !31]);
    general[4] = (MEMORY + 0x400 + random.below(MEMORY_SPAN - 0x800)) & align;
    if random.chance(2) {
        general[1] = random.below(9);
    }
    for register in [5, 6, 7] {
        if !random.chance(4) {
            general[register] = MEMORY + 0x200 + random.below(MEMORY_SPAN - 0x400);
        }
    }
    if size == CodeSize::Bits16 {
        // Offsets in the segment of data; RSP and RBP are for the stack.
        for n in [0, 1, 2, 3, 6, 7] {
            if (READ_ONLY..MEMORY + MEMORY_SPAN).contains(&general[n]) {
                general[n] -= DATA16_BASE;
            }
        }
    }
    if size != CodeSize::Bits64 {
        for register in &mut general[..8] {
            *register &= 0xffff_ffff;
        }
    }
    let flags = random.u64();
    state.rflags = flags & rflags::STATUS | rflags::ALWAYS | rflags::IF;
    for (bit, position) in [(rflags::DF, 32), (rflags::AC, 40), (rflags::ID, 48)] {
        if flags >> position & 15 == 0 {
            state.rflags |= bit;
        }
    }
    x87(&mut state.area, pools, random);
    state.area.set_mxcsr(random.mxcsr());
    for n in (0..16).step_by(2) {
        let bits = random.u64() as usize;
        let at = |n: usize| pools.vectors[(bits >> (12 * n)) % VECTORS];
        let near = |n: usize| pools.vectors[((bits >> (12 * n)) ^ 1) % VECTORS];
        let high = |value| if avx { value } else { 0 };
        state.area.set_vector(n, [at(0), high(at(1))]);
        let related = bits >> 62 != 0;
        state.area.set_vector(
            n + 1,
            if related {
                [near(0), high(near(1))]
            } else {
                [at(2), high(at(3))]
            },
        );
    }
    state.bases = [FS_BASE, GS_BASE];
    let memory_at = 16 * random.below(((MEMORY_POOL_BYTES - MEMORY_BYTES) / 16) as u64) as usize;
    (state, memory_at)
}
