//! Sequences from a seed.
//!
//! An instruction whose operands are random hardly ever does anything: its address is not mapped, its
//! target is nowhere, its selector is bad. So the generator follows which registers still hold what it
//! knows, aims addresses with them, and puts instructions in front that prepare what the next one needs.
//! Each of these only most of the time: faults are wanted too.

use crate::catalogue::{Catalogue, Entry, Kind};
use crate::layout::{
    CODE, CODE_BYTES_MAX, DATA16_BASE, EXIT, FS_BASE, GS_BASE, MEMORY, MEMORY_SPAN, NOWHERE, PAGE,
    READ_ONLY, SLOTS_OF_16_BITS, selector, slot,
};
use crate::left_out::left_out;
use crate::random::Random;
use crate::state::State;
use crate::values::{Pools, draw_state};
use ring3_arch::rflags;
use ring3_isa::CodeSize;
use ring3_isa::forms::iced_x86::{
    Code, Decoder, DecoderError, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory,
    InstructionInfoOptions, MemorySize, Mnemonic, OpAccess, OpCodeOperandKind, OpKind, Register,
};
use ring3_isa::forms::{Address, Operands};

/// An instruction of a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// Where it stands, from the sequence's start.
    pub at: usize,
    /// The decoder's view of it.
    pub instruction: Instruction,
}

/// Something to execute, with everything that it finds.
#[derive(Clone)]
pub struct Sequence {
    /// The size of its code.
    pub size: CodeSize,
    /// The linear address of its first instruction.
    pub start: u64,
    /// Its instructions, without the jump to [`EXIT`] at the end.
    pub items: Vec<Item>,
    /// The code, with that jump.
    pub code: Vec<u8>,
    /// Registers.
    pub before: State,
    /// Where in the pool its memory comes from.
    pub memory_at: usize,
}

impl Sequence {
    /// A sequence of this code, with a jump out at the end, and the first bytes of the pool for memory.
    pub fn of_code(size: CodeSize, start: u64, code: &[u8], before: State) -> Sequence {
        let base = code_base(size);
        let mut items = Vec::new();
        let mut decoder = Decoder::with_ip(size.bits(), code, start - base, DecoderOptions::NONE);
        while decoder.can_decode() {
            let at = decoder.position();
            let instruction = decoder.decode();
            items.push(Item { at, instruction });
        }
        let mut code = code.to_vec();
        let end = start - base + code.len() as u64;
        code.extend(jump_out(size, end));
        Sequence {
            size,
            start,
            items,
            code,
            before,
            memory_at: 0,
        }
    }

    /// The base of its code segment.
    pub fn code_base(&self) -> u64 {
        code_base(self.size)
    }
}

fn code_base(size: CodeSize) -> u64 {
    if size == CodeSize::Bits16 { CODE } else { 0 }
}

/// The base of the segment that data are in.
fn data_base(size: CodeSize) -> u64 {
    if size == CodeSize::Bits16 {
        DATA16_BASE
    } else {
        0
    }
}

/// The jump to [`EXIT`] that stands at offset `here` of the code segment.
fn jump_out(size: CodeSize, here: u64) -> Vec<u8> {
    let mut code = Vec::with_capacity(8);
    if size == CodeSize::Bits64 {
        code.push(0xe9);
        let displacement = EXIT.wrapping_sub(here + 5) as u32;
        code.extend(displacement.to_le_bytes());
        return code;
    }
    if size == CodeSize::Bits16 {
        code.push(0x66);
    }
    code.push(0xea);
    code.extend((EXIT as u32).to_le_bytes());
    code.extend(selector::CODE64.to_le_bytes());
    code
}

/// What the operand in ModRM should be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Any,
    Value(u32),
    /// The address of some instruction.
    Target,
}

/// A place in the code that gets its value when all instructions have their addresses.
#[derive(Clone, Copy)]
enum Patch {
    /// Displacement of a branch: the last `bytes` bytes of item `item`.
    Relative { item: usize, bytes: usize },
    /// An offset in the code segment at the end of item `item`.
    Absolute { item: usize, bytes: usize },
}

/// Makes sequences.
pub struct Generator {
    info: InstructionInfoFactory,
    /// Whether 16-bit code can be run.
    pub sixteen_bits: bool,
    /// Whether the upper halves of vector registers exist.
    pub avx: bool,
}

struct Draft<'a> {
    random: &'a mut Random,
    info: &'a mut InstructionInfoFactory,
    catalogue: &'a Catalogue,
    size: CodeSize,
    start: u64,
    items: Vec<Item>,
    code: Vec<u8>,
    known: [Option<u64>; 16],
    patches: Vec<Patch>,
}

