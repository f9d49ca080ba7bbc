//! The micro-op: the only place where an instruction's meaning is written.
//!
//! A [`Uop`] is sixteen bytes. What its fields mean depends on the operation; [`Op::info`] says
//! which of them are read and written, what happens to the status flags, and whether it touches
//! memory or can fault, so that an engine which reorders, speculates or compiles needs no list of
//! its own.
//!
//! Invariant: within one instruction, no architectural register, flag or memory is written before
//! the last micro-op that can fault. A fault therefore leaves the state of the instruction's
//! start, without an undo log. `Builder::finish_instruction` checks it in debug builds.

use crate::register::{Condition, Reg, VReg};
use ring3_arch::rflags;

/// One micro-op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Uop {
    /// What it does.
    pub op: Op,
    /// Destination; in stores the value.
    pub dst: Reg,
    /// First source; in memory micro-ops the base.
    pub a: Reg,
    /// Second source; in memory micro-ops the index.
    pub b: Reg,
    /// Third source; in memory micro-ops the segment base.
    pub c: Reg,
    /// Scale (bits 1:0, log2), and flags: see the constants of [`Uop`].
    pub x: u8,
    /// A small operand: a condition, a vector register field, a sub-operation.
    pub y: u8,
    /// Immediate, displacement, or branch offsets.
    pub imm: i64,
}

impl Uop {
    /// In `x`: the scale of a memory operand.
    pub const SCALE: u8 = 3;
    /// In `x`: the access goes through SS (a non-canonical address is #SS, not #GP).
    pub const STACK: u8 = 1 << 2;
    /// In `x`: part of a locked read-modify-write.
    pub const LOCK: u8 = 1 << 3;
    /// In `x`: the address must be aligned to the operand's size, else #GP(0).
    pub const ALIGNED: u8 = 1 << 4;
    /// In `x`: this micro-op cannot fault, as a preceding one has shown (a store after LoadModify or
    /// CheckWrite of the same address, the second MmxEnter of an instruction).
    pub const PROVEN: u8 = 1 << 5;

    /// In `x` of 256-bit accesses: the address must be aligned to 32 bytes, else #GP(0).
    pub const ALIGNED32: u8 = 1 << 6;

    /// In `y` of gathers: indices have 64 bits (else 32).
    pub const GATHER_WIDE_INDEX: u8 = 1 << 4;
    /// In `y` of gathers: elements have 64 bits (else 32).
    pub const GATHER_WIDE_ELEMENT: u8 = 1 << 5;
    /// In `y` of gathers: the index register has 256 bits (else 128). There are as many elements as both
    /// `dst` and the index register have.
    pub const GATHER_INDEX_256: u8 = 1 << 7;
    /// In `y` of gathers: addresses within the segment have 32 bits.
    pub const GATHER_NARROW_ADDRESS: u8 = 1 << 6;

    /// In `x` of x87 micro-ops, from this bit on: the size of the memory operand (1, 2, 3: 2, 4, 8
    /// bytes; 0: 10 bytes).
    pub const X87_SIZE_SHIFT: u32 = 6;
    /// In `y` of x87 images: the registers follow the environment.
    pub const X87_REGISTERS: u8 = 1 << 2;

    /// A micro-op with nothing but an operation; fill in the rest with struct update.
    pub const fn new(op: Op) -> Uop {
        Uop {
            op,
            dst: Reg::Zero,
            a: Reg::Zero,
            b: Reg::Zero,
            c: Reg::Zero,
            x: 0,
            y: 0,
            imm: 0,
        }
    }

    /// The condition in `y`.
    #[inline(always)]
    pub const fn condition(&self) -> Condition {
        Condition::from_number(self.y)
    }

    /// The first of two 32-bit numbers packed into the immediate (displacement, taken offset).
    #[inline(always)]
    pub const fn imm_low(&self) -> i64 {
        self.imm as i32 as i64
    }

    /// The second of two 32-bit numbers packed into the immediate.
    #[inline(always)]
    pub const fn imm_high(&self) -> i64 {
        self.imm >> 32
    }

    /// Packs two 32-bit numbers.
    pub const fn pack(low: i32, high: i32) -> i64 {
        (low as u32 as i64) | ((high as i64) << 32)
    }

    /// Vector operands stand in the same fields as integer ones; these read them.
    #[inline(always)]
    pub const fn vdst(&self) -> usize {
        self.dst as usize
    }
    /// See [`Uop::vdst`].
    #[inline(always)]
    pub const fn va(&self) -> usize {
        self.a as usize
    }
    /// See [`Uop::vdst`].
    #[inline(always)]
    pub const fn vb(&self) -> usize {
        self.b as usize
    }
    /// See [`Uop::vdst`].
    #[inline(always)]
    pub const fn vc(&self) -> usize {
        self.c as usize
    }
}

/// Puts a vector register into a field of a micro-op.
pub const fn v(register: VReg) -> Reg {
    const FIELDS: [Reg; 24] = {
        use Reg::*;
        [
            Rax, Rcx, Rdx, Rbx, Rsp, Rbp, Rsi, Rdi, R8, R9, R10, R11, R12, R13, R14, R15, Rip,
            Zero, EsBase, CsBase, SsBase, DsBase, FsBase, GsBase,
        ]
    };
    FIELDS[register as usize]
}

/// Which fields of a micro-op name registers, and what happens to flags and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpInfo {
    /// `dst` is written (as an integer register).
    pub writes_dst: bool,
    /// `dst` is read too (stores, merges).
    pub reads_dst: bool,
    /// Which of `a`, `b`, `c` are read as integer registers (bits 0, 1, 2).
    pub reads: u8,
    /// The same for vector registers; bit 3 is `dst`, bit 4 the register whose number stands in the
    /// low four bits of `y`.
    pub vector_reads: u8,
    /// The vector registers that are read are read whole, not only their low 128 bits.
    pub reads_upper: bool,
    /// `dst` is a vector register and is written.
    pub writes_vector: bool,
    /// The vector register in `y` is written too, with its upper half (gathers clear their mask).
    pub writes_mask: bool,
    /// What becomes of the upper halves of vector registers.
    pub upper: Upper,
    /// Status flags read (RFLAGS positions).
    pub flags_read: u64,
    /// Status flags written.
    pub flags_written: u64,
    /// Reads MXCSR: control bits and, because they are sticky, exception flags.
    pub reads_mxcsr: bool,
    /// Writes MXCSR (exception flags, even if the micro-op then faults).
    pub writes_mxcsr: bool,
    /// Reads or writes x87 or MMX state.
    pub x87: bool,
    /// Reads memory.
    pub loads: bool,
    /// Writes memory.
    pub stores: bool,
    /// Can raise a fault.
    pub faults: bool,
    /// Ends a block.
    pub ends_block: bool,
    /// Runs a routine whose effects are not described by this table (it serialises).
    pub routine: bool,
    /// The kind of unit that executes it.
    pub class: Class,
}

