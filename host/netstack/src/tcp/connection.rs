//! An open connection: smoltcp's socket towards the guest, the host's own towards the world, and
//! what is carried between them.
//!
//! ```text
//!            guest FIN, all written          host EOF, all read
//!   Both ───────────────────────► shutdown   ──────────────────► close (FIN)
//!            either side resets: the other side is reset too
//! ```
//! Bytes are read from the host straight into smoltcp's send buffer and written to the host
//! straight from its receive buffer. A full buffer on one side closes the window of the other.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, sockopt};
use smoltcp::socket::tcp::State;

use super::buffers::Endpoint;
use crate::epoll::Readiness;
use crate::limits::{HALF_CLOSED_KEEP_ALIVE, TCP_UNANSWERED_TIMEOUT};
use crate::timers;

pub(super) struct Connection {
    pub(super) endpoint: Endpoint,
    host: OwnedFd,
    readable: bool,
    writable: bool,
    hangup: bool,
    /// The guest has closed its half; what it sent before may still wait for the host.
    guest_closed: bool,
    /// The host's socket knows that too: nothing of the guest is left to write.
    guest_finished: bool,
    /// The host's peer has closed its half, and smoltcp's socket knows.
    host_finished: bool,
}

impl Connection {
    pub(super) fn new(endpoint: Endpoint, host: OwnedFd) -> Self {
        Self {
            endpoint,
            host,
            // Nobody has asked yet; the first attempt finds out.
            readable: true,
            writable: true,
            hangup: false,
            guest_closed: false,
            guest_finished: false,
            host_finished: false,
        }
    }

    pub(super) fn note(&mut self, readiness: Readiness) {
        self.readable |= readiness.readable;
        self.writable |= readiness.writable;
        self.hangup |= readiness.hangup;
    }

    /// Carries what can be carried, both ways. A failure of the host's socket becomes a reset.
    pub(super) fn carry(&mut self) {
        if let Err(error) = self.carry_to_host().and_then(|()| self.carry_to_guest()) {
            tracing::debug!(%error, "the host side reset a connection");
            self.endpoint.socket().abort();
        }
    }

    fn carry_to_host(&mut self) -> Result<(), Errno> {
        let socket = self.endpoint.socket();
        while self.writable && socket.can_recv() {
            let host = &self.host;
            let sent = socket.recv(|data| {
                let sent = rustix::net::send(host, data, SendFlags::NOSIGNAL);
                (
                    *sent.as_ref().unwrap_or(&0),
                    sent.map(|sent| sent == data.len()),
                )
            });
            match sent {
                Ok(Ok(all)) => self.writable = all,
                Ok(Err(Errno::AGAIN)) => self.writable = false,
                Ok(Err(Errno::INTR)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => break,
            }
        }
        self.guest_closed |= has_finished(socket.state());
        if self.guest_closed && !self.guest_finished && !socket.can_recv() {
            self.guest_finished = true;
            socket.set_keep_alive(Some(timers::duration(HALF_CLOSED_KEEP_ALIVE)));
            socket.set_timeout(Some(timers::duration(TCP_UNANSWERED_TIMEOUT)));
            match rustix::net::shutdown(&self.host, Shutdown::Write) {
                // Its peer has reset it; reading says so.
                Ok(()) | Err(Errno::NOTCONN) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn carry_to_guest(&mut self) -> Result<(), Errno> {
        let socket = self.endpoint.socket();
        while self.readable && !self.host_finished && socket.can_send() {
            let host = &self.host;
            let received = socket.send(|room| {
                let length = room.len();
                let received = rustix::net::recv(host, room, RecvFlags::empty());
                let received = received.map(|(received, _)| received);
                (
                    *received.as_ref().unwrap_or(&0),
                    received.map(|received| (received, length)),
                )
            });
            match received {
                Ok(Ok((0, _))) => {
                    self.host_finished = true;
                    socket.close();
                }
                // Less than there was room for means that there is no more, unless the end is
                // near: its edge has been, and is not told again.
                Ok(Ok((received, length))) => self.readable = received == length || self.hangup,
                Ok(Err(Errno::AGAIN)) => self.readable = false,
                Ok(Err(Errno::INTR)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Whether nothing is left to do once all packets are out. Bytes that the guest sent before
    /// its FIN are still owed to the host; after a reset nothing is.
    pub(super) fn is_over(&mut self) -> bool {
        match self.endpoint.socket().state() {
            State::Closed | State::TimeWait => self.guest_finished || !self.guest_closed,
            _ => false,
        }
    }

    /// Ends the host's side as the guest ended its own, and gives the buffers back. `true` if that
    /// was by a reset.
    pub(super) fn finish(self) -> (Endpoint, bool) {
        let orderly = self.guest_finished && self.host_finished;
        if !orderly {
            // Closing with no time to linger sends a reset. The socket is closed either way.
            let _ = sockopt::set_socket_linger(&self.host, Some(Duration::ZERO));
        }
        (self.endpoint, !orderly)
    }
}

/// Whether the guest has sent its FIN.
fn has_finished(state: State) -> bool {
    matches!(
        state,
        State::CloseWait | State::LastAck | State::Closing | State::TimeWait
    )
}
