//! The manifests that images came with from registries, or went with: they say under which digests a registry knows
//! the layers, so that a push need not send what is there.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ImageStore, StoreError, digests_in};
use crate::digest::{Digest, ImageId};

/// Manifests kept of one image, newest first: it may be known differently to several registries.
const MAX_MANIFESTS: usize = 8;

/// Folder of the manifests.
const FOLDER: &str = "manifests";

/// A manifest as the registry had it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoredManifest {
    /// Its media type.
    pub(super) media_type: String,
    /// Its text, byte for byte: its digest is that of the bytes.
    pub(super) text: String,
}

impl ImageStore {
    fn manifest_path(&self, id: &ImageId) -> PathBuf {
        let folder = self.inner.root.join(FOLDER);
        folder.join(id.digest().hex()).with_extension("json")
    }

    /// Keeps a manifest of an image; the caller holds the store's lock.
    pub(super) fn write_manifest(
        &self,
        id: &ImageId,
        manifest: &StoredManifest,
    ) -> Result<(), StoreError> {
        let mut manifests = self.stored_manifests(id)?;
        if manifests.first() == Some(manifest) {
            return Ok(());
        }
        manifests.retain(|known| known != manifest);
        manifests.insert(0, manifest.clone());
        manifests.truncate(MAX_MANIFESTS);
        let bytes = serde_json::to_vec(&manifests).expect("a manifest is text");
        self.session().write_whole(&self.manifest_path(id), &bytes)
    }

    /// The manifests of an image, newest first; none if it neither came from a registry nor went to one.
    pub(super) fn stored_manifests(&self, id: &ImageId) -> Result<Vec<StoredManifest>, StoreError> {
        let path = self.manifest_path(id);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::io("read", &path)(error)),
        };
        serde_json::from_slice(&bytes).map_err(|_| StoreError::Damaged { path })
    }

    /// Removes those of images that are gone; the caller holds the store's lock.
    pub(super) fn remove_unused_manifests(&self, images: &[ImageId]) -> Result<(), StoreError> {
        let used: Vec<Digest> = images.iter().map(ImageId::digest).collect();
        for (digest, path) in digests_in(&self.inner.root.join(FOLDER))? {
            if !used.contains(&digest) {
                fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
            }
        }
        Ok(())
    }
}
