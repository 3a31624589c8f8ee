//! TCP, carried both ways as it is.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use dhow_netstack::{NetstackConfig, NetworkCommand};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::State;

use crate::bench::{Bench, gateway_v6, host};
use crate::guest::Guest;

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A connection of the guest to a server on the host's loopback, both ends in hand.
fn connect(bench: &mut Bench) -> (SocketHandle, TcpStream) {
    let (listener, port) = listen();
    let handle = bench.guest().connect(host(port));
    bench.run_until(|bench| bench.tcp(handle).state() == State::Established);
    (handle, listener.accept().unwrap().0)
}

/// Everything the host sends until it closes.
fn receive_all(bench: &mut Bench, handle: SocketHandle) -> Vec<u8> {
    let mut received = Vec::new();
    bench.run_until(|bench| {
        let socket = bench.tcp(handle);
        while socket.can_recv() {
            let taken = socket.recv(|data| (data.len(), data.to_vec())).unwrap();
            received.extend_from_slice(&taken);
        }
        !socket.may_recv() && socket.state() != State::SynSent
    });
    received
}

#[test]
fn a_refused_connection_is_refused_to_the_guest() {
    let mut bench = Bench::new();
    let (listener, port) = listen();
    drop(listener);

    let handle = bench.guest().connect(host(port));
    bench.run_until(|bench| bench.tcp(handle).state() == State::Closed);

    bench.round();
    assert_eq!(bench.control.counters().tcp_refused, 1);
}

#[test]
fn what_the_guest_sends_and_closes_is_answered_after_its_end() {
    let mut bench = Bench::new();
    let (handle, mut server) = connect(&mut bench);
    let answering = thread::spawn(move || {
        let mut request = String::new();
        server.read_to_string(&mut request).unwrap();
        server.write_all(request.to_uppercase().as_bytes()).unwrap();
    });

    bench.tcp(handle).send_slice(b"half closed").unwrap();
    bench.tcp(handle).close();
    let answer = receive_all(&mut bench, handle);

    answering.join().unwrap();
    assert_eq!(answer, b"HALF CLOSED");
}

#[test]
fn the_guest_may_speak_after_the_host_has_closed() {
    let mut bench = Bench::new();
    let (handle, mut server) = connect(&mut bench);
    server.write_all(b"bye").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(receive_all(&mut bench, handle), b"bye");

    bench.tcp(handle).send_slice(b"last words").unwrap();
    bench.tcp(handle).close();
    bench.run_until(|bench| matches!(bench.tcp(handle).state(), State::Closed | State::TimeWait));

    let mut heard = String::new();
    server.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "last words");
}

#[test]
fn a_reset_of_the_guest_resets_the_host() {
    let mut bench = Bench::new();
    let (handle, mut server) = connect(&mut bench);

    bench.tcp(handle).abort();
    bench.run_until_quiet();

    let error = server.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(bench.control.counters().tcp_reset, 1);
}

#[test]
fn a_reset_of_the_host_resets_the_guest() {
    let mut bench = Bench::new();
    let (handle, server) = connect(&mut bench);

    rustix::net::sockopt::set_socket_linger(&server, Some(std::time::Duration::ZERO)).unwrap();
    drop(server);

    bench.run_until(|bench| bench.tcp(handle).state() == State::Closed);
}

#[test]
fn bulk_data_arrives_as_it_was_sent_to_the_guest() {
    let mut bench = Bench::new();
    let (handle, mut server) = connect(&mut bench);
    let data = noise(32 * 1024 * 1024);
    let sent = data.clone();
    let sending = thread::spawn(move || server.write_all(&sent).unwrap());

    let received = receive_all(&mut bench, handle);

    sending.join().unwrap();
    assert!(received == data);
}

#[test]
fn bulk_data_arrives_as_it_was_sent_by_the_guest() {
    let mut bench = Bench::new();
    let (handle, mut server) = connect(&mut bench);
    let data = noise(32 * 1024 * 1024);
    let receiving = thread::spawn(move || {
        let mut received = Vec::new();
        server.read_to_end(&mut received).unwrap();
        received
    });

    let mut sent = 0;
    bench.run_until(|bench| {
        sent += bench.tcp(handle).send_slice(&data[sent..]).unwrap();
        sent == data.len()
    });
    bench.tcp(handle).close();
    bench.run_until(|_| receiving.is_finished());

    assert!(receiving.join().unwrap() == data);
}

