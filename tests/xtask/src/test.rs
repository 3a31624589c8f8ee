//! `cargo xtask test`: everything, from a machine with nothing but Rust to the last test. The
//! workspace's tests find the distribution through `DHOW_DIST`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::Command;

use anyhow::{Context, Result};

use crate::images::Image;
use crate::{child, dist, images, report, setup, workspace};

/// Names the distribution for tests that boot machines.
const DIST_VARIABLE: &str = "DHOW_DIST";

/// Names a file in which a test that cannot run on this host says why.
const SKIPPED_VARIABLE: &str = "DHOW_SKIPPED";

/// Prepares, then runs the tests. cargo's own output, which says what passed and failed, comes last,
/// but for a line about what this host could not run.
///
/// # Errors
/// When something is missing, does not build, or a test fails.
pub fn run(arguments: &[String]) -> Result<()> {
    setup::run()?;
    let dist = dist::build()?;
    for image in Image::ALL {
        images::build(image)?;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let skipped = workspace::target().join("skipped");
    File::create(&skipped).with_context(|| format!("failed to create {}", skipped.display()))?;
    let outcome = child::run(
        Command::new(cargo)
            .current_dir(workspace::root())
            .args(["test", "--workspace", "--no-fail-fast"])
            .args(arguments)
            .env(DIST_VARIABLE, dist)
            .env(SKIPPED_VARIABLE, &skipped),
    );
    tell_skipped(&fs::read_to_string(&skipped).context("failed to read what was skipped")?);
    outcome
}

fn tell_skipped(list: &str) {
    let mut reasons = BTreeMap::new();
    for line in list.lines() {
        *reasons.entry(line).or_insert(0_u32) += 1;
    }
    for (reason, tests) in reasons {
        report::say(&format!("test: {tests} not run here: {reason}"));
    }
}
