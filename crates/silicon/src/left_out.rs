//! Which instructions sequences do not contain, and why.
//!
//! What the machine and a program on the host cannot have in common: results that are the host's own,
//! and calls of the host's kernel. Where two vendors' processors agree on most of an instruction, it is
//! not left out but has a row in [`crate::open`].

use ring3_isa::forms::iced_x86::{Code, Instruction, Mnemonic, OpKind};

/// Instructions that are left out for one reason.
pub struct Row {
    /// Whether it is about this instruction.
    pub applies: fn(&Instruction) -> bool,
    /// Why.
    pub reason: &'static str,
    /// Where that is said.
    pub source: &'static str,
}

fn is_0f0d(i: &Instruction) -> bool {
    matches!(
        i.code(),
        Code::Reservednop_rm16_r16_0F0D
            | Code::Reservednop_rm32_r32_0F0D
            | Code::Reservednop_rm64_r64_0F0D
    )
}

/// The table.
pub const LEFT_OUT: &[Row] = &[
    Row {
        applies: |i| {
            use Mnemonic::*;
            matches!(i.mnemonic(), Syscall | Sysenter)
                || i.mnemonic() == Int && i.immediate8() == 0x80
        },
        reason: "calls the host's kernel",
        source: "SDM Vol. 2, \"SYSCALL-Fast System Call\", \"SYSENTER-Fast System Call\"",
    },
    Row {
        applies: |i| matches!(i.mnemonic(), Mnemonic::Cpuid | Mnemonic::Xgetbv),
        reason: "says what the host has, not the machine",
        source: "SDM Vol. 2, \"CPUID-CPU Identification\", \"XGETBV-Get Value of Extended Control Register\"",
    },
    Row {
        applies: |i| {
            use Mnemonic::*;
            matches!(i.mnemonic(), Rdtsc | Rdtscp | Rdpmc | Rdpid)
        },
        reason: "reads a clock or counter, or which processor executes it",
        source: "SDM Vol. 2, \"RDTSC-Read Time-Stamp Counter\", \"RDTSCP\", \"RDPMC\", \"RDPID\"",
    },
    Row {
        applies: |i| matches!(i.mnemonic(), Mnemonic::Rdrand | Mnemonic::Rdseed),
        reason: "is random",
        source: "SDM Vol. 2, \"RDRAND-Read Random Number\", \"RDSEED-Read Random SEED\"",
    },
    Row {
        applies: |i| {
            use Mnemonic::*;
            matches!(i.mnemonic(), Smsw | Sgdt | Sidt | Str | Sldt)
        },
        reason: "is emulated for programs by Linux where CR4.UMIP is set",
        source: "SDM Vol. 3, \"Control Registers\" (UMIP); Linux, arch/x86/kernel/umip.c",
    },
    Row {
        applies: |i| {
            use Mnemonic::*;
            matches!(i.mnemonic(), Tpause | Umwait | Umonitor)
        },
        reason: "waits for a time that is the host's own",
        source: "SDM Vol. 2, \"TPAUSE-Timed PAUSE\", \"UMWAIT-User Level Monitor Wait\"",
    },
    Row {
        applies: |i| i.mnemonic() == Mnemonic::Int1,
        reason: "is intercepted by hypervisors, which report the instruction itself or the next",
        source: "SDM Vol. 2, \"INT n/INTO/INT3/INT1-Call to Interrupt Procedure\"; Vol. 3, \"Exception Bitmap\"",
    },
    Row {
        applies: |i| i.op0_kind() == OpKind::Register && is_0f0d(i),
        reason: "does nothing with one vendor's processors and is undefined with another's",
        source: "SDM Vol. 2, \"Two-byte Opcode Map\" (0F 0D); APM Vol. 3, \"PREFETCHlevel\"",
    },
    Row {
        applies: |i| i.mnemonic() == Mnemonic::Movsxd && i.op0_register().size() == 2,
        reason: "loads 16 bits with one vendor's processors and 32 with another's",
        source: "SDM Vol. 2, \"MOVSX/MOVSXD-Move With Sign-Extension\"; APM Vol. 3, \"MOVSXD\"",
    },
    Row {
        applies: |i| {
            matches!(i.mnemonic(), Mnemonic::Mov)
                && i.has_lock_prefix()
                && (i.op0_register().is_cr() || i.op1_register().is_cr())
        },
        reason: "names CR8 with one vendor's processors",
        source: "APM Vol. 3, \"MOV CRn\"",
    },
];

/// Why an instruction is left out, if it is.
pub fn left_out(i: &Instruction) -> Option<&'static Row> {
    LEFT_OUT.iter().find(|row| (row.applies)(i))
}
