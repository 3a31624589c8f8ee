//! Binds published ports on the host.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::{TcpListener, TcpSocket, UdpSocket};

use super::number::{ContainerPort, HostPortRange, Protocol, RequestedBinding};
use crate::class::{Classified, ErrorClass};

/// Connections the kernel keeps before we accept them.
const LISTEN_BACKLOG: u32 = 1024;

/// Ports one container may publish: a range of the whole port space is a slip, and each costs a
/// descriptor and a task.
const MAX_PUBLISHED_PORTS: usize = 1024;

/// Why a port could not be published. The wording is Docker's where clients know it.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another container of ours has it.
    #[error("Bind for {0} failed: port is already allocated")]
    Allocated(SocketAddr),
    /// Another program has it.
    #[error("failed to bind host port {address}/{protocol}: address already in use", protocol = protocol.name())]
    InUse {
        /// The address.
        address: SocketAddr,
        /// The transport.
        protocol: Protocol,
    },
    /// The kernel refused it for another reason.
    #[error("failed to bind host port {address}/{protocol}", protocol = protocol.name())]
    Refused {
        /// The address.
        address: SocketAddr,
        /// The transport.
        protocol: Protocol,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// More than one container may have.
    #[error("more than {MAX_PUBLISHED_PORTS} published ports")]
    TooMany,
}

impl Classified for BindError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::TooMany => ErrorClass::InvalidParameter,
            Self::Allocated(_) | Self::InUse { .. } | Self::Refused { .. } => ErrorClass::Internal,
        }
    }
}

type Key = (SocketAddr, Protocol);

/// Ports our containers have, to tell a conflict of theirs from one with another program.
#[derive(Clone, Debug, Default)]
pub(crate) struct PortTable(Arc<Mutex<BTreeMap<Key, ()>>>);

/// An entry of the table, gone when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    table: PortTable,
    key: Key,
}

/// A bound port that nobody serves yet.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) container_port: ContainerPort,
    pub(crate) address: SocketAddr,
    pub(crate) socket: Socket,
    pub(crate) reservation: Reservation,
}

/// A bound socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl PortTable {
    fn reserve(&self, key: Key) -> Reservation {
        self.locked().insert(key, ());
        Reservation {
            table: self.clone(),
            key,
        }
    }

    /// Whether one of ours has the port at this address or at all addresses.
    fn holds(&self, (address, protocol): Key) -> bool {
        self.locked().keys().any(|(held, held_protocol)| {
            *held_protocol == protocol
                && held.port() == address.port()
                && (held.ip() == address.ip()
                    || held.ip().is_unspecified()
                    || address.ip().is_unspecified())
        })
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<Key, ()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.table.locked().remove(&self.key);
    }
}

/// Binds every port; all or none.
pub(crate) async fn bind(
    requested: &BTreeMap<ContainerPort, Vec<RequestedBinding>>,
    table: &PortTable,
) -> Result<Vec<Bound>, BindError> {
    if requested.values().map(Vec::len).sum::<usize>() > MAX_PUBLISHED_PORTS {
        return Err(BindError::TooMany);
    }
    let mut bound = Vec::new();
    for (container_port, bindings) in requested {
        for binding in bindings {
            bound.push(bind_one(*container_port, *binding, table).await?);
        }
    }
    Ok(bound)
}

/// The first free port of the range.
async fn bind_one(
    container_port: ContainerPort,
    binding: RequestedBinding,
    table: &PortTable,
) -> Result<Bound, BindError> {
    let HostPortRange { first, last } = binding.ports;
    let protocol = container_port.protocol;
    let mut conflict = None;
    for port in first..=last {
        let address = SocketAddr::new(binding.address, port);
        match open(address, protocol).await {
            Ok((socket, address)) => {
                return Ok(Bound {
                    container_port,
                    address,
                    socket,
                    reservation: table.reserve((address, protocol)),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                conflict.get_or_insert(address);
            }
            Err(source) => {
                return Err(BindError::Refused {
                    address,
                    protocol,
                    source,
                });
            }
        }
    }
    let address = conflict.expect("a range has a first port, which was in use");
    Err(if table.holds((address, protocol)) {
        BindError::Allocated(address)
    } else {
        BindError::InUse { address, protocol }
    })
}

async fn open(address: SocketAddr, protocol: Protocol) -> io::Result<(Socket, SocketAddr)> {
    match protocol {
        Protocol::Tcp => {
            let socket = match address.ip() {
                IpAddr::V4(_) => TcpSocket::new_v4()?,
                IpAddr::V6(_) => TcpSocket::new_v6()?,
            };
            // A port whose last connections are in TIME_WAIT is free.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let listener = socket.listen(LISTEN_BACKLOG)?;
            let address = listener.local_addr()?;
            Ok((Socket::Tcp(listener), address))
        }
        Protocol::Udp => {
            let socket = UdpSocket::bind(address).await?;
            let address = socket.local_addr()?;
            Ok((Socket::Udp(socket), address))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(port: &str, host: &str) -> BTreeMap<ContainerPort, Vec<RequestedBinding>> {
        let binding = RequestedBinding::parse("127.0.0.1", host).unwrap();
        BTreeMap::from([(port.parse().unwrap(), vec![binding])])
    }

    #[tokio::test]
    async fn port_zero_is_a_port_of_the_hosts_choice() {
        let bound = bind(&request("80/tcp", "0"), &PortTable::default())
            .await
            .unwrap();

        assert_ne!(bound[0].address.port(), 0);
    }

    #[tokio::test]
    async fn a_port_of_another_container_is_named_as_docker_names_it() {
        let table = PortTable::default();
        let held = bind(&request("80/tcp", "0"), &table).await.unwrap();
        let port = held[0].address.port();

        let error = bind(&request("80/tcp", &port.to_string()), &table)
            .await
            .unwrap_err();

        assert_eq!(
            error.to_string(),
            format!("Bind for 127.0.0.1:{port} failed: port is already allocated")
        );
    }

    #[tokio::test]
    async fn a_port_of_another_program_is_named() {
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();

        let error = bind(&request("80/tcp", &port.to_string()), &PortTable::default())
            .await
            .unwrap_err();

        assert_eq!(
            error.to_string(),
            format!("failed to bind host port 127.0.0.1:{port}/tcp: address already in use")
        );
    }

    #[tokio::test]
    async fn a_dropped_port_is_free_again() {
        let table = PortTable::default();
        let held = bind(&request("53/udp", "0"), &table).await.unwrap();
        let port = held[0].address.port().to_string();
        drop(held);

        let bound = bind(&request("53/udp", &port), &table).await.unwrap();

        assert_eq!(bound.len(), 1);
    }
}
