//! What may differ: results that the manual leaves undefined, and what two vendors' processors do
//! differently.
//!
//! A table of [`Row`]s, each with the page it follows from. It is consulted only when host and machine
//! disagree: the sequence is then traced, and what its instructions leave open is not compared. What is
//! open *and read* by a later instruction ends the comparison; such a sequence is set aside, and counted.

use crate::layout::{MEMORY, MEMORY_SPAN, segment_base};
use crate::state::State;
use ring3_arch::rflags::{AF, CF, OF, PF, SF, STATUS, ZF};
use ring3_isa::CodeSize;
use ring3_isa::forms::iced_x86::{
    CpuidFeature, Instruction, MemorySize, Mnemonic, OpKind, Register,
};
use std::ops::Range;

/// The moment before an instruction.
pub struct Before<'a> {
    /// Registers.
    pub state: &'a State,
    /// Memory, where there is some.
    pub byte: &'a dyn Fn(u64) -> Option<u8>,
    /// Whether the instruction faulted in the machine.
    pub faulted: bool,
    /// The size of the code.
    pub size: CodeSize,
    /// Components of XSAVE that the host has and the machine has not.
    pub foreign_components: u64,
}

/// What an instruction leaves open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// These status flags.
    pub flags: u64,
    /// The general registers that it writes.
    pub general: bool,
    /// The vector registers that it writes.
    pub vectors: bool,
    /// Bits of the x87 status word.
    pub status: u16,
    /// Values of x87 registers.
    pub x87_values: bool,
    /// All of the x87 state.
    pub x87: bool,
    /// Memory at these addresses.
    pub memory: Vec<Range<u64>>,
    /// All memory.
    pub all_memory: bool,
    /// The address that a page fault reports.
    pub fault_address: bool,
    /// Everything from here on.
    pub everything: bool,
}

/// Whose processors a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// Any: the manual leaves it open.
    Any,
    /// "AuthenticAMD".
    Amd,
    /// "GenuineIntel".
    Intel,
}

impl Vendor {
    /// Whether the row counts on a host of this vendor.
    pub fn is(self, host: &str) -> bool {
        match self {
            Vendor::Any => true,
            Vendor::Amd => host == "AuthenticAMD" || host == "HygonGenuine",
            Vendor::Intel => host == "GenuineIntel",
        }
    }
}

