//! `--network` as a container has it, and what does not go with it.

use crate::class::{Classified, ErrorClass};
use crate::container::{ContainerConfig, HostConfig};

use super::record::{BRIDGE, HOST, NONE};

/// Whose network a container is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkMode {
    /// Its own, connected to this network and perhaps to others.
    Network(String),
    /// Its own, connected to nothing.
    None,
    /// The machine's.
    Host,
    /// Another container's.
    Container(String),
}

/// Why options do not go together. Docker's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModeError {
    /// The network of another container, and its name is missing.
    #[error("invalid container format container:<name|id>")]
    NoContainer,
    /// An option that is the other container's.
    #[error("conflicting options: {0} and the network mode")]
    OfTheOther(&'static str),
    /// Ports that are the other container's.
    #[error("conflicting options: port {0} and the container type network mode")]
    Ports(&'static str),
    /// Links that lead nowhere.
    #[error(
        "conflicting options: {0} type network can't be used with links. This would result in undefined behavior"
    )]
    Links(&'static str),
    /// Networks that cannot be joined, too.
    #[error("conflicting options: cannot attach to further networks in network mode {0}")]
    Further(&'static str),
}

impl Classified for ModeError {
    fn class(&self) -> ErrorClass {
        ErrorClass::InvalidParameter
    }
}

impl NetworkMode {
    /// Reads Docker's `NetworkMode`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "" | "default" | BRIDGE => Self::Network(BRIDGE.to_owned()),
            NONE => Self::None,
            HOST => Self::Host,
            other => match other.strip_prefix("container:") {
                Some(container) => Self::Container(container.to_owned()),
                None => Self::Network(other.to_owned()),
            },
        }
    }

    /// Whether the container has a network namespace of its own.
    #[must_use]
    pub fn is_own(&self) -> bool {
        matches!(self, Self::Network(_) | Self::None)
    }

    /// Whether it is on a network that its user made.
    #[must_use]
    pub fn is_user_defined(&self) -> bool {
        matches!(self, Self::Network(name) if name != BRIDGE)
    }

    /// Refuses what does not go with it.
    ///
    /// # Errors
    /// [`ModeError`] naming the option.
    pub fn check(&self, config: &ContainerConfig, host: &HostConfig) -> Result<(), ModeError> {
        let refuse = |is_set: bool, error| if is_set { Err(error) } else { Ok(()) };
        match self {
            Self::Network(_) | Self::None => Ok(()),
            Self::Host => refuse(!host.links.is_empty(), ModeError::Links("host")),
            Self::Container(other) => {
                let of_the_other = |is_set, what| refuse(is_set, ModeError::OfTheOther(what));
                refuse(other.is_empty(), ModeError::NoContainer)?;
                of_the_other(!config.hostname.is_empty(), "hostname")?;
                refuse(!host.links.is_empty(), ModeError::Links("container"))?;
                of_the_other(!host.dns.is_empty(), "dns")?;
                of_the_other(!host.extra_hosts.is_empty(), "custom host-to-IP mapping")?;
                let publishes = !host.port_bindings.is_empty() || host.publish_all_ports;
                refuse(publishes, ModeError::Ports("publishing"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_bridge() {
        let bridge = NetworkMode::Network("bridge".to_owned());

        assert_eq!(NetworkMode::parse("default"), bridge);
        assert_eq!(NetworkMode::parse(""), bridge);
        assert!(!bridge.is_user_defined());
    }

    #[test]
    fn another_containers_network_takes_no_hostname() {
        let config = ContainerConfig {
            hostname: "web".to_owned(),
            ..ContainerConfig::default()
        };

        let error = NetworkMode::parse("container:db")
            .check(&config, &HostConfig::default())
            .unwrap_err();

        assert_eq!(
            error.to_string(),
            "conflicting options: hostname and the network mode"
        );
    }
}
