//! Unpacks a tar archive into a folder of a container.
//!
//! An archive comes from a user, who may do as much inside the container anyway; it must not get at
//! anything outside. Each entry's parent folder is opened by `openat2` below the root, links resolved
//! as the container would, and the last name never follows a link.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, makedev,
};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

use super::{Files, FilesError, below_root, stat_at};
use crate::rootfs::lookup;
use crate::user::{self, UserRequest};

/// Attributes of an entry have this before their names.
const ATTRIBUTE_KEY: &str = "SCHILY.xattr.";

/// Attributes that would make the overlay show something else.
const OVERLAY_PREFIX: &str = "trusted.overlay.";

/// Mode of folders that an archive has files in but does not name.
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o755);

/// How to unpack.
#[derive(Clone, Copy, Debug)]
pub struct UnpackOptions<'a> {
    /// The folder, which must be there.
    pub path: &'a str,
    /// Whether a folder in place of a file, or a file in place of a folder, is an error.
    pub keep_kinds: bool,
    /// `name|uid[:group|gid]`, who shall own everything; empty is whoever the archive says.
    pub owner: &'a str,
}

impl Files<'_> {
    /// Unpacks an archive; what is in the way of an entry is replaced.
    ///
    /// # Errors
    /// [`FilesError`]; entries before the one that failed stay.
    pub fn unpack(&self, options: UnpackOptions<'_>, input: impl Read) -> Result<(), FilesError> {
        let base = below_root(options.path);
        let at = lookup::open(self.root.as_fd(), &base, OFlags::PATH);
        let at = at.map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => FilesError::NotFound {
                path: options.path.to_owned(),
                container: self.container.clone(),
            },
            errno => FilesError::access("open", options.path.as_ref())(errno),
        })?;
        let status = rustix::fs::fstat(&at).map_err(FilesError::access("look at", &base))?;
        if FileType::from_raw_mode(status.st_mode) != FileType::Directory {
            return Err(FilesError::NotAFolder);
        }
        let mut unpacker = Unpacker {
            root: self.root.as_fd(),
            base,
            keep_kinds: options.keep_kinds,
            owner: self.owner(options.owner)?,
            folder_times: Vec::new(),
        };
        let mut archive = Archive::new(input);
        for entry in archive.entries().map_err(FilesError::Archive)? {
            unpacker.entry(entry.map_err(FilesError::Archive)?)?;
        }
        unpacker.set_folder_times();
        Ok(())
    }

    fn owner(&self, user: &str) -> Result<Option<(u32, u32)>, FilesError> {
        if user.is_empty() {
            return Ok(None);
        }
        let request = UserRequest {
            user,
            default: (0, 0),
            group_ids: &[],
            groups: &[],
        };
        let found = user::resolve(self.root.as_fd(), request)?;
        Ok(Some((found.uid, found.gid)))
    }
}

/// Puts entries where they belong.
struct Unpacker<'a> {
    root: BorrowedFd<'a>,
    /// The folder, from the root.
    base: PathBuf,
    keep_kinds: bool,
    owner: Option<(u32, u32)>,
    /// Times of folders, which change with what is put into them.
    folder_times: Vec<(OwnedFd, i64)>,
}

