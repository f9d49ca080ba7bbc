//! Builds a block, instruction by instruction.

use crate::lift::{Block, CodeMode, CodeSize, Mark, Usability, x87};
use crate::uop::{Op, Uop, Upper};
use crate::{Condition, Reg};
use iced_x86::{Instruction, OpKind, Register};
use ring3_arch::Exception;

/// The size of an integer operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Size {
    B1,
    B2,
    B4,
    B8,
}

impl Size {
    pub fn from_bytes(bytes: usize) -> Size {
        match bytes {
            1 => Size::B1,
            2 => Size::B2,
            4 => Size::B4,
            _ => Size::B8,
        }
    }

    pub fn bytes(self) -> u8 {
        1 << self as u8
    }

    /// Picks from a family given in the order 8, 16, 32, 64 bits.
    pub fn pick(self, family: [Op; 4]) -> Op {
        family[self as usize]
    }

    /// Picks from a family given in the order 16, 32, 64 bits.
    pub fn pick3(self, family: [Op; 3]) -> Op {
        family[(self as usize).saturating_sub(1)]
    }
}

/// The address of a memory operand, in the form memory micro-ops take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub base: Reg,
    pub index: Reg,
    pub segment: Reg,
    pub x: u8,
    pub displacement: i64,
}

impl Memory {
    /// Just the address in a register.
    pub fn at(register: Reg) -> Memory {
        Memory {
            base: register,
            index: Reg::Zero,
            segment: Reg::Zero,
            x: 0,
            displacement: 0,
        }
    }

    pub fn plus(self, bytes: i64) -> Memory {
        Memory {
            displacement: self.displacement.wrapping_add(bytes),
            ..self
        }
    }

    pub fn uop(self, op: Op, dst: Reg) -> Uop {
        Uop {
            op,
            dst,
            a: self.base,
            b: self.index,
            c: self.segment,
            x: self.x,
            y: 0,
            imm: self.displacement,
        }
    }
}

pub(crate) struct Builder {
    pub mode: CodeMode,
    block: Block,
    /// First micro-op of the current instruction.
    start: usize,
    /// Offset of the current instruction, and of the next.
    offset: usize,
    next: usize,
    x87_opcode: u16,
    ended: bool,
    /// By how many bytes the stack pointer counts as moved in addresses.
    pub stack_moved: i64,
}

impl Builder {
    pub fn new(mode: CodeMode) -> Builder {
        Builder {
            mode,
            block: Block::default(),
            start: 0,
            offset: 0,
            next: 0,
            x87_opcode: 0,
            ended: false,
            stack_moved: 0,
        }
    }

    pub fn begin_instruction(&mut self, i: &Instruction, offset: usize, bytes: &[u8]) {
        self.x87_opcode = x87::opcode(bytes);
        self.start = self.block.uops.len();
        self.offset = offset;
        self.next = offset + i.len().max(1);
        self.block.marks.push(Mark {
            uop: self.start as u16,
            offset: offset as u16,
        });
    }

    pub fn finish_instruction(&mut self) {
        self.block.length = self.next as u16;
        if cfg!(debug_assertions) {
            self.check_restartable();
        }
    }

    /// The invariant of [`crate::uop`]: nothing architectural changes before the last fault. (A
    /// gather, whose partial completion is architectural, is its instruction's only micro-op.)
    fn check_restartable(&self) {
        let mut changed: Option<usize> = None;
        for (n, uop) in self.block.uops[self.start..].iter().enumerate() {
            let info = uop.op.info();
            let faults = info.faults && uop.x & Uop::PROVEN == 0;
            if faults && let Some(earlier) = changed {
                panic!(
                    "micro-op {n} ({:?}) can fault after micro-op {earlier} changed state: {:#?}",
                    uop.op,
                    &self.block.uops[self.start..]
                );
            }
            let writes = (info.writes_dst && uop.dst.is_architectural())
                || info.flags_written != 0
                || info.writes_mxcsr
                || info.upper == Upper::AllZeroed
                || (info.writes_vector && (uop.dst as u8) < 16)
                || info.stores;
            // A routine keeps the rule inside itself, and a block's end is an instruction's end.
            if writes && !info.ends_block {
                changed.get_or_insert(n);
            }
        }
    }

    pub fn ended(&self) -> bool {
        self.ended
    }

    pub fn instructions(&self) -> usize {
        self.block.marks.len()
    }

