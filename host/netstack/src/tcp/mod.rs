//! TCP: a flow for each connection a guest has begun.
//!
//! ```text
//!  SYN ──► Connecting ── host connected ──► Open ── both ends closed, or a reset ──► gone
//!              └── host refused ──► RST, ICMP or silence ──► gone
//! ```
//! A flow with something to send stands in line once; [`Tcp::transmit`] makes one packet of the
//! first in line and puts it at the end again. So no flow starves another, and nothing is made
//! before the guest has room for it.

mod buffers;
mod connection;
mod dial;
mod refusal;
mod wire;

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use smoltcp::iface::{Config, Interface};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, TcpControl, TcpRepr};

use self::buffers::Buffers;
use self::connection::Connection;
use self::dial::Dial;
use self::refusal::Refusal;
use self::wire::{Wire, WireShape};
use crate::core::{Core, frame_in_place};
use crate::epoll::{Readiness, Token};
use crate::ethernet::{HEADER_BYTES, Station};
use crate::icmp::{self, Unreachable};
use crate::ip::Datagram;
use crate::limits::MAX_PARKED_SYN;
use crate::network::{Networks, Route};
use crate::table::{Table, Ticket};

/// Room for what smoltcp answers at once: a header with every option.
const REPLY_BYTES: usize = 128;

/// The least time until a flow is looked at again that said it had something to do but did not.
const MIN_TIMER_DELAY: Duration = Duration::from_millis(1);

/// What tells connections apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    vlan: u16,
    guest: SocketAddr,
    remote: SocketAddr,
}

struct Flow {
    station: Station,
    stage: Stage,
    /// Stands in line to transmit.
    in_line: bool,
    /// When the timers will name this flow.
    wake_at: Option<Instant>,
}

enum Stage {
    /// The host is connecting; the guest's SYN waits for the outcome.
    Connecting { dial: Dial, syn: Vec<u8> },
    /// Both sides are connected, or the guest's is about to be.
    Open(Connection),
    /// On the way from one stage to the next, or out of the table.
    Leaving,
}

/// All TCP connections of all networks.
pub(crate) struct Tcp {
    interface: Interface,
    shape: WireShape,
    flows: Table<Key, Flow>,
    line: VecDeque<Ticket>,
    buffers: Buffers,
}

impl Tcp {
    pub(crate) fn new(core: &Core, max_flows: usize) -> Self {
        let shape = WireShape {
            mtu: core.mtu,
            checksums: core.checksums,
        };
        let mut config = Config::new(HardwareAddress::Ip);
        // Randomly keyed hashes make sequence numbers that a guest cannot foresee.
        config.random_seed = RandomState::new().build_hasher().finish();
        let mut interface = Interface::new(config, &mut Wire::new(shape, None, &mut []), core.now);
        // Guests connect to any address there is; whether they may was decided before.
        interface.set_any_ip(true);
        let flows = Table::new(max_flows);
        Self {
            interface,
            shape,
            flows,
            line: VecDeque::new(),
            buffers: Buffers::new(),
        }
    }

    /// A segment of a guest.
    pub(crate) fn receive(
        &mut self,
        core: &mut Core,
        networks: &Networks,
        sender: Station,
        datagram: &Datagram<'_>,
    ) {
        let Some(segment) = refusal::parse(datagram, core.checksums.verify) else {
            core.counters.packets_malformed += 1;
            return;
        };
        let (guest, remote) = refusal::ends(datagram, &segment);
        let key = Key {
            vlan: sender.vlan,
            guest,
            remote,
        };
        let opens = segment.control == TcpControl::Syn && segment.ack_number.is_none();
        let mut known = self.flows.find(&key);
        if let Some(ticket) = known
            && opens
            && self.is_over(ticket)
        {
            // The guest uses its port anew before the last packets of the old flow went out.
            self.end(core, ticket);
            known = None;
        }
        match known {
            Some(ticket) => self.feed(core, ticket, &segment, datagram.packet),
            None if opens => self.begin(core, networks, key, sender, datagram, &segment),
            None => send_reset(core, sender, datagram, &segment),
        }
    }

    /// A guest wants a connection: the host tries first.
    fn begin(
        &mut self,
        core: &mut Core,
        networks: &Networks,
        key: Key,
        sender: Station,
        datagram: &Datagram<'_>,
        segment: &TcpRepr<'_>,
    ) {
        let route = networks.route(key.vlan, key.remote.ip(), key.remote.port());
        let syn = refusal::parked(datagram, segment);
        let dial = match route {
            Route::Nowhere => {
                core.counters.packets_dropped += 1;
                return;
            }
            Route::Unreachable => Err(Errno::NETUNREACH),
            Route::Dns | Route::Refused => Err(Errno::CONNREFUSED),
            Route::Host | Route::Beyond if self.flows.is_full() || syn.len() > MAX_PARKED_SYN => {
                Err(Errno::CONNREFUSED)
            }
            Route::Host | Route::Beyond => Dial::start(dial::candidates(route, key.remote)),
        };
        match dial {
            Ok(dial) => {
                let stage = Stage::Connecting { dial, syn };
                let flow = Flow {
                    station: sender,
                    stage,
                    in_line: false,
                    wake_at: None,
                };
                if let Some(ticket) = self.flows.insert(key, flow) {
                    self.watch(core, ticket);
                }
            }
            Err(error) => refuse(core, networks, sender, &syn, error),
        }
    }

