//! Questions that go to a nameserver of the host, as they came, and answers that come back.
//!
//! Each question has a socket of its own, so its port is the kernel's random choice, and is asked
//! of one server after the other until one answers. What came by TCP is asked by TCP: that is how
//! a guest gets what was cut off in a datagram.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketType};
use smoltcp::time::Instant;

use super::message::{self, Query, ResponseCode};
use super::nameservers::Nameservers;
use super::{Answer, Asker};
use crate::core::Core;
use crate::dial;
use crate::epoll::{Readiness, Token};
use crate::limits::{DNS_SERVER_TIMEOUT, MAX_DNS_QUERIES};
use crate::table::{Table, Ticket};
use crate::timers;

/// Bytes of the length before a message on a connection.
pub(super) const LENGTH_BYTES: usize = 2;

/// One question that waits.
struct Pending {
    asker: Asker,
    message: Vec<u8>,
    /// How much of the message is header and question.
    head_bytes: usize,
    /// Whom to ask next.
    servers: VecDeque<SocketAddr>,
    /// Who is being asked, and how.
    server: SocketAddr,
    line: Line,
    deadline: Instant,
}

/// How a nameserver is asked.
enum Line {
    Datagram(OwnedFd),
    /// What is still to be sent, and what has come, both with the length before the message.
    Stream {
        socket: OwnedFd,
        unsent: Vec<u8>,
        received: Vec<u8>,
    },
}

/// What became of one attempt.
enum Progress {
    Waiting,
    Answered(Vec<u8>),
    Failed,
}

pub(super) struct Forwarder {
    nameservers: Nameservers,
    pending: Table<u64, Pending>,
    next_serial: u64,
    buffer: Vec<u8>,
}

impl Forwarder {
    pub(super) fn new(resolv_conf: PathBuf) -> Self {
        Self {
            nameservers: Nameservers::new(resolv_conf),
            pending: Table::new(MAX_DNS_QUERIES),
            next_serial: 0,
            buffer: vec![0; message::MAX_STREAM_BYTES],
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.len() == 0
    }

    /// Asks the first server that can be asked; `false` if there is none or too much is asked.
    pub(super) fn forward(&mut self, core: &mut Core, asker: Asker, query: &Query<'_>) -> bool {
        if self.pending.is_full() {
            return false;
        }
        let mut servers = VecDeque::from(self.nameservers.in_order());
        let by_stream = matches!(asker, Asker::Stream { .. });
        let Some((server, line)) = first_line(&mut servers, by_stream, query.message) else {
            return false;
        };
        let pending = Pending {
            asker,
            message: query.message.to_vec(),
            head_bytes: query.head.len(),
            servers,
            server,
            line,
            deadline: core.now + timers::duration(DNS_SERVER_TIMEOUT),
        };
        self.next_serial += 1;
        let Some(ticket) = self.pending.insert(self.next_serial, pending) else {
            return false;
        };
        core.counters.dns_forwarded += 1;
        self.watch(core, ticket)
    }

    fn watch(&mut self, core: &Core, ticket: Ticket) -> bool {
        let Some(pending) = self.pending.get_mut(ticket) else {
            return false;
        };
        let watched = core
            .epoll
            .add_socket(pending.line.socket().as_fd(), Token::Dns(ticket));
        if watched.is_err() {
            self.pending.remove(ticket);
        }
        watched.is_ok()
    }

    /// The socket of a question is ready; the answer, if that is it.
    pub(super) fn ready(
        &mut self,
        core: &mut Core,
        ticket: Ticket,
        readiness: Readiness,
    ) -> Option<Answer> {
        let pending = self.pending.get_mut(ticket)?;
        let head = &pending.message[..pending.head_bytes];
        match pending.line.advance(head, readiness, &mut self.buffer) {
            Progress::Waiting => None,
            Progress::Answered(message) => {
                self.nameservers.prefer(pending.server);
                let (_, pending) = self.pending.remove(ticket)?;
                Some(Answer {
                    asker: pending.asker,
                    message,
                })
            }
            Progress::Failed => self.ask_next(core, ticket),
        }
    }

    /// Asks the next server; the failure, if there is none.
    fn ask_next(&mut self, core: &mut Core, ticket: Ticket) -> Option<Answer> {
        let pending = self.pending.get_mut(ticket)?;
        let by_stream = matches!(pending.line, Line::Stream { .. });
        let next = first_line(&mut pending.servers, by_stream, &pending.message);
        if let Some((server, line)) = next {
            pending.server = server;
            pending.line = line;
            pending.deadline = core.now + timers::duration(DNS_SERVER_TIMEOUT);
            self.watch(core, ticket);
            return None;
        }
        core.counters.dns_failed += 1;
        let (_, pending) = self.pending.remove(ticket)?;
        let head = &pending.message[..pending.head_bytes];
        let message = message::failure(head, ResponseCode::ServerFailure);
        Some(Answer {
            asker: pending.asker,
            message,
        })
    }

    /// Goes on with questions whose server took too long.
    pub(super) fn sweep(&mut self, core: &mut Core) -> Vec<Answer> {
        let late = self
            .pending
            .select(|_, pending| pending.deadline <= core.now);
        late.into_iter()
            .filter_map(|ticket| self.ask_next(core, ticket))
            .collect()
    }

    pub(super) fn reset(&mut self) {
        self.pending.remove_where(|_, _| true);
    }
}

/// Begins to ask the first of `servers` that can be asked.
fn first_line(
    servers: &mut VecDeque<SocketAddr>,
    by_stream: bool,
    message: &[u8],
) -> Option<(SocketAddr, Line)> {
    while let Some(server) = servers.pop_front() {
        match Line::begin(server, by_stream, message) {
            Ok(line) => return Some((server, line)),
            Err(error) => tracing::debug!(%server, %error, "cannot ask a nameserver"),
        }
    }
    None
}

impl Line {
    fn begin(server: SocketAddr, by_stream: bool, message: &[u8]) -> Result<Self, Errno> {
        if by_stream {
            let socket = dial::socket(server, SocketType::STREAM)?;
            match rustix::net::connect(&socket, &server) {
                Ok(()) | Err(Errno::INPROGRESS) => {}
                Err(error) => return Err(error),
            }
            let (unsent, received) = (with_length(message), Vec::new());
            return Ok(Self::Stream {
                socket,
                unsent,
                received,
            });
        }
        let socket = dial::socket(server, SocketType::DGRAM)?;
        rustix::net::connect(&socket, &server)?;
        rustix::net::send(&socket, message, SendFlags::NOSIGNAL)?;
        Ok(Self::Datagram(socket))
    }

