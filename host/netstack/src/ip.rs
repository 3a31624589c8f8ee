//! IP packets: read from a guest with everything checked once, written for it.
//!
//! Fragments and IPv6 extension headers are not carried: the link's MTU is as large as a packet
//! gets, so an honest guest has no use for them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpAddress, IpProtocol, IpRepr, Ipv4Packet, Ipv6Packet, checksum};

/// The hop limit of what the gateway itself sends.
const HOP_LIMIT: u8 = 64;

/// A checked packet of a guest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Datagram<'a> {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: IpProtocol,
    pub(crate) hop_limit: u8,
    /// What the protocol carries, without the padding of the frame.
    pub(crate) payload: &'a [u8],
    /// Header and payload.
    pub(crate) packet: &'a [u8],
}

impl<'a> Datagram<'a> {
    pub(crate) fn parse_v4(bytes: &'a [u8]) -> Option<Self> {
        let packet = Ipv4Packet::new_checked(bytes).ok()?;
        let fragment = packet.more_frags() || packet.frag_offset() != 0;
        let whole = packet.version() == 4 && packet.verify_checksum() && !fragment;
        let source = packet.src_addr();
        (whole && may_be_source_v4(source)).then(|| Self {
            source: source.into(),
            destination: packet.dst_addr().into(),
            protocol: packet.next_header(),
            hop_limit: packet.hop_limit(),
            payload: packet.payload(),
            packet: &bytes[..usize::from(packet.total_len())],
        })
    }

    pub(crate) fn parse_v6(bytes: &'a [u8]) -> Option<Self> {
        let packet = Ipv6Packet::new_checked(bytes).ok()?;
        let source = packet.src_addr();
        (packet.version() == 6 && !source.is_multicast() && !source.is_loopback()).then(|| Self {
            source: source.into(),
            destination: packet.dst_addr().into(),
            protocol: packet.next_header(),
            hop_limit: packet.hop_limit(),
            payload: packet.payload(),
            packet: &bytes[..packet.total_len()],
        })
    }

    /// Whether the checksum over pseudo header and payload is right.
    pub(crate) fn checksum_is_right(&self) -> bool {
        checksum_of(self.source, self.destination, self.protocol, self.payload) == 0
    }
}

fn may_be_source_v4(source: Ipv4Addr) -> bool {
    !(source.is_multicast()
        || source.is_broadcast()
        || source.is_loopback()
        || source.is_unspecified())
}

/// Whether a flow may go to this address at all. What remains would reach the host's own
/// loopback (`127.0.0.0/8`, `0.0.0.0`, `::1` and IPv4 written as IPv6) past the gateway's rules, or
/// is no address of one host.
pub(crate) fn may_be_destination(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let this_network = address.octets()[0] == 0;
            let reserved = address.octets()[0] >= 224;
            !this_network && !reserved && !address.is_loopback()
        }
        IpAddr::V6(address) => {
            let embeds_v4 = address.to_ipv4().is_some();
            !embeds_v4 && !address.is_multicast() && !address.is_unicast_link_local()
        }
    }
}

/// Bytes of the header that [`write_header`] writes.
pub(crate) fn header_bytes(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(_) => smoltcp::wire::IPV4_HEADER_LEN,
        IpAddr::V6(_) => smoltcp::wire::IPV6_HEADER_LEN,
    }
}

/// Writes the header of a packet with `payload_bytes` after it; both addresses are of one family.
pub(crate) fn write_header(
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    payload_bytes: usize,
    buffer: &mut [u8],
) {
    header(source, destination, protocol, payload_bytes)
        .emit(buffer, &ChecksumCapabilities::default());
}

fn header(
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    payload_bytes: usize,
) -> IpRepr {
    IpRepr::new(
        source.into(),
        destination.into(),
        protocol,
        payload_bytes,
        HOP_LIMIT,
    )
}

/// A whole packet.
pub(crate) fn packet(
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    payload: &[u8],
) -> Vec<u8> {
    let header_bytes = header_bytes(source);
    let mut packet = vec![0; header_bytes + payload.len()];
    packet[header_bytes..].copy_from_slice(payload);
    write_header(source, destination, protocol, payload.len(), &mut packet);
    packet
}

/// The internet checksum over pseudo header and `payload`: zero if the payload has it right,
/// otherwise what to write where zeroes were.
pub(crate) fn checksum_of(
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    payload: &[u8],
) -> u16 {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let (source, destination) = (IpAddress::from(source), IpAddress::from(destination));
    let pseudo = checksum::pseudo_header(&source, &destination, protocol, length);
    !checksum::combine(&[pseudo, checksum::data(payload)])
}

/// The group of everyone who might have `address` (RFC 4291, section 2.7.1).
pub(crate) fn is_solicited_node_of(group: Ipv6Addr, address: Ipv6Addr) -> bool {
    let [.., a, b, c] = address.octets();
    group.octets() == [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn no_spelling_of_the_hosts_loopback_is_a_destination() {
        assert!(!may_be_destination(address("127.0.0.1")));
        assert!(!may_be_destination(address("127.8.9.10")));
        assert!(!may_be_destination(address("0.0.0.0")));
        assert!(!may_be_destination(address("::1")));
        assert!(!may_be_destination(address("::")));
        assert!(!may_be_destination(address("::ffff:127.0.0.1")));
        assert!(!may_be_destination(address("::127.0.0.1")));
        assert!(!may_be_destination(address("fe80::1")));
        assert!(!may_be_destination(address("224.0.0.251")));
        assert!(!may_be_destination(address("255.255.255.255")));
        assert!(may_be_destination(address("192.0.2.1")));
        assert!(may_be_destination(address("2001:db8::1")));
    }

    #[test]
    fn a_fragment_is_no_datagram() {
        let mut bytes = packet(
            address("10.0.0.2"),
            address("10.0.0.1"),
            IpProtocol::Udp,
            b"payload",
        );
        let mut fragment = Ipv4Packet::new_unchecked(&mut bytes);
        fragment.set_more_frags(true);
        fragment.fill_checksum();

        assert!(Datagram::parse_v4(&bytes).is_none());
    }

    #[test]
    fn padding_of_a_short_frame_is_no_payload() {
        let mut bytes = packet(
            address("10.0.0.2"),
            address("10.0.0.1"),
            IpProtocol::Udp,
            b"x",
        );
        bytes.resize(60, 0);

        assert_eq!(Datagram::parse_v4(&bytes).unwrap().payload, b"x");
    }
}
