//! Writes the database by which `dpkg` and `apt` inside an image know what is installed.
//!
//! Files and formats are those of `dpkg(1)`, `deb-conffiles(5)` and `deb-triggers(5)`: one stanza per
//! package in `status`, its list of files and its maintainer scripts in `info`, and the index of
//! triggers that dpkg otherwise builds when it configures a package.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::packages::{Part, unpack};
use crate::rootfs::Rootfs;

const FOLDER: &str = "var/lib/dpkg";

/// Members of a package's control archive that are not kept as they are.
const NOT_KEPT: [&str; 2] = ["control", "."];

/// Unpacks packages into `rootfs` and records them as installed and configured.
pub(crate) fn install(rootfs: &mut Rootfs, packages: &[PathBuf]) -> Result<()> {
    let mut status = String::new();
    let mut triggers = Triggers::default();
    let mut info = Vec::new();
    for package in packages {
        let files = unpack(package, Part::Files)?;
        let listed = rootfs.merge(files.as_slice())?;
        let control = Control::read(&unpack(package, Part::Control)?)?;
        info.push((listed, control));
    }
    // A stanza names the content of configuration files, so all must be unpacked before.
    for folder in [
        "",
        "/info",
        "/alternatives",
        "/triggers",
        "/updates",
        "/parts",
    ] {
        rootfs.directory(&format!("{FOLDER}{folder}"), 0o755);
    }
    for (listed, control) in info {
        let name = control.name_in_database()?;
        let list: String = listed
            .iter()
            .map(|path| display_path(path) + "\n")
            .collect();
        rootfs.file(&format!("{FOLDER}/info/{name}.list"), 0o644, list);
        triggers.add(&control, &name);
        status.push_str(&control.stanza(rootfs)?);
        for (member, (mode, content)) in control.members {
            if !NOT_KEPT.contains(&member.as_str()) {
                rootfs.file(&format!("{FOLDER}/info/{name}.{member}"), mode, content);
            }
        }
    }
    rootfs.file(&format!("{FOLDER}/info/format"), 0o644, "1\n");
    rootfs.file(&format!("{FOLDER}/status"), 0o644, status);
    for name in ["available", "diversions", "statoverride"] {
        rootfs.file(&format!("{FOLDER}/{name}"), 0o644, "");
    }
    triggers.write(rootfs);
    Ok(())
}

/// Registers a chosen alternative as `update-alternatives` would: the link, the link it leads to, and
/// its record. `links` has the master first; each is (name, link, target).
pub(crate) fn alternative(rootfs: &mut Rootfs, priority: u32, links: &[(&str, &str, &str)]) {
    let Some((master, slaves)) = links.split_first() else {
        return;
    };
    for (name, link, target) in links {
        rootfs.symlink(
            link.trim_start_matches('/'),
            &format!("/etc/alternatives/{name}"),
        );
        rootfs.symlink(&format!("etc/alternatives/{name}"), target);
    }
    let mut record = format!("auto\n{}\n", master.1);
    for (name, link, _) in slaves {
        record.push_str(&format!("{name}\n{link}\n"));
    }
    record.push_str(&format!("\n{}\n{priority}\n", master.2));
    for (_, _, target) in slaves {
        record.push_str(&format!("{target}\n"));
    }
    record.push('\n');
    rootfs.file(
        &format!("{FOLDER}/alternatives/{}", master.0),
        0o644,
        record,
    );
}

/// A package's control archive.
#[derive(Debug)]
struct Control {
    /// By name: mode and content.
    members: BTreeMap<String, (u32, Vec<u8>)>,
    text: String,
}

impl Control {
    fn read(archive: &[u8]) -> Result<Self> {
        let mut members = BTreeMap::new();
        for entry in tar::Archive::new(archive).entries()? {
            let mut entry = entry?;
            if entry.header().entry_type() != tar::EntryType::Regular {
                continue;
            }
            let name = String::from_utf8(entry.path_bytes().to_vec())?;
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            let mode = entry.header().mode()? & 0o777;
            members.insert(name.trim_start_matches("./").to_owned(), (mode, content));
        }
        let control = members
            .get("control")
            .context("a package has no control file")?;
        let text = String::from_utf8(control.1.clone())?;
        Ok(Self { members, text })
    }