/// What a micro-op does to bits 255:128 of vector registers. (The temporaries are as wide as the others,
/// but live within one instruction: nobody sees what is kept there.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Upper {
    /// Nothing: it writes no vector register.
    Untouched,
    /// Those of `dst` keep their value, as with legacy SSE: the new `dst` depends on the old one.
    Kept,
    /// Those of `dst` become zero, as with VEX.128.
    Zeroed,
    /// Those of `dst` are part of the result, as with VEX.256.
    Written,
    /// Those of all registers that the mode has become zero (VZEROUPPER, VZEROALL).
    AllZeroed,
}

/// Kinds of execution, for machine descriptions to give ports and latencies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Register moves and constants.
    Move,
    /// Single-cycle integer.
    Integer,
    /// Shifts and rotates.
    Shift,
    /// Integer multiplication.
    Multiply,
    /// Integer division.
    Divide,
    /// Address computation.
    Address,
    /// Loads.
    Load,
    /// Stores.
    Store,
    /// Branches.
    Branch,
    /// Vector integer and logic.
    Vector,
    /// Floating-point.
    Float,
    /// x87.
    X87,
    /// String operations: many accesses.
    String,
    /// System routines.
    System,
}

const NONE: OpInfo = OpInfo {
    writes_dst: false,
    reads_dst: false,
    reads: 0,
    vector_reads: 0,
    reads_upper: false,
    writes_vector: false,
    writes_mask: false,
    upper: Upper::Untouched,
    flags_read: 0,
    flags_written: 0,
    reads_mxcsr: false,
    writes_mxcsr: false,
    x87: false,
    loads: false,
    stores: false,
    faults: false,
    ends_block: false,
    routine: false,
    class: Class::Move,
};

const A: u8 = 1;
const B: u8 = 2;
const C: u8 = 4;
const D: u8 = 8;
const Y: u8 = 16;

const fn int(class: Class, reads: u8) -> OpInfo {
    OpInfo {
        writes_dst: true,
        reads,
        class,
        ..NONE
    }
}

const fn alu(reads: u8) -> OpInfo {
    OpInfo {
        flags_written: rflags::STATUS,
        ..int(Class::Integer, reads)
    }
}

const fn merge(info: OpInfo) -> OpInfo {
    OpInfo {
        reads_dst: true,
        ..info
    }
}

const fn no_dst(info: OpInfo) -> OpInfo {
    OpInfo {
        writes_dst: false,
        ..info
    }
}

const fn reads_flags(info: OpInfo, flags: u64) -> OpInfo {
    OpInfo {
        flags_read: flags,
        ..info
    }
}

const fn load() -> OpInfo {
    OpInfo {
        loads: true,
        faults: true,
        ..int(Class::Load, A | B | C)
    }
}

const fn store(reads_value: bool) -> OpInfo {
    OpInfo {
        reads_dst: reads_value,
        reads: A | B | C,
        stores: true,
        faults: true,
        class: Class::Store,
        ..NONE
    }
}

const fn branch(reads: u8) -> OpInfo {
    OpInfo {
        reads,
        ends_block: true,
        class: Class::Branch,
        ..NONE
    }
}

const fn system() -> OpInfo {
    OpInfo {
        faults: true,
        ends_block: true,
        routine: true,
        class: Class::System,
        ..NONE
    }
}

const fn routine() -> OpInfo {
    OpInfo {
        faults: true,
        routine: true,
        class: Class::System,
        ..NONE
    }
}

const fn x87() -> OpInfo {
    OpInfo {
        class: Class::X87,
        x87: true,
        ..routine()
    }
}

const fn vector(reads: u8) -> OpInfo {
    OpInfo {
        writes_vector: true,
        vector_reads: reads,
        upper: Upper::Kept,
        class: Class::Vector,
        ..NONE
    }
}

/// The VEX.128 form of a legacy operation.
const fn zeroing(info: OpInfo) -> OpInfo {
    OpInfo {
        upper: Upper::Zeroed,
        ..info
    }
}

/// The VEX.256 form of a legacy operation.
const fn whole(info: OpInfo) -> OpInfo {
    OpInfo {
        reads_upper: true,
        upper: Upper::Written,
        ..info
    }
}

/// An operation on vectors whose result is not one.
const fn no_vector(info: OpInfo) -> OpInfo {
    OpInfo {
        writes_vector: false,
        upper: Upper::Untouched,
        ..info
    }
}

const fn to_general(info: OpInfo) -> OpInfo {
    OpInfo {
        writes_dst: true,
        ..no_vector(info)
    }
}

const fn vector_load() -> OpInfo {
    OpInfo {
        writes_vector: true,
        upper: Upper::Kept,
        reads: A | B | C,
        loads: true,
        faults: true,
        class: Class::Load,
        ..NONE
    }
}

const fn vector_store() -> OpInfo {
    OpInfo {
        vector_reads: D,
        ..store(false)
    }
}

