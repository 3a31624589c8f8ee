//! The repository as the style tests see it: its root and the files that git tracks.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's top folder.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("the crate lies two folders deep")
        .to_owned()
}

/// Every tracked or new file with this ending that is not ignored, relative to the root.
///
/// # Panics
/// Where git cannot list the files.
#[must_use]
pub fn files(ending: &str) -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files");
    assert!(listed.status.success(), "git ls-files: {}", listed.status);
    let mut files: Vec<PathBuf> = String::from_utf8(listed.stdout)
        .expect("our file names are text")
        .lines()
        .filter(|name| name.ends_with(ending))
        .map(PathBuf::from)
        .filter(|name| root().join(name).is_file())
        .collect();
    files.sort();
    files.dedup();
    files
}

/// The text of a file named relative to the root.
///
/// # Panics
/// Where it cannot be read.
#[must_use]
pub fn text(file: &Path) -> String {
    std::fs::read_to_string(root().join(file))
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
