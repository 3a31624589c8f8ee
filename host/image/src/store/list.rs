//! Lists all images.

use std::collections::HashMap;

use super::{ImageStore, StoreError};
use crate::digest::ImageId;

/// One image in a listing.
#[derive(Debug, Clone)]
pub struct ImageSummary {
    /// The digest of its configuration.
    pub id: ImageId,
    /// Names with tags, as people write them.
    pub repo_tags: Vec<String>,
    /// Names with digests, as people write them.
    pub repo_digests: Vec<String>,
    /// When it was made, RFC 3339, if its configuration says so.
    pub created: Option<String>,
    /// Bytes of its layer files.
    pub size: u64,
    /// The labels of its configuration.
    pub labels: HashMap<String, String>,
    /// Whether no name with a tag means it.
    pub dangling: bool,
}

impl ImageStore {
    /// All images, newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn list(&self) -> Result<Vec<ImageSummary>, StoreError> {
        let mut summaries = Vec::new();
        for id in self.image_ids()? {
            // Another process may have removed it since the folder was read.
            let Some(image) = self.image(&id)? else {
                continue;
            };
            let labels = image
                .config
                .config()
                .as_ref()
                .and_then(|config| config.labels().clone());
            summaries.push(ImageSummary {
                id,
                dangling: image.repo_tags.is_empty(),
                repo_tags: image.repo_tags,
                repo_digests: image.repo_digests,
                created: image.config.created().clone(),
                size: image.layers.iter().map(|layer| layer.size).sum(),
                labels: labels.unwrap_or_default(),
            });
        }
        summaries.sort_by(|one, other| other.created.cmp(&one.created));
        Ok(summaries)
    }
}