/// What [`Operands`] are drawn from.
struct Draw<'a> {
    random: &'a mut Random,
    size: CodeSize,
    known: &'a [Option<u64>; 16],
    /// What the address should be.
    target: u64,
    memory: bool,
    /// The address stands in the instruction whole.
    absolute: bool,
    /// The selector, if the instruction has a far pointer.
    far: Option<u16>,
    here: u64,
}

const GENERAL: [Register; 16] = [
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

impl Draw<'_> {
    fn registers(&self) -> usize {
        if self.size == CodeSize::Bits64 { 16 } else { 8 }
    }

    /// A register whose value is known, preferably.
    fn known_register(&mut self) -> (usize, Option<u64>) {
        let count = self.registers();
        let first = self.random.below(count as u64) as usize;
        for n in 0..count {
            let number = (first + n) % count;
            if let Some(value) = self.known[number] {
                return (number, Some(value));
            }
        }
        (first, None)
    }

    fn nowhere(&mut self) -> Address {
        Address {
            base: Register::None,
            index: Register::None,
            scale: 1,
            displacement: 0,
            segment: Register::None,
        }
    }

    fn segment(&mut self) -> (Register, u64) {
        if self.size != CodeSize::Bits64 {
            let base = data_base(self.size);
            return match self.random.below(16) {
                0 => (self.random.pick(&[Register::ES, Register::DS]), base),
                1 if self.random.chance(8) => (
                    self.random
                        .pick(&[Register::CS, Register::SS, Register::FS, Register::GS]),
                    0,
                ),
                _ => (Register::None, base),
            };
        }
        match self.random.below(32) {
            0 => (Register::GS, GS_BASE),
            1 => (Register::FS, FS_BASE),
            2 => (
                self.random
                    .pick(&[Register::ES, Register::CS, Register::SS, Register::DS]),
                0,
            ),
            _ => (Register::None, 0),
        }
    }
}

impl Operands for Draw<'_> {
    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    fn prefers_memory(&mut self) -> bool {
        self.memory
    }

    fn address(&mut self) -> Address {
        let (segment, base) = self.segment();
        let target = self.target.wrapping_sub(base);
        let mut address = Address {
            segment,
            displacement: target as i64,
            ..self.nowhere()
        };
        let long = self.size == CodeSize::Bits64;
        if !long {
            address.displacement = i64::from(target as u32 as i32);
        }
        if self.absolute {
            return address;
        }
        let choice = self.random.below(16);
        match choice {
            0 => return address,
            1 if long => {
                // RIP-relative: the displacement is the target.
                address.base = Register::RIP;
                return address;
            }
            2..10 if self.size == CodeSize::Bits16 => {
                let (base, index) = self.random.pick(&[
                    (Register::BX, Register::SI),
                    (Register::BX, Register::DI),
                    (Register::BP, Register::SI),
                    (Register::BP, Register::DI),
                    (Register::SI, Register::None),
                    (Register::DI, Register::None),
                    (Register::BP, Register::None),
                    (Register::BX, Register::None),
                ]);
                let value = |register: Register| match register {
                    Register::None => 0,
                    _ => self.known[register.full_register().number() & 15].unwrap_or(0),
                };
                let sum = value(base).wrapping_add(value(index));
                (address.base, address.index) = (base, index);
                address.displacement = i64::from(target.wrapping_sub(sum) as i16);
                return address;
            }
            _ => {}
        }
        // 32-bit registers, always outside 64-bit mode.
        let narrow = !long || choice == 3;
        let (base, value) = self.known_register();
        let stack = matches!(base, 4 | 5) && address.segment == Register::None && !long;
        // Another segment, whose base is zero.
        let target = if stack { self.target } else { target };
        let mut sum = value.unwrap_or_else(|| self.random.u64());
        address.base = GENERAL[base];
        if self.random.chance(2) {
            let (index, value) = self.known_register();
            if index != 4 {
                address.index = GENERAL[index];
                address.scale = 1 << self.random.below(4);
                let value = value.unwrap_or_else(|| self.random.u64());
                sum = sum.wrapping_add(value.wrapping_mul(address.scale.into()));
            }
        }
        if narrow {
            address.base = Register::EAX + address.base.number() as u32;
            if address.index != Register::None {
                address.index = Register::EAX + address.index.number() as u32;
            }
        }
        let displacement = target.wrapping_sub(sum) as i64;
        let fits = i32::try_from(displacement).is_ok();
        if narrow {
            address.displacement = displacement as i32 as i64;
        } else if fits {
            address.displacement = displacement;
        } else if self.random.chance(24) {
            // Somewhere else, or not even canonical.
            address.displacement = i64::from(self.random.u64() as i8);
        } else {
            address.base = Register::RIP;
            address.index = Register::None;
            address.scale = 1;
        }
        address
    }

    fn immediate(&mut self, bits: u32) -> u64 {
        if let (Some(selector), 16) = (self.far, bits) {
            return selector.into();
        }
        match self.random.below(8) {
            0..3 => self.random.below(70),
            3 if bits == 64 => MEMORY + self.random.below(MEMORY_SPAN),
            _ => self.random.rough(),
        }
    }

    fn target(&mut self) -> u64 {
        match self.far {
            Some(selector::CODE64) => EXIT,
            // Only 64-bit code can go on there.
            Some(_) => NOWHERE,
            None => self.here,
        }
    }
}

