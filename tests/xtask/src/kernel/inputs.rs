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

/// Where a patch may reach: `kernel-config/patches/um/` changes nothing that x86_64 is built from, so
/// that both share one source, and a patch for one does not cost a build of the other.
const PATCHES_UM: &str = "um";
const PATCHED_UM: [&str; 2] = ["arch/um/", "arch/x86/um/"];

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
            patches: patches(&folder.join("patches").join(PATCHES_UM))?,
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
        let mut hash = Sha256::new();
        for text in [
            RECIPE,
            &self.source_version,
            self.arch.name(),
            &self.compiler,
        ] {
            add(&mut hash, text);
        }
        let patches = if self.arch == Arch::Um {
            self.patches.as_slice()
        } else {
            &[]
        };
        for input in self.fragments.iter().chain(patches) {
            add(&mut hash, &input.name);
            add(&mut hash, &input.text);
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
        let mut hash = Sha256::new();
        add(&mut hash, RECIPE);
        add(&mut hash, &self.source_version);
        for patch in &self.patches {
            add(&mut hash, &patch.name);
            add(&mut hash, &patch.text);
        }
        format!("source-{version}-{}", key(hash))
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
    let patches = paths
        .iter()
        .map(|path| read(path))
        .collect::<Result<Vec<_>>>()?;
    for patch in &patches {
        if let Some(path) = strays(&patch.text) {
            bail!("{} changes {path}, which is not UML's alone", patch.name);
        }
    }
    Ok(patches)
}

/// The first file a patch changes outside of what is UML's alone.
fn strays(patch: &str) -> Option<&str> {
    let changed = patch.lines().filter_map(|line| line.strip_prefix("+++ b/"));
    changed
        .map(|path| path.split('\t').next().unwrap_or(path))
        .find(|path| !PATCHED_UM.iter().any(|folder| path.starts_with(folder)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_that_reaches_beyond_uml_is_found() {
        let patch = "--- a/arch/um/a.c\n+++ b/arch/um/a.c\n--- a/net/b.c\n+++ b/net/b.c\n";

        assert_eq!(strays(patch), Some("net/b.c"));
    }

    #[test]
    fn a_patch_of_uml_alone_is_accepted() {
        let patch = "+++ b/arch/um/a.c\n+++ b/arch/x86/um/b.c\n";

        assert_eq!(strays(patch), None);
    }

    #[test]
    fn lists_of_texts_that_join_to_the_same_have_different_keys() {
        let mut first = Sha256::new();
        let mut second = Sha256::new();

        add(&mut first, "ab");
        add(&mut first, "c");
        add(&mut second, "a");
        add(&mut second, "bc");

        assert_ne!(key(first), key(second));
    }
}
