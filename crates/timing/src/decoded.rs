//! What the pipeline needs of each micro-op, worked out once when a block is translated: sources and
//! destinations by number, the kind of unit, fusion, and which state a squash would have to restore.

use crate::parameters::Parameters;
use ring3_arch::rflags;
use ring3_arithmetic::float::FloatOp;
use ring3_arithmetic::packed::PackedOp;
use ring3_isa::{Block, Class, Note, Op, Reg, Uop, Upper};

/// Places whose readiness is tracked: 32 integer registers, 24 vector registers, CF, the other flags.
pub(crate) const PLACES: usize = 64;
const VECTORS: u8 = 32;
pub(crate) const CARRY: u8 = 56;
pub(crate) const FLAGS: u8 = 57;
/// Always ready.
const NONE: u8 = Reg::Zero as u8;

/// Kinds of units, as the machine description gives ports and latencies to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Integer,
    Shift,
    Address,
    Multiply,
    Divide,
    Divide64,
    Branch,
    Load,
    Store,
    Vector,
    Shuffle,
    VectorMultiply,
    FloatAdd,
    FloatMultiply,
    FloatDivide,
    FloatDivide64,
    Transfer,
    X87,
    Timestamp,
    UserFlag,
}

pub(crate) const KINDS: usize = Kind::UserFlag as usize + 1;

/// Ports, latency, and for how long the port is busy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit {
    pub ports: u16,
    pub latency: u32,
    pub busy: u32,
}

/// The table of units of a machine.
pub(crate) fn units(p: &Parameters) -> [Unit; KINDS] {
    let unit = |ports: u64, latency: u64, busy: u64| Unit {
        ports: ports as u16,
        latency: latency as u32,
        busy: busy.max(1) as u32,
    };
    [
        unit(p.integer_ports, p.integer_latency, 1),
        unit(p.shift_ports, p.shift_latency, 1),
        unit(p.address_ports, p.address_latency, 1),
        unit(p.multiply_ports, p.multiply_latency, 1),
        unit(p.divide_ports, p.divide_latency, p.divide_busy),
        unit(p.divide_ports, p.divide64_latency, p.divide64_busy),
        unit(p.branch_ports, p.branch_latency, 1),
        unit(p.load_ports, p.l1d_latency, 1),
        unit(p.store_address_ports, 1, 1),
        unit(p.vector_ports, p.vector_latency, 1),
        unit(p.shuffle_ports, p.shuffle_latency, 1),
        unit(p.vector_multiply_ports, p.vector_multiply_latency, 1),
        unit(p.float_add_ports, p.float_add_latency, 1),
        unit(p.float_multiply_ports, p.float_multiply_latency, 1),
        unit(
            p.float_divide_ports,
            p.float_divide_latency,
            p.float_divide_busy,
        ),
        unit(
            p.float_divide_ports,
            p.float_divide64_latency,
            p.float_divide64_busy,
        ),
        unit(p.transfer_ports, p.transfer_latency, 1),
        unit(p.x87_ports, p.x87_latency, 1),
        // One after the other.
        unit(p.integer_ports, p.cost_timestamp, p.cost_timestamp),
        unit(p.integer_ports, p.cost_clui, p.cost_clui),
    ]
}

/// Bits of [`Timed::flags`].
pub(crate) mod flag {
    /// Takes a slot in rename and reorder buffer.
    pub const SLOT: u16 = 1;
    /// Executes on a port.
    pub const EXECUTES: u16 = 1 << 1;
    pub const LOADS: u16 = 1 << 2;
    pub const STORES: u16 = 1 << 3;
    /// Writes CF.
    pub const CARRY: u16 = 1 << 4;
    /// Writes the other flags.
    pub const FLAGS: u16 = 1 << 5;
    /// The result does not depend on the sources (`xor r, r`).
    pub const INDEPENDENT: u16 = 1 << 6;
    /// Takes an integer register.
    pub const TAKES_INTEGER: u16 = 1 << 7;
    /// Takes a vector register.
    pub const TAKES_VECTOR: u16 = 1 << 8;
    /// Wants to know the time.
    pub const TIME: u16 = 1 << 9;
}

