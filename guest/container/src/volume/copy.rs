//! Copies a folder's content: files, links, devices, with owner, mode, times and extended
//! attributes.
//!
//! The source is a container's root before anything of the container runs, so nobody changes it.
//! The target is a volume that other containers may have mounted and change meanwhile: no link in
//! it is ever followed, and whoever puts something in the way makes the copy fail, no more.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid,
    XattrFlags,
};
use rustix::io::Errno;

/// Bytes of the longest list of attribute names, and of the longest value (`XATTR_LIST_MAX`,
/// `XATTR_SIZE_MAX` of `linux/limits.h`).
const MAX_ATTRIBUTE_BYTES: usize = 65_536;

/// Permissions while a file or folder is filled: nobody but the agent.
const PRIVATE_FILE: Mode = Mode::from_raw_mode(0o600);
/// As above, for folders.
const PRIVATE_FOLDER: Mode = Mode::from_raw_mode(0o700);

/// Why a copy stopped half-way.
#[derive(Debug, thiserror::Error)]
#[error("failed to copy {path:?}")]
pub struct CopyError {
    /// What was being copied, below the source.
    path: PathBuf,
    /// Why it failed.
    #[source]
    errno: Errno,
}

/// Copies what is in `source`, and what `source` itself is like, to the empty folder `target`.
pub(super) fn copy(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), CopyError> {
    let mut copier = Copier {
        source,
        target,
        links: HashMap::new(),
        folders: Vec::new(),
        attributes: Attributes::new(),
    };
    copier.everything()
}

/// A copy under way.
struct Copier<'a> {
    source: BorrowedFd<'a>,
    target: BorrowedFd<'a>,
    /// Where the first name of a file with several went, by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
    /// Folders made, parents first; they get their attributes when they are full.
    folders: Vec<(PathBuf, Stat)>,
    attributes: Attributes,
}

/// A folder in source and target.
struct Place<'a> {
    path: &'a Path,
    from: OwnedFd,
    to: OwnedFd,
}

impl Copier<'_> {
    fn everything(&mut self) -> Result<(), CopyError> {
        let root = PathBuf::from(".");
        let status = rustix::fs::fstat(self.source).map_err(|errno| failed(&root, errno))?;
        self.folders.push((root, status));
        // Grows as folders are found; an index because it does.
        let mut next = 0;
        while let Some((path, _)) = self.folders.get(next) {
            let path = path.clone();
            self.folder(&path)
                .map_err(|(path, errno)| failed(&path, errno))?;
            next += 1;
        }
        for (path, status) in std::mem::take(&mut self.folders).iter().rev() {
            self.finish_folder(path, status)
                .map_err(|errno| failed(path, errno))?;
        }
        Ok(())
    }

    /// Copies what is in one folder; folders in it are made and noted.
    fn folder(&mut self, path: &Path) -> Result<(), (PathBuf, Errno)> {
        let here = |errno| (path.to_owned(), errno);
        let place = self.place(path).map_err(here)?;
        for entry in Dir::read_from(&place.from).map_err(here)? {
            let entry = entry.map_err(here)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            self.entry(&place, name)
                .map_err(|errno| (below(path, name), errno))?;
        }
        Ok(())
    }

    fn place<'path>(&self, path: &'path Path) -> Result<Place<'path>, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        Ok(Place {
            path,
            from: open_below(self.source, path, flags)?,
            to: open_below(self.target, path, flags)?,
        })
    }

    fn entry(&mut self, place: &Place<'_>, name: &CStr) -> Result<(), Errno> {
        let status = rustix::fs::statat(&place.from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(status.st_mode);
        if kind == FileType::Directory {
            rustix::fs::mkdirat(&place.to, name, PRIVATE_FOLDER)?;
            self.folders.push((below(place.path, name), status));
            return Ok(());
        }
        if status.st_nlink > 1 {
            let key = (status.st_dev, status.st_ino);
            if let Some(first) = self.links.get(&key) {
                return self.link(first, place, name);
            }
            self.links.insert(key, below(place.path, name));
        }
        match kind {
            FileType::RegularFile => file(place, name)?,
            FileType::Symlink => {
                let content = rustix::fs::readlinkat(&place.from, name, Vec::new())?;
                rustix::fs::symlinkat(content, &place.to, name)?;
            }
            other => {
                let device = status.st_rdev;
                rustix::fs::mknodat(&place.to, name, other, PRIVATE_FILE, device)?;
            }
        }
        self.attributes.copy(place, name, &status)
    }

    /// A further name of a file that was copied already.
    fn link(&self, first: &Path, place: &Place<'_>, name: &CStr) -> Result<(), Errno> {
        let copied = open_below(self.target, first, OFlags::PATH | OFlags::NOFOLLOW)?;
        rustix::fs::linkat(&copied, c"", &place.to, name, AtFlags::EMPTY_PATH)
    }

    fn finish_folder(&mut self, path: &Path, status: &Stat) -> Result<(), Errno> {
        let place = self.place(path)?;
        self.attributes.copy(&place, c".", status)
    }
}

