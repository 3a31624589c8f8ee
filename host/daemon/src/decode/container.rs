//! `POST /containers/create`.

use std::collections::BTreeMap;

use dhow_api::request::{
    ContainerCreateRequest, ContainerUpdateRequest, HostConfigRequest, PortBindingRequest,
    RestartPolicyRequest,
};
use dhow_engine::container::{
    ContainerConfig, HealthCheck, HostConfig, Modes, Resources, RestartPolicy, Ulimit,
};
use dhow_engine::port::{ContainerPort, PortError, RequestedBinding};
use dhow_engine::verb::create::CreateOptions;
use dhow_engine::verb::update::UpdateOptions;

use super::{mounts, refuse};
use crate::failure::Failure;

fn port_failure(error: &PortError) -> Failure {
    Failure::invalid(error.to_string())
}

/// What to create.
pub(crate) fn create_options(
    name: Option<&str>,
    request: ContainerCreateRequest,
) -> Result<CreateOptions, Failure> {
    let healthcheck = healthcheck(request.healthcheck)?;
    let exposed_ports = request.exposed_ports.unwrap_or_default();
    let exposed_ports = exposed_ports
        .keys()
        .map(|port| port.parse().map_err(|error| port_failure(&error)))
        .collect::<Result<_, _>>()?;
    let mut host = request.host_config.unwrap_or_default();
    let mut host_config = host_config(&mut host)?;
    if request.network_disabled.unwrap_or_default() {
        host_config.network_mode = "none".to_owned();
    }
    let networks = super::network::endpoints(
        request.networking_config,
        &host_config.network_mode,
        request.mac_address.as_deref(),
    )?;
    let stop_timeout_seconds = request
        .stop_timeout
        .map(|seconds| {
            u32::try_from(seconds)
                .map_err(|_| Failure::invalid(format!("invalid stop timeout: {seconds}")))
        })
        .transpose()?;
    let config = ContainerConfig {
        image: request.image.unwrap_or_default(),
        hostname: request.hostname.unwrap_or_default(),
        domainname: request.domainname.unwrap_or_default(),
        user: request.user.unwrap_or_default(),
        attach_stdin: request.attach_stdin.unwrap_or_default(),
        attach_stdout: request.attach_stdout.unwrap_or_default(),
        attach_stderr: request.attach_stderr.unwrap_or_default(),
        tty: request.tty.unwrap_or_default(),
        open_stdin: request.open_stdin.unwrap_or_default(),
        stdin_once: request.stdin_once.unwrap_or_default(),
        env: request.env.unwrap_or_default(),
        entrypoint: request.entrypoint.filter(|words| !words.is_empty()),
        command: request.cmd.filter(|words| !words.is_empty()),
        working_dir: request.working_dir.unwrap_or_default(),
        labels: request.labels.unwrap_or_default(),
        stop_signal: request.stop_signal.filter(|signal| !signal.is_empty()),
        stop_timeout_seconds,
        exposed_ports,
        healthcheck,
        volumes: request.volumes.unwrap_or_default().into_keys().collect(),
    };
    Ok(CreateOptions {
        name: name.map(str::to_owned),
        config,
        host_config,
        networks,
        links: host.links.take().unwrap_or_default(),
    })
}

fn host_config(request: &mut HostConfigRequest) -> Result<HostConfig, Failure> {
    refuse::host_config(&request.rest)?;
    refuse_log_driver(request)?;
    let restart_policy = restart_policy(request.restart_policy.take())?;
    let port_bindings = port_bindings(request.port_bindings.take().unwrap_or_default())?;
    let shm_size = request.shm_size.unwrap_or_default();
    let shm_size = u64::try_from(shm_size)
        .map_err(|_| Failure::invalid(format!("SHM size can not be less than 0: {shm_size}")))?;
    Ok(HostConfig {
        auto_remove: request.auto_remove.unwrap_or_default(),
        restart_policy,
        network_mode: network_mode(request.network_mode.take()),
        links: Vec::new(),
        port_bindings,
        publish_all_ports: request.publish_all_ports.unwrap_or_default(),
        resources: resources(request),
        readonly_rootfs: request.readonly_rootfs.unwrap_or_default(),
        privileged: request.privileged.unwrap_or_default(),
        cap_add: request.cap_add.take().unwrap_or_default(),
        cap_drop: request.cap_drop.take().unwrap_or_default(),
        security_opt: request.security_opt.take().unwrap_or_default(),
        init: request.init.unwrap_or_default(),
        dns: super::network::servers(request.dns.take().unwrap_or_default())?,
        dns_options: request.dns_options.take().unwrap_or_default(),
        dns_search: request.dns_search.take().unwrap_or_default(),
        extra_hosts: request.extra_hosts.take().unwrap_or_default(),
        group_add: request.group_add.take().unwrap_or_default(),
        tmpfs: request.tmpfs.take().unwrap_or_default(),
        shm_size,
        sysctls: request.sysctls.take().unwrap_or_default(),
        console_size: super::console_size(request.console_size.as_deref()),
        masked_paths: request.masked_paths.take(),
        readonly_paths: request.readonly_paths.take(),
        binds: request.binds.take().unwrap_or_default(),
        mounts: all(request.mounts.take(), mounts::mount)?,
        volumes_from: request.volumes_from.take().unwrap_or_default(),
        volume_driver: request.volume_driver.take().unwrap_or_default(),
        devices: all(request.devices.take(), mounts::device)?,
        modes: Modes {
            pid: request.pid_mode.take().unwrap_or_default(),
            ipc: request.ipc_mode.take().unwrap_or_default(),
            uts: request.uts_mode.take().unwrap_or_default(),
            cgroup: request.cgroupns_mode.take().unwrap_or_default(),
            user: request.userns_mode.take().unwrap_or_default(),
        },
        annotations: request.annotations.take().unwrap_or_default(),
    })
}

