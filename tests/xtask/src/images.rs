//! Test and demo images: built from Debian's packages by the recipes in `images/`, kept in the
//! cache by the hash of the recipes, and laid beside the distribution.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::{child, dist, report, workspace};

/// An image that a recipe builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// A shell and its tools.
    Busybox,
    /// Debian with apt.
    Debian,
    /// Debian with a redis server.
    Redis,
}

impl Image {
    /// Every image.
    pub const ALL: [Self; 3] = [Self::Busybox, Self::Debian, Self::Redis];

    /// The recipe's name, which is also the image's.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Busybox => "busybox",
            Self::Debian => "debian",
            Self::Redis => "redis",
        }
    }
}

/// Builds an image unless the cache has it; returns its archive, `target/dhow/images/NAME.tar`.
///
/// # Errors
/// When the recipe fails, for want of a network perhaps.
pub fn build(image: Image) -> Result<PathBuf> {
    let name = image.name();
    let kept = workspace::cache()?
        .join("images")
        .join(format!("{name}-{}.tar", recipes_hash()?));
    if !kept.is_file() {
        make(name, &kept)?;
    }
    let archive = dist::folder().join("images").join(format!("{name}.tar"));
    dist::place(&kept, &archive)?;
    Ok(archive)
}

/// Runs the recipe into a temporary file, which then takes its place in the cache.
fn make(name: &str, kept: &Path) -> Result<()> {
    report::say(&format!("image {name}: building from Debian's packages"));
    let folder = kept.parent().context("a cached image has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let partial = kept.with_extension(format!("partial-{}", std::process::id()));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    child::run(
        Command::new(cargo)
            .current_dir(workspace::root())
            .args([
                "run",
                "--quiet",
                "--release",
                "--package",
                "dhow-images",
                "--",
            ])
            .args(["build", name, "-o"])
            .arg(&partial),
    )?;
    fs::rename(&partial, kept).with_context(|| format!("failed to create {}", kept.display()))
}

/// What an archive depends on in this checkout: the text of every recipe.
fn recipes_hash() -> Result<String> {
    let mut files = Vec::new();
    collect(&workspace::root().join("images/recipes/src"), &mut files)?;
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let text = fs::read(&file).with_context(|| format!("failed to read {}", file.display()))?;
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    }
    Ok(hash
        .finalize()
        .iter()
        .take(HASH_BYTES)
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Bytes of the hash that name a cached archive.
const HASH_BYTES: usize = 8;

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("failed to list {}", folder.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("failed to list {}", folder.display()))?
            .path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
