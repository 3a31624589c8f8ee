//! What happens on the host's side: clients, services, sockets and deadlines.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use super::connection::{CONNECT_TIMEOUT, Connection, KNOCK_INTERVAL, Phase, Verdict};
use super::local::{Dial, HANDSHAKE_TIMEOUT, Kind, LINGER_TIMEOUT, Local, Progress};
use super::packet::ANY_PORT;
use super::readiness::{Interest, Ready, Token};
use super::table::{LocalId, Ports};
use super::{HostFailure, Vsock};

/// Clients taken from the listener in one call; the rest keep it readable.
const MAX_CLIENTS_PER_CALL: usize = 64;

/// How long clients wait when the process has no descriptors left.
const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(100);

/// How a service answered the guest's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knock {
    /// It is connected.
    Answered,
    /// Its backlog is full: a deadline is set to try again.
    Later,
    /// It is not there, or was busy for too long.
    Refused,
}

impl Vsock {
    /// Takes what the host's sockets, the timer and the listener have to say.
    pub(super) fn take_host_events(&mut self) -> Result<(), HostFailure> {
        let events = self
            .readiness
            .poll()
            .map_err(|errno| ("poll host sockets", errno))?;
        for event in events {
            match event.token {
                Token::Listener => self.accept_clients()?,
                Token::Timer => self.take_deadlines()?,
                // Has no descriptor.
                Token::Completions => {}
                Token::Local(id) => self.advance_local(id),
                Token::Connection(ports) => self.advance_connection(ports, event),
            }
        }
        Ok(())
    }

    /// Takes clients from the listener while there is room.
    fn accept_clients(&mut self) -> Result<(), HostFailure> {
        for _ in 0..MAX_CLIENTS_PER_CALL {
            if self.table.is_full() {
                return self.pause_listener(true);
            }
            match self.listener.accept() {
                Ok((socket, _)) => self.take_client(socket),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is_out_of_descriptors(&error) => {
                    let mut slot = None;
                    let token = Token::Listener;
                    self.deadlines.set(&mut slot, token, DESCRIPTOR_PAUSE);
                    return self.pause_listener(true);
                }
                // The client left between its connect and our accept.
                Err(_) => self.counters.failed_dial(),
            }
        }
        Ok(())
    }

    fn pause_listener(&mut self, paused: bool) -> Result<(), HostFailure> {
        self.listener_paused = paused;
        self.readiness
            .pause(&self.listener, Token::Listener, paused)
            .map_err(|errno| ("watch the dial socket", errno))
    }

    /// Watches the listener again once there is room.
    pub(super) fn admit_clients_again(&mut self) -> Result<(), HostFailure> {
        if self.listener_paused && !self.table.is_full() && !self.deadlines.has(Token::Listener) {
            return self.pause_listener(false);
        }
        Ok(())
    }

    /// A client connected: most have written their port already.
    fn take_client(&mut self, socket: UnixStream) {
        let mut dial = Dial::new(socket);
        let id = self.table.fresh_local_id();
        match dial.advance() {
            Progress::Gone => self.counters.failed_dial(),
            Progress::Port(port) => self.request(dial, port, false),
            Progress::Waiting => {
                let token = Token::Local(id);
                if self
                    .readiness
                    .watch(&dial.socket, token, Interest::Read)
                    .is_err()
                {
                    return self.counters.failed_dial();
                }
                let mut deadline = None;
                self.deadlines.set(&mut deadline, token, HANDSHAKE_TIMEOUT);
                let kind = Kind::Dial(dial);
                self.table.insert_local(id, Local { kind, deadline });
            }
        }
    }

    /// A client named its port: asks the guest.
    fn request(&mut self, dial: Dial, port: u32, watched: bool) {
        let socket = dial.socket;
        let ports = self.table.fresh_ports(port, &self.host_ports);
        let token = Token::Connection(ports);
        let watching = if watched {
            self.readiness.rewatch(&socket, token, Interest::Read)
        } else {
            self.readiness.watch(&socket, token, Interest::Read)
        };
        let mut connection = Connection::dialled(socket);
        if watching.is_err() || port == ANY_PORT {
            self.counters.failed_dial();
            // Fails only where the client is gone and needs no telling.
            let _ = connection.tell_client(super::connection::STATUS_REFUSED);
            return;
        }
        let deadline = &mut connection.deadline;
        self.deadlines.set(deadline, token, CONNECT_TIMEOUT);
        self.table.insert(ports, connection);
        self.settle(ports);
    }

