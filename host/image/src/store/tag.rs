//! Gives an image another name.

use super::{ImageStore, ResolveError, StoreError};
use crate::reference::{ParseReferenceError, Reference};

/// Why an image got no other name.
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// The image was not found.
    #[error("failed to tag an image")]
    Source(#[source] ResolveError),
    /// The new name is none.
    #[error("invalid target name")]
    Target(#[source] ParseReferenceError),
    /// The new name has a digest, which cannot be chosen.
    #[error("refused to tag with a digest: {target}")]
    Digest {
        /// The name.
        target: String,
    },
    /// The store failed.
    #[error("failed to record a name")]
    Store(#[source] StoreError),
}

impl ImageStore {
    /// Makes `target` a name of the image `source`; another image loses it if it had it.
    ///
    /// # Errors
    /// If there is no such image, the name is invalid, or the store cannot be written.
    pub fn tag(&self, source: &str, target: &str) -> Result<(), TagError> {
        let reference: Reference = target.parse().map_err(TagError::Target)?;
        if reference.digest().is_some() {
            return Err(TagError::Digest {
                target: target.to_owned(),
            });
        }
        let _lock = self.lock().map_err(TagError::Store)?;
        let id = self.resolve_id(source).map_err(TagError::Source)?;
        let mut references = self.references().map_err(TagError::Store)?;
        references.set(reference.or_latest(), id);
        references
            .write(&self.inner.root, self.session())
            .map_err(TagError::Store)
    }
}
