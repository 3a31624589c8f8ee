//! What the documents claim can be followed.

use std::path::Path;

use dhow_style::{files, root, text};

#[test]
fn links_between_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    for file in files(".md") {
        let text = text(&file);
        let folder = file.parent().unwrap_or(Path::new(""));
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let path = target.split('#').next().unwrap_or_default();
            let local = !path.is_empty() && !path.contains("://") && !path.contains(' ');
            if local && !root().join(folder).join(path).exists() {
                wrong.push(format!("{}: {target}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_changelog_keeps_its_headings() {
    let changelog = text(Path::new("CHANGELOG.md"));
    let headings = ["Added", "Changed", "Fixed", "Removed", "Security"];
    let wrong: Vec<_> = changelog
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .filter(|heading| !headings.contains(heading))
        .collect();

    assert!(
        changelog.contains("\n## Unreleased\n"),
        "no section Unreleased"
    );
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn every_decision_says_why() {
    let wrong: Vec<_> = files(".md")
        .into_iter()
        .filter(|file| file.starts_with("docs/decisions"))
        .filter(|file| !text(file).contains("\n## Why\n"))
        .collect();

    assert!(wrong.is_empty(), "{wrong:#?}");
}