/// An address for an operand of `bytes` bytes, now and then over an edge.
fn place(bytes: u64, aligned: bool, random: &mut Random) -> u64 {
    let size = bytes.clamp(1, 1024);
    let at = match random.below(48) {
        // Across the boundary between the two pages.
        0..5 => MEMORY + PAGE - random.below(size + 1),
        // At the end, or over it.
        5 => MEMORY + MEMORY_SPAN - size,
        6 => MEMORY + MEMORY_SPAN - random.below(size) - 1,
        // Into the read-only page, or across its end.
        7 => MEMORY - random.below(size + 1),
        8 => READ_ONLY + random.below(PAGE - size),
        _ => MEMORY + random.below(MEMORY_SPAN - size),
    };
    if aligned {
        at & !(size.next_power_of_two().min(64) - 1)
    } else {
        at
    }
}

impl Draft<'_> {
    fn here(&self) -> u64 {
        self.start - code_base(self.size) + self.code.len() as u64
    }

    /// Appends an instruction that has been encoded for this place.
    fn push(&mut self, bytes: &[u8], instruction: Instruction) {
        let at = self.code.len();
        self.code.extend_from_slice(bytes);
        self.items.push(Item { at, instruction });
        if !instruction.is_invalid() {
            let info = self
                .info
                .info_options(&instruction, InstructionInfoOptions::NO_MEMORY_USAGE);
            for used in info.used_registers() {
                let writes = !matches!(
                    used.access(),
                    OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess | OpAccess::None
                );
                let register = used.register();
                if writes && register.is_gpr() {
                    self.known[register.full_register().number() & 15] = None;
                }
            }
        }
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        let mut decoder =
            Decoder::with_ip(self.size.bits(), bytes, self.here(), DecoderOptions::NONE);
        let instruction = decoder.decode();
        self.push(bytes, instruction);
    }

    fn room(&self) -> bool {
        // The longest preparation, the longest instruction, and the jump at the end.
        self.code.len() + 80 < CODE_BYTES_MAX
    }

    /// MOV of a 32-bit immediate into a general register. Its length depends on the mode alone.
    fn set_register(&mut self, number: usize, value: u32) {
        let low = (number & 7) as u8;
        let mut bytes: Vec<u8> = match self.size {
            // Sign-extended, with REX.
            CodeSize::Bits64 => vec![0x48 | (number >> 3) as u8, 0xc7, 0xc0 | low],
            CodeSize::Bits32 => vec![0xb8 | low],
            CodeSize::Bits16 => vec![0x66, 0xb8 | low],
        };
        bytes.extend(value.to_le_bytes());
        self.push_bytes(&bytes);
        self.known[number] = Some(i64::from(value as i32) as u64);
    }

    fn set_register_length(&self) -> usize {
        match self.size {
            CodeSize::Bits64 => 7,
            CodeSize::Bits32 => 5,
            CodeSize::Bits16 => 6,
        }
    }

    /// MOV of a 32-bit immediate to an absolute address; in 64-bit mode `wide` clears the four bytes
    /// behind it.
    fn set_memory(&mut self, address: u64, value: u32, wide: bool) {
        let mut bytes: Vec<u8> = match self.size {
            CodeSize::Bits64 if wide => vec![0x48, 0xc7, 0x04, 0x25],
            CodeSize::Bits64 => vec![0xc7, 0x04, 0x25],
            CodeSize::Bits32 => vec![0xc7, 0x05],
            CodeSize::Bits16 => vec![0x66, 0x67, 0xc7, 0x05],
        };
        let offset = address.wrapping_sub(data_base(self.size)) as u32;
        bytes.extend(offset.to_le_bytes());
        bytes.extend(value.to_le_bytes());
        self.push_bytes(&bytes);
    }

    fn set_memory_length(&self, wide: bool) -> usize {
        match self.size {
            CodeSize::Bits64 if wide => 12,
            CodeSize::Bits64 => 11,
            CodeSize::Bits32 => 10,
            CodeSize::Bits16 => 12,
        }
    }

    /// PUSH of an immediate of the mode's own size.
    fn push_immediate(&mut self, value: u32) {
        let mut bytes = vec![0x68];
        match self.size {
            CodeSize::Bits16 => bytes.extend((value as u16).to_le_bytes()),
            _ => bytes.extend(value.to_le_bytes()),
        }
        self.push_bytes(&bytes);
    }

    /// PUSH of the address of some instruction.
    fn push_target(&mut self) {
        self.push_immediate(0);
        let bytes = if self.size == CodeSize::Bits16 { 2 } else { 4 };
        let item = self.items.len() - 1;
        self.patches.push(Patch::Absolute { item, bytes });
    }

    /// What ModRM's operand should be for an instruction to do something.
    fn wish(&mut self, code: Code) -> Wish {
        use Mnemonic::*;
        let random = &mut *self.random;
        match code.mnemonic() {
            Jmp | Call if code.op_code().op_kinds().len() == 1 && !random.chance(8) => {
                match code.flow_control() {
                    FlowControl::IndirectBranch | FlowControl::IndirectCall => Wish::Target,
                    _ => Wish::Any,
                }
            }
            Lar | Lsl | Verr | Verw | Lldt | Ltr => Wish::Value(selector_value(random)),
            Mov if code.op_code().op0_kind() == OpCodeOperandKind::seg_reg => {
                Wish::Value(selector_value(random))
            }
            Ldmxcsr if !random.chance(8) => Wish::Value(random.mxcsr()),
            _ => Wish::Any,
        }
    }

    /// Whether a register is known to point into memory.
    fn is_pointer(&self, number: usize) -> bool {
        let base = data_base(self.size);
        self.known[number]
            .is_some_and(|v| (MEMORY..MEMORY + MEMORY_SPAN - 64).contains(&v.wrapping_add(base)))
    }

    /// An offset for an operand of `bytes` bytes.
    fn pointer(&mut self, bytes: u64) -> u32 {
        place(bytes, false, self.random).wrapping_sub(data_base(self.size)) as u32
    }

    /// Instructions before one with implicit operands.
    fn prepare(&mut self, entry: &Entry, target: u64) {
        use Mnemonic::*;
        let code = entry.form.code;
        let mnemonic = code.mnemonic();
        if self.random.chance(8) {
            return;
        }
        let string = code.is_string_instruction();
        if string || matches!(mnemonic, Maskmovq | Maskmovdqu | Vmaskmovdqu) {
            for number in [6, 7] {
                if !self.is_pointer(number) {
                    let value = self.pointer(32);
                    self.set_register(number, value);
                }
            }
            if string && self.known[1].is_none_or(|count| count >= 100) {
                let value = self.random.below(40) as u32;
                self.set_register(1, value);
            }
            return;
        }
        match mnemonic {
            Xlatb if !self.is_pointer(3) => {
                let value = self.pointer(256);
                self.set_register(3, value);
            }
            Enter | Leave if !self.known[5].is_some_and(is_linear_pointer) => {
                let value = place(64, false, self.random) as u32;
                self.set_register(5, value);
            }
            Div | Idiv => {
                if entry.memory_bytes > 1 {
                    let value = self.random.below(2) as u32;
                    self.set_register(2, value);
                }
                if self.random.chance(2) {
                    let value = self.random.rough() as u32 & 0x3fff;
                    self.set_register(0, value);
                }
            }
            Loop | Loope | Loopne | Jrcxz | Jecxz | Jcxz => {
                let value = self.random.below(5) as u32;
                self.set_register(1, value);
            }
            Pop if is_segment(code) => {
                let value = selector_value(self.random);
                self.push_immediate(value);
            }
            Lss | Lfs | Lgs | Lds | Les => {
                let value = selector_value(self.random);
                self.set_memory(target + u64::from(entry.memory_bytes) - 2, value, false);
            }
            Jmp | Call if entry.memory_bytes == 6 || entry.memory_bytes == 4 => {
                self.prepare_far_branch(code, target);
            }
            Popf | Popfd | Popfq => {
                let mut flags = self.random.u64() & (rflags::STATUS | rflags::DF);
                for bit in [rflags::TF, rflags::AC, rflags::ID, rflags::NT] {
                    if self.random.chance(12) {
                        flags |= bit;
                    }
                }
                self.push_immediate(flags as u32);
            }
            Ret => self.push_target(),
            Retf => self.prepare_far_return(code),
            Iret | Iretd | Iretq => self.prepare_interrupt_return(code),
            Cmpxchg | Cmpxchg8b | Cmpxchg16b if self.random.chance(2) => {
                self.load_accumulator(mnemonic, target);
            }
            Fxrstor | Fxrstor64 => {
                let value = self.random.mxcsr();
                self.set_memory(target + 24, value, false);
            }
            _ if entry.is_xsave() => self.prepare_xsave(mnemonic, target),
            _ => {}
        }
    }

    /// Selector and offset for RETF of the mode's operand size, or with REX.W.
    fn prepare_far_return(&mut self, code: Code) {
        let name = format!("{code:?}");
        match self.size {
            CodeSize::Bits64 if name.starts_with("Retfq") => {
                self.push_immediate(selector::CODE64.into());
                self.push_target();
            }
            CodeSize::Bits64 if name.starts_with("Retfd") => {
                self.push_target();
                // mov dword ptr [rsp + 4], selector
                let low = selector::CODE64.to_le_bytes();
                self.push_bytes(&[0xc7, 0x44, 0x24, 4, low[0], low[1], 0, 0]);
            }
            CodeSize::Bits32 if name.starts_with("Retfd") => {
                self.push_immediate(selector::CODE32.into());
                self.push_target();
            }
            CodeSize::Bits16 if name.starts_with("Retfw") => {
                self.push_immediate(selector::CODE16.into());
                self.push_target();
            }
            _ => {}
        }
    }

    /// A far pointer in memory, of the mode's operand size.
    fn prepare_far_branch(&mut self, code: Code, target: u64) {
        let (bytes, selector) = match (self.size, code) {
            (CodeSize::Bits64, Code::Jmp_m1632 | Code::Call_m1632) => (4, selector::CODE64),
            (CodeSize::Bits32, Code::Jmp_m1632 | Code::Call_m1632) => (4, selector::CODE32),
            (CodeSize::Bits16, Code::Jmp_m1632 | Code::Call_m1632) => (4, selector::CODE16),
            (CodeSize::Bits16, Code::Jmp_m1616 | Code::Call_m1616) => (2, selector::CODE16),
            _ => return,
        };
        let item = self.items.len();
        self.set_memory(target, 0, false);
        self.patches.push(Patch::Absolute { item, bytes: 4 });
        self.set_memory(target + bytes, selector.into(), false);
    }

    fn prepare_interrupt_return(&mut self, code: Code) {
        match (self.size, code) {
            (CodeSize::Bits64, Code::Iretq) => {
                // mov rax, rsp; push selector; push rax; pushfq
                self.push_bytes(&[0x48, 0x89, 0xe0]);
                self.push_immediate(selector::DATA.into());
                self.push_bytes(&[0x50]);
                self.push_bytes(&[0x9c]);
                self.push_immediate(selector::CODE64.into());
                self.push_target();
            }
            (CodeSize::Bits32, Code::Iretd) => {
                self.push_bytes(&[0x9c]);
                self.push_immediate(selector::CODE32.into());
                self.push_target();
            }
            (CodeSize::Bits16, Code::Iretw) => {
                self.push_bytes(&[0x9c]);
                self.push_immediate(selector::CODE16.into());
                self.push_target();
            }
            _ => {}
        }
    }

    /// MOV from memory, so that CMPXCHG finds what it compares with.
    fn load_accumulator(&mut self, mnemonic: Mnemonic, target: u64) {
        let prefix: &[u8] = match (self.size, mnemonic) {
            (CodeSize::Bits64, Mnemonic::Cmpxchg8b) => &[],
            (CodeSize::Bits64, _) => &[0x48],
            (CodeSize::Bits32, _) => &[],
            (CodeSize::Bits16, _) => &[0x66, 0x67],
        };
        let half = if mnemonic == Mnemonic::Cmpxchg16b {
            8
        } else {
            4
        };
        for (register, at) in [(0u8, target), (2, target + half)] {
            let mut bytes = prefix.to_vec();
            bytes.push(0x8b);
            if self.size == CodeSize::Bits64 {
                bytes.extend([0x04 | register << 3, 0x25]);
            } else {
                bytes.push(0x05 | register << 3);
            }
            let offset = at.wrapping_sub(data_base(self.size)) as u32;
            bytes.extend(offset.to_le_bytes());
            self.push_bytes(&bytes);
            if mnemonic == Mnemonic::Cmpxchg {
                break;
            }
        }
    }

    /// A header of an XSAVE area that is valid, and components that exist.
    fn prepare_xsave(&mut self, mnemonic: Mnemonic, target: u64) {
        use Mnemonic::*;
        let components = if self.catalogue.features.has(ring3_arch::cpuid::Feature::Avx) {
            7
        } else {
            3
        };
        let wanted = self.random.u64() as u32 & components;
        self.set_register(0, wanted);
        self.set_register(2, 0);
        if matches!(mnemonic, Xrstor | Xrstor64) {
            let mxcsr = self.random.mxcsr();
            self.set_memory(target + 24, mxcsr, false);
            let present = self.random.u64() as u32 & components;
            for (at, value) in [
                (512, present),
                (516, 0),
                (520, 0),
                (524, 0),
                (528, 0),
                (532, 0),
            ] {
                self.set_memory(target + at, value, false);
            }
        }
    }

    /// Puts one instruction of this encoding, with whatever it needs, at the end.
    fn add(&mut self, entry: &Entry) {
        let code = entry.form.code;
        let bytes = u64::from(entry.memory_bytes);
        let xsave = entry.is_xsave();
        let size = if xsave { 832 } else { bytes };
        let wants_alignment = bytes >= 16;
        let aligned = xsave && !self.random.chance(16)
            || wants_alignment && !self.random.chance(24)
            || self.random.chance(3);
        let target = place(size, aligned, self.random);
        self.prepare(entry, target);
        let wish = self.wish(code);
        let memory = self.random.chance(2);
        let target_bytes = match self.size {
            CodeSize::Bits64 => 8,
            CodeSize::Bits32 => 4,
            CodeSize::Bits16 => 2,
        };
        let wide = wish == Wish::Target;
        let reserved = match (wish, memory) {
            (Wish::Any, _) => 0,
            (_, true) => self.set_memory_length(wide),
            (_, false) => self.set_register_length(),
        };
        let here = self.here() + reserved as u64;
        let kinds = code.op_code().op_kinds();
        let far = kinds.iter().any(|kind| {
            matches!(
                kind,
                OpCodeOperandKind::farbr2_2 | OpCodeOperandKind::farbr4_2
            )
        });
        let selectors = [
            selector::CODE64,
            selector::CODE32,
            selector::CODE16,
            selector::DATA,
        ];
        let selector = self.random.pick(&selectors);
        let mut draw = Draw {
            random: self.random,
            size: self.size,
            known: &self.known,
            target,
            memory,
            absolute: kinds.contains(&OpCodeOperandKind::mem_offs),
            far: far.then_some(selector),
            here,
        };
        let Some(mut encoded) = entry.form.encode(self.size, here, &mut draw) else {
            return;
        };
        let i = encoded.instruction;
        if left_out(&i).is_some() || self.loses_stack(&i) {
            return;
        }
        let branch = (0..i.op_count()).find(|&n| {
            matches!(
                i.op_kind(n),
                OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64
            )
        });
        if wish != Wish::Any {
            let is_memory = (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory);
            let value = match wish {
                Wish::Value(value) => value,
                _ => 0,
            };
            let register = (0..i.op_count())
                .rev()
                .map(|n| i.op_register(n))
                .find(|register| register.is_gpr());
            if is_memory != memory {
                return;
            }
            let item = self.items.len();
            if is_memory {
                self.set_memory(target, value, wide);
            } else {
                let Some(register) = register else {
                    return;
                };
                let number = register.full_register().number() & 15;
                if number == 4 {
                    return;
                }
                self.set_register(number, value);
            }
            if wish == Wish::Target {
                let bytes = target_bytes.min(4);
                // A 16-bit offset stands in the low half of the 32-bit immediate; the upper half is
                // zero then.
                self.patches.push(Patch::Absolute {
                    item,
                    bytes: if bytes == 2 { 4 } else { bytes },
                });
            }
        }
        if branch.is_some() {
            let item = self.items.len();
            let bytes = relative_bytes(code);
            self.patches.push(Patch::Relative { item, bytes });
        } else if self.random.chance(24) {
            self.mutate(&mut encoded.bytes, &mut encoded.instruction, here);
        }
        self.push(&encoded.bytes, encoded.instruction);
        if let (Code::Mov_r64_imm64, register) = (code, i.op0_register()) {
            self.known[register.number() & 15] = Some(i.immediate64());
        }
    }

    /// Whether an instruction makes the stack pointer useless, which is worth trying rarely.
    fn loses_stack(&mut self, i: &Instruction) -> bool {
        let writes = i.op0_kind() == OpKind::Register
            && i.op0_register().full_register() == Register::RSP
            && !matches!(
                i.mnemonic(),
                Mnemonic::Push | Mnemonic::Cmp | Mnemonic::Test
            );
        writes && !self.random.chance(8)
    }

    /// Puts a prefix in front. What comes out is another instruction, the same one, or none.
    fn mutate(&mut self, bytes: &mut Vec<u8>, instruction: &mut Instruction, here: u64) {
        const PREFIXES: [u8; 10] = [0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x26, 0x2e, 0x36, 0x3e, 0x66];
        if instruction.op0_register().is_cr() || instruction.op1_register().is_cr() {
            // With LOCK another register with one vendor's processors.
            return;
        }
        let mut changed = bytes.clone();
        if self.size == CodeSize::Bits64 && self.random.chance(3) {
            // REX, which counts only directly before the opcode; or one more that does not.
            let legacy = changed
                .iter()
                .take_while(|b| {
                    matches!(
                        b,
                        0x66 | 0x67 | 0xf2 | 0xf3 | 0xf0 | 0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65
                    )
                })
                .count();
            let rex = 0x40 | self.random.below(16) as u8;
            changed.insert(legacy, rex);
        } else {
            changed.insert(0, self.random.pick(&PREFIXES));
        }
        let mut decoder = Decoder::with_ip(self.size.bits(), &changed, here, DecoderOptions::NONE);
        let decoded = decoder.decode();
        let same_length = decoded.len() == changed.len();
        let near_branch = matches!(
            decoded.mnemonic(),
            Mnemonic::Call | Mnemonic::Jmp | Mnemonic::Ret
        );
        // A decoder that wants more bytes has met a longer instruction.
        let incomplete = decoder.last_error() == DecoderError::NoMoreBytes;
        let known = decoded.is_invalid() && !incomplete
            || self.catalogue.number(self.size, decoded.code()).is_some();
        // A prefix of near branches in 64-bit mode is ignored by one vendor's processors only.
        if known
            && (same_length || decoded.is_invalid())
            && !near_branch
            && changed.len() <= 15
            && left_out(&decoded).is_none()
        {
            *bytes = changed;
            *instruction = decoded;
        }
    }

    /// Where the jump out begins, and the jump.
    fn finish(&mut self) {
        let end = self.code.len();
        self.code.extend(jump_out(self.size, self.here()));
        self.patch(end);
    }

    /// Whether a branch depends on flags that an instruction before it leaves undefined. Such a loop may
    /// end in the machine and not on the host.
    fn reads_undefined_flags(&self, item: usize) -> bool {
        let mut undefined = 0;
        for Item { instruction: i, .. } in &self.items[..item] {
            let defined = i.rflags_written() | i.rflags_cleared() | i.rflags_set();
            // Shifts by zero change nothing.
            if shift(i) {
                undefined |= i.rflags_modified();
            } else {
                undefined = undefined & !defined | i.rflags_undefined();
            }
        }
        self.items[item].instruction.rflags_read() & undefined != 0
    }

    /// Gives every branch a target: the start of some instruction, or the end.
    fn patch(&mut self, end: usize) {
        let base = self.start - code_base(self.size);
        let patches = std::mem::take(&mut self.patches);
        for patch in patches {
            let (Patch::Relative { item, bytes } | Patch::Absolute { item, bytes }) = patch;
            let at = self.items[item].at;
            let length = self.items[item].instruction.len();
            // What comes before an instruction that was prepared for belongs to it, but any start will
            // do. Mostly forward: loops must end.
            let forward = self.items.len() - item;
            let to = if item > 0 && self.random.chance(4) && !self.reads_undefined_flags(item) {
                self.random.below(item as u64 + 1) as usize
            } else {
                item + 1 + self.random.below(forward as u64) as usize
            };
            let to = self.items.get(to).map_or(end, |item| item.at);
            let field = at + length - bytes;
            match patch {
                Patch::Relative { .. } => {
                    let displacement = to as i64 - (at + length) as i64;
                    let displacement = if bytes == 1 {
                        // As near as it gets.
                        match i8::try_from(displacement) {
                            Ok(displacement) => i64::from(displacement),
                            Err(_) => 0,
                        }
                    } else {
                        displacement
                    };
                    let value = displacement.to_le_bytes();
                    self.code[field..field + bytes].copy_from_slice(&value[..bytes]);
                }
                Patch::Absolute { .. } => {
                    let value = (base + to as u64).to_le_bytes();
                    self.code[field..field + bytes].copy_from_slice(&value[..bytes]);
                }
            }
            let ip = base + at as u64;
            let bytes = &self.code[at..at + length];
            let decoder = Decoder::with_ip(self.size.bits(), bytes, ip, DecoderOptions::NONE);
            self.items[item].instruction = { decoder }.decode();
        }
    }
}

