//! How a container is connected.
//!
//! A network is one VLAN on the machine's network interface: the host end answers for its gateway,
//! its names and everything beyond, the agent joins the containers of one VLAN with a bridge.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The most interfaces of one container.
pub const MAX_INTERFACES: usize = 64;

/// A container's network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkSetup {
    /// A namespace of its own with these interfaces beside the loopback one; none is Docker's
    /// `none`.
    Own(Vec<Interface>),
    /// The namespace of another running container, by its id.
    Container(String),
    /// The machine's own namespace, whose interface on this VLAN is made at first use.
    Host(Interface),
}

/// One connection of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The network, by a name unique on the machine.
    pub network: String,
    /// The network's VLAN, 1 to 4094.
    pub vlan: u16,
    /// Its name in the container: `eth0`, 1 to 15 bytes.
    pub name: String,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Its addresses with the lengths of their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Routes to everywhere: the addresses of gateways, one of a family.
    pub gateways: Vec<IpAddr>,
    /// Which of several routes to everywhere is taken: the one with the lowest metric.
    pub metric: u32,
    /// The largest packet, in bytes, or as much as the machine's interface takes.
    pub mtu: Option<u32>,
}
