//! TCP: a flow for each connection a guest has begun.
//!
//! ```text
//!  SYN ──► Connecting ── host connected ──► Open ── both ends closed, or a reset ──► gone
//!              └── host refused ──► RST, ICMP or silence ──► gone
//! ```
//! A flow with something to send stands in line once; [`Tcp::transmit`] makes one packet of the
//! first in line and puts it at the end again. So no flow starves another, and nothing is made
//! before the guest has room for it.
//!
//! - `opening` – from a SYN to an open connection, or to the news that there is none
//! - `connection` – an open connection's two sockets
//! - `wire` – smoltcp, polled with one packet and one connection
//! - `buffers` – how much memory each connection gets
//! - `refusal` – segments and answers made by hand

mod buffers;
mod connection;
mod opening;
mod refusal;
mod wire;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::TcpControl;

use self::buffers::Buffers;
use self::connection::Connection;
use self::refusal::Segment;
use self::wire::Engine;
use crate::core::{Core, frame_in_place};
use crate::dial::Dial;
use crate::dns::Resolver;
use crate::epoll::{Readiness, Token};
use crate::ethernet::{HEADER_BYTES, Station};
use crate::ip::Datagram;
use crate::network::Networks;
use crate::table::{Table, Ticket};

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

impl Flow {
    fn new(station: Station, stage: Stage) -> Self {
        Self {
            station,
            stage,
            in_line: false,
            wake_at: None,
        }
    }
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
    engine: Engine,
    flows: Table<Key, Flow>,
    line: VecDeque<Ticket>,
    buffers: Buffers,
}

impl Tcp {
    pub(crate) fn new(core: &Core, max_flows: usize) -> Self {
        let engine = Engine::new(core);
        let (flows, line) = (Table::new(max_flows), VecDeque::new());
        Self {
            engine,
            flows,
            line,
            buffers: Buffers::new(),
        }
    }

    /// A segment of a guest.
    pub(crate) fn receive(
        &mut self,
        core: &mut Core,
        networks: &Networks,
        resolver: &mut Resolver,
        sender: Station,
        datagram: Datagram<'_>,
    ) {
        let Some(segment) = Segment::parse(sender, datagram, core.checksums.verify) else {
            core.counters.packets_malformed += 1;
            return;
        };
        let key = Key {
            vlan: sender.vlan,
            guest: segment.guest(),
            remote: segment.remote(),
        };
        let mut known = self.flows.find(&key);
        if let Some(ticket) = known
            && segment.opens()
            && self.is_over(ticket)
        {
            // The guest uses its port anew before the last packets of the old flow went out.
            self.end(core, ticket);
            known = None;
        }
        match known {
            Some(ticket) => self.feed(core, ticket, &segment),
            None if segment.opens() => self.begin(core, networks, resolver, key, &segment),
            None => refusal::send_reset(core, &segment),
        }
    }

    /// A segment for a flow that there is.
    fn feed(&mut self, core: &mut Core, ticket: Ticket, segment: &Segment<'_>) {
        let Some(flow) = self.flows.get_mut(ticket) else {
            return;
        };
        match &mut flow.stage {
            Stage::Connecting { .. } if segment.header.control == TcpControl::Rst => {
                self.flows.remove(ticket);
            }
            // The SYN again: its answer is on the way.
            Stage::Connecting { .. } | Stage::Leaving => {}
            Stage::Open(connection) => {
                let packet = segment.datagram.packet;
                self.engine.ingress(core, flow.station, connection, packet);
                connection.carry();
                self.stand_in_line(ticket);
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
                connection.carry();
                self.stand_in_line(ticket);
            }
            Stage::Connecting { .. } if readiness.writable => {
                self.connected(core, networks, ticket);
            }
            Stage::Connecting { .. } | Stage::Leaving => {}
        }
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
        self.engine.egress(core, connection, room)
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
        let Some(wanted) = self.engine.wake_at(core, connection) else {
            return;
        };
        let wanted = wanted.max(core.now + MIN_TIMER_DELAY);
        if flow.wake_at.is_none_or(|wake_at| wanted < wake_at) {
            if let Some(later) = flow.wake_at.replace(wanted) {
                core.timers.cancel(later, Token::Tcp(ticket));
            }
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
        if let Some(wake_at) = flow.wake_at {
            core.timers.cancel(wake_at, Token::Tcp(ticket));
        }
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
