//! Rules of the house that can be checked.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Room, floor, and the rooms it is said to know, from the table in ARCHITECTURE.md.
fn table() -> BTreeMap<String, (u32, BTreeSet<String>)> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut rooms = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [floor, room, _, knows] = cells[..] else {
            continue;
        };
        let Ok(floor) = floor.parse() else { continue };
        let knows = knows
            .split(',')
            .map(str::trim)
            .filter(|k| !k.is_empty())
            .map(Into::into);
        rooms.insert(room.trim_matches('`').to_owned(), (floor, knows.collect()));
    }
    rooms
}

/// Room and the rooms it really knows, tests aside, from cargo.
fn reality() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let room = |name: &str| name.strip_prefix("ring3-").map(str::to_owned);
    let mut rooms = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let Some(name) = room(package["name"].as_str().unwrap()) else {
            continue;
        };
        let knows = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dependency| dependency["kind"].is_null())
            .filter_map(|dependency| room(dependency["name"].as_str().unwrap()))
            .collect();
        rooms.insert(name, knows);
    }
    rooms
}

/// Every room that can be reached from `room` in the table.
fn reachable(table: &BTreeMap<String, (u32, BTreeSet<String>)>, room: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut open = vec![room.to_owned()];
    while let Some(next) = open.pop() {
        for known in table
            .get(&next)
            .map(|(_, knows)| knows.clone())
            .unwrap_or_default()
        {
            if seen.insert(known.clone()) {
                open.push(known);
            }
        }
    }
    seen
}

#[test]
fn the_dependency_table_is_true() {
    let table = table();
    let reality = reality();
    let named: Vec<&String> = table.keys().collect();
    let existing: Vec<&String> = reality.keys().collect();
    assert_eq!(
        named, existing,
        "ARCHITECTURE.md must have a row for every crate, and no other"
    );
    for (room, knows) in &reality {
        let allowed = reachable(&table, room);
        for known in knows {
            assert!(
                allowed.contains(known),
                "{room} depends on {known}, which ARCHITECTURE.md does not allow: dependencies \
                 are one-way so that a reader of one room needs to know only the rooms below"
            );
        }
    }
}

#[test]
fn dependencies_go_down_or_sideways() {
    let table = table();
    for (room, (floor, knows)) in &table {
        for known in knows {
            let (below, _) = table
                .get(known)
                .unwrap_or_else(|| panic!("{room} names {known}"));
            assert!(
                below <= floor,
                "{room} on floor {floor} cannot know {known} on floor {below}"
            );
        }
    }
}

#[test]
fn the_repository_speaks_of_the_project_alone() {
    let output = Command::new("git")
        .args(["ls-files"])
        .current_dir(root())
        .output()
        .unwrap();
    for file in String::from_utf8(output.stdout).unwrap().lines() {
        let Ok(text) = std::fs::read_to_string(root().join(file)) else {
            continue;
        };
        for forbidden in [
            concat!("/work/", "main"),
            concat!("/work/", "wt-"),
            concat!("/work/", "shared"),
        ] {
            assert!(
                !text.contains(forbidden),
                "{file} names a path of one machine: {forbidden}"
            );
        }
    }
}

fn read(path: &str) -> String {
    let found = std::fs::read_to_string(root().join(path));
    found.unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Files with this ending in a folder and those below it, as paths from the root.
fn files(folder: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&path, ending));
        } else if path.ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn every_crate_from_outside_has_its_reason() {
    let architecture = read("ARCHITECTURE.md");
    let (_, section) = architecture
        .split_once("## Dependencies from outside")
        .expect("the section is there");
    let named: BTreeSet<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once(" | "))
        .flat_map(|(names, _)| names.split(", ").map(|name| name.trim_matches('`')))
        .collect();
    let manifest = read("Cargo.toml");
    let (_, table) = manifest
        .split_once("[workspace.dependencies]")
        .expect("the section is there");
    let used: BTreeSet<&str> = table
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| Some(line.split_once('=')?.0.trim()))
        .filter(|name| !name.starts_with("ring3-"))
        .collect();
    assert_eq!(
        named, used,
        "ARCHITECTURE.md says of every crate that others made why it is here, and of no other"
    );
    for manifest in files("crates", "Cargo.toml") {
        let text = read(&manifest);
        assert!(
            !text.contains("version = \"")
                && !text.contains(" = \"0.")
                && !text.contains(" = \"1."),
            "{manifest}: versions stand in the workspace's manifest, where the reasons are looked for"
        );
    }
}

