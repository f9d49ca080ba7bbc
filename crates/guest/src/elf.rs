//! What an executable is, as far as running it in the guest needs to know.
//!
//! Source: System V ABI, AMD64 supplement ("Program Loading and Dynamic Linking"), and the generic ABI for the dynamic
//! section. Reading is done by the `object` crate; this file draws the conclusions.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use object::elf::{
    self, DF_1_NODEFLIB, DF_1_PIE, DT_FLAGS_1, DT_NEEDED, DT_NULL, DT_RPATH, DT_RUNPATH, DT_SONAME,
    DT_STRSZ, DT_STRTAB, EM_386, EM_X86_64, ET_CORE, ET_DYN, ET_EXEC, ET_REL, FileHeader64,
};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use object::{Endianness, StringTable};

use crate::error::{Error, Problem, Result};

/// The first bytes of every ELF file.
pub const MAGIC: &[u8] = b"\x7fELF";

/// Enough of a file's beginning for [`is_for_guest`].
pub const HEAD_BYTES: usize = 20;

/// True if this is the beginning of a 64-bit ELF file for x86-64.
pub fn is_for_guest(head: &[u8; HEAD_BYTES]) -> bool {
    head.starts_with(MAGIC)
        && head[4] == elf::ELFCLASS64.0
        && head[5] == elf::ELFDATA2LSB.0
        && u16::from_le_bytes([head[18], head[19]]) == EM_X86_64.0
}

/// What matters of an ELF file that can be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The dynamic linker it asks for.
    pub interpreter: Option<PathBuf>,
    /// Names of the libraries it asks for.
    pub needed: Vec<String>,
    /// `DT_RPATH`, split; empty if there is a `DT_RUNPATH`.
    pub rpath: Vec<String>,
    /// `DT_RUNPATH`, split.
    pub runpath: Option<Vec<String>>,
    /// The linker's default folders are not to be searched for it.
    pub without_default_folders: bool,
    /// `ET_EXEC`, or `ET_DYN` with something to start.
    is_program: bool,
}

impl Object {
    /// Reads an executable that is to be run.
    pub fn program(path: &Path, bytes: &[u8]) -> Result<Self> {
        let object = Self::any(path, bytes)?;
        match object.is_program {
            true => Ok(object),
            false => Err(Error::new(
                Problem::NotExecutableElf,
                format!("{} is a shared library, not a program", path.display()),
            )
            .remedy("run a program that uses it, and name the library with --copy if it is loaded at run time")),
        }
    }

    /// Reads an executable or a shared library.
    pub fn any(path: &Path, bytes: &[u8]) -> Result<Self> {
        let shown = path.display();
        let damaged = |why: &str| {
            Error::new(
                Problem::DamagedElf,
                format!("{shown} is damaged or cut short: {why}"),
            )
        };
        let (Some(&class), Some(&order), Some(machine)) =
            (bytes.get(4), bytes.get(5), bytes.get(18..20))
        else {
            return Err(damaged("the header is incomplete"));
        };
        let machine = match order {
            order if order == elf::ELFDATA2MSB.0 => u16::from_be_bytes([machine[0], machine[1]]),
            _ => u16::from_le_bytes([machine[0], machine[1]]),
        };
        if machine == EM_386.0 {
            return Err(Error::new(
                Problem::WrongMachine,
                format!("{shown} is a 32-bit program"),
            )
            .remedy("user interrupts exist in 64-bit mode only; compile it without -m32"));
        }
        if machine != EM_X86_64.0 || order != elf::ELFDATA2LSB.0 {
            return Err(Error::new(
                Problem::WrongMachine,
                format!("{shown} is a program for another processor (ELF machine {machine})"),
            )
            .remedy("the machine is an x86-64; compile it for that"));
        }
        if class == elf::ELFCLASS32.0 {
            return Err(
                Error::new(Problem::WrongMachine, format!("{shown} is an x32 program"))
                    .remedy("the guest's kernel has no x32 interface; compile it without -mx32"),
            );
        }
        let explain = |error: object::Error| damaged(&error.to_string());
        let header = FileHeader64::<Endianness>::parse(bytes).map_err(explain)?;
        let endian = header.endian().map_err(explain)?;
        match header.e_type(endian) {
            ET_EXEC | ET_DYN => {}
            ET_REL => {
                return Err(Error::new(
                    Problem::NotExecutableElf,
                    format!("{shown} is an object file, not a program"),
                )
                .remedy("link it first: gcc -o program file.o"));
            }
            ET_CORE => {
                return Err(Error::new(
                    Problem::NotExecutableElf,
                    format!("{shown} is a core dump, not a program"),
                ));
            }
            other => return Err(damaged(&format!("unknown file type {other:?}"))),
        }
        let segments = header.program_headers(endian, bytes).map_err(explain)?;
        let mut interpreter = None;
        let mut dynamic: &[elf::Dyn64<Endianness>] = &[];
        for segment in segments {
            // Every byte that will be loaded has to be there.
            segment
                .data(endian, bytes)
                .map_err(|()| damaged("a segment lies outside the file"))?;
            if let Some(path) = segment.interpreter(endian, bytes).map_err(explain)? {
                interpreter = Some(PathBuf::from(OsStr::from_bytes(path)));
            }
            if let Some(entries) = segment.dynamic(endian, bytes).map_err(explain)? {
                dynamic = entries;
            }
        }
        let entries: Vec<(elf::DynamicTag, u64)> = dynamic
            .iter()
            .map(|entry| (entry.d_tag.get(endian), entry.d_val.get(endian)))
            .take_while(|(tag, _)| *tag != DT_NULL)
            .collect();
        let values = |wanted: elf::DynamicTag| {
            entries
                .iter()
                .filter(move |(tag, _)| *tag == wanted)
                .map(|&(_, value)| value)
        };
        let strings = match (values(DT_STRTAB).next(), values(DT_STRSZ).next()) {
            (Some(address), Some(size)) => segments
                .iter()
                .find_map(|segment| {
                    segment
                        .data_range(endian, bytes, address, size)
                        .ok()
                        .flatten()
                })
                .ok_or_else(|| damaged("its names lie outside the file"))?,
            _ => &[],
        };
        let strings = StringTable::new(strings, 0, strings.len() as u64);
        let texts = |wanted: elf::DynamicTag| -> Result<Vec<String>> {
            values(wanted)
                .map(|offset| {
                    let text = u32::try_from(offset)
                        .ok()
                        .and_then(|offset| strings.get(offset).ok());
                    let text = text.ok_or_else(|| damaged("a name lies outside the file"))?;
                    Ok(String::from_utf8_lossy(text).into_owned())
                })
                .collect()
        };
        let split = |paths: Vec<String>| -> Vec<String> {
            paths
                .iter()
                .flat_map(|paths| paths.split(':'))
                .map(str::to_owned)
                .collect()
        };
        let runpaths = texts(DT_RUNPATH)?;
        let runpath = (!runpaths.is_empty()).then(|| split(runpaths));
        let flags = values(DT_FLAGS_1).fold(0, |flags, value| flags | value);
        let needed = texts(DT_NEEDED)?;
        Ok(Self {
            rpath: if runpath.is_some() {
                Vec::new()
            } else {
                split(texts(DT_RPATH)?)
            },
            runpath,
            without_default_folders: flags & DF_1_NODEFLIB.0 != 0,
            // A library may have an interpreter too, so that it can be started (libc.so.6 prints its version). A program
            // without interpreter says so with DF_1_PIE, or has no name for others to ask for.
            is_program: header.e_type(endian) == ET_EXEC
                || interpreter.is_some()
                || flags & DF_1_PIE.0 != 0
                || (header.e_entry(endian) != 0
                    && values(DT_SONAME).next().is_none()
                    && needed.is_empty()),
            interpreter,
            needed,
        })
    }
}

