//! Connects a running container to further networks, and disconnects it.

use std::os::fd::AsFd;

use dhow_protocol::Interface;

use super::netlink::{Batch, Netlink};
use super::{NetworkError, setup};
use crate::runtime::Runtime;

impl Runtime {
    /// Connects a running container to a network.
    ///
    /// # Errors
    /// [`NetworkError`]; then it is connected as before.
    pub fn attach(&self, container: &str, interface: &Interface) -> Result<(), NetworkError> {
        let interfaces = std::slice::from_ref(interface);
        setup::check(interfaces)?;
        let found = self.register.get(container)?;
        let namespace = self.network_namespace(container)?;
        let plugged = self.networks.plug(interfaces, namespace.as_fd())?;
        let mut batch = Batch::default();
        for connection in &plugged {
            setup::configure(&mut batch, interface, connection.serial);
        }
        let inside = self.networks.enter(&namespace)?;
        let configured = Netlink::new().and_then(|socket| socket.perform(batch));
        drop(inside);
        match configured {
            Ok(()) => {
                found.connections().extend(plugged);
                Ok(())
            }
            Err(error) => {
                self.networks.release(plugged);
                Err(error.into())
            }
        }
    }

    /// Disconnects a running container from a network; one that is not connected is fine.
    ///
    /// # Errors
    /// [`NetworkError`] where it is not running.
    pub fn detach(&self, container: &str, network: &str) -> Result<(), NetworkError> {
        let found = self.register.get(container)?;
        let mut connections = found.connections();
        let (gone, kept) = std::mem::take(&mut *connections)
            .into_iter()
            .partition(|connection| connection.network == network);
        *connections = kept;
        drop(connections);
        self.networks.delete(&gone)?;
        Ok(())
    }
}
