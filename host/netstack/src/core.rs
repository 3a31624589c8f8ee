//! What every flow needs besides its own state: the clock, readiness, the outbox, the counters.

use std::io;

use smoltcp::time::Instant;

use crate::config::Checksums;
use crate::counters::Counters;
use crate::epoll::Epoll;
use crate::ethernet::{self, HEADER_BYTES, Station};
use crate::outbox::Outbox;
use crate::timers::Timers;

pub(crate) struct Core {
    pub(crate) epoll: Epoll,
    pub(crate) timers: Timers,
    pub(crate) outbox: Outbox,
    pub(crate) counters: Counters,
    pub(crate) checksums: Checksums,
    pub(crate) mtu: usize,
    /// When the current call of the owner began.
    pub(crate) now: Instant,
}

impl Core {
    pub(crate) fn new(mtu: u16, checksums: Checksums) -> io::Result<Self> {
        let timers = Timers::new()?;
        let now = timers.now();
        let mtu = usize::from(mtu);
        let (outbox, counters) = (Outbox::default(), Counters::default());
        Ok(Self {
            epoll: Epoll::new()?,
            timers,
            outbox,
            counters,
            checksums,
            mtu,
            now,
        })
    }

    /// Queues a packet for a guest.
    pub(crate) fn send_packet(&mut self, receiver: Station, packet: &[u8]) {
        let ether_type = ethernet::type_of_packet(packet);
        self.outbox
            .push(ethernet::frame(receiver, ether_type, packet));
    }
}

/// Puts the frame header before a packet that was written behind it; the frame's length.
pub(crate) fn frame_in_place(
    receiver: Station,
    packet_bytes: usize,
    buffer: &mut [u8],
) -> Option<usize> {
    let (header, packet) = buffer.split_first_chunk_mut::<HEADER_BYTES>()?;
    ethernet::write_header(receiver, ethernet::type_of_packet(packet), header);
    Some(HEADER_BYTES + packet_bytes)
}
