//! ICMP that the gateway itself speaks: echo replies, and why a packet got nowhere.

use std::net::IpAddr;

use rustix::io::Errno;
use smoltcp::wire::{IpProtocol, checksum};

use crate::ip::{self, Datagram};

/// Types of both versions (RFC 792, RFC 4443).
const ECHO_REQUEST_V4: u8 = 8;
const ECHO_REPLY_V4: u8 = 0;
const UNREACHABLE_V4: u8 = 3;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
const UNREACHABLE_V6: u8 = 1;

/// Type, code, checksum, identifier, sequence.
pub(crate) const ECHO_HEADER_BYTES: usize = 8;

/// How much of the unreachable packet is quoted: what every host must be able to take.
const QUOTED_BYTES: usize = 548;

/// Why a packet got nowhere; each stands for an error of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreachable {
    /// `ENETUNREACH`, or an internal network.
    Network,
    /// `EHOSTUNREACH`.
    Host,
    /// `ECONNREFUSED` of a datagram.
    Port,
    /// `EACCES`, `EPERM`: the host's own rules.
    Prohibited,
}

impl Unreachable {
    /// What an error of the host's socket means, if it is one of these.
    pub(crate) fn from_errno(error: Errno) -> Option<Self> {
        match error {
            Errno::NETUNREACH => Some(Self::Network),
            Errno::HOSTUNREACH | Errno::HOSTDOWN => Some(Self::Host),
            Errno::CONNREFUSED => Some(Self::Port),
            Errno::ACCESS | Errno::PERM => Some(Self::Prohibited),
            _ => None,
        }
    }

    fn code_v4(self) -> u8 {
        match self {
            Self::Network => 0,
            Self::Host => 1,
            Self::Port => 3,
            Self::Prohibited => 13,
        }
    }

    fn code_v6(self) -> u8 {
        match self {
            Self::Network => 0,
            Self::Prohibited => 1,
            Self::Host => 3,
            Self::Port => 4,
        }
    }
}

/// The protocol number of ICMP over this family.
pub(crate) fn protocol(address: IpAddr) -> IpProtocol {
    match address {
        IpAddr::V4(_) => IpProtocol::Icmp,
        IpAddr::V6(_) => IpProtocol::Icmpv6,
    }
}

/// The checksum over a message whose own checksum is zero, or zero if the message is right.
pub(crate) fn checksum_of(source: IpAddr, destination: IpAddr, message: &[u8]) -> u16 {
    match source {
        IpAddr::V4(_) => !checksum::data(message),
        IpAddr::V6(_) => ip::checksum_of(source, destination, IpProtocol::Icmpv6, message),
    }
}

/// Whether this is an echo request with everything right.
pub(crate) fn is_echo_request(datagram: &Datagram<'_>, verify: bool) -> bool {
    let wanted = match datagram.source {
        IpAddr::V4(_) => ECHO_REQUEST_V4,
        IpAddr::V6(_) => ECHO_REQUEST_V6,
    };
    let message = datagram.payload;
    message.len() >= ECHO_HEADER_BYTES
        && message[..2] == [wanted, 0]
        && (!verify || checksum_of(datagram.source, datagram.destination, message) == 0)
}

/// The packet that answers an echo request from the address it went to.
pub(crate) fn answer_echo(datagram: &Datagram<'_>) -> Vec<u8> {
    let mut message = datagram.payload.to_vec();
    write_echo_reply(datagram.destination, datagram.source, &mut message);
    let (source, destination) = (datagram.destination, datagram.source);
    ip::packet(source, destination, protocol(source), &message)
}

/// Makes an echo reply of a message that has its identifier, sequence and data already.
pub(crate) fn write_echo_reply(source: IpAddr, destination: IpAddr, message: &mut [u8]) {
    let reply = match source {
        IpAddr::V4(_) => ECHO_REPLY_V4,
        IpAddr::V6(_) => ECHO_REPLY_V6,
    };
    message[..4].copy_from_slice(&[reply, 0, 0, 0]);
    let checksum = checksum_of(source, destination, message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
}

/// The packet that tells a guest, as `gateway`, why `original` got nowhere.
pub(crate) fn unreachable(
    gateway: IpAddr,
    guest: IpAddr,
    why: Unreachable,
    original: &[u8],
) -> Vec<u8> {
    let (kind, code) = match gateway {
        IpAddr::V4(_) => (UNREACHABLE_V4, why.code_v4()),
        IpAddr::V6(_) => (UNREACHABLE_V6, why.code_v6()),
    };
    let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&original[..original.len().min(QUOTED_BYTES)]);
    let checksum = checksum_of(gateway, guest, &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    ip::packet(gateway, guest, protocol(gateway), &message)
}
