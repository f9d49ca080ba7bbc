//! Translated code.

use ring3_arch::Fault;
use ring3_cpu::{CROSSES, CodeIndex, CodeKey, Cpu, FunctionalMemory, forget_code};
use ring3_isa::{CodeSize, Mark, Uop};
use ring3_memory::{BlockId, CodeMap};

/// Micro-ops kept before everything is thrown away (48 MiB).
const UOPS_MAX: usize = 3 << 20;

/// In [`Block::instructions`]: the code was overwritten.
const STALE: u32 = u32::MAX;

/// In [`Block::links`]: not known.
pub(crate) const NO_LINK: BlockId = BlockId(u32::MAX);

/// What the loop needs of a translated block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    /// Where its micro-ops start.
    pub uops: u32,
    /// How many instructions it has, or [`STALE`]: more than any slice has left.
    pub instructions: u32,
    /// The blocks at its two fixed targets, as far as they are known and in the same page: there
    /// the mapping that holds for the one holds for the other, so nothing need be looked up.
    pub links: [BlockId; 2],
}

impl Block {
    pub fn is_stale(&self) -> bool {
        self.instructions == STALE
    }
}

/// What is rarely needed of a translated block.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Where its marks start.
    marks: u32,
    /// Where its code is.
    key: CodeKey,
}

/// What a block store counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreCounters {
    /// Blocks translated.
    pub translated: u64,
    /// Blocks that a store into their code made stale.
    pub invalidated: u64,
    /// Times everything was thrown away for lack of room.
    pub flushes: u64,
    /// Lookups that the fetch cache could not answer.
    pub lookups: u64,
}

/// All translated blocks of a machine.
///
/// Blocks are found by where their code stands in RAM, so that processes that map the same page at
/// different addresses share them.
#[derive(Default)]
pub struct BlockStore {
    pub(crate) uops: Vec<Uop>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) blocks: Vec<Block>,
    /// Parallel to `blocks`.
    places: Vec<Place>,
    index: CodeIndex,
    generation: u64,
    /// Statistics.
    pub counters: StoreCounters,
}

impl BlockStore {
    /// An empty store.
    pub fn new() -> BlockStore {
        BlockStore::default()
    }

    /// Changes whenever every block is thrown away.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Throws everything away.
    pub fn clear(&mut self, code: &mut CodeMap) {
        self.uops.clear();
        self.marks.clear();
        self.blocks.clear();
        self.places.clear();
        self.index.clear();
        self.generation += 1;
        code.clear();
    }

    /// Takes note of blocks whose code was overwritten.
    #[inline]
    pub fn drop_stale(&mut self, code: &mut CodeMap) {
        if code.has_stale() {
            self.drop_stale_blocks(code);
        }
    }

    #[cold]
    fn drop_stale_blocks(&mut self, code: &mut CodeMap) {
        for id in code.take_stale() {
            // A block can stand in two pages' lists, and a cleared store has none of them.
            let Some(block) = self.blocks.get_mut(id.0 as usize) else {
                continue;
            };
            if !block.is_stale() {
                block.instructions = STALE;
                self.counters.invalidated += 1;
                forget_code(&mut self.index, &self.places[id.0 as usize].key);
            }
        }
    }

    /// The block at the processor's RIP.
    ///
    /// # Errors
    /// The fault of fetching it.
    #[inline(never)]
    pub(crate) fn find(
        &mut self,
        cpu: &Cpu,
        m: &mut FunctionalMemory<'_>,
    ) -> Result<BlockId, Fault> {
        self.counters.lookups += 1;
        let address = cpu.linear_rip();
        if !cpu.is_long_code() && cpu.rip() > cpu.system.segments[1].limit.into() {
            return Err(Fault::GP0);
        }
        let Some(offset) = m.fetch(address, cpu.cpl())? else {
            // Nothing answers outside RAM: all ones, which is no instruction.
            return Err(Fault::UD);
        };
        let key = CodeKey {
            offset,
            second: None,
            mode: cpu.fetch_key(),
        };
        match self.index.get(&key) {
            Some(&CROSSES) => self.find_crossing(cpu, m, key),
            Some(&id) => {
                m.remember_code(cpu, id);
                Ok(id)
            }
            None => self.translate(cpu, m, key),
        }
    }

