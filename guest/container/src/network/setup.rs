//! The requests that make bridges, pairs of interfaces, addresses and routes.
//!
//! Interfaces get numbers of our choice, so that one batch can make a thing and refer to it.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use dhow_protocol::Interface;
use dhow_protocol::network::MAX_INTERFACES;
use nix::libc;

use super::netlink::{Batch, Body, Mode, Netlink};
use super::{Machine, NetworkError, Nic};

/// The machine's network interface.
const NIC: &str = "eth0";

/// Index of the loopback interface in every namespace.
const LOOPBACK_INDEX: u32 = 1;

/// Where the numbers of bridges begin; the VLAN is added.
const BRIDGE_BASE: u32 = 10_000;

/// Where the numbers of VLAN interfaces begin; the VLAN is added.
const PORT_BASE: u32 = 20_000;

/// Where the numbers of the machine's ends of pairs begin; the serial is added.
const PAIR_BASE: u32 = 30_000;

/// The largest VLAN (IEEE 802.1Q, 4095 is reserved).
const MAX_VLAN: u16 = 4094;

/// The longest name of an interface, without its end (`IFNAMSIZ`).
const MAX_NAME_BYTES: usize = 15;

/// Packets in a machine without a network interface.
const DEFAULT_MTU: u32 = 1500;

/// `VETH_INFO_PEER` (linux/veth.h).
const VETH_PEER: u16 = 1;

/// `IFLA_VLAN_ID` (linux/if_link.h).
const VLAN_ID: u16 = 1;

/// `IFLA_BR_MCAST_SNOOPING` (linux/if_link.h).
const BRIDGE_MULTICAST_SNOOPING: u16 = 23;

/// `IFLA_INET_CONF` (linux/if_link.h).
const INET_CONF: u16 = 1;

/// `IPV4_DEVCONF_RP_FILTER` (linux/ip.h).
const REVERSE_PATH_FILTER: u16 = 8;

/// `IFLA_INET6_ADDR_GEN_MODE` (linux/if_link.h).
const ADDRESS_GENERATION: u16 = 8;

/// `IN6_ADDR_GEN_MODE_NONE` (linux/if_link.h).
const GENERATE_NOTHING: u8 = 1;

/// The kernel's metric of IPv6 routes that name none (`IP6_RT_PRIO_USER`).
const IPV6_METRIC: u32 = 1024;

/// Refuses an interface that the kernel would, and one that would be another's.
pub(super) fn check(interfaces: &[Interface]) -> Result<(), NetworkError> {
    if interfaces.len() > MAX_INTERFACES {
        return Err(NetworkError::Interface("there are too many"));
    }
    for interface in interfaces {
        let name = interface.name.as_bytes();
        let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':');
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.iter().all(plain) {
            return Err(NetworkError::Interface("its name is none"));
        }
        if !(1..=MAX_VLAN).contains(&interface.vlan) {
            return Err(NetworkError::Interface("its VLAN is none"));
        }
        let fits = |(address, length): &(IpAddr, u8)| *length <= address_bits(*address);
        if !interface.addresses.iter().all(fits) {
            return Err(NetworkError::Interface(
                "its prefix is longer than its address",
            ));
        }
    }
    Ok(())
}

fn address_bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Brings the machine's interface up, if there is one.
pub(super) fn machine() -> Result<Machine, NetworkError> {
    let socket = Netlink::new()?;
    // Bridges and ports have no business with IPv6: they would announce addresses of their own on
    // every network. Kernels without IPv6 have no such file. New namespaces do not inherit it.
    for which in ["default", NIC] {
        let _without_ipv6 =
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1");
    }
    let number = |file: &str| -> Option<u32> {
        let text = std::fs::read_to_string(format!("/sys/class/net/{NIC}/{file}")).ok()?;
        text.trim().parse().ok()
    };
    let nic = number("ifindex").zip(number("mtu"));
    let nic = nic.map(|(index, mtu)| Nic { index, mtu });
    if let Some(nic) = nic {
        let mut batch = Batch::default();
        let what = "bring the machine's network interface up";
        batch.request(what, libc::RTM_NEWLINK, Mode::Change, |body| {
            body.interface(nic.index, true);
        });
        socket.perform(batch)?;
    }
    Ok(Machine { socket, nic })
}

