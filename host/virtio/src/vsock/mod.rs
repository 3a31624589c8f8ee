//! The vsock device: streams between programs in the guest and unix sockets on the host.
//!
//! # From the host
//! A client connects to the unix socket given as [`VsockConfig::dial`] and writes the guest port it
//! wants as four bytes, little-endian. When the guest's kernel has answered it reads one byte: 0,
//! and from then on the socket carries the stream's bytes in both directions; or 1, and the
//! connection was refused: nothing listens there, or nothing answered within five seconds. End of
//! file in its place means that the guest restarted. Bytes may be sent right behind the port.
//! Clients that come before the guest is up wait in the
//! listener's backlog.
//!
//! # From the guest
//! A connection to context identifier 2 and a port in [`VsockConfig::host_ports`] is connected to
//! the unix socket at that path; any other is refused.
//!
//! # How the parts meet
//! - `mod`: the device as its driver sees it
//! - `from_guest`: takes packets off the transmit queue and judges them
//! - `to_guest`: fills buffers of the receive queue, one connection after the other
//! - `host_events`: what happens to host sockets, clients and deadlines
//! - `connection`: one stream; `credit`: how much it may carry; `backlog`: what the host would not
//!   take yet
//! - `table`: all of them; `local`: host sockets without a connection
//! - `readiness`, `deadlines`: the one descriptor the driver polls
//! - `packet`, `guest_slices`: bytes on the rings
//!
//! # Rules
//! Payload moves between socket and guest memory in one system call and without a copy; only what
//! the host's socket does not take is copied, at most the credit given. Nothing blocks. Each call
//! does a bounded amount of work and asks to be called again for the rest. What the guest says is read
//! once and believed never; the worst it gets is a reset.

mod backlog;
mod cid;
mod connection;
mod counters;
mod credit;
mod deadlines;
mod from_guest;
mod guest_slices;
mod host_events;
mod local;
mod packet;
mod readiness;
mod table;
mod to_guest;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::socket::UnixAddr;
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ids::VIRTIO_ID_VSOCK;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};

pub use cid::{GuestCid, InvalidGuestCid};
pub use counters::Counters;

use crate::device::{DeviceError, Event, Progress, Queues, VirtioDevice};
use deadlines::Deadlines;
use packet::ANY_PORT;
use readiness::{Readiness, Token};
use table::{Ports, Table};

/// Index of the queue whose buffers carry packets to the guest.
const RECEIVE_QUEUE: u16 = 0;

/// Index of the queue whose buffers carry packets from the guest.
const TRANSMIT_QUEUE: u16 = 1;

/// Sizes of the receive, transmit and event queues. The event queue only ever says that the guest
/// was moved to another host, which it is not: its buffers are left where they are.
const QUEUE_SIZES: [u16; 3] = [256, 256, 16];

/// `VIRTIO_VSOCK_F_STREAM` (virtio 1.2, section 5.10.3), a bit number.
const VIRTIO_VSOCK_F_STREAM: u32 = 0;

/// Resets that may wait for guest buffers: one for each connection there can be, and as many again
/// for packets that belong to none. A guest that makes us owe more goes without.
const MAX_RESETS: usize = 2 * table::MAX_CONNECTIONS;

/// What a vsock device is made of.
#[derive(Debug)]
pub struct VsockConfig {
    /// The guest's context identifier.
    pub guest_cid: GuestCid,
    /// Where clients dial guest ports.
    pub dial: UnixListener,
    /// The unix sockets behind the ports the guest may connect to.
    pub host_ports: BTreeMap<u32, PathBuf>,
}

/// Why a vsock device could not be made.
#[derive(Debug, thiserror::Error)]
pub enum VsockError {
    /// A service's path does not fit a socket address.
    #[error("path {path} of host port {port} is no socket address")]
    HostPath {
        /// The port it was given for.
        port: u32,
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Errno,
    },
    /// A service was given for the port that means "any".
    #[error("host port {ANY_PORT} stands for any port and cannot be served")]
    AnyPort,
    /// The listener could not be prepared.
    #[error("failed to make the dial socket non-blocking")]
    Listener {
        /// What the operating system answered.
        #[source]
        source: io::Error,
    },
    /// The descriptors to wait on could not be made.
    #[error("failed to {operation}")]
    Wait {
        /// What was tried, as a verb phrase.
        operation: &'static str,
        /// What the operating system answered.
        #[source]
        source: Errno,
    },
}

