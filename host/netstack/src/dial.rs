//! The host's own connect, without waiting for it.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::network::Route;

/// The host's loopback, in the order in which it is tried.
const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// The host addresses that a flow to `remote` may mean.
pub(crate) fn candidates(route: Route, remote: SocketAddr) -> VecDeque<SocketAddr> {
    match route {
        Route::Host => LOOPBACK
            .map(|address| SocketAddr::new(address, remote.port()))
            .into(),
        _ => VecDeque::from([remote]),
    }
}

/// A non-blocking socket for this address's family.
pub(crate) fn socket(address: SocketAddr, kind: SocketType) -> Result<OwnedFd, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    rustix::net::socket_with(
        family,
        kind,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        None,
    )
}

/// A connect that is under way, and the addresses to try should it fail.
pub(crate) struct Dial {
    candidates: VecDeque<SocketAddr>,
    pub(crate) socket: OwnedFd,
}

impl Dial {
    /// Begins with the first address that can be begun with.
    pub(crate) fn start(mut candidates: VecDeque<SocketAddr>) -> Result<Self, Errno> {
        let mut failure = Errno::ADDRNOTAVAIL;
        while let Some(address) = candidates.pop_front() {
            match connect(address) {
                Ok(socket) => return Ok(Self { candidates, socket }),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// What became of the connect, once its socket is ready.
    pub(crate) fn outcome(&self) -> Result<(), Errno> {
        sockopt::socket_error(&self.socket).and_then(|outcome| outcome)
    }

    /// Begins with the next address, after `failure` of this one.
    pub(crate) fn next(self, failure: Errno) -> Result<Self, Errno> {
        if self.candidates.is_empty() {
            return Err(failure);
        }
        Self::start(self.candidates).map_err(|_| failure)
    }
}

fn connect(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let socket = socket(address, SocketType::STREAM)?;
    // The guest decides when to send; what arrives here goes on at once.
    sockopt::set_tcp_nodelay(&socket, true)?;
    // A peer that vanished is found out here, as the guest's own probes end at us.
    sockopt::set_socket_keepalive(&socket, true)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}
