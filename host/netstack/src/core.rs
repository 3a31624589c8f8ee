//! What every flow needs besides its own state: the clock, readiness, the outbox, the counters.

use std::io;

use smoltcp::time::Instant;

use crate::config::Checksums;
use crate::counters::Counters;
use crate::epoll::Epoll;
use crate::ethernet::{self, HEADER_BYTES, Station, ether_type};
use crate::icmp::{self, Unreachable};
use crate::ip::Datagram;
use crate::network::Networks;
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

    /// Tells a guest, as its gateway, that its `packet` got nowhere.
    pub(crate) fn send_unreachable(
        &mut self,
        networks: &Networks,
        receiver: Station,
        packet: &[u8],
        why: Unreachable,
    ) {
        let datagram = match ethernet::type_of_packet(packet) {
            ether_type::IPV6 => Datagram::parse_v6(packet),
            _ => Datagram::parse_v4(packet),
        };
        let Some(guest) = datagram.map(|datagram| datagram.source) else {
            return;
        };
        if let Some(gateway) = networks.gateway_for(receiver.vlan, guest) {
            let message = icmp::unreachable(gateway, guest, why, packet);
            self.send_packet(receiver, &message);
        }
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
