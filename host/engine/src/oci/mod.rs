//! The OCI runtime-spec configuration of a container, as Docker would write it.
//!
//! - [`process`] – arguments, environment, capabilities, resource limits
//! - [`capabilities`] – which ones by default, added and dropped
//! - [`security`] – `--security-opt`, masked and read-only paths
//! - [`seccomp`] – which system calls
//! - [`mounts`] – `/proc`, `/dev`, `/sys` and tmpfs
//! - [`devices`] – device nodes and who may open them
//! - [`limits`] – the cgroup
//! - [`files`] – `/etc/hosts` and `/etc/resolv.conf`
//!
//! Everything a user can get wrong is checked here, at create, so that a start does not fail for it.

pub mod capabilities;
mod devices;
pub mod files;
mod limits;
mod mounts;
pub mod process;
mod seccomp;
pub mod security;

use serde_json::{Value, json};

use crate::container::{Record, UlimitError};

pub use capabilities::CapabilityError;
pub use limits::LimitError;
pub use mounts::TmpfsError;
pub use process::ProcessOptions;
pub use security::{Security, SecurityOptionError};

/// The version of the runtime spec written.
const SPEC_VERSION: &str = "1.2.0";

/// Why a container cannot be configured as asked.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// An unknown capability.
    #[error(transparent)]
    Capability(#[from] CapabilityError),
    /// A security option that is wrong or not supported.
    #[error(transparent)]
    Security(#[from] SecurityOptionError),
    /// A limit that makes no sense.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// A resource limit that makes no sense.
    #[error(transparent)]
    Ulimit(#[from] UlimitError),
    /// A tmpfs that cannot be mounted.
    #[error(transparent)]
    Tmpfs(#[from] TmpfsError),
    /// A working directory that is no absolute path.
    #[error("the working directory '{0}' is invalid, it needs to be an absolute path")]
    WorkingDirectory(String),
    /// A kernel parameter outside the container's namespaces.
    #[error("sysctl '{0}' is not in a namespace of the container")]
    Sysctl(String),
}

/// The whole `config.json`.
///
/// # Errors
/// [`ConfigError`] naming what is wrong.
pub fn config(record: &Record) -> Result<Value, ConfigError> {
    let (config, host) = (&record.config, &record.host_config);
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return Err(ConfigError::WorkingDirectory(config.working_dir.clone()));
    }
    check_sysctls(record)?;
    let security = Security::parse(&host.security_opt)?;
    let mut linux = json!({
        "namespaces": [
            {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
            {"type": "mount"}, {"type": "cgroup"},
        ],
        "cgroupsPath": format!("/dhow/{}", record.id),
        "sysctl": host.sysctls,
        "devices": devices::nodes(),
        "resources": limits::resources(&host.resources, host.privileged)?,
        "maskedPaths": security::masked_paths(host),
        "readonlyPaths": security::readonly_paths(host),
    });
    let capabilities = capabilities::granted(host)?;
    if let Some(seccomp) = seccomp::filter(host.privileged, &security, &capabilities) {
        linux["seccomp"] = seccomp;
    }
    Ok(json!({
        "ociVersion": SPEC_VERSION,
        "hostname": hostname(record),
        "domainname": config.domainname,
        "root": {"path": "rootfs", "readonly": host.readonly_rootfs},
        "process": process::of_container(record, &capabilities, &security)?,
        "mounts": mounts::all(host)?,
        "linux": linux,
    }))
}

/// The container's own host name.
#[must_use]
pub fn hostname(record: &Record) -> &str {
    match record.config.hostname.as_str() {
        "" => record.id.short(),
        name => name,
    }
}

/// Kernel parameters outside these would change the machine for every container.
fn check_sysctls(record: &Record) -> Result<(), ConfigError> {
    const NAMESPACED: [&str; 8] = [
        "net.",
        "fs.mqueue.",
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shm",
        "kernel.domainname",
    ];
    let outside = record
        .host_config
        .sysctls
        .keys()
        .find(|name| !NAMESPACED.iter().any(|prefix| name.starts_with(prefix)));
    outside.map_or(Ok(()), |name| Err(ConfigError::Sysctl(name.clone())))
}

#[cfg(test)]
mod tests;
