//! Pings: of the gateway, and beyond it where the host may.

use std::net::IpAddr;

use smoltcp::wire::{IpProtocol, checksum};

use crate::bench::{Bench, gateway_v4, gateway_v6};
use crate::packets::{ICMP, ICMP_V6, next_packet, read_ip, sum};

/// An echo request with identifier 0x1234, sequence 7 and four bytes.
fn echo_request(bench: &mut Bench, to: IpAddr) -> Vec<u8> {
    let kind = if to.is_ipv4() { 8 } else { 128 };
    let mut message = vec![kind, 0, 0, 0, 0x12, 0x34, 0, 7, b'd', b'h', b'o', b'w'];
    let guest = bench.guest();
    let checksum = match to {
        IpAddr::V4(_) => !checksum::data(&message),
        IpAddr::V6(_) => sum(guest.ipv6, to, IpProtocol::Icmpv6, &message),
    };
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    guest.packet(to, if to.is_ipv4() { ICMP } else { ICMP_V6 }, &message)
}

#[test]
fn the_gateway_answers_pings() {
    let mut bench = Bench::new();
    let request = echo_request(&mut bench, gateway_v4(2));

    bench.send(&request);

    let reply = next_packet(&mut bench);
    let (from, _, _, message) = read_ip(&reply);
    assert_eq!(from, gateway_v4(2));
    assert_eq!(message[..2], [0, 0]);
    assert_eq!(message[4..], *b"\x12\x34\x00\x07dhow");
    assert_eq!(checksum::data(message), 0xffff);
}

#[test]
fn the_gateway_answers_pings_over_ipv6() {
    let mut bench = Bench::new();
    let request = echo_request(&mut bench, gateway_v6(2));

    bench.send(&request);

    let reply = next_packet(&mut bench);
    let (from, to, _, message) = read_ip(&reply);
    assert_eq!(message[..2], [129, 0]);
    assert_eq!(sum(from, to, IpProtocol::Icmpv6, message), 0);
}

#[test]
fn an_address_inside_the_network_is_not_pinged_for_the_guest() {
    let mut bench = Bench::new();
    let request = echo_request(&mut bench, "10.2.0.77".parse().unwrap());

    bench.send(&request);
    bench.run_until_quiet();

    assert!(bench.guest().packets.is_empty());
    assert_eq!(bench.control.counters().packets_dropped, 1);
}

#[test]
fn the_gateway_is_found_by_neighbour_discovery() {
    let mut bench = Bench::new();
    let gateway = gateway_v6(2);
    let group: IpAddr = "ff02::1:ff00:1".parse().unwrap();
    let IpAddr::V6(wanted) = gateway else {
        unreachable!("the gateway has an IPv6 address")
    };
    let guest = bench.guest();
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&wanted.octets());
    message.extend_from_slice(&[1, 1]);
    message.extend_from_slice(&guest.mac);
    let checksum = sum(guest.ipv6, group, IpProtocol::Icmpv6, &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let mut packet = guest.packet(group, ICMP_V6, &message);
    packet[7] = 255;
    let frame = guest.frame_of([0x33, 0x33, 0xff, 0, 0, 1], 0x86dd, &packet);

    bench.stack.receive(&frame);

    let reply = next_packet(&mut bench);
    let (from, to, _, message) = read_ip(&reply);
    assert_eq!((from, to), (gateway, bench.guest().ipv6));
    assert_eq!(message[0], 136);
    assert_eq!(message[26..32], crate::guest::gateway_mac(2));
}
