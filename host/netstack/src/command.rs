//! What the engine tells the stack: which networks there are, their names, which flows to end.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// The highest VLAN id of 802.1Q that may be used; 0 and 4095 are reserved.
pub const MAX_VLAN: u16 = 4094;

/// The addresses of a network and which of them is the gateway's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    /// The gateway's address, which names the subnet too.
    pub gateway: IpAddr,
    /// How many leading bits are the subnet's.
    pub prefix_length: u8,
}

impl Subnet {
    /// Whether `address` lies in this subnet.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.gateway, address) {
            (IpAddr::V4(gateway), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix_length.min(32)));
                (gateway.to_bits() ^ address.to_bits()) & mask.unwrap_or(0) == 0
            }
            (IpAddr::V6(gateway), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix_length.min(128)));
                (gateway.to_bits() ^ address.to_bits()) & mask.unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// One order of the engine, carried out in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkCommand {
    /// Makes or replaces a network.
    Set {
        /// Its 802.1Q id on the NIC.
        vlan: u16,
        /// Its IPv4 addresses.
        ipv4: Option<Subnet>,
        /// Its IPv6 addresses.
        ipv6: Option<Subnet>,
        /// No flow beyond it; the gateway answers only for the network's names.
        internal: bool,
    },
    /// Forgets a network and ends its flows.
    Remove {
        /// Its 802.1Q id on the NIC.
        vlan: u16,
    },
    /// All names of a network, which replace those it had.
    Names {
        /// The network's 802.1Q id.
        vlan: u16,
        /// Lower-case names without a trailing dot, and their addresses.
        names: BTreeMap<String, Vec<IpAddr>>,
    },
    /// Ends every flow of one address, as its container ended.
    DropFlows {
        /// The network's 802.1Q id.
        vlan: u16,
        /// The container's address there.
        address: IpAddr,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(gateway: &str, prefix_length: u8) -> Subnet {
        Subnet {
            gateway: gateway.parse().unwrap(),
            prefix_length,
        }
    }

    #[test]
    fn knows_the_addresses_of_a_subnet() {
        let bridge = subnet("172.17.0.1", 16);

        assert!(bridge.contains("172.17.255.4".parse().unwrap()));
        assert!(!bridge.contains("172.18.0.1".parse().unwrap()));
        assert!(!bridge.contains("fd00::1".parse().unwrap()));
    }

    #[test]
    fn takes_the_shortest_and_longest_prefixes() {
        assert!(subnet("10.0.0.1", 0).contains("192.0.2.1".parse().unwrap()));
        assert!(!subnet("10.0.0.1", 32).contains("10.0.0.2".parse().unwrap()));
        assert!(subnet("fd00::1", 0).contains("::9".parse().unwrap()));
        assert!(!subnet("fd00::1", 128).contains("fd00::2".parse().unwrap()));
    }
}
