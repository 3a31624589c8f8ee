//! `debian`: the packages every Debian has, and apt.
//!
//! Packages are unpacked, not configured: nothing of them runs. What their maintainer scripts would
//! have done on a new system is done here, by the same rules, in [`finish`].

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use super::DEFAULT_PATH;
use crate::archive::ImageArchive;
use crate::dpkg;
use crate::packages::PackageSource;
use crate::rootfs::Rootfs;

/// The set debootstrap calls `minbase`. `usr-is-merged` comes first so that apt does not choose
/// `usrmerge`, which does at run time what is done here, and needs all of perl.
const PACKAGES: [&str; 4] = ["usr-is-merged", "?essential", "?priority(required)", "apt"];

const SECONDS_A_DAY: u64 = 86_400;

/// Where a Debian keeps the description of its package sources: since Debian 12, and before.
const SOURCES: [&str; 2] = [
    "etc/apt/sources.list.d/debian.sources",
    "etc/apt/sources.list",
];

/// Services are not started when a package is installed: a container runs what it was told to.
const POLICY: &str = "#!/bin/sh\nexit 101\n";

/// Login shells of the packages above (`add-shell`).
const SHELLS: &str = "\
/bin/sh
/usr/bin/sh
/bin/bash
/usr/bin/bash
/bin/rbash
/usr/bin/rbash
/bin/dash
/usr/bin/dash
";

/// What `pam-auth-update` makes when only `pam_unix` is there.
const PAM: [(&str, &str); 5] = [
    (
        "common-auth",
        "auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\nauth required pam_permit.so\n",
    ),
    (
        "common-account",
        "account [success=1 new_authtok_reqd=done default=ignore] pam_unix.so\naccount requisite pam_deny.so\naccount required pam_permit.so\n",
    ),
    (
        "common-password",
        "password [success=1 default=ignore] pam_unix.so obscure yescrypt\npassword requisite pam_deny.so\npassword required pam_permit.so\n",
    ),
    (
        "common-session",
        "session [default=1] pam_permit.so\nsession requisite pam_deny.so\nsession required pam_permit.so\nsession required pam_unix.so\n",
    ),
    (
        "common-session-noninteractive",
        "session [default=1] pam_permit.so\nsession requisite pam_deny.so\nsession required pam_permit.so\nsession required pam_unix.so\n",
    ),
];

/// Builds the image.
pub(crate) fn build(packages: &PackageSource) -> Result<ImageArchive> {
    Ok(ImageArchive {
        reference: "debian:latest",
        rootfs: rootfs(packages, &[])?,
        config: json!({ "Env": [DEFAULT_PATH], "Cmd": ["bash"] }),
        created_by: "dhow-images build debian".to_owned(),
    })
}

/// A finished system with `extra` packages.
pub(super) fn rootfs(packages: &PackageSource, extra: &[&str]) -> Result<Rootfs> {
    let debs = packages.closure(&[&PACKAGES, extra].concat())?;
    let mut rootfs = Rootfs::default();
    dpkg::install(&mut rootfs, &debs)?;
    finish(&mut rootfs)?;
    Ok(rootfs)
}

/// Does what the maintainer scripts would do.
fn finish(rootfs: &mut Rootfs) -> Result<()> {
    for name in ["bin", "sbin", "lib", "lib64"] {
        rootfs.symlink(name, &format!("usr/{name}"));
    }
    base_files(rootfs)?;
    accounts(rootfs)?;
    alternatives(rootfs);
    for (name, content) in PAM {
        rootfs.file(&format!("etc/pam.d/{name}"), 0o644, content);
    }
    rootfs.copy(
        "usr/share/libc-bin/nsswitch.conf",
        "etc/nsswitch.conf",
        0o644,
    )?;
    rootfs.file("etc/shells", 0o644, SHELLS);
    rootfs.file("var/lib/shells.state", 0o644, SHELLS);
    rootfs.symlink("etc/localtime", "/usr/share/zoneinfo/Etc/UTC");
    rootfs.file("etc/timezone", 0o644, "Etc/UTC\n");
    let (name, sources) = package_sources()?;
    rootfs.file(name, 0o644, sources);
    rootfs.file("usr/sbin/policy-rc.d", 0o755, POLICY);
    Ok(())
}

