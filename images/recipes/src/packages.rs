//! Finds and downloads Debian packages with the host's `apt-get`, as an ordinary user.
//!
//! apt is given private folders and an empty package database, so it resolves a whole closure as if
//! for a new system, and neither reads nor changes what is installed on the host. It verifies the
//! archive's signatures and the digests; files already in the cache are verified again here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

/// A private apt: downloads into a cache folder.
#[derive(Debug)]
pub(crate) struct PackageSource {
    folder: PathBuf,
}

impl PackageSource {
    /// Creates the private folders below `folder`.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("failed to create {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        for name in ["archives/partial", "empty/partial", "lists/partial"] {
            let path = folder.join(name);
            fs::create_dir_all(&path)
                .with_context(|| format!("failed to create {}", path.display()))?;
        }
        fs::write(folder.join("status"), "").context("failed to write an empty package status")?;
        Ok(Self { folder })
    }

    /// The `.deb` files of `names` (package names or apt patterns) and all they depend on, in order
    /// of file name.
    pub(crate) fn closure(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        let wanted = match self.resolve(names, false) {
            Ok(wanted) => wanted,
            // The host may never have run `apt-get update`, or long ago; do it privately.
            Err(_) => {
                self.update()?;
                self.resolve(names, true)?
            }
        };
        let missing = wanted.iter().any(|package| !self.verified(package));
        if missing {
            let private = !self.download(names, false)?;
            if private {
                self.update()?;
                ensure!(
                    self.download(names, true)?,
                    "apt-get could not download {names:?}"
                );
            }
        }
        let mut files = Vec::new();
        for package in wanted {
            ensure!(
                self.verified(&package),
                "{} does not have the digest apt names",
                package.file
            );
            files.push(self.folder.join("archives").join(&package.file));
        }
        files.sort();
        Ok(files)
    }

    fn apt(&self, private_lists: bool) -> Command {
        let mut command = Command::new("apt-get");
        let status = self.folder.join("status");
        command.env("LC_ALL", "C").stdin(Stdio::null());
        command.arg("-y").arg("-qq");
        command
            .arg("-o")
            .arg(format!("Dir::State::status={}", status.display()));
        command
            .arg("-o")
            .arg(format!("Dir::Cache={}", self.folder.display()));
        command.args([
            "-o",
            "Dir::Cache::pkgcache=",
            "-o",
            "Dir::Cache::srcpkgcache=",
        ]);
        command.args([
            "-o",
            "Debug::NoLocking=1",
            "-o",
            "APT::Install-Recommends=0",
        ]);
        // As root apt would drop to a user who cannot write into this cache.
        command.args(["-o", "APT::Sandbox::User=root"]);
        if private_lists {
            let lists = self.folder.join("lists");
            command
                .arg("-o")
                .arg(format!("Dir::State::lists={}", lists.display()));
        }
        command
    }

    fn update(&self) -> Result<()> {
        let status = self
            .apt(true)
            .arg("update")
            .status()
            .context("failed to run apt-get")?;
        ensure!(
            status.success(),
            "apt-get update failed; is a Debian mirror within reach?"
        );
        Ok(())
    }

    /// Which files the closure has, without downloading: an empty archive folder makes apt list all.
    fn resolve(&self, names: &[&str], private_lists: bool) -> Result<Vec<WantedFile>> {
        let empty = self.folder.join("empty");
        let mut command = self.apt(private_lists);
        command
            .arg("-o")
            .arg(format!("Dir::Cache::archives={}", empty.display()));
        let output = command
            .args(["--print-uris", "install"])
            .args(names)
            .output();
        let output = output.context("failed to run apt-get (package apt)")?;
        ensure!(
            output.status.success(),
            "apt-get cannot resolve {names:?}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        String::from_utf8(output.stdout)?
            .lines()
            .map(WantedFile::parse)
            .collect()
    }

    fn download(&self, names: &[&str], private_lists: bool) -> Result<bool> {
        let archives = self.folder.join("archives");
        let mut command = self.apt(private_lists);
        command
            .arg("-o")
            .arg(format!("Dir::Cache::archives={}", archives.display()));
        command
            .args(["--download-only", "install"])
            .args(names)
            .stdout(Stdio::null());
        Ok(command.status().context("failed to run apt-get")?.success())
    }

    fn verified(&self, package: &WantedFile) -> bool {
        let Ok(content) = fs::read(self.folder.join("archives").join(&package.file)) else {
            return false;
        };
        let digest = Sha256::digest(&content);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        package
            .sha256
            .as_ref()
            .is_none_or(|wanted| *wanted == digest)
    }
}

/// One line of `apt-get --print-uris`: `'URI' FILE SIZE SHA256:DIGEST`.
#[derive(Debug)]
struct WantedFile {
    file: String,
    sha256: Option<String>,
}

impl WantedFile {
    fn parse(line: &str) -> Result<Self> {
        let mut words = line.split_whitespace().skip(1);
        let Some(file) = words.next().filter(|file| file.ends_with(".deb")) else {
            bail!("unexpected line from apt-get: {line}");
        };
        let digest = words.nth(1).and_then(|word| word.strip_prefix("SHA256:"));
        Ok(Self {
            file: file.to_owned(),
            sha256: digest.map(str::to_owned),
        })
    }
}

/// One of the two tar streams in a package.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    /// The files it installs.
    Files,
    /// Its control file and maintainer scripts.
    Control,
}

/// Reads one part of a `.deb` with `dpkg-deb`, which knows every compression packages use.
pub(crate) fn unpack(package: &Path, part: Part) -> Result<Vec<u8>> {
    let flag = match part {
        Part::Files => "--fsys-tarfile",
        Part::Control => "--ctrl-tarfile",
    };
    let output = Command::new("dpkg-deb").arg(flag).arg(package).output();
    let output = output.context("failed to run dpkg-deb (package dpkg)")?;
    ensure!(
        output.status.success(),
        "dpkg-deb cannot read {}: {}",
        package.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output.stdout)
}