impl Entry {
    /// An instruction with an XSAVE or FXSAVE area.
    fn is_xsave(&self) -> bool {
        matches!(
            self.form.code.op_code().memory_size(),
            MemorySize::Xsave
                | MemorySize::Xsave64
                | MemorySize::Fxsave_512Byte
                | MemorySize::Fxsave64_512Byte
        )
    }
}

/// POP of a segment register.
fn is_segment(code: Code) -> bool {
    use OpCodeOperandKind as K;
    matches!(
        code.op_code().op0_kind(),
        K::es | K::ss | K::ds | K::fs | K::gs
    )
}

fn shift(i: &Instruction) -> bool {
    use Mnemonic::*;
    matches!(
        i.mnemonic(),
        Shl | Sal | Shr | Sar | Shld | Shrd | Rol | Ror | Rcl | Rcr
    )
}

/// Bytes of a near branch's displacement.
fn relative_bytes(code: Code) -> usize {
    use OpCodeOperandKind as K;
    match code.op_code().op0_kind() {
        K::br16_1 | K::br32_1 | K::br64_1 => 1,
        K::br16_2 => 2,
        _ => 4,
    }
}

fn is_linear_pointer(value: u64) -> bool {
    (MEMORY..MEMORY + MEMORY_SPAN - 64).contains(&value)
}

