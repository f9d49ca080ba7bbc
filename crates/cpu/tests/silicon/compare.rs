//! The comparison.

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
use ring3_isa::forms::iced_x86::Code;
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
    let finished = native.end == End::Finished;
    if ignored.everything && finished {
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
        let ymm = |r: &Registers| (r.uppers[number], r.xmm[number]);
        let (n, m, before) = (ymm(n), ymm(m), ymm(&case.before));
        if n != m {
            lines.push(format!(
                "ymm{number}: {:032x} {:032x},\n     here {:032x} {:032x}\n  (before: {:032x} {:032x})",
                n.0, n.1, m.0, m.1, before.0, before.1
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
    let comparable = finished || !ignored.memory_of_fault;
    let ignore_x87 = ignored.x87_of_fault && !finished;
    if n.x87 != m.x87 && !ignore_x87 {
        let before = case.before.x87;
        lines.push(format!(
            "{:x?},\n    here {:x?}\n    (before: {before:x?})",
            n.x87, m.x87
        ));
    }
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
    forms: u64,
    faulted: u64,
    left_out: BTreeMap<&'static str, BTreeSet<Code>>,
    unimplemented: Vec<Code>,
    reports: Vec<String>,
}

fn report(case: &Case, size: CodeSize, seed: u64, lines: &[String]) -> String {
    let bytes = &case.encoded.bytes;
    let mut text = format!(
        "{:?}, seed {seed:x}: {} [{bytes:02x?}]\n",
        case.encoded.instruction.code(),
        disassemble(bytes, size, host::INSTRUCTION + case.nops as u64),
    );
    for line in lines {
        let _ = writeln!(text, "    {line}");
    }
    if std::env::var_os("FORM").is_some() {
        let _ = write!(text, "  before:\n{}", case.before);
    }
    text
}

fn visit(form: Form, size: CodeSize, host: &mut Host, cpu: &mut ring3_cpu::Cpu, tally: &mut Tally) {
    let mut reported = 0;
    for number in 0..cases_per_form() {
        let seed = (form.code as u64) << 32 | number;
        let mut random = Random::new(seed);
        let Some(case) = Case::draw(form, size, &mut random) else {
            continue;
        };
        if let Some(reason) = left_out(&case.encoded.instruction) {
            tally.left_out.entry(reason).or_default().insert(form.code);
            continue;
        }
        let mut memory = Flat::new(SCRATCH, case.memory.clone());
        memory.spans = number % 2 == 0;
        memory.narrow = size != CodeSize::Bits64;
        let mut registers = case.before.clone();
        let Some(end) = model::run(cpu, &mut memory, &case, &mut registers) else {
            tally.unimplemented.push(form.code);
            return;
        };
        assert_eq!(registers.rflags & rflags::TF, 0, "no case single-steps");
        let modelled = After {
            registers,
            memory: memory.bytes,
            end,
        };
        // Natively, the instruction itself is memory too.
        if let End::Fault { address, .. } = modelled.end
            && address != 0
            && (host::is_code(address) || is_at_4_gib(address, size))
        {
            continue;
        }
        host.scratch().copy_from_slice(&case.memory);
        let mut registers = case.before.clone();
        let end = host.run(&case.code(), size, &mut registers);
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
                tally.reports.push(report(&case, size, seed, &lines));
            }
        }
    }
}

/// Whether an access may have gone over the end of a 4 GiB segment, which "may or may not cause the
/// indicated exceptions". SDM Vol. 3, "Limit Checking".
fn is_at_4_gib(address: u64, size: CodeSize) -> bool {
    size != CodeSize::Bits64 && !(0x20..0xffff_ffe0).contains(&address)
}

/// Visits every form of code of this size.
pub fn every_form(size: CodeSize) {
    let mut host = Host::new();
    if size == CodeSize::Bits16 && !host.enable_16_bit_code() {
        println!("left out: the host's kernel does not allow 16-bit code");
        return;
    }
    let features = model::features();
    let mut cpu = model::user_processor(features, size);
    let mut tally = Tally::default();
    let filter = std::env::var("FORM").unwrap_or_default();
    for form in Form::all(size, features) {
        if format!("{:?}", form.code).contains(&filter) {
            tally.forms += 1;
            visit(form, size, &mut host, &mut cpu, &mut tally);
        }
    }
    println!(
        "{} cases of {} forms, {} of them faulted; left out: {:?}",
        tally.executed, tally.forms, tally.faulted, tally.left_out
    );
    let tested = Form::all(size, model::tested()).count();
    let lacking = tested - Form::all(size, features).count();
    println!("{lacking} forms left out because the host lacks them");
    assert!(tally.unimplemented.is_empty(), "{:?}", tally.unimplemented);
    let shown = tally.reports.len().min(60);
    assert!(
        tally.reports.is_empty(),
        "{} reports\n{}",
        tally.reports.len(),
        tally.reports[..shown].join("\n")
    );
}
