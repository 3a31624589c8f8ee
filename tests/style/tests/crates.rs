//! The table "Crates and what each may use" in `docs/design.md` is what the manifests say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use dhow_style::{root, text};
use serde_json::Value;

/// Short names of our crates that each crate depends on, dev-dependencies apart.
fn used() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(root())
        .output()
        .expect("cargo describes the workspace");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let short = |name: &Value| {
        name.as_str()
            .and_then(|name| name.strip_prefix("dhow-"))
            .map(str::to_owned)
    };
    metadata["packages"]
        .as_array()
        .expect("a list of packages")
        .iter()
        .filter_map(|package| {
            let used = package["dependencies"]
                .as_array()?
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .filter_map(|dependency| short(&dependency["name"]))
                .collect();
            Some((short(&package["name"])?, used))
        })
        .collect()
}

/// The rows of the table: short name of the crate, and what it may use.
fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    text(Path::new("docs/design.md"))
        .lines()
        .filter(|line| line.starts_with("| `host/") || line.starts_with("| `guest/"))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let name = cells[1]
                .trim_matches('`')
                .rsplit('/')
                .next()
                .expect("a folder name");
            let uses = cells[3]
                .split(',')
                .map(str::trim)
                .filter(|name| *name != "–");
            (name.to_owned(), uses.map(str::to_owned).collect())
        })
        .collect()
}

#[test]
fn no_crate_uses_one_of_ours_that_the_design_forbids() {
    let (used, allowed) = (used(), allowed());
    let hosts: BTreeSet<String> = allowed.keys().cloned().collect();
    let mut wrong = Vec::new();
    for (name, may) in &allowed {
        let may = if may.contains("all of host") {
            &hosts
        } else {
            may
        };
        let uses = used
            .get(name)
            .unwrap_or_else(|| panic!("no crate for the row {name}"));
        wrong.extend(
            uses.difference(may)
                .map(|other| format!("{name} uses {other}")),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_crate_under_host_and_guest_has_a_row() {
    let allowed = allowed();
    let missing: Vec<_> = dhow_style::files("Cargo.toml")
        .into_iter()
        .filter(|file| file.starts_with("host") || file.starts_with("guest"))
        .filter_map(|file| Some(file.parent()?.file_name()?.to_str()?.to_owned()))
        .filter(|name| !allowed.contains_key(name))
        .collect();
    assert!(
        missing.is_empty(),
        "no row in docs/design.md for {missing:?}"
    );
}

#[test]
fn dependencies_are_sorted() {
    let mut wrong = Vec::new();
    for file in dhow_style::files("Cargo.toml") {
        let text = text(&file);
        let sections = text.split("\n[").filter(|part| {
            let heading = part.lines().next().unwrap_or_default();
            heading.ends_with("dependencies]")
        });
        for section in sections {
            // A blank line or a comment begins a new group; each group is sorted by itself.
            for group in section.split("\n\n") {
                let names: Vec<&str> = group
                    .lines()
                    .filter(|line| !line.starts_with(['#', '[', ' ', ']']))
                    .filter(|line| line.contains('='))
                    .filter_map(|line| line.split(['=', '.', ' ']).next())
                    .collect();
                if !names.is_sorted() {
                    wrong.push(format!("{}: {names:?}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
