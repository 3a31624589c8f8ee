//! A guest and clients that do what they like with the vsock device: it stays bounded and comes to
//! rest.
#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::LazyLock;

use dhow_fuzz::{Guest, Mischief, Piece};
use dhow_virtio::{Event, VirtioDevice, Vsock, VsockConfig};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

const GUEST_CID: u64 = 42;
const HOST_CID: u64 = 2;
const SERVED_PORT: u32 = 700;
const RECEIVE_QUEUE: u8 = 0;
const TRANSMIT_QUEUE: u8 = 1;
const MAX_CONNECTIONS: usize = 1024;

/// Clients held at once, so that the process keeps its descriptors.
const MAX_CLIENTS: usize = 32;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));

/// A packet on one of a few port pairs.
#[derive(Arbitrary, Debug)]
struct Packet {
    guest_port: u8,
    host_port: u8,
    socket_type: u8,
    operation: u8,
    flags: u8,
    length: u32,
    buffer_bytes: u32,
    forwarded: u32,
    payload: Option<Piece>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Guest(Mischief),
    Packet(Packet),
    /// Receive buffers, as Linux offers them.
    Refill(u8),
    Dial(u8),
    Write {
        client: u8,
        length: u16,
    },
    Read {
        client: u8,
    },
    Close {
        client: u8,
    },
    Host,
}

/// A served port, one that nobody answers, and those that the device gives to its clients.
fn host_port(index: u8) -> u32 {
    match index % 8 {
        0 => SERVED_PORT,
        1 => SERVED_PORT + 1,
        more => 0x4000_0000 + u32::from(more) - 2,
    }
}

fn header(packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(44);
    bytes.extend(GUEST_CID.to_le_bytes());
    bytes.extend(HOST_CID.to_le_bytes());
    bytes.extend(u32::from(packet.guest_port % 8).to_le_bytes());
    bytes.extend(host_port(packet.host_port).to_le_bytes());
    bytes.extend(packet.length.to_le_bytes());
    bytes.extend(u16::from(packet.socket_type % 4).to_le_bytes());
    bytes.extend(u16::from(packet.operation % 9).to_le_bytes());
    bytes.extend(u32::from(packet.flags % 8).to_le_bytes());
    bytes.extend(packet.buffer_bytes.to_le_bytes());
    bytes.extend(packet.forwarded.to_le_bytes());
    bytes
}

fn socket(name: &str) -> (UnixListener, PathBuf) {
    let path = FOLDER.path().join(name);
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).expect("a socket");
    listener
        .set_nonblocking(true)
        .expect("a socket takes a flag");
    (listener, path)
}

struct Run {
    device: Vsock,
    guest: Guest,
    clients: Vec<UnixStream>,
    dial: PathBuf,
    packets: u16,
}

impl Run {
    fn act(&mut self, step: &Step) {
        match step {
            Step::Guest(mischief) => self.guest.act(&mut self.device, mischief),
            Step::Packet(packet) => self.send(packet),
            Step::Refill(count) => {
                for index in 0..u16::from(*count) {
                    let piece = Piece {
                        place: 0x4000 + index * 64,
                        length: 3776,
                        writable: true,
                    };
                    self.guest.offer(RECEIVE_QUEUE, &[piece]);
                }
                self.guest
                    .handle(&mut self.device, Event::Queue(u16::from(RECEIVE_QUEUE)));
            }
            Step::Dial(port) => self.dial(*port),
            Step::Write { client, length } => {
                self.with_client(*client, |client| {
                    let _ = client.write(&vec![5; usize::from(*length)]);
                });
            }
            Step::Read { client } => {
                self.with_client(*client, |client| {
                    let _ = client.read(&mut [0; 4096]);
                });
            }
            Step::Close { client } => {
                let index = usize::from(*client).checked_rem(self.clients.len());
                drop(index.map(|index| self.clients.swap_remove(index)));
            }
            Step::Host => self.guest.handle(&mut self.device, Event::Host),
        }
    }

    fn send(&mut self, packet: &Packet) {
        let place = self.packets % 1024;
        self.packets = self.packets.wrapping_add(1);
        self.guest.write(place, &header(packet));
        let first = Piece {
            place,
            length: 44,
            writable: false,
        };
        let pieces: Vec<_> = [first].into_iter().chain(packet.payload).collect();
        self.guest.offer(TRANSMIT_QUEUE, &pieces);
        self.guest
            .handle(&mut self.device, Event::Queue(u16::from(TRANSMIT_QUEUE)));
    }

    fn dial(&mut self, port: u8) {
        if self.clients.len() == MAX_CLIENTS {
            return;
        }
        let Ok(mut client) = UnixStream::connect(&self.dial) else {
            return;
        };
        let _ = client.write_all(&u32::from(port % 8).to_le_bytes());
        client.set_nonblocking(true).expect("a socket takes a flag");
        self.clients.push(client);
        // Taken at once: a full backlog would block the next client.
        self.guest.handle(&mut self.device, Event::Host);
    }

    fn with_client(&mut self, client: u8, act: impl FnOnce(&mut UnixStream)) {
        let index = usize::from(client).checked_rem(self.clients.len());
        if let Some(client) = index.and_then(|index| self.clients.get_mut(index)) {
            act(client);
        }
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let (listener, dial) = socket("dial");
    let (_service, service) = socket("service");
    let absent = FOLDER.path().join("absent");
    let mut device = Vsock::new(VsockConfig {
        guest_cid: GUEST_CID.try_into().expect("a lawful identifier"),
        dial: listener,
        host_ports: BTreeMap::from([(SERVED_PORT, service), (SERVED_PORT + 1, absent)]),
    })
    .expect("a device");
    device.activate(device.features());
    let mut run = Run {
        device,
        guest: Guest::new(3),
        clients: Vec::new(),
        dial,
        packets: 0,
    };
    for step in &steps {
        run.act(step);
        assert!(run.device.connections() <= MAX_CONNECTIONS);
    }
    run.guest.act(&mut run.device, &Mischief::Reset);
    assert_eq!(run.device.connections(), 0);
});
