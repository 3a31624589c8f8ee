//! TCP, carried both ways as it is.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::State;

use crate::bench::{Bench, host};

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
