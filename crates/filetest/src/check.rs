//! Runs a filetest and judges what came out.

use crate::header::{Engine, Filetest};
use crate::qemu;
use crate::run::{Manner, On, Run, run};
use crate::toolchain::Toolchain;
use ring3_timing::TimeBase;
use similar::TextDiff;
use std::fmt;

/// A filetest failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    seed: u64,
    name: String,
    engine: Engine,
    reason: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure {
            seed,
            name,
            engine,
            reason,
        } = self;
        writeln!(f, "seed {seed}")?;
        writeln!(f, "{reason}")?;
        let oracle = if engine.is_oracle() { "--ignored " } else { "" };
        write!(
            f,
            "Again: cargo test -p ring3-filetest --test filetests -- {oracle}--exact {name}"
        )
    }
}

fn failure(test: &Filetest, engine: Engine, reason: impl Into<String>) -> Failure {
    Failure {
        seed: test.header.seed,
        name: test.name.clone(),
        engine,
        reason: reason.into(),
    }
}

/// Lines of a difference that are shown; a program that runs wild prints more than anyone reads.
const DIFF_LINES_MAX: usize = 120;

/// The differences between two texts, with a few lines around each.
fn diff(expected: &str, found: &str) -> String {
    let diff = TextDiff::from_lines(expected, found)
        .unified_diff()
        .header("expected", "found")
        .to_string();
    let lines = diff.lines().count();
    if lines <= DIFF_LINES_MAX {
        return diff;
    }
    let shown: Vec<&str> = diff.lines().take(DIFF_LINES_MAX).collect();
    let left = lines - DIFF_LINES_MAX;
    format!("{}\n({left} more lines)", shown.join("\n"))
}

/// Runs `test` in all the ways that must come to the same.
fn run_on_machine(test: &Filetest, toolchain: &Toolchain) -> Result<Run, String> {
    let image = toolchain
        .build(&test.name, &test.path)
        .map_err(|e| e.to_string())?;
    let first = run(&image, &test.header, Manner::Whole, On::Interpreter)?;
    let agrees = |second: &Run, how: &str| {
        if second.text != first.text {
            let diff = diff(&first.text, &second.text);
            return Err(format!("{how} the program printed something else:\n{diff}"));
        }
        if second.instructions != first.instructions || second.digest != first.digest {
            return Err(format!(
                "{how} the machine was in another state at the end, though the program printed \
                 the same ({} and {} instructions). Of time and processors:\n{}",
                first.instructions,
                second.instructions,
                diff(&first.state, &second.state)
            ));
        }
        Ok(())
    };
    let again = run(&image, &test.header, Manner::Whole, On::Interpreter)?;
    agrees(&again, "Run a second time,")?;
    if test.header.cpus == 1 {
        let save_at = first.instructions / 2;
        let broken = run(
            &image,
            &test.header,
            Manner::Broken { save_at },
            On::Interpreter,
        )?;
        agrees(&broken, "Saved, restored, and run in small pieces,")?;
    }
    Ok(first)
}

/// Runs `test` on the timing engine, in all the ways that must come to the same.
fn run_timed(test: &Filetest, toolchain: &Toolchain) -> Result<Run, String> {
    // The image of the same name may be in use.
    let name = format!("timing/{}", test.name);
    let image = toolchain
        .build(&name, &test.path)
        .map_err(|e| e.to_string())?;
    let header = &test.header;
    let reference = run(&image, header, Manner::Whole, On::Interpreter)?;
    let same = |on: On, how: &str| {
        let timed = run(&image, header, Manner::Whole, on)?;
        if timed.text != reference.text {
            let diff = diff(&reference.text, &timed.text);
            return Err(format!("{how} the program printed something else:\n{diff}"));
        }
        if timed.instructions != reference.instructions || timed.digest != reference.digest {
            return Err(format!(
                "{how} the machine was in another state at the end, though the program printed the \
                 same ({} and {} instructions). Of time and processors:\n{}",
                reference.instructions,
                timed.instructions,
                diff(&reference.state, &timed.state)
            ));
        }
        Ok(timed)
    };
    let timed = same(On::Timing(TimeBase::Instructions), "On the timing engine")?;
    if header.cpus == 1 {
        same(On::Both, "On one engine after the other")?;
    }
    if header.ticks_are_instructions {
        return Ok(timed);
    }
    run(&image, header, Manner::Whole, On::Timing(TimeBase::Cycles))
}

fn run_on(test: &Filetest, engine: Engine, toolchain: &Toolchain) -> Result<String, String> {
    match engine {
        Engine::Interpreter => run_on_machine(test, toolchain).map(|run| run.text),
        Engine::Timing => run_timed(test, toolchain).map(|run| run.text),
        Engine::Qemu => {
            // The image of the same name may be in use.
            let name = format!("{}.qemu", test.name);
            let image = toolchain
                .build(&name, &test.path)
                .map_err(|e| e.to_string())?;
            qemu::run(&image, &test.header)
        }
    }
}

/// Runs `test` on one engine and compares with the expected text.
///
/// # Errors
/// What differs, or why it could not be run.
pub fn check(test: &Filetest, engine: Engine, toolchain: &Toolchain) -> Result<(), Failure> {
    let failed = |reason: String| failure(test, engine, reason);
    let found = run_on(test, engine, toolchain).map_err(failed)?;
    let Some(expected) = &test.expected else {
        return Err(failed(format!(
            "filetests/{}.s has no expected text; if this is right, BLESS=1 writes it:\n{found}",
            test.name
        )));
    };
    if found != *expected {
        return Err(failed(format!(
            "filetests/{}.s: the output differs (BLESS=1 makes it the expected one):\n{}",
            test.name,
            diff(expected, &found)
        )));
    }
    Ok(())
}

/// Runs `test` on one engine and writes what comes out into the file as the expected text.
///
/// # Errors
/// Why it could not be run or written. Runs that disagree with each other are not blessed, nor is
/// what an oracle says.
pub fn bless(test: &Filetest, engine: Engine, toolchain: &Toolchain) -> Result<(), Failure> {
    if engine != Engine::Interpreter {
        return check(test, engine, toolchain);
    }
    let failed = |reason: String| failure(test, engine, reason);
    let found = run_on(test, engine, toolchain).map_err(failed)?;
    if test.expected.as_ref() != Some(&found) {
        std::fs::write(&test.path, test.with_expected(&found))
            .map_err(|e| failed(format!("{}: {e}", test.path.display())))?;
    }
    Ok(())
}