/// The values of a key in a kernel module's section `.modinfo`, which holds `key=value` strings that end in NUL.
pub fn module_information(path: &Path, bytes: &[u8], key: &str) -> Result<Vec<String>> {
    let damaged = |error: object::Error| {
        Error::new(
            Problem::DamagedElf,
            format!("{} is no kernel module: {error}", path.display()),
        )
    };
    let header = FileHeader64::<Endianness>::parse(bytes).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;
    let sections = header.sections(endian, bytes).map_err(damaged)?;
    let Some((_, section)) = sections.section_by_name(endian, b".modinfo") else {
        return Ok(Vec::new());
    };
    let data = section.data(endian, bytes).map_err(damaged)?;
    let prefix = format!("{key}=");
    Ok(data
        .split(|&byte| byte == 0)
        .filter_map(|line| {
            std::str::from_utf8(line)
                .ok()?
                .strip_prefix(&prefix)
                .map(str::to_owned)
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Option<Vec<u8>> {
        std::fs::read(path).ok()
    }

    #[test]
    fn the_shell_is_a_program_and_libc_can_be_started() {
        let shell = Object::program(Path::new("/bin/sh"), &read("/bin/sh").unwrap()).unwrap();
        assert!(shell.interpreter.is_some_and(|linker| linker.is_absolute()));
        assert!(
            shell.needed.iter().any(|name| name.starts_with("libc.so")),
            "{:?}",
            shell.needed
        );
    }

    #[test]
    fn a_library_is_no_program() {
        for path in ["/lib/x86_64-linux-gnu/libm.so.6", "/lib64/libm.so.6"] {
            if let Some(bytes) = read(path) {
                let error = Object::program(Path::new(path), &bytes).unwrap_err();
                assert_eq!(error.problem(), Problem::NotExecutableElf);
                Object::any(Path::new(path), &bytes).unwrap();
            }
        }
    }

    #[test]
    fn headers_of_other_machines() {
        let mut bytes = read("/bin/sh").unwrap();
        let problem = |bytes: &[u8]| {
            Object::program(Path::new("x"), bytes)
                .unwrap_err()
                .problem()
        };
        for length in [4, 17, 63, 64, 70, 400] {
            assert_eq!(
                problem(&bytes[..length]),
                Problem::DamagedElf,
                "cut to {length} bytes"
            );
        }
        bytes[18] = 183; // e_machine: AArch64
        assert_eq!(problem(&bytes), Problem::WrongMachine);
        bytes[18] = 3; // 80386
        assert_eq!(problem(&bytes), Problem::WrongMachine);
        bytes[18] = 62;
        bytes[16] = 1; // ET_REL
        assert_eq!(problem(&bytes), Problem::NotExecutableElf);
        bytes[16] = 4; // ET_CORE
        assert_eq!(problem(&bytes), Problem::NotExecutableElf);
    }
}
