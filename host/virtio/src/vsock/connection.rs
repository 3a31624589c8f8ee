//! One stream between a guest socket and a host socket, and the states it goes through.
//!
//! ```text
//!  client dials ─→ Requested ──RESPONSE──┐
//!                                        ├─→ Open ──both directions over──→ Closing ──RST──→ gone
//!  guest REQUEST ─→ Knocking ──connected─┘     └──guest closed (SHUTDOWN both), RST──────────→ gone
//! ```
//!
//! A connection never touches a queue: [`Connection::next_packet`] says what it wants to send, the
//! device asks when there is a guest buffer for it, and [`Connection::sent`] is told.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use vm_memory::VolatileSlice;

use super::backlog::{Backlog, Flush, send_now};
use super::credit::{RECEIVE_BUFFER_BYTES, ReceiveCredit, SendCredit};
use super::guest_slices;
use super::packet::{
    HOST_CID, Header, Operation, SHUTDOWN_BOTH, SHUTDOWN_RECEIVE, SHUTDOWN_SEND, TYPE_STREAM,
};
use super::table::Ports;

/// How long the guest may take to answer a request: its kernel answers, not its programs, but an
/// emulated or overcommitted guest may stand still for a while.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the guest may take to reset a connection that is over in both directions. Linux itself
/// waits 8 s (`VSOCK_CLOSE_TIMEOUT`).
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a host service whose backlog is full is tried again, and how many times: unix sockets
/// do not tell when there is room.
pub(super) const KNOCK_INTERVAL: Duration = Duration::from_millis(5);

/// See [`KNOCK_INTERVAL`].
pub(super) const MAX_KNOCKS: u32 = 400;

/// Guest buffers one read may fill: a quarter of the largest queue, so that streams take turns.
pub(super) const MAX_BATCH_BUFFERS: usize = 32;

/// What a client reads once its connection is up.
pub(super) const STATUS_CONNECTED: u8 = 0;

/// What a client reads when the guest refused it, or did not answer.
pub(super) const STATUS_REFUSED: u8 = 1;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A client waits for the guest to answer our request.
    Requested,
    /// The guest waits until a host service with a full backlog takes it; this many tries are left.
    Knocking(u32),
    /// Bytes flow, in both directions or still in one.
    Open,
    /// Over in both directions; the guest is to confirm with a reset.
    Closing,
}

/// What is to happen to a connection after a packet or an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It lives on.
    Keep,
    /// The guest broke the rules: reset it and close the host's socket.
    Abort(&'static str),
    /// The host's socket failed: the same, and nobody's fault.
    Break,
    /// The guest closed: confirm with a reset, deliver what is left.
    Finish,
    /// The guest reset it: deliver what is left.
    Forget,
}

/// A packet a connection wants to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    /// One without payload.
    Control {
        /// What it asks for.
        operation: Operation,
        /// Its flags.
        flags: u32,
    },
    /// Payload, to be read from the host's socket.
    Payload,
}

/// What a read from the host's socket brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// The socket failed.
    Broken,
}

/// One stream.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) phase: Phase,
    /// The host's end; none before it is connected and after it is closed.
    pub(super) socket: Option<UnixStream>,
    pub(super) send: SendCredit,
    receive: ReceiveCredit,
    pub(super) backlog: Backlog,
    /// The guest was told all of what [`Phase`] and the next flag call for.
    greeted: bool,
    owes_credit_update: bool,
    /// The guest said it sends no more.
    guest_finished: bool,
    /// The guest said it receives no more.
    guest_deaf: bool,
    /// The host's peer sent its last byte, and it was read.
    host_finished: bool,
    /// The host's peer takes nothing any more.
    host_deaf: bool,
    /// Shutdown flags the guest was sent.
    announced: u32,
    /// Reading the socket may bring something.
    readable: bool,
    /// The end of file is under way: read on until it comes.
    ending: bool,
    /// The host's peer is gone in both directions.
    hung_up: bool,
    /// The socket is watched for room to write.
    pub(super) watches_writes: bool,
    /// Waits in the table's order.
    pub(super) scheduled: bool,
    /// Guest buffers the next read is given: doubles while reads fill them.
    pub(super) batch: usize,
    pub(super) deadline: Option<Instant>,
}

