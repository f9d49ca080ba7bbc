//! Finds the libraries of a program as the dynamic linker will.
//!
//! Order of search: ld.so(8), "DESCRIPTION": `DT_RPATH` of the asking object and of those that asked for it,
//! `LD_LIBRARY_PATH`, `DT_RUNPATH`, the cache, the default folders; `$ORIGIN`, `$LIB` and `$PLATFORM` as in "Rpath token
//! expansion". Left out: variants for special processors (`glibc-hwcaps`), because the plain library serves every
//! processor; `LD_PRELOAD` and `LD_AUDIT`.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use crate::elf::{HEAD_BYTES, Object, is_for_guest};
use crate::error::{Error, Problem, Result};
use crate::library_cache;

/// Where the linkers of the distributions look by default. The union does no harm: a linker finds a library in its own
/// cache or folders or not at all, and the job brings a cache for what it brings.
const GNU_FOLDERS: [&str; 6] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];
/// The same for musl, without a path file of its own.
const MUSL_FOLDERS: [&str; 3] = ["/lib", "/usr/local/lib", "/usr/lib"];

/// Loaded by the GNU C library itself when a thread ends early, so nothing names it.
const UNNAMED_NEEDS: [(&str, &str); 1] = [("libc.so.6", "libgcc_s.so.1")];

/// Knows the host's libraries.
pub struct Finder {
    cache: BTreeMap<String, PathBuf>,
    objects: RefCell<BTreeMap<PathBuf, Object>>,
}

/// What a program needs besides itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// The dynamic linker.
    pub interpreter: Option<PathBuf>,
    /// Name asked for and path found, in the order of loading.
    pub libraries: Vec<(String, PathBuf)>,
    /// True if a linker needs a cache to find one of them.
    pub beyond_default_folders: bool,
}

/// What cannot be found, and who wants it.
pub struct Missing {
    pub name: String,
    pub wanted_by: PathBuf,
}

/// An object whose needs are being looked at.
struct Loaded {
    path: PathBuf,
    object: Object,
    /// Index of the object that asked for this one.
    asked_by: Option<usize>,
}

impl Finder {
    /// One for this host.
    pub fn of_host() -> Self {
        // In the cache the first of several wins.
        let cache = library_cache::of_host().into_iter().rev().collect();
        Self {
            cache,
            objects: RefCell::default(),
        }
    }

    /// What a library says of itself. Most programs need the same ones, so each is read once.
    pub fn object(&self, path: &Path) -> Result<Object> {
        if let Some(known) = self.objects.borrow().get(path) {
            return Ok(known.clone());
        }
        let bytes = fs::read(path).map_err(|error| Error::file("read", path, &error))?;
        let object = Object::any(path, &bytes)?;
        self.objects
            .borrow_mut()
            .insert(path.to_owned(), object.clone());
        Ok(object)
    }

    /// The path of a library that is asked for by name alone.
    pub fn by_name(&self, name: &str) -> Option<PathBuf> {
        self.search(name, &GNU_FOLDERS).map(|(path, _)| path)
    }

    /// Everything a program or library needs. A library that is not there goes to `missing`.
    pub fn needs(
        &self,
        path: &Path,
        object: &Object,
        library_path: Option<&str>,
        missing: &mut dyn FnMut(Missing),
    ) -> Result<Needs> {
        let is_musl = object
            .interpreter
            .as_ref()
            .and_then(|linker| linker.file_name())
            .is_some_and(|name| name.to_string_lossy().starts_with("ld-musl"));
        let default_folders: &[&str] = if is_musl { &MUSL_FOLDERS } else { &GNU_FOLDERS };
        let mut needs = Needs {
            interpreter: object.interpreter.clone(),
            ..Needs::default()
        };
        let mut loaded = vec![Loaded {
            path: path.to_owned(),
            object: object.clone(),
            asked_by: None,
        }];
        let mut queue = VecDeque::from([0]);
        while let Some(asker) = queue.pop_front() {
            let mut names = loaded[asker].object.needed.clone();
            for (library, unnamed) in UNNAMED_NEEDS {
                if names.iter().any(|name| name == library) && self.by_name(unnamed).is_some() {
                    names.push(unnamed.to_owned());
                }
            }
            for name in names {
                let is_linker = object
                    .interpreter
                    .as_ref()
                    .and_then(|linker| linker.file_name())
                    == Some(std::ffi::OsStr::new(&name));
                if is_linker || needs.libraries.iter().any(|(known, _)| *known == name) {
                    continue;
                }
                let found = self.resolve(&name, &loaded, asker, library_path, default_folders)?;
                let Some((found, needs_cache)) = found else {
                    missing(Missing {
                        name,
                        wanted_by: loaded[asker].path.clone(),
                    });
                    continue;
                };
                needs.beyond_default_folders |= needs_cache;
                let object = self.object(&found)?;
                needs.libraries.push((name, found.clone()));
                queue.push_back(loaded.len());
                loaded.push(Loaded {
                    path: found,
                    object,
                    asked_by: Some(asker),
                });
            }
        }
        Ok(needs)
    }

