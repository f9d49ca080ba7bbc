//! Random instructions of a given form with registers and memory that make them interesting.

use crate::host::{GS_BASE, INSTRUCTION, SCRATCH, SCRATCH_BYTES, TARGET};
use crate::model::host_has_avx;
use crate::random::Random;
use crate::registers::{Registers, X87};
use ring3_arch::rflags;
use ring3_cpu::flags::StatusFlags;
use ring3_isa::CodeSize;
use ring3_isa::forms::iced_x86::{CpuidFeature, Instruction, Mnemonic, OpKind, Register};
use ring3_isa::forms::{Address, Encoded, Form, Operands};

/// An instruction with everything that it reads.
pub struct Case {
    pub encoded: Encoded,
    /// How many NOPs stand before it.
    pub nops: usize,
    pub before: Registers,
    /// The status flags of `before`, in the form in which some earlier instruction left them.
    pub flags: StatusFlags,
    pub memory: Vec<u8>,
}

/// Draws operands at random.
struct Draw<'a> {
    random: &'a mut Random,
    size: CodeSize,
    /// Addresses that stand in the instruction are aligned.
    aligned: bool,
}

const BASES64: [Register; 16] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RBX,
    Register::RSP,
    Register::RBP,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];

/// The same register, of which an address uses 32 bits.
fn narrow(register: Register) -> Register {
    match register {
        Register::None => Register::None,
        _ => Register::EAX + register.number() as u32,
    }
}

impl Operands for Draw<'_> {
    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    fn prefers_memory(&mut self) -> bool {
        self.random.chance(2)
    }

    fn address(&mut self) -> Address {
        if self.size != CodeSize::Bits64 {
            return self.address32();
        }
        let random = &mut self.random;
        let segment = match random.below(16) {
            0 => Register::GS,
            1 => random.pick(&[Register::ES, Register::CS, Register::SS, Register::DS]),
            _ => Register::None,
        };
        let displacement = match random.below(4) {
            0 => 0,
            1 | 2 => random.u64() as i8 as i64,
            _ => random.u64() as i32 as i64,
        };
        let mut address = Address {
            base: random.pick(&BASES64),
            index: Register::None,
            scale: 1,
            displacement,
            segment,
        };
        if random.chance(2) {
            let index = random.pick(&BASES64);
            if index != Register::RSP && index != address.base {
                address.index = index;
                address.scale = 1 << random.below(4);
            }
        }
        match random.below(16) {
            0 => {
                address.base = narrow(address.base);
                address.index = narrow(address.index);
                address.displacement = displacement as i32 as i64;
            }
            1 => {
                // RIP-relative: the displacement is the target.
                address.base = Register::RIP;
                address.index = Register::None;
                address.scale = 1;
                address.displacement = place(random, 16, self.aligned) as i64;
                address.segment = Register::None;
            }
            2 => {
                address.base = Register::None;
                address.index = Register::None;
                address.scale = 1;
                address.displacement = place(random, 16, self.aligned) as i64;
                address.segment = Register::None;
            }
            _ => {}
        }
        address
    }

    fn immediate(&mut self, _bits: u32) -> u64 {
        match self.random.below(3) {
            0 => self.random.below(70),
            _ => self.random.rough(),
        }
    }

    fn target(&mut self) -> u64 {
        TARGET
    }
}

impl Draw<'_> {
    /// An address outside 64-bit mode, rarely of 16 bits.
    fn address32(&mut self) -> Address {
        let random = &mut self.random;
        let segment = match random.below(8) {
            0 => random.pick(&[Register::ES, Register::CS, Register::SS, Register::FS]),
            _ => Register::None,
        };
        let displacement = match random.below(4) {
            0 => 0,
            1 | 2 => random.u64() as i8 as i64,
            _ => random.u64() as i32 as i64,
        };
        if random.chance(16) && !self.aligned {
            let (base, index) = random.pick(&[
                (Register::BX, Register::SI),
                (Register::BX, Register::DI),
                (Register::BP, Register::SI),
                (Register::BP, Register::DI),
                (Register::SI, Register::None),
                (Register::DI, Register::None),
                (Register::BP, Register::None),
                (Register::BX, Register::None),
            ]);
            return Address {
                base,
                index,
                scale: 1,
                displacement: displacement as i16 as i64,
                segment,
            };
        }
        if random.chance(8) {
            return Address {
                base: Register::None,
                index: Register::None,
                scale: 1,
                displacement: place(random, 16, self.aligned) as i64,
                segment,
            };
        }
        let base = Register::EAX + random.below(8) as u32;
        let index = Register::EAX + random.below(8) as u32;
        let indexed = random.chance(2) && index != Register::ESP && index != base;
        Address {
            base,
            index: if indexed { index } else { Register::None },
            scale: if indexed { 1 << random.below(4) } else { 1 },
            displacement,
            segment,
        }
    }
}

