//! The guest's end of a published port: a socket inside the container's network namespace.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use dhow_protocol::{Connect, Failure, FailureKind, SocketKind};
use nix::sched::{CloneFlags, setns};
use vsock::VsockStream;

use crate::{boot, connect};

/// Bytes moved at once. Under UML a system call costs 10 µs and copying 256 KiB about 25 µs.
const BUFFER_BYTES: usize = 256 * 1024;

/// Length of the prefix of a datagram.
const DATAGRAM_PREFIX_BYTES: usize = 2;

/// The socket that the application answers on.
pub(crate) enum Peer {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

/// Connects to the port inside the namespace, where the container has its own addresses; where nobody listens, tries again until the
/// request's patience or the host's connection ends.
///
/// Moves the calling thread into the namespace: it must be the connection's own.
pub(crate) fn connect(
    namespace: &OwnedFd,
    own: &[IpAddr],
    request: &Connect,
    host: &VsockStream,
) -> Result<Peer, Failure> {
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|error| Failure {
        kind: FailureKind::Internal,
        message: format!("failed to enter the container's network: {error}"),
    })?;
    match request.kind {
        SocketKind::Tcp => {
            let patience = Duration::from_millis(request.wait_ms.into());
            connect::tcp(own, request.port, patience, host).map(Peer::Tcp)
        }
        SocketKind::Udp => connect_udp(own, request.port).map(Peer::Udp),
    }
    .map_err(|error| Failure {
        kind: FailureKind::Refused,
        message: format!("failed to connect to port {}: {error}", request.port),
    })
}

/// A datagram to nobody is not refused in time, so there is one try: at the container's own address,
/// as Docker, or the loopback interface where it has none.
fn connect_udp(own: &[IpAddr], port: u16) -> io::Result<UdpSocket> {
    let own = own.iter().copied().find(IpAddr::is_ipv4);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((own.unwrap_or(Ipv4Addr::LOCALHOST.into()), port))?;
    Ok(socket)
}

/// Carries bytes both ways until both ends have closed.
pub(crate) fn carry(peer: Peer, host: &VsockStream) {
    let carried = match peer {
        Peer::Tcp(peer) => carry_stream(&peer, host),
        Peer::Udp(peer) => carry_datagrams(&peer, host),
    };
    if let Err(error) = carried {
        boot::complain(&anyhow::Error::new(error).context("failed to forward a connection"));
    }
}

/// A stream socket of this machine.
pub(crate) trait LocalStream: Sized + Send + 'static {
    /// Another descriptor for it.
    fn again(&self) -> io::Result<Self>;

    /// Ends a direction, or both.
    fn end(&self, how: Shutdown) -> io::Result<()>;
}

impl LocalStream for TcpStream {
    fn again(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn end(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }
}

impl LocalStream for UnixStream {
    fn again(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn end(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }
}

/// Carries bytes both ways until both ends have closed; each end's half-close reaches the other.
pub(crate) fn carry_stream<S>(peer: &S, host: &VsockStream) -> io::Result<()>
where
    S: LocalStream,
    for<'a> &'a S: Read + Write,
{
    let (peer_writer, host_reader) = (peer.again()?, host.try_clone()?);
    let inward = thread::Builder::new()
        .name("inward".to_owned())
        .spawn(move || {
            let clean = copy(host_reader, &peer_writer).is_ok();
            // A lost end has nothing left to shut.
            let _ = peer_writer.end(if clean {
                Shutdown::Write
            } else {
                Shutdown::Both
            });
        })?;
    let clean = copy(peer, host).is_ok();
    let _ = host.shutdown(if clean {
        Shutdown::Write
    } else {
        Shutdown::Both
    });
    // The thread only copies; a panic there has been printed and leaves nothing to do.
    let _ = inward.join();
    Ok(())
}

/// Copies until the reader's end; an error of either side ends it.
fn copy(mut reader: impl Read, mut writer: impl Write) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => writer.write_all(&buffer[..length])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn carry_datagrams(peer: &UdpSocket, host: &VsockStream) -> io::Result<()> {
    let (peer_reader, host_writer) = (peer.try_clone()?, host.try_clone()?);
    let outward = thread::Builder::new()
        .name("outward".to_owned())
        .spawn(move || {
            // Either end's loss ends the flow; the host opens a new one for the next datagram.
            let _ = datagrams_out(&peer_reader, &host_writer);
            let _ = host_writer.shutdown(Shutdown::Both);
        })?;
    let _ = datagrams_in(host, peer);
    let _ = host.shutdown(Shutdown::Both);
    // Wakes the other thread out of its receive.
    let _ = nix::sys::socket::shutdown(
        std::os::fd::AsRawFd::as_raw_fd(peer),
        nix::sys::socket::Shutdown::Both,
    );
    let _ = outward.join();
    Ok(())
}

fn datagrams_in(mut host: &VsockStream, peer: &UdpSocket) -> io::Result<()> {
    let mut prefix = [0; DATAGRAM_PREFIX_BYTES];
    let mut payload = vec![0; usize::from(u16::MAX)];
    loop {
        host.read_exact(&mut prefix)?;
        let payload = &mut payload[..usize::from(u16::from_be_bytes(prefix))];
        host.read_exact(payload)?;
        // Lost like any datagram: nobody listens, or the buffer is full.
        let _ = peer.send(payload);
    }
}

fn datagrams_out(peer: &UdpSocket, mut host: &VsockStream) -> io::Result<()> {
    let mut buffer = vec![0; DATAGRAM_PREFIX_BYTES + usize::from(u16::MAX)];
    loop {
        let length = match peer.recv(&mut buffer[DATAGRAM_PREFIX_BYTES..]) {
            Ok(length) => u16::try_from(length).expect("the buffer bounds it"),
            // The port-unreachable of an earlier datagram; the application may listen later.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error),
        };
        buffer[..DATAGRAM_PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
        host.write_all(&buffer[..DATAGRAM_PREFIX_BYTES + usize::from(length)])?;
    }
}
