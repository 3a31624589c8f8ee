//! `cargo xtask build`: what a user gets, laid out as a user gets it.
//!
//! ```text
//! target/dhow/bin/dhow                      the host's one command, static
//! target/dhow/lib/dhow/linux                kernel for the UML engine
//! target/dhow/lib/dhow/vmlinux              kernel for the KVM and QEMU engines
//! target/dhow/lib/dhow/agent                the guest agent, static
//! target/dhow/lib/dhow/initramfs.cpio       the agent as /init; see images/initramfs/README.md
//! ```
//!
//! Every file appears by rename, so that a running `dhow` never sees half of one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cpio::Archive;
use crate::kernel::{self, Arch};
use crate::{child, report, workspace};

/// The only target at hand everywhere: glibc, linked statically.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Links libc into the binary; the guest has none, and the host's version must not matter.
const STATIC_FLAGS: &str = "-C target-feature=+crt-static";

/// The profile in the workspace's Cargo.toml that users' binaries are built with.
const PROFILE: &str = "dist";

/// Directories of the initramfs: mount points, and where the agent keeps what runs.
const DIRECTORIES: [&str; 6] = ["data", "dev", "proc", "run", "sys", "tmp"];

/// The console's device number; the kernel opens it for /init before anything could create it.
const CONSOLE: (u32, u32) = (5, 1);

/// Builds everything and prints where it lies.
///
/// # Errors
/// When a part does not build.
pub fn run() -> Result<()> {
    report::result(&build()?.display().to_string());
    Ok(())
}

/// Where the distribution is put.
#[must_use]
pub fn folder() -> PathBuf {
    workspace::target().join("dhow")
}

/// Builds the kernels and binaries and lays them out; returns [`folder`].
///
/// # Errors
/// When a part does not build.
pub fn build() -> Result<PathBuf> {
    let kernels = Arch::ALL.map(|arch| kernel::build(arch).map(|built| (arch, built)));
    binaries()?;
    let built = workspace::target().join(TARGET).join(PROFILE);
    let folder = folder();
    let library = folder.join("lib/dhow");
    place(&built.join("dhow"), &folder.join("bin/dhow"))?;
    let agent = built.join("dhow-agent");
    place(&agent, &library.join("agent"))?;
    for kernel in kernels {
        let (arch, kernel) = kernel?;
        place(&kernel.image, &library.join(arch.image()))?;
    }
    let contents =
        fs::read(&agent).with_context(|| format!("failed to read {}", agent.display()))?;
    let archive = initramfs(&contents).context("failed to write the initramfs")?;
    replace(&library.join("initramfs.cpio"), |partial| {
        fs::write(partial, &archive)
    })?;
    Ok(folder)
}

/// The initramfs around an agent.
///
/// # Errors
/// When the agent is too large for the format.
pub fn initramfs(agent: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut archive = Archive::new(Vec::new());
    for directory in DIRECTORIES {
        archive.directory(directory, 0o755)?;
    }
    archive.character_device("dev/console", 0o600, CONSOLE)?;
    archive.file("init", 0o755, agent)?;
    archive.finish()
}

/// Builds the two binaries that ship.
fn binaries() -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    child::run(
        Command::new(cargo)
            .current_dir(workspace::root())
            .args(["build", "--profile", PROFILE, "--target", TARGET])
            .args(["--package", "dhow-cli", "--bin", "dhow"])
            .args(["--package", "dhow-agent", "--bin", "dhow-agent"])
            .env("RUSTFLAGS", STATIC_FLAGS),
    )
}

/// Builds the programs that measure, static as the one among them that runs in guests must be;
/// returns their folder. Not with the users' profile: what they measure is elsewhere.
///
/// # Errors
/// When they do not build.
pub(crate) fn measuring_programs() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    child::run(
        Command::new(cargo)
            .current_dir(workspace::root())
            .args(["build", "--release", "--target", TARGET])
            .args(["--package", "dhow-perf"])
            .env("RUSTFLAGS", STATIC_FLAGS),
    )?;
    Ok(workspace::target().join(TARGET).join("release"))
}

/// Puts a copy of `from` at `to`; a hard link where that is possible, as the cache's files and
/// cargo's are replaced, never written to.
///
/// # Errors
/// When the file cannot be linked or copied.
pub(crate) fn place(from: &Path, to: &Path) -> Result<()> {
    replace(to, |partial| {
        fs::hard_link(from, partial).or_else(|_| fs::copy(from, partial).map(|_| ()))
    })
    .with_context(|| format!("failed to take over {}", from.display()))
}

/// Lets `write` create a file beside `to`, which then takes its place.
fn replace(to: &Path, write: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<()> {
    let folder = to
        .parent()
        .context("a file in the distribution has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let partial = to.with_extension(format!("partial-{}", std::process::id()));
    // What another process of the same number left behind.
    let _ = fs::remove_file(&partial);
    write(&partial).with_context(|| format!("failed to write {}", partial.display()))?;
    fs::rename(&partial, to).with_context(|| format!("failed to create {}", to.display()))?;
    // rename() does nothing when both names are already the same file, and leaves both.
    let _ = fs::remove_file(&partial);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initramfs_depends_on_the_agent_only() {
        let first = initramfs(b"agent").expect("an archive");
        let second = initramfs(b"agent").expect("an archive");

        assert_eq!(first, second);
        assert_ne!(first, initramfs(b"other").expect("an archive"));
    }

    #[test]
    fn placing_a_file_twice_leaves_one_file_with_the_new_contents() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("lib/to"));
        fs::write(&from, "old").expect("a file");
        place(&from, &to).expect("placed");
        fs::remove_file(&from).expect("removed");
        fs::write(&from, "new").expect("a file");

        place(&from, &to).expect("placed");
        place(&from, &to).expect("placed again");

        let names = fs::read_dir(folder.path().join("lib"))
            .expect("a folder")
            .count();
        assert_eq!(fs::read_to_string(&to).expect("a file"), "new");
        assert_eq!(names, 1);
    }
}
