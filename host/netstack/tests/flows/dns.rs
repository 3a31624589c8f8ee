//! The gateway as resolver.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::thread;

use dhow_netstack::{NetstackConfig, NetworkCommand};
use smoltcp::socket::tcp::State;
use tempfile::TempDir;

use crate::bench::{Bench, host, network};
use crate::packets::{exchange, query, read_udp};

const A: u16 = 1;
const PTR: u16 = 12;
const TXT: u16 = 16;
const AAAA: u16 = 28;
/// Where the code stands in a response, and the codes.
const CODE: usize = 3;
const CODE_MASK: u8 = 0x0f;
const SERVER_FAILURE: u8 = 2;

/// A bench whose host has these files.
fn bench(hosts: &str, resolv_conf: &str) -> (Bench, TempDir) {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let config = NetstackConfig {
        hosts: write("hosts", hosts),
        resolv_conf: write("resolv.conf", resolv_conf),
        ..NetstackConfig::default()
    };
    let bench = Bench::with_config(config);
    let names = [
        ("web", "10.2.0.2"),
        ("db", "10.2.0.3"),
        ("db6", "fd00:2::3"),
    ];
    let names: BTreeMap<_, _> = names
        .map(|(name, address)| (name.to_owned(), vec![address.parse().unwrap()]))
        .into();
    bench
        .control
        .apply(NetworkCommand::Names { vlan: 2, names });
    (bench, folder)
}

/// The gateway's answer to a question.
fn ask(bench: &mut Bench, name: &str, record_type: u16) -> Vec<u8> {
    bench.stack.poll().unwrap();
    let packet = exchange(bench, 5_353, host(53), &query(0x4242, name, record_type));
    let (from, port, answer) = read_udp(&packet);
    assert_eq!(
        (from, port, &answer[..2]),
        (host(53), 5_353, &[0x42, 0x42][..])
    );
    answer
}

/// How many records an answer has, and its last bytes.
fn tail(answer: &[u8], length: usize) -> (u16, &[u8]) {
    (
        u16::from_be_bytes([answer[6], answer[7]]),
        &answer[answer.len() - length..],
    )
}

/// A nameserver that answers each question with itself and four bytes, and is asked `count` times.
fn nameserver(count: usize) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        for _ in 0..count {
            let (length, client) = socket.recv_from(&mut buffer).unwrap();
            let mut answer = buffer[..length].to_vec();
            answer[2] |= 0x80;
            answer.extend_from_slice(b"TAIL");
            // An answer to another question must not be believed.
            socket
                .send_to(&[&[0xff, 0xff], &answer[2..]].concat(), client)
                .unwrap();
            socket.send_to(&answer, client).unwrap();
        }
    });
    address
}

#[test]
fn a_networks_names_are_answered_at_once() {
    let (mut bench, _folder) = bench("", "");

    assert_eq!(tail(&ask(&mut bench, "WEB", A), 4), (1, &[10, 2, 0, 2][..]));
    assert_eq!(tail(&ask(&mut bench, "web", AAAA), 0).0, 0);
    assert_eq!(tail(&ask(&mut bench, "db6", AAAA), 1), (1, &[3][..]));
    assert_eq!(
        tail(&ask(&mut bench, "2.0.2.10.in-addr.arpa", PTR), 5),
        (1, &b"\x03web\0"[..])
    );
}

#[test]
fn the_host_has_its_docker_names() {
    let (mut bench, _folder) = bench("", "");

    for name in ["host.docker.internal", "gateway.docker.internal"] {
        assert_eq!(tail(&ask(&mut bench, name, A), 4), (1, &[10, 2, 0, 1][..]));
    }
}

#[test]
fn the_hosts_file_is_read_again_when_it_changes() {
    let (mut bench, folder) = bench("192.0.2.9 nas\n127.0.0.1 app.test\n", "");
    assert_eq!(
        tail(&ask(&mut bench, "nas", A), 4),
        (1, &[192, 0, 2, 9][..])
    );
    assert_eq!(
        tail(&ask(&mut bench, "app.test", A), 4),
        (1, &[10, 2, 0, 1][..])
    );

    std::fs::write(folder.path().join("hosts"), "192.0.2.10 nas # moved\n").unwrap();

    assert_eq!(
        tail(&ask(&mut bench, "nas", A), 4),
        (1, &[192, 0, 2, 10][..])
    );
}

