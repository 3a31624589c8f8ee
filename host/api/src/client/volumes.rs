//! Volumes: make, list, inspect, remove and prune.

use hyper::Method;

use super::connection::Client;
use super::error::ClientError;
use super::models::{PrunedVolumes, VolumeFacts, VolumeList};
use super::request::VolumeCreateRequest;
use super::target::Target;

impl Client {
    /// Makes a volume; one of that name that is there already is returned as it is.
    ///
    /// # Errors
    /// When the name or the driver is none.
    pub async fn create_volume(
        &self,
        volume: &VolumeCreateRequest,
    ) -> Result<VolumeFacts, ClientError> {
        self.submit(&Target::of(&["volumes", "create"]), volume)
            .await
    }

    /// Lists volumes.
    ///
    /// # Errors
    /// When a filter is not understood.
    pub async fn list_volumes(
        &self,
        filters: Option<&str>,
    ) -> Result<Vec<VolumeFacts>, ClientError> {
        let target = Target::of(&["volumes"]).maybe("filters", filters);
        let list: VolumeList = self.fetch(Method::GET, &target).await?;
        Ok(list.volumes)
    }

    /// Everything about a volume, as the JSON the daemon wrote.
    ///
    /// # Errors
    /// 404 when there is none.
    pub async fn inspect_volume(&self, name: &str) -> Result<String, ClientError> {
        self.fetch_text(&Target::of(&["volumes", name])).await
    }

    /// Removes a volume.
    ///
    /// # Errors
    /// 404 when there is none and there is no force, 409 when a container has it.
    pub async fn remove_volume(&self, name: &str, force: bool) -> Result<(), ClientError> {
        let target = Target::of(&["volumes", name]).flag("force", force);
        self.command(Method::DELETE, &target).await
    }

    /// Removes volumes that no container has.
    ///
    /// # Errors
    /// When a filter is not understood.
    pub async fn prune_volumes(&self, filters: Option<&str>) -> Result<PrunedVolumes, ClientError> {
        let target = Target::of(&["volumes", "prune"]).maybe("filters", filters);
        self.fetch(Method::POST, &target).await
    }
}
