//! What is mounted over the root: the kernel's file systems, tmpfs, volumes, the API's socket.

use dhow_protocol::grants::API_SOCKET;
use serde_json::{Value, json};

use crate::container::{HostConfig, Record};
use crate::volume::mount::{MountPoint, MountSource};
use crate::volume::store::mountpoint;

/// Docker's default for `/dev/shm`.
const DEFAULT_SHM_BYTES: u64 = 64 * 1024 * 1024;

/// Why a tmpfs was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TmpfsError {
    /// Not an absolute path.
    #[error("invalid tmpfs mount point {0:?}: it must be an absolute path other than /")]
    Path(String),
}

/// Every mount, in order: those of every container first, then what was asked for, folders before
/// what is mounted in them. What was asked for takes the place of a usual one.
pub(super) fn all(record: &Record) -> Result<Value, TmpfsError> {
    let host = &record.host_config;
    let mut asked = tmpfs(host)?;
    asked.extend(record.mounts.iter().map(volume_or_socket));
    asked.sort_by_key(|mount| depth(destination(mount)));
    let mut mounts = usual(host);
    mounts.retain(|usual| {
        !asked
            .iter()
            .any(|asked| destination(asked) == destination(usual))
    });
    mounts.extend(asked);
    Ok(Value::from(mounts))
}

fn destination(mount: &Value) -> &str {
    mount["destination"].as_str().unwrap_or_default()
}

/// How many folders deep a path is.
fn depth(path: &str) -> usize {
    path.split('/').filter(|part| !part.is_empty()).count()
}

/// What every container has.
fn usual(host: &HostConfig) -> Vec<Value> {
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
    ];
    match host.modes.ipc.as_str() {
        "none" => {}
        // The machine's, as its message queues and semaphores.
        "host" => mounts.push(json!({
            "destination": "/dev/shm", "type": "bind", "source": "/dev/shm",
            "options": ["rbind", "nosuid", "noexec", "nodev"],
        })),
        _ => mounts.push(mount(
            "/dev/shm",
            "tmpfs",
            &["nosuid", "noexec", "nodev", "mode=1777", &shm_size],
        )),
    }
    mounts
}

/// `--tmpfs`.
fn tmpfs(host: &HostConfig) -> Result<Vec<Value>, TmpfsError> {
    let mut mounts = Vec::new();
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
    Ok(mounts)
}

/// A volume, the API's socket, or a tmpfs of `--mount`.
fn volume_or_socket(point: &MountPoint) -> Value {
    let access = if point.read_only { "ro" } else { "rw" };
    match &point.source {
        MountSource::Volume { name, .. } => json!({
            "destination": point.destination, "type": "bind", "source": mountpoint(name),
            // The data disk itself knows no devices; a volume may have some.
            "options": ["rbind", "rprivate", "dev", access],
        }),
        MountSource::ApiSocket { .. } => json!({
            "destination": point.destination, "type": "bind", "source": API_SOCKET,
            "options": ["rbind", "rprivate", access],
        }),
        MountSource::Tmpfs { options } => {
            let mut all = vec!["nosuid", "nodev", "noexec"];
            all.extend(options.iter().map(String::as_str));
            all.push(access);
            mount(&point.destination, "tmpfs", &all)
        }
    }
}

fn mount(destination: &str, kind: &str, options: &[&str]) -> Value {
    let source = match kind {
        "tmpfs" if destination == "/dev/shm" => "shm",
        kind => kind,
    };
    json!({"destination": destination, "type": kind, "source": source, "options": options})
}
