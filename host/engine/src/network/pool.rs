//! The addresses of one subnet: who has which, which is free.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::subnet::Subnet;

/// The most addresses looked at for a free one: a subnet of 2^64 that is full of one network's
/// containers does not exist.
const MAX_SEARCHED: u128 = 1 << 17;

/// How a network's addresses are given out, as its user asked or we chose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressPlan {
    /// The subnet.
    pub subnet: Subnet,
    /// The address of the gateway.
    pub gateway: IpAddr,
    /// Where addresses are taken from, where not from all the subnet.
    pub range: Option<Subnet>,
    /// Whether the user chose the subnet.
    pub chosen: bool,
}

/// Why there is no address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// All are taken.
    #[error("no available IPv{family} addresses on this network's address pools: {network}", family = if *ipv4 { 4 } else { 6 })]
    Exhausted {
        /// The network.
        network: String,
        /// Of which family.
        ipv4: bool,
    },
    /// It is another's.
    #[error("Address already in use")]
    Taken,
    /// It is none of the network's.
    #[error("invalid endpoint settings: no configured subnet contains IP address {0}")]
    Outside(IpAddr),
}

/// The addresses of a subnet.
#[derive(Debug)]
pub(crate) struct Pool {
    plan: AddressPlan,
    taken: BTreeSet<IpAddr>,
}

impl Pool {
    pub(crate) fn new(plan: AddressPlan) -> Self {
        let taken = BTreeSet::from([plan.gateway]);
        Self { plan, taken }
    }

    /// The lowest free address, as Docker.
    pub(crate) fn take_any(&mut self, network: &str) -> Result<IpAddr, AddressError> {
        let within = self.plan.range.unwrap_or(self.plan.subnet);
        let free = (0..MAX_SEARCHED)
            .map_while(|distance| within.nth(distance))
            .find(|address| self.plan.subnet.is_host(*address) && !self.taken.contains(address));
        let address = free.ok_or_else(|| AddressError::Exhausted {
            network: network.to_owned(),
            ipv4: self.plan.subnet.is_ipv4(),
        })?;
        self.taken.insert(address);
        Ok(address)
    }

    /// One address.
    pub(crate) fn take(&mut self, address: IpAddr) -> Result<(), AddressError> {
        if !self.plan.subnet.is_host(address) {
            return Err(AddressError::Outside(address));
        }
        if self.taken.insert(address) {
            Ok(())
        } else {
            Err(AddressError::Taken)
        }
    }

    /// Makes an address free again.
    pub(crate) fn give_back(&mut self, address: IpAddr) {
        if address != self.plan.gateway {
            self.taken.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(subnet: &str, range: Option<&str>) -> Pool {
        let subnet: Subnet = subnet.parse().unwrap();
        Pool::new(AddressPlan {
            subnet,
            gateway: subnet.nth(1).unwrap(),
            range: range.map(|range| range.parse().unwrap()),
            chosen: true,
        })
    }

    #[test]
    fn the_first_address_follows_the_gateways() {
        let mut pool = pool("172.18.0.0/16", None);

        assert_eq!(pool.take_any("n").unwrap().to_string(), "172.18.0.2");
        assert_eq!(pool.take_any("n").unwrap().to_string(), "172.18.0.3");
    }

    #[test]
    fn an_address_given_back_is_given_out_again() {
        let mut pool = pool("172.18.0.0/16", None);
        let first = pool.take_any("n").unwrap();
        pool.take_any("n").unwrap();

        pool.give_back(first);

        assert_eq!(pool.take_any("n").unwrap(), first);
    }

    #[test]
    fn a_full_subnet_says_so() {
        let mut pool = pool("10.0.0.0/30", None);
        pool.take_any("n").unwrap();

        let error = pool.take_any("n").unwrap_err();

        assert!(matches!(error, AddressError::Exhausted { .. }));
    }

    #[test]
    fn addresses_come_from_the_range() {
        let mut pool = pool("10.0.0.0/16", Some("10.0.5.0/24"));

        assert_eq!(pool.take_any("n").unwrap().to_string(), "10.0.5.0");
    }

    #[test]
    fn a_chosen_address_is_had_once_and_only_in_the_subnet() {
        let mut pool = pool("10.0.0.0/24", None);
        let address = [10, 0, 0, 7].into();
        pool.take(address).unwrap();

        assert_eq!(pool.take(address), Err(AddressError::Taken));
        assert_eq!(pool.take([10, 0, 0, 1].into()), Err(AddressError::Taken));
        let outside = [10, 0, 1, 7].into();
        assert_eq!(pool.take(outside), Err(AddressError::Outside(outside)));
    }

    #[test]
    fn ipv6_addresses_start_after_the_gateway() {
        let mut pool = pool("fd00::/64", None);

        assert_eq!(pool.take_any("n").unwrap().to_string(), "fd00::2");
    }
}
