//! `POST /containers/create`.

use std::collections::BTreeMap;

use dhow_api::request::{ContainerCreateRequest, HostConfigRequest, PortBindingRequest};
use dhow_engine::container::{ContainerConfig, HostConfig, Resources, Ulimit};
use dhow_engine::port::{ContainerPort, PortError, RequestedBinding};
use dhow_engine::verb::create::CreateOptions;

use super::refuse;
use crate::failure::Failure;

fn port_failure(error: &PortError) -> Failure {
    Failure::invalid(error.to_string())
}

/// What to create.
pub(crate) fn create_options(
    name: Option<&str>,
    request: ContainerCreateRequest,
) -> Result<CreateOptions, Failure> {
    refuse::healthcheck(request.healthcheck.as_ref())?;
    if request
        .volumes
        .as_ref()
        .is_some_and(|volumes| !volumes.is_empty())
    {
        return Err(Failure::unsupported("--volume"));
    }
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
        volumes: std::collections::BTreeSet::new(),
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
    refuse_policies(request)?;
    let port_bindings = port_bindings(request.port_bindings.take().unwrap_or_default())?;
    let shm_size = request.shm_size.unwrap_or_default();
    let shm_size = u64::try_from(shm_size)
        .map_err(|_| Failure::invalid(format!("SHM size can not be less than 0: {shm_size}")))?;
    Ok(HostConfig {
        auto_remove: request.auto_remove.unwrap_or_default(),
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
    })
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
    }
}

/// Restart policies, log drivers and swappiness other than the default.
fn refuse_policies(request: &HostConfigRequest) -> Result<(), Failure> {
    let restart = request
        .restart_policy
        .as_ref()
        .and_then(|policy| policy.name.as_deref());
    if !matches!(restart, None | Some("" | "no")) {
        return Err(Failure::unsupported("--restart"));
    }
    if !matches!(request.memory_swappiness, None | Some(-1)) {
        return Err(Failure::unsupported("--memory-swappiness"));
    }
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
    fn a_restart_policy_is_refused_by_name() {
        let sent = r#"{"HostConfig":{"RestartPolicy":{"Name":"always"}}}"#;

        assert_eq!(
            decoded(sent).unwrap_err(),
            "--restart is not supported by dhow yet"
        );
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
