//! What a new container asks of networks: checked and put into one form at create.

use crate::class::{Classified, ErrorClass};
use crate::container::{Container, ContainerConfig, HostConfig, LookupError};
use crate::engine::Engine;

use super::endpoint::{Endpoint, EndpointConfig};
use super::links::{self, Link};
use super::mode::{ModeError, NetworkMode};
use super::record::{BRIDGE, HOST, NONE};

/// The most networks of one container, which the agent also refuses to exceed.
pub(crate) const MAX_NETWORKS: usize = dhow_protocol::network::MAX_INTERFACES;

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

impl Engine {
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
            let (name, alias) =
                links::parse(text).ok_or_else(|| CreateNetworkError::BadLink(text.clone()))?;
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
