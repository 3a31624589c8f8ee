//! The networks there are, and where a guest's packet may go.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::command::{MAX_VLAN, Subnet};
use crate::ip;

/// The port of DNS.
pub(crate) const DNS_PORT: u16 = 53;

/// One container network.
#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) ipv4: Option<Subnet>,
    pub(crate) ipv6: Option<Subnet>,
    pub(crate) internal: bool,
    pub(crate) names: BTreeMap<String, Vec<IpAddr>>,
}

impl Network {
    pub(crate) fn subnets(&self) -> impl Iterator<Item = Subnet> {
        self.ipv4.into_iter().chain(self.ipv6)
    }

    pub(crate) fn is_gateway(&self, address: IpAddr) -> bool {
        self.subnets().any(|subnet| subnet.gateway == address)
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.subnets().any(|subnet| subnet.contains(address))
    }
}

/// Where a flow goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// The gateway's own resolver.
    Dns,
    /// The host's loopback.
    Host,
    /// Anywhere the host itself gets to.
    Beyond,
    /// Nowhere, and the guest is told: another network's address, or nobody's in its own.
    Refused,
    /// Nowhere, and the guest is told that no way leads there: it is in an internal network.
    Unreachable,
    /// Nowhere, and no answer: an address that no honest guest sends unicast to through us.
    Nowhere,
}

/// All networks, by VLAN.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    by_vlan: BTreeMap<u16, Network>,
}

impl Networks {
    pub(crate) fn get(&self, vlan: u16) -> Option<&Network> {
        self.by_vlan.get(&vlan)
    }

    /// The gateway that speaks to this guest, of the guest's family.
    pub(crate) fn gateway_for(&self, vlan: u16, guest: IpAddr) -> Option<IpAddr> {
        let gateways = self.get(vlan)?.subnets().map(|subnet| subnet.gateway);
        gateways
            .into_iter()
            .find(|gateway| gateway.is_ipv4() == guest.is_ipv4())
    }

    /// Makes or replaces a network; its names stay. `false` for a VLAN that cannot be.
    pub(crate) fn set(
        &mut self,
        vlan: u16,
        ipv4: Option<Subnet>,
        ipv6: Option<Subnet>,
        internal: bool,
    ) -> bool {
        if vlan == 0 || vlan > MAX_VLAN {
            return false;
        }
        let network = self.by_vlan.entry(vlan).or_default();
        network.ipv4 = ipv4.filter(|subnet| subnet.gateway.is_ipv4());
        network.ipv6 = ipv6.filter(|subnet| subnet.gateway.is_ipv6());
        network.internal = internal;
        true
    }

    pub(crate) fn remove(&mut self, vlan: u16) {
        self.by_vlan.remove(&vlan);
    }

    pub(crate) fn set_names(&mut self, vlan: u16, names: BTreeMap<String, Vec<IpAddr>>) {
        self.by_vlan.entry(vlan).or_default().names = names;
    }

    /// Where a flow of a guest in `vlan` to this address and port goes.
    pub(crate) fn route(&self, vlan: u16, address: IpAddr, port: u16) -> Route {
        let Some(network) = self.get(vlan) else {
            return Route::Nowhere;
        };
        if network.is_gateway(address) {
            return match (port, network.internal) {
                (DNS_PORT, _) => Route::Dns,
                (_, true) => Route::Refused,
                (_, false) => Route::Host,
            };
        }
        if !ip::may_be_destination(address) {
            return Route::Nowhere;
        }
        if self
            .by_vlan
            .values()
            .any(|network| network.contains(address))
        {
            return Route::Refused;
        }
        if network.internal {
            Route::Unreachable
        } else {
            Route::Beyond
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(gateway: &str, prefix_length: u8) -> Option<Subnet> {
        Some(Subnet {
            gateway: gateway.parse().unwrap(),
            prefix_length,
        })
    }

    fn networks() -> Networks {
        let mut networks = Networks::default();
        networks.set(2, subnet("172.17.0.1", 16), None, false);
        networks.set(3, subnet("172.18.0.1", 16), subnet("fd00::1", 64), true);
        networks
    }

    fn route(vlan: u16, address: &str, port: u16) -> Route {
        networks().route(vlan, address.parse().unwrap(), port)
    }

    #[test]
    fn the_gateway_is_resolver_and_host() {
        assert_eq!(route(2, "172.17.0.1", 53), Route::Dns);
        assert_eq!(route(2, "172.17.0.1", 8080), Route::Host);
        assert_eq!(route(2, "192.0.2.7", 53), Route::Beyond);
    }

    #[test]
    fn another_networks_subnet_is_refused() {
        assert_eq!(route(2, "172.18.0.9", 80), Route::Refused);
        assert_eq!(route(2, "172.18.0.1", 53), Route::Refused);
        assert_eq!(route(2, "fd00::7", 80), Route::Refused);
    }

    #[test]
    fn an_internal_network_ends_at_its_resolver() {
        assert_eq!(route(3, "172.18.0.1", 53), Route::Dns);
        assert_eq!(route(3, "172.18.0.1", 80), Route::Refused);
        assert_eq!(route(3, "192.0.2.7", 80), Route::Unreachable);
    }

    #[test]
    fn an_unknown_network_leads_nowhere() {
        assert_eq!(route(9, "192.0.2.7", 80), Route::Nowhere);
    }

    #[test]
    fn reserved_vlans_are_no_networks() {
        let mut networks = Networks::default();

        assert!(!networks.set(0, None, None, false));
        assert!(!networks.set(4095, None, None, false));
        assert!(networks.set(4094, None, None, false));
    }
}
