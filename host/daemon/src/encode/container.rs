//! `GET /containers/{id}/json`.

use std::collections::HashMap;

use dhow_api::models::{
    ContainerConfig, ContainerInspectResponse, ContainerState, ContainerStateStatusEnum,
    DriverData, Health as HealthModel, HealthConfig, HealthStatusEnum, HealthcheckResult,
    NetworkSettings,
};
use dhow_engine::Engine;
use dhow_engine::container::{self, Container, Health, HealthStatus, Phase, Record, Status};
use dhow_engine::network::Link;
use dhow_engine::time::or_never;
use serde_json::{Value, json};

use super::{host_config, network, ports};

/// Everything about a container.
fn container(engine: &Engine, container: &Container) -> ContainerInspectResponse {
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
        state: Some(state(&record.status, container.health().as_ref())),
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
        mounts: Some(Vec::new()),
        config: Some(config(&record)),
        network_settings: Some(network_settings(container, &record)),
        ..ContainerInspectResponse::default()
    }
}

fn state(status: &Status, health: Option<&Health>) -> ContainerState {
    let pid = match status.phase {
        Phase::Running { pid } | Phase::Paused { pid } => pid,
        _ => 0,
    };
    ContainerState {
        status: Some(match status.phase {
            Phase::Created | Phase::Starting => ContainerStateStatusEnum::CREATED,
            Phase::Running { .. } => ContainerStateStatusEnum::RUNNING,
            Phase::Paused { .. } => ContainerStateStatusEnum::PAUSED,
            Phase::Restarting => ContainerStateStatusEnum::RESTARTING,
            Phase::Exited => ContainerStateStatusEnum::EXITED,
            Phase::Removing | Phase::Removed => ContainerStateStatusEnum::REMOVING,
        }),
        // As Docker: what is about to be started again counts as running.
        running: Some(status.phase.is_running() || status.phase == Phase::Restarting),
        paused: Some(matches!(status.phase, Phase::Paused { .. })),
        restarting: Some(status.phase == Phase::Restarting),
        oom_killed: Some(status.oom_killed),
        dead: Some(false),
        pid: Some(pid.into()),
        exit_code: Some(status.exit_code),
        error: Some(status.error.clone()),
        started_at: Some(or_never(status.started_at)),
        finished_at: Some(or_never(status.finished_at)),
        health: health.map(model_of_health),
    }
}

fn model_of_health(health: &Health) -> HealthModel {
    let results = health.log.iter().map(|result| HealthcheckResult {
        start: Some(result.start.to_string()),
        end: Some(result.end.to_string()),
        exit_code: Some(result.exit_code),
        output: Some(result.output.clone()),
    });
    HealthModel {
        status: Some(match health.status {
            HealthStatus::Starting => HealthStatusEnum::STARTING,
            HealthStatus::Healthy => HealthStatusEnum::HEALTHY,
            HealthStatus::Unhealthy => HealthStatusEnum::UNHEALTHY,
        }),
        failing_streak: Some(health.failing_streak.into()),
        log: Some(results.collect()),
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
        healthcheck,
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
        healthcheck: healthcheck.map(|check| HealthConfig {
            test: Some(check.test),
            interval: Some(check.interval),
            timeout: Some(check.timeout),
            retries: Some(check.retries),
            start_period: Some(check.start_period),
            start_interval: Some(check.start_interval),
        }),
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
    NetworkSettings {
        sandbox_id: Some(String::new()),
        sandbox_key: Some(String::new()),
        ports: Some(ports),
        networks: None,
    }
}

/// Everything about a container, with its networks, which the models do not know whole.
pub(crate) fn inspected(engine: &Engine, container: &Container) -> Value {
    let mut value = serde_json::to_value(self::container(engine, container))
        .expect("plain data always encodes");
    let networks = engine.container_networks(container);
    if let Some(settings) = value["NetworkSettings"].as_object_mut() {
        settings.extend(network::legacy_settings(&networks));
        settings.insert(
            "Networks".to_owned(),
            network::container_networks(&networks),
        );
    }
    let links = links(engine, &container.record());
    value["HostConfig"]["Links"] = json!((!links.is_empty()).then_some(links));
    value
}

/// `/child:/parent/alias`, as Docker.
fn links(engine: &Engine, record: &Record) -> Vec<String> {
    let link = |link: &Link| {
        let child = engine.container(link.container.as_str()).ok()?;
        Some(format!("/{}:/{}/{}", child.name(), record.name, link.alias))
    };
    record.host_config.links.iter().filter_map(link).collect()
}
