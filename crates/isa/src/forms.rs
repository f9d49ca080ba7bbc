//! Instructions of every form, made to order: for tests that must not forget one.
//!
//! A [`Form`] is an encoding as the decoder knows it (for instance `PADDB xmm, xmm/m128`). It is
//! encoded with operands that an implementation of [`Operands`] picks, so that the same list serves
//! a table that visits every form once and a generator that draws from it at random.
//!
//! Legacy and VEX encodings. Not made: redundant prefixes, non-canonical choices among equivalent
//! encodings, addresses with a segment override other than those asked for.

use crate::features::FeatureSet;
use crate::lift::CodeSize;
use iced_x86::{
    Code, CodeSize as DecoderCodeSize, EncodingKind, Instruction, OpCodeOperandKind, OpKind,
    Register,
};

pub use iced_x86;

/// An encoding of an instruction, operands left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// The decoder's name for it.
    pub code: Code,
}

/// The parts of a memory operand's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Base, or [`Register::None`]; its size is the address size.
    pub base: Register,
    /// Index, or [`Register::None`]. Gathers replace it by a vector register.
    pub index: Register,
    /// 1, 2, 4 or 8.
    pub scale: u32,
    /// Displacement.
    pub displacement: i64,
    /// A segment override, or [`Register::None`].
    pub segment: Register,
}

impl Address {
    /// The address in a register.
    pub const fn at(base: Register) -> Address {
        Address {
            base,
            index: Register::None,
            scale: 1,
            displacement: 0,
            segment: Register::None,
        }
    }
}

/// Picks what a form leaves open.
pub trait Operands {
    /// A number below `bound`: which register, whether a prefix is there.
    fn below(&mut self, bound: usize) -> usize;
    /// Whether an operand that may be a register or memory is memory.
    fn prefers_memory(&mut self) -> bool;
    /// The address of the memory operand.
    fn address(&mut self) -> Address;
    /// The value of an immediate of `bits` bits (higher ones are dropped).
    fn immediate(&mut self, bits: u32) -> u64;
    /// The target of a near branch; its low 16 or 32 bits count outside 64-bit mode.
    fn target(&mut self) -> u64;
}

/// An instruction as bytes, and as the decoder would describe it.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The machine code.
    pub bytes: Vec<u8>,
    /// The same.
    pub instruction: Instruction,
}

impl Form {
    /// All legacy-encoded and VEX-encoded forms that exist in code of this size with these features. Those of x87
    /// instructions that begin with WAIT are left out: WAIT is an instruction of its own.
    pub fn all(size: CodeSize, features: FeatureSet) -> impl Iterator<Item = Form> {
        Code::values()
            .filter(move |code| {
                let info = code.op_code();
                // Forms that the decoder would have to be asked for are other instructions here.
                let exists = info.decoder_option() == 0
                    && match size {
                        CodeSize::Bits16 => info.intel_decoder16(),
                        CodeSize::Bits32 => info.intel_decoder32(),
                        CodeSize::Bits64 => info.intel_decoder64(),
                    };
                info.is_instruction()
                    && matches!(info.encoding(), EncodingKind::Legacy | EncodingKind::VEX)
                    && info.is_available_in_mode(size.bits())
                    && exists
                    && !info.fwait()
                    && features.allows_code(*code)
            })
            .map(|code| Form { code })
    }

