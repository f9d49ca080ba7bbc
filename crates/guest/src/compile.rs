//! Makes a program from one C file, so that a sample can be run as it stands.
//!
//! The rule, so that a person can predict it: the file is compiled with [`DEFAULT_FLAGS`] and the project's headers on
//! the include path. If the compiler refuses only because an interrupt handler would need SSE registers, once more
//! with `-mgeneral-regs-only`, which is what the published user-interrupt samples are compiled with; it is not there
//! from the start because with it a program cannot use floating point. Flags given by the person replace all this.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use sha2::{Digest, Sha256};

use crate::error::{Error, Problem, Result};
use crate::tools;

include!(concat!(env!("OUT_DIR"), "/include_files.rs"));

/// Flags for C files unless the person gives others: optimised, debuggable, with user-interrupt intrinsics and threads.
pub const DEFAULT_FLAGS: [&str; 5] = ["-O2", "-g", "-muintr", "-pthread", "-lm"];
/// Added where a handler needs it.
const GENERAL_REGISTERS: &str = "-mgeneral-regs-only";
/// What GCC says of a handler that would need SSE registers.
const NEEDS_GENERAL_REGISTERS: &str = "SSE instructions aren't allowed in";

/// What came of a C file.
#[derive(Debug)]
pub struct Compiled {
    /// The executable in the cache.
    pub program: PathBuf,
    /// What was done that a person who wonders should know.
    pub detail: Option<String>,
}

/// Compiles and links a C file. `flags` replace the default ones. What the compiler warns of goes to `note`.
pub fn compile(
    source: &Path,
    flags: Option<&[String]>,
    cache: &Path,
    note: &mut dyn FnMut(&str),
) -> Result<Compiled> {
    let source = fs::canonicalize(source).map_err(|error| Error::file("find", source, &error))?;
    let stem = source.file_stem().unwrap_or_default();
    let default_flags = DEFAULT_FLAGS.map(str::to_owned);
    let chosen = flags.unwrap_or(&default_flags);
    let digest = Sha256::digest(format!("{source:?} {chosen:?}"));
    let folder = cache.join("programs").join(
        digest[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>(),
    );
    fs::create_dir_all(&folder).map_err(|error| Error::cache("make", &folder, &error))?;
    let building = tempfile::Builder::new()
        .prefix(".building-")
        .tempdir_in(&folder)
        .map_err(|error| Error::cache("make a folder in", &folder, &error))?;
    let program = building.path().join(stem);
    let includes = include_folder(cache)?;

    let compiler = Compiler {
        source: &source,
        program: &program,
        includes: includes.as_deref(),
    };
    let mut output = compiler.run(chosen)?;
    let mut detail = None;
    if !output.status.success() && flags.is_none() && complains(&output, NEEDS_GENERAL_REGISTERS) {
        let with_general = [&default_flags[..], &[GENERAL_REGISTERS.to_owned()]].concat();
        let again = compiler.run(&with_general)?;
        if again.status.success() {
            detail = Some(format!(
                "{} has an interrupt handler without target(\"general-regs-only\"): compiled with {GENERAL_REGISTERS}",
                source.display()
            ));
            output = again;
        } else if complains(&again, "SSE") {
            return Err(failed(&source, &output).with_hint(
                "an interrupt handler must not use SSE registers, and the rest of this program needs them:\n\
                 declare the handler with __attribute__((interrupt, target(\"general-regs-only\")))",
            ));
        } else {
            output = again;
        }
    }
    if !output.status.success() {
        return Err(explained(&source, &output, chosen, flags.is_some()));
    }
    let warnings = String::from_utf8_lossy(&output.stderr);
    if !warnings.trim().is_empty() {
        note(warnings.trim_end());
    }
    let kept = folder.join(stem);
    fs::rename(&program, &kept).map_err(|error| Error::file("rename to", &kept, &error))?;
    Ok(Compiled {
        program: kept,
        detail,
    })
}

/// The project's C headers, put into the cache; `None` if this build of the project has none.
pub fn include_folder(cache: &Path) -> Result<Option<PathBuf>> {
    if INCLUDE_FILES.is_empty() {
        return Ok(None);
    }
    let mut digest = Sha256::new();
    for (name, contents) in INCLUDE_FILES {
        digest.update(format!("{name:?} {}\n", contents.len()));
        digest.update(contents);
    }
    let digest: String = digest.finalize()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let folder = cache.join("programs").join(format!("include-{digest}"));
    if folder.is_dir() {
        return Ok(Some(folder));
    }
    let parent = cache.join("programs");
    fs::create_dir_all(&parent).map_err(|error| Error::cache("make", &parent, &error))?;
    let temporary = tempfile::Builder::new()
        .prefix(".include-")
        .tempdir_in(&parent)
        .map_err(|error| Error::cache("make a folder in", &parent, &error))?;
    for (name, contents) in INCLUDE_FILES {
        let path = temporary.path().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| Error::file("make", parent, &error))?;
        }
        fs::write(&path, contents).map_err(|error| Error::file("write", &path, &error))?;
    }
    // Another process may have been faster, with the same contents.
    match fs::rename(temporary.path(), &folder) {
        Err(error) if !folder.is_dir() => Err(Error::file("rename to", &folder, &error)),
        _ => Ok(Some(folder)),
    }
}

