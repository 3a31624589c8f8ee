//! What differs between a container and its image: as a list, and as a layer for a new image.
//!
//! Everything that differs lies in the overlay's upper directory. There a character device 0/0 hides
//! what was removed, and an opaque folder hides all that is below it in the image
//! (`Documentation/filesystems/overlayfs.rst`).

use std::ffi::{CStr, OsStr};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use tar::EntryType;

use super::pack::{Packer, attributes};
use super::{Files, FilesError, names_in, open_folder, stat_at};
use crate::rootfs::lookup;

/// In a layer, a file of this name before another's hides that other one (image-spec, "Whiteouts").
const WHITEOUT_PREFIX: &str = ".wh.";

/// In a layer, a file of this name hides what lower layers have in its folder.
const OPAQUE_NAME: &str = ".wh..wh..opq";

/// What the runtime makes to mount over, and no container has made.
const MOUNT_POINTS: [&str; 9] = [
    "/dev",
    "/proc",
    "/sys",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/etc/mtab",
    "/dev/console",
    "/dev/shm",
];

/// How a path differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The image has none.
    Added,
    /// The image has another.
    Changed,
    /// Only the image has it.
    Deleted,
}

impl ChangeKind {
    /// Docker's letter.
    #[must_use]
    pub fn letter(self) -> u8 {
        match self {
            Self::Added => b'A',
            Self::Changed => b'C',
            Self::Deleted => b'D',
        }
    }
}

/// One entry of the upper directory.
struct Found<'a> {
    folder: BorrowedFd<'a>,
    name: &'a CStr,
    path: &'a Path,
    status: Stat,
}

impl Found<'_> {
    fn is_whiteout(&self) -> bool {
        FileType::from_raw_mode(self.status.st_mode) == FileType::CharacterDevice
            && self.status.st_rdev == 0
    }

    fn is_folder(&self) -> bool {
        FileType::from_raw_mode(self.status.st_mode) == FileType::Directory
    }
}

impl Files<'_> {
    /// Writes a list of what differs: a letter, the path, a zero byte; folders before what is in
    /// them.
    ///
    /// # Errors
    /// [`FilesError`].
    pub fn list_changes(&self, mut output: impl Write) -> Result<(), FilesError> {
        self.walk(&mut |found| {
            let in_image = self.is_in_image(found.path);
            let kind = match (found.is_whiteout(), in_image) {
                (true, _) => ChangeKind::Deleted,
                (false, true) => ChangeKind::Changed,
                (false, false) => ChangeKind::Added,
            };
            let path = Path::new("/").join(found.path);
            let ours = match kind {
                ChangeKind::Added => is_mount_point(&path),
                // Only there for a mount point that had to be made in it.
                ChangeKind::Changed => found.is_folder() && has_only_mount_points(found, &path),
                ChangeKind::Deleted => false,
            };
            if ours {
                return Ok(());
            }
            let mut line = vec![kind.letter()];
            line.extend_from_slice(path.as_os_str().as_bytes());
            line.push(0);
            output.write_all(&line).map_err(FilesError::Output)
        })
    }

    /// Packs what differs as a layer.
    ///
    /// # Errors
    /// [`FilesError`]; the archive is cut short then.
    pub fn pack_layer(&self, output: impl Write) -> Result<(), FilesError> {
        let mut packer = Packer::new(output);
        self.walk(&mut |found| {
            let absolute = Path::new("/").join(found.path);
            if is_mount_point(&absolute) && !self.is_in_image(found.path) {
                return Ok(());
            }
            if found.is_whiteout() {
                let parent = found.path.parent().unwrap_or(Path::new(""));
                let mut name = WHITEOUT_PREFIX.as_bytes().to_vec();
                name.extend_from_slice(found.name.to_bytes());
                return packer.marker(&parent.join(OsStr::from_bytes(&name)), &found.status);
            }
            if !found.is_folder() {
                return packer.entry(found.folder, found.name, found.path);
            }
            let folder = open_folder(found.folder, found.name);
            let folder = folder.map_err(FilesError::access("open", found.path))?;
            let kept = attributes(folder.as_fd());
            packer.header(found.path, &found.status, EntryType::Directory, &kept, None)?;
            if is_opaque(folder.as_fd()) {
                packer.marker(&found.path.join(OPAQUE_NAME), &found.status)?;
            }
            Ok(())
        })?;
        packer.finish()
    }

    /// Shows every entry of the upper directory, each folder before what is in it.
    fn walk(
        &self,
        show: &mut dyn FnMut(&Found<'_>) -> Result<(), FilesError>,
    ) -> Result<(), FilesError> {
        let path = self.folder.join("upper");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let upper = match rustix::fs::openat(CWD, &path, flags, Mode::empty()) {
            Ok(upper) => upper,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(FilesError::access("open", &path)(errno)),
        };
        walk_folder(&upper, Path::new(""), 0, show)
    }

    /// Whether the image has something at a path: the highest layer that knows it says so.
    fn is_in_image(&self, path: &Path) -> bool {
        for layer in self.layers.iter().rev() {
            match known_by(layer, path) {
                Known::Here => return true,
                Known::Hidden => return false,
                Known::Unknown => {}
            }
        }
        false
    }
}