    fn field(&self, wanted: &str) -> Option<&str> {
        let prefix = format!("{wanted}: ");
        self.text
            .lines()
            .find_map(|line| line.strip_prefix(&prefix))
    }

    /// `name`, or `name:architecture` for packages that may be installed for several.
    fn name_in_database(&self) -> Result<String> {
        let name = self.field("Package").context("a package has no name")?;
        if self.field("Multi-Arch") == Some("same") {
            let architecture = self
                .field("Architecture")
                .context("a package has no architecture")?;
            return Ok(format!("{name}:{architecture}"));
        }
        Ok(name.to_owned())
    }

    fn lines(&self, member: &str) -> Vec<String> {
        let content = self
            .members
            .get(member)
            .map(|(_, content)| content.as_slice());
        let text = String::from_utf8_lossy(content.unwrap_or_default()).into_owned();
        let lines = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim());
        lines
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// The package's paragraph in `status`.
    fn stanza(&self, rootfs: &Rootfs) -> Result<String> {
        let mut lines = self.text.trim_end().lines();
        let first = lines.next().context("a control file is empty")?;
        let mut stanza = format!("{first}\nStatus: install ok installed\n");
        for line in lines {
            stanza.push_str(line);
            stanza.push('\n');
        }
        let files = self.lines("conffiles");
        if !files.is_empty() {
            stanza.push_str("Conffiles:\n");
        }
        for path in files.iter().filter(|path| path.starts_with('/')) {
            let digest = md5(rootfs.read(path.trim_start_matches('/'))?)?;
            writeln!(stanza, " {path} {digest}")?;
        }
        stanza.push('\n');
        Ok(stanza)
    }
}

/// Who waits for which trigger.
#[derive(Debug, Default)]
struct Triggers {
    /// Lines of `triggers/File`.
    files: String,
    /// One file per named trigger.
    named: BTreeMap<String, String>,
}

impl Triggers {
    fn add(&mut self, control: &Control, package: &str) {
        for line in control.lines("triggers") {
            let mut words = line.split_whitespace();
            let (Some(directive), Some(trigger)) = (words.next(), words.next()) else {
                continue;
            };
            let waits = match directive {
                "interest" | "interest-await" => "",
                "interest-noawait" => "/noawait",
                _ => continue,
            };
            if trigger.starts_with('/') {
                self.files
                    .push_str(&format!("{trigger} {package}{waits}\n"));
            } else {
                let file = self.named.entry(trigger.to_owned()).or_default();
                file.push_str(&format!("{package}{waits}\n"));
            }
        }
    }

    fn write(self, rootfs: &mut Rootfs) {
        rootfs.file(&format!("{FOLDER}/triggers/File"), 0o644, self.files);
        rootfs.file(&format!("{FOLDER}/triggers/Unincorp"), 0o644, "");
        for (name, packages) in self.named {
            rootfs.file(&format!("{FOLDER}/triggers/{name}"), 0o644, packages);
        }
    }
}

/// dpkg lists the root as `/.`.
fn display_path(path: &str) -> String {
    if path == "/" {
        "/.".to_owned()
    } else {
        path.to_owned()
    }
}

/// dpkg notes the state of configuration files by MD5; coreutils computes it.
fn md5(content: &[u8]) -> Result<String> {
    let command = Command::new("md5sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = command.context("failed to run md5sum (package coreutils)")?;
    let mut input = child.stdin.take().context("md5sum has no standard input")?;
    input.write_all(content)?;
    drop(input);
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "md5sum failed");
    let text = String::from_utf8(output.stdout)?;
    Ok(text
        .split_whitespace()
        .next()
        .context("md5sum printed nothing")?
        .to_owned())
}
