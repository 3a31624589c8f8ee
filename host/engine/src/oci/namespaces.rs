//! Which namespaces a container has of its own: all but those that `--pid`, `--ipc`, `--uts` and
//! `--cgroupns` share with the machine or with another container.

use serde_json::{Value, json};

use crate::container::Record;

/// Why a namespace cannot be had as asked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamespaceModeError {
    /// No such mode.
    #[error("invalid {kind} mode: {mode}")]
    Invalid {
        /// Which namespace, as Docker's messages call it.
        kind: &'static str,
        /// The mode.
        mode: String,
    },
    /// Docker has it, dhow does not.
    #[error("--{option} {mode} is not supported by dhow yet")]
    Unsupported {
        /// The option.
        option: &'static str,
        /// The mode.
        mode: String,
    },
    /// A host name for whoever has the machine's.
    #[error("conflicting options: hostname and the UTS mode")]
    HostName,
}

/// The `linux.namespaces` list. That of another container's process ids is joined by the agent, which
/// knows that container's process.
pub(super) fn all(record: &Record, own_network: bool) -> Result<Value, NamespaceModeError> {
    let modes = &record.host_config.modes;
    let mut namespaces = vec![json!({"type": "mount"})];
    let own = [
        ("network", own_network),
        ("pid", own_pid(&modes.pid)?),
        ("ipc", own_ipc(&modes.ipc)?),
        ("uts", own_or_host("UTS", &modes.uts)?),
        ("cgroup", own_or_host("cgroup namespace", &modes.cgroup)?),
    ];
    namespaces.extend(
        own.into_iter()
            .filter(|(_, own)| *own)
            .map(|(kind, _)| json!({"type": kind})),
    );
    if modes.uts == "host" && !record.config.hostname.is_empty() {
        return Err(NamespaceModeError::HostName);
    }
    // Every container has the machine's users.
    if !matches!(modes.user.as_str(), "" | "host") {
        return Err(invalid("USER", &modes.user));
    }
    Ok(Value::from(namespaces))
}

fn own_pid(mode: &str) -> Result<bool, NamespaceModeError> {
    match mode.split_once(':') {
        Some(("container", name)) if !name.is_empty() => Ok(false),
        _ if mode.is_empty() => Ok(true),
        _ if mode == "host" => Ok(false),
        _ => Err(invalid("PID", mode)),
    }
}

/// Another container's would need its `/dev/shm`, too, which is that container's own.
fn own_ipc(mode: &str) -> Result<bool, NamespaceModeError> {
    match mode.split(':').next().unwrap_or_default() {
        "" | "private" | "none" => Ok(true),
        "host" => Ok(false),
        "container" | "shareable" => Err(NamespaceModeError::Unsupported {
            option: "ipc",
            mode: mode.to_owned(),
        }),
        _ => Err(invalid("IPC", mode)),
    }
}

fn own_or_host(kind: &'static str, mode: &str) -> Result<bool, NamespaceModeError> {
    match mode {
        "" | "private" => Ok(true),
        "host" => Ok(false),
        _ => Err(invalid(kind, mode)),
    }
}

fn invalid(kind: &'static str, mode: &str) -> NamespaceModeError {
    NamespaceModeError::Invalid {
        kind,
        mode: mode.to_owned(),
    }
}
