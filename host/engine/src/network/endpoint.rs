//! A container's place on a network: what it asked for, and what it has while it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::Id;

/// First bytes of the hardware addresses that Docker makes: locally administered.
const MAC_PREFIX: [u8; 2] = [0x02, 0x42];

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

/// Why a hardware address was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a valid mac address")]
pub struct MacError(String);

impl Mac {
    /// Docker's for an address.
    #[must_use]
    pub fn of(address: Ipv4Addr) -> Self {
        let [first, second] = MAC_PREFIX;
        let [a, b, c, d] = address.octets();
        Self([first, second, a, b, c, d])
    }
}

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let error = || MacError(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts
                .next()
                .filter(|part| part.len() == 2)
                .ok_or_else(error)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_not_one| error())?;
        }
        // A group's address is no interface's.
        let multicast = bytes[0] & 1 == 1;
        if parts.next().is_some() || multicast {
            return Err(error());
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Mac {
    type Error = MacError;

    fn try_from(text: String) -> Result<Self, MacError> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([a, b, c, d, e, f]) = self;
        write!(formatter, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

/// What a container asks of a network. Stored with the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointConfig {
    /// The network's name.
    pub network: String,
    /// Further names on it.
    pub aliases: Vec<String>,
    /// `container[:alias]`: names of others, for this container only.
    pub links: Vec<String>,
    /// The address to have.
    pub ipv4: Option<Ipv4Addr>,
    /// The address to have.
    pub ipv6: Option<Ipv6Addr>,
    /// The hardware address to have.
    pub mac: Option<Mac>,
    /// Options of the driver.
    pub driver_options: BTreeMap<String, String>,
    /// The network with the highest is the way out.
    pub gateway_priority: i64,
}

impl EndpointConfig {
    /// Nothing but the network.
    #[must_use]
    pub fn of(network: &str) -> Self {
        Self {
            network: network.to_owned(),
            ..Self::default()
        }
    }
}

/// What a running container has on a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its identifier.
    pub id: Id,
    /// Whose it is.
    pub container: Id,
    /// The network's identifier.
    pub network: Id,
    /// The network's name.
    pub network_name: String,
    /// The network's VLAN.
    pub vlan: u16,
    /// Its addresses, IPv4 first, with the lengths of their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The gateways of the network, in the order of the addresses.
    pub gateways: Vec<IpAddr>,
    /// Its hardware address.
    pub mac: Mac,
    /// Its names, as they were given.
    pub names: Vec<String>,
    /// The interface in the container.
    pub interface: String,
    /// Which way out is taken: the one with the lowest. `None`: no way out here.
    pub metric: Option<u32>,
    /// The largest packet, where not the machine's.
    pub mtu: Option<u32>,
}

impl Endpoint {
    /// Its IPv4 address.
    #[must_use]
    pub fn ipv4(&self) -> Option<(Ipv4Addr, u8)> {
        self.addresses
            .iter()
            .find_map(|(address, prefix)| match address {
                IpAddr::V4(address) => Some((*address, *prefix)),
                IpAddr::V6(_) => None,
            })
    }

    /// Its IPv6 address.
    #[must_use]
    pub fn ipv6(&self) -> Option<(Ipv6Addr, u8)> {
        self.addresses
            .iter()
            .find_map(|(address, prefix)| match address {
                IpAddr::V6(address) => Some((*address, *prefix)),
                IpAddr::V4(_) => None,
            })
    }

    /// As the agent is told it.
    #[must_use]
    pub fn interface(&self) -> dhow_protocol::Interface {
        dhow_protocol::Interface {
            network: self.network.to_string(),
            vlan: self.vlan,
            name: self.interface.clone(),
            mac: self.mac.0,
            addresses: self.addresses.clone(),
            gateways: self
                .metric
                .map(|_| self.gateways.clone())
                .unwrap_or_default(),
            metric: self.metric.unwrap_or_default(),
            mtu: self.mtu,
        }
    }
}

/// Everybody's names on a network, as the resolver wants them: in lower case, each with the
/// addresses of all who have it.
#[must_use]
pub fn names<'a>(
    endpoints: impl IntoIterator<Item = &'a Endpoint>,
) -> BTreeMap<String, Vec<IpAddr>> {
    let mut all: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for endpoint in endpoints {
        let own: BTreeSet<String> = endpoint
            .names
            .iter()
            .map(|name| name.trim_end_matches('.').to_lowercase())
            .filter(|name| !name.is_empty())
            .collect();
        for name in own {
            let addresses = endpoint.addresses.iter().map(|(address, _)| *address);
            all.entry(name).or_default().extend(addresses);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(last: u8, names: &[&str]) -> Endpoint {
        let address = Ipv4Addr::new(172, 18, 0, last);
        Endpoint {
            id: Id::random().unwrap(),
            container: Id::random().unwrap(),
            network: Id::random().unwrap(),
            network_name: "front".to_owned(),
            vlan: 3,
            addresses: vec![(address.into(), 16)],
            gateways: vec![[172, 18, 0, 1].into()],
            mac: Mac::of(address),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            interface: "eth0".to_owned(),
            metric: Some(0),
            mtu: None,
        }
    }

    #[test]
    fn a_hardware_address_follows_the_address() {
        assert_eq!(
            Mac::of([172, 17, 0, 2].into()).to_string(),
            "02:42:ac:11:00:02"
        );
    }

    #[test]
    fn refuses_hardware_addresses_that_are_none() {
        for text in [
            "",
            "02:42",
            "02:42:ac:11:00:02:03",
            "01:42:ac:11:00:02",
            "g2:42:ac:11:00:02",
        ] {
            text.parse::<Mac>().unwrap_err();
        }
    }

    #[test]
    fn a_shared_alias_names_all_who_have_it() {
        let (first, second) = (endpoint(2, &["a", "Web"]), endpoint(3, &["b", "web"]));

        let names = names([&first, &second]);

        assert_eq!(names["web"].len(), 2);
        assert_eq!(names["a"], [IpAddr::from([172, 18, 0, 2])]);
    }

    #[test]
    fn a_name_given_twice_counts_once() {
        let names = names([&endpoint(2, &["web", "WEB."])]);

        assert_eq!(names["web"].len(), 1);
    }

    #[test]
    fn a_network_without_a_way_out_gives_no_gateway() {
        let mut endpoint = endpoint(2, &[]);
        endpoint.metric = None;

        assert!(endpoint.interface().gateways.is_empty());
    }
}
