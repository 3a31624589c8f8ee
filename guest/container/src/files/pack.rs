//! Packs files into a tar archive: owners, modes, times, links, devices and attributes kept.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use tar::{Builder, EntryType, Header};

use super::{Files, FilesError, below_root, last_name, names_in, open_folder, stat_at};
use crate::rootfs::lookup;

/// How deep folders may lie in each other: each costs a descriptor while it is packed.
const MAX_DEPTH: usize = 256;

/// The longest extended attribute that is packed, which is the kernel's bound, in bytes.
const MAX_ATTRIBUTE_BYTES: usize = 64 * 1024;

/// How attributes are written down (the SCHILY keys of star, which GNU tar and Docker read).
const ATTRIBUTE_KEY: &str = "SCHILY.xattr.";

/// Attributes that belong to the overlay and not to the container.
const OVERLAY_PREFIX: &[u8] = b"trusted.overlay.";

/// The largest number that the octal field of an id holds.
const MAX_OCTAL_ID: u64 = 0o7_777_777;

impl Files<'_> {
    /// Packs what is at a path, under the path's last name.
    ///
    /// # Errors
    /// [`FilesError`]; the archive is cut short then.
    pub fn pack(&self, path: &str, output: impl Write) -> Result<(), FilesError> {
        let found = self.open(path)?;
        let status =
            rustix::fs::fstat(&found).map_err(FilesError::access("look at", path.as_ref()))?;
        let mut packer = Packer::new(output);
        let name = PathBuf::from(last_name(path));
        if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let folder = lookup::open(self.root.as_fd(), &below_root(path), flags);
            let folder = folder.map_err(FilesError::access("open", path.as_ref()))?;
            packer.folder(&folder, &name, &status)?;
        } else {
            let whole = below_root(path);
            let parent = whole
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let parent = lookup::open(self.root.as_fd(), parent.unwrap_or(Path::new(".")), flags);
            let parent = parent.map_err(FilesError::access("open", path.as_ref()))?;
            let inside = whole.file_name().unwrap_or_default();
            let inside = c_name(inside)?;
            packer.entry(parent.as_fd(), &inside, &name)?;
        }
        packer.finish()
    }

    /// Packs everything, each file under its path without a slash before it.
    ///
    /// # Errors
    /// As [`pack`](Self::pack).
    pub fn pack_all(&self, output: impl Write) -> Result<(), FilesError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let root = lookup::open(self.root.as_fd(), Path::new("."), flags);
        let root = root.map_err(FilesError::access("open", "/".as_ref()))?;
        let status =
            rustix::fs::fstat(&root).map_err(FilesError::access("look at", "/".as_ref()))?;
        let mut packer = Packer::new(output);
        packer.device = Some(status.st_dev);
        packer.children(&root, Path::new(""))?;
        packer.finish()
    }
}

fn c_name(name: &OsStr) -> Result<CString, FilesError> {
    CString::new(name.as_bytes()).map_err(|error| FilesError::Archive(error.into()))
}

/// Writes an archive.
pub(super) struct Packer<W: Write> {
    builder: Builder<W>,
    /// Files with several names that are in the archive already, by device and inode.
    linked: HashMap<(u64, u64), PathBuf>,
    depth: usize,
    /// The file system that is packed; folders of others, such as a running container's `/proc`, are
    /// packed without what is in them.
    device: Option<u64>,
}

impl<W: Write> Packer<W> {
    pub(super) fn new(output: W) -> Self {
        let mut builder = Builder::new(output);
        builder.mode(tar::HeaderMode::Complete);
        Self {
            builder,
            linked: HashMap::new(),
            depth: 0,
            device: None,
        }
    }

    pub(super) fn finish(mut self) -> Result<(), FilesError> {
        self.builder.finish().map_err(FilesError::Output)
    }

    /// A folder and all that is in it.
    fn folder(&mut self, folder: &OwnedFd, name: &Path, status: &Stat) -> Result<(), FilesError> {
        let attributes = attributes(folder.as_fd());
        self.header(name, status, EntryType::Directory, &attributes, None)?;
        if *self.device.get_or_insert(status.st_dev) == status.st_dev {
            self.children(folder, name)?;
        }
        Ok(())
    }

    /// All that is in a folder.
    pub(super) fn children(&mut self, folder: &OwnedFd, name: &Path) -> Result<(), FilesError> {
        if self.depth == MAX_DEPTH {
            return Err(FilesError::access("pack", name)(Errno::NAMETOOLONG));
        }
        self.depth += 1;
        let names = names_in(folder.as_fd()).map_err(FilesError::access("read", name))?;
        for child in names {
            let path = name.join(OsStr::from_bytes(child.to_bytes()));
            self.entry(folder.as_fd(), &child, &path)?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// What is at a name of a folder. What goes meanwhile is left out; a socket is no file.
    pub(super) fn entry(
        &mut self,
        folder: BorrowedFd<'_>,
        name: &CStr,
        path: &Path,
    ) -> Result<(), FilesError> {
        let status = match stat_at(folder, name) {
            Ok(status) => status,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(FilesError::access("look at", path)(errno)),
        };
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => match open_folder(folder, name) {
                Ok(opened) => self.folder(&opened, path, &status),
                Err(Errno::NOENT) => Ok(()),
                Err(errno) => Err(FilesError::access("open", path)(errno)),
            },
            FileType::RegularFile => self.file(folder, name, path, &status),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(folder, name, Vec::new());
                let target = target.map_err(FilesError::access("read", path))?;
                let target = OsStr::from_bytes(target.as_bytes());
                self.header(
                    path,
                    &status,
                    EntryType::Symlink,
                    &[],
                    Some(Path::new(target)),
                )
            }
            FileType::CharacterDevice => self.header(path, &status, EntryType::Char, &[], None),
            FileType::BlockDevice => self.header(path, &status, EntryType::Block, &[], None),
            FileType::Fifo => self.header(path, &status, EntryType::Fifo, &[], None),
            FileType::Socket | FileType::Unknown => Ok(()),
        }
    }

