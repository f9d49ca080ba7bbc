//! From code in RAM to lifted blocks: what every engine's store of translated code does alike.

use crate::memory::{FunctionalMemory, Memory};
use crate::state::Cpu;
use ring3_isa::{Block, NeedMoreBytes, lift_block};
use ring3_memory::BlockId;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Bytes of a page.
const PAGE: usize = 4096;
/// The longest instruction. SDM Vol. 2, "Instruction Format".
const INSTRUCTION_MAX: usize = 15;

/// Where code stands and what it was translated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CodeKey {
    /// RAM offset of the first byte.
    pub offset: u64,
    /// RAM offset of the continuation on another page, for an instruction that has one.
    pub second: Option<u64>,
    /// [`Cpu::fetch_key`].
    pub mode: u32,
}

/// Blocks by where their code stands, so that processes that map the same page at different addresses
/// share them.
pub type CodeIndex = HashMap<CodeKey, BlockId, BuildHasherDefault<CodeKeyHasher>>;

/// In a [`CodeIndex`], for a key without a second page: the instruction crosses into another page, and
/// has been translated; look again with both pages.
pub const CROSSES: BlockId = BlockId(u32::MAX);

/// The code of the block at `key` was overwritten. What crossed into another page need no longer do so.
pub fn forget_code(index: &mut CodeIndex, key: &CodeKey) {
    index.remove(key);
    if key.second.is_some() {
        index.remove(&CodeKey {
            second: None,
            ..*key
        });
    }
}

/// Fast and the same on every host.
#[derive(Default)]
pub struct CodeKeyHasher(u64);

impl Hasher for CodeKeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }
    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(26) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 29
    }
}

impl FunctionalMemory<'_> {
    /// Lifts the code that stands at `key`: a block within one page, or the one instruction that
    /// continues on `key.second`.
    ///
    /// # Errors
    /// If the first instruction continues on another page and `key` does not say where that is.
    pub fn lift_code(&mut self, cpu: &Cpu, key: CodeKey) -> Result<Block, NeedMoreBytes> {
        let start = key.offset as usize;
        let first = &self.ram()[start..(start | (PAGE - 1)) + 1];
        let Some(second) = key.second else {
            return lift_block(first, cpu.code_mode(), usize::MAX);
        };
        let length = first.len();
        let mut bytes = [0; INSTRUCTION_MAX];
        bytes[..length].copy_from_slice(first);
        let second = second as usize;
        bytes[length..].copy_from_slice(&self.ram()[second..second + INSTRUCTION_MAX - length]);
        lift_block(&bytes, cpu.code_mode(), 1)
    }

    /// Stores into the `length` bytes of code at `key` concern `block` from now on.
    pub fn note_code(&mut self, key: CodeKey, length: u16, block: BlockId) {
        let length = u64::from(length);
        let in_page = PAGE as u64 - key.offset % PAGE as u64;
        self.code().add(key.offset, length.min(in_page), block);
        if let Some(second) = key.second
            && length > in_page
        {
            self.code().add(second, length - in_page, block);
        }
        self.apply_protection();
    }
}
