//! A file tree for the guest, gathered from the host.
//!
//! Paths are the host's own: a library found under `/lib64/ld-linux-x86-64.so.2` is put there, with every symbolic link
//! on the way to it, so that programs find things where they look for them on the host.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Problem, Result};
use crate::newc::{self, Writer};

/// As many symbolic links as Linux follows in one path.
const LINKS_MAX: usize = 40;

/// As much as is taken of a file that the host's kernel makes up.
const KERNEL_FILE_MAX: u64 = 16 << 20;

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Folder {
        permissions: u32,
    },
    Link {
        target: PathBuf,
    },
    Bytes {
        permissions: u32,
        contents: Vec<u8>,
    },
    HostFile {
        permissions: u32,
        host: PathBuf,
        stamp: Stamp,
    },
}

/// What identifies the contents of a host's file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    device: u64,
    inode: u64,
    pub bytes: u64,
    mtime: i64,
    mtime_nanos: i64,
}

impl Stamp {
    pub fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            mtime: metadata.mtime(),
            mtime_nanos: metadata.mtime_nsec(),
        }
    }
}

/// What a guest already holds, by path, so that a job need not bring it again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents(BTreeMap<PathBuf, Held>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Held {
    Folder,
    Link(PathBuf),
    File(Stamp),
}

impl Contents {
    /// Whether something stands at this path.
    pub fn has(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }
}

/// A tree of files for the guest.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    entries: BTreeMap<PathBuf, Entry>,
}

impl Tree {
    /// A folder and its parents. What exists already keeps its permissions.
    pub fn folder(&mut self, path: &Path, permissions: u32) {
        if let Some(parent) = path.parent() {
            if parent != Path::new("/") {
                self.folder(parent, 0o755);
            }
            self.entries
                .entry(path.to_owned())
                .or_insert(Entry::Folder { permissions });
        }
    }

    /// A file made of these bytes, and its parents.
    pub fn bytes(&mut self, path: &Path, permissions: u32, contents: impl Into<Vec<u8>>) {
        if let Some(parent) = path.parent() {
            self.folder(parent, 0o755);
        }
        self.entries.insert(
            path.to_owned(),
            Entry::Bytes {
                permissions,
                contents: contents.into(),
            },
        );
    }

    /// A file or folder of the host at its own absolute path, with every symbolic link on the way there. A folder is
    /// added without what is in it. The result is the path without links.
    pub fn in_place(&mut self, path: &Path) -> Result<PathBuf> {
        let mut links = 0;
        let mut current = PathBuf::from("/");
        let mut rest: Vec<PathBuf> = components(path);
        rest.reverse();
        while let Some(component) = rest.pop() {
            if component == Path::new("..") {
                current.pop();
                continue;
            }
            let next = current.join(component);
            let metadata =
                fs::symlink_metadata(&next).map_err(|error| Error::file("find", &next, &error))?;
            if metadata.is_symlink() {
                links += 1;
                if links > LINKS_MAX {
                    return Err(Error::new(
                        Problem::File,
                        format!("{}: too many symbolic links", path.display()),
                    ));
                }
                let target = fs::read_link(&next)
                    .map_err(|error| Error::file("read the link", &next, &error))?;
                if target.is_absolute() {
                    current = PathBuf::from("/");
                }
                rest.extend(components(&target).into_iter().rev());
                self.entries.insert(next, Entry::Link { target });
            } else {
                self.add_host(&next, &next, &metadata)?;
                current = next;
            }
        }
        Ok(current)
    }

    /// One file or folder of the host, not a link, at a path of the guest. The guest's parents exist already.
    fn add_host(&mut self, host: &Path, guest: &Path, metadata: &fs::Metadata) -> Result<()> {
        let permissions = metadata.mode() & 0o7777;
        if metadata.is_dir() {
            self.entries
                .insert(guest.to_owned(), Entry::Folder { permissions });
        } else if metadata.is_file() && (host.starts_with("/proc") || host.starts_with("/sys")) {
            // Their sizes mean nothing: what is in them is made when it is read.
            let mut contents = Vec::new();
            fs::File::open(host)
                .and_then(|file| file.take(KERNEL_FILE_MAX).read_to_end(&mut contents))
                .map_err(|error| Error::file("read", host, &error))?;
            let entry = Entry::Bytes {
                permissions,
                contents,
            };
            self.entries.insert(guest.to_owned(), entry);
        } else if metadata.is_file() {
            let stamp = Stamp::of(metadata);
            if stamp.bytes > newc::FILE_SIZE_MAX {
                return Err(Error::new(
                    Problem::Copy,
                    format!("{} is larger than 4 GiB", host.display()),
                )
                .remedy("the guest keeps its files in memory; give it a smaller one"));
            }
            self.entries.insert(
                guest.to_owned(),
                Entry::HostFile {
                    permissions,
                    host: host.to_owned(),
                    stamp,
                },
            );
        } else {
            return Err(Error::new(
                Problem::Copy,
                format!("{} is neither a file nor a folder", host.display()),
            ));
        }
        Ok(())
    }

