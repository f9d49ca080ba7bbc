//! The registers that micro-ops name.

/// An integer register of the micro-op machine: the sixteen general registers, RIP, the segment
/// bases, a constant zero, and temporaries that live within one instruction.
///
/// There are exactly 32, so that an index needs no bounds check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Reg {
    Rax,
    Rcx,
    Rdx,
    Rbx,
    Rsp,
    Rbp,
    Rsi,
    Rdi,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
    /// RIP at the start of the current block (an offset into CS outside 64-bit mode).
    Rip,
    /// Always zero; never written.
    Zero,
    EsBase,
    CsBase,
    SsBase,
    DsBase,
    FsBase,
    GsBase,
    T0,
    T1,
    T2,
    T3,
    T4,
    T5,
    T6,
    /// Reserved for effective addresses that need their own computation.
    T7,
}

/// How many [`Reg`]s there are.
pub const REG_COUNT: usize = 32;

impl Reg {
    /// The general register with this hardware number; only the low four bits count.
    pub const fn general(number: u8) -> Reg {
        use Reg::*;
        const GENERAL: [Reg; 16] = [
            Rax, Rcx, Rdx, Rbx, Rsp, Rbp, Rsi, Rdi, R8, R9, R10, R11, R12, R13, R14, R15,
        ];
        GENERAL[(number & 15) as usize]
    }

    /// The base of the segment register with this number (ES, CS, SS, DS, FS, GS).
    pub const fn segment_base(number: u8) -> Reg {
        use Reg::*;
        const BASES: [Reg; 8] = [EsBase, CsBase, SsBase, DsBase, FsBase, GsBase, Zero, Zero];
        BASES[(number & 7) as usize]
    }

    /// Whether the guest can see it (temporaries and the constant are not architectural).
    pub const fn is_architectural(self) -> bool {
        (self as u8) < Reg::T0 as u8 && self as u8 != Reg::Zero as u8
    }
}

/// A vector register of the micro-op machine: XMM0 to XMM15, or YMM0 to YMM15, and temporaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum VReg {
    X0,
    X1,
    X2,
    X3,
    X4,
    X5,
    X6,
    X7,
    X8,
    X9,
    X10,
    X11,
    X12,
    X13,
    X14,
    X15,
    V0,
    V1,
    V2,
    V3,
    V4,
    V5,
    V6,
    V7,
}

/// Places in the vector register file: as many as a field of a micro-op can name, so that an index
/// needs no bounds check. The last eight have no names.
pub const VREG_COUNT: usize = 32;

impl VReg {
    const ALL: [VReg; 24] = {
        use VReg::*;
        [
            X0, X1, X2, X3, X4, X5, X6, X7, X8, X9, X10, X11, X12, X13, X14, X15, V0, V1, V2, V3,
            V4, V5, V6, V7,
        ]
    };

    /// The XMM register with this number; only the low four bits count.
    pub const fn xmm(number: u8) -> VReg {
        VReg::ALL[(number & 15) as usize]
    }

    /// Reads the field of a micro-op.
    ///
    /// # Panics
    /// If the field holds no vector register (the lifter never makes such a micro-op).
    pub const fn from_field(field: u8) -> VReg {
        VReg::ALL[field as usize]
    }
}

/// A condition as in the low four bits of Jcc. SDM Vol. 1, "EFLAGS Condition Codes".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Condition {
    O,
    No,
    B,
    Ae,
    E,
    Ne,
    Be,
    A,
    S,
    Ns,
    P,
    Np,
    L,
    Ge,
    Le,
    G,
}

impl Condition {
    /// From the low four bits of an opcode.
    pub const fn from_number(number: u8) -> Condition {
        use Condition::*;
        const ALL: [Condition; 16] = [O, No, B, Ae, E, Ne, Be, A, S, Ns, P, Np, L, Ge, Le, G];
        ALL[(number & 15) as usize]
    }
}
