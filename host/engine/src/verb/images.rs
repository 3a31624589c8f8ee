//! Images: list, inspect, load, save, import, tag, remove.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::blocking;
use crate::engine::Engine;
use crate::events::{Event, EventKind};
use crate::image::{Image, ImageError, ImportOptions, LoadProgress, RemovedImage};
use crate::time::Timestamp;

impl Engine {
    /// Every image.
    ///
    /// # Errors
    /// [`ImageError::Store`].
    pub async fn images_list(&self) -> Result<Vec<Image>, ImageError> {
        let images = Arc::clone(self.images());
        blocking(move || images.list()).await
    }

    /// The image of a reference, an id or the beginning of one.
    ///
    /// # Errors
    /// [`ImageError::NotFound`] where there is none.
    pub async fn image(&self, reference: &str) -> Result<Image, ImageError> {
        let images = Arc::clone(self.images());
        let reference = reference.to_owned();
        blocking(move || images.resolve(&reference)).await
    }

    /// Reads an archive; progress that nobody takes is dropped.
    ///
    /// # Errors
    /// [`ImageError::Invalid`] where the archive is broken.
    pub async fn image_load(
        &self,
        mut archive: Box<dyn Read + Send>,
        progress: mpsc::Sender<LoadProgress>,
    ) -> Result<(), ImageError> {
        let images = Arc::clone(self.images());
        let engine = self.clone();
        blocking(move || {
            images.load(archive.as_mut(), &mut |step| {
                if let LoadProgress::Loaded(name) = &step {
                    engine.announce_image("load", name, name);
                    // The outcome must not be lost, however slow the client is.
                    let _client_gone = progress.blocking_send(step);
                } else {
                    let _client_busy = progress.try_send(step);
                }
            })
        })
        .await
    }

    /// Writes images as one archive.
    ///
    /// # Errors
    /// [`ImageError::NotFound`] where one is not here; nothing is written then.
    pub async fn image_save(
        &self,
        names: Vec<String>,
        mut output: Box<dyn Write + Send>,
    ) -> Result<(), ImageError> {
        let images = Arc::clone(self.images());
        for name in &names {
            self.announce_image("save", name, name);
        }
        blocking(move || images.save(&names, output.as_mut())).await
    }

    /// Makes an image of a root file system's tar; returns its id.
    ///
    /// # Errors
    /// [`ImageError`].
    pub async fn image_import(
        &self,
        mut tar: Box<dyn Read + Send>,
        options: ImportOptions,
    ) -> Result<String, ImageError> {
        let images = Arc::clone(self.images());
        let reference = options.reference.clone();
        let id = blocking(move || images.import(tar.as_mut(), &options)).await?;
        self.announce_image("import", &id, &reference);
        Ok(id)
    }

    /// Gives an image a further reference.
    ///
    /// # Errors
    /// [`ImageError`].
    pub async fn image_tag(&self, source: &str, target: &str) -> Result<(), ImageError> {
        let images = Arc::clone(self.images());
        let (from, to) = (source.to_owned(), target.to_owned());
        blocking(move || images.tag(&from, &to)).await?;
        self.announce_image("tag", source, target);
        Ok(())
    }

    /// Removes a reference, and the image with its last one.
    ///
    /// # Errors
    /// [`ImageError::Conflict`] where a container needs it and it is not forced.
    pub async fn image_remove(
        &self,
        reference: &str,
        force: bool,
    ) -> Result<Vec<RemovedImage>, ImageError> {
        let images = Arc::clone(self.images());
        let (engine, reference) = (self.clone(), reference.to_owned());
        let removed = blocking(move || {
            images.remove(&reference, force, &|id| {
                let containers = engine.containers().all();
                let user = containers
                    .iter()
                    .find(|container| container.record().image_id == id)?;
                let state = user.status().phase.name();
                Some(format!("{state} container {}", user.id().short()))
            })
        })
        .await?;
        for one in &removed {
            match one {
                RemovedImage::Untagged(name) => self.announce_image("untag", name, name),
                RemovedImage::Deleted(id) => self.announce_image("delete", id, id),
            }
        }
        Ok(removed)
    }

    pub(crate) fn announce_image(&self, action: &str, actor: &str, name: &str) {
        self.events().publish(Event {
            kind: EventKind::Image,
            action: action.to_owned(),
            actor: actor.to_owned(),
            attributes: BTreeMap::from([("name".to_owned(), name.to_owned())]),
            time: Timestamp::now(),
        });
    }
}
