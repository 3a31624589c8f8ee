//! Stages layers in the session folder, and moves whole images into the store.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tempfile::TempPath;

use super::manifests::StoredManifest;
use super::session::sync_folder;
use super::{ImageStore, LoadError, LoadedImage, StoreError};
use crate::digest::{Digest, ImageId};
use crate::layer::{self, LayerError};
use crate::reference::Reference;

/// A layer in the session folder; it is removed with its last clone unless it was committed.
#[derive(Debug, Clone)]
pub(super) struct StagedLayer {
    pub(super) diff_id: Digest,
    inner: Arc<StagedFile>,
}

#[derive(Debug)]
struct StagedFile {
    path: TempPath,
    /// What makes the archive again together with it.
    split: TempPath,
    size: u64,
    /// Whether it is a second name of a layer in the store.
    pinned: bool,
    /// Syncs the file while the next layer is being read.
    sync: Mutex<Option<JoinHandle<io::Result<()>>>>,
}

impl StagedLayer {
    pub(super) fn size(&self) -> u64 {
        self.inner.size
    }

    pub(super) fn is_pinned(&self) -> bool {
        self.inner.pinned
    }

    /// Waits until the file is on the disk.
    fn wait(&self) -> Result<(), StoreError> {
        let handle = self.inner.sync.lock().expect("no holder can panic").take();
        let synced = handle.map_or(Ok(()), |handle| {
            handle.join().expect("syncing cannot panic")
        });
        synced.map_err(StoreError::io("sync", &self.inner.path))
    }
}

/// An image whose layers are staged and verified.
#[derive(Debug)]
pub(super) struct StagedImage {
    pub(super) id: ImageId,
    pub(super) config_json: Vec<u8>,
    pub(super) layers: Vec<StagedLayer>,
    pub(super) references: Vec<Reference>,
    /// The manifest it came with from a registry.
    pub(super) manifest: Option<StoredManifest>,
}

/// Why a layer was not staged.
#[derive(Debug)]
pub(super) enum StageError {
    Layer(LayerError),
    Store(StoreError),
}

impl StageError {
    /// As an error of loading the archive member `name`.
    pub(super) fn at(self, name: &str) -> LoadError {
        match self {
            Self::Layer(source) => LoadError::Layer {
                name: name.to_owned(),
                source,
            },
            Self::Store(source) => LoadError::Store(source),
        }
    }
}

impl ImageStore {
    /// Converts an uncompressed layer archive into a file of the session folder.
    pub(super) fn stage_layer(&self, content: impl Read) -> Result<StagedLayer, StageError> {
        let (file, path) = self.session().file().map_err(StageError::Store)?;
        let (split_file, split) = self.session().file().map_err(StageError::Store)?;
        let converted = layer::convert(content, file, split_file).map_err(StageError::Layer)?;
        let io_error = |source| {
            StageError::Store(StoreError::Io {
                action: "finish",
                path: path.to_path_buf(),
                source,
            })
        };
        let size = converted.file.metadata().map_err(io_error)?.len();
        let files = [converted.file, converted.split];
        let sync = std::thread::Builder::new().name("layer-sync".to_owned());
        let sync = sync.spawn(move || files.iter().try_for_each(File::sync_all));
        let sync = sync.map_err(io_error)?;
        let inner = StagedFile {
            path,
            split,
            size,
            pinned: false,
            sync: Mutex::new(Some(sync)),
        };
        Ok(StagedLayer {
            diff_id: converted.diff_id,
            inner: Arc::new(inner),
        })
    }

    /// Keeps a layer of the store for an image to come, even if another process removes its images
    /// meanwhile; `None` if the store does not have it.
    pub(super) fn pin_layer(&self, diff_id: Digest) -> Result<Option<StagedLayer>, StoreError> {
        let original = self.layer_path(&diff_id);
        let size = match fs::metadata(&original) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(StoreError::Io {
                    action: "read",
                    path: original,
                    source,
                });
            }
        };
        // Layers of a dhow that did not keep it are converted again.
        let split = self.split_path(&diff_id);
        if !split.exists() {
            return Ok(None);
        }
        let split = self.session().pin(&split)?;
        let path = self.session().pin(&original)?;
        let inner = StagedFile {
            path,
            split,
            size,
            pinned: true,
            sync: Mutex::new(None),
        };
        Ok(Some(StagedLayer {
            diff_id,
            inner: Arc::new(inner),
        }))
    }

    /// Moves images into the store: layers first, then configurations, then names. Killed in between,
    /// the store has layers or images too many, never too few.
    pub(super) fn commit(&self, images: Vec<StagedImage>) -> Result<Vec<LoadedImage>, LoadError> {
        self.commit_all(images).map_err(LoadError::Store)
    }

    pub(super) fn commit_all(
        &self,
        images: Vec<StagedImage>,
    ) -> Result<Vec<LoadedImage>, StoreError> {
        let layers = || images.iter().flat_map(|image| &image.layers);
        for layer in layers() {
            layer.wait()?;
        }
        let _lock = self.lock()?;
        for layer in layers() {
            self.commit_layer(layer)?;
        }
        sync_folder(&self.inner.root.join("layers"))?;
        for image in &images {
            if let Some(manifest) = &image.manifest {
                self.write_manifest(&image.id, manifest)?;
            }
            self.session()
                .write_whole(&self.image_path(&image.id), &image.config_json)?;
        }
        sync_folder(&self.inner.root.join("images"))?;
        let mut references = self.references()?;
        let mut loaded = Vec::new();
        for image in images {
            let tags = image
                .references
                .iter()
                .filter(|name| name.digest().is_none());
            let names = tags.map(Reference::familiar).collect();
            loaded.push(LoadedImage {
                id: image.id,
                references: names,
            });
            for name in image.references {
                references.set(name, image.id);
            }
        }
        references.write(&self.inner.root, self.session())?;
        Ok(loaded)
    }

    /// Gives a staged layer its place, unless the store has it.
    fn commit_layer(&self, layer: &StagedLayer) -> Result<(), StoreError> {
        link_unless_there(&layer.inner.split, &self.split_path(&layer.diff_id))?;
        link_unless_there(&layer.inner.path, &self.layer_path(&layer.diff_id))
    }
}

/// Gives a file its place in the store; one that is there has the same content.
fn link_unless_there(file: &Path, target: &Path) -> Result<(), StoreError> {
    match fs::hard_link(file, target) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(StoreError::io("link", target)(error))
        }
        _ => Ok(()),
    }
}
