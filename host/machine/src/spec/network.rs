//! What the process that owns a VM is told of the networks behind its NIC.
//!
//! Every container network is one VLAN on the machine's one NIC. The owner keeps the gateway of
//! each: its addresses, its names, and the flows beyond it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The gateway of a network, and by it the network's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// The gateway's own address.
    pub gateway: IpAddr,
    /// How many leading bits all addresses of the network share with it.
    pub prefix_length: u8,
}

/// One order about the networks. Not answered; carried out in the order given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkCommand {
    /// Make or replace a network.
    Set {
        /// Its 802.1Q id on the NIC, 1 to 4094.
        vlan: u16,
        /// Its IPv4 addresses.
        ipv4: Option<Subnet>,
        /// Its IPv6 addresses.
        ipv6: Option<Subnet>,
        /// Nothing leads beyond it; its gateway answers for its own names alone.
        internal: bool,
    },
    /// Forget a network and end its flows.
    Remove {
        /// Its 802.1Q id.
        vlan: u16,
    },
    /// All names of a network; those it had before are forgotten.
    Names {
        /// The network's 802.1Q id.
        vlan: u16,
        /// Addresses of each name, which is lower case and has no dot at its end.
        names: BTreeMap<String, Vec<IpAddr>>,
    },
    /// End every flow of this address: its container ended.
    DropFlows {
        /// The network's 802.1Q id.
        vlan: u16,
        /// The container's address in it.
        address: IpAddr,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::OwnerCommand;

    #[test]
    fn a_command_is_one_line_that_reads_back_the_same() {
        let names = BTreeMap::from([(
            "db\nweb".to_owned(),
            vec!["172.18.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
        )]);
        let command = OwnerCommand::Network(NetworkCommand::Names { vlan: 3, names });

        let line = serde_json::to_string(&command).unwrap();

        assert!(!line.contains('\n'));
        assert_eq!(
            serde_json::from_str::<OwnerCommand>(&line).unwrap(),
            command
        );
    }

    #[test]
    fn a_network_reads_as_the_owner_expects_it() {
        let text = r#"{"network":{"set":{"vlan":2,"ipv4":{"gateway":"172.17.0.1",
            "prefix_length":16},"ipv6":null,"internal":false}}}"#;

        let command: OwnerCommand = serde_json::from_str(text).unwrap();

        let ipv4 = Some(Subnet {
            gateway: "172.17.0.1".parse().unwrap(),
            prefix_length: 16,
        });
        let expected = NetworkCommand::Set {
            vlan: 2,
            ipv4,
            ipv6: None,
            internal: false,
        };
        assert_eq!(command, OwnerCommand::Network(expected));
    }
}
