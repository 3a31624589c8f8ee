//! Reads files below a root that somebody else controls: no link leads out of it, nothing blocks,
//! nothing is larger than a bound.

use std::io::Read;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// The most that is read of one file, in bytes: a passwd file of some 50,000 users. An image could
/// name a sparse file of any size `/etc/passwd` otherwise.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Opens a path as if `root` were `/`.
pub(crate) fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    // openat2 refuses what a descriptor for looking only cannot use.
    let more = if flags.contains(OFlags::PATH) {
        OFlags::CLOEXEC
    } else {
        OFlags::CLOEXEC | OFlags::NOCTTY
    };
    let flags = flags | more;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)
}

/// Finds a path as if `root` were `/`, without opening what is there: a bind mount needs no more.
pub(crate) fn find(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)
}

/// The content of a regular file, up to [`MAX_FILE_BYTES`]; empty where there is no such file.
pub(crate) fn read(root: BorrowedFd<'_>, path: &Path) -> Result<Vec<u8>, Errno> {
    // NONBLOCK: a FIFO of that name must not hold the agent up.
    let file = match open(root, path, OFlags::RDONLY | OFlags::NONBLOCK) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let status = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Ok(Vec::new());
    }
    let mut content = Vec::new();
    std::fs::File::from(file)
        .take(MAX_FILE_BYTES)
        .read_to_end(&mut content)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn open_root(path: &Path) -> OwnedFd {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).unwrap()
    }

    #[test]
    fn an_absolute_link_stays_below_the_root() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("real"), "inside").unwrap();
        std::os::unix::fs::symlink("/real", folder.path().join("link")).unwrap();
        let root = open_root(folder.path());

        let content = read(root.as_fd(), Path::new("link")).unwrap();

        assert_eq!(content, b"inside");
    }

    #[test]
    fn climbing_up_ends_at_the_root() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("real"), "inside").unwrap();
        std::os::unix::fs::symlink("../../../real", folder.path().join("link")).unwrap();
        let root = open_root(folder.path());

        let content = read(root.as_fd(), Path::new("link")).unwrap();

        assert_eq!(content, b"inside");
    }

    #[test]
    fn a_path_is_found_below_the_root_only() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("part")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("out")).unwrap();
        let root = open_root(folder.path());

        assert_eq!(find(root.as_fd(), Path::new("part")).err(), None);
        let missing = find(root.as_fd(), Path::new("out")).err();
        assert_eq!(missing, Some(Errno::NOENT));
    }

    #[test]
    fn a_fifo_reads_as_empty_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwd");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
        let root = open_root(folder.path());

        let content = read(root.as_fd(), Path::new("passwd")).unwrap();

        assert!(content.is_empty());
    }

    #[test]
    fn a_huge_file_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(folder.path().join("passwd")).unwrap();
        file.set_len(MAX_FILE_BYTES * 4).unwrap();
        let root = open_root(folder.path());

        let content = read(root.as_fd(), Path::new("passwd")).unwrap();

        assert_eq!(u64::try_from(content.len()).unwrap(), MAX_FILE_BYTES);
    }
}
