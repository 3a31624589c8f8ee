//! Ports, protocols and bindings as Docker writes them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use dhow_protocol::SocketKind;
use serde::{Deserialize, Serialize};

/// The transport of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// Streams.
    Tcp,
    /// Datagrams.
    Udp,
}

/// A port inside a container: `80/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerPort {
    /// 1 to 65535.
    pub number: u16,
    /// Its transport.
    pub protocol: Protocol,
}

/// Host ports to choose from; 0 to 0 leaves the choice to the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPortRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// Where a container port shall be reachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedBinding {
    /// The host's address.
    pub address: IpAddr,
    /// The host's port.
    pub ports: HostPortRange,
}

/// Why a port was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Not a port number.
    #[error("invalid port {0:?}: expected a number from 1 to 65535")]
    Number(String),
    /// Not a transport dhow publishes.
    #[error("invalid protocol {0:?}: dhow publishes tcp and udp")]
    Protocol(String),
    /// Not a range of ports.
    #[error("invalid host port {0:?}: expected a port or a range FIRST-LAST")]
    Range(String),
    /// Not an address.
    #[error("invalid host address {0:?}")]
    Address(String),
}

/// The host address of ports published without one: only this host reaches them.
const DEFAULT_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl Protocol {
    /// Docker's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    pub(crate) fn socket_kind(self) -> SocketKind {
        match self {
            Self::Tcp => SocketKind::Tcp,
            Self::Udp => SocketKind::Udp,
        }
    }
}

impl FromStr for ContainerPort {
    type Err = PortError;

    /// `80`, `80/tcp`, `53/udp`.
    fn from_str(text: &str) -> Result<Self, PortError> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err(PortError::Protocol(protocol.to_owned())),
        };
        let number = number.parse().ok().filter(|number| *number != 0);
        let number = number.ok_or_else(|| PortError::Number(text.to_owned()))?;
        Ok(Self { number, protocol })
    }
}

impl fmt::Display for ContainerPort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.number, self.protocol.name())
    }
}

impl TryFrom<String> for ContainerPort {
    type Error = PortError;

    fn try_from(text: String) -> Result<Self, PortError> {
        text.parse()
    }
}

impl From<ContainerPort> for String {
    fn from(port: ContainerPort) -> Self {
        port.to_string()
    }
}

impl FromStr for HostPortRange {
    type Err = PortError;

    /// Empty or `0` for any, `8080`, or `8000-8010` for one of these.
    fn from_str(text: &str) -> Result<Self, PortError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(PortError::Range(text.to_owned())),
        }
    }
}

impl fmt::Display for HostPortRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(formatter, "{}", self.first)
        } else {
            write!(formatter, "{}-{}", self.first, self.last)
        }
    }
}

impl RequestedBinding {
    /// From Docker's `HostIp` and `HostPort`. An empty address is 127.0.0.1: a port is not open to
    /// the network unless asked for.
    ///
    /// # Errors
    /// [`PortError`] where either is wrong.
    pub fn parse(address: &str, port: &str) -> Result<Self, PortError> {
        let bare = address.trim_start_matches('[').trim_end_matches(']');
        let address = match bare {
            "" => DEFAULT_ADDRESS,
            "localhost" => DEFAULT_ADDRESS,
            text => text
                .parse()
                .map_err(|_not_an_address| PortError::Address(address.to_owned()))?,
        };
        let ports = port.parse()?;
        Ok(Self { address, ports })
    }

    /// A port of the host's choice, for this host only.
    #[must_use]
    pub fn ephemeral() -> Self {
        Self {
            address: DEFAULT_ADDRESS,
            ports: HostPortRange::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_without_protocol_is_tcp() {
        let port: ContainerPort = "80".parse().unwrap();

        assert_eq!(port.to_string(), "80/tcp");
    }

    #[test]
    fn refuses_ports_that_are_none() {
        assert_eq!(
            "0/tcp".parse::<ContainerPort>(),
            Err(PortError::Number("0/tcp".to_owned()))
        );
        assert_eq!(
            "80/sctp".parse::<ContainerPort>(),
            Err(PortError::Protocol("sctp".to_owned()))
        );
        "70000".parse::<ContainerPort>().unwrap_err();
    }

    #[test]
    fn a_binding_without_address_is_local() {
        let binding = RequestedBinding::parse("", "8080").unwrap();

        assert!(binding.address.is_loopback());
        assert_eq!(binding.ports.to_string(), "8080");
    }

    #[test]
    fn a_binding_takes_a_range_and_an_ipv6_address() {
        let binding = RequestedBinding::parse("[::1]", "8000-8010").unwrap();

        assert!(binding.address.is_ipv6());
        assert_eq!((binding.ports.first, binding.ports.last), (8000, 8010));
    }

    #[test]
    fn refuses_a_range_that_runs_backwards() {
        RequestedBinding::parse("", "90-80").unwrap_err();
        RequestedBinding::parse("nowhere", "80").unwrap_err();
    }
}