    pub fn uop_count(&self) -> usize {
        self.block.uops.len()
    }

    pub fn mark_exact(&mut self) {
        self.block.exact = true;
    }

    pub fn finish(mut self) -> Block {
        if !self.ended {
            self.end_next();
        }
        self.block
    }

    pub fn push(&mut self, uop: Uop) {
        self.block.uops.push(uop);
    }

    /// Appends the block's last micro-op.
    pub fn end(&mut self, uop: Uop) {
        debug_assert!(
            uop.op.info().ends_block,
            "{:?} does not end a block",
            uop.op
        );
        self.push(uop);
        self.ended = true;
    }

    /// Ends the block after this instruction.
    pub fn end_next(&mut self) {
        let uop = Uop {
            imm: self.next as i64,
            x: self.jump_width(None),
            ..Uop::new(Op::Next)
        };
        self.end(uop);
    }

    /// Appends a system routine that ends the block; its immediate is the next instruction's
    /// offset.
    pub fn end_routine(&mut self, uop: Uop) {
        let uop = Uop {
            imm: self.next as i64,
            ..uop
        };
        self.end(uop);
    }

    pub fn raise(&mut self, exception: Exception) {
        self.end(Uop {
            y: exception as u8,
            ..Uop::new(Op::Raise)
        });
    }

    /// Offset of the instruction after this one, from the block's start.
    pub fn next_offset(&self) -> i64 {
        self.next as i64
    }

    /// Opcode of this instruction, if it is one of the x87: see [`x87::opcode`].
    pub fn x87_opcode(&self) -> u16 {
        self.x87_opcode
    }

    /// Offset of this instruction.
    pub fn this_offset(&self) -> i64 {
        self.offset as i64
    }

    /// To how many bits a branch target is cut (0: 64), given a 16-bit operand size or not.
    pub fn jump_width(&self, operand16: Option<bool>) -> u8 {
        match self.mode.size {
            CodeSize::Bits64 => 0,
            CodeSize::Bits32 if operand16 == Some(true) => 16,
            CodeSize::Bits32 => 32,
            CodeSize::Bits16 if operand16 == Some(false) => 32,
            CodeSize::Bits16 if operand16 == Some(true) => 16,
            CodeSize::Bits16 => 32,
        }
    }

    pub fn is64(&self) -> bool {
        self.mode.size == CodeSize::Bits64
    }

    // --- small micro-ops -----------------------------------------------------------------------

    pub fn op2(&mut self, op: Op, dst: Reg, a: Reg) {
        self.push(Uop {
            dst,
            a,
            ..Uop::new(op)
        });
    }

    pub fn op3(&mut self, op: Op, dst: Reg, a: Reg, b: Reg) {
        self.push(Uop {
            dst,
            a,
            b,
            ..Uop::new(op)
        });
    }

    pub fn op_imm(&mut self, op: Op, dst: Reg, a: Reg, imm: i64) {
        self.push(Uop {
            dst,
            a,
            imm,
            ..Uop::new(op)
        });
    }

    pub fn constant(&mut self, dst: Reg, value: i64) {
        self.push(Uop {
            dst,
            imm: value,
            ..Uop::new(Op::MovImm)
        });
    }

    pub fn conditional(&mut self, op: Op, dst: Reg, a: Reg, condition: Condition) {
        self.push(Uop {
            dst,
            a,
            y: condition as u8,
            ..Uop::new(op)
        });
    }

    /// `register = value` at an operand size.
    pub fn move_sized(&mut self, size: Size, dst: Reg, value: Reg) {
        let op = size.pick([Op::Mov8, Op::Mov16, Op::Mov32, Op::Mov64]);
        if !(dst == value && matches!(size, Size::B1 | Size::B2 | Size::B8)) {
            self.op2(op, dst, value);
        }
    }

    // --- operands ------------------------------------------------------------------------------

    /// The size of integer operand `n`.
    pub fn size(i: &Instruction, n: u32) -> Size {
        match i.op_kind(n) {
            OpKind::Register => Size::from_bytes(i.op_register(n).size()),
            OpKind::Memory => Size::from_bytes(i.memory_size().size()),
            OpKind::Immediate8 => Size::B1,
            OpKind::Immediate16 | OpKind::Immediate8to16 => Size::B2,
            OpKind::Immediate32 | OpKind::Immediate8to32 => Size::B4,
            _ => Size::B8,
        }
    }