#[test]
fn every_type_goes_to_the_hosts_nameserver_as_it_is() {
    let server = nameserver(2);
    let (mut bench, _folder) = bench("", &format!("search lan\nnameserver {server}\n"));

    assert_eq!(tail(&ask(&mut bench, "example.com", A), 4).1, b"TAIL");
    assert_eq!(tail(&ask(&mut bench, "example.com", TXT), 4).1, b"TAIL");
}

#[test]
fn the_next_nameserver_is_asked_when_one_is_gone() {
    let gone = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let server = nameserver(1);
    let text = format!("nameserver {gone}\nnameserver {server}\n");
    let (mut bench, _folder) = bench("", &text);

    assert_eq!(tail(&ask(&mut bench, "example.com", A), 4).1, b"TAIL");
}

#[test]
fn the_next_nameserver_is_asked_when_one_is_silent() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = nameserver(1);
    let text = format!(
        "nameserver {}\nnameserver {server}\n",
        silent.local_addr().unwrap()
    );
    let (mut bench, _folder) = bench("", &text);

    assert_eq!(tail(&ask(&mut bench, "example.com", A), 4).1, b"TAIL");
}

#[test]
fn a_host_without_nameservers_fails_and_does_not_hang() {
    let gone = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (mut bench, _folder) = bench("", &format!("nameserver {gone}\n"));

    let answer = ask(&mut bench, "example.com", A);

    assert_eq!(answer[CODE] & CODE_MASK, SERVER_FAILURE);
}

#[test]
fn an_internal_network_knows_its_names_only() {
    let server = nameserver(0);
    let (mut bench, _folder) = bench("192.0.2.9 nas\n", &format!("nameserver {server}\n"));
    bench.control.apply(network(2, true));

    assert_eq!(tail(&ask(&mut bench, "db", A), 4), (1, &[10, 2, 0, 3][..]));
    assert_eq!(ask(&mut bench, "nas", A)[CODE] & CODE_MASK, SERVER_FAILURE);
    assert_eq!(
        ask(&mut bench, "example.com", A)[CODE] & CODE_MASK,
        SERVER_FAILURE
    );
}

#[test]
fn questions_by_tcp_are_answered_by_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).unwrap();
        answer[2] |= 0x80;
        answer.resize(20_000, b'T');
        stream.write_all(&20_000_u16.to_be_bytes()).unwrap();
        stream.write_all(&answer).unwrap();
    });
    let (mut bench, _folder) = bench("", &format!("nameserver {server}\n"));
    bench.stack.poll().unwrap();
    let handle = bench.guest().connect(host(53));
    bench.run_until(|bench| bench.tcp(handle).state() == State::Established);

    for question in [query(1, "example.com", TXT), query(2, "web", A)] {
        let length = u16::try_from(question.len()).unwrap().to_be_bytes();
        let framed = [&length[..], &question].concat();
        bench.tcp(handle).send_slice(&framed).unwrap();
    }
    bench.tcp(handle).close();

    let mut answers = Vec::new();
    bench.run_until(|bench| {
        let socket = bench.tcp(handle);
        while socket.can_recv() {
            socket
                .recv(|data| (data.len(), answers.extend_from_slice(data)))
                .unwrap();
        }
        !socket.may_recv()
    });
    serving.join().unwrap();
    // What is known comes first, what had to be asked for after it.
    let first = usize::from(u16::from_be_bytes([answers[0], answers[1]]));
    assert_eq!(answers[2..4], [0, 2]);
    assert_eq!(answers[2 + first..2 + first + 4], [0x4e, 0x20, 0, 1]);
    assert_eq!(answers.len(), 2 + first + 2 + 20_000);
}
