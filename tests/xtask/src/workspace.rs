//! Where things are: the checkout, its target folder, and the cache that outlives both.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root of the checkout this program was built from.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate lies two folders below the root")
        .to_owned()
}

/// Cargo's target folder: `CARGO_TARGET_DIR`, or `target` in the checkout.
#[must_use]
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// The cache outside the checkout: `DHOW_CACHE`, else `dhow` in `XDG_CACHE_HOME`, else
/// `~/.cache/dhow`. Two checkouts share it, and `git clean` does not cost a kernel.
///
/// # Errors
/// When none of the three variables (the last being `HOME`) says where.
pub fn cache() -> Result<PathBuf> {
    if let Some(folder) = set("DHOW_CACHE") {
        return Ok(folder);
    }
    if let Some(folder) = set("XDG_CACHE_HOME") {
        return Ok(folder.join("dhow"));
    }
    let home = set("HOME").context("no cache folder: set DHOW_CACHE, XDG_CACHE_HOME or HOME")?;
    Ok(home.join(".cache/dhow"))
}

/// A variable's value as an absolute path; the XDG specification says to ignore relative ones.
fn set(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}
