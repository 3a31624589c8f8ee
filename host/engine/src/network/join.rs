//! Takes a container's places on networks, for as long as it runs.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;

use dhow_protocol::NetworkSetup;

use super::endpoint::{Endpoint, EndpointConfig, Mac};
use super::links::{self, Linked};
use super::mode::NetworkMode;
use super::pool::{AddressError, Pool};
use super::record::BRIDGE;
use super::store::{Live, LookupError, Network, Networks};
use crate::class::{Classified, ErrorClass};
use crate::container::{self, Record};
use crate::engine::Engine;
use crate::guest::Guest;
use crate::id::Id;
use crate::oci::files::Surroundings;
use crate::oci::hostname;

/// Why a container cannot have its places.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// There is no such network.
    #[error(transparent)]
    Network(#[from] LookupError),
    /// There is no such container.
    #[error(transparent)]
    Container(#[from] container::LookupError),
    /// There is no address for it.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// It has a place there already.
    #[error("endpoint with name {container} already exists in network {network}")]
    Already {
        /// The container.
        container: String,
        /// The network.
        network: String,
    },
    /// An address on a network whose addresses nobody chose.
    #[error(
        "invalid endpoint settings: user specified IP address is supported on user defined networks only"
    )]
    ChosenAddress,
    /// A name where none are answered.
    #[error(
        "invalid endpoint settings: network-scoped aliases are only supported for user-defined networks"
    )]
    Alias,
    /// The other container does not run.
    #[error("cannot join network of a non running container: {0}")]
    OtherNotRunning(String),
    /// A linked container does not run.
    #[error("Cannot link to a non running container: /{child} AS {link}")]
    LinkNotRunning {
        /// The other container.
        child: String,
        /// `/web/db`.
        link: String,
    },
    /// The kernel gives no random bytes.
    #[error("failed to make an identifier")]
    Random(#[source] std::io::Error),
}

impl Classified for JoinError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Network(error) => error.class(),
            Self::Container(error) => error.class(),
            Self::Already { .. } | Self::Address(AddressError::Taken) => ErrorClass::Forbidden,
            Self::ChosenAddress | Self::Alias | Self::Address(_) => ErrorClass::InvalidParameter,
            Self::OtherNotRunning(_) => ErrorClass::Conflict,
            Self::LinkNotRunning { .. } | Self::Random(_) => ErrorClass::Internal,
        }
    }
}

/// The places of a container that runs or starts; given up when dropped.
#[derive(Debug)]
pub(crate) struct Joined {
    engine: Engine,
    container: Id,
    /// The container's network.
    pub(crate) setup: NetworkSetup,
    /// What its files tell of it.
    pub(crate) surroundings: Surroundings,
    /// The host name that it shares with another container.
    pub(crate) hostname: Option<String>,
    /// Variables that its links give it.
    pub(crate) variables: Vec<String>,
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.engine.networks().give_up(&self.container);
    }
}

impl Joined {
    /// Gives the places up, and tells the machine.
    pub(crate) async fn leave(self, guest: &Arc<dyn Guest>) {
        let engine = self.engine.clone();
        let left = engine.networks().endpoints_of(&self.container);
        let container = self.container.clone();
        drop(self);
        for endpoint in &left {
            engine.networks().drop_flows(guest, endpoint).await;
            engine.announce_network(endpoint, &container, "disconnect");
        }
        if !left.is_empty()
            && let Err(error) = engine.networks().tell(guest).await
        {
            tracing::debug!(%error, "names of a container end with the machine");
        }
    }
}

impl Engine {
    /// Takes every place that a container asks for.
    pub(crate) fn join(&self, record: &Record) -> Result<Joined, JoinError> {
        let mut joined = Joined {
            engine: self.clone(),
            container: record.id.clone(),
            setup: NetworkSetup::Own(Vec::new()),
            surroundings: Surroundings::default(),
            hostname: None,
            variables: Vec::new(),
        };
        match NetworkMode::parse(&record.host_config.network_mode) {
            NetworkMode::None => {}
            NetworkMode::Host => {
                joined.setup = NetworkSetup::Host(super::machine_interface());
                joined.surroundings = Surroundings::of_machine(super::default::machine_gateway());
            }
            NetworkMode::Container(other) => {
                let other = self.container(&other)?;
                if !other.status().phase.is_running() {
                    return Err(JoinError::OtherNotRunning(other.id().to_string()));
                }
                joined.setup = NetworkSetup::Container(other.id().to_string());
                joined.surroundings = self.surroundings(&other.record())?;
                joined.hostname = Some(hostname(&other.record()).to_owned());
            }
            NetworkMode::Network(main) => {
                let endpoints = self.take_places(record, &main)?;
                let interfaces = endpoints.iter().map(Endpoint::interface);
                joined.setup = NetworkSetup::Own(interfaces.collect());
                joined.surroundings = self.surroundings(record)?;
                joined.variables = self.link_variables(record)?;
                for endpoint in &endpoints {
                    self.announce_network(endpoint, &record.id, "connect");
                }
            }
        }
        Ok(joined)
    }