/// Bits of [`Timed::undo`]: what a squash must restore.
pub(crate) mod undo {
    pub const DST: u16 = 1;
    pub const FLAGS: u16 = 1 << 1;
    pub const VECTOR: u16 = 1 << 2;
    pub const MXCSR: u16 = 1 << 3;
    pub const RAX: u16 = 1 << 4;
    pub const RDX: u16 = 1 << 5;
    pub const RCX: u16 = 1 << 6;
    /// The rest of RFLAGS, and UIF.
    pub const SYSTEM: u16 = 1 << 7;
    pub const X87: u16 = 1 << 8;
    pub const RSI: u16 = 1 << 9;
    pub const RDI: u16 = 1 << 10;
    pub const X0: u16 = 1 << 11;
    /// The upper half of the vector destination.
    pub const UPPER: u16 = 1 << 12;
    /// The upper halves of all vector registers.
    pub const UPPERS: u16 = 1 << 13;
}

/// A micro-op as the pipeline sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timed {
    /// For stores: three of the address, then the value.
    pub sources: [u8; 6],
    pub dst: u8,
    pub kind: Kind,
    pub flags: u16,
    pub undo: u16,
}

/// Bits of [`Instruction::flags`].
pub(crate) mod instruction_flag {
    /// Executes alone, at the head of the window.
    pub const HEAD: u8 = 1;
    /// ... and after all stores have become visible.
    pub const FENCE: u8 = 1 << 1;
    /// Ends with a conditional branch.
    pub const CONDITIONAL: u8 = 1 << 2;
    /// Is the branch half of a fused pair: takes no slot of its own.
    pub const FUSED: u8 = 1 << 3;
    /// A mark of a region of interest.
    pub const MARK: u8 = 1 << 4;
    /// Has a locked access.
    pub const LOCKED: u8 = 1 << 5;
}

/// An instruction of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instruction {
    /// Its first micro-op, counted from the store's start.
    pub first: u32,
    /// From the block's start.
    pub offset: u16,
    pub uops: u16,
    pub length: u8,
    /// Slots in rename and reorder buffer.
    pub slots: u8,
    pub flags: u8,
    pub note: Note,
}

/// Whether a routine's effects are few and known, so that it can be undone.
fn undo_of_routine(uop: &Uop) -> Option<u16> {
    use undo::*;
    Some(match uop.op {
        Op::Mul8 | Op::ImulWide8 | Op::Div8 | Op::Idiv8 => RAX | FLAGS,
        Op::Mul16
        | Op::Mul32
        | Op::Mul64
        | Op::ImulWide16
        | Op::ImulWide32
        | Op::ImulWide64
        | Op::Div16
        | Op::Div32
        | Op::Div64
        | Op::Idiv16
        | Op::Idiv32
        | Op::Idiv64 => RAX | RDX | FLAGS,
        Op::ReadBase => DST,
        Op::Rdtsc => RAX | RDX,
        Op::Clui | Op::Cli => SYSTEM,
        Op::Testui => FLAGS,
        Op::VStringCompare => RCX | FLAGS | X0,
        Op::VMaskedStore | Op::VMaskedStore128 | Op::VMaskedStore256 => 0,
        Op::VMaskedLoadZ | Op::VMaskedLoadY => VECTOR | UPPER,
        Op::MmxEnter | Op::MmxEmpty | Op::MmxWrite => X87,
        Op::MmxRead => VECTOR | X87,
        Op::X87 | Op::X87Flags | Op::X87Move | Op::X87Load | Op::X87Store => X87 | FLAGS,
        Op::Privileged | Op::Mark => 0,
        Op::Movs | Op::Stos | Op::Lods | Op::Cmps | Op::Scas if uop.y >> 2 & 3 == 0 => {
            RAX | RSI | RDI | FLAGS | SYSTEM
        }
        _ => return None,
    })
}

