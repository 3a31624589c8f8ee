//! `GET /containers/json`.

use dhow_api::models::{
    ContainerSummary, ContainerSummaryHostConfig, ContainerSummaryNetworkSettings,
    ContainerSummaryStateEnum,
};
use dhow_engine::Timestamp;
use dhow_engine::container::{Health, HealthStatus, Phase, Status};
use dhow_engine::verb::list::Listed;

use super::{duration, network, ports};

/// One line of `docker ps`.
pub(crate) fn summary(listed: Listed) -> ContainerSummary {
    let Listed {
        record,
        ports: published,
        networks,
        image,
        health,
    } = listed;
    ContainerSummary {
        id: Some(record.id.to_string()),
        names: Some(vec![format!("/{}", record.name)]),
        image: Some(image),
        image_id: Some(record.image_id),
        command: Some(command(&record.arguments)),
        created: Some(record.created.seconds()),
        ports: Some(ports::summaries(&published, &record.config.exposed_ports)),
        labels: Some(record.config.labels.into_iter().collect()),
        state: Some(state(record.status.phase)),
        status: Some(status(&record.status, health.as_ref(), Timestamp::now())),
        host_config: Some(ContainerSummaryHostConfig {
            network_mode: Some(record.host_config.network_mode),
            ..ContainerSummaryHostConfig::default()
        }),
        network_settings: Some(ContainerSummaryNetworkSettings {
            networks: serde_json::from_value(network::container_networks(&networks)).ok(),
        }),
        mounts: Some(Vec::new()),
        ..ContainerSummary::default()
    }
}

fn command(arguments: &[String]) -> String {
    let quoted = arguments.iter().map(|argument| {
        if argument.contains(char::is_whitespace) {
            format!("'{argument}'")
        } else {
            argument.clone()
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn state(phase: Phase) -> ContainerSummaryStateEnum {
    match phase {
        Phase::Created | Phase::Starting => ContainerSummaryStateEnum::CREATED,
        Phase::Running { .. } => ContainerSummaryStateEnum::RUNNING,
        Phase::Paused { .. } => ContainerSummaryStateEnum::PAUSED,
        Phase::Restarting => ContainerSummaryStateEnum::RESTARTING,
        Phase::Exited => ContainerSummaryStateEnum::EXITED,
        Phase::Removing | Phase::Removed => ContainerSummaryStateEnum::REMOVING,
    }
}

fn status(status: &Status, health: Option<&Health>, now: Timestamp) -> String {
    let since = |time: Option<Timestamp>| {
        duration::in_words(time.map_or_else(Default::default, |time| time.until(now)))
    };
    match status.phase {
        Phase::Created | Phase::Starting => "Created".to_owned(),
        Phase::Running { .. } => {
            let health = health.map_or("", |health| match health.status {
                HealthStatus::Starting => " (health: starting)",
                HealthStatus::Healthy => " (healthy)",
                HealthStatus::Unhealthy => " (unhealthy)",
            });
            format!("Up {}{health}", since(status.started_at))
        }
        Phase::Paused { .. } => format!("Up {} (Paused)", since(status.started_at)),
        Phase::Restarting => format!(
            "Restarting ({}) {} ago",
            status.exit_code,
            since(status.finished_at)
        ),
        Phase::Exited => format!(
            "Exited ({}) {} ago",
            status.exit_code,
            since(status.finished_at)
        ),
        Phase::Removing | Phase::Removed => "Removal In Progress".to_owned(),
    }
}
