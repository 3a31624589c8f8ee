//! From a bare kernel to a machine that containers can run in.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use nix::mount::{MsFlags, mount};
use nix::sys::resource::{Resource, setrlimit};

/// The layer disk: attached first by every engine.
const LAYER_DISK: &str = "/dev/vda";

/// The data disk: attached second by every engine.
const DATA_DISK: &str = "/dev/vdb";

/// Where the data disk is mounted.
const DATA: &str = "/data";

/// Where running containers keep what need not survive the machine.
const RUN: &str = "/run/dhow";

/// Where cgroup v2 is mounted.
const CGROUP: &str = "/sys/fs/cgroup";

/// Descriptors of a process, ours and each container's that does not set its own: as many as the
/// kernel allows (fs.nr_open), which is what Docker's containers have. The kernel's own default of
/// 1024 ends our forwarding at 250 connections of four descriptors each.
const OPEN_FILES: u64 = 1024 * 1024;

/// A file system that every Linux program expects.
struct SystemMount {
    kind: &'static str,
    target: &'static str,
    flags: MsFlags,
    options: &'static str,
}

/// In the order in which they depend on each other. Options as systemd mounts them.
fn system_mounts() -> [SystemMount; 8] {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let mount = |kind, target, flags, options| SystemMount {
        kind,
        target,
        flags,
        options,
    };
    [
        mount("proc", "/proc", quiet, ""),
        mount("sysfs", "/sys", quiet, ""),
        mount("devtmpfs", "/dev", MsFlags::MS_NOSUID, "mode=0755"),
        mount(
            "devpts",
            "/dev/pts",
            MsFlags::MS_NOSUID,
            "mode=0620,gid=5,ptmxmode=0666",
        ),
        // Of containers that share the machine's IPC (`--ipc host`).
        mount("tmpfs", "/dev/shm", quiet, "mode=1777"),
        mount("cgroup2", CGROUP, quiet, ""),
        // Not MS_NODEV: layers are mounted from device nodes that the runtime makes below it.
        mount("tmpfs", "/run", MsFlags::MS_NOSUID, "mode=0755"),
        mount(
            "tmpfs",
            "/tmp",
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            "mode=1777",
        ),
    ]
}

/// Takes the limits that a machine's only user may have.
pub(crate) fn raise_limits() -> anyhow::Result<()> {
    setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES)
        .context("failed to raise the limit of open files")
}

/// Mounts what the kernel offers.
pub(crate) fn mount_system() -> anyhow::Result<()> {
    for entry in system_mounts() {
        make_folder(entry.target)?;
        mount(
            Some(entry.kind),
            entry.target,
            Some(entry.kind),
            entry.flags,
            Some(entry.options),
        )
        .with_context(|| format!("failed to mount {}", entry.target))?;
    }
    make_folder(RUN)
}

/// Mounts the data disk; the journal brings it right after a kill.
///
/// `discard` gives the blocks of deleted files back to the host at once.
pub(crate) fn mount_data() -> anyhow::Result<()> {
    make_folder(DATA)?;
    mount(
        Some(DATA_DISK),
        DATA,
        Some("ext4"),
        MsFlags::MS_NOATIME | MsFlags::MS_NODEV,
        Some("discard,errors=remount-ro"),
    )
    .with_context(|| format!("failed to mount {DATA_DISK} on {DATA}"))
}

/// Where the container runtime finds its folders and the layer disk.
pub(crate) fn paths() -> dhow_container::Paths {
    dhow_container::Paths {
        data: DATA.into(),
        run: RUN.into(),
        layer_disk: LAYER_DISK.into(),
        cgroup: CGROUP.into(),
    }
}

/// The data disk's mount point, to be unmounted last.
pub(crate) fn data_mount() -> &'static Path {
    Path::new(DATA)
}

/// Tells the kernel's log, which the host keeps as the machine's console.
pub(crate) fn complain(error: &anyhow::Error) {
    // One write: the log makes a record of each.
    let record = format!("<2>dhow-agent: {error:#}\n");
    if let Ok(mut log) = OpenOptions::new().write(true).open("/dev/kmsg") {
        // The last resort: where even the kernel's log takes nothing, nothing can be told.
        let _ = log.write_all(record.as_bytes());
    }
}

fn make_folder(path: &str) -> anyhow::Result<()> {
    fs::create_dir_all(path).with_context(|| format!("failed to make {path}"))
}