    /// The path for one name, and whether the linker needs its cache to find it.
    fn resolve(
        &self,
        name: &str,
        loaded: &[Loaded],
        asker: usize,
        library_path: Option<&str>,
        default_folders: &[&str],
    ) -> Result<Option<(PathBuf, bool)>> {
        let asking = &loaded[asker];
        if name.contains('/') {
            let path = PathBuf::from(expand(name, asking));
            if path.is_relative() {
                return Err(Error::new(
                    Problem::LibraryMissing,
                    format!(
                        "{} needs {name}, relative to wherever it is started",
                        asking.path.display()
                    ),
                )
                .remedy("link it with the library's name instead of a relative path"));
            }
            return Ok(fits(&path).then_some((path, false)));
        }
        let mut folders = Vec::new();
        if asking.object.runpath.is_none() {
            let mut object = Some(asker);
            while let Some(index) = object {
                folders.extend(
                    loaded[index]
                        .object
                        .rpath
                        .iter()
                        .map(|folder| expand(folder, &loaded[index])),
                );
                object = loaded[index].asked_by;
            }
        }
        folders.extend(
            library_path
                .unwrap_or("")
                .split([':', ';'])
                .map(|folder| expand(folder, &loaded[0])),
        );
        folders.extend(
            asking
                .object
                .runpath
                .iter()
                .flatten()
                .map(|folder| expand(folder, asking)),
        );
        // An empty or relative folder means the working folder, which is not searched: what is there is not meant
        // by a program that is to run the same everywhere.
        for folder in folders.iter().filter(|folder| folder.starts_with('/')) {
            let path = Path::new(folder).join(name);
            if fits(&path) {
                return Ok(Some((path, false)));
            }
        }
        let default_folders = if asking.object.without_default_folders {
            &[]
        } else {
            default_folders
        };
        Ok(self.search(name, default_folders))
    }

    fn search(&self, name: &str, default_folders: &[&str]) -> Option<(PathBuf, bool)> {
        let in_default_folder = |path: &Path| {
            path.parent().is_some_and(|parent| {
                default_folders
                    .iter()
                    .any(|known| parent == Path::new(known))
            })
        };
        let cached = self.cache.get(name).filter(|path| fits(path));
        if let Some(path) = cached {
            return Some((path.clone(), !in_default_folder(path)));
        }
        default_folders
            .iter()
            .map(|folder| Path::new(folder).join(name))
            .find(|path| fits(path))
            .map(|path| (path, false))
    }
}

/// True if the linker would take this file: one for this processor. It passes over others and goes on searching.
fn fits(path: &Path) -> bool {
    use std::io::Read;
    let mut head = [0; HEAD_BYTES];
    fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut head))
        .is_ok()
        && is_for_guest(&head)
}

