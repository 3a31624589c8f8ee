//! All connections, the order in which they may send, and the numbers that name them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;

use super::connection::Connection;
use super::local::Local;

/// The most connections, clients that dial, and remainders together; each holds a descriptor.
///
/// A guest that opens connections without end meets resets, clients wait in the listener's backlog.
pub(super) const MAX_CONNECTIONS: usize = 1024;

/// The first port that stands for a client of ours; the range is the upper quarter of the positive
/// half, far from ports that people choose.
const FIRST_DIALLED_PORT: u32 = 0x4000_0000;

/// The last such port.
const LAST_DIALLED_PORT: u32 = 0x7fff_ffff;

/// The two ends of a connection; with the fixed context identifiers they name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ports {
    pub(super) host: u32,
    pub(super) guest: u32,
}

/// Names a [`Local`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LocalId(pub(super) u32);

/// Everything that holds a host socket.
#[derive(Debug)]
pub(super) struct Table {
    connections: HashMap<Ports, Connection>,
    locals: HashMap<LocalId, Local>,
    /// Connections with something to send, each once, the longest waiting first.
    ready: VecDeque<Ports>,
    next_local: u32,
    next_port: u32,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            connections: HashMap::new(),
            locals: HashMap::new(),
            ready: VecDeque::new(),
            next_local: 0,
            next_port: FIRST_DIALLED_PORT,
        }
    }

    /// How many things hold a host socket, or soon will.
    pub(super) fn len(&self) -> usize {
        self.connections.len() + self.locals.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= MAX_CONNECTIONS
    }

    pub(super) fn get_mut(&mut self, ports: Ports) -> Option<&mut Connection> {
        self.connections.get_mut(&ports)
    }

    pub(super) fn insert(&mut self, ports: Ports, connection: Connection) {
        self.connections.insert(ports, connection);
    }

    /// Takes a connection out, and out of the order.
    pub(super) fn remove(&mut self, ports: Ports) -> Option<Connection> {
        let connection = self.connections.remove(&ports)?;
        if connection.scheduled {
            self.ready.retain(|waiting| *waiting != ports);
        }
        Some(connection)
    }

    /// Lets the connection send after all others that wait, unless it waits already.
    pub(super) fn schedule(&mut self, ports: Ports) {
        let Some(connection) = self.connections.get_mut(&ports) else {
            return;
        };
        if !connection.scheduled {
            connection.scheduled = true;
            self.ready.push_back(ports);
        }
    }

    /// The connection whose turn it is; it leaves the order.
    pub(super) fn next_ready(&mut self) -> Option<(Ports, &mut Connection)> {
        let ports = self.ready.pop_front()?;
        let connection = self
            .connections
            .get_mut(&ports)
            .expect("a removed connection leaves the order");
        connection.scheduled = false;
        Some((ports, connection))
    }

    /// Whether any connection waits to send.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn local_mut(&mut self, id: LocalId) -> Option<&mut Local> {
        self.locals.get_mut(&id)
    }

    pub(super) fn insert_local(&mut self, id: LocalId, local: Local) {
        self.locals.insert(id, local);
    }

    pub(super) fn remove_local(&mut self, id: LocalId) -> Option<Local> {
        self.locals.remove(&id)
    }

    /// A name no [`Local`] has.
    pub(super) fn fresh_local_id(&mut self) -> LocalId {
        /// Leaves room for the numbers of the device's own descriptors.
        const LAST: u32 = u32::MAX / 2;
        loop {
            let id = LocalId(self.next_local);
            self.next_local = if id.0 == LAST { 0 } else { id.0 + 1 };
            if !self.locals.contains_key(&id) {
                return id;
            }
        }
    }

    /// Ports for a connection to the guest's port that no other connection has, and that the guest
    /// has not seen for the last billion connections.
    pub(super) fn fresh_ports(&mut self, guest: u32, taken: &BTreeMap<u32, PathBuf>) -> Ports {
        loop {
            let host = self.next_port;
            self.next_port = if host == LAST_DIALLED_PORT {
                FIRST_DIALLED_PORT
            } else {
                host + 1
            };
            let ports = Ports { host, guest };
            if !self.connections.contains_key(&ports) && !taken.contains_key(&host) {
                return ports;
            }
        }
    }

    /// Forgets everything and closes every socket.
    pub(super) fn clear(&mut self) {
        self.connections.clear();
        self.locals.clear();
        self.ready.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_not_used_again_soon() {
        let mut table = Table::new();
        let taken = BTreeMap::new();

        let first = table.fresh_ports(1, &taken);
        let second = table.fresh_ports(1, &taken);

        assert_ne!(first, second);
    }

    #[test]
    fn ports_of_the_hosts_services_are_left_alone() {
        let mut table = Table::new();
        let taken = BTreeMap::from([(FIRST_DIALLED_PORT, PathBuf::new())]);

        let ports = table.fresh_ports(1, &taken);

        assert_eq!(ports.host, FIRST_DIALLED_PORT + 1);
    }

    #[test]
    fn port_numbers_start_over_after_the_last() {
        let mut table = Table::new();
        table.next_port = LAST_DIALLED_PORT;
        let taken = BTreeMap::new();

        let last = table.fresh_ports(1, &taken);
        let next = table.fresh_ports(1, &taken);

        assert_eq!(last.host, LAST_DIALLED_PORT);
        assert_eq!(next.host, FIRST_DIALLED_PORT);
    }
}
