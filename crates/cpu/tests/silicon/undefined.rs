//! What the manual leaves undefined, and therefore is not compared. SDM Vol. 2, "Flags Affected" on
//! the page of each mnemonic (named at the arm).

use crate::registers::Registers;
use ring3_arch::rflags::{AF, CF, OF, PF, SF, STATUS, ZF};
use ring3_isa::forms::iced_x86::{Code, CpuidFeature, Instruction, Mnemonic, OpKind};

/// What may differ.
#[derive(Clone, Copy, Default)]
pub struct Undefined {
    /// These flags.
    pub flags: u64,
    /// The destination, and with it everything.
    pub everything: bool,
    /// Memory after a fault.
    pub memory_of_fault: bool,
    /// Whether MMX state was entered before a fault.
    pub x87_of_fault: bool,
}

fn flags(flags: u64) -> Undefined {
    Undefined {
        flags,
        ..Undefined::default()
    }
}

/// The masked count of a shift or rotate.
fn count(i: &Instruction, operand: u32, before: &Registers) -> u32 {
    let value = match i.op_kind(operand) {
        OpKind::Register => before.general[1] as u32,
        _ => i.immediate(operand) as u32,
    };
    value & if bits(i) == 64 { 63 } else { 31 }
}

fn bits(i: &Instruction) -> u32 {
    8 * match i.op0_kind() {
        OpKind::Memory => i.memory_size().size() as u32,
        _ => i.op0_register().size() as u32,
    }
}

/// What the manual leaves open about `i`, executed with the registers `before`.
pub fn undefined(i: &Instruction, before: &Registers) -> Undefined {
    use Mnemonic::*;
    match i.mnemonic() {
        // "AND", "OR", "XOR", "TEST"
        And | Or | Xor | Test => flags(AF),
        // "SAL/SAR/SHL/SHR"
        Shl | Sal | Shr | Sar => {
            let count = count(i, 1, before);
            let of = if count > 1 { OF } else { 0 };
            let af = if count > 0 { AF } else { 0 };
            let cf = if i.mnemonic() != Sar && count >= bits(i) {
                CF
            } else {
                0
            };
            flags(of | af | cf)
        }
        // "RCL/RCR/ROL/ROR"
        Rol | Ror | Rcl | Rcr => flags(if count(i, 1, before) > 1 { OF } else { 0 }),
        // "SHLD", "SHRD"
        Shld | Shrd => match count(i, 2, before) {
            0 => flags(0),
            1 => flags(AF),
            count if count > bits(i) => Undefined {
                flags: STATUS,
                everything: true,
                ..Undefined::default()
            },
            _ => flags(AF | OF),
        },
        // "MUL", "IMUL"
        Mul | Imul => flags(SF | ZF | AF | PF),
        // "DIV", "IDIV"
        Div | Idiv => flags(STATUS),
        // "BSF", "BSR"; processors leave the destination alone for a source of zero, as AMD's manual
        // promises
        Bsf | Bsr => flags(CF | OF | SF | AF | PF),
        // "BT", "BTC", "BTR", "BTS"
        Bt | Bts | Btr | Btc => flags(OF | SF | AF | PF),
        // "TZCNT", "LZCNT"
        Tzcnt | Lzcnt => flags(OF | SF | PF | AF),
        // "ANDN", "BLSI", "BLSMSK", "BLSR", "BZHI"
        Andn | Blsi | Blsmsk | Blsr | Bzhi => flags(AF | PF),
        // "BEXTR"
        Bextr => flags(AF | SF | PF),
        // "AAA", "AAS"
        Aaa | Aas => flags(OF | SF | ZF | PF),
        // "AAD", "AAM"
        Aad | Aam => flags(OF | AF | CF),
        // "DAA", "DAS"
        Daa | Das => flags(OF),
        // "BSWAP": of a 16-bit register
        Bswap if i.op0_register().size() == 2 => Undefined {
            flags: 0,
            everything: true,
            ..Undefined::default()
        },
        // "RCPPS", "RCPSS", "RSQRTPS", "RSQRTSS": only the relative error is bounded
        Rcpps | Rcpss | Rsqrtps | Rsqrtss | Vrcpps | Vrcpss | Vrsqrtps | Vrsqrtss => Undefined {
            flags: 0,
            everything: true,
            ..Undefined::default()
        },
        // "CVTPD2PI" and its kin, "MASKMOVQ": whether MMX state is entered before a fault of another
        // kind is not said; AMD does
        Cvtpi2ps | Cvtpd2pi | Cvttpd2pi | Cvtps2pi | Cvttps2pi | Maskmovq => Undefined {
            x87_of_fault: true,
            ..Undefined::default()
        },
        // "ENTER": whether the frame pointers are pushed before the last check is not said
        Enter => Undefined {
            memory_of_fault: true,
            ..Undefined::default()
        },
        _ => flags(0),
    }
}

fn is_x87(i: &Instruction) -> bool {
    use CpuidFeature::{FPU, FPU287, FPU387};
    let features = i.cpuid_features();
    features.iter().any(|f| matches!(f, FPU | FPU287 | FPU387))
}

fn is_0f0d(i: &Instruction) -> bool {
    matches!(
        i.code(),
        Code::Reservednop_rm16_r16_0F0D
            | Code::Reservednop_rm32_r32_0F0D
            | Code::Reservednop_rm64_r64_0F0D
    )
}

/// Why an instruction is not executed here, if it is not.
pub fn left_out(i: &Instruction) -> Option<&'static str> {
    use Mnemonic::*;
    let far =
        i.is_jmp_far() || i.is_call_far() || i.is_jmp_far_indirect() || i.is_call_far_indirect();
    Some(match i.mnemonic() {
        // Intel's manual: a NOP with register operands (Vol. 2, "Opcode Map"); AMD's: #UD.
        Reservednop if i.op0_kind() == OpKind::Register && is_0f0d(i) => "is another with AMD",
        // Intel's manual: the source has 16 bits; AMD loads 32.
        Movsxd if i.op0_register().size() == 2 => "is another with AMD",
        // Intel's manual: has to do with MMX state whatever its source; AMD: only with a register.
        Cvtpi2ps if i.op1_kind() == OpKind::Memory => "is another with AMD",
        // Intel's manual: the destination must be writable; AMD: only if it changes.
        Arpl if i.op0_kind() == OpKind::Memory => "is another with AMD",
        Syscall | Sysenter | Int | Int1 | Int3 | Into => "enters the kernel",
        Iret | Iretd | Iretq | Sysret | Sysretq | Retf | Lss | Lfs | Lgs | Lds | Les => {
            "loads segment registers"
        }
        Mov | Pop if i.op0_register().is_segment_register() => "loads segment registers",
        _ if far => "loads segment registers",
        Cpuid | Rdtsc | Rdtscp | Rdpmc | Xgetbv | Rdrand | Rdseed | Rdpid => {
            "has a result of the host's own"
        }
        Smsw | Sgdt | Sidt | Str | Sldt => "is emulated by Linux (CR4.UMIP)",
        Lar | Lsl | Verr | Verw => "reads the kernel's descriptors",
        Rdfsbase | Wrfsbase | Rdgsbase | Wrgsbase => "changes what the thread needs",
        _ if is_x87(i) => "is compared by the x87 tests",
        Fxsave | Fxsave64 | Fxrstor | Fxrstor64 => "has an image with x87 state",
        In | Out | Insb | Insw | Insd | Outsb | Outsw | Outsd => "consults the kernel's TSS",
        _ => return None,
    })
}
