//! The image store: a folder that several processes may use at once and that any of them may be
//! killed in.
//!
//! ```text
//! ROOT/lock                 held while the store changes
//! ROOT/layers/HEX.erofs     a layer, named by its diff id
//! ROOT/layers/HEX.split     what that lacks of the archive it was made from
//! ROOT/images/HEX.json      an image configuration, named by its digest, which is the image's id
//! ROOT/manifests/HEX.json   manifests by which registries know an image, named by the image's id
//! ROOT/references.json      names of images, replaced as a whole
//! ROOT/tmp/SESSION/         what one process is writing; its `lock` is held while the process lives
//! ```
//!
//! Everything is written below `tmp`, synced, and renamed into place in an order that keeps each state
//! in between valid: layers, then the configuration that names them, then the reference to it. What a
//! killed process left is removed by the next [`ImageStore::open`].

mod archive;
mod commit;
mod commit_container;
mod import;
mod list;
mod load;
mod manifests;
mod pull;
mod push;
mod references;
mod remove;
mod resolve;
mod save;
mod session;
mod tag;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_spec::image::ImageConfiguration;

use crate::digest::{Digest, ImageId};
use references::References;
use session::Session;

pub use commit_container::{CommitError, CommitOptions};
pub use import::{ImportError, ImportOptions};
pub use list::ImageSummary;
pub use load::{LoadError, LoadEvent, LoadedImage};
pub use pull::{LayerStep, PullError, PullEvent, PullRequest, Pulled};
pub use push::{PushError, PushEvent, PushRequest, PushStep, Pushed};
pub use remove::{RemoveError, Removed};
pub use resolve::{Image, Layer, ResolveError};
pub use save::SaveError;
pub use tag::TagError;

/// Extension of layer files.
const LAYER_EXTENSION: &str = "erofs";

/// Extension of what layer files lack of their archives.
const SPLIT_EXTENSION: &str = "split";

/// Images of one user. Clones share the session folder.
#[derive(Debug, Clone)]
pub struct ImageStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    session: Session,
}

/// Why the store could not do what it should: not the fault of any image.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("failed to {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A file of the store is not what it should be.
    #[error("the image store's file {} is damaged", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
    },
}

impl StoreError {
    /// For `map_err`.
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("failed to open the image store {}", root.display())]
pub struct OpenError {
    /// The store's folder.
    pub root: PathBuf,
    /// What failed.
    #[source]
    pub source: StoreError,
}

/// Excludes all other processes and threads from changing the store until it is dropped.
#[derive(Debug)]
struct StoreLock {
    _file: File,
}

impl ImageStore {
    /// Opens the store in `root`, creating it if it is not there, and removes what killed processes
    /// left in it.
    ///
    /// # Errors
    /// If the folder cannot be created or read.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        Self::open_or(root).map_err(|source| OpenError {
            root: root.to_owned(),
            source,
        })
    }

    fn open_or(root: &Path) -> Result<Self, StoreError> {
        for folder in ["layers", "images", "manifests", "tmp"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(StoreError::io("create", &path))?;
        }
        let root = root
            .canonicalize()
            .map_err(StoreError::io("resolve", root))?;
        let lock = lock(&root)?;
        session::remove_abandoned(&root.join("tmp"))?;
        let session = Session::create(&root.join("tmp"))?;
        let store = Self {
            inner: Arc::new(Inner { root, session }),
        };
        store.remove_unused_layers(&lock)?;
        Ok(store)
    }

    fn lock(&self) -> Result<StoreLock, StoreError> {
        lock(&self.inner.root)
    }

    fn session(&self) -> &Session {
        &self.inner.session
    }

    fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.inner
            .root
            .join("layers")
            .join(diff_id.hex())
            .with_extension(LAYER_EXTENSION)
    }

    fn split_path(&self, diff_id: &Digest) -> PathBuf {
        self.layer_path(diff_id).with_extension(SPLIT_EXTENSION)
    }

    fn image_path(&self, id: &ImageId) -> PathBuf {
        self.inner
            .root
            .join("images")
            .join(id.digest().hex())
            .with_extension("json")
    }

    fn references(&self) -> Result<References, StoreError> {
        References::read(&self.inner.root)
    }

    /// The ids of all images, in order.
    fn image_ids(&self) -> Result<Vec<ImageId>, StoreError> {
        let digests = digests_in(&self.inner.root.join("images"))?;
        let mut ids: Vec<_> = digests
            .into_iter()
            .map(|(digest, _)| ImageId::new(digest))
            .collect();
        ids.sort();
        Ok(ids)
    }

    /// An image's configuration as bytes and parsed; `None` if there is no such image.
    fn configuration(
        &self,
        id: &ImageId,
    ) -> Result<Option<(Vec<u8>, ImageConfiguration)>, StoreError> {
        let path = self.image_path(id);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(StoreError::Io {
                    action: "read",
                    path,
                    source,
                });
            }
        };
        let parsed = serde_json::from_slice(&bytes).ok();
        match parsed.filter(|_| Digest::of(&bytes) == id.digest()) {
            Some(configuration) => Ok(Some((bytes, configuration))),
            None => Err(StoreError::Damaged { path }),
        }
    }

    /// Frees layers that no image names: what a process killed between two renames left, and what the
    /// last image that used them leaves.
    fn remove_unused_layers(&self, _lock: &StoreLock) -> Result<(), StoreError> {
        let mut used = HashSet::new();
        let ids = self.image_ids()?;
        self.remove_unused_manifests(&ids)?;
        for id in ids {
            if let Some((_, configuration)) = self.configuration(&id)? {
                used.extend(diff_ids(&configuration).unwrap_or_default());
            }
        }
        for (digest, path) in digests_in(&self.inner.root.join("layers"))? {
            if !used.contains(&digest) {
                fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
            }
        }
        Ok(())
    }
}

/// The diff ids a configuration names, lowest layer first; `None` if one is no digest.
fn diff_ids(configuration: &ImageConfiguration) -> Option<Vec<Digest>> {
    configuration
        .rootfs()
        .diff_ids()
        .iter()
        .map(|text| text.parse().ok())
        .collect()
}

fn lock(root: &Path) -> Result<StoreLock, StoreError> {
    let path = root.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.map_err(StoreError::io("open", &path))?;
    file.lock().map_err(StoreError::io("lock", &path))?;
    Ok(StoreLock { _file: file })
}

/// The files in a folder whose stem is a digest.
fn digests_in(folder: &Path) -> Result<Vec<(Digest, PathBuf)>, StoreError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(StoreError::io("read", folder))? {
        let path = entry.map_err(StoreError::io("read", folder))?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        if let Some(digest) = stem.and_then(|stem| Digest::from_hex(stem).ok()) {
            found.push((digest, path));
        }
    }
    Ok(found)
}