    /// The instruction at `key.offset` continues on the next page. Such blocks are never in the
    /// fetch cache, because that is invalidated by the first page alone.
    fn find_crossing(
        &mut self,
        cpu: &Cpu,
        m: &mut FunctionalMemory<'_>,
        key: CodeKey,
    ) -> Result<BlockId, Fault> {
        let next_page = (cpu.linear_rip() & !0xfff).wrapping_add(0x1000);
        let Some(second) = m.fetch(next_page, cpu.cpl())? else {
            return Err(Fault::UD);
        };
        let key = CodeKey {
            second: Some(second),
            ..key
        };
        if let Some(&id) = self.index.get(&key) {
            return Ok(id);
        }
        let lifted = m.lift_code(cpu, key).expect("fifteen bytes suffice");
        let length = lifted.length;
        let id = self.add(m.code(), key, lifted);
        m.note_code(key, length, id);
        Ok(id)
    }

    fn translate(
        &mut self,
        cpu: &Cpu,
        m: &mut FunctionalMemory<'_>,
        key: CodeKey,
    ) -> Result<BlockId, Fault> {
        match m.lift_code(cpu, key) {
            Ok(lifted) => {
                let length = lifted.length;
                let id = self.add(m.code(), key, lifted);
                m.note_code(key, length, id);
                m.tlb().fetch_cache.follow(self.generation);
                m.remember_code(cpu, id);
                Ok(id)
            }
            Err(_) => {
                let id = self.find_crossing(cpu, m, key)?;
                self.index.insert(key, CROSSES);
                Ok(id)
            }
        }
    }

    fn add(&mut self, code: &mut CodeMap, key: CodeKey, lifted: ring3_isa::Block) -> BlockId {
        if self.uops.len() + lifted.uops.len() > UOPS_MAX {
            self.clear(code);
            self.counters.flushes += 1;
        }
        self.counters.translated += 1;
        let id = BlockId(self.blocks.len() as u32);
        self.blocks.push(Block {
            uops: self.uops.len() as u32,
            instructions: lifted.marks.len() as u32,
            links: [NO_LINK; 2],
        });
        self.places.push(Place {
            marks: self.marks.len() as u32,
            key,
        });
        self.uops.extend(lifted.uops);
        self.marks.extend(lifted.marks);
        self.index.insert(key, id);
        id
    }

    /// Remembers that target `number` of block `from`, just executed, is block `to`, if that will
    /// hold wherever `from` is executed again: both stand in one page, which is mapped as `from` is.
    pub(crate) fn link(&mut self, from: BlockId, number: usize, to: BlockId) {
        let (Some(source), Some(target)) = (
            self.places.get(from.0 as usize),
            self.places.get(to.0 as usize),
        ) else {
            return;
        };
        let (a, b) = (source.key, target.key);
        // Outside 64-bit mode the code segment's limit has a say, too.
        let is_long = a.mode & 3 == CodeSize::Bits64 as u32;
        if is_long
            && a.mode == b.mode
            && a.offset >> 12 == b.offset >> 12
            && a.second.is_none()
            && b.second.is_none()
        {
            self.blocks[from.0 as usize].links[number] = to;
        }
    }

    /// Target `number` of block `from` must be looked up again.
    pub(crate) fn unlink(&mut self, from: BlockId, number: usize) {
        if let Some(block) = self.blocks.get_mut(from.0 as usize) {
            block.links[number] = NO_LINK;
        }
    }

    /// The mark of instruction `n` of block `id`, if it has so many.
    pub(crate) fn mark(&self, id: BlockId, n: u32) -> Option<Mark> {
        let marks = self.places[id.0 as usize].marks;
        (n < self.blocks[id.0 as usize].instructions).then(|| self.marks[(marks + n) as usize])
    }

    /// Which instruction of block `id` micro-op `uop` (counted from the block's start) belongs to.
    pub(crate) fn instruction_of(&self, id: BlockId, uop: usize) -> (u32, Mark) {
        let marks = &self.marks[self.places[id.0 as usize].marks as usize..];
        let count = self.blocks[id.0 as usize].instructions as usize;
        let mut n = 0;
        for (candidate, mark) in marks.iter().take(count).enumerate() {
            if usize::from(mark.uop) > uop {
                break;
            }
            n = candidate;
        }
        (n as u32, marks[n])
    }
}
