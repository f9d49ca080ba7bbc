//! The registers of a user program, before and after.
//!
//! Vector and x87 registers stand in the form in which XSAVE stores them, so that natively nothing
//! has to be converted. SDM Vol. 1, "Legacy Region of an XSAVE Area" and "Extended Region of an XSAVE
//! Area" (standard format).

use ring3_arch::rflags;
use std::fmt::{self, Display, Formatter, Write};

/// Bytes of an XSAVE area with x87, SSE and AVX state.
pub const AREA_BYTES: usize = 832;
/// Where XSTATE_BV stands.
const XSTATE_BV: usize = 512;

/// x87, SSE and AVX registers.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Area(pub [u8; AREA_BYTES]);

impl Default for Area {
    fn default() -> Self {
        let mut area = Area([0; AREA_BYTES]);
        area.0[XSTATE_BV] = 7;
        area
    }
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

fn get<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[at..at + N]);
    value
}

impl Area {
    /// The x87 control word.
    pub fn control(&self) -> u16 {
        u16::from_le_bytes(get(&self.0, 0))
    }
    /// Replaces it.
    pub fn set_control(&mut self, value: u16) {
        put(&mut self.0, 0, value.to_le_bytes());
    }
    /// The x87 status word.
    pub fn status(&self) -> u16 {
        u16::from_le_bytes(get(&self.0, 2))
    }
    /// Replaces it.
    pub fn set_status(&mut self, value: u16) {
        put(&mut self.0, 2, value.to_le_bytes());
    }
    /// One bit for each x87 register that is not empty, by its number (not its place on the stack).
    pub fn tags(&self) -> u8 {
        self.0[4]
    }
    /// Replaces them.
    pub fn set_tags(&mut self, value: u8) {
        self.0[4] = value;
    }
    /// ST(n), 80 bits.
    pub fn st(&self, n: usize) -> u128 {
        u128::from_le_bytes(get(&self.0, 32 + 16 * n)) & ((1 << 80) - 1)
    }
    /// Replaces ST(n).
    pub fn set_st(&mut self, n: usize, value: u128) {
        put(
            &mut self.0,
            32 + 16 * n,
            (value & ((1 << 80) - 1)).to_le_bytes(),
        );
    }
    /// MXCSR.
    pub fn mxcsr(&self) -> u32 {
        u32::from_le_bytes(get(&self.0, 24))
    }
    /// Replaces it.
    pub fn set_mxcsr(&mut self, value: u32) {
        put(&mut self.0, 24, value.to_le_bytes());
    }
    /// YMMn: its lower half, which is XMMn, and its upper half.
    pub fn vector(&self, n: usize) -> [u128; 2] {
        [160, 576].map(|at| u128::from_le_bytes(get(&self.0, at + 16 * n)))
    }
    /// Replaces YMMn.
    pub fn set_vector(&mut self, n: usize, [low, high]: [u128; 2]) {
        put(&mut self.0, 160 + 16 * n, low.to_le_bytes());
        put(&mut self.0, 576 + 16 * n, high.to_le_bytes());
    }
    /// The part that FXSAVE stores.
    pub fn legacy(&self) -> &[u8; 512] {
        self.0.first_chunk().expect("it is longer")
    }
    /// The part that FXSAVE stores.
    pub fn legacy_mut(&mut self) -> &mut [u8; 512] {
        self.0.first_chunk_mut().expect("it is longer")
    }
}

/// All registers.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct State {
    /// x87 and vector registers.
    pub area: Area,
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub general: [u64; 16],
    /// The next instruction, as an offset in its segment.
    pub rip: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// FS.base and GS.base.
    pub bases: [u64; 2],
    /// DS, ES, FS, GS, CS, SS.
    pub selectors: [u16; 6],
}

/// How a sequence ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct End {
    /// 1 + vector of the exception; 0 if the end was reached.
    pub exception: u32,
    /// Its error code, or 0.
    pub error_code: u32,
    /// Of a page fault: the address.
    pub address: u64,
}

impl End {
    /// The vector, if there was an exception.
    pub fn vector(self) -> Option<u8> {
        self.exception.checked_sub(1).map(|vector| vector as u8)
    }

    /// The exception's name.
    pub fn name(self) -> String {
        const NAMES: [&str; 20] = [
            "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "9", "#TS", "#NP",
            "#SS", "#GP", "#PF", "15", "#MF", "#AC", "#MC", "#XM",
        ];
        match self.vector() {
            None => "the end".into(),
            Some(vector) => NAMES
                .get(usize::from(vector))
                .map_or_else(|| format!("vector {vector}"), |name| (*name).into()),
        }
    }
}

impl Display for End {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        match self.vector() {
            None => Ok(()),
            Some(14) => write!(f, "({:#x}) at {:#x}", self.error_code, self.address),
            Some(_) => write!(f, "({:#x})", self.error_code),
        }
    }
}

/// The bits of RFLAGS that programs can change. Not RF, which says nothing but how the state was
/// taken.
pub const FLAGS: u64 =
    rflags::STATUS | rflags::DF | rflags::TF | rflags::AC | rflags::NT | rflags::ID;

/// The general registers' names.
pub const NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];

/// Flags by their letters.
pub struct Flags(pub u64);

impl Display for Flags {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        use rflags::{AC, AF, CF, DF, ID, NT, OF, PF, SF, TF, ZF};
        for (bit, letter) in [
            (ID, 'i'),
            (AC, 'A'),
            (NT, 'n'),
            (OF, 'o'),
            (DF, 'd'),
            (TF, 't'),
            (SF, 's'),
            (ZF, 'z'),
            (AF, 'a'),
            (PF, 'p'),
            (CF, 'c'),
        ] {
            f.write_char(if self.0 & bit != 0 { letter } else { '-' })?;
        }
        Ok(())
    }
}
