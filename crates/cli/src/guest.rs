//! `ring3 guest`: making, listing and removing guests.

use crate::failure::{Failure, Result};
use crate::snapshot;
use crate::{console, size};
use clap::{Args, Subcommand};
use ring3_guest::{
    CacheEntry, Guest, GuestBuilder, KernelChoice, ModulesChoice, Selection, UintrModule,
};
use serde::Serialize;
use std::ffi::OsString;
use std::path::PathBuf;

/// Makes, lists and removes guests
///
/// A guest is a stock Linux kernel, the modules it needs, the project's module for user interrupts, and a
/// small program that receives the programs it is to run. The default guest is made when it is first
/// needed and made again when something it is made of changes; these commands are for other guests, for
/// preparing, and for tidying up.
#[derive(Args, Clone, Debug)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// Makes a guest, or finds that it is there already
    ///
    /// Prints the guest's identity on standard output.
    Build(Build),
    /// Lists what is in the cache
    List(List),
    /// Removes guests from the cache
    ///
    /// Without options: all guests and their snapshots. Unpacked packages stay, so that making a guest again
    /// needs no network.
    Clean(Clean),
}

#[derive(Args, Clone, Debug)]
struct Build {
    /// What to call it: letters, digits and dashes
    #[arg(long, value_name = "NAME", default_value = "default")]
    name: String,

    /// Its kernel: a bzImage, a vmlinux or a Debian package with a kernel
    ///
    /// [default: the distribution's cloud kernel 6.1]
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,

    /// Where the kernel's modules are: a folder like /lib/modules/RELEASE, or 'builtin' if the kernel has
    /// its drivers inside
    ///
    /// [default: beside the kernel, or in /lib/modules]
    #[arg(long, value_name = "FOLDER")]
    modules: Option<OsString>,

    /// Take this module for user interrupts instead of building one
    #[arg(long, value_name = "FILE", conflicts_with = "no_uintr")]
    uintr_module: Option<PathBuf>,

    /// Leave the module for user interrupts out
    #[arg(long)]
    no_uintr: bool,
}

#[derive(Args, Clone, Debug)]
struct List {
    /// As JSON, one object per line
    #[arg(long)]
    json: bool,
}

#[derive(Args, Clone, Debug)]
struct Clean {
    /// Only what has this name, or a name that begins with it and a dash
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// Everything: guests, snapshots, packages, compiled programs
    #[arg(long, conflicts_with_all = ["name", "damaged", "snapshots"])]
    all: bool,

    /// Only guests that are damaged
    #[arg(long, conflicts_with_all = ["name", "snapshots"])]
    damaged: bool,

    /// Only snapshots: the next run boots its guest again
    #[arg(long, conflicts_with = "name")]
    snapshots: bool,
}

/// Does it.
///
/// # Errors
/// What the exit status table calls a failure.
pub fn execute(options: &Options) -> Result<u8> {
    match &options.command {
        Command::Build(build) => build.execute(),
        Command::List(list) => list.execute(),
        Command::Clean(clean) => clean.execute(),
    }?;
    Ok(0)
}

/// The guest of that name or identity.
///
/// # Errors
/// If there is none, or more than one.
pub fn named(name: &str) -> Result<Guest> {
    let cache = ring3_guest::default_cache_folder()?;
    let entries = ring3_guest::list(&cache)?;
    let matching: Vec<&CacheEntry> = entries
        .iter()
        .filter(|entry| {
            let called = entry.guest.as_ref().map(|manifest| manifest.name.as_str());
            entry.name == name || called == Some(name)
        })
        .collect();
    match matching[..] {
        [] => Err(Failure::new(format!("there is no guest {name}")).remedy(
            "ring3 guest list shows what there is; ring3 guest build --name NAME makes one",
        )),
        [entry] => Ok(Guest::open(&entry.folder)?),
        _ => {
            let names: Vec<&str> = matching.iter().map(|entry| entry.name.as_str()).collect();
            Err(Failure::new(format!(
                "there are {} guests called {name}: {}",
                names.len(),
                names.join(", ")
            ))
            .remedy("give the whole name of one, or remove the others with ring3 guest clean"))
        }
    }
}