    /// Has epoll tell of the socket that a flow is connecting.
    fn watch(&mut self, core: &mut Core, ticket: Ticket) {
        let Some(flow) = self.flows.get_mut(ticket) else {
            return;
        };
        let Stage::Connecting { dial, .. } = &flow.stage else {
            return;
        };
        if let Err(error) = core
            .epoll
            .add_socket(dial.socket.as_fd(), Token::Tcp(ticket))
        {
            // The limit of watches is the host's; without one the flow would hang for ever.
            tracing::warn!(%error, "cannot watch a socket");
            self.flows.remove(ticket);
        }
    }

    /// A segment for a flow that there is.
    fn feed(&mut self, core: &mut Core, ticket: Ticket, segment: &TcpRepr<'_>, packet: &[u8]) {
        let Some(flow) = self.flows.get_mut(ticket) else {
            return;
        };
        match &mut flow.stage {
            Stage::Connecting { .. } if segment.control == TcpControl::Rst => {
                self.flows.remove(ticket);
            }
            // The SYN again: its answer is on the way.
            Stage::Connecting { .. } | Stage::Leaving => {}
            Stage::Open(connection) => {
                let station = flow.station;
                process(
                    &mut self.interface,
                    self.shape,
                    core,
                    station,
                    connection,
                    packet,
                );
                self.carry(ticket);
            }
        }
    }

    /// The host socket of a flow is ready for something.
    pub(crate) fn ready(
        &mut self,
        core: &mut Core,
        networks: &Networks,
        ticket: Ticket,
        readiness: Readiness,
    ) {
        let Some(flow) = self.flows.get_mut(ticket) else {
            return;
        };
        match &mut flow.stage {
            Stage::Open(connection) => {
                connection.note(readiness);
                self.carry(ticket);
            }
            Stage::Connecting { dial, .. } if readiness.writable => {
                let outcome = dial.outcome();
                self.connected(core, networks, ticket, outcome);
            }
            Stage::Connecting { .. } | Stage::Leaving => {}
        }
    }

    /// The host's connect has ended one way or the other.
    fn connected(
        &mut self,
        core: &mut Core,
        networks: &Networks,
        ticket: Ticket,
        outcome: Result<(), Errno>,
    ) {
        let Some(flow) = self.flows.get_mut(ticket) else {
            return;
        };
        let station = flow.station;
        let stage = std::mem::replace(&mut flow.stage, Stage::Leaving);
        let Stage::Connecting { dial, syn } = stage else {
            return;
        };
        let host = match outcome {
            Ok(()) => dial.socket,
            Err(error) => match dial.next(error) {
                Ok(dial) => {
                    flow.stage = Stage::Connecting { dial, syn };
                    return self.watch(core, ticket);
                }
                Err(error) => {
                    self.flows.remove(ticket);
                    return refuse(core, networks, station, &syn, error);
                }
            },
        };
        self.open(core, ticket, host, &syn);
    }

    /// The host is connected: now the guest's SYN is answered.
    fn open(&mut self, core: &mut Core, ticket: Ticket, host: OwnedFd, syn: &[u8]) {
        let Some((key, flow)) = self.flows.entry_mut(ticket) else {
            return;
        };
        let mut endpoint = self.buffers.take();
        let listening = endpoint.socket().listen(key.remote);
        listening.expect("a closed socket with a port listens");
        let mut connection = Connection::new(endpoint, host);
        process(
            &mut self.interface,
            self.shape,
            core,
            flow.station,
            &mut connection,
            syn,
        );
        flow.stage = Stage::Open(connection);
        core.counters.tcp_opened += 1;
        self.stand_in_line(ticket);
    }

    /// Carries bytes between the two sides of an open flow and has it say so to the guest.
    fn carry(&mut self, ticket: Ticket) {
        let Some(flow) = self.flows.get_mut(ticket) else {
            return;
        };
        let Stage::Open(connection) = &mut flow.stage else {
            return;
        };
        connection.carry();
        self.stand_in_line(ticket);
    }

    /// The time has come that a flow asked for.
    pub(crate) fn expired(&mut self, ticket: Ticket) {
        if let Some(flow) = self.flows.get_mut(ticket) {
            flow.wake_at = None;
            self.stand_in_line(ticket);
        }
    }

    fn stand_in_line(&mut self, ticket: Ticket) {
        if let Some(flow) = self.flows.get_mut(ticket)
            && !flow.in_line
        {
            flow.in_line = true;
            self.line.push_back(ticket);
        }
    }

