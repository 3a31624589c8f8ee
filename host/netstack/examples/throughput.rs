//! How fast the stack carries TCP, against a guest made of smoltcp in the same thread.
//!
//! `cargo run --release -p dhow-netstack --example throughput [MIB]` prints MB/s each way over one
//! and eight connections, and connections per second. The guest's own TCP costs as much as the
//! stack's and runs on the same processor, so the figures are a lower bound for the stack.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::thread;
use std::time::Instant;

use dhow_netstack::{Checksums, Netstack, NetstackConfig, NetworkCommand, Subnet};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{
    Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken,
};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::wire::{HardwareAddress, IpCidr};

const VLAN: u16 = 2;
const MTU: usize = 65_520;
const HEADER_BYTES: usize = 18;
const GUEST_MAC: [u8; 6] = [2, 0x42, 10, 0, 0, 2];
const GATEWAY_MAC: [u8; 6] = [2, 0xd4, 0x0e, 0, 0, 2];
const GUEST_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// The link: frames that go each way, their buffers used again.
struct Link {
    stack: Netstack,
    inbound: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
}

struct Inbound<'a>(Vec<u8>, &'a mut Vec<Vec<u8>>);

impl RxToken for Inbound<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        let result = read(&self.0[HEADER_BYTES..]);
        self.1.push(self.0);
        result
    }
}

struct Outbound<'a>(&'a mut Netstack);

impl TxToken for Outbound<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut frame = [0; HEADER_BYTES + MTU];
        frame[..6].copy_from_slice(&GATEWAY_MAC);
        frame[6..12].copy_from_slice(&GUEST_MAC);
        frame[12..18].copy_from_slice(&[0x81, 0, 0, 2, 8, 0]);
        let end = HEADER_BYTES + length;
        let result = write(&mut frame[HEADER_BYTES..end]);
        self.0.receive(&frame[..end]);
        result
    }
}

impl Device for Link {
    type RxToken<'a> = Inbound<'a>;
    type TxToken<'a> = Outbound<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Inbound<'_>, Outbound<'_>)> {
        let frame = self.inbound.pop_front()?;
        Some((Inbound(frame, &mut self.spare), Outbound(&mut self.stack)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Outbound<'_>> {
        Some(Outbound(&mut self.stack))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities.checksum = ChecksumCapabilities::default();
        // A virtio guest leaves checksums out, too.
        capabilities.checksum.tcp = Checksum::None;
        capabilities
    }
}

struct Guest {
    link: Link,
    interface: Interface,
    sockets: SocketSet<'static>,
    started: Instant,
    next_port: u16,
}

impl Guest {
    fn new() -> Self {
        let checksums = Checksums {
            verify: false,
            fill: false,
        };
        let config = NetstackConfig {
            checksums,
            ..NetstackConfig::default()
        };
        let (mut stack, control) = Netstack::new(config).expect("a stack");
        let gateway = IpAddr::from([10, 0, 0, 1]);
        let ipv4 = Some(Subnet {
            gateway,
            prefix_length: 16,
        });
        control.apply(NetworkCommand::Set {
            vlan: VLAN,
            ipv4,
            ipv6: None,
            internal: false,
        });
        stack.poll().expect("a poll");
        let mut link = Link {
            stack,
            inbound: VecDeque::new(),
            spare: Vec::new(),
        };
        let started = Instant::now();
        let config = Config::new(HardwareAddress::Ip);
        let mut interface = Interface::new(config, &mut link, smoltcp::time::Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            let address = IpCidr::new(IpAddr::from([10, 0, 0, 2]).into(), 16);
            addresses.push(address).expect("room for an address");
        });
        let sockets = SocketSet::new(Vec::new());
        Self {
            link,
            interface,
            sockets,
            started,
            next_port: 10_000,
        }
    }