    /// The operand kinds, as the opcode map gives them.
    pub fn operand_kinds(self) -> &'static [OpCodeOperandKind] {
        self.code.op_code().op_kinds()
    }

    /// Encodes it for address `at`. `None` if the operands picked cannot be encoded together (AH with
    /// R8, for instance).
    pub fn encode(self, size: CodeSize, at: u64, operands: &mut dyn Operands) -> Option<Encoded> {
        let mut i = Instruction::default();
        i.set_code(self.code);
        i.set_code_size(match size {
            CodeSize::Bits16 => DecoderCodeSize::Code16,
            CodeSize::Bits32 => DecoderCodeSize::Code32,
            CodeSize::Bits64 => DecoderCodeSize::Code64,
        });
        let mut immediates = 0;
        for (n, kind) in self.operand_kinds().iter().enumerate() {
            set_operand(&mut i, n as u32, *kind, size, &mut immediates, operands)?;
        }
        let info = self.code.op_code();
        if info.requires_unique_reg_nums() && !has_unique_registers(&i) {
            return None;
        }
        let writes_memory = i.op0_kind() == OpKind::Memory;
        if info.can_use_lock_prefix() && writes_memory && operands.below(2) == 1 {
            i.set_has_lock_prefix(true);
        }
        if info.can_use_rep_prefix() && operands.below(2) == 1 {
            i.set_has_rep_prefix(true);
        } else if info.can_use_repne_prefix() && is_string(&i) && operands.below(2) == 1 {
            i.set_has_repne_prefix(true);
        }
        let mut encoder = iced_x86::Encoder::new(size.bits());
        encoder.encode(&i, at).ok()?;
        let bytes = encoder.take_buffer();
        let instruction = iced_x86::Decoder::with_ip(size.bits(), &bytes, at, 0).decode();
        // Some operands make another instruction of it (XCHG EAX, EAX is NOP).
        (instruction.code() == self.code).then_some(Encoded { bytes, instruction })
    }
}

fn is_string(i: &Instruction) -> bool {
    i.is_string_instruction()
}

/// Whether destination, index and mask of a gather are three registers.
fn has_unique_registers(i: &Instruction) -> bool {
    let numbers = [i.op0_register(), i.memory_index(), i.op2_register()].map(|r| r.number());
    numbers[0] != numbers[1] && numbers[0] != numbers[2] && numbers[1] != numbers[2]
}

fn pick(registers: &[Register], operands: &mut dyn Operands) -> Register {
    registers[operands.below(registers.len()) % registers.len()]
}

fn general(bytes: usize, size: CodeSize, operands: &mut dyn Operands) -> Register {
    use Register::*;
    const BYTES: [Register; 20] = [
        AL, CL, DL, BL, SPL, BPL, SIL, DIL, R8L, R9L, R10L, R11L, R12L, R13L, R14L, R15L, AH, CH,
        DH, BH,
    ];
    const OLD_BYTES: [Register; 8] = [AL, CL, DL, BL, AH, CH, DH, BH];
    const FULL: [Register; 16] = [
        RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15,
    ];
    let long = size == CodeSize::Bits64;
    match bytes {
        1 if long => pick(&BYTES, operands),
        1 => pick(&OLD_BYTES, operands),
        _ => {
            let count = if long { 16 } else { 8 };
            let number = pick(&FULL[..count], operands).number() as u32;
            let first = match bytes {
                2 => AX,
                4 => EAX,
                _ => RAX,
            };
            first + number
        }
    }
}

