//! A container's files: archives both ways, and what differs from the image.

use std::io;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use serde::Deserialize;

use super::connection::{Client, full};
use super::error::ClientError;
use super::models::or_default;
use super::streamed::StreamedBody;
use super::target::Target;
use super::upload::Upload;

/// One path that differs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FileChange {
    /// The path.
    pub path: String,
    /// 0 changed, 1 added, 2 deleted.
    pub kind: u8,
}

/// What to make of a container.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// `name[:tag]`, or empty.
    pub reference: String,
    /// Who makes it.
    pub author: String,
    /// A comment for the history.
    pub message: String,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// Whether the container is frozen meanwhile.
    pub pause: bool,
}

impl Client {
    /// An archive of what is at a path, under the path's last name.
    ///
    /// # Errors
    /// 404 when there is no such container or path.
    pub async fn read_archive(&self, id: &str, path: &str) -> Result<StreamedBody, ClientError> {
        let target = Target::of(&["containers", id, "archive"]).query("path", path);
        self.stream(Method::GET, &target, full(None), None).await
    }

    /// Whether a path of a container is a folder; `None` where there is nothing. Asks for the archive
    /// and looks at no more than its first entry's header, for a path with a slash behind it is a
    /// folder or nothing.
    ///
    /// # Errors
    /// 404 when there is no such container.
    pub async fn is_folder(&self, id: &str, path: &str) -> Result<Option<bool>, ClientError> {
        let at = |path: String| async move {
            let target = Target::of(&["containers", id, "archive"]).query("path", &path);
            self.command(Method::HEAD, &target).await
        };
        match at(path.to_owned()).await {
            Ok(()) => {}
            Err(ClientError::Refused { status: 404, .. }) => {
                // Without a body the answer does not say what is missing.
                self.container_facts(id).await?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        match at(format!("{}/", path.trim_end_matches('/'))).await {
            Ok(()) => Ok(Some(true)),
            Err(ClientError::Refused { status: 404, .. }) => Ok(Some(false)),
            Err(error) => Err(error),
        }
    }

    /// Unpacks an archive in a folder of a container.
    ///
    /// # Errors
    /// 404 when there is no such container or folder, 400 when the archive is refused.
    pub async fn write_archive(
        &self,
        id: &str,
        path: &str,
        as_container_user: bool,
        archive: Upload,
    ) -> Result<(), ClientError> {
        let target = Target::of(&["containers", id, "archive"])
            .query("path", path)
            .query("noOverwriteDirNonDir", "true")
            .flag("copyUIDGID", as_container_user);
        let body = archive.map_err(|error: io::Error| error).boxed_unsync();
        let mut answer = self
            .stream(Method::PUT, &target, body, Some("application/x-tar"))
            .await?;
        let nothing: Option<Bytes> = answer.next_chunk().await?;
        drop(nothing);
        Ok(())
    }

    /// An archive of all files of a container.
    ///
    /// # Errors
    /// 404 when there is no such container.
    pub async fn export_container(&self, id: &str) -> Result<StreamedBody, ClientError> {
        let target = Target::of(&["containers", id, "export"]);
        self.stream(Method::GET, &target, full(None), None).await
    }

    /// What differs between a container and its image.
    ///
    /// # Errors
    /// 404 when there is no such container.
    pub async fn container_changes(&self, id: &str) -> Result<Vec<FileChange>, ClientError> {
        #[derive(Deserialize)]
        struct List(#[serde(deserialize_with = "or_default")] Vec<FileChange>);
        let target = Target::of(&["containers", id, "changes"]);
        let List(changes) = self.fetch(Method::GET, &target).await?;
        Ok(changes)
    }

    /// Makes an image of a container; returns its id.
    ///
    /// # Errors
    /// 404 when there is no such container, 400 when a change is refused.
    pub async fn commit_container(
        &self,
        id: &str,
        options: &CommitOptions,
    ) -> Result<String, ClientError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Made {
            id: String,
        }
        let non_empty = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
        let mut target = Target::of(&["commit"])
            .query("container", id)
            .maybe("repo", non_empty(&options.reference).as_deref())
            .maybe("author", non_empty(&options.author).as_deref())
            .maybe("comment", non_empty(&options.message).as_deref())
            .query("pause", if options.pause { "1" } else { "0" });
        for change in &options.changes {
            target = target.query("changes", change);
        }
        let Made { id } = self.fetch(Method::POST, &target).await?;
        Ok(id)
    }
}
