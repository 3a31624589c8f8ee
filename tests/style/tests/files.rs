//! What a source file must open with, how long it may grow and what it may be called.

use std::path::{Path, PathBuf};

use dhow_style::{files, text};

/// Lines of a source file without its tests, past which it is to be split.
const MAX_FILE_LINES: usize = 500;

/// Lines of an inline test module, past which it moves to a file of its own.
const MAX_INLINE_TEST_LINES: usize = 250;

/// Names that tell a reader nothing.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "common", "helpers", "manager", "misc"];

/// Words that only unfinished code contains.
const UNFINISHED: [&str; 3] = [
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[", "ignore"),
];

fn production_lines(text: &str) -> usize {
    text.lines()
        .take_while(|line| *line != "mod tests {")
        .count()
}

fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let wrong: Vec<_> = files(".rs")
        .into_iter()
        .filter(|file| !text(file).starts_with("//!"))
        .collect();

    assert!(wrong.is_empty(), "no //! on the first line: {wrong:#?}");
}

#[test]
fn no_source_file_outgrows_its_budget() {
    let wrong: Vec<_> = files(".rs")
        .into_iter()
        .filter(|file| !is_test_file(file))
        .filter_map(|file| {
            let lines = production_lines(&text(&file));
            (lines > MAX_FILE_LINES).then(|| format!("{}: {lines} lines", file.display()))
        })
        .collect();

    report(&wrong);
}

#[test]
fn long_tests_have_a_file_of_their_own() {
    let wrong: Vec<_> = files(".rs")
        .into_iter()
        .filter_map(|file| {
            let text = text(&file);
            let lines = text.lines().count() - production_lines(&text);
            (lines > MAX_INLINE_TEST_LINES).then(|| format!("{}: {lines}", file.display()))
        })
        .collect();

    report(&wrong);
}

#[test]
fn no_file_has_an_empty_name() {
    let wrong: Vec<PathBuf> = files(".rs")
        .into_iter()
        .filter(|file| {
            let named = file
                .iter()
                .filter_map(|part| Path::new(part).file_stem()?.to_str());
            named.into_iter().any(|name| EMPTY_NAMES.contains(&name))
        })
        .collect();

    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_is_left_unfinished() {
    let wrong: Vec<_> = files(".rs")
        .into_iter()
        .filter(|file| UNFINISHED.iter().any(|word| text(file).contains(word)))
        .map(|file| file.display().to_string())
        .collect();

    report(&wrong);
}

fn is_test_file(file: &Path) -> bool {
    file.iter().any(|part| part == "tests") && !file.starts_with("tests")
        || file.file_stem().is_some_and(|stem| stem == "tests")
}
