//! From a guest's SYN to an open connection, or to the news that there is none.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use super::connection::Connection;
use super::refusal::{self, Segment};
use super::{Flow, Key, Stage, Tcp};
use crate::core::Core;
use crate::dial::{self, Dial};
use crate::dns::Resolver;
use crate::epoll::Token;
use crate::network::{Networks, Route};
use crate::table::Ticket;

impl Tcp {
    /// A guest wants a connection: the host tries first.
    pub(super) fn begin(
        &mut self,
        core: &mut Core,
        networks: &Networks,
        resolver: &mut Resolver,
        key: Key,
        segment: &Segment<'_>,
    ) {
        let syn = segment.without_data();
        let route = networks.route(key.vlan, key.remote.ip(), key.remote.port());
        let begun = match route {
            Route::Nowhere => {
                core.counters.packets_dropped += 1;
                return;
            }
            Route::Unreachable => Err(Errno::NETUNREACH),
            Route::Refused => Err(Errno::CONNREFUSED),
            _ if self.flows.is_full() => Err(Errno::CONNREFUSED),
            Route::Dns => self.begin_dns(core, resolver, key, segment, &syn),
            Route::Host | Route::Beyond => {
                Dial::start(dial::candidates(route, key.remote)).map(|dial| {
                    let stage = Stage::Connecting {
                        dial,
                        syn: syn.clone(),
                    };
                    if let Some(ticket) = self.flows.insert(key, Flow::new(segment.sender, stage)) {
                        self.watch(core, ticket);
                    }
                })
            }
        };
        if let Err(error) = begun {
            refusal::refuse(core, networks, segment.sender, &syn, error);
        }
    }

    /// A connection to the gateway's resolver: there is nothing to wait for.
    fn begin_dns(
        &mut self,
        core: &mut Core,
        resolver: &mut Resolver,
        key: Key,
        segment: &Segment<'_>,
        syn: &[u8],
    ) -> Result<(), Errno> {
        let host = resolver
            .open_stream(core, key.vlan)
            .map_err(|error| errno_of(&error))?;
        let flow = Flow::new(segment.sender, Stage::Leaving);
        if let Some(ticket) = self.flows.insert(key, flow) {
            core.epoll
                .add_socket(host.as_fd(), Token::Tcp(ticket))
                .map_err(|error| errno_of(&error))?;
            self.open(core, ticket, host, syn);
        }
        Ok(())
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

    /// The host's connect has ended one way or the other.
    pub(super) fn connected(&mut self, core: &mut Core, networks: &Networks, ticket: Ticket) {
        let Some(flow) = self.flows.get_mut(ticket) else {
            return;
        };
        let station = flow.station;
        let stage = std::mem::replace(&mut flow.stage, Stage::Leaving);
        let Stage::Connecting { dial, syn } = stage else {
            return;
        };
        let error = match dial.outcome() {
            Ok(()) => return self.open(core, ticket, dial.socket, &syn),
            Err(error) => error,
        };
        match dial.next(error) {
            Ok(dial) => {
                flow.stage = Stage::Connecting { dial, syn };
                self.watch(core, ticket);
            }
            Err(error) => {
                self.flows.remove(ticket);
                refusal::refuse(core, networks, station, &syn, error);
            }
        }
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
        self.engine
            .ingress(core, flow.station, &mut connection, syn);
        flow.stage = Stage::Open(connection);
        core.counters.tcp_opened += 1;
        self.stand_in_line(ticket);
    }
}

/// The error number behind an error of a system call; only that is made here.
fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::CONNREFUSED)
}
