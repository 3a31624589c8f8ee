//! Ports in answers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;

use dhow_api::models::{PortBinding, PortMap, PortSummary, PortSummaryTypeEnum};
use dhow_engine::port::{ContainerPort, Protocol, RequestedBinding};

type Addresses = BTreeMap<ContainerPort, Vec<SocketAddr>>;

/// `docker ps`: published ones with their address, exposed ones without.
pub(super) fn summaries(
    published: &Addresses,
    exposed: &BTreeSet<ContainerPort>,
) -> Vec<PortSummary> {
    let mut all = Vec::new();
    for (port, addresses) in published {
        for address in addresses {
            all.push(PortSummary {
                ip: Some(address.ip().to_string()),
                public_port: Some(address.port()),
                ..summary(*port)
            });
        }
    }
    let only_exposed = exposed.iter().filter(|port| !published.contains_key(port));
    all.extend(only_exposed.map(|port| summary(*port)));
    all
}

fn summary(port: ContainerPort) -> PortSummary {
    PortSummary {
        private_port: port.number,
        typ: Some(match port.protocol {
            Protocol::Tcp => PortSummaryTypeEnum::TCP,
            Protocol::Udp => PortSummaryTypeEnum::UDP,
        }),
        ..PortSummary::default()
    }
}

/// `NetworkSettings.Ports`: every exposed port, those published with where.
pub(super) fn map(published: &Addresses, exposed: &BTreeSet<ContainerPort>) -> PortMap {
    let mut map: PortMap = exposed
        .iter()
        .map(|port| (port.to_string(), None))
        .collect();
    for (port, addresses) in published {
        let bindings = addresses.iter().map(|address| PortBinding {
            host_ip: Some(address.ip().to_string()),
            host_port: Some(address.port().to_string()),
        });
        map.insert(port.to_string(), Some(bindings.collect()));
    }
    map
}

/// `HostConfig.PortBindings`: what was asked for.
pub(super) fn requested(
    bindings: &BTreeMap<ContainerPort, Vec<RequestedBinding>>,
) -> HashMap<String, Option<Vec<PortBinding>>> {
    let one = |binding: &RequestedBinding| PortBinding {
        host_ip: Some(binding.address.to_string()),
        host_port: Some(match binding.ports.to_string().as_str() {
            "0" => String::new(),
            ports => ports.to_owned(),
        }),
    };
    bindings
        .iter()
        .map(|(port, bindings)| (port.to_string(), Some(bindings.iter().map(one).collect())))
        .collect()
}
