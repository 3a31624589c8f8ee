//! Networks: create, list, inspect, remove, prune, connect and disconnect.

use hyper::Method;
use serde::Deserialize;

use super::connection::Client;
use super::error::ClientError;
use super::models::NetworkSummary;
use super::request::{NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest};
use super::target::Target;

/// Answer of `networks/create`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreatedNetwork {
    id: String,
}

/// Answer of `networks/prune`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct PrunedNetworks {
    networks_deleted: Option<Vec<String>>,
}

impl Client {
    /// Makes a network; returns its id.
    ///
    /// # Errors
    /// 409 when the name is taken, 400 and 403 when its addresses cannot be had.
    pub async fn create_network(
        &self,
        request: &NetworkCreateRequest,
    ) -> Result<String, ClientError> {
        let target = Target::of(&["networks", "create"]);
        let created: CreatedNetwork = self.submit(&target, request).await?;
        Ok(created.id)
    }

    /// Lists networks.
    ///
    /// # Errors
    /// When a filter is not understood.
    pub async fn list_networks(
        &self,
        filters: Option<&str>,
    ) -> Result<Vec<NetworkSummary>, ClientError> {
        let target = Target::of(&["networks"]).maybe("filters", filters);
        self.fetch(Method::GET, &target).await
    }

    /// Everything about a network, as the JSON the daemon wrote.
    ///
    /// # Errors
    /// When there is no such network.
    pub async fn inspect_network(&self, name: &str) -> Result<String, ClientError> {
        self.fetch_text(&Target::of(&["networks", name])).await
    }

    /// Removes a network.
    ///
    /// # Errors
    /// 403 when containers are on it.
    pub async fn remove_network(&self, name: &str) -> Result<(), ClientError> {
        let target = Target::of(&["networks", name]);
        self.command(Method::DELETE, &target).await
    }

    /// Removes every network that nobody uses; returns their names.
    ///
    /// # Errors
    /// When a filter is not understood.
    pub async fn prune_networks(&self, filters: Option<&str>) -> Result<Vec<String>, ClientError> {
        let target = Target::of(&["networks", "prune"]).maybe("filters", filters);
        let pruned: PrunedNetworks = self.fetch(Method::POST, &target).await?;
        Ok(pruned.networks_deleted.unwrap_or_default())
    }

    /// Connects a container.
    ///
    /// # Errors
    /// 403 when it is there already, or cannot be.
    pub async fn connect_network(
        &self,
        network: &str,
        request: &NetworkConnectRequest,
    ) -> Result<(), ClientError> {
        let target = Target::of(&["networks", network, "connect"]);
        self.submit_quietly(&target, request).await
    }

    /// Disconnects a container.
    ///
    /// # Errors
    /// 403 when it is not there.
    pub async fn disconnect_network(
        &self,
        network: &str,
        request: &NetworkDisconnectRequest,
    ) -> Result<(), ClientError> {
        let target = Target::of(&["networks", network, "disconnect"]);
        self.submit_quietly(&target, request).await
    }
}