/// An address for `bytes` bytes in scratch memory, rarely over its edge.
fn place(random: &mut Random, bytes: u64, aligned: bool) -> u64 {
    let size = SCRATCH_BYTES as u64;
    let offset = match random.below(16) {
        // Up to the last byte, and over it.
        0 => {
            size - bytes.min(size)
                + if random.chance(8) {
                    random.below(16)
                } else {
                    0
                }
        }
        // Around the border between the two pages.
        1 => size / 2 - random.below(bytes + 1),
        2 if random.chance(8) => size + random.below(64) * 8,
        _ => random.below(size - bytes.min(size / 2)),
    };
    let mask = if aligned { !15 } else { !0 };
    SCRATCH + (offset & mask)
}

/// A vector of elements of one kind.
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
    match random.below(4) {
        0 => random.singles(),
        1 => random.doubles(),
        2 => {
            let a = vector(random);
            (a, if random.chance(2) { a } else { vector(random) })
        }
        _ => {
            let (a, b) = (vector(random), random.u128());
            let keep = vector(random);
            (a, (a & keep) | (b & !keep))
        }
    }
}

fn any_value(random: &mut Random) -> u64 {
    match random.below(8) {
        0..=3 => random.rough(),
        4 => place(random, 8, false),
        5 => random.f64(),
        6 => random.below(300),
        _ => random.u64(),
    }
}

fn write(memory: &mut [u8], address: u64, bytes: &[u8]) {
    let at = address.wrapping_sub(SCRATCH) as usize;
    if let Some(place) = memory.get_mut(at..at.saturating_add(bytes.len())) {
        place.copy_from_slice(bytes);
    }
}

fn read(memory: &[u8], address: u64, length: usize) -> Option<u64> {
    let at = address.wrapping_sub(SCRATCH) as usize;
    let bytes = memory.get(at..at.checked_add(length)?)?;
    let mut value = [0; 8];
    value[..length].copy_from_slice(bytes);
    Some(u64::from_le_bytes(value))
}

/// Any x87 state, rarely with a pending exception.
fn x87(random: &mut Random) -> X87 {
    let control = 0x37f & !(random.below(64) as u16);
    let mut status = (random.u64() & 0x7f7f) as u16;
    let pending = status & !control & 0x3f;
    if random.chance(16) {
        // ES and B say that an exception is pending.
        status |= if pending != 0 { 0x8080 } else { 0 };
    } else {
        status &= !pending;
    }
    X87 {
        control,
        status,
        valid: random.u64() as u8,
        stack: std::array::from_fn(|_| {
            let exponent = if random.chance(2) {
                0xffff
            } else {
                random.u64() as u16
            };
            u128::from(vector(random) as u64) | u128::from(exponent) << 64
        }),
    }
}

/// Status flags as instructions of all kinds leave them.
fn status_flags(random: &mut Random) -> StatusFlags {
    let mut flags = StatusFlags::default();
    flags.set_bits(random.u64());
    for _ in 0..random.below(3) {
        let (a, b) = (random.rough(), random.rough());
        match random.below(11) {
            0 => flags.set_add::<8>(a, b, a.wrapping_add(b)),
            1 => flags.set_add::<64>(a, b, a.wrapping_add(b)),
            2 => flags.set_sub::<16>(a, b, a.wrapping_sub(b)),
            3 => flags.set_sub::<32>(a, b, a.wrapping_sub(b)),
            4 => flags.set_logic::<64>(a & b),
            5 => flags.set_logic::<8>(a ^ b),
            6 => flags.set_inc::<32>(a, a.wrapping_add(1)),
            7 => flags.set_dec::<16>(a, a.wrapping_sub(1)),
            8 => flags.set_shift::<32>(a, b & 1 != 0, b & 2 != 0),
            9 => flags.set_carry_overflow(a & 1 != 0, b & 1 != 0),
            _ => flags.set_carry(a & 1 != 0),
        }
    }
    flags
}

