//! Names that are known without asking anyone: the network's own, and the host's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::message::{Query, Record, RecordType};
use crate::network::Network;

/// Names for the host, as Docker Desktop has them.
const HOST_NAMES: [&str; 2] = ["host.docker.internal", "gateway.docker.internal"];

/// What the network itself knows about a question. A name that is known has no more than it has:
/// no address of the other family is asked for elsewhere.
pub(super) fn answer(network: &Network, query: &Query<'_>) -> Option<Vec<Record>> {
    if query.record_type == RecordType::Ptr {
        let address = address_of(&query.name)?;
        let mut names = network
            .names
            .iter()
            .filter(|(_, all)| all.contains(&address));
        return names
            .next()
            .map(|(name, _)| vec![Record::Name(name.clone())]);
    }
    if HOST_NAMES.contains(&query.name.as_str()) {
        return Some(wanted(
            query,
            network.subnets().map(|subnet| subnet.gateway),
        ));
    }
    let addresses = network.names.get(&query.name)?;
    Some(wanted(query, addresses.iter().copied()))
}

/// The addresses that a question's type asks for.
pub(super) fn wanted(query: &Query<'_>, addresses: impl Iterator<Item = IpAddr>) -> Vec<Record> {
    addresses
        .filter(|&address| query.record_type.wants(address))
        .map(Record::Address)
        .collect()
}

/// The address that a name of a reverse zone stands for (RFC 1035, section 3.5; RFC 3596).
pub(super) fn address_of(name: &str) -> Option<IpAddr> {
    if let Some(labels) = name.strip_suffix(".in-addr.arpa") {
        let reversed: Vec<&str> = labels.split('.').rev().collect();
        return reversed.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    let labels = name.strip_suffix(".ip6.arpa")?;
    let mut nibbles = labels.split('.').rev();
    let mut bits: u128 = 0;
    for _ in 0..32 {
        let nibble = nibbles.next().filter(|nibble| nibble.len() == 1)?;
        bits = bits << 4 | u128::from_str_radix(nibble, 16).ok()?;
    }
    nibbles
        .next()
        .is_none()
        .then(|| IpAddr::V6(Ipv6Addr::from_bits(bits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_reverse_names() {
        assert_eq!(
            address_of("2.0.17.172.in-addr.arpa"),
            Some("172.17.0.2".parse().unwrap())
        );
        assert_eq!(
            address_of("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa"),
            Some("fd00::1".parse().unwrap())
        );
        assert_eq!(address_of("17.172.in-addr.arpa"), None);
        assert_eq!(address_of("example.com"), None);
    }
}
