//! What inner guests are made of: the kernel under test, and an initramfs around one program.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::cpio::Archive;

/// Names a kernel to test instead of the distribution's.
pub const KERNEL_VARIABLE: &str = "DHOW_VMLINUX";

/// The kernel under test: the distribution's, or the one that [`KERNEL_VARIABLE`] names.
///
/// # Errors
/// Where it is no file.
pub fn kernel() -> anyhow::Result<PathBuf> {
    let path = match std::env::var_os(KERNEL_VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => dhow_harness::dist().join("lib/dhow/vmlinux"),
    };
    ensure!(
        path.is_file(),
        "no {}: run `cargo xtask build` first",
        path.display()
    );
    Ok(path)
}

/// An initramfs with nothing in it but this program as PID 1.
///
/// # Errors
/// Where the program cannot be read.
pub fn initramfs(init: &Path) -> anyhow::Result<Vec<u8>> {
    let init = std::fs::read(init).with_context(|| format!("failed to read {}", init.display()))?;
    let mut bytes = Vec::new();
    let mut archive = Archive::new(&mut bytes);
    for folder in ["dev", "proc"] {
        archive.folder(folder)?;
    }
    archive.device("dev/console", 5, 1)?;
    archive.file("init", &init)?;
    archive.finish()?;
    Ok(bytes)
}
