//! Readiness of every host descriptor, edge by edge, behind one descriptor of our own.
//!
//! Sockets are registered once for both directions and edge-triggered, so a flow costs one
//! `epoll_ctl` in its life; whoever handles an edge must go on until the socket would block.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::limits::MAX_EVENTS_PER_POLL;
use crate::table::Ticket;

/// Bits of a token below its kind.
const KIND_SHIFT: u32 = 56;

/// Who is to be told that a descriptor is ready or a timer expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Token {
    /// A command is waiting.
    Control,
    /// The timer descriptor expired.
    Timer,
    /// A TCP connection's host socket.
    Tcp(Ticket),
    /// A UDP flow's host socket.
    Udp(Ticket),
    /// A ping socket.
    Ping(Ticket),
    /// A question to a nameserver.
    Dns(Ticket),
    /// A guest's connection to the resolver.
    DnsStream(Ticket),
    /// It is time to look for flows that were silent too long.
    Sweep,
}

impl Token {
    fn to_bits(self) -> u64 {
        let (kind, ticket): (u64, u64) = match self {
            Self::Control => (0, 0),
            Self::Timer => (1, 0),
            Self::Tcp(ticket) => (2, ticket.to_bits()),
            Self::Udp(ticket) => (3, ticket.to_bits()),
            Self::Ping(ticket) => (4, ticket.to_bits()),
            Self::Dns(ticket) => (5, ticket.to_bits()),
            Self::DnsStream(ticket) => (6, ticket.to_bits()),
            Self::Sweep => (7, 0),
        };
        kind << KIND_SHIFT | ticket
    }

    fn from_bits(bits: u64) -> Self {
        let ticket = Ticket::from_bits(bits);
        match bits >> KIND_SHIFT {
            0 => Self::Control,
            1 => Self::Timer,
            2 => Self::Tcp(ticket),
            3 => Self::Udp(ticket),
            4 => Self::Ping(ticket),
            5 => Self::Dns(ticket),
            6 => Self::DnsStream(ticket),
            _ => Self::Sweep,
        }
    }
}

/// What an edge said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer has closed its half, or the socket failed: read until that shows.
    pub(crate) hangup: bool,
}

pub(crate) struct Epoll {
    descriptor: OwnedFd,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            descriptor: epoll::create(CreateFlags::CLOEXEC)?,
        })
    }

    /// Tells `token` of every edge of `socket`. Closing the descriptor ends it.
    pub(crate) fn add_socket(&self, socket: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        self.add(socket, token, flags)
    }

    /// Tells `token` for as long as `source` is readable.
    pub(crate) fn add_source(&self, source: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        self.add(source, token, EventFlags::IN)
    }

    fn add(&self, source: BorrowedFd<'_>, token: Token, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::add(
            &self.descriptor,
            source,
            EventData::new_u64(token.to_bits()),
            flags,
        )?)
    }

    /// The events there are now, without waiting.
    pub(crate) fn ready(&self) -> io::Result<Vec<(Token, Readiness)>> {
        let mut events = [MaybeUninit::<Event>::uninit(); MAX_EVENTS_PER_POLL];
        let now = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let ready = match epoll::wait(&self.descriptor, &mut events, Some(&now)) {
            Ok((ready, _)) => ready,
            // A signal is no failure; what was ready still is.
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        Ok(ready
            .iter()
            .map(|event| (token_of(event), readiness_of(event.flags)))
            .collect())
    }
}

fn token_of(event: &Event) -> Token {
    Token::from_bits(event.data.u64())
}

fn readiness_of(flags: EventFlags) -> Readiness {
    let hangup = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
    Readiness {
        readable: hangup || flags.contains(EventFlags::IN),
        writable: flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR),
        hangup,
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_bits() {
        let ticket = Ticket::from_bits(0x0012_3456_89ab_cdef);

        assert_eq!(Token::from_bits(Token::Control.to_bits()), Token::Control);
        assert_eq!(
            Token::from_bits(Token::Udp(ticket).to_bits()),
            Token::Udp(ticket)
        );
        assert_eq!(
            Token::from_bits(Token::Dns(ticket).to_bits()),
            Token::Dns(ticket)
        );
    }
}