    /// A client in its handshake, or a remainder, can go on.
    fn advance_local(&mut self, id: LocalId) {
        let Some(local) = self.table.local_mut(id) else {
            return;
        };
        let done = match &mut local.kind {
            Kind::Dial(dial) => dial.advance() != Progress::Waiting,
            Kind::Remainder(remainder) => remainder.advance(),
        };
        let token = Token::Local(id);
        if !done {
            if matches!(local.kind, Kind::Remainder(_)) {
                // The reader lives: it has taken some.
                self.deadlines
                    .set(&mut local.deadline, token, LINGER_TIMEOUT);
            }
            return;
        }
        self.deadlines.clear(&mut local.deadline, token);
        let Some(Local { kind, .. }) = self.table.remove_local(id) else {
            return;
        };
        match kind {
            Kind::Remainder(remainder) => super::local::close_cleanly(&remainder.socket),
            Kind::Dial(mut dial) => match dial.advance() {
                Progress::Port(port) => self.request(dial, port, true),
                Progress::Gone | Progress::Waiting => self.counters.failed_dial(),
            },
        }
    }

    /// Something happened to a connection's socket.
    fn advance_connection(&mut self, ports: Ports, event: Ready) {
        let Some(connection) = self.table.get_mut(ports) else {
            return;
        };
        if event.readable {
            connection.becomes_readable(event.ending, event.hung_up);
        }
        if event.writable || event.hung_up {
            connection.becomes_writable();
        }
        self.give_verdict(ports, Verdict::Keep);
    }

    /// Acts on the deadlines that have come.
    fn take_deadlines(&mut self) -> Result<(), HostFailure> {
        let due = self
            .deadlines
            .expired()
            .map_err(|errno| ("read the timer", errno))?;
        for token in due {
            match token {
                Token::Connection(ports) => self.connection_is_due(ports),
                Token::Local(id) => self.local_is_due(id),
                Token::Completions => {
                    self.completions.deadline = None;
                    self.completions.overdue = true;
                }
                // A pause of the listener is over: noticed at the end of the call.
                Token::Listener | Token::Timer => {}
            }
        }
        Ok(())
    }

    /// A client, or the reader of a remainder, took too long.
    fn local_is_due(&mut self, id: LocalId) {
        if let Some(Kind::Dial(_)) = self.table.remove_local(id).map(|local| local.kind) {
            self.counters.failed_dial();
        }
    }

    /// The guest or a service took too long.
    fn connection_is_due(&mut self, ports: Ports) {
        let Some(connection) = self.table.get_mut(ports) else {
            return;
        };
        connection.deadline = None;
        if !matches!(connection.phase, Phase::Knocking(_)) {
            return self.abort(ports);
        }
        match self.knock(ports) {
            Knock::Answered => self.settle(ports),
            Knock::Later => {}
            Knock::Refused => {
                self.counters.refused_request("host service too busy");
                self.abort(ports);
            }
        }
    }

    /// Tries to connect the guest's request to its service.
    pub(super) fn knock(&mut self, ports: Ports) -> Knock {
        let Some(connection) = self.table.get_mut(ports) else {
            return Knock::Refused;
        };
        let Some(path) = self.host_ports.get(&ports.host) else {
            return Knock::Refused;
        };
        let token = Token::Connection(ports);
        match (connect_to(path), connection.phase) {
            (Ok(socket), _) => {
                let watched = self.readiness.watch(&socket, token, Interest::Read);
                connection.connected(socket);
                if watched.is_err() {
                    return Knock::Refused;
                }
                self.settle(ports);
                Knock::Answered
            }
            (Err(Errno::EAGAIN), Phase::Knocking(left)) if left > 0 => {
                connection.phase = Phase::Knocking(left - 1);
                let deadline = &mut connection.deadline;
                self.deadlines.set(deadline, token, KNOCK_INTERVAL);
                Knock::Later
            }
            (Err(_), _) => Knock::Refused,
        }
    }
}

/// Connects to a unix socket without waiting: `EAGAIN` where its backlog is full.
fn connect_to(path: &Path) -> Result<UnixStream, Errno> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let descriptor = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(descriptor.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(UnixStream::from(descriptor))
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM)
    )
}