/// As `base-files` does on a new system.
fn base_files(rootfs: &mut Rootfs) -> Result<()> {
    for (from, to) in [
        ("dot.profile", "root/.profile"),
        ("dot.bashrc", "root/.bashrc"),
        ("profile", "etc/profile"),
        ("motd", "etc/motd"),
    ] {
        rootfs.copy(&format!("usr/share/base-files/{from}"), to, 0o644)?;
    }
    for folder in ["mnt", "srv", "opt", "etc/opt", "var/opt", "media"] {
        rootfs.directory(folder, 0o755);
    }
    for folder in [
        "",
        "/share",
        "/share/man",
        "/bin",
        "/games",
        "/lib",
        "/include",
        "/sbin",
        "/src",
    ] {
        rootfs.directory(&format!("usr/local{folder}"), 0o755);
    }
    rootfs.directory("usr/local/etc", 0o755);
    rootfs.symlink("usr/local/man", "share/man");
    rootfs.directory("run/lock", 0o1777);
    rootfs.symlink("var/run", "/run");
    rootfs.symlink("var/lock", "/run/lock");
    rootfs.symlink("var/spool/mail", "../mail");
    rootfs.symlink("etc/dpkg/origins/default", "debian");
    const MAIL: u64 = 8;
    const UTMP: u64 = 43;
    rootfs.directory("var/mail", 0o2775);
    rootfs.own("var/mail", 0, MAIL, 0o2775)?;
    for (name, mode) in [("wtmp", 0o664), ("btmp", 0o660), ("lastlog", 0o664)] {
        let path = format!("var/log/{name}");
        rootfs.file(&path, mode, "");
        rootfs.own(&path, 0, UTMP, mode)?;
    }
    Ok(())
}

/// As `base-passwd`, `passwd` and `login` do: the master files, then shadow passwords.
fn accounts(rootfs: &mut Rootfs) -> Result<()> {
    let master = |rootfs: &Rootfs, name: &str| -> Result<String> {
        let content = rootfs.read(&format!("usr/share/base-passwd/{name}.master"))?;
        Ok(String::from_utf8(content.to_vec())?)
    };
    let today = rootfs.newest() / SECONDS_A_DAY;
    let users = master(rootfs, "passwd")?;
    let groups = master(rootfs, "group")?;
    let (mut shadow, mut group_shadow) = (String::new(), String::new());
    for name in users.lines().filter_map(|line| line.split(':').next()) {
        writeln!(shadow, "{name}:*:{today}:0:99999:7:::")?;
    }
    for name in groups.lines().filter_map(|line| line.split(':').next()) {
        writeln!(group_shadow, "{name}:*::")?;
    }
    rootfs.file("etc/passwd", 0o644, users.replace(":*:", ":x:"));
    rootfs.file("etc/group", 0o644, groups.replace(":*:", ":x:"));
    const SHADOW: u64 = 42;
    for (path, content) in [("etc/shadow", shadow), ("etc/gshadow", group_shadow)] {
        rootfs.file(path, 0o640, content);
        rootfs.own(path, 0, SHADOW, 0o640)?;
    }
    for path in ["etc/subuid", "etc/subgid", "var/log/faillog"] {
        rootfs.file(path, 0o644, "");
    }
    Ok(())
}

/// The alternatives these packages install, their manual pages left out.
fn alternatives(rootfs: &mut Rootfs) {
    let awk = [
        ("awk", "/usr/bin/awk", "/usr/bin/mawk"),
        ("nawk", "/usr/bin/nawk", "/usr/bin/mawk"),
    ];
    dpkg::alternative(rootfs, 5, &awk);
    dpkg::alternative(
        rootfs,
        0,
        &[("which", "/usr/bin/which", "/usr/bin/which.debianutils")],
    );
    dpkg::alternative(rootfs, 50, &[("rmt", "/usr/sbin/rmt", "/usr/sbin/rmt-tar")]);
    dpkg::alternative(rootfs, 50, &[("pager", "/usr/bin/pager", "/bin/more")]);
}

/// Adds a system user and a group of the same name, as `adduser --system --group` does; returns their
/// ids.
pub(super) fn add_system_user(rootfs: &mut Rootfs, name: &str, home: &str) -> Result<(u64, u64)> {
    let uid = free_id(rootfs, "etc/passwd")?;
    let gid = free_id(rootfs, "etc/group")?;
    let today = rootfs.newest() / SECONDS_A_DAY;
    let user = format!("{name}:x:{uid}:{gid}::{home}:/usr/sbin/nologin\n");
    rootfs.append("etc/passwd", &user)?;
    rootfs.append("etc/group", &format!("{name}:x:{gid}:\n"))?;
    rootfs.append("etc/shadow", &format!("{name}:!:{today}::::::\n"))?;
    rootfs.append("etc/gshadow", &format!("{name}:!::\n"))?;
    Ok((uid, gid))
}

/// The first free id of the range Debian policy gives to packages (section 9.2.2: 100 to 999).
fn free_id(rootfs: &Rootfs, path: &str) -> Result<u64> {
    let text = String::from_utf8_lossy(rootfs.read(path)?).into_owned();
    let taken = text
        .lines()
        .filter_map(|line| line.split(':').nth(2)?.parse::<u64>().ok());
    let taken: Vec<u64> = taken.collect();
    (100..1000)
        .find(|id| !taken.contains(id))
        .with_context(|| format!("{path} has no free id"))
}

/// The host's own package sources: what the image was made from is what it can install from.
fn package_sources() -> Result<(&'static str, String)> {
    let found = SOURCES.iter().find_map(|name| {
        let text = std::fs::read_to_string(Path::new("/").join(name)).ok()?;
        Some((*name, text))
    });
    found.context("this computer has no Debian package sources to give to the image")
}
