//! A short run of what `cargo xtask soak silicon` does at length, and tests of the tester.
//!
//! Needs an x86-64 Linux host with XSAVE and FSGSBASE; elsewhere the tests say so and pass.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use ring3_arch::rflags;
use ring3_cpu::{CpuKind, CpuModel};
use ring3_isa::CodeSize;
use ring3_memory::CodeMap;
use ring3_silicon::engine::{ENGINES, Engine, Parts, Stopped};
use ring3_silicon::generate::Sequence;
use ring3_silicon::layout::{CODE_BYTES_MAX, FS_BASE, GS_BASE, MEMORY, SLOTS, slot};
use ring3_silicon::left_out::LEFT_OUT;
use ring3_silicon::open::ROWS;
use ring3_silicon::report::{describe, shrink};
use ring3_silicon::state::State;
use ring3_silicon::tester::{Mismatch, Options, Tester};

fn engines() -> Vec<Box<dyn Engine>> {
    ENGINES.iter().map(|(_, make)| make()).collect()
}

/// A tester, if the host can execute sequences.
fn tester(seed: u64, engines: Vec<Box<dyn Engine>>) -> Option<Tester> {
    let features = CpuModel::of(CpuKind::Spr, 1).features();
    Tester::new(Options {
        seed,
        features,
        engines,
    })
    .map_err(|reason| println!("skipped: {reason}"))
    .ok()
}

#[test]
fn random_sequences_do_what_the_processor_does() {
    const SEQUENCES: u64 = 16_384;
    let Some(mut tester) = tester(1, engines()) else {
        return;
    };
    let mut reports = Vec::new();
    for first in (0..SEQUENCES).step_by(SLOTS) {
        tester
            .batch(first, SLOTS, &mut |tester, mismatch| {
                let command = format!("cargo xtask soak silicon --only {}", mismatch.index);
                let (sequence, lines) = shrink(tester, &mismatch).expect("the host goes on");
                reports.push(describe(&sequence, &lines, mismatch.engine, &command));
            })
            .expect("the host executes sequences");
    }
    assert!(reports.is_empty(), "{}", reports.join("\n"));
    let counts = &tester.counts;
    println!("{counts:?}");
    // Most sequences can be compared, and most do not end early.
    assert!(counts.compared > SEQUENCES * 85 / 100, "{counts:?}");
    assert!(counts.faulted < SEQUENCES * 40 / 100, "{counts:?}");
    let missing = tester.coverage.missing(&tester.catalogue);
    assert!(missing.len() < tester.catalogue.count() / 3, "{missing:?}");
}

#[test]
fn the_same_seed_gives_the_same_sequences() {
    let (Some(mut one), Some(mut other)) = (tester(7, engines()), tester(7, engines())) else {
        return;
    };
    // In another order, across the border of two epochs.
    for index in [0, 70_000, 1, 63, 16_383, 16_384] {
        other.draw(index);
    }
    for index in [16_383, 63, 0, 70_000] {
        let (a, b) = (one.draw(index), other.draw(index));
        assert!(a.code == b.code && a.before == b.before && a.memory_at == b.memory_at);
        assert_eq!(one.memory_of(&a), other.memory_of(&b));
    }
}

/// The reference engine with a defect: some results in RBX have a wrong bit.
struct Defective(Box<dyn Engine>);

impl Engine for Defective {
    fn name(&self) -> &'static str {
        "defective"
    }

    fn run(&mut self, parts: Parts<'_>, limit: u64) -> (Stopped, u64) {
        let Parts {
            cpu,
            tlb,
            ram,
            code,
            platform,
            now,
        } = parts;
        let before = cpu.regs[3];
        let outcome = self.0.run(
            Parts {
                cpu: &mut *cpu,
                tlb,
                ram,
                code,
                platform,
                now,
            },
            limit,
        );
        if cpu.regs[3] != before && cpu.regs[3] % 4 == 1 {
            cpu.regs[3] ^= 1 << 20;
        }
        outcome
    }

    fn forget(&mut self, code: &mut CodeMap) {
        self.0.forget(code);
    }
}

#[test]
fn a_defect_is_found_and_made_small() {
    let defective: Vec<Box<dyn Engine>> = vec![Box::new(Defective(ENGINES[0].1()))];
    let Some(mut tester) = tester(1, defective) else {
        return;
    };
    let mut found: Vec<(usize, usize, Vec<String>)> = Vec::new();
    let mut look = |tester: &mut Tester, mismatch: Mismatch| {
        let (sequence, lines) = shrink(tester, &mismatch).expect("the host goes on");
        found.push((mismatch.sequence.items.len(), sequence.items.len(), lines));
    };
    for first in (0..1024).step_by(SLOTS) {
        tester
            .batch(first, SLOTS, &mut look)
            .expect("the host executes sequences");
    }
    assert!(found.len() > 3, "{found:?}");
    for (_, after, lines) in &found {
        assert!(*after <= 3, "{found:?}");
        assert!(lines[0].starts_with("rbx: "), "{lines:?}");
    }
    assert!(found.iter().any(|(before, after, _)| before > after));
}

