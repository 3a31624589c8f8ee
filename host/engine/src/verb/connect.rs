//! Connects containers to networks and disconnects them, whether they run or not.

use dhow_protocol::Request;

use super::network::is_wanted_by;
use super::to_the_end;
use crate::class::{Classified, ErrorClass};
use crate::container::{Container, LookupError, Record};
use crate::engine::Engine;
use crate::guest::GuestError;
use crate::network::record::{HOST, NONE};
use crate::network::settle::MAX_NETWORKS;
use crate::network::store::{self, Network};
use crate::network::{Endpoint, EndpointConfig, JoinError, NetworkMode};

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

impl Engine {
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
