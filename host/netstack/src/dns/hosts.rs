//! The host's `/etc/hosts`, read again when it changes.
//!
//! A name that is the host itself there (`127.0.0.1`) is the gateway for a container: that is where
//! the host's loopback is reached. `localhost` stays each container's own.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;

use super::local;
use super::message::{Query, Record, RecordType};
use super::nameservers::WatchedFile;
use crate::network::Network;

/// Names that mean whoever says them.
const OWN_NAMES: [&str; 3] = ["localhost", "ip6-localhost", "ip6-loopback"];

pub(super) struct Hosts {
    file: WatchedFile,
    names: HashMap<String, Vec<IpAddr>>,
}

impl Hosts {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            file: WatchedFile::new(path),
            names: HashMap::new(),
        }
    }

    pub(super) fn answer(&mut self, network: &Network, query: &Query<'_>) -> Option<Vec<Record>> {
        if let Some(text) = self.file.changed() {
            self.names = parse(&text);
        }
        if query.record_type == RecordType::Ptr {
            let address =
                local::address_of(&query.name).filter(|address| !address.is_loopback())?;
            let mut names = self.names.iter().filter(|(_, all)| all.contains(&address));
            return names
                .next()
                .map(|(name, _)| vec![Record::Name(name.clone())]);
        }
        let addresses = self.names.get(&query.name)?;
        Some(local::wanted(
            query,
            addresses
                .iter()
                .filter_map(|&address| seen(network, address)),
        ))
    }
}

/// An address of the host's file as a container sees it.
fn seen(network: &Network, address: IpAddr) -> Option<IpAddr> {
    if !address.is_loopback() {
        return Some(address);
    }
    let gateways = network.subnets().map(|subnet| subnet.gateway);
    gateways
        .into_iter()
        .find(|gateway| gateway.is_ipv4() == address.is_ipv4())
}

fn parse(text: &str) -> HashMap<String, Vec<IpAddr>> {
    let mut names: HashMap<String, Vec<IpAddr>> = HashMap::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else {
            continue;
        };
        for name in words.map(str::to_ascii_lowercase) {
            if !OWN_NAMES.contains(&name.as_str()) {
                names.entry(name).or_default().push(address);
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_aliases_but_not_localhost() {
        let names = parse("127.0.0.1 localhost app.test\n192.0.2.7\tDB db2 # the database\nbad\n");

        assert_eq!(names.len(), 3);
        assert_eq!(names["db"], ["192.0.2.7".parse::<IpAddr>().unwrap()]);
        assert_eq!(names["app.test"], ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    }
}
