//! Everything a kernel is made of, and the hash that names the result: fragments, patches, the
//! version of Debian's source package, and the compiler. Nothing else may influence a build.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::Arch;
use crate::{child, setup, workspace};

/// Debian's source package.
pub(super) const SOURCE_PACKAGE: &str = "linux-source-6.12";

/// What it installs.
pub(super) const SOURCE_ARCHIVE: &str = "/usr/src/linux-source-6.12.tar.xz";

/// Changed by hand when the way of building changes in a manner that no input shows.
const RECIPE: &str = "1";

/// How much of the hash is in a folder's name.
const KEY_BYTES: usize = 8;

/// Fragments every architecture shares, in the order they are joined; the architecture's own is last.
const SHARED_FRAGMENTS: [&str; 5] = ["base", "containers", "network", "storage", "virtio"];

/// A file's name and text.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) text: String,
}

/// One kernel's inputs, read once.
#[derive(Debug)]
pub(super) struct Inputs {
    arch: Arch,
    fragments: Vec<Input>,
    patches: Vec<Input>,
    source_version: String,
    compiler: String,
}

impl Inputs {
    /// Reads the checkout's fragments and patches and asks for the versions.
    pub(super) fn read(arch: Arch) -> Result<Self> {
        let folder = workspace::root().join("kernel-config");
        let mut fragments = Vec::new();
        for name in SHARED_FRAGMENTS.iter().chain([&arch.name()]) {
            fragments.push(read(&folder.join(format!("{name}.config")))?);
        }
        Ok(Self {
            arch,
            fragments,
            patches: patches(&folder.join("patches"))?,
            source_version: source_version()?,
            compiler: compiler()?,
        })
    }

    pub(super) fn arch(&self) -> Arch {
        self.arch
    }

    pub(super) fn fragments(&self) -> &[Input] {
        &self.fragments
    }

    pub(super) fn patches(&self) -> &[Input] {
        &self.patches
    }

    /// The name of the finished build: architecture and hash.
    pub(super) fn name(&self) -> String {
        let mut hash = self.source_hash();
        for text in [self.arch.name(), &self.compiler] {
            add(&mut hash, text);
        }
        for fragment in &self.fragments {
            add(&mut hash, &fragment.name);
            add(&mut hash, &fragment.text);
        }
        format!("{}-{}", self.arch.name(), key(hash))
    }

    /// The name of the unpacked, patched source, which architectures share.
    pub(super) fn source_name(&self) -> String {
        // A package version may contain `~` and `:`, and make cannot stand the latter in a path.
        let version = self
            .source_version
            .split(['~', ':'])
            .next()
            .unwrap_or_default();
        format!("source-{version}-{}", key(self.source_hash()))
    }

    fn source_hash(&self) -> Sha256 {
        let mut hash = Sha256::new();
        add(&mut hash, RECIPE);
        add(&mut hash, &self.source_version);
        for patch in &self.patches {
            add(&mut hash, &patch.name);
            add(&mut hash, &patch.text);
        }
        hash
    }
}

/// Adds a text with its length, so that no two lists of texts look the same.
fn add(hash: &mut Sha256, text: &str) {
    hash.update(text.len().to_le_bytes());
    hash.update(text);
}

fn key(hash: Sha256) -> String {
    hash.finalize()[..KEY_BYTES]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn read(path: &Path) -> Result<Input> {
    let text =
        fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Ok(Input { name, text })
}

/// The patches in the order of their names.
fn patches(folder: &Path) -> Result<Vec<Input>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("failed to list {}", folder.display()))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("failed to list {}", folder.display()))?;
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "patch")
    });
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn source_version() -> Result<String> {
    if !Path::new(SOURCE_ARCHIVE).exists() {
        bail!(
            "{SOURCE_ARCHIVE} is missing\nhint: {}",
            setup::install_line(&[SOURCE_PACKAGE])
        );
    }
    child::output(Command::new("dpkg-query").args(["-W", "-f=${Version}", SOURCE_PACKAGE]))
}

/// Compiler and linker, as they name themselves.
fn compiler() -> Result<String> {
    let mut versions = String::new();
    for program in ["gcc", "ld"] {
        let text = child::output(Command::new(program).arg("--version")).with_context(|| {
            format!(
                "hint: {}",
                setup::install_line(&["gcc", "libc6-dev", "make"])
            )
        })?;
        versions.push_str(text.lines().next().unwrap_or_default());
        versions.push('\n');
    }
    Ok(versions)
}
