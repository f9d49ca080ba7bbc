//! Gets packages of the distribution without being root: downloads with `apt-get`, unpacks into the cache.
//!
//! apt checks signatures and digests. Where the system's package lists are missing, lists of our own are fetched into
//! the cache folder, from the sources the system names.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Problem, Result};
use crate::tools;

/// The distribution's packages, and the folder where what came of them is kept.
pub struct Packages {
    /// Unpacked packages, one folder each.
    store: PathBuf,
    /// Lists of our own, for use with [`Packages::own_lists`].
    lists: PathBuf,
    own_lists: bool,
}

impl Packages {
    /// Keeps packages below the cache folder.
    pub fn new(cache: &Path) -> Self {
        Self {
            store: cache.join("packages"),
            lists: cache.join("apt"),
            own_lists: false,
        }
    }

    /// Options that let apt work on lists of our own.
    fn list_options(&self) -> Vec<String> {
        match self.own_lists {
            false => Vec::new(),
            true => vec![
                "-o".into(),
                format!("Dir::State::Lists={}", self.lists.join("lists").display()),
                "-o".into(),
                format!("Dir::Cache={}", self.lists.join("cache").display()),
            ],
        }
    }

    /// Names of packages the distribution offers, by regular expression, with the versions it would install.
    pub fn offered(
        &mut self,
        pattern: &str,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Vec<(String, String)>> {
        let found = self.search(pattern)?;
        if !found.is_empty() || self.own_lists {
            return Ok(found);
        }
        progress("the system's package lists do not offer it; fetching lists of our own");
        self.own_lists = true;
        for folder in ["lists/partial", "cache/archives/partial"] {
            let folder = self.lists.join(folder);
            fs::create_dir_all(&folder).map_err(|error| Error::file("make", &folder, &error))?;
        }
        tools::run(
            tools::command("apt-get", Path::new("/"))
                .args(self.list_options())
                .args(["-q", "update"]),
        )?;
        self.search(pattern)
    }

    fn search(&self, pattern: &str) -> Result<Vec<(String, String)>> {
        let ask = |words: &[&str]| -> Result<String> {
            let mut command = tools::command("apt-cache", Path::new("/"));
            let output = tools::run(command.args(self.list_options()).args(words))?;
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let found = ask(&["--names-only", "search", pattern])?;
        let names = found
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        let question: Vec<&str> = ["policy"].into_iter().chain(names).collect();
        match question.len() {
            1 => Ok(Vec::new()),
            _ => Ok(candidates(&ask(&question)?)),
        }
    }

    /// Downloads packages (`name` or `name=version`) and unpacks them together into one folder of the store.
    pub fn fetch(
        &self,
        key: &str,
        names: &[String],
        progress: &mut dyn FnMut(&str),
    ) -> Result<PathBuf> {
        self.unpacked(key, |folder| {
            let mut debs = Vec::new();
            for name in names {
                progress(&format!("downloading {name}"));
                tools::run(
                    tools::command("apt-get", folder)
                        .args(self.list_options())
                        .args(["-q", "download", name]),
                )?;
            }
            for entry in fs::read_dir(folder)
                .map_err(|error| Error::file("list", folder, &error))?
                .flatten()
            {
                if entry
                    .path()
                    .extension()
                    .is_some_and(|extension| extension == "deb")
                {
                    debs.push(entry.path());
                }
            }
            match debs.len() == names.len() {
                true => Ok(debs),
                false => Err(Error::new(
                    Problem::ToolFailed,
                    format!("apt-get did not download all of {names:?}"),
                )),
            }
        })
    }

    /// Unpacks package files somebody else has downloaded.
    pub fn unpack_files(&self, key: &str, debs: &[PathBuf]) -> Result<PathBuf> {
        self.unpacked(key, |_| Ok(debs.to_vec()))
    }

    /// Where a key's packages are, if they have been unpacked before.
    pub fn find(&self, key: &str) -> Option<PathBuf> {
        Some(self.store.join(key)).filter(|folder| folder.is_dir())
    }

    /// Keys in the store.
    pub fn keys(&self) -> Vec<String> {
        let names = fs::read_dir(&self.store).into_iter().flatten().flatten();
        let mut keys: Vec<String> = names
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect();
        keys.sort();
        keys
    }

    /// Unpacks into a temporary folder that takes its name only when it is complete.
    fn unpacked(
        &self,
        key: &str,
        debs: impl FnOnce(&Path) -> Result<Vec<PathBuf>>,
    ) -> Result<PathBuf> {
        let done = self.store.join(key);
        if done.is_dir() {
            return Ok(done);
        }
        fs::create_dir_all(&self.store)
            .map_err(|error| Error::file("make", &self.store, &error))?;
        let temporary = |prefix: &str| {
            tempfile::Builder::new()
                .prefix(prefix)
                .tempdir_in(&self.store)
                .map_err(|error| Error::file("make a folder in", &self.store, &error))
        };
        let (downloads, tree) = (temporary(".download-")?, temporary(".unpack-")?);
        for deb in debs(downloads.path())? {
            unpack(&deb, tree.path())?;
        }
        let tree = tree.keep();
        fs::rename(&tree, &done).map_err(|error| Error::file("rename to", &done, &error))?;
        Ok(done)
    }
}

/// Names and versions in what `apt-cache policy` prints: a name at the beginning of a line, its candidate further down.
fn candidates(policy: &str) -> Vec<(String, String)> {
    let mut name = "";
    let mut found = Vec::new();
    for line in policy.lines() {
        if let Some(title) = line.strip_suffix(':').filter(|_| !line.starts_with(' ')) {
            name = title;
        } else if let Some(version) = line.trim().strip_prefix("Candidate: ")
            && version != "(none)"
        {
            found.push((name.to_owned(), version.to_owned()));
        }
    }
    found
}

/// Unpacks the files of one package.
fn unpack(deb: &Path, into: &Path) -> Result<()> {
    let deb = fs::canonicalize(deb).map_err(|error| Error::file("find", deb, &error))?;
    match tools::run(
        tools::command("dpkg-deb", into)
            .arg("--extract")
            .arg(&deb)
            .arg(into),
    ) {
        Err(error) if error.problem() == Problem::ToolMissing => unpack_without_dpkg(&deb, into),
        other => other.map(drop),
    }
}

/// A package is an `ar` archive whose member `data.tar.*` holds the files; see deb(5).
fn unpack_without_dpkg(deb: &Path, into: &Path) -> Result<()> {
    let listing = tools::run(tools::command("ar", into).arg("t").arg(deb))?;
    let member = String::from_utf8_lossy(&listing.stdout)
        .lines()
        .find(|member| member.starts_with("data.tar"))
        .map(str::to_owned)
        .ok_or_else(|| {
            Error::new(
                Problem::ToolFailed,
                format!("{} is not a Debian package", deb.display()),
            )
        })?;
    tools::run(tools::command("ar", into).arg("x").arg(deb).arg(&member))?;
    tools::run(tools::command("tar", into).args(["-x", "-f", &member]))?;
    fs::remove_file(into.join(&member))
        .map_err(|error| Error::file("remove", &into.join(&member), &error))
}

/// A field of a package file, for instance `Version`.
pub fn field(deb: &Path, name: &str) -> Result<String> {
    let output = tools::run(
        tools::command("dpkg-deb", Path::new("/"))
            .arg("--field")
            .arg(deb)
            .arg(name),
    )?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn make_package(folder: &Path) -> PathBuf {
        let tree = folder.join("tree");
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        fs::create_dir_all(tree.join("opt")).unwrap();
        fs::write(tree.join("opt/file"), b"inside").unwrap();
        fs::write(
            tree.join("DEBIAN/control"),
            "Package: sample\nVersion: 1.5-2\nArchitecture: amd64\nMaintainer: none <none@localhost>\n\
             Description: sample\n",
        )
        .unwrap();
        let deb = folder.join("sample.deb");
        let status = Command::new("dpkg-deb")
            .arg("--build")
            .arg(&tree)
            .arg(&deb)
            .output()
            .unwrap()
            .status;
        assert!(status.success());
        deb
    }

    #[test]
    fn versions_that_would_be_installed() {
        let text = "one:\n  Installed: 1\n  Candidate: 2.0-1+b1\n  Version table:\n     2.0-1+b1 500\n\
                    two:\n  Installed: (none)\n  Candidate: (none)\nthree:\n  Candidate: 3\n";
        let expected = [("one", "2.0-1+b1"), ("three", "3")];
        assert_eq!(
            candidates(text),
            expected.map(|(name, version)| (name.to_owned(), version.to_owned()))
        );
    }

    #[test]
    fn packages_are_unpacked_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        if Command::new("dpkg-deb").arg("--version").output().is_err() {
            eprintln!("skipped: no dpkg-deb on this host");
            return;
        }
        let deb = make_package(folder.path());
        assert_eq!(field(&deb, "Version").unwrap(), "1.5-2");
        let packages = Packages::new(&folder.path().join("cache"));
        let tree = packages
            .unpack_files("sample_1", std::slice::from_ref(&deb))
            .unwrap();
        assert_eq!(fs::read(tree.join("opt/file")).unwrap(), b"inside");
        let other = folder.path().join("other");
        fs::create_dir(&other).unwrap();
        unpack_without_dpkg(&deb, &other).unwrap();
        assert_eq!(fs::read(other.join("opt/file")).unwrap(), b"inside");

        let whole = fs::read(&deb).unwrap();
        fs::write(&deb, &whole[..whole.len() / 2]).unwrap();
        assert_eq!(
            packages
                .unpack_files("sample_2", &[deb])
                .unwrap_err()
                .problem(),
            Problem::ToolFailed
        );
        assert_eq!(packages.keys(), ["sample_1"]);
        assert!(packages.find("sample_2").is_none());
    }
}