    /// Takes a container's places; none where one cannot be had.
    fn take_places(&self, record: &Record, main: &str) -> Result<Vec<Endpoint>, JoinError> {
        let mut wanted: Vec<(Arc<Network>, EndpointConfig)> = Vec::new();
        for config in configs(record, main) {
            wanted.push((self.networks().resolve(&config.network)?, config));
        }
        let mut ways_out: Vec<usize> = (0..wanted.len())
            .filter(|index| !wanted[*index].0.record.internal)
            .collect();
        ways_out.sort_by_key(|index| {
            let (network, config) = &wanted[*index];
            (
                Reverse(config.gateway_priority),
                network.record.name.clone(),
            )
        });
        let mut taken = Vec::new();
        for (index, (network, config)) in wanted.iter().enumerate() {
            let rank = ways_out.iter().position(|way| *way == index);
            let metric = rank.and_then(|rank| u32::try_from(rank).ok());
            let endpoint = network.take_place(record, config, &format!("eth{index}"), metric);
            taken.push(endpoint?);
        }
        Ok(taken)
    }

    /// What a container's files tell of its places and links.
    fn surroundings(&self, record: &Record) -> Result<Surroundings, JoinError> {
        let endpoints = self.networks().endpoints_of(&record.id);
        let addresses = endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
        let named = |endpoint: &&Endpoint| endpoint.network_name != BRIDGE;
        let resolver = endpoints.iter().find(named).or_else(|| endpoints.first());
        let way_out = endpoints
            .iter()
            .min_by_key(|endpoint| endpoint.metric.unwrap_or(u32::MAX));
        let gateway = |endpoint: &Endpoint| endpoint.gateways.first().copied();
        let mut links = Vec::new();
        for link in &record.host_config.links {
            let child = self.container(link.container.as_str())?;
            let (record, address) = self.linked(record, &link.alias, &child)?;
            let mut names = vec![link.alias.clone(), hostname(&record).to_owned()];
            if record.name.as_str() != link.alias {
                names.push(record.name.to_string());
            }
            links.push((address, names.join(" ")));
        }
        for config in &record.networks {
            links.extend(
                config
                    .links
                    .iter()
                    .filter_map(|link| self.named_link(config, link)),
            );
        }
        Ok(Surroundings {
            own: addresses.map(|(address, _)| *address).collect(),
            resolver: resolver.and_then(gateway),
            host: way_out.and_then(gateway),
            links,
        })
    }

    /// A link on a network of the user's own: only a name, and only while the other is there.
    fn named_link(&self, config: &EndpointConfig, link: &str) -> Option<(IpAddr, String)> {
        let (child, alias) = links::parse(link)?;
        let child = self.container(child).ok()?;
        let places = self.networks().endpoints_of(child.id());
        let place = places
            .iter()
            .find(|place| place.network_name == config.network)?;
        let (address, _) = place.addresses.first()?;
        Some((*address, alias.to_owned()))
    }

    fn link_variables(&self, record: &Record) -> Result<Vec<String>, JoinError> {
        let mut variables = Vec::new();
        for link in &record.host_config.links {
            let child = self.container(link.container.as_str())?;
            let (child, address) = self.linked(record, &link.alias, &child)?;
            variables.extend(links::variables(&Linked {
                name: format!("/{}/{}", record.name, link.alias),
                address,
                ports: child.config.exposed_ports.iter().copied().collect(),
                environment: &child.config.env,
            }));
        }
        Ok(variables)
    }

    /// A linked container and where it is.
    fn linked(
        &self,
        record: &Record,
        alias: &str,
        child: &container::Container,
    ) -> Result<(Record, IpAddr), JoinError> {
        let places = self.networks().endpoints_of(child.id());
        let place = places.iter().find(|place| place.network_name == BRIDGE);
        let address = place.and_then(|place| place.addresses.first());
        match address {
            Some((address, _)) if child.status().phase.is_running() => {
                Ok((child.record(), *address))
            }
            _ => Err(JoinError::LinkNotRunning {
                child: child.name().to_string(),
                link: format!("/{}/{alias}", record.name),
            }),
        }
    }
}

/// What a container asks of its networks, that of its mode first.
fn configs(record: &Record, main: &str) -> Vec<EndpointConfig> {
    let mut configs = record.networks.clone();
    configs.sort_by_key(|config| (config.network != main, config.network.clone()));
    configs
}

