//! 64-bit mode.

use crate::cases::Case;
use crate::flat::Flat;
use crate::host::{Host, SCRATCH};
use crate::random::Random;
use crate::registers::{End, FLAGS, Flags, NAMES, Registers};
use crate::undefined::{left_out, undefined};
use crate::{host, model};
use ring3_arch::exception::page_fault;
use ring3_arch::rflags;
use ring3_isa::forms::Form;
use ring3_isa::forms::iced_x86::{Code, CpuidFeature, OpCodeOperandKind};
use ring3_isa::{CodeSize, disassemble};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Cases of each form.
fn cases_per_form() -> u64 {
    let standard = if cfg!(debug_assertions) { 40 } else { 250 };
    std::env::var("CASES").map_or(standard, |cases| cases.parse().expect("a number"))
}

/// What one execution left behind.
struct After {
    registers: Registers,
    memory: Vec<u8>,
    end: End,
}

/// In what two executions differ, one line each.
fn differences(case: &Case, native: &After, modelled: &After) -> Vec<String> {
    let mut lines = Vec::new();
    let ignored = undefined(&case.encoded.instruction, &case.before);
    let (n, m) = (&native.registers, &modelled.registers);
    if !same_end(native.end, modelled.end) {
        lines.push(format!("end: {:x?}, here {:x?}", native.end, modelled.end));
    }
    if ignored.everything && native.end == End::Finished {
        return lines;
    }
    for (number, name) in NAMES.iter().enumerate() {
        let (n, m) = (n.general[number], m.general[number]);
        if n != m {
            let before = case.before.general[number];
            lines.push(format!("{name}: {n:x}, here {m:x} (before: {before:x})"));
        }
    }
    for number in 0..16 {
        let (n, m) = (n.xmm[number], m.xmm[number]);
        if n != m {
            let before = case.before.xmm[number];
            lines.push(format!(
                "xmm{number}: {n:032x}, here {m:032x} (before: {before:032x})"
            ));
        }
    }
    if n.rip != m.rip {
        lines.push(format!("rip: {:x}, here {:x}", n.rip, m.rip));
    }
    if (n.rflags ^ m.rflags) & FLAGS & !ignored.flags != 0 {
        lines.push(format!(
            "flags: {}, here {} (before: {}, undefined: {})",
            Flags(n.rflags),
            Flags(m.rflags),
            Flags(case.before.rflags),
            Flags(ignored.flags)
        ));
    }
    if n.mxcsr != m.mxcsr {
        let before = case.before.mxcsr;
        lines.push(format!(
            "mxcsr: {:x}, here {:x} (before: {before:x})",
            n.mxcsr, m.mxcsr
        ));
    }
    let comparable = native.end == End::Finished || !ignored.memory_of_fault;
    if native.memory != modelled.memory && comparable {
        let at = (0..native.memory.len())
            .find(|&at| native.memory[at] != modelled.memory[at])
            .expect("they differ");
        let to = (at + 16).min(native.memory.len());
        lines.push(format!(
            "memory at {:x}: {:02x?}, here {:02x?} (before: {:02x?})",
            SCRATCH + at as u64,
            &native.memory[at..to],
            &modelled.memory[at..to],
            &case.memory[at..to]
        ));
    }
    lines
}

/// Faults agree; of kernel addresses, whether a page is present is the kernel's affair.
fn same_end(native: End, modelled: End) -> bool {
    let normal = |end| match end {
        End::Fault {
            vector,
            error_code,
            address,
        } if address >> 63 != 0 => End::Fault {
            vector,
            error_code: error_code & !page_fault::PRESENT,
            address,
        },
        end => end,
    };
    normal(native) == normal(modelled)
}

#[derive(Default)]
struct Tally {
    executed: u64,
    faulted: u64,
    left_out: BTreeMap<&'static str, BTreeSet<Code>>,
    unimplemented: Vec<Code>,
    reports: Vec<String>,
}