/// Each of a list that may be missing.
fn all<From, To>(
    requests: Option<Vec<From>>,
    decode: fn(From) -> Result<To, Failure>,
) -> Result<Vec<To>, Failure> {
    requests
        .unwrap_or_default()
        .into_iter()
        .map(decode)
        .collect()
}

fn resources(request: &mut HostConfigRequest) -> Resources {
    let ulimits = request.ulimits.take().unwrap_or_default();
    let ulimits = ulimits.into_iter().map(|ulimit| Ulimit {
        name: ulimit.name,
        soft: ulimit.soft,
        hard: ulimit.hard,
    });
    Resources {
        memory: request.memory.unwrap_or_default(),
        memory_swap: request.memory_swap.unwrap_or_default(),
        memory_reservation: request.memory_reservation.unwrap_or_default(),
        nano_cpus: request.nano_cpus.unwrap_or_default(),
        cpu_quota: request.cpu_quota.unwrap_or_default(),
        cpu_period: request.cpu_period.unwrap_or_default(),
        cpu_shares: request.cpu_shares.unwrap_or_default(),
        cpuset_cpus: request.cpuset_cpus.take().unwrap_or_default(),
        cpuset_mems: request.cpuset_mems.take().unwrap_or_default(),
        pids_limit: request.pids_limit.unwrap_or_default(),
        oom_score_adj: request.oom_score_adj.unwrap_or_default(),
        ulimits: ulimits.collect(),
        device_cgroup_rules: request.device_cgroup_rules.take().unwrap_or_default(),
        blkio_weight: request.blkio_weight.unwrap_or_default(),
        // -1 is Docker's "not said".
        memory_swappiness: request.memory_swappiness.filter(|value| *value != -1),
        oom_kill_disable: request.oom_kill_disable.unwrap_or_default(),
    }
}

fn healthcheck(check: Option<serde_json::Value>) -> Result<Option<HealthCheck>, Failure> {
    let check: Option<Option<HealthCheck>> = check
        .map(serde_json::from_value)
        .transpose()
        .map_err(|error| Failure::invalid(format!("invalid health check: {error}")))?;
    // Clients that always send the object mean nothing by an empty one.
    Ok(check
        .flatten()
        .filter(|check| *check != HealthCheck::default()))
}

fn restart_policy(request: Option<RestartPolicyRequest>) -> Result<RestartPolicy, Failure> {
    let request = request.unwrap_or_default();
    let name = request.name.unwrap_or_default();
    RestartPolicy::parse(&name, request.maximum_retry_count.unwrap_or_default())
        .map_err(|error| Failure::invalid(error.to_string()))
}

/// What to change.
pub(crate) fn update_options(request: ContainerUpdateRequest) -> Result<UpdateOptions, Failure> {
    refuse::host_config(&request.rest)?;
    let policy = request.restart_policy;
    // Clients send the policy whether or not it is to change; without a name it stays.
    let policy = policy.filter(|policy| policy.name.as_ref().is_some_and(|name| !name.is_empty()));
    Ok(UpdateOptions {
        memory: request.memory,
        memory_swap: request.memory_swap,
        memory_reservation: request.memory_reservation,
        nano_cpus: request.nano_cpus,
        cpu_quota: request.cpu_quota,
        cpu_period: request.cpu_period,
        cpu_shares: request.cpu_shares,
        cpuset_cpus: request.cpuset_cpus,
        cpuset_mems: request.cpuset_mems,
        pids_limit: request.pids_limit,
        restart_policy: policy
            .map(|policy| restart_policy(Some(policy)))
            .transpose()?,
    })
}

