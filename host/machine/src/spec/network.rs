//! What the owner's end of the machine's networks is told.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The gateway of a network and the length of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// The gateway's address, which the host's end answers for.
    pub gateway: IpAddr,
    /// Length of the prefix in bits.
    pub prefix: u8,
}

/// A change of the machine's networks; never answered, done in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkCommand {
    /// Make or replace a network.
    Set {
        /// Its VLAN.
        vlan: u16,
        /// Its IPv4 subnet.
        ipv4: Option<Subnet>,
        /// Its IPv6 subnet.
        ipv6: Option<Subnet>,
        /// Whether nothing goes beyond it; its names are answered all the same.
        internal: bool,
    },
    /// Forget a network and its flows.
    Remove {
        /// Its VLAN.
        vlan: u16,
    },
    /// All names of a network, in lower case without a trailing dot; replaces what was.
    Names {
        /// Its VLAN.
        vlan: u16,
        /// Who is where.
        names: BTreeMap<String, Vec<IpAddr>>,
    },
    /// End every flow of this address: its container ended.
    DropFlows {
        /// Its network's VLAN.
        vlan: u16,
        /// The address.
        address: IpAddr,
    },
}
