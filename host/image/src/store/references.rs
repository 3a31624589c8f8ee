//! `references.json`: which names mean which image.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::session::Session;
use crate::digest::ImageId;
use crate::reference::Reference;

/// The file's name in the store.
const FILE_NAME: &str = "references.json";

/// All names, by their full form.
#[derive(Debug, Default)]
pub(super) struct References {
    names: BTreeMap<Reference, ImageId>,
}

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    /// Format, to be raised when the meaning changes.
    version: u32,
    references: BTreeMap<String, String>,
}

/// The format written here.
const VERSION: u32 = 1;

impl References {
    pub(super) fn read(root: &Path) -> Result<Self, StoreError> {
        let path = root.join(FILE_NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => {
                return Err(StoreError::Io {
                    action: "read",
                    path,
                    source,
                });
            }
        };
        let stored = serde_json::from_slice::<Stored>(&bytes).ok();
        let parsed = stored
            .filter(|stored| stored.version == VERSION)
            .and_then(|stored| {
                let entries = stored.references.into_iter();
                entries
                    .map(|(name, id)| Some((name.parse().ok()?, id.parse().ok()?)))
                    .collect()
            });
        parsed
            .map(|names| Self { names })
            .ok_or(StoreError::Damaged { path })
    }

    /// Replaces the file; the caller holds the store's lock.
    pub(super) fn write(&self, root: &Path, session: &Session) -> Result<(), StoreError> {
        let entries = self
            .names
            .iter()
            .map(|(name, id)| (name.to_string(), id.to_string()));
        let stored = Stored {
            version: VERSION,
            references: entries.collect(),
        };
        let mut bytes = serde_json::to_vec_pretty(&stored).expect("names and ids are plain text");
        bytes.push(b'\n');
        session.write_whole(&root.join(FILE_NAME), &bytes)?;
        super::session::sync_folder(root)
    }

    /// The image a reference names; by digest if it has one, else by tag, `latest` if it has none.
    pub(super) fn get(&self, reference: &Reference) -> Option<ImageId> {
        let key = match reference.digest() {
            Some(digest) => reference.at_digest(digest),
            None => reference.clone().or_latest(),
        };
        self.names.get(&key).copied()
    }

    pub(super) fn set(&mut self, reference: Reference, id: ImageId) {
        self.names.insert(reference, id);
    }

    pub(super) fn remove(&mut self, reference: &Reference) -> bool {
        self.names.remove(reference).is_some()
    }

    /// All tags of a name, with their images.
    pub(super) fn tags_of(&self, name: &str) -> Vec<(Reference, ImageId)> {
        let tagged = self
            .names
            .iter()
            .filter(|(reference, _)| reference.digest().is_none() && reference.name() == name);
        tagged
            .map(|(reference, id)| (reference.clone(), *id))
            .collect()
    }

    /// All names of an image, in order.
    pub(super) fn of(&self, id: &ImageId) -> Vec<Reference> {
        let mine = self.names.iter().filter(|(_, named)| *named == id);
        mine.map(|(name, _)| name.clone()).collect()
    }
}
