//! Answers to "who has this address?": the gateway's own, and no other.
//!
//! Guests are never asked in turn. Every flow is begun by a guest, and the hardware address it
//! came from is kept with the flow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::wire::IpProtocol;

use crate::ethernet::{self, Mac, Station, ether_type};
use crate::ip::{self, Datagram};
use crate::network::Network;

/// Ethernet and IPv4, with their address lengths: the start of every ARP packet we take.
const ARP_PREFIX: [u8; 6] = [0, 1, 8, 0, 6, 4];
const ARP_REQUEST: [u8; 2] = [0, 1];
const ARP_REPLY: [u8; 2] = [0, 2];
/// Bytes of an ARP packet for Ethernet and IPv4.
const ARP_BYTES: usize = 28;

/// Types of ICMPv6 (RFC 4861).
const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// Router, solicited, override.
const ADVERTISEMENT_FLAGS: u8 = 0b1110_0000;
/// Option 2: the target's link-layer address, in one unit of eight bytes.
const TARGET_ADDRESS_OPTION: [u8; 2] = [2, 1];
/// What came from this link has its hop limit still (RFC 4861, section 7.1.1).
const ON_LINK_HOP_LIMIT: u8 = 255;

/// The frame that answers an ARP request for the gateway.
pub(crate) fn answer_arp(network: &Network, sender: Station, request: &[u8]) -> Option<Vec<u8>> {
    let request = request.first_chunk::<ARP_BYTES>()?;
    let asks = request[..6] == ARP_PREFIX && request[6..8] == ARP_REQUEST;
    let wanted = Ipv4Addr::from_octets(*request[24..].first_chunk::<4>()?);
    if !asks || !network.is_gateway(wanted.into()) {
        return None;
    }
    let mut reply = [0; ARP_BYTES];
    reply[..6].copy_from_slice(&ARP_PREFIX);
    reply[6..8].copy_from_slice(&ARP_REPLY);
    reply[8..14].copy_from_slice(&Mac::of_gateway(sender.vlan).0);
    reply[14..18].copy_from_slice(&wanted.octets());
    reply[18..28].copy_from_slice(&request[8..18]);
    Some(ethernet::frame(sender, ether_type::ARP, &reply))
}

/// Whether this ICMPv6 message is a solicitation (of whomever).
pub(crate) fn is_solicitation(datagram: &Datagram<'_>) -> bool {
    datagram.payload.first() == Some(&NEIGHBOR_SOLICITATION)
}

/// The packet that answers a neighbour solicitation for the gateway.
pub(crate) fn answer_solicitation(
    network: &Network,
    sender: Station,
    datagram: &Datagram<'_>,
) -> Option<Vec<u8>> {
    let octets = datagram.payload.get(8..24)?.first_chunk::<16>()?;
    let target = Ipv6Addr::from_octets(*octets);
    let IpAddr::V6(destination) = datagram.destination else {
        return None;
    };
    let asked = destination == target || ip::is_solicited_node_of(destination, target);
    let on_link = datagram.hop_limit == ON_LINK_HOP_LIMIT && datagram.payload[1] == 0;
    // An unspecified source asks whether the address is free: it is not, and it must not know
    // whom it asks by hardware address, so duplicate detection is answered to everyone's ear.
    let source = datagram.source;
    let duplicate_detection = source.is_unspecified();
    if !asked || !on_link || !network.is_gateway(target.into()) {
        return None;
    }
    let receiver = if duplicate_detection {
        ALL_NODES.into()
    } else {
        source
    };
    let mut message = vec![
        NEIGHBOR_ADVERTISEMENT,
        0,
        0,
        0,
        ADVERTISEMENT_FLAGS,
        0,
        0,
        0,
    ];
    message.extend_from_slice(&target.octets());
    message.extend_from_slice(&TARGET_ADDRESS_OPTION);
    message.extend_from_slice(&Mac::of_gateway(sender.vlan).0);
    let checksum = ip::checksum_of(target.into(), receiver, IpProtocol::Icmpv6, &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let mut packet = ip::packet(target.into(), receiver, IpProtocol::Icmpv6, &message);
    packet[HOP_LIMIT_OFFSET_V6] = ON_LINK_HOP_LIMIT;
    Some(packet)
}

/// Every node of a link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Where the hop limit stands in an IPv6 header.
const HOP_LIMIT_OFFSET_V6: usize = 7;
