//! One epoll descriptor for everything the device waits for on the host side.
//!
//! Connections are watched edge-triggered: each keeps its own note of being readable, so a
//! connection that may not be read just now (no guest buffers, no credit) costs neither wake-ups
//! nor a system call to stop them. The device's own descriptors are level-triggered.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::packet::ANY_PORT;
use super::table::{LocalId, Ports};

/// Events taken from the kernel in one go; the rest keep the descriptor readable.
pub(super) const MAX_EVENTS: usize = 128;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Token {
    /// The socket that clients dial.
    Listener,
    /// The timer of [`super::deadlines`].
    Timer,
    /// The guest is to be told of its packets; only ever a deadline.
    Completions,
    /// A client that has not yet said which port it wants, or the rest of a connection that the
    /// guest has forgotten.
    Local(LocalId),
    /// A connection.
    Connection(Ports),
}

impl Token {
    /// Marks the tokens that are not connections: no host port has this number.
    const NO_CONNECTION: u32 = ANY_PORT;
    /// Numbers from here on are [`Token::Local`]; those below name the device's own descriptors.
    const FIRST_LOCAL: u32 = 3;

    fn encode(self) -> u64 {
        let (high, low) = match self {
            Self::Listener => (Self::NO_CONNECTION, 0),
            Self::Timer => (Self::NO_CONNECTION, 1),
            Self::Completions => (Self::NO_CONNECTION, 2),
            Self::Local(LocalId(id)) => (Self::NO_CONNECTION, id + Self::FIRST_LOCAL),
            Self::Connection(ports) => (ports.host, ports.guest),
        };
        u64::from(high) << 32 | u64::from(low)
    }

    fn decode(data: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = data.to_be_bytes();
        let high = u32::from_be_bytes([a, b, c, d]);
        let low = u32::from_be_bytes([e, f, g, h]);
        match (high, low) {
            (Self::NO_CONNECTION, 0) => Self::Listener,
            (Self::NO_CONNECTION, 1) => Self::Timer,
            (Self::NO_CONNECTION, 2) => Self::Completions,
            (Self::NO_CONNECTION, id) => Self::Local(LocalId(id - Self::FIRST_LOCAL)),
            (host, guest) => Self::Connection(Ports { host, guest }),
        }
    }
}

/// What happened to a watched descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) token: Token,
    /// Bytes may be there, or end of file, or an error to fetch.
    pub(super) readable: bool,
    /// Room may be there.
    pub(super) writable: bool,
    /// The peer sends no more.
    pub(super) ending: bool,
    /// The peer neither sends nor receives any more.
    pub(super) hung_up: bool,
}

/// What a connection's socket is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    /// Bytes and their end.
    Read,
    /// The same, and room to write.
    ReadAndWrite,
}

/// The epoll instance.
#[derive(Debug)]
pub(super) struct Readiness {
    epoll: Epoll,
}

impl Readiness {
    /// Makes it, with nothing watched.
    pub(super) fn new() -> Result<Self, Errno> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll })
    }

    /// The descriptor that is readable while any event waits.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    /// Watches one of the device's own descriptors for reading, level-triggered.
    pub(super) fn watch_level(&self, fd: impl AsFd, token: Token) -> Result<(), Errno> {
        self.epoll
            .add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token.encode()))
    }

    /// Stops or goes on watching a descriptor given to [`Self::watch_level`].
    pub(super) fn pause(&self, fd: impl AsFd, token: Token, paused: bool) -> Result<(), Errno> {
        let flags = if paused {
            EpollFlags::empty()
        } else {
            EpollFlags::EPOLLIN
        };
        self.epoll
            .modify(fd, &mut EpollEvent::new(flags, token.encode()))
    }

    /// Starts to watch a stream socket, edge-triggered.
    pub(super) fn watch(
        &self,
        fd: impl AsFd,
        token: Token,
        interest: Interest,
    ) -> Result<(), Errno> {
        self.epoll.add(fd, edge(token, interest))
    }

    /// Changes the token or the interest of a socket given to [`Self::watch`]; what it is ready for
    /// at this moment is reported once more.
    pub(super) fn rewatch(
        &self,
        fd: impl AsFd,
        token: Token,
        interest: Interest,
    ) -> Result<(), Errno> {
        self.epoll.modify(fd, &mut edge(token, interest))
    }

    /// Takes the events that wait, without waiting for more.
    pub(super) fn poll(&self) -> Result<Vec<Ready>, Errno> {
        let mut events = [EpollEvent::empty(); MAX_EVENTS];
        let count = loop {
            match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
                Err(Errno::EINTR) => {}
                result => break result?,
            }
        };
        Ok(events[..count].iter().map(ready).collect())
    }
}

fn edge(token: Token, interest: Interest) -> EpollEvent {
    let mut flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
    if interest == Interest::ReadAndWrite {
        flags |= EpollFlags::EPOLLOUT;
    }
    EpollEvent::new(flags, token.encode())
}

fn ready(event: &EpollEvent) -> Ready {
    let flags = event.events();
    let hung_up = flags.contains(EpollFlags::EPOLLHUP);
    let ending = hung_up || flags.intersects(EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLERR);
    Ready {
        token: Token::decode(event.data()),
        readable: ending || flags.contains(EpollFlags::EPOLLIN),
        writable: flags.contains(EpollFlags::EPOLLOUT),
        ending,
        hung_up,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        let connection = Token::Connection(Ports {
            host: 0x4000_0001,
            guest: 1024,
        });
        let local = Token::Local(LocalId(7));

        assert_eq!(Token::decode(connection.encode()), connection);
        assert_eq!(Token::decode(local.encode()), local);
        assert_eq!(Token::decode(Token::Listener.encode()), Token::Listener);
        assert_eq!(Token::decode(Token::Timer.encode()), Token::Timer);
        let completions = Token::Completions;
        assert_eq!(Token::decode(completions.encode()), completions);
    }
}
