//! Lists containers, with Docker's filters.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::blocking;
use crate::class::{Classified, ErrorClass};
use crate::container::{Container, Health, LookupError, Phase, Record};
use crate::engine::Engine;
use crate::filter::{FilterError, Filters};
use crate::image::Image;
use crate::network::ContainerNetwork;
use crate::port::ContainerPort;
use crate::time::Timestamp;

/// Docker's filters on containers.
const FILTERS: [&str; 16] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
    "driver",
];

/// Docker's words for `status`.
const STATUSES: [&str; 7] = [
    "created",
    "restarting",
    "running",
    "removing",
    "paused",
    "exited",
    "dead",
];

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Those that do not run, too.
    pub all: bool,
    /// Only so many of the newest, running or not.
    pub limit: Option<usize>,
    /// Only those that match.
    pub filters: Filters,
}

/// Why nothing was listed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// A filter is wrong.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// `before` or `since` name no container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

impl Classified for ListError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Filter(error) => error.class(),
            Self::Lookup(error) => error.class(),
        }
    }
}

/// One container in a list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The container.
    pub record: Record,
    /// Where its ports can be reached now.
    pub ports: BTreeMap<ContainerPort, Vec<SocketAddr>>,
    /// The networks it is on.
    pub networks: Vec<ContainerNetwork>,
    /// Its image, as references now name it: as typed, or the id once the reference went elsewhere.
    pub image: String,
    /// How it is, where that is checked.
    pub health: Option<Health>,
}

impl Engine {
    /// Lists containers, newest first.
    ///
    /// # Errors
    /// [`ListError`].
    pub async fn list(&self, options: ListOptions) -> Result<Vec<Listed>, ListError> {
        let filters = &options.filters;
        filters.only(&FILTERS)?;
        check_values(filters)?;
        let before = self.creation_of(filters.values("before").next())?;
        let since = self.creation_of(filters.values("since").next())?;
        let images = self.images_by_id().await;
        let all = options.all || options.limit.is_some() || selects_stopped(filters);
        let mut listed: Vec<Listed> = self
            .containers()
            .all()
            .iter()
            .map(|container| self.listed(container, &images))
            .filter(|one| all || is_shown(one.record.status.phase))
            .filter(|one| before.is_none_or(|time| one.record.created < time))
            .filter(|one| since.is_none_or(|time| one.record.created > time))
            .filter(|one| matches(one, filters, &images))
            .collect();
        if let Some(limit) = options.limit {
            listed.truncate(limit);
        }
        Ok(listed)
    }

    fn creation_of(&self, reference: Option<&str>) -> Result<Option<Timestamp>, LookupError> {
        let container = reference
            .map(|reference| self.container(reference))
            .transpose()?;
        Ok(container.map(|container| container.record().created))
    }

    /// A list must not fail for an image store that does.
    async fn images_by_id(&self) -> BTreeMap<String, Image> {
        let images = Arc::clone(self.images());
        let all = blocking(move || images.list())
            .await
            .unwrap_or_else(|error| {
                tracing::warn!(%error, "listing containers without their images");
                Vec::new()
            });
        all.into_iter()
            .map(|image| (image.id.clone(), image))
            .collect()
    }
}

/// As Docker: what is about to be started again counts as running.
fn is_shown(phase: Phase) -> bool {
    phase.is_running() || phase == Phase::Restarting
}

/// Asking for a state or an exit code asks for those that do not run, too.
fn selects_stopped(filters: &Filters) -> bool {
    ["status", "exited"]
        .iter()
        .any(|key| filters.values(key).next().is_some())
}

