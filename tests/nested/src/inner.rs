//! What inner guests are made of: the kernel under test, and an initramfs around one program.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cpio::Archive;

/// Names the kernel under test.
pub const KERNEL_VARIABLE: &str = "DHOW_VMLINUX";

/// The kernel under test.
///
/// # Errors
/// Where the variable does not name one.
pub fn kernel() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os(KERNEL_VARIABLE).with_context(|| {
        format!("{KERNEL_VARIABLE} must name an x86_64 vmlinux; `cargo xtask kernel` builds one")
    })?;
    Ok(PathBuf::from(path))
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