#[test]
fn a_server_that_does_not_read_stops_the_guest_and_not_the_stack() {
    let mut bench = Bench::new();
    let (stuck, _server) = connect(&mut bench);
    let mut accepted = 0;

    for _ in 0..200 {
        let chunk = vec![0; 256 * 1024];
        accepted += bench.tcp(stuck).send_slice(&chunk).unwrap();
        bench.round();
    }
    bench.run_until_quiet();

    // The buffers of guest, stack and kernel, and no more.
    assert!(
        accepted < 32 * 1024 * 1024,
        "{accepted} bytes went somewhere"
    );
    let (other, mut server) = connect(&mut bench);
    server.write_all(b"still here").unwrap();
    drop(server);
    assert_eq!(receive_all(&mut bench, other), b"still here");
}

#[test]
fn a_server_on_the_hosts_ipv6_loopback_is_found_too() {
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut bench = Bench::new();

    let handle = bench.guest().connect(host(port));

    bench.run_until(|bench| bench.tcp(handle).state() == State::Established);
}

#[test]
fn the_gateway_is_the_host_over_ipv6_as_well() {
    let (listener, port) = listen();
    let mut bench = Bench::new();
    let handle = bench.guest().connect(SocketAddr::new(gateway_v6(2), port));
    bench.run_until(|bench| bench.tcp(handle).state() == State::Established);
    let (mut server, _) = listener.accept().unwrap();

    server.write_all(b"six").unwrap();
    drop(server);

    assert_eq!(receive_all(&mut bench, handle), b"six");
}

#[test]
fn dropping_an_addresss_flows_resets_their_servers_only() {
    let mut bench = Bench::new();
    bench.guests.push(Guest::new(2, 3));
    let (_, mut first) = connect(&mut bench);
    let (listener, port) = listen();
    let second = bench.guests[1].connect(host(port));
    bench.run_until(|bench| bench.guests[1].tcp(second).state() == State::Established);
    let (mut other, _) = listener.accept().unwrap();

    let address = bench.guest().ipv4;
    bench
        .control
        .apply(NetworkCommand::DropFlows { vlan: 2, address });
    bench.run_until_quiet();

    assert_eq!(
        first.read(&mut [0; 1]).unwrap_err().kind(),
        std::io::ErrorKind::ConnectionReset
    );
    other.write_all(b"alive").unwrap();
    bench.run_until(|bench| bench.guests[1].tcp(second).can_recv());
}

#[test]
fn two_thousand_connections_live_at_once() {
    let mut bench = Bench::new();
    let (listener, port) = listen();
    let serving = thread::spawn(move || {
        let mut servers = Vec::new();
        for stream in listener.incoming().take(2_000) {
            servers.push(stream.unwrap());
        }
        for (number, server) in servers.iter_mut().enumerate() {
            let mut line = [0; 8];
            server.read_exact(&mut line).unwrap();
            server.write_all(&line).unwrap();
            assert!(number < 2_000);
        }
    });

    let mut handles = Vec::new();
    for number in 0..2_000_u64 {
        let handle = bench.guest().connect_with_buffers(host(port), 64);
        handles.push((handle, number.to_be_bytes()));
        bench.round();
    }
    bench.run_until(|bench| {
        handles
            .iter()
            .all(|(handle, _)| bench.tcp(*handle).state() == State::Established)
    });
    for (handle, number) in &handles {
        bench.tcp(*handle).send_slice(number).unwrap();
    }
    bench.run_until(|bench| {
        handles
            .iter()
            .all(|(handle, _)| bench.tcp(*handle).recv_queue() == 8)
    });

    serving.join().unwrap();
    let mut echoed = [0; 8];
    for (handle, number) in &handles {
        bench.tcp(*handle).recv_slice(&mut echoed).unwrap();
        assert_eq!(echoed, *number);
    }
}

#[test]
fn connections_beyond_the_bound_are_refused_and_room_is_found_again() {
    let config = NetstackConfig {
        max_tcp_flows: 1,
        ..NetstackConfig::default()
    };
    let mut bench = Bench::with_config(config);
    let (first, server) = connect(&mut bench);
    let (_listener, port) = listen();

    let second = bench.guest().connect(host(port));
    bench.run_until(|bench| bench.tcp(second).state() == State::Closed);
    drop(server);
    bench.tcp(first).close();
    bench.run_until_quiet();

    let third = bench.guest().connect(host(port));
    bench.run_until(|bench| bench.tcp(third).state() == State::Established);
}

/// Bytes that do not repeat with any power of two.
fn noise(length: usize) -> Vec<u8> {
    let mut state: u32 = 1;
    let step = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(step).take(length).collect()
}