impl Connection {
    fn new(phase: Phase, socket: Option<UnixStream>) -> Self {
        Self {
            phase,
            socket,
            send: SendCredit::default(),
            receive: ReceiveCredit::default(),
            backlog: Backlog::default(),
            greeted: false,
            owes_credit_update: false,
            guest_finished: false,
            guest_deaf: false,
            host_finished: false,
            host_deaf: false,
            announced: 0,
            readable: false,
            ending: false,
            hung_up: false,
            watches_writes: false,
            scheduled: false,
            batch: 1,
            deadline: None,
        }
    }

    /// A client's, to be requested of the guest.
    pub(super) fn dialled(socket: UnixStream) -> Self {
        Self::new(Phase::Requested, Some(socket))
    }

    /// The guest's, whose host service is yet to be reached.
    pub(super) fn asked(request: &Header) -> Self {
        let mut connection = Self::new(Phase::Knocking(MAX_KNOCKS), None);
        connection.take_credit(request);
        connection
    }

    /// The host service took the guest's connection.
    pub(super) fn connected(&mut self, socket: UnixStream) {
        self.phase = Phase::Open;
        self.socket = Some(socket);
    }

    /// Takes the credit fields of a packet from the guest.
    pub(super) fn take_credit(&mut self, header: &Header) {
        self.send.update(header.buffer_bytes, header.forwarded);
    }

    /// What the connection wants to send first, if anything.
    pub(super) fn next_packet(&self) -> Option<Outgoing> {
        let control = |operation| {
            Some(Outgoing::Control {
                operation,
                flags: 0,
            })
        };
        match self.phase {
            Phase::Knocking(_) => return None,
            Phase::Requested if self.greeted => return None,
            Phase::Requested => return control(Operation::Request),
            Phase::Open if !self.greeted => return control(Operation::Response),
            Phase::Open | Phase::Closing => {}
        }
        let flags = self.shutdown_flags();
        if flags & !self.announced != 0 {
            let operation = Operation::Shutdown;
            return Some(Outgoing::Control { operation, flags });
        }
        if self.may_read() && self.send.has_room() {
            return Some(Outgoing::Payload);
        }
        if self.owes_credit_update || self.receive.update_is_due() {
            return control(Operation::CreditUpdate);
        }
        None
    }

    /// The header of a packet of this connection; the credit in it counts as told.
    pub(super) fn header(&mut self, cid: u64, ports: Ports, outgoing: (Operation, u32)) -> Header {
        let (operation, flags) = outgoing;
        Header {
            source_cid: HOST_CID,
            destination_cid: cid,
            source_port: ports.host,
            destination_port: ports.guest,
            length: 0,
            socket_type: TYPE_STREAM,
            operation: operation as u16,
            flags,
            buffer_bytes: RECEIVE_BUFFER_BYTES,
            forwarded: self.receive.announce(),
        }
    }

    /// A packet without payload went out.
    pub(super) fn sent(&mut self, operation: Operation, flags: u32) {
        self.owes_credit_update = false;
        match operation {
            Operation::Request | Operation::Response => self.greeted = true,
            Operation::Shutdown => self.announced |= flags,
            Operation::Reset
            | Operation::ReadWrite
            | Operation::CreditUpdate
            | Operation::CreditRequest => {}
        }
    }

    /// The guest accepted our request: tells the client.
    pub(super) fn answered(&mut self) -> Verdict {
        if self.phase != Phase::Requested || !self.greeted {
            return Verdict::Abort("response to no request");
        }
        if !self.tell_client(STATUS_CONNECTED) {
            return Verdict::Break;
        }
        self.phase = Phase::Open;
        Verdict::Keep
    }

    /// Writes the status byte of the dial handshake; `false` where the client is gone.
    pub(super) fn tell_client(&self, status: u8) -> bool {
        self.socket
            .as_ref()
            .is_some_and(|socket| send_now(socket, &[status]) == Ok(1))
    }

    /// The guest asked what it may send.
    pub(super) fn credit_requested(&mut self) {
        self.owes_credit_update = true;
    }

    /// The guest ends a direction or both.
    pub(super) fn guest_shuts_down(&mut self, flags: u32) -> Verdict {
        if !matches!(self.phase, Phase::Open | Phase::Closing) {
            return Verdict::Abort("shutdown of a connection not open");
        }
        if flags & SHUTDOWN_RECEIVE != 0 && !self.guest_deaf {
            self.guest_deaf = true;
            self.host_finished = true;
            self.shut_socket(Shutdown::Read);
        }
        if flags & SHUTDOWN_SEND != 0 && !self.guest_finished {
            self.guest_finished = true;
            if self.backlog.is_empty() {
                self.shut_socket(Shutdown::Write);
            }
        }
        if self.guest_finished && self.guest_deaf {
            return Verdict::Finish;
        }
        Verdict::Keep
    }

