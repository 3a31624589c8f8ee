//! Networks: make, list, look into, remove, prune.

use super::to_the_end;
use crate::container::Record;
use crate::engine::Engine;
use crate::filter::{FilterError, Filters};
use crate::id::Id;
use crate::network::store::{self, Network};
use crate::network::{CreateRequest, Endpoint, MakeError, NetworkRecord, RemoveError};
use crate::time::Timestamp;

/// Docker's filters on networks.
const FILTERS: [&str; 7] = ["dangling", "driver", "id", "label", "name", "scope", "type"];

/// A network and the containers on it.
#[derive(Clone, Debug)]
pub struct NetworkView {
    /// The network.
    pub record: NetworkRecord,
    /// The containers that run on it, with their names.
    pub endpoints: Vec<(String, Endpoint)>,
}

impl Engine {
    /// Makes a network.
    ///
    /// # Errors
    /// [`MakeError`].
    pub async fn create_network(&self, request: CreateRequest) -> Result<Id, MakeError> {
        let engine = self.clone();
        to_the_end(async move {
            let network = engine.networks().create(request)?;
            if let Some(lease) = engine.machine().running()
                && let Err(error) = engine.networks().tell_made(lease.guest(), &network).await
            {
                tracing::debug!(%error, "the next machine is told of the network");
            }
            engine.announce_network_itself(&network.record, "create");
            Ok(network.record.id.clone())
        })
        .await
    }

    /// A network by its id, a prefix of it, or its name.
    ///
    /// # Errors
    /// [`store::LookupError`] where none or several match.
    pub fn network(&self, reference: &str) -> Result<NetworkView, store::LookupError> {
        Ok(self.view(&*self.networks().resolve(reference)?))
    }

    /// Lists networks.
    ///
    /// # Errors
    /// [`FilterError`] on filters that are none.
    pub fn list_networks(&self, filters: &Filters) -> Result<Vec<NetworkView>, FilterError> {
        filters.only(&FILTERS)?;
        let all = self.networks().all();
        let views = all.iter().map(|network| self.view(network));
        Ok(views.filter(|view| matches(view, filters)).collect())
    }

    /// Removes a network that no running container is on.
    ///
    /// # Errors
    /// [`RemoveError`].
    pub async fn remove_network(&self, reference: &str) -> Result<(), RemoveError> {
        let (engine, reference) = (self.clone(), reference.to_owned());
        to_the_end(async move {
            let network = engine
                .networks()
                .remove(&reference, |container| engine.name_of(container))?;
            if let Some(lease) = engine.machine().running()
                && let Err(error) = engine
                    .networks()
                    .tell_removed(lease.guest(), &network)
                    .await
            {
                tracing::debug!(%error, "the network ends with the machine");
            }
            engine.announce_network_itself(&network.record, "destroy");
            Ok(())
        })
        .await
    }

    /// Removes every network of users that no container, running or not, is to be on; returns their
    /// names.
    ///
    /// # Errors
    /// [`FilterError`] on filters other than `label`, `label!` and `until`.
    pub async fn prune_networks(&self, filters: &Filters) -> Result<Vec<String>, FilterError> {
        filters.only(&["label", "label!", "until"])?;
        let mut until = None;
        for value in filters.values("until") {
            let parsed = Timestamp::parse(value).map_err(|_not_a_time| FilterError::InvalidValue {
                key: "until".to_owned(),
                value: value.to_owned(),
            });
            until = Some(parsed?);
        }
        let mut removed = Vec::new();
        for network in self.networks().all() {
            let record = &network.record;
            let labels = &record.labels;
            let chosen = filters
                .values("label")
                .all(|wanted| Filters::label_matches(labels, wanted))
                && !filters
                    .values("label!")
                    .any(|other| Filters::label_matches(labels, other))
                && until.is_none_or(|until| record.created < until);
            if !chosen || record.is_predefined() || self.is_wanted(&record.name) {
                continue;
            }
            if self.remove_network(record.id.as_str()).await.is_ok() {
                removed.push(record.name.clone());
            }
        }
        Ok(removed)
    }

    fn view(&self, network: &Network) -> NetworkView {
        let endpoints = network.endpoints().into_iter();
        NetworkView {
            record: network.record.clone(),
            endpoints: endpoints
                .map(|endpoint| (self.name_of(&endpoint.container), endpoint))
                .collect(),
        }
    }

    fn name_of(&self, container: &Id) -> String {
        self.container(container.as_str())
            .map(|container| container.name().to_string())
            .unwrap_or_default()
    }

    /// Whether a container, running or not, is to be on a network.
    fn is_wanted(&self, network: &str) -> bool {
        let all = self.containers().all();
        all.iter()
            .any(|container| is_wanted_by(&container.record(), network))
    }

    fn announce_network_itself(&self, record: &NetworkRecord, action: &str) {
        let attributes = [
            ("name", record.name.clone()),
            ("type", record.driver.name().to_owned()),
        ];
        self.announce_of_network(&record.id, action, &attributes);
    }
}

pub(super) fn is_wanted_by(record: &Record, network: &str) -> bool {
    record
        .networks
        .iter()
        .any(|config| config.network == network)
}

fn matches(view: &NetworkView, filters: &Filters) -> bool {
    let record = &view.record;
    filters.all_of(|key, value| match key {
        "id" => record.id.as_str().starts_with(value),
        "name" => record.name.contains(value),
        "driver" => record.driver.name() == value,
        "label" => Filters::label_matches(&record.labels, value),
        "scope" => value == "local",
        "type" => record.is_predefined() == (value == "builtin"),
        "dangling" => {
            let dangling = view.endpoints.is_empty() && !record.is_predefined();
            dangling == matches!(value, "true" | "1")
        }
        _ => false,
    })
}