impl Build {
    fn execute(&self) -> Result<()> {
        let mut builder = GuestBuilder::new().name(&self.name);
        if let Some(kernel) = &self.kernel {
            builder = builder.kernel(KernelChoice::File(kernel.clone()));
        }
        builder = builder.modules(match &self.modules {
            None => ModulesChoice::Search,
            Some(word) if word == "builtin" => ModulesChoice::BuiltIn,
            Some(folder) => ModulesChoice::Folder(folder.into()),
        });
        builder = match (&self.uintr_module, self.no_uintr) {
            (Some(file), _) => builder.uintr(UintrModule::File(file.clone())),
            (None, true) => builder.uintr(UintrModule::None),
            (None, false) => builder,
        };
        let guest = builder.prepare(&mut console::say)?;
        crate::print(&format!("{}\n", guest.identity()))
    }
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    kind: &'a str,
    kernel: Option<&'a str>,
    bytes: u64,
    snapshots: usize,
    damage: Option<&'a str>,
    folder: String,
}

impl List {
    fn execute(&self) -> Result<()> {
        let cache = ring3_guest::default_cache_folder()?;
        let entries = ring3_guest::list(&cache)?;
        let lines: Vec<Line<'_>> = entries
            .iter()
            .map(|entry| Line {
                name: &entry.name,
                kind: match () {
                    () if entry.guest.is_some() || entry.damage.is_some() => "guest",
                    () if entry.folder.starts_with(cache.join("packages")) => "package",
                    () => "program",
                },
                kernel: entry
                    .guest
                    .as_ref()
                    .map(|guest| guest.kernel_release.as_str()),
                bytes: entry.bytes,
                snapshots: snapshot::of_guest(&entry.folder).len(),
                damage: entry.damage.as_deref(),
                folder: entry.folder.display().to_string(),
            })
            .collect();
        let mut text = String::new();
        if self.json {
            for line in &lines {
                text += &serde_json::to_string(line).expect("words and numbers are JSON");
                text.push('\n');
            }
            return crate::print(&text);
        }
        if lines.is_empty() {
            console::say(&format!("there is nothing in {}", cache.display()));
            return Ok(());
        }
        let width = lines.iter().map(|line| line.name.len()).max().unwrap_or(0);
        for line in &lines {
            let about = match (line.damage, line.kernel, line.snapshots) {
                (Some(damage), _, _) => format!("DAMAGED: {damage}"),
                (None, Some(kernel), 0) => format!("Linux {kernel}"),
                (None, Some(kernel), count) => format!(
                    "Linux {kernel}, {count} snapshot{}",
                    if count == 1 { "" } else { "s" }
                ),
                (None, None, _) => String::new(),
            };
            let row = format!(
                "{:<width$}  {:<7}  {:>9}  {about}",
                line.name,
                line.kind,
                size::memory(line.bytes)
            );
            text += row.trim_end();
            text.push('\n');
        }
        crate::print(&text)
    }
}

impl Clean {
    fn execute(&self) -> Result<()> {
        let cache = ring3_guest::default_cache_folder()?;
        if self.snapshots {
            let mut count = 0;
            for entry in ring3_guest::list(&cache)? {
                count += snapshot::remove_all(&entry.folder);
            }
            console::say(&format!("removed {count} snapshots"));
            return Ok(());
        }
        let selection = match &self.name {
            Some(name) => Selection::Named(name.clone()),
            None if self.all => Selection::Everything,
            None if self.damaged => Selection::Damaged,
            None => Selection::Guests,
        };
        let removed = ring3_guest::clean(&cache, &selection, &mut console::say)?;
        if removed.is_empty() && self.name.is_some() {
            return Err(
                Failure::new("nothing in the cache has that name").remedy("see ring3 guest list")
            );
        }
        for entry in &removed {
            console::say(&format!(
                "removed {} ({})",
                entry.name,
                size::memory(entry.bytes)
            ));
        }
        if removed.is_empty() {
            console::say("there was nothing to remove");
        }
        Ok(())
    }
}
