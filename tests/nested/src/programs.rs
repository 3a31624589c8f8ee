//! Static builds of this workspace's programs, for guests that have no libraries.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// What a static program is built for; glibc's own target can be linked statically.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds programs of `package` and says where they are, in the order asked for.
///
/// A folder named by `DHOW_STATIC_PROGRAMS` is looked into first, for programs built before.
///
/// # Errors
/// Where the build fails.
pub fn build(package: &str, programs: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    if let Some(built) = prebuilt(programs) {
        return Ok(built);
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .context("this crate lies two folders below the workspace")?;
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--quiet",
            "--release",
            "--target",
            TARGET,
            "--package",
            package,
        ])
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .current_dir(workspace);
    for program in programs {
        command.args(["--bin", program]);
    }
    let status = command.status().context("failed to start cargo")?;
    ensure!(
        status.success(),
        "failed to build static programs of {package}: {status}"
    );
    let folder = target.join(TARGET).join("release");
    Ok(programs
        .iter()
        .map(|program| folder.join(program))
        .collect())
}

fn prebuilt(programs: &[&str]) -> Option<Vec<PathBuf>> {
    let folder = PathBuf::from(env::var_os("DHOW_STATIC_PROGRAMS")?);
    let paths: Vec<_> = programs
        .iter()
        .map(|program| folder.join(program))
        .collect();
    paths.iter().all(|path| path.is_file()).then_some(paths)
}
