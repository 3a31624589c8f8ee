//! `cargo xtask test`: everything, from a machine with nothing but Rust to the last test. The
//! workspace's tests find the distribution through `DHOW_DIST`.

use std::process::Command;

use anyhow::Result;

use crate::images::Image;
use crate::{child, dist, images, setup, workspace};

/// Names the distribution for tests that boot machines.
const DIST_VARIABLE: &str = "DHOW_DIST";

/// Prepares, then runs the tests. cargo's own output, which says what passed and failed, comes last.
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
    child::run(
        Command::new(cargo)
            .current_dir(workspace::root())
            .args(["test", "--workspace", "--no-fail-fast"])
            .args(arguments)
            .env(DIST_VARIABLE, dist),
    )
}
