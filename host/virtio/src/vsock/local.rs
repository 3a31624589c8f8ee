//! Host sockets without a connection: clients that have not yet said where they want to go, and
//! remainders of connections that the guest has already forgotten.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use super::backlog::{Backlog, Flush};

/// How long a client may take to name a port after it connected: it is on the same machine and
/// writes four bytes.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a remainder waits for its reader to take the next bytes.
pub(super) const LINGER_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of the port number a client writes, little-endian.
const PORT_BYTES: usize = 4;

/// A host socket without a connection.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) kind: Kind,
    pub(super) deadline: Option<Instant>,
}

/// What the socket is there for.
#[derive(Debug)]
pub(super) enum Kind {
    /// A client that is about to name a port.
    Dial(Dial),
    /// Bytes of a finished connection that the reader has not taken yet.
    Remainder(Remainder),
}

/// A client in its handshake.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) socket: UnixStream,
    bytes: [u8; PORT_BYTES],
    filled: usize,
}

/// How far a client's handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Not all bytes are there.
    Waiting,
    /// The guest port the client wants.
    Port(u32),
    /// The client left.
    Gone,
}

impl Dial {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            bytes: [0; PORT_BYTES],
            filled: 0,
        }
    }

    /// Reads what is there of the port number, and not a byte beyond it.
    pub(super) fn advance(&mut self) -> Progress {
        while self.filled < PORT_BYTES {
            let rest = &mut self.bytes[self.filled..];
            match recv(self.socket.as_raw_fd(), rest, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return Progress::Gone,
                Ok(count) => self.filled += count,
                Err(Errno::EAGAIN) => return Progress::Waiting,
                Err(Errno::EINTR) => {}
                Err(_) => return Progress::Gone,
            }
        }
        Progress::Port(u32::from_le_bytes(self.bytes))
    }
}

/// The host's half of a finished connection.
#[derive(Debug)]
pub(super) struct Remainder {
    pub(super) socket: UnixStream,
    pub(super) backlog: Backlog,
}

impl Remainder {
    /// Writes what the socket takes; `true` where nothing is left to do.
    pub(super) fn advance(&mut self) -> bool {
        match self.backlog.flush(&self.socket).1 {
            Flush::Done | Flush::Refused => true,
            Flush::Blocked => false,
        }
    }
}

/// Closes a socket whose unread bytes nobody wants so that the peer reads end of file.
///
/// Closed as it is, a unix socket with unread bytes gives the peer `ECONNRESET` in place of the end
/// of file, though the guest ended properly.
pub(super) fn close_cleanly(socket: &UnixStream) {
    /// After `shutdown` the peer can add nothing, and what a socket holds is bounded by the peer's
    /// send buffer (208 KiB by default); a peer with a larger one sees `ECONNRESET`.
    const MAX_READS: usize = 64;
    const READ_BYTES: usize = 16 * 1024;
    // Fails only where the peer is gone, who then sees nothing either way.
    let _ = socket.shutdown(std::net::Shutdown::Both);
    let mut scratch = [0; READ_BYTES];
    for _ in 0..MAX_READS {
        match recv(socket.as_raw_fd(), &mut scratch, MsgFlags::MSG_DONTWAIT) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_port_may_come_byte_by_byte() {
        let (socket, mut client) = UnixStream::pair().unwrap();
        let mut dial = Dial::new(socket);

        client.write_all(&[0x34, 0x12]).unwrap();
        let early = dial.advance();
        client.write_all(&[0, 0, b'x']).unwrap();
        let late = dial.advance();

        assert_eq!(early, Progress::Waiting);
        assert_eq!(late, Progress::Port(0x1234));
    }

    #[test]
    fn a_client_may_leave_before_it_says_a_word() {
        let (socket, client) = UnixStream::pair().unwrap();
        let mut dial = Dial::new(socket);

        drop(client);

        assert_eq!(dial.advance(), Progress::Gone);
    }

    #[test]
    fn a_clean_close_reads_as_end_of_file() {
        let (socket, mut client) = UnixStream::pair().unwrap();
        client.write_all(b"never read").unwrap();

        close_cleanly(&socket);
        drop(socket);

        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    }
}
