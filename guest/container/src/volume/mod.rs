//! Volumes: folders of the data disk that outlive containers, `volumes/<name>/_data` each.
//!
//! The host says which volumes a container has and knows who uses which; here they are made on
//! first use, filled with what the image has at their place, opened for the container's mounts, and
//! deleted. Rule: what is inside a volume belongs to containers, so no path into one is ever
//! resolved beyond it.

mod copy;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use dhow_protocol::grants::{MAX_VOLUME_NAME_BYTES, VOLUME_DATA, VolumeMount};
use dhow_protocol::{Failure, FailureKind};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::rootfs::lookup;
use crate::runtime::Runtime;

pub use copy::CopyError;

/// Permissions of a volume's own folder, as Docker's: known by name, not listed.
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o701);

/// Permissions of a volume's content until an image's take their place.
const DATA_MODE: Mode = Mode::from_raw_mode(0o755);

/// Bytes of the unit in which `stat` counts a file's blocks.
const BLOCK_BYTES: u64 = 512;

/// Why a volume cannot be used or deleted.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// A name that is no file name.
    #[error("{0:?} cannot be the name of a volume")]
    Name(String),
    /// Its folder cannot be made, opened or deleted.
    #[error("failed to prepare volume {volume}")]
    Prepare {
        /// Its name.
        volume: String,
        /// Why it failed.
        #[source]
        errno: Errno,
    },
    /// There is a file where the volume is to be mounted.
    #[error("cannot mount volume over existing file, file exists {0}")]
    OverFile(String),
    /// The part that was asked for is not there.
    #[error("cannot access path {subpath} of volume {volume}")]
    Subpath {
        /// The volume's name.
        volume: String,
        /// The part of it.
        subpath: String,
        /// Why it cannot be opened.
        #[source]
        errno: Errno,
    },
    /// The image's content could not be copied into it.
    #[error("failed to copy the image's files to volume {volume}")]
    Copy {
        /// Its name.
        volume: String,
        /// Why it failed.
        #[source]
        source: CopyError,
    },
}

impl VolumeError {
    /// What sort of failure this is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Name(_) | Self::OverFile(_) | Self::Subpath { .. } => FailureKind::Invalid,
            Self::Prepare { .. } | Self::Copy { .. } => FailureKind::Internal,
        }
    }

    /// The error as the host is told it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        crate::failure(self.kind(), self)
    }
}

/// What is to be mounted in place of a bind mount's source, by the mount's destination.
pub(crate) type OpenVolumes = BTreeMap<String, OwnedFd>;

impl Runtime {
    /// Makes, fills and opens the volumes of a container, whose root nothing uses yet.
    pub(crate) fn open_volumes(
        &self,
        root: &OwnedFd,
        mounts: &[VolumeMount],
    ) -> Result<OpenVolumes, VolumeError> {
        let opened = mounts.iter().map(|mount| {
            let data = self.open_volume(root, mount)?;
            Ok((mount.destination.clone(), data))
        });
        opened.collect()
    }

    fn open_volume(&self, root: &OwnedFd, mount: &VolumeMount) -> Result<OwnedFd, VolumeError> {
        let failed = |errno| VolumeError::Prepare {
            volume: mount.volume.clone(),
            errno,
        };
        let path = self.volume_folder(&mount.volume)?;
        make(&path, FOLDER_MODE).map_err(failed)?;
        let folder = open(&path).map_err(failed)?;
        // Two containers may start at once, and only one may find it empty. Unlocked when closed.
        rustix::fs::flock(&folder, FlockOperation::LockExclusive).map_err(failed)?;
        let data_path = path.join(VOLUME_DATA);
        make(&data_path, DATA_MODE).map_err(failed)?;
        let data = open(&data_path).map_err(failed)?;
        if mount.copy && mount.subpath.is_empty() {
            fill(root, mount, &data, &data_path)?;
        }
        if mount.subpath.is_empty() {
            return Ok(data);
        }
        lookup::find(data.as_fd(), Path::new(&mount.subpath)).map_err(|errno| {
            VolumeError::Subpath {
                volume: mount.volume.clone(),
                subpath: mount.subpath.clone(),
                errno,
            }
        })
    }

    /// Deletes a volume. One that was never used is fine.
    ///
    /// # Errors
    /// [`VolumeError`].
    pub fn remove_volume(&self, volume: &str) -> Result<(), VolumeError> {
        match fs::remove_dir_all(self.volume_folder(volume)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(VolumeError::Prepare {
                volume: volume.to_owned(),
                errno: errno_of(&error),
            }),
            _ => Ok(()),
        }
    }

    /// Bytes of the data disk that a volume takes. What vanishes or cannot be read meanwhile does
    /// not count.
    ///
    /// # Errors
    /// [`VolumeError::Name`].
    pub fn volume_usage(&self, volume: &str) -> Result<u64, VolumeError> {
        let mut pending = vec![self.volume_folder(volume)?.join(VOLUME_DATA)];
        let mut bytes = 0;
        while let Some(folder) = pending.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                // The entry's own, not that of a link's target.
                let Ok(metadata) = entry.metadata() else {
                    continue;
                };
                let of_entry = metadata.blocks() * BLOCK_BYTES;
                if metadata.is_dir() {
                    bytes += of_entry;
                    pending.push(entry.path());
                } else {
                    // Its names share what a file takes.
                    bytes += of_entry / metadata.nlink().max(1);
                }
            }
        }
        Ok(bytes)
    }

    fn volume_folder(&self, volume: &str) -> Result<PathBuf, VolumeError> {
        let plain = !volume.is_empty()
            && volume.len() <= MAX_VOLUME_NAME_BYTES
            && !matches!(volume, "." | "..")
            && !volume.contains(['/', '\0']);
        if plain {
            Ok(self.paths.data.join("volumes").join(volume))
        } else {
            Err(VolumeError::Name(volume.to_owned()))
        }
    }
}

/// Copies what the image has at the mount's place into a volume that is empty.
fn fill(
    root: &OwnedFd,
    mount: &VolumeMount,
    data: &OwnedFd,
    path: &Path,
) -> Result<(), VolumeError> {
    let failed = |errno| VolumeError::Prepare {
        volume: mount.volume.clone(),
        errno,
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let source = match lookup::open(root.as_fd(), Path::new(&mount.destination), flags) {
        Ok(source) => source,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR) => return Err(VolumeError::OverFile(mount.destination.clone())),
        Err(errno) => return Err(failed(errno)),
    };
    let mut entries = fs::read_dir(path).map_err(|error| failed(errno_of(&error)))?;
    if entries.next().is_some() {
        return Ok(());
    }
    copy::copy(source.as_fd(), data.as_fd()).map_err(|source| {
        // Half a copy would pass for content at the next start.
        let _disk_in_trouble = clear(path);
        VolumeError::Copy {
            volume: mount.volume.clone(),
            source,
        }
    })
}

/// Deletes what is in a folder, not the folder: it may be mounted.
fn clear(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn make(path: &Path, mode: Mode) -> Result<(), Errno> {
    match rustix::fs::mkdir(path, mode) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn open(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}