    /// The next frame for the guest.
    pub(crate) fn transmit(&mut self, core: &mut Core, buffer: &mut [u8]) -> Option<usize> {
        loop {
            let ticket = *self.line.front()?;
            let packet_bytes = self.next_packet(core, ticket, buffer.get_mut(HEADER_BYTES..)?);
            self.line.pop_front();
            let Some(flow) = self.flows.get_mut(ticket) else {
                continue;
            };
            flow.in_line = false;
            if let Some(packet_bytes) = packet_bytes {
                let station = flow.station;
                self.stand_in_line(ticket);
                return frame_in_place(station, packet_bytes, buffer);
            }
            self.rest(core, ticket);
        }
    }

    /// Makes the next packet of a flow, if it has one.
    fn next_packet(&mut self, core: &Core, ticket: Ticket, room: &mut [u8]) -> Option<usize> {
        let flow = self.flows.get_mut(ticket)?;
        let Stage::Open(connection) = &mut flow.stage else {
            return None;
        };
        let mut wire = Wire::new(self.shape, None, room);
        self.interface
            .poll_egress(core.now, &mut wire, connection.endpoint.set());
        wire.written
    }

    /// A flow has nothing more to send: it has ended, or waits for a segment, socket or time.
    fn rest(&mut self, core: &mut Core, ticket: Ticket) {
        if self.is_over(ticket) {
            self.end(core, ticket);
            return;
        }
        let Some(flow) = self.flows.get_mut(ticket) else {
            return;
        };
        let Stage::Open(connection) = &mut flow.stage else {
            return;
        };
        let wanted = self.interface.poll_at(core.now, connection.endpoint.set());
        let Some(wanted) = wanted.map(|wanted| wanted.max(core.now + MIN_TIMER_DELAY)) else {
            return;
        };
        if flow.wake_at.is_none_or(|wake_at| wanted < wake_at) {
            flow.wake_at = Some(wanted);
            core.timers.schedule(wanted, Token::Tcp(ticket));
        }
    }

    fn is_over(&mut self, ticket: Ticket) -> bool {
        match self.flows.get_mut(ticket).map(|flow| &mut flow.stage) {
            Some(Stage::Open(connection)) => connection.is_over(),
            _ => false,
        }
    }

    fn end(&mut self, core: &mut Core, ticket: Ticket) {
        let Some((_, flow)) = self.flows.remove(ticket) else {
            return;
        };
        if let Stage::Open(connection) = flow.stage {
            let (endpoint, reset) = connection.finish();
            core.counters.tcp_reset += u64::from(reset);
            self.buffers.give_back(endpoint);
        }
    }

    /// Ends flows at once, without a word to the guest; the host's peers see a reset.
    pub(crate) fn drop_flows(&mut self, core: &mut Core, vlan: u16, address: Option<IpAddr>) {
        let ended = self.flows.select(|key, _| {
            key.vlan == vlan && address.is_none_or(|address| key.guest.ip() == address)
        });
        for ticket in ended {
            self.end(core, ticket);
        }
    }

    /// Forgets everything: the guest's driver has left.
    pub(crate) fn reset(&mut self, core: &mut Core) {
        for ticket in self.flows.select(|_, _| true) {
            self.end(core, ticket);
        }
        self.line.clear();
    }
}

/// Gives a packet of the guest to smoltcp, and its immediate answer to the outbox.
fn process(
    interface: &mut Interface,
    shape: WireShape,
    core: &mut Core,
    station: Station,
    connection: &mut Connection,
    packet: &[u8],
) {
    let mut reply = [0; REPLY_BYTES];
    let mut wire = Wire::new(shape, Some(packet), &mut reply);
    interface.poll_ingress_single(core.now, &mut wire, connection.endpoint.set());
    if let Some(length) = wire.written {
        core.send_packet(station, &reply[..length]);
    }
}

fn send_reset(core: &mut Core, receiver: Station, datagram: &Datagram<'_>, segment: &TcpRepr<'_>) {
    if let Some(packet) = refusal::reset(datagram, segment) {
        core.send_packet(receiver, &packet);
    }
}

/// Tells a guest that its SYN led to `error`.
fn refuse(core: &mut Core, networks: &Networks, receiver: Station, syn: &[u8], error: Errno) {
    core.counters.tcp_refused += 1;
    let datagram = match syn.first().map(|byte| byte >> 4) {
        Some(4) => Datagram::parse_v4(syn),
        _ => Datagram::parse_v6(syn),
    };
    let Some(datagram) = datagram else { return };
    match Refusal::from_errno(error) {
        Refusal::Silence => {}
        Refusal::Unreachable(why) => send_unreachable(core, networks, receiver, &datagram, why),
        Refusal::Reset => {
            if let Some(segment) = refusal::parse(&datagram, false) {
                send_reset(core, receiver, &datagram, &segment);
            }
        }
    }
}

fn send_unreachable(
    core: &mut Core,
    networks: &Networks,
    receiver: Station,
    datagram: &Datagram<'_>,
    why: Unreachable,
) {
    let Some(gateway) = networks.gateway_for(receiver.vlan, datagram.source) else {
        return;
    };
    let packet = icmp::unreachable(gateway, datagram.source, why, datagram.packet);
    core.send_packet(receiver, &packet);
}
