//! Echo beyond the gateway, by the host's own ping sockets.
//!
//! Linux lets a user ping without privilege if its group is in `net.ipv4.ping_group_range`. Where
//! the host does not, echo requests beyond the gateway get no answer.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};
use smoltcp::time::Instant;

use crate::core::{Core, frame_in_place};
use crate::epoll::{Readiness, Token};
use crate::ethernet::{HEADER_BYTES, Station};
use crate::icmp::{self, ECHO_HEADER_BYTES};
use crate::ip::{self, Datagram};
use crate::limits::{MAX_PING_FLOWS, PING_IDLE_TIMEOUT};
use crate::table::{Table, Ticket};
use crate::timers;

/// Where the identifier of an echo message stands. The host's socket has one of its own.
const IDENTIFIER: std::ops::Range<usize> = 4..6;

/// What tells flows apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    vlan: u16,
    guest: IpAddr,
    identifier: [u8; 2],
    remote: IpAddr,
}

struct Flow {
    station: Station,
    socket: OwnedFd,
    in_line: bool,
    last_used: Instant,
}

/// All pings of all networks.
pub(crate) struct Pings {
    flows: Table<Key, Flow>,
    line: VecDeque<Ticket>,
}

impl Pings {
    pub(crate) fn new() -> Self {
        Self {
            flows: Table::new(MAX_PING_FLOWS),
            line: VecDeque::new(),
        }
    }

    /// Whether there is nothing that could time out.
    pub(crate) fn is_empty(&self) -> bool {
        self.flows.len() == 0
    }

    /// An echo request of a guest to an address beyond; whether the host sent it.
    pub(crate) fn receive(
        &mut self,
        core: &mut Core,
        sender: Station,
        datagram: &Datagram<'_>,
    ) -> bool {
        let message = datagram.payload;
        let key = Key {
            vlan: sender.vlan,
            guest: datagram.source,
            identifier: [message[IDENTIFIER.start], message[IDENTIFIER.start + 1]],
            remote: datagram.destination,
        };
        let Some(ticket) = self
            .flows
            .find(&key)
            .or_else(|| self.begin(core, sender, key))
        else {
            return false;
        };
        let Some(flow) = self.flows.get_mut(ticket) else {
            return false;
        };
        flow.last_used = core.now;
        rustix::net::send(&flow.socket, message, SendFlags::NOSIGNAL).is_ok()
    }

    fn begin(&mut self, core: &mut Core, station: Station, key: Key) -> Option<Ticket> {
        let socket = connect(key.remote).ok()?;
        let flow = Flow {
            station,
            socket,
            in_line: false,
            last_used: core.now,
        };
        let ticket = self.flows.insert(key, flow)?;
        let socket = self.flows.get_mut(ticket)?.socket.as_fd();
        if core.epoll.add_socket(socket, Token::Ping(ticket)).is_err() {
            self.flows.remove(ticket);
        }
        Some(ticket)
    }

    pub(crate) fn ready(&mut self, ticket: Ticket, readiness: Readiness) {
        if let Some(flow) = self.flows.get_mut(ticket)
            && readiness.readable
            && !flow.in_line
        {
            flow.in_line = true;
            self.line.push_back(ticket);
        }
    }

    /// The next reply for the guest.
    pub(crate) fn transmit(&mut self, core: &mut Core, buffer: &mut [u8]) -> Option<usize> {
        while let Some(ticket) = self.line.pop_front() {
            let Some((key, flow)) = self.flows.entry_mut(ticket) else {
                continue;
            };
            let message_at = HEADER_BYTES + ip::header_bytes(key.remote);
            let end = buffer.len().min(HEADER_BYTES + core.mtu);
            let room = buffer.get_mut(message_at..end)?;
            match rustix::net::recv(&flow.socket, &mut *room, RecvFlags::empty()) {
                Ok((_, length)) => {
                    self.line.push_back(ticket);
                    if length < ECHO_HEADER_BYTES {
                        continue;
                    }
                    let message = &mut room[..length];
                    message[IDENTIFIER].copy_from_slice(&key.identifier);
                    icmp::write_echo_reply(key.remote, key.guest, message);
                    let packet = &mut buffer[HEADER_BYTES..message_at + length];
                    let protocol = icmp::protocol(key.remote);
                    ip::write_header(key.remote, key.guest, protocol, length, packet);
                    let packet_bytes = packet.len();
                    return frame_in_place(flow.station, packet_bytes, buffer);
                }
                Err(Errno::AGAIN) => flow.in_line = false,
                // The host heard why; a ping without an answer says as much.
                Err(_) => self.line.push_back(ticket),
            }
        }
        None
    }

    /// Ends flows that were silent for too long.
    pub(crate) fn sweep(&mut self, core: &Core) {
        let limit = timers::duration(PING_IDLE_TIMEOUT);
        self.flows
            .remove_where(|_, flow| flow.last_used + limit <= core.now);
    }

    pub(crate) fn drop_flows(&mut self, vlan: u16, address: Option<IpAddr>) {
        self.flows.remove_where(|key, _| {
            key.vlan == vlan && address.is_none_or(|address| key.guest == address)
        });
    }

    pub(crate) fn reset(&mut self) {
        self.flows.remove_where(|_, _| true);
        self.line.clear();
    }
}

fn connect(remote: IpAddr) -> Result<OwnedFd, Errno> {
    let (family, protocol) = match remote {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, Some(protocol))?;
    rustix::net::connect(&socket, &SocketAddr::new(remote, 0))?;
    Ok(socket)
}
