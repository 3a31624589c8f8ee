//! What a container was asked to be: Docker's `Config` and `HostConfig`, as far as dhow has them.
//!
//! The daemon fills these from a request and refuses what has no place here; [`crate::verb`] merges
//! in the image's defaults at create. They are stored in the container's state file as they are.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Ulimit;
use crate::port::{ContainerPort, RequestedBinding};

/// What runs inside: portable between hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerConfig {
    /// The image as it was typed.
    pub image: String,
    /// Host name; the short id where empty.
    pub hostname: String,
    /// NIS domain name.
    pub domainname: String,
    /// `name|uid[:group|gid]`.
    pub user: String,
    /// Whether the client said it would attach to standard input.
    pub attach_stdin: bool,
    /// Whether the client said it would attach to standard output.
    pub attach_stdout: bool,
    /// Whether the client said it would attach to standard error.
    pub attach_stderr: bool,
    /// Whether the process gets a terminal.
    pub tty: bool,
    /// Whether standard input is kept open for clients.
    pub open_stdin: bool,
    /// Whether standard input ends with the first client that leaves.
    pub stdin_once: bool,
    /// `KEY=value`; `KEY` alone removes it.
    pub env: Vec<String>,
    /// `None`: the image's. Empty: none.
    pub entrypoint: Option<Vec<String>>,
    /// `None`: the image's.
    pub command: Option<Vec<String>>,
    /// Where the process starts; created where missing.
    pub working_dir: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Name or number of the signal that asks the process to end.
    pub stop_signal: Option<String>,
    /// Seconds between that signal and SIGKILL.
    pub stop_timeout_seconds: Option<u32>,
    /// Ports the application listens on.
    pub exposed_ports: BTreeSet<ContainerPort>,
    /// Paths declared as volumes by the image. They are plain directories in the container's own
    /// layer for now.
    pub volumes: BTreeSet<String>,
}

/// What the host grants and limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostConfig {
    /// Whether the container is removed once it has ended.
    pub auto_remove: bool,
    /// `default`, `bridge` or `none`.
    pub network_mode: String,
    /// Ports to publish.
    pub port_bindings: BTreeMap<ContainerPort, Vec<RequestedBinding>>,
    /// Whether every exposed port is published at a port of the host's choice.
    pub publish_all_ports: bool,
    /// Limits.
    pub resources: Resources,
    /// Whether the root file system is read-only.
    pub readonly_rootfs: bool,
    /// Every capability, device and system call.
    pub privileged: bool,
    /// Capabilities beyond the default ones; `ALL` is all.
    pub cap_add: Vec<String>,
    /// Default capabilities to do without; `ALL` is all.
    pub cap_drop: Vec<String>,
    /// `seccomp=…`, `no-new-privileges…`.
    pub security_opt: Vec<String>,
    /// Whether a tiny init is process 1.
    pub init: bool,
    /// Name servers.
    pub dns: Vec<String>,
    /// Options of the resolver.
    pub dns_options: Vec<String>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// `name:address` lines for `/etc/hosts`.
    pub extra_hosts: Vec<String>,
    /// Further groups of the process.
    pub group_add: Vec<String>,
    /// Path → options of tmpfs mounts.
    pub tmpfs: BTreeMap<String, String>,
    /// Size of `/dev/shm` in bytes; 0 is Docker's default.
    pub shm_size: u64,
    /// Kernel parameters of the container's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// The terminal's first size, rows and columns.
    pub console_size: Option<(u16, u16)>,
    /// Paths to hide, where not the default ones.
    pub masked_paths: Option<Vec<String>>,
    /// Paths to make read-only, where not the default ones.
    pub readonly_paths: Option<Vec<String>>,
}

/// Limits on what a container may use; 0 or `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Memory in bytes.
    pub memory: i64,
    /// Memory and swap together in bytes; -1 is unlimited swap.
    pub memory_swap: i64,
    /// Soft limit of memory in bytes.
    pub memory_reservation: i64,
    /// CPUs in 10⁻⁹.
    pub nano_cpus: i64,
    /// Microseconds of CPU a period.
    pub cpu_quota: i64,
    /// Microseconds of a period.
    pub cpu_period: i64,
    /// Relative weight, Docker's 1024 being the default.
    pub cpu_shares: i64,
    /// CPUs to run on, as a list of ranges.
    pub cpuset_cpus: String,
    /// Memory nodes to use, as a list of ranges.
    pub cpuset_mems: String,
    /// Processes and threads at most; -1 and 0 are no limit.
    pub pids_limit: i64,
    /// The kernel's inclination to kill it when memory is short, -1000 to 1000.
    pub oom_score_adj: i32,
    /// Resource limits.
    pub ulimits: Vec<Ulimit>,
}
