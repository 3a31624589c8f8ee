//! A home of a test's own, and the built programs that run in it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, Signal, signal};
use tempfile::TempDir;

use crate::command::{self, Finished, Running};
use crate::processes;

/// How long the processes of a home may take to end once its daemon was told to.
const END_TIMEOUT: Duration = Duration::from_secs(15);

/// The distribution under test: `DHOW_DIST`, or `target/dhow` of this checkout.
///
/// # Panics
/// Where it was not built.
#[must_use]
pub fn dist() -> PathBuf {
    let built = env::var_os("DHOW_DIST").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/dhow"),
        PathBuf::from,
    );
    assert!(
        built.join("bin/dhow").is_file(),
        "no dhow in {}: run `cargo xtask build` first",
        built.display()
    );
    built.canonicalize().expect("it is there")
}

/// The archive of a test image, made by `cargo xtask build`.
///
/// # Panics
/// Where it was not built.
#[must_use]
pub fn image(name: &str) -> PathBuf {
    let archive = dist().join("images").join(format!("{name}.tar"));
    assert!(
        archive.is_file(),
        "no {}: run `cargo xtask build` first",
        archive.display()
    );
    archive
}

/// A temporary `DHOW_HOME`. Dropped, it stops its daemon and fails the test where a process stays.
#[derive(Debug)]
pub struct Home {
    folder: TempDir,
}

impl Home {
    /// An empty home.
    ///
    /// # Panics
    /// Where no temporary folder can be made.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "making one has effects that a default hides"
    )]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("dhow-test-")
            .tempdir()
            .expect("a temporary folder can be made");
        Self { folder }
    }

    /// A home with one image loaded.
    ///
    /// # Panics
    /// Where the image cannot be loaded.
    #[must_use]
    #[track_caller]
    pub fn with_image(name: &str) -> Self {
        let home = Self::new();
        let archive = image(name);
        let _loaded = home
            .dhow(&["load", "-q", "-i", archive.to_str().expect("a text path")])
            .succeed();
        home
    }

    /// The home's folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `DOCKER_HOST` of the home's daemon, as `dhow env` tells it.
    ///
    /// # Panics
    /// Where `dhow env` prints no such line.
    #[must_use]
    #[track_caller]
    pub fn docker_host(&self) -> String {
        let printed = self.dhow(&["env", "--shell", "sh"]).succeed();
        let line = printed
            .stdout
            .lines()
            .find_map(|line| line.split_once("DOCKER_HOST="));
        let (_, value) = line.unwrap_or_else(|| panic!("no DOCKER_HOST in {:?}", printed.stdout));
        value.trim_matches(['"', '\'', ';']).to_owned()
    }

    /// A command of dhow in this home, not yet started.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(dist().join("bin/dhow"));
        command.args(arguments);
        self.settle(&mut command);
        command
    }

    fn settle(&self, command: &mut Command) {
        command
            .env("DHOW_HOME", self.path())
            .env("DOCKER_CONFIG", self.path().join("docker-config"))
            .current_dir(self.path());
        for variable in [
            "DOCKER_HOST",
            "DHOW_LIB",
            "XDG_RUNTIME_DIR",
            "XDG_DATA_HOME",
        ] {
            command.env_remove(variable);
        }
    }

    /// Runs dhow to its end.
    #[must_use]
    #[track_caller]
    pub fn dhow(&self, arguments: &[&str]) -> Finished {
        self.dhow_with_input(arguments, b"")
    }

    /// Runs dhow to its end, feeding it `input`.
    #[must_use]
    #[track_caller]
    pub fn dhow_with_input(&self, arguments: &[&str], input: &[u8]) -> Finished {
        command::run(&mut self.command(arguments), input)
    }

    /// Starts dhow, to be interrupted: tests that run in the background of a shell ignore SIGINT,
    /// which their children would do, too.
    #[must_use]
    #[track_caller]
    pub fn start(&self, arguments: &[&str]) -> Running {
        // SAFETY: no handler is installed; the default action replaces whatever was inherited.
        unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }.expect("SIGINT has a default");
        Running::start(&mut self.command(arguments))
    }

    /// Another program that talks to this home's daemon, not yet started.
    #[must_use]
    #[track_caller]
    pub fn client(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments);
        self.settle(&mut command);
        command.env("DOCKER_HOST", self.docker_host());
        command
    }

    /// Runs the docker CLI against this home's daemon.
    #[must_use]
    #[track_caller]
    pub fn docker(&self, arguments: &[&str]) -> Finished {
        command::run(&mut self.client("docker", arguments), b"")
    }

    /// Ids of this home's processes.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        processes::naming(self.path())
    }

    /// Ids of this home's processes whose command line contains `word`.
    #[must_use]
    pub fn processes_with(&self, word: &str) -> Vec<u32> {
        let mut ids = self.processes();
        ids.retain(|id| processes::command_line(*id).contains(word));
        ids
    }

    /// Waits until no process of this home is left.
    ///
    /// # Panics
    /// With their command lines, where some stay.
    #[track_caller]
    pub fn assert_nothing_runs(&self) {
        let deadline = Instant::now() + END_TIMEOUT;
        let mut left = self.processes();
        while !left.is_empty() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
            left = self.processes();
        }
        let lines: Vec<_> = left.iter().map(|id| processes::command_line(*id)).collect();
        for id in left {
            // They belong to this test alone; gone already is fine.
            let process = nix::unistd::Pid::from_raw(id.cast_signed());
            let _ = nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL);
        }
        assert!(lines.is_empty(), "left behind: {lines:#?}");
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let stopped = command::run(&mut self.command(&["daemon", "stop"]), b"");
        if thread::panicking() {
            self.show_logs();
            for id in self.processes() {
                let process = nix::unistd::Pid::from_raw(id.cast_signed());
                let _ = nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL);
            }
            return;
        }
        let _ = stopped.succeed();
        self.assert_nothing_runs();
    }
}

impl Home {
    /// Prints the ends of the home's logs, for a failed test.
    #[expect(
        clippy::print_stdout,
        reason = "cargo shows a failed test's standard output"
    )]
    fn show_logs(&self) {
        for log in [
            "run/daemon.log",
            "run/machine/owner.log",
            "run/machine/console.log",
        ] {
            if let Ok(text) = std::fs::read_to_string(self.path().join(log)) {
                let tail = text.len().saturating_sub(2000);
                println!("--- {log}\n{}", text.get(tail..).unwrap_or(&text));
            }
        }
    }
}
