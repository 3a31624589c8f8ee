//! An outer guest: put together, run within a bound of time, its results read.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::cpio::Archive;
use crate::steps::{Outcome, PREFIX, STEPS_PATH, Step, parse_line};
use crate::{debian, programs};

/// Memory of the outer guest.
const MEMORY: &str = "2G";
/// Lines of the serial output that a failure shows.
const TAIL_LINES: usize = 60;
/// How long QEMU may take to leave after the guest said that it was done.
const LEAVE_LIMIT: Duration = Duration::from_secs(20);

/// How long a guest may take to come up, of which it needs some five seconds.
const UP_LIMIT: Duration = Duration::from_secs(60);
/// How often a guest that does not come up is tried.
const MAX_ATTEMPTS: usize = 3;

/// What an outer guest holds and does.
#[derive(Debug, Default)]
pub struct Outer {
    files: Vec<(String, Contents)>,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Contents {
    Bytes(Vec<u8>),
    Copy(PathBuf),
    Link(String),
}

/// How a run went.
#[derive(Debug, Default)]
pub struct Report {
    /// Each step that was begun, in order.
    pub outcomes: Vec<Outcome>,
    /// Every line of the serial line.
    pub serial: Vec<String>,
}

impl Report {
    /// The last lines of the serial line, for a failure's message.
    #[must_use]
    pub fn tail(&self) -> String {
        let from = self.serial.len().saturating_sub(TAIL_LINES);
        self.serial[from..].join("\n")
    }

    /// What went wrong, one line each.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        self.outcomes
            .iter()
            .filter_map(|outcome| {
                let failure = outcome.failure.as_ref()?;
                Some(format!("{}: {failure}", outcome.name))
            })
            .collect()
    }
}

impl Outer {
    /// An outer guest with nothing in it but its PID 1.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a copy of a host's file at `path`, executable.
    #[must_use]
    pub fn copy(mut self, path: &str, from: &Path) -> Self {
        self.files
            .push((relative(path), Contents::Copy(from.to_owned())));
        self
    }

    /// Puts a file with these contents at `path`, executable.
    #[must_use]
    pub fn file(mut self, path: &str, contents: &[u8]) -> Self {
        self.files
            .push((relative(path), Contents::Bytes(contents.to_owned())));
        self
    }

    /// Puts a symbolic link at `path`.
    #[must_use]
    pub fn link(mut self, path: &str, target: &str) -> Self {
        self.files
            .push((relative(path), Contents::Link(target.to_owned())));
        self
    }

    /// Adds something to run.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Boots the guest and runs the steps; `limit` bounds it all.
    ///
    /// # Errors
    /// Where the guest cannot be made, does not finish in time, or skips a step. Steps that ran and
    /// failed are in the report.
    pub fn run(self, limit: Duration) -> anyhow::Result<Report> {
        let kernel = debian::outer_kernel()?;
        let folder = debian::cache()?.join(format!("run.{}", std::process::id()));
        fs::create_dir_all(&folder)
            .with_context(|| format!("failed to make {}", folder.display()))?;
        let initramfs = folder.join("outer.cpio");
        let result = self
            .write(&initramfs, &kernel.modules)
            .and_then(|()| run_qemu(&kernel.image, &initramfs, limit));
        fs::remove_dir_all(&folder)
            .with_context(|| format!("failed to remove {}", folder.display()))?;
        let report = result?;
        let begun: BTreeSet<_> = report
            .outcomes
            .iter()
            .map(|outcome| &outcome.name)
            .collect();
        if let Some(skipped) = self.steps.iter().find(|step| !begun.contains(&step.name)) {
            bail!(
                "the outer guest never ran {}; its serial line ends:\n{}",
                skipped.name,
                report.tail()
            );
        }
        Ok(report)
    }

    fn write(&self, path: &Path, modules: &[PathBuf]) -> anyhow::Result<()> {
        let init = programs::build("dhow-nested-tests", &["dhow-nested-outer"])?;
        let mut archive = Archive::create(path)
            .with_context(|| format!("failed to create {}", path.display()))?;
        let mut folders = BTreeSet::new();
        for folder in ["dev", "proc", "sys", "tmp", "run", "modules", "root"] {
            add_folder(&mut archive, &mut folders, folder)?;
        }
        archive.device("dev/console", 5, 1)?;
        archive.file("init", &read(&init[0])?)?;
        archive.file(STEPS_PATH, &serde_json::to_vec(&self.steps)?)?;
        for (index, module) in modules.iter().enumerate() {
            archive.file(&format!("modules/{index}.ko"), &read(module)?)?;
        }
        for (name, contents) in &self.files {
            if let Some((parent, _)) = name.rsplit_once('/') {
                add_folder(&mut archive, &mut folders, parent)?;
            }
            match contents {
                Contents::Bytes(bytes) => archive.file(name, bytes)?,
                Contents::Copy(from) => archive.file(name, &read(from)?)?,
                Contents::Link(target) => archive.link(name, target)?,
            }
        }
        archive
            .finish()
            .context("failed to finish the outer initramfs")
    }
}