    fn file(
        &mut self,
        folder: BorrowedFd<'_>,
        name: &CStr,
        path: &Path,
        status: &Stat,
    ) -> Result<(), FilesError> {
        if status.st_nlink > 1 {
            let key = (status.st_dev, status.st_ino);
            if let Some(first) = self.linked.get(&key).cloned() {
                return self.header(path, status, EntryType::Link, &[], Some(&first));
            }
            self.linked.insert(key, path.to_owned());
        }
        // NONBLOCK: whatever took the file's place meanwhile must not hold the agent up.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
            Ok(opened) => opened,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(FilesError::access("open", path)(errno)),
        };
        let attributes = attributes(opened.as_fd());
        self.header(path, status, EntryType::Regular, &attributes, None)?;
        self.content(
            File::from(opened),
            u64::try_from(status.st_size).unwrap_or(0),
        )
        .map_err(FilesError::Output)
    }

    /// Exactly so many bytes: a file that shrinks meanwhile is filled up, one that grows is cut.
    fn content(&mut self, file: File, size: u64) -> io::Result<()> {
        const BLOCK_BYTES: u64 = 512;
        let padding = (BLOCK_BYTES - size % BLOCK_BYTES) % BLOCK_BYTES;
        let output = self.builder.get_mut();
        let copied = io::copy(&mut file.take(size), output)?;
        io::copy(&mut io::repeat(0).take(size - copied + padding), output)?;
        Ok(())
    }

    /// An empty file that says something about a layer.
    pub(super) fn marker(&mut self, path: &Path, status: &Stat) -> Result<(), FilesError> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0);
        header.set_size(0);
        header.set_mtime(u64::try_from(status.st_mtime).unwrap_or(0));
        self.builder
            .append_data(&mut header, path, io::empty())
            .map_err(FilesError::Output)
    }

    /// The header of an entry, after whatever needs an extended one.
    pub(super) fn header(
        &mut self,
        path: &Path,
        status: &Stat,
        kind: EntryType,
        attributes: &[(String, Vec<u8>)],
        link: Option<&Path>,
    ) -> Result<(), FilesError> {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(status.st_mode & 0o7777);
        header.set_size(0);
        header.set_mtime(u64::try_from(status.st_mtime).unwrap_or(0));
        if kind == EntryType::Regular {
            header.set_size(u64::try_from(status.st_size).unwrap_or(0));
        }
        let mut extended: Vec<(String, Vec<u8>)> = attributes.to_vec();
        for (key, id) in [("uid", status.st_uid), ("gid", status.st_gid)] {
            if u64::from(id) > MAX_OCTAL_ID {
                extended.push((key.to_owned(), id.to_string().into_bytes()));
            }
        }
        header.set_uid(u64::from(status.st_uid).min(MAX_OCTAL_ID));
        header.set_gid(u64::from(status.st_gid).min(MAX_OCTAL_ID));
        if matches!(kind, EntryType::Char | EntryType::Block) {
            let (major, minor) = (
                rustix::fs::major(status.st_rdev),
                rustix::fs::minor(status.st_rdev),
            );
            let numbers = header.set_device_major(major);
            let numbers = numbers.and_then(|()| header.set_device_minor(minor));
            numbers.map_err(FilesError::Output)?;
        }
        let mut name = path.as_os_str().as_bytes().to_vec();
        if kind == EntryType::Directory && !name.ends_with(b"/") {
            name.push(b'/');
        }
        if header.set_path(OsStr::from_bytes(&name)).is_err() || name.starts_with(b"/") {
            extended.push(("path".to_owned(), name));
            let _short = header.set_path("long-name");
        }
        if let Some(link) = link
            && header.set_link_name(link).is_err()
        {
            extended.push(("linkpath".to_owned(), link.as_os_str().as_bytes().to_vec()));
            let _short = header.set_link_name("long-name");
        }
        header.set_cksum();
        let pairs = extended
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_slice()));
        self.builder
            .append_pax_extensions(pairs)
            .and_then(|()| self.builder.get_mut().write_all(header.as_bytes()))
            .map_err(FilesError::Output)
    }
}

/// A file's extended attributes as an archive names them; none where it has none or cannot have any.
pub(super) fn attributes(file: BorrowedFd<'_>) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0; MAX_ATTRIBUTE_BYTES];
    let Ok(length) = rustix::fs::flistxattr(file, &mut names[..]) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for name in names[..length].split(|byte| *byte == 0) {
        if name.is_empty() || name.starts_with(OVERLAY_PREFIX) {
            continue;
        }
        let mut value = vec![0; MAX_ATTRIBUTE_BYTES];
        let Ok(name) = CString::new(name) else {
            continue;
        };
        let Ok(length) = rustix::fs::fgetxattr(file, name.as_c_str(), &mut value[..]) else {
            continue;
        };
        value.truncate(length);
        found.push((format!("{ATTRIBUTE_KEY}{}", name.to_string_lossy()), value));
    }
    found
}