/// A sequence of this code, with the stack in the middle of memory.
fn of_code(code: &[u8], change: impl Fn(&mut State)) -> Sequence {
    let start = slot(0) + CODE_BYTES_MAX as u64;
    let mut before = State {
        rip: start,
        rflags: rflags::ALWAYS | rflags::IF,
        bases: [FS_BASE, GS_BASE],
        ..State::default()
    };
    before.general[4] = MEMORY + 0x800;
    before.area.set_mxcsr(0x1f80);
    before.area.set_control(0x37f);
    change(&mut before);
    Sequence::of_code(CodeSize::Bits64, start, code, before)
}

/// Whatever a sequence does to itself, the next one finds everything in order.
#[test]
fn nothing_that_a_sequence_does_outlives_it() {
    let Some(mut tester) = tester(1, engines()) else {
        return;
    };
    let rude: [(&str, &[u8]); 14] = [
        ("xor esp, esp; push rax", &[0x31, 0xe4, 0x50]),
        ("std", &[0xfd]),
        (
            "xor eax, eax; wrfsbase rax",
            &[0x31, 0xc0, 0xf3, 0x48, 0x0f, 0xae, 0xd0],
        ),
        (
            "xor eax, eax; wrgsbase rax; ud2",
            &[0x31, 0xc0, 0xf3, 0x48, 0x0f, 0xae, 0xd8, 0x0f, 0x0b],
        ),
        (
            "mov eax, 0x2b; mov ds, eax; mov es, eax",
            &[0xb8, 0x2b, 0, 0, 0, 0x8e, 0xd8, 0x8e, 0xc0],
        ),
        (
            "mov eax, 0x2b; mov fs, eax; mov gs, eax; int3",
            &[0xb8, 0x2b, 0, 0, 0, 0x8e, 0xe0, 0x8e, 0xe8, 0xcc],
        ),
        ("push 0x100; popfq; nop", &[0x68, 0, 1, 0, 0, 0x9d, 0x90]),
        ("push 0x40000; popfq", &[0x68, 0, 0, 4, 0, 0x9d]),
        (
            "push 0x40000; popfq; mov eax, [rsp + 1]",
            &[0x68, 0, 0, 4, 0, 0x9d, 0x8b, 0x44, 0x24, 1],
        ),
        ("push 0x4000; popfq", &[0x68, 0, 0x40, 0, 0, 0x9d]),
        ("push 0; ldmxcsr [rsp]", &[0x6a, 0, 0x0f, 0xae, 0x14, 0x24]),
        (
            "push 0; fldcw [rsp]; fld1; fldz; fdivp; fwait",
            &[
                0x6a, 0, 0xd9, 0x2c, 0x24, 0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9, 0x9b,
            ],
        ),
        (
            "fld1 nine times",
            &[
                0xd9, 0xe8, 0xd9, 0xe8, 0xd9, 0xe8, 0xd9, 0xe8, 0xd9, 0xe8, 0xd9, 0xe8, 0xd9, 0xe8,
                0xd9, 0xe8, 0xd9, 0xe8,
            ],
        ),
        ("xor eax, eax; jmp rax", &[0x31, 0xc0, 0xff, 0xe0]),
    ];
    let engine = ENGINES[0].0;
    for (what, code) in rude {
        let sequence = of_code(code, |_| {});
        let lines = tester
            .differences(engine, 0, &sequence)
            .expect("the host goes on");
        assert!(lines.is_empty(), "{what}: {lines:?}");
        // And an innocent one.
        let sequence = of_code(&[0x48, 0x01, 0xd8], |state| state.general[3] = 5);
        let lines = tester
            .differences(engine, 0, &sequence)
            .expect("the host goes on");
        assert!(lines.is_empty(), "after {what}: {lines:?}");
    }
}

/// System calls in the middle of other instructions, and loops without end, cost the child its life; the
/// tester goes on.
#[test]
fn a_child_that_dies_is_replaced() {
    let Some(mut tester) = tester(1, engines()) else {
        return;
    };
    // mov eax, 60 (exit); syscall
    let dies = of_code(&[0xb8, 60, 0, 0, 0, 0x0f, 0x05], |_| {});
    // The machine, whose SYSCALL halts, does not agree, of course.
    let lines = tester
        .differences(ENGINES[0].0, 0, &dies)
        .expect("the host goes on");
    assert_eq!(lines, ["the host's process ended"]);
    let fine = of_code(&[0x90], |_| {});
    let lines = tester
        .differences(ENGINES[0].0, 0, &fine)
        .expect("the host goes on");
    assert!(lines.is_empty(), "{lines:?}");
}

#[test]
fn every_row_cites_its_source() {
    for row in ROWS {
        let source = row.source;
        assert!(
            ["SDM Vol. ", "APM Vol. ", "Linux, "]
                .iter()
                .any(|name| source.starts_with(name)),
            "{source}"
        );
        assert!(!row.says.is_empty());
    }
    for row in LEFT_OUT {
        assert!(row.source.contains("Vol. "), "{}", row.source);
        assert!(!row.reason.is_empty());
    }
}
