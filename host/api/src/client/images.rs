//! Images: list, inspect, load, import, tag and remove.

use http_body_util::BodyExt;
use hyper::Method;

use super::connection::{Client, full};
use super::error::ClientError;
use super::models::{ImageSummary, RemovedImage};
use super::streamed::StreamedBody;
use super::target::Target;
use super::upload::Upload;

/// What the archives we send are, whatever compression they have.
const ARCHIVE: &str = "application/x-tar";

/// How to name and describe an imported root file system.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Repository part of the name.
    pub repository: Option<String>,
    /// Tag part of the name.
    pub tag: Option<String>,
    /// A comment kept in its history.
    pub message: Option<String>,
    /// Dockerfile instructions that set its configuration.
    pub changes: Vec<String>,
    /// `os/architecture`.
    pub platform: Option<String>,
}

impl Client {
    /// Lists images, newest first.
    ///
    /// # Errors
    /// When a filter is not understood.
    pub async fn list_images(
        &self,
        all: bool,
        filters: Option<&str>,
    ) -> Result<Vec<ImageSummary>, ClientError> {
        let target = Target::of(&["images", "json"])
            .flag("all", all)
            .maybe("filters", filters);
        self.fetch(Method::GET, &target).await
    }

    /// Everything about an image, as the JSON the daemon wrote.
    ///
    /// # Errors
    /// When there is no such image.
    pub async fn inspect_image(&self, name: &str) -> Result<String, ClientError> {
        self.fetch_text(&Target::of(&["images", name, "json"]))
            .await
    }

    /// Sends an archive of images; progress comes back as JSON values.
    ///
    /// # Errors
    /// When the archive is refused before any of it was read.
    pub async fn load_images(
        &self,
        archive: Upload,
        quiet: bool,
    ) -> Result<StreamedBody, ClientError> {
        let target = Target::of(&["images", "load"]).query("quiet", if quiet { "1" } else { "0" });
        self.stream(Method::POST, &target, archive.boxed_unsync(), Some(ARCHIVE))
            .await
    }

    /// Makes an image of a root file system; its id comes back as the last status.
    ///
    /// # Errors
    /// When the archive is refused before any of it was read.
    pub async fn import_image(
        &self,
        archive: Upload,
        options: &ImportOptions,
    ) -> Result<StreamedBody, ClientError> {
        let mut target = Target::of(&["images", "create"])
            .query("fromSrc", "-")
            .maybe("repo", options.repository.as_deref())
            .maybe("tag", options.tag.as_deref())
            .maybe("message", options.message.as_deref())
            .maybe("platform", options.platform.as_deref());
        for change in &options.changes {
            target = target.query("changes", change);
        }
        self.stream(Method::POST, &target, archive.boxed_unsync(), Some(ARCHIVE))
            .await
    }

    /// Gives an image a further name.
    ///
    /// # Errors
    /// When there is no such image.
    pub async fn tag_image(
        &self,
        image: &str,
        repository: &str,
        tag: &str,
    ) -> Result<(), ClientError> {
        let target = Target::of(&["images", image, "tag"])
            .query("repo", repository)
            .query("tag", tag);
        self.command(Method::POST, &target).await
    }

    /// Removes a name, and the image when it was the last.
    ///
    /// # Errors
    /// 409 when a container uses it and there is no force.
    pub async fn remove_image(
        &self,
        name: &str,
        force: bool,
        keep_parents: bool,
    ) -> Result<Vec<RemovedImage>, ClientError> {
        let target = Target::of(&["images", name])
            .flag("force", force)
            .flag("noprune", keep_parents);
        self.fetch(Method::DELETE, &target).await
    }

    /// Writes images as one archive.
    ///
    /// # Errors
    /// When there is no such image.
    pub async fn save_images(&self, names: &[String]) -> Result<StreamedBody, ClientError> {
        let mut target = Target::of(&["images", "get"]);
        for name in names {
            target = target.query("names", name);
        }
        self.stream(Method::GET, &target, full(None), None).await
    }
}