    fn connect(&mut self, port: u16, buffer_bytes: usize) -> SocketHandle {
        let buffer = || SocketBuffer::new(vec![0; buffer_bytes]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        self.next_port += 1;
        let remote = SocketAddr::from(([10, 0, 0, 1], port));
        let local = SocketAddr::from(([10, 0, 0, 2], self.next_port));
        socket
            .connect(self.interface.context(), remote, local)
            .expect("a free port");
        self.sockets.add(socket)
    }

    fn round(&mut self) {
        let elapsed = i64::try_from(self.started.elapsed().as_micros()).expect("a short run");
        let now = smoltcp::time::Instant::from_micros(elapsed);
        self.interface.poll(now, &mut self.link, &mut self.sockets);
        self.link.stack.poll().expect("a poll");
        loop {
            let mut frame = self
                .link
                .spare
                .pop()
                .unwrap_or_else(|| vec![0; HEADER_BYTES + MTU]);
            frame.resize(HEADER_BYTES + MTU, 0);
            match self.link.stack.transmit(&mut frame) {
                Some(length) => {
                    frame.truncate(length);
                    self.link.inbound.push_back(frame);
                }
                None => {
                    self.link.spare.push(frame);
                    return;
                }
            }
        }
    }
}

/// The rate in MB/s of `bytes` since `started`.
fn rate(bytes: usize, started: Instant) -> f64 {
    let bytes = u32::try_from(bytes / 1_000).map_or(f64::INFINITY, f64::from);
    bytes / 1_000.0 / started.elapsed().as_secs_f64()
}

/// The host sends `bytes` over each of `streams` connections.
fn download(streams: usize, bytes: usize) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let serving = thread::spawn(move || {
        let senders: Vec<_> = (0..streams)
            .map(|_| {
                let (mut stream, _) = listener.accept().expect("a connection");
                thread::spawn(move || {
                    let chunk = vec![1; 1024 * 1024];
                    for _ in 0..bytes / chunk.len() {
                        stream.write_all(&chunk).expect("a reader");
                    }
                })
            })
            .collect();
        senders
            .into_iter()
            .for_each(|sender| sender.join().expect("a sender"));
    });
    let mut guest = Guest::new();
    let handles: Vec<_> = (0..streams)
        .map(|_| guest.connect(port, GUEST_BUFFER_BYTES))
        .collect();
    let started = Instant::now();
    let mut received = 0;
    while received < bytes * streams {
        guest.round();
        for &handle in &handles {
            let socket = guest.sockets.get_mut::<Socket<'_>>(handle);
            while socket.can_recv() {
                received += socket.recv(|data| (data.len(), data.len())).expect("data");
            }
        }
    }
    let rate = rate(received, started);
    serving.join().expect("a server");
    rate
}

/// The guest sends `bytes` over each of `streams` connections.
fn upload(streams: usize, bytes: usize) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let serving = thread::spawn(move || {
        let readers: Vec<_> = (0..streams)
            .map(|_| {
                let (mut stream, _) = listener.accept().expect("a connection");
                thread::spawn(move || {
                    let mut buffer = vec![0; 1024 * 1024];
                    while stream.read(&mut buffer).expect("a writer") > 0 {}
                })
            })
            .collect();
        readers
            .into_iter()
            .for_each(|reader| reader.join().expect("a reader"));
    });
    let mut guest = Guest::new();
    let handles: Vec<_> = (0..streams)
        .map(|_| guest.connect(port, GUEST_BUFFER_BYTES))
        .collect();
    let started = Instant::now();
    let mut unsent = vec![bytes; streams];
    while !serving.is_finished() {
        guest.round();
        for (&handle, unsent) in handles.iter().zip(&mut unsent) {
            let socket = guest.sockets.get_mut::<Socket<'_>>(handle);
            while socket.can_send() && *unsent > 0 {
                let sent = socket.send(|room| {
                    let sent = room.len().min(*unsent);
                    (sent, sent)
                });
                *unsent -= sent.expect("an open connection");
                if *unsent == 0 {
                    socket.close();
                }
            }
        }
    }
    rate(bytes * streams, started)
}

/// Connections opened, closed and forgotten, one after the other.
fn connections(count: u16) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let serving = thread::spawn(move || {
        for stream in listener.incoming().take(usize::from(count)) {
            drop(stream);
        }
    });
    let mut guest = Guest::new();
    let started = Instant::now();
    for _ in 0..count {
        let handle = guest.connect(port, 4_096);
        loop {
            guest.round();
            let socket = guest.sockets.get_mut::<Socket<'_>>(handle);
            match socket.state() {
                State::CloseWait => socket.close(),
                State::Closed => break,
                _ => {}
            }
        }
        guest.sockets.remove(handle);
    }
    let rate = f64::from(count) / started.elapsed().as_secs_f64();
    serving.join().expect("a server");
    rate
}

#[expect(clippy::print_stdout, reason = "figures are what this is for")]
fn main() {
    let mebibytes = std::env::args()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or(1024);
    let bytes = mebibytes * 1024 * 1024;
    println!(
        "host to guest, 1 connection:  {:8.0} MB/s",
        download(1, bytes)
    );
    println!(
        "host to guest, 8 connections: {:8.0} MB/s",
        download(8, bytes / 8)
    );
    println!(
        "guest to host, 1 connection:  {:8.0} MB/s",
        upload(1, bytes)
    );
    println!(
        "guest to host, 8 connections: {:8.0} MB/s",
        upload(8, bytes / 8)
    );
    println!(
        "connections, one by one:      {:8.0} /s",
        connections(20_000)
    );
}