    /// The micro-op register of a general register; for AH, CH, DH, BH use
    /// [`Builder::is_high8`].
    pub fn gpr(register: Register) -> Reg {
        Reg::general(register.full_register().number() as u8)
    }

    pub fn is_high8(register: Register) -> bool {
        matches!(
            register,
            Register::AH | Register::CH | Register::DH | Register::BH
        )
    }

    /// The value of register operand `n` (upper bits of the result are whatever the full register
    /// has; only the operand's size counts).
    pub fn read_register(&mut self, register: Register, temp: Reg) -> Reg {
        if Self::is_high8(register) {
            let full = Reg::general(register.number() as u8 & 3);
            self.op2(Op::GetHigh8, temp, full);
            temp
        } else {
            Self::gpr(register)
        }
    }

    pub fn write_register(&mut self, register: Register, value: Reg) {
        if Self::is_high8(register) {
            let full = Reg::general(register.number() as u8 & 3);
            self.op2(Op::PutHigh8, full, value);
        } else {
            self.move_sized(
                Size::from_bytes(register.size()),
                Self::gpr(register),
                value,
            );
        }
    }

    /// The value of operand `n`, loaded into `temp` where it is not in a register already.
    pub fn read(&mut self, i: &Instruction, n: u32, temp: Reg) -> Reg {
        match i.op_kind(n) {
            OpKind::Register => self.read_register(i.op_register(n), temp),
            OpKind::Memory => {
                let size = Self::size(i, n);
                let memory = self.memory(i, size.bytes() as u32, false);
                self.load(size, temp, memory);
                temp
            }
            _ => {
                self.constant(temp, i.immediate(n) as i64);
                temp
            }
        }
    }

    pub fn load(&mut self, size: Size, dst: Reg, memory: Memory) {
        let op = size.pick([Op::Load8, Op::Load16, Op::Load32, Op::Load64]);
        self.push(memory.uop(op, dst));
    }

    /// Loads with the promise of a store to the same place.
    pub fn load_modify(&mut self, size: Size, dst: Reg, memory: Memory) {
        let op = size.pick([
            Op::LoadModify8,
            Op::LoadModify16,
            Op::LoadModify32,
            Op::LoadModify64,
        ]);
        self.push(memory.uop(op, dst));
    }

    pub fn store(&mut self, size: Size, value: Reg, memory: Memory) {
        let op = size.pick([Op::Store8, Op::Store16, Op::Store32, Op::Store64]);
        self.push(memory.uop(op, value));
    }

    /// The store after [`Builder::load_modify`].
    pub fn store_modified(&mut self, size: Size, value: Reg, memory: Memory) {
        self.store(
            size,
            value,
            Memory {
                x: memory.x | Uop::PROVEN,
                ..memory
            },
        );
    }

    // --- addresses -----------------------------------------------------------------------------

    /// The effective address of the memory operand, without segment, in some register.
    pub fn effective_address(&mut self, i: &Instruction, dst: Reg) {
        let address = self.address(i);
        let op = match address_size(i, self.mode.size) {
            2 => Op::Lea16,
            4 => Op::Lea32,
            _ => Op::Lea64,
        };
        self.push(address.uop(op, dst));
    }

    /// Its low 32 bits, zero-extended.
    pub fn effective_address32(&mut self, i: &Instruction, dst: Reg) {
        let op = if address_size(i, self.mode.size) == 2 {
            Op::Lea16
        } else {
            Op::Lea32
        };
        let address = self.address(i);
        self.push(address.uop(op, dst));
    }

    /// Base, index and displacement, before any truncation.
    fn address(&self, i: &Instruction) -> Memory {
        let base = i.memory_base();
        let index = i.memory_index();
        let (base_reg, displacement) = match base {
            Register::None => (Reg::Zero, i.memory_displacement64() as i64),
            // The decoder counts from the block's start, so this is an offset from there.
            Register::RIP | Register::EIP => (Reg::Rip, i.memory_displacement64() as i64),
            Register::RSP | Register::ESP => (
                Reg::Rsp,
                (i.memory_displacement64() as i64).wrapping_add(self.stack_moved),
            ),
            _ => (Self::gpr(base), i.memory_displacement64() as i64),
        };
        let index_reg = if index == Register::None {
            Reg::Zero
        } else {
            Self::gpr(index)
        };
        let scale = i.memory_index_scale().trailing_zeros() as u8;
        Memory {
            base: base_reg,
            index: index_reg,
            segment: Reg::Zero,
            x: scale,
            displacement,
        }
    }