impl Case {
    /// A case of this form; `None` if the operands drawn go together badly.
    pub fn draw(form: Form, size: CodeSize, random: &mut Random) -> Option<Case> {
        let aligned = form.code.cpuid_features().contains(&CpuidFeature::SHA) || random.chance(2);
        let mut draw = Draw {
            random,
            size,
            aligned,
        };
        let nops = draw.below(3);
        let encoded = form.encode(size, INSTRUCTION + nops as u64, &mut draw)?;
        let i = encoded.instruction;
        let register = i.op0_register().full_register();
        if matches!(i.mnemonic(), Mnemonic::Call | Mnemonic::Jmp)
            && matches!(register, Register::RSP | Register::ESP)
        {
            // The stack would be where the code is.
            return None;
        }
        let flags = status_flags(random);
        let mut before = Registers {
            general: std::array::from_fn(|_| any_value(random)),
            rip: INSTRUCTION,
            rflags: rflags::ALWAYS | rflags::IF | flags.bits(),
            xmm: [0; 16],
            uppers: [0; 16],
            mxcsr: random.mxcsr(),
            x87: x87(random),
        };
        if random.chance(8) {
            before.rflags |= rflags::DF;
        }
        for n in (0..16).step_by(2) {
            let (a, b) = pair(random);
            before.xmm[n] = a;
            before.xmm[n + 1] = b;
        }
        if host_has_avx() && !random.chance(8) {
            for n in (0..16).step_by(2) {
                let (a, b) = pair(random);
                before.uppers[n] = a;
                before.uppers[n + 1] = b;
            }
        }
        let mut memory = vec![0; SCRATCH_BYTES];
        for word in memory.chunks_exact_mut(8) {
            word.copy_from_slice(&random.u64().to_le_bytes());
        }
        let mut case = Case {
            encoded,
            nops,
            before,
            flags,
            memory,
        };
        case.aim(random);
        if size != CodeSize::Bits64 {
            for register in &mut case.before.general[..8] {
                *register &= 0xffff_ffff;
            }
        }
        Some(case)
    }

    /// All the code.
    pub fn code(&self) -> Vec<u8> {
        let mut code = vec![0x90; self.nops];
        code.extend_from_slice(&self.encoded.bytes);
        code
    }

    fn register(&mut self, register: Register) -> &mut u64 {
        &mut self.before.general[register.full_register().number() & 15]
    }

    /// Gives registers and memory values with which the instruction does something.
    fn aim(&mut self, random: &mut Random) {
        let i = self.encoded.instruction;
        self.before.general[4] = place(random, 64, false) & if random.chance(4) { !0 } else { !7 };
        self.aim_implicit(&i, random);
        let Some(bytes) = memory_bytes(&i) else {
            return self.aim_value(&i, None, random);
        };
        if i.is_vsib() {
            return self.aim_gather(&i, random);
        }
        if is_masked_move(&i) {
            // Often partly beyond the memory that exists.
            let target = if random.chance(2) {
                let edge = random.pick(&[SCRATCH, SCRATCH + SCRATCH_BYTES as u64]);
                edge.wrapping_add(random.below(3 * bytes))
                    .wrapping_sub(2 * bytes)
            } else {
                place(random, bytes, false)
            };
            self.aim_address(&i, target);
            return;
        }
        let aligned = match bytes {
            16 => is_sha(&i) || !random.chance(8),
            32 => !random.chance(3),
            _ => false,
        };
        let mut target = place(random, bytes, aligned);
        if aligned && bytes == 32 {
            target &= !31;
        }
        self.aim_bit_string(&i, random);
        let address = self.aim_address(&i, target);
        if bytes == 32 {
            for at in [0, 16] {
                let value = vector(random);
                write(&mut self.memory, address + at, &value.to_le_bytes());
            }
        } else if bytes <= 16 {
            // Often related to the other operand.
            let value = if random.chance(2) {
                let other = self.before.xmm[i.op0_register().number() & 15];
                let keep = vector(random);
                (other & keep) | (vector(random) & !keep)
            } else {
                vector(random)
            };
            write(
                &mut self.memory,
                address,
                &value.to_le_bytes()[..bytes as usize],
            );
        }
        self.aim_value(&i, Some(address), random);
    }

