//! Registries: pull, push, search, login, and the rest of what images are asked for.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use hyper::Method;
use serde::Serialize;
use serde_json::Value;

use super::connection::Client;
use super::error::ClientError;
use super::models::{FoundImage, HistoryStep, LoginReply, PrunedImages};
use super::streamed::StreamedBody;
use super::target::Target;

/// Where a request says who asks.
const AUTH_HEADER: &str = "x-registry-auth";

/// Who asks a registry. Never printed.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct RegistryAuth {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
    /// A token that stands for both.
    #[serde(rename = "identitytoken", skip_serializing_if = "String::is_empty")]
    pub identity_token: String,
    /// Which registry it is for.
    #[serde(rename = "serveraddress")]
    pub server_address: String,
}

impl RegistryAuth {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.username.is_empty() && self.password.is_empty() && self.identity_token.is_empty()
    }

    /// As the header carries it.
    fn header(&self) -> String {
        let json = serde_json::to_vec(self).expect("texts are JSON");
        URL_SAFE.encode(json)
    }
}

impl fmt::Debug for RegistryAuth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RegistryAuth")
            .field("username", &self.username)
            .field("server_address", &self.server_address)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Pulls an image, or all tags of it where none is given; progress comes back as JSON values.
    ///
    /// # Errors
    /// When the registry does not have it.
    pub async fn pull_image(
        &self,
        repository: &str,
        tag: Option<&str>,
        platform: Option<&str>,
        auth: &RegistryAuth,
    ) -> Result<StreamedBody, ClientError> {
        let target = Target::of(&["images", "create"])
            .query("fromImage", repository)
            .maybe("tag", tag)
            .maybe("platform", platform);
        let header = (AUTH_HEADER, auth.header());
        self.stream_with(Method::POST, &target, (header.0, &header.1))
            .await
    }

    /// Pushes an image, or all its tags where none is given; progress comes back as JSON values.
    ///
    /// # Errors
    /// When there is no such image.
    pub async fn push_image(
        &self,
        repository: &str,
        tag: Option<&str>,
        auth: &RegistryAuth,
    ) -> Result<StreamedBody, ClientError> {
        let target = Target::of(&["images", repository, "push"]).maybe("tag", tag);
        self.stream_with(Method::POST, &target, (AUTH_HEADER, &auth.header()))
            .await
    }

    /// Has the daemon show credentials to their registry.
    ///
    /// # Errors
    /// 401 when the registry does not believe them.
    pub async fn login(&self, auth: &RegistryAuth) -> Result<LoginReply, ClientError> {
        self.submit(&Target::of(&["auth"]), auth).await
    }

    /// Searches a registry.
    ///
    /// # Errors
    /// When the registry cannot be searched.
    pub async fn search_images(
        &self,
        term: &str,
        limit: u32,
        filters: Option<&str>,
        auth: &RegistryAuth,
    ) -> Result<Vec<FoundImage>, ClientError> {
        let target = Target::of(&["images", "search"])
            .query("term", term)
            .query("limit", &limit.to_string())
            .maybe("filters", filters);
        let mut answer = self
            .stream_with(Method::GET, &target, (AUTH_HEADER, &auth.header()))
            .await?;
        Ok(answer.next_json().await?.unwrap_or_default())
    }

    /// How an image was made, newest step first.
    ///
    /// # Errors
    /// When there is no such image.
    pub async fn image_history(&self, name: &str) -> Result<Vec<HistoryStep>, ClientError> {
        let target = Target::of(&["images", name, "history"]);
        self.fetch(Method::GET, &target).await
    }

    /// Removes images that nothing needs.
    ///
    /// # Errors
    /// When a filter is not understood.
    pub async fn prune_images(&self, filters: Option<&str>) -> Result<PrunedImages, ClientError> {
        let target = Target::of(&["images", "prune"]).maybe("filters", filters);
        self.submit(&target, &Value::Null).await
    }
}
