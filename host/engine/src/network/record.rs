//! What a network was asked to be: `networks/<id>.json`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::pool::AddressPlan;
use crate::id::Id;
use crate::time::Timestamp;

/// What a network is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// A bridge in the machine.
    Bridge,
    /// The machine's own network.
    Host,
    /// Nothing.
    Null,
}

impl Driver {
    /// Docker's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::Null => "null",
        }
    }
}

/// A network on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// Its identifier.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
    /// What it is made of.
    pub driver: Driver,
    /// Its VLAN on the machine's interface; 0 for those without.
    pub vlan: u16,
    /// Its IPv4 addresses.
    pub ipv4: Option<AddressPlan>,
    /// Its IPv6 addresses.
    pub ipv6: Option<AddressPlan>,
    /// Whether nothing goes beyond it.
    pub internal: bool,
    /// Docker's `Attachable`, which means something in swarms only.
    pub attachable: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
}

/// Names of the networks that every home has.
pub const BRIDGE: &str = "bridge";
/// The machine's own network.
pub const HOST: &str = "host";
/// No network.
pub const NONE: &str = "none";

/// The option that sets the largest packet.
const MTU_OPTION: &str = "com.docker.network.driver.mtu";

impl NetworkRecord {
    /// Whether every home has it.
    #[must_use]
    pub fn is_predefined(&self) -> bool {
        is_predefined(&self.name)
    }

    /// Whether names are answered on it: not on the default bridge, as Docker.
    #[must_use]
    pub fn has_names(&self) -> bool {
        self.driver == Driver::Bridge && self.name != BRIDGE
    }

    /// The largest packet asked for, in bytes.
    pub(crate) fn mtu(&self) -> Option<u32> {
        self.options.get(MTU_OPTION)?.parse().ok()
    }

    /// The plan for addresses of a family.
    pub(crate) fn plan(&self, address: IpAddr) -> Option<&AddressPlan> {
        match address {
            IpAddr::V4(_) => self.ipv4.as_ref(),
            IpAddr::V6(_) => self.ipv6.as_ref(),
        }
    }

    /// Both plans.
    pub(crate) fn plans(&self) -> impl Iterator<Item = &AddressPlan> {
        self.ipv4.iter().chain(&self.ipv6)
    }
}

/// Whether a network of this name is every home's.
pub(crate) fn is_predefined(name: &str) -> bool {
    matches!(name, BRIDGE | HOST | NONE)
}
