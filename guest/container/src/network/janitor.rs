//! Deletes the interfaces of ended containers, in a thread of its own.
//!
//! They would go with their namespace, but another container may share that, and their address may
//! be given to the next container at once. Deleting costs a millisecond and more that nobody who
//! waits for a container's end should pay.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::netlink::{Batch, NetlinkError};
use super::{Connection, Networks, setup};

/// How long an ended container's interfaces stay: its end is told to the host meanwhile.
const PAUSE: Duration = Duration::from_millis(5);

/// Starts the thread; without it, interfaces go with their namespaces.
pub(super) fn start(networks: Networks) -> Sender<Vec<Connection>> {
    let (sender, receiver) = channel();
    let spawned = thread::Builder::new()
        .name("janitor".to_owned())
        .spawn(move || run(&networks, &receiver));
    // The receiver is gone then, and whoever sends is told.
    drop(spawned);
    sender
}

fn run(networks: &Networks, receiver: &Receiver<Vec<Connection>>) {
    while let Ok(mut connections) = receiver.recv() {
        thread::sleep(PAUSE);
        connections.extend(receiver.try_iter().flatten());
        // What is gone already went with its namespace.
        let _already_gone = networks.delete(&connections);
    }
}

impl Networks {
    /// Deletes the interfaces of connections, and bridges that have been idle for long.
    pub(super) fn delete(&self, connections: &[Connection]) -> Result<(), NetlinkError> {
        let mut state = self.0.state();
        let mut batch = Batch::default();
        for connection in connections {
            setup::delete_pair(&mut batch, connection.serial);
            state.leave_bridge(connection.vlan);
        }
        state.delete_idle(&mut batch);
        match &state.machine {
            Some(machine) => machine.socket.perform(batch),
            None => Ok(()),
        }
    }
}
