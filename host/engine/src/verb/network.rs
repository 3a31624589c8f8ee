//! Networks: make, list, look into, remove, prune; connect and disconnect containers.

use dhow_protocol::Request;

use super::to_the_end;
use crate::class::{Classified, ErrorClass};
use crate::container::{Container, ContainerConfig, HostConfig, LookupError, Record};
use crate::engine::Engine;
use crate::filter::{FilterError, Filters};
use crate::guest::GuestError;
use crate::id::Id;
use crate::network::record::{BRIDGE, HOST, NONE};
use crate::network::store::{self, Network};
use crate::network::{
    CreateRequest, Endpoint, EndpointConfig, JoinError, Link, MakeError, ModeError, NetworkMode,
    NetworkRecord, RemoveError,
};
use crate::time::Timestamp;

/// The most networks of one container, which the agent also refuses to exceed.
const MAX_NETWORKS: usize = dhow_protocol::network::MAX_INTERFACES;

/// Docker's filters on networks.
const FILTERS: [&str; 7] = ["dangling", "driver", "id", "label", "name", "scope", "type"];

/// Why a container's networks were refused at create.
#[derive(Debug, thiserror::Error)]
pub enum CreateNetworkError {
    /// Options that do not go together.
    #[error(transparent)]
    Mode(#[from] ModeError),
    /// The container whose network is asked for is not there.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// A link that is none.
    #[error("bad format for links: {0}")]
    BadLink(String),
    /// A link to nobody.
    #[error("could not get container for {name}")]
    LinkLookup {
        /// Who was named.
        name: String,
        /// Why there is none.
        #[source]
        source: LookupError,
    },
    /// More than an interface each.
    #[error("a container can be on {MAX_NETWORKS} networks at most")]
    TooMany,
}

impl Classified for CreateNetworkError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Lookup(error) => error.class(),
            Self::LinkLookup { .. } => ErrorClass::NotFound,
            Self::Mode(_) | Self::BadLink(_) | Self::TooMany => ErrorClass::InvalidParameter,
        }
    }
}

/// Why a container was not connected or disconnected.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No such network.
    #[error(transparent)]
    Network(#[from] store::LookupError),
    /// No such container.
    #[error(transparent)]
    Container(#[from] LookupError),
    /// It cannot have the place.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// It is on the machine's or another container's network.
    #[error(
        "container sharing network namespace with another container or host cannot be connected to any other network"
    )]
    Shared,
    /// It is to have no network.
    #[error(
        "container cannot be connected to multiple networks with one of the networks in private (none) mode"
    )]
    Private,
    /// The machine's network takes no containers.
    #[error("container cannot be disconnected from host network or connected to host network")]
    Host,
    /// It is not there.
    #[error("container {container} is not connected to network {network}")]
    NotConnected {
        /// The container.
        container: String,
        /// The network.
        network: String,
    },
    /// The machine refused or failed.
    #[error("failed to change the container's network")]
    Guest(#[source] GuestError),
    /// The machine ended.
    #[error("the machine ended")]
    Ended,
    /// More than an interface each.
    #[error("a container can be on {MAX_NETWORKS} networks at most")]
    TooMany,
}

impl ConnectError {
    /// Whether there is no such container.
    #[must_use]
    pub fn is_no_container(&self) -> bool {
        matches!(self, Self::Container(_))
    }
}

impl Classified for ConnectError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Network(error) => error.class(),
            Self::Container(error) => error.class(),
            Self::Join(error) => error.class(),
            Self::Shared | Self::Private | Self::Host | Self::NotConnected { .. } => {
                ErrorClass::Forbidden
            }
            Self::TooMany => ErrorClass::InvalidParameter,
            Self::Guest(_) | Self::Ended => ErrorClass::Internal,
        }
    }
}