    /// Base and indices of a gather such that most elements exist.
    fn aim_gather(&mut self, i: &Instruction, random: &mut Random) {
        let register = i.memory_index().number() & 15;
        let scale = u64::from(i.memory_index_scale());
        let wide_index = i.is_vsib64();
        let middle = SCRATCH + SCRATCH_BYTES as u64 / 2;
        let segment = if i.memory_segment() == Register::GS {
            GS_BASE
        } else {
            0
        };
        let (base, displacement) = (i.memory_base(), i.memory_displacement64());
        // Where an index of zero leads.
        let zero = if base == Register::None {
            displacement.wrapping_add(segment)
        } else {
            let value = middle.wrapping_sub(segment).wrapping_sub(displacement);
            let upper = *self.register(base) & !0xffff_ffff;
            *self.register(base) = if base.size() == 4 {
                (value & 0xffff_ffff) | upper
            } else {
                value
            };
            middle
        };
        let half = SCRATCH_BYTES as u64 / 2;
        let mut indices = [0u8; 32];
        let size = if wide_index { 8 } else { 4 };
        for index in indices.chunks_exact_mut(size) {
            let mut offset = random.below(2 * half - 8).wrapping_sub(half);
            if random.chance(24) {
                let anywhere = random.u64();
                offset = random.pick(&[half - 4, half, half.wrapping_neg() - 4, anywhere]);
            }
            let distance = middle.wrapping_add(offset).wrapping_sub(zero) as i64;
            let value = distance / scale as i64;
            index.copy_from_slice(&value.to_le_bytes()[..size]);
        }
        let half_of = |n: usize| u128::from_le_bytes(std::array::from_fn(|k| indices[16 * n + k]));
        self.before.xmm[register] = half_of(0);
        self.before.uppers[register] = half_of(1);
        if random.chance(2) {
            // Most elements wanted.
            let mask = i.op2_register().number() & 15;
            self.before.xmm[mask] |= u128::MAX / 0xffff_ffff * 0x8000_0000;
            self.before.uppers[mask] |= u128::MAX / 0xffff_ffff * 0x8000_0000;
        }
    }

    /// String instructions, XLAT, stack frames, divisions.
    fn aim_implicit(&mut self, i: &Instruction, random: &mut Random) {
        use Mnemonic::*;
        let pointers = (0..i.op_count()).any(|n| {
            !matches!(
                i.op_kind(n),
                OpKind::Register | OpKind::Memory | OpKind::Immediate8
            )
        });
        if i.is_string_instruction() || pointers {
            let masked = matches!(i.mnemonic(), Maskmovdqu | Vmaskmovdqu);
            let narrow_index = if masked { 16 } else { 64 };
            self.before.general[6] = place(random, 64, false);
            self.before.general[7] = place(random, narrow_index, false);
            if i.has_rep_prefix() || i.has_repne_prefix() {
                self.before.general[1] = random.below(80);
                if random.chance(2) {
                    self.make_strings_equal(random);
                }
            }
        }
        match i.mnemonic() {
            Xlatb => self.before.general[3] = place(random, 256, false),
            Enter | Leave => {
                self.before.general[5] = place(random, 64, false);
            }
            Div | Idiv if random.chance(2) => {
                self.before.general[2] = match random.below(3) {
                    0 => 0,
                    1 => (self.before.general[0] as i64 >> 63) as u64,
                    _ => random.below(16),
                };
            }
            Pcmpestri | Pcmpestri64 | Pcmpestrm | Pcmpestrm64 | Vpcmpestri | Vpcmpestri64
            | Vpcmpestrm | Vpcmpestrm64
                if random.chance(2) =>
            {
                self.before.general[0] = random.below(40).wrapping_sub(20);
                self.before.general[2] = random.below(40).wrapping_sub(20);
            }
            _ => {}
        }
    }

    /// So that comparing repetitions get somewhere.
    fn make_strings_equal(&mut self, random: &mut Random) {
        let value = random.u64() as u8;
        self.before.general[0] = u64::from_le_bytes([value; 8]);
        for address in [self.before.general[6], self.before.general[7]] {
            let bytes = vec![value; 300];
            write(&mut self.memory, address, &bytes);
        }
    }