fn relative(path: &str) -> String {
    path.trim_start_matches('/').to_owned()
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("failed to read {}", path.display()))
}

/// Adds a folder and those it lies in, once each.
fn add_folder(
    archive: &mut Archive<std::io::BufWriter<File>>,
    known: &mut BTreeSet<String>,
    folder: &str,
) -> anyhow::Result<()> {
    let mut path = String::new();
    for part in folder.split('/') {
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(part);
        if known.insert(path.clone()) {
            archive.folder(&path)?;
        }
    }
    Ok(())
}

/// A child that does not outlive us.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Runs the guest; one that never comes up is started again.
///
/// On a busy host the emulation now and then hangs before the guest's kernel says a word.
fn run_qemu(kernel: &Path, initramfs: &Path, limit: Duration) -> anyhow::Result<Report> {
    let deadline = Instant::now() + limit;
    for _attempt in 0..MAX_ATTEMPTS {
        if let Some(report) = run_once(kernel, initramfs, deadline)? {
            return Ok(report);
        }
    }
    bail!("the outer guest did not come up in {MAX_ATTEMPTS} attempts")
}

fn run_once(kernel: &Path, initramfs: &Path, deadline: Instant) -> anyhow::Result<Option<Report>> {
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args([
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "EPYC,+svm,+npt",
            "-smp",
            "2",
            "-m",
            MEMORY,
        ])
        .args([
            "-nographic",
            "-no-reboot",
            "-nodefaults",
            "-serial",
            "stdio",
        ])
        .args([
            "-append",
            "console=ttyS0 quiet loglevel=3 panic=-1 kvm_amd.nested=0",
        ])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command
        .spawn()
        .context("failed to start qemu-system-x86_64; `apt-get install qemu-system-x86` has it")?;
    let mut child = Killed(child);
    let (sender, lines) = mpsc::channel();
    let output = child
        .0
        .stdout
        .take()
        .context("QEMU was started with a pipe")?;
    read_lines(output, sender.clone());
    // QEMU's own words: of use only when something went wrong.
    let errors = child
        .0
        .stderr
        .take()
        .context("QEMU was started with a pipe")?;
    read_lines(errors, sender);
    follow(&lines, deadline)
}

/// Sends each line of `output` on, from a thread of its own.
fn read_lines(output: impl Read + Send + 'static, sender: mpsc::Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
}

/// Reads the serial line until QEMU leaves; nothing where the guest never came up.
fn follow(lines: &mpsc::Receiver<String>, deadline: Instant) -> anyhow::Result<Option<Report>> {
    let verbose = std::env::var_os("DHOW_NESTED_VERBOSE").is_some();
    let (up, done) = (format!("{PREFIX}up"), format!("{PREFIX}done"));
    let mut report = Report::default();
    let mut until = deadline.min(Instant::now() + UP_LIMIT);
    let mut came_up = false;
    loop {
        match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if verbose {
                    println_line(&line);
                }
                if line.contains(&up) {
                    came_up = true;
                    until = deadline;
                } else if line.contains(&done) {
                    until = Instant::now() + LEAVE_LIMIT;
                }
                report.outcomes.extend(parse_line(&line));
                report.serial.push(line);
            }
            Err(mpsc::RecvTimeoutError::Disconnected) if came_up => return Ok(Some(report)),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                bail!(
                    "QEMU left before the outer guest was up:\n{}",
                    report.tail()
                )
            }
            Err(mpsc::RecvTimeoutError::Timeout) if !came_up => return Ok(None),
            Err(mpsc::RecvTimeoutError::Timeout) => bail!(
                "the outer guest did not finish in time; its serial line ends:\n{}",
                report.tail()
            ),
        }
    }
}

#[expect(clippy::print_stdout, reason = "asked for with DHOW_NESTED_VERBOSE")]
fn println_line(line: &str) {
    println!("{line}");
}