fn selector_value(random: &mut Random) -> u32 {
    match random.below(8) {
        0 => random.u64() as u32 & 0xffff,
        1 => random.below(4) as u32,
        2 => random.below(0x90) as u32,
        _ => random
            .pick(&[
                selector::DATA,
                selector::DATA,
                selector::CODE64,
                selector::DATA16,
            ])
            .into(),
    }
}

impl Generator {
    /// For machines with or without AVX.
    pub fn new(sixteen_bits: bool, avx: bool) -> Generator {
        Generator {
            info: InstructionInfoFactory::new(),
            sixteen_bits,
            avx,
        }
    }

    /// The sequence of this generator's state, to stand in slot `number`.
    pub fn draw(
        &mut self,
        catalogue: &Catalogue,
        pools: &Pools,
        number: usize,
        random: &mut Random,
    ) -> Sequence {
        let size = match random.below(8) {
            0 => CodeSize::Bits32,
            1 if self.sixteen_bits && number < SLOTS_OF_16_BITS => CodeSize::Bits16,
            _ => CodeSize::Bits64,
        };
        let (mut before, memory_at) = draw_state(size, pools, self.avx, random);
        // Not in the first bytes, which belong to the slot before.
        let room = PAGE - CODE_BYTES_MAX as u64;
        let offset = if random.chance(4) {
            PAGE - 1 - random.below(64)
        } else {
            CODE_BYTES_MAX as u64 + random.below(room - 1)
        };
        let start = slot(number) + offset;
        before.rip = start - code_base(size);
        let encodings = catalogue.of(size);
        let theme = &encodings.themes[random.below(encodings.themes.len() as u64) as usize];
        let longest = 2 << random.below(5);
        let length = 1 + random.below(longest) as usize;
        let mut known = before.general.map(Some);
        if size != CodeSize::Bits64 {
            known[8..].fill(None);
        }
        let mut draft = Draft {
            random,
            info: &mut self.info,
            catalogue,
            size,
            start,
            items: Vec::with_capacity(length + 8),
            code: Vec::with_capacity(CODE_BYTES_MAX),
            known,
            patches: Vec::new(),
        };
        let mut tries = 2 * length;
        while draft.items.len() < length && draft.room() && tries > 0 {
            let pick = theme[draft.random.below(theme.len() as u64) as usize];
            let entry = &encodings.entries[usize::from(pick)];
            let privileged = entry.kind == Kind::Privileged;
            draft.add(entry);
            if privileged && draft.items.len() > 1 && !draft.random.chance(4) {
                // Nothing behind it would be executed.
                break;
            }
            tries -= 1;
        }
        draft.finish();
        let Draft { items, code, .. } = draft;
        Sequence {
            size,
            start,
            items,
            code,
            before,
            memory_at,
        }
    }
}