struct Compiler<'a> {
    source: &'a Path,
    program: &'a Path,
    includes: Option<&'a Path>,
}

impl Compiler<'_> {
    /// Flags come after the source, so that libraries among them serve it.
    fn run(&self, flags: &[String]) -> Result<Output> {
        let compiler = env::var("CC").unwrap_or_else(|_| "gcc".into());
        // $CC may hold options too, as make allows.
        let mut words = compiler.split_whitespace();
        let name = words.next().unwrap_or("gcc");
        let folder = self.source.parent().unwrap_or(Path::new("/"));
        let mut command = tools::command(name, folder);
        command
            .args(words)
            .arg("-o")
            .arg(self.program)
            .arg(self.source);
        if let Some(includes) = self.includes {
            command.arg("-I").arg(includes);
        }
        command.args(flags);
        tools::output(&mut command).map_err(|error| {
            Error::new(Problem::Compiler, format!("{} needs a C compiler: {}", self.source.display(), error.sentence()))
                .remedy("install GCC 11 or newer (apt-get install gcc libc6-dev), or name another with CC=...")
        })
    }
}

fn complains(output: &Output, about: &str) -> bool {
    // LC_ALL=C keeps the words English; some versions of GCC use a typographic apostrophe all the same.
    String::from_utf8_lossy(&output.stderr)
        .replace('\u{2019}', "'")
        .contains(about)
}

fn failed(source: &Path, output: &Output) -> Error {
    Error::new(
        Problem::CompileFailed,
        format!("{} does not compile", source.display()),
    )
    .remedy(
        String::from_utf8_lossy(&output.stderr)
            .trim_end()
            .to_owned(),
    )
}

impl Error {
    /// The same with a line after what the compiler said.
    fn with_hint(self, hint: &str) -> Self {
        let said = self.what_to_do().unwrap_or("").to_owned();
        self.remedy(format!("{said}\nhint: {hint}"))
    }
}

