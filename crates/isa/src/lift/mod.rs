//! From instructions to micro-ops.
//!
//! One file per family: [`integer`], [`control`], [`stack`], [`string`], [`system`], [`vector`],
//! [`x87`]. Each family is a function that takes the decoded instruction and appends micro-ops to
//! a [`Builder`]; it answers `false` for mnemonics that are not its own.

mod builder;
mod control;
mod integer;
mod stack;
mod string;
mod system;
#[cfg(test)]
mod tests;
mod vector;
mod x87;

pub(crate) use builder::{Builder, Memory, Size};

use crate::features::{FeatureSet, is_hint};
use crate::{Op, Uop};
use iced_x86::{
    Decoder, DecoderError, DecoderOptions, Formatter, Instruction, Mnemonic, NasmFormatter,
};
use ring3_arch::Exception;

/// Instructions in a block at most.
const BLOCK_INSTRUCTIONS: usize = 32;
/// Micro-ops in a block at most, before the last instruction.
const BLOCK_UOPS: usize = 160;

/// The default operand and address size of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodeSize {
    /// Real mode, virtual-8086 mode, or CS.D clear.
    Bits16,
    /// CS.D set outside 64-bit mode.
    Bits32,
    /// 64-bit mode: EFER.LMA and CS.L set.
    Bits64,
}

impl CodeSize {
    /// 16, 32 or 64.
    pub const fn bits(self) -> u32 {
        match self {
            CodeSize::Bits16 => 16,
            CodeSize::Bits32 => 32,
            CodeSize::Bits64 => 64,
        }
    }
}

/// Whether a register set can be used now, as the control registers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Usability {
    /// Its instructions execute.
    #[default]
    Usable,
    /// They raise #NM.
    NotAvailable,
    /// They raise #UD.
    Undefined,
}

/// Everything besides the bytes that decides what they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeMode {
    /// Operand and address size.
    pub size: CodeSize,
    /// SS.B: the stack pointer is ESP, not SP. Ignored in 64-bit mode.
    pub stack32: bool,
    /// CR0.PE is clear or RFLAGS.VM is set: segments are loaded without descriptors.
    pub real: bool,
    /// Whether x87 can be used (CR0.EM, CR0.TS).
    pub x87: Usability,
    /// Whether MMX can be used: where x87 is emulated it does not exist (CR0.EM, CR0.TS).
    pub mmx: Usability,
    /// Whether WAIT raises #NM (CR0.MP and CR0.TS).
    pub wait: Usability,
    /// Whether SSE can be used (CR0.EM, CR0.TS, CR4.OSFXSR).
    pub sse: Usability,
    /// Whether AVX can be used (CR4.OSXSAVE, XCR0, CR0.TS).
    pub avx: Usability,
    /// Whether user interrupts are enabled (CR4.UINTR).
    pub uintr: bool,
    /// Advertised features.
    pub features: FeatureSet,
}

impl CodeMode {
    /// 64-bit mode with everything usable.
    pub const fn long(features: FeatureSet) -> CodeMode {
        CodeMode {
            size: CodeSize::Bits64,
            stack32: true,
            real: false,
            x87: Usability::Usable,
            mmx: Usability::Usable,
            wait: Usability::Usable,
            sse: Usability::Usable,
            avx: Usability::Usable,
            uintr: true,
            features,
        }
    }
}

/// Where an instruction starts in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its first micro-op.
    pub uop: u16,
    /// Its first byte, counted from the block's start.
    pub offset: u16,
}

/// Translated instructions that execute one after another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The micro-ops; the last one ends the block.
    pub uops: Vec<Uop>,
    /// One mark per instruction, in order.
    pub marks: Vec<Mark>,
    /// Bytes of code.
    pub length: u16,
    /// The first instruction wants to know the exact time or talks to the outside; it is then the
    /// only one.
    pub exact: bool,
}

/// The bytes did not suffice to decode even one instruction: it continues on the next page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeedMoreBytes;