fn file(place: &Place<'_>, name: &CStr) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let from = rustix::fs::openat(&place.from, name, flags, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let to = rustix::fs::openat(&place.to, name, flags, PRIVATE_FILE)?;
    std::io::copy(&mut File::from(from), &mut File::from(to))
        .map(drop)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// Opens a path below a folder, without following any link.
fn open_below(folder: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(
        folder,
        path,
        flags | OFlags::CLOEXEC,
        Mode::empty(),
        resolve,
    )
}

fn below(path: &Path, name: &CStr) -> PathBuf {
    path.join(std::ffi::OsStr::from_bytes(name.to_bytes()))
}

fn failed(path: &Path, errno: Errno) -> CopyError {
    CopyError {
        path: path.to_owned(),
        errno,
    }
}

/// Copies attributes, with buffers that are kept.
struct Attributes {
    names: Vec<u8>,
    value: Vec<u8>,
}

impl Attributes {
    fn new() -> Self {
        Self {
            names: vec![0; MAX_ATTRIBUTE_BYTES],
            value: vec![0; MAX_ATTRIBUTE_BYTES],
        }
    }

    /// Owner first, which takes set-id bits and file capabilities away; times last.
    fn copy(&mut self, place: &Place<'_>, name: &CStr, status: &Stat) -> Result<(), Errno> {
        let to = &place.to;
        let owner = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(to, name, Some(owner.0), Some(owner.1), nofollow)?;
        self.extended(&of_descriptor(&place.from, name), &of_descriptor(to, name))?;
        if FileType::from_raw_mode(status.st_mode) != FileType::Symlink {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let node = rustix::fs::openat(to, name, flags, Mode::empty())?;
            // There is no call that changes the mode of a path without following it; the link in
            // /proc leads to what was opened.
            let path = format!("/proc/self/fd/{}", node.as_raw_fd());
            rustix::fs::chmod(path, Mode::from_raw_mode(status.st_mode))?;
        }
        rustix::fs::utimensat(to, name, &times(status), nofollow)
    }

    fn extended(&mut self, from: &Path, to: &Path) -> Result<(), Errno> {
        let length = match rustix::fs::llistxattr(from, &mut self.names[..]) {
            Ok(length) => length,
            Err(Errno::OPNOTSUPP) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        let names = self.names[..length].split_inclusive(|byte| *byte == 0);
        for name in names.filter_map(|name| CStr::from_bytes_with_nul(name).ok()) {
            let length = rustix::fs::lgetxattr(from, name, &mut self.value[..])?;
            let value = &self.value[..length];
            match rustix::fs::lsetxattr(to, name, value, XattrFlags::empty()) {
                // A kind that the data disk does not keep, such as another system's labels.
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

/// A path to a name in an open folder, for calls that take no descriptor.
fn of_descriptor(folder: &OwnedFd, name: &CStr) -> PathBuf {
    let folder = PathBuf::from(format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd()));
    below(&folder, name)
}

fn times(status: &Stat) -> Timestamps {
    let nanoseconds = |value| i64::try_from(value).unwrap_or(0);
    Timestamps {
        last_access: Timespec {
            tv_sec: status.st_atime,
            tv_nsec: nanoseconds(status.st_atime_nsec),
        },
        last_modification: Timespec {
            tv_sec: status.st_mtime,
            tv_nsec: nanoseconds(status.st_mtime_nsec),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn open(path: &Path) -> OwnedFd {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).unwrap()
    }

    fn copied(fill: impl FnOnce(&Path)) -> tempfile::TempDir {
        let source = tempfile::tempdir().unwrap();
        let target = tempfile::tempdir().unwrap();
        fill(source.path());
        copy(open(source.path()).as_fd(), open(target.path()).as_fd()).unwrap();
        target
    }

    #[test]
    fn files_keep_content_mode_and_time() {
        let target = copied(|source| {
            let path = source.join("deep/er/file");
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "content").unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o4751)).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
            File::open(&path).unwrap().set_modified(time).unwrap();
        });

        let path = target.path().join("deep/er/file");
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "content");
        assert_eq!(metadata.mode() & 0o7777, 0o4751);
        assert_eq!(metadata.mtime(), 1_000_000);
    }

    #[test]
    fn the_folder_itself_keeps_its_mode() {
        let target = copied(|source| {
            std::fs::set_permissions(source, PermissionsExt::from_mode(0o1770)).unwrap();
        });

        let metadata = std::fs::metadata(target.path()).unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o1770);
    }

    #[test]
    fn names_of_one_file_stay_names_of_one_file() {
        let target = copied(|source| {
            std::fs::create_dir(source.join("folder")).unwrap();
            std::fs::write(source.join("one"), "x").unwrap();
            std::fs::hard_link(source.join("one"), source.join("folder/two")).unwrap();
        });

        let inode = |name: &str| std::fs::metadata(target.path().join(name)).unwrap().ino();
        assert_eq!(inode("one"), inode("folder/two"));
    }

    #[test]
    fn links_are_copied_and_not_followed() {
        let target = copied(|source| symlink("/etc/passwd", source.join("link")).unwrap());

        let content = std::fs::read_link(target.path().join("link")).unwrap();
        assert_eq!(content, Path::new("/etc/passwd"));
    }

    #[test]
    fn extended_attributes_are_kept() {
        let target = copied(|source| {
            std::fs::write(source.join("file"), "x").unwrap();
            let flags = XattrFlags::empty();
            rustix::fs::setxattr(source.join("file"), c"user.note", b"kept", flags).unwrap();
        });

        let mut value = [0; 16];
        let path = target.path().join("file");
        let length = rustix::fs::getxattr(path, c"user.note", &mut value[..]).unwrap();
        assert_eq!(&value[..length], b"kept");
    }

    #[test]
    fn a_link_in_the_way_is_not_followed() {
        let source = tempfile::tempdir().unwrap();
        let (target, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(source.path().join("folder")).unwrap();
        std::fs::write(source.path().join("folder/file"), "x").unwrap();
        symlink(outside.path(), target.path().join("folder")).unwrap();

        let copied = copy(open(source.path()).as_fd(), open(target.path()).as_fd());

        assert_eq!(copied.unwrap_err().path, Path::new("./folder"));
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