    /// A file of the host, or a folder with all that is in it, at its own path. Links out of the folder bring what they
    /// point to. What cannot be copied inside a folder (sockets, dangling links) is told to `skipped` and left out.
    /// The result lists the regular files that were added.
    pub fn in_place_with_contents(
        &mut self,
        path: &Path,
        skipped: &mut dyn FnMut(String),
    ) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let real = self.in_place(path)?;
        self.descend(&real, &real, skipped, &mut files)?;
        Ok(files)
    }

    /// The same at another path of the guest. Links inside stay links and are not followed out of the folder.
    pub fn elsewhere_with_contents(
        &mut self,
        host: &Path,
        guest: &Path,
        skipped: &mut dyn FnMut(String),
    ) -> Result<Vec<PathBuf>> {
        let metadata = fs::metadata(host).map_err(|error| Error::file("find", host, &error))?;
        if let Some(parent) = guest.parent() {
            self.folder(parent, 0o755);
        }
        self.add_host(host, guest, &metadata)?;
        let mut files = Vec::new();
        self.descend(host, guest, skipped, &mut files)?;
        Ok(files)
    }

    /// Adds what is below a folder that has been added itself, or lists a file that has.
    fn descend(
        &mut self,
        host: &Path,
        guest: &Path,
        skipped: &mut dyn FnMut(String),
        files: &mut Vec<PathBuf>,
    ) -> Result<()> {
        if !fs::metadata(host)
            .map_err(|error| Error::file("find", host, &error))?
            .is_dir()
        {
            files.push(host.to_owned());
            return Ok(());
        }
        let listing = fs::read_dir(host).map_err(|error| Error::file("list", host, &error))?;
        for entry in listing {
            let entry = entry.map_err(|error| Error::file("list", host, &error))?;
            let (host, guest) = (entry.path(), guest.join(entry.file_name()));
            let metadata =
                fs::symlink_metadata(&host).map_err(|error| Error::file("find", &host, &error))?;
            if metadata.is_symlink() {
                let target = fs::read_link(&host)
                    .map_err(|error| Error::file("read the link", &host, &error))?;
                self.entries.insert(
                    guest.clone(),
                    Entry::Link {
                        target: target.clone(),
                    },
                );
                // Where a link into the guest's own file systems leads, the guest knows better.
                let is_the_guests = ["/dev", "/proc", "/sys"].iter().any(|own| {
                    let target = host.parent().unwrap_or(Path::new("/")).join(&target);
                    target.starts_with(own)
                });
                if host == guest
                    && !is_the_guests
                    && let Err(error) = self.in_place(&host)
                {
                    skipped(format!(
                        "{} leads nowhere: {}",
                        host.display(),
                        error.sentence()
                    ));
                }
            } else if metadata.is_dir() || metadata.is_file() {
                self.add_host(&host, &guest, &metadata)?;
                self.descend(&host, &guest, skipped, files)?;
            } else {
                skipped(format!(
                    "{} is neither a file nor a folder and stays behind",
                    host.display()
                ));
            }
        }
        Ok(())
    }

    /// Whether something stands at this path.
    pub fn has(&self, path: &Path) -> bool {
        self.entries.contains_key(path)
    }

    /// Leaves out what a guest already holds.
    pub fn subtract(&mut self, contents: &Contents) {
        self.entries
            .retain(|path, entry| match (entry, contents.0.get(path)) {
                (Entry::Folder { .. }, Some(Held::Folder)) => false,
                (Entry::Link { target }, Some(Held::Link(held))) => target != held,
                (Entry::HostFile { stamp, .. }, Some(Held::File(held))) => stamp != held,
                _ => true,
            });
    }

    /// What a guest that is made of this tree holds.
    pub fn contents(&self) -> Contents {
        Contents(
            self.entries
                .iter()
                .filter_map(|(path, entry)| {
                    let held = match entry {
                        Entry::Folder { .. } => Held::Folder,
                        Entry::Link { target } => Held::Link(target.clone()),
                        Entry::HostFile { stamp, .. } => Held::File(*stamp),
                        Entry::Bytes { .. } => return None,
                    };
                    Some((path.clone(), held))
                })
                .collect(),
        )
    }

    /// True if nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all files together.
    pub fn file_bytes(&self) -> u64 {
        self.entries
            .values()
            .map(|entry| match entry {
                Entry::Bytes { contents, .. } => contents.len() as u64,
                Entry::HostFile { stamp, .. } => stamp.bytes,
                Entry::Folder { .. } | Entry::Link { .. } => 0,
            })
            .sum()
    }

    /// One line per entry that changes when what is in it changes; cheap, because no file is read.
    pub fn fingerprint(&self) -> String {
        let mut text = String::new();
        for (path, entry) in &self.entries {
            text.push_str(&match entry {
                Entry::Bytes {
                    permissions,
                    contents,
                } => format!("{path:?} {permissions:o} {contents:?}\n"),
                other => format!("{path:?} {other:?}\n"),
            });
        }
        text
    }

    /// The archive of this tree, padded to `align`.
    pub fn archive(&self, align: usize) -> Result<Vec<u8>> {
        let mut writer = Writer::default();
        for (path, entry) in &self.entries {
            match entry {
                Entry::Folder { permissions } => writer.folder(path, *permissions),
                Entry::Link { target } => writer.link(path, target),
                Entry::Bytes {
                    permissions,
                    contents,
                } => writer.file(path, *permissions, 0, contents),
                Entry::HostFile {
                    permissions,
                    host,
                    stamp,
                } => {
                    let contents =
                        fs::read(host).map_err(|error| Error::file("read", host, &error))?;
                    if contents.len() as u64 != stamp.bytes {
                        return Err(Error::new(
                            Problem::Copy,
                            format!("{} changed while it was being copied", host.display()),
                        ));
                    }
                    let mtime = stamp.mtime.clamp(0, i64::from(u32::MAX)) as u32;
                    writer.file(path, *permissions, mtime, &contents);
                }
            }
        }
        Ok(writer.finish(align))
    }

    /// Paths of everything in it, in order.
    #[cfg(test)]
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.entries.keys().map(PathBuf::as_path)
    }
}

