//! Running the kernel's own make, with a count of compiled files instead of a thousand lines. The
//! lines go to a log beside the build; its end is shown when something fails.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::Arch;
use crate::report::{self, Progress};

/// How many lines of the log a failure shows.
const LOG_TAIL_LINES: usize = 30;

/// Who and when `uname -v` names: the same for everybody, so that equal inputs give equal files.
const BUILD_IDENTITY: [(&str, &str); 3] = [
    ("KBUILD_BUILD_USER", "dhow"),
    ("KBUILD_BUILD_HOST", "dhow"),
    ("KBUILD_BUILD_TIMESTAMP", "1970-01-01"),
];

/// make, told about the source, the build folder and the architecture.
pub(super) fn command(source: &Path, build: &Path, arch: Arch) -> Command {
    let mut command = Command::new("make");
    command.current_dir(source);
    // A jobserver of the cargo above us, or anybody's flags, are not meant for this make.
    for variable in [
        "MAKEFLAGS",
        "MFLAGS",
        "CARGO_MAKEFLAGS",
        "KCFLAGS",
        "CROSS_COMPILE",
        "CC",
    ] {
        command.env_remove(variable);
    }
    command.envs(BUILD_IDENTITY);
    // The same messages, sort order and so on for everybody.
    command.env("LC_ALL", "C");
    command.arg(format!("O={}", build.display()));
    // For um, SUBARCH says what it runs on; without it allnoconfig would choose 32 bits.
    command.args([&format!("ARCH={}", arch.name()), "SUBARCH=x86_64"]);
    command
}

/// Builds the file that boots.
pub(super) fn image(source: &Path, build: &Path, arch: Arch) -> Result<()> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let log_path = build.join("build.log");
    let mut log = File::create(&log_path)
        .with_context(|| format!("failed to create {}", log_path.display()))?;
    let errors = log.try_clone().context("failed to share the log")?;
    report::say(&format!(
        "{}: building with {jobs} jobs, log in {}",
        arch.name(),
        log_path.display()
    ));
    let mut progress = Progress::start(arch.name());
    let mut child = command(source, build, arch)
        .args([&format!("--jobs={jobs}"), arch.image()])
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .context("failed to start make")?;
    let stdout = child.stdout.take().context("make has no standard output")?;
    let mut compiled = 0_usize;
    for line in BufReader::new(stdout).lines() {
        let line = line.context("failed to read what make says")?;
        writeln!(log, "{line}").context("failed to write the log")?;
        if is_compilation(&line) {
            compiled += 1;
            progress.show(&format!("{compiled} files compiled"));
        }
    }
    let status = child.wait().context("failed to wait for make")?;
    if !status.success() {
        show_end(&log_path);
        bail!(
            "the {} kernel did not build ({status}); see {}",
            arch.name(),
            log_path.display()
        );
    }
    progress.finish(&format!("{compiled} files compiled"));
    Ok(())
}

/// Whether a line of make's output announces that a file is compiled or assembled.
fn is_compilation(line: &str) -> bool {
    matches!(line.split_whitespace().next(), Some("CC" | "AS"))
}

/// Shows where the build stopped.
fn show_end(log: &Path) {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.len().saturating_sub(LOG_TAIL_LINES);
    for line in &lines[start..] {
        report::say(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_compiled_and_assembled_files_only() {
        assert!(is_compilation("  CC      mm/fadvise.o"));
        assert!(is_compilation("  AS      arch/x86/entry/entry.o"));
        assert!(!is_compilation("  AR      mm/built-in.a"));
        assert!(!is_compilation("make[1]: Entering directory '/cache'"));
    }
}
