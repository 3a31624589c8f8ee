//! From the flags of `run` and `create` to the configuration the API takes.

use std::collections::HashMap;
use std::env;

use anyhow::{Context, Result, bail};
use dhow_api::client::request::{
    ContainerCreateBody, HostConfig, PortBinding, RestartPolicy, RestartPolicyNameEnum,
};

use super::network::{self, Networks};
use super::{environment, health, labels, mounts, ports, size, ulimits};
use crate::args::container::{ChangeableLimitArgs, ContainerArgs};

/// Billionths of a processor, the API's unit for `--cpus`.
const NANO: f64 = 1e9;

/// More processors than any machine of ours will have; keeps `--cpus` inside the API's integer.
const MAX_CPUS: f64 = 4096.0;

/// Which streams a container is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Streams {
    /// Our input.
    pub(crate) stdin: bool,
    /// Its output.
    pub(crate) stdout: bool,
    /// Its errors.
    pub(crate) stderr: bool,
}

impl Streams {
    /// Whether there is anything to attach to.
    pub(crate) fn any(self) -> bool {
        self.stdin || self.stdout || self.stderr
    }
}

/// Which streams `-a`, `-i` and `-d` mean together.
pub(crate) fn streams(args: &ContainerArgs, detached: bool) -> Result<Streams> {
    if detached {
        if !args.attach.is_empty() {
            bail!("--detach and --attach exclude each other");
        }
        return Ok(Streams::default());
    }
    if args.attach.is_empty() {
        return Ok(Streams {
            stdin: args.interactive,
            stdout: true,
            stderr: true,
        });
    }
    let mut streams = Streams::default();
    for stream in &args.attach {
        match stream.to_ascii_lowercase().as_str() {
            "stdin" => streams.stdin = true,
            "stdout" => streams.stdout = true,
            "stderr" => streams.stderr = true,
            _ => bail!("\"{stream}\" is no stream; there are stdin, stdout and stderr"),
        }
    }
    Ok(streams)
}

/// The configuration for the API.
pub(crate) fn resolve(args: &ContainerArgs, streams: Streams) -> Result<ContainerCreateBody> {
    let lookup = |name: &str| env::var(name).ok();
    check_platform(args.platform.as_deref())?;
    let published = published(args)?;
    let networks = network::resolve(&args.networks)?;
    let mut exposed: Vec<String> = published
        .iter()
        .map(|published| published.container.clone())
        .collect();
    for text in &args.expose {
        exposed.extend(ports::parse_exposed(text)?);
    }
    exposed.sort_unstable();
    exposed.dedup();
    Ok(ContainerCreateBody {
        image: Some(args.image.clone()),
        cmd: non_empty(&args.command),
        // An empty entrypoint takes the image's away; the API says that with one empty string.
        entrypoint: args
            .entrypoint
            .as_ref()
            .map(|entrypoint| vec![entrypoint.clone()]),
        env: Some(environment::resolve(&args.env, &args.env_file, &lookup)?),
        labels: Some(labels::resolve(&args.label, &args.label_file)?),
        hostname: args.hostname.clone(),
        domainname: args.domainname.clone(),
        user: args.user.clone(),
        working_dir: args.workdir.clone(),
        tty: Some(args.tty),
        open_stdin: Some(args.interactive),
        stdin_once: Some(args.interactive && streams.stdin),
        attach_stdin: Some(streams.stdin),
        attach_stdout: Some(streams.stdout),
        attach_stderr: Some(streams.stderr),
        exposed_ports: Some(exposed),
        stop_signal: args.stop_signal.clone(),
        stop_timeout: args.stop_timeout,
        healthcheck: health::resolve(&args.health)?,
        host_config: Some(host_config(args, published, &networks)?),
        networking_config: networks.config,
        ..ContainerCreateBody::default()
    })
}

fn host_config(
    args: &ContainerArgs,
    published: Vec<ports::Published>,
    networks: &Networks,
) -> Result<HostConfig> {
    if !args.volume.is_empty() {
        bail!(mounts::NO_VOLUMES);
    }
    let mounts = args.mount.iter().map(|text| mounts::parse_mount(text));
    let config = HostConfig {
        auto_remove: Some(args.rm),
        port_bindings: Some(bindings(published)),
        publish_all_ports: Some(args.publish_all),
        network_mode: Some(networks.mode.clone()),
        links: networks.links.clone(),
        extra_hosts: non_empty(&args.add_host),
        dns: non_empty(&args.dns),
        dns_options: non_empty(&args.dns_option),
        dns_search: non_empty(&args.dns_search),
        group_add: non_empty(&args.group_add),
        init: args.init.then_some(true),
        restart_policy: Some(restart_policy_of(args)?),
        mounts: Some(mounts.collect::<Result<Vec<_>>>()?),
        tmpfs: Some(mounts::parse_tmpfs(&args.tmpfs)?),
        readonly_rootfs: Some(args.read_only),
        shm_size: args.shm_size.as_deref().map(size::parse).transpose()?,
        cap_add: non_empty(&args.cap_add),
        cap_drop: non_empty(&args.cap_drop),
        privileged: Some(args.privileged),
        security_opt: non_empty(&args.security_opt),
        sysctls: Some(sysctls(&args.sysctl)?),
        ..HostConfig::default()
    };
    let ulimits = args.limits.ulimit.iter();
    let ulimits = ulimits.map(|text| ulimits::parse(text));
    let config = HostConfig {
        ulimits: Some(ulimits.collect::<Result<Vec<_>>>()?),
        oom_score_adj: args.limits.oom_score_adj,
        ..config
    };
    limits(&args.limits.changeable, config)
}