/// Makes the bridge of a VLAN, with its port to the host.
pub(super) fn bridge(batch: &mut Batch, vlan: u16, nic: Option<Nic>) {
    let index = BRIDGE_BASE + u32::from(vlan);
    batch.request("make a bridge", libc::RTM_NEWLINK, Mode::Create, |body| {
        body.interface(index, true);
        body.name(libc::IFLA_IFNAME, &format!("br{vlan}"));
        body.nested(libc::IFLA_LINKINFO, |info| {
            info.name(libc::IFLA_INFO_KIND, "bridge");
            // Nobody asks who listens on these networks, so snooping would only delay frames.
            info.nested(libc::IFLA_INFO_DATA, |data| {
                data.attribute(BRIDGE_MULTICAST_SNOOPING, &[0]);
            });
        });
    });
    // A container that forges frames must not reach the machine's own addresses by its bridge.
    batch.request("guard a bridge", libc::RTM_NEWLINK, Mode::Change, |body| {
        body.interface(index, false);
        body.nested(libc::IFLA_AF_SPEC, |families| {
            families.nested(family(libc::AF_INET), |inet| {
                inet.nested(INET_CONF, |conf| conf.number(REVERSE_PATH_FILTER, 1));
            });
        });
    });
    if let Some(nic) = nic {
        vlan_interface(batch, vlan, nic, Some(index));
    }
}

/// Makes the machine's interface on a VLAN, as a bridge's port or for itself.
fn vlan_interface(batch: &mut Batch, vlan: u16, nic: Nic, master: Option<u32>) {
    let what = "make a VLAN interface";
    batch.request(what, libc::RTM_NEWLINK, Mode::Create, |body| {
        body.interface(PORT_BASE + u32::from(vlan), true);
        body.name(libc::IFLA_IFNAME, &format!("{NIC}.{vlan}"));
        body.number(libc::IFLA_LINK, nic.index);
        if let Some(master) = master {
            body.number(libc::IFLA_MASTER, master);
        }
        body.nested(libc::IFLA_LINKINFO, |info| {
            info.name(libc::IFLA_INFO_KIND, "vlan");
            info.nested(libc::IFLA_INFO_DATA, |data| {
                data.attribute(VLAN_ID, &vlan.to_ne_bytes());
            });
        });
    });
}

/// Deletes a bridge and its port.
pub(super) fn delete_bridge(batch: &mut Batch, vlan: u16) {
    for base in [PORT_BASE, BRIDGE_BASE] {
        delete(batch, base + u32::from(vlan));
    }
}

/// Deletes the pair of interfaces with this serial.
pub(super) fn delete_pair(batch: &mut Batch, serial: u32) {
    delete(batch, PAIR_BASE + serial);
}

fn delete(batch: &mut Batch, index: u32) {
    let what = "delete a network interface";
    batch.request(what, libc::RTM_DELLINK, Mode::Change, |body| {
        body.interface(index, false);
    });
}

/// Makes a pair of interfaces: one end on the bridge, the other in a namespace.
pub(super) fn pair(
    batch: &mut Batch,
    interface: &Interface,
    serial: u32,
    nic: Option<Nic>,
    namespace: BorrowedFd<'_>,
) {
    let mtu = interface
        .mtu
        .or(nic.map(|nic| nic.mtu))
        .unwrap_or(DEFAULT_MTU);
    let what = "make a pair of network interfaces";
    batch.request(what, libc::RTM_NEWLINK, Mode::Create, |body| {
        body.interface(PAIR_BASE + serial, true);
        body.name(libc::IFLA_IFNAME, &format!("veth{serial}"));
        body.number(libc::IFLA_MTU, mtu);
        body.number(libc::IFLA_MASTER, BRIDGE_BASE + u32::from(interface.vlan));
        body.nested(libc::IFLA_LINKINFO, |info| {
            info.name(libc::IFLA_INFO_KIND, "veth");
            info.nested(libc::IFLA_INFO_DATA, |data| {
                data.nested(VETH_PEER, |peer| {
                    peer.interface(inner_index(serial), false);
                    peer.name(libc::IFLA_IFNAME, &interface.name);
                    peer.attribute(libc::IFLA_ADDRESS, &interface.mac);
                    peer.number(libc::IFLA_MTU, mtu);
                    peer.descriptor(libc::IFLA_NET_NS_FD, namespace);
                });
            });
        });
    });
}

/// Number of the container's end of a pair; 1 is its loopback interface.
fn inner_index(serial: u32) -> u32 {
    serial + LOOPBACK_INDEX
}

/// Brings the loopback interface up.
pub(super) fn loopback(batch: &mut Batch) {
    let what = "bring the loopback interface up";
    batch.request(what, libc::RTM_NEWLINK, Mode::Change, |body| {
        body.interface(LOOPBACK_INDEX, true);
    });
}

/// Gives the container's end of a pair its addresses and routes; to be done in its namespace.
pub(super) fn configure(batch: &mut Batch, interface: &Interface, serial: u32) {
    let index = inner_index(serial);
    let ipv6 = interface
        .addresses
        .iter()
        .any(|(address, _)| address.is_ipv6());
    if !ipv6 {
        // Nor an address of the link, as in Docker: its search for routers would be for nothing.
        batch.request("keep IPv6 off", libc::RTM_NEWLINK, Mode::Change, |body| {
            body.interface(index, false);
            body.nested(libc::IFLA_AF_SPEC, |families| {
                families.nested(family(libc::AF_INET6), |inet6| {
                    inet6.attribute(ADDRESS_GENERATION, &[GENERATE_NOTHING]);
                });
            });
        });
    }
    let what = "bring a network interface up";
    batch.request(what, libc::RTM_NEWLINK, Mode::Change, |body| {
        body.interface(index, true);
    });
    addresses(batch, interface, index);
}

