//! What an instruction reads and writes besides memory, and how it ended.

use ring3_arch::rflags;
use std::fmt::{self, Display, Formatter, Write};

/// The registers of a user program.
#[derive(Clone, PartialEq, Eq)]
pub struct Registers {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub general: [u64; 16],
    pub rip: u64,
    pub rflags: u64,
    pub xmm: [u128; 16],
    /// Bits 255:128 of the YMM registers; zeros if the host has none.
    pub uppers: [u128; 16],
    pub mxcsr: u32,
    pub x87: X87,
}

/// The part of the x87 state that MMX instructions have to do with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct X87 {
    pub control: u16,
    pub status: u16,
    /// One bit for each register that is not empty, by its number (not by its place on the stack).
    pub valid: u8,
    /// ST(0) to ST(7), 80 bits each.
    pub stack: [u128; 8],
}

/// Where the registers are in the image of FXSAVE. SDM Vol. 1, "Layout of the 64-bit Mode FXSAVE64
/// Map".
const STACK_AT: usize = 32;

impl X87 {
    /// Takes it from an image.
    pub fn load(image: &[u8]) -> X87 {
        X87 {
            control: u16::from_le_bytes([image[0], image[1]]),
            status: u16::from_le_bytes([image[2], image[3]]),
            valid: image[4],
            stack: std::array::from_fn(|n| {
                let mut bytes = [0; 16];
                bytes[..10].copy_from_slice(&image[STACK_AT + 16 * n..][..10]);
                u128::from_le_bytes(bytes)
            }),
        }
    }

    /// Puts it into an image.
    pub fn store(&self, image: &mut [u8]) {
        image[0..2].copy_from_slice(&self.control.to_le_bytes());
        image[2..4].copy_from_slice(&self.status.to_le_bytes());
        image[4] = self.valid;
        for (n, value) in self.stack.iter().enumerate() {
            image[STACK_AT + 16 * n..][..10].copy_from_slice(&value.to_le_bytes()[..10]);
        }
    }
}

/// How an instruction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Finished,
    /// With this exception, page-fault error code and address (zero for other exceptions).
    Fault {
        vector: u8,
        error_code: u32,
        address: u64,
    },
}

/// The bits of RFLAGS that instructions here can change, or that they report.
pub const FLAGS: u64 = rflags::STATUS | rflags::DF;

pub const NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];

/// The flags by their letters.
pub struct Flags(pub u64);

impl Display for Flags {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        use rflags::{AF, CF, DF, OF, PF, SF, ZF};
        for (bit, letter) in [
            (OF, 'o'),
            (DF, 'd'),
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

impl Display for Registers {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, value) in NAMES.iter().zip(self.general) {
            writeln!(f, "    {name:4}{value:016x}")?;
        }
        for (number, value) in self.xmm.iter().enumerate() {
            let upper = self.uppers[number];
            writeln!(f, "    ymm{number:<2} {upper:032x} {value:032x}")?;
        }
        writeln!(
            f,
            "    rip {:x} flags {} mxcsr {:04x}",
            self.rip,
            Flags(self.rflags),
            self.mxcsr
        )?;
        writeln!(f, "    {:x?}", self.x87)
    }
}
