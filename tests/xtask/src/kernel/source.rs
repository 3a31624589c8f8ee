//! The kernel's source: Debian's archive unpacked without what no guest kernel is built from, and
//! our patches applied. Appears by rename, is then only read.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::inputs::{Input, Inputs, SOURCE_ARCHIVE};
use crate::report::Progress;
use crate::{child, report};

/// Left in the archive: documentation, and the code of hardware that no machine of ours has. The
/// `Kconfig` files of the same folders are needed, and stay.
const LEFT_OUT: [&str; 14] = [
    "*/Documentation/*.rst",
    "*/Documentation/*.yaml",
    "*/Documentation/*.txt",
    "*/drivers/gpu/*.[ch]",
    "*/drivers/infiniband/*.[ch]",
    "*/drivers/media/*.[ch]",
    "*/drivers/net/ethernet/*.[ch]",
    "*/drivers/net/wireless/*.[ch]",
    "*/drivers/scsi/*.[ch]",
    "*/drivers/staging/*.[ch]",
    "*/drivers/usb/*.[ch]",
    "*/sound/*.[ch]",
    "*/arch/*.dts*",
    "*/tools/testing/*",
];

/// Returns the folder of the source these inputs name, unpacking it if need be.
pub(super) fn prepare(folder: &Path, inputs: &Inputs) -> Result<PathBuf> {
    let source = folder.join(inputs.source_name());
    let _lock = super::lock(folder, "source")?;
    if source.is_dir() {
        return Ok(source);
    }
    let progress = Progress::start("source");
    report::say(&format!("source: unpacking {SOURCE_ARCHIVE}"));
    let partial = folder.join("source.partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)
            .with_context(|| format!("failed to clear {}", partial.display()))?;
    }
    fs::create_dir(&partial).with_context(|| format!("failed to create {}", partial.display()))?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--strip-components=1", "--wildcards"]);
    tar.args(LEFT_OUT.map(|pattern| format!("--exclude={pattern}")));
    child::run(
        tar.arg("--file")
            .arg(SOURCE_ARCHIVE)
            .arg("--directory")
            .arg(&partial),
    )?;
    for patch in inputs.patches() {
        apply(&partial, patch)?;
    }
    fs::rename(&partial, &source)
        .with_context(|| format!("failed to create {}", source.display()))?;
    progress.finish("unpacked and patched");
    Ok(source)
}

/// Applies one patch exactly: where the source moved, a person must look.
fn apply(source: &Path, patch: &Input) -> Result<()> {
    let mut child = Command::new("patch")
        .args(["--strip=1", "--fuzz=0", "--forward", "--silent"])
        .current_dir(source)
        .stdin(Stdio::piped())
        .spawn()
        .context("failed to start patch")?;
    let mut stdin = child.stdin.take().context("patch has no standard input")?;
    stdin
        .write_all(patch.text.as_bytes())
        .with_context(|| format!("failed to hand {} to patch", patch.name))?;
    drop(stdin);
    let status = child.wait().context("failed to wait for patch")?;
    if !status.success() {
        bail!("{} does not apply to this source", patch.name);
    }
    Ok(())
}
