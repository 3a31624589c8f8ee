//! UDP: a flow with a connected host socket for each pair of guest and destination.
//!
//! A connected socket takes answers from its destination only and hears that a port is closed, so
//! every answer goes to the guest that asked. Answers are read from the host straight into the
//! guest's frame, when it has room for one. A flow dies when it has been silent for long, or when
//! a newer one needs its place and it was silent the longest.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketType};
use smoltcp::time::Instant;
use smoltcp::wire::IpProtocol;

use crate::core::{Core, frame_in_place};
use crate::dial;
use crate::epoll::{Readiness, Token};
use crate::ethernet::{HEADER_BYTES, Station};
use crate::icmp::Unreachable;
use crate::ip::{self, Datagram};
use crate::limits::UDP_IDLE_TIMEOUT;
use crate::network::{Networks, Route};
use crate::table::{Table, Ticket};
use crate::timers;

/// Ports, length and checksum.
pub(crate) const UDP_HEADER_BYTES: usize = 8;

/// A checked datagram of a guest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) sender: Station,
    pub(crate) guest: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) payload: &'a [u8],
    packet: &'a [u8],
}

impl<'a> Message<'a> {
    pub(crate) fn parse(sender: Station, datagram: &Datagram<'a>, verify: bool) -> Option<Self> {
        let (header, _) = datagram.payload.split_first_chunk::<UDP_HEADER_BYTES>()?;
        let field = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (source, destination, length, checksum) = (field(0), field(2), field(4), field(6));
        let whole = datagram.payload.get(..usize::from(length))?;
        let unchecked = !verify || (checksum == 0 && datagram.source.is_ipv4());
        let right = source != 0 && destination != 0 && (unchecked || datagram.checksum_is_right());
        right.then_some(Self {
            sender,
            guest: SocketAddr::new(datagram.source, source),
            remote: SocketAddr::new(datagram.destination, destination),
            payload: whole.get(UDP_HEADER_BYTES..)?,
            packet: datagram.packet,
        })
    }
}

/// What tells flows apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    vlan: u16,
    guest: SocketAddr,
    remote: SocketAddr,
}

struct Flow {
    station: Station,
    socket: OwnedFd,
    /// Where else the guest's destination may be, should nobody be here.
    candidates: VecDeque<SocketAddr>,
    in_line: bool,
    last_used: Instant,
}

/// All UDP flows of all networks.
pub(crate) struct Udp {
    flows: Table<Key, Flow>,
    line: VecDeque<Ticket>,
}

impl Udp {
    pub(crate) fn new(max_flows: usize) -> Self {
        Self {
            flows: Table::new(max_flows),
            line: VecDeque::new(),
        }
    }

    /// Whether there is nothing that could time out.
    pub(crate) fn is_empty(&self) -> bool {
        self.flows.len() == 0
    }

    /// A datagram of a guest, for anyone but the gateway's resolver.
    pub(crate) fn receive(&mut self, core: &mut Core, networks: &Networks, message: &Message<'_>) {
        let key = Key {
            vlan: message.sender.vlan,
            guest: message.guest,
            remote: message.remote,
        };
        let ticket = match self.flows.find(&key) {
            Some(ticket) => Ok(ticket),
            None => self.begin(core, networks, key, message),
        };
        let sent = ticket.and_then(|ticket| self.send(core, ticket, message.payload));
        if let Err(error) = sent {
            core.counters.udp_dropped += 1;
            if let Some(why) = Unreachable::from_errno(error) {
                core.send_unreachable(networks, message.sender, message.packet, why);
            }
        }
    }

    fn send(&mut self, core: &mut Core, ticket: Ticket, payload: &[u8]) -> Result<(), Errno> {
        let Some(flow) = self.flows.get_mut(ticket) else {
            return Ok(());
        };
        flow.last_used = core.now;
        match rustix::net::send(&flow.socket, payload, SendFlags::NOSIGNAL) {
            Ok(_) => Ok(()),
            // That is what became of the datagram before; asking cleared it, and answers to it
            // are given when the socket is read.
            Err(Errno::CONNREFUSED) => {
                rustix::net::send(&flow.socket, payload, SendFlags::NOSIGNAL).map(|_| ())
            }
            Err(error) => Err(error),
        }
    }

    fn begin(
        &mut self,
        core: &mut Core,
        networks: &Networks,
        key: Key,
        message: &Message<'_>,
    ) -> Result<Ticket, Errno> {
        let route = networks.route(key.vlan, key.remote.ip(), key.remote.port());
        match route {
            Route::Host | Route::Beyond => {}
            Route::Refused | Route::Dns => return Err(Errno::CONNREFUSED),
            Route::Unreachable => return Err(Errno::NETUNREACH),
            Route::Nowhere => return Err(Errno::INVAL),
        }
        let mut candidates = dial::candidates(route, key.remote);
        let address = candidates.pop_front().ok_or(Errno::ADDRNOTAVAIL)?;
        let socket = connect(address)?;
        if self.flows.is_full() {
            self.evict(core);
        }
        let (station, last_used) = (message.sender, core.now);
        let flow = Flow {
            station,
            socket,
            candidates,
            in_line: false,
            last_used,
        };
        let ticket = self.flows.insert(key, flow).ok_or(Errno::NOBUFS)?;
        core.counters.udp_opened += 1;
        self.watch(core, ticket)?;
        Ok(ticket)
    }

