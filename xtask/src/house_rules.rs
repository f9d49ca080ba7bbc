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
