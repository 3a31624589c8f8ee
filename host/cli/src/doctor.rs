//! What this computer can do for dhow, found out without a daemon.
//!
//! [`examine`] is the list; each check is a function that returns one finding, with the exact fix
//! where something is wrong. Findings about engines belong to `host/machine`, which knows how to
//! try them; here they are only put into the list.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::daemon_start;
use crate::paths::{self, Paths};

/// How good a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As it should be.
    Fine,
    /// Works, with something missing.
    Limited,
    /// Keeps containers from running.
    Broken,
}

/// Something that was looked at.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    /// What was looked at.
    pub(crate) subject: &'static str,
    /// How good it is.
    pub(crate) verdict: Verdict,
    /// What was seen.
    pub(crate) says: String,
    /// What to do about it: a command, or as close to one as can be.
    pub(crate) fix: Option<String>,
}

impl Finding {
    fn fine(subject: &'static str, says: impl Into<String>) -> Self {
        Self {
            subject,
            verdict: Verdict::Fine,
            says: says.into(),
            fix: None,
        }
    }

    fn broken(subject: &'static str, says: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            subject,
            verdict: Verdict::Broken,
            says: says.into(),
            fix: Some(fix.into()),
        }
    }

    fn limited(subject: &'static str, says: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            subject,
            verdict: Verdict::Limited,
            says: says.into(),
            fix: Some(fix.into()),
        }
    }
}

/// Looks at everything.
pub(crate) fn examine() -> Vec<Finding> {
    let mut findings = match Paths::prepare() {
        Ok(paths) => vec![home(&paths), daemon(&paths)],
        Err(error) => vec![Finding::broken(
            "home",
            format!("{error:#}"),
            "set DHOW_HOME to a folder you can write to",
        )],
    };
    findings.extend(engines());
    findings
}

fn home(paths: &Paths) -> Finding {
    let probe = paths.home.join(".doctor");
    let written = File::create(&probe).and_then(|_| fs::remove_file(&probe));
    match written {
        Ok(()) => Finding::fine(
            "home",
            format!(
                "{} (sockets in {})",
                paths.home.display(),
                paths.run.display()
            ),
        ),
        Err(error) => Finding::broken(
            "home",
            format!("{} cannot be written to: {error}", paths.home.display()),
            format!(
                "chown -R \"$USER\" {}, or set DHOW_HOME",
                paths.home.display()
            ),
        ),
    }
}

fn daemon(paths: &Paths) -> Finding {
    if daemon_start::is_running(paths) {
        Finding::fine("daemon", format!("answers on {}", paths.socket().display()))
    } else {
        Finding::fine("daemon", "does not run; it starts by itself when needed")
    }
}

/// Each engine: usable, or why not.
fn engines() -> Vec<Finding> {
    match paths::library() {
        Ok(library) => vec![kvm(Path::new("/dev/kvm"), &library), uml(&library)],
        Err(error) => vec![Finding::broken(
            "engines",
            format!("{error:#}"),
            "set DHOW_LIB to the folder with vmlinux, linux and initramfs.cpio",
        )],
    }
}

fn kvm(device: &Path, library: &Path) -> Finding {
    const SUBJECT: &str = "engine kvm";
    match File::options().read(true).write(true).open(device) {
        Ok(_) => installed(SUBJECT, library, "vmlinux", "the device opens"),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Finding::limited(
            SUBJECT,
            format!("{} may not be opened by you", device.display()),
            "sudo usermod -aG kvm \"$USER\", then log in again",
        ),
        Err(error) => Finding::limited(
            SUBJECT,
            format!("{}: {error}", device.display()),
            "switch virtualisation on in the firmware, or use the uml engine, which needs none",
        ),
    }
}

fn uml(library: &Path) -> Finding {
    installed(
        "engine uml",
        library,
        "linux",
        "needs no device and no rights",
    )
}

/// Whether an engine's files were installed with us.
fn installed(subject: &'static str, library: &Path, kernel: &str, otherwise: &str) -> Finding {
    let missing = |name: &&str| !library.join(name).is_file();
    let missing: Vec<&str> = [kernel, "initramfs.cpio"]
        .into_iter()
        .filter(missing)
        .collect();
    if missing.is_empty() {
        return Finding::fine(subject, otherwise);
    }
    Finding::broken(
        subject,
        format!(
            "{} not found in {}",
            missing.join(" and "),
            library.display()
        ),
        "install dhow as a whole, or set DHOW_LIB to the folder that holds them",
    )
}

#[cfg(test)]
mod tests {
    use super::{Verdict, kvm, uml};

    #[test]
    fn an_engine_without_its_files_says_which() {
        let library = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(library.path().join("linux"), "").expect("a kernel");
        let finding = uml(library.path());
        assert_eq!(finding.verdict, Verdict::Broken);
        assert!(
            finding.says.starts_with("initramfs.cpio not found in "),
            "{}",
            finding.says
        );
    }

    #[test]
    fn a_host_without_kvm_is_limited_and_not_broken() {
        let library = tempfile::tempdir().expect("a temporary folder");
        let finding = kvm(&library.path().join("no-such-device"), library.path());
        assert_eq!(finding.verdict, Verdict::Limited);
        assert!(finding.fix.is_some());
    }
}