/// Something that may differ.
pub struct Row {
    /// On which hosts.
    pub vendor: Vendor,
    /// Instruction page or section.
    pub source: &'static str,
    /// What it says, in short.
    pub says: &'static str,
    /// What it leaves open; `None` if it is about other instructions or operands.
    pub open: fn(&Instruction, &Before<'_>) -> Option<Open>,
}

fn flags(flags: u64) -> Option<Open> {
    (flags != 0).then(|| Open {
        flags,
        ..Open::default()
    })
}

fn everything() -> Option<Open> {
    Some(Open {
        everything: true,
        ..Open::default()
    })
}

/// The base of a segment register.
fn base(i: &Instruction, state: &State, register: Register) -> u64 {
    let long = i.code_size() == ring3_isa::forms::iced_x86::CodeSize::Code64;
    match register {
        Register::FS => state.bases[0],
        Register::GS => state.bases[1],
        // In 64-bit mode the others have none.
        _ if long => 0,
        Register::DS => segment_base(state.selectors[0]),
        Register::ES => segment_base(state.selectors[1]),
        Register::CS => segment_base(state.selectors[4]),
        _ => segment_base(state.selectors[5]),
    }
}

/// The offset of the memory operand in its segment.
fn offset(i: &Instruction, state: &State) -> Option<u64> {
    let address = address(i, state)?;
    Some(address.wrapping_sub(base(i, state, i.memory_segment())))
}

/// The linear address of the memory operand, if there is one.
pub fn address(i: &Instruction, state: &State) -> Option<u64> {
    let operand = (0..i.op_count()).find(|&n| i.op_kind(n) == OpKind::Memory)?;
    let address = i.virtual_address(operand, 0, |register, _, _| {
        Some(match register {
            _ if register.is_segment_register() => base(i, state, register),
            _ if register.is_gpr() => {
                let value = state.general[register.full_register().number() & 15];
                match register.size() {
                    8 => value,
                    4 => value & 0xffff_ffff,
                    2 => value & 0xffff,
                    _ => value & 0xff,
                }
            }
            _ => return None,
        })
    })?;
    Some(
        if i.code_size() == ring3_isa::forms::iced_x86::CodeSize::Code64 {
            address
        } else {
            address & 0xffff_ffff
        },
    )
}

fn read(before: &Before<'_>, at: u64, bytes: u64) -> Option<u64> {
    (0..bytes).try_fold(0, |value, n| {
        let byte = (before.byte)(at.wrapping_add(n))?;
        Some(value | u64::from(byte) << (8 * n))
    })
}

/// Width of the first operand in bits.
fn bits(i: &Instruction) -> u32 {
    8 * match i.op0_kind() {
        OpKind::Memory => i.memory_size().size() as u32,
        _ => i.op0_register().size() as u32,
    }
}

/// The masked count of a shift or rotate.
pub fn shift_count(i: &Instruction, state: &State) -> Option<u32> {
    use Mnemonic::*;
    let operand = match i.mnemonic() {
        Shl | Sal | Shr | Sar | Rol | Ror | Rcl | Rcr => 1,
        Shld | Shrd => 2,
        _ => return None,
    };
    let value = match i.op_kind(operand) {
        OpKind::Register => state.general[1] as u32,
        _ => i.immediate(operand) as u32,
    };
    Some(value & if bits(i) == 64 { 63 } else { 31 })
}

fn is_x87(i: &Instruction) -> bool {
    use CpuidFeature::{FPU, FPU287, FPU387};
    i.cpuid_features()
        .iter()
        .any(|f| matches!(f, FPU | FPU287 | FPU387))
}

fn range(i: &Instruction, before: &Before<'_>, part: Range<u64>) -> Option<Range<u64>> {
    let at = address(i, before.state)?;
    Some(at.wrapping_add(part.start)..at.wrapping_add(part.end))
}

/// Bytes of each word that a far return pops.
fn far_return_size(i: &Instruction) -> u64 {
    match i.op_code().operand_size() {
        16 => 2,
        64 => 8,
        _ => 4,
    }
}

/// Bytes of the area of FXSAVE or XSAVE and their counterparts.
fn image_bytes(i: &Instruction) -> Option<u64> {
    match i.memory_size() {
        MemorySize::Fxsave_512Byte | MemorySize::Fxsave64_512Byte => Some(512),
        MemorySize::Xsave | MemorySize::Xsave64 => Some(832),
        _ => None,
    }
}

fn is_far_pointer(i: &Instruction) -> bool {
    use MemorySize::*;
    matches!(i.memory_size(), SegPtr16 | SegPtr32 | SegPtr64)
}

fn is_transcendental(i: &Instruction) -> bool {
    use Mnemonic::*;
    matches!(
        i.mnemonic(),
        F2xm1 | Fcos | Fpatan | Fptan | Fsin | Fsincos | Fyl2x | Fyl2xp1
    )
}

/// FSAVE, FSTENV, FXSAVE, XSAVE and their counterparts.
fn is_image(i: &Instruction) -> bool {
    use MemorySize::*;
    matches!(
        i.memory_size(),
        Xsave
            | Xsave64
            | Fxsave_512Byte
            | Fxsave64_512Byte
            | FpuEnv14
            | FpuEnv28
            | FpuState94
            | FpuState108
    )
}

/// C1 of the x87 status word.
const C1: u16 = 1 << 9;

/// The table.
pub const ROWS: &[Row] = &[
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"AND-Logical AND\", \"OR-Logical Inclusive OR\", \"XOR-Logical Exclusive OR\", \"TEST-Logical Compare\"",
        says: "the state of AF is undefined",
        open: |i, _| {
            use Mnemonic::*;
            matches!(i.mnemonic(), And | Or | Xor | Test).then(|| flags(AF))?
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"ANDN-Logical AND NOT\", \"BLSI\", \"BLSMSK\", \"BLSR\", \"BZHI\"",
        says: "AF and PF are undefined",
        open: |i, _| {
            use Mnemonic::*;
            matches!(i.mnemonic(), Andn | Blsi | Blsmsk | Blsr | Bzhi).then(|| flags(AF | PF))?
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"BEXTR-Bit Field Extract\"",
        says: "AF, SF and PF are undefined",
        open: |i, _| (i.mnemonic() == Mnemonic::Bextr).then(|| flags(AF | SF | PF))?,
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"SAL/SAR/SHL/SHR-Shift\"",
        says: "OF is undefined for counts other than 1, AF for counts other than 0, CF for SHL and SHR with counts of the operand's size or more",
        open: |i, before| {
            use Mnemonic::*;
            if !matches!(i.mnemonic(), Shl | Sal | Shr | Sar) {
                return None;
            }
            let count = shift_count(i, before.state)?;
            let of = if count > 1 { OF } else { 0 };
            let af = if count > 0 { AF } else { 0 };
            let cf = if i.mnemonic() != Sar && count >= bits(i) {
                CF
            } else {
                0
            };
            flags(of | af | cf)
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"RCL/RCR/ROL/ROR-Rotate\"",
        says: "OF is undefined for multi-bit rotates",
        open: |i, before| {
            use Mnemonic::*;
            if !matches!(i.mnemonic(), Rol | Ror | Rcl | Rcr) {
                return None;
            }
            flags(if shift_count(i, before.state)? > 1 {
                OF
            } else {
                0
            })
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"SHLD-Double Precision Shift Left\", \"SHRD-Double Precision Shift Right\"",
        says: "OF is undefined for counts above 1, AF for counts other than 0; everything if the count exceeds the operand size",
        open: |i, before| {
            use Mnemonic::*;
            if !matches!(i.mnemonic(), Shld | Shrd) {
                return None;
            }
            match shift_count(i, before.state)? {
                0 => None,
                1 => flags(AF),
                count if count > bits(i) => Some(Open {
                    flags: STATUS,
                    general: true,
                    memory: range(i, before, 0..8).into_iter().collect(),
                    ..Open::default()
                }),
                _ => flags(AF | OF),
            }
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"MUL-Unsigned Multiply\", \"IMUL-Signed Multiply\"",
        says: "SF, ZF, AF and PF are undefined",
        open: |i, _| {
            matches!(i.mnemonic(), Mnemonic::Mul | Mnemonic::Imul)
                .then(|| flags(SF | ZF | AF | PF))?
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"DIV-Unsigned Divide\", \"IDIV-Signed Divide\"",
        says: "CF, OF, SF, ZF, AF and PF are undefined",
        open: |i, _| {
            matches!(i.mnemonic(), Mnemonic::Div | Mnemonic::Idiv).then(|| flags(STATUS))?
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"BSF-Bit Scan Forward\", \"BSR-Bit Scan Reverse\"",
        says: "CF, OF, SF, AF and PF are undefined",
        open: |i, _| {
            matches!(i.mnemonic(), Mnemonic::Bsf | Mnemonic::Bsr)
                .then(|| flags(CF | OF | SF | AF | PF))?
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"BT-Bit Test\", \"BTC\", \"BTR\", \"BTS\"",
        says: "OF, SF, AF and PF are undefined",
        open: |i, _| {
            use Mnemonic::*;
            matches!(i.mnemonic(), Bt | Bts | Btr | Btc).then(|| flags(OF | SF | AF | PF))?
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"TZCNT-Count the Number of Trailing Zero Bits\", \"LZCNT-Count the Number of Leading Zero Bits\"",
        says: "OF, SF, PF and AF are undefined",
        open: |i, _| {
            matches!(i.mnemonic(), Mnemonic::Tzcnt | Mnemonic::Lzcnt)
                .then(|| flags(OF | SF | PF | AF))?
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"AAA-ASCII Adjust After Addition\", \"AAS-ASCII Adjust AL After Subtraction\"",
        says: "OF, SF, ZF and PF are undefined",
        open: |i, _| {
            matches!(i.mnemonic(), Mnemonic::Aaa | Mnemonic::Aas)
                .then(|| flags(OF | SF | ZF | PF))?
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"AAD-ASCII Adjust AX Before Division\", \"AAM-ASCII Adjust AX After Multiply\"",
        says: "OF, AF and CF are undefined",
        open: |i, _| {
            matches!(i.mnemonic(), Mnemonic::Aad | Mnemonic::Aam).then(|| flags(OF | AF | CF))?
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"DAA-Decimal Adjust AL After Addition\", \"DAS-Decimal Adjust AL After Subtraction\"",
        says: "OF is undefined",
        open: |i, _| matches!(i.mnemonic(), Mnemonic::Daa | Mnemonic::Das).then(|| flags(OF))?,
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"BSWAP-Byte Swap\"",
        says: "the result for a 16-bit register is undefined",
        open: |i, _| {
            (i.mnemonic() == Mnemonic::Bswap && i.op0_register().size() == 2).then(|| Open {
                general: true,
                ..Open::default()
            })
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"RCPPS\", \"RCPSS\", \"RSQRTPS\", \"RSQRTSS\"",
        says: "only the relative error of the approximation is bounded",
        open: |i, _| {
            use Mnemonic::*;
            matches!(
                i.mnemonic(),
                Rcpps | Rcpss | Rsqrtps | Rsqrtss | Vrcpps | Vrcpss | Vrsqrtps | Vrsqrtss
            )
            .then(|| Open {
                vectors: true,
                ..Open::default()
            })
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 1, \"Approximation of Transcendental Functions\"; Vol. 2, \"FYL2XP1-Compute y * log2(x +1)\"",
        says: "the error of a transcendental function is bounded, and which exceptions it signals follows from the result; outside the operand's range nothing can be relied on",
        open: |i, _| {
            is_transcendental(i).then(|| Open {
                x87: true,
                ..Open::default()
            })
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"RET-Return From Procedure\", \"IRET/IRETD/IRETQ-Interrupt Return\"",
        says: "in which order a far return reads the stack is not said, nor whether it reads the outer stack before it checks the selector",
        open: |i, before| {
            use Mnemonic::*;
            if !before.faulted || !matches!(i.mnemonic(), Retf | Iret | Iretd | Iretq) {
                return None;
            }
            let size = far_return_size(i);
            let stack = before.state.general[4];
            let selector = read(before, stack.wrapping_add(size), 2);
            let words = if i.mnemonic() == Retf { 2 } else { 5 };
            let last = (before.byte)(stack.wrapping_add(words * size - 1));
            if last.is_none() || selector.is_some_and(|selector| selector & 3 != 3) {
                return everything();
            }
            Some(Open {
                fault_address: true,
                ..Open::default()
            })
        },
    },
    Row {
        vendor: Vendor::Amd,
        source: "SDM Vol. 2, \"FCOMI/FCOMIP/FUCOMI/FUCOMIP\"; APM Vol. 5, \"FCOMI\"",
        says: "C1 is set to 0, or left alone",
        open: |i, _| {
            use Mnemonic::*;
            matches!(i.mnemonic(), Fcomi | Fcomip | Fucomi | Fucomip).then(|| Open {
                status: C1,
                ..Open::default()
            })
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 1, \"x87 FPU Instruction and Data (Operand) Pointers\"; APM Vol. 2, \"FXSAVE and FXRSTOR Instructions\"",
        says: "which instructions record pointers, and whether FXSAVE stores them, differs between processors",
        open: |i, before| {
            use MemorySize::*;
            let part = match i.memory_size() {
                FpuEnv14 | FpuState94 => 6..14,
                FpuEnv28 | FpuState108 => 12..28,
                Fxsave_512Byte | Fxsave64_512Byte | Xsave | Xsave64 => 6..24,
                _ => return None,
            };
            Some(Open {
                memory: range(i, before, part).into_iter().collect(),
                ..Open::default()
            })
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"FXSAVE-Save x87 FPU, MMX Technology, and SSE State\"",
        says: "MXCSR_MASK says which bits of MXCSR the processor has; reserved bytes may be written",
        open: |i, before| {
            matches!(
                i.mnemonic(),
                Mnemonic::Fxsave | Mnemonic::Fxsave64 | Mnemonic::Xsave | Mnemonic::Xsave64
            )
            .then(|| Open {
                memory: [28..32, 5..6]
                    .into_iter()
                    .chain((0..8).map(|n| 32 + 16 * n + 10..48 + 16 * n))
                    .chain(std::iter::once(416..512))
                    .filter_map(|part| range(i, before, part))
                    .collect(),
                ..Open::default()
            })
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 1, \"Processor Tracking of XSAVE-Managed State\"",
        says: "whether the processor notes that a component is in its initial state, and does not save it, is its own affair",
        open: |i, before| {
            use Mnemonic::*;
            matches!(
                i.mnemonic(),
                Xsave | Xsave64 | Xsaveopt | Xsaveopt64 | Xsavec | Xsavec64
            )
            .then(|| Open {
                memory: range(i, before, 0..832).into_iter().collect(),
                ..Open::default()
            })
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 1, \"Enabling the XSAVE Feature Set and XSAVE-Enabled Features\"",
        says: "which components can be saved and restored is what XCR0 says",
        open: |i, before| {
            use Mnemonic::*;
            if !matches!(
                i.mnemonic(),
                Xsave | Xsave64 | Xsaveopt | Xsaveopt64 | Xsavec | Xsavec64 | Xrstor | Xrstor64
            ) {
                return None;
            }
            let general = &before.state.general;
            let asked = general[0] & 0xffff_ffff | general[2] << 32;
            let restores = matches!(i.mnemonic(), Xrstor | Xrstor64);
            let at = address(i, before.state)?;
            let present = if restores {
                read(before, at.wrapping_add(512), 8).unwrap_or(0)
                    | read(before, at.wrapping_add(520), 8).unwrap_or(0)
            } else {
                0
            };
            ((asked | present) & before.foreign_components != 0).then(everything)?
        },
    },
    Row {
        vendor: Vendor::Amd,
        source: "SDM Vol. 1, \"MXCSR Control and Status Register\"; APM Vol. 2, \"MXCSR Register\" (MM)",
        says: "bit 17 of MXCSR is reserved, or the misaligned exception mask",
        open: |i, before| {
            use Mnemonic::*;
            let part = match i.mnemonic() {
                Ldmxcsr | Vldmxcsr => 0,
                Fxrstor | Fxrstor64 | Xrstor | Xrstor64 => 24,
                _ => return None,
            };
            let at = address(i, before.state)?.wrapping_add(part);
            (read(before, at, 4)? >> 17 & 1 != 0).then(everything)?
        },
    },
    Row {
        vendor: Vendor::Amd,
        source: "SDM Vol. 2, \"CVTPI2PS-Convert Packed Dword Integers to Packed Single Precision Floating-Point Values\"; APM Vol. 4, \"CVTPI2PS\"",
        says: "with a memory operand it has to do with MMX state, and with exceptions that x87 has pending, or has not",
        open: |i, before| {
            (i.mnemonic() == Mnemonic::Cvtpi2ps && i.op1_kind() == OpKind::Memory).then(|| Open {
                x87: true,
                everything: before.faulted,
                ..Open::default()
            })
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"CVTPD2PI\", \"CVTTPD2PI\", \"CVTPS2PI\", \"CVTTPS2PI\", \"CVTPI2PS\", \"MASKMOVQ\"",
        says: "whether MMX state is entered before a fault of another kind is not said",
        open: |i, before| {
            use Mnemonic::*;
            (before.faulted
                && matches!(
                    i.mnemonic(),
                    Cvtpi2ps | Cvtpd2pi | Cvttpd2pi | Cvtps2pi | Cvttps2pi | Maskmovq
                ))
            .then(|| Open {
                x87: true,
                ..Open::default()
            })
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"ENTER-Make Stack Frame for Procedure Parameters\"",
        says: "whether frame pointers are pushed before the last check is not said",
        open: |i, before| {
            (before.faulted && i.mnemonic() == Mnemonic::Enter).then(|| Open {
                all_memory: true,
                ..Open::default()
            })
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"FSAVE/FNSAVE\", \"FSTENV/FNSTENV\", \"FXSAVE\", \"XSAVE\" and their counterparts",
        says: "in which order the image is accessed is not said: of two pages that fault, either may be reported; what has been stored before a fault is not said",
        open: |i, before| {
            (before.faulted && is_image(i)).then(|| Open {
                fault_address: true,
                memory: range(i, before, 0..832).into_iter().collect(),
                ..Open::default()
            })
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"LDS/LES/LFS/LGS/LSS-Load Far Pointer\", \"JMP-Jump\", \"CALL-Call Procedure\"",
        says: "which part of a far pointer is loaded first is not said",
        open: |i, before| {
            let checks = before.state.rflags & ring3_arch::rflags::AC != 0;
            (before.faulted && is_far_pointer(i)).then(|| Open {
                fault_address: true,
                everything: checks,
                ..Open::default()
            })
        },
    },
    Row {
        vendor: Vendor::Amd,
        source: "SDM Vol. 2, \"LDS/LES/LFS/LGS/LSS-Load Far Pointer\", \"JMP-Jump\", \"CALL-Call Procedure\"; APM Vol. 3, the same instructions",
        says: "with REX.W a far pointer has an offset of 64 bits, or of 32",
        open: |i, _| {
            let wide = matches!(i.memory_size(), MemorySize::SegPtr64);
            wide.then(everything)?
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"FXRSTOR-Restore x87 FPU, MMX, XMM, and MXCSR State\", \"FXSAVE\", \"XSAVE\", \"XRSTOR\"",
        says: "whether reserved bytes of the image are accessed is not said",
        open: |i, before| {
            let bytes = image_bytes(i)?;
            let at = address(i, before.state)?;
            (before.byte)(at.wrapping_add(bytes - 1))
                .is_none()
                .then(everything)?
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"FXRSTOR-Restore x87 FPU, MMX, XMM, and MXCSR State\", \"FXSAVE\", \"XSAVE\", \"XRSTOR\"",
        says: "with alignment checking enabled, an operand that is not aligned is #AC or #GP(0) depending on the implementation",
        open: |i, before| {
            image_bytes(i)?;
            let checks = before.state.rflags & ring3_arch::rflags::AC != 0;
            (before.faulted && checks && address(i, before.state)? % 64 != 0).then(everything)?
        },
    },
    Row {
        vendor: Vendor::Amd,
        source: "SDM Vol. 2, \"ARPL-Adjust RPL Field of Segment Selector\"; APM Vol. 3, \"ARPL\"",
        says: "the destination must be writable, or only if it changes",
        open: |i, before| {
            (before.faulted && i.mnemonic() == Mnemonic::Arpl && i.op0_kind() == OpKind::Memory)
                .then(everything)?
        },
    },
    Row {
        vendor: Vendor::Amd,
        source: "SDM Vol. 2, \"Exceptions Type 4\"; APM Vol. 4, \"SHA1RNDS4\"",
        says: "the memory operand of SHA instructions must be aligned, or need not",
        open: |i, before| {
            let sha = i.cpuid_features().contains(&CpuidFeature::SHA);
            (sha && address(i, before.state)? % 16 != 0).then(everything)?
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "Linux, arch/x86/include/asm/segment.h (GDT_ENTRY_CPUNODE)",
        says: "the limit of this segment is the number of the host's processor",
        open: |i, before| {
            if i.mnemonic() != Mnemonic::Lsl {
                return None;
            }
            let selector = match i.op1_kind() {
                OpKind::Memory => read(before, address(i, before.state)?, 2)?,
                _ => before.state.general[i.op1_register().full_register().number() & 15],
            };
            (selector & 0xfff8 == 0x78).then(|| Open {
                general: true,
                ..Open::default()
            })
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 3, \"Priority Among Concurrent Events\"",
        says: "which of several faults of executing an instruction comes first is the processor's affair: an operand that is neither aligned nor canonical may be #GP(0) or #SS(0)",
        open: |i, before| {
            let at = address(i, before.state)?;
            let canonical = |at: u64| ring3_arch::GuestVirt(at).is_canonical(48);
            (before.faulted
                && i.memory_size().size() >= 16
                && at % 16 != 0
                && !(canonical(at) && canonical(at.wrapping_add(15))))
            .then(everything)?
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 3, \"Priority Among Concurrent Events\"",
        says: "a call may report that its target is not canonical before or after what pushing the return address raises",
        open: |i, before| {
            let below = before.state.general[4].wrapping_sub(8);
            let checked = before.state.rflags & ring3_arch::rflags::AC != 0 && below % 8 != 0;
            let missing = |at| !(MEMORY..MEMORY + MEMORY_SPAN).contains(&at);
            let unusable = checked || missing(below) || missing(below.wrapping_add(7));
            (before.faulted && i.mnemonic() == Mnemonic::Call && unusable).then(everything)?
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 2, \"POPA/POPAD-Pop All General-Purpose Registers\"",
        says: "whether registers are loaded before a later access faults is not said",
        open: |i, before| {
            (before.faulted && matches!(i.mnemonic(), Mnemonic::Popa | Mnemonic::Popad)).then(
                || Open {
                    general: true,
                    ..Open::default()
                },
            )
        },
    },
    Row {
        vendor: Vendor::Amd,
        source: "SDM Vol. 2, \"SYSRET-Return From Fast System Call\"; APM Vol. 3, \"SYSRET\"",
        says: "exists in 64-bit mode only, or in compatibility mode too",
        open: |i, before| {
            (i.mnemonic() == Mnemonic::Sysret && before.size != CodeSize::Bits64)
                .then(everything)?
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 3, \"Fast-String Operation and Out-of-Order Stores\"",
        says: "a repeated MOVS may move more than one element at a time; source and destination that overlap by way of two linear addresses of one page are not noticed by every processor",
        open: |i, before| {
            use Mnemonic::*;
            if !matches!(i.mnemonic(), Movsb | Movsw | Movsd | Movsq) || !i.has_rep_prefix() {
                return None;
            }
            let general = &before.state.general;
            let apart = general[7].wrapping_sub(general[6]) as i64;
            let in_page = (apart + 0x800).rem_euclid(0x1000) - 0x800;
            (apart != in_page).then(everything)?
        },
    },
    Row {
        vendor: Vendor::Any,
        source: "SDM Vol. 3, \"Limit Checking\"",
        says: "accesses over the end of a 4 GiB segment may or may not fault",
        open: |i, before| {
            if before.size == CodeSize::Bits64 || !before.faulted {
                return None;
            }
            let near = |at: u64| !(0x400..0xffff_fc00).contains(&(at & 0xffff_ffff));
            let operand = offset(i, before.state).is_some_and(near);
            let general = &before.state.general;
            use Mnemonic::*;
            let masked = matches!(i.mnemonic(), Maskmovq | Maskmovdqu | Vmaskmovdqu);
            let pointers =
                (i.is_string_instruction() || masked) && (near(general[6]) || near(general[7]));
            let frame = matches!(i.mnemonic(), Enter | Leave) && near(general[5]);
            let stack = i.is_stack_instruction() && near(general[4]) || frame;
            (operand || pointers || stack).then(everything)?
        },
    },
];

/// What a traced sequence has left open so far.
#[derive(Clone, Default)]
pub struct Ledger {
    /// Status flags.
    pub flags: u64,
    /// General registers, one bit each.
    pub general: u16,
    /// Vector registers, one bit each.
    pub vectors: u16,
    /// Bits of the x87 status word.
    pub status: u16,
    /// Values of x87 registers.
    pub x87_values: bool,
    /// All of the x87 state.
    pub x87: bool,
    /// Ranges of memory.
    pub memory: Vec<Range<u64>>,
    /// All memory.
    pub all_memory: bool,
    /// The address that a page fault reports.
    pub fault_address: bool,
    /// The row because of which the sequence cannot be compared.
    pub set_aside: Option<&'static Row>,
    /// The last row that left something open.
    last: Option<&'static Row>,
}

/// Follows a sequence, instruction by instruction.
pub struct Tracer {
    info: ring3_isa::forms::iced_x86::InstructionInfoFactory,
    vendor: String,
}

impl Tracer {
    /// On a host of this vendor.
    pub fn new(vendor: &str) -> Tracer {
        Tracer {
            info: ring3_isa::forms::iced_x86::InstructionInfoFactory::new(),
            vendor: vendor.into(),
        }
    }

    /// `i` has been executed.
    pub fn note(&mut self, ledger: &mut Ledger, i: &Instruction, before: &Before<'_>) {
        use ring3_isa::forms::iced_x86::OpAccess;
        if ledger.set_aside.is_some() || i.is_invalid() {
            return;
        }
        let info = self.info.info(i);
        let mut written_general = 0u16;
        let mut written_vectors = 0u16;
        let mut replaced_general = 0u16;
        let mut replaced_vectors = 0u16;
        let mut carried = false;
        for used in info.used_registers() {
            let register = used.register();
            let reads = !matches!(
                used.access(),
                OpAccess::Write | OpAccess::CondWrite | OpAccess::NoMemAccess | OpAccess::None
            );
            let writes = !matches!(
                used.access(),
                OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess | OpAccess::None
            );
            // The decoder takes a NOP of this processor for what it is elsewhere.
            let is_nop = matches!(i.mnemonic(), Mnemonic::Rdsspd | Mnemonic::Rdsspq);
            let replaces = used.access() == OpAccess::Write && !is_nop;
            if register.is_gpr() {
                let bit = 1 << (register.full_register().number() & 15);
                carried |= reads && ledger.general & bit != 0;
                written_general |= if writes { bit } else { 0 };
                replaced_general |= if replaces && register.size() >= 4 {
                    bit
                } else {
                    0
                };
            } else if register.is_vector_register() {
                let bit = 1 << (register.number() & 15);
                carried |= reads && ledger.vectors & bit != 0;
                written_vectors |= if writes { bit } else { 0 };
                replaced_vectors |= if replaces && register.is_ymm() {
                    bit
                } else {
                    0
                };
            }
        }
        for used in info.used_memory() {
            let reads = !matches!(
                used.access(),
                OpAccess::Write | OpAccess::CondWrite | OpAccess::NoMemAccess | OpAccess::None
            );
            carried |= reads && (ledger.all_memory || !ledger.memory.is_empty());
        }
        carried |= i.rflags_read() & iced_flags(ledger.flags) != 0;
        let touches_x87 = is_x87(i)
            || is_image(i)
            || (0..i.op_count()).any(|n| i.op_register(n).is_mm())
            || i.mnemonic() == Mnemonic::Emms;
        carried |= touches_x87 && (ledger.x87 || ledger.x87_values);
        let stores_status = is_image(i) || matches!(i.mnemonic(), Mnemonic::Fnstsw);
        carried |= stores_status && ledger.status != 0;
        // The decoder does not list the registers that an image is made of.
        carried |= image_bytes(i).is_some() && ledger.vectors != 0;
        if carried {
            ledger.set_aside = ledger.last;
            return;
        }
        let unchanged = shift_count(i, before.state) == Some(0)
            || i.is_string_instruction() && before.state.general[1] as u32 == 0;
        if !unchanged && !before.faulted {
            let modified = i.rflags_written() | i.rflags_cleared() | i.rflags_set();
            for (ours, theirs) in FLAG_BITS {
                if modified & theirs != 0 {
                    ledger.flags &= !ours;
                }
            }
        }
        if !before.faulted {
            ledger.general &= !replaced_general;
            ledger.vectors &= !replaced_vectors;
        }
        for row in ROWS.iter().filter(|row| row.vendor.is(&self.vendor)) {
            let Some(open) = (row.open)(i, before) else {
                continue;
            };
            ledger.last = Some(row);
            ledger.flags |= open.flags;
            ledger.general |= if open.general { written_general } else { 0 };
            ledger.vectors |= if open.vectors { written_vectors } else { 0 };
            ledger.status |= open.status;
            ledger.x87_values |= open.x87_values;
            ledger.x87 |= open.x87;
            ledger.memory.extend(open.memory);
            ledger.all_memory |= open.all_memory;
            ledger.fault_address |= open.fault_address;
            if open.everything {
                ledger.set_aside = Some(row);
            }
        }
    }
}

/// Our bits and the decoder's.
const FLAG_BITS: [(u64, u32); 6] = {
    use ring3_isa::forms::iced_x86::RflagsBits as B;
    [
        (OF, B::OF),
        (SF, B::SF),
        (ZF, B::ZF),
        (AF, B::AF),
        (CF, B::CF),
        (PF, B::PF),
    ]
};

fn iced_flags(flags: u64) -> u32 {
    FLAG_BITS
        .iter()
        .filter(|(ours, _)| flags & ours != 0)
        .fold(0, |bits, (_, theirs)| bits | theirs)
}
