//! Published ports: what was asked for, bound on the host, each connection carried into a container.
//!
//! ```text
//!  client ──TCP──► listener ──Connect──► agent ──► 127.0.0.1:port in the container's namespace
//! ```
//!
//! - [`number`] – ports, protocols and bindings as Docker writes them
//! - [`bind`] – listeners, bound before a start is answered
//! - [`tcp`], [`udp`] – carry what comes; [`splice`] moves TCP's bytes without copying them
//!
//! Rule: a port is open exactly as long as its container runs: [`Published`] closes it when dropped.

mod bind;
mod number;
mod splice;
mod tcp;
mod udp;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::AbortHandle;

pub use bind::BindError;
pub(crate) use bind::{Bound, PortTable, bind};
pub use number::{ContainerPort, HostPortRange, PortError, Protocol, RequestedBinding};

use crate::guest::Guest;
use crate::id::Id;

/// The open ports of a running container.
#[derive(Debug)]
pub struct Published {
    addresses: BTreeMap<ContainerPort, Vec<SocketAddr>>,
    acceptors: Vec<AbortHandle>,
    _reserved: Vec<bind::Reservation>,
}

impl Published {
    /// Starts to carry what comes in at the bound ports.
    pub(crate) fn serve(bound: Vec<Bound>, guest: &Arc<dyn Guest>, container: &Id) -> Self {
        let mut published = Self {
            addresses: BTreeMap::new(),
            acceptors: Vec::new(),
            _reserved: Vec::new(),
        };
        for Bound {
            container_port,
            address,
            socket,
            reservation,
        } in bound
        {
            published
                .addresses
                .entry(container_port)
                .or_default()
                .push(address);
            let target = Target {
                guest: Arc::clone(guest),
                container: container.to_string(),
                port: container_port,
            };
            let acceptor = match socket {
                bind::Socket::Tcp(listener) => tokio::spawn(tcp::serve(listener, target)),
                bind::Socket::Udp(socket) => tokio::spawn(udp::serve(socket, target)),
            };
            published.acceptors.push(acceptor.abort_handle());
            published._reserved.push(reservation);
        }
        published
    }

    /// Where each container port can be reached.
    #[must_use]
    pub fn addresses(&self) -> &BTreeMap<ContainerPort, Vec<SocketAddr>> {
        &self.addresses
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        for acceptor in &self.acceptors {
            acceptor.abort();
        }
    }
}

/// Where connections of a published port go.
#[derive(Clone, Debug)]
struct Target {
    guest: Arc<dyn Guest>,
    container: String,
    port: ContainerPort,
}