/// A reset to be sent that no longer has a connection.
#[derive(Clone, Copy, Debug)]
struct PendingReset {
    ports: Ports,
    socket_type: u16,
}

/// Packets taken from the guest that it has not been told of yet.
#[derive(Debug, Default)]
struct Completions {
    waiting: usize,
    bytes: usize,
    deadline: Option<Instant>,
    /// The deadline came.
    overdue: bool,
}

/// The vsock device.
pub struct Vsock {
    guest_cid: GuestCid,
    listener: UnixListener,
    /// The listener is not watched: no room, or no descriptors.
    listener_paused: bool,
    host_ports: BTreeMap<u32, PathBuf>,
    readiness: Readiness,
    deadlines: Deadlines,
    table: Table,
    resets: VecDeque<PendingReset>,
    completions: Completions,
    counters: Counters,
}

impl Vsock {
    /// Makes the device; clients are served once the guest's driver is up.
    ///
    /// # Errors
    /// [`VsockError`] where the configuration is impossible or descriptors cannot be had.
    pub fn new(config: VsockConfig) -> Result<Self, VsockError> {
        let VsockConfig {
            guest_cid,
            dial,
            host_ports,
        } = config;
        for (&port, path) in &host_ports {
            if port == ANY_PORT {
                return Err(VsockError::AnyPort);
            }
            UnixAddr::new(path).map_err(|source| VsockError::HostPath {
                port,
                path: path.clone(),
                source,
            })?;
        }
        dial.set_nonblocking(true)
            .map_err(|source| VsockError::Listener { source })?;
        let wait = |operation| move |source| VsockError::Wait { operation, source };
        let readiness = Readiness::new().map_err(wait("make an epoll instance"))?;
        let deadlines = Deadlines::new().map_err(wait("make a timer"))?;
        readiness
            .watch_level(deadlines.fd(), Token::Timer)
            .map_err(wait("watch the timer"))?;
        readiness
            .watch_level(&dial, Token::Listener)
            .map_err(wait("watch the dial socket"))?;
        Ok(Self {
            guest_cid,
            listener: dial,
            listener_paused: false,
            host_ports,
            readiness,
            deadlines,
            table: Table::new(),
            resets: VecDeque::new(),
            completions: Completions::default(),
            counters: Counters::default(),
        })
    }

    /// How many connections, clients in their handshake and remainders there are at the moment.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.table.len()
    }

    /// What went wrong so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

impl fmt::Debug for Vsock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Vsock")
            .field("guest_cid", &self.guest_cid)
            .field("connections", &self.connections())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl VirtioDevice for Vsock {
    fn device_type(&self) -> u32 {
        VIRTIO_ID_VSOCK
    }

    fn queue_max_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn features(&self) -> u64 {
        1 << VIRTIO_F_VERSION_1
            | 1 << VIRTIO_RING_F_EVENT_IDX
            | 1 << VIRTIO_RING_F_INDIRECT_DESC
            | 1 << VIRTIO_VSOCK_F_STREAM
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let config = self.guest_cid.number().to_le_bytes();
        data.fill(0);
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| config.get(offset..))
            .unwrap_or_default();
        let count = rest.len().min(data.len());
        data[..count].copy_from_slice(&rest[..count]);
    }

    fn write_config(&mut self, _offset: u64, _data: &[u8]) {
        // The guest's context identifier is all there is, and not the guest's to change.
    }

    fn activate(&mut self, _acked: u64) {
        // Every feature offered is one the queues handle or one that changes nothing here.
    }

    fn host_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.readiness.fd())
    }

    fn handle(&mut self, event: Event, queues: &mut Queues<'_>) -> Result<Progress, DeviceError> {
        if event == Event::Host {
            self.take_host_events().map_err(host_failure)?;
        }
        let drained = self.drain_transmit_queue(queues)?;
        let filled = self.fill_receive_queue(queues)?;
        if std::mem::take(&mut self.completions.overdue) {
            self.signal_completions(queues)?;
        }
        self.admit_clients_again().map_err(host_failure)?;
        self.deadlines
            .arm()
            .map_err(|errno| host_failure(("set the timer", errno)))?;
        Ok(drained.and(filled))
    }

    fn reset(&mut self) {
        self.table.clear();
        self.resets.clear();
        self.completions = Completions::default();
        self.deadlines.clear_all();
    }
}

/// What the device tried on the host, and what the operating system answered.
type HostFailure = (&'static str, Errno);

fn host_failure((operation, errno): HostFailure) -> DeviceError {
    DeviceError::Host {
        operation,
        source: errno.into(),
    }
}
