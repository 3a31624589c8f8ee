//! What the tests of this crate share: stores in temporary folders, and other people's tools.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dhow_image::{ImageStore, ImportOptions};
use tempfile::TempDir;

/// A store that is removed with its folder.
#[derive(Debug)]
pub(crate) struct TemporaryStore {
    pub(crate) store: ImageStore,
    pub(crate) folder: TempDir,
}

impl TemporaryStore {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = ImageStore::open(&folder.path().join("store")).unwrap();
        Self { store, folder }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Imports a layer archive and returns its EROFS file.
    pub(crate) fn layer(&self, archive: &[u8]) -> PathBuf {
        let id = self
            .store
            .import(archive, &ImportOptions::default(), None)
            .unwrap();
        self.store.resolve(&id.to_string()).unwrap().layers[0]
            .path
            .clone()
    }

    /// All files of the store but its lock and its session's.
    pub(crate) fn content(&self) -> Vec<String> {
        let mut found = Vec::new();
        for folder in ["layers", "images", "."] {
            for entry in std::fs::read_dir(self.root().join(folder)).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_file() && entry.file_name() != "lock" {
                    found.push(format!("{folder}/{}", entry.file_name().to_string_lossy()));
                }
            }
        }
        found.sort();
        found
    }

    /// Files that sessions hold, their locks not counted.
    pub(crate) fn temporary_files(&self) -> usize {
        let sessions = std::fs::read_dir(self.root().join("tmp")).unwrap();
        let files =
            sessions.flat_map(|session| std::fs::read_dir(session.unwrap().path()).unwrap());
        files
            .filter(|file| file.as_ref().unwrap().file_name() != "lock")
            .count()
    }
}

/// Runs a shell script; it must succeed.
pub(crate) fn shell(folder: &Path, script: &str) -> Output {
    let output = Command::new("sh")
        .arg("-euc")
        .arg(script)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{script}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Says why a test does nothing here, and tells `cargo xtask test`, which repeats it at its end.
pub(crate) fn skipped(reason: &str) {
    eprintln!("skipped: {reason}");
    if let Some(list) = std::env::var_os("DHOW_SKIPPED") {
        let mut list = fs::OpenOptions::new().append(true).open(list).unwrap();
        writeln!(list, "host/image: {reason}").unwrap();
    }
}

/// Makes sure that a program can be started here.
pub(crate) fn need(program: &str) {
    let found = Command::new("sh")
        .arg("-c")
        .arg(format!("command -v {program}"))
        .output()
        .unwrap();
    assert!(
        found.status.success(),
        "no {program}: run `cargo xtask setup`"
    );
}

pub(crate) fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout == b"0\n"
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