impl Unpacker<'_> {
    fn entry<R: Read>(&mut self, mut entry: Entry<'_, R>) -> Result<(), FilesError> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let path = entry.path().map_err(FilesError::Archive)?.into_owned();
        let Some((parent, name)) = self.place(&path)? else {
            // The folder itself: it is there, and its owner and mode are its own.
            return Ok(());
        };
        self.make_way(parent.as_fd(), &name, &path, kind)?;
        let made = self.make(&mut entry, parent.as_fd(), &name, &path)?;
        self.dress(&mut entry, parent.as_fd(), &name, &path, made)
    }

    /// The folder that an entry belongs in, made where it is missing, and the entry's own name.
    fn place(&self, path: &Path) -> Result<Option<(OwnedFd, CString)>, FilesError> {
        let mut parts: Vec<&OsStr> = Vec::new();
        for part in path.components() {
            match part {
                Component::Normal(name) => parts.push(name),
                Component::ParentDir => {
                    // Docker refuses what climbs out, too.
                    let climbs = format!("{} climbs out of the archive", path.display());
                    return Err(FilesError::Archive(io::Error::other(climbs)));
                }
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        let Some(name) = parts.pop() else {
            return Ok(None);
        };
        let parent = self.folder(&parts)?;
        let name = CString::new(name.as_bytes());
        Ok(Some((
            parent,
            name.map_err(|error| FilesError::Archive(error.into()))?,
        )))
    }

    fn folder(&self, parts: &[&OsStr]) -> Result<OwnedFd, FilesError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let whole: PathBuf = self.base.iter().chain(parts.iter().copied()).collect();
        match lookup::open(self.root, &whole, flags) {
            Ok(folder) => return Ok(folder),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(FilesError::access("open", &whole)(errno)),
        }
        let (last, before) = parts.split_last().ok_or(FilesError::NotAFolder)?;
        let parent = self.folder(before)?;
        match rustix::fs::mkdirat(&parent, *last, FOLDER_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(FilesError::access("make", &whole)(errno)),
        }
        if let Some((uid, gid)) = self.owner {
            let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(&parent, *last, owner.0, owner.1, flags)
                .map_err(FilesError::access("give away", &whole))?;
        }
        lookup::open(self.root, &whole, flags).map_err(FilesError::access("open", &whole))
    }

    /// Takes away what an entry replaces. A folder stays where a folder comes.
    fn make_way(
        &self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        path: &Path,
        kind: EntryType,
    ) -> Result<(), FilesError> {
        let status = match stat_at(parent, name) {
            Ok(status) => status,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(FilesError::access("look at", path)(errno)),
        };
        let was_folder = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
        let comes_folder = kind.is_dir();
        if was_folder && comes_folder {
            return Ok(());
        }
        if self.keep_kinds && was_folder != comes_folder {
            let words = |folder| if folder { "directory" } else { "non-directory" };
            return Err(FilesError::Kind {
                existing: words(was_folder),
                path: path.display().to_string(),
                new: words(comes_folder),
            });
        }
        let removed = if was_folder {
            remove_folder(parent, name)
        } else {
            rustix::fs::unlinkat(parent, name, AtFlags::empty())
        };
        removed.map_err(FilesError::access("replace", path))
    }

    /// Makes the file; returns it where it is open.
    fn make<R: Read>(
        &self,
        entry: &mut Entry<'_, R>,
        parent: BorrowedFd<'_>,
        name: &CStr,
        path: &Path,
    ) -> Result<Option<OwnedFd>, FilesError> {
        let failed = |errno| FilesError::access("make", path)(errno);
        let header = entry.header().clone();
        let mode = Mode::from_raw_mode(header.mode().map_err(FilesError::Archive)? & 0o7777);
        let link = |entry: &Entry<'_, R>| {
            let link = entry.link_name().map_err(FilesError::Archive)?;
            let missing = || FilesError::Archive(io::Error::other("a link that leads nowhere"));
            link.map(std::borrow::Cow::into_owned).ok_or_else(missing)
        };
        match header.entry_type() {
            EntryType::Directory => {
                match rustix::fs::mkdirat(parent, name, mode) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(failed(errno)),
                }
                super::open_folder(parent, name).map(Some).map_err(failed)
            }
            EntryType::Symlink => {
                let target = link(entry)?;
                rustix::fs::symlinkat(target.as_path(), parent, name).map_err(failed)?;
                Ok(None)
            }
            EntryType::Link => {
                let target = link(entry)?;
                if let Some((folder, existing)) = self.place(&target)? {
                    rustix::fs::linkat(folder, &*existing, parent, name, AtFlags::empty())
                        .map_err(failed)?;
                }
                Ok(None)
            }
            EntryType::Fifo | EntryType::Char | EntryType::Block => {
                let kind = match header.entry_type() {
                    EntryType::Fifo => FileType::Fifo,
                    EntryType::Char => FileType::CharacterDevice,
                    _ => FileType::BlockDevice,
                };
                let number = |number: io::Result<Option<u32>>| {
                    number
                        .map(Option::unwrap_or_default)
                        .map_err(FilesError::Archive)
                };
                let (major, minor) = (
                    number(header.device_major())?,
                    number(header.device_minor())?,
                );
                let device = makedev(major, minor);
                rustix::fs::mknodat(parent, name, kind, mode, device).map_err(failed)?;
                Ok(None)
            }
            // Old archives and those of unusual tools have other letters for plain files.
            _ => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
                let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR);
                let mut file = File::from(file.map_err(failed)?);
                io::copy(entry, &mut file).map_err(|error| match error.raw_os_error() {
                    // Of the file written; reading an archive fails without a number of the kernel's.
                    Some(number) => failed(Errno::from_raw_os_error(number)),
                    None => FilesError::Archive(error),
                })?;
                Ok(Some(file.into()))
            }
        }
    }

    /// Owner, mode, attributes and time.
    fn dress<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        parent: BorrowedFd<'_>,
        name: &CStr,
        path: &Path,
        made: Option<OwnedFd>,
    ) -> Result<(), FilesError> {
        let header = entry.header().clone();
        let kind = header.entry_type();
        if kind == EntryType::Link {
            // It is another file's name, and that file has been dressed.
            return Ok(());
        }
        let failed = |errno| FilesError::access("set the owner or mode of", path)(errno);
        let (uid, gid) = match self.owner {
            Some(owner) => owner,
            None => (id(header.uid())?, id(header.gid())?),
        };
        let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(parent, name, owner.0, owner.1, flags).map_err(failed)?;
        let seconds = header.mtime().map_err(FilesError::Archive)?;
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        if kind != EntryType::Symlink {
            // After the owner, whose change takes the set-user-id bit away.
            let mode = Mode::from_raw_mode(header.mode().map_err(FilesError::Archive)? & 0o7777);
            rustix::fs::chmodat(parent, name, mode, AtFlags::empty()).map_err(failed)?;
        }
        if let Some(file) = &made {
            set_attributes(entry, file).map_err(failed)?;
        }
        match made {
            Some(folder) if kind.is_dir() => self.folder_times.push((folder, seconds)),
            _ => rustix::fs::utimensat(parent, name, &times(seconds), flags).map_err(failed)?,
        }
        // Open folders are bounded by the agent's descriptors; older ones keep today's time.
        if self.folder_times.len() > MAX_OPEN_FOLDERS {
            self.set_folder_times();
        }
        Ok(())
    }

    fn set_folder_times(&mut self) {
        for (folder, seconds) in self.folder_times.drain(..) {
            // A time that cannot be set is no reason to fail.
            let _kept = rustix::fs::futimens(&folder, &times(seconds)).is_err();
        }
    }
}