fn is_mount_point(path: &Path) -> bool {
    MOUNT_POINTS.iter().any(|known| Path::new(known) == path)
}

fn has_only_mount_points(found: &Found<'_>, path: &Path) -> bool {
    let names = open_folder(found.folder, found.name).and_then(|folder| names_in(folder.as_fd()));
    names.is_ok_and(|names| {
        let mut paths = names
            .iter()
            .map(|name| path.join(OsStr::from_bytes(name.to_bytes())));
        !names.is_empty() && paths.all(|path| is_mount_point(&path))
    })
}

/// What a layer knows of a path.
enum Known {
    Here,
    /// It says that lower layers' is not to be seen.
    Hidden,
    Unknown,
}

fn known_by(layer: &Path, path: &Path) -> Known {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(root) = rustix::fs::openat(CWD, layer, flags, Mode::empty()) else {
        return Known::Unknown;
    };
    let mut before = PathBuf::new();
    let mut hidden = false;
    for part in path {
        before.push(part);
        let opened = lookup::open(root.as_fd(), &before, OFlags::PATH | OFlags::NOFOLLOW);
        let status = opened.and_then(|opened| rustix::fs::fstat(&opened));
        let Ok(status) = status else {
            return if hidden {
                Known::Hidden
            } else {
                Known::Unknown
            };
        };
        let kind = FileType::from_raw_mode(status.st_mode);
        if kind == FileType::CharacterDevice && status.st_rdev == 0 {
            return Known::Hidden;
        }
        if before == path {
            return Known::Here;
        }
        if kind != FileType::Directory {
            // A file where the path has a folder: nothing below it can be seen.
            return Known::Hidden;
        }
        let folder = lookup::open(root.as_fd(), &before, OFlags::RDONLY | OFlags::DIRECTORY);
        hidden |= folder.is_ok_and(|folder| is_opaque(folder.as_fd()));
    }
    Known::Here
}

/// How deep folders may lie in each other: each costs a descriptor.
const MAX_DEPTH: usize = 256;

fn walk_folder(
    folder: &OwnedFd,
    path: &Path,
    depth: usize,
    show: &mut dyn FnMut(&Found<'_>) -> Result<(), FilesError>,
) -> Result<(), FilesError> {
    if depth == MAX_DEPTH {
        return Err(FilesError::access("walk", path)(Errno::NAMETOOLONG));
    }
    for name in names_in(folder.as_fd()).map_err(FilesError::access("read", path))? {
        let below = path.join(OsStr::from_bytes(name.to_bytes()));
        let status = match stat_at(folder.as_fd(), &name) {
            Ok(status) => status,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(FilesError::access("look at", &below)(errno)),
        };
        let found = Found {
            folder: folder.as_fd(),
            name: &name,
            path: &below,
            status,
        };
        show(&found)?;
        if found.is_folder()
            && let Ok(opened) = open_folder(folder.as_fd(), &name)
        {
            walk_folder(&opened, &below, depth + 1, show)?;
        }
    }
    Ok(())
}

/// Whether a folder of the upper directory or of a layer hides what lies below it.
fn is_opaque(folder: BorrowedFd<'_>) -> bool {
    let mut value = [0; 8];
    let read = rustix::fs::fgetxattr(folder, c"trusted.overlay.opaque", &mut value[..]);
    read.is_ok_and(|length| value[..length] == *b"y")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_layer_hides_a_lower_one_by_a_file_in_a_folders_place() {
        let layer = tempfile::tempdir().unwrap();
        std::fs::write(layer.path().join("etc"), "a file").unwrap();

        assert!(matches!(
            known_by(layer.path(), Path::new("etc/hosts")),
            Known::Hidden
        ));
        assert!(matches!(
            known_by(layer.path(), Path::new("etc")),
            Known::Here
        ));
        assert!(matches!(
            known_by(layer.path(), Path::new("usr")),
            Known::Unknown
        ));
    }
}
