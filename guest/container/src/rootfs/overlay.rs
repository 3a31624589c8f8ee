//! A container's root: an overlay of its layers and its writable directory, as a detached mount.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;

use super::detached;

/// Why there is no root.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The writable directory cannot be made.
    #[error("failed to prepare {path}")]
    Prepare {
        /// The directory.
        path: PathBuf,
        /// Why it failed.
        #[source]
        errno: Errno,
    },
    /// The overlay cannot be mounted.
    #[error("failed to mount the overlay of {layers} layers")]
    Overlay {
        /// How many layers it has.
        layers: usize,
        /// Why it failed.
        #[source]
        errno: Errno,
    },
}

/// Mounts the root of a container, detached.
///
/// `layers` come lowest first; `folder` is the container's own on the data disk, where `upper` and
/// `work` are kept.
pub(crate) fn mount(layers: &[PathBuf], folder: &Path) -> Result<OwnedFd, RootError> {
    let upper = folder.join("upper");
    let work = folder.join("work");
    let is_new = make(&upper)?;
    if is_new && let Some(top) = layers.last() {
        copy_owner_and_mode(top, &upper).map_err(|errno| RootError::Prepare {
            path: upper.clone(),
            errno,
        })?;
    }
    let error = |errno| RootError::Overlay {
        layers: layers.len(),
        errno,
    };
    if layers.is_empty() {
        return detached::copy(&upper, false).map_err(error);
    }
    make(&work)?;
    detached::new_mount("overlay", |context| {
        // Highest first; one key per layer, since a value may have 255 bytes at most.
        for layer in layers.iter().rev() {
            rustix::mount::fsconfig_set_string(context, "lowerdir+", layer.as_path())?;
        }
        rustix::mount::fsconfig_set_string(context, "upperdir", upper.as_path())?;
        rustix::mount::fsconfig_set_string(context, "workdir", work.as_path())
    })
    .map_err(error)
}

/// Makes a directory; says whether it is new.
fn make(path: &Path) -> Result<bool, RootError> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(RootError::Prepare {
            path: path.to_owned(),
            errno,
        }),
    }
}

/// An overlay's root shows the upper directory's owner and mode, so they must be the image's.
fn copy_owner_and_mode(from: &Path, to: &Path) -> Result<(), Errno> {
    let status = rustix::fs::stat(from)?;
    let owner = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    rustix::fs::chown(to, Some(owner.0), Some(owner.1))?;
    rustix::fs::chmod(to, Mode::from_raw_mode(status.st_mode))
}
