//! UDP: every answer to its own client.

use std::net::{SocketAddr, UdpSocket};
use std::thread;

use dhow_netstack::NetstackConfig;

use crate::bench::{Bench, gateway_v4, gateway_v6, host};
use crate::guest::Guest;
use crate::packets::{ICMP, exchange, next_packet, read_ip, read_udp, udp};

/// A server on the host's loopback that answers `count` datagrams with themselves.
fn echo_server(count: usize) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        for _ in 0..count {
            let (length, client) = socket.recv_from(&mut buffer).unwrap();
            socket.send_to(&buffer[..length], client).unwrap();
        }
    });
    port
}

#[test]
fn an_answer_comes_from_whom_the_guest_asked() {
    let mut bench = Bench::new();
    let port = echo_server(1);

    let packet = exchange(&mut bench, 5_000, host(port), b"hello");

    assert_eq!(read_udp(&packet), (host(port), 5_000, b"hello".to_vec()));
}

#[test]
fn an_answer_over_ipv6_has_its_checksum() {
    let mut bench = Bench::new();
    let port = echo_server(1);
    let gateway = SocketAddr::new(gateway_v6(2), port);

    let packet = exchange(&mut bench, 5_000, gateway, b"six");

    assert_eq!(read_udp(&packet), (gateway, 5_000, b"six".to_vec()));
}

#[test]
fn a_datagram_as_long_as_the_mtu_makes_the_round_trip() {
    let mut bench = Bench::new();
    let port = echo_server(1);
    let payload = vec![7; 65_520 - 28];

    let packet = exchange(&mut bench, 5_000, host(port), &payload);

    assert_eq!(read_udp(&packet).2, payload);
}

#[test]
fn each_of_many_clients_gets_its_own_answer() {
    let mut bench = Bench::new();
    bench.guests.push(Guest::new(2, 3));
    let port = echo_server(600);

    for client in 5_000..5_300_u16 {
        for guest in 0..2 {
            let [high, low] = client.to_be_bytes();
            let payload = [u8::from(guest == 1), high, low];
            let packet = udp(&bench.guests[guest], client, host(port), &payload);
            let frame = bench.guests[guest].frame(&packet);
            bench.stack.receive(&frame);
        }
        bench.round();
    }
    bench.run_until(|bench| bench.guests.iter().all(|guest| guest.packets.len() == 300));

    for (number, guest) in bench.guests.iter().enumerate() {
        for packet in &guest.packets {
            let (_, port, payload) = read_udp(packet);
            let [high, low] = port.to_be_bytes();
            assert_eq!(payload, [u8::from(number == 1), high, low]);
        }
    }
}

#[test]
fn a_closed_port_of_the_host_is_unreachable_to_the_guest() {
    let mut bench = Bench::new();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    drop(socket);

    let packet = udp(bench.guest(), 5_000, host(port), b"anyone?");
    bench.send(&packet);
    bench.run_until_quiet();
    // The first try was for 127.0.0.1; now ::1 is asked.
    bench.send(&packet);
    let answer = next_packet(&mut bench);

    let (from, _, protocol, message) = read_ip(&answer);
    assert_eq!((from, protocol), (gateway_v4(2), ICMP));
    assert_eq!(message[..2], [3, 3]);
    // What is quoted are the addresses and ports of the datagram.
    assert_eq!(message[8 + 12..8 + 24], packet[12..24]);
}

#[test]
fn the_flow_silent_the_longest_makes_room() {
    let config = NetstackConfig {
        max_udp_flows: 2,
        ..NetstackConfig::default()
    };
    let mut bench = Bench::with_config(config);
    let port = echo_server(4);

    for client in [5_000, 5_001, 5_000, 5_002] {
        exchange(&mut bench, client, host(port), b"x");
    }

    bench.round();
    let counters = bench.control.counters();
    assert_eq!((counters.udp_opened, counters.udp_evicted), (3, 1));
}