/// Folders whose times are set together at the end.
const MAX_OPEN_FOLDERS: usize = 256;

fn id(number: io::Result<u64>) -> Result<u32, FilesError> {
    let number = number.map_err(FilesError::Archive)?;
    u32::try_from(number).map_err(|error| FilesError::Archive(io::Error::other(error)))
}

fn times(seconds: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Sets what the extended header says. A file system that has no attributes goes without.
fn set_attributes<R: Read>(entry: &mut Entry<'_, R>, file: &OwnedFd) -> Result<(), Errno> {
    let Ok(Some(extensions)) = entry.pax_extensions() else {
        return Ok(());
    };
    for extension in extensions.flatten() {
        let name = extension
            .key()
            .ok()
            .and_then(|key| key.strip_prefix(ATTRIBUTE_KEY));
        let Some(name) = name.filter(|name| !name.starts_with(OVERLAY_PREFIX)) else {
            continue;
        };
        match rustix::fs::fsetxattr(file, name, extension.value_bytes(), XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Removes a folder and all that is in it, no link followed.
fn remove_folder(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let folder = super::open_folder(parent, name)?;
    for child in super::names_in(folder.as_fd())? {
        let status = stat_at(folder.as_fd(), &child)?;
        if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
            remove_folder(folder.as_fd(), &child)?;
        } else {
            rustix::fs::unlinkat(&folder, child.as_c_str(), AtFlags::empty())?;
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}