    /// The bit index of BT and its kin moves the address: not too far.
    fn aim_bit_string(&mut self, i: &Instruction, random: &mut Random) {
        use Mnemonic::*;
        if matches!(i.mnemonic(), Bt | Bts | Btr | Btc)
            && i.op1_kind() == OpKind::Register
            && !random.chance(8)
        {
            let index = random.below(16_000) as i64 - 8_000;
            let register = i.op1_register();
            let bits = 8 * register.size() as u32;
            let mask = u64::MAX >> (64 - bits);
            let rest = random.u64() & !mask;
            *self.register(register) = (index as u64 & mask) | rest;
        }
    }

    /// Changes a register so that the memory operand lies at `target`; returns where it is.
    fn aim_address(&mut self, i: &Instruction, target: u64) -> u64 {
        let (base, index) = (i.memory_base(), i.memory_index());
        let segment = if i.memory_segment() == Register::GS {
            GS_BASE
        } else {
            0
        };
        let displacement = i.memory_displacement64();
        if base == Register::RIP || (base == Register::None && index == Register::None) {
            return displacement.wrapping_add(segment);
        }
        let scaled = match index {
            Register::None => 0,
            _ => self
                .register(index)
                .wrapping_mul(u64::from(i.memory_index_scale())),
        };
        let value = target
            .wrapping_sub(segment)
            .wrapping_sub(scaled)
            .wrapping_sub(displacement);
        if base.size() == 2 {
            // Nothing is mapped that 16 bits reach: the fault tells which address it was.
            return target;
        }
        let upper = *self.register(base) & !0xffff_ffff;
        *self.register(base) = if base.size() == 4 {
            (value & 0xffff_ffff) | upper
        } else {
            value
        };
        target
    }

    /// Comparands that are equal, targets that exist.
    fn aim_value(&mut self, i: &Instruction, address: Option<u64>, random: &mut Random) {
        use Mnemonic::*;
        match i.mnemonic() {
            Cmpxchg if random.chance(2) => {
                let size = i.op1_register().size();
                let value = match address {
                    Some(address) => read(&self.memory, address, size).unwrap_or(0),
                    None => *self.register(i.op0_register()),
                };
                self.before.general[0] = value;
            }
            Cmpxchg8b | Cmpxchg16b if random.chance(2) => {
                let half = if i.mnemonic() == Cmpxchg8b { 4 } else { 8 };
                let address = address.unwrap_or(0);
                let low = read(&self.memory, address, half).unwrap_or(0);
                let high = read(&self.memory, address + half as u64, half).unwrap_or(0);
                self.before.general[0] = low;
                self.before.general[2] = high;
            }
            Jmp | Call => match address {
                Some(address) => write(&mut self.memory, address, &TARGET.to_le_bytes()),
                None if i.op0_kind() == OpKind::Register => {
                    *self.register(i.op0_register()) = TARGET;
                }
                None => {}
            },
            Ret => {
                let rsp = self.before.general[4];
                write(&mut self.memory, rsp, &TARGET.to_le_bytes());
            }
            Ldmxcsr | Vldmxcsr => {
                // Bit 17, a mask of AMD's processors, is reserved here.
                let reserved = if random.chance(4) {
                    1 << random.pick(&[16, 18, 31])
                } else {
                    0
                };
                let value = random.mxcsr() | reserved;
                write(&mut self.memory, address.unwrap_or(0), &value.to_le_bytes());
            }
            Popf | Popfd | Popfq => {
                // Neither single-stepping nor alignment checks.
                let rsp = self.before.general[4];
                let flags = random.u64() & (rflags::STATUS | rflags::DF);
                write(&mut self.memory, rsp, &flags.to_le_bytes());
            }
            _ => {}
        }
    }
}

/// The SHA extensions: Intel's manual wants their operand aligned ("Exceptions Type 4"), AMD's
/// processors do not.
fn is_sha(i: &Instruction) -> bool {
    i.cpuid_features().contains(&CpuidFeature::SHA)
}

/// Moves of the elements that a mask selects.
pub fn is_masked_move(i: &Instruction) -> bool {
    use Mnemonic::*;
    matches!(
        i.mnemonic(),
        Vmaskmovps | Vmaskmovpd | Vpmaskmovd | Vpmaskmovq
    )
}

/// Size of the explicit memory operand, if there is one.
fn memory_bytes(i: &Instruction) -> Option<u64> {
    let is_memory = (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory);
    (is_memory && i.mnemonic() != Mnemonic::Xlatb).then(|| i.memory_size().size().max(1) as u64)
}
