//! Finds an image by what a user typed.

use std::fs;
use std::path::PathBuf;

use oci_spec::image::ImageConfiguration;

use super::{ImageStore, StoreError, diff_ids};
use crate::digest::{Digest, ImageId};
use crate::reference::{ParseReferenceError, Reference, is_id_prefix};

/// What precedes an id's digits when it is written in full.
const ID_PREFIX: &str = "sha256:";

/// An image of the store.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of its configuration.
    pub id: ImageId,
    /// The fields of the OCI image specification.
    pub config: ImageConfiguration,
    /// The configuration as it was loaded, with Docker's own fields (`Healthcheck`, `OnBuild`, …).
    pub config_json: Vec<u8>,
    /// Lowest first. The same layer may occur twice.
    pub layers: Vec<Layer>,
    /// Names with tags, as people write them.
    pub repo_tags: Vec<String>,
    /// Names with digests, as people write them.
    pub repo_digests: Vec<String>,
}

/// A layer as a file that can be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Digest of the uncompressed archive it was made from.
    pub diff_id: Digest,
    /// The EROFS image.
    pub path: PathBuf,
    /// Its bytes, a multiple of 4096.
    pub size: u64,
}

/// Why no image was found.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Neither a reference nor an id.
    #[error("invalid image name")]
    Invalid(#[source] ParseReferenceError),
    /// Nothing has this name or id.
    #[error("no such image: {text}")]
    NotFound {
        /// What was asked for.
        text: String,
    },
    /// Several ids begin so.
    #[error("the image id {text} is ambiguous: {count} images have it")]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// How many there are.
        count: usize,
    },
    /// The store failed.
    #[error("failed to look up {text}")]
    Store {
        /// What was asked for.
        text: String,
        /// What failed.
        #[source]
        source: StoreError,
    },
}

impl ImageStore {
    /// Finds an image by `name[:tag][@digest]`, id, or the unique start of an id. As in Docker a name
    /// wins over the start of an id.
    ///
    /// # Errors
    /// If nothing or more than one image fits, or the store cannot be read.
    pub fn resolve(&self, text: &str) -> Result<Image, ResolveError> {
        let id = self.resolve_id(text)?;
        let image = self.image(&id).map_err(store_error(text))?;
        image.ok_or_else(|| ResolveError::NotFound {
            text: text.to_owned(),
        })
    }

    /// The id of the image that `text` means.
    pub(super) fn resolve_id(&self, text: &str) -> Result<ImageId, ResolveError> {
        let not_found = || ResolveError::NotFound {
            text: text.to_owned(),
        };
        let digits = text.strip_prefix(ID_PREFIX).unwrap_or(text);
        if let Ok(digest) = Digest::from_hex(digits) {
            let id = ImageId::new(digest);
            return if self.image_path(&id).exists() {
                Ok(id)
            } else {
                Err(not_found())
            };
        }
        let parsed = text.parse::<Reference>();
        if let Ok(reference) = &parsed {
            let references = self.references().map_err(store_error(text))?;
            if let Some(id) = references.get(reference) {
                return Ok(id);
            }
        }
        if is_id_prefix(digits) {
            let ids = self.image_ids().map_err(store_error(text))?;
            let mut fitting = ids
                .into_iter()
                .filter(|id| id.digest().hex().starts_with(digits));
            return match (fitting.next(), fitting.count()) {
                (None, _) => Err(not_found()),
                (Some(id), 0) => Ok(id),
                (Some(_), more) => Err(ResolveError::Ambiguous {
                    text: text.to_owned(),
                    count: more + 1,
                }),
            };
        }
        match parsed {
            Ok(_) => Err(not_found()),
            Err(error) => Err(ResolveError::Invalid(error)),
        }
    }

    /// Reads an image; `None` if it is not there.
    pub(super) fn image(&self, id: &ImageId) -> Result<Option<Image>, StoreError> {
        let Some((config_json, config)) = self.configuration(id)? else {
            return Ok(None);
        };
        let damaged = || StoreError::Damaged {
            path: self.image_path(id),
        };
        let mut layers = Vec::new();
        for diff_id in diff_ids(&config).ok_or_else(damaged)? {
            let path = self.layer_path(&diff_id);
            let size = fs::metadata(&path)
                .map_err(StoreError::io("read", &path))?
                .len();
            layers.push(Layer {
                diff_id,
                path,
                size,
            });
        }
        let (repo_tags, repo_digests) = self.names(id)?;
        Ok(Some(Image {
            id: *id,
            config,
            config_json,
            layers,
            repo_tags,
            repo_digests,
        }))
    }

    /// The names of an image with tags, and those with digests.
    pub(super) fn names(&self, id: &ImageId) -> Result<(Vec<String>, Vec<String>), StoreError> {
        let references = self.references()?.of(id);
        let (digests, tags): (Vec<_>, Vec<_>) = references
            .into_iter()
            .partition(|reference| reference.digest().is_some());
        let familiar = |names: Vec<Reference>| names.iter().map(Reference::familiar).collect();
        Ok((familiar(tags), familiar(digests)))
    }
}

fn store_error(text: &str) -> impl FnOnce(StoreError) -> ResolveError {
    let text = text.to_owned();
    move |source| ResolveError::Store { text, source }
}
