//! The networks of this machine: a bridge for each VLAN in use, a pair of interfaces for each
//! connection of a container.
//!
//! ```text
//!  container a        container b               container c
//!    eth0               eth0                      eth0           in their own namespaces
//!     │ veth             │ veth                    │ veth
//!  ┌──┴── br2 ───────────┴──┐                 ┌────┴─ br3 ──┐    in the machine's
//!  └────── eth0.2 ──────────┘                 └── eth0.3 ───┘
//!              └───────────────── eth0 ───────────────┘          to the host, tagged (802.1Q)
//! ```
//!
//! A bridge has no address and the machine routes nothing: what leaves a network leaves it at the
//! host's end. The machine's own address, for containers that share its network, is on a VLAN
//! interface without a bridge.
//!
//! - [`netlink`] – requests to the kernel, many at once
//! - [`setup`] – which ones
//! - `connect.rs`, `attach.rs` – a container's network at its start and while it runs
//! - `namespace.rs` – entering the network of a container
//! - `janitor.rs` – deletes what ended containers leave, behind their back
//!
//! Rule: a thread that enters another namespace comes back before it does anything else;
//! [`namespace::Entered`] sees to it.

mod attach;
mod connect;
mod janitor;
mod namespace;
pub(crate) mod netlink;
mod setup;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use dhow_protocol::{Failure, FailureKind};
use rustix::io::Errno;

use self::netlink::{Batch, Netlink};
use crate::container::LookupError;

pub(crate) use self::namespace::Entered;
pub use self::netlink::NetlinkError;

/// Bridges without a container that are kept for the next one; making one costs a start about as
/// much as all the rest of its network.
const MAX_IDLE_BRIDGES: usize = 8;

/// Why a container has no network, or there is no way into it.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// There is no such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// Its namespace cannot be opened.
    #[error("failed to open the container's network namespace")]
    Open(#[source] Errno),
    /// A namespace cannot be made or entered.
    #[error("failed to enter a network namespace")]
    Enter(#[source] Errno),
    /// The kernel refused.
    #[error("failed to set up the container's network")]
    Netlink(#[from] NetlinkError),
    /// The request is wrong.
    #[error("bad network interface: {0}")]
    Interface(&'static str),
    /// The container's configuration and its network do not agree.
    #[error("the configuration and the network do not agree on a namespace")]
    Namespace,
}

impl NetworkError {
    /// What sort of failure this is.
    pub(crate) fn kind(&self) -> FailureKind {
        match self {
            Self::Lookup(error) => error.kind(),
            Self::Interface(_) | Self::Namespace => FailureKind::Invalid,
            Self::Open(_) | Self::Enter(_) | Self::Netlink(_) => FailureKind::Internal,
        }
    }

    /// The error as the host is told it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        crate::failure(self.kind(), self)
    }
}

/// One connection of a container, as the machine's end knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    /// The network's name.
    pub(crate) network: String,
    /// Its addresses there.
    pub(crate) addresses: Vec<IpAddr>,
    vlan: u16,
    /// What its pair of interfaces is called after.
    serial: u32,
}

/// The networks of this machine; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Networks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The machine's own namespace.
    namespace: OwnedFd,
    state: Mutex<State>,
    janitor: OnceLock<Sender<Vec<Connection>>>,
}

#[derive(Debug, Default)]
struct State {
    machine: Option<Machine>,
    /// Containers on each bridge.
    bridges: HashMap<u16, usize>,
    /// Bridges without containers, longest idle first.
    idle: VecDeque<u16>,
    /// The last pair of interfaces made.
    serial: u32,
    /// Whether the machine has its own address.
    host_ready: bool,
}

/// What is known of the machine's own network once it is used.
#[derive(Debug)]
struct Machine {
    socket: Netlink,
    /// The network interface to the host, if there is one.
    nic: Option<Nic>,
}

/// The machine's network interface.
#[derive(Clone, Copy, Debug)]
struct Nic {
    index: u32,
    mtu: u32,
}

impl Networks {
    /// Nothing is made before a container asks for it.
    pub(crate) fn new(namespace: OwnedFd) -> Self {
        Self(Arc::new(Shared {
            namespace,
            state: Mutex::default(),
            janitor: OnceLock::new(),
        }))
    }

    /// Lets go of a container's connections; its interfaces go soon.
    pub(crate) fn release(&self, connections: Vec<Connection>) {
        if connections.is_empty() {
            return;
        }
        let janitor = self.0.janitor.get_or_init(|| janitor::start(self.clone()));
        // Without the thread they go with their namespace.
        let _ended = janitor.send(connections);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The machine's network, made ready at first use.
    fn machine(&mut self) -> Result<&Machine, NetworkError> {
        if self.machine.is_none() {
            self.machine = Some(setup::machine()?);
        }
        Ok(self.machine.as_ref().expect("made above"))
    }

    /// One more container on the bridge of a VLAN, which is made where missing; tells whether it was.
    fn join_bridge(&mut self, vlan: u16, batch: &mut Batch) -> Result<bool, NetworkError> {
        let nic = self.machine()?.nic;
        if let Some(containers) = self.bridges.get_mut(&vlan) {
            *containers += 1;
            self.idle.retain(|idle| *idle != vlan);
            return Ok(false);
        }
        setup::bridge(batch, vlan, nic);
        self.bridges.insert(vlan, 1);
        Ok(true)
    }

    /// Takes bridges back that were not made whole.
    fn unmake_bridges(&mut self, vlans: &[u16]) {
        let mut batch = Batch::default();
        for vlan in vlans {
            self.bridges.remove(vlan);
            setup::delete_bridge(&mut batch, *vlan);
        }
        if let Some(machine) = &self.machine {
            // What was not made cannot be deleted.
            let _partly = machine.socket.perform(batch);
        }
    }

    /// One container less on the bridge of a VLAN.
    fn leave_bridge(&mut self, vlan: u16) {
        let Some(containers) = self.bridges.get_mut(&vlan) else {
            return;
        };
        *containers = containers.saturating_sub(1);
        if *containers == 0 && !self.idle.contains(&vlan) {
            self.idle.push_back(vlan);
        }
    }

    /// Deletes idle bridges beyond those that are kept.
    fn delete_idle(&mut self, batch: &mut Batch) {
        while self.idle.len() > MAX_IDLE_BRIDGES {
            if let Some(vlan) = self.idle.pop_front() {
                self.bridges.remove(&vlan);
                setup::delete_bridge(batch, vlan);
            }
        }
    }
}