/// The names and `..` of a path.
fn components(path: &Path) -> Vec<PathBuf> {
    path.components()
        .filter(|component| matches!(component, Component::Normal(_) | Component::ParentDir))
        .map(|component| PathBuf::from(component.as_os_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_on_the_way_come_along() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir(root.join("real")).unwrap();
        fs::write(root.join("real/tool-1.2"), b"x").unwrap();
        symlink("tool-1.2", root.join("real/tool")).unwrap();
        symlink("real", root.join("lib")).unwrap();
        let mut tree = Tree::default();
        assert_eq!(
            tree.in_place(&root.join("lib/../lib/tool")).unwrap(),
            root.join("real/tool-1.2")
        );
        let found: Vec<_> = tree
            .paths()
            .filter(|path| path.starts_with(&root))
            .collect();
        assert_eq!(
            found,
            ["", "lib", "real", "real/tool", "real/tool-1.2"]
                .map(|tail| root.join(tail))
                .iter()
                .collect::<Vec<_>>()
        );
        let contents = tree.contents();
        tree.subtract(&contents);
        assert!(tree.is_empty());
    }

    #[test]
    fn a_file_that_changed_is_brought_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"one").unwrap();
        let mut tree = Tree::default();
        tree.in_place(&file).unwrap();
        let contents = tree.contents();
        fs::write(&file, b"three").unwrap();
        let mut again = Tree::default();
        again.in_place(&file).unwrap();
        again.subtract(&contents);
        assert_eq!(
            again.paths().collect::<Vec<_>>(),
            [file.canonicalize().unwrap()]
        );
    }

    #[test]
    fn link_loops_end() {
        let folder = tempfile::tempdir().unwrap();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        assert!(Tree::default().in_place(&folder.path().join("a")).is_err());
    }

    #[test]
    fn folders_with_links_out_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("data/deep")).unwrap();
        fs::write(root.join("data/deep/file"), b"x").unwrap();
        fs::write(root.join("outside"), b"y").unwrap();
        symlink("../outside", root.join("data/link")).unwrap();
        symlink("nowhere", root.join("data/dangling")).unwrap();
        let mut skipped = Vec::new();
        let mut tree = Tree::default();
        let files = tree
            .in_place_with_contents(&root.join("data"), &mut |line| skipped.push(line))
            .unwrap();
        assert_eq!(files, [root.join("data/deep/file")]);
        assert!(tree.paths().any(|path| path == root.join("outside")));
        assert_eq!(skipped.len(), 1, "{skipped:?}");

        let mut tree = Tree::default();
        tree.elsewhere_with_contents(&root.join("data"), Path::new("/srv/d"), &mut |_| {})
            .unwrap();
        let paths: Vec<_> = tree.paths().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(
            paths,
            [
                "/srv",
                "/srv/d",
                "/srv/d/dangling",
                "/srv/d/deep",
                "/srv/d/deep/file",
                "/srv/d/link"
            ]
        );
    }
}
