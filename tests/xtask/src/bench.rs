//! `cargo xtask bench`: everything built as users get it, then measured beside its peers.

use std::process::Command;

use anyhow::Result;

use crate::images::Image;
use crate::{child, dist, images, setup, workspace};

/// Names the distribution for programs that start it.
const DIST_VARIABLE: &str = "DHOW_DIST";

/// Images that benchmarks load.
const IMAGES: [Image; 2] = [Image::Busybox, Image::Debian];

/// Prepares, then measures; `arguments` are those of `dhow-bench`.
///
/// # Errors
/// When something is missing, does not build, or the measuring fails. A goal that is not met is a
/// result, not an error.
pub fn run(arguments: &[String]) -> Result<()> {
    setup::run()?;
    let dist = dist::build()?;
    for image in IMAGES {
        images::build(image)?;
    }
    let programs = dist::measuring_programs()?;
    child::run(
        Command::new(programs.join("dhow-bench"))
            .current_dir(workspace::root())
            .args(arguments)
            .env(DIST_VARIABLE, dist),
    )
}
