//! How a guest is told that there is no connection: as its destination would have told it.

use std::net::SocketAddr;

use rustix::io::Errno;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpAddress, IpProtocol, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber};

use crate::icmp::Unreachable;
use crate::ip::{self, Datagram};

/// What a failed connect means to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A reset, as from a closed port.
    Reset,
    /// An ICMP message.
    Unreachable(Unreachable),
    /// Nothing: it waits as long as the host did.
    Silence,
}

impl Refusal {
    pub(super) fn from_errno(error: Errno) -> Self {
        match error {
            Errno::TIMEDOUT => Self::Silence,
            Errno::NETUNREACH => Self::Unreachable(Unreachable::Network),
            Errno::HOSTUNREACH | Errno::HOSTDOWN => Self::Unreachable(Unreachable::Host),
            Errno::ACCESS | Errno::PERM => Self::Unreachable(Unreachable::Prohibited),
            _ => Self::Reset,
        }
    }
}

/// A checked TCP segment of a guest.
pub(super) fn parse<'a>(datagram: &Datagram<'a>, verify: bool) -> Option<TcpRepr<'a>> {
    let mut capabilities = ChecksumCapabilities::default();
    if !verify {
        capabilities.tcp = smoltcp::phy::Checksum::None;
    }
    let packet = TcpPacket::new_checked(datagram.payload).ok()?;
    let (source, destination) = addresses(datagram);
    TcpRepr::parse(&packet, &source, &destination, &capabilities).ok()
}

/// The packet that resets the connection of `segment` (RFC 9293, section 3.10.7.1).
pub(super) fn reset(datagram: &Datagram<'_>, segment: &TcpRepr<'_>) -> Option<Vec<u8>> {
    if segment.control == TcpControl::Rst {
        return None;
    }
    let answered = segment.ack_number.is_some();
    let reply = TcpRepr {
        src_port: segment.dst_port,
        dst_port: segment.src_port,
        control: TcpControl::Rst,
        seq_number: segment.ack_number.unwrap_or(TcpSeqNumber(0)),
        ack_number: (!answered).then(|| segment.seq_number + segment.segment_len()),
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let (source, destination) = addresses(datagram);
    Some(packet(&reply, destination, source))
}

/// The packet of a SYN alone, as it is kept until the host has connected. Data that came with it
/// comes again.
pub(super) fn parked(datagram: &Datagram<'_>, segment: &TcpRepr<'_>) -> Vec<u8> {
    let (source, destination) = addresses(datagram);
    let syn = TcpRepr {
        payload: &[],
        ..*segment
    };
    packet(&syn, source, destination)
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

/// Both ends of the connection of `segment`: the guest's and the one it wants.
pub(super) fn ends(datagram: &Datagram<'_>, segment: &TcpRepr<'_>) -> (SocketAddr, SocketAddr) {
    let guest = SocketAddr::new(datagram.source, segment.src_port);
    (
        guest,
        SocketAddr::new(datagram.destination, segment.dst_port),
    )
}
