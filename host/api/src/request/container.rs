//! `POST /containers/create`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::network::NetworkingConfigRequest;
use super::words;

/// The body: what runs inside, and `HostConfig`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerCreateRequest {
    /// The image as typed.
    pub image: Option<String>,
    /// Host name.
    pub hostname: Option<String>,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// `name|uid[:group|gid]`.
    pub user: Option<String>,
    /// Whether the client will attach to standard input.
    pub attach_stdin: Option<bool>,
    /// Whether the client will attach to standard output.
    pub attach_stdout: Option<bool>,
    /// Whether the client will attach to standard error.
    pub attach_stderr: Option<bool>,
    /// Whether the process gets a terminal.
    pub tty: Option<bool>,
    /// Whether standard input is kept open.
    pub open_stdin: Option<bool>,
    /// Whether standard input ends with its first client.
    pub stdin_once: Option<bool>,
    /// `KEY=value`.
    pub env: Option<Vec<String>>,
    /// The command.
    #[serde(deserialize_with = "words")]
    pub cmd: Option<Vec<String>>,
    /// The entry point.
    #[serde(deserialize_with = "words")]
    pub entrypoint: Option<Vec<String>>,
    /// Where the process starts.
    pub working_dir: Option<String>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// The signal that asks the process to end.
    pub stop_signal: Option<String>,
    /// Seconds between that signal and SIGKILL.
    pub stop_timeout: Option<i64>,
    /// `80/tcp` → `{}`.
    pub exposed_ports: Option<BTreeMap<String, Value>>,
    /// Path → `{}`.
    pub volumes: Option<BTreeMap<String, Value>>,
    /// How its health is checked.
    pub healthcheck: Option<Value>,
    /// Whether it has no network.
    pub network_disabled: Option<bool>,
    /// What the host grants.
    pub host_config: Option<HostConfigRequest>,
    /// Networks to join.
    pub networking_config: Option<NetworkingConfigRequest>,
    /// The hardware address on its network, as clients before API 1.44 say it.
    pub mac_address: Option<String>,
}

/// What the host grants and limits.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostConfigRequest {
    /// Whether the container is removed once it has ended.
    pub auto_remove: Option<bool>,
    /// `default`, `bridge`, `none`, `host`, `container:…` or a network's name.
    pub network_mode: Option<String>,
    /// Legacy links, `container[:alias]`.
    pub links: Option<Vec<String>>,
    /// `80/tcp` → where.
    pub port_bindings: Option<BTreeMap<String, Option<Vec<PortBindingRequest>>>>,
    /// Whether every exposed port is published.
    pub publish_all_ports: Option<bool>,
    /// Bytes.
    pub memory: Option<i64>,
    /// Bytes, with swap.
    pub memory_swap: Option<i64>,
    /// Bytes, soft.
    pub memory_reservation: Option<i64>,
    /// Percent, -1 for the default.
    pub memory_swappiness: Option<i64>,
    /// CPUs in 10⁻⁹.
    #[serde(rename = "NanoCpus")]
    pub nano_cpus: Option<i64>,
    /// Microseconds a period.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<i64>,
    /// Weight.
    pub cpu_shares: Option<i64>,
    /// CPUs to run on.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes to use.
    pub cpuset_mems: Option<String>,
    /// Processes at most.
    pub pids_limit: Option<i64>,
    /// -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Resource limits.
    pub ulimits: Option<Vec<UlimitRequest>>,
    /// Whether the root file system is read-only.
    pub readonly_rootfs: Option<bool>,
    /// Everything allowed.
    pub privileged: Option<bool>,
    /// Further capabilities.
    #[serde(deserialize_with = "words")]
    pub cap_add: Option<Vec<String>>,
    /// Capabilities to do without.
    #[serde(deserialize_with = "words")]
    pub cap_drop: Option<Vec<String>>,
    /// `seccomp=…` and such.
    pub security_opt: Option<Vec<String>>,
    /// Whether a tiny init is process 1.
    pub init: Option<bool>,
    /// Name servers.
    pub dns: Option<Vec<String>>,
    /// Options of the resolver.
    pub dns_options: Option<Vec<String>>,
    /// Search domains.
    pub dns_search: Option<Vec<String>>,
    /// `name:address`.
    pub extra_hosts: Option<Vec<String>>,
    /// Further groups.
    pub group_add: Option<Vec<String>>,
    /// Path → options.
    pub tmpfs: Option<BTreeMap<String, String>>,
    /// Bytes of `/dev/shm`.
    pub shm_size: Option<i64>,
    /// Kernel parameters.
    pub sysctls: Option<BTreeMap<String, String>>,
    /// Rows and columns.
    pub console_size: Option<Vec<u16>>,
    /// Paths to hide.
    pub masked_paths: Option<Vec<String>>,
    /// Paths to make read-only.
    pub readonly_paths: Option<Vec<String>>,
    /// What happens when it ends.
    pub restart_policy: Option<RestartPolicyRequest>,
    /// Where its output goes.
    pub log_config: Option<LogConfigRequest>,
    /// Everything else, to be refused by name where it asks for something.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// One place where a port shall be reachable.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PortBindingRequest {
    /// The host's address.
    pub host_ip: Option<String>,
    /// The host's port or range.
    pub host_port: Option<String>,
}

/// One resource limit.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UlimitRequest {
    /// `nofile` and such.
    pub name: String,
    /// What applies.
    pub soft: i64,
    /// What it may be raised to.
    pub hard: i64,
}

/// What happens when a container ends.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RestartPolicyRequest {
    /// `no`, `always`, `on-failure` or `unless-stopped`.
    pub name: Option<String>,
    /// How often `on-failure` tries again; 0 is no limit.
    pub maximum_retry_count: Option<i64>,
}

/// `POST /containers/{id}/update`: what is not there stays.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerUpdateRequest {
    /// Bytes.
    pub memory: Option<i64>,
    /// Bytes, with swap.
    pub memory_swap: Option<i64>,
    /// Bytes, soft.
    pub memory_reservation: Option<i64>,
    /// CPUs in 10⁻⁹.
    #[serde(rename = "NanoCpus")]
    pub nano_cpus: Option<i64>,
    /// Microseconds a period.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<i64>,
    /// Weight.
    pub cpu_shares: Option<i64>,
    /// CPUs to run on.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes to use.
    pub cpuset_mems: Option<String>,
    /// Processes at most.
    pub pids_limit: Option<i64>,
    /// What happens when it ends.
    pub restart_policy: Option<RestartPolicyRequest>,
    /// Everything else, to be refused by name where it asks for something.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// Where a container's output goes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogConfigRequest {
    /// The driver.
    #[serde(rename = "Type")]
    pub kind: Option<String>,
    /// Its options.
    pub config: Option<BTreeMap<String, String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_single_words_are_read() {
        let text = r#"{"Image":"busybox","Cmd":"sh","Env":null,"ExposedPorts":{"80/tcp":{}},
            "HostConfig":{"CapAdd":null,"Binds":null,"NetworkMode":"default",
            "PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"}],"81/tcp":null}}}"#;

        let request: ContainerCreateRequest = serde_json::from_str(text).unwrap();

        assert_eq!(request.cmd, Some(vec!["sh".to_owned()]));
        let host = request.host_config.unwrap();
        assert_eq!(host.port_bindings.unwrap().len(), 2);
        assert!(host.rest.contains_key("Binds"));
    }
}
