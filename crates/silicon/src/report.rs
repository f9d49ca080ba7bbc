//! Mismatches, made small and printed.

use crate::generate::Sequence;
use crate::layout::SLOTS;
use crate::state::{Flags, NAMES, State};
use crate::tester::{Mismatch, Tester};
use ring3_isa::disassemble;
use std::fmt::Write;

/// Replaces instructions by NOPs, so that everything else stays where it is.
fn without(sequence: &Sequence, removed: &[bool]) -> Sequence {
    let mut smaller = sequence.clone();
    for (item, _) in sequence.items.iter().zip(removed).filter(|(_, r)| **r) {
        smaller.code[item.at..item.at + item.instruction.len()].fill(0x90);
    }
    smaller
}

/// The smallest sequence found that still shows a mismatch: instructions become NOPs, registers zero.
///
/// # Errors
/// A sentence, if the host stops executing.
pub fn shrink(tester: &mut Tester, mismatch: &Mismatch) -> Result<(Sequence, Vec<String>), String> {
    let slot = (mismatch.index % SLOTS as u64) as usize;
    let original = &mismatch.sequence;
    let mut removed = vec![false; original.items.len()];
    let mut lines = tester.differences(mismatch.engine, slot, original)?;
    if lines.is_empty() {
        return Ok((original.clone(), vec!["(not when executed alone)".into()]));
    }
    let mut again = true;
    while again {
        again = false;
        let mut width = removed.len().max(1);
        while width > 0 {
            for from in (0..removed.len()).step_by(width) {
                let to = (from + width).min(removed.len());
                if removed[from..to].iter().all(|r| *r) {
                    continue;
                }
                let mut candidate = removed.clone();
                candidate[from..to].fill(true);
                let smaller = without(original, &candidate);
                let found = tester.differences(mismatch.engine, slot, &smaller)?;
                if !found.is_empty() {
                    removed = candidate;
                    lines = found;
                    again = true;
                }
            }
            width /= 2;
        }
    }
    let mut best = without(original, &removed);
    best.items = original
        .items
        .iter()
        .zip(&removed)
        .filter(|(_, removed)| !**removed)
        .map(|(item, _)| *item)
        .collect();
    let plain = State::default();
    let mut simplify = |tester: &mut Tester, change: &dyn Fn(&mut State)| -> Result<(), String> {
        let mut simpler = best.clone();
        change(&mut simpler.before);
        if simpler.before != best.before {
            let found = tester.differences(mismatch.engine, slot, &simpler)?;
            if !found.is_empty() {
                best = simpler;
                lines = found;
            }
        }
        Ok(())
    };
    for n in 0..16 {
        simplify(tester, &|state| state.general[n] = 0)?;
        simplify(tester, &|state| {
            state.area.set_vector(n, plain.area.vector(n));
        })?;
    }
    simplify(tester, &|state| state.rflags = 0x202)?;
    simplify(tester, &|state| state.area.set_mxcsr(0x1f80))?;
    simplify(tester, &|state| {
        state.area.set_control(0x37f);
        state.area.set_status(0);
        state.area.set_tags(0);
        for n in 0..8 {
            state.area.set_st(n, 0);
        }
    })?;
    simplify(tester, &|state| state.area.set_control(0x37f))?;
    for n in 0..8 {
        simplify(tester, &|state| state.area.set_st(n, 0))?;
    }
    Ok((best, lines))
}

/// The mismatch as text: what was executed, with which registers, what came out, and the command that
/// shows it again.
pub fn describe(sequence: &Sequence, lines: &[String], engine: &str, command: &str) -> String {
    let mut text = format!("mismatch ({engine}, {}-bit code)\n", sequence.size.bits());
    let end = sequence.code.len() - if sequence.size.bits() == 64 { 5 } else { 7 };
    for item in &sequence.items {
        let length = item.instruction.len().max(1);
        let bytes = &sequence.code[item.at..(item.at + length).min(end.max(item.at + 1))];
        let at = sequence.start + item.at as u64;
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = writeln!(
            text,
            "  {at:x}: {:32} {}",
            hex.join(" "),
            disassemble(bytes, sequence.size, at - sequence.code_base())
        );
    }
    let _ = writeln!(text, "before (what is not named is zero):");
    let state = &sequence.before;
    for (name, value) in NAMES.iter().zip(state.general).filter(|(_, v)| *v != 0) {
        let _ = writeln!(text, "  {name} {value:#x}");
    }
    let _ = writeln!(
        text,
        "  flags {} mxcsr {:#x}",
        Flags(state.rflags),
        state.area.mxcsr()
    );
    for n in 0..16 {
        let [low, high] = state.area.vector(n);
        if low | high != 0 {
            let _ = writeln!(text, "  ymm{n} {high:032x}_{low:032x}");
        }
    }
    let area = &state.area;
    let _ = writeln!(
        text,
        "  x87 control {:#x} status {:#x} tags {:#x}",
        area.control(),
        area.status(),
        area.tags()
    );
    for n in 0..8 {
        if area.st(n) != 0 {
            let _ = writeln!(text, "  st{n} {:020x}", area.st(n));
        }
    }
    let _ = writeln!(text, "the host, and here:");
    for line in lines {
        let _ = writeln!(text, "  {line}");
    }
    let _ = writeln!(text, "again: {command}");
    text
}
