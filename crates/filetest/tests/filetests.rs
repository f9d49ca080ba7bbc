//! Every file in `filetests/` is a test of its own, named by its path: `uintr/s01_...`.
//!
//! `BLESS=1` writes what comes out into the files. Oracles (QEMU) run with `-- --ignored`.

use libtest_mimic::{Arguments, Failed, Trial};
use ring3_filetest::{Filetest, Toolchain};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

fn filetests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate stands in the workspace")
        .join("filetests")
}

/// One trial per file and engine; a file that cannot be read is a failing one.
fn trials(toolchain: &Arc<Result<Toolchain, String>>) -> Vec<Trial> {
    let root = filetests();
    let files = ring3_filetest::find(&root).expect("the folder of filetests can be read");
    let blessing = std::env::var_os("BLESS").is_some_and(|value| value != "0");
    let mut trials = Vec::new();
    for path in files {
        let test = match Filetest::read(&root, &path) {
            Ok(test) => Arc::new(test),
            Err(error) => {
                let name = path.display().to_string();
                trials.push(Trial::test(name, move || Err(Failed::from(error))));
                continue;
            }
        };
        for &engine in &test.header.engines {
            let (test, toolchain) = (test.clone(), toolchain.clone());
            let name = test.name.clone();
            let trial = Trial::test(name, move || {
                let toolchain = toolchain.as_ref().as_ref()?;
                let judge = if blessing {
                    ring3_filetest::bless
                } else {
                    ring3_filetest::check
                };
                judge(&test, engine, toolchain).map_err(Failed::from)
            });
            trials.push(
                trial
                    .with_kind(engine.name())
                    .with_ignored_flag(engine.is_oracle()),
            );
        }
    }
    trials
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join("filetests");
    // Missing tools fail the tests, not the listing of them.
    let toolchain = Toolchain::new(&filetests().join("runtime"), &output);
    let toolchain = Arc::new(toolchain.map_err(|error| error.to_string()));
    libtest_mimic::run(&arguments, trials(&toolchain)).exit_code()
}