fn kind_of(uop: &Uop) -> Kind {
    let info = uop.op.info();
    match uop.op {
        Op::Mul64 | Op::ImulWide64 => Kind::Multiply,
        Op::Div64 | Op::Idiv64 => Kind::Divide64,
        Op::Popcnt16 | Op::Popcnt32 | Op::Popcnt64 => Kind::Multiply,
        Op::Tzcnt16 | Op::Tzcnt32 | Op::Tzcnt64 | Op::Lzcnt16 | Op::Lzcnt32 | Op::Lzcnt64 => {
            Kind::Multiply
        }
        Op::Bsf16 | Op::Bsf32 | Op::Bsf64 | Op::Bsr16 | Op::Bsr32 | Op::Bsr64 => Kind::Multiply,
        Op::VFromGpr32
        | Op::VFromGpr64
        | Op::VToGpr32
        | Op::VToGpr64
        | Op::VPmovmskb
        | Op::VMovmskpd => Kind::Transfer,
        Op::VInsert
        | Op::VInsertZ
        | Op::VPackedToGpr
        | Op::VPackedToGprY
        | Op::VPmovmskbY
        | Op::VFromGpr32Z
        | Op::VFromGpr64Z => Kind::Transfer,
        Op::Rdtsc => Kind::Timestamp,
        Op::Clui => Kind::UserFlag,
        Op::VPunpcklbw
        | Op::VPunpcklwd
        | Op::VPunpckldq
        | Op::VPunpcklqdq
        | Op::VPunpckhbw
        | Op::VPunpckhwd
        | Op::VPunpckhdq
        | Op::VPunpckhqdq
        | Op::VPshufb
        | Op::VPalignr
        | Op::VShufps
        | Op::VShufpd
        | Op::VPshufd
        | Op::VPshuflw
        | Op::VPshufhw
        | Op::VMovddup
        | Op::VPslldq
        | Op::VPsrldq
        | Op::VLowToHigh
        | Op::VHighToLow => Kind::Shuffle,
        Op::VWideZ | Op::VWideY | Op::VPshufbY => Kind::Shuffle,
        Op::VMulssZ
        | Op::VMulsdZ
        | Op::VMulpsY
        | Op::VMulpdY
        | Op::VFusedZ
        | Op::VFusedY
        | Op::VFloatWidenY
        | Op::VFloatNarrowY
        | Op::VFloatFromGprZ => Kind::FloatMultiply,
        Op::VDivssZ | Op::VDivpsY => Kind::FloatDivide,
        Op::VDivsdZ | Op::VDivpdY => Kind::FloatDivide64,
        Op::VPmuludq => Kind::VectorMultiply,
        Op::VPacked
        | Op::VPackedMmx
        | Op::VPacked3
        | Op::VPackedZ
        | Op::VPackedY
        | Op::VPackedCountY
        | Op::VPackedWidenY
        | Op::VPacked3Z
        | Op::VPacked3Y => {
            let name = PackedOp::from_index((uop.imm >> 16) as u16);
            let name = name.map_or(String::new(), |op| format!("{op:?}"));
            let multiplies = ["Pmul", "Pmadd", "Aes", "Pclmul", "Sha", "Gf2", "Psadbw"];
            let shuffles = [
                "Punpck", "Pack", "Pshuf", "Palign", "Pinsr", "Pextr", "Unpck", "Shuf", "Insert",
                "Pmovsx", "Pmovzx", "Phadd", "Phsub",
            ];
            let starts = |list: &[&str]| list.iter().any(|start| name.starts_with(start));
            if starts(&multiplies) {
                Kind::VectorMultiply
            } else if starts(&shuffles) {
                Kind::Shuffle
            } else {
                Kind::Vector
            }
        }
        Op::VAddss
        | Op::VAddsd
        | Op::VAddps
        | Op::VAddpd
        | Op::VSubss
        | Op::VSubsd
        | Op::VSubps
        | Op::VSubpd => Kind::FloatAdd,
        Op::VMulss | Op::VMulsd | Op::VMulps | Op::VMulpd => Kind::FloatMultiply,
        Op::VDivss | Op::VDivps | Op::VSqrtss => Kind::FloatDivide,
        Op::VDivsd | Op::VDivpd | Op::VSqrtsd => Kind::FloatDivide64,
        Op::VFloat | Op::VFloatZ | Op::VFloatY => {
            match FloatOp::from_index((uop.imm >> 16) as u16).map(|op| format!("{op:?}")) {
                Some(name) if name.starts_with("Div") || name.starts_with("Sqrt") => {
                    if name.ends_with('d') {
                        Kind::FloatDivide64
                    } else {
                        Kind::FloatDivide
                    }
                }
                Some(name)
                    if name.starts_with("Mul")
                        || name.starts_with("Cvt")
                        || name.starts_with("Fm")
                        || name.starts_with("Fnm") =>
                {
                    Kind::FloatMultiply
                }
                _ => Kind::FloatAdd,
            }
        }
        Op::VCvtss2sd | Op::VCvtsd2ss => Kind::FloatMultiply,
        Op::VCvtsi2ss32
        | Op::VCvtsi2ss64
        | Op::VCvtsi2sd32
        | Op::VCvtsi2sd64
        | Op::VFloatFromGpr => Kind::FloatMultiply,
        Op::VCvttss2si32
        | Op::VCvttss2si64
        | Op::VCvttsd2si32
        | Op::VCvttsd2si64
        | Op::VFloatToGpr => Kind::FloatMultiply,
        _ => match info.class {
            Class::Move | Class::Integer | Class::System | Class::String => Kind::Integer,
            Class::Shift => Kind::Shift,
            Class::Multiply => Kind::Multiply,
            Class::Divide => Kind::Divide,
            Class::Address => Kind::Address,
            Class::Load => Kind::Load,
            Class::Store => Kind::Store,
            Class::Branch => Kind::Branch,
            Class::Vector => Kind::Vector,
            Class::Float => Kind::FloatAdd,
            Class::X87 => Kind::X87,
        },
    }
}

