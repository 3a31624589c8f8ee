//! UDP, ICMP and DNS by hand: small enough to see every byte.

use std::net::{IpAddr, SocketAddr};

use smoltcp::wire::{IpAddress, IpProtocol, checksum};

use crate::bench::Bench;
use crate::guest::Guest;

pub(crate) const ICMP: u8 = 1;
pub(crate) const ICMP_V6: u8 = 58;
const UDP: u8 = 17;
const UDP_HEADER_BYTES: usize = 8;

/// A datagram of `guest` from `port`.
pub(crate) fn udp(guest: &Guest, port: u16, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(UDP_HEADER_BYTES + payload.len()).unwrap();
    let mut datagram = Vec::new();
    for field in [port, to.port(), length, 0] {
        datagram.extend_from_slice(&field.to_be_bytes());
    }
    datagram.extend_from_slice(payload);
    let from = if to.is_ipv4() { guest.ipv4 } else { guest.ipv6 };
    let sum = sum(from, to.ip(), IpProtocol::Udp, &datagram);
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    guest.packet(to.ip(), UDP, &datagram)
}

/// The checksum with pseudo header.
pub(crate) fn sum(from: IpAddr, to: IpAddr, protocol: IpProtocol, payload: &[u8]) -> u16 {
    let length = u32::try_from(payload.len()).unwrap();
    let (from, to) = (IpAddress::from(from), IpAddress::from(to));
    let pseudo = checksum::pseudo_header(&from, &to, protocol, length);
    !checksum::combine(&[pseudo, checksum::data(payload)])
}

/// Source, destination port and payload of a UDP packet that came, its checksum found right.
pub(crate) fn read_udp(packet: &[u8]) -> (SocketAddr, u16, Vec<u8>) {
    let (from, to, protocol, datagram) = read_ip(packet);
    assert_eq!(protocol, UDP);
    assert_eq!(sum(from, to, IpProtocol::Udp, datagram), 0);
    let port = |at: usize| u16::from_be_bytes([datagram[at], datagram[at + 1]]);
    (
        SocketAddr::new(from, port(0)),
        port(2),
        datagram[UDP_HEADER_BYTES..].to_vec(),
    )
}

/// Source, destination, protocol and payload of a packet.
pub(crate) fn read_ip(packet: &[u8]) -> (IpAddr, IpAddr, u8, &[u8]) {
    if packet[0] >> 4 == 6 {
        let address = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).unwrap());
        return (address(8), address(24), packet[6], &packet[40..]);
    }
    assert_eq!(checksum::data(&packet[..20]), 0xffff);
    let address = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap());
    (address(12), address(16), packet[9], &packet[20..])
}

/// Sends a datagram of the first guest and waits for one packet in return.
pub(crate) fn exchange(bench: &mut Bench, port: u16, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let packet = udp(bench.guest(), port, to, payload);
    bench.send(&packet);
    next_packet(bench)
}

pub(crate) fn next_packet(bench: &mut Bench) -> Vec<u8> {
    bench.run_until(|bench| !bench.guest().packets.is_empty());
    bench.guest().packets.pop_front().unwrap()
}

/// A DNS query with recursion desired.
pub(crate) fn query(identifier: u16, name: &str, record_type: u16) -> Vec<u8> {
    let mut message = identifier.to_be_bytes().to_vec();
    message.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&record_type.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message
}
