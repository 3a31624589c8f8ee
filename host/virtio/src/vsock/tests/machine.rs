//! A device, a guest and the host's sockets, run in turns until nothing moves.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use virtio_queue::{Queue, QueueT};
use vm_memory::{GuestAddress, GuestMemoryMmap};

use super::super::{GuestCid, Vsock, VsockConfig};
use super::guest::{CID, Guest, MEMORY_BYTES};
use crate::device::{Event, Interrupt, Progress, Queues, VirtioDevice};

/// The host port with a service behind it.
pub(super) const SERVED_PORT: u32 = 700;

/// How long a test waits for something that must come.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Counts interrupts.
#[derive(Default)]
pub(super) struct Line {
    raised: Cell<bool>,
    pub(super) count: Cell<u64>,
}

impl Interrupt for Line {
    fn signal_used(&self, _queue: u16) -> io::Result<()> {
        self.raised.set(true);
        self.count.set(self.count.get() + 1);
        Ok(())
    }
}

pub(super) struct Machine {
    pub(super) memory: GuestMemoryMmap,
    pub(super) queues: Vec<Queue>,
    pub(super) device: Vsock,
    pub(super) guest: Guest,
    pub(super) line: Line,
    pub(super) service: UnixListener,
    pub(super) directory: tempfile::TempDir,
    pub(super) calls: u64,
    /// What the device has not finished.
    unfinished: Option<Event>,
}

impl Machine {
    /// A machine whose guest has its driver up and its buffers offered.
    pub(super) fn new() -> Self {
        let mut machine = Self::without_buffers();
        machine.guest.withhold = false;
        machine.guest.fill();
        machine.run();
        machine
    }

    pub(super) fn without_buffers() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let dial = UnixListener::bind(directory.path().join("dial")).unwrap();
        let service_path: PathBuf = directory.path().join("service");
        let service = UnixListener::bind(&service_path).unwrap();
        service.set_nonblocking(true).unwrap();
        let absent = directory.path().join("absent");
        let mut device = Vsock::new(VsockConfig {
            guest_cid: GuestCid::try_from(CID).unwrap(),
            dial,
            host_ports: BTreeMap::from([(SERVED_PORT, service_path), (701, absent)]),
        })
        .unwrap();
        device.activate(device.features());
        let (memory, mut guest, queues) = boot();
        guest.withhold = true;
        Self {
            memory,
            queues,
            device,
            guest,
            line: Line::default(),
            service,
            directory,
            calls: 0,
            unfinished: None,
        }
    }

    /// The guest starts over, with its driver up and its buffers offered.
    pub(super) fn reboot(&mut self) {
        self.device.reset();
        (self.memory, self.guest, self.queues) = boot();
        self.device.activate(self.device.features());
        self.guest.fill();
        self.run();
    }

    pub(super) fn handle(&mut self, event: Event) {
        self.try_handle(event).unwrap();
    }

    pub(super) fn try_handle(&mut self, event: Event) -> Result<(), crate::DeviceError> {
        self.calls += 1;
        let mut queues = Queues::new(&self.memory, &mut self.queues, &self.line);
        let progress = self.device.handle(event, &mut queues)?;
        self.unfinished = (progress == Progress::More).then_some(event);
        Ok(())
    }

    /// Whether the device asks to be called.
    pub(super) fn host_event_waits(&self, patience: Duration) -> bool {
        let fd = self.device.host_fd().unwrap();
        let mut polled = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::try_from(patience).unwrap()).unwrap() > 0
    }

    /// Runs device and guest in turns until both are quiet.
    pub(super) fn run(&mut self) {
        /// Far more turns than anything legal takes.
        const MAX_TURNS: usize = 1_000_000;
        for _ in 0..MAX_TURNS {
            if !self.turn() {
                return;
            }
        }
        panic!("device and guest never come to rest");
    }

    /// One turn; `false` where nothing happened.
    pub(super) fn turn(&mut self) -> bool {
        let mut moved = false;
        if let Some(event) = self.unfinished.take() {
            self.handle(event);
            moved = true;
        }
        if self.guest.tx.needs_kick() {
            self.handle(Event::Queue(1));
            moved = true;
        }
        if self.guest.rx.needs_kick() {
            self.handle(Event::Queue(0));
            moved = true;
        }
        if self.host_event_waits(Duration::ZERO) {
            self.handle(Event::Host);
            moved = true;
        }
        if self.line.raised.replace(false) {
            self.guest.interrupt();
            moved = true;
        }
        moved
    }

    /// Runs until the guest has all its packets back.
    pub(super) fn settle(&mut self) {
        self.run_until(|machine| machine.guest.tx_in_flight() == 0);
    }

    /// Runs until `done` says so.
    pub(super) fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < PATIENCE, "it never came");
            if !self.turn() {
                self.host_event_waits(Duration::from_millis(1));
            }
        }
    }

    /// A client that has written its port.
    pub(super) fn dial(&self, port: u32) -> UnixStream {
        let mut client = UnixStream::connect(self.directory.path().join("dial")).unwrap();
        client.write_all(&port.to_le_bytes()).unwrap();
        client.set_nonblocking(true).unwrap();
        client
    }

    /// A stream that a client opened: its ends on the host and in the guest.
    pub(super) fn dialled(&mut self, port: u32) -> (UnixStream, usize) {
        self.guest.listen(port);
        let mut client = self.dial(port);
        self.run();
        let id = self.guest.accept().expect("the guest accepted");
        assert_eq!(read_some(&mut client, 1), Some(vec![0]));
        (client, id)
    }

    /// A stream that the guest opened: its ends on the host and in the guest.
    pub(super) fn called(&mut self) -> (UnixStream, usize) {
        let id = self.guest.connect(SERVED_PORT);
        self.run();
        let (server, _) = self.service.accept().expect("the device connected");
        server.set_nonblocking(true).unwrap();
        (server, id)
    }
}

/// A guest with its queues set up and no buffers offered.
fn boot() -> (GuestMemoryMmap, Guest, Vec<Queue>) {
    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY_BYTES)]).unwrap();
    let guest = Guest::new(&memory);
    let queues = vec![guest.rx.queue(), guest.tx.queue(), Queue::new(16).unwrap()];
    (memory, guest, queues)
}

/// Reads at most `limit` bytes: nothing there is `None`, end of file is empty.
pub(super) fn read_some(stream: &mut UnixStream, limit: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; limit];
    match stream.read(&mut bytes) {
        Ok(count) => {
            bytes.truncate(count);
            Some(bytes)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => panic!("read failed: {error}"),
    }
}

/// Writes what fits.
pub(super) fn write_some(stream: &mut UnixStream, bytes: &[u8]) -> usize {
    match stream.write(bytes) {
        Ok(count) => count,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => panic!("write failed: {error}"),
    }
}

/// Bytes that differ everywhere near each other.
pub(super) fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|index| u8::try_from(index % 251).unwrap())
        .collect()
}