    /// The memory operand, ready for a memory micro-op. `bytes` is what will be accessed.
    pub fn memory(&mut self, i: &Instruction, bytes: u32, write: bool) -> Memory {
        let segment = i.memory_segment().number() as u8;
        let mut memory = self.address(i);
        let lock = if i.has_lock_prefix() { Uop::LOCK } else { 0 };
        if self.is64() {
            let stack = if is_stack_operand(i) { Uop::STACK } else { 0 };
            let base = if segment >= 4 {
                Reg::segment_base(segment)
            } else {
                Reg::Zero
            };
            if address_size(i, self.mode.size) == 4 {
                self.effective_address(i, Reg::T7);
                memory = Memory::at(Reg::T7);
            }
            return Memory {
                segment: base,
                x: memory.x | stack | lock,
                ..memory
            };
        }
        self.effective_address(i, Reg::T7);
        self.check_segment(Reg::T7, segment, bytes, write);
        Memory {
            x: lock,
            ..Memory::at(Reg::T7)
        }
    }

    /// Outside 64-bit mode: turns the offset in `register` into a linear address, checked.
    pub fn check_segment(&mut self, register: Reg, segment: u8, bytes: u32, write: bool) {
        let imm = i64::from(bytes) | if write { 1 << 31 } else { 0 };
        self.push(Uop {
            dst: register,
            a: register,
            y: segment,
            imm,
            ..Uop::new(Op::Segment)
        });
    }

    /// The linear address of the memory operand in `dst`, whatever the segment's limit.
    pub fn linear_address_unchecked(&mut self, i: &Instruction, dst: Reg) {
        self.effective_address(i, dst);
        let segment = i.memory_segment().number() as u8;
        if segment >= 4 || !self.is64() {
            self.op3(Op::Lea64, dst, dst, Reg::segment_base(segment));
        }
    }

    /// Whether x87 and FXSAVE can be used; if not, the exception is already raised.
    pub fn x87_usable(&mut self) -> bool {
        let usability = self.mode.x87;
        self.usable(usability)
    }

    /// The same for SSE.
    pub fn sse_usable(&mut self) -> bool {
        let usability = self.mode.sse;
        self.usable(usability)
    }

    /// The same for AVX.
    pub fn avx_usable(&mut self) -> bool {
        let usability = self.mode.avx;
        self.usable(usability)
    }

    /// Raises the exception that says why a register set cannot be used.
    pub fn usable(&mut self, usability: Usability) -> bool {
        match usability {
            Usability::Usable => return true,
            Usability::NotAvailable => self.raise(Exception::DeviceNotAvailable),
            Usability::Undefined => self.raise(Exception::InvalidOpcode),
        }
        false
    }

    /// The linear address of the memory operand in `dst`, for routines that access memory
    /// themselves.
    pub fn linear_address(&mut self, i: &Instruction, dst: Reg, bytes: u32, write: bool) {
        let memory = self.memory(i, bytes, write);
        self.push(memory.uop(Op::Lea64, dst));
        if memory.segment != Reg::Zero {
            self.op3(Op::Lea64, dst, dst, memory.segment);
        }
    }
}

/// In 64-bit mode: whether the memory operand is in the stack segment, so that a non-canonical address
/// is #SS. The base register decides; overrides other than FS and GS are ignored. SDM Vol. 1,
/// "Segmentation in 64-Bit Mode".
pub(crate) fn is_stack_operand(i: &Instruction) -> bool {
    let base = i.memory_base().full_register();
    matches!(base, Register::RSP | Register::RBP) && i.memory_segment().number() < 4
}

/// Bytes of an address in this instruction.
pub(crate) fn address_size(i: &Instruction, size: CodeSize) -> usize {
    let from = |r: Register| match r {
        Register::None => None,
        Register::EIP => Some(4),
        Register::RIP => Some(8),
        _ => Some(r.size()),
    };
    from(i.memory_base())
        .or_else(|| from(i.memory_index()))
        .unwrap_or_else(|| match i.memory_displ_size() {
            0 | 1 => (size.bits() / 8) as usize,
            bytes => bytes as usize,
        })
}