/// The compiler's complaint, with a hint where one can be given.
fn explained(source: &Path, output: &Output, flags: &[String], own_flags: bool) -> Error {
    let error = failed(source, output);
    if complains(output, "-muintr") {
        return Error::new(
            Problem::Compiler,
            "this compiler does not know user interrupts (-muintr)",
        )
        .remedy("GCC 11 or newer is needed: apt-get install gcc-12, then CC=gcc-12");
    }
    if own_flags
        && (complains(output, "target specific option mismatch")
            || complains(output, "__builtin_ia32_senduipi"))
    {
        return error.with_hint("the intrinsics of user interrupts need -muintr among the flags");
    }
    if complains(output, "uintr_")
        && (complains(output, "undefined reference") || complains(output, "implicit declaration"))
    {
        let headers: Vec<&str> = INCLUDE_FILES
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| name.ends_with(".h"))
            .collect();
        if !headers.is_empty() {
            return error.with_hint(&format!(
                "the uintr system calls have no wrappers in the C library; the project's header declares them: {}",
                headers.iter().map(|name| format!("#include <{name}>")).collect::<Vec<_>>().join(" or ")
            ));
        }
    }
    if complains(output, "undefined reference") && !own_flags {
        return error.with_hint(&format!(
            "a library may be missing: --cflags replaces the flags, for instance --cflags \"{} -lNAME\"",
            DEFAULT_FLAGS.join(" ")
        ));
    }
    if complains(output, "cannot find -lc") || complains(output, "crt1.o") {
        return error
            .with_hint("the C library's development files are missing: apt-get install libc6-dev");
    }
    error.with_hint(&format!(
        "it was compiled with {}; --cflags 'FLAGS' replaces these flags",
        flags.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDLER: &str = "#include <stdio.h>\n#include <unistd.h>\n#include <x86gprintrin.h>\nvolatile int got;\n\
        void __attribute__((interrupt)) handler(struct __uintr_frame *frame, unsigned long long vector)\n\
        { write(1, \"x\", 1); got = 1; }\n";

    fn try_source(
        text: &str,
        flags: Option<&[&str]>,
    ) -> (Result<Compiled>, Vec<String>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("sample.c");
        fs::write(&source, text).unwrap();
        let flags: Option<Vec<String>> =
            flags.map(|flags| flags.iter().map(|&flag| flag.to_owned()).collect());
        let mut notes = Vec::new();
        let result = compile(
            &source,
            flags.as_deref(),
            &folder.path().join("cache"),
            &mut |line| notes.push(line.to_owned()),
        );
        (result, notes, folder)
    }

    #[test]
    fn a_sample_with_a_plain_handler() {
        let (program, notes, _folder) = try_source(
            &format!("{HANDLER} int main(void) {{ printf(\"%d\\n\", got); return 0; }}"),
            None,
        );
        let Compiled { program, detail } = program.unwrap();
        assert!(fs::read(program).unwrap().starts_with(crate::elf::MAGIC));
        assert!(detail.unwrap().contains(GENERAL_REGISTERS));
        assert_eq!(notes, Vec::<String>::new(), "nothing to worry about");
    }

    #[test]
    fn doubles_stay_possible_without_a_handler() {
        let (program, notes, _folder) = try_source(
            "#include <stdio.h>\nint main(void) { printf(\"%f\\n\", 1.5); return 0; }",
            None,
        );
        assert_eq!(program.unwrap().detail, None);
        assert_eq!(notes, Vec::<String>::new());
    }

    #[test]
    fn a_handler_and_doubles_get_advice() {
        let (program, _, _folder) = try_source(
            &format!("{HANDLER} int main(void) {{ printf(\"%f\\n\", got * 1.5); return 0; }}"),
            None,
        );
        let error = program.unwrap_err();
        assert_eq!(error.problem(), Problem::CompileFailed);
        assert!(
            error.to_string().contains("target(\"general-regs-only\")"),
            "{error}"
        );
        assert!(error.to_string().contains("sample.c:6"), "{error}");
    }

    #[test]
    fn own_flags_replace_ours() {
        let text = format!("{HANDLER} int main(void) {{ return VALUE - 1; }}");
        let (program, _, _folder) = try_source(
            &text,
            Some(&["-muintr", "-mgeneral-regs-only", "-DVALUE=1"]),
        );
        program.unwrap();
        // Without -muintr the handler would end in IRET: the intrinsic's header tells.
        let (program, _, _folder) = try_source(
            "#include <x86gprintrin.h>\nint main(void) { _stui(); return 0; }",
            Some(&["-O0"]),
        );
        assert!(program.unwrap_err().to_string().contains("-muintr"));
    }

    #[test]
    fn the_compilers_words_are_shown() {
        let (program, _, _folder) = try_source("int main(void) { return undeclared; }", None);
        let error = program.unwrap_err();
        assert!(
            error.to_string().contains("sample.c:1") && error.to_string().contains("undeclared"),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .contains("with -O2 -g -muintr -pthread -lm; --cflags"),
            "{error}"
        );
        let (program, _, _folder) = try_source(
            "int deflate(void *, int); int main(int n, char **v) { return deflate(v, n); }",
            None,
        );
        let error = program.unwrap_err().to_string();
        assert!(error.contains("-lNAME"), "{error}");
        let (program, _, _folder) = try_source(
            "double sin(double); int main(int n, char **v) { return sin(n); }",
            None,
        );
        program.unwrap();
    }
}
