//! Images as the verbs need them.
//!
//! `dhow_image`'s store implements [`ImageLibrary`] in `store`. Its calls block, so the verbs make
//! them on blocking threads.

mod store;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{Read, Write};
use std::path::PathBuf;

pub use dhow_image::{
    Credentials, FoundRepository, LayerStep, Platform, PullEvent, PullRequest, Pulled, PushEvent,
    PushRequest, PushStep, Pushed, Reference, RegistryClient,
};
use dhow_image::{PullError, PushError, RegistryError};
use oci_spec::image::ImageConfiguration;

use crate::class::{Classified, ErrorClass};
use crate::guest::MachineFailure;

/// An image that is here whole.
#[derive(Clone, Debug)]
pub struct Image {
    /// `sha256:…` of its configuration.
    pub id: String,
    /// Its configuration.
    pub config: ImageConfiguration,
    /// Its configuration as stored.
    pub config_json: String,
    /// Files of its layers, lowest first.
    pub layers: Vec<ImageLayer>,
    /// `name:tag` references to it.
    pub repo_tags: Vec<String>,
    /// `name@digest` references to it.
    pub repo_digests: Vec<String>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageLayer {
    /// `sha256:…` of its uncompressed tar.
    pub diff_id: String,
    /// Its EROFS file.
    pub path: PathBuf,
    /// Bytes of that file.
    pub size: u64,
}

impl Image {
    /// Bytes of all layers.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }

    /// The labels of its configuration.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        let labels = self
            .config
            .config()
            .as_ref()
            .and_then(|config| config.labels().clone());
        labels.unwrap_or_default().into_iter().collect()
    }
}

/// Why an image operation failed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// No such image.
    #[error("No such image: {0}")]
    NotFound(String),
    /// The reference or the data is wrong.
    #[error("invalid image request")]
    Invalid(#[source] MachineFailure),
    /// It is in use.
    #[error("{0}")]
    Conflict(String),
    /// A registry did not do what was asked.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// An image could not be pulled.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// An image could not be pushed.
    #[error(transparent)]
    Push(#[from] PushError),
    /// A registry does not believe who asks.
    #[error("the registry {host} refused the login: {message}")]
    Login {
        /// Its name.
        host: String,
        /// Its words.
        message: String,
    },
    /// The store failed.
    #[error("the image store failed")]
    Store(#[source] MachineFailure),
}

impl Classified for ImageError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NotFound(_) => ErrorClass::NotFound,
            Self::Invalid(_) => ErrorClass::InvalidParameter,
            Self::Conflict(_) => ErrorClass::Conflict,
            Self::Registry(error)
            | Self::Pull(PullError::Registry(error))
            | Self::Push(PushError::Registry(error)) => registry_class(error),
            Self::Push(PushError::NotFound { .. }) => ErrorClass::NotFound,
            Self::Login { .. } => ErrorClass::Unauthorized,
            Self::Pull(_) | Self::Push(_) | Self::Store(_) => ErrorClass::Internal,
        }
    }
}

/// As Docker: what may not be seen is not there, except to a login.
fn registry_class(error: &RegistryError) -> ErrorClass {
    match error {
        RegistryError::Denied { .. } | RegistryError::NotFound { .. } => ErrorClass::NotFound,
        _ => ErrorClass::Internal,
    }
}

/// What came of removing an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemovedImage {
    /// This reference is gone.
    Untagged(String),
    /// This image or layer is gone.
    Deleted(String),
}

/// How a load goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadProgress {
    /// So many bytes of the archive were read.
    Read {
        /// All of them so far.
        bytes: u64,
    },
    /// A layer is ready.
    Layer {
        /// Its id, shortened.
        id: String,
        /// Whether it was here already.
        existed: bool,
    },
    /// An image is complete: its reference, or its id where it has none.
    Loaded(String),
}

/// What `import` makes of a root file system's tar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// `name[:tag]`, or empty.
    pub reference: String,
    /// The image's history comment.
    pub message: String,
    /// Dockerfile instructions that set its configuration.
    pub changes: Vec<String>,
}

/// What `commit` makes of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitOptions {
    /// The image below.
    pub base: String,
    /// How a container of the new image starts: its `config` object.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Dockerfile instructions applied to that.
    pub changes: Vec<String>,
    /// Who made it.
    pub author: String,
    /// The image's history comment.
    pub message: String,
    /// The command that ran.
    pub created_by: String,
    /// When, RFC 3339.
    pub created: String,
    /// `name[:tag]`, or empty.
    pub reference: String,
}

/// All images of a home. Every call may block.
pub trait ImageLibrary: Debug + Send + Sync {
    /// The image of a reference, an id or the beginning of one.
    ///
    /// # Errors
    /// [`ImageError::NotFound`] where there is none.
    fn resolve(&self, reference: &str) -> Result<Image, ImageError>;

    /// Every image.
    ///
    /// # Errors
    /// [`ImageError::Store`].
    fn list(&self) -> Result<Vec<Image>, ImageError>;

    /// Reads an archive.
    ///
    /// # Errors
    /// [`ImageError::Invalid`] where the archive is broken.
    fn load(
        &self,
        archive: &mut dyn Read,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<(), ImageError>;

    /// Fetches an image from a registry.
    ///
    /// # Errors
    /// [`ImageError::Pull`].
    fn pull(
        &self,
        client: &RegistryClient,
        request: &PullRequest,
        report: &(dyn Fn(PullEvent) + Sync),
    ) -> Result<Pulled, ImageError>;

    /// Sends an image to a registry.
    ///
    /// # Errors
    /// [`ImageError::Push`].
    fn push(
        &self,
        client: &RegistryClient,
        request: &PushRequest,
        report: &(dyn Fn(PushEvent) + Sync),
    ) -> Result<Pushed, ImageError>;

    /// Writes images as one archive.
    ///
    /// # Errors
    /// [`ImageError::NotFound`] where one is not here; nothing is written then.
    fn save(&self, names: &[String], output: &mut dyn Write) -> Result<(), ImageError>;

    /// Makes an image of a root file system's tar; returns its id.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    fn import(&self, tar: &mut dyn Read, options: &ImportOptions) -> Result<String, ImageError>;

    /// Makes an image of another one and a layer on top; returns its id.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    fn commit(&self, layer: &mut dyn Read, options: &CommitOptions) -> Result<String, ImageError>;

    /// Gives an image a further reference.
    ///
    /// # Errors
    /// [`ImageError`].
    fn tag(&self, source: &str, target: &str) -> Result<(), ImageError>;

    /// Removes a reference, and the image with its last one. `in_use` tells, in words, who
    /// needs an image id.
    ///
    /// # Errors
    /// [`ImageError::Conflict`] where it is in use and not forced.
    fn remove(
        &self,
        reference: &str,
        force: bool,
        in_use: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Vec<RemovedImage>, ImageError>;
}