/// Readiness, units and undo; slots are decided with the rest of the instruction.
fn timed(uop: &Uop) -> Timed {
    let info = uop.op.info();
    let routine_undo = if info.routine || info.class == Class::String {
        undo_of_routine(uop)
    } else {
        None
    };
    let mut sources = [NONE; 6];
    let fields = [uop.a as u8, uop.b as u8, uop.c as u8];
    for n in 0..3 {
        if info.reads >> n & 1 != 0 {
            sources[n] = fields[n];
        } else if info.vector_reads >> n & 1 != 0 {
            sources[n] = VECTORS + fields[n];
        }
    }
    if info.reads_dst {
        sources[3] = uop.dst as u8;
    } else if info.vector_reads & 8 != 0 {
        sources[3] = VECTORS + uop.dst as u8;
    }
    if info.flags_read & rflags::CF != 0 {
        sources[4] = CARRY;
    }
    if info.flags_read & !rflags::CF != 0 {
        sources[5] = FLAGS;
    }
    let mut dst = NONE;
    let mut undo = 0;
    let mut flags = 0;
    if info.writes_dst {
        dst = uop.dst as u8;
        if uop.dst.is_architectural() {
            undo |= undo::DST;
            flags |= flag::TAKES_INTEGER;
        }
    } else if info.writes_vector {
        dst = VECTORS + uop.dst as u8;
        flags |= flag::TAKES_VECTOR;
        if (uop.dst as u8) < 16 {
            undo |= undo::VECTOR;
            if matches!(info.upper, Upper::Zeroed | Upper::Written) {
                undo |= undo::UPPER;
            }
        }
    }
    if info.flags_written != 0 {
        undo |= undo::FLAGS;
        if info.flags_written & rflags::CF != 0 {
            flags |= flag::CARRY;
        }
        if info.flags_written & !rflags::CF != 0 {
            flags |= flag::FLAGS;
        }
    }
    match info.class {
        Class::Multiply | Class::Divide if info.routine => {
            sources[1] = Reg::Rax as u8;
            dst = Reg::Rax as u8;
            if info.class == Class::Divide {
                sources[2] = Reg::Rdx as u8;
            }
        }
        Class::String => {
            sources[0] = Reg::Rsi as u8;
            sources[1] = Reg::Rdi as u8;
            sources[3] = Reg::Rax as u8;
            dst = if uop.op == Op::Lods {
                Reg::Rax as u8
            } else {
                NONE
            };
        }
        _ => {}
    }
    undo |= routine_undo.unwrap_or(0);
    if info.writes_mxcsr {
        undo |= undo::MXCSR;
    }
    if info.x87 {
        undo |= undo::X87;
    }
    if info.upper == Upper::AllZeroed {
        undo |= undo::UPPERS;
    }
    if matches!(uop.op, Op::Cld | Op::Std) {
        undo |= undo::SYSTEM;
    }
    if info.loads {
        flags |= flag::LOADS;
    }
    if info.stores {
        flags |= flag::STORES;
    }
    if uop.op == Op::Rdtsc {
        flags |= flag::TIME;
        dst = Reg::Rax as u8;
    }
    let same = uop.a == uop.b;
    let clears = match uop.op {
        Op::Xor32 | Op::Xor64 | Op::Sub32 | Op::Sub64 => same,
        Op::VXor
        | Op::VXorZ
        | Op::VXorY
        | Op::VPsubb
        | Op::VPsubw
        | Op::VPsubd
        | Op::VPsubq
        | Op::VPcmpgtb
        | Op::VPcmpgtd => same,
        _ => false,
    };
    if clears {
        flags |= flag::INDEPENDENT;
        sources = [NONE; 6];
    }
    if !clears
        && !matches!(
            uop.op,
            Op::Next | Op::Privileged | Op::Mark | Op::CheckWrite
        )
    {
        flags |= flag::EXECUTES;
    }
    if flags & (flag::CARRY | flag::FLAGS) != 0 {
        flags |= flag::TAKES_INTEGER;
    }
    Timed {
        sources,
        dst,
        kind: kind_of(uop),
        flags,
        undo,
    }
}

