//! What benchmarks run on: homes of dhow, timed commands, the program that makes traffic.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use dhow_harness::Home;

/// The image that holds [`traffic_program`] and nothing else.
pub const TRAFFIC_IMAGE: &str = "traffic";

/// Where it lies in that image.
pub const TRAFFIC_PATH: &str = "/dhow-traffic";

/// A file of the distribution under test.
///
/// # Panics
/// Where nothing was built.
#[must_use]
pub fn distributed(path: &str) -> PathBuf {
    dhow_harness::dist().join(path)
}

/// dhow in a home of its own, on the engine that needs no KVM. Dropped, it stops its daemon.
#[derive(Debug)]
pub struct Dhow {
    home: Home,
}

impl Dhow {
    /// dhow in an empty home.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "making one has effects that a default hides"
    )]
    pub fn new() -> Self {
        Self { home: Home::new() }
    }

    /// dhow in a home with one image of the distribution.
    ///
    /// # Errors
    /// Where it cannot be loaded.
    pub fn with_image(name: &str) -> anyhow::Result<Self> {
        let dhow = Self::new();
        dhow.load(&dhow_harness::image(name))?;
        Ok(dhow)
    }

    /// dhow in a home with [`TRAFFIC_IMAGE`].
    ///
    /// # Errors
    /// Where it cannot be made or imported.
    pub fn with_traffic() -> anyhow::Result<Self> {
        let dhow = Self::new();
        let archive = dhow.home.path().join("traffic.tar");
        let mut builder = tar::Builder::new(File::create(&archive)?);
        builder
            .append_path_with_name(traffic_program()?, TRAFFIC_PATH.trim_start_matches('/'))
            .context("failed to pack the traffic program")?;
        builder.into_inner()?.sync_all()?;
        dhow.run(&["import", text(&archive)?, TRAFFIC_IMAGE])?;
        Ok(dhow)
    }

    /// Loads an archive; returns the seconds it took.
    ///
    /// # Errors
    /// Where dhow fails.
    pub fn load(&self, archive: &Path) -> anyhow::Result<f64> {
        time(&mut self.command(&["load", "-q", "-i", text(archive)?]))
    }

    /// A command, not yet started.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.command(arguments);
        command.env("DHOW_ENGINE", "uml");
        command
    }

    /// Runs a command; returns what it printed.
    ///
    /// # Errors
    /// Where it fails.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        output(&mut self.command(arguments))
    }

    /// Runs a command; returns the seconds it took.
    ///
    /// # Errors
    /// Where it fails.
    pub fn time(&self, arguments: &[&str]) -> anyhow::Result<f64> {
        time(&mut self.command(arguments))
    }

    /// Stops the daemon and with it the machine, and waits until no process is left.
    ///
    /// # Errors
    /// Where it cannot be stopped.
    pub fn rest(&self) -> anyhow::Result<()> {
        self.run(&["daemon", "stop"])?;
        self.home.assert_nothing_runs();
        Ok(())
    }

    /// Ids of its processes whose command line contains `words`.
    #[must_use]
    pub fn processes(&self, words: &str) -> Vec<u32> {
        self.home.processes_with(words)
    }
}

/// Runs a command; returns the seconds it took, from before its start to after its end.
///
/// # Errors
/// Where it fails.
pub fn time(command: &mut Command) -> anyhow::Result<f64> {
    let begin = Instant::now();
    output(command)?;
    Ok(begin.elapsed().as_secs_f64())
}

/// Runs a command without input; returns what it printed.
///
/// # Errors
/// Where it fails, with what it said.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to start {program}"))?;
    ensure!(
        output.status.success(),
        "{program} failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `dhow-traffic`, which was built beside this program.
///
/// # Errors
/// Where it was not.
pub fn traffic_program() -> anyhow::Result<PathBuf> {
    let ours = std::env::current_exe().context("failed to find this program")?;
    let program = ours.with_file_name("dhow-traffic");
    ensure!(
        program.is_file(),
        "no {}: run `cargo xtask bench`",
        program.display()
    );
    Ok(program)
}

/// A path as an argument.
///
/// # Errors
/// Where it is not UTF-8.
pub fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is no text", path.display()))
}
