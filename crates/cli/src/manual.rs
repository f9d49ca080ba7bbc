//! `ring3 completions` and `ring3 man`: what a shell and a reader of manuals need.

use crate::failure::{Failure, Result};
use crate::pages;
use clap::Args;
use clap_complete::Shell;
use std::path::PathBuf;

/// Prints completions for a shell
///
/// Put the output where the shell looks for completions; the examples below show where.
#[derive(Args, Clone, Debug)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// Prints manual pages
///
/// Prints the page of ring3 or of one command in roff, or writes all pages to a folder.
#[derive(Args, Clone, Debug)]
pub struct Manual {
    /// The command whose page is wanted, for instance run, or guest build
    #[arg(value_name = "COMMAND", num_args = 0..=2)]
    command: Vec<String>,

    /// Write all pages to FOLDER, which is made if needed
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

/// Does it.
///
/// # Errors
/// If standard output fails.
pub fn completions(options: &Completions) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(
        options.shell,
        &mut crate::command_line(),
        "ring3",
        &mut script,
    );
    crate::print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}

/// Does it.
///
/// # Errors
/// If there is no such command, or a file cannot be written.
pub fn manual(options: &Manual) -> Result<u8> {
    let mut root = crate::command_line();
    root.build();
    if let Some(folder) = &options.dir {
        std::fs::create_dir_all(folder)
            .map_err(|error| Failure::file("make the folder", folder, &error))?;
        for path in paths(&root) {
            let words: Vec<&str> = path.iter().map(String::as_str).collect();
            let file = folder.join(format!("{}.1", pages::command_page(&words)));
            std::fs::write(&file, page(&root, &words)?)
                .map_err(|error| Failure::file("write", &file, &error))?;
        }
        return Ok(0);
    }
    let words: Vec<&str> = options.command.iter().map(String::as_str).collect();
    crate::print(&String::from_utf8_lossy(&page(&root, &words)?))?;
    Ok(0)
}

/// Every command that has a page, by the words behind `ring3`.
fn paths(root: &clap::Command) -> Vec<Vec<String>> {
    let mut paths = vec![Vec::new()];
    for command in root.get_subcommands().filter(|c| c.get_name() != "help") {
        let path = vec![command.get_name().to_owned()];
        paths.push(path.clone());
        for below in command.get_subcommands().filter(|c| c.get_name() != "help") {
            paths.push([path.clone(), vec![below.get_name().to_owned()]].concat());
        }
    }
    paths
}

fn page(root: &clap::Command, path: &[&str]) -> Result<Vec<u8>> {
    let mut command = root;
    for word in path {
        command = command.find_subcommand(word).ok_or_else(|| {
            let known: Vec<String> = paths(root)
                .iter()
                .filter(|path| !path.is_empty())
                .map(|path| path.join(" "))
                .collect();
            Failure::new(format!("there is no command {}", path.join(" ")))
                .remedy(format!("these have pages: {}", known.join(", ")))
        })?;
    }
    let named = command.clone().display_name(pages::command_page(path));
    let mut bytes = Vec::new();
    pages::manual(&named, path, &mut bytes)
        .map_err(|error| Failure::new(format!("cannot make the page: {error}")))?;
    Ok(bytes)
}