/// Log drivers other than the default.
fn refuse_log_driver(request: &HostConfigRequest) -> Result<(), Failure> {
    let Some(log) = &request.log_config else {
        return Ok(());
    };
    if !matches!(log.kind.as_deref(), None | Some("" | "json-file")) {
        return Err(Failure::unsupported("--log-driver"));
    }
    if log
        .config
        .as_ref()
        .is_some_and(|options| !options.is_empty())
    {
        return Err(Failure::unsupported("--log-opt"));
    }
    Ok(())
}

/// Docker's word, where none was said.
fn network_mode(mode: Option<String>) -> String {
    let mode = mode.filter(|mode| !mode.is_empty());
    mode.unwrap_or_else(|| "default".to_owned())
}

fn port_bindings(
    requested: BTreeMap<String, Option<Vec<PortBindingRequest>>>,
) -> Result<BTreeMap<ContainerPort, Vec<RequestedBinding>>, Failure> {
    let mut all = BTreeMap::new();
    for (port, bindings) in requested {
        let port: ContainerPort = port.parse().map_err(|error| port_failure(&error))?;
        let bindings = bindings.unwrap_or_default();
        let parsed: Vec<_> = bindings
            .iter()
            .map(|binding| {
                RequestedBinding::parse(
                    binding.host_ip.as_deref().unwrap_or_default(),
                    binding.host_port.as_deref().unwrap_or_default(),
                )
                .map_err(|error| port_failure(&error))
            })
            .collect::<Result<_, _>>()?;
        // Docker's `-p 80`: published, the host choosing.
        let parsed = if parsed.is_empty() {
            vec![RequestedBinding::ephemeral()]
        } else {
            parsed
        };
        all.insert(port, parsed);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Result<CreateOptions, String> {
        let request = serde_json::from_str(text).unwrap();
        create_options(None, request).map_err(|failure| failure.message().to_owned())
    }

    #[test]
    fn what_the_docker_cli_always_sends_is_taken() {
        let sent = r#"{"Hostname":"","User":"","AttachStdin":false,"AttachStdout":true,"Tty":false,
            "Env":null,"Cmd":["true"],"Image":"busybox","Volumes":{},"WorkingDir":"","Entrypoint":null,
            "Labels":{},"HostConfig":{"Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"","Config":{}},
            "NetworkMode":"default","PortBindings":{},"RestartPolicy":{"Name":"no","MaximumRetryCount":0},
            "AutoRemove":false,"ConsoleSize":[0,0],"CgroupnsMode":"","Privileged":false,"ShmSize":0,
            "MemorySwappiness":-1,"OomKillDisable":false,"Isolation":"","NanoCpus":0},
            "NetworkingConfig":{"EndpointsConfig":{"default":{"IPAMConfig":null,"Links":null,
            "MacAddress":"","NetworkID":"","GwPriority":0}}}}"#;

        let options = decoded(sent).unwrap();

        assert_eq!(options.config.command, Some(vec!["true".to_owned()]));
        assert_eq!(options.host_config.console_size, None);
    }

    #[test]
    fn a_restart_policy_is_read() {
        let sent =
            r#"{"HostConfig":{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":2}}}"#;
        let wrong = r#"{"HostConfig":{"RestartPolicy":{"Name":"often"}}}"#;

        let policy = decoded(sent).unwrap().host_config.restart_policy;

        assert_eq!(policy, RestartPolicy::OnFailure { times: 2 });
        assert!(
            decoded(wrong)
                .unwrap_err()
                .contains("unknown policy 'often'")
        );
    }

    #[test]
    fn a_health_check_is_read_and_an_empty_one_is_none() {
        let sent = r#"{"Healthcheck":{"Test":["CMD","true"],"Interval":null}}"#;
        let none = r#"{"Healthcheck":{}}"#;

        let check = decoded(sent).unwrap().config.healthcheck.unwrap();

        assert_eq!(check.test, ["CMD", "true"]);
        assert_eq!(decoded(none).unwrap().config.healthcheck, None);
    }

    #[test]
    fn a_network_is_taken_by_its_name() {
        let options = decoded(r#"{"HostConfig":{"NetworkMode":"front"}}"#).unwrap();

        assert_eq!(options.host_config.network_mode, "front");
    }

    #[test]
    fn ports_are_read() {
        let sent = r#"{"HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"}],
            "53/udp":[]}}}"#;

        let options = decoded(sent).unwrap();

        assert_eq!(options.host_config.port_bindings.len(), 2);
    }
}
