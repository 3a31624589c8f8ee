//! What nobody has to ask for: the networks of every home, and subnets for networks without one.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::pool::AddressPlan;
use super::record::{BRIDGE, Driver, HOST, NONE, NetworkRecord};
use super::subnet::Subnet;
use crate::id::{Id, random_bytes};
use crate::time::Timestamp;

/// The machine's own VLAN, for containers that share its network.
pub(super) const MACHINE_VLAN: u16 = 1;

/// The VLAN of the default bridge.
const BRIDGE_VLAN: u16 = 2;

/// The machine's own subnet, Docker Desktop's: nobody expects anything else there.
const MACHINE_SUBNET: (Ipv4Addr, u8) = (Ipv4Addr::new(192, 168, 65, 0), 24);

/// The machine's own address, as the host part of [`MACHINE_SUBNET`].
const MACHINE_HOST: u128 = 3;

/// Subnets of Docker's default pools: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/20 and on.
fn default_pools() -> impl Iterator<Item = Subnet> {
    let large = (17..=31).map(|second| (Ipv4Addr::new(172, second, 0, 0), 16));
    let small = (0..=240)
        .step_by(16)
        .map(|third| (Ipv4Addr::new(192, 168, third, 0), 20));
    large
        .chain(small)
        .filter_map(|(address, prefix)| Subnet::of(address.into(), prefix))
}

/// A subnet that neither another network nor the host itself has.
pub(super) fn free_subnet(used: &[Subnet]) -> Option<Subnet> {
    let routes = host_routes();
    let machine = machine_subnet();
    default_pools().find(|pool| {
        let clashes = |other: &Subnet| pool.overlaps(*other);
        !used.iter().chain(&routes).any(clashes) && !pool.overlaps(machine)
    })
}

/// A random subnet of the unique local addresses (RFC 4193).
pub(super) fn local_ipv6_subnet() -> io::Result<Option<Subnet>> {
    /// First byte of locally assigned unique local addresses.
    const LOCAL: u8 = 0xfd;
    /// What a network gets: one link.
    const PREFIX: u8 = 64;
    let random: [u8; 7] = random_bytes()?;
    let mut octets = [0; 16];
    octets[0] = LOCAL;
    octets[1..8].copy_from_slice(&random);
    Ok(Subnet::of(Ipv6Addr::from(octets).into(), PREFIX))
}

/// The subnets that the host reaches directly, so that containers do not lose them. A host that
/// does not tell has none.
fn host_routes() -> Vec<Subnet> {
    let table = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    table.lines().skip(1).filter_map(parse_route).collect()
}

/// A line of `/proc/net/route`: interface, destination, gateway, flags, …, mask; numbers in
/// hexadecimal, the first byte of an address lowest. The route to everywhere is no subnet.
fn parse_route(line: &str) -> Option<Subnet> {
    let mut fields = line.split_whitespace();
    let number = |field: &str| u32::from_str_radix(field, 16).ok().map(u32::swap_bytes);
    let destination = number(fields.nth(1)?)?;
    let mask = number(fields.nth(5)?)?;
    if mask == 0 {
        return None;
    }
    let prefix = u8::try_from(mask.leading_ones()).ok()?;
    Subnet::of(Ipv4Addr::from_bits(destination).into(), prefix)
}

fn machine_subnet() -> Subnet {
    let (address, prefix) = MACHINE_SUBNET;
    Subnet::of(address.into(), prefix).expect("24 bits are a prefix of an IPv4 address")
}

/// The plan of a subnet whose gateway is its first address.
pub(super) fn plan_of(subnet: Subnet, chosen: bool) -> Option<AddressPlan> {
    let gateway = if subnet.is_host(subnet.nth(0)?) { 0 } else { 1 };
    Some(AddressPlan {
        subnet,
        gateway: subnet.nth(gateway)?,
        range: None,
        chosen,
    })
}

/// The machine's own interface, as the agent is told it.
pub(crate) fn machine_interface() -> dhow_protocol::Interface {
    let subnet = machine_subnet();
    let address = subnet.nth(MACHINE_HOST).expect("24 bits leave room for 3");
    dhow_protocol::Interface {
        network: HOST.to_owned(),
        vlan: MACHINE_VLAN,
        name: format!("eth0.{MACHINE_VLAN}"),
        mac: [0; 6],
        addresses: vec![(address, subnet.prefix())],
        gateways: vec![machine_gateway()],
        metric: 0,
        mtu: None,
    }
}

/// The machine's way out.
pub(super) fn machine_gateway() -> IpAddr {
    machine_subnet().nth(1).expect("24 bits leave room for 1")
}

/// The length of the machine's own prefix.
pub(super) fn machine_prefix() -> u8 {
    machine_subnet().prefix()
}

/// The networks that every home has.
pub(super) fn predefined() -> io::Result<[NetworkRecord; 3]> {
    let plan = free_subnet(&[]).and_then(|subnet| plan_of(subnet, false));
    let bridge = NetworkRecord {
        vlan: BRIDGE_VLAN,
        ipv4: plan,
        options: BTreeMap::from(
            [
                ("com.docker.network.bridge.default_bridge", "true"),
                ("com.docker.network.bridge.enable_icc", "true"),
                ("com.docker.network.bridge.enable_ip_masquerade", "true"),
                ("com.docker.network.bridge.host_binding_ipv4", "127.0.0.1"),
                ("com.docker.network.bridge.name", "docker0"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        ),
        ..bare(BRIDGE, Driver::Bridge)?
    };
    Ok([bridge, bare(HOST, Driver::Host)?, bare(NONE, Driver::Null)?])
}

fn bare(name: &str, driver: Driver) -> io::Result<NetworkRecord> {
    Ok(NetworkRecord {
        id: Id::random()?,
        name: name.to_owned(),
        created: Timestamp::now(),
        driver,
        vlan: 0,
        ipv4: None,
        ipv6: None,
        internal: false,
        attachable: false,
        labels: BTreeMap::new(),
        options: BTreeMap::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_come_in_dockers_order() {
        let pools: Vec<String> = default_pools().map(|pool| pool.to_string()).collect();

        assert_eq!(pools[0], "172.17.0.0/16");
        assert_eq!(pools[14], "172.31.0.0/16");
        assert_eq!(pools[15], "192.168.0.0/20");
        assert_eq!(pools[30], "192.168.240.0/20");
    }

    #[test]
    fn a_used_subnet_is_passed_over() {
        let first = free_subnet(&[]).unwrap();

        let second = free_subnet(&[first]).unwrap();

        assert!(!first.overlaps(second));
    }

    #[test]
    fn a_route_of_the_host_is_read() {
        let line = "eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0";

        assert_eq!(parse_route(line).unwrap().to_string(), "172.17.0.0/16");
    }

    #[test]
    fn the_hosts_way_out_is_no_subnet_of_its_own() {
        let line = "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0";

        assert_eq!(parse_route(line), None);
    }
}
