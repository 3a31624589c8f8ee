//! Podman with runc, on the bare host: containers without any virtual machine.
//!
//! Storage and state lie in a temporary folder, so that nothing of the user's is read or changed.
//! Cgroups are managed directly and no resource limits are raised, for podman refuses to start
//! containers where it lacks `CAP_SYS_RESOURCE` or systemd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use tempfile::TempDir;

use crate::stage;

/// Keeps podman from raising limits, which takes a capability that a locked-down host withholds.
const CONFIGURATION: &str = "[containers]\ndefault_ulimits = []\n";

/// Podman with storage of its own.
#[derive(Debug)]
pub struct Podman {
    folder: TempDir,
}

impl Podman {
    /// Podman with empty storage.
    ///
    /// # Errors
    /// Where podman is not installed, or its folder cannot be made.
    pub fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("dhow-podman-").tempdir()?;
        let podman = Self { folder };
        fs::write(podman.configuration(), CONFIGURATION)?;
        stage::output(&mut podman.command(&["--version"]))
            .context("`apt-get install podman runc` may help")?;
        Ok(podman)
    }

    /// Podman with one image.
    ///
    /// # Errors
    /// As [`new`](Self::new), and where the image cannot be loaded.
    pub fn with_image(archive: &Path) -> anyhow::Result<Self> {
        let podman = Self::new()?;
        podman.load(archive)?;
        Ok(podman)
    }

    /// Loads an archive; returns the seconds it took.
    ///
    /// # Errors
    /// Where podman fails.
    pub fn load(&self, archive: &Path) -> anyhow::Result<f64> {
        stage::time(&mut self.command(&["load", "-q", "-i", stage::text(archive)?]))
    }

    /// Pulls an image; returns the seconds it took.
    ///
    /// # Errors
    /// Where podman fails.
    pub fn pull(&self, name: &str) -> anyhow::Result<f64> {
        stage::time(&mut self.command(&["pull", "-q", "--tls-verify=false", name]))
    }

    /// Runs `true` in a container that is removed at its end; returns the seconds it took.
    ///
    /// # Errors
    /// Where podman fails.
    pub fn run_true(&self, image: &str) -> anyhow::Result<f64> {
        let arguments = ["run", "--rm", "--network", "none", image, "true"];
        stage::time(&mut self.command(&arguments))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("podman");
        command
            .arg("--root")
            .arg(self.folder.path().join("storage"))
            .arg("--runroot")
            .arg(self.folder.path().join("run"))
            .args(["--cgroup-manager", "cgroupfs"])
            .args(["--runtime", "runc"])
            .args(["--events-backend", "none"])
            .args(arguments)
            .env("CONTAINERS_CONF", self.configuration());
        command
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("containers.conf")
    }
}
