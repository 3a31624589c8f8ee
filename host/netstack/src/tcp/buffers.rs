//! Memory of connections: how much each gets, and the sockets kept for the next one.
//!
//! Every connection has a minimum of its own. Beyond it, all share a pool from which each takes
//! an eighth of what is left, so the first hundred run at full speed and the thousandth still
//! runs.

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer};

use crate::limits::{MAX_IDLE_SOCKETS, MAX_TCP_BUFFER, MIN_TCP_BUFFER, TCP_BUFFER_POOL};

/// The part of the free pool that one connection may take.
const POOL_SHARE: usize = 8;

/// A socket in a set of its own, with its buffers.
pub(super) struct Endpoint {
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    /// Bytes of each of the two buffers.
    buffer_bytes: usize,
}

impl Endpoint {
    fn new(buffer_bytes: usize) -> Self {
        let buffer = || SocketBuffer::new(vec![0; buffer_bytes]);
        let mut socket = Socket::new(buffer(), buffer());
        // The host's data is as urgent as its sender made it, and an acknowledgement costs less
        // on this link than a guest whose Nagle algorithm waits for it.
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Self {
            sockets,
            handle,
            buffer_bytes,
        }
    }

    pub(super) fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    pub(super) fn set(&mut self) -> &mut SocketSet<'static> {
        &mut self.sockets
    }
}

/// Hands out endpoints and takes them back.
pub(super) struct Buffers {
    /// What is left of the pool.
    free: usize,
    idle: Vec<Endpoint>,
}

impl Buffers {
    pub(super) fn new() -> Self {
        Self {
            free: TCP_BUFFER_POOL,
            idle: Vec::new(),
        }
    }

    /// A closed endpoint, as large as the pool allows now.
    pub(super) fn take(&mut self) -> Endpoint {
        let share = self.free / POOL_SHARE / 2;
        // A power of two makes kept endpoints of equal size.
        let share = if share.is_power_of_two() {
            share
        } else {
            share.next_power_of_two() / 2
        };
        let buffer_bytes = share.clamp(MIN_TCP_BUFFER, MAX_TCP_BUFFER);
        self.free = self.free.saturating_sub(beyond_minimum(buffer_bytes));
        let kept = self
            .idle
            .iter()
            .position(|endpoint| endpoint.buffer_bytes == buffer_bytes);
        match kept {
            Some(index) => self.idle.swap_remove(index),
            None => Endpoint::new(buffer_bytes),
        }
    }

    pub(super) fn give_back(&mut self, mut endpoint: Endpoint) {
        self.free += beyond_minimum(endpoint.buffer_bytes);
        if self.idle.len() < MAX_IDLE_SOCKETS {
            let socket = endpoint.socket();
            socket.abort();
            socket.set_keep_alive(None);
            socket.set_timeout(None);
            self.idle.push(endpoint);
        }
    }
}

fn beyond_minimum(buffer_bytes: usize) -> usize {
    2 * (buffer_bytes - MIN_TCP_BUFFER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_connections_get_large_buffers_and_thousands_get_small_ones() {
        let mut buffers = Buffers::new();

        let endpoints: Vec<_> = (0..2_000).map(|_| buffers.take()).collect();

        assert_eq!(endpoints[0].buffer_bytes, MAX_TCP_BUFFER);
        assert_eq!(endpoints[1_999].buffer_bytes, MIN_TCP_BUFFER);
        let beyond: usize = endpoints
            .iter()
            .map(|end| beyond_minimum(end.buffer_bytes))
            .sum();
        assert!(beyond <= TCP_BUFFER_POOL);
    }

    #[test]
    fn what_is_given_back_is_handed_out_again() {
        let mut buffers = Buffers::new();
        let first = buffers.take();
        let free = buffers.free;

        buffers.give_back(first);
        let _second = buffers.take();

        assert_eq!(buffers.free, free);
        assert!(buffers.idle.is_empty());
    }
}
