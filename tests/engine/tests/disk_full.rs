//! A disk that is full says so in one line, keeps nothing, and takes what fits afterwards.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use dhow_harness::{BUSYBOX, DEBIAN, Finished, Home, image, run, skipped};

/// Room for busybox a few times over, and for a part of debian.
const SIZE: &str = "size=16m";

/// A home whose images lie on a small disk: a tmpfs in a mount namespace of the daemon's own, and
/// where we are not root in a user namespace, too.
struct SmallDisk {
    home: Home,
}

impl SmallDisk {
    /// `None`, with the reason said, where neither root nor user namespaces are to be had.
    fn new() -> Option<Self> {
        let tried = run(&mut isolated("mount -t tmpfs -o size=1m none /mnt"), b"");
        if tried.code != 0 {
            skipped(&format!(
                "no file system may be mounted: {}",
                tried.stderr.trim()
            ));
            return None;
        }
        let home = Home::new();
        fs::create_dir(home.path().join("images")).expect("the folder is ours");
        // The daemon that this starts keeps the namespace; whoever talks to it needs none.
        let script =
            format!("mount -t tmpfs -o {SIZE} none \"$DHOW_HOME/images\" && exec \"$0\" ps");
        let dhow = dhow_harness::dist().join("bin/dhow");
        let mut first = isolated(&script);
        first.arg(dhow).env("DHOW_HOME", home.path());
        let _ = run(&mut first, b"").succeed();
        Some(Self { home })
    }

    fn load(&self, name: &str) -> Finished {
        let archive = image(name);
        let path = archive.to_str().expect("a text path");
        self.home.dhow(&["load", "-q", "-i", path])
    }

    /// The images' folder as the daemon sees it.
    fn images(&self) -> PathBuf {
        let daemons = self.home.processes_with("bin/dhow daemon");
        let [daemon] = daemons[..] else {
            panic!("daemons: {daemons:?}")
        };
        let inside = self.home.path().join("images");
        let relative = inside.strip_prefix("/").expect("an absolute path");
        PathBuf::from(format!("/proc/{daemon}/root")).join(relative)
    }

    /// Files that are neither locks nor folders.
    fn files(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.images()];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("we may look").flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else if entry.file_name() != "lock" {
                    files.push(entry.path());
                }
            }
        }
        files
    }
}

/// A shell in a mount namespace of its own, where it may mount.
fn isolated(script: &str) -> Command {
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "sh", "-euc", script]);
    command
}

#[test]
fn an_image_that_does_not_fit_is_refused_and_one_that_fits_is_loaded() {
    let Some(disk) = SmallDisk::new() else { return };

    let refused = disk.load(DEBIAN).exit(1);
    let left = disk.files();
    let listed = disk.home.dhow(&["images", "-aq"]).succeed();
    let loaded = disk.load(BUSYBOX).succeed();
    let output = disk
        .home
        .dhow(&["run", "--rm", BUSYBOX, "echo", "fits"])
        .succeed();

    assert_eq!(refused.stderr.trim().lines().count(), 1, "{refused:?}");
    assert!(
        refused.stderr.contains("No space left on device"),
        "{refused:?}"
    );
    assert_eq!(left, Vec::<PathBuf>::new());
    assert_eq!(listed.text(), "");
    assert!(loaded.stdout.contains("busybox:latest"), "{loaded:?}");
    assert_eq!(output.text(), "fits");
}

#[test]
fn a_full_disk_fails_again_and_again_without_harm() {
    let Some(disk) = SmallDisk::new() else { return };
    let _ = disk.load(BUSYBOX).succeed();
    let before = disk.files().len();

    for _ in 0..3 {
        let _ = disk.load(DEBIAN).exit(1);
    }

    assert_eq!(disk.files().len(), before);
    let output = disk
        .home
        .dhow(&["run", "--rm", BUSYBOX, "echo", "still here"])
        .succeed();
    assert_eq!(output.text(), "still here");
}
