//! A container's files, whether it runs or not: looked at, packed into an archive, unpacked.
//!
//! - `pack` – everything, or what is at a path, as a tar archive
//! - `unpack` – a tar archive into a folder
//! - `changes` – what differs from the image, as a list or as a layer
//!
//! Rule: the files are the container's, and so are its links. Every path is opened by `openat2` below
//! the root, and every step of a walk relative to the folder before it without following links.

mod changes;
mod pack;
mod unpack;

pub use changes::ChangeKind;
pub use unpack::UnpackOptions;

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dhow_protocol::{ContainerFiles, Failure, FailureKind, PathStat};
use rustix::fs::{AtFlags, FileType, OFlags, Stat};
use rustix::io::Errno;

use crate::container::{LookupError, Reserved};
use crate::rootfs::{LayerError, RootError, lookup, overlay};
use crate::runtime::Runtime;
use crate::user::UserError;

/// Why a container's files could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// Its id is none, or it is busy.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// A layer cannot be mounted.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// Its root cannot be mounted.
    #[error(transparent)]
    Root(#[from] RootError),
    /// There is nothing at the path. Docker's words.
    #[error("Could not find the file {path} in container {container}")]
    NotFound {
        /// The path.
        path: String,
        /// The container.
        container: String,
    },
    /// Archives are unpacked in folders. Docker's words.
    #[error("extraction point is not a directory")]
    NotAFolder,
    /// A file would take a folder's place, or the other way round. Docker's words.
    #[error("cannot overwrite {existing} \"{path}\" with {new}")]
    Kind {
        /// What is there.
        existing: &'static str,
        /// Where.
        path: String,
        /// What would come.
        new: &'static str,
    },
    /// The archive is none, or holds what no container may have.
    #[error("failed to read the archive")]
    Archive(#[source] std::io::Error),
    /// The archive could not be written.
    #[error("failed to write the archive")]
    Output(#[source] std::io::Error),
    /// No such user.
    #[error(transparent)]
    User(#[from] UserError),
    /// The kernel refused.
    #[error("failed to {action} {path}")]
    Access {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        errno: Errno,
    },
}

impl FilesError {
    /// The error as the host is told it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let kind = match self {
            Self::Lookup(error) => error.kind(),
            Self::NotFound { .. } => FailureKind::NotFound,
            Self::NotAFolder | Self::Kind { .. } | Self::Archive(_) | Self::User(_) => {
                FailureKind::Invalid
            }
            Self::Layer(_) | Self::Root(_) | Self::Output(_) | Self::Access { .. } => {
                FailureKind::Internal
            }
        };
        crate::failure(kind, self)
    }

    fn access(action: &'static str, path: &Path) -> impl FnOnce(Errno) -> Self {
        let path = path.to_owned();
        move |errno| Self::Access {
            action,
            path,
            errno,
        }
    }
}

/// A container's files; one that does not run cannot be started while the value lives.
#[derive(Debug)]
pub struct Files<'a> {
    container: String,
    root: Arc<OwnedFd>,
    /// Its folder on the data disk.
    folder: PathBuf,
    /// Where its layers are mounted, lowest first.
    layers: Vec<PathBuf>,
    _place: Option<Reserved<'a>>,
}

impl Runtime {
    /// Opens the files of a container.
    ///
    /// # Errors
    /// [`FilesError`].
    pub fn files(&self, request: &ContainerFiles) -> Result<Files<'_>, FilesError> {
        let id = &request.container;
        let layers = self.layers.mount(&request.layers)?;
        let folder = self.folder(id);
        loop {
            if let Ok(running) = self.register.get(id) {
                return Ok(Files {
                    container: id.clone(),
                    root: Arc::clone(&running.root),
                    folder,
                    layers,
                    _place: None,
                });
            }
            let place = match self.register.reserve_in_turn(id) {
                // It has been started meanwhile.
                Err(LookupError::AlreadyRunning(_)) if self.register.get(id).is_ok() => continue,
                other => other?,
            };
            // One that never ran has no folder yet; the mount tells whatever else is wrong.
            let made = std::fs::create_dir(&folder);
            drop(made);
            let root = Arc::new(overlay::mount(&layers, &folder)?);
            return Ok(Files {
                container: id.clone(),
                root,
                folder,
                layers,
                _place: Some(place),
            });
        }
    }
}

impl Files<'_> {
    /// What is at a path.
    ///
    /// # Errors
    /// [`FilesError::NotFound`].
    pub fn stat(&self, path: &str) -> Result<PathStat, FilesError> {
        let found = self.open(path)?;
        let status =
            rustix::fs::fstat(&found).map_err(FilesError::access("look at", path.as_ref()))?;
        let is_link = FileType::from_raw_mode(status.st_mode) == FileType::Symlink;
        let link_target = if is_link {
            self.link_target(path)
        } else {
            String::new()
        };
        Ok(PathStat {
            name: last_name(path),
            size: u64::try_from(status.st_size).unwrap_or(0),
            mode: status.st_mode,
            modified_seconds: status.st_mtime,
            modified_nanoseconds: u32::try_from(status.st_mtime_nsec).unwrap_or(0),
            link_target,
        })
    }

    /// Where a link leads, as an absolute path: one step, for it may be one of many.
    fn link_target(&self, path: &str) -> String {
        let root = self.root.as_fd();
        let relative = below_root(path);
        let own_word = || {
            let flags = OFlags::PATH | OFlags::NOFOLLOW;
            let link = lookup::open(root, &relative, flags).ok()?;
            let word = rustix::fs::readlinkat(&link, "", Vec::new()).ok()?;
            let word = PathBuf::from(OsStr::from_bytes(word.as_bytes()));
            let parent = Path::new("/").join(relative.parent().unwrap_or(Path::new("")));
            Some(clean(&parent.join(word)))
        };
        let found = own_word().unwrap_or_default();
        found.to_string_lossy().into_owned()
    }

    /// Opens a path for looking at; a link at its end is not followed unless a slash or dot says so.
    fn open(&self, path: &str) -> Result<OwnedFd, FilesError> {
        let follow = path.ends_with('/') || path.ends_with("/.");
        let mut flags = OFlags::PATH;
        if follow {
            flags |= OFlags::DIRECTORY;
        } else {
            flags |= OFlags::NOFOLLOW;
        }
        let opened = lookup::open(self.root.as_fd(), &below_root(path), flags);
        opened.map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => FilesError::NotFound {
                path: path.to_owned(),
                container: self.container.clone(),
            },
            errno => FilesError::access("open", path.as_ref())(errno),
        })
    }
}

/// The path as `openat2` wants it; the root itself is a dot.
fn below_root(path: &str) -> PathBuf {
    let relative = path.trim_start_matches('/');
    PathBuf::from(if relative.is_empty() { "." } else { relative })
}

/// The last name of a path as Go's `filepath.Base` says it.
fn last_name(path: &str) -> String {
    let path = path.trim_end_matches('/');
    let name = path.rsplit('/').next().unwrap_or_default();
    if name.is_empty() { "/" } else { name }.to_owned()
}

/// An absolute path without dots.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            std::path::Component::Normal(name) => clean.push(name),
            std::path::Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}

/// Reads a folder's names, in order, so that the same files give the same archive.
fn names_in(folder: BorrowedFd<'_>) -> Result<Vec<std::ffi::CString>, Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// What is at a name of a folder, links not followed.
fn stat_at(folder: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<Stat, Errno> {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Opens a folder by its name in another, for reading.
fn open_folder(folder: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, rustix::fs::Mode::empty())
}

#[cfg(test)]
mod tests;