impl Network {
    /// Takes a place for a container.
    pub(crate) fn take_place(
        &self,
        record: &Record,
        config: &EndpointConfig,
        interface: &str,
        metric: Option<u32>,
    ) -> Result<Endpoint, JoinError> {
        self.check(config)?;
        let network = &self.record;
        let id = Id::random().map_err(JoinError::Random)?;
        let mut live = self.live();
        if live.closed {
            return Err(LookupError::NotFound(network.name.clone()).into());
        }
        if live.endpoints.contains_key(&record.id) {
            return Err(JoinError::Already {
                container: record.name.to_string(),
                network: network.name.clone(),
            });
        }
        let addresses = live.take(&network.name, config)?;
        let plans = addresses
            .iter()
            .filter_map(|address| network.plan(*address));
        let gateways = plans.clone().map(|plan| plan.gateway).collect();
        let prefixes = plans.map(|plan| plan.subnet.prefix());
        let first = addresses.iter().find_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        });
        let endpoint = Endpoint {
            id,
            container: record.id.clone(),
            network: network.id.clone(),
            network_name: network.name.clone(),
            vlan: network.vlan,
            gateways,
            mac: config
                .mac
                .unwrap_or(Mac::of(first.unwrap_or([0, 0, 0, 0].into()))),
            names: names_of(record, config),
            interface: interface.to_owned(),
            metric,
            mtu: network.mtu(),
            addresses: addresses.iter().copied().zip(prefixes).collect(),
        };
        live.endpoints.insert(record.id.clone(), endpoint.clone());
        Ok(endpoint)
    }

    /// Refuses what the default bridge does not do.
    fn check(&self, config: &EndpointConfig) -> Result<(), JoinError> {
        if self.record.has_names() {
            return Ok(());
        }
        if config.ipv4.is_some() || config.ipv6.is_some() {
            return Err(JoinError::ChosenAddress);
        }
        if config.aliases.is_empty() {
            Ok(())
        } else {
            Err(JoinError::Alias)
        }
    }

    /// Gives a container's place up.
    pub(crate) fn give_up(&self, container: &Id) -> Option<Endpoint> {
        let mut live = self.live();
        let endpoint = live.endpoints.remove(container)?;
        for (address, _) in &endpoint.addresses {
            live.give_back(*address);
        }
        Some(endpoint)
    }
}

impl Networks {
    /// Gives every place of a container up.
    fn give_up(&self, container: &Id) {
        for network in self.all() {
            network.give_up(container);
        }
    }
}

impl Live {
    /// An address of each family the network has.
    fn take(
        &mut self,
        network: &str,
        config: &EndpointConfig,
    ) -> Result<Vec<IpAddr>, AddressError> {
        let first = self.take_ipv4(network, config)?;
        let second = match (&mut self.ipv6, config.ipv6.map(IpAddr::V6)) {
            (Some(pool), asked) => take_one(pool, asked, network).map(Some),
            (None, Some(asked)) => Err(AddressError::Outside(asked)),
            (None, None) => Ok(None),
        };
        match second {
            Ok(second) => Ok(first.into_iter().chain(second).collect()),
            Err(error) => {
                if let Some(first) = first {
                    self.give_back(first);
                }
                Err(error)
            }
        }
    }

    fn take_ipv4(
        &mut self,
        network: &str,
        config: &EndpointConfig,
    ) -> Result<Option<IpAddr>, AddressError> {
        match (&mut self.ipv4, config.ipv4.map(IpAddr::V4)) {
            (Some(pool), asked) => take_one(pool, asked, network).map(Some),
            (None, Some(asked)) => Err(AddressError::Outside(asked)),
            (None, None) => Ok(None),
        }
    }

    fn give_back(&mut self, address: IpAddr) {
        let pool = match address {
            IpAddr::V4(_) => &mut self.ipv4,
            IpAddr::V6(_) => &mut self.ipv6,
        };
        if let Some(pool) = pool {
            pool.give_back(address);
        }
    }
}

fn take_one(pool: &mut Pool, asked: Option<IpAddr>, network: &str) -> Result<IpAddr, AddressError> {
    match asked {
        Some(address) => pool.take(address).map(|()| address),
        None => pool.take_any(network),
    }
}

/// Docker's names of a container on a network: its own, its aliases, its short id and host name.
fn names_of(record: &Record, config: &EndpointConfig) -> Vec<String> {
    let mut names = vec![record.name.to_string()];
    names.extend(config.aliases.iter().cloned());
    names.push(record.id.short().to_owned());
    let own = hostname(record);
    names.push(own.to_owned());
    if !record.config.domainname.is_empty() {
        names.push(format!("{own}.{}", record.config.domainname));
    }
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}