fn set_operand(
    i: &mut Instruction,
    n: u32,
    kind: OpCodeOperandKind,
    size: CodeSize,
    immediates: &mut u32,
    operands: &mut dyn Operands,
) -> Option<()> {
    use OpCodeOperandKind as K;
    use Register::*;
    let long = size == CodeSize::Bits64;
    let vectors = if long { 16 } else { 8 };
    let register = match kind {
        K::r8_or_mem
        | K::r16_or_mem
        | K::r32_or_mem
        | K::r64_or_mem
        | K::mm_or_mem
        | K::xmm_or_mem
        | K::ymm_or_mem
            if operands.prefers_memory() =>
        {
            set_memory(i, n, operands);
            return Some(());
        }
        K::r8_or_mem | K::r8_reg | K::r8_opcode => general(1, size, operands),
        K::r16_or_mem | K::r16_reg | K::r16_rm | K::r16_opcode => general(2, size, operands),
        K::r32_or_mem | K::r32_reg | K::r32_rm | K::r32_opcode | K::r32_vvvv => {
            general(4, size, operands)
        }
        K::r64_or_mem | K::r64_reg | K::r64_rm | K::r64_opcode | K::r64_vvvv => {
            general(8, size, operands)
        }
        K::r16_reg_mem => general(2, size, operands),
        K::r32_reg_mem => general(4, size, operands),
        K::r64_reg_mem => general(8, size, operands),
        K::mm_or_mem | K::mm_reg | K::mm_rm => MM0 + (operands.below(8) % 8) as u32,
        K::xmm_or_mem | K::xmm_reg | K::xmm_rm | K::xmm_vvvv | K::xmm_is4 => {
            XMM0 + (operands.below(vectors) % vectors) as u32
        }
        K::ymm_or_mem | K::ymm_reg | K::ymm_rm | K::ymm_vvvv | K::ymm_is4 => {
            YMM0 + (operands.below(vectors) % vectors) as u32
        }
        K::mem_vsib32x | K::mem_vsib64x | K::mem_vsib32y | K::mem_vsib64y => {
            let first = match kind {
                K::mem_vsib32x | K::mem_vsib64x => XMM0,
                _ => YMM0,
            };
            let index = first + (operands.below(vectors) % vectors) as u32;
            set_memory(i, n, operands);
            if i.memory_base().is_ip() {
                return Option::None;
            }
            // 16-bit addresses have no vector index.
            if i.memory_base().size() == 2 {
                let base = EAX + i.memory_base().number() as u32;
                i.set_memory_base(base);
                if i.memory_displ_size() == 2 {
                    i.set_memory_displ_size(4);
                }
            }
            i.set_memory_index(index);
            return Some(());
        }
        K::seg_reg => pick(&[ES, CS, SS, DS, FS, GS], operands),
        K::cr_reg if long => pick(&[CR0, CR2, CR3, CR4, CR8], operands),
        K::cr_reg => pick(&[CR0, CR2, CR3, CR4], operands),
        K::dr_reg => pick(&[DR0, DR1, DR2, DR3, DR6, DR7], operands),
        K::es => ES,
        K::cs => CS,
        K::ss => SS,
        K::ds => DS,
        K::fs => FS,
        K::gs => GS,
        K::al => AL,
        K::cl => CL,
        K::ax => AX,
        K::dx => DX,
        K::eax => EAX,
        K::rax => RAX,
        K::st0 => ST0,
        K::sti_opcode => ST0 + (operands.below(8) % 8) as u32,
        K::mem | K::mem_mpx | K::mem_mib | K::sibmem => {
            set_memory(i, n, operands);
            return Some(());
        }
        K::mem_offs => {
            i.set_op_kind(n, OpKind::Memory);
            let address = operands.address();
            i.set_segment_prefix(address.segment);
            i.set_memory_displacement64(address.displacement as u64);
            i.set_memory_displ_size(size.bits() / 8);
            return Some(());
        }
        _ => return set_other(i, n, kind, size, immediates, operands),
    };
    i.set_op_kind(n, OpKind::Register);
    i.set_op_register(n, register);
    Some(())
}

