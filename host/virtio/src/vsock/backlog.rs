//! Bytes the guest sent that the host socket would not take yet.

use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};

/// How far a flush came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flush {
    /// Everything is in the socket.
    Done,
    /// The socket is full.
    Blocked,
    /// The socket takes nothing any more; the rest was thrown away.
    Refused,
}

/// Bytes on their way to a host socket; bounded by the credit given to the guest.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: VecDeque<u8>,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Appends bytes that come after all those held.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// Throws everything away and returns how much that was.
    pub(super) fn discard(&mut self) -> usize {
        // Replaced, not cleared: the memory of a stalled connection goes back at once.
        std::mem::take(&mut self.bytes).len()
    }

    /// Writes what the socket takes, and returns how many bytes left the backlog.
    pub(super) fn flush(&mut self, socket: &UnixStream) -> (usize, Flush) {
        let mut gone = 0;
        while !self.bytes.is_empty() {
            match send_now(socket, self.bytes.as_slices().0) {
                Ok(count) => {
                    self.bytes.drain(..count);
                    gone += count;
                }
                Err(Errno::EAGAIN) => return (gone, Flush::Blocked),
                Err(Errno::EINTR) => {}
                Err(_) => return (gone + self.discard(), Flush::Refused),
            }
        }
        self.discard();
        (gone, Flush::Done)
    }
}

/// Writes to a socket without blocking and without a signal where the peer is gone.
pub(super) fn send_now(socket: &UnixStream, bytes: &[u8]) -> Result<usize, Errno> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    send(socket.as_raw_fd(), bytes, flags)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_does_not_fit_stays_and_follows_later() {
        let (socket, mut peer) = UnixStream::pair().unwrap();
        let mut backlog = Backlog::default();
        let bytes = vec![7; 4 << 20];
        backlog.push(&bytes);

        let (first, state) = backlog.flush(&socket);
        let mut taken = vec![0; first];
        peer.read_exact(&mut taken).unwrap();
        let (second, _) = backlog.flush(&socket);

        assert_eq!(state, Flush::Blocked);
        assert!(first > 0);
        assert!(second > 0);
    }

    #[test]
    fn a_peer_that_is_gone_costs_the_bytes() {
        let (socket, peer) = UnixStream::pair().unwrap();
        drop(peer);
        let mut backlog = Backlog::default();
        backlog.push(b"late");

        let outcome = backlog.flush(&socket);

        assert_eq!(outcome, (4, Flush::Refused));
        assert!(backlog.is_empty());
    }
}
