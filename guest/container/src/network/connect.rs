//! A container's network at its start.

use dhow_protocol::{Interface, NetworkSetup};
use std::os::fd::{AsFd, BorrowedFd};

use super::netlink::{Batch, Netlink};
use super::{Connection, Entered, NetworkError, Networks, setup};
use crate::runtime::Runtime;

/// A network made ready: a process that the calling thread starts now is in it.
#[derive(Debug)]
pub(crate) struct Connected<'a> {
    networks: &'a Networks,
    connections: Vec<Connection>,
    /// Whether a new namespace is still to be made, with the process.
    pub(crate) left_to_clone: bool,
    _entered: Option<Entered<'a>>,
}

impl Connected<'_> {
    /// The process has started; what it is connected by is its own from now on.
    pub(crate) fn keep(mut self) -> Vec<Connection> {
        std::mem::take(&mut self.connections)
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.networks.release(std::mem::take(&mut self.connections));
    }
}

impl Runtime {
    /// Makes a container's network ready and moves the calling thread into it.
    ///
    /// A namespace of its own without interfaces is left to `clone3`, which makes one for less.
    pub(crate) fn connect(&self, setup: &NetworkSetup) -> Result<Connected<'_>, NetworkError> {
        let networks = &self.networks;
        let (connections, entered) = match setup {
            NetworkSetup::Own(interfaces) if interfaces.is_empty() => (Vec::new(), None),
            NetworkSetup::Own(interfaces) => {
                let (connections, entered) = networks.connect(interfaces)?;
                (connections, Some(entered))
            }
            NetworkSetup::Container(other) => {
                let namespace = self.network_namespace(other)?;
                (Vec::new(), Some(networks.enter(&namespace)?))
            }
            NetworkSetup::Host(interface) => {
                networks.connect_machine(interface)?;
                (Vec::new(), None)
            }
        };
        let own = matches!(setup, NetworkSetup::Own(_));
        Ok(Connected {
            networks,
            connections,
            left_to_clone: own && entered.is_none(),
            _entered: entered,
        })
    }
}

impl Networks {
    /// A new namespace with these interfaces, entered.
    fn connect(
        &self,
        interfaces: &[Interface],
    ) -> Result<(Vec<Connection>, Entered<'_>), NetworkError> {
        setup::check(interfaces)?;
        // Its socket is one of the machine's own namespace, which this thread is about to leave.
        self.0.state().machine()?;
        let (entered, namespace) = self.enter_new()?;
        let socket = Netlink::new()?;
        let connections = self.plug(interfaces, namespace.as_fd())?;
        let mut batch = Batch::default();
        setup::loopback(&mut batch);
        for (interface, connection) in interfaces.iter().zip(&connections) {
            setup::configure(&mut batch, interface, connection.serial);
        }
        match socket.perform(batch) {
            Ok(()) => Ok((connections, entered)),
            Err(error) => {
                self.release(connections);
                Err(error.into())
            }
        }
    }

    /// The machine's ends of interfaces; the others are in the namespace, still down.
    pub(super) fn plug(
        &self,
        interfaces: &[Interface],
        namespace: BorrowedFd<'_>,
    ) -> Result<Vec<Connection>, NetworkError> {
        let mut state = self.0.state();
        let nic = state.machine()?.nic;
        let mut batch = Batch::default();
        let (mut connections, mut bridges) = (Vec::new(), Vec::new());
        for interface in interfaces {
            if state.join_bridge(interface.vlan, &mut batch)? {
                bridges.push(interface.vlan);
            }
            state.serial += 1;
            setup::pair(&mut batch, interface, state.serial, nic, namespace);
            connections.push(Connection {
                network: interface.network.clone(),
                addresses: interface
                    .addresses
                    .iter()
                    .map(|(address, _)| *address)
                    .collect(),
                vlan: interface.vlan,
                serial: state.serial,
            });
        }
        let made = state.machine()?.socket.perform(batch);
        if made.is_err() {
            state.unmake_bridges(&bridges);
        }
        drop(state);
        if let Err(error) = made {
            self.release(connections);
            return Err(error.into());
        }
        Ok(connections)
    }

    /// Gives the machine its own address, once.
    fn connect_machine(&self, interface: &Interface) -> Result<(), NetworkError> {
        setup::check(std::slice::from_ref(interface))?;
        let mut state = self.0.state();
        if state.host_ready {
            return Ok(());
        }
        let machine = state.machine()?;
        let mut batch = Batch::default();
        setup::host(&mut batch, interface, machine.nic);
        machine.socket.perform(batch)?;
        state.host_ready = true;
        Ok(())
    }
}
