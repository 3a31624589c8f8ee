//! DNS at the gateway: the names known here, then whatever the host's own nameservers say.
//!
//! 1. the network's names, as the engine gave them, and the addresses they have
//! 2. `host.docker.internal` and `gateway.docker.internal`: the gateway
//! 3. the host's `/etc/hosts`
//! 4. a nameserver of the host's `/etc/resolv.conf`, question and answer passed as they are, over
//!    the protocol the guest asked with
//!
//! An internal network ends before the third.

mod forward;
mod hosts;
mod local;
mod message;
mod nameservers;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use self::forward::Forwarder;
use self::hosts::Hosts;
use self::message::{Query, ResponseCode};
use self::stream::Streams;
use crate::config::NetstackConfig;
use crate::core::Core;
use crate::epoll::Readiness;
use crate::ethernet::Station;
use crate::network::Networks;
use crate::table::Ticket;
use crate::udp;

/// Who wants an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asker {
    /// A datagram's sender, and the gateway it asked.
    Datagram {
        station: Station,
        guest: SocketAddr,
        gateway: SocketAddr,
    },
    /// A TCP connection.
    Stream { vlan: u16, stream: Ticket },
}

impl Asker {
    fn vlan(&self) -> u16 {
        match self {
            Self::Datagram { station, .. } => station.vlan,
            Self::Stream { vlan, .. } => *vlan,
        }
    }
}

/// An answer on its way.
pub(super) struct Answer {
    asker: Asker,
    message: Vec<u8>,
}

/// The resolver of every network's gateway.
pub(crate) struct Resolver {
    hosts: Hosts,
    forwarder: Forwarder,
    streams: Streams,
}

impl Resolver {
    pub(crate) fn new(config: &NetstackConfig) -> Self {
        Self {
            hosts: Hosts::new(config.hosts.clone()),
            forwarder: Forwarder::new(config.resolv_conf.clone()),
            streams: Streams::new(),
        }
    }

    /// Whether nothing here could time out.
    pub(crate) fn is_empty(&self) -> bool {
        self.forwarder.is_empty() && self.streams.is_empty()
    }

    /// The far end of a guest's TCP connection to the gateway's port 53.
    ///
    /// # Errors
    ///
    /// When there are too many, or the host refuses a pair of sockets.
    pub(crate) fn open_stream(&mut self, core: &mut Core, vlan: u16) -> io::Result<OwnedFd> {
        self.streams.open(core, vlan)
    }

    /// A guest asks.
    pub(crate) fn ask(
        &mut self,
        core: &mut Core,
        networks: &Networks,
        asker: Asker,
        message: &[u8],
    ) {
        let answer = match Query::parse(message) {
            Ok(query) => self.resolve(core, networks, asker, &query),
            Err(answer) => answer,
        };
        if let Some(message) = answer {
            self.deliver(core, &Answer { asker, message });
        }
    }

    /// The answer, if it can be given at once.
    fn resolve(
        &mut self,
        core: &mut Core,
        networks: &Networks,
        asker: Asker,
        query: &Query<'_>,
    ) -> Option<Vec<u8>> {
        let network = networks.get(asker.vlan())?;
        let known = local::answer(network, query).or_else(|| {
            (!network.internal)
                .then(|| self.hosts.answer(network, query))
                .flatten()
        });
        if let Some(records) = known {
            core.counters.dns_answered += 1;
            let limit = match asker {
                Asker::Datagram { .. } => message::MAX_DATAGRAM_BYTES,
                Asker::Stream { .. } => message::MAX_STREAM_BYTES,
            };
            return Some(query.answer(&records, limit));
        }
        if network.internal || !self.forwarder.forward(core, asker, query) {
            core.counters.dns_failed += 1;
            return Some(query.fail(ResponseCode::ServerFailure));
        }
        None
    }

    fn deliver(&mut self, core: &mut Core, answer: &Answer) {
        match answer.asker {
            Asker::Datagram {
                station,
                guest,
                gateway,
            } => {
                let packet = udp::packet(gateway, guest, &answer.message, core.checksums.fill);
                if packet.len() <= core.mtu {
                    core.send_packet(station, &packet);
                }
            }
            Asker::Stream { stream, .. } => self.streams.answer(stream, &answer.message),
        }
    }

    /// A question's socket is ready.
    pub(crate) fn ready(
        &mut self,
        core: &mut Core,
        networks: &Networks,
        ticket: Ticket,
        readiness: Readiness,
    ) {
        let Some(answer) = self.forwarder.ready(core, ticket, readiness) else {
            return;
        };
        let asker = answer.asker;
        self.deliver(core, &answer);
        if let Asker::Stream { stream, .. } = asker {
            // It may have more questions than could be open, read but not taken.
            self.ask_stream(core, networks, stream);
        }
    }

    /// A guest's TCP connection is ready: it may have asked.
    pub(crate) fn stream_ready(
        &mut self,
        core: &mut Core,
        networks: &Networks,
        stream: Ticket,
        readiness: Readiness,
    ) {
        self.streams.note(stream, readiness);
        self.ask_stream(core, networks, stream);
    }

    /// Takes the questions of a connection, as many as may be open.
    fn ask_stream(&mut self, core: &mut Core, networks: &Networks, stream: Ticket) {
        while let Some((vlan, message)) = self.streams.next_question(core, stream) {
            self.ask(core, networks, Asker::Stream { vlan, stream }, &message);
        }
    }

    /// Asks the next nameserver where one took too long, and ends idle connections.
    pub(crate) fn sweep(&mut self, core: &mut Core, networks: &Networks) {
        for answer in self.forwarder.sweep(core) {
            self.deliver(core, &answer);
        }
        self.streams.sweep(core);
        for stream in self.streams.unread() {
            self.ask_stream(core, networks, stream);
        }
    }

    pub(crate) fn reset(&mut self) {
        self.forwarder.reset();
        self.streams.reset();
    }
}