    /// The guest sent `length` bytes, all of `payload`.
    pub(super) fn deliver(&mut self, payload: &[VolatileSlice<'_>], length: u32) -> Verdict {
        if self.guest_finished || !matches!(self.phase, Phase::Open | Phase::Closing) {
            return Verdict::Abort("payload outside an open connection");
        }
        if !self.receive.receive(length) {
            return Verdict::Abort("payload beyond the credit given");
        }
        let length = guest_slices::total(payload);
        let mut taken = 0;
        if let (Some(socket), false) = (&self.socket, self.host_deaf) {
            if self.backlog.is_empty() {
                match guest_slices::send(socket.as_fd(), payload, length) {
                    Ok(count) => taken = count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => self.host_deaf = true,
                }
            }
        } else {
            self.host_deaf = true;
        }
        if self.host_deaf {
            taken = length;
        }
        self.receive.forward(taken);
        let backlog = &mut self.backlog;
        match guest_slices::copy_range(payload, taken, length, |piece| backlog.push(piece)) {
            Ok(()) => Verdict::Keep,
            Err(_) => Verdict::Abort("payload cannot be read"),
        }
    }

    /// The host's socket may be read.
    pub(super) fn becomes_readable(&mut self, ending: bool, hung_up: bool) {
        self.readable = true;
        self.ending |= ending;
        self.hung_up |= hung_up;
    }

    /// The host's socket may have room: writes what waits.
    pub(super) fn becomes_writable(&mut self) {
        let Some(socket) = &self.socket else { return };
        let (gone, flush) = self.backlog.flush(socket);
        self.receive.forward(gone);
        self.host_deaf |= flush == Flush::Refused;
        if self.backlog.is_empty() && self.guest_finished {
            self.shut_socket(Shutdown::Write);
        }
    }

    /// Reads from the host's socket into guest memory, at most `limit` bytes.
    pub(super) fn read(&mut self, slices: &[VolatileSlice<'_>], limit: usize) -> Reading {
        let Some(socket) = &self.socket else {
            self.readable = false;
            return Reading::Nothing;
        };
        match guest_slices::receive(socket.as_fd(), slices, limit) {
            Ok(0) => {
                self.readable = false;
                self.host_finished = true;
                self.host_deaf |= self.hung_up;
                Reading::Nothing
            }
            Ok(count) => {
                // Less than asked for means empty, and new bytes raise a new event; only an end
                // of file already reported would not.
                self.readable = count == limit || self.ending;
                Reading::Bytes(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Reading::Nothing
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Reading::Nothing,
            Err(_) => Reading::Broken,
        }
    }

    /// Whether bytes wait for room in the host's socket.
    pub(super) fn is_blocked(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Whether nothing can flow any more though the guest has not closed.
    pub(super) fn is_over(&self) -> bool {
        let guest_to_host = self.host_deaf || (self.guest_finished && self.backlog.is_empty());
        self.phase == Phase::Open && self.greeted && self.host_finished && guest_to_host
    }

    /// Closes the host's end; the guest is told, and its reset awaited.
    pub(super) fn close(&mut self) -> Option<UnixStream> {
        self.phase = Phase::Closing;
        self.host_deaf = true;
        self.receive.forward(self.backlog.discard());
        self.socket.take()
    }

    fn may_read(&self) -> bool {
        self.readable && !self.host_finished && self.socket.is_some()
    }

    /// What the guest should know of the host's directions by now.
    fn shutdown_flags(&self) -> u32 {
        if self.phase == Phase::Closing {
            return SHUTDOWN_BOTH;
        }
        // Once the guest receives no more, our sending no more is no news.
        let finished = self.host_finished && !self.guest_deaf;
        let send = if finished { SHUTDOWN_SEND } else { 0 };
        let receive = if self.host_deaf { SHUTDOWN_RECEIVE } else { 0 };
        send | receive
    }

    fn shut_socket(&self, direction: Shutdown) {
        if let Some(socket) = &self.socket {
            // Fails only where the peer is gone, which an event tells.
            let _ = socket.shutdown(direction);
        }
    }
}
