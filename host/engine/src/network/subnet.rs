//! Subnets: an address and the length of its prefix, IPv4 or IPv6.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Bits of an IPv4 address.
const IPV4_BITS: u8 = 32;

/// Bits of an IPv6 address.
const IPV6_BITS: u8 = 128;

/// A subnet, its address without host bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    address: IpAddr,
    prefix: u8,
}

/// Why a subnet was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid subnet {0}: expected an address and the length of its prefix, such as 172.20.0.0/16"
)]
pub struct SubnetError(String);

impl Subnet {
    /// The subnet that an address is in, by the length of its prefix; `None` past the address's
    /// length.
    #[must_use]
    pub fn of(address: IpAddr, prefix: u8) -> Option<Self> {
        let bits = bits(address);
        if prefix > bits {
            return None;
        }
        let mask = u128::MAX.checked_shl(u32::from(bits - prefix)).unwrap_or(0);
        Some(Self {
            address: from_number(number(address) & mask, address),
            prefix,
        })
    }

    /// Its address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// The length of its prefix in bits.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether it is one of IPv4.
    #[must_use]
    pub fn is_ipv4(self) -> bool {
        self.address.is_ipv4()
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_ipv4()
            && (self.first()..=self.last()).contains(&number(address))
    }

    /// Whether one has addresses of the other.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.is_ipv4() == other.is_ipv4()
            && self.first() <= other.last()
            && other.first() <= self.last()
    }

    /// Whether an address may be a host's: neither the subnet's own nor IPv4's broadcast address.
    /// Point-to-point subnets have neither (RFC 3021).
    #[must_use]
    pub fn is_host(self, address: IpAddr) -> bool {
        let value = number(address);
        let pair = self.prefix + 1 >= bits(self.address);
        let reserved = !pair && (value == self.first() || (self.is_ipv4() && value == self.last()));
        self.contains(address) && !reserved
    }

    /// The address at a distance from the subnet's own.
    #[must_use]
    pub fn nth(self, distance: u128) -> Option<IpAddr> {
        let value = self.first().checked_add(distance)?;
        (value <= self.last()).then(|| from_number(value, self.address))
    }

    fn first(self) -> u128 {
        number(self.address)
    }

    fn last(self) -> u128 {
        let hosts = u32::from(bits(self.address) - self.prefix);
        let size = 1_u128.checked_shl(hosts).map_or(u128::MAX, |size| size - 1);
        self.first() | size
    }
}

fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => IPV4_BITS,
        IpAddr::V6(_) => IPV6_BITS,
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address of a number, of the same family as another.
fn from_number(value: u128, family: IpAddr) -> IpAddr {
    match family {
        IpAddr::V4(_) => {
            let value = u32::try_from(value & u128::from(u32::MAX)).expect("masked to 32 bits");
            Ipv4Addr::from_bits(value).into()
        }
        IpAddr::V6(_) => Ipv6Addr::from_bits(value).into(),
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let error = || SubnetError(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(error)?;
        let address: IpAddr = address.parse().map_err(|_not_one| error())?;
        let prefix: u8 = prefix.parse().map_err(|_not_one| error())?;
        Self::of(address, prefix).ok_or_else(error)
    }
}

impl TryFrom<String> for Subnet {
    type Error = SubnetError;

    fn try_from(text: String) -> Result<Self, SubnetError> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn host_bits_are_cut_off() {
        assert_eq!(subnet("172.20.3.4/16").to_string(), "172.20.0.0/16");
        assert_eq!(subnet("fd00::5/64").to_string(), "fd00::/64");
    }

    #[test]
    fn refuses_what_is_no_subnet() {
        for text in [
            "172.20.0.0",
            "172.20.0.0/33",
            "fd00::/129",
            "a/8",
            "1.2.3.4/-1",
        ] {
            text.parse::<Subnet>().unwrap_err();
        }
    }

    #[test]
    fn overlaps_with_a_part_of_itself_only() {
        assert!(subnet("10.0.0.0/8").overlaps(subnet("10.3.0.0/24")));
        assert!(!subnet("10.0.0.0/24").overlaps(subnet("10.0.1.0/24")));
        assert!(subnet("0.0.0.0/0").overlaps(subnet("10.0.1.0/24")));
        assert!(!subnet("0.0.0.0/0").overlaps(subnet("::/0")));
    }

    #[test]
    fn the_subnets_own_and_the_broadcast_address_are_no_hosts() {
        let net = subnet("10.0.0.0/30");

        assert!(!net.is_host([10, 0, 0, 0].into()));
        assert!(net.is_host([10, 0, 0, 2].into()));
        assert!(!net.is_host([10, 0, 0, 3].into()));
        assert!(!net.is_host([10, 0, 0, 4].into()));
    }
}
