//! The OCI runtime-spec configuration of a container, as Docker would write it.
//!
//! - [`process`] – arguments, environment, capabilities, resource limits
//! - [`capabilities`] – which ones by default, added and dropped
//! - [`security`] – `--security-opt`, masked and read-only paths
//! - [`namespaces`] – which ones are its own
//! - [`seccomp`], [`seccomp_profile`] – which system calls, by default or as a file says
//! - [`mounts`] – `/proc`, `/dev`, `/sys`, tmpfs and volumes
//! - [`devices`] – device nodes and who may open them
//! - [`limits`] – the cgroup
//! - [`files`] – `/etc/hosts` and `/etc/resolv.conf`
//!
//! Everything a user can get wrong is checked here, at create, so that a start does not fail for it.

pub mod capabilities;
mod devices;
pub mod files;
pub(crate) mod limits;
mod mounts;
mod namespaces;
pub mod process;
mod seccomp;
mod seccomp_calls;
mod seccomp_profile;
pub mod security;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::container::{HostConfig, Record, UlimitError};
use crate::network::NetworkMode;

pub use capabilities::CapabilityError;
pub use devices::DeviceRuleError;
pub use limits::{LimitError, discarded};
pub use mounts::TmpfsError;
pub use namespaces::NamespaceModeError;
pub use process::ProcessOptions;
pub use seccomp_profile::ProfileError;
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
    /// A namespace that cannot be had.
    #[error(transparent)]
    Namespace(#[from] NamespaceModeError),
    /// A system call filter that is none.
    #[error("Decoding seccomp profile failed")]
    Seccomp(#[from] ProfileError),
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
    let own_network = NetworkMode::parse(&host.network_mode).is_own();
    let mut linux = json!({
        "namespaces": namespaces::all(record, own_network)?,
        "cgroupsPath": format!("/dhow/{}", record.id),
        "sysctl": sysctls(host, own_network),
        "devices": devices::nodes(),
        "resources": limits::resources(&host.resources, host.privileged)?,
        "maskedPaths": security::masked_paths(host),
        "readonlyPaths": security::readonly_paths(host),
    });
    let capabilities = capabilities::granted(host)?;
    if let Some(seccomp) = seccomp::filter(host.privileged, &security, &capabilities)? {
        linux["seccomp"] = seccomp;
    }
    Ok(json!({
        "ociVersion": SPEC_VERSION,
        "hostname": hostname(record),
        "domainname": config.domainname,
        "root": {"path": "rootfs", "readonly": host.readonly_rootfs},
        "process": process::of_container(record, &capabilities, &security)?,
        "mounts": mounts::all(record)?,
        "annotations": host.annotations,
        "linux": linux,
    }))
}

/// Kernel parameters: Docker lets a network of its own use every port and ping as any user.
fn sysctls(host: &HostConfig, own_network: bool) -> BTreeMap<String, String> {
    const DEFAULTS: [(&str, &str); 2] = [
        ("net.ipv4.ip_unprivileged_port_start", "0"),
        ("net.ipv4.ping_group_range", "0 2147483647"),
    ];
    let mut all = host.sysctls.clone();
    for (name, value) in DEFAULTS.iter().filter(|_| own_network) {
        let unset = || (*value).to_owned();
        all.entry((*name).to_owned()).or_insert_with(unset);
    }
    all
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