fn report(case: &Case, seed: u64, lines: &[String]) -> String {
    let bytes = &case.encoded.bytes;
    let mut text = format!(
        "{:?}, seed {seed:x}: {} [{bytes:02x?}]\n",
        case.encoded.instruction.code(),
        disassemble(bytes, CodeSize::Bits64, host::INSTRUCTION),
    );
    for line in lines {
        let _ = writeln!(text, "    {line}");
    }
    if std::env::var_os("FORM").is_some() {
        let _ = write!(text, "  before:\n{}", case.before);
    }
    text
}

fn visit(form: Form, host: &mut Host, cpu: &mut ring3_cpu::Cpu, tally: &mut Tally) {
    let mut reported = 0;
    for number in 0..cases_per_form() {
        let seed = (form.code as u64) << 32 | number;
        let mut random = Random::new(seed);
        let Some(case) = Case::draw(form, &mut random) else {
            continue;
        };
        if let Some(reason) = left_out(&case.encoded.instruction) {
            tally.left_out.entry(reason).or_default().insert(form.code);
            continue;
        }
        let mut memory = Flat::new(SCRATCH, case.memory.clone());
        memory.spans = number % 2 == 0;
        let mut registers = case.before.clone();
        let code = &case.encoded.bytes;
        let Some(end) = model::run(cpu, &mut memory, code, case.flags, &mut registers) else {
            tally.unimplemented.push(form.code);
            return;
        };
        assert_eq!(registers.rflags & rflags::TF, 0, "no case single-steps");
        let modelled = After {
            registers,
            memory: memory.bytes,
            end,
        };
        if let End::Fault { address, .. } = modelled.end
            && host::is_code(address)
        {
            // Natively there is something: the instruction itself.
            continue;
        }
        host.scratch().copy_from_slice(&case.memory);
        let mut registers = case.before.clone();
        let end = host.run(&case.encoded.bytes, &mut registers);
        let native = After {
            registers,
            memory: host.scratch().to_vec(),
            end,
        };
        tally.executed += 1;
        tally.faulted += u64::from(end != End::Finished);
        let lines = differences(&case, &native, &modelled);
        if !lines.is_empty() {
            reported += 1;
            if reported <= 3 {
                tally.reports.push(report(&case, seed, &lines));
            }
        }
    }
}

fn has_mmx_operand(code: Code) -> bool {
    use OpCodeOperandKind::{mm_or_mem, mm_reg, mm_rm};
    let is_mmx = |kind: &OpCodeOperandKind| matches!(kind, mm_reg | mm_rm | mm_or_mem);
    code.op_code().op_kinds().iter().any(is_mmx)
}

#[test]
fn every_form_does_what_the_silicon_does() {
    let mut host = Host::new();
    let features = model::features();
    let mut cpu = model::user_processor(features);
    let mut tally = Tally::default();
    let filter = std::env::var("FORM").unwrap_or_default();
    for form in Form::all(CodeSize::Bits64, features) {
        if format!("{:?}", form.code).contains(&filter) {
            visit(form, &mut host, &mut cpu, &mut tally);
        }
    }
    println!(
        "{} cases, {} of them faulted; {} forms not implemented; left out: {:?}",
        tally.executed,
        tally.faulted,
        tally.unimplemented.len(),
        tally.left_out
    );
    // FIXME: x87 and MMX micro-ops have no meaning yet.
    let expected = |code: &Code| {
        use CpuidFeature::{FPU, FPU287, FPU387, MMX};
        let is_x87 = |feature: &CpuidFeature| matches!(feature, FPU | FPU287 | FPU387 | MMX);
        code.cpuid_features().iter().any(is_x87) || has_mmx_operand(*code)
    };
    tally.unimplemented.retain(|code| !expected(code));
    assert!(tally.unimplemented.is_empty(), "{:?}", tally.unimplemented);
    let shown = tally.reports.len().min(60);
    assert!(
        tally.reports.is_empty(),
        "{} reports\n{}",
        tally.reports.len(),
        tally.reports[..shown].join("\n")
    );
}