fn is_stack_update(uop: &Uop) -> bool {
    uop.op == Op::Lea64 && uop.dst == Reg::Rsp && uop.a == Reg::Rsp && uop.b == Reg::Zero
}

fn is_temporary(register: Reg) -> bool {
    register as u8 >= Reg::T0 as u8
}

/// Whether a comparison or simple operation can be fused with the branch after it.
fn fuses(uop: &Uop, branch: &Uop) -> bool {
    use Op::*;
    let condition = branch.y >> 1;
    // Conditions on CF alone do not go with INC and DEC; those on OF, SF and PF go with TEST and AND.
    let carry = matches!(condition, 1 | 3);
    let sign = matches!(condition, 0 | 4 | 5);
    match uop.op {
        Test8 | Test16 | Test32 | Test64 | TestImm8 | TestImm16 | TestImm32 | TestImm64 | And32
        | And64 | AndImm32 | AndImm64 => true,
        Cmp8 | Cmp16 | Cmp32 | Cmp64 | CmpImm8 | CmpImm16 | CmpImm32 | CmpImm64 => !sign,
        Add32 | Add64 | AddImm32 | AddImm64 | Sub32 | Sub64 | SubImm32 | SubImm64 => !sign,
        Inc32 | Inc64 | Dec32 | Dec64 => !sign && !carry,
        _ => false,
    }
}

