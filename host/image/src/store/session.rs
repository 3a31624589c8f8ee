//! A process's own folder below `tmp`, and how the folders of dead processes are known.
//!
//! Each folder has a file `lock` that its process holds locked. The kernel lets go of it when the
//! process dies, however it dies, and unlike a process id it cannot be taken by another by chance.
//! Folders are made and removed only under the store's lock, so none is met half made.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

use super::StoreError;

/// The file whose lock says that the owner lives.
const LOCK_NAME: &str = "lock";

/// A folder for temporary files, removed when dropped.
#[derive(Debug)]
pub(super) struct Session {
    folder: PathBuf,
    _lock: File,
}

impl Session {
    /// Makes a folder below `parent`; the caller holds the store's lock.
    pub(super) fn create(parent: &Path) -> Result<Self, StoreError> {
        let folder = tempfile::Builder::new()
            .prefix("session-")
            .tempdir_in(parent);
        let folder = folder
            .map_err(StoreError::io("create a folder in", parent))?
            .keep();
        let path = folder.join(LOCK_NAME);
        let lock = File::create(&path).map_err(StoreError::io("create", &path))?;
        lock.lock().map_err(StoreError::io("lock", &path))?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    /// A new empty file, removed when dropped.
    pub(super) fn file(&self) -> Result<(File, TempPath), StoreError> {
        let file = NamedTempFile::new_in(&self.folder);
        Ok(file
            .map_err(StoreError::io("create a file in", &self.folder))?
            .into_parts())
    }

    /// A second name for a file of the store, which keeps its content when the first is removed.
    pub(super) fn pin(&self, original: &Path) -> Result<TempPath, StoreError> {
        let (_, path) = self.file()?;
        fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        fs::hard_link(original, &path).map_err(StoreError::io("link", original))?;
        Ok(path)
    }

    /// Writes a whole file so that it either is there with all its content or is not.
    pub(super) fn write_whole(&self, target: &Path, content: &[u8]) -> Result<(), StoreError> {
        let (mut file, path) = self.file()?;
        file.write_all(content)
            .map_err(StoreError::io("write", target))?;
        file.sync_all().map_err(StoreError::io("sync", target))?;
        let persisted = path.persist(target);
        persisted.map_err(|error| StoreError::io("rename to", target)(error.error))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // What stays is removed by the next process that opens the store.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Removes the folders whose processes are gone; the caller holds the store's lock.
pub(super) fn remove_abandoned(parent: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(parent).map_err(StoreError::io("read", parent))? {
        let folder = entry.map_err(StoreError::io("read", parent))?.path();
        let abandoned = match File::open(folder.join(LOCK_NAME)) {
            // Free: the owner died. Not readable or absent: it died while making or removing it.
            Ok(lock) => !matches!(lock.try_lock(), Err(TryLockError::WouldBlock)),
            Err(_) => true,
        };
        if abandoned {
            let removed = if folder.is_dir() {
                fs::remove_dir_all(&folder)
            } else {
                fs::remove_file(&folder)
            };
            // Its owner may be removing it at this moment.
            removed
                .or_else(ignore_missing)
                .map_err(StoreError::io("remove", &folder))?;
        }
    }
    Ok(())
}

fn ignore_missing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}

/// Makes renames in a folder last.
pub(super) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(StoreError::io("sync", folder))
}