/// Gives the machine its own address, for containers that share its network.
pub(super) fn host(batch: &mut Batch, interface: &Interface, nic: Option<Nic>) {
    loopback(batch);
    if let Some(nic) = nic {
        vlan_interface(batch, interface.vlan, nic, None);
        addresses(batch, interface, PORT_BASE + u32::from(interface.vlan));
    }
}

fn addresses(batch: &mut Batch, interface: &Interface, index: u32) {
    for (address, prefix) in &interface.addresses {
        let what = "add the interface's address";
        batch.request(what, libc::RTM_NEWADDR, Mode::Create, |body| {
            write_address(body, *address, *prefix, index);
        });
    }
    for gateway in &interface.gateways {
        let what = "add the route to the gateway";
        batch.request(what, libc::RTM_NEWROUTE, Mode::Create, |body| {
            write_route(body, *gateway, interface.metric, index);
        });
    }
}

/// `struct ifaddrmsg` and its attributes.
fn write_address(body: &mut Body<'_>, address: IpAddr, prefix: u8, index: u32) {
    let (flags, scope) = (0, libc::RT_SCOPE_UNIVERSE);
    body.bytes(&[address_family(address), prefix, flags, scope]);
    body.bytes(&index.to_ne_bytes());
    body.address(libc::IFA_LOCAL, address);
    body.address(libc::IFA_ADDRESS, address);
    match address {
        IpAddr::V4(address) => {
            let hosts = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
            let broadcast = std::net::Ipv4Addr::from_bits(address.to_bits() | hosts);
            body.address(libc::IFA_BROADCAST, broadcast.into());
        }
        // The engine gives an address to one container only; the kernel's search for others that
        // have it would keep it unusable for a second.
        IpAddr::V6(_) => body.number(libc::IFA_FLAGS, libc::IFA_F_NODAD),
    }
}

/// `struct rtmsg` and its attributes: the route to everywhere.
fn write_route(body: &mut Body<'_>, gateway: IpAddr, metric: u32, index: u32) {
    let (destination_length, source_length, service) = (0, 0, 0);
    body.bytes(&[
        address_family(gateway),
        destination_length,
        source_length,
        service,
        libc::RT_TABLE_MAIN,
        libc::RTPROT_BOOT,
        libc::RT_SCOPE_UNIVERSE,
        libc::RTN_UNICAST,
    ]);
    let flags = 0_u32;
    body.bytes(&flags.to_ne_bytes());
    body.address(libc::RTA_GATEWAY, gateway);
    body.number(libc::RTA_OIF, index);
    let metric = match gateway {
        IpAddr::V4(_) => metric,
        IpAddr::V6(_) => IPV6_METRIC + metric,
    };
    body.number(libc::RTA_PRIORITY, metric);
}

fn address_family(address: IpAddr) -> u8 {
    let family = match address {
        IpAddr::V4(_) => libc::AF_INET,
        IpAddr::V6(_) => libc::AF_INET6,
    };
    u8::try_from(family).expect("address families are small numbers")
}

fn family(family: libc::c_int) -> u16 {
    u16::try_from(family).expect("address families are small numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface() -> Interface {
        Interface {
            network: "front".to_owned(),
            vlan: 2,
            name: "eth0".to_owned(),
            mac: [2, 0x42, 172, 17, 0, 2],
            addresses: vec![([172, 17, 0, 2].into(), 16)],
            gateways: vec![[172, 17, 0, 1].into()],
            metric: 0,
            mtu: None,
        }
    }

    #[test]
    fn takes_what_the_engine_sends() {
        check(&[interface()]).unwrap();
    }

    #[test]
    fn refuses_a_vlan_that_is_none() {
        let mut interface = interface();
        interface.vlan = 4095;

        assert!(matches!(
            check(&[interface]),
            Err(NetworkError::Interface(_))
        ));
    }

    #[test]
    fn refuses_a_name_that_the_kernel_would_cut() {
        let mut interface = interface();
        interface.name = "a-very-long-name".to_owned();

        assert!(matches!(
            check(&[interface]),
            Err(NetworkError::Interface(_))
        ));
    }

    #[test]
    fn refuses_a_prefix_longer_than_the_address() {
        let mut interface = interface();
        interface.addresses[0].1 = 33;

        assert!(matches!(
            check(&[interface]),
            Err(NetworkError::Interface(_))
        ));
    }
}