/// Translates the code at the start of `bytes`, up to the first branch, the end of the bytes, or
/// `limit` instructions.
///
/// # Errors
/// [`NeedMoreBytes`] if the first instruction is cut off; with 15 bytes or more that cannot happen.
pub fn lift_block(bytes: &[u8], mode: CodeMode, limit: usize) -> Result<Block, NeedMoreBytes> {
    let mut builder = Builder::new(mode);
    let mut decoder = Decoder::new(mode.size.bits(), bytes, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    loop {
        let offset = decoder.position();
        let remaining = &bytes[offset.min(bytes.len())..];
        if remaining.is_empty() && offset > 0 {
            return Ok(builder.finish());
        }
        decoder.decode_out(&mut instruction);
        if instruction.is_invalid() && decoder.last_error() == DecoderError::NoMoreBytes {
            if offset > 0 {
                return Ok(builder.finish());
            }
            if remaining.len() < 15 {
                return Err(NeedMoreBytes);
            }
        }
        if is_exchange_with_r8(&instruction, remaining) {
            instruction = decode_without_pause(remaining, mode.size, instruction.ip());
        }
        if offset > 0 && must_start_block(&instruction) {
            return Ok(builder.finish());
        }
        builder.begin_instruction(&instruction, offset, remaining);
        if is_too_long(&instruction, remaining, mode.size) {
            builder.raise(Exception::GeneralProtection);
        } else {
            lift_instruction(&mut builder, &instruction);
        }
        builder.finish_instruction();
        if builder.ended()
            || builder.instructions() >= BLOCK_INSTRUCTIONS.min(limit)
            || builder.uop_count() >= BLOCK_UOPS
        {
            return Ok(builder.finish());
        }
    }
}

/// F3 90 with REX.B: the prefix F3 means nothing, and 90 is XCHG R8, RAX, where the decoder sees a PAUSE.
/// Opcode 90 is a NOP or PAUSE only as XCHG EAX, EAX. SDM Vol. 2, "One-byte Opcode Map" (90: "XCHG
/// r8, rAX").
fn is_exchange_with_r8(instruction: &Instruction, bytes: &[u8]) -> bool {
    let rex = instruction
        .len()
        .checked_sub(2)
        .and_then(|at| bytes.get(at));
    instruction.mnemonic() == Mnemonic::Pause
        && instruction.len() > 2
        && rex.is_some_and(|rex| rex & 0xf1 == 0x41)
}

#[cold]
fn decode_without_pause(bytes: &[u8], size: CodeSize, ip: u64) -> Instruction {
    Decoder::with_ip(size.bits(), bytes, ip, DecoderOptions::NO_PAUSE).decode()
}

/// Whether an instruction has more than the 15 bytes that are allowed; it is #GP(0) then, whatever it
/// would mean. SDM Vol. 3, "Interrupt 13-General Protection Exception (#GP)".
fn is_too_long(instruction: &Instruction, bytes: &[u8], size: CodeSize) -> bool {
    if !instruction.is_invalid() || instruction.len() < 15 {
        return false;
    }
    // The decoder gives up at the fifteenth byte and calls it invalid, as it does one of fifteen bytes
    // that means nothing. Without its first byte, a prefix, only a longer one reaches so far again.
    let mut decoder = Decoder::new(size.bits(), &bytes[1..], DecoderOptions::NONE);
    let rest = decoder.decode();
    rest.len() >= 15 || decoder.last_error() == DecoderError::NoMoreBytes
}

/// Instructions before which a block ends, because the engine must know the exact time when they
/// execute.
fn must_start_block(instruction: &Instruction) -> bool {
    use Mnemonic::*;
    matches!(
        instruction.mnemonic(),
        Rdtsc
            | Rdtscp
            | In
            | Out
            | Insb
            | Insw
            | Insd
            | Outsb
            | Outsw
            | Outsd
            | Rdmsr
            | Wrmsr
            | Hlt
            | Pause
            | Tpause
            | Umwait
            | Senduipi
            | Mov
    ) && (instruction.mnemonic() != Mov || touches_cr8(instruction))
}

fn touches_cr8(instruction: &Instruction) -> bool {
    use iced_x86::Register::CR8;
    instruction.op0_register() == CR8 || instruction.op1_register() == CR8
}

fn lift_instruction(b: &mut Builder, i: &Instruction) {
    if i.is_invalid() {
        return b.raise(Exception::InvalidOpcode);
    }
    if !b.mode.features.allows(i) {
        return b.raise(Exception::InvalidOpcode);
    }
    // SDM Vol. 2, "VEX Instructions": in real-address and virtual-8086 mode the bytes are LDS and LES.
    if b.mode.real && vector::is_vex(i) {
        return b.raise(Exception::InvalidOpcode);
    }
    if is_hint(i.mnemonic())
        && !matches!(
            i.mnemonic(),
            Mnemonic::Tzcnt | Mnemonic::Lzcnt | Mnemonic::Wbnoinvd
        )
    {
        return;
    }
    if must_start_block(i) {
        b.mark_exact();
    }
    let done = integer::lift(b, i)
        || control::lift(b, i)
        || stack::lift(b, i)
        || string::lift(b, i)
        || vector::lift(b, i)
        || x87::lift(b, i)
        || system::lift(b, i);
    if !done {
        b.end(Uop::new(Op::Unimplemented));
    }
}

/// The instruction at the start of `bytes` as text, for people.
pub fn disassemble(bytes: &[u8], size: CodeSize, address: u64) -> String {
    let mut decoder = Decoder::with_ip(size.bits(), bytes, address, DecoderOptions::NONE);
    let instruction = decoder.decode();
    let mut text = String::new();
    NasmFormatter::new().format(&instruction, &mut text);
    text
}
