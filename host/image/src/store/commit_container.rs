//! Makes an image from another one and a layer on top: what a container has changed.

use std::io::Read;

use serde_json::{Map, Value, json};

use super::commit::{StageError, StagedImage, StagedLayer};
use super::import::apply_changes;
use super::{Image, ImageStore, ImportError, ResolveError};
use crate::digest::{Digest, ImageId};
use crate::reference::Reference;

/// What the new image says beside its files.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// Its `config`: how a container of it starts.
    pub config: Map<String, Value>,
    /// Dockerfile instructions applied to that.
    pub changes: Vec<String>,
    /// Who made it.
    pub author: String,
    /// A comment for the history.
    pub message: String,
    /// The command that ran, for the history.
    pub created_by: String,
    /// When it was made, RFC 3339.
    pub created: String,
}

/// Why a container was not made an image.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The image below cannot be had.
    #[error(transparent)]
    Base(#[from] ResolveError),
    /// The layer or a change was refused, or the store failed.
    #[error(transparent)]
    Import(#[from] ImportError),
}

impl ImageStore {
    /// Makes an image of another one's layers and one more, an uncompressed tar with whiteouts.
    ///
    /// # Errors
    /// [`CommitError`]; the store is as before.
    pub fn commit_container(
        &self,
        base: &str,
        layer: impl Read,
        options: &CommitOptions,
        reference: Option<Reference>,
    ) -> Result<ImageId, CommitError> {
        let mut config = options.config.clone();
        apply_changes(&mut config, &options.changes)?;
        let base = self.resolve(base)?;
        let mut layers = self.pinned(&base)?;
        let staged = self.stage_layer(layer).map_err(|error| match error {
            StageError::Layer(source) => ImportError::Layer(source),
            StageError::Store(source) => ImportError::Store(source),
        })?;
        layers.push(staged);
        let config_json = configuration(&base, config, &layers, options);
        let id = ImageId::new(Digest::of(&config_json));
        let image = StagedImage {
            id,
            config_json,
            layers,
            references: reference.map(Reference::or_latest).into_iter().collect(),
            manifest: None,
        };
        self.commit_all(vec![image]).map_err(ImportError::Store)?;
        Ok(id)
    }

    /// The layers of an image, kept for the one to come.
    fn pinned(&self, base: &Image) -> Result<Vec<StagedLayer>, CommitError> {
        let mut layers = Vec::new();
        for layer in &base.layers {
            let pinned = self.pin_layer(layer.diff_id).map_err(ImportError::Store)?;
            let gone = || ResolveError::NotFound {
                text: base.id.to_string(),
            };
            layers.push(pinned.ok_or_else(gone)?);
        }
        Ok(layers)
    }
}

/// The new image's configuration: the one below it, with what is new.
fn configuration(
    base: &Image,
    config: Map<String, Value>,
    layers: &[StagedLayer],
    options: &CommitOptions,
) -> Vec<u8> {
    let parsed = serde_json::from_slice::<Map<String, Value>>(&base.config_json);
    let mut document = parsed.unwrap_or_default();
    let mut history = match document.remove("history") {
        Some(Value::Array(history)) => history,
        _ => Vec::new(),
    };
    history.push(json!({
        "created": options.created,
        "created_by": options.created_by,
        "author": options.author,
        "comment": options.message,
    }));
    let diff_ids: Vec<String> = layers
        .iter()
        .map(|layer| layer.diff_id.to_string())
        .collect();
    for (key, value) in [
        ("created", options.created.as_str().into()),
        ("author", options.author.as_str().into()),
        ("config", Value::Object(config)),
        ("rootfs", json!({"type": "layers", "diff_ids": diff_ids})),
        ("history", Value::Array(history)),
    ] {
        document.insert(key.to_owned(), value);
    }
    Value::Object(document).to_string().into_bytes()
}