macro_rules! ops {
    ($($(#[$meta:meta])* $first:ident $($rest:ident)* => $info:expr;)*) => {
        /// What a micro-op does. A number in a name is the operand size in bits; 32-bit results
        /// clear bits 63:32, 8-bit and 16-bit results leave the rest of `dst` alone. The
        /// sentence of a family stands at its first member.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        #[allow(missing_docs)]
        pub enum Op { $($(#[$meta])* $first, $($rest,)*)* }

        impl Op {
            /// Every operation.
            pub const ALL: &'static [Op] = &[$(Op::$first, $(Op::$rest,)*)*];

            const INFO: &'static [OpInfo] = &[$($info, $({ let _ = Op::$rest; $info },)*)*];

            /// What it reads, writes and may do.
            pub const fn info(self) -> &'static OpInfo {
                &Op::INFO[self as usize]
            }
        }
    };
}

const CF: u64 = rflags::CF;

ops! {
    // --- moves -------------------------------------------------------------------------------
    /// `dst = imm`.
    MovImm => int(Class::Move, 0);
    /// `dst = a`.
    Mov32 Mov64 => int(Class::Move, A);
    /// Low part of `dst` = low part of `a`.
    Mov8 Mov16 => merge(int(Class::Move, A));
    /// `dst` = bits 15:8 of `a`, zero-extended.
    GetHigh8 => int(Class::Move, A);
    /// Bits 15:8 of `dst` = low byte of `a`.
    PutHigh8 => merge(int(Class::Move, A));
    /// Zero-extension of the low part of `a`.
    Zx8 Zx16 => int(Class::Move, A);
    /// Sign-extension from the first size to the second.
    Sx8To32 Sx8To64 Sx16To32 Sx16To64 Sx32To64 => int(Class::Integer, A);
    /// `dst` = all copies of the sign bit of `a` (CWD, CDQ, CQO).
    Sign16 => merge(int(Class::Integer, A));
    /// `dst` = all copies of the sign bit of `a`.
    Sign32 Sign64 => int(Class::Integer, A);
    /// `dst = a + (b << scale) + imm`.
    Lea32 Lea64 => int(Class::Address, A | B);
    /// The same, keeping bits 63:16 of the sum clear.
    Lea16 => int(Class::Address, A | B);

    // --- memory ------------------------------------------------------------------------------
    /// Segment check outside 64-bit mode: `dst` = linear address of offset `a` in the segment with
    /// number `y`, for an access of `imm` bytes; bit 31 of `imm` marks a write.
    Segment => OpInfo { faults: true, ..int(Class::Address, A) };
    /// `dst` = memory at `a + (b << scale) + c + imm`, zero-extended.
    Load8 Load16 Load32 Load64 => load();
    /// The same, sign-extended.
    LoadSx8To32 LoadSx8To64 LoadSx16To32 LoadSx16To64 LoadSx32To64 => load();
    /// The same as LoadN, but the page must be writable: the store that follows cannot fault.
    LoadModify8 LoadModify16 LoadModify32 LoadModify64 => load();
    /// Memory at the address = `dst`.
    Store8 Store16 Store32 Store64 => store(true);
    /// Memory at `a + (b << scale) + c + imm_low` = `imm_high`, sign-extended.
    StoreImm8 StoreImm16 StoreImm32 StoreImm64 => store(false);
    /// Raises what a write of `y` bytes to the address would raise.
    CheckWrite => OpInfo { stores: false, ..store(false) };

    // --- arithmetic and logic ----------------------------------------------------------------
    /// `dst = a + b`.
    Add32 Add64 => alu(A | B);
    /// See Add64.
    Add8 Add16 => merge(alu(A | B));
    /// `dst = a | b`; CF, OF, AF cleared (as in all logical operations).
    Or32 Or64 => alu(A | B);
    /// See Or64.
    Or8 Or16 => merge(alu(A | B));
    /// `dst = a + b + CF`.
    Adc32 Adc64 => reads_flags(alu(A | B), CF);
    /// See Adc64.
    Adc8 Adc16 => merge(reads_flags(alu(A | B), CF));
    /// `dst = a - b - CF`.
    Sbb32 Sbb64 => reads_flags(alu(A | B), CF);
    /// See Sbb64.
    Sbb8 Sbb16 => merge(reads_flags(alu(A | B), CF));
    /// `dst = a & b`.
    And32 And64 => alu(A | B);
    /// See And64.
    And8 And16 => merge(alu(A | B));
    /// `dst = a - b`.
    Sub32 Sub64 => alu(A | B);
    /// See Sub64.
    Sub8 Sub16 => merge(alu(A | B));
    /// `dst = a ^ b`.
    Xor32 Xor64 => alu(A | B);
    /// See Xor64.
    Xor8 Xor16 => merge(alu(A | B));
    /// Flags of `a - b`.
    Cmp8 Cmp16 Cmp32 Cmp64 => no_dst(alu(A | B));
    /// Flags of `a & b`.
    Test8 Test16 Test32 Test64 => no_dst(alu(A | B));
    /// `dst = a + imm`.
    AddImm32 AddImm64 => alu(A);
    /// See AddImm64.
    AddImm8 AddImm16 => merge(alu(A));
    /// `dst = a | imm`.
    OrImm32 OrImm64 => alu(A);
    /// See OrImm64.
    OrImm8 OrImm16 => merge(alu(A));
    /// `dst = a + imm + CF`.
    AdcImm32 AdcImm64 => reads_flags(alu(A), CF);
    /// See AdcImm64.
    AdcImm8 AdcImm16 => merge(reads_flags(alu(A), CF));
    /// `dst = a - imm - CF`.
    SbbImm32 SbbImm64 => reads_flags(alu(A), CF);
    /// See SbbImm64.
    SbbImm8 SbbImm16 => merge(reads_flags(alu(A), CF));
    /// `dst = a & imm`.
    AndImm32 AndImm64 => alu(A);
    /// See AndImm64.
    AndImm8 AndImm16 => merge(alu(A));
    /// `dst = a - imm`.
    SubImm32 SubImm64 => alu(A);
    /// See SubImm64.
    SubImm8 SubImm16 => merge(alu(A));
    /// `dst = a ^ imm`.
    XorImm32 XorImm64 => alu(A);
    /// See XorImm64.
    XorImm8 XorImm16 => merge(alu(A));
    /// Flags of `a - imm`.
    CmpImm8 CmpImm16 CmpImm32 CmpImm64 => no_dst(alu(A));
    /// Flags of `a & imm`.
    TestImm8 TestImm16 TestImm32 TestImm64 => no_dst(alu(A));
    /// `dst = a + 1`, CF kept.
    Inc32 Inc64 => reads_flags(alu(A), CF);
    /// See Inc64.
    Inc8 Inc16 => merge(reads_flags(alu(A), CF));
    /// `dst = a - 1`, CF kept.
    Dec32 Dec64 => reads_flags(alu(A), CF);
    /// See Dec64.
    Dec8 Dec16 => merge(reads_flags(alu(A), CF));
    /// `dst = -a`.
    Neg32 Neg64 => alu(A);
    /// See Neg64.
    Neg8 Neg16 => merge(alu(A));
    /// `dst = !a`, no flags.
    Not32 Not64 => int(Class::Integer, A);
    /// See Not64.
    Not8 Not16 => merge(int(Class::Integer, A));

    // --- shifts: count in `b`, masked to 5 (or, for 64 bits, 6) bits; a count of zero changes
    // no flag ----------------------------------------------------------------------------------
    /// Shift left.
    Shl32 Shl64 => shift(A | B);
    /// See Shl64.
    Shl8 Shl16 => merge(shift(A | B));
    /// Logical shift right.
    Shr32 Shr64 => shift(A | B);
    /// See Shr64.
    Shr8 Shr16 => merge(shift(A | B));
    /// Arithmetic shift right.
    Sar32 Sar64 => shift(A | B);
    /// See Sar64.
    Sar8 Sar16 => merge(shift(A | B));
    /// The same with the count in `imm`, masked and not zero.
    ShlImm32 ShlImm64 ShrImm32 ShrImm64 SarImm32 SarImm64 => alu_shift(A);
    /// See ShlImm64.
    ShlImm8 ShlImm16 ShrImm8 ShrImm16 SarImm8 SarImm16 => merge(alu_shift(A));
    /// Rotates: only CF and OF change.
    Rol8 Rol16 Rol32 Rol64 Ror8 Ror16 Ror32 Ror64 => merge(shift(A | B));
    /// Rotates through CF.
    Rcl8 Rcl16 Rcl32 Rcl64 Rcr8 Rcr16 Rcr32 Rcr64 => merge(shift(A | B));
    /// `dst` = `a` shifted left by `c`, filled from the top of `b`.
    Shld16 Shld32 Shld64 => merge(shift(A | B | C));
    /// `dst` = `a` shifted right by `c`, filled from the bottom of `b`.
    Shrd16 Shrd32 Shrd64 => merge(shift(A | B | C));

    // --- multiplication and division -----------------------------------------------------------
    /// `dst = a * b` (signed, truncated); CF = OF = the product did not fit.
    Imul32 Imul64 => OpInfo { class: Class::Multiply, ..alu(A | B) };
    /// See Imul64.
    Imul16 => merge(OpInfo { class: Class::Multiply, ..alu(A | B) });
    /// `RDX:RAX = RAX * a` at the given size (8 bits: `AX = AL * a`), unsigned.
    Mul8 Mul16 Mul32 Mul64 => accumulate(Class::Multiply, false);
    /// The same, signed.
    ImulWide8 ImulWide16 ImulWide32 ImulWide64 => accumulate(Class::Multiply, false);
    /// `RAX, RDX = RDX:RAX / a` (quotient, remainder); #DE.
    Div8 Div16 Div32 Div64 => accumulate(Class::Divide, true);
    /// The same, signed.
    Idiv8 Idiv16 Idiv32 Idiv64 => accumulate(Class::Divide, true);

    // --- bits ----------------------------------------------------------------------------------
    /// CF = bit `b` (modulo the size) of `a`.
    Bt16 Bt32 Bt64 => OpInfo { flags_written: CF, flags_read: rflags::STATUS & !CF, ..no_dst(alu(A | B)) };
    /// The same, and `dst` = `a` with the bit set.
    Bts16 Bts32 Bts64 => bit_test();
    /// The bit cleared.
    Btr16 Btr32 Btr64 => bit_test();
    /// The bit inverted.
    Btc16 Btc32 Btc64 => bit_test();
    /// `dst = a` + the bytes from a bit string's start to the word that holds bit `b` (signed).
    BitWord16 BitWord32 BitWord64 => int(Class::Address, A | B);
    /// Index of the lowest set bit; ZF and an unchanged `dst` if there is none.
    Bsf16 Bsf32 Bsf64 => merge(alu(A));
    /// Index of the highest set bit.
    Bsr16 Bsr32 Bsr64 => merge(alu(A));
    /// Trailing zeros; CF if the source is zero.
    Tzcnt16 Tzcnt32 Tzcnt64 => merge(alu(A));
    /// Leading zeros.
    Lzcnt16 Lzcnt32 Lzcnt64 => merge(alu(A));
    /// Population count.
    Popcnt16 Popcnt32 Popcnt64 => merge(alu(A));
    /// Byte swap; of 16 bits for MOVBE.
    Bswap16 => merge(int(Class::Integer, A));
    /// See Bswap16.
    Bswap32 Bswap64 => int(Class::Integer, A);
    /// CRC-32C of `b` (given size) onto `a`.
    Crc8 Crc16 Crc32 Crc64 => int(Class::Multiply, A | B);

    /// `dst = !a & b`; CF and OF cleared.
    Andn32 Andn64 => alu(A | B);
    /// `dst` = the bits of `a` from position `b` 7:0 on, as many as `b` 15:8 says; CF and OF cleared.
    Bextr32 Bextr64 => alu(A | B);
    /// `dst` = the lowest set bit of `a`; CF if there is one.
    Blsi32 Blsi64 => alu(A);
    /// `dst` = all bits up to the lowest set bit of `a`; CF if there is none.
    Blsmsk32 Blsmsk64 => alu(A);
    /// `dst` = `a` without its lowest set bit; CF if there is none.
    Blsr32 Blsr64 => alu(A);
    /// `dst` = the low `b` 7:0 bits of `a`; CF if that is the operand's size or more.
    Bzhi32 Bzhi64 => alu(A | B);
    /// `dst` = low half of the unsigned product `a * b`, no flags.
    MulLow32 MulLow64 => int(Class::Multiply, A | B);
    /// The high half.
    MulHigh32 MulHigh64 => int(Class::Multiply, A | B);
    /// `dst` = the low bits of `a` at the places of the set bits of `b`.
    Pdep32 Pdep64 => int(Class::Multiply, A | B);
    /// `dst` = the bits of `a` at the places of the set bits of `b`, gathered at the low end.
    Pext32 Pext64 => int(Class::Multiply, A | B);
    /// `dst` = `a` rotated right by `imm` (less than the size), no flags.
    Rorx32 Rorx64 => int(Class::Shift, A);
    /// `dst` = `a` shifted by `b` (masked), no flags.
    Shlx32 Shlx64 Shrx32 Shrx64 Sarx32 Sarx64 => int(Class::Shift, A | B);
    /// `dst = a + b + CF`; only CF changes.
    Adcx32 Adcx64 => OpInfo { flags_read: rflags::STATUS, flags_written: CF, ..int(Class::Integer, A | B) };
    /// `dst = a + b + OF`; only OF changes.
    Adox32 Adox64 => OpInfo { flags_read: rflags::STATUS, flags_written: rflags::OF, ..int(Class::Integer, A | B) };

    // --- conditions and flags ------------------------------------------------------------------
    /// Low byte of `dst` = condition `y`.
    Set => merge(reads_flags(int(Class::Integer, 0), rflags::STATUS));
    /// If condition `y`: `dst = a`; a 32-bit `dst` loses its upper half either way.
    Cmov16 Cmov32 Cmov64 => merge(reads_flags(int(Class::Integer, A), rflags::STATUS));
    /// If condition `y`: `dst = a`; nothing happens to `dst` otherwise.
    CmovKeep8 CmovKeep16 CmovKeep32 CmovKeep64 => merge(reads_flags(int(Class::Integer, A), rflags::STATUS));
    /// CF = 0.
    Clc => carry();
    /// CF = 1.
    Stc => carry();
    /// CF = !CF.
    Cmc => carry();
    /// DF = 0.
    Cld => OpInfo { class: Class::Integer, ..NONE };
    /// DF = 1.
    Std => OpInfo { class: Class::Integer, ..NONE };
    /// AH = SF:ZF:0:AF:0:PF:1:CF.
    Lahf => OpInfo { flags_read: rflags::STATUS, reads_dst: true, writes_dst: true, class: Class::Integer, ..NONE };
    /// SF, ZF, AF, PF, CF = AH.
    Sahf => OpInfo { flags_read: rflags::OF, flags_written: rflags::STATUS, reads: A, class: Class::Integer, ..NONE };
    /// `dst` = RFLAGS with VM and RF clear.
    ReadFlags => reads_flags(int(Class::Integer, 0), rflags::STATUS);

    // --- control flow: `x` is the width to which a target is cut, in bits, or 0 for 64 ----------
    /// The block ends; go on at `rip + imm`.
    Next => branch(0);
    /// Jump to `rip + imm`.
    Jump => branch(0);
    /// Jump to `a`; #GP(0) if that is not canonical.
    JumpTo => OpInfo { faults: true, ..branch(A) };
    /// The same for a near call or return whose target was checked (predictors want to know).
    CallTo ReturnTo => branch(A);
    /// Raises #GP(0) if jumping to `a` would: comes before a call's or return's stack changes.
    CheckTarget => OpInfo { faults: true, reads: A, class: Class::Branch, ..NONE };
    /// A direct near call: jump to `rip + imm`.
    CallJump => branch(0);
    /// If condition `y` jump to `rip + imm_low`, else to `rip + imm_high`.
    Branch => reads_flags(branch(0), rflags::STATUS);
    /// If `a` (its low 16, 32 or 64 bits, `y` of them) is zero jump to `rip + imm_low`, else to
    /// `rip + imm_high`.
    BranchZero => branch(A);
    /// The opposite.
    BranchNotZero => branch(A);
    /// Raises exception `y` with error code `imm`.
    Raise => system();
    /// The instruction is advertised but not implemented: stops the machine.
    Unimplemented => system();

    // --- strings: `y` = log2 of the element size | prefix << 2 (0 none, 1 REP/REPE, 2 REPNE) |
    // log2(address size / 2) << 4; `a` is the source's segment base ----------------------------
    /// MOVS.
    Movs => string();
    /// STOS.
    Stos => string();
    /// LODS.
    Lods => string();
    /// CMPS.
    Cmps => string();
    /// SCAS.
    Scas => string();
    /// INS.
    Ins => string();
    /// OUTS.
    Outs => string();

    // --- system --------------------------------------------------------------------------------
    /// CPUID.
    Cpuid => routine();
    /// RDTSC.
    Rdtsc => system();
    /// RDTSCP.
    Rdtscp => system();
    /// RDPID into `dst`.
    Rdpid => routine();
    /// RDPMC.
    Rdpmc => system();
    /// RDMSR.
    Rdmsr => system();
    /// WRMSR.
    Wrmsr => system();
    /// IN: `y` bytes into RAX from the port in `a` (its low 16 bits).
    In => system();
    /// OUT: `y` bytes of RAX to the port in `a`.
    Out => system();
    /// `dst` = control register `y`.
    MovFromCr => system();
    /// Control register `y` = `a`.
    MovToCr => system();
    /// `dst` = debug register `y`.
    MovFromDr => system();
    /// Debug register `y` = `a`.
    MovToDr => system();
    /// CLTS.
    Clts => system();
    /// LMSW from `a`.
    Lmsw => system();
    /// `dst` = CR0 for SMSW (UMIP is checked).
    Smsw => routine();
    /// LGDT from linear address `a`; `y` is the number of base bytes (4 of which 3 count for a
    /// 16-bit operand: then 3).
    Lgdt => system();
    /// LIDT; as LGDT.
    Lidt => system();
    /// SGDT to linear address `a`, `y` base bytes.
    Sgdt => routine();
    /// SIDT; as SGDT.
    Sidt => routine();
    /// LTR from `a`.
    Ltr => system();
    /// LLDT from `a`.
    Lldt => system();
    /// #GP(0) unless CPL is 0; comes before the operand of a privileged instruction is read.
    Privileged => routine();
    /// `dst` = the task register's selector.
    Str => routine();
    /// `dst` = the LDT's selector.
    Sldt => routine();
    /// LAR: ZF, and `dst` (`y` bytes) from selector `a`.
    Lar => routine();
    /// LSL.
    Lsl => routine();
    /// VERR of `a`: ZF.
    Verr => routine();
    /// VERW.
    Verw => routine();
    /// INVLPG of linear address `a`.
    Invlpg => system();
    /// INVPCID: type `b`, descriptor at linear address `a`.
    Invpcid => system();
    /// WBINVD, INVD, WBNOINVD.
    Wbinvd => system();
    /// CLFLUSH and its kin: checks the address `a`.
    Clflush => routine();
    /// HLT.
    Hlt => system();
    /// PAUSE.
    Pause => system();
    /// CLI.
    Cli => system();
    /// STI.
    Sti => system();
    /// POPF's register part: RFLAGS = `a`, `y` bytes; RSP is already updated in `b`.
    WriteFlags => system();
    /// STAC.
    Stac => system();
    /// CLAC.
    Clac => system();
    /// IRET with operand size `y` bytes.
    Iret => system();
    /// SYSCALL.
    Syscall => system();
    /// SYSRET; `y` is the operand size in bytes.
    Sysret => system();
    /// INT n with n = `y`.
    Int => system();
    /// INT3.
    Int3 => system();
    /// INT1.
    Int1 => system();
    /// INTO.
    Into => system();
    /// Segment register `y` = `a`; then RSP = `b` (POP); then, for LDS and its kin, `dst` = `c` in
    /// a size of `x` bytes (0: none).
    LoadSegment => system();
    /// `dst` = selector of segment register `y`.
    ReadSegment => int(Class::Move, 0);
    /// Far jump to selector `a`, offset `b`; `y` operand bytes.
    JumpFar => system();
    /// Far call to selector `a`, offset `b`; `y` operand bytes.
    CallFar => system();
    /// Far return of operand size `y`, releasing `a`'s... `imm_high` bytes.
    ReturnFar => system();
    /// SWAPGS.
    Swapgs => system();
    /// RDFSBASE/RDGSBASE: `dst` = `a`, if CR4.FSGSBASE.
    ReadBase => routine();
    /// WRFSBASE/WRGSBASE: base `dst` = `a`.
    WriteBase => routine();
    /// XGETBV.
    Xgetbv => routine();
    /// XSETBV.
    Xsetbv => system();
    /// RDRAND or RDSEED into `dst`, `y` bytes.
    Rdrand => routine();
    /// UMONITOR of linear address `a`.
    Umonitor => routine();
    /// UMWAIT; hints in `a`, deadline in EDX:EAX.
    Umwait => system();
    /// TPAUSE.
    Tpause => system();
    /// CMPXCHG8B at linear address `a`.
    Cmpxchg8b => routine();
    /// CMPXCHG16B.
    Cmpxchg16b => routine();
    /// ENTER with frame size `imm & 0xffff` and nesting `y`.
    Enter => routine();
    /// PUSHA (`y` bytes each).
    Pusha => routine();
    /// POPA.
    Popa => routine();
    /// BOUND: `dst` against the pair at linear address `a`, `y` bytes each.
    Bound => routine();
    /// DAA, DAS, AAA, AAS, AAM, AAD: `y` says which, `imm` is the base.
    Decimal => routine();
    /// ARPL: `dst` adjusted to the RPL of `a`.
    Arpl => routine();
    /// SERIALIZE and CPUID-like fences that only end the block.
    Serialize => OpInfo { faults: false, ..system() };

    // --- user interrupts -----------------------------------------------------------------------
    /// SENDUIPI with index `a`.
    Senduipi => system();
    /// UIRET.
    Uiret => system();
    /// CLUI.
    Clui => system();
    /// STUI.
    Stui => system();
    /// TESTUI.
    Testui => routine();

    // --- saved state -----------------------------------------------------------------------------
    /// FXSAVE to linear address `a`; `y` = 1 with REX.W.
    Fxsave => OpInfo { reads_mxcsr: true, x87: true, ..routine() };
    /// FXRSTOR.
    Fxrstor => OpInfo { writes_mxcsr: true, x87: true, ..system() };
    /// XSAVE family to linear address `a`; `y` bits: 0 REX.W, 7:4 which (0 XSAVE, 1 XSAVEOPT,
    /// 2 XSAVEC, 3 XSAVES).
    Xsave => OpInfo { reads_mxcsr: true, x87: true, ..system() };
    /// XRSTOR (0) or XRSTORS (3).
    Xrstor => OpInfo { writes_mxcsr: true, x87: true, ..system() };
    /// LDMXCSR from `a`.
    Ldmxcsr => OpInfo { writes_mxcsr: true, reads: A, ..routine() };
    /// `dst` = MXCSR.
    Stmxcsr => OpInfo { reads_mxcsr: true, ..int(Class::Float, 0) };

    // --- vectors: XMM registers in the fields of integer ones; upper halves are kept ------------
    /// `dst = a`.
    VMov => vector(A);
    /// Low 32 bits of `dst` = those of `a`.
    VMov32 => vector(A | D);
    /// Low 64 bits of `dst` = those of `a`.
    VMov64 => vector(A | D);
    /// `dst` = low 64 bits of `a`, zero-extended.
    VZx64 => vector(A);
    /// High 64 bits of `dst` = low 64 bits of `a` (MOVLHPS).
    VLowToHigh => vector(A | D);
    /// Low 64 bits of `dst` = high 64 bits of `a` (MOVHLPS).
    VHighToLow => vector(A | D);
    /// 128-bit load.
    VLoad128 => vector_load();
    /// 64-bit load, zero-extended.
    VLoad64 => vector_load();
    /// 32-bit load, zero-extended.
    VLoad32 => vector_load();
    /// 16-bit load, zero-extended.
    VLoad16 => vector_load();
    /// 64-bit load into the low half of `dst`.
    VLoadLow => OpInfo { vector_reads: D, ..vector_load() };
    /// 64-bit load into the high half of `dst`.
    VLoadHigh => OpInfo { vector_reads: D, ..vector_load() };
    /// 128-bit store of `dst`.
    VStore128 => vector_store();
    /// Store of the low 64 bits.
    VStore64 => vector_store();
    /// Store of the low 32 bits.
    VStore32 => vector_store();
    /// Store of the high 64 bits.
    VStoreHigh => vector_store();
    /// `dst` = low 32 bits of general register `a`, zero-extended.
    VFromGpr32 => OpInfo { reads: A, ..vector(0) };
    /// `dst` = general register `a`, zero-extended.
    VFromGpr64 => OpInfo { reads: A, ..vector(0) };
    /// General register `dst` = low 32 bits of `a`.
    VToGpr32 => to_general(vector(A));
    /// General register `dst` = low 64 bits of `a`.
    VToGpr64 => to_general(vector(A));
    /// `dst = a & b`.
    VAnd => vector(A | B);
    /// `dst = !a & b`.
    VAndNot => vector(A | B);
    /// `dst = a | b`.
    VOr => vector(A | B);
    /// `dst = a ^ b`.
    VXor => vector(A | B);
    /// `dst` = `imm`, zero-extended.
    VImm => vector(0);
    /// Frequent packed-integer operations of `a` and `b`, named by their mnemonics; the immediate,
    /// if there is one, is `imm & 0xff`.
    VPaddb VPaddw VPaddd VPaddq VPsubb VPsubw VPsubd VPsubq => vector(A | B);
    /// See VPaddb.
    VPcmpeqb VPcmpeqw VPcmpeqd VPcmpgtb VPcmpgtd VPminub VPmaxub VPmuludq => vector(A | B);
    /// See VPaddb.
    VPunpcklbw VPunpcklwd VPunpckldq VPunpcklqdq VPunpckhbw VPunpckhwd VPunpckhdq VPunpckhqdq => vector(A | B);
    /// See VPaddb.
    VPshufb VPalignr VShufps VShufpd => vector(A | B);
    /// See VPaddb: shifts by the low half of `b`.
    VPsllw VPslld VPsllq VPsrlw VPsrld VPsrlq VPsrad => vector(A | B);
    /// The same of `b` alone.
    VPshufd VPshuflw VPshufhw VMovddup => vector(B);
    /// `dst` = `a` shifted by `imm & 0xff` bytes.
    VPslldq VPsrldq => vector(A);
    /// General register `dst` = the top bits of the elements of `b`.
    VPmovmskb VMovmskpd => to_general(vector(B));
    /// `dst` = packed-integer operation `imm >> 16` of `a` and `b` with immediate `imm & 0xff`.
    VPacked => vector(A | B);
    /// The same on MMX-sized operands.
    VPackedMmx => vector(A | B);
    /// `dst` = packed-integer operation `imm >> 16` of `a`, `b` and a mask in `c`.
    VPacked3 => vector(A | B | C);
    /// General register `dst` = packed operation of `a` and `b` that yields an integer.
    VPackedToGpr => to_general(vector(A | B));
    /// Flags = packed operation of `a` and `b` (PTEST).
    VPackedFlags => OpInfo { flags_written: rflags::STATUS, ..no_vector(vector(A | B)) };
    /// Vector `dst` = `a` with element `imm & 0xff` replaced by general register `b`; `imm >> 16`
    /// is the operation.
    VInsert => OpInfo { reads: B, ..vector(A) };
    /// String comparison (PCMPxSTRx): `y` bit 0 explicit lengths (in RAX, RDX), bit 1 mask result
    /// (XMM0) instead of index (RCX), bit 2 64-bit lengths; `imm` is the control.
    VStringCompare => OpInfo { flags_written: rflags::STATUS, routine: true, ..no_vector(vector(A | B)) };
    /// The bytes of `dst` whose byte in `b` has its top bit set go to memory at `a + c + imm`; `y`
    /// (8 or 16) bytes at most.
    VMaskedStore => OpInfo { reads: A | C, vector_reads: B | D, routine: true, ..store(false) };
    /// Frequent floating-point operations of `a` and `b`, named by their mnemonics; #XM.
    VAddss VAddsd VAddps VAddpd VSubss VSubsd VSubps VSubpd => float(A | B);
    /// See VAddss.
    VMulss VMulsd VMulps VMulpd VDivss VDivsd VDivps VDivpd => float(A | B);
    /// See VAddss.
    VMinss VMinsd VMaxss VMaxsd VSqrtss VSqrtsd VCvtss2sd VCvtsd2ss => float(A | B);
    /// See VFloatFlags.
    VComiss VComisd VUcomiss VUcomisd => float_flags();
    /// See VFloatFromGpr.
    VCvtsi2ss32 VCvtsi2ss64 VCvtsi2sd32 VCvtsi2sd64 => float_from_gpr();
    /// See VFloatToGpr.
    VCvttss2si32 VCvttss2si64 VCvttsd2si32 VCvttsd2si64 => float_to_gpr();
    /// `dst` = floating-point operation `imm >> 16` of `a` and `b`, immediate `imm & 0xff`; #XM.
    VFloat => float(A | B);
    /// Flags = comparison of `a` and `b` (COMISx); #XM.
    VFloatFlags => float_flags();
    /// General register `dst` = conversion of `a`; #XM.
    VFloatToGpr => float_to_gpr();
    /// Vector `dst` = `a` with its low element converted from general register `b`; #XM.
    VFloatFromGpr => float_from_gpr();
    /// Before an MMX instruction: #MF if one is pending; `y` = 1: also TOP = 0 and all tags valid.
    MmxEnter => OpInfo { x87: true, ..routine() };
    /// EMMS.
    MmxEmpty => OpInfo { x87: true, ..routine() };
    /// Vector `dst` = MMX register `y`.
    MmxRead => OpInfo { routine: true, x87: true, ..vector(0) };
    /// MMX register `y` = vector `a`.
    MmxWrite => OpInfo { routine: true, x87: true, ..no_vector(vector(A)) };
    /// x87 operation `y` on stack register `imm_low`; FNSTSW's result goes to T0. `imm_high` holds
    /// the instruction's offset from the block's start (bits 15:0) and its opcode (26:16).
    X87 => x87();
    /// The same: FCOMI and its siblings.
    X87Flags => OpInfo { flags_written: rflags::STATUS, ..x87() };
    /// The same: FCMOVcc.
    X87Move => OpInfo { flags_read: rflags::STATUS, ..x87() };
    /// The same with a memory operand of the size in `x`, whose displacement is `imm_low`. `dst` is
    /// the segment base that has been added to `a` already.
    X87Load => OpInfo { reads: A | B | C, reads_dst: true, loads: true, ..x87() };
    /// The same: the operand is written, unless an unmasked exception prevents it.
    X87Store => OpInfo { reads: A | B | C, reads_dst: true, stores: true, ..x87() };
    /// FLDENV and FRSTOR: `y` is the format, and [`Uop::X87_REGISTERS`].
    X87LoadImage => OpInfo { reads: A | B | C, loads: true, ..x87() };
    /// FNSTENV and FNSAVE.
    X87StoreImage => OpInfo { reads: A | B | C, stores: true, ..x87() };

    // --- vectors, VEX encodings. A name ends with Z if the result has 128 bits and the upper half of
    // `dst` becomes zero, with Y (or 256) if it has 256 bits. In immediates bits 7:0 are the
    // instruction's, or its low half's, bits 15:8 its high half's -----------------------------------
    /// `dst = a`.
    VMovZ => zeroing(vector(A));
    /// The same.
    VMovY => whole(vector(A));
    /// `dst` = low 64 bits of `a`.
    VZx64Z => zeroing(vector(A));
    /// `dst` = memory at `a + (b << scale) + c + imm`, zero-extended.
    VLoad128Z VLoad64Z VLoad32Z => zeroing(vector_load());
    /// 256-bit load.
    VLoad256 => OpInfo { upper: Upper::Written, ..vector_load() };
    /// 256-bit store of `dst`.
    VStore256 => OpInfo { reads_upper: true, ..vector_store() };
    /// `dst` = general register `a`, its low 32 or all bits.
    VFromGpr32Z VFromGpr64Z => OpInfo { reads: A, ..zeroing(vector(0)) };
    /// `dst` = `imm`, zero-extended.
    VImmZ => zeroing(vector(0));
    /// Upper halves of all registers = 0 (outside 64-bit mode, of the first eight).
    VZeroUpper => OpInfo { upper: Upper::AllZeroed, class: Class::Vector, ..NONE };
    /// All registers = 0 (outside 64-bit mode, the first eight).
    VZeroAll => OpInfo { routine: true, upper: Upper::AllZeroed, class: Class::Vector, ..NONE };
    /// `dst` = packed-integer operation `imm >> 16` of `a` and `b`.
    VPackedZ => zeroing(vector(A | B));
    /// The same in each half.
    VPackedY => whole(vector(A | B));
    /// The same, `b` being the low half of the register for both.
    VPackedCountY => whole(vector(A | B));
    /// `dst` = packed-integer operation `imm >> 16` of `b` in the low half, of `b` shifted right by
    /// `imm >> 8 & 0xff` bits in the high one: elements that become wider.
    VPackedWidenY => OpInfo { reads_upper: false, ..whole(vector(B)) };
    /// Frequent ones by their mnemonics.
    VAndZ VAndNotZ VOrZ VXorZ => zeroing(vector(A | B));
    /// See VAndZ.
    VAndY VAndNotY VOrY VXorY => whole(vector(A | B));
    /// See VAndZ.
    VPaddbY VPadddY VPaddqY VPsubbY VPcmpeqbY VPminubY VPshufbY => whole(vector(A | B));
    /// General register `dst` = the top bits of the bytes of `b`.
    VPmovmskbY => to_general(whole(vector(B)));
    /// `dst` = packed-integer operation `imm >> 16` of `a`, `b` and a mask in `c`.
    VPacked3Z => zeroing(vector(A | B | C));
    /// The same in each half.
    VPacked3Y => whole(vector(A | B | C));
    /// General register `dst` = the results for the halves of `b`, the high one shifted left by
    /// `imm >> 8 & 0xff` bits.
    VPackedToGprY => to_general(whole(vector(A | B)));
    /// Flags = packed operation of `a` and `b` (VPTEST, VTESTPS): those that both halves set.
    VPackedFlagsY => OpInfo { flags_written: rflags::STATUS, ..no_vector(whole(vector(A | B))) };
    /// Vector `dst` = `a` with an element replaced by general register `b`: see VInsert.
    VInsertZ => OpInfo { reads: B, ..zeroing(vector(A)) };
    /// `dst` = low half of the half-crossing operation `imm >> 16` of `a` and `b`.
    VWideZ => OpInfo { reads_upper: true, ..zeroing(vector(A | B)) };
    /// `dst` = its whole result.
    VWideY => whole(vector(A | B));
    /// `dst` = floating-point operation `imm >> 16` of `a` and `b`; #XM.
    VFloatZ => zeroing(float(A | B));
    /// The same in each half, with the exceptions of all elements together.
    VFloatY => whole(float(A | B));
    /// As VPackedWidenY.
    VFloatWidenY => OpInfo { reads_upper: false, ..whole(float(B)) };
    /// `dst` = the low 64 bits of the results for the halves of `b`: elements that become narrower.
    VFloatNarrowY => OpInfo { reads_upper: true, ..zeroing(float(B)) };
    /// Frequent floating-point operations of `a` and `b`, named by their mnemonics; #XM.
    VAddssZ VAddsdZ VSubssZ VSubsdZ VMulssZ VMulsdZ VDivssZ VDivsdZ => zeroing(float(A | B));
    /// See VAddssZ.
    VAddpsY VAddpdY VSubpsY VSubpdY VMulpsY VMulpdY VDivpsY VDivpdY => whole(float(A | B));
    /// Vector `dst` = `a` with its low element converted from general register `b`; #XM.
    VFloatFromGprZ => OpInfo { reads: B, ..zeroing(float(A)) };
    /// `dst` = fused operation `imm & 0xff` on the operands `a`, `b`, `c` in the instruction's order,
    /// of which `imm >> 8 & 0xff` multiplies two, of shape `imm >> 16`; #XM.
    VFusedZ => zeroing(float(A | B | C));
    /// The same in each half, with the exceptions of all elements together.
    VFusedY => whole(float(A | B | C));
    /// The elements (`y` bytes each) of `dst` whose top bit is set in `b` come from memory at
    /// `a + c + imm`, the others are zero and their memory is not touched.
    VMaskedLoadZ => OpInfo { vector_reads: B, routine: true, reads: A | C, ..zeroing(vector_load()) };
    /// The same.
    VMaskedLoadY => OpInfo { vector_reads: B, routine: true, reads: A | C, ..whole(vector_load()) };
    /// The elements (`y` bytes each) of `dst` whose top bit is set in `b` go to memory at
    /// `a + c + imm`, the memory of the others is not touched.
    VMaskedStore128 => OpInfo { reads: A | C, vector_reads: B | D, routine: true, ..store(false) };
    /// The same.
    VMaskedStore256 => OpInfo { reads_upper: true, reads: A | C, vector_reads: B | D, routine: true, ..store(false) };
    /// The elements of `dst` whose top bit is set in the register with number `y & 0xf` come from
    /// memory at `a + (element of b << scale) + c + imm`, in order; each clears its mask element, so
    /// that after a fault the instruction goes on where it was. `dst` and mask change even if it
    /// faults. See [`Uop::GATHER_WIDE_INDEX`].
    VGatherZ => OpInfo {
        reads: A | C, vector_reads: B | D | Y, reads_upper: true, writes_mask: true, routine: true, ..zeroing(vector_load())
    };
    /// The same.
    VGatherY => OpInfo {
        reads: A | C, vector_reads: B | D | Y, writes_mask: true, routine: true, ..whole(vector_load())
    };
}

impl Op {
    /// Whether it is a vector operation of the VEX encodings, which stand last in the table.
    #[inline(always)]
    pub const fn is_vex_vector(self) -> bool {
        self as u16 >= Op::VMovZ as u16
    }
}

const fn shift(reads: u8) -> OpInfo {
    OpInfo {
        class: Class::Shift,
        flags_read: rflags::STATUS,
        ..alu(reads)
    }
}

const fn alu_shift(reads: u8) -> OpInfo {
    OpInfo {
        class: Class::Shift,
        ..alu(reads)
    }
}

const fn accumulate(class: Class, faults: bool) -> OpInfo {
    OpInfo {
        reads: A,
        flags_written: rflags::STATUS,
        class,
        faults,
        routine: true,
        ..NONE
    }
}

const fn bit_test() -> OpInfo {
    merge(OpInfo {
        flags_written: CF,
        flags_read: rflags::STATUS & !CF,
        ..alu(A | B)
    })
}

const fn carry() -> OpInfo {
    OpInfo {
        flags_read: rflags::STATUS,
        flags_written: CF,
        class: Class::Integer,
        ..NONE
    }
}

const fn float(reads: u8) -> OpInfo {
    OpInfo {
        faults: true,
        reads_mxcsr: true,
        writes_mxcsr: true,
        class: Class::Float,
        ..vector(reads)
    }
}

const fn float_flags() -> OpInfo {
    OpInfo {
        flags_written: rflags::STATUS,
        ..no_vector(float(A | B))
    }
}

const fn float_to_gpr() -> OpInfo {
    to_general(float(A))
}

const fn float_from_gpr() -> OpInfo {
    OpInfo {
        reads: B,
        ..float(A)
    }
}

const fn string() -> OpInfo {
    OpInfo {
        loads: true,
        stores: true,
        class: Class::String,
        ..system()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_micro_op_is_sixteen_bytes() {
        assert_eq!(std::mem::size_of::<Uop>(), 16);
    }

    #[test]
    fn packed_offsets_keep_their_signs() {
        let uop = Uop {
            imm: Uop::pack(-5, -7),
            ..Uop::new(Op::Branch)
        };
        assert_eq!((uop.imm_low(), uop.imm_high()), (-5, -7));
    }

    #[test]
    fn what_becomes_of_upper_halves_fits_what_is_written() {
        for op in Op::ALL {
            let info = op.info();
            let of_dst = matches!(info.upper, Upper::Kept | Upper::Zeroed | Upper::Written);
            assert_eq!(info.writes_vector, of_dst, "{op:?}");
            assert!(!(info.writes_dst && info.writes_vector), "{op:?}");
            // Legacy SSE knows no upper halves.
            if !op.is_vex_vector() {
                assert!(!info.reads_upper, "{op:?}");
                assert!(
                    matches!(info.upper, Upper::Untouched | Upper::Kept),
                    "{op:?}"
                );
            } else {
                assert!(info.upper != Upper::Kept, "{op:?}");
            }
        }
    }

    #[test]
    fn every_operation_has_its_own_row() {
        assert_eq!(Op::ALL.len(), Op::INFO.len());
        for (number, op) in Op::ALL.iter().enumerate() {
            assert_eq!(*op as usize, number);
        }
    }
}
