//! `HostConfig` in answers.

use std::collections::HashMap;

use dhow_api::models::{
    DeviceMapping, HostConfig as Model, HostConfigCgroupnsModeEnum, HostConfigLogConfig,
    ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use dhow_engine::container::{HostConfig, Resources, RestartPolicy as Policy};

use super::{mounts, ports};

/// Docker's default for `/dev/shm`, shown where nothing else was asked for.
const DEFAULT_SHM_BYTES: i64 = 64 * 1024 * 1024;

fn some(words: &[String]) -> Option<Vec<String>> {
    (!words.is_empty()).then(|| words.to_vec())
}

fn devices(host: &HostConfig) -> Vec<DeviceMapping> {
    let devices = host.devices.iter().map(|device| DeviceMapping {
        path_on_host: Some(device.path_on_host.clone()),
        path_in_container: Some(device.path_in_container.clone()),
        cgroup_permissions: Some(device.permissions.clone()),
    });
    devices.collect()
}

/// What it may use at most.
fn limits(resources: &Resources) -> Model {
    let ulimits = resources.ulimits.iter().map(|ulimit| ResourcesUlimits {
        name: Some(ulimit.name.clone()),
        soft: Some(ulimit.soft),
        hard: Some(ulimit.hard),
    });
    Model {
        memory: Some(resources.memory),
        memory_swap: Some(resources.memory_swap),
        memory_reservation: Some(resources.memory_reservation),
        nano_cpus: Some(resources.nano_cpus),
        cpu_quota: Some(resources.cpu_quota),
        cpu_period: Some(resources.cpu_period),
        cpu_shares: Some(resources.cpu_shares),
        cpuset_cpus: Some(resources.cpuset_cpus.clone()),
        cpuset_mems: Some(resources.cpuset_mems.clone()),
        pids_limit: Some(resources.pids_limit).filter(|limit| *limit != 0),
        oom_score_adj: Some(resources.oom_score_adj.into()),
        // What was discarded at create.
        oom_kill_disable: Some(false),
        device_cgroup_rules: some(&resources.device_cgroup_rules),
        ulimits: Some(ulimits.collect()),
        ..Model::default()
    }
}

/// What the host grants.
pub(super) fn host_config(host: &HostConfig) -> Model {
    let shm_size = match i64::try_from(host.shm_size) {
        Ok(0) => DEFAULT_SHM_BYTES,
        Ok(bytes) => bytes,
        Err(_) => i64::MAX,
    };
    Model {
        devices: Some(devices(host)),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::new()),
        }),
        network_mode: Some(host.network_mode.clone()),
        port_bindings: Some(ports::requested(&host.port_bindings)),
        publish_all_ports: Some(host.publish_all_ports),
        restart_policy: Some(RestartPolicy {
            name: Some(match host.restart_policy {
                Policy::No => RestartPolicyNameEnum::NO,
                Policy::Always => RestartPolicyNameEnum::ALWAYS,
                Policy::UnlessStopped => RestartPolicyNameEnum::UNLESS_STOPPED,
                Policy::OnFailure { .. } => RestartPolicyNameEnum::ON_FAILURE,
            }),
            maximum_retry_count: Some(host.restart_policy.times().into()),
        }),
        auto_remove: Some(host.auto_remove),
        init: host.init.then_some(true),
        cap_add: some(&host.cap_add),
        cap_drop: some(&host.cap_drop),
        cgroupns_mode: Some(match host.modes.cgroup.as_str() {
            "host" => HostConfigCgroupnsModeEnum::HOST,
            _ => HostConfigCgroupnsModeEnum::PRIVATE,
        }),
        ipc_mode: Some(match host.modes.ipc.as_str() {
            "" => "private".to_owned(),
            mode => mode.to_owned(),
        }),
        pid_mode: Some(host.modes.pid.clone()),
        uts_mode: Some(host.modes.uts.clone()),
        userns_mode: Some(host.modes.user.clone()),
        annotations: (!host.annotations.is_empty())
            .then(|| host.annotations.clone().into_iter().collect()),
        binds: some(&host.binds),
        mounts: mounts::requests(&host.mounts),
        volumes_from: some(&host.volumes_from),
        volume_driver: Some(host.volume_driver.clone()),
        dns: Some(host.dns.clone()),
        dns_options: Some(host.dns_options.clone()),
        dns_search: Some(host.dns_search.clone()),
        extra_hosts: some(&host.extra_hosts),
        group_add: some(&host.group_add),
        privileged: Some(host.privileged),
        readonly_rootfs: Some(host.readonly_rootfs),
        security_opt: some(&host.security_opt),
        tmpfs: (!host.tmpfs.is_empty()).then(|| host.tmpfs.clone().into_iter().collect()),
        shm_size: Some(shm_size),
        sysctls: (!host.sysctls.is_empty()).then(|| host.sysctls.clone().into_iter().collect()),
        runtime: Some("dhow".to_owned()),
        console_size: Some(match host.console_size {
            Some((rows, columns)) => vec![rows.into(), columns.into()],
            None => vec![0, 0],
        }),
        masked_paths: host.masked_paths.clone(),
        readonly_paths: host.readonly_paths.clone(),
        ..limits(&host.resources)
    }
}
