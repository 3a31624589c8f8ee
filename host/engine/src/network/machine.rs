//! Tells the machine's host end what networks and names there are.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use dhow_machine::{NetworkCommand, Subnet as MachineSubnet};

use super::default::{MACHINE_VLAN, machine_gateway, machine_prefix};
use super::endpoint::{Endpoint, names};
use super::pool::AddressPlan;
use super::record::{Driver, NetworkRecord};
use super::store::{Network, Networks};
use crate::guest::{Guest, MachineFailure};

type Names = BTreeMap<String, Vec<IpAddr>>;

/// What the running machine has been told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    guest: Option<Weak<dyn Guest>>,
    names: BTreeMap<u16, Names>,
}

fn subnet(plan: &AddressPlan) -> MachineSubnet {
    MachineSubnet {
        gateway: plan.gateway,
        prefix_length: plan.subnet.prefix(),
    }
}

fn set(record: &NetworkRecord) -> NetworkCommand {
    NetworkCommand::Set {
        vlan: record.vlan,
        ipv4: record.ipv4.as_ref().map(subnet),
        ipv6: record.ipv6.as_ref().map(subnet),
        internal: record.internal,
    }
}

/// The machine's own network.
fn set_machine() -> NetworkCommand {
    NetworkCommand::Set {
        vlan: MACHINE_VLAN,
        ipv4: Some(MachineSubnet {
            gateway: machine_gateway(),
            prefix_length: machine_prefix(),
        }),
        ipv6: None,
        internal: false,
    }
}

impl Networks {
    /// Tells a machine every network, once, and the names that have changed since.
    pub(crate) async fn tell(&self, guest: &Arc<dyn Guest>) -> Result<(), MachineFailure> {
        let mut told = self.told.lock().await;
        let known = told
            .guest
            .as_ref()
            .is_some_and(|known| Weak::ptr_eq(known, &Arc::downgrade(guest)));
        if !known {
            guest.network(set_machine()).await?;
            for network in self.all() {
                if network.record.driver == Driver::Bridge {
                    guest.network(set(&network.record)).await?;
                }
            }
            *told = Told {
                guest: Some(Arc::downgrade(guest)),
                names: BTreeMap::new(),
            };
        }
        for (vlan, names) in self.names() {
            let before = told.names.get(&vlan);
            if before == Some(&names) || (before.is_none() && names.is_empty()) {
                continue;
            }
            let command = NetworkCommand::Names {
                vlan,
                names: names.clone(),
            };
            guest.network(command).await?;
            told.names.insert(vlan, names);
        }
        Ok(())
    }

    /// Tells a machine of a network that was made after it had been told the others.
    pub(crate) async fn tell_made(
        &self,
        guest: &Arc<dyn Guest>,
        network: &Network,
    ) -> Result<(), MachineFailure> {
        let told = self.told.lock().await;
        let outcome = guest.network(set(&network.record)).await;
        drop(told);
        outcome
    }

    /// Tells a machine of a network that is gone.
    pub(crate) async fn tell_removed(
        &self,
        guest: &Arc<dyn Guest>,
        network: &Network,
    ) -> Result<(), MachineFailure> {
        let mut told = self.told.lock().await;
        told.names.remove(&network.record.vlan);
        let vlan = network.record.vlan;
        guest.network(NetworkCommand::Remove { vlan }).await
    }

    /// Ends the flows of a place that was given up.
    pub(crate) async fn drop_flows(&self, guest: &Arc<dyn Guest>, endpoint: &Endpoint) {
        for (address, _) in &endpoint.addresses {
            let command = NetworkCommand::DropFlows {
                vlan: endpoint.vlan,
                address: *address,
            };
            if let Err(error) = guest.network(command).await {
                tracing::debug!(%error, "flows of a container end with the machine");
            }
        }
    }

    /// The names of each network that has some.
    ///
    /// A container on several networks asks only one gateway, so each network also answers for what
    /// its containers see on their other networks, its own names first.
    fn names(&self) -> BTreeMap<u16, Names> {
        let places: Vec<(Arc<Network>, Vec<Endpoint>)> = self
            .all()
            .into_iter()
            .filter(|network| network.record.has_names())
            .map(|network| {
                let endpoints = network.endpoints();
                (network, endpoints)
            })
            .collect();
        let own: Vec<Names> = places
            .iter()
            .map(|(_, endpoints)| names(endpoints))
            .collect();
        let shares = |one: &[Endpoint], other: &[Endpoint]| {
            one.iter()
                .any(|here| other.iter().any(|there| here.container == there.container))
        };
        let mut all = BTreeMap::new();
        for (index, (network, endpoints)) in places.iter().enumerate() {
            let mut names = own[index].clone();
            for (other, (_, others)) in places.iter().enumerate() {
                if other != index && shares(endpoints, others) {
                    for (name, addresses) in &own[other] {
                        names
                            .entry(name.clone())
                            .or_insert_with(|| addresses.clone());
                    }
                }
            }
            all.insert(network.record.vlan, names);
        }
        all
    }
}