fn check_values(filters: &Filters) -> Result<(), FilterError> {
    let invalid = |key: &str, value: &str| FilterError::InvalidValue {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    for value in filters.values("status") {
        if !STATUSES.contains(&value) {
            return Err(invalid("status", value));
        }
    }
    for value in filters.values("exited") {
        value
            .parse::<i64>()
            .map_err(|_not_a_number| invalid("exited", value))?;
    }
    Ok(())
}

impl Engine {
    fn listed(&self, container: &Arc<Container>, images: &BTreeMap<String, Image>) -> Listed {
        let ports = container.published();
        let record = container.record();
        let typed = record.config.image.clone();
        let still_names_it = images.get(&record.image_id).is_none_or(|image| {
            let tagged = with_tag(&typed);
            image.repo_tags.contains(&tagged) || image.id.contains(&typed)
        });
        let image = if still_names_it {
            typed
        } else {
            record.image_id.clone()
        };
        let networks = self.container_networks(container);
        Listed {
            record,
            ports,
            networks,
            image,
            health: container.health(),
        }
    }
}

/// `name` means `name:latest`.
fn with_tag(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains(':') || last.contains('@') {
        reference.to_owned()
    } else {
        format!("{reference}:latest")
    }
}

fn matches(one: &Listed, filters: &Filters, images: &BTreeMap<String, Image>) -> bool {
    let record = &one.record;
    filters.all_of(|key, value| match key {
        "id" => record.id.as_str().starts_with(value),
        "name" => name_matches(record.name.as_str(), value),
        "label" => Filters::label_matches(&record.config.labels, value),
        "status" => record.status.phase.name() == value,
        "exited" => {
            record.status.finished_at.is_some()
                && !record.status.phase.is_active()
                && record.status.exit_code.to_string() == value
        }
        "ancestor" => is_ancestor(record, value, images),
        "publish" => one.ports.iter().any(|(_, addresses)| {
            let wanted = value.split('/').next().unwrap_or_default();
            addresses
                .iter()
                .any(|address| address.port().to_string() == wanted)
        }),
        "expose" => value
            .parse()
            .is_ok_and(|port| record.config.exposed_ports.contains(&port)),
        "network" => one.networks.iter().any(|network| {
            network.config.network == value || network.id.as_str().starts_with(value)
        }),
        "health" => {
            let status = one
                .health
                .as_ref()
                .map_or("none", |health| health.status.name());
            status == value
        }
        "volume" => record.mounts.iter().any(|mount| {
            mount.destination == value.trim_end_matches('/')
                || mount.volume().is_some_and(|name| name.as_str() == value)
        }),
        "is-task" => value == "false",
        // Answered before.
        "before" | "since" => true,
        _ => false,
    })
}

/// Docker takes names for patterns; their anchors are what people use.
fn name_matches(name: &str, pattern: &str) -> bool {
    let (from_start, rest) = match pattern.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let (to_end, rest) = match rest.strip_suffix('$') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let wanted = rest.strip_prefix('/').unwrap_or(rest);
    match (from_start, to_end) {
        (true, true) => name == wanted,
        (true, false) => name.starts_with(wanted),
        (false, true) => name.ends_with(wanted),
        (false, false) => name.contains(wanted),
    }
}

fn is_ancestor(record: &Record, value: &str, images: &BTreeMap<String, Image>) -> bool {
    let digest = record.image_id.trim_start_matches("sha256:");
    let wanted = with_tag(value);
    with_tag(&record.config.image) == wanted
        || digest.starts_with(value.trim_start_matches("sha256:"))
        || images.get(&record.image_id).is_some_and(|image| {
            image
                .repo_tags
                .iter()
                .any(|tag| *tag == wanted || ends_with_path(tag, &wanted))
        })
}

/// `docker.io/library/busybox:latest` is `busybox:latest`.
fn ends_with_path(tag: &str, wanted: &str) -> bool {
    tag.strip_suffix(wanted)
        .is_some_and(|before| before.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_filter_takes_anchors() {
        assert!(name_matches("web-1", "web"));
        assert!(name_matches("web-1", "^/web"));
        assert!(!name_matches("web-1", "^web$"));
        assert!(name_matches("web-1", "-1$"));
    }

    #[test]
    fn a_reference_without_tag_is_latest() {
        assert_eq!(with_tag("host:5000/web"), "host:5000/web:latest");
        assert_eq!(with_tag("web:1"), "web:1");
    }

    #[test]
    fn refuses_a_state_that_is_none() {
        let filters = Filters::parse(r#"{"status":["tired"]}"#).unwrap();

        assert_eq!(
            check_values(&filters).unwrap_err().to_string(),
            "invalid filter 'status=tired'"
        );
    }
}
