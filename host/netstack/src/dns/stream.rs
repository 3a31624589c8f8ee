//! DNS over a guest's TCP connection.
//!
//! The connection is carried like any other. Its host side is one end of a socket pair, and the
//! other end is here: a small server with pipelined questions and answers in any order.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use smoltcp::time::Instant;

use super::forward::{split_message, with_length};
use crate::core::Core;
use crate::epoll::{Readiness, Token};
use crate::limits::{DNS_STREAM_IDLE_TIMEOUT, MAX_DNS_PIPELINE, MAX_DNS_STREAMS};
use crate::table::{Table, Ticket};
use crate::timers;

/// How much is read at once; a question is far shorter.
const READ_BYTES: usize = 4_096;

struct Stream {
    vlan: u16,
    socket: OwnedFd,
    received: Vec<u8>,
    unsent: Vec<u8>,
    /// Questions without an answer.
    open_questions: usize,
    readable: bool,
    /// The guest asks no more.
    finished: bool,
    last_used: Instant,
}

pub(super) struct Streams {
    streams: Table<u64, Stream>,
    next_serial: u64,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self {
            streams: Table::new(MAX_DNS_STREAMS),
            next_serial: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.streams.len() == 0
    }

    /// A new connection of a guest in `vlan`; the end to carry its bytes to.
    pub(super) fn open(&mut self, core: &mut Core, vlan: u16) -> io::Result<OwnedFd> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
        let (ours, theirs) = rustix::net::socketpair(family, kind, flags, None)?;
        let stream = Stream {
            vlan,
            socket: ours,
            received: Vec::new(),
            unsent: Vec::new(),
            open_questions: 0,
            readable: true,
            finished: false,
            last_used: core.now,
        };
        self.next_serial += 1;
        let ticket = self
            .streams
            .insert(self.next_serial, stream)
            .ok_or(Errno::CONNREFUSED)?;
        if let Some(stream) = self.streams.get_mut(ticket) {
            let watched = core
                .epoll
                .add_socket(stream.socket.as_fd(), Token::DnsStream(ticket));
            if let Err(error) = watched {
                self.streams.remove(ticket);
                return Err(error);
            }
        }
        Ok(theirs)
    }

    pub(super) fn note(&mut self, ticket: Ticket, readiness: Readiness) {
        if let Some(stream) = self.streams.get_mut(ticket) {
            stream.readable |= readiness.readable;
            stream.flush();
        }
    }

    /// The next question of a connection that may ask one more.
    pub(super) fn next_question(&mut self, core: &Core, ticket: Ticket) -> Option<(u16, Vec<u8>)> {
        let stream = self.streams.get_mut(ticket)?;
        let question = stream.next_question();
        if let Some(question) = question {
            stream.last_used = core.now;
            stream.open_questions += 1;
            return Some((stream.vlan, question));
        }
        if stream.is_over() {
            self.streams.remove(ticket);
        }
        None
    }

    pub(super) fn answer(&mut self, ticket: Ticket, message: &[u8]) {
        let Some(stream) = self.streams.get_mut(ticket) else {
            return;
        };
        stream.open_questions = stream.open_questions.saturating_sub(1);
        stream.unsent.extend_from_slice(&with_length(message));
        stream.flush();
        if stream.is_over() {
            self.streams.remove(ticket);
        }
    }

    /// Connections that may have questions left: those that had asked as many as they may were
    /// left unread, and their edge has been.
    pub(super) fn unread(&self) -> Vec<Ticket> {
        self.streams
            .select(|_, stream| stream.readable || !stream.received.is_empty())
    }

    pub(super) fn sweep(&mut self, core: &Core) {
        let limit = timers::duration(DNS_STREAM_IDLE_TIMEOUT);
        self.streams
            .remove_where(|_, stream| stream.last_used + limit <= core.now);
    }

    pub(super) fn reset(&mut self) {
        self.streams.remove_where(|_, _| true);
    }
}

impl Stream {
    fn next_question(&mut self) -> Option<Vec<u8>> {
        if self.open_questions >= MAX_DNS_PIPELINE || !self.unsent.is_empty() {
            return None;
        }
        loop {
            if let Some(message) = split_message(&mut self.received) {
                return Some(message);
            }
            if !self.readable {
                return None;
            }
            self.read();
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; READ_BYTES];
        match rustix::net::recv(&self.socket, &mut buffer, RecvFlags::empty()) {
            Ok((_, 0)) => (self.readable, self.finished) = (false, true),
            Ok((_, length)) => self.received.extend_from_slice(&buffer[..length]),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => self.readable = false,
            Err(_) => (self.readable, self.finished) = (false, true),
        }
    }

    /// Sends what the pair takes; an edge tells when it takes more.
    fn flush(&mut self) {
        while !self.unsent.is_empty() {
            match rustix::net::send(&self.socket, &self.unsent, SendFlags::NOSIGNAL) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.finished = true;
                    self.unsent.clear();
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        self.finished && self.open_questions == 0 && self.unsent.is_empty()
    }
}