    fn watch(&mut self, core: &Core, ticket: Ticket) -> Result<(), Errno> {
        let Some(flow) = self.flows.get_mut(ticket) else {
            return Ok(());
        };
        let watched = core
            .epoll
            .add_socket(flow.socket.as_fd(), Token::Udp(ticket));
        if watched.is_err() {
            self.flows.remove(ticket);
        }
        watched.map_err(|_| Errno::NOBUFS)
    }

    /// Gives up the flow that was silent the longest. It looks at all of them: a guest that makes
    /// it do so on every datagram spends more on sending it.
    fn evict(&mut self, core: &mut Core) {
        let oldest = self.flows.iter().min_by_key(|(_, _, flow)| flow.last_used);
        if let Some((ticket, ..)) = oldest {
            self.flows.remove(ticket);
            core.counters.udp_evicted += 1;
        }
    }

    /// The host socket of a flow has something to read.
    pub(crate) fn ready(&mut self, ticket: Ticket, readiness: Readiness) {
        if let Some(flow) = self.flows.get_mut(ticket)
            && readiness.readable
            && !flow.in_line
        {
            flow.in_line = true;
            self.line.push_back(ticket);
        }
    }

    /// The next frame for the guest: an answer, or the news that nobody is there.
    pub(crate) fn transmit(
        &mut self,
        core: &mut Core,
        networks: &Networks,
        buffer: &mut [u8],
    ) -> Option<usize> {
        while let Some(ticket) = self.line.pop_front() {
            let Some((key, flow)) = self.flows.entry_mut(ticket) else {
                continue;
            };
            let key = *key;
            let (source, destination) = (key.remote, key.guest);
            let payload_at = HEADER_BYTES + ip::header_bytes(source.ip()) + UDP_HEADER_BYTES;
            let end = buffer.len().min(HEADER_BYTES + core.mtu);
            let room = buffer.get_mut(payload_at..end)?;
            match rustix::net::recv(&flow.socket, &mut *room, RecvFlags::TRUNC) {
                Ok((_, length)) => {
                    self.line.push_back(ticket);
                    flow.last_used = core.now;
                    flow.candidates.clear();
                    if length > room.len() {
                        core.counters.udp_dropped += 1;
                        continue;
                    }
                    let packet = &mut buffer[HEADER_BYTES..payload_at + length];
                    write_headers(source, destination, core.checksums.fill, packet);
                    let packet_bytes = packet.len();
                    return frame_in_place(flow.station, packet_bytes, buffer);
                }
                Err(Errno::AGAIN) => flow.in_line = false,
                Err(error) => {
                    self.line.push_back(ticket);
                    self.failed(core, networks, ticket, error);
                }
            }
        }
        None
    }

    /// The host heard that a datagram did not arrive: there may be another address to try.
    fn failed(&mut self, core: &mut Core, networks: &Networks, ticket: Ticket, error: Errno) {
        let Some((key, flow)) = self.flows.entry_mut(ticket) else {
            return;
        };
        if let Some(socket) = flow
            .candidates
            .pop_front()
            .and_then(|next| connect(next).ok())
        {
            // The datagram is lost, as datagrams may be; its repetition finds the other address.
            flow.socket = socket;
            let _ = self.watch(core, ticket);
            return;
        }
        let (key, station) = (*key, flow.station);
        if let Some(why) = Unreachable::from_errno(error) {
            let lost = packet(key.guest, key.remote, &[], true);
            core.send_unreachable(networks, station, &lost, why);
        }
    }

    /// Ends flows that were silent for too long.
    pub(crate) fn sweep(&mut self, core: &Core) {
        let limit = timers::duration(UDP_IDLE_TIMEOUT);
        self.flows
            .remove_where(|_, flow| flow.last_used + limit <= core.now);
    }

    pub(crate) fn drop_flows(&mut self, vlan: u16, address: Option<IpAddr>) {
        self.flows.remove_where(|key, _| {
            key.vlan == vlan && address.is_none_or(|address| key.guest.ip() == address)
        });
    }

    pub(crate) fn reset(&mut self) {
        self.flows.remove_where(|_, _| true);
        self.line.clear();
    }
}

fn connect(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let socket = dial::socket(address, SocketType::DGRAM)?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

/// Writes the headers of a packet whose payload is in place behind them.
fn write_headers(source: SocketAddr, destination: SocketAddr, fill: bool, packet: &mut [u8]) {
    let header_bytes = ip::header_bytes(source.ip());
    let datagram_bytes = packet.len() - header_bytes;
    let (from, to) = (source.ip(), destination.ip());
    ip::write_header(from, to, IpProtocol::Udp, datagram_bytes, packet);
    let datagram = &mut packet[header_bytes..];
    let length = u16::try_from(datagram_bytes).unwrap_or(u16::MAX);
    datagram[..2].copy_from_slice(&source.port().to_be_bytes());
    datagram[2..4].copy_from_slice(&destination.port().to_be_bytes());
    datagram[4..6].copy_from_slice(&length.to_be_bytes());
    datagram[6..8].copy_from_slice(&[0, 0]);
    // IPv6 has no packets without a checksum, and no computed one is written as zero.
    if fill || from.is_ipv6() {
        let checksum = match ip::checksum_of(from, to, IpProtocol::Udp, datagram) {
            0 => u16::MAX,
            checksum => checksum,
        };
        datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// A whole packet.
pub(crate) fn packet(
    source: SocketAddr,
    destination: SocketAddr,
    payload: &[u8],
    fill: bool,
) -> Vec<u8> {
    let payload_at = ip::header_bytes(source.ip()) + UDP_HEADER_BYTES;
    let mut packet = vec![0; payload_at + payload.len()];
    packet[payload_at..].copy_from_slice(payload);
    write_headers(source, destination, fill, &mut packet);
    packet
}
