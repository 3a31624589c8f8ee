//! `GET /containers/{id}/json`.

use std::collections::HashMap;

use dhow_api::models::{
    ContainerConfig, ContainerInspectResponse, ContainerState, ContainerStateStatusEnum,
    DriverData, EndpointSettings, NetworkSettings,
};
use dhow_engine::Engine;
use dhow_engine::container::{self, Container, Phase, Record, Status};
use dhow_engine::time::or_never;

use super::{host_config, mounts, ports};

/// Everything about a container.
pub(crate) fn container(engine: &Engine, container: &Container) -> ContainerInspectResponse {
    let record = container.record();
    let mut arguments = record.arguments.iter().cloned();
    let exec_ids: Vec<String> = engine
        .running_execs(&record.id)
        .iter()
        .map(ToString::to_string)
        .collect();
    ContainerInspectResponse {
        id: Some(record.id.to_string()),
        created: Some(record.created.to_string()),
        path: arguments.next(),
        args: Some(arguments.collect()),
        state: Some(state(&record.status)),
        image: Some(record.image_id.clone()),
        resolv_conf_path: Some(String::new()),
        hostname_path: Some(String::new()),
        hosts_path: Some(String::new()),
        log_path: Some(container.log_path().display().to_string()),
        name: Some(format!("/{}", record.name)),
        restart_count: Some(record.restart_count.into()),
        driver: Some("erofs".to_owned()),
        platform: Some("linux".to_owned()),
        mount_label: Some(String::new()),
        process_label: Some(String::new()),
        app_armor_profile: Some(String::new()),
        exec_ids: (!exec_ids.is_empty()).then_some(exec_ids),
        host_config: Some(host_config::host_config(&record.host_config)),
        graph_driver: Some(DriverData {
            name: "erofs".to_owned(),
            data: HashMap::new(),
        }),
        mounts: Some(mounts::mount_points(&record.mounts)),
        config: Some(config(&record)),
        network_settings: Some(network_settings(container, &record)),
        ..ContainerInspectResponse::default()
    }
}

fn state(status: &Status) -> ContainerState {
    let pid = match status.phase {
        Phase::Running { pid } | Phase::Paused { pid } => pid,
        _ => 0,
    };
    ContainerState {
        status: Some(match status.phase {
            Phase::Created | Phase::Starting => ContainerStateStatusEnum::CREATED,
            Phase::Running { .. } => ContainerStateStatusEnum::RUNNING,
            Phase::Paused { .. } => ContainerStateStatusEnum::PAUSED,
            Phase::Exited => ContainerStateStatusEnum::EXITED,
            Phase::Removing | Phase::Removed => ContainerStateStatusEnum::REMOVING,
        }),
        running: Some(status.phase.is_running()),
        paused: Some(matches!(status.phase, Phase::Paused { .. })),
        restarting: Some(false),
        oom_killed: Some(status.oom_killed),
        dead: Some(false),
        pid: Some(pid.into()),
        exit_code: Some(status.exit_code),
        error: Some(status.error.clone()),
        started_at: Some(or_never(status.started_at)),
        finished_at: Some(or_never(status.finished_at)),
        health: None,
    }
}

fn config(record: &Record) -> ContainerConfig {
    let container::ContainerConfig {
        image,
        domainname,
        user,
        attach_stdin,
        attach_stdout,
        attach_stderr,
        tty,
        open_stdin,
        stdin_once,
        env,
        entrypoint,
        command,
        working_dir,
        labels,
        stop_signal,
        stop_timeout_seconds,
        exposed_ports,
        volumes,
        ..
    } = record.config.clone();
    let exposed: Vec<String> = exposed_ports.iter().map(ToString::to_string).collect();
    ContainerConfig {
        hostname: Some(dhow_engine::oci::hostname(record).to_owned()),
        domainname: Some(domainname),
        user: Some(user),
        attach_stdin: Some(attach_stdin),
        attach_stdout: Some(attach_stdout),
        attach_stderr: Some(attach_stderr),
        exposed_ports: (!exposed.is_empty()).then_some(exposed),
        tty: Some(tty),
        open_stdin: Some(open_stdin),
        stdin_once: Some(stdin_once),
        env: Some(env),
        cmd: command,
        image: Some(image),
        volumes: (!volumes.is_empty()).then(|| volumes.into_iter().collect()),
        working_dir: Some(working_dir),
        entrypoint: entrypoint.filter(|words| !words.is_empty()),
        labels: Some(labels.into_iter().collect()),
        stop_signal,
        stop_timeout: stop_timeout_seconds.map(Into::into),
        ..ContainerConfig::default()
    }
}

fn network_settings(container: &Container, record: &Record) -> NetworkSettings {
    let published = container.published();
    let exposed = &record.config.exposed_ports;
    let ports = if record.status.phase.is_running() {
        ports::map(&published, exposed)
    } else {
        HashMap::new()
    };
    let network = match record.host_config.network_mode.as_str() {
        "none" => "none",
        _ => "bridge",
    };
    NetworkSettings {
        sandbox_id: Some(String::new()),
        sandbox_key: Some(String::new()),
        ports: Some(ports),
        networks: Some(HashMap::from([(
            network.to_owned(),
            EndpointSettings {
                network_id: Some(network.to_owned()),
                endpoint_id: Some(String::new()),
                gateway: Some(String::new()),
                ip_address: Some(String::new()),
                ip_prefix_len: Some(0),
                mac_address: Some(String::new()),
                ..EndpointSettings::default()
            },
        )])),
    }
}
