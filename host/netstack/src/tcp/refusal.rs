//! A guest's segments, and how it is told that there is no connection: as its destination would
//! have told it.

use std::net::SocketAddr;

use rustix::io::Errno;
use smoltcp::phy::{Checksum, ChecksumCapabilities};
use smoltcp::wire::{IpAddress, IpProtocol, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber};

use crate::core::Core;
use crate::ethernet::Station;
use crate::icmp::Unreachable;
use crate::ip::{self, Datagram};
use crate::network::Networks;

/// A checked TCP segment of a guest.
pub(super) struct Segment<'a> {
    pub(super) sender: Station,
    pub(super) datagram: Datagram<'a>,
    pub(super) header: TcpRepr<'a>,
}

impl<'a> Segment<'a> {
    pub(super) fn parse(sender: Station, datagram: Datagram<'a>, verify: bool) -> Option<Self> {
        let mut capabilities = ChecksumCapabilities::default();
        if !verify {
            capabilities.tcp = Checksum::None;
        }
        let packet = TcpPacket::new_checked(datagram.payload).ok()?;
        let (source, destination) = addresses(&datagram);
        let header = TcpRepr::parse(&packet, &source, &destination, &capabilities).ok()?;
        Some(Self {
            sender,
            datagram,
            header,
        })
    }

    pub(super) fn guest(&self) -> SocketAddr {
        SocketAddr::new(self.datagram.source, self.header.src_port)
    }

    pub(super) fn remote(&self) -> SocketAddr {
        SocketAddr::new(self.datagram.destination, self.header.dst_port)
    }

    /// Whether this begins a connection.
    pub(super) fn opens(&self) -> bool {
        self.header.control == TcpControl::Syn && self.header.ack_number.is_none()
    }

    /// The packet of this SYN as it is kept until the host has connected, of at most an IP and a
    /// TCP header. Data that came with it comes again.
    pub(super) fn without_data(&self) -> Vec<u8> {
        let (source, destination) = addresses(&self.datagram);
        packet(
            &TcpRepr {
                payload: &[],
                ..self.header
            },
            source,
            destination,
        )
    }

    /// The packet that resets this segment's connection (RFC 9293, section 3.10.7.1).
    fn reset(&self) -> Option<Vec<u8>> {
        let header = &self.header;
        if header.control == TcpControl::Rst {
            return None;
        }
        let answered = header.ack_number.is_some();
        let reply = TcpRepr {
            src_port: header.dst_port,
            dst_port: header.src_port,
            control: TcpControl::Rst,
            seq_number: header.ack_number.unwrap_or(TcpSeqNumber(0)),
            ack_number: (!answered).then(|| header.seq_number + header.segment_len()),
            window_len: 0,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &[],
        };
        let (source, destination) = addresses(&self.datagram);
        Some(packet(&reply, destination, source))
    }
}

/// Resets the connection of a segment that belongs to none.
pub(super) fn send_reset(core: &mut Core, segment: &Segment<'_>) {
    if let Some(packet) = segment.reset() {
        core.send_packet(segment.sender, &packet);
    }
}

/// Tells a guest that its SYN led to `error` of the host.
pub(super) fn refuse(
    core: &mut Core,
    networks: &Networks,
    receiver: Station,
    syn: &[u8],
    error: Errno,
) {
    core.counters.tcp_refused += 1;
    match Unreachable::from_errno(error) {
        // The guest waits as long as the host did.
        _ if error == Errno::TIMEDOUT => {}
        None | Some(Unreachable::Port) => {
            let datagram = Datagram::parse_v4(syn).or_else(|| Datagram::parse_v6(syn));
            let segment = datagram.and_then(|datagram| Segment::parse(receiver, datagram, false));
            if let Some(segment) = segment {
                send_reset(core, &segment);
            }
        }
        Some(why) => core.send_unreachable(networks, receiver, syn, why),
    }
}

fn packet(segment: &TcpRepr<'_>, source: IpAddress, destination: IpAddress) -> Vec<u8> {
    let mut bytes = vec![0; segment.buffer_len()];
    let mut packet = TcpPacket::new_unchecked(&mut bytes);
    segment.emit(
        &mut packet,
        &source,
        &destination,
        &ChecksumCapabilities::default(),
    );
    ip::packet(source.into(), destination.into(), IpProtocol::Tcp, &bytes)
}

fn addresses(datagram: &Datagram<'_>) -> (IpAddress, IpAddress) {
    (datagram.source.into(), datagram.destination.into())
}