    fn socket(&self) -> &OwnedFd {
        match self {
            Self::Datagram(socket) | Self::Stream { socket, .. } => socket,
        }
    }

    fn advance(&mut self, head: &[u8], readiness: Readiness, buffer: &mut [u8]) -> Progress {
        match self {
            Self::Datagram(socket) => receive_datagram(socket, head, buffer),
            Self::Stream {
                socket,
                unsent,
                received,
            } => {
                if readiness.writable && send_rest(socket, unsent).is_err() {
                    return Progress::Failed;
                }
                receive_stream(socket, received, head, buffer)
            }
        }
    }
}

fn receive_datagram(socket: &OwnedFd, head: &[u8], buffer: &mut [u8]) -> Progress {
    loop {
        match rustix::net::recv(socket, &mut *buffer, RecvFlags::empty()) {
            Ok((_, length)) if message::is_answer(head, &buffer[..length]) => {
                return Progress::Answered(buffer[..length].to_vec());
            }
            // Somebody guessed our port, or an answer came twice.
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Progress::Waiting,
            Err(_) => return Progress::Failed,
        }
    }
}

/// Sends what the socket takes.
fn send_rest(socket: &OwnedFd, unsent: &mut Vec<u8>) -> Result<(), Errno> {
    while !unsent.is_empty() {
        match rustix::net::send(socket, unsent, SendFlags::NOSIGNAL) {
            Ok(sent) => drop(unsent.drain(..sent)),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn receive_stream(
    socket: &OwnedFd,
    received: &mut Vec<u8>,
    head: &[u8],
    buffer: &mut [u8],
) -> Progress {
    loop {
        match rustix::net::recv(socket, &mut *buffer, RecvFlags::empty()) {
            Ok((_, 0)) => return Progress::Failed,
            Ok((_, length)) => received.extend_from_slice(&buffer[..length]),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Progress::Waiting,
            Err(_) => return Progress::Failed,
        }
        if let Some(message) = split_message(received) {
            return match message::is_answer(head, &message) {
                true => Progress::Answered(message),
                false => Progress::Failed,
            };
        }
    }
}

/// A message as it is written on a connection.
pub(super) fn with_length(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), message].concat()
}

/// Takes the first whole message from what a connection brought.
pub(super) fn split_message(received: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = received
        .first_chunk::<LENGTH_BYTES>()
        .copied()
        .map(u16::from_be_bytes)?;
    let end = LENGTH_BYTES + usize::from(length);
    let message = received.get(LENGTH_BYTES..end)?.to_vec();
    received.drain(..end);
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_split_where_their_lengths_say() {
        let mut received = [with_length(b"one"), with_length(b"two"), vec![0, 9, 1]].concat();

        assert_eq!(split_message(&mut received).unwrap(), b"one");
        assert_eq!(split_message(&mut received).unwrap(), b"two");
        assert_eq!(split_message(&mut received), None);
    }
}
