//! The store of `host/image` as an [`ImageLibrary`].

use std::error::Error;
use std::io::{Read, Write};

use dhow_image::{
    ImageStore, ImportError, ImportOptions as StoreImportOptions, LoadError, LoadEvent, Reference,
    RemoveError, Removed, ResolveError, SaveError, TagError,
};

use super::{
    CommitOptions, Image, ImageError, ImageLayer, ImageLibrary, ImportOptions, LoadProgress,
    PullEvent, PullRequest, Pulled, PushEvent, PushRequest, Pushed, RegistryClient, RemovedImage,
};
use crate::time::Timestamp;

/// Digits of a layer's id that people see.
const SHORT_DIGITS: usize = 12;

fn store_failure(error: impl Error + Send + Sync + 'static) -> ImageError {
    ImageError::Store(error.into())
}

fn invalid(error: impl Error + Send + Sync + 'static) -> ImageError {
    ImageError::Invalid(error.into())
}

fn resolve_failure(error: ResolveError) -> ImageError {
    match error {
        ResolveError::NotFound { text } => ImageError::NotFound(text),
        ResolveError::Store { .. } => store_failure(error),
        _ => invalid(error),
    }
}

fn converted(image: dhow_image::Image) -> Image {
    let layers = image.layers.into_iter().map(|layer| ImageLayer {
        diff_id: layer.diff_id.to_string(),
        path: layer.path,
        size: layer.size,
    });
    Image {
        id: image.id.to_string(),
        config: image.config,
        config_json: String::from_utf8_lossy(&image.config_json).into_owned(),
        layers: layers.collect(),
        repo_tags: image.repo_tags,
        repo_digests: image.repo_digests,
    }
}

fn short(id: &str) -> String {
    let digits = id.trim_start_matches("sha256:");
    digits.chars().take(SHORT_DIGITS).collect()
}

impl ImageLibrary for ImageStore {
    fn resolve(&self, reference: &str) -> Result<Image, ImageError> {
        self.resolve(reference)
            .map(converted)
            .map_err(resolve_failure)
    }

    fn list(&self) -> Result<Vec<Image>, ImageError> {
        let summaries = self.list().map_err(store_failure)?;
        let mut images = Vec::with_capacity(summaries.len());
        for summary in summaries {
            match self.resolve(&summary.id.to_string()) {
                Ok(image) => images.push(converted(image)),
                // Removed by another process since it was listed.
                Err(ResolveError::NotFound { .. }) => {}
                Err(error) => return Err(resolve_failure(error)),
            }
        }
        Ok(images)
    }

    fn load(
        &self,
        archive: &mut dyn Read,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<(), ImageError> {
        let mut report = |event| match event {
            LoadEvent::Progress { bytes } => progress(LoadProgress::Read { bytes }),
            LoadEvent::Layer {
                diff_id, present, ..
            } => progress(LoadProgress::Layer {
                id: short(&diff_id.to_string()),
                existed: present,
            }),
        };
        let loaded = self
            .load(archive, &mut report)
            .map_err(|error| match error {
                LoadError::Store(_) => store_failure(error),
                _ => invalid(error),
            })?;
        for image in loaded {
            if image.references.is_empty() {
                progress(LoadProgress::Loaded(image.id.to_string()));
            }
            for reference in image.references {
                progress(LoadProgress::Loaded(reference));
            }
        }
        Ok(())
    }

    fn pull(
        &self,
        client: &RegistryClient,
        request: &PullRequest,
        report: &(dyn Fn(PullEvent) + Sync),
    ) -> Result<Pulled, ImageError> {
        Ok(self.pull(client, request, report)?)
    }

    fn push(
        &self,
        client: &RegistryClient,
        request: &PushRequest,
        report: &(dyn Fn(PushEvent) + Sync),
    ) -> Result<Pushed, ImageError> {
        Ok(self.push(client, request, report)?)
    }

    fn save(&self, names: &[String], output: &mut dyn Write) -> Result<(), ImageError> {
        self.save(names, output).map_err(|error| match error {
            SaveError::Resolve(source) => resolve_failure(source),
            _ => store_failure(error),
        })
    }

    fn import(&self, tar: &mut dyn Read, options: &ImportOptions) -> Result<String, ImageError> {
        let reference = match options.reference.as_str() {
            "" => None,
            text => Some(text.parse::<Reference>().map_err(invalid)?),
        };
        let store_options = StoreImportOptions {
            changes: options.changes.clone(),
            message: options.message.clone(),
            created: Some(Timestamp::now().to_string()),
            architecture: None,
        };
        let imported = self.import(tar, &store_options, reference);
        let id = imported.map_err(|error| match error {
            ImportError::Store(_) => store_failure(error),
            _ => invalid(error),
        })?;
        Ok(id.to_string())
    }

    fn commit(&self, layer: &mut dyn Read, options: &CommitOptions) -> Result<String, ImageError> {
        let reference = match options.reference.as_str() {
            "" => None,
            text => Some(text.parse::<Reference>().map_err(invalid)?),
        };
        let store_options = dhow_image::CommitOptions {
            config: options.config.clone(),
            changes: options.changes.clone(),
            author: options.author.clone(),
            message: options.message.clone(),
            created_by: options.created_by.clone(),
            created: options.created.clone(),
        };
        let made = self.commit_container(&options.base, layer, &store_options, reference);
        let id = made.map_err(|error| match error {
            dhow_image::CommitError::Base(source) => resolve_failure(source),
            dhow_image::CommitError::Import(ImportError::Store(_)) => store_failure(error),
            dhow_image::CommitError::Import(_) => invalid(error),
        })?;
        Ok(id.to_string())
    }

    fn tag(&self, source: &str, target: &str) -> Result<(), ImageError> {
        self.tag(source, target).map_err(|error| match error {
            TagError::Source(source) => resolve_failure(source),
            TagError::Store(_) => store_failure(error),
            _ => invalid(error),
        })
    }

    fn remove(
        &self,
        reference: &str,
        force: bool,
        in_use: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Vec<RemovedImage>, ImageError> {
        let removed = self.remove(reference, force, &|id| in_use(&id.to_string()));
        let removed = removed.map_err(|error| match error {
            RemoveError::Resolve(source) => resolve_failure(source),
            RemoveError::InUse { .. } | RemoveError::ManyNames { .. } => {
                ImageError::Conflict(error.to_string())
            }
            RemoveError::Store(_) => store_failure(error),
        })?;
        let converted = removed.into_iter().map(|one| match one {
            Removed::Untagged(name) => RemovedImage::Untagged(name),
            Removed::Deleted(id) => RemovedImage::Deleted(id.to_string()),
        });
        Ok(converted.collect())
    }
}
