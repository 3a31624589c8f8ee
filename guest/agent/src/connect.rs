//! Connects to an application inside a container, for as long as the host wants it to.
//!
//! An application may not listen yet, and then the port refuses; or its backlog may be full, and
//! then a connect hangs for minutes. Either way the host's giving up ends the try, so that no thread
//! and no stream stays behind for a client that is gone.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, getsockopt, socket, sockopt,
};
use vsock::VsockStream;

/// First pause between two tries while nobody listens yet; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Connects to `port` in the container; tries again for `patience` while it is refused.
///
/// The calling thread must be in the container's network namespace.
///
/// # Errors
/// The last refusal, or [`io::ErrorKind::ConnectionAborted`] where the host gave up.
pub(crate) fn tcp(
    own: &[IpAddr],
    port: u16,
    patience: Duration,
    host: &VsockStream,
) -> io::Result<TcpStream> {
    let deadline = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    loop {
        match try_each(own, port, deadline, host) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return Err(error),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_refused) if gave_up(host, pause) => return Err(aborted()),
            Err(_refused) => pause = LONGEST_PAUSE.min(pause * 2),
        }
    }
}

/// One try at each address that the application may answer on: the container's own ones first, as
/// Docker's traffic comes there (an application may trust what comes from its loopback interface),
/// then the loopback interface, which Docker does not reach.
fn try_each(
    own: &[IpAddr],
    port: u16,
    deadline: Instant,
    host: &VsockStream,
) -> io::Result<TcpStream> {
    let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let mut refusal = None;
    for address in own.iter().chain(&loopback) {
        match try_one((*address, port).into(), deadline, host) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return Err(error),
            // The first refusal says more than a container's lack of IPv6.
            Err(error) => refusal.get_or_insert(error),
        };
    }
    Err(refusal.unwrap_or_else(|| io::ErrorKind::ConnectionRefused.into()))
}

fn try_one(address: SocketAddr, deadline: Instant, host: &VsockStream) -> io::Result<TcpStream> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let stream = socket(family, SockType::Stream, flags, None)?;
    match connect(stream.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) => {}
        Err(Errno::EINPROGRESS) => await_connected(&stream, deadline, host)?,
        Err(error) => return Err(error.into()),
    }
    let stream = TcpStream::from(stream);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Waits for the outcome of a connect under way.
fn await_connected(stream: &OwnedFd, deadline: Instant, host: &VsockStream) -> io::Result<()> {
    let mut polled = [
        PollFd::new(stream.as_fd(), PollFlags::POLLOUT),
        PollFd::new(host.as_fd(), PollFlags::POLLIN),
    ];
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = PollTimeout::try_from(left.max(LONGEST_PAUSE)).unwrap_or(PollTimeout::MAX);
    if poll(&mut polled, timeout)? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    if polled[1].any().unwrap_or(true) {
        return Err(aborted());
    }
    match getsockopt(stream, sockopt::SocketError)? {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Whether the host gave up within `pause`; it says nothing else before our reply.
fn gave_up(host: &VsockStream, pause: Duration) -> bool {
    let mut polled = [PollFd::new(host.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(pause).unwrap_or(PollTimeout::ZERO);
    poll(&mut polled, timeout).is_ok_and(|ready| ready > 0)
}

fn aborted() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}
