//! Translated code: lifted blocks with what the pipeline needs of them.

use crate::decoded::{Instruction, Timed, decode};
use crate::parameters::Parameters;
use crate::speculative_memory::SpeculativeMemory;
use ring3_cpu::{CROSSES, CodeIndex, CodeKey, Cpu, forget_code};
use ring3_isa::Uop;
use ring3_memory::{BlockId, CodeMap};

/// Micro-ops kept before everything is thrown away (about 60 MiB).
const UOPS_MAX: usize = 3 << 19;

/// A translated block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    /// Its first instruction.
    pub first: u32,
    pub count: u32,
    /// Its code was overwritten.
    pub is_stale: bool,
    key: CodeKey,
}

/// Why there is no block to execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoBlock {
    /// Fetching it has an effect or a fault: to be done again at the head of the window.
    AtHead,
    /// The code may be in the store queue still: wait until it is empty.
    StoresFirst,
}

/// All translated blocks of a machine.
pub(crate) struct BlockStore {
    pub uops: Vec<Uop>,
    pub timed: Vec<Timed>,
    pub instructions: Vec<Instruction>,
    pub blocks: Vec<Block>,
    index: CodeIndex,
    generation: u64,
    parameters: Parameters,
    pub translated: u64,
}

impl BlockStore {
    pub fn new(parameters: &Parameters) -> BlockStore {
        BlockStore {
            uops: Vec::new(),
            timed: Vec::new(),
            instructions: Vec::new(),
            blocks: Vec::new(),
            index: CodeIndex::default(),
            generation: 1 << 32,
            parameters: parameters.clone(),
            translated: 0,
        }
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn clear(&mut self, code: &mut CodeMap) {
        self.uops.clear();
        self.timed.clear();
        self.instructions.clear();
        self.blocks.clear();
        self.index.clear();
        self.generation += 1;
        code.clear();
    }

    /// Whether it should be cleared, once no thread is in any block.
    pub fn is_full(&self) -> bool {
        self.uops.len() > UOPS_MAX
    }

    /// Takes note of blocks whose code was overwritten.
    #[inline]
    pub fn drop_stale(&mut self, code: &mut CodeMap) {
        if code.has_stale() {
            for id in code.take_stale() {
                let Some(block) = self.blocks.get_mut(id.0 as usize) else {
                    continue;
                };
                if !block.is_stale {
                    block.is_stale = true;
                    forget_code(&mut self.index, &block.key);
                }
            }
        }
    }

    /// The block at the processor's RIP.
    #[inline]
    pub fn find(
        &mut self,
        cpu: &Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
    ) -> Result<BlockId, NoBlock> {
        let tags = m.lane.fetch_tags;
        if let Some(id) = m.inner.tlb().fetch_cache.get(cpu.linear_rip(), &tags)
            && let Some(block) = self.blocks.get(id.0 as usize)
            && !block.is_stale
        {
            return Ok(id);
        }
        self.find_slowly(cpu, m)
    }

    #[inline(never)]
    fn find_slowly(
        &mut self,
        cpu: &Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
    ) -> Result<BlockId, NoBlock> {
        let address = cpu.linear_rip();
        if !cpu.is_long_code() && cpu.rip() > cpu.system.segments[1].limit.into() {
            return Err(NoBlock::AtHead);
        }
        let offset = m.fetch(address, cpu.cpl()).ok_or(NoBlock::AtHead)?;
        let key = CodeKey {
            offset,
            second: None,
            mode: cpu.fetch_key(),
        };
        match self.index.get(&key) {
            Some(&CROSSES) => self.find_crossing(cpu, m, key),
            Some(&id) => {
                m.inner.remember_code(cpu, id);
                Ok(id)
            }
            None => self.translate(cpu, m, key),
        }
    }

    fn find_crossing(
        &mut self,
        cpu: &Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
        key: CodeKey,
    ) -> Result<BlockId, NoBlock> {
        let next_page = (cpu.linear_rip() & !0xfff).wrapping_add(0x1000);
        let second = m.fetch(next_page, cpu.cpl()).ok_or(NoBlock::AtHead)?;
        let key = CodeKey {
            second: Some(second),
            ..key
        };
        if let Some(&id) = self.index.get(&key) {
            return Ok(id);
        }
        if m.lane.stores.touches_page(key.offset) || m.lane.stores.touches_page(second) {
            return Err(NoBlock::StoresFirst);
        }
        let lifted = m.inner.lift_code(cpu, key);
        let lifted = lifted.expect("fifteen bytes suffice");
        let id = self.add(key, &lifted);
        m.inner.note_code(key, lifted.length, id);
        Ok(id)
    }

    fn translate(
        &mut self,
        cpu: &Cpu,
        m: &mut SpeculativeMemory<'_, '_>,
        key: CodeKey,
    ) -> Result<BlockId, NoBlock> {
        if m.lane.stores.touches_page(key.offset) {
            return Err(NoBlock::StoresFirst);
        }
        match m.inner.lift_code(cpu, key) {
            Ok(lifted) => {
                let id = self.add(key, &lifted);
                m.inner.note_code(key, lifted.length, id);
                m.inner.tlb().fetch_cache.follow(self.generation);
                m.inner.remember_code(cpu, id);
                Ok(id)
            }
            Err(_) => {
                let id = self.find_crossing(cpu, m, key)?;
                self.index.insert(key, CROSSES);
                Ok(id)
            }
        }
    }

    fn add(&mut self, key: CodeKey, lifted: &ring3_isa::Block) -> BlockId {
        self.translated += 1;
        let id = BlockId(self.blocks.len() as u32);
        let base = self.uops.len() as u32;
        let (timed, mut instructions) = decode(lifted, &self.parameters);
        for instruction in &mut instructions {
            instruction.first += base;
        }
        self.blocks.push(Block {
            first: self.instructions.len() as u32,
            count: instructions.len() as u32,
            is_stale: false,
            key,
        });
        self.uops.extend_from_slice(&lifted.uops);
        self.timed.extend(timed);
        self.instructions.extend(instructions);
        self.index.insert(key, id);
        id
    }

    /// RAM offset of the block's first byte.
    #[inline]
    pub fn place(&self, id: BlockId) -> u64 {
        self.blocks[id.0 as usize].key.offset
    }
}
