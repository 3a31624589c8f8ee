//! Networks do not reach each other, nor what is not theirs.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};

use smoltcp::socket::tcp::State;

use crate::bench::{Bench, host, network};
use crate::guest::Guest;
use crate::packets::{ICMP, next_packet, read_ip, udp};

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn another_networks_address_refuses_connections() {
    let mut bench = Bench::new();

    let handle = bench.guest().connect(address("10.3.0.2:80"));

    bench.run_until(|bench| bench.tcp(handle).state() == State::Closed);
}

#[test]
fn another_networks_gateway_is_not_the_host() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut bench = Bench::new();

    let handle = bench
        .guest()
        .connect(SocketAddr::new("10.3.0.1".parse().unwrap(), port));

    bench.run_until(|bench| bench.tcp(handle).state() == State::Closed);
}

#[test]
fn another_networks_port_is_unreachable_by_udp() {
    let mut bench = Bench::new();
    let packet = udp(
        bench.guest(),
        5_000,
        address("10.3.0.2:53"),
        b"who is there",
    );

    bench.send(&packet);

    let answer = next_packet(&mut bench);
    let (_, _, protocol, message) = read_ip(&answer);
    assert_eq!((protocol, &message[..2]), (ICMP, &[3, 3][..]));
}

#[test]
fn a_guest_of_one_network_cannot_speak_as_one_of_another() {
    let mut bench = Bench::new();
    let stranger = Guest::new(3, 2);
    let packet = udp(&stranger, 5_000, address("10.2.0.1:53"), b"");

    bench.send(&packet);
    bench.run_until_quiet();

    assert!(bench.guest().packets.is_empty());
}

#[test]
fn an_internal_network_has_no_beyond_and_no_host() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut bench = Bench::new();
    bench.control.apply(network(2, true));
    bench.stack.poll().unwrap();

    let to_host = bench.guest().connect(host(port));
    let beyond = bench.guest().connect(address("192.0.2.1:80"));
    bench.run_until(|bench| bench.tcp(to_host).state() == State::Closed);
    let answer = next_packet(&mut bench);

    let (_, _, protocol, message) = read_ip(&answer);
    assert_eq!((protocol, &message[..2]), (ICMP, &[3, 0][..]));
    assert_eq!(bench.tcp(beyond).state(), State::SynSent);
}

#[test]
fn the_hosts_loopback_has_no_other_name() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut bench = Bench::new();

    for text in ["127.0.0.1", "127.1.2.3", "0.0.0.0"] {
        let packet = udp(
            bench.guest(),
            5_000,
            address(&format!("{text}:{port}")),
            b"x",
        );
        bench.send(&packet);
    }
    bench.run_until_quiet();

    assert!(bench.guest().packets.is_empty());
    assert_eq!(bench.control.counters().udp_opened, 0);
}

#[test]
fn a_removed_network_ends_its_connections_and_answers_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut bench = Bench::new();
    let handle = bench.guest().connect(host(port));
    bench.run_until(|bench| bench.tcp(handle).state() == State::Established);
    let (mut server, _) = listener.accept().unwrap();

    bench
        .control
        .apply(dhow_netstack::NetworkCommand::Remove { vlan: 2 });
    bench.run_until_quiet();
    let handle = bench.guest().connect(host(port));
    bench.run_until_quiet();

    let error = server.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(bench.tcp(handle).state(), State::SynSent);
}