/// Adds the limits that can be changed later.
pub(crate) fn limits(args: &ChangeableLimitArgs, config: HostConfig) -> Result<HostConfig> {
    Ok(HostConfig {
        memory: args.memory.as_deref().map(size::parse).transpose()?,
        memory_swap: args
            .memory_swap
            .as_deref()
            .map(size::parse_or_unlimited)
            .transpose()?,
        memory_reservation: args
            .memory_reservation
            .as_deref()
            .map(size::parse)
            .transpose()?,
        nano_cpus: args.cpus.as_deref().map(nano_cpus).transpose()?,
        cpu_shares: args.cpu_shares,
        cpu_quota: args.cpu_quota,
        cpu_period: args.cpu_period,
        cpuset_cpus: args.cpuset_cpus.clone(),
        pids_limit: args.pids_limit,
        ..config
    })
}

fn published(args: &ContainerArgs) -> Result<Vec<ports::Published>> {
    let mut all = Vec::new();
    for text in &args.publish {
        all.extend(ports::parse(text)?);
    }
    Ok(all)
}

fn bindings(published: Vec<ports::Published>) -> HashMap<String, Option<Vec<PortBinding>>> {
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in published {
        let binding = PortBinding {
            host_ip: Some(port.address.unwrap_or_default()),
            host_port: Some(port.host),
        };
        bindings
            .entry(port.container)
            .or_default()
            .get_or_insert_with(Vec::new)
            .push(binding);
    }
    bindings
}

fn restart_policy_of(args: &ContainerArgs) -> Result<RestartPolicy> {
    let policy = restart_policy(args.restart.as_deref().unwrap_or("no"))?;
    if args.rm && policy.name != Some(RestartPolicyNameEnum::NO) {
        bail!("--restart and --rm exclude each other");
    }
    Ok(policy)
}

/// Reads `--restart`.
pub(crate) fn restart_policy(text: &str) -> Result<RestartPolicy> {
    let (name, times) = text
        .split_once(':')
        .map_or((text, None), |(name, n)| (name, Some(n)));
    let policy = match name {
        "no" | "" => RestartPolicyNameEnum::NO,
        "always" => RestartPolicyNameEnum::ALWAYS,
        "unless-stopped" => RestartPolicyNameEnum::UNLESS_STOPPED,
        "on-failure" => RestartPolicyNameEnum::ON_FAILURE,
        _ => bail!("invalid restart policy \"{text}\""),
    };
    if times.is_some() && policy != RestartPolicyNameEnum::ON_FAILURE {
        bail!("invalid restart policy \"{text}\": only on-failure counts");
    }
    let times = times.map(str::parse::<i64>).transpose();
    let times = times.with_context(|| format!("invalid restart policy \"{text}\""))?;
    Ok(RestartPolicy {
        name: Some(policy),
        maximum_retry_count: times,
    })
}

fn sysctls(given: &[String]) -> Result<HashMap<String, String>> {
    let mut parameters = HashMap::new();
    for text in given {
        let Some((key, value)) = text.split_once('=') else {
            bail!("invalid --sysctl \"{text}\": it must be key=value");
        };
        parameters.insert(key.to_owned(), value.to_owned());
    }
    Ok(parameters)
}

fn nano_cpus(text: &str) -> Result<i64> {
    let cpus: f64 = text
        .parse()
        .with_context(|| format!("invalid --cpus \"{text}\""))?;
    if !(0.0..=MAX_CPUS).contains(&cpus) {
        bail!("invalid --cpus \"{text}\": it must be between 0 and {MAX_CPUS}");
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "at most 4096e9, checked above"
    )]
    Ok((cpus * NANO).round() as i64)
}

/// The machine runs what the host runs; nothing is emulated.
pub(crate) fn check_platform(given: Option<&str>) -> Result<()> {
    match given {
        None | Some("linux/amd64" | "linux/x86_64" | "linux") => Ok(()),
        Some(other) => bail!("platform \"{other}\" cannot run here; only linux/amd64 can"),
    }
}

fn non_empty(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;
