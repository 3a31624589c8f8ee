//! `cargo xtask prepush`: what must hold before a push and can be known within a minute or two: the
//! format, the lints, and the tests that need neither a machine nor a privilege.

use std::process::Command;

use anyhow::Result;

use crate::{child, report, workspace};

/// The steps, quickest first, as arguments of cargo.
const STEPS: [&[&str]; 3] = [
    &["fmt", "--all", "--check"],
    &[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ],
    &["test", "--workspace", "--lib", "--bins"],
];

/// The crate that checks HABITS: its tests are integration tests, which the last step leaves out.
const STYLE: [&str; 3] = ["test", "--package", "dhow-style"];

/// Runs every step, and stops at the first that fails.
///
/// # Errors
/// When a step fails.
pub fn run() -> Result<()> {
    for step in STEPS {
        cargo(step)?;
    }
    if workspace::root().join("tests/style/Cargo.toml").exists() {
        cargo(&STYLE)?;
    }
    Ok(())
}

fn cargo(arguments: &[&str]) -> Result<()> {
    report::say(&format!("prepush: cargo {}", arguments.join(" ")));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    child::run(
        Command::new(cargo)
            .current_dir(workspace::root())
            .args(arguments),
    )
}