/// Numbers of statements in a test's name: `s28_s57_...`.
fn numbers(name: &str) -> Vec<u32> {
    name.split('_')
        .map_while(|word| word.strip_prefix('s')?.parse().ok())
        .collect()
}

#[test]
fn the_list_of_statements_about_user_interrupts_is_complete_and_true() {
    const STATEMENTS: u32 = 60;
    let page = read("docs/uintr-conformance.md");
    let mut listed = BTreeMap::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [number, statement, filetest, units] = cells[..] else {
            continue;
        };
        let Ok(number) = number.parse::<u32>() else {
            continue;
        };
        assert!(!statement.is_empty());
        let filetests: BTreeSet<String> = quoted(filetest).map(str::to_owned).collect();
        let units: BTreeSet<String> = quoted(units).map(str::to_owned).collect();
        assert!(!filetests.is_empty(), "statement {number} has no filetest");
        let twice = listed.insert(number, (filetests, units));
        assert!(twice.is_none(), "statement {number} stands there twice");
    }
    assert!(
        listed.keys().copied().eq(1..=STATEMENTS),
        "statements 1 to {STATEMENTS} are listed"
    );

    let mut existing: BTreeMap<u32, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for path in files("filetests/uintr", ".s") {
        let name = path.rsplit('/').next().unwrap().trim_end_matches(".s");
        for number in numbers(name) {
            let text = read(&path);
            assert!(
                text.contains(&format!("Statement {number}."))
                    && text.contains("# expect:")
                    && text.contains("engines: interpreter"),
                "{path} does not say that it shows statement {number}, or expects nothing"
            );
            let entry = existing.entry(number).or_default();
            entry.0.insert(name.to_owned());
        }
    }
    for path in files("crates", ".rs") {
        let text = read(&path);
        for (before, after) in text.match_indices("fn s").map(|(at, _)| text.split_at(at)) {
            let name = &after[3..after.find('(').unwrap_or(3)];
            let is_test = before.trim_end().ends_with("#[test]");
            for number in numbers(name).into_iter().filter(|_| is_test) {
                let entry = existing.entry(number).or_default();
                entry.1.insert(name.to_owned());
            }
        }
    }
    for (number, found) in &existing {
        assert_eq!(
            listed.get(number),
            Some(found),
            "statement {number}: docs/uintr-conformance.md (left) and the tests that exist (right)"
        );
    }
    assert_eq!(existing.len(), listed.len());
}

#[test]
fn every_file_with_unsafe_code_is_in_the_inventory() {
    let page = read("docs/unsafe.md");
    let listed: BTreeSet<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .flat_map(|line| quoted(line.split('|').nth(1).unwrap()))
        .collect();
    let code = [
        "unsafe {",
        "unsafe fn",
        "unsafe impl",
        "unsafe extern",
        "unsafe(",
    ];
    let tracked = Command::new("git")
        .args(["ls-files", "*.rs"])
        .current_dir(root())
        .output()
        .unwrap();
    let tracked = String::from_utf8(tracked.stdout).unwrap();
    assert!(!tracked.is_empty(), "git lists the sources");
    let found: BTreeSet<&str> = tracked
        .lines()
        .filter(|path| !path.starts_with("xtask/"))
        .filter(|path| {
            let text = read(path);
            code.iter().any(|code| text.contains(code))
        })
        .collect();
    assert_eq!(found, listed, "files with unsafe code, and docs/unsafe.md");
}

#[test]
fn every_page_can_be_found_from_the_readme() {
    let readme = read("README.md");
    for page in files("docs", ".md") {
        assert!(
            readme.contains(&format!("({page})")),
            "{page} is not linked from README.md, so nobody will read it"
        );
    }
    // And every link of a page leads somewhere.
    let mut pages = files("docs", ".md");
    pages.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(str::to_owned));
    for page in pages {
        let text = read(&page);
        let folder = Path::new(&page).parent().unwrap();
        for (_, rest) in text
            .match_indices("](")
            .map(|(at, _)| text.split_at(at + 2))
        {
            let link = rest.split([')', '#']).next().unwrap();
            if link.is_empty() || link.contains("://") {
                continue;
            }
            let target = root().join(folder).join(link);
            assert!(
                target.exists(),
                "{page} links to {link}, which is not there"
            );
        }
    }
}