/// Replaces the tokens of ld.so in a path that stands in an object.
fn expand(path: &str, object: &Loaded) -> String {
    if !path.contains('$') {
        return path.to_owned();
    }
    // Of the program the linker takes the real path, as /proc/self/exe has it; of a library the one it was found by.
    let own = match object.asked_by {
        None => fs::canonicalize(&object.path).unwrap_or_else(|_| object.path.clone()),
        Some(_) => object.path.clone(),
    };
    let origin = own
        .parent()
        .unwrap_or(Path::new("/"))
        .to_string_lossy()
        .into_owned();
    let library = match Path::new("/lib/x86_64-linux-gnu").exists() {
        true => "lib/x86_64-linux-gnu",
        false => "lib64",
    };
    let mut text = path.to_owned();
    for (token, value) in [
        ("ORIGIN", origin.as_str()),
        ("LIB", library),
        ("PLATFORM", "x86_64"),
    ] {
        text = text
            .replace(&format!("${{{token}}}"), value)
            .replace(&format!("${token}"), value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::process::Command;

    fn needs_of(path: &Path, library_path: Option<&str>) -> (Needs, Vec<String>) {
        let object = Object::any(path, &fs::read(path).unwrap()).unwrap();
        let mut missing = Vec::new();
        let needs = Finder::of_host()
            .needs(path, &object, library_path, &mut |lost| {
                missing.push(lost.name)
            })
            .unwrap();
        (needs, missing)
    }

    /// What ldd(1) says: the linker itself, asked.
    fn ldd(path: &Path) -> BTreeSet<(String, PathBuf)> {
        let output = Command::new("ldd")
            .arg(path)
            .output()
            .expect("ldd comes with the C library");
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .filter_map(|line| {
                let (name, rest) = line.trim().split_once(" => ")?;
                Some((name.to_owned(), PathBuf::from(rest.split(" (").next()?)))
            })
            .collect()
    }

    #[test]
    fn finds_what_ldd_finds() {
        let mut looked_at = 0;
        for entry in fs::read_dir("/usr/bin").unwrap().flatten().take(400) {
            let Ok(path) = entry.path().canonicalize() else {
                continue;
            };
            let Ok(bytes) = fs::read(&path) else { continue };
            if !bytes.starts_with(crate::elf::MAGIC) || looked_at == 60 {
                continue;
            }
            let Ok(object) = Object::program(&path, &bytes) else {
                continue;
            };
            if object.interpreter.is_none() {
                continue;
            }
            looked_at += 1;
            let (needs, missing) = needs_of(&path, None);
            let ours: BTreeSet<_> = needs
                .libraries
                .into_iter()
                .filter(|(name, _)| name != "libgcc_s.so.1")
                .collect();
            let theirs: BTreeSet<_> = ldd(&path)
                .into_iter()
                .filter(|(name, _)| name != "libgcc_s.so.1")
                .collect();
            // Where a variant for this host's processor exists, ldd names that one.
            let plain = |set: &BTreeSet<(String, PathBuf)>| {
                set.iter()
                    .filter(|(_, path)| !path.to_string_lossy().contains("hwcaps"))
                    .cloned()
                    .collect::<Vec<_>>()
            };
            assert_eq!(missing, Vec::<String>::new(), "{}", path.display());
            assert_eq!(plain(&ours), plain(&theirs), "{}", path.display());
        }
        assert!(looked_at > 10, "the host has {looked_at} dynamic programs");
    }

    /// Builds libraries with run paths and compares with the linker.
    #[test]
    fn run_paths_and_origin() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let gcc = |arguments: &[&str]| {
            Command::new("gcc")
                .args(arguments)
                .current_dir(&root)
                .status()
                .is_ok_and(|status| status.success())
        };
        fs::create_dir_all(root.join("deep/er")).unwrap();
        fs::write(root.join("inner.c"), "int inner(void) { return 3; }").unwrap();
        fs::write(
            root.join("outer.c"),
            "int inner(void); int outer(void) { return inner(); }",
        )
        .unwrap();
        fs::write(
            root.join("main.c"),
            "int outer(void); int main(void) { return outer(); }",
        )
        .unwrap();
        if !gcc(&["-shared", "-fPIC", "-o", "deep/er/libinner.so", "inner.c"]) {
            eprintln!("skipped: no gcc on this host");
            return;
        }
        for (tags, outer_path) in [
            ("--enable-new-dtags", "$ORIGIN/er"),
            ("--disable-new-dtags", "${ORIGIN}/er"),
        ] {
            let outer_path = format!("-Wl,{tags},-rpath,{outer_path}");
            let main_path = format!("-Wl,{tags},-rpath,$ORIGIN/deep");
            assert!(gcc(&[
                "-shared",
                "-fPIC",
                "-o",
                "deep/libouter.so",
                "outer.c",
                "-Ldeep/er",
                "-linner",
                &outer_path
            ]));
            assert!(gcc(&[
                "-o",
                "main",
                "main.c",
                "-Ldeep",
                "-louter",
                "-Wl,-rpath-link,deep/er",
                &main_path
            ]));
            let (needs, missing) = needs_of(&root.join("main"), None);
            assert!(missing.is_empty());
            let ours: BTreeSet<_> = needs
                .libraries
                .into_iter()
                .filter(|(name, _)| name != "libgcc_s.so.1")
                .collect();
            assert_eq!(ours, ldd(&root.join("main")));
            assert!(ours.contains(&("libinner.so".into(), root.join("deep/er/libinner.so"))));
        }
        // Without a path only LD_LIBRARY_PATH helps.
        assert!(gcc(&[
            "-o",
            "bare",
            "main.c",
            "-Ldeep",
            "-louter",
            "-Wl,-rpath-link,deep/er"
        ]));
        assert_eq!(needs_of(&root.join("bare"), None).1, ["libouter.so"]);
        let path = root.join("deep");
        assert!(needs_of(&root.join("bare"), path.to_str()).1.is_empty());
    }
}