/// A container's place on a network, as answers tell it.
#[derive(Clone, Debug)]
pub struct ContainerNetwork {
    /// The network's id; empty while there is no such network.
    pub id: String,
    /// What it asked for.
    pub config: EndpointConfig,
    /// What it has, while it runs.
    pub endpoint: Option<Endpoint>,
}

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

    /// Connects a container to a network, at once where it runs.
    ///
    /// # Errors
    /// [`ConnectError`]; then it is connected as before.
    pub async fn connect_network(
        &self,
        network: &str,
        container: &str,
        config: EndpointConfig,
    ) -> Result<(), ConnectError> {
        let network = self.networks().resolve(network)?;
        let container = self.container(container)?;
        let engine = self.clone();
        to_the_end(async move { engine.connect(&network, &container, config).await }).await
    }

    /// Disconnects a container from a network, at once where it runs.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn disconnect_network(
        &self,
        network: &str,
        container: &str,
    ) -> Result<(), ConnectError> {
        let network = self.networks().resolve(network)?;
        let container = self.container(container)?;
        let engine = self.clone();
        to_the_end(async move { engine.disconnect(&network, &container).await }).await
    }

    async fn connect(
        &self,
        network: &Network,
        container: &Container,
        mut config: EndpointConfig,
    ) -> Result<(), ConnectError> {
        let record = container.record();
        config.network.clone_from(&network.record.name);
        check_connection(&record, &config)?;
        if !container.status().phase.is_running() {
            if is_wanted_by(&record, &config.network) {
                return Err(already(&record, network).into());
            }
            container.set_networks(|networks| networks.push(config));
            return Ok(());
        }
        let places = self.networks().endpoints_of(container.id());
        let free = |number: &usize| {
            let name = format!("eth{number}");
            places.iter().all(|place| place.interface != name)
        };
        let number = (0..MAX_NETWORKS).find(free).ok_or(ConnectError::TooMany)?;
        let used = places.iter().filter_map(|place| place.metric).max();
        let metric = used.map_or(0, |used| used + 1);
        let metric = (!network.record.internal).then_some(metric);
        let place = network.take_place(&record, &config, &format!("eth{number}"), metric)?;
        if let Err(error) = self.attach_place(container, &place).await {
            network.give_up(container.id());
            return Err(error);
        }
        container.set_networks(|networks| {
            networks.retain(|known| known.network != config.network);
            networks.push(config);
        });
        self.announce_network(&place, container.id(), "connect");
        Ok(())
    }

    async fn attach_place(
        &self,
        container: &Container,
        place: &Endpoint,
    ) -> Result<(), ConnectError> {
        let lease = self.machine().running().ok_or(ConnectError::Ended)?;
        let told = self.networks().tell(lease.guest()).await;
        told.map_err(|error| ConnectError::Guest(GuestError::Unreachable(error)))?;
        let request = Request::Attach {
            container: container.id().to_string(),
            interface: place.interface(),
        };
        lease
            .guest()
            .call(&request)
            .await
            .map_err(ConnectError::Guest)?;
        Ok(())
    }

    async fn disconnect(
        &self,
        network: &Network,
        container: &Container,
    ) -> Result<(), ConnectError> {
        let record = container.record();
        let name = &network.record.name;
        if name == HOST {
            return Err(ConnectError::Host);
        }
        let place = network.give_up(container.id());
        let stopped = !container.status().phase.is_running();
        if place.is_none() && !(stopped && is_wanted_by(&record, name)) {
            return Err(ConnectError::NotConnected {
                container: record.id.to_string(),
                network: name.clone(),
            });
        }
        container.set_networks(|networks| networks.retain(|known| known.network != *name));
        let Some(place) = place else { return Ok(()) };
        self.announce_network(&place, container.id(), "disconnect");
        let lease = self.machine().running().ok_or(ConnectError::Ended)?;
        let request = Request::Detach {
            container: record.id.to_string(),
            network: place.network.to_string(),
        };
        lease
            .guest()
            .call(&request)
            .await
            .map_err(ConnectError::Guest)?;
        self.networks().drop_flows(lease.guest(), &place).await;
        let told = self.networks().tell(lease.guest()).await;
        told.map_err(|error| ConnectError::Guest(GuestError::Unreachable(error)))
    }

    /// The networks that a container is to be on, and what it has of them.
    #[must_use]
    pub fn container_networks(&self, container: &Container) -> Vec<ContainerNetwork> {
        let record = container.record();
        let places = self.networks().endpoints_of(container.id());
        let mut configs = record.networks.clone();
        let of_mode = match NetworkMode::parse(&record.host_config.network_mode) {
            NetworkMode::None => Some(NONE),
            NetworkMode::Host => Some(HOST),
            NetworkMode::Network(_) | NetworkMode::Container(_) => None,
        };
        configs.extend(of_mode.map(EndpointConfig::of));
        configs
            .into_iter()
            .map(|config| ContainerNetwork {
                id: self
                    .networks()
                    .resolve(&config.network)
                    .map(|network| network.record.id.to_string())
                    .unwrap_or_default(),
                endpoint: places
                    .iter()
                    .find(|place| place.network_name == config.network)
                    .cloned(),
                config,
            })
            .collect()
    }

    /// Checks what a new container asks of networks, and puts ids in place of names of containers.
    pub(crate) fn settle_networks(
        &self,
        config: &ContainerConfig,
        host: &mut HostConfig,
        networks: &mut Vec<EndpointConfig>,
        links: &[String],
    ) -> Result<(), CreateNetworkError> {
        self.name_networks(host, networks);
        let mode = NetworkMode::parse(&host.network_mode);
        for text in links {
            let (name, alias) = crate::network::parse_link(text)
                .ok_or_else(|| CreateNetworkError::BadLink(text.clone()))?;
            let child = self
                .container(name)
                .map_err(|source| CreateNetworkError::LinkLookup {
                    name: name.to_owned(),
                    source,
                })?;
            host.links.push(Link {
                container: child.id().clone(),
                alias: alias.to_owned(),
            });
        }
        mode.check(config, host)?;
        match &mode {
            NetworkMode::Container(other) => {
                let other = self.container(other)?;
                host.network_mode = format!("container:{}", other.id());
                refuse_further(networks, "container")?;
            }
            NetworkMode::Host => refuse_further(networks, HOST)?,
            NetworkMode::None => refuse_further(networks, NONE)?,
            NetworkMode::Network(name) => {
                if !networks.iter().any(|config| config.network == *name) {
                    networks.push(EndpointConfig::of(name));
                }
                if mode.is_user_defined() {
                    settle_links(name, links, host, networks);
                }
            }
        }
        if networks.len() > MAX_NETWORKS {
            return Err(CreateNetworkError::TooMany);
        }
        Ok(())
    }

    /// Puts names of networks in place of ids, and of the default one.
    fn name_networks(&self, host: &mut HostConfig, networks: &mut [EndpointConfig]) {
        let name = |text: &str| {
            let text = if text == "default" { BRIDGE } else { text };
            let found = self.networks().resolve(text);
            found.map_or_else(
                |_none| text.to_owned(),
                |network| network.record.name.clone(),
            )
        };
        for config in networks {
            config.network = name(&config.network);
        }
        let mode = NetworkMode::parse(&host.network_mode);
        if let NetworkMode::Network(text) = &mode
            && mode.is_user_defined()
        {
            host.network_mode = name(text);
        }
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

/// On a network of the user's own a link is a name there, not a legacy link.
fn settle_links(
    name: &str,
    links: &[String],
    host: &mut HostConfig,
    networks: &mut [EndpointConfig],
) {
    host.links.clear();
    for config in networks.iter_mut().filter(|config| config.network == name) {
        config.links.extend(links.iter().cloned());
    }
}

/// A container without networks of its own is on no further ones; clients name that of the mode.
fn refuse_further(networks: &mut Vec<EndpointConfig>, mode: &'static str) -> Result<(), ModeError> {
    if networks
        .iter()
        .any(|config| config.network != mode && mode != "container")
    {
        return Err(ModeError::Further(mode));
    }
    networks.clear();
    Ok(())
}

fn is_wanted_by(record: &Record, network: &str) -> bool {
    record
        .networks
        .iter()
        .any(|config| config.network == network)
}

fn already(record: &Record, network: &Network) -> JoinError {
    JoinError::Already {
        container: record.name.to_string(),
        network: network.record.name.clone(),
    }
}

/// What a container of its mode may be connected to.
fn check_connection(record: &Record, config: &EndpointConfig) -> Result<(), ConnectError> {
    match NetworkMode::parse(&record.host_config.network_mode) {
        NetworkMode::Host | NetworkMode::Container(_) => Err(ConnectError::Shared),
        NetworkMode::None => Err(ConnectError::Private),
        NetworkMode::Network(_) => match config.network.as_str() {
            HOST => Err(ConnectError::Host),
            NONE => Err(ConnectError::Private),
            _ => Ok(()),
        },
    }
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