/// Immediates, branch targets, and the implicit operands of string instructions.
fn set_other(
    i: &mut Instruction,
    n: u32,
    kind: OpCodeOperandKind,
    size: CodeSize,
    immediates: &mut u32,
    operands: &mut dyn Operands,
) -> Option<()> {
    use OpCodeOperandKind as K;
    let by_size = |kinds: [OpKind; 3]| match size {
        CodeSize::Bits16 => kinds[0],
        CodeSize::Bits32 => kinds[1],
        CodeSize::Bits64 => kinds[2],
    };
    let is_second = *immediates > 0;
    match kind {
        K::imm8_const_1 => {
            i.set_op_kind(n, OpKind::Immediate8);
            i.set_immediate8(1);
        }
        K::imm8 if is_second => {
            i.set_op_kind(n, OpKind::Immediate8_2nd);
            i.set_immediate8_2nd(operands.immediate(8) as u8);
        }
        K::imm8 => {
            i.set_op_kind(n, OpKind::Immediate8);
            i.set_immediate8(operands.immediate(8) as u8);
        }
        K::imm8sex16 => {
            i.set_op_kind(n, OpKind::Immediate8to16);
            i.set_immediate8to16(operands.immediate(8) as i8 as i16);
        }
        K::imm8sex32 => {
            i.set_op_kind(n, OpKind::Immediate8to32);
            i.set_immediate8to32(operands.immediate(8) as i8 as i32);
        }
        K::imm8sex64 => {
            i.set_op_kind(n, OpKind::Immediate8to64);
            i.set_immediate8to64(operands.immediate(8) as i8 as i64);
        }
        K::imm16 => {
            i.set_op_kind(n, OpKind::Immediate16);
            i.set_immediate16(operands.immediate(16) as u16);
        }
        K::imm32 => {
            i.set_op_kind(n, OpKind::Immediate32);
            i.set_immediate32(operands.immediate(32) as u32);
        }
        K::imm32sex64 => {
            i.set_op_kind(n, OpKind::Immediate32to64);
            i.set_immediate32to64(operands.immediate(32) as i32 as i64);
        }
        K::imm64 => {
            i.set_op_kind(n, OpKind::Immediate64);
            i.set_immediate64(operands.immediate(64));
        }
        K::br16_1 | K::br16_2 => {
            i.set_op_kind(n, OpKind::NearBranch16);
            i.set_near_branch16(operands.target() as u16);
        }
        K::br32_1 | K::br32_4 => {
            i.set_op_kind(n, OpKind::NearBranch32);
            i.set_near_branch32(operands.target() as u32);
        }
        K::br64_1 | K::br64_4 => {
            i.set_op_kind(n, OpKind::NearBranch64);
            i.set_near_branch64(operands.target());
        }
        K::farbr2_2 => {
            i.set_op_kind(n, OpKind::FarBranch16);
            i.set_far_branch16(operands.target() as u16);
            i.set_far_branch_selector(operands.immediate(16) as u16);
        }
        K::farbr4_2 => {
            i.set_op_kind(n, OpKind::FarBranch32);
            i.set_far_branch32(operands.target() as u32);
            i.set_far_branch_selector(operands.immediate(16) as u16);
        }
        K::seg_rSI => i.set_op_kind(
            n,
            by_size([
                OpKind::MemorySegSI,
                OpKind::MemorySegESI,
                OpKind::MemorySegRSI,
            ]),
        ),
        K::es_rDI => i.set_op_kind(
            n,
            by_size([OpKind::MemoryESDI, OpKind::MemoryESEDI, OpKind::MemoryESRDI]),
        ),
        K::seg_rDI => i.set_op_kind(
            n,
            by_size([
                OpKind::MemorySegDI,
                OpKind::MemorySegEDI,
                OpKind::MemorySegRDI,
            ]),
        ),
        K::seg_rBX_al => {
            i.set_op_kind(n, OpKind::Memory);
            i.set_memory_base(match size {
                CodeSize::Bits16 => Register::BX,
                CodeSize::Bits32 => Register::EBX,
                CodeSize::Bits64 => Register::RBX,
            });
            i.set_memory_index(Register::AL);
        }
        // Of encodings and registers that no processor here has.
        _ => return None,
    }
    *immediates += 1;
    Some(())
}

fn set_memory(i: &mut Instruction, n: u32, operands: &mut dyn Operands) {
    let address = operands.address();
    i.set_op_kind(n, OpKind::Memory);
    i.set_segment_prefix(address.segment);
    i.set_memory_base(address.base);
    i.set_memory_index(address.index);
    i.set_memory_index_scale(address.scale);
    i.set_memory_displacement64(address.displacement as u64);
    let register = if address.base == Register::None {
        address.index
    } else {
        address.base
    };
    let displacement_bytes = match (address.displacement, register) {
        (_, Register::None) => 4,
        (0, _) => 0,
        (d, _) if i8::try_from(d).is_ok() => 1,
        _ if register.size() == 2 => 2,
        _ if register.size() == 8 => 8,
        _ => 4,
    };
    i.set_memory_displ_size(displacement_bytes);
}
