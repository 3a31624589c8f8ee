//! What is mounted over the root: the kernel's file systems and tmpfs.

use serde_json::{Value, json};

use crate::container::HostConfig;

/// Docker's default for `/dev/shm`.
const DEFAULT_SHM_BYTES: u64 = 64 * 1024 * 1024;

/// Why a tmpfs was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TmpfsError {
    /// Not an absolute path.
    #[error("invalid tmpfs mount point {0:?}: it must be an absolute path other than /")]
    Path(String),
}

/// Every mount, in order.
pub(super) fn all(host: &HostConfig) -> Result<Value, TmpfsError> {
    let shm_bytes = match host.shm_size {
        0 => DEFAULT_SHM_BYTES,
        bytes => bytes,
    };
    let write = if host.privileged { "rw" } else { "ro" };
    let shm_size = format!("size={shm_bytes}");
    let mut mounts = vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", write]),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            &[write, "nosuid", "noexec", "nodev"],
        ),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev/shm",
            "tmpfs",
            &["nosuid", "noexec", "nodev", "mode=1777", &shm_size],
        ),
    ];
    for (path, options) in &host.tmpfs {
        if !path.starts_with('/') || path.trim_matches('/').is_empty() {
            return Err(TmpfsError::Path(path.clone()));
        }
        let defaults = ["nosuid", "nodev", "noexec"];
        let given = options.split(',').filter(|option| !option.is_empty());
        // Later options win, so `exec` undoes the default.
        let options: Vec<&str> = defaults.into_iter().chain(given).collect();
        mounts.push(mount(path, "tmpfs", &options));
    }
    Ok(Value::from(mounts))
}

fn mount(destination: &str, kind: &str, options: &[&str]) -> Value {
    let source = match kind {
        "tmpfs" if destination == "/dev/shm" => "shm",
        kind => kind,
    };
    json!({"destination": destination, "type": kind, "source": source, "options": options})
}
