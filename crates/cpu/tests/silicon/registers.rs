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
    pub mxcsr: u32,
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
            writeln!(f, "    xmm{number:<2} {value:032x}")?;
        }
        writeln!(
            f,
            "    rip {:x} flags {} mxcsr {:04x}",
            self.rip,
            Flags(self.rflags),
            self.mxcsr
        )
    }
}
