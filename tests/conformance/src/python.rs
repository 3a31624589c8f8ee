//! Python with the clients that others wrote, in an environment of its own in the cache.
//!
//! The environment is made once per list of requirements: its folder's name holds the list's hash,
//! and it is renamed into place whole, so that two tests at once and a kill in between do no harm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use dhow_harness::{Finished, Home, run};
use sha2::{Digest, Sha256};

/// The clients, with exact versions.
const REQUIREMENTS: &str = include_str!("../clients/python/requirements.txt");

/// Held while the environment is made: tests of one program are threads.
static MAKING: Mutex<()> = Mutex::new(());

/// A program of the environment, `python` or one that a client brought.
///
/// # Panics
/// Where the environment cannot be made.
#[must_use]
#[track_caller]
pub fn program(name: &str) -> PathBuf {
    environment().join("bin").join(name)
}

/// Runs one of our scripts for a client library, or one case of it, against a home's daemon.
#[must_use]
#[track_caller]
pub fn script(home: &Home, name: &str, arguments: &[&str]) -> Finished {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("clients/python")
        .join(name);
    let python = program("python");
    let mut command = home.client(python.to_str().expect("a cache in plain letters"), &["-B"]);
    command.arg(path).arg("--verbose").args(arguments);
    run(&mut command, b"")
}

fn environment() -> PathBuf {
    let _making = MAKING
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let hash = Sha256::digest(REQUIREMENTS);
    let short: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let cache = cache();
    let made = cache.join(format!("python-{short}"));
    if !made.is_dir() {
        fs::create_dir_all(&cache).expect("the cache can be made");
        make(&made);
    }
    made
}

/// Makes it beside its place. Python itself and native programs do not mind being moved; scripts
/// with the interpreter's path in their first line would, and none is used.
fn make(place: &Path) {
    let draft = place.with_extension(format!("{}", std::process::id()));
    let list = draft.with_extension("txt");
    fs::write(&list, REQUIREMENTS).expect("the cache takes a file");
    let python = |arguments: &[&str]| {
        let mut command = Command::new("python3");
        let _ = run(command.args(arguments), b"").succeed();
    };
    let draft_text = draft.to_str().expect("a cache in plain letters");
    python(&["-m", "venv", draft_text]);
    let mut install = Command::new(draft.join("bin/python"));
    install
        .args(["-m", "pip", "install", "--quiet", "--requirement"])
        .arg(&list);
    let _ = run(&mut install, b"").succeed();
    fs::remove_file(&list).expect("it was written");
    // Another process may have been faster.
    if fs::rename(&draft, place).is_err() {
        fs::remove_dir_all(&draft).expect("it is ours");
    }
}

/// As `cargo xtask` has it: what takes long to make lies outside the checkout.
fn cache() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    variable("DHOW_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("dhow")))
        .or_else(|| variable("HOME").map(|folder| folder.join(".cache/dhow")))
        .expect("HOME says where the cache is")
}
