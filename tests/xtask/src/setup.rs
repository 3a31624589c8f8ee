//! `cargo xtask setup`: the Debian packages that building and testing need. As root it installs what
//! is missing; as anybody else it says the exact line and fails, as nothing further would work.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{child, report};

/// Every package, with what needs it. Recommended packages are never installed.
const PACKAGES: [(&str, &str); 28] = [
    ("apache2-utils", "passwords of a test registry"),
    ("attr", "extended attributes in tests of layers"),
    ("bc", "kernel build"),
    ("bison", "kernel build"),
    ("busybox-static", "test image, test initramfs"),
    ("cpio", "judge of our initramfs"),
    ("crun", "peer in benchmarks"),
    ("debootstrap", "the debian image"),
    ("docker-registry", "registry in tests and benchmarks"),
    ("e2fsprogs", "judge of the data disk"),
    ("erofs-utils", "judge of our layers"),
    ("flex", "kernel build"),
    ("gcc", "kernel build, linking Rust"),
    ("libc6-dev", "kernel build, static binaries"),
    ("libelf-dev", "kernel build (objtool)"),
    ("linux-source-6.12", "the guest kernel"),
    ("make", "kernel build"),
    ("openssl", "certificates of a test registry"),
    ("patch", "kernel build"),
    ("podman", "peer in benchmarks"),
    ("python3-venv", "client libraries in tests"),
    ("qemu-system-x86", "nested KVM tests, peer in benchmarks"),
    ("redis-tools", "redis-benchmark against a container"),
    ("runc", "peer in benchmarks"),
    ("skopeo", "image archives in tests"),
    ("umoci", "image archives in tests"),
    ("xz-utils", "kernel build"),
    ("zstd", "image archives in tests"),
];

/// Debian's package of the docker CLI, for the conformance tests.
const DOCKER_CLI: &str = "docker.io";

/// Installs what is missing, or says how.
///
/// # Errors
/// When something is missing and could not be installed.
pub fn run() -> Result<()> {
    let mut missing = missing()?;
    // Whatever its origin: Debian's package would put a second one beside Docker's own.
    if Command::new("docker").arg("--version").output().is_err() {
        missing.push(DOCKER_CLI);
    }
    if missing.is_empty() {
        report::say("setup: every package is installed");
        return Ok(());
    }
    if !is_root()? {
        bail!(
            "packages are missing: {}\nhint: {}",
            missing.join(" "),
            install_line(&missing)
        );
    }
    report::say(&format!("setup: installing {}", missing.join(" ")));
    child::run(Command::new("apt-get").args(["--quiet", "update"]))?;
    child::run(
        Command::new("apt-get")
            .args(["--quiet", "--yes", "--no-install-recommends", "install"])
            .args(&missing)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

/// The line that installs packages, to be typed by somebody who is not root.
#[must_use]
pub fn install_line(packages: &[&str]) -> String {
    format!(
        "sudo apt-get install --no-install-recommends {}",
        packages.join(" ")
    )
}

/// The packages that are not installed.
fn missing() -> Result<Vec<&'static str>> {
    // dpkg-query fails when it does not know one of the names, and yet answers for the others.
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\\n"])
        .args(PACKAGES.map(|(package, _)| package))
        .output()
        .context("failed to start dpkg-query (dhow is built on Debian 12)")?;
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(not_installed(&answer))
}

/// The packages for which dpkg-query's answer has no line that ends in `installed`.
fn not_installed(answer: &str) -> Vec<&'static str> {
    let packages = PACKAGES.iter().map(|&(package, _)| package);
    packages
        .filter(|package| {
            !answer
                .lines()
                .any(|line| line == format!("{package} installed"))
        })
        .collect()
}

fn is_root() -> Result<bool> {
    Ok(child::output(Command::new("id").arg("-u"))? == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_package_that_left_its_settings_is_missing() {
        let every: String = PACKAGES
            .map(|(package, _)| format!("{package} installed\n"))
            .concat();
        let answer = every.replace("zstd installed", "zstd config-files");

        assert_eq!(not_installed(&answer), ["zstd"]);
    }

    #[test]
    fn a_package_dpkg_never_heard_of_is_missing() {
        assert_eq!(not_installed("").len(), PACKAGES.len());
    }

    #[test]
    fn the_line_to_type_is_complete() {
        let line = install_line(&["flex", "bison"]);

        assert_eq!(
            line,
            "sudo apt-get install --no-install-recommends flex bison"
        );
    }

    #[test]
    fn packages_are_sorted_and_each_says_who_needs_it() {
        assert!(PACKAGES.is_sorted());
        assert!(PACKAGES.iter().all(|(_, reason)| !reason.is_empty()));
    }
}