/// What the pipeline needs of a lifted block: micro-ops, one for one, and instructions, whose
/// `first` counts from the block's start.
pub(crate) fn decode(block: &Block, p: &Parameters) -> (Vec<Timed>, Vec<Instruction>) {
    let mut all: Vec<Timed> = block.uops.iter().map(timed).collect();
    let mut instructions: Vec<Instruction> = Vec::with_capacity(block.marks.len());
    for (n, mark) in block.marks.iter().enumerate() {
        let next = block.marks.get(n + 1);
        let end = next.map_or(block.uops.len(), |m| m.uop.into());
        let length = next.map_or(block.length, |m| m.offset) - mark.offset;
        let range = usize::from(mark.uop)..end;
        let uops = &block.uops[range.clone()];
        let timed = &mut all[range.clone()];
        let mut flags = 0;
        let mut slots = 0u8;
        let mut has_load = false;
        let stack = p.stack_engine != 0 && uops.len() > 1;
        for (uop, t) in uops.iter().zip(timed.iter_mut()) {
            let info = uop.op.info();
            let locked = uop.x & Uop::LOCK != 0 && (info.loads || info.stores || info.routine);
            if locked {
                flags |=
                    instruction_flag::HEAD | instruction_flag::FENCE | instruction_flag::LOCKED;
            }
            let is_system = info.routine || info.class == Class::String;
            if is_system && undo_of_routine(uop).is_none()
                || info.ends_block && info.class == Class::System && undo_of_routine(uop).is_none()
            {
                flags |= instruction_flag::HEAD;
            }
            let moves = matches!(
                uop.op,
                Op::Mov64 | Op::Mov32 | Op::VMov | Op::VMovZ | Op::VMovY
            );
            let to_temporary = t.dst < 32 && info.writes_dst && is_temporary(uop.dst);
            let eliminated = uop.op == Op::Next
                || uop.op == Op::Privileged
                || uop.op == Op::Mark
                || uop.op == Op::CheckTarget
                || (stack && is_stack_update(uop))
                || (uop.op == Op::MovImm && to_temporary)
                || (moves && (p.move_elimination != 0 || to_temporary))
                || (stack && uop.op == Op::Lea64 && uop.a == Reg::Rip && to_temporary);
            if eliminated {
                t.flags &= !(flag::EXECUTES | flag::TAKES_INTEGER | flag::TAKES_VECTOR);
            }
            let free = eliminated && (!moves || to_temporary);
            // A load and the operation on it, and an operation and its store, share a slot.
            let fused = p.micro_fusion != 0 && has_load && !info.loads && !info.stores && slots > 0;
            if !free && !fused {
                t.flags |= flag::SLOT;
                slots += 1;
            }
            has_load |= info.loads;
            if matches!(uop.op, Op::Branch | Op::BranchZero | Op::BranchNotZero) {
                flags |= instruction_flag::CONDITIONAL;
            }
        }
        // Calls and returns are a memory operation and a branch in one pair of slots; counting the
        // branch is enough for what has no slot at all.
        if slots == 0 {
            slots = 1;
            if let Some(t) = timed.first_mut() {
                t.flags |= flag::SLOT;
            }
        }
        match mark.note {
            Note::LoadFence => flags |= instruction_flag::HEAD,
            Note::FullFence => flags |= instruction_flag::HEAD | instruction_flag::FENCE,
            Note::RegionBegin | Note::RegionEnd => flags |= instruction_flag::MARK,
            Note::None | Note::StoreFence => {}
        }
        if flags & instruction_flag::CONDITIONAL != 0
            && p.macro_fusion != 0
            && range.len() == 1
            && uops[0].op == Op::Branch
            && n > 0
        {
            let before = usize::from(mark.uop) - 1;
            let previous = &mut instructions[n - 1];
            let single = previous.uops == 1
                || block.uops[previous.first as usize].op.info().loads && previous.uops == 2;
            if single && fuses(&block.uops[before], &block.uops[mark.uop as usize]) {
                flags |= instruction_flag::FUSED;
                slots = 0;
                // The pair executes as the branch; what the comparison writes is as late as its sources.
                all[before].flags &= !flag::EXECUTES;
                all[mark.uop as usize].flags &= !flag::SLOT;
            }
        }
        instructions.push(Instruction {
            first: mark.uop.into(),
            offset: mark.offset,
            uops: range.len() as u16,
            length: length.min(255) as u8,
            slots,
            flags,
            note: mark.note,
        });
    }
    (all, instructions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Description;
    use ring3_cpu::CpuModel;
    use ring3_isa::{CodeMode, lift_block};

    fn slots(code: &[u8]) -> Vec<u8> {
        let p = Description::shipped("spr").unwrap().parameters();
        let mode = CodeMode::long(CpuModel::new(1).features());
        let block = lift_block(code, mode, usize::MAX).unwrap();
        decode(&block, &p).1.iter().map(|i| i.slots).collect()
    }

    #[test]
    fn instructions_take_as_many_slots_as_on_the_processor() {
        // push rax; pop rcx; add rax, [rbx]; mov [rbx], rax; nop; ret
        let code = [0x50, 0x59, 0x48, 0x03, 0x03, 0x48, 0x89, 0x03, 0x90, 0xc3];
        assert_eq!(slots(&code), [1, 1, 1, 1, 1, 1]);
        // cmp rax, rbx; jne
        assert_eq!(slots(&[0x48, 0x39, 0xd8, 0x75, 0x10]), [1, 0]);
        // add [rbx], rax; lea rax, [rbx+8]; jmp rax
        assert_eq!(
            slots(&[0x48, 0x01, 0x03, 0x48, 0x8d, 0x43, 0x08, 0xff, 0xe0]),
            [2, 1, 1]
        );
    }

    #[test]
    fn system_instructions_execute_at_the_head_and_few_others() {
        let p = Description::shipped("spr").unwrap().parameters();
        let mode = CodeMode::long(CpuModel::new(1).features());
        let head = |code: &[u8]| {
            let block = lift_block(code, mode, 1).unwrap();
            decode(&block, &p).1[0].flags & instruction_flag::HEAD != 0
        };
        for code in [
            &[0x0f, 0x05][..],
            &[0xf0, 0x48, 0x01, 0x03],
            &[0x48, 0x87, 0x03],
            &[0xf3, 0xa4],
            &[0x0f, 0xa2],
            &[0xfb],
            &[0x0f, 0xae, 0xf0],
            &[0xf4],
        ] {
            assert!(head(code), "{code:02x?}");
        }
        for code in [
            &[0x90][..],
            &[0x48, 0xf7, 0xe3],
            &[0x0f, 0x31],
            &[0xa4],
            &[0xd8, 0xc1],
            &[0xc3],
        ] {
            assert!(!head(code), "{code:02x?}");
        }
    }
}
