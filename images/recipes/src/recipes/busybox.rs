//! `busybox`: Debian's static busybox, a link per applet, and the few files a system is asked for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::DEFAULT_PATH;
use crate::archive::ImageArchive;
use crate::packages::{PackageSource, Part, unpack};
use crate::rootfs::Rootfs;

/// Where the package puts its program, and where the image does.
const PROGRAM: &str = "bin/busybox";

const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
";

const GROUP: &str = "\
root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
tty:x:5:
disk:x:6:
wheel:x:10:root
mail:x:8:
www-data:x:33:
users:x:100:
nogroup:x:65534:
";

const SHADOW: &str = "\
root:*:::::::
daemon:*:::::::
bin:*:::::::
sys:*:::::::
mail:*:::::::
www-data:*:::::::
nobody:*:::::::
";

/// Builds the image.
pub(crate) fn build(packages: &PackageSource) -> Result<ImageArchive> {
    let debs = packages.closure(&["busybox-static"])?;
    let mut package = Rootfs::default();
    for deb in &debs {
        package.merge(unpack(deb, Part::Files)?.as_slice())?;
    }
    let program = package.read(&format!("usr/{PROGRAM}"))?.to_vec();

    let mut rootfs = Rootfs::at(package.newest());
    for folder in [
        "", "bin", "dev", "etc", "home", "proc", "run", "sbin", "sys", "usr", "usr/bin",
    ] {
        rootfs.directory(folder, 0o755);
    }
    for folder in [
        "mnt",
        "usr/sbin",
        "var",
        "var/log",
        "var/spool",
        "var/spool/mail",
        "var/www",
    ] {
        rootfs.directory(folder, 0o755);
    }
    rootfs.directory("root", 0o700);
    rootfs.directory("tmp", 0o1777);
    rootfs.directory("var/tmp", 0o1777);
    rootfs.symlink("var/run", "../run");
    rootfs.file("etc/passwd", 0o644, PASSWD);
    rootfs.file("etc/group", 0o644, GROUP);
    rootfs.file("etc/shadow", 0o640, SHADOW);
    rootfs.file(
        "etc/nsswitch.conf",
        0o644,
        "passwd: files\ngroup: files\nhosts: files dns\n",
    );
    for applet in applets(&program)? {
        if !rootfs.contains(&applet) {
            rootfs.symlink(&applet, &format!("/{PROGRAM}"));
        }
    }
    rootfs.file(PROGRAM, 0o755, program);

    let version = debs
        .first()
        .and_then(|deb| deb.file_stem())
        .context("no package came")?;
    Ok(ImageArchive {
        reference: "busybox:latest",
        rootfs,
        config: json!({ "Env": [DEFAULT_PATH], "Cmd": ["sh"] }),
        created_by: format!("dhow-images build busybox ({})", version.to_string_lossy()),
    })
}

/// Asks the program for the paths of its applets, below `bin`, `sbin`, `usr/bin` and `usr/sbin`.
fn applets(program: &[u8]) -> Result<Vec<String>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("busybox");
    fs::write(&path, program)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    let output = Command::new(&path)
        .arg("--list-full")
        .output()
        .context("failed to run busybox")?;
    ensure!(output.status.success(), "busybox --list-full failed");
    let list = String::from_utf8(output.stdout)?;
    let known = ["bin/", "sbin/", "usr/bin/", "usr/sbin/"];
    let inside = list
        .lines()
        .filter(|path| known.iter().any(|prefix| path.starts_with(prefix)));
    Ok(inside.map(str::to_owned).collect())
}
